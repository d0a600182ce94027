//! What readers see: the committed state and the newest plan.
//!
//! The writer's own state runs ahead of the disk between a step and its commit. Readers must not see that, so
//! they have a state of their own, which applies the same records after the commit. Applying is cheap and the lock
//! is held for nothing else, so neither side waits for the disk of the other.

use crate::access::Viewer;
use crate::views;
use api::{JobRow, JobView, ReasonView};
use cluster::{Command, Job, State};
use placement::Plan;
use spec::{JobId, Time};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::watch;

#[derive(Default)]
pub struct Committed {
    pub state: State,
    plan: Plan,
    /// Where in the plan a waiting job is.
    place: HashMap<JobId, usize>,
    planned: HashMap<JobId, Time>,
}

pub struct View {
    inner: RwLock<Committed>,
    /// Grows with every commit; what long polls wait on.
    changed: watch::Sender<u64>,
}

impl View {
    pub fn new(state: State, plan: Plan) -> View {
        let view = View { inner: RwLock::default(), changed: watch::Sender::new(0) };
        view.replace(state, plan);
        view
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Committed> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes in what is on disk now. A refusal would mean that applying is no function of its input.
    pub fn advance(&self, records: &[Command], plan: Option<Plan>) -> Result<(), cluster::Refusal> {
        let indexed = plan.map(index);
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for command in records {
            let _ = inner.state.apply(command)?;
        }
        if let Some((plan, place, planned)) = indexed {
            (inner.plan, inner.place, inner.planned) = (plan, place, planned);
        }
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// After a reload from disk.
    pub fn replace(&self, state: State, plan: Plan) {
        let (plan, place, planned) = index(plan);
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = Committed { state, plan, place, planned };
        self.changed.send_modify(|count| *count += 1);
    }
}

fn index(plan: Plan) -> (Plan, HashMap<JobId, usize>, HashMap<JobId, Time>) {
    let place = plan.reasons.iter().enumerate().map(|(index, (job, _))| (*job, index)).collect();
    let planned = plan.reservations.iter().map(|reservation| (reservation.job, reservation.at)).collect();
    (plan, place, planned)
}

impl Committed {
    /// The live job with what the plan says of it.
    pub fn view(&self, job: &Job, viewer: &Viewer, now: Time) -> JobView {
        let mut view = views::job_view(job);
        view.reasons = self.reasons(job.id, viewer, now);
        view.planned_start = self.planned.get(&job.id).copied();
        view.row.note = view.reasons.first().map(|reason| reason.text.clone());
        view
    }

    pub fn row(&self, job: &Job, now: Time) -> JobRow {
        let reason = self.place.get(&job.id).and_then(|place| self.plan.reasons.get(*place)).and_then(|(_, reasons)| reasons.first());
        let waits = job.state == cluster::JobState::Waiting;
        views::job_row(job, reason.filter(|_| waits).map(|reason| reason.sentence(now)))
    }

    /// Empty for a job that does not wait.
    pub fn reasons(&self, id: JobId, viewer: &Viewer, now: Time) -> Vec<ReasonView> {
        let waits = self.state.job(id).is_some_and(|job| job.state == cluster::JobState::Waiting);
        match self.place.get(&id).and_then(|place| self.plan.reasons.get(*place)) {
            Some((_, reasons)) if waits => views::reason_views(reasons, &self.state, viewer, now),
            _ => vec![],
        }
    }
}
