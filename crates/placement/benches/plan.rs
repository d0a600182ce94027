//! How long a decision takes. `cargo bench -p placement`
//!
//! - `trivial`: identical jobs of one CPU on a machine of two, all taken: what every event costs under a long queue
//! - `event`: the same with one CPU just freed
//! - `busy`: 500 runs and 10,000 mixed jobs of four queues on 256 CPUs and 8 devices
//! - `full`: the same with nothing left

#[path = "../tests/world/mod.rs"]
mod world;

use machine::{Bytes, CpuShare};
use placement::{Policy, Running, Snapshot, check, plan};
use spec::{Limits, RunId, Span, Time};
use std::hint::black_box;
use world::*;

fn main() {
    divan::main();
}

/// The usual small generator; the bench needs the same numbers every time, not good ones.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn adopt(snapshot: &mut Snapshot, policy: &Policy, now: Time) {
    let plan = plan(snapshot, policy, now);
    for start in plan.starts {
        let place = snapshot.waiting.iter().position(|job| job.job == start.job).expect("it waits");
        let job = snapshot.waiting.remove(place);
        snapshot.running.push(Running {
            run: RunId { job: job.job, attempt: 1 },
            queue: job.queue,
            user: job.user,
            priority: 0,
            name: job.spec.name.clone(),
            grant: start.grant,
            since: now,
            expected_end: job.spec.expect.map(|span| now + span),
            grace: job.spec.checkpoint.grace,
            evicted: None,
            stopping: false,
            elastic: None,
        });
    }
}

fn trivial(jobs: u64, free: bool) -> Snapshot {
    let mut snapshot = snapshot(machine(1, 2, 1, Bytes::gib(8)), (1..=jobs + 2).map(|number| job(number).expect(Span::minutes(1))));
    adopt(&mut snapshot, &policy(), NOW);
    assert_eq!(snapshot.running.len(), 2);
    if free {
        snapshot.running.pop();
    }
    snapshot
}

fn mixed(numbers: &mut Numbers, number: u64) -> JobBuilder {
    let mut one = job(number).queue(["a", "b", "c", "d"][numbers.below(4) as usize]).priority(numbers.below(3) as i32);
    one = match numbers.below(10) {
        0..5 => one.milli(100 + 50 * numbers.below(12) as u32),
        5..9 => one.cpus(1 + numbers.below(16) as u32).ranks(1 + numbers.below(4) as u32),
        _ => one.cpus(4).devices(request(1 + numbers.below(4) as u32)),
    };
    one.memory(Bytes::mib(100 + numbers.below(4000))).expect(Span::minutes(5 + numbers.below(600)))
}

fn busy(jobs: u64, cpus_left: bool) -> Snapshot {
    let numbers = &mut Numbers(7);
    let mut machine = machine(2, 64, 2, Bytes::gib(1024));
    machine.devices = (0..8).map(|index| gpu(index, "NVIDIA A100-SXM4-80GB", 80, index / 4)).collect();
    // 500 runs: most share CPUs.
    let small = (1..=480).map(|number| job(number).milli(250 + 100 * (number % 3) as u32).expect(Span::minutes(30 + number % 300)));
    let large = (481..=500).map(|number| job(number).cpus(if cpus_left { 2 } else { 4 }).expect(Span::minutes(30 + number % 300)));
    let mut snapshot = snapshot(machine, small.chain(large));
    snapshot.queues = ["a", "b", "c", "d", "default"].map(|name| queue(name, 1, Limits::default())).to_vec();
    adopt(&mut snapshot, &policy(), NOW);
    if !cpus_left {
        let held: u64 = snapshot.running.iter().map(|run| run.grant.cpu_milli()).sum();
        let held_whole =
            snapshot.running.iter().flat_map(|run| run.grant.cpus().iter().collect::<Vec<_>>()).collect::<std::collections::BTreeSet<_>>();
        let rest = 256 - held_whole.len() as u32;
        snapshot.waiting.push(job(501).cpus(rest).expect(Span::hours(2)).0);
        // What is left of the shared CPUs.
        snapshot.waiting.extend(
            (0..(held_whole.len() as u64 * 1000).saturating_sub(held) / 50).map(|n| job(1000 + n).milli(50).expect(Span::hours(2)).0),
        );
        adopt(&mut snapshot, &policy(), NOW);
        snapshot.waiting.clear();
    }
    snapshot.waiting = (10_000..10_000 + jobs).map(|number| mixed(numbers, number).0).collect();
    snapshot
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn trivial_full(bencher: divan::Bencher, jobs: u64) {
    let snapshot = trivial(jobs, false);
    bencher.bench(|| plan(black_box(&snapshot), &policy(), NOW + Span::seconds(5)));
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn trivial_event(bencher: divan::Bencher, jobs: u64) {
    let snapshot = trivial(jobs, true);
    assert_eq!(plan(&snapshot, &policy(), NOW + Span::seconds(5)).starts.len(), 1);
    bencher.bench(|| plan(black_box(&snapshot), &policy(), NOW + Span::seconds(5)));
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn trivial_event_check(bencher: divan::Bencher, jobs: u64) {
    let snapshot = trivial(jobs, true);
    let plan = plan(&snapshot, &policy(), NOW + Span::seconds(5));
    bencher.bench(|| check(black_box(&plan), &snapshot, &policy()));
}

#[divan::bench(args = [1_000, 10_000])]
fn busy_machine(bencher: divan::Bencher, jobs: u64) {
    let snapshot = busy(jobs, true);
    assert_eq!(snapshot.running.len(), 500);
    bencher.bench(|| plan(black_box(&snapshot), &policy(), NOW + Span::minutes(5)));
}

#[divan::bench(args = [1_000, 10_000])]
fn busy_machine_check(bencher: divan::Bencher, jobs: u64) {
    let snapshot = busy(jobs, true);
    let plan = plan(&snapshot, &policy(), NOW + Span::minutes(5));
    bencher.bench(|| check(black_box(&plan), &snapshot, &policy()));
}

#[divan::bench(args = [1_000, 10_000])]
fn full_machine(bencher: divan::Bencher, jobs: u64) {
    let snapshot = busy(jobs, false);
    let held: u32 = snapshot.running.iter().map(|run| run.grant.cpu_milli() as u32).sum();
    assert!(CpuShare(held) >= CpuShare::whole(240), "{held}");
    bencher.bench(|| plan(black_box(&snapshot), &policy(), NOW + Span::minutes(5)));
}
