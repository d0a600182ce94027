//! How much of everything is held: at one moment, or at most over a stretch of time.

use crate::layout::Layout;
use crate::tree::path;
use machine::{Grant, Share};
use std::cell::OnceCell;
use std::rc::Rc;

/// What all runs hold together.
#[derive(Clone)]
pub(crate) struct Held {
    pub machines: Vec<OnMachine>,
    /// Of each queue and all below it.
    pub queues: Vec<OnQueue>,
    parents: Rc<[Option<usize>]>,
}

#[derive(Clone)]
pub(crate) struct OnMachine {
    /// Thousandths in use of each logical CPU, in the order of [`Layout::cpus`].
    pub cpus: Vec<u32>,
    /// What is taken of each device, in the order of the machine's.
    pub devices: Vec<OnDevice>,
    /// Port slots: lease number `n` begins at the first port plus `n` leases.
    pub ports: Bits,
    pub memory: u64,
    /// Memory by node, as far as it can be attributed. Guides the choice of nodes, limits nothing.
    pub node_memory: Vec<u64>,
    /// Made when asked for, forgotten with every change of `cpus`.
    room: OnceCell<Room>,
}

/// What `cpus` leaves, in the two numbers that most answers need.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    pub whole_cpus: u32,
    /// Thousandths left on the CPU that has most.
    pub widest: u32,
}

impl OnMachine {
    pub fn room(&self) -> Room {
        *self.room.get_or_init(|| Room {
            whole_cpus: self.cpus.iter().map(|used| u32::from(*used == 0)).sum(),
            widest: 1000 - self.cpus.iter().copied().min().unwrap_or(1000).min(1000),
        })
    }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct OnQueue {
    pub cpu_milli: u64,
    pub memory: u64,
    /// Thousandths of a device.
    pub devices: u64,
    pub runs: u64,
}

/// What is taken of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OnDevice {
    /// Bytes, thousandths of the compute units, runs. Who holds it whole counts as [`Part::WHOLE`] runs.
    pub memory: u64,
    pub compute: u32,
    pub tasks: u32,
}

impl OnDevice {
    pub fn is_free(&self) -> bool {
        self.tasks == 0
    }

    fn add(&mut self, part: &Part) {
        self.memory = self.memory.saturating_add(part.memory);
        self.compute += part.compute;
        self.tasks += part.tasks;
    }

    /// Whether a device of the machine that is used like this has room for a part of this size, or for the whole of it.
    fn has_room(&self, part: &Part, layout: &Layout, device: usize) -> bool {
        if self.is_free() || *part == Part::WHOLE {
            return self.is_free();
        }
        let device = &layout.machine.devices[device];
        let tasks = device.sharing(&layout.machine.facts).map_or(0, |sharing| sharing.tasks);
        self.memory.saturating_add(part.memory) <= device.memory.unwrap_or_default().0
            && self.compute + part.compute <= 1000
            && self.tasks + part.tasks <= tasks
    }

    pub fn take_off(&mut self, part: &Part) {
        self.memory = self.memory.saturating_sub(part.memory);
        self.compute = self.compute.saturating_sub(part.compute);
        self.tasks = self.tasks.saturating_sub(part.tasks);
    }
}

/// What one run takes of each of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub memory: u64,
    pub compute: u32,
    pub tasks: u32,
}

impl Part {
    /// A device that nobody else may have.
    pub const WHOLE: Part = Part { memory: 0, compute: 1000, tasks: 1 << 16 };

    pub fn of(share: &Share) -> Part {
        Part { memory: share.memory.0, compute: share.compute, tasks: 1 }
    }
}

/// What one run takes away while it lasts.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    /// `None`: on a machine that is not in the snapshot; only its queue feels it.
    pub machine: Option<usize>,
    pub queue: usize,
    /// CPU index and thousandths.
    pub cpus: Vec<(u16, u16)>,
    pub devices: Vec<u16>,
    /// Of each of them.
    pub part: Part,
    /// First slot and one past the last.
    pub ports: Option<(usize, usize)>,
    pub memory: u64,
    pub nodes: Vec<(u16, u64)>,
    pub cpu_milli: u64,
    /// All devices together, in thousandths of one.
    pub device_milli: u64,
}

/// How the port range of the policy is cut into leases.
#[derive(Clone, Copy)]
pub(crate) struct PortPlan {
    pub first: u16,
    pub each: u16,
    pub slots: usize,
}

impl PortPlan {
    pub fn new(policy: &crate::Policy) -> PortPlan {
        let (first, end) = policy.ports;
        let each = policy.ports_per_run.max(1);
        PortPlan { first, each, slots: usize::from(end.saturating_sub(first) / each) }
    }

    /// The slots that a range of ports touches, whichever policy it was leased under.
    pub fn slots_of(&self, range: &machine::PortRange) -> Option<(usize, usize)> {
        let (first, each) = (usize::from(self.first), usize::from(self.each));
        let (low, high) = (usize::from(range.first), usize::from(range.first) + usize::from(range.count));
        let from = low.saturating_sub(first) / each;
        let to = high.saturating_sub(first).div_ceil(each).min(self.slots);
        (from < to).then_some((from, to))
    }
}

impl Holding {
    pub fn of_grant(grant: &Grant, queue: usize, layouts: &[Layout], ports: &PortPlan) -> Holding {
        let machine = layouts.iter().position(|layout| layout.machine.id == grant.machine);
        let mut holding = Holding {
            machine,
            queue,
            cpus: Vec::new(),
            devices: Vec::new(),
            ports: grant.ports.as_ref().and_then(|range| ports.slots_of(range)),
            memory: grant.memory.0,
            nodes: Vec::new(),
            cpu_milli: grant.cpu_milli(),
            part: grant.share.as_ref().map_or(Part::WHOLE, Part::of),
            device_milli: grant.device_milli(),
        };
        if let Some(layout) = machine.map(|index| &layouts[index]) {
            let milli = grant.cpu_share.0.min(1000) as u16;
            for rank in &grant.ranks {
                holding.cpus.extend(rank.cpus.iter().filter_map(|cpu| layout.cpu_index(cpu)).map(|index| (index as u16, milli)));
                holding.devices.extend(rank.devices.iter().filter_map(|id| layout.device_index(&id.0)).map(|index| index as u16));
            }
            let nodes: Vec<u16> = grant.mem_nodes.iter().filter_map(|node| layout.node_index(node)).map(|index| index as u16).collect();
            holding.nodes = spread(&nodes, holding.memory);
        }
        holding
    }
}

/// Attributes memory to nodes evenly: the kernel decides the rest at run time.
pub(crate) fn spread(nodes: &[u16], memory: u64) -> Vec<(u16, u64)> {
    let each = memory.checked_div(nodes.len() as u64).unwrap_or(0);
    nodes.iter().map(|node| (*node, each)).collect()
}

impl Held {
    pub fn nothing(layouts: &[Layout], parents: Rc<[Option<usize>]>, ports: &PortPlan) -> Held {
        let machines = layouts.iter().map(|layout| OnMachine {
            cpus: vec![0; layout.cpus.len()],
            devices: vec![OnDevice::default(); layout.machine.devices.len()],
            ports: Bits::new(ports.slots),
            memory: 0,
            node_memory: vec![0; layout.nodes.len()],
            room: OnceCell::new(),
        });
        Held { machines: machines.collect(), queues: vec![OnQueue::default(); parents.len()], parents }
    }

    pub fn take(&mut self, holding: &Holding) {
        for place in path(&self.parents, holding.queue) {
            let queue = &mut self.queues[place];
            queue.cpu_milli += holding.cpu_milli;
            queue.memory = queue.memory.saturating_add(holding.memory);
            queue.devices += holding.device_milli;
            queue.runs += 1;
        }
        let Some(machine) = holding.machine.map(|index| &mut self.machines[index]) else { return };
        machine.room.take();
        for (cpu, milli) in &holding.cpus {
            machine.cpus[usize::from(*cpu)] += u32::from(*milli);
        }
        holding.devices.iter().for_each(|device| machine.devices[usize::from(*device)].add(&holding.part));
        holding.ports.iter().for_each(|(from, to)| (*from..*to).for_each(|slot| machine.ports.set(slot, true)));
        machine.memory = machine.memory.saturating_add(holding.memory);
        for (node, bytes) in &holding.nodes {
            machine.node_memory[usize::from(*node)] += bytes;
        }
    }

    /// Whether nobody else has any part of this very place.
    pub fn has_room(&self, holding: &Holding, layouts: &[Layout]) -> bool {
        let Some(index) = holding.machine else { return true };
        let (machine, layout) = (&self.machines[index], &layouts[index]);
        holding.cpus.iter().all(|(cpu, milli)| machine.cpus[usize::from(*cpu)] + u32::from(*milli) <= 1000)
            && holding
                .devices
                .iter()
                .all(|device| machine.devices[usize::from(*device)].has_room(&holding.part, layout, usize::from(*device)))
            && !holding.ports.iter().any(|(from, to)| (*from..*to).any(|slot| machine.ports.get(slot)))
            && machine.memory.saturating_add(holding.memory) <= layout.allocatable.0
    }

    pub fn release(&mut self, holding: &Holding) {
        for place in path(&self.parents, holding.queue) {
            let queue = &mut self.queues[place];
            queue.cpu_milli = queue.cpu_milli.saturating_sub(holding.cpu_milli);
            queue.memory = queue.memory.saturating_sub(holding.memory);
            queue.devices = queue.devices.saturating_sub(holding.device_milli);
            queue.runs = queue.runs.saturating_sub(1);
        }
        let Some(machine) = holding.machine.map(|index| &mut self.machines[index]) else { return };
        machine.room.take();
        for (cpu, milli) in &holding.cpus {
            let used = &mut machine.cpus[usize::from(*cpu)];
            *used = used.saturating_sub(u32::from(*milli));
        }
        holding.devices.iter().for_each(|device| machine.devices[usize::from(*device)].take_off(&holding.part));
        holding.ports.iter().for_each(|(from, to)| (*from..*to).for_each(|slot| machine.ports.set(slot, false)));
        machine.memory = machine.memory.saturating_sub(holding.memory);
        for (node, bytes) in &holding.nodes {
            let used = &mut machine.node_memory[usize::from(*node)];
            *used = used.saturating_sub(*bytes);
        }
    }

    /// The larger of both, dimension by dimension: what is held at most when first one and then the other is true.
    pub fn raise_to(&mut self, other: &Held) {
        for (mine, theirs) in self.machines.iter_mut().zip(&other.machines) {
            mine.room.take();
            mine.cpus.iter_mut().zip(&theirs.cpus).for_each(|(a, b)| *a = (*a).max(*b));
            for (a, b) in mine.devices.iter_mut().zip(&theirs.devices) {
                *a = OnDevice { memory: a.memory.max(b.memory), compute: a.compute.max(b.compute), tasks: a.tasks.max(b.tasks) };
            }
            mine.ports.join(&theirs.ports);
            mine.memory = mine.memory.max(theirs.memory);
            mine.node_memory.iter_mut().zip(&theirs.node_memory).for_each(|(a, b)| *a = (*a).max(*b));
        }
        for (mine, theirs) in self.queues.iter_mut().zip(&other.queues) {
            mine.cpu_milli = mine.cpu_milli.max(theirs.cpu_milli);
            mine.memory = mine.memory.max(theirs.memory);
            mine.devices = mine.devices.max(theirs.devices);
            mine.runs = mine.runs.max(theirs.runs);
        }
    }
}

/// A set of small indices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    pub fn new(len: usize) -> Bits {
        Bits { words: vec![0; len.div_ceil(64)], len }
    }

    pub fn set(&mut self, index: usize, value: bool) {
        let Some(word) = self.words.get_mut(index / 64) else { return };
        if value {
            *word |= 1 << (index % 64);
        } else {
            *word &= !(1 << (index % 64));
        }
    }

    pub fn get(&self, index: usize) -> bool {
        self.words.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    pub fn join(&mut self, other: &Bits) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    pub fn first_clear(&self) -> Option<usize> {
        let word = self.words.iter().position(|word| *word != u64::MAX)?;
        let index = word * 64 + self.words[word].trailing_ones() as usize;
        (index < self.len).then_some(index)
    }
}
