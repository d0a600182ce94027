use super::*;
use proptest::prelude::*;

fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn function(at: &str, parent: Option<&str>) -> PciFunction {
    PciFunction {
        address: address(at),
        ids: PciIds { vendor: 0x10de, device: 0x2330, class: 0x03_02_00, ..PciIds::default() },
        parent: parent.map(address),
        port: None,
        bridge: None,
        link: None,
        numa: Some(0),
        local_cpus: None,
        driver: None,
        iommu_group: None,
        slot: None,
        sriov: Sriov::default(),
        mediated: Vec::new(),
        lost: false,
        path: format!("sys/devices/{at}"),
    }
}

/// Two switches below one root port each, on two root buses.
fn two_switches() -> PciTree {
    PciTree::new(vec![
        function("0000:40:01.0", None),
        function("0000:41:00.0", Some("0000:40:01.0")),
        function("0000:42:00.0", Some("0000:41:00.0")),
        function("0000:42:01.0", Some("0000:41:00.0")),
        function("0000:43:00.0", Some("0000:42:00.0")),
        function("0000:44:00.0", Some("0000:42:01.0")),
        function("0000:00:1f.0", None),
        function("0000:00:01.0", None),
        function("0000:01:00.0", Some("0000:00:01.0")),
    ])
}

#[test]
fn the_tree_is_walked_both_ways() {
    let tree = two_switches();
    let names = |functions: Vec<&PciFunction>| functions.iter().map(|function| function.address.to_string()).collect::<Vec<_>>();
    assert_eq!(names(tree.children(None).collect()), ["0000:00:01.0", "0000:00:1f.0", "0000:40:01.0"]);
    assert_eq!(names(tree.children(Some(address("0000:41:00.0"))).collect()), ["0000:42:00.0", "0000:42:01.0"]);
    assert_eq!(names(tree.above(address("0000:43:00.0"))), ["0000:42:00.0", "0000:41:00.0", "0000:40:01.0"]);
    assert_eq!(tree.top(address("0000:43:00.0")).unwrap().address, address("0000:40:01.0"));
    assert_eq!(tree.top(address("0000:00:1f.0")).unwrap().address, address("0000:00:1f.0"));
    assert!(tree.get(address("0000:99:00.0")).is_none() && tree.top(address("0000:99:00.0")).is_none());
}

#[test]
fn two_functions_meet_at_the_lowest_bridge_above_both() {
    let tree = two_switches();
    for (a, b, met) in [
        ("0000:43:00.0", "0000:44:00.0", Some("0000:41:00.0")),
        ("0000:43:00.0", "0000:43:00.0", Some("0000:43:00.0")),
        ("0000:43:00.0", "0000:42:00.0", Some("0000:42:00.0")),
        ("0000:43:00.0", "0000:01:00.0", None),
        ("0000:00:1f.0", "0000:01:00.0", None),
        ("0000:99:00.0", "0000:43:00.0", None),
    ] {
        assert_eq!(tree.meet(address(a), address(b)).map(|function| function.address), met.map(address), "{a} {b}");
        assert_eq!(tree.meet(address(b), address(a)).map(|function| function.address), met.map(address), "{b} {a}");
    }
    assert!(tree.same_root_bus(address("0000:00:1f.0"), address("0000:01:00.0")));
    assert!(!tree.same_root_bus(address("0000:43:00.0"), address("0000:01:00.0")));
    assert!(!tree.same_root_bus(address("0000:99:00.0"), address("0000:98:00.0")));
}

#[test]
fn rates_are_bandwidths() {
    // The figures that the specification's generations are known by, one way, x16.
    for (mega_transfers, generation, gigabytes) in
        [(2_500, 1, 4.0), (5_000, 2, 8.0), (8_000, 3, 15.754), (16_000, 4, 31.508), (32_000, 5, 63.015), (64_000, 6, 121.0)]
    {
        let rate = PciRate { mega_transfers, lanes: 16 };
        assert_eq!(rate.generation(), Some(generation));
        assert_eq!(rate.to_string(), format!("gen{generation} x16"));
        let found = rate.bytes_per_second() as f64 / 1e9;
        assert!((found - gigabytes).abs() < 0.01, "{rate}: {found}");
    }
    assert_eq!(PciRate::default().bytes_per_second(), 0);
    assert_eq!(PciRate::default().to_string(), "? x?");
    assert_eq!(PciRate { mega_transfers: 20_000, lanes: 4 }.to_string(), "20.0 GT/s x4");
}

#[test]
fn a_link_is_downgraded_when_slower_or_narrower() {
    let rate = |mega_transfers, lanes| PciRate { mega_transfers, lanes };
    for (now, max, downgraded) in [
        (rate(16_000, 16), rate(16_000, 16), Some(false)),
        (rate(16_000, 8), rate(16_000, 16), Some(true)),
        (rate(2_500, 16), rate(16_000, 16), Some(true)),
        (rate(16_000, 16), rate(0, 0), None),
        (rate(0, 0), rate(16_000, 16), None),
    ] {
        assert_eq!(PciLink { now, max }.is_downgraded(), downgraded, "{now} of {max}");
    }
    let mut narrow = function("0000:01:00.0", None);
    assert!(!narrow.is_downgraded());
    narrow.link = Some(PciLink { now: rate(8_000, 4), max: rate(8_000, 16) });
    assert!(narrow.is_downgraded());
}

#[test]
fn virtual_functions_belong_to_a_physical_one() {
    let mut part = function("0000:01:00.1", Some("0000:00:01.0"));
    part.sriov.physical = Some(address("0000:01:00.0"));
    let tree = PciTree::new(vec![part, function("0000:00:01.0", None), function("0000:01:00.0", Some("0000:00:01.0"))]);
    assert_eq!(tree.virtual_functions(address("0000:01:00.0")).count(), 1);
    assert_eq!(tree.virtual_functions(address("0000:00:01.0")).count(), 0);
    let json = serde_json::to_string(&tree).unwrap();
    assert_eq!(serde_json::from_str::<PciTree>(&json).unwrap(), tree);
}

proptest! {
    /// Whatever parents damage makes up, walks end and every function hangs below some root.
    #[test]
    fn circles_and_missing_parents_are_cut(parents in proptest::collection::vec(proptest::option::of(0u8..24), 1..20)) {
        let at = |bus: u8| PciAddress { domain: 0, bus, device: 0, function: 0 };
        let functions = parents.iter().enumerate().map(|(bus, parent)| {
            let mut one = function("0000:00:00.0", None);
            one.address = at(bus as u8);
            one.parent = parent.map(at);
            one
        });
        let tree = PciTree::new(functions.collect());
        prop_assert_eq!(tree.functions().len(), parents.len());
        for one in tree.functions() {
            prop_assert!(tree.above(one.address).len() < parents.len());
            prop_assert!(tree.top(one.address).unwrap().parent.is_none());
        }
    }
}
