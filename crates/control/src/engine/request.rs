//! What goes to the writer thread, and the answers that come back once they are on disk.

use crate::log::Token;
use cluster::{Answer, Refusal};
use machine::Machine;
use placement::WhatIf;
use spec::{Identity, JobId, JobSpec, Queue, Time};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Nothing can be accepted now; what was answered before is safe, and running jobs go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node cannot accept this now: {message}")]
pub struct Unavailable {
    pub message: String,
    pub hint: Option<String>,
}

/// Whatever somebody asks for, sums of weights must not overflow.
const WEIGHT_MAX: usize = 1 << 20;

pub type Reply<T> = oneshot::Sender<Result<T, Unavailable>>;

pub struct Submission {
    pub spec: Arc<JobSpec>,
    pub key: Option<String>,
}

pub enum Request {
    Submit {
        jobs: Vec<Submission>,
        owner: Identity,
        reply: Reply<Vec<Answer>>,
    },
    Cancel {
        job: JobId,
        by: Identity,
        kill: bool,
        reply: Reply<Answer>,
    },
    Join {
        machine: Arc<Machine>,
        reply: Reply<Answer>,
    },
    /// Take out a machine.
    Leave {
        machine: String,
        by: Identity,
        reply: Reply<Answer>,
    },
    Queues {
        queues: Vec<Queue>,
        reply: Reply<Answer>,
    },
    /// Reports lie in the mailbox.
    Reports,
    WhatIf {
        spec: Arc<JobSpec>,
        owner: Identity,
        suppose: Vec<spec::Supposition>,
        reply: Reply<Result<WhatIf, Refusal>>,
    },
    /// Jobs, by number, that need not be remembered any more.
    Forget {
        numbers: Vec<u64>,
        reply: Reply<Answer>,
    },
    /// Drop records from before this time that no saved state needs, some of them; answered with how many.
    Trim {
        before: Time,
        reply: Reply<usize>,
    },
    /// Answered with false when its person has so many valid ones already.
    PutToken {
        token: Token,
        most: u32,
        reply: Reply<bool>,
    },
    DropToken {
        id: String,
        reply: Reply<()>,
    },
    /// Save the state and end.
    Stop,
}

impl Request {
    /// How many inputs of a step it stands for.
    pub fn weight(&self) -> usize {
        match self {
            // A task of an array is a job of its own in memory.
            Request::Submit { jobs, .. } => {
                let tasks = |job: &Submission| job.spec.array.as_ref().map_or(1, |array| array.len().max(1));
                let all = jobs.iter().map(tasks).fold(0, u64::saturating_add);
                usize::try_from(all).unwrap_or(usize::MAX).min(WEIGHT_MAX)
            }
            _ => 1,
        }
    }

    /// Answers it without having done it.
    pub fn refuse(self, why: &Unavailable) {
        fn send<T>(reply: Reply<T>, why: &Unavailable) {
            // Whoever asked may have gone away; then nobody needs the answer.
            let _ = reply.send(Err(why.clone()));
        }
        match self {
            Request::Submit { reply, .. } => send(reply, why),
            Request::Cancel { reply, .. } | Request::Join { reply, .. } | Request::Queues { reply, .. } => send(reply, why),
            Request::Forget { reply, .. } | Request::Leave { reply, .. } => send(reply, why),
            Request::Trim { reply, .. } => send(reply, why),
            Request::WhatIf { reply, .. } => send(reply, why),
            Request::PutToken { reply, .. } => send(reply, why),
            Request::DropToken { reply, .. } => send(reply, why),
            Request::Reports | Request::Stop => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_weighs_as_much_as_its_tasks() {
        let weight = |arrays: &[u32]| {
            let job = |last: &u32| {
                let array = Some(spec::Array { ranges: vec![(0, *last)], at_once: None });
                Submission { spec: Arc::new(JobSpec { array, ..crate::views::sample_spec("many") }), key: None }
            };
            let owner = crate::access::tests::person(1000);
            Request::Submit { jobs: arrays.iter().map(job).collect(), owner, reply: oneshot::channel().0 }.weight()
        };
        assert_eq!(weight(&[0]), 1);
        assert_eq!(weight(&[99_999, 0]), 100_001);
        assert_eq!(weight(&[u32::MAX, u32::MAX, u32::MAX]), WEIGHT_MAX);
    }
}
