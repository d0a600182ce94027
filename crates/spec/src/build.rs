//! Jobs made by hand: from flags, from the wire, in tests.

use crate::limits;
use crate::rules::violations;
use crate::{Checkpoint, Isolation, JobSpec, Latency, Launch, Retry, Span, Work};
use machine::CpuShare;
use std::collections::BTreeMap;

impl JobSpec {
    /// The numbers of ranks with which the job may run, ascending, never empty.
    pub fn sizes(&self) -> &[u32] {
        if self.sizes.is_empty() { std::slice::from_ref(&self.ranks) } else { &self.sizes }
    }

    /// The fewest ranks with which the job runs.
    pub fn least_ranks(&self) -> u32 {
        self.sizes()[0]
    }

    pub fn is_elastic(&self) -> bool {
        self.sizes.len() > 1
    }

    /// Whether a run of the job may be ended at its checkpoint so that it goes on with another number of ranks.
    pub fn is_resizable(&self) -> bool {
        // A task whose array has a ceiling could lose its turn to another one while it restarts.
        let bounded = self.array.as_ref().is_some_and(|array| array.at_once.is_some());
        self.is_elastic() && self.checkpoint.declared && !bounded
    }

    /// The job with this number of ranks and no other: what a node carries out.
    pub fn sized(&self, ranks: u32) -> JobSpec {
        JobSpec { ranks, sizes: Vec::new(), ..self.clone() }
    }

    /// How long a run may hold what it was given, as far as the job says: what it expects, or else its limit and the
    /// grace that comes on top of it, whichever is less. `None` when it says neither.
    pub fn longest(&self) -> Option<Span> {
        let limit = self.limit.map(|limit| Span(limit.0.saturating_add(self.checkpoint.grace.0)));
        [self.expect, limit].into_iter().flatten().min()
    }

    /// A job of one rank and one CPU that runs an argument vector in an absolute folder; everything else is
    /// what a job file leaves out. The fields may be changed and the whole is then to be [validated](JobSpec::validate).
    pub fn command_job(name: impl Into<String>, argv: Vec<String>, workdir: impl Into<String>) -> JobSpec {
        JobSpec {
            name: name.into(),
            work: Work::Command(argv),
            ranks: 1,
            sizes: vec![],
            devices: None,
            cpus: CpuShare::ONE,
            memory: None,
            shm: None,
            workdir: workdir.into(),
            env: BTreeMap::new(),
            mounts: Vec::new(),
            environment: None,
            launch: Launch::default(),
            expect: None,
            limit: None,
            priority: 0,
            queue: None,
            retry: Retry::default(),
            checkpoint: Checkpoint::default(),
            after: Vec::new(),
            array: None,
            isolation: Isolation::default(),
            latency: Latency::Ordinary,
            notify: None,
        }
    }

    /// Checks a job that did not come out of [`crate::parse_job`] against the same rules. One sentence for each
    /// that is not kept, with the name of the field and the hint.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let sentences: Vec<String> = violations(self)
            .into_iter()
            .take(limits::PROBLEMS)
            .map(|violation| match violation.error.hint {
                Some(hint) => format!("{}: {} ({hint})", violation.path, violation.error.message),
                None => format!("{}: {}", violation.path, violation.error.message),
            })
            .collect();
        if sentences.is_empty() { Ok(()) } else { Err(sentences) }
    }
}
