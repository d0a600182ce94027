//! Whether each run that goes on with another number of ranks may, and has its place.

use super::Found;
use super::future::waits_for_its_queue;
use crate::{Plan, Policy, Running, Snapshot, Start, Waiting};
use machine::Grant;
use spec::{JobId, RunId};
use std::collections::{BTreeMap, BTreeSet};

/// The places in which jobs go on whose runs end, by this plan or an earlier one.
pub(super) struct Next<'a>(Vec<Row<'a>>);

struct Row<'a> {
    run: &'a Running,
    grant: &'a Grant,
    /// The job for which the run ends: its own when it is for nobody else.
    by: JobId,
    /// By this plan.
    new: bool,
}

impl<'a> Next<'a> {
    pub fn of(plan: &'a Plan, snapshot: &'a Snapshot, waiting: &BTreeMap<JobId, &'a Waiting>) -> Next<'a> {
        let for_whom = |run: RunId| plan.evictions.iter().find(|eviction| eviction.victims.contains(&run)).map(|eviction| eviction.job);
        let there = |grant: &Grant| snapshot.machines.iter().any(|known| known.machine.id == grant.machine);
        let kept = |job: &JobId| waiting.get(job).is_some_and(|job| job.claim.as_ref().is_some_and(there));
        let rows = snapshot.running.iter().filter_map(|run| {
            let own = run.run.job;
            if let Some(resize) = plan.resizes.iter().find(|resize| resize.run == run.run) {
                return Some(Row { run, grant: &resize.grant, by: for_whom(run.run).unwrap_or(own), new: true });
            }
            let grant = run.elastic.as_ref()?.next.as_ref().filter(|grant| there(grant))?;
            Some(Row { run, grant, by: run.evicted.map(|evicted| evicted.by).filter(kept).unwrap_or(own), new: false })
        });
        Next(rows.collect())
    }

    /// Jobs whose runs end for nobody else.
    pub fn alone(&self) -> impl Iterator<Item = JobId> + '_ {
        self.0.iter().filter(|row| row.by == row.run.run.job).map(|row| row.by)
    }

    /// Whether the run has made way for what its job goes on with, once all have or those for one job alone.
    pub fn goes_on(&self, run: &Running, only: Option<JobId>) -> bool {
        self.rows(only).any(|row| row.run.run == run.run)
    }

    /// With their queues, and their job if the place is new.
    pub fn places(&self, only: Option<JobId>) -> impl Iterator<Item = (&'a Grant, &'a str, Option<JobId>)> {
        let rows: Vec<_> = self.rows(only).map(|row| (row.grant, row.run.queue.as_str(), row.new.then_some(row.run.run.job))).collect();
        rows.into_iter()
    }

    fn rows(&self, only: Option<JobId>) -> impl Iterator<Item = &Row<'a>> {
        self.0.iter().filter(move |row| only.is_none_or(|only| only == row.by))
    }
}

pub(super) fn check(plan: &Plan, snapshot: &Snapshot, policy: &Policy, waiting: &BTreeMap<JobId, &Waiting>, found: &mut Found) {
    let runs: BTreeMap<RunId, &Running> = snapshot.running.iter().map(|run| (run.run, run)).collect();
    let victims: BTreeSet<RunId> = plan.evictions.iter().flat_map(|eviction| eviction.victims.iter().copied()).collect();
    let mut seen = BTreeSet::new();
    let mut grows = false;
    for resize in &plan.resizes {
        let id = resize.run;
        if !seen.insert(id) {
            found.add("resize", format!("run {id} is resized twice"));
        }
        let Some(run) = runs.get(&id) else {
            found.add("resize", format!("run {id} is resized and does not run"));
            continue;
        };
        let Some(elastic) = run.elastic.as_ref().filter(|elastic| elastic.spec.checkpoint.declared) else {
            found.add("resize", format!("run {id} is resized, and its job has no sizes or no checkpoint"));
            continue;
        };
        if run.stopping || run.evicted.is_some() {
            found.add("resize", format!("run {id} is resized and ends already"));
        }
        if run.grant.machine != resize.grant.machine {
            found.add("resize", format!("run {id} is to go on on another machine"));
        }
        let start = Start { job: id.job, grant: resize.grant.clone() };
        super::grant_is_what_was_asked(&start, &elastic.spec, snapshot, policy, found);
        let (now, then) = (run.grant.ranks.len(), resize.grant.ranks.len());
        let age = plan.at.0.saturating_sub(run.since.0);
        if victims.contains(&id) {
            if then >= now {
                found.add("resize", format!("run {id} gives way with {now} ranks and goes on with {then}"));
            }
        } else {
            grows = true;
            let settled = policy.shortest_run.0.max((run.grace.0.saturating_add(policy.restart.0)).saturating_mul(10));
            if then <= now {
                found.add("resize", format!("run {id} has {now} ranks and goes on with {then}, for nobody"));
            }
            if age < settled {
                found.add("resize", format!("run {id} grows too soon after its start"));
            }
        }
        if age < policy.shortest_run.0 {
            found.add("resize", format!("run {id} is resized before it ran {}", policy.shortest_run));
        }
    }
    if grows {
        nobody_waits(plan, snapshot, policy, waiting, found);
    }
}

/// Runs grow only into room that nobody else could use.
fn nobody_waits(plan: &Plan, snapshot: &Snapshot, policy: &Policy, waiting: &BTreeMap<JobId, &Waiting>, found: &mut Found) {
    let started: BTreeSet<JobId> = plan.starts.iter().map(|start| start.job).collect();
    let claims = waiting.values().any(|job| job.claim.is_some() && job.gates.is_empty() && !started.contains(&job.job));
    if !plan.evictions.is_empty() || claims {
        found.add("resize", "a run grows while others end for a job that waits".into());
    }
    for reservation in &plan.reservations {
        let Some(job) = waiting.get(&reservation.job) else { continue };
        if !waits_for_its_queue(job, plan, snapshot, policy, waiting) {
            found.add("resize", format!("a run grows while job {} waits for room", job.job));
        }
    }
}
