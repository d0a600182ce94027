//! Asking a job to end.

use super::finish::Ending;
use super::{Effects, State};
use crate::{JobState, Refusal};
use spec::{Identity, JobId, StopOrder, Time};

impl State {
    /// A waiting job (in back-off too) is cancelled at once; one that holds a grant gets a stop order and ends
    /// when its end was observed. Asking again changes nothing, except that `kill` is added.
    pub(super) fn cancel(&mut self, id: JobId, by: &Identity, kill: bool, at: Time, effects: &mut Effects) -> Result<(), Refusal> {
        let targets: Vec<JobId> = match id.task {
            Some(_) => self.jobs.contains_key(&id).then_some(id).into_iter().collect(),
            None => self.tasks(id.number).map(|job| job.id).collect(),
        };
        if targets.is_empty() {
            return Err(Refusal::NoSuchJob(id));
        }
        let mut endings = vec![];
        for target in targets {
            let Some(job) = self.jobs.get(&target) else { continue };
            let Some(run) = job.live_run() else {
                self.edit(target, effects, |job| {
                    job.cancelled_by = Some(by.clone());
                    job.claim = None;
                });
                endings.push((target, Ending::cancelled(by, at)));
                continue;
            };
            let stop = StopOrder { kill: kill || run.stop.is_some_and(|stop| stop.kill) };
            // An evicted run is stopping too, and its job would wait again.
            if run.stop == Some(stop) && job.cancelled_by.is_some() {
                continue;
            }
            effects.changed_machines.insert(run.grant.machine.clone());
            self.edit(target, effects, |job| {
                job.state = JobState::Stopping;
                job.claim = None;
                job.cancelled_by.get_or_insert_with(|| by.clone());
                if let Some(run) = job.live_run_mut() {
                    run.stop = Some(stop);
                }
            });
        }
        self.finish(endings, effects);
        Ok(())
    }
}
