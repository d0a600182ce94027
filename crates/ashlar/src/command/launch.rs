//! `ashlar launch`: how a job becomes processes, without starting any.

use super::submit::read_job;
use crate::arguments::{Explain, Launch, LaunchAction};
use crate::failure::Failure;
use crate::listing;
use crate::state::Place;
use frameworks::{Explained, Explanation, LaunchInput, Variable, explain, recipes};
use machine::{Bytes, Device, DeviceId, Enforcement, Grant, PortRange, RankGrant, Share};
use serde_json::json;
use spec::{DeviceRequest, Identity, JobId, JobSpec, RunId};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::process::ExitCode;

pub fn run(place: &Place, launch: Launch) -> Result<ExitCode, Failure> {
    match launch.action {
        LaunchAction::Explain(explain) => show(place, &explain)?,
        LaunchAction::Recipes { json } => list(json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<(), Failure> {
    if json {
        let rows: Vec<_> = recipes().iter().map(|recipe| json!({ "name": recipe.name, "summary": recipe.summary })).collect();
        return Ok(listing::print_json(&rows)?);
    }
    let mut table = listing::table(["RECIPE", "WHAT IT GIVES"]);
    table.add_row(["auto", "the one that the command or the packages tell of, else plain"]);
    for recipe in recipes() {
        table.add_row([recipe.name, recipe.summary]);
    }
    Ok(listing::print_table(&table)?)
}

fn show(place: &Place, asked: &Explain) -> Result<(), Failure> {
    let mut job = read_job(&asked.file)?;
    if let Some(ranks) = asked.ranks {
        job.ranks = ranks;
        job.validate().map_err(|sentences| Failure::input(format!("--ranks: {}", sentences.join("; "))))?;
    }
    let devices = super::machine::this_machine().map(|machine| machine.devices).unwrap_or_default();
    let granted = place.connect().ok().and_then(|client| client.plan(job.clone()).ok()?.grant);
    let real = granted.is_some();
    let grant = granted.unwrap_or_else(|| made_up(&job, &devices));
    let (identity, uname) = (myself(), rustix::system::uname());
    let environment = job.environment.as_ref().map(|_| "ENVIRONMENT");
    let ports: Vec<u16> = grant.ports.map(|range| (range.first..range.first.saturating_add(range.count)).collect()).unwrap_or_default();
    let input = LaunchInput {
        spec: &job,
        run: RunId { job: JobId::new(1), attempt: 1 },
        grant: &grant,
        devices: &devices,
        only_granted_nodes: true,
        hostname: &uname.nodename().to_string_lossy(),
        ports: &ports,
        environment,
        scratch: "/tmp",
        files: "FILES",
        identity: &identity,
    };
    let explained = explain(&input).map_err(|error| {
        let failure = Failure::input(format!("{}: {error}", asked.file.display()));
        error.hint().into_iter().fold(failure, Failure::hint)
    })?;
    if asked.json {
        return Ok(listing::print_json(&as_json(&explained, real))?);
    }
    print(&mut io::stdout().lock(), &explained)?;
    if !real {
        listing::warn("CPUs, devices and ports are made up: no node answers, or the job would not start now");
    }
    Ok(())
}

/// A grant as it might be: CPUs in order, the first devices that look like those asked for, a lease of ports.
fn made_up(job: &JobSpec, devices: &[Device]) -> Grant {
    let cpus = job.cpus.0.div_ceil(1000).max(1);
    let wanted = job.devices.as_ref().map_or(0, |request| request.count) as usize;
    let mut fitting = devices.iter().filter(|device| job.devices.as_ref().is_some_and(|request| fits(request, device)));
    let rank = |rank: u32| RankGrant {
        cpus: (rank * cpus..(rank + 1) * cpus).map(|cpu| cpu as _).collect(),
        devices: fitting.by_ref().take(wanted).map(|device| device.id.clone()).collect::<Vec<DeviceId>>(),
    };
    let memory = job.memory.map_or(1 << 30, |memory| memory.0).saturating_mul(job.ranks.into());
    let ranks: Vec<RankGrant> = (0..job.ranks).map(rank).collect();
    let card = ranks.iter().flat_map(|rank| &rank.devices).find_map(|id| devices.iter().find(|device| device.id == *id));
    Grant {
        machine: "this".into(),
        share: card.and_then(|card| made_up_part(job, card)),
        ranks,
        cpu_share: job.cpus,
        memory: Bytes(memory),
        shm: Bytes(memory / 2),
        mem_nodes: [0].into_iter().collect(),
        ports: Some(PortRange { first: 20_000, count: 16 }),
    }
}

/// The part that the job asks for of a card like this.
fn made_up_part(job: &JobSpec, card: &Device) -> Option<Share> {
    let (wanted, whole) = (job.devices.as_ref()?.share?, card.memory?);
    let compute = wanted.compute.unwrap_or(0);
    let memory = wanted.memory.unwrap_or_else(|| whole.scaled(compute.into(), 1000));
    Some(Share::of(memory, compute, whole, if card.slice.is_some() { Enforcement::Hard } else { Enforcement::Counted }))
}

fn fits(request: &DeviceRequest, device: &Device) -> bool {
    let model = device.model.to_lowercase();
    request.vendor.is_none_or(|vendor| vendor == device.vendor)
        && request.class.is_none_or(|class| class == device.class)
        && (request.models.is_empty() || request.models.iter().any(|name| model.contains(&name.to_lowercase())))
}

fn myself() -> Identity {
    let uid = rustix::process::getuid().as_raw();
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let gid = rustix::process::getgid().as_raw();
    Identity { uid, gid, groups: vec![], user: variable("USER", &uid.to_string()), home: variable("HOME", "/") }
}

fn print(out: &mut impl Write, explained: &Explanation) -> io::Result<()> {
    let recipe = explained.choice.recipe;
    writeln!(out, "recipe {}: {}", recipe.name, explained.choice.reason)?;
    writeln!(out, "  {}", recipe.summary)?;
    if explained.once {
        writeln!(out, "  one process holds everything and starts the ranks")?;
    }
    for file in &explained.files {
        writeln!(out, "\nfile FILES/{}    {}", file.name, file.why)?;
        file.text.lines().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    let shared = shared(&explained.processes);
    if explained.processes.len() > 1 {
        writeln!(out, "\nevery process")?;
        variables(out, explained.processes[0].variables.iter().filter(|variable| shared.contains(variable.name.as_str())))?;
    }
    for process in &explained.processes {
        writeln!(out, "\nprocess {} on CPUs {}, in {}", process.rank, process.holds.cpus, process.workdir)?;
        writeln!(out, "  {}", command_line(&process.argv))?;
        process.argv_why.map_or(Ok(()), |why| writeln!(out, "      {why}"))?;
        let alone = explained.processes.len() == 1;
        variables(out, process.variables.iter().filter(|variable| alone || !shared.contains(variable.name.as_str())))?;
    }
    Ok(())
}

fn variables<'a>(out: &mut impl Write, variables: impl Iterator<Item = &'a Variable>) -> io::Result<()> {
    for variable in variables {
        writeln!(out, "  {}={}", variable.name, variable.value)?;
        writeln!(out, "      {}", variable.why)?;
    }
    Ok(())
}

/// Names of the variables that are the same in all processes.
fn shared(processes: &[Explained]) -> BTreeSet<&str> {
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for variable in processes.iter().flat_map(|process| &process.variables) {
        *seen.entry((&variable.name, &variable.value)).or_default() += 1;
    }
    seen.into_iter().filter(|(_, times)| *times == processes.len()).map(|((name, _), _)| name).collect()
}

/// As a shell would read it.
fn command_line(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quoted = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn as_json(explained: &Explanation, real: bool) -> serde_json::Value {
    let variable = |variable: &Variable| json!({ "name": variable.name, "value": variable.value, "why": variable.why });
    let process = |process: &Explained| {
        json!({
            "rank": process.rank,
            "argv": process.argv,
            "argv_why": process.argv_why,
            "workdir": process.workdir,
            "cpus": process.holds.cpus.to_string(),
            "devices": process.holds.devices,
            "variables": process.variables.iter().map(variable).collect::<Vec<_>>(),
        })
    };
    let files = explained.files.iter().map(|file| json!({ "name": file.name, "text": file.text, "why": file.why }));
    json!({
        "recipe": explained.choice.recipe.name,
        "reason": explained.choice.reason,
        "one_process": explained.once,
        "grant_is_made_up": !real,
        "files": files.collect::<Vec<_>>(),
        "processes": explained.processes.iter().map(process).collect::<Vec<_>>(),
    })
}
