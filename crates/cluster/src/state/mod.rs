//! The state machine. One file a subject: `submit` and `cancel` take people's wishes, `adopt` takes plans,
//! `observe` takes reports, `finish` ends jobs, `forget` forgets them, `saved` is the form on disk.

mod adopt;
mod cancel;
mod finish;
mod forget;
mod index;
mod leave;
mod observe;
mod queues;
mod saved;
mod submit;

#[cfg(test)]
mod tests;

pub use saved::RestoreError;

use crate::ending::LONGEST_BACKOFF;
use crate::{Command, Job, Ledger, Notice, Refusal, Run};
use index::Index;
use machine::Machine;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use spec::{Assignment, JobId, JobSpec, Queue, RunId, RunOrder, Span, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Everything that is true now. Holds only live jobs: an ended one leaves with [`Effects::ended`].
///
/// Two states that applied the same commands are equal, and so is one that was saved and restored in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    generation: u64,
    next_number: u64,
    machines: BTreeMap<String, MachineState>,
    jobs: BTreeMap<JobId, Job>,
    queues: Vec<Queue>,
    usage: BTreeMap<String, Ledger>,
    keys: Keys,
    /// Tasks that ended without success, for arrays that still have live tasks.
    unsuccessful: BTreeMap<u64, u64>,
    /// Derived from the rest, never saved.
    index: Index,
}

/// One machine that has joined at some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineState {
    pub machine: Arc<Machine>,
    /// Grows with every change to the machine's assignment.
    pub assignment_generation: u64,
    /// When the machine, as it is now, was first seen.
    pub joined: Time,
}

/// What followed from one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// False when the command told nothing new: the state is as it was, and nothing needs to be logged.
    pub changed: bool,
    /// Something was freed, added or removed, so that another plan may be better.
    pub replan: bool,
    /// Machines whose assignment is a new one.
    pub changed_machines: BTreeSet<String>,
    /// Jobs that came, changed or went.
    pub changed_jobs: BTreeSet<JobId>,
    /// Jobs that ended, in the order they did. They are no longer in the state.
    pub ended: Vec<Job>,
    /// Arrays of which the last task ended, and how they ended as a whole.
    pub finished_arrays: Vec<(JobId, crate::JobState)>,
    /// Numbers of jobs that are remembered no longer.
    pub forgotten: Vec<u64>,
    pub notices: Vec<Notice>,
}

/// Keys of submissions, 10,000 of them. Beyond, the person with the most loses the oldest, so that nobody's many
/// push out the few of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Keys {
    jobs: BTreeMap<(u32, String), Keyed>,
    /// Oldest first.
    order: VecDeque<(u32, String)>,
    count: BTreeMap<u32, usize>,
}

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    pub job: JobId,
    /// Of what was submitted; unknown in states that an earlier release saved.
    content: Option<u64>,
}

impl Keyed {
    /// Whether this is the same submission again.
    pub fn is_of(&self, spec: &JobSpec) -> bool {
        self.content.is_none_or(|content| content == fingerprint(spec))
    }
}

/// A sum of what is asked for. What a job file leaves out counts as nothing, so that a field which a later release
/// adds makes no submission a different one.
fn fingerprint(spec: &JobSpec) -> u64 {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    let hash = Sha256::digest(value.to_string());
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

const KEYS_REMEMBERED: usize = 10_000;

impl Keys {
    fn insert(&mut self, uid: u32, key: &str, keyed: Keyed) {
        let key = (uid, key.to_owned());
        if self.jobs.insert(key.clone(), keyed).is_none() {
            *self.count.entry(uid).or_default() += 1;
            self.order.push_back(key);
        }
        while self.order.len() > KEYS_REMEMBERED {
            let most = self.count.iter().max_by_key(|(_, count)| **count).map(|(uid, _)| *uid);
            let place = self.order.iter().position(|(uid, _)| Some(*uid) == most).unwrap_or(0);
            let Some(oldest) = self.order.remove(place) else { return };
            self.jobs.remove(&oldest);
            self.uncount(oldest.0);
        }
    }

    fn uncount(&mut self, uid: u32) {
        if let Some(count) = self.count.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                self.count.remove(&uid);
            }
        }
    }

    fn get(&self, uid: u32, key: &str) -> Option<Keyed> {
        self.jobs.get(&(uid, key.to_owned())).copied()
    }

    /// `numbers` is in order.
    fn forget(&mut self, numbers: &[u64]) {
        self.jobs.retain(|_, keyed| numbers.binary_search(&keyed.job.number).is_err());
        let jobs = &self.jobs;
        self.order.retain(|key| jobs.contains_key(key));
        self.count.clear();
        for (uid, _) in &self.order {
            *self.count.entry(*uid).or_default() += 1;
        }
    }
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

impl State {
    /// No machine, no job, and the one queue named `default`.
    pub fn new() -> State {
        State {
            generation: 0,
            next_number: 1,
            machines: BTreeMap::new(),
            jobs: BTreeMap::new(),
            queues: vec![Queue::default()],
            usage: BTreeMap::new(),
            keys: Keys::default(),
            unsuccessful: BTreeMap::new(),
            index: Index::default(),
        }
    }

    /// Takes in one command, whole or not at all: after a refusal the state is as before.
    pub fn apply(&mut self, command: &Command) -> Result<Effects, Refusal> {
        let mut effects = Effects::default();
        match command {
            Command::Submit { number, spec, owner, key, ended, at } => {
                self.submit(*number, spec, owner, key.as_deref(), ended, *at, &mut effects)?;
            }
            Command::Cancel { job, by, kill, at } => self.cancel(*job, by, *kill, *at, &mut effects)?,
            Command::Join { machine, at } => self.join(machine, *at, &mut effects),
            Command::Leave { machine, by, at } => self.leave(machine, by, *at, &mut effects)?,
            Command::Queues { queues, at: _ } => self.set_queues(queues, &mut effects)?,
            Command::Adopt { based_on, starts, evictions, resizes, at } => {
                self.adopt(*based_on, adopt::Decided { starts, evictions, resizes }, *at, &mut effects)?;
            }
            Command::Observe { report, at } => self.observe(report, *at, &mut effects)?,
            Command::Wake { at } => self.wake(*at, &mut effects),
            Command::Forget { numbers, at: _ } => self.forget(numbers, &mut effects)?,
        }
        for name in &effects.changed_machines {
            if let Some(machine) = self.machines.get_mut(name) {
                machine.assignment_generation = machine.assignment_generation.saturating_add(1);
            }
        }
        if effects.changed {
            self.generation += 1;
        }
        Ok(effects)
    }

    fn join(&mut self, machine: &Arc<Machine>, at: Time, effects: &mut Effects) {
        let mut drop_claims = vec![];
        match self.machines.get_mut(&machine.id) {
            Some(known) if known.machine == *machine => return,
            Some(known) => {
                drop_claims.push(machine.id.clone());
                known.machine = machine.clone();
                known.joined = at;
            }
            None => {
                let new = MachineState { machine: machine.clone(), assignment_generation: 0, joined: at };
                self.machines.insert(machine.id.clone(), new);
            }
        }
        effects.changed = true;
        effects.replan = true;
        self.void_claims(|grant| drop_claims.contains(&grant.machine), effects);
    }

    /// Claims are good for the machine and the queues that they were planned with. Their jobs wait as all others do.
    fn void_claims(&mut self, void: impl Fn(&machine::Grant) -> bool, effects: &mut Effects) {
        let claims = self.jobs.values().filter(|job| job.claim.as_ref().is_some_and(&void));
        let gone: Vec<JobId> = claims.map(|job| job.id).collect();
        for id in gone {
            self.edit(id, effects, |job| job.claim = None);
        }
    }

    /// Back-off timers that have run out are taken off their jobs.
    fn wake(&mut self, at: Time, effects: &mut Effects) {
        for id in self.index.timers_due(at, LONGEST_BACKOFF) {
            self.edit(id, effects, |job| job.not_before = None);
            effects.replan = true;
        }
    }

    /// Changes one job and keeps the index true.
    fn edit(&mut self, id: JobId, effects: &mut Effects, change: impl FnOnce(&mut Job)) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        self.index.remove(job);
        change(job);
        self.index.add(job);
        effects.changed_jobs.insert(id);
        effects.changed = true;
    }

    /// Grows by one with every command that changed something.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the run was ordered at some time, as far as can be told: of jobs that have ended nothing is known here.
    pub fn ordered(&self, run: RunId) -> bool {
        match self.jobs.get(&run.job) {
            Some(job) => job.runs.iter().any(|known| known.id == run),
            None => run.job.number < self.next_number,
        }
    }

    /// Whether the run holds its grant.
    pub fn holds(&self, run: RunId) -> bool {
        self.jobs.get(&run.job).and_then(Job::live_run).is_some_and(|live| live.id == run)
    }

    /// The number the next job gets.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Takes no number up to this one again.
    pub fn number_above(&mut self, given: u64) {
        self.next_number = self.next_number.max(given.saturating_add(1));
    }

    /// Live jobs of this person, tasks of arrays counted each.
    pub fn live_jobs_of(&self, uid: u32) -> u64 {
        self.index.owners.get(&uid).copied().unwrap_or(0)
    }

    pub fn machines(&self) -> &BTreeMap<String, MachineState> {
        &self.machines
    }

    /// Live jobs by id, so in the order they were submitted.
    pub fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.jobs
    }

    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// The live job with this number, or all live tasks of the array with it, in order.
    pub fn tasks(&self, number: u64) -> impl Iterator<Item = &Job> {
        self.jobs.range(JobId::new(number)..=JobId::task(number, u32::MAX)).map(|(_, job)| job)
    }

    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// What runs that have ended used, by queue.
    pub fn usage(&self) -> &BTreeMap<String, Ledger> {
        &self.usage
    }

    /// Jobs that wait, in the order they were submitted.
    pub fn waiting(&self) -> impl Iterator<Item = &Job> {
        self.index.waiting.iter().filter_map(|id| self.jobs.get(id))
    }

    /// Jobs with a run that has not been seen to end, by machine.
    pub fn holding<'a>(&'a self, machine: &str) -> impl Iterator<Item = (&'a Job, &'a Run)> + use<'a> {
        let ids = self.index.holding.get(machine).into_iter().flatten();
        ids.filter_map(|id| self.jobs.get(id)).filter_map(|job| job.live_run().map(|run| (job, run)))
    }

    /// All jobs with a run that has not been seen to end.
    pub fn running(&self) -> impl Iterator<Item = (&Job, &Run)> {
        self.index.holding.keys().flat_map(|machine| self.holding(machine))
    }

    /// What was accepted earlier for this key of this person.
    pub fn submitted_as(&self, uid: u32, key: &str) -> Option<Keyed> {
        self.keys.get(uid, key)
    }

    /// Everything that should run on the machine now: each run that has not been seen to end, with its stop order.
    pub fn assignment(&self, machine: &str) -> Assignment {
        let order = |(job, run): (&Job, &Run)| RunOrder {
            run: run.id,
            spec: order_of(job, run),
            owner: job.owner.clone(),
            grant: run.grant.clone(),
            submitted: job.submitted,
            stop: run.stop,
        };
        Assignment {
            machine: machine.to_owned(),
            generation: self.machines.get(machine).map_or(0, |known| known.assignment_generation),
            runs: self.holding(machine).map(order).collect(),
        }
    }

    /// Whether [`Command::Wake`] would change something.
    pub fn due(&self, now: Time) -> bool {
        self.index.any_timer_due(now, LONGEST_BACKOFF)
    }

    /// When the next back-off runs out.
    pub fn next_due(&self) -> Option<Time> {
        self.index.timers.first().map(|(at, _)| *at)
    }

    /// Which tasks of an array with a ceiling may be placed: the first waiting ones, as many as the ceiling
    /// leaves room for. Tasks in back-off are passed over.
    pub(crate) fn open_tasks(&self, number: u64, at_once: u32) -> BTreeSet<JobId> {
        let room = at_once.saturating_sub(self.index.arrays.get(&number).map_or(0, |array| array.holding));
        let tasks = self.index.waiting.range(JobId::new(number)..=JobId::task(number, u32::MAX));
        tasks.filter(|id| self.jobs.get(id).is_some_and(|job| job.not_before.is_none())).take(room as usize).copied().collect()
    }
}

/// What the node is to carry out: of an elastic job, the size that was granted and no other.
fn order_of(job: &Job, run: &Run) -> Arc<spec::JobSpec> {
    match u32::try_from(run.grant.ranks.len()) {
        Ok(ranks) if job.spec.is_elastic() => Arc::new(job.spec.sized(ranks)),
        _ => job.spec.clone(),
    }
}

/// A device weighs as much as this many CPUs in the books of fair shares: about what comes with one in servers
/// of two sockets and eight accelerators.
const DEVICE_IN_CPUS: u64 = 16;

/// Processor milliseconds that `run` costs its queue when held for `span`.
pub(crate) fn cost(grant: &machine::Grant, span: Span) -> u64 {
    let milli = u128::from(grant.cpu_milli() + grant.device_milli() * DEVICE_IN_CPUS);
    u64::try_from(milli * u128::from(span.0) / 1000).unwrap_or(u64::MAX)
}
