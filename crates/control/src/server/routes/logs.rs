//! Output of a rank, piece by piece.

use super::watch::deadline;
use super::{App, Failure, Found, blocking, find};
use crate::access::Viewer;
use crate::server::extract::{Asked, Id};
use api::{LOG_ENDED_HEADER, LOG_MAX_BYTES, LOG_OFFSET_HEADER, LOG_RUN_HEADER, LogChunk, LogQuery};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use spec::{JobId, RunId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// While somebody follows, new output is looked for this often at first, and less often the longer none comes.
/// Nothing looks when nobody follows.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_millis(250);

const BYTES_DEFAULT: u32 = 256 << 10;

#[derive(Clone, Copy, Deserialize)]
pub struct Ask {
    run: Option<u32>,
    #[serde(default)]
    rank: u32,
    #[serde(default)]
    offset: u64,
    max: Option<u32>,
    #[serde(default)]
    wait_ms: u64,
}

pub async fn logs(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Id(id): Id,
    Asked(ask): Asked<Ask>,
) -> Result<Response, Failure> {
    let deadline = deadline(Some(ask.wait_ms));
    let mut pause = LOOK_FIRST;
    let mut changes = app.shared.view.subscribe();
    loop {
        let (reader, asker) = (app.clone(), viewer.clone());
        let (run, chunk) = blocking(move || read(&reader, id, &asker, ask)).await?;
        if chunk.ended || !chunk.data.is_empty() || Instant::now() >= deadline {
            return Ok(reply(run, chunk));
        }
        // The end of a run is a change of the state, and need not wait for the next look.
        tokio::select! {
            () = sleep_until((Instant::now() + pause).min(deadline)) => {}
            _ = changes.changed() => {}
        }
        pause = (pause * 2).min(LOOK_LAST);
    }
}

fn read(app: &App, id: JobId, viewer: &Viewer, ask: Ask) -> Result<(Option<RunId>, LogChunk), Failure> {
    let job = match find(app, id, viewer)? {
        Found::Job(job) => job,
        Found::Array(tasks) => {
            let example = tasks.first().map_or(id, |task| task.id);
            return Err(Failure::input(format!("job {id} is an array; name one task of it")).hint(format!("for example {example}")));
        }
    };
    if ask.rank >= job.spec.ranks {
        return Err(Failure::input(format!("job {id} has no rank {}: its ranks are 0 to {}", ask.rank, job.spec.ranks - 1)));
    }
    let run = match ask.run {
        None => job.runs.last(),
        Some(attempt) => {
            let run = job.runs.iter().find(|run| run.id.attempt == attempt);
            Some(run.ok_or_else(|| Failure::input(format!("job {id} has no run with number {attempt}; it has had {}", job.runs.len())))?)
        }
    };
    let Some(run) = run else {
        // It waits, or ended without ever being started.
        return Ok((None, LogChunk { offset: ask.offset, data: vec![], ended: job.state.is_terminal() }));
    };
    if ask.rank as usize >= run.grant.ranks.len() {
        // This run of an elastic job has fewer ranks; the next one may have more.
        return Ok((Some(run.id), LogChunk { offset: ask.offset, data: vec![], ended: run.state.is_ended() }));
    }
    let max = ask.max.unwrap_or(BYTES_DEFAULT).clamp(1, LOG_MAX_BYTES);
    let query = LogQuery { run: run.id, rank: ask.rank, offset: ask.offset, max };
    let chunk = match (app.shared.link.logs)(&query) {
        // A supervisor that was killed never wrote that the output has ended; the state knows.
        Ok(chunk) => LogChunk { ended: chunk.ended || (run.state.is_ended() && chunk.data.is_empty()), ..chunk },
        // Ordered a moment ago: its machine has not made a place for its output yet.
        Err(_) if !run.state.is_ended() => LogChunk { offset: ask.offset, data: vec![], ended: false },
        // It ended before any rank ran, so there never was any.
        Err(_) if run.started.is_none() => LogChunk { offset: ask.offset, data: vec![], ended: true },
        Err(why) => return Err(Failure::new(api::ErrorKind::NotFound, why)),
    };
    Ok((Some(run.id), chunk))
}

fn reply(run: Option<RunId>, chunk: LogChunk) -> Response {
    let mut reply = chunk.data.into_response();
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(LOG_OFFSET_HEADER, HeaderValue::from(chunk.offset));
    headers.insert(LOG_ENDED_HEADER, HeaderValue::from_static(if chunk.ended { "true" } else { "false" }));
    if let Some(run) = run.and_then(|run| HeaderValue::from_str(&run.to_string()).ok()) {
        headers.insert(LOG_RUN_HEADER, run);
    }
    reply
}
