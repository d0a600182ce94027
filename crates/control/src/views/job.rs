//! Jobs and their runs.

use api::{ElasticView, JobRow, JobView, RunView};
use cluster::{Job, JobState, Run, RunState};
use spec::JobId;

/// `note` is the first reason of a waiting job; an ended one has its outcome there.
pub fn job_row(job: &Job, note: Option<String>) -> JobRow {
    JobRow {
        id: job.id,
        name: job.spec.name.clone(),
        state: job.state.name().into(),
        exit_code: job.exit_code,
        user: job.owner.user.clone(),
        queue: job.queue.clone(),
        ranks: job.spec.ranks,
        elastic: elastic(job),
        submitted: job.submitted,
        started: job.started,
        ended: job.ended,
        note: if job.state.is_terminal() { job.outcome.clone() } else { note.or_else(|| resizing(job)) },
    }
}

/// While a run saves its work for another one: what for.
fn resizing(job: &Job) -> Option<String> {
    let evicted = job.live_run()?.evicted.filter(|_| job.cancelled_by.is_none())?;
    Some(match evicted.ranks {
        Some(1) => "saves its work and goes on with 1 rank".into(),
        Some(ranks) => format!("saves its work and goes on with {ranks} ranks"),
        None => format!("saves its work and gives way to job {}", evicted.by),
    })
}

fn elastic(job: &Job) -> Option<ElasticView> {
    let ranks = job.runs.last().and_then(|run| u32::try_from(run.grant.ranks.len()).ok());
    job.spec.is_elastic().then(|| ElasticView { range: spec::write_ranks(&job.spec), ranks })
}

/// Without reasons: those come from the plan, for a job that waits.
pub fn job_view(job: &Job) -> JobView {
    JobView {
        row: job_row(job, None),
        spec: job.spec.as_ref().clone(),
        reasons: vec![],
        planned_start: None,
        outcome: job.outcome.clone(),
        hint: hint(job),
        runs: job.runs.iter().map(run_view).collect(),
        tasks: vec![],
    }
}

/// Of the end of the newest run, unless it is what somebody asked for.
fn hint(job: &Job) -> Option<String> {
    let asked = job.cancelled_by.is_some() || job.runs.last().is_some_and(Run::gave_way);
    if asked { None } else { cluster::explain(job).and_then(|finding| finding.hint) }
}

fn run_view(run: &Run) -> RunView {
    let (state, cause) = match &run.state {
        RunState::Starting => ("starting", None),
        RunState::Running => ("running", None),
        RunState::Stopping => ("stopping", None),
        RunState::Ended(cause) => ("ended", Some(cause.clone())),
    };
    RunView {
        run: run.id,
        state: state.into(),
        evicted_for: run.evicted.map(|evicted| evicted.by),
        goes_on_with: run.evicted.and_then(|evicted| evicted.ranks),
        cause,
        grant: run.grant.clone(),
        granted: run.adopted,
        started: run.started,
        ended: run.ended,
        ranks: run.ranks.clone(),
        isolation: run.isolation.clone(),
        stages: run.stages.clone(),
        usage: run.usage,
        overstep: run.overstep.clone(),
    }
}

/// The least finished state of the tasks stands for the array; ended, one failure fails it.
const ORDER: [JobState; 7] = [
    JobState::Running,
    JobState::Stopping,
    JobState::Starting,
    JobState::Waiting,
    JobState::Failed,
    JobState::Cancelled,
    JobState::Succeeded,
];

/// An array as a whole. `None` without tasks. Its exit code is the first that is not 0, in order of the tasks.
pub fn array_row(number: u64, tasks: &[JobRow]) -> Option<JobRow> {
    let first = tasks.first()?;
    let count = |state: JobState| tasks.iter().filter(|task| task.state == state.name()).count();
    let state = ORDER.into_iter().find(|state| count(*state) > 0)?;
    let ended = state.is_terminal();
    let codes = || tasks.iter().filter_map(|task| task.exit_code);
    let counts: Vec<String> = ORDER
        .into_iter()
        .filter_map(|state| match count(state) {
            0 => None,
            many => Some(format!("{many} {}", state.name())),
        })
        .collect();
    Some(JobRow {
        id: JobId::new(number),
        state: state.name().into(),
        exit_code: if ended { codes().find(|code| *code != 0).or_else(|| codes().next()) } else { None },
        started: tasks.iter().filter_map(|task| task.started).min(),
        ended: if ended { tasks.iter().filter_map(|task| task.ended).max() } else { None },
        note: Some(format!("{} task{}: {}", tasks.len(), if tasks.len() == 1 { "" } else { "s" }, counts.join(", "))),
        ..first.clone()
    })
}
