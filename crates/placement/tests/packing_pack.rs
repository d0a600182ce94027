//! The packer against a plain search of all machines, and what ties, draws and orders of machines come to.

mod fleet;

use fleet::*;
use placement::packing::demand::Demand;
use placement::packing::openb::ranks;
use placement::packing::policy::{Ashlar, BestFit, DotProd, Fgd, Packing, Random};
use placement::packing::{
    Course, Event, Fleet, Free, KindSet, Learner, Moment, Packer, Request, Score, Seeded, Shape, Spot, Values, fits, shared_choices,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The lowest cost of a request over all machines, one after the other.
fn plain_search(fleet: &Fleet, policy: &dyn Score, request: &Request) -> Option<f32> {
    let mut least: Option<f32> = None;
    for machine in 0..fleet.len() as u32 {
        let ((number, shape), free) = (fleet.shape_of(machine), fleet.free(machine).sorted());
        if fits(shape, &free, request) {
            let potential = policy.potential(number, shape, &free);
            let cost = policy.cost(&Spot { number, shape, free: &free, potential }, request).cost;
            least = Some(least.map_or(cost, |least| least.min(cost)));
        }
    }
    least
}

fn some_requests() -> Vec<Request> {
    let mut all = vec![whole(4, 1), whole(3, 2), whole(9, 4), share(2, 810), share(1, 190), only(share(5, 330), 1), only(whole(2, 1), 0)];
    all.push(Request::new(2500, 700, 0, 0, KindSet::ANY).unwrap());
    all.extend((1..20).map(|n| share(1 + n % 3, 50 * n as u16)));
    all
}

#[test]
fn the_cheapest_is_the_cheapest_of_all() {
    let shapes = [shape(0, 8, 96, 384), shape(1, 4, 32, 128), shape(0, 2, 8, 64)];
    let demand = Demand::of(&some_requests());
    let learned = Learner::new(&fleet(&shapes, &[60, 80, 70]), Course { days: 3, machines: 100, seed: 1 });
    let values = learned.clone().study(Values::guess(&shapes, &demand), &demand, |_, _| ());
    let policies: [(&str, Box<dyn Score>); 5] = [
        ("bestfit", Box::new(BestFit)),
        ("dotprod", Box::new(DotProd)),
        ("packing", Box::new(Packing)),
        ("fgd", Box::new(Fgd::new(&demand))),
        ("ashlar", Box::new(Ashlar::fixed(values))),
    ];
    let mut widest = 0;
    for (name, policy) in policies {
        // More than 64 states, so that there are several blocks of costs.
        let mut packer = Packer::new(fleet(&shapes, &[60, 80, 70]), Boxed(policy), 0);
        let (mut seeded, mut running) = (Seeded(4), vec![]);
        for step in 0..900 {
            if step % 4 == 3 && !running.is_empty() {
                let (request, at) = running.swap_remove(seeded.below(running.len() as u64) as usize);
                packer.depart(&request, at).unwrap();
                continue;
            }
            let request = some_requests()[seeded.below(27) as usize];
            let expected = plain_search(packer.fleet(), packer.policy().0.as_ref(), &request);
            let found = packer.cheapest(&request);
            assert_eq!(found.map(|(_, cost)| cost), expected, "{name}, step {step}: {request:?}");
            if let Some(at) = packer.arrive(&request) {
                assert_eq!(Some(at), found.map(|(at, _)| at));
                running.push((request, at));
            }
            widest = widest.max(packer.fleet().groups().states());
        }
    }
    assert!(widest > 64, "{widest} states");
}

#[test]
fn ties_go_by_rank() {
    let shapes = vec![shape(0, 1, 8, 64)];
    for (ranks, expected) in [(vec![], [0, 1, 2]), (vec![2, 1, 0], [2, 1, 0]), (vec![5, 9, 7], [0, 2, 1])] {
        let mut packer = Packer::new(Fleet::new(shapes.clone(), &[0, 0, 0], ranks), BestFit, 0);
        let got: Vec<u32> = (0..3).map(|_| packer.arrive(&whole(1, 1)).unwrap().machine).collect();
        assert_eq!(got, expected);
        assert_eq!(packer.arrive(&whole(1, 1)), None);
        packer.depart(&whole(1, 1), at(expected[1], 1)).unwrap();
        packer.depart(&whole(1, 1), at(expected[0], 1)).unwrap();
        assert_eq!(packer.decide(&whole(1, 1)).unwrap().machine, expected[0], "who came back is in line again");
    }
}

#[test]
fn draws_are_even_over_machines_and_devices() {
    let mut counts = BTreeMap::new();
    let mut packer = Packer::new(fleet(&[shape(0, 2, 64, 64), shape(0, 4, 64, 64)], &[3, 1]), Random, 9);
    packer.arrive(&share(1, 10)).unwrap();
    for _ in 0..8000 {
        let at = packer.decide(&share(1, 500)).unwrap();
        *counts.entry((at.machine, at.devices)).or_insert(0u32) += 1;
    }
    assert_eq!(counts.len(), 10, "every device of every machine");
    let of_machine = |machine| counts.iter().filter(|((of, _), _)| *of == machine).map(|(_, count)| count).sum::<u32>();
    assert!((0..4).all(|machine| (1800..2200).contains(&of_machine(machine))), "{counts:?}");
}

#[test]
fn the_order_of_machines_in_the_list_does_not_matter() {
    let names: Vec<String> = (0..40).map(|n| format!("node-{n:02}")).collect();
    let shapes = vec![shape(0, 4, 32, 128), shape(1, 2, 8, 64)];
    let shape_of = |name: &String| u16::from(name.ends_with('3') || name.ends_with('7'));
    let demand = Demand::of(&some_requests());
    let decisions = |names: &[String]| -> Vec<Option<String>> {
        let machines: Vec<u16> = names.iter().map(shape_of).collect();
        let fleet = Fleet::new(shapes.clone(), &machines, ranks(names, 42));
        let ashlar = Ashlar::knowing(&fleet, &demand, Course { days: 3, ..Course::default() }, |_, _| ());
        let mut packer = Packer::new(fleet, ashlar, 0);
        let mut seeded = Seeded(1);
        let mut arrive = || packer.arrive(&some_requests()[seeded.below(27) as usize]);
        (0..300).map(|_| arrive().map(|at| names[at.machine as usize].clone())).collect()
    };
    let mut other = names.clone();
    other.reverse();
    other.swap(3, 20);
    assert_eq!(decisions(&names), decisions(&other));
}

#[test]
fn who_was_refused_and_starts_later_is_no_backlog_any_more() {
    let fleet = fleet(&[shape(0, 1, 8, 64)], &[10]);
    let mut packer = Packer::new(fleet, Ashlar::fixed(Values::guess(&[shape(0, 1, 8, 64)], &Demand::default())), 0);
    let held: Vec<_> = (0..10).map(|_| packer.arrive(&whole(1, 1)).unwrap()).collect();
    assert_eq!(packer.arrive(&whole(1, 1)), None);
    assert_eq!(packer.policy().moment(), Moment::at(1.1), "ten run and one was refused");
    assert_eq!(packer.retry(&whole(1, 1)), None);
    assert_eq!(packer.policy().moment(), Moment::at(1.1), "asking again is no new demand");
    packer.depart(&whole(1, 1), held[0]).unwrap();
    packer.retry(&whole(1, 1)).unwrap();
    assert_eq!(packer.policy().moment(), Moment::at(1.0));
    let mut alone = Ashlar::fixed(Values::guess(&[shape(0, 1, 8, 64)], &Demand::default()));
    alone.note(&Event::Departed { request: whole(1, 1) }, (0, 10_000));
    assert_eq!(alone.moment(), Moment::default(), "no backlog below nothing");
}

#[test]
fn a_hundred_thousand_machines_are_few_candidates() {
    let mut packer = Packer::new(fleet(&[shape(0, 8, 96, 384), shape(1, 8, 64, 256)], &[60_000, 40_000]), BestFit, 0);
    for request in some_requests().iter().cycle().take(2000) {
        packer.arrive(request).unwrap();
    }
    assert!(packer.fleet().groups().states() < 400, "{}", packer.fleet().groups().states());
    assert_eq!(packer.fleet().len(), 100_000);
}

#[test]
fn shapes_beyond_the_tables_share_one_with_their_like() {
    let shapes: Vec<Shape> = (0..80).map(|n| shape(n % 3, 4, 8 + u32::from(n), 64)).collect();
    let demand = Demand::of(&some_requests());
    let values = Values::guess(&shapes, &demand);
    let fleet = fleet(&shapes, &[1; 80]);
    let values = Learner::new(&fleet, Course { days: 2, ..Course::default() }).study(values, &demand, |_, _| ());
    for number in 0..80 {
        let potential = values.potential(Moment::at(0.9), number, &free(8, &[1000, 500]));
        assert!(potential.is_finite() && (0.0..=2.0).contains(&potential), "shape {number}: {potential}");
    }
}

fn any_free() -> impl Strategy<Value = Free> {
    (1u32..100, proptest::collection::vec(prop_oneof![2 => Just(1000u16), 3 => 0u16..1000], 1..=8))
        .prop_map(|(cpus, shares)| free(cpus, &shares))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// The short way to the cost and the long one: by how much the worth of the machine changes, plus the price.
    #[test]
    fn cost_is_price_and_change_of_worth(state in any_free(), pick in 0usize..27, percent in 0u32..130) {
        let (shapes, demand) = ([shape(0, 8, 96, 384)], Demand::of(&some_requests()));
        let (values, machine, request) = (Values::guess(&shapes, &demand), shapes[0], some_requests()[pick]);
        prop_assume!(fits(&machine, &state, &request));
        let moment = Moment::at(percent as f32 / 100.0);
        let before = values.potential(moment, 0, &state);
        let (cost, device) = values.cost(moment, 0, 0, &state, before, &request);
        let after = |devices: u16| {
            let mut after = state;
            after.take(&request, devices);
            values.potential(moment, 0, &after.sorted())
        };
        let least = if request.is_shared() {
            let all: Vec<f32> = shared_choices(&state, &request).map(|device| after(1 << device)).collect();
            prop_assert!((after(1 << device) - all.iter().fold(f32::INFINITY, |a, b| a.min(*b))).abs() < 1e-4);
            after(1 << device)
        } else {
            after(((1u32 << request.devices) - 1) as u16)
        };
        // Nothing was learned, so a device costs what it is: one at the first checkpoint and after.
        let whole_price = if moment.checkpoint == 0 { 1.0 } else if moment.checkpoint == 1 { 0.5 } else { 0.0 };
        let price = whole_price * request.amount() as f32 / 1000.0;
        prop_assert!((cost - (price + least - before)).abs() < 1e-4, "{cost} against {price} + {least} - {before}");
    }

    #[test]
    fn sorting_keeps_every_device(shares in proptest::collection::vec(0u16..=1000, 16)) {
        let mut state = free(1, &[]);
        state.share.copy_from_slice(&shares);
        let sorted = state.sorted();
        let mut expected = shares.clone();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        prop_assert_eq!(&sorted.share[..], &expected[..]);
        prop_assert_eq!(sorted.total(), state.total());
        prop_assert_eq!(sorted.sorted(), sorted);
    }
}
