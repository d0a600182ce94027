//! Keeps a running node's picture of its devices true: what comes, goes, falls off the bus or stops being well.
//!
//! One thread listens to the kernel and asks each card for four bytes once a second; the other glances at the kernel's log,
//! drivers' files and NVIDIA's library once a second and asks everything in full when something changed, and now and then
//! anyway. That may take long and never keeps the first one waiting; NVIDIA's library has a thread of its own, so one that hangs
//! keeps nobody waiting. On a machine without accelerators both sleep.

use crate::inventory;
use host::Root;
use host::watch::{Events, Watched};
use machine::{Device, DeviceId, LastSeen, Machine, ProcessMemory, Telemetry};
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Within this time a card that is lost is known to be.
const CHECK: Duration = Duration::from_secs(1);
/// How often everything is asked though nothing changed.
const ASK: Duration = Duration::from_secs(30);
/// A library that is silent for this long is not just waking its cards.
const PATIENCE: Duration = Duration::from_secs(machine::ladder::PATIENCE_LIMIT as u64);
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// How long a full round waits for NVIDIA's library: one that is silent has its answer taken up when it comes.
const MOMENT: Duration = Duration::from_secs(1);

/// The last figures of each device and when they were read, for whoever asks the node.
#[derive(Clone, Default)]
pub struct Figures(Arc<Mutex<BTreeMap<DeviceId, (Telemetry, Instant)>>>);

impl Figures {
    /// With the time since they were read.
    pub fn now(&self) -> BTreeMap<DeviceId, LastSeen> {
        let aged = |(telemetry, at): &(Telemetry, Instant)| LastSeen {
            age_ms: u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX),
            telemetry: telemetry.clone(),
        };
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(id, seen)| (id.clone(), aged(seen))).collect()
    }

    fn put(&self, figures: &BTreeMap<DeviceId, (Telemetry, Instant)>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(figures);
    }
}

/// The watch over one machine. Its threads live as long as the process.
pub struct DeviceWatch(Arc<Shared>);

struct Shared {
    held: Mutex<Held>,
    figures: Figures,
    tell: Box<dyn Fn(Machine) + Send + Sync>,
    measured: Box<dyn Fn(&Readings) + Send + Sync>,
}

/// The processes on each device that was read, with what they hold of its memory.
pub type Readings = BTreeMap<DeviceId, Vec<ProcessMemory>>;

struct Held {
    watched: Watched,
    /// How often the devices changed.
    generation: u64,
    /// Everything but the devices.
    machine: Machine,
}

impl Held {
    fn new(machine: Machine, generation: u64) -> Held {
        Held { watched: Watched::new(Root::live(), machine.devices.clone()), generation, machine }
    }

    /// What came or moved gets its distances; those that were there keep theirs.
    fn whole(&mut self) -> Machine {
        self.machine.devices.clone_from(&self.watched.devices);
        let known = |device: &Device| device.pci.is_none_or(|at| self.machine.distances.accelerators.contains(&at));
        if !self.watched.devices.iter().filter(|device| device.slice.is_none()).all(known) {
            host::place(&Root::live(), &mut self.machine);
            self.watched.devices.clone_from(&self.machine.devices);
        }
        self.machine.clone()
    }
}

impl DeviceWatch {
    /// Begins to watch. `tell` is called with the whole machine whenever something changed that matters to people or to
    /// placement, `measured` with every glance at what processes hold.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        machine: Machine,
        figures: Figures,
        tell: impl Fn(Machine) + Send + Sync + 'static,
        measured: impl Fn(&Readings) + Send + Sync + 'static,
    ) -> io::Result<DeviceWatch> {
        let held = Mutex::new(Held::new(machine, 0));
        let shared = Arc::new(Shared { held, figures, tell: Box::new(tell), measured: Box::new(measured) });
        let (wake, woken) = channel();
        let (listener, asker) = (shared.clone(), shared.clone());
        std::thread::Builder::new().name("devices".into()).spawn(move || listener.listen(&wake))?;
        std::thread::Builder::new().name("device-health".into()).spawn(move || asker.ask(&woken))?;
        Ok(DeviceWatch(shared))
    }

    /// The machine was read anew by somebody else: the watch goes on from there.
    pub fn replace(&self, machine: Machine) {
        let mut held = self.0.lock();
        *held = Held::new(machine, held.generation + 1);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, wake: &Sender<()>) {
        let events = Events::open().inspect_err(|error| tracing::warn!("the kernel does not tell of devices: {error}")).ok();
        loop {
            let none = self.lock().watched.devices.is_empty();
            let span = if none { FOREVER } else { CHECK };
            let told = match &events {
                Some(events) => events.wait(span),
                None => {
                    std::thread::sleep(span);
                    Some(vec![])
                }
            };
            let mut held = self.lock();
            let before = held.watched.devices.clone();
            match told {
                Some(events) => held.watched.take(&events),
                None => held.watched.read_all(),
            };
            held.watched.check();
            if matters(&before, &held.watched.devices) {
                held.generation += 1;
                let machine = held.whole();
                drop(held);
                (self.tell)(machine);
                let _ = wake.send(());
            }
        }
    }

    fn ask(&self, woken: &Receiver<()>) {
        let mut health = inventory::health(PATIENCE);
        if let Some(why) = health.log_unread() {
            tracing::warn!("the kernel's log cannot be read, so faults that it tells of are missed: {why}");
        }
        let mut asked: Option<Instant> = None;
        loop {
            let none = self.lock().watched.devices.is_empty();
            let woke = match woken.recv_timeout(if none { FOREVER } else { CHECK }) {
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => false,
                Ok(()) => {
                    while woken.try_recv().is_ok() {}
                    true
                }
            };
            let (mut devices, generation) = {
                let held = self.lock();
                (held.watched.devices.clone(), held.generation)
            };
            let (seen, changed) = health.glance(&devices);
            // Only what the library answered for: a card it was silent about was not read.
            let read = seen.into_iter().filter(|(_, telemetry)| telemetry.memory_used.is_some());
            (self.measured)(&read.map(|(id, telemetry)| (id, telemetry.processes)).collect());
            self.figures.put(health.figures());
            if !woke && !changed && asked.is_some_and(|asked| asked.elapsed() < ASK) {
                continue;
            }
            asked = Some(Instant::now());
            let before = devices.clone();
            health.ask_shortly(&mut devices, MOMENT);
            self.figures.put(health.figures());
            let mut held = self.lock();
            // What changed meanwhile was a reason to be woken again; this answer is of another time.
            if held.generation != generation {
                continue;
            }
            held.watched.devices.clone_from(&devices);
            let machine = held.whole();
            drop(held);
            if matters(&before, &devices) {
                (self.tell)(machine);
            }
        }
    }
}

/// Whether the difference is worth a record on disk and a new plan. Counts in a sentence that go up are not.
fn matters(before: &[Device], now: &[Device]) -> bool {
    let gist = |device: &Device| {
        let stop = device.ladder.stop.as_ref().map(|stop| (stop.kind, stop.blocks));
        (device.id.clone(), device.ladder.reached, stop, device.health.is_ready(), device.memory, device.nodes.clone())
    };
    before.len() != now.len() || before.iter().zip(now).any(|(before, now)| gist(before) != gist(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::ladder::{Answer, Evidence, Fault, climb};
    use machine::{Bytes, DeviceId};

    #[test]
    fn only_what_placement_and_people_go_by_is_told() {
        let ladder = climb(&Evidence { driver: Some("x".into()), drivers: vec!["x".into()], ..Evidence::default() });
        let device = Device { id: DeviceId("a".into()), health: ladder.health(), ladder, ..Device::default() };
        let fault = |text: &str| vec![Fault { text: text.into(), hint: None, blocks: false }];
        let with = |change: &dyn Fn(&mut Device)| {
            let mut other = device.clone();
            change(&mut other);
            vec![other]
        };
        let one = with(&|_| {});
        assert!(!matters(&one, &one.clone()));
        let sick = with(&|device| device.learn(Answer::Fine, fault("2 errors"), 0));
        assert!(matters(&one, &sick));
        assert!(!matters(&sick, &with(&|device| device.learn(Answer::Fine, fault("3 errors"), 0))));
        assert!(matters(&one, &with(&|device| device.memory = Some(Bytes(1)))) && matters(&one, &[]));
    }
}
