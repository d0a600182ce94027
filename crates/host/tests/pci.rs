//! The PCI trees of captured machines.

mod captured;

use captured::{Capture, data};
use host::{Root, pci};
use machine::{PciAddress, PciTree};
use std::path::Path;

/// Only files of the bus.
fn capture(archive: &Path) -> Capture {
    Capture::unpack_only(archive, |path| path.contains("sys/bus/pci") || path.contains("sys/devices/"))
}

fn tree(capture: &Capture) -> PciTree {
    pci::tree(&Root::at(&capture.roots()[0]))
}

fn address(text: &str) -> PciAddress {
    text.parse().unwrap()
}

#[test]
fn eight_vector_engines_hang_below_switches() {
    let Some(data) = data() else { return };
    let capture = capture(&data.join("hwloc/32intel64-2p8co2t+8ve.tar.bz2"));
    let tree = tree(&capture);
    let engines: Vec<PciAddress> =
        tree.functions().iter().filter(|function| function.ids.vendor == 0x1bcf).map(|function| function.address).collect();
    assert_eq!(engines.len(), 8);
    for engine in &engines {
        let link = tree.get(*engine).unwrap().link.unwrap();
        assert_eq!((link.now.to_string().as_str(), link.is_downgraded()), ("gen3 x16", Some(false)), "{engine}");
        assert!(tree.above(*engine).len() >= 3, "{engine} hangs below a switch");
        assert_eq!(tree.top(*engine).unwrap().parent, None);
    }
    // Neighbours meet in a switch, the halves of the machine do not meet at all.
    assert!(tree.meet(engines[0], engines[1]).is_some());
    assert_eq!(tree.meet(engines[0], engines[7]), None);
    assert!(!tree.same_root_bus(engines[0], engines[7]));
}

#[test]
fn links_name_the_same_bridges_as_bus_numbers() {
    let Some(data) = data() else { return };
    for name in ["32em64t-2n8c+dax+nvme+mic+dimms", "40intel64-2g2n4c+pcilocality", "fakepcilocalities", "32intel64-2p8co2t+8ve"] {
        let capture = capture(&data.join(format!("hwloc/{name}.tar.bz2")));
        let tree = tree(&capture);
        assert!(tree.functions().len() > 10, "{name}");
        let mut below = 0;
        for function in tree.functions() {
            if let Some(buses) = function.parent.and_then(|parent| tree.get(parent)).and_then(|parent| parent.bridge) {
                assert!((buses.secondary..=buses.subordinate).contains(&function.address.bus), "{name} {}", function.address);
                below += 1;
            }
        }
        assert!(below > 3, "{name}: {below} functions below bridges");
    }
}

#[test]
fn domains_of_32_bits_slots_groups_and_virtual_functions() {
    let Some(data) = data() else { return };
    let wide = tree(&capture(&data.join("hwloc/2pa-pcidomain32bits.tar.bz2")));
    assert!(wide.functions().iter().any(|function| function.address.domain >= 0x10000));
    let dimms = tree(&capture(&data.join("hwloc/32em64t-2n8c+dax+nvme+mic+dimms.tar.bz2")));
    assert!(dimms.functions().iter().any(|function| function.slot.is_some()));
    assert_eq!(dimms.functions().len(), 137);
    let qemu = tree(&capture(&data.join("qemu-sysfs/k6.1-3node-hmat-cxlmem-vtd-passthrough.tar.gz")));
    assert!(qemu.functions().iter().all(|function| function.iommu_group.is_some_and(|group| group <= 6)));
    assert_eq!(qemu.get(address("0000:00:00.0")).map(|function| function.class16()), Some(0x0600));
}

#[test]
fn a_machine_without_the_bus_has_an_empty_tree() {
    let dir = tempfile::tempdir().unwrap();
    assert!(pci::tree(&Root::at(dir.path())).is_empty());
    assert!(pci::tree(&Root::at(dir.path().join("missing"))).is_empty());
}
