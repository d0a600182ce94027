//! Whether the starts leave the planned starts of earlier jobs possible, as far as counts tell.

use super::Found;
use super::request::fewest;
use super::tree::Tree;
use crate::{Plan, Policy, Reservation, Snapshot, Waiting};
use machine::{Device, Grant, Machine};
use spec::{DeviceRequest, JobId, JobSpec, Limits, Time};
use std::collections::BTreeMap;

pub(super) fn check(plan: &Plan, snapshot: &Snapshot, policy: &Policy, waiting: &BTreeMap<JobId, &Waiting>, found: &mut Found) {
    if plan.starts.is_empty() && plan.resizes.is_empty() {
        return;
    }
    let kept = &plan.reservations[..plan.reservations.len().min(policy.reservations)];
    for (place, reservation) in kept.iter().enumerate() {
        let Some(job) = waiting.get(&reservation.job) else { continue };
        // Places made by evictions are looked at with those.
        if job.claim.is_some() || plan.evictions.iter().any(|eviction| eviction.job == reservation.job) {
            continue;
        }
        let at = reservation.at;
        let later: Vec<Held> = still_held(plan, snapshot, policy, waiting, at);
        // Where there is one machine only, the promises listed before are on it too.
        let before: Vec<&Waiting> = match snapshot.machines.len() {
            1 => active(&kept[..place], waiting, policy, at),
            _ => Vec::new(),
        };
        let machines = snapshot.machines.iter().filter(|target| target.accepts);
        if !machines.map(|target| &*target.machine).any(|machine| has_room(job, machine, &later, &before, policy)) {
            found.add("delay", format!("job {} cannot start at its planned time beside what is started now", reservation.job));
        }
        let least = job.spec.memory.map_or(0, |memory| memory.0.saturating_mul(fewest(&job.spec)));
        if !queue_has_room(job, least, snapshot, &later) {
            found.add(
                "delay",
                format!("the queue of job {}, or one above it, is at its limit when the job is planned to start", reservation.job),
            );
        }
    }
}

struct Held<'a> {
    grant: &'a Grant,
    queue: &'a str,
}

/// Runs and starts that will not have ended by then.
fn still_held<'a>(
    plan: &'a Plan,
    snapshot: &'a Snapshot,
    policy: &Policy,
    waiting: &BTreeMap<JobId, &'a Waiting>,
    at: Time,
) -> Vec<Held<'a>> {
    let running = snapshot.running.iter().filter(|run| {
        let mut end = run.expected_end.unwrap_or(Time(run.since.0.saturating_add(policy.default_expect.0)));
        if end <= plan.at {
            let taken = plan.at.0.saturating_sub(run.since.0);
            end = Time(plan.at.0.saturating_add((taken / 10).max(60_000)));
        }
        if let Some(evicted) = run.evicted {
            let saved = evicted.at.0.saturating_add(run.grace.0);
            end = if saved <= plan.at.0 { Time(plan.at.0 + 60_000) } else { Time(saved.min(end.0)) };
        } else if plan.evictions.iter().any(|eviction| eviction.victims.contains(&run.run))
            || plan.resizes.iter().any(|resize| resize.run == run.run)
        {
            end = Time(end.0.min(plan.at.0 + run.grace.0.max(1)));
        }
        end > at
    });
    let starting = plan.starts.iter().filter_map(|start| {
        let job = waiting.get(&start.job)?;
        let end = plan.at.0.saturating_add(length(&job.spec, policy));
        (end > at.0).then_some(Held { grant: &start.grant, queue: &job.queue })
    });
    let resized = plan.resizes.iter().filter_map(|resize| {
        let run = snapshot.running.iter().find(|run| run.run == resize.run)?;
        let end = plan.at.0.saturating_add(run.grace.0).saturating_add(length(&run.elastic.as_ref()?.spec, policy));
        (end > at.0).then_some(Held { grant: &resize.grant, queue: &run.queue })
    });
    running.map(|run| Held { grant: &run.grant, queue: &run.queue }).chain(starting).chain(resized).collect()
}

/// Milliseconds a job is planned to take.
fn length(spec: &JobSpec, policy: &Policy) -> u64 {
    let limit = spec.limit.map(|limit| limit.0.saturating_add(spec.checkpoint.grace.0));
    [spec.expect.map(|expect| expect.0), limit].into_iter().flatten().min().unwrap_or(policy.default_expect.0).max(1)
}

fn active<'a>(listed: &[Reservation], waiting: &BTreeMap<JobId, &'a Waiting>, policy: &Policy, at: Time) -> Vec<&'a Waiting> {
    let jobs = listed.iter().filter_map(|reservation| waiting.get(&reservation.job).map(|job| (*job, reservation.at)));
    jobs.filter(|(job, from)| *from <= at && at.0 < from.0.saturating_add(length(&job.spec, policy))).map(|(job, _)| job).collect()
}

fn has_room(job: &Waiting, machine: &Machine, later: &[Held], before: &[&Waiting], policy: &Policy) -> bool {
    let here = || later.iter().filter(|held| held.grant.machine == machine.id);
    let mut used: BTreeMap<u32, u64> = machine.cpus.iter().map(|cpu| (cpu.id, 0)).collect();
    for held in here() {
        for cpu in held.grant.ranks.iter().flat_map(|rank| rank.cpus.iter()) {
            if let Some(milli) = used.get_mut(&cpu) {
                *milli += u64::from(held.grant.cpu_share.0.min(1000));
            }
        }
    }
    let free: u64 = used.values().map(|milli| 1000u64.saturating_sub(*milli)).sum();
    let whole = used.values().filter(|milli| **milli == 0).count() as u64 * 1000;
    // Shared CPUs may take what whole ones cannot, so small promises count only against all that is free.
    let promised = |jobs: &[&Waiting], alone: bool| -> u64 {
        jobs.iter().map(|job| cpus(&job.spec)).filter(|(_, a)| !alone || *a).map(|(m, _)| m).sum()
    };
    let (milli, alone) = cpus(&job.spec);
    if free < promised(before, false) + milli || (alone && whole < promised(before, true) + milli) {
        return false;
    }
    let all = grantable(machine, policy);
    let share = |spec: &JobSpec| memory(spec, all, machine.cpus.len() as u64);
    let held: u128 = here().map(|held| u128::from(held.grant.memory.0)).sum();
    let promises: u128 = before.iter().map(|job| share(&job.spec)).sum();
    held + promises + share(&job.spec) <= u128::from(all) && devices_left(job, machine, here().map(|held| held.grant))
}

/// Thousandths of all ranks, and whether they are whole CPUs.
fn cpus(spec: &JobSpec) -> (u64, bool) {
    let rank = u64::from(spec.cpus.0.max(1));
    let alone = rank >= 1000;
    (if alone { rank.div_ceil(1000) * 1000 } else { rank } * fewest(spec), alone)
}

fn memory(spec: &JobSpec, all: u64, count: u64) -> u128 {
    match spec.memory {
        Some(rank) => u128::from(rank.0) * u128::from(fewest(spec)),
        None => {
            let (milli, ranks) = (u128::from(cpus(spec).0), u128::from(fewest(spec)));
            let rank = u128::from(all) * (milli / ranks) / u128::from(count.max(1) * 1000);
            (rank * ranks).max(u128::from(spec.shm.unwrap_or_default().0))
        }
    }
}

fn devices_left<'a>(job: &Waiting, machine: &Machine, held: impl Iterator<Item = &'a Grant>) -> bool {
    let Some(request) = &job.spec.devices else { return true };
    // Bytes and thousandths of the compute units that are held; all of a device that is held whole.
    let mut busy: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for grant in held {
        let part = grant.share.map_or((u64::MAX, 1000), |share| (share.memory.0, u64::from(share.compute)));
        for id in grant.devices() {
            let sum = busy.entry(id.0.as_str()).or_default();
            *sum = (sum.0.saturating_add(part.0), sum.1 + part.1);
        }
    }
    let has_room = |device: &Device| match (busy.get(device.id.0.as_str()), &request.share) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((memory, compute)), Some(share)) => {
            let wanted = share.memory.map_or(0, |memory| memory.0);
            memory.saturating_add(wanted) <= device.memory.unwrap_or_default().0 && compute + u64::from(share.compute.unwrap_or(0)) <= 1000
        }
    };
    // Generous: by vendor, class and memory; the exact kind is a matter for the grant.
    let fits = |device: &&Device| {
        device.health.is_ready()
            && has_room(device)
            && request.vendor.is_none_or(|vendor| vendor == device.vendor)
            && request.class.is_none_or(|class| class == device.class)
            && request.memory_min.is_none_or(|least| device.memory.is_some_and(|memory| memory >= least))
    };
    machine.devices.iter().filter(fits).count() as u64 >= u64::from(request.count) * fewest(&job.spec)
}

/// Whether a limit of the job's own queue, or of one above it, keeps it from starting beside all that runs and starts.
pub(super) fn waits_for_its_queue(
    job: &Waiting,
    plan: &Plan,
    snapshot: &Snapshot,
    policy: &Policy,
    waiting: &BTreeMap<JobId, &Waiting>,
) -> bool {
    let running = snapshot.running.iter().map(|run| Held { grant: &run.grant, queue: &run.queue });
    let starting = plan.starts.iter().filter_map(|start| Some(Held { grant: &start.grant, queue: &waiting.get(&start.job)?.queue }));
    // Places that are kept count too.
    let next = snapshot.running.iter().filter_map(|run| Some(Held { grant: run.elastic.as_ref()?.next.as_ref()?, queue: &run.queue }));
    let claims = waiting.values().filter_map(|job| Some(Held { grant: job.claim.as_ref()?, queue: &job.queue }));
    let held: Vec<Held> = running.chain(starting).chain(next).chain(claims).collect();
    // The least that any machine would give it, where the job leaves its memory open.
    let least = snapshot.machines.iter().map(|known| memory(&job.spec, grantable(&known.machine, policy), known.machine.cpus.len() as u64));
    let least = u64::try_from(least.min().unwrap_or(0)).unwrap_or(u64::MAX);
    !queue_has_room(job, least, snapshot, &held)
}

fn grantable(machine: &Machine, policy: &Policy) -> u64 {
    machine.memory.0 - (u128::from(machine.memory.0) * u128::from(policy.memory_reserve_permille.min(1000)) / 1000) as u64
}

fn queue_has_room(job: &Waiting, memory: u64, snapshot: &Snapshot, later: &[Held]) -> bool {
    let tree = Tree::new(snapshot);
    tree.up(&job.queue).into_iter().all(|queue| {
        let held: Vec<&Grant> = later.iter().filter(|held| tree.up(held.queue).contains(&queue)).map(|held| held.grant).collect();
        tree.limits(queue).is_none_or(|limits| limit_has_room(job, memory, limits, &held))
    })
}

fn limit_has_room(job: &Waiting, memory: u64, limits: &Limits, held: &[&Grant]) -> bool {
    let held = || held.iter().copied();
    let ranks = fewest(&job.spec);
    // Of a part at least what is asked of the compute units.
    let each = |request: &DeviceRequest| request.share.map_or(1000, |share| u64::from(share.compute.unwrap_or(1)));
    let devices = job.spec.devices.as_ref().map_or(0, |request| u64::from(request.count) * ranks * each(request));
    let within = |limit: Option<u64>, held: u64, wanted: u64| wanted == 0 || limit.is_none_or(|limit| held.saturating_add(wanted) <= limit);
    within(limits.cpus.map(|cpus| u64::from(cpus) * 1000), held().map(Grant::cpu_milli).sum(), cpus(&job.spec).0)
        && within(limits.devices.map(|devices| u64::from(devices) * 1000), held().map(super::ledger::thousandths).sum(), devices)
        && within(limits.runs.map(u64::from), held().count() as u64, 1)
        && within(limits.memory.map(|memory| memory.0), held().map(|grant| grant.memory.0).fold(0, u64::saturating_add), memory)
}
