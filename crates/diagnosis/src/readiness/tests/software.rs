//! Cases of rules about the kernel's settings, processors, disks and limits.

use super::server::{Case, put, running};
use crate::readiness::Role::{Control, Data, Serve, Train};
use machine::{Bytes, CgroupMode, NodeFacts, ProcessLimits};

const NFS: &str = "srv:/data /data nfs4 rw,vers=4.2,proto=tcp 0 0";

fn boots_with(facts: &mut NodeFacts, words: &str) {
    facts.machine.facts.command_line = words.into();
    put(facts, &[("proc/cmdline", words)]);
}

fn slurmd(facts: &mut NodeFacts, change: fn(&mut ProcessLimits)) {
    let mut limits = ProcessLimits { pid: 812, name: "slurmd".into(), ..ProcessLimits::default() };
    change(&mut limits);
    facts.limits = vec![limits];
}

fn frequencies(facts: &mut NodeFacts, driver: &str, governor: &str, preference: &str) {
    let at = |name: &str| format!("sys/devices/system/cpu/cpufreq/policy0/{name}");
    facts.readings.insert(&at("scaling_driver"), driver);
    facts.readings.insert(&at("scaling_governor"), governor);
    facts.readings.insert(&at("energy_performance_preference"), preference);
}

const CLOCK: &str = "sys/devices/system/clocksource/clocksource0/current_clocksource";
const CLOCKS: &str = "sys/devices/system/clocksource/clocksource0/available_clocksource";
const THP: &str = "sys/kernel/mm/transparent_hugepage/enabled";
const DEFRAG: &str = "sys/kernel/mm/transparent_hugepage/defrag";

pub const CASES: &[Case] = &[
    Case {
        rule: "cpu.governor",
        role: Train,
        fires: |f| frequencies(f, "acpi-cpufreq", "schedutil", "default"),
        quiet: |f| frequencies(f, "intel_pstate", "powersave", "performance"),
    },
    Case {
        rule: "cpu.energy-preference",
        role: Serve,
        fires: |f| frequencies(f, "intel_pstate", "powersave", "balance_power"),
        quiet: |f| frequencies(f, "intel_pstate", "performance", "balance_performance"),
    },
    Case {
        rule: "cpu.frequency-cut",
        role: Train,
        fires: |f| {
            put(f, &[("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "3800000")]);
            put(f, &[("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "2000000")]);
        },
        quiet: |f| {
            put(f, &[("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "3800000")]);
            put(f, &[("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "3790000")]);
        },
    },
    Case {
        rule: "cpu.boost-off",
        role: Train,
        fires: |f| put(f, &[("sys/devices/system/cpu/cpufreq/boost", "0")]),
        // Arm's boards ship with 0.
        quiet: |f| {
            f.software.architecture = "aarch64".into();
            put(f, &[("sys/devices/system/cpu/cpufreq/boost", "0")]);
        },
    },
    Case {
        rule: "cpu.turbo-off",
        role: Train,
        fires: |f| put(f, &[("sys/devices/system/cpu/intel_pstate/no_turbo", "1")]),
        quiet: |f| put(f, &[("sys/devices/system/cpu/intel_pstate/no_turbo", "0")]),
    },
    Case {
        rule: "cpu.deep-idle",
        role: Serve,
        fires: |f| put(f, &[("sys/devices/system/cpu/cpu0/cpuidle/state3/latency", "890")]),
        quiet: |f| {
            put(f, &[("sys/devices/system/cpu/cpu0/cpuidle/state3/latency", "890")]);
            put(f, &[("sys/devices/system/cpu/cpu0/cpuidle/state3/disable", "1")]);
        },
    },
    Case {
        rule: "cpu.offline",
        role: Control,
        fires: |f| put(f, &[("sys/devices/system/cpu/present", "0-31"), ("sys/devices/system/cpu/offline", "30-255")]),
        // Places for processors that were never there.
        quiet: |f| put(f, &[("sys/devices/system/cpu/present", "0-31"), ("sys/devices/system/cpu/offline", "32-255")]),
    },
    Case {
        rule: "cpu.clock-source",
        role: Control,
        fires: |f| put(f, &[(CLOCK, "hpet"), (CLOCKS, "tsc hpet acpi_pm")]),
        quiet: |f| put(f, &[(CLOCK, "arch_sys_counter"), (CLOCKS, "arch_sys_counter")]),
    },
    Case {
        rule: "cpu.throttled",
        role: Train,
        fires: |f| put(f, &[("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_total_time_ms", "71234")]),
        quiet: |f| put(f, &[("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_total_time_ms", "12")]),
    },
    Case {
        rule: "cpu.vulnerable",
        role: Serve,
        fires: |f| put(f, &[("sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: Clear CPU buffers attempted, no microcode")]),
        quiet: |f| put(f, &[("sys/devices/system/cpu/vulnerabilities/mds", "Not affected")]),
    },
    Case {
        rule: "cpu.mitigations",
        role: Serve,
        fires: |f| put(f, &[("sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI")]),
        quiet: |f| put(f, &[("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected")]),
    },
    Case {
        rule: "scheduler.autogroup",
        role: Control,
        fires: |f| put(f, &[("proc/sys/kernel/sched_autogroup_enabled", "1")]),
        quiet: |f| put(f, &[("proc/sys/kernel/sched_autogroup_enabled", "0")]),
    },
    Case {
        rule: "scheduler.realtime-unlimited",
        role: Control,
        fires: |f| put(f, &[("proc/sys/kernel/sched_rt_runtime_us", "-1")]),
        quiet: |f| {
            boots_with(f, "isolcpus=managed_irq,8-15");
            put(f, &[("proc/sys/kernel/sched_rt_runtime_us", "-1")]);
        },
    },
    Case {
        rule: "scheduler.hung-task-off",
        role: Control,
        fires: |f| put(f, &[("proc/sys/kernel/hung_task_timeout_secs", "600")]),
        quiet: |f| put(f, &[("proc/sys/kernel/hung_task_timeout_secs", "120")]),
    },
    Case {
        rule: "scheduler.watchdog-off",
        role: Control,
        fires: |f| put(f, &[("proc/sys/kernel/soft_watchdog", "0")]),
        quiet: |f| put(f, &[("proc/sys/kernel/soft_watchdog", "1")]),
    },
    Case {
        rule: "scheduler.nmi-watchdog",
        role: Serve,
        fires: |f| put(f, &[("proc/sys/kernel/nmi_watchdog", "1")]),
        quiet: |f| put(f, &[("proc/sys/kernel/nmi_watchdog", "0")]),
    },
    Case {
        rule: "scheduler.isolated",
        role: Train,
        fires: |f| put(f, &[("sys/devices/system/cpu/isolated", "8-15")]),
        quiet: |f| put(f, &[("sys/devices/system/cpu/isolated", "")]),
    },
    Case { rule: "scheduler.tick", role: Serve, fires: |f| put(f, &[("CONFIG_HZ", "100")]), quiet: |f| put(f, &[("CONFIG_HZ", "250")]) },
    Case {
        rule: "scheduler.pressure",
        role: Train,
        fires: |f| f.readings.forget("proc/pressure/cpu"),
        // A piece of a machine without the file proves nothing.
        quiet: |f| {
            f.readings.forget("proc/pressure/cpu");
            f.readings.whole = false;
        },
    },
    Case { rule: "scheduler.idle-poll", role: Control, fires: |f| boots_with(f, "quiet idle=poll"), quiet: |f| boots_with(f, "quiet") },
    Case {
        rule: "scheduler.debug-kernel",
        role: Control,
        fires: |f| put(f, &[("CONFIG_KASAN", "y")]),
        quiet: |f| put(f, &[("CONFIG_KASAN", "n"), ("CONFIG_PROVE_LOCKING", "n")]),
    },
    Case { rule: "scheduler.noisy-audit", role: Train, fires: |f| boots_with(f, "audit=1"), quiet: |f| boots_with(f, "audit=0") },
    Case {
        rule: "memory.numa-balancing",
        role: Train,
        fires: |f| put(f, &[("proc/sys/kernel/numa_balancing", "1")]),
        quiet: |f| put(f, &[("proc/sys/kernel/numa_balancing", "0")]),
    },
    Case {
        rule: "memory.numa-balancing",
        role: Serve,
        fires: |f| put(f, &[("proc/sys/kernel/numa_balancing", "2")]),
        // Slower memory behind a node of its own is what mode 2 is for.
        quiet: |f| {
            f.machine.numa.push(machine::NumaNode { id: 2, memory: Bytes(1 << 40), ..Default::default() });
            put(f, &[("proc/sys/kernel/numa_balancing", "2")]);
        },
    },
    Case {
        rule: "memory.zone-reclaim",
        role: Data,
        fires: |f| put(f, &[("proc/sys/vm/zone_reclaim_mode", "1")]),
        quiet: |f| put(f, &[("proc/sys/vm/zone_reclaim_mode", "0")]),
    },
    Case {
        rule: "memory.swappiness",
        role: Train,
        fires: |f| {
            f.machine.facts.swap_bytes = 8 << 30;
            put(f, &[("proc/sys/vm/swappiness", "60")]);
        },
        quiet: |f| put(f, &[("proc/sys/vm/swappiness", "60")]),
    },
    Case {
        rule: "memory.dirty-limit",
        role: Train,
        fires: |f| put(f, &[("proc/sys/vm/dirty_ratio", "20")]),
        // On a small machine a fifth is little.
        quiet: |f| {
            f.machine.memory = Bytes(32 << 30);
            put(f, &[("proc/sys/vm/dirty_ratio", "20")]);
        },
    },
    Case {
        rule: "memory.dirty-background",
        role: Data,
        fires: |f| put(f, &[("proc/sys/vm/dirty_background_ratio", "10")]),
        quiet: |f| put(f, &[("proc/sys/vm/dirty_background_ratio", "0")]),
    },
    Case {
        rule: "memory.reserve",
        role: Train,
        fires: |f| put(f, &[("proc/sys/vm/min_free_kbytes", "67584")]),
        quiet: |f| put(f, &[("proc/sys/vm/min_free_kbytes", "262144")]),
    },
    Case {
        rule: "memory.overcommit",
        role: Train,
        fires: |f| put(f, &[("proc/sys/vm/overcommit_memory", "2")]),
        quiet: |f| put(f, &[("proc/sys/vm/overcommit_memory", "1")]),
    },
    Case {
        rule: "memory.map-count",
        role: Serve,
        fires: |f| put(f, &[("proc/sys/vm/max_map_count", "65530")]),
        quiet: |f| put(f, &[("proc/sys/vm/max_map_count", "1048576")]),
    },
    Case {
        rule: "memory.thp-off",
        role: Train,
        fires: |f| put(f, &[(THP, "always madvise [never]")]),
        quiet: |f| put(f, &[(THP, "always [madvise] never")]),
    },
    Case {
        rule: "memory.thp-always",
        role: Serve,
        fires: |f| put(f, &[(THP, "[always] madvise never")]),
        quiet: |f| put(f, &[(THP, "always [madvise] never")]),
    },
    Case {
        rule: "memory.thp-stall",
        role: Serve,
        fires: |f| put(f, &[(DEFRAG, "[always] defer defer+madvise madvise never")]),
        quiet: |f| put(f, &[(DEFRAG, "always defer defer+madvise [madvise] never")]),
    },
    Case {
        rule: "memory.hugepages-idle",
        role: Control,
        fires: |f| {
            put(f, &[("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "64")]);
            put(f, &[("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "64")]);
        },
        quiet: |f| {
            put(f, &[("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "64")]);
            put(f, &[("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "12")]);
        },
    },
    Case {
        rule: "memory.panic-on-oom",
        role: Control,
        fires: |f| put(f, &[("proc/sys/vm/panic_on_oom", "1")]),
        quiet: |f| put(f, &[("proc/sys/vm/panic_on_oom", "0")]),
    },
    Case {
        rule: "memory.oom-kills-asker",
        role: Train,
        fires: |f| put(f, &[("proc/sys/vm/oom_kill_allocating_task", "1")]),
        quiet: |f| put(f, &[("proc/sys/vm/oom_kill_allocating_task", "0")]),
    },
    Case {
        rule: "memory.shm-small",
        role: Train,
        fires: |f| put(f, &[("proc/self/mounts", "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k 0 0")]),
        quiet: |f| put(f, &[("proc/self/mounts", "tmpfs /dev/shm tmpfs rw,nosuid,nodev,inode64 0 0")]),
    },
    Case {
        rule: "memory.init-on-alloc",
        role: Train,
        fires: |f| boots_with(f, "init_on_alloc=1"),
        quiet: |f| boots_with(f, "init_on_alloc=0"),
    },
    Case {
        rule: "storage.scheduler",
        role: Data,
        fires: |f| put(f, &[("sys/block/nvme0n1/queue/scheduler", "none mq-deadline [bfq]")]),
        quiet: |f| {
            put(f, &[("sys/block/nvme0n1/queue/scheduler", "none [mq-deadline] bfq"), ("sys/block/sda/queue/scheduler", "none [bfq]")])
        },
    },
    Case {
        rule: "storage.read-ahead",
        role: Data,
        fires: |f| put(f, &[("sys/block/nvme0n1/queue/read_ahead_kb", "128")]),
        quiet: |f| put(f, &[("sys/block/nvme0n1/queue/read_ahead_kb", "4096")]),
    },
    Case {
        rule: "storage.array-read-ahead",
        role: Train,
        fires: |f| put(f, &[("sys/block/md0/queue/read_ahead_kb", "512")]),
        quiet: |f| put(f, &[("sys/block/md0/queue/read_ahead_kb", "8192")]),
    },
    Case {
        rule: "storage.randomness",
        role: Data,
        fires: |f| put(f, &[("sys/block/nvme0n1/queue/add_random", "1")]),
        quiet: |f| put(f, &[("sys/block/nvme0n1/queue/add_random", "0")]),
    },
    Case {
        rule: "storage.degraded",
        role: Control,
        fires: |f| put(f, &[("sys/block/md0/md/degraded", "1")]),
        quiet: |f| put(f, &[("sys/block/md0/md/degraded", "0")]),
    },
    Case {
        rule: "storage.file-system-errors",
        role: Control,
        fires: |f| put(f, &[("sys/fs/ext4/sda1/errors_count", "3")]),
        quiet: |f| put(f, &[("sys/fs/ext4/sda1/errors_count", "0")]),
    },
    Case {
        rule: "storage.emergency-read-only",
        role: Control,
        fires: |f| put(f, &[("proc/self/mounts", "/dev/sda1 / ext4 rw,relatime,emergency_ro 0 0")]),
        // Mounted read-only by somebody who wanted that.
        quiet: |f| put(f, &[("proc/self/mounts", "/dev/sr0 /media iso9660 ro,relatime 0 0")]),
    },
    Case {
        rule: "storage.nfs-slots",
        role: Train,
        fires: |f| {
            put(f, &[("proc/self/mounts", NFS), ("proc/sys/sunrpc/tcp_slot_table_entries", "2")]);
            put(f, &[("proc/sys/sunrpc/tcp_max_slot_table_entries", "16")]);
        },
        quiet: |f| {
            put(f, &[("proc/self/mounts", NFS), ("proc/sys/sunrpc/tcp_slot_table_entries", "2")]);
            put(f, &[("proc/sys/sunrpc/tcp_max_slot_table_entries", "65536")]);
        },
    },
    Case {
        rule: "storage.nfs-connections",
        role: Train,
        fires: |f| put(f, &[("proc/self/mounts", NFS)]),
        quiet: |f| put(f, &[("proc/self/mounts", "srv:/data /data nfs4 rw,vers=4.2,proto=tcp,nconnect=8 0 0")]),
    },
    Case {
        rule: "storage.asynchronous-requests",
        role: Train,
        fires: |f| put(f, &[("proc/sys/fs/aio-max-nr", "65536"), ("proc/sys/fs/aio-nr", "64000")]),
        quiet: |f| put(f, &[("proc/sys/fs/aio-max-nr", "65536"), ("proc/sys/fs/aio-nr", "128")]),
    },
    Case {
        rule: "limits.locked-memory",
        role: Train,
        fires: |f| slurmd(f, |one| one.locked_bytes = Some(8 << 20)),
        quiet: |f| slurmd(f, |one| one.locked_bytes = None),
    },
    Case {
        rule: "limits.open-files",
        role: Train,
        fires: |f| slurmd(f, |one| one.files_most = Some(4096)),
        // The soft limit is low and a job may raise it.
        quiet: |f| {
            slurmd(f, |one| {
                one.files = Some(1024);
                one.files_most = Some(524_288);
            });
        },
    },
    Case {
        rule: "limits.processes",
        role: Train,
        fires: |f| slurmd(f, |one| one.processes = Some(4096)),
        quiet: |f| slurmd(f, |one| one.processes = Some(2_000_000)),
    },
    Case {
        rule: "limits.pids",
        role: Train,
        fires: |f| put(f, &[("proc/sys/kernel/pid_max", "32768")]),
        quiet: |f| put(f, &[("proc/sys/kernel/pid_max", "4194304")]),
    },
    Case {
        rule: "limits.watches",
        role: Control,
        fires: |f| put(f, &[("proc/sys/fs/inotify/max_user_watches", "8192")]),
        quiet: |f| put(f, &[("proc/sys/fs/inotify/max_user_watches", "1048576")]),
    },
    Case {
        rule: "limits.watchers",
        role: Control,
        fires: |f| put(f, &[("proc/sys/fs/inotify/max_user_instances", "128")]),
        quiet: |f| put(f, &[("proc/sys/fs/inotify/max_user_instances", "8192")]),
    },
    Case {
        rule: "limits.files-of-machine",
        role: Control,
        fires: |f| put(f, &[("proc/sys/fs/file-max", "100000"), ("proc/sys/fs/file-nr", "95000\t0\t100000")]),
        quiet: |f| put(f, &[("proc/sys/fs/file-max", "9223372036854775807"), ("proc/sys/fs/file-nr", "95000\t0\t9223372036854775807")]),
    },
    Case {
        rule: "kernel.tainted-by-fault",
        role: Control,
        fires: |f| put(f, &[("proc/sys/kernel/tainted", "16384")]),
        // A module from elsewhere, unsigned: NVIDIA's.
        quiet: |f| put(f, &[("proc/sys/kernel/tainted", "12289")]),
    },
    Case {
        rule: "kernel.hangs-after-panic",
        role: Serve,
        fires: |f| put(f, &[("proc/sys/kernel/panic", "0")]),
        quiet: |f| put(f, &[("proc/sys/kernel/panic", "10")]),
    },
    Case {
        rule: "kernel.no-crash-dump",
        role: Train,
        fires: |f| put(f, &[("sys/kernel/kexec_crash_loaded", "0")]),
        quiet: |f| put(f, &[("sys/kernel/kexec_crash_loaded", "1")]),
    },
    Case {
        rule: "kernel.restart-pending",
        role: Control,
        fires: |f| put(f, &[("run/reboot-required", "")]),
        quiet: |f| f.readings.forget("run/reboot-required"),
    },
    Case {
        rule: "kernel.modules-missing",
        role: Control,
        fires: |f| put(f, &[("lib/modules/6.8.0-41-generic", ""), ("proc/modules", "nvme 1 1 -")]),
        quiet: |f| put(f, &[("lib/modules/6.8.0-40-generic", ""), ("proc/modules", "nvme 1 1 -")]),
    },
    Case {
        rule: "kernel.patch-stuck",
        role: Control,
        fires: |f| put(f, &[("sys/kernel/livepatch/lkp_1/transition", "1")]),
        quiet: |f| put(f, &[("sys/kernel/livepatch/lkp_1/transition", "0")]),
    },
    Case {
        rule: "kernel.control-groups-old",
        role: Train,
        fires: |f| f.machine.facts.cgroup = CgroupMode::Hybrid,
        quiet: |f| f.machine.facts.cgroup = CgroupMode::V2,
    },
    Case {
        rule: "kernel.controllers-missing",
        role: Train,
        fires: |f| f.machine.facts.cgroup_controllers.retain(|name| name != "memory"),
        quiet: |f| {
            f.machine.facts.cgroup_controllers.clear();
            f.readings.whole = false;
        },
    },
    Case {
        rule: "kernel.cache-partition-unmounted",
        role: Serve,
        fires: |f| {
            f.machine.facts.resctrl = true;
            put(f, &[("proc/cpuinfo", "processor : 0\nflags\t\t: fpu cat_l3 mba\n")]);
        },
        quiet: |f| {
            f.machine.facts.resctrl = true;
            put(f, &[("proc/cpuinfo", "processor : 0\nflags\t\t: fpu cat_l3 mba\n"), ("sys/fs/resctrl/schemata", "")]);
        },
    },
    Case {
        rule: "kernel.too-old-for-direct-paths",
        role: Train,
        fires: |f| f.machine.facts.kernel = "5.4.0-200-generic".into(),
        quiet: |f| f.machine.facts.kernel = "5.14.0-427.el9.x86_64".into(),
    },
    Case {
        rule: "kernel.unsynchronised-clock",
        role: Control,
        fires: |f| running(f, &["systemd", "sshd"]),
        quiet: |f| running(f, &["systemd", "systemd-timesyncd"]),
    },
    Case {
        rule: "kernel.no-user-namespaces",
        role: Train,
        fires: |f| {
            f.machine.facts.user_namespaces = false;
            put(f, &[("proc/sys/user/max_user_namespaces", "0")]);
        },
        quiet: |f| put(f, &[("proc/sys/user/max_user_namespaces", "63000")]),
    },
];
