//! Doing something as the person a run belongs to, in a process of its own.
//!
//! Whoever may write to a folder may put links into it. So files in a person's folder are touched, and programs that
//! a person can change are run, only by a process that can do no more than the person.

use crate::cgroup::{Cgroup, DeviceRule, Limits};
use crate::init::kill_descendants;
use crate::leftovers::{Process, Record, record_path};
use crate::privileges::Privileges;
use crate::sys::{self, Forked};
use machine::{Bytes, CgroupMode, Grant};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal};
use spec::{Identity, RunId};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much the process may take: it works for a run before the run's container is there, within the run's grant.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    pub run: RunId,
    /// The run's directory, where it is written down what to clean up if the caller dies.
    pub dir: &'a Path,
    pub mode: CgroupMode,
    pub grant: &'a Grant,
    /// Given also where the grant is smaller: the work is not the job's own.
    pub least_memory: Bytes,
}

/// A process that works as a person.
#[derive(Debug)]
pub struct PersonProcess {
    pid: Pid,
    /// Readable when the process has ended.
    pub pidfd: OwnedFd,
    cgroup: Option<Cgroup>,
    record: PathBuf,
}

/// How such a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonEnd {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    /// The kernel killed something of it because its memory was used up.
    pub out_of_memory: bool,
}

/// Most processes and threads at a time.
const PROCESSES: u64 = 4096;

/// Forks a process that takes the person's identity, without the way back to privileges, in control groups and a session of its
/// own, and runs `work`, whose result is its exit code. It dies with its parent. The calling process must have one thread
/// and no other children.
pub fn as_person(identity: &Identity, bounds: &Bounds, work: impl FnOnce() -> u8) -> io::Result<PersonProcess> {
    if sys::threads() != 1 {
        return Err(io::Error::other("a process with several threads cannot be forked"));
    }
    let cgroup = Cgroup::create(bounds.run, bounds.dir, bounds.mode).ok();
    if let Some(cgroup) = &cgroup {
        // A limit that cannot be set is one less, as for runs.
        let _ = cgroup.apply(&limits(bounds));
    }
    let parent = rustix::process::getpid();
    // What loses its parent when the process is killed comes to us: whoever else would get it may be slow to let go of it.
    let _ = rustix::process::set_child_subreaper(Some(parent));
    let forked = Record { run: bounds.run, cgroup: cgroup.clone(), init: None }.write(bounds.dir).and_then(|()| sys::fork());
    match forked {
        Err(error) => {
            cgroup.iter().for_each(|cgroup| drop(cgroup.remove()));
            Err(error)
        }
        Ok(Forked::Parent(pid)) => {
            let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no process"))?;
            // Not reaped yet, so the number is still its own.
            let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
            // Without groups the process is what leads to all it started.
            let init = if cgroup.is_none() { Process::of(pid.as_raw_nonzero().get()) } else { None };
            let _ = Record { run: bounds.run, cgroup: cgroup.clone(), init }.write(bounds.dir);
            Ok(PersonProcess { pid, pidfd, cgroup, record: record_path(bounds.dir) })
        }
        Ok(Forked::Child) => {
            if become_person(identity, cgroup.as_ref()).is_err() {
                sys::exit_now(126);
            }
            sys::unblock_signals();
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            if rustix::process::getppid() != Some(parent) {
                sys::exit_now(125); // it died before the line above
            }
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(101);
            // What a build script left behind came to us, and goes with us.
            kill_descendants(std::process::id() as libc::pid_t);
            while sys::wait(-1, false).is_some() {}
            sys::exit_now(i32::from(code))
        }
    }
}

fn limits(bounds: &Bounds) -> Limits {
    let grant = bounds.grant;
    Limits {
        memory: grant.memory.0.max(bounds.least_memory.0),
        pids: PROCESSES,
        cpu_milli: grant.cpu_milli(),
        cap_cpu: grant.cpu_share.is_shared(),
        cpus: grant.ranks.iter().flat_map(|rank| rank.cpus.iter()).collect(),
        mems: grant.mem_nodes.clone(),
        devices: DeviceRule::basic(),
    }
}

fn become_person(identity: &Identity, cgroup: Option<&Cgroup>) -> io::Result<()> {
    rustix::process::setsid()?;
    if let Some(cgroup) = cgroup {
        cgroup.join(false).map_err(io::Error::other)?;
    }
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    // Ranks and what prepares them go before the node, and before people's shells, when the machine runs out of memory.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match sys::effective_uid() {
        0 => Privileges::of(identity.uid, identity.gid, &identity.groups).take(),
        _ => Privileges::unchanged().take(),
    }
}

/// Takes in what came to us when its parent was killed. One that waits for a dead disk is left to the kernel.
fn reap_the_killed() {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            _ => return,
        }
    }
}

impl PersonProcess {
    /// Kills the process and everything that it started.
    pub fn kill(&self) {
        match &self.cgroup {
            Some(cgroup) => cgroup.kill(),
            None => {
                // Stopped first, so that what loses its parent comes to it and is found.
                let _ = pidfd_send_signal(&self.pidfd, Signal::STOP);
                kill_descendants(self.pid.as_raw_nonzero().get());
            }
        }
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Waits for its end, reaps it, and takes away what was made for it.
    pub fn wait(self) -> PersonEnd {
        let status = sys::wait(self.pid.as_raw_nonzero().get(), true).map(|gone| gone.status);
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        } else {
            kill_descendants(std::process::id() as libc::pid_t);
        }
        reap_the_killed();
        let _ = rustix::process::set_child_subreaper(None);
        let mut out_of_memory = false;
        if let Some(cgroup) = &self.cgroup {
            out_of_memory = cgroup.counters().oom_kills > 0;
            let _ = cgroup.remove();
        }
        let _ = fs::remove_file(&self.record);
        // The layout of wait statuses is the kernel's: the low seven bits are the signal.
        let code = status.filter(|status| status & 0x7f == 0).map(|status| (status >> 8) & 0xff);
        PersonEnd { code, out_of_memory }
    }
}
