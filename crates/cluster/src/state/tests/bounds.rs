//! What no person may use up.

use super::{Desk, ada};
use crate::state::{KEYS_REMEMBERED, Keyed, Keys};
use crate::world::sample;
use crate::{Answer, Core, Input, Refusal, State};
use placement::Policy;
use spec::{Array, Identity, JobId, JobSpec, Time};
use std::sync::Arc;

fn array(tasks: u32) -> JobSpec {
    JobSpec { array: Some(Array { ranges: vec![(0, tasks - 1)], at_once: None }), ..sample::spec("many") }
}

fn submit(core: &mut Core, spec: JobSpec, owner: &Identity, key: Option<&str>) -> Answer {
    let input = Input::Submit { spec: Arc::new(spec), owner: owner.clone(), key: key.map(Into::into), ended: vec![] };
    core.step(vec![input], Time(1000)).answers.remove(0)
}

#[test]
fn live_jobs_are_bounded_for_one_and_for_all() {
    let mut core = Core::new(State::new(), Policy::default());
    let (ada, bob, eve) = (ada(), sample::person("bob", 1001), sample::person("eve", 1002));
    assert_eq!(submit(&mut core, array(99_999), &ada, Some("k")), Answer::Accepted(JobId::new(1)));
    let Answer::Refused(refusal) = submit(&mut core, array(2), &ada, None) else { panic!("above the bound") };
    assert_eq!(refusal.to_string(), "ada has 99999 unfinished jobs, 2 more would be above the 100000 allowed");
    assert!(matches!(core.what_if(Arc::new(array(2)), &ada, &[], &[], Time(1000)), Err(Refusal::TooManyJobs { .. })));
    assert_eq!(submit(&mut core, sample::spec("one"), &ada, None), Answer::Accepted(JobId::new(2)));
    assert_eq!(submit(&mut core, array(99_999), &ada, Some("k")), Answer::Accepted(JobId::new(1)), "the same again takes no room");
    assert_eq!(submit(&mut core, array(100_000), &bob, None), Answer::Accepted(JobId::new(3)));
    let Answer::Refused(refusal) = submit(&mut core, sample::spec("one"), &eve, None) else { panic!("above the bound") };
    assert!(refusal.to_string().starts_with("everybody together has 200000"), "{refusal}");
    let _ = core.step(vec![Input::Cancel { job: JobId::new(3), by: bob.clone(), kill: false }], Time(1000));
    assert_eq!(core.state().live_jobs_of(bob.uid), 0);
    assert!(matches!(submit(&mut core, sample::spec("one"), &eve, None), Answer::Accepted(_)));
}

#[test]
fn numbers_given_before_are_not_given_again() {
    let mut desk = Desk::new();
    desk.state.number_above(41);
    assert_eq!(desk.submit(sample::spec("one")), JobId::new(42));
    desk.state.number_above(7);
    assert_eq!(desk.submit(sample::spec("two")), JobId::new(43));
}

#[test]
fn many_keys_of_one_person_push_out_none_of_another() {
    let mut keys = Keys::default();
    let keyed = |number| Keyed { job: JobId::new(number), content: None };
    keys.insert(1001, "mine", keyed(1));
    for number in 2..=2 * KEYS_REMEMBERED as u64 {
        keys.insert(1000, &number.to_string(), keyed(number));
    }
    assert_eq!(keys.get(1001, "mine"), Some(keyed(1)));
    assert_eq!((keys.order.len(), keys.jobs.len()), (KEYS_REMEMBERED, KEYS_REMEMBERED));
    assert_eq!(keys.get(1000, "2"), None, "one's own oldest goes");
    let newest = 2 * KEYS_REMEMBERED as u64;
    assert_eq!(keys.get(1000, &newest.to_string()), Some(keyed(newest)));
    keys.forget(&[1]);
    assert_eq!((keys.get(1001, "mine"), keys.count.get(&1001), keys.count[&1000]), (None, None, KEYS_REMEMBERED - 1));
}
