//! A run that is on its way: what the supervisor holds of it.

use crate::cgroup::{Cgroup, Counters};
use crate::error::SandboxError;
use crate::init::kill_descendants;
use crate::scratch::Scratch;
use crate::sys;
use crate::wire::{self, Down, Received, Up};
use machine::Bytes;
use spec::{IsolationLevel, IsolationReport, Span, Usage};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What happened to a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RankEvent {
    /// Its program is executing. The pid is the machine's.
    Running {
        rank: u32,
        pid: u32,
    },
    Exited {
        rank: u32,
        code: i32,
    },
    Signalled {
        rank: u32,
        signal: i32,
    },
    /// Its program could not be executed; the other ranks of the run are killed.
    StartFailed {
        rank: u32,
        message: String,
        /// The program or the folder that the job names is not there or may not be used: another try would fail as well.
        missing: bool,
    },
    /// No process of the run is left, or will be in a moment. Always the last event.
    AllDone,
}

/// A started run. Dropping it kills the run (its init sees the socket close) and leaves the cleaning to
/// [`crate::cleanup_leftovers`]; [`Started::finish`] does both properly.
#[derive(Debug)]
pub struct Started {
    pub isolation: IsolationReport,
    /// Readable when [`Started::next_event`] has something. Poll it; do not read it.
    pub events: OwnedFd,
    /// One pipe for each rank in the order of the workload: standard output and error as they were written.
    /// Nonblocking. End of file comes when the rank and all its children closed it.
    pub outputs: Vec<OwnedFd>,
    /// Init's pid on the machine.
    pub init_pid: u32,
    pub(crate) init: OwnedFd,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) dir: PathBuf,
    pub(crate) spare: Option<PathBuf>,
    /// State of each rank: its pid once known, and whether its end was told.
    pub(crate) ranks: BTreeMap<u32, (u32, bool)>,
    pub(crate) pending: VecDeque<RankEvent>,
    pub(crate) done: bool,
    /// Processor time of init and what it reaped, once init is reaped.
    pub(crate) reaped_micros: Option<u64>,
}

impl Started {
    /// The next event, without waiting. `None`: nothing now, or (after [`RankEvent::AllDone`]) ever.
    pub fn next_event(&mut self) -> Option<RankEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                self.done |= event == RankEvent::AllDone;
                return Some(event);
            }
            if self.done {
                return None;
            }
            match wire::receive(&self.events) {
                Ok(Received::Nothing) => return None,
                Ok(Received::Message(message, sender)) => self.note(message, sender),
                Ok(Received::Closed) | Err(_) => self.init_is_gone(),
            }
        }
    }

    fn note(&mut self, message: Up, sender: i32) {
        let state = |ranks: &mut BTreeMap<u32, (u32, bool)>, rank, ended| {
            ranks.entry(rank).and_modify(|state| state.1 |= ended).or_insert((0, ended)).0
        };
        let event = match message {
            Up::Hello { rank } => {
                self.ranks.insert(rank, (sender.unsigned_abs(), false));
                return;
            }
            Up::Running { rank } => RankEvent::Running { rank, pid: state(&mut self.ranks, rank, false) },
            Up::Exited { rank, code } => {
                state(&mut self.ranks, rank, true);
                RankEvent::Exited { rank, code }
            }
            Up::Signalled { rank, signal } => {
                state(&mut self.ranks, rank, true);
                RankEvent::Signalled { rank, signal }
            }
            Up::StartFailed { rank, message, missing } => {
                state(&mut self.ranks, rank, true);
                RankEvent::StartFailed { rank, message, missing }
            }
            Up::AllDone => return self.init_is_gone(),
        };
        self.pending.push_back(event);
    }

    /// Init ended, in order or not: whatever rank has not ended was killed with it.
    fn init_is_gone(&mut self) {
        for (rank, (_, ended)) in &mut self.ranks {
            if !std::mem::replace(ended, true) {
                self.pending.push_back(RankEvent::Signalled { rank: *rank, signal: libc::SIGKILL });
            }
        }
        self.pending.push_back(RankEvent::AllDone);
    }

    /// Sends a signal to the main process of every living rank, or to its whole process group.
    pub fn signal(&self, number: i32, groups: bool) -> Result<(), SandboxError> {
        if self.done {
            return Ok(());
        }
        Down::Signal { number, groups }.send(&self.events).map_err(SandboxError::io("sending a signal to the ranks"))
    }

    /// Kills every process of the run, forked children included, at once and whatever they ignore.
    pub fn kill(&self) {
        if self.isolation.level == IsolationLevel::Process {
            // Init must survive to reap and report; it kills what is below it.
            let _ = Down::Kill.send(&self.events);
        }
        if let Some(cgroup) = &self.cgroup
            && self.isolation.level != IsolationLevel::Process
        {
            cgroup.kill();
        }
        if self.isolation.level != IsolationLevel::Process {
            // The end of process 1 is the end of its pid namespace.
            let _ = rustix::process::pidfd_send_signal(&self.init, rustix::process::Signal::KILL);
        }
    }

    fn counters(&self) -> Counters {
        self.cgroup.as_ref().map(Cgroup::counters).unwrap_or_default()
    }

    /// What the run has used so far. `output` is the supervisor's to fill. The memory peak is known where there
    /// are control groups, the processor time there and, once [`Started::reap`] succeeded, everywhere.
    pub fn usage(&self) -> Usage {
        let counters = self.counters();
        let micros = counters.cpu_micros.or(self.reaped_micros);
        Usage { memory_peak: counters.memory_peak.map(Bytes), cpu_time: micros.map(|micros| Span(micros / 1000)), output: Bytes::ZERO }
    }

    /// Processes of the run that the kernel killed because its memory was used up.
    pub fn oom_kills(&self) -> u64 {
        self.counters().oom_kills
    }

    /// The memory limit in force.
    pub fn memory_limit(&self) -> Option<Bytes> {
        self.counters().memory_limit.map(Bytes)
    }

    /// The most memory the run has held.
    pub fn memory_peak(&self) -> Option<Bytes> {
        self.counters().memory_peak.map(Bytes)
    }

    /// Init's pidfd: readable when init has ended, and with it every process of the run.
    pub fn init(&self) -> &OwnedFd {
        &self.init
    }

    /// Collects ended children. True once init is among them, when no process of the run can be left.
    pub fn reap(&mut self) -> bool {
        while self.reaped_micros.is_none() {
            match sys::wait(-1, false) {
                None => break,
                Some(gone) if gone.pid as u32 == self.init_pid => self.reaped_micros = Some(gone.cpu_micros),
                Some(_) => {}
            }
        }
        self.reaped_micros.is_some()
    }

    /// Ends what is left of the run and takes away everything that was made for it: processes, control groups,
    /// scratch space. Returns what could not be done; each entry is a sentence for the log.
    pub fn finish(mut self) -> Vec<String> {
        let mut errors = Vec::new();
        self.kill();
        if !self.reap() {
            self.wait_for_init(&mut errors);
        }
        if self.isolation.level == IsolationLevel::Process {
            kill_descendants(std::process::id() as libc::pid_t);
        }
        while sys::wait(-1, false).is_some() {}
        if let Some(cgroup) = &self.cgroup {
            errors.extend(cgroup.remove());
        }
        if let (Some(spare), Some(name)) = (&self.spare, self.dir.file_name().and_then(|name| name.to_str())) {
            Scratch::below(&self.dir).give_back(spare, name);
        }
        errors.extend(remove_files(&self.dir));
        errors
    }

    fn wait_for_init(&mut self, errors: &mut Vec<String>) {
        // Its end may take as long as the kernel needs to free the memory of the run, but not for ever.
        for patience in [5_000, 10_000, 15_000] {
            let mut source = [rustix::event::PollFd::new(&self.init, rustix::event::PollFlags::IN)];
            let timeout = rustix::event::Timespec { tv_sec: patience / 1000, tv_nsec: 0 };
            if rustix::event::poll(&mut source, Some(&timeout)).is_ok_and(|ready| ready > 0) {
                if let Some(gone) = sys::wait(self.init_pid as i32, true) {
                    self.reaped_micros = Some(gone.cpu_micros);
                }
                return;
            }
            let _ = rustix::process::pidfd_send_signal(&self.init, rustix::process::Signal::KILL);
        }
        errors.push(format!("the init of the run (pid {}) does not end; a device or disk keeps one of its processes", self.init_pid));
    }
}

/// Removes what a run leaves in its directory. The person owns files in there, so links are not followed.
pub(crate) fn remove_files(dir: &std::path::Path) -> Vec<String> {
    let Scratch { closed, .. } = Scratch::below(dir);
    let removed = [
        // The scratch space last: while it is there, so may be the rest.
        (crate::leftovers::record_path(dir), fs::remove_file(crate::leftovers::record_path(dir))),
        (closed.clone(), crate::removal::remove_tree(&closed)),
    ];
    removed
        .into_iter()
        .filter_map(|(path, result)| match result {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Some(format!("removing {}: {error}", path.display())),
            _ => None,
        })
        .collect()
}
