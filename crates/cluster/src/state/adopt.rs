//! Giving grants.

use super::{Effects, State};
use crate::{Job, JobState, Refusal, Run, RunState};
use placement::{Evicted, Eviction, Resize, Start};
use spec::{JobId, RunId, StopOrder, Time};
use std::collections::{BTreeMap, BTreeSet};

/// What a plan changes.
#[derive(Clone, Copy)]
pub(super) struct Decided<'a> {
    pub starts: &'a [Start],
    pub evictions: &'a [Eviction],
    pub resizes: &'a [Resize],
}

impl State {
    /// The plan must have been made from exactly this state. Whether its grants fit was checked by
    /// [`placement::check`]; here it is only asked whether the jobs may start at all.
    pub(super) fn adopt(
        &mut self,
        based_on: u64,
        Decided { starts, evictions, resizes }: Decided<'_>,
        at: Time,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if based_on != self.generation {
            return Err(Refusal::Stale { based_on, now: self.generation });
        }
        self.may_start(starts)?;
        self.may_evict(evictions, starts)?;
        self.may_resize(resizes)?;
        for start in starts {
            let Some(machine) = self.machines.get(&start.grant.machine) else { continue };
            // The machine's assignment changes once for the whole command, after it.
            let ordered_in = machine.assignment_generation.saturating_add(1);
            effects.changed_machines.insert(start.grant.machine.clone());
            self.edit(start.job, effects, |job| {
                let attempt = u32::try_from(job.runs.len()).unwrap_or(u32::MAX).saturating_add(1);
                job.state = JobState::Starting;
                job.claim = None;
                job.runs.push(Run {
                    id: RunId { job: job.id, attempt },
                    grant: start.grant.clone(),
                    adopted: at,
                    ordered_in,
                    state: RunState::Starting,
                    stop: None,
                    evicted: None,
                    started: None,
                    ended: None,
                    ranks: vec![],
                    isolation: None,
                    stages: vec![],
                    usage: None,
                    overstep: None,
                });
            });
        }
        for eviction in evictions {
            self.evict(eviction, at, effects);
        }
        for resize in resizes {
            self.resize(resize, at, effects);
        }
        Ok(())
    }

    /// The run saves its work and ends, if it was not told so as a victim, and its job goes on in the place that is kept for it.
    fn resize(&mut self, resize: &Resize, at: Time, effects: &mut Effects) {
        effects.changed_machines.insert(resize.grant.machine.clone());
        self.edit(resize.run.job, effects, |job| {
            job.state = JobState::Stopping;
            job.claim = Some(resize.grant.clone());
            let own = job.id;
            if let Some(run) = job.live_run_mut() {
                run.stop = Some(StopOrder { kill: false });
                let evicted = run.evicted.get_or_insert(Evicted { by: own, at, ranks: None });
                evicted.ranks = u32::try_from(resize.grant.ranks.len()).ok();
            }
        });
    }

    fn may_resize(&self, resizes: &[Resize]) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        for Resize { run: id, grant } in resizes {
            let job = self.jobs.get(&id.job).filter(|job| job.spec.is_resizable());
            let run = job.and_then(Job::live_run).filter(|run| run.id == *id && run.stop.is_none() && run.grant.machine == grant.machine);
            let sized = |job: &&Job| job.spec.sizes().iter().any(|size| *size as usize == grant.ranks.len());
            if run.is_none() || !job.as_ref().is_some_and(sized) || !seen.insert(*id) {
                return Err(Refusal::Inconsistent(format!("the plan lets run {id} go on at another size, which it may not")));
            }
        }
        Ok(())
    }

    /// Each victim is asked to save its work and end; the place is kept for the job.
    fn evict(&mut self, eviction: &Eviction, at: Time, effects: &mut Effects) {
        self.edit(eviction.job, effects, |job| job.claim = Some(eviction.grant.clone()));
        for victim in &eviction.victims {
            effects.changed_machines.insert(eviction.grant.machine.clone());
            self.edit(victim.job, effects, |job| {
                job.state = JobState::Stopping;
                if let Some(run) = job.live_run_mut() {
                    run.stop = Some(StopOrder { kill: false });
                    run.evicted = Some(Evicted { by: eviction.job, at, ranks: None });
                }
            });
        }
    }

    fn may_evict(&self, evictions: &[Eviction], starts: &[Start]) -> Result<(), Refusal> {
        let refuse = |what: String| Err(Refusal::Inconsistent(what));
        let (mut jobs, mut victims) = (BTreeSet::new(), BTreeSet::new());
        for eviction in evictions {
            let id = eviction.job;
            let waits =
                |job: &Job| job.state == JobState::Waiting && job.claim.is_none() && job.after.is_empty() && job.not_before.is_none();
            if !self.jobs.get(&id).is_some_and(waits) || !jobs.insert(id) || starts.iter().any(|start| start.job == id) {
                return refuse(format!("the plan evicts runs for job {id}, which does not wait for that"));
            }
            if eviction.victims.is_empty() {
                return refuse(format!("the plan gives job {id} a place that nobody leaves"));
            }
            for victim in &eviction.victims {
                let run = self.jobs.get(&victim.job).and_then(Job::live_run).filter(|run| run.id == *victim && run.stop.is_none());
                if run.is_none_or(|run| run.grant.machine != eviction.grant.machine) || !victims.insert(*victim) {
                    return refuse(format!("the plan evicts run {victim}, which does not run there or ends already"));
                }
            }
        }
        Ok(())
    }

    fn may_start(&self, starts: &[Start]) -> Result<(), Refusal> {
        let refuse = |job: JobId, why: &str| Err(Refusal::Inconsistent(format!("the plan starts job {job}, {why}")));
        let mut taken: BTreeMap<u64, Vec<JobId>> = BTreeMap::new();
        for start in starts {
            let Some(job) = self.jobs.get(&start.job) else { return refuse(start.job, "which does not exist") };
            if job.state != JobState::Waiting || !job.after.is_empty() || job.not_before.is_some() {
                return refuse(job.id, "which may not start yet");
            }
            if !self.machines.contains_key(&start.grant.machine) {
                return refuse(job.id, "on a machine that has not joined");
            }
            if !job.spec.sizes().iter().any(|size| *size as usize == start.grant.ranks.len()) {
                return refuse(job.id, "but not with a number of ranks that it may have");
            }
            let siblings = taken.entry(job.id.number).or_default();
            if siblings.contains(&job.id) {
                return refuse(job.id, "twice");
            }
            siblings.push(job.id);
            let held = self.index.arrays.get(&job.id.number).map_or(0, |array| array.holding as usize);
            let at_once = job.spec.array.as_ref().and_then(|array| array.at_once);
            if at_once.is_some_and(|at_once| held + siblings.len() > at_once as usize) {
                return refuse(job.id, "one task of the array more than allowed");
            }
        }
        Ok(())
    }
}
