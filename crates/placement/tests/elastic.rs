//! Jobs that run with several numbers of ranks: which one they start with.

mod world;

use machine::Bytes;
use placement::{Plan, Policy, Snapshot, Waiting, check, what_if};
use proptest::prelude::*;
use spec::{Limits, Span};
use std::sync::Arc;
use world::*;

/// A job of one CPU a rank that runs with these numbers of ranks.
fn elastic(number: u64, ranks: &str) -> JobBuilder {
    job(number).expect(Span::hours(1)).with(|spec| spec::parse_ranks(ranks).expect("it is read").apply(spec))
}

fn sizes(plan: &Plan) -> Vec<(u64, usize)> {
    plan.starts.iter().map(|start| (start.job.number, start.grant.ranks.len())).collect()
}

/// One memory node of so many CPUs, and these jobs.
fn scene(cpus: u32, jobs: impl IntoIterator<Item = JobBuilder>) -> Snapshot {
    snapshot(machine(1, cpus, 1, Bytes::gib(64)), jobs)
}

#[test]
fn the_size_it_starts_with() {
    type Row = (&'static str, u32, Vec<JobBuilder>, Vec<(u64, usize)>);
    let rows: Vec<Row> = vec![
        ("the most, when there is room", 16, vec![elastic(1, "2..12")], vec![(1, 12)]),
        ("the largest that fits", 16, vec![elastic(1, "2..64")], vec![(1, 16)]),
        ("no size between those listed", 7, vec![elastic(1, "2,4,8")], vec![(1, 4)]),
        ("the fewest, when that is all there is", 2, vec![elastic(1, "2..8")], vec![(1, 2)]),
        ("nothing below the fewest", 1, vec![elastic(1, "2..8")], vec![]),
        ("others of the queue start first", 16, vec![elastic(1, "2..16"), job(2).cpus(10)], vec![(1, 6), (2, 1)]),
        ("two of a kind grow in turns", 16, vec![elastic(1, "2..16"), elastic(2, "2..16")], vec![(1, 8), (2, 8)]),
        ("the earlier gets what cannot be halved", 14, vec![elastic(1, "2..16"), elastic(2, "2..16")], vec![(1, 8), (2, 6)]),
        ("the higher priority first", 14, vec![elastic(1, "2..16"), elastic(2, "2..16").priority(5)], vec![(2, 8), (1, 6)]),
        ("of both, each its fewest before one its most", 4, vec![elastic(1, "2..4"), elastic(2, "2..4")], vec![(1, 2), (2, 2)]),
    ];
    for (what, cpus, jobs, expected) in rows {
        assert_eq!(sizes(&planned(&scene(cpus, jobs), &policy())), expected, "{what}");
    }
}

#[test]
fn limits_bind_every_size() {
    let mut scene = scene(16, [elastic(1, "2..16").queue("nlp")]);
    scene.queues.push(queue("nlp", 1, Limits { cpus: Some(5), ..Limits::default() }));
    assert_eq!(sizes(&planned(&scene, &policy())), [(1, 4)]);
    scene.queues[1].queue.limits = Limits { cpus: Some(1), ..Limits::default() };
    assert_eq!(sizes(&planned(&scene, &policy())), []);
}

#[test]
fn between_queues_weights_decide() {
    let jobs = [elastic(1, "1..16"), elastic(2, "1..16").queue("nlp")];
    let mut scene = scene(16, jobs);
    scene.queues.push(queue("nlp", 3, Limits::default()));
    let got = sizes(&planned(&scene, &policy()));
    assert_eq!(got, [(1, 4), (2, 12)]);
}

/// A job that takes more than it must is never the reason that another one starts later.
#[test]
fn nobody_waits_longer_for_a_larger_size() {
    let busy = running(9, "0-7", 8000, Bytes::gib(1), &[], Span::minutes(30));
    // Eight CPUs are free; the first job wants twelve and is promised half past. Four are left for longer.
    let mut scene = scene(16, [job(1).cpus(12).expect(Span::hours(1)), elastic(2, "2..8")]);
    scene.running.push(busy);
    let plan = planned(&scene, &policy());
    assert_eq!((sizes(&plan), planned_in(&plan, 1)), (vec![(2, 4)], Some(1800)));
    // One that is over by then may take all of them.
    scene.waiting[1].spec = Arc::new(elastic(2, "2..8").expect(Span::minutes(20)).0.spec.as_ref().clone());
    assert_eq!(sizes(&planned(&scene, &policy())), [(2, 8)]);
}

#[test]
fn devices_memory_and_ports_follow_the_size() {
    let mut hardware = machine(1, 16, 1, Bytes::gib(64));
    hardware.devices = (0..4).map(|index| gpu(index, "NVIDIA A100-SXM4-80GB", 80, 0)).collect();
    hardware.devices[1].health = machine::Health::Unusable("fell off the bus".into());
    let want = || elastic(1, "1..4").devices(request(1)).memory(Bytes::gib(2));
    let plan = planned(&snapshot(hardware.clone(), [want()]), &policy());
    let given = grant(&plan, 1);
    assert_eq!((given.ranks.len(), given.devices().count(), given.memory), (3, 3, Bytes::gib(6)));
    assert!(given.ports.is_some());
    hardware.devices.truncate(1);
    let plan = planned(&snapshot(hardware, [want()]), &policy());
    assert_eq!((grant(&plan, 1).ranks.len(), grant(&plan, 1).ports), (1, None), "one rank has nobody to meet");
}

#[test]
fn a_dry_run_tells_the_size_too() {
    let answer = what_if(&scene(6, []), &policy(), NOW, elastic(1, "2..16").0);
    assert_eq!(answer.start.map(|grant| grant.ranks.len()), Some(6));
    let answer = what_if(&scene(1, []), &policy(), NOW, elastic(1, "2..16").0);
    assert!(answer.reasons[0].never);
}

#[test]
fn the_check_knows_the_sizes() {
    let snapshot = scene(16, [elastic(1, "2,4,8")]);
    let plan = planned(&snapshot, &policy());
    for (ranks, sound) in [(8, true), (4, true), (5, false), (1, false), (0, false)] {
        let mut other = plan.clone();
        let grant = &mut other.starts[0].grant;
        grant.ranks.truncate(ranks);
        grant.memory = Bytes(Bytes::mib(64).0 * ranks as u64);
        grant.shm = Bytes(grant.memory.0 / 2);
        assert_eq!(check(&other, &snapshot, &policy()).iter().all(|found| found.rule != "gang"), sound, "{ranks}");
        assert_eq!(check(&other, &snapshot, &policy()).is_empty(), sound, "{ranks}: {:?}", check(&other, &snapshot, &policy()));
    }
}

proptest! {
    /// The sizes of one queue are as even as they can be: nobody could have the next size unless another one were
    /// smaller, or it would break a limit.
    #[test]
    fn nothing_useful_is_left_idle(
        cpus in 1u32..40,
        jobs in proptest::collection::vec((1u32..6, 0u32..20, 1u32..3), 1..6),
        most in proptest::option::of(1u32..40),
    ) {
        let waiting = jobs.iter().enumerate().map(|(number, (least, more, each))| {
            elastic(number as u64, &format!("{least}..{}", least + more)).cpus(*each)
        });
        let mut scene = scene(cpus, waiting);
        scene.queues[0].queue.limits.cpus = most;
        let policy = Policy { reservations: 0, ports: (21_000, 31_000), ..policy() };
        let plan = planned(&scene, &policy);
        let held: u32 = plan.starts.iter().map(|start| start.grant.cpu_milli() as u32 / 1000).sum();
        let free = cpus.min(most.unwrap_or(cpus)) - held;
        for start in &plan.starts {
            let job: &Waiting = scene.waiting.iter().find(|job| job.job == start.job).unwrap();
            let size = start.grant.ranks.len() as u32;
            let next = job.spec.sizes().iter().copied().find(|other| *other > size);
            let each = job.spec.cpus.0 / 1000;
            prop_assert!(next.is_none_or(|next| (next - size) * each > free), "job {} has {size} ranks, {next:?} is next, {free} CPUs are free", start.job);
        }
    }
}
