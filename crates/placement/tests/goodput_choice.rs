//! Choices over elastic jobs held against an exhaustive search, and what must hold over time.

use placement::goodput::{
    Aim, Batch, ElasticJob, ElasticPolicy, Goodput, Goodputs, Learner, Noise, Reason, Seats, StepTime, Tiresias, devices, parts, seat,
};
use proptest::prelude::*;

/// The sum of speeds, restarts free of charge.
const SPEED: Aim = Aim {
    shortness: 0.0,
    rest: 0.0,
    bend: 1.0,
    against_share: false,
    unknown: 1000.0,
    restart: 0.0,
    patience: 300.0,
    part_of_rest: f64::INFINITY,
};

fn models() -> impl Strategy<Value = Goodput> {
    (0.01..0.3_f64, 1e-4..1e-2_f64, 0.001..0.5_f64, 1.0..8.0_f64, 0.1..1e4_f64, 1.0..3.0_f64).prop_map(
        |(a, b, c, overlap, variance, far)| {
            let time = StepTime { compute: (a, b), across: (far * c, 0.02 * c), within: (c, 0.01 * c), overlap };
            let batch = Batch { first: 64, largest: 2048, atomic: (16, 256), fixed: None };
            Goodput { time, noise: Noise { square: 1.0, variance }, batch }
        },
    )
}

fn job(id: usize, model: Goodput) -> ElasticJob {
    ElasticJob {
        id: id as u64,
        submitted: 0,
        held: vec![],
        restarts: 0,
        service: 0.0,
        done: 0.0,
        remaining: None,
        least: 1,
        most: 64,
        asked: 1,
        goodput: Some(model),
    }
}

/// Speed on as few machines of four as can be, in multiples of one device's; nothing is nothing.
fn speed(model: &Goodput, count: u32) -> f64 {
    let at = |nodes, count| model.best_of(nodes, count, 16).map_or(0.0, |best| best.goodput);
    if count == 0 { 0.0 } else { at(count.div_ceil(4), count) / at(1, 1) }
}

/// The best sum of speeds over all ways of sharing out.
fn exhaustive(models: &[Goodput], left: u32) -> f64 {
    let Some((first, rest)) = models.split_first() else { return 0.0 };
    let waits = exhaustive(rest, left);
    parts(4, left).into_iter().map(|count| speed(first, count) + exhaustive(rest, left - count)).fold(waits, f64::max)
}

fn total_speed(models: &[Goodput], seats: &[Seats]) -> f64 {
    models.iter().zip(seats).map(|(model, seats)| speed(model, devices(seats))).sum()
}

fn decide(aim: Aim, machines: &[u32], jobs: &[ElasticJob]) -> Vec<Seats> {
    Goodputs { aim }.decide(600, machines, jobs).into_iter().map(|given| given.seats).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_other_sharing_is_better(models in prop::collection::vec(models(), 1..4), machines in 1..4_usize) {
        let jobs: Vec<ElasticJob> = models.iter().enumerate().map(|(id, model)| job(id, *model)).collect();
        let seats = decide(SPEED, &vec![4; machines], &jobs);
        let (found, best) = (total_speed(&models, &seats), exhaustive(&models, 4 * machines as u32));
        prop_assert!((found - best).abs() < 1e-6 * best, "{} where {} can be had: {:?}", found, best, seats);
    }

    #[test]
    fn another_machine_does_no_harm(models in prop::collection::vec(models(), 1..8), machines in 1..6_usize) {
        let jobs: Vec<ElasticJob> = models.iter().enumerate().map(|(id, model)| job(id, *model)).collect();
        let of = |machines| total_speed(&models, &decide(SPEED, &vec![4; machines], &jobs));
        prop_assert!(of(machines + 1) >= of(machines) - 1e-6);
    }

    #[test]
    fn nobody_is_restarted_when_nothing_has_changed(models in prop::collection::vec(models(), 1..10), machines in 1..8_usize) {
        let mut jobs: Vec<ElasticJob> = models.iter().enumerate().map(|(id, model)| job(id, *model)).collect();
        for aim in [Aim::LENGTHS_KNOWN, Aim::LENGTHS_UNKNOWN, Aim::POLLUX] {
            jobs.iter_mut().for_each(|job| job.held.clear());
            let first = decide(aim, &vec![4; machines], &jobs);
            jobs.iter_mut().zip(&first).for_each(|(job, seats)| job.held = seats.clone());
            let second = Goodputs { aim }.decide(660, &vec![4; machines], &jobs);
            for (job, given) in jobs.iter().zip(second) {
                prop_assert_eq!(&given.seats, &job.held, "{}", given.reason);
                let unchanged = matches!(given.reason, Reason::Kept { .. } | Reason::Waits { .. });
                prop_assert!(unchanged);
            }
        }
    }

    #[test]
    fn far_is_no_faster_than_near(model in models(), ranks in 2..5_u32) {
        let (near, far) = (model.best(1, ranks).unwrap(), model.best(ranks, ranks).unwrap());
        prop_assert!(near.goodput >= far.goodput * (1.0 - 1e-9));
    }

    #[test]
    fn seats_on_any_machines_can_stand(
        machines in prop::collection::vec(0..9_u32, 1..10),
        wants in prop::collection::vec(0..12_u32, 0..12),
        again in prop::collection::vec(0..12_u32, 12),
    ) {
        let mut held: Vec<Seats> = vec![vec![]; wants.len()];
        for wants in [wants.clone(), again[..wants.len()].to_vec()] {
            let mut left: u32 = machines.iter().sum();
            let within = |want: &u32| {
                let want = if *want <= left { *want } else { 0 };
                left -= want;
                want
            };
            let wants: Vec<u32> = wants.iter().map(within).collect();
            let jobs: Vec<(&Seats, u32)> = held.iter().zip(&wants).map(|(held, want)| (held, *want)).collect();
            let seats = seat(&machines, &jobs);
            let mut free = machines.clone();
            for (seats, want) in seats.iter().zip(&wants) {
                // There is enough in all, so at worst a job lies scattered.
                let seats = seats.as_ref().expect("a seat");
                prop_assert_eq!(devices(seats), *want);
                for (machine, count) in seats {
                    prop_assert!(free[*machine] >= *count && *count > 0);
                    free[*machine] -= count;
                }
            }
            held = seats.into_iter().map(Option::unwrap).collect();
        }
    }

    #[test]
    fn what_was_measured_is_met_though_it_scatters(model in models(), scatter in prop::collection::vec(0.97..1.03_f64, 20)) {
        let mut learner = Learner::default();
        let places = [(1, 1), (1, 2), (1, 4), (2, 8), (4, 16)].into_iter().flat_map(|at| [16, 64, 128, 256].map(|atomic| (at.0, at.1, atomic)));
        let places: Vec<(u32, u32, u32)> = places.collect();
        let truth = |at: &(u32, u32, u32)| (model.time.pass(f64::from(at.2)), model.time.step(at.0, at.1, f64::from(at.2)));
        for (at, scatter) in places.iter().zip(&scatter) {
            let (pass, step) = truth(at);
            learner.observe(*at, pass * scatter, step * scatter);
        }
        let learned = learner.model().unwrap();
        let miss = |at: &(u32, u32, u32)| (learned.step(at.0, at.1, f64::from(at.2)) / truth(at).1).ln().abs();
        let mean = places.iter().map(miss).sum::<f64>() / places.len() as f64;
        prop_assert!(mean < 0.12, "{} on average", mean);
    }

    #[test]
    fn tiresias_gives_all_that_was_asked_or_nothing(asked in prop::collection::vec(1..20_u32, 1..15), machines in 1..6_usize) {
        let machines = vec![4; machines];
        let mut policy = Tiresias::default();
        let model = Goodput {
            time: StepTime { compute: (0.1, 0.0), across: (0.0, 0.0), within: (0.0, 0.0), overlap: 1.0 },
            noise: Noise { square: 1.0, variance: 1.0 },
            batch: Batch { first: 64, largest: 64, atomic: (1, 64), fixed: None },
        };
        let mut jobs: Vec<ElasticJob> = asked.iter().enumerate().map(|(id, asked)| ElasticJob { asked: *asked, ..job(id, model) }).collect();
        for now in [60, 120, 20_000, 60_000] {
            let given = policy.decide(now, &machines, &jobs);
            let mut free = machines.clone();
            for (job, given) in jobs.iter_mut().zip(given) {
                let count = devices(&given.seats);
                prop_assert!(count == 0 || count == job.asked);
                for (machine, count) in &given.seats {
                    prop_assert!(free[*machine] >= *count);
                    free[*machine] -= count;
                }
                job.held = given.seats;
            }
            let left: u32 = free.iter().sum();
            prop_assert!(jobs.iter().all(|job| !job.held.is_empty() || job.asked > left), "whoever waits does not fit");
            jobs.remove(0);
            if jobs.is_empty() {
                break;
            }
        }
    }
}
