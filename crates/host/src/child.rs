//! Asking something that may hang, crash or never stop talking: a child process with a deadline.
//!
//! Vendor libraries and tools wait in the kernel for cards that no longer answer, sometimes beyond any signal. So nobody here
//! waits for one: it runs in a process of its own, in a process group of its own, is read with a deadline, and is killed
//! when that has passed. A child that cannot be killed (a task in uninterruptible sleep) is left to a thread that reaps
//! it when it ends.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The longest answer that is taken in: a listing of hundreds of cards has less.
const LONGEST_ANSWER: usize = 4 << 20;
/// How long a killed child is waited for before a thread takes over.
const LAST_BREATH: Duration = Duration::from_millis(200);

/// Why an answer did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// There is no such program, or this person may not run it.
    NotStarted(String),
    /// The deadline passed.
    Hung,
    /// Ended by a signal that was not ours.
    Crashed(i32),
    /// Ended by itself, with this code, before the answer was whole.
    Ended(i32),
    /// More than [`LONGEST_ANSWER`] bytes.
    TooMuch,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::NotStarted(why) => write!(f, "did not start: {why}"),
            Silence::Hung => f.write_str("gave no answer in time"),
            Silence::Crashed(signal) => write!(f, "died of signal {signal}"),
            Silence::Ended(code) => write!(f, "ended with code {code}"),
            Silence::TooMuch => f.write_str("does not stop talking"),
        }
    }
}

/// A child that is asked line by line.
#[derive(Debug)]
pub struct Session {
    /// Taken when it is gone.
    child: Option<Child>,
    pidfd: OwnedFd,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Read, and not yet handed out.
    pending: Vec<u8>,
}

impl Session {
    /// Starts it. Its error output is thrown away.
    ///
    /// # Errors
    /// [`Silence::NotStarted`].
    pub fn start(command: &mut Command) -> Result<Session, Silence> {
        let failed = |error: io::Error| Silence::NotStarted(error.to_string());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            // Whatever it starts itself dies with it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        match (pidfd, child.stdin.take(), child.stdout.take()) {
            (Ok(pidfd), input, Some(output)) => Ok(Session { child: Some(child), pidfd, input, output, pending: Vec::new() }),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                Err(Silence::NotStarted("no pipe to it".into()))
            }
        }
    }

    /// Sends one line. A child that is gone shows when its answer is read.
    pub fn send(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(line.as_bytes()).and_then(|()| input.write_all(b"\n"));
        }
    }

    /// Nothing more will be sent.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// The next whole line of its output, bytes that are no UTF-8 replaced.
    ///
    /// # Errors
    /// When none comes before `deadline`. The session is of no use after that.
    pub fn line(&mut self, deadline: Instant) -> Result<String, Silence> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.pending[..end]).into_owned();
                self.pending.drain(..=end);
                return Ok(line);
            }
            if !self.fill(deadline)? {
                return Err(self.last_words());
            }
        }
    }

    /// Everything up to its end, where that is a good one.
    fn rest(&mut self, deadline: Instant) -> Result<Vec<u8>, Silence> {
        while self.fill(deadline)? {}
        match self.last_words() {
            Silence::Ended(0) => Ok(std::mem::take(&mut self.pending)),
            other => Err(other),
        }
    }

    /// Reads what is there, waiting for it; false at the end of the output.
    fn fill(&mut self, deadline: Instant) -> Result<bool, Silence> {
        if self.pending.len() > LONGEST_ANSWER {
            return Err(Silence::TooMuch);
        }
        if !wait_readable(&self.output, deadline) {
            return Err(Silence::Hung);
        }
        let mut buffer = [0; 16 << 10];
        match self.output.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.pending.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// How it ended, once its output is closed.
    fn last_words(&mut self) -> Silence {
        if !wait_readable(&self.pidfd, Instant::now() + LAST_BREATH) {
            return Silence::Hung;
        }
        match self.child.take().map(|mut child| child.wait()) {
            Some(Ok(status)) => silence(status),
            _ => Silence::Ended(-1),
        }
    }
}

fn silence(status: ExitStatus) -> Silence {
    match (status.signal(), status.code()) {
        (Some(signal), _) => Silence::Crashed(signal),
        (_, code) => Silence::Ended(code.unwrap_or(-1)),
    }
}

/// False when the deadline passed first.
fn wait_readable(source: &impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut fds = [PollFd::new(source, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return false,
            Err(rustix::io::Errno::INTR) => {}
            // A poll that fails is no reason to wait: the read after it tells.
            Ok(_) | Err(_) => return true,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        self.input = None;
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        if wait_readable(&self.pidfd, Instant::now() + LAST_BREATH) {
            let _ = child.wait();
        } else {
            std::thread::spawn(move || child.wait());
        }
    }
}

/// Runs a program to its end and gives its output.
///
/// # Errors
/// When it does not end well before `patience` is over.
pub fn output(command: &mut Command, patience: Duration) -> Result<Vec<u8>, Silence> {
    let deadline = Instant::now() + patience;
    let mut session = Session::start(command)?;
    session.close_input();
    session.rest(deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn every_way_to_fail_has_its_name() {
        assert_eq!(output(&mut shell("echo hello"), LONG).unwrap(), b"hello\n");
        assert_eq!(output(&mut shell("exit 3"), LONG), Err(Silence::Ended(3)));
        assert_eq!(output(&mut shell("kill -SEGV $$"), LONG), Err(Silence::Crashed(11)));
        assert_eq!(output(&mut shell("exec cat /dev/zero"), LONG), Err(Silence::TooMuch));
        assert!(matches!(output(&mut Command::new("/nonexistent/tool"), LONG), Err(Silence::NotStarted(_))));
    }

    #[test]
    fn one_that_ignores_signals_is_not_waited_for_and_dies_with_its_children() {
        let mut session = Session::start(&mut shell("trap '' TERM INT HUP; sleep 1000 & echo $!; wait; sleep 1000")).unwrap();
        let grandchild: u32 = session.line(Instant::now() + LONG).unwrap().parse().unwrap();
        assert_eq!(session.line(Instant::now() + SHORT), Err(Silence::Hung));
        let root = crate::Root::live();
        assert!(crate::process::start_time(&root, grandchild).is_some());
        drop(session);
        let gone = || crate::process::stat(&root, grandchild).is_none_or(|stat| stat.state == 'Z' || stat.state == 'X');
        let deadline = Instant::now() + LONG;
        while !gone() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(gone(), "the grandchild lives on");
    }

    #[test]
    fn lines_come_one_by_one_and_a_crash_between_them_shows() {
        let mut session = Session::start(&mut shell("read a; echo \"got $a\"; printf '\\377\\n'; read b; kill -ABRT $$")).unwrap();
        session.send("one");
        let deadline = Instant::now() + LONG;
        assert_eq!(session.line(deadline).unwrap(), "got one");
        assert_eq!(session.line(deadline).unwrap(), "\u{fffd}");
        session.send("two");
        assert_eq!(session.line(deadline), Err(Silence::Crashed(6)));
    }
}
