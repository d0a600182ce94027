//! The machine and who holds what of it.

use crate::access::Viewer;
use api::{Held, MachineView};
use cluster::State;
use spec::Time;

/// `None` before a machine has joined.
pub fn machine_view(state: &State, viewer: &Viewer, now: Time) -> Option<MachineView> {
    let (id, joined) = state.machines().first_key_value()?;
    let held = state.holding(id).map(|(job, run)| {
        let seen = viewer.sees_job(job);
        Held {
            run: seen.then_some(run.id),
            user: seen.then(|| job.owner.user.clone()),
            name: seen.then(|| job.spec.name.clone()),
            grant: run.grant.clone(),
        }
    });
    Some(MachineView { machine: joined.machine.as_ref().clone(), held: held.collect(), now })
}
