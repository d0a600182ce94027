//! How queues hang together during one decision, with what bounds and protects each of them.

use crate::demand::Demand;
use crate::held::{Holding, OnQueue};
use spec::{Limits, QueueTree};
use std::rc::Rc;

/// Queues by index: those of the snapshot, in its order, then names that are no queue (any more), which stand alone with
/// weight 1, no limits and no guarantee.
pub(crate) struct Tree {
    /// Shared with everything that sums by queue.
    pub parents: Rc<[Option<usize>]>,
    /// Of each queue and all below it together.
    pub limits: Vec<Limits>,
    /// Includes what the queues below are guaranteed.
    pub guarantees: Vec<Limits>,
    /// Jobs may have runs of lower priority evicted among the queues below.
    pub by_priority: Vec<bool>,
}

impl Tree {
    pub fn new(snapshot: &crate::Snapshot, queues: usize) -> Tree {
        let known: Vec<spec::Queue> = snapshot.queues.iter().map(|queue| queue.queue.clone()).collect();
        let shape = QueueTree::new(&known);
        let mut tree = Tree {
            parents: (0..queues).map(|place| if place < known.len() { shape.parent(place) } else { None }).collect(),
            limits: known.iter().map(|queue| queue.limits).collect(),
            guarantees: (0..known.len()).map(|place| shape.guarantee(place)).collect(),
            by_priority: known.iter().map(|queue| queue.evict_by_priority).collect(),
        };
        tree.limits.resize(queues, Limits::default());
        tree.guarantees.resize(queues, Limits::default());
        tree.by_priority.resize(queues, false);
        tree
    }

    /// The queue itself, then what is above it, the nearest first.
    pub fn path(&self, queue: usize) -> impl Iterator<Item = usize> + '_ {
        path(&self.parents, queue)
    }

    pub fn is_below(&self, queue: usize, above: usize) -> bool {
        self.path(queue).any(|place| place == above)
    }

    /// Whether no limit, of the job's own queue or of one above it, keeps the job from `machine`.
    pub fn lets(&self, demand: &Demand, machine: usize, held: &[OnQueue]) -> bool {
        self.path(demand.ask.queue).all(|queue| demand.within_limits(machine, &self.limits[queue], &held[queue]))
    }

    /// Whether no limit, of the holding's own queue or of one above it, keeps it from being held too.
    pub fn within(&self, holding: &Holding, held: &[OnQueue]) -> bool {
        let keeps = |limit: Option<u64>, held: u64, more: u64| more == 0 || limit.is_none_or(|limit| held.saturating_add(more) <= limit);
        self.path(holding.queue).all(|queue| {
            let (limits, held) = (&self.limits[queue], &held[queue]);
            keeps(limits.cpus.map(|cpus| u64::from(cpus) * 1000), held.cpu_milli, holding.cpu_milli)
                && keeps(limits.memory.map(|memory| memory.0), held.memory, holding.memory)
                && keeps(limits.devices.map(|devices| u64::from(devices) * 1000), held.devices, holding.device_milli)
                && keeps(limits.runs.map(u64::from), held.runs, 1)
        })
    }

    /// The first queue above both, seen from each: how far up it is from `mine` (0: they are the same queue, or one is
    /// below the other), and the last queue on either way before it. `None` for the last ones where there are none.
    pub fn meeting(&self, mine: usize, theirs: usize) -> Meeting {
        let above: Vec<usize> = self.path(mine).collect();
        let mut last = None;
        for place in self.path(theirs) {
            if let Some(distance) = above.iter().position(|other| *other == place) {
                let mine = distance.checked_sub(1).map(|before| above[before]);
                return Meeting { at: Some(place), distance, mine, theirs: last };
            }
            last = Some(place);
        }
        Meeting { at: None, distance: above.len(), mine: above.last().copied(), theirs: last }
    }
}

/// Where the ways up from two queues meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meeting {
    /// `None`: only at the top.
    pub at: Option<usize>,
    pub distance: usize,
    /// The queue that borrows or lends as a whole: directly below the meeting, on the one side and the other.
    pub mine: Option<usize>,
    pub theirs: Option<usize>,
}

pub(crate) fn path(parents: &[Option<usize>], queue: usize) -> impl Iterator<Item = usize> + '_ {
    std::iter::successors(Some(queue), |queue| parents.get(*queue).copied().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 and 1 at the top; 2, 3 below 0; 4 below 2; 5 below 1.
    fn tree() -> Tree {
        let parents: Rc<[Option<usize>]> = [None, None, Some(0), Some(0), Some(2), Some(1)].into();
        Tree { parents, limits: vec![], guarantees: vec![], by_priority: vec![] }
    }

    #[test]
    fn where_two_queues_meet() {
        let tree = tree();
        // Mine, theirs, meeting, distance, the queues below it on either side.
        let rows = [
            (4, 3, Some(0), 2, Some(2), Some(3)),
            (3, 4, Some(0), 1, Some(3), Some(2)),
            (4, 5, None, 3, Some(0), Some(1)),
            (2, 2, Some(2), 0, None, None),
            (4, 2, Some(2), 1, Some(4), None),
            (2, 4, Some(2), 0, None, Some(4)),
            (0, 1, None, 1, Some(0), Some(1)),
        ];
        for (one, other, at, distance, mine, theirs) in rows {
            assert_eq!(tree.meeting(one, other), Meeting { at, distance, mine, theirs }, "{one} {other}");
        }
        assert!(tree.is_below(4, 0) && tree.is_below(4, 4) && !tree.is_below(0, 4) && !tree.is_below(5, 0));
        assert_eq!(tree.path(4).collect::<Vec<_>>(), [4, 2, 0]);
    }
}
