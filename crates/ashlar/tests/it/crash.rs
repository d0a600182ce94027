//! Daemons and supervisors that are killed at any moment.

use super::bench_node::{TestNode, ashlar, command, signal, stderr, stdout};
use rustix::process::Signal;

#[test]
fn a_run_outlives_its_daemon_and_is_taken_up_again() {
    let mut node = TestNode::start();
    let go = node.home.path().join("go");
    let id =
        node.detach(&["--memory", "64MiB"], &format!("echo up; while [ ! -e {} ]; do sleep 0.05; done; echo done; exit 5", go.display()));
    node.wait_for_line(&id, "up");
    node.kill();
    assert_eq!(node.supervisor_pids().len(), 1, "the supervisor lives on");
    node.up();
    assert_eq!(node.state_of(&id), "running");
    std::fs::write(&go, "").unwrap();
    assert_eq!(node.wait(&id), 5);
    assert_eq!(node.ok(&["logs", &id]), "up\ndone");
    assert_eq!(node.show(&id)["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_run_that_ends_while_no_daemon_lives_is_recorded_later() {
    let mut node = TestNode::start();
    let done = node.home.path().join("done");
    let id = node.detach(&["--memory", "64MiB"], &format!("echo up; sleep 0.3; touch {}; exit 6", done.display()));
    node.wait_for_line(&id, "up");
    node.kill();
    while !node.supervisor_pids().is_empty() {
        std::thread::yield_now();
    }
    assert!(done.exists());
    node.up();
    assert_eq!(node.wait(&id), 6);
}

#[test]
fn a_supervisor_that_is_killed_takes_its_run_with_it() {
    let node = TestNode::start();
    let id = node.detach(&["--memory", "64MiB"], "echo up; sleep 976543");
    node.wait_for_line(&id, "up");
    let [supervisor] = node.supervisor_pids()[..] else { panic!("one supervisor expected") };
    signal(supervisor, Signal::KILL);
    assert_eq!(node.wait(&id), 125);
    let cause = node.show(&id)["runs"][0]["cause"].clone();
    assert_eq!(cause["kind"], "lost", "{cause}");
    let left = std::process::Command::new("pgrep").args(["-fc", "sleep 976543"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "0");
}

#[test]
fn supervisors_are_born_whether_or_not_their_nursery_lives() {
    let node = TestNode::start();
    let nursery = || {
        let children = std::process::Command::new("pgrep").args(["-f", "-P", &node.daemon_pid().to_string(), "__supervise-many"]).output();
        String::from_utf8_lossy(&children.unwrap().stdout).trim().parse::<u32>().unwrap()
    };
    let long = node.detach(&["--memory", "64MiB"], "echo up; sleep 976542");
    node.wait_for_line(&long, "up");
    let first = nursery();
    signal(first, Signal::KILL);
    for _ in 0..2 {
        assert_eq!(node.wait(&node.detach(&["--memory", "64MiB"], "exit 4")), 4);
    }
    assert_ne!(nursery(), first);
    assert_eq!(node.state_of(&long), "running");
    node.ok(&["cancel", &long, "--now"]);
    assert_eq!(node.wait(&long), 130);
}

#[test]
fn a_nursery_that_hangs_holds_up_no_other_run() {
    let node = TestNode::start();
    let go = node.home.path().join("go");
    let line = format!("echo up; while [ ! -e {} ]; do sleep 0.05; done; exit 6", go.display());
    let early = node.detach(&["--cpus", "0.25", "--memory", "64MiB"], &line);
    node.wait_for_line(&early, "up");
    let children = std::process::Command::new("pgrep").args(["-f", "-P", &node.daemon_pid().to_string(), "__supervise-many"]).output();
    signal(String::from_utf8_lossy(&children.unwrap().stdout).trim().parse().unwrap(), Signal::STOP);
    let late = node.detach(&["--cpus", "0.25", "--memory", "64MiB"], "exit 4");
    std::fs::write(&go, "").unwrap();
    assert_eq!((node.wait(&early), node.wait(&late)), (6, 4));
}

#[test]
fn a_run_whose_journal_is_damaged_is_lost_and_not_run_again() {
    let mut node = TestNode::start();
    let ledger = node.home.path().join("ledger");
    let id = node.detach(&["--memory", "64MiB"], &format!("echo ran >>{}; echo up; sleep 976544", ledger.display()));
    node.wait_for_line(&id, "up");
    node.kill();
    node.supervisor_pids().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    let run = std::fs::read_dir(node.state.join("runs")).unwrap().next().unwrap().unwrap();
    std::fs::write(run.path().join("journal"), [0; 64]).unwrap();
    node.up();
    assert_eq!(node.wait(&id), 125);
    let cause = node.show(&id)["runs"][0]["cause"].clone();
    assert!(cause["kind"] == "lost" && cause.to_string().contains("journal"), "{cause}");
    assert_eq!(std::fs::read_to_string(&ledger).unwrap(), "ran\n");
    let left = std::process::Command::new("pgrep").args(["-fc", "sleep 976544"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "0");
}

/// Somebody puts back an older copy of the log while a run goes on that only the newer one ordered. Its number is given again.
#[test]
fn nothing_starts_beside_a_run_that_an_older_log_does_not_know() {
    let mut node = TestNode::start();
    node.kill();
    let older = node.home.path().join("older");
    std::fs::create_dir(&older).unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        for file in std::fs::read_dir(from).unwrap().map(|file| file.unwrap()) {
            if file.file_name().to_str().unwrap().starts_with("log.db") {
                std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    };
    copy(&node.state, &older);
    node.up();
    let forgotten = node.detach(&["--memory", "64MiB"], "trap '' TERM; echo forgotten; sleep 976541");
    node.wait_for_line(&forgotten, "forgotten");
    node.kill();
    for file in ["log.db", "log.db-wal", "log.db-shm"] {
        let _ = std::fs::remove_file(node.state.join(file));
    }
    copy(&older, &node.state);
    node.up();
    let again = node.detach(&["--memory", "64MiB"], "echo second; exit 4");
    assert_eq!(again, forgotten, "the same number");
    assert_eq!(node.wait(&again), 4, "{}", stdout(&node.ashlar(&["why", &again])));
    assert_eq!(node.ok(&["logs", &again]), "second");
    let left = std::process::Command::new("pgrep").args(["-fc", "sleep 976541"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "0");
    let alarms = node.json(&["status", "--json"])["alarms"].to_string();
    assert!(!alarms.contains("runs.unknown"), "over, once it is gone: {alarms}");
}

#[test]
fn one_state_directory_has_one_daemon() {
    let node = TestNode::start();
    let second = ashlar(&node.state, &["up"]);
    assert_eq!(second.status.code(), Some(3), "{}", stderr(&second));
    assert!(stderr(&second).contains(&node.daemon_pid().to_string()), "{}", stderr(&second));
}

/// Kills the daemon at random points while jobs are submitted and run. Every accepted job ends exactly once, with
/// its own exit code. Rounds by ASHLAR_CRASH_ROUNDS; the random points by ASHLAR_CRASH_SEED.
#[test]
fn nothing_accepted_is_lost_whenever_the_daemon_dies() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let rounds = number("ASHLAR_CRASH_ROUNDS", 12);
    let mut random = number("ASHLAR_CRASH_SEED", 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut node = TestNode::start();
    let ledger = node.home.path().join("ledger");
    std::fs::create_dir(&ledger).unwrap();
    let mut accepted: Vec<(String, i32)> = vec![];
    for round in 0..rounds {
        let submitting = std::thread::scope(|scope| {
            let state = node.state.clone();
            let ledger = &ledger;
            let submitter = scope.spawn(move || {
                let mut ids = vec![];
                // Until the daemon is gone; each job leaves a file of its own for every time it really ran.
                for turn in 0..1000 {
                    let code = (round as i32 * 7 + turn) % 5;
                    let line = format!("mktemp {}/$ASHLAR_JOB_ID.XXXXXX >/dev/null; exit {code}", ledger.display());
                    let arguments = ["run", "--detach", "--cpus", "0.25", "--memory", "32MiB", "--", "/bin/sh", "-c", &line];
                    let output = command(&state, &arguments).current_dir(ledger).output().unwrap();
                    if !output.status.success() {
                        break;
                    }
                    ids.push((String::from_utf8_lossy(&output.stdout).trim().to_string(), code));
                }
                ids
            });
            // Where in the life of these jobs the daemon dies is the point of the test, so it is left to chance.
            std::thread::sleep(std::time::Duration::from_millis(next() % 400));
            node.kill();
            submitter.join().unwrap()
        });
        accepted.extend(submitting);
        node.up();
    }
    for (id, code) in &accepted {
        assert_eq!(node.wait(id), *code, "job {id}: {}", node.show(id));
        assert_eq!(node.show(id)["runs"].as_array().unwrap().len(), 1, "job {id} ran more than once");
        let ran = std::fs::read_dir(&ledger)
            .unwrap()
            .flatten()
            .filter(|f| f.file_name().to_string_lossy().starts_with(&format!("{id}.")))
            .count();
        assert_eq!(ran, 1, "job {id} executed {ran} times");
    }
    println!("{} jobs over {rounds} rounds, all accounted for", accepted.len());
}
