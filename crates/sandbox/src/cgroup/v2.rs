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

#[cfg(test)]
mod tests {
    use super::*;

    /// Control files that take whatever is written, as a stand-in for a kernel with all controllers.
    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (file, content) in files {
            fs::write(directory.path().join(file), content).unwrap();
        }
        directory
    }

    const LIMITS: [&str; 7] = ["memory.max", "memory.swap.max", "pids.max", "cpu.weight", "cpu.max", "cpuset.cpus", "cpuset.mems"];

    fn limits() -> Limits {
        Limits {
            memory: 64 << 20,
            pids: 100,
            cpu_milli: 250,
            cap_cpu: true,
            cpus: "2-3".parse().unwrap(),
            mems: "1".parse().unwrap(),
            devices: vec![],
        }
    }

    #[test]
    fn every_limit_has_its_file() {
        let directory = group(&LIMITS.map(|file| (file, "")));
        let applied = apply(directory.path(), &limits());
        let failed: Vec<_> = applied.iter().filter(|(_, result)| result.is_err()).map(|(what, _)| *what).collect();
        // A plain directory is no group to attach a filter to.
        assert_eq!(failed, ["devices"]);
        let written: Vec<String> = LIMITS.iter().map(|file| fs::read_to_string(directory.path().join(file)).unwrap()).collect();
        assert_eq!(written, ["67108864", "0", "100", "25", "25000 100000", "2-3", "1"]);
    }

    #[test]
    fn a_missing_controller_is_told_and_stops_nothing_else() {
        let directory = group(&[("memory.max", ""), ("pids.max", "")]);
        let applied = apply(directory.path(), &Limits { cap_cpu: false, ..limits() });
        for (what, result) in applied {
            assert_eq!(result.is_ok(), ["memory", "pids"].contains(&what), "{what}: {result:?}");
        }
    }

    #[test]
    fn counters_are_read_where_they_are() {
        let files = [
            ("memory.peak", "1000\n"),
            ("memory.max", "max\n"),
            ("cpu.stat", "usage_usec 42\nuser_usec 40\n"),
            ("memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n"),
        ];
        let directory = group(&files);
        let read = counters(directory.path());
        assert_eq!((read.memory_peak, read.memory_limit, read.cpu_micros, read.oom_kills), (Some(1000), None, Some(42), 1));
        let nothing = counters(group(&[]).path());
        assert_eq!((nothing.memory_peak, nothing.cpu_micros, nothing.oom_kills), (None, None, 0));
    }
}
