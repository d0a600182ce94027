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
    Queues {
        queues: Vec<Queue>,
        reply: Reply<Answer>,
    },
    /// Reports lie in the mailbox.
    Reports,
    WhatIf {
        spec: Arc<JobSpec>,
        owner: Identity,
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
    PutToken {
        token: Token,
        reply: Reply<()>,
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
            Request::Submit { jobs, .. } => jobs.len(),
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
            Request::Forget { reply, .. } => send(reply, why),
            Request::Trim { reply, .. } => send(reply, why),
            Request::WhatIf { reply, .. } => send(reply, why),
            Request::PutToken { reply, .. } | Request::DropToken { reply, .. } => send(reply, why),
            Request::Reports | Request::Stop => {}
        }
    }
}
