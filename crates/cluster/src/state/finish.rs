//! The end of jobs, and what follows from it for the jobs that wait for them.

use super::{Effects, State};
use crate::ending::CANCELLED;
use crate::{Job, JobState, Notice};
use spec::{Dependency, DependencyCondition, Identity, JobId, NotifyOn, Time};
use std::collections::VecDeque;

/// How a job ends.
pub(super) struct Ending {
    pub state: JobState,
    pub exit_code: i32,
    pub outcome: String,
    pub at: Time,
}

impl Ending {
    pub fn cancelled(by: &Identity, at: Time) -> Ending {
        Ending { state: JobState::Cancelled, exit_code: CANCELLED, outcome: format!("cancelled by {}", by.user), at }
    }

    /// `outcome` is how the other job ended; `None` when it is an array that goes on but has failed tasks.
    pub fn never(dependency: Dependency, outcome: Option<JobState>, at: Time) -> Ending {
        let wanted = match dependency.condition {
            DependencyCondition::Ok => "succeed",
            DependencyCondition::NotOk => "fail",
            DependencyCondition::Any => "end",
        };
        let happened = match outcome {
            Some(JobState::Succeeded) => "it succeeded",
            Some(JobState::Cancelled) => "it was cancelled",
            Some(_) => "it failed",
            None => "a task of it did not",
        };
        let outcome = format!("never started: job {} had to {wanted} first, and {happened}", dependency.job);
        Ending { state: JobState::Cancelled, exit_code: CANCELLED, outcome, at }
    }
}

/// Whether a dependency holds back its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Met,
    Open,
    Never,
}

/// `ended` is how the other job ended, if it has; `doomed` says that it can no longer succeed.
pub(super) fn fate(condition: DependencyCondition, ended: Option<JobState>, doomed: bool) -> Fate {
    let success = ended.map(|state| state == JobState::Succeeded);
    match (condition, success) {
        (DependencyCondition::Ok, Some(true)) | (DependencyCondition::NotOk, Some(false)) | (DependencyCondition::Any, Some(_)) => {
            Fate::Met
        }
        (DependencyCondition::Ok, Some(false)) | (DependencyCondition::NotOk, Some(true)) => Fate::Never,
        (DependencyCondition::Ok, None) if doomed => Fate::Never,
        (_, None) => Fate::Open,
    }
}

impl State {
    /// Ends jobs and, in turn, every job that can now never start.
    pub(super) fn finish(&mut self, endings: Vec<(JobId, Ending)>, effects: &mut Effects) {
        let mut endings = VecDeque::from(endings);
        while let Some((id, ending)) = endings.pop_front() {
            let Some(mut job) = self.jobs.remove(&id) else { continue };
            self.index.remove(&job);
            let (state, at) = (ending.state, ending.at);
            job.state = state;
            job.exit_code = Some(ending.exit_code);
            job.outcome = Some(ending.outcome);
            job.ended = Some(at);
            job.not_before = None;
            effects.notices.extend(notice(&job));
            effects.changed_jobs.insert(id);
            effects.ended.push(job);
            effects.changed = true;
            effects.replan = true;
            endings.extend(self.resolve(id, Some(state), at, effects));
            if id.task.is_some() {
                endings.extend(self.task_ended(id.number, state, at, effects));
            }
        }
    }

    /// One task fewer: the array as a whole may have ended, or may no longer be able to succeed.
    fn task_ended(&mut self, number: u64, state: JobState, at: Time, effects: &mut Effects) -> Vec<(JobId, Ending)> {
        let array = JobId::new(number);
        let failed = state != JobState::Succeeded;
        let first_failure = failed && !self.unsuccessful.contains_key(&number);
        if failed {
            *self.unsuccessful.entry(number).or_default() += 1;
        }
        if !self.index.arrays.contains_key(&number) {
            let whole = if self.unsuccessful.remove(&number).is_some() { JobState::Failed } else { JobState::Succeeded };
            effects.finished_arrays.push((array, whole));
            return self.resolve(array, Some(whole), at, effects);
        }
        if first_failure { self.resolve(array, None, at, effects) } else { vec![] }
    }

    /// Tells the jobs that wait for `other`. `None` says that it goes on but can no longer succeed.
    fn resolve(&mut self, other: JobId, outcome: Option<JobState>, at: Time, effects: &mut Effects) -> Vec<(JobId, Ending)> {
        let Some(dependents) = self.index.dependents.get(&other).cloned() else { return vec![] };
        let mut endings = vec![];
        for id in dependents {
            let Some(job) = self.jobs.get(&id) else { continue };
            let fates = job.after.iter().filter(|dependency| dependency.job == other);
            let mut fates = fates.map(|dependency| (*dependency, fate(dependency.condition, outcome, true)));
            if let Some((dependency, _)) = fates.clone().find(|(_, fate)| *fate == Fate::Never) {
                endings.push((id, Ending::never(dependency, outcome, at)));
            } else if fates.any(|(_, fate)| fate == Fate::Met) {
                self.edit(id, effects, |job| {
                    job.after.retain(|dependency| dependency.job != other || fate(dependency.condition, outcome, true) != Fate::Met);
                });
                effects.replan = true;
            }
        }
        endings
    }
}

/// The notice of the state the job is in now, if its owner asked for it.
pub(super) fn notice(job: &Job) -> Option<Notice> {
    let notify = job.spec.notify.as_ref()?;
    let on = match job.state {
        JobState::Running => NotifyOn::Running,
        JobState::Succeeded => NotifyOn::Succeeded,
        JobState::Failed => NotifyOn::Failed,
        JobState::Cancelled => NotifyOn::Cancelled,
        JobState::Waiting | JobState::Starting | JobState::Stopping => return None,
    };
    notify.on.contains(&on).then(|| Notice {
        job: job.id,
        name: job.spec.name.clone(),
        state: job.state,
        exit_code: job.exit_code,
        owner: job.owner.clone(),
        command: notify.command.clone(),
    })
}
