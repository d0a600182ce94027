//! How long a full look at a machine takes.
//!
//! `cargo run --release -p host --example survey -- [DIR] [TIMES]`

use host::Root;
use host::survey::{Options, survey};
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().filter(|dir| dir != "/");
    let times: usize = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(20);
    let mut taken: Vec<f64> = Vec::new();
    let mut objects = 0;
    for _ in 0..times.max(1) {
        let started = Instant::now();
        let root = dir.as_ref().map_or_else(Root::live, Root::at);
        match survey(&root, &Options::default()) {
            Ok(topology) => objects = topology.objects().count(),
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(1);
            }
        }
        taken.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    taken.sort_by(f64::total_cmp);
    println!("{objects} objects, median {:.2} ms, least {:.2} ms", taken[taken.len() / 2], taken[0]);
}
