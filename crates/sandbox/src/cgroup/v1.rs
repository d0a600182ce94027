//! Limits by the v1 hierarchies, alone or with a v2 tree beside them (hybrid).

use super::{Applied, Cgroup, Counters, DeviceRule, Limits, Mounts, PARENT, make, make_new, read_keyed, read_number, write};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub fn create(mounts: &Mounts, name: &str) -> Result<Cgroup, String> {
    let mut group = Cgroup::default();
    if let Some(root) = &mounts.v2 {
        // For killing only; a tree that cannot be used is no loss, the freezer does it then.
        let parent = root.join(PARENT);
        let directory = parent.join(name);
        if make(&parent).is_ok() && directory_can_kill(&directory) {
            group.v2 = Some(directory);
        }
    }
    for (controller, root) in &mounts.v1 {
        if controller == "freezer" && group.v2.is_some() {
            continue;
        }
        let parent = root.join(PARENT);
        let directory = parent.join(name);
        let made = make(&parent).and_then(|()| if controller == "cpuset" { fill_cpuset(root, &parent) } else { Ok(()) }).and_then(|()| {
            let shared = group.v1.values().any(|other| *other == directory);
            if shared { Ok(()) } else { make_new(&directory) }
        });
        if let Err(reason) = made {
            let _ = group.remove();
            return Err(reason);
        }
        group.v1.insert(controller.clone(), directory);
    }
    Ok(group)
}

/// Makes the directory and looks whether this kernel has `cgroup.kill` (5.14).
fn directory_can_kill(directory: &Path) -> bool {
    make_new(directory).is_ok() && (directory.join("cgroup.kill").exists() || fs::remove_dir(directory).is_err())
}

/// A v1 cpuset starts empty, and nothing can live in it or below it until both lists are set.
fn fill_cpuset(parent: &Path, child: &Path) -> Result<(), String> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = fs::read_to_string(child.join(file)).unwrap_or_default();
        if own.trim().is_empty() {
            let inherited = fs::read_to_string(parent.join(file)).map_err(|error| format!("{}: {error}", parent.join(file).display()))?;
            write(&child.join(file), inherited.trim())?;
        }
    }
    Ok(())
}

pub fn apply(groups: &BTreeMap<String, PathBuf>, limits: &Limits) -> Vec<Applied> {
    let in_group = |controller: &str| groups.get(controller).map(PathBuf::as_path).ok_or(format!("no {controller} controller"));
    let mut applied: Vec<Applied> = Vec::new();
    applied.push(("memory", in_group("memory").and_then(|directory| memory(directory, limits.memory))));
    applied.push((
        "pids",
        in_group("pids").and_then(|directory| {
            write(&directory.join("pids.max"), &limits.pids.to_string())?;
            Ok(format!("{}, pids.max", limits.pids))
        }),
    ));
    applied.push(("cpu", in_group("cpu").and_then(|directory| cpu(directory, limits))));
    let (cpus, mems) = cpuset(groups.get("cpuset"), limits);
    applied.push(("cpus", cpus));
    applied.push(("memory nodes", mems));
    applied.push(("devices", in_group("devices").and_then(|directory| devices(directory, &limits.devices))));
    applied
}

fn memory(directory: &Path, bytes: u64) -> Result<String, String> {
    if bytes == 0 {
        return Err("the grant names no memory".into());
    }
    write(&directory.join("memory.limit_in_bytes"), &bytes.to_string())?;
    // Memory and swap together, so that swap is no way around the limit; the file is missing without swap accounting.
    let swap = write(&directory.join("memory.memsw.limit_in_bytes"), &bytes.to_string());
    if swap.is_err() {
        let _ = write(&directory.join("memory.swappiness"), "0");
    }
    let swap = if swap.is_ok() { ", swap counted in" } else { "" };
    Ok(format!("{}, memory.limit_in_bytes{swap}", machine::Bytes(bytes)))
}

fn cpu(directory: &Path, limits: &Limits) -> Result<String, String> {
    let shares = (limits.cpu_milli * 1024 / 1000).clamp(2, 262_144);
    write(&directory.join("cpu.shares"), &shares.to_string())?;
    if !limits.cap_cpu {
        return Ok(format!("weight {shares}, cpu.shares"));
    }
    let quota = (limits.cpu_milli * 100).max(1000);
    write(&directory.join("cpu.cfs_period_us"), "100000")?;
    write(&directory.join("cpu.cfs_quota_us"), &quota.to_string())?;
    Ok(format!("at most {:.2} CPUs, cpu.cfs_quota_us {quota} in 100000", limits.cpu_milli as f64 / 1000.0))
}

fn cpuset(directory: Option<&PathBuf>, limits: &Limits) -> (Result<String, String>, Result<String, String>) {
    let Some(directory) = directory else {
        let none = || Err("no cpuset controller".to_string());
        return (none(), none());
    };
    let inherit = directory.parent().map_or(Ok(()), |parent| fill_cpuset(parent, directory));
    let set = |file: &str, value: String| -> Result<String, String> {
        inherit.clone()?;
        if value.is_empty() {
            return Err("the grant names none".into());
        }
        write(&directory.join(file), &value)?;
        Ok(format!("{value}, {file}"))
    };
    (set("cpuset.cpus", limits.cpus.to_string()), set("cpuset.mems", limits.mems.to_string()))
}

fn devices(directory: &Path, rules: &[DeviceRule]) -> Result<String, String> {
    write(&directory.join("devices.deny"), "a")?;
    for rule in rules {
        write(&directory.join("devices.allow"), &rule.v1_text())?;
    }
    Ok("only the listed nodes, devices.allow".into())
}

pub fn counters(groups: &BTreeMap<String, PathBuf>) -> Counters {
    let memory = groups.get("memory");
    let number = |file: &str| memory.and_then(|directory| read_number(&directory.join(file)));
    Counters {
        memory_peak: number("memory.max_usage_in_bytes"),
        memory_limit: number("memory.limit_in_bytes"),
        cpu_micros: groups.get("cpuacct").and_then(|directory| read_number(&directory.join("cpuacct.usage"))).map(|nanos| nanos / 1000),
        oom_kills: memory.and_then(|directory| read_keyed(&directory.join("memory.oom_control"), "oom_kill")).unwrap_or(0),
    }
}
