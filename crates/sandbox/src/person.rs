//! Doing something as the person a run belongs to, in a process of its own.
//!
//! Whoever may write to a folder may put links into it. So files in a person's folder are touched, and programs that
//! a person can change are run, only by a process that can do no more than the person.

use crate::sys::{self, Forked};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use spec::Identity;
use std::io;
use std::os::fd::OwnedFd;

/// A process that works as a person.
#[derive(Debug)]
pub struct PersonProcess {
    pid: Pid,
    /// Readable when the process has ended.
    pub pidfd: OwnedFd,
}

/// Forks a process that takes the person's identity, leads a process group of its own, and runs `work`, whose
/// result is its exit code. It dies with its parent. The calling process must have one thread.
pub fn as_person(identity: &Identity, work: impl FnOnce() -> u8) -> io::Result<PersonProcess> {
    if sys::threads() != 1 {
        return Err(io::Error::other("a process with several threads cannot be forked"));
    }
    let parent = rustix::process::getpid();
    match sys::fork()? {
        Forked::Parent(pid) => {
            let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no process"))?;
            // Not reaped yet, so the number is still its own.
            let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
            let _ = rustix::process::setpgid(Some(pid), Some(pid));
            Ok(PersonProcess { pid, pidfd })
        }
        Forked::Child => {
            let _ = rustix::process::setpgid(None, None);
            if become_person(identity).is_err() {
                sys::exit_now(126);
            }
            sys::unblock_signals();
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            if rustix::process::getppid() != Some(parent) {
                sys::exit_now(125); // it died before the line above
            }
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(101);
            sys::exit_now(i32::from(code))
        }
    }
}

fn become_person(identity: &Identity) -> io::Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if sys::effective_uid() == 0 {
        sys::set_groups(&identity.groups)?;
        sys::become_user(identity.uid, identity.gid)?;
    }
    Ok(())
}

impl PersonProcess {
    /// Kills the process and what it started in its group.
    pub fn kill(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    /// Waits for its end and reaps it; `None` when a signal ended it.
    pub fn wait(self) -> Option<i32> {
        let status = sys::wait(self.pid.as_raw_nonzero().get(), true)?.status;
        // The layout of wait statuses is the kernel's: the low seven bits are the signal.
        (status & 0x7f == 0).then_some((status >> 8) & 0xff)
    }
}
