//! `ashlar schema`

use crate::failure::Failure;
use crate::listing;
use std::process::ExitCode;

pub fn run() -> Result<ExitCode, Failure> {
    listing::print_json(&spec::job_schema())?;
    Ok(ExitCode::SUCCESS)
}
