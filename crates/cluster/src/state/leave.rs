//! Taking out a machine that will not come back.

use super::{Effects, State};
use crate::{Refusal, Run, RunState};
use spec::{EndCause, Identity, JobId, Time};

impl State {
    /// Whatever was granted there counts as lost, and is free; `retry` decides what becomes of the jobs. That nothing
    /// executes there any more is the word of whoever asks: nobody can look.
    pub(super) fn leave(&mut self, machine: &str, by: &Identity, at: Time, effects: &mut Effects) -> Result<(), Refusal> {
        if !self.machines.contains_key(machine) {
            let known = self.machines.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Refusal::NoSuchMachine { name: machine.into(), known });
        }
        self.void_claims(|grant| grant.machine == machine, effects);
        let held: Vec<(JobId, Run)> = self.holding(machine).map(|(job, run)| (job.id, run.clone())).collect();
        for (job, run) in held {
            let cause = EndCause::Lost { message: format!("machine {machine} was taken out by {}", by.user) };
            let run = Run { state: RunState::Ended(cause.clone()), ended: Some(at), ..run };
            self.run_ended(job, run, &cause, at, effects);
        }
        self.machines.remove(machine);
        effects.changed_machines.remove(machine);
        effects.changed = true;
        effects.replan = true;
        Ok(())
    }
}
