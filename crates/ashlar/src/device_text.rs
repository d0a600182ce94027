//! Accelerators in words: one row a device with its ladder, and one device in full.

use crate::picture::slices::{self, is_divided};
use machine::{Device, DeviceId, Health, LastSeen, Rung, StopKind, Telemetry};
use owo_colors::OwoColorize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How the text is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub colour: bool,
}

/// The whole list: a row a device, then the reasons. Devices in bus order, slices below their card.
pub fn list(devices: &[Device], figures: &BTreeMap<DeviceId, LastSeen>, style: Style) -> String {
    if devices.is_empty() {
        return "no accelerator is on the bus of this machine\n".into();
    }
    let rows: Vec<[String; COLUMNS]> = devices.iter().map(|device| row(device, figures.get(&device.id))).collect();
    let headings = ["DEVICE", "MODEL", "MEMORY", "ARCH", "NUMA", "NIC", "NOW", "BUS·DRIVER·NODE·LIBRARY·HEALTHY"].map(str::to_owned);
    let mut widths = [0; COLUMNS];
    for row in rows.iter().chain([&headings]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if rows.iter().all(|row| row[NOW].is_empty()) {
        widths[NOW] = 0;
    }
    let mut text = String::new();
    push(&mut text, &headings, &widths, "");
    for (device, cells) in devices.iter().zip(&rows) {
        push(&mut text, cells, &widths, &ladder(device, style));
    }
    let mut notes = String::new();
    if devices.iter().any(is_divided) {
        let _ = writeln!(notes, "{} {}", slices::SIGN, slices::LEGEND);
    }
    for (devices, stop) in reasons(devices) {
        let _ = writeln!(notes, "{}: {}", devices, clean(&stop.reason));
        if let Some(hint) = &stop.hint {
            let _ = writeln!(notes, "  {} {}", if style.colour { "hint:".cyan().to_string() } else { "hint:".into() }, clean(hint));
        }
    }
    if !notes.is_empty() {
        let _ = write!(text, "\n{notes}");
    }
    for (devices, facts) in unverified(devices) {
        let _ = writeln!(
            text,
            "\nunverified for {devices}: {facts}\n  nobody has confirmed this on such a card; tell us what yours does (docs/reference/support.md)"
        );
    }
    text
}

/// The CDI files that are installed, a line each, with what is wrong with them.
pub fn specs(installed: &[host::cdi::Installed], problems: &[String]) -> String {
    let mut text = String::new();
    for spec in installed {
        let count = if spec.devices.len() == 1 { "1 device".to_owned() } else { format!("{} devices", spec.devices.len()) };
        let wrong = if spec.problems.is_empty() { String::new() } else { format!(": {}", spec.problems.join("; ")) };
        let _ = writeln!(text, "CDI {}: {count} in /{}{}", clean(&spec.kind), clean(&spec.path), clean(&wrong));
    }
    for problem in problems {
        let _ = writeln!(text, "CDI {}", clean(problem));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// Text from drivers and libraries must not drive the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Columns of the list; the ladder is the last, what a device does now the one before.
const COLUMNS: usize = 8;
const NOW: usize = COLUMNS - 2;

/// A column without width is left out.
fn push(text: &mut String, cells: &[String; COLUMNS], widths: &[usize; COLUMNS], state: &str) {
    for (cell, width) in cells.iter().zip(widths).take(COLUMNS - 1).filter(|(_, width)| **width > 0) {
        let _ = write!(text, "{}{}  ", cell, " ".repeat(width - cell.chars().count()));
    }
    let last = if state.is_empty() { cells[COLUMNS - 1].as_str() } else { state };
    let _ = writeln!(text, "{}", last.trim_end());
}

/// Load, temperature and power, and how long ago where that is long.
fn gist(seen: &LastSeen) -> String {
    let figures = &seen.telemetry;
    let parts = [
        figures.busy_percent.map(|busy| format!("{busy} %")),
        figures.temperature_c.map(|degrees| format!("{degrees} °C")),
        figures.power_mw.map(|power| format!("{:.0} W", power as f64 / 1000.0)),
        Some(format!("({} ago)", age(seen))).filter(|_| seen.age_ms > STALE_MS),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A node looks once a second; what is older than this is worth a word.
const STALE_MS: u64 = 5000;

fn age(seen: &LastSeen) -> String {
    match seen.age_ms {
        short @ ..10_000 => format!("{}.{} s", short / 1000, short % 1000 / 100),
        long => format!("{} s", long / 1000),
    }
}

fn row(device: &Device, seen: Option<&LastSeen>) -> [String; COLUMNS] {
    let or_dash = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| clean(&text));
    let id = match &device.slice {
        Some(_) => format!("└ {}", clean(&device.id.0)),
        None => clean(&device.id.0),
    };
    [
        id,
        match &device.slice {
            Some(slice) => clean(&slice.name()),
            None => clean(&device.model),
        },
        or_dash(device.memory.map(|memory| memory.to_string())),
        or_dash(device.architecture.clone()),
        or_dash(device.numa.map(|numa| numa.to_string())),
        or_dash(device.nearest_nic.clone()),
        seen.map(gist).unwrap_or_default(),
        // As wide as the five signs and the word after them.
        format!("●●●●● {}{}", if is_divided(device) { "▣ " } else { "" }, word(device)),
    ]
}

/// The one word after the signs.
fn word(device: &Device) -> &'static str {
    let Some(stop) = &device.ladder.stop else {
        return match device.ladder.reached {
            Rung::Healthy => "healthy",
            Rung::Library => "answers",
            Rung::Node => "usable, no library asked",
            _ => "not looked at",
        };
    };
    match stop.kind {
        StopKind::Gone => "gone",
        StopKind::Dead => "dead",
        StopKind::UnknownVendor => "unknown vendor",
        StopKind::SetAside => "set aside",
        StopKind::WrongDriver => "wrong driver",
        StopKind::ModuleMissing
        | StopKind::ModuleBlacklisted
        | StopKind::ModuleUnsigned
        | StopKind::ModuleNotLoaded
        | StopKind::NotClaimed => "driver not bound",
        StopKind::NodeMissing => "node missing",
        StopKind::NodeDenied => "permission denied",
        StopKind::LibraryMissing => "usable, library missing",
        StopKind::LibraryError => "library error",
        StopKind::LibraryBlind => "lost",
        StopKind::ProbeHung => "probe hung",
        StopKind::ProbeCrashed => "probe crashed",
        StopKind::ProbeNonsense => "answers nonsense",
        StopKind::Divided => "divided",
        StopKind::Fault if stop.blocks => "faulty",
        StopKind::Fault => "degraded",
    }
}

/// Five signs and a word: `●` reached, `✗` what stops it, `!` a stop that is no obstacle to work, `○` not reached.
fn ladder(device: &Device, style: Style) -> String {
    let mut text = String::new();
    let mut stopped = false;
    let divided = is_divided(device);
    let blocks = device.ladder.stop.as_ref().is_some_and(|stop| stop.blocks);
    for rung in Rung::ALL {
        let reached = rung <= device.ladder.reached;
        // That it is divided stops nothing: nobody asked further.
        let stops = !reached && !stopped && device.ladder.stop.is_some() && !divided;
        stopped |= stops;
        let sign = match (reached, stops) {
            (true, _) => "●",
            (_, true) if blocks => "✗",
            (_, true) => "!",
            _ => "○",
        };
        text += &paint(
            sign,
            if reached {
                Tone::Good
            } else if stops && blocks {
                Tone::Bad
            } else if stops {
                Tone::Warn
            } else {
                Tone::Faint
            },
            style,
        );
    }
    let tone = match (&device.health, &device.ladder.stop) {
        (Health::Ready, None) => Tone::Good,
        (Health::Ready, Some(_)) => Tone::Warn,
        (_, Some(stop)) if stop.kind == StopKind::Divided => Tone::Faint,
        _ => Tone::Bad,
    };
    let sign = if divided { format!("{} ", paint(slices::SIGN, tone, style)) } else { String::new() };
    format!("{text} {sign}{}", paint(word(device), tone, style))
}

#[derive(Clone, Copy)]
enum Tone {
    Good,
    Warn,
    Bad,
    Faint,
}

fn paint(text: &str, tone: Tone, style: Style) -> String {
    if !style.colour {
        return text.into();
    }
    match tone {
        Tone::Good => text.green().to_string(),
        Tone::Warn => text.yellow().to_string(),
        Tone::Bad => text.red().to_string(),
        Tone::Faint => text.dimmed().to_string(),
    }
}

/// Each reason once, with all the devices that it stops.
fn reasons(devices: &[Device]) -> Vec<(String, &machine::Stop)> {
    let mut found: Vec<(Vec<&DeviceId>, &machine::Stop)> = Vec::new();
    for device in devices.iter().filter(|device| !is_divided(device)) {
        let Some(stop) = &device.ladder.stop else { continue };
        match found.iter_mut().find(|(_, known)| *known == stop) {
            Some((ids, _)) => ids.push(&device.id),
            None => found.push((vec![&device.id], stop)),
        }
    }
    found.into_iter().map(|(ids, stop)| (several(&ids), stop)).collect()
}

fn unverified(devices: &[Device]) -> Vec<(String, String)> {
    let mut found: Vec<(Vec<&DeviceId>, String)> = Vec::new();
    for device in devices.iter().filter(|device| !device.unverified.is_empty()) {
        let facts = device.unverified.join(", ");
        match found.iter_mut().find(|(_, known)| *known == facts) {
            Some((ids, _)) => ids.push(&device.id),
            None => found.push((vec![&device.id], facts)),
        }
    }
    found.into_iter().map(|(ids, facts)| (several(&ids), facts)).collect()
}

fn several(ids: &[&DeviceId]) -> String {
    match ids {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{}, {}, {} and {} more", clean(&first.0), clean(&second.0), clean(&third.0), rest.len())
        }
        _ => ids.iter().map(|id| clean(&id.0)).collect::<Vec<_>>().join(", "),
    }
}

/// One device in full.
pub fn full(device: &Device, all: &[Device], seen: Option<&LastSeen>, style: Style) -> String {
    let mut text = format!("{}  {}\n", clean(&device.id.0), ladder(device, style));
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(text, "  {name:<14} {}", clean(&value));
        }
    };
    line("model", Some(device.model.clone()));
    line("maker", Some(format!("{} ({}:{})", device.maker, device.vendor, device.index)).filter(|_| !device.maker.is_empty()));
    line("class", Some(device.class.name().into()));
    line("slice of", device.slice.as_ref().map(|slice| format!("{} ({})", slice.parent, slice.name())));
    let slices: Vec<String> = all
        .iter()
        .filter(|other| other.slice.as_ref().is_some_and(|slice| slice.parent == device.id))
        .map(|other| other.id.0.clone())
        .collect();
    line("slices", Some(slices.join(", ")));
    line("memory", device.memory.map(|memory| memory.to_string()));
    line("architecture", device.architecture.clone());
    line("PCI address", device.pci.map(|address| address.to_string()));
    line("NUMA node", device.numa.map(|numa| numa.to_string()));
    line("nearest NIC", device.nearest_nic.clone());
    line("driver", device.driver.clone());
    for node in &device.nodes {
        line("device node", Some(format!("{} ({}:{}){}", node.path, node.major, node.minor, if node.shared { ", shared" } else { "" })));
    }
    for link in &device.links {
        let to = link.to.as_ref().map_or("a switch", |to| to.0.as_str());
        let rate = link.mb_per_s.map_or_else(String::new, |rate| format!(", {} GB/s each way", rate / 1000));
        let down = if link.down > 0 { format!(", {} down", link.down) } else { String::new() };
        line(link.kind.name(), Some(format!("{} x{}{rate}{down}", to, link.lanes)));
    }
    line(
        "link domain",
        device
            .domain
            .as_ref()
            .map(|domain| format!("{} clique {}{}", domain.cluster, domain.clique, if domain.ready { "" } else { ", not joined yet" })),
    );
    if let Some(seen) = seen {
        now(&seen.telemetry, &mut line);
        line("looked at", Some(format!("{} ago", age(seen))).filter(|_| seen.age_ms > 0));
    }
    if let Some(stop) = &device.ladder.stop {
        line("stops at", Some(stop.reason.clone()));
        line("hint", stop.hint.clone());
    }
    line("unverified", Some(device.unverified.join(", ")));
    text
}

/// What it does at the moment.
fn now(seen: &Telemetry, line: &mut impl FnMut(&str, Option<String>)) {
    let watts = |milli: u64| format!("{:.1} W", milli as f64 / 1000.0);
    line("temperature", seen.temperature_c.map(|value| format!("{value} °C")));
    line("memory temp.", seen.memory_temperature_c.map(|value| format!("{value} °C")));
    line(
        "power",
        seen.power_mw.map(|value| watts(value) + &seen.power_limit_mw.map_or_else(String::new, |limit| format!(" of {}", watts(limit)))),
    );
    line("clock", seen.clock_mhz.map(|value| format!("{value} MHz")));
    line("memory clock", seen.memory_clock_mhz.map(|value| format!("{value} MHz")));
    line("busy", seen.busy_percent.map(|value| format!("{value} %")));
    line("memory busy", seen.memory_busy_percent.map(|value| format!("{value} %")));
    let total = seen.memory_total.map_or_else(String::new, |total| format!(" of {total}"));
    line("memory used", seen.memory_used.map(|used| format!("{used}{total}")));
    let errors = [("corrected", seen.ecc_corrected), ("uncorrected", seen.ecc_uncorrected)];
    let errors: Vec<String> = errors.iter().filter_map(|(name, count)| Some(format!("{} {name}", (*count)?))).collect();
    line("ECC errors", Some(errors.join(", ")));
    line(
        "PCIe link",
        seen.link.map(|link| {
            let speed = |mt: u32| format!("{:.1} GT/s", f64::from(mt) / 1000.0);
            let most = format!("{} x{}", speed(link.max_speed_mt), link.max_width);
            format!("{} x{} of {most}{}", speed(link.speed_mt), link.width, if link.is_narrow() { ": lanes are missing" } else { "" })
        }),
    );
    line("PCIe replays", seen.pcie_replays.map(|count| count.to_string()));
    line("held down by", Some(seen.throttled.join(", ")));
    line("complaints", Some(seen.complaints.join("; ")));
}

#[cfg(test)]
mod tests;
