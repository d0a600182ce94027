//! PyTorch with one process a rank, as torchrun starts its workers.
//!
//! The ranks are started directly, without torchrun: it ends with code 1 even after a clean preemption, and its
//! own restarts read addresses of dead processes from its store. A restarted gang gets a fresh port instead.

use super::{HOST, Place, Recipe, Sees};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Torchrun,
    name: "torchrun",
    summary: "the variables torchrun gives its workers: init_process_group() without arguments; also Lightning, Accelerate, DeepSpeed",
    // Programs call torch.cuda.set_device(LOCAL_RANK).
    sees: Sees::Run,
    gang_needs_port: true,
    fill,
};

fn fill(variables: &mut Variables, place: &Place) {
    let (rank, ranks) = (place.rank.to_string(), place.ranks.to_string());
    variables.fix("MASTER_ADDR", HOST, "where rank 0 serves the gang");
    // A rank alone may be without a lease: its store then takes any free port.
    variables.fix("MASTER_PORT", place.port.unwrap_or(0).to_string(), "leased for this attempt, so no earlier attempt's store answers");
    for (name, value, why) in [
        ("RANK", &rank, "this rank"),
        ("WORLD_SIZE", &ranks, "ranks of the gang"),
        ("LOCAL_RANK", &rank, "this rank on its machine; the index of its first device among those of the run"),
        ("LOCAL_WORLD_SIZE", &ranks, "ranks on this machine"),
        ("ROLE_RANK", &rank, "this rank among those of its role; there is one role"),
        ("ROLE_WORLD_SIZE", &ranks, "ranks of the role"),
    ] {
        variables.fix(name, value.as_str(), why);
    }
    variables.fix("ROLE_NAME", "default", "torchrun's name for the only role");
    variables.fix("GROUP_RANK", "0", "this machine among those of the gang");
    variables.fix("GROUP_WORLD_SIZE", "1", "machines of the gang");
    variables.fix("TORCHELASTIC_RUN_ID", place.run.to_string(), "another one for every attempt");
    variables.fix("TORCHELASTIC_RESTART_COUNT", (place.run.attempt.saturating_sub(1)).to_string(), "attempts before this one");
    variables.fix("TORCHELASTIC_MAX_RESTARTS", place.retries.to_string(), "from the job's retry");
    variables.fix("TORCHELASTIC_USE_AGENT_STORE", "False", "no agent holds a store: rank 0 does");
    variables.set("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1", "as torchrun sets it: a failed collective ends the rank instead of hanging it");
    for (name, value) in [("GLOO_SOCKET_IFNAME", "lo"), ("NCCL_SOCKET_IFNAME", "=lo"), ("TP_SOCKET_IFNAME", "lo")] {
        variables.set(name, value, "all ranks are on this machine: no look-up of its name, no listening outside it");
    }
}
