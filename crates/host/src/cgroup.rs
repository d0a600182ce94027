//! The control groups this process lives in, and what they leave it.

use crate::{Root, text};
use machine::{Bytes, CgroupMode, CpuSet};

/// Mounted hierarchies and our place in them, as the tree under a [`Root`] shows them.
#[derive(Debug, Default)]
pub struct Cgroups {
    mounts: Vec<text::Mount>,
    paths: Vec<(Vec<String>, String)>,
    /// `/proc/self/cpuset`: the only source on kernels before 2.6.24.
    cpuset: Option<String>,
}

/// What the control groups allow; `None` is no limit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    pub cpus: Option<CpuSet>,
    pub mems: Option<CpuSet>,
    pub memory: Option<Bytes>,
}

impl Cgroups {
    pub fn read(root: &Root) -> Cgroups {
        let mut mounts = root.text("proc/self/mountinfo").map(|text| text::mountinfo(&text)).unwrap_or_default();
        if mounts.is_empty() {
            let text = root.text("proc/mounts").filter(|text| !text.is_empty()).or_else(|| root.text("proc/self/mounts"));
            mounts = text.map(|text| text::mounts(&text)).unwrap_or_default();
        }
        mounts.retain(|mount| matches!(mount.kind.as_str(), "cgroup" | "cgroup2" | "cpuset"));
        let paths = root.text("proc/self/cgroup").map(|text| text::cgroup_paths(&text)).unwrap_or_default();
        Cgroups { mounts, paths, cpuset: root.text("proc/self/cpuset") }
    }

    pub fn mode(&self) -> CgroupMode {
        let named = |mount: &&text::Mount| !mount.options.iter().any(|option| option.starts_with("name="));
        let v2 = self.mounts.iter().any(|mount| mount.kind == "cgroup2");
        let v1 = self.mounts.iter().filter(|mount| mount.kind == "cgroup").any(|mount| named(&mount));
        match (v1, v2) {
            (true, true) => CgroupMode::Hybrid,
            (true, false) => CgroupMode::V1,
            (false, true) => CgroupMode::V2,
            (false, false) => CgroupMode::None,
        }
    }

    /// Controllers that a limit can be set with: mounted v1 hierarchies and what the v2 root offers.
    pub fn controllers(&self, root: &Root) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if let Some(mount) = self.mounts.iter().find(|mount| mount.kind == "cgroup2") {
            let offered = root.text(&format!("{}/cgroup.controllers", mount.point)).unwrap_or_default();
            names.extend(offered.split_whitespace().map(str::to_owned));
        }
        let known = root.text("proc/cgroups").unwrap_or_default();
        let known: Vec<&str> =
            known.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_whitespace().next()).collect();
        for mount in self.mounts.iter().filter(|mount| mount.kind == "cgroup") {
            names.extend(mount.options.iter().filter(|option| known.contains(&option.as_str())).cloned());
        }
        names.sort();
        names.dedup();
        names
    }

    pub fn allowed(&self, root: &Root) -> Allowed {
        let list = |folders: &[String], names: &[&str]| {
            let read = |folder: &String| names.iter().find_map(|name| root.list(&format!("{folder}/{name}")).filter(|set| !set.is_empty()));
            folders.iter().find_map(read)
        };
        let cpuset = self.folders("cpuset");
        Allowed {
            cpus: list(&cpuset, &["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus", "cpus"]),
            mems: list(&cpuset, &["cpuset.mems.effective", "cpuset.effective_mems", "cpuset.mems", "mems"]),
            memory: self.memory_limit(root),
        }
    }

    /// CPUs and memory nodes as our own group was given them. Where v1 keeps what it was given apart from what of that is in
    /// force, this is the former, which is what hwloc shows.
    pub fn given(&self, root: &Root) -> (Option<CpuSet>, Option<CpuSet>) {
        let own = self.folders("cpuset").into_iter().next();
        let list = |names: [&str; 3]| {
            let folder = own.as_deref()?;
            names.iter().find_map(|name| root.list(&format!("{folder}/{name}"))).filter(|set| !set.is_empty())
        };
        (list(["cpuset.cpus.effective", "cpuset.cpus", "cpus"]), list(["cpuset.mems.effective", "cpuset.mems", "mems"]))
    }

    /// Our control group's path in the hierarchy that limits CPUs and memory nodes.
    pub fn cpuset_name(&self) -> Option<String> {
        let v1 = self.paths.iter().find(|(names, _)| names.iter().any(|name| name == "cpuset"));
        let v2 = self.paths.iter().find(|(names, _)| names.is_empty());
        let mounted = self.mounts.iter().any(|mount| mount.kind == "cgroup2");
        v1.or(v2.filter(|_| mounted)).map(|(_, path)| path.clone()).or_else(|| self.cpuset.clone())
    }

    /// The least limit on the way from our group to the top: a parent's limit binds its children.
    fn memory_limit(&self, root: &Root) -> Option<Bytes> {
        let read = |folder: &String| {
            let limit =
                root.value::<u64>(&format!("{folder}/memory.max")).or_else(|| root.value(&format!("{folder}/memory.limit_in_bytes")))?;
            // v1 writes "no limit" as the largest multiple of the page size.
            (limit < 1 << 62).then_some(Bytes(limit))
        };
        self.folders("memory").iter().filter_map(read).min()
    }

    /// Folders of our group and of those above it for one controller, innermost first, v1 before v2.
    fn folders(&self, controller: &str) -> Vec<String> {
        let mut folders = Vec::new();
        for mount in &self.mounts {
            let v2 = mount.kind == "cgroup2";
            let here = mount.options.iter().any(|option| option == controller) || (mount.kind == "cpuset" && controller == "cpuset");
            if !v2 && !here {
                continue;
            }
            let path = self.paths.iter().find(|(names, _)| if v2 { names.is_empty() } else { names.iter().any(|name| name == controller) });
            let path = path.map(|(_, path)| path.as_str()).or(self.cpuset.as_deref().filter(|_| controller == "cpuset")).unwrap_or("/");
            // In a container the mount shows only the part of the hierarchy below `root`.
            let below = path.strip_prefix(mount.root.trim_end_matches('/')).filter(|rest| rest.is_empty() || rest.starts_with('/'));
            let mut below = below.unwrap_or("").trim_end_matches('/');
            let mut found = Vec::new();
            loop {
                found.push(format!("{}{below}", mount.point));
                match below.rsplit_once('/') {
                    Some((parent, _)) => below = parent,
                    None => break,
                }
            }
            if v2 { folders.extend(found) } else { folders.splice(0..0, found).for_each(drop) }
        }
        folders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let at = dir.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, text).unwrap();
        }
        let root = Root::at(dir.path());
        (dir, root)
    }

    #[test]
    fn v2_limits_of_every_level_count() {
        let (_dir, root) = tree(&[
            ("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n"),
            ("sys/fs/cgroup/a/memory.max", "1048576\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/cpuset.cpus.effective", "0-3\n"),
            ("sys/fs/cgroup/a/b/cpuset.cpus.effective", "\n"),
        ]);
        let groups = Cgroups::read(&root);
        assert_eq!(groups.mode(), CgroupMode::V2);
        assert_eq!(groups.controllers(&root), ["cpu", "cpuset", "io", "memory", "pids"]);
        let allowed = Allowed { cpus: Some((0..4).collect()), mems: None, memory: Some(Bytes::mib(1)) };
        assert_eq!(groups.allowed(&root), allowed);
    }

    #[test]
    fn hybrid_reads_limits_from_v1() {
        let (_dir, root) = tree(&[
            (
                "proc/self/mountinfo",
                "31 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                 35 31 0:32 /docker/7 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            ),
            ("proc/self/cgroup", "4:memory:/docker/7/job\n3:cpuset:/\n0::/\n"),
            ("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nmemory\t4\t13\t1\n"),
            ("sys/fs/cgroup/cpuset/cpuset.cpus", "0-1\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2097152\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n"),
        ]);
        let groups = Cgroups::read(&root);
        assert_eq!(groups.mode(), CgroupMode::Hybrid);
        assert_eq!(groups.controllers(&root), ["cpuset", "hugetlb", "memory"]);
        let allowed = Allowed { cpus: Some((0..2).collect()), mems: None, memory: Some(Bytes::mib(2)) };
        assert_eq!(groups.allowed(&root), allowed);
    }

    #[test]
    fn nothing_mounted_is_no_limit() {
        let (_dir, root) = tree(&[("proc/self/cgroup", "garbage\n")]);
        let groups = Cgroups::read(&root);
        assert_eq!((groups.mode(), groups.allowed(&root)), (CgroupMode::None, Allowed::default()));
    }
}
