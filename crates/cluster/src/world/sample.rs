//! Values that a simulation is made of: machines, people, plain job specs.

use machine::{Bytes, Cpu, CpuSet, CpuShare, Device, DeviceClass, DeviceId, Health, Machine, NumaNode, Package, Vendor};
use spec::{Checkpoint, Identity, Isolation, JobSpec, Launch, Retry, Work};
use std::collections::BTreeMap;

/// A job of one rank, one CPU and 64 MiB that asks for nothing else.
pub fn spec(name: &str) -> JobSpec {
    JobSpec {
        name: name.into(),
        work: Work::Command(vec!["work".into()]),
        ranks: 1,
        sizes: vec![],
        devices: None,
        cpus: CpuShare::ONE,
        memory: Some(Bytes::mib(64)),
        shm: None,
        workdir: "/".into(),
        env: BTreeMap::new(),
        mounts: vec![],
        environment: None,
        launch: Launch::Plain,
        expect: None,
        limit: None,
        priority: 0,
        queue: None,
        retry: Retry::default(),
        checkpoint: Checkpoint::default(),
        after: vec![],
        array: None,
        isolation: Isolation::default(),
        latency: spec::Latency::Ordinary,
        notify: None,
    }
}

/// A person of this name and number, in a group of their own.
pub fn person(user: &str, uid: u32) -> Identity {
    Identity { uid, gid: uid, groups: vec![], user: user.into(), home: format!("/home/{user}") }
}

/// A machine of one socket and one memory node with this many CPUs (two threads a core), GPUs and memory.
pub fn machine(id: &str, cpus: u32, gpus: u32, memory: Bytes) -> Machine {
    let cpu = |id: u32| Cpu { id, package: 0, core: id / 2, numa: 0, cache_group: 0 };
    let gpu = |index: u32| Device {
        id: DeviceId(format!("GPU-{id}-{index}")),
        vendor: Vendor::Nvidia,
        class: DeviceClass::Gpu,
        model: "NVIDIA A100-SXM4-80GB".into(),
        memory: Some(Bytes::gib(80)),
        index,
        pci: None,
        numa: Some(0),
        driver: Some("nvidia".into()),
        nodes: vec![],
        health: Health::Ready,
        ..Device::default()
    };
    let all: CpuSet = (0..cpus).collect();
    Machine {
        id: id.into(),
        hostname: id.into(),
        packages: vec![Package { id: 0, model: "simulated".into() }],
        cpus: (0..cpus).map(cpu).collect(),
        numa: vec![NumaNode { id: 0, memory, cpus: all, distances: vec![10] }],
        memory,
        devices: (0..gpus).map(gpu).collect(),
        ..Machine::default()
    }
}
