//! What a profile that somebody else wrote would do here: which lines are dead on this kernel, which change nothing, and which
//! work against the role of the machine.

pub mod sysctl;
pub mod tuned;

use crate::readiness::{Look, Role, Test, rules};
use machine::{NodeFacts, fits};
use serde::Serialize;

/// One line of a profile, of whatever format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The file or profile it stands in.
    pub file: String,
    /// Counted from 1.
    pub number: usize,
    /// As it is written.
    pub key: String,
    pub value: String,
    /// Files it would write, the first that is there.
    pub paths: Vec<String>,
}

/// What a line would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// There is no such file on this kernel or machine.
    Dead { why: String },
    /// It can be written, and nothing changes.
    NoEffect { why: String },
    /// A rule for the role asks for something else.
    Conflict { rule: &'static str, wanted: String, why: &'static str },
    /// A later line of the same profile sets it to something else.
    Overridden { file: String, number: usize },
    /// It would change a value, against no rule.
    Changes { now: String },
    /// Not known here.
    Unknown { why: String },
}

/// A line with what it would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    #[serde(flatten)]
    pub line: Line,
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Judged {
    /// Whether somebody should look at it.
    pub fn asks(&self) -> bool {
        matches!(self.verdict, Verdict::Dead { .. } | Verdict::Conflict { .. } | Verdict::Overridden { .. })
    }
}

impl From<(&str, sysctl::Line)> for Line {
    fn from((file, line): (&str, sysctl::Line)) -> Line {
        Line { file: file.to_owned(), number: line.number, key: sysctl::key(&line.path), value: line.value, paths: vec![line.path] }
    }
}

impl From<tuned::Line> for Line {
    fn from(line: tuned::Line) -> Line {
        let key = if line.section == "sysctl" { line.key } else { format!("[{}] {}", line.section, line.key) };
        Line { file: line.profile, number: line.number, key, value: line.value, paths: line.paths }
    }
}

/// A file of the kernel that went away, or stayed without a meaning.
struct Gone {
    path: &'static str,
    /// The first kernel without it.
    since: (u32, u32),
    why: &'static str,
}

const fn gone(path: &'static str, since: (u32, u32), why: &'static str) -> Gone {
    Gone { path, since, why }
}

const MOVED: &str = "the scheduler's sysctls went to debugfs in 5.13";
const EEVDF: &str = "EEVDF replaced it in 6.6; a slice is asked for by task now (sched_setattr(2))";

/// From the changes of the kernel: commits "sched: Move SCHED_DEBUG sysctl to debugfs" (5.13) and the EEVDF series (6.6);
/// Documentation/networking/ip-sysctl for the others.
const GONE: [Gone; 16] = [
    gone("proc/sys/kernel/sched_min_granularity_ns", (5, 13), MOVED),
    gone("proc/sys/kernel/sched_wakeup_granularity_ns", (5, 13), MOVED),
    gone("proc/sys/kernel/sched_latency_ns", (5, 13), MOVED),
    gone("proc/sys/kernel/sched_migration_cost_ns", (5, 13), MOVED),
    gone("proc/sys/kernel/sched_nr_migrate", (5, 13), MOVED),
    gone("proc/sys/kernel/sched_tunable_scaling", (5, 13), MOVED),
    gone("proc/sys/kernel/numa_balancing_scan_delay_ms", (5, 13), MOVED),
    gone("proc/sys/kernel/numa_balancing_scan_period_min_ms", (5, 13), MOVED),
    gone("proc/sys/kernel/numa_balancing_scan_period_max_ms", (5, 13), MOVED),
    gone("proc/sys/kernel/numa_balancing_scan_size_mb", (5, 13), MOVED),
    gone("sys/kernel/debug/sched/min_granularity_ns", (6, 6), EEVDF),
    gone("sys/kernel/debug/sched/wakeup_granularity_ns", (6, 6), EEVDF),
    gone("sys/kernel/debug/sched/latency_ns", (6, 6), EEVDF),
    gone("sys/kernel/debug/sched/idle_min_granularity_ns", (6, 6), EEVDF),
    gone("proc/sys/kernel/sched_child_runs_first", (6, 6), "EEVDF has no such choice"),
    gone("proc/sys/net/ipv4/tcp_tw_recycle", (4, 12), "it broke clients behind address translation and was taken out"),
];

/// Files that can still be written and that nobody reads.
const IDLE: [(&str, (u32, u32), &str); 2] = [
    ("proc/sys/net/ipv4/tcp_low_latency", (4, 14), "it is kept for old scripts and has had no effect since 4.14"),
    ("proc/sys/net/ipv4/tcp_fack", (4, 15), "it is kept for old scripts and has had no effect since 4.15"),
];

/// Judges every line of a profile.
pub fn judge(facts: &NodeFacts, role: Role, lines: &[Line]) -> Vec<Judged> {
    let look = Look::new(facts, role);
    let one = |(at, line): (usize, &Line)| {
        let later = lines[at + 1..].iter().find(|later| !line.paths.is_empty() && later.paths == line.paths && later.value != line.value);
        // An included profile is there to be overridden.
        let later = later.filter(|later| later.file == line.file);
        let verdict = match later {
            Some(later) => Verdict::Overridden { file: later.file.clone(), number: later.number },
            None => verdict(&look, line),
        };
        Judged { line: line.clone(), verdict }
    };
    lines.iter().enumerate().filter(|(_, line)| !line.paths.is_empty()).map(one).collect()
}

fn verdict(look: &Look, line: &Line) -> Verdict {
    let states: Vec<(&String, Option<bool>, Option<&str>)> = line
        .paths
        .iter()
        .map(|path| {
            let why = gone_here(look, path);
            (path, if why.is_some() { Some(false) } else { there(look, path) }, why)
        })
        .collect();
    let Some((path, ..)) = states.iter().find(|(_, there, _)| *there == Some(true)) else {
        if states.iter().any(|(_, there, _)| there.is_none()) {
            return Verdict::Unknown { why: "the file was not looked at, or debugfs is not mounted".into() };
        }
        let why = states.iter().rev().find_map(|(_, _, why)| *why).unwrap_or("neither this kernel nor this machine has it");
        let paths: Vec<String> = states.iter().map(|(path, ..)| format!("/{path}")).collect();
        return Verdict::Dead { why: format!("no {}: {why}", paths.join(" and no ")) };
    };
    if let Some((_, _, why)) = IDLE.iter().find(|(idle, since, _)| idle == path && look.kernel().is_some_and(|kernel| kernel >= *since)) {
        return Verdict::NoEffect { why: (*why).to_owned() };
    }
    effect(look, path, &line.value)
}

fn gone_here(look: &Look, path: &str) -> Option<&'static str> {
    let kernel = look.kernel()?;
    GONE.iter().find(|gone| gone.path == path && kernel >= gone.since).map(|gone| gone.why)
}

fn there(look: &Look, path: &str) -> Option<bool> {
    let seen = look.facts.readings.any(path);
    let debugfs = path.starts_with("sys/kernel/debug/");
    // Where debugfs is not mounted, nothing below it is there and nothing follows from that.
    if debugfs && seen == Some(false) && look.facts.readings.any("sys/kernel/debug/sched/features") != Some(true) { None } else { seen }
}

fn effect(look: &Look, pattern: &str, value: &str) -> Verdict {
    let settings = look.settings(pattern);
    let upwards = value.starts_with('>');
    let value = value.trim_start_matches(['>', '<', '=']).trim();
    let differs = |now: &str| match (upwards, now.parse::<u64>(), value.parse::<u64>()) {
        (true, Ok(now), Ok(least)) => now < least,
        _ => now != value.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let changed: Vec<_> = settings.iter().filter(|setting| differs(&setting.now())).collect();
    if pattern == "proc/sys/vm/swappiness" && look.swap() == 0 {
        return Verdict::NoEffect { why: "this machine has no swap".into() };
    }
    if let Some(conflict) = conflict(look, &settings.iter().map(|setting| setting.path).collect::<Vec<_>>(), value) {
        return conflict;
    }
    match changed.first() {
        None if settings.is_empty() => Verdict::Unknown { why: "the file could not be read".into() },
        None => Verdict::NoEffect { why: format!("it is {value} already") },
        Some(setting) => Verdict::Changes { now: setting.now() },
    }
}

/// The rule for this role that would speak up if the value were there.
fn conflict(look: &Look, paths: &[&str], value: &str) -> Option<Verdict> {
    let mut facts = None;
    for rule in rules() {
        let Test::Knob(knob) = &rule.test else { continue };
        if !rule.roles.contains(&look.role) || !rule.needs.met(look) || !paths.iter().any(|path| fits(knob.path, path)) {
            continue;
        }
        let facts = facts.get_or_insert_with(|| {
            let mut facts = look.facts.clone();
            for path in paths {
                let choices = look.text(path).unwrap_or_default();
                let text = if choices.contains('[') { choose(choices, value) } else { value.to_owned() };
                facts.readings.insert(path, text);
            }
            facts
        });
        let after = Look::new(facts, look.role);
        if let Some((_, wanted)) = knob.wrong(&after).into_iter().find(|(setting, _)| paths.contains(&setting.path)) {
            return Some(Verdict::Conflict { rule: rule.id, wanted, why: rule.why });
        }
    }
    None
}

/// A list of choices with another one chosen.
fn choose(choices: &str, value: &str) -> String {
    let words = choices.split_whitespace().map(|word| word.trim_matches(['[', ']']));
    words.map(|word| if word == value { format!("[{word}]") } else { word.to_owned() }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
