//! The process that keeps one run: it starts it, writes down what happens, and ends it.
//!
//! One per run, single-threaded, small, and on its own: the daemon may be killed, upgraded or restarted, and the run
//! goes on under its supervisor, with its limit enforced and its output stored. It talks to the world through
//! its folder (see [`crate::files`]) and needs nobody to listen.

/// A word for whoever reads the run's journal with their own eyes. A full disk must not end the supervisor, as `eprintln!` would.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod run;
mod wake;

use crate::clock::{self, Stopwatch};
use crate::environment::build_as_owner;
use crate::files::{RunFile, RunFiles, StateFiles};
use crate::journal::{Entry, Journal, read_journal};
use crate::lock;
use nix::sys::signalfd::{SfdFlags, SigSet, SignalFd};
use spec::{EndCause, Span, StopOrder, Usage};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    #[error("{path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot set up signals: {0}")]
    Signals(io::Error),
    #[error("the process that supervisors are forked from cannot go on: {0}")]
    Nursery(io::Error),
}

/// Keeps the run whose order lies in `dir`, until it has ended. Returns at once, without error, when another
/// process keeps it already or did before.
pub fn supervise(dir: &Path) -> Result<(), SuperviseError> {
    let files = RunFiles { dir: dir.to_path_buf() };
    let failed = |path: PathBuf| move |source| SuperviseError::Folder { path, source };
    // A session of its own: signals to the daemon's terminal or group do not reach the run.
    let _ = rustix::process::setsid();
    let signals = block_signals().map_err(SuperviseError::Signals)?;
    let Some(lock) = lock::take(&files.lock()).map_err(failed(files.lock()))? else { return Ok(()) };
    if !read_journal(&files.journal()).map_err(failed(files.journal()))?.is_empty() {
        return Ok(());
    }
    let file: RunFile = lock.read().and_then(|text| Ok(serde_json::from_slice(&text)?)).map_err(failed(files.order()))?;
    let mut journal = Journal::open(&files.journal()).map_err(failed(files.journal()))?;
    // On disk before anything runs: after a power cut it must be known that it did.
    journal.write(&began()).and_then(|()| journal.sync()).map_err(failed(files.journal()))?;
    let state = StateFiles::at(&file.state);
    let wake = wake::Wake::new(&state, file.order.run);
    let mut keeper =
        Keeper { files, file, journal, signals, state, stopping: false, ordered: None, overstep: None, environment: None, wake };
    let (cause, usage, leftovers) = match keeper.keep() {
        Ok(ended) => ended,
        Err(before_any_rank) => (before_any_rank, Usage::default(), None),
    };
    // Whoever clears up after the end must not find it held.
    keeper.environment = None;
    keeper.end(cause, usage);
    if let Some(run) = leftovers {
        for problem in run.finish() {
            say!("cleaning up: {problem}");
        }
    }
    Ok(())
}

fn began() -> Entry {
    let root = host::Root::live();
    let pid = std::process::id();
    Entry::Began {
        pid,
        start_time: host::process::start_time(&root, pid).unwrap_or(0),
        boot: host::process::boot_id(&root).unwrap_or_default(),
        at: clock::now(),
    }
}

/// What the supervisor reacts to arrives through one descriptor; nothing interrupts it anywhere else. A polite
/// request to end (from an init system that stops everything) is a stop order.
fn block_signals() -> io::Result<SignalFd> {
    use nix::sys::signal::Signal;
    let mut set = SigSet::empty();
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

struct Keeper {
    files: RunFiles,
    file: RunFile,
    journal: Journal,
    signals: SignalFd,
    state: StateFiles,
    stopping: bool,
    /// An order that came as a signal: a full disk has no room for the file.
    ordered: Option<StopOrder>,
    /// The last overstep that was written down.
    overstep: Option<spec::Overstep>,
    /// Keeps the environment from being cleared away.
    environment: Option<std::fs::File>,
    wake: wake::Wake,
}

/// What a build may use where the job's own memory is less: uv and pip alone need some hundred megabytes.
const BUILD_MEMORY: machine::Bytes = machine::Bytes::mib(1024);

/// The run ended before any rank began.
type Ended = (EndCause, Usage, Option<sandbox::Started>);

impl Keeper {
    /// From the order to the end of the last rank.
    fn keep(&mut self) -> Result<Ended, EndCause> {
        if self.files.read_stop().is_some() {
            return Err(EndCause::Stopped);
        }
        let environment = match self.file.order.spec.environment.clone() {
            None => None,
            Some(wanted) => Some(self.stage("environment", |keeper| keeper.build(&wanted))?),
        };
        let mut run = self.stage("container", |keeper| keeper.start_ranks(environment.as_deref()))?;
        let watch = Stopwatch::start();
        self.note(&Entry::Stage { stage: "ranks".into(), at: clock::now(), took: None });
        let cause = self.watch_ranks(&mut run);
        self.note(&Entry::Stage { stage: "ranks".into(), at: clock::now(), took: Some(watch.elapsed()) });
        // The grant is given away again once the end is written, so the memory of the dead must be free by then.
        run.wait_until_gone();
        if let Err(error) = crate::progress::keep_metrics(&self.files) {
            say!("the metrics of the run are not kept: {error}");
        }
        let usage = run.usage();
        Ok((cause, usage, Some(run.into_started())))
    }

    fn build(&mut self, wanted: &spec::Environment) -> Result<String, EndCause> {
        let mut log =
            std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(self.files.setup_log()).map_err(start_failed)?;
        let stopped = self.asked_to_stop();
        let order = &self.file.order;
        let bounds = sandbox::Bounds {
            run: order.run,
            dir: &self.files.dir,
            mode: self.file.cgroup,
            grant: &order.grant,
            least_memory: BUILD_MEMORY,
        };
        let granted: BTreeSet<&machine::DeviceId> = order.grant.devices().collect();
        let devices: Vec<machine::Device> = self.file.devices.iter().filter(|device| granted.contains(&device.id)).cloned().collect();
        let built = build_as_owner(&self.state.environments(), &order.owner, &bounds, wanted, &devices, &mut log, &stopped);
        drop(stopped);
        match built {
            Ok(path) => {
                self.environment = crate::environment::hold(Path::new(&path));
                if !crate::environment::is_compiled(Path::new(&path)) {
                    self.note(&Entry::Uncompiled { environment: path.clone() });
                }
                Ok(path)
            }
            Err(crate::EnvironmentError::Stopped) => Err(EndCause::Stopped),
            Err(error) => Err(EndCause::StartFailed { message: error.to_string(), hint: error.hint(), missing: false }),
        }
    }

    /// Whether the run was told to end, by a signal or by file, for work that goes on for long before there are ranks.
    fn asked_to_stop(&self) -> impl Fn() -> bool {
        let asked = std::cell::Cell::new(false);
        move || {
            while let Ok(Some(signal)) = self.signals.read_signal() {
                asked.set(asked.get() || run::order_of(signal.ssi_signo as i32).is_some());
            }
            asked.get() || self.files.read_stop().is_some()
        }
    }

    /// Times one step of the way and writes it down.
    fn stage<T>(&mut self, stage: &str, work: impl FnOnce(&mut Keeper) -> Result<T, EndCause>) -> Result<T, EndCause> {
        let watch = Stopwatch::start();
        self.note(&Entry::Stage { stage: stage.into(), at: clock::now(), took: None });
        if stage == "environment" {
            // The one stage that may take minutes: people want to see it go on.
            self.wake_node();
        }
        let result = work(self);
        self.note(&Entry::Stage { stage: stage.into(), at: clock::now(), took: Some(watch.elapsed()) });
        result
    }

    /// Writes an entry that may be lost without harm.
    fn note(&mut self, entry: &Entry) {
        if let Err(error) = self.journal.write(entry) {
            say!("cannot write to the journal: {error}");
        }
    }

    fn note_stopping(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.note(&Entry::Stopping { at: clock::now() });
            self.wake_node();
        }
    }

    fn wake_node(&mut self) {
        let _ = self.wake.send();
    }

    /// The last entry is written however long it takes: until then the exit status lives only here.
    fn end(&mut self, cause: EndCause, usage: Usage) {
        let entry = Entry::Ended { cause, usage, at: clock::now() };
        while let Err(error) = self.journal.write(&entry) {
            say!("cannot write how the run ended, trying again: {error}");
            std::thread::sleep(Span::seconds(1).as_duration());
        }
        // A node that lives has it in its log in a moment, so it need not wait for our disk. But it may die before that,
        // and the machine after it.
        self.wake.send();
        if let Err(error) = self.journal.sync() {
            say!("cannot force to disk how the run ended: {error}");
        }
    }

    /// The stronger of what is in the folder and what was signalled.
    fn stop_order(&self) -> Option<StopOrder> {
        let written = self.files.read_stop();
        let kill = [written, self.ordered].iter().flatten().any(|order| order.kill);
        (written.is_some() || self.ordered.is_some()).then_some(StopOrder { kill })
    }
}

fn start_failed(error: io::Error) -> EndCause {
    let message = format!("cannot write to the folder of the run: {error}");
    EndCause::StartFailed { message, hint: Some("is the disk full?".into()), missing: false }
}
