//! Arrays, and jobs that wait for others.

use super::{Desk, ada};
use crate::world::sample;
use crate::{Command, JobState, Refusal};
use spec::{Array, Dependency, DependencyCondition, EndCause, JobId, JobSpec};
use std::sync::Arc;

fn array(last: u32, at_once: Option<u32>) -> JobSpec {
    JobSpec { array: Some(Array { ranges: vec![(0, last)], at_once }), ..sample::spec("array") }
}

fn after(job: JobId, condition: DependencyCondition) -> JobSpec {
    JobSpec { after: vec![Dependency { job, condition }], ..sample::spec("later") }
}

use DependencyCondition::{Any, NotOk, Ok as Success};

const FAILED: EndCause = EndCause::Exit { rank: 0, code: 1 };

#[test]
fn an_array_keeps_its_ceiling() {
    let mut desk = Desk::new();
    let number = desk.submit(array(4, Some(2))).number;
    let task = |n| JobId::task(number, n);
    assert_eq!(desk.state.tasks(number).count(), 5);
    assert!(Arc::ptr_eq(&desk.job(task(0)).spec, &desk.job(task(4)).spec), "the spec is kept once");
    let adoption = desk.adoption(&[task(0), task(1), task(2)]);
    assert!(matches!(desk.refused(adoption), Refusal::Inconsistent(_)));
    assert_eq!(desk.state.open_tasks(number, 2).into_iter().collect::<Vec<_>>(), [task(0), task(1)]);
    let _ = desk.start(&[task(0), task(1)]);
    assert!(desk.state.open_tasks(number, 2).is_empty());
    let _ = desk.end(task(1), EndCause::Success);
    assert_eq!(desk.state.open_tasks(number, 2).into_iter().collect::<Vec<_>>(), [task(2)]);
    let _ = desk.start(&[task(2)]);
}

#[test]
fn a_restored_array_shares_its_spec() {
    let mut desk = Desk::new();
    let number = desk.submit(array(99, None)).number;
    let saved = desk.state.checkpoint().unwrap();
    let restored = crate::State::restore(&saved).unwrap();
    let specs: Vec<_> = restored.tasks(number).map(|job| job.spec.clone()).collect();
    assert!(specs.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
    assert!(saved.len() < 8000, "100 waiting tasks took {} bytes", saved.len());
}

#[test]
fn an_array_is_cancelled_as_a_whole_or_by_the_task() {
    let mut desk = Desk::new();
    let number = desk.submit(array(3, None)).number;
    let _ = desk.start(&[JobId::task(number, 0)]);
    let effects = desk.cancel(JobId::task(number, 3), false);
    assert_eq!(effects.ended.len(), 1);
    let effects = desk.cancel(JobId::new(number), false);
    assert_eq!(effects.ended.len(), 2, "the waiting ones end at once");
    assert_eq!(desk.state_of(JobId::task(number, 0)), JobState::Stopping);
    let effects = desk.end(JobId::task(number, 0), EndCause::Stopped);
    assert_eq!(effects.finished_arrays, [(JobId::new(number), JobState::Failed)]);
}

#[test]
fn a_dependency_is_met_or_ends_the_job() {
    for (condition, cause, runs) in [
        (Success, EndCause::Success, true),
        (Success, FAILED, false),
        (NotOk, EndCause::Success, false),
        (NotOk, FAILED, true),
        (Any, FAILED, true),
    ] {
        let mut desk = Desk::new();
        let first = desk.submit(sample::spec("first"));
        let second = desk.submit(after(first, condition));
        let third = desk.submit(after(second, Success));
        let adoption = desk.adoption(&[second]);
        assert!(matches!(desk.refused(adoption), Refusal::Inconsistent(_)), "not before {condition:?}");
        let _ = desk.start(&[first]);
        let effects = desk.end(first, cause);
        if runs {
            assert!(desk.job(second).after.is_empty() && effects.replan);
            assert_eq!(desk.job(third).after.len(), 1);
        } else {
            assert!(desk.state.jobs().is_empty(), "what can never start is cancelled, and what waits for that");
            let sentences: Vec<&str> = effects.ended.iter().filter_map(|job| job.outcome.as_deref()).collect();
            assert!(sentences[1].starts_with("never started: job 1 had to "), "{sentences:?}");
            assert_eq!(sentences[2], "never started: job 2 had to succeed first, and it was cancelled");
            assert_eq!(effects.ended[2].exit_code, Some(130));
        }
    }
}

#[test]
fn a_dependency_on_an_array_waits_for_all_of_it() {
    let mut desk = Desk::new();
    let number = desk.submit(array(1, None)).number;
    let [whole, task] = [JobId::new(number), JobId::task(number, 0)];
    let on_all = desk.submit(after(whole, Success));
    let on_failure = desk.submit(after(whole, NotOk));
    let on_task = desk.submit(after(task, Success));
    let _ = desk.start(&[task, JobId::task(number, 1)]);
    let _ = desk.end(task, EndCause::Success);
    assert!(desk.job(on_task).after.is_empty());
    assert_eq!(desk.job(on_all).after.len(), 1);
    let effects = desk.end(JobId::task(number, 1), FAILED);
    assert_eq!(effects.finished_arrays, [(whole, JobState::Failed)]);
    assert!(desk.state.job(on_all).is_none());
    assert!(desk.job(on_failure).after.is_empty());
}

#[test]
fn one_failed_task_is_enough_to_give_up_waiting_for_success() {
    let mut desk = Desk::new();
    let number = desk.submit(array(2, None)).number;
    let on_all = desk.submit(after(JobId::new(number), Success));
    let _ = desk.start(&[JobId::task(number, 1)]);
    let effects = desk.end(JobId::task(number, 1), FAILED);
    let never = effects.ended.iter().find(|job| job.id == on_all).expect("cancelled early");
    assert_eq!(never.outcome.as_deref(), Some("never started: job 1 had to succeed first, and a task of it did not"));
    let late = desk.submit(after(JobId::new(number), Success));
    assert!(desk.state.job(late).is_none(), "and who comes later is told at once");
}

#[test]
fn dependencies_on_ended_jobs_are_settled_at_submission() {
    let other = JobId::new(7);
    for (ended, condition, expected) in [
        (vec![], Success, Err(Refusal::NoSuchDependency(other))),
        (vec![(other, JobState::Running)], Success, Err(Refusal::NoSuchDependency(other))),
        (vec![(other, JobState::Succeeded)], Success, Ok(true)),
        (vec![(other, JobState::Failed)], Success, Ok(false)),
        (vec![(other, JobState::Cancelled)], NotOk, Ok(true)),
        (vec![(other, JobState::Cancelled)], Any, Ok(true)),
    ] {
        let mut desk = Desk::new();
        let command = Command::Submit { number: 8, spec: Arc::new(after(other, condition)), owner: ada(), key: None, ended, at: desk.now };
        match expected {
            Err(refusal) => assert_eq!(desk.refused(command), refusal),
            Ok(lives) => {
                let effects = desk.apply(command);
                assert_eq!(desk.state.job(JobId::new(8)).is_some(), lives);
                assert_eq!(effects.ended.len(), usize::from(!lives), "an accepted job is archived, not forgotten");
            }
        }
    }
}

#[test]
fn an_array_that_can_never_start_ends_whole() {
    let mut desk = Desk::new();
    let first = desk.submit(sample::spec("first"));
    let spec = JobSpec { after: after(first, Success).after, ..array(9, Some(1)) };
    let number = desk.submit(spec).number;
    let effects = desk.cancel(first, false);
    assert_eq!(effects.ended.len(), 11);
    assert_eq!(effects.finished_arrays, [(JobId::new(number), JobState::Failed)]);
    assert!(desk.state.jobs().is_empty());
}
