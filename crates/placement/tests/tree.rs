//! Queues below queues: limits and guarantees at each level, and who gives way to whom.

mod world;

use machine::{Bytes, Machine};
use placement::{Eviction, Plan, Policy, QueueSnapshot, Running, Snapshot, check, plan};
use spec::{Limits, Span, Time};
use world::*;

fn devices(count: u32) -> Limits {
    Limits { devices: Some(count), ..Limits::default() }
}

/// `lab` (guaranteed four devices) has `vision` (two of them) and `nlp` (none); `guest` stands beside it; six devices.
fn queues() -> Vec<QueueSnapshot> {
    let mut lab = queue("lab", 1, Limits::default());
    lab.queue.guarantee = devices(4);
    vec![lab, queue_below("lab", "vision", devices(2)), queue_below("lab", "nlp", Limits::default()), queue("guest", 1, Limits::default())]
}

fn scene(running: Vec<Running>, waiting: impl IntoIterator<Item = JobBuilder>) -> Snapshot {
    let mut hardware: Machine = machine(1, 16, 1, Bytes::gib(64));
    hardware.devices = (0..6).map(|index| gpu(index, "NVIDIA A100-SXM4-80GB", 80, 0)).collect();
    let mut snapshot = snapshot(hardware, waiting);
    (snapshot.running, snapshot.queues) = (running, queues());
    snapshot
}

/// A run with a CPU for each device, of this priority, for so many minutes now.
fn holder(number: u64, queue: &str, devices: std::ops::Range<u32>, priority: i32, minutes: u64) -> Running {
    let names: Vec<String> = devices.clone().map(|index| format!("nvidia-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cpus = devices.map(|index| index.to_string()).collect::<Vec<_>>().join(",");
    let run = running(number, &cpus, 1000 * names.len() as u32, Bytes::gib(1), &names, Span::hours(10));
    Running { queue: queue.into(), priority, since: Time(NOW.0 - Span::minutes(minutes).0), ..run }
}

fn wants(number: u64, queue: &str, devices: u32) -> JobBuilder {
    job(number).queue(queue).devices(request(devices)).expect(Span::hours(1))
}

fn sound(snapshot: &Snapshot) -> Plan {
    let plan = plan(snapshot, &policy(), NOW);
    assert_eq!(check(&plan, snapshot, &policy()), vec![], "{plan:#?}");
    plan
}

fn victims(plan: &Plan) -> Vec<(u64, Vec<u64>)> {
    let numbers = |eviction: &Eviction| eviction.victims.iter().map(|run| run.job.number).collect();
    plan.evictions.iter().map(|eviction| (eviction.job.number, numbers(eviction))).collect()
}

#[test]
fn a_limit_above_bounds_all_below_together() {
    let mut snapshot = scene(vec![holder(100, "vision", 0..2, 0, 60)], [wants(1, "nlp", 1), wants(2, "nlp", 1), wants(3, "guest", 1)]);
    snapshot.queues[0].queue.limits = devices(3);
    let plan = sound(&snapshot);
    assert_eq!(started(&plan), [1, 3]);
    assert_eq!(sentences(&plan, 2), ["queue 'lab' holds 3 of the 3 devices it may hold"]);
    assert_eq!(reasons(&plan, 2)[0].held_by.len(), 1, "the run of the sibling");
    let mut never = scene(vec![], [wants(1, "nlp", 4)]);
    never.queues[0].queue.limits = devices(3);
    let plan = sound(&never);
    assert_eq!(sentences(&plan, 1), ["never fits: asks for more than the 3 devices that queue 'lab' may hold"]);
}

#[test]
fn who_gives_way_to_whom() {
    let guests = |devices: std::ops::Range<u32>| holder(200, "guest", devices, 0, 90);
    type Row = (&'static str, Vec<Running>, JobBuilder, Vec<(u64, Vec<u64>)>);
    let rows: Vec<Row> = vec![
        (
            "siblings give before strangers, though they lose more",
            vec![holder(100, "nlp", 0..4, 0, 300), holder(200, "guest", 4..6, 0, 20)],
            wants(1, "vision", 2),
            vec![(1, vec![100])],
        ),
        (
            "a queue without a guarantee takes on that of the queue above",
            vec![holder(100, "vision", 0..2, 0, 60), guests(2..6)],
            wants(1, "nlp", 2),
            vec![(1, vec![200])],
        ),
        ("but not from a sibling, and not beyond it", vec![holder(100, "vision", 0..2, 0, 60), guests(2..6)], wants(1, "nlp", 3), vec![]),
        (
            "a sibling keeps its own",
            vec![holder(100, "vision", 0..2, 0, 60), holder(101, "nlp", 2..4, 0, 60), holder(201, "guest", 4..6, 0, 60)],
            wants(1, "nlp", 1),
            vec![],
        ),
        ("the lab keeps its own", vec![holder(100, "vision", 0..4, 0, 60), guests(4..6)], wants(1, "guest", 1), vec![]),
    ];
    for (what, running, job, expected) in rows {
        assert_eq!(victims(&sound(&scene(running, [job]))), expected, "{what}");
    }
}

#[test]
fn priority_evicts_where_the_operator_lets_it() {
    let low = |number: u64, queue: &str, devices, minutes| holder(number, queue, devices, -5, minutes);
    let full = || vec![low(100, "nlp", 0..2, 60), holder(101, "nlp", 2..4, 0, 20), low(102, "nlp", 4..6, 30)];
    let urgent = |queue: &str, devices| [wants(1, queue, devices).priority(3)];
    // What, runs, jobs, the queue that allows it, victims.
    type Row = (&'static str, Vec<Running>, [JobBuilder; 1], Option<usize>, Vec<(u64, Vec<u64>)>);
    let rows: Vec<Row> = vec![
        ("off by default", full(), urgent("nlp", 1), None, vec![]),
        ("the lowest priority, then the least work", full(), urgent("nlp", 1), Some(2), vec![(1, vec![102])]),
        ("lowest first, as many as needed", full(), urgent("nlp", 3), Some(2), vec![(1, vec![102, 100])]),
        ("never an equal", full(), [wants(1, "nlp", 1).priority(-5)], Some(2), vec![]),
        ("not in another queue", full(), urgent("guest", 1), Some(3), vec![]),
        ("said above, it holds among all below", full(), urgent("vision", 1), Some(0), vec![(1, vec![102])]),
        (
            "what a sibling is guaranteed is safe from it",
            vec![low(100, "vision", 0..2, 60), holder(101, "guest", 2..6, 9, 60)],
            urgent("nlp", 1),
            Some(0),
            // By the lab's guarantee, from the guest.
            vec![(1, vec![101])],
        ),
        ("not before its ten minutes are over", vec![low(100, "nlp", 0..6, 9)], urgent("nlp", 1), Some(2), vec![]),
    ];
    for (what, running, jobs, allowed, expected) in rows {
        let mut snapshot = scene(running, jobs);
        if what != "what a sibling is guaranteed is safe from it" {
            snapshot.queues.iter_mut().for_each(|row| row.queue.guarantee = Limits::default());
        }
        allowed.into_iter().for_each(|queue| snapshot.queues[queue].queue.evict_by_priority = true);
        assert_eq!(victims(&sound(&snapshot)), expected, "{what}");
    }
}

/// A starving job goes first in its queue, and its priority is what it was.
#[test]
fn waiting_long_is_no_priority() {
    let mut old = wants(1, "nlp", 1).priority(-9);
    old.0.submitted = Time(1);
    let mut snapshot = scene(vec![holder(100, "nlp", 0..6, -5, 60)], [old, wants(2, "nlp", 1)]);
    snapshot.queues = vec![queue("nlp", 1, Limits::default())];
    snapshot.queues[0].queue.evict_by_priority = true;
    let late = Policy { starving_after: Span::hours(1), ..policy() };
    snapshot.waiting[0].submitted = Time(NOW.0 - Span::hours(2).0);
    let plan = plan(&snapshot, &late, NOW);
    assert_eq!(check(&plan, &snapshot, &late), []);
    assert_eq!(victims(&plan), [(2, vec![100])]);
}

type Break = fn(&mut Plan, &mut Snapshot, &mut Policy);

/// On the guarantee of the lab, of which run 100 of `vision` holds two, job 1 of `nlp` takes two devices of the guest.
const GUARANTEE: &[(&str, &str, Break)] = &[
    ("the lab is guaranteed less", "guarantee", |_, snapshot, _| snapshot.queues[0].queue.guarantee = devices(3)),
    ("the lab is guaranteed nothing but what vision is", "guarantee", |_, snapshot, _| {
        snapshot.queues[0].queue.guarantee = Limits::default();
    }),
    ("the lab holds more already", "guarantee", |_, snapshot, _| {
        let mut elsewhere = holder(104, "vision", 0..3, 0, 60);
        elsewhere.grant.machine = "m2".into();
        snapshot.running.push(elsewhere);
    }),
    ("a place is kept for the lab already", "guarantee", |_, snapshot, _| {
        let mut other = wants(9, "vision", 2).0;
        other.claim = Some(holder(9, "vision", 0..2, 0, 0).grant);
        snapshot.waiting.push(other);
    }),
    ("the guest is of the lab", "guarantee", |_, snapshot, _| snapshot.queues[3].queue.parent = Some("lab".into())),
    ("nlp is not of the lab", "guarantee", |_, snapshot, _| snapshot.queues[2].queue.parent = None),
    ("the guest keeps less than its own", "guarantee", |_, snapshot, _| snapshot.queues[3].queue.guarantee = devices(1)),
    ("so does what is above the guest", "guarantee", |_, snapshot, _| {
        let mut above = queue("guests", 1, Limits::default());
        above.queue.guarantee = devices(4);
        snapshot.queues.push(above);
        snapshot.queues[3].queue.parent = Some("guests".into());
    }),
    ("over the limit of the lab", "queue", |_, snapshot, _| snapshot.queues[0].queue.limits = devices(3)),
    ("over the runs of the lab", "queue", |_, snapshot, _| {
        snapshot.queues[0].queue.limits = Limits { runs: Some(1), ..Limits::default() };
    }),
];

/// By its priority, job 1 of `nlp` takes the place of run 100 of the same queue.
const PRIORITY: &[(&str, &str, Break)] = &[
    ("priority counts no more", "guarantee", |_, snapshot, _| snapshot.queues[2].queue.evict_by_priority = false),
    ("it counts in another queue", "guarantee", |_, snapshot, _| {
        snapshot.queues[2].queue.evict_by_priority = false;
        snapshot.queues[1].queue.evict_by_priority = true;
    }),
    ("an equal priority", "guarantee", |_, snapshot, _| snapshot.running[0].priority = 3),
    ("a higher priority", "guarantee", |_, snapshot, _| snapshot.running[0].priority = 4),
    ("a job of less priority", "guarantee", |_, snapshot, _| std::sync::Arc::make_mut(&mut snapshot.waiting[0].spec).priority = -6),
    ("a victim out of another tree", "guarantee", |_, snapshot, _| {
        snapshot.queues.iter_mut().for_each(|row| row.queue.guarantee = Limits::default());
        snapshot.running[0].queue = "guest".into();
    }),
    ("a victim of a sibling that has no more than its own", "guarantee", |_, snapshot, _| {
        snapshot.queues[0].queue.evict_by_priority = true;
        snapshot.running[0].queue = "vision".into();
        snapshot.queues[1].queue.guarantee = devices(6);
    }),
    ("a victim that began just now", "eviction", |_, snapshot, _| snapshot.running[0].since = NOW),
];

fn every_break_is_noticed(plan: &Plan, sane: &Snapshot, breaks: &[(&str, &str, Break)]) {
    for (what, rule, change) in breaks {
        let (mut plan, mut snapshot, mut policy) = (plan.clone(), sane.clone(), policy());
        change(&mut plan, &mut snapshot, &mut policy);
        let found = check(&plan, &snapshot, &policy);
        assert!(found.iter().any(|violation| violation.rule == *rule), "{what}: {found:?}");
    }
}

#[test]
fn the_check_notices_what_is_wrong_in_a_tree() {
    let running = vec![holder(100, "vision", 0..2, 0, 60), holder(101, "guest", 2..6, 0, 90)];
    let sane = scene(running, [wants(1, "nlp", 2)]);
    let plan = sound(&sane);
    assert_eq!(victims(&plan), [(1, vec![101])]);
    every_break_is_noticed(&plan, &sane, GUARANTEE);
}

#[test]
fn the_check_notices_what_priority_does_not_entitle_to() {
    let mut sane = scene(vec![holder(100, "nlp", 0..6, -5, 60)], [wants(1, "nlp", 2).priority(3)]);
    sane.queues[2].queue.evict_by_priority = true;
    let plan = sound(&sane);
    assert_eq!(victims(&plan), [(1, vec![100])]);
    every_break_is_noticed(&plan, &sane, PRIORITY);
}

/// One long queue of jobs each, on a machine that is free: what starts is divided by the weights down the tree.
#[test]
fn what_starts_is_divided_down_the_tree() {
    let jobs = (0..60).map(|n| job(n).queue(["vision", "nlp", "guest"][n as usize % 3]).milli(1000).expect(Span::hours(1)));
    let mut snapshot = scene(vec![], jobs);
    snapshot.queues.iter_mut().for_each(|row| row.queue.guarantee = Limits::default());
    snapshot.queues[1].queue.weight = 3;
    let plan = sound(&snapshot);
    let of = |queue: u64| plan.starts.iter().filter(|start| start.job.number % 3 == queue).count();
    assert_eq!((of(0), of(1), of(2)), (6, 2, 8), "half to the lab, of that three quarters to vision");
}

/// A job without devices that outranks a run of its own queue would take from the queue what that is guaranteed, and the run, once it
/// waits, would take it back: rounds without end, if a third queue takes part.
#[test]
fn priority_takes_nothing_that_a_queue_above_is_guaranteed() {
    let held = || vec![holder(100, "vision", 0..2, -5, 60)];
    let urgent = job(1).queue("vision").cpus(15).expect(Span::hours(1)).priority(3);
    let mut outranked = scene(held(), [urgent]);
    outranked.queues[1].queue.evict_by_priority = true;
    assert_eq!(victims(&sound(&outranked)), vec![]);
    let forced = Eviction {
        job: outranked.waiting[0].job,
        grant: planned(&scene(vec![], [job(1).queue("vision").cpus(15)]), &policy()).starts[0].grant.clone(),
        victims: vec![outranked.running[0].run],
    };
    let plan = Plan { evictions: vec![forced], ..sound(&outranked) };
    let found = check(&plan, &outranked, &policy());
    assert!(found.iter().any(|violation| violation.rule == "guarantee" && violation.detail.contains("keeps less")), "{found:?}");
    // With as many devices it is an exchange.
    outranked.waiting[0] = wants(1, "vision", 5).priority(3).0;
    assert_eq!(victims(&sound(&outranked)), vec![(1, vec![100])]);
}
