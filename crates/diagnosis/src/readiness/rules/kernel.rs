//! The kernel itself and what came of it since it was started.

use crate::Severity::{Error, Info, Warning};
use crate::readiness::rule::{Claim, EVERY_ROLE, Keep, Knob, Needs, ON_ACCELERATORS, Role, Rule, Scope, Test, WORKERS};
use machine::CgroupMode;
use machine::Source::{Text, There};

const TAINT: &str = "Linux Documentation/admin-guide/tainted-kernels";

/// Bits of `/proc/sys/kernel/tainted` that tell of something that happened, and not of a module that was loaded.
const FAULTS: [(u32, &str); 4] = [
    (4, "the processor reported a machine check"),
    (5, "a memory page was found in a bad state"),
    (7, "the kernel stumbled over an error of its own (oops)"),
    (14, "a CPU was locked up"),
];

pub const RULES: &[Rule] = &[
    Rule {
        id: "kernel.tainted-by-fault",
        checks: "the kernel had no fault since it was started",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/sys/kernel/tainted")],
        why: "after such an event locks may be held for ever and memory may be damaged",
        cost: "what happens next cannot be trusted",
        source: TAINT,
        test: Test::Judge(|look| {
            let path = "proc/sys/kernel/tainted";
            let bits: u64 = look.value(path).unwrap_or(0);
            let found: Vec<&str> = FAULTS.iter().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, what)| *what).collect();
            if found.is_empty() {
                return vec![];
            }
            vec![
                Claim::new("kernel", found.join("; "))
                    .wanted("none of it")
                    .seen(path, bits)
                    .hint("look for it in the kernel's log, drain the machine and restart it"),
            ]
        }),
    },
    Rule {
        id: "kernel.hangs-after-panic",
        checks: "a machine that panics starts again",
        severity: Warning,
        roles: &[Role::Train, Role::Serve, Role::Data],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "with 0 a panicked kernel stands still until somebody presses a button",
        cost: "the machine, until somebody notices",
        source: "Linux Documentation/admin-guide/sysctl/kernel, panic",
        test: Test::Knob(Knob {
            path: "proc/sys/kernel/panic",
            want: |_, at| (at.value == "0").then(|| "60".to_owned()),
            keep: Keep::Sysctl,
            risk: "a machine that panics at each start starts for ever",
        }),
    },
    Rule {
        id: "kernel.no-crash-dump",
        checks: "a crash leaves a dump",
        severity: Info,
        roles: WORKERS,
        needs: Needs::Physical,
        scope: Scope::Kernel,
        reads: &[Text("sys/kernel/kexec_crash_loaded")],
        why: "no crash kernel is loaded, so a panic leaves nothing to look at",
        cost: "nobody will know why it crashed",
        source: "Linux Documentation/admin-guide/kdump",
        test: Test::Judge(|look| match look.text("sys/kernel/kexec_crash_loaded").map(str::trim) {
            Some("0") => vec![
                Claim::new("kernel", "no crash kernel is loaded")
                    .seen("sys/kernel/kexec_crash_loaded", 0)
                    .hint("install kdump-tools and reserve memory (crashkernel=) if crashes are to be looked into"),
            ],
            _ => vec![],
        }),
    },
    Rule {
        id: "kernel.restart-pending",
        checks: "no installed update waits for a restart",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[There("var/run/reboot-required"), There("run/reboot-required")],
        why: "the package manager left word that what runs is not what is installed",
        cost: "known faults stay; drivers installed for the new kernel do not load in this one",
        source: "Debian and Ubuntu, /run/reboot-required",
        test: Test::Judge(|look| {
            let path =
                ["run/reboot-required", "var/run/reboot-required"].into_iter().find(|path| look.facts.readings.there(path) == Some(true));
            path.map(|path| {
                Claim::new("kernel", "a restart is pending")
                    .wanted("restarted")
                    .because(format!("/{path} is there"))
                    .hint("drain the machine and restart it")
            })
            .into_iter()
            .collect()
        }),
    },
    Rule {
        id: "kernel.modules-missing",
        checks: "modules of the running kernel are on disk",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[There("lib/modules/*")],
        why: "an upgrade took the running kernel's modules away; whatever is not loaded yet cannot be",
        cost: "file systems, network features and drivers that are needed later fail",
        source: "modprobe(8)",
        test: Test::Judge(|look| {
            let release = &look.facts.machine.facts.kernel;
            let here: Vec<&str> = look.settings("lib/modules/*").iter().filter_map(|at| at.parts.first().copied()).collect();
            // A machine without any, or in a container, was built so.
            if here.is_empty() || release.is_empty() || here.contains(&release.as_str()) || look.facts.container.is_some() {
                return vec![];
            }
            // Kernels without modules have none to miss.
            if look.text("proc/modules").is_none_or(|text| text.trim().is_empty()) {
                return vec![];
            }
            vec![
                Claim::new("kernel", format!("there are no modules of the running kernel {release}"))
                    .wanted(format!("/lib/modules/{release}"))
                    .read(format!("lib/modules: {}", here.join(", ")))
                    .hint("drain the machine and restart it"),
            ]
        }),
    },
    Rule {
        id: "kernel.patch-stuck",
        checks: "no live patch is stuck",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("sys/kernel/livepatch/*/transition")],
        why: "some task never left a function that is to be replaced",
        cost: "the fault is still open, and no other patch can be applied",
        source: "Linux Documentation/livepatch",
        test: Test::Judge(|look| {
            let stuck = look.settings("sys/kernel/livepatch/*/transition").into_iter().filter(|at| at.value == "1");
            stuck
                .map(|at| {
                    let name = at.parts.first().copied().unwrap_or_default();
                    Claim::new(name, format!("live patch {name} is still in transition"))
                        .wanted("0")
                        .seen(at.path, at.value)
                        .hint("look for tasks with -1 or 0 in /proc/PID/patch_state")
                })
                .collect()
        }),
    },
    Rule {
        id: "kernel.control-groups-old",
        checks: "control groups are those of version 2",
        severity: Info,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "version 1 has no pressure by group, no memory.high, no protection of a job's page cache",
        cost: "jobs are limited but not told apart when they press each other; distributions drop version 1",
        source: "Linux Documentation/admin-guide/cgroup-v2; docs/concepts/isolation.md",
        test: Test::Judge(|look| match look.facts.machine.facts.cgroup {
            mode @ (CgroupMode::V1 | CgroupMode::Hybrid) => vec![
                Claim::new(
                    "control groups",
                    if mode == CgroupMode::V1 {
                        "control groups are version 1"
                    } else {
                        "control groups are version 1 with a tree of version 2 beside"
                    },
                )
                .read("proc/self/mountinfo")
                .hint("add `systemd.unified_cgroup_hierarchy=1` to the kernel command line and reboot"),
            ],
            _ => vec![],
        }),
    },
    Rule {
        id: "kernel.controllers-missing",
        checks: "control groups can limit memory, CPUs and processes",
        severity: Error,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "a controller that is switched off limits nobody",
        cost: "one job can take all memory, all CPUs or all process numbers",
        source: "Linux Documentation/admin-guide/cgroup-v2; kernel parameters cgroup_disable, cgroup_enable",
        test: Test::Judge(|look| {
            let facts = &look.facts.machine.facts;
            // In pieces of a machine the mounts are missing, not the controllers.
            if facts.cgroup == CgroupMode::None || !look.facts.readings.whole {
                return vec![];
            }
            let missing: Vec<&str> = ["memory", "cpuset", "cpu", "pids"]
                .into_iter()
                .filter(|name| !facts.cgroup_controllers.iter().any(|has| has == name))
                .collect();
            if missing.is_empty() {
                return vec![];
            }
            vec![
                Claim::new("control groups", format!("there is no control of {}", missing.join(", ")))
                    .wanted("memory, cpuset, cpu, pids")
                    .because(format!("controllers: {}", facts.cgroup_controllers.join(", ")))
                    .hint("look for cgroup_disable= on the kernel command line (on some Arm boards cgroup_enable=memory is needed)"),
            ]
        }),
    },
    Rule {
        id: "kernel.cache-partition-unmounted",
        checks: "cache and memory bandwidth can be shared out where the processor can",
        severity: Info,
        roles: &[Role::Serve],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/cpuinfo"), There("sys/fs/resctrl/schemata")],
        why: "the processor can keep neighbours out of a job's cache, and nobody mounted the file system for it",
        cost: "a neighbour that streams through memory doubles the tail of a latency-bound service",
        source: "Linux Documentation/filesystems/resctrl",
        test: Test::Judge(|look| {
            let info = look.text("proc/cpuinfo").unwrap_or_default();
            let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
            let can = flags.split_whitespace().any(|flag| matches!(flag, "cat_l3" | "cat_l2" | "mba"));
            match look.facts.readings.there("sys/fs/resctrl/schemata") {
                Some(false) if can && look.facts.machine.facts.resctrl => vec![
                    Claim::new("resctrl", "the processor can partition its cache and resctrl is not mounted")
                        .read("proc/cpuinfo: cat_l3 or mba; /sys/fs/resctrl: empty")
                        .command("mount -t resctrl resctrl /sys/fs/resctrl"),
                ],
                _ => vec![],
            }
        }),
    },
    Rule {
        id: "kernel.too-old-for-direct-paths",
        checks: "the kernel offers DMA-BUF to RDMA",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Kernel,
        reads: &[],
        why: "the maintained way between cards and network goes through DMA-BUF, which RDMA has since kernel 5.12",
        cost: "only the vendors' older modules are left, which their drivers drop one by one",
        source: "Linux 5.12: RDMA/core, dma-buf memory regions",
        test: Test::Judge(|look| match look.kernel() {
            Some(kernel) if kernel < (5, 12) => vec![
                Claim::new("kernel", format!("kernel {} is older than 5.12", look.facts.machine.facts.kernel))
                    .wanted("5.12 or later")
                    .read(format!("proc/sys/kernel/osrelease: {}", look.facts.machine.facts.kernel))
                    .hint("install a newer kernel of the distribution"),
            ],
            _ => vec![],
        }),
    },
    Rule {
        id: "kernel.unsynchronised-clock",
        checks: "the clock is kept right",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "no program that keeps the clock runs here",
        cost: "logs of machines do not fit together, and certificates seem expired",
        source: "chronyd(8), systemd-timesyncd(8), ptp4l(8)",
        test: Test::Judge(|look| {
            const KEEPERS: [&str; 7] = ["chronyd", "systemd-timesyncd", "systemd-timesyn", "ntpd", "ntpd-rs", "ptp4l", "phc2sys"];
            // A container takes its host's clock.
            let nobody = KEEPERS.iter().all(|name| look.facts.runs(name) == Some(false));
            if !nobody || look.facts.container.is_some() {
                return vec![];
            }
            vec![
                Claim::new("clock", "nothing keeps the clock right")
                    .wanted("chrony or the like")
                    .read(format!("proc: none of {}", KEEPERS.join(", ")))
                    .command("systemctl enable --now chrony"),
            ]
        }),
    },
    Rule {
        id: "kernel.no-user-namespaces",
        checks: "people can make containers without being root",
        severity: Info,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/sys/user/max_user_namespaces")],
        why: "rootless containers, and tools such as bubblewrap and Apptainer, need user namespaces",
        cost: "those tools do not start in jobs",
        source: "user_namespaces(7)",
        test: Test::Judge(|look| match look.value::<u64>("proc/sys/user/max_user_namespaces") {
            Some(_) if !look.facts.machine.facts.user_namespaces => vec![
                Claim::new("user namespaces", "people cannot make user namespaces")
                    .seen("proc/sys/user/max_user_namespaces", look.text("proc/sys/user/max_user_namespaces").unwrap_or_default())
                    .hint("a trade of convenience for safety: leave it if a policy asks for it"),
            ],
            _ => vec![],
        }),
    },
];
