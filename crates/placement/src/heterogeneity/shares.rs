//! Who runs on which type of device: time shares that optimise a policy's goal, and the rounds that keep to them.
//!
//! Shares are the solution of a linear programme over `x[job][type]`, parts of the time: nobody's add up to more than one, and no
//! type is given away twice. The goals of Gavel (Narayanan et al., OSDI 2020, section 4) are one programme each. A round goes
//! to those whose time so far lies furthest below their share (its section 5); a gang gets all its devices of one type, or none.

use super::simplex;
use std::collections::HashMap;

/// A job of a fixed number of devices that is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedJob {
    pub id: u64,
    /// Seconds, on the clock of the caller.
    pub arrived: f64,
    pub devices: u32,
    /// Steps a second with all its devices, by type; zero where it does not run.
    pub speeds: Vec<f64>,
    /// Steps left, and in all.
    pub left: f64,
    pub steps: f64,
    /// The type it ran on last, if it ran in the round before.
    pub on: Option<usize>,
}

/// What is optimised. `aware` goals look at speeds; the others take all types as alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// First come, first served; aware: each on its fastest type with room.
    Fifo { aware: bool },
    /// Equal shares for equal gangs; aware: the least progress, each against that with its equal share, is as large as can be.
    Fair { aware: bool },
    /// The last job ends as early as can be.
    Makespan,
    /// Most steps in all.
    Throughput,
    /// Ours: most jobs ended soon, the more a job is behind its equal share the more it counts.
    Completion,
}

impl Goal {
    /// Goals that decide each round anew instead of keeping to shares over time.
    fn is_for_a_round(self) -> bool {
        matches!(self, Goal::Fifo { .. } | Goal::Completion)
    }
}

/// How strongly those behind their equal share are favoured.
const CATCH_UP: i32 = 2;
/// A job that stays where it is counts for so much more: moves cost, though rounds here do not charge them.
const STAYS: f64 = 1.01;

/// Time shares by job and type.
pub fn shares(goal: Goal, now: f64, devices: &[u32], jobs: &[TypedJob]) -> Vec<Vec<f64>> {
    let equal = equal_shares(devices, jobs);
    let against = |of: &dyn Fn(usize, &TypedJob) -> f64| -> Vec<f64> { jobs.iter().enumerate().map(|(at, job)| of(at, job)).collect() };
    match goal {
        Goal::Fifo { aware } => in_order(aware, devices, jobs),
        Goal::Fair { aware: false } => equal,
        Goal::Fair { aware: true } => {
            let due = against(&|at, job| rate(job, &equal[at]) / f64::from(job.devices));
            least_as_large_as_can_be(devices, jobs, &due).unwrap_or(equal)
        }
        Goal::Makespan => least_as_large_as_can_be(devices, jobs, &against(&|_, job| job.left)).unwrap_or(equal),
        Goal::Throughput => largest_sum(devices, jobs, &|_, _| 1.0).unwrap_or(equal),
        Goal::Completion => {
            let worth = |at: usize, of: usize| {
                let job = &jobs[at];
                let fair = job.steps / rate(job, &equal[at]).max(1e-12);
                let behind = ((now - job.arrived + job.left / rate(job, &equal[at]).max(1e-12)) / fair).max(1.0);
                behind.powi(CATCH_UP) / job.left.max(1e-9) * if job.on == Some(of) { STAYS } else { 1.0 }
            };
            largest_sum(devices, jobs, &worth).unwrap_or(equal)
        }
    }
}

/// Steps a second with these shares.
pub fn rate(job: &TypedJob, shares: &[f64]) -> f64 {
    job.speeds.iter().zip(shares).map(|(speed, share)| speed * share).sum()
}

/// Every gang gets as many device-seconds as every other, or all its time, over the types in proportion to their devices.
pub fn equal_shares(devices: &[u32], jobs: &[TypedJob]) -> Vec<Vec<f64>> {
    let total: f64 = devices.iter().map(|count| f64::from(*count)).sum();
    let mut gangs: Vec<f64> = jobs.iter().map(|job| f64::from(job.devices)).collect();
    gangs.sort_unstable_by(f64::total_cmp);
    // Water rises to `level` device-seconds a second; small gangs are full before.
    let (mut left, mut level) = (total, f64::INFINITY);
    for (full, gang) in gangs.iter().enumerate() {
        let each = left / (gangs.len() - full) as f64;
        if each <= *gang {
            level = each;
            break;
        }
        left -= gang;
    }
    let part = |job: &TypedJob| (level / f64::from(job.devices.max(1))).min(1.0);
    jobs.iter().map(|job| devices.iter().map(|count| part(job) * f64::from(*count) / total.max(1.0)).collect()).collect()
}

/// Rows that all programmes share: each job's time, each type's devices. `extra` columns follow.
fn limits(devices: &[u32], jobs: &[TypedJob], extra: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let types = devices.len();
    let width = jobs.len() * types + extra;
    let mut rows = vec![vec![0.0; width]; jobs.len() + types];
    for (at, job) in jobs.iter().enumerate() {
        for of in 0..types {
            rows[at][at * types + of] = 1.0;
            rows[jobs.len() + of][at * types + of] = f64::from(job.devices);
        }
    }
    let bounds = jobs.iter().map(|_| 1.0).chain(devices.iter().map(|count| f64::from(*count))).collect();
    (rows, bounds)
}

fn by_job(x: &[f64], jobs: usize, types: usize) -> Vec<Vec<f64>> {
    (0..jobs)
        .map(|at| x[at * types..(at + 1) * types].iter().map(|share| if *share < 1e-7 { 0.0 } else { share.min(1.0) }).collect())
        .collect()
}

/// The largest `t` with everybody's rate at least `t` times what is `due`.
fn least_as_large_as_can_be(devices: &[u32], jobs: &[TypedJob], due: &[f64]) -> Option<Vec<Vec<f64>>> {
    let types = devices.len();
    let (mut rows, mut bounds) = limits(devices, jobs, 1);
    let last = jobs.len() * types;
    // `t` in units of about one: what is due, in seconds on the fastest type, against the mean of it.
    let seconds = |at: usize, job: &TypedJob| due[at] / job.speeds.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let usual = (jobs.iter().enumerate().map(|(at, job)| seconds(at, job)).sum::<f64>() / due.len().max(1) as f64).max(f64::MIN_POSITIVE);
    for (at, job) in jobs.iter().enumerate() {
        let fastest = (0..types).map(|of| job.speed(of, devices)).fold(0.0, f64::max);
        if fastest <= 0.0 || due[at] <= 0.0 {
            continue;
        }
        // In units of its own fastest speed, so that the table's numbers are of like size.
        let mut row = vec![0.0; last + 1];
        for of in 0..types {
            row[at * types + of] = -job.speed(of, devices) / fastest;
        }
        row[last] = due[at] / fastest / usual;
        rows.push(row);
        bounds.push(0.0);
    }
    let mut goal = vec![0.0; last + 1];
    goal[last] = 1.0;
    Some(by_job(&simplex::solve(&rows, &bounds, &goal)?.x, jobs.len(), types))
}

/// The largest sum of rates, each times its worth.
fn largest_sum(devices: &[u32], jobs: &[TypedJob], worth: &dyn Fn(usize, usize) -> f64) -> Option<Vec<Vec<f64>>> {
    let types = devices.len();
    let (rows, bounds) = limits(devices, jobs, 0);
    let mut goal: Vec<f64> =
        (0..jobs.len() * types).map(|at| jobs[at / types].speed(at % types, devices) * worth(at / types, at % types)).collect();
    let largest = goal.iter().copied().fold(0.0, f64::max);
    goal.iter_mut().for_each(|worth| *worth /= largest.max(f64::MIN_POSITIVE));
    Some(by_job(&simplex::solve(&rows, &bounds, &goal)?.x, jobs.len(), types))
}

fn in_order(aware: bool, devices: &[u32], jobs: &[TypedJob]) -> Vec<Vec<f64>> {
    let mut free = devices.to_vec();
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by(|a, b| jobs[*a].arrived.total_cmp(&jobs[*b].arrived).then(jobs[*a].id.cmp(&jobs[*b].id)));
    let mut shares = vec![vec![0.0; devices.len()]; jobs.len()];
    for at in order {
        let job = &jobs[at];
        let room = |of: &usize| free[*of] >= job.devices && job.speeds[*of] > 0.0;
        let stays = job.on.filter(room);
        let best = if aware {
            (0..devices.len()).filter(room).max_by(|a, b| job.speeds[*a].total_cmp(&job.speeds[*b]).then(b.cmp(a)))
        } else {
            stays.or_else(|| (0..devices.len()).filter(room).max_by_key(|of| (free[*of], std::cmp::Reverse(*of))))
        };
        let Some(of) = best else { continue };
        free[of] -= job.devices;
        shares[at][of] = 1.0;
    }
    shares
}

impl TypedJob {
    /// Steps a second on a type; none where not all its devices are.
    fn speed(&self, of: usize, devices: &[u32]) -> f64 {
        if self.devices <= devices[of] { self.speeds[of] } else { 0.0 }
    }
}

/// Rounds that keep to shares.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// Seconds each job had on each type since shares last changed hands, and those of all.
    had: HashMap<u64, Vec<f64>>,
    all: Vec<f64>,
    last: Vec<u64>,
    shares: Vec<Vec<f64>>,
}

impl Rounds {
    /// The type each job has in the round of `seconds` that begins now; none: it waits. Shares are decided when jobs come or go, and every
    /// round for goals that ask for it.
    pub fn next(&mut self, goal: Goal, now: f64, seconds: f64, devices: &[u32], jobs: &[TypedJob]) -> Vec<Option<usize>> {
        let ids: Vec<u64> = jobs.iter().map(|job| job.id).collect();
        if ids != self.last || goal.is_for_a_round() {
            self.shares = shares(goal, now, devices, jobs);
            if ids != self.last {
                self.had = ids.iter().map(|id| (*id, vec![0.0; devices.len()])).collect();
                self.all = vec![0.0; devices.len()];
                self.last = ids;
            }
        }
        let urgency = |at: usize, of: usize| {
            let share = self.shares[at][of];
            let had = self.had[&jobs[at].id][of];
            if goal.is_for_a_round() || had <= 0.0 { share * 1e9 } else { share / (had / self.all[of].max(1e-9)) }
        };
        let mut wishes: Vec<(f64, f64, usize, usize)> = (0..jobs.len())
            .flat_map(|at| (0..devices.len()).map(move |of| (at, of)))
            .filter(|(at, of)| jobs[*at].speeds[*of] > 0.0)
            .map(|(at, of)| (urgency(at, of), jobs[at].speeds[of] / jobs[at].left.max(1e-9), at, of))
            .collect();
        wishes.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)).then(a.3.cmp(&b.3)));
        let mut free = devices.to_vec();
        let mut on = vec![None; jobs.len()];
        for (urgency, _, at, of) in wishes {
            // First come, first served leaves nobody over; the others fill what is free.
            if on[at].is_none() && free[of] >= jobs[at].devices && (urgency > 0.0 || !matches!(goal, Goal::Fifo { .. })) {
                free[of] -= jobs[at].devices;
                on[at] = Some(of);
            }
        }
        for (job, of) in jobs.iter().zip(&on) {
            if let (Some(of), Some(had)) = (of, self.had.get_mut(&job.id)) {
                had[*of] += seconds;
                self.all[*of] += seconds;
            }
        }
        on
    }
}
