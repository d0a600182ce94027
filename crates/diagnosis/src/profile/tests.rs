use super::*;
use machine::{Bytes, CpuSet, NumaNode};

/// From the facts of our reference: the scheduler's knobs in tuned's profile for accelerators, and in the inference profile of
/// NVIDIA's node tuning. Written by us.
const ACCELERATOR: &str = "[cpu]\ngovernor=performance\nenergy_perf_bias=performance\nmin_perf_pct=100\nforce_latency=99\n\n[disk]\nreadahead=>4096\n\n\
    [sysctl]\nvm.swappiness=10\nvm.dirty_ratio=40\n\n[scheduler]\nsched_min_granularity_ns = 10000000\nsched_wakeup_granularity_ns = 15000000\n";
const INFERENCE: &str = "[main]\ninclude=accelerator\n\n[sysctl]\nvm.swappiness=1\nkernel.sched_latency_ns=1000000\nkernel.sched_min_granularity_ns=100000\n\
    kernel.sched_migration_cost_ns=5000000\nkernel.hung_task_timeout_secs=600\nvm.panic_on_oom=1\nnet.ipv4.tcp_low_latency=1\nvm.nr_hugepages=8192\n";

fn library(name: &str) -> Option<String> {
    match name {
        "accelerator" => Some(ACCELERATOR.into()),
        "inference" => Some(INFERENCE.into()),
        _ => None,
    }
}

fn facts(kernel: &str) -> NodeFacts {
    let mut facts = NodeFacts::default();
    let node = |id: u32| NumaNode { id, cpus: [id].into_iter().collect::<CpuSet>(), memory: Bytes(256 << 30), distances: vec![] };
    facts.machine.facts.kernel = kernel.into();
    facts.machine.memory = Bytes(512 << 30);
    facts.machine.numa = vec![node(0), node(1)];
    facts.readings.whole = true;
    for (path, text) in [
        ("proc/sys/vm/swappiness", "60"),
        ("proc/sys/vm/dirty_ratio", "3"),
        ("proc/sys/vm/panic_on_oom", "0"),
        ("proc/sys/vm/nr_hugepages", "8192"),
        ("proc/sys/kernel/hung_task_timeout_secs", "120"),
        ("proc/sys/net/ipv4/tcp_low_latency", "0"),
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "performance"),
        ("sys/block/nvme0n1/queue/read_ahead_kb", "128"),
        ("sys/kernel/debug/sched/features", ""),
        ("sys/kernel/debug/sched/base_slice_ns", "3000000"),
        ("sys/kernel/debug/sched/migration_cost_ns", "500000"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
    ] {
        facts.readings.insert(path, text);
    }
    facts
}

fn judged(facts: &NodeFacts, role: Role, profile: &str) -> Vec<Judged> {
    let lines: Vec<Line> = tuned::lines(profile, &library).into_iter().map(Line::from).collect();
    judge(facts, role, &lines)
}

fn of(all: &[Judged], key: &str) -> Verdict {
    all.iter().rev().find(|one| one.line.key == key).unwrap_or_else(|| panic!("no {key}")).verdict.clone()
}

/// What others get wrong: knobs that went away are still in their profiles, and nobody says so.
#[test]
fn every_dead_scheduler_knob_is_flagged() {
    for kernel in ["6.8.0-40-generic", "6.12.0-55.el10", "6.18.44"] {
        let all = judged(&facts(kernel), Role::Serve, "inference");
        for key in [
            "[scheduler] sched_min_granularity_ns",
            "[scheduler] sched_wakeup_granularity_ns",
            "kernel.sched_latency_ns",
            "kernel.sched_min_granularity_ns",
            "kernel.sched_migration_cost_ns",
        ] {
            assert!(matches!(of(&all, key), Verdict::Dead { .. }), "{kernel} {key}: {:?}", of(&all, key));
        }
        let Verdict::Dead { why } = of(&all, "[scheduler] sched_min_granularity_ns") else { unreachable!() };
        assert!(why.contains("EEVDF") && why.contains("/proc/sys/kernel/sched_min_granularity_ns"), "{why}");
    }
}

/// In a piece of a machine the version alone decides, and it decides only what is known.
#[test]
fn without_the_machine_the_version_of_its_kernel_decides() {
    let dead = |kernel: &str| {
        let mut facts = NodeFacts::default();
        facts.machine.facts.kernel = kernel.into();
        matches!(of(&judged(&facts, Role::Serve, "inference"), "kernel.sched_latency_ns"), Verdict::Dead { .. })
    };
    assert_eq!([dead("5.12.0"), dead("5.13.0"), dead("6.1.0-25-amd64"), dead("")], [false, true, true, false]);
    // From 5.13 to 6.5 tuned writes the file of debugfs.
    let mut facts = facts("6.1.0-25-amd64");
    facts.readings.insert("sys/kernel/debug/sched/min_granularity_ns", "3000000");
    let all = judged(&facts, Role::Serve, "inference");
    assert_eq!(of(&all, "[scheduler] sched_min_granularity_ns"), Verdict::Changes { now: "3000000".into() });
}

#[test]
fn without_debugfs_nothing_follows_from_a_missing_file() {
    let mut facts = facts("6.1.0-25-amd64");
    facts.readings.forget("sys/kernel/debug/sched/features");
    let all = judged(&facts, Role::Serve, "inference");
    assert!(matches!(of(&all, "[scheduler] sched_min_granularity_ns"), Verdict::Unknown { .. }));
}

#[test]
fn lines_that_change_nothing_and_lines_against_the_role_are_told() {
    let facts = facts("6.8.0");
    let all = judged(&facts, Role::Serve, "inference");
    assert_eq!(of(&all, "vm.swappiness"), Verdict::NoEffect { why: "this machine has no swap".into() });
    assert_eq!(of(&all, "vm.nr_hugepages"), Verdict::NoEffect { why: "it is 8192 already".into() });
    assert!(matches!(of(&all, "net.ipv4.tcp_low_latency"), Verdict::NoEffect { .. }));
    assert_eq!(of(&all, "[cpu] governor"), Verdict::NoEffect { why: "it is performance already".into() });
    assert_eq!(of(&all, "[disk] readahead"), Verdict::Changes { now: "128".into() });
    let conflict = |key: &str| match of(&all, key) {
        Verdict::Conflict { rule, wanted, .. } => (rule, wanted),
        other => panic!("{key}: {other:?}"),
    };
    assert_eq!(conflict("kernel.hung_task_timeout_secs"), ("scheduler.hung-task-off", "120".into()));
    assert_eq!(conflict("vm.panic_on_oom"), ("memory.panic-on-oom", "0".into()));
    // 40 per cent of 512 GiB are 200 GiB of unwritten data.
    assert_eq!(conflict("vm.dirty_ratio"), ("memory.dirty-limit", "3".into()));
    // A machine that runs no work has no such demand.
    assert!(matches!(of(&judged(&facts, Role::Control, "inference"), "vm.dirty_ratio"), Verdict::Changes { .. }));
    // The key is not one the kernel has a file for by itself.
    assert!(!all.iter().any(|one| one.line.key == "[cpu] force_latency"));
}

#[test]
fn a_choice_is_judged_as_a_choice_and_a_later_line_counts() {
    let text = "[vm]\ntransparent_hugepages=never\n[sysctl]\nvm.dirty_ratio=10\nvm.dirty_ratio=3\n";
    let lines: Vec<Line> = tuned::parse("own", text).into_iter().map(Line::from).collect();
    let all = judge(&facts("6.8.0"), Role::Train, &lines);
    assert_eq!(
        all[0].verdict,
        Verdict::Conflict {
            rule: "memory.thp-off",
            wanted: "madvise".into(),
            why: "with `never` even allocators that ask for huge pages get small ones",
        }
    );
    assert_eq!(all[1].verdict, Verdict::Overridden { file: "own".into(), number: 5 });
    assert_eq!(all[2].verdict, Verdict::NoEffect { why: "it is 3 already".into() });
    assert!(all[0].asks() && all[1].asks() && !all[2].asks());
}

#[test]
fn files_of_sysctl_are_judged_the_same_way() {
    let text = "# from elsewhere\nkernel.sched_wakeup_granularity_ns = 15000000\nvm.dirty_ratio = 2\n";
    let lines: Vec<Line> = sysctl::parse(text).into_iter().map(|line| Line::from(("99-x.conf", line))).collect();
    let all = judge(&facts("6.8.0"), Role::Train, &lines);
    assert!(matches!(&all[0].verdict, Verdict::Dead { why } if why.contains("5.13")));
    assert_eq!(all[1].verdict, Verdict::Changes { now: "3".into() });
    assert_eq!((all[0].line.number, all[0].line.file.as_str()), (2, "99-x.conf"));
}
