//! Submission, attempts, cancellation.

use super::{Desk, ada, grant, lost};
use crate::world::sample;
use crate::{Command, JobState, Refusal};
use machine::Bytes;
use placement::Start;
use spec::{Array, EndCause, JobId, Limits, Notify, NotifyOn, Queue, Retry, RetryOn, RunPhase, Span, StopOrder};
use std::sync::Arc;

#[test]
fn a_job_goes_from_waiting_to_succeeded() {
    let mut desk = Desk::new();
    let mut spec = sample::spec("train");
    spec.notify = Some(Notify { on: vec![NotifyOn::Running, NotifyOn::Succeeded], command: vec!["tell".into()] });
    let id = desk.submit(spec);
    assert_eq!(desk.state_of(id), JobState::Waiting);

    desk.pass(Span::seconds(1));
    let effects = desk.start(&[id]);
    assert_eq!(desk.state_of(id), JobState::Starting);
    assert_eq!(effects.changed_machines.into_iter().collect::<Vec<_>>(), ["m0"]);
    let assignment = desk.state.assignment("m0");
    assert_eq!((assignment.generation, assignment.runs.len()), (1, 1));
    assert_eq!(desk.job(id).runs[0].ordered_in, 1);

    let run = desk.run_of(id);
    let effects = desk.report(&[(run, RunPhase::Running)]);
    assert_eq!(desk.state_of(id), JobState::Running);
    assert_eq!(effects.notices.len(), 1);
    assert!(!effects.replan && effects.changed_machines.is_empty(), "nothing was freed");

    desk.pass(Span::seconds(60));
    let effects = desk.end(id, EndCause::Success);
    assert!(desk.state.jobs().is_empty(), "only live jobs are kept");
    assert!(effects.replan);
    assert_eq!(desk.state.assignment("m0").runs, []);
    let job = &effects.ended[0];
    assert_eq!((job.state, job.exit_code, job.outcome.as_deref()), (JobState::Succeeded, Some(0), Some("succeeded")));
    assert_eq!(effects.notices[0].exit_code, Some(0));
    assert_eq!(desk.state.usage()["default"].decayed(desk.now, Span::hours(24)), 60_000, "one CPU for a minute");
}

#[test]
fn the_end_decides_state_code_and_sentence() {
    let oom = EndCause::OutOfMemory { rank: Some(0), limit: Bytes::gib(2), peak: Bytes::gib(2) };
    let start_failed = EndCause::StartFailed { message: "no such directory: /data".into(), hint: None, missing: false };
    for (cause, code, outcome) in [
        (EndCause::Exit { rank: 0, code: 3 }, 3, "exited with code 3"),
        (EndCause::Exit { rank: 0, code: 127 }, 127, "exited with code 127: 'work', or a command inside the script, was not found"),
        (EndCause::Signalled { rank: 0, signal: 11 }, 139, "ended by SIGSEGV (segmentation fault)"),
        (oom, 137, "ran out of memory: it held 2 GiB, peaked at 2 GiB, and the kernel killed it"),
        (EndCause::Limit { limit: Span::minutes(5), clean: false }, 124, "stopped at its time limit of 5m 0s"),
        (start_failed, 125, "could not be started: no such directory: /data"),
        (lost(), 125, "was lost: the machine restarted"),
        (EndCause::Stopped, 125, "stopped on its machine: nobody had cancelled the job here"),
    ] {
        let mut desk = Desk::new();
        let id = desk.submit(sample::spec("a"));
        let _ = desk.start(&[id]);
        let effects = desk.end(id, cause.clone());
        let job = &effects.ended[0];
        assert_eq!((job.state, job.exit_code, job.outcome.as_deref()), (JobState::Failed, Some(code), Some(outcome)), "{cause:?}");
        assert!(crate::explain(job).is_some());
    }
}

#[test]
fn a_retry_waits_twice_as_long_each_time() {
    let mut desk = Desk::new();
    let mut spec = sample::spec("flaky");
    spec.retry = Retry { attempts: 3, on: vec![RetryOn::Error], backoff: Span::seconds(10) };
    let id = desk.submit(spec);
    for (attempt, wait) in [(1, 10), (2, 20)] {
        let _ = desk.start(&[id]);
        assert_eq!(desk.run_of(id).attempt, attempt);
        let effects = desk.end(id, EndCause::Exit { rank: 0, code: 1 });
        assert!(effects.ended.is_empty());
        assert_eq!(desk.state_of(id), JobState::Waiting);
        let due = desk.now + Span::seconds(wait);
        assert_eq!((desk.job(id).not_before, desk.state.next_due()), (Some(due), Some(due)));

        let adoption = desk.adoption(&[id]);
        assert!(matches!(desk.refused(adoption), Refusal::Inconsistent(_)), "not before its time");
        assert!(!desk.state.due(desk.now));
        desk.pass(Span::seconds(wait));
        assert!(desk.state.due(desk.now));
        assert!(desk.apply(Command::Wake { at: desk.now }).replan);
        assert_eq!((desk.job(id).not_before, desk.state.next_due()), (None, None));
    }
    let _ = desk.start(&[id]);
    let effects = desk.end(id, EndCause::Exit { rank: 0, code: 1 });
    assert_eq!(effects.ended[0].outcome.as_deref(), Some("exited with code 1 (attempt 3 of 3)"));
    assert_eq!(effects.ended[0].runs.len(), 3);
}

#[test]
fn a_clock_that_steps_back_holds_no_retry_for_long() {
    let mut desk = Desk::new();
    desk.now = spec::Time(10_000_000_000);
    let mut spec = sample::spec("flaky");
    spec.retry = Retry { attempts: 2, on: vec![RetryOn::Lost], backoff: Span::minutes(10) };
    let id = desk.submit(spec);
    let _ = desk.start(&[id]);
    let _ = desk.end(id, lost());
    desk.now = spec::Time(5_000_000_000);
    assert!(desk.state.due(desk.now), "no back-off is ever set that far ahead");
    let _ = desk.apply(Command::Wake { at: desk.now });
    assert_eq!(desk.job(id).not_before, None);
}

#[test]
fn a_waiting_job_is_cancelled_at_once() {
    let mut desk = Desk::new();
    let id = desk.submit(sample::spec("a"));
    let effects = desk.cancel(id, false);
    let job = &effects.ended[0];
    assert_eq!((job.state, job.exit_code, job.outcome.as_deref()), (JobState::Cancelled, Some(130), Some("cancelled by ada")));
    assert!(effects.replan && effects.changed_machines.is_empty());
    let again = Command::Cancel { job: id, by: ada(), kill: false, at: desk.now };
    assert_eq!(desk.refused(again), Refusal::NoSuchJob(id));
}

#[test]
fn a_job_that_holds_a_grant_ends_when_its_end_was_seen() {
    let mut desk = Desk::new();
    let id = desk.submit(sample::spec("a"));
    let _ = desk.start(&[id]);
    let effects = desk.cancel(id, false);
    assert!(effects.ended.is_empty() && !effects.replan, "the grant is still held");
    assert_eq!(desk.state_of(id), JobState::Stopping);
    let assignment = desk.state.assignment("m0");
    assert_eq!((assignment.generation, assignment.runs[0].stop), (2, Some(StopOrder { kill: false })));

    assert!(!desk.cancel(id, false).changed, "asking again changes nothing");
    assert!(desk.cancel(id, true).changed, "but killing is more than asking");
    assert!(!desk.cancel(id, false).changed, "and is never taken back");
    assert_eq!(desk.state.assignment("m0").runs[0].stop, Some(StopOrder { kill: true }));

    let run = desk.run_of(id);
    let _ = desk.report(&[(run, RunPhase::Running)]);
    assert_eq!(desk.state_of(id), JobState::Stopping, "a job that is being stopped does not go back to running");
    let effects = desk.end(id, EndCause::Stopped);
    assert_eq!(effects.ended[0].outcome.as_deref(), Some("cancelled by ada"));
    assert_eq!((effects.ended[0].state, effects.ended[0].exit_code), (JobState::Cancelled, Some(130)));
}

#[test]
fn a_cancelled_job_is_not_tried_again() {
    for (cause, state, code) in [
        (EndCause::Stopped, JobState::Cancelled, 130),
        (lost(), JobState::Cancelled, 130),
        (EndCause::Exit { rank: 0, code: 5 }, JobState::Failed, 5),
        (EndCause::Success, JobState::Succeeded, 0),
    ] {
        let mut desk = Desk::new();
        let mut spec = sample::spec("a");
        spec.retry = Retry { attempts: 9, on: vec![RetryOn::Lost, RetryOn::Error], backoff: Span::ZERO };
        let id = desk.submit(spec);
        let _ = desk.start(&[id]);
        let _ = desk.cancel(id, false);
        let job = &desk.end(id, cause).ended[0];
        assert_eq!((job.state, job.exit_code), (state, Some(code)));
    }
}

#[test]
fn a_job_in_back_off_is_cancelled_at_once() {
    let mut desk = Desk::new();
    let mut spec = sample::spec("a");
    spec.retry.attempts = 2;
    let id = desk.submit(spec);
    let _ = desk.start(&[id]);
    let _ = desk.end(id, lost());
    assert_eq!(desk.cancel(id, false).ended.len(), 1);
    assert_eq!(desk.state.next_due(), None);
}

#[test]
fn plans_that_do_not_fit_the_state_are_refused() {
    let mut desk = Desk::new();
    let id = desk.submit(sample::spec("a"));
    let other = desk.submit(sample::spec("b"));
    let adopt = |based_on, starts| Command::Adopt { based_on, starts, evictions: vec![], resizes: vec![], at: spec::Time(5) };
    let start = |job, grant| Start { job, grant };
    let now = desk.state.generation();
    assert_eq!(desk.refused(adopt(now - 1, vec![])), Refusal::Stale { based_on: now - 1, now });
    for starts in [
        vec![start(JobId::new(99), grant("m0", 1))],
        vec![start(id, grant("m9", 1))],
        vec![start(id, grant("m0", 2))],
        vec![start(other, grant("m0", 1)), start(id, grant("m0", 1)), start(id, grant("m0", 1))],
    ] {
        assert!(matches!(desk.refused(adopt(now, starts.clone())), Refusal::Inconsistent(_)), "{starts:?}");
    }
    let _ = desk.start(&[id]);
    let adoption = desk.adoption(&[id]);
    assert!(matches!(desk.refused(adoption), Refusal::Inconsistent(_)), "it holds a grant already");
}

#[test]
fn submissions_are_refused_for_a_reason() {
    let mut desk = Desk::new();
    let queues = vec![
        Queue::default(),
        Queue { name: "lab".into(), users: vec!["bob".into()], groups: vec!["1000".into()], ..Queue::default() },
        Queue { name: "closed".into(), users: vec!["bob".into()], ..Queue::default() },
    ];
    let _ = desk.apply(Command::Queues { queues: queues.clone(), at: desk.now });
    assert!(!desk.apply(Command::Queues { queues: queues.clone(), at: desk.now }).changed);
    let into = |desk: &Desk, queue: &str| {
        let mut spec = sample::spec("a");
        spec.queue = Some(queue.into());
        desk.submission(spec)
    };
    let no_queue = into(&desk, "nowhere");
    let refusal = desk.refused(no_queue);
    assert_eq!(refusal.to_string(), "there is no queue named 'nowhere'; there are: default, lab, closed");
    let closed = into(&desk, "closed");
    assert_eq!(desk.refused(closed).to_string(), "'ada' may not submit to queue 'closed'");
    let lab = into(&desk, "lab");
    let _ = desk.apply(lab);

    let removed = Command::Queues { queues: queues[..1].to_vec(), at: desk.now };
    assert_eq!(desk.refused(removed), Refusal::QueueInUse { queue: "lab".into(), jobs: 1 });
    let twice = Command::Queues { queues: [&queues[..], &queues[..1]].concat(), at: desk.now };
    assert!(matches!(desk.refused(twice), Refusal::Inconsistent(_)));

    let reused = Command::Submit { number: 1, spec: Arc::new(sample::spec("a")), owner: ada(), key: None, ended: vec![], at: desk.now };
    assert!(matches!(desk.refused(reused), Refusal::Inconsistent(_)));
    for ranges in [vec![], vec![(0, u32::MAX)]] {
        let mut spec = sample::spec("a");
        spec.array = Some(Array { ranges, at_once: None });
        let submission = desk.submission(spec);
        assert!(matches!(desk.refused(submission), Refusal::Inconsistent(_)));
    }
    let limits = Limits { runs: Some(1), ..Limits::default() };
    let changed = Command::Queues { queues: queues.into_iter().map(|queue| Queue { limits, ..queue }).collect(), at: desk.now };
    assert!(desk.apply(changed).replan);
}
