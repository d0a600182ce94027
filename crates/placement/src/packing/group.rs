//! Group: machines of equal shape and equal free state are one candidate.
//!
//! An empty fleet of 100,000 machines of one kind is one candidate, not 100,000. Groups live in numbered slots; a slot
//! whose content changed is written to a log, from which every cache of costs brings itself up to date.

use crate::packing::model::{Free, Shape};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The machines of one state. `free` is sorted.
#[derive(Clone, Debug)]
struct Slot {
    shape: u16,
    free: Free,
    population: u32,
    /// By rank. May name machines that have left; those are skipped and dropped.
    members: BinaryHeap<Reverse<(u32, u32)>>,
}

/// All groups of a fleet.
#[derive(Clone, Debug)]
pub struct Groups {
    slots: Vec<Slot>,
    by_state: FxHashMap<(u16, Free), u32>,
    vacant: Vec<u32>,
    slot_of: Vec<u32>,
    ranks: Vec<u32>,
    log: Vec<u32>,
    /// How many entries were cut off the front of the log.
    forgotten: u64,
}

impl Groups {
    /// Among machines of equal state the one with the lowest rank is taken first.
    pub fn new(shapes: &[Shape], machines: &[u16], ranks: Vec<u32>) -> Groups {
        let mut groups = Groups {
            slots: vec![],
            by_state: FxHashMap::default(),
            vacant: vec![],
            slot_of: vec![u32::MAX; machines.len()],
            ranks,
            log: vec![],
            forgotten: 0,
        };
        for (machine, shape) in machines.iter().enumerate() {
            groups.enter(machine as u32, *shape, shapes[usize::from(*shape)].free());
        }
        groups
    }

    /// Slots, vacant ones included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Distinct states there are machines in.
    pub fn states(&self) -> usize {
        self.by_state.len()
    }

    /// Shape, sorted free state and machines of a slot; no machines when it is vacant.
    pub fn state(&self, slot: u32) -> (u16, &Free, u32) {
        let slot = &self.slots[slot as usize];
        (slot.shape, &slot.free, slot.population)
    }

    pub fn slot_of(&self, machine: u32) -> u32 {
        self.slot_of[machine as usize]
    }

    /// The machine of lowest rank in a slot.
    pub fn first(&mut self, slot: u32) -> Option<(u32, u32)> {
        let members = &mut self.slots[slot as usize].members;
        while let Some(Reverse((rank, machine))) = members.peek().copied() {
            if self.slot_of[machine as usize] == slot {
                return Some((rank, machine));
            }
            members.pop();
        }
        None
    }

    /// The n-th machine of a slot, in no order that means anything but always the same one.
    pub fn nth(&self, slot: u32, n: u32) -> Option<u32> {
        let mut members: Vec<(u32, u32)> = self.slots[slot as usize].members.iter().map(|member| member.0).collect();
        members.retain(|(_, machine)| self.slot_of[*machine as usize] == slot);
        members.sort_unstable();
        members.dedup();
        members.get(n as usize).map(|(_, machine)| *machine)
    }

    /// Moves a machine to the group of its new state.
    pub fn change(&mut self, machine: u32, free: &Free) {
        let from = self.slot_of[machine as usize];
        let free = free.sorted();
        let shape = self.slots[from as usize].shape;
        if self.slots[from as usize].free == free {
            return;
        }
        let known = self.by_state.get(&(shape, free)).copied();
        if known.is_none() && self.slots[from as usize].population == 1 {
            // The only member takes its slot along.
            let slot = &mut self.slots[from as usize];
            self.by_state.remove(&(shape, slot.free));
            self.by_state.insert((shape, free), from);
            slot.free = free;
            slot.members.clear();
            slot.members.push(Reverse((self.ranks[machine as usize], machine)));
            self.log.push(from);
            return;
        }
        self.leave(machine);
        self.enter(machine, shape, free);
    }

    fn leave(&mut self, machine: u32) {
        let number = self.slot_of[machine as usize];
        let slot = &mut self.slots[number as usize];
        slot.population -= 1;
        self.slot_of[machine as usize] = u32::MAX;
        if slot.population == 0 {
            slot.members.clear();
            self.by_state.remove(&(slot.shape, slot.free));
            self.vacant.push(number);
            self.log.push(number);
        } else if slot.members.len() > 2 * slot.population as usize + 64 {
            let (slot_of, ranks) = (&self.slot_of, &self.ranks);
            let mut live: Vec<u32> = slot.members.drain().map(|member| member.0.1).filter(|m| slot_of[*m as usize] == number).collect();
            live.sort_unstable();
            live.dedup();
            slot.members = live.into_iter().map(|machine| Reverse((ranks[machine as usize], machine))).collect();
        }
    }

    fn enter(&mut self, machine: u32, shape: u16, free: Free) {
        let member = Reverse((self.ranks[machine as usize], machine));
        let number = match self.by_state.get(&(shape, free)) {
            Some(number) => *number,
            None => {
                let slot = Slot { shape, free, population: 0, members: BinaryHeap::new() };
                let number = match self.vacant.pop() {
                    Some(number) => {
                        self.slots[number as usize] = slot;
                        number
                    }
                    None => {
                        self.slots.push(slot);
                        (self.slots.len() - 1) as u32
                    }
                };
                self.by_state.insert((shape, free), number);
                self.log.push(number);
                number
            }
        };
        let slot = &mut self.slots[number as usize];
        slot.population += 1;
        slot.members.push(member);
        self.slot_of[machine as usize] = number;
    }

    /// Where the log ends: what a cache that is up to date remembers.
    pub fn now(&self) -> u64 {
        self.forgotten + self.log.len() as u64
    }

    /// Slots changed since, or none when that is so long ago that looking at all of them is cheaper.
    pub fn changed_since(&self, then: u64) -> Option<&[u32]> {
        let since = then.checked_sub(self.forgotten)? as usize;
        (self.log.len() - since <= self.slots.len()).then(|| &self.log[since..])
    }

    /// Keeps the log in proportion to the fleet.
    pub fn trim(&mut self) {
        if self.log.len() > 4 * self.slots.len() + 4096 {
            let cut = self.log.len() - self.slots.len();
            self.log.drain(..cut);
            self.forgotten += cut as u64;
        }
    }
}
