//! A job, a grant and devices to launch with.
#![allow(dead_code)] // every test program uses its own part

use machine::{Bytes, CpuShare, Device, DeviceClass, DeviceId, Grant, Health, PortRange, RankGrant, Vendor};
use spec::{Checkpoint, CpuRequest, Identity, Isolation, JobId, JobSpec, Launch, Retry, RunId, Work};
use std::collections::BTreeMap;

pub fn job(ranks: u32, launch: Launch) -> JobSpec {
    JobSpec {
        name: "digits".into(),
        work: Work::Command(vec!["python".into(), "train.py".into()]),
        ranks,
        sizes: vec![],
        devices: None,
        cpus: CpuRequest::ONE,
        memory: None,
        shm: None,
        workdir: "/home/ada/digits".into(),
        env: BTreeMap::new(),
        mounts: vec![],
        environment: None,
        launch,
        expect: None,
        limit: None,
        priority: 0,
        queue: None,
        retry: Retry { attempts: 3, ..Retry::default() },
        checkpoint: Checkpoint::default(),
        after: vec![],
        array: None,
        isolation: Isolation::default(),
        latency: Default::default(),
        notify: None,
    }
}

/// Two CPUs a rank, and to each rank the devices named.
pub fn grant(devices: &[&[&str]]) -> Grant {
    let rank = |(rank, held): (u32, &&[&str])| RankGrant {
        cpus: [2 * rank, 2 * rank + 1].into_iter().collect(),
        devices: held.iter().map(|id| DeviceId(id.to_string())).collect(),
    };
    Grant {
        machine: "m".into(),
        ranks: (0..).zip(devices).map(rank).collect(),
        cpu_share: CpuShare::whole(2),
        memory: Bytes(1 << 30),
        shm: Bytes(1 << 29),
        mem_nodes: [0].into_iter().collect(),
        ports: Some(PortRange { first: 20_000, count: 16 }),
        share: None,
    }
}

pub fn device(vendor: Vendor, index: u32, id: &str) -> Device {
    Device {
        id: DeviceId(id.into()),
        vendor,
        class: DeviceClass::Gpu,
        model: "card".into(),
        memory: None,
        index,
        pci: None,
        numa: None,
        driver: None,
        nodes: vec![],
        health: Health::Ready,
        ..Device::default()
    }
}

pub fn ada() -> Identity {
    Identity { uid: 1000, gid: 1000, groups: vec![], user: "ada".into(), home: "/home/ada".into() }
}

pub fn run() -> RunId {
    RunId { job: JobId::new(17), attempt: 2 }
}
