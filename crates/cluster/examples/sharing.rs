//! Tenants share a cluster: fairness, waits and use, policy beside policy.
//!
//! `cargo run --release -p cluster --example sharing -- DATA [--mixes a,b] [--policies a,b] [--machines N] [--jobs N] [--seeds N]`
//! where DATA is the folder `gavel-osdi20`. Mixes: `small` (many small jobs, every tenth a machine wide), `uneven` (one tenant asks for
//! six times as much as the others), `philly` and `measured` (shapes of recorded jobs), `trap` (gangs that quota admits and no machine
//! can hold). Policies: `fifo`, `easy`, `easy-whole` (machines are not shared), `quota` (admit by quota, then look for a place), `ashlar`.

use cluster::replay::sharing::{Cluster, Easy, Live, QuotaFirst, Scheduler, SharingReport, Work, never_fits, recorded, share, synthetic};
use cluster::replay::types::{Types, parse_speeds, parse_trace};
use placement::Policy;
use spec::Span;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

const MIXES: [&str; 5] = ["small", "uneven", "philly", "measured", "trap"];
const POLICIES: [&str; 5] = ["fifo", "easy", "easy-whole", "quota", "ashlar"];
/// More is asked for than there is, so that it matters who goes first.
const LOAD: u64 = 1100;

fn read(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut text = String::new();
    lzma_rust2::XzReader::new(bytes.as_slice(), false).read_to_string(&mut text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text)
}

/// Devices and duration of recorded jobs, at the speeds that were measured on a V100.
fn shapes(folder: &Path, trace: &str) -> Result<Vec<(u32, Span)>, String> {
    let types = Types { names: vec!["v100".into()], devices: vec![64] };
    let hinted = |error: cluster::replay::types::TypesError| format!("{error}\nhint: {}", error.hint());
    let speeds = parse_speeds(&read(&folder.join("simulation_throughputs.json.xz"))?, &types).map_err(hinted)?;
    let (jobs, _) = parse_trace(&read(&folder.join(format!("{trace}.trace.xz")))?, &speeds, &types).map_err(hinted)?;
    let span = |job: &cluster::replay::types::TraceJob| {
        let speed = speeds.get(&(job.class.clone(), job.devices)).map(|alone| alone[0]).filter(|speed| *speed > 0.0)?;
        // What ran for weeks says nothing about who waits for whom.
        Some((job.devices, Span(((job.steps / speed).min(2.0 * 86_400.0) * 1000.0) as u64)))
    };
    Ok(jobs.iter().filter_map(span).collect())
}

fn mix(name: &str, cluster: &Cluster, jobs: usize, seed: u64, data: &str) -> Result<Vec<Work>, String> {
    let folder = Path::new(data);
    Ok(match name {
        "small" => synthetic(cluster, jobs, LOAD, &[1, 1, 1, 1], seed),
        "uneven" => synthetic(cluster, jobs, LOAD, &[6, 1, 1, 1], seed),
        "philly" => recorded(cluster, &shapes(folder, "msr-seed0-6214e9")?, LOAD, &[3, 1, 1, 1], seed),
        "measured" => {
            let some = [shapes(folder, "max_min_fairness")?, shapes(folder, "minimize_makespan")?].concat();
            let many: Vec<(u32, Span)> = some.iter().copied().cycle().take(jobs).collect();
            recorded(cluster, &many, LOAD, &[3, 1, 1, 1], seed)
        }
        "trap" => never_fits(cluster, seed),
        other => return Err(format!("no mix `{other}`; there are {}", MIXES.join(", "))),
    })
}

fn run() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|given| given == name).and_then(|at| arguments.get(at + 1)).cloned();
    let number = |name: &str, default: usize| {
        option(name).map_or(Ok(default), |text| text.parse().ok().filter(|n| *n > 0).ok_or(format!("{name} {text}: write a number")))
    };
    let data = arguments.first().filter(|first| !first.starts_with("--")).ok_or("give the folder of Gavel's traces, gavel-osdi20")?;
    let cluster = Cluster { machines: number("--machines", 8)?, each: 8, weights: vec![1, 1, 1, 1] };
    let (jobs, seeds) = (number("--jobs", 1500)?, number("--seeds", 3)?);
    println!(
        "{:<10} {:<11} {:>6} {:>9} {:>9} {:>8} {:>8} {:>8} {:>9} {:>7} {:>6} {:>6}",
        "MIX", "POLICY", "USED", "SHORTFALL", "DEVIATION", "SMALL", "P95", "GANG", "MAKESPAN", "EVICTED", "VAIN", "LOST"
    );
    for name in option("--mixes").unwrap_or(MIXES.join(",")).split(',') {
        for policy in option("--policies").unwrap_or(POLICIES.join(",")).split(',') {
            let mut all = vec![];
            for seed in 1..=seeds as u64 {
                let work = mix(name, &cluster, jobs, seed, data)?;
                let mut scheduler: Box<dyn Scheduler> = match policy {
                    "fifo" => Box::new(Easy::new(&cluster, &work, false, false)),
                    "easy" => Box::new(Easy::new(&cluster, &work, true, false)),
                    "easy-whole" => Box::new(Easy::new(&cluster, &work, true, true)),
                    "quota" => Box::new(QuotaFirst::new(&cluster, &work)),
                    "ashlar" => Box::new(Live::new(&cluster, &work, Policy::default())),
                    other => return Err(format!("no policy `{other}`; there are {}", POLICIES.join(", "))),
                };
                all.push(share(&cluster, &work, scheduler.as_mut()).map_err(|fault| format!("{policy} on {name}: {fault}"))?);
            }
            print(name, policy, &all);
        }
    }
    Ok(())
}

/// Means over the seeds; numbers of evictions are sums.
fn print(mix: &str, policy: &str, all: &[SharingReport]) {
    let mean = |of: &dyn Fn(&SharingReport) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
    let percent = |of: &dyn Fn(&SharingReport) -> f64| format!("{:.1} %", 100.0 * mean(of));
    let minutes = |of: &dyn Fn(&SharingReport) -> Span| format!("{:.0} min", mean(&|report| of(report).0 as f64) / 60_000.0);
    println!(
        "{mix:<10} {policy:<11} {:>6} {:>9} {:>9} {:>8} {:>8} {:>8} {:>9} {:>7} {:>6} {:>6}",
        percent(&|report| report.used),
        percent(&|report| report.worst_shortfall),
        percent(&|report| report.mean_deviation),
        minutes(&|report| report.small_wait),
        minutes(&|report| report.small_wait_p95),
        minutes(&|report| report.gang_wait),
        format!("{:.0} h", mean(&|report| report.makespan.0 as f64) / 3_600_000.0),
        all.iter().map(|report| report.evictions).sum::<u64>(),
        all.iter().map(|report| report.vain_evictions).sum::<u64>(),
        percent(&|report| report.lost),
    );
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
