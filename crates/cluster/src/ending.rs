//! What the end of a run means for its job.

use crate::{Job, Run, RunState};
use diagnosis::run_end::{End, EndFacts};
use spec::{EndCause, JobSpec, RetryOn, Span, Work};

/// Exit code of a job that was cancelled: as if by Ctrl-C in a shell.
pub(crate) const CANCELLED: i32 = 130;
const TIME_LIMIT: i32 = 124;
const NEVER_RAN: i32 = 125;
const OUT_OF_MEMORY: i32 = 137;

/// The longest wait between two attempts.
pub(crate) const LONGEST_BACKOFF: Span = Span::hours(1);

/// See [`Job::exit_code`].
pub(crate) fn exit_code(cause: &EndCause) -> i32 {
    match cause {
        EndCause::Success => 0,
        EndCause::Exit { code, .. } => *code,
        EndCause::Signalled { signal, .. } => signal.saturating_add(128),
        EndCause::OutOfMemory { .. } | EndCause::DeviceMemory { .. } => OUT_OF_MEMORY,
        EndCause::Limit { .. } => TIME_LIMIT,
        EndCause::Stopped => CANCELLED,
        EndCause::StartFailed { .. } | EndCause::Lost { .. } => NEVER_RAN,
    }
}

/// The condition under which such an end is tried again. A run that its machine stopped without an order of
/// ours is as good as lost.
fn condition(cause: &EndCause) -> Option<RetryOn> {
    match cause {
        EndCause::Success => None,
        EndCause::Exit { .. } | EndCause::Signalled { .. } => Some(RetryOn::Error),
        EndCause::OutOfMemory { .. } | EndCause::DeviceMemory { .. } => Some(RetryOn::OutOfMemory),
        EndCause::Limit { .. } => Some(RetryOn::Limit),
        EndCause::StartFailed { missing: true, .. } => Some(RetryOn::Missing),
        EndCause::StartFailed { .. } => Some(RetryOn::Start),
        EndCause::Lost { .. } | EndCause::Stopped => Some(RetryOn::Lost),
    }
}

/// What becomes of the job after its run ended so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Succeeded,
    Failed,
    Cancelled,
    /// Another attempt, after this wait.
    Again(Span),
}

/// `runs` counts the runs so far, the ended one included.
pub(crate) fn verdict(spec: &JobSpec, runs: u32, cancelled: bool, cause: &EndCause) -> Verdict {
    match (cause, cancelled) {
        (EndCause::Success, _) => Verdict::Succeeded,
        (EndCause::Stopped | EndCause::Lost { .. } | EndCause::StartFailed { .. }, true) => Verdict::Cancelled,
        // It went wrong by itself before the stop reached it: say so, but do not try again.
        (_, true) => Verdict::Failed,
        (_, false) if runs < spec.retry.attempts && condition(cause).is_some_and(|on| spec.retry.on.contains(&on)) => {
            Verdict::Again(backoff(spec.retry.backoff, runs))
        }
        (_, false) => Verdict::Failed,
    }
}

/// The wait before the next attempt after `runs` of them: doubled each time, an hour at most.
fn backoff(first: Span, runs: u32) -> Span {
    let factor = 1u64.checked_shl(runs.saturating_sub(1)).unwrap_or(u64::MAX);
    Span(first.0.saturating_mul(factor).min(LONGEST_BACKOFF.0))
}

/// Why the newest run of the job ended, with what its owner can do. `None` while it has not.
pub fn explain(job: &Job) -> Option<diagnosis::Finding> {
    let Run { state: RunState::Ended(cause), .. } = job.runs.last()? else { return None };
    Some(explain_cause(job, job.cancelled_by.as_ref().map(|by| by.user.as_str()), cause))
}

/// `cause` is that of the newest run.
pub(crate) fn explain_cause(job: &Job, cancelled_by: Option<&str>, cause: &EndCause) -> diagnosis::Finding {
    let program = match &job.spec.work {
        Work::Command(words) => words.first().map(String::as_str),
        Work::Script(_) => None,
    };
    let limit_text;
    let end = match cause {
        EndCause::Success => End::Success,
        EndCause::Exit { rank, code } => End::Exit { rank: *rank, code: *code },
        EndCause::Signalled { rank, signal } => End::Signalled { rank: *rank, signal: *signal },
        EndCause::OutOfMemory { rank, limit, peak } => End::OutOfMemory { rank: *rank, limit: *limit, peak: *peak },
        EndCause::DeviceMemory { device, part, used } => End::DeviceMemory { device: &device.0, part: *part, used: *used },
        EndCause::Limit { limit, clean } => {
            limit_text = limit.to_string();
            End::Limit { limit: &limit_text, clean: *clean }
        }
        EndCause::Stopped => End::Stopped { by: cancelled_by },
        EndCause::StartFailed { message, hint, missing } => End::StartFailed { message, hint: hint.as_deref(), missing: *missing },
        EndCause::Lost { message } => End::Lost { message },
    };
    let ranks = job.runs.last().and_then(|run| u32::try_from(run.grant.ranks.len()).ok()).unwrap_or(job.spec.ranks);
    diagnosis::run_end::explain(&EndFacts { end, ranks, program })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::sample;
    use machine::Bytes;

    fn causes() -> Vec<(EndCause, i32, Option<RetryOn>)> {
        let oom = EndCause::OutOfMemory { rank: None, limit: Bytes(1), peak: Bytes(1) };
        let failed = |missing| EndCause::StartFailed { message: "m".into(), hint: None, missing };
        vec![
            (EndCause::Success, 0, None),
            (EndCause::Exit { rank: 1, code: 3 }, 3, Some(RetryOn::Error)),
            (EndCause::Signalled { rank: 1, signal: 11 }, 139, Some(RetryOn::Error)),
            (oom, 137, Some(RetryOn::OutOfMemory)),
            (EndCause::Limit { limit: Span(1), clean: false }, 124, Some(RetryOn::Limit)),
            (EndCause::Limit { limit: Span(1), clean: true }, 124, Some(RetryOn::Limit)),
            (failed(false), 125, Some(RetryOn::Start)),
            (failed(true), 125, Some(RetryOn::Missing)),
            (EndCause::Lost { message: "m".into() }, 125, Some(RetryOn::Lost)),
        ]
    }

    #[test]
    fn exit_codes_are_those_promised() {
        for (cause, code, _) in causes() {
            assert_eq!(exit_code(&cause), code, "{cause:?}");
        }
        assert_eq!(exit_code(&EndCause::Stopped), 130);
    }

    #[test]
    fn an_end_is_tried_again_only_on_its_own_condition() {
        for (cause, _, condition) in causes() {
            for on in RetryOn::ALL.iter().copied() {
                let mut spec = sample::spec("a");
                spec.retry = spec::Retry { attempts: 2, on: vec![on], backoff: Span(7) };
                let expected = match &cause {
                    EndCause::Success => Verdict::Succeeded,
                    _ if condition == Some(on) => Verdict::Again(Span(7)),
                    _ => Verdict::Failed,
                };
                assert_eq!(verdict(&spec, 1, false, &cause), expected, "{cause:?} {on:?}");
                if cause != EndCause::Success {
                    assert_eq!(verdict(&spec, 2, false, &cause), Verdict::Failed, "no attempt is left");
                    assert_ne!(verdict(&spec, 1, true, &cause), Verdict::Again(Span(7)), "a cancelled job is not tried again");
                }
            }
        }
    }

    #[test]
    fn a_cancelled_job_that_failed_by_itself_says_so() {
        let spec = sample::spec("a");
        assert_eq!(verdict(&spec, 1, true, &EndCause::Stopped), Verdict::Cancelled);
        assert_eq!(verdict(&spec, 1, true, &EndCause::Lost { message: String::new() }), Verdict::Cancelled);
        assert_eq!(verdict(&spec, 1, true, &EndCause::Exit { rank: 0, code: 9 }), Verdict::Failed);
        assert_eq!(verdict(&spec, 1, true, &EndCause::Success), Verdict::Succeeded);
    }

    #[test]
    fn backoff_doubles_up_to_an_hour() {
        let first = Span::seconds(10);
        for (runs, wait) in [(1, 10), (2, 20), (3, 40), (9, 2560), (10, 3600), (63, 3600), (64, 3600), (65, 3600), (u32::MAX, 3600)] {
            assert_eq!(backoff(first, runs), Span::seconds(wait), "after {runs} runs");
        }
        assert_eq!(backoff(Span::ZERO, 5), Span::ZERO);
    }
}
