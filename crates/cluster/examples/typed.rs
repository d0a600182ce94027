//! Completion time on several types of devices, goal beside goal, on Gavel's traces with its measured speeds.
//!
//! `cargo run --release -p cluster --example typed -- DATA [--traces a,b] [--goals a,b] [--jobs N] [--devices V100:P100:K80]`
//! where DATA is the folder `gavel-osdi20`. Goals: `fifo`, `fifo-aware`, `fair`, `fair-aware`, `makespan`, `throughput`, `ashlar`,
//! `ashlar-learning` (starts with no speed known). What each one is: docs/guides/simulate.md.

use cluster::replay::types::{TraceJob, TypedWorld, Types, parse_speeds, parse_trace};
use placement::heterogeneity::Goal;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

const ROUND: f64 = 360.0;
const GOALS: [(&str, Goal, bool); 8] = [
    ("fifo", Goal::Fifo { aware: false }, true),
    ("fifo-aware", Goal::Fifo { aware: true }, true),
    ("fair", Goal::Fair { aware: false }, true),
    ("fair-aware", Goal::Fair { aware: true }, true),
    ("makespan", Goal::Makespan, true),
    ("throughput", Goal::Throughput, true),
    ("ashlar", Goal::Completion, true),
    ("ashlar-learning", Goal::Completion, false),
];

fn read(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut text = String::new();
    lzma_rust2::XzReader::new(bytes.as_slice(), false).read_to_string(&mut text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text)
}

fn run() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|given| given == name).and_then(|at| arguments.get(at + 1)).cloned();
    let data = arguments.first().filter(|first| !first.starts_with("--")).ok_or("give the folder of Gavel's traces, gavel-osdi20")?;
    let devices = option("--devices").unwrap_or("8:16:24".into());
    let devices: Vec<u32> = devices
        .split(':')
        .map(|count| count.parse().map_err(|_| format!("--devices {devices}: write 8:16:24")))
        .collect::<Result<_, _>>()?;
    let names = ["v100", "p100", "k80"].map(String::from).to_vec();
    if devices.len() != names.len() {
        return Err("--devices: three numbers are needed, as in 8:16:24".into());
    }
    let types = Types { names, devices };
    let chosen = option("--goals").unwrap_or(GOALS.map(|(name, ..)| name).join(","));
    let goals = chosen.split(',').map(|name| {
        let known = || format!("no goal `{name}`; there are {}", GOALS.map(|(name, ..)| name).join(", "));
        GOALS.iter().find(|(known, ..)| *known == name).ok_or_else(known)
    });
    let goals = goals.collect::<Result<Vec<_>, String>>()?;
    let folder = Path::new(data);
    let speeds = parse_speeds(&read(&folder.join("simulation_throughputs.json.xz"))?, &types)
        .map_err(|error| format!("{error}\nhint: {}", error.hint()))?;
    println!(
        "{:<18} {:<16} {:>9} {:>9} {:>9} {:>9} {:>9} {:>12}",
        "TRACE", "GOAL", "MEAN", "P95", "MAKESPAN", "WORST RHO", "MEAN RHO", "P95 DECISION"
    );
    for name in option("--traces").unwrap_or("max_min_fairness,minimize_makespan,msr-seed0-0e4a51".into()).split(',') {
        let text = read(&folder.join(format!("{name}.trace.xz")))?;
        let (mut trace, left_out): (Vec<TraceJob>, _) =
            parse_trace(&text, &speeds, &types).map_err(|error| format!("{name}.trace, {error}\nhint: {}", error.hint()))?;
        if let Some(first) = left_out.first() {
            eprintln!("note: {name}.trace: {} of {} jobs left out; the first, {first}", left_out.len(), left_out.len() + trace.len());
        }
        if trace.is_empty() {
            return Err(format!("{name}.trace: no job can run on these devices\nhint: give more, as in --devices 36:36:36"));
        }
        trace.truncate(option("--jobs").and_then(|jobs| jobs.parse().ok()).unwrap_or(usize::MAX));
        for (goal_name, goal, told) in &goals {
            let mut took = vec![];
            let mut world = TypedWorld::new(&types, &speeds, &trace, ROUND, *told);
            let mut timed = |decide: &mut dyn FnMut()| {
                let before = Instant::now();
                decide();
                took.push(before.elapsed());
            };
            let end = world.play(*goal, &mut timed).map_err(|fault| format!("{goal_name}: {fault}"))?;
            took.sort_unstable();
            let p95 = took.get(took.len() * 95 / 100).copied().unwrap_or_default();
            let hours = |seconds: f64| format!("{:.2} h", seconds / 3600.0);
            println!(
                "{name:<18} {goal_name:<16} {:>9} {:>9} {:>9} {:>9.2} {:>9.2} {:>9.2} ms",
                hours(end.mean),
                hours(end.p95),
                hours(end.makespan),
                end.worst_rho,
                end.mean_rho,
                p95.as_secs_f64() * 1e3
            );
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
