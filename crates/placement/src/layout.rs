//! A machine as the planner walks over it: logical CPUs in the order of the hardware, so that every cache
//! group, memory node, package and physical core is a range of indices.

use crate::Policy;
use machine::{Bytes, CpuSet, Machine};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub(crate) struct Layout<'a> {
    pub machine: &'a Machine,
    pub accepts: bool,
    /// Kernel numbers of the logical CPUs by package, memory node, cache group, core.
    pub cpus: Vec<u32>,
    /// Index into `nodes` of each CPU.
    pub node_of: Vec<u16>,
    /// Physical core (index into `cores`) of each CPU.
    pub core_of: Vec<u16>,
    pub cores: Vec<Range<usize>>,
    pub caches: Vec<Range<usize>>,
    pub locals: Vec<Range<usize>>,
    pub packages: Vec<Range<usize>>,
    /// Memory nodes, by kernel number, with their memory (zero where unknown).
    pub nodes: Vec<(u32, Bytes)>,
    /// What may be granted of the memory.
    pub allocatable: Bytes,
    by_number: BTreeMap<u32, usize>,
    devices: BTreeMap<&'a str, usize>,
}

impl<'a> Layout<'a> {
    pub fn new(machine: &'a Machine, accepts: bool, policy: &Policy) -> Layout<'a> {
        let mut cpus: Vec<_> = machine.cpus.iter().collect();
        cpus.sort_by_key(|cpu| (cpu.package, cpu.numa, cpu.cache_group, cpu.core, cpu.id));
        cpus.dedup_by_key(|cpu| cpu.id);
        let ids: BTreeSet<u32> = machine.numa.iter().map(|node| node.id).chain(cpus.iter().map(|cpu| cpu.numa)).collect();
        let memory_of = |id| machine.numa.iter().find(|node| node.id == id).map_or(Bytes::ZERO, |node| node.memory);
        let nodes: Vec<(u32, Bytes)> = ids.into_iter().map(|id| (id, memory_of(id))).collect();
        let cores = runs(&cpus, |cpu| (cpu.package, cpu.numa, cpu.cache_group, cpu.core));
        let mut core_of = vec![0; cpus.len()];
        for (index, core) in cores.iter().enumerate() {
            core_of[core.clone()].fill(index as u16);
        }
        Layout {
            machine,
            accepts,
            node_of: cpus.iter().map(|cpu| nodes.iter().position(|(id, _)| *id == cpu.numa).unwrap_or(0) as u16).collect(),
            core_of,
            cores,
            caches: runs(&cpus, |cpu| (cpu.package, cpu.numa, cpu.cache_group)),
            locals: runs(&cpus, |cpu| (cpu.package, cpu.numa)),
            packages: runs(&cpus, |cpu| cpu.package),
            nodes,
            allocatable: machine.memory.saturating_sub(machine.memory.scaled(u64::from(policy.memory_reserve_permille.min(1000)), 1000)),
            by_number: cpus.iter().enumerate().map(|(index, cpu)| (cpu.id, index)).collect(),
            devices: machine.devices.iter().enumerate().map(|(index, device)| (device.id.0.as_str(), index)).collect(),
            cpus: cpus.iter().map(|cpu| cpu.id).collect(),
        }
    }

    pub fn total_milli(&self) -> u64 {
        self.cpus.len() as u64 * 1000
    }

    pub fn cpu_index(&self, number: u32) -> Option<usize> {
        self.by_number.get(&number).copied()
    }

    pub fn device_index(&self, id: &str) -> Option<usize> {
        self.devices.get(id).copied()
    }

    pub fn node_index(&self, number: u32) -> Option<usize> {
        self.nodes.iter().position(|(id, _)| *id == number)
    }

    pub fn cpu_set(&self, indices: &[u16]) -> CpuSet {
        indices.iter().map(|index| self.cpus[usize::from(*index)]).collect()
    }

    /// The kernel's distance between two memory nodes, by index; local is 10, unknown is far.
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        let place = |index: usize| self.machine.numa.iter().position(|node| node.id == self.nodes[index].0);
        match (place(from), place(to)) {
            (Some(from), Some(to)) => self.machine.numa[from].distances.get(to).copied().unwrap_or(255),
            _ => 255,
        }
    }
}

/// Ranges of equal key in a sorted list.
fn runs<T, K: PartialEq>(items: &[T], key: impl Fn(&T) -> K) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match ranges.last_mut() {
            Some(last) if key(&items[last.start]) == key(item) => last.end = index + 1,
            _ => ranges.push(index..index + 1),
        }
    }
    ranges
}
