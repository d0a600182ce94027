//! Completion time of elastic jobs on the workloads of the Pollux artifact, policy beside policy.
//!
//! `cargo run --release -p cluster --example elastic -- DATA [--policies a,b] [--workloads 1,2] [--jobs]`
//! where DATA is the folder with `profiles_and_workloads_1.0.tar.xz`. Policies: `tiresias`, `pollux-objective`, `ashlar`,
//! `ashlar-class`, `ashlar-length` (see docs/guides/simulate.md for what each one knows).

use cluster::replay::elastic::{Application, Batches, Cluster, Completion, Limits, Rules, Submission, Tables, Told, parse_workload};
use placement::goodput::{Aim, ElasticPolicy, Goodputs, Tiresias};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// Ends with exit code 2.
fn refuse(error: &str, hint: &str) -> ! {
    eprintln!("error: {error}\nhint: {hint}");
    std::process::exit(2)
}

/// Files of the archive, by path.
fn unpack(path: &Path) -> BTreeMap<String, String> {
    let bytes = std::fs::read(path)
        .unwrap_or_else(|error| refuse(&format!("{}: {error}", path.display()), "give the folder of the Pollux artifact's archive"));
    let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(bytes.as_slice(), false));
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("tar") {
        let mut entry = entry.expect("tar");
        let name = entry.path().expect("path").display().to_string();
        let mut text = String::new();
        if name.ends_with(".csv") && entry.read_to_string(&mut text).is_ok() {
            files.insert(name.trim_start_matches("./").to_string(), text);
        }
    }
    files
}

/// As the artifact sets them: epochs to train, and for yolov3 the largest batch that fits its memory.
const LIMITS: [(&str, usize, Option<u32>); 6] = [
    ("bert", 2, None),
    ("cifar10", 100, None),
    ("ncf", 10, None),
    ("imagenet", 90, None),
    ("deepspeech2", 80, None),
    ("yolov3", 50, Some(8)),
];

fn application(files: &BTreeMap<String, String>, (name, epochs, most_atomic): (&str, usize, Option<u32>)) -> Application {
    let prefix = format!("traces/{name}/validation-");
    let validation = files
        .iter()
        .filter_map(|(path, text)| {
            let batch = path.strip_prefix(&prefix)?.strip_suffix(".csv")?.parse().ok()?;
            Some((batch, text.as_str()))
        })
        .collect();
    let text = |table: &str| files[&format!("traces/{name}/{table}.csv")].as_str();
    let tables = Tables { placements: text("placements"), scalability: text("scalability"), validation };
    Application::read(name, &tables, Limits { epochs: Some(epochs), most_atomic })
        .unwrap_or_else(|error| refuse(&error.to_string(), error.hint()))
}

fn policy(name: &str) -> Option<(Box<dyn ElasticPolicy>, Rules)> {
    let ours = |aim, told| -> (Box<dyn ElasticPolicy>, Rules) { (Box::new(Goodputs { aim }), Rules::artifact(Batches::Adapted, told)) };
    Some(match name {
        "tiresias" => (Box::new(Tiresias::default()), Rules::artifact(Batches::Asked, Told::Nothing)),
        "pollux-objective" => ours(Aim::POLLUX, Told::Nothing),
        "ashlar" => ours(Aim::LENGTHS_UNKNOWN, Told::Nothing),
        "ashlar-class" => ours(Aim::LENGTHS_UNKNOWN, Told::Class),
        "ashlar-length" => ours(Aim::LENGTHS_KNOWN, Told::Length),
        _ => return None,
    })
}

fn run(name: &str, applications: &[Application], workload: &[Submission], each: bool) -> (Completion, Vec<Duration>) {
    let (mut policy, rules) = policy(name)
        .unwrap_or_else(|| refuse(&format!("no policy `{name}`"), "tiresias, pollux-objective, ashlar, ashlar-class or ashlar-length"));
    let fixed = HashMap::from([("ncf".to_string(), 32768)]);
    let mut cluster = Cluster::new(rules, applications, workload, &fixed);
    let mut took = vec![];
    while !cluster.is_over() {
        cluster.advance();
        let jobs = cluster.jobs();
        let before = Instant::now();
        let assignments = policy.decide(cluster.now(), cluster.machines(), &jobs);
        if !jobs.is_empty() {
            took.push(before.elapsed());
        }
        cluster.adopt(&assignments).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
    if each {
        cluster.ended().for_each(|(job, time, restarts)| println!("{name} {job} {time} {restarts}"));
    }
    (cluster.completion(), took)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|given| given == name).and_then(|at| arguments.get(at + 1)).cloned();
    let Some(data) = arguments.first().filter(|first| !first.starts_with("--")) else {
        refuse("no folder", "give the one that holds profiles_and_workloads_1.0.tar.xz");
    };
    let files = unpack(&Path::new(data).join("profiles_and_workloads_1.0.tar.xz"));
    let applications: Vec<Application> = LIMITS.iter().map(|limits| application(&files, *limits)).collect();
    let policies = option("--policies").unwrap_or("tiresias,pollux-objective,ashlar,ashlar-class,ashlar-length".into());
    let workloads = option("--workloads").unwrap_or("1,2,3,4,5,6,7,8".into());
    println!(
        "{:<18} {:>8} {:>10} {:>9} {:>9} {:>9} {:>11}",
        "POLICY", "WORKLOAD", "MEAN JCT", "P99", "MAKESPAN", "RESTARTS", "P95 DECISION"
    );
    for name in policies.split(',') {
        let (mut means, mut all) = (vec![], vec![]);
        for workload in workloads.split(',') {
            let path = format!("workloads/workload-{workload}.csv");
            let text =
                files.get(&path).unwrap_or_else(|| refuse(&format!("no {path} in the archive"), "--workloads 1,2,3: 1 to 8 are there"));
            let jobs = parse_workload(&path, text, &applications).unwrap_or_else(|error| refuse(&error.to_string(), error.hint()));
            let (end, took) = run(name, &applications, &jobs, arguments.iter().any(|given| given == "--jobs"));
            means.push(end);
            all.extend(took);
            println!("{name:<18} {workload:>8} {:>8.1} s {:>7} s {:>7} s {:>9.1}", end.mean, end.p99, end.makespan, end.restarts);
        }
        all.sort_unstable();
        let p95 = all.get(all.len() * 95 / 100).copied().unwrap_or_default();
        let mean = |of: fn(&Completion) -> f64| means.iter().map(of).sum::<f64>() / means.len() as f64;
        println!(
            "{name:<18} {:>8} {:>8.1} s {:>7.0} s {:>7.0} s {:>9.1} {:>8.2} ms",
            "mean",
            mean(|end| end.mean),
            mean(|end| end.p99 as f64),
            mean(|end| end.makespan as f64),
            mean(|end| end.restarts),
            p95.as_secs_f64() * 1e3
        );
    }
}
