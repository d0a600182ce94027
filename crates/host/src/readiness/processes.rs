//! Who runs here, and the limits of services whose children are people's work.

use crate::Root;
use machine::ProcessLimits;
use std::collections::BTreeSet;

/// Programs that start work of people, by the name the kernel shows (at most 15 bytes). What they start inherits their limits.
const STARTERS: [&str; 12] = [
    "ashlar",
    "containerd",
    "crio",
    "dockerd",
    "kubelet",
    "slurmd",
    "slurmstepd",
    "pbs_mom",
    "raylet",
    "nomad",
    "condor_startd",
    "jupyterhub",
];
/// Processes that are looked at. A machine with more is busy enough to be told from these.
const MOST: usize = 16_384;

#[derive(Default)]
pub struct Running {
    /// `None` in a tree without processes.
    pub names: Option<BTreeSet<String>>,
    pub limits: Vec<ProcessLimits>,
}

pub fn look(root: &Root) -> Running {
    let pids = root.numbered("proc", "");
    let mut names = BTreeSet::new();
    let mut limits = vec![];
    for pid in pids.into_iter().take(MOST) {
        let Some(name) = root.text(&format!("proc/{pid}/comm")).filter(|name| !name.is_empty()) else { continue };
        if STARTERS.contains(&name.as_str())
            && serves(root, pid, &name)
            && let Some(text) = root.text(&format!("proc/{pid}/limits"))
        {
            limits.push(parse(pid, &name, &text));
        }
        names.insert(name);
    }
    Running { names: (!names.is_empty()).then_some(names), limits }
}

/// Of our own program only the node and its supervisors start work; the others are commands that people typed.
fn serves(root: &Root, pid: u32, name: &str) -> bool {
    let words = || root.text(&format!("proc/{pid}/cmdline")).unwrap_or_default();
    name != "ashlar" || words().split('\0').skip(1).any(|word| word == "up" || word.starts_with("__"))
}

/// `/proc/PID/limits`: a name of several words, the soft limit, the hard limit, a unit.
fn parse(pid: u32, name: &str, text: &str) -> ProcessLimits {
    let limit = |label: &str, column: usize| {
        let line = text.lines().find_map(|line| line.strip_prefix(label))?;
        line.split_whitespace().nth(column)?.parse::<u64>().ok()
    };
    ProcessLimits {
        pid,
        name: name.to_owned(),
        locked_bytes: limit("Max locked memory", 0),
        files: limit("Max open files", 0),
        files_most: limit("Max open files", 1),
        processes: limit("Max processes", 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_unlimited_is_none() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \nMax processes             63432                63432                processes \nMax open files            1024                 524288               files     \nMax locked memory         8388608              unlimited            bytes     \nMax stack size            unlimited            unlimited            bytes     \n";
        let found = parse(7, "slurmd", text);
        assert_eq!(
            (found.locked_bytes, found.files, found.files_most, found.processes),
            (Some(8_388_608), Some(1024), Some(524_288), Some(63_432))
        );
        let unlimited = parse(7, "slurmd", "Max locked memory         unlimited            unlimited            bytes     \n");
        assert_eq!((unlimited.locked_bytes, unlimited.files), (None, None));
    }

    #[test]
    fn this_machine_has_processes_and_an_empty_tree_has_none() {
        assert!(look(&Root::live()).names.is_some_and(|names| !names.is_empty()));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(look(&Root::at(empty.path())).names, None);
    }
}
