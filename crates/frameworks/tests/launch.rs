//! The processes of a job: what each recipe sets, whose word counts, and what is refused.

mod common;

use common::*;
use frameworks::{LaunchError, LaunchInput, explain, launch, recipes};
use machine::{CpuShare, Device, Grant};
use spec::{Identity, JobId, JobSpec, Launch, RunId, Work};

struct Case {
    spec: JobSpec,
    grant: Grant,
    devices: Vec<Device>,
    identity: Identity,
}

impl Case {
    fn new(ranks: u32, launch: Launch) -> Case {
        let nothing: Vec<&[&str]> = vec![&[]; ranks as usize];
        Case { spec: job(ranks, launch), grant: grant(&nothing), devices: vec![], identity: ada() }
    }

    fn input(&self) -> LaunchInput<'_> {
        LaunchInput {
            spec: &self.spec,
            run: run(),
            grant: &self.grant,
            devices: &self.devices,
            only_granted_nodes: false,
            hostname: "box",
            ports: &[20_003, 20_004, 20_005],
            environment: Some("/srv/environments/abc"),
            scratch: "/tmp",
            files: "/state/runs/17-2/launch",
            identity: &self.identity,
        }
    }

    fn env(&self, rank: usize) -> std::collections::BTreeMap<String, String> {
        launch(&self.input()).unwrap().processes[rank].env.iter().cloned().collect()
    }
}

/// All variables of one rank with their reasons.
fn golden(case: &Case, rank: usize) -> String {
    let explained = explain(&case.input()).unwrap().processes;
    let process = &explained[rank];
    let lines = process.variables.iter().map(|v| format!("{}={}  # {}\n", v.name, v.value, v.why));
    format!("rank {} in {}: {}\n{}", process.rank, process.workdir, process.argv.join(" "), lines.collect::<String>())
}

#[test]
fn plain() {
    insta::assert_snapshot!(golden(&Case::new(2, Launch::Plain), 1));
}

#[test]
fn slurm() {
    let mut case = Case::new(1, Launch::Slurm);
    case.spec.array = Some(spec::Array { ranges: vec![(1, 3), (7, 7)], at_once: None });
    case.grant = grant(&[&["gpu-a", "gpu-b"]]);
    case.devices = vec![device(machine::Vendor::Nvidia, 0, "gpu-a"), device(machine::Vendor::Nvidia, 1, "gpu-b")];
    let input = LaunchInput { run: RunId { job: JobId::task(17, 3), attempt: 2 }, ..case.input() };
    let ours = explain(&input).unwrap().processes.remove(0).variables;
    let lines = ours.iter().filter(|v| v.name.contains("SLURM")).map(|v| format!("{}={}  # {}\n", v.name, v.value, v.why));
    insta::assert_snapshot!(lines.collect::<String>());
}

#[test]
fn jax() {
    insta::assert_snapshot!(golden(&Case::new(2, Launch::Jax), 1));
}

#[test]
fn torchrun() {
    insta::assert_snapshot!(golden(&Case::new(2, Launch::Torchrun), 1));
}

#[test]
fn a_recipe_sets_only_its_own_names() {
    use Launch::*;
    let prefixes = [
        ("SLURM_", &[Jax, Slurm][..]),
        ("JAX_", &[Jax]),
        ("TORCH", &[Torchrun, Deepspeed, Accelerate]),
        ("MASTER_", &[Torchrun, Deepspeed, Accelerate, Paddle]),
        ("RANK", &[Torchrun, Deepspeed, Accelerate, Ascend]),
        ("TF_CONFIG", &[Tensorflow]),
        ("PADDLE_", &[Paddle]),
        ("MS_", &[Mindspore]),
        ("RAY_", &[Ray]),
        ("OMPI_", &[Mpi]),
        ("HOROVOD_", &[Horovod]),
        ("DMLC_", &[Xgboost]),
    ];
    for recipe in recipes() {
        let env = Case::new(2, recipe.launch).env(0);
        for (prefix, owners) in prefixes {
            assert_eq!(env.keys().any(|name| name.starts_with(prefix)), owners.contains(&recipe.launch), "{} and {prefix}", recipe.name);
        }
        assert!(!recipe.summary.is_empty());
        assert_eq!(recipe.name, recipe.launch.name());
        assert_eq!(env.contains_key("ASHLAR_RENDEZVOUS"), recipe.launch == Launch::Plain);
    }
    let missing: Vec<_> = Launch::ALL.iter().filter(|launch| recipes().iter().all(|recipe| recipe.launch != **launch)).collect();
    assert_eq!(missing, [&Launch::Auto]);
}

#[test]
fn a_rank_alone_needs_no_port() {
    let with_ports = |launch| matches!(launch, Launch::Plain | Launch::Slurm | Launch::Mpi | Launch::Horovod | Launch::Ascend);
    for recipe in recipes() {
        let case = Case::new(1, recipe.launch);
        let input = LaunchInput { ports: &[], ..case.input() };
        let alone = launch(&input).unwrap();
        let has = |name: &str| alone.processes[0].env.iter().any(|(n, _)| n == name);
        for name in ["ASHLAR_RENDEZVOUS", "JAX_COORDINATOR_ADDRESS", "SLURM_NTASKS", "TF_CONFIG", "MS_ROLE", "RAY_ADDRESS", "DMLC_TASK_ID"]
        {
            assert!(!has(name), "{} and {name}", recipe.name);
        }
        assert_eq!(alone.processes[0].argv, ["python", "train.py"], "{}", recipe.name);
        let gang = Case::new(2, recipe.launch);
        let started = launch(&LaunchInput { ports: &[], ..gang.input() });
        assert_eq!(started.is_ok(), with_ports(recipe.launch), "{}", recipe.name);
    }
}

#[test]
fn an_attempt_differs_from_the_one_before_it() {
    let case = Case::new(2, Launch::Torchrun);
    let first =
        launch(&LaunchInput { run: RunId { job: JobId::new(17), attempt: 1 }, ports: &[20_000], ..case.input() }).unwrap().processes;
    let second = launch(&case.input()).unwrap().processes;
    let get = |process: &frameworks::Process, name: &str| process.env.iter().find(|(n, _)| n == name).unwrap().1.clone();
    for name in ["TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT", "ASHLAR_RUN_ID", "ASHLAR_ATTEMPT"] {
        assert_ne!(get(&first[0], name), get(&second[0], name), "{name}");
    }
}

#[test]
fn variables_are_sorted_and_said_once() {
    for recipe in recipes() {
        let mut case = Case::new(3, recipe.launch);
        case.spec.env = [("AAA", "1"), ("zzz", "2"), ("HOME", "/elsewhere")].map(|(n, v)| (n.to_string(), v.to_string())).into();
        for process in launch(&case.input()).unwrap().processes {
            assert!(process.env.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}

#[test]
fn the_job_has_the_last_word_except_about_what_a_rank_is() {
    let mut case = Case::new(2, Launch::Torchrun);
    let own = [
        ("LANG", "de_DE.UTF-8"),
        ("OMP_NUM_THREADS", "7"),
        ("GLOO_SOCKET_IFNAME", "eth1"),
        ("MINE", "x=y"),
        ("RANK", "5"),
        ("MASTER_PORT", "29500"),
        ("ASHLAR_JOB_ID", "1"),
        ("CUDA_VISIBLE_DEVICES", "0"),
    ];
    case.spec.env = own.map(|(n, v)| (n.to_string(), v.to_string())).into();
    let env = case.env(1);
    let expected = [
        ("LANG", "de_DE.UTF-8"),
        ("OMP_NUM_THREADS", "7"),
        ("GLOO_SOCKET_IFNAME", "eth1"),
        ("MINE", "x=y"),
        ("RANK", "1"),
        ("MASTER_PORT", "20003"),
        ("ASHLAR_JOB_ID", "17"),
        ("CUDA_VISIBLE_DEVICES", ""),
    ];
    for (name, value) in expected {
        assert_eq!(env[name], value, "{name}");
    }
    let explained = explain(&case.input()).unwrap().processes;
    let why = |name: &str| explained[1].variables.iter().find(|v| v.name == name).unwrap().why.to_string();
    assert_eq!(why("LANG"), "set by the job");
    assert_eq!(why("RANK"), "this rank; the job's own value is not used");
}

#[test]
fn a_path_of_the_job_keeps_its_environment_first() {
    let mut case = Case::new(1, Launch::Plain);
    for (own, path) in [
        ("/opt/bin:/bin", "/srv/environments/abc/bin:/opt/bin:/bin"),
        ("/opt/bin:/srv/environments/abc/bin/", "/opt/bin:/srv/environments/abc/bin/"),
        ("", "/srv/environments/abc/bin"),
    ] {
        case.spec.env.insert("PATH".into(), own.into());
        assert_eq!(case.env(0)["PATH"], path);
    }
    let bare = LaunchInput { environment: None, ..case.input() };
    assert_eq!(launch(&bare).unwrap().processes[0].env.iter().find(|(n, _)| n == "PATH").unwrap().1, "");
    case.spec.env.clear();
    let env = launch(&LaunchInput { environment: None, ..case.input() }).unwrap().processes[0].env.clone();
    assert!(!env.iter().any(|(name, _)| name == "VIRTUAL_ENV"));
    assert!(env.contains(&("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())));
}

#[test]
fn every_rank_has_a_place_for_checkpoints_and_metrics() {
    for recipe in recipes() {
        let mut case = Case::new(2, recipe.launch);
        let env = case.env(0);
        assert_eq!(env["ASHLAR_CHECKPOINTS"], "/home/ada/digits/checkpoints/17", "{}", recipe.name);
        assert_eq!(env["ASHLAR_METRICS"], "/tmp/ashlar-metrics.jsonl", "{}", recipe.name);
        case.spec.env.insert("ASHLAR_CHECKPOINTS".into(), "/data/run7".into());
        assert_eq!(case.env(0)["ASHLAR_CHECKPOINTS"], "/data/run7", "the job's own word counts");
    }
}

#[test]
fn attempts_share_their_checkpoints_and_tasks_of_an_array_do_not() {
    let mut case = Case::new(1, Launch::Plain);
    case.spec.workdir = "/".into();
    let folder = |run: RunId| {
        let launched = launch(&LaunchInput { run, ..case.input() }).unwrap();
        launched.processes[0].env.iter().find(|(name, _)| name == "ASHLAR_CHECKPOINTS").unwrap().1.clone()
    };
    let first = folder(RunId { job: JobId::new(17), attempt: 1 });
    assert_eq!(first, "/checkpoints/17");
    assert_eq!(first, folder(RunId { job: JobId::new(17), attempt: 2 }));
    assert_eq!(folder(RunId { job: JobId::task(17, 3), attempt: 1 }), "/checkpoints/17.3");
}

#[test]
fn threads_follow_the_grant() {
    let mut case = Case::new(1, Launch::Plain);
    for (milli, cpus, threads) in
        [(2000, 0..2, "2"), (250, 0..1, "1"), (1500, 0..2, "2"), (8000, 0..8, "8"), (8000, 0..4, "4"), (0, 0..0, "1")]
    {
        case.grant.cpu_share = CpuShare(milli);
        case.grant.ranks[0].cpus = cpus.collect();
        assert_eq!(case.env(0)["OMP_NUM_THREADS"], threads, "{milli}");
    }
}

#[test]
fn a_task_of_an_array_knows_its_index() {
    let case = Case::new(1, Launch::Plain);
    let task = LaunchInput { run: RunId { job: JobId::task(17, 3), attempt: 1 }, ..case.input() };
    let env = launch(&task).unwrap().processes[0].env.clone();
    for (name, value) in [("ASHLAR_ARRAY_INDEX", "3"), ("ASHLAR_JOB_ID", "17.3"), ("ASHLAR_RUN_ID", "17.3-1")] {
        assert!(env.contains(&(name.into(), value.into())), "{name}");
    }
    assert!(!case.env(0).contains_key("ASHLAR_ARRAY_INDEX"));
}

#[test]
fn a_launcher_of_another_recipe_is_refused() {
    let mut case = Case::new(2, Launch::Torchrun);
    for (argv, refused) in [
        (&["torchrun", "--nproc-per-node=2", "train.py"][..], false),
        (&["python", "-m", "torch.distributed.run", "train.py"], false),
        (&["deepspeed", "train.py"], true),
        (&["/usr/bin/mpirun", "train.py"], true),
        (&["python", "-m", "paddle.distributed.launch", "train.py"], true),
        (&["python", "torchrun.py"], false),
    ] {
        case.spec.work = Work::Command(argv.iter().map(|a| a.to_string()).collect());
        let error = launch(&case.input()).err();
        assert_eq!(matches!(error, Some(LaunchError::NestedLauncher { .. })), refused, "{argv:?}: {error:?}");
    }
    case.spec.work = Work::Command(vec!["/usr/bin/mpirun".into(), "train.py".into()]);
    let error = launch(&case.input()).unwrap_err();
    assert_eq!(error.to_string(), "'mpirun' starts ranks of its own, and so does the torchrun recipe");
    assert!(error.hint().unwrap().contains("`launch: mpi`"));
    case.spec.launch = Launch::Plain;
    let plain = launch(&case.input()).unwrap();
    assert_eq!(plain.processes.len(), 2, "with the plain recipe mpirun is a program like another");
}

#[test]
fn what_cannot_start_says_why() {
    let mut case = Case::new(2, Launch::Jax);
    let no_port = LaunchInput { ports: &[], ..case.input() };
    assert_eq!(
        launch(&no_port).unwrap_err().to_string(),
        "the jax recipe needs a port for its ranks to meet at, and the grant leases none"
    );
    case.grant = grant(&[&[]]);
    assert_eq!(launch(&case.input()).unwrap_err(), LaunchError::RanksDiffer { asked: 2, granted: 1 });
    case.grant = grant(&[&["gone"], &[]]);
    assert!(launch(&case.input()).unwrap_err().to_string().contains("device gone"));
    case.grant = grant(&[&[], &[]]);
    for (name, value, error) in [
        ("", "x", "'' is not a name for a variable"),
        ("A=B", "x", "'A=B' is not a name for a variable"),
        ("A", "x\0y", "the variable A contains a NUL byte"),
    ] {
        case.spec.env = [(name.to_string(), value.to_string())].into();
        assert_eq!(launch(&case.input()).unwrap_err().to_string(), error);
        assert!(launch(&case.input()).unwrap_err().hint().is_some());
    }
    case.spec.env = [("BIG".to_string(), "x".repeat(140_000))].into();
    assert!(matches!(launch(&case.input()), Err(LaunchError::TooLong { bytes: 140_004, .. })));
}

proptest::proptest! {
    #[test]
    fn whatever_the_job_sets_a_rank_stays_itself(names in proptest::collection::btree_map("(ASHLAR_|JAX_|SLURM_|RANK|PATH|HOME|CUDA_VISIBLE_DEVICES)[A-Z_]{0,8}", "[ -~]{0,20}", 0..12)) {
        for recipe in recipes() {
            let mut case = Case::new(2, recipe.launch);
            case.spec.env = names.clone();
            for (rank, process) in launch(&case.input()).unwrap().processes.iter().enumerate() {
                let own = process.env.iter().find(|(name, _)| name == "ASHLAR_RANK").map(|(_, value)| value.clone());
                let once = matches!(recipe.launch, Launch::Mpi | Launch::Horovod);
                proptest::prop_assert_eq!(own, if once { names.get("ASHLAR_RANK").cloned() } else { Some(rank.to_string()) });
                proptest::prop_assert!(process.env.windows(2).all(|pair| pair[0].0 < pair[1].0));
            }
        }
    }
}
