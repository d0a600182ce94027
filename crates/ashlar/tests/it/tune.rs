//! `ashlar tune` and `ashlar doctor --against` from outside.

use super::bench_node::{ASHLAR, ashlar, stderr, stdout};
use super::tidy::workspace;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const MAPS: &str = "proc/sys/vm/max_map_count";
const OVERCOMMIT: &str = "proc/sys/vm/overcommit_memory";
const DEFRAG: &str = "sys/kernel/mm/transparent_hugepage/defrag";
const AT_BOOT: [&str; 2] = ["etc/sysctl.d/90-ashlar.conf", "etc/tmpfiles.d/90-ashlar.conf"];

/// A folder that looks like a machine on which three values are wrong for training.
fn machine(dir: &Path) {
    for (path, text) in [
        ("proc/cpuinfo", "processor : 0\n"),
        ("proc/meminfo", "MemTotal: 4194304 kB\n"),
        ("proc/sys/kernel/osrelease", "6.8.0-40-generic\n"),
        ("sys/devices/system/cpu/online", "0\n"),
        (MAPS, "65530\n"),
        (OVERCOMMIT, "2\n"),
        (DEFRAG, "[always] defer defer+madvise madvise never\n"),
        ("etc/sysctl.d/10-local.conf", "vm.overcommit_memory = 2\n"),
    ] {
        let at = dir.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }
}

/// Every file below a folder, but for those that a cut-off write left beside.
fn picture(dir: &Path) -> BTreeMap<String, String> {
    let (mut folders, mut files) = (vec![dir.to_owned()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with('.') {
                files.insert(path.strip_prefix(dir).unwrap().display().to_string(), fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

struct Bench {
    state: tempfile::TempDir,
    tree: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { state: tempfile::tempdir().unwrap(), tree: tempfile::tempdir().unwrap() };
        machine(bench.tree.path());
        bench
    }

    fn tune(&self, words: &[&str]) -> Output {
        ashlar(self.state.path(), &[&["tune"], words, &["--root", self.tree.path().to_str().unwrap()]].concat())
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.tree.path().join(path)).unwrap_or_default()
    }
}

#[test]
fn a_plan_shows_every_write_and_who_else_writes_it() {
    let bench = Bench::new();
    let output = bench.tune(&["plan", "--role", "train"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    insta::assert_snapshot!(stdout(&output));
    let before = picture(bench.tree.path());
    assert_eq!(bench.tune(&["apply", "--role", "train", "--dry-run"]).status.code(), Some(0));
    assert_eq!(picture(bench.tree.path()), before);
    assert!(!bench.state.path().join("tune").exists(), "a dry run leaves nothing");
}

#[test]
fn what_is_applied_is_told_and_taken_back() {
    let bench = Bench::new();
    let before = picture(bench.tree.path());
    let output = bench.tune(&["apply", "--role", "train", "--boot"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!((bench.text(MAPS).trim(), bench.text(OVERCOMMIT).trim()), ("262144", "0"));
    assert_eq!(bench.text(DEFRAG), "always defer [defer+madvise] madvise never\n");
    assert!(bench.text(AT_BOOT[0]).contains("vm.max_map_count = 262144\nvm.overcommit_memory = 0\n"), "{}", bench.text(AT_BOOT[0]));
    assert!(bench.text(AT_BOOT[1]).contains("w /sys/kernel/mm/transparent_hugepage/defrag - - - - defer+madvise\n"));
    assert_eq!(bench.tune(&["status"]).status.code(), Some(0));
    // Nothing is left to do.
    assert_eq!(bench.tune(&["plan", "--role", "train"]).status.code(), Some(0));
    assert!(stderr(&bench.tune(&["apply", "--role", "train", "--boot"])).contains("nothing to write"));
    // Somebody else changes one.
    fs::write(bench.tree.path().join(MAPS), "70000\n").unwrap();
    let status = bench.tune(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(stdout(&status).contains("/proc/sys/vm/max_map_count: 70000, was set to 262144"), "{}", stdout(&status));
    fs::write(bench.tree.path().join(MAPS), "262144\n").unwrap();
    assert!(bench.tune(&["undo"]).status.success());
    assert_eq!(picture(bench.tree.path()), before);
    assert_eq!(bench.tune(&["undo"]).status.code(), Some(2));
}

#[test]
fn one_rule_alone_and_wrong_names() {
    let bench = Bench::new();
    assert!(bench.tune(&["apply", "--role", "train", "--only", "memory.map-count"]).status.success());
    assert_eq!((bench.text(MAPS).trim(), bench.text(OVERCOMMIT).trim()), ("262144", "2"));
    // What was written before is kept for the next start too, when that is asked for.
    assert!(bench.tune(&["apply", "--role", "train", "--except", "memory.overcommit", "--boot"]).status.success());
    assert!(bench.text(AT_BOOT[0]).contains("vm.max_map_count = 262144") && !bench.text(AT_BOOT[0]).contains("overcommit"));
    for (words, said) in [
        (&["apply", "--only", "memory.nothing"][..], "there is no rule"),
        (&["undo", "77"], "there is no transaction 77"),
        (&["plan", "--only", "a", "--except", "b"], "cannot be used with"),
    ] {
        let output = bench.tune(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains(said) && stdout(&output).is_empty(), "{words:?}: {}", stderr(&output));
    }
}

/// The program is killed for real at every write, rename and sync that it makes; whatever comes next finds the machine as it was
/// or as it was planned.
#[test]
fn killed_at_any_system_call_nothing_stays_between() {
    let planned = {
        let bench = Bench::new();
        bench.tune(&["apply", "--role", "train", "--boot"]);
        picture(bench.tree.path())
    };
    let mut outcomes = BTreeMap::new();
    for at in 1..40 {
        let bench = Bench::new();
        let before = picture(bench.tree.path());
        let inject = format!("inject=write,fsync,renameat:signal=SIGKILL:when={at}");
        let words = ["--state", bench.state.path().to_str().unwrap(), "tune", "apply", "--role", "train", "--boot", "--root"];
        let killed = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=write,fsync,renameat", "-e", &inject, ASHLAR])
            .args(words)
            .arg(bench.tree.path())
            .output();
        let Ok(killed) = killed else { return eprintln!("skipped: no strace to kill with (Debian package strace)") };
        if at == 1 && killed.status.success() {
            return eprintln!("skipped: strace may not trace here");
        }
        let status = bench.tune(&["status"]);
        assert!(status.status.code() == Some(0), "{at}: {}", stderr(&status));
        let after = picture(bench.tree.path());
        let outcome = if after == before { "before" } else { "planned" };
        assert!(after == before || after == planned, "killed at {at}: between");
        *outcomes.entry(outcome).or_insert(0) += 1;
        if killed.status.success() {
            break;
        }
    }
    assert!(outcomes.get("before").is_some_and(|count| *count > 10) && outcomes.contains_key("planned"), "{outcomes:?}");
}

/// A journal of a tree is of that tree: nothing of it is ever written to this machine.
#[test]
fn what_was_cut_off_in_a_tree_stays_in_the_tree() {
    let bench = Bench::new();
    assert!(bench.tune(&["apply", "--role", "train", "--only", "memory.map-count"]).status.success());
    let here = ashlar(bench.state.path(), &["tune", "status"]);
    assert_eq!(stdout(&here), "nothing was written yet\n");
    assert_eq!(ashlar(bench.state.path(), &["tune", "undo"]).status.code(), Some(2));
    assert!(stdout(&bench.tune(&["status"])).contains("max_map_count: 262144"));
}

/// Profiles of others, written anew from what is told of them. `against` reads them as tuned would.
#[test]
fn profiles_of_others_are_judged_line_by_line() {
    let bench = Bench::new();
    let profile = |name: &str| workspace().join("testdata/profiles").join(name).display().to_string();
    let root = bench.tree.path().to_str().unwrap();
    let against = |name: &str, more: &[&str]| {
        let words = ["doctor", "--role", "train", "--root", root, "--against", name];
        ashlar(bench.state.path(), &[&words[..], more].concat())
    };
    let output = against(&profile("nvidia-inference"), &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let judged: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let dead: Vec<&str> = judged["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["verdict"] == "dead")
        .map(|line| line["key"].as_str().unwrap())
        .collect();
    assert_eq!(
        dead,
        [
            "[scheduler] sched_min_granularity_ns",
            "[scheduler] sched_wakeup_granularity_ns",
            "kernel.sched_latency_ns",
            "kernel.sched_min_granularity_ns",
            "kernel.sched_wakeup_granularity_ns",
            "kernel.sched_migration_cost_ns",
        ]
    );
    let text = stdout(&against(&profile("network-latency/tuned.conf"), &[]));
    assert!(text.contains("1 would change") || text.contains("not known here"), "{text}");
    for (name, said) in [("nothing-of-that-name", "no profile"), ("/etc/passwd", "neither"), ("/nonexistent/x.conf", "cannot read")] {
        let output = against(name, &[]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(stderr(&output).contains(said), "{name}: {}", stderr(&output));
    }
}
