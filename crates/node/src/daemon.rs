//! The node: one thread that keeps this machine at its assignment.
//!
//! It sleeps in `poll` until an assignment arrives, a supervisor sends word, or a supervisor dies (its pidfd becomes
//! readable). Whatever woke it, it does the same: read the journals that may have changed, compare with the
//! assignment, take the steps, report if anything is new. It never polls on a timer. When much happens, it takes
//! together what comes within a few milliseconds: each report costs the control plane a plan and a write to disk.

use crate::burial::{Burial, Burials};
use crate::device_memory::{Judge, Watched};
use crate::files::{RunFile, RunFiles, StateFiles};
use crate::journal::{self, Entry, read_journal};
use crate::lock;
use crate::nursery::{Births, Born};
use crate::output::{OutputError, read_output};
use crate::reconcile::{LocalRun, Standing, Step, reconcile};
use machine::{DeviceId, Enforcement, Machine, ProcessMemory};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use spec::{Assignment, EndCause, Overstep, RankState, Report, RunId, RunOrder, RunPhase, RunReport, Span, StopOrder};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Child;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time from one round to the next.
const ROUND: Duration = Duration::from_millis(5);

/// Ended runs whose output is kept for reading back, oldest dropped first.
const LOGS_KEPT: usize = 20_000;

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("cannot prepare {path}: {source}")]
    State { path: PathBuf, source: io::Error },
    #[error("cannot make the wake-up channel of the node: {0}")]
    Wake(io::Error),
}

/// What a node is made of.
pub struct NodeOptions {
    pub state: StateFiles,
    pub machine: Arc<Machine>,
    /// Program and arguments that run [`crate::supervise`]; the folder of the run is appended.
    pub supervisor: Vec<String>,
    /// Program and arguments that run [`crate::nurse`].
    pub nursery: Vec<String>,
    /// Does what nobody waits for.
    pub errands: Option<crate::Notifier>,
    /// A run that holds more of a device than its part is ended, not only told of.
    pub overstep_ends: bool,
}

/// The handle others hold. Dropping it ends the thread; the runs go on.
pub struct Node {
    state: StateFiles,
    machine: Arc<Mutex<Arc<Machine>>>,
    assignments: Sender<Assignment>,
    oversteps: Sender<(RunId, Overstep)>,
    watched: Arc<Mutex<Vec<Watched>>>,
    judge: Mutex<Judge>,
    overstep_ends: bool,
    wake: Arc<OwnedFd>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Node {
    /// Finds the runs that are there already, then serves assignments. `observe` is called from the node's
    /// thread with the whole report whenever it changed, first with what was found.
    pub fn start(options: NodeOptions, observe: Box<dyn Fn(Report) + Send>) -> Result<Node, NodeError> {
        let state = options.state.clone();
        let failed = |path: PathBuf| move |source| NodeError::State { path: path.clone(), source };
        state.create().map_err(failed(state.root().to_path_buf()))?;
        let socket_path = state.wake_socket();
        let _ = fs::remove_file(&socket_path);
        let socket = UnixDatagram::bind(&socket_path).map_err(failed(socket_path.clone()))?;
        socket.set_nonblocking(true).map_err(failed(socket_path))?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| NodeError::Wake(e.into()))?);
        let (assignments, receiver) = channel();
        let (oversteps, overstepped) = channel();
        let watched = Arc::new(Mutex::new(Vec::new()));
        let machine = Arc::new(Mutex::new(options.machine.clone()));
        for problem in sandbox::cleanup_errands() {
            tracing::warn!("cleaning up after an earlier node: {problem}");
        }
        let births = Births::new(options.supervisor.clone(), options.nursery.clone());
        let mut keeper = Keeper {
            id: options.machine.id.clone(),
            state: options.state,
            machine: machine.clone(),
            births,
            burials: Burials::new(wake.clone()),
            runs: BTreeMap::new(),
            assignment: None,
            last_report: None,
            logs: logs_in_order(&state),
            overstepped,
            watched: watched.clone(),
            observe,
            errands: options.errands,
        };
        keeper.find_runs().map_err(failed(state.runs()))?;
        let woken = wake.clone();
        let thread = std::thread::Builder::new()
            .name("node".into())
            .spawn(move || keeper.serve(&receiver, &socket, &woken))
            .map_err(NodeError::Wake)?;
        let (judge, overstep_ends, thread) = (Mutex::default(), options.overstep_ends, Mutex::new(Some(thread)));
        Ok(Node { state, machine, assignments, oversteps, watched, judge, overstep_ends, wake, thread })
    }

    /// The hardware was found changed. Runs started from now on see it as it is now; those that run keep what they have.
    pub fn set_machine(&self, machine: Machine) {
        *self.machine.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(machine);
    }

    /// What processes were seen to hold of devices' memory. A run that is over its part twice in a row is told of, and ended
    /// where that is the policy. To be called from one thread.
    pub fn measured(&self, readings: &BTreeMap<DeviceId, Vec<ProcessMemory>>) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let root = host::Root::live();
        let parent = |pid| host::process::stat(&root, pid).map(|stat| stat.parent);
        for over in self.judge.lock().unwrap_or_else(PoisonError::into_inner).judge(&watched, readings, parent) {
            tracing::warn!("run {} holds {} of {}, where {} are its own", over.run, over.used, over.device, over.part);
            let overstep =
                Overstep { device: over.device, part: over.part, used: over.used, at: crate::clock::now(), ends: self.overstep_ends };
            if self.oversteps.send((over.run, overstep)).is_ok() {
                let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
            }
        }
    }

    /// Takes effect soon; returns at once.
    pub fn assign(&self, assignment: Assignment) {
        if self.assignments.send(assignment).is_ok() {
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
    }

    /// A piece of the output of one rank: where it begins, the bytes, and whether no more will come.
    pub fn output(&self, run: RunId, rank: u32, offset: u64, max: usize) -> Result<(u64, Vec<u8>, bool), OutputError> {
        let mut tries = 0;
        let (over, (begin, data)) = loop {
            let files = self.state.run_or_logs(run);
            // Asked before the bytes are read: what was written up to the end is then in what we read.
            let over = read_journal(&files.journal()).unwrap_or_default().iter().any(|e| matches!(e, Entry::Ended { .. }));
            let piece = read_output(&files.dir, run, rank, offset, max);
            // The folder may have been put away under our hands; what was read then is not to be trusted.
            tries += 1;
            if files.dir.is_dir() || tries == 3 {
                break (over, piece?);
            }
        };
        let ended = over && data.is_empty();
        Ok((begin, data, ended))
    }

    /// How far a run has got, from what it printed or appended; `None` where nothing of that is known.
    pub fn progress(&self, run: RunId, ran: Span) -> Option<api::ProgressView> {
        crate::progress::progress(&self.state.run_or_logs(run), run, ran)
    }

    /// Removes the output of ended runs that `remembered` says no to. Blocking; safe beside the node's own thread, which
    /// puts a run away only after its end is remembered.
    pub fn remove_outputs(&self, remembered: &dyn Fn(RunId) -> bool) {
        for problem in self.state.remove_outputs(remembered) {
            tracing::warn!("{problem}");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let (dead, _) = channel();
        drop(std::mem::replace(&mut self.assignments, dead));
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.lock().ok().and_then(|mut slot| slot.take()) {
            let _ = thread.join();
        }
    }
}

/// One run as the node's thread knows it.
struct Kept {
    files: RunFiles,
    standing: Standing,
    stop: Option<StopOrder>,
    report: RunReport,
    /// Of the supervisor, once it began.
    pid: Option<u32>,
    /// Of the supervisor, while it lives.
    pidfd: Option<OwnedFd>,
    /// Set when this process started it, so that it must be reaped.
    child: Option<Child>,
    burial: Burial,
}

impl Kept {
    fn new(files: RunFiles, report: RunReport) -> Kept {
        Kept { files, standing: Standing::NeverBegan, stop: None, report, pid: None, pidfd: None, child: None, burial: Burial::NotBegun }
    }

    /// Its supervisor is not there any more.
    fn let_go(&mut self) {
        self.pidfd = None;
        if let Some(mut dead) = self.child.take() {
            let _ = dead.wait();
        }
    }
}

struct Keeper {
    /// Of the machine.
    id: String,
    state: StateFiles,
    machine: Arc<Mutex<Arc<Machine>>>,
    births: Births,
    burials: Burials,
    runs: BTreeMap<RunId, Kept>,
    assignment: Option<Assignment>,
    last_report: Option<Report>,
    /// Oldest first.
    logs: std::collections::VecDeque<PathBuf>,
    /// Runs that were found to hold more than their part.
    overstepped: Receiver<(RunId, Overstep)>,
    /// What is to be looked at, for the thread that measures.
    watched: Arc<Mutex<Vec<Watched>>>,
    observe: Box<dyn Fn(Report) + Send>,
    errands: Option<crate::Notifier>,
}

impl Keeper {
    fn serve(&mut self, assignments: &Receiver<Assignment>, socket: &UnixDatagram, wake: &OwnedFd) {
        self.tell();
        let mut last = Instant::now();
        loop {
            let dead = match self.next_round(socket, wake, &mut last) {
                Ok(dead) => dead,
                Err(error) => {
                    tracing::error!("the node cannot wait for events: {error}");
                    return;
                }
            };
            let mut changed = drain_socket(socket);
            changed.extend(&dead);
            for run in self.burials.over() {
                if let Some(kept) = self.runs.get_mut(&run) {
                    kept.burial = Burial::Over;
                    changed.insert(run);
                }
            }
            loop {
                match assignments.try_recv() {
                    Ok(next) => {
                        if self.assignment.as_ref().is_none_or(|now| now.generation <= next.generation) {
                            self.assignment = Some(next);
                        }
                    }
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
            for run in changed {
                self.refresh(run, dead.contains(&run));
            }
            self.match_assignment();
            while let Ok((run, overstep)) = self.overstepped.try_recv() {
                self.tell_of_overstep(run, &overstep);
            }
            self.publish_watched();
            self.tell();
        }
    }

    /// Blocks until something happened and the round before is long enough ago; gives the runs whose supervisor is gone.
    fn next_round(&self, socket: &UnixDatagram, wake: &OwnedFd, last: &mut Instant) -> io::Result<BTreeSet<RunId>> {
        self.poll(socket, wake, None)?;
        std::thread::sleep(ROUND.saturating_sub(last.elapsed()));
        *last = Instant::now();
        // Before the look at what there is: what comes after it wakes us again.
        let _ = rustix::io::read(wake, &mut [0; 8]);
        self.poll(socket, wake, Some(&Timespec::default()))
    }

    fn poll(&self, socket: &UnixDatagram, wake: &OwnedFd, timeout: Option<&Timespec>) -> io::Result<BTreeSet<RunId>> {
        let watched: Vec<(RunId, &OwnedFd)> = self.runs.iter().filter_map(|(id, run)| Some((*id, run.pidfd.as_ref()?))).collect();
        let mut fds = vec![PollFd::new(socket, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        fds.extend(watched.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::IN)));
        loop {
            match poll(&mut fds, timeout) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(watched.iter().zip(&fds[2..]).filter(|(_, fd)| !fd.revents().is_empty()).map(|((id, _), _)| *id).collect())
    }

    /// Looks at every folder of a run: what a node before us left behind.
    fn find_runs(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(self.state.runs())? {
            let name = entry?.file_name();
            if let Some(run) = name.to_str().and_then(|name| name.parse::<RunId>().ok()) {
                self.refresh(run, false);
            }
        }
        Ok(())
    }

    /// Reads the folder of one run again. `gone`: its supervisor is known to have died.
    fn refresh(&mut self, run: RunId, gone: bool) {
        if let Some(kept) = self.runs.get_mut(&run).filter(|kept| kept.standing == Standing::Ended) {
            // Its last word is said; only its supervisor may still be there.
            if gone {
                kept.let_go();
            }
            return;
        }
        let files = self.state.run(run);
        if !files.dir.is_dir() {
            self.runs.remove(&run);
            return;
        }
        let watched = !gone && self.runs.get(&run).is_some_and(|kept| kept.pidfd.is_some());
        // The lock before the journal: when nobody holds it any more, the journal read after that is final. The
        // holder may be another process than the one we started, when two nodes in a row started one.
        let found = match watched {
            true => None,
            false => match living_holder(&files) {
                Ok(found) => found,
                Err(error) => {
                    // Not knowing is no reason to bury it: it is looked at again, but not a thousand times a second.
                    tracing::error!("cannot tell whether the supervisor of run {run} lives: {error}");
                    std::thread::sleep(std::time::Duration::from_millis(100));
                    return;
                }
            },
        };
        let read = read_journal(&files.journal());
        let mut kept = self.runs.remove(&run).unwrap_or_else(|| Kept::new(files, journal::report(run, 0, &[])));
        if !watched {
            kept.let_go();
            kept.pidfd = found;
        }
        let was_young = kept.standing == Standing::Spawned && kept.child.is_some();
        kept.stop = kept.files.read_stop();
        let ranks = match kept.report.ranks.len() as u32 {
            0 => kept.files.read_order().map_or(0, |file| file.order.spec.ranks),
            known => known,
        };
        let entries = match read {
            Ok(entries) => entries,
            Err(error) => return self.keep_unread(run, kept, ranks, &error),
        };
        kept.report = journal::report(run, ranks, &entries);
        let began = entries.iter().find_map(|e| if let Entry::Began { boot, .. } = e { Some(boot.clone()) } else { None });
        kept.pid = entries.iter().find_map(|e| if let Entry::Began { pid, .. } = e { Some(*pid) } else { None });
        let ended = matches!(kept.report.phase, RunPhase::Ended(_));
        kept.standing = match (ended, kept.pidfd.is_some(), &began) {
            (true, _, _) => Standing::Ended,
            (false, true, Some(_)) => Standing::Supervised,
            (false, true, None) => Standing::Spawned,
            (false, false, Some(_)) => Standing::Lost,
            (false, false, None) if gone || kept.burial != Burial::NotBegun => Standing::Lost,
            (false, false, None) => Standing::NeverBegan,
        };
        self.compile_for_the_next(&kept.files, &entries, ended);
        if was_young
            && kept.standing == Standing::Supervised
            && kept.stop.is_some()
            && let Some(pidfd) = &kept.pidfd
        {
            let _ = pidfd_send_signal(pidfd.as_fd(), Signal::USR1);
        }
        if kept.standing == Standing::Lost {
            let cause = without_last_word(&kept.files, began);
            self.mourn(run, &mut kept, cause);
        }
        self.runs.insert(run, kept);
    }

    /// The modules of an environment are compiled after the first run that used it, in nobody's way: a job that waits for its
    /// environment does not wait for that too, and the next starts quicker.
    fn compile_for_the_next(&self, files: &RunFiles, entries: &[Entry], ended: bool) {
        if !ended {
            return;
        }
        let uncompiled =
            entries.iter().find_map(|entry| if let Entry::Uncompiled { environment } = entry { Some(environment) } else { None });
        if let (Some(environment), Some(errands)) = (uncompiled, &self.errands)
            && let Ok(file) = files.read_order()
        {
            errands.send(crate::environment::compilation(file.order.owner, environment));
        }
    }

    /// A run whose journal does not read. It may have run, so it is never begun again: while its supervisor lives what is
    /// known of it stands, and after that it is lost. The journal stays in its folder, for people to look at.
    fn keep_unread(&mut self, run: RunId, mut kept: Kept, ranks: u32, error: &io::Error) {
        let why = format!("the journal of the run, {}, cannot be read: {error}", kept.files.journal().display());
        tracing::error!("run {run}: {why}");
        if kept.report.ranks.is_empty() {
            kept.report = journal::report(run, ranks, &[]);
        }
        kept.standing = Standing::Supervised;
        if kept.pidfd.is_none() {
            kept.standing = Standing::Lost;
            self.mourn(run, &mut kept, EndCause::Lost { message: why });
        }
        self.runs.insert(run, kept);
    }

    /// The supervisor is gone without a last word: ends what it may have left, and once that is done says so.
    fn mourn(&mut self, run: RunId, kept: &mut Kept, cause: EndCause) {
        match kept.burial {
            Burial::NotBegun => {
                kept.burial = Burial::UnderWay;
                self.burials.begin(run, kept.files.dir.clone());
            }
            Burial::UnderWay => {}
            Burial::Over => conclude(kept, cause),
        }
    }

    fn match_assignment(&mut self) {
        let Some(assignment) = self.assignment.clone() else { return };
        let local = self.runs.iter().map(|(id, run)| (*id, LocalRun { standing: run.standing, stop: run.stop })).collect();
        let mut starting = vec![];
        for step in reconcile(&assignment, &local) {
            match step {
                Step::Spawn(run) => starting.extend(assignment.runs.iter().find(|order| order.run == run)),
                Step::Stop(run, stop) => self.stop(run, stop),
                Step::Forget(run) => self.forget(run),
            }
        }
        self.spawn(&starting);
    }

    fn spawn(&mut self, orders: &[&RunOrder]) {
        let mut ready = vec![];
        for order in orders {
            let files = self.state.run(order.run);
            match self.write_order(order, &files) {
                Ok(()) => ready.push((*order, files)),
                Err(error) => self.cannot_start(order, files, &error),
            }
        }
        let folders: Vec<RunFiles> = ready.iter().map(|(_, files)| files.clone()).collect();
        for (born, (order, files)) in self.births.supervisors(&folders).into_iter().zip(ready) {
            match born {
                Ok(Born { pidfd, child }) => {
                    let kept = Kept::new(files, journal::report(order.run, order.spec.ranks, &[]));
                    self.runs.insert(order.run, Kept { standing: Standing::Spawned, stop: order.stop, pidfd: Some(pidfd), child, ..kept });
                }
                Err(error) => self.cannot_start(order, files, &error),
            }
        }
    }

    fn cannot_start(&mut self, order: &RunOrder, files: RunFiles, error: &io::Error) {
        let message = format!("cannot start the supervisor of the run: {error}");
        tracing::error!("run {}: {message}", order.run);
        let cause = EndCause::StartFailed { message, hint: None, missing: false };
        match close_before_begin(&files, &cause) {
            Ok(true) => {
                let mut kept = Kept::new(files, journal::report(order.run, order.spec.ranks, &[]));
                kept.report.phase = RunPhase::Ended(cause);
                kept.report.ended = Some(crate::clock::now());
                self.runs.insert(order.run, Kept { standing: Standing::Ended, stop: order.stop, ..kept });
            }
            // One was made and could not be told of: its run goes on.
            Ok(false) => self.refresh(order.run, false),
            Err(error) => {
                // Reported as failed it could run twice. It is tried again with the next assignment.
                tracing::error!("run {}: whether it began cannot be told: {error}", order.run);
            }
        }
    }

    fn write_order(&self, order: &RunOrder, files: &RunFiles) -> io::Result<()> {
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        files.write_order(&RunFile {
            order: order.clone(),
            hostname: machine.hostname.clone(),
            devices: machine.devices.clone(),
            cgroup: machine.facts.cgroup,
            state: self.state.root().to_path_buf(),
        })?;
        order.stop.map_or(Ok(()), |stop| files.write_stop(&stop))
    }

    /// Its supervisor writes it down, and ends the run where that is the policy.
    fn tell_of_overstep(&mut self, run: RunId, overstep: &Overstep) {
        let Some(kept) = self.runs.get(&run).filter(|kept| kept.standing == Standing::Supervised) else { return };
        if let Err(error) = kept.files.write_overstep(overstep) {
            return tracing::error!("cannot write that run {run} holds more than its part: {error}");
        }
        if let Some(pidfd) = &kept.pidfd {
            let _ = pidfd_send_signal(pidfd.as_fd(), Signal::USR1);
        }
    }

    /// Runs that nobody but us keeps to their parts of devices.
    fn publish_watched(&self) {
        let orders = self.assignment.iter().flat_map(|assignment| &assignment.runs);
        let shares = orders.filter_map(|order| Some((order, order.grant.share.filter(|share| share.enforced == Enforcement::Watched)?)));
        let watched = shares.filter_map(|(order, share)| {
            let kept = self.runs.get(&order.run).filter(|kept| kept.standing == Standing::Supervised)?;
            let roots = kept.pid.into_iter().chain(kept.report.ranks.iter().filter_map(|rank| rank.pid)).collect();
            Some(Watched { run: order.run, devices: order.grant.devices().cloned().collect(), part: share.memory, roots })
        });
        let watched: Vec<Watched> = watched.collect();
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }

    fn stop(&mut self, run: RunId, stop: StopOrder) {
        let Some(kept) = self.runs.get_mut(&run) else { return };
        if let Err(error) = kept.files.write_stop(&stop) {
            tracing::error!("cannot write the order to stop run {run}: {error}");
            // A kill needs no file; asking nicely will be tried again with the next assignment.
            if stop.kill
                && let Some(pidfd) = &kept.pidfd
            {
                let _ = pidfd_send_signal(pidfd.as_fd(), Signal::USR2);
                kept.stop = Some(stop);
            }
            return;
        }
        kept.stop = Some(stop);
        // A program is not ready for signals at once, and they would kill it; it is told when it says that it began.
        let is_young = kept.standing == Standing::Spawned && kept.child.is_some();
        if let Some(pidfd) = kept.pidfd.as_ref().filter(|_| !is_young) {
            let _ = pidfd_send_signal(pidfd.as_fd(), Signal::USR1);
        }
    }

    /// The output stays readable, everything else goes.
    fn forget(&mut self, run: RunId) {
        // While its supervisor still cleans up, or somebody after it, the folder must stay where it is; the end of
        // that wakes us again.
        let Some(kept) = self.runs.get_mut(&run).filter(|kept| kept.pidfd.is_none() && kept.burial != Burial::UnderWay) else { return };
        // A supervisor that was killed after its last word has not cleaned up.
        if kept.burial == Burial::NotBegun && sandbox::has_leftovers(&kept.files.dir) {
            kept.burial = Burial::UnderWay;
            self.burials.begin(run, kept.files.dir.clone());
            return;
        }
        let Some(mut kept) = self.runs.remove(&run) else { return };
        kept.let_go();
        let target = self.state.logs().join(run.to_string());
        let _ = sandbox::remove_tree(&target);
        if let Err(error) = fs::rename(&kept.files.dir, &target) {
            tracing::warn!("cannot put away the folder of run {run}: {error}");
            return;
        }
        self.logs.push_back(target);
        while self.logs.len() > LOGS_KEPT {
            if let Some(oldest) = self.logs.pop_front() {
                let _ = sandbox::remove_tree(&oldest);
            }
        }
    }

    fn tell(&mut self) {
        let report = Report {
            machine: self.id.clone(),
            generation: self.assignment.as_ref().map_or(0, |assignment| assignment.generation),
            runs: self.runs.values().map(|run| run.report.clone()).collect(),
        };
        if self.last_report.as_ref() != Some(&report) {
            (self.observe)(report.clone());
            self.last_report = Some(report);
        }
    }
}

/// Why a run ended whose supervisor cannot say it any more; `began` is the boot in which it did.
fn without_last_word(files: &RunFiles, began: Option<String>) -> EndCause {
    let now_boot = host::process::boot_id(&host::Root::live());
    match began {
        None => {
            let hint = journal::words(&files.journal());
            EndCause::StartFailed { message: "the supervisor of the run did not start".into(), hint, missing: false }
        }
        Some(boot) if now_boot.is_some_and(|now| now != boot) => EndCause::Lost { message: "the machine restarted".into() },
        Some(_) => EndCause::Lost { message: "the supervisor of the run was killed".into() },
    }
}

fn conclude(kept: &mut Kept, cause: EndCause) {
    let report = &mut kept.report;
    report.ended.get_or_insert(crate::clock::now());
    report.phase = RunPhase::Ended(cause);
    for rank in report.ranks.iter_mut().filter(|rank| rank.state == RankState::Running) {
        rank.state = RankState::Signalled { signal: 9 };
        rank.pid = None;
    }
}

/// Writes the end of a run that no supervisor has begun, so that none will: one may have been forked without our hearing of
/// it. `false` when one has begun or is about to.
fn close_before_begin(files: &RunFiles, cause: &EndCause) -> io::Result<bool> {
    let lock = match lock::take(&files.lock()) {
        // Without an order there is nothing to begin.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        lock => lock?,
    };
    if lock.is_none() || !read_journal(&files.journal())?.is_empty() {
        return Ok(false);
    }
    let mut journal = journal::Journal::open(&files.journal())?;
    journal.write(&Entry::Ended { cause: cause.clone(), usage: spec::Usage::default(), at: crate::clock::now() })?;
    journal.sync()?;
    Ok(true)
}

/// The supervisor of a run, if it lives. The number is checked again after the descriptor is made: the holder may
/// have died and its number been given away in between.
fn living_holder(files: &RunFiles) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = lock::holder(&files.lock())?.and_then(Pid::from_raw) else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let same = lock::holder(&files.lock())? == Some(pid.as_raw_nonzero().get());
    Ok(same.then_some(pidfd))
}

fn drain_socket(socket: &UnixDatagram) -> BTreeSet<RunId> {
    let mut runs = BTreeSet::new();
    let mut text = [0; 64];
    while let Ok(length) = socket.recv(&mut text) {
        if let Some(run) = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.parse().ok()) {
            runs.insert(run);
        }
    }
    runs
}

fn logs_in_order(state: &StateFiles) -> std::collections::VecDeque<PathBuf> {
    let mut runs: Vec<(RunId, PathBuf)> = fs::read_dir(state.logs())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    runs.sort();
    runs.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_run_is_begun_by_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let files = RunFiles { dir: dir.path().to_path_buf() };
        let cause = EndCause::StartFailed { message: "no process".into(), hint: None, missing: false };
        // Nothing was ordered, so nothing can begin, and nothing is written.
        assert!(close_before_begin(&files, &cause).unwrap());
        assert!(!files.journal().exists());

        fs::write(files.order(), "{}").unwrap();
        assert!(close_before_begin(&files, &cause).unwrap());
        let entries = read_journal(&files.journal()).unwrap();
        assert!(matches!(&entries[..], [Entry::Ended { cause: written, .. }] if *written == cause), "{entries:?}");
        // A supervisor that comes late finds the end and lets be; the order it would need is not even looked at.
        crate::supervisor::supervise(dir.path()).unwrap();
        assert_eq!(read_journal(&files.journal()).unwrap(), entries);
        // One that has begun is not closed.
        assert!(!close_before_begin(&files, &cause).unwrap());
    }
}
