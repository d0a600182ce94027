//! Time of a decision about elastic jobs, and about jobs on several types of devices.
//!
//! `cargo bench -p placement --bench elastic`

use divan::Bencher;
use placement::goodput::{Aim, Batch, ElasticJob, ElasticPolicy, Goodput, Goodputs, Noise, StepTime};
use placement::heterogeneity::{Goal, Rounds, TypedJob};

fn main() {
    divan::main();
}

/// Jobs with different speeds and lengths, by their number.
fn elastic(count: u32, most: u32) -> Vec<ElasticJob> {
    let job = |id: u32| {
        let odd = f64::from(id % 7 + 1);
        let time =
            StepTime { compute: (0.02 * odd, 0.001), across: (0.03 * odd, 0.001), within: (0.01 * odd, 0.0005), overlap: 1.0 + odd / 4.0 };
        let noise = Noise { square: 1.0, variance: 10.0 * odd * odd };
        let batch = Batch { first: 128, largest: 8192, atomic: (16, 512), fixed: None };
        ElasticJob {
            id: u64::from(id),
            submitted: u64::from(id) * 60,
            held: vec![],
            restarts: 0,
            service: 0.0,
            done: 100.0 * odd,
            remaining: Some(1000.0 * f64::from(id % 13 + 1) * odd),
            least: 1,
            most,
            asked: 4,
            goodput: Some(Goodput { time, noise, batch }),
        }
    };
    (0..count).map(job).collect()
}

/// Jobs, machines of four devices: 64 and 2,048 devices. The second decision, when everybody holds something.
#[divan::bench(args = [(40, 16), (120, 16), (300, 512), (1000, 512)])]
fn decide(bencher: Bencher<'_, '_>, (jobs, machines): (u32, usize)) {
    let machines = vec![4; machines];
    let mut jobs = elastic(jobs, 64);
    let mut policy = Goodputs { aim: Aim::LENGTHS_KNOWN };
    let first = policy.decide(100_000, &machines, &jobs);
    jobs.iter_mut().zip(first).for_each(|(job, given)| job.held = given.seats);
    bencher.bench_local(|| policy.decide(100_060, &machines, &jobs));
}

fn typed(count: u32) -> Vec<TypedJob> {
    let job = |id: u32| {
        let (odd, left) = (f64::from(id % 5 + 1), 1e4 * f64::from(id % 17 + 1));
        let devices = if id.is_multiple_of(4) { 2 } else { 1 };
        TypedJob { id: u64::from(id), arrived: 0.0, devices, speeds: vec![10.0, 10.0 / odd, 1.0], left, steps: left, on: None }
    };
    (0..count).map(job).collect()
}

/// Jobs on 22, 21 and 21 devices of three types.
#[divan::bench(args = [40, 120])]
fn decide_types(bencher: Bencher<'_, '_>, jobs: u32) {
    let jobs = typed(jobs);
    bencher.bench_local(|| Rounds::default().next(Goal::Completion, 1e5, 360.0, &[22, 21, 21], &jobs));
}
