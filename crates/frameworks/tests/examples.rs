//! The job files beside the example programs are real ones, and start as their programs expect.

mod common;

use common::{ada, run};
use frameworks::environment::requirements_text;
use frameworks::{LaunchInput, launch};
use machine::{Bytes, CpuShare, Grant, RankGrant};
use spec::{JobSpec, Launch, Network, ParseContext, Work, parse_job};

const DIGITS: &str = include_str!("../../../examples/digits/job.yaml");
const OFFLINE: &str = include_str!("../../../examples/offline/job.yaml");
const TORCHRUN: &str = include_str!("../../../examples/torchrun/job.yaml");

fn parsed(name: &str, text: &str) -> JobSpec {
    let read = |path: &str| Err(format!("{path}: the examples need no other file"));
    let context = ParseContext { file: format!("{name}/job.yaml"), workdir: "/srv/example".into(), read: &read, default_name: name.into() };
    parse_job(text, &context).unwrap_or_else(|problems| panic!("{problems}"))
}

fn names_of_rank(spec: &JobSpec, rank: usize) -> Vec<String> {
    let ranks = (0..spec.ranks).map(|rank| RankGrant { cpus: [rank].into_iter().collect(), devices: vec![] }).collect();
    let (cpu_share, mem_nodes) = (CpuShare::ONE, [0].into_iter().collect());
    let grant = Grant { machine: "m".into(), ranks, cpu_share, memory: Bytes(1 << 30), shm: Bytes(0), mem_nodes, ports: None, share: None };
    let identity = ada();
    let input = LaunchInput {
        spec,
        run: run(),
        grant: &grant,
        devices: &[],
        only_granted_nodes: true,
        hostname: "box",
        ports: &[20_000, 20_001, 20_002, 20_003],
        environment: spec.environment.is_some().then_some("/srv/environment"),
        scratch: "/tmp",
        files: "/state/runs/17-2/launch",
        identity: &identity,
    };
    launch(&input).unwrap().processes[rank].env.iter().map(|(name, _)| name.clone()).collect()
}

#[test]
fn digits_is_a_gang_of_jax() {
    let spec = parsed("digits", DIGITS);
    assert_eq!((spec.ranks, spec.launch), (2, Launch::Jax));
    let packages = requirements_text(&spec.environment.as_ref().unwrap().packages).unwrap();
    let mut listed: Vec<&str> = include_str!("../../../examples/digits/requirements.txt").lines().collect();
    listed.sort();
    assert_eq!(packages.lines().collect::<Vec<_>>(), listed, "job.yaml and requirements.txt name the same packages");
    assert!(names_of_rank(&spec, 1).iter().any(|name| name == "JAX_COORDINATOR_ADDRESS"));
}

#[test]
fn offline_needs_no_package_and_no_network() {
    let spec = parsed("offline", OFFLINE);
    assert_eq!((spec.ranks, spec.launch, spec.isolation.network), (2, Launch::Auto, Network::None));
    assert!(spec.environment.is_none());
    assert_eq!(spec.work, Work::Command(vec!["python3".into(), "train.py".into()]));
    assert!(names_of_rank(&spec, 0).iter().any(|name| name == "ASHLAR_RENDEZVOUS"));
}

#[test]
fn torchrun_gives_all_that_its_contract_checks() {
    let spec = parsed("torchrun", TORCHRUN);
    let names = names_of_rank(&spec, 2);
    let program = include_str!("../../../examples/torchrun/contract.py");
    let (_, list) = program.split_once("NUMBERS = (").unwrap();
    let (list, _) = list.split_once(')').unwrap();
    for checked in list.split(',').map(|word| word.trim().trim_matches('"')).filter(|word| !word.is_empty()) {
        assert!(names.iter().any(|name| name == checked), "{checked}");
    }
}
