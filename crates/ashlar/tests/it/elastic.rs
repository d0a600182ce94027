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
