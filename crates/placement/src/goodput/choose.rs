//! How many devices for each job: the best sum of worths over all ways of sharing the devices out, found exactly.
//!
//! A job's worth with `r` devices is `weight x u(speed(r))`. `speed` is its goodput in multiples of one device's; `u` bends it, so that
//! the first devices of one job go before the last of another; `weight` falls with the work that is left, so that short jobs go
//! first (what minimises the mean completion time when speed grows less than linearly, see Berg et al., "heSRPT", 2020).
//! Where nobody knows what is left, it is taken to be as much as was done already, and some: run times of training jobs
//! are spread over orders of magnitude, so the longer one has run the longer it will.
//!
//! A job that keeps its number keeps its speed; a change costs a restart, spread over the time until it pays.

use super::job::{Assignment, ElasticJob, ElasticPolicy, Reason, Seats};
use super::seat::{parts, seat};

/// What is optimised. Exponents without unit, times in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aim {
    /// Weight of a job: what is left of it, in seconds on one device, to the power of minus this.
    pub shortness: f64,
    /// `u(x) = x^bend / bend` (about): 1 counts speed as it is, 0 its logarithm, -1 is the harmonic mean of Pollux.
    pub bend: f64,
    /// Speed is counted against that with an equal share of all devices instead of that with one.
    pub against_share: bool,
    /// What is left of a job that has done nothing, where nobody knows.
    pub unknown: f64,
    /// Time of a restart.
    pub restart: f64,
    /// Time over which a restart has to pay.
    pub patience: f64,
}

impl Aim {
    /// Least mean completion time.
    pub const COMPLETION: Aim = Aim { shortness: 0.75, bend: 0.4, against_share: false, unknown: 300.0, restart: 30.0, patience: 300.0 };
    /// What Pollux maximises: the harmonic mean of speeds, each against that with an equal share.
    pub const POLLUX: Aim = Aim { shortness: 0.0, bend: -1.0, against_share: true, unknown: 1.0, restart: 30.0, patience: 300.0 };
}

/// Speed so small that it is as none, where `bend` is negative.
const NO_SPEED: f64 = 1e-3;
/// Batch sizes tried for each number of devices.
const SIZES: u32 = 16;

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

impl Goodputs {
    fn choices(&self, now: u64, (jobs, total): (usize, u32), per: u32, job: &ElasticJob) -> Vec<Choice> {
        let aim = self.aim;
        let held = job.holds();
        let most = job.most.min(total);
        let mut counts = if job.goodput.is_some() { parts(per, most) } else { vec![job.least.max(1)] };
        if held > 0 && held <= most && !counts.contains(&held) {
            counts.push(held);
        }
        counts.retain(|count| *count >= job.least.max(1));
        let goodput = |nodes, count| match &job.goodput {
            Some(model) => model.best_of(nodes, count, SIZES).map(|best| best.goodput),
            None => Some(f64::from(count)),
        };
        // A job whose batch needs several ranks has no speed on one: what it has on its fewest counts then.
        let first = counts.iter().find_map(|count| Some(goodput(count.div_ceil(per), *count)? / f64::from(*count)));
        let Some(one) = first.filter(|one| *one > 0.0) else { return vec![] };
        let share = (f64::from(total) / jobs.max(1) as f64).ceil().clamp(1.0, f64::from(most.max(1))) as u32;
        let base = if aim.against_share { goodput(share.div_ceil(per), share).unwrap_or(one) } else { one };
        let left = match job.remaining {
            Some(steps) => steps / one,
            None => aim.unknown + job.goodput.map_or(0.0, |_| job.done / one),
        };
        let weight = left.max(1.0).powf(-aim.shortness);
        let bent = |x: f64| match aim.bend {
            0.0 => ((x + NO_SPEED) / NO_SPEED).ln(),
            bend => ((x + NO_SPEED).powf(bend) - NO_SPEED.powf(bend)) / bend,
        };
        // A job that was restarted often for its age is left alone longer.
        let age = (now.saturating_sub(job.submitted)) as f64;
        let lost = f64::from(job.restarts) * aim.restart;
        let patience = aim.patience.min((age - lost).max(aim.restart));
        let changed = ((patience - aim.restart) / patience).max(0.05);
        let choice = |count: u32| {
            let stays = count == held;
            let nodes = if stays { job.held.len() as u32 } else { count.div_ceil(per) };
            let speed = goodput(nodes, count)?;
            let counted = if stays || held == 0 { speed } else { speed * changed };
            Some(Choice { count, speed: speed / one, worth: weight * bent(counted / base) })
        };
        counts.into_iter().filter_map(choice).collect()
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
    fn decide(&mut self, now: u64, machines: &[u32], jobs: &[ElasticJob]) -> Vec<Assignment> {
        let total: u32 = machines.iter().sum();
        let per = machines.iter().copied().max().unwrap_or(1).max(1);
        let choices: Vec<Vec<Choice>> = jobs.iter().map(|job| self.choices(now, (jobs.len(), total), per, job)).collect();
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

