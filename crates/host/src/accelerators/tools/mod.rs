//! What vendors' own programs print, for cards whose drivers keep no files that the kernel documents.
//!
//! Each program runs in a child with a deadline ([`crate::child`]); what it prints is taken apart by pure functions. None of
//! these programs was at hand: the formats are by documentation only (the makers' manuals and open-source device
//! plug-ins), the fixtures in the tests are written by us, and every figure is checked for what can be.

mod npu_smi;
mod sections;
mod separated;

use crate::Root;
use crate::child::{self, Silence};
use machine::{Bytes, LinkKind, PciAddress, Telemetry};
use std::process::Command;
use std::time::{Duration, Instant};

/// Numbers of vNPUs begin here; below are those of whole chips.
pub const FIRST_VNPU: u32 = 100;
/// Where a capture keeps what programs printed.
const CAPTURED: &str = "ashlar/tools";

/// One card as a program tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub pci: Option<PciAddress>,
    /// The program's own number of the card.
    pub index: Option<u32>,
    pub uuid: Option<String>,
    pub name: Option<String>,
    /// Which chip of the board it is, on boards of several.
    pub chip: u32,
    /// The driver's number of the chip, where the program tells.
    pub physical: Option<u32>,
    pub telemetry: Telemetry,
    /// Links to other chips; `None` where it was not asked about, or did not understand.
    pub links: Option<Vec<ToldLink>>,
    /// What the chip is cut into, with the same meaning of `None`.
    pub slices: Option<Vec<ToldSlice>>,
}

/// A link as a program tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldLink {
    pub kind: LinkKind,
    /// The other end, by its place in the list of cards; `None`: a switch.
    pub to: Option<usize>,
}

/// A slice as a program tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldSlice {
    /// The driver's number of it, which is also that of its device node.
    pub number: u32,
    /// "vir04", "vir10_3c_16g".
    pub template: String,
    pub memory: Option<Bytes>,
}

/// Something more to ask once the cards are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Under which name a capture keeps the answer.
    pub file: String,
    pub arguments: Vec<String>,
    /// The card that it is about, by its place in the list; `None`: all of them.
    pub about: Option<usize>,
}

/// The questions that follow from the first answer, and what becomes of their answers.
#[derive(Debug)]
pub struct Further {
    /// `divided`: slices are to be asked about too.
    pub questions: fn(told: &[Told], divided: bool) -> Vec<Question>,
    pub learn: fn(told: &mut [Told], question: &Question, text: &str),
}

/// A vendor's program.
#[derive(Debug)]
pub struct Tool {
    pub name: &'static str,
    pub arguments: &'static [&'static str],
    pub parse: fn(&str) -> Vec<Told>,
    pub further: Option<Further>,
}

/// The same questions for programs that took over nvidia-smi's options.
const QUERY: &[&str] = &[
    "--query-gpu=index,pci.bus_id,uuid,name,temperature.gpu,power.draw,power.limit,clocks.sm,utilization.gpu,memory.used,memory.total",
    "--format=csv,noheader,nounits",
];

pub const TOOLS: &[Tool] = &[
    Tool { name: "npu-smi", arguments: &["info"], parse: npu_smi::parse, further: Some(npu_smi::FURTHER) },
    Tool { name: "ixsmi", arguments: QUERY, parse: separated::parse, further: None },
    Tool { name: "ppu-smi", arguments: QUERY, parse: separated::parse, further: None },
    Tool { name: "cnmon", arguments: &["info"], parse: sections::parse, further: None },
    Tool { name: "mthreads-gmi", arguments: &["-q"], parse: sections::parse, further: None },
    Tool { name: "mx-smi", arguments: &["--show-all"], parse: sections::parse, further: None },
    Tool { name: "efsmi", arguments: &["-q"], parse: sections::parse, further: None },
    Tool { name: "hy-smi", arguments: &["-a"], parse: sections::parse_numbered, further: None },
];

/// The program of this name, where there is one in the list.
pub fn tool(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

impl Tool {
    /// Under which name a capture keeps its first answer.
    pub fn file(&self) -> String {
        format!("{}.txt", self.name)
    }

    fn first(&self) -> Question {
        Question { file: self.file(), arguments: self.arguments.iter().map(|word| (*word).to_owned()).collect(), about: None }
    }
}

/// Runs it and takes its output apart; in a capture, takes apart what it printed then. `divided`: whether to ask for slices.
///
/// # Errors
/// When it does not end well in time. An output without any card is an empty list. Of further questions no error comes:
/// one that was swallowed is a complaint of each card.
pub fn ask(tool: &Tool, root: &Root, divided: bool, patience: Duration) -> Result<Vec<Told>, Silence> {
    let deadline = Instant::now() + patience;
    let mut told = (tool.parse)(&answer(tool, root, &tool.first(), deadline)?);
    let Some(further) = &tool.further else { return Ok(told) };
    for question in (further.questions)(&told, divided) {
        match answer(tool, root, &question, deadline) {
            Ok(text) => (further.learn)(&mut told, &question, &text),
            // Older versions do not know every question, and a capture does not hold every answer.
            Err(Silence::Ended(_) | Silence::NotStarted(_)) => {}
            Err(silence) => {
                let complaint = format!("`{} {}` {silence}", tool.name, question.arguments.join(" "));
                told.iter_mut().for_each(|card| card.telemetry.complaints.push(complaint.clone()));
                break;
            }
        }
    }
    Ok(told)
}

/// Whether there is anything to ask: a capture knows only what was printed then.
pub fn can_answer(tool: &Tool, root: &Root) -> bool {
    root.is_live() || root.exists(&format!("{CAPTURED}/{}", tool.file()))
}

fn answer(tool: &Tool, root: &Root, question: &Question, deadline: Instant) -> Result<String, Silence> {
    if !root.is_live() {
        let text = root.text(&format!("{CAPTURED}/{}", question.file));
        return match text {
            None => Err(Silence::NotStarted("the capture has no answer of it".into())),
            Some(text) if is_no_answer(&text) => Err(Silence::Hung),
            Some(text) => Ok(text),
        };
    }
    let mut command = Command::new(tool.name);
    // The words that are looked for are the English ones.
    command.args(&question.arguments).env("LC_ALL", "C");
    let bytes = child::output(&mut command, deadline.saturating_duration_since(Instant::now()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a capture holds in the place of an answer that did not come.
pub fn no_answer(program: &str, patience: Duration) -> String {
    format!("({program} gave no answer within {} seconds)\n", patience.as_secs())
}

/// Whether this is [`no_answer`].
pub fn is_no_answer(text: &str) -> bool {
    text.starts_with('(') && text.lines().count() == 1 && text.contains(" gave no answer within ")
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
