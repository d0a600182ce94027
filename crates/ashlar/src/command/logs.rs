//! `ashlar logs ID`

use crate::arguments::Logs;
use crate::failure::Failure;
use crate::follow::{self, Wanted};
use crate::narrate;
use crate::state::Place;
use spec::JobId;
use std::process::ExitCode;

pub fn run(place: &Place, logs: Logs) -> Result<ExitCode, Failure> {
    let id = match (logs.task, logs.job.task) {
        (None, _) => logs.job,
        (Some(task), None) => JobId::task(logs.job.number, task),
        (Some(_), Some(_)) => return Err(Failure::input(format!("{} names a task already", logs.job)).hint("leave out --task")),
    };
    let client = place.connect()?;
    let job = client.job(id)?;
    let is_array = !job.tasks.is_empty();
    let attempt = match logs.run {
        Some(run) if run.job != id => {
            let failure = Failure::input(format!("run {run} is not a run of job {id}"));
            return Err(if is_array { failure.hint(format!("name the task: `ashlar logs {} --run {run}`", run.job)) } else { failure });
        }
        Some(run) if is_array => return Err(Failure::input(format!("job {id} is an array, and run {run} is not one of a task"))),
        Some(run) if !job.runs.iter().any(|known| known.run == run) => {
            return Err(Failure::failed(format!("job {id} has no run {run}")).hint(format!("see `ashlar show {id}`")));
        }
        run => run.map(|run| run.attempt),
    };
    if let Some(rank) = logs.rank.filter(|rank| *rank >= job.row.ranks) {
        return Err(Failure::input(format!("job {id} has no rank {rank}")).hint(match job.row.ranks {
            1 => "it has one, rank 0".into(),
            ranks => format!("ranks are 0 to {}", ranks - 1),
        }));
    }
    if logs.follow {
        narrate::start(place, id, None);
    }
    let wanted = Wanted { job: id, attempt, follow: logs.follow, unread: false };
    match logs.rank {
        rank if is_array => follow::print_tasks(place, wanted, rank)?,
        Some(rank) => follow::print_rank(&client, wanted, rank, &mut follow::print_now)?,
        None => follow::print_ranks(place, wanted, job.row.ranks)?,
    }
    Ok(ExitCode::SUCCESS)
}
