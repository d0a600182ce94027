//! Small machines and jobs for the tests of this crate.
#![allow(dead_code)]

use machine::{Bytes, Cpu, CpuSet, CpuShare, Device, DeviceClass, DeviceId, Grant, Health, Machine, NumaNode, RankGrant, Vendor};
use placement::{MachineSnapshot, Policy, QueueSnapshot, Running, Snapshot, Waiting, check, plan};
use spec::{DeviceRequest, JobId, JobSpec, Launch, Limits, Queue, RunId, Span, Time, Work};
use std::sync::Arc;

pub const NOW: Time = Time(1_000_000_000);

/// `nodes` memory nodes of `cores` cores of `threads` threads; a node is one cache group. Threads are numbered as
/// Linux does on most servers: all first threads, then all second ones.
pub fn machine(nodes: u32, cores: u32, threads: u32, memory: Bytes) -> Machine {
    let mut cpus = Vec::new();
    for thread in 0..threads {
        for node in 0..nodes {
            for core in 0..cores {
                let id = thread * nodes * cores + node * cores + core;
                cpus.push(Cpu { id, package: node, core, numa: node, cache_group: node * cores });
            }
        }
    }
    let numa = (0..nodes).map(|id| NumaNode {
        id,
        memory: memory.scaled(1, u64::from(nodes)),
        cpus: cpus.iter().filter(|cpu| cpu.numa == id).map(|cpu| cpu.id).collect(),
        distances: (0..nodes).map(|other| if other == id { 10 } else { 20 }).collect(),
    });
    Machine { id: "m1".into(), hostname: "box".into(), numa: numa.collect(), cpus, memory, ..Machine::default() }
}

pub fn device(index: u32, vendor: Vendor, class: DeviceClass, model: &str, memory: Option<Bytes>, numa: Option<u32>) -> Device {
    Device {
        id: DeviceId(format!("{vendor}-{index}")),
        vendor,
        class,
        model: model.into(),
        memory,
        index,
        pci: None,
        numa,
        driver: None,
        nodes: vec![],
        health: Health::Ready,
        ..Device::default()
    }
}

pub fn gpu(index: u32, model: &str, gib: u64, numa: u32) -> Device {
    device(index, Vendor::Nvidia, DeviceClass::Gpu, model, Some(Bytes::gib(gib)), Some(numa))
}

pub fn policy() -> Policy {
    Policy { memory_reserve_permille: 0, ..Policy::default() }
}

pub fn spec() -> JobSpec {
    JobSpec {
        name: "train".into(),
        work: Work::Command(vec!["true".into()]),
        ranks: 1,
        sizes: vec![],
        devices: None,
        cpus: CpuShare::ONE,
        memory: Some(Bytes::mib(64)),
        shm: None,
        workdir: "/".into(),
        env: Default::default(),
        mounts: vec![],
        environment: None,
        launch: Launch::Plain,
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

pub fn request(count: u32) -> DeviceRequest {
    DeviceRequest { count, ..DeviceRequest::default() }
}

/// A job being described: `job(3).cpus(4).memory(Bytes::gib(1))`.
pub struct JobBuilder(pub Waiting);

pub fn job(number: u64) -> JobBuilder {
    JobBuilder(Waiting {
        job: JobId::new(number),
        spec: Arc::new(spec()),
        queue: "default".into(),
        user: "ada".into(),
        submitted: Time(NOW.0 - 1_000_000 + number),
        gates: vec![],
        claim: None,
    })
}

impl JobBuilder {
    pub fn with(mut self, change: impl FnOnce(&mut JobSpec)) -> JobBuilder {
        change(Arc::make_mut(&mut self.0.spec));
        self
    }

    pub fn cpus(self, cpus: u32) -> JobBuilder {
        self.with(|spec| spec.cpus = CpuShare::whole(cpus))
    }

    pub fn milli(self, milli: u32) -> JobBuilder {
        self.with(|spec| spec.cpus = CpuShare(milli))
    }

    pub fn ranks(self, ranks: u32) -> JobBuilder {
        self.with(|spec| spec.ranks = ranks)
    }

    pub fn memory(self, memory: Bytes) -> JobBuilder {
        self.with(|spec| spec.memory = Some(memory))
    }

    pub fn devices(self, request: DeviceRequest) -> JobBuilder {
        self.with(|spec| spec.devices = Some(request))
    }

    pub fn expect(self, span: Span) -> JobBuilder {
        self.with(|spec| spec.expect = Some(span))
    }

    pub fn priority(self, priority: i32) -> JobBuilder {
        self.with(|spec| spec.priority = priority)
    }

    pub fn queue(mut self, queue: &str) -> JobBuilder {
        self.0.queue = queue.into();
        self
    }

    pub fn gate(mut self, gate: placement::Gate) -> JobBuilder {
        self.0.gates.push(gate);
        self
    }
}

/// A queue below another one.
pub fn queue_below(parent: &str, name: &str, guarantee: Limits) -> QueueSnapshot {
    let mut row = queue(name, 1, Limits::default());
    (row.queue.parent, row.queue.guarantee) = (Some(parent.into()), guarantee);
    row
}

pub fn queue(name: &str, weight: u32, limits: Limits) -> QueueSnapshot {
    QueueSnapshot { queue: Queue { name: name.into(), weight, limits, ..Queue::default() }, recent_usage: 0 }
}

pub fn snapshot(machine: Machine, waiting: impl IntoIterator<Item = JobBuilder>) -> Snapshot {
    Snapshot {
        generation: 7,
        machines: vec![MachineSnapshot { machine: Arc::new(machine), accepts: true }],
        running: vec![],
        waiting: waiting.into_iter().map(|job| job.0).collect(),
        queues: vec![queue("default", 1, Limits::default())],
    }
}

/// A run on the given CPUs, one rank, that ends `ends_in` from now.
pub fn running(number: u64, cpus: &str, share: u32, memory: Bytes, devices: &[&str], ends_in: Span) -> Running {
    let cpus: CpuSet = cpus.parse().unwrap();
    Running {
        run: RunId { job: JobId::new(number), attempt: 1 },
        queue: "default".into(),
        user: "ada".into(),
        name: "other".into(),
        priority: 0,
        grant: Grant {
            machine: "m1".into(),
            ranks: vec![RankGrant { cpus, devices: devices.iter().map(|id| DeviceId((*id).into())).collect() }],
            cpu_share: CpuShare(share),
            memory,
            shm: Bytes::ZERO,
            mem_nodes: [0].into_iter().collect(),
            ports: None,
            share: None,
        },
        since: Time(NOW.0 - 600_000),
        expected_end: Some(NOW + ends_in),
        grace: Span::seconds(30),
        evicted: None,
        stopping: false,
        elastic: None,
    }
}

/// Plans, and insists that the checker agrees.
pub fn planned(snapshot: &Snapshot, policy: &Policy) -> placement::Plan {
    let plan = plan(snapshot, policy, NOW);
    assert_eq!(check(&plan, snapshot, policy), [], "of {plan:#?}");
    plan
}

pub fn started(plan: &placement::Plan) -> Vec<u64> {
    plan.starts.iter().map(|start| start.job.number).collect()
}

pub fn grant(plan: &placement::Plan, number: u64) -> &Grant {
    &plan.starts.iter().find(|start| start.job.number == number).expect("it starts").grant
}

pub fn reasons(plan: &placement::Plan, number: u64) -> &[placement::Reason] {
    plan.reasons.iter().find(|(job, _)| job.number == number).map(|(_, reasons)| reasons.as_slice()).expect("it waits")
}

pub fn sentences(plan: &placement::Plan, number: u64) -> Vec<String> {
    reasons(plan, number).iter().map(|reason| reason.sentence(NOW)).collect()
}

/// Seconds from now to the planned start.
pub fn planned_in(plan: &placement::Plan, number: u64) -> Option<u64> {
    plan.reservations.iter().find(|reservation| reservation.job.number == number).map(|reservation| (reservation.at - NOW).0 / 1000)
}
