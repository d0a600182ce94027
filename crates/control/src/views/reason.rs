//! Reasons and dry runs. The words are the planner's; here only names are filled in, or left out.

use crate::access::Viewer;
use api::{PlanVerdict, PlanView, ReasonView};
use cluster::State;
use placement::{Reason, WhatIf};
use spec::{RunId, Time};

/// Holders are named where the asker may see them, and counted where not.
pub fn reason_views(reasons: &[Reason], state: &State, viewer: &Viewer, now: Time) -> Vec<ReasonView> {
    reasons
        .iter()
        .map(|reason| ReasonView {
            kind: reason.blocker.kind().into(),
            text: reason.sentence(now),
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

pub fn plan_view(found: &WhatIf, state: &State, viewer: &Viewer, now: Time) -> PlanView {
    let never = found.reasons.iter().any(|reason| reason.never);
    let verdict = match (&found.start, never) {
        (Some(_), _) => PlanVerdict::StartsNow,
        (None, true) => PlanVerdict::Never,
        (None, false) => PlanVerdict::Waits,
    };
    let reasons = reason_views(&found.reasons, state, viewer, now);
    PlanView { verdict, grant: found.start.clone(), planned_start: found.planned_start, reasons }
}
