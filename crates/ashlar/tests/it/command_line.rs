//! What the command line prints, right and wrong input alike.

use super::bench_node::{ASHLAR, TestNode, ashlar, stderr, stdout};
use super::tidy::workspace;
use std::process::Command;

const COMMANDS: [&str; 29] = [
    "up",
    "run",
    "submit",
    "plan",
    "launch",
    "launch explain",
    "launch recipes",
    "jobs",
    "show",
    "logs",
    "why",
    "cancel",
    "wait",
    "machine",
    "machine capture",
    "machine paths",
    "devices",
    "doctor",
    "tune",
    "tune plan",
    "tune apply",
    "tune status",
    "tune undo",
    "queues",
    "quickstart",
    "token",
    "simulate",
    "schema",
    "completions",
];

/// `docs/reference/cli.md` is made from the help pages. `ASHLAR_UPDATE_DOCS=1` writes it anew.
#[test]
fn the_reference_page_is_the_help() {
    let help = |arguments: &[&str]| stdout(&Command::new(ASHLAR).args(arguments).env("COLUMNS", "100").output().unwrap());
    let mut page = format!("# Commands\n\nMade from the program's own help.\n\n```text\n{}```\n", help(&["--help"]));
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        page += &format!("\n## ashlar {command}\n\n```text\n{}```\n", help(&words));
    }
    let path = workspace().join("docs/reference/cli.md");
    if std::env::var_os("ASHLAR_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), page, "run the test with ASHLAR_UPDATE_DOCS=1");
}

#[test]
fn every_command_shows_examples_and_every_listing_has_json() {
    for command in COMMANDS {
        let text = stdout(&Command::new(ASHLAR).args(command.split(' ')).arg("--help").output().unwrap());
        assert!(text.contains("Examples:"), "{command}");
        let listing = ["submit", "plan", "jobs", "show", "why", "machine", "devices", "doctor", "queues", "simulate"].contains(&command);
        assert!(!listing || text.contains("--json"), "{command}");
    }
}

#[test]
fn completions_exist_for_three_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(ASHLAR).args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && stdout(&output).contains("quickstart"), "{shell}");
    }
}

#[test]
fn without_a_node_every_command_says_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["jobs"][..], &["queues"], &["show", "1"], &["cancel", "1"], &["wait", "1"], &["run", "--", "true"]] {
        let output = ashlar(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(stderr(&output).contains("ashlar up"), "{arguments:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn wrong_input_is_code_2_and_leaves_nothing() {
    let node = TestNode::start();
    let file = node.home.path().join("job.yaml");
    std::fs::write(&file, "name: x\ncomand: [true]\nmemory: 12\n").unwrap();
    let output = node.ashlar(&["submit", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("job.yaml:2:1") && text.contains("did you mean 'command'"), "{text}");
    assert!(text.contains("job.yaml:3:"), "all problems at once: {text}");
    for arguments in [
        &["submit", "/nonexistent.yaml"][..],
        &["show", "x1"],
        &["logs", "1.2.3"],
        &["run", "--memory", "12", "--", "true"],
        &["run", "--devices", "A100:lots", "--", "true"],
        &["run", "--launch", "torchrum", "--", "true"],
        &["run", "--env", "ASHLAR_NOT_SET_HERE", "--", "true"],
        &["jobs", "--in", "sleeping"],
        &["machine", "--root", "/nonexistent"],
        &["machine", "--root", "/etc/hostname"],
        &["machine", "capture", "/nonexistent/x.tar.gz"],
        &["machine", "capture", "/etc/hostname"],
        &["run"],
        &["frobnicate"],
    ] {
        let output = node.ashlar(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty(), "{arguments:?}");
    }
    assert_eq!(node.json(&["jobs", "--json"]).as_array().unwrap().len(), 0);
}

#[test]
fn unknown_jobs_are_code_1() {
    let node = TestNode::start();
    for verb in ["show", "logs", "why", "cancel", "wait"] {
        let output = node.ashlar(&[verb, "4711"]);
        assert_eq!(output.status.code(), Some(1), "{verb}: {}", stderr(&output));
        assert!(stderr(&output).contains("4711"), "{verb}: {}", stderr(&output));
    }
}

#[test]
fn the_unit_file_names_this_program() {
    let output = Command::new(ASHLAR).args(["up", "--print-unit"]).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains(ASHLAR) && text.contains("KillMode=process") && text.contains("Delegate=yes"), "{text}");
    assert!(text.contains(" up\n"), "{text}");
    let flags = ["up", "--print-unit", "--keep-finished", "500,90d", "--admin-group", "wheel", "--listen", "127.0.0.1:7443"];
    let text = stdout(&Command::new(ASHLAR).args(flags).output().unwrap());
    assert!(text.contains(" up --listen 127.0.0.1:7443 --admin-group wheel --keep-finished 90d,500\n"), "{text}");
    let wrong = Command::new(ASHLAR).args(["up", "--keep-finished", "soon"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("write 100000, 90d"), "{}", stderr(&wrong));
}

#[test]
fn the_schema_is_json_schema() {
    let output = Command::new(ASHLAR).arg("schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["ranks"].is_object() && schema["$schema"].as_str().unwrap().contains("2020-12"));
}

#[test]
fn a_captured_machine_can_be_looked_at_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("box.tar.gz");
    let file = file.to_str().unwrap();
    let output = ashlar(dir.path(), &["machine", "capture", file, "--no-tools"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).trim(), file);
    let output = ashlar(dir.path(), &["machine", "--root", file, "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let there: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let here: serde_json::Value = serde_json::from_slice(&ashlar(dir.path(), &["machine", "--json"]).stdout).unwrap();
    assert_eq!(there["machine"]["cpus"], here["machine"]["cpus"]);
    assert_ne!(there["machine"]["id"], here["machine"]["id"]);
    // What is there is not written over.
    assert_eq!(ashlar(dir.path(), &["machine", "capture", file]).status.code(), Some(2));
}
