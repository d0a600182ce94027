//! What somebody who follows a job is told while nothing is printed, and the output of arrays.

use super::bench_node::{TestNode, command, stderr, stdout};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

fn all_cpus(node: &TestNode) -> String {
    node.json(&["machine", "--json"])["machine"]["cpus"].as_array().unwrap().len().to_string()
}

#[test]
fn run_says_what_it_waits_for() {
    let node = TestNode::start();
    let cpus = all_cpus(&node);
    let first = node.detach(&["--cpus", &cpus, "--memory", "64MiB", "--expect", "1h", "--name", "holder"], "echo up; exec sleep 1000");
    node.wait_for_line(&first, "up");
    let mut second = command(&node.state, &["run", "--cpus", &cpus, "--memory", "64MiB", "--", "/bin/echo", "ran"])
        .current_dir(node.home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(second.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = told.find(|line| line.starts_with("waiting: ")).unwrap();
    assert!(line.contains("CPU") && line.contains(&format!("{first}-1 (holder")) && line.contains("planned start"), "{line}");
    node.ok(&["cancel", &first, "--now"]);
    let output = second.wait_with_output().unwrap();
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("ran\n", Some(0)));
}

#[test]
fn run_takes_back_what_can_never_start_and_submit_warns() {
    let node = TestNode::start();
    let output = node.ashlar(&["run", "--cpus", "512", "--memory", "64MiB", "--", "true"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("never fits: asks for 512 CPUs") && stderr(&output).contains("hint:"), "{}", stderr(&output));
    assert_eq!(node.state_of("1"), "cancelled");

    let file = node.home.path().join("job.yaml");
    std::fs::write(&file, "command: [\"true\"]\ncpus: 512\nmemory: 64MiB\n").unwrap();
    let output = node.ashlar(&["submit", file.to_str().unwrap()]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("2\n", Some(0)));
    assert!(stderr(&output).contains("warning: job 2 waits, but never fits"), "{}", stderr(&output));
    let told = node.json(&["submit", "--json", file.to_str().unwrap()]);
    assert!(told["warnings"][0].as_str().unwrap().contains("never fits"), "{told}");
    assert_eq!(node.state_of("2"), "waiting");
}

#[test]
fn the_next_attempt_is_announced() {
    let node = TestNode::start();
    let marker = node.home.path().join("marker");
    let line = format!("if [ -e {0} ]; then echo second; exit 0; fi; touch {0}; exit 9", marker.display());
    let flags = ["run", "--cpus", "0.1", "--memory", "32MiB", "--attempts", "2", "--", "/bin/sh", "-c", &line];
    let mut child =
        command(&node.state, &flags).current_dir(node.home.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = told.find(|line| line.contains("attempt")).unwrap();
    assert!(line.starts_with("waiting: attempt 2 of 2 starts in ") && line.ends_with("; attempt 1 exited with code 9"), "{line}");
    let jobs = node.json(&["jobs", "--json"]);
    let id = jobs[0]["id"].as_str().unwrap();
    assert!(node.ok(&["why", id]).contains("attempt 2 of 2"), "{}", node.ok(&["why", id]));
    node.ok(&["cancel", id]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let last: Vec<String> = told.collect();
    assert!(last.iter().any(|line| line.starts_with(&format!("job {id} cancelled by "))), "said once, not twice: {last:?}");
}

#[test]
fn an_array_is_followed_with_each_task_named() {
    let node = TestNode::start();
    let line = "echo task $ASHLAR_ARRAY_INDEX; exit $((ASHLAR_ARRAY_INDEX == 2))";
    let output = node.ashlar(&["run", "--array", "1-3%2", "--cpus", "0.1", "--memory", "32MiB", "--", "/bin/sh", "-c", line]);
    let printed = stdout(&output);
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[1] task 1", "[2] task 2", "[3] task 3"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    // Afterwards the same, in order.
    assert_eq!(node.ok(&["logs", "1"]), "[1] task 1\n[2] task 2\n[3] task 3");
    assert_eq!(node.ok(&["logs", "1", "--follow"]).lines().count(), 3);
    assert_eq!(node.ok(&["logs", "1.2"]), "task 2");
    assert_eq!(node.ok(&["logs", "1", "--task", "2"]), "task 2");
    for wrong in [&["logs", "1.2", "--task", "2"][..], &["logs", "1", "--run", "1.2-1"], &["logs", "1", "--rank", "1"]] {
        let output = node.ashlar(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", stderr(&output));
    }
    assert_eq!(node.ashlar(&["logs", "1", "--task", "9"]).status.code(), Some(1));
}

#[test]
fn an_array_of_gangs_names_task_and_rank() {
    let node = TestNode::start();
    let id = node.submit("ranks: 2\ncpus: 0.1\nmemory: 32MiB\narray: 0-1\nscript: echo rank $ASHLAR_RANK\n");
    node.wait(&id);
    let printed = node.ok(&["logs", &id]);
    assert_eq!(printed, "[0:0] rank 0\n[0:1] rank 1\n[1:0] rank 0\n[1:1] rank 1");
    assert_eq!(node.ok(&["logs", &id, "--rank", "1"]), "[0:1] rank 1\n[1:1] rank 1");
}
