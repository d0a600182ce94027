//! Several types of devices: the programmes' optimality, shares, rounds and estimated speeds.

use placement::heterogeneity::{Goal, Rounds, Throughputs, TypedJob, equal_shares, rate, shares, solve};
use proptest::prelude::*;

type Row = (u32, Vec<Option<f64>>, f64, f64);

const GOALS: [Goal; 7] = [
    Goal::Fifo { aware: false },
    Goal::Fifo { aware: true },
    Goal::Fair { aware: false },
    Goal::Fair { aware: true },
    Goal::Makespan,
    Goal::Throughput,
    Goal::Completion,
];

fn job(id: u64, devices: u32, speeds: &[f64], left: f64) -> TypedJob {
    TypedJob { id, arrived: 0.0, devices, speeds: speeds.to_vec(), left, steps: left, on: None }
}

#[test]
fn a_programme_with_a_known_answer() {
    // The most of 3x + 5y with x <= 4, 2y <= 12, 3x + 2y <= 18 is 36 at (2, 6).
    let rows = [vec![1.0, 0.0], vec![0.0, 2.0], vec![3.0, 2.0]];
    let solution = solve(&rows, &[4.0, 12.0, 18.0], &[3.0, 5.0]).unwrap();
    assert!((solution.worth - 36.0).abs() < 1e-9 && (solution.x[0] - 2.0).abs() < 1e-9 && (solution.x[1] - 6.0).abs() < 1e-9);
    assert_eq!(solve(&[vec![-1.0]], &[1.0], &[1.0]), None, "no bound");
    assert_eq!(solve(&[vec![1.0]], &[-1.0], &[1.0]), None, "no room for nothing");
    assert_eq!(solve(&[], &[], &[]).unwrap().worth, 0.0);
}

#[test]
fn each_job_goes_where_it_gains_most() {
    // Both are faster on the first type, the second job by far more.
    let jobs = [job(0, 1, &[2.0, 1.0], 1e4), job(1, 1, &[10.0, 1.0], 1e4)];
    let most = shares(Goal::Throughput, 0.0, &[1, 1], &jobs);
    assert_eq!(most, [[0.0, 1.0], [1.0, 0.0]]);
    let jobs = [job(0, 1, &[2.0, 1.0], 1e4), job(1, 1, &[1.0, 6.0], 1e4)];
    let fair = shares(Goal::Fair { aware: true }, 0.0, &[1, 1], &jobs);
    let equal = equal_shares(&[1, 1], &jobs);
    assert_eq!(equal, [[0.5, 0.5], [0.5, 0.5]]);
    let gains: Vec<f64> = (0..2).map(|at| rate(&jobs[at], &fair[at]) / rate(&jobs[at], &equal[at])).collect();
    assert!(gains[1] > 1.3 && gains[0] > 1.3, "both gain: {gains:?}");
}

#[test]
fn equal_shares_fill_small_gangs_first() {
    let jobs = [job(0, 1, &[1.0], 1.0), job(1, 8, &[1.0], 1.0)];
    assert_eq!(equal_shares(&[6], &jobs), [[1.0], [5.0 / 8.0]]);
    assert_eq!(equal_shares(&[2], &jobs), [[1.0], [1.0 / 8.0]], "a device each");
}

#[test]
fn the_makespan_is_the_longest_way_at_even_shares() {
    // Three units of work on two devices of one type: each gets two thirds.
    let jobs: Vec<TypedJob> = (0..3).map(|id| job(id, 1, &[1.0], 600.0)).collect();
    for shares in shares(Goal::Makespan, 0.0, &[2], &jobs) {
        assert!((shares[0] - 2.0 / 3.0).abs() < 1e-6);
    }
}

#[test]
fn rounds_keep_to_shares() {
    // Three equal jobs on two devices: after three rounds everybody had two.
    let jobs: Vec<TypedJob> = (0..3).map(|id| job(id, 1, &[1.0], 1e6)).collect();
    let mut rounds = Rounds::default();
    let mut had = [0; 3];
    for round in 0..30 {
        let on = rounds.next(Goal::Fair { aware: true }, f64::from(round) * 360.0, 360.0, &[2], &jobs);
        on.iter().enumerate().for_each(|(at, on)| had[at] += u32::from(on.is_some()));
    }
    assert_eq!(had, [20; 3]);
}

#[test]
fn short_jobs_go_first_but_who_is_behind_comes_forward() {
    let jobs = [job(0, 1, &[1.0], 1e5), job(1, 1, &[1.0], 1e3)];
    let first = Rounds::default().next(Goal::Completion, 0.0, 360.0, &[1], &jobs);
    assert_eq!(first, [None, Some(0)]);
    let late = Rounds::default().next(Goal::Completion, 1e7, 360.0, &[1], &[jobs[0].clone(), TypedJob { arrived: 1e7, ..jobs[1].clone() }]);
    assert_eq!(late, [Some(0), None], "it has waited for fifty times its fair time");
}

#[test]
fn speeds_are_estimated_from_those_of_others() {
    let mut table = Throughputs::new(3);
    for base in [1.0, 4.0, 9.0] {
        let class = table.add();
        [base * 10.0, base * 5.0, base].into_iter().enumerate().for_each(|(of, steps)| table.measure(class, of, steps));
    }
    let (half, none) = (table.add(), table.add());
    table.measure(half, 1, 20.0);
    table.measure(half, 0, f64::NAN);
    assert_eq!(table.measured(half, 0), None, "that was no number");
    let told = table.of(half);
    assert!((told[0] - 40.0).abs() < 1e-6 && told[1] == 20.0 && (told[2] - 4.0).abs() < 1e-6, "{told:?}");
    let told = table.of(none);
    assert!((told[0] - 1.0).abs() < 1e-9 && (told[2] - 0.1).abs() < 1e-9, "the usual ratios: {told:?}");
}

fn any_jobs() -> impl Strategy<Value = Vec<TypedJob>> {
    let speed = prop::option::weighted(0.9, 0.01..100.0_f64);
    prop::collection::vec((1..9_u32, prop::collection::vec(speed, 3), 1.0..1e6_f64, 0.0..1e5_f64), 0..25).prop_map(|rows| {
        let job = |(id, (devices, speeds, left, arrived)): (usize, Row)| {
            let speeds: Vec<f64> = speeds.into_iter().map(|speed| speed.unwrap_or(0.0)).collect();
            TypedJob { arrived, steps: left * 1.5, ..job(id as u64, devices, &speeds, left) }
        };
        rows.into_iter().enumerate().map(job).collect()
    })
}

proptest! {
    #[test]
    fn prices_prove_a_solution(
        rows in prop::collection::vec(prop::collection::vec(-3.0..10.0_f64, 6), 1..12),
        bounds in prop::collection::vec(prop_oneof![Just(0.0), 0.0..50.0_f64], 12),
        goal in prop::collection::vec(-5.0..10.0_f64, 6),
    ) {
        // A last row bounds everything.
        let mut rows = rows;
        rows.push(vec![1.0; 6]);
        let bounds: Vec<f64> = bounds[..rows.len() - 1].iter().copied().chain([20.0]).collect();
        let solution = solve(&rows, &bounds, &goal).unwrap();
        for (row, bound) in rows.iter().zip(&bounds) {
            let used: f64 = row.iter().zip(&solution.x).map(|(a, x)| a * x).sum();
            prop_assert!(used <= bound + 1e-6, "{} of {}", used, bound);
        }
        let worth: f64 = goal.iter().zip(&solution.x).map(|(c, x)| c * x).sum();
        let cost: f64 = bounds.iter().zip(&solution.prices).map(|(b, price)| b * price).sum();
        prop_assert!((worth - solution.worth).abs() < 1e-6 * (1.0 + worth.abs()));
        prop_assert!((worth - cost).abs() < 1e-6 * (1.0 + worth.abs()), "worth {} costs {}", worth, cost);
        for (column, c) in goal.iter().enumerate() {
            let price: f64 = rows.iter().zip(&solution.prices).map(|(row, price)| row[column] * price).sum();
            prop_assert!(price >= c - 1e-6, "column {} is worth {} and costs {}", column, c, price);
        }
    }

    #[test]
    fn nobody_has_more_than_all_time_and_no_type_is_given_twice(jobs in any_jobs(), devices in prop::collection::vec(0..20_u32, 3)) {
        for goal in GOALS {
            let shares = shares(goal, 2e5, &devices, &jobs);
            prop_assert_eq!(shares.len(), jobs.len());
            for shares in &shares {
                prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)) && shares.iter().sum::<f64>() <= 1.0 + 1e-6);
            }
            for (of, there) in devices.iter().enumerate() {
                let given: f64 = jobs.iter().zip(&shares).map(|(job, shares)| f64::from(job.devices) * shares[of]).sum();
                prop_assert!(given <= f64::from(*there) + 1e-4, "{:?}: {} of {}", goal, given, there);
            }
        }
    }

    #[test]
    fn rounds_can_stand(jobs in any_jobs(), devices in prop::collection::vec(0..20_u32, 3)) {
        for goal in GOALS {
            let (mut rounds, mut again) = (Rounds::default(), Rounds::default());
            for round in 0..4 {
                let now = 2e5 + 360.0 * f64::from(round);
                let on = rounds.next(goal, now, 360.0, &devices, &jobs);
                prop_assert_eq!(&on, &again.next(goal, now, 360.0, &devices, &jobs), "the same again");
                let mut free = devices.clone();
                for (job, of) in jobs.iter().zip(&on) {
                    if let Some(of) = of {
                        prop_assert!(job.speeds[*of] > 0.0 && free[*of] >= job.devices, "{:?}", goal);
                        free[*of] -= job.devices;
                    }
                }
                // Work conserving: whoever waits does not fit beside the others.
                for (job, _) in jobs.iter().zip(&on).filter(|(_, on)| on.is_none()) {
                    for (speed, free) in job.speeds.iter().zip(&free) {
                        prop_assert!(*speed <= 0.0 || job.devices > *free, "{:?}: job {} could run", goal, job.id);
                    }
                }
            }
        }
    }

    #[test]
    fn aware_fairness_is_no_worse_than_equal_shares_for_anybody(jobs in any_jobs()) {
        let devices = [8, 16, 24];
        let jobs: Vec<TypedJob> = jobs.into_iter().map(|job| TypedJob { devices: 1, ..job }).collect();
        let (given, equal) = (shares(Goal::Fair { aware: true }, 0.0, &devices, &jobs), equal_shares(&devices, &jobs));
        for (at, job) in jobs.iter().enumerate() {
            let (got, due) = (rate(job, &given[at]), rate(job, &equal[at]));
            prop_assert!(got >= due * (1.0 - 1e-4), "{} of {}", got, due);
        }
    }
}

#[test]
fn first_come_is_first_served_and_later_ones_fill_what_is_left() {
    let mut jobs: Vec<TypedJob> = [2, 4, 1, 1].iter().zip(0..).map(|(devices, id)| job(id, *devices, &[1.0], 1e4)).collect();
    jobs.iter_mut().rev().enumerate().for_each(|(at, job)| job.arrived = at as f64);
    // In order of arrival: 1, 1, then 4, which does not fit, then 2.
    for aware in [false, true] {
        let on = Rounds::default().next(Goal::Fifo { aware }, 10.0, 360.0, &[4], &jobs);
        assert_eq!(on, [Some(0), None, Some(0), Some(0)]);
    }
}

#[test]
fn on_one_type_the_shortest_run() {
    let jobs: Vec<TypedJob> = [9e5, 1e3, 5e4, 2e3, 7e5].iter().zip(0..).map(|(left, id)| job(id, 1, &[2.0], *left)).collect();
    let on = Rounds::default().next(Goal::Completion, 0.0, 360.0, &[2], &jobs);
    assert_eq!(on, [None, Some(0), None, Some(0), None]);
    assert_eq!(Rounds::default().next(Goal::Completion, 0.0, 360.0, &[0], &jobs), [None; 5], "nothing there");
    assert!(Rounds::default().next(Goal::Makespan, 0.0, 360.0, &[2], &[]).is_empty());
}

#[test]
fn a_gang_is_never_divided_between_types() {
    let gang = [job(0, 4, &[5.0, 5.0], 1e4)];
    for goal in GOALS {
        assert_eq!(Rounds::default().next(goal, 0.0, 360.0, &[3, 3], &gang), [None], "{goal:?}");
        assert_eq!(Rounds::default().next(goal, 0.0, 360.0, &[3, 4], &gang), [Some(1)], "{goal:?}");
    }
}

proptest! {
    #[test]
    fn measured_speeds_are_told_and_others_are_of_like_size(
        bases in prop::collection::vec(0.01..100.0_f64, 3..10),
        ratios in prop::collection::vec(0.1..10.0_f64, 3),
        holes in prop::collection::vec(0..4_usize, 10),
    ) {
        let mut table = Throughputs::new(3);
        for (base, hole) in bases.iter().zip(&holes) {
            let class = table.add();
            (0..3).filter(|of| of != hole).for_each(|of| table.measure(class, of, base * ratios[of]));
        }
        // Where classes differ by a factor only, every guess is the truth, if any class was measured on both types.
        for (class, base) in bases.iter().enumerate() {
            let told = table.of(class);
            for of in 0..3 {
                let pairs = (0..3).filter(|from| *from != of && table.measured(class, *from).is_some());
                let mut known = pairs.map(|from| (0..bases.len()).any(|other| table.measured(other, of).and(table.measured(other, from)).is_some()));
                if table.measured(class, of).is_some() || known.all(|known| known) {
                    prop_assert!((told[of] / (base * ratios[of])).ln().abs() < 1e-6, "class {} on {}: {}", class, of, told[of]);
                }
                prop_assert!(told[of].is_finite() && told[of] > 0.0);
            }
        }
    }
}
