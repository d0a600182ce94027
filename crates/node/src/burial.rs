//! Cleaning up after supervisors that were killed, beside the node's thread.
//!
//! Ending what a run left can take seconds (processes with much memory, groups that the kernel lets go of late), and
//! other runs must not wait for that. A run counts as over only when its burial is: until then its grant is in use.

use rustix::fd::OwnedFd;
use spec::RunId;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// How far a run is with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Burial {
    NotBegun,
    UnderWay,
    Over,
}

/// One stuck run must not hold up the others; more than a few threads are no help.
const THREADS: usize = 4;

/// The threads that do it, started when there is something to do.
#[derive(Debug)]
pub(crate) struct Burials {
    wanted: Sender<(RunId, PathBuf)>,
    waiting: Arc<Mutex<Receiver<(RunId, PathBuf)>>>,
    done: Sender<RunId>,
    over: Receiver<RunId>,
    /// Written to when one is over.
    wake: Arc<OwnedFd>,
    threads: usize,
}

impl Burials {
    pub fn new(wake: Arc<OwnedFd>) -> Burials {
        let ((wanted, waiting), (done, over)) = (channel(), channel());
        Burials { wanted, waiting: Arc::new(Mutex::new(waiting)), done, over, wake, threads: 0 }
    }

    /// Begins with the run whose folder is `dir`. Returns at once.
    pub fn begin(&mut self, run: RunId, dir: PathBuf) {
        if self.threads < THREADS {
            let (waiting, done, wake) = (self.waiting.clone(), self.done.clone(), self.wake.clone());
            let work = move || {
                while let Some((run, dir)) = next(&waiting) {
                    bury(run, &dir, &done, &wake);
                }
            };
            match std::thread::Builder::new().name("bury".into()).spawn(work) {
                Ok(_) => self.threads += 1,
                Err(error) => tracing::warn!("cannot start a thread to clean up with: {error}"),
            }
        }
        match self.threads {
            0 => bury(run, &dir, &self.done, &self.wake),
            _ => drop(self.wanted.send((run, dir))),
        }
    }

    /// Those that ended since this was asked last.
    pub fn over(&self) -> Vec<RunId> {
        self.over.try_iter().collect()
    }
}

/// `None` when the node is gone.
fn next(waiting: &Mutex<Receiver<(RunId, PathBuf)>>) -> Option<(RunId, PathBuf)> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn bury(run: RunId, dir: &std::path::Path, done: &Sender<RunId>, wake: &OwnedFd) {
    for problem in sandbox::cleanup_leftovers(dir, run) {
        tracing::warn!("cleaning up after run {run}: {problem}");
    }
    let _ = done.send(run);
    let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
    use spec::JobId;
    use std::collections::BTreeSet;

    #[test]
    fn every_burial_comes_to_its_end_and_wakes_the_node() {
        let place = tempfile::tempdir().unwrap();
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        let mut burials = Burials::new(wake.clone());
        // Far from the numbers of real runs: whatever bears the name of such a run is ended.
        let runs: BTreeSet<RunId> = (0..20).map(|n| RunId { job: JobId::new(4_000_100_000 + n), attempt: 1 }).collect();
        for run in &runs {
            let dir = place.path().join(run.to_string());
            std::fs::create_dir_all(dir.join("scratch/tmp")).unwrap();
            burials.begin(*run, dir);
        }
        let mut over = BTreeSet::new();
        while over.len() < runs.len() {
            poll(&mut [PollFd::new(&*wake, PollFlags::IN)], None).unwrap();
            let _ = rustix::io::read(&*wake, &mut [0; 8]);
            over.extend(burials.over());
        }
        assert_eq!(over, runs);
        assert!(runs.iter().all(|run| !place.path().join(run.to_string()).join("scratch").exists()));
    }
}
