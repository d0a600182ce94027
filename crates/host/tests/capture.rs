//! Captures of captured machines: what readers find in them is what they found before.

mod captured;

use captured::data;
use host::capture::{self, Limits};
use host::{Root, pci, probe};
use machine::Machine;
use std::collections::BTreeSet;
use std::path::Path;

/// What stays of a machine when its names are taken away.
fn nameless(mut machine: Machine) -> Machine {
    machine.id = String::new();
    machine.hostname = String::new();
    machine.facts.command_line = String::new();
    // Serial numbers name a device; the tokens in their place are tested where they are made.
    machine.devices.iter_mut().filter(|device| device.pci.is_none_or(|pci| device.id.0 != pci.to_string())).for_each(|device| {
        device.id.0 = String::new();
    });
    machine
}

fn check(archive: &Path) {
    let name = archive.file_name().unwrap().to_string_lossy().into_owned();
    let before = capture::open(archive, Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("again.tar.gz");
    let summary = capture::write(&before, &BTreeSet::new(), &[], [1; 32], std::fs::File::create(&path).unwrap()).unwrap();
    let after = capture::open(&path, Limits::default()).unwrap();
    assert!(summary.files > 10, "{name}: {summary:?}");
    assert_eq!(nameless(probe(&after).unwrap()), nameless(probe(&before).unwrap()), "{name}");
    assert_eq!(pci::tree(&after), pci::tree(&before), "{name}");
}

#[test]
fn a_capture_of_a_captured_machine_is_that_machine() {
    let Some(data) = data() else { return };
    for archive in [
        "hwloc/32intel64-2p8co2t+8ve.tar.bz2",
        "hwloc/offline-cpu0-node0.tar.bz2",
        "qemu-sysfs/k6.1-3node-hmat-cxlmem-vtd-passthrough.tar.gz",
    ] {
        check(&data.join(archive));
    }
}

#[test]
fn every_archive_opens_as_a_root() {
    let Some(data) = data() else { return };
    let mut opened = 0;
    for entry in std::fs::read_dir(data.join("hwloc")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".tar.bz2") && path.metadata().unwrap().len() < 30_000 {
            let root: Root = capture::open(&path, Limits::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(!probe(&root).unwrap().cpus.is_empty(), "{}", path.display());
            opened += 1;
        }
    }
    assert!(opened > 3, "{opened}");
}
