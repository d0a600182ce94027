//! InfiniBand ports, IOMMU groups and paths of captured machines.

mod captured;

use captured::data;
use host::capture::{self, Limits};
use host::{Root, infiniband, links, nccl_text, paths, pci, probe};
use machine::PortState;
use machine::paths::{Translation, Verdict};
use std::path::Path;

/// An archive of which only a folder deep inside is a machine's.
fn unpacked(archive: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    capture::unpack(std::io::BufReader::new(std::fs::File::open(archive).unwrap()), dir.path(), Limits::default()).unwrap();
    dir
}

#[test]
fn the_ports_of_an_h100_host_are_read() {
    let Some(data) = data() else { return };
    let dir = unpacked(&data.join("infiniband/gpud-sys-class-infiniband-h100.tar.gz"));
    let class = dir.path().join("components/accelerator/nvidia/infiniband/class/testdata");
    let real = std::fs::read_dir(&class).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("sys/class")).unwrap();
    std::fs::rename(real, root.path().join("sys/class/infiniband")).unwrap();
    let ports = infiniband(&Root::at(root.path()));
    assert!(ports.len() >= 9, "{}", ports.len());
    let fast = ports.iter().filter(|port| port.rate_mbps == Some(400_000)).count();
    assert!(fast >= 8, "{ports:#?}");
    for port in &ports {
        assert!(
            port.state != PortState::Unknown && !port.link_layer.is_empty() && port.model.starts_with("MT") && port.port == 1,
            "{port:?}"
        );
    }
    assert!(ports.iter().any(|port| port.rate_name == "4X NDR"));
}

#[test]
fn iommu_groups_of_a_passed_through_machine_do_not_translate() {
    let Some(data) = data() else { return };
    let root = capture::open(&data.join("qemu-sysfs/k6.1-3node-hmat-cxlmem-vtd-passthrough.tar.gz"), Limits::default()).unwrap();
    let tree = pci::tree(&root);
    let groups = tree.functions().iter().filter(|function| function.iommu_group.is_some()).count();
    assert!(groups >= 7, "{groups}");
    for function in tree.functions() {
        assert_eq!(host::translation(&root, function, ""), Translation::Identity, "{}", function.address);
    }
    // Without an IOMMU there is nothing to translate.
    let root = capture::open(&data.join("qemu-sysfs/k6.12-3node-hmat-2tiers-nvme-on-node1-cxlroot.tar.gz"), Limits::default()).unwrap();
    let tree = pci::tree(&root);
    assert!(tree.functions().iter().all(|function| host::translation(&root, function, "") == Translation::Off));
}

#[test]
fn eight_vector_engines_behind_switches_are_judged() {
    let Some(data) = data() else { return };
    let root = capture::open(&data.join("hwloc/32intel64-2p8co2t+8ve.tar.bz2"), Limits::default()).unwrap();
    let machine = probe(&root).unwrap();
    let report = paths(&root, &machine);
    assert_eq!(report.accelerators.len(), 8);
    assert_eq!(report.pairs.iter().filter(|pair| !pair.rdma).count(), 28);
    // Two switches of four cards each, both on node 0, each with an InfiniBand card.
    let count = |rdma: bool, class: &str| report.pairs.iter().filter(|pair| pair.rdma == rdma && pair.way.distance.name() == class).count();
    assert_eq!((count(false, "switch"), count(false, "node")), (12, 16));
    assert_eq!(count(true, "switch"), 8);
    assert!(report.pairs.iter().all(|pair| pair.verdict != Verdict::Works || pair.reasons.is_empty()));
    // The same machine as a file that NCCL reads.
    let text = nccl_text(&root, &machine);
    let graph = machine::nccl::read(&text).unwrap();
    let own = links(&root, &machine);
    assert_eq!((graph.vertices.len(), graph.accelerators.len()), (own.vertices.len(), 8));
    assert_eq!(machine.distances.rows.len(), 8);
}

/// What the judgement rests on, on a machine made for it: ACS of a switch's ports, the group's type, the driver's files.
#[test]
fn evidence_is_read_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let at = dir.path().join(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, bytes).unwrap();
    };
    put("proc/cpuinfo", b"processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t: 17\n");
    put("proc/sys/kernel/osrelease", b"6.8.0-45-generic\n");
    put("proc/modules", b"nvidia 1 0 - Live 0x0\nmlx5_ib 1 0 - Live 0x0\n");
    put("proc/driver/nvidia/version", b"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15\n");
    let function = |path: &str, class: &str, id: &str, driver: &str, port: u8, acs: Option<u16>| {
        let at = format!("sys/devices/pci0000:00/{path}");
        put(&format!("{at}/uevent"), format!("PCI_CLASS={class}\nPCI_ID={id}\n{driver}").as_bytes());
        put(&format!("{at}/numa_node"), b"0\n");
        let mut config = vec![0u8; 4096];
        config[6] = 0x10;
        config[0x34] = 0x40;
        config[0x40..0x44].copy_from_slice(&[0x10, 0, port << 4, 0]);
        if let Some(control) = acs {
            config[0x100..0x104].copy_from_slice(&[0x0d, 0, 1, 0]);
            config[0x106..0x108].copy_from_slice(&control.to_le_bytes());
        }
        put(&format!("{at}/config"), &config);
        let name = path.rsplit('/').next().unwrap();
        std::fs::create_dir_all(dir.path().join("sys/bus/pci/devices")).unwrap();
        std::os::unix::fs::symlink(format!("../../../devices/pci0000:00/{path}"), dir.path().join(format!("sys/bus/pci/devices/{name}")))
            .unwrap();
    };
    function("0000:00:01.0", "60400", "1022:1483", "", 4, None);
    function("0000:00:01.0/0000:01:00.0", "60400", "1000:C010", "", 5, None);
    for (bus, acs) in [("02:00.0", 0x1d), ("02:01.0", 0x00), ("02:02.0", 0x00)] {
        function(&format!("0000:00:01.0/0000:01:00.0/0000:{bus}"), "60400", "1000:C010", "", 6, Some(acs));
    }
    for (bridge, card) in [("02:00.0", "03:00.0"), ("02:01.0", "04:00.0")] {
        function(&format!("0000:00:01.0/0000:01:00.0/0000:{bridge}/0000:{card}"), "30200", "10DE:2330", "DRIVER=nvidia\n", 0, None);
    }
    let nic = "0000:00:01.0/0000:01:00.0/0000:02:02.0/0000:05:00.0";
    function(nic, "20700", "15B3:1021", "DRIVER=mlx5_core\n", 0, None);
    put("sys/class/infiniband/mlx5_0/ports/1/state", b"4: ACTIVE\n");
    put("sys/class/infiniband/mlx5_0/ports/1/rate", b"400 Gb/sec (4X NDR)\n");
    std::os::unix::fs::symlink(format!("../../../devices/pci0000:00/{nic}"), dir.path().join("sys/class/infiniband/mlx5_0/device"))
        .unwrap();
    std::fs::create_dir_all(dir.path().join("sys/kernel/iommu_groups")).unwrap();
    let root = Root::at(dir.path());
    let mut machine = probe(&root).unwrap();
    machine.devices.iter_mut().for_each(|device| device.health = machine::Health::Ready);
    let report = paths(&root, &machine);
    let verdict = |a: &str, b: &str| {
        report.pairs.iter().find(|pair| pair.from == a && pair.to == b).map(|pair| (pair.way.distance.name(), pair.verdict))
    };
    assert_eq!(verdict("nvidia 0", "nvidia 1"), Some(("switch", Verdict::Degraded)), "{report:#?}");
    assert_eq!(verdict("nvidia 0", "mlx5_0"), Some(("switch", Verdict::Degraded)));
    assert_eq!(verdict("nvidia 1", "mlx5_0"), Some(("switch", Verdict::Works)), "{report:#?}");
    assert_eq!(report.reasons.len(), 1, "{:#?}", report.reasons);
    assert_eq!(report.reasons[0].obstacle.at, ["0000:02:00.0"]);
    // An ordinary user reads the first 64 bytes only.
    for bridge in ["02:00.0", "02:01.0", "02:02.0"] {
        put(&format!("sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:{bridge}/config"), &[0; 64]);
    }
    let report = paths(&Root::at(dir.path()), &machine);
    assert!(report.pairs.iter().all(|pair| pair.verdict == Verdict::Unknown), "{report:#?}");
    assert!(report.reasons.iter().any(|reason| reason.obstacle.hint.as_deref().is_some_and(|hint| hint.contains("root"))));
}

/// All of its memory is in one tier of the kernel's; the slow node answers three times as late, so it is no plain DRAM and
/// the fast ones are.
#[test]
fn memory_that_answers_late_makes_no_hbm_of_the_rest() {
    use host::survey::{Options, survey};
    use machine::topology::MemoryKind;
    let Some(data) = data() else { return };
    for archive in ["k6.1-3node-hmat-cxlmem-vtd-passthrough", "k6.12-3node-hmat-2tiers-nvme-on-node1-cxlroot"] {
        let root = capture::open(&data.join(format!("qemu-sysfs/{archive}.tar.gz")), Limits::default()).unwrap();
        let topology = survey(&root, &Options::default()).unwrap();
        let tiers: Vec<_> = topology.tiers.iter().map(|tier| (tier.kind, tier.nodes.to_string())).collect();
        assert_eq!(tiers, [(Some(MemoryKind::Dram), "0-1".to_owned()), (None, "2".to_owned())], "{archive}");
    }
}
