//! The kernel's command line without what may be secret: passwords, addresses, disks and the words for programs.

/// Words whose value says how the machine behaves and nothing about whose it is. An entry that ends in `.` is a module:
/// all its parameters count.
const KEPT: [&str; 92] = [
    "BOOT_IMAGE",
    "acpi",
    "acpi_enforce_resources",
    "amd_iommu",
    "amd_pstate",
    "amdgpu.",
    "amdkfd.",
    "apparmor",
    "audit",
    "cgroup_disable",
    "cgroup_enable",
    "cgroup_no_v1",
    "clocksource",
    "console",
    "cpufreq.",
    "crashkernel",
    "default_hugepagesz",
    "efi",
    "ghes.",
    "hugepages",
    "hugepagesz",
    "hugetlb_cma",
    "i915.",
    "idle",
    "init_on_alloc",
    "init_on_free",
    "intel_idle.",
    "intel_iommu",
    "intel_pstate",
    "iommu",
    "iommu.",
    "ipv6.",
    "irqaffinity",
    "isolcpus",
    "kthread_cpus",
    "kvm.",
    "kvm_amd.",
    "kvm_intel.",
    "lockdown",
    "loglevel",
    "lsm",
    "maxcpus",
    "mce",
    "mem",
    "memhp_default_state",
    "memmap",
    "memory_hotplug.",
    "mitigations",
    "mlx5_core.",
    "mlx5_ib.",
    "module.",
    "module_blacklist",
    "modprobe.blacklist",
    "movablecore",
    "nmi_watchdog",
    "nohz",
    "nohz_full",
    "nosmt",
    "nouveau.",
    "nr_cpus",
    "numa",
    "numa_balancing",
    "nvidia-drm.",
    "nvidia.",
    "nvidia_drm.",
    "nvme.",
    "nvme_core.",
    "panic",
    "pci",
    "pcie_acs_override",
    "pcie_aspm",
    "pcie_ports",
    "preempt",
    "processor.",
    "psi",
    "rcu_nocbs",
    "rd.driver.blacklist",
    "rdblacklist",
    "rdt",
    "resctrl",
    "security",
    "selinux",
    "skew_tick",
    "slub_debug",
    "spec_store_bypass_disable",
    "swiotlb",
    "systemd.unified_cgroup_hierarchy",
    "transparent_hugepage",
    "tsc",
    "tsx",
    "vfio-pci.",
    "xe.",
];

/// What stands for a value that is left out.
const GONE: &str = "(removed)";

/// Words that are kept stay as they are and in their order; of others the name stays. What follows `--` is for a program.
pub fn filter(line: &str) -> String {
    let words = line.split_whitespace().take_while(|word| *word != "--");
    let kept = words.map(|word| match word.split_once('=') {
        None if is_name(word) => word.to_owned(),
        None => GONE.to_owned(),
        Some((name, _)) if is_kept(name) => word.to_owned(),
        Some((name, _)) if is_name(name) => format!("{name}={GONE}"),
        Some(_) => GONE.to_owned(),
    });
    kept.collect::<Vec<_>>().join(" ")
}

fn is_kept(name: &str) -> bool {
    // The kernel takes `-` and `_` for the same.
    let name = name.replace('-', "_");
    KEPT.iter().any(|kept| {
        let kept = kept.replace('-', "_");
        if kept.ends_with('.') { name.starts_with(&kept) } else { name == kept }
    })
}

fn is_name(word: &str) -> bool {
    (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_steers_the_kernel_stays_and_the_rest_goes() {
        let line = "BOOT_IMAGE=/vmlinuz-6.1 root=UUID=0a1b ro quiet iommu=pt amd_iommu=on nvidia.NVreg_EnablePCIeGen3=1 \
                    pci=disable_acs_redir=pci:0:0 ip=10.1.2.3::10.1.2.1 rd.luks.key=/k cifs_password=hunter2 -- /bin/agent --token=x";
        assert_eq!(
            filter(line),
            "BOOT_IMAGE=/vmlinuz-6.1 root=(removed) ro quiet iommu=pt amd_iommu=on nvidia.NVreg_EnablePCIeGen3=1 \
             pci=disable_acs_redir=pci:0:0 ip=(removed) rd.luks.key=(removed) cifs_password=(removed)"
        );
    }

    #[test]
    fn filtering_twice_changes_nothing() {
        let once = filter("root=/dev/sda1 \"quoted words\" a=b=c x;y");
        assert_eq!(filter(&once), once);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_and_no_unknown_value_passes(name in "[a-z]{1,8}", value in "[!-~]{5,20}") {
            prop_assume!(!is_kept(&name) && value != GONE);
            let line = format!("{name}={value}");
            prop_assert!(!filter(&line).contains(&value) || name.contains(&value) || GONE.contains(&value));
        }
    }
}
