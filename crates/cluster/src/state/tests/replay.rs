//! A log leads to one state, whatever happened in between.

use super::{Desk, ada, said};
use crate::snapshot::View;
use crate::world::{Random, sample};
use crate::{Command, JobState, RestoreError, State};
use spec::{Array, Dependency, DependencyCondition, EndCause, JobId, Report, Retry, RetryOn, RunId, RunPhase, Span};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Some command that may well be nonsense in this state.
fn anything(random: &mut Random, desk: &Desk) -> Command {
    let jobs: Vec<JobId> = desk.state.jobs().keys().copied().collect();
    let some = random.pick(&jobs).copied().unwrap_or(JobId::new(1));
    let at = desk.now;
    match random.below(100) {
        0..30 => {
            let mut spec = sample::spec("a");
            spec.ranks = 1 + u32::from(random.chance(200));
            spec.retry = Retry { attempts: 3, on: vec![RetryOn::Error, RetryOn::Lost], backoff: Span(random.below(5000)) };
            if random.chance(300) {
                spec.array = Some(Array { ranges: vec![(0, 3)], at_once: random.chance(500).then_some(2) });
            }
            if random.chance(300) {
                let job = if random.chance(500) { JobId::new(some.number) } else { some };
                let all = [DependencyCondition::Ok, DependencyCondition::NotOk, DependencyCondition::Any];
                let condition = *random.pick(&all).unwrap_or(&DependencyCondition::Any);
                spec.after = vec![Dependency { job, condition }];
            }
            let key = random.chance(300).then(|| random.below(9).to_string());
            let number = desk.state.next_number();
            Command::Submit { number, spec: Arc::new(spec), owner: ada(), key, ended: vec![(some, JobState::Failed)], at }
        }
        30..40 => Command::Cancel { job: some, by: ada(), kill: random.chance(300), at },
        40..65 => {
            let open = desk.state.waiting().filter(|job| job.after.is_empty() && job.not_before.is_none() && random.chance(500));
            let open: Vec<JobId> = open.map(|job| job.id).take(3).collect();
            desk.adoption(&open)
        }
        65..95 => {
            let phase = |random: &mut Random| match random.below(5) {
                0 => RunPhase::Starting,
                1 => RunPhase::Running,
                2 => RunPhase::Stopping,
                3 => RunPhase::Ended(EndCause::Success),
                _ => RunPhase::Ended(EndCause::Exit { rank: 0, code: 1 }),
            };
            let held: Vec<RunId> = desk.state.holding("m0").map(|(_, run)| run.id).collect();
            let runs = held.into_iter().filter(|_| random.chance(800)).collect::<Vec<_>>();
            let runs = runs.into_iter().map(|run| said(run, phase(random))).collect();
            let generation = desk.state.assignment("m0").generation.saturating_sub(random.below(3));
            Command::Observe { report: Report { machine: "m0".into(), generation, runs }, at }
        }
        95..97 => Command::Forget { numbers: desk.state.forgettable(&[random.below(9), random.below(40), random.below(90)]), at },
        _ => Command::Wake { at },
    }
}

/// The desk checks each state against its saved form; here the log is replayed, from the start and from a
/// checkpoint in the middle, and the planner's view kept by patches is compared with one made anew.
#[test]
fn a_log_and_a_checkpoint_lead_to_the_same_state() {
    for seed in 0..60 {
        let mut random = Random::of(seed, "commands");
        let mut desk = Desk::new();
        let accepts = BTreeSet::from(["m0".to_owned()]);
        let mut view = View::default();
        let mut checkpoint = (0, desk.state.checkpoint().expect("saved"));
        for _ in 0..60 {
            let command = anything(&mut random, &desk);
            desk.pass(Span(random.below(3000)));
            let Ok(_) = desk.state.clone().apply(&command) else {
                let _ = desk.refused(command);
                continue;
            };
            let effects = desk.apply(command);
            view.refresh(&desk.state, &effects.changed_jobs, &accepts, Span::hours(1), desk.now);
            let fresh = desk.state.snapshot(&accepts, Span::hours(1), desk.now);
            assert_eq!(format!("{:?}", view.snapshot()), format!("{fresh:?}"), "seed {seed}");
            if random.chance(30) {
                checkpoint = (desk.log.len(), desk.state.checkpoint().expect("saved"));
            }
        }
        let replay = |mut state: State, log: &[Command]| {
            log.iter().for_each(|command| drop(state.apply(command).expect("what was applied once applies again")));
            state
        };
        assert_eq!(replay(State::new(), &desk.log), desk.state, "seed {seed}");
        let restored = State::restore(&checkpoint.1).expect("restored");
        assert_eq!(replay(restored, &desk.log[checkpoint.0..]), desk.state, "seed {seed}");
    }
}

#[test]
fn commands_survive_being_written() {
    let mut random = Random::of(3, "written");
    let mut desk = Desk::new();
    for _ in 0..200 {
        let command = anything(&mut random, &desk);
        let json = serde_json::to_string(&command).expect("written");
        assert_eq!(serde_json::from_str::<Command>(&json).expect("read"), command);
        if desk.state.clone().apply(&command).is_ok() {
            let _ = desk.apply(command);
        }
    }
}

#[test]
fn damaged_and_newer_states_are_refused_with_a_hint() {
    let saved = String::from_utf8(State::new().checkpoint().expect("saved")).expect("JSON is text");
    let newer = saved.replace("\"version\":1", "\"version\":2");
    for (text, too_new) in [(&saved[..saved.len() / 2], false), ("", false), ("{}", false), (newer.as_str(), true)] {
        let error = State::restore(text.as_bytes()).expect_err("refused");
        assert_eq!(matches!(error, RestoreError::TooNew { found: 2 }), too_new, "{error}");
        assert!(!error.hint().is_empty());
    }
    assert!(State::restore(saved.replace("\"version\":1", "\"version\":0").as_bytes()).is_err());
}
