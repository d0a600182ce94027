//! Telling a person that their job reached a state, by the command they named.

use spec::Identity;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Notices that may wait; a person who cancels thousands of tasks is told of the first ones.
const WAITING: usize = 1000;
/// A command that has not ended by then is killed, so that one that hangs does not keep the others waiting.
const LONGEST: Duration = Duration::from_secs(60);

/// One command to run for a person.
#[derive(Clone, Debug)]
pub struct Notification {
    pub owner: Identity,
    pub command: Vec<String>,
    pub variables: Vec<(String, String)>,
}

/// Runs the commands one after the other, in a thread of its own.
#[derive(Clone, Debug)]
pub struct Notifier {
    queue: SyncSender<Notification>,
}

impl Notifier {
    pub fn start() -> std::io::Result<Notifier> {
        let (queue, waiting) = sync_channel(WAITING);
        std::thread::Builder::new().name("notify".into()).spawn(move || serve(&waiting))?;
        Ok(Notifier { queue })
    }

    /// Never blocks. At most once: a notice is no record, and a node that dies in this moment does not send it again.
    pub fn send(&self, notification: Notification) {
        if self.queue.try_send(notification).is_err() {
            tracing::warn!("a notice was dropped: {WAITING} wait already");
        }
    }
}

fn serve(waiting: &Receiver<Notification>) {
    while let Ok(notification) = waiting.recv() {
        match start(&notification) {
            Ok(Some(mut child)) => finish(&mut child),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("the notice command '{}' of {} does not start: {error}", notification.command[0], notification.owner.user);
            }
        }
    }
}

fn start(notification: &Notification) -> std::io::Result<Option<Child>> {
    let Notification { owner, command, variables } = notification;
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    let mut process = Command::new(program);
    process.args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", &owner.home).env("USER", &owner.user);
    process.envs(variables.iter().map(|(name, value)| (name, value))).current_dir("/").process_group(0);
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Only root may become somebody else; a node of one person runs as that person already.
    if rustix::process::geteuid().is_root() {
        process.uid(owner.uid).gid(owner.gid);
    }
    process.spawn().map(Some)
}

fn finish(child: &mut Child) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
    let pid = Pid::from_child(child);
    let patience = Timespec { tv_sec: LONGEST.as_secs() as i64, tv_nsec: 0 };
    let ended = pidfd_open(pid, PidfdFlags::empty())
        .is_ok_and(|pidfd| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)).is_ok_and(|ready| ready > 0));
    if !ended {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let _ = child.wait();
}
