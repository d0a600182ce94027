//! Whether each eviction is one that may be, and makes room for a start that is possible.

use super::Found;
use crate::{Plan, Policy, Running, Snapshot, Start, Waiting};
use machine::Grant;
use spec::{JobId, Limits, RunId};
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
        super::grant_is_what_was_asked(&start, job, snapshot, policy, found);
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
    guarantees(plan, snapshot, waiting, &victims, found);
}

fn may_be_evicted(run: &Running, job: &Waiting, grant: &Grant, plan: &Plan, policy: &Policy, found: &mut Found) {
    let id = run.run;
    if run.stopping || run.evicted.is_some() {
        found.add("eviction", format!("run {id} is evicted and ends already"));
    }
    if run.queue == job.queue {
        found.add("eviction", format!("run {id} is evicted for a job of its own queue"));
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

/// CPUs in thousandths, bytes, devices.
type Sum = [u128; 3];

fn add(sum: &mut Sum, grant: &Grant) {
    sum[0] += u128::from(grant.cpu_milli());
    sum[1] += u128::from(grant.memory.0);
    sum[2] += grant.devices().count() as u128;
}

fn guaranteed(limits: &Limits) -> [Option<u128>; 3] {
    [limits.cpus.map(|cpus| u128::from(cpus) * 1000), limits.memory.map(|memory| u128::from(memory.0)), limits.devices.map(u128::from)]
}

/// Who has runs evicted stays within its guarantee; who loses runs keeps its own.
fn guarantees(plan: &Plan, snapshot: &Snapshot, waiting: &BTreeMap<JobId, &Waiting>, victims: &BTreeSet<RunId>, found: &mut Found) {
    for queue in &snapshot.queues {
        let name = &queue.queue.name;
        let of_queue = |job: &JobId| waiting.get(job).is_some_and(|job| job.queue == *name);
        let (mut stays, mut gone, mut gained, mut started) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
        for run in snapshot.running.iter().filter(|run| run.queue == *name) {
            match victims.contains(&run.run) {
                true => add(&mut gone, &run.grant),
                false if run.stopping => {}
                false => add(&mut stays, &run.grant),
            }
        }
        snapshot
            .waiting
            .iter()
            .filter(|job| job.queue == *name)
            .filter_map(|job| job.claim.as_ref())
            .for_each(|grant| add(&mut stays, grant));
        let claimed = |job: &JobId| waiting.get(job).is_some_and(|job| job.claim.is_some());
        plan.starts.iter().filter(|start| of_queue(&start.job) && !claimed(&start.job)).for_each(|start| add(&mut started, &start.grant));
        plan.evictions.iter().filter(|eviction| of_queue(&eviction.job)).for_each(|eviction| add(&mut gained, &eviction.grant));
        let own = guaranteed(&queue.queue.guarantee);
        for (part, own) in own.iter().enumerate().filter_map(|(part, own)| own.map(|own| (part, own))) {
            if gained[part] > 0 && stays[part] + gained[part] > own {
                found.add("guarantee", format!("runs are evicted so that queue '{name}' holds more than it is guaranteed"));
            }
            if gone[part] > 0 && stays[part] + started[part] + gained[part] < own {
                found.add("guarantee", format!("runs of queue '{name}' are evicted and it keeps less than it is guaranteed"));
            }
        }
        let decisive = if gained[2] > 0 { own[2] } else { own[0] };
        if gained[0] > 0 && decisive.is_none() {
            found.add("guarantee", format!("runs are evicted for queue '{name}', which is guaranteed nothing of the kind"));
        }
    }
}
