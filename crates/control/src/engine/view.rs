//! What readers see: the committed state and the newest plan.
//!
//! The writer's own state runs ahead of the disk between a step and its commit. Readers must not see that, so
//! they have a state of their own, which applies the same records after the commit. Applying is cheap and the lock
//! is held for nothing else, so neither side waits for the disk of the other.

use crate::access::Viewer;
use crate::views::{self, About};
use api::{JobRow, JobView, ReasonView};
use cluster::{Command, Job, JobState, State};
use placement::{Blocker, Plan, Reason};
use spec::{JobId, Time};
use std::borrow::Cow;
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
        view.reasons = self.reasons(job, viewer, now);
        view.planned_start = self.planned.get(&job.id).copied();
        view.row.note = view.reasons.first().map(|reason| reason.text.clone());
        view
    }

    pub fn row(&self, job: &Job, now: Time) -> JobRow {
        let waits = job.state == JobState::Waiting;
        views::job_row(job, waits.then(|| self.why(job).first().map(|reason| views::reason_text(reason, About::job(job), now))).flatten())
    }

    /// Empty for a job that does not wait.
    fn reasons(&self, job: &Job, viewer: &Viewer, now: Time) -> Vec<ReasonView> {
        match job.state {
            JobState::Waiting => views::reason_views(&self.why(job), About::job(job), &self.state, viewer, now),
            _ => vec![],
        }
    }

    /// What the plan says, or, of a job the plan says nothing of (it was not adopted), the plain truth: every
    /// wait has a reason.
    fn why(&self, job: &Job) -> Cow<'_, [Reason]> {
        let planned = self.place.get(&job.id).and_then(|place| self.plan.reasons.get(*place));
        match planned {
            Some((_, reasons)) if !reasons.is_empty() => Cow::Borrowed(reasons),
            _ => {
                let ahead = self.state.waiting().take_while(|other| other.id < job.id).count() as u64;
                let blocker = if self.state.machines().is_empty() { Blocker::NoMachine } else { Blocker::Behind { jobs: ahead } };
                Cow::Owned(vec![Reason { blocker, held_by: vec![], change: None, until: job.not_before, never: false }])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::person;
    use crate::views::{sample_job, sample_spec};
    use std::sync::Arc;

    fn submit(number: u64) -> Command {
        let spec = Arc::new(sample_spec("a"));
        Command::Submit { number, spec, owner: person(1000), key: None, ended: vec![], at: Time(number) }
    }

    #[test]
    fn readers_see_each_batch_when_it_is_published_and_not_before() {
        let view = View::new(State::new(), Plan::default());
        let mut changes = view.subscribe();
        changes.borrow_and_update();
        assert_eq!(view.read().state.jobs().len(), 0);
        view.advance(&[submit(1), submit(2)], None).unwrap();
        assert!(changes.has_changed().unwrap());
        assert_eq!(view.read().state.jobs().len(), 2);
        // A record that does not follow from the state is a bug and is said, not swallowed.
        assert!(view.advance(&[submit(1)], None).is_err());
    }

    #[test]
    fn a_wait_has_a_reason_even_without_a_plan() {
        let view = View::new(State::new(), Plan::default());
        view.advance(&[submit(1)], None).unwrap();
        let committed = view.read();
        let job = committed.state.job(JobId::new(1)).unwrap();
        let viewer = Viewer::new(person(1000), None);
        assert_eq!(committed.view(job, &viewer, Time(5)).reasons[0].kind, "no-machine");
        assert!(committed.row(job, Time(5)).note.is_some());
        let mut running = sample_job(1, 1000);
        running.state = JobState::Running;
        assert!(committed.view(&running, &viewer, Time(5)).reasons.is_empty());
        assert!(committed.row(&running, Time(5)).note.is_none());
    }
}
