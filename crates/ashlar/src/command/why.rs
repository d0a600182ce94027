//! `ashlar why ID`

use crate::arguments::Why;
use crate::failure::Failure;
use crate::state::Place;
use crate::{listing, moment};
use api::ReasonView;
use spec::Time;
use std::io::{self, Write};
use std::process::ExitCode;

pub fn run(place: &Place, why: Why) -> Result<ExitCode, Failure> {
    let view = place.connect()?.why(why.job)?;
    if why.json {
        listing::print_json(&view)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = io::stdout().lock();
    let size = view.elastic.as_ref().filter(|_| view.state == "running").map(listing::elastic).unwrap_or_default();
    writeln!(out, "job {} is {}{size}", view.id, listing::paint_state(&view.state))?;
    print_reasons(&mut out, &view.reasons, view.planned_start)?;
    if let Some(outcome) = &view.outcome {
        writeln!(out, "  {outcome}")?;
    }
    if let Some(hint) = &view.hint {
        writeln!(out, "  hint: {hint}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The reasons a job waits, as `why` and `plan` tell them.
pub fn print_reasons(out: &mut impl Write, reasons: &[ReasonView], planned: Option<Time>) -> io::Result<()> {
    let now = moment::now();
    for reason in reasons {
        writeln!(out, "  - {}", reason.text)?;
        if !reason.held_by.is_empty() {
            writeln!(out, "      held by {}", reason.held_by.join(", "))?;
        }
        if let Some(until) = reason.until {
            writeln!(out, "      until about {} ({})", clock(until), moment::relative(until, now))?;
        }
        if let Some(change) = &reason.change {
            writeln!(out, "      would start now: {change}")?;
        }
    }
    if let Some(at) = planned {
        writeln!(out, "  planned start: {}", when(at, now))?;
    }
    Ok(())
}

/// `10:01 UTC (in 23 min)`.
pub fn when(at: Time, now: Time) -> String {
    format!("{} ({})", clock(at), moment::relative(at, now))
}

/// A planned start that still lies ahead.
pub fn announced(planned: Option<Time>, now: Time) -> Option<Time> {
    planned.filter(|at| *at > now)
}

/// Hours and minutes in UTC; the relative time beside it says the rest.
pub fn clock(at: Time) -> String {
    let minutes = at.0 / 60_000 % 1440;
    format!("{:02}:{:02} UTC", minutes / 60, minutes % 60)
}
