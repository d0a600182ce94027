//! Tenants that share a cluster: the rivals by hand-reckoned cases, and the core beside them.

use cluster::replay::sharing::{
    Cluster, Decision, Easy, Ended, Live, QuotaFirst, Scheduler, SharingFault, SharingReport, Work, never_fits, share, synthetic,
};
use placement::Policy;
use spec::{Span, Time};

fn cluster(machines: usize, each: u32, tenants: usize) -> Cluster {
    Cluster { machines, each, weights: vec![1; tenants] }
}

/// Tenant, devices, arrival and duration in minutes; what is said is true.
fn work(rows: &[(usize, u32, u64, u64)]) -> Vec<Work> {
    let one = |row: &(usize, u32, u64, u64)| {
        let takes = Span::minutes(row.3);
        Work { tenant: row.0, devices: row.1, arrives: Time(row.2 * 60_000), takes, says: takes }
    };
    rows.iter().map(one).collect()
}

/// When each started, in minutes, as the audit of the trial saw it.
struct Noted<'a> {
    inner: Box<dyn Scheduler + 'a>,
    starts: Vec<(usize, u64)>,
}

impl Scheduler for Noted<'_> {
    fn step(&mut self, now: Time, arrived: &[usize], ended: &[Ended]) -> Decision {
        let decision = self.inner.step(now, arrived, ended);
        self.starts.extend(decision.starts.iter().map(|(index, ..)| (*index, now.0 / 60_000)));
        decision
    }

    fn wake(&self) -> Option<Time> {
        self.inner.wake()
    }
}

fn played(cluster: &Cluster, work: &[Work], inner: Box<dyn Scheduler + '_>) -> (Vec<(usize, u64)>, SharingReport) {
    let mut noted = Noted { inner, starts: vec![] };
    let report = share(cluster, work, &mut noted).unwrap();
    noted.starts.sort_unstable();
    (noted.starts, report)
}

#[test]
fn backfill_passes_the_first_only_where_it_does_not_delay_it() {
    // Four devices. A holds three until 60; B wants four and waits; C (one, 50 minutes) ends before, D (one, 90) does not.
    let (cluster, work) = (cluster(1, 4, 1), work(&[(0, 3, 0, 60), (0, 4, 1, 30), (0, 1, 2, 50), (0, 1, 3, 90)]));
    let fifo = played(&cluster, &work, Box::new(Easy::new(&cluster, &work, false, false)));
    assert_eq!(fifo.0, [(0, 0), (1, 60), (2, 90), (3, 90)]);
    let easy = played(&cluster, &work, Box::new(Easy::new(&cluster, &work, true, false)));
    assert_eq!(easy.0, [(0, 0), (1, 60), (2, 2), (3, 90)]);
    // Means over the work of one device: 0 and 87 minutes; the gang of the whole machine waits 59.
    assert_eq!((easy.1.small_wait, easy.1.gang_wait), (Span(43 * 60_000 + 30_000), Span::minutes(59)));
    assert_eq!(fifo.1.makespan, Span::minutes(180));
}

#[test]
fn machines_that_are_not_shared_hold_one_run_each() {
    let (cluster, work) = (cluster(2, 4, 1), work(&[(0, 1, 0, 60), (0, 1, 0, 60), (0, 1, 0, 60)]));
    let shared = played(&cluster, &work, Box::new(Easy::new(&cluster, &work, true, false)));
    let alone = played(&cluster, &work, Box::new(Easy::new(&cluster, &work, true, true)));
    assert_eq!(shared.0, [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(alone.0, [(0, 0), (1, 0), (2, 60)]);
}

#[test]
fn quota_lends_takes_back_and_may_have_no_place() {
    // Two machines of two. Tenant 0 borrows all; tenant 1 is owed two devices and wants both on one machine: the newest
    // borrowers go, wherever they are.
    let (cluster, work) = (cluster(2, 2, 2), work(&[(0, 1, 0, 100), (0, 1, 0, 100), (0, 1, 1, 100), (0, 1, 2, 100), (1, 2, 10, 10)]));
    let (starts, report) = played(&cluster, &work, Box::new(QuotaFirst::new(&cluster, &work)));
    // The two newest shared the second machine: it starts when their grace of half a minute is over, and they again when it has ended.
    assert_eq!((report.evictions, report.vain_evictions), (2, 0));
    assert_eq!(starts, [(0, 0), (1, 0), (2, 1), (2, 20), (3, 2), (3, 20), (4, 10)]);
    // Three on one machine are within the cluster and nowhere possible: admitted, somebody evicted, and never started.
    let trap = {
        let mut trap = work.clone();
        trap[4].devices = 2;
        trap.push(Work { devices: 3, tenant: 1, ..trap[4] });
        trap
    };
    let wide = Cluster { machines: 2, each: 2, weights: vec![1, 3] };
    let (starts, report) = played(&wide, &trap, Box::new(QuotaFirst::new(&wide, &trap)));
    assert!(starts.iter().all(|(index, _)| *index != 5), "{starts:?}");
    assert_eq!(report.never_started, 1);
}

#[test]
fn the_core_evicts_nobody_in_vain() {
    let cluster = cluster(4, 8, 2);
    for seed in 1..=3 {
        let work = never_fits(&cluster, seed);
        let (_, ours) = played(&cluster, &work, Box::new(Live::new(&cluster, &work, Policy::default())));
        let (_, quota) = played(&cluster, &work, Box::new(QuotaFirst::new(&cluster, &work)));
        assert_eq!(ours.vain_evictions, 0);
        assert!(ours.evictions > 0 && quota.vain_evictions > 0, "{ours:?} {quota:?}");
        // The gangs that fit get their place in both; those that no machine holds in neither.
        assert_eq!((ours.never_started, quota.never_started), (2, 2));
    }
}

#[test]
fn everything_that_fits_runs_under_every_policy() {
    let cluster = cluster(3, 4, 3);
    let work = synthetic(&cluster, 120, 1200, &[4, 1, 1], 7);
    let all: [Box<dyn Scheduler>; 5] = [
        Box::new(Easy::new(&cluster, &work, false, false)),
        Box::new(Easy::new(&cluster, &work, true, false)),
        Box::new(Easy::new(&cluster, &work, true, true)),
        Box::new(QuotaFirst::new(&cluster, &work)),
        Box::new(Live::new(&cluster, &work, Policy::default())),
    ];
    for scheduler in all {
        let (starts, report) = played(&cluster, &work, scheduler);
        assert_eq!(report.never_started, 0);
        assert_eq!(starts.len() as u64, 120 + report.evictions);
        assert!(report.used > 0.3 && report.used <= 1.0, "{report:?}");
    }
}

#[test]
fn what_cannot_be_is_a_fault() {
    struct Says(Decision);
    impl Scheduler for Says {
        fn step(&mut self, _: Time, _: &[usize], _: &[Ended]) -> Decision {
            std::mem::take(&mut self.0)
        }
    }
    let (cluster, work) = (cluster(1, 2, 1), work(&[(0, 2, 0, 10), (0, 1, 0, 10)]));
    let said = |starts: &[(usize, usize, u32)], evictions: &[(usize, usize)]| {
        share(&cluster, &work, &mut Says(Decision { starts: starts.to_vec(), evictions: evictions.to_vec() })).unwrap_err()
    };
    assert_eq!(said(&[(0, 0, 2), (1, 0, 1)], &[]), SharingFault::OverFull { machine: 0, held: 3 });
    assert_eq!(said(&[(0, 3, 2)], &[]), SharingFault::OverFull { machine: 3, held: 2 });
    assert_eq!(said(&[(0, 0, 2), (0, 0, 2)], &[]), SharingFault::NotWaiting(0));
    assert_eq!(said(&[], &[(0, 1)]), SharingFault::NotRunning(0));
}
