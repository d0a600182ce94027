//! Who holds what, turned around: from grants to CPUs, devices and memory nodes.

use super::line::Paint;
use api::{Held, MachineView};
use machine::{Bytes, Device, Share};
use std::collections::BTreeMap;

/// Runs by number, in the order of the view.
pub struct Holders<'v> {
    pub all: Vec<&'v Held>,
    cpus: BTreeMap<u32, Vec<usize>>,
    devices: BTreeMap<&'v str, Vec<usize>>,
    /// What each run holds on each memory node.
    memory: BTreeMap<u32, Vec<(usize, Bytes)>>,
}

impl<'v> Holders<'v> {
    pub fn of(view: &'v MachineView) -> Holders<'v> {
        let mut holders =
            Holders { all: view.held.iter().collect(), cpus: BTreeMap::new(), devices: BTreeMap::new(), memory: BTreeMap::new() };
        for (run, held) in view.held.iter().enumerate() {
            for rank in &held.grant.ranks {
                for cpu in rank.cpus.iter() {
                    let here = holders.cpus.entry(cpu).or_default();
                    if here.last() != Some(&run) {
                        here.push(run);
                    }
                }
                for device in &rank.devices {
                    holders.devices.entry(&device.0).or_default().push(run);
                }
            }
            // A grant names its nodes, not how much on each: it is shown spread as the nodes' sizes are.
            let named = |id: u32| held.grant.mem_nodes.is_empty() || held.grant.mem_nodes.contains(id);
            let nodes: Vec<_> = view.machine.numa.iter().filter(|node| named(node.id) && node.memory > Bytes::ZERO).collect();
            let total: Bytes = nodes.iter().map(|node| node.memory).sum();
            for node in nodes {
                let part = held.grant.memory.scaled(node.memory.0, total.0);
                holders.memory.entry(node.id).or_default().push((run, part));
            }
        }
        holders
    }

    /// `a` to `z`, `A` to `Z`; runs beyond those share `*`.
    pub fn letter(&self, run: usize) -> char {
        let letters = (b'a'..=b'z').chain(b'A'..=b'Z');
        letters.map(char::from).nth(run).unwrap_or('*')
    }

    /// The mark in the cell of one CPU.
    pub fn cpu(&self, cpu: u32) -> (char, Paint) {
        match self.cpus.get(&cpu).map(Vec::as_slice) {
            None | Some([]) => ('.', Paint::Faint),
            Some([run]) => (self.letter(*run), Paint::Holder(*run)),
            Some([_, _, ..]) => ('+', Paint::Strong),
        }
    }

    pub fn has_shared_cpus(&self) -> bool {
        self.cpus.values().any(|runs| runs.len() > 1)
    }

    pub fn free_cpus(&self, view: &MachineView) -> usize {
        view.machine.cpus.iter().filter(|cpu| !self.cpus.contains_key(&cpu.id)).count()
    }

    pub fn device(&self, device: &Device) -> &[usize] {
        self.devices.get(device.id.0.as_str()).map_or(&[], Vec::as_slice)
    }

    /// Memory that is left of a device of which runs hold parts; `None` where it is free, held whole, or a slice.
    pub fn left(&self, device: &Device) -> Option<Bytes> {
        let shares: Vec<Share> = self.device(device).iter().filter_map(|run| self.all[*run].grant.share).collect();
        let parts: Bytes = shares.iter().map(|share| share.memory).sum();
        (!shares.is_empty() && device.slice.is_none()).then(|| device.memory.unwrap_or_default().saturating_sub(parts))
    }

    /// What runs hold on a node, in their order.
    pub fn memory(&self, node: u32) -> &[(usize, Bytes)] {
        self.memory.get(&node).map_or(&[], Vec::as_slice)
    }
}
