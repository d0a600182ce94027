//! What this process could give a run, without trying it.

use crate::cgroup::Mounts;
use crate::sys;
use spec::IsolationLevel;
use std::fs;

/// The level that a run would probably reach, and why not a higher one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    pub level: IsolationLevel,
    /// One sentence for each thing that is missing; empty at the highest level.
    pub missing: Vec<String>,
}

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Looks, cheaply and without side effects. What is said here is a forecast; [`crate::start`] reports the truth
/// for each run.
pub fn capabilities() -> Capabilities {
    let mut missing = Vec::new();
    let namespaces = match no_namespaces() {
        Some(reason) => {
            missing.push(reason);
            false
        }
        None => true,
    };
    let groups = match no_groups() {
        Some(reason) => {
            missing.push(reason);
            false
        }
        None => true,
    };
    let level = match (namespaces, groups) {
        (true, true) => IsolationLevel::Container,
        (true, false) => IsolationLevel::Namespaces,
        (false, _) => IsolationLevel::Process,
    };
    Capabilities { level, missing }
}

fn no_namespaces() -> Option<String> {
    if sys::effective_uid() == 0 {
        let administrator = sys::effective_capabilities() & CAP_SYS_ADMIN != 0;
        return (!administrator).then(|| "namespaces: this root has no CAP_SYS_ADMIN (a container?)".to_string());
    }
    let number = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    if number("/proc/sys/user/max_user_namespaces") == Some(0) || number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        return Some("namespaces: user namespaces are switched off (sysctl user.max_user_namespaces)".into());
    }
    if number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return Some("namespaces: AppArmor restricts user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns)".into());
    }
    None
}

fn no_groups() -> Option<String> {
    let mounts = Mounts::discover();
    let writable = |path: &std::path::Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    if mounts.limits_by_v1() {
        let needed = ["memory", "pids", "devices"];
        return needed.iter().find_map(|controller| match mounts.v1.get(*controller) {
            None => Some(format!("limits: no {controller} controller")),
            Some(root) if !writable(root) => Some(format!("limits: {} is not writable for this user", root.display())),
            Some(_) => None,
        });
    }
    match &mounts.v2 {
        None => Some("limits: no control group file system is mounted".into()),
        Some(root) if sys::effective_uid() != 0 => crate::cgroup::delegated_parent(root).err().map(|reason| format!("limits: {reason}")),
        Some(root) if !writable(root) => Some(format!("limits: {} is not writable", root.display())),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_level_has_its_reasons() {
        let capabilities = capabilities();
        assert_eq!(capabilities.level == IsolationLevel::Container, capabilities.missing.is_empty());
    }
}
