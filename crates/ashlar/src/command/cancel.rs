//! `ashlar cancel ID...`

use crate::arguments::Cancel;
use crate::failure::Failure;
use crate::listing;
use crate::state::Place;
use api::ClientError;
use spec::JobId;
use std::process::ExitCode;

/// Every job is tried; the first failure decides the exit code.
pub fn run(place: &Place, cancel: Cancel) -> Result<ExitCode, Failure> {
    let client = place.connect()?;
    let mut accepted = vec![];
    let mut refused: Vec<(JobId, ClientError)> = vec![];
    for job in cancel.jobs {
        match client.cancel(job, cancel.now) {
            Ok(()) => accepted.push(job),
            Err(error) => refused.push((job, error)),
        }
    }
    if cancel.json {
        let order = if cancel.now { "kill" } else { "end" };
        let accepted: Vec<_> = accepted.iter().map(|job| serde_json::json!({ "id": job, "order": order })).collect();
        listing::print_json(&accepted)?;
        return in_one(refused).map_or(Ok(ExitCode::SUCCESS), Err);
    }
    for job in accepted {
        eprintln!("job {job}: {}", if cancel.now { "killed" } else { "asked to end" });
    }
    let mut failures = refused.into_iter().map(|(_, error)| Failure::from(error));
    let first = failures.next();
    for failure in failures {
        failure.report();
    }
    first.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// For programs: one failure that lists all of them.
fn in_one(refused: Vec<(JobId, ClientError)>) -> Option<Failure> {
    let all: Vec<_> = refused.iter().map(|(job, error)| serde_json::json!({ "id": job, "message": error.to_string() })).collect();
    let (_, first) = refused.into_iter().next()?;
    Some(Failure::from(first).detail("refused", all))
}
