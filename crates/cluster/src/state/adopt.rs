//! Giving grants.

use super::{Effects, State};
use crate::{JobState, Refusal, Run, RunState};
use placement::Start;
use spec::{JobId, RunId, Time};
use std::collections::BTreeMap;

impl State {
    /// The plan must have been made from exactly this state. Whether its grants fit was checked by
    /// [`placement::check`]; here it is only asked whether the jobs may start at all.
    pub(super) fn adopt(&mut self, based_on: u64, starts: &[Start], at: Time, effects: &mut Effects) -> Result<(), Refusal> {
        if based_on != self.generation {
            return Err(Refusal::Stale { based_on, now: self.generation });
        }
        self.may_start(starts)?;
        for start in starts {
            let Some(machine) = self.machines.get(&start.grant.machine) else { continue };
            // The machine's assignment changes once for the whole command, after it.
            let ordered_in = machine.assignment_generation.saturating_add(1);
            effects.changed_machines.insert(start.grant.machine.clone());
            self.edit(start.job, effects, |job| {
                let attempt = u32::try_from(job.runs.len()).unwrap_or(u32::MAX).saturating_add(1);
                job.state = JobState::Starting;
                job.runs.push(Run {
                    id: RunId { job: job.id, attempt },
                    grant: start.grant.clone(),
                    adopted: at,
                    ordered_in,
                    state: RunState::Starting,
                    stop: None,
                    started: None,
                    ended: None,
                    ranks: vec![],
                    isolation: None,
                    stages: vec![],
                    usage: None,
                });
            });
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
            if start.grant.ranks.len() != job.spec.ranks as usize {
                return refuse(job.id, "but not all of its ranks");
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
