//! The PCI bus as a tree: host bridges, bridges and switches, and the functions at its leaves.
//!
//! The tree is kept flat, one [`PciFunction`] a bus address, each naming the bridge above it; [`PciTree`] walks it.
//! Numbers are those of the PCI Express Base Specification (class codes: PCI Code and ID Assignment Specification).

use crate::{CpuSet, PciAddress};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bridges one below the other: a domain has 256 buses.
const DEEPEST: usize = 256;

/// Every function on the PCI buses of a machine, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PciTree {
    functions: Vec<PciFunction>,
}

/// One function of a PCI device, or one bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciFunction {
    pub address: PciAddress,
    pub ids: PciIds,
    /// The bridge above; `None` for what sits on a root bus.
    pub parent: Option<PciAddress>,
    /// What the function is to the PCI Express fabric; `None` on conventional PCI or when the configuration space could
    /// not be read far enough (an ordinary user sees its first 64 bytes).
    pub port: Option<PciPort>,
    /// The buses below, when this is a bridge.
    pub bridge: Option<PciBuses>,
    pub link: Option<PciLink>,
    /// The memory node the function hangs off; `None` when firmware does not say.
    pub numa: Option<u32>,
    /// The CPUs the kernel calls local to it.
    pub local_cpus: Option<CpuSet>,
    pub driver: Option<String>,
    pub iommu_group: Option<u32>,
    /// Name of the slot that the board maker prints beside it.
    pub slot: Option<String>,
    pub sriov: Sriov,
    /// Mediated devices (vGPU slices) that live on it, by UUID.
    pub mediated: Vec<String>,
    /// The function answers, but its configuration space reads as ones: it fell off the bus.
    pub lost: bool,
    /// Its folder in sysfs below the root, links resolved: `sys/devices/pci0000:00/0000:00:01.0`.
    pub path: String,
}

/// Who made a function and what it calls itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PciIds {
    pub vendor: u16,
    pub device: u16,
    pub subsystem_vendor: u16,
    pub subsystem_device: u16,
    pub revision: u8,
    /// Base class, sub-class and programming interface: `0x030200`.
    pub class: u32,
}

/// The port types of a PCI Express capability (PCIe 6.0, 7.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PciPort {
    Endpoint,
    RootPort,
    /// The side of a switch that faces the host.
    Upstream,
    /// A side of a switch that faces devices.
    Downstream,
    /// Between PCI Express and conventional PCI, either way round.
    Bridge,
    /// An endpoint inside the root complex, without a link of its own.
    Integrated,
    EventCollector,
}

/// The buses behind a bridge. The lowest is its own secondary bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PciBuses {
    pub secondary: u8,
    pub subordinate: u8,
}

/// A PCI Express link, seen from the function at its lower or upper end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PciLink {
    /// What it runs at.
    pub now: PciRate,
    /// What this end can run at.
    pub max: PciRate,
}

/// Signalling rate and lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PciRate {
    /// Mega-transfers a second on each lane: 2500 for generation 1, 128000 for generation 7. 0 is unknown.
    pub mega_transfers: u32,
    /// Lanes; 0 is unknown or no link.
    pub lanes: u8,
}

/// Single-root I/O virtualisation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sriov {
    /// The physical function that this virtual one belongs to.
    pub physical: Option<PciAddress>,
    /// Virtual functions switched on, and the most there may be.
    pub enabled: u32,
    pub most: u32,
}

impl PciIds {
    /// Base class and sub-class: `0x0302` is a 3D controller.
    pub fn class16(&self) -> u16 {
        (self.class >> 8) as u16
    }
}

impl PciRate {
    /// The generation of PCI Express that introduced this rate.
    pub fn generation(&self) -> Option<u8> {
        match self.mega_transfers {
            2_500 => Some(1),
            5_000 => Some(2),
            8_000 => Some(3),
            16_000 => Some(4),
            32_000 => Some(5),
            64_000 => Some(6),
            128_000 => Some(7),
            _ => None,
        }
    }

    /// Bytes a second one way after line coding: 8b/10b to generation 2, 128b/130b to generation 5, and flits of 242
    /// bytes in 256 from generation 6. 0 when speed or width is unknown.
    pub fn bytes_per_second(&self) -> u64 {
        let lane = u64::from(self.mega_transfers) * 1_000_000;
        let coded = match self.mega_transfers {
            0..=5_000 => lane * 8 / 10,
            5_001..=32_000 => lane * 128 / 130,
            _ => lane * 242 / 256,
        };
        coded / 8 * u64::from(self.lanes)
    }
}

impl fmt::Display for PciRate {
    /// `gen4 x16`, or `? x16` at a rate that is unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = match self.generation() {
            Some(generation) => format!("gen{generation}"),
            None if self.mega_transfers > 0 => format!("{:.1} GT/s", f64::from(self.mega_transfers) / 1000.0),
            None => "?".to_owned(),
        };
        let lanes = if self.lanes > 0 { format!("x{}", self.lanes) } else { "x?".to_owned() };
        f.pad(&format!("{rate} {lanes}"))
    }
}

impl PciLink {
    /// Runs slower or narrower than this end can. Cards that save power lower the speed while idle, so a reader should
    /// say it of the width first; `None` when the kernel does not tell both.
    pub fn is_downgraded(&self) -> Option<bool> {
        let known = self.now.mega_transfers > 0 && self.max.mega_transfers > 0 && self.now.lanes > 0 && self.max.lanes > 0;
        known.then_some(self.now.mega_transfers < self.max.mega_transfers || self.now.lanes < self.max.lanes)
    }
}

impl PciTree {
    /// Sorts by address; of two functions with one address the first is kept. A parent that is not in the list, is the
    /// function itself, or would close a circle is dropped, so that every walk upwards ends.
    pub fn new(mut functions: Vec<PciFunction>) -> PciTree {
        functions.sort_by_key(|function| function.address);
        functions.dedup_by_key(|function| function.address);
        let mut tree = PciTree { functions };
        for at in 0..tree.functions.len() {
            let start = tree.functions[at].address;
            let mut above = tree.functions[at].parent;
            let mut steps = 0;
            while let Some(address) = above {
                steps += 1;
                match tree.get(address) {
                    Some(function) if address != start && steps <= DEEPEST => above = function.parent,
                    _ => break,
                }
            }
            if above.is_some() {
                tree.functions[at].parent = None;
            }
        }
        tree
    }

    pub fn functions(&self) -> &[PciFunction] {
        &self.functions
    }

    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    pub fn get(&self, address: PciAddress) -> Option<&PciFunction> {
        let at = self.functions.binary_search_by_key(&address, |function| function.address).ok()?;
        self.functions.get(at)
    }

    /// What sits on the bus below a bridge, or with `None` on the root buses.
    pub fn children(&self, parent: Option<PciAddress>) -> impl Iterator<Item = &PciFunction> {
        self.functions.iter().filter(move |function| function.parent == parent)
    }

    /// The bridges above a function, the nearest first, the root port last.
    pub fn above(&self, address: PciAddress) -> Vec<&PciFunction> {
        let mut found = Vec::new();
        let mut parent = self.get(address).and_then(|function| function.parent);
        while let Some(function) = parent.and_then(|parent| self.get(parent)) {
            found.push(function);
            parent = function.parent;
        }
        found
    }

    /// The function itself, or the bridge above it, that sits on a root bus.
    pub fn top(&self, address: PciAddress) -> Option<&PciFunction> {
        self.above(address).last().copied().or_else(|| self.get(address))
    }

    /// The lowest bridge that is above both, or is one of them and above the other; `None` when they only meet in the
    /// root complex or beyond.
    pub fn meet(&self, a: PciAddress, b: PciAddress) -> Option<&PciFunction> {
        let chain = |address| std::iter::once(address).chain(self.above(address).into_iter().map(|function| function.address));
        let of_b: Vec<PciAddress> = chain(b).collect();
        let met = chain(a).find(|address| of_b.contains(address))?;
        self.get(met)
    }

    /// Whether both hang below one root bus: the kernel's host bridge, which for most processors is a root complex of its own.
    pub fn same_root_bus(&self, a: PciAddress, b: PciAddress) -> bool {
        let bus = |address| self.top(address).map(|top| (top.address.domain, top.address.bus));
        bus(a).is_some() && bus(a) == bus(b)
    }

    /// Virtual functions of a physical one.
    pub fn virtual_functions(&self, physical: PciAddress) -> impl Iterator<Item = &PciFunction> {
        self.functions.iter().filter(move |function| function.sriov.physical == Some(physical))
    }
}

impl PciFunction {
    /// Base class and sub-class: `0x0302`.
    pub fn class16(&self) -> u16 {
        self.ids.class16()
    }

    /// The lowest speed and width on the way to the root bus cannot be told from one function; this is its own link.
    pub fn is_downgraded(&self) -> bool {
        self.link.and_then(|link| link.is_downgraded()).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
