//! The stages of packing, each by a table.

mod fleet;

use fleet::*;
use placement::packing::demand::Demand;
use placement::packing::policy::{Ashlar, BestFit, DotProd, Fgd, Packing};
use placement::packing::{
    Course, Fleet, Fragmentation, KindSet, Learner, Moment, PackError, Packer, Request, RequestError, Running, Score, Seeded, Spot, Values,
    allocated, best_moves, fits, fits_empty, fragment, shared_choices,
};

#[test]
fn filter_knows_every_dimension() {
    let machine = shape(3, 4, 16, 64);
    let table = [
        ("fits", free(16, &[1000, 1000, 400, 0]), whole(4, 2), true),
        ("one whole device short", free(16, &[1000, 400, 400, 400]), whole(4, 2), false),
        ("shares do not add up", free(16, &[400, 400, 400, 400]), share(1, 500), false),
        ("just enough of one", free(16, &[500, 400, 0, 0]), share(1, 500), true),
        ("no CPUs", free(3, &[1000, 1000, 1000, 1000]), whole(4, 1), false),
        ("CPUs to the last thousandth", free(4, &[1000]), whole(4, 1), true),
        ("no device asked", free(4, &[]), Request::new(4000, 1024, 0, 0, KindSet::ANY).unwrap(), true),
        ("another model", free(16, &[1000]), only(whole(1, 1), 2), false),
        ("this model", free(16, &[1000]), only(whole(1, 1), 3), true),
        ("no model at all", free(16, &[1000]), Request { kinds: KindSet::NONE, ..whole(1, 1) }, false),
        ("too much memory", free(16, &[1000]), Request { memory: 64 * 1024 + 1, ..whole(1, 1) }, false),
        ("device memory it does not have", free(16, &[1000]), Request { device_memory: 1, ..whole(1, 1) }, false),
    ];
    for (what, free, request, expected) in table {
        assert_eq!(fits(&machine, &free, &request), expected, "{what}");
    }
    assert!(fits_empty(&machine, &whole(16, 4)));
    assert!(!fits_empty(&machine, &whole(16, 5)));
}

#[test]
fn device_memory_is_a_dimension_of_its_own() {
    let mut shape = shape(0, 2, 16, 64);
    shape.device_memory = 24 * 1024;
    let mut fleet = Fleet::new(vec![shape], &[0], vec![]);
    let half = Request { device_memory: 16 * 1024, ..share(1, 300) };
    fleet.place(&half, at(0, 0b01)).unwrap();
    assert_eq!(
        fleet.place(&half, at(0, 0b01)),
        Err(PackError::Lacks { machine: 0, what: "room on a device" }),
        "shares are left, memory is not"
    );
    fleet.place(&half, at(0, 0b10)).unwrap();
    fleet.release(&half, at(0, 0b01)).unwrap();
    fleet.place(&Request { device_memory: 1024, ..whole(1, 1) }, at(0, 0b01)).unwrap();
    assert_eq!(fleet.free(0).device_memory[..2], [0, 8 * 1024], "a whole device comes with all its memory");
}

#[test]
fn requests_that_cannot_be_meant_are_refused() {
    let table = [
        (17, 1000, Some(RequestError::TooMany(17))),
        (1, 0, Some(RequestError::Share(0))),
        (1, 1001, Some(RequestError::Share(1001))),
        (2, 500, Some(RequestError::SharedGang { devices: 2, share: 500 })),
        (16, 1000, None),
        (1, 1, None),
        (0, 7, None),
    ];
    for (devices, share, expected) in table {
        let error = Request::new(1000, 1, devices, share, KindSet::ANY).err();
        assert_eq!(error, expected, "{devices} of {share}");
        assert!(error.is_none_or(|error| !error.hint().is_empty()));
    }
    assert_eq!(Request::new(1000, 1, 0, 7, KindSet::NONE).unwrap().amount(), 0);
}

#[test]
fn a_share_is_offered_each_kind_of_device_once() {
    let table: [(&[u16], u16, &[usize]); 4] = [
        (&[1000, 1000, 500, 500, 190], 190, &[0, 2, 4]),
        (&[1000, 1000, 500, 500, 190], 200, &[0, 2]),
        (&[300, 200], 400, &[]),
        (&[], 10, &[]),
    ];
    for (shares, wanted, expected) in table {
        let (state, request) = (free(1, shares), share(1, wanted));
        assert_eq!(shared_choices(&state, &request).collect::<Vec<_>>(), expected, "{shares:?}");
    }
}

#[test]
fn equal_machines_are_one_candidate() {
    let mut fleet = fleet(&[shape(0, 8, 96, 384), shape(1, 2, 64, 256)], &[100, 50]);
    assert_eq!(fleet.groups().states(), 2);
    fleet.place(&share(4, 500), at(7, 0b1)).unwrap();
    assert_eq!(fleet.groups().states(), 3);
    fleet.place(&share(4, 500), at(9, 0b1000_0000)).unwrap();
    assert_eq!(fleet.groups().states(), 3, "another device of another machine, and yet the same state");
    assert_eq!(fleet.groups().slot_of(7), fleet.groups().slot_of(9));
    fleet.place(&share(4, 500), at(9, 0b1000_0000)).unwrap();
    assert_eq!(fleet.groups().states(), 4);
    for machine in [7, 9, 9] {
        let device = if machine == 7 { 0b1 } else { 0b1000_0000 };
        fleet.release(&share(4, 500), at(machine, device)).unwrap();
    }
    assert_eq!(fleet.groups().states(), 2);
    assert_eq!(fleet.groups().state(fleet.groups().slot_of(7)).2, 100);
}

#[test]
fn the_log_of_changes_stays_in_proportion() {
    let mut fleet = fleet(&[shape(0, 8, 96, 384)], &[10]);
    let start = fleet.groups().now();
    let mut packer = Packer::new(fleet.clone(), BestFit, 0);
    for _ in 0..3000 {
        let placed = packer.arrive(&share(1, 100)).unwrap();
        packer.depart(&share(1, 100), placed).unwrap();
        if let Some(at) = packer.arrive(&whole(1, 8)) {
            packer.depart(&whole(1, 8), at).unwrap();
        }
    }
    assert!(packer.fleet().groups().now() > start);
    assert!(packer.fleet().groups().changed_since(start).is_none(), "so long ago that all are looked at");
    assert!(packer.fleet().groups().len() < 40, "slots are used again: {}", packer.fleet().groups().len());
    fleet.place(&whole(1, 1), at(0, 1)).unwrap();
    let now = fleet.groups().now();
    fleet.place(&whole(1, 1), at(0, 2)).unwrap();
    assert_eq!(fleet.groups().changed_since(now).unwrap().len(), 1, "a machine alone in its state takes its slot along");
}

#[test]
fn a_refused_change_changes_nothing() {
    let mut fleet = fleet(&[shape(0, 2, 8, 64)], &[2]);
    fleet.place(&share(4, 600), at(0, 0b01)).unwrap();
    let before = *fleet.free(0);
    let lacks = |what| Err(PackError::Lacks { machine: 0, what });
    let not_held = |what| Err(PackError::NotHeld { machine: 0, what });
    assert_eq!(fleet.place(&whole(5, 1), at(0, 0b10)), lacks("CPUs"));
    assert_eq!(fleet.place(&Request { memory: 64 * 1024, ..whole(1, 1) }, at(0, 0b10)), lacks("memory"));
    assert_eq!(fleet.place(&whole(1, 1), at(0, 0b11)), lacks("the right number of devices"));
    assert_eq!(fleet.place(&only(whole(1, 1), 1), at(0, 0b10)), lacks("the model"));
    assert_eq!(fleet.place(&whole(1, 1), at(0, 0b01)), lacks("room on a device"));
    assert_eq!(fleet.place(&whole(1, 1), at(0, 0b100)), lacks("room on a device"));
    assert_eq!(fleet.place(&whole(1, 1), at(7, 0b1)), Err(PackError::NoMachine(7)));
    assert_eq!(fleet.release(&share(5, 600), at(0, 0b01)), not_held("CPUs"));
    assert_eq!(fleet.release(&share(4, 600), at(0, 0b10)), not_held("of a device"));
    assert_eq!(fleet.release(&share(4, 700), at(0, 0b01)), not_held("of a device"));
    assert_eq!(fleet.release(&share(4, 600), at(0, 0b100)), not_held("devices"));
    assert_eq!(*fleet.free(0), before);
    assert_eq!(fleet.allocated(), 600);
}

#[test]
fn marks_nest() {
    let mut fleet = fleet(&[shape(0, 4, 16, 64)], &[3]);
    let outer = fleet.mark();
    fleet.place(&whole(1, 2), at(0, 0b0011)).unwrap();
    let inner = fleet.mark();
    fleet.place(&whole(1, 2), at(0, 0b1100)).unwrap();
    fleet.place(&whole(1, 4), at(1, 0b1111)).unwrap();
    assert_eq!(fleet.allocated(), 8000);
    fleet.undo(inner);
    assert_eq!(fleet.allocated(), 2000);
    let kept = fleet.mark();
    fleet.place(&whole(1, 4), at(2, 0b1111)).unwrap();
    fleet.keep(kept);
    fleet.undo(outer);
    assert_eq!(fleet.allocated(), 0, "what was kept inside goes with the outer mark");
    assert_eq!(fleet.groups().states(), 1);
}

/// The cost a policy gives a state, and the share of the device it would take.
fn cost(policy: &dyn Score, of: (u8, u32, &[u16]), request: &Request) -> (f32, u16) {
    let (devices, cpus, shares) = of;
    let (machine, state) = (shape(0, devices, 96, 384), free(cpus, shares));
    let cost = policy.cost(&Spot { number: 0, shape: &machine, free: &state, potential: 0.0 }, request);
    (cost.cost, state.share[usize::from(cost.device)])
}

#[test]
fn published_scores_are_those_of_the_paper() {
    // (1 - (64 - 4)/128/2 - (2.0 - 0.5)/8/2) * 100 = 67.1
    assert_eq!(cost(&BestFit, (2, 64, &[1000, 1000]), &share(4, 500)), (-67.0, 1000));
    assert_eq!(cost(&BestFit, (2, 64, &[1000, 600]), &share(4, 500)).1, 600, "the tightest device");
    // (1 - (64/128 * 4/128 + 1.6/8 * 0.5/8)/2) * 100 = 98.6
    assert_eq!(cost(&DotProd, (2, 64, &[1000, 600]), &share(4, 500)), (-98.0, 600));
    let packing = |shares: &[u16], request: &Request| cost(&Packing, (4, 64, shares), request).0;
    assert_eq!(packing(&[1000, 1000, 1000, 1000], &whole(1, 1)), -29.0, "an empty machine: a third less its devices");
    assert_eq!(packing(&[1000, 1000, 1000, 0], &whole(1, 2)), -48.0, "whole devices of a used one: half less what is opened");
    assert_eq!(packing(&[1000, 1000, 500, 0], &share(1, 500)), -95.0, "a shared device: less a tenth of its room");
    assert_eq!(packing(&[1000], &Request::new(1000, 1, 0, 0, KindSet::ANY).unwrap()), 0.0);
}

#[test]
fn fragments_are_what_typical_requests_cannot_use() {
    let typical = [(whole(4, 1), 0.5), (share(4, 500), 0.25), (Request::new(1000, 1, 0, 0, KindSet::ANY).unwrap(), 0.25)];
    let machine = shape(0, 4, 96, 384);
    let table: [(u32, &[u16], f64); 4] = [
        (96, &[1000, 1000], 0.25 * 2000.0),
        (96, &[1000, 190], 0.5 * 190.0 + 0.25 * 190.0 + 0.25 * 1190.0),
        (2, &[1000, 1000], 2000.0),
        (96, &[], 0.0),
    ];
    for (cpus, shares, expected) in table {
        assert_eq!(fragment(&machine, &free(cpus, shares), &typical), expected, "{shares:?}");
    }
    let mut fleet = fleet(&[shape(0, 2, 8, 64)], &[3]);
    fleet.place(&share(1, 810), at(0, 0b01)).unwrap();
    let whole = Fragmentation::of(&fleet, &[(whole(4, 1), 1.0)]);
    assert!((whole.idle - 5.19).abs() < 1e-9 && (whole.unusable - 0.19).abs() < 1e-9, "{whole:?}");
    assert!((allocated(&fleet) - 0.81 / 6.0).abs() < 1e-9);
}

#[test]
fn fgd_avoids_leftovers_that_nothing_fits() {
    let demand = Demand::of(&[share(1, 810), share(1, 190), whole(1, 1), whole(1, 1)]);
    let fgd = Fgd::new(&demand);
    let snug = cost(&fgd, (2, 64, &[1000, 190]), &share(1, 190));
    assert_eq!(snug.1, 190, "the leftover is used up");
    assert!(snug.0 < cost(&fgd, (2, 64, &[1000, 0]), &share(1, 190)).0);
}

#[test]
fn demand_is_the_same_in_any_order() {
    let some = [whole(1, 1), share(1, 500), whole(1, 1), whole(2, 8)];
    let mut reversed = some;
    reversed.reverse();
    let demand = Demand::of(&some);
    assert_eq!(demand, Demand::of(&reversed));
    assert_eq!(demand.typical(0.5), [(whole(1, 1), 1.0)], "half of all is the most frequent one");
    let typical = demand.typical(1.0);
    assert_eq!(typical.len(), 3);
    assert!((typical.iter().map(|(_, weight)| weight).sum::<f64>() - 1.0).abs() < 1e-12);
    let (lottery, mut seeded) = (demand.lottery(), Seeded(5));
    let drawn = (0..4000).filter(|_| lottery.draw(&mut seeded) == Some(whole(1, 1))).count();
    assert!((1800..2200).contains(&drawn), "{drawn}");
    assert_eq!(Demand::default().lottery().draw(&mut seeded), None);
    assert!(Demand::default().is_empty() && demand.total() == 4);
}

#[test]
fn moments_go_forward_at_once_and_back_with_slack() {
    let full = Moment::at(1.0);
    assert_eq!(full.checkpoint, 1);
    assert_eq!(Moment::at(0.0), Moment::default());
    assert_eq!(Moment::default().next(1.0), full);
    assert_eq!(full.next(0.999), full, "not for a flicker");
    assert_eq!(full.next(0.9), Moment::at(0.9));
    assert!((0..130).all(|percent| {
        let (a, b) = (Moment::at(percent as f32 / 100.0), Moment::at(percent as f32 / 100.0 + 0.01));
        a.phase <= b.phase && a.checkpoint <= b.checkpoint
    }));
}

/// Values learned on a fleet of half big and half small machines.
fn learned(requests: &[Request], shapes: &[placement::packing::Shape], counts: &[usize], days: u32) -> (Fleet, Ashlar) {
    let fleet = fleet(shapes, counts);
    let demand = Demand::of(requests);
    let ashlar = Ashlar::knowing(&fleet, &demand, Course { days, ..Course::default() }, |_, _| ());
    (fleet, ashlar)
}

#[test]
fn a_scarce_model_is_kept_for_those_who_need_it() {
    // A quarter of the devices are of model 1; a quarter of the demand can use nothing else.
    let demand = [whole(4, 1), whole(4, 1), whole(4, 1), only(whole(4, 1), 1)];
    let (fleet, ashlar) = learned(&demand, &[shape(0, 4, 64, 256), shape(1, 4, 64, 256)], &[30, 10], 30);
    let mut packer = Packer::new(fleet, ashlar, 0);
    let mut refused = 0;
    for round in 0..40 {
        for request in &demand {
            let placed = packer.arrive(request);
            refused += usize::from(placed.is_none());
            if let Some(placed) = placed
                && request.kinds == KindSet::ANY
            {
                assert!(placed.machine < 30, "round {round}: a pod that may go anywhere took the scarce model");
            }
        }
    }
    assert_eq!(refused, 0, "all fits exactly, if nobody squats");
    assert_eq!(allocated(packer.fleet()), 1.0);
}

#[test]
fn cpu_hungry_requests_leave_the_lean_machines() {
    // Half the machines have 2 CPUs a device, half 16; as many requests want 1 as want 15.
    let demand = [whole(1, 1), whole(15, 1)];
    let (fleet, ashlar) = learned(&demand, &[shape(0, 4, 8, 256), shape(0, 4, 64, 256)], &[20, 20], 40);
    let mut packer = Packer::new(fleet, ashlar, 0);
    for _ in 0..80 {
        for request in &demand {
            let _ = packer.arrive(request);
        }
    }
    assert!(allocated(packer.fleet()) > 0.97, "{}", allocated(packer.fleet()));
}

#[test]
fn learning_is_the_same_every_time_and_in_any_order_of_machines() {
    let demand = Demand::of(&[share(2, 500), whole(4, 1), share(3, 810)]);
    let shapes = vec![shape(0, 4, 16, 64), shape(1, 2, 64, 64)];
    let course = Course { days: 4, ..Course::default() };
    let values = |machines: &[u16]| {
        let fleet = Fleet::new(shapes.clone(), machines, vec![]);
        Learner::new(&fleet, course).study(Values::guess(&shapes, &demand), &demand, |_, _| ())
    };
    let (one, other) = (values(&[0, 1, 0, 1, 1, 0]), values(&[1, 1, 1, 0, 0, 0]));
    for shares in [[1000, 1000, 190, 0], [500, 500, 500, 500], [1000, 1000, 1000, 1000]] {
        for percent in [10, 60, 95, 120] {
            let (moment, state) = (Moment::at(percent as f32 / 100.0), free(9, &shares));
            assert_eq!(one.potential(moment, 0, &state).to_bits(), other.potential(moment, 0, &state).to_bits());
        }
    }
}

#[test]
fn a_fleet_too_large_to_learn_on_is_learned_in_small() {
    let demand = Demand::of(&[share(2, 500), whole(4, 1)]);
    let large = fleet(&[shape(0, 8, 96, 384), shape(1, 2, 8, 64)], &[20_000, 3]);
    let mut days = vec![];
    let course = Course { days: 2, machines: 50, seed: 1 };
    let ashlar = Ashlar::knowing(&large, &demand, course, |day, held| days.push((day, held)));
    assert_eq!(days.len(), 2);
    assert!(days.iter().all(|(_, held)| (0.5..=1.0).contains(held)), "{days:?}");
    let mut packer = Packer::new(large, ashlar, 0);
    assert!(packer.arrive(&whole(4, 1)).is_some());
}

#[test]
fn knowing_nothing_it_still_places_and_learns_when_due() {
    let fleet = fleet(&[shape(0, 4, 32, 64)], &[20]);
    let course = Course { days: 2, machines: 20, seed: 1 };
    let mut packer = Packer::new(fleet.clone(), Ashlar::learning(&fleet, course), 0);
    let mut lessons = 0;
    for _ in 0..100 {
        packer.arrive(&share(2, 810));
        lessons += u32::from(packer.study());
    }
    assert!((8..=12).contains(&lessons), "{lessons}");
    assert_eq!(allocated(packer.fleet()), 0.81);
    let mut known = Packer::new(fleet.clone(), Ashlar::knowing(&fleet, &Demand::of(&[whole(1, 1)]), course, |_, _| ()), 0);
    assert!(!known.study(), "who knows need not learn");
}

#[test]
fn nothing_to_learn_is_no_trouble() {
    let course = Course { days: 2, ..Course::default() };
    let cpus = Request::new(1000, 1, 0, 0, KindSet::ANY).unwrap();
    for (fleet, demand) in [
        (fleet(&[shape(0, 0, 8, 8)], &[3]), Demand::of(&[cpus])),
        (fleet(&[shape(0, 2, 8, 8)], &[3]), Demand::of(&[cpus])),
        (fleet(&[shape(0, 2, 8, 8)], &[3]), Demand::default()),
        (fleet(&[shape(0, 0, 8, 8)], &[3]), Demand::of(&[whole(1, 1)])),
    ] {
        let ashlar = Ashlar::knowing(&fleet, &demand, course, |_, _| ());
        let mut packer = Packer::new(fleet, ashlar, 0);
        assert!(packer.arrive(&cpus).is_some());
    }
}

#[test]
fn moves_are_made_only_when_they_pay_and_hold_together() {
    // Two half-empty devices on two machines: one move makes a whole machine free, which BestFit prefers.
    let mut packer = Packer::new(fleet(&[shape(0, 1, 8, 64)], &[2]), BestFit, 0);
    let mut running: Vec<Running> = vec![];
    for (id, machine) in [(0, 0), (1, 1)] {
        let request = share(1, 400);
        let mut other = Packer::new(packer.fleet().clone(), BestFit, 0);
        assert!(other.arrive(&request).is_some());
        let placed = at(machine, 1);
        running.push(Running { id, request, at: placed });
        packer = {
            let mut fleet = packer.fleet().clone();
            fleet.place(&request, placed).unwrap();
            Packer::new(fleet, BestFit, 0)
        };
    }
    let moves = best_moves(&mut packer, &mut running, 10, 0.5);
    assert_eq!(moves.len(), 1, "after the first the second does not pay any more: {moves:?}");
    assert_eq!(running[0].at.machine, running[1].at.machine);
    assert_eq!(packer.fleet().allocated(), 800);
    assert!(best_moves(&mut packer, &mut running, 10, 0.5).is_empty(), "no to and fro");
    assert!(best_moves(&mut packer, &mut running, 0, 0.0).is_empty());
}
