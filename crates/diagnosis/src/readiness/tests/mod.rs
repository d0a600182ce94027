//! Every rule is seen to fire and seen not to.

mod hardware;
mod network;
mod server;
mod software;

use super::*;
use server::{Case, server};
use std::collections::BTreeSet;

fn all() -> Vec<&'static Case> {
    [hardware::CASES, network::CASES, software::CASES].into_iter().flatten().collect()
}

fn found(rule: &str, role: Role, change: fn(&mut NodeFacts)) -> Vec<Finding> {
    let mut facts = server();
    change(&mut facts);
    check(&facts, role).findings.into_iter().filter(|finding| finding.id == rule).collect()
}

#[test]
fn every_rule_fires_and_every_rule_can_be_quiet() {
    let mut wrong = vec![];
    for case in all() {
        if found(case.rule, case.role, case.fires).is_empty() {
            wrong.push(format!("{} does not fire", case.rule));
        }
        for finding in found(case.rule, case.role, case.quiet) {
            wrong.push(format!("{} is not quiet: {}", case.rule, finding.title));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A rule that looks at nothing by mistake would be quiet too.
#[test]
fn a_quiet_rule_has_looked() {
    let mut blind = vec![];
    for case in all() {
        let mut facts = server();
        (case.quiet)(&mut facts);
        let report = check(&facts, case.role);
        if report.unknown.iter().any(|one| one.rule == case.rule) {
            blind.push(case.rule);
        }
    }
    assert!(blind.is_empty(), "{blind:?}");
}

#[test]
fn every_rule_has_a_case() {
    let tried: BTreeSet<&str> = all().iter().map(|case| case.rule).collect();
    let known: BTreeSet<&str> = rules().map(|rule| rule.id).collect();
    assert_eq!(known.difference(&tried).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(tried.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(known.len() >= 60, "{}", known.len());
}

#[test]
fn names_are_unique_and_every_text_is_there() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        assert!(seen.insert(rule.id), "{} is there twice", rule.id);
        for text in [rule.checks, rule.why, rule.cost, rule.source] {
            assert!(text.len() > 3 && !text.ends_with('.'), "{}: {text}", rule.id);
        }
        assert!(!rule.roles.is_empty(), "{}", rule.id);
        for source in rule.sources() {
            assert!(!source.path().starts_with('/'), "{}: {}", rule.id, source.path());
        }
    }
}

/// The evidence says where it was read, and whoever may act is told one thing to do.
#[test]
fn every_finding_can_be_acted_on() {
    for case in all() {
        for finding in found(case.rule, case.role, case.fires) {
            assert!(!finding.evidence.is_empty(), "{}: no evidence", case.rule);
            assert!(finding.command.is_some() || finding.hint.is_some(), "{}: nothing to do", case.rule);
            assert!(finding.subject.as_deref().is_some_and(|subject| !subject.is_empty()), "{}", case.rule);
        }
    }
}

#[test]
fn a_good_server_is_clean_in_every_role_and_an_unknown_one_too() {
    for role in Role::ALL {
        let findings = check(&server(), role).findings;
        assert!(findings.is_empty(), "{role}: {:?}", findings.iter().map(|finding| &finding.title).collect::<Vec<_>>());
        let report = check(&NodeFacts::default(), role);
        assert!(report.findings.is_empty(), "{role}: {:?}", report.findings);
        assert!(report.unknown.len() > 30);
    }
}

#[test]
fn what_could_not_be_read_is_unknown_and_no_finding() {
    let mut facts = server();
    facts.readings.refuse("proc/sys/vm/swappiness");
    facts.machine.facts.swap_bytes = 8 << 30;
    let report = check(&facts, Role::Train);
    assert!(report.findings.is_empty());
    let unknown: Vec<&str> = report.unknown.iter().map(|one| one.rule).collect();
    assert_eq!(unknown, ["memory.swappiness"]);
}

#[test]
fn guests_are_told_what_only_the_host_can_change() {
    let governor = |facts: &mut NodeFacts| {
        facts.readings.insert("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave");
        facts.readings.insert("proc/sys/vm/max_map_count", "65530");
    };
    let mut facts = server();
    governor(&mut facts);
    facts.machine.facts.virtualised = Some("KVM".into());
    let report = check(&facts, Role::Train);
    let of = |id: &str| report.findings.iter().find(|finding| finding.id == id).unwrap();
    let hint = of("cpu.governor").hint.clone().unwrap();
    assert!(hint.starts_with("only the host of this virtual machine can change it"), "{hint}");
    assert_eq!(of("cpu.governor").command, None);
    assert!(of("memory.map-count").command.is_some());
    assert_eq!(of("guest.virtual-machine").severity, Severity::Info);
    // What cannot be changed here is not planned.
    let paths = |facts: &NodeFacts| changes(facts, Role::Train).into_iter().map(|change| change.path).collect::<Vec<_>>();
    assert_eq!(paths(&facts), ["proc/sys/vm/max_map_count"]);
    facts.container = Some("Docker".into());
    assert_eq!(paths(&facts), Vec::<String>::new());
    let report = check(&facts, Role::Train);
    let map_count = report.findings.iter().find(|finding| finding.id == "memory.map-count").unwrap();
    assert_eq!(map_count.command, None);
    assert!(map_count.hint.as_ref().unwrap().starts_with("on the host, not in this container: sysctl -w"));
}

#[test]
fn files_of_one_knob_with_one_value_are_one_finding() {
    let mut facts = server();
    for policy in 0..16 {
        let governor = if policy == 3 { "schedutil" } else { "powersave" };
        facts.readings.insert(&format!("sys/devices/system/cpu/cpufreq/policy{policy}/scaling_governor"), governor);
    }
    let report = check(&facts, Role::Serve);
    let titles: Vec<&str> = report.findings.iter().map(|finding| finding.title.as_str()).collect();
    let [many, one] = titles[..] else { panic!("{titles:?}") };
    assert_eq!(many, "policy0/scaling_governor to policy15/scaling_governor (15 of 16) is powersave");
    assert_eq!(one, "policy3/scaling_governor is schedutil");
    assert_eq!(changes(&facts, Role::Serve).len(), 16);
    assert_eq!(report.asks(), 2);
}

#[test]
fn the_plan_is_what_the_findings_ask_for() {
    for case in all() {
        let mut facts = server();
        (case.fires)(&mut facts);
        let Some(rule) = rules().find(|rule| rule.id == case.rule) else { continue };
        let Test::Knob(_) = rule.test else { continue };
        let planned: Vec<Change> = changes(&facts, case.role).into_iter().filter(|change| change.rule == case.rule).collect();
        if rule.severity == Severity::Info {
            assert!(planned.is_empty(), "{}: a note is no reason to write", case.rule);
            continue;
        }
        assert!(!planned.is_empty(), "{}", case.rule);
        // Carried out, it is what the rule wants.
        for change in planned {
            assert_ne!(change.old, change.new);
            facts.readings.insert(&change.path, change.new);
        }
        let left = check(&facts, case.role).findings.into_iter().filter(|finding| finding.id == case.rule).count();
        assert_eq!(left, 0, "{}", case.rule);
    }
}

#[test]
fn what_needs_a_restart_is_told_by_itself() {
    let mut facts = server();
    facts.readings.forget("proc/pressure/cpu");
    facts.machine.facts.command_line = "quiet idle=poll mitigations=off".into();
    facts.readings.insert("proc/cmdline", "quiet idle=poll mitigations=off");
    facts.readings.insert("sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable");
    facts.readings.insert("sys/devices/system/cpu/vulnerabilities/l1tf", "Vulnerable");
    let found: Vec<(&str, bool)> = parameters(&facts, Role::Train).iter().map(|one| (one.word, one.add)).collect();
    assert_eq!(found, [("mitigations=off", false), ("psi=1", true), ("idle=poll", false)]);
    assert!(changes(&facts, Role::Train).is_empty());
    facts.container = Some("Docker".into());
    assert!(parameters(&facts, Role::Train).is_empty());
}

#[test]
fn the_likely_role_is_that_of_the_hardware() {
    assert_eq!(likely_role(&server()), Role::Train);
    assert_eq!(likely_role(&NodeFacts::default()), Role::Control);
}

#[test]
fn findings_are_told_worst_first() {
    let mut facts = server();
    facts.readings.insert("proc/sys/kernel/sched_autogroup_enabled", "1");
    facts.readings.insert("proc/sys/vm/max_map_count", "65530");
    facts.readings.insert("proc/sys/kernel/tainted", "128");
    let severities: Vec<Severity> = check(&facts, Role::Train).findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Warning, Severity::Info]);
}
