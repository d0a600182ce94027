//! The OCI runtime specification of a run, for libcontainer.
//!
//! The mounts of the machine's directories are already in place ([`crate::rootfs`]); what is declared here is
//! what needs the run's own namespaces. Limits are not declared: [`crate::cgroup`] has set them by then.

use crate::Workload;
use crate::error::{Failure, failed};
use crate::rootfs;
use serde_json::{Value, json};

/// What root keeps in a container, as (name, number in `linux/capability.h`): enough to own files, bind low
/// ports and change identity, nothing that reaches the machine.
const ROOT_CAPABILITIES: [(&str, u32); 9] = [
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_FSETID", 4),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_NET_BIND_SERVICE", 10),
    ("CAP_IPC_LOCK", 14),
];

/// Writable by uid 0 even without capabilities, or telling of the kernel's memory: for runs of root only. The
/// permissions of the files do the same for everybody else.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const MASKED: [&str; 8] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/scsi",
    "/proc/interrupts",
    "/sys/firmware",
];

pub(crate) fn capability_numbers(uid: u32) -> Vec<u32> {
    if uid == 0 { ROOT_CAPABILITIES.iter().map(|(_, number)| *number).collect() } else { Vec::new() }
}

pub(crate) fn capabilities_text(uid: u32) -> String {
    if uid != 0 {
        return "none".into();
    }
    let names: Vec<&str> = ROOT_CAPABILITIES.iter().map(|(name, _)| name.trim_start_matches("CAP_")).collect();
    format!("only {}", names.join(" ").to_lowercase())
}

/// The specification as libcontainer reads it. `privileged`: made by real root, not in a user namespace.
/// `devices` are from [`devices`], `views` are binds of the run's control groups.
pub(crate) fn spec(workload: &Workload, privileged: bool, devices: Vec<Value>, views: &[(String, String)]) -> Value {
    let uid = workload.identity.uid;
    let names: Vec<&str> = if uid == 0 && privileged { ROOT_CAPABILITIES.iter().map(|(name, _)| *name).collect() } else { vec![] };
    let namespaces = ["mount", "pid", "ipc", "uts", "cgroup"].map(|kind| json!({ "type": kind }));
    let root = uid == 0;
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "/rootfs", "readonly": true },
        "process": {
            "terminal": false,
            "user": { "uid": uid, "gid": workload.identity.gid },
            "args": ["ashlar-init"],
            // Set so that libcontainer need not look the person up.
            "env": ["HOME=/"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": [],
            },
            // Ranks go before the node, and before people's shells, when the whole machine runs out of memory.
            "oomScoreAdj": 500,
        },
        "mounts": mounts(workload, privileged, views),
        "linux": {
            "namespaces": namespaces,
            "devices": devices,
            "maskedPaths": if root { &MASKED[..] } else { &[] },
            "readonlyPaths": if root { &READ_ONLY[..] } else { &[] },
        },
    })
}

fn mounts(workload: &Workload, privileged: bool, views: &[(String, String)]) -> Vec<Value> {
    let pts: &[&str] = if privileged { &["gid=5"] } else { &[] };
    let pts: Vec<&str> = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"].iter().chain(pts).copied().collect();
    let own = json!([
        { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", format!("size={}", workload.grant.shm.0.max(4096))] },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
    ]);
    let views = views.iter().map(|(source, target)| {
        json!({ "destination": target, "type": "bind", "source": source, "options": ["bind", "ro", "nosuid", "noexec", "nodev"] })
    });
    own.as_array().into_iter().flatten().cloned().chain(views).collect()
}

/// The granted nodes. They belong to the person, because the grant is what lets them be used; the groups that
/// own the nodes on the machine do not matter. In a user namespace the machine's node is bound instead, with
/// its owner.
pub(crate) fn devices(workload: &Workload) -> Result<Vec<Value>, Failure> {
    let mut devices = Vec::new();
    for node in &workload.devices {
        let (block, mode) = rootfs::node_kind(&node.path).map_err(failed(format!("the granted device node {}", node.path)))?;
        devices.push(json!({
            "path": node.path, "type": if block { "b" } else { "c" }, "major": node.major, "minor": node.minor,
            "fileMode": mode | 0o600, "uid": workload.identity.uid, "gid": workload.identity.gid,
        }));
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::workload;
    use libcontainer::oci_spec::runtime::Spec;

    #[test]
    fn libcontainer_reads_the_specification() {
        let mut order = workload();
        order.devices.push(machine::DeviceNode { path: "/dev/null".into(), major: 1, minor: 3, shared: false });
        let spec: Spec =
            serde_json::from_value(spec(&order, true, devices(&order).unwrap(), &[("/views/0".into(), "/sys/fs/cgroup".into())])).unwrap();
        let process = spec.process().as_ref().unwrap();
        assert_eq!(process.user().uid(), 1000);
        assert_eq!(process.no_new_privileges(), Some(true));
        assert!(process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap().is_empty());
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.devices().as_ref().unwrap()[0].uid(), Some(1000));
        assert!(spec.mounts().as_ref().unwrap().iter().any(|m| m.options().as_ref().unwrap().contains(&"size=33554432".to_string())));
    }

    #[test]
    fn root_keeps_little() {
        let mut order = workload();
        order.identity.uid = 0;
        let spec: Spec =
            serde_json::from_value(spec(&order, true, devices(&order).unwrap(), &[("/views/0".into(), "/sys/fs/cgroup".into())])).unwrap();
        let kept = spec.process().as_ref().unwrap().capabilities().as_ref().unwrap().effective().clone().unwrap();
        assert_eq!(kept.len(), ROOT_CAPABILITIES.len());
        assert!(spec.linux().as_ref().unwrap().masked_paths().as_ref().unwrap().contains(&"/proc/kcore".to_string()));
        assert_eq!(capability_numbers(1000), Vec::<u32>::new());
        assert_eq!(capabilities_text(1000), "none");
    }

    #[test]
    fn a_device_that_is_gone_is_an_error() {
        let mut order = workload();
        order.devices.push(machine::DeviceNode { path: "/dev/surely-not".into(), major: 1, minor: 3, shared: false });
        assert!(devices(&order).unwrap_err().message.contains("/dev/surely-not"));
    }
}
