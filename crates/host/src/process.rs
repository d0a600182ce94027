//! Processes, as `/proc` shows them.

use crate::{Root, text};
use machine::Bytes;

/// When a process started, in clock ticks after boot; `None` when there is no such process. A pid is reused, a pid with its
/// start time within one boot is not.
pub fn start_time(root: &Root, pid: u32) -> Option<u64> {
    Some(stat(root, pid)?.start)
}

/// A name for the time since the machine was started.
pub fn boot_id(root: &Root) -> Option<String> {
    root.text("proc/sys/kernel/random/boot_id").filter(|id| !id.is_empty())
}

/// Processes that `pid` started and that have not ended, by pid. Read from `/proc/PID/task/*/children` where the kernel
/// has it (CONFIG_PROC_CHILDREN), else from every process's parent.
pub fn children(root: &Root, pid: u32) -> Vec<u32> {
    let tasks = format!("proc/{pid}/task");
    let lists: Option<Vec<String>> = root.numbered(&tasks, "").iter().map(|task| root.text(&format!("{tasks}/{task}/children"))).collect();
    let mut found: Vec<u32> = match lists {
        Some(lists) if !lists.is_empty() => {
            lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
        }
        _ => root.numbered("proc", "").into_iter().filter(|other| stat(root, *other).is_some_and(|stat| stat.parent == pid)).collect(),
    };
    found.sort_unstable();
    found
}

/// Memory of the process that is resident, shared pages included.
pub fn rss_bytes(root: &Root, pid: u32) -> Option<Bytes> {
    // /proc/PID/stat is in pages of the machine that wrote it, status in kB: no page size to guess for a capture.
    let status = root.text(&format!("proc/{pid}/status"))?;
    text::meminfo(&status, "VmRSS")
}

/// The parsed `/proc/PID/stat`.
pub fn stat(root: &Root, pid: u32) -> Option<text::Stat> {
    text::stat(&root.text(&format!("proc/{pid}/stat"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn our_own_process_is_seen() {
        let root = Root::live();
        let own = std::process::id();
        assert!(start_time(&root, own).unwrap() > 0);
        assert_eq!(start_time(&root, own), start_time(&root, own));
        assert_eq!(stat(&root, own).unwrap().parent, std::os::unix::process::parent_id());
        assert!(rss_bytes(&root, own).unwrap() > Bytes::kib(100));
        assert_eq!(boot_id(&root).unwrap().len(), 36);
        assert_eq!(start_time(&root, u32::MAX), None);
        assert_eq!(children(&root, u32::MAX), Vec::<u32>::new());
    }

    #[test]
    fn a_child_is_found_until_it_is_reaped() {
        let root = Root::live();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children(&root, std::process::id()).contains(&child.id()));
        assert!(start_time(&root, child.id()).unwrap() >= start_time(&root, std::process::id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children(&root, std::process::id()).contains(&child.id()));
    }
}
