//! What steady telemetry costs: eight cards of a stand-in for NVIDIA's library, asked once a second through the real path.
//!
//! `cargo run --release -p host --example telemetry_cost -- [SECONDS]` prints the processor time and the memory of this process
//! and of the child that has the library open. Processor time is the kernel's count for each thread.

use fake_nvml::Script;
use host::accelerators::nvml::{self, Asker};
use host::{Root, process};
use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, library] = &arguments[..]
        && flag == "--child"
    {
        nvml::serve(Some(library.as_ref()), std::io::stdin().lock(), std::io::stdout());
        return Ok(());
    }
    let seconds: u32 = arguments.first().map_or(Ok(30), |text| text.parse())?;
    let library = fake_nvml::library_path();
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("script.json");
    std::fs::write(&script, serde_json::to_vec(&Script::board(8))?)?;
    let program = std::env::current_exe()?;
    let mut asker = Asker::new(Duration::from_secs(10), move || {
        let mut command = Command::new(&program);
        command.arg("--child").arg(&library).env(fake_nvml::SCRIPT_VARIABLE, &script);
        command
    });
    if asker.sweep(true).gpus.len() != 8 {
        return Err("the stand-in was not found: build it with `cargo build --release -p fake-nvml`".into());
    }
    let root = Root::live();
    let child = *process::children(&root, std::process::id()).first().ok_or("no child")?;
    let before = cpu(&root, std::process::id()) + cpu(&root, child);
    let began = Instant::now();
    for second in 1..=seconds {
        std::thread::sleep((began + Duration::from_secs(second.into())).saturating_duration_since(Instant::now()));
        if asker.sweep(false).gpus.len() != 8 {
            return Err("a sweep was not whole".into());
        }
    }
    let span = began.elapsed();
    let used = cpu(&root, std::process::id()) + cpu(&root, child) - before;
    let memory = |pid| process::rss_bytes(&root, pid).unwrap_or_default().0 as f64 / f64::from(1 << 20);
    println!("8 cards, {seconds} sweeps, one a second");
    println!("processor  {:.3} % of a core", 100.0 * used as f64 / span.as_nanos() as f64);
    println!("memory     {:.1} MiB asker, {:.1} MiB child, shared pages counted in both", memory(std::process::id()), memory(child));
    Ok(())
}

/// Nanoseconds that all threads of a process ran.
fn cpu(root: &Root, pid: u32) -> u64 {
    let tasks = format!("proc/{pid}/task");
    let of = |task: u32| root.text(&format!("{tasks}/{task}/schedstat"))?.split(' ').next()?.parse::<u64>().ok();
    root.numbered(&tasks, "").into_iter().filter_map(of).sum()
}
