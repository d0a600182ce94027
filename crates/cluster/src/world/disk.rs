//! A simulated disk under the control process: a log of transactions, the archive, checkpoints.

use crate::{Batch, Command, Job, State};
use spec::JobId;
use std::collections::BTreeMap;

/// What survives a crash of the control process. Everything is kept as the bytes that would be on a real disk.
#[derive(Debug, Default)]
pub struct Disk {
    /// One line a transaction.
    log: Vec<u8>,
    checkpoint: Option<Checkpoint>,
    archive: BTreeMap<JobId, Job>,
    /// What the committed records lead to, kept without going through bytes: what recovery must find.
    pub shadow: State,
}

#[derive(Debug)]
struct Checkpoint {
    json: Vec<u8>,
    /// The log up to here is in the checkpoint.
    at: usize,
}

impl Disk {
    /// Makes the batch durable, all of it.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), String> {
        self.log.extend(line(&batch.records)?);
        for record in &batch.records {
            let _ = self.shadow.apply(record).map_err(|refusal| format!("a committed record was refused: {refusal}"))?;
        }
        self.archive.extend(batch.archived.iter().map(|job| (job.id, job.clone())));
        Ok(())
    }

    /// The power goes while the line is written: `keep` thousandths of its bytes reach the disk, never the last one.
    pub fn tear(&mut self, batch: &Batch, keep: u64) -> Result<(), String> {
        let line = line(&batch.records)?;
        let bytes = line.len().saturating_sub(1) as u64 * keep.min(999) / 1000;
        self.log.extend(&line[..usize::try_from(bytes).unwrap_or(0)]);
        Ok(())
    }

    /// Takes the last transaction back although it was committed: a disk that lies. For sanity tests of the checker.
    pub fn forget_last(&mut self) {
        let end = self.log.len().saturating_sub(1);
        let start = self.log[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        if self.checkpoint.as_ref().is_none_or(|checkpoint| checkpoint.at <= start) {
            self.log.truncate(start);
        }
    }

    pub fn save(&mut self, state: &State) -> Result<(), String> {
        let json = state.checkpoint().map_err(|error| error.to_string())?;
        self.checkpoint = Some(Checkpoint { json, at: self.log.len() });
        Ok(())
    }

    /// Reads everything back, cutting off a torn last line.
    pub fn recover(&mut self) -> Result<State, String> {
        let whole = self.log.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        self.log.truncate(whole);
        let (mut state, from) = match &self.checkpoint {
            Some(checkpoint) => (State::restore(&checkpoint.json).map_err(|error| error.to_string())?, checkpoint.at),
            None => (State::new(), 0),
        };
        for line in self.log[from..].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let records: Vec<Command> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
            for record in records {
                let _ = state.apply(&record).map_err(|refusal| format!("a record of the log was refused: {refusal}"))?;
            }
        }
        Ok(state)
    }

    pub fn archived(&self, id: JobId) -> Option<&Job> {
        self.archive.get(&id)
    }

    pub fn archive(&self) -> impl Iterator<Item = &Job> {
        self.archive.values()
    }

    /// The archived job with this number, or all archived tasks of the array.
    pub fn archived_tasks(&self, number: u64) -> impl Iterator<Item = &Job> {
        self.archive.range(JobId::new(number)..=JobId::task(number, u32::MAX)).map(|(_, job)| job)
    }
}

fn line(records: &[Command]) -> Result<Vec<u8>, String> {
    let mut line = serde_json::to_vec(records).map_err(|error| error.to_string())?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::sample;
    use spec::Time;
    use std::sync::Arc;

    fn submission(number: u64) -> Batch {
        let record = Command::Submit {
            number,
            spec: Arc::new(sample::spec("a")),
            owner: sample::person("ada", 1000),
            key: None,
            ended: vec![],
            at: Time(number),
        };
        Batch { records: vec![record], ..Batch::default() }
    }

    #[test]
    fn what_was_committed_is_found_again_and_what_was_torn_is_not() {
        let mut disk = Disk::default();
        disk.commit(&submission(1)).unwrap();
        let state = disk.shadow.clone();
        disk.save(&state).unwrap();
        disk.commit(&submission(2)).unwrap();
        disk.tear(&submission(3), 999).unwrap();
        let state = disk.recover().unwrap();
        assert_eq!(state, disk.shadow);
        assert_eq!(state.jobs().len(), 2);
        disk.commit(&submission(3)).unwrap();
        assert_eq!(disk.recover().unwrap().jobs().len(), 3, "a torn line is gone after recovery");
        disk.forget_last();
        assert_ne!(disk.recover().unwrap(), disk.shadow);
    }
}
