//! The process scheduler and what watches over it.

use crate::Severity::{Error, Info, Warning};
use crate::readiness::rule::{Claim, EVERY_ROLE, Keep, Knob, Needs, ON_ACCELERATORS, Role, Rule, Scope, Test, WORKERS};
use machine::Source::{Build, Text, There};

pub const RULES: &[Rule] = &[
    Rule {
        id: "scheduler.autogroup",
        checks: "nice values count between sessions",
        severity: Info,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "with autogroup on, `nice` weighs only within one login session, so a job made nice still takes its full share",
        cost: "`nice` does nothing against a neighbour of another session",
        source: "sched(7), the autogroup feature",
        test: Test::Knob(Knob {
            path: "proc/sys/kernel/sched_autogroup_enabled",
            want: |_, at| at.exactly("0"),
            keep: Keep::Sysctl,
            risk: "none on a server",
        }),
    },
    Rule {
        id: "scheduler.realtime-unlimited",
        checks: "realtime tasks leave others a share",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "without the limit one spinning realtime thread stops everything else on its core, the kernel's own threads too",
        cost: "a machine that hangs and cannot be logged in to",
        source: "Linux Documentation/scheduler/sched-rt-group; the default is 950000",
        test: Test::Knob(Knob {
            path: "proc/sys/kernel/sched_rt_runtime_us",
            want: |look, at| {
                // Whoever set cores aside for it knows.
                (at.value == "-1" && look.parameter("isolcpus").is_none()).then(|| "950000".to_owned())
            },
            keep: Keep::Sysctl,
            risk: "realtime threads that never sleep lose a twentieth of their core",
        }),
    },
    Rule {
        id: "scheduler.hung-task-off",
        checks: "the kernel tells of tasks that hang, within two minutes",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "a process stuck in a driver is the first sign of a dying card or file system",
        cost: "faults are noticed when people complain",
        source: "Linux Documentation/admin-guide/sysctl/kernel, hung_task_timeout_secs; the default is 120",
        test: Test::Knob(Knob {
            path: "proc/sys/kernel/hung_task_timeout_secs",
            want: |_, at| (at.number()? == 0 || at.number()? > 120).then(|| "120".to_owned()),
            keep: Keep::Sysctl,
            risk: "more lines in the kernel's log on slow network file systems",
        }),
    },
    Rule {
        id: "scheduler.watchdog-off",
        checks: "the kernel's watchdog for locked-up CPUs is on",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "a CPU that loops in the kernel is told of only by this watchdog",
        cost: "a machine that stands still without a word",
        source: "Linux Documentation/admin-guide/lockup-watchdogs",
        test: Test::Knob(Knob {
            path: "proc/sys/kernel/soft_watchdog",
            want: |look, at| if look.parameter("nosoftlockup").is_some() { None } else { at.exactly("1") },
            keep: Keep::Sysctl,
            risk: "a timer a CPU every few seconds",
        }),
    },
    Rule {
        id: "scheduler.nmi-watchdog",
        checks: "the hard-lockup watchdog does not hold a performance counter where latency counts",
        severity: Info,
        roles: &[Role::Serve],
        needs: Needs::Physical,
        scope: Scope::Kernel,
        reads: &[],
        why: "it takes one hardware counter from profilers and interrupts each CPU now and then",
        cost: "one counter less for `perf`; a few microseconds of jitter",
        source: "tuned profile network-latency; Linux Documentation/admin-guide/lockup-watchdogs",
        test: Test::Knob(Knob {
            path: "proc/sys/kernel/nmi_watchdog",
            want: |_, at| at.exactly("0"),
            keep: Keep::Sysctl,
            risk: "a CPU locked up with interrupts off is not told of",
        }),
    },
    Rule {
        id: "scheduler.isolated",
        checks: "no cores lie idle because they are isolated",
        severity: Info,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("sys/devices/system/cpu/isolated")],
        why: "nothing runs on isolated cores unless it is pinned there by hand",
        cost: "those cores, for every job that is not pinned",
        source: "Linux Documentation/admin-guide/kernel-parameters, isolcpus",
        test: Test::Judge(|look| {
            let path = "sys/devices/system/cpu/isolated";
            let set: machine::CpuSet = look.value(path).unwrap_or_default();
            if set.is_empty() {
                return vec![];
            }
            let claim = Claim::new("CPUs", format!("CPUs {set} are isolated")).wanted("none, unless something is pinned to them");
            vec![claim.seen(path, &set).hint("take `isolcpus` from the kernel command line; cpusets isolate without a reboot")]
        }),
    },
    Rule {
        id: "scheduler.tick",
        checks: "the timer ticks often enough to share a core among latency-bound work",
        severity: Warning,
        roles: &[Role::Serve],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Build("CONFIG_HZ")],
        why: "a task that runs on is put aside at the next tick; at 100 a second a neighbour waits up to 10 ms, whatever its slice",
        cost: "tails of 10 ms wherever two tasks share a core",
        source: "kernel/sched/fair.c: preemption by slice is decided in the tick; our reference: no other audit looks at it",
        test: Test::Judge(|look| match look.value::<u32>("CONFIG_HZ") {
            Some(hz) if hz <= 100 => vec![
                Claim::new("kernel", format!("the timer ticks {hz} times a second"))
                    .wanted("250 or more")
                    .because(format!("build of the kernel, CONFIG_HZ={hz}"))
                    .hint("install a kernel package built with CONFIG_HZ=250 or 1000"),
            ],
            _ => vec![],
        }),
    },
    Rule {
        id: "scheduler.pressure",
        checks: "the kernel measures pressure",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[There("proc/pressure/cpu"), Text("proc/loadavg")],
        why: "pressure stall information says who waits for processor, memory and disk, and names a noisy neighbour",
        cost: "nobody can say why a job is slow",
        source: "Linux Documentation/accounting/psi",
        test: Test::Judge(|look| match look.facts.readings.there("proc/pressure/cpu") {
            Some(false) => vec![
                Claim::new("kernel", "there is no /proc/pressure")
                    .wanted("pressure stall information")
                    .read("proc/pressure/cpu: not there")
                    .add_parameter("psi=1")
                    .hint("add `psi=1` to the kernel command line, or take a kernel built with CONFIG_PSI"),
            ],
            _ => vec![],
        }),
    },
    Rule {
        id: "scheduler.idle-poll",
        checks: "idle cores sleep",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/cmdline")],
        why: "with idle=poll an idle core burns full power and takes the turbo and the second hardware thread from its neighbours",
        cost: "watts, heat, and the clock of the cores that work",
        source: "Linux Documentation/admin-guide/pm/cpuidle",
        test: Test::Judge(|look| match look.parameter("idle") {
            Some("poll") => vec![
                Claim::new("kernel", "idle cores spin (idle=poll)")
                    .wanted("no idle=poll")
                    .seen("proc/cmdline", "idle=poll")
                    .drop_parameter("idle=poll")
                    .hint("take `idle=poll` from the kernel command line; hold /dev/cpu_dma_latency for the jobs that need it"),
            ],
            _ => vec![],
        }),
    },
    Rule {
        id: "scheduler.debug-kernel",
        checks: "the kernel is not one for debugging",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Build("CONFIG_KASAN"), Build("CONFIG_PROVE_LOCKING"), Build("CONFIG_DEBUG_PAGEALLOC_ENABLE_DEFAULT")],
        why: "checks of every memory access or lock make the kernel several times slower",
        cost: "system calls, drivers and the network at a fraction of their speed",
        source: "Linux Documentation/dev-tools/kasan, locking/lockdep-design",
        test: Test::Judge(|look| {
            let on = ["CONFIG_KASAN", "CONFIG_PROVE_LOCKING", "CONFIG_DEBUG_PAGEALLOC_ENABLE_DEFAULT"]
                .into_iter()
                .filter(|option| look.text(option) == Some("y"));
            on.map(|option| {
                Claim::new("kernel", format!("built with {option}"))
                    .wanted("a kernel without it")
                    .because(format!("build of the kernel, {option}=y"))
                    .hint("boot the distribution's ordinary kernel package")
            })
            .collect()
        }),
    },
    Rule {
        id: "scheduler.noisy-audit",
        checks: "audit does not watch every system call of a job",
        severity: Info,
        roles: ON_ACCELERATORS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/cmdline")],
        why: "an audit that was switched on at boot is entered on every system call of every process",
        cost: "system calls cost a multiple",
        source: "Linux Documentation/admin-guide/kernel-parameters, audit",
        test: Test::Judge(|look| match look.parameter("audit") {
            Some("1" | "on") => vec![
                Claim::new("kernel", "audit is on from boot")
                    .wanted("audit only where rules ask for it")
                    .seen("proc/cmdline", "audit=1")
                    .hint("keep it if a policy asks for it; else take `audit=1` from the kernel command line"),
            ],
            _ => vec![],
        }),
    },
];
