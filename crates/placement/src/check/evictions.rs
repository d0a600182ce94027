//! Whether each eviction is one that may be, and makes room for a start that is possible.

use super::Found;
use super::tree::{Parts, Tree};
use crate::{Eviction, Plan, Policy, Running, Snapshot, Start, Waiting};
use machine::Grant;
use spec::{JobId, RunId};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(plan: &Plan, snapshot: &Snapshot, policy: &Policy, waiting: &BTreeMap<JobId, &Waiting>, found: &mut Found) {
    claims_are_kept(plan, snapshot, found);
    if plan.evictions.is_empty() {
        return;
    }
    let runs: BTreeMap<RunId, &Running> = snapshot.running.iter().map(|run| (run.run, run)).collect();
    let started: BTreeSet<JobId> = plan.starts.iter().map(|start| start.job).collect();
    let (mut jobs, mut victims) = (BTreeSet::new(), BTreeSet::new());
    for eviction in &plan.evictions {
        let id = eviction.job;
        if !jobs.insert(id) || started.contains(&id) {
            found.add("eviction", format!("job {id} is given two places"));
        }
        let Some(job) = waiting.get(&id) else {
            found.add("eviction", format!("runs are evicted for job {id}, which does not wait"));
            continue;
        };
        if !job.gates.is_empty() || job.claim.is_some() {
            found.add("eviction", format!("runs are evicted for job {id}, which could not start or has a place"));
        }
        if eviction.victims.is_empty() {
            found.add("eviction", format!("nobody is evicted for job {id}"));
        }
        let start = Start { job: id, grant: eviction.grant.clone() };
        super::grant_is_what_was_asked(&start, &job.spec, snapshot, policy, found);
        for victim in &eviction.victims {
            if !victims.insert(*victim) {
                found.add("eviction", format!("run {victim} is evicted twice"));
            }
            match runs.get(victim) {
                None => found.add("eviction", format!("run {victim} is evicted and does not run")),
                Some(run) => may_be_evicted(run, job, &eviction.grant, plan, policy, found),
            }
        }
    }
    let claims = snapshot.waiting.iter().filter(|job| job.claim.is_some() && !started.contains(&job.job)).count();
    if claims + plan.evictions.len() > policy.claims.max(claims) {
        found.add("eviction", format!("{} jobs have runs evicted at a time", claims + plan.evictions.len()));
    }
    Standings::before(plan, snapshot, waiting).judge(plan, &runs, waiting, found);
}

fn may_be_evicted(run: &Running, job: &Waiting, grant: &Grant, plan: &Plan, policy: &Policy, found: &mut Found) {
    let id = run.run;
    if run.stopping || run.evicted.is_some() {
        found.add("eviction", format!("run {id} is evicted and ends already"));
    }
    if run.grant.machine != grant.machine {
        found.add("eviction", format!("run {id} is evicted on another machine than job {} gets", job.job));
    }
    if plan.at.0 < run.since.0.saturating_add(policy.shortest_run.0) {
        found.add("eviction", format!("run {id} is evicted before it ran {}", policy.shortest_run));
    }
}

/// What was cleared for a job goes to it and to nobody else, and not before it is free.
fn claims_are_kept(plan: &Plan, snapshot: &Snapshot, found: &mut Found) {
    let claims: BTreeMap<JobId, &Grant> = snapshot.waiting.iter().filter_map(|job| Some((job.job, job.claim.as_ref()?))).collect();
    for start in &plan.starts {
        let Some(claim) = claims.get(&start.job) else { continue };
        let there = snapshot.machines.iter().any(|known| known.machine.id == claim.machine);
        if there && start.grant != **claim {
            found.add("claim", format!("job {} starts elsewhere than where runs were evicted for it", start.job));
        }
        let holder = snapshot.running.iter().find(|run| run.evicted.is_some_and(|evicted| evicted.by == start.job));
        if let Some(holder) = holder.filter(|_| there) {
            found.add("claim", format!("job {} starts before run {} has ended", start.job, holder.run));
        }
    }
}

/// CPUs in thousandths, bytes, thousandths of devices.
type Sum = [u128; 3];

fn amount(grant: &Grant) -> Sum {
    [u128::from(grant.cpu_milli()), u128::from(grant.memory.0), u128::from(super::ledger::thousandths(grant))]
}

/// What each queue holds, with those below it, as one eviction after the other is carried out.
struct Standings<'a> {
    tree: Tree<'a>,
    /// Of all machines.
    totals: Sum,
    /// Runs that stay, and places that are kept.
    stays: BTreeMap<&'a str, Sum>,
    /// Started by the plan.
    started: BTreeMap<&'a str, Sum>,
}

impl<'a> Standings<'a> {
    fn before(plan: &'a Plan, snapshot: &'a Snapshot, waiting: &BTreeMap<JobId, &'a Waiting>) -> Standings<'a> {
        let machines = || snapshot.machines.iter().map(|known| &known.machine);
        let ready = machines().flat_map(|machine| &machine.devices).filter(|device| device.health.is_ready()).count();
        let totals = [
            machines().map(|machine| machine.cpus.len() as u128 * 1000).sum(),
            machines().map(|machine| u128::from(machine.memory.0)).sum(),
            ready as u128 * 1000,
        ];
        let mut all = Standings { tree: Tree::new(snapshot), totals, stays: BTreeMap::new(), started: BTreeMap::new() };
        for run in snapshot.running.iter().filter(|run| !run.stopping) {
            book(&all.tree, &mut all.stays, &run.queue, &run.grant, true);
        }
        let goes_on = |run: &'a Running| Some((run, run.elastic.as_ref()?.next.as_ref()?));
        for (run, grant) in snapshot.running.iter().filter(|run| run.stopping).filter_map(goes_on) {
            book(&all.tree, &mut all.stays, &run.queue, grant, true);
        }
        for job in &snapshot.waiting {
            if let Some(grant) = &job.claim {
                book(&all.tree, &mut all.stays, &job.queue, grant, true);
            }
        }
        for start in &plan.starts {
            if let Some(job) = waiting.get(&start.job).filter(|job| job.claim.is_none()) {
                book(&all.tree, &mut all.started, &job.queue, &start.grant, true);
            }
        }
        all
    }

    fn held(&self, queue: &str) -> Sum {
        self.stays.get(queue).copied().unwrap_or_default()
    }

    /// Every victim must be owed to a guarantee, or be of lower priority where that counts.
    fn judge(mut self, plan: &'a Plan, runs: &BTreeMap<RunId, &'a Running>, waiting: &BTreeMap<JobId, &'a Waiting>, found: &mut Found) {
        for eviction in &plan.evictions {
            let Some(job) = waiting.get(&eviction.job) else { continue };
            let before = self.stays.clone();
            for run in eviction.victims.iter().filter_map(|victim| runs.get(victim)) {
                let next = plan.resizes.iter().find(|resize| resize.run == run.run).map(|resize| &resize.grant);
                book(&self.tree, &mut self.stays, &run.queue, &run.grant, false);
                next.iter().for_each(|next| book(&self.tree, &mut self.stays, &run.queue, next, true));
                let (mine, theirs) = (self.tree.up(&job.queue), self.tree.up(&run.queue));
                let common = theirs.iter().copied().find(|queue| mine.contains(queue));
                let below = |way: &[&'a str]| way.iter().copied().take_while(|queue| Some(*queue) != common).collect::<Vec<_>>();
                let (mine, theirs) = (below(&mine), below(&theirs));
                let outranks = run.priority < job.spec.priority
                    && common.is_some_and(|common| self.tree.up(common).into_iter().any(|queue| self.tree.evicts_by_priority(queue)));
                let owed = || match (mine.last(), theirs.last()) {
                    (Some(queue), Some(_)) => within(self.tree.guaranteed(queue), before.get(queue).copied().unwrap_or_default(), eviction),
                    _ => false,
                };
                let lent = || match (mine.last(), theirs.last()) {
                    (Some(mine), Some(theirs)) => {
                        let held = |queue: &str| before.get(queue).copied().unwrap_or_default();
                        let started = self.started.get(theirs).copied().unwrap_or_default();
                        self.share(mine, held(mine), amount(&eviction.grant)) <= self.share(theirs, held(theirs), started)
                    }
                    _ => job.queue == run.queue && run.priority <= job.spec.priority,
                };
                if !(outranks || owed() || next.is_some() && lent()) {
                    let what = "which no guarantee covers and no priority entitles to it";
                    found.add("guarantee", format!("run {} is evicted for job {}, {what}", run.run, eviction.job));
                }
                for queue in theirs {
                    self.keeps_its_own(queue, run, next, found);
                }
            }
            book(&self.tree, &mut self.stays, &job.queue, &eviction.grant, true);
            self.nothing_is_lost_above(job, amount(&eviction.grant), &before, found);
        }
    }

    /// What a queue above is guaranteed, it has after the exchange too, but where the job takes some of the same.
    fn nothing_is_lost_above(&self, job: &'a Waiting, taken: Sum, before: &BTreeMap<&'a str, Sum>, found: &mut Found) {
        for queue in self.tree.up(&job.queue) {
            let (had, has) = (before.get(queue).copied().unwrap_or_default(), self.held(queue));
            let started = self.started.get(queue).copied().unwrap_or_default();
            for (part, own) in self.tree.guaranteed(queue).into_iter().enumerate() {
                if taken[part] == 0 && has[part] < had[part] && own.is_some_and(|own| has[part] + started[part] < own) {
                    found.add("guarantee", format!("queue '{queue}' keeps less than it is guaranteed for the sake of job {}", job.job));
                }
            }
        }
    }

    /// The largest of a queue's parts, for its weight, in millionths of millionths.
    fn share(&self, queue: &str, held: Sum, more: Sum) -> u128 {
        let part = |part: usize| ((held[part] + more[part]) * 1_000_000_000_000).checked_div(self.totals[part]).unwrap_or(0);
        (0..3).map(part).max().unwrap_or(0) / u128::from(self.tree.weight(queue).max(1))
    }

    fn keeps_its_own(&self, queue: &'a str, run: &Running, next: Option<&Grant>, found: &mut Found) {
        let (held, mut gone) = (self.held(queue), amount(&run.grant));
        next.iter().for_each(|next| gone.iter_mut().zip(amount(next)).for_each(|(gone, kept)| *gone = gone.saturating_sub(kept)));
        let started = self.started.get(queue).copied().unwrap_or_default();
        for (part, own) in self.tree.guaranteed(queue).into_iter().enumerate() {
            if gone[part] > 0 && own.is_some_and(|own| held[part] + started[part] < own) {
                let what = "and keeps less than it is guaranteed";
                found.add("guarantee", format!("run {} is taken from queue '{queue}', {what}", run.run));
            }
        }
    }
}

fn book<'a>(tree: &Tree<'a>, sums: &mut BTreeMap<&'a str, Sum>, queue: &'a str, grant: &Grant, add: bool) {
    for queue in tree.up(queue) {
        for (sum, part) in sums.entry(queue).or_default().iter_mut().zip(amount(grant)) {
            *sum = if add { *sum + part } else { sum.saturating_sub(part) };
        }
    }
}

/// Whether a queue that is guaranteed `own` and holds `held` may have the place as its own: nothing that is named is
/// exceeded, and what matters most is named.
fn within(own: Parts, held: Sum, eviction: &Eviction) -> bool {
    let gained = amount(&eviction.grant);
    let decisive = if gained[2] > 0 { own[2] } else { own[0] };
    decisive.is_some() && (0..3).all(|part| gained[part] == 0 || own[part].is_none_or(|own| held[part] + gained[part] <= own))
}
