//! Keys, and when the jobs behind them are forgotten.

use super::super::{Keyed, Keys};
use super::Desk;
use crate::world::sample;
use crate::{Command, Refusal, State};
use spec::{Array, Dependency, DependencyCondition, JobId, JobSpec, RunPhase};
use std::sync::Arc;

fn keyed(job: u64) -> Keyed {
    Keyed { job: JobId::new(job), content: None }
}

fn submission(number: u64, uid: u32, key: &str) -> Command {
    Command::Submit {
        number,
        spec: Arc::new(sample::spec("a")),
        owner: sample::person("x", uid),
        key: Some(key.into()),
        ended: vec![],
        at: spec::Time(1),
    }
}

fn forget(desk: &mut Desk, numbers: &[u64]) -> crate::Effects {
    let at = desk.now;
    desk.apply(Command::Forget { numbers: numbers.to_vec(), at })
}

fn job_of(desk: &Desk, uid: u32, key: &str) -> Option<u64> {
    desk.state.submitted_as(uid, key).map(|keyed| keyed.job.number)
}

#[test]
fn a_key_is_one_job_of_one_person() {
    let mut desk = Desk::new();
    let _ = desk.apply(submission(1, 1000, "k"));
    assert!(matches!(desk.refused(submission(2, 1000, "k")), Refusal::KeyUsed { job, .. } if job == JobId::new(1)));
    let _ = desk.apply(submission(2, 1001, "k"));
    let _ = desk.cancel(JobId::new(1), false);
    assert_eq!(job_of(&desk, 1000, "k"), Some(1), "a key outlives its job");
    assert_eq!(job_of(&desk, 1001, "k"), Some(2));
    assert_eq!(job_of(&desk, 1002, "k"), None);
}

#[test]
fn a_key_knows_what_was_submitted_and_a_restored_state_too() {
    let mut desk = Desk::new();
    let _ = desk.apply(submission(1, 1000, "k"));
    let other = JobSpec { priority: 7, ..sample::spec("a") };
    let restored = State::restore(&desk.state.checkpoint().unwrap()).unwrap();
    for state in [&desk.state, &restored] {
        let found = state.submitted_as(1000, "k").unwrap();
        assert!(found.is_of(&sample::spec("a")) && !found.is_of(&other));
    }
    // What an earlier release saved says nothing of the content: then the key alone decides, as it did there.
    let mut saved: serde_json::Value = serde_json::from_slice(&desk.state.checkpoint().unwrap()).unwrap();
    saved.as_object_mut().unwrap().remove("key_contents");
    let old = State::restore(saved.to_string().as_bytes()).unwrap();
    assert!(old.submitted_as(1000, "k").unwrap().is_of(&other));
}

#[test]
fn only_the_newest_keys_are_remembered() {
    let mut keys = Keys::default();
    (0..10_001).for_each(|n| keys.insert(7, &n.to_string(), keyed(n)));
    assert_eq!(keys.get(7, "0"), None);
    assert_eq!(keys.get(7, "1"), Some(keyed(1)));
    keys.insert(7, "1", keyed(1));
    assert_eq!(keys.order.len(), keys.jobs.len());
    keys.forget(&[1, 3]);
    assert_eq!((keys.order.len(), keys.jobs.len()), (9_998, 9_998));
    assert_eq!((keys.get(7, "1"), keys.get(7, "2")), (None, Some(keyed(2))));
}

#[test]
fn forgetting_frees_the_key_and_only_of_what_is_over() {
    let mut desk = Desk::new();
    let _ = desk.apply(submission(1, 1000, "k"));
    assert_eq!(desk.state.forgettable(&[1, 2, 0]), [] as [u64; 0], "live, not given yet, never given");
    let at = desk.now;
    assert!(matches!(desk.refused(Command::Forget { numbers: vec![1], at }), Refusal::Inconsistent(_)));
    let _ = desk.cancel(JobId::new(1), false);
    assert_eq!(desk.state.forgettable(&[1, 1]), [1]);
    assert_eq!(forget(&mut desk, &[1]).forgotten, [1]);
    assert_eq!(job_of(&desk, 1000, "k"), None);
    let _ = desk.apply(submission(2, 1000, "k"));
    assert_eq!(job_of(&desk, 1000, "k"), Some(2));
    assert!(!forget(&mut desk, &[]).changed);
}

#[test]
fn an_array_is_forgotten_whole_and_what_a_live_job_names_is_kept() {
    let mut desk = Desk::new();
    let array = desk.submit(JobSpec { array: Some(Array { ranges: vec![(0, 1)], at_once: None }), ..sample::spec("a") });
    let first = JobId::task(array.number, 0);
    let _ = desk.start(&[first]);
    let run = desk.state.job(first).unwrap().runs[0].id;
    let _ = desk.report(&[(run, RunPhase::Ended(spec::EndCause::Success))]);
    assert!(desk.state.forgettable(&[array.number]).is_empty(), "a task of it still waits");
    let after = vec![Dependency { job: first, condition: DependencyCondition::Ok }];
    let waits = Command::Submit {
        number: desk.state.next_number(),
        spec: Arc::new(JobSpec { after, ..sample::spec("b") }),
        owner: super::ada(),
        key: None,
        ended: vec![(first, crate::JobState::Succeeded)],
        at: desk.now,
    };
    let _ = desk.apply(waits);
    let _ = desk.cancel(array, false);
    assert!(desk.state.forgettable(&[array.number]).is_empty(), "a live job names a task of it");
    let _ = desk.cancel(JobId::new(array.number + 1), false);
    assert_eq!(desk.state.forgettable(&[array.number + 1, array.number]), [array.number, array.number + 1]);
}
