//! What the files of a machine say, by path: the evidence that rules about a machine's readiness judge.
//!
//! Rules name the files they want as [`Source`]s; whoever can read the machine fills [`Readings`] with what was there.
//! Nothing here opens a file.

use crate::{CpuSet, Machine, PciAddress, PciTree, Software};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// A file that is wanted. Paths are below the root, without a leading `/`; `*` stands for any text within one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Its text.
    Text(&'static str),
    /// The last name of what a symbolic link leads to.
    Link(&'static str),
    /// Whether it is there.
    There(&'static str),
    /// An option the kernel was built with, such as `CONFIG_HZ`.
    Build(&'static str),
}

impl Source {
    pub fn path(self) -> &'static str {
        match self {
            Source::Text(path) | Source::Link(path) | Source::There(path) | Source::Build(path) => path,
        }
    }
}

/// Texts by path. A path that is not in it is unknown, or known to be missing: see [`Readings::there`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    entries: BTreeMap<String, String>,
    unread: BTreeSet<String>,
    /// Whether a file that is not in it was not on the machine either. A tree that somebody copied pieces of cannot say so.
    pub whole: bool,
}

impl Readings {
    pub fn insert(&mut self, path: &str, text: impl Into<String>) {
        self.entries.insert(path.to_owned(), text.into());
    }

    /// As if it had not been looked at.
    pub fn forget(&mut self, path: &str) {
        self.entries.remove(path);
    }

    /// The file is there and could not be read.
    pub fn refuse(&mut self, path: &str) {
        self.unread.insert(path.to_owned());
    }

    /// Text of a file, name a link leads to, or value of an option of the kernel's build.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.entries.get(path).map(String::as_str)
    }

    /// The text as a number or any other value that can be read from a string.
    pub fn value<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.trim().parse().ok()
    }

    /// `Some(false)` only where a missing entry means a missing file.
    pub fn there(&self, path: &str) -> Option<bool> {
        if self.entries.contains_key(path) || self.unread.contains(path) {
            return Some(true);
        }
        self.whole.then_some(false)
    }

    /// As [`Readings::there`], for any file that fits a pattern.
    pub fn any(&self, pattern: &str) -> Option<bool> {
        if self.matching(pattern).next().is_some() || self.unread.iter().any(|path| fits(pattern, path)) {
            return Some(true);
        }
        self.whole.then_some(false)
    }

    /// Paths that fit a pattern, with their texts, in order of the paths.
    pub fn matching<'r, 'p>(&'r self, pattern: &'p str) -> impl Iterator<Item = (&'r str, &'r str)> + use<'r, 'p> {
        let head = pattern.split('*').next().unwrap_or_default();
        let from = self.entries.range::<str, _>((std::ops::Bound::Included(head), std::ops::Bound::Unbounded));
        from.take_while(move |(path, _)| path.starts_with(head))
            .filter(move |(path, _)| fits(pattern, path))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Files that are there and could not be read.
    pub fn unread(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().map(String::as_str)
    }
}

/// Whether a path fits a pattern; `*` never crosses a `/`.
pub fn fits(pattern: &str, path: &str) -> bool {
    captures(pattern, path).is_some()
}

/// What each `*` of a pattern stands for in a path; `None` when the path does not fit.
pub fn captures<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let Some((literal, rest)) = pattern.split_once('*') else { return (pattern == path).then(Vec::new) };
    let tail = path.strip_prefix(literal)?;
    let end = tail.find('/').unwrap_or(tail.len());
    // The longest text first, so that `policy*/x` and `cpu*` take whole numbers.
    (0..=end).rev().filter(|at| tail.is_char_boundary(*at)).find_map(|at| {
        let mut found = vec![&tail[..at]];
        found.extend(captures(rest, &tail[at..])?);
        Some(found)
    })
}

/// One interrupt of a device, and where it is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    pub number: u32,
    /// What the driver calls it: `nvme0q3`, `mlx5_comp7@pci:0000:3b:00.0`.
    pub name: String,
    pub device: PciAddress,
    /// The CPUs that it is delivered to now.
    pub cpus: CpuSet,
    /// How often it came since the machine was started.
    pub count: u64,
}

/// Limits of one running process (getrlimit(2)); `None` is "unlimited".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessLimits {
    pub pid: u32,
    /// The kernel's name of it, at most 15 bytes.
    pub name: String,
    /// Soft limit on memory that is locked, in bytes.
    pub locked_bytes: Option<u64>,
    /// Soft limit on open files.
    pub files: Option<u64>,
    /// Hard limit on open files, up to which the process may raise its own.
    pub files_most: Option<u64>,
    /// Soft limit on processes of its user.
    pub processes: Option<u64>,
}

/// What rules about readiness are told of a machine: plain values, read at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    pub machine: Machine,
    pub pci: PciTree,
    pub software: Software,
    pub readings: Readings,
    /// Those of network cards, disks and accelerators.
    pub interrupts: Vec<Interrupt>,
    /// Names of all running processes; `None` where they were not looked at, as in most captures.
    pub processes: Option<BTreeSet<String>>,
    /// Limits of running services, of ours and of others that start jobs.
    pub limits: Vec<ProcessLimits>,
    /// What keeps this process in a container: "Docker", "Podman".
    pub container: Option<String>,
}

impl NodeFacts {
    /// Whether a process of this name runs; `None` when nobody looked.
    pub fn runs(&self, name: &str) -> Option<bool> {
        // The kernel cuts names at 15 bytes.
        let cut = name.get(..15).unwrap_or(name);
        self.processes.as_ref().map(|all| all.contains(cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_one_name() {
        for (pattern, path, found) in [
            ("a/b", "a/b", Some(vec![])),
            ("a/*", "a/b", Some(vec!["b"])),
            ("a/*", "a/b/c", None),
            ("cpu/policy*/governor", "cpu/policy12/governor", Some(vec!["12"])),
            ("cpu/cpu*/state*/latency", "cpu/cpu3/state2/latency", Some(vec!["3", "2"])),
            ("cpu/cpu*/state*/latency", "cpu/cpufreq/latency", None),
            ("*/a", "/a", Some(vec![""])),
            ("n*n*", "nvme0n1", Some(vec!["vme0", "1"])),
            ("ä*", "äöü", Some(vec!["öü"])),
        ] {
            assert_eq!(captures(pattern, path), found, "{pattern} {path}");
        }
    }

    #[test]
    fn what_was_not_read_is_unknown_unless_everything_was() {
        let mut readings = Readings::default();
        readings.insert("proc/sys/vm/swappiness", "60\n");
        readings.insert("sys/block/nvme0n1/queue/scheduler", "[none]");
        readings.insert("sys/block/sda/queue/scheduler", "[bfq]");
        readings.refuse("proc/sys/vm/secret");
        assert_eq!(readings.value::<u32>("proc/sys/vm/swappiness"), Some(60));
        assert_eq!(readings.value::<u32>("sys/block/sda/queue/scheduler"), None);
        assert_eq!(readings.matching("sys/block/nvme*/queue/scheduler").count(), 1);
        assert_eq!(readings.matching("sys/block/*/queue/scheduler").map(|(_, text)| text).collect::<Vec<_>>(), ["[none]", "[bfq]"]);
        assert_eq!((readings.there("proc/swaps"), readings.any("proc/s*")), (None, None));
        readings.whole = true;
        assert_eq!((readings.there("proc/swaps"), readings.there("proc/sys/vm/secret")), (Some(false), Some(true)));
        assert_eq!((readings.any("proc/s*"), readings.any("proc/sys/vm/sec*")), (Some(false), Some(true)));
    }

    #[test]
    fn names_of_processes_are_compared_as_the_kernel_cuts_them() {
        let mut facts = NodeFacts::default();
        assert_eq!(facts.runs("nvidia-persistenced"), None);
        facts.processes = Some(["nvidia-persiste".to_owned()].into());
        assert_eq!((facts.runs("nvidia-persistenced"), facts.runs("chronyd")), (Some(true), Some(false)));
    }
}
