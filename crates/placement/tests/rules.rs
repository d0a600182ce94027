//! One table or example for each rule of the decision.

mod world;

use machine::{Bytes, CpuSet, DeviceClass, Health, IsolationLevel, Vendor};
use placement::{Gate, MachineSnapshot, Policy};
use spec::{DeviceRequest, JobId, Launch, Limits, Span, Time};
use std::sync::Arc;
use world::*;

fn set(text: &str) -> CpuSet {
    text.parse().unwrap()
}

// ---------------------------------------------------------------- processor time

#[test]
fn whole_cpus_are_held_alone_and_small_jobs_share_one() {
    let plan = planned(
        &snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(1).milli(500), job(2).milli(300), job(3).cpus(3), job(4).milli(300)]),
        &policy(),
    );
    assert_eq!(started(&plan), [1, 2, 3], "the fourth would need a second shared CPU");
    assert_eq!(grant(&plan, 1).cpus(), grant(&plan, 2).cpus());
    assert_eq!(grant(&plan, 3).cpus().len(), 3);
}

#[test]
fn a_small_job_takes_the_shared_cpu_with_least_room() {
    let mut snapshot = snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(9).milli(200)]);
    snapshot.running = vec![
        running(1, "1", 300, Bytes::mib(1), &[], Span::hours(1)),
        running(2, "2", 700, Bytes::mib(1), &[], Span::hours(1)),
        running(3, "3", 900, Bytes::mib(1), &[], Span::hours(1)),
    ];
    assert_eq!(grant(&planned(&snapshot, &policy()), 9).cpus(), set("2"));
}

#[test]
fn a_fraction_above_one_is_rounded_up() {
    let plan = planned(&snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(1).milli(2500)]), &policy());
    assert_eq!((grant(&plan, 1).cpu_share.0, grant(&plan, 1).cpus().len()), (3000, 3));
}

#[test]
fn the_ranks_of_a_gang_hold_different_cpus() {
    let plan = planned(&snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(1).ranks(4)]), &policy());
    assert_eq!(grant(&plan, 1).cpus(), set("0-3"));
}

#[test]
fn a_gang_starts_whole_or_not_at_all() {
    let plan = planned(&snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(1).cpus(2).ranks(3)]), &policy());
    assert_eq!(started(&plan), [0u64; 0]);
    assert!(reasons(&plan, 1)[0].never);
}

#[test]
fn a_small_gang_puts_several_ranks_on_one_cpu() {
    let plan = planned(&snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(1).milli(250).ranks(4)]), &policy());
    assert_eq!(grant(&plan, 1).cpus().len(), 1);
}

// ---------------------------------------------------------------- shape

#[test]
fn a_rank_of_two_gets_both_threads_of_a_core() {
    // Four cores with threads (0,4) (1,5) (2,6) (3,7); one thread of core 0 is taken.
    let mut snapshot = snapshot(machine(1, 4, 2, Bytes::gib(8)), [job(9).cpus(2)]);
    snapshot.running = vec![running(1, "0", 1000, Bytes::mib(1), &[], Span::hours(1))];
    let held = grant(&planned(&snapshot, &policy()), 9).cpus();
    assert!([set("1,5"), set("2,6"), set("3,7")].contains(&held), "{held}");
}

#[test]
fn a_rank_of_one_takes_the_broken_core() {
    let mut snapshot = snapshot(machine(1, 4, 2, Bytes::gib(8)), [job(9).cpus(1)]);
    snapshot.running = vec![running(1, "6", 1000, Bytes::mib(1), &[], Span::hours(1))];
    assert_eq!(grant(&planned(&snapshot, &policy()), 9).cpus(), set("2"));
}

#[test]
fn a_rank_of_three_takes_one_core_and_the_odd_thread_of_a_broken_one() {
    let mut snapshot = snapshot(machine(1, 4, 2, Bytes::gib(8)), [job(9).cpus(3)]);
    snapshot.running = vec![running(1, "6", 1000, Bytes::mib(1), &[], Span::hours(1))];
    assert_eq!(grant(&planned(&snapshot, &policy()), 9).cpus(), set("0,2,4"));
}

#[test]
fn a_gang_goes_to_the_memory_node_it_fills_best() {
    // Node 0: CPUs 0-3, node 1: CPUs 4-7. Two of node 1 are taken.
    let mut snapshot = snapshot(machine(2, 4, 1, Bytes::gib(8)), [job(9).ranks(2)]);
    snapshot.running = vec![running(1, "4-5", 1000, Bytes::mib(1), &[], Span::hours(1))];
    let plan = planned(&snapshot, &policy());
    assert_eq!((grant(&plan, 9).cpus(), grant(&plan, 9).mem_nodes.clone()), (set("6-7"), set("1")));
}

#[test]
fn a_gang_too_large_for_a_node_is_split_by_whole_ranks() {
    let plan = planned(&snapshot(machine(2, 6, 1, Bytes::gib(8)), [job(1).cpus(4).ranks(2)]), &policy());
    let ranks: Vec<String> = grant(&plan, 1).ranks.iter().map(|rank| rank.cpus.to_string()).collect();
    assert_eq!(ranks, ["0-3", "6-9"]);
    assert_eq!(grant(&plan, 1).mem_nodes, set("0-1"));
}

#[test]
fn a_rank_larger_than_any_node_crosses_them() {
    let plan = planned(&snapshot(machine(2, 4, 1, Bytes::gib(8)), [job(1).cpus(7)]), &policy());
    assert_eq!(grant(&plan, 1).cpus().len(), 7);
    assert_eq!(grant(&plan, 1).mem_nodes, set("0-1"));
}

#[test]
fn a_job_with_more_memory_than_its_node_may_use_the_next() {
    let plan = planned(&snapshot(machine(2, 4, 1, Bytes::gib(8)), [job(1).memory(Bytes::gib(6)), job(2).memory(Bytes::gib(1))]), &policy());
    assert_eq!(grant(&plan, 1).mem_nodes, set("0-1"));
    assert_eq!(grant(&plan, 2).mem_nodes.len(), 1);
}

#[test]
fn ranks_sit_beside_their_devices() {
    let mut machine = machine(2, 4, 1, Bytes::gib(8));
    machine.devices = vec![gpu(0, "A100", 80, 1), gpu(1, "A100", 80, 0)];
    let plan = planned(&snapshot(machine, [job(1).cpus(2).ranks(2).devices(request(1))]), &policy());
    for rank in &grant(&plan, 1).ranks {
        let expected = if rank.devices[0].0 == "nvidia-0" { set("4-5") } else { set("0-1") };
        assert_eq!(rank.cpus, expected);
    }
}

// ---------------------------------------------------------------- memory

#[test]
fn memory_is_given_in_proportion_when_not_asked_for() {
    let policy = Policy { memory_reserve_permille: 500, ..policy() };
    let plan = planned(&snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(1).cpus(2).with(|spec| spec.memory = None)]), &policy);
    assert_eq!((grant(&plan, 1).memory, grant(&plan, 1).shm), (Bytes::gib(2), Bytes::gib(1)));
}

#[test]
fn memory_is_counted_per_rank_and_shm_per_job() {
    let gang = job(1).ranks(2).memory(Bytes::gib(1)).with(|spec| spec.shm = Some(Bytes::mib(100)));
    let plan = planned(&snapshot(machine(1, 4, 1, Bytes::gib(8)), [gang]), &policy());
    assert_eq!((grant(&plan, 1).memory, grant(&plan, 1).shm), (Bytes::gib(2), Bytes::mib(100)));
}

#[test]
fn the_reserve_is_never_granted() {
    let policy = Policy { memory_reserve_permille: 125, ..policy() };
    for (gib, starts) in [(7, true), (8, false)] {
        let plan = planned(&snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(1).memory(Bytes::gib(gib))]), &policy);
        assert_eq!(!plan.starts.is_empty(), starts, "{gib} GiB");
    }
}

// ---------------------------------------------------------------- devices

#[test]
fn a_request_matches_by_vendor_class_model_and_memory() {
    let mut machine = machine(1, 8, 1, Bytes::gib(64));
    machine.devices = vec![
        gpu(0, "NVIDIA GeForce RTX 4090", 24, 0),
        gpu(1, "NVIDIA A100-SXM4-80GB", 80, 0),
        device(2, Vendor::Ascend, DeviceClass::Npu, "Ascend 910B3", Some(Bytes::gib(64)), None),
        device(3, Vendor::Intel, DeviceClass::Gpu, "Arc A770", None, None),
    ];
    machine.devices.push(device(4, Vendor::Unknown, DeviceClass::Gpu, "1234:5678", Some(Bytes::gib(999)), None));
    let mut broken = gpu(5, "NVIDIA H100 80GB HBM3", 80, 0);
    broken.health = Health::Unusable("driver not bound".into());
    machine.devices.push(broken);
    let models = |words: &[&str]| DeviceRequest { models: words.iter().map(|word| word.to_string()).collect(), ..request(1) };
    for (wanted, expected) in [
        (request(1), Some("intel-3")),
        (DeviceRequest { class: Some(DeviceClass::Npu), ..request(1) }, Some("ascend-2")),
        (DeviceRequest { vendor: Some(Vendor::Nvidia), ..request(1) }, Some("nvidia-0")),
        (DeviceRequest { memory_min: Some(Bytes::gb(24)), ..request(1) }, Some("nvidia-0")),
        (DeviceRequest { memory_min: Some(Bytes::gib(25)), ..request(1) }, Some("ascend-2")),
        (DeviceRequest { memory_min: Some(Bytes::gib(25)), class: Some(DeviceClass::Gpu), ..request(1) }, Some("nvidia-1")),
        (DeviceRequest { memory_max: Some(Bytes::gib(24)), ..request(1) }, Some("nvidia-0")),
        (models(&["RTX4090"]), Some("nvidia-0")),
        (models(&["h100", "a100"]), Some("nvidia-1")),
        (models(&["h100"]), None),
        (DeviceRequest { vendor: Some(Vendor::Unknown), ..request(1) }, None),
        (DeviceRequest { vendor: Some(Vendor::Amd), ..request(1) }, None),
        (DeviceRequest { memory_min: Some(Bytes::gib(100)), ..request(1) }, None),
    ] {
        let plan = planned(&snapshot(machine.clone(), [job(1).devices(wanted.clone())]), &policy());
        let given = plan.starts.first().map(|start| start.grant.ranks[0].devices[0].0.clone());
        assert_eq!(given.as_deref(), expected, "{wanted:?}");
        assert!(expected.is_some() || reasons(&plan, 1)[0].never);
    }
}

#[test]
fn a_gang_gets_devices_of_one_kind_unless_it_names_several() {
    let mut machine = machine(1, 8, 1, Bytes::gib(64));
    machine.devices = vec![gpu(0, "A100", 80, 0), gpu(1, "L40S", 48, 0), gpu(2, "A100", 80, 0)];
    machine.devices.push(device(3, Vendor::Amd, DeviceClass::Gpu, "A100", None, None));
    let mixed = DeviceRequest { models: vec!["a100".into(), "l40s".into()], ..request(1) };
    let kinds = |ranks: u32, request: DeviceRequest| {
        let plan = planned(&snapshot(machine.clone(), [job(1).ranks(ranks).devices(request)]), &policy());
        plan.starts.first().map(|start| start.grant.devices().map(|id| id.0.clone()).collect::<Vec<_>>())
    };
    assert_eq!(kinds(2, request(1)), Some(vec!["nvidia-0".into(), "nvidia-2".into()]));
    assert_eq!(kinds(3, request(1)), None);
    assert_eq!(kinds(2, mixed.clone()), Some(vec!["nvidia-0".into(), "nvidia-2".into()]), "one kind if one has enough");
    assert_eq!(kinds(3, mixed.clone()).map(|devices| devices.len()), Some(3));
    assert_eq!(kinds(4, mixed), None, "never of two vendors");
}

#[test]
fn a_gang_of_devices_stays_on_one_memory_node() {
    let mut machine = machine(2, 4, 1, Bytes::gib(64));
    machine.devices = (0..6).map(|index| gpu(index, "A100", 80, u32::from(index >= 2))).collect();
    let plan = planned(&snapshot(machine.clone(), [job(1).devices(request(2))]), &policy());
    assert_eq!(grant(&plan, 1).devices().map(|id| id.0.as_str()).collect::<Vec<_>>(), ["nvidia-0", "nvidia-1"], "the tighter node");
    let plan = planned(&snapshot(machine, [job(1).devices(request(3))]), &policy());
    assert_eq!(grant(&plan, 1).devices().map(|id| id.0.as_str()).collect::<Vec<_>>(), ["nvidia-2", "nvidia-3", "nvidia-4"]);
}

// ---------------------------------------------------------------- ports

#[test]
fn ports_are_leased_to_whoever_has_a_rendezvous() {
    let policy = Policy { ports: (21_000, 21_032), ..policy() };
    let jax = |number| job(number).with(|spec| spec.launch = Launch::Jax);
    let plan = planned(&snapshot(machine(1, 8, 1, Bytes::gib(8)), [job(1), job(2).ranks(2), jax(3), jax(4)]), &policy);
    assert_eq!(started(&plan), [1, 2, 3]);
    let ports = |number| grant(&plan, number).ports.map(|range| (range.first, range.count));
    assert_eq!([ports(1), ports(2), ports(3)], [None, Some((21_000, 16)), Some((21_016, 16))]);
    assert_eq!(sentences(&plan, 4), ["needs ports for its ranks to meet, all that may be leased are taken"]);
    assert!(planned_in(&plan, 4).is_some());
}

#[test]
fn ports_leased_under_an_older_policy_stay_leased() {
    let mut old = running(1, "0", 1000, Bytes::mib(1), &[], Span::hours(1));
    old.grant.ports = Some(machine::PortRange { first: 21_010, count: 10 });
    let mut snapshot = snapshot(machine(1, 8, 1, Bytes::gib(8)), [job(2).ranks(2)]);
    snapshot.running = vec![old];
    assert_eq!(grant(&planned(&snapshot, &policy()), 2).ports.map(|range| range.first), Some(21_032));
}

// ---------------------------------------------------------------- order and queues

#[test]
fn priority_and_age_decide_within_a_queue() {
    let plan = planned(&snapshot(machine(1, 2, 1, Bytes::gib(8)), [job(1), job(2), job(3).priority(5)]), &policy());
    assert_eq!(started(&plan), [3, 1]);
}

#[test]
fn queues_share_by_weight_and_by_what_they_hold() {
    let jobs = (1..=8).map(|number| job(number).queue(if number <= 4 { "a" } else { "b" }));
    let mut snapshot = snapshot(machine(1, 4, 1, Bytes::gib(8)), jobs);
    snapshot.queues = vec![queue("a", 1, Limits::default()), queue("b", 3, Limits::default())];
    assert_eq!(started(&planned(&snapshot, &policy())), [1, 5, 6, 7]);
    snapshot.queues[1].recent_usage = 1_000_000_000_000;
    assert_eq!(started(&planned(&snapshot, &policy())), [1, 2, 3, 4], "who used much lately waits");
    snapshot.queues = vec![];
    assert_eq!(started(&planned(&snapshot, &policy())), [1, 5, 2, 6], "unknown queues count as equal ones");
}

#[test]
fn queue_limits_hold_in_every_dimension() {
    for (limits, what, sentence) in [
        (Limits { cpus: Some(3), ..Limits::default() }, "cpus", "queue 'default' holds 2 of the 3 CPUs it may hold"),
        (
            Limits { memory: Some(Bytes::gib(3)), ..Limits::default() },
            "memory",
            "queue 'default' holds 2 GiB of the 3 GiB of memory it may hold",
        ),
        (Limits { devices: Some(1), ..Limits::default() }, "devices", "queue 'default' holds 1 of the 1 device it may hold"),
        (Limits { runs: Some(1), ..Limits::default() }, "runs", "queue 'default' holds 1 of the 1 run it may hold"),
    ] {
        let mut machine = machine(1, 8, 1, Bytes::gib(64));
        machine.devices = (0..4).map(|index| gpu(index, "A100", 80, 0)).collect();
        let mut snapshot = snapshot(machine, [job(9).cpus(2).memory(Bytes::gib(2)).devices(request(1)), job(10).queue("free")]);
        snapshot.queues = vec![queue("default", 1, limits), queue("free", 1, Limits::default())];
        snapshot.running = vec![running(1, "0-1", 1000, Bytes::gib(2), &["nvidia-0"], Span::hours(1))];
        snapshot.running[0].grant.cpu_share = machine::CpuShare(2000);
        let plan = planned(&snapshot, &policy());
        assert_eq!(started(&plan), [10], "{what}");
        assert_eq!(sentences(&plan, 9), [sentence]);
        assert_eq!(planned_in(&plan, 9), Some(3600));
        assert_eq!(reasons(&plan, 9)[0].held_by.len(), 1);
    }
}

#[test]
fn a_job_over_its_queue_limit_never_fits() {
    let mut snapshot = snapshot(machine(1, 8, 1, Bytes::gib(8)), [job(1).cpus(4)]);
    snapshot.queues = vec![queue("default", 1, Limits { cpus: Some(2), ..Limits::default() })];
    let plan = planned(&snapshot, &policy());
    assert_eq!(sentences(&plan, 1), ["never fits: asks for more than the 2 CPUs that queue 'default' may hold"]);
    assert!(reasons(&plan, 1)[0].never && plan.reservations.is_empty());
}

#[test]
fn a_limited_queue_does_not_use_up_the_promises_of_others() {
    // Twenty jobs of a queue at its limit, then a large job of another queue and a stream of small ones behind it.
    let policy = Policy { reservations: 1, ..policy() };
    let limited = (1..=20).map(|number| job(number).queue("limited").priority(9));
    let mut snapshot = snapshot(machine(1, 4, 1, Bytes::gib(8)), limited.chain([job(30).cpus(4), job(31).expect(Span::hours(9))]));
    snapshot.queues = vec![queue("limited", 9, Limits { runs: Some(1), ..Limits::default() }), queue("default", 1, Limits::default())];
    snapshot.running = vec![running(100, "0", 1000, Bytes::mib(1), &[], Span::hours(1))];
    snapshot.running[0].queue = "limited".into();
    let plan = planned(&snapshot, &policy);
    assert_eq!(started(&plan), [0u64; 0]);
    assert_eq!(plan.reservations[0].job, JobId::new(30));
    assert_eq!(sentences(&plan, 31), ["starting now would delay job 30, which is planned to start in 1h 0m"]);
}

// ---------------------------------------------------------------- backfill

/// Two CPUs, one taken for an hour; job 1 wants both.
fn one_busy(small: Option<Span>) -> placement::Snapshot {
    let filler = job(2).with(|spec| spec.expect = small);
    let mut snapshot = snapshot(machine(1, 2, 1, Bytes::gib(8)), [job(1).cpus(2), filler]);
    snapshot.running = vec![running(100, "0", 1000, Bytes::mib(1), &[], Span::hours(1))];
    snapshot
}

#[test]
fn a_later_job_starts_only_if_it_ends_in_time() {
    for (span, starts) in
        [(Some(Span::minutes(59)), true), (Some(Span::minutes(60)), true), (Some(Span::minutes(61)), false), (None, false)]
    {
        let plan = planned(&one_busy(span), &policy());
        assert_eq!(started(&plan) == [2], starts, "{span:?}");
        assert_eq!(planned_in(&plan, 1), Some(3600));
    }
    let plan = planned(&one_busy(None), &Policy { reservations: 0, ..policy() });
    assert_eq!(started(&plan), [2], "without promises whatever fits starts");
}

#[test]
fn the_limit_counts_where_it_is_shorter_than_what_is_expected() {
    let mut snapshot = one_busy(Some(Span::hours(5)));
    Arc::make_mut(&mut snapshot.waiting[1].spec).limit = Some(Span::minutes(30));
    assert_eq!(started(&planned(&snapshot, &policy())), [2]);
}

#[test]
fn a_later_job_that_takes_nothing_promised_starts_however_long() {
    // Four CPUs; job 1 wants three of them in an hour, so one is nobody's.
    let mut snapshot = snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(1).cpus(3), job(2), job(3)]);
    snapshot.running = vec![running(100, "0-1", 1000, Bytes::mib(1), &[], Span::hours(1))];
    snapshot.running[0].grant.cpu_share = machine::CpuShare(2000);
    assert_eq!(started(&planned(&snapshot, &policy())), [2]);
}

#[test]
fn backfill_knows_memory_and_devices_too() {
    let mut machine = machine(1, 8, 1, Bytes::gib(10));
    machine.devices = (0..2).map(|index| gpu(index, "A100", 80, 0)).collect();
    let mut snapshot = snapshot(
        machine,
        [
            job(1).memory(Bytes::gib(8)),
            job(2).devices(request(2)),
            job(3).memory(Bytes::gib(1)),
            job(4).memory(Bytes::gib(2)),
            job(5).devices(request(1)),
            job(6).devices(request(1)).expect(Span::minutes(30)),
        ],
    );
    snapshot.running = vec![running(100, "0", 1000, Bytes::gib(5), &["nvidia-0"], Span::hours(1))];
    let plan = planned(&snapshot, &policy());
    assert_eq!(started(&plan), [3, 6], "memory: 8 + 64 MiB + 1 of 10 GiB are promised; one device only until the promise");
    assert_eq!((planned_in(&plan, 1), planned_in(&plan, 2)), (Some(3600), Some(3600)));
}

#[test]
fn memory_promised_later_may_be_used_until_then() {
    // 60 of 100 are held for an hour, 50 promised after it: 40 may be used now by whoever needs no more than 50 later.
    let mut snapshot = snapshot(machine(1, 8, 1, Bytes::gib(100)), [job(1).memory(Bytes::gib(50)), job(2).memory(Bytes::gib(40))]);
    snapshot.running = vec![running(100, "0", 1000, Bytes::gib(60), &[], Span::hours(1))];
    assert_eq!(started(&planned(&snapshot, &policy())), [2]);
}

#[test]
fn two_later_jobs_may_not_share_what_only_one_may_use() {
    // 50 of 100 are held for an hour, 60 promised after it: of 30 and 15 for long only the first may start.
    let gib = |number: u64, gib: u64| job(number).memory(Bytes::gib(gib));
    let mut snapshot = snapshot(machine(1, 8, 1, Bytes::gib(100)), [gib(1, 60), gib(2, 30), gib(3, 15), gib(4, 10)]);
    snapshot.running = vec![running(100, "0", 1000, Bytes::gib(50), &[], Span::hours(1))];
    let plan = planned(&snapshot, &policy());
    assert_eq!(started(&plan), [2, 4]);
    assert_eq!(
        sentences(&plan, 3),
        ["needs 15 GiB of memory, 10 GiB of 100 GiB is free", "starting now would delay job 1, which is planned to start in 1h 0m"]
    );
}

#[test]
fn a_queue_keeps_room_under_its_limit_for_its_own_promise() {
    // Two runs at a time: one runs, the large job is promised the other place.
    let mut snapshot = snapshot(machine(1, 4, 1, Bytes::gib(8)), [job(1).cpus(4), job(2), job(3).expect(Span::minutes(30))]);
    snapshot.queues[0].queue.limits.runs = Some(2);
    snapshot.running = vec![running(100, "0", 1000, Bytes::mib(1), &[], Span::hours(1))];
    assert_eq!(started(&planned(&snapshot, &policy())), [3]);
}

#[test]
fn an_overdue_run_is_given_a_tenth_more_and_at_least_a_minute() {
    for (since, expected_end, planned) in [
        (Span::minutes(5), Some(Span::minutes(5)), 60),
        (Span::hours(10), Some(Span::minutes(1)), 3600),
        (Span::hours(30), None, 3 * 3600),
        (Span::hours(20), None, 4 * 3600),
    ] {
        let mut snapshot = snapshot(machine(1, 1, 1, Bytes::gib(8)), [job(1)]);
        let mut run = running(100, "0", 1000, Bytes::mib(1), &[], Span::ZERO);
        run.since = Time(NOW.0 - since.0);
        run.expected_end = expected_end.map(|ago| Time(NOW.0 - ago.0));
        snapshot.running = vec![run];
        assert_eq!(planned_in(&planned_plan(&snapshot), 1), Some(planned), "{since}");
    }
}

fn planned_plan(snapshot: &placement::Snapshot) -> placement::Plan {
    planned(snapshot, &policy())
}

#[test]
fn planned_starts_reach_beyond_the_promises() {
    let jobs = (1..=10).map(|number| job(number).expect(Span::hours(1)));
    let plan = planned(&snapshot(machine(1, 2, 1, Bytes::gib(8)), jobs), &Policy { reservations: 1, ..policy() });
    assert_eq!(started(&plan), [1, 2]);
    let hours: Vec<Option<u64>> = (3..=10).map(|number| planned_in(&plan, number).map(|seconds| seconds / 3600)).collect();
    assert_eq!(hours, [1, 1, 2, 2, 3, 3, 4, 4].map(Some));
    let few = planned(&snapshot(machine(1, 2, 1, Bytes::gib(8)), (1..=10).map(job)), &Policy { explained: 3, ..policy() });
    assert_eq!(few.reservations.len(), 8, "promises are kept for more than are explained");
}

// ---------------------------------------------------------------- gates and machines

#[test]
fn gates_are_reasons_and_hold_nobody_up() {
    let after = Gate::After { job: JobId::new(1), condition: spec::DependencyCondition::Ok };
    let until = NOW + Span::seconds(20);
    let gated = job(2).cpus(2).priority(9).gate(after).gate(Gate::ArrayLimit { at_once: 10 }).gate(Gate::Backoff { until });
    let plan = planned(&snapshot(machine(1, 2, 1, Bytes::gib(8)), [gated, job(3).cpus(2)]), &policy());
    assert_eq!(started(&plan), [3]);
    assert_eq!(
        sentences(&plan, 2),
        ["waits for job 1 to succeed", "10 tasks of its array run already, as many as it allows", "tries again in 20.0 s"]
    );
    assert_eq!(reasons(&plan, 2)[2].until, Some(until));
}

#[test]
fn nothing_starts_where_nothing_is_accepted() {
    let mut snapshot = snapshot(machine(1, 2, 1, Bytes::gib(8)), [job(1), job(2).cpus(9)]);
    snapshot.machines[0].accepts = false;
    let plan = planned(&snapshot, &policy());
    assert_eq!(sentences(&plan, 1), ["no machine accepts work at the moment"]);
    assert_eq!(sentences(&plan, 2), ["never fits: asks for 9 CPUs, the machine has 2"]);
    snapshot.machines.clear();
    let plan = planned(&snapshot, &policy());
    assert_eq!(sentences(&plan, 2), ["no machine accepts work at the moment"]);
    assert!(!reasons(&plan, 2)[0].never && plan.reservations.is_empty());
}

#[test]
fn a_job_goes_where_it_is_kept_apart_as_it_demands() {
    let offers = |machine: &mut machine::Machine, level| {
        let missing = vec!["limits: no control groups are mounted".to_owned()];
        machine.facts.isolation = Some(machine::IsolationOffer { level, missing });
    };
    let demand = |number, level| job(number).with(|spec| spec.isolation.level = Some(level));
    let mut weak = machine(1, 2, 1, Bytes::gib(8));
    offers(&mut weak, IsolationLevel::Namespaces);
    let jobs = || [demand(1, IsolationLevel::Namespaces), demand(2, IsolationLevel::Container)];
    let mut snapshot = snapshot(weak.clone(), jobs());
    let plan = planned(&snapshot, &policy());
    assert_eq!(started(&plan), [1]);
    let why = "never fits: demands isolation 'container', the machine offers 'namespaces' (limits: no control groups are mounted)";
    assert_eq!(sentences(&plan, 2), [why]);
    let mut strong = machine(1, 4, 1, Bytes::gib(8));
    strong.id = "m2".into();
    offers(&mut strong, IsolationLevel::Container);
    snapshot.machines.push(MachineSnapshot { machine: Arc::new(strong), accepts: true });
    let plan = planned(&snapshot, &policy());
    assert_eq!((grant(&plan, 1).machine.as_str(), grant(&plan, 2).machine.as_str()), ("m1", "m2"));
    // What is not known is found out at the start.
    weak.facts.isolation = None;
    snapshot.machines[0].machine = Arc::new(weak);
    snapshot.machines.truncate(1);
    assert_eq!(started(&planned(&snapshot, &policy())), [1, 2]);
}

#[test]
fn a_gang_goes_to_the_machine_it_fills_best() {
    let mut snapshot = snapshot(machine(1, 8, 1, Bytes::gib(8)), [job(1).cpus(2), job(2).cpus(6)]);
    let mut small = machine(1, 2, 1, Bytes::gib(8));
    small.id = "m2".into();
    snapshot.machines.push(MachineSnapshot { machine: Arc::new(small), accepts: true });
    let plan = planned(&snapshot, &policy());
    assert_eq!((grant(&plan, 1).machine.as_str(), grant(&plan, 2).machine.as_str()), ("m2", "m1"));
}

#[test]
fn runs_on_hardware_that_has_gone_do_not_confuse_anybody() {
    let mut snapshot = snapshot(machine(1, 2, 1, Bytes::gib(8)), [job(1).cpus(2)]);
    let mut elsewhere = running(100, "0-1", 1000, Bytes::gib(9), &["nvidia-7"], Span::hours(1));
    elsewhere.grant.machine = "gone".into();
    let mut ghost = running(101, "64-65", 1000, Bytes::mib(1), &["nvidia-7"], Span::hours(1));
    ghost.grant.mem_nodes = set("7");
    snapshot.running = vec![elsewhere, ghost];
    assert_eq!(started(&planned(&snapshot, &policy())), [1]);
}

#[test]
fn an_empty_snapshot_has_an_empty_plan() {
    let plan = planned(&placement::Snapshot::default(), &Policy::default());
    assert_eq!(plan, placement::Plan { at: NOW, ..placement::Plan::default() });
}
