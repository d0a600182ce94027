//! The machines, what is free on them, and a journal that takes changes back.

use crate::packing::filter::device_fits;
use crate::packing::group::Groups;
use crate::packing::model::{Free, Placement, Request, Shape, WHOLE, ones};

/// A change that is refused: the fleet stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("there is no machine {0}")]
    NoMachine(u32),
    #[error("machine {machine} lacks {what} for the request")]
    Lacks { machine: u32, what: &'static str },
    #[error("machine {machine} would have more {what} free than it has")]
    NotHeld { machine: u32, what: &'static str },
}

/// A moment of the journal to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

#[derive(Clone, Debug)]
struct Machine {
    shape: u16,
    free: Free,
}

/// Up to some 100,000 machines. All changes go through [`Fleet::place`], [`Fleet::release`] and [`Fleet::undo`].
#[derive(Clone, Debug)]
pub struct Fleet {
    shapes: Vec<Shape>,
    machines: Vec<Machine>,
    groups: Groups,
    /// What a machine had free before each change, while somebody holds a mark.
    journal: Vec<(u32, Free)>,
    marks: usize,
    capacity: u64,
    free_total: u64,
}

impl Fleet {
    /// `machines` names the shape of each; `ranks` their order among equals (as listed when empty).
    pub fn new(shapes: Vec<Shape>, machines: &[u16], ranks: Vec<u32>) -> Fleet {
        let ranks = if ranks.is_empty() { (0..machines.len() as u32).collect() } else { ranks };
        let groups = Groups::new(&shapes, machines, ranks);
        let capacity = machines.iter().map(|shape| shapes[usize::from(*shape)].capacity()).sum();
        let machines = machines.iter().map(|shape| Machine { shape: *shape, free: shapes[usize::from(*shape)].free() }).collect();
        Fleet { shapes, machines, groups, journal: vec![], marks: 0, capacity, free_total: capacity }
    }

    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    pub fn len(&self) -> usize {
        self.machines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }

    pub fn shape_of(&self, machine: u32) -> (u16, &Shape) {
        let shape = self.machines[machine as usize].shape;
        (shape, &self.shapes[usize::from(shape)])
    }

    /// What a machine has free, devices in their own order.
    pub fn free(&self, machine: u32) -> &Free {
        &self.machines[machine as usize].free
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn groups_mut(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// Thousandths of devices there are.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Thousandths of devices that are held.
    pub fn allocated(&self) -> u64 {
        self.capacity - self.free_total
    }

    /// Gives the devices to the request.
    pub fn place(&mut self, request: &Request, at: Placement) -> Result<(), PackError> {
        let machine = at.machine;
        let held = self.machines.get(machine as usize).ok_or(PackError::NoMachine(machine))?;
        let (shape, free) = (&self.shapes[usize::from(held.shape)], &held.free);
        let lacks = |what| Err(PackError::Lacks { machine, what });
        if free.cpu < request.cpu {
            return lacks("CPUs");
        }
        if free.memory < request.memory {
            return lacks("memory");
        }
        if at.devices.count_ones() != u32::from(request.devices) {
            return lacks("the right number of devices");
        }
        if request.devices > 0 && !request.kinds.has(shape.kind) {
            return lacks("the model");
        }
        if !ones(at.devices).all(|device| device_fits(free, device, request)) {
            return lacks("room on a device");
        }
        let mut free = *free;
        free.take(request, at.devices);
        self.set(machine, free);
        Ok(())
    }

    /// Takes back what [`Fleet::place`] gave.
    pub fn release(&mut self, request: &Request, at: Placement) -> Result<(), PackError> {
        let machine = at.machine;
        let held = self.machines.get(machine as usize).ok_or(PackError::NoMachine(machine))?;
        let shape = &self.shapes[usize::from(held.shape)];
        let mut free = held.free;
        let much = |what| Err(PackError::NotHeld { machine, what });
        free.cpu += request.cpu;
        free.memory += request.memory;
        if free.cpu > shape.cpu {
            return much("CPUs");
        }
        if free.memory > shape.memory {
            return much("memory");
        }
        if ones(at.devices).any(|device| device >= usize::from(shape.devices)) || at.devices.count_ones() != u32::from(request.devices) {
            return much("devices");
        }
        for device in ones(at.devices) {
            free.share[device] += request.share;
            free.device_memory[device] += if request.share == WHOLE { shape.device_memory } else { request.device_memory };
            if free.share[device] > WHOLE || free.device_memory[device] > shape.device_memory {
                return much("of a device");
            }
        }
        self.set(machine, free);
        Ok(())
    }

    fn set(&mut self, machine: u32, free: Free) {
        let held = &mut self.machines[machine as usize];
        if self.marks > 0 {
            self.journal.push((machine, held.free));
        }
        self.free_total = self.free_total + u64::from(free.total()) - u64::from(held.free.total());
        held.free = free;
        self.groups.change(machine, &free);
    }

    /// From here on changes can be taken back. Each mark ends in one [`Fleet::undo`] or [`Fleet::keep`], the last first.
    pub fn mark(&mut self) -> Mark {
        self.marks += 1;
        Mark(self.journal.len())
    }

    /// Everything as it was at the mark.
    pub fn undo(&mut self, mark: Mark) {
        while self.journal.len() > mark.0 {
            let Some((machine, before)) = self.journal.pop() else { break };
            let held = &mut self.machines[machine as usize];
            self.free_total = self.free_total + u64::from(before.total()) - u64::from(held.free.total());
            held.free = before;
            self.groups.change(machine, &before);
        }
        self.keep(mark);
    }

    /// What was done since the mark stays, unless an earlier mark takes it back.
    pub fn keep(&mut self, _: Mark) {
        self.marks = self.marks.saturating_sub(1);
        if self.marks == 0 {
            self.journal.clear();
        }
    }
}
