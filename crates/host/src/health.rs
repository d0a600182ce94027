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
mod library;
use by_tool::by_tool;
use glance::Impression;
use library::Library;

/// Asks for a set of devices, once or again and again.
pub struct Health {
    root: Root,
    nvml: Option<Library>,
    patience: Duration,
    log: Result<KernelLog, String>,
    kernel: KernelFaults,
    /// The files that are read at each glance, and for which devices.
    sampler: Option<(Vec<DeviceId>, Sampler)>,
    last: Option<Impression>,
    /// The last figures of each device, and when they were read.
    figures: BTreeMap<DeviceId, (Telemetry, Instant)>,
}

impl Health {
    /// `nvml` makes children that load NVIDIA's library; without it, and in a captured tree, only the drivers' files are
    /// read. `patience` is for each thing that is asked.
    pub fn new(root: Root, nvml: Option<Asker>, patience: Duration) -> Health {
        let log = KernelLog::open(&root);
        let nvml = nvml.map(Library::new);
        Health { root, nvml, patience, log, kernel: KernelFaults::default(), sampler: None, last: None, figures: BTreeMap::new() }
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

    /// The last good figures of each device, with the time when they were read: of one whose library is silent now, older ones.
    pub fn figures(&self) -> &BTreeMap<DeviceId, (Telemetry, Instant)> {
        &self.figures
    }

    fn keep(&mut self, devices: &[Device], figures: &BTreeMap<DeviceId, Telemetry>) {
        self.figures.retain(|id, _| devices.iter().any(|device| device.id == *id));
        let now = Instant::now();
        for (id, seen) in figures {
            self.figures.insert(id.clone(), (seen.clone(), now));
        }
    }

    /// Asks everything that can be asked and puts the answers into the ladders. Gives what each device does now. A library
    /// that is silent is waited for: twice the patience, so that one card's silence does not hide the others.
    pub fn ask(&mut self, devices: &mut Vec<Device>) -> BTreeMap<DeviceId, Telemetry> {
        let limit = self.patience * 2 + Duration::from_secs(1);
        self.ask_within(devices, limit, true)
    }

    /// The same for one who has other work: NVIDIA's library is waited for no longer than `limit`. Where its answer is still
    /// due, its cards stay as they are, and the next [`Health::glance`] after it came tells that there is something to ask.
    pub fn ask_shortly(&mut self, devices: &mut Vec<Device>, limit: Duration) {
        self.ask_within(devices, limit, false);
    }

    fn ask_within(&mut self, devices: &mut Vec<Device>, limit: Duration, last_word: bool) -> BTreeMap<DeviceId, Telemetry> {
        self.read_log();
        let nvidia = |device: &Device| device.vendor == Vendor::Nvidia;
        let before: BTreeMap<DeviceId, Device> =
            devices.iter().filter(|device| nvidia(device)).map(|device| (device.id.clone(), device.clone())).collect();
        by_kernel(devices, &self.kernel);
        let live = self.root.is_live();
        let tools = wanted_tools(&self.root, devices);
        let divided = !tools.is_empty() && ascend::any(&self.root);
        let mut sampler = Sampler::new(&self.root, devices);
        let (patience, root) = (self.patience, &self.root);
        let wanted = devices.iter().any(|device| nvidia(device) && device.ladder.reached >= Rung::Node);
        let library = self.nvml.as_mut().filter(|_| live && wanted);
        let asked_library = library.is_some();
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
            sweep = library.and_then(|library| library.ask(limit));
            looks = files.join().unwrap_or_default();
            answers = asked.into_iter().filter_map(|thread| thread.join().ok()).collect();
        });
        let mut figures = by_drivers(devices, looks, &self.kernel);
        for (tool, answer) in answers {
            by_tool(&self.root, devices, (tool, &answer), patience, &mut figures, &self.kernel);
        }
        match sweep {
            Some(sweep) => self.by_library(devices, &sweep, &mut figures),
            None if asked_library && last_word => {
                self.by_library(devices, &Sweep { silence: Some(Silence::Hung), ..Sweep::default() }, &mut figures);
            }
            None if asked_library => meanwhile(devices, &before, &self.kernel),
            None => {}
        }
        self.keep(devices, &figures);
        figures
    }

    fn by_library(&self, devices: &mut Vec<Device>, sweep: &Sweep, figures: &mut BTreeMap<DeviceId, Telemetry>) {
        let seconds = u32::try_from(self.patience.as_secs()).unwrap_or(u32::MAX);
        nvml::merge(&self.root, devices, sweep, seconds, &self.kernel);
        for gpu in &sweep.gpus {
            let at = |device: &&Device| device.slice.is_none() && device.pci.is_some() && device.pci == gpu.address();
            if let Some(device) = devices.iter().find(at) {
                let (seen, _) = telemetry::checked(gpu.telemetry.clone());
                let known = figures.remove(&device.id).unwrap_or_default();
                figures.insert(device.id.clone(), seen.or(known));
            }
        }
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

/// While a library's answer is still due: what was known of its cards stands, but for what the kernel's log says since then
/// of those that were well.
fn meanwhile(devices: &mut [Device], before: &BTreeMap<DeviceId, Device>, kernel: &KernelFaults) {
    for device in devices.iter_mut() {
        if let Some(known) = before.get(&device.id) {
            device.ladder.clone_from(&known.ladder);
            device.health.clone_from(&known.health);
        }
    }
    let was_well = |id: &DeviceId| before.get(id).is_some_and(|known| known.slice.is_none() && known.ladder.reached == Rung::Healthy);
    let well: Vec<DeviceId> = devices.iter().map(|device| device.id.clone()).filter(was_well).collect();
    for id in well {
        let faults = logged(devices, &id, kernel);
        if !faults.is_empty() {
            learn(devices, &id, &Answer::Fine, &faults);
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
