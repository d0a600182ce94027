//! Parts of devices on the ledger of jobs: what fits beside what, where it goes, who waits and why.

mod world;

use machine::{Bytes, Device, DeviceClass, Enforcement, Grant, Ladder, Rung, Share, Slice, SliceKind, Vendor};
use placement::{Blocker, Plan, Policy, Running, Snapshot, Violation, check, what_if};
use spec::{DeviceRequest, Limits, ShareRequest, Span};
use std::sync::Arc;
use world::*;

fn part(memory: u64, percent: u32) -> DeviceRequest {
    let memory = (memory > 0).then(|| Bytes::gib(memory));
    let share = ShareRequest { memory, compute: (percent > 0).then_some(percent * 10), enforced: None };
    DeviceRequest { share: Some(share), ..request(1) }
}

fn at_least(level: Enforcement, mut request: DeviceRequest) -> DeviceRequest {
    request.share.as_mut().unwrap().enforced = Some(level);
    request
}

/// A card whose library answers.
fn card(index: u32, gib: u64) -> Device {
    Device { ladder: Ladder { reached: Rung::Healthy, stop: None }, ..gpu(index, "NVIDIA L4", gib, 0) }
}

fn slice(index: u32, profile: &str, gib: u64) -> Device {
    let slice = Slice { kind: SliceKind::Mig, parent: machine::DeviceId("card".into()), profile: profile.into() };
    Device { slice: Some(slice), ..gpu(index, "NVIDIA A100", gib, 0) }
}

fn snapshot_with(devices: impl IntoIterator<Item = Device>, jobs: impl IntoIterator<Item = JobBuilder>) -> Snapshot {
    let mut machine = machine(1, 16, 1, Bytes::gib(64));
    machine.devices = devices.into_iter().collect();
    machine.facts.measures_devices = true;
    snapshot(machine, jobs)
}

fn on(plan: &Plan, number: u64) -> (String, Share) {
    let grant = grant(plan, number);
    (grant.devices().next().unwrap().0.clone(), grant.share.expect("a part"))
}

/// A run that holds a part of a device.
fn holder(number: u64, cpus: &str, device: &str, share: Share, ends_in: Span) -> Running {
    let mut run = running(number, cpus, 1000, Bytes::gib(1), &[device], ends_in);
    run.grant.share = Some(share);
    run
}

fn share(gib: u64, compute: u32, of: u64) -> Share {
    Share::of(Bytes::gib(gib), compute, Bytes::gib(of), Enforcement::Watched)
}

#[test]
fn parts_fill_a_card_before_another_is_opened() {
    let jobs = (1..=5).map(|number| job(number).devices(part(8, 0)));
    let plan = planned(&snapshot_with([card(0, 24), card(1, 24)], jobs), &policy());
    let places: Vec<String> = (1..=5).map(|number| on(&plan, number).0).collect();
    assert_eq!(places, ["nvidia-0", "nvidia-0", "nvidia-0", "nvidia-1", "nvidia-1"]);
    let share = on(&plan, 1).1;
    assert_eq!((share.memory, share.compute, share.permille, share.enforced), (Bytes::gib(8), 0, 334, Enforcement::Watched));
}

#[test]
fn compute_and_memory_are_both_limits() {
    for (first, second, starts) in [
        (part(12, 0), part(12, 0), 2),
        (part(12, 0), part(13, 0), 1),
        (part(4, 60), part(4, 40), 2),
        (part(4, 60), part(4, 41), 1),
        (part(0, 50), part(0, 50), 2),
        (part(20, 0), part(0, 50), 1),
        (part(0, 50), request(1), 1),
        (request(1), part(1, 0), 1),
    ] {
        let jobs = [job(1).devices(first.clone()), job(2).devices(second.clone())];
        let plan = planned(&snapshot_with([card(0, 24)], jobs), &policy());
        assert_eq!(plan.starts.len(), starts, "{first} beside {second}");
    }
}

#[test]
fn the_tightest_place_is_taken() {
    // A card that is used, with 6 GiB left; one with 16 left; a fresh one; and slices of 5 and 20 GiB.
    let devices = || [card(0, 24), card(1, 24), card(2, 24), slice(3, "1g.5gb", 5), slice(4, "4g.20gb", 20)];
    for (wanted, place) in [
        (part(6, 0), "nvidia-0"),
        (part(5, 0), "nvidia-0"),
        (part(7, 0), "nvidia-1"),
        (part(17, 0), "nvidia-4"),
        (part(21, 0), "nvidia-2"),
        (at_least(Enforcement::Hard, part(4, 0)), "nvidia-3"),
        (at_least(Enforcement::Hard, part(4, 50)), "nvidia-4"),
    ] {
        let mut snapshot = snapshot_with(devices(), [job(1).devices(wanted.clone())]);
        snapshot.running = vec![
            holder(100, "0", "nvidia-0", share(18, 0, 24), Span::hours(1)),
            holder(101, "1", "nvidia-1", share(8, 0, 24), Span::hours(1)),
        ];
        assert_eq!(on(&planned(&snapshot, &policy()), 1).0, place, "{wanted}");
    }
}

#[test]
fn a_slice_is_held_whole() {
    let plan = planned(&snapshot_with([slice(0, "3g.20gb", 20)], (1..=2).map(|n| job(n).devices(part(4, 40)))), &policy());
    assert_eq!(on(&plan, 1).1, Share { memory: Bytes::gib(20), compute: 0, permille: 1000, enforced: Enforcement::Hard });
    assert_eq!(sentences(&plan, 2), ["needs 1 × 4GiB of memory and 40% of the compute of a device, none of 1 has room"]);
}

#[test]
fn memory_goes_in_the_vendors_steps() {
    let of = |vendor| device(0, vendor, DeviceClass::Npu, "X", Some(Bytes::gib(16)), Some(0));
    let asked = |memory| ShareRequest { memory: Some(memory), compute: None, enforced: None };
    for (vendor, memory, held) in [
        (Vendor::Nvidia, Bytes(1), Bytes::mib(1)),
        (Vendor::Cambricon, Bytes::mib(300), Bytes::mib(512)),
        (Vendor::MooreThreads, Bytes::mib(512), Bytes::mib(512)),
        (Vendor::MooreThreads, Bytes::mib(513), Bytes::gib(1)),
    ] {
        let wanted = DeviceRequest { share: Some(asked(memory)), ..request(1) };
        let plan = planned(&snapshot_with([of(vendor)], [job(1).devices(wanted)]), &policy());
        assert_eq!((on(&plan, 1).1.memory, on(&plan, 1).1.enforced), (held, Enforcement::Counted), "{vendor}");
    }
    // Halves of an odd number of steps are rounded down, so that both fit.
    let odd = Device { memory: Some(Bytes::mib(256 * 5)), ..of(Vendor::Cambricon) };
    let plan = planned(&snapshot_with([odd], (1..=2).map(|n| job(n).devices(part(0, 50)))), &policy());
    assert_eq!((started(&plan).len(), on(&plan, 2).1.memory), (2, Bytes::mib(512)));
}

#[test]
fn as_many_parts_as_the_vendor_says() {
    let cambricon = device(0, Vendor::Cambricon, DeviceClass::Npu, "MLU", Some(Bytes::gib(32)), Some(0));
    let jobs = (1..=20).map(|number| job(number).milli(100).devices(part(1, 0)));
    assert_eq!(planned(&snapshot_with([cambricon.clone()], jobs), &policy()).starts.len(), 16);
    // Where the vendor says so, a rank with parts has one card.
    let two = DeviceRequest { count: 2, ..part(4, 0) };
    let mut other = cambricon.clone();
    (other.id, other.index) = (machine::DeviceId("cambricon-1".into()), 1);
    let plan = planned(&snapshot_with([cambricon, other], [job(1).devices(two.clone())]), &policy());
    assert_eq!(
        sentences(&plan, 1),
        ["never fits: 4GiB of memory of a device: of such devices a rank shares one only, and 2 are asked for"]
    );
    assert_eq!(grant(&planned(&snapshot_with([card(0, 8), card(1, 8)], [job(1).devices(two)]), &policy()), 1).devices().count(), 2);
}

#[test]
fn ranks_of_a_gang_have_a_card_each() {
    let plan = planned(&snapshot_with([card(0, 24), card(1, 24)], [job(1).ranks(2).devices(part(4, 0))]), &policy());
    let mut ids: Vec<String> = grant(&plan, 1).devices().map(|id| id.0.clone()).collect();
    ids.sort();
    assert_eq!(ids, ["nvidia-0", "nvidia-1"]);
    let plan = planned(&snapshot_with([card(0, 24)], [job(1).ranks(2).devices(part(4, 0))]), &policy());
    assert!(reasons(&plan, 1)[0].never);
}

#[test]
fn a_level_that_is_not_offered_is_refused_with_the_reason() {
    let request = at_least(Enforcement::Driver, part(8, 0));
    let plan = planned(&snapshot_with([card(0, 24)], [job(1).devices(request)]), &policy());
    let blocker = &reasons(&plan, 1)[0].blocker;
    assert!(matches!(blocker, Blocker::Enforcement { offered: Enforcement::Watched, .. }), "{blocker:?}");
    assert_eq!(
        sentences(&plan, 1),
        ["never fits: 8GiB of memory of a device, driver at least: demands a part kept 'driver', here parts are kept 'watched' at most"]
    );
    assert!(reasons(&plan, 1)[0].never);
    // Whose cards nobody shares.
    let gaudi = device(0, Vendor::Gaudi, DeviceClass::Npu, "Gaudi2", Some(Bytes::gib(96)), Some(0));
    let plan = planned(&snapshot_with([gaudi], [job(1).devices(part(8, 0))]), &policy());
    assert_eq!(sentences(&plan, 1), ["never fits: 8GiB of memory of a device: such devices are held whole only"]);
}

#[test]
fn why_names_both_holders_when_it_ends_and_what_would_help() {
    let mut snapshot = snapshot_with([card(0, 24)], [job(3).devices(part(12, 0)).expect(Span::minutes(15))]);
    snapshot.running = vec![
        holder(1, "0", "nvidia-0", share(10, 0, 24), Span::minutes(50)),
        holder(2, "1", "nvidia-0", share(8, 0, 24), Span::minutes(20)),
    ];
    let plan = planned(&snapshot, &policy());
    let reason = &reasons(&plan, 3)[0];
    assert_eq!(sentences(&plan, 3), ["needs 1 × 12GiB of memory of a device, none of 1 has room"]);
    assert_eq!(reason.held_by.iter().map(|run| run.job.number).collect::<Vec<_>>(), [1, 2]);
    // The second ends first and leaves 14 GiB.
    assert_eq!((reason.until, planned_in(&plan, 3)), (Some(NOW + Span::minutes(20)), Some(1200)));
    assert_eq!(reason.change.as_deref(), Some("ask for 6 GiB of device memory instead of 12 GiB"));
    let less = what_if(&snapshot, &policy(), NOW, job(9).devices(part(6, 0)).priority(9).0);
    assert!(less.start.is_some());
}

#[test]
fn a_promise_of_a_part_is_kept_and_backfilled_around() {
    // 18 of 24 GiB are held for an hour. Job 1 is promised 12 then; job 2 fits into the 6 that are left, for ever, only if
    // it leaves room for the promise: 6 and 12 are 18. Job 3 would not.
    let jobs = [
        job(1).devices(part(19, 0)).expect(Span::hours(2)),
        job(2).devices(part(5, 0)).expect(Span::hours(9)),
        job(3).devices(part(1, 0)).expect(Span::hours(9)),
        job(4).devices(part(1, 0)).expect(Span::minutes(30)),
    ];
    let mut snapshot = snapshot_with([card(0, 24)], jobs);
    snapshot.running = vec![holder(100, "0", "nvidia-0", share(18, 0, 24), Span::hours(1))];
    let plan = planned(&snapshot, &policy());
    assert_eq!((started(&plan), planned_in(&plan, 1)), (vec![2, 4], Some(3600)));
}

#[test]
fn limits_count_parts() {
    let mut snapshot = snapshot_with([card(0, 24), card(1, 24)], (1..=4).map(|n| job(n).devices(part(0, 40))));
    snapshot.queues = vec![queue("default", 1, Limits { devices: Some(1), ..Limits::default() })];
    let plan = planned(&snapshot, &policy());
    assert_eq!(started(&plan), [1, 2]);
    assert!(
        sentences(&plan, 3).contains(&"queue 'default' holds 0.8 of the 1 device it may hold".to_string()),
        "{:?}",
        sentences(&plan, 3)
    );
}

#[test]
fn fair_shares_count_parts() {
    // One queue holds a whole card, the other a tenth of one: the next device goes to the other.
    let jobs = [job(1).devices(request(1)), job(2).devices(request(1)).queue("nlp")];
    let mut snapshot = snapshot_with([card(0, 24), card(1, 24), card(2, 24)], jobs);
    snapshot.queues = vec![queue("default", 1, Limits::default()), queue("nlp", 1, Limits::default())];
    let mut small = holder(101, "1", "nvidia-1", share(2, 0, 24), Span::hours(1));
    small.queue = "nlp".into();
    snapshot.running = vec![running(100, "0", 1000, Bytes::gib(1), &["nvidia-0"], Span::hours(1)), small];
    assert_eq!(started(&planned(&snapshot, &policy())), [2]);
}

type Break = fn(&mut Grant);

/// What is done to the grant of a job that asks for 8 GiB and a quarter of the compute, and the rule that must be named.
const BREAKS: &[(&str, &str, Break)] = &[
    ("the whole card", "share", |grant| grant.share = None),
    ("less memory", "share", |grant| change(grant, |share| share.memory = Bytes::gib(7))),
    ("more memory than asked", "share", |grant| change(grant, |share| share.memory = Bytes::gib(9))),
    ("memory between the steps", "share", |grant| change(grant, |share| share.memory = Bytes(share.memory.0 + 1))),
    ("other compute", "share", |grant| change(grant, |share| share.compute = 200)),
    ("counted less than it is", "share", |grant| change(grant, |share| share.permille = 100)),
    ("said to be kept more firmly", "share", |grant| change(grant, |share| share.enforced = Enforcement::Driver)),
    ("said to be kept less firmly", "share", |grant| change(grant, |share| share.enforced = Enforcement::Counted)),
    ("the card of a whole holder", "devices", |grant| grant.ranks[0].devices[0].0 = "nvidia-1".into()),
    ("a card without room", "devices", |grant| grant.ranks[0].devices[0].0 = "nvidia-2".into()),
    ("a card without compute", "devices", |grant| grant.ranks[0].devices[0].0 = "nvidia-3".into()),
    ("a slice", "share", |grant| grant.ranks[0].devices[0].0 = "nvidia-4".into()),
    ("a device that is held whole only", "share", |grant| grant.ranks[0].devices[0].0 = "gaudi-5".into()),
];

fn change(grant: &mut Grant, change: impl FnOnce(&mut Share)) {
    change(grant.share.as_mut().unwrap());
}

fn scene() -> (Snapshot, Plan) {
    let mut devices: Vec<Device> = (0..4).map(|index| card(index, 24)).collect();
    devices.push(slice(4, "2g.10gb", 10));
    devices.push(device(5, Vendor::Gaudi, DeviceClass::Gpu, "Gaudi2", Some(Bytes::gib(24)), Some(0)));
    let wanted = at_least(Enforcement::Watched, part(8, 25));
    let mut snapshot = snapshot_with(devices, [job(1).devices(wanted)]);
    snapshot.running = vec![
        running(100, "0", 1000, Bytes::gib(1), &["nvidia-1"], Span::hours(1)),
        holder(101, "1", "nvidia-2", share(17, 0, 24), Span::hours(1)),
        holder(102, "2", "nvidia-3", share(1, 800, 24), Span::hours(1)),
        holder(103, "3", "nvidia-0", share(1, 100, 24), Span::hours(1)),
    ];
    let plan = planned(&snapshot, &policy());
    assert_eq!(on(&plan, 1).0, "nvidia-0");
    (snapshot, plan)
}

#[test]
fn the_check_notices_every_wrong_part() {
    for (what, rule, wrong) in BREAKS {
        let (snapshot, mut plan) = scene();
        wrong(&mut plan.starts[0].grant);
        let found: Vec<Violation> = check(&plan, &snapshot, &policy());
        assert!(found.iter().any(|violation| violation.rule == *rule), "{what}: {found:?}");
    }
}

#[test]
fn the_check_notices_what_is_too_much_together() {
    // A level that is demanded, two parts of one card in one run, more parts than the vendor lets there be.
    let (mut snapshot, plan_of_scene) = scene();
    let spec = Arc::make_mut(&mut snapshot.waiting[0].spec);
    spec.devices.as_mut().unwrap().share.as_mut().unwrap().enforced = Some(Enforcement::Hard);
    assert!(check(&plan_of_scene, &snapshot, &policy()).iter().any(|found| found.rule == "share"));

    let gang = snapshot_with([card(0, 24), card(1, 24)], [job_of_two()]);
    let mut wrong = planned(&gang, &policy());
    wrong.starts[0].grant.ranks[1].devices = wrong.starts[0].grant.ranks[0].devices.clone();
    assert!(check(&wrong, &gang, &policy()).iter().any(|found| found.rule == "share"));

    let mut crowded = snapshot_with([card(0, 80)], [job(1).milli(10).devices(part(1, 0))]);
    let plan = planned(&crowded, &policy());
    crowded.running = (0..48).map(|n| holder(100 + n, "15", "nvidia-0", share(1, 0, 80), Span::hours(1))).collect();
    crowded.running.iter_mut().for_each(|run| run.grant.cpu_share = machine::CpuShare(10));
    assert!(check(&plan, &crowded, &policy()).iter().any(|found| found.rule == "devices"));
    assert!(placement::plan(&crowded, &policy(), NOW).starts.is_empty());
}

fn job_of_two() -> JobBuilder {
    job(1).ranks(2).devices(part(4, 0))
}

/// A queue's guarantee is in devices: half a card is taken back from who borrowed it, and no more.
#[test]
fn parts_are_evicted_for_a_guarantee() {
    let policy = Policy { shortest_run: Span::ZERO, ..policy() };
    let mut snapshot = snapshot_with([card(0, 24)], [job(1).devices(part(0, 40)).queue("mine")]);
    let mut mine = queue("mine", 1, Limits::default());
    mine.queue.guarantee = Limits { devices: Some(1), ..Limits::default() };
    snapshot.queues = vec![queue("default", 1, Limits::default()), mine];
    snapshot.running = vec![
        holder(100, "0", "nvidia-0", share(12, 500, 24), Span::hours(9)),
        holder(101, "1", "nvidia-0", share(10, 400, 24), Span::hours(9)),
    ];
    let plan = planned(&snapshot, &policy);
    assert_eq!(plan.evictions.len(), 1);
    assert_eq!(plan.evictions[0].victims.iter().map(|run| run.job.number).collect::<Vec<_>>(), [101], "the smaller loss");
    assert_eq!(plan, placement::plan(&snapshot, &policy, NOW));
}
