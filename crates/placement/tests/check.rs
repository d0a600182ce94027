//! The checker must notice every way in which a plan can be wrong: valid plans, broken one by one.

mod world;

use machine::{Bytes, CpuSet, CpuShare, Device, DeviceId, Grant, Health, PortRange, RankGrant};
use placement::{Gate, Plan, Policy, Reservation, Snapshot, Violation, check};
use spec::{JobId, Limits, Span, Time};
use std::sync::Arc;
use world::*;

fn set(text: &str) -> CpuSet {
    text.parse().unwrap()
}

/// Sixteen CPUs on two nodes, four A100 and an L40S that hangs loose. Starts: a gang with devices (1), a small job (2)
/// and one more of its kind (3). Waiting: a large one with a promise (4), a gated one (5), one that never fits (6).
fn scene() -> (Snapshot, Plan, Policy) {
    let mut machine = machine(2, 8, 1, Bytes::gib(32));
    machine.devices = (0..4).map(|index| gpu(index, "NVIDIA A100-SXM4-80GB", 80, index / 2)).collect();
    machine.devices.push(gpu(4, "NVIDIA L40S", 48, 0));
    machine.devices.push(Device { health: Health::Unusable("gone".into()), ..gpu(5, "NVIDIA A100-SXM4-80GB", 80, 0) });
    let a100 = spec::DeviceRequest { models: vec!["a100".into()], ..request(1) };
    let jobs = [
        job(1).cpus(3).ranks(2).memory(Bytes::gib(2)).devices(a100).with(|spec| spec.shm = Some(Bytes::gib(1))),
        job(2).milli(400).with(|spec| spec.memory = None),
        job(3).milli(400),
        job(4).cpus(14).expect(Span::hours(1)).with(|spec| spec.memory = Some(Bytes::gib(20))),
        job(5).gate(Gate::ArrayLimit { at_once: 1 }),
        job(6).cpus(99),
    ];
    let mut snapshot = snapshot(machine, jobs.map(|job| job.expect(Span::hours(1))));
    snapshot.running = vec![running(100, "14-15", 2000, Bytes::gib(1), &["nvidia-3"], Span::hours(2))];
    snapshot.running[0].grant.ports = Some(PortRange { first: 21_016, count: 16 });
    snapshot.queues = vec![queue("default", 1, Limits { cpus: Some(16), memory: Some(Bytes::gib(30)), devices: Some(3), runs: Some(4) })];
    let policy = policy();
    let plan = planned(&snapshot, &policy);
    assert_eq!(started(&plan), [1, 2, 3], "{plan:#?}");
    assert_eq!(planned_in(&plan, 4), Some(3600));
    (snapshot, plan, policy)
}

type Break = fn(&mut Plan, &mut Snapshot, &mut Policy);

fn grant_of(plan: &mut Plan, index: usize) -> &mut Grant {
    &mut plan.starts[index].grant
}

fn drop_start(plan: &mut Plan, index: usize) {
    plan.starts.remove(index);
}

/// What is done to the plan (or to the world under it), and the rule that must be named.
const BREAKS: &[(&str, &str, Break)] = &[
    ("an old generation", "generation", |plan, _, _| plan.based_on -= 1),
    ("a newer generation", "generation", |_, snapshot, _| snapshot.generation += 1),
    ("a job twice", "once", |plan, _, _| {
        let again = plan.starts[1].clone();
        plan.starts.push(again);
    }),
    ("a job that does not wait", "waiting", |plan, _, _| plan.starts[1].job = JobId::new(77)),
    ("a job that waits no more", "waiting", |_, snapshot, _| drop(snapshot.waiting.remove(1))),
    ("a gated job", "gates", |_, snapshot, _| {
        snapshot.waiting[1].gates.push(Gate::Backoff { until: NOW });
    }),
    ("an unknown machine", "machine", |plan, _, _| grant_of(plan, 1).machine = "m9".into()),
    ("a machine that accepts nothing", "machine", |_, snapshot, _| snapshot.machines[0].accepts = false),
    ("a machine that keeps apart too weakly", "isolation", |_, snapshot, _| {
        let mut weak = (*snapshot.machines[0].machine).clone();
        weak.facts.isolation = Some(machine::IsolationOffer { level: machine::IsolationLevel::Process, missing: vec![] });
        snapshot.machines[0].machine = std::sync::Arc::new(weak);
        snapshot.waiting.iter_mut().for_each(|job| {
            std::sync::Arc::make_mut(&mut job.spec).isolation.level = Some(machine::IsolationLevel::Namespaces);
        });
    }),
    ("a machine that has gone", "machine", |_, snapshot, _| snapshot.machines.clear()),
    ("a partial gang", "gang", |plan, _, _| drop(grant_of(plan, 0).ranks.pop())),
    ("a rank too many", "gang", |plan, _, _| {
        let rank = RankGrant { cpus: set("8-10"), devices: vec![] };
        grant_of(plan, 0).ranks.push(rank);
    }),
    ("a CPU that is not there", "cpus", |plan, _, _| grant_of(plan, 1).ranks[0].cpus = set("64")),
    ("a CPU of another run", "cpus", |plan, _, _| grant_of(plan, 1).ranks[0].cpus = set("14")),
    ("a CPU of another start", "cpus", |plan, _, _| {
        let taken = grant_of(plan, 0).ranks[0].cpus.iter().next().unwrap();
        grant_of(plan, 1).ranks[0].cpus = [taken].into_iter().collect();
    }),
    ("one CPU for two ranks", "cpus", |plan, _, _| {
        let cpus = grant_of(plan, 0).ranks[0].cpus.clone();
        grant_of(plan, 0).ranks[1].cpus = cpus;
    }),
    ("too much on a shared CPU", "cpus", |plan, snapshot, _| {
        let cpus = plan.starts[1].grant.ranks[0].cpus.to_string();
        snapshot.running.push(running(101, &cpus, 300, Bytes::ZERO, &[], Span::hours(1)));
    }),
    ("fewer CPUs than the share", "cpus", |plan, _, _| {
        let fewer: CpuSet = grant_of(plan, 0).ranks[0].cpus.iter().take(2).collect();
        grant_of(plan, 0).ranks[0].cpus = fewer;
    }),
    ("a smaller share than asked", "cpus", |plan, _, _| grant_of(plan, 1).cpu_share = CpuShare(300)),
    ("a larger share than asked", "cpus", |plan, _, _| grant_of(plan, 2).cpu_share = CpuShare(1000)),
    ("no CPU at all", "cpus", |plan, _, _| grant_of(plan, 1).ranks[0].cpus = CpuSet::new()),
    ("a device of another run", "devices", |plan, _, _| grant_of(plan, 0).ranks[0].devices = vec![DeviceId("nvidia-3".into())]),
    ("a device twice", "devices", |plan, _, _| {
        let devices = grant_of(plan, 0).ranks[0].devices.clone();
        grant_of(plan, 0).ranks[1].devices = devices;
    }),
    ("a device that is not there", "devices", |plan, _, _| grant_of(plan, 0).ranks[0].devices = vec![DeviceId("x".into())]),
    ("an unusable device", "devices", |plan, _, _| grant_of(plan, 0).ranks[0].devices = vec![DeviceId("nvidia-5".into())]),
    ("a device that was not asked for", "devices", |plan, _, _| grant_of(plan, 0).ranks[0].devices = vec![DeviceId("nvidia-4".into())]),
    ("a device for a job that wants none", "devices", |plan, _, _| grant_of(plan, 1).ranks[0].devices = vec![DeviceId("nvidia-4".into())]),
    ("no device for one that does", "devices", |plan, _, _| grant_of(plan, 0).ranks[0].devices.clear()),
    ("two kinds in a gang", "devices", |plan, snapshot, _| {
        Arc::make_mut(&mut snapshot.waiting[0].spec).devices.as_mut().unwrap().models.clear();
        grant_of(plan, 0).ranks[0].devices = vec![DeviceId("nvidia-4".into())];
    }),
    ("a device that has failed since", "devices", |plan, snapshot, _| {
        let id = plan.starts[0].grant.ranks[0].devices[0].clone();
        let machine = Arc::make_mut(&mut snapshot.machines[0].machine);
        machine.devices.iter_mut().find(|device| device.id == id).unwrap().health = Health::Unusable("fell off the bus".into());
    }),
    ("more memory than there is", "memory", |_, snapshot, _| snapshot.running[0].grant.memory = Bytes::gib(30)),
    ("less memory than asked", "memory", |plan, _, _| grant_of(plan, 0).memory = Bytes::gib(3)),
    ("a large piece for a job that left it open", "memory", |plan, _, _| grant_of(plan, 1).memory = Bytes::gib(5)),
    ("the reserve", "memory", |_, snapshot, policy| {
        policy.memory_reserve_permille = 100;
        snapshot.running[0].grant.memory = Bytes::gib(25);
    }),
    ("more shm than memory", "shm", |plan, _, _| grant_of(plan, 0).shm = Bytes::gib(5)),
    ("another shm than asked", "shm", |plan, _, _| grant_of(plan, 0).shm = Bytes::mib(1)),
    ("a memory node that is not there", "mem-nodes", |plan, _, _| grant_of(plan, 1).mem_nodes = set("0-2")),
    ("not the own memory node", "mem-nodes", |plan, _, _| grant_of(plan, 1).mem_nodes = CpuSet::new()),
    ("no ports for a gang", "ports", |plan, _, _| grant_of(plan, 0).ports = None),
    ("no ports for a rendezvous", "ports", |_, snapshot, _| Arc::make_mut(&mut snapshot.waiting[1].spec).launch = spec::Launch::Torchrun),
    ("ports of another run", "ports", |plan, _, _| grant_of(plan, 0).ports = Some(PortRange { first: 21_020, count: 16 })),
    ("ports around those of another run", "ports", |plan, _, _| grant_of(plan, 0).ports = Some(PortRange { first: 21_000, count: 99 })),
    ("ports below the range", "ports", |plan, _, _| grant_of(plan, 0).ports = Some(PortRange { first: 20_999, count: 16 })),
    ("ports beyond the range", "ports", |plan, _, _| grant_of(plan, 0).ports = Some(PortRange { first: 65_530, count: 16 })),
    ("the queue's CPUs", "queue", |_, snapshot, _| snapshot.queues[0].queue.limits.cpus = Some(8)),
    ("the queue's memory", "queue", |_, snapshot, _| snapshot.queues[0].queue.limits.memory = Some(Bytes::gib(5))),
    ("the queue's devices", "queue", |_, snapshot, _| snapshot.queues[0].queue.limits.devices = Some(2)),
    ("the queue's runs", "queue", |_, snapshot, _| snapshot.queues[0].queue.limits.runs = Some(3)),
    ("no reason", "reasons", |plan, _, _| drop(plan.reasons.remove(0))),
    ("an empty list of reasons", "reasons", |plan, _, _| plan.reasons[0].1.clear()),
    ("a started job with reasons", "reasons", |plan, _, _| {
        let reasons = plan.reasons[0].1.clone();
        plan.reasons.push((JobId::new(1), reasons));
    }),
    ("reasons twice", "reasons", |plan, _, _| {
        let again = plan.reasons[0].clone();
        plan.reasons.push(again);
    }),
    ("a job that is neither started nor explained", "reasons", |plan, _, _| drop_start(plan, 1)),
    ("a planned start in the past", "reservation", |plan, _, _| plan.reservations[0].at = NOW),
    ("two planned starts", "reservation", |plan, _, _| {
        let again = plan.reservations[0];
        plan.reservations.push(again);
    }),
    ("a planned start of a started job", "reservation", |plan, _, _| plan.reservations[0].job = JobId::new(1)),
    ("a planned start of a gated job", "reservation", |plan, _, _| plan.reservations[0].job = JobId::new(5)),
    ("a planned start that comes too early", "delay", |plan, _, _| plan.reservations[0].at = NOW + Span::minutes(59)),
    ("a start that lasts into a promise", "delay", |_, snapshot, _| {
        Arc::make_mut(&mut snapshot.waiting[0].spec).expect = Some(Span::hours(2));
    }),
    ("a run that lasts into a promise", "delay", |_, snapshot, _| {
        snapshot.running.push(running(101, "13", 100, Bytes::mib(1), &[], Span::hours(9)));
    }),
    ("memory that lasts into a promise", "delay", |_, snapshot, _| {
        snapshot.running[0].grant.memory = Bytes::gib(14);
    }),
    ("a promise beside an earlier one", "delay", |plan, snapshot, _| {
        snapshot.waiting.push(job(9).cpus(2).0);
        plan.reservations.push(Reservation { job: JobId::new(9), at: NOW + Span::minutes(70) });
        let reasons = plan.reasons[0].1.clone();
        plan.reasons.push((JobId::new(9), reasons));
    }),
    ("a queue that is full when a promise begins", "delay", |_, snapshot, _| {
        snapshot.queues[0].queue.limits.runs = Some(4);
        let others = (0..4).map(|number| running(200 + number, "15", 1, Bytes::ZERO, &[], Span::hours(9)));
        snapshot.running.splice(.., others);
    }),
];

#[test]
fn every_break_is_noticed_under_its_name() {
    for (what, rule, break_it) in BREAKS {
        let (mut snapshot, mut plan, mut policy) = scene();
        break_it(&mut plan, &mut snapshot, &mut policy);
        let found = check(&plan, &snapshot, &policy);
        assert!(found.iter().any(|violation| violation.rule == *rule), "{what}: expected '{rule}', found {found:#?}");
    }
}

#[test]
fn what_was_wrong_before_is_not_held_against_a_plan() {
    let (mut snapshot, _, policy) = scene();
    // Two runs on one CPU and one device, over the memory and the limits of another queue, on ports twice.
    let mut other = running(101, "14-15", 2000, Bytes::gib(1), &["nvidia-3"], Span::hours(2));
    other.queue = "old".into();
    other.grant.ports = Some(PortRange { first: 21_020, count: 4 });
    snapshot.running.push(other);
    snapshot.queues.push(queue("old", 1, Limits { cpus: Some(1), ..Limits::default() }));
    assert_eq!(started(&planned(&snapshot, &policy)), [1, 2, 3]);
}

#[test]
fn a_plan_that_starts_nothing_breaks_nothing() {
    let (mut snapshot, _, policy) = scene();
    snapshot.queues[0].queue.limits.runs = Some(0);
    snapshot.running[0].grant.memory = Bytes::gib(99);
    assert!(planned(&snapshot, &policy).starts.is_empty());
}

#[test]
fn violations_read_as_sentences() {
    let violation = Violation { rule: "cpus", detail: "CPU 3 is granted 1400 thousandths".into() };
    assert_eq!(violation.to_string(), "cpus: CPU 3 is granted 1400 thousandths");
}

#[test]
fn plans_survive_the_log() {
    let (_, plan, _) = scene();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    // Plans written before the time of decision was part of them.
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value.as_object_mut().unwrap().remove("at");
    assert_eq!(serde_json::from_value::<Plan>(value).unwrap().at, Time(0));
}
