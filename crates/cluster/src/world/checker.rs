//! What must be true whatever happens. Looks at what people were told, at what is on disk, and at what really
//! executes on the machines; uses none of the bookkeeping it judges.

use super::disk::Disk;
use super::site::{Phase, Site};
use crate::{Core, Job, JobState, RunState, State};
use machine::{DeviceId, PortRange};
use spec::{Dependency, DependencyCondition, EndCause, JobId, JobSpec, RunId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub rule: &'static str,
    pub detail: String,
}

fn broken<T>(rule: &'static str, detail: String) -> Result<T, Broken> {
    Err(Broken { rule, detail })
}

/// Remembers what was promised to people.
#[derive(Debug, Default)]
pub struct Checker {
    accepted: BTreeMap<u64, Arc<JobSpec>>,
    keys: BTreeMap<(u32, String), JobId>,
    forgotten: BTreeSet<u64>,
}

impl Checker {
    /// A person was told that the job was accepted.
    pub fn accepted(&mut self, uid: u32, key: Option<&str>, id: JobId, spec: &Arc<JobSpec>) -> Result<(), Broken> {
        if let Some(key) = key {
            let first = self.keys.entry((uid, key.to_owned())).or_insert(id);
            if self.forgotten.contains(&first.number) {
                *first = id;
            }
            let first = *first;
            if first != id {
                return broken("one key is one job", format!("key {key} was answered with {first}, then with {id}"));
            }
        } else if self.accepted.contains_key(&id.number) {
            return broken("one number is one job", format!("{id} was given out twice"));
        }
        self.accepted.insert(id.number, spec.clone());
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.accepted.len()
    }

    pub fn knows(&self, id: JobId) -> bool {
        self.accepted.contains_key(&id.number)
    }

    /// No accepted job is lost: each is live or in the archive, all tasks of it.
    pub fn nothing_lost(&self, state: &State, disk: &Disk) -> Result<(), Broken> {
        for (number, spec) in &self.accepted {
            let expected = spec.array.as_ref().map_or(1, spec::Array::len);
            let found = state.tasks(*number).count() + disk.archived_tasks(*number).count();
            let expected = if self.forgotten.contains(number) { 0 } else { expected };
            if found as u64 != expected {
                return broken("no accepted job is lost", format!("job {number} has {expected} tasks, {found} are known"));
            }
            if let Some(job) = state.tasks(*number).find(|job| disk.archived(job.id).is_some()) {
                return broken("no job lives after its end", format!("{} is live and archived", job.id));
            }
        }
        Ok(())
    }

    /// These jobs are about to leave the archive: they must be over, whole, and named by nobody who still has to run.
    pub fn forgets(&mut self, numbers: &[u64], disk: &Disk) -> Result<(), Broken> {
        for number in numbers {
            let rule = "only what is over and needed by nobody is forgotten";
            let gone = disk.archived_tasks(*number).next().is_none() && !self.forgotten.contains(number);
            if disk.shadow.tasks(*number).next().is_some() || gone {
                return broken(rule, format!("job {number} is forgotten and has not ended"));
            }
            let needs = |job: &&Job| job.spec.after.iter().any(|after| after.job.number == *number);
            if let Some(job) = disk.shadow.jobs().values().find(needs) {
                return broken(rule, format!("job {number} is forgotten and job {} names it under 'after'", job.id));
            }
        }
        self.forgotten.extend(numbers);
        Ok(())
    }

    /// Every waiting job has a reason that the planner gave, and the core found nothing wrong with itself.
    pub fn reasons(&self, core: &Core) -> Result<(), Broken> {
        if let Some(alarm) = core.alarms().next() {
            return broken("the core has no alarm", format!("{}: {}", alarm.title, alarm.evidence.join("; ")));
        }
        let explained: BTreeSet<JobId> =
            core.plan().reasons.iter().filter(|(_, reasons)| !reasons.is_empty()).map(|(job, _)| *job).collect();
        for job in core.state().waiting() {
            if !explained.contains(&job.id) {
                return broken("every wait has a reason", format!("job {} waits and nothing says why", job.id));
            }
        }
        Ok(())
    }

    /// What executes is what was decided, once, within the machine, whole gangs only.
    pub fn truth(&self, sites: &[Site], disk: &Disk) -> Result<(), Broken> {
        let mut jobs: BTreeMap<JobId, RunId> = BTreeMap::new();
        let mut arrays: BTreeMap<u64, u32> = BTreeMap::new();
        let mut queues: BTreeMap<&str, u32> = BTreeMap::new();
        for site in sites {
            fits(site)?;
            for process in site.executing() {
                let run = process.order.run;
                if let Some(other) = jobs.insert(run.job, run) {
                    return broken("no job runs twice at a time", format!("{other} and {run} execute at once"));
                }
                let live = disk.shadow.job(run.job).and_then(Job::live_run);
                if live.is_none_or(|live| live.id != run) {
                    return broken("what executes holds a grant", format!("{run} executes, but on disk it holds nothing"));
                }
                let spec = &process.order.spec;
                let whole = process.order.grant.ranks.len() == spec.ranks as usize;
                if !whole || (process.phase != Phase::Stopping && process.ranks_alive != spec.ranks) {
                    return broken("no partial gang", format!("{run} has {} of {} ranks", process.ranks_alive, spec.ranks));
                }
                let asked = self.accepted.get(&run.job.number).filter(|asked| !asked.sizes().contains(&spec.ranks));
                if let Some(asked) = asked {
                    return broken(
                        "a run has a size of its job",
                        format!("{run} has {} ranks, it may have {:?}", spec.ranks, asked.sizes()),
                    );
                }
                self.after_is_met(run.job, spec, disk)?;
                let running = arrays.entry(run.job.number).or_default();
                *running += 1;
                if let Some(at_once) = spec.array.as_ref().and_then(|array| array.at_once).filter(|at_once| *running > *at_once) {
                    return broken("an array keeps its ceiling", format!("{running} tasks of {} execute, {at_once} may", run.job.number));
                }
                let mut queue = spec.queue.as_deref();
                *queues.entry(queue.unwrap_or("default")).or_default() += 1;
                // What is above counts what is below.
                while let Some(above) =
                    disk.shadow.queues().iter().find(|row| Some(row.name.as_str()) == queue).and_then(|row| row.parent.as_deref())
                {
                    *queues.entry(above).or_default() += 1;
                    queue = Some(above);
                }
            }
        }
        for queue in disk.shadow.queues() {
            let running = queues.get(queue.name.as_str()).copied().unwrap_or(0);
            if queue.limits.runs.is_some_and(|limit| running > limit) {
                return broken("a queue keeps its limit", format!("{running} runs of queue {} execute", queue.name));
            }
        }
        Ok(())
    }

    /// Whether the job ended so long ago that nobody need know of it.
    pub fn forgot(&self, job: JobId) -> bool {
        self.forgotten.contains(&job.number)
    }

    fn after_is_met(&self, job: JobId, spec: &JobSpec, disk: &Disk) -> Result<(), Broken> {
        // A submission may have been on its way, with the other job's end, while that was forgotten.
        let kept = |after: &&Dependency| !self.forgot(after.job);
        spec.after.iter().filter(kept).try_for_each(|after| one_is_met(job, after, disk))
    }

    /// After everything: all is over, and what the archive says is what happened.
    pub fn end(&self, core: &Core, sites: &[Site], disk: &Disk) -> Result<(), Broken> {
        if let Some(job) = core.state().jobs().values().next() {
            return broken("every job ends", format!("job {} is still {}", job.id, job.state.name()));
        }
        let truth: BTreeSet<String> =
            sites.iter().flat_map(|site| &site.truth).map(|(run, cause)| format!("{run} {}", serde_text(cause))).collect();
        evictions_end_in_starts(disk)?;
        disk.archive().try_for_each(sizes_are_right)?;
        for job in disk.archive() {
            for run in &job.runs {
                let RunState::Ended(cause) = &run.state else {
                    return broken("an ended job has ended runs", format!("{} never ended", run.id));
                };
                if !truth.contains(&format!("{} {}", run.id, serde_text(cause))) {
                    return broken("ends are what really happened", format!("{} is said to have ended by {cause:?}", run.id));
                }
            }
            let gave_way = |run: &&crate::Run| {
                run.evicted.is_some() && matches!(run.state, RunState::Ended(EndCause::Stopped | EndCause::Lost { .. }))
            };
            if job.runs.len() - job.runs.iter().filter(gave_way).count() > job.spec.retry.attempts as usize {
                return broken("no more attempts than asked for", format!("job {} ran {} times", job.id, job.runs.len()));
            }
            exit_code_is_true(job)?;
        }
        Ok(())
    }
}

fn serde_text(cause: &EndCause) -> String {
    format!("{cause:?}")
}

/// CPUs, devices, ports and memory of one machine, added up over what executes there.
fn fits(site: &Site) -> Result<(), Broken> {
    let mut cpus: BTreeMap<u32, u32> = BTreeMap::new();
    // Whole holders, bytes and thousandths of the compute units given in parts, of each device.
    let mut devices: BTreeMap<&DeviceId, (u32, u64, u32)> = BTreeMap::new();
    let mut ports: Vec<(PortRange, RunId)> = vec![];
    let mut memory = 0;
    for process in site.executing() {
        let (run, grant) = (process.order.run, &process.order.grant);
        if grant.machine != site.machine.id {
            return broken("a run is where it was granted", format!("{run} executes on {}", site.machine.id));
        }
        memory += grant.memory.0;
        for rank in &grant.ranks {
            for cpu in rank.cpus.iter() {
                let held = cpus.entry(cpu).or_default();
                *held += grant.cpu_share.0.min(1000);
                if *held > 1000 {
                    return broken(
                        "no CPU is held twice",
                        format!("CPU {cpu} of {} is given out {held}/1000, last to {run}", site.machine.id),
                    );
                }
            }
            for device in &rank.devices {
                let first = !devices.contains_key(device);
                let given = devices.entry(device).or_default();
                let has = site.machine.devices.iter().find(|one| one.id == *device).and_then(|one| one.memory).unwrap_or_default();
                match grant.share {
                    Some(share) => (given.1, given.2) = (given.1 + share.memory.0, given.2 + share.compute),
                    None => given.0 += 1,
                }
                if (given.0 > 0 && !first) || given.1 > has.0 || given.2 > 1000 {
                    return broken("no device is held twice", format!("{device}, by {run} and another"));
                }
            }
        }
        if let Some(range) = grant.ports {
            if let Some((_, other)) = ports.iter().find(|(held, _)| held.overlaps(&range)) {
                return broken("no port is held twice", format!("{run} and {other} share ports from {}", range.first));
            }
            ports.push((range, run));
        }
    }
    if memory > site.machine.memory.0 {
        return broken("no memory is held twice", format!("{memory} bytes are granted on {}", site.machine.id));
    }
    Ok(())
}

fn one_is_met(job: JobId, after: &Dependency, disk: &Disk) -> Result<(), Broken> {
    let ends: Vec<JobState> = match after.job.task {
        Some(_) => disk.archived(after.job).map(|job| job.state).into_iter().collect(),
        None => disk.archived_tasks(after.job.number).map(|job| job.state).collect(),
    };
    let all_ok = ends.iter().all(|state| *state == JobState::Succeeded);
    let met = match after.condition {
        DependencyCondition::Ok => all_ok,
        DependencyCondition::NotOk => !all_ok,
        DependencyCondition::Any => true,
    };
    let over = !disk.shadow.is_live(after.job);
    if ends.is_empty() || !met || !over {
        return broken("dependencies are kept", format!("{job} executes, but {} is not as 'after' asks", after.job));
    }
    Ok(())
}

/// Whoever gave way did so for somebody who then started, or was cancelled meanwhile; each time anew. Clocks may have been set
/// back in between, so starts are counted and not compared by time.
fn evictions_end_in_starts(disk: &Disk) -> Result<(), Broken> {
    let mut evictions: BTreeMap<JobId, BTreeSet<spec::Time>> = BTreeMap::new();
    for job in disk.archive() {
        for run in &job.runs {
            evictions.entry(run.evicted.map_or(job.id, |evicted| evicted.by)).or_default().extend(run.evicted.map(|evicted| evicted.at));
        }
        let last = job.runs.last();
        if job.state == JobState::Failed && last.is_some_and(crate::Run::gave_way) {
            return broken("who gives way waits again", format!("{} failed by its eviction", job.id));
        }
    }
    for (winner, times) in evictions {
        let Some(job) = disk.archived(winner) else { continue };
        let starts = job.runs.len() + usize::from(job.cancelled_by.is_some());
        if starts < times.len() {
            return broken(
                "no eviction without a start",
                format!("runs were evicted {} times for {winner}, which began {starts} times", times.len()),
            );
        }
    }
    Ok(())
}

/// Every run has a size of its job. Only what saves its work is resized, and then goes on, as large as it was told, unless somebody
/// cancelled it or the place was void because the queues or the machine changed.
fn sizes_are_right(job: &Job) -> Result<(), Broken> {
    let ranks = |run: &crate::Run| u32::try_from(run.grant.ranks.len()).unwrap_or(0);
    if let Some(run) = job.runs.iter().find(|run| !job.spec.sizes().contains(&ranks(run))) {
        return broken("a run has a size of its job", format!("{} has {} ranks, it may have {:?}", run.id, ranks(run), job.spec.sizes()));
    }
    for (place, run) in job.runs.iter().enumerate() {
        let Some((evicted, told)) = run.evicted.and_then(|evicted| Some((evicted, evicted.ranks?))) else { continue };
        if !job.spec.checkpoint.declared || !job.spec.sizes().contains(&told) || told == ranks(run) {
            return broken("only what saves its work is resized", format!("{} from {} to {told} ranks", run.id, ranks(run)));
        }
        if (told > ranks(run)) != (evicted.by == job.id) {
            return broken(
                "runs grow for themselves and shrink for others",
                format!("{} goes on with {told} ranks for {}", run.id, evicted.by),
            );
        }
        let gone = run.gave_way() && job.runs.len() == place + 1 && job.cancelled_by.is_none();
        if gone {
            return broken("who is resized goes on", format!("{} is the last run of its job", run.id));
        }
    }
    Ok(())
}

/// The table of the documentation, written out once more.
fn exit_code_is_true(job: &Job) -> Result<(), Broken> {
    let last = job.runs.last().map(|run| &run.state);
    let expected = match (job.state, last) {
        (JobState::Cancelled, _) => 130,
        (JobState::Succeeded, Some(RunState::Ended(EndCause::Success))) => 0,
        (JobState::Failed, Some(RunState::Ended(cause))) => match cause {
            EndCause::Exit { code, .. } => *code,
            EndCause::Signalled { signal, .. } => 128 + signal,
            EndCause::OutOfMemory { .. } | EndCause::DeviceMemory { .. } => 137,
            EndCause::Limit { .. } => 124,
            EndCause::StartFailed { .. } | EndCause::Lost { .. } | EndCause::Stopped => 125,
            EndCause::Success => return broken("exit codes are true", format!("{} failed by success", job.id)),
        },
        (state, last) => return broken("exit codes are true", format!("{} is {} after {last:?}", job.id, state.name())),
    };
    if job.exit_code != Some(expected) || job.outcome.is_none() || job.ended.is_none() {
        return broken("exit codes are true", format!("{}: {:?} instead of {expected} ({:?})", job.id, job.exit_code, job.outcome));
    }
    Ok(())
}
