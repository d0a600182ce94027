//! `ashlar launch`: what a job file leads to, told without starting anything.

use super::bench_node::{ashlar, stderr, stdout};
use std::path::Path;

/// Runs a command against no node, with a job file of this text.
fn explain(job: &str, flags: &[&str]) -> std::process::Output {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("job.yaml");
    std::fs::write(&file, job).unwrap();
    let words: Vec<&str> = ["launch", "explain", file.to_str().unwrap()].iter().chain(flags).copied().collect();
    ashlar(&dir.path().join("state"), &words)
}

/// Without what differs between machines and people.
fn told(job: &str) -> String {
    let output = explain(job, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("made up"), "{}", stderr(&output));
    let own = ["HOME=", "USER=", "LOGNAME=", "HOSTNAME=", "OMPI_ALLOW_RUN_AS_ROOT", "ASHLAR_CHECKPOINTS="];
    let text = stdout(&output);
    let mut lines: Vec<&str> = vec![];
    let mut skip = false;
    for line in text.lines() {
        // A variable has its reason in the next line.
        if !std::mem::take(&mut skip) {
            skip = own.iter().any(|name| line.trim_start().starts_with(name)) || line.contains("VISIBLE_DEVICES");
            lines.extend((!skip).then(|| line.split(", in /").next().unwrap_or(line)));
        }
    }
    lines.join("\n")
}

#[test]
fn every_process_variable_and_file_is_told_with_its_reason() {
    insta::assert_snapshot!("launch_mpi", told("name: pi\nranks: 2\ncommand: [mpirun, ./pi, '1 000']\n"));
    insta::assert_snapshot!(
        "launch_auto",
        told("name: fit\nranks: 2\nenvironment: {packages: [tensorflow-cpu]}\ncommand: [python, fit.py]\n")
    );
}

#[test]
fn json_and_ranks() {
    let output = explain("command: [torchrun, train.py]\n", &["--ranks", "3", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((told["recipe"].as_str(), told["one_process"].as_bool()), (Some("torchrun"), Some(true)));
    let variables = told["processes"][0]["variables"].as_array().unwrap();
    let ranks = variables.iter().find(|variable| variable["name"] == "PET_NPROC_PER_NODE").unwrap();
    assert_eq!((ranks["value"].as_str(), ranks["why"].as_str()), (Some("3"), Some("ranks of the job")));
    assert_eq!(told["processes"][0]["cpus"], "0-2");
}

#[test]
fn wrong_input_has_its_place_and_the_way_out() {
    let wrong = explain("command: [torchrun, train.py]\nranks: 2\nlaunch: jaxx\n", &[]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("job.yaml:3:9") && stderr(&wrong).contains("did you mean 'jax'?"), "{}", stderr(&wrong));
    let crossed = explain("command: [torchrun, train.py]\nranks: 2\nlaunch: jax\n", &[]);
    assert_eq!(crossed.status.code(), Some(2));
    assert!(stderr(&crossed).contains("`launch: torchrun`"), "{}", stderr(&crossed));
    let none = explain("command: [a]\n", &["--ranks", "0"]);
    assert_eq!(none.status.code(), Some(2), "{}", stderr(&none));
    let missing = ashlar(Path::new("/nonexistent"), &["launch", "explain", "no-such.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn recipes_are_listed() {
    let output = ashlar(Path::new("/nonexistent"), &["launch", "recipes"]);
    for name in ["auto", "plain", "torchrun", "mindspore", "mpi", "ray"] {
        assert!(stdout(&output).lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}");
    }
}
