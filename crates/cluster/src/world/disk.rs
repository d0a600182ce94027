//! A simulated disk under the control process: a log of transactions, the archive, checkpoints.

use crate::{Batch, Command, Job, State};
use spec::JobId;
use std::collections::BTreeMap;

/// What survives a crash of the control process.
#[derive(Debug, Default)]
pub struct Disk {
    medium: Medium,
    transactions: Vec<Transaction>,
    checkpoint: Option<(Image, usize)>,
    archive: BTreeMap<JobId, Job>,
    /// What the committed records lead to, kept apart: what recovery must find.
    pub shadow: State,
}

/// Most worlds keep values on their disk, because reading text back is most of the work of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    #[default]
    Values,
    /// The bytes that would be on a real disk, and so lines that may be torn.
    Bytes,
}

#[derive(Debug)]
enum Transaction {
    Values(Vec<Command>),
    /// Ends with a newline, unless the power went.
    Line(Vec<u8>),
}

#[derive(Debug)]
enum Image {
    Value(Box<State>),
    Json(Vec<u8>),
}

impl Disk {
    pub fn new(medium: Medium) -> Disk {
        Disk { medium, ..Disk::default() }
    }

    /// Makes the batch durable, all of it.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), String> {
        let transaction = match self.medium {
            Medium::Values => Transaction::Values(batch.records.clone()),
            Medium::Bytes => Transaction::Line(line(&batch.records)?),
        };
        self.transactions.push(transaction);
        apply(&mut self.shadow, &batch.records)?;
        self.archive.extend(batch.archived.iter().map(|job| (job.id, job.clone())));
        Ok(())
    }

    /// Part of the same transaction; apart, so that the checker can look in between.
    pub fn drop_archived(&mut self, numbers: &[u64]) {
        self.archive.retain(|id, _| !numbers.contains(&id.number));
    }

    /// The power goes while the line is written: `keep` thousandths of its bytes reach the disk, never the last one.
    pub fn tear(&mut self, batch: &Batch, keep: u64) -> Result<(), String> {
        if self.medium == Medium::Bytes {
            let mut line = line(&batch.records)?;
            let bytes = line.len().saturating_sub(1) as u64 * keep.min(999) / 1000;
            line.truncate(usize::try_from(bytes).unwrap_or(0));
            self.transactions.push(Transaction::Line(line));
        }
        Ok(())
    }

    /// Takes the last transaction back although it was committed: a disk that lies. For sanity tests of the checker.
    pub fn forget_last(&mut self) {
        if self.checkpoint.as_ref().is_none_or(|(_, at)| *at < self.transactions.len()) {
            self.transactions.pop();
        }
    }

    pub fn save(&mut self, state: &State) -> Result<(), String> {
        let image = match self.medium {
            Medium::Values => Image::Value(Box::new(state.clone())),
            Medium::Bytes => Image::Json(state.checkpoint().map_err(|error| error.to_string())?),
        };
        self.checkpoint = Some((image, self.transactions.len()));
        Ok(())
    }

    /// Reads everything back, cutting off a torn last line.
    pub fn recover(&mut self) -> Result<State, String> {
        if let Some(Transaction::Line(line)) = self.transactions.last()
            && line.last() != Some(&b'\n')
        {
            self.transactions.pop();
        }
        let (mut state, from) = match &self.checkpoint {
            Some((Image::Value(state), at)) => (State::clone(state), *at),
            Some((Image::Json(json), at)) => (State::restore(json).map_err(|error| error.to_string())?, *at),
            None => (State::new(), 0),
        };
        for transaction in self.transactions.iter().skip(from) {
            match transaction {
                Transaction::Values(records) => apply(&mut state, records)?,
                Transaction::Line(line) => {
                    let records: Vec<Command> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
                    apply(&mut state, &records)?;
                }
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

fn apply(state: &mut State, records: &[Command]) -> Result<(), String> {
    for record in records {
        let _ = state.apply(record).map_err(|refusal| format!("a committed record was refused: {refusal}"))?;
    }
    Ok(())
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
        for medium in [Medium::Values, Medium::Bytes] {
            let mut disk = Disk::new(medium);
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
}
