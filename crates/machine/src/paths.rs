//! Whether two accelerators, or an accelerator and a network card, can reach each other's memory directly, and what is in
//! the way.
//!
//! [`peer_to_peer`] and [`rdma`] are pure: evidence in, verdict and reasons out. What is not known is said to be unknown,
//! never guessed.

mod report;
mod rules;

pub use report::{PathEnd, PathPair, PathReason, PathReport, report};
pub use rules::{peer_to_peer, rdma};

use crate::{CpuKind, PciAddress, Vendor, Way};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether data can go straight from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Works,
    /// Goes, but on a longer way than the hardware has.
    Degraded,
    /// Evidence is missing.
    Unknown,
    Blocked,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Works => "works",
            Verdict::Degraded => "degraded",
            Verdict::Unknown => "unknown",
            Verdict::Blocked => "blocked",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One thing in the way, or one that nobody could look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Obstacle {
    /// The verdict it leads to when nothing worse is found.
    pub verdict: Verdict,
    pub text: String,
    /// Devices and ports it is about, by name or address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
    /// What a person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Who says so, where it is not what the kernel shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Verdict and everything that led to it; without an obstacle it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    pub verdict: Verdict,
    pub obstacles: Vec<Obstacle>,
}

impl Judgement {
    fn of(obstacles: Vec<Obstacle>) -> Judgement {
        let verdict = obstacles.iter().map(|obstacle| obstacle.verdict).max().unwrap_or(Verdict::Works);
        Judgement { verdict, obstacles }
    }
}

/// What the IOMMU does to a device's addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Translation {
    /// There is no IOMMU, or it is switched off.
    Off,
    /// Addresses pass as they are (`iommu=pt`).
    Identity,
    /// Addresses are translated: group type `DMA` or `DMA-FQ`.
    Translating,
    #[default]
    Unknown,
}

/// Access control services of one port (PCIe 6.0, 7.7.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acs {
    /// The port has no such capability: it forwards straight.
    Absent,
    /// It has, and does not redirect.
    Off,
    /// Requests or completions between devices are sent up to the processor.
    Redirects,
    /// The extended configuration space could not be read.
    Unreadable,
}

/// A port of a switch, or of the root complex, between two functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortOnWay {
    pub address: PciAddress,
    pub acs: Acs,
}

/// What is known of one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// `None` for a network card.
    pub vendor: Option<Vendor>,
    /// For people: `nvidia 0`, `mlx5_0`.
    pub name: String,
    pub model: String,
    pub pci: Option<PciAddress>,
    pub translation: Translation,
    /// Why it cannot be used at all, when it cannot: no driver, port down.
    pub unusable: Option<String>,
    /// A network card whose driver offers RDMA.
    pub has_rdma: bool,
}

/// Two ends and the way between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairEvidence {
    pub from: Side,
    pub to: Side,
    pub way: Way,
    /// Bridges on the way below the point where both sides meet.
    pub ports: Vec<PortOnWay>,
}

/// What is known of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathEvidence {
    /// Major and minor version of the kernel.
    pub kernel: Option<(u32, u32)>,
    pub virtualised: Option<String>,
    pub cpu: CpuKind,
    /// Whether NVIDIA's kernel modules are the open ones; `None` when none is loaded or it does not tell.
    pub nvidia_open: Option<bool>,
    /// Whether `nvidia-peermem` or `nv_peer_mem` is loaded; `None` when the list of modules could not be read.
    pub peermem: Option<bool>,
    /// Whether the kernel was built with CONFIG_DMABUF_MOVE_NOTIFY and CONFIG_PCI_P2PDMA, both needed by AMD's way.
    pub dmabuf_built: Option<bool>,
}

#[cfg(test)]
mod tests;
