//! `ashlar status`

use crate::arguments::Status;
use crate::failure::Failure;
use crate::state::Place;
use crate::{listing, moment};
use api::{Alarm, HealthView, KnownMachine};
use spec::Time;
use std::io::Write;
use std::process::ExitCode;

pub fn run(place: &Place, status: Status) -> Result<ExitCode, Failure> {
    let health = place.connect()?.health()?;
    if status.json {
        listing::print_json(&health)?;
    } else {
        write!(std::io::stdout(), "{}", summary(&health))?;
        listing::print_table(&machines(&health))?;
        write!(std::io::stdout(), "{}", alarms(&health.alarms, health.now))?;
    }
    Ok(if health.accepting { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(health: &HealthView) -> String {
    let accepts = if health.accepting { "accepts work" } else { "accepts no work" };
    let since = moment::relative(health.started, health.now);
    let jobs = listing::counted(health.live_jobs, "unfinished job");
    format!("ashlar {}, process {}, started {since}, {accepts}, {jobs}\nstate in {}\n\n", health.version, health.pid, health.state_dir)
}

fn machines(health: &HealthView) -> comfy_table::Table {
    let mut table = listing::table(["MACHINE", "HOST", "STATE", "JOINED", "RUNS"]);
    for machine in &health.known_machines {
        let joined = moment::relative(machine.joined, health.now);
        table.add_row([machine.id.clone(), machine.hostname.clone(), standing(machine).to_owned(), joined, machine.runs.to_string()]);
    }
    table
}

fn standing(machine: &KnownMachine) -> &'static str {
    match (machine.connected, machine.accepts) {
        (true, true) => "accepts work",
        (true, false) => "connected, accepts nothing new",
        (false, _) => "not heard of since the start",
    }
}

fn alarms(alarms: &[Alarm], now: Time) -> String {
    let mut text = String::new();
    for alarm in alarms {
        text += &format!("\nalarm ({}, {}): {}\n", alarm.kind, moment::relative(alarm.since, now), alarm.text);
        if let Some(hint) = &alarm.hint {
            text += &format!("  hint: {hint}\n");
        }
    }
    text
}
