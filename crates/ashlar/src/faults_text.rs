//! What `ashlar faults` tells people.

use crate::listing::counted;
use diagnosis::faults::{Confidence, Explanation, Incident, Level, Report, State};
use std::fmt::Write;

/// All incidents, worst first; those that are only worth knowing on one line each.
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    let (mut bad, quiet): (Vec<&Incident>, Vec<&Incident>) = report.incidents.iter().partition(|incident| incident.level > Level::Info);
    bad.sort_by_key(|incident| (std::cmp::Reverse(incident.level), incident.id));
    let _ = writeln!(
        text,
        "{} above info, {} info; {} read",
        counted(bad.len() as u64, "incident"),
        quiet.len(),
        counted(report.lines, "line")
    );
    if report.forged > 0 {
        let _ = writeln!(text, "not believed: {} that programs wrote into the kernel's log", counted(report.forged, "line"));
    }
    if report.dropped > 0 {
        let _ = writeln!(text, "no room for {} of further incidents", counted(report.dropped, "line"));
    }
    for incident in bad {
        text.push('\n');
        one(&mut text, incident);
    }
    if !quiet.is_empty() {
        text.push_str("\ninfo\n");
    }
    for incident in quiet {
        let _ = writeln!(
            text,
            "#{} {}: {}{}, {}",
            incident.id,
            incident.place,
            clean(&incident.title),
            links(incident),
            counted(incident.count, "line")
        );
    }
    text
}

fn one(text: &mut String, incident: &Incident) {
    let over = if incident.state == State::Cancelled { ", over" } else { "" };
    let _ = writeln!(text, "#{} {} {}: {}{over}", incident.id, incident.level, incident.place, clean(&incident.title));
    let when = match (incident.since, incident.until) {
        (Some(since), Some(until)) if since != until => format!("{since} to {until}, "),
        (Some(since), _) => format!("{since}, "),
        _ => String::new(),
    };
    let _ = writeln!(text, "   {when}{}{}", counted(incident.count, "line"), links(incident));
    for evidence in &incident.evidence {
        let _ = writeln!(text, "   line {}: {}", evidence.line, clean(&evidence.text));
    }
    let _ = writeln!(text, "   do: {}", incident.action);
    let sure = match incident.confidence {
        Confidence::High => "said by the kernel",
        Confidence::Medium => "the log does not tell who wrote it",
        Confidence::Low => "not sure",
    };
    let _ = writeln!(text, "   {}, {sure}; {}", incident.kind, incident.source);
}

/// What it follows from and what follows from it.
fn links(incident: &Incident) -> String {
    let mut text = incident.cause.map_or_else(String::new, |cause| format!("; follows from #{cause}"));
    if !incident.consequences.is_empty() {
        let ids: Vec<String> = incident.consequences.iter().take(8).map(|id| format!("#{id}")).collect();
        let more = incident.consequences.len().saturating_sub(8);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = write!(text, "; led to {}{more}", ids.join(", "));
    }
    text
}

/// A log may hold anything; a terminal gets letters only.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

pub fn explanation(told: &Explanation) -> String {
    let mut text = format!("{}: {}\n", told.kind, told.title);
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    if let Some(name) = &told.name {
        row("name", name);
    }
    row("level", if told.known { told.level.name() } else { "degraded, by caution: no list knows it" });
    row("do", &told.action);
    for opinion in &told.opinions {
        row("says", &format!("{}: {}", opinion.who, opinion.says));
    }
    if !told.causes.is_empty() {
        row("after", &told.causes.join(", "));
    }
    if !told.effects.is_empty() {
        row("before", &told.effects.join(", "));
    }
    row("source", &told.source);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use diagnosis::faults::{Catalogue, Limits, Stream, explain};

    fn read(log: &str) -> String {
        let catalogue = Catalogue::built_in().unwrap();
        let mut stream = Stream::new(&catalogue, Limits::default());
        stream.push(log.as_bytes());
        report(&stream.finish())
    }

    #[test]
    fn incidents_are_told_with_cause_evidence_and_advice() {
        let log = "[   20.000100] pcieport 0000:16:01.0: pciehp: Slot(4): Link Down\n\
                   [   20.400100] NVRM: Xid (PCI:0000:18:00): 79, pid=4242, name=python, GPU has fallen off the bus.\n\
                   [   20.400200] NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.\n\
                   [   21.000000] nvidia-peermem nv_get_p2p_free_callback:127 ERROR detected invalid context, skipping further processing\n\
                   [   22.000000] evil[7]: NVRM: Xid (PCI:0000:18:00): 48, pid=1\u{1b}[31m\n";
        insta::assert_snapshot!(read(log));
    }

    #[test]
    fn a_log_without_faults_is_one_line() {
        assert_eq!(read("[    0.000000] Linux version 6.12.0\n"), "0 incidents above info, 0 info; 1 line read\n");
    }

    #[test]
    fn a_code_is_told_with_all_opinions() {
        let catalogue = Catalogue::built_in().unwrap();
        let told = ["Xid 79", "Xid 999", "0x81078603"].map(|code| explanation(&explain(&catalogue, code).unwrap()));
        insta::assert_snapshot!(told.join("\n"));
    }
}
