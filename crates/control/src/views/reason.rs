//! Reasons and dry runs. The words are the planner's; here only names are filled in, or left out.

use crate::access::Viewer;
use api::{PlanVerdict, PlanView, ReasonView};
use cluster::{Job, State};
use placement::{Blocker, Gate, Reason, WhatIf};
use spec::{JobSpec, RunId, Time};

/// Whose reasons they are.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub spec: &'a JobSpec,
    /// `None` in a dry run.
    pub job: Option<&'a Job>,
}

impl<'a> About<'a> {
    pub fn job(job: &'a Job) -> About<'a> {
        About { spec: &job.spec, job: Some(job) }
    }
}

/// The planner's sentence, with what only the job knows: which attempt comes next, and that nobody asked for the memory.
pub fn reason_text(reason: &Reason, about: About<'_>, now: Time) -> String {
    match (&reason.blocker, about.job) {
        (Blocker::Gate(Gate::Backoff { until }), Some(job)) => {
            let attempts = about.spec.retry.attempts;
            let when = if *until > now { format!("starts in {}", *until - now) } else { "is about to start".into() };
            let next = format!("attempt {} of {attempts} {when}", job.attempts() + 1);
            match cluster::explain(job) {
                Some(end) => format!("{next}; attempt {} {}", job.attempts(), end.title),
                None => next,
            }
        }
        (Blocker::Memory { .. }, _) if about.spec.memory.is_none() => {
            let text = reason.sentence(now).replacen("asks for", "needs", 1);
            format!(
                "{text}; nobody asked for so much: by default it is the machine's memory in proportion to the CPUs, so set `memory` for less"
            )
        }
        _ => reason.sentence(now),
    }
}

/// Holders are named where the asker may see them, and counted where not.
pub fn reason_views(reasons: &[Reason], about: About<'_>, state: &State, viewer: &Viewer, now: Time) -> Vec<ReasonView> {
    reasons
        .iter()
        .map(|reason| ReasonView {
            kind: reason.blocker.kind().into(),
            text: reason_text(reason, about, now),
            held_by: holders(&reason.held_by, state, viewer),
            change: reason.change.clone(),
            until: reason.until,
            never: reason.never,
        })
        .collect()
}

fn holders(runs: &[RunId], state: &State, viewer: &Viewer) -> Vec<String> {
    let mut hidden = 0;
    let mut named: Vec<String> = runs
        .iter()
        .filter_map(|run| match state.job(run.job) {
            Some(job) if viewer.sees_job(job) => Some(format!("{run} ({}, {})", job.spec.name, job.owner.user)),
            Some(_) => {
                hidden += 1;
                None
            }
            None => None,
        })
        .collect();
    match hidden {
        0 => {}
        1 => named.push("another user's run".into()),
        many => named.push(format!("{many} runs of other users")),
    }
    named
}

pub fn plan_view(found: &WhatIf, spec: &JobSpec, state: &State, viewer: &Viewer, now: Time) -> PlanView {
    let never = found.reasons.iter().any(|reason| reason.never);
    let verdict = match (&found.start, never) {
        (Some(_), _) => PlanVerdict::StartsNow,
        (None, true) => PlanVerdict::Never,
        (None, false) => PlanVerdict::Waits,
    };
    let reasons = reason_views(&found.reasons, About { spec, job: None }, state, viewer, now);
    let range = spec.is_elastic().then(|| spec::write_ranks(spec));
    PlanView { verdict, grant: found.start.clone(), range, planned_start: found.planned_start, reasons, warnings: vec![] }
}
