//! The decision, in fixed stages: order, start or promise, foresee, explain.

use crate::demand::{Ask, Demand};
use crate::evict::Evictions;
use crate::explain::Explainer;
use crate::held::{Held, Holding, PortPlan};
use crate::horizon::{Ground, Horizon, Occupation, Walk, earliest};
use crate::layout::Layout;
use crate::order::{Order, Portion, Ticket, Totals};
use crate::tree::Tree;
use crate::{Blocker, Gate, Plan, Policy, Reason, Reservation, Running, Snapshot, Start, Waiting, WhatIf};
use spec::{JobId, Span, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Foreseen starts stop here: further ahead a guess is worth nothing.
const FARTHEST_STEPS: usize = 4096;

/// Decides everything about one snapshot. Pure: equal arguments give equal plans.
pub fn plan(snapshot: &Snapshot, policy: &Policy, now: Time) -> Plan {
    let jobs: Vec<&Waiting> = snapshot.waiting.iter().collect();
    decide(snapshot, policy, now, &jobs, &Scope { explain: policy.explained, foresee: policy.explained, focus: None })
}

/// What would become of `job` if it were submitted now: the same decision with one job more. A waiting job of the
/// same id is taken to be this one.
pub fn what_if(snapshot: &Snapshot, policy: &Policy, now: Time, job: Waiting) -> WhatIf {
    let mut jobs: Vec<&Waiting> = snapshot.waiting.iter().filter(|other| other.job != job.job).collect();
    jobs.push(&job);
    let scope = Scope { explain: 0, foresee: policy.explained.max(FARTHEST_STEPS), focus: Some(job.job) };
    let plan = decide(snapshot, policy, now, &jobs, &scope);
    let start = plan.starts.into_iter().find(|start| start.job == job.job).map(|start| start.grant);
    let planned = plan.reservations.iter().find(|reservation| reservation.job == job.job).map(|reservation| reservation.at);
    let reasons = plan.reasons.into_iter().find(|(id, _)| *id == job.job).map(|(_, reasons)| reasons).unwrap_or_default();
    WhatIf { planned_start: start.as_ref().map(|_| now).or(planned), start, reasons }
}

/// How far the answer goes beyond what starts now.
struct Scope {
    /// Full reasons for this many waiting jobs ...
    explain: usize,
    /// ... planned starts for this many ...
    foresee: usize,
    /// ... and both for this one.
    focus: Option<JobId>,
}

/// Interchangeable jobs, and what is known of them so far.
pub(crate) struct Class<'a> {
    pub demand: Demand<'a>,
    standing: Standing,
    /// No eviction makes room for such a job of this priority or less; not asked again during a decision.
    hopeless: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not tried yet, or it fitted last time.
    Open,
    /// Did not fit. What is held only grows during a decision, so it need not be tried again.
    Full,
    /// More than any machine has or the queue may hold.
    Never,
}

/// An elastic job that starts, at which of its sizes so far, and where that is noted.
struct Elastic {
    level: usize,
    /// In the list of starts, and on the horizon.
    start: usize,
    occupation: usize,
}

/// A job that does not start, in order.
struct Waits<'a> {
    job: &'a Waiting,
    /// `None` behind everything that is worth working out.
    class: Option<usize>,
    planned: Option<Time>,
    kept: bool,
}

pub(crate) struct Planner<'a> {
    pub snapshot: &'a Snapshot,
    pub policy: &'a Policy,
    pub now: Time,
    pub ground: Ground<'a>,
    pub queues: Queues<'a>,
    pub nothing: Held,
    pub horizon: Horizon,
    pub classes: Vec<Class<'a>>,
    /// The job of each promise in force, with its time.
    pub promises: Vec<(JobId, Time, Rc<Holding>)>,
    pub evictions: Evictions,
    known: BTreeMap<Ask<'a>, usize>,
}

/// Queue names by index. A name that is no queue (any more) gets an index too, with weight 1 and no limits.
pub(crate) struct Queues<'a> {
    pub names: Vec<&'a str>,
    by_name: BTreeMap<&'a str, usize>,
    last: Option<(&'a str, usize)>,
}

impl<'a> Queues<'a> {
    fn new(snapshot: &'a Snapshot) -> Queues<'a> {
        let mut queues = Queues { names: Vec::new(), by_name: BTreeMap::new(), last: None };
        snapshot.queues.iter().for_each(|queue| {
            queues.index(&queue.queue.name);
        });
        queues
    }

    fn index(&mut self, name: &'a str) -> usize {
        // Thousands of jobs in a row name the same queue.
        if let Some((last, index)) = self.last
            && last == name
        {
            return index;
        }
        let index = *self.by_name.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        self.last = Some((name, index));
        index
    }

    /// The index of a name seen before.
    pub fn find(&self, name: &str) -> usize {
        self.by_name.get(name).copied().unwrap_or(0)
    }
}

/// When a run is planned to end. One that is overdue gets a minute, or a tenth of the time it has taken so far.
pub(crate) fn planned_end(run: &Running, policy: &Policy, now: Time) -> Time {
    let mut end = run.expected_end.unwrap_or(run.since + policy.default_expect);
    if let Some(evicted) = run.evicted {
        let saved = evicted.at + run.grace;
        if saved <= now {
            return now + Span::minutes(1);
        }
        end = if end > now { end.min(saved) } else { saved };
    }
    if end > now { end } else { now + Span((now - run.since).0 / 10).max(Span::minutes(1)) }
}

fn decide<'a>(snapshot: &'a Snapshot, policy: &'a Policy, now: Time, jobs: &[&'a Waiting], scope: &Scope) -> Plan {
    let mut queues = Queues::new(snapshot);
    let known: BTreeSet<&str> = snapshot.machines.iter().map(|known| known.machine.id.as_str()).collect();
    let has_place = |job: &Waiting| job.claim.as_ref().is_some_and(|grant| known.contains(grant.machine.as_str()));
    let mut tickets: Vec<Ticket> = Vec::with_capacity(jobs.len());
    for (index, job) in jobs.iter().enumerate().filter(|(_, job)| job.gates.is_empty() && !has_place(job)) {
        let queue = queues.index(&job.queue);
        let priority = Reverse(if now - job.submitted >= policy.starving_after { i32::MAX } else { job.spec.priority });
        let turn = |level| Ticket { queue, level, priority, submitted: job.submitted, job: job.job, index };
        tickets.extend((0..job.spec.sizes().len()).map(turn));
    }
    jobs.iter().filter(|job| has_place(job)).for_each(|job| {
        queues.index(&job.queue);
    });
    let held_by: Vec<usize> = snapshot.running.iter().map(|run| queues.index(&run.queue)).collect();
    let mut planner = Planner::new(snapshot, policy, now, queues, &held_by);
    let mut order = planner.order(tickets);
    let mut plan = Plan { based_on: snapshot.generation, at: now, ..Plan::default() };
    planner.honour(jobs, &mut |ask, grant| order.charge(ask, grant.memory.0, grant.device_milli()), &mut plan.starts);
    let mut waits = planner.assign(jobs, &mut order, scope, &mut plan.starts);
    plan.resizes = std::mem::take(&mut planner.evictions.resizes);
    if !planner.somebody_waits(jobs, &waits) {
        planner.grow_running(&mut plan.resizes);
    }
    planner.foresee(&mut waits, scope);
    let kept = waits.iter().filter(|wait| wait.kept);
    let foreseen = waits.iter().filter(|wait| !wait.kept);
    plan.reservations = kept.chain(foreseen).filter_map(|wait| wait.planned.map(|at| Reservation { job: wait.job.job, at })).collect();
    plan.reasons = planner.reasons(&waits, scope);
    for claim in &planner.evictions.claims {
        plan.reservations.push(Reservation { job: claim.job, at: claim.at });
        plan.reasons.push((claim.job, vec![claim.reason()]));
    }
    plan.evictions = std::mem::take(&mut planner.evictions.new);
    plan.reasons.extend(jobs.iter().filter(|job| !job.gates.is_empty()).map(|job| (job.job, gate_reasons(&job.gates))));
    plan
}

fn gate_reasons(gates: &[Gate]) -> Vec<Reason> {
    let until = |gate: &Gate| match gate {
        Gate::Backoff { until } => Some(*until),
        Gate::After { .. } | Gate::ArrayLimit { .. } => None,
    };
    let reason =
        |gate: &Gate| Reason { blocker: Blocker::Gate(gate.clone()), held_by: vec![], change: None, until: until(gate), never: false };
    gates.iter().map(reason).collect()
}

impl<'a> Planner<'a> {
    fn new(snapshot: &'a Snapshot, policy: &'a Policy, now: Time, queues: Queues<'a>, held_by: &[usize]) -> Planner<'a> {
        let layouts: Vec<Layout> = snapshot.machines.iter().map(|machine| Layout::new(&machine.machine, machine.accepts, policy)).collect();
        let ports = PortPlan::new(policy);
        let running = snapshot.running.iter().zip(held_by).map(|(run, queue)| Occupation {
            holding: Rc::new(Holding::of_grant(&run.grant, *queue, &layouts, &ports)),
            from: now.min(run.since),
            end: planned_end(run, policy, now),
        });
        let tree = Tree::new(snapshot, queues.names.len());
        let nothing = Held::nothing(&layouts, tree.parents.clone(), &ports);
        let horizon = Horizon::new(now, nothing.clone(), running.collect());
        Planner {
            snapshot,
            policy,
            now,
            ground: Ground { layouts, tree, ports },
            queues,
            nothing,
            horizon,
            classes: Vec::new(),
            promises: Vec::new(),
            evictions: Evictions::default(),
            known: BTreeMap::new(),
        }
    }

    fn order(&self, tickets: Vec<Ticket>) -> Order {
        let mut totals = Totals::default();
        for layout in &self.ground.layouts {
            totals.cpu_milli += layout.total_milli();
            totals.memory = totals.memory.saturating_add(layout.allocatable.0);
            totals.devices += layout.machine.devices.iter().filter(|device| device.health.is_ready()).count() as u64 * 1000;
        }
        let tree = &self.ground.tree;
        let mut used = vec![0u64; self.queues.names.len()];
        for (place, queue) in self.snapshot.queues.iter().enumerate() {
            tree.path(place).for_each(|above| used[above] = used[above].saturating_add(queue.recent_usage));
        }
        let portion = |queue: usize| {
            let held = &self.horizon.current.queues[queue];
            let weight = self.snapshot.queues.get(queue).map_or(1, |queue| queue.queue.weight);
            let recent = Portion::recent_of(used[queue], self.policy.usage_half_life, &totals);
            let (cpu_milli, memory, devices) = (held.cpu_milli, held.memory, held.devices);
            Portion { cpu_milli, memory, devices, recent, weight: u64::from(weight), guarantee: tree.guarantees[queue] }
        };
        Order::new(tickets, (0..self.queues.names.len()).map(portion).collect(), tree.parents.clone(), totals)
    }

    fn class(&mut self, ask: Ask<'a>) -> usize {
        // Arrays and sweeps come in a row.
        if let Some(last) = self.classes.len().checked_sub(1)
            && self.classes[last].demand.ask == ask
        {
            return last;
        }
        if let Some(class) = self.known.get(&ask) {
            return *class;
        }
        let demand = Demand::new(ask, &self.ground.layouts);
        let standing = if self.possible(&demand) { Standing::Open } else { Standing::Never };
        self.classes.push(Class { demand, standing, hopeless: None });
        self.known.insert(ask, self.classes.len() - 1);
        self.classes.len() - 1
    }

    /// Whether the job could start if nothing else were there. True too where only a machine that accepts nothing
    /// at the moment could hold it.
    fn possible(&self, demand: &Demand) -> bool {
        let layouts = &self.ground.layouts;
        let able = |index: usize| {
            demand.fits(index, &layouts[index], &self.nothing.machines[index]) && self.ground.tree.lets(demand, index, &self.nothing.queues)
        };
        layouts.is_empty() || (0..layouts.len()).any(able)
    }

    /// Whether the job's own queue, and those above it, let it start beside what is held now and promised within its time.
    fn within_queue(&self, demand: &Demand) -> bool {
        let held = &self.horizon.peak(demand.ask.span).queues;
        (0..demand.on.len()).any(|index| self.ground.tree.lets(demand, index, held))
    }

    /// Whether anybody waits, or will soon, for room that a running job could grow into. What only the limit of its own queue holds back
    /// does not.
    fn somebody_waits(&self, jobs: &[&Waiting], waits: &[Waits]) -> bool {
        let for_room = |class: usize| !self.classes[class].is_never() && self.within_queue(&self.classes[class].demand);
        !self.evictions.claims.is_empty()
            || jobs.iter().any(|job| job.gates.iter().any(|gate| matches!(gate, Gate::Backoff { .. })))
            || waits.iter().any(|wait| wait.kept || wait.class.is_none_or(for_room))
    }

    /// Starts what fits, in order, and promises a time to the first that do not.
    fn assign(&mut self, jobs: &[&'a Waiting], order: &mut Order, scope: &Scope, starts: &mut Vec<Start>) -> Vec<Waits<'a>> {
        let mut waits = Vec::with_capacity(jobs.len());
        let nowhere = !self.ground.layouts.iter().any(|layout| layout.accepts);
        let closed = |planner: &Planner| {
            nowhere || (planner.promises.len() >= planner.policy.reservations && planner.horizon.exhausted(&planner.ground))
        };
        let mut nothing_starts = closed(self);
        let mut elastic: BTreeMap<usize, Elastic> = BTreeMap::new();
        while let Some((index, level)) = order.next() {
            let job = jobs[index];
            if level > 0 {
                if let Some(started) = elastic.get_mut(&index) {
                    self.grow(job, level, started, order, starts);
                }
                continue;
            }
            let ask = || Ask::of(job, self.queues.find(&job.queue), self.policy);
            if nothing_starts && waits.len() >= scope.foresee && scope.focus != Some(job.job) {
                if order.takes_turns() {
                    let ask = ask();
                    order.charge(&ask, ask.memory.map_or(0, |memory| memory.0), ask.device_milli());
                }
                waits.push(Waits { job, class: None, planned: None, kept: false });
                continue;
            }
            let ask = ask();
            let class = self.class(ask);
            if self.classes[class].standing != Standing::Never {
                let need = self.classes[class].demand.on.first();
                order.charge(&ask, need.map_or(0, |need| need.memory), need.map_or(0, |need| need.device_milli));
            }
            if let Some(placed) = self.try_start(class, nothing_starts) {
                if job.spec.is_elastic() {
                    elastic.insert(index, Elastic { level: 0, start: starts.len(), occupation: self.horizon.next_index() });
                }
                let layout = &self.ground.layouts[placed.holding.machine.unwrap_or(0)];
                starts.push(Start { job: job.job, grant: placed.grant(&ask, layout, &self.ground.ports) });
                self.horizon.start(Rc::new(placed.holding), ask.span);
                nothing_starts = closed(self);
                continue;
            }
            if !nowhere && self.evict(class, job) {
                nothing_starts = closed(self);
                continue;
            }
            let planned = if nowhere { None } else { self.promise(class, job.job) };
            waits.push(Waits { job, class: Some(class), planned, kept: planned.is_some() });
            if planned.is_some() {
                nothing_starts = closed(self);
            }
        }
        waits
    }

    /// The next size of an elastic job that starts: if it fits beside all that starts and is promised, in the place of the
    /// smaller one.
    fn grow(&mut self, job: &'a Waiting, level: usize, started: &mut Elastic, order: &mut Order, starts: &mut [Start]) {
        let sizes = job.spec.sizes();
        if started.level + 1 != level {
            return; // a smaller size did not fit
        }
        let ask = Ask::sized(&job.spec, sizes[level], self.queues.find(&job.queue), self.policy);
        let class = self.class(ask);
        if self.classes[class].is_never() {
            return;
        }
        let demand = &self.classes[class].demand;
        let before = self.horizon.take_back(started.occupation);
        let Some(placed) = self.horizon.fit(demand, &self.ground) else {
            return self.horizon.put_back(started.occupation, before);
        };
        let layout = &self.ground.layouts[placed.holding.machine.unwrap_or(0)];
        starts[started.start].grant = placed.grant(&ask, layout, &self.ground.ports);
        started.level = level;
        let more = Ask { ranks: ask.ranks - sizes[level - 1], ..ask };
        let devices = placed.holding.device_milli.saturating_sub(before.device_milli);
        order.charge(&more, placed.holding.memory.saturating_sub(before.memory), devices);
        self.horizon.put_back(started.occupation, Rc::new(placed.holding));
    }

    fn try_start(&mut self, class: usize, nothing_starts: bool) -> Option<crate::place::Placed> {
        if nothing_starts || self.classes[class].standing != Standing::Open {
            return None;
        }
        let placed = self.horizon.fit(&self.classes[class].demand, &self.ground);
        if placed.is_none() {
            self.classes[class].standing = Standing::Full;
        }
        placed
    }

    /// Keeps a place for a job that something else is in the way of. What only its own queue's limit holds back
    /// gets none: nobody else could take it from it.
    fn promise(&mut self, class: usize, job: JobId) -> Option<Time> {
        let demand = &self.classes[class].demand;
        let more = self.promises.len() < self.policy.reservations;
        if !more || self.classes[class].standing == Standing::Never || !self.within_queue(demand) {
            return None;
        }
        let (at, placed) = earliest(&self.horizon, demand, &self.ground)?;
        let holding = Rc::new(placed.holding);
        self.horizon.promise(holding.clone(), at, demand.ask.span, &self.nothing);
        self.promises.push((job, at, holding));
        Some(at)
    }

    /// Plays the future with everything ending as planned: when the jobs without a promise would start.
    fn foresee(&self, waits: &mut [Waits<'a>], scope: &Scope) {
        let within = waits.iter().position(|wait| Some(wait.job.job) == scope.focus).map_or(scope.foresee, |focus| focus + 1);
        let mut pending: Vec<(usize, usize)> = Vec::new();
        for (place, wait) in waits.iter().enumerate().take(within.min(scope.foresee)) {
            if let Some(class) = wait.class.filter(|class| !wait.kept && self.classes[*class].standing != Standing::Never) {
                pending.push((place, class));
            }
        }
        let mut walk = Walk::new(&self.horizon);
        let mut failed = vec![0; self.classes.len()];
        for step in 1..=FARTHEST_STEPS {
            if pending.is_empty() {
                return;
            }
            let Some(time) = walk.step() else { return };
            if walk.horizon.exhausted(&self.ground) {
                continue;
            }
            pending.retain(|(place, class)| {
                if failed[*class] == step {
                    return true;
                }
                let demand = &self.classes[*class].demand;
                let Some(placed) = walk.horizon.fit(demand, &self.ground) else {
                    failed[*class] = step;
                    return true;
                };
                walk.start(Rc::new(placed.holding), demand.ask.span);
                waits[*place].planned = Some(time);
                false
            });
        }
    }

    fn reasons(&self, waits: &[Waits<'a>], scope: &Scope) -> Vec<(JobId, Vec<Reason>)> {
        let mut explainer = Explainer::new(self);
        let mut ahead = 0;
        let mut all = Vec::with_capacity(waits.len());
        for (place, wait) in waits.iter().enumerate() {
            let wanted = place < scope.explain || scope.focus == Some(wait.job.job);
            let reasons = match wait.class.filter(|_| wanted) {
                Some(class) => explainer.explain(class, wait.job.job, wait.planned),
                None => vec![Reason { blocker: Blocker::Behind { jobs: ahead }, held_by: vec![], change: None, until: None, never: false }],
            };
            all.push((wait.job.job, reasons));
            ahead += u64::from(wait.class.is_none_or(|class| self.classes[class].standing != Standing::Never));
        }
        all
    }
}

impl Class<'_> {
    pub fn cannot_evict(&self, priority: i32) -> bool {
        self.hopeless.is_some_and(|least| priority <= least) || self.is_never()
    }

    pub fn give_up_evicting(&mut self, priority: i32) {
        self.hopeless = Some(self.hopeless.map_or(priority, |least| least.max(priority)));
    }

    pub fn is_never(&self) -> bool {
        self.standing == Standing::Never
    }
}
