//! One function a route.

mod jobs;
mod logs;
mod node;
mod submit;
mod tokens;
mod watch;

use super::{App, error::Failure, extract};
use crate::access::{Viewer, not_found};
use crate::views;
use api::{ErrorKind, JobRow};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use cluster::Job;
use spec::JobId;
use std::sync::Arc;

pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/jobs", get(jobs::list).post(submit::submit))
        .route("/v1/jobs/{id}", get(jobs::show))
        .route("/v1/jobs/{id}/cancel", post(submit::cancel))
        .route("/v1/jobs/{id}/wait", get(watch::wait))
        .route("/v1/jobs/{id}/follow", get(watch::follow))
        .route("/v1/jobs/{id}/logs", get(logs::logs))
        .route("/v1/jobs/{id}/progress", get(jobs::progress))
        .route("/v1/jobs/{id}/why", get(jobs::why))
        .route("/v1/plan", post(submit::plan))
        .route("/v1/machine", get(node::machine))
        .route("/v1/machines/{id}/remove", post(node::remove_machine))
        .route("/v1/queues", get(node::queues))
        .route("/v1/queues/reload", post(node::reload_queues))
        .route("/v1/health", get(node::health))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .fallback(async || Failure::new(ErrorKind::NotFound, "there is no such route").hint("docs/reference/api.md lists them"))
        .method_not_allowed_fallback(async || Failure::input("the route takes another method"))
        .layer(DefaultBodyLimit::max(api::BODY_MAX_BYTES))
        .layer(axum::middleware::from_fn_with_state(app.clone(), extract::identify))
        .with_state(app)
}

/// Runs something that reads the disk off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Failure::new(ErrorKind::Internal, "the request ended early")))
}

/// What an id stands for, as far as the asker may see it.
enum Found {
    /// Boxed for its size beside the other.
    Job(Box<Job>),
    /// An array: its tasks, live and ended, by index.
    Array(Vec<JobRow>),
}

/// Live or ended. Blocking: reads the archive. The state is looked at first, so that a job that ends in between
/// is found in the archive.
fn find(app: &App, id: JobId, viewer: &Viewer) -> Result<Found, Failure> {
    let now = app.shared.now();
    let mut live = vec![];
    {
        let committed = app.shared.view.read();
        if let Some(job) = committed.state.job(id) {
            return if viewer.sees_job(job) { Ok(Found::Job(Box::new(job.clone()))) } else { Err(not_found(id).into()) };
        }
        if id.task.is_none() {
            let tasks = committed.state.tasks(id.number).filter(|job| viewer.sees_job(job));
            live.extend(tasks.map(|job| committed.row(job, now)));
        }
    }
    if let Some(job) = app.shared.reader.job(id)? {
        return if viewer.sees_job(&job) { Ok(Found::Job(Box::new(job))) } else { Err(not_found(id).into()) };
    }
    if id.task.is_none() {
        let ended = app.shared.reader.tasks(id.number)?.into_iter().filter(|(uid, _)| viewer.may_see_uid(*uid));
        let tasks = merged(live, ended.map(|(_, row)| row).collect());
        if !tasks.is_empty() {
            return Ok(Found::Array(tasks));
        }
    }
    Err(not_found(id).into())
}

/// Both by id, without repeats; what the archive says is newer.
fn merged(live: Vec<JobRow>, ended: Vec<JobRow>) -> Vec<JobRow> {
    let mut all: Vec<JobRow> = ended;
    all.extend(live);
    // Stable, so that of two with one id the archived one comes first and stays.
    all.sort_by_key(|row| row.id);
    all.dedup_by_key(|row| row.id);
    all
}

fn row_of(found: &Found) -> Option<JobRow> {
    match found {
        Found::Job(job) => Some(views::job_row(job, None)),
        Found::Array(tasks) => views::array_row(tasks.first()?.id.number, tasks),
    }
}

#[cfg(test)]
mod tests {
    /// The page is written by hand; this keeps it whole.
    #[test]
    fn every_route_is_on_its_page() {
        let page = include_str!("../../../../../docs/reference/api.md");
        let code = include_str!("mod.rs");
        let router = &code[..code.find("fallback").unwrap()];
        let mut routes = 0;
        for part in router.split(".route(\"").skip(1) {
            let (path, methods) = part.split_once('"').unwrap();
            for method in ["get", "post", "delete"].iter().filter(|method| methods.contains(&format!("{method}("))) {
                let row = format!("| `{} {path}` |", method.to_uppercase());
                assert!(page.contains(&row), "docs/reference/api.md lacks {row}");
                routes += 1;
            }
        }
        assert_eq!(page.matches("| `GET /").count() + page.matches("| `POST /").count() + page.matches("| `DELETE /").count(), routes);
    }
}
