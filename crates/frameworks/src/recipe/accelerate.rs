//! Hugging Face Accelerate: it reads PyTorch's variables; or `accelerate launch`.
//!
//! Source: Accelerate's command line reference, "accelerate launch".

use super::{BARE, Once, Place, Ports, Recipe, Sees, Wrapped, loopback, torchrun};
use crate::variables::Variables;
use spec::Launch;

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Accelerate,
    name: "accelerate",
    summary: "torchrun's variables, which Accelerator() reads; or accelerate launch",
    sees: Sees::Run,
    ports: Ports::One,
    once: Once::WithLauncher,
    fill,
    wrap,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    if place.devices == 0 {
        variables.set("ACCELERATE_USE_CPU", "true", "no device is granted");
    }
    if place.once { loopback(variables) } else { torchrun::fill_worker(variables, place) }
}

fn wrap(argv: Vec<String>, place: &Place) -> Wrapped {
    let mut ours = vec!["--num_machines".to_string(), "1".into(), "--num_processes".into(), place.ranks.to_string()];
    if let Some(port) = place.port() {
        ours.extend(["--main_process_port".to_string(), port.to_string()]);
    }
    if place.devices == 0 {
        ours.push("--cpu".into());
    }
    place.after_launcher(argv, &ours, "the launcher is told how many ranks, and a port of this attempt")
}
