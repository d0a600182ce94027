//! Elastic jobs in simulated time: the published figures of Tiresias, what cannot stand, and the tables of measurements.

use cluster::replay::elastic::{
    Application, Batches, Cluster, ElasticFault, Limits, Problem, Rules, Submission, Tables, Told, parse_workload,
};
use placement::goodput::{Aim, Assignment, ElasticPolicy, Goodputs, Reason, Tiresias, devices};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;

/// Files of the Pollux artifact; none, and a word on it, where they are not.
fn artifact() -> Option<BTreeMap<String, String>> {
    let root = std::env::var("ASHLAR_TEST_DATA").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into());
    let path = format!("{root}/traces/pollux-osdi21/profiles_and_workloads_1.0.tar.xz");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: no {path}");
        return None;
    };
    let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(bytes.as_slice(), false));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        if name.ends_with(".csv") && entry.read_to_string(&mut text).is_ok() {
            files.insert(name, text);
        }
    }
    Some(files)
}

fn measured(files: &BTreeMap<String, String>) -> Vec<Application> {
    let of = |(name, epochs, most_atomic): (&str, usize, Option<u32>)| {
        let prefix = format!("traces/{name}/validation-");
        let batch = |path: &str| path.strip_prefix(&prefix)?.strip_suffix(".csv")?.parse().ok();
        let validation = files.iter().filter_map(|(path, text)| Some((batch(path)?, text.as_str()))).collect();
        let text = |table: &str| files[&format!("traces/{name}/{table}.csv")].as_str();
        let tables = Tables { placements: text("placements"), scalability: text("scalability"), validation };
        Application::read(name, &tables, Limits { epochs: Some(epochs), most_atomic }).unwrap()
    };
    let rows = [("bert", 2, None), ("cifar10", 100, None), ("ncf", 10, None), ("imagenet", 90, None), ("deepspeech2", 80, None)];
    rows.into_iter().chain([("yolov3", 50, Some(8))]).map(of).collect()
}

fn run(policy: &mut dyn ElasticPolicy, rules: Rules, applications: &[Application], jobs: &[Submission]) -> (f64, u64) {
    let mut cluster = Cluster::new(rules, applications, jobs, &HashMap::from([("ncf".into(), 32768)]));
    while !cluster.is_over() {
        cluster.advance();
        let views = cluster.jobs();
        let assignments = policy.decide(cluster.now(), cluster.machines(), &views);
        cluster.adopt(&assignments).unwrap();
    }
    (cluster.completion().mean, cluster.completion().makespan)
}

#[test]
fn tiresias_has_its_published_completion_time() {
    let Some(files) = artifact() else { return };
    let applications = measured(&files);
    // simulator/results-jobload/tiresias-1.0/summary.json of the artifact.
    let published = [2473.65, 5144.9625, 3876.25625, 3280.2625, 3501.0125, 3469.69375, 5479.9125, 5079.70625];
    for (index, published) in published.into_iter().enumerate() {
        let name = format!("workloads/workload-{}.csv", index + 1);
        let jobs = parse_workload(&name, &files[&name], &applications).unwrap();
        assert_eq!(jobs.len(), 160);
        let (mean, _) = run(&mut Tiresias::default(), Rules::artifact(Batches::Asked, Told::Nothing), &applications, &jobs);
        assert!((mean - published).abs() < 0.5, "{name}: {mean} s, published are {published}");
    }
}

#[test]
fn ashlar_is_faster_than_tiresias_and_more_so_the_more_it_knows() {
    let Some(files) = artifact() else { return };
    let applications = measured(&files);
    let name = "workloads/workload-1.csv";
    let jobs = parse_workload(name, &files[name], &applications).unwrap();
    let mean = |told| {
        run(
            &mut Goodputs { aim: if told == Told::Length { Aim::LENGTHS_KNOWN } else { Aim::LENGTHS_UNKNOWN } },
            Rules::artifact(Batches::Adapted, told),
            &applications,
            &jobs,
        )
    };
    let (nothing, length) = (mean(Told::Nothing), mean(Told::Length));
    assert!(nothing.0 < 2473.65 && length.0 < nothing.0, "{nothing:?} {length:?}");
    assert_eq!(nothing, mean(Told::Nothing), "the same again");
}

const PLACEMENTS: &str = "placement,local_bsz,step_time,sync_time\n\
    1,32,0.10,0.0\n1,64,0.20,0.0\n2,32,0.11,0.01\n2,64,0.21,0.01\n4,32,0.12,0.02\n4,64,0.22,0.02\n\
    12,32,0.15,0.05\n12,64,0.25,0.05\n11,32,0.14,0.04\n11,64,0.24,0.04\n";
const SCALABILITY: &str = "num_nodes,num_replicas,local_bsz,step_time,sync_time\n\
    4,4,32,0.2,0.1\n4,4,64,0.3,0.1\n4,16,32,0.3,0.2\n4,16,64,0.4,0.2\n";
const VALIDATION: &str = "progress,iteration,metric,grad_sqr,grad_var\n100,100,1,1.0,10.0\n200,200,1,1.0,30.0\n";
const LARGER: &str = "progress,iteration,metric,grad_sqr,grad_var\n110,50,1,1.0,10.0\n190,90,1,3.0,10.0\n";

fn small() -> Application {
    let tables = Tables { placements: PLACEMENTS, scalability: SCALABILITY, validation: vec![(64, VALIDATION), (256, LARGER)] };
    Application::read("small", &tables, Limits::default()).unwrap()
}

#[test]
fn times_are_those_measured_and_between_them_linear() {
    let small = small();
    assert_eq!((small.epochs, small.batch.first, small.batch.largest, small.batch.atomic), (2, 64, 256, (32, 64)));
    assert_eq!((small.progress(0), small.progress(1), small.progress(2)), (0.0, 100.0, 190.0), "the least of the batch sizes");
    assert_eq!(small.times(&[1], 32), (0.10, 0.0));
    let (step, exchange) = small.times(&[2, 1], 48);
    assert!((step - 0.20).abs() < 1e-9 && (exchange - 0.05).abs() < 1e-9, "a placement turned round is the same one: {step} {exchange}");
    let (step, exchange) = small.times(&[4, 4, 1, 1], 32);
    assert!((step - 0.25).abs() < 1e-6 && (exchange - 0.15).abs() < 1e-6, "10 ranks lie half way from 4 to 16: {step} {exchange}");
    let (step, _) = small.times(&[4, 4, 4, 4], 128);
    assert!(step > 0.4 && step.is_finite(), "beyond what was measured it costs more: {step}");
    let noise = small.noise(160, 1);
    assert!((noise.square - 2.0).abs() < 1e-9 && (noise.variance - 20.0).abs() < 1e-9, "{noise:?}");
}

#[test]
fn wrong_tables_are_told_where() {
    let read = |placements, validation| {
        let tables = Tables { placements, scalability: SCALABILITY, validation };
        Application::read("small", &tables, Limits::default()).unwrap_err()
    };
    let error = read("placement,local_bsz,step_time\n1,2,3\n", vec![(64, VALIDATION)]);
    assert_eq!(error.to_string(), "small/placements.csv, line 1: the header lacks `sync_time`");
    let error = read("placement,local_bsz,step_time,sync_time\n1,32,0.1,0\n\n1x,32,0.1,0\n", vec![(64, VALIDATION)]);
    assert_eq!(error.to_string(), "small/placements.csv, line 4: `1x` is no number for `placement`");
    assert_eq!(read(PLACEMENTS, vec![]).problem, Problem::Empty);
    assert_eq!(read("", vec![(64, VALIDATION)]).problem, Problem::Empty);
    assert!(!error.hint().is_empty());
    let known = [small()];
    let error = parse_workload("w.csv", "name,time,application,num_replicas,batch_size\na,5,other,1,64\n", &known).unwrap_err();
    assert_eq!(error.to_string(), "w.csv, line 2: no application `other` was measured");
    let error = parse_workload("w.csv", "name,time,application,num_replicas,batch_size\na,soon,small,1,64\n", &known).unwrap_err();
    assert_eq!(error.to_string(), "w.csv, line 2: `soon` is no number for `time`");
}

fn two_jobs(known: &[Application]) -> Vec<Submission> {
    let text = "name,time,application,num_replicas,batch_size\na,0,small,2,128\nb,70,small,1,64\n";
    parse_workload("w.csv", text, known).unwrap()
}

#[test]
fn a_job_lives_as_it_was_measured() {
    let known = [small()];
    let rules = Rules { machines: (2, 4), ..Rules::artifact(Batches::Asked, Told::Nothing) };
    let mut cluster = Cluster::new(rules, &known, &two_jobs(&known), &HashMap::new());
    let mut policy = Tiresias::default();
    let mut rounds = 0;
    while !cluster.is_over() {
        cluster.advance();
        let views = cluster.jobs();
        assert_eq!(views.len(), if cluster.now() < 120 { views.len().min(1) } else { views.len() }, "b came at 70 s");
        let assignments = policy.decide(cluster.now(), cluster.machines(), &views);
        cluster.adopt(&assignments).unwrap();
        rounds += 1;
        assert!(rounds < 100);
    }
    // a: seated at 60 s, 30 s to start; then steps of 0.21 s at twice the first batch, each worth 11 / (10 / 2 + 1) by the noise at 128
    // (10 in the first epoch), and in the second 5 / 3 of square and 70 / 3 of variance between the two batch sizes.
    let gains: [f64; 2] = [11.0 / 6.0, (70.0 / 3.0 + 5.0 / 3.0) / (70.0 / 6.0 + 5.0 / 3.0)];
    let expected = 60 + 30 + (100.0 * 0.21 / gains[0]).round() as u64 + (90.0 * 0.21 / gains[1]).round() as u64;
    let ended: Vec<_> = cluster.ended().collect();
    assert_eq!(ended[0], ("a", expected, 0));
    assert_eq!(ended[1], ("b", 120 + 30 + 20 + 18 - 70, 0), "steps of 0.2 s, 100 and 90 of them");
}

#[test]
fn decisions_that_cannot_stand_are_refused() {
    let known = [small()];
    let rules = Rules { machines: (2, 4), ..Rules::artifact(Batches::Adapted, Told::Nothing) };
    let mut cluster = Cluster::new(rules, &known, &two_jobs(&known), &HashMap::new());
    cluster.advance();
    cluster.advance();
    assert_eq!(cluster.jobs().len(), 2);
    let give = |seats: &[&[(usize, u32)]]| -> Vec<Assignment> {
        seats.iter().map(|seats| Assignment { seats: seats.to_vec(), reason: Reason::Rule("by hand") }).collect()
    };
    let cases: [(Vec<Assignment>, ElasticFault); 6] = [
        (give(&[&[]]), ElasticFault::Count { told: 1, jobs: 2 }),
        (give(&[&[(0, 2)], &[]]), ElasticFault::OutOfRange { id: 0, devices: 2, least: 1, most: 1 }),
        (give(&[&[(5, 1)], &[]]), ElasticFault::NoMachine { machine: 5 }),
        (give(&[&[(0, 1), (0, 0)], &[]]), ElasticFault::Seats { id: 0 }),
        (give(&[&[(0, 1), (1, 0)], &[]]), ElasticFault::Seats { id: 0 }),
        (give(&[&[], &[(0, 1), (1, 1)]]), ElasticFault::OutOfRange { id: 1, devices: 2, least: 1, most: 1 }),
    ];
    for (assignments, fault) in cases {
        assert_eq!(cluster.adopt(&assignments), Err(fault.clone()), "{fault}");
        assert!(cluster.holds(0).is_empty() && cluster.holds(1).is_empty(), "nothing changed");
        assert!(!fault.hint().is_empty());
    }
    let tiny = Rules { machines: (1, 1), ..rules };
    let mut cluster = Cluster::new(tiny, &known, &two_jobs(&known), &HashMap::new());
    cluster.advance();
    cluster.advance();
    cluster.jobs();
    let fault = ElasticFault::Overcommitted { machine: 0, devices: 1, held: 2 };
    assert_eq!(cluster.adopt(&give(&[&[(0, 1)], &[(0, 1)]])), Err(fault));
    cluster.adopt(&give(&[&[(0, 1)], &[]])).unwrap();
    assert_eq!(devices(cluster.holds(0)), 1);
}
