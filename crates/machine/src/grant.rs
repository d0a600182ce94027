//! What one run holds of one machine.

use crate::{Bytes, CpuSet, DeviceId, Share};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much processor time a rank holds, in thousandths of a logical CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuShare(pub u32);

impl CpuShare {
    pub const ONE: CpuShare = CpuShare(1000);

    pub const fn whole(cpus: u32) -> CpuShare {
        CpuShare(cpus * 1000)
    }

    /// Whole CPUs are held alone; less than one shares its CPU with other small runs.
    pub const fn is_shared(self) -> bool {
        self.0 < 1000
    }
}

impl fmt::Display for CpuShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&if self.0.is_multiple_of(1000) { format!("{}", self.0 / 1000) } else { format!("{:.2}", f64::from(self.0) / 1000.0) })
    }
}

/// TCP ports leased to a run for its rendezvous: `first .. first + count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    pub first: u16,
    pub count: u16,
}

impl PortRange {
    pub fn overlaps(&self, other: &PortRange) -> bool {
        let end = |range: &PortRange| u32::from(range.first) + u32::from(range.count);
        u32::from(self.first) < end(other) && u32::from(other.first) < end(self)
    }
}

/// The part of a grant that one rank is pinned to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankGrant {
    /// The logical CPUs the rank runs on. A rank with less than a whole CPU has one here and shares it.
    pub cpus: CpuSet,
    pub devices: Vec<DeviceId>,
}

/// What a run holds, fully specific: execution makes no choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// [`crate::Machine::id`].
    pub machine: String,
    pub ranks: Vec<RankGrant>,
    /// Processor time of each rank.
    pub cpu_share: CpuShare,
    /// Host memory of the whole run, `/dev/shm` included.
    pub memory: Bytes,
    /// Size of `/dev/shm`, which all ranks of the run share.
    pub shm: Bytes,
    /// Memory nodes to allocate on.
    pub mem_nodes: CpuSet,
    /// Present when the run has a rendezvous.
    pub ports: Option<PortRange>,
    /// Which part it holds of each device; `None`: the devices are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}

impl Grant {
    /// Devices held, in thousandths of one: what limits and fair shares count.
    pub fn device_milli(&self) -> u64 {
        self.devices().count() as u64 * self.share.map_or(1000, |share| u64::from(share.permille))
    }

    pub fn cpus(&self) -> CpuSet {
        self.ranks.iter().fold(CpuSet::new(), |all, rank| all.union(&rank.cpus))
    }

    pub fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.ranks.iter().flat_map(|rank| &rank.devices)
    }

    /// Processor time of the whole run in thousandths of a CPU.
    pub fn cpu_milli(&self) -> u64 {
        u64::from(self.cpu_share.0) * self.ranks.len() as u64
    }
}
