//! `ashlar logs ID`

use crate::arguments::Logs;
use crate::failure::Failure;
use crate::follow::{self, Wanted};
use crate::state::Place;
use std::process::ExitCode;

pub fn run(place: &Place, logs: Logs) -> Result<ExitCode, Failure> {
    let client = place.connect()?;
    let job = client.job(logs.job)?;
    let attempt = match logs.run {
        Some(run) if run.job != logs.job => {
            return Err(Failure::input(format!("run {run} is not a run of job {}", logs.job)));
        }
        Some(run) if !job.runs.iter().any(|known| known.run == run) => {
            return Err(Failure::failed(format!("job {} has no run {run}", logs.job)).hint(format!("see `ashlar show {}`", logs.job)));
        }
        run => run.map(|run| run.attempt),
    };
    if !job.tasks.is_empty() {
        return Err(Failure::input(format!("job {} is an array; its tasks have the output", logs.job))
            .hint(format!("name a task: `ashlar logs {}`", job.tasks[0].id)));
    }
    if let Some(rank) = logs.rank.filter(|rank| *rank >= job.row.ranks) {
        return Err(Failure::input(format!("job {} has no rank {rank}", logs.job)).hint(format!("ranks are 0 to {}", job.row.ranks - 1)));
    }
    let wanted = Wanted { job: logs.job, attempt, follow: logs.follow, unread: false };
    match logs.rank {
        Some(rank) => follow::print_rank(&client, wanted, rank, &mut follow::print_now)?,
        None => follow::print_ranks(place, wanted, job.row.ranks)?,
    }
    Ok(ExitCode::SUCCESS)
}
