//! Hidden: keep one run (see `node::supervise`), or fork those that do (`node::nurse`).

use node::SuperviseError;
use std::process::ExitCode;

pub fn run(result: Result<(), SuperviseError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Goes to the run's supervisor.log, which the node quotes when the run never began.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
