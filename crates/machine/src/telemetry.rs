//! What a device does at one moment, in the units that its makers give.
//!
//! Every figure comes from outside: a driver's file, a library, the output of a tool. [`checked`] throws out what cannot be,
//! so that a library that lies is a finding and not a number on a screen.

use crate::Bytes;
use serde::{Deserialize, Serialize};

/// One look at one device. `None`: the source does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telemetry {
    /// Hottest point of the chip, degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_temperature_c: Option<i32>,
    /// Drawn now, milliwatts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mw: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_mw: Option<u64>,
    /// Of the compute units, megahertz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_clock_mhz: Option<u32>,
    /// Part of the time in which the device did something, percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_percent: Option<u32>,
    /// Part of the time in which its memory was read or written, percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_busy_percent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total: Option<Bytes>,
    /// Memory errors since the driver was loaded that were put right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc_corrected: Option<u64>,
    /// Memory errors since the driver was loaded that were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc_uncorrected: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<PcieLink>,
    /// Times a PCI packet was sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_replays: Option<u64>,
    /// What each process holds of its memory, where the library tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessMemory>,
    /// Why the clocks are held down: "power cap", "hardware thermal".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttled: Vec<String>,
    /// What the device or its driver says is wrong, in its own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub complaints: Vec<String>,
}

/// What one process holds of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMemory {
    /// As the machine numbers it.
    pub pid: u32,
    pub memory: Bytes,
}

/// What a device did when it was last looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    /// Milliseconds since then.
    pub age_ms: u64,
    pub telemetry: Telemetry,
}

/// Speed and width of the way to the PCI bus: now, and what card and slot could do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PcieLink {
    /// Megatransfers a second on each lane: 16000 for PCIe 4.
    pub speed_mt: u32,
    pub width: u32,
    pub max_speed_mt: u32,
    pub max_width: u32,
}

impl PcieLink {
    /// Fewer lanes than card and slot have. A lower speed alone is how idle cards save power.
    pub fn is_narrow(&self) -> bool {
        self.width > 0 && self.width < self.max_width
    }
}

impl Telemetry {
    pub fn is_empty(&self) -> bool {
        *self == Telemetry::default()
    }

    /// Takes from `other` what is missing here.
    pub fn or(mut self, other: Telemetry) -> Telemetry {
        self.temperature_c = self.temperature_c.or(other.temperature_c);
        self.memory_temperature_c = self.memory_temperature_c.or(other.memory_temperature_c);
        self.power_mw = self.power_mw.or(other.power_mw);
        self.power_limit_mw = self.power_limit_mw.or(other.power_limit_mw);
        self.clock_mhz = self.clock_mhz.or(other.clock_mhz);
        self.memory_clock_mhz = self.memory_clock_mhz.or(other.memory_clock_mhz);
        self.busy_percent = self.busy_percent.or(other.busy_percent);
        self.memory_busy_percent = self.memory_busy_percent.or(other.memory_busy_percent);
        self.memory_used = self.memory_used.or(other.memory_used);
        self.memory_total = self.memory_total.or(other.memory_total);
        self.ecc_corrected = self.ecc_corrected.or(other.ecc_corrected);
        self.ecc_uncorrected = self.ecc_uncorrected.or(other.ecc_uncorrected);
        self.link = self.link.or(other.link);
        self.pcie_replays = self.pcie_replays.or(other.pcie_replays);
        if self.processes.is_empty() {
            self.processes = other.processes;
        }
        self.throttled.extend(other.throttled);
        self.complaints.extend(other.complaints);
        self
    }
}

/// The largest device memory that anybody sells, with room: 16 TiB.
const MOST_MEMORY: Bytes = Bytes(16 << 40);
/// Megawatts are a data centre: 20 kW in milliwatts.
const MOST_POWER: u64 = 20_000_000;

/// What can be, and a sentence for each figure that cannot.
pub fn checked(mut seen: Telemetry) -> (Telemetry, Vec<String>) {
    let mut wrong = Vec::new();
    fn keep<T: Copy + ToString>(value: &mut Option<T>, name: &str, unit: &str, fits: impl Fn(T) -> bool, wrong: &mut Vec<String>) {
        if let Some(told) = *value
            && !fits(told)
        {
            wrong.push(format!("{name} of {}{unit}", told.to_string()));
            *value = None;
        }
    }
    let degrees = |value: i32| (-60..=200).contains(&value);
    let percent = |value: u32| value <= 100;
    keep(&mut seen.temperature_c, "a temperature", " °C", degrees, &mut wrong);
    keep(&mut seen.memory_temperature_c, "a memory temperature", " °C", degrees, &mut wrong);
    keep(&mut seen.power_mw, "a power", " mW", |value| value <= MOST_POWER, &mut wrong);
    keep(&mut seen.power_limit_mw, "a power limit", " mW", |value| value <= MOST_POWER, &mut wrong);
    keep(&mut seen.clock_mhz, "a clock", " MHz", |value| value <= 20_000, &mut wrong);
    keep(&mut seen.memory_clock_mhz, "a memory clock", " MHz", |value| value <= 50_000, &mut wrong);
    keep(&mut seen.busy_percent, "a load", " %", percent, &mut wrong);
    keep(&mut seen.memory_busy_percent, "a memory load", " %", percent, &mut wrong);
    keep(&mut seen.memory_total, "a memory", "", |value| value <= MOST_MEMORY, &mut wrong);
    let total = seen.memory_total.unwrap_or(MOST_MEMORY);
    keep(&mut seen.memory_used, "used memory", "", |value| value <= total, &mut wrong);
    let told = seen.processes.len();
    seen.processes.retain(|process| process.pid > 0 && process.memory <= total);
    if seen.processes.len() < told {
        wrong.push("memory of a process".into());
    }
    // amdgpu once gave 1048560 for "all bits set" (reference on kernel logs); no card counts up to 2^40 and lives.
    keep(&mut seen.ecc_corrected, "a count of corrected errors", "", |value| value < 1 << 40, &mut wrong);
    keep(&mut seen.ecc_uncorrected, "a count of uncorrected errors", "", |value| value < 1 << 40, &mut wrong);
    let link = |link: PcieLink| link.width <= 64 && link.max_width <= 64 && link.speed_mt <= 256_000 && link.max_speed_mt <= 256_000;
    if let Some(told) = seen.link.take_if(|told| !link(*told)) {
        wrong.push(format!("a link of {} MT/s x{}", told.speed_mt, told.width));
    }
    (seen, wrong)
}

#[cfg(test)]
mod tests;
