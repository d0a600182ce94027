//! An independent judge of decisions: replays them on plain numbers and trusts nothing the packer computed.
//!
//! Written apart from [`crate::packing::Fleet`] and sharing no arithmetic with it.

use crate::packing::model::{Placement, Request, Shape};
use serde::{Deserialize, Serialize};

/// A decision that cannot stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Fault {
    #[error("step {step}: there is no machine {machine}")]
    NoMachine { step: usize, machine: u32 },
    #[error("step {step}: machine {machine} has no {what} left for it")]
    Overcommitted { step: usize, machine: u32, what: String },
    #[error("step {step}: asked for {wanted} devices, given {given}")]
    DeviceCount { step: usize, wanted: u8, given: u32 },
    #[error("step {step}: machine {machine} has another device model")]
    WrongKind { step: usize, machine: u32 },
    #[error("step {step}: refused, although machine {machine} had room")]
    Declined { step: usize, machine: u32 },
    #[error("step {step}: {arrival} is not running")]
    NotRunning { step: usize, arrival: usize },
}

#[derive(Clone, Debug)]
struct Used {
    cpu: u64,
    memory: u64,
    /// Share and memory held on each device.
    devices: Vec<(u64, u64)>,
}

/// Follows decisions one by one.
#[derive(Clone, Debug)]
pub struct Audit {
    shapes: Vec<Shape>,
    machines: Vec<(u16, Used)>,
    arrivals: Vec<Option<(Request, Placement)>>,
    steps: usize,
}

impl Audit {
    pub fn new(shapes: &[Shape], machines: &[u16]) -> Audit {
        let empty = |shape: &u16| {
            let devices = vec![(0, 0); usize::from(shapes[usize::from(*shape)].devices)];
            (*shape, Used { cpu: 0, memory: 0, devices })
        };
        Audit { shapes: shapes.to_vec(), machines: machines.iter().map(empty).collect(), arrivals: vec![], steps: 0 }
    }

    /// One more request, and what became of it. Does not hold a faulty placement.
    pub fn arrival(&mut self, request: &Request, decision: Option<Placement>) -> Result<(), Fault> {
        let step = self.next_step();
        self.arrivals.push(None);
        let Some(at) = decision else {
            let room = (0..self.machines.len()).find(|machine| self.has_room(*machine, request));
            return room.map_or(Ok(()), |machine| Err(Fault::Declined { step, machine: machine as u32 }));
        };
        self.verify(step, request, at)?;
        self.hold(request, at, true);
        if let Some(last) = self.arrivals.last_mut() {
            *last = Some((*request, at));
        }
        Ok(())
    }

    /// The n-th arrival, refused when it came, starts after all.
    pub fn later(&mut self, arrival: usize, request: &Request, at: Placement) -> Result<(), Fault> {
        let step = self.next_step();
        match self.arrivals.get(arrival) {
            Some(None) => {}
            _ => return Err(Fault::NotRunning { step, arrival }),
        }
        self.verify(step, request, at)?;
        self.hold(request, at, true);
        self.arrivals[arrival] = Some((*request, at));
        Ok(())
    }

    /// The n-th arrival, counted from 0, ends.
    pub fn departure(&mut self, arrival: usize) -> Result<(), Fault> {
        let step = self.next_step();
        let gone = self.arrivals.get_mut(arrival).and_then(Option::take);
        let (request, at) = gone.ok_or(Fault::NotRunning { step, arrival })?;
        self.hold(&request, at, false);
        Ok(())
    }

    /// The n-th arrival goes elsewhere.
    pub fn moved(&mut self, arrival: usize, to: Placement) -> Result<(), Fault> {
        let step = self.next_step();
        let running = self.arrivals.get(arrival).copied().flatten();
        let (request, from) = running.ok_or(Fault::NotRunning { step, arrival })?;
        self.hold(&request, from, false);
        let verdict = self.verify(step, &request, to);
        let stays = if verdict.is_ok() { to } else { from };
        self.hold(&request, stays, true);
        self.arrivals[arrival] = Some((request, stays));
        verdict
    }

    fn next_step(&mut self) -> usize {
        self.steps += 1;
        self.steps - 1
    }

    fn has_room(&self, machine: usize, request: &Request) -> bool {
        let (number, used) = &self.machines[machine];
        let shape = &self.shapes[usize::from(*number)];
        let enough =
            used.cpu + u64::from(request.cpu) <= u64::from(shape.cpu) && used.memory + u64::from(request.memory) <= u64::from(shape.memory);
        if !enough || request.devices == 0 {
            return enough;
        }
        if request.kinds.0 & (1 << shape.kind) == 0 {
            return false;
        }
        let roomy = |held: &&(u64, u64)| {
            held.0 + u64::from(request.share) <= 1000 && held.1 + u64::from(request.device_memory) <= u64::from(shape.device_memory)
        };
        used.devices.iter().filter(roomy).count() >= usize::from(request.devices)
    }

    fn verify(&self, step: usize, request: &Request, at: Placement) -> Result<(), Fault> {
        let machine = at.machine;
        let (number, used) = self.machines.get(machine as usize).ok_or(Fault::NoMachine { step, machine })?;
        let shape = &self.shapes[usize::from(*number)];
        let over = |what: &str| Err(Fault::Overcommitted { step, machine, what: what.to_string() });
        if used.cpu + u64::from(request.cpu) > u64::from(shape.cpu) {
            return over("CPUs");
        }
        if used.memory + u64::from(request.memory) > u64::from(shape.memory) {
            return over("memory");
        }
        let given = at.devices.count_ones();
        if given != u32::from(request.devices) {
            return Err(Fault::DeviceCount { step, wanted: request.devices, given });
        }
        if request.devices > 0 && request.kinds.0 & (1 << shape.kind) == 0 {
            return Err(Fault::WrongKind { step, machine });
        }
        for device in (0..16usize).filter(|device| at.devices & (1 << device) != 0) {
            let Some((share, memory)) = used.devices.get(device) else { return over(&format!("device {device}")) };
            if share + u64::from(request.share) > 1000 || memory + u64::from(request.device_memory) > u64::from(shape.device_memory) {
                return over(&format!("share of device {device}"));
            }
        }
        Ok(())
    }

    fn hold(&mut self, request: &Request, at: Placement, taken: bool) {
        let (number, used) = &mut self.machines[at.machine as usize];
        let whole = u64::from(self.shapes[usize::from(*number)].device_memory);
        let change = |value: &mut u64, by: u64| if taken { *value += by } else { *value -= by };
        change(&mut used.cpu, u64::from(request.cpu));
        change(&mut used.memory, u64::from(request.memory));
        for (device, held) in used.devices.iter_mut().enumerate() {
            if at.devices & (1 << device) != 0 {
                change(&mut held.0, u64::from(request.share));
                change(&mut held.1, if request.share == 1000 { whole } else { u64::from(request.device_memory) });
            }
        }
    }

    /// Thousandths of devices held.
    pub fn held(&self) -> u64 {
        self.machines.iter().flat_map(|(_, used)| &used.devices).map(|(share, _)| share).sum()
    }
}
