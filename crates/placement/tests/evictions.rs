//! Reclaim: which runs end for a job whose queue is guaranteed what they hold.

mod world;

use machine::{Bytes, Machine};
use placement::{Blocker, Evicted, Eviction, Plan, Policy, Running, Snapshot, Waiting, check, plan, what_if};
use spec::{JobId, Limits, RunId, Span, Time};
use world::*;

/// Sixteen CPUs, four devices. Queue `nlp` is guaranteed two devices and `own` one; `default` nothing.
fn scene(running: Vec<Running>, waiting: impl IntoIterator<Item = JobBuilder>) -> Snapshot {
    let mut hardware: Machine = machine(1, 16, 1, Bytes::gib(64));
    hardware.devices = (0..4).map(|index| gpu(index, "NVIDIA A100-SXM4-80GB", 80, 0)).collect();
    let mut snapshot = snapshot(hardware, waiting);
    snapshot.running = running;
    let guaranteed = |name: &str, devices: Option<u32>| {
        let mut queue = queue(name, 1, Limits::default());
        queue.queue.guarantee = Limits { devices, ..Limits::default() };
        queue
    };
    snapshot.queues = vec![guaranteed("default", None), guaranteed("nlp", Some(2)), guaranteed("own", Some(1))];
    snapshot
}

/// A run of one queue with one CPU and one device each, for so many minutes now.
fn holder(number: u64, queue: &str, devices: &[u32], minutes: u64) -> Running {
    let names: Vec<String> = devices.iter().map(|index| format!("nvidia-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cpus = devices.iter().map(|index| index.to_string()).collect::<Vec<_>>().join(",");
    let run = running(number, &cpus, 1000 * devices.len() as u32, Bytes::gib(1), &names, Span::hours(10));
    Running { queue: queue.into(), since: Time(NOW.0 - Span::minutes(minutes).0), ..run }
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
fn who_is_evicted_for_whom() {
    let full = |minutes: [u64; 4]| (0..4).map(|n| holder(100 + u64::from(n), "default", &[n], minutes[n as usize])).collect();
    let gang = || vec![holder(100, "default", &[0, 1], 60), holder(101, "default", &[2, 3], 30)];
    let mixed = |queue: &str| vec![holder(100, queue, &[0, 1], 60), holder(101, "default", &[2, 3], 90)];
    type Row = (&'static str, Vec<Running>, Vec<JobBuilder>, Vec<(u64, Vec<u64>)>);
    let rows: Vec<Row> = vec![
        ("the one that loses least", full([40, 20, 30, 50]), vec![wants(1, "nlp", 1)], vec![(1, vec![101])]),
        ("no more than needed, whole gangs", gang(), vec![wants(1, "nlp", 1)], vec![(1, vec![101])]),
        ("two small before one long", full([40, 20, 30, 50]), vec![wants(1, "nlp", 2)], vec![(1, vec![101, 102])]),
        ("not before it ran ten minutes", full([9, 9, 9, 9]), vec![wants(1, "nlp", 1)], vec![]),
        ("not for a queue without a guarantee", full([40; 4]), vec![wants(1, "default", 1)], vec![]),
        ("not beyond the guarantee", full([40; 4]), vec![wants(1, "nlp", 3)], vec![]),
        ("not for CPUs where devices are guaranteed", full([40; 4]), vec![job(1).queue("nlp").cpus(14)], vec![]),
        ("not from a queue within its guarantee", mixed("nlp"), vec![wants(1, "own", 1)], vec![(1, vec![101])]),
        ("from a queue beyond its guarantee", mixed("own"), vec![wants(1, "nlp", 2)], vec![(1, vec![101])]),
        (
            "two jobs, each its own",
            full([40, 20, 30, 50]),
            vec![wants(1, "nlp", 1), wants(2, "own", 1)],
            vec![(1, vec![101]), (2, vec![102])],
        ),
        ("nobody when there is room", vec![holder(100, "default", &[0, 1], 60)], vec![wants(1, "nlp", 2)], vec![]),
    ];
    for (what, running, jobs, expected) in rows {
        assert_eq!(victims(&sound(&scene(running, jobs))), expected, "{what}");
    }
}

#[test]
fn nobody_is_evicted_when_waiting_is_as_quick() {
    let mut soon = holder(100, "default", &[0, 1, 2, 3], 60);
    soon.expected_end = Some(NOW + Span::seconds(20));
    let plan = sound(&scene(vec![soon], [wants(1, "nlp", 1)]));
    assert_eq!(victims(&plan), vec![]);
    assert_eq!(planned_in(&plan, 1), Some(20));
}

#[test]
fn a_job_waits_for_those_that_end_for_it_and_says_so() {
    let snapshot = scene(vec![holder(100, "default", &[0, 1, 2, 3], 60)], [wants(1, "nlp", 1)]);
    let plan = sound(&snapshot);
    assert_eq!(planned_in(&plan, 1), Some(30), "the grace");
    let (_, reasons) = &plan.reasons[0];
    assert_eq!(reasons[0].blocker, Blocker::Evicting { runs: 1 });
    assert_eq!(reasons[0].held_by, [RunId { job: JobId::new(100), attempt: 1 }]);
    assert_eq!(reasons[0].sentence(NOW), "1 run is saving its work and ends to make room for it");
    let dry = what_if(&scene(snapshot.running, []), &policy(), NOW, wants(9, "nlp", 1).0);
    assert_eq!((dry.start, dry.planned_start), (None, Some(NOW + Span::seconds(30))));
    assert_eq!(dry.reasons[0].blocker.kind(), "evicting");
}

/// As the state is after the plan was adopted.
fn adopted(mut snapshot: Snapshot, plan: &Plan) -> Snapshot {
    for eviction in &plan.evictions {
        let job = snapshot.waiting.iter_mut().find(|job| job.job == eviction.job).unwrap();
        job.claim = Some(eviction.grant.clone());
        for run in snapshot.running.iter_mut().filter(|run| eviction.victims.contains(&run.run)) {
            (run.evicted, run.stopping) = (Some(Evicted { by: eviction.job, at: NOW, ranks: None }), true);
        }
    }
    snapshot
}

#[test]
fn what_was_cleared_is_lent_to_nobody() {
    let before = scene(vec![holder(100, "default", &[0, 1, 2, 3], 60)], [wants(1, "nlp", 2)]);
    let mut after = adopted(before.clone(), &sound(&before));
    assert_eq!(victims(&sound(&after)), vec![], "once is enough");
    // Its holder ends. Others that are first in every other respect, and short, want the same.
    after.running.clear();
    let short = |number| wants(number, "own", 1).expect(Span(1)).with(|spec| spec.priority = 1000).0;
    after.waiting.extend((10..16).map(short));
    let plan = sound(&after);
    assert_eq!(plan.starts[0].job, JobId::new(1));
    assert_eq!(Some(&plan.starts[0].grant), after.waiting[0].claim.as_ref());
    assert_eq!(plan.starts.len(), 3, "what is left goes to the others");
    // The machine is not there yet: it is kept all the same.
    after.machines[0].accepts = false;
    let plan = sound(&after);
    assert!(plan.starts.is_empty());
    let (_, reasons) = plan.reasons.iter().find(|(job, _)| *job == JobId::new(1)).unwrap();
    assert_eq!(reasons[0].blocker, Blocker::Evicting { runs: 0 });
}

#[test]
fn a_job_that_starved_goes_first() {
    let mut jobs: Vec<Waiting> = (1..=3).map(|number| job(number).cpus(8).with(|spec| spec.priority = 5).0).collect();
    jobs[1].submitted = Time(NOW.0 - Span::hours(24 * 7).0);
    jobs[1].spec = job(2).cpus(8).with(|spec| spec.priority = -5).0.spec;
    let mut snapshot = snapshot(machine(1, 8, 1, Bytes::gib(8)), []);
    snapshot.waiting = jobs;
    assert_eq!(started(&planned(&snapshot, &policy())), [2]);
}

type Break = fn(&mut Plan, &mut Snapshot, &mut Policy);

const BREAKS: &[(&str, &str, Break)] = &[
    ("a victim that does not run", "eviction", |plan, _, _| plan.evictions[0].victims[0].attempt = 7),
    ("nobody", "eviction", |plan, _, _| plan.evictions[0].victims.clear()),
    ("twice", "eviction", |plan, _, _| {
        let victim = plan.evictions[0].victims[0];
        plan.evictions[0].victims.push(victim);
    }),
    ("for a job that does not wait", "eviction", |plan, _, _| plan.evictions[0].job = JobId::new(70)),
    ("two places for one job", "eviction", |plan, _, _| {
        let again = plan.evictions[0].clone();
        plan.evictions.push(again);
    }),
    ("a victim that ends already", "eviction", |_, snapshot, _| snapshot.running[0].stopping = true),
    ("a victim of the same queue", "guarantee", |_, snapshot, _| snapshot.running[0].queue = "nlp".into()),
    ("a victim that began just now", "eviction", |_, snapshot, _| snapshot.running[0].since = NOW),
    ("a longer shortest run", "eviction", |_, _, policy| policy.shortest_run = Span::hours(9)),
    ("too many at a time", "eviction", |_, _, policy| policy.claims = 0),
    ("behind a gate", "eviction", |_, snapshot, _| {
        let job = JobId::new(44);
        snapshot.waiting[0].gates = vec![placement::Gate::After { job, condition: spec::DependencyCondition::Ok }];
    }),
    ("for a queue without a guarantee", "guarantee", |_, snapshot, _| snapshot.queues[1].queue.guarantee = Limits::default()),
    ("beyond the guarantee", "guarantee", |_, snapshot, _| snapshot.queues[1].queue.guarantee.devices = Some(0)),
    ("a memory that is not guaranteed", "guarantee", |_, snapshot, _| snapshot.queues[1].queue.guarantee.memory = Some(Bytes(1))),
    ("from a queue that has no more than its own", "guarantee", |_, snapshot, _| {
        snapshot.queues[0].queue.guarantee.devices = Some(4);
    }),
    ("too few make room", "devices", |plan, _, _| {
        plan.evictions[0].victims.pop();
    }),
    ("a device that nobody cleared", "devices", |plan, _, _| {
        plan.evictions[0].grant.ranks[0].devices[0] = machine::DeviceId("nvidia-3".into());
    }),
    ("fewer devices than asked for", "devices", |plan, _, _| {
        plan.evictions[0].grant.ranks[0].devices.pop();
    }),
    ("more memory than there is", "memory", |plan, _, _| plan.evictions[0].grant.memory = Bytes::gib(99)),
    ("over the queue's limit", "queue", |_, snapshot, _| snapshot.queues[1].queue.limits.devices = Some(1)),
];

#[test]
fn the_check_notices_what_is_wrong_with_an_eviction() {
    let runs = (0..4).map(|n| holder(100 + u64::from(n), "default", &[n], 20 + u64::from(n))).collect();
    let sane = scene(runs, [wants(1, "nlp", 2)]);
    let plan = sound(&sane);
    assert_eq!(victims(&plan), [(1, vec![100, 101])]);
    for (what, rule, change) in BREAKS {
        let (mut plan, mut snapshot, mut policy) = (plan.clone(), sane.clone(), policy());
        change(&mut plan, &mut snapshot, &mut policy);
        let found = check(&plan, &snapshot, &policy);
        assert!(found.iter().any(|violation| violation.rule == *rule), "{what}: {found:?}");
    }
}

#[test]
fn the_check_notices_what_is_wrong_with_a_claim() {
    let before = scene(vec![holder(100, "default", &[0, 1, 2, 3], 60)], [wants(1, "nlp", 2), wants(2, "default", 2)]);
    let held = adopted(before.clone(), &sound(&before));
    let mut free = held.clone();
    free.running.clear();
    let right = sound(&free);
    assert_eq!(started(&right), [1, 2]);
    let early = Plan { starts: right.starts[..1].to_vec(), ..right.clone() };
    assert!(check(&early, &held, &policy()).iter().any(|violation| violation.rule == "claim"), "before the place is free");
    let mut elsewhere = right.clone();
    (elsewhere.starts[0].grant, elsewhere.starts[1].grant) = (right.starts[1].grant.clone(), right.starts[0].grant.clone());
    assert!(check(&elsewhere, &free, &policy()).iter().any(|violation| violation.rule == "claim"), "another place");
    let mut stolen = right.clone();
    stolen.starts.remove(0);
    stolen.starts[0].grant = right.starts[0].grant.clone();
    assert!(check(&stolen, &free, &policy()).iter().any(|violation| violation.rule == "devices"), "another job in its place");
}

/// A victim may be quicker than planned, so whatever starts must fit beside the claim and beside everything that runs now,
/// even what is planned to have ended when the victim's grace is over.
#[test]
fn a_claim_binds_from_the_moment_it_is_made() {
    let mut leaving = holder(100, "default", &[0, 1, 2], 60);
    leaving.grant.memory = Bytes::gib(30);
    let mut short = holder(101, "default", &[3], 60);
    (short.grant.memory, short.expected_end) = (Bytes::gib(30), Some(NOW + Span::seconds(5)));
    let large = |number| job(number).queue("default").memory(Bytes::gib(30)).expect(Span::hours(1));
    let before = scene(vec![leaving, short], [wants(1, "nlp", 2).memory(Bytes::gib(30))]);
    let mut after = adopted(before.clone(), &sound(&before));
    after.waiting.push(large(2).0);
    after.running.remove(0);
    after.running.push(holder(102, "default", &[0], 60));
    (after.running[1].evicted, after.running[1].stopping) = (Some(Evicted { by: JobId::new(1), at: NOW, ranks: None }), true);
    assert!(started(&sound(&after)).is_empty(), "30 GiB run, 30 GiB are claimed, 4 GiB are left");
}

/// Two jobs have runs evicted, and the victim of one is quicker: what starts meanwhile leaves room for that one's start
/// beside the slower victim.
#[test]
fn a_claim_waits_for_its_own_victims_only() {
    let large = |number: u64, device: u32| {
        let mut run = holder(number, "default", &[device], 60);
        run.grant.memory = Bytes::gib(20);
        run
    };
    let busy = vec![large(100, 0), large(101, 1), holder(102, "default", &[2, 3], 60)];
    let jobs = [
        wants(1, "nlp", 1).memory(Bytes::gib(40)),
        wants(2, "own", 1).memory(Bytes::gib(1)),
        job(3).queue("default").memory(Bytes::gib(4)).expect(Span::hours(9)),
    ];
    let before = scene(busy, jobs);
    let plan = sound(&before);
    assert_eq!(victims(&plan).len(), 2, "{plan:#?}");
    // Whichever has gone: the plan made then is sound.
    for eviction in &plan.evictions {
        let mut later = adopted(before.clone(), &plan);
        for start in &plan.starts {
            let place = later.waiting.iter().position(|job| job.job == start.job).unwrap();
            let job = later.waiting.remove(place);
            let run = RunId { job: job.job, attempt: 1 };
            later.running.push(Running { run, queue: job.queue, grant: start.grant.clone(), ..holder(0, "", &[], 0) });
        }
        later.running.retain(|run| !eviction.victims.contains(&run.run));
        assert!(started(&sound(&later)).contains(&eviction.job.number));
    }
}

/// What starts must leave room for every claim beside the victims of the others, not only beside all claims together.
#[test]
fn the_check_notices_what_leaves_no_room_beside_slower_victims() {
    let holding = |number: u64, device: u32, gib: u64, by: u64| {
        let mut run = holder(number, "default", &[device], 60);
        run.grant.memory = Bytes::gib(gib);
        (run.evicted, run.stopping) = (Some(Evicted { by: JobId::new(by), at: NOW, ranks: None }), true);
        run
    };
    let claims = |mut job: JobBuilder, device: u32, gib: u64| {
        let mut grant = holder(0, "", &[device], 0).grant;
        grant.memory = Bytes::gib(gib);
        job.0.claim = Some(grant);
        job
    };
    let other = || job(3).queue("default").memory(Bytes::gib(14)).expect(Span::hours(9));
    let jobs = [claims(wants(1, "nlp", 1), 0, 28), claims(wants(2, "own", 1), 1, 1), other()];
    let snapshot = scene(vec![holding(100, 0, 20, 1), holding(101, 1, 30, 2)], jobs);
    // 20 + 30 + 14 GiB fit now, and 28 + 1 + 14 in the end; 28 + 30 + 14 do not, when run 100 is quicker.
    let plan = sound(&snapshot);
    assert!(started(&plan).is_empty());
    let alone = placement::plan(&Snapshot { waiting: vec![other().0], ..snapshot.clone() }, &policy(), NOW);
    assert_eq!(started(&alone), [3], "nothing else is in its way");
    let mut greedy = Plan { starts: alone.starts, ..plan };
    greedy.reasons.retain(|(job, _)| job.number != 3);
    greedy.reservations.retain(|reservation| reservation.job.number != 3);
    let found = check(&greedy, &snapshot, &policy());
    assert!(found.iter().any(|violation| violation.rule == "memory"), "{found:?}");
}
