//! Tables, colours and JSON on stdout.

use comfy_table::{ContentArrangement, Table, presets};
use owo_colors::OwoColorize;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Colour and Unicode are for people: a pipe gets neither codes nor cut lines. `NO_COLOR` is honoured.
pub fn colour_wanted() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn colour_wanted_on_stderr() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

pub fn paint_error(text: &str) -> String {
    if colour_wanted_on_stderr() { text.red().bold().to_string() } else { text.into() }
}

pub fn paint_hint(text: &str) -> String {
    if colour_wanted_on_stderr() { text.cyan().bold().to_string() } else { text.into() }
}

/// One word for a job's state, coloured on a terminal.
pub fn paint_state(state: &str) -> String {
    if !colour_wanted() {
        return state.into();
    }
    match state {
        "succeeded" => state.green().to_string(),
        "failed" => state.red().to_string(),
        "running" | "starting" => state.cyan().to_string(),
        "cancelled" | "stopping" => state.yellow().to_string(),
        _ => state.into(),
    }
}

pub fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings);
    // Only a terminal has a width to fit into.
    table.set_content_arrangement(if io::stdout().is_terminal() { ContentArrangement::Dynamic } else { ContentArrangement::Disabled });
    table
}

pub fn print_table(table: &Table) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

pub fn print_json<T: Serialize + ?Sized>(value: &T) -> Result<(), serde_json::Error> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out).map_err(serde_json::Error::io)
}

/// "1 job", "2 jobs".
pub fn counted(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// "1 CPU", "0.5 CPUs", "2 CPUs".
pub fn cpus(share: machine::CpuShare) -> String {
    format!("{share} CPU{}", if share == machine::CpuShare::ONE { "" } else { "s" })
}

/// A word of warning, on stderr and for people only: with `--json` it is a field.
pub fn warn(text: &str) {
    if !crate::failure::in_json() {
        let painted = if colour_wanted_on_stderr() { "warning:".yellow().bold().to_string() } else { "warning:".into() };
        let _ = writeln!(io::stderr(), "{painted} {text}");
    }
}

/// Columns of the terminal, or 100 where there is none.
pub fn width() -> usize {
    rustix::termios::tcgetwinsize(io::stdout()).map_or(100, |size| usize::from(size.ws_col).max(60))
}

/// How many ranks a job has: "4", of an elastic one "4 of 2..8", or "2..8" before it first ran.
pub fn ranks(row: &api::JobRow) -> String {
    match &row.elastic {
        Some(api::ElasticView { range, ranks: Some(ranks) }) => format!("{ranks} of {range}"),
        Some(api::ElasticView { range, ranks: None }) => range.clone(),
        None => row.ranks.to_string(),
    }
}

/// " with 4 ranks of 2..8".
pub fn elastic(view: &api::ElasticView) -> String {
    let ranks = view.ranks.map_or_else(String::new, |ranks| format!(" with {}", counted(ranks.into(), "rank")));
    format!("{ranks} of {}", view.range)
}
