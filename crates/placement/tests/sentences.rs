//! What people read. Snapshots: a change here changes what `why` says.

mod world;

use machine::Bytes;
use placement::{Policy, Snapshot, what_if};
use spec::{DeviceRequest, Limits, Span};
use world::*;

/// Every reason of every waiting job with all that belongs to it.
fn why(snapshot: &Snapshot, policy: &Policy) -> String {
    let plan = planned(snapshot, policy);
    let mut text = String::new();
    for (job, reasons) in &plan.reasons {
        for reason in reasons {
            text += &format!("{job}: {} [{}]", reason.sentence(NOW), reason.blocker.kind());
            if !reason.held_by.is_empty() {
                let runs: Vec<String> = reason.held_by.iter().map(ToString::to_string).collect();
                text += &format!(" held by {}", runs.join(", "));
            }
            if let Some(change) = &reason.change {
                text += &format!("; {change}");
            }
            if let Some(until) = reason.until {
                text += &format!("; in {}", until - NOW);
            }
            text.push('\n');
        }
    }
    text
}

/// Eight CPUs, five taken by two runs; 16 GiB, 12 taken; two A100 of which one is taken, and a free L40S.
fn busy(waiting: impl IntoIterator<Item = JobBuilder>) -> Snapshot {
    let mut machine = machine(1, 8, 1, Bytes::gib(16));
    machine.devices = vec![gpu(0, "NVIDIA A100-SXM4-80GB", 80, 0), gpu(1, "NVIDIA A100-SXM4-80GB", 80, 0), gpu(2, "NVIDIA L40S", 48, 0)];
    let mut snapshot = snapshot(machine, waiting);
    snapshot.running = vec![
        running(101, "0-1", 2000, Bytes::gib(10), &["nvidia-0"], Span::minutes(25)),
        running(102, "2-4", 3000, Bytes::gib(2), &[], Span::hours(3)),
    ];
    snapshot
}

fn a100(count: u32) -> DeviceRequest {
    DeviceRequest { models: vec!["a100".into()], ..request(count) }
}

#[test]
fn what_lacks() {
    let none = Policy { reservations: 0, ..policy() };
    let jobs = [
        job(1).cpus(4),
        job(2).memory(Bytes::gib(6)),
        job(3).devices(a100(2)),
        job(4).devices(a100(2)).cpus(7).memory(Bytes::gib(15)),
        job(5).ranks(6),
        job(6).cpus(8).with(|spec| spec.memory = None),
        job(7).devices(DeviceRequest { memory_min: Some(Bytes::gib(40)), ..request(3) }),
    ];
    insta::assert_snapshot!(why(&busy(jobs), &none));
}

#[test]
fn what_never_fits() {
    let jobs = [
        job(1).cpus(64),
        job(2).memory(Bytes::gib(24)),
        job(3).devices(a100(3)),
        job(4).devices(DeviceRequest { vendor: Some(machine::Vendor::Amd), ..request(1) }).cpus(9),
        job(5).ranks(3).cpus(3),
        job(6).queue("small").cpus(3).memory(Bytes::gib(9)),
    ];
    let mut snapshot = busy(jobs);
    snapshot.queues.push(queue("small", 1, Limits { cpus: Some(2), memory: Some(Bytes::gib(8)), ..Limits::default() }));
    insta::assert_snapshot!(why(&snapshot, &policy()));
}

#[test]
fn what_is_promised_to_others() {
    let jobs = [job(1).cpus(8), job(2).expect(Span::hours(4)), job(3).cpus(2), job(4).cpus(3).expect(Span::hours(2))];
    insta::assert_snapshot!(why(&busy(jobs), &policy()));
}

#[test]
fn what_would_be_short_enough() {
    let jobs =
        [job(1).cpus(8), job(2).cpus(6).expect(Span::hours(1)), job(3).expect(Span::hours(4)), job(4).cpus(2).expect(Span::hours(2))];
    insta::assert_snapshot!(why(&busy(jobs), &policy()));
}

#[test]
fn who_is_behind() {
    let few = Policy { explained: 1, ..policy() };
    insta::assert_snapshot!(why(&busy([job(1).cpus(8), job(2).cpus(8), job(3).cpus(8), job(4).cpus(99), job(5).cpus(8)]), &few));
}

#[test]
fn small_shares() {
    let mut snapshot = snapshot(machine(1, 2, 1, Bytes::gib(4)), [job(1).milli(500).ranks(2), job(2).cpus(1)]);
    snapshot.running =
        vec![running(101, "0", 700, Bytes::gib(1), &[], Span::minutes(5)), running(102, "1", 800, Bytes::gib(1), &[], Span::minutes(10))];
    insta::assert_snapshot!(why(&snapshot, &policy()));
}

#[test]
fn a_dry_run() {
    let jobs = [job(1).cpus(8)];
    for (job, starts) in [(job(9).expect(Span::minutes(20)), true), (job(9), false)] {
        let answer = what_if(&busy([jobs[0].0.clone()].map(JobBuilder)), &policy(), NOW, job.0);
        assert_eq!(answer.start.is_some(), starts);
        assert_eq!(answer.reasons.is_empty(), starts);
        assert!(answer.planned_start.is_some());
    }
    let answer = what_if(&busy([]), &policy(), NOW, job(9).cpus(64).0);
    assert_eq!((answer.start, answer.planned_start), (None, None));
    assert_eq!(answer.reasons[0].sentence(NOW), "never fits: asks for 64 CPUs, the machine has 8");
    assert!(answer.reasons[0].never);
}

#[test]
fn a_dry_run_behind_a_long_queue_is_explained_in_full() {
    let answer = what_if(&busy((1..=500).map(|number| job(number).cpus(8))), &Policy { explained: 2, ..policy() }, NOW, job(900).cpus(8).0);
    assert_eq!(answer.reasons[0].sentence(NOW), "needs 8 CPUs, 3 of 8 are free");
    assert_eq!(answer.planned_start, Some(NOW + Span::hours(3) + Span::hours(24 * 500)));
}
