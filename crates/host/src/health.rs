//! The upper rungs of the ladder: does the vendor's library (or its tool, or the driver's files) answer for each device, and is
//! the device well.
//!
//! Everything that may hang is asked at the same time, each in its own child with the same deadline, so one vendor's silence
//! costs another vendor's cards nothing.

use crate::accelerators::ascend;
use crate::accelerators::nvml::{self, Asker, Sweep};
use crate::accelerators::table::{self, Telemetry as How};
use crate::accelerators::tools::{self, Told, Tool};
use crate::child::Silence;
use crate::telemetry::{Look, Sampler};
use crate::{KernelLog, Root};
use machine::ladder::{Answer, Fault};
use machine::{Device, DeviceId, KernelFaults, Rung, Telemetry, Vendor, telemetry};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

mod by_tool;
mod glance;
use by_tool::by_tool;
use glance::Impression;

/// Asks for a set of devices, once or again and again.
pub struct Health {
    root: Root,
    nvml: Option<Asker>,
    patience: Duration,
    log: Result<KernelLog, String>,
    kernel: KernelFaults,
    /// The files that are read at each glance, and for which devices.
    sampler: Option<(Vec<DeviceId>, Sampler)>,
    last: Option<Impression>,
}

impl Health {
    /// `nvml` makes children that load NVIDIA's library; without it, and in a captured tree, only the drivers' files are
    /// read. `patience` is for each thing that is asked.
    pub fn new(root: Root, nvml: Option<Asker>, patience: Duration) -> Health {
        let log = KernelLog::open(&root);
        Health { root, nvml, patience, log, kernel: KernelFaults::default(), sampler: None, last: None }
    }

    /// Why the kernel's log could not be read, where it could not: what it tells of devices is then missing.
    pub fn log_unread(&self) -> Option<&str> {
        self.log.as_ref().err().map(String::as_str)
    }

    fn read_log(&mut self) {
        let Ok(log) = &mut self.log else { return };
        let kernel = &mut self.kernel;
        if let Err(why) = log.read(|line| kernel.take(line)) {
            self.log = Err(why);
        }
    }

    /// Asks everything that can be asked and puts the answers into the ladders. Gives what each device does now.
    pub fn ask(&mut self, devices: &mut Vec<Device>) -> BTreeMap<DeviceId, Telemetry> {
        self.read_log();
        by_kernel(devices, &self.kernel);
        let live = self.root.is_live();
        let tools = wanted_tools(&self.root, devices);
        let divided = !tools.is_empty() && ascend::any(&self.root);
        let mut sampler = Sampler::new(&self.root, devices);
        let (patience, root) = (self.patience, &self.root);
        let nvidia = devices.iter().any(|device| device.vendor == Vendor::Nvidia && device.ladder.reached >= Rung::Node);
        let asker = self.nvml.as_mut().filter(|_| live && nvidia);
        let mut looks = Vec::new();
        let mut sweep: Option<Sweep> = None;
        let mut answers: Vec<(&Tool, Result<Vec<Told>, Silence>)> = Vec::new();
        std::thread::scope(|scope| {
            let asked: Vec<_> = tools.iter().map(|tool| scope.spawn(move || (*tool, tools::ask(tool, root, divided, patience)))).collect();
            let files = scope.spawn(move || {
                let first = sampler.sample(Instant::now());
                if !live || !sampler.has_counters() {
                    return first;
                }
                // Long enough for a counter of microjoules to move, short enough for a person.
                std::thread::sleep(Duration::from_millis(200));
                sampler.sample(Instant::now())
            });
            // Here and not in a thread of its own: the child that is kept dies with the thread that started it.
            sweep = asker.map(|asker| asker.sweep(true));
            looks = files.join().unwrap_or_default();
            answers = asked.into_iter().filter_map(|thread| thread.join().ok()).collect();
        });
        let mut figures = by_drivers(devices, looks, &self.kernel);
        for (tool, answer) in answers {
            by_tool(&self.root, devices, (tool, &answer), patience, &mut figures, &self.kernel);
        }
        if let Some(sweep) = sweep {
            let seconds = u32::try_from(patience.as_secs()).unwrap_or(u32::MAX);
            nvml::merge(&self.root, devices, &sweep, seconds, &self.kernel);
            for gpu in &sweep.gpus {
                let at = |device: &&Device| device.slice.is_none() && device.pci.is_some() && device.pci == gpu.address();
                if let Some(device) = devices.iter().find(at) {
                    let (seen, _) = telemetry::checked(gpu.telemetry.clone());
                    let known = figures.remove(&device.id).unwrap_or_default();
                    figures.insert(device.id.clone(), seen.or(known));
                }
            }
        }
        figures
    }
}

/// How the figures of a device are had: by its row in the vendor table.
fn how(device: &Device) -> Option<How> {
    let class = device.class;
    let row = table::rows().find(|row| {
        row.vendor == device.vendor && row.class == class && row.driver_names().any(|name| Some(name) == device.driver.as_deref())
    })?;
    Some(row.telemetry.value)
}

fn wanted_tools(root: &Root, devices: &[Device]) -> Vec<&'static Tool> {
    let mut found: Vec<&'static Tool> = Vec::new();
    for device in devices.iter().filter(|device| device.ladder.reached >= Rung::Node) {
        if let Some(How::Tool(name)) = how(device)
            && let Some(tool) = tools::tool(name).filter(|tool| tools::can_answer(tool, root))
            && !found.iter().any(|known| known.name == tool.name)
        {
            found.push(tool);
        }
    }
    found
}

/// What the kernel's log says of each card, before anybody is asked.
fn by_kernel(devices: &mut [Device], kernel: &KernelFaults) {
    let cards = devices.iter().filter(|device| device.slice.is_none() && device.ladder.reached >= Rung::Node);
    let cards: Vec<DeviceId> = cards.map(|device| device.id.clone()).collect();
    for id in cards {
        learn(devices, &id, &Answer::NotAsked, &logged(devices, &id, kernel));
    }
}

fn logged(devices: &[Device], id: &DeviceId, kernel: &KernelFaults) -> Vec<Fault> {
    let Some(device) = devices.iter().find(|device| device.id == *id) else { return Vec::new() };
    let mut found = device.pci.map(|address| kernel.of(address)).unwrap_or_default();
    found.extend(ascend::chip_number(device).and_then(|number| kernel.of_chip(number)));
    found
}

/// An answer for a card is one for its slices too; how many it has is not forgotten.
fn learn(devices: &mut [Device], id: &DeviceId, answer: &Answer, faults: &[Fault]) {
    let is_part = |device: &Device| device.slice.as_ref().is_some_and(|slice| slice.parent == *id);
    let slices = devices.iter().filter(|device| is_part(device)).count();
    for device in devices {
        if device.id == *id {
            device.learn(answer.clone(), faults.to_vec(), slices);
        } else if is_part(device) {
            device.learn(answer.clone(), faults.to_vec(), 0);
        }
    }
}

/// What the drivers' own files tell. Where the table says that they are the source, they are the library's rung.
fn by_drivers(devices: &mut [Device], looks: Vec<Look>, kernel: &KernelFaults) -> BTreeMap<DeviceId, Telemetry> {
    let mut figures = BTreeMap::new();
    for look in looks {
        let device = devices.iter().find(|device| device.id == look.id);
        if look.by_driver && device.and_then(how) == Some(How::Kernel) {
            let mut found = faults(&look);
            found.extend(logged(devices, &look.id, kernel));
            learn(devices, &look.id, &Answer::Fine, &found);
        }
        if !look.telemetry.is_empty() {
            figures.insert(look.id, look.telemetry);
        }
    }
    figures
}

fn faults(look: &Look) -> Vec<Fault> {
    let mut found = Vec::new();
    if let Some(state) = &look.bad_state {
        let hint = Some("the driver's lines in `dmesg` say more; a reset or a restart of the machine may bring it back".into());
        found.push(Fault { text: state.clone(), hint, blocks: true });
    }
    found.extend(general(&look.telemetry));
    found
}

/// What is wrong with a card of any vendor, by its figures.
fn general(seen: &Telemetry) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut add = |text: String, hint: &str| found.push(Fault { text, hint: Some(hint.into()), blocks: false });
    if let Some(count) = seen.ecc_uncorrected.filter(|count| *count > 0) {
        add(format!("{count} uncorrected memory errors since the driver was loaded"), "watch it; have the card tested if more come");
    }
    if let Some(link) = seen.link.filter(|link| link.is_narrow()) {
        add(format!("{} of {} PCIe lanes work", link.width, link.max_width), "reseat the card or its riser");
    }
    for complaint in seen.complaints.iter().filter(|complaint| !complaint.starts_with("the driver calls")) {
        add(complaint.clone(), "driver and card may not fit each other: see `dmesg`");
    }
    found
}

#[cfg(test)]
mod tests;
