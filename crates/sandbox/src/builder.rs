//! The forked helper that makes a run: everything that needs memory or changes its own namespaces happens here,
//! and it exits as soon as the run's init is on its way.

use crate::cgroup::{Applied, Cgroup};
use crate::error::{Failure, failed};
use crate::init::{self, Plan};
use crate::oci;
use crate::rank::{Common, Rank};
use crate::report::Marks;
use crate::rootfs::Tree;
use crate::{Workload, seccomp, sys};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::notify_socket::{NOTIFY_FILE, NotifySocket};
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use spec::{IsolationMark, Network};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

/// What the helper made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Built {
    pub init: i32,
    pub marks: Vec<IsolationMark>,
}

/// What the supervisor hands the helper, besides the workload.
pub(crate) struct Order<'a> {
    pub workload: &'a Workload,
    pub cgroup: Option<&'a Cgroup>,
    /// The helper was forked into the v2 group.
    pub in_v2: bool,
    /// Limits that the supervisor set on the groups, or why there are none.
    pub applied: &'a Result<Vec<Applied>, String>,
    /// Init's end of the socket.
    pub socket: OwnedFd,
    /// Write ends, one for each rank.
    pub outputs: Vec<OwnedFd>,
}

impl Order<'_> {
    fn privileged(&self) -> bool {
        sys::effective_uid() == 0
    }

    fn ranks(&mut self) -> Result<Vec<Rank>, Failure> {
        let outputs = std::mem::take(&mut self.outputs);
        let processes = self.workload.processes.iter().zip(&self.workload.grant.ranks);
        processes.zip(outputs).map(|((process, grant), output)| Rank::new(process, &grant.cpus, output)).collect()
    }

    fn join_groups(&self, marks: &mut Marks) {
        let joined = self.cgroup.map(|cgroup| cgroup.join(self.in_v2));
        match (self.applied, &joined) {
            (Ok(applied), Some(Ok(()))) => applied.iter().for_each(|(what, result)| marks.result(what, result.clone())),
            (Err(reason), _) | (_, Some(Err(reason))) => without_groups(marks, reason),
            (Ok(_), None) => without_groups(marks, "no control group"),
        }
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

/// Builds namespaces and starts init in them. The caller is a forked child that exits after it.
pub(crate) fn container(mut order: Order) -> Result<Built, Failure> {
    let mut marks = Marks::default();
    let privileged = order.privileged();
    let workload = order.workload;
    order.join_groups(&mut marks);
    let memory_nodes = order.memory_nodes(&mut marks);
    let ranks = order.ranks()?;
    let filters = filters(&mut marks);
    limits(&mut marks)?;
    let own_network = workload.network == Network::None;
    namespaces(workload, privileged, &mut marks)?;
    let devices = oci::devices(workload)?;
    let mut tree = Tree::begin(workload, privileged)?;
    tree.fill()?;
    let views = tree.sys(own_network, &order.cgroup.map(Cgroup::views).unwrap_or_default())?;
    tree.enter()?;
    fs::write("/bundle/config.json", oci::spec(workload, privileged, devices, &views).to_string())
        .map_err(failed("writing the container's specification"))?;
    describe_container(workload, privileged, &mut marks);
    let common = Common { filters, identity: None, drop_to: None, no_new_privs: false, memory_nodes };
    let plan = Plan { ranks: RefCell::new(ranks), common, socket: order.socket, first: true };
    let init = launch(workload, plan).map_err(|failure| Failure { unavailable: failure.unavailable || !privileged, ..failure })?;
    Ok(Built { init, marks: marks.into_vec() })
}

/// New mount and, where asked for, network and user namespaces for this process; libcontainer makes the others.
fn namespaces(workload: &Workload, privileged: bool, marks: &mut Marks) -> Result<(), Failure> {
    let (uid, gid) = (sys::effective_uid(), sys::effective_gid());
    let mut flags = UnshareFlags::NEWNS;
    if !privileged {
        flags |= UnshareFlags::NEWUSER;
    } else {
        // libcontainer leaves the groups of its caller in place when the new list is empty.
        sys::set_groups(&workload.identity.groups).map_err(failed("setting the submitter's groups"))?;
    }
    if workload.network == Network::None {
        flags |= UnshareFlags::NEWNET;
    }
    // SAFETY: none of the flags unshares the descriptor table.
    unsafe { rustix::thread::unshare_unsafe(flags) }
        .map_err(|error| Failure::unavailable(format!("namespaces cannot be made: {error}")))?;
    if !privileged {
        let map = |file: &str, text: String| {
            fs::write(format!("/proc/self/{file}"), text)
                .map_err(|e| Failure::unavailable(format!("a user namespace cannot be set up: {e}")))
        };
        map("setgroups", "deny".into())?;
        map("uid_map", format!("{uid} {uid} 1"))?;
        map("gid_map", format!("{gid} {gid} 1"))?;
        marks.yes("user namespace", format!("uid {uid} and gid {gid} only"));
    }
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
    marks.yes("capabilities", if privileged { oci::capabilities_text(identity.uid) } else { "none".into() });
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

fn filters(marks: &mut Marks) -> Vec<seccompiler::BpfProgram> {
    match seccomp::compile() {
        Ok(filters) => {
            marks.yes("seccomp", format!("{} system calls denied", seccomp::size()));
            filters
        }
        Err(reason) => {
            marks.no("seccomp", reason);
            Vec::new()
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

/// Creates the container and lets its init go. Returns init's pid.
fn launch(workload: &Workload, plan: Plan) -> Result<i32, Failure> {
    let id = workload.run.to_string();
    let container = ContainerBuilder::new(id.clone(), SyscallType::default())
        .with_executor(Init(Rc::new(plan)))
        .with_root_path("/state")
        .map_err(|error| explain("preparing the container", &error))?
        .as_init("/bundle")
        .with_systemd(false)
        // Init becomes the supervisor's child, not ours: we exit before it does.
        .as_sibling(true)
        .build()
        .map_err(|error| explain("making the container", &error))?;
    let init = container.pid().ok_or_else(|| Failure::order("the container has no process"))?.as_raw();
    NotifySocket::new(Path::new("/state").join(id).join(NOTIFY_FILE))
        .notify_container_start()
        .map_err(|error| explain("starting the container", &error))?;
    Ok(init)
}

/// libcontainer's errors name their cause only in the chain of sources.
fn explain(doing: &str, error: &dyn std::error::Error) -> Failure {
    let mut text = format!("{doing}: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    Failure::order(text)
}

/// Our init as libcontainer's workload: it needs no program inside the container.
#[derive(Clone)]
struct Init(Rc<Plan>);

impl Executor for Init {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        init::run(&self.0)
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
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
            ready(Ok(Built { init: std::process::id() as i32, marks: marks.into_vec() }));
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
    order.join_groups(&mut marks);
    let memory_nodes = order.memory_nodes(&mut marks);
    let ranks = order.ranks()?;
    let filters = filters(&mut marks);
    limits(&mut marks)?;
    let privileged = order.privileged();
    marks.no("namespaces", why);
    marks.no("network", "the machine's");
    if privileged {
        marks.yes("identity", format!("uid {}, gid {}, {} groups", identity.uid, identity.gid, identity.groups.len()));
        marks.yes("capabilities", oci::capabilities_text(identity.uid));
    } else if identity.uid == sys::effective_uid() {
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
    let common = Common {
        filters,
        identity: privileged.then(|| (identity.uid, identity.gid, identity.groups.clone())),
        drop_to: privileged.then(|| oci::capability_numbers(identity.uid)),
        no_new_privs: true,
        memory_nodes,
    };
    Ok((ranks, common, marks))
}
