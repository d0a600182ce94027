use super::*;
use machine::Health;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A captured tree in the making.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        Tree(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &str) -> &Tree {
        let at = self.0.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
        self
    }

    fn link(&self, path: &str, target: &str) -> &Tree {
        let at = self.0.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(Path::new(target), at).unwrap();
        self
    }

    /// A PCI function as sysfs shows it.
    fn card(&self, address: &str, maker: u16, device: u16, class: u16, driver: &str, numa: i32) -> String {
        let path = format!("sys/devices/pci0000:00/{address}");
        self.link(&format!("sys/bus/pci/devices/{address}"), &format!("../../../devices/pci0000:00/{address}"));
        self.write(&format!("{path}/uevent"), &format!("PCI_CLASS={class:X}00\nPCI_ID={maker:04X}:{device:04X}\n"));
        self.write(&format!("{path}/numa_node"), &format!("{numa}\n"));
        if !driver.is_empty() {
            self.link(&format!("{path}/driver"), &format!("../../../bus/pci/drivers/{driver}"));
        }
        path
    }

    fn devices(&self) -> Vec<Device> {
        devices(&Root::at(self.0.path()))
    }

    fn one(&self) -> Device {
        let mut devices = self.devices();
        assert_eq!(devices.len(), 1, "{devices:?}");
        devices.remove(0)
    }
}

fn why(device: &Device) -> &str {
    match &device.health {
        Health::Ready => "",
        Health::Unusable(why) => why,
    }
}

#[test]
fn nvidia_cards_get_their_minor_and_the_shared_nodes() {
    let tree = Tree::new();
    for (address, minor) in [("0000:3b:00.0", 1), ("0000:86:00.0", 0)] {
        tree.card(address, 0x10de, 0x2330, 0x0302, "nvidia", 1);
        let information = format!("Model: NVIDIA H100 80GB HBM3\nGPU UUID: GPU-{minor}\nDevice Minor: {minor}\nBus Location: {address}\n");
        tree.write(&format!("proc/driver/nvidia/gpus/{address}/information"), &information);
    }
    tree.write("proc/devices", "Character devices:\n195 nvidia\n508 nvidia-uvm\n");
    let found = tree.devices();
    let paths: Vec<_> = found[0].nodes.iter().map(|node| (node.path.as_str(), node.major, node.minor, node.shared)).collect();
    assert_eq!(
        paths,
        [
            ("/dev/nvidia1", 195, 1, false),
            ("/dev/nvidiactl", 195, 255, true),
            ("/dev/nvidia-uvm", 508, 0, true),
            ("/dev/nvidia-uvm-tools", 508, 1, true),
            ("/dev/nvidia-modeset", 195, 254, true),
        ]
    );
    assert_eq!((found[0].id.0.as_str(), found[0].index, found[0].numa, why(&found[0])), ("GPU-1", 0, Some(1), ""));
    assert_eq!((found[1].id.0.as_str(), found[1].index), ("GPU-0", 1));
    assert_eq!(found[1].memory, Some(Bytes::gb(80)));

    let without_uvm = Tree::new();
    without_uvm.card("0000:3b:00.0", 0x10de, 0x2330, 0x0302, "nvidia", -1);
    without_uvm.write("proc/driver/nvidia/gpus/0000:3b:00.0/information", "Device Minor: 0\n");
    without_uvm.write("proc/devices", "Character devices:\n195 nvidia\n");
    let device = without_uvm.one();
    assert_eq!((why(&device), device.numa), ("node missing: nvidia-uvm", None));
}

#[test]
fn each_step_of_the_ladder_is_named() {
    for (driver, expected) in [
        ("", "driver not bound: module nvidia not loaded"),
        ("nouveau", "driver nouveau is bound, nvidia is needed"),
        ("vfio-pci", "set aside for a virtual machine (driver vfio-pci)"),
        ("nvidia", ""),
    ] {
        let tree = Tree::new();
        tree.card("0000:3b:00.0", 0x10de, 0x2684, 0x0300, driver, 0);
        let device = tree.one();
        assert_eq!((why(&device), device.model.as_str()), (expected, "NVIDIA GeForce RTX 4090"));
    }
}

#[test]
fn amd_cards_tell_their_memory_and_identity() {
    let tree = Tree::new();
    let path = tree.card("0000:05:00.0", 0x1002, 0x74a1, 0x1200, "amdgpu", 0);
    tree.write(&format!("{path}/mem_info_vram_total"), "206141652992\n").write(&format!("{path}/unique_id"), "9f4c8d1a2b3c4d5e\n");
    tree.write(&format!("{path}/drm/renderD128/dev"), "226:128\n")
        .write(&format!("{path}/drm/renderD128/uevent"), "DEVNAME=dri/renderD128\n");
    tree.write(&format!("{path}/drm/card1/dev"), "226:1\n");
    tree.write("sys/dev/char/241:0/uevent", "MAJOR=241\nMINOR=0\nDEVNAME=kfd\n");
    // Integrated graphics beside it.
    tree.card("0000:c1:00.0", 0x1002, 0x1681, 0x0300, "amdgpu", 0);
    let device = tree.one();
    assert_eq!((device.id.0.as_str(), device.model.as_str(), why(&device)), ("GPU-9f4c8d1a2b3c4d5e", "Instinct MI300X", ""));
    assert_eq!(device.memory, Some(Bytes(206_141_652_992)));
    let paths: Vec<_> = device.nodes.iter().map(|node| (node.path.as_str(), node.major, node.minor, node.shared)).collect();
    assert_eq!(paths, [("/dev/dri/renderD128", 226, 128, false), ("/dev/kfd", 241, 0, true)]);
}

#[test]
fn two_dies_with_one_serial_number_are_named_by_address() {
    let tree = Tree::new();
    for address in ["0000:05:00.0", "0000:06:00.0"] {
        let path = tree.card(address, 0x1002, 0x740c, 0x1200, "amdgpu", 0);
        tree.write(&format!("{path}/unique_id"), "9f4c8d1a2b3c4d5e\n");
    }
    let ids: Vec<String> = tree.devices().into_iter().map(|device| device.id.0).collect();
    assert_eq!(ids, ["0000:05:00.0", "0000:06:00.0"]);
}

#[test]
fn intel_memory_is_its_large_window() {
    let tree = Tree::new();
    let path = tree.card("0000:03:00.0", 0x8086, 0x56a0, 0x0300, "i915", -1);
    let nothing = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
    let window = "0x0000006000000000 0x00000063ffffffff 0x000000000014220c\n";
    tree.write(&format!("{path}/resource"), &format!("{nothing}{nothing}{window}"));
    tree.write(&format!("{path}/drm/renderD129/dev"), "226:129\n");
    tree.card("0000:00:02.0", 0x8086, 0xa780, 0x0300, "i915", -1);
    let device = tree.one();
    assert_eq!((device.vendor, device.memory, why(&device)), (Vendor::Intel, Some(Bytes::gib(16)), ""));
    assert_eq!(device.nodes[0].path, "/dev/dri/renderD129");
}

#[test]
fn several_makers_in_one_machine_count_on_their_own() {
    let tree = Tree::new();
    tree.card("0000:01:00.0", 0x19e5, 0xd802, 0x1200, "devdrv_device_driver", 0);
    tree.card("0000:02:00.0", 0x10de, 0x2684, 0x0300, "nvidia", 0);
    tree.card("0000:03:00.0", 0x19e5, 0xd802, 0x1200, "devdrv_device_driver", 1);
    let nodes = [(236, 0, "davinci0"), (236, 1, "davinci1"), (238, 0, "davinci_manager"), (237, 0, "devmm_svm"), (235, 0, "hisi_hdc")];
    for (major, minor, name) in nodes {
        tree.write(&format!("sys/dev/char/{major}:{minor}/uevent"), &format!("DEVNAME={name}\n"));
    }
    let found = tree.devices();
    let rows: Vec<_> = found.iter().map(|device| (device.vendor, device.index, why(device))).collect();
    assert_eq!(rows, [(Vendor::Ascend, 0, ""), (Vendor::Nvidia, 0, ""), (Vendor::Ascend, 1, "")]);
    assert_eq!(found[2].nodes[0].path, "/dev/davinci1");
    assert_eq!(found[2].nodes.len(), 4);
}

#[test]
fn nodes_of_vnpus_divide_the_card_that_their_numbers_belong_to() {
    let tree = Tree::new();
    for address in ["0000:c1:00.0", "0000:c2:00.0"] {
        tree.card(address, 0x19e5, 0xd802, 0x1200, "devdrv_device_driver", 0);
    }
    let nodes = [
        (236, 0, "davinci0"),
        (236, 1, "davinci1"),
        (238, 0, "davinci_manager"),
        (237, 0, "devmm_svm"),
        (235, 0, "hisi_hdc"),
        // The second chip has the numbers from 116; 148 is of a chip that is not there, 7 is none.
        (239, 116, "vdavinci116"),
        (239, 117, "vdavinci117"),
        (239, 148, "vdavinci148"),
        (239, 7, "vdavinci7"),
    ];
    for (major, minor, name) in nodes {
        tree.write(&format!("sys/dev/char/{major}:{minor}/uevent"), &format!("DEVNAME={name}\n"));
    }
    let found = tree.devices();
    let names: Vec<_> = found.iter().map(|device| (device.id.0.as_str(), device.index)).collect();
    assert_eq!(names, [("0000:c1:00.0", 0), ("0000:c2:00.0", 1), ("VNPU-0000:c2:00.0.116", 1), ("VNPU-0000:c2:00.0.117", 1)]);
    assert_eq!((why(&found[0]), why(&found[1])), ("", "divided into 2 slices, which are granted in its place"));
    let part = &found[2];
    let about = part.slice.as_ref().unwrap();
    assert_eq!((about.name().as_str(), about.sort().as_str(), part.memory, why(part)), ("vNPU 116", "vNPU", None, ""));
    let nodes: Vec<_> = part.nodes.iter().map(|node| (node.path.as_str(), node.major, node.minor, node.shared)).take(2).collect();
    assert_eq!(nodes, [("/dev/vdavinci116", 239, 116, false), ("/dev/davinci_manager", 238, 0, true)]);
    assert_eq!(part.nodes[0].path_inside(), "/dev/davinci116");
    assert!(part.unverified.iter().any(|fact| fact.contains("vdavinci116")), "{:?}", part.unverified);
}

#[test]
fn nodes_in_folders_and_of_user_space_drivers() {
    let tree = Tree::new();
    let path = tree.card("0000:07:00.0", 0x1e52, 0x401e, 0x1200, "tenstorrent", 0);
    tree.write(&format!("{path}/tenstorrent/tenstorrent!3/dev"), "241:3\n");
    assert_eq!(tree.one().nodes[0].path, "/dev/tenstorrent/3");

    let tree = Tree::new();
    let path = tree.card("0000:05:00.0", 0x1ae0, 0x0063, 0x1200, "vfio-pci", 0);
    tree.link(&format!("{path}/iommu_group"), "../../../kernel/iommu_groups/12");
    tree.write("sys/dev/char/243:0/uevent", "DEVNAME=vfio/12\n").write("sys/dev/char/10:196/uevent", "DEVNAME=vfio/vfio\n");
    let device = tree.one();
    let paths: Vec<_> = device.nodes.iter().map(|node| (node.path.as_str(), node.shared)).collect();
    assert_eq!((paths, why(&device)), (vec![("/dev/vfio/12", false), ("/dev/vfio/vfio", true)], ""));

    let tree = Tree::new();
    let path = tree.card("0000:05:00.0", 0x1da3, 0x1020, 0x1200, "habanalabs", 0);
    tree.write(&format!("{path}/accel/accel0/dev"), "261:0\n").write(&format!("{path}/accel/accel_controlD0/dev"), "261:64\n");
    let paths: Vec<String> = tree.one().nodes.into_iter().map(|node| node.path).collect();
    assert_eq!(paths, ["/dev/accel/accel0", "/dev/accel/accel_controlD0"]);
}

#[test]
fn virtual_functions_and_strangers() {
    let tree = Tree::new();
    tree.card("0000:05:00.0", 0x1eff, 0x1220, 0x1200, "rebellions", 0);
    let path = tree.card("0000:05:00.1", 0x1eff, 0x1221, 0x1200, "rebellions", 0);
    tree.link(&format!("{path}/physfn"), "../0000:05:00.0");
    tree.card("0000:09:00.0", 0x1e60, 0x2864, 0x1200, "hailo", 0);
    let found = tree.devices();
    let rows: Vec<_> = found.iter().map(|device| (device.vendor, device.index, device.health.is_ready())).collect();
    assert_eq!(rows, [(Vendor::Rebellions, 0, false), (Vendor::Rebellions, 0, true), (Vendor::Unknown, 0, false)]);
    assert_eq!(why(&found[0]), "divided into 1 slice, which is granted in its place");
    let slice = found[1].slice.as_ref().unwrap();
    assert_eq!((slice.kind, slice.parent.0.as_str(), slice.profile.as_str()), (SliceKind::Vf, "0000:05:00.0", "VF 0"));
    assert_eq!(
        (why(&found[2]), found[2].maker.as_str()),
        ("accelerators of Hailo are not known to Ashlar yet (driver hailo is bound)", "Hailo")
    );
    assert!(found[0].unverified.contains(&"PCI id 1220".to_owned()), "{:?}", found[0].unverified);
}

#[test]
fn a_card_that_reads_as_all_ones_is_dead() {
    let tree = Tree::new();
    let path = tree.card("0000:3b:00.0", 0x10de, 0x2330, 0x0302, "nvidia", 0);
    let config = tree.0.path().join(format!("{path}/config"));
    fs::write(&config, [0xff; 64]).unwrap();
    assert!(why(&tree.one()).starts_with("dead"), "{}", why(&tree.one()));
    tree.write(&format!("{path}/power_state"), "D3cold\n");
    assert_eq!(why(&tree.one()), "", "asleep, not dead");
    fs::write(config, [0xde, 0x10, 0x30, 0x23]).unwrap();
    tree.write(&format!("{path}/power_state"), "D0\n");
    assert_eq!(why(&tree.one()), "");
}

#[test]
fn the_module_says_why_no_driver_is_bound() {
    let tree = Tree::new();
    tree.card("0000:3b:00.0", 0x10de, 0x2330, 0x0302, "", 0);
    tree.write("proc/sys/kernel/osrelease", "6.12.0\n").write("lib/modules/6.12.0/modules.dep", "updates/dkms/nvidia.ko.zst:\n");
    assert_eq!(why(&tree.one()), "driver not bound: module nvidia not loaded");
    tree.write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    assert_eq!(why(&tree.one()), "driver not bound: module nvidia not loaded, kernel lockdown accepts signed modules only");
    tree.write("lib/modules/6.12.0/modules.dep", "kernel/fs/ext4/ext4.ko:\n");
    assert_eq!(why(&tree.one()), "driver not bound: module nvidia not loaded: this kernel has no such module");
}

#[test]
fn a_processors_own_npu_does_not_shift_the_count_of_gpus() {
    let tree = Tree::new();
    tree.card("0000:00:0b.0", 0x8086, 0x643e, 0x1200, "intel_vpu", -1);
    tree.card("0000:03:00.0", 0x8086, 0x56c0, 0x0380, "xe", -1);
    tree.card("0000:04:00.0", 0x8086, 0x56c0, 0x0380, "xe", -1);
    let rows: Vec<_> = tree.devices().iter().map(|device| (device.class, device.index)).collect();
    assert_eq!(rows, [(DeviceClass::Npu, 0), (DeviceClass::Gpu, 0), (DeviceClass::Gpu, 1)]);
}
