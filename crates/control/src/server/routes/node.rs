//! The machine, the queues, the daemon itself.

use super::{App, Failure, blocking};
use crate::access::Viewer;
use crate::control::{QueueError, reload};
use crate::engine::Request;
use crate::server::error::Reply;
use crate::views;
use api::{API_VERSION, ErrorBody, ErrorKind, HealthView, KnownMachine, MachineView, QueueView, RemovedMachine};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use cluster::Answer;
use std::sync::Arc;

pub async fn machine(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Reply<MachineView> {
    let now = app.shared.now();
    let here = |id: &str| app.shared.connected(id).is_some();
    let view = views::machine_view(&app.shared.view.read().state, &viewer, here, now);
    let figures = |view: &mut MachineView| {
        let devices = &view.machine.devices;
        view.figures = (app.shared.link.figures)().into_iter().filter(|(id, _)| devices.iter().any(|device| device.id == *id)).collect();
    };
    view.map(|mut view| {
        figures(&mut view);
        Json(view)
    })
    .ok_or_else(|| Failure::new(ErrorKind::Unavailable, "no machine has joined yet").hint("the node is starting; try again in a moment"))
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

/// The whole machine goes, whoever's runs were there, so this is no matter of one person.
pub async fn remove_machine(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Path(name): Path<String>,
) -> Reply<RemovedMachine> {
    if !viewer.admin && viewer.identity.uid != app.uid {
        return Err(Failure::admins_only("take out a machine"));
    }
    let (machine, lost) = {
        let committed = app.shared.view.read();
        let named = |host: &&String| committed.state.machines()[*host].machine.hostname.trim() == name;
        let mut hosts = committed.state.machines().keys().filter(named);
        let by_host = hosts.next().filter(|_| hosts.next().is_none());
        let known = committed.state.machines().contains_key(&name);
        let machine = by_host.filter(|_| !known).unwrap_or(&name).clone();
        let lost = committed.state.holding(&machine).map(|(_, run)| run.id).collect();
        (machine, lost)
    };
    let by = viewer.identity;
    match app.shared.ask(|reply| Request::Leave { machine, by, reply }).await? {
        Answer::Refused(why) => Err(Failure(crate::server::error::refusal(&why))),
        Answer::Accepted(_) | Answer::Done => Ok(Json(RemovedMachine { lost })),
    }
}

pub async fn health(State(app): State<Arc<App>>) -> Reply<HealthView> {
    let shared = &app.shared;
    let (generation, live_jobs, known_machines) = {
        let committed = shared.view.read();
        let known = committed.state.machines().iter().map(|(id, known)| KnownMachine {
            id: id.clone(),
            hostname: known.machine.hostname.trim().to_owned(),
            connected: shared.connected(id).is_some(),
            accepts: shared.connected(id).unwrap_or(false),
            joined: known.joined,
            runs: committed.state.holding(id).count() as u64,
        });
        (committed.state.generation(), committed.state.jobs().len() as u64, known.collect::<Vec<_>>())
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
        machines: known_machines.len() as u64,
        accepting: shared.accepting(),
        alarms: shared.alarms(),
        known_machines,
    }))
}
