//! Goodput of elastic jobs: the model, what is learned of it, and what is decided by it.

use placement::goodput::{
    Aim, Assignment, Batch, ElasticJob, ElasticPolicy, Goodput, Goodputs, Learner, Noise, Reason, Seats, StepTime, THRESHOLD, Tiresias,
    devices, parts, seat,
};
use proptest::prelude::*;

const TIME: StepTime = StepTime { compute: (0.05, 0.001), across: (0.08, 0.002), within: (0.02, 0.001), overlap: 2.0 };
const BATCH: Batch = Batch { first: 128, largest: 4096, atomic: (32, 512), fixed: None };

fn model(noise: f64) -> Goodput {
    Goodput { time: TIME, noise: Noise { square: 1.0, variance: noise }, batch: BATCH }
}

fn job(id: u64, goodput: Option<Goodput>, most: u32) -> ElasticJob {
    ElasticJob {
        id,
        submitted: 0,
        held: vec![],
        restarts: 0,
        service: 0.0,
        done: 0.0,
        remaining: None,
        least: 1,
        most,
        asked: most,
        goodput,
    }
}

#[test]
fn a_step_takes_what_its_slower_half_takes_and_at_most_both() {
    assert_eq!(TIME.exchange(1, 1), 0.0, "nobody to exchange with");
    assert_eq!(TIME.step(1, 1, 100.0), TIME.pass(100.0));
    let (pass, exchange) = (TIME.pass(100.0), TIME.exchange(2, 8));
    assert!((exchange - 0.092).abs() < 1e-12, "{exchange}");
    let step = TIME.step(2, 8, 100.0);
    assert!((step - pass.hypot(exchange)).abs() < 1e-12, "overlap 2 is the Euclidean norm: {step}");
    let apart = StepTime { overlap: 1.0, ..TIME };
    assert!((apart.step(2, 8, 100.0) - pass - exchange).abs() < 1e-12);
}

#[test]
fn large_batches_pay_only_where_the_gradient_is_noisy() {
    let (quiet, noisy) = (model(0.01).best(4, 16).unwrap(), model(1000.0).best(4, 16).unwrap());
    assert!(quiet.batch(16) < noisy.batch(16), "{quiet:?} {noisy:?}");
    assert_eq!(noisy.batch(16), 4096, "all that is allowed");
}

#[test]
fn batches_are_divided_within_their_limits() {
    assert_eq!(BATCH.divide(4096.0, 2), (512, 3), "2,048 a rank in four passes of 512");
    assert_eq!(BATCH.divide(256.0, 1), (128, 1), "alone, more than the first batch takes two passes");
    assert_eq!(BATCH.plain(1), (128, 0));
    assert_eq!(BATCH.plain(8), (32, 0), "no rank below its least");
    let fixed = Batch { fixed: Some(2048), ..BATCH };
    assert_eq!(fixed.plain(6), (342, 0));
    assert_eq!(fixed.most_ranks(), 64);
    assert!(model(1.0).best(1, 129).is_none() && model(1.0).best(3, 2).is_none() && model(1.0).best(0, 0).is_none());
}

proptest! {
    #[test]
    fn a_step_is_worth_between_one_and_its_scale(square in 0.0..10.0_f64, variance in 0.0..1e4_f64, scale in 1.0..100.0_f64) {
        let gain = Noise { square, variance }.gain(scale);
        prop_assert!((1.0 - 1e-9..=scale + 1e-9).contains(&gain), "{}", gain);
    }

    #[test]
    fn what_is_chosen_is_allowed(noise in 0.0..1e4_f64, nodes in 1..9_u32, more in 0..40_u32) {
        let ranks = nodes + more;
        if let Some(best) = model(noise).best(nodes, ranks) {
            prop_assert!((BATCH.atomic.0..=BATCH.atomic.1).contains(&best.atomic));
            prop_assert!(best.batch(ranks) <= BATCH.largest);
            prop_assert!(best.goodput > 0.0 && best.goodput.is_finite());
            let coarse = model(noise).best_of(nodes, ranks, 16).unwrap();
            prop_assert!(coarse.goodput >= 0.97 * best.goodput, "{} {}", coarse.goodput, best.goodput);
        }
    }

    #[test]
    fn step_times_are_learned(a in 0.01..0.2_f64, b in 1e-4..1e-2_f64, c in 0.005..0.3_f64, overlap in 1.0..4.0_f64) {
        let truth = StepTime { compute: (a, b), across: (2.0 * c, 0.02 * c), within: (c, 0.01 * c), overlap };
        let mut learner = Learner::default();
        for (nodes, ranks) in [(1, 1), (1, 2), (1, 4), (2, 8), (4, 16)] {
            for atomic in [32, 64, 128, 256] {
                let at = f64::from(atomic);
                prop_assert!(learner.observe((nodes, ranks, atomic), truth.pass(at), truth.step(nodes, ranks, at)));
            }
        }
        let learned = learner.model().unwrap();
        for (nodes, ranks, atomic) in [(1, 1, 512), (1, 3, 100), (2, 6, 200), (4, 12, 64), (8, 32, 128)] {
            let (told, true_one) = (learned.step(nodes, ranks, f64::from(atomic)), truth.step(nodes, ranks, f64::from(atomic)));
            prop_assert!((told / true_one).ln().abs() < 0.1, "at {:?}: {} for {}", (nodes, ranks, atomic), told, true_one);
        }
    }

    #[test]
    fn numbers_worth_considering_always_find_seats(machines in 1..17_usize, per in prop::sample::select(vec![2_u32, 4, 8]), seed in prop::collection::vec((0..20_usize, 0..20_usize), 0..40)) {
        let shape = vec![per; machines];
        let total = per * machines as u32;
        let choices = parts(per, total);
        // Once from nothing, then again with other numbers from there: whatever is held, it fits if the sum does.
        let mut held: Vec<Seats> = vec![vec![]; seed.len()];
        for round in 0..2 {
            let mut left = total;
            let wants: Vec<u32> = seed.iter().map(|pick| {
                let want = choices[if round == 0 { pick.0 } else { pick.1 } % choices.len()];
                let want = if want <= left { want } else { 0 };
                left -= want;
                want
            }).collect();
            let jobs: Vec<(&Seats, u32)> = held.iter().zip(&wants).map(|(held, want)| (held, *want)).collect();
            let seats = seat(&shape, &jobs);
            prop_assert_eq!(&seats, &seat(&shape, &jobs), "the same again");
            let mut free = shape.clone();
            for (seats, want) in seats.iter().zip(&wants) {
                let seats = seats.as_ref().expect("a seat");
                prop_assert_eq!(devices(seats), *want);
                prop_assert!(seats.len() as u32 <= want.div_ceil(per), "on as few machines as can be: {:?}", seats);
                for (machine, count) in seats {
                    prop_assert!(*count > 0 && free[*machine] >= *count);
                    free[*machine] -= count;
                }
            }
            held = seats.into_iter().map(Option::unwrap).collect();
        }
    }

    #[test]
    fn every_decision_can_stand(
        machines in prop::collection::vec(0..9_u32, 1..12),
        rows in prop::collection::vec((0.0..1e3_f64, 1..40_u32, 0..4_u32, prop::option::of(1.0..1e6_f64), any::<bool>()), 0..20),
        aim in prop::sample::select(vec![Aim::LENGTHS_KNOWN, Aim::LENGTHS_UNKNOWN, Aim::POLLUX]),
    ) {
        let mut jobs: Vec<ElasticJob> = rows.iter().enumerate().map(|(id, (noise, most, least, remaining, known))| ElasticJob {
            least: (*least).clamp(1, *most),
            remaining: *remaining,
            ..job(id as u64, known.then(|| model(*noise)), *most)
        }).collect();
        for now in [600, 660, 720] {
            let decided = Goodputs { aim }.decide(now, &machines, &jobs);
            prop_assert_eq!(&decided, &Goodputs { aim }.decide(now, &machines, &jobs), "the same again");
            stands(&machines, &jobs, &decided)?;
            for (job, given) in jobs.iter_mut().zip(decided) {
                job.held = given.seats;
                job.done += 100.0;
            }
            let by = usize::from(!jobs.is_empty());
            jobs.rotate_left(by);
        }
    }
}

fn stands(machines: &[u32], jobs: &[ElasticJob], decided: &[Assignment]) -> Result<(), TestCaseError> {
    prop_assert_eq!(jobs.len(), decided.len());
    let mut free = machines.to_vec();
    for (job, given) in jobs.iter().zip(decided) {
        let count = devices(&given.seats);
        prop_assert!(count == 0 || (job.least..=job.most).contains(&count), "{} of {} to {}", count, job.least, job.most);
        prop_assert_eq!(count == 0, matches!(given.reason, Reason::Waits { .. } | Reason::NoRoom), "{}", given.reason);
        for (machine, count) in &given.seats {
            prop_assert!(*count <= free[*machine], "machine {} is given twice", machine);
            free[*machine] -= count;
        }
    }
    Ok(())
}

#[test]
fn one_job_alone_gets_what_helps_it_and_all_devices_are_used_by_two() {
    let alone = Goodputs { aim: Aim::LENGTHS_KNOWN }.decide(60, &[4; 4], &[job(0, Some(model(1e6)), 64)]);
    assert_eq!(devices(&alone[0].seats), 16);
    let two = Goodputs { aim: Aim::LENGTHS_KNOWN }.decide(60, &[4; 4], &[job(0, Some(model(1e6)), 64), job(1, Some(model(1e6)), 64)]);
    assert_eq!(two.iter().map(|given| devices(&given.seats)).collect::<Vec<_>>(), [8, 8]);
}

#[test]
fn the_shorter_job_goes_first_and_a_restart_must_pay() {
    let known = |id, steps| ElasticJob { remaining: Some(steps), ..job(id, Some(model(100.0)), 16) };
    let given = Goodputs { aim: Aim::LENGTHS_KNOWN }.decide(60, &[4; 4], &[known(0, 1e6), known(1, 1e2)]);
    assert!(devices(&given[1].seats) > devices(&given[0].seats), "{given:?}");
    // Almost done: no restart for the two devices that have become free.
    let held = ElasticJob { held: vec![(0, 2)], remaining: Some(5.0), submitted: 0, ..job(0, Some(model(100.0)), 16) };
    let kept = Goodputs { aim: Aim::LENGTHS_KNOWN }.decide(6000, &[4], std::slice::from_ref(&held));
    assert!(matches!(kept[0].reason, Reason::Kept { .. }), "{:?}", kept[0]);
    let grown = Goodputs { aim: Aim::LENGTHS_KNOWN }.decide(6000, &[4], &[ElasticJob { remaining: Some(1e5), ..held }]);
    assert!(matches!(grown[0].reason, Reason::Resized { from: 2, .. }), "{:?}", grown[0]);
}

#[test]
fn a_machine_is_emptied_only_for_who_needs_it_whole() {
    let one = |machine| -> Seats { vec![(machine, 1)] };
    let (a, b, none) = (one(0), one(1), vec![]);
    let seats = seat(&[4, 4], &[(&a, 1), (&b, 1), (&none, 2)]);
    assert_eq!(seats, [Some(a.clone()), Some(b.clone()), Some(vec![(0, 2)])], "nobody moves");
    let seats = seat(&[4, 4], &[(&a, 1), (&b, 1), (&none, 4)]);
    assert_eq!(seats[2], Some(vec![(0, 4)]), "the first of two alike");
    assert_eq!(seats[0], Some(vec![(1, 1)]));
    assert_eq!(seats[1], Some(b), "stays");
}

#[test]
fn reasons_say_what_decided() {
    let jobs: Vec<ElasticJob> = (0..6).map(|id| job(id, Some(model(100.0)), 4)).collect();
    let given = Goodputs { aim: Aim::LENGTHS_KNOWN }.decide(60, &[4], &jobs);
    let waits = given.iter().find(|given| given.seats.is_empty()).unwrap().reason.to_string();
    assert!(waits.starts_with("waits: a device would be worth ") && waits.ends_with(" elsewhere"), "{waits}");
    assert_eq!(given[0].reason.to_string(), "starts, at 1.0 times the speed of one device");
    assert!(Reason::Resized { from: 2, speed: 3.24 }.to_string().contains("held 2; now at 3.2 times"));
}

#[test]
fn tiresias_keeps_two_queues() {
    let mut policy = Tiresias::default();
    let ask = |id, asked, held: &Seats| ElasticJob { asked, held: held.clone(), ..job(id, None, asked) };
    let first = policy.decide(60, &[4, 4], &[ask(0, 6, &vec![])]);
    assert_eq!(first[0].seats, [(0, 4), (1, 2)], "most room first");
    let held = first[0].seats.clone();
    let second = policy.decide(120, &[4, 4], &[ask(0, 6, &held), ask(1, 4, &vec![])]);
    assert_eq!((second[0].seats.clone(), second[1].seats.len()), (held.clone(), 0), "the older one keeps its place");
    // After so long it falls back, and stops for the other.
    let later = 120 + THRESHOLD / 6;
    let third = policy.decide(later, &[4, 4], &[ask(0, 6, &held), ask(1, 4, &vec![])]);
    assert_eq!((third[0].seats.len(), third[1].seats.clone()), (0, vec![(0, 4)]), "{third:?}");
    assert!(third[0].reason.to_string().starts_with("waits"));
}

#[test]
fn nonsense_is_not_learned() {
    let mut learner = Learner::default();
    assert!(
        !learner.observe((1, 1, 32), 0.0, 1.0) && !learner.observe((1, 1, 32), 2.0, 1.0) && !learner.observe((1, 1, 32), 1.0, f64::NAN)
    );
    assert!(learner.model().is_none());
    assert!(learner.observe((1, 1, 32), 0.1, 0.1) && !learner.observe((1, 1, 32), 0.2, 0.2), "the first counts");
    let model = learner.model().unwrap();
    assert_eq!(model.exchange(4, 16), 0.0, "what was not seen is taken to be good");
    assert!((model.pass(64.0) - 0.15).abs() < 1e-12, "one size: half constant, half for each sample");
    assert_eq!(learner.most_ranks(), 1);
}
