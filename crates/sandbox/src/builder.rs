//! What happens in a run's first process between its fork and the start of the ranks: it joins the groups, furnishes its
//! namespaces, takes the person's identity and becomes the run's init.

use crate::cgroup::{Applied, Cgroup};
use crate::error::{Failure, failed};
use crate::init::{self, Plan};
use crate::privileges::{self, Privileges};
use crate::rank::{Common, Rank};
use crate::report::Marks;
use crate::rootfs::Tree;
use crate::{Workload, latency, seccomp, sys};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use spec::{IsolationMark, Network};
use std::cell::RefCell;
use std::fs;
use std::os::fd::OwnedFd;

/// What it made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Built {
    pub marks: Vec<IsolationMark>,
}

/// What the supervisor hands the first process of a run.
pub(crate) struct Order<'a> {
    pub workload: &'a Workload,
    pub cgroup: Option<&'a Cgroup>,
    /// This process was forked into the v2 group.
    pub in_v2: bool,
    /// The supervisor is root.
    pub privileged: bool,
    /// Effective uid and gid of the supervisor: in a new user namespace they cannot be asked for.
    pub caller: (u32, u32),
    /// Limits that the supervisor set on the groups, or why there are none.
    pub applied: &'a Result<Vec<Applied>, String>,
    /// Init's end of the socket.
    pub socket: OwnedFd,
    /// Write ends, one for each rank.
    pub outputs: Vec<OwnedFd>,
}

impl Order<'_> {
    fn ranks(&mut self) -> Result<Vec<Rank>, Failure> {
        let outputs = std::mem::take(&mut self.outputs);
        let processes = self.workload.processes.iter().zip(&self.workload.grant.ranks);
        processes.zip(outputs).map(|((process, grant), output)| Rank::new(process, &grant.cpus, output)).collect()
    }

    /// Groups that were made and cannot be joined are an error: a run must not live beside the limits it was promised.
    fn join_groups(&self, marks: &mut Marks) -> Result<(), Failure> {
        let joined = self.cgroup.map(|cgroup| cgroup.join(self.in_v2));
        match (self.applied, joined) {
            (Ok(applied), Some(Ok(()))) => applied.iter().for_each(|(what, result)| marks.result(what, result.clone())),
            (Ok(_), Some(Err(reason))) => return Err(Failure::order(format!("the run's control groups cannot be joined: {reason}"))),
            (Err(reason), _) => without_groups(marks, reason),
            (Ok(_), None) => without_groups(marks, "no control group"),
        }
        Ok(())
    }

    /// Whether the groups bind memory nodes; else each rank does it for itself.
    fn memory_nodes(&self, marks: &mut Marks) -> Vec<u64> {
        let by_group =
            self.applied.as_ref().is_ok_and(|applied| applied.iter().any(|(what, result)| *what == "memory nodes" && result.is_ok()));
        let nodes = &self.workload.grant.mem_nodes;
        if by_group || nodes.is_empty() {
            return Vec::new();
        }
        marks.yes("memory policy", format!("{nodes}, set_mempolicy; a rank may change it"));
        sys::mask(nodes.iter())
    }
}

fn without_groups(marks: &mut Marks, reason: &str) {
    for what in ["memory", "pids", "cpu", "memory nodes"] {
        marks.no(what, reason);
    }
    marks.no("cpus", format!("{reason}; set as an affinity, which a rank may change"));
}

/// Everything that a run at this level has of its own, as flags of a fork.
pub(crate) fn namespaces(workload: &Workload) -> libc::c_int {
    let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if sys::effective_uid() != 0 {
        flags |= libc::CLONE_NEWUSER;
    }
    if workload.network == Network::None {
        flags |= libc::CLONE_NEWNET;
    }
    flags
}

/// Furnishes the namespaces that this process was forked into and becomes the run's init; `ready` tells the supervisor.
pub(crate) fn container(mut order: Order, ready: impl FnOnce(Result<Built, Failure>)) -> ! {
    match furnish(&mut order) {
        Err(failure) => {
            ready(Err(failure));
            sys::exit_now(1)
        }
        Ok((ranks, common, marks)) => {
            ready(Ok(Built { marks: marks.into_vec() }));
            init::run(&Plan { ranks: RefCell::new(ranks), common, socket: order.socket, first: true })
        }
    }
}

fn furnish(order: &mut Order) -> Result<(Vec<Rank>, Common, Marks), Failure> {
    // A supervisor that dies now must not leave a half-made container behind.
    die_with_parent();
    let mut marks = Marks::default();
    let privileged = order.privileged;
    let workload = order.workload;
    // Before a control group takes the devices of the machine away.
    let awake = latency::prepare(order.workload.latency, &mut marks);
    order.join_groups(&mut marks)?;
    let memory_nodes = order.memory_nodes(&mut marks);
    let ranks = order.ranks()?;
    let filter = filter(&mut marks);
    limits(&mut marks)?;
    go_first_when_memory_is_short()?;
    own_namespaces(order, &mut marks)?;
    // Modes are what we say they are, whatever mask the node was started with.
    let mask = sys::file_mode_mask(0);
    let mut tree = Tree::begin(workload, privileged)?;
    tree.fill()?;
    tree.proc()?;
    tree.sys(workload.network == Network::None, &order.cgroup.map(Cgroup::views).unwrap_or_default())?;
    tree.dev()?;
    tree.shut()?;
    tree.enter()?;
    sys::file_mode_mask(mask);
    let identity = &workload.identity;
    let privileges = match privileged {
        true => Privileges::of(identity.uid, identity.gid, &identity.groups),
        false => Privileges::unchanged(),
    };
    privileges.take().map_err(failed("taking the submitter's identity"))?;
    // The kernel forgets it when the identity changes.
    die_with_parent();
    // Ranks inherit it; init wears it too, because a rank that took it over would else have an init without it.
    if let Some(filter) = filter {
        seccomp::apply(filter).map_err(failed("putting the system call filter on"))?;
    }
    describe_container(workload, privileged, &mut marks);
    Ok((ranks, Common { filter: None, privileges: None, memory_nodes, awake }, marks))
}

/// Ranks go before the node, and before people's shells, when the whole machine runs out of memory.
fn go_first_when_memory_is_short() -> Result<(), Failure> {
    fs::write("/proc/self/oom_score_adj", "500").map_err(failed("setting the order in which memory is taken back"))
}

fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// What a fork cannot do: name the person in a user namespace, make the group just joined the root of the view of
/// groups, take the groups of the person, switch loopback on.
fn own_namespaces(order: &Order, marks: &mut Marks) -> Result<(), Failure> {
    let workload = order.workload;
    if order.privileged {
        // What is mounted for the person is opened with the person's groups.
        sys::set_groups(&workload.identity.groups).map_err(failed("setting the submitter's groups"))?;
    } else {
        let (uid, gid) = order.caller;
        let map = |file: &str, text: String| {
            fs::write(format!("/proc/self/{file}"), text)
                .map_err(|e| Failure::unavailable(format!("a user namespace cannot be set up: {e}")))
        };
        map("setgroups", "deny".into())?;
        map("uid_map", format!("{uid} {uid} 1"))?;
        map("gid_map", format!("{gid} {gid} 1"))?;
        marks.yes("user namespace", format!("uid {uid} and gid {gid} only"));
    }
    // SAFETY: the flag does not unshare the descriptor table.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }
        .map_err(|error| Failure::unavailable(format!("namespaces cannot be made: {error}")))?;
    if workload.network == Network::None {
        sys::loopback_up().map_err(failed("switching loopback on"))?;
    }
    Ok(())
}

fn describe_container(workload: &Workload, privileged: bool, marks: &mut Marks) {
    let identity = &workload.identity;
    marks.yes("namespaces", "mount, pid, ipc, uts, cgroup");
    match workload.network {
        Network::None => marks.yes("network", "a namespace of its own with loopback only"),
        Network::Host => marks.no("network", "the machine's, as asked for"),
    }
    marks.yes("identity", format!("uid {}, gid {}, {} groups", identity.uid, identity.gid, identity.groups.len()));
    marks.yes("no new privileges", "set");
    marks.yes("capabilities", if privileged { privileges::capabilities_text(identity.uid) } else { "none".into() });
    let nodes: Vec<&str> = workload.devices.iter().map(|node| node.path.as_str()).collect();
    let nodes = if nodes.is_empty() { "none granted".to_string() } else { nodes.join(" ") };
    marks.yes("device nodes", format!("{nodes}; /dev has no others"));
    marks.yes("system files", "read-only: /usr /etc /opt /var and libraries");
    marks.yes("private /tmp", "/tmp and /var/tmp, on disk");
    marks.yes("/dev/shm", format!("{}, shared by the run's ranks", workload.grant.shm));
    if !workload.hidden.is_empty() {
        let paths: Vec<_> = workload.hidden.iter().map(|path| path.display().to_string()).collect();
        marks.yes("hidden", paths.join(" "));
    }
}

fn filter(marks: &mut Marks) -> Option<&'static seccompiler::BpfProgram> {
    match seccomp::program() {
        Ok(filter) => {
            marks.yes("seccomp", format!("{} system calls denied", seccomp::size()));
            Some(filter)
        }
        Err(reason) => {
            marks.no("seccomp", reason);
            None
        }
    }
}

/// Resource limits of this process and all it forks, clamped to what its hard limits allow.
fn limits(marks: &mut Marks) -> Result<(), Failure> {
    let infinite = libc::RLIM_INFINITY;
    let wanted = [
        ("open files", libc::RLIMIT_NOFILE, 1_048_576, 1_048_576),
        ("locked memory", libc::RLIMIT_MEMLOCK, infinite, infinite),
        ("stack", libc::RLIMIT_STACK, 8 << 20, infinite),
        ("core files", libc::RLIMIT_CORE, 0, 0),
    ];
    for (what, resource, soft, hard) in wanted {
        let (now, _) = sys::limit(resource, soft, hard).map_err(failed(format!("setting the limit of {what}")))?;
        let text = if now == infinite { "unlimited".to_string() } else { now.to_string() };
        let clamped = if now < soft { ", the most this process may give" } else { "" };
        marks.yes(what, format!("{text}{clamped}"));
    }
    Ok(())
}

/// The lowest level: processes with the person's identity, limits and filter, below an init of ours. The caller
/// is the forked child that becomes this init; `ready` tells the supervisor before it does.
pub(crate) fn process(mut order: Order, why: &str, ready: impl FnOnce(Result<Built, Failure>)) -> ! {
    let prepared = prepare_process(&mut order, why);
    match prepared {
        Err(failure) => {
            ready(Err(failure));
            sys::exit_now(1)
        }
        Ok((ranks, common, marks)) => {
            ready(Ok(Built { marks: marks.into_vec() }));
            init::run(&Plan { ranks: RefCell::new(ranks), common, socket: order.socket, first: false })
        }
    }
}

fn prepare_process(order: &mut Order, why: &str) -> Result<(Vec<Rank>, Common, Marks), Failure> {
    let workload = order.workload;
    let identity = &workload.identity;
    if workload.network == Network::None {
        return Err(Failure::order(format!("a run without network needs namespaces, which cannot be had here: {why}"))
            .hint("remove 'network: none' from the job's isolation, or run the node as root"));
    }
    if !workload.mounts.is_empty() {
        return Err(Failure::order(format!("mounts need namespaces, which cannot be had here: {why}"))
            .hint("use the paths of the machine in the job"));
    }
    let mut marks = Marks::default();
    // Before a control group takes the devices of the machine away.
    let awake = latency::prepare(order.workload.latency, &mut marks);
    order.join_groups(&mut marks)?;
    let memory_nodes = order.memory_nodes(&mut marks);
    let ranks = order.ranks()?;
    let filter = filter(&mut marks);
    limits(&mut marks)?;
    go_first_when_memory_is_short()?;
    let privileged = order.privileged;
    marks.no("namespaces", why);
    marks.no("network", "the machine's");
    if privileged {
        marks.yes("identity", format!("uid {}, gid {}, {} groups", identity.uid, identity.gid, identity.groups.len()));
        marks.yes("capabilities", privileges::capabilities_text(identity.uid));
    } else if identity.uid == order.caller.0 {
        marks.yes("identity", format!("uid {}, the node's own", identity.uid));
        marks.yes("capabilities", "none");
    } else {
        return Err(Failure::order(format!("only root can start processes as {}", identity.user))
            .hint("run the node as root, or submit as its user"));
    }
    marks.yes("no new privileges", "set");
    for what in ["device nodes", "private /tmp", "/dev/shm", "hidden"] {
        marks.no(what, "needs namespaces");
    }
    let privileges = match privileged {
        true => Privileges::of(identity.uid, identity.gid, &identity.groups),
        false => Privileges::unchanged(),
    };
    let common = Common { filter, privileges: Some(privileges), memory_nodes, awake };
    Ok((ranks, common, marks))
}
