//! What is refused, how programs are told, and what is warned of.

use super::bench_node::{TestNode, ashlar, stderr, stdout};
use serde_json::Value;

/// The one object on stderr, and nothing on stdout.
fn error(output: &std::process::Output) -> Value {
    assert_eq!(stdout(output), "", "stdout holds what was asked for, or nothing");
    let text = stderr(output);
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(value["error"]["exit_code"].as_i64(), output.status.code().map(i64::from), "{text}");
    value["error"].clone()
}

#[test]
fn with_json_every_error_is_one_object() {
    let dir = tempfile::tempdir().unwrap();
    let away = error(&ashlar(dir.path(), &["jobs", "--json"]));
    assert_eq!(away["kind"], "unavailable");
    assert!(away["hint"].as_str().unwrap().contains("ashlar up"));

    let node = TestNode::start();
    let file = node.home.path().join("job.yaml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "comand: [\"true\"]\nmemory: 12\n").unwrap();
    for command in ["submit", "plan"] {
        let wrong = error(&node.ashlar(&[command, path, "--json"]));
        assert_eq!((wrong["kind"].as_str(), wrong["problems"]["problems"].as_array().unwrap().len()), (Some("input"), 2), "{wrong}");
    }
    std::fs::write(&file, "command: [\"true\"]\nmemory: 32MiB\nqueue: lob\n").unwrap();
    for command in ["submit", "plan"] {
        let wrong = error(&node.ashlar(&[command, path, "--json"]));
        assert!(wrong["message"].as_str().unwrap().contains("'lob'"), "{wrong}");
    }
    for (arguments, kind) in [
        (&["show", "4711", "--json"][..], "not-found"),
        (&["why", "4711", "--json"], "not-found"),
        (&["show", "x1", "--json"], "input"),
        (&["jobs", "--json", "--in", "sleeping"], "input"),
        (&["jobs", "--jsno", "--json"], "input"),
        (&["submit", "--json"], "input"),
        (&["submit", "/nonexistent.yaml", "--json"], "input"),
        (&["machine", "--json", "--root", "/nonexistent"], "input"),
    ] {
        assert_eq!(error(&node.ashlar(arguments))["kind"], kind, "{arguments:?}");
    }
}

#[test]
fn a_key_is_one_job_across_restarts_and_never_two() {
    let mut node = TestNode::start();
    let file = node.home.path().join("job.yaml");
    let path = file.to_str().unwrap().to_string();
    let submit = |node: &TestNode, text: &str| {
        std::fs::write(&file, text).unwrap();
        node.ashlar(&["submit", "--key", "night", &path])
    };
    let (one, other) = ("command: [\"true\"]\nmemory: 32MiB\n", "command: [\"true\"]\nmemory: 33MiB\n");
    for _ in 0..2 {
        assert_eq!(stdout(&submit(&node, one)), "1\n");
        let refused = submit(&node, other);
        assert_eq!(refused.status.code(), Some(2));
        let text = stderr(&refused);
        assert!(text.contains("'night'") && text.contains("job 1") && text.contains("`ashlar show 1`"), "{text}");
        node.wait("1");
        node.kill();
        node.up();
    }
    assert_eq!(node.json(&["jobs", "--json"]).as_array().unwrap().len(), 1);
    std::fs::write(&file, other).unwrap();
    let told = error(&node.ashlar(&["submit", "--json", "--key", "night", &path]));
    assert_eq!((told["kind"].as_str(), told["refused"][0]["error"]["kind"].as_str()), (Some("conflict"), Some("conflict")));
}

#[test]
fn what_the_job_names_and_is_not_there_is_warned_of_and_not_tried_again() {
    let node = TestNode::start();
    let file = node.home.path().join("job.yaml");
    let path = file.to_str().unwrap();
    let lines = "memory: 32MiB\ncpus: 0.1\nretry: {attempts: 3, on: [error, start, lost], backoff: 1s}\n";
    for (text, warned, told) in [
        ("command: [\"true\"]\nmounts: /no/such:/data\n", "mount source '/no/such'", "cannot mount '/no/such'"),
        ("command: [\"true\"]\nworkdir: /no/such\n", "workdir '/no/such'", "cannot enter the working directory '/no/such'"),
        ("command: [\"no-such-program\"]\n", "'no-such-program' is not found in PATH", "command not found in PATH"),
        ("command: [\"true\"]\nmounts: /usr:/usr/no/such\n", "anywhere below /tmp", "cannot mount at '/usr/no/such'"),
    ] {
        std::fs::write(&file, format!("{text}{lines}")).unwrap();
        let planned = node.ashlar(&["plan", path]);
        assert!(stderr(&planned).contains("warning: ") && stderr(&planned).contains(warned), "{}", stderr(&planned));
        let planned = node.json(&["plan", path, "--json"]);
        assert!(planned["warnings"][0].as_str().unwrap().contains(warned), "{planned}");
        let submitted = node.ashlar(&["submit", path]);
        assert!(stderr(&submitted).contains(warned), "{}", stderr(&submitted));
        let id = stdout(&submitted).trim().to_string();
        assert_eq!(node.wait(&id), 125);
        let show = node.show(&id);
        if show["runs"][0]["isolation"]["level"] == "process" {
            eprintln!("skipped: mounts need namespaces, which this user has not");
            continue;
        }
        assert_eq!(show["runs"].as_array().unwrap().len(), 1, "one attempt of three: {show}");
        let why = node.ok(&["why", &id]);
        assert!(why.contains(told) && why.contains("hint:"), "{why}");
    }
}

#[test]
fn a_node_elsewhere_needs_two_variables() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |set: &[(&str, &str)]| {
        let mut command = super::bench_node::command(dir.path(), &["--server", "127.0.0.1:1", "jobs"]);
        command.env_remove("ASHLAR_TOKEN").env_remove("ASHLAR_FINGERPRINT").envs(set.iter().copied());
        command.output().unwrap()
    };
    for (set, missing) in [(&[][..], "ASHLAR_TOKEN"), (&[("ASHLAR_TOKEN", "x")], "ASHLAR_FINGERPRINT")] {
        let output = ask(set);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(&format!("{missing} is not set")) && stderr(&output).contains("ashlar token create"));
    }
}

#[test]
fn words_fit_what_was_asked() {
    let node = TestNode::start_with_queues("queues:\n  - name: lab\n    limits: {cpus: 1, runs: 1}\n");
    let listed = node.ashlar(&["jobs", "--in", "running", "--queue", "lab"]);
    assert_eq!(stderr(&listed), "no job matches --in running --queue lab\n");
    assert!(stderr(&node.ashlar(&["jobs"])).contains("submit one"));
    let queues = node.ok(&["queues"]);
    assert!(queues.contains("1 CPU, 1 run") && queues.contains("default"), "{queues}");
    let id = node.detach(&["--cpus", "1", "--memory", "32MiB"], "true");
    node.wait(&id);
    assert!(node.ok(&["show", &id]).contains("holds 1 CPU, "), "{}", node.ok(&["show", &id]));
    let revoked = node.ashlar(&["token", "revoke", "3f9a"]);
    assert!(stderr(&revoked).contains("`ashlar token list`"), "{}", stderr(&revoked));
    let empty = tempfile::tempdir().unwrap();
    let captured = node.ashlar(&["machine", "--root", empty.path().to_str().unwrap()]);
    assert_eq!(captured.status.code(), Some(2));
    assert!(stderr(&captured).contains("neither sys/ nor proc/"), "{}", stderr(&captured));
}
