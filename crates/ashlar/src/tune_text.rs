//! What `ashlar tune` tells people.

use crate::command::tune::{Plan, Planned, Told};
use crate::listing::counted;
use diagnosis::readiness::Parameter;
use host::tune::{State, Target, Write};
use machine::NodeFacts;
use std::fmt::Write as _;

/// Every write of a plan, files with one value of one rule together.
pub fn plan(facts: &NodeFacts, plan: &Plan) -> String {
    let name = facts.machine.hostname.trim();
    let mut out = format!(
        "{}role {}: {}\n",
        if name.is_empty() { String::new() } else { format!("{name} · ") },
        plan.role,
        counted(plan.writes.len() as u64, "write")
    );
    let mut rest: &[Planned] = &plan.writes;
    while let [first, ..] = rest {
        let same = |other: &&Planned| {
            other.change.rule == first.change.rule && other.change.old == first.change.old && other.change.new == first.change.new
        };
        let count = rest.iter().take_while(same).count();
        let change = &first.change;
        let more = if count > 1 { format!(" and {} like it", counted(count as u64 - 1, "file")) } else { String::new() };
        let _ = writeln!(out, "\n/{}{more}\n    {} → {}  [{}]", change.path, change.old, change.new, change.rule);
        let _ = writeln!(out, "    why    {}", change.why);
        let _ = writeln!(out, "    lasts  until a restart; with --boot by /{}", first.at_boot);
        let _ = writeln!(out, "    risk   {}", change.risk);
        for manager in &first.managers {
            let _ = writeln!(out, "    also   {manager}");
        }
        rest = &rest[count..];
    }
    out + &restart(&plan.restart)
}

/// What only the kernel command line can change.
pub fn restart(parameters: &[Parameter]) -> String {
    let mut out = String::new();
    for parameter in parameters {
        let verb = if parameter.add { "add to" } else { "take from" };
        let _ = writeln!(out, "\nneeds a restart, not written: {verb} the kernel command line: {}  [{}]", parameter.word, parameter.rule);
        let _ = writeln!(out, "    why    {}", parameter.why);
    }
    out
}

/// What was written, one line a value.
pub fn written(writes: &[Write]) -> String {
    let line = |write: &Write| match write.target {
        Target::Kernel => format!("/{}: {} → {}\n", write.path, said(write.old.as_deref()), said(write.new.as_deref())),
        Target::File => format!("/{}: written\n", write.path),
    };
    writes.iter().map(line).collect()
}

fn said(value: Option<&str>) -> &str {
    value.unwrap_or("not there")
}

pub fn status(all: &[Told]) -> String {
    if all.is_empty() {
        return "nothing was written yet\n".into();
    }
    let mut out = String::new();
    for one in all {
        let state = match one.state {
            State::Kept if one.restarted => "kept, before the last restart",
            State::Kept => "kept",
            State::Undone => "undone",
            State::Open | State::Undoing => "cut off",
        };
        let _ = writeln!(out, "{}  {}  {state}  {}", one.id, one.about, counted(one.writes.len() as u64, "value"));
        if one.state != State::Kept {
            continue;
        }
        for now in &one.writes {
            let path = &now.write.path;
            let _ = match (now.holds, now.write.target) {
                (true, Target::Kernel) => writeln!(out, "    /{path}: {}", said(now.now.as_deref())),
                (true, Target::File) => writeln!(out, "    /{path}: as written"),
                (false, Target::Kernel) => {
                    writeln!(out, "    /{path}: {}, was set to {}", said(now.now.as_deref()), said(now.write.new.as_deref()))
                }
                (false, Target::File) => writeln!(out, "    /{path}: changed since"),
            };
        }
    }
    out
}
