//! A few tenants share a cluster in simulated time: what each policy makes of fairness, waiting and use.
//!
//! The live core ([`Live`]) is the one that a node runs: [`crate::Core`] with its plan, its check and its state. The
//! rivals are small models of how others decide: [`Easy`] in order of arrival with backfill, on devices or on whole
//! machines, and [`QuotaFirst`], which admits by quota and looks for a place afterwards. Every start is audited here.

mod live;
mod mixes;
mod rivals;

pub use live::Live;
pub use mixes::{never_fits, recorded, synthetic};
pub use rivals::{Easy, QuotaFirst};

use spec::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Machines alike, and the weights of the tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub machines: usize,
    /// Devices of one machine; no job of more can be placed.
    pub each: u32,
    pub weights: Vec<u32>,
}

impl Cluster {
    pub fn devices(&self) -> u32 {
        self.machines as u32 * self.each
    }

    /// What a tenant's weight entitles to, in whole devices, rounded down.
    pub fn nominal(&self, tenant: usize) -> u32 {
        self.devices() * self.weights[tenant] / self.weights.iter().sum::<u32>().max(1)
    }
}

/// A gang of ranks with a device each, on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub tenant: usize,
    pub devices: u32,
    pub arrives: Time,
    pub takes: Span,
    /// What its owner says it takes.
    pub says: Span,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Work, machine, and devices that are held by it there: those of a whole machine, maybe.
    pub starts: Vec<(usize, usize, u32)>,
    /// Work to end, and the work for which it ends.
    pub evictions: Vec<(usize, usize)>,
}

/// Something ended by itself, or because it was evicted: then it waits again, from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub work: usize,
    pub evicted: bool,
}

pub trait Scheduler {
    /// Indices of work that arrived and ended by `now`, in order.
    fn step(&mut self, now: Time, arrived: &[usize], ended: &[Ended]) -> Decision;
    /// When it wants to decide although nothing happens.
    fn wake(&self) -> Option<Time> {
        None
    }
}

/// Means are over time from the first arrival to the last; waits are over all work that started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharingReport {
    /// Devices that work was using, as a part of all.
    pub used: f64,
    pub makespan: Span,
    /// What the tenant worst off was entitled to and did not have, over the whole time, as a part of all devices.
    pub worst_shortfall: f64,
    /// How far the tenant worst off was below its entitlement at a moment, on average, as a part of all devices.
    pub mean_deviation: f64,
    /// Work of one device, and of a whole machine: mean wait.
    pub small_wait: Span,
    pub small_wait_p95: Span,
    pub gang_wait: Span,
    pub evictions: u64,
    /// Runs evicted for work that did not start when the last of them had ended.
    pub vain_evictions: u64,
    /// Device time of evicted runs, as a part of all that was used.
    pub lost: f64,
    pub never_started: usize,
}

/// A scheduler did what cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharingFault {
    #[error("work {0} is started twice, or before it arrived")]
    NotWaiting(usize),
    #[error("machine {machine} would hold {held} devices")]
    OverFull { machine: usize, held: u32 },
    #[error("work {0} is evicted and does not run")]
    NotRunning(usize),
}

/// An evicted run saves its work for this long.
pub const GRACE: Span = Span::seconds(30);

struct Run {
    machine: usize,
    held: u32,
    since: Time,
    end: Time,
    evicted_for: Option<usize>,
}

struct Trial<'a> {
    cluster: &'a Cluster,
    work: &'a [Work],
    running: BTreeMap<usize, Run>,
    waiting: BTreeSet<usize>,
    first_starts: BTreeMap<usize, Time>,
    held: Vec<u32>,
    /// For whom how many are still ending, and how many did.
    clearing: BTreeMap<usize, (u64, u64)>,
    report: SharingReport,
    /// Device milliseconds by tenant: had, and entitled to.
    had: Vec<f64>,
    due: Vec<f64>,
    lost: f64,
}

/// Lets the work arrive (in the order given, by time) and the scheduler decide until nothing happens any more.
pub fn share(cluster: &Cluster, work: &[Work], scheduler: &mut dyn Scheduler) -> Result<SharingReport, SharingFault> {
    let tenants = cluster.weights.len();
    let mut trial = Trial {
        cluster,
        work,
        running: BTreeMap::new(),
        waiting: BTreeSet::new(),
        first_starts: BTreeMap::new(),
        held: vec![0; cluster.machines],
        clearing: BTreeMap::new(),
        report: SharingReport::default(),
        had: vec![0.0; tenants],
        due: vec![0.0; tenants],
        lost: 0.0,
    };
    let begin = work.first().map_or(Time(0), |first| first.arrives);
    let last = work.last().map_or(begin, |last| last.arrives);
    let (mut now, mut next) = (begin, 0);
    loop {
        let arrival = work.get(next).map(|work| work.arrives);
        let end = trial.running.values().map(|run| run.end).min();
        // Without work ahead there is nothing to wake up for.
        let wake = scheduler.wake().filter(|at| *at > now && (arrival.is_some() || end.is_some()));
        let Some(at) = [arrival, end, wake].into_iter().flatten().min() else { break };
        trial.pass(now.min(last), at.min(last));
        now = at.max(now);
        let arrived: Vec<usize> = (next..work.len()).take_while(|index| work[*index].arrives <= now).collect();
        next += arrived.len();
        trial.waiting.extend(&arrived);
        let ended = trial.end(now);
        let decision = scheduler.step(now, &arrived, &ended);
        trial.carry_out(&decision, now)?;
    }
    Ok(trial.finish(begin, last, now))
}

impl Trial<'_> {
    fn end(&mut self, now: Time) -> Vec<Ended> {
        let over: Vec<usize> = self.running.iter().filter(|(_, run)| run.end <= now).map(|(index, _)| *index).collect();
        let mut ended = Vec::with_capacity(over.len());
        for index in over {
            let Some(run) = self.running.remove(&index) else { continue };
            self.held[run.machine] -= run.held;
            // One that was done before its grace was over is done.
            let done = run.since + self.work[index].takes <= now;
            if let Some(by) = run.evicted_for {
                let clearing = self.clearing.entry(by).or_default();
                *clearing = (clearing.0.saturating_sub(1), clearing.1 + 1);
            }
            if !done {
                self.waiting.insert(index);
                self.lost += f64::from(self.work[index].devices) * (now - run.since).0 as f64;
            }
            ended.push(Ended { work: index, evicted: !done });
        }
        ended
    }

    fn carry_out(&mut self, decision: &Decision, now: Time) -> Result<(), SharingFault> {
        for (index, by) in &decision.evictions {
            let run = self.running.get_mut(index).filter(|run| run.evicted_for.is_none()).ok_or(SharingFault::NotRunning(*index))?;
            run.evicted_for = Some(*by);
            run.end = run.end.min(now + GRACE);
            self.clearing.entry(*by).or_default().0 += 1;
            self.report.evictions += 1;
        }
        for (index, machine, held) in &decision.starts {
            if !self.waiting.remove(index) {
                return Err(SharingFault::NotWaiting(*index));
            }
            let devices = self.held.get_mut(*machine).ok_or(SharingFault::OverFull { machine: *machine, held: *held })?;
            *devices += (*held).max(self.work[*index].devices);
            if *devices > self.cluster.each {
                return Err(SharingFault::OverFull { machine: *machine, held: *devices });
            }
            let held = (*held).max(self.work[*index].devices);
            let end = now + self.work[*index].takes;
            self.running.insert(*index, Run { machine: *machine, held, since: now, end, evicted_for: None });
            self.first_starts.entry(*index).or_insert(now);
        }
        // Whose last victim has gone, and who starts no sooner for it.
        let cleared: Vec<usize> = self.clearing.iter().filter(|(_, (left, _))| *left == 0).map(|(index, _)| *index).collect();
        for index in cleared {
            let (_, ended) = self.clearing.remove(&index).unwrap_or_default();
            if !self.running.contains_key(&index) {
                self.report.vain_evictions += ended;
            }
        }
        Ok(())
    }

    /// Books what everybody had and was entitled to from one moment to the next.
    fn pass(&mut self, from: Time, to: Time) {
        let span = (to - from).0 as f64;
        if span <= 0.0 {
            return;
        }
        let mut has = vec![0.0; self.had.len()];
        self.running.keys().for_each(|index| has[self.work[*index].tenant] += f64::from(self.work[*index].devices));
        let mut wants = has.clone();
        self.waiting.iter().for_each(|index| wants[self.work[*index].tenant] += f64::from(self.work[*index].devices));
        let due = entitled(&wants, &self.cluster.weights, f64::from(self.cluster.devices()));
        let mut worst: f64 = 0.0;
        for tenant in 0..has.len() {
            self.had[tenant] += has[tenant] * span;
            self.due[tenant] += due[tenant] * span;
            worst = worst.max(due[tenant] - has[tenant]);
        }
        self.report.mean_deviation += worst * span;
    }

    fn finish(mut self, begin: Time, last: Time, now: Time) -> SharingReport {
        let all = f64::from(self.cluster.devices()) * ((last - begin).0 as f64).max(1.0);
        let worst = self.due.iter().zip(&self.had).map(|(due, had)| due - had).fold(0.0, f64::max);
        let used: f64 = self.had.iter().sum();
        let waits = |devices: u32| {
            let started = self.first_starts.iter().filter(move |(index, _)| self.work[**index].devices == devices);
            let mut waits: Vec<u64> = started.map(|(index, at)| (*at - self.work[*index].arrives).0).collect();
            waits.sort_unstable();
            waits
        };
        let mean = |waits: &[u64]| Span(waits.iter().sum::<u64>() / (waits.len() as u64).max(1));
        let (small, gangs) = (waits(1), waits(self.cluster.each));
        self.report.used = used / all;
        self.report.makespan = now - begin;
        self.report.worst_shortfall = worst / all;
        self.report.mean_deviation /= all;
        self.report.small_wait = mean(&small);
        self.report.small_wait_p95 = Span(small.get(small.len() * 95 / 100).copied().unwrap_or(0));
        self.report.gang_wait = mean(&gangs);
        self.report.lost = self.lost / used.max(1.0);
        self.report.never_started = self.work.len() - self.first_starts.len();
        self.report
    }
}

/// Shares by weight of what is wanted: nobody gets more than he wants, and what he leaves is shared by the others.
fn entitled(wants: &[f64], weights: &[u32], all: f64) -> Vec<f64> {
    let mut due = vec![0.0; wants.len()];
    let (mut left, mut open) = (all, (0..wants.len()).collect::<Vec<_>>());
    while !open.is_empty() && left > 0.0 {
        let weight: f64 = open.iter().map(|tenant| f64::from(weights[*tenant])).sum();
        let share = |tenant: usize| left * f64::from(weights[tenant]) / weight;
        let (content, hungry): (Vec<usize>, Vec<usize>) = open.iter().partition(|tenant| wants[**tenant] <= share(**tenant));
        if content.is_empty() {
            hungry.iter().for_each(|tenant| due[*tenant] = share(*tenant));
            break;
        }
        for tenant in content {
            due[tenant] = wants[tenant];
        }
        left = all - due.iter().sum::<f64>();
        open = hungry;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_leaves_the_others_share() {
        let rows: [(&[f64], &[u32], &[f64]); 4] = [
            (&[9.0, 9.0], &[1, 1], &[4.0, 4.0]),
            (&[1.0, 9.0], &[1, 1], &[1.0, 7.0]),
            (&[9.0, 9.0, 1.0], &[2, 1, 1], &[14.0 / 3.0, 7.0 / 3.0, 1.0]),
            (&[1.0, 2.0], &[1, 3], &[1.0, 2.0]),
        ];
        for (wants, weights, due) in rows {
            let got = entitled(wants, weights, 8.0);
            assert!(got.iter().zip(due).all(|(one, other)| (one - other).abs() < 1e-9), "{got:?} {due:?}");
        }
    }
}
