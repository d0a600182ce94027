//! `ashlar doctor` from outside: this machine, captured ones, wrong input, and the page of all rules.

use super::bench_node::{ASHLAR, ashlar, stderr, stdout};
use super::tidy::workspace;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn doctor(arguments: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    ashlar(state.path(), &[&["doctor"], arguments].concat())
}

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let at = dir.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }
    dir
}

/// Two CPUs, a frequency that saves power, and an array that lacks a disk.
fn machine() -> tempfile::TempDir {
    tree(&[
        ("proc/cpuinfo", "processor : 0\nmodel name : Some CPU\n\nprocessor : 1\nmodel name : Some CPU\n"),
        ("proc/meminfo", "MemTotal: 4194304 kB\n"),
        ("proc/sys/kernel/hostname", "box7\n"),
        ("proc/sys/kernel/osrelease", "6.8.0-40-generic\n"),
        ("proc/sys/vm/max_map_count", "65530\n"),
        ("sys/devices/system/cpu/online", "0-1\n"),
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n"),
        ("sys/devices/system/cpu/cpufreq/policy1/scaling_governor", "powersave\n"),
        ("sys/block/md0/md/degraded", "1\n"),
    ])
}

#[test]
fn a_captured_machine_is_judged_by_its_role() {
    let machine = machine();
    let root = machine.path().to_str().unwrap();
    let output = doctor(&["--root", root, "--role", "train"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    insta::assert_snapshot!(stdout(&output));
    // A machine that runs no work needs neither.
    let brief = doctor(&["--root", root, "--role", "control", "--brief"]);
    assert!(stdout(&brief).contains("storage.degraded") && !stdout(&brief).contains("cpu.governor"), "{}", stdout(&brief));
    let json: serde_json::Value = serde_json::from_str(&stdout(&doctor(&["--root", root, "--role", "train", "--json"]))).unwrap();
    assert_eq!((&json["machine"], &json["role"]), (&"box7".into(), &"train".into()));
    let finding = &json["findings"][0];
    assert_eq!((&finding["id"], &finding["severity"]), (&"storage.degraded".into(), &"error".into()));
    assert!(json["unknown"].as_array().unwrap().len() > 20 && finding["source"].is_string());
}

#[test]
fn a_machine_with_nothing_wrong_is_code_0() {
    let clean =
        tree(&[("proc/cpuinfo", "processor : 0\n"), ("proc/meminfo", "MemTotal: 1 kB\n"), ("sys/devices/system/cpu/online", "0\n")]);
    let output = doctor(&["--root", clean.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn what_cannot_be_looked_at_is_code_2() {
    for (arguments, word) in [
        (&["--root", "/nonexistent"][..], "sys/ and proc/"),
        (&["--root", "/etc/hostname"], "hint"),
        (&["--role", "gaming"], "possible values"),
        (&["--rules", "--root", "/"], "cannot be used with"),
    ] {
        let output = doctor(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(word) && stdout(&output).is_empty(), "{arguments:?}: {}", stderr(&output));
    }
}

/// Looking at this machine opens no file for writing and starts no program.
#[test]
fn the_audit_of_this_machine_writes_nothing() {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let calls = "trace=open,openat,openat2,creat,execve,rename,unlink,mkdir,socket,ioctl";
    let traced = Command::new("strace").args(["-f", "-e", calls, "-o"]).arg(trace.path()).args([ASHLAR, "doctor", "--json"]).output();
    let Ok(output) = traced else { return eprintln!("skipped: no strace to watch with (Debian package strace)") };
    if output.status.code().is_none_or(|code| code >= 2) {
        return eprintln!("skipped: strace may not trace here: {}", stderr(&output));
    }
    let text = fs::read_to_string(trace.path()).unwrap();
    assert!(text.contains("max_map_count"), "it looked");
    let wrong = ["O_WRONLY", "O_RDWR", "O_CREAT", "rename(", "unlink(", "mkdir(", "socket(", "creat("];
    let bad: Vec<&str> = text.lines().filter(|line| wrong.iter().any(|word| line.contains(word))).collect();
    // The runtime of the language itself opens the null device at start when a standard stream is closed.
    let bad: Vec<&&str> = bad.iter().filter(|line| !line.contains("/dev/null")).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(text.matches("execve(").count(), 1, "only itself");
}

/// What rules about files say of this machine, they say of its capture too.
#[test]
fn a_capture_of_this_machine_is_judged_as_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("box.tar.gz");
    let file = file.to_str().unwrap();
    let output = ashlar(dir.path(), &["machine", "capture", file, "--no-tools"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let ids = |more: &[&str]| {
        let output = doctor(&[&["--role", "serve", "--json"], more].concat());
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        let list = |key: &str| json[key].as_array().unwrap().clone();
        let findings: Vec<String> = list("findings").iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (findings, list("checked").len())
    };
    let ((here, looked), (there, also)) = (ids(&[]), ids(&["--root", file]));
    // Processes and their limits are not in a capture, and what is missing in it may be there.
    let of_files =
        |all: &[String]| all.iter().filter(|id| !id.starts_with("limits.") && !id.starts_with("kernel.")).cloned().collect::<Vec<_>>();
    assert_eq!(of_files(&there), of_files(&here));
    assert!(also + looked / 4 >= looked, "{also} rules look at the capture and {looked} at the machine");
}

/// `docs/reference/rules.md` is made from the rules. `ASHLAR_UPDATE_DOCS=1` writes it anew.
#[test]
fn the_page_of_rules_is_made_from_the_rules() {
    let rules: serde_json::Value = serde_json::from_str(&stdout(&doctor(&["--rules", "--json"]))).unwrap();
    let page = page(rules.as_array().unwrap());
    let path = workspace().join("docs/reference/rules.md");
    if std::env::var_os("ASHLAR_UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page, "run the test with ASHLAR_UPDATE_DOCS=1");
}

fn page(rules: &[serde_json::Value]) -> String {
    let text = |rule: &serde_json::Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    let list = |rule: &serde_json::Value, key: &str| {
        rule[key].as_array().into_iter().flatten().filter_map(|one| one.as_str()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut page = format!(
        "# Rules of `ashlar doctor`\n\nMade from the rules themselves: {} of them. `ashlar doctor --rules` prints the list; the guide is\n[doctor](../guides/doctor.md). A rule marked *tuned* is one whose value `ashlar tune` can write.\n",
        rules.len()
    );
    let mut area = String::new();
    for rule in rules {
        let id = text(rule, "id");
        let own = id.split('.').next().unwrap_or_default().to_owned();
        if own != area {
            page += &format!("\n## {own}\n");
            area = own;
        }
        let tuned = if rule["knob"] == true { ", *tuned*" } else { "" };
        page += &format!("\n### {id}\n\n{}: {}{tuned}.\n\n", text(rule, "severity"), text(rule, "checks"));
        page += &format!(
            "- Roles: {}. Hardware: {}. Changed by: {}.\n",
            list(rule, "roles").join(", "),
            text(rule, "hardware"),
            text(rule, "changed_by")
        );
        let reads = list(rule, "reads");
        if !reads.is_empty() {
            page += &format!("- Reads: {}.\n", reads.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", "));
        }
        page += &format!("- Why: {}.\n- Costs: {}.\n- Source: {}.\n", text(rule, "why"), text(rule, "cost"), text(rule, "source"));
    }
    page
}

/// Captured machines with what is said of each in the role of training. Every one of these was read and found right; a
/// new rule that speaks up here has to be as sure.
#[test]
fn captured_machines_get_no_false_alarm() {
    let data = std::env::var_os("ASHLAR_TEST_DATA").map_or_else(|| workspace().join("../shared/data"), Into::into);
    let dumps = Path::new(&data).join("hwloc-dumps");
    if !dumps.exists() {
        return eprintln!("skipped: no captured machines at {}", dumps.display());
    }
    let mut said = String::new();
    for archive in ARCHIVES {
        let output = doctor(&["--role", "train", "--json", "--root", dumps.join(archive).to_str().unwrap()]);
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{archive}: {}", stderr(&output)));
        said += &format!("{archive}\n");
        for finding in json["findings"].as_array().unwrap() {
            said += &format!(
                "    {} {}: {}\n",
                finding["severity"].as_str().unwrap(),
                finding["id"].as_str().unwrap(),
                finding["title"].as_str().unwrap()
            );
        }
    }
    insta::assert_snapshot!(said);
}

const ARCHIVES: [&str; 14] = [
    "hwloc/16amd64-4n4c-cgroup-distance-merge.tar.bz2",
    "hwloc/20em64t-hybrid-1p6c2t+2ca4co1t.tar.bz2",
    "hwloc/256ppc-8n8s4t.tar.bz2",
    "hwloc/32em64t-2n8c+dax+nvme+mic+dimms.tar.bz2",
    "hwloc/32intel64-2p8co2t+8ve.tar.bz2",
    "hwloc/48amd64-4pa2n6c-sparse.tar.bz2",
    "hwloc/nvidia-dgx-gb10.tar.bz2",
    "hwloc/nvidiagpunumanodes.tar.bz2",
    "hwloc/offline-cpu0-node0.tar.bz2",
    "infiniband/gpud-sys-class-infiniband-h100.tar.gz",
    "kfd/topo-mi300-cpx.tar.gz",
    "procfs/procfs-fixtures-sys.tar.gz",
    "qemu-sysfs/k6.1-3node-hmat-cxlmem-vtd-passthrough.tar.gz",
    "qemu-sysfs/k6.12-3node-hmat-2tiers-nvme-on-node1-cxlroot.tar.gz",
];
