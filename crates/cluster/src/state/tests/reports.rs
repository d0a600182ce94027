//! What is believed of a report.

use super::{Desk, lost, said};
use crate::world::sample;
use crate::{Command, JobState, Refusal, RunState};
use machine::Bytes;
use spec::{EndCause, JobId, RankReport, RankState, Report, RunId, RunPhase, RunReport, Span, StageTime, Time, Usage};

fn started() -> (Desk, JobId, RunId) {
    let mut desk = Desk::new();
    let mut spec = sample::spec("gang");
    spec.ranks = 2;
    let id = desk.submit(spec);
    let _ = desk.start(&[id]);
    let run = desk.run_of(id);
    (desk, id, run)
}

fn observe(generation: u64, runs: Vec<RunReport>) -> Command {
    Command::Observe { report: Report { machine: "m0".into(), generation, runs }, at: Time(2_000_000) }
}

#[test]
fn a_run_missing_from_a_newer_report_is_lost() {
    let (mut desk, id, _) = started();
    assert!(!desk.apply(observe(0, vec![])).changed, "that report was made before the order arrived");
    assert_eq!(desk.state_of(id), JobState::Starting);
    let effects = desk.apply(observe(1, vec![]));
    assert_eq!(effects.ended[0].outcome.as_deref(), Some("was lost: its node does not know it any more"));
    assert_eq!(effects.ended[0].exit_code, Some(125));
}

#[test]
fn a_node_that_is_ahead_of_us_is_overtaken() {
    let (mut desk, id, _) = started();
    let effects = desk.apply(observe(500, vec![]));
    assert_eq!(desk.state_of(id), JobState::Starting, "it never saw our order, so it cannot have lost the run");
    assert!(effects.changed_machines.contains("m0"));
    assert_eq!(desk.state.assignment("m0").generation, 501);
    assert!(!desk.apply(observe(500, vec![])).changed, "now it is behind us, and our order is told again");
    assert!(matches!(desk.refused(observe(u64::MAX, vec![])), Refusal::Inconsistent(_)));
    assert!(desk.apply(observe(u64::MAX - 1, vec![])).changed, "and nothing overflows");
    assert_eq!(desk.state_of(id), JobState::Starting);
    assert_eq!(desk.apply(observe(501, vec![])).ended.len(), 0);
}

#[test]
fn phases_only_go_forward() {
    let (mut desk, id, run) = started();
    for (phase, state) in [
        (RunPhase::Running, JobState::Running),
        (RunPhase::Starting, JobState::Running),
        (RunPhase::Stopping, JobState::Stopping),
        (RunPhase::Running, JobState::Stopping),
    ] {
        let _ = desk.report(&[(run, phase.clone())]);
        assert_eq!(desk.state_of(id), state, "after {phase:?}");
    }
}

#[test]
fn the_same_report_twice_changes_nothing() {
    let (mut desk, id, run) = started();
    let mut report = said(run, RunPhase::Running);
    report.started = Some(Time(1_000_500));
    report.stages = vec![StageTime { stage: "container".into(), began: Time(1), took: Some(Span(2)) }];
    report.ranks = (0..3).map(|rank| RankReport { rank, state: RankState::Running, pid: Some(7) }).collect();
    let whole = Report { machine: "m0".into(), generation: 1, runs: vec![report.clone()] };
    assert!(desk.state.would_change(&whole));
    assert!(desk.apply(observe(1, vec![report.clone()])).changed);
    assert!(!desk.state.would_change(&whole));
    assert!(!desk.apply(observe(1, vec![report.clone()])).changed);
    assert_eq!(desk.job(id).started, Some(Time(1_000_500)));
    assert_eq!(desk.job(id).runs[0].ranks.len(), 2, "a rank that was not granted is not believed");

    let ended = said(run, RunPhase::Ended(EndCause::Success));
    assert!(desk.apply(observe(1, vec![ended.clone()])).changed);
    assert!(!desk.apply(observe(1, vec![ended])).changed, "a run that has ended for us is no news");
}

#[test]
fn details_are_merged_whatever_order_they_come_in() {
    let (mut desk, id, run) = started();
    let rank = |rank, state, pid| RankReport { rank, state, pid };
    let mut newer = said(run, RunPhase::Running);
    newer.ranks = vec![rank(0, RankState::Exited { code: 0 }, None), rank(1, RankState::Running, Some(12))];
    newer.stages = vec![StageTime { stage: "container".into(), began: Time(1), took: Some(Span(2)) }];
    let mut older = said(run, RunPhase::Running);
    older.ranks = vec![rank(0, RankState::Running, Some(11)), rank(1, RankState::Running, None)];
    older.stages = vec![StageTime { stage: "container".into(), began: Time(1), took: None }];
    let _ = desk.apply(observe(1, vec![newer.clone()]));
    assert!(!desk.apply(observe(1, vec![older])).changed);
    assert_eq!(desk.job(id).runs[0].ranks, newer.ranks);
}

#[test]
fn figures_are_taken_at_the_end_only() {
    let (mut desk, _, run) = started();
    let usage = Some(Usage { memory_peak: Some(Bytes(5)), cpu_time: None, output: Bytes(1) });
    let _ = desk.report(&[(run, RunPhase::Running)]);
    assert!(!desk.apply(observe(1, vec![RunReport { usage, ..said(run, RunPhase::Running) }])).changed);
    let end = RunReport { usage, ended: Some(Time(1_000_077)), ..said(run, RunPhase::Ended(EndCause::Success)) };
    let effects = desk.apply(observe(1, vec![end]));
    assert_eq!((effects.ended[0].runs[0].usage, effects.ended[0].ended), (usage, Some(Time(1_000_077))));
}

#[test]
fn strangers_are_not_believed() {
    let (mut desk, id, run) = started();
    let stranger = RunId { job: JobId::new(99), attempt: 1 };
    let later = RunId { attempt: 2, ..run };
    for other in [stranger, later] {
        let runs = vec![said(other, RunPhase::Ended(lost())), said(run, RunPhase::Starting)];
        assert!(!desk.apply(observe(1, runs)).changed, "{other}");
    }
    let elsewhere = Report { machine: "m7".into(), generation: 1, runs: vec![said(run, RunPhase::Ended(lost()))] };
    assert!(!desk.state.would_change(&elsewhere));
    assert!(matches!(desk.refused(Command::Observe { report: elsewhere, at: Time(1) }), Refusal::Inconsistent(_)));
    let joins = Command::Join { machine: std::sync::Arc::new(sample::machine("m7", 2, 0, Bytes::gib(1))), at: Time(1) };
    let _ = desk.apply(joins);
    let report = Report { machine: "m7".into(), generation: 0, runs: vec![said(run, RunPhase::Ended(lost()))] };
    assert!(!desk.apply(Command::Observe { report, at: Time(1) }).changed, "the run is on another machine");
    assert_eq!(desk.job(id).runs[0].state, RunState::Starting);
}

#[test]
fn one_run_told_twice_in_a_report_is_merged() {
    let (mut desk, id, run) = started();
    let _ = desk.apply(observe(1, vec![said(run, RunPhase::Stopping), said(run, RunPhase::Running)]));
    assert_eq!(desk.state_of(id), JobState::Stopping);
}

#[test]
fn hardware_that_changes_is_news_and_the_same_is_not() {
    let mut desk = Desk::new();
    let machine = |cpus| Command::Join { machine: std::sync::Arc::new(sample::machine("m0", cpus, 0, Bytes::gib(16))), at: Time(9) };
    assert!(!desk.apply(machine(8)).changed);
    assert!(desk.apply(machine(4)).replan);
    assert_eq!(desk.state.machines()["m0"].machine.cpus.len(), 4);
}

/// The log keeps the news of a report only; the state must not be able to tell.
#[test]
fn the_essence_of_a_report_does_what_the_whole_does() {
    let isolation = spec::IsolationReport { level: spec::IsolationLevel::Container, marks: vec![] };
    let rank = |rank, state| RankReport { rank, state, pid: Some(30 + rank) };
    let stage = |took| vec![StageTime { stage: "container".into(), began: Time(1), took }];
    let (desk, _, run) = started();
    let mut running = said(run, RunPhase::Running);
    running.started = Some(Time(1_000_500));
    running.isolation = Some(isolation);
    running.stages = stage(None);
    running.ranks = vec![rank(0, RankState::Running), rank(1, RankState::Running)];
    let mut stopping = running.clone();
    stopping.phase = RunPhase::Stopping;
    stopping.stages = stage(Some(Span(4)));
    stopping.ranks[1] = rank(1, RankState::Exited { code: 9 });
    let mut ended = stopping.clone();
    ended.phase = RunPhase::Ended(EndCause::Exit { rank: 1, code: 9 });
    ended.usage = Some(Usage::default());
    let stories: [&[(u64, Vec<RunReport>)]; 4] = [
        &[(1, vec![running.clone()]), (1, vec![stopping.clone()]), (1, vec![ended])],
        &[(1, vec![running.clone()]), (1, vec![running.clone()]), (1, vec![])],
        &[(0, vec![]), (1, vec![stopping]), (0, vec![])],
        &[(7, vec![running]), (8, vec![])],
    ];
    for story in stories {
        let (mut whole, mut short) = (desk.state.clone(), desk.state.clone());
        for (generation, runs) in story {
            let report = Report { machine: "m0".into(), generation: *generation, runs: runs.clone() };
            let at = Time(2_000_000);
            let essence = short.essence(report.clone(), at);
            let one = whole.apply(&Command::Observe { report, at }).unwrap();
            let two = short.apply(&Command::Observe { report: essence, at }).unwrap();
            assert_eq!(one.changed, two.changed);
            assert_eq!(whole.checkpoint().unwrap(), short.checkpoint().unwrap());
        }
    }
}

#[test]
fn a_wrong_clock_of_a_node_bends_no_times() {
    // Granted at 1,000,000, reported at 2,000,000.
    for (begun, over, started, ended) in [
        (Some(1_500_000), Some(1_600_000), 1_500_000, 1_600_000),
        (Some(1), Some(2), 1_000_000, 1_000_000),
        (Some(9_000_000), Some(9_500_000), 2_000_000, 2_000_000),
        (Some(1_500_000), Some(1_400_000), 1_500_000, 1_500_000),
        (Some(1_500_000), None, 1_500_000, 2_000_000),
        (Some(u64::MAX), Some(0), 2_000_000, 2_000_000),
    ] {
        let (mut desk, _, run) = started_at_a_million();
        let mut report = said(run, RunPhase::Ended(EndCause::Success));
        (report.started, report.ended) = (begun.map(Time), over.map(Time));
        let effects = desk.apply(observe(1, vec![report]));
        let job = &effects.ended[0];
        assert_eq!((job.started, job.ended), (Some(Time(started)), Some(Time(ended))), "{begun:?} {over:?}");
        assert_eq!((job.runs[0].started, job.runs[0].ended), (job.started, job.ended));
    }
}

fn started_at_a_million() -> (Desk, JobId, RunId) {
    let found = started();
    assert_eq!(found.0.now, Time(1_000_000));
    found
}
