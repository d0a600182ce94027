//! Processors: frequency, idle states, clock source, mitigations.

use crate::Severity::{Error, Info, Warning};
use crate::readiness::look::Look;
use crate::readiness::rule::{Claim, EVERY_ROLE, Keep, Knob, Needs, ON_ACCELERATORS, Rule, Scope, Test, WORKERS};
use machine::Source::Text;

const CPUFREQ: &str = "Linux Documentation/admin-guide/pm/cpufreq";
const FASTER: &str = "more power and heat while nothing runs";

/// A driver that picks frequencies in hardware takes the preference as its order, whatever the governor is called.
fn governor(look: &Look, at: &crate::readiness::Setting) -> Option<String> {
    let policy = at.parts.first()?;
    let file = |name: &str| look.text(&format!("sys/devices/system/cpu/cpufreq/policy{policy}/{name}")).map(str::trim);
    let in_hardware = matches!(file("scaling_driver"), Some("intel_pstate" | "amd-pstate-epp"));
    let prefers_speed = matches!(file("energy_performance_preference"), Some("performance"));
    if in_hardware && prefers_speed {
        return None;
    }
    at.exactly("performance")
}

pub const RULES: &[Rule] = &[
    Rule {
        id: "cpu.governor",
        checks: "the frequency governor is `performance`",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[
            Text("sys/devices/system/cpu/cpufreq/policy*/scaling_driver"),
            Text("sys/devices/system/cpu/cpufreq/policy*/energy_performance_preference"),
        ],
        why: "a governor that follows load raises the frequency only after a core was busy, and launching kernels is short bursts",
        cost: "launches and data loading at a fraction of the clock, different from core to core",
        source: "tuned profiles throughput-performance and accelerator-performance; Linux Documentation/admin-guide/pm/cpufreq",
        test: Test::Knob(Knob {
            path: "sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
            want: governor,
            keep: Keep::Tmpfiles,
            risk: FASTER,
        }),
    },
    Rule {
        id: "cpu.energy-preference",
        checks: "hardware that picks frequencies is told to prefer speed",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[],
        why: "with intel_pstate and amd-pstate the preference, not the governor's name, decides how slowly the clock rises",
        cost: "as with a governor that saves power",
        source: "Linux Documentation/admin-guide/pm/intel_pstate; tuned sets energy_performance_preference=performance",
        test: Test::Knob(Knob {
            path: "sys/devices/system/cpu/cpufreq/policy*/energy_performance_preference",
            want: |_, at| if at.now() == "balance_performance" { None } else { at.exactly("performance") },
            keep: Keep::Tmpfiles,
            risk: FASTER,
        }),
    },
    Rule {
        id: "cpu.frequency-cut",
        checks: "no CPU is held below its highest frequency",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("sys/devices/system/cpu/cpufreq/policy*/cpuinfo_max_freq")],
        why: "somebody, or a power limit, lowered the highest frequency that may be chosen",
        cost: "the cut, in per cent, off everything the processor does",
        source: CPUFREQ,
        test: Test::Knob(Knob {
            path: "sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq",
            want: |look, at| {
                let most: u64 = look.value(&format!("sys/devices/system/cpu/cpufreq/policy{}/cpuinfo_max_freq", at.parts.first()?))?;
                // Drivers round; a tenth is a decision.
                (at.number()? < most / 10 * 9).then(|| most.to_string())
            },
            keep: Keep::Tmpfiles,
            risk: "the cut may have been made for power or cooling",
        }),
    },
    Rule {
        id: "cpu.boost-off",
        checks: "turbo is not switched off",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[],
        why: "single threads that feed accelerators gain most from turbo",
        cost: "a fifth to a third of a single thread's speed",
        source: CPUFREQ,
        test: Test::Knob(Knob {
            path: "sys/devices/system/cpu/cpufreq/boost",
            // Arm's boards ship with 0: what they call boost is beyond what the maker promises.
            want: |look, at| if look.facts.software.architecture == "x86_64" { at.exactly("1") } else { None },
            keep: Keep::Tmpfiles,
            risk: "the clock varies more from run to run",
        }),
    },
    Rule {
        id: "cpu.turbo-off",
        checks: "turbo is not switched off in intel_pstate",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[],
        why: "single threads that feed accelerators gain most from turbo",
        cost: "a fifth to a third of a single thread's speed",
        source: "Linux Documentation/admin-guide/pm/intel_pstate, no_turbo",
        test: Test::Knob(Knob {
            path: "sys/devices/system/cpu/intel_pstate/no_turbo",
            want: |_, at| at.exactly("0"),
            keep: Keep::Tmpfiles,
            risk: "the clock varies more from run to run",
        }),
    },
    Rule {
        id: "cpu.deep-idle",
        checks: "no idle state takes longer than 200 us to leave, or a job holds the latency",
        severity: Info,
        roles: ON_ACCELERATORS,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("sys/devices/system/cpu/cpu0/cpuidle/state*/latency"), Text("sys/devices/system/cpu/cpu0/cpuidle/state*/disable")],
        why: "a core that sleeps deeply answers an interrupt of a card or a network port that much later",
        cost: "the time to wake up on each message that finds the core asleep; it matters to small messages only",
        source: "tuned accelerator-performance holds 99 us; Linux Documentation/power/pm_qos_interface, /dev/cpu_dma_latency",
        test: Test::Judge(|look| {
            let deep = look.settings("sys/devices/system/cpu/cpu0/cpuidle/state*/latency").into_iter().filter(|at| {
                let off = look.text(&at.path.replace("/latency", "/disable")).is_some_and(|text| text.trim() != "0");
                at.number().is_some_and(|microseconds| microseconds > 200) && !off
            });
            let Some(deepest) = deep.max_by_key(|at| at.number()) else { return vec![] };
            vec![
                Claim::new("idle states", format!("the deepest idle state takes {} us to leave", deepest.value))
                    .seen(deepest.path, deepest.value)
                    .hint("hold /dev/cpu_dma_latency open for the jobs that need it, not for the whole machine"),
            ]
        }),
    },
    Rule {
        id: "cpu.offline",
        checks: "all CPUs that are there are online",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[
            Text("sys/devices/system/cpu/offline"),
            Text("sys/devices/system/cpu/present"),
            Text("sys/devices/system/cpu/smt/control"),
        ],
        why: "an offline CPU does nothing, and its memory node's share of interrupts goes elsewhere",
        cost: "those CPUs",
        source: "Linux Documentation/core-api/cpu_hotplug",
        test: Test::Judge(offline),
    },
    Rule {
        id: "cpu.clock-source",
        checks: "time is read from the processor, not from a slow device",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[
            Text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            Text("sys/devices/system/clocksource/clocksource0/available_clocksource"),
        ],
        why: "hpet, acpi_pm and jiffies cannot be read in user space, so each look at the clock is a system call or worse",
        cost: "profilers, data loaders and network stacks that look at the clock slow down up to a hundredfold there",
        source: "Linux Documentation/virt/kvm/x86/timekeeping; meta gcm health_checks, check clocksource",
        test: Test::Judge(clock),
    },
    Rule {
        id: "cpu.throttled",
        checks: "processors did not have to slow down for heat",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Physical,
        scope: Scope::Hardware,
        reads: &[Text("sys/devices/system/cpu/cpu*/thermal_throttle/package_throttle_total_time_ms")],
        why: "the package was too hot since the machine was started: cooling, dust, or a power limit",
        cost: "one slow machine slows every step of a job that spans many",
        source: "Intel Software Developer's Manual 3B, 15.8; drivers/thermal/intel/therm_throt.c",
        test: Test::Judge(|look| {
            let path = "sys/devices/system/cpu/cpu*/thermal_throttle/package_throttle_total_time_ms";
            // A second in all is a burst at start-up; more is a habit.
            let hot: Vec<_> = look.settings(path).into_iter().filter(|at| at.number().is_some_and(|ms| ms > 1000)).collect();
            let Some(worst) = hot.iter().max_by_key(|at| at.number()) else { return vec![] };
            vec![
                Claim::new("processor", format!("throttled for {} s since the start", worst.number().unwrap_or(0) / 1000))
                    .wanted("no throttling")
                    .seen(worst.path, worst.value)
                    .hint("look at inlet temperature, fans and the power limit of the board"),
            ]
        }),
    },
    Rule {
        id: "cpu.vulnerable",
        checks: "known faults of the processor are mitigated",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("sys/devices/system/cpu/vulnerabilities/*")],
        why: "jobs of several people share this processor, and the kernel says that it leaks between them",
        cost: "one person's job may read another's memory",
        source: "Linux Documentation/admin-guide/hw-vuln",
        test: Test::Judge(|look| {
            let open: Vec<_> = look
                .settings("sys/devices/system/cpu/vulnerabilities/*")
                .into_iter()
                .filter(|at| at.value.starts_with("Vulnerable"))
                .collect();
            let names: Vec<&str> = open.iter().filter_map(|at| at.parts.first().copied()).collect();
            if names.is_empty() {
                return vec![];
            }
            let claim = Claim::new("processor", format!("open to {}", names.join(", "))).wanted("mitigated");
            let claim = open.iter().fold(claim, |claim, at| claim.seen(at.path, at.value));
            vec![match look.parameter("mitigations") {
                Some("off") => claim
                    .drop_parameter("mitigations=off")
                    .hint("take `mitigations=off` from the kernel command line, if people share the machine"),
                _ => claim.hint("install newer microcode and kernel packages, then reboot"),
            }]
        }),
    },
    Rule {
        id: "cpu.mitigations",
        checks: "which mitigations are on is known",
        severity: Info,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("sys/devices/system/cpu/vulnerabilities/*")],
        why: "mitigations make system calls and switches between processes slower; that is the price of sharing a machine",
        cost: "per cents of system-call-heavy work; nothing of what runs on accelerators",
        source: "Linux Documentation/admin-guide/hw-vuln",
        test: Test::Judge(|look| {
            let on: Vec<_> = look
                .settings("sys/devices/system/cpu/vulnerabilities/*")
                .into_iter()
                .filter(|at| at.value.starts_with("Mitigation"))
                .collect();
            let names: Vec<&str> = on.iter().filter_map(|at| at.parts.first().copied()).collect();
            if names.is_empty() {
                return vec![];
            }
            let claim = Claim::new("processor", format!("mitigated: {}", names.join(", "))).hint("nothing, where people share the machine");
            vec![on.iter().fold(claim, |claim, at| claim.seen(at.path, at.value))]
        }),
    },
];

fn offline(look: &Look) -> Vec<Claim> {
    let set = |path: &str| look.value::<machine::CpuSet>(path).unwrap_or_default();
    let off = set("sys/devices/system/cpu/offline").intersection(&set("sys/devices/system/cpu/present"));
    // Threads that were switched off on purpose are no loss of cores.
    let smt_off = look.text("sys/devices/system/cpu/smt/control").is_some_and(|text| matches!(text.trim(), "off" | "forceoff"));
    let Some(first) = off.first().filter(|_| !smt_off) else { return vec![] };
    let claim = Claim::new("CPUs", format!("CPUs {off} are offline"))
        .wanted("online")
        .seen("sys/devices/system/cpu/offline", &off)
        .command(format!("echo 1 > /sys/devices/system/cpu/cpu{first}/online"));
    vec![if off.len() > 1 { claim.hint("each of them has a file `online`") } else { claim }]
}

fn clock(look: &Look) -> Vec<Claim> {
    let folder = "sys/devices/system/clocksource/clocksource0";
    let current = format!("{folder}/current_clocksource");
    let Some(now) = look.text(&current).map(str::trim) else { return vec![] };
    if !matches!(now, "hpet" | "acpi_pm" | "jiffies" | "pit" | "refined-jiffies") {
        return vec![];
    }
    let offered = look.text(&format!("{folder}/available_clocksource")).unwrap_or_default();
    let claim = Claim::new("clock", format!("the clock source is {now}"))
        .seen(&current, now)
        .seen(&format!("{folder}/available_clocksource"), offered);
    let better = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
    vec![match better.into_iter().find(|name| offered.split_whitespace().any(|word| word == *name)) {
        Some(better) => claim.wanted(better).command(format!("echo {better} > /{current}")),
        None => claim
            .wanted("tsc")
            .hint("the kernel found the processor's own counter unstable: look for `tsc` in its log, and at the firmware"),
    }]
}
