//! Starting a run: the supervisor's side.

use crate::builder::{self, Built, Order};
use crate::cgroup::{Applied, Cgroup, DeviceRule, Limits};
use crate::error::{Failure, SandboxError};
use crate::leftovers::{Process, Record};
use crate::rootfs;
use crate::scratch::Scratch;
use crate::started::Started;
use crate::workload::pids_limit;
use crate::{Workload, sys, wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use spec::{IsolationLevel, IsolationMark, IsolationReport};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Starts a run at the highest level of isolation that this process can give, or refuses if that is less than
/// the workload demands. Returns when the run's init is on its way; whether each rank's program could be
/// executed is told by the events. `stopped` is asked now and then while the container is made, which takes long when a
/// file system does not answer, and ends the start.
///
/// The calling process must have one thread and becomes a child subreaper. It may start one run.
pub fn start(workload: &Workload, stopped: &dyn Fn() -> bool) -> Result<Started, SandboxError> {
    workload.validate()?;
    let threads = sys::threads();
    if threads != 1 {
        return Err(SandboxError::Threads(threads));
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| SandboxError::io("becoming a subreaper")(e.into()))?;
    let identity = &workload.identity;
    Scratch::make(&workload.dir, workload.spare.as_deref(), identity.uid, identity.gid)
        .map_err(SandboxError::io(format!("making scratch space in {}", workload.dir.display())))?;

    let (cgroup, applied) = match Cgroup::create(workload.run, &workload.dir, workload.cgroup) {
        Ok(cgroup) => {
            let applied = cgroup.apply(&limits(workload)?);
            (Some(cgroup), Ok(applied))
        }
        Err(reason) => (None, Err(reason)),
    };
    let recorded = match &cgroup {
        // Root's groups are found by their names; another's lie where the node happens to run.
        Some(cgroup) if sys::effective_uid() != 0 => {
            let record = Record { run: workload.run, cgroup: Some(cgroup.clone()), init: None };
            record.write(&workload.dir).map_err(SandboxError::io(format!("writing to {}", workload.dir.display())))
        }
        _ => Ok(()),
    };
    match recorded.and_then(|()| at_best_level(workload, cgroup.as_ref(), &applied, stopped)) {
        Ok(started) => Ok(started),
        Err(error) => {
            // What was made so far; the reason of the failure is worth more than trouble in cleaning.
            while sys::wait(-1, false).is_some() {}
            if let Some(cgroup) = cgroup {
                cgroup.kill();
                let _ = cgroup.remove();
            }
            let _ = crate::started::remove_files(&workload.dir);
            Err(error)
        }
    }
}

fn at_best_level(
    workload: &Workload,
    cgroup: Option<&Cgroup>,
    applied: &Result<Vec<Applied>, String>,
    stopped: &dyn Fn() -> bool,
) -> Result<Started, SandboxError> {
    let demand = workload.demand.unwrap_or(IsolationLevel::Process);
    let missing = missing_limits(applied);
    let best = if missing.is_none() { IsolationLevel::Container } else { IsolationLevel::Namespaces };
    if demand > best {
        return Err(SandboxError::Demand { demanded: demand, possible: best, reason: missing.unwrap_or_default() });
    }
    let why = match attempt(workload, cgroup, applied, (best, None), stopped) {
        Err(Attempt::Unavailable(reason)) => reason,
        Err(Attempt::Failed(error)) => return Err(error),
        Ok(started) => return Ok(started),
    };
    let least = IsolationLevel::Process;
    if demand > least {
        return Err(SandboxError::Demand { demanded: demand, possible: least, reason: why });
    }
    attempt(workload, cgroup, applied, (least, Some(&why)), stopped).map_err(|attempt| match attempt {
        Attempt::Failed(error) => error,
        Attempt::Unavailable(message) => SandboxError::Start { message, hint: None, missing: false },
    })
}

/// Why the limits do not make a container: memory, processes and devices must be limited by the kernel.
fn missing_limits(applied: &Result<Vec<Applied>, String>) -> Option<String> {
    match applied {
        Err(reason) => Some(reason.clone()),
        Ok(applied) => applied.iter().find_map(|(what, result)| match result {
            Err(reason) if ["memory", "pids", "devices"].contains(what) => Some(format!("{what} cannot be limited: {reason}")),
            _ => None,
        }),
    }
}

fn limits(workload: &Workload) -> Result<Limits, SandboxError> {
    let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(32_768);
    let cpus = workload.cpus();
    let mut devices = DeviceRule::basic();
    for node in &workload.devices {
        let (block, _) = rootfs::node_kind(&node.path).map_err(|error| SandboxError::Start {
            message: format!("the granted device node {}: {error}", node.path),
            hint: Some("the device went away since the machine was looked at; 'ashlar machine' shows what is there now".into()),
            missing: false,
        })?;
        devices.push(DeviceRule::open(block, node.major, Some(node.minor)));
    }
    Ok(Limits {
        memory: workload.grant.memory.0,
        pids: pids_limit(cpus.len(), pid_max),
        cpu_milli: workload.grant.cpu_milli(),
        cap_cpu: workload.grant.cpu_share.is_shared(),
        cpus,
        mems: workload.grant.mem_nodes.clone(),
        devices,
    })
}

enum Attempt {
    Unavailable(String),
    Failed(SandboxError),
}

impl From<SandboxError> for Attempt {
    fn from(error: SandboxError) -> Attempt {
        Attempt::Failed(error)
    }
}

/// One try at one level. `why` is given for the process level: what kept the run from a higher one.
fn attempt(
    workload: &Workload,
    cgroup: Option<&Cgroup>,
    applied: &Result<Vec<Applied>, String>,
    (level, why): (IsolationLevel, Option<&str>),
    stopped: &dyn Fn() -> bool,
) -> Result<Started, Attempt> {
    let broken = |doing: &'static str| move |error: io::Error| Attempt::Failed(SandboxError::io(doing)(error));
    let (events, socket) = wire::pair().map_err(broken("making the event socket"))?;
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for _ in &workload.processes {
        let (read, write) = output_pipe(workload).map_err(broken("making an output pipe"))?;
        reads.push(read);
        writes.push(write);
    }
    let (answer, question) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| broken("making a pipe")(error.into()))?;
    let namespaces = if why.is_none() { builder::namespaces(workload) } else { 0 };
    let (privileged, caller) = (sys::effective_uid() == 0, (sys::effective_uid(), sys::effective_gid()));
    let entrance = cgroup.and_then(Cgroup::entrance);
    let (forked, in_v2) = match sys::fork_with(namespaces, entrance.as_ref().map(AsFd::as_fd)) {
        Ok(forked) => forked,
        Err(error) if why.is_none() && !is_shortage(&error) => {
            return Err(Attempt::Unavailable(format!("namespaces cannot be made: {error}")));
        }
        Err(error) => return Err(broken("making a process")(error)),
    };
    match forked {
        sys::Forked::Child => {
            // Our end of the socket must not live on in the run: its closing is how init learns of our death.
            drop((events, reads, answer));
            let order = Order { workload, cgroup, in_v2, privileged, caller, applied, socket, outputs: writes };
            // A fork of the supervisor must not go on with the supervisor's work, whatever happens.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first_process(order, why, question)));
            sys::exit_now(72)
        }
        sys::Forked::Parent(init) => {
            drop((socket, writes, question));
            if !wait_for_answer(&answer, stopped) {
                let _ = sys::kill(init, libc::SIGKILL);
                sys::wait(init, true);
                return Err(SandboxError::Stopped.into());
            }
            let built = hear(answer).map_err(|failure| {
                sys::wait(init, true);
                match failure.unavailable {
                    true => Attempt::Unavailable(failure.message),
                    false => {
                        let Failure { message, hint, missing, .. } = failure;
                        Attempt::Failed(SandboxError::Start { message, hint, missing })
                    }
                }
            })?;
            follow(workload, cgroup, FirstProcess { pid: init, level, marks: built.marks }, events, reads)
        }
    }
}

/// Whether a fork failed for want of something, not because namespaces may not be had.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM))
}

struct FirstProcess {
    pid: i32,
    level: IsolationLevel,
    marks: Vec<IsolationMark>,
}

fn follow(
    workload: &Workload,
    cgroup: Option<&Cgroup>,
    first: FirstProcess,
    events: OwnedFd,
    outputs: Vec<OwnedFd>,
) -> Result<Started, Attempt> {
    let none = || SandboxError::Start { message: "the run has no process".into(), hint: None, missing: false };
    let pid = rustix::process::Pid::from_raw(first.pid).ok_or_else(none)?;
    // Init is our child and not reaped yet, so the number cannot have been given to another process.
    let init = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|e| SandboxError::io("holding the run's init")(e.into()))?;
    if cgroup.is_none() {
        let record = Record { run: workload.run, cgroup: None, init: Process::of(first.pid) };
        record.write(&workload.dir).map_err(SandboxError::io(format!("writing to {}", workload.dir.display())))?;
    }
    Ok(Started {
        isolation: IsolationReport { level: first.level, marks: first.marks },
        events,
        outputs,
        init_pid: first.pid.unsigned_abs(),
        init,
        cgroup: cgroup.cloned(),
        dir: workload.dir.clone(),
        spare: workload.spare.clone(),
        ranks: workload.processes.iter().map(|process| (process.rank, (0, false))).collect::<BTreeMap<_, _>>(),
        pending: VecDeque::new(),
        done: false,
        reaped_micros: None,
    })
}

/// The life of the forked process.
fn first_process(order: Order, why: Option<&str>, question: OwnedFd) -> ! {
    // Its length first: copies of the pipe may stay open in the run for a while.
    let tell = move |result: Result<Built, Failure>| {
        let text = serde_json::to_vec(&result).unwrap_or_default();
        let _ = File::from(question).write_all(&[&(text.len() as u32).to_le_bytes(), &text[..]].concat());
    };
    match why {
        Some(why) => builder::process(order, why, tell),
        None => builder::container(order, tell),
    }
}

/// Whether the first process has answered, or ended; `false` when the start was stopped before.
fn wait_for_answer(answer: &OwnedFd, stopped: &dyn Fn() -> bool) -> bool {
    const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    loop {
        match poll(&mut [PollFd::new(answer, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) if stopped() => return false,
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            _ => return true,
        }
    }
}

/// The answer of the first process. One that dies closes the pipe without one.
fn hear(answer: OwnedFd) -> Result<Built, Failure> {
    let mut answer = File::from(answer);
    let mut read = || -> io::Result<Vec<u8>> {
        let mut length = [0u8; 4];
        answer.read_exact(&mut length)?;
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        answer.read_exact(&mut text)?;
        Ok(text)
    };
    match read().map(|text| serde_json::from_slice(&text)) {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(Failure::order(format!("the answer of the run's first process cannot be read: {error}"))),
        Err(_) => Err(Failure::order("the first process of the run died").hint("a memory limit too small to start in is the usual reason")),
    }
}

/// A pipe for one rank's output: our end nonblocking, the rank's end the person's to open again as `/dev/stdout`.
fn output_pipe(workload: &Workload) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    // Fewer switches between a rank that prints much and its supervisor; the default size works too.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, 256 * 1024);
    if sys::effective_uid() == 0 {
        let identity = &workload.identity;
        let (uid, gid) = (rustix::fs::Uid::from_raw(identity.uid), rustix::fs::Gid::from_raw(identity.gid));
        rustix::fs::fchown(&write, Some(uid), Some(gid))?;
    }
    Ok((read, write))
}
