//! A look at every card once a second that costs next to nothing: it tells only whether to ask in full.
//!
//! What is compared has no figures in it that change all the time: errors that appeared, words of drivers that changed, a
//! library that fails or a card that it does not answer for any more.

use super::library::Heard;
use super::{Health, faults, how};
use crate::accelerators::nvml::{self, Sweep};
use crate::accelerators::table::Telemetry as How;
use crate::telemetry::{Look, Sampler};
use machine::{Device, DeviceId, KernelFaults, Rung, Telemetry, Vendor, telemetry};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A library that answers at all answers within this time; one that does not is heard at the next glance.
const GLANCE: Duration = Duration::from_millis(250);

/// All that a glance goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Impression {
    kernel: KernelFaults,
    /// Cards whose drivers' files show something wrong, and how much of it.
    files: BTreeMap<DeviceId, Vec<String>>,
    library: Option<Gist>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Gist {
    failed: bool,
    answered: BTreeSet<u32>,
    /// Faults that stay once they are there, by card.
    faults: BTreeMap<u32, Vec<String>>,
}

impl Health {
    /// Looks at the kernel's log, the drivers' files and, without names and links, at NVIDIA's library, for which it waits a
    /// moment at most. Gives what each device does, and whether something changed since the last glance, so that asking in
    /// full is due.
    pub fn glance(&mut self, devices: &[Device]) -> (BTreeMap<DeviceId, Telemetry>, bool) {
        self.read_log();
        let mut figures = BTreeMap::new();
        let mut now = Impression { kernel: self.kernel.clone(), ..Impression::default() };
        for look in self.sample(devices) {
            let by_files = devices.iter().find(|device| device.id == look.id).and_then(how) == Some(How::Kernel);
            let wrong: Vec<String> =
                if by_files { faults(&look).into_iter().map(|fault| without_figures(&fault.text)).collect() } else { vec![] };
            if !wrong.is_empty() {
                now.files.insert(look.id.clone(), wrong);
            }
            if !look.telemetry.is_empty() {
                figures.insert(look.id, look.telemetry);
            }
        }
        let (sweep, whole) = match self.light(devices) {
            Some(Heard::Whole(sweep)) => (Some(sweep), true),
            Some(Heard::Light(sweep)) => (Some(sweep), false),
            // While it thinks, nothing is known to have changed.
            Some(Heard::Nothing) => {
                now.library = self.last.as_ref().and_then(|last| last.library.clone());
                (None, false)
            }
            None => (None, false),
        };
        if let Some(sweep) = sweep {
            for gpu in &sweep.gpus {
                let at = |device: &&Device| device.slice.is_none() && device.pci.is_some() && device.pci == gpu.address();
                if let Some(device) = devices.iter().find(at) {
                    let known = figures.remove(&device.id).unwrap_or_default();
                    figures.insert(device.id.clone(), telemetry::checked(gpu.telemetry.clone()).0.or(known));
                }
            }
            now.library = Some(gist(&sweep));
        }
        // An answer in full that came late is there to be taken up.
        let changed = whole || self.last.as_ref().is_some_and(|last| *last != now);
        self.last = Some(now);
        self.keep(devices, &figures);
        (figures, changed)
    }

    fn sample(&mut self, devices: &[Device]) -> Vec<Look> {
        let ids: Vec<DeviceId> = devices.iter().map(|device| device.id.clone()).collect();
        let sampler = match &mut self.sampler {
            Some((known, sampler)) if *known == ids => sampler,
            other => &mut other.insert((ids, Sampler::new(&self.root, devices))).1,
        };
        sampler.sample(Instant::now())
    }

    /// Asks the library, unless all of its cards sleep: asking would wake them.
    fn light(&mut self, devices: &[Device]) -> Option<Heard> {
        let library = self.nvml.as_mut().filter(|_| self.root.is_live())?;
        let mut cards = devices
            .iter()
            .filter(|device| device.vendor == Vendor::Nvidia && device.slice.is_none() && device.ladder.reached >= Rung::Node)
            .filter_map(|device| device.pci);
        let awake = |address| {
            self.root.text(&format!("sys/bus/pci/devices/{address}/power/runtime_status")).is_none_or(|status| status != "suspended")
        };
        cards.any(awake).then(|| library.glance(GLANCE))
    }
}

fn gist(sweep: &Sweep) -> Gist {
    let wrong = |gpu: &nvml::Gpu| {
        // Throttling comes and goes; the full round tells of it.
        let seen = Telemetry { throttled: vec![], ..telemetry::checked(gpu.telemetry.clone()).0 };
        nvml::judge(gpu, &seen).into_iter().map(|fault| without_figures(&fault.text)).collect::<Vec<_>>()
    };
    Gist {
        failed: sweep.failed.is_some() || sweep.silence.is_some(),
        answered: sweep.gpus.iter().map(|gpu| gpu.index).collect(),
        faults: sweep.gpus.iter().map(|gpu| (gpu.index, wrong(gpu))).filter(|(_, wrong)| !wrong.is_empty()).collect(),
    }
}

/// Counts that go on growing are one change, not one a second.
fn without_figures(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::ladder::{Evidence, climb};

    #[test]
    fn a_glance_asks_for_a_full_round_once_for_each_change() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("sys/bus/pci/devices/0000:05:00.0");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
        for (file, text) in [("vendor", "0x1da3"), ("device", "0x1020"), ("class", "0x120000"), ("status", "Operational")] {
            write(file, text);
        }
        write("clk_cur_freq_mhz", "1650");
        let ladder = climb(&Evidence { driver: Some("habanalabs".into()), drivers: vec!["habanalabs".into()], ..Evidence::default() });
        let card = Device {
            id: DeviceId("a".into()),
            vendor: Vendor::Gaudi,
            driver: Some("habanalabs".into()),
            pci: "0000:05:00.0".parse().ok(),
            ladder,
            ..Device::default()
        };
        let mut health = Health::new(crate::Root::at(dir.path()), None, Duration::from_secs(10));
        let devices = [card];
        let mut glance = || health.glance(&devices);
        assert!(!glance().1, "the first has nothing to be compared with");
        let (figures, changed) = glance();
        assert_eq!((figures[&devices[0].id].clock_mhz, changed), (Some(1650), false));
        write("status", "Malfunction");
        assert!(glance().1);
        assert!(!glance().1);
        write("clk_cur_freq_mhz", "900");
        assert!(!glance().1, "a clock is no fault");
    }

    #[test]
    fn what_the_library_says_is_a_change_when_a_card_or_a_fault_appears() {
        let gpu = |index, ecc| nvml::Gpu {
            index,
            telemetry: Telemetry { ecc_uncorrected: Some(ecc), temperature_c: Some(40 + ecc as i32), ..Telemetry::default() },
            ..nvml::Gpu::default()
        };
        let sweep = |gpus: Vec<nvml::Gpu>| Sweep { gpus, ..Sweep::default() };
        let fine = gist(&sweep(vec![gpu(0, 0), gpu(1, 0)]));
        let mut hot = gpu(1, 0);
        hot.telemetry.temperature_c = Some(90);
        hot.telemetry.throttled = vec!["hardware slowdown".into()];
        assert_eq!(fine, gist(&sweep(vec![gpu(0, 0), hot])));
        assert_ne!(fine, gist(&sweep(vec![gpu(0, 0)])));
        let sick = gist(&sweep(vec![gpu(0, 0), gpu(1, 1)]));
        assert_ne!(fine, sick);
        assert_eq!(sick, gist(&sweep(vec![gpu(0, 0), gpu(1, 7)])), "more of the same is no change");
    }
}
