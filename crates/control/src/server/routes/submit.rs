//! Submitting, cancelling, dry runs.

use super::{App, Failure, Found, blocking, find};
use crate::access::{Viewer, not_found};
use crate::engine::{Request, Submission};
use crate::server::error::{Reply, refusal};
use crate::server::extract::{Body, Id};
use crate::views;
use api::{
    CancelRequest, ErrorBody, ErrorKind, PlanRequest, PlanVerdict, PlanView, SUBMIT_MAX_JOBS, SubmitReply, SubmitRequest, SubmitResult,
};
use axum::extract::State;
use axum::{Extension, Json};
use cluster::{Answer, Refusal};
use spec::JobSpec;
use std::sync::Arc;

const KEY_MAX: usize = 256;

pub async fn submit(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Body(request): Body<SubmitRequest>,
) -> Reply<SubmitReply> {
    if request.jobs.len() > SUBMIT_MAX_JOBS {
        return Err(Failure::input(format!("{} jobs in one request; {SUBMIT_MAX_JOBS} are the most", request.jobs.len())));
    }
    let mut results: Vec<Option<SubmitResult>> = vec![];
    let mut jobs = vec![];
    let checker = app.clone();
    let asker = viewer.clone();
    let checked = blocking(move || {
        let check = |item: api::SubmitItem| check(&checker, &item.spec, item.key.as_deref(), &asker).map(|()| item);
        Ok(request.jobs.into_iter().map(check).collect::<Vec<_>>())
    })
    .await?;
    for item in checked {
        match item {
            Ok(item) => {
                results.push(None);
                jobs.push(Submission { spec: Arc::new(item.spec), key: item.key });
            }
            Err(body) => results.push(Some(SubmitResult::Refused(body))),
        }
    }
    let mut answers = match jobs.is_empty() {
        true => vec![].into_iter(),
        false => app.shared.ask(|reply| Request::Submit { jobs, owner: viewer.identity, reply }).await?.into_iter(),
    };
    let results: Vec<SubmitResult> = results.into_iter().map(|result| result.unwrap_or_else(|| answered(answers.next()))).collect();
    match <[SubmitResult; 1]>::try_from(results) {
        // Of one job the status tells what became of it.
        Ok([SubmitResult::Refused(body)]) => Err(Failure(body)),
        Ok([accepted]) => Ok(Json(SubmitReply { results: vec![accepted] })),
        Err(results) => Ok(Json(SubmitReply { results })),
    }
}

fn answered(answer: Option<Answer>) -> SubmitResult {
    match answer {
        Some(Answer::Accepted(id)) => SubmitResult::Accepted(id),
        Some(Answer::Refused(why)) => SubmitResult::Refused(refusal(&why)),
        Some(Answer::Done) | None => {
            SubmitResult::Refused(ErrorBody { kind: ErrorKind::Internal, message: "the job got no answer".into(), hint: None })
        }
    }
}

/// What does not depend on the order of submissions. A job file from the wire is as little trusted as one from disk.
fn check(app: &App, spec: &JobSpec, key: Option<&str>, viewer: &Viewer) -> Result<(), ErrorBody> {
    let wrong = |message: String, hint: Option<String>| ErrorBody { kind: ErrorKind::Input, message, hint };
    spec.validate().map_err(|problems| wrong(problems.join("; "), None))?;
    if key.is_some_and(|key| key.is_empty() || key.len() > KEY_MAX) {
        return Err(wrong(format!("a key has 1 to {KEY_MAX} bytes"), None));
    }
    for dependency in &spec.after {
        // Waiting for somebody else's job would tell how it ends.
        find(app, dependency.job, viewer).map_err(|_| refusal(&Refusal::NoSuchDependency(dependency.job)))?;
    }
    Ok(())
}

pub async fn cancel(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Id(id): Id,
    Body(request): Body<CancelRequest>,
) -> Reply<serde_json::Value> {
    let (finder, asker) = (app.clone(), viewer.clone());
    let found = blocking(move || find(&finder, id, &asker)).await?;
    let by = viewer.identity;
    match app.shared.ask(|reply| Request::Cancel { job: id, by, kill: request.kill, reply }).await? {
        Answer::Refused(Refusal::NoSuchJob(_)) => Err(gone(id, &found)),
        Answer::Refused(why) => Err(refusal(&why).into()),
        Answer::Accepted(_) | Answer::Done => Ok(Json(serde_json::json!({}))),
    }
}

/// It was there and the state no longer has it: it ended.
fn gone(id: spec::JobId, found: &Found) -> Failure {
    match super::row_of(found) {
        Some(row) if row.ended.is_some() => Failure::new(ErrorKind::Conflict, format!("job {id} already ended: {}", row.state)),
        Some(_) => Failure::new(ErrorKind::Conflict, format!("job {id} has just ended")),
        None => not_found(id).into(),
    }
}

pub async fn plan(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Body(PlanRequest { spec, suppose }): Body<PlanRequest>,
) -> Reply<PlanView> {
    let (checker, asker) = (app.clone(), viewer.clone());
    let spec = blocking(move || check(&checker, &spec, None, &asker).map(|()| Arc::new(spec)).map_err(Failure)).await?;
    let owner = viewer.identity.clone();
    let asked = spec.clone();
    let found = app.shared.ask(|reply| Request::WhatIf { spec, owner, suppose, reply }).await?;
    let found = found.map_err(|why| Failure(refusal(&why)))?;
    let now = app.shared.now();
    let view = views::plan_view(&found, &asked, &app.shared.view.read().state, &viewer, now);
    debug_assert!(view.verdict == PlanVerdict::StartsNow || !view.reasons.is_empty(), "a wait has a reason");
    Ok(Json(view))
}
