use super::*;
use machine::ladder::{Evidence, climb};
use machine::{Device, DeviceId, Health, LinkDomain, LinkKind, PeerLink, Slice, SliceKind, Vendor};

#[test]
fn names_are_harmless_and_short() {
    assert_eq!(safe("a<b>&\"\u{7}"), "a&lt;b&gt;&amp;&quot;?");
    assert_eq!(cut("0123456789", 33.0), "0123…");
    assert_eq!(cut("0123", 33.0), "0123");
    assert_eq!(wrapped("ab cd efg 0123456789", 33.0), ["ab cd", "efg", "0123…"]);
    let mut board = board();
    board.devices[0].model = "<b>".into();
    let svg = draw(&Topology::default(), &board, "<script>");
    assert!(svg.contains("&lt;script&gt;") && svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(!svg.contains("<b>"), "{svg}");
}

fn gpu(at: u32) -> Device {
    let ladder = climb(&Evidence { driver: Some("x".into()), drivers: vec!["x".into()], ..Evidence::default() });
    Device {
        id: DeviceId(format!("GPU-{at}")),
        vendor: Vendor::Nvidia,
        model: "NVIDIA H100 80GB HBM3".into(),
        memory: Some(Bytes::gib(80)),
        architecture: Some("sm_90".into()),
        index: at,
        numa: Some(at / 4),
        health: Health::Ready,
        ladder,
        ..Device::default()
    }
}

/// Eight cards on switches, the last with a link down, the second cut in three.
fn board() -> Machine {
    let switch = |down| PeerLink { kind: LinkKind::Nvlink, to: None, lanes: 18 - down, mb_per_s: None, down };
    let domain = LinkDomain { cluster: "c0ffee00-0000-0000-0000-000000000000".into(), clique: 3, ready: true };
    let mut devices: Vec<Device> =
        (0..8).map(|at| Device { links: vec![switch(u32::from(at == 7))], domain: Some(domain.clone()), ..gpu(at) }).collect();
    devices[1].divide(3);
    let slice = |at: u32, profile: &str, gib| Device {
        id: DeviceId(format!("MIG-{at}")),
        memory: Some(Bytes::gib(gib)),
        slice: Some(Slice { kind: SliceKind::Mig, parent: DeviceId("GPU-1".into()), profile: profile.into() }),
        ..gpu(1)
    };
    let slices = [slice(0, "1g.10gb", 10), slice(1, "1g.10gb", 10), slice(2, "3g.40gb", 40)];
    devices.splice(2..2, slices);
    Machine { devices, ..Machine::default() }
}

fn times(svg: &str, what: &str) -> usize {
    svg.matches(what).count()
}

#[test]
fn cards_slices_links_and_domains_are_drawn() {
    let svg = draw(&Topology::default(), &board(), "board");
    assert!(svg.contains("nvidia 0") && svg.contains("nvidia 7") && svg.contains("80 GiB · node 1"), "{svg}");
    assert_eq!(times(&svg, "class=\"cut good\""), 3, "a piece for each slice");
    assert!(svg.contains("2 × MIG 1g.10gb, 10 GiB each, on nvidia 1") && svg.contains("divided: its slices"), "{svg}");
    // Seven spokes are whole, one is broken, and they meet at the switches.
    assert_eq!((times(&svg, "<path class=\"nv\" stroke-width=\"4.2\""), times(&svg, "class=\"hub\"")), (7, 1), "{svg}");
    assert_eq!(times(&svg, "class=\"down\" stroke-width=\"4.0\""), 1, "{svg}");
    assert_eq!(times(&svg, "class=\"dom\""), 2, "the ring and its word");
    assert!(svg.contains("1 of 18 NVLinks down") && svg.contains("clique 3: nvidia 0-7"), "{svg}");
}

#[test]
fn direct_links_are_lines_between_cards_and_those_of_slices_belong_to_their_cards() {
    let link = |to: &str| PeerLink { kind: LinkKind::Xgmi, to: Some(DeviceId(to.into())), lanes: 1, mb_per_s: Some(64_000), down: 0 };
    let mut devices = vec![gpu(0), gpu(1)];
    for card in 0..2u32 {
        devices[card as usize].divide(2);
        devices.extend((0..2).map(|part| Device {
            id: DeviceId(format!("XCP-{card}.{part}")),
            slice: Some(Slice { kind: SliceKind::Partition, parent: DeviceId(format!("GPU-{card}")), profile: format!("DPX {part}") }),
            links: [0, 1].map(|other| link(&format!("XCP-{}.{other}", 1 - card))).to_vec(),
            ..gpu(card)
        }));
    }
    let svg = draw(&Topology::default(), &Machine { devices, ..Machine::default() }, "two");
    assert_eq!((times(&svg, "<path class=\"xg\" stroke-width=\"1.4\""), times(&svg, "class=\"hub\"")), (1, 0), "{svg}");
    assert!(svg.contains("4 × partition DPX"), "{svg}");
}

#[test]
fn a_card_that_cannot_be_used_is_red_and_says_why() {
    let ladder = climb(&Evidence { drivers: vec!["nvidia".into()], ..Evidence::default() });
    let broken = Device { health: ladder.health(), ladder, ..gpu(0) };
    let svg = draw(&Topology::default(), &Machine { devices: vec![broken], ..Machine::default() }, "one");
    assert!(svg.contains("class=\"bad\"") && svg.contains("driver not bound") && svg.contains("0 devices can be granted"), "{svg}");
}

#[test]
fn rdma_ports_have_a_line_each_and_those_that_are_down_are_red() {
    use machine::{InfinibandPort, PortState};
    let port = |device: &str, state| InfinibandPort {
        device: device.into(),
        port: 1,
        state,
        link_layer: "InfiniBand".into(),
        rate_mbps: Some(400_000),
        rate_name: "4X NDR".into(),
        ..InfinibandPort::default()
    };
    let mut infiniband: Vec<InfinibandPort> = (0..30).map(|at| port(&format!("mlx5_{at}"), PortState::Active)).collect();
    infiniband[1].state = PortState::Down;
    let svg = draw(&Topology::default(), &Machine { infiniband, ..Machine::default() }, "ports");
    assert!(svg.contains("mlx5_0  InfiniBand 400 Gb/s 4X NDR, active") && svg.contains("and 6 more"), "{svg}");
    assert_eq!((times(&svg, "<rect class=\"bad\""), times(&svg, "<rect class=\"net\"")), (1, 23));
}
