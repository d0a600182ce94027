//! Where supervisors are born: a small process that forks itself on request.
//!
//! A supervisor that is started as a new program costs milliseconds before its first line (relocations, and processor
//! identification that traps in a virtual machine); a fork of a process that has that behind it costs a tenth. The
//! daemon cannot be that process: it has threads and much memory. So it starts this one early and asks it, over a
//! socket, one folder of a run a packet; the answer carries a descriptor of the new supervisor.
//!
//! The nursery holds nothing: it ends when the daemon's end of the socket closes, supervisors live on without it, and
//! when it dies the daemon starts another, or starts supervisors as programs.

use crate::files::RunFiles;
use crate::journal;
use crate::supervisor::{SuperviseError, supervise};
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SigSet, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recvmsg, send, sendmsg, socketpair,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sandbox::Side;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer paths do not exist.
const LONGEST_PATH: usize = 4096;
/// Requests that may wait for their answers: what they need in the socket's buffer is no concern.
const AT_ONCE: usize = 32;
/// How long the daemon waits for the answers to one lot of requests. A fork takes a fraction of a millisecond, and while the
/// daemon waits here it does nothing else; a nursery given up too early costs a start as a program, no more.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many nurseries that fail one after the other are a reason to do without.
const FAILURES: u32 = 3;

/// The nursery's life, with the daemon's socket as standard input. Returns in the nursery when the daemon is gone, and
/// in each supervisor born here when its run has ended.
///
/// # Errors
/// What keeps the nursery from working, or its supervisor.
pub fn nurse() -> Result<(), SuperviseError> {
    match wait_for_birth().map_err(SuperviseError::Nursery)? {
        None => Ok(()),
        Some(dir) => supervise(&dir),
    }
}

/// `Some` in a new supervisor, `None` in the nursery when nobody can ask any more.
fn wait_for_birth() -> io::Result<Option<PathBuf>> {
    // What is typed at the daemon's terminal is not for us.
    let _ = rustix::process::setsid();
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    // For the supervisors: an order to stop that comes before they look for one must wait for them, not kill them.
    let orders = [Signal::SIGUSR1, Signal::SIGUSR2].into_iter().collect::<SigSet>();
    orders.thread_block()?;
    set.thread_block()?;
    let ended = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    sandbox::prepare();
    let mut packet = [0; LONGEST_PATH];
    loop {
        let mut sources = [PollFd::new(&socket, PollFlags::IN), PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)];
        match poll(&mut sources, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !sources[1].revents().is_empty() {
            while let Ok(Some(_)) = ended.read_signal() {}
            while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
        }
        let length = match rustix::net::recv(&socket, &mut packet, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Ok((_, length)) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let dir = PathBuf::from(OsStr::from_bytes(&packet[..length]));
        match sandbox::fork_apart() {
            Ok(Side::Child) => {
                say_into_its_journal(&dir);
                return Ok(Some(dir));
            }
            Ok(Side::Parent { pidfd }) => answer(&socket, 0, Some(&pidfd))?,
            Err(error) => answer(&socket, error.raw_os_error().unwrap_or(nix::libc::EIO), None)?,
        }
    }
}

/// What a supervisor says goes to its run's journal, between the entries.
fn say_into_its_journal(dir: &Path) {
    let files = RunFiles { dir: dir.to_path_buf() };
    if let Ok(journal) = journal::open_file(&files.journal()) {
        let _ = rustix::stdio::dup2_stderr(journal);
    }
}

fn answer(socket: &OwnedFd, error: i32, pidfd: Option<&OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = pidfd.iter().map(|fd| fd.as_fd()).collect();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let bytes = error.to_ne_bytes();
    match sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
        // The daemon is gone; so are we, once the loop sees it.
        Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A supervisor on its way.
#[derive(Debug)]
pub(crate) struct Born {
    /// Readable once it has ended.
    pub pidfd: OwnedFd,
    /// Set when it is this process's own child, so that it must be reaped.
    pub child: Option<Child>,
}

/// How the daemon gets supervisors: from a nursery, and where there is none, as programs.
#[derive(Debug)]
pub(crate) struct Births {
    supervisor: Vec<String>,
    nursery_program: Vec<String>,
    nursery: Option<Nursery>,
    patience: Duration,
    /// In a row.
    failures: u32,
}

impl Births {
    pub fn new(supervisor: Vec<String>, nursery_program: Vec<String>) -> Births {
        let mut births = Births { supervisor, nursery_program, nursery: None, patience: PATIENCE, failures: 0 };
        // Early, so that the first run does not wait for it.
        births.open();
        births
    }

    fn open(&mut self) {
        match Nursery::start(&self.nursery_program) {
            Ok(nursery) => self.nursery = Some(nursery),
            Err(error) => tracing::warn!("supervisors are started as programs, which is slower: {error}"),
        }
    }

    /// Starts a supervisor for each run; their orders are written.
    ///
    /// # Errors
    /// For each, what keeps even a program from being started.
    pub fn supervisors(&mut self, runs: &[RunFiles]) -> Vec<io::Result<Born>> {
        if self.nursery.is_none() && self.failures < FAILURES {
            self.open();
        }
        let mut born = Vec::new();
        for some in runs.chunks(AT_ONCE) {
            if self.nursery.is_none() {
                break;
            }
            born.extend(self.ask_nursery(some).into_iter().map(|pidfd| Ok(Born { pidfd, child: None })));
        }
        let rest: Vec<_> = runs[born.len()..].iter().map(|files| self.program(files)).collect();
        born.into_iter().chain(rest).collect()
    }

    /// Fewer than asked for when the nursery fails on the way.
    fn ask_nursery(&mut self, runs: &[RunFiles]) -> Vec<OwnedFd> {
        let mut born = Vec::new();
        let Some(nursery) = &self.nursery else { return born };
        let deadline = Instant::now() + self.patience;
        let asked = runs.iter().try_for_each(|files| nursery.ask(&files.dir));
        let result = asked.and_then(|()| {
            for _ in runs {
                born.push(nursery.hear(deadline)?);
            }
            Ok(())
        });
        match result {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.nursery = None;
                self.failures += 1;
                let next =
                    if self.failures < FAILURES { "another takes its place" } else { "supervisors are started as programs from now on" };
                tracing::warn!("the process that supervisors are forked from failed, {next}: {error}");
            }
        }
        born
    }

    fn program(&self, files: &RunFiles) -> io::Result<Born> {
        let errors = journal::open_file(&files.journal())?;
        let (program, arguments) = self.supervisor.split_first().ok_or_else(|| io::Error::other("no supervisor program"))?;
        let mut command = Command::new(program);
        command.args(arguments).arg(&files.dir).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let mut child = command.spawn()?;
        // Not reaped yet, so the number is still its own.
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Born { pidfd, child: Some(child) }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }
}

/// The daemon's end.
#[derive(Debug)]
struct Nursery {
    socket: OwnedFd,
    process: Child,
}

impl Nursery {
    /// Starts the program that calls [`nurse`].
    fn start(program: &[String]) -> io::Result<Nursery> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (program, arguments) = program.split_first().ok_or_else(|| io::Error::other("no nursery program"))?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/").stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Nursery { socket: ours, process: command.spawn()? })
    }

    /// Asks for a supervisor of the run in `dir`.
    fn ask(&self, dir: &Path) -> io::Result<()> {
        // A nursery that does not read must not hold us up.
        send(&self.socket, dir.as_os_str().as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// The answer to the oldest request that has none yet.
    ///
    /// # Errors
    /// The nursery is gone or does not answer: it should be dropped. It may have forked before; the run's lock lets
    /// only one supervisor work.
    fn hear(&self, deadline: Instant) -> io::Result<OwnedFd> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut error = [0; 4];
        let received = recvmsg(&self.socket, &mut [IoSliceMut::new(&mut error)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes != error.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let pidfd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        pidfd.ok_or_else(|| match i32::from_ne_bytes(error) {
            // It was sent, and this process had no number left for it.
            0 => io::Error::from_raw_os_error(nix::libc::EMFILE),
            number => io::Error::from_raw_os_error(number),
        })
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_nursery_that_does_not_answer_is_done_without() {
        let place = tempfile::tempdir().unwrap();
        let runs: Vec<RunFiles> = (0..40).map(|n| RunFiles { dir: place.path().join(n.to_string()) }).collect();
        runs.iter().for_each(|files| fs::create_dir(&files.dir).unwrap());
        // It holds its end of the socket and reads nothing.
        let mut births = Births::new(words("true"), words("sleep 1000"));
        births.patience = Duration::ZERO;
        for round in 1..=FAILURES + 1 {
            let born = births.supervisors(&runs);
            assert_eq!(born.len(), runs.len());
            for born in born {
                assert!(born.unwrap().child.unwrap().wait().unwrap().success());
            }
            assert_eq!((births.failures, births.nursery.is_none()), (round.min(FAILURES), true));
        }
    }
}
