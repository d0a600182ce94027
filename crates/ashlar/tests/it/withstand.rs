//! Jobs that behave badly.

use super::bench_node::TestNode;
use crate::root_or_skip;

#[test]
fn a_job_that_ignores_the_request_is_killed_after_the_grace() {
    let node = TestNode::start();
    let id = node
        .submit("name: deaf\nmemory: 64MiB\ncheckpoint: {grace: 1s}\nscript: |\n  trap '' TERM\n  echo up\n  while :; do sleep 1; done\n");
    node.wait_for_line(&id, "up");
    node.ok(&["cancel", &id]);
    assert_eq!(node.wait(&id), 130);
}

#[test]
fn a_thousand_children_end_with_the_job() {
    root_or_skip!();
    let node = TestNode::start();
    let id = node.submit(
        "name: forks\nmemory: 1GiB\nscript: |\n  trap '' TERM\n  i=0\n  while [ $i -lt 1000 ]; do (trap '' TERM; exec sleep 987654) & i=$((i+1)); done\n  echo all\n  wait\n",
    );
    node.wait_for_line(&id, "all");
    node.ok(&["cancel", &id, "--now"]);
    assert_eq!(node.wait(&id), 130);
    let left = std::process::Command::new("pgrep").args(["-fc", "sleep 987654"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "0");
}

#[test]
fn memory_used_up_is_told_with_limit_and_peak() {
    root_or_skip!();
    let node = TestNode::start();
    let id = node.submit("name: greedy\nmemory: 64MiB\ncommand: [python3, -c, \"x = b'x' * (400 << 20); print(len(x))\"]\n");
    assert_eq!(node.wait(&id), 137);
    let show = node.show(&id);
    let cause = &show["runs"][0]["cause"];
    assert_eq!((cause["kind"].as_str(), cause["limit"].as_u64()), (Some("out-of-memory"), Some(64 << 20)), "{cause}");
    assert!(cause["peak"].as_u64().unwrap() > 32 << 20);
    let why = node.ok(&["why", &id]);
    assert!(why.contains("memory") && why.contains("64 MiB"), "{why}");
}

#[test]
fn binary_output_and_endless_lines_come_back_byte_for_byte() {
    let node = TestNode::start();
    let id = node.submit(
        "name: bytes\nmemory: 256MiB\ncommand: [python3, -c, \"import sys; sys.stdout.buffer.write(bytes(range(256))*4); sys.stdout.buffer.write(b'x'*(10<<20))\"]\n",
    );
    assert_eq!(node.wait(&id), 0);
    let output = node.ashlar(&["logs", &id, "--rank", "0"]).stdout;
    assert_eq!(output.len(), 1024 + (10 << 20));
    assert_eq!(output[..256], (0..=255).collect::<Vec<u8>>());
}

#[test]
fn output_without_end_costs_a_bounded_amount_of_disk() {
    let node = TestNode::start();
    let gigabytes = if std::env::var_os("ASHLAR_LONG_TESTS").is_some() { 5 } else { 1 };
    let id = node.submit(&format!("name: flood\nmemory: 64MiB\nscript: |\n  echo first\n  head -c {gigabytes}G /dev/zero\n  echo last\n"));
    assert_eq!(node.wait(&id), 0);
    let kept: u64 = std::fs::read_dir(node.state.join("logs").join(format!("{id}-1")))
        .or_else(|_| std::fs::read_dir(node.state.join("runs").join(format!("{id}-1"))))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rank-0.log"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(kept <= 256 << 20, "{kept} bytes kept");
    let output = node.ashlar(&["logs", &id, "--rank", "0"]).stdout;
    assert!(output.starts_with(b"first\n") && output.ends_with(b"last\n"));
}

#[test]
fn a_notice_command_has_limits_of_its_own_and_leaves_nothing() {
    root_or_skip!();
    let node = TestNode::start();
    let told = node.home.path().join("told");
    let script = node.home.path().join("tell");
    let text = format!(
        "#!/bin/sh\nsetsid sleep 987653 &\n(echo $ASHLAR_JOB_STATE $ASHLAR_EXIT_CODE; cat /proc/self/oom_score_adj /proc/self/cgroup) > {0}.new\nmv {0}.new {0}\n",
        told.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let id = node.submit(&format!(
        "name: tells\nmemory: 64MiB\ncommand: [sh, -c, exit 3]\nnotify: {{on: failed, command: [{}]}}\n",
        script.display()
    ));
    assert_eq!(node.wait(&id), 3);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let left = || std::process::Command::new("pgrep").args(["-fc", "sleep 987653"]).output().unwrap().stdout;
    while !told.exists() || left() != b"0\n" {
        assert!(std::time::Instant::now() < end, "nobody was told, or something stayed");
        std::thread::yield_now();
    }
    let text = std::fs::read_to_string(&told).unwrap();
    assert!(text.starts_with("failed 3\n500\n") && text.contains("/ashlar/errand-"), "{text}");
}
