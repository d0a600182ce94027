//! Whether a machine is ready for what it is there for.
//!
//! A [`Rule`] is data and one small pure function. It names the files it wants ([`Rule::reads`]); [`sources`] is the sum of
//! them, which `host::readiness` reads below a root. [`check`] turns facts into findings, and [`changes`] turns the same
//! rules into the writes that would put things right, so a value stands in one place. What cannot be read is unknown and
//! never a finding. A new rule is one entry in one of the lists under `rules`.

pub mod boot;
mod look;
pub mod managers;
mod rule;
mod rules;

#[cfg(test)]
mod tests;

pub use look::{Look, Setting};
pub use rule::{Claim, Keep, Knob, Needs, Role, Rule, Scope, Test};
pub use rules::all as rules;

use crate::{Finding, Severity};
use machine::{NodeFacts, Source};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Everything the rules want to read.
pub fn sources() -> BTreeSet<Source> {
    rules().flat_map(|rule| rule.sources()).collect()
}

/// The role that a machine has when nobody says: accelerators are there to train on; without them nothing is demanded that a
/// machine of any other use would not want too.
pub fn likely_role(facts: &NodeFacts) -> Role {
    if facts.machine.devices.is_empty() { Role::Control } else { Role::Train }
}

/// What came of looking at a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub role: Role,
    /// The worst first; of one severity in the order of the rules.
    pub findings: Vec<Finding>,
    /// Rules that looked, by name.
    pub checked: Vec<&'static str>,
    /// Rules that apply here and could not look, with what they wanted to read.
    pub unknown: Vec<Unknown>,
    /// Rules for other roles, for other hardware, or for what this kernel does not have.
    pub not_for_this: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    pub rule: &'static str,
    pub wanted: Vec<&'static str>,
}

impl Report {
    /// Findings that ask for something; notes do not.
    pub fn asks(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity > Severity::Info).count()
    }
}

/// Judges a machine by every rule for the role.
pub fn check(facts: &NodeFacts, role: Role) -> Report {
    let look = Look::new(facts, role);
    let mut report = Report { role, findings: vec![], checked: vec![], unknown: vec![], not_for_this: 0 };
    for rule in rules() {
        match rule.sight(&look) {
            Sight::NotForThis => report.not_for_this += 1,
            Sight::Blind => {
                report.unknown.push(Unknown { rule: rule.id, wanted: rule.sources().map(Source::path).collect() });
            }
            Sight::Clear => {
                report.checked.push(rule.id);
                report.findings.extend(rule.claims(&look).into_iter().map(|claim| finding(rule, &look, claim)));
            }
        }
    }
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report
}

/// Whether a rule can say anything of a machine.
pub(crate) enum Sight {
    Clear,
    Blind,
    NotForThis,
}

fn finding(rule: &Rule, look: &Look, claim: Claim) -> Finding {
    let elsewhere = rule.elsewhere(look);
    let hint = match (elsewhere, claim.command.as_deref().or(claim.hint.as_deref())) {
        (Some(place), Some(what)) => Some(format!("{place}: {what}")),
        (Some(place), None) => Some(place.to_owned()),
        (None, what) => what.map(str::to_owned),
    };
    Finding {
        id: rule.id.to_owned(),
        severity: claim.severity.unwrap_or(rule.severity),
        title: claim.title,
        detail: rule.why.to_owned(),
        evidence: claim.evidence,
        hint,
        source: rule.source.to_owned(),
        subject: Some(claim.subject),
        wanted: claim.wanted,
        cost: Some(rule.cost.to_owned()),
        command: claim.command.filter(|_| elsewhere.is_none()),
    }
}

/// A word of the kernel command line that should be there, or should not. It counts after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    pub rule: &'static str,
    pub word: &'static str,
    /// Whether it is to be added or taken away.
    pub add: bool,
    pub why: &'static str,
    pub source: &'static str,
}

/// What only the kernel command line can put right, of rules that ask for something.
pub fn parameters(facts: &NodeFacts, role: Role) -> Vec<Parameter> {
    let look = Look::new(facts, role);
    let mut found: Vec<Parameter> = vec![];
    for rule in rules().filter(|rule| matches!(rule.test, Test::Judge(_)) && rule.elsewhere(&look).is_none()) {
        if !matches!(rule.sight(&look), Sight::Clear) {
            continue;
        }
        for (word, add) in rule.claims(&look).iter().filter_map(|claim| claim.parameter) {
            if !found.iter().any(|one| one.word == word) {
                found.push(Parameter { rule: rule.id, word, add, why: rule.why, source: rule.source });
            }
        }
    }
    found
}

/// One write that would put something right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub rule: &'static str,
    /// Below the root, without a leading `/`.
    pub path: String,
    pub old: String,
    pub new: String,
    pub keep: Keep,
    /// What may go wrong.
    pub risk: &'static str,
    pub why: &'static str,
    pub source: &'static str,
}

/// What would be written to put right what [`check`] finds, of rules whose knob this kernel can write at once. Nothing is
/// planned for what only the owner of the hardware can change.
pub fn changes(facts: &NodeFacts, role: Role) -> Vec<Change> {
    let look = Look::new(facts, role);
    let mut found: BTreeMap<String, Change> = BTreeMap::new();
    let mut order = Vec::new();
    for rule in rules() {
        let (Test::Knob(knob), Sight::Clear) = (&rule.test, rule.sight(&look)) else { continue };
        // A note is no reason to write.
        if rule.elsewhere(&look).is_some() || rule.severity == Severity::Info {
            continue;
        }
        for (setting, new) in knob.wrong(&look) {
            let path = setting.path.to_owned();
            if found.contains_key(&path) {
                continue;
            }
            order.push(path.clone());
            found.insert(
                path.clone(),
                Change {
                    rule: rule.id,
                    path,
                    old: setting.now(),
                    new,
                    keep: knob.keep,
                    risk: knob.risk,
                    why: rule.why,
                    source: rule.source,
                },
            );
        }
    }
    order.into_iter().filter_map(|path| found.remove(&path)).collect()
}
