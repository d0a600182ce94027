//! Telling a person that their job reached a state, by the command they named; and other small things that are done for a person
//! while nobody waits for them.
//!
//! The command runs in a process of its own with limits of its own ([`carry`]): what a person wrote must not use up the
//! daemon's share of the machine, nor keep the daemon busy.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use spec::Identity;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Notices that may wait; a person who cancels thousands of tasks is told of the first ones.
const WAITING: usize = 1000;
/// A command that has not ended by then is killed with all it started, so that one that hangs does not keep the others
/// waiting.
const LONGEST: Duration = Duration::from_secs(60);
/// What one command and all it starts may hold.
const MEMORY: u64 = 256 << 20;
const PROCESSES: u64 = 64;

/// One command to run for a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notification {
    pub owner: Identity,
    pub command: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// Seconds after which it is killed.
    #[serde(default = "minute")]
    pub longest: u64,
}

fn minute() -> u64 {
    LONGEST.as_secs()
}

impl Notification {
    /// As long as a notice may take.
    pub fn new(owner: Identity, command: Vec<String>, variables: Vec<(String, String)>) -> Notification {
        Notification { owner, command, variables, longest: minute() }
    }
}

/// Runs the commands one after the other, in a thread of its own.
#[derive(Clone, Debug)]
pub struct Notifier {
    queue: SyncSender<Notification>,
}

impl Notifier {
    /// `carrier`: program and arguments that run [`carry`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(carrier: Vec<String>) -> io::Result<Notifier> {
        let (queue, waiting) = sync_channel(WAITING);
        std::thread::Builder::new().name("notify".into()).spawn(move || serve(&waiting, &carrier))?;
        Ok(Notifier { queue })
    }

    /// Never blocks. At most once: a notice is no record, and a node that dies in this moment does not send it again.
    pub fn send(&self, notification: Notification) {
        if self.queue.try_send(notification).is_err() {
            tracing::warn!("a notice was dropped: {WAITING} wait already");
        }
    }
}

fn serve(waiting: &Receiver<Notification>, carrier: &[String]) {
    while let Ok(notification) = waiting.recv() {
        if let Err(error) = start(&notification, carrier).and_then(|mut child| finish(&mut child, notification.longest)) {
            let Notification { command, owner, .. } = &notification;
            tracing::warn!("the notice command '{}' of {} fails: {error}", command.first().map_or("", String::as_str), owner.user);
        }
    }
}

fn start(notification: &Notification, carrier: &[String]) -> io::Result<Child> {
    let (program, arguments) = carrier.split_first().ok_or_else(|| io::Error::other("no program to carry it"))?;
    let mut process = Command::new(program);
    process.args(arguments).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = process.spawn()?;
    // Dropped at once, so that the other side sees the end of it.
    if let Some(mut order) = child.stdin.take() {
        order.write_all(&serde_json::to_vec(notification)?)?;
    }
    Ok(child)
}

/// The carrier keeps the time itself; this is for one that cannot.
fn finish(child: &mut Child, longest: u64) -> io::Result<()> {
    let patience = Timespec { tv_sec: longest as i64 + 30, tv_nsec: 0 };
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        .is_ok_and(|pidfd| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)).is_ok_and(|ready| ready > 0));
    if !ended {
        child.kill()?;
    }
    let status = child.wait()?;
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take().filter(|_| !status.success()) {
        let _ = stderr.take(4096).read_to_string(&mut said);
        return Err(io::Error::other(said.trim().to_string()));
    }
    Ok(())
}

/// In a process with one thread: reads one [`Notification`] as JSON from `order` and runs its command.
///
/// # Errors
/// Why it did not run, or that it was killed.
pub fn carry(order: &mut dyn Read) -> io::Result<()> {
    let mut text = Vec::new();
    order.read_to_end(&mut text)?;
    let Notification { owner, command, variables, longest } = serde_json::from_slice(&text)?;
    let home = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", &owner.home), ("USER", &owner.user)];
    let environment: Vec<_> = home.map(|(name, value)| (name.to_string(), value.to_string())).into_iter().chain(variables).collect();
    let errand = sandbox::Errand {
        identity: &owner,
        command: &command,
        environment: &environment,
        memory: MEMORY,
        processes: PROCESSES,
        longest: Duration::from_secs(longest),
    };
    match sandbox::run_errand(&errand)? {
        // What it says with its exit code is between the person and the command.
        Some(_) => Ok(()),
        None => Err(io::Error::other(format!("it took longer than {longest} s and was killed"))),
    }
}
