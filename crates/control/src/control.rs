//! Everything of this crate put together, as the program starts it.

use crate::clock::Source;
use crate::engine::{Engine, NodeLink, Request, Shared, Unavailable};
use crate::lock::{DirLock, LockError};
use crate::log::{LogError, quick_check};
use crate::retention::{self, Keeper, Retention, RetentionError};
use crate::server::{ListenError, Server, Settings, gid_of};
use cluster::{Answer, Refusal};
use machine::Machine;
use placement::Policy;
use spec::{Queue, Report};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file with the queues below the state folder. Without it there is the one queue `default`.
pub const QUEUES_FILE: &str = "queues.yaml";

pub struct Options {
    /// The state folder; made where it is missing.
    pub dir: PathBuf,
    /// Also listen here, with TLS and a token.
    pub tcp: Option<SocketAddr>,
    /// Members may see and cancel everything.
    pub admin_group: String,
    pub policy: Policy,
    /// What is kept of jobs that ended.
    pub retention: Retention,
    pub clock: Source,
    pub link: NodeLink,
    /// Of the program, as replies show it.
    pub version: String,
}

impl Options {
    pub fn new(dir: PathBuf, version: &str, link: NodeLink) -> Options {
        Options {
            dir,
            tcp: None,
            admin_group: "ashlar-admin".into(),
            policy: Policy::default(),
            retention: Retention::default(),
            clock: Source::system(),
            link,
            version: version.into(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Queues(#[from] QueueError),
}

impl StartError {
    pub fn hint(&self) -> Option<String> {
        match self {
            StartError::Lock(error) => error.hint(),
            StartError::Log(error) => error.hint(),
            StartError::Listen(error) => error.hint(),
            StartError::Queues(error) => error.hint(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// With file, line and column, ready to print.
    #[error("{0}")]
    Parse(String),
    #[error("{}: queue '{queue}' names the group '{group}', which this machine does not know", path.display())]
    Group { path: PathBuf, queue: String, group: String },
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl QueueError {
    pub fn hint(&self) -> Option<String> {
        match self {
            QueueError::Group { group, .. } => Some(format!("make the group (`groupadd {group}`), or name it by its number")),
            QueueError::Refused(Refusal::QueueInUse { .. }) => Some("keep the queue in the file until its jobs have ended".into()),
            QueueError::Unavailable(why) => why.hint.clone(),
            QueueError::Read { .. } | QueueError::Parse(_) | QueueError::Refused(_) => None,
        }
    }
}

/// The running control plane of one state folder. Dropping it stops it in order: no new requests, what is queued is
/// written, the state is saved, the lock is given up.
pub struct Control {
    server: Option<Server>,
    keeper: Option<Keeper>,
    retention: Retention,
    engine: Engine,
    queues: PathBuf,
    _lock: DirLock,
}

impl Control {
    /// Takes the folder, loads what is on disk, reads the queues and starts to listen.
    ///
    /// # Errors
    /// [`StartError`], with a hint where a person can act.
    pub fn start(options: Options) -> Result<Control, StartError> {
        let Options { dir, tcp, admin_group, policy, retention, clock, link, version } = options;
        let lock = DirLock::take(&dir)?;
        let engine = Engine::start(&dir, policy, clock, link)?;
        let queues = dir.join(QUEUES_FILE);
        first_queues(&engine.shared, &queues)?;
        let settings = Settings { socket: dir.join(api::SOCKET_NAME), tcp, admin_group, queues: queues.clone(), version };
        open_way(&dir)?;
        let server = Server::start(engine.shared.clone(), settings)?;
        check_in_background(&engine.shared);
        let keeper = Keeper::start(engine.shared.clone(), retention).map_err(|source| LockError::Io { path: dir.clone(), source })?;
        Ok(Control { server: Some(server), keeper: Some(keeper), retention, engine, queues, _lock: lock })
    }

    /// A machine is there, or found its hardware changed. Its whole assignment comes back through
    /// [`NodeLink::assign`], known or not. Returns when this is on disk.
    ///
    /// # Errors
    /// [`Unavailable`] when it could not be written; it is remembered and taken in as soon as it can.
    pub fn join(&self, machine: Machine) -> Result<(), Unavailable> {
        let machine = Arc::new(machine);
        self.engine.shared.ask_blocking(|reply| Request::Join { machine, reply }).map(drop)
    }

    /// A handle for [`Control::join`] that a thread can keep, as [`Control::observer`] is one.
    pub fn joiner(&self) -> impl Fn(Machine) -> Result<(), Unavailable> + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.engine.shared);
        move |machine| match shared.upgrade() {
            Some(shared) => shared.ask_blocking(|reply| Request::Join { machine: Arc::new(machine), reply }).map(drop),
            None => Ok(()),
        }
    }

    /// What a machine reports. Returns at once; only the newest report of a machine counts.
    pub fn observe(&self, report: Report) {
        self.engine.shared.observe(report);
    }

    /// A handle for [`Control::observe`] that a thread can keep. It does not keep the control plane: afterwards it
    /// does nothing.
    pub fn observer(&self) -> impl Fn(Report) + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.engine.shared);
        move |report| {
            if let Some(shared) = shared.upgrade() {
                shared.observe(report);
            }
        }
    }

    /// Reads the queue file again, as on SIGHUP.
    ///
    /// # Errors
    /// [`QueueError`]; the queues are then as they were.
    pub fn reload_queues(&self) -> Result<(), QueueError> {
        reload(&self.engine.shared, &self.queues)
    }

    /// Forgets what need not be remembered any more, as the thread does from time to time, and gives how many jobs
    /// that were. Blocking.
    ///
    /// # Errors
    /// [`RetentionError`]; what was forgotten until then stays forgotten.
    pub fn forget_old(&self) -> Result<usize, RetentionError> {
        retention::pass(&self.engine.shared, &self.retention, true)
    }

    pub fn socket(&self) -> PathBuf {
        self.engine.shared.dir.join(api::SOCKET_NAME)
    }

    /// Address and certificate fingerprint of the TCP port.
    pub fn tcp(&self) -> Option<(SocketAddr, String)> {
        let server = self.server.as_ref()?;
        Some((server.tcp?, server.fingerprint.clone()?))
    }

    pub fn alarms(&self) -> Vec<api::Alarm> {
        self.engine.shared.alarms()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.server = None;
        self.keeper = None;
        self.engine.stop();
    }
}

/// Root's socket is for everybody, so the folder must let people through; what is in it has modes of its own.
fn open_way(dir: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::PermissionsExt;
    let io = |source| LockError::Io { path: dir.to_owned(), source };
    let found = std::fs::metadata(dir).map_err(io)?.permissions().mode() & 0o7777;
    let way = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
    if found | way != found {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(found | way)).map_err(io)?;
    }
    Ok(())
}

/// The whole file is looked through once a start. At a second a gigabyte that is no part of the start itself; what a
/// start depends on was checked record by record while it was loaded.
fn check_in_background(shared: &Arc<Shared>) {
    let shared = shared.clone();
    let check = move || {
        if let Err(error) = quick_check(&shared.dir) {
            shared.raise("integrity", error.to_string(), error.hint());
        }
    };
    if let Err(error) = std::thread::Builder::new().name("ashlar-check".into()).spawn(check) {
        tracing::warn!("the log is not checked: {error}");
    }
}

/// The queues at a start. A mistake in the file must not keep a node down that has queues: it goes on with those.
fn first_queues(shared: &Shared, path: &Path) -> Result<(), QueueError> {
    let Err(error) = reload(shared, path) else { return Ok(()) };
    // Nothing was ever written: somebody is at hand who sets the machine up.
    if shared.view.read().state.generation() == 0 {
        return Err(error);
    }
    let hint = error.hint().map_or_else(String::new, |hint| format!("{hint}; "));
    let text = format!("the queues are as they were before the start, and not as their file says: {error}");
    shared.raise("queues", text, Some(format!("{hint}then let the node read the file again: kill -HUP {}", std::process::id())));
    Ok(())
}

/// Reads the queue file and makes it so. Blocking.
pub fn reload(shared: &Shared, path: &Path) -> Result<(), QueueError> {
    let queues = match std::fs::read_to_string(path) {
        Ok(text) => spec::parse_queues(&text, &path.display().to_string()).map_err(|problems| QueueError::Parse(problems.to_string()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![Queue::default()],
        Err(source) => return Err(QueueError::Read { path: path.to_owned(), source }),
    };
    let queues = queues.into_iter().map(|queue| numbered(queue, path)).collect::<Result<Vec<_>, _>>()?;
    match shared.ask_blocking(|reply| Request::Queues { queues, reply })? {
        Answer::Refused(why) => Err(QueueError::Refused(why)),
        Answer::Accepted(_) | Answer::Done => {
            shared.clear("queues");
            Ok(())
        }
    }
}

/// The state knows groups by number: only this machine knows their names.
fn numbered(mut queue: Queue, path: &Path) -> Result<Queue, QueueError> {
    for group in &mut queue.groups {
        let known = match group.parse() {
            Ok(gid) => Some(gid),
            Err(_) => gid_of(group)?,
        };
        let gid: u32 = known.ok_or_else(|| QueueError::Group { path: path.to_owned(), queue: queue.name.clone(), group: group.clone() })?;
        *group = gid.to_string();
    }
    Ok(queue)
}
