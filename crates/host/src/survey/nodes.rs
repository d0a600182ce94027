//! Memory nodes: their memory, the CPUs near to them, distances, caches in front of them, and the figures of firmware.

use super::{Options, knl, system::System};
use crate::{Folder, Root, text};
use machine::topology::{Cache, CacheKind, Distances, Kind, MemoryAttribute, MemoryValue, NodeMemory, Object, Topology};
use machine::{Bytes, CpuSet};

const PLACES: [&str; 2] = ["sys/bus/node/devices", "sys/devices/system/node"];
/// A matrix of more nodes than this is damage: it would hold a million figures.
const MOST_NODES: usize = 1024;

/// A node before it has its place in the tree.
pub struct Node {
    pub number: u32,
    pub cpus: CpuSet,
    memory: NodeMemory,
    pub subtype: Option<String>,
    infos: Vec<(String, String)>,
    caches: Vec<Cache>,
}

impl Node {
    pub fn object(&self) -> Object {
        let mut object = Object::node(self.number, self.cpus.clone(), self.memory);
        object.subtype.clone_from(&self.subtype);
        object.infos.clone_from(&self.infos);
        object
    }
}

pub fn look(root: &Root, options: &Options, system: &System, topology: &mut Topology) {
    let place = PLACES.into_iter().find(|place| !root.numbered(place, "node").is_empty()).unwrap_or(PLACES[1]);
    let numbers = numbers(root, place);
    let mut nodes = read(root, place, options, &numbers, topology);
    if nodes.is_empty() {
        let memory = root.text("proc/meminfo").and_then(|text| text::meminfo(&text, "MemTotal")).unwrap_or_default();
        let machine = &mut topology.machine;
        machine.insert_memory(Object::node(0, machine.cpus.clone(), NodeMemory { local: memory, ..NodeMemory::default() }));
        return;
    }
    let matrix = matrix(root, place, &numbers);
    if system.knights_landing && knl::place(root, &mut nodes, matrix.as_ref(), topology) {
        topology.distances.extend(matrix.filter(|matrix| matrix.nodes.len() > 1));
        return;
    }
    locate(root, place, &mut nodes, matrix.as_ref());
    let (with, without): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| !node.caches.is_empty() || !node.cpus.is_empty());
    for node in with.into_iter().chain(without) {
        topology.machine.insert_memory(node.object());
        for cache in &node.caches {
            let nodes = [node.number].into_iter().collect::<CpuSet>();
            let mut object = Object::of(Kind::MemoryCache(*cache), None, node.cpus.clone());
            (object.nodes, object.complete_nodes) = (nodes.clone(), nodes);
            topology.machine.insert_memory(object);
        }
    }
    if let Some(matrix) = matrix.filter(|matrix| matrix.nodes.len() > 1) {
        let known = matrix.restricted(|number| nodes.iter().any(|node| node.number == number));
        let cpus_of = |number| nodes.iter().find(|node| node.number == number).map(|node| node.cpus.clone()).unwrap_or_default();
        topology.machine.group_by_distance(&known, cpus_of);
        topology.distances.push(known);
    }
    figures(root, place, &nodes, topology);
}

/// Nodes that are online.
fn numbers(root: &Root, place: &str) -> Vec<u32> {
    let mut numbers = root.numbered(place, "node");
    if let Some(online) = root.list("sys/devices/system/node/online").filter(|set| !set.is_empty()) {
        numbers = online.iter().collect();
    }
    numbers.truncate(MOST_NODES);
    numbers
}

fn read(root: &Root, place: &str, options: &Options, numbers: &[u32], topology: &mut Topology) -> Vec<Node> {
    let device_memory = device_memory(root);
    let mut claimed = CpuSet::new();
    let mut nodes = Vec::new();
    for number in numbers {
        let Some(folder) = root.folder(&format!("{place}/node{number}")) else { continue };
        let mask = folder.text("cpumap").and_then(|text| text::mask(&text));
        let Some(cpus) = mask.or_else(|| folder.text("cpulist")?.parse().ok()) else { continue };
        if !cpus.is_disjoint(&claimed) && !options.overlapping_nodes {
            topology.findings.push(format!("memory node {number} claims CPUs of other nodes and was left out"));
            continue;
        }
        claimed = claimed.union(&cpus);
        let local = folder.text("meminfo").and_then(|text| text::meminfo(&text, "MemTotal")).unwrap_or_default();
        let memory = NodeMemory { local, huge: huge_pages(&folder), tier: None };
        // CPUs that are offline or not described are in no object.
        let cpus = cpus.intersection(&topology.machine.cpus);
        let mut node = Node { number: *number, cpus, memory, subtype: None, infos: Vec::new(), caches: caches(&folder) };
        if let Some((gpu, _)) = device_memory.iter().find(|(_, of)| of == number) {
            if !options.device_memory {
                continue;
            }
            node.subtype = Some("GPUMemory".into());
            node.infos.push(("PCIBusID".into(), gpu.clone()));
            let near = root.text(&format!("sys/bus/pci/devices/{gpu}/local_cpus")).and_then(|text| text::mask(&text));
            node.cpus = near.unwrap_or_default().intersection(&topology.machine.cpus);
        }
        nodes.push(node);
    }
    super::storage::annotate_nodes(root, |number, infos| {
        if let Some(node) = nodes.iter_mut().find(|node| node.number == number) {
            node.infos.extend(infos);
        }
    });
    nodes
}

/// PCI address and memory node of GPUs whose memory the kernel counts as its own.
fn device_memory(root: &Root) -> Vec<(String, u32)> {
    const GPUS: &str = "proc/driver/nvidia/gpus";
    let node = |gpu: String| {
        let status = root.text(&format!("{GPUS}/{gpu}/numa_status"))?;
        let number = text::pairs(&status).get("Node").and_then(|number| number.parse().ok())?;
        Some((gpu, number))
    };
    root.names(GPUS).into_iter().filter_map(node).collect()
}

fn huge_pages(node: &Folder) -> Bytes {
    let Some(folder) = node.exists("hugepages").then(|| node.folder("hugepages")).flatten() else { return Bytes::ZERO };
    let bytes = |name: &String| {
        let size: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let count: u64 = folder.value(&format!("{name}/nr_hugepages"))?;
        size.checked_mul(1024)?.checked_mul(count).map(Bytes)
    };
    folder.names().iter().filter_map(bytes).sum()
}

/// Caches in front of the memory, the nearest to it first.
fn caches(node: &Folder) -> Vec<Cache> {
    let Some(folder) = node.exists("memory_side_cache").then(|| node.folder("memory_side_cache")).flatten() else { return Vec::new() };
    let cache = |name: &String| {
        let level = name.strip_prefix("index")?.parse().ok()?;
        let number = |file: &str| folder.value::<u64>(&format!("{name}/{file}"));
        // Direct mapped, or of unknown ways.
        let ways = i32::from(number("indexing")? == 0);
        Some(Cache { level, holds: CacheKind::Unified, size: Bytes(number("size")?), line: number("line_size")? as u32, ways })
    };
    folder.names().iter().filter_map(cache).collect()
}

/// The kernel's distances between all online nodes.
fn matrix(root: &Root, place: &str, numbers: &[u32]) -> Option<Distances> {
    let mut values = Vec::with_capacity(numbers.len() * numbers.len());
    for number in numbers {
        let row = root.text(&format!("{place}/node{number}/distance"))?;
        let row: Vec<u64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        (row.len() == numbers.len()).then(|| values.extend(row))?;
    }
    Some(Distances { name: "NUMALatency".into(), nodes: numbers.to_vec(), values })
}

/// CPUs near to nodes that have none of their own: firmware's initiators, else the nearest nodes.
fn locate(root: &Root, place: &str, nodes: &mut [Node], matrix: Option<&Distances>) {
    let own: Vec<(u32, CpuSet)> = nodes.iter().map(|node| (node.number, node.cpus.clone())).collect();
    for node in nodes.iter_mut() {
        let initiators = initiators(root, place, node.number);
        for (_, cpus) in own.iter().filter(|(other, _)| *other != node.number && initiators.contains(other)) {
            node.cpus = node.cpus.union(cpus);
        }
    }
    let located: Vec<(u32, CpuSet)> = nodes.iter().map(|node| (node.number, node.cpus.clone())).collect();
    for node in nodes.iter_mut().filter(|node| node.cpus.is_empty()) {
        let Some(matrix) = matrix else { continue };
        let distance = |other: u32| matrix.get(node.number, other).unwrap_or(u64::MAX);
        let others: Vec<&(u32, CpuSet)> = located.iter().filter(|(other, _)| *other != node.number).collect();
        let Some(least) = others.iter().map(|(other, _)| distance(*other)).min() else { continue };
        let nearest: Vec<_> = others.iter().filter(|(other, _)| distance(*other) == least).collect();
        // All equally far tells nothing, and nothing is nearer than the node itself.
        if least > distance(node.number) && least < u64::MAX && nearest.len() < matrix.nodes.len() - 1 {
            node.cpus = nearest.iter().fold(CpuSet::new(), |sum, (_, cpus)| sum.union(cpus));
        }
    }
}

/// Nodes that reach this one fastest. Access class 1 leaves out initiators that are no CPUs (Linux 5.10 and later).
fn initiators(root: &Root, place: &str, number: u32) -> Vec<u32> {
    let folder = |class| format!("{place}/node{number}/access{class}/initiators");
    let class = if root.exists(&folder(1)) { 1 } else { 0 };
    root.numbered(&folder(class), "node")
}

/// Bandwidth and latency as firmware tells them.
fn figures(root: &Root, place: &str, nodes: &[Node], topology: &mut Topology) {
    use MemoryAttribute as A;
    for node in nodes.iter().filter(|node| !node.cpus.is_empty()) {
        let folder = |class| root.folder(&format!("{place}/node{}/access{class}/initiators", node.number));
        let Some(folder) = (if root.exists(&format!("{place}/node{}/access1/initiators", node.number)) { folder(1) } else { folder(0) })
        else {
            continue;
        };
        let figure = |name: &str| folder.value::<u64>(name).filter(|value| *value > 0);
        let mut add = |attribute, value: Option<u64>| {
            let entry = value.map(|value| MemoryValue { attribute, node: node.number, initiator: node.cpus.clone(), value });
            topology.memory_values.extend(entry);
        };
        for (read, write, mean, names) in [
            (A::ReadBandwidth, A::WriteBandwidth, A::Bandwidth, ["read_bandwidth", "write_bandwidth"]),
            (A::ReadLatency, A::WriteLatency, A::Latency, ["read_latency", "write_latency"]),
        ] {
            let (reading, writing) = (figure(names[0]), figure(names[1]));
            add(read, reading);
            add(write, writing);
            add(mean, reading.zip(writing).map(|(reading, writing)| reading.midpoint(writing)));
        }
    }
}

/// Leaves out of matrices and figures what the tree no longer has, and puts matrices into the order of the tree.
pub fn finish(topology: &mut Topology) {
    let present: Vec<u32> =
        topology.objects().filter(|object| matches!(object.kind, Kind::NumaNode(_))).filter_map(|object| object.os_index).collect();
    topology.distances = topology.distances.iter().map(|matrix| matrix.restricted(|node| present.contains(&node))).collect();
    topology.distances.retain(|matrix| matrix.nodes.len() > 1);
    let usable = topology.machine.cpus.clone();
    for value in &mut topology.memory_values {
        value.initiator = value.initiator.intersection(&usable);
    }
    topology.memory_values.retain(|value| present.contains(&value.node) && !value.initiator.is_empty());
}
