//! Kinds of cores in processors that have several.

use super::system::System;
use crate::Root;
use machine::CpuSet;
use machine::topology::{CpuKind, Topology};
use std::collections::BTreeMap;

const CPUS: &str = "sys/devices/system/cpu";
/// The same core may be allowed to run some hundred MHz faster than its neighbours; that makes it no other kind.
const ALIKE_MHZ: f64 = 1.1;

pub fn fill(root: &Root, system: &System, topology: &mut Topology) {
    let cpus = topology.machine.cpus.clone();
    let by = |name: &str, value: &dyn Fn(u32) -> Option<String>| -> Vec<CpuKind> {
        let mut sets: BTreeMap<String, CpuSet> = BTreeMap::new();
        for cpu in cpus.iter() {
            let Some(value) = value(cpu) else { return Vec::new() };
            sets.entry(value).or_default().insert(cpu);
        }
        sets.into_iter().map(|(value, cpus)| CpuKind { cpus, efficiency: 0, infos: vec![(name.to_owned(), value)] }).collect()
    };
    let file = |path: &'static str| move |cpu: u32| root.text(&format!("{CPUS}/cpu{cpu}/{path}"));
    let part = by("CPUPart", &|cpu| system.processor_info(cpu, "CPUPart").map(str::to_owned));
    let capacity = |cpu| root.value::<u64>(&format!("{CPUS}/cpu{cpu}/cpu_capacity"));
    let intel = hybrid_units(root);
    let mut kinds = if part.len() > 1 {
        part
    } else if intel.len() > 1 {
        intel
    } else {
        let capacities = by("LinuxCapacity", &|cpu| capacity(cpu).map(|value| value.to_string()));
        if capacities.len() > 1 { capacities } else { by_frequency(&cpus, &|path, cpu| file(path)(cpu)) }
    };
    if kinds.len() < 2 {
        return;
    }
    let strength = |kind: &CpuKind| {
        let first = kind.cpus.first().unwrap_or(0);
        let most = |values: &dyn Fn(u32) -> Option<u64>| kind.cpus.iter().filter_map(values).max().unwrap_or(0);
        let frequency = |cpu| root.value::<u64>(&format!("{CPUS}/cpu{cpu}/cpufreq/cpuinfo_max_freq"));
        (most(&capacity), most(&frequency), std::cmp::Reverse(first))
    };
    kinds.sort_by_key(strength);
    for (efficiency, kind) in kinds.iter_mut().enumerate() {
        kind.efficiency = efficiency as u32;
        let first = kind.cpus.first().unwrap_or(0);
        if kind.infos.iter().all(|(name, _)| name != "LinuxCapacity") {
            let capacity = kind.cpus.iter().filter_map(capacity).max();
            kind.infos.extend(capacity.map(|value| ("LinuxCapacity".to_owned(), value.to_string())));
        }
        for (path, name) in [("cpufreq/cpuinfo_max_freq", "FrequencyMaxMHz"), ("cpufreq/base_frequency", "FrequencyBaseMHz")] {
            let khz =
                file(path)(first).and_then(|text| text.parse::<u64>().ok()).filter(|_| kind.infos.iter().all(|(known, _)| known != name));
            kind.infos.extend(khz.map(|khz| (name.to_owned(), (khz / 1000).to_string())));
        }
    }
    topology.cpu_kinds = kinds;
}

/// Intel's hybrid processors have a performance unit for each kind of core.
fn hybrid_units(root: &Root) -> Vec<CpuKind> {
    let kind = |(unit, name): (&str, &str)| {
        let cpus = root.list(&format!("sys/devices/{unit}/cpus")).filter(|set| !set.is_empty())?;
        Some(CpuKind { cpus, efficiency: 0, infos: vec![("CoreType".to_owned(), name.to_owned())] })
    };
    [("cpu_atom", "IntelAtom"), ("cpu_core", "IntelCore")].into_iter().filter_map(kind).collect()
}

/// By base frequency where the kernel tells it, else by the highest one.
fn by_frequency(cpus: &CpuSet, file: &dyn Fn(&'static str, u32) -> Option<String>) -> Vec<CpuKind> {
    for path in ["cpufreq/base_frequency", "cpufreq/cpuinfo_max_freq"] {
        let mut found: Vec<(u64, u32)> = Vec::new();
        for cpu in cpus.iter() {
            let Some(khz) = file(path, cpu).and_then(|text| text.parse().ok()) else { break };
            found.push((khz, cpu));
        }
        if found.len() != cpus.len() || found.is_empty() {
            continue;
        }
        found.sort_unstable();
        let mut kinds: Vec<(u64, CpuSet)> = Vec::new();
        for (khz, cpu) in found {
            match kinds.last_mut().filter(|(slowest, _)| khz as f64 <= *slowest as f64 * ALIKE_MHZ) {
                Some((_, set)) => set.insert(cpu),
                None => kinds.push((khz, [cpu].into_iter().collect())),
            }
        }
        if kinds.len() > 1 {
            return kinds.into_iter().map(|(_, cpus)| CpuKind { cpus, ..CpuKind::default() }).collect();
        }
    }
    Vec::new()
}
