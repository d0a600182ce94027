//! The form of the state on disk.

use super::index::Index;
use super::{Keyed, Keys, MachineState, State};
use crate::{Job, JobState, Ledger, Run};
use machine::Grant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use spec::{Dependency, Identity, JobId, JobSpec, Queue, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of the format below. A state written by a newer Ashlar is refused, never guessed at.
const VERSION: u32 = 1;

/// Why a saved state cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the saved state is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("the saved state has format {found}; this version of Ashlar reads formats up to {VERSION}")]
    TooNew { found: u32 },
}

impl RestoreError {
    pub fn hint(&self) -> &'static str {
        match self {
            RestoreError::Damaged(_) => "start from the checkpoint before it; the command log from there on leads to the same state",
            RestoreError::TooNew { .. } => "start the newer version of Ashlar that wrote it",
        }
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// Jobs of one number share what was submitted, so it is written once and not for every task.
#[derive(Serialize, Deserialize)]
struct Group {
    number: u64,
    spec: Arc<JobSpec>,
    owner: Identity,
    queue: String,
    submitted: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unsuccessful: Option<u64>,
    jobs: Vec<Task>,
}

#[derive(Serialize, Deserialize)]
struct Task {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<u32>,
    state: JobState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<Time>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    after: Vec<Dependency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancelled_by: Option<Identity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<Grant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runs: Vec<Run>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    generation: u64,
    next_number: u64,
    machines: BTreeMap<String, MachineState>,
    queues: Vec<Queue>,
    usage: BTreeMap<String, Ledger>,
    /// Oldest first: user id, key, job.
    keys: Vec<(u32, String, JobId)>,
    /// Sums of what was submitted under them, by job number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    key_contents: BTreeMap<u64, u64>,
    jobs: Vec<Group>,
}

impl State {
    /// The newest format of saved states that this release reads, which is the one it writes.
    pub const FORMAT: u32 = VERSION;

    /// The whole state as JSON, for [`State::restore`].
    pub fn checkpoint(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads what [`State::checkpoint`] wrote. Applying the commands that came after it gives the state of now.
    pub fn restore(json: &[u8]) -> Result<State, RestoreError> {
        let VersionOnly { version } = serde_json::from_slice(json)?;
        if version > VERSION {
            return Err(RestoreError::TooNew { found: version });
        }
        Ok(serde_json::from_slice(json)?)
    }

    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = vec![];
        for job in self.jobs.values() {
            if groups.last().is_none_or(|group| group.number != job.id.number) {
                groups.push(Group {
                    number: job.id.number,
                    spec: job.spec.clone(),
                    owner: job.owner.clone(),
                    queue: job.queue.clone(),
                    submitted: job.submitted,
                    unsuccessful: self.unsuccessful.get(&job.id.number).copied(),
                    jobs: vec![],
                });
            }
            if let Some(group) = groups.last_mut() {
                group.jobs.push(Task {
                    task: job.id.task,
                    state: job.state,
                    started: job.started,
                    after: job.after.clone(),
                    not_before: job.not_before,
                    cancelled_by: job.cancelled_by.clone(),
                    claim: job.claim.clone(),
                    runs: job.runs.clone(),
                });
            }
        }
        groups
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = self.keys.order.iter().filter_map(|key| Some((key.0, key.1.clone(), self.keys.jobs.get(key)?.job)));
        let saved = Saved {
            version: VERSION,
            generation: self.generation,
            next_number: self.next_number,
            machines: self.machines.clone(),
            queues: self.queues.clone(),
            usage: self.usage.clone(),
            keys: keys.collect(),
            key_contents: self.keys.jobs.values().filter_map(|keyed| Some((keyed.job.number, keyed.content?))).collect(),
            jobs: self.groups(),
        };
        saved.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
        let saved = Saved::deserialize(deserializer)?;
        if saved.version != VERSION {
            return Err(serde::de::Error::custom(format!("format {} is not {VERSION}", saved.version)));
        }
        let mut keys = Keys::default();
        for (uid, key, job) in &saved.keys {
            keys.insert(*uid, key, Keyed { job: *job, content: saved.key_contents.get(&job.number).copied() });
        }
        let mut jobs = BTreeMap::new();
        let mut unsuccessful = BTreeMap::new();
        for group in saved.jobs {
            unsuccessful.extend(group.unsuccessful.map(|count| (group.number, count)));
            for task in group.jobs {
                let id = JobId { number: group.number, task: task.task };
                let job = Job {
                    id,
                    spec: group.spec.clone(),
                    owner: group.owner.clone(),
                    queue: group.queue.clone(),
                    state: task.state,
                    submitted: group.submitted,
                    started: task.started,
                    ended: None,
                    exit_code: None,
                    outcome: None,
                    after: task.after,
                    not_before: task.not_before,
                    cancelled_by: task.cancelled_by,
                    claim: task.claim,
                    runs: task.runs,
                };
                jobs.insert(id, job);
            }
        }
        let index = Index::of(jobs.values());
        Ok(State {
            generation: saved.generation,
            next_number: saved.next_number,
            machines: saved.machines,
            jobs,
            queues: saved.queues,
            usage: saved.usage,
            keys,
            unsuccessful,
            index,
        })
    }
}
