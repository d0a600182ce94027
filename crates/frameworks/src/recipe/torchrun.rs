//! PyTorch with one process a rank, as torchrun starts its workers; or torchrun itself, where the command names it.
//!
//! Ranks that are started directly are the better way: torchrun ends with code 1 even after a clean preemption, and its
//! own restarts read addresses of dead processes from its store. A restarted gang gets a fresh port instead. A torchrun in
//! the command reads the same from its `PET_*` variables, which stand for its options.

use super::{BARE, HOST, Once, Place, Ports, Recipe, Sees, loopback};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Torchrun,
    name: "torchrun",
    summary: "the variables torchrun gives its workers: init_process_group() without arguments; also Lightning; or torchrun itself",
    // Programs call torch.cuda.set_device(LOCAL_RANK).
    sees: Sees::Run,
    ports: Ports::One,
    once: Once::WithLauncher,
    fill,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    if place.once { fill_launcher(variables, place) } else { fill_worker(variables, place) }
}

/// Options of torchrun by environment: what its command line says wins over them.
fn fill_launcher(variables: &mut Variables, place: &Place) {
    variables.set("PET_NNODES", "1", "there is one machine");
    variables.set("PET_NPROC_PER_NODE", place.ranks.to_string(), "ranks of the job");
    variables.set("PET_NODE_RANK", "0", "there is one machine");
    variables.set("PET_MASTER_ADDR", HOST, "where rank 0 serves the gang");
    if let Some(port) = place.port() {
        variables.set("PET_MASTER_PORT", port.to_string(), "leased for this attempt; torchrun's own default is the same for every job");
    }
    variables.set("PET_RDZV_ID", place.input.run.to_string(), "another one for every attempt");
    variables.set("PET_MAX_RESTARTS", "0", "a failed gang is restarted as a whole by `retry:`, with a fresh port");
    let why = "torchrun's own restarts would else read addresses of dead ranks (pytorch issues 135712, 167288)";
    variables.set("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1", why);
    loopback(variables);
}

pub(super) fn fill_worker(variables: &mut Variables, place: &Place) {
    let (rank, ranks) = (place.rank.to_string(), place.ranks.to_string());
    variables.fix("MASTER_ADDR", HOST, "where rank 0 serves the gang");
    // A rank alone may be without a lease: its store then takes any free port.
    variables.fix("MASTER_PORT", place.port().unwrap_or(0).to_string(), "leased for this attempt, so no earlier attempt's store answers");
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
    loopback(variables);
}
