//! Memory of one kind and speed: what it is made of, told by how it is reached and how fast it is.

use crate::Root;
use machine::CpuSet;
use machine::topology::{Kind, MemoryAttribute, MemoryKind, MemoryTier, Object, Topology};
use std::cmp::Reverse;

const TIERS: &str = "sys/devices/virtual/memory_tiering";
/// Figures that differ by less are the same memory.
const ALIKE: f64 = 1.1;
/// On-package memory has several times the bandwidth of DIMMs; less than twice proves nothing.
const HBM_OVER_DRAM: u64 = 2;

/// A node with what its tier is decided by.
struct Figures {
    number: u32,
    kind: Option<MemoryKind>,
    bandwidth: u64,
    latency: u64,
}

struct Tier {
    kind: Option<MemoryKind>,
    nodes: CpuSet,
    /// Bandwidth of the slowest and of the fastest node, MiB a second; 0: not told.
    slowest: u64,
    fastest: u64,
    /// Of its first node, nanoseconds; 0: not told.
    latency: u64,
}

pub fn fill(root: &Root, topology: &mut Topology) {
    let mut nodes: Vec<Figures> = topology.objects().filter_map(|object| figures(object, topology)).collect();
    // What is not known comes first, as unremarkable memory; then by kind, the fastest of each first.
    nodes.sort_by_key(|node| (rank(node.kind), Reverse(node.bandwidth)));
    let mut tiers: Vec<Tier> = Vec::new();
    let mut last: Option<&Figures> = None;
    for node in &nodes {
        let same =
            last.is_some_and(|last| last.kind == node.kind && alike(last.bandwidth, node.bandwidth) && alike(last.latency, node.latency));
        match tiers.last_mut().filter(|_| same) {
            Some(tier) => {
                tier.nodes.insert(node.number);
                tier.slowest = node.bandwidth;
            }
            None => tiers.push(Tier {
                kind: node.kind,
                nodes: [node.number].into_iter().collect(),
                slowest: node.bandwidth,
                fastest: node.bandwidth,
                latency: node.latency,
            }),
        }
        last = Some(node);
    }
    guess(root, &mut tiers);
    tiers.sort_by(|a, b| {
        let known = a.slowest > 0 && b.slowest > 0;
        let by_speed = if known { (b.slowest + b.fastest).cmp(&(a.slowest + a.fastest)) } else { std::cmp::Ordering::Equal };
        by_speed.then(rank(a.kind).cmp(&rank(b.kind)))
    });
    let many = tiers.len() > 1;
    for (number, tier) in tiers.iter().enumerate() {
        mark(&mut topology.machine, tier, many.then_some(number as u32));
    }
    topology.tiers = tiers
        .into_iter()
        .map(|tier| MemoryTier { kind: tier.kind, kernel_tier: kernel_tier(root, &tier.nodes), nodes: tier.nodes })
        .collect();
}

fn figures(object: &Object, topology: &Topology) -> Option<Figures> {
    let Kind::NumaNode(_) = object.kind else { return None };
    let number = object.os_index?;
    let told = match object.info("DAXType") {
        _ if object.subtype.as_deref() == Some("GPUMemory") => Some(MemoryKind::Gpu),
        _ if object.info("CXLDevice").is_some() => Some(MemoryKind::Cxl),
        Some("NVM") => Some(MemoryKind::Nvm),
        Some("SPM") => Some(MemoryKind::SpecialPurpose),
        _ => None,
    };
    let figure = |attribute| topology.memory_value(number, attribute).unwrap_or(0);
    Some(Figures { number, kind: told, bandwidth: figure(MemoryAttribute::Bandwidth), latency: figure(MemoryAttribute::Latency) })
}

fn rank(kind: Option<MemoryKind>) -> u32 {
    match kind {
        None => 0,
        Some(MemoryKind::Hbm) => 1,
        Some(MemoryKind::Dram) => 2,
        Some(MemoryKind::Gpu) => 4,
        Some(MemoryKind::SpecialPurpose) => 8,
        Some(MemoryKind::Nvm) => 16,
        Some(MemoryKind::Cxl) => 32,
    }
}

fn alike(a: u64, b: u64) -> bool {
    a == 0 || b == 0 || (a.max(b) as f64) <= a.min(b) as f64 * ALIKE
}

/// Number of the kernel's tier for DRAM (MEMTIER_ADISTANCE_DRAM of linux/memory-tiers.h in chunks of 128).
const KERNEL_DRAM: u32 = 4;

/// Memory on the package has more bandwidth than DIMMs, but answers no sooner; what answers so much later is behind some link.
const BEHIND_A_LINK: f64 = 1.5;

/// Of two tiers of unknown making, or one and special-purpose memory, the much faster one is on the package, unless the
/// slower one is behind some link: it answers much later, or the kernel calls the faster one DRAM and has put it below.
/// Older kernels (6.1) put all memory that they start with into one tier, which says nothing.
fn guess(root: &Root, tiers: &mut [Tier]) {
    let kinds: Vec<Option<MemoryKind>> = tiers.iter().map(|tier| tier.kind).collect();
    let of = |kind| (0..kinds.len()).filter(|at| kinds[*at] == kind).collect::<Vec<usize>>();
    let (unknown, special) = (of(None), of(Some(MemoryKind::SpecialPurpose)));
    let pair = match (&unknown[..], &special[..]) {
        ([a, b], []) => (*a, *b),
        ([a], [b]) => (*a, *b),
        _ => return,
    };
    let (slow, fast) = if tiers[pair.0].slowest > tiers[pair.1].slowest { (pair.1, pair.0) } else { pair };
    if tiers[slow].slowest > 0 && tiers[fast].slowest > tiers[slow].fastest.saturating_mul(HBM_OVER_DRAM) {
        let (above, below) = (kernel_tier(root, &tiers[fast].nodes), kernel_tier(root, &tiers[slow].nodes));
        let (near, far) = (tiers[fast].latency as f64, tiers[slow].latency as f64);
        let later = near > 0.0 && far > near * BEHIND_A_LINK;
        if later || (above == Some(KERNEL_DRAM) && below > above) {
            tiers[fast].kind = Some(MemoryKind::Dram);
            return;
        }
        tiers[slow].kind = Some(MemoryKind::Dram);
        tiers[fast].kind = Some(MemoryKind::Hbm);
    }
}

fn mark(object: &mut Object, tier: &Tier, number: Option<u32>) {
    if let Kind::NumaNode(memory) = &mut object.kind
        && object.os_index.is_some_and(|node| tier.nodes.contains(node))
    {
        memory.tier = number;
        let word = tier.kind.map(|kind| match kind {
            MemoryKind::Hbm => "HBM",
            MemoryKind::Dram => "DRAM",
            MemoryKind::Gpu => "GPUMemory",
            MemoryKind::SpecialPurpose => "SPM",
            MemoryKind::Nvm => "NVM",
            MemoryKind::Cxl => "CXL-DRAM",
        });
        object.subtype = object.subtype.take().or(word.map(str::to_owned));
    }
    object.memory.iter_mut().chain(&mut object.children).for_each(|below| mark(below, tier, number));
}

/// The kernel's tier that holds all these nodes.
fn kernel_tier(root: &Root, nodes: &CpuSet) -> Option<u32> {
    let tiers = root.numbered(TIERS, "memory_tier");
    tiers.into_iter().find(|tier| root.list(&format!("{TIERS}/memory_tier{tier}/nodelist")).is_some_and(|list| nodes.is_subset(&list)))
}
