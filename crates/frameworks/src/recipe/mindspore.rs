//! MindSpore's dynamic cluster: workers, and a scheduler that brings them together; or `msrun`.
//!
//! The scheduler runs the same program with another role. Rank 0 starts it before it becomes the program, and it ends
//! with the run: its own exit code says nothing (it ends with 1 after success, seen with 2.10). Source: MindSpore's
//! tutorials "Dynamic cluster startup" and "msrun launching".

use super::{BARE, HOST, Once, Place, Ports, Recipe, Sees, Wrapped, shell_before};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Mindspore,
    name: "mindspore",
    summary: "MS_ROLE=MS_WORKER in every rank and a scheduler beside rank 0; or msrun",
    sees: Sees::Run,
    ports: Ports::One,
    once: Once::WithLauncher,
    fill,
    wrap,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    let Some(port) = place.port().filter(|_| !place.once && place.ranks > 1) else { return };
    variables.fix("MS_ROLE", "MS_WORKER", "every rank is a worker");
    variables.fix("MS_WORKER_NUM", place.ranks.to_string(), "ranks of the gang");
    variables.fix("MS_NODE_ID", place.rank.to_string(), "this rank");
    variables.fix("MS_SCHED_HOST", HOST, "the scheduler runs beside rank 0");
    variables.fix("MS_SCHED_PORT", port.to_string(), "leased for this attempt");
    variables.fix("DEVICE_ID", place.rank.to_string(), "the index of this rank's device among those of the run");
}

fn wrap(argv: Vec<String>, place: &Place) -> Wrapped {
    let Some(port) = place.port().filter(|_| place.ranks > 1) else { return Wrapped { argv, why: None } };
    if place.once {
        let ranks = place.ranks.to_string();
        let text = format!("--worker_num {ranks} --local_worker_num {ranks} --master_addr {HOST} --master_port {port} --join True");
        let mut ours: Vec<String> = text.split(' ').map(String::from).collect();
        ours.extend(["--log_dir".to_string(), format!("{}/msrun-log", place.input.scratch)]);
        return place.after_launcher(argv, &ours, "the launcher is told how many ranks, and a port of this attempt");
    }
    if place.rank > 0 {
        return Wrapped { argv, why: None };
    }
    shell_before("MS_ROLE=MS_SCHED \"$@\" &", argv, "the scheduler that brings the workers together runs the same program, beside rank 0")
}
