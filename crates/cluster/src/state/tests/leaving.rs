//! Machines that will not come back.

use super::{Desk, ada, lost};
use crate::world::sample;
use crate::{Command, JobState, Refusal, RunState};
use placement::Eviction;
use spec::{EndCause, Retry, RetryOn, Span};
use std::sync::Arc;

fn leave(desk: &Desk, machine: &str) -> Command {
    Command::Leave { machine: machine.into(), by: ada(), at: desk.now }
}

#[test]
fn what_was_granted_there_is_lost_and_retry_decides() {
    let mut desk = Desk::new();
    let retry = Retry { attempts: 2, on: vec![RetryOn::Lost], backoff: Span::seconds(0) };
    let again = desk.submit(spec::JobSpec { retry, ..sample::spec("again") });
    let once = desk.submit(sample::spec("once"));
    let _ = desk.start(&[again, once]);
    desk.pass(Span::minutes(5));
    let command = leave(&desk, "m0");
    let effects = desk.apply(command);
    assert!(effects.replan && effects.changed_machines.is_empty(), "nobody is there to be told");
    assert!(desk.state.machines().is_empty());
    assert_eq!(desk.state_of(again), JobState::Waiting);
    let Some(RunState::Ended(EndCause::Lost { message })) = desk.job(again).runs.last().map(|run| run.state.clone()) else {
        panic!("its run is lost")
    };
    assert_eq!(message, "machine m0 was taken out by ada");
    let failed = &effects.ended[0];
    assert_eq!((failed.id, failed.state, failed.exit_code), (once, JobState::Failed, Some(125)));
    // It comes back after all, and what it says of the old run is no news.
    let machine = Arc::new(sample::machine("m0", 8, 0, machine::Bytes::gib(16)));
    let _ = desk.apply(Command::Join { machine, at: desk.now });
    let run = desk.run_of(again);
    let _ = desk.report(&[(run, spec::RunPhase::Running)]);
    assert_eq!(desk.state_of(again), JobState::Waiting);
    let _ = desk.start(&[again]);
    assert_eq!(desk.run_of(again).attempt, 2);
    let _ = desk.end(again, lost());
}

#[test]
fn a_place_that_was_cleared_there_is_no_place() {
    let mut desk = Desk::new();
    let (victim, winner) = (desk.submit(sample::spec("victim")), desk.submit(sample::spec("winner")));
    let _ = desk.start(&[victim]);
    let grant = desk.job(victim).runs[0].grant.clone();
    let evictions = vec![Eviction { job: winner, grant, victims: vec![desk.run_of(victim)] }];
    let based_on = desk.state.generation();
    let _ = desk.apply(Command::Adopt { based_on, starts: vec![], evictions, resizes: vec![], at: desk.now });
    assert!(desk.job(winner).claim.is_some());
    let command = leave(&desk, "m0");
    let _ = desk.apply(command);
    assert!(desk.job(winner).claim.is_none());
    assert_eq!((desk.state_of(victim), desk.state_of(winner)), (JobState::Waiting, JobState::Waiting));
}

#[test]
fn only_what_is_known_can_leave() {
    let mut desk = Desk::new();
    let command = leave(&desk, "m7");
    assert_eq!(desk.refused(command), Refusal::NoSuchMachine { name: "m7".into(), known: "m0".into() });
}
