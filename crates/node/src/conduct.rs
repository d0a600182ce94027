//! How a gang is led to its end: a pure machine of events in, actions out.
//!
//! The first thing that goes wrong is the cause of the end; what happens to the others after it is consequence.
//! A gang never goes on with a rank missing, and never waits for a framework's own time-out.

use spec::{Checkpoint, EndCause, Overstep, Span};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Exited {
        rank: u32,
        code: i32,
    },
    Signalled {
        rank: u32,
        signal: i32,
    },
    /// Somebody ordered the end.
    StopOrdered {
        kill: bool,
    },
    LimitReached {
        limit: Span,
    },
    /// It held more of a device than its part, and the node's policy ends such runs.
    Overstepped {
        overstep: Overstep,
    },
    /// The timer armed by [`Action::ArmGrace`] ran out.
    GraceOver,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the checkpoint signal to every rank that still runs.
    Signal,
    ArmGrace(Span),
    /// End everything of the run at once.
    Kill,
}

/// The state of one gang between its start and its end.
#[derive(Clone, Debug)]
pub struct Conduct {
    checkpoint: Checkpoint,
    ranks_left: u32,
    cause: Option<EndCause>,
    killed: bool,
    /// The run has succeeded when rank 0 has.
    ends_with_first: bool,
    /// Rank 0 of such a run has: what becomes of the others says nothing.
    done: bool,
    /// A rank left otherwise than by itself with code 0 or, asked to end, with 128 + the signal it was asked with.
    unclean: bool,
}

impl Conduct {
    pub fn new(ranks: u32, checkpoint: Checkpoint) -> Conduct {
        Conduct { checkpoint, ranks_left: ranks, cause: None, killed: false, ends_with_first: false, done: false, unclean: false }
    }

    /// The ranks beside rank 0 only serve it, and are ended when it has ended well.
    pub fn ending_with_first(self, ends_with_first: bool) -> Conduct {
        Conduct { ends_with_first, ..self }
    }

    pub fn on(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Exited { .. } | Event::Signalled { .. } if self.done => {
                self.ranks_left = self.ranks_left.saturating_sub(1);
                vec![]
            }
            Event::Exited { rank, code } => {
                self.ranks_left = self.ranks_left.saturating_sub(1);
                if (rank, code, &self.cause) == (0, 0, &None) && self.ends_with_first {
                    self.done = true;
                    return self.kill();
                }
                let as_asked = self.cause.is_some() && code == 128 + self.checkpoint.signal.number();
                self.unclean |= code != 0 && !as_asked;
                if code == 0 { vec![] } else { self.end(EndCause::Exit { rank, code }, false) }
            }
            Event::Signalled { rank, signal } => {
                self.ranks_left = self.ranks_left.saturating_sub(1);
                self.unclean = true;
                self.end(EndCause::Signalled { rank, signal }, false)
            }
            Event::StopOrdered { kill } => self.end(EndCause::Stopped, kill),
            Event::Overstepped { overstep: Overstep { device, part, used, .. } } => {
                self.end(EndCause::DeviceMemory { device, part, used }, false)
            }
            Event::LimitReached { limit } => self.end(EndCause::Limit { limit, clean: false }, false),
            Event::GraceOver => self.kill(),
        }
    }

    /// The first cause wins; a later order to kill still kills.
    fn end(&mut self, cause: EndCause, kill: bool) -> Vec<Action> {
        let first = self.cause.is_none();
        self.cause.get_or_insert(cause);
        if kill {
            return self.kill();
        }
        if !first || self.ranks_left == 0 {
            return vec![];
        }
        vec![Action::Signal, Action::ArmGrace(self.checkpoint.grace)]
    }

    fn kill(&mut self) -> Vec<Action> {
        if std::mem::replace(&mut self.killed, true) { vec![] } else { vec![Action::Kill] }
    }

    pub fn is_stopping(&self) -> bool {
        self.cause.is_some()
    }

    pub fn ranks_left(&self) -> u32 {
        self.ranks_left
    }

    /// How the run ended, once no rank is left. `out_of_memory` is what the control group counted.
    pub fn cause(&self, out_of_memory: Option<EndCause>) -> EndCause {
        match (&self.cause, out_of_memory) {
            // The kernel's kill arrives as SIGKILL, or as the exit code a shell or Python parent makes of it.
            (
                Some(EndCause::Signalled { rank, signal: 9 } | EndCause::Exit { rank, .. }),
                Some(EndCause::OutOfMemory { limit, peak, .. }),
            ) => EndCause::OutOfMemory { rank: Some(*rank), limit, peak },
            (Some(EndCause::Limit { limit, .. }), _) => EndCause::Limit { limit: *limit, clean: !self.unclean && !self.killed },
            (Some(cause), _) => cause.clone(),
            (None, _) => EndCause::Success,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::Bytes;

    fn gang(ranks: u32) -> Conduct {
        Conduct::new(ranks, Checkpoint { grace: Span::seconds(5), ..Checkpoint::default() })
    }

    const STOP: [Action; 2] = [Action::Signal, Action::ArmGrace(Span::seconds(5))];

    #[test]
    fn all_ranks_done_is_success() {
        let mut gang = gang(2);
        assert!(gang.on(Event::Exited { rank: 0, code: 0 }).is_empty());
        assert!(gang.on(Event::Exited { rank: 1, code: 0 }).is_empty());
        assert_eq!((gang.ranks_left(), gang.cause(None)), (0, EndCause::Success));
    }

    #[test]
    fn the_first_failure_ends_the_gang_and_is_the_cause() {
        let mut gang = gang(3);
        assert_eq!(gang.on(Event::Exited { rank: 1, code: 17 }), STOP);
        assert!(gang.on(Event::Signalled { rank: 0, signal: 6 }).is_empty());
        assert!(gang.on(Event::Exited { rank: 2, code: 134 }).is_empty());
        assert_eq!(gang.cause(None), EndCause::Exit { rank: 1, code: 17 });
    }

    #[test]
    fn grace_over_kills_once() {
        let mut gang = gang(2);
        assert_eq!(gang.on(Event::StopOrdered { kill: false }), STOP);
        assert!(gang.on(Event::StopOrdered { kill: false }).is_empty());
        assert_eq!(gang.on(Event::GraceOver), [Action::Kill]);
        assert!(gang.on(Event::GraceOver).is_empty());
        assert!(gang.on(Event::StopOrdered { kill: true }).is_empty());
        assert_eq!(gang.cause(None), EndCause::Stopped);
    }

    #[test]
    fn a_second_order_may_kill() {
        let mut gang = gang(1);
        assert_eq!(gang.on(Event::LimitReached { limit: Span(9) }), STOP);
        assert_eq!(gang.on(Event::StopOrdered { kill: true }), [Action::Kill]);
        assert_eq!(gang.cause(None), EndCause::Limit { limit: Span(9), clean: false });
    }

    #[test]
    fn ranks_that_all_leave_well_after_the_limit_have_ended_clean() {
        let ends: [(&[Event], bool); 6] = [
            // What a program that handles SIGTERM says of itself by custom; a shell would say it of a dead child.
            (&[Event::Exited { rank: 0, code: 143 }, Event::Exited { rank: 1, code: 0 }], true),
            (&[Event::Exited { rank: 0, code: 0 }, Event::Exited { rank: 1, code: 0 }], true),
            (&[Event::Exited { rank: 0, code: 0 }, Event::Exited { rank: 1, code: 1 }], false),
            (&[Event::Exited { rank: 0, code: 0 }, Event::Signalled { rank: 1, signal: 10 }], false),
            (&[Event::Exited { rank: 0, code: 0 }, Event::GraceOver, Event::Signalled { rank: 1, signal: 9 }], false),
            // A second order, to kill, that comes while the last rank leaves by itself.
            (&[Event::Exited { rank: 0, code: 0 }, Event::StopOrdered { kill: true }, Event::Exited { rank: 1, code: 0 }], false),
        ];
        for (events, clean) in ends {
            let mut gang = gang(2);
            gang.on(Event::LimitReached { limit: Span(9) });
            events.iter().for_each(|event| drop(gang.on(event.clone())));
            assert_eq!(gang.cause(None), EndCause::Limit { limit: Span(9), clean }, "{events:?}");
        }
    }

    #[test]
    fn ranks_that_serve_the_first_end_with_it() {
        let mut served = gang(3).ending_with_first(true);
        assert_eq!(served.on(Event::Exited { rank: 0, code: 0 }), [Action::Kill]);
        assert!(served.on(Event::Signalled { rank: 1, signal: 9 }).is_empty());
        assert!(served.on(Event::Exited { rank: 2, code: 1 }).is_empty());
        assert_eq!((served.ranks_left(), served.cause(None)), (0, EndCause::Success));
        // One that leaves before the first is a failure like any other; so is the first's own.
        for (rank, code) in [(1, 3), (0, 3)] {
            let mut failed = gang(3).ending_with_first(true);
            assert_eq!(failed.on(Event::Exited { rank, code }), STOP);
            assert_eq!(failed.cause(None), EndCause::Exit { rank, code });
        }
        let mut stopped = gang(2).ending_with_first(true);
        stopped.on(Event::StopOrdered { kill: false });
        assert!(stopped.on(Event::Exited { rank: 0, code: 0 }).is_empty(), "the others have their grace");
        assert_eq!(stopped.cause(None), EndCause::Stopped);
    }

    #[test]
    fn a_rank_alone_needs_no_signal_after_its_death() {
        let mut gang = gang(1);
        assert!(gang.on(Event::Exited { rank: 0, code: 1 }).is_empty());
        assert!(gang.is_stopping());
    }

    #[test]
    fn the_kernels_kill_is_told_as_out_of_memory() {
        let oom = EndCause::OutOfMemory { rank: None, limit: Bytes(5), peak: Bytes(5) };
        let mut signalled = gang(2);
        signalled.on(Event::Signalled { rank: 1, signal: 9 });
        assert_eq!(signalled.cause(Some(oom.clone())), EndCause::OutOfMemory { rank: Some(1), limit: Bytes(5), peak: Bytes(5) });
        // A process that lost a child to it but then ended well succeeded.
        let mut fine = gang(1);
        fine.on(Event::Exited { rank: 0, code: 0 });
        assert_eq!(fine.cause(Some(oom.clone())), EndCause::Success);
        // Out of memory while being stopped is still the stop.
        let mut stopped = gang(1);
        stopped.on(Event::StopOrdered { kill: false });
        stopped.on(Event::Signalled { rank: 0, signal: 9 });
        assert_eq!(stopped.cause(Some(oom)), EndCause::Stopped);
    }
}
