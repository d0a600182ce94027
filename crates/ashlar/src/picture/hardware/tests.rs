use super::*;
use machine::topology::{
    CpuKind, GroupKind, MemoryTier, MemoryValue, NodeMemory, OsDeviceKind, arrange_pci, drop_bare_bridges, place_os_device,
};
use machine::{PciAddress, PciBuses, PciFunction, PciIds, PciLink, PciPort, PciRate, PciTree, Sriov};

fn function(at: &str, parent: Option<&str>, ids: (u16, u16, u32), buses: Option<(u8, u8)>, local: &CpuSet, link: PciLink) -> PciFunction {
    PciFunction {
        address: at.parse().unwrap(),
        ids: PciIds { vendor: ids.0, device: ids.1, class: ids.2, ..PciIds::default() },
        parent: parent.map(|parent| parent.parse().unwrap()),
        port: Some(if buses.is_some() { PciPort::Upstream } else { PciPort::Endpoint }),
        bridge: buses.map(|(secondary, subordinate)| PciBuses { secondary, subordinate }),
        link: Some(link),
        numa: None,
        local_cpus: Some(local.clone()),
        driver: None,
        iommu_group: None,
        slot: None,
        sriov: Sriov::default(),
        mediated: Vec::new(),
        lost: false,
        path: String::new(),
    }
}

fn link(now: (u32, u8), max: (u32, u8)) -> PciLink {
    let rate = |(mega_transfers, lanes)| PciRate { mega_transfers, lanes };
    PciLink { now: rate(now), max: rate(max) }
}

/// Two packages of `nodes` memory nodes and `cores` cores in all; two switches a package with two GPUs and a NIC each,
/// the last GPU at half its lanes; one NVMe disk.
fn server(nodes: u32, cores: u32) -> Topology {
    let mut topology = Topology::default();
    let machine = &mut topology.machine;
    machine.os_index = Some(0);
    let all: CpuSet = (0..cores * 2).collect();
    let threads = |cores: std::ops::Range<u32>, of: u32| cores.flat_map(move |core| [core, core + of]).collect::<CpuSet>();
    for core in 0..cores {
        machine.insert(Object::of(Kind::Core, Some(core), threads(core..core + 1, cores)));
        for (level, holds, size) in [(1, CacheKind::Data, 48), (1, CacheKind::Instruction, 32), (2, CacheKind::Unified, 2048)] {
            let cache = Cache { level, holds, size: Bytes::kib(size), line: 64, ways: 8 };
            machine.insert(Object::of(Kind::Cache(cache), None, threads(core..core + 1, cores)));
        }
        for cpu in [core, core + cores] {
            machine.insert(Object::of(Kind::Pu, Some(cpu), [cpu].into_iter().collect()));
        }
    }
    let half = cores / 2;
    for package in 0..2 {
        let mut object = Object::of(Kind::Package, Some(package), threads(package * half..(package + 1) * half, cores));
        object.infos.push(("CPUModel".into(), "AMD EPYC 9654 96-Core Processor".into()));
        machine.insert(object);
    }
    (machine.cpus, machine.complete_cpus) = (all.clone(), all.clone());
    let each = cores / nodes;
    for node in 0..nodes {
        let cpus = threads(node * each..(node + 1) * each, cores);
        machine.insert(Object::of(Kind::Group { group: GroupKind::Memory }, None, cpus.clone()));
        let l3 = Cache { level: 3, holds: CacheKind::Unified, size: Bytes::mib(32), line: 64, ways: 16 };
        machine.insert(Object::of(Kind::Cache(l3), None, cpus.clone()));
        machine.insert_memory(Object::node(node, cpus, NodeMemory { local: Bytes::gib(96), ..NodeMemory::default() }));
    }
    machine.spread_nodes();
    let far = |a: u32, b: u32| {
        if a == b {
            10
        } else if a / (nodes / 2) == b / (nodes / 2) {
            12
        } else {
            32
        }
    };
    let values = (0..nodes).flat_map(|a| (0..nodes).map(move |b| far(a, b))).collect();
    topology.distances.push(Distances { name: "NUMALatency".into(), nodes: (0..nodes).collect(), values });
    let full = link((32_000, 16), (32_000, 16));
    let mut functions = Vec::new();
    for switch in 0..4u8 {
        let local = threads(u32::from(switch / 2) * half..(u32::from(switch / 2) + 1) * half, cores);
        let base = 0x10 + switch * 0x40;
        let at = |bus: u8, device: u8| format!("0000:{:02x}:{device:02x}.0", base + bus);
        functions.push(function(&at(0, 1), None, (0x1022, 0x14ab, 0x60400), Some((base + 1, base + 8)), &local, full));
        functions.push(function(&at(1, 0), Some(&at(0, 1)), (0x1000, 0xc030, 0x60400), Some((base + 2, base + 8)), &local, full));
        for port in 0..3u8 {
            let below = Some((base + 3 + port, base + 3 + port));
            functions.push(function(&at(2, port), Some(&at(1, 0)), (0x1000, 0xc030, 0x60400), below, &local, full));
            let (ids, link) = match port {
                2 => ((0x15b3, 0x1021, 0x20700), full),
                1 if switch == 3 => ((0x10de, 0x2330, 0x30200), link((32_000, 8), (32_000, 16))),
                _ => ((0x10de, 0x2330, 0x30200), full),
            };
            functions.push(function(&at(3 + port, 0), Some(&at(2, port)), ids, None, &local, link));
        }
    }
    let disk = link((16_000, 4), (16_000, 4));
    functions.push(function("0000:08:00.0", None, (0x144d, 0xa80a, 0x10802), None, &threads(0..half, cores), disk));
    topology.pci = PciTree::new(functions);
    let wanted = |function: &PciFunction| function.bridge.is_none();
    arrange_pci(&mut topology.machine, &topology.pci, wanted, |function, _| function.local_cpus.clone());
    for (number, bus) in [0x15u8, 0x55, 0x95, 0xd5].into_iter().enumerate() {
        let at: PciAddress = format!("0000:{bus:02x}:00.0").parse().unwrap();
        for name in [format!("mlx5_{number}"), format!("ib{number}")] {
            let device = Object { kind: Kind::OsDevice(OsDeviceKind::OpenFabrics), name: Some(name), ..Object::default() };
            place_os_device(&mut topology.machine, &topology.pci, Some(at), None, None, device);
        }
    }
    let device = Object { kind: Kind::OsDevice(OsDeviceKind::Storage), name: Some("nvme0n1".into()), ..Object::default() };
    place_os_device(&mut topology.machine, &topology.pci, Some("0000:08:00.0".parse().unwrap()), None, None, device);
    drop_bare_bridges(&mut topology.machine, &topology.pci);
    topology
}

#[test]
fn eight_gpus_behind_switches() {
    insta::assert_snapshot!(draw(&server(2, 32), 110, false, true));
}

#[test]
fn sixteen_nodes_in_ascii() {
    let mut topology = server(16, 64);
    topology.pci = PciTree::default();
    topology.machine.children.iter_mut().for_each(|package| package.io.clear());
    insta::assert_snapshot!(draw(&topology, 100, false, false));
}

#[test]
fn matrices_too_wide_for_the_terminal_are_sentences() {
    let mut topology = server(16, 64);
    topology.machine.children.iter_mut().for_each(|package| package.io.clear());
    let text = draw(&topology, 60, false, true);
    assert!(text.contains("distance of node 3 · 12 to 0-2,4-7 · 32 to 8-15"), "{text}");
    assert!(text.lines().all(|line| crate::picture::line::width(line) <= 60), "{text}");
}

#[test]
fn tiers_kinds_and_gaps() {
    let mut topology = Topology::default();
    for cpu in 0..4 {
        topology.machine.insert(Object::of(Kind::Pu, Some(cpu), [cpu].into_iter().collect()));
    }
    topology.machine.cpus = (0..4).collect();
    topology.machine.complete_cpus = (0..4).collect();
    for (number, cpus, gib) in [(0, "0-3", 64), (1, "", 256)] {
        let mut node = Object::node(number, cpus.parse().unwrap(), NodeMemory { local: Bytes::gib(gib), ..NodeMemory::default() });
        node.infos.extend((number == 1).then(|| ("DAXDevice".to_owned(), "dax0.0".to_owned())));
        topology.machine.insert_memory(node);
    }
    for (node, tier, kind) in [(0u32, 4, MemoryKind::Dram), (1, 22, MemoryKind::Cxl)] {
        topology.tiers.push(MemoryTier { kind: Some(kind), nodes: [node].into_iter().collect(), kernel_tier: Some(tier) });
    }
    for (attribute, value) in [(MemoryAttribute::Bandwidth, 102_400), (MemoryAttribute::Latency, 80)] {
        topology.memory_values.push(MemoryValue { attribute, node: 0, initiator: topology.machine.cpus.clone(), value });
    }
    for (efficiency, cpus, mhz) in [(0, "2-3", "3900"), (1, "0-1", "5000")] {
        topology.cpu_kinds.push(CpuKind { cpus: cpus.parse().unwrap(), efficiency, infos: vec![("FrequencyMaxMHz".into(), mhz.into())] });
    }
    topology.findings = (0..10).map(|number| format!("sys/file{number}: Permission denied")).collect();
    insta::assert_snapshot!(draw(&topology, 80, false, true));
}

#[test]
fn iommu_groups_are_counted_and_shared_ones_named() {
    let mut topology = server(2, 4);
    let functions: Vec<PciFunction> = topology
        .pci
        .functions()
        .iter()
        .cloned()
        .enumerate()
        .map(|(at, function)| PciFunction { iommu_group: Some(if function.ids.vendor == 0x10de { 1 } else { at as u32 + 10 }), ..function })
        .collect();
    let other: Vec<u32> = functions.iter().filter_map(|function| function.iommu_group).filter(|group| *group > 1).collect();
    topology.iommu_types = other.into_iter().map(|group| (group, "identity".to_owned())).chain([(1, "DMA-FQ".to_owned())]).collect();
    topology.pci = PciTree::new(functions);
    let text = draw(&topology, 100, false, true);
    let section: Vec<&str> = text.lines().skip_while(|line| !line.contains("IOMMU")).collect();
    assert!(section[1].contains("1 DMA-FQ (translated, flushed lazily)") && section[1].contains("identity (addresses pass as they are)"));
    assert!(section[2].contains("group 1 is shared: 13:00.0 14:00.0"), "{section:?}");
    topology.iommu_types.clear();
    assert!(draw(&topology, 100, false, true).contains("of unknown type"));
}

#[test]
fn equal_distances_are_one_sentence() {
    let mut topology = server(8, 16);
    let nodes: Vec<u32> = (0..8).collect();
    let values = nodes.iter().flat_map(|a| nodes.iter().map(move |b| if a == b { 10 } else { 20 })).collect();
    topology.distances = vec![Distances { name: "NUMALatency".into(), nodes: nodes.clone(), values }];
    let text = draw(&topology, 100, false, true);
    assert!(text.contains("distance 20 from each node to each other") && !text.contains("node 7  "), "{text}");
}
