//! `ashlar cancel ID...`

use crate::arguments::Cancel;
use crate::failure::Failure;
use crate::state::Place;
use std::process::ExitCode;

/// Every job is tried; the first failure decides the exit code.
pub fn run(place: &Place, cancel: Cancel) -> Result<ExitCode, Failure> {
    let client = place.connect()?;
    let mut first = None;
    for job in cancel.jobs {
        match client.cancel(job, cancel.now) {
            Ok(()) => eprintln!("job {job}: {}", if cancel.now { "killed" } else { "asked to end" }),
            Err(error) => {
                let failure = Failure::from(error);
                match first {
                    None => first = Some(failure),
                    Some(_) => {
                        failure.report();
                    }
                }
            }
        }
    }
    first.map_or(Ok(ExitCode::SUCCESS), Err)
}
