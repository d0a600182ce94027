//! Long polls: until a job ends, until it changes.

use super::{App, Failure, blocking, find, jobs, row_of};
use crate::access::{Viewer, not_found};
use crate::server::error::Reply;
use crate::server::extract::{Asked, Id};
use api::{FollowReply, JobView, WAIT_MAX_MS, WaitReply};
use axum::extract::State;
use axum::{Extension, Json};
use cluster::JobState;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, timeout_at};

/// Asked to wait for nothing in particular, so for this long.
const WAIT_DEFAULT_MS: u64 = 30_000;

#[derive(Deserialize)]
pub struct Waiting {
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
pub struct Following {
    seen: Option<String>,
    timeout_ms: Option<u64>,
}

pub(super) fn deadline(timeout_ms: Option<u64>) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms.unwrap_or(WAIT_DEFAULT_MS).min(WAIT_MAX_MS))
}

pub async fn wait(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Id(id): Id,
    Asked(ask): Asked<Waiting>,
) -> Reply<WaitReply> {
    let deadline = deadline(ask.timeout_ms);
    let mut changes = app.shared.view.subscribe();
    loop {
        // Marked as seen before looking: a commit in between wakes us again.
        changes.borrow_and_update();
        let (finder, asker) = (app.clone(), viewer.clone());
        let job = blocking(move || row_of(&find(&finder, id, &asker)?).ok_or_else(|| not_found(id).into())).await?;
        let ended = job.ended.is_some();
        if ended || !until(&mut changes, deadline, || !app.shared.view.read().state.is_live(id)).await {
            return Ok(Json(WaitReply { ended, job }));
        }
    }
}

pub async fn follow(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Id(id): Id,
    Asked(ask): Asked<Following>,
) -> Reply<FollowReply> {
    let deadline = deadline(ask.timeout_ms);
    let mut changes = app.shared.view.subscribe();
    loop {
        changes.borrow_and_update();
        // Taken before looking closely, for the same reason.
        let before = app.shared.view.read().state.job(id).cloned();
        let (finder, asker) = (app.clone(), viewer.clone());
        let job = blocking(move || jobs::view(&finder, id, &asker)).await?;
        let mark = mark(&job)?;
        let changed = ask.seen.as_deref() != Some(&mark);
        // The reasons of a waiting job change without it.
        let other =
            || before.as_ref().is_none_or(|job| job.state == JobState::Waiting) || app.shared.view.read().state.job(id) != before.as_ref();
        if changed || !until(&mut changes, deadline, other).await {
            return Ok(Json(FollowReply { mark, changed, job }));
        }
    }
}

/// Waits for a commit after which `look` says so. False when the time is up. Every commit wakes everybody who waits,
/// so `look` is a glance at memory: only what it lets through is worth reading the archive for.
async fn until(changes: &mut Receiver<u64>, deadline: Instant, look: impl Fn() -> bool) -> bool {
    while let Ok(Ok(())) = timeout_at(deadline, changes.changed()).await {
        if look() {
            return true;
        }
    }
    false
}

/// Stands for what the job is now. Words of reasons hold times that pass, so only their kinds count.
fn mark(job: &JobView) -> Result<String, Failure> {
    let mut plain = job.clone();
    let kinds: Vec<String> = plain.reasons.drain(..).map(|reason| format!("{}{:?}", reason.kind, reason.never)).collect();
    plain.planned_start = None;
    if plain.row.ended.is_none() {
        plain.row.note = None;
        plain.tasks.iter_mut().for_each(|task| task.note = None);
    }
    let text = serde_json::to_vec(&(plain, kinds)).map_err(|error| Failure::new(api::ErrorKind::Internal, error.to_string()))?;
    Ok(hex::encode(&Sha256::digest(text)[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::ReasonView;
    use spec::Time;

    #[test]
    fn a_mark_changes_with_the_job_and_not_with_the_words() {
        let mut job = crate::views::sample_job(1, 1000);
        let mut view = crate::views::job_view(&job);
        let reason = |text: &str, kind: &str| ReasonView {
            kind: kind.into(),
            text: text.into(),
            held_by: vec![],
            change: None,
            until: Some(Time(1)),
            never: false,
        };
        view.reasons = vec![reason("in 5 minutes", "cpus")];
        let first = mark(&view).ok().unwrap();
        view.reasons = vec![reason("in 4 minutes", "cpus")];
        view.row.note = Some("in 4 minutes".into());
        assert_eq!(mark(&view).ok().unwrap(), first);
        view.reasons = vec![reason("in 4 minutes", "memory")];
        assert_ne!(mark(&view).ok().unwrap(), first);
        job.state = JobState::Running;
        assert_ne!(mark(&crate::views::job_view(&job)).ok().unwrap(), first);
    }
}
