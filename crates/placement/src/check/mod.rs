//! The second opinion: every promise of a plan, verified from the snapshot alone.
//!
//! Nothing here calls the planner or shares a helper with it. Amounts are summed afresh, per CPU, per device and per
//! queue, with maps instead of indices, so that an error of the planner's bookkeeping cannot hide in the same place twice.

mod evictions;
mod future;
mod ledger;
mod request;
mod resizes;
mod tree;

use crate::{Plan, Policy, Reservation, Snapshot, Start, Violation, Waiting};
use ledger::Ledger;
use spec::{JobId, JobSpec, Launch};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is wrong with `plan`, were it adopted over `snapshot`. Empty for every plan of [`crate::plan`] over
/// the same snapshot and policy. What was wrong before (a run on a CPU that has gone) is not held against the plan.
pub fn check(plan: &Plan, snapshot: &Snapshot, policy: &Policy) -> Vec<Violation> {
    let mut found = Found::default();
    if plan.based_on != snapshot.generation {
        found.add("generation", format!("made for {}, the state is at {}", plan.based_on, snapshot.generation));
    }
    // Of thousands that wait only those the plan says more about than a reason.
    let named = plan.starts.iter().map(|start| start.job).chain(plan.reservations.iter().map(|reservation| reservation.job));
    let named: BTreeSet<JobId> = named.chain(plan.evictions.iter().map(|eviction| eviction.job)).collect();
    let waiting: BTreeMap<JobId, &Waiting> =
        snapshot.waiting.iter().filter(|job| job.claim.is_some() || named.contains(&job.job)).map(|job| (job.job, job)).collect();
    starts_once(plan, &waiting, &mut found);
    let ledger = Ledger::of(plan, snapshot, &waiting);
    for start in &plan.starts {
        if let Some(job) = waiting.get(&start.job) {
            grant_is_what_was_asked(start, &job.spec, snapshot, policy, &mut found);
        }
    }
    ledger.check_machines(plan, snapshot, policy, &mut found);
    ledger.check_queues(plan, snapshot, &waiting, &mut found);
    let growing: Vec<JobId> = resizes::Next::of(plan, snapshot, &waiting).alone().collect();
    if !plan.evictions.is_empty() || !growing.is_empty() || waiting.values().any(|job| job.claim.is_some()) {
        // All have gone, or those of one job alone, since some are quicker than others.
        let kept = waiting.values().filter(|job| job.claim.is_some()).map(|job| job.job);
        let jobs = kept.chain(plan.evictions.iter().map(|eviction| eviction.job)).chain(growing).map(Some);
        for job in jobs.chain([None]) {
            let later = Ledger::when_victims_ended(plan, snapshot, &waiting, job);
            later.check_machines(plan, snapshot, policy, &mut found);
            later.check_queues(plan, snapshot, &waiting, &mut found);
        }
    }
    evictions::check(plan, snapshot, policy, &waiting, &mut found);
    resizes::check(plan, snapshot, policy, &waiting, &mut found);
    every_wait_has_a_reason(plan, snapshot, &mut found);
    reservations_are_possible(plan, &waiting, &mut found);
    future::check(plan, snapshot, policy, &waiting, &mut found);
    found.0
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, rule: &'static str, detail: String) {
        self.0.push(Violation { rule, detail });
    }
}

fn starts_once(plan: &Plan, waiting: &BTreeMap<JobId, &Waiting>, found: &mut Found) {
    let mut seen = BTreeSet::new();
    for start in &plan.starts {
        if !seen.insert(start.job) {
            found.add("once", format!("job {} is started twice", start.job));
        }
        match waiting.get(&start.job) {
            None => found.add("waiting", format!("job {} is started but does not wait", start.job)),
            Some(job) if !job.gates.is_empty() => found.add("gates", format!("job {} is started behind a closed gate", start.job)),
            Some(_) => {}
        }
    }
}

/// One grant against its job and its machine, whatever else happens there.
fn grant_is_what_was_asked(start: &Start, spec: &JobSpec, snapshot: &Snapshot, policy: &Policy, found: &mut Found) {
    let (id, grant) = (start.job, &start.grant);
    let Some(target) = snapshot.machines.iter().find(|target| target.machine.id == grant.machine) else {
        return found.add("machine", format!("job {id} is placed on '{}', which is not there", grant.machine));
    };
    if !target.accepts {
        found.add("machine", format!("job {id} is placed on '{}', which accepts nothing", grant.machine));
    }
    let machine = &target.machine;
    if let (Some(wanted), Some(offer)) = (spec.isolation.level, &machine.facts.isolation)
        && offer.level < wanted
    {
        found.add("isolation", format!("job {id} demands '{}' and '{}' offers '{}'", wanted.name(), machine.id, offer.level.name()));
    }
    let ranks = grant.ranks.len();
    if !request::sizes(spec).any(|size| size == ranks) {
        let sizes: Vec<String> = request::sizes(spec).map(|size| size.to_string()).collect();
        found.add("gang", format!("job {id} has {} ranks and is given {ranks}", sizes.join(" or ")));
    }
    request::cpus(id, grant, spec, machine, found);
    request::devices(id, grant, spec, machine, found);
    request::memory(id, grant, spec, machine, policy, found);
    let rendezvous = ranks > 1 || matches!(spec.launch, Launch::Jax | Launch::Torchrun);
    match &grant.ports {
        None if rendezvous => found.add("ports", format!("job {id} has no ports for its ranks to meet")),
        Some(range) => {
            let end = u32::from(range.first) + u32::from(range.count);
            if range.first < policy.ports.0 || end > u32::from(policy.ports.1) || range.count == 0 {
                found.add("ports", format!("job {id} is leased ports {} to {end}, outside the policy's range", range.first));
            }
        }
        None => {}
    }
}

fn every_wait_has_a_reason(plan: &Plan, snapshot: &Snapshot, found: &mut Found) {
    let started: BTreeSet<JobId> = plan.starts.iter().map(|start| start.job).collect();
    for (job, reasons) in &plan.reasons {
        if reasons.is_empty() {
            found.add("reasons", format!("job {job} is listed with no reason"));
        }
        if started.contains(job) {
            found.add("reasons", format!("job {job} starts and has a reason to wait"));
        }
    }
    // Lists in order instead of sets: there may be tens of thousands, and they come nearly in order.
    let mut explained: Vec<JobId> = plan.reasons.iter().map(|(job, _)| *job).collect();
    explained.sort_unstable();
    let twice = explained.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    twice.for_each(|job| found.add("reasons", format!("job {job} is listed twice")));
    let mut waits: Vec<JobId> = snapshot.waiting.iter().map(|job| job.job).filter(|job| !started.contains(job)).collect();
    waits.sort_unstable();
    let mut listed = explained.into_iter().peekable();
    for job in waits {
        while listed.next_if(|other| *other < job).is_some() {}
        if listed.peek() != Some(&job) {
            found.add("reasons", format!("job {job} waits without a reason"));
        }
    }
}

fn reservations_are_possible(plan: &Plan, waiting: &BTreeMap<JobId, &Waiting>, found: &mut Found) {
    let started: BTreeSet<JobId> = plan.starts.iter().map(|start| start.job).collect();
    let mut seen = BTreeSet::new();
    for Reservation { job, at } in &plan.reservations {
        if !seen.insert(*job) {
            found.add("reservation", format!("job {job} has two planned starts"));
        }
        if *at <= plan.at {
            found.add("reservation", format!("job {job} is planned to start in the past"));
        }
        if started.contains(job) || waiting.get(job).is_none_or(|job| !job.gates.is_empty()) {
            found.add("reservation", format!("job {job} has a planned start and does not wait for one"));
        }
    }
}
