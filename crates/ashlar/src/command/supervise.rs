//! Hidden: processes that the node starts for itself. They keep one run (`node::supervise`), fork those that do
//! (`node::nurse`), or run one person's notice command (`node::carry`).

use std::fmt::Display;
use std::process::ExitCode;

pub fn run<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A supervisor's goes to the journal of its run, which the node quotes when the run never began.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
