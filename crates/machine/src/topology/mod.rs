//! The whole machine as a tree of objects, each holding the CPUs and memory nodes below it.
//!
//! The rules of the tree are those of hwloc's object model (Portable Hardware Locality, chapters "Terms and Definitions"
//! and "Object types"), so that both tools tell the same of one machine: an object's children are ordered by their first
//! CPU, memory hangs beside the CPUs it is local to, and I/O hangs off the object that has just the CPUs near to it.

mod arrange;
mod attach;
mod distance;
mod levels;
mod object;

pub use arrange::Inserted;
pub use attach::{PciLocality, arrange_pci, drop_bare_bridges, place_os_device};
pub use distance::Distances;
pub use levels::{Keep, Levels};
pub use object::{Cache, CacheKind, GroupKind, Kind, NodeMemory, Object, OsDeviceKind};

use crate::{Bytes, CpuSet, PciTree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One machine in full: the tree, and what is known between its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The machine itself; everything else is below it.
    pub machine: Object,
    /// Matrices between memory nodes or devices.
    pub distances: Vec<Distances>,
    /// Bandwidths and latencies of memory seen from CPUs, as firmware tells (ACPI HMAT) and the kernel passes on.
    pub memory_values: Vec<MemoryValue>,
    /// Memory nodes of one kind and speed, the fastest first.
    pub tiers: Vec<MemoryTier>,
    /// Kinds of cores where they differ, the most efficient first.
    pub cpu_kinds: Vec<CpuKind>,
    pub pci: PciTree,
    /// What the kernel does to the addresses of each IOMMU group, in its own words: `identity`, `DMA`, `DMA-FQ`, `blocked`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub iommu_types: BTreeMap<u32, String>,
    /// What is known of the system as a whole: kernel, architecture, page sizes.
    pub infos: Vec<(String, String)>,
    /// CPUs and memory nodes that control groups leave to this process.
    pub allowed_cpus: CpuSet,
    pub allowed_nodes: CpuSet,
    /// What could not be read or contradicts itself, one sentence each.
    pub findings: Vec<String>,
}

/// One figure of one memory node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryValue {
    pub attribute: MemoryAttribute,
    /// The memory node's number.
    pub node: u32,
    /// The CPUs it is seen from.
    pub initiator: CpuSet,
    /// MiB a second, or nanoseconds.
    pub value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryAttribute {
    /// The mean of reading and writing.
    Bandwidth,
    Latency,
    ReadBandwidth,
    WriteBandwidth,
    ReadLatency,
    WriteLatency,
}

impl MemoryAttribute {
    pub const ALL: [MemoryAttribute; 6] = [
        MemoryAttribute::Bandwidth,
        MemoryAttribute::Latency,
        MemoryAttribute::ReadBandwidth,
        MemoryAttribute::WriteBandwidth,
        MemoryAttribute::ReadLatency,
        MemoryAttribute::WriteLatency,
    ];

    /// As hwloc names it.
    pub fn name(self) -> &'static str {
        match self {
            MemoryAttribute::Bandwidth => "Bandwidth",
            MemoryAttribute::Latency => "Latency",
            MemoryAttribute::ReadBandwidth => "ReadBandwidth",
            MemoryAttribute::WriteBandwidth => "WriteBandwidth",
            MemoryAttribute::ReadLatency => "ReadLatency",
            MemoryAttribute::WriteLatency => "WriteLatency",
        }
    }

    pub fn is_bandwidth(self) -> bool {
        matches!(self, MemoryAttribute::Bandwidth | MemoryAttribute::ReadBandwidth | MemoryAttribute::WriteBandwidth)
    }
}

/// What a memory node is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryKind {
    Hbm,
    Dram,
    Gpu,
    /// Memory set aside by firmware for special purposes: usually high-bandwidth or CXL memory.
    SpecialPurpose,
    Nvm,
    Cxl,
}

/// Memory nodes of one kind and speed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryTier {
    pub kind: Option<MemoryKind>,
    pub nodes: CpuSet,
    /// Number of the kernel's own tier (`memory_tierN`), where all nodes share one. Lower is faster.
    pub kernel_tier: Option<u32>,
}

/// Cores of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuKind {
    pub cpus: CpuSet,
    /// 0 for the slowest and most efficient kind, then upwards.
    pub efficiency: u32,
    /// How the efficiency was known, `FrequencyMaxMHz`, `LinuxCapacity` and the like.
    pub infos: Vec<(String, String)>,
}

impl Topology {
    /// Every object, parents first: memory, then CPUs, then I/O of each.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        let mut stack = vec![&self.machine];
        std::iter::from_fn(move || {
            let object = stack.pop()?;
            let below = object.memory.iter().chain(&object.children).chain(&object.io).chain(&object.misc);
            let at = stack.len();
            stack.extend(below);
            stack[at..].reverse();
            Some(object)
        })
    }

    /// The memory node of a number.
    pub fn node(&self, number: u32) -> Option<&Object> {
        self.objects().find(|object| matches!(object.kind, Kind::NumaNode(_)) && object.os_index == Some(number))
    }

    pub fn memory(&self) -> Bytes {
        self.machine.total_memory()
    }

    /// One figure of a node, from the CPUs it is nearest to.
    pub fn memory_value(&self, node: u32, attribute: MemoryAttribute) -> Option<u64> {
        self.memory_values.iter().find(|value| value.node == node && value.attribute == attribute).map(|value| value.value)
    }
}

#[cfg(test)]
mod tests;
