use super::*;
use crate::{PciAddress, PciBuses, PciFunction, PciIds, Sriov};
use proptest::prelude::*;

fn set(text: &str) -> CpuSet {
    text.parse().unwrap()
}

fn object(kind: Kind, number: u32, cpus: &str) -> Object {
    Object::of(kind, Some(number), set(cpus))
}

fn cache(level: u8, holds: CacheKind) -> Kind {
    Kind::Cache(Cache { level, holds, size: Bytes::kib(32), line: 64, ways: 8 })
}

/// Kinds and CPUs, one object a line, indented.
fn picture(object: &Object, depth: usize) -> String {
    let number = object.os_index.map(|number| format!(" {number}")).unwrap_or_default();
    let mut text = format!("{}{}{number} [{}]\n", "  ".repeat(depth), object.kind.type_name(), object.cpus);
    for below in object.memory.iter().chain(&object.children).chain(&object.io) {
        text += &picture(below, depth + 1);
    }
    text
}

/// Two packages of two cores, the second with two threads a core.
fn small() -> Object {
    let mut machine = Object::default();
    for (kind, number, cpus) in [
        (Kind::Core, 0, "0"),
        (Kind::Pu, 0, "0"),
        (Kind::Package, 0, "0-1"),
        (Kind::Core, 1, "1"),
        (Kind::Pu, 1, "1"),
        (Kind::Pu, 5, "5"),
        (Kind::Core, 0, "2,4"),
        (Kind::Package, 1, "2-5"),
        (Kind::Core, 1, "3,5"),
        (Kind::Pu, 2, "2"),
        (Kind::Pu, 3, "3"),
        (Kind::Pu, 4, "4"),
    ] {
        assert_eq!(machine.insert(object(kind, number, cpus)), Inserted::New, "{kind:?} {cpus}");
    }
    (machine.cpus, machine.complete_cpus) = (set("0-5"), set("0-5"));
    machine
}

#[test]
fn objects_nest_by_their_cpus_whatever_the_order() {
    let expected = "Machine [0-5]\n  Package 0 [0-1]\n    Core 0 [0]\n      PU 0 [0]\n    Core 1 [1]\n      PU 1 [1]\n  Package 1 [2-5]\n    \
                    Core 0 [2,4]\n      PU 2 [2]\n      PU 4 [4]\n    Core 1 [3,5]\n      PU 3 [3]\n      PU 5 [5]\n";
    assert_eq!(picture(&small(), 0), expected);
}

#[test]
fn equal_objects_nest_by_kind() {
    let kinds = [
        Kind::Pu,
        Kind::Core,
        cache(1, CacheKind::Instruction),
        cache(1, CacheKind::Data),
        cache(2, CacheKind::Unified),
        Kind::Die,
        Kind::Package,
    ];
    let mut machine = Object::default();
    for kind in kinds.iter().rev().chain(&kinds) {
        machine.insert(object(*kind, 0, "0"));
    }
    let expected = ["Package", "Die", "L2Cache", "L1dCache", "L1iCache", "Core", "PU"];
    let mut here = &machine;
    for name in expected {
        assert_eq!(here.children.len(), 1);
        here = &here.children[0];
        assert_eq!(here.kind.type_name(), name);
    }
}

#[test]
fn what_cuts_across_is_refused_and_changes_nothing() {
    let mut machine = small();
    let before = machine.clone();
    assert_eq!(machine.insert(object(Kind::Package, 9, "1-2")), Inserted::Conflict);
    assert_eq!(machine.insert(object(cache(3, CacheKind::Unified), 9, "2-3")), Inserted::Conflict);
    assert_eq!(machine, before);
    assert_eq!(machine.insert(object(Kind::Package, 7, "0-1")), Inserted::Merged);
    assert_eq!(machine, before, "the first number stays");
}

#[test]
fn groups_stand_only_where_nothing_else_does() {
    let mut machine = small();
    let group = |group, cpus| object(Kind::Group { group }, 0, cpus);
    assert_eq!(machine.insert(group(GroupKind::Cluster, "0-1")), Inserted::Merged, "a package is there");
    assert_eq!(machine.insert(group(GroupKind::Io, "0-3,5")), Inserted::Conflict);
    assert_eq!(machine.insert(group(GroupKind::Io, "3,5")), Inserted::Merged);
    let mut bare = Object::default();
    bare.insert(group(GroupKind::Memory, "0-1"));
    bare.insert(group(GroupKind::Cluster, "0-1"));
    assert_eq!(bare.children[0].kind, Kind::Group { group: GroupKind::Cluster }, "the stronger reason stays");
    bare.insert(object(Kind::Package, 3, "0-1"));
    assert_eq!((bare.children.len(), bare.children[0].kind), (1, Kind::Package), "an object takes the group's place");
}

fn node(number: u32, cpus: &str) -> Object {
    Object::node(number, set(cpus), NodeMemory { local: Bytes::gib(1), ..NodeMemory::default() })
}

#[test]
fn memory_hangs_beside_its_cpus() {
    let mut machine = small();
    for (number, cpus) in [(0, "0-1"), (1, "2,4"), (3, "0-5"), (2, "2-5"), (9, "")] {
        assert!(machine.insert_memory(node(number, cpus)), "{number}");
    }
    assert!(!machine.insert_memory(node(0, "0-1")), "a node twice");
    let front = Cache { level: 1, holds: CacheKind::Unified, size: Bytes::gib(1), line: 64, ways: 1 };
    let mut side = Object::of(Kind::MemoryCache(front), None, set("0-1"));
    (side.nodes, side.complete_nodes) = (set("0"), set("0"));
    assert!(machine.insert_memory(side));
    machine.spread_nodes();
    let expected = "Machine [0-5]\n  Group [0-5]\n    NUMANode 3 [0-5]\n    Package 0 [0-1]\n      MemCache [0-1]\n        NUMANode 0 [0-1]\n      \
                    Core 0 [0]\n        PU 0 [0]\n      Core 1 [1]\n        PU 1 [1]\n    Package 1 [2-5]\n      NUMANode 2 [2-5]\n      \
                    Core 0 [2,4]\n        NUMANode 1 [2,4]\n        PU 2 [2]\n        PU 4 [4]\n      Core 1 [3,5]\n        PU 3 [3]\n        \
                    PU 5 [5]\n  Group []\n    NUMANode 9 []\n";
    assert_eq!(picture(&machine, 0), expected);
    let topology = Topology { machine, ..Topology::default() };
    assert_eq!(topology.memory(), Bytes::gib(5));
    assert_eq!(topology.machine.nodes.to_string(), "0-3,9");
    assert_eq!(topology.node(1).unwrap().cpus, set("2,4"));
    let inner = topology.objects().find(|object| object.kind == Kind::Pu && object.os_index == Some(2)).unwrap();
    assert_eq!(inner.nodes.to_string(), "1-3", "its own, and those around it");
}

#[test]
fn what_may_not_be_used_is_dropped_unless_memory_is_left() {
    let mut machine = small();
    machine.insert_memory(node(0, "0-1"));
    machine.insert_memory(node(1, "2-5"));
    machine.spread_nodes();
    machine.restrict(&set("2,4"), &set("0-0"));
    machine.drop_empty();
    let expected =
        "Machine [2,4]\n  Package 0 []\n    NUMANode 0 []\n  Package 1 [2,4]\n    Core 0 [2,4]\n      PU 2 [2]\n      PU 4 [4]\n";
    assert_eq!(picture(&machine, 0), expected);
    assert_eq!(machine.complete_cpus, set("0-5"));
}

#[test]
fn levels_without_structure_are_merged() {
    let mut machine = small();
    machine.insert(object(Kind::Group { group: GroupKind::Io }, 0, "0-5"));
    let structure = |kind: &Kind| if kind.is_group() { Keep::Structure } else { Keep::All };
    let kept = machine.clone();
    machine.merge_levels(structure);
    assert_eq!(picture(&machine, 0), picture(&small(), 0), "a group of everything says nothing");
    let mut all = kept;
    all.merge_levels(|_| Keep::Structure);
    assert_eq!(all.children.len(), 2, "packages tell the cores apart");
    let mut flat = small();
    flat.leave_out(&|kind| if *kind == Kind::Core { Keep::Nothing } else { Keep::All });
    assert_eq!(flat.children[0].children.iter().map(|pu| pu.kind).collect::<Vec<_>>(), [Kind::Pu, Kind::Pu]);
    assert_eq!(Levels::of(&small()).0.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 4, 6]);
}

#[test]
fn nodes_at_the_smallest_distance_are_grouped() {
    let mut machine = Object::default();
    for cpu in 0..4 {
        machine.insert(object(Kind::Package, cpu, &cpu.to_string()));
        machine.insert(object(Kind::Pu, cpu, &cpu.to_string()));
    }
    let matrix = |far: u64| {
        let value = |a: usize, b: usize| {
            if a == b {
                10
            } else if a / 2 == b / 2 {
                16
            } else {
                far
            }
        };
        let values = (0..4).flat_map(|a| (0..4).map(move |b| value(a, b))).collect();
        Distances { name: "NUMALatency".into(), nodes: vec![0, 1, 2, 3], values }
    };
    let cpus_of = |node: u32| [node].into_iter().collect();
    let mut same = machine.clone();
    same.group_by_distance(&matrix(16), cpus_of);
    assert_eq!(same, machine, "all alike tells nothing");
    machine.group_by_distance(&matrix(22), cpus_of);
    let groups: Vec<String> = machine.children.iter().map(|group| format!("{} {}", group.kind.type_name(), group.cpus)).collect();
    assert_eq!(groups, ["Group 0-1", "Group 2-3"]);
    let mut lies = matrix(22);
    lies.values[1] = 5;
    assert_eq!((lies.get(0, 1), lies.get(1, 0), lies.get(0, 9)), (Some(5), Some(16), None));
    let mut untouched = small();
    untouched.group_by_distance(&lies, cpus_of);
    assert_eq!(untouched, small(), "a matrix that contradicts itself");
    assert_eq!(matrix(22).restricted(|node| node != 1).values, [10, 22, 22, 22, 10, 16, 22, 16, 10]);
    assert_eq!(matrix(22).in_order(&[3, 2]).nodes, [3, 2, 0, 1]);
}

fn function(at: &str, class: u32, buses: Option<(u8, u8)>, parent: Option<&str>, local: &str) -> PciFunction {
    let address: PciAddress = at.parse().unwrap();
    PciFunction {
        address,
        ids: PciIds { class, ..PciIds::default() },
        parent: parent.map(|parent| parent.parse().unwrap()),
        port: None,
        bridge: buses.map(|(secondary, subordinate)| PciBuses { secondary, subordinate }),
        link: None,
        numa: None,
        local_cpus: Some(set(local)),
        driver: None,
        iommu_group: None,
        slot: None,
        sriov: Sriov::default(),
        mediated: Vec::new(),
        lost: false,
        path: String::new(),
    }
}

#[test]
fn buses_hang_beside_their_cpus_and_devices_below_their_function() {
    let tree = PciTree::new(vec![
        function("0000:00:01.0", 0x06_04_00, Some((1, 2)), None, "0-1"),
        function("0000:01:00.0", 0x06_04_00, Some((2, 2)), Some("0000:00:01.0"), "0-1"),
        function("0000:02:00.0", 0x03_02_00, None, Some("0000:01:00.0"), "0-1"),
        function("0000:00:02.0", 0x06_04_00, Some((3, 3)), None, "0-1"),
        function("0000:80:00.0", 0x02_00_00, None, None, "3-5"),
        function("0000:80:01.0", 0x0c_03_00, None, None, "3-5"),
    ]);
    let mut machine = small();
    let wanted = |function: &PciFunction| function.class16() >> 8 != 0x0c && function.class16() != 0x0604;
    arrange_pci(&mut machine, &tree, wanted, |function, _| function.local_cpus.clone());
    let device = |name: &str| Object { kind: Kind::OsDevice(OsDeviceKind::Network), name: Some(name.into()), ..Object::default() };
    place_os_device(&mut machine, &tree, Some("0000:80:00.0".parse().unwrap()), None, None, device("eth0"));
    place_os_device(&mut machine, &tree, Some("0000:99:00.0".parse().unwrap()), None, Some(&set("2")), device("eth1"));
    place_os_device(&mut machine, &tree, None, None, None, device("eth2"));
    drop_bare_bridges(&mut machine, &tree);
    let names: Vec<&str> = machine.io.iter().filter_map(|device| device.name.as_deref()).collect();
    assert_eq!(names, ["eth2"], "without any sign of where, below the machine");
    let host = &machine.children[0].io[0];
    assert_eq!(host.kind, Kind::HostBridge { domain: 0, secondary: 0, subordinate: 3 });
    assert_eq!(host.io.len(), 1, "the bridge that leads nowhere is gone");
    assert_eq!(host.io[0].io[0].io[0].kind, Kind::PciDevice { address: "0000:02:00.0".parse().unwrap() });
    let picture = picture(&machine, 0);
    assert!(!picture.contains("[3-5]"), "{picture}");
    let all: Vec<&Object> = machine.children[1].children.iter().collect();
    let cpu = all.iter().flat_map(|core| &core.children).find(|pu| pu.os_index == Some(2)).unwrap();
    assert_eq!(cpu.io[0].name.as_deref(), Some("eth1"));
}

#[test]
fn a_topology_survives_json() {
    let mut machine = small();
    machine.insert_memory(node(0, "0-1"));
    machine.insert(object(cache(1, CacheKind::Data), 0, "0"));
    machine.io.push(Object { kind: Kind::HostBridge { domain: 0x10000, secondary: 3, subordinate: 9 }, ..Object::default() });
    machine.io.push(Object { kind: Kind::OsDevice(OsDeviceKind::MemoryStorage), name: Some("dax0.0".into()), ..Object::default() });
    let value = MemoryValue { attribute: MemoryAttribute::Latency, node: 0, initiator: set("0-1"), value: 80 };
    let topology = Topology { machine, memory_values: vec![value], ..Topology::default() };
    let json = serde_json::to_string(&topology).unwrap();
    assert_eq!(serde_json::from_str::<Topology>(&json).unwrap(), topology);
    assert_eq!(topology.memory_value(0, MemoryAttribute::Latency), Some(80));
    assert_eq!(topology.memory_value(0, MemoryAttribute::Bandwidth), None);
    assert!(MemoryAttribute::ALL.iter().filter(|attribute| attribute.is_bandwidth()).count() == 3);
}

fn kinds() -> impl Strategy<Value = Kind> {
    let cache_level = (1u8..5).prop_map(|level| cache(level, CacheKind::Unified));
    let group = prop_oneof![Just(GroupKind::Io), Just(GroupKind::Memory), Just(GroupKind::Cluster)];
    prop_oneof![Just(Kind::Package), Just(Kind::Core), Just(Kind::Die), cache_level, group.prop_map(|group| Kind::Group { group })]
}

/// What holds of every tree: children inside of parents, apart from each other, in order.
fn sound(object: &Object) -> Result<(), TestCaseError> {
    for pair in object.children.windows(2) {
        prop_assert!(pair[0].complete_cpus.is_disjoint(&pair[1].complete_cpus), "{} and {}", pair[0].cpus, pair[1].cpus);
        let (a, b) = (pair[0].complete_cpus.first(), pair[1].complete_cpus.first());
        prop_assert!(a < b || b.is_none() || a.is_none());
    }
    for child in &object.children {
        prop_assert!(object.kind == Kind::Machine || child.complete_cpus.is_subset(&object.complete_cpus));
        sound(child)?;
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_objects_in_any_order_make_a_sound_tree(
        objects in proptest::collection::vec((kinds(), 0u32..12, 1u32..6), 0..24),
        nodes in proptest::collection::vec((0u32..12, 0u32..6), 0..6),
        usable in proptest::collection::btree_set(0u32..16, 0..16),
    ) {
        let mut machine = Object::default();
        for (kind, first, count) in objects {
            machine.insert(Object::of(kind, None, (first..first + count).collect()));
            sound(&machine)?;
        }
        for cpu in 0..16 {
            machine.insert(Object::of(Kind::Pu, Some(cpu), [cpu].into_iter().collect()));
        }
        (machine.cpus, machine.complete_cpus) = ((0..16).collect(), (0..16).collect());
        for (number, (first, count)) in nodes.iter().enumerate() {
            machine.insert_memory(Object::node(number as u32, (*first..first + count).collect(), NodeMemory::default()));
        }
        sound(&machine)?;
        machine.spread_nodes();
        prop_assert_eq!(machine.nodes.len(), nodes.len(), "no node is lost");
        let usable: CpuSet = usable.into_iter().collect();
        machine.restrict(&usable, &machine.nodes.clone());
        machine.drop_empty();
        sound(&machine)?;
        for keep in [Keep::Structure, Keep::All] {
            machine.merge_levels(|kind| if kind.is_group() { Keep::Structure } else { keep });
        }
        let topology = Topology { machine, ..Topology::default() };
        let cpus = topology.objects().filter(|object| object.kind == Kind::Pu).count();
        prop_assert_eq!(cpus, usable.len(), "every usable CPU is there once");
    }
}
