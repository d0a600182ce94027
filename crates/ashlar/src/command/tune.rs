//! `ashlar tune`

use crate::arguments::{Tune, TuneAction, TuneApply, TuneChoice, TuneStatus, TuneUndo};
use crate::failure::{FAILED, Failure, INPUT};
use crate::state::Place;
use crate::{listing, tune_text};
use ::machine::NodeFacts;
use diagnosis::readiness::{self, Change, Keep, Role, boot, managers};
use host::tune::{self, Ground, Journal, State, Target, TuneError, Write};
use serde::Serialize;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One write with everything that is told about it.
#[derive(Serialize)]
pub struct Planned {
    #[serde(flatten)]
    pub change: Change,
    /// Who else writes it.
    pub managers: Vec<String>,
    /// Where it would be kept for the next start.
    pub at_boot: &'static str,
}

/// What `ashlar tune plan --json` prints.
#[derive(Serialize)]
pub struct Plan {
    pub role: Role,
    pub writes: Vec<Planned>,
    /// Words for the kernel command line, which count after a restart.
    pub restart: Vec<readiness::Parameter>,
}

pub fn run(place: &Place, tune: Tune) -> Result<ExitCode, Failure> {
    match tune.action {
        TuneAction::Plan(plan) => show(&plan.choice),
        TuneAction::Apply(apply) => write(place, &apply),
        TuneAction::Status(status) => tell(place, &status),
        TuneAction::Undo(undo) => take_back(place, &undo),
    }
}

/// A plan is made for a live machine or a plain folder: an archive is unpacked somewhere and thrown away.
fn look(root: Option<&Path>) -> Result<(host::Root, NodeFacts), Failure> {
    let root = match root {
        None => host::Root::live(),
        Some(path) if path.is_dir() => host::Root::at(path),
        Some(path) => {
            return Err(Failure::input(format!("{} is not a folder", path.display())).hint("give the folder that has proc/ and sys/"));
        }
    };
    let mut sources = readiness::sources();
    sources.extend(managers::SOURCES);
    let facts = host::readiness::read(&root, &sources).map_err(|error| super::doctor::unreadable(&error))?;
    Ok((root, facts))
}

fn plan(choice: &TuneChoice, facts: &NodeFacts) -> Result<Plan, Failure> {
    for name in choice.only.iter().chain(&choice.except) {
        if !readiness::rules().any(|rule| rule.id == *name) {
            return Err(Failure::input(format!("there is no rule '{name}'")).hint("`ashlar doctor --rules` lists them"));
        }
    }
    let role = choice.role.map(Role::from).unwrap_or_else(|| readiness::likely_role(facts));
    let wanted = |rule: &str| match choice.only.is_empty() {
        true => !choice.except.iter().any(|name| name == rule),
        false => choice.only.iter().any(|name| name == rule),
    };
    let changes = readiness::changes(facts, role).into_iter().filter(|change| wanted(change.rule));
    let with = |change: Change| Planned {
        managers: managers::of(facts, &change.path),
        at_boot: if change.keep == Keep::Sysctl { boot::SYSCTL_FILE } else { boot::TMPFILES_FILE },
        change,
    };
    let restart = readiness::parameters(facts, role).into_iter().filter(|parameter| wanted(parameter.rule)).collect();
    Ok(Plan { role, writes: changes.map(with).collect(), restart })
}

fn show(choice: &TuneChoice) -> Result<ExitCode, Failure> {
    let (_, facts) = look(choice.root.as_deref())?;
    let plan = plan(choice, &facts)?;
    print(&facts, &plan, choice.json)?;
    Ok(ExitCode::from(if plan.writes.is_empty() && plan.restart.is_empty() { 0 } else { FAILED }))
}

fn print(facts: &NodeFacts, plan: &Plan, json: bool) -> Result<(), Failure> {
    if json {
        listing::print_json(plan)?;
    } else {
        write!(std::io::stdout(), "{}", tune_text::plan(facts, plan))?;
    }
    Ok(())
}

/// The folder of journals. A tree has one of its own: what was cut off there is never put back on this machine.
fn folder(place: &Place, root: Option<&Path>) -> PathBuf {
    let own = place.state.join("tune");
    match root {
        None => own,
        Some(root) => {
            let whole = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
            own.join("trees").join(whole.to_string_lossy().replace('/', "+"))
        }
    }
}

fn open(place: &Place, root: Option<&Path>) -> Result<Journal, Failure> {
    Journal::open(&folder(place, root)).map_err(|error| failed(&error.into()))
}

/// What was cut off is put back when the node starts, whoever uses the machine next.
pub fn recover_at_start(place: &Place) {
    if !folder(place, None).is_dir() {
        return;
    }
    let done = open(place, None).and_then(|journal| recover(&mut tune::Machine(host::Root::live()), &journal));
    if let Err(failure) = done {
        listing::warn(&format!("a cut-off `ashlar tune` was not put back: {}", failure.message()));
    }
}

fn failed(error: &TuneError) -> Failure {
    let code = if matches!(error, TuneError::NoSuch(_) | TuneError::Covered { .. }) { INPUT } else { FAILED };
    let failure = Failure::failed(error).code(code);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What was cut off earlier is put back before anything else is done.
fn recover(ground: &mut tune::Machine, journal: &Journal) -> Result<(), Failure> {
    for one in tune::recover(ground, journal).map_err(|error| failed(&error))? {
        listing::warn(&format!("transaction {} had been cut off; {} put back", one.id, listing::counted(one.values as u64, "value")));
    }
    Ok(())
}

fn write(place: &Place, asked: &TuneApply) -> Result<ExitCode, Failure> {
    let choice = &asked.choice;
    if asked.dry_run {
        let (_, facts) = look(choice.root.as_deref())?;
        let plan = plan(choice, &facts)?;
        print(&facts, &plan, choice.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let journal = open(place, choice.root.as_deref())?;
    let live = choice.root.as_deref().map_or_else(host::Root::live, host::Root::at);
    let mut ground = tune::Machine(live);
    recover(&mut ground, &journal)?;
    // Only now: what was put back counts.
    let (_, facts) = look(choice.root.as_deref())?;
    let plan = plan(choice, &facts)?;
    let mut writes: Vec<Write> = plan.writes.iter().map(|planned| kernel_write(&planned.change)).collect();
    if asked.boot {
        writes.extend(boot_writes(&ground, &journal, &plan)?);
    }
    if !plan.restart.is_empty() && !choice.json {
        eprint!("{}", tune_text::restart(&plan.restart));
    }
    if writes.is_empty() {
        if choice.json {
            listing::print_json(&serde_json::json!({ "id": null, "writes": [] }))?;
        }
        eprintln!("there is nothing to write for role {}", plan.role);
        return Ok(ExitCode::SUCCESS);
    }
    let id = tune::apply(&mut ground, &journal, plan.role.name(), &writes).map_err(|error| failed(&error))?;
    if choice.json {
        listing::print_json(&serde_json::json!({ "id": id, "writes": writes }))?;
    } else {
        write!(std::io::stdout(), "{}", tune_text::written(&writes))?;
    }
    eprintln!(
        "transaction {id}: {} written and read back; `ashlar tune undo {id}` takes it back",
        listing::counted(writes.len() as u64, "value")
    );
    if !asked.boot {
        eprintln!("a restart takes it back too; with --boot it stays");
    }
    Ok(ExitCode::SUCCESS)
}

fn kernel_write(change: &Change) -> Write {
    Write {
        rule: change.rule.to_owned(),
        path: change.path.clone(),
        old: Some(change.old.clone()),
        new: Some(change.new.clone()),
        target: Target::Kernel,
    }
}

/// Files for the next start: of what is written now, and of what an earlier transaction wrote and is still so.
fn boot_writes(ground: &tune::Machine, journal: &Journal, plan: &Plan) -> Result<Vec<Write>, Failure> {
    let keep = |path: &str| if path.starts_with("proc/sys/") { Keep::Sysctl } else { Keep::Tmpfiles };
    let mut values = vec![];
    for one in journal.read().map_err(|error| failed(&error.into()))?.iter().filter(|one| one.state == State::Kept) {
        let still = one.writes.iter().filter(|write| write.target == Target::Kernel && tune::current(ground, write) == write.new);
        values.extend(still.filter_map(|write| Some((write.path.clone(), write.new.clone()?, keep(&write.path)))));
    }
    values.extend(plan.writes.iter().map(|planned| (planned.change.path.clone(), planned.change.new.clone(), planned.change.keep)));
    let read = |path: &str| ground.read(path).ok();
    let files = boot::files(&values, read);
    let of = |file: boot::BootFile| Write {
        rule: "boot".into(),
        path: file.path.into(),
        old: ground.read(file.path).ok(),
        new: Some(file.text),
        target: Target::File,
    };
    Ok(files.into_iter().map(of).filter(|write| write.old != write.new).collect())
}

/// One transaction as `status` tells it.
#[derive(Serialize)]
pub struct Told {
    pub id: u32,
    pub about: String,
    pub state: State,
    /// Whether the machine was restarted since.
    pub restarted: bool,
    pub writes: Vec<Now>,
}

#[derive(Serialize)]
pub struct Now {
    #[serde(flatten)]
    pub write: Write,
    pub now: Option<String>,
    /// Whether it is what was written.
    pub holds: bool,
}

fn tell(place: &Place, asked: &TuneStatus) -> Result<ExitCode, Failure> {
    let journal = open(place, asked.root.as_deref())?;
    let mut ground = tune::Machine(asked.root.as_deref().map_or_else(host::Root::live, host::Root::at));
    recover(&mut ground, &journal)?;
    let boot = ground.boot();
    let now = |write: Write| {
        let now = tune::current(&ground, &write);
        Now { holds: now == write.new, now, write }
    };
    let all: Vec<Told> = journal
        .read()
        .map_err(|error| failed(&error.into()))?
        .into_iter()
        .map(|one| Told {
            id: one.id,
            about: one.about,
            state: one.state,
            restarted: one.boot != boot,
            writes: one.writes.into_iter().map(now).collect(),
        })
        .collect();
    if asked.json {
        listing::print_json(&all)?;
    } else {
        write!(std::io::stdout(), "{}", tune_text::status(&all))?;
    }
    let drifted = all.iter().any(|one| one.state == State::Kept && one.writes.iter().any(|write| !write.holds));
    Ok(ExitCode::from(if drifted { FAILED } else { 0 }))
}

fn take_back(place: &Place, asked: &TuneUndo) -> Result<ExitCode, Failure> {
    let journal = open(place, asked.root.as_deref())?;
    let mut ground = tune::Machine(asked.root.as_deref().map_or_else(host::Root::live, host::Root::at));
    recover(&mut ground, &journal)?;
    let done = tune::undo(&mut ground, &journal, asked.id).map_err(|error| failed(&error))?;
    if asked.json {
        listing::print_json(&serde_json::json!({ "id": done.id, "values": done.values, "left": done.left }))?;
    }
    eprintln!("transaction {}: {} put back", done.id, listing::counted((done.values - done.left.len()) as u64, "value"));
    for path in &done.left {
        listing::warn(&format!("{path} was changed by somebody else since, and was left as it is"));
    }
    Ok(ExitCode::SUCCESS)
}
