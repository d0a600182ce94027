//! A control plane with a machine that carries out assignments in memory.

use control::{Control, NodeLink, Options, StartError};
use machine::{Bytes, Cpu, CpuShare, Machine, NumaNode};
use spec::{Assignment, EndCause, JobSpec, RankReport, RankState, Report, RunId, RunPhase, RunReport, Time, Work};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// A whole plain job. Its command decides what the machine below makes of it: `true` ends at once, `sleep` runs on.
pub fn job(command: &str) -> JobSpec {
    JobSpec {
        name: "test".into(),
        work: Work::Command(vec![command.into()]),
        ranks: 1,
        sizes: vec![],
        devices: None,
        cpus: CpuShare::ONE,
        memory: Some(Bytes(64 << 20)),
        shm: None,
        workdir: "/tmp".into(),
        env: BTreeMap::new(),
        mounts: vec![],
        environment: None,
        launch: Default::default(),
        expect: None,
        limit: None,
        priority: 0,
        queue: None,
        retry: Default::default(),
        checkpoint: Default::default(),
        after: vec![],
        array: None,
        isolation: Default::default(),
        latency: Default::default(),
        notify: None,
    }
}

pub fn machine(cpus: u32) -> Machine {
    let node = NumaNode { id: 0, memory: Bytes(64 << 30), cpus: (0..cpus).collect(), distances: vec![10] };
    Machine {
        id: "m1".into(),
        hostname: "box".into(),
        memory: Bytes(64 << 30),
        cpus: (0..cpus).map(|id| Cpu { id, core: id, ..Cpu::default() }).collect(),
        numa: vec![node],
        ..Machine::default()
    }
}

pub struct World {
    pub control: Option<Control>,
    node: Option<JoinHandle<()>>,
}

impl World {
    /// A control plane without a machine: jobs wait.
    pub fn alone(dir: &Path) -> Result<World, StartError> {
        let (sender, receiver) = channel();
        drop(receiver);
        let control = Control::start(Options { tcp: None, ..Options::new(dir.into(), "0.0.0-test", link(sender)) })?;
        Ok(World { control: Some(control), node: None })
    }

    pub fn start(dir: &Path, change: impl FnOnce(&mut Options)) -> World {
        let world = World::without_machine(dir, change);
        world.control().join(machine(4)).unwrap();
        world
    }

    /// The machine is there and has not joined yet.
    pub fn without_machine(dir: &Path, change: impl FnOnce(&mut Options)) -> World {
        let (sender, receiver) = channel();
        let mut options = Options::new(dir.into(), "0.0.0-test", link(sender));
        change(&mut options);
        let control = Control::start(options).unwrap();
        let observe = control.observer();
        let node = std::thread::spawn(move || carry_out(&receiver, &observe));
        World { control: Some(control), node: Some(node) }
    }

    pub fn control(&self) -> &Control {
        self.control.as_ref().unwrap()
    }

    pub fn client(&self) -> api::Client {
        api::Client::connect(&self.control().socket()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The link goes with the control plane, and the machine's thread with the link.
        self.control = None;
        if let Some(node) = self.node.take() {
            node.join().unwrap();
        }
    }
}

fn link(sender: Sender<Assignment>) -> NodeLink {
    NodeLink {
        assign: Box::new(move |assignment| drop(sender.send(assignment))),
        logs: Box::new(|query| {
            let text = format!("output of {} rank {}\n", query.run, query.rank).into_bytes();
            let from = (query.offset as usize).min(text.len());
            let to = (from + query.max as usize).min(text.len());
            Ok(api::LogChunk { offset: query.offset, data: text[from..to].to_vec(), ended: from == text.len() })
        }),
        progress: Box::new(|run, ran| {
            let (step, fraction) = (u64::from(run.attempt), Some(0.5));
            let curve = vec![(step, ran.0 as f64)];
            Some(api::ProgressView { step: Some(step), fraction, curve, source: "metrics".into(), ..Default::default() })
        }),
        forget: Box::new(|_| {}),
        notify: Box::new(|_| {}),
        figures: Box::new(std::collections::BTreeMap::new),
    }
}

/// Starts what is new, ends what is told to stop or does nothing but end.
fn carry_out(assignments: &Receiver<Assignment>, observe: &impl Fn(Report)) {
    let mut running: BTreeMap<RunId, RunReport> = BTreeMap::new();
    for assignment in assignments {
        running.retain(|run, _| assignment.runs.iter().any(|order| order.run == *run));
        for order in &assignment.runs {
            let quick = matches!(&order.spec.work, Work::Command(words) if words[0] == "true");
            let (phase, state) = match (&order.stop, quick) {
                (Some(_), _) => (RunPhase::Ended(EndCause::Stopped), RankState::Signalled { signal: 15 }),
                (None, true) => (RunPhase::Ended(EndCause::Success), RankState::Exited { code: 0 }),
                (None, false) => (RunPhase::Running, RankState::Running),
            };
            // Long ago, and each later than the one before.
            let ended = matches!(phase, RunPhase::Ended(_)).then_some(Time(1_000_000 + order.run.job.number));
            let report = RunReport {
                run: order.run,
                phase,
                started: Some(Time(1)),
                ended,
                ranks: vec![RankReport { rank: 0, state, pid: None }],
                isolation: None,
                stages: vec![],
                usage: None,
                overstep: None,
            };
            running.insert(order.run, report);
        }
        observe(Report {
            machine: assignment.machine.clone(),
            generation: assignment.generation,
            runs: running.values().cloned().collect(),
        });
    }
}
