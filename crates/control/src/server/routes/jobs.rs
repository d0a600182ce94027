//! Listing and showing jobs.

use super::{App, Failure, Found, blocking, find, merged};
use crate::access::{Viewer, not_found};
use crate::log::Filter;
use crate::server::error::Reply;
use crate::server::extract::{Asked, Id};
use crate::views;
use api::{ErrorKind, JobQuery, JobRow, JobView, JobsPage, ProgressView, WhyView};
use axum::extract::State;
use axum::{Extension, Json};
use cluster::{Job, JobState};
use std::sync::Arc;

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

const STATES: [JobState; 7] = [
    JobState::Waiting,
    JobState::Starting,
    JobState::Running,
    JobState::Stopping,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
];

/// Which of the two places a listing reads, and what it lets through.
struct Listing {
    filter: Filter,
    live: bool,
    ended: bool,
}

fn listing(query: &JobQuery, viewer: &Viewer) -> Result<Listing, Failure> {
    let (state, live, ended) = match query.state.as_deref() {
        None => (None, true, true),
        Some("live") => (None, true, false),
        Some("ended") => (None, false, true),
        Some(name) => {
            let state = STATES.into_iter().find(|state| state.name() == name).ok_or_else(|| {
                let known: Vec<&str> = STATES.iter().map(|state| state.name()).collect();
                Failure::input(format!("'{name}' is no state; there are: {}, live, ended", known.join(", ")))
            })?;
            (Some(state), !state.is_terminal(), state.is_terminal())
        }
    };
    if query.all && !viewer.admin {
        return Err(Failure::admins_only("see everybody's jobs"));
    }
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Failure::input(format!("a page has 1 to {LIMIT_MAX} jobs, not {limit}")));
    }
    // An administrator who names a user means that user's jobs, not their own.
    let everybody = viewer.admin && (query.all || query.user.is_some());
    let filter = Filter {
        uid: (!everybody).then_some(viewer.identity.uid),
        user: query.user.clone(),
        queue: query.queue.clone(),
        state,
        before: query.before,
        limit: limit as usize + 1,
    };
    Ok(Listing { filter, live, ended })
}

fn passes(filter: &Filter, job: &Job) -> bool {
    filter.uid.is_none_or(|uid| uid == job.owner.uid)
        && filter.user.as_ref().is_none_or(|user| *user == job.owner.user)
        && filter.queue.as_ref().is_none_or(|queue| *queue == job.queue)
        && filter.state.is_none_or(|state| state == job.state)
}

pub async fn list(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, Asked(query): Asked<JobQuery>) -> Reply<JobsPage> {
    let Listing { filter, live, ended } = listing(&query, &viewer)?;
    let page = blocking(move || {
        let mut rows = vec![];
        if live {
            let now = app.shared.now();
            let committed = app.shared.view.read();
            let upper = filter.before.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            let newest = committed.state.jobs().range((std::ops::Bound::Unbounded, upper)).rev();
            rows = newest.filter(|(_, job)| passes(&filter, job)).take(filter.limit).map(|(_, job)| committed.row(job, now)).collect();
        }
        let archived = if ended { app.shared.reader.rows(&filter)? } else { vec![] };
        Ok(page(merged(rows, archived), filter.limit))
    });
    page.await.map(Json)
}

/// The newest of `rows`, which come oldest first; `limit` counts one more than a page holds, to see whether there is a next.
fn page(rows: Vec<JobRow>, limit: usize) -> JobsPage {
    let more = rows.len() >= limit;
    let jobs: Vec<JobRow> = rows.into_iter().rev().take(limit - 1).collect();
    JobsPage { next: jobs.last().filter(|_| more).map(|row| row.id), jobs }
}

pub async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, Id(id): Id) -> Reply<JobView> {
    blocking(move || view(&app, id, &viewer)).await.map(Json)
}

/// How far the newest run of a job has got. Of an array as a whole nothing is known, and of a job that has not run.
pub async fn progress(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, Id(id): Id) -> Reply<Option<ProgressView>> {
    let look = move || {
        let now = app.shared.now();
        let Found::Job(job) = find(&app, id, &viewer)? else { return Ok(None) };
        let newest = job.runs.last().and_then(|run| Some((run.id, run.ended.unwrap_or(now) - run.started?)));
        Ok(newest.and_then(|(run, ran)| (app.shared.link.progress)(run, ran)))
    };
    blocking(look).await.map(Json)
}

/// Everything about a job, or about an array as a whole.
pub(super) fn view(app: &App, id: spec::JobId, viewer: &Viewer) -> Result<JobView, Failure> {
    let now = app.shared.now();
    match find(app, id, viewer)? {
        Found::Job(job) if job.state.is_terminal() => Ok(views::job_view(&job)),
        Found::Job(job) => Ok(app.shared.view.read().view(&job, viewer, now)),
        Found::Array(tasks) => array_view(app, id, tasks, viewer),
    }
}

fn array_view(app: &App, id: spec::JobId, tasks: Vec<JobRow>, viewer: &Viewer) -> Result<JobView, Failure> {
    let row = views::array_row(id.number, &tasks).ok_or_else(|| not_found(id))?;
    // All tasks have one spec; the reasons are those of the first that waits.
    let first = tasks.iter().find(|task| task.state == JobState::Waiting.name()).or(tasks.first()).ok_or_else(|| not_found(id))?;
    let Found::Job(job) = find(app, first.id, viewer)? else {
        return Err(Failure::new(ErrorKind::Internal, format!("task {} of the array cannot be read", first.id)));
    };
    let shown = app.shared.view.read().view(&job, viewer, app.shared.now());
    let outcome = row.ended.and(row.note.clone());
    let failed = tasks.iter().find(|task| task.state == JobState::Failed.name());
    let hint = failed.map(|task| format!("`ashlar why {}` tells how the first of them failed", task.id));
    Ok(JobView { spec: shown.spec, reasons: shown.reasons, planned_start: shown.planned_start, outcome, hint, runs: vec![], tasks, row })
}

pub async fn why(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, Id(id): Id) -> Reply<WhyView> {
    let JobView { row, reasons, planned_start, outcome, hint, .. } = blocking(move || view(&app, id, &viewer)).await?;
    Ok(Json(WhyView { id: row.id, state: row.state, elastic: row.elastic, reasons, planned_start, outcome, hint }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tests::person;

    fn row(number: u64) -> JobRow {
        let job = crate::views::sample_job(number, 1000);
        views::job_row(&job, None)
    }

    #[test]
    fn pages_are_newest_first_and_say_what_comes_next() {
        let rows: Vec<JobRow> = (1..=4).map(row).collect();
        let first = page(rows.clone(), 4);
        assert_eq!(first.jobs.iter().map(|row| row.id.number).collect::<Vec<_>>(), [4, 3, 2]);
        assert_eq!(first.next.map(|id| id.number), Some(2));
        assert_eq!(page(rows, 5).next, None);
        assert_eq!(page(vec![], 2).next, None);
    }

    #[test]
    fn a_person_lists_only_their_own() {
        let ada = Viewer::new(person(1000), None);
        let root = Viewer::new(person(0), None);
        let named = JobQuery { user: Some("bob".into()), ..JobQuery::default() };
        let all = JobQuery { all: true, ..JobQuery::default() };
        assert_eq!(listing(&named, &ada).ok().unwrap().filter.uid, Some(1000));
        assert!(listing(&all, &ada).is_err());
        assert_eq!(listing(&JobQuery::default(), &root).ok().unwrap().filter.uid, Some(0));
        assert_eq!(listing(&named, &root).ok().unwrap().filter.uid, None);
        assert_eq!(listing(&all, &root).ok().unwrap().filter.uid, None);
        for state in ["nonsense", ""] {
            assert!(listing(&JobQuery { state: Some(state.into()), ..JobQuery::default() }, &ada).is_err());
        }
        for limit in [0, LIMIT_MAX + 1] {
            assert!(listing(&JobQuery { limit: Some(limit), ..JobQuery::default() }, &ada).is_err());
        }
    }
}
