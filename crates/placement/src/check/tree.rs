//! Which queue is below which, by name.

use spec::{Limits, Queue};
use std::collections::BTreeMap;

pub(super) struct Tree<'a> {
    queues: BTreeMap<&'a str, &'a Queue>,
}

/// CPUs in thousandths, bytes, thousandths of devices.
pub(super) type Parts = [Option<u128>; 3];

impl<'a> Tree<'a> {
    pub fn new(snapshot: &'a crate::Snapshot) -> Tree<'a> {
        Tree { queues: snapshot.queues.iter().map(|row| (row.queue.name.as_str(), &row.queue)).collect() }
    }

    /// The queue, then those above it, the nearest first.
    pub fn up(&self, name: &'a str) -> Vec<&'a str> {
        let mut way = vec![name];
        while let Some(parent) = self.queues.get(way[way.len() - 1]).and_then(|queue| queue.parent.as_deref()) {
            // A parent that is nowhere, or was passed before, is none.
            if way.contains(&parent) || !self.queues.contains_key(parent) {
                break;
            }
            way.push(parent);
        }
        way
    }

    pub fn limits(&self, name: &str) -> Option<&'a Limits> {
        self.queues.get(name).map(|queue| &queue.limits)
    }

    pub fn weight(&self, name: &str) -> u32 {
        self.queues.get(name).map_or(1, |queue| queue.weight)
    }

    pub fn evicts_by_priority(&self, name: &str) -> bool {
        self.queues.get(name).is_some_and(|queue| queue.evict_by_priority)
    }

    /// Each part the queue names, and for the others the sum of what its children are guaranteed.
    pub fn guaranteed(&self, name: &'a str) -> Parts {
        self.guaranteed_within(name, self.queues.len())
    }

    fn guaranteed_within(&self, name: &'a str, depth: usize) -> Parts {
        let Some(queue) = self.queues.get(name) else { return Parts::default() };
        let own = &queue.guarantee;
        let mut parts = [
            own.cpus.map(|cpus| u128::from(cpus) * 1000),
            own.memory.map(|memory| u128::from(memory.0)),
            own.devices.map(|devices| u128::from(devices) * 1000),
        ];
        if depth == 0 || parts.iter().all(Option::is_some) {
            return parts;
        }
        let mut below = Parts::default();
        for child in self.queues.values().filter(|child| child.parent.as_deref() == Some(name)) {
            for (sum, part) in below.iter_mut().zip(self.guaranteed_within(&child.name, depth - 1)) {
                *sum = part.map(|part| part + sum.unwrap_or(0)).or(*sum);
            }
        }
        for (part, below) in parts.iter_mut().zip(below) {
            *part = part.or(below);
        }
        parts
    }
}
