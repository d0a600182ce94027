//! Whether runs keep to their parts of devices, from what the processes of each were seen to hold.
//!
//! A pure judgement over readings: nothing is read here. A run is told of when two readings in a row find it over its part, and
//! again only after it had gone back below it.

use machine::{Bytes, DeviceId, ProcessMemory};
use spec::RunId;
use std::collections::BTreeMap;

/// Readings in a row that make an overstep: one may catch a program that is about to give memory back.
const READINGS: u32 = 2;

/// A run that is to keep to a part of its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub run: RunId,
    pub devices: Vec<DeviceId>,
    /// Of each device's memory.
    pub part: Bytes,
    /// Its supervisor and its ranks: whatever descends from them is the run's.
    pub roots: Vec<u32>,
}

/// More than its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    pub run: RunId,
    pub device: DeviceId,
    pub part: Bytes,
    pub used: Bytes,
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Judge {
    /// Readings in a row that found a run over its part of a device.
    over: BTreeMap<(RunId, DeviceId), u32>,
}

impl Judge {
    /// `readings`: the processes on each device that was read this time. `parent` gives the parent of a process.
    pub fn judge(
        &mut self,
        watched: &[Watched],
        readings: &BTreeMap<DeviceId, Vec<ProcessMemory>>,
        parent: impl Fn(u32) -> Option<u32>,
    ) -> Vec<Over> {
        self.over.retain(|(run, _), _| watched.iter().any(|one| one.run == *run));
        let mut found = Vec::new();
        for (device, processes) in readings {
            let sharers: Vec<&Watched> = watched.iter().filter(|one| one.devices.contains(device)).collect();
            if sharers.is_empty() {
                continue;
            }
            let mut used: BTreeMap<RunId, Bytes> = BTreeMap::new();
            for process in processes {
                if let Some(run) = owner(process.pid, &sharers, &parent) {
                    let sum = used.entry(run).or_default();
                    *sum = *sum + process.memory;
                }
            }
            for one in sharers {
                let key = (one.run, device.clone());
                let used = used.get(&one.run).copied().unwrap_or_default();
                if used <= one.part {
                    self.over.remove(&key);
                    continue;
                }
                let times = self.over.entry(key).or_default();
                *times = times.saturating_add(1);
                if *times == READINGS {
                    found.push(Over { run: one.run, device: device.clone(), part: one.part, used });
                }
            }
        }
        found
    }
}

/// The run a process descends from.
fn owner(pid: u32, sharers: &[&Watched], parent: &impl Fn(u32) -> Option<u32>) -> Option<RunId> {
    // Deeper than any tree of processes that people make; a table of processes that changes meanwhile may have circles.
    let mut at = pid;
    for _ in 0..64 {
        if let Some(one) = sharers.iter().find(|one| one.roots.contains(&at)) {
            return Some(one.run);
        }
        at = parent(at).filter(|parent| *parent > 1)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::JobId;

    fn run(number: u64) -> RunId {
        RunId { job: JobId::new(number), attempt: 1 }
    }

    fn watched(number: u64, root: u32, gib: u64) -> Watched {
        Watched { run: run(number), devices: vec![DeviceId("gpu".into())], part: Bytes::gib(gib), roots: vec![root] }
    }

    fn reading(rows: &[(u32, u64)]) -> BTreeMap<DeviceId, Vec<ProcessMemory>> {
        let processes = rows.iter().map(|(pid, gib)| ProcessMemory { pid: *pid, memory: Bytes::gib(*gib) }).collect();
        BTreeMap::from([(DeviceId("gpu".into()), processes)])
    }

    /// 110 is a child of 11, 11 of 10; 200 of 20.
    fn parent(pid: u32) -> Option<u32> {
        match pid {
            0 => None,
            7 => Some(8),
            8 => Some(7),
            pid => Some(pid / 10),
        }
    }

    #[test]
    fn two_readings_in_a_row_are_an_overstep_and_told_once() {
        let both = [watched(1, 10, 8), watched(2, 20, 8)];
        let mut judge = Judge::default();
        // Processes 101 and 1010 are run 1's: 9 GiB together. Run 2 keeps to its part. 333 is nobody's.
        let much = reading(&[(101, 5), (1010, 4), (200, 8), (333, 70)]);
        let expected = Over { run: run(1), device: DeviceId("gpu".into()), part: Bytes::gib(8), used: Bytes::gib(9) };
        assert_eq!(judge.judge(&both, &much, parent), []);
        assert_eq!(judge.judge(&both, &much, parent), std::slice::from_ref(&expected));
        assert_eq!(judge.judge(&both, &much, parent), []);
        // Back below, then over again.
        assert_eq!(judge.judge(&both, &reading(&[(101, 5)]), parent), []);
        assert_eq!(judge.judge(&both, &much, parent), []);
        assert_eq!(judge.judge(&both, &much, parent), [expected]);
    }

    #[test]
    fn one_reading_is_not_enough_and_none_says_nothing() {
        let one = [watched(1, 10, 8)];
        let mut judge = Judge::default();
        let much = reading(&[(100, 9)]);
        assert_eq!(judge.judge(&one, &much, parent), []);
        assert_eq!(judge.judge(&one, &reading(&[]), parent), [], "it gave it back");
        assert_eq!(judge.judge(&one, &much, parent), []);
        // A library that was silent for a while is no acquittal.
        assert_eq!(judge.judge(&one, &BTreeMap::new(), parent), []);
        assert_eq!(judge.judge(&one, &much, parent).len(), 1);
        // Exactly the part is not too much, and a run that has ended is forgotten.
        assert_eq!(judge.judge(&one, &reading(&[(100, 8)]), parent), []);
        assert_eq!(judge.judge(&[], &much, parent), []);
        assert!(judge.over.is_empty());
    }

    #[test]
    fn circles_among_processes_end() {
        let mut judge = Judge::default();
        for _ in 0..3 {
            assert_eq!(judge.judge(&[watched(1, 10, 1)], &reading(&[(7, 9)]), parent), []);
        }
    }
}
