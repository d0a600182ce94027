//! Hidden: keep one run (see `node::supervise`).

use std::path::Path;
use std::process::ExitCode;

pub fn run(dir: &Path) -> ExitCode {
    match node::supervise(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Goes to the run's supervisor.log, which the node quotes when the run never began.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
