//! The machine and who holds what of it.

use crate::access::Viewer;
use api::{Held, MachineView};
use cluster::State;
use spec::Time;
use std::collections::BTreeMap;

/// The machine whose node is `here`; one that is only remembered where none is. `None` before a machine has joined.
pub fn machine_view(state: &State, viewer: &Viewer, here: impl Fn(&str) -> bool, now: Time) -> Option<MachineView> {
    let machines = state.machines();
    let (id, joined) = machines.iter().find(|(id, _)| here(id)).or_else(|| machines.first_key_value())?;
    let held = state.holding(id).map(|(job, run)| {
        let seen = viewer.sees_job(job);
        Held {
            run: seen.then_some(run.id),
            user: seen.then(|| job.owner.user.clone()),
            name: seen.then(|| job.spec.name.clone()),
            grant: run.grant.clone(),
        }
    });
    Some(MachineView { machine: joined.machine.as_ref().clone(), held: held.collect(), now, figures: BTreeMap::new() })
}
