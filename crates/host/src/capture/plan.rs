//! What is taken besides what the readers look at, and what is never taken.

/// How much of a folder is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The file itself.
    File,
    /// Its files and links.
    Flat,
    /// Folders in it too, this many levels down.
    Tree(u8),
}

use Depth::{File, Flat, Tree};

/// Paths below the root; `*` stands for any text within one name. A reader of a later release, or a person, may want these.
pub const TAKEN: [(&str, Depth); 80] = [
    ("sys/devices/system/cpu", Flat),
    ("sys/devices/system/cpu/cpu*", Flat),
    ("sys/devices/system/cpu/cpu*/topology", Flat),
    ("sys/devices/system/cpu/cpu*/cache/index*", Flat),
    ("sys/devices/system/cpu/cpufreq/policy*", Flat),
    ("sys/devices/system/cpu/smt", Flat),
    ("sys/devices/system/cpu/vulnerabilities", Flat),
    ("sys/devices/system/node", Flat),
    ("sys/devices/system/node/node*", Flat),
    ("sys/devices/system/node/node*/access*/initiators", Flat),
    ("sys/devices/system/node/node*/access*/targets", Flat),
    ("sys/devices/system/node/node*/hugepages/*", Flat),
    ("sys/devices/system/node/node*/memory_side_cache/*", Flat),
    ("sys/devices/system/clocksource/clocksource0", Flat),
    ("sys/devices/system/edac/mc/mc*", Tree(2)),
    ("sys/devices/system/memory/block_size_bytes", File),
    ("sys/devices/virtual/memory_tiering/*", Flat),
    ("sys/devices/virtual/dmi/id", Flat),
    ("sys/devices/virtual/neuron_device/*", Tree(7)),
    ("sys/bus/pci/devices/*", Flat),
    ("sys/bus/pci/slots/*", Flat),
    ("sys/bus/cxl/devices/*", Flat),
    ("sys/bus/dax/devices/*", Flat),
    ("sys/bus/nd/devices/*", Flat),
    ("sys/bus/mdev/devices/*", Flat),
    ("sys/class/accel/*", Flat),
    ("sys/class/apex/*", Flat),
    ("sys/class/block/*", Flat),
    ("sys/class/dmi/id", Flat),
    ("sys/class/drm/card*", Flat),
    ("sys/class/drm/renderD*", Flat),
    ("sys/class/hwmon/hwmon*", Flat),
    ("sys/class/infiniband/*", Tree(4)),
    ("sys/class/iommu/*", Flat),
    ("sys/class/kfd/kfd/topology", Tree(5)),
    ("sys/class/net/*", Flat),
    ("sys/class/nvme/*", Flat),
    ("sys/class/rebellions/*", Flat),
    ("sys/class/rngd_mgmt/*", Flat),
    ("sys/class/tenstorrent/*", Flat),
    ("sys/class/ve/*", Flat),
    ("sys/firmware/devicetree/base/compatible", File),
    ("sys/firmware/devicetree/base/model", File),
    ("sys/hypervisor/type", File),
    ("sys/kernel/iommu_groups/*", Tree(2)),
    ("sys/kernel/mm/hugepages/*", Flat),
    ("sys/kernel/mm/numa", Flat),
    ("sys/kernel/mm/transparent_hugepage", Flat),
    ("sys/kernel/security/lsm", File),
    ("sys/fs/resctrl/info", Tree(2)),
    ("sys/module/amdgpu", Tree(1)),
    ("sys/module/habanalabs", Tree(1)),
    ("sys/module/i915", Tree(1)),
    ("sys/module/ib_core", Tree(1)),
    ("sys/module/mlx5_core", Tree(1)),
    ("sys/module/mlx5_ib", Tree(1)),
    ("sys/module/nvidia*", Tree(1)),
    ("sys/module/nv_peer_mem", Tree(1)),
    ("sys/module/xe", Tree(1)),
    ("proc/cgroups", File),
    ("proc/cmdline", File),
    ("proc/cpuinfo", File),
    ("proc/devices", File),
    ("proc/driver/cambricon", Tree(2)),
    ("proc/driver/nvidia", Tree(4)),
    ("proc/filesystems", File),
    ("proc/interrupts", File),
    ("proc/loadavg", File),
    ("proc/meminfo", File),
    ("proc/modules", File),
    ("proc/self/cgroup", File),
    ("proc/self/mountinfo", File),
    ("proc/swaps", File),
    ("proc/sys/kernel/*", File),
    ("proc/sys/net/core/*", File),
    ("proc/sys/user/*", File),
    ("proc/sys/vm/*", File),
    ("proc/version", File),
    ("proc/vmstat", File),
    ("etc/os-release", File),
];

/// Folders that are not walked into: they hold nothing about the machine, or lead to other devices.
const CLOSED: [&str; 9] = ["power", "msi_irqs", "trace", "debug", "statistics", "queues", "wakeup", "holders", "slaves"];

/// Whether a folder is left out of a walk.
pub fn is_closed(name: &str) -> bool {
    CLOSED.contains(&name)
}

/// Whether a file is left out whoever asks for it. Some are secret, some hold what other programs wrote, some do
/// something when they are read (a window of registers, the start of a firmware update).
pub fn is_denied(path: &str) -> bool {
    const NAMES: [&str; 22] = [
        "rom",
        "vpd",
        "remove",
        "rescan",
        "reset",
        "reset_subordinate",
        "eeprom",
        "nvmem",
        "edid",
        "ifalias",
        "psp_vbflash",
        "usbc_pd_fw",
        "ids_flash",
        "core_pattern",
        "modprobe",
        "hotplug",
        "poweroff_cmd",
        "random",
        "keys",
        "domainname",
        "environ",
        "error",
    ];
    let name = path.rsplit('/').next().unwrap_or(path);
    let secret = ["secret", "passw", "psk", "private", "_key", "key_"].iter().any(|mark| name.contains(mark));
    let window = name.strip_prefix("resource").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let page = name.starts_with("vpd_");
    let of_a_process = path.strip_prefix("proc/").and_then(|rest| rest.split_once('/')).is_some_and(|(pid, rest)| {
        let process = pid == "self" || pid == "thread-self" || pid.bytes().all(|b| b.is_ascii_digit());
        process && !matches!(rest, "cgroup" | "mountinfo" | "mounts" | "cpuset" | "status")
    });
    secret || window || page || of_a_process || NAMES.contains(&name)
}

/// Files that are no text and hold no name once their serial numbers are taken out.
pub fn is_binary_wanted(path: &str) -> bool {
    matches!(path.rsplit('/').next(), Some("config" | "gpu_metrics"))
}

/// Files that hold nothing but a serial number or another name of a part.
pub fn is_serial(path: &str) -> bool {
    const NAMES: [&str; 22] = [
        "serial",
        "serial_number",
        "product_serial",
        "board_serial",
        "chassis_serial",
        "chassis_asset_tag",
        "board_asset_tag",
        "product_uuid",
        "unique_id",
        "wwid",
        "nguid",
        "eui",
        "hostid",
        "tt_serial",
        "tt_asic_id",
        "phys_port_id",
        "phys_switch_id",
        "asset_tag",
        "subsysnqn",
        "hostnqn",
        "serial-number",
        "boot_id",
    ];
    NAMES.contains(&path.rsplit('/').next().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_or_acts_when_read_is_left_out() {
        for path in [
            "proc/1/environ",
            "proc/self/cmdline",
            "proc/4711/maps",
            "sys/bus/pci/devices/0000:01:00.0/rom",
            "sys/bus/pci/devices/0000:01:00.0/resource0",
            "sys/bus/pci/devices/0000:01:00.0/resource4_wc",
            "sys/bus/pci/devices/0000:01:00.0/vpd",
            "sys/class/nvme/nvme0/dhchap_secret",
            "sys/class/nvme/nvme0/tls_key",
            "sys/class/block/sda/device/vpd_pg80",
            "sys/class/drm/card0/device/psp_vbflash",
            "proc/sys/kernel/random",
        ] {
            assert!(is_denied(path), "{path}");
        }
        for path in ["proc/self/cgroup", "proc/cpuinfo", "sys/bus/pci/devices/0000:01:00.0/resource", "proc/driver/nvidia/version"] {
            assert!(!is_denied(path), "{path}");
        }
    }

    #[test]
    fn the_list_is_in_order_of_trees_and_says_nothing_twice() {
        let mut paths: Vec<&str> = TAKEN.iter().map(|(path, _)| *path).collect();
        let all = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), all);
        assert!(paths.iter().all(|path| ["sys/", "proc/", "etc/"].iter().any(|top| path.starts_with(top)) && !is_denied(path)));
    }
}
