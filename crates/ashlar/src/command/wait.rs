//! `ashlar wait ID...`. With `--json` the row of the job as it ended, as in `ashlar jobs --json`; of several jobs, an array.

use crate::arguments::Wait;
use crate::failure::Failure;
use crate::state::{Place, job_exit, patiently};
use crate::{listing, moment};
use api::{Client, JobRow};
use spec::{JobId, Span, Time};
use std::process::ExitCode;

pub fn run(place: &Place, wait: Wait) -> Result<ExitCode, Failure> {
    let timeout = match &wait.timeout {
        None => None,
        Some(text) => Some(spec::parse_span(text).map_err(|error| Failure::from_field("--timeout", error))?),
    };
    let waiting = Waiting { client: place.connect()?, began: moment::now(), timeout };
    if wait.jobs.len() > 1 {
        // A number that is wrong is told now, and not once those before it have ended.
        wait.jobs.iter().try_for_each(|job| patiently(|| waiting.client.wait(*job, 0)).map(drop))?;
    }
    let ended = wait.jobs.iter().map(|job| waiting.for_one(*job)).collect::<Result<Vec<_>, _>>()?;
    match (wait.json, &ended[..]) {
        (true, [one]) => listing::print_json(one)?,
        (true, several) => listing::print_json(several)?,
        (false, _) => {}
    }
    let first = ended.iter().find(|job| job.exit_code != Some(0)).or(ended.last());
    Ok(first.map_or(ExitCode::SUCCESS, |job| job_exit(job.exit_code)))
}

struct Waiting {
    client: Client,
    began: Time,
    /// For all of them together.
    timeout: Option<Span>,
}

impl Waiting {
    fn for_one(&self, job: JobId) -> Result<JobRow, Failure> {
        loop {
            let passed = moment::now() - self.began;
            let left = self.timeout.map(|span| Span(span.0.saturating_sub(passed.0)));
            let patience = left.map_or(api::WAIT_MAX_MS, |left| left.0.min(api::WAIT_MAX_MS));
            let reply = patiently(|| self.client.wait(job, patience))?;
            if reply.ended {
                return Ok(reply.job);
            }
            let passed = moment::now() - self.began;
            if self.timeout.is_some_and(|timeout| passed >= timeout) {
                return Err(Failure::failed(format!("job {job} is still {} after {passed}", reply.job.state)));
            }
        }
    }
}
