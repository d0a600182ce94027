//! `ashlar completions SHELL`

use crate::arguments::{Arguments, Completions};
use crate::failure::Failure;
use clap::CommandFactory;
use std::process::ExitCode;

pub fn run(completions: Completions) -> Result<ExitCode, Failure> {
    clap_complete::generate(completions.shell, &mut Arguments::command(), "ashlar", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
