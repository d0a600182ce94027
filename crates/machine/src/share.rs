//! Parts of a device: what one is, how firmly a run is kept to it, and which vendor's devices can be held in parts.

use crate::{Bytes, Device, Facts, Rung, SliceKind, Vendor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How firmly a run is kept to its part of a device, weakest first. Ordered: a job may demand a least level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforcement {
    /// The part is on the ledger; nobody looks whether the run keeps to it.
    Counted,
    /// What the run holds of the device's memory is measured; a run that oversteps is told, or ended.
    Watched,
    /// The vendor's driver refuses more memory and compute. No card offers it yet: CUDA MPS serves the programs of one person at a time and
    /// meets them in the machine's own shared memory, which runs of several people in views of their own do not have.
    Driver,
    /// The hardware divides the card: MIG, vNPU, SR-IOV, compute partitions.
    Hard,
}

impl Enforcement {
    /// Weakest first.
    pub const ALL: &'static [Enforcement] = &[Enforcement::Counted, Enforcement::Watched, Enforcement::Driver, Enforcement::Hard];

    /// The word in job files, listings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Enforcement::Counted => "counted",
            Enforcement::Watched => "watched",
            Enforcement::Driver => "driver",
            Enforcement::Hard => "hard",
        }
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A part of a device as a run holds it, the same of each of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Device memory.
    pub memory: Bytes,
    /// Thousandths of the compute units that are promised; with 0 the run takes what others leave.
    pub compute: u32,
    /// Thousandths of a device that limits and fair shares count: the larger of memory and compute.
    pub permille: u32,
    pub enforced: Enforcement,
}

impl Share {
    /// The part of a device of this much memory.
    pub fn of(memory: Bytes, compute: u32, device: Bytes, enforced: Enforcement) -> Share {
        Share { memory, compute, permille: part_of(memory, device).max(compute).clamp(1, 1000), enforced }
    }
}

impl fmt::Display for Share {
    /// `8 GiB, 25 % of compute, watched`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compute = if self.compute == 0 { String::new() } else { format!(", {} of compute", Percent(self.compute)) };
        f.pad(&format!("{}{compute}, {}", self.memory, self.enforced))
    }
}

/// Thousandths, written as percent: `25 %`, `12.5 %`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenth = if self.0.is_multiple_of(10) { String::new() } else { format!(".{}", self.0 % 10) };
        f.pad(&format!("{}{tenth} %", self.0 / 10))
    }
}

/// Thousandths that `memory` is of `device`, rounded up.
pub fn part_of(memory: Bytes, device: Bytes) -> u32 {
    let part = (u128::from(memory.0) * 1000).div_ceil(u128::from(device.0.max(1)));
    u32::try_from(part).unwrap_or(u32::MAX)
}

/// What a vendor lets be done with a whole card. MIG instances, vNPUs and virtual functions are devices of their own and
/// always held whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharingRule {
    pub vendor: Vendor,
    /// Memory of a part is a multiple of this.
    pub step: Bytes,
    /// Parts of one card at a time.
    pub tasks: u32,
    /// A rank that holds parts holds one card only.
    pub one_card: bool,
    /// Where the figures come from.
    pub source: &'static str,
}

/// Parts of one card where the vendor names no number: beyond this the cards of today only take turns.
const USUAL_TASKS: u32 = 16;
const HAMI: &str = "HAMi device plugins (sharing of non-NVIDIA cards)";

const fn hami(vendor: Vendor, step_mib: u64) -> SharingRule {
    SharingRule { vendor, step: Bytes::mib(step_mib), tasks: USUAL_TASKS, one_card: true, source: HAMI }
}

/// Vendors whose cards several processes may open at a time. Not in it: who gives a card to one process only (Gaudi, TPU,
/// Neuron), who divides cards by templates (Ascend: vNPU), and those of whom it is not known.
pub const SHARING: [SharingRule; 10] = [
    SharingRule {
        vendor: Vendor::Nvidia,
        step: Bytes::mib(1),
        tasks: USUAL_TASKS,
        one_card: false,
        source: "CUDA: the default compute mode takes several processes",
    },
    SharingRule {
        vendor: Vendor::Amd,
        step: Bytes::mib(1),
        tasks: USUAL_TASKS,
        one_card: false,
        source: "amdgpu: KFD takes several processes",
    },
    SharingRule {
        vendor: Vendor::Intel,
        step: Bytes::mib(1),
        tasks: USUAL_TASKS,
        one_card: false,
        source: "i915/xe: DRM takes several processes",
    },
    hami(Vendor::Cambricon, 256),
    hami(Vendor::Iluvatar, 256),
    hami(Vendor::MooreThreads, 512),
    hami(Vendor::Hygon, 1),
    hami(Vendor::Metax, 1),
    hami(Vendor::Kunlunxin, 1),
    hami(Vendor::Enflame, 1),
];

/// How one device can be held in parts on its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    pub enforced: Enforcement,
    pub step: Bytes,
    /// Runs at a time; 1 for a slice, which is a part itself.
    pub tasks: u32,
    pub one_card: bool,
}

impl Device {
    /// `None`: the device is held whole or not at all.
    pub fn sharing(&self, facts: &Facts) -> Option<Sharing> {
        if self.slice.is_some() {
            return Some(Sharing { enforced: Enforcement::Hard, step: Bytes(1), tasks: 1, one_card: false });
        }
        let rule = SHARING.iter().find(|rule| rule.vendor == self.vendor)?;
        // NVIDIA's library tells the memory of each process; nobody else's is read yet.
        let enforced = match self.vendor {
            Vendor::Nvidia if facts.measures_devices && self.ladder.reached >= Rung::Library => Enforcement::Watched,
            _ => Enforcement::Counted,
        };
        Some(Sharing { enforced, step: rule.step, tasks: rule.tasks, one_card: rule.one_card })
    }

    /// Thousandths of its card's compute units that a slice has; `None` where its name does not tell, or it is no slice.
    pub fn slice_compute(&self) -> Option<u32> {
        let slice = self.slice.as_ref()?;
        let leading = |text: &str| text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())].parse::<u32>().ok();
        let (units, of) = match slice.kind {
            // "2g.20gb": of seven; an A30 has four (NVIDIA MIG user guide).
            SliceKind::Mig => (leading(&slice.profile)?, if self.model.contains("A30") { 4 } else { 7 }),
            // "vir04", "vir05_1c_16g": cores of the chip (Ascend virtual instance templates).
            SliceKind::Vnpu => (leading(slice.profile.strip_prefix("vir")?)?, npu_cores(&self.model)?),
            SliceKind::Vf | SliceKind::Partition => return None,
        };
        (units > 0).then(|| (units.saturating_mul(1000) / of).min(1000))
    }
}

/// AI cores by chip, as the templates of its virtual instances divide them.
fn npu_cores(model: &str) -> Option<u32> {
    const CORES: [(&str, u32); 5] = [("310P", 8), ("910B4", 20), ("910B3", 20), ("910B2", 24), ("910A", 32)];
    CORES.iter().find(|(chip, _)| model.to_ascii_uppercase().contains(chip)).map(|(_, cores)| *cores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceId, Ladder, Slice};

    fn card(vendor: Vendor, reached: Rung) -> Device {
        Device { vendor, memory: Some(Bytes::gib(24)), ladder: Ladder { reached, stop: None }, ..Device::default() }
    }

    fn slice(kind: SliceKind, profile: &str, model: &str) -> Device {
        let slice = Slice { kind, parent: DeviceId("card".into()), profile: profile.into() };
        Device { model: model.into(), slice: Some(slice), ..Device::default() }
    }

    #[test]
    fn how_firmly_depends_on_vendor_and_library() {
        let plain = Facts { measures_devices: true, ..Facts::default() };
        let unmeasured = Facts::default();
        let rows = [
            (card(Vendor::Nvidia, Rung::Healthy), &plain, Some(Enforcement::Watched)),
            (card(Vendor::Nvidia, Rung::Library), &plain, Some(Enforcement::Watched)),
            (card(Vendor::Nvidia, Rung::Node), &plain, Some(Enforcement::Counted)),
            (card(Vendor::Nvidia, Rung::Healthy), &unmeasured, Some(Enforcement::Counted)),
            (card(Vendor::Amd, Rung::Healthy), &plain, Some(Enforcement::Counted)),
            (card(Vendor::Gaudi, Rung::Healthy), &plain, None),
            (card(Vendor::Ascend, Rung::Healthy), &plain, None),
            (slice(SliceKind::Vnpu, "vir04", "310P3"), &plain, Some(Enforcement::Hard)),
            (slice(SliceKind::Mig, "1g.10gb", "A100"), &unmeasured, Some(Enforcement::Hard)),
        ];
        for (device, facts, level) in rows {
            assert_eq!(device.sharing(facts).map(|sharing| sharing.enforced), level, "{device:?}");
        }
    }

    #[test]
    fn steps_and_tasks_are_the_vendors() {
        let rule = |vendor| card(vendor, Rung::Healthy).sharing(&Facts::default()).unwrap();
        assert_eq!((rule(Vendor::Nvidia).step, rule(Vendor::Nvidia).tasks, rule(Vendor::Nvidia).one_card), (Bytes::mib(1), 16, false));
        assert_eq!((rule(Vendor::Cambricon).step, rule(Vendor::Cambricon).one_card), (Bytes::mib(256), true));
        assert_eq!(rule(Vendor::MooreThreads).step, Bytes::mib(512));
        let slice = slice(SliceKind::Vf, "0", "x").sharing(&Facts::default()).unwrap();
        assert_eq!((slice.tasks, slice.enforced), (1, Enforcement::Hard));
        for (place, rule) in SHARING.iter().enumerate() {
            assert!(SHARING[place + 1..].iter().all(|other| other.vendor != rule.vendor), "{} twice", rule.vendor);
            assert!(rule.tasks > 1 && rule.step > Bytes::ZERO && !rule.source.is_empty());
        }
    }

    #[test]
    fn the_name_of_a_slice_tells_its_compute() {
        let rows = [
            (slice(SliceKind::Mig, "1g.10gb", "NVIDIA A100-SXM4-80GB"), Some(142)),
            (slice(SliceKind::Mig, "3g.40gb", "NVIDIA H100"), Some(428)),
            (slice(SliceKind::Mig, "2g.12gb", "NVIDIA A30"), Some(500)),
            (slice(SliceKind::Vnpu, "vir04", "Ascend 310P3"), Some(500)),
            (slice(SliceKind::Vnpu, "vir05_1c_16g", "Ascend910B3"), Some(250)),
            (slice(SliceKind::Vnpu, "vir05_1c_16g", "Ascend X"), None),
            (slice(SliceKind::Mig, "MIG", "NVIDIA H100"), None),
            (slice(SliceKind::Vf, "0", "x"), None),
            (Device::default(), None),
        ];
        for (device, compute) in rows {
            assert_eq!(device.slice_compute(), compute, "{device:?}");
        }
    }

    #[test]
    fn a_part_counts_by_what_it_takes_most_of() {
        let share = |memory, compute| Share::of(memory, compute, Bytes::gib(24), Enforcement::Watched);
        assert_eq!(share(Bytes::gib(8), 0).permille, 334);
        assert_eq!(share(Bytes::gib(6), 500).permille, 500);
        assert_eq!(share(Bytes::gib(48), 0).permille, 1000);
        assert_eq!(share(Bytes::gib(6), 125).to_string(), "6 GiB, 12.5 % of compute, watched");
        assert_eq!(share(Bytes::gib(6), 0).to_string(), "6 GiB, watched");
        assert_eq!(part_of(Bytes(1), Bytes::ZERO), 1000);
        assert_eq!(Percent(250).to_string(), "25 %");
    }

    #[test]
    fn levels_are_ordered_and_named() {
        assert!(Enforcement::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        for level in Enforcement::ALL {
            assert_eq!(serde_json::to_string(level).unwrap(), format!("\"{level}\""));
        }
    }
}
