//! PaddlePaddle's collective mode: one trainer a rank; or `paddle.distributed.launch`, which starts them.
//!
//! Source: PaddlePaddle's reference of `paddle.distributed.launch` and the variables its trainers are given, seen in runs of 3.3.

use super::{BARE, HOST, Once, Place, Ports, Recipe, Sees, Wrapped};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Paddle,
    name: "paddle",
    summary: "PADDLE_TRAINER_*: paddle.distributed.init_parallel_env(); or paddle.distributed.launch itself",
    sees: Sees::Run,
    ports: Ports::EachRank,
    once: Once::WithLauncher,
    fill,
    wrap,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    if place.devices == 0 {
        variables.set("PADDLE_DISTRI_BACKEND", "gloo", "no device is granted, and gloo sums between CPUs");
    }
    if place.once {
        variables.set("PADDLE_JOB_ID", place.input.run.to_string(), "names its log files and its store");
        variables.set("POD_IP", HOST, "all ranks are on this machine");
        return;
    }
    let (rank, ranks) = (place.rank.to_string(), place.ranks.to_string());
    let addresses = place.addresses();
    for (name, value, why) in [
        ("PADDLE_TRAINER_ID", &rank, "this rank"),
        ("PADDLE_TRAINERS_NUM", &ranks, "ranks of the gang"),
        ("PADDLE_GLOBAL_RANK", &rank, "this rank"),
        ("PADDLE_GLOBAL_SIZE", &ranks, "ranks of the gang"),
        ("PADDLE_LOCAL_RANK", &rank, "this rank on its machine"),
        ("PADDLE_LOCAL_SIZE", &ranks, "ranks on this machine"),
        ("PADDLE_RANK_IN_NODE", &rank, "this rank on its machine"),
    ] {
        variables.fix(name, value.as_str(), why);
    }
    variables.fix("PADDLE_NNODES", "1", "there is one machine");
    if let (Some(own), Some(first)) = (addresses.get(place.rank as usize), addresses.first()) {
        variables.fix("PADDLE_TRAINER_ENDPOINTS", addresses.join(","), "every rank has a leased port of its own");
        variables.fix("PADDLE_CURRENT_ENDPOINT", own.as_str(), "the leased port of this rank");
        variables.fix("PADDLE_MASTER", first.as_str(), "rank 0 serves the gang there");
        variables.fix("MASTER_ADDR", HOST, "rank 0 serves the gang there");
        variables.fix("MASTER_PORT", place.ports[0].to_string(), "rank 0 serves the gang there");
    }
}

fn wrap(argv: Vec<String>, place: &Place) -> Wrapped {
    let mut ours = vec!["--nproc_per_node".to_string(), place.ranks.to_string(), "--max_restart".into(), "0".into()];
    if let Some(first) = place.port() {
        ours.extend(["--start_port".to_string(), first.to_string()]);
    }
    ours.extend(["--log_dir".to_string(), format!("{}/paddle-log", place.input.scratch)]);
    let mut wrapped = place.after_launcher(argv, &ours, "the launcher is told how many ranks, and leaves restarts to `retry:`");
    if place.once && place.devices == 0 {
        // Paddle's launcher takes an empty mask for one device, and `all` for a reason to look; CUDA takes `all`, which is no
        // index, for none.
        wrapped.argv.splice(0..0, ["env".to_string(), "CUDA_VISIBLE_DEVICES=all".into()]);
    }
    wrapped
}
