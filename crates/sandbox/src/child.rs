//! A plain fork, made safe by refusing to be called from a process with threads.

use crate::sys::{self, Forked};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;

/// Does once what every run would do the same, for the processes forked from this one.
pub fn prepare() {
    let _ = crate::seccomp::program();
    let _ = crate::cgroup::Mounts::discover();
}

/// Which process goes on after [`fork_apart`].
#[derive(Debug)]
pub enum Side {
    /// The new one. It has copies of all descriptors and goes on from here with the caller's work.
    Child,
    /// The old one, with a descriptor of the new one that is readable once that has ended.
    Parent { pidfd: OwnedFd },
}

/// Forks this process. It must have one thread; the child is reaped by whoever waits for the caller's children.
///
/// # Errors
/// More than one thread, or what the kernel says.
pub fn fork_apart() -> io::Result<Side> {
    let threads = sys::threads();
    if threads != 1 {
        return Err(io::Error::other(format!("a process with {threads} threads cannot be forked")));
    }
    match sys::fork()? {
        Forked::Child => Ok(Side::Child),
        Forked::Parent(pid) => {
            let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no process"))?;
            // Not reaped yet, so the number is still its own.
            Ok(Side::Parent { pidfd: pidfd_open(pid, PidfdFlags::empty())? })
        }
    }
}
