//! `ashlar completions SHELL`

use crate::arguments::{Arguments, Completions};
use crate::failure::Failure;
use clap::CommandFactory;
use std::io::Write;
use std::process::ExitCode;

pub fn run(completions: Completions) -> Result<ExitCode, Failure> {
    // The generator panics when its output fails, as a closed pipe does; memory does not.
    let mut script = vec![];
    clap_complete::generate(completions.shell, &mut Arguments::command(), "ashlar", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
