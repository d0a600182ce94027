//! Jobs that run with as many ranks as there is room for.

use crate::bench_node::TestNode;

#[test]
fn an_elastic_job_starts_with_as_many_ranks_as_there_is_room_for() {
    let node = TestNode::start();
    let cpus = node.json(&["machine", "--json"])["machine"]["cpus"].as_array().unwrap().len();
    let most = cpus * 4 + 3;
    let id = node.submit(&format!(
        "ranks: 1,2,{},{most}\ncpus: 0.25\nmemory: 16MiB\nlaunch: torchrun\nscript: echo rank $RANK of $WORLD_SIZE $ASHLAR_RANKS\n",
        cpus * 4
    ));
    assert_eq!(node.wait(&id), 0);
    let ranks = cpus * 4;
    let output = node.ok(&["logs", &id]);
    for rank in 0..ranks {
        assert!(output.contains(&format!("rank {rank} of {ranks} {ranks}")), "{output}");
    }
    let show = node.show(&id);
    assert_eq!((show["elastic"]["ranks"].as_u64(), show["ranks"].as_u64()), (Some(ranks as u64), Some(most as u64)));
    assert!(node.ok(&["show", &id]).contains(&format!("ranks 1,2,{ranks},{most}, {ranks} in its newest run")));
    assert!(node.ok(&["logs", &id, "--rank", &(most - 1).to_string()]).is_empty(), "the rank there was no room for");
    let range = node.submit("ranks: 1..2\ncpus: 0.25\nmemory: 16MiB\nscript: echo $ASHLAR_RANKS\n");
    assert_eq!(node.wait(&range), 0);
    assert_eq!(node.ok(&["logs", &range, "--rank", "1"]).trim(), "2");
}

/// Two-rank gradient descent on whole numbers, so that the order of sums does not matter. The global batch is dealt out anew for
/// each number of ranks; rank 0 saves after each step. Halfway it waits for a file, for as long as the test needs.
const TRAIN: &str = r#"
import json, os, signal, socket, sys, time
rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
at = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
work = sys.argv[1]
stop = False
def asked(*_):
    global stop
    stop = True
signal.signal(signal.SIGUSR1, asked)
step, weight = 0, 1
try:
    step, weight = json.load(open(work + "/saved"))
except FileNotFoundError:
    pass
def connect():
    if rank == 0:
        server = socket.create_server(at, reuse_port=True)
        return [server.accept()[0].makefile("rwb") for _ in range(ranks - 1)]
    while True:
        try:
            return [socket.create_connection(at).makefile("rwb")]
        except ConnectionRefusedError:
            time.sleep(0.01)
peers = connect()
print("resumed at", step, "with", ranks, flush=True)
while step < 40:
    mine = sum((weight * sample + sample * sample) % 1009 for sample in range(24) if sample % ranks == rank)
    try:
        if rank == 0:
            total = mine + sum(int(peer.readline()) for peer in peers)
            hold = step == 20 and not os.path.exists(work + "/go")
            answer = "stop" if stop else "wait" if hold else str(total)
            for peer in peers:
                peer.write((answer + "\n").encode()); peer.flush()
        else:
            peers[0].write(f"{mine}\n".encode()); peers[0].flush()
            answer = peers[0].readline().decode().strip()
    except (OSError, ValueError):
        sys.exit(0 if stop else 1)
    if answer in ("stop", ""):
        sys.exit(0)
    if answer == "wait":
        time.sleep(0.02)
        continue
    weight, step = (weight * 31 + int(answer)) % 1_000_003, step + 1
    if rank == 0:
        json.dump([step, weight], open(work + "/saving", "w"))
        os.replace(work + "/saving", work + "/saved")
        print("step", step, flush=True)
"#;

fn train(node: &TestNode, folder: &str, ranks: &str) -> String {
    let work = node.home.path().join(folder);
    std::fs::create_dir(&work).unwrap();
    std::fs::write(node.home.path().join("train.py"), TRAIN).unwrap();
    node.submit(&format!(
        "name: train\nranks: {ranks}\ncpus: 0.5\nmemory: 64MiB\nlaunch: torchrun\nexpect: 10h\ncheckpoint: {{signal: USR1, grace: 2s}}\n\
         command: python3 train.py {}\n",
        work.display()
    ))
}

/// Follows the job until this is true of it.
fn until(node: &TestNode, id: &str, what: &str, reached: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    for _ in 0..600 {
        let show = node.show(id);
        if reached(&show) {
            return show;
        }
        assert!(show["ended"].is_null(), "job {id} ended before {what}: {show:#}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("never {what}: {:#}", node.show(id));
}

/// A gang of two gives half of its place to a job that waits, goes on alone from its checkpoint, has it back when the other has
/// ended, and ends with the result of an undisturbed run.
#[test]
fn a_running_job_shrinks_and_grows_and_ends_with_the_same_result() {
    let flags = ["--shortest-run", "1ms", "--restart-cost", "1ms"];
    let node = TestNode::start_with(&flags, "queues:\n  - {name: lab, limits: {cpus: 1}}\n  - {name: aside}\n");
    std::fs::write(node.home.path().join("hold"), "").unwrap();
    let id = {
        let job = train(&node, "disturbed", "1..2\nqueue: lab");
        node.wait_for_line(&job, "step 20");
        job
    };
    assert_eq!(node.show(&id)["elastic"]["ranks"], 2);
    let hold = node.home.path().join("hold");
    let other = node.submit(&format!(
        "queue: lab\ncpus: 0.5\nmemory: 16MiB\nexpect: 10h\nscript: while [ -e {} ]; do sleep 0.1; done\n",
        hold.display()
    ));
    let small = until(&node, &id, "shrunk", |show| show["state"] == "running" && show["runs"].as_array().unwrap().len() == 2);
    assert_eq!((small["runs"][0]["goes_on_with"].as_u64(), small["elastic"]["ranks"].as_u64()), (Some(1), Some(1)));
    assert_eq!(small["runs"][0]["evicted_for"].as_str(), Some(other.as_str()));
    assert!(node.ok(&["show", &id]).contains(&format!("gives room to job {other}; goes on with 1 rank, with no attempt lost")));
    until(&node, &other, "started", |show| show["state"] == "running");
    std::fs::remove_file(hold).unwrap();
    assert_eq!(node.wait(&other), 0);
    let large = until(&node, &id, "grown", |show| show["state"] == "running" && show["runs"].as_array().unwrap().len() == 3);
    assert_eq!((large["runs"][1]["goes_on_with"].as_u64(), large["elastic"]["ranks"].as_u64()), (Some(2), Some(2)));
    std::fs::write(node.home.path().join("disturbed/go"), "").unwrap();
    assert_eq!(node.wait(&id), 0);
    let output = node.ok(&["logs", &id, "--rank", "0"]);
    assert!(output.contains("resumed at 20 with 2"), "{output}");
    let plain = train(&node, "plain", "1");
    std::fs::write(node.home.path().join("plain/go"), "").unwrap();
    assert_eq!(node.wait(&plain), 0);
    let result = |folder: &str| std::fs::read_to_string(node.home.path().join(folder).join("saved")).unwrap();
    assert_eq!(result("disturbed"), result("plain"));
}
