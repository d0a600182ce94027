use super::*;
use machine::ladder::{Access, Answer, Evidence, Module, NodeSeen, OnBus, climb};
use machine::telemetry::PcieLink;
use machine::{Bytes, DeviceClass, DeviceNode, LastSeen, LinkKind, PeerLink, Slice, SliceKind, Vendor};
use std::collections::BTreeMap;

const PLAIN: Style = Style { colour: false };

fn h100(index: u32, seen: Evidence) -> Device {
    let ladder = climb(&seen);
    Device {
        id: DeviceId(format!("GPU-6f1e0c5{index}-aaaa")),
        vendor: Vendor::Nvidia,
        class: DeviceClass::Gpu,
        model: "NVIDIA H100 80GB HBM3".into(),
        memory: Some(Bytes::mib(81_559)),
        index,
        pci: format!("0000:{:02x}:00.0", 0x18 + index).parse().ok(),
        numa: Some(index / 4),
        driver: seen.driver.clone(),
        health: ladder.health(),
        maker: "NVIDIA Corporation".into(),
        architecture: Some("sm_90".into()),
        nearest_nic: Some(format!("ib{index}")),
        ladder,
        ..Device::default()
    }
}

/// The first card now, the second when its library last spoke.
fn seen() -> BTreeMap<DeviceId, LastSeen> {
    let figures = |busy, age_ms| {
        let telemetry = Telemetry { busy_percent: Some(busy), temperature_c: Some(61), power_mw: Some(412_400), ..Telemetry::default() };
        LastSeen { age_ms, telemetry }
    };
    let devices = box_of_everything();
    [(devices[0].id.clone(), figures(97, 300)), (devices[1].id.clone(), figures(3, 47_900))].into()
}

fn bound() -> Evidence {
    Evidence { driver: Some("nvidia".into()), drivers: vec!["nvidia".into()], answer: Answer::Fine, ..Evidence::default() }
}

fn unbound() -> Evidence {
    let module = Module { name: "nvidia".into(), signed_only: Some("Secure Boot".into()), signed: Some(false), ..Module::default() };
    Evidence { driver: None, module, ..bound() }
}

fn box_of_everything() -> Vec<Device> {
    let missing = vec![NodeSeen { path: "/dev/nvidia-uvm".into(), access: Access::Missing }];
    let mut divided = h100(4, bound());
    divided.learn(Answer::Fine, vec![], 2);
    let slice = |number: u32| Device {
        id: DeviceId(format!("MIG-{number}")),
        slice: Some(Slice { kind: SliceKind::Mig, parent: divided.id.clone(), profile: "1g.10gb".into() }),
        memory: Some(Bytes::gib(10)),
        ..h100(4, bound())
    };
    let (first, second) = (slice(0), slice(1));
    let mlu = Device {
        id: DeviceId("0000:99:00.0".into()),
        vendor: Vendor::Cambricon,
        class: DeviceClass::Npu,
        model: "MLU370".into(),
        memory: None,
        architecture: None,
        nearest_nic: None,
        unverified: vec!["driver cambricon-drv".into()],
        ..h100(7, Evidence { answer: Answer::NotAsked, ..bound() })
    };
    let hailo = Device {
        id: DeviceId("0000:a0:00.0".into()),
        vendor: Vendor::Unknown,
        class: DeviceClass::Npu,
        model: "Hailo-8\x1b[31m".into(),
        memory: None,
        architecture: None,
        ..h100(0, Evidence { unknown_maker: Some("Hailo".into()), ..bound() })
    };
    vec![
        h100(0, bound()),
        h100(1, unbound()),
        h100(2, unbound()),
        h100(3, Evidence { nodes: missing, ..bound() }),
        divided,
        first,
        second,
        h100(5, Evidence { on_bus: OnBus::Dead, ..bound() }),
        h100(6, Evidence { answer: Answer::Hung { who: "libnvidia-ml.so.1".into(), seconds: 10, at_this_card: false }, ..bound() }),
        mlu,
        hailo,
    ]
}

#[test]
fn the_list_shows_where_each_device_stands_and_why() {
    let devices = box_of_everything();
    insta::assert_snapshot!(list(&devices, &seen(), PLAIN));
    assert_eq!(list(&[], &BTreeMap::new(), PLAIN), "no accelerator is on the bus of this machine\n");
    let coloured = list(&devices, &BTreeMap::new(), Style { colour: true });
    assert!(coloured.contains("\x1b[32m●") && !coloured.contains("Hailo-8\x1b"), "colours are ours alone");
}

#[test]
fn one_device_in_full() {
    let devices = box_of_everything();
    let mut device = devices[0].clone();
    device.nodes = vec![DeviceNode { path: "/dev/nvidia0".into(), major: 195, minor: 0, shared: false }];
    device.links = vec![PeerLink { kind: LinkKind::Nvlink, to: None, lanes: 18, mb_per_s: Some(450_000), down: 1 }];
    let telemetry = Telemetry {
        temperature_c: Some(61),
        power_mw: Some(412_300),
        power_limit_mw: Some(700_000),
        busy_percent: Some(97),
        memory_used: Some(Bytes::gib(70)),
        memory_total: device.memory,
        ecc_corrected: Some(3),
        ecc_uncorrected: Some(0),
        link: Some(PcieLink { speed_mt: 32_000, width: 8, max_speed_mt: 32_000, max_width: 16 }),
        throttled: vec!["power cap".into()],
        ..Telemetry::default()
    };
    insta::assert_snapshot!(full(&device, &devices, Some(&LastSeen { age_ms: 1234, telemetry }), PLAIN));
    insta::assert_snapshot!("card_and_slice", full(&devices[4], &devices, None, PLAIN) + &full(&devices[5], &devices, None, PLAIN));
}
