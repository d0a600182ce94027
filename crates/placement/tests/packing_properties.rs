//! Packing over random fleets, requests and churn.

mod fleet;

use fleet::*;
use placement::packing::audit::Audit;
use placement::packing::demand::Demand;
use placement::packing::policy::Ashlar;
use placement::packing::{Course, Fleet, KindSet, Packer, Placement, Request, Running, Shape, best_moves};
use proptest::prelude::*;

fn any_shape() -> impl Strategy<Value = Shape> {
    (0u8..3, 0u8..=8, 1u32..64, 1u32..256, prop_oneof![Just(0u32), Just(16_384)]).prop_map(|(kind, devices, cpus, gigabytes, memory)| {
        let mut shape = shape(kind, devices, cpus, gigabytes);
        shape.device_memory = memory;
        shape
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let amount = prop_oneof![
        2 => (Just(1u8), 1u16..1000),
        2 => (Just(1u8), Just(1000u16)),
        1 => (2u8..=8, Just(1000u16)),
        1 => (Just(0u8), Just(0u16)),
    ];
    (0u32..24_000, 0u32..64_000, amount, prop_oneof![3 => Just(u64::MAX), 1 => 0u64..8], prop_oneof![3 => Just(0u32), 1 => 0u32..20_000])
        .prop_map(|(cpu, memory, (devices, share), kinds, device_memory)| {
            let request = Request::new(cpu, memory, devices, share, KindSet(kinds)).unwrap();
            Request { device_memory: if devices == 0 { 0 } else { device_memory }, ..request }
        })
}

/// A fleet, requests, and steps: a request arrives, or an earlier arrival ends.
type World = (Vec<Shape>, Vec<usize>, Vec<Request>, Vec<(usize, bool)>);

fn world() -> impl Strategy<Value = World> {
    (1usize..5).prop_flat_map(|kinds| {
        let shapes = proptest::collection::vec(any_shape(), kinds);
        let counts = proptest::collection::vec(1usize..6, kinds);
        let requests = proptest::collection::vec(any_request(), 1..8);
        (shapes, counts, requests, proptest::collection::vec((0usize..1000, proptest::bool::weighted(0.25)), 1..120))
    })
}

fn ready(number: usize, fleet: &Fleet, requests: &[Request]) -> Boxed {
    let demand = Demand::of(requests);
    if number == 5 {
        let course = Course { days: 2, machines: 8, seed: 1 };
        return Boxed(Box::new(Ashlar::knowing(fleet, &demand, course, |_, _| ())));
    }
    policy(number, &demand)
}

/// The packer afterwards, each decision, and what still runs.
type Outcome = (Packer<Boxed>, Vec<Option<Placement>>, Vec<Running>);

/// Every decision of the steps, audited.
fn run(number: usize, (shapes, counts, requests, steps): &World) -> Result<Outcome, TestCaseError> {
    let fleet = fleet(shapes, counts);
    let mut audit = Audit::new(shapes, &machines(&fleet));
    let policy = ready(number, &fleet, requests);
    let mut packer = Packer::new(fleet, policy, 3);
    let (mut decisions, mut running): (Vec<_>, Vec<Running>) = (vec![], vec![]);
    for (pick, departs) in steps {
        if *departs && !running.is_empty() {
            let gone = running.swap_remove(pick % running.len());
            packer.depart(&gone.request, gone.at).map_err(|error| TestCaseError::fail(error.to_string()))?;
            audit.departure(gone.id as usize).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
            continue;
        }
        let request = requests[pick % requests.len()];
        let decision = packer.arrive(&request);
        audit.arrival(&request, decision).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
        if let Some(at) = decision {
            running.push(Running { id: decisions.len() as u64, request, at });
        }
        decisions.push(decision);
    }
    prop_assert_eq!(audit.held(), packer.fleet().allocated());
    Ok((packer, decisions, running))
}

/// The state of every machine, and how often each state occurs by the groups.
fn canonical(fleet: &Fleet) -> (Vec<String>, Vec<String>) {
    let machines: Vec<String> = (0..fleet.len() as u32).map(|machine| format!("{:?}", fleet.free(machine))).collect();
    let mut groups: Vec<String> = (0..fleet.groups().len() as u32)
        .map(|slot| fleet.groups().state(slot))
        .filter(|(_, _, population)| *population > 0)
        .map(|state| format!("{state:?}"))
        .collect();
    groups.sort();
    (machines, groups)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// No dimension is over-committed, no request that fits is refused: the audit says so at each step.
    #[test]
    fn every_decision_stands(number in 0usize..6, world in world()) {
        run(number, &world)?;
    }

    #[test]
    fn the_same_steps_give_the_same_decisions(number in 0usize..6, world in world()) {
        let (one, other) = (run(number, &world)?, run(number, &world)?);
        prop_assert_eq!(one.1, other.1);
        prop_assert_eq!(canonical(one.0.fleet()), canonical(other.0.fleet()));
    }

    /// Groups and caches kept up to date by changes say what groups and caches made anew say.
    #[test]
    fn kept_up_to_date_is_made_anew(number in prop_oneof![0usize..4, Just(5usize)], world in world()) {
        let (mut packer, _, running) = run(number, &world)?;
        let mut fresh = fleet(&world.0, &world.1);
        for run in &running {
            fresh.place(&run.request, run.at).map_err(|error| TestCaseError::fail(error.to_string()))?;
        }
        prop_assert_eq!(canonical(&fresh), canonical(packer.fleet()));
        if number < 4 {
            let mut anew = Packer::new(fresh.clone(), ready(number, &fresh, &world.2), 3);
            for request in &world.2 {
                prop_assert_eq!(packer.decide(request), anew.decide(request));
            }
        }
    }

    #[test]
    fn undo_restores_exactly(number in 0usize..6, world in world(), more in proptest::collection::vec((any_request(), 0u32..8, any::<u16>()), 0..30)) {
        let (packer, _, running) = run(number, &world)?;
        let mut fleet = packer.fleet().clone();
        let before = canonical(&fleet);
        let allocated = fleet.allocated();
        let mark = fleet.mark();
        for run in running.iter().step_by(2) {
            fleet.release(&run.request, run.at).map_err(|error| TestCaseError::fail(error.to_string()))?;
        }
        for (request, machine, devices) in more {
            // Most of these are refused, and must then change nothing either.
            let _ = fleet.place(&request, at(machine, devices));
        }
        fleet.undo(mark);
        prop_assert_eq!(canonical(&fleet), before);
        prop_assert_eq!(fleet.allocated(), allocated);
    }

    /// Moves keep everything running, over-commit nothing, and lower no more than they found.
    #[test]
    fn moves_keep_everything_running(number in 0usize..4, world in world(), most in 0usize..6) {
        let (mut packer, _, mut running) = run(number, &world)?;
        let (held, places) = (packer.fleet().allocated(), running.clone());
        let moves = best_moves(&mut packer, &mut running, most, 0.01);
        prop_assert!(moves.len() <= most);
        prop_assert_eq!(packer.fleet().allocated(), held);
        let mut fresh = fleet(&world.0, &world.1);
        for run in &running {
            prop_assert!(fresh.place(&run.request, run.at).is_ok());
        }
        let moved = running.iter().zip(&places).filter(|(now, then)| now.at != then.at).count();
        prop_assert_eq!(moved, moves.len());
        prop_assert!(moves.iter().all(|found| found.gain >= 0.01 && found.from.machine != found.to.machine));
    }

    /// Deciding is no change.
    #[test]
    fn deciding_changes_nothing(number in 0usize..4, world in world()) {
        let (mut packer, ..) = run(number, &world)?;
        let before = canonical(packer.fleet());
        let first: Vec<_> = world.2.iter().map(|request| packer.decide(request)).collect();
        let again: Vec<_> = world.2.iter().map(|request| packer.decide(request)).collect();
        prop_assert_eq!(first, again);
        prop_assert_eq!(canonical(packer.fleet()), before);
    }
}
