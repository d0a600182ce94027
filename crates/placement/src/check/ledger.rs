//! Sums over runs and starts together.

use super::Found;
use super::tree::Tree;
use crate::{Plan, Policy, Snapshot, Waiting};
use machine::{Bytes, DeviceId, Grant, Machine, PortRange};
use spec::JobId;
use std::collections::{BTreeMap, BTreeSet};

/// Every grant that would be in force, with the job if it is one that starts.
pub(super) struct Ledger<'a> {
    grants: Vec<(&'a Grant, &'a str, Option<JobId>)>,
}

impl<'a> Ledger<'a> {
    pub fn of(plan: &'a Plan, snapshot: &'a Snapshot, waiting: &BTreeMap<JobId, &'a Waiting>) -> Ledger<'a> {
        let running = snapshot.running.iter().map(|run| (&run.grant, run.queue.as_str(), None));
        let starting = plan.starts.iter().map(|start| {
            let queue = waiting.get(&start.job).map_or("", |job| job.queue.as_str());
            (&start.grant, queue, Some(start.job))
        });
        Ledger { grants: running.chain(starting).collect() }
    }

    /// The same once every victim, or every one of `only` this job's, has ended, and who has the place is in it.
    pub fn when_victims_ended(
        plan: &'a Plan,
        snapshot: &'a Snapshot,
        waiting: &BTreeMap<JobId, &'a Waiting>,
        only: Option<JobId>,
    ) -> Ledger<'a> {
        let meant = move |job: JobId| only.is_none_or(|only| only == job);
        let next = super::resizes::Next::of(plan, snapshot, waiting);
        let evictions = || plan.evictions.iter().filter(move |eviction| meant(eviction.job));
        let victims: BTreeSet<_> = evictions().flat_map(|eviction| &eviction.victims).copied().collect();
        let there = |grant: &Grant| snapshot.machines.iter().any(|known| known.machine.id == grant.machine);
        let claim = |job: &'a Waiting| job.claim.as_ref().filter(|grant| there(grant));
        let makes_room = |job: JobId| meant(job) && waiting.get(&job).is_some_and(|job| claim(job).is_some());
        let stays = snapshot
            .running
            .iter()
            .filter(|run| {
                !victims.contains(&run.run) && !run.evicted.is_some_and(|evicted| makes_room(evicted.by)) && !next.goes_on(run, only)
            })
            .map(|run| (&run.grant, run.queue.as_str(), None));
        let queue = |job: JobId| waiting.get(&job).map_or("", |job| job.queue.as_str());
        let starting = plan.starts.iter().map(|start| (&start.grant, queue(start.job), Some(start.job)));
        let started: BTreeSet<JobId> = plan.starts.iter().map(|start| start.job).collect();
        let claims = waiting.values().filter(|job| meant(job.job) && !started.contains(&job.job));
        let claims = claims.filter_map(|job| claim(job).map(|grant| (grant, job.queue.as_str(), None)));
        let gained = evictions().map(|eviction| (&eviction.grant, queue(eviction.job), Some(eviction.job)));
        let goes_on = next.places(only);
        Ledger { grants: stays.chain(starting).chain(claims).chain(gained).chain(goes_on).collect() }
    }

    pub fn check_machines(&self, plan: &Plan, snapshot: &Snapshot, policy: &Policy, found: &mut Found) {
        let given = plan.starts.iter().map(|start| &start.grant).chain(plan.evictions.iter().map(|eviction| &eviction.grant));
        let given = given.chain(plan.resizes.iter().map(|resize| &resize.grant));
        let touched: BTreeSet<&str> = given.map(|grant| grant.machine.as_str()).collect();
        for target in snapshot.machines.iter().filter(|target| touched.contains(target.machine.id.as_str())) {
            let id = target.machine.id.as_str();
            let here: Vec<(&Grant, Option<JobId>)> =
                self.grants.iter().filter(|(grant, _, _)| grant.machine == id).map(|(grant, _, job)| (*grant, *job)).collect();
            cpus(&here, found);
            devices(&here, &target.machine, found);
            ports(&here, found);
            let reserve = u128::from(policy.memory_reserve_permille.min(1000));
            let all = u128::from(target.machine.memory.0);
            let allocatable = all - all * reserve / 1000;
            let held: u128 = here.iter().map(|(grant, _)| u128::from(grant.memory.0)).sum();
            if held > allocatable {
                found.add("memory", format!("{held} bytes are granted on '{id}', which has {allocatable} to grant"));
            }
        }
    }

    pub fn check_queues(&self, plan: &Plan, snapshot: &Snapshot, waiting: &BTreeMap<JobId, &Waiting>, found: &mut Found) {
        let given = plan.starts.iter().map(|start| start.job).chain(plan.evictions.iter().map(|eviction| eviction.job));
        let tree = Tree::new(snapshot);
        let resized = snapshot.running.iter().filter(|run| plan.resizes.iter().any(|resize| resize.run == run.run));
        let queues = given.filter_map(|job| waiting.get(&job)).map(|job| job.queue.as_str()).chain(resized.map(|run| run.queue.as_str()));
        let touched: BTreeSet<&str> = queues.flat_map(|queue| tree.up(queue)).collect();
        let ways: BTreeMap<&str, Vec<&str>> = self.grants.iter().map(|(_, name, _)| (*name, tree.up(name))).collect();
        for queue in snapshot.queues.iter().map(|queue| &queue.queue).filter(|queue| touched.contains(queue.name.as_str())) {
            let mine = || self.grants.iter().filter(|(_, name, _)| ways[name].contains(&queue.name.as_str()));
            // A limit that was over before (somebody lowered it) is not broken by a start that takes none of it.
            let adds = |part: &dyn Fn(&Grant) -> u64| mine().any(|(grant, _, job)| job.is_some() && part(grant) > 0);
            let mut limit = |what: &str, limit: Option<u64>, part: &dyn Fn(&Grant) -> u64| {
                let held: u128 = mine().map(|(grant, _, _)| u128::from(part(grant))).sum();
                if limit.is_some_and(|limit| held > u128::from(limit)) && adds(part) {
                    found.add("queue", format!("queue '{}' would hold {held} {what}, over its limit", queue.name));
                }
            };
            let limits = &queue.limits;
            limit("thousandths of a CPU", limits.cpus.map(|cpus| u64::from(cpus) * 1000), &|grant| grant.cpu_milli());
            limit("bytes", limits.memory.map(|Bytes(bytes)| bytes), &|grant| grant.memory.0);
            limit("thousandths of a device", limits.devices.map(|devices| u64::from(devices) * 1000), &thousandths);
            limit("runs", limits.runs.map(u64::from), &|_| 1);
        }
    }
}

fn cpus(here: &[(&Grant, Option<JobId>)], found: &mut Found) {
    // CPU: thousandths, holders, whether one holds it alone, whether a start is among them.
    let mut used: BTreeMap<u32, (u64, u32, bool, bool)> = BTreeMap::new();
    for (grant, job) in here {
        let alone = grant.cpu_share.0 >= 1000;
        for cpu in grant.ranks.iter().flat_map(|rank| rank.cpus.iter()) {
            let entry = used.entry(cpu).or_default();
            entry.0 += u64::from(grant.cpu_share.0.min(1000));
            entry.1 += 1;
            entry.2 |= alone;
            entry.3 |= job.is_some();
        }
    }
    for (cpu, (milli, holders, alone, _)) in used.into_iter().filter(|(_, entry)| entry.3) {
        if milli > 1000 {
            found.add("cpus", format!("CPU {cpu} is granted {milli} thousandths"));
        }
        if alone && holders > 1 {
            found.add("cpus", format!("CPU {cpu} is held alone and by {holders}"));
        }
    }
}

/// Devices of a grant in thousandths, parts as what they count.
pub(super) fn thousandths(grant: &Grant) -> u64 {
    let held: usize = grant.ranks.iter().map(|rank| rank.devices.len()).sum();
    held as u64 * grant.share.map_or(1000, |share| u64::from(share.permille))
}

/// What is given of one device.
#[derive(Default)]
struct Given {
    whole: u32,
    parts: u32,
    memory: u128,
    compute: u64,
    /// A start is among them.
    starts: bool,
}

fn devices(here: &[(&Grant, Option<JobId>)], machine: &Machine, found: &mut Found) {
    let mut given: BTreeMap<&DeviceId, Given> = BTreeMap::new();
    for (grant, job) in here {
        for device in grant.devices() {
            let entry = given.entry(device).or_default();
            entry.starts |= job.is_some();
            match grant.share {
                None => entry.whole += 1,
                Some(share) => {
                    entry.parts += 1;
                    entry.memory += u128::from(share.memory.0);
                    entry.compute += u64::from(share.compute);
                }
            }
        }
    }
    for (id, given) in given.into_iter().filter(|(_, given)| given.starts) {
        if given.whole > 1 || (given.whole > 0 && given.parts > 0) {
            found.add("devices", format!("device {id} is granted whole {} times, and in {} parts", given.whole, given.parts));
        }
        let Some(device) = machine.devices.iter().find(|device| device.id == *id).filter(|_| given.parts > 0) else { continue };
        let most = device.sharing(&machine.facts).map_or(0, |sharing| sharing.tasks);
        if given.parts > most {
            found.add("devices", format!("device {id} is granted in {} parts, {most} are possible", given.parts));
        }
        let memory = u128::from(device.memory.unwrap_or_default().0);
        if given.memory > memory {
            found.add("devices", format!("{} bytes of device {id} are granted, it has {memory}", given.memory));
        }
        if given.compute > 1000 {
            found.add("devices", format!("{} thousandths of the compute units of device {id} are granted", given.compute));
        }
    }
}

fn ports(here: &[(&Grant, Option<JobId>)], found: &mut Found) {
    let mut ranges: Vec<(&PortRange, bool)> =
        here.iter().filter_map(|(grant, job)| grant.ports.as_ref().map(|range| (range, job.is_some()))).collect();
    ranges.sort_by_key(|(range, _)| range.first);
    // Ordered by their beginning, a range that overlaps any earlier one begins before the furthest end so far.
    let mut furthest: Option<(u32, bool)> = None;
    for (range, starts) in ranges {
        let end = u32::from(range.first) + u32::from(range.count);
        if let Some((other, other_starts)) = furthest
            && u32::from(range.first) < other
            && (starts || other_starts)
        {
            found.add("ports", format!("ports {} to {end} are leased twice", range.first));
        }
        if furthest.is_none_or(|(other, _)| end > other) {
            furthest = Some((end, starts));
        }
    }
}
