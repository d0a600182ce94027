//! Lists kept beside the jobs so that no question walks over all of them.

use crate::{Job, JobState};
use spec::{JobId, Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// A pure function of the live jobs, kept up to date by [`Index::remove`] before and [`Index::add`] after
/// every change. Rebuilt on restore; that the rebuilt one equals the kept one is part of `State`'s equality.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    pub waiting: BTreeSet<JobId>,
    /// Jobs with a live run, by machine.
    pub holding: BTreeMap<String, BTreeSet<JobId>>,
    /// Ends of back-offs.
    pub timers: BTreeSet<(Time, JobId)>,
    /// Who waits for the key: a job, or with no task in it a whole array.
    pub dependents: BTreeMap<JobId, BTreeSet<JobId>>,
    pub arrays: BTreeMap<u64, ArrayCount>,
    /// Live jobs by user id.
    pub owners: BTreeMap<u32, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ArrayCount {
    pub live: u32,
    pub holding: u32,
}

impl Index {
    pub fn of<'a>(jobs: impl Iterator<Item = &'a Job>) -> Index {
        let mut index = Index::default();
        jobs.for_each(|job| index.add(job));
        index
    }

    pub fn add(&mut self, job: &Job) {
        if job.state == JobState::Waiting {
            self.waiting.insert(job.id);
        }
        if let Some(at) = job.not_before {
            self.timers.insert((at, job.id));
        }
        for dependency in &job.after {
            self.dependents.entry(dependency.job).or_default().insert(job.id);
        }
        *self.owners.entry(job.owner.uid).or_default() += 1;
        let run = job.live_run();
        if let Some(run) = run {
            match self.holding.get_mut(&run.grant.machine) {
                Some(ids) => ids.insert(job.id),
                None => self.holding.entry(run.grant.machine.clone()).or_default().insert(job.id),
            };
        }
        if job.id.task.is_some() {
            let array = self.arrays.entry(job.id.number).or_default();
            array.live += 1;
            array.holding += u32::from(run.is_some());
        }
    }

    pub fn remove(&mut self, job: &Job) {
        self.waiting.remove(&job.id);
        if let Some(at) = job.not_before {
            self.timers.remove(&(at, job.id));
        }
        for dependency in &job.after {
            remove_from(&mut self.dependents, &dependency.job, job.id);
        }
        if let Some(owned) = self.owners.get_mut(&job.owner.uid) {
            *owned -= 1;
            if *owned == 0 {
                self.owners.remove(&job.owner.uid);
            }
        }
        let run = job.live_run();
        if let Some(run) = run {
            remove_from(&mut self.holding, &run.grant.machine, job.id);
        }
        if let Some(array) = job.id.task.and_then(|_| self.arrays.get_mut(&job.id.number)) {
            array.live -= 1;
            array.holding -= u32::from(run.is_some());
            if array.live == 0 {
                self.arrays.remove(&job.id.number);
            }
        }
    }

    /// A timer is due when its time has come, or when it lies further ahead than any timer is ever set: then
    /// the clock has stepped back since.
    pub fn timers_due(&self, now: Time, longest: Span) -> Vec<JobId> {
        let due = |at: &Time| *at <= now || *at > now + longest;
        self.timers.iter().filter(|(at, _)| due(at)).map(|(_, id)| *id).collect()
    }

    pub fn any_timer_due(&self, now: Time, longest: Span) -> bool {
        let early = self.timers.first().is_some_and(|(at, _)| *at <= now);
        early || self.timers.last().is_some_and(|(at, _)| *at > now + longest)
    }
}

fn remove_from<K: Ord + std::borrow::Borrow<Q>, Q: Ord + ?Sized>(map: &mut BTreeMap<K, BTreeSet<JobId>>, key: &Q, id: JobId) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
