//! JAX with one process a rank.
//!
//! JAX reads its coordinator's address from a variable of its own, but the number of processes and the rank only
//! from arguments or from a cluster it knows. Slurm is the one it recognises by five variables alone, so a bare
//! `jax.distributed.initialize()` works when those are there. `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID` are for
//! programs that pass them on themselves.

use super::{BARE, HOST, Place, Ports, Recipe};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Jax,
    name: "jax",
    summary: "jax.distributed.initialize() without arguments; gloo between ranks on CPUs",
    ports: Ports::One,
    fill,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    let Place { rank, ranks, .. } = place;
    if let Some(address) = place.address() {
        variables.fix("JAX_COORDINATOR_ADDRESS", address.as_str(), "rank 0 serves the gang there; leased for this attempt");
        variables.set("JAX_COORDINATOR_BIND_ADDRESS", address, "unset, JAX listens on every network of the machine");
        variables.fix("JAX_NUM_PROCESSES", ranks.to_string(), "for programs that pass it to initialize()");
        variables.fix("JAX_PROCESS_ID", rank.to_string(), "for programs that pass it to initialize()");
        let why = "JAX finds its gang by Slurm's five variables when initialize() has no arguments";
        variables.fix("SLURM_JOB_ID", place.run.job.number.to_string(), why);
        variables.fix("SLURM_STEP_NODELIST", HOST, why);
        variables.fix("SLURM_NTASKS", ranks.to_string(), why);
        variables.fix("SLURM_PROCID", rank.to_string(), why);
        variables.fix("SLURM_LOCALID", rank.to_string(), why);
    }
    variables.set(
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION",
        "gloo",
        "JAX 0.5 and 0.6.0 sum between CPU ranks only when told how; later ones do by themselves",
    );
    if place.devices == 0 {
        variables.set("JAX_PLATFORMS", "cpu", "this rank holds no device, so JAX need not look for one");
    } else {
        // From SLURM_LOCALID alone rank 1 would take the second device of the one it sees.
        let own: Vec<String> = (0..place.devices).map(|index| index.to_string()).collect();
        variables.fix(
            "JAX_LOCAL_DEVICE_IDS",
            own.join(","),
            "all that this rank sees; JAX would else take the device of its rank's number",
        );
    }
}
