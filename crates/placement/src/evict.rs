//! Which runs end so that a job gets what its queue is guaranteed.
//!
//! Only a job whose queue stays within its guarantee may have runs evicted, and only runs that their own queue holds
//! beyond its guarantee. So what is evicted can never evict in return, and nobody is pushed below what is theirs. The job's
//! place is verified before anybody is told to end, and is its own from then on (a *claim*).

use crate::demand::{Ask, Demand};
use crate::held::Holding;
use crate::horizon::earliest;
use crate::place::{Placed, place};
use crate::planner::{Planner, planned_end};
use crate::{Blocker, Eviction, Reason, Running, Start, Waiting};
use machine::Grant;
use spec::{JobId, Limits, RunId, Span, Time};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Runs of one machine that are looked at for one job, cheapest first.
const MOST_CANDIDATES: usize = 64;
/// A device counts as this many CPUs when lost work is compared, as in the books of fair shares.
const DEVICE_IN_CPUS: u64 = 16;

/// What a guarantee is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub cpu_milli: u64,
    pub memory: u64,
    pub devices: u64,
}

impl Amount {
    fn of(holding: &Holding) -> Amount {
        Amount { cpu_milli: holding.cpu_milli, memory: holding.memory, devices: holding.device_count }
    }

    fn plus(self, other: Amount) -> Amount {
        Amount {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory: self.memory.saturating_add(other.memory),
            devices: self.devices.saturating_add(other.devices),
        }
    }

    fn minus(self, other: Amount) -> Amount {
        Amount {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory: self.memory.saturating_sub(other.memory),
            devices: self.devices.saturating_sub(other.devices),
        }
    }
}

/// Each part of a guarantee that is set, with the same part of two amounts.
fn rows(guarantee: &Limits, one: Amount, other: Amount) -> impl Iterator<Item = (u64, u64, u64)> {
    let rows = [
        (guarantee.cpus.map(|cpus| u64::from(cpus) * 1000), one.cpu_milli, other.cpu_milli),
        (guarantee.memory.map(|memory| memory.0), one.memory, other.memory),
        (guarantee.devices.map(u64::from), one.devices, other.devices),
    ];
    rows.into_iter().filter_map(|(guaranteed, one, other)| guaranteed.map(|guaranteed| (guaranteed, one, other)))
}

/// Whether a queue that holds `held` may take `wanted` as its own. What the guarantee does not name comes with it, but for
/// the part that matters most: devices where devices are wanted, else CPUs.
pub(crate) fn covers(guarantee: &Limits, held: Amount, wanted: Amount) -> bool {
    let named = if wanted.devices > 0 { guarantee.devices.is_some() } else { guarantee.cpus.is_some() };
    named && rows(guarantee, held, wanted).all(|(guaranteed, held, wanted)| wanted == 0 || held.saturating_add(wanted) <= guaranteed)
}

/// Whether a queue that holds `held` still has what it is guaranteed when `gone` goes.
pub(crate) fn spares(guarantee: &Limits, held: Amount, gone: Amount) -> bool {
    rows(guarantee, held, gone).all(|(guaranteed, held, gone)| gone == 0 || held.saturating_sub(gone) >= guaranteed)
}

/// What the planner knows of evictions, carried out and new.
#[derive(Default)]
pub(crate) struct Evictions {
    pub new: Vec<Eviction>,
    /// Jobs that have a place and wait for its holders to end.
    pub claims: Vec<Claim>,
    /// By queue: held by runs that are ending, and by jobs with a claim.
    leaving: Vec<Amount>,
    claimed: Vec<Amount>,
    /// Indices of runs.
    victims: BTreeSet<usize>,
}

pub(crate) struct Claim {
    pub job: JobId,
    pub at: Time,
    pub victims: Vec<RunId>,
}

impl Claim {
    pub fn reason(&self) -> Reason {
        let blocker = Blocker::Evicting { runs: self.victims.len() as u64 };
        let held_by = self.victims.iter().take(8).copied().collect();
        Reason { blocker, held_by, change: None, until: Some(self.at), never: false }
    }
}

/// A way to make room.
struct Way {
    lost: u64,
    victims: Vec<usize>,
    at: Time,
    placed: Placed,
}

/// Work lost with a run, as far as is known: what it did since it got its grant, in CPU-milliseconds.
fn lost(run: &Running, now: Time) -> u64 {
    let milli = run.grant.cpu_milli() + run.grant.devices().count() as u64 * DEVICE_IN_CPUS * 1000;
    (now - run.since).0.saturating_mul(milli) / 1000
}

impl<'a> Planner<'a> {
    /// What evictions have cleared is started if it is free and kept if it is not.
    pub fn honour(&mut self, jobs: &[&'a Waiting], charge: &mut impl FnMut(&Ask<'a>, u64), starts: &mut Vec<Start>) {
        let queues = self.queues.names.len();
        self.evictions.leaving = vec![Amount::default(); queues];
        self.evictions.claimed = vec![Amount::default(); queues];
        let runs = self.snapshot.running.iter().zip(self.horizon.holding_now());
        for (_, occupation) in runs.filter(|(run, _)| run.stopping) {
            let leaving = &mut self.evictions.leaving[occupation.holding.queue];
            *leaving = leaving.plus(Amount::of(&occupation.holding));
        }
        for job in jobs {
            if let Some(grant) = claim_of(job, self) {
                self.keep_claim(job, grant, charge, starts);
            }
        }
    }

    fn keep_claim(&mut self, job: &'a Waiting, grant: &Grant, charge: &mut impl FnMut(&Ask<'a>, u64), starts: &mut Vec<Start>) {
        let ask = Ask::of(job, self.queues.find(&job.queue), self.policy);
        let holding = Rc::new(Holding::of_grant(grant, ask.queue, &self.ground.layouts, &self.ground.ports));
        charge(&ask, grant.memory.0);
        let runs = self.snapshot.running.iter().enumerate();
        let (victims, ending): (Vec<usize>, Vec<&Running>) =
            runs.filter(|(_, run)| run.evicted.is_some_and(|evicted| evicted.by == job.job)).unzip();
        let accepts = holding.machine.is_some_and(|index| self.ground.layouts[index].accepts);
        if ending.is_empty() && accepts && job.gates.is_empty() {
            self.horizon.start(holding, ask.span);
            return starts.push(Start { job: job.job, grant: grant.clone() });
        }
        let end = ending.iter().map(|run| planned_end(run, self.policy, self.now)).max();
        let at = end.unwrap_or(self.now).max(self.now + Span(1));
        let claimed = &mut self.evictions.claimed[ask.queue];
        *claimed = claimed.plus(Amount::of(&holding));
        self.horizon.claim(holding, &victims, at, ask.span, &self.nothing);
        if job.gates.is_empty() {
            self.evictions.claims.push(Claim { job: job.job, at, victims: ending.iter().map(|run| run.run).collect() });
        }
    }

    /// What the queue will hold when those that are ending have ended and those with a claim have started.
    fn standing(&self, queue: usize) -> Amount {
        let held = &self.horizon.current.queues[queue];
        let held = Amount { cpu_milli: held.cpu_milli, memory: held.memory, devices: held.devices };
        held.plus(self.evictions.claimed[queue]).minus(self.evictions.leaving[queue])
    }

    fn guarantee(&self, queue: usize) -> Limits {
        self.snapshot.queues.get(queue).map_or(Limits::default(), |queue| queue.queue.guarantee)
    }

    /// Makes room for a job that its queue's guarantee covers, if that starts it sooner than waiting does.
    pub fn evict(&mut self, class: usize, job: &Waiting) -> bool {
        let demand = &self.classes[class].demand;
        let queue = demand.ask.queue;
        let guarantee = self.guarantee(queue);
        // A task whose array has a ceiling may lose its turn to another one, and the eviction would be for nothing.
        let bounded = job.spec.array.as_ref().is_some_and(|array| array.at_once.is_some());
        if guarantee.is_empty() || bounded || self.classes[class].cannot_evict() || self.evictions.claims.len() >= self.policy.claims {
            return false;
        }
        let ways = (0..self.ground.layouts.len()).filter(|index| self.ground.layouts[*index].accepts);
        let ways = ways.filter(|index| {
            let ask = &demand.ask;
            let wanted = Amount { cpu_milli: ask.cpu_milli(), memory: demand.on[*index].memory, devices: ask.device_count() };
            covers(&guarantee, self.standing(queue), wanted)
        });
        let Some(way) = ways.filter_map(|index| self.way_on(index, demand)).min_by_key(|way| way.lost) else {
            self.classes[class].give_up_evicting();
            return false;
        };
        if earliest(&self.horizon, demand, &self.ground).is_some_and(|(at, _)| at <= way.at) {
            return false;
        }
        self.take_way(way, class, job.job);
        true
    }

    fn take_way(&mut self, way: Way, class: usize, job: JobId) {
        let ask = self.classes[class].demand.ask;
        let mut victims = Vec::with_capacity(way.victims.len());
        for &index in &way.victims {
            let run = &self.snapshot.running[index];
            let end = planned_end(run, self.policy, self.now).min(self.now + run.grace.max(Span(1)));
            let holding = &self.horizon.run(index).holding;
            let leaving = &mut self.evictions.leaving[holding.queue];
            *leaving = leaving.plus(Amount::of(holding));
            self.horizon.ends_at(index, end);
            self.evictions.victims.insert(index);
            victims.push(run.run);
        }
        let layout = &self.ground.layouts[way.placed.holding.machine.unwrap_or(0)];
        let grant = way.placed.grant(&ask, layout, &self.ground.ports);
        let claimed = &mut self.evictions.claimed[ask.queue];
        *claimed = claimed.plus(Amount::of(&way.placed.holding));
        self.horizon.claim(Rc::new(way.placed.holding), &way.victims, way.at, ask.span, &self.nothing);
        self.evictions.claims.push(Claim { job, at: way.at, victims: victims.clone() });
        self.evictions.new.push(Eviction { job, grant, victims });
    }

    /// Runs that may be evicted on a machine for a job of `queue`, least lost work first.
    fn candidates(&self, machine: usize, queue: usize) -> Vec<usize> {
        let mut found: Vec<(u64, usize)> = Vec::new();
        for (index, run) in self.snapshot.running.iter().enumerate() {
            let holding = &self.horizon.run(index).holding;
            let elsewhere = holding.machine != Some(machine) || holding.queue == queue;
            let young = run.since + self.policy.shortest_run > self.now;
            if !elsewhere && !young && !run.stopping && run.evicted.is_none() && !self.evictions.victims.contains(&index) {
                found.push((lost(run, self.now), index));
            }
        }
        found.sort_unstable();
        found.into_iter().take(MOST_CANDIDATES).map(|(_, index)| index).collect()
    }

    fn way_on(&self, machine: usize, demand: &Demand) -> Option<Way> {
        let candidates = self.candidates(machine, demand.ask.queue);
        let grace = candidates.iter().map(|index| self.snapshot.running[*index].grace).max()?;
        // Long enough to cover the time until the last has ended.
        let span = Span(demand.ask.span.0.saturating_add(grace.0));
        let limits = &self.ground.limits[demand.ask.queue];
        let fits = |without: &[usize]| {
            let peak = self.horizon.peak_without(span, without);
            let able = demand.fits(machine, &self.ground.layouts[machine], &peak.machines[machine])
                && demand.within_limits(machine, limits, &peak.queues[demand.ask.queue]);
            able.then_some(peak)
        };
        let mut victims: Vec<usize> = Vec::new();
        for index in candidates {
            let holding = &self.horizon.run(index).holding;
            let mine = victims.iter().map(|other| &self.horizon.run(*other).holding).filter(|other| other.queue == holding.queue);
            let gone = mine.fold(Amount::of(holding), |sum, other| sum.plus(Amount::of(other)));
            if !spares(&self.guarantee(holding.queue), self.standing(holding.queue), gone) {
                continue;
            }
            victims.push(index);
            if fits(&victims).is_some() {
                break;
            }
        }
        fits(&victims)?;
        // Dearest first: whoever turns out not to be needed stays.
        for index in victims.clone().into_iter().rev() {
            let fewer: Vec<usize> = victims.iter().copied().filter(|other| *other != index).collect();
            if fits(&fewer).is_some() {
                victims = fewer;
            }
        }
        let peak = fits(&victims).filter(|_| !victims.is_empty())?;
        let runs = || victims.iter().map(|index| &self.snapshot.running[*index]);
        let at = self.now + runs().map(|run| run.grace).max().unwrap_or_default().max(Span(1));
        let placed = place(demand, machine, &self.ground.layouts[machine], &peak.machines[machine]);
        Some(Way { lost: runs().map(|run| lost(run, self.now)).fold(0, u64::saturating_add), victims, at, placed })
    }
}

/// The claim of a job, while its machine is known.
pub(crate) fn claim_of<'a>(job: &'a Waiting, planner: &Planner) -> Option<&'a Grant> {
    job.claim.as_ref().filter(|grant| planner.snapshot.machines.iter().any(|known| known.machine.id == grant.machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(cpus: u64, devices: u64) -> Amount {
        Amount { cpu_milli: cpus * 1000, memory: 0, devices }
    }

    #[test]
    fn a_guarantee_covers_what_it_names_and_what_comes_with_it() {
        let devices = Limits { devices: Some(4), ..Limits::default() };
        let both = Limits { devices: Some(4), cpus: Some(8), ..Limits::default() };
        // Guarantee, held, wanted, covered.
        let rows = [
            (devices, amount(0, 3), amount(64, 1), true),
            (devices, amount(0, 4), amount(1, 1), false),
            (devices, amount(0, 0), amount(1, 0), false),
            (both, amount(4, 0), amount(4, 4), true),
            (both, amount(5, 0), amount(4, 4), false),
            (both, amount(0, 9), amount(8, 0), true),
            (Limits::default(), amount(0, 0), amount(1, 0), false),
        ];
        for (guarantee, held, wanted, covered) in rows {
            assert_eq!(covers(&guarantee, held, wanted), covered, "{guarantee:?} {held:?} {wanted:?}");
        }
    }

    #[test]
    fn a_queue_spares_only_what_is_beyond_its_guarantee() {
        let devices = Limits { devices: Some(4), ..Limits::default() };
        let rows = [
            (devices, amount(0, 6), amount(9, 2), true),
            (devices, amount(0, 6), amount(9, 3), false),
            (devices, amount(50, 2), amount(50, 0), true),
            (Limits::default(), amount(1, 1), amount(1, 1), true),
        ];
        for (guarantee, held, gone, spared) in rows {
            assert_eq!(spares(&guarantee, held, gone), spared, "{guarantee:?} {held:?} {gone:?}");
        }
    }
}
