//! Cores and memory nodes.

use crate::cgroup::Allowed;
use crate::{HostError, Root, text};
use machine::{Bytes, Cpu, CpuSet, Machine, NumaNode, Package};
use std::collections::{BTreeMap, BTreeSet};

const CPUS: &str = "sys/devices/system/cpu";
const NODES: &str = "sys/devices/system/node";

/// Fills `packages`, `cpus`, `numa` and `memory`.
///
/// # Errors
/// When neither sysfs nor cpuinfo names a CPU, or this process may use none of them.
pub fn fill(root: &Root, allowed: &Allowed, infos: &[text::CpuInfo], machine: &mut Machine) -> Result<(), HostError> {
    let online = online(root, infos);
    if online.is_empty() {
        return Err(HostError::NoCpus { root: root.dir().to_owned() });
    }
    let mut usable = online.clone();
    for limit in [allowed.cpus.clone(), affinity(root)].into_iter().flatten() {
        usable = usable.intersection(&limit);
    }
    if usable.is_empty() {
        return Err(HostError::NoUsableCpus { online: online.to_string() });
    }
    let device_nodes = device_memory_nodes(root);
    let nodes = nodes(root, &online, &device_nodes);
    machine.cpus = cpus(root, &usable, infos, &nodes);
    machine.packages = packages(&machine.cpus, infos);
    machine.memory = memory(root, allowed, &nodes, &device_nodes);
    machine.numa = usable_nodes(nodes, &machine.cpus, allowed, machine.memory);
    Ok(())
}

/// CPUs that are online and described. Some captures list more than they hold folders for.
fn online(root: &Root, infos: &[text::CpuInfo]) -> CpuSet {
    let folders: CpuSet = root.numbered(CPUS, "cpu").into_iter().collect();
    if folders.is_empty() {
        return infos.iter().map(|info| info.processor).collect();
    }
    match root.list(&format!("{CPUS}/online")).filter(|set| !set.is_empty()) {
        Some(online) => online.intersection(&folders),
        // Kernels before 2.6.26 have no such list. CPU 0 often has no switch of its own; an offline CPU has no topology.
        None => folders
            .iter()
            .filter(|cpu| match root.value::<u32>(&format!("{CPUS}/cpu{cpu}/online")) {
                Some(on) => on != 0,
                None => {
                    root.exists(&format!("{CPUS}/cpu{cpu}/topology")) || infos.is_empty() || infos.iter().any(|info| info.processor == *cpu)
                }
            })
            .collect(),
    }
}

/// The mask this process was started with. Kernels built for more CPUs than the mask holds refuse; then there is no limit.
pub(crate) fn affinity(root: &Root) -> Option<CpuSet> {
    if let Some(asked) = root.asked("affinity") {
        return asked.parse().ok();
    }
    let mask = root.is_live().then(|| rustix::thread::sched_getaffinity(None).ok()).flatten()?;
    Some((0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).filter_map(|cpu| u32::try_from(cpu).ok()).collect())
}

fn cpus(root: &Root, usable: &CpuSet, infos: &[text::CpuInfo], nodes: &[NumaNode]) -> Vec<Cpu> {
    let infos: BTreeMap<u32, &text::CpuInfo> = infos.iter().map(|info| (info.processor, info)).collect();
    let home: BTreeMap<u32, u32> = nodes.iter().flat_map(|node| node.cpus.iter().map(|cpu| (cpu, node.id))).collect();
    // CPUs of a node that is itself offline: their memory comes from elsewhere.
    let elsewhere = nodes.iter().find(|node| node.memory > Bytes::ZERO).or(nodes.first()).map_or(0, |node| node.id);
    // What one CPU says of its neighbours is not read again from each of them: on large machines that is most of the files.
    let (mut core_of, mut cache_of) = (BTreeMap::new(), BTreeMap::new());
    let mut cpu = |id: u32| {
        let info = infos.get(&id);
        // -1 is how a kernel without the knowledge says so.
        let package = root.value::<u32>(&format!("{CPUS}/cpu{id}/topology/physical_package_id"));
        let package = package.or(info.and_then(|info| info.package)).unwrap_or(0);
        let core = remembered(&mut core_of, id, || threads(root, id, &infos));
        let cache_group = remembered(&mut cache_of, id, || shared_cache(root, id)).unwrap_or(core.unwrap_or(id));
        Cpu { id, package, core: core.unwrap_or(id), numa: home.get(&id).copied().unwrap_or(elsewhere), cache_group }
    };
    usable.iter().map(&mut cpu).collect()
}

/// The lowest CPU of the set that `id` is in; the set is looked up once for all its members.
fn remembered(known: &mut BTreeMap<u32, u32>, id: u32, look_up: impl FnOnce() -> Option<CpuSet>) -> Option<u32> {
    if let Some(first) = known.get(&id) {
        return Some(*first);
    }
    let set = look_up()?;
    let first = set.iter().next()?;
    set.iter().for_each(|member| {
        known.entry(member).or_insert(first);
    });
    Some(first)
}

/// The hardware threads of a CPU's core. Core ids repeat within a package of several dies, so a core is named by its first
/// thread.
fn threads(root: &Root, id: u32, infos: &BTreeMap<u32, &text::CpuInfo>) -> Option<CpuSet> {
    let topology = format!("{CPUS}/cpu{id}/topology");
    let by_info = || {
        let info = infos.get(&id)?;
        let key = info.package.zip(info.core)?;
        Some(infos.values().filter(|other| other.package.zip(other.core) == Some(key)).map(|other| other.processor).collect())
    };
    root.list_or_mask(&format!("{topology}/core_cpus"), "_list", "")
        .or_else(|| root.list_or_mask(&format!("{topology}/thread_siblings"), "_list", ""))
        .or_else(by_info)
}

/// The CPUs that share the last level of cache.
fn shared_cache(root: &Root, cpu: u32) -> Option<CpuSet> {
    let cache = format!("{CPUS}/cpu{cpu}/cache");
    let mut best: Option<(u32, CpuSet)> = None;
    for index in root.numbered(&cache, "index") {
        let Some(level) = root.value::<u32>(&format!("{cache}/index{index}/level")) else { continue };
        if best.as_ref().is_some_and(|(highest, _)| *highest >= level) {
            continue;
        }
        if let Some(shared) = root.list_or_mask(&format!("{cache}/index{index}/shared_cpu"), "_list", "_map").filter(|set| !set.is_empty())
        {
            best = Some((level, shared));
        }
    }
    best.map(|(_, shared)| shared)
}

fn packages(cpus: &[Cpu], infos: &[text::CpuInfo]) -> Vec<Package> {
    let infos: BTreeMap<u32, &text::CpuInfo> = infos.iter().map(|info| (info.processor, info)).collect();
    let mut models: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for cpu in cpus {
        let names = models.entry(cpu.package).or_default();
        if let Some(info) = infos.get(&cpu.id) {
            let name = info.arm.map_or_else(|| info.model.clone(), |(implementer, part)| arm_name(implementer, part, &info.model));
            names.insert(name);
        }
    }
    let join = |names: BTreeSet<String>| names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" + ");
    models.into_iter().map(|(id, names)| Package { id, model: join(names) }).collect()
}

/// Arm kernels print numbers, not names. Part numbers of Arm's and the makers' reference manuals, as lscpu has them.
fn arm_name(implementer: u32, part: u32, printed: &str) -> String {
    let name = match (implementer, part) {
        (0x41, 0xc07) => "Cortex-A7",
        (0x41, 0xc09) => "Cortex-A9",
        (0x41, 0xd03) => "Cortex-A53",
        (0x41, 0xd05) => "Cortex-A55",
        (0x41, 0xd07) => "Cortex-A57",
        (0x41, 0xd08) => "Cortex-A72",
        (0x41, 0xd0b) => "Cortex-A76",
        (0x41, 0xd0c) => "Neoverse-N1",
        (0x41, 0xd40) => "Neoverse-V1",
        (0x41, 0xd42) => "Cortex-A78AE",
        (0x41, 0xd49) => "Neoverse-N2",
        (0x41, 0xd4f) => "Neoverse-V2",
        (0x41, 0xd84) => "Neoverse-V3",
        (0x41, 0xd85) => "Cortex-X925",
        (0x41, 0xd87) => "Cortex-A725",
        (0x41, 0xd8e) => "Neoverse-N3",
        (0x43, 0x0af) => "ThunderX2",
        (0x46, 0x001) => "A64FX",
        (0x48, 0xd01) => "Kunpeng 920",
        (0x4e, 0x004) => "Carmel",
        (0x70, 0x660..=0x664) => "Phytium FTC66x",
        (0x70, 0x862) => "Phytium FTC862",
        (0xc0, 0xac3 | 0xac4) => "Ampere-1",
        _ if !printed.is_empty() => printed,
        _ => return format!("Arm {implementer:#04x}:{part:#05x}"),
    };
    name.to_owned()
}

/// Memory nodes that are an accelerator's own memory (POWER9, Grace Hopper): never host memory, though the kernel counts them.
fn device_memory_nodes(root: &Root) -> BTreeSet<u32> {
    const GPUS: &str = "proc/driver/nvidia/gpus";
    let node = |gpu: &String| text::pairs(&root.text(&format!("{GPUS}/{gpu}/numa_status"))?).get("Node").and_then(|node| node.parse().ok());
    root.names(GPUS).iter().filter_map(node).collect()
}

/// Every node that has memory or CPUs, host memory only. Without a node tree, or with one that contradicts itself, one
/// node that has everything.
fn nodes(root: &Root, online: &CpuSet, device_nodes: &BTreeSet<u32>) -> Vec<NumaNode> {
    let mut ids = root.numbered(NODES, "node");
    if let Some(on) = root.list(&format!("{NODES}/online")).filter(|set| !set.is_empty()) {
        ids.retain(|id| on.contains(*id));
    }
    let distances: BTreeMap<u32, Vec<u32>> = ids
        .iter()
        .map(|id| {
            let text = root.text(&format!("{NODES}/node{id}/distance")).unwrap_or_default();
            (*id, text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        })
        .collect();
    let read = |id: u32| NumaNode {
        id,
        memory: root.text(&format!("{NODES}/node{id}/meminfo")).and_then(|text| text::meminfo(&text, "MemTotal")).unwrap_or_default(),
        cpus: root.list_or_mask(&format!("{NODES}/node{id}/cpu"), "list", "map").unwrap_or_default().intersection(online),
        distances: Vec::new(),
    };
    let mut nodes: Vec<NumaNode> = ids.iter().filter(|id| !device_nodes.contains(id)).map(|id| read(*id)).collect();
    nodes.retain(|node| node.memory > Bytes::ZERO || !node.cpus.is_empty());
    let claimed: usize = nodes.iter().map(|node| node.cpus.len()).sum();
    let all = nodes.iter().fold(CpuSet::new(), |all, node| all.union(&node.cpus));
    if all.is_empty() || claimed != all.len() {
        // A CPU in two nodes is broken firmware: nothing the nodes say can be used.
        let total = root.text("proc/meminfo").and_then(|text| text::meminfo(&text, "MemTotal"));
        let memory = total.unwrap_or_else(|| nodes.iter().map(|node| node.memory).sum());
        return vec![NumaNode { id: 0, memory, cpus: online.clone(), distances: vec![10] }];
    }
    let kept: Vec<u32> = nodes.iter().map(|node| node.id).collect();
    for node in &mut nodes {
        // The kernel's row has one number for each online node, in order.
        let row = &distances[&node.id];
        let to = |id: &u32| ids.iter().position(|other| other == id).and_then(|at| row.get(at)).copied();
        node.distances = kept.iter().map(|id| to(id).unwrap_or(if *id == node.id { 10 } else { 20 })).collect();
    }
    nodes
}

fn memory(root: &Root, allowed: &Allowed, nodes: &[NumaNode], device_nodes: &BTreeSet<u32>) -> Bytes {
    let on_devices: Bytes = device_nodes
        .iter()
        .filter_map(|id| root.text(&format!("{NODES}/node{id}/meminfo")).and_then(|text| text::meminfo(&text, "MemTotal")))
        .sum();
    let counted = root.text("proc/meminfo").and_then(|text| text::meminfo(&text, "MemTotal")).map(|total| total.saturating_sub(on_devices));
    let mut memory = counted.unwrap_or_else(|| nodes.iter().map(|node| node.memory).sum());
    if let Some(mems) = allowed.mems.as_ref().filter(|mems| nodes.iter().any(|node| mems.contains(node.id))) {
        memory = memory.min(nodes.iter().filter(|node| mems.contains(node.id)).map(|node| node.memory).sum());
    }
    allowed.memory.map_or(memory, |limit| memory.min(limit))
}

/// Leaves of each node what this process may use. A node with our CPUs but none of our memory stays, with no memory.
fn usable_nodes(nodes: Vec<NumaNode>, cpus: &[Cpu], allowed: &Allowed, memory: Bytes) -> Vec<NumaNode> {
    let limit = allowed.mems.as_ref().filter(|mems| nodes.iter().any(|node| mems.contains(node.id)));
    let kept: Vec<NumaNode> = nodes
        .iter()
        .map(|node| {
            let open = limit.is_none_or(|mems| mems.contains(node.id));
            let memory = if open { node.memory.min(memory) } else { Bytes::ZERO };
            let cpus = cpus.iter().filter(|cpu| cpu.numa == node.id).map(|cpu| cpu.id).collect();
            NumaNode { memory, cpus, ..node.clone() }
        })
        .collect();
    let here: Vec<bool> = kept.iter().map(|node| node.memory > Bytes::ZERO || !node.cpus.is_empty()).collect();
    let keep = |distances: &[u32]| distances.iter().zip(&here).filter(|(_, here)| **here).map(|(distance, _)| *distance).collect();
    let kept = kept.iter().zip(&here).filter(|(_, here)| **here);
    kept.map(|(node, _)| NumaNode { distances: keep(&node.distances), ..node.clone() }).collect()
}
