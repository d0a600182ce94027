//! Whose jobs are whose: two people and root on one node.

use super::bench_node::{ASHLAR, TestNode, stderr, stdout};
use crate::root_or_skip;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// `nobody` is on every Debian.
const NOBODY: u32 = 65534;

/// The program where everybody can reach it: a checkout may lie in a folder that others may not pass.
fn public_program(beside: &Path) -> PathBuf {
    let copy = beside.with_file_name("ashlar");
    if !copy.exists() {
        std::fs::copy(ASHLAR, &copy).unwrap();
    }
    copy
}

fn public_command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(public_program(state));
    command.arg("--state").arg(state).args(arguments).stdin(Stdio::null());
    command
}

fn as_nobody(node: &TestNode, arguments: &[&str]) -> Output {
    public_command(&node.state, arguments).uid(NOBODY).gid(NOBODY).current_dir("/").env("HOME", "/nonexistent").output().unwrap()
}

#[test]
fn a_person_sees_and_ends_only_what_is_theirs() {
    root_or_skip!();
    let node = TestNode::start();
    let roots = node.detach(&["--cpus", "0.1", "--memory", "32MiB", "--name", "roots-secret"], "echo up; sleep 1000");
    node.wait_for_line(&roots, "up");
    let listing = as_nobody(&node, &["jobs", "--json"]);
    assert_eq!(stdout(&listing).trim(), "[]", "{}", stderr(&listing));
    for verb in ["show", "logs", "why", "cancel"] {
        let output = as_nobody(&node, &[verb, &roots]);
        assert_eq!(output.status.code(), Some(1), "{verb}: {}{}", stdout(&output), stderr(&output));
        assert!(!stderr(&output).contains("roots-secret"));
    }
    assert!(!stdout(&as_nobody(&node, &["machine", "--json"])).contains("roots-secret"));
    assert_eq!(node.state_of(&roots), "running");
    // Root sees everybody's.
    let theirs = as_nobody(&node, &["run", "--detach", "--cpus", "0.1", "--memory", "32MiB", "--", "/usr/bin/id", "-u"]);
    assert!(theirs.status.success(), "{}", stderr(&theirs));
    let id = stdout(&theirs).trim().to_string();
    assert_eq!(node.wait(&id), 0);
    assert_eq!(node.ok(&["logs", &id]), NOBODY.to_string());
}

#[test]
fn a_job_has_the_identity_and_powers_of_its_submitter() {
    root_or_skip!();
    let node = TestNode::start();
    let script = "grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|CapEff|CapBnd):' /proc/self/status; ls /dev; ls -d /tmp";
    let output = as_nobody(&node, &["run", "--memory", "64MiB", "--", "/bin/sh", "-c", script]);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", stderr(&output));
    assert!(text.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}")), "{text}");
    assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2") && text.contains("CapEff:\t0000000000000000"), "{text}");
    assert!(!text.contains("sda") && !text.contains("vda") && !text.contains("kmsg") && !text.contains("\nmem\n"), "{text}");
}

#[test]
fn the_state_is_out_of_sight_of_jobs() {
    root_or_skip!();
    let node = TestNode::start();
    let line = format!("ls -A {} 2> /dev/null | wc -l", node.state.display());
    let output = node.ashlar(&["run", "--memory", "64MiB", "--", "/bin/sh", "-c", &line]);
    assert_eq!(stdout(&output).trim(), "0", "{}", stderr(&output));
}

#[test]
fn without_root_it_works_with_fewer_marks() {
    root_or_skip!();
    let home = tempfile::tempdir().unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let state = home.path().join("state");
    let unprivileged = |arguments: &[&str]| {
        let mut command = public_command(&state, arguments);
        command.uid(NOBODY).gid(NOBODY).current_dir("/").env("HOME", home.path());
        command
    };
    let mut daemon = unprivileged(&["up"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    use std::io::BufRead;
    std::io::BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = unprivileged(&["run", "--memory", "64MiB", "--", "/usr/bin/id", "-u"]).output().unwrap();
    let show = unprivileged(&["show", "1", "--json"]).output().unwrap();
    super::bench_node::signal(daemon.id(), rustix::process::Signal::TERM);
    let _ = daemon.wait();
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let show: serde_json::Value = serde_json::from_slice(&show.stdout).unwrap();
    let isolation = &show["runs"][0]["isolation"];
    assert_ne!(isolation["level"], "container");
    assert!(isolation["marks"].as_array().unwrap().iter().any(|mark| mark["enforced"] == "no"), "{isolation}");
}
