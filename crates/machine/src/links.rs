//! How accelerators and network ports of a machine are joined: PCI switches, the links between accelerators, and the
//! domains of such links that reach over several machines.
//!
//! One graph, whether it was read from a kernel's files or from a topology file of NCCL ([`nccl`]).

pub mod nccl;
mod of;
pub use of::undriven;

use crate::{CpuSet, DeviceId, LinkKind, PciAddress, PciIds, PciRate};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Everything between accelerators and network ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkGraph {
    /// Memory nodes with PCI below them.
    pub hosts: Vec<HostPart>,
    /// PCI switches (one vertex a switch), accelerators and network cards.
    pub vertices: Vec<Vertex>,
    pub accelerators: Vec<Accelerator>,
    pub ports: Vec<NetPort>,
    /// Links that do not lead over PCI, each once for each end that tells of it.
    pub links: Vec<Link>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<FabricDomain>,
}

/// One memory node and its processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPart {
    /// `None` where firmware does not say.
    pub numa: Option<u32>,
    pub cpus: CpuSet,
    #[serde(flatten)]
    pub cpu: CpuKind,
}

/// A processor as its maker numbers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuKind {
    /// `x86_64`, `arm64`, `ppc64`.
    pub arch: String,
    /// `GenuineIntel`, `AuthenticAMD`, empty where the kernel prints none.
    pub vendor: String,
    pub family: Option<u32>,
    pub model: Option<u32>,
}

/// A PCI function that is a switch, an accelerator or a network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vertex {
    /// Of a switch: its port that faces the host.
    pub address: PciAddress,
    /// Position in [`LinkGraph::hosts`].
    pub host: usize,
    /// Position of the switch above in [`LinkGraph::vertices`]. Not its address: in files that were written for virtual
    /// machines two switches may have the same.
    pub parent: Option<usize>,
    /// Domain and bus of the host bridge it hangs below, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_bus: Option<(u32, u8)>,
    pub ids: Option<PciIds>,
    /// What the link upwards runs at, or can, where it sleeps while idle.
    pub rate: Option<PciRate>,
}

/// One accelerator of the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accelerator {
    pub pci: Option<PciAddress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DeviceId>,
    /// What the library that wrote the file counts by.
    pub index: u32,
    pub rank: Option<u32>,
    /// CUDA compute capability times ten; of an AMD device the number of compute units.
    pub sm: Option<u32>,
    /// AMD's instruction set: `gfx942`.
    pub gcn: Option<String>,
    pub arch: Option<u32>,
    /// Whether its memory can be reached by network cards.
    pub gdr: Option<bool>,
}

/// One port of a network card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetPort {
    pub name: String,
    /// `None` for a port without a PCI function, such as a virtual one.
    pub pci: Option<PciAddress>,
    /// Position of that function in [`LinkGraph::vertices`].
    pub vertex: Option<usize>,
    /// Position in [`LinkGraph::hosts`], for a port without a PCI function.
    pub host: Option<usize>,
    pub index: u32,
    /// Megabits a second.
    pub speed_mbps: u64,
    pub port: u32,
    pub guid: Option<u64>,
    pub most_connections: Option<u32>,
    /// Microseconds, as the file writes it.
    pub latency: Option<String>,
    pub gdr: Option<bool>,
    /// Whether the network can compute collectives.
    pub collective: Option<bool>,
}

/// Links side by side from an accelerator to another one, to a switch or to a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub wire: LinkKind,
    pub from: PciAddress,
    /// `None` for a link to the processor.
    pub to: Option<PciAddress>,
    /// PCI class of the other end: a switch has a bridge's.
    pub to_class: Option<u32>,
    pub count: u32,
    /// Megabytes a second in one direction over all of them, where somebody tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mb_per_s: Option<u64>,
}

impl Link {
    /// Leads to a switch of links (NVSwitch: class 0x0680), and so to all that are on it.
    pub fn is_switched(&self) -> bool {
        self.to_class.is_some_and(|class| class >> 8 == 0x0680)
    }
}

/// Accelerators joined by links over several machines, such as the 72 of an NVL72 rack. Two accelerators reach each
/// other's memory only when both cluster and clique are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricDomain {
    /// UUID of the link domain.
    pub cluster: String,
    /// Part of the domain whose members reach each other.
    pub clique: u32,
    /// Members on this machine.
    pub members: Vec<DeviceId>,
    /// Whether the fabric manager has finished joining them.
    pub ready: bool,
}

impl FabricDomain {
    pub fn reaches(&self, other: &FabricDomain) -> bool {
        self.ready && other.ready && self.cluster == other.cluster && self.clique == other.clique
    }
}

/// How far two functions are from each other, nearest first. Each class names the thing that data passes on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Functions of one card.
    Card,
    /// Links between accelerators, or one switch of such links. NVIDIA's tools say NV#.
    Link,
    /// One PCI switch (PIX).
    Switch,
    /// Several PCI switches and no processor (PXB).
    Switches,
    /// The root complex: different ports of one host bridge (PHB).
    Root,
    /// Different host bridges of one memory node (NODE).
    Node,
    /// The links between processors, or between the parts of one (SYS).
    System,
    #[default]
    Unknown,
}

impl Distance {
    pub const ALL: [Distance; 8] = [
        Distance::Card,
        Distance::Link,
        Distance::Switch,
        Distance::Switches,
        Distance::Root,
        Distance::Node,
        Distance::System,
        Distance::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Distance::Card => "card",
            Distance::Link => "link",
            Distance::Switch => "switch",
            Distance::Switches => "switches",
            Distance::Root => "root",
            Distance::Node => "node",
            Distance::System => "system",
            Distance::Unknown => "unknown",
        }
    }

    /// What a person reads below the table.
    pub fn meaning(self) -> &'static str {
        match self {
            Distance::Card => "functions of one card",
            Distance::Link => "links between accelerators",
            Distance::Switch => "one PCI switch",
            Distance::Switches => "several PCI switches, no processor",
            Distance::Root => "the root complex of a processor",
            Distance::Node => "different host bridges of one memory node",
            Distance::System => "from one memory node to another",
            Distance::Unknown => "not known",
        }
    }

    /// Data passes a processor.
    pub fn over_processor(self) -> bool {
        self >= Distance::Root
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The way from one function to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    pub distance: Distance,
    /// Links side by side, when there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<(LinkKind, u32)>,
    /// The way over PCI, which is there even where links are.
    pub over_pci: Distance,
    /// PCI switches on that way, from the first function to the second.
    pub switches: Vec<PciAddress>,
    /// The slowest PCI link on it.
    pub narrowest: Option<PciRate>,
}

impl LinkGraph {
    /// The function at an address; where a file gives it to a switch as well, not the switch.
    pub fn vertex(&self, address: PciAddress) -> Option<&Vertex> {
        let is_switch = |vertex: &&Vertex| vertex.ids.is_some_and(|ids| ids.class16() == 0x0604);
        self.vertices.iter().filter(|vertex| vertex.address == address).min_by_key(is_switch)
    }

    /// Switches above a function, the nearest first. A file that claims a circle ends it.
    fn above(&self, vertex: &Vertex) -> Vec<usize> {
        let mut found = Vec::new();
        let mut parent = vertex.parent;
        while let Some((at, vertex)) = parent.filter(|at| !found.contains(at)).and_then(|at| Some((at, self.vertices.get(at)?))) {
            found.push(at);
            parent = vertex.parent;
        }
        found
    }

    /// Links side by side between two accelerators: direct ones, else those to switches, of which the end with fewer counts.
    pub fn wire(&self, a: PciAddress, b: PciAddress) -> Option<(LinkKind, u32)> {
        let direct = |from, to| self.links.iter().filter(move |link| link.from == from && link.to == Some(to) && link.count > 0);
        // Either end may tell of the same links.
        let side = |from, to| direct(from, to).map(|link| (link.wire, link.count)).reduce(|sum, one| (sum.0, sum.1.saturating_add(one.1)));
        if let Some(found) = side(a, b).max(side(b, a)) {
            return Some(found);
        }
        let switched = |from| {
            let links = self.links.iter().filter(move |link| link.from == from && link.is_switched() && link.count > 0);
            links.map(|link| (link.wire, link.count)).reduce(|sum, one| (sum.0, sum.1.saturating_add(one.1)))
        };
        let (one, other) = (switched(a)?, switched(b)?);
        (one.0 == other.0).then_some((one.0, one.1.min(other.1)))
    }

    /// The way between two functions of the graph; all unknown when one of them is not in it.
    pub fn way(&self, a: PciAddress, b: PciAddress) -> Way {
        let wire = self.wire(a, b);
        let (Some(one), Some(other)) = (self.vertex(a), self.vertex(b)) else {
            let distance = if wire.is_some() { Distance::Link } else { Distance::Unknown };
            return Way { distance, wire, ..Way::default() };
        };
        let same_card = |a: PciAddress, b: PciAddress| (a.domain, a.bus, a.device) == (b.domain, b.bus, b.device);
        let (up, down) = (self.above(one), self.above(other));
        let meet = up.iter().position(|at| down.contains(at));
        let (switches, over_pci) = match meet {
            _ if same_card(a, b) => (Vec::new(), Distance::Card),
            Some(at) => {
                let before = down.iter().take_while(|above| **above != up[at]).copied();
                let mut way = up[..=at].to_vec();
                way.extend(before.collect::<Vec<_>>().into_iter().rev());
                let class = if way.len() == 1 { Distance::Switch } else { Distance::Switches };
                (way, class)
            }
            None => {
                let way = up.iter().copied().chain(down.iter().rev().copied()).collect();
                (way, self.over_hosts(one, other))
            }
        };
        let passed = switches.iter().filter(|at| Some(**at) != meet.map(|at| up[at])).filter_map(|at| self.vertices.get(*at));
        let rates = passed.chain([one, other]).filter_map(|vertex| vertex.rate).filter(|rate| rate.bytes_per_second() > 0);
        let narrowest = rates.min_by_key(PciRate::bytes_per_second).filter(|_| over_pci != Distance::Card);
        let switches = switches.iter().filter_map(|at| Some(self.vertices.get(*at)?.address)).collect();
        Way { distance: if wire.is_some() { Distance::Link } else { over_pci }, wire, over_pci, switches, narrowest }
    }

    fn over_hosts(&self, a: &Vertex, b: &Vertex) -> Distance {
        if a.root_bus.is_some() && a.root_bus == b.root_bus {
            return Distance::Root;
        }
        let node = |vertex: &Vertex| self.hosts.get(vertex.host).and_then(|host| host.numa);
        match (node(a), node(b)) {
            (Some(one), Some(other)) if one != other => Distance::System,
            (Some(_), Some(_)) => Distance::Node,
            // With one memory node in all there is nowhere else to be.
            _ if self.hosts.len() == 1 => Distance::Node,
            _ => Distance::Unknown,
        }
    }
}

/// Distances of a machine's accelerators and network ports from each other over PCI, small enough to travel with it. Links
/// between accelerators are told by the devices themselves; [`crate::Machine::distance`] has both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distances {
    pub accelerators: Vec<PciAddress>,
    /// Names of network ports.
    pub ports: Vec<String>,
    /// One row an accelerator: a letter for each accelerator, then for each port ([`Distances::letter`]).
    pub rows: Vec<String>,
}

impl Distances {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The letter that stands for a distance in a row.
    pub fn letter(distance: Distance) -> char {
        match distance {
            Distance::Card => 'c',
            Distance::Link => 'l',
            Distance::Switch => 's',
            Distance::Switches => 'w',
            Distance::Root => 'r',
            Distance::Node => 'n',
            Distance::System => 'y',
            Distance::Unknown => '?',
        }
    }

    fn at(&self, row: usize, column: usize) -> Distance {
        let letter = self.rows.get(row).and_then(|row| row.as_bytes().get(column)).map(|byte| char::from(*byte));
        Distance::ALL.into_iter().find(|distance| Some(Distances::letter(*distance)) == letter).unwrap_or_default()
    }

    fn row(&self, at: PciAddress) -> Option<usize> {
        self.accelerators.iter().position(|other| *other == at)
    }

    /// Between two accelerators; unknown for one that is not listed.
    pub fn between(&self, a: PciAddress, b: PciAddress) -> Distance {
        self.row(a).zip(self.row(b)).map_or(Distance::Unknown, |(a, b)| self.at(a, b))
    }

    /// From an accelerator to a network port; unknown for what is not listed.
    pub fn to_port(&self, at: PciAddress, port: &str) -> Distance {
        let column = self.ports.iter().position(|other| other == port).map(|at| at + self.accelerators.len());
        self.row(at).zip(column).map_or(Distance::Unknown, |(row, column)| self.at(row, column))
    }

    /// The network ports nearest to an accelerator; none when no distance is known.
    pub fn nearest_ports(&self, at: PciAddress) -> Vec<&str> {
        let known = self.ports.iter().map(|port| (self.to_port(at, port), port.as_str())).filter(|(to, _)| *to != Distance::Unknown);
        let known: Vec<(Distance, &str)> = known.collect();
        let least = known.iter().map(|(to, _)| *to).min();
        known.into_iter().filter(|(to, _)| Some(*to) == least).map(|(_, port)| port).collect()
    }
}

impl LinkGraph {
    /// The distances over PCI of every accelerator and port that has a place there.
    pub fn distances(&self) -> Distances {
        let accelerators: Vec<PciAddress> = self.accelerators.iter().filter_map(|one| one.pci).collect();
        let ports: Vec<(&str, PciAddress)> = self.ports.iter().filter_map(|port| Some((port.name.as_str(), port.pci?))).collect();
        let columns: Vec<PciAddress> = accelerators.iter().copied().chain(ports.iter().map(|(_, at)| *at)).collect();
        let row = |from: &PciAddress| columns.iter().map(|to| Distances::letter(self.way(*from, *to).over_pci)).collect();
        Distances {
            rows: accelerators.iter().map(row).collect(),
            ports: ports.into_iter().map(|(name, _)| name.to_owned()).collect(),
            accelerators,
        }
    }
}

#[cfg(test)]
mod tests;
