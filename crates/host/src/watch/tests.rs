use super::*;
use machine::{DeviceId, Health, Slice, SliceKind, StopKind, Vendor};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        Tree(tempfile::tempdir().unwrap())
    }

    fn folder(&self, address: &str) -> PathBuf {
        self.0.path().join("sys/bus/pci/devices").join(address)
    }

    fn plug(&self, address: &str, driver: &str) {
        let folder = self.folder(address);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("uevent"), "PCI_CLASS=120000\nPCI_ID=1E52:401E\n").unwrap();
        fs::write(folder.join("config"), [0x52, 0x1e, 0x1e, 0x40, 0, 0, 0, 0]).unwrap();
        self.bind(address, driver);
        let node = folder.join("tenstorrent/tenstorrent!0");
        fs::create_dir_all(&node).unwrap();
        fs::write(node.join("dev"), "241:0").unwrap();
    }

    fn bind(&self, address: &str, driver: &str) {
        let link = self.folder(address).join("driver");
        let _ = fs::remove_file(&link);
        if !driver.is_empty() {
            symlink(format!("../../drivers/{driver}"), link).unwrap();
        }
    }

    fn watched(&self) -> Watched {
        let root = Root::at(self.0.path());
        let devices = accelerators::devices(&root);
        Watched::new(root, devices)
    }
}

fn told(action: &str, address: &str) -> Vec<Event> {
    vec![event(format!("{action}@/devices/pci0000:00/{address}\0ACTION={action}\0SUBSYSTEM=pci\0").as_bytes()).unwrap()]
}

fn kind(device: &Device) -> Option<StopKind> {
    device.ladder.stop.as_ref().map(|stop| stop.kind)
}

const ONE: &str = "0000:03:00.0";
const TWO: &str = "0000:04:00.0";

#[test]
fn messages_name_the_function_they_are_about() {
    let found = event(b"add@/devices/pci0000:00/0000:00:01.0/0000:03:00.0/drm/renderD128\0ACTION=add\0SUBSYSTEM=drm\0MINOR=128\0").unwrap();
    assert_eq!((found.action.as_str(), found.subsystem.as_str(), found.is_function), ("add", "drm", false));
    assert_eq!(found.address.unwrap().to_string(), ONE);
    let found = &told("remove", ONE)[0];
    assert!(found.is_function && found.address.unwrap().to_string() == ONE);
    assert_eq!(event(b"add@/devices/virtual/net/lo\0SUBSYSTEM=net\0").unwrap().address, None);
    // What udev sends.
    assert_eq!(event(b"libudev\0\xfe\xed\xca\xfe"), None);
    assert_eq!(event(b""), None);
}

#[test]
fn a_device_that_goes_is_kept_and_not_granted() {
    let tree = Tree::new();
    tree.plug(ONE, "tenstorrent");
    tree.plug(TWO, "tenstorrent");
    let mut watched = tree.watched();
    assert!(watched.devices.iter().all(|device| device.health.is_ready()), "{:?}", watched.devices);
    assert!(!watched.take(&told("change", ONE)), "nothing changed");
    fs::remove_dir_all(tree.folder(ONE)).unwrap();
    assert!(watched.take(&told("remove", ONE)));
    assert_eq!((watched.devices.len(), kind(&watched.devices[0])), (2, Some(StopKind::Gone)));
    assert!(!watched.devices[0].health.is_ready() && watched.devices[1].health.is_ready());
    assert!(!watched.take(&told("remove", ONE)) && !watched.check(), "told once");
    tree.plug(ONE, "tenstorrent");
    assert!(watched.take(&told("add", ONE)));
    assert!(watched.devices[0].health.is_ready(), "it came back");
}

#[test]
fn a_card_that_falls_off_without_a_word_is_found_by_asking() {
    let tree = Tree::new();
    tree.plug(ONE, "tenstorrent");
    let mut watched = tree.watched();
    assert!(!watched.check());
    fs::write(tree.folder(ONE).join("config"), [0xff; 8]).unwrap();
    assert!(watched.check());
    assert_eq!(kind(&watched.devices[0]), Some(StopKind::Dead));
    assert!(!watched.check());
    fs::write(tree.folder(ONE).join("config"), [0x52, 0x1e, 0x1e, 0x40]).unwrap();
    assert!(watched.check() && watched.devices[0].health.is_ready());
    fs::remove_dir_all(tree.folder(ONE)).unwrap();
    assert!(watched.check());
    assert_eq!(kind(&watched.devices[0]), Some(StopKind::Gone));
}

#[test]
fn drivers_come_and_go_and_new_cards_are_numbered() {
    let tree = Tree::new();
    tree.plug(TWO, "");
    let mut watched = tree.watched();
    assert_eq!(kind(&watched.devices[0]), Some(StopKind::ModuleNotLoaded));
    tree.bind(TWO, "tenstorrent");
    assert!(watched.take(&told("bind", TWO)) && watched.devices[0].health.is_ready());
    tree.plug(ONE, "tenstorrent");
    assert!(watched.take(&told("add", ONE)));
    let rows: Vec<_> = watched.devices.iter().map(|device| (device.pci.unwrap().to_string(), device.index)).collect();
    assert_eq!(rows, [(ONE.to_owned(), 0), (TWO.to_owned(), 1)]);
    tree.bind(TWO, "vfio-pci");
    assert!(watched.take(&told("unbind", TWO)));
    assert_eq!(kind(&watched.devices[1]), Some(StopKind::SetAside));
    // Disks and the like are none of ours.
    assert!(!watched.take(&told("add", "0000:09:00.0")));
}

#[test]
fn slices_and_names_of_the_library_share_the_fate_of_the_card() {
    let tree = Tree::new();
    tree.plug(ONE, "tenstorrent");
    let mut watched = tree.watched();
    watched.devices[0].id = DeviceId("GPU-1".into());
    let slice = Slice { kind: SliceKind::Mig, parent: DeviceId("GPU-1".into()), profile: "1g".into() };
    let part = Device { id: DeviceId("MIG-1".into()), slice: Some(slice), vendor: Vendor::Tenstorrent, ..watched.devices[0].clone() };
    watched.devices.push(part);
    fs::write(tree.folder(ONE).join("config"), [0xff; 8]).unwrap();
    assert!(watched.check());
    assert!(watched.devices.iter().all(|device| matches!(device.health, Health::Unusable(_))));
    fs::write(tree.folder(ONE).join("config"), [0x52, 0x1e, 0x1e, 0x40]).unwrap();
    assert!(watched.check());
    assert!(watched.devices[1].health.is_ready(), "{:?}", watched.devices);
    assert_eq!((watched.devices[0].id.0.as_str(), kind(&watched.devices[0])), ("GPU-1", Some(StopKind::Divided)), "never beside its slice");
}

#[test]
fn the_kernel_may_be_listened_to() {
    match Events::open() {
        // Nothing is plugged while the test runs, or something is: both are answers.
        Ok(events) => drop(events.wait(Duration::ZERO)),
        Err(error) => eprintln!("skipped: no netlink here: {error}"),
    }
}

proptest! {
    #[test]
    fn any_message_is_an_event_or_none(message in prop::collection::vec(any::<u8>(), 0..200), text in "(add|remove)@[/a-z0-9:.]{0,60}\0(SUBSYSTEM=[a-z]{0,8}\0)?") {
        for message in [message.as_slice(), text.as_bytes()] {
            if let Some(found) = event(message) {
                let mut watched = Watched::new(Root::at("/nonexistent"), vec![]);
                prop_assert!(!watched.take(&[found]));
            }
        }
    }
}
