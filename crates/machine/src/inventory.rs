//! Cores, memory nodes and network ports of one machine.

use crate::{Bytes, CpuSet, Device, DeviceId, Distances, Facts, InfinibandPort, PciAddress};
use serde::{Deserialize, Serialize};

/// One machine as discovery found it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Stable over reboots (from `/etc/machine-id` where there is one).
    pub id: String,
    pub hostname: String,
    /// "Dell PowerEdge R750", empty when firmware does not say.
    pub product: String,
    pub packages: Vec<Package>,
    /// Logical CPUs that are online and that this process may use, by number.
    pub cpus: Vec<Cpu>,
    pub numa: Vec<NumaNode>,
    /// Usable memory: what the kernel reports, cut by the limit of the control group we live in.
    pub memory: Bytes,
    pub devices: Vec<Device>,
    pub nics: Vec<Nic>,
    /// Ports of RDMA devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub infiniband: Vec<InfinibandPort>,
    /// How far devices and network ports are from each other over PCI; [`Machine::distance`] asks it.
    #[serde(default, skip_serializing_if = "Distances::is_empty")]
    pub distances: Distances,
    pub facts: Facts,
}

/// One processor package (socket).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub id: u32,
    pub model: String,
}

/// One logical CPU: what Linux schedules on, so a hardware thread where there are several a core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    pub id: u32,
    pub package: u32,
    /// Physical core within the package; hardware threads of one core share it.
    pub core: u32,
    pub numa: u32,
    /// Last-level cache this CPU shares, as the lowest CPU number that shares it.
    pub cache_group: u32,
}

/// One memory node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumaNode {
    pub id: u32,
    pub memory: Bytes,
    pub cpus: CpuSet,
    /// The kernel's distance to each node in order of [`Machine::numa`]; 10 is local.
    pub distances: Vec<u32>,
}

/// One network interface with hardware behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    pub name: String,
    pub numa: Option<u32>,
    /// Megabits a second; `None` when the link is down or virtual.
    pub speed_mbps: Option<u32>,
    pub up: bool,
    /// An RDMA device such as `mlx5_0` where one belongs to this port.
    pub rdma: Option<String>,
    /// The PCI function of the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<PciAddress>,
}

impl Machine {
    pub fn cpu_set(&self) -> CpuSet {
        self.cpus.iter().map(|cpu| cpu.id).collect()
    }

    pub fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == *id)
    }

    /// The memory nodes whose CPUs are in `cpus`: where a run pinned there should allocate.
    pub fn mem_nodes_of(&self, cpus: &CpuSet) -> CpuSet {
        self.cpus.iter().filter(|cpu| cpus.contains(cpu.id)).map(|cpu| cpu.numa).collect()
    }
}
