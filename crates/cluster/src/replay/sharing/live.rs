//! The core that a node runs, as one scheduler among others.

use super::{Cluster, Decision, Ended, Scheduler, Work};
use crate::world::sample;
use crate::{Command, Core, Input, State};
use machine::Bytes;
use placement::Policy;
use spec::{DeviceRequest, EndCause, JobSpec, Limits, Queue, Report, RunPhase, RunReport, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// [`Core`] with a queue for each tenant, guaranteed what its weight entitles to. Nothing is decided here.
pub struct Live<'a> {
    cluster: &'a Cluster,
    work: &'a [Work],
    core: Core,
    /// Job numbers of work, and back.
    numbers: BTreeMap<usize, u64>,
    indices: BTreeMap<u64, usize>,
    begun: bool,
}

impl<'a> Live<'a> {
    pub fn new(cluster: &'a Cluster, work: &'a [Work], policy: Policy) -> Live<'a> {
        let core = Core::new(State::new(), policy);
        Live { cluster, work, core, numbers: BTreeMap::new(), indices: BTreeMap::new(), begun: false }
    }

    fn begin(&mut self) -> Vec<Input> {
        self.begun = true;
        let queue = |tenant: usize| Queue {
            name: name(tenant),
            weight: self.cluster.weights[tenant],
            guarantee: Limits { devices: Some(self.cluster.nominal(tenant)), ..Limits::default() },
            ..Queue::default()
        };
        let queues = std::iter::once(Queue::default()).chain((0..self.cluster.weights.len()).map(queue)).collect();
        let machine = |index: usize| {
            let machine = sample::machine(&format!("m{index}"), 2 * self.cluster.each, self.cluster.each, Bytes::gib(256));
            Input::Join { machine: Arc::new(machine) }
        };
        std::iter::once(Input::Queues { queues }).chain((0..self.cluster.machines).map(machine)).collect()
    }

    fn submission(&self, index: usize) -> Input {
        let work = &self.work[index];
        let mut spec = JobSpec {
            ranks: work.devices,
            devices: Some(DeviceRequest { count: 1, ..DeviceRequest::default() }),
            expect: Some(work.says),
            queue: Some(name(work.tenant)),
            ..sample::spec("work")
        };
        spec.checkpoint.grace = super::GRACE;
        Input::Submit { spec: Arc::new(spec), owner: sample::person("ada", 1000), key: None, ended: vec![] }
    }

    /// What the nodes say: which of their runs have ended.
    fn reports(&self, ended: &[Ended]) -> Vec<Input> {
        let gone: BTreeMap<u64, bool> = ended.iter().map(|ended| (self.numbers[&ended.work], ended.evicted)).collect();
        let jobs = || gone.keys().filter_map(|number| self.core.state().job(spec::JobId::new(*number))?.live_run());
        let machines: BTreeSet<&str> = jobs().map(|run| run.grant.machine.as_str()).collect();
        let report = |machine: &str| {
            let runs = self.core.state().holding(machine).map(|(job, run)| {
                let phase = match gone.get(&job.id.number) {
                    None => RunPhase::Starting,
                    Some(true) => RunPhase::Ended(EndCause::Stopped),
                    Some(false) => RunPhase::Ended(EndCause::Success),
                };
                RunReport {
                    run: run.id,
                    phase,
                    started: None,
                    ended: None,
                    ranks: vec![],
                    isolation: None,
                    stages: vec![],
                    usage: None,
                    overstep: None,
                }
            });
            let generation = self.core.state().assignment(machine).generation;
            Input::Observe { report: Report { machine: machine.into(), generation, runs: runs.collect() } }
        };
        machines.into_iter().map(report).collect()
    }
}

fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

impl Scheduler for Live<'_> {
    fn step(&mut self, now: Time, arrived: &[usize], ended: &[Ended]) -> Decision {
        let mut inputs = if self.begun { Vec::new() } else { self.begin() };
        inputs.extend(self.reports(ended));
        let next = self.core.state().next_number();
        for (number, index) in (next..).zip(arrived) {
            self.numbers.insert(*index, number);
            self.indices.insert(number, *index);
            inputs.push(self.submission(*index));
        }
        let batch = self.core.step(inputs, now);
        let mut decision = Decision::default();
        for record in &batch.records {
            let Command::Adopt { starts, evictions, .. } = record else { continue };
            for start in starts {
                let machine = start.grant.machine.trim_start_matches('m').parse().unwrap_or(usize::MAX);
                decision.starts.push((self.indices[&start.job.number], machine, start.grant.devices().count() as u32));
            }
            for eviction in evictions {
                let by = self.indices[&eviction.job.number];
                decision.evictions.extend(eviction.victims.iter().map(|victim| (self.indices[&victim.job.number], by)));
            }
        }
        decision
    }

    fn wake(&self) -> Option<Time> {
        self.core.next_wake()
    }
}
