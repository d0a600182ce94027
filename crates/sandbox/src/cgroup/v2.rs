//! Limits by the unified hierarchy.

use super::{Applied, Counters, Limits, PARENT, device_filter, make, make_new, read_keyed, read_number, write};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuset"];

/// The group below which runs are made: `/ashlar` for root; for anybody else the nearest group above our own
/// that was handed to this user and has no processes of its own, as a systemd user manager's has.
pub fn parent(root: &Path) -> Result<PathBuf, String> {
    if crate::sys::effective_uid() == 0 {
        return Ok(root.join(PARENT));
    }
    let text = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("this process is in no v2 group")?;
    let uid = crate::sys::effective_uid();
    let delegated = |directory: &Path| {
        fs::metadata(directory).is_ok_and(|meta| meta.uid() == uid)
            && fs::metadata(directory.join("cgroup.procs")).is_ok_and(|meta| meta.uid() == uid)
            && fs::read_to_string(directory.join("cgroup.procs")).is_ok_and(|text| text.trim().is_empty())
    };
    let mut directory = root.join(own);
    while directory.starts_with(root) {
        if delegated(&directory) {
            return Ok(directory.join(PARENT));
        }
        if !directory.pop() {
            break;
        }
    }
    Err("no control group is delegated to this user".into())
}

/// Makes the run's group and switches the controllers on along the way down.
pub fn create(parent: &Path, name: &str) -> Result<PathBuf, String> {
    make(parent)?;
    for directory in parent.parent().into_iter().chain([parent]) {
        let enabled = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
        for controller in CONTROLLERS.iter().filter(|controller| !enabled.split_whitespace().any(|name| name == **controller)) {
            // One by one: a missing controller must not take the others with it. What is missing shows when its limit is set.
            let _ = write(&directory.join("cgroup.subtree_control"), &format!("+{controller}"));
        }
    }
    let directory = parent.join(name);
    make_new(&directory)?;
    Ok(directory)
}

pub fn apply(directory: &Path, limits: &Limits) -> Vec<Applied> {
    let set = |file: &str, value: &str| write(&directory.join(file), value);
    let memory = || -> Result<String, String> {
        if limits.memory == 0 {
            return Err("the grant names no memory".into());
        }
        set("memory.max", &limits.memory.to_string())?;
        let swap = if set("memory.swap.max", "0").is_ok() { ", no swap" } else { "" };
        Ok(format!("{}, memory.max{swap}", machine::Bytes(limits.memory)))
    };
    let cpu = || -> Result<String, String> {
        let weight = (limits.cpu_milli / 10).clamp(1, 10_000);
        set("cpu.weight", &weight.to_string())?;
        if !limits.cap_cpu {
            return Ok(format!("weight {weight}, cpu.weight"));
        }
        let quota = (limits.cpu_milli * 100).max(1000);
        set("cpu.max", &format!("{quota} 100000"))?;
        Ok(format!("at most {:.2} CPUs, cpu.max", limits.cpu_milli as f64 / 1000.0))
    };
    let listed = |file: &str, value: String| -> Result<String, String> {
        if value.is_empty() {
            return Err("the grant names none".into());
        }
        set(file, &value)?;
        Ok(format!("{value}, {file}"))
    };
    vec![
        ("memory", memory()),
        ("pids", set("pids.max", &limits.pids.to_string()).map(|()| format!("{}, pids.max", limits.pids))),
        ("cpu", cpu()),
        ("cpus", listed("cpuset.cpus", limits.cpus.to_string())),
        ("memory nodes", listed("cpuset.mems", limits.mems.to_string())),
        ("devices", device_filter::attach(directory, &limits.devices).map(|()| "only the listed nodes, device filter".into())),
    ]
}

pub fn counters(directory: &Path) -> Counters {
    Counters {
        memory_peak: read_number(&directory.join("memory.peak")).or_else(|| read_number(&directory.join("memory.current"))),
        memory_limit: read_number(&directory.join("memory.max")),
        cpu_micros: read_keyed(&directory.join("cpu.stat"), "usage_usec"),
        oom_kills: read_keyed(&directory.join("memory.events"), "oom_kill").unwrap_or(0),
    }
}
