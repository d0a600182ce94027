//! The audit accepts what is right, and catches every fault that is put in on purpose.

mod fleet;

use fleet::*;
use placement::packing::audit::{Audit, Fault};
use placement::packing::demand::Demand;
use placement::packing::{Packer, Placement, Request, Seeded, Shape};

const SHAPES: usize = 3;

fn shapes() -> [Shape; SHAPES] {
    [shape(0, 8, 32, 64), shape(1, 2, 8, 16), shape(2, 0, 16, 16)]
}

fn requests() -> Vec<Request> {
    vec![share(2, 810), share(1, 190), whole(4, 1), whole(8, 4), whole(8, 8), only(whole(2, 1), 1), only(share(1, 330), 0)]
}

/// Right decisions until the fleet is full.
fn history(policy_number: usize) -> Vec<(Request, Option<Placement>)> {
    let fleet = fleet(&shapes(), &[3, 4, 1]);
    let mut packer = Packer::new(fleet, policy(policy_number, &Demand::of(&requests())), 1);
    let mut seeded = Seeded(policy_number as u64);
    (0..120)
        .map(|_| {
            let request = requests()[seeded.below(7) as usize];
            (request, packer.arrive(&request))
        })
        .collect()
}

fn judge(history: &[(Request, Option<Placement>)]) -> Result<Audit, Fault> {
    let fleet = fleet(&shapes(), &[3, 4, 1]);
    let mut audit = Audit::new(&shapes(), &machines(&fleet));
    for (request, decision) in history {
        audit.arrival(request, *decision)?;
    }
    Ok(audit)
}

#[test]
fn right_decisions_pass() {
    for number in 0..5 {
        let history = history(number);
        assert!(history.iter().any(|(_, decision)| decision.is_none()), "it has filled up");
        let held: u64 = history.iter().filter(|(_, at)| at.is_some()).map(|(request, _)| u64::from(request.amount())).sum();
        assert_eq!(judge(&history).unwrap().held(), held);
    }
}

/// A way to spoil one decision, and the fault it must be called.
type Mutation = (&'static str, fn(&Request, Placement) -> Option<Placement>, fn(&Fault) -> bool);

const MUTATIONS: [Mutation; 7] = [
    ("refused", |_, _| None, |fault| matches!(fault, Fault::Declined { .. })),
    (
        "a machine that is not there",
        |_, at| Some(Placement { machine: at.machine + 100, ..at }),
        |fault| matches!(fault, Fault::NoMachine { .. }),
    ),
    (
        "one device more",
        |_, at| Some(Placement { devices: at.devices << 1 | at.devices | 1 << 15, ..at }),
        |fault| matches!(fault, Fault::DeviceCount { .. } | Fault::Overcommitted { .. }),
    ),
    ("no device", |_, at| Some(Placement { devices: 0, ..at }), |fault| matches!(fault, Fault::DeviceCount { .. })),
    (
        "a device it does not have",
        |request, at| (request.devices == 1).then_some(Placement { devices: 1 << 15, ..at }),
        |fault| matches!(fault, Fault::Overcommitted { .. }),
    ),
    (
        "a machine without devices",
        |_, at| Some(Placement { machine: 7, ..at }),
        |fault| matches!(fault, Fault::Overcommitted { .. } | Fault::WrongKind { .. }),
    ),
    (
        "the first machine again and again",
        |_, at| Some(Placement { machine: 0, ..at }),
        |fault| matches!(fault, Fault::Overcommitted { .. } | Fault::WrongKind { .. }),
    ),
];

#[test]
fn seeded_faults_are_caught_and_named() {
    for number in 0..5 {
        let right = history(number);
        for (name, spoil, called) in &MUTATIONS {
            let mut tried = 0;
            for step in 0..right.len() {
                let Some(at) = right[step].1 else { continue };
                let spoilt = spoil(&right[step].0, at);
                let mut wrong = right.clone();
                wrong[step].1 = spoilt;
                if *name == "the first machine again and again" {
                    wrong.iter_mut().for_each(|(_, at)| *at = at.map(|at| Placement { machine: 0, ..at }));
                } else if spoilt.is_none() && *name != "refused" {
                    continue;
                }
                tried += 1;
                let fault = judge(&wrong).err().unwrap_or_else(|| panic!("{name} at step {step} went through"));
                assert!(called(&fault), "{name}: {fault}");
            }
            assert!(tried > 10, "{name}");
        }
    }
}

#[test]
fn two_on_one_device_are_caught() {
    let mut audit = Audit::new(&shapes(), &[0, 1]);
    audit.arrival(&share(1, 810), Some(at(0, 1))).unwrap();
    let fault = audit.arrival(&share(1, 200), Some(at(0, 1))).unwrap_err();
    assert_eq!(fault, Fault::Overcommitted { step: 1, machine: 0, what: "share of device 0".into() });
    audit.arrival(&share(1, 190), Some(at(0, 1))).unwrap();
    let fault = audit.arrival(&Request { memory: 70_000, ..share(1, 190) }, Some(at(0, 2))).unwrap_err();
    assert_eq!(fault, Fault::Overcommitted { step: 3, machine: 0, what: "memory".into() });
    let fault = audit.arrival(&share(31, 190), Some(at(0, 2))).unwrap_err();
    assert_eq!(fault, Fault::Overcommitted { step: 4, machine: 0, what: "CPUs".into() });
    let fault = audit.arrival(&only(share(1, 190), 1), Some(at(0, 2))).unwrap_err();
    assert_eq!(fault, Fault::WrongKind { step: 5, machine: 0 });
}

#[test]
fn departures_and_moves_are_followed() {
    let mut audit = Audit::new(&shapes(), &[1, 1]);
    audit.arrival(&whole(8, 2), Some(at(0, 0b11))).unwrap();
    audit.arrival(&share(2, 500), Some(at(1, 0b01))).unwrap();
    assert_eq!(audit.moved(1, at(0, 0b01)), Err(Fault::Overcommitted { step: 2, machine: 0, what: "CPUs".into() }));
    assert_eq!(audit.held(), 2500, "a move that cannot be leaves it where it was");
    audit.departure(0).unwrap();
    assert_eq!(audit.departure(0), Err(Fault::NotRunning { step: 4, arrival: 0 }), "nothing ends twice");
    assert_eq!(audit.departure(9), Err(Fault::NotRunning { step: 5, arrival: 9 }));
    audit.moved(1, at(0, 0b10)).unwrap();
    assert_eq!(audit.moved(0, at(1, 0b10)), Err(Fault::NotRunning { step: 7, arrival: 0 }));
    audit.arrival(&whole(8, 2), Some(at(1, 0b11))).unwrap();
    audit.arrival(&only(whole(1, 1), 0), None).unwrap();
    assert!(matches!(audit.arrival(&share(1, 100), None), Err(Fault::Declined { machine: 0, .. })));
    assert!(matches!(audit.later(1, &share(1, 100), at(0, 1)), Err(Fault::NotRunning { .. })), "it runs already");
    audit.later(3, &share(1, 100), at(0, 1)).unwrap();
    assert_eq!(audit.held(), 2600);
}
