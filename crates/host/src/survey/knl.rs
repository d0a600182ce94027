//! Knights Landing: memory on the package that is a node of its own, a cache, or both.
//!
//! Modes and what distances say of them: Intel Xeon Phi Processor x200 Product Family Datasheet, "Cluster modes", "Memory modes".

use super::nodes::Node;
use crate::Root;
use machine::topology::{Cache, CacheKind, Distances, GroupKind, Kind, Object, Topology};
use machine::{Bytes, CpuSet};

/// What hwloc's dump tool writes of the cache as root.
const DUMPS: [&str; 4] = [
    "var/run/hwloc/knl_memoryside_cache",
    "run/hwloc/knl_memoryside_cache",
    "var/run/hwloc/knl_memoryside_cache.v2",
    "var/run/hwloc/knl_memoryside_cache.v1",
];
/// Memory on the package.
const ON_PACKAGE: u64 = 16 << 30;

/// Puts the nodes into the tree; false when they are not those of this processor.
pub fn place(root: &Root, nodes: &mut [Node], matrix: Option<&Distances>, topology: &mut Topology) -> bool {
    let ddr: Vec<usize> = (0..nodes.len()).filter(|at| !nodes[*at].cpus.is_empty()).collect();
    let fast: Vec<usize> = (0..nodes.len()).filter(|at| nodes[*at].cpus.is_empty()).collect();
    if !matches!(ddr.len(), 1 | 2 | 4) || !(fast.is_empty() || fast.len() == ddr.len()) {
        return false;
    }
    let dump = DUMPS.into_iter().find_map(|path| root.text(path)).unwrap_or_default();
    let told = |key: &str| dump.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    let share = ON_PACKAGE / ddr.len() as u64;
    let number = |key: &str| told(key).and_then(|value| value.parse::<u64>().ok());
    let size = number("cache_size").unwrap_or(if fast.is_empty() { share } else { 0 });
    let cluster = told("cluster_mode").unwrap_or(match ddr.len() {
        1 => "Quadrant",
        2 => "SNC2",
        _ => "SNC4",
    });
    let memory = told("memory_mode").unwrap_or(match size {
        _ if fast.is_empty() => "Cache",
        size if size == share / 4 => "Hybrid25",
        size if size == share / 2 => "Hybrid50",
        _ => "Flat",
    });
    let size = if memory == "Flat" { 0 } else { size };
    topology.machine.infos.push(("ClusterMode".into(), cluster.to_owned()));
    topology.machine.infos.push(("MemoryMode".into(), memory.to_owned()));
    let cache = Cache {
        level: 3,
        holds: CacheKind::Unified,
        size: Bytes(size),
        line: number("line_size").unwrap_or(64) as u32,
        ways: number("associativity").unwrap_or(1) as i32,
    };
    let inclusive = number("inclusiveness").map(|inclusive| u64::from(inclusive > 0).to_string());
    let mut free = fast;
    for at in ddr {
        let near = |fast: &usize| matrix.and_then(|matrix| matrix.get(nodes[at].number, nodes[*fast].number)).unwrap_or(u64::MAX);
        let partner = (0..free.len()).min_by_key(|position| near(&free[*position])).map(|position| free.remove(position));
        let cpus = nodes[at].cpus.clone();
        if let Some(partner) = partner {
            nodes[partner].cpus.clone_from(&cpus);
            nodes[partner].subtype = Some("MCDRAM".into());
            let mut group = Object::of(Kind::Group { group: GroupKind::KnlCluster }, None, cpus.clone());
            group.subtype = Some("Cluster".into());
            topology.machine.insert(group);
        }
        for node in [Some(at), partner].into_iter().flatten() {
            topology.machine.insert_memory(nodes[node].object());
        }
        if size > 0 {
            memory_side_cache(&mut topology.machine, cache, &cpus, inclusive.clone());
        }
    }
    true
}

fn memory_side_cache(machine: &mut Object, cache: Cache, cpus: &CpuSet, inclusive: Option<String>) {
    let mut object = Object::of(Kind::Cache(cache), None, cpus.clone());
    object.subtype = Some("MemorySideCache".into());
    object.infos.extend(inclusive.map(|inclusive| ("Inclusive".to_owned(), inclusive)));
    machine.insert(object);
}
