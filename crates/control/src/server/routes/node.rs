//! The machine, the queues, the daemon itself.

use super::{App, Failure, blocking};
use crate::access::Viewer;
use crate::control::{QueueError, reload};
use crate::server::error::Reply;
use crate::views;
use api::{API_VERSION, ErrorBody, ErrorKind, HealthView, MachineView, QueueView};
use axum::extract::State;
use axum::{Extension, Json};
use std::sync::Arc;

pub async fn machine(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Reply<MachineView> {
    let now = app.shared.now();
    let view = views::machine_view(&app.shared.view.read().state, &viewer, now);
    view.map(Json).ok_or_else(|| {
        Failure::new(ErrorKind::Unavailable, "no machine has joined yet").hint("the node is starting; try again in a moment")
    })
}

pub async fn queues(State(app): State<Arc<App>>) -> Reply<Vec<QueueView>> {
    blocking(move || Ok(shown(&app))).await.map(Json)
}

/// Blocking: groups are looked up by number.
fn shown(app: &App) -> Vec<QueueView> {
    // Looked up before the lock is taken: the user database may be slow.
    let groups: Vec<String> = app.shared.view.read().state.queues().iter().flat_map(|queue| queue.groups.clone()).collect();
    let names: std::collections::HashMap<String, String> =
        groups.into_iter().map(|group| (group.clone(), views::group_names(&group))).collect();
    views::queue_views(&app.shared.view.read().state, |group| names.get(group).cloned().unwrap_or_else(|| group.to_owned()))
}

pub async fn reload_queues(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Reply<Vec<QueueView>> {
    if !viewer.admin && viewer.identity.uid != app.uid {
        return Err(Failure::admins_only("change the queues"));
    }
    blocking(move || {
        reload(&app.shared, &app.queues).map_err(|error| match error {
            QueueError::Unavailable(why) => why.into(),
            QueueError::Refused(why) => Failure(crate::server::error::refusal(&why)),
            other => Failure(ErrorBody { kind: ErrorKind::Input, message: other.to_string(), hint: other.hint() }),
        })?;
        Ok(shown(&app))
    })
    .await
    .map(Json)
}

pub async fn health(State(app): State<Arc<App>>) -> Reply<HealthView> {
    let shared = &app.shared;
    let (generation, live_jobs, machines) = {
        let committed = shared.view.read();
        (committed.state.generation(), committed.state.jobs().len() as u64, committed.state.machines().len() as u64)
    };
    Ok(Json(HealthView {
        version: app.version.clone(),
        api: API_VERSION,
        pid: std::process::id(),
        state_dir: shared.dir.display().to_string(),
        generation,
        now: shared.now(),
        started: shared.started,
        live_jobs,
        machines,
        accepting: shared.accepting(),
        alarms: shared.alarms(),
    }))
}
