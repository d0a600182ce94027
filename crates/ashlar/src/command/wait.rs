//! `ashlar wait ID`. With `--json` the row of the job as it ended, as in `ashlar jobs --json`.

use crate::arguments::Wait;
use crate::failure::Failure;
use crate::state::{Place, job_exit, patiently};
use crate::{listing, moment};
use spec::Span;
use std::process::ExitCode;

pub fn run(place: &Place, wait: Wait) -> Result<ExitCode, Failure> {
    let timeout = match &wait.timeout {
        None => None,
        Some(text) => Some(spec::parse_span(text).map_err(|error| Failure::from_field("--timeout", error))?),
    };
    let client = place.connect()?;
    let began = moment::now();
    loop {
        let left = timeout.map(|span| Span(span.0.saturating_sub((moment::now() - began).0)));
        let patience = left.map_or(api::WAIT_MAX_MS, |left| left.0.min(api::WAIT_MAX_MS));
        let reply = patiently(|| client.wait(wait.job, patience))?;
        if reply.ended {
            if wait.json {
                listing::print_json(&reply.job)?;
            }
            return Ok(job_exit(reply.job.exit_code));
        }
        if left.is_some_and(|left| left.0 == 0 || (moment::now() - began).0 >= timeout.map_or(0, |t| t.0)) {
            return Err(Failure::failed(format!("job {} is still {} after {}", wait.job, reply.job.state, moment::now() - began)));
        }
    }
}
