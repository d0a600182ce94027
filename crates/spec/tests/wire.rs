//! Jobs that did not come out of a file keep the same rules.

use machine::CpuShare;
use spec::{
    Array, Bytes, Dependency, DependencyCondition, DeviceRequest, Environment, Framework, JobId, JobSpec, Mount, Notify, NotifyOn,
    Packages, RetryOn, Span, Work, limits, parse_devices,
};

fn job() -> JobSpec {
    JobSpec::command_job("train", vec!["python".into(), "train.py".into()], "/home/ann")
}

fn mount(source: &str, target: &str) -> Mount {
    Mount { source: source.into(), target: target.into(), read_only: false }
}

/// The sentences about a job after a change.
fn told(change: impl FnOnce(&mut JobSpec)) -> String {
    let mut job = job();
    change(&mut job);
    job.validate().expect_err("the change breaks a rule").join("\n")
}

#[test]
fn a_plain_job_keeps_every_rule() {
    assert_eq!(job().validate(), Ok(()));
}

#[test]
fn complaints_end_somewhere() {
    let mut job = job();
    job.env.extend((0..5000).map(|n| (format!("A={n}"), String::new())));
    assert_eq!(job.validate().unwrap_err().len(), limits::PROBLEMS);
}

#[test]
fn every_rule_has_its_sentence() {
    let packages = |packages| Some(Environment { packages, ..Environment::default() });
    let framework = |name: &str, build: Option<&str>| {
        let framework = Some(Framework { name: name.into(), build: build.map(String::from) });
        Some(Environment { framework, ..Environment::default() })
    };
    let notify = |on, command| Some(Notify { on, command });
    let sentences = [
        told(|job| job.name = String::new()),
        told(|job| job.name = "x".repeat(200)),
        told(|job| job.work = Work::Command(vec![])),
        told(|job| job.work = Work::Command(vec!["a\0b".into()])),
        told(|job| job.work = Work::Command(vec!["x".repeat(limits::ARGUMENT_BYTES + 1)])),
        told(|job| job.work = Work::Command(vec!["x".repeat(1000); 1000])),
        told(|job| job.work = Work::Script("x".repeat(limits::SCRIPT_BYTES + 1))),
        told(|job| job.work = Work::Script("a\0".into())),
        told(|job| job.ranks = 0),
        told(|job| job.ranks = 5000),
        told(|job| job.sizes = vec![2, 4]),
        told(|job| job.sizes = vec![0, 1]),
        told(|job| job.devices = Some(DeviceRequest { count: 0, ..DeviceRequest::default() })),
        told(|job| job.devices = Some(DeviceRequest { vendor: Some(machine::Vendor::Unknown), count: 1, ..DeviceRequest::default() })),
        told(|job| job.devices = Some(DeviceRequest { models: vec!["a:b".into()], count: 1, ..DeviceRequest::default() })),
        told(|job| {
            let models = (0..33).map(|n| format!("A{n}")).collect();
            job.devices = Some(DeviceRequest { models, count: 1, ..DeviceRequest::default() });
        }),
        told(|job| {
            job.devices = parse_devices("24GB..48GB").ok().map(|devices| DeviceRequest { memory_min: Some(Bytes::gb(80)), ..devices })
        }),
        told(|job| job.cpus = CpuShare(0)),
        told(|job| job.cpus = CpuShare(1500)),
        told(|job| job.memory = Some(Bytes(1))),
        told(|job| job.memory = Some(Bytes(u64::MAX))),
        told(|job| (job.memory, job.shm) = (Some(Bytes::gb(1)), Some(Bytes::gb(2)))),
        told(|job| job.shm = Some(Bytes(0))),
        told(|job| job.workdir = "relative".into()),
        told(|job| job.workdir = "/a/../b".into()),
        told(|job| drop(job.env.insert("A=B".into(), "x".into()))),
        told(|job| drop(job.env.insert("A".into(), "x\0".into()))),
        told(|job| drop(job.env.insert("A".into(), "x".repeat(limits::ARGUMENT_BYTES)))),
        told(|job| job.env.extend((0..20).map(|n| (format!("A{n}"), "x".repeat(100_000))))),
        told(|job| job.mounts = vec![mount("a", "/a")]),
        told(|job| job.mounts = vec![mount("/a", "/x"), mount("/b", "/x")]),
        told(|job| job.mounts = vec![mount("/a", "/dev")]),
        told(|job| job.mounts = (0..65).map(|n| mount("/a", &format!("/x{n}"))).collect()),
        told(|job| job.environment = packages(Packages::Packages(vec!["-r x".into()]))),
        told(|job| job.environment = packages(Packages::Packages(vec!["a".into(); 1001]))),
        told(|job| job.environment = packages(Packages::Requirements("-e .\n".into()))),
        told(|job| job.environment = packages(Packages::Requirements("-r/etc/shadow\n".into()))),
        told(|job| job.environment = packages(Packages::Requirements("-c\tx\n".into()))),
        told(|job| job.environment = packages(Packages::Requirements("x".repeat(limits::REQUIREMENTS_BYTES + 1)))),
        told(|job| job.environment = packages(Packages::Lock("numpy==1\n".into()))),
        told(|job| job.environment = Some(Environment { python: Some("2.7; rm".into()), ..Environment::default() })),
        told(|job| job.environment = Some(Environment { name: Some("../x".into()), ..Environment::default() })),
        told(|job| job.environment = Some(Environment { name: Some("x".into()), python: Some("3.12".into()), ..Environment::default() })),
        told(|job| job.environment = framework("--index-url x", None)),
        told(|job| job.environment = framework("torch", Some("cu 121"))),
        told(|job| {
            let lock = Packages::Lock("numpy==1 --hash=sha256:0\n".into());
            job.environment = framework("torch", None).map(|environment| Environment { packages: lock, ..environment })
        }),
        told(|job| job.expect = Some(Span::ZERO)),
        told(|job| job.limit = Some(Span(u64::MAX))),
        told(|job| (job.expect, job.limit) = (Some(Span::hours(3)), Some(Span::hours(2)))),
        told(|job| job.checkpoint.grace = Span::hours(25)),
        told(|job| job.priority = 1001),
        told(|job| job.queue = Some("../x".into())),
        told(|job| job.retry.attempts = 0),
        told(|job| (job.retry.attempts, job.retry.on) = (2, vec![])),
        told(|job| job.retry.on = vec![RetryOn::Lost, RetryOn::Lost]),
        told(|job| job.retry.backoff = Span::hours(2)),
        told(|job| job.after = vec![Dependency { job: JobId::new(1), condition: DependencyCondition::Ok }; 2]),
        told(|job| job.after = (0..257).map(|n| Dependency { job: JobId::new(n), condition: DependencyCondition::Ok }).collect()),
        told(|job| job.array = Some(Array { ranges: vec![], at_once: None })),
        told(|job| job.array = Some(Array { ranges: vec![(5, 1)], at_once: None })),
        told(|job| job.array = Some(Array { ranges: vec![(3, 4), (1, 2)], at_once: None })),
        told(|job| job.array = Some(Array { ranges: vec![(0, u32::MAX)], at_once: None })),
        told(|job| job.array = Some(Array { ranges: vec![(0, 9)], at_once: Some(0) })),
        told(|job| job.notify = notify(vec![], vec!["x".into()])),
        told(|job| job.notify = notify(vec![NotifyOn::Failed], vec![])),
    ];
    insta::assert_snapshot!("sentences", sentences.join("\n"));
}

#[test]
fn the_grace_may_be_longer_than_the_limit() {
    let mut job = job();
    (job.limit, job.checkpoint.grace) = (Some(Span::seconds(5)), Span::minutes(5));
    assert_eq!(job.validate(), Ok(()));
}

#[test]
fn environments_by_framework_and_by_name_keep_the_rules() {
    let environment = |environment| JobSpec { environment: Some(environment), ..job() }.validate();
    let framework = |name: &str, build: Option<&str>| {
        let framework = Some(Framework { name: name.into(), build: build.map(String::from) });
        environment(Environment { framework, packages: Packages::Packages(vec!["torchvision".into()]), ..Environment::default() })
    };
    for (name, build) in [("torch", None), ("torch>=2.4,<2.6", Some("cu121")), ("jax==0.5", Some("cann8.0rc2"))] {
        assert_eq!(framework(name, build), Ok(()), "{name} {build:?}");
    }
    for (name, build) in [("", None), ("-r x", None), ("torch", Some("")), ("torch", Some("../x"))] {
        assert!(framework(name, build).is_err(), "{name} {build:?}");
    }
    let named = |name: &str| environment(Environment { name: Some(name.into()), ..Environment::default() });
    for name in ["a", "my-torch_2.5", "7"] {
        assert_eq!(named(name), Ok(()), "{name}");
    }
    for name in ["", ".", "..", "-a", "a/b", "a b", &"x".repeat(65)] {
        assert!(named(name).is_err(), "{name:?}");
    }
}
