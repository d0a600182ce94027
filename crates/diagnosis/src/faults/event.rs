//! What one line says: a kind of fault, a place, and how bad the line itself says it is.

use super::catalogue::{Catalogue, Class, From, Trigger};
use super::codes;
use super::incident::Level;
use super::line::{Line, Speaker};
use super::place::{Place, pci};
use regex::{Captures, Regex};
use std::sync::LazyLock;

/// One line that tells of a fault.
pub(super) struct Event {
    pub kind: String,
    /// Of a new incident.
    pub usual: Level,
    /// What this line says, where it does.
    pub level: Option<Level>,
    pub many: Option<(u64, Level)>,
    pub title: String,
    pub place: Place,
    pub action: String,
    pub source: String,
    pub known: bool,
    pub quiet_at_start: bool,
    /// The kind of incident that the line itself names as the cause.
    pub caused_by: Option<String>,
}

/// The event that a line is, if it is one of this kind.
pub(super) fn read(catalogue: &Catalogue, trigger: Trigger, line: &Line<'_>) -> Option<Event> {
    match trigger {
        Trigger::Class(at) => class(&catalogue.classes[at], line),
        Trigger::Xid if line.speaker != Speaker::Program => xid(catalogue, line.text),
        Trigger::Sxid if line.speaker != Speaker::Program => sxid(catalogue, line.text),
        _ => None,
    }
}

fn class(class: &Class, line: &Line<'_>) -> Option<Event> {
    // What the kernel says is not believed from a program, and the other way round it does not come.
    let wrong = match class.from {
        From::Kernel => Speaker::Program,
        From::Program => Speaker::Kernel,
    };
    if line.speaker == wrong {
        return None;
    }
    let found = class.patterns.iter().find_map(|pattern| pattern.captures(line.text))?;
    let code = found.name("code").map(|code| format!(" ({})", code.as_str())).unwrap_or_default();
    Some(Event {
        kind: class.id.clone(),
        usual: class.level,
        level: None,
        many: class.many,
        title: format!("{}{code}", class.title),
        place: place(&found),
        action: class.action.clone(),
        source: class.source.clone(),
        known: true,
        quiet_at_start: class.boot,
        caused_by: None,
    })
}

fn place(found: &Captures<'_>) -> Place {
    type Make = fn(String) -> Place;
    let groups: [(&str, Make); 10] = [
        ("disk", Place::Disk),
        ("nic", Place::Link),
        ("npu", Place::Npu),
        ("device", Place::Device),
        ("mc", Place::MemoryController),
        ("server", Place::Server),
        ("cgroup", Place::Cgroup),
        ("rank", Place::Rank),
        ("cpu", Place::Cpu),
        ("comm", Place::Process),
    ];
    if let Some(address) = found.name("pci") {
        return Place::Pci(pci(address.as_str()));
    }
    let named = groups.iter().find_map(|(name, make)| found.name(name).map(|text| make(text.as_str().to_owned())));
    named.unwrap_or(Place::Machine)
}

/// `NVRM: Xid (PCI:0000:38:00 GPU-I:05 GPU-CI:00): 13, pid=.., text, caused by previous Xid 31`; older drivers write no
/// "PCI:".
static XID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?:^|\s|\])NVRM: (?:GPU at \S+ )?Xid \((?:PCI:)?(?P<pci>[0-9a-fA-F]+(?::[0-9a-fA-F]+)+(?:\.[0-7])?)(?: GPU-I:(?P<gi>\d+))?(?: GPU-CI:(?P<ci>\d+))?\): (?P<code>\d{1,6})\b(?P<rest>.*)",
    )
    .ok()
});

fn xid(catalogue: &Catalogue, text: &str) -> Option<Event> {
    let found = XID.as_ref()?.captures(text)?;
    let code: u32 = found["code"].parse().ok()?;
    let rest = &found["rest"];
    let mut address = pci(&found["pci"]);
    if let Some(instance) = found.name("gi") {
        address.push_str(&format!(" GI {}", instance.as_str().parse::<u32>().ok()?));
        if let Some(part) = found.name("ci") {
            address.push_str(&format!(" CI {}", part.as_str().parse::<u32>().ok()?));
        }
    }
    let said = xid_level(code, rest);
    let row = catalogue.xid.get(&code);
    let known = row.is_some_and(|row| row.known);
    let usual = said.or(row.map(|row| row.level)).unwrap_or(Level::Degraded);
    let what = row.filter(|row| row.known).map_or("no list says what it means", |row| &row.title);
    let action = match (said, row) {
        (None, Some(row)) if row.known => row.action.clone(),
        (Some(level), _) => codes::advice(level).to_owned(),
        _ => "unknown to every list we have: keep the line, watch the device, ask NVIDIA".to_owned(),
    };
    let caused_by = rest
        .split_once("caused by previous Xid ")
        .map(|(_, code)| code.chars().take_while(char::is_ascii_digit).collect::<String>())
        .map(|code| format!("nvidia.xid.{code}"));
    Some(Event {
        kind: format!("nvidia.xid.{code}"),
        usual,
        level: said,
        many: None,
        title: format!("Xid {code}: {what}"),
        place: Place::Pci(address),
        action,
        source: row.map_or_else(|| codes::XID_SOURCE.to_owned(), |row| row.source.clone()),
        known,
        quiet_at_start: false,
        caused_by,
    })
}

/// How bad a line says it is, for the codes whose text decides.
fn xid_level(code: u32, rest: &str) -> Option<Level> {
    match code {
        144..=150 if rest.contains("Nonfatal") || rest.contains("Non-fatal") => Some(Level::Degraded),
        144..=150 if rest.contains("Fatal") => Some(Level::DeviceReset),
        154 if rest.contains("Node Reboot Required") => Some(Level::NodeReboot),
        154 if rest.contains("Drain P2P") => Some(Level::NodeDrain),
        154 if rest.contains("Reset") => Some(Level::DeviceReset),
        154 if rest.contains("None") => Some(Level::Info),
        _ => None,
    }
}

/// `nvidia-nvswitch3: SXid (PCI:0000:86:00.0): 12028, Non-fatal, Link 61 egress ..`, and lines of the same code with
/// "Severity" and "Data".
static SXID: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"nvidia-nvswitch\d+: SXid \((?:PCI:)?(?P<pci>[0-9a-fA-F:.]+)\): (?P<code>\d{1,6})\b,?\s*(?P<rest>.*)").ok()
});

fn sxid(catalogue: &Catalogue, text: &str) -> Option<Event> {
    let found = SXID.as_ref()?.captures(text)?;
    let code: u32 = found["code"].parse().ok()?;
    let rest = &found["rest"];
    let row = catalogue.sxid.get(&code);
    let worst = row.map(|row| row.level).filter(|level| *level == Level::NodeReboot);
    let said = match rest.split(',').next().map(str::trim) {
        Some("Fatal") => Some(worst.unwrap_or(Level::DeviceReset)),
        Some("Non-fatal" | "Non-Fatal" | "Nonfatal") => Some(Level::Degraded),
        _ => None,
    };
    let usual = said.or(row.map(|row| row.level)).unwrap_or(Level::Degraded);
    Some(Event {
        kind: format!("nvidia.sxid.{code}"),
        usual,
        level: said,
        many: None,
        title: row.map_or_else(|| format!("SXid {code}: no list says what it means"), |row| format!("SXid {code}: {}", row.title)),
        place: Place::Pci(pci(&found["pci"])),
        action: match usual {
            Level::Degraded => "watch the switch".into(),
            Level::NodeReboot => "restart the machine".into(),
            _ => "end the work on the fabric and reset GPUs and switches".into(),
        },
        source: codes::SXID_SOURCE.into(),
        known: row.is_some(),
        quiet_at_start: false,
        caused_by: None,
    })
}
