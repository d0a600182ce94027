//! A Ray cluster inside the gang: rank 0 is its head and then runs the command, the others are its workers.
//!
//! The command finds the cluster by `RAY_ADDRESS`, as `ray.init()` does without arguments; when it ends, so does the
//! run. Every node offers the CPUs of its rank and an object store within the memory of its rank: Ray's own default is
//! 30 % of the machine. Source: Ray's command line reference, `ray start`.

use super::{BARE, HOST, Place, Ports, Recipe, Wrapped};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Ray,
    name: "ray",
    summary: "a Ray cluster of the ranks; the command runs once, on its head, and ends it",
    ports: Ports::One,
    ends_with_first: true,
    fill,
    wrap,
    ..BARE
};

/// Ray refuses less.
const LEAST_STORE: u64 = 80 << 20;

fn fill(variables: &mut Variables, place: &Place) {
    let Some(address) = place.address().filter(|_| place.ranks > 1) else { return };
    variables.fix("RAY_ADDRESS", address, "ray.init() joins the cluster of the gang instead of starting one");
    variables.set("RAY_USAGE_STATS_ENABLED", "0", "what a job does is nobody else's business");
    variables.set("RAY_DISABLE_IMPORT_WARNING", "1", "not of use to anybody here");
}

fn wrap(argv: Vec<String>, place: &Place) -> Wrapped {
    let Some(port) = place.port().filter(|_| place.ranks > 1) else { return Wrapped { argv, why: None } };
    let joined = format!("{}/ashlar-ray-{}", place.input.scratch, place.run);
    let ranks = u64::from(place.ranks);
    let memory = place.input.grant.memory.0 / ranks * 3 / 10;
    let store = memory.min(place.input.grant.shm.0 / ranks * 9 / 10).max(LEAST_STORE);
    // `ray start` itself must not take the cluster for a running one to join.
    let common = format!(
        "--node-ip-address={HOST} --num-cpus={} --object-store-memory={store} --min-worker-port=0 --max-worker-port=0 --disable-usage-stats",
        place.threads
    );
    let (script, why) = if place.rank == 0 {
        let wait = format!("while [ \"$(ls '{joined}' | wc -l)\" -lt {} ]; do sleep 0.1; done;", ranks - 1);
        let start = format!("env -u RAY_ADDRESS ray start --head --port={port} --include-dashboard=false {common}");
        (format!("mkdir -p '{joined}' && {start} && {wait}"), "the head of the cluster starts first and waits for the workers")
    } else {
        let start = format!("env -u RAY_ADDRESS ray start --address={HOST}:{port} {common}");
        let stay = "exec sleep infinity".to_string();
        let script = format!("mkdir -p '{joined}' && {start} && : > '{joined}/{}' && {stay}", place.rank);
        return Wrapped {
            argv: vec!["/bin/sh".into(), "-c".into(), script],
            why: Some("a worker of the cluster: the command runs on the head, and the run ends with it"),
        };
    };
    let mut whole = vec!["/bin/sh".to_string(), "-c".into(), format!("{script} exec \"$@\""), "launch".into()];
    whole.extend(argv);
    Wrapped { argv: whole, why: Some(why) }
}
