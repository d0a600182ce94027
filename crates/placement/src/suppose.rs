//! A cluster as a person supposes it to be.

use crate::Snapshot;
use machine::{DeviceId, Health};
use spec::{JobId, Limits, Supposition};
use std::sync::Arc;

/// Something is supposed of what is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SupposeError {
    #[error("job {0} neither runs nor waits")]
    NoJob(JobId),
    #[error("no machine has a device '{0}'")]
    NoDevice(DeviceId),
    #[error("there is no queue '{0}'")]
    NoQueue(String),
}

/// The snapshot with these changes, all of them.
pub fn suppose(snapshot: &Snapshot, suppositions: &[Supposition]) -> Result<Snapshot, SupposeError> {
    let mut supposed = snapshot.clone();
    for supposition in suppositions {
        match supposition {
            Supposition::Ended(job) => end(&mut supposed, *job)?,
            Supposition::Healthy(device) => heal(&mut supposed, device)?,
            Supposition::Unlimited(queue) => {
                let row = supposed.queues.iter_mut().find(|row| row.queue.name == *queue);
                row.ok_or_else(|| SupposeError::NoQueue(queue.clone()))?.queue.limits = Limits::default();
            }
        }
    }
    Ok(supposed)
}

fn end(snapshot: &mut Snapshot, job: JobId) -> Result<(), SupposeError> {
    let is_it = |other: JobId| other.number == job.number && (job.task.is_none() || other.task == job.task);
    let before = snapshot.running.len() + snapshot.waiting.len();
    snapshot.running.retain(|run| !is_it(run.run.job));
    snapshot.waiting.retain(|waiting| !is_it(waiting.job));
    if snapshot.running.len() + snapshot.waiting.len() == before { Err(SupposeError::NoJob(job)) } else { Ok(()) }
}

fn heal(snapshot: &mut Snapshot, id: &DeviceId) -> Result<(), SupposeError> {
    for known in &mut snapshot.machines {
        if let Some(place) = known.machine.devices.iter().position(|device| device.id == *id) {
            Arc::make_mut(&mut known.machine).devices[place].health = Health::Ready;
            return Ok(());
        }
    }
    Err(SupposeError::NoDevice(id.clone()))
}
