//! One object of the tree.

use crate::{Bytes, CpuSet, PciAddress};
use serde::{Deserialize, Serialize};

/// A part of a machine. Normal objects (packages, caches, cores ...) hold CPUs; memory, I/O and others hang beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub kind: Kind,
    /// The kernel's number; `None` where it gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_index: Option<u32>,
    /// Name of an OS device: `mlx5_0`, `nvme0n1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A closer word than the kind: `Cluster`, `HBM`, `Disk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtype: Option<String>,
    /// CPUs in it that are online and that this process may use.
    #[serde(default, skip_serializing_if = "CpuSet::is_empty")]
    pub cpus: CpuSet,
    /// All CPUs in it.
    #[serde(default, skip_serializing_if = "CpuSet::is_empty")]
    pub complete_cpus: CpuSet,
    /// Memory nodes in it, or that it is in.
    #[serde(default, skip_serializing_if = "CpuSet::is_empty")]
    pub nodes: CpuSet,
    #[serde(default, skip_serializing_if = "CpuSet::is_empty")]
    pub complete_nodes: CpuSet,
    /// Further facts, in hwloc's words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub infos: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<Object>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Object>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub io: Vec<Object>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misc: Vec<Object>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Kind {
    #[default]
    Machine,
    /// Several objects of one level that belong together without being one part.
    Group {
        group: GroupKind,
    },
    Package,
    Die,
    Cache(Cache),
    Core,
    /// A logical CPU.
    Pu,
    NumaNode(NodeMemory),
    /// A cache in front of memory rather than behind CPUs.
    MemoryCache(Cache),
    /// Where a root bus begins.
    HostBridge {
        domain: u32,
        secondary: u8,
        subordinate: u8,
    },
    PciBridge {
        address: PciAddress,
    },
    PciDevice {
        address: PciAddress,
    },
    OsDevice(OsDeviceKind),
    /// What has no place in the hardware tree, such as a memory module.
    Misc,
}

/// Why a group was made, the strongest reason first: of two groups of the same CPUs the stronger stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupKind {
    /// A quarter or half of a Knights Landing processor.
    KnlCluster,
    /// Books and drawers of s390 machines.
    Book,
    /// Cores that share a cluster by the kernel's word.
    Cluster,
    /// Nodes at the smallest distance.
    Distance,
    /// CPUs that an I/O device is near to.
    Io,
    /// CPUs that a memory node is near to.
    Memory,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cache {
    /// 1 is nearest to the core.
    pub level: u8,
    pub holds: CacheKind,
    pub size: Bytes,
    /// Bytes; 0 is unknown.
    pub line: u32,
    /// 0 is unknown, -1 is fully associative.
    pub ways: i32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    #[default]
    Unified,
    Data,
    Instruction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMemory {
    pub local: Bytes,
    /// Of it, what is set aside as huge pages: of 2 MiB and 1 GiB or whatever the two largest sizes are, in bytes in all.
    pub huge: Bytes,
    /// Its tier in [`super::Topology::tiers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "os_device")]
pub enum OsDeviceKind {
    Storage,
    /// Memory that is reached as a device.
    Memory,
    /// Memory that keeps its contents, reached as a device.
    MemoryStorage,
    Gpu,
    CoProcessor,
    Network,
    OpenFabrics,
    Dma,
}

impl Kind {
    /// Holds CPUs, as opposed to hanging beside them.
    pub fn is_normal(&self) -> bool {
        matches!(self, Kind::Machine | Kind::Group { .. } | Kind::Package | Kind::Die | Kind::Cache(_) | Kind::Core | Kind::Pu)
    }

    pub fn is_memory(&self) -> bool {
        matches!(self, Kind::NumaNode(_) | Kind::MemoryCache(_))
    }

    pub fn is_group(&self) -> bool {
        matches!(self, Kind::Group { .. })
    }

    /// Place from the outermost to the innermost among objects of the same CPUs.
    pub(super) fn order(&self) -> u32 {
        match self {
            Kind::Machine => 0,
            Kind::Group { .. } => 1,
            Kind::Package => 4,
            Kind::Die => 5,
            Kind::Cache(Cache { level, holds, .. }) => 26 - 2 * u32::from(*level).min(9) + u32::from(*holds == CacheKind::Instruction),
            Kind::Core => 30,
            Kind::Pu => 34,
            _ => 40,
        }
    }

    /// Same kind and, for caches, same level and contents: a level of the tree is made of such objects.
    pub fn same_level(&self, other: &Kind) -> bool {
        match (self, other) {
            (Kind::Cache(a), Kind::Cache(b)) => {
                a.level == b.level && (a.holds == CacheKind::Instruction) == (b.holds == CacheKind::Instruction)
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// As hwloc writes it: `L1dCache`, `NUMANode`, `OSDev`.
    pub fn type_name(&self) -> String {
        match self {
            Kind::Machine => "Machine".into(),
            Kind::Group { .. } => "Group".into(),
            Kind::Package => "Package".into(),
            Kind::Die => "Die".into(),
            Kind::Cache(cache) => match cache.holds {
                CacheKind::Instruction => format!("L{}iCache", cache.level),
                _ if cache.level == 1 => "L1dCache".into(),
                CacheKind::Data => format!("L{}dCache", cache.level),
                CacheKind::Unified => format!("L{}Cache", cache.level),
            },
            Kind::Core => "Core".into(),
            Kind::Pu => "PU".into(),
            Kind::NumaNode(_) => "NUMANode".into(),
            Kind::MemoryCache(_) => "MemCache".into(),
            Kind::HostBridge { .. } => "HostBridge".into(),
            Kind::PciBridge { .. } => "PCIBridge".into(),
            Kind::PciDevice { .. } => "PCI".into(),
            Kind::OsDevice(_) => "OSDev".into(),
            Kind::Misc => "Misc".into(),
        }
    }
}

impl Object {
    /// A normal object of these CPUs.
    pub fn of(kind: Kind, os_index: Option<u32>, cpus: CpuSet) -> Object {
        Object { kind, os_index, complete_cpus: cpus.clone(), cpus, ..Object::default() }
    }

    /// A memory node.
    pub fn node(number: u32, cpus: CpuSet, memory: NodeMemory) -> Object {
        let only: CpuSet = [number].into_iter().collect();
        Object { nodes: only.clone(), complete_nodes: only, ..Object::of(Kind::NumaNode(memory), Some(number), cpus) }
    }

    pub fn info(&self, name: &str) -> Option<&str> {
        self.infos.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Memory of all nodes in it.
    pub fn total_memory(&self) -> Bytes {
        let own = match &self.kind {
            Kind::NumaNode(memory) => memory.local,
            _ => Bytes::ZERO,
        };
        std::iter::once(own).chain(self.memory.iter().chain(&self.children).map(Object::total_memory)).sum()
    }
}
