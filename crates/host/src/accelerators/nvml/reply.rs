//! What the child that asks NVML writes: one JSON value a line.

use machine::{Bytes, LinkDomain, PciAddress, Telemetry};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The library is open.
    Driver(String),
    /// The library did not open.
    Failed(Failed),
    /// This card is asked now: if nothing follows, it is the one that hangs.
    Asking(u32),
    Gpu(Box<Gpu>),
    /// The library gave an error for this card.
    Bad {
        index: u32,
        failed: Failed,
    },
    /// All cards were asked.
    Done,
}

/// An error of the library, in its own kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub error: String,
    /// There is no library, which says nothing about the cards.
    #[serde(default)]
    pub no_library: bool,
    /// What a person can do, where the kind of error tells.
    #[serde(default)]
    pub hint: Option<String>,
}

/// One card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    pub index: u32,
    /// As the library writes it: "00000000:3B:00.0".
    pub pci: String,
    #[serde(default)]
    pub uuid: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub memory: Option<u64>,
    #[serde(default)]
    pub minor: Option<u32>,
    /// Compute capability.
    #[serde(default)]
    pub capability: Option<(i32, i32)>,
    #[serde(default)]
    pub telemetry: Telemetry,
    #[serde(default)]
    pub remap: Option<Remap>,
    /// Whether it is in MIG mode.
    #[serde(default)]
    pub mig: bool,
    #[serde(default)]
    pub slices: Vec<MigSlice>,
    #[serde(default)]
    pub nvlinks: Vec<Nvlink>,
    #[serde(default)]
    pub fabric: Option<Fabric>,
}

impl Gpu {
    pub fn address(&self) -> Option<PciAddress> {
        self.pci.trim_matches('\0').trim().parse().ok()
    }
}

/// Memory rows that were replaced by spare ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remap {
    pub corrected: u32,
    pub uncorrected: u32,
    /// Takes effect at the next reset.
    pub pending: bool,
    /// No spare row is left.
    pub failed: bool,
}

/// One MIG compute instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigSlice {
    pub uuid: String,
    pub gpu_instance: u32,
    pub compute_instance: u32,
    pub memory: u64,
    /// Seventh parts of the card's compute units.
    pub sevenths: u32,
}

impl MigSlice {
    /// As NVIDIA names the profile: "1g.10gb".
    pub fn profile(&self) -> String {
        format!("{}g.{}gb", self.sevenths, (Bytes(self.memory).0 as f64 / f64::from(1u32 << 30)).round())
    }
}

/// One NVLink of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nvlink {
    pub up: bool,
    /// PCI address at the other end: a card, or a switch.
    #[serde(default)]
    pub to: Option<String>,
}

/// Where a card stands with the fabric manager, on boards with NVLink switches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fabric {
    /// The domain's UUID; all zero where the links stay within the machine.
    pub cluster: [u8; 16],
    pub clique: u32,
    /// `NVML_GPU_FABRIC_STATE_*`: 0 not supported, 1 not started, 2 in progress, 3 completed.
    pub state: u8,
    /// An `nvmlReturn_t`: how joining ended, where it is completed.
    pub status: u32,
    /// `NVML_GPU_FABRIC_HEALTH_SUMMARY_*`: 1 healthy, 2 unhealthy, 3 limited capacity; 0 where the driver does not tell.
    #[serde(default)]
    pub health: u8,
}

impl Fabric {
    /// The domain over several machines, where it is one.
    pub fn domain(&self) -> Option<LinkDomain> {
        if self.state == 0 || self.cluster == [0; 16] {
            return None;
        }
        let mut cluster = String::new();
        for (at, byte) in self.cluster.iter().enumerate() {
            cluster += if [4, 6, 8, 10].contains(&at) { "-" } else { "" };
            cluster += &format!("{byte:02x}");
        }
        Some(LinkDomain { cluster, clique: self.clique, ready: self.state == 3 && self.status == 0 })
    }
}
