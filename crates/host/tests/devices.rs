//! Accelerators of captured machines: the compute driver's trees of AMD servers, and card files of a real graphics card.

mod captured;

use captured::{Capture, data};
use host::Root;
use host::accelerators::{self, kfd};
use host::telemetry::Sampler;
use machine::{Bytes, Device, DeviceId, LinkKind, Rung, SliceKind, StopKind, Vendor};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// A tree of KFD nodes, put where a machine has it.
fn kfd_tree(name: &str) -> Option<tempfile::TempDir> {
    let data = data()?;
    let file = fs::File::open(data.join(format!("kfd/{name}.tar.gz"))).unwrap();
    let dir =
        tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm").into() } else { std::env::temp_dir() }).unwrap();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(file)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let Some((_, inner)) = path.split_once("/topology/nodes/") else { continue };
        // Caches are half of the files and not looked at.
        if entry.header().entry_type().is_dir() || inner.contains("/caches/") {
            continue;
        }
        let at = dir.path().join("sys/class/kfd/kfd/topology/nodes").join(inner);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        entry.unpack(at).unwrap();
    }
    Some(dir)
}

fn xgmi(device: &Device) -> Vec<&machine::PeerLink> {
    device.links.iter().filter(|link| link.kind == LinkKind::Xgmi).collect()
}

#[test]
fn eight_mi300x_in_cpx_mode_are_sixty_four_slices() {
    let Some(tree) = kfd_tree("topo-mi300-cpx") else { return };
    let root = Root::at(tree.path());
    // Two of the 65 nodes are processors, and one folder of the capture has no properties.
    assert_eq!(kfd::gpus(&root).len(), 63);
    let devices = accelerators::devices(&root);
    let (cards, slices): (Vec<_>, Vec<_>) = devices.iter().partition(|device| device.slice.is_none());
    assert_eq!((cards.len(), slices.len()), (8, 63));
    for card in &cards {
        assert_eq!((card.vendor, card.model.as_str(), card.architecture.as_deref()), (Vendor::Amd, "Instinct MI300X", Some("gfx942")));
        assert_eq!((card.ladder.stop.as_ref().unwrap().kind, card.health.is_ready()), (StopKind::Divided, false));
        assert!(card.id.0.starts_with("GPU-"), "{}", card.id);
    }
    let mut of_card: BTreeMap<&DeviceId, usize> = BTreeMap::new();
    for slice in &slices {
        let about = slice.slice.as_ref().unwrap();
        assert_eq!((about.kind, slice.health.is_ready()), (SliceKind::Partition, true));
        assert!(slice.nodes[0].path.starts_with("/dev/dri/renderD") && slice.nodes[0].major == 226);
        *of_card.entry(&about.parent).or_default() += 1;
    }
    assert!(of_card.values().all(|count| [7, 8].contains(count)), "{of_card:?}");
    // ROCm counts partitions.
    assert_eq!(slices.iter().map(|slice| slice.index).collect::<Vec<_>>(), (0..63).collect::<Vec<_>>());
    // Every partition reaches every other one: seven on its own card, the rest over the links between cards.
    assert!(slices.iter().all(|slice| xgmi(slice).len() >= 61), "{:?}", slices.iter().map(|slice| xgmi(slice).len()).collect::<Vec<_>>());
}

#[test]
fn mi308x_cards_are_cut_in_four_and_share_their_memory() {
    let Some(tree) = kfd_tree("topology-parsing-mi308") else { return };
    let devices = accelerators::devices(&Root::at(tree.path()));
    let (cards, slices): (Vec<_>, Vec<_>) = devices.iter().partition(|device| device.slice.is_none());
    assert_eq!((cards.len(), slices.len()), (8, 32));
    assert!(cards.iter().all(|card| card.model == "Instinct MI308X"));
    // The driver keeps a little of each card's last partition for itself.
    let memory: Vec<u64> = slices.iter().filter_map(|slice| Some(slice.memory?.0 >> 20)).collect();
    assert!(memory.len() == 32 && memory.iter().all(|mib| (48_000..=49_152).contains(mib)), "{memory:?}");
    assert_eq!(slices[0].slice.as_ref().unwrap().profile, "QPX 0");
    let links = xgmi(slices[0]);
    assert_eq!(links.len(), 31);
    assert_eq!(links.iter().filter(|link| link.mb_per_s == Some(819_200)).count(), 3, "the other three dies of its card");
}

#[test]
fn a_card_without_partitions_is_one_device() {
    let Some(tree) = kfd_tree("topology-parsing") else { return };
    let devices = accelerators::devices(&Root::at(tree.path()));
    // The second node of the capture is a copy of the first, made by those who published it.
    let [card] = &devices[..] else { panic!("{devices:?}") };
    // Its driver is too old to tell the instruction set; the table of models knows the id.
    assert_eq!((card.architecture.as_deref(), card.memory, card.slice.is_some()), (Some("gfx900"), Some(Bytes(17_163_091_968)), false));
    assert!(card.health.is_ready() && card.ladder.reached == Rung::Node);
}

/// A tree with any file missing, cut off or filled with noise is read to the end.
#[test]
fn a_damaged_tree_gives_what_is_left() {
    let Some(tree) = kfd_tree("topology-parsing-mi308") else { return };
    let nodes = tree.path().join("sys/class/kfd/kfd/topology/nodes");
    for (number, file) in [("3", "properties"), ("5", "mem_banks/0/properties"), ("7", "io_links/0/properties")] {
        fs::write(nodes.join(number).join(file), [0xff; 4096]).unwrap();
    }
    fs::write(nodes.join("9/properties"), "simd_count 80\nlocation_id 18446744073709551615\nvendor_id 4098\ndevice_id 99999999\n").unwrap();
    let devices = accelerators::devices(&Root::at(tree.path()));
    assert!(devices.len() > 30, "{}", devices.len());
}

#[test]
fn the_files_of_a_real_radeon_are_read() {
    let Some(data) = data() else { return };
    let capture = Capture::unpack_only(&data.join("procfs/procfs-fixtures-sys.tar.gz"), |path| path.contains("class/drm/card0"));
    let dir = tempfile::tempdir().unwrap();
    let bus = dir.path().join("sys/bus/pci/devices");
    fs::create_dir_all(&bus).unwrap();
    let root = capture.roots().remove(0);
    std::os::unix::fs::symlink("../../../../../card", bus.join("0000:09:00.0")).unwrap();
    // The capture has the card's folder only, so it is put below a bus of ours.
    copy(&root.join("sys/class/drm/card0/device"), &dir.path().join("card"));
    let device = Device { id: DeviceId("radeon".into()), pci: "0000:09:00.0".parse().ok(), ..Device::default() };
    let look = Sampler::new(&Root::at(dir.path()), &[device]).sample(Instant::now()).remove(0);
    let seen = look.telemetry;
    assert_eq!(seen.busy_percent, Some(4));
    assert_eq!((seen.memory_used, seen.memory_total), (Some(Bytes(1_490_378_752)), Some(Bytes(8_573_157_376))));
    assert_eq!(seen.complaints, Vec::<String>::new());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let place = to.join(entry.file_name().unwrap());
        if entry.is_file() && !entry.is_symlink() {
            fs::copy(&entry, place).unwrap();
        } else if entry.is_dir() && !entry.is_symlink() {
            copy(&entry, &place);
        }
    }
}
