//! Real frameworks as gangs of two ranks on this machine's CPUs, from the job files of `examples/gangs`: each is judged by
//! what it computed, and computes the same after one of its ranks was killed.
//!
//! Opt-in, as each needs packages from an index: `ASHLAR_TEST_FRAMEWORKS=all`, or the names of folders with commas between.
//! All six programs do the same training, so their losses and digests are compared with one oracle.

use super::bench_node::{TestNode, stderr};
use super::tidy::workspace;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// Sum of squares of the trained weights, and the last loss: of one process in numpy, and of every framework.
const DIGEST: f64 = 36.30397;
const LOSS: f64 = 0.405281;

fn wanted(name: &str) -> bool {
    let asked = std::env::var("ASHLAR_TEST_FRAMEWORKS").unwrap_or_default();
    let wanted = asked.split(',').any(|word| word == name || word == "all");
    if !wanted {
        eprintln!("skipped: ASHLAR_TEST_FRAMEWORKS does not name {name}");
    }
    wanted
}

/// A job of the example in a folder of its own, with a pause at every step.
fn submit(node: &TestNode, name: &str, case: &str, pause: &str) -> String {
    let folder = node.home.path().join(case);
    std::fs::create_dir(&folder).unwrap();
    let example = workspace().join("examples/gangs").join(name);
    std::fs::copy(example.join("train.py"), folder.join("train.py")).unwrap();
    let job = std::fs::read_to_string(example.join("job.yaml")).unwrap();
    assert!(job.lines().count() <= 15, "{name}: a job file of at most 15 lines");
    let file = folder.join("job.yaml");
    std::fs::write(&file, format!("{job}env: {{PAUSE: '{pause}'}}\n")).unwrap();
    node.ok(&["submit", file.to_str().unwrap()])
}

fn ended(node: &TestNode, id: &str) -> Value {
    let waited = node.ashlar(&["wait", id, "--timeout", "600s"]);
    let show = node.show(id);
    assert!(!show["ended"].is_null(), "{}: {show}", stderr(&waited));
    show
}

/// Where there is no network there are no packages. Everything else is a failure.
fn without_network(show: &Value) -> bool {
    let message = show["runs"][0]["cause"]["message"].as_str().unwrap_or_default();
    let offline = ["network", "cannot reach", "time", "index"].iter().any(|word| message.contains(word));
    if show["runs"][0]["cause"]["kind"] == "start-failed" && offline {
        eprintln!("skipped: {message}");
        return true;
    }
    false
}

struct Result {
    /// Of each rank that printed one, in order.
    digests: Vec<f64>,
    /// Steps of the newest run.
    steps: Vec<u64>,
    first_loss: f64,
    last_loss: f64,
}

fn result(node: &TestNode, id: &str) -> Result {
    let output = node.ok(&["logs", id]);
    let after = |line: &str, word: &str| line.split(word).nth(1).map(|rest| rest.split_whitespace().next().unwrap_or("").to_string());
    let number = |text: String| text.parse::<f64>().unwrap_or_else(|_| panic!("'{text}' in\n{output}"));
    let digests = output.lines().filter_map(|line| after(line, "digest=")).map(number).collect();
    let losses: Vec<f64> = output.lines().filter_map(|line| after(line, "loss=")).map(number).collect();
    let steps = output.lines().filter_map(|line| after(line, "step ")?.split('/').next()?.parse().ok()).collect();
    assert!(!losses.is_empty(), "{output}");
    Result { digests, steps, first_loss: losses[0], last_loss: losses[losses.len() - 1] }
}

/// Processes of the training in a run: those that started the ranks are not among them.
fn ranks_of(node: &TestNode, id: &str, name: &str) -> Vec<u32> {
    if matches!(name, "jax" | "tensorflow") {
        let show = node.show(id);
        return show["runs"][0]["ranks"].as_array().unwrap().iter().map(|rank| rank["pid"].as_u64().unwrap() as u32).collect();
    }
    if name == "ray" {
        // The main process of rank 0 is the driver; that of rank 1 holds a node of the cluster.
        let show = node.show(id);
        return vec![show["runs"][0]["ranks"][1]["pid"].as_u64().unwrap() as u32];
    }
    let run = format!("ASHLAR_RUN_ID={id}-1");
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of_run = all.filter(|pid| {
        let read = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let words: Vec<String> = read("cmdline").split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let trains = words.iter().any(|word| word.ends_with("train.py"));
        let launcher = words.iter().any(|word| ["mpirun", "torchrun", "paddle.distributed.launch"].iter().any(|name| word.ends_with(name)));
        trains && !launcher && read("environ").split(|byte| *byte == 0).any(|variable| variable == run.as_bytes())
    });
    let mut pids: Vec<u32> = of_run.collect();
    pids.sort();
    pids
}

/// A rank and a step from a seed: another one in every framework, the same in every run of the test.
fn draw(name: &str, ranks: usize) -> (usize, u64) {
    let seed = name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(byte)));
    ((seed >> 33) as usize % ranks.max(1), 8 + (seed >> 40) % 25)
}

fn check(name: &str, reporting: usize) {
    let node = TestNode::start();
    let id = submit(&node, name, "undisturbed", "0");
    let show = ended(&node, &id);
    if without_network(&show) {
        return;
    }
    assert_eq!(show["state"], "succeeded", "{name}: {show}\n{}", node.ok(&["logs", &id]));
    let clean = result(&node, &id);
    assert_eq!((clean.steps.len(), clean.digests.len()), (60, reporting), "{name}");
    assert!(clean.first_loss > clean.last_loss + 0.1, "{name}: {} to {}", clean.first_loss, clean.last_loss);
    assert!((clean.last_loss - LOSS).abs() < 1e-4, "{name}: {}", clean.last_loss);
    for digest in &clean.digests {
        assert!((digest - DIGEST).abs() < 1e-3, "{name}: {:?}", clean.digests);
    }
    assert_eq!((show["progress"]["step"].as_u64(), show["progress"]["fraction"].as_f64()), (Some(60), Some(1.0)), "{name}");
    assert_eq!(show["checkpoints"][0]["complete"], true, "{name}: {}", show["checkpoints"]);

    let id = submit(&node, name, "killed", "0.1");
    let (_, step) = draw(name, 1);
    node.wait_for_line(&id, &format!("step {step}/60"));
    let ranks = ranks_of(&node, &id, name);
    assert!(!ranks.is_empty(), "{name}: no rank found");
    let victim = ranks[draw(name, ranks.len()).0];
    super::bench_node::signal(victim, rustix::process::Signal::KILL);
    let show = ended(&node, &id);
    assert_eq!(show["state"], "succeeded", "{name}: {show}\n{}", node.ok(&["logs", &id]));
    assert_eq!(show["runs"].as_array().unwrap().len(), 2, "{name}: one rank's death, one more run: {show}");
    let resumed = result(&node, &id);
    let first = resumed.steps[0];
    assert!(first > 5 && first <= 60, "{name}: goes on from a checkpoint, not at step {first}");
    let rounded = |result: &Result| result.digests.iter().map(|digest| (digest * 1e3).round() as i64).collect::<BTreeSet<_>>();
    assert_eq!(rounded(&resumed), rounded(&clean), "{name}: the same result as undisturbed");
    assert!((resumed.last_loss - clean.last_loss).abs() < 1e-6, "{name}");
}

#[test]
fn jax_trains_and_recovers() {
    if wanted("jax") {
        check("jax", 2);
    }
}

#[test]
fn tensorflow_trains_and_recovers() {
    if wanted("tensorflow") {
        check("tensorflow", 2);
    }
}

#[test]
fn paddle_trains_and_recovers() {
    if wanted("paddle") {
        // Its launcher passes on the output of the first rank alone.
        check("paddle", 1);
    }
}

#[test]
fn torchrun_trains_and_recovers() {
    if wanted("torchrun") {
        check("torchrun", 2);
    }
}

#[test]
fn mpi_trains_and_recovers() {
    if wanted("mpi") {
        if Command::new("mpirun").arg("--version").output().is_err() {
            eprintln!("skipped: mpirun is not installed (Debian: openmpi-bin)");
            return;
        }
        check("mpi", 2);
    }
}

#[test]
fn ray_trains_and_recovers() {
    if wanted("ray") {
        // The driver is the only one that prints a digest.
        check("ray", 1);
    }
}
