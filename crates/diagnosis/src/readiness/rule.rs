//! What a rule is made of.

use super::Sight;
use super::look::{Look, Setting};
use crate::Severity;
use machine::{Source, Vendor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a machine is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Long jobs over all accelerators and machines: throughput, and no rank slower than the others.
    Train,
    /// Answers requests: the slowest of a hundred counts.
    Serve,
    /// Reads, prepares and stores what others train on.
    Data,
    /// Keeps the cluster together and runs no work of people.
    Control,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Train, Role::Serve, Role::Data, Role::Control];

    pub const fn name(self) -> &'static str {
        match self {
            Role::Train => "train",
            Role::Serve => "serve",
            Role::Data => "data",
            Role::Control => "control",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

pub const EVERY_ROLE: &[Role] = &Role::ALL;
pub const WORKERS: &[Role] = &[Role::Train, Role::Serve, Role::Data];
pub const ON_ACCELERATORS: &[Role] = &[Role::Train, Role::Serve];

/// The hardware a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Any,
    /// No hypervisor below.
    Physical,
    /// More than one memory node with CPUs.
    Numa,
    Accelerators,
    /// Accelerators of one vendor.
    Of(Vendor),
    /// An accelerator and an RDMA port.
    AcceleratorsAndRdma,
    /// A port that is up and runs at this many megabits a second or more.
    Port(u32),
    /// Memory of this many gibibytes or more.
    Memory(u64),
}

impl Needs {
    pub fn met(self, look: &Look) -> bool {
        match self {
            Needs::Any => true,
            Needs::Physical => look.facts.machine.facts.virtualised.is_none(),
            Needs::Numa => look.nodes_with_cpus() > 1,
            Needs::Accelerators => look.accelerators().next().is_some(),
            Needs::Of(vendor) => look.accelerators().any(|device| device.vendor == vendor),
            Needs::AcceleratorsAndRdma => look.accelerators().next().is_some() && look.has_rdma(),
            Needs::Port(least) => look.fastest_port() >= u64::from(least),
            Needs::Memory(gibibytes) => look.facts.machine.memory.0 >= gibibytes << 30,
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Needs::Any => f.write_str("any"),
            Needs::Physical => f.write_str("no virtual machine"),
            Needs::Numa => f.write_str("several memory nodes"),
            Needs::Accelerators => f.write_str("accelerators"),
            Needs::Of(vendor) => write!(f, "accelerators of {vendor}"),
            Needs::AcceleratorsAndRdma => f.write_str("accelerators and RDMA"),
            Needs::Port(mbps) => write!(f, "a port of {} Gb/s", mbps / 1000),
            Needs::Memory(gibibytes) => write!(f, "{gibibytes} GiB of memory"),
        }
    }
}

/// Who can change what a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Root of the running kernel; not from within a container.
    Kernel,
    /// The owner of the hardware; in a virtual machine that is the host.
    Hardware,
    /// Whoever installs software, in a container too.
    Software,
}

/// What may be done about a value so that it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// By a file in `/etc/sysctl.d`.
    Sysctl,
    /// By a file in `/etc/tmpfiles.d`.
    Tmpfiles,
}

/// A file of the kernel with a value that can be written.
pub struct Knob {
    /// Pattern of its path.
    pub path: &'static str,
    /// What should be there; `None` when what is there will do.
    pub want: fn(&Look, &Setting) -> Option<String>,
    pub keep: Keep,
    /// What may go wrong when it is written.
    pub risk: &'static str,
}

impl Knob {
    /// Every file of this knob whose value should be another one.
    pub fn wrong<'l>(&self, look: &Look<'l>) -> Vec<(Setting<'l>, String)> {
        let all = look.settings(self.path);
        all.into_iter()
            .filter_map(|setting| (self.want)(look, &setting).map(|new| (setting, new)))
            .filter(|(setting, new)| setting.now() != *new)
            .collect()
    }
}

pub enum Test {
    /// Looks at whatever it wants.
    Judge(fn(&Look) -> Vec<Claim>),
    Knob(Knob),
}

/// One thing that a rule says of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub subject: String,
    pub title: String,
    pub wanted: Option<String>,
    pub evidence: Vec<String>,
    pub command: Option<String>,
    /// What to do, where no single command does it.
    pub hint: Option<String>,
    /// A word of the kernel command line that would do it, and whether it is to be added or taken away.
    pub parameter: Option<(&'static str, bool)>,
    /// Where it is not the rule's own.
    pub severity: Option<Severity>,
}

impl Claim {
    pub fn new(subject: impl Into<String>, title: impl Into<String>) -> Claim {
        Claim { subject: subject.into(), title: title.into(), ..Claim::default() }
    }

    pub fn wanted(self, wanted: impl Into<String>) -> Claim {
        Claim { wanted: Some(wanted.into()), ..self }
    }

    /// What was read, and where.
    pub fn seen(mut self, path: &str, text: impl fmt::Display) -> Claim {
        self.evidence.push(format!("/{path}: {}", text.to_string().trim()));
        self
    }

    /// What was read, in words that begin with the path, without its leading `/`.
    pub fn read(self, text: impl Into<String>) -> Claim {
        self.because(format!("/{}", text.into()))
    }

    /// What was seen otherwise than in one file.
    pub fn because(mut self, text: impl Into<String>) -> Claim {
        self.evidence.push(text.into());
        self
    }

    pub fn command(self, command: impl Into<String>) -> Claim {
        Claim { command: Some(command.into()), ..self }
    }

    pub fn hint(self, hint: impl Into<String>) -> Claim {
        Claim { hint: Some(hint.into()), ..self }
    }

    /// A word to be added to the kernel command line.
    pub fn add_parameter(self, word: &'static str) -> Claim {
        Claim { parameter: Some((word, true)), ..self }
    }

    /// A word to be taken from the kernel command line.
    pub fn drop_parameter(self, word: &'static str) -> Claim {
        Claim { parameter: Some((word, false)), ..self }
    }

    pub fn severity(self, severity: Severity) -> Claim {
        Claim { severity: Some(severity), ..self }
    }
}

/// One thing that should be so on machines of some roles.
pub struct Rule {
    /// Stable: scripts and silences refer to it.
    pub id: &'static str,
    /// What should be so, in a few words.
    pub checks: &'static str,
    pub severity: Severity,
    pub roles: &'static [Role],
    pub needs: Needs,
    pub scope: Scope,
    /// Files it looks at besides a knob's own.
    pub reads: &'static [Source],
    pub why: &'static str,
    /// What it costs to ignore.
    pub cost: &'static str,
    pub source: &'static str,
    pub test: Test,
}

impl Rule {
    /// Every file it looks at.
    pub fn sources(&self) -> impl Iterator<Item = Source> + '_ {
        let knob = match &self.test {
            Test::Knob(knob) => Some(Source::Text(knob.path)),
            Test::Judge(_) => None,
        };
        knob.into_iter().chain(self.reads.iter().copied())
    }

    pub(crate) fn sight(&self, look: &Look) -> Sight {
        if !self.roles.contains(&look.role) || !self.needs.met(look) {
            return Sight::NotForThis;
        }
        // Rules that look at what discovery found need no file.
        let mut sources = self.sources().peekable();
        if sources.peek().is_none() {
            return Sight::Clear;
        }
        let states: Vec<Option<bool>> = self.sources().map(|source| look.facts.readings.any(source.path())).collect();
        // The knob itself, or the first file, decides; the others are circumstances.
        match (&self.test, states.first().copied().flatten()) {
            (Test::Knob(knob), Some(true)) if look.settings(knob.path).is_empty() => Sight::Blind,
            (Test::Knob(_), Some(false)) => Sight::NotForThis,
            (Test::Knob(_), None) => Sight::Blind,
            (Test::Judge(_), _) if states.iter().all(Option::is_none) => Sight::Blind,
            _ => Sight::Clear,
        }
    }

    pub(crate) fn claims(&self, look: &Look) -> Vec<Claim> {
        match &self.test {
            Test::Judge(judge) => judge(look),
            Test::Knob(knob) => knob_claims(knob, look),
        }
    }

    /// Who has to act, where it is not the reader.
    pub(crate) fn elsewhere(&self, look: &Look) -> Option<&'static str> {
        let facts = look.facts;
        match self.scope {
            Scope::Hardware if facts.machine.facts.virtualised.is_some() => Some("only the host of this virtual machine can change it"),
            Scope::Hardware | Scope::Kernel if facts.container.is_some() => Some("on the host, not in this container"),
            _ => None,
        }
    }
}

/// Files of one knob with the same value are one claim.
fn knob_claims(knob: &Knob, look: &Look) -> Vec<Claim> {
    let mut groups: Vec<(String, String, Vec<Setting>)> = vec![];
    for (setting, new) in knob.wrong(look) {
        match groups.iter_mut().find(|(old, wanted, _)| *old == setting.now() && *wanted == new) {
            Some((_, _, same)) => same.push(setting),
            None => groups.push((setting.now(), new, vec![setting])),
        }
    }
    let all = look.settings(knob.path).len();
    groups.into_iter().map(|(old, new, same)| knob_claim(knob, all, &old, &new, &same)).collect()
}

fn knob_claim(knob: &Knob, all: usize, old: &str, new: &str, same: &[Setting]) -> Claim {
    let subject = match same {
        [one] => one.name(),
        [first, .., last] => format!("{} to {} ({} of {all})", first.name(), last.name(), same.len()),
        [] => String::new(),
    };
    let command = match (same, knob.path.strip_prefix("proc/sys/")) {
        ([one], Some(_)) => format!("sysctl -w {}='{new}'", one.name()),
        ([one], None) => format!("echo {new} > /{}", one.path),
        (several, _) if several.len() == all => format!("echo {new} | tee /{}", knob.path),
        (several, _) => {
            let paths: Vec<String> = several.iter().map(|setting| format!("/{}", setting.path)).collect();
            format!("echo {new} | tee {}", paths.join(" "))
        }
    };
    let mut claim = Claim::new(subject.clone(), format!("{subject} is {old}")).wanted(new).command(command);
    const SHOWN: usize = 4;
    for setting in same.iter().take(SHOWN) {
        claim = claim.seen(setting.path, setting.value);
    }
    if same.len() > SHOWN {
        claim = claim.because(format!("and {} more", same.len() - SHOWN));
    }
    claim
}
