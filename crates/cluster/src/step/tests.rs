use super::*;
use crate::world::sample;
use machine::Bytes;
use spec::{Dependency, DependencyCondition, EndCause, Retry, RetryOn, RunPhase, RunReport};

const NOW: Time = Time(1_000_000);

fn ada() -> Identity {
    sample::person("ada", 1000)
}

fn join(cpus: u32) -> Input {
    Input::Join { machine: Arc::new(sample::machine("m0", cpus, 0, Bytes::gib(16))) }
}

fn submit(spec: JobSpec, key: Option<&str>) -> Input {
    Input::Submit { spec: Arc::new(spec), owner: ada(), key: key.map(str::to_owned), ended: vec![] }
}

fn core(cpus: u32) -> Core {
    let mut core = Core::new(State::new(), Policy::default());
    let _ = core.step(vec![join(cpus)], NOW);
    core
}

fn ends(core: &Core, number: u64, cause: EndCause) -> Input {
    let runs = core.state().holding("m0").map(|(job, run)| RunReport {
        run: run.id,
        phase: if job.id.number == number { RunPhase::Ended(cause.clone()) } else { RunPhase::Starting },
        started: None,
        ended: None,
        ranks: vec![],
        isolation: None,
        stages: vec![],
        usage: None,
        overstep: None,
    });
    let generation = core.state().assignment("m0").generation;
    Input::Observe { report: Report { machine: "m0".into(), generation, runs: runs.collect() } }
}

#[test]
fn a_batch_holds_the_whole_decision() {
    let mut core = core(2);
    let batch = core.step(vec![submit(sample::spec("a"), None), submit(sample::spec("b"), None)], NOW);
    assert_eq!(batch.answers, [Answer::Accepted(JobId::new(1)), Answer::Accepted(JobId::new(2))]);
    assert!(matches!(batch.records[..], [Command::Submit { .. }, Command::Submit { .. }, Command::Adopt { .. }]), "one plan for all");
    assert_eq!(batch.assignments.len(), 1);
    assert_eq!(batch.assignments[0].runs.len(), 2);

    let end = ends(&core, 1, EndCause::Success);
    let batch = core.step(vec![end.clone()], NOW);
    assert_eq!(batch.archived.len(), 1);
    let again = core.step(vec![end], NOW);
    assert!(again.records.is_empty(), "what is no news is not written down");
    assert_eq!(again.assignments.len(), 1, "but a node that is behind is told again");
}

#[test]
fn a_key_is_answered_with_the_same_job_within_and_across_steps() {
    let mut core = core(2);
    let batch = core.step(vec![submit(sample::spec("a"), Some("k")), submit(sample::spec("a"), Some("k"))], NOW);
    assert_eq!(batch.answers, vec![Answer::Accepted(JobId::new(1)); 2]);
    let _ = core.step(vec![ends(&core, 1, EndCause::Success)], NOW);
    assert_eq!(core.step(vec![submit(sample::spec("a"), Some("k"))], NOW).answers, [Answer::Accepted(JobId::new(1))]);
}

#[test]
fn nothing_starts_before_the_machine_joined_this_core() {
    let mut first = core(2);
    let _ = first.step(vec![submit(sample::spec("a"), None)], NOW);
    let mut second = Core::new(first.state().clone(), Policy::default());
    assert_eq!(second.last_report("m0"), None);
    let _ = second.step(vec![submit(sample::spec("b"), None)], NOW);
    assert!(matches!(second.reasons(JobId::new(2))[0].blocker, Blocker::NoMachine));
    let batch = second.step(vec![join(2)], NOW);
    assert!(batch.records.is_empty(), "the machine itself is no news, and what runs there is not known yet");
    assert_eq!(batch.assignments[0].runs.len(), 1);
    let batch = second.step(vec![executes(&["1"], 0)], NOW);
    assert!(matches!(batch.records[..], [Command::Observe { .. }, Command::Adopt { .. }]));
    assert_eq!(batch.assignments[0].runs.len(), 2);
    let _ = second.step(vec![ends(&second, 1, EndCause::Success)], NOW);
    assert_eq!(second.last_report("m0"), Some(NOW));
}

/// A report of runs that go on.
fn executes(runs: &[&str], generation: u64) -> Input {
    let run = |job: &&str| RunReport {
        run: RunId { job: job.parse().expect("a number"), attempt: 1 },
        phase: RunPhase::Running,
        started: None,
        ended: None,
        ranks: vec![],
        isolation: None,
        stages: vec![],
        usage: None,
        overstep: None,
    };
    Input::Observe { report: Report { machine: "m0".into(), generation, runs: runs.iter().map(run).collect() } }
}

/// The disk lost the end of the log: what it ordered may still run.
#[test]
fn nothing_starts_beside_a_run_that_the_log_does_not_know() {
    let mut first = core(2);
    let _ = first.step(vec![submit(JobSpec { cpus: machine::CpuShare::whole(2), ..sample::spec("a") }, None)], NOW);
    let generation = first.state().assignment("m0").generation;
    // All but the order.
    let mut older = State::new();
    let machine = first.state().machines()["m0"].machine.clone();
    let spec = first.state().job(JobId::new(1)).expect("live").spec.clone();
    let known = [Command::Join { machine, at: NOW }, Command::Submit { number: 1, spec, owner: ada(), key: None, ended: vec![], at: NOW }];
    for command in &known {
        let _ = older.apply(command).expect("it was");
    }
    let mut core = Core::new(older, Policy::default());
    let _ = core.step(vec![join(2)], NOW);
    // Run 1 and run 7 were ordered by what was lost; job 7 itself is not known either.
    let batch = core.step(vec![executes(&["1", "7"], generation)], NOW);
    assert!(batch.assignments[0].runs.is_empty(), "its node is told to end both");
    assert_eq!(core.alarms().map(|finding| finding.evidence.join(", ")).collect::<Vec<_>>(), ["run 1-1, run 7-1"]);
    assert!(matches!(core.reasons(JobId::new(1))[0].blocker, Blocker::NoMachine));
    // One of them is still ending, and another job with its number comes; a repeated report raises no second alarm.
    let batch = core.step(vec![executes(&["7"], generation + 1), submit(sample::spec("b"), None)], NOW);
    assert!(!batch.records.iter().any(|record| matches!(record, Command::Adopt { .. })));
    assert_eq!(core.alarms().count(), 1);
    let batch = core.step(vec![executes(&[], generation + 1)], NOW);
    assert!(matches!(batch.records[..], [Command::Adopt { .. }]));
    assert_eq!(core.state().job(JobId::new(1)).map(|job| job.state), Some(JobState::Starting));
}

#[test]
fn only_a_machine_that_is_away_can_be_taken_out() {
    let mut first = core(2);
    let leave = |machine: &str| Input::Leave { machine: machine.into(), by: ada() };
    let _ = first.step(vec![submit(JobSpec { retry: retry_lost(), ..sample::spec("a") }, None)], NOW);
    assert_eq!(first.step(vec![leave("m0")], NOW).answers, [Answer::Refused(Refusal::MachineThere("m0".into()))]);
    let mut second = Core::new(first.state().clone(), Policy::default());
    assert_eq!(second.step(vec![leave("m0")], NOW).answers, [Answer::Done]);
    assert_eq!(second.state().job(JobId::new(1)).map(|job| job.state), Some(JobState::Waiting));
    // Back after all, with the run that was given up: nothing starts beside it.
    let _ = second.step(vec![join(2)], NOW);
    let _ = second.step(vec![executes(&["1"], 9)], NOW);
    assert_eq!(second.connected().collect::<Vec<_>>(), [("m0", false)]);
    let batch = second.step(vec![executes(&[], 9)], NOW);
    assert!(matches!(batch.records[..], [.., Command::Adopt { .. }]));
    assert_eq!(second.connected().collect::<Vec<_>>(), [("m0", true)]);
}

fn retry_lost() -> Retry {
    Retry { attempts: 2, on: vec![RetryOn::Lost], backoff: Span::seconds(0) }
}

#[test]
fn what_machines_said_outlives_a_core_that_could_not_write() {
    let mut first = core(2);
    let _ = first.step(vec![submit(sample::spec("a"), None)], NOW);
    let state = first.state().clone();
    let _ = first.step(vec![executes(&["1"], 1)], NOW);
    let mut second = Core::new(state, Policy::default()).in_place_of(&first);
    let _ = second.step(vec![submit(sample::spec("b"), None)], NOW);
    assert!(matches!(second.reasons(JobId::new(2))[0].blocker, Blocker::NoMachine), "but it has to join");
    let batch = second.step(vec![join(2)], NOW);
    assert!(matches!(batch.records[..], [Command::Adopt { .. }]));
}

#[test]
fn a_job_that_ended_a_moment_ago_may_still_be_waited_for() {
    let mut core = core(2);
    let _ = core.step(vec![submit(sample::spec("a"), None)], NOW);
    let after = vec![Dependency { job: JobId::new(1), condition: DependencyCondition::Ok }];
    let later = JobSpec { after, ..sample::spec("later") };
    let batch = core.step(vec![ends(&core, 1, EndCause::Success), submit(later.clone(), None)], NOW);
    assert_eq!(batch.answers[1], Answer::Accepted(JobId::new(2)));
    assert_eq!(core.state().job(JobId::new(2)).map(|job| job.state), Some(JobState::Starting));
    let mut fresh = Core::new(core.state().clone(), Policy::default());
    let refused = fresh.step(vec![submit(later, None)], NOW);
    assert_eq!(refused.answers, [Answer::Refused(Refusal::NoSuchDependency(JobId::new(1)))], "after a restart the archive has to tell");
    let cancel = Input::Cancel { job: JobId::new(1), by: ada(), kill: false };
    let state = JobState::Succeeded.name();
    assert_eq!(core.step(vec![cancel], NOW).answers, [Answer::Refused(Refusal::AlreadyEnded { job: JobId::new(1), state })]);
}

#[test]
fn the_core_says_when_to_look_again() {
    let mut core = core(2);
    assert_eq!(core.next_wake(), None);
    let retry = Retry { attempts: 2, on: vec![RetryOn::Error], backoff: Span::seconds(10) };
    let _ = core.step(vec![submit(JobSpec { retry, ..sample::spec("a") }, None)], NOW);
    let _ = core.step(vec![ends(&core, 1, EndCause::Exit { rank: 0, code: 1 })], NOW);
    assert_eq!(core.next_wake(), Some(NOW + Span::seconds(10)));
    assert!(core.step(vec![Input::Tick], NOW + Span::seconds(9)).records.is_empty());
    let batch = core.step(vec![Input::Tick], NOW + Span::seconds(10));
    assert!(matches!(batch.records[..], [Command::Wake { .. }, Command::Adopt { .. }]));
}

#[test]
fn a_promise_that_has_passed_is_made_again() {
    let mut core = core(1);
    let expect = Some(Span::minutes(1));
    let _ = core.step(vec![submit(JobSpec { expect, ..sample::spec("a") }, None), submit(sample::spec("b"), None)], NOW);
    let promised = core.planned_start(JobId::new(2)).expect("it is next");
    assert_eq!(core.next_wake(), Some(promised));
    let batch = core.step(vec![Input::Tick], promised);
    assert!(batch.records.is_empty());
    let later = core.planned_start(JobId::new(2)).expect("it is still next");
    assert!(later > promised, "a promise lies ahead");
    assert!(core.next_wake().expect("there is one") >= promised + PLAN_AGAIN);
}

#[test]
fn what_if_changes_nothing_and_refuses_like_a_submission() {
    let mut core = core(2);
    let _ = core.step(vec![submit(sample::spec("a"), None)], NOW);
    let before = core.state().clone();
    let fits = core.what_if(Arc::new(sample::spec("b")), &ada(), &[], &[], NOW).expect("answered");
    assert!(fits.start.is_some());
    let large = JobSpec { cpus: machine::CpuShare::whole(9), ..sample::spec("b") };
    let never = core.what_if(Arc::new(large), &ada(), &[], &[], NOW).expect("answered");
    assert!(never.start.is_none() && never.reasons[0].never);
    let elsewhere = JobSpec { queue: Some("x".into()), ..sample::spec("b") };
    assert!(matches!(core.what_if(Arc::new(elsewhere), &ada(), &[], &[], NOW), Err(Refusal::NoSuchQueue { .. })));
    let after = |job| JobSpec { after: vec![Dependency { job, condition: DependencyCondition::Ok }], ..sample::spec("b") };
    let unknown = core.what_if(Arc::new(after(JobId::new(9))), &ada(), &[], &[], NOW);
    assert_eq!(unknown.err(), Some(Refusal::NoSuchDependency(JobId::new(9))));
    let failed = core.what_if(Arc::new(after(JobId::new(9))), &ada(), &[], &[(JobId::new(9), JobState::Failed)], NOW);
    assert!(matches!(failed.err(), Some(Refusal::Inconsistent(_))));
    assert_eq!(*core.state(), before);
}

#[test]
fn a_waiting_job_has_a_reason_even_without_a_plan() {
    let mut first = core(1);
    let _ = first.step(vec![submit(sample::spec("a"), None), submit(sample::spec("b"), None)], NOW);
    let core = Core::new(first.state().clone(), Policy::default());
    assert_eq!(core.reasons(JobId::new(2)).len(), 1, "asked before the first step");
    assert_eq!(core.reasons(JobId::new(1)), [], "it does not wait");
    assert_eq!(core.alarms().count(), 0);
}

#[test]
fn alarms_are_kept_but_not_without_end() {
    let mut core = core(1);
    (0..200).for_each(|n| core.alarm("plan.unsound", "x", vec![n.to_string()]));
    assert_eq!(core.alarms().count(), ALARMS);
    assert_eq!(core.alarms().last().map(|alarm| alarm.evidence.clone()), Some(vec!["199".into()]));
}

#[test]
fn plans_count_the_grace_that_comes_on_top_of_the_limit() {
    let hour = Span::minutes(60);
    let cases = [
        (None, Some(hour), Span::minutes(65)),
        (Some(Span::minutes(20)), Some(hour), Span::minutes(20)),
        // It is asked to end before, and may take the grace for it.
        (Some(Span::minutes(62)), Some(hour), Span::minutes(62)),
        (Some(Span::minutes(90)), Some(hour), Span::minutes(65)),
    ];
    for (expect, limit, held) in cases {
        let mut spec = sample::spec("long");
        spec.checkpoint.grace = Span::minutes(5);
        (spec.expect, spec.limit) = (expect, limit);
        let mut core = core(1);
        let _ = core.step(vec![submit(spec.clone(), None)], NOW);
        let _ = core.step(vec![submit(spec, None), submit(sample::spec("last"), None)], NOW);
        assert_eq!(core.planned_start(JobId::new(2)), Some(NOW + held), "what runs: {expect:?} {limit:?}");
        assert_eq!(core.planned_start(JobId::new(3)), Some(NOW + held + held), "what is planned: {expect:?} {limit:?}");
    }
}
