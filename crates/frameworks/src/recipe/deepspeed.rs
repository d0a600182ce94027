//! DeepSpeed: PyTorch's variables, with which `deepspeed.init_distributed()` works; or the `deepspeed` launcher.
//!
//! Source: DeepSpeed's "Getting started", "Resource configuration" and "Launching without passwordless SSH".

use super::{BARE, Gang, HOST, Once, Place, Ports, Recipe, Sees, Wrapped, loopback, torchrun};
use crate::files::LaunchFile;
use crate::variables::Variables;
use spec::Launch;

const HOSTFILE: &str = "deepspeed.hosts";

pub(super) const RECIPE: Recipe = Recipe {
    launch: Launch::Deepspeed,
    name: "deepspeed",
    summary: "torchrun's variables for deepspeed.init_distributed(); or the deepspeed launcher with a host file",
    sees: Sees::Run,
    ports: Ports::One,
    once: Once::WithLauncher,
    fill,
    wrap,
    files,
    ..BARE
};

fn fill(variables: &mut Variables, place: &Place) {
    if place.once { loopback(variables) } else { torchrun::fill_worker(variables, place) }
}

fn wrap(argv: Vec<String>, place: &Place) -> Wrapped {
    let mut ours = vec!["--hostfile".to_string(), place.file(HOSTFILE), "--master_addr".into(), HOST.into()];
    if let Some(port) = place.port() {
        ours.extend(["--master_port".to_string(), port.to_string()]);
    }
    place.after_launcher(argv, &ours, "the launcher is told how many ranks, and a port of this attempt")
}

fn files(gang: &Gang) -> Vec<LaunchFile> {
    vec![LaunchFile::new(HOSTFILE, format!("localhost slots={}\n", gang.ranks), "the deepspeed launcher counts its ranks in it")]
}
