//! Ways between two devices that do not lead over the host.

use crate::DeviceId;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    Nvlink,
    Xgmi,
    /// Huawei's links between NPUs, and between them and processors.
    Hccs,
    /// Between the two dies of an Ascend package.
    Sio,
    /// NVLink to the processor of a superchip (NVLink-C2C).
    C2c,
    /// Through the PCI bus, as the driver lists it.
    Pcie,
}

impl LinkKind {
    pub fn name(self) -> &'static str {
        match self {
            LinkKind::Nvlink => "NVLink",
            LinkKind::Xgmi => "xGMI",
            LinkKind::Hccs => "HCCS",
            LinkKind::Sio => "SIO",
            LinkKind::C2c => "C2C",
            LinkKind::Pcie => "PCIe",
        }
    }
}

/// What leads from a device to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLink {
    pub kind: LinkKind,
    /// The other end; `None` for a switch, which leads to all that are on it.
    pub to: Option<DeviceId>,
    /// Links side by side.
    pub lanes: u32,
    /// Megabytes a second in one direction over all lanes, where the driver tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mb_per_s: Option<u64>,
    /// Links that should be up and are not.
    #[serde(default)]
    pub down: u32,
}

/// The domain of NVLinks over several machines that a device belongs to, such as a rack of 72 (NVIDIA's NVML API reference,
/// `nvmlGpuFabricInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkDomain {
    /// UUID of the domain.
    pub cluster: String,
    /// Members of one clique reach each other's memory.
    pub clique: u32,
    /// Whether the fabric manager has joined the device.
    pub ready: bool,
}
