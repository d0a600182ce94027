use super::*;
use crate::{Distance, LinkKind};

fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn card(name: &str, vendor: Vendor) -> Side {
    Side {
        vendor: Some(vendor),
        name: name.into(),
        model: "H100".into(),
        pci: Some(at("0000:01:00.0")),
        translation: Translation::Identity,
        unusable: None,
        has_rdma: false,
    }
}

fn port() -> Side {
    Side { vendor: None, name: "mlx5_0".into(), has_rdma: true, ..card("", Vendor::Nvidia) }
}

fn pair(over_pci: Distance) -> PairEvidence {
    PairEvidence {
        from: card("nvidia 0", Vendor::Nvidia),
        to: card("nvidia 1", Vendor::Nvidia),
        way: Way { distance: over_pci, over_pci, ..Way::default() },
        ports: vec![PortOnWay { address: at("0000:02:00.0"), acs: Acs::Off }],
    }
}

fn with_port(over_pci: Distance) -> PairEvidence {
    PairEvidence { to: port(), ..pair(over_pci) }
}

fn host() -> PathEvidence {
    let cpu = CpuKind { arch: "x86_64".into(), vendor: "AuthenticAMD".into(), family: Some(0x19), model: None };
    PathEvidence { kernel: Some((6, 1)), virtualised: None, cpu, nvidia_open: Some(true), peermem: Some(false), dmabuf_built: Some(true) }
}

fn says(judgement: &Judgement, verdict: Verdict, mark: &str) {
    assert_eq!(judgement.verdict, verdict, "{judgement:?}");
    assert!(
        judgement
            .obstacles
            .iter()
            .any(|obstacle| obstacle.verdict == verdict && format!("{} {}", obstacle.text, obstacle.at.join(" and ")).contains(mark)),
        "{mark}: {judgement:?}"
    );
}

#[test]
fn a_switch_with_nothing_in_the_way_works() {
    for distance in [Distance::Card, Distance::Switch, Distance::Switches] {
        assert_eq!(peer_to_peer(&pair(distance), &host()), Judgement { verdict: Verdict::Works, obstacles: vec![] });
        assert_eq!(rdma(&with_port(distance), &host()), Judgement { verdict: Verdict::Works, obstacles: vec![] });
    }
}

#[test]
fn acs_counts_where_the_way_stays_in_switches() {
    let mut pair = pair(Distance::Switch);
    for (acs, verdict, mark) in [
        (Acs::Absent, Verdict::Works, ""),
        (Acs::Redirects, Verdict::Degraded, "0000:02:00.0"),
        (Acs::Unreadable, Verdict::Unknown, "not readable"),
    ] {
        pair.ports[0].acs = acs;
        let judgement = peer_to_peer(&pair, &host());
        if verdict == Verdict::Works {
            assert_eq!(judgement.verdict, verdict);
        } else {
            says(&judgement, verdict, mark);
        }
    }
    // Over the processor it goes anyway.
    pair.way = Way { distance: Distance::System, over_pci: Distance::System, ..Way::default() };
    says(&peer_to_peer(&pair, &host()), Verdict::Degraded, "links between processors");
}

#[test]
fn an_iommu_that_translates_blocks_what_cannot_follow() {
    let mut two = pair(Distance::Switch);
    two.to.translation = Translation::Translating;
    says(&peer_to_peer(&two, &host()), Verdict::Blocked, "nvidia 1");
    two.to.translation = Translation::Unknown;
    says(&peer_to_peer(&two, &host()), Verdict::Unknown, "not known");
    two.to.translation = Translation::Off;
    assert_eq!(peer_to_peer(&two, &host()).verdict, Verdict::Works);
    let mut network = with_port(Distance::Switch);
    network.to.translation = Translation::Translating;
    says(&rdma(&network, &PathEvidence { peermem: Some(true), ..host() }), Verdict::Blocked, "nvidia-peermem cannot");
    says(&rdma(&network, &host()), Verdict::Unknown, "for each other is not known mlx5_0");
    for side in [&mut two.from, &mut two.to] {
        side.vendor = Some(Vendor::Amd);
        side.translation = Translation::Translating;
    }
    says(&peer_to_peer(&two, &host()), Verdict::Unknown, "nvidia 0 and nvidia 1");
}

#[test]
fn links_need_no_bus() {
    let mut two = pair(Distance::System);
    two.way = Way { distance: Distance::Link, over_pci: Distance::System, wire: Some((LinkKind::Nvlink, 18)), ..Way::default() };
    two.from.translation = Translation::Translating;
    assert_eq!(peer_to_peer(&two, &PathEvidence { virtualised: Some("KVM".into()), ..host() }).verdict, Verdict::Works);
    two.from.unusable = Some("driver not bound".into());
    says(&peer_to_peer(&two, &host()), Verdict::Blocked, "driver not bound");
}

#[test]
fn processors_forward_as_far_as_is_known() {
    let cpu = |vendor: &str, family| PathEvidence {
        cpu: CpuKind { vendor: vendor.into(), family: Some(family), ..CpuKind::default() },
        ..host()
    };
    for (vendor, family, verdict) in [
        ("AuthenticAMD", 0x17, Verdict::Degraded),
        ("AuthenticAMD", 0x10, Verdict::Unknown),
        ("GenuineIntel", 6, Verdict::Degraded),
        ("HygonGenuine", 0x18, Verdict::Unknown),
        ("", 0, Verdict::Unknown),
    ] {
        for distance in [Distance::Root, Distance::Node] {
            assert_eq!(peer_to_peer(&pair(distance), &cpu(vendor, family)).verdict, verdict, "{vendor} {family} {distance}");
        }
    }
    says(&peer_to_peer(&pair(Distance::Unknown), &host()), Verdict::Unknown, "where the two hang");
}

#[test]
fn a_network_card_needs_a_way_in() {
    for (peermem, open, kernel, verdict, mark) in [
        (Some(true), Some(false), Some((4, 18)), Verdict::Works, ""),
        (Some(false), Some(true), Some((5, 12)), Verdict::Works, ""),
        (Some(false), Some(true), Some((5, 11)), Verdict::Blocked, "kernel 5.12"),
        (Some(false), Some(false), Some((6, 8)), Verdict::Blocked, "closed ones"),
        (Some(false), None, Some((6, 8)), Verdict::Unknown, "not known"),
        (None, Some(false), Some((6, 8)), Verdict::Unknown, "whether nvidia-peermem"),
        (Some(false), Some(true), None, Verdict::Unknown, "not loaded"),
    ] {
        let judgement = rdma(&with_port(Distance::Switch), &PathEvidence { peermem, nvidia_open: open, kernel, ..host() });
        match verdict {
            Verdict::Works => assert_eq!(judgement.verdict, verdict, "{judgement:?}"),
            _ => says(&judgement, verdict, mark),
        }
    }
}

#[test]
fn other_makers_have_their_own_ways_in() {
    let of = |vendor, host: PathEvidence| {
        let mut network = with_port(Distance::Switch);
        network.from.vendor = Some(vendor);
        rdma(&network, &host)
    };
    assert_eq!(of(Vendor::Amd, host()).verdict, Verdict::Works);
    says(&of(Vendor::Amd, PathEvidence { dmabuf_built: Some(false), ..host() }), Verdict::Unknown, "CONFIG_DMABUF_MOVE_NOTIFY");
    says(&of(Vendor::Amd, PathEvidence { dmabuf_built: None, ..host() }), Verdict::Unknown, "was built");
    assert_eq!(of(Vendor::Gaudi, host()).verdict, Verdict::Works);
    says(&of(Vendor::Gaudi, PathEvidence { kernel: Some((5, 15)), ..host() }), Verdict::Blocked, "5.16");
    says(&of(Vendor::Gaudi, PathEvidence { kernel: None, ..host() }), Verdict::Unknown, "version");
    says(&of(Vendor::Biren, host()), Verdict::Unknown, "biren");
}

#[test]
fn cards_and_ports_that_cannot_are_named() {
    let mut network = with_port(Distance::Switch);
    network.to.has_rdma = false;
    says(&rdma(&network, &host()), Verdict::Blocked, "no RDMA device");
    network.to.has_rdma = true;
    network.to.unusable = Some("its port is down".into());
    says(&rdma(&network, &host()), Verdict::Blocked, "port is down");
    let mut two = pair(Distance::Switch);
    two.to.model = "NVIDIA GeForce RTX 4090".into();
    says(&peer_to_peer(&two, &host()), Verdict::Blocked, "GeForce");
    two.to.vendor = Some(Vendor::Amd);
    says(&peer_to_peer(&two, &host()), Verdict::Blocked, "different makers");
}

#[test]
fn a_virtual_machine_knows_less() {
    let host = PathEvidence { virtualised: Some("KVM".into()), ..host() };
    says(&peer_to_peer(&pair(Distance::Switch), &host), Verdict::Unknown, "KVM");
    says(&rdma(&with_port(Distance::Switch), &host), Verdict::Unknown, "hypervisor");
}

#[test]
fn every_hint_and_source_goes_with_an_obstacle() {
    let mut two = pair(Distance::Switch);
    two.ports[0].acs = Acs::Redirects;
    let obstacle = peer_to_peer(&two, &host()).obstacles.remove(0);
    assert!(obstacle.hint.unwrap().contains("disable_acs_redir") && obstacle.source.unwrap().contains("NCCL"));
}

#[test]
fn a_report_has_each_reason_once_and_the_worst_first() {
    let end = |name: &str, vendor| PathEnd { name: name.into(), model: String::new(), pci: None, vendor };
    let mut broken = with_port(Distance::Switch);
    broken.to.unusable = Some("its port is down".into());
    let mut redirected = pair(Distance::Switch);
    redirected.ports[0].acs = Acs::Redirects;
    let ends = vec![end("nvidia 0", Some(Vendor::Nvidia)), end("nvidia 1", Some(Vendor::Nvidia)), end("mlx5_0", None)];
    let report = report(ends, &[redirected.clone(), redirected, broken], &host());
    assert_eq!((report.accelerators.len(), report.ports.len(), report.pairs.len(), report.reasons.len()), (2, 1, 3, 2));
    assert_eq!(
        report.reasons.iter().map(|reason| (reason.obstacle.verdict, reason.pairs)).collect::<Vec<_>>(),
        [(Verdict::Blocked, 1), (Verdict::Degraded, 2)]
    );
    assert_eq!((report.pairs[0].reasons.as_slice(), report.pairs[2].reasons.as_slice()), (&[1][..], &[0][..]));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<PathReport>(&json).unwrap(), report);
}
