//! Elastic jobs that run already: smaller where somebody waits, larger where room stays free.
//!
//! What a job holds beyond its fewest ranks is lent to it: nobody else could use it when it was given. So it gives it
//! back to a job of its own queue that ranks no lower, to a job of a queue that even then holds no more for its weight,
//! and to whoever may evict it. It is asked to save its work, ends, and goes on with fewer ranks in a part of the place that it
//! had. Where room stays free and nobody waits for it, it goes on with more in the same way. Each of the places is verified
//! in this plan and kept from then on (a *claim*), as those of evictions are.
//!
//! A restart costs the time to save and to start again. So a run is left alone for its first minutes, grows only after ten times what
//! that costs and if it wins back twice of it, and shrinks only if the other job would wait longer for it otherwise.

use crate::demand::{Ask, Demand};
use crate::evict::{Amount, Losses, Relation, Way};
use crate::held::{Held, Holding};
use crate::place::place;
use crate::planner::{Planner, planned_end};
use crate::{Policy, Resize, Running};
use machine::{Bytes, DeviceId, Grant};
use spec::{JobSpec, Span, Time};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Runs of one machine that are looked at for one job.
const MOST_LENDERS: usize = 64;
/// A run grows when it has held its grant for so many times what a restart costs.
const RESTARTS_APART: u64 = 10;
/// And if the time won is so many times what the restart costs.
const WORTH: u64 = 2;

/// Time that a restart at another size costs: to save the work, at most, and to start again.
pub(crate) fn restart_cost(run: &Running, policy: &Policy) -> Span {
    Span(run.grace.0.saturating_add(policy.restart.0))
}

/// How long a run is left alone before it is restarted with more ranks.
pub(crate) fn settles_for(run: &Running, policy: &Policy) -> Span {
    policy.shortest_run.max(Span(restart_cost(run, policy).0.saturating_mul(RESTARTS_APART)))
}

/// The place of a run that goes on with other ranks.
#[derive(Clone)]
pub(crate) struct Smaller {
    /// Of the run.
    pub index: usize,
    pub grant: Grant,
    pub holding: Rc<Holding>,
    /// From now until its planned end.
    pub span: Span,
}

/// A run that may give back what it was lent. Sorts as they do.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Lender {
    distance: usize,
    priority: i32,
    lost: u64,
    index: usize,
    gives: Rc<[usize]>,
    above: Rc<[usize]>,
}

impl<'a> Planner<'a> {
    /// The job of a run that may be restarted at another size by now.
    fn resizable(&self, index: usize) -> Option<&'a JobSpec> {
        let run: &'a Running = &self.snapshot.running[index];
        let spec = &*run.elastic.as_ref()?.spec;
        let settled = run.since + self.policy.shortest_run <= self.now;
        let stays = !run.stopping && run.evicted.is_none() && !self.evictions.is_victim(index);
        (settled && stays && spec.is_resizable()).then_some(spec)
    }

    /// The run at fewer ranks: the first of those whose devices are well, in their places.
    fn smaller(&self, index: usize, ranks: u32) -> Option<Smaller> {
        let run = &self.snapshot.running[index];
        let holding = &self.horizon.run(index).holding;
        let machine = holding.machine?;
        let ask = Ask::sized(&run.elastic.as_ref()?.spec, ranks, holding.queue, self.policy);
        let demand = Demand::new(ask, &self.ground.layouts);
        let need = &demand.on[machine];
        let mut grant = run.grant.clone();
        let hardware = &self.ground.layouts[machine].machine.devices;
        let well = |id: &DeviceId| hardware.iter().any(|device| device.id == *id && device.health.is_ready());
        grant.ranks.retain(|rank| rank.devices.iter().all(well));
        grant.ranks.truncate(ranks as usize);
        if grant.ranks.len() < ranks as usize {
            return None;
        }
        (grant.memory, grant.shm) = (Bytes(need.memory), Bytes(need.shm));
        grant.ports = grant.ports.filter(|_| ask.ports());
        let holding = Rc::new(Holding::of_grant(&grant, holding.queue, &self.ground.layouts, &self.ground.ports));
        Some(Smaller { index, grant, holding, span: Span(ask.span.0.saturating_add(run.grace.0)) })
    }

    /// Whether a run gives back what it was lent to a job of `queue` that wants this much.
    fn lends(&self, queue: usize, priority: i32, other: usize, run: &Running, wanted: Amount) -> bool {
        let meeting = self.ground.tree.meeting(queue, other);
        match (meeting.mine, meeting.theirs) {
            (Some(mine), Some(theirs)) => self.share(mine, self.standing(mine).plus(wanted)) <= self.share(theirs, self.standing(theirs)),
            _ => queue == other && run.priority <= priority,
        }
    }

    /// The largest of a queue's parts in CPUs, memory and devices, for its weight: in millionths of millionths.
    fn share(&self, queue: usize, held: Amount) -> u128 {
        let mut totals = Amount::default();
        for layout in &self.ground.layouts {
            let ready = layout.machine.devices.iter().filter(|device| device.health.is_ready()).count() as u64 * 1000;
            let here = Amount { cpu_milli: layout.machine.cpus.len() as u64 * 1000, memory: layout.machine.memory.0, devices: ready };
            totals = totals.plus(here);
        }
        let part = |held: u64, total: u64| (u128::from(held) * 1_000_000_000_000).checked_div(u128::from(total)).unwrap_or(0);
        let largest = part(held.cpu_milli, totals.cpu_milli).max(part(held.memory, totals.memory)).max(part(held.devices, totals.devices));
        let weight = self.snapshot.queues.get(queue).map_or(1, |row| row.queue.weight);
        largest / u128::from(weight.max(1))
    }

    fn lenders(&self, machine: usize, demand: &Demand, priority: i32) -> Vec<Lender> {
        let ask = &demand.ask;
        let wanted = Amount::wanted(demand, machine);
        let mut relations: BTreeMap<usize, Relation> = BTreeMap::new();
        let mut found = Vec::new();
        for (index, run) in self.snapshot.running.iter().enumerate() {
            let holding = &self.horizon.run(index).holding;
            let Some(spec) = self.resizable(index).filter(|_| holding.machine == Some(machine)) else { continue };
            if run.grant.ranks.len() <= spec.least_ranks() as usize {
                continue;
            }
            let relation = relations.entry(holding.queue).or_insert_with(|| self.relation(ask.queue, holding.queue, wanted));
            let may_evict = relation.by_guarantee || (relation.by_priority && run.priority < priority);
            if may_evict || self.lends(ask.queue, priority, holding.queue, run, wanted) {
                let cost = restart_cost(run, self.policy).min(self.now - run.since);
                let lost = crate::evict::in_cpus(run).saturating_mul(cost.0) / 1000;
                let (distance, gives, above) = (relation.distance, relation.gives.clone(), relation.above.clone());
                found.push(Lender { distance, priority: run.priority, lost, index, gives, above });
            }
        }
        found.sort_unstable();
        found.truncate(MOST_LENDERS);
        found
    }

    /// How the job could start on the machine if runs went on with fewer ranks.
    pub(crate) fn way_by_shrinking(&self, machine: usize, demand: &Demand, priority: i32) -> Option<Way> {
        let lenders = self.lenders(machine, demand, priority);
        let grace = lenders.iter().map(|lender| self.snapshot.running[lender.index].grace).max()?;
        let span = Span(demand.ask.span.0.saturating_add(grace.0));
        let fits = |chosen: &[Smaller]| -> Option<Held> {
            let without: Vec<usize> = chosen.iter().map(|smaller| smaller.index).collect();
            let mut peak = self.horizon.peak_without(span, &without);
            chosen.iter().for_each(|smaller| peak.take(&smaller.holding));
            // Those that go on begin anew, and may be there when a promise begins that counted on their end.
            let places: Vec<&Holding> = chosen.iter().map(|smaller| &*smaller.holding).collect();
            let able = demand.fits(machine, &self.ground.layouts[machine], &peak.machines[machine])
                && self.ground.tree.lets(demand, machine, &peak.queues)
                && self.horizon.admits(&places, &without, self.now + chosen.iter().map(|smaller| smaller.span).max()?, &self.ground);
            able.then_some(peak)
        };
        let mut chosen = self.enough_lenders(&lenders, Amount::wanted(demand, machine), |chosen| fits(chosen).is_some())?;
        // Dearest first: whoever turns out not to be needed stays as it is, and the others stay as large as may be.
        for place in (0..chosen.len()).rev() {
            let Smaller { index, .. } = chosen[place];
            let mut fewer = chosen.clone();
            fewer.remove(place);
            if !fewer.is_empty() && fits(&fewer).is_some() {
                chosen = fewer;
                continue;
            }
            let now = self.snapshot.running[index].grant.ranks.len();
            let sizes = self.resizable(index)?.sizes();
            let larger = sizes.iter().rev().filter(|size| (**size as usize) < now);
            let works = |size: &u32| {
                let mut other = chosen.clone();
                other[place] = self.smaller(index, *size)?;
                fits(&other).map(|_| other)
            };
            chosen = larger.filter_map(works).next().unwrap_or(chosen);
        }
        let peak = fits(&chosen)?;
        let runs = || chosen.iter().map(|smaller| &self.snapshot.running[smaller.index]);
        let at = self.now + runs().map(|run| run.grace).max().unwrap_or_default().max(Span(1));
        let lost = lenders.iter().filter(|lender| chosen.iter().any(|smaller| smaller.index == lender.index));
        let placed = place(demand, machine, &self.ground.layouts[machine], &peak.machines[machine]);
        Some(Way {
            lost: lost.map(|lender| lender.lost).fold(0, u64::saturating_add),
            victims: chosen.iter().map(|smaller| smaller.index).collect(),
            // A start that comes hardly sooner is not worth a restart.
            worth_before: at + runs().map(|run| restart_cost(run, self.policy)).max().unwrap_or_default(),
            smaller: chosen,
            at,
            placed,
        })
    }

    /// The first lenders that make room together, each at its fewest ranks, whose queues keep what they are guaranteed.
    fn enough_lenders(&self, lenders: &[Lender], wanted: Amount, fits: impl Fn(&[Smaller]) -> bool) -> Option<Vec<Smaller>> {
        let mut chosen: Vec<Smaller> = Vec::new();
        let mut losses = Losses::for_job(wanted);
        for Lender { index, gives, above, .. } in lenders {
            let smaller = self.smaller(*index, self.resizable(*index)?.least_ranks())?;
            let amount = Amount::of(&self.horizon.run(*index).holding).minus(Amount::of(&smaller.holding));
            if !losses.book((gives, above), amount, self) {
                continue;
            }
            chosen.push(smaller);
            if fits(&chosen) {
                return Some(chosen);
            }
        }
        None
    }

    /// Restarts runs with more ranks where room stays free. To be asked only when nobody waits for that room.
    pub(crate) fn grow_running(&mut self, resizes: &mut Vec<Resize>) {
        let mut able: Vec<usize> = (0..self.snapshot.running.len()).filter(|index| self.may_grow(*index)).collect();
        able.sort_by_key(|index| {
            let run = &self.snapshot.running[*index];
            (run.grant.ranks.len(), Reverse(run.priority), run.since, run.run)
        });
        for (index, target) in self.even_sizes(&able) {
            let Some(spec) = self.resizable(index) else { continue };
            let run = &self.snapshot.running[index];
            let (now, queue) = (run.grant.ranks.len() as u32, self.horizon.run(index).holding.queue);
            let sizes = spec.sizes().iter().rev().copied().filter(|size| (now + 1..=target).contains(size));
            let larger = sizes.filter(|size| self.pays(run, now, *size)).find_map(|size| {
                let demand = Demand::new(Ask::sized(spec, size, queue, self.policy), &self.ground.layouts);
                let machine = self.horizon.run(index).holding.machine?;
                let span = Span(demand.ask.span.0.saturating_add(run.grace.0));
                let peak = self.horizon.peak_without(span, &[index]);
                let layout = &self.ground.layouts[machine];
                let able = layout.accepts
                    && demand.fits(machine, layout, &peak.machines[machine])
                    && self.ground.tree.lets(&demand, machine, &peak.queues);
                able.then(|| (place(&demand, machine, layout, &peak.machines[machine]), demand.ask, machine))
            });
            let Some((placed, ask, machine)) = larger else { continue };
            let grant = placed.grant(&ask, &self.ground.layouts[machine], &self.ground.ports);
            let end = planned_end(run, self.policy, self.now).min(self.now + run.grace.max(Span(1)));
            self.horizon.ends_at(index, end);
            self.evictions.adds_victim(index);
            self.horizon.claim(&[(Rc::new(placed.holding), ask.span)], &[index], end, &self.nothing);
            resizes.push(Resize { run: run.run, grant });
        }
    }

    fn may_grow(&self, index: usize) -> bool {
        let run = &self.snapshot.running[index];
        let room = self.resizable(index).is_some_and(|spec| run.grant.ranks.len() < spec.ranks as usize);
        room && run.since + settles_for(run, self.policy) <= self.now
    }

    /// The sizes that the runs would have if they took turns with what is free: each its next one before one of them the
    /// one after that.
    fn even_sizes(&self, able: &[usize]) -> Vec<(usize, u32)> {
        let mut held = self.horizon.peak(Span(u64::MAX)).clone();
        let mut growing: Vec<(usize, usize, Rc<Holding>)> = Vec::new();
        for index in able {
            let (run, holding) = (&self.snapshot.running[*index], &self.horizon.run(*index).holding);
            let level =
                self.resizable(*index).and_then(|spec| spec.sizes().iter().rposition(|size| *size as usize <= run.grant.ranks.len()));
            growing.extend(level.map(|level| (*index, level, holding.clone())));
        }
        let mut open: Vec<bool> = vec![true; growing.len()];
        while open.contains(&true) {
            for ((index, level, holding), open) in growing.iter_mut().zip(&mut open).filter(|(_, open)| **open) {
                *open = false;
                let (Some(spec), Some(machine)) = (self.resizable(*index), holding.machine) else { continue };
                let Some(next) = spec.sizes().get(*level + 1) else { continue };
                let demand = Demand::new(Ask::sized(spec, *next, holding.queue, self.policy), &self.ground.layouts);
                held.release(holding);
                let layout = &self.ground.layouts[machine];
                if demand.fits(machine, layout, &held.machines[machine]) && self.ground.tree.lets(&demand, machine, &held.queues) {
                    *holding = Rc::new(place(&demand, machine, layout, &held.machines[machine]).holding);
                    (*level, *open) = (*level + 1, true);
                }
                held.take(holding);
            }
        }
        let size = |index: usize, level: usize| self.resizable(index).and_then(|spec| spec.sizes().get(level).copied());
        growing.iter().filter_map(|(index, level, _)| Some((*index, size(*index, *level)?))).collect()
    }

    /// Whether more ranks win back the restart: with speed in proportion to the ranks, since nothing is known of it here, and where the
    /// job does not say how long it takes, as much left to do as was done.
    fn pays(&self, run: &Running, now: u32, then: u32) -> bool {
        let left = match run.expected_end {
            Some(end) => end - self.now,
            None => self.now - run.since,
        };
        let won = left.0.saturating_mul(u64::from(then - now)) / u64::from(then.max(1));
        won >= restart_cost(run, self.policy).0.saturating_mul(WORTH)
    }
}

/// When [`Planner::grow_running`] and shrinking may look at a run for the first time, if later than now.
pub fn next_resizable(running: &[Running], policy: &Policy, now: Time) -> Option<Time> {
    let young =
        running.iter().filter(|run| run.elastic.as_ref().is_some_and(|elastic| elastic.spec.is_resizable()) && run.evicted.is_none());
    young.flat_map(|run| [run.since + policy.shortest_run, run.since + settles_for(run, policy)]).filter(|at| *at > now).min()
}
