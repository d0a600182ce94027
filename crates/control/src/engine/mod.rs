//! The one thread that decides and writes, and what the others share with it.
//!
//! Requests queue up while the thread waits for the disk and are taken together with the next write, so the
//! slower the disk, the larger the batches: durability costs latency, not throughput. Nothing lingers for company.

mod request;
mod view;
mod writer;

pub use request::{Reply, Request, Submission, Unavailable};
pub use view::View;

use crate::clock::{Clock, Source};
use crate::log::{Log, LogError, Reader};
use api::Alarm;
use cluster::{Core, Notice};
use machine::{DeviceId, LastSeen};
use placement::Policy;
use spec::{Assignment, Report, RunId, Time};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The way to the machine, given by the program that wires everything: `control` knows no node.
pub struct NodeLink {
    /// Hands a machine its whole assignment. Called from the writer thread after the commit; must not block.
    pub assign: Box<dyn Fn(Assignment) + Send + Sync>,
    /// Reads a piece of output; blocking, called from a thread of its own.
    pub logs: LogSource,
    /// How far a run has got that has been there for so long; blocking, called from a thread of its own.
    pub progress: ProgressSource,
    /// Removes the output of every ended run for which the predicate says that nobody remembers its job. Blocking,
    /// called from a thread of its own.
    pub forget: OutputRemover,
    /// A job reached a state its owner wants to hear of. Must not block.
    pub notify: Box<dyn Fn(Notice) + Send + Sync>,
    /// The last figures of this machine's devices. Must not block.
    pub figures: Box<dyn Fn() -> BTreeMap<DeviceId, LastSeen> + Send + Sync>,
}

/// Takes what tells whether the job of a run is remembered.
pub type OutputRemover = Box<dyn Fn(&dyn Fn(RunId) -> bool) + Send + Sync>;

pub type ProgressSource = Box<dyn Fn(RunId, spec::Span) -> Option<api::ProgressView> + Send + Sync>;

pub type LogSource = Box<dyn Fn(&api::LogQuery) -> Result<api::LogChunk, String> + Send + Sync>;

/// Requests that may wait for the writer, counted in jobs. Beyond, people are told to come back: memory is
/// no place to keep what is not accepted.
const QUEUE_MAX: usize = 50_000;

/// Shared by the writer thread, the server and the caller.
pub struct Shared {
    pub view: View,
    pub reader: Reader,
    pub dir: PathBuf,
    pub link: NodeLink,
    pub started: Time,
    clock: Mutex<Clock>,
    requests: Mutex<Sender<Request>>,
    queued: AtomicUsize,
    /// The newest report of each machine that the writer has not taken yet.
    mailbox: Mutex<BTreeMap<String, Report>>,
    alarms: Mutex<Vec<Alarm>>,
    accepting: AtomicBool,
    connected: Mutex<BTreeMap<String, bool>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn now(&self) -> Time {
        lock(&self.clock).now()
    }

    /// # Errors
    /// [`Unavailable`] when too much waits already, or the writer has ended.
    pub fn send(&self, request: Request) -> Result<(), Unavailable> {
        let weight = request.weight();
        if self.queued.fetch_add(weight, Ordering::Relaxed) > QUEUE_MAX {
            self.queued.fetch_sub(weight, Ordering::Relaxed);
            return Err(Unavailable { message: "too many requests wait already".into(), hint: Some("try again in a moment".into()) });
        }
        lock(&self.requests).send(request).map_err(|_| {
            self.queued.fetch_sub(weight, Ordering::Relaxed);
            stopping()
        })
    }

    /// Sends a request made around a reply and waits for the answer without blocking the thread.
    pub async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T, Unavailable> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(make(reply))?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// As [`Shared::ask`], for threads outside the async world.
    pub fn ask_blocking<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T, Unavailable> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(make(reply))?;
        answer.blocking_recv().unwrap_or_else(|_| Err(stopping()))
    }

    /// Only the newest report of a machine counts, so a slow disk piles up none.
    pub fn observe(&self, report: Report) {
        let wake = {
            let mut mailbox = lock(&self.mailbox);
            let empty = mailbox.is_empty();
            mailbox.insert(report.machine.clone(), report);
            empty
        };
        if wake {
            // A writer that has ended needs no report.
            let _ = lock(&self.requests).send(Request::Reports);
        }
    }

    fn take_reports(&self) -> Vec<Report> {
        std::mem::take(&mut *lock(&self.mailbox)).into_values().collect()
    }

    /// Puts reports back whose record did not reach the disk, unless newer ones came.
    fn put_back(&self, reports: Vec<Report>) {
        let mut mailbox = lock(&self.mailbox);
        for report in reports {
            mailbox.entry(report.machine.clone()).or_insert(report);
        }
    }

    /// Raises an alarm, or renews its words.
    pub fn raise(&self, kind: &str, text: String, hint: Option<String>) {
        let now = self.now();
        let mut alarms = lock(&self.alarms);
        match alarms.iter_mut().find(|alarm| alarm.kind == kind) {
            Some(alarm) => (alarm.text, alarm.hint) = (text, hint),
            None => {
                tracing::warn!(kind, "{text}");
                alarms.push(Alarm { kind: kind.into(), text, hint, since: now });
            }
        }
    }

    pub fn clear(&self, kind: &str) {
        lock(&self.alarms).retain(|alarm| alarm.kind != kind);
    }

    pub fn alarms(&self) -> Vec<Alarm> {
        let mut alarms = lock(&self.alarms).clone();
        let behind = lock(&self.clock).behind();
        if let Some(gap) = behind {
            alarms.push(Alarm {
                kind: "clock".into(),
                text: format!("the system's clock is {gap} behind the newest record"),
                hint: Some("times run on slowly until the clock is there again; see that time is synchronised".into()),
                since: self.now(),
            });
        }
        alarms
    }

    /// Whether the node of the machine has joined since this start, and if so, whether something new may start there.
    pub fn connected(&self, machine: &str) -> Option<bool> {
        lock(&self.connected).get(machine).copied()
    }

    pub fn accepting(&self) -> bool {
        self.accepting.load(Ordering::Relaxed)
    }
}

fn stopping() -> Unavailable {
    Unavailable { message: "it is shutting down".into(), hint: Some("start it again with `ashlar up`".into()) }
}

/// Nobody decides any more after a panic, and the others would wait for ever: the process ends, so that whoever looks
/// after it starts it again. What was answered is on disk, and runs go on under their supervisors.
fn run_to_the_end(writer: writer::Writer) {
    if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
        tracing::error!("our fault: the writer thread panicked; the node ends, to be started again");
        std::process::exit(WRITER_PANICKED);
    }
}

/// The exit code for what is our fault.
const WRITER_PANICKED: i32 = 4;

/// The running writer thread.
pub struct Engine {
    pub shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Loads what is on disk and starts the thread. The caller holds the lock of the folder.
    pub fn start(dir: &Path, policy: Policy, source: Source, link: NodeLink) -> Result<Engine, LogError> {
        let mut log = Log::open(dir)?;
        let recovered = writer::load(&mut log)?;
        tracing::info!(records = recovered.replayed, jobs = recovered.state.jobs().len(), "the state was loaded");
        let core = Core::new(recovered.state.clone(), policy.clone());
        let mut clock = Clock::new(source, recovered.last);
        let (sender, receiver) = std::sync::mpsc::channel();
        let shared = Arc::new(Shared {
            view: View::new(recovered.state, core.plan().clone()),
            reader: Reader::open(dir)?,
            dir: dir.to_owned(),
            link,
            started: clock.now(),
            clock: Mutex::new(clock),
            requests: Mutex::new(sender),
            queued: AtomicUsize::new(0),
            mailbox: Mutex::default(),
            alarms: Mutex::default(),
            accepting: AtomicBool::new(true),
            connected: Mutex::default(),
        });
        for text in recovered.damage {
            let hint = "check the disk; the node goes on with what is sound, so compare `ashlar jobs` with what you expect";
            shared.raise("damaged-record", text, Some(hint.into()));
        }
        let writer = writer::Writer::new(shared.clone(), log, core, policy, receiver);
        let thread = std::thread::Builder::new()
            .name("ashlar-writer".into())
            .spawn(move || run_to_the_end(writer))
            .map_err(|source| LogError::Io { path: dir.to_owned(), source })?;
        Ok(Engine { shared, thread: Some(thread) })
    }

    /// Ends after what is queued is done, with the state saved.
    pub fn stop(&mut self) {
        let _ = lock(&self.shared.requests).send(Request::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread panicked");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}
