//! Slurm's scripts and commands, on a real node.

use super::bench_node::{ASHLAR, TestNode, stderr, stdout};
use std::process::{Command, Output};

/// The program under Slurm's name, talking to the node of the test.
fn slurm(node: &TestNode, name: &str, arguments: &[&str]) -> Output {
    let link = node.home.path().join(name);
    if !link.exists() {
        std::os::unix::fs::symlink(ASHLAR, &link).unwrap();
    }
    let variables = [("ASHLAR_STATE", node.state.as_os_str()), ("SEED", "42".as_ref())];
    Command::new(link).args(arguments).current_dir(node.home.path()).envs(variables).output().unwrap()
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    stdout(output).trim().to_owned()
}

fn read(node: &TestNode, name: &str) -> String {
    std::fs::read_to_string(node.home.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_batch_script_runs_unchanged() {
    let node = TestNode::start();
    let script = "#!/bin/bash\n#SBATCH --job-name=train --partition=gpu\n#SBATCH -n 2 --cpus-per-task=1   # two tasks\n\
                  #SBATCH --mem=100M -t 10 -o %x-%j.out -e %x-%j.err\nset -eu\n\
                  echo \"$SLURM_JOB_NAME $SLURM_NTASKS $SLURM_JOB_NUM_NODES ${SEED:-none} $(basename $PWD) $*\"\n\
                  echo trouble >&2\nsrun -l sh -c 'echo $SLURM_PROCID/$SLURM_NTASKS on $(grep -c . /proc/cpuinfo >/dev/null; nproc)' | sort\n\
                  srun -n 2 sh -c 'exit $((SLURM_PROCID * 3))' || echo step $?\n";
    std::fs::write(node.home.path().join("train.sbatch"), script).unwrap();
    let submitted = slurm(&node, "sbatch", &["--wait", "train.sbatch", "a", "b c"]);
    assert_eq!(ok(&submitted), "Submitted batch job 1");
    assert!(stderr(&submitted).contains("no queue 'gpu'"), "{}", stderr(&submitted));
    let folder = node.home.path().file_name().unwrap().to_str().unwrap().to_owned();
    let expected = format!("train 2 1 42 {folder} a b c\n0: 0/2 on 1\n1: 1/2 on 1\nstep 3\n");
    assert_eq!(read(&node, "train-1.out"), expected);
    assert!(read(&node, "train-1.err").starts_with("trouble\n"));
    assert!(node.ok(&["logs", "1"]).contains("train-1.out"), "the log says where the output is");
    // The same script through our own command.
    let again = node.ok(&["submit", node.home.path().join("train.sbatch").to_str().unwrap()]);
    assert_eq!(node.wait(&again), 0);
}

#[test]
fn arrays_queues_and_cancellation_under_slurms_names() {
    let node = TestNode::start();
    let array = ["--parsable", "-a", "1-5:2", "--mem=50", "--wrap", "echo $SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $SLURM_JOB_ID"];
    let id = ok(&slurm(&node, "sbatch", &array));
    assert_eq!(node.wait(&id), 0);
    assert_eq!(read(&node, &format!("slurm-{id}_5.out")), format!("{id} 5 {id}000005\n"));
    let long = ok(&slurm(&node, "sbatch", &["--parsable", "--mem=50", "-J", "long", "--wrap", "echo up; exec sleep 1000"]));
    let after = ok(&slurm(&node, "sbatch", &["--parsable", "--mem=50", "-d", &format!("afterok:{long}"), "--wrap", "true"]));
    while node.state_of(&long) != "running" {
        std::thread::yield_now();
    }
    let queue = ok(&slurm(&node, "squeue", &["-h", "-o", "%i %j %t %R"]));
    let lines: Vec<&str> = queue.lines().collect();
    assert!(lines.contains(&format!("{long} long R localhost").as_str()), "{queue}");
    assert!(lines.iter().any(|line| line.starts_with(&format!("{after} wrap PD (")) && line.contains("waits for job")), "{queue}");
    assert_eq!(ok(&slurm(&node, "squeue", &["-h", "-t", "R", "-o", "%j"])), "long");
    assert!(ok(&slurm(&node, "squeue", &[])).starts_with("JOBID PARTITION"));
    ok(&slurm(&node, "scancel", &["-n", "long"]));
    assert_eq!((node.wait(&long), node.wait(&after)), (130, 130));
    let unknown = slurm(&node, "scancel", &["4711"]);
    assert!(unknown.status.code() == Some(1) && stderr(&unknown).contains("4711"));
}

#[test]
fn what_is_wrong_with_a_script_is_told_with_its_line_and_nothing_is_submitted() {
    let node = TestNode::start();
    std::fs::write(node.home.path().join("bad.sbatch"), "#!/bin/bash\n#SBATCH --mem=lots\n#SBATCH --hold\necho\n").unwrap();
    let refused = slurm(&node, "sbatch", &["bad.sbatch"]);
    let text = stderr(&refused);
    assert!(refused.status.code() == Some(2) && text.contains("bad.sbatch:2") && text.contains("bad.sbatch:3"), "{text}");
    for arguments in [&["nosuch.sbatch"][..], &["--mem=4G"], &["--nonsense", "x"], &["--wrap", "true", "bad.sbatch"]] {
        assert_eq!(slurm(&node, "sbatch", arguments).status.code(), Some(2), "{arguments:?}");
    }
    let outside = slurm(&node, "srun", &["true"]);
    assert!(outside.status.code() == Some(2) && stderr(&outside).contains("ashlar run"), "{}", stderr(&outside));
    assert_eq!(node.json(&["jobs", "--json"]).as_array().unwrap().len(), 0);
    let test = slurm(&node, "sbatch", &["--test-only", "-c", "8000", "--wrap", "true"]);
    assert!(test.status.code() == Some(1) && stderr(&test).contains("could never start"), "{}", stderr(&test));
    assert_eq!(node.json(&["jobs", "--json"]).as_array().unwrap().len(), 0);
}
