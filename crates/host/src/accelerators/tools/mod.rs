//! What vendors' own programs print, for cards whose drivers keep no files that the kernel documents.
//!
//! Each program runs in a child with a deadline ([`crate::child`]); what it prints is taken apart by pure functions. None of
//! these programs was at hand: the formats are by documentation only (the makers' manuals and open-source device
//! plug-ins), the fixtures in the tests are written by us, and every figure is checked for what can be.

mod npu_smi;
mod sections;
mod separated;

use crate::child::{self, Silence};
use machine::{Bytes, PciAddress, Telemetry};
use std::process::Command;
use std::time::Duration;

/// One card as a program tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub pci: Option<PciAddress>,
    /// The program's own number of the card.
    pub index: Option<u32>,
    pub uuid: Option<String>,
    pub name: Option<String>,
    pub telemetry: Telemetry,
}

/// A vendor's program.
#[derive(Debug)]
pub struct Tool {
    pub name: &'static str,
    pub arguments: &'static [&'static str],
    pub parse: fn(&str) -> Vec<Told>,
}

/// The same questions for programs that took over nvidia-smi's options.
const QUERY: &[&str] = &[
    "--query-gpu=index,pci.bus_id,uuid,name,temperature.gpu,power.draw,power.limit,clocks.sm,utilization.gpu,memory.used,memory.total",
    "--format=csv,noheader,nounits",
];

pub const TOOLS: &[Tool] = &[
    Tool { name: "npu-smi", arguments: &["info"], parse: npu_smi::parse },
    Tool { name: "ixsmi", arguments: QUERY, parse: separated::parse },
    Tool { name: "ppu-smi", arguments: QUERY, parse: separated::parse },
    Tool { name: "cnmon", arguments: &["info"], parse: sections::parse },
    Tool { name: "mthreads-gmi", arguments: &["-q"], parse: sections::parse },
    Tool { name: "mx-smi", arguments: &["--show-all"], parse: sections::parse },
    Tool { name: "efsmi", arguments: &["-q"], parse: sections::parse },
    Tool { name: "hy-smi", arguments: &["-a"], parse: sections::parse_numbered },
];

/// The program of this name, where there is one in the list.
pub fn tool(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// Runs it and takes its output apart.
///
/// # Errors
/// When it does not end well in time. An output without any card is an empty list.
pub fn ask(tool: &Tool, patience: Duration) -> Result<Vec<Told>, Silence> {
    let mut command = Command::new(tool.name);
    // The words that are looked for are the English ones.
    command.args(tool.arguments).env("LC_ALL", "C");
    let bytes = child::output(&mut command, patience)?;
    Ok((tool.parse)(&String::from_utf8_lossy(&bytes)))
}

/// A number at the beginning of a text: "57 C", "93.6W", "0 %", "N/A".
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    text[..end].parse::<f64>().ok().filter(|value| value.is_finite())
}

fn whole(text: &str) -> Option<u32> {
    number(text).filter(|value| *value >= 0.0).map(|value| value.round().min(f64::from(u32::MAX)) as u32)
}

fn degrees(text: &str) -> Option<i32> {
    number(text).map(|value| value.round().clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32)
}

/// Watts as milliwatts.
fn milliwatts(text: &str) -> Option<u64> {
    let scale = if text.to_ascii_lowercase().contains("mw") { 1.0 } else { 1000.0 };
    number(text).filter(|value| *value >= 0.0).map(|value| (value * scale).round() as u64)
}

/// "1024 MiB", "64 GB", "123 KB"; without a unit it is mebibytes, as all of these programs count.
fn memory(text: &str) -> Option<Bytes> {
    let value = number(text).filter(|value| *value >= 0.0)?;
    let lower = text.to_ascii_lowercase();
    let unit = if lower.contains('g') {
        1u64 << 30
    } else if lower.contains('k') {
        1 << 10
    } else if lower.contains('m') || !lower.contains('b') {
        1 << 20
    } else {
        1
    };
    Some(Bytes((value * unit as f64) as u64))
}

/// PCI addresses as tools write them: with a domain of four or eight digits, or none, and with or without a function.
fn address(text: &str) -> Option<PciAddress> {
    let text = text.trim();
    let whole = if text.contains('.') { text.to_owned() } else { format!("{text}.0") };
    whole.parse().ok().or_else(|| (whole.matches(':').count() == 1).then(|| format!("0000:{whole}").parse().ok()).flatten())
}

#[cfg(test)]
mod tests;
