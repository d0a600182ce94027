use super::*;
use machine::ladder::{Evidence, climb};
use machine::{Bytes, DeviceClass, Health as Standing, LinkKind, StopKind};
use std::fs;

fn device(vendor: Vendor, class: DeviceClass, driver: &str, address: &str) -> Device {
    let ladder = climb(&Evidence { driver: Some(driver.into()), drivers: vec![driver.into()], ..Evidence::default() });
    Device {
        id: DeviceId(address.into()),
        vendor,
        class,
        driver: Some(driver.into()),
        pci: address.parse().ok(),
        health: ladder.health(),
        ladder,
        ..Device::default()
    }
}

fn npu() -> Device {
    device(Vendor::Ascend, DeviceClass::Npu, "devdrv_device_driver", "0000:c1:00.0")
}

#[test]
fn the_drivers_files_are_the_librarys_rung_where_the_table_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("sys/bus/pci/devices/0000:05:00.0");
    fs::create_dir_all(&folder).unwrap();
    for (file, text) in
        [("vendor", "0x1da3"), ("device", "0x1020"), ("class", "0x120000"), ("status", "Malfunction"), ("clk_cur_freq_mhz", "1650")]
    {
        fs::write(folder.join(file), text).unwrap();
    }
    let mut devices = vec![device(Vendor::Gaudi, DeviceClass::Npu, "habanalabs", "0000:05:00.0")];
    let mut health = Health::new(Root::at(dir.path()), None, Duration::from_secs(10));
    let figures = health.ask(&mut devices);
    assert_eq!(figures[&devices[0].id].clock_mhz, Some(1650));
    let stop = devices[0].ladder.stop.clone().unwrap();
    assert_eq!(
        (devices[0].ladder.reached, stop.kind, stop.reason.as_str()),
        (Rung::Library, StopKind::Fault, "the driver calls it \"Malfunction\"")
    );
    assert!(matches!(devices[0].health, Standing::Unusable(_)));
    fs::write(folder.join("status"), "Operational").unwrap();
    health.ask(&mut devices);
    assert_eq!((devices[0].ladder.reached, devices[0].health.is_ready()), (Rung::Healthy, true));
}

#[test]
fn each_way_a_tool_can_fail_is_told_apart() {
    let tool = tools::tool("npu-smi").unwrap();
    let told = |busy| Told { pci: npu().pci, telemetry: Telemetry { busy_percent: Some(busy), ..Telemetry::default() }, ..Told::default() };
    for (answer, kind, ready) in [
        (Err(Silence::NotStarted("no such file".into())), Some(StopKind::LibraryMissing), true),
        (Err(Silence::Hung), Some(StopKind::ProbeHung), true),
        (Err(Silence::Crashed(11)), Some(StopKind::ProbeCrashed), true),
        (Err(Silence::TooMuch), Some(StopKind::ProbeNonsense), true),
        (Ok(vec![]), Some(StopKind::ProbeNonsense), true),
        (Ok(vec![told(900)]), Some(StopKind::ProbeNonsense), true),
        (Ok(vec![told(90)]), None, true),
    ] {
        let mut devices = vec![npu()];
        let mut figures = BTreeMap::new();
        by_tool(&Root::at("/nonexistent"), &mut devices, (tool, &answer), Duration::from_secs(10), &mut figures, &KernelFaults::default());
        let found = devices[0].ladder.stop.as_ref().map(|stop| stop.kind);
        assert_eq!((found, devices[0].health.is_ready()), (kind, ready), "{answer:?}");
    }
    assert_eq!(wanted_tools(&Root::live(), &[npu()]).len(), 1);
}

#[test]
fn slices_share_what_is_said_of_their_card() {
    let mut card = device(Vendor::Amd, DeviceClass::Gpu, "amdgpu", "0000:05:00.0");
    card.divide(1);
    let slice = machine::Slice { kind: machine::SliceKind::Partition, parent: card.id.clone(), profile: "CPX 0".into() };
    let part = Device {
        id: DeviceId("XCP".into()),
        slice: Some(slice),
        memory: Some(Bytes::gib(24)),
        ..device(Vendor::Amd, DeviceClass::Gpu, "amdgpu", "0000:05:00.0")
    };
    let mut devices = vec![card, part];
    let look = Look {
        id: devices[0].id.clone(),
        telemetry: Telemetry { busy_percent: Some(1), ..Telemetry::default() },
        bad_state: None,
        by_driver: true,
    };
    by_drivers(&mut devices, vec![look], &KernelFaults::default());
    assert_eq!((devices[0].ladder.reached, devices[0].health.is_ready()), (Rung::Healthy, false));
    assert_eq!((devices[1].ladder.reached, devices[1].health.is_ready()), (Rung::Healthy, true));
}

#[test]
fn a_captured_log_is_part_of_the_ladder() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let at = dir.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    };
    write("ashlar/kernel.log", "3,1,5000000,-;NVRM: Xid (PCI:0000:3b:00): 74, pid='<unknown>', NVLink: fatal error\n");
    let card = |address| device(Vendor::Nvidia, DeviceClass::Gpu, "nvidia", address);
    let mut devices = vec![card("0000:3b:00.0"), card("0000:5e:00.0")];
    let mut health = Health::new(Root::at(dir.path()), None, Duration::from_secs(10));
    assert_eq!(health.log_unread(), None);
    for _ in 0..2 {
        health.ask(&mut devices);
        let stop = devices[0].ladder.stop.clone().unwrap();
        assert_eq!((stop.kind, stop.blocks), (StopKind::Fault, false));
        assert_eq!(stop.reason, "kernel log: an NVLink error (Xid 74), once, at [5.000000]");
        assert!(devices[0].health.is_ready() && devices[1].ladder.stop.is_none());
    }
}

/// A capture of a machine with eight cards, as far as readers of accelerators look.
fn eight_npus(answers: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: String, text: &str| {
        let at = dir.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    };
    for (number, bus) in ["01", "02", "41", "42", "81", "82", "c1", "c2"].iter().enumerate() {
        let folder = format!("sys/bus/pci/devices/0000:{bus}:00.0");
        write(format!("{folder}/uevent"), "PCI_CLASS=120000\nPCI_ID=19E5:D802\n");
        std::os::unix::fs::symlink("../../drivers/devdrv_device_driver", dir.path().join(folder).join("driver")).unwrap();
        write(format!("sys/dev/char/236:{number}/uevent"), &format!("DEVNAME=davinci{number}\n"));
    }
    for (numbers, name) in [("238:0", "davinci_manager"), ("237:0", "devmm_svm"), ("235:0", "hisi_hdc"), ("239:1", "vdavinci101")] {
        write(format!("sys/dev/char/{numbers}/uevent"), &format!("DEVNAME={name}\n"));
    }
    for (name, text) in answers {
        write(format!("ashlar/tools/{name}"), text);
    }
    dir
}

#[test]
fn what_npu_smi_printed_is_replayed_with_links_and_vnpus() {
    let info = include_str!("../../../../testdata/npu-smi/info-eight-910b.txt");
    let answers = [
        ("npu-smi.txt", info),
        ("npu-smi-topo.txt", include_str!("../../../../testdata/npu-smi/topo-eight-910b.txt")),
        ("npu-smi-vnpu-0-0.txt", include_str!("../../../../testdata/npu-smi/vnpu-two-halves.txt")),
    ];
    let dir = eight_npus(&answers);
    let root = Root::at(dir.path());
    let mut devices = crate::accelerators::devices(&root);
    assert_eq!(devices[1].id.0, "VNPU-0000:01:00.0.101", "the node alone belongs to the first chip");
    let mut health = Health::new(root, None, Duration::from_secs(10));
    let figures = health.ask(&mut devices);
    assert_eq!(devices.len(), 10);
    let at = |address: &str| devices.iter().find(|device| device.id.0 == address).unwrap();
    // Board 0 is at c1: what the program says of it counts more than the order of nodes.
    let card = at("0000:c1:00.0");
    assert_eq!((card.ladder.stop.as_ref().unwrap().kind, card.links.len()), (StopKind::Divided, 7));
    assert!(card.links.iter().all(|link| link.kind == LinkKind::Hccs && link.lanes == 1 && link.to.is_some()));
    assert!(card.unverified.iter().any(|fact| fact.contains("links")), "{:?}", card.unverified);
    let half = at("VNPU-0000:c1:00.0.101");
    assert_eq!((half.memory, half.slice.as_ref().unwrap().name().as_str()), (Some(Bytes::gib(32)), "vNPU vir10_3c_32g"));
    assert_eq!((half.health.is_ready(), half.nodes[0].path.as_str(), half.ladder.reached), (true, "/dev/vdavinci101", Rung::Healthy));
    let other = at("VNPU-0000:c1:00.0.100").ladder.stop.clone().unwrap();
    assert_eq!((other.kind, other.reason.as_str()), (StopKind::LibraryError, "Ascend's driver: node missing: vdavinci100"));
    // In the order of boards, not of the bus, and no longer a guess.
    let nodes: Vec<_> = ["c1", "01", "c2", "42"].map(|bus| at(&format!("0000:{bus}:00.0")).nodes[0].path.clone()).into();
    assert_eq!(nodes, ["/dev/davinci0", "/dev/davinci1", "/dev/davinci2", "/dev/davinci7"]);
    assert!(!card.unverified.iter().any(|fact| fact.contains("/dev/davinci")), "{:?}", card.unverified);
    let first = at("0000:01:00.0");
    assert_eq!((first.health.is_ready(), first.links.len()), (true, 7), "it only looked divided");
    assert_eq!(card.memory, Some(Bytes::gib(64)));
    assert_eq!(figures[&card.id].memory_total, Some(Bytes::gib(64)));
    // Asked once more, nothing is there twice.
    let before = devices.clone();
    health.ask(&mut devices);
    assert!(devices == before);
}

#[test]
fn without_an_answer_the_nodes_are_all_that_is_known() {
    let dir = eight_npus(&[]);
    let root = Root::at(dir.path());
    let mut devices = crate::accelerators::devices(&root);
    Health::new(root, None, Duration::from_secs(10)).ask(&mut devices);
    let part = devices.iter().find(|device| device.slice.is_some()).unwrap();
    assert_eq!((part.memory, part.health.is_ready(), part.ladder.reached), (None, true, Rung::Node));
    assert!(devices[0].unverified.iter().any(|fact| fact == "device node /dev/davinci{n}"), "{:?}", devices[0].unverified);
}

#[test]
fn while_a_library_thinks_its_cards_stand_but_the_kernels_log_is_heard() {
    let gpu = |address: &str| device(Vendor::Nvidia, DeviceClass::Gpu, "nvidia", address);
    let mut devices = vec![gpu("0000:3b:00.0"), gpu("0000:86:00.0"), gpu("0000:af:00.0")];
    devices[0].learn(Answer::Fine, vec![], 0);
    devices[1].learn(Answer::Fine, vec![], 0);
    devices[2].learn(Answer::Hung { who: "nvml".into(), seconds: 30, at_this_card: true }, vec![], 0);
    let before: BTreeMap<DeviceId, Device> = devices.iter().map(|device| (device.id.clone(), device.clone())).collect();
    let mut kernel = KernelFaults::default();
    for card in ["86", "af"] {
        kernel.take(&format!("3,1,5000000,-;NVRM: Xid (PCI:0000:{card}:00): 79, GPU has fallen off the bus."));
    }
    by_kernel(&mut devices, &kernel);
    meanwhile(&mut devices, &before, &kernel);
    let stops: Vec<_> = devices.iter().map(|device| device.ladder.stop.as_ref().map(|stop| stop.kind)).collect();
    assert_eq!(stops, [None, Some(StopKind::Fault), Some(StopKind::ProbeHung)]);
    assert_eq!(devices[0].ladder.reached, Rung::Healthy);
}
