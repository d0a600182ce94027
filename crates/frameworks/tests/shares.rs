//! What a run is told that holds parts of devices.

mod common;

use common::*;
use frameworks::{LaunchInput, explain};
use machine::{Bytes, Device, Enforcement, Share, Vendor};
use spec::Launch;
use std::collections::BTreeMap;

fn told(enforced: Option<Enforcement>, compute: u32, held: &[&[&str]], own: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut spec = job(held.len() as u32, Launch::Plain);
    spec.env = own.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let devices: Vec<Device> = ["gpu-a", "gpu-b"]
        .iter()
        .zip(0..)
        .map(|(id, index)| Device { memory: Some(Bytes::gib(24)), ..device(Vendor::Nvidia, index, id) })
        .collect();
    let mut grant = grant(held);
    grant.share = enforced.map(|enforced| Share::of(Bytes::gib(8), compute, Bytes::gib(24), enforced));
    let identity = ada();
    let input = LaunchInput {
        spec: &spec,
        run: run(),
        grant: &grant,
        devices: &devices,
        only_granted_nodes: false,
        hostname: "box",
        ports: &[20_003],
        environment: None,
        scratch: "/tmp",
        files: "/files",
        identity: &identity,
    };
    let all = explain(&input).unwrap().processes.remove(0).variables;
    let ours = |name: &str| ["XLA_", "TF_", "ASHLAR_DEVICE_MEMORY"].iter().any(|word| name.contains(word));
    all.into_iter().filter(|variable| ours(&variable.name)).map(|variable| (variable.name, variable.value)).collect()
}

fn names(told: &BTreeMap<String, String>) -> Vec<&str> {
    told.keys().map(String::as_str).collect()
}

#[test]
fn a_run_with_whole_devices_or_none_is_told_nothing() {
    assert!(told(None, 0, &[&["gpu-a"]], &[]).is_empty());
    assert!(told(Some(Enforcement::Driver), 250, &[&[]], &[]).is_empty());
}

#[test]
fn frameworks_are_asked_to_take_less() {
    for level in [Enforcement::Watched, Enforcement::Counted] {
        let env = told(Some(level), 250, &[&["gpu-a"]], &[]);
        assert_eq!(names(&env), ["ASHLAR_DEVICE_MEMORY", "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_MEM_FRACTION"]);
        assert_eq!(env["XLA_PYTHON_CLIENT_MEM_FRACTION"], "0.333");
    }
    let own = told(Some(Enforcement::Watched), 0, &[&["gpu-a"]], &[("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.1")]);
    assert_eq!(own["XLA_PYTHON_CLIENT_MEM_FRACTION"], "0.1", "a hint only");
}

#[test]
fn a_slice_needs_no_hint() {
    assert_eq!(names(&told(Some(Enforcement::Hard), 0, &[&["gpu-a"]], &[])), ["ASHLAR_DEVICE_MEMORY"]);
}
