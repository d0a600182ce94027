//! What `ashlar doctor` tells people.

use diagnosis::profile::{Judged, Verdict};
use diagnosis::readiness::{self, Report, Role, Rule, Scope, Test};
use diagnosis::{Finding, Severity};
use machine::NodeFacts;
use owo_colors::OwoColorize;
use std::fmt::Write;

#[derive(Clone, Copy)]
pub struct Style {
    pub colour: bool,
    /// Columns.
    pub width: usize,
    /// One line a finding.
    pub brief: bool,
}

/// The whole answer.
pub fn report(facts: &NodeFacts, report: &Report, style: Style) -> String {
    let mut out = format!("{}\n", heading(facts, report.role));
    for finding in &report.findings {
        match style.brief {
            true => out += &format!("{} {}  {}\n", mark(finding.severity, style), short(finding), finding.id),
            false => whole(&mut out, finding, style),
        }
    }
    if !report.findings.is_empty() {
        out.push('\n');
    }
    out + &closing(report)
}

fn heading(facts: &NodeFacts, role: Role) -> String {
    let machine = &facts.machine;
    let mut parts = vec![machine.hostname.clone(), machine.product.clone(), format!("kernel {}", machine.facts.kernel)];
    if let Some(hypervisor) = &machine.facts.virtualised {
        parts.push(format!("virtual machine ({hypervisor})"));
    }
    if let Some(container) = &facts.container {
        parts.push(format!("container ({container})"));
    }
    parts.push(format!("role {role}"));
    parts.retain(|part| !part.trim().is_empty() && part != "kernel ");
    parts.join(" · ")
}

fn short(finding: &Finding) -> String {
    match &finding.wanted {
        Some(wanted) => format!("{}, should be {wanted}", finding.title),
        None => finding.title.clone(),
    }
}

fn mark(severity: Severity, style: Style) -> String {
    let word = match severity {
        Severity::Info => "note    ".to_owned(),
        other => format!("{other:<8}"),
    };
    if !style.colour {
        return word;
    }
    match severity {
        Severity::Info => word.dimmed().to_string(),
        Severity::Warning => word.yellow().to_string(),
        Severity::Error | Severity::Critical => word.red().bold().to_string(),
    }
}

fn whole(out: &mut String, finding: &Finding, style: Style) {
    let _ = write!(out, "\n{} {}  [{}]\n", mark(finding.severity, style), short(finding), finding.id);
    let mut line = |label: &str, text: &str| {
        let width = style.width.saturating_sub(18).max(40);
        for (at, part) in wrapped(text, width).into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            let _ = writeln!(out, "         {label:<8} {part}");
        }
    };
    for evidence in &finding.evidence {
        line("read", evidence);
    }
    line("why", &finding.detail);
    if let Some(cost) = &finding.cost {
        line("costs", cost);
    }
    if let Some(hint) = &finding.hint {
        line("do", hint);
    }
    line("source", &finding.source);
}

/// Text broken between words; a word longer than the line stays whole, so that paths and commands can be copied.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let long = lines[last].chars().count() + 1 + word.chars().count() > width;
        if lines[last].is_empty() {
            lines[last].push_str(word);
        } else if long {
            lines.push(word.to_owned());
        } else {
            lines[last].push(' ');
            lines[last].push_str(word);
        }
    }
    lines
}

fn closing(report: &Report) -> String {
    let count = |wanted: fn(Severity) -> bool| report.findings.iter().filter(|finding| wanted(finding.severity)).count() as u64;
    let (errors, warnings) = (count(|severity| severity >= Severity::Error), count(|severity| severity == Severity::Warning));
    let notes = count(|severity| severity == Severity::Info);
    let said = crate::listing::counted;
    let mut out = format!(
        "{}, {}, {}; {} looked, {} could not, {} are for other machines or roles\n",
        said(errors, "error"),
        said(warnings, "warning"),
        said(notes, "note"),
        said(report.checked.len() as u64, "rule"),
        report.unknown.len(),
        report.not_for_this,
    );
    if !report.unknown.is_empty() {
        const SHOWN: usize = 8;
        let names: Vec<&str> = report.unknown.iter().take(SHOWN).map(|one| one.rule).collect();
        let more = report.unknown.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(", and {more} more (--json lists them)") } else { String::new() };
        out += &format!("unknown here: {}{more}\n", names.join(", "));
    }
    out
}

/// What each line of a profile would do, those that ask for a look first.
pub fn against(name: &str, role: Role, judged: &[Judged], unjudged: usize) -> String {
    let mut out = format!("{name} · role {role}\n");
    type Is = fn(&Verdict) -> bool;
    let kinds: [(&str, Is); 6] = [
        ("dead: no such file here", |verdict| matches!(verdict, Verdict::Dead { .. })),
        ("against the role", |verdict| matches!(verdict, Verdict::Conflict { .. })),
        ("overridden by a later line", |verdict| matches!(verdict, Verdict::Overridden { .. })),
        ("no effect", |verdict| matches!(verdict, Verdict::NoEffect { .. })),
        ("would change", |verdict| matches!(verdict, Verdict::Changes { .. })),
        ("not known here", |verdict| matches!(verdict, Verdict::Unknown { .. })),
    ];
    let mut counts = vec![];
    for (title, is) in kinds {
        let own: Vec<&Judged> = judged.iter().filter(|one| is(&one.verdict)).collect();
        counts.push(format!("{} {}", own.len(), title.split(':').next().unwrap_or(title)));
        if own.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{title}");
        for one in own {
            let line = &one.line;
            let _ = writeln!(out, "  {}:{}  {} = {}", line.file, line.number, line.key, line.value);
            let _ = writeln!(out, "      {}", said(&one.verdict));
        }
    }
    let _ = writeln!(out, "\n{}; {unjudged} lines are about other things than files of the kernel", counts.join(", "));
    out
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Dead { why } | Verdict::NoEffect { why } | Verdict::Unknown { why } => why.clone(),
        Verdict::Conflict { rule, wanted, why } => format!("should be {wanted} [{rule}]: {why}"),
        Verdict::Overridden { file, number } => format!("{file}:{number} sets it to something else"),
        Verdict::Changes { now } => format!("is {now} now"),
    }
}

/// The list of all rules, or of those for one role.
pub fn rules(role: Option<Role>) -> String {
    let mut out = String::new();
    for rule in chosen(role) {
        let roles: Vec<&str> = rule.roles.iter().map(|role| role.name()).collect();
        let _ = writeln!(out, "{:<34} {:<8} {}  [{}; {}]", rule.id, rule.severity, rule.checks, roles.join(", "), rule.needs);
    }
    out
}

pub fn rules_json(role: Option<Role>) -> serde_json::Value {
    chosen(role)
        .map(|rule| {
            serde_json::json!({
                "id": rule.id,
                "checks": rule.checks,
                "severity": rule.severity,
                "roles": rule.roles,
                "hardware": rule.needs.to_string(),
                "changed_by": changed_by(rule),
                "reads": rule.sources().map(|source| source.path()).collect::<Vec<_>>(),
                "why": rule.why,
                "cost": rule.cost,
                "source": rule.source,
                "knob": matches!(rule.test, Test::Knob(_)),
            })
        })
        .collect()
}

/// Who can put it right.
pub fn changed_by(rule: &Rule) -> &'static str {
    match rule.scope {
        Scope::Kernel => "root of the kernel",
        Scope::Hardware => "owner of the hardware",
        Scope::Software => "anybody who installs software",
    }
}

fn chosen(role: Option<Role>) -> impl Iterator<Item = &'static Rule> {
    readiness::rules().filter(move |rule| role.is_none_or(|role| rule.roles.contains(&role)))
}
