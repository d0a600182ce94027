//! Ports of RDMA devices: InfiniBand, RoCE, iWARP and the like.

use crate::PciAddress;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One port of one RDMA device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfinibandPort {
    /// `mlx5_0`.
    pub device: String,
    /// Ports count from 1.
    pub port: u32,
    pub state: PortState,
    /// What the physical layer does: `LinkUp`, `Polling`, `Disabled`.
    pub physical: String,
    /// `InfiniBand` or `Ethernet` (which is RoCE or iWARP).
    pub link_layer: String,
    /// Megabits a second; `None` where the kernel prints none.
    pub rate_mbps: Option<u64>,
    /// Lanes and generation as the kernel prints them: `4X NDR`.
    pub rate_name: String,
    /// Whether the subnet manager has given the port an address (InfiniBand), and how many global addresses there are.
    pub has_lid: bool,
    pub gids: u32,
    /// Of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<u64>,
    pub firmware: String,
    /// Model as its driver names it: `MT4129`.
    pub model: String,
    pub pci: Option<PciAddress>,
    pub numa: Option<u32>,
    /// Network interfaces of the port.
    pub interfaces: Vec<String>,
}

/// States of a port (InfiniBand Architecture 1.4, 14.2.5.6; the kernel prints `4: ACTIVE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    #[default]
    Unknown,
    Down,
    /// The cable is in and no subnet manager has spoken yet.
    Initialising,
    Armed,
    Active,
    Deferred,
}

impl PortState {
    /// From `4: ACTIVE`.
    pub fn from_kernel(text: &str) -> PortState {
        match text.split(':').next().and_then(|number| number.trim().parse::<u32>().ok()) {
            Some(1) => PortState::Down,
            Some(2) => PortState::Initialising,
            Some(3) => PortState::Armed,
            Some(4) => PortState::Active,
            Some(5) => PortState::Deferred,
            _ => PortState::Unknown,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            PortState::Unknown => "unknown",
            PortState::Down => "down",
            PortState::Initialising => "initialising",
            PortState::Armed => "armed",
            PortState::Active => "active",
            PortState::Deferred => "deferred",
        }
    }
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Rate in megabits a second and its name from the kernel's `400 Gb/sec (4X NDR)` or `2.5 Gb/sec (1X SDR)`.
pub fn rate(text: &str) -> (Option<u64>, String) {
    let mut words = text.split_whitespace();
    let number: Option<f64> = words.next().and_then(|word| word.parse().ok());
    let rate = number
        .filter(|rate| *rate > 0.0 && *rate < 1e6 && words.next().is_some_and(|unit| unit.starts_with("Gb")))
        .map(|rate| (rate * 1000.0).round() as u64);
    let name = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(name, _)| name);
    (rate, name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_as_kernels_print_them() {
        for (text, rate_, name) in [
            ("400 Gb/sec (4X NDR)", Some(400_000), "4X NDR"),
            ("2.5 Gb/sec (1X SDR)", Some(2_500), "1X SDR"),
            ("100 Gb/sec (4X EDR)\n", Some(100_000), "4X EDR"),
            ("40 Gb/sec", Some(40_000), ""),
            ("", None, ""),
            ("NaN Gb/sec (x)", None, "x"),
            ("7 apples", None, ""),
        ] {
            assert_eq!(rate(text), (rate_, name.to_owned()), "{text}");
        }
    }

    #[test]
    fn states_read_as_kernels_print_them() {
        let read = ["1: DOWN", "2: INIT", "3: ARMED", "4: ACTIVE", "5: ACTIVE_DEFER", "", "x: y", "0: NOP"].map(PortState::from_kernel);
        use PortState::*;
        assert_eq!(read, [Down, Initialising, Armed, Active, Deferred, Unknown, Unknown, Unknown]);
        assert_eq!(Active.to_string(), "active");
    }
}
