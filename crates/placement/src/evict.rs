//! Which runs end so that a job gets what its queue is guaranteed, or what its priority lets it take.
//!
//! By guarantee: look at the two queues, of one parent, under which the job and the run are. The job's may take what
//! keeps it within its guarantee, and the run's, with everything below it on the way to the run, gives only what it has
//! beyond its own. So what is evicted can never evict in return, and nobody is pushed below what is theirs. By
//! priority: where the operator lets it ([`spec::Queue::evict_by_priority`]), a run of lower priority; the queues between
//! it and the common one keep what they are guaranteed there too.
//!
//! The nearest queues give first (borrowing ends among siblings before it ends among strangers), then the lowest
//! priority, then the least lost work. The job's place is verified before anybody is told to end, and is its own from
//! then on (a *claim*).

use crate::demand::{Ask, Demand, planned_span};
use crate::held::Holding;
use crate::horizon::earliest;
use crate::place::{Placed, place};
use crate::planner::{Planner, planned_end};
use crate::resize::Smaller;
use crate::tree::Tree;
use crate::{Blocker, Eviction, Reason, Resize, Running, Start, Waiting};
use machine::Grant;
use spec::{JobId, Limits, RunId, Span, Time};
use std::collections::{BTreeMap, BTreeSet};
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
    /// Thousandths of a device.
    pub devices: u64,
}

impl Amount {
    pub fn of(holding: &Holding) -> Amount {
        Amount { cpu_milli: holding.cpu_milli, memory: holding.memory, devices: holding.device_milli }
    }

    pub fn wanted(demand: &Demand, machine: usize) -> Amount {
        let ask = &demand.ask;
        Amount { cpu_milli: ask.cpu_milli(), memory: demand.on[machine].memory, devices: demand.on[machine].device_milli }
    }

    pub fn plus(self, other: Amount) -> Amount {
        Amount {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory: self.memory.saturating_add(other.memory),
            devices: self.devices.saturating_add(other.devices),
        }
    }

    pub fn minus(self, other: Amount) -> Amount {
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
        (guarantee.devices.map(|devices| u64::from(devices) * 1000), one.devices, other.devices),
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

/// Whether a queue that holds `held` still has what it is guaranteed when `gone` goes and `gained` comes, but for what is exchanged: less of
/// it for some of the same, as when a gang goes for a smaller job.
fn exchanges(guarantee: &Limits, held: Amount, gone: Amount, gained: Amount) -> bool {
    let after = rows(guarantee, held.plus(gained).minus(gone), gained);
    after.zip(rows(guarantee, gone, gone)).all(|((guaranteed, after, gained), (_, gone, _))| gone == 0 || gained > 0 || after >= guaranteed)
}

/// What the queues lose, as runs are chosen for a job one after the other.
pub(crate) struct Losses {
    gone: BTreeMap<usize, Amount>,
    wanted: Amount,
}

impl Losses {
    pub fn for_job(wanted: Amount) -> Losses {
        Losses { gone: BTreeMap::new(), wanted }
    }

    /// Books the loss if every queue keeps what it is guaranteed: those that only give, and, with the job in them, those above both. If
    /// evicting for one job could take from a queue above what evicting for another gives it, evictions would go round.
    pub fn book(&mut self, relation: (&[usize], &[usize]), amount: Amount, planner: &Planner) -> bool {
        let (gives, above) = relation;
        let after = |queue: &usize| self.gone.get(queue).copied().unwrap_or_default().plus(amount);
        let guarantee = |queue: &usize| &planner.ground.tree.guarantees[*queue];
        let fair = gives.iter().all(|queue| spares(guarantee(queue), planner.standing(*queue), after(queue)))
            && above.iter().all(|queue| exchanges(guarantee(queue), planner.standing(*queue), after(queue), self.wanted));
        if fair {
            for queue in gives.iter().chain(above) {
                let before = self.gone.entry(*queue).or_default();
                *before = before.plus(amount);
            }
        }
        fair
    }
}

/// What the planner knows of evictions, carried out and new.
#[derive(Default)]
pub(crate) struct Evictions {
    pub new: Vec<Eviction>,
    /// Runs that go on with other ranks.
    pub resizes: Vec<Resize>,
    /// Jobs that have a place and wait for its holders to end.
    pub claims: Vec<Claim>,
    /// By queue, each with all below it: held by runs that are ending, and by jobs with a claim.
    leaving: Vec<Amount>,
    claimed: Vec<Amount>,
    /// Indices of runs.
    victims: BTreeSet<usize>,
}

impl Evictions {
    pub fn is_victim(&self, index: usize) -> bool {
        self.victims.contains(&index)
    }

    pub fn adds_victim(&mut self, index: usize) {
        self.victims.insert(index);
    }
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

/// Adds a holding to the sums of its queue and of those above it.
fn add(sums: &mut [Amount], tree: &Tree, holding: &Holding) {
    tree.path(holding.queue).for_each(|queue| sums[queue] = sums[queue].plus(Amount::of(holding)));
}

/// How a waiting job stands to the runs of one queue.
pub(crate) struct Relation {
    /// How far up the first queue is that is above both.
    pub distance: usize,
    pub by_guarantee: bool,
    /// Runs of lower priority may be evicted.
    pub by_priority: bool,
    /// Queues that lose what a run of that queue holds, and keep their guarantees.
    pub gives: Rc<[usize]>,
    /// Queues that are above both.
    pub above: Rc<[usize]>,
}

/// A run that may be evicted. Sorts as they go.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    distance: usize,
    priority: i32,
    lost: u64,
    /// Of the run.
    index: usize,
    gives: Rc<[usize]>,
    above: Rc<[usize]>,
}

/// A way to make room.
pub(crate) struct Way {
    pub lost: u64,
    pub victims: Vec<usize>,
    /// Those of them that go on with fewer ranks.
    pub smaller: Vec<Smaller>,
    pub at: Time,
    /// Waiting until then is as good.
    pub worth_before: Time,
    pub placed: Placed,
}

/// What a run holds, in thousandths of a CPU.
pub(crate) fn in_cpus(run: &Running) -> u64 {
    run.grant.cpu_milli() + run.grant.device_milli() * DEVICE_IN_CPUS
}

/// Work lost with a run, as far as is known: what it did since it got its grant, in CPU-milliseconds.
fn lost(run: &Running, now: Time) -> u64 {
    (now - run.since).0.saturating_mul(in_cpus(run)) / 1000
}

impl<'a> Planner<'a> {
    /// What evictions have cleared is started if it is free and kept if it is not.
    pub fn honour(&mut self, jobs: &[&'a Waiting], charge: &mut impl FnMut(&Ask<'a>, &Grant), starts: &mut Vec<Start>) {
        let queues = self.queues.names.len();
        self.evictions.leaving = vec![Amount::default(); queues];
        self.evictions.claimed = vec![Amount::default(); queues];
        let runs = self.snapshot.running.iter().zip(self.horizon.holding_now());
        for (_, occupation) in runs.filter(|(run, _)| run.stopping) {
            add(&mut self.evictions.leaving, &self.ground.tree, &occupation.holding);
        }
        let mut kept = BTreeSet::new();
        for job in jobs {
            if let Some(grant) = claim_of(job, self) {
                self.keep_claim(job, grant, charge, starts, &mut kept);
            }
        }
        // Runs that go on with more ranks, or with fewer for a job that is there no more.
        for index in (0..self.snapshot.running.len()).filter(|index| !kept.contains(index)) {
            let next: Vec<_> = self.next_of(&[index]);
            if !next.is_empty() {
                let at = planned_end(&self.snapshot.running[index], self.policy, self.now).max(self.now + Span(1));
                self.horizon.claim(&next, &[index], at, &self.nothing);
            }
        }
    }

    /// The places in which the jobs of runs go on when those have ended, booked as claimed.
    fn next_of(&mut self, ending: &[usize]) -> Vec<(Rc<Holding>, Span)> {
        let mut places = Vec::new();
        for index in ending {
            let run: &'a Running = &self.snapshot.running[*index];
            let Some((elastic, next)) = run.elastic.as_ref().and_then(|elastic| Some((elastic, elastic.next.as_ref()?))) else { continue };
            let queue = self.horizon.run(*index).holding.queue;
            let holding = Rc::new(Holding::of_grant(next, queue, &self.ground.layouts, &self.ground.ports));
            if holding.machine.is_some() {
                add(&mut self.evictions.claimed, &self.ground.tree, &holding);
                places.push((holding, planned_span(&elastic.spec, self.policy)));
            }
        }
        places
    }

    fn keep_claim(
        &mut self,
        job: &'a Waiting,
        grant: &Grant,
        charge: &mut impl FnMut(&Ask<'a>, &Grant),
        starts: &mut Vec<Start>,
        kept: &mut BTreeSet<usize>,
    ) {
        let ranks = u32::try_from(grant.ranks.len()).unwrap_or(u32::MAX);
        let ask = Ask::sized(&job.spec, ranks, self.queues.find(&job.queue), self.policy);
        let holding = Rc::new(Holding::of_grant(grant, ask.queue, &self.ground.layouts, &self.ground.ports));
        charge(&ask, grant);
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
        add(&mut self.evictions.claimed, &self.ground.tree, &holding);
        kept.extend(&victims);
        let mut places = self.next_of(&victims);
        places.push((holding, ask.span));
        self.horizon.claim(&places, &victims, at, &self.nothing);
        if job.gates.is_empty() {
            self.evictions.claims.push(Claim { job: job.job, at, victims: ending.iter().map(|run| run.run).collect() });
        }
    }

    /// What the queue, with all below it, will hold when those that are ending have ended and those with a claim
    /// have started.
    pub fn standing(&self, queue: usize) -> Amount {
        let held = &self.horizon.current.queues[queue];
        let held = Amount { cpu_milli: held.cpu_milli, memory: held.memory, devices: held.devices };
        held.plus(self.evictions.claimed[queue]).minus(self.evictions.leaving[queue])
    }

    /// Makes room for a job that a guarantee covers or that its priority entitles, if that starts it sooner than
    /// waiting does.
    pub fn evict(&mut self, class: usize, job: &Waiting) -> bool {
        let demand = &self.classes[class].demand;
        let tree = &self.ground.tree;
        let entitled = |queue: usize| !tree.guarantees[queue].is_empty() || tree.by_priority[queue];
        // A task whose array has a ceiling may lose its turn to another one, and the eviction would be for nothing.
        let bounded = job.spec.array.as_ref().is_some_and(|array| array.at_once.is_some());
        let priority = job.spec.priority;
        let may_evict = tree.path(demand.ask.queue).any(entitled);
        let nobody = !may_evict && !self.snapshot.running.iter().any(|run| run.elastic.is_some());
        if bounded || nobody || self.evictions.claims.len() >= self.policy.claims || self.classes[class].cannot_evict(priority) {
            return false;
        }
        let machines = || (0..self.ground.layouts.len()).filter(|index| self.ground.layouts[*index].accepts);
        let mut ways: Vec<Way> = machines().filter_map(|index| self.way_by_shrinking(index, demand, priority)).collect();
        ways.extend(machines().filter(|_| may_evict).filter_map(|index| self.way_on(index, demand, priority)));
        if ways.is_empty() {
            self.classes[class].give_up_evicting(priority);
            return false;
        }
        let waiting = earliest(&self.horizon, demand, &self.ground).map(|(at, _)| at);
        ways.retain(|way| waiting.is_none_or(|at| at > way.worth_before));
        let Some(way) = ways.into_iter().min_by_key(|way| way.lost) else { return false };
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
            add(&mut self.evictions.leaving, &self.ground.tree, holding);
            self.horizon.ends_at(index, end);
            self.evictions.victims.insert(index);
            victims.push(run.run);
        }
        let layout = &self.ground.layouts[way.placed.holding.machine.unwrap_or(0)];
        let grant = way.placed.grant(&ask, layout, &self.ground.ports);
        add(&mut self.evictions.claimed, &self.ground.tree, &way.placed.holding);
        let mut places = Vec::with_capacity(way.smaller.len() + 1);
        for Smaller { index, grant, holding, span } in way.smaller {
            add(&mut self.evictions.claimed, &self.ground.tree, &holding);
            places.push((holding, self.now + span - way.at));
            self.evictions.resizes.push(Resize { run: self.snapshot.running[index].run, grant });
        }
        places.push((Rc::new(way.placed.holding), ask.span));
        self.horizon.claim(&places, &way.victims, way.at, &self.nothing);
        self.evictions.claims.push(Claim { job, at: way.at, victims: victims.clone() });
        self.evictions.new.push(Eviction { job, grant, victims });
    }

    /// How a job of `queue` that wants this much stands to the runs of another queue.
    pub(crate) fn relation(&self, queue: usize, other: usize, wanted: Amount) -> Relation {
        let tree = &self.ground.tree;
        let meeting = tree.meeting(queue, other);
        let covered = |mine: usize| covers(&tree.guarantees[mine], self.standing(mine), wanted);
        Relation {
            distance: meeting.distance,
            by_guarantee: meeting.theirs.is_some() && meeting.mine.is_some_and(covered),
            by_priority: meeting.at.is_some_and(|at| tree.path(at).any(|queue| tree.by_priority[queue])),
            gives: tree.path(other).take_while(|place| Some(*place) != meeting.at).collect(),
            above: meeting.at.map(|at| tree.path(at).collect()).unwrap_or_default(),
        }
    }

    /// Runs that may be evicted on a machine for the job, in the order in which they would go.
    fn candidates(&self, machine: usize, demand: &Demand, priority: i32) -> Vec<Candidate> {
        let queue = demand.ask.queue;
        let wanted = Amount::wanted(demand, machine);
        let mut relations: BTreeMap<usize, Relation> = BTreeMap::new();
        let mut found: Vec<Candidate> = Vec::new();
        for (index, run) in self.snapshot.running.iter().enumerate() {
            let holding = &self.horizon.run(index).holding;
            let young = run.since + self.policy.shortest_run > self.now;
            if holding.machine != Some(machine) || young || run.stopping || run.evicted.is_some() || self.evictions.victims.contains(&index)
            {
                continue;
            }
            let relation = relations.entry(holding.queue).or_insert_with(|| self.relation(queue, holding.queue, wanted));
            if relation.by_guarantee || (relation.by_priority && run.priority < priority) {
                let (distance, priority, lost) = (relation.distance, run.priority, lost(run, self.now));
                found.push(Candidate { distance, priority, lost, index, gives: relation.gives.clone(), above: relation.above.clone() });
            }
        }
        found.sort_unstable();
        found.truncate(MOST_CANDIDATES);
        found
    }

    fn way_on(&self, machine: usize, demand: &Demand, priority: i32) -> Option<Way> {
        let candidates = self.candidates(machine, demand, priority);
        let grace = candidates.iter().map(|candidate| self.snapshot.running[candidate.index].grace).max()?;
        // Long enough to cover the time until the last has ended.
        let span = Span(demand.ask.span.0.saturating_add(grace.0));
        let fits = |without: &[usize]| {
            let peak = self.horizon.peak_without(span, without);
            let able = demand.fits(machine, &self.ground.layouts[machine], &peak.machines[machine])
                && self.ground.tree.lets(demand, machine, &peak.queues);
            able.then_some(peak)
        };
        let mut victims: Vec<usize> = Vec::new();
        let mut losses = Losses::for_job(Amount::wanted(demand, machine));
        for Candidate { index, gives, above, .. } in candidates {
            if !losses.book((&gives, &above), Amount::of(&self.horizon.run(index).holding), self) {
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
        let lost = runs().map(|run| lost(run, self.now)).fold(0, u64::saturating_add);
        Some(Way { lost, victims, smaller: Vec::new(), at, worth_before: at, placed })
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
        Amount { cpu_milli: cpus * 1000, memory: 0, devices: devices * 1000 }
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
