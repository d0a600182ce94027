//! When a job would start if things were otherwise.

mod world;

use machine::{Bytes, DeviceId, Health};
use placement::{Snapshot, SupposeError, suppose, what_if};
use spec::{JobId, Limits, Span, Supposition};
use world::*;

/// Four CPUs and two devices, one of them gone; job 1 holds three CPUs for two hours, job 2 waits for four.
fn scene() -> Snapshot {
    let mut hardware = machine(1, 4, 1, Bytes::gib(16));
    hardware.devices = (0..2).map(|index| gpu(index, "NVIDIA A100-SXM4-80GB", 80, 0)).collect();
    hardware.devices[1].health = Health::Unusable("fell off the bus".into());
    let mut snapshot = snapshot(hardware, [job(2).cpus(4).expect(Span::hours(1))]);
    snapshot.running = vec![running(1, "0-2", 1000, Bytes::gib(1), &[], Span::hours(2))];
    let mut small = queue("small", 1, Limits { cpus: Some(1), ..Limits::default() });
    small.recent_usage = 0;
    snapshot.queues.push(small);
    snapshot
}

fn starts_in(snapshot: &Snapshot, job: JobBuilder) -> Option<u64> {
    what_if(snapshot, &policy(), NOW, job.0).planned_start.map(|at| (at - NOW).0 / 60_000)
}

#[test]
fn each_change_alone_and_all_together() {
    let asked = || job(9).cpus(4).devices(request(2)).expect(Span::minutes(30));
    let ended = |number| Supposition::Ended(JobId::new(number));
    let healthy = Supposition::Healthy(DeviceId("nvidia-1".into()));
    let rows: [(&[Supposition], Option<u64>); 5] = [
        (&[], None),
        (std::slice::from_ref(&healthy), Some(180)),
        (&[healthy.clone(), ended(2)], Some(120)),
        (&[healthy.clone(), ended(1)], Some(60)),
        (&[healthy.clone(), ended(1), ended(2)], Some(0)),
    ];
    let scene = scene();
    for (suppositions, expected) in rows {
        let supposed = suppose(&scene, suppositions).unwrap();
        assert_eq!(starts_in(&supposed, asked()), expected, "{suppositions:?}");
    }
    assert_eq!(scene.running.len(), 1, "nothing is changed");
}

#[test]
fn a_queue_without_its_limits() {
    let scene = scene();
    let asked = || job(9).queue("small").cpus(2);
    let ended = [1, 2].map(|number| Supposition::Ended(JobId::new(number)));
    let free = suppose(&scene, &ended).unwrap();
    assert_eq!(starts_in(&free, asked()), None);
    let lifted = suppose(&free, &[Supposition::Unlimited("small".into())]).unwrap();
    assert_eq!(starts_in(&lifted, asked()), Some(0));
}

#[test]
fn of_what_is_not_there_nothing_is_supposed() {
    let scene = scene();
    let rows = [
        (Supposition::Ended(JobId::new(77)), SupposeError::NoJob(JobId::new(77))),
        (Supposition::Ended(JobId { number: 1, task: Some(4) }), SupposeError::NoJob(JobId { number: 1, task: Some(4) })),
        (Supposition::Healthy(DeviceId("x".into())), SupposeError::NoDevice(DeviceId("x".into()))),
        (Supposition::Unlimited("none".into()), SupposeError::NoQueue("none".into())),
    ];
    for (supposition, error) in rows {
        assert_eq!(suppose(&scene, &[supposition]).err(), Some(error));
    }
}
