//! Fleets filled and churned in simulated time.

use cluster::replay::{AnyPolicy, Churn, FillReport, Knowledge, PolicyName, arrivals, churn, fill};
use placement::packing::audit::Audit;
use placement::packing::demand::Demand;
use placement::packing::{Course, Fleet, KindSet, Packer, Request, Shape};

fn shapes() -> Vec<Shape> {
    let shape = |kind, devices, cpus: u32| Shape { kind, devices, cpu: cpus * 1000, memory: 65_536, device_memory: 0 };
    vec![shape(0, 8, 64), shape(1, 4, 16), shape(0, 2, 32)]
}

const MACHINES: [u16; 12] = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];

fn requests() -> Vec<Request> {
    let request = |cpus: u32, devices, share, kinds| Request::new(cpus * 1000, 512, devices, share, kinds).unwrap();
    let any = KindSet::ANY;
    vec![
        request(6, 1, 1000, any),
        request(2, 1, 810, any),
        request(2, 1, 470, any),
        request(1, 1, 190, any),
        request(3, 1, 1000, KindSet::of(1)),
        request(8, 2, 1000, any),
        request(4, 0, 0, any),
    ]
}

fn fleet() -> Fleet {
    Fleet::new(shapes(), &MACHINES, vec![])
}

fn packer(policy: PolicyName, knowledge: Knowledge) -> Packer<AnyPolicy> {
    let course = Course { days: 3, machines: 12, seed: 1 };
    let policy = AnyPolicy::ready(policy, &fleet(), &Demand::of(&requests()), (knowledge, course), |_, _| ());
    Packer::new(fleet(), policy, 1)
}

fn filled(policy: PolicyName, knowledge: Knowledge) -> FillReport {
    let order = arrivals(&requests(), fleet().capacity(), 1.3, 42);
    let typical = Demand::of(&requests()).typical(0.95);
    fill(&mut packer(policy, knowledge), &mut Audit::new(&shapes(), &MACHINES), &requests(), &order, &typical).unwrap()
}

#[test]
fn arrivals_follow_the_published_rule() {
    let requests = requests();
    let order = arrivals(&requests, fleet().capacity(), 1.3, 42);
    let mut first: Vec<usize> = order[..requests.len()].to_vec();
    first.sort_unstable();
    assert_eq!(first, (0..requests.len()).collect::<Vec<_>>(), "each once, then drawn again");
    let asked = |order: &[usize]| order.iter().map(|row| u64::from(requests[*row].amount())).sum::<u64>() as f64;
    let enough = 1.3 * fleet().capacity() as f64;
    assert!(asked(&order) >= enough && asked(&order[..order.len() - 1]) < enough);
    assert_eq!(order, arrivals(&requests, fleet().capacity(), 1.3, 42));
    assert_ne!(order, arrivals(&requests, fleet().capacity(), 1.3, 43));
    assert!(arrivals(&requests, 1000, 1.0, 1).len() < requests.len(), "a list that asks for more is cut");
    let none = [Request::new(1000, 1, 0, 0, KindSet::ANY).unwrap()];
    assert_eq!(arrivals(&none, 1000, 1.3, 1), [0], "who asks for no device never fills the fleet");
}

#[test]
fn every_policy_fills_the_fleet() {
    for policy in PolicyName::ALL {
        let report = filled(policy, Knowledge::Distribution);
        assert!(report.placed <= report.arrivals && report.placed > 0);
        assert!(report.allocated_at_end > 0.75, "{policy}: {}", report.allocated_at_end);
        assert!(report.allocated_at_full.unwrap() <= report.allocated_at_end + 1e-12);
        assert!(report.curve.windows(2).all(|pair| pair[0].arrived < pair[1].arrived && pair[0].allocated <= pair[1].allocated));
        assert!(report.curve.iter().all(|sample| sample.fragmented >= 0.0 && sample.fragmented <= 1.0 - sample.allocated + 1e-9));
        assert_eq!(report, filled(policy, Knowledge::Distribution), "{policy}: the same every time");
    }
}

#[test]
fn a_policy_that_learns_on_the_way_learns() {
    let report = filled(PolicyName::Ashlar, Knowledge::Nothing);
    assert!(report.allocated_at_end > 0.75, "{}", report.allocated_at_end);
}

fn churned(policy: PolicyName, migrate_every: Option<u64>, load: f64) -> cluster::replay::ChurnReport {
    let spans: Vec<u64> = (0..requests().len() as u64).map(|row| 1000 + 700 * row).collect();
    let typical = Demand::of(&requests()).typical(0.95);
    let settings = Churn { load, arrivals: 1500, migrate_every, moves: 5, seed: 7 };
    let mut audit = Audit::new(&shapes(), &MACHINES);
    churn(&mut packer(policy, Knowledge::Distribution), &mut audit, &requests(), &spans, &typical, settings).unwrap()
}

#[test]
fn churn_keeps_what_is_asked_running_when_there_is_room() {
    let easy = churned(PolicyName::BestFit, None, 0.25);
    assert_eq!((easy.still_waiting, easy.p95_wait, easy.moves), (0, 0, 0));
    assert!((0.2..0.3).contains(&easy.allocated), "a quarter of the devices is asked for, {} held", easy.allocated);
    assert_eq!(easy.started, 1500);
    let crowded = churned(PolicyName::BestFit, None, 1.2);
    assert!(crowded.mean_wait > 0.0 && crowded.still_waiting > 0);
    assert_eq!(crowded.started + crowded.still_waiting, 1500, "nobody is lost");
    assert!(crowded.samples.windows(2).all(|pair| pair[0].at < pair[1].at));
}

#[test]
fn migration_moves_and_loses_nobody() {
    for policy in [PolicyName::Ashlar, PolicyName::BestFit] {
        let moved = churned(policy, Some(2000), 1.0);
        assert!(moved.moves > 0, "{policy}");
        assert_eq!(moved.started + moved.still_waiting, 1500);
        assert_eq!(moved, churned(policy, Some(2000), 1.0));
    }
}

#[test]
fn policies_have_names() {
    for policy in PolicyName::ALL {
        assert_eq!(policy.as_str().parse::<PolicyName>().unwrap(), policy);
        assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{policy}\""));
    }
    let unknown = "worstfit".parse::<PolicyName>().unwrap_err();
    assert_eq!(unknown.to_string(), "there is no policy `worstfit`");
    assert_eq!(unknown.hint(), "one of ashlar, fgd, bestfit, packing, dotprod, random");
}

/// An audit that was told of another fleet: what it would say if the packer were wrong.
#[test]
fn a_fault_ends_the_run() {
    let order = arrivals(&requests(), fleet().capacity(), 1.3, 42);
    let typical = Demand::of(&requests()).typical(0.95);
    for (machines, what) in [(vec![0u16; 4], "fewer machines"), (vec![1u16; 12], "smaller machines"), (vec![0u16; 12], "larger machines")] {
        let mut audit = Audit::new(&shapes(), &machines);
        let mut packer = packer(PolicyName::DotProd, Knowledge::Distribution);
        let fault = fill(&mut packer, &mut audit, &requests(), &order, &typical).unwrap_err();
        assert!(!fault.to_string().is_empty(), "{what}");
        let settings = Churn { load: 1.2, arrivals: 500, migrate_every: None, moves: 0, seed: 7 };
        let mut audit = Audit::new(&shapes(), &machines);
        let mut packer = crate::packer(PolicyName::DotProd, Knowledge::Distribution);
        assert!(churn(&mut packer, &mut audit, &requests(), &[1000; 7], &typical, settings).is_err(), "{what}");
    }
}

#[test]
fn what_can_never_be_placed_waits_without_harm() {
    let mut requests = requests();
    requests.push(Request::new(1000, 1, 16, 1000, KindSet::ANY).unwrap());
    requests.push(Request::new(1000, 1, 1, 1000, KindSet::NONE).unwrap());
    let spans = vec![500; requests.len()];
    let typical = Demand::of(&requests).typical(0.95);
    let settings = Churn { load: 0.4, arrivals: 400, migrate_every: Some(100), moves: 3, seed: 1 };
    let mut audit = Audit::new(&shapes(), &MACHINES);
    let mut packer = packer(PolicyName::BestFit, Knowledge::Distribution);
    let report = churn(&mut packer, &mut audit, &requests, &spans, &typical, settings).unwrap();
    assert!(report.still_waiting > 40 && report.started > 250, "{} wait, {} started", report.still_waiting, report.started);
    assert_eq!(report.started + report.still_waiting, 400);
}

#[test]
fn no_arrivals_give_an_empty_report() {
    let typical = Demand::of(&requests()).typical(0.95);
    let mut audit = Audit::new(&shapes(), &MACHINES);
    let mut packer = packer(PolicyName::Fgd, Knowledge::Distribution);
    let report = fill(&mut packer, &mut audit, &requests(), &[], &typical).unwrap();
    assert_eq!((report.arrivals, report.placed, report.allocated_at_full), (0, 0, None));
    let settings = Churn { load: 1.0, arrivals: 0, migrate_every: None, moves: 0, seed: 1 };
    let report = churn(&mut packer, &mut audit, &requests(), &[1; 7], &typical, settings).unwrap();
    assert_eq!((report.started, report.p95_wait, report.samples.len()), (0, 0, 0));
}

#[test]
fn more_load_means_more_waiting() {
    let waits: Vec<f64> = [0.5, 0.9, 1.3].map(|load| churned(PolicyName::Fgd, None, load).mean_wait).to_vec();
    assert!(waits[0] < waits[1] && waits[1] < waits[2], "{waits:?}");
}
