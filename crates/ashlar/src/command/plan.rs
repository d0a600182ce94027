//! `ashlar plan job.yaml`

use super::submit::{read_job, warn_of_missing};
use super::why::{print_reasons, when};
use crate::arguments::Plan;
use crate::failure::{FAILED, Failure, INPUT};
use crate::state::Place;
use crate::{listing, moment};
use api::{ElasticView, PlanVerdict, PlanView};
use spec::{JobSpec, Launch, Supposition};
use std::io::{self, Write};
use std::process::ExitCode;

pub fn run(place: &Place, plan: Plan) -> Result<ExitCode, Failure> {
    let mut job = read_job(&plan.file)?;
    let missing = warn_of_missing(place, &job);
    let client = place.connect()?;
    let elsewhere = if job.launch == Launch::Slurm { crate::slurm::into_known_queue(&client, &mut job)? } else { None };
    let (supposed, suppositions) = suppose(&job, &plan.whatif)?;
    let as_it_is = if plan.whatif.is_empty() { None } else { Some(client.plan(job)?) };
    let mut view = client.plan_if(supposed, suppositions)?;
    view.warnings.extend(missing.into_iter().chain(elsewhere));
    if plan.json {
        listing::print_json(&view)?;
    } else {
        if let Some(now) = &as_it_is {
            println_now(now, &plan.whatif)?;
        }
        print(&view)?;
        view.warnings.iter().for_each(|text| listing::warn(text));
    }
    Ok(match view.verdict {
        PlanVerdict::StartsNow => ExitCode::SUCCESS,
        PlanVerdict::Waits => ExitCode::from(FAILED),
        PlanVerdict::Never => ExitCode::from(INPUT),
    })
}

/// The job and the cluster as they are supposed to be.
fn suppose(job: &JobSpec, changes: &[String]) -> Result<(JobSpec, Vec<Supposition>), Failure> {
    let mut supposed = job.clone();
    let mut suppositions = Vec::new();
    for text in changes {
        let found = spec::suppose(text, &mut supposed).map_err(|error| {
            let failure = Failure::input(format!("--whatif {text}: {error}"));
            error.hint.clone().into_iter().fold(failure, Failure::hint)
        })?;
        suppositions.extend(found);
    }
    supposed.validate().map_err(|sentences| Failure::input(format!("--whatif: {}", sentences.join("; "))))?;
    Ok((supposed, suppositions))
}

/// How things are, in a line, before what they would be.
fn println_now(view: &PlanView, changes: &[String]) -> io::Result<()> {
    let planned = view.planned_start.map(|at| format!(", planned start {}", when(at, moment::now()))).unwrap_or_default();
    let verdict = match view.verdict {
        PlanVerdict::StartsNow => "starts now".to_string(),
        PlanVerdict::Waits => format!("would wait{planned}"),
        PlanVerdict::Never => "never fits".to_string(),
    };
    writeln!(io::stdout(), "as it is: {verdict}\nif {}:", changes.join(" and "))
}

fn print(view: &PlanView) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match view.verdict {
        PlanVerdict::StartsNow => {
            let ranks = view.grant.as_ref().and_then(|grant| u32::try_from(grant.ranks.len()).ok());
            let size = view.range.clone().map(|range| listing::elastic(&ElasticView { range, ranks })).unwrap_or_default();
            writeln!(out, "starts now{size}")?;
        }
        PlanVerdict::Waits => writeln!(out, "would wait")?,
        PlanVerdict::Never => writeln!(out, "never fits")?,
    }
    if let Some(grant) = &view.grant {
        let part = grant.share.map(|share| format!(" ({share})")).unwrap_or_default();
        for (rank, held) in grant.ranks.iter().enumerate() {
            let devices = held.devices.iter().map(|id| id.0.as_str()).collect::<Vec<_>>().join(", ");
            let devices = if devices.is_empty() { String::new() } else { format!(", devices {devices}{part}") };
            writeln!(out, "  rank {rank}: CPUs {} ({} of a CPU's time){devices}", held.cpus, grant.cpu_share)?;
        }
        writeln!(out, "  memory {}, of which /dev/shm up to {}, on memory nodes {}", grant.memory, grant.shm, grant.mem_nodes)?;
        if let Some(ports) = grant.ports {
            writeln!(out, "  ports {}-{}", ports.first, u32::from(ports.first) + u32::from(ports.count) - 1)?;
        }
    }
    print_reasons(&mut out, &view.reasons, view.planned_start.filter(|_| view.verdict == PlanVerdict::Waits))
}
