//! How many devices for each job: the best sum of worths over all ways of sharing the devices out, found exactly.
//!
//! A job's worth with `r` devices is `weight x u(speed(r))`. `speed` is its goodput in multiples of one device's; `u` bends it, so that
//! the first devices of one job go before the last of another. `weight` grows with the number of jobs that have more left to do, so
//! that short jobs go first without starving long ones, or falls with what is left: for speeds that grow as a power of the devices and lengths that are known,
//! such weights give the least mean completion time (Berg, Vesilo and Harchol-Balter, "heSRPT", 2020).
//! Where nobody knows what is left, it is taken to be as much as was done already, and some: run times of
//! training jobs are spread over orders of magnitude, so the longer one has run the longer it will.
//!
//! A job that keeps its number keeps its speed; a change costs a restart, spread over the time until it pays.

use super::job::{Assignment, ElasticJob, ElasticPolicy, Reason, Seats};
use super::seat::{parts, seat};

/// What is optimised. Exponents without unit, times in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aim {
    /// Weight of the job that is nth from the longest: `2n - 1` to the power of this.
    pub shortness: f64,
    /// And what is left of it, in seconds on one device, to the power of minus this: for rests that are guesses a steadier order.
    pub rest: f64,
    /// `u(x) = x^bend / bend` (about): 1 counts speed as it is, 0 its logarithm, -1 is the harmonic mean of Pollux.
    pub bend: f64,
    /// Speed is counted against that with an equal share of all devices instead of that with one.
    pub against_share: bool,
    /// What is left of a job that has done nothing, in seconds on one device, where nobody knows.
    pub unknown: f64,
    /// Time of a restart.
    pub restart: f64,
    /// Time over which a restart has to pay, at most; for short jobs this part of what is left of them.
    pub patience: f64,
    pub part_of_rest: f64,
}

impl Aim {
    /// Least mean completion time where jobs say how much they have to do.
    pub const LENGTHS_KNOWN: Aim = Aim {
        shortness: 1.0,
        rest: 0.0,
        bend: 0.5,
        against_share: false,
        unknown: 1000.0,
        restart: 30.0,
        patience: 300.0,
        part_of_rest: 1.0,
    };
    /// Least mean completion time where they do not.
    pub const LENGTHS_UNKNOWN: Aim = Aim { shortness: 0.0, rest: 0.3, bend: 0.15, ..Aim::LENGTHS_KNOWN };
    /// What Pollux maximises: the harmonic mean of speeds, each against that with an equal share.
    pub const POLLUX: Aim = Aim { rest: 0.0, bend: -1.0, against_share: true, part_of_rest: f64::INFINITY, ..Aim::LENGTHS_UNKNOWN };
}

/// Speed so small that it is as none, where `bend` is negative.
const NO_SPEED: f64 = 1e-3;
/// Batch sizes tried for each number of devices.
const SIZES: u32 = 16;
/// Least part of its speed that a job keeps in the count when it is restarted.
const LEAST_KEPT: f64 = 0.05;

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct Goodputs {
    pub aim: Aim,
}

/// A number of devices a job may hold, its speed, and its worth.
#[derive(Clone, Copy)]
struct Choice {
    count: u32,
    speed: f64,
    worth: f64,
}

/// What all jobs compete for.
#[derive(Clone, Copy)]
struct Field {
    jobs: usize,
    total: u32,
    per_machine: u32,
}

/// A job with the numbers of devices it may hold.
struct Candidate<'a> {
    job: &'a ElasticJob,
    counts: Vec<u32>,
    /// Goodput on one device; of a job that needs more, per device on its fewest.
    one: f64,
    /// What is left, in seconds on one device.
    left: f64,
}

impl<'a> Candidate<'a> {
    fn new(job: &'a ElasticJob, aim: &Aim, field: Field) -> Candidate<'a> {
        let (held, most) = (job.holds(), job.most.min(field.total));
        let mut counts = if job.goodput.is_some() { parts(field.per_machine, most) } else { vec![] };
        for also in [held, job.least.max(1)] {
            if also > 0 && also <= most && !counts.contains(&also) {
                counts.push(also);
            }
        }
        counts.retain(|count| *count >= job.least);
        counts.sort_unstable();
        let mut candidate = Candidate { job, counts, one: 0.0, left: 0.0 };
        let first = |count: &u32| Some(candidate.goodput(count.div_ceil(field.per_machine), *count)? / f64::from(*count));
        candidate.one = candidate.counts.iter().find_map(first).filter(|one| *one > 0.0).unwrap_or(0.0);
        if candidate.one > 0.0 {
            candidate.left = match job.remaining {
                Some(steps) => steps / candidate.one,
                None => aim.unknown + job.goodput.map_or(0.0, |_| job.done / candidate.one),
            };
        } else {
            candidate.counts.clear();
        }
        candidate
    }

    fn goodput(&self, nodes: u32, count: u32) -> Option<f64> {
        match &self.job.goodput {
            Some(model) => model.best_of(nodes, count, SIZES).map(|best| best.goodput),
            None => Some(f64::from(count)),
        }
    }

    /// With what each number of devices is worth; `longer` jobs have more left.
    fn choices(&self, aim: &Aim, field: Field, longer: usize) -> Vec<Choice> {
        let held = self.job.holds();
        let share = (f64::from(field.total) / field.jobs.max(1) as f64).ceil().clamp(1.0, f64::from(self.job.most.max(1))) as u32;
        let base = if aim.against_share { self.goodput(share.div_ceil(field.per_machine), share).unwrap_or(self.one) } else { self.one };
        let weight = (2.0 * longer as f64 + 1.0).powf(aim.shortness) * self.left.max(1.0).powf(-aim.rest);
        let bent = |x: f64| match aim.bend {
            0.0 => ((x + NO_SPEED) / NO_SPEED).ln(),
            bend => ((x + NO_SPEED).powf(bend) - NO_SPEED.powf(bend)) / bend,
        };
        let choice = |count: &u32| {
            let stays = *count == held;
            let nodes = if stays { self.job.held.len() as u32 } else { count.div_ceil(field.per_machine) };
            let goodput = self.goodput(nodes, *count)?;
            let speed = goodput / self.one;
            let pays_within = aim.patience.min(aim.part_of_rest * self.left / speed).max(1.0);
            let kept = if stays || held == 0 { 1.0 } else { (1.0 - aim.restart / pays_within).max(LEAST_KEPT) };
            Some(Choice { count: *count, speed, worth: weight * bent(goodput * kept / base) })
        };
        self.counts.iter().filter_map(choice).collect()
    }
}

/// For each job which of its choices, so that the sum of worths is largest and devices suffice; and what the last device was worth.
fn share_out(choices: &[Vec<Choice>], total: u32) -> (Vec<Option<usize>>, f64) {
    let width = total as usize + 1;
    let mut best = vec![0.0_f64; width];
    let mut taken = vec![u16::MAX; width * choices.len()];
    for (job, choices) in choices.iter().enumerate() {
        let before = best.clone();
        let row = &mut taken[job * width..(job + 1) * width];
        for (index, choice) in choices.iter().enumerate() {
            let count = choice.count as usize;
            for devices in count..width {
                let worth = before[devices - count] + choice.worth;
                if worth > best[devices] {
                    best[devices] = worth;
                    row[devices] = index as u16;
                }
            }
        }
    }
    let mut left = total as usize;
    let mut chosen = vec![None; choices.len()];
    for job in (0..choices.len()).rev() {
        let index = taken[job * width + left];
        if index != u16::MAX {
            chosen[job] = Some(index as usize);
            left -= choices[job][index as usize].count as usize;
        }
    }
    let price = if total > 0 { best[total as usize] - best[total as usize - 1] } else { 0.0 };
    (chosen, price)
}

impl ElasticPolicy for Goodputs {
    fn decide(&mut self, _now: u64, machines: &[u32], jobs: &[ElasticJob]) -> Vec<Assignment> {
        let total: u32 = machines.iter().sum();
        let per_machine = machines.iter().copied().max().unwrap_or(1).max(1);
        let field = Field { jobs: jobs.len(), total, per_machine };
        let candidates: Vec<Candidate<'_>> = jobs.iter().map(|job| Candidate::new(job, &self.aim, field)).collect();
        let mut lengths: Vec<f64> = candidates.iter().map(|candidate| candidate.left).collect();
        lengths.sort_unstable_by(f64::total_cmp);
        let longer = |left: f64| lengths.len() - lengths.partition_point(|other| *other <= left);
        let choices: Vec<Vec<Choice>> =
            candidates.iter().map(|candidate| candidate.choices(&self.aim, field, longer(candidate.left))).collect();
        let (chosen, price) = share_out(&choices, total);
        let picked: Vec<Option<Choice>> = chosen.iter().zip(&choices).map(|(index, choices)| Some(choices[(*index)?])).collect();
        let wanted: Vec<(&Seats, u32)> =
            jobs.iter().zip(&picked).map(|(job, choice)| (&job.held, choice.map_or(0, |choice| choice.count))).collect();
        let seats = seat(machines, &wanted);
        let assignment = |job: usize, seats: Option<Seats>| {
            let Some(seats) = seats else { return Assignment { seats: vec![], reason: Reason::NoRoom } };
            let (held, reason) = (jobs[job].holds(), picked[job]);
            let reason = match reason {
                None => Reason::Waits { worth: choices[job].first().map_or(0.0, |first| first.worth / f64::from(first.count)), price },
                Some(choice) if seats == jobs[job].held => Reason::Kept { speed: choice.speed },
                Some(choice) if held == 0 => Reason::Started { speed: choice.speed },
                Some(choice) if held == choice.count => Reason::Moved,
                Some(choice) => Reason::Resized { from: held, speed: choice.speed },
            };
            Assignment { seats, reason }
        };
        seats.into_iter().enumerate().map(|(job, seats)| assignment(job, seats)).collect()
    }
}
