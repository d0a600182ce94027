//! `ashlar show ID`

use super::why::print_reasons;
use crate::arguments::Show;
use crate::failure::Failure;
use crate::state::Place;
use crate::{checkpoints, curve, listing, moment};
use api::{JobView, ProgressView, RunView};
use spec::{Enforced, RankState};
use std::io::{self, Write};
use std::process::ExitCode;

pub fn run(place: &Place, show: Show) -> Result<ExitCode, Failure> {
    let client = place.connect()?;
    let view = client.job(show.job)?;
    // An older node knows nothing of it, and what a program tells is no reason to tell nothing of the job.
    let progress = client.progress(show.job).ok().flatten();
    let saved = checkpoints::saved(&view.spec, show.job);
    if show.json {
        let mut json = serde_json::to_value(&view)?;
        json["progress"] = serde_json::to_value(&progress)?;
        json["checkpoints"] = checkpoints::as_json(&saved);
        listing::print_json(&json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = io::stdout().lock();
    print(&mut out, &view)?;
    if let Some(progress) = &progress {
        writeln!(out)?;
        print_progress(&mut out, progress, view.row.ended.is_some())?;
    }
    if let Some(line) = checkpoints::line(&saved, moment::now()) {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `step 120/1000 (12 %), loss 0.31, about 3m left`, and the curve.
fn print_progress(out: &mut impl Write, progress: &ProgressView, ended: bool) -> io::Result<()> {
    let of = |all: Option<u64>| all.map_or_else(String::new, |all| format!("/{all}"));
    let percent = progress.fraction.map_or_else(String::new, |part| format!(" ({:.0} %)", part * 100.0));
    let parts = [
        progress.epoch.map(|epoch| format!("epoch {}{}", curve::number(epoch), of(progress.epochs))),
        progress.step.map(|step| format!("step {step}{}", of(progress.steps))),
    ];
    let mut parts: Vec<String> = parts.into_iter().flatten().collect();
    if let Some(last) = parts.last_mut() {
        last.push_str(&percent);
    }
    parts.extend(progress.loss.map(|loss| format!("loss {}", curve::number(loss))));
    parts.extend(progress.seconds_left.filter(|_| !ended).map(|left| format!("about {} left", spec::Span::seconds(left))));
    writeln!(out, "progress: {}  [{}]", parts.join(", "), progress.source)?;
    curve::draw(&progress.curve, listing::width().saturating_sub(2)).iter().try_for_each(|line| writeln!(out, "  {line}"))
}

fn print(out: &mut impl Write, view: &JobView) -> io::Result<()> {
    let now = moment::now();
    let row = &view.row;
    writeln!(out, "job {}  {}  {}", row.id, row.name, listing::paint_state(&row.state))?;
    writeln!(out, "  user {}, queue {}, priority {}", row.user, row.queue, view.spec.priority)?;
    if let Some(elastic) = &row.elastic {
        let now = elastic.ranks.map(|ranks| format!(", {ranks} in its newest run")).unwrap_or_default();
        writeln!(out, "  ranks {}{now}", elastic.range)?;
    }
    let took = row.started.map(|_| format!(", took {}", moment::elapsed(row.started, row.ended, now))).unwrap_or_default();
    writeln!(out, "  submitted {}{took}", moment::relative(row.submitted, now))?;
    if let Some(code) = row.exit_code {
        writeln!(out, "  exit code {code}")?;
    }
    if let Some(outcome) = &view.outcome {
        writeln!(out, "  {outcome}")?;
    }
    if let Some(hint) = &view.hint {
        writeln!(out, "  hint: {hint}")?;
    }
    print_reasons(out, &view.reasons, view.planned_start)?;
    for run in &view.runs {
        writeln!(out)?;
        print_run(out, run)?;
    }
    if !view.tasks.is_empty() {
        writeln!(out)?;
        for task in &view.tasks {
            writeln!(out, "  task {:<10} {:<10} {}", task.id, listing::paint_state(&task.state), task.note.as_deref().unwrap_or(""))?;
        }
    }
    Ok(())
}

/// What ran where, how it was isolated, how long each stage took.
pub fn print_run(out: &mut impl Write, run: &RunView) -> io::Result<()> {
    let now = moment::now();
    writeln!(out, "run {}  {}", run.run, run.state)?;
    match (run.evicted_for, run.goes_on_with) {
        (Some(job), None) => writeln!(out, "  gives way to job {job}; waits again, with no attempt lost")?,
        (Some(job), Some(ranks)) if job != run.run.job => {
            writeln!(out, "  gives room to job {job}; goes on with {}, with no attempt lost", listing::counted(ranks.into(), "rank"))?;
        }
        (_, Some(ranks)) => {
            writeln!(out, "  goes on with {}, for which there was room; no attempt lost", listing::counted(ranks.into(), "rank"))?;
        }
        (None, None) => {}
    }
    let grant = &run.grant;
    // A launcher such as mpirun is one process: it starts the ranks, and none but it is known by itself.
    let waits = |rank: &spec::RankReport| matches!(rank.state, RankState::Waiting);
    let by_first = run.ranks.split_first().is_some_and(|(first, others)| !waits(first) && others.iter().all(waits));
    let share = grant.share.map(|share| format!(" ({share})")).unwrap_or_default();
    for (index, part) in grant.ranks.iter().enumerate() {
        let state = match run.ranks.get(index) {
            Some(_) if by_first && index > 0 => ", started by the launcher at rank 0".into(),
            Some(rank) => rank_state(rank.state, rank.pid),
            None => String::new(),
        };
        let devices: Vec<&str> = part.devices.iter().map(|id| id.0.as_str()).collect();
        let devices = if devices.is_empty() { String::new() } else { format!(", devices {}{share}", devices.join(", ")) };
        writeln!(out, "  rank {index}: CPUs {}{devices}{state}", part.cpus)?;
    }
    let cpus = listing::cpus(machine::CpuShare(grant.cpu_milli() as u32));
    write!(out, "  holds {cpus}, {} memory, {} /dev/shm", grant.memory, grant.shm)?;
    match grant.ports {
        Some(ports) => writeln!(out, ", ports {}-{}", ports.first, u32::from(ports.first) + u32::from(ports.count) - 1)?,
        None => writeln!(out)?,
    }
    let stages: Vec<String> = run
        .stages
        .iter()
        .map(|stage| match stage.took {
            Some(took) => format!("{} {took}", stage.stage),
            None => format!("{} {} so far", stage.stage, now - stage.began),
        })
        .collect();
    if !stages.is_empty() {
        writeln!(out, "  stages: {}", stages.join(", "))?;
    }
    if let Some(usage) = &run.usage {
        let memory = usage.memory_peak.map_or_else(|| "not measured".into(), |peak| peak.to_string());
        let cpu = usage.cpu_time.map_or_else(|| "not measured".into(), |time| time.to_string());
        writeln!(out, "  used: memory peak {memory}, CPU time {cpu}, output {}", usage.output)?;
    }
    if let Some(over) = &run.overstep {
        let end = if over.ends { ", so it was asked to end" } else { "" };
        let ago = now - over.at;
        writeln!(out, "  warning: held {} of {} {ago} ago, where {} are its own{end}", over.used, over.device, over.part)?;
    }
    if let Some(isolation) = &run.isolation {
        let (yes, no): (Vec<_>, Vec<_>) = isolation.marks.iter().partition(|mark| mark.enforced == Enforced::Yes);
        writeln!(out, "  isolation: {}", level(isolation.level))?;
        for mark in yes {
            writeln!(out, "    + {:<17} {}", mark.what, mark.detail)?;
        }
        for mark in no {
            writeln!(out, "    - {:<17} not enforced: {}", mark.what, mark.detail)?;
        }
    }
    Ok(())
}

pub fn level(level: spec::IsolationLevel) -> &'static str {
    match level {
        spec::IsolationLevel::Process => "process",
        spec::IsolationLevel::Namespaces => "namespaces",
        spec::IsolationLevel::Container => "container",
    }
}

fn rank_state(state: RankState, pid: Option<u32>) -> String {
    match (state, pid) {
        (RankState::Waiting, _) => ", not started".into(),
        (RankState::Running, Some(pid)) => format!(", running as process {pid}"),
        (RankState::Running, None) => ", running".into(),
        (RankState::Exited { code }, _) => format!(", exited with {code}"),
        (RankState::Signalled { signal }, _) => format!(", ended by signal {signal}"),
    }
}
