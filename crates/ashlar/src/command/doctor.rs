//! `ashlar doctor`

mod against;

use crate::arguments::Doctor;
use crate::failure::{FAILED, Failure, INPUT};
use crate::{doctor_text, listing};
use ::machine::NodeFacts;
use diagnosis::readiness::{self, Report, Role};
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// What `--json` prints.
#[derive(Serialize)]
struct Whole<'r> {
    machine: &'r str,
    #[serde(flatten)]
    report: &'r Report,
}

pub fn run(asked: Doctor) -> Result<ExitCode, Failure> {
    let role = asked.role.map(Role::from);
    if asked.rules {
        if asked.json {
            listing::print_json(&doctor_text::rules_json(role))?;
        } else {
            write!(std::io::stdout(), "{}", doctor_text::rules(role))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(profile) = &asked.against {
        return against::run(&asked, profile);
    }
    let facts = look(asked.root.as_deref())?;
    let role = role.unwrap_or_else(|| readiness::likely_role(&facts));
    let report = readiness::check(&facts, role);
    if asked.json {
        listing::print_json(&Whole { machine: &facts.machine.hostname, report: &report })?;
    } else {
        let style = doctor_text::Style { colour: listing::colour_wanted(), width: listing::width(), brief: asked.brief };
        write!(std::io::stdout(), "{}", doctor_text::report(&facts, &report, style))?;
    }
    Ok(ExitCode::from(if report.asks() > 0 { FAILED } else { 0 }))
}

/// Facts of this machine, or of a captured one.
pub fn look(captured: Option<&Path>) -> Result<NodeFacts, Failure> {
    let root = open(captured)?;
    host::readiness::read(&root, &readiness::sources()).map_err(|error| unreadable(&error))
}

fn open(captured: Option<&Path>) -> Result<host::Root, Failure> {
    captured.map_or_else(|| Ok(host::Root::live()), super::machine::open)
}

pub fn unreadable(error: &host::HostError) -> Failure {
    let failure = Failure::failed(format!("cannot read the machine: {error}")).code(INPUT);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
