//! Replacing the queues.

use super::{Effects, State};
use crate::Refusal;
use spec::{Queue, check_tree};
use std::collections::BTreeMap;

impl State {
    pub(super) fn set_queues(&mut self, queues: &[Queue], effects: &mut Effects) -> Result<(), Refusal> {
        let tree = check_tree(queues).map_err(|(_, error)| Refusal::Inconsistent(error.to_string()))?;
        let mut jobs: BTreeMap<&str, usize> = BTreeMap::new();
        for job in self.jobs.values() {
            *jobs.entry(&job.queue).or_default() += 1;
        }
        for (n, queue) in queues.iter().enumerate() {
            let here = jobs.remove(queue.name.as_str());
            if let Some(jobs) = here.filter(|_| tree.has_children(n)) {
                return Err(Refusal::QueueHasJobs { queue: queue.name.clone(), jobs });
            }
            if queues[..n].iter().any(|earlier| earlier.name == queue.name) {
                return Err(Refusal::Inconsistent(format!("two queues are named '{}'", queue.name)));
            }
        }
        if let Some((queue, jobs)) = jobs.into_iter().next() {
            return Err(Refusal::QueueInUse { queue: queue.to_owned(), jobs });
        }
        if self.queues != queues {
            self.queues = queues.to_vec();
            self.usage.retain(|name, _| queues.iter().any(|queue| queue.name == *name));
            self.void_claims(|_| true, effects);
            effects.changed = true;
            effects.replan = true;
        }
        Ok(())
    }
}
