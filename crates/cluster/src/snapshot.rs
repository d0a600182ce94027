//! What the planner is shown, kept up to date at the cost of what changed.

use crate::state::cost;
use crate::{Job, Run, State};
use placement::{Elastic, Gate, MachineSnapshot, QueueSnapshot, Running, Snapshot, Waiting};
use spec::{JobId, Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// When a run is expected to end: by its `expect`, or its `limit` and the grace after it, whichever is earlier, from its
/// first instruction, or from the grant while there was none.
pub fn expected_end(job: &Job, run: &Run) -> Option<Time> {
    Some(run.started.unwrap_or(run.adopted) + job.spec.longest()?)
}

/// A snapshot of the last state it was refreshed from.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    snapshot: Snapshot,
    /// For arrays with a ceiling: the waiting tasks that may be placed.
    open: BTreeMap<u64, BTreeSet<JobId>>,
}

/// With more changes than this, one pass over the list is cheaper than an insertion or removal each, which moves
/// half of the list on average.
const MERGE_ABOVE: usize = 4;

impl View {
    pub fn of(state: &State, accepts: &BTreeSet<String>, half_life: Span, now: Time) -> View {
        let mut view = View::default();
        view.refresh(state, &state.jobs().keys().copied().collect(), accepts, half_life, now);
        view
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Brings the view to `state`, which differs from the last one in `changed` jobs.
    pub fn refresh(&mut self, state: &State, changed: &BTreeSet<JobId>, accepts: &BTreeSet<String>, half_life: Span, now: Time) {
        let changed = self.with_opened(state, changed);
        if changed.len() > MERGE_ABOVE {
            let waits = changed.iter().map(|id| (*id, self.waits(*id, state))).collect();
            merge(&mut self.snapshot.waiting, waits, |waiting| waiting.job);
            let runs = changed.iter().map(|id| (*id, runs(*id, state))).collect();
            merge(&mut self.snapshot.running, runs, |running| running.run.job);
        } else {
            changed.iter().for_each(|id| self.patch(*id, state));
        }
        self.snapshot.generation = state.generation();
        let machine =
            |known: &crate::MachineState| MachineSnapshot { machine: known.machine.clone(), accepts: accepts.contains(&known.machine.id) };
        self.snapshot.machines = state.machines().values().map(machine).collect();
        self.refresh_queues(state, half_life, now);
    }

    /// The changed jobs, and those tasks of their arrays whose turn came or went with it.
    fn with_opened(&mut self, state: &State, changed: &BTreeSet<JobId>) -> BTreeSet<JobId> {
        let mut all = changed.clone();
        let numbers: BTreeSet<u64> = changed.iter().filter(|id| id.task.is_some()).map(|id| id.number).collect();
        for number in numbers {
            let at_once = state.tasks(number).next().and_then(|job| job.spec.array.as_ref()).and_then(|array| array.at_once);
            let open = at_once.map(|at_once| state.open_tasks(number, at_once));
            let before = match open {
                Some(open) => self.open.insert(number, open),
                None => self.open.remove(&number),
            };
            let (before, after) = (before.unwrap_or_default(), self.open.get(&number));
            all.extend(before.symmetric_difference(after.unwrap_or(&BTreeSet::new())));
        }
        all
    }

    fn patch(&mut self, id: JobId, state: &State) {
        let waits = self.waits(id, state);
        let place = self.snapshot.waiting.binary_search_by_key(&id, |waiting| waiting.job);
        put(&mut self.snapshot.waiting, place, waits);
        let runs = runs(id, state);
        let place = self.snapshot.running.binary_search_by_key(&id, |running| running.run.job);
        put(&mut self.snapshot.running, place, runs);
    }

    fn waits(&self, id: JobId, state: &State) -> Option<Waiting> {
        state.job(id).filter(|job| job.state == crate::JobState::Waiting).map(|job| self.waiting(job))
    }

    fn waiting(&self, job: &Job) -> Waiting {
        let mut gates: Vec<Gate> = vec![];
        gates.extend(job.after.iter().map(|after| Gate::After { job: after.job, condition: after.condition }));
        gates.extend(job.not_before.map(|until| Gate::Backoff { until }));
        // A task in back-off waits for that, not for its siblings.
        let closed = job.not_before.is_none() && self.open.get(&job.id.number).is_some_and(|open| !open.contains(&job.id));
        if let Some(at_once) = job.spec.array.as_ref().and_then(|array| array.at_once).filter(|_| closed) {
            gates.push(Gate::ArrayLimit { at_once });
        }
        Waiting {
            job: job.id,
            spec: job.spec.clone(),
            queue: job.queue.clone(),
            user: job.owner.user.clone(),
            submitted: job.submitted,
            gates,
            claim: job.claim.clone(),
        }
    }

    fn refresh_queues(&mut self, state: &State, half_life: Span, now: Time) {
        let mut used: BTreeMap<&str, u64> = BTreeMap::new();
        for running in &self.snapshot.running {
            let used = used.entry(&running.queue).or_default();
            *used = used.saturating_add(cost(&running.grant, now - running.since));
        }
        let queue = |queue: &spec::Queue| {
            let past = state.usage().get(&queue.name).map_or(0, |ledger| ledger.decayed(now, half_life));
            let present = used.get(queue.name.as_str()).copied().unwrap_or(0);
            QueueSnapshot { queue: queue.clone(), recent_usage: past.saturating_add(present) }
        };
        self.snapshot.queues = state.queues().iter().map(queue).collect();
    }
}

/// Puts, replaces or takes away the element whose place in the sorted list was searched for.
fn put<T>(list: &mut Vec<T>, place: Result<usize, usize>, element: Option<T>) {
    match (place, element) {
        (Ok(place), Some(element)) => list[place] = element,
        (Err(place), Some(element)) => list.insert(place, element),
        (Ok(place), None) => {
            list.remove(place);
        }
        (Err(_), None) => {}
    }
}

/// As [`put`] for each of `changes`, which are in order, in one pass.
fn merge<T>(list: &mut Vec<T>, changes: Vec<(JobId, Option<T>)>, id: impl Fn(&T) -> JobId) {
    let mut old = std::mem::take(list).into_iter().peekable();
    let mut new = Vec::with_capacity(old.len() + changes.len());
    for (changed, element) in changes {
        while let Some(before) = old.next_if(|element| id(element) < changed) {
            new.push(before);
        }
        old.next_if(|element| id(element) == changed);
        new.extend(element);
    }
    new.extend(old);
    *list = new;
}

fn runs(id: JobId, state: &State) -> Option<Running> {
    let job = state.job(id)?;
    job.live_run().map(|run| running(job, run))
}

fn running(job: &Job, run: &Run) -> Running {
    Running {
        run: run.id,
        queue: job.queue.clone(),
        user: job.owner.user.clone(),
        name: job.spec.name.clone(),
        priority: job.spec.priority,
        grant: run.grant.clone(),
        since: run.adopted,
        expected_end: expected_end(job, run),
        grace: job.spec.checkpoint.grace,
        evicted: run.evicted,
        stopping: run.stop.is_some() || run.state == crate::RunState::Stopping,
        // Ranks that have not begun have nothing to save; one that is ending may have its next place already.
        elastic: (job.spec.is_elastic() && (run.state != crate::RunState::Starting || run.evicted.is_some()))
            .then(|| Elastic { spec: job.spec.clone(), next: job.claim.clone() }),
    }
}

impl State {
    /// The whole state as the planner sees it. Only machines named in `accepts` take new work. `half_life` is
    /// that of the books of fair shares.
    pub fn snapshot(&self, accepts: &BTreeSet<String>, half_life: Span, now: Time) -> Snapshot {
        View::of(self, accepts, half_life, now).snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_does_what_single_changes_do() {
        for changes in [vec![], vec![0, 1, 9], vec![2, 3, 4, 5, 6], vec![7], vec![10, 11]] {
            for keep in [true, false] {
                let mut merged: Vec<(JobId, bool)> = [1, 3, 4, 7, 9].map(|number| (JobId::new(number), false)).to_vec();
                let mut patched = merged.clone();
                let changes: Vec<_> = changes.iter().map(|number| JobId::new(*number)).map(|id| (id, keep.then_some((id, true)))).collect();
                for (id, element) in changes.clone() {
                    let place = patched.binary_search_by_key(&id, |element| element.0);
                    put(&mut patched, place, element);
                }
                merge(&mut merged, changes, |element| element.0);
                assert_eq!(merged, patched);
            }
        }
    }
}
