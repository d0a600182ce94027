//! The whole road on the real kernel: submit, place, isolate, run, record, explain.

use super::bench_node::{TestNode, stderr, stdout};

#[test]
fn run_gives_the_jobs_output_and_exit_code() {
    let node = TestNode::start();
    let output = node.ashlar(&["run", "--", "/bin/echo", "hello"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("hello\n", Some(0)), "{}", stderr(&output));
    let output = node.ashlar(&["run", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("out\nerr\n", Some(7)));
    assert!(stderr(&output).contains("hint:"), "{}", stderr(&output));
}

#[test]
fn a_job_goes_on_when_nobody_reads_its_output() {
    let node = TestNode::start();
    let mut child =
        super::bench_node::command(&node.state, &["run", "--memory", "64MiB", "--", "/bin/sh", "-c", "yes | head -n 300000; exit 4"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn a_program_that_is_not_there_says_so() {
    let node = TestNode::start();
    let output = node.ashlar(&["run", "--", "no-such-program-here"]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(stderr(&output).contains("no-such-program-here"), "{}", stderr(&output));
}

#[test]
fn listings_tell_what_happened() {
    let node = TestNode::start();
    let id = node.detach(&["--name", "first"], "exit 3");
    assert_eq!(node.wait(&id), 3);
    let jobs = node.json(&["jobs", "--json"]);
    let job = &jobs.as_array().unwrap()[0];
    for key in ["id", "name", "state", "exit_code", "queue", "submitted", "started", "ended"] {
        assert!(!job[key].is_null(), "{key} is missing: {job}");
    }
    assert_eq!((job["name"].as_str(), job["state"].as_str(), job["exit_code"].as_i64()), (Some("first"), Some("failed"), Some(3)));
    let show = node.show(&id);
    let run = &show["runs"][0];
    assert_eq!(run["ranks"][0]["state"]["code"], 3);
    assert!(!run["stages"].as_array().unwrap().is_empty());
    assert!(!run["isolation"]["marks"].as_array().unwrap().is_empty());
    assert!(run["grant"]["ranks"][0]["cpus"].is_string());
    assert!(node.ok(&["why", &id]).contains("exit"), "{}", node.ok(&["why", &id]));
}

#[test]
fn a_gang_ends_with_its_first_failure() {
    let node = TestNode::start();
    let id = node.submit(
        "name: gang\nranks: 2\ncpus: 0.5\nmemory: 64MiB\ncheckpoint: {grace: 5s}\n\
         script: |\n  if [ \"$ASHLAR_RANK\" = 1 ]; then while ! test -e /dev/shm/ready; do sleep 0.02; done; exit 17; fi\n  \
         trap 'exit 143' TERM; touch /dev/shm/ready\n  while :; do sleep 0.1; done\n",
    );
    assert_eq!(node.wait(&id), 17);
    let ranks = &node.show(&id)["runs"][0]["ranks"];
    assert_eq!((ranks[0]["state"]["code"].as_i64(), ranks[1]["state"]["code"].as_i64()), (Some(143), Some(17)));
    assert!(node.ok(&["why", &id]).contains("rank 1"));
}

#[test]
fn ranks_meet_at_a_port_of_their_own() {
    let node = TestNode::start();
    let id = node.submit(
        "name: meet\nranks: 2\ncpus: 0.5\nmemory: 64MiB\nlaunch: torchrun\n\
         script: |\n  echo \"$RANK of $WORLD_SIZE at $MASTER_ADDR:$MASTER_PORT as $TORCHELASTIC_RUN_ID\"\n",
    );
    assert_eq!(node.wait(&id), 0);
    let output = node.ok(&["logs", &id]);
    let ports = node.show(&id)["runs"][0]["grant"]["ports"]["first"].as_u64().unwrap();
    assert!(output.contains(&format!("[0] 0 of 2 at 127.0.0.1:{ports}")), "{output}");
    assert!(output.contains(&format!("[1] 1 of 2 at 127.0.0.1:{ports}")), "{output}");
}

#[test]
fn what_waits_says_why_and_starts_when_there_is_room() {
    let node = TestNode::start();
    let cpus = node.json(&["machine", "--json"])["machine"]["cpus"].as_array().unwrap().len().to_string();
    let first = node.detach(&["--cpus", &cpus, "--memory", "64MiB", "--expect", "1h"], "echo up; read x < /dev/null; sleep 1000");
    node.wait_for_line(&first, "up");
    let second = node.detach(&["--cpus", &cpus, "--memory", "64MiB"], "true");
    let why = node.ok(&["why", &second]);
    assert!(why.contains("waiting") && why.contains("CPU") && why.contains(&format!("{first}-1")), "{why}");
    assert!(why.contains("planned start"), "{why}");
    node.ok(&["cancel", &first, "--now"]);
    assert_eq!(node.wait(&second), 0);
    assert_eq!(node.state_of(&first), "cancelled");
}

#[test]
fn plan_tells_before_anything_is_submitted() {
    let node = TestNode::start();
    let file = node.home.path().join("job.yaml");
    let plan = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = node.ashlar(&["plan", file.to_str().unwrap()]);
        (output.status.code().unwrap(), stdout(&output))
    };
    let (code, text) = plan("command: [\"true\"]\nmemory: 64MiB\n");
    assert!(code == 0 && text.contains("starts now"), "{text}");
    let (code, text) = plan("command: [\"true\"]\ncpus: 4000\nmemory: 64MiB\n");
    assert!(code == 2 && text.contains("never"), "{text}");
    let (code, text) = plan("command: [\"true\"]\ndevices: A100:3\nmemory: 64MiB\n");
    assert!(code == 2 && text.contains("A100"), "{text}");
    assert_eq!(node.json(&["jobs", "--json"]).as_array().unwrap().len(), 0);
}

#[test]
fn cancel_and_wait_tell_programs_what_happened() {
    let node = TestNode::start();
    let id = node.detach(&["--cpus", "0.1", "--memory", "64MiB"], "echo up; sleep 1000");
    node.wait_for_line(&id, "up");
    let late = node.ashlar(&["wait", &id, "--timeout", "1ms", "--json"]);
    assert_eq!((late.status.code(), stdout(&late).as_str()), (Some(1), ""));
    let output = node.ashlar(&["cancel", &id, "4711", "4712", "--now", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(read(&stdout(&output)), serde_json::json!([{ "id": id, "order": "kill" }]));
    let error = &read(&stderr(&output))["error"];
    assert_eq!((&error["kind"], &error["refused"][1]["id"]), (&"not-found".into(), &"4712".into()), "{error}");
    let ended = node.ashlar(&["wait", &id, "--json"]);
    let job = read(&stdout(&ended));
    assert_eq!((&job["id"], &job["state"]), (&id.as_str().into(), &"cancelled".into()), "{job}");
    assert_eq!(job["exit_code"].as_i64(), ended.status.code().map(i64::from));
}

#[test]
fn several_jobs_are_waited_for_together() {
    let node = TestNode::start();
    let small = ["--cpus", "0.1", "--memory", "32MiB"];
    let ids = ["exit 0", "sleep 0.2; exit 7", "exit 3"].map(|line| node.detach(&small, line));
    let [good, late, bad] = &ids;
    assert_eq!(node.ashlar(&["wait", good, late, bad]).status.code(), Some(7), "the first as they are named");
    assert_eq!(node.ashlar(&["wait", bad, late]).status.code(), Some(3));
    assert_eq!(node.ashlar(&["wait", good, good]).status.code(), Some(0));
    let output = node.ashlar(&["wait", good, bad, "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&rows[0]["exit_code"], &rows[1]["exit_code"], output.status.code()), (&0.into(), &3.into(), Some(3)));
    let long = node.detach(&small, "sleep 1000");
    let unknown = node.ashlar(&["wait", &long, "4711"]);
    assert_eq!(unknown.status.code(), Some(1), "told at once");
    assert!(stderr(&unknown).contains("4711"), "{}", stderr(&unknown));
    let late = node.ashlar(&["wait", good, &long, "--timeout", "10ms"]);
    assert!(late.status.code() == Some(1) && stderr(&late).contains("still"), "{}", stderr(&late));
    assert_eq!(node.ashlar(&["wait"]).status.code(), Some(2));
}

#[test]
fn cancel_works_before_during_and_after() {
    let node = TestNode::start();
    let running =
        node.detach(&["--cpus", "0.1", "--memory", "64MiB"], "trap 'echo asked; exit 143' TERM; echo up; while :; do sleep 0.1; done");
    node.wait_for_line(&running, "up");
    let waiting = node.detach(&["--memory", "64MiB", "--after", &running], "true");
    node.ok(&["cancel", &waiting]);
    assert_eq!(node.wait(&waiting), 130);
    node.ok(&["cancel", &running]);
    assert_eq!(node.wait(&running), 130);
    assert!(node.ok(&["logs", &running]).contains("asked"));
    let again = node.ashlar(&["cancel", &running]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("already"), "{}", stderr(&again));
}

/// The order reaches supervisors of every age, down to those that have not looked for one yet.
#[test]
fn a_cancel_right_behind_the_submission_is_a_cancel() {
    let node = TestNode::start();
    let client = api::Client::connect(&node.state.join(api::SOCKET_NAME)).unwrap();
    let mut spec = spec::JobSpec::command_job("short", vec!["/bin/sleep".into(), "1000".into()], "/");
    (spec.cpus, spec.memory) = (machine::CpuShare(100), Some(spec::Bytes::mib(32)));
    for round in 0..40 {
        let id = client.submit(spec.clone(), None).unwrap();
        (0..round * 20_000).for_each(|_| std::hint::spin_loop());
        client.cancel(id, round % 2 == 0).unwrap();
        let ended = client.wait(id, 30_000).unwrap().job;
        assert_eq!(ended.state, "cancelled");
        for run in client.job(id).unwrap().runs {
            let cause = run.cause.expect("it ended");
            assert!(!matches!(cause, spec::EndCause::StartFailed { .. } | spec::EndCause::Lost { .. }), "round {round}: {cause:?}");
        }
    }
}

#[test]
fn arrays_and_dependencies() {
    let node = TestNode::start();
    let array = node.detach(&["--array", "0-4%2", "--cpus", "0.1", "--memory", "32MiB"], "exit $((ASHLAR_ARRAY_INDEX == 3))");
    assert_ne!(node.wait(&array), 0);
    assert_eq!(node.wait(&format!("{array}.2")), 0);
    assert_eq!(node.wait(&format!("{array}.3")), 1);
    let ok = node.detach(&["--memory", "32MiB", "--after", &format!("{array}.2")], "echo ran");
    let never = node.detach(&["--memory", "32MiB", "--after", &format!("{array}.3")], "echo ran");
    let any = node.detach(&["--memory", "32MiB", "--after", &format!("{array}.3:any")], "echo ran");
    assert_eq!((node.wait(&ok), node.wait(&any), node.wait(&never)), (0, 0, 130));
    assert_eq!(node.state_of(&never), "cancelled");
}

#[test]
fn retries_go_on_until_it_works() {
    let node = TestNode::start();
    let marker = node.home.path().join("marker");
    let id = node.submit(&format!(
        "name: again\ncpus: 0.1\nmemory: 32MiB\nretry: {{attempts: 3, on: [error], backoff: 1s}}\n\
         script: |\n  if [ -e {0} ]; then exit 0; fi\n  touch {0}; exit 9\n",
        marker.display()
    ));
    assert_eq!(node.wait(&id), 0);
    let show = node.show(&id);
    assert_eq!(show["runs"].as_array().unwrap().len(), 2);
    assert_eq!(show["runs"][0]["cause"]["code"], 9);
}

#[test]
fn limits_end_a_job_that_takes_too_long() {
    let node = TestNode::start();
    let id = node.detach(&["--limit", "1s", "--memory", "32MiB"], "sleep 1000");
    assert_eq!(node.wait(&id), 124);
    assert!(node.ok(&["why", &id]).contains("limit"));
}

#[test]
fn what_was_saved_at_the_limit_is_told_and_gone_on_with() {
    let node = TestNode::start();
    let saved = node.home.path().join("saved");
    // A helper without a handler, which must not hear of the signal: it would die of it, and `wait` would tell.
    let id = node.submit(&format!(
        "name: long\ncpus: 0.1\nmemory: 32MiB\nlimit: 1s\ncheckpoint: {{signal: USR1, grace: 20s}}\n\
         retry: {{attempts: 2, on: [limit], backoff: 1s}}\n\
         script: |\n  if [ -e {0} ]; then echo resumed; exit 0; fi\n  sleep 1000 &\n  helper=$!\n\
         \x20 trap 'test -d /proc/$helper && ! grep -q zombie /proc/$helper/status && touch {0}; exit 0' USR1\n\
         \x20 while :; do sleep 0.1; done\n",
        saved.display()
    ));
    assert_eq!(node.wait(&id), 0, "{}", node.ok(&["show", &id]));
    assert_eq!(node.ok(&["logs", &id]), "resumed");
    let show = node.show(&id);
    assert_eq!((show["runs"][0]["cause"]["kind"].as_str(), show["runs"][0]["cause"]["clean"].as_bool()), (Some("limit"), Some(true)));

    let id = node.detach(&["--limit", "1s", "--cpus", "0.1", "--memory", "32MiB"], "trap 'exit 0' TERM; while :; do sleep 0.1; done");
    assert_eq!(node.wait(&id), 124);
    let why = node.ok(&["why", &id]);
    assert!(why.contains("left by itself in time") && why.contains("submit it again"), "{why}");
}

#[test]
fn the_machine_and_the_queues_show_who_holds_what() {
    let node = TestNode::start_with_queues("queues:\n  - name: lab\n    tenant: physics\n    weight: 3\n    limits: {cpus: 1}\n");
    let id = node.detach(&["--queue", "lab", "--cpus", "1", "--memory", "64MiB", "--name", "holder"], "echo up; sleep 1000");
    node.wait_for_line(&id, "up");
    let more = node.detach(&["--queue", "lab", "--cpus", "1", "--memory", "64MiB"], "true");
    assert!(node.ok(&["why", &more]).contains("lab"), "{}", node.ok(&["why", &more]));
    let queues = node.json(&["queues", "--json"]);
    let lab = queues.as_array().unwrap().iter().find(|queue| queue["name"] == "lab").unwrap();
    assert_eq!((lab["running"].as_u64(), lab["waiting"].as_u64(), lab["share_permille"].as_u64()), (Some(1), Some(1), Some(750)));
    assert!(node.ok(&["machine"]).contains("holder"));
    let held = &node.json(&["machine", "--json"])["held"];
    assert_eq!(held[0]["run"], format!("{id}-1"));
    let wrong = node.ashlar(&["run", "--queue", "lob", "--", "true"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("lab"), "{}", stderr(&wrong));
}

/// What a job would do if things were otherwise, beside how they are.
#[test]
fn a_plan_answers_what_if() {
    let node = TestNode::start();
    let cpus = node.json(&["machine", "--json"])["cpus"].as_array().map_or(2, Vec::len);
    let holder = node.detach(&["--cpus", &cpus.to_string(), "--memory", "64MiB"], "sleep 1000");
    std::fs::write(node.home.path().join("job.yaml"), "command: [\"true\"]\nmemory: 64MiB\ncpus: 1\n").unwrap();
    let plan = |changes: &[&str]| {
        let flags = changes.iter().flat_map(|change| ["--whatif", change]);
        node.ashlar(&["plan", "job.yaml"].into_iter().chain(flags).collect::<Vec<_>>())
    };
    assert_eq!(plan(&[]).status.code(), Some(1));
    let ended = format!("ended={holder}");
    let found = plan(&[&ended]);
    assert_eq!(found.status.code(), Some(0), "{}", stderr(&found));
    let text = stdout(&found);
    assert!(text.starts_with("as it is: would wait, planned start "), "{text}");
    assert!(text.contains(&format!("\nif {ended}:\nstarts now\n")), "{text}");
    // Both together, and as JSON what is supposed alone.
    let never = node.ashlar(&["plan", "job.yaml", "--json", "--whatif", &ended, "--whatif", "ranks=64"]);
    assert_eq!(never.status.code(), Some(2));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&never.stdout).unwrap()["verdict"], "never");
    for (change, says) in
        [("ended=99", "neither runs nor waits"), ("healthy=x", "no machine has a device"), ("colour=red", "hint:"), ("ranks=0", "ranks")]
    {
        let refused = plan(&[change]);
        assert_eq!(refused.status.code(), Some(2), "{change}");
        assert!(stderr(&refused).contains(says), "{change}: {}", stderr(&refused));
    }
    assert_eq!(node.json(&["jobs", "--json"]).as_array().map(Vec::len), Some(1), "nothing was submitted");
}
