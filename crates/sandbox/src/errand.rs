//! A short command of a person outside of any run, with limits of its own.
//!
//! It sees the machine as the person does, and may use set-uid programs (that is how mail is sent), so it is not kept
//! apart as a run is. But it cannot use up the machine, it ends in time, and nothing that it started stays.

use crate::cgroup::{Cgroup, DeviceRule, Limits};
use crate::init::kill_descendants;
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use spec::Identity;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// What to do, for whom, and how much it may take.
#[derive(Clone, Debug)]
pub struct Errand<'a> {
    pub identity: &'a Identity,
    /// Program and arguments.
    pub command: &'a [String],
    /// The whole environment.
    pub environment: &'a [(String, String)],
    /// Bytes.
    pub memory: u64,
    pub processes: u64,
    pub longest: Duration,
}

/// Runs it to its end, its output going nowhere. `None`: it took too long and was killed. The calling process must have
/// one thread and no other children.
///
/// # Errors
/// It could not be started.
pub fn run_errand(errand: &Errand) -> io::Result<Option<ExitStatus>> {
    let Some((program, arguments)) = errand.command.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    // What leaves its parent comes to us, and goes with us.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let cgroup = Cgroup::named(&format!("{NAME}{}", std::process::id())).ok();
    if let Some(cgroup) = &cgroup {
        // A limit that cannot be set is one less; the time and the end of all it started remain.
        let _ = cgroup.apply(&limits(errand));
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(errand.environment.iter().map(|(name, value)| (name, value))).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (joined, identity, memory) = (cgroup.clone(), errand.identity.clone(), errand.memory);
    // SAFETY: this process has one thread, so its child may use the heap and every lock.
    unsafe { command.pre_exec(move || become_errand(joined.as_ref(), &identity, memory)) };
    let ended = command.spawn().and_then(|mut child| wait(&mut child, errand.longest));
    if let Some(cgroup) = &cgroup {
        cgroup.kill();
    }
    kill_descendants(std::process::id() as libc::pid_t);
    while sys::wait(-1, false).is_some() {}
    if let Some(cgroup) = &cgroup {
        let _ = cgroup.remove();
    }
    ended
}

/// What the control groups of errands are called, before the number of the process that runs the errand.
const NAME: &str = "errand-";

/// Ends the errands, and removes their control groups, whose keeper is gone: killed, or from before the node was started.
/// Returns what could not be done.
pub fn cleanup_errands() -> Vec<String> {
    let mut errors = Vec::new();
    for name in Cgroup::names().into_iter().filter(|name| name.starts_with(NAME)) {
        let keeper = name[NAME.len()..].parse::<u32>();
        if keeper.is_ok_and(|pid| !std::path::Path::new("/proc").join(pid.to_string()).exists()) {
            let cgroup = Cgroup::existing(&name);
            cgroup.kill();
            errors.extend(cgroup.remove());
        }
    }
    errors
}

fn limits(errand: &Errand) -> Limits {
    /// A quarter of a CPU's weight: jobs come first.
    const WEIGHT: u64 = 250;
    Limits { memory: errand.memory, pids: errand.processes, cpu_milli: WEIGHT, devices: DeviceRule::basic(), ..Limits::default() }
}

fn become_errand(cgroup: Option<&Cgroup>, identity: &Identity, memory: u64) -> io::Result<()> {
    rustix::process::setsid()?;
    if cgroup.is_none_or(|cgroup| cgroup.join(false).is_err()) {
        sys::limit(libc::RLIMIT_DATA, memory, memory)?;
    }
    sys::limit(libc::RLIMIT_CORE, 0, 0)?;
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    if sys::effective_uid() == 0 {
        sys::set_groups(&identity.groups)?;
        sys::become_user(identity.uid, identity.gid)?;
    }
    sys::default_signals();
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

fn wait(child: &mut Child, longest: Duration) -> io::Result<Option<ExitStatus>> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let patience = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
    let in_time = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)).is_ok_and(|ready| ready > 0);
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(in_time.then_some(status))
}
