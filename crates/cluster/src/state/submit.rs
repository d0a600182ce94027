//! Taking in a job.

use super::finish::{Ending, Fate, fate};
use super::{Effects, Keyed, State, fingerprint};
use crate::{Job, JobState, Refusal};
use spec::{Dependency, Identity, JobId, JobSpec, Queue, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most tasks of one array; each is a job of its own in memory.
const MOST_TASKS: u64 = 100_000;

/// The queue of a job that names none.
const DEFAULT_QUEUE: &str = "default";

/// A dependency that can never be met any more, and how the other job ended, if it has.
pub(crate) type Unmeetable = (Dependency, Option<JobState>);

impl State {
    /// The queue a job of this spec would wait in, if its owner may submit there.
    pub fn queue_for(&self, spec: &JobSpec, owner: &Identity) -> Result<&Queue, Refusal> {
        let name = spec.queue.as_deref().unwrap_or(DEFAULT_QUEUE);
        let queue = self.queues.iter().find(|queue| queue.name == name).ok_or_else(|| Refusal::NoSuchQueue {
            name: name.to_owned(),
            known: self.queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        let below: Vec<&str> =
            self.queues.iter().filter(|other| other.parent.as_deref() == Some(name)).map(|other| other.name.as_str()).collect();
        if !below.is_empty() {
            return Err(Refusal::QueueAbove { queue: name.to_owned(), below: below.join(", ") });
        }
        if self.may_submit(queue, owner) {
            Ok(queue)
        } else {
            Err(Refusal::NotYourQueue { user: owner.user.clone(), queue: name.to_owned() })
        }
    }

    /// A queue that names nobody lets in whom the queue above it lets in, and at the top everybody.
    fn may_submit(&self, queue: &Queue, owner: &Identity) -> bool {
        let above = |queue: &&Queue| self.queues.iter().find(|other| queue.parent.as_ref() == Some(&other.name));
        // Bounded: a state keeps no circle, and a saved one is not trusted to.
        let way = std::iter::successors(Some(queue), above).take(self.queues.len());
        way.filter_map(|queue| lets_in(queue, owner)).next().unwrap_or(true)
    }

    /// What of `after` is still open, and the first dependency that can never be met any more.
    pub(crate) fn open_dependencies(
        &self,
        after: &[Dependency],
        ended: &[(JobId, JobState)],
    ) -> Result<(Vec<Dependency>, Option<Unmeetable>), Refusal> {
        let ended: BTreeMap<JobId, JobState> = ended.iter().copied().filter(|(_, state)| state.is_terminal()).collect();
        let mut open = vec![];
        let mut never = None;
        for dependency in after {
            let outcome = if self.is_live(dependency.job) {
                None
            } else {
                Some(*ended.get(&dependency.job).ok_or(Refusal::NoSuchDependency(dependency.job))?)
            };
            match fate(dependency.condition, outcome, self.is_doomed(dependency.job)) {
                Fate::Met => {}
                Fate::Open => open.push(*dependency),
                Fate::Never => never = never.or(Some((*dependency, outcome))),
            }
        }
        Ok((open, never))
    }

    /// A live job, a live task, or an array with live tasks.
    pub fn is_live(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id) || (id.task.is_none() && self.index.arrays.contains_key(&id.number))
    }

    /// A live array that can no longer succeed as a whole.
    fn is_doomed(&self, id: JobId) -> bool {
        id.task.is_none() && self.unsuccessful.contains_key(&id.number)
    }

    #[allow(clippy::too_many_arguments)] // the fields of one command
    pub(super) fn submit(
        &mut self,
        number: u64,
        spec: &Arc<JobSpec>,
        owner: &Identity,
        key: Option<&str>,
        ended: &[(JobId, JobState)],
        at: Time,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if number < self.next_number || number == u64::MAX {
            return Err(Refusal::Inconsistent(format!("job number {number} was given before; the next is {}", self.next_number)));
        }
        if let Some((key, earlier)) = key.and_then(|key| Some((key, self.keys.get(owner.uid, key)?))) {
            return Err(Refusal::KeyUsed { key: key.to_owned(), job: earlier.job });
        }
        let ids = ids(number, spec)?;
        let queue = self.queue_for(spec, owner)?.name.clone();
        let (after, never) = self.open_dependencies(&spec.after, ended)?;

        self.next_number = number + 1;
        if let Some(key) = key {
            let keyed = Keyed { job: JobId::new(number), content: Some(fingerprint(spec)) };
            self.keys.insert(owner.uid, key, keyed);
        }
        for id in &ids {
            let job = Job {
                id: *id,
                spec: spec.clone(),
                owner: owner.clone(),
                queue: queue.clone(),
                state: JobState::Waiting,
                submitted: at,
                started: None,
                ended: None,
                exit_code: None,
                outcome: None,
                after: after.clone(),
                not_before: None,
                cancelled_by: None,
                claim: None,
                runs: vec![],
            };
            self.index.add(&job);
            self.jobs.insert(*id, job);
            effects.changed_jobs.insert(*id);
        }
        effects.changed = true;
        effects.replan = true;
        if let Some((dependency, outcome)) = never {
            let endings = ids.into_iter().map(|id| (id, Ending::never(dependency, outcome, at))).collect();
            self.finish(endings, effects);
        }
        Ok(())
    }
}

/// The job itself, or one id a task.
fn ids(number: u64, spec: &JobSpec) -> Result<Vec<JobId>, Refusal> {
    let Some(array) = &spec.array else { return Ok(vec![JobId::new(number)]) };
    match array.len() {
        0 => Err(Refusal::Inconsistent("the array has no task".into())),
        1..=MOST_TASKS => Ok(array.indices().map(|task| JobId::task(number, task)).collect()),
        tasks => Err(Refusal::Inconsistent(format!("the array has {tasks} tasks; {MOST_TASKS} are the most"))),
    }
}

/// Who is named lets in; root is let in everywhere. A group is named by its number here: names are turned into numbers
/// where the queues are read, because only the machine knows them. `None`: the queue names nobody.
fn lets_in(queue: &Queue, owner: &Identity) -> Option<bool> {
    let names_nobody = queue.users.is_empty() && queue.groups.is_empty();
    let in_group = |group: &String| group.parse::<u32>().is_ok_and(|gid| gid == owner.gid || owner.groups.contains(&gid));
    let named = || owner.uid == 0 || queue.users.contains(&owner.user) || queue.groups.iter().any(in_group);
    (!names_nobody).then(named)
}
