//! `ashlar machine paths`

use crate::arguments::{Machine, Paths};
use crate::failure::Failure;
use crate::listing;
use ::machine::Distance;
use ::machine::paths::{PathEnd, PathPair, PathReport, Verdict};
use host::Root;
use owo_colors::OwoColorize;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

pub fn run(machine: &Machine, what: &Paths) -> Result<ExitCode, Failure> {
    let (root, found) = super::look(machine)?;
    if let Some(file) = &what.nccl {
        return nccl(&root, &found, file);
    }
    let report = host::paths(&root, &found);
    if machine.json {
        listing::print_json(&report)?;
    } else {
        write!(std::io::stdout(), "{}", draw(&report, listing::colour_wanted()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn nccl(root: &Root, found: &::machine::Machine, file: &std::path::Path) -> Result<ExitCode, Failure> {
    let text = host::nccl_text(root, found);
    if file == std::path::Path::new("-") {
        write!(std::io::stdout(), "{text}")?;
    } else {
        std::fs::write(file, text).map_err(|error| Failure::input(format!("cannot write {}: {error}", file.display())))?;
        eprintln!("set NCCL_TOPO_FILE={} for the ranks of a job", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns of one table: more are put below.
const COLUMNS: usize = 8;
/// Names that are listed with one reason.
const NAMED: usize = 8;

/// The tables, what their words mean, and what is in the way.
pub fn draw(report: &PathReport, colour: bool) -> String {
    let mut out = String::new();
    if report.accelerators.is_empty() {
        out.push_str("no accelerator is on the bus of this machine, so there is no path to judge\n");
        return out;
    }
    if report.accelerators.len() > 1 {
        out.push_str("accelerator to accelerator\n");
        table(&mut out, report, &report.accelerators, colour);
    }
    if !report.ports.is_empty() {
        out.push_str(if out.is_empty() { "accelerator to network\n" } else { "\naccelerator to network\n" });
        table(&mut out, report, &report.ports, colour);
    }
    if report.pairs.is_empty() {
        out.push_str("one accelerator and no network card: there is no path to judge\n");
        return out;
    }
    legend(&mut out, report);
    reasons(&mut out, report, colour);
    out
}

fn table(out: &mut String, report: &PathReport, columns: &[PathEnd], colour: bool) {
    let label = report.accelerators.iter().map(|end| end.name.len()).max().unwrap_or(0);
    for columns in columns.chunks(COLUMNS) {
        let cell = |from: &PathEnd, to: &PathEnd| report.pairs.iter().find(|pair| is_between(pair, from, to));
        let text = |pair: Option<&PathPair>| pair.map_or_else(|| "-".to_owned(), |pair| format!("{} {}", word(pair), mark(pair.verdict)));
        let widths: Vec<usize> = columns
            .iter()
            .map(|to| report.accelerators.iter().map(|from| text(cell(from, to)).chars().count()).max().unwrap_or(0).max(to.name.len()))
            .collect();
        let mut head = format!("{:label$}", "");
        columns.iter().zip(&widths).for_each(|(to, width)| {
            let _ = write!(head, "  {:width$}", to.name);
        });
        let _ = writeln!(out, "{}", head.trim_end());
        for from in &report.accelerators {
            let mut line = format!("{:label$}", from.name);
            for (to, width) in columns.iter().zip(&widths) {
                let pair = cell(from, to);
                let text = format!("{:width$}", text(pair));
                let _ = write!(line, "  {}", painted(&text, pair.map(|pair| pair.verdict), colour));
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

fn is_between(pair: &PathPair, a: &PathEnd, b: &PathEnd) -> bool {
    (pair.from == a.name && pair.to == b.name) || (pair.from == b.name && pair.to == a.name)
}

/// The class of a pair; with links, how many.
fn word(pair: &PathPair) -> String {
    match pair.way.wire {
        Some((kind, count)) => format!("{}x{count}", kind.name()),
        None => pair.way.distance.name().to_owned(),
    }
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Works => "+",
        Verdict::Degraded => "~",
        Verdict::Unknown => "?",
        Verdict::Blocked => "x",
    }
}

fn painted(text: &str, verdict: Option<Verdict>, colour: bool) -> String {
    match verdict {
        _ if !colour => text.to_owned(),
        Some(Verdict::Works) => text.green().to_string(),
        Some(Verdict::Degraded) => text.yellow().to_string(),
        Some(Verdict::Blocked) => text.red().to_string(),
        Some(Verdict::Unknown) => text.to_owned(),
        None => text.dimmed().to_string(),
    }
}

fn legend(out: &mut String, report: &PathReport) {
    out.push_str("\n+ direct access works   ~ works on a longer way   ? not known   x blocked\n");
    for distance in Distance::ALL {
        if report.pairs.iter().any(|pair| pair.way.distance == distance && pair.way.wire.is_none()) {
            let _ = writeln!(out, "{:8}  {}", distance.name(), distance.meaning());
        }
    }
}

fn reasons(out: &mut String, report: &PathReport, colour: bool) {
    for reason in &report.reasons {
        let all = report.pairs.len();
        let pairs = match reason.pairs {
            1 => report.pairs.iter().find(|pair| pair.reasons.iter().any(|at| report.reasons.get(*at) == Some(reason))),
            _ => None,
        };
        let whom = match pairs {
            Some(pair) => format!("{} - {}", pair.from, pair.to),
            None if reason.pairs == all => "all pairs".to_owned(),
            None => format!("{} of {all} pairs", reason.pairs),
        };
        let obstacle = &reason.obstacle;
        let head = painted(&format!("{} {}", mark(obstacle.verdict), obstacle.verdict), Some(obstacle.verdict), colour);
        let _ = writeln!(out, "\n{head}: {} ({whom})", obstacle.text);
        if !obstacle.at.is_empty() {
            let more = obstacle.at.len().saturating_sub(NAMED);
            let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = writeln!(out, "  at: {}{tail}", obstacle.at.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", "));
        }
        if let Some(hint) = &obstacle.hint {
            let _ = writeln!(out, "  hint: {hint}");
        }
        if let Some(source) = &obstacle.source {
            let _ = writeln!(out, "  says: {source}");
        }
    }
}

#[cfg(test)]
mod tests;
