use super::*;
use crate::{Bytes, Device, InfinibandPort, Machine, NumaNode, PciFunction, PciLink, PciPort, PciTree, PeerLink, Sriov, Vendor};

fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn function(address: &str, parent: Option<&str>, port: Option<PciPort>, generation: u32) -> PciFunction {
    let rate = PciRate { mega_transfers: generation, lanes: 16 };
    PciFunction {
        address: at(address),
        ids: PciIds { class: 0x03_0200, ..PciIds::default() },
        parent: parent.map(at),
        port,
        bridge: None,
        link: Some(PciLink { now: PciRate { mega_transfers: 2_500, lanes: 16 }, max: rate }),
        numa: None,
        local_cpus: None,
        driver: None,
        iommu_group: None,
        slot: None,
        sriov: Sriov::default(),
        mediated: vec![],
        lost: false,
        path: String::new(),
    }
}

/// Two root ports on one host bridge with a switch below each (the second one with another switch in it), one card on a second host bridge of
/// node 0, one on node 1.
fn tree(with_ports: bool) -> PciTree {
    let port = |port: PciPort| with_ports.then_some(port);
    let (root, up, down) = (PciPort::RootPort, PciPort::Upstream, PciPort::Downstream);
    PciTree::new(vec![
        function("0000:00:01.0", None, port(root), 32_000),
        function("0000:01:00.0", Some("0000:00:01.0"), port(up), 32_000),
        function("0000:02:00.0", Some("0000:01:00.0"), port(down), 32_000),
        function("0000:02:01.0", Some("0000:01:00.0"), port(down), 32_000),
        function("0000:03:00.0", Some("0000:02:00.0"), port(PciPort::Endpoint), 32_000),
        function("0000:03:00.1", Some("0000:02:00.0"), port(PciPort::Endpoint), 32_000),
        function("0000:04:00.0", Some("0000:02:01.0"), port(PciPort::Endpoint), 16_000),
        function("0000:02:02.0", Some("0000:01:00.0"), port(down), 32_000),
        function("0000:05:00.0", Some("0000:02:02.0"), port(up), 32_000),
        function("0000:06:00.0", Some("0000:05:00.0"), port(down), 32_000),
        function("0000:07:00.0", Some("0000:06:00.0"), port(PciPort::Endpoint), 32_000),
        function("0000:00:02.0", None, port(root), 32_000),
        function("0000:08:00.0", Some("0000:00:02.0"), port(PciPort::Endpoint), 32_000),
        function("0000:40:01.0", None, port(root), 32_000),
        function("0000:41:00.0", Some("0000:40:01.0"), port(PciPort::Endpoint), 32_000),
        function("0000:80:01.0", None, port(root), 32_000),
        function("0000:81:00.0", Some("0000:80:01.0"), port(PciPort::Endpoint), 32_000),
    ])
}

fn device(address: &str, numa: u32) -> Device {
    Device { id: DeviceId(format!("GPU-{address}")), vendor: Vendor::Nvidia, pci: Some(at(address)), numa: Some(numa), ..Device::default() }
}

fn machine() -> Machine {
    let node = |id: u32| NumaNode { id, memory: Bytes::gib(1), cpus: CpuSet::from_iter([id]), distances: vec![10, 20] };
    let mut machine = Machine {
        numa: vec![node(0), node(1)],
        devices: vec![
            device("0000:03:00.0", 0),
            device("0000:07:00.0", 0),
            device("0000:08:00.0", 0),
            device("0000:41:00.0", 0),
            device("0000:81:00.0", 1),
        ],
        infiniband: vec![InfinibandPort {
            device: "mlx5_0".into(),
            port: 1,
            pci: Some(at("0000:04:00.0")),
            numa: Some(0),
            ..InfinibandPort::default()
        }],
        ..Machine::default()
    };
    machine.distances = LinkGraph::of(&machine, &tree(true), &CpuKind::default()).distances();
    machine
}

#[test]
fn each_class_is_told_with_and_without_capabilities() {
    for with_ports in [true, false] {
        let graph = LinkGraph::of(&machine(), &tree(with_ports), &CpuKind::default());
        let distance = |a: &str, b: &str| graph.way(at(a), at(b)).distance;
        for (a, b, wanted) in [
            ("0000:03:00.0", "0000:03:00.0", Distance::Card),
            ("0000:03:00.0", "0000:04:00.0", Distance::Switch),
            ("0000:03:00.0", "0000:07:00.0", Distance::Switches),
            ("0000:03:00.0", "0000:08:00.0", Distance::Root),
            ("0000:03:00.0", "0000:41:00.0", Distance::Node),
            ("0000:03:00.0", "0000:81:00.0", Distance::System),
            ("0000:03:00.0", "0000:99:00.0", Distance::Unknown),
        ] {
            assert_eq!(distance(a, b), wanted, "{a} {b} with_ports {with_ports}");
            assert_eq!(distance(b, a), wanted, "{b} {a} with_ports {with_ports}");
        }
    }
}

#[test]
fn the_way_names_its_switches_and_its_narrowest_link() {
    let graph = LinkGraph::of(&machine(), &tree(true), &CpuKind::default());
    let way = graph.way(at("0000:04:00.0"), at("0000:07:00.0"));
    assert_eq!(way.switches, [at("0000:01:00.0"), at("0000:05:00.0")]);
    // A card that sleeps at generation 1 is judged by what it can do; the port at generation 4 is the narrow one.
    assert_eq!(way.narrowest.unwrap().to_string(), "gen4 x16");
}

#[test]
fn a_machine_carries_its_distances() {
    let mut machine = machine();
    assert_eq!(machine.distances.rows.len(), 5);
    let id = |at: &str| DeviceId(format!("GPU-{at}"));
    let (near, far) = (id("0000:07:00.0"), id("0000:81:00.0"));
    assert_eq!(machine.distance(&id("0000:03:00.0"), &near), Distance::Switches);
    assert_eq!(machine.distance(&near, &far), Distance::System);
    assert_eq!(machine.distance(&near, &near), Distance::Card);
    assert_eq!(machine.distance(&near, &id("nothing")), Distance::Unknown);
    assert_eq!(machine.distance_to_port(&id("0000:03:00.0"), "mlx5_0"), Distance::Switch);
    assert_eq!(machine.distances.nearest_ports(at("0000:81:00.0")), ["mlx5_0"]);
    // A driver that tells of links later needs no new table.
    for (from, to) in [(1, 4), (4, 1)] {
        let link = PeerLink { kind: LinkKind::Nvlink, to: Some(machine.devices[to].id.clone()), lanes: 6, mb_per_s: None, down: 2 };
        machine.devices[from].links.push(link);
    }
    assert_eq!(machine.distance(&near, &far), Distance::Link);
    assert_eq!(machine.link_count(&machine.devices[1], &machine.devices[4]), 4);
    let json = serde_json::to_string(&machine.distances).unwrap();
    assert!(json.len() < 300, "{json}");
    assert_eq!(serde_json::from_str::<Distances>(&json).unwrap(), machine.distances);
}

#[test]
fn a_switch_of_links_joins_all_on_it() {
    let mut machine = machine();
    for (nth, device) in machine.devices.iter_mut().enumerate().take(3) {
        device.links.push(PeerLink { kind: LinkKind::Nvlink, to: None, lanes: 18, mb_per_s: None, down: nth as u32 });
    }
    let graph = LinkGraph::of(&machine, &tree(true), &CpuKind::default());
    assert_eq!(graph.wire(at("0000:03:00.0"), at("0000:08:00.0")), Some((LinkKind::Nvlink, 16)));
    assert_eq!(graph.wire(at("0000:03:00.0"), at("0000:81:00.0")), None);
    assert_eq!(graph.way(at("0000:07:00.0"), at("0000:08:00.0")).over_pci, Distance::Root);
}

#[test]
fn letters_are_one_to_one() {
    let letters: std::collections::BTreeSet<char> = Distance::ALL.into_iter().map(Distances::letter).collect();
    assert_eq!(letters.len(), Distance::ALL.len());
    assert!(Distance::ALL.windows(2).all(|pair| pair[0] < pair[1]), "nearest first");
}

#[test]
fn domains_reach_each_other_only_whole_and_ready() {
    let domain = |cluster: &str, clique, ready| FabricDomain { cluster: cluster.into(), clique, members: vec![], ready };
    assert!(domain("a", 1, true).reaches(&domain("a", 1, true)));
    for other in [domain("a", 2, true), domain("b", 1, true), domain("a", 1, false)] {
        assert!(!domain("a", 1, true).reaches(&other));
    }
}

#[test]
fn a_file_that_claims_a_circle_ends() {
    let vertex = |address: &str, parent: usize| Vertex {
        address: at(address),
        host: 0,
        parent: Some(parent),
        root_bus: None,
        ids: None,
        rate: None,
    };
    let graph = LinkGraph {
        vertices: vec![vertex("0000:01:00.0", 1), vertex("0000:02:00.0", 0), vertex("0000:04:00.0", 9)],
        ..LinkGraph::default()
    };
    assert_ne!(graph.way(at("0000:01:00.0"), at("0000:02:00.0")).distance, Distance::Link);
    assert_eq!(graph.way(at("0000:01:00.0"), at("0000:03:00.0")).distance, Distance::Unknown);
    assert!(!nccl::write(&graph).is_empty());
}

#[test]
fn domains_over_machines_list_each_clique_once() {
    let member = |address: &str, clique, ready| Device {
        domain: Some(crate::LinkDomain { cluster: "c0ffee".into(), clique, ready }),
        ..device(address, 0)
    };
    let devices =
        vec![member("0000:01:00.0", 1, true), member("0000:02:00.0", 2, true), member("0000:03:00.0", 1, false), device("0000:04:00.0", 0)];
    let machine = Machine { devices, ..Machine::default() };
    let found: Vec<(u32, usize, bool)> =
        machine.domains().iter().map(|domain| (domain.clique, domain.members.len(), domain.ready)).collect();
    assert_eq!(found, [(1, 2, false), (2, 1, true)]);
    let graph = LinkGraph::of(&machine, &PciTree::default(), &CpuKind::default());
    assert_eq!(graph.domains, machine.domains());
    assert!(!graph.domains[0].reaches(&graph.domains[1]) && graph.domains[1].reaches(&graph.domains[1]));
}

#[test]
fn the_nearest_interface_is_on_the_same_switch_or_at_least_on_the_same_node() {
    use crate::{Distances, Nic};
    let card = at("0000:03:00.0");
    let nic = |name: &str, rdma: Option<&str>, up| Nic { name: name.into(), rdma: rdma.map(Into::into), up, ..Nic::default() };
    let nearest = |ports: &[(&str, char)], nics: Vec<Nic>| {
        let row: String = std::iter::once('c').chain(ports.iter().map(|port| port.1)).collect();
        let ports = ports.iter().map(|port| port.0.to_owned()).collect();
        let distances = Distances { accelerators: vec![card], ports, rows: vec![row] };
        let machine = Machine { nics, distances, ..Machine::default() };
        machine.nearest_nic(&Device { pci: Some(card), ..Device::default() })
    };
    let eth = |name: &str| nic(name, None, true);
    assert_eq!(nearest(&[("far", 'y'), ("lost", '?')], vec![eth("far"), eth("lost"), eth("virtual")]), None);
    assert_eq!(nearest(&[("far", 'y'), ("node", 'n')], vec![eth("far"), eth("node")]).as_deref(), Some("node"));
    assert_eq!(nearest(&[("node", 'n'), ("near", 's')], vec![eth("node"), eth("near")]).as_deref(), Some("near"));
    // The graph knows a port for RDMA by its RDMA device.
    let both = vec![eth("near"), nic("ib0", Some("mlx5_0"), true)];
    assert_eq!(nearest(&[("mlx5_0", 's'), ("near", 's')], both).as_deref(), Some("ib0"));
    let down = vec![nic("a", None, false), nic("b", None, true), nic("c", None, true)];
    assert_eq!(nearest(&[("a", 'r'), ("b", 'r'), ("c", 'r')], down).as_deref(), Some("b"));
}
