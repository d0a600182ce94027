//! Prints the machine as JSON: `cargo run -p host --example probe -- [--root DIR] [--time N]`.

use host::{Root, probe};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut root = Root::live();
    let mut rounds = 0u32;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--root" => root = Root::at(arguments.next().ok_or("--root needs a folder")?),
            "--time" => rounds = arguments.next().ok_or("--time needs a number")?.parse()?,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let machine = probe(&root)?;
    println!("{}", serde_json::to_string_pretty(&machine)?);
    let mut times: Vec<_> = (0..rounds).map(|_| (Instant::now(), probe(&root))).map(|(began, _)| began.elapsed()).collect();
    times.sort();
    if let Some(median) = times.get(times.len() / 2) {
        eprintln!("probe: median {median:?}, best {:?}, worst {:?} of {rounds}", times[0], times[times.len() - 1]);
    }
    Ok(())
}
