//! Forgetting jobs that ended long ago.
//!
//! The state itself holds no ended job, but the keys under which they were submitted. Forgetting is a command like any
//! other, so that a replay knows at the same place in the log that a key is free again, and so that what leaves the
//! archive leaves it in one transaction with a record that says so.

use super::{Effects, State};
use crate::Refusal;
use std::collections::BTreeSet;

impl State {
    /// Which of these jobs, by number, may be forgotten: those that have ended, all tasks of an array, and that no
    /// live job names under `after`.
    pub fn forgettable(&self, numbers: &[u64]) -> Vec<u64> {
        let named: BTreeSet<u64> = self.jobs.values().flat_map(|job| &job.spec.after).map(|after| after.job.number).collect();
        let over = |number: &u64| (1..self.next_number).contains(number) && self.tasks(*number).next().is_none();
        let once: BTreeSet<u64> = numbers.iter().copied().filter(|number| over(number) && !named.contains(number)).collect();
        once.into_iter().collect()
    }

    /// Refused as a whole when one of them may not be forgotten: ask [`State::forgettable`] before.
    pub(super) fn forget(&mut self, numbers: &[u64], effects: &mut Effects) -> Result<(), Refusal> {
        if self.forgettable(numbers) != numbers {
            return Err(Refusal::Inconsistent("a job is to be forgotten that is live, is needed, or never was".into()));
        }
        self.keys.forget(numbers);
        effects.changed = !numbers.is_empty();
        effects.forgotten.extend(numbers);
        Ok(())
    }
}
