//! One rule a test, against a desk that checks after every command that the state survives being saved.

mod arrays_and_dependencies;
mod bounds;
mod forgetting;
mod leaving;
mod lifecycle;
mod replay;
mod reports;

use crate::world::sample;
use crate::{Command, Effects, Job, JobState, Refusal, State};
use machine::{Bytes, CpuShare, Grant, RankGrant};
use placement::Start;
use spec::{EndCause, Identity, JobId, JobSpec, Report, RunId, RunPhase, RunReport, Span, Time};
use std::sync::Arc;

pub(super) struct Desk {
    pub state: State,
    pub now: Time,
    pub log: Vec<Command>,
}

pub(super) fn ada() -> Identity {
    sample::person("ada", 1000)
}

pub(super) fn said(run: RunId, phase: RunPhase) -> RunReport {
    RunReport { run, phase, started: None, ended: None, ranks: vec![], isolation: None, stages: vec![], usage: None, overstep: None }
}

pub(super) fn grant(machine: &str, ranks: u32) -> Grant {
    let rank = |cpu| RankGrant { cpus: [cpu].into_iter().collect(), devices: vec![] };
    Grant {
        machine: machine.into(),
        ranks: (0..ranks).map(rank).collect(),
        cpu_share: CpuShare::ONE,
        memory: Bytes::mib(64),
        shm: Bytes::mib(32),
        mem_nodes: [0].into_iter().collect(),
        ports: None,
        share: None,
    }
}

pub(super) fn lost() -> EndCause {
    EndCause::Lost { message: "the machine restarted".into() }
}

impl Desk {
    /// With machine `m0`.
    pub fn new() -> Desk {
        let mut desk = Desk { state: State::new(), now: Time(1_000_000), log: vec![] };
        let machine = Arc::new(sample::machine("m0", 8, 0, Bytes::gib(16)));
        let _ = desk.apply(Command::Join { machine, at: desk.now });
        desk
    }

    pub fn apply(&mut self, command: Command) -> Effects {
        let before = self.state.clone();
        let effects = self.state.apply(&command).unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"));
        assert_eq!(effects.changed, before != self.state, "{command:?}");
        assert_eq!(self.state.generation(), before.generation() + u64::from(effects.changed));
        let saved = self.state.checkpoint().expect("every state can be saved");
        assert_eq!(State::restore(&saved).expect("and restored"), self.state, "after {command:?}");
        self.log.push(command);
        effects
    }

    pub fn refused(&mut self, command: Command) -> Refusal {
        let before = self.state.clone();
        let refusal = self.state.apply(&command).expect_err("this is refused");
        assert_eq!(self.state, before, "a refused command changes nothing");
        refusal
    }

    pub fn submission(&self, spec: JobSpec) -> Command {
        let number = self.state.next_number();
        Command::Submit { number, spec: Arc::new(spec), owner: ada(), key: None, ended: vec![], at: self.now }
    }

    pub fn submit(&mut self, spec: JobSpec) -> JobId {
        let number = self.state.next_number();
        let command = self.submission(spec);
        let _ = self.apply(command);
        JobId::new(number)
    }

    pub fn adoption(&self, jobs: &[JobId]) -> Command {
        let start = |id: &JobId| Start { job: *id, grant: grant("m0", self.state.job(*id).map_or(1, |job| job.spec.ranks)) };
        Command::Adopt {
            based_on: self.state.generation(),
            starts: jobs.iter().map(start).collect(),
            evictions: vec![],
            resizes: vec![],
            at: self.now,
        }
    }

    pub fn start(&mut self, jobs: &[JobId]) -> Effects {
        let command = self.adoption(jobs);
        self.apply(command)
    }

    pub fn cancel(&mut self, job: JobId, kill: bool) -> Effects {
        self.apply(Command::Cancel { job, by: ada(), kill, at: self.now })
    }

    /// Reports these runs, and all others of `m0` as they were known.
    pub fn report(&mut self, runs: &[(RunId, RunPhase)]) -> Effects {
        let mut all: Vec<RunReport> = runs.iter().map(|(run, phase)| said(*run, phase.clone())).collect();
        for (_, run) in self.state.holding("m0") {
            if !runs.iter().any(|(other, _)| *other == run.id) {
                all.push(said(run.id, RunPhase::Starting));
            }
        }
        let generation = self.state.assignment("m0").generation;
        let report = Report { machine: "m0".into(), generation, runs: all };
        self.apply(Command::Observe { report, at: self.now })
    }

    pub fn run_of(&self, job: JobId) -> RunId {
        self.job(job).runs.last().expect("it ran").id
    }

    pub fn end(&mut self, job: JobId, cause: EndCause) -> Effects {
        let run = self.run_of(job);
        self.report(&[(run, RunPhase::Ended(cause))])
    }

    pub fn job(&self, id: JobId) -> &Job {
        self.state.job(id).unwrap_or_else(|| panic!("job {id} is live"))
    }

    pub fn state_of(&self, id: JobId) -> JobState {
        self.job(id).state
    }

    pub fn pass(&mut self, span: Span) {
        self.now = self.now + span;
    }
}
