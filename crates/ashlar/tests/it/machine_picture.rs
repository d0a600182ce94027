//! The picture of a machine from a tree of its files: for people, for programs and for hwloc.

use super::bench_node::{ASHLAR, ashlar, stderr, stdout};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// One package of two cores with a disk.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut files = vec![
        ("proc/cpuinfo".to_owned(), "processor : 0\nmodel name : Some CPU\n\nprocessor : 1\nmodel name : Some CPU\n".to_owned()),
        ("proc/meminfo".into(), "MemTotal: 4194304 kB\n".into()),
        ("sys/devices/system/cpu/online".into(), "0-1\n".into()),
        ("sys/devices/system/node/online".into(), "0\n".into()),
        ("sys/devices/system/node/node0/cpumap".into(), "3\n".into()),
        ("sys/devices/system/node/node0/meminfo".into(), "Node 0 MemTotal: 4194304 kB\n".into()),
        ("sys/bus/pci/devices/0000:01:00.0/uevent".into(), "PCI_CLASS=10802\nPCI_ID=144D:A80A\n".into()),
        ("sys/bus/pci/devices/0000:01:00.0/current_link_speed".into(), "8.0 GT/s PCIe\n".into()),
        ("sys/bus/pci/devices/0000:01:00.0/current_link_width".into(), "2\n".into()),
        ("sys/bus/pci/devices/0000:01:00.0/max_link_speed".into(), "16.0 GT/s PCIe\n".into()),
        ("sys/bus/pci/devices/0000:01:00.0/max_link_width".into(), "4\n".into()),
    ];
    for cpu in 0..2 {
        let at = format!("sys/devices/system/cpu/cpu{cpu}/topology");
        files.push((format!("{at}/core_cpus"), format!("{}\n", 1 << cpu)));
        files.push((format!("{at}/package_cpus"), "3\n".into()));
        files.push((format!("{at}/core_id"), format!("{cpu}\n")));
        files.push((format!("{at}/physical_package_id"), "0\n".into()));
    }
    for (path, text) in files {
        let at = dir.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }
    dir
}

#[test]
fn one_tree_is_a_picture_a_drawing_and_two_documents() {
    let (home, tree) = (tempfile::tempdir().unwrap(), tree());
    let root = tree.path().to_str().unwrap();
    let show = |more: &[&str]| ashlar(home.path(), &[&["machine", "--root", root][..], more].concat());
    let picture = stdout(&show(&[]));
    assert!(picture.contains("gen3 x2 ▼ of gen4 x4") && picture.contains("2 cores"), "{picture}");
    let json: serde_json::Value = serde_json::from_str(&stdout(&show(&["--json"]))).unwrap();
    assert_eq!(json["topology"]["machine"]["children"][0]["kind"]["kind"], "package", "{json}");
    assert_eq!(json["topology"]["pci"][0]["link"]["now"]["lanes"], 2);
    assert_eq!(json["machine"]["cpus"].as_array().unwrap().len(), 2);
    let drawing = home.path().join("machine.svg");
    let output = show(&["--svg", drawing.to_str().unwrap()]);
    assert!(output.status.success() && stdout(&output).is_empty() && stderr(&output).contains("machine.svg"));
    assert!(fs::read_to_string(drawing).unwrap().contains("gen3 x2 of gen4 x4"));
    for wrong in [&["--svg", "/nonexistent/x.svg"][..], &["--json", "--xml"]] {
        assert!(!show(wrong).status.success(), "{wrong:?}");
    }
    let document = home.path().join("machine.xml");
    fs::write(&document, stdout(&show(&["--xml"]))).unwrap();
    hwloc_reads(&document);
}

/// hwloc's own tool finds the same in the document.
fn hwloc_reads(document: &Path) {
    let Ok(output) = Command::new("hwloc-info").arg("-i").arg(document).output() else {
        eprintln!("skipped: no hwloc-info to read the document with (Debian package hwloc)");
        return;
    };
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for line in ["1 Package", "2 Core", "2 PU", "1 NUMANode", "1 PCIDev"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn what_may_not_be_read_is_told_and_the_rest_is_shown() {
    let tree = tree();
    let path = |path: &str| tree.path().join(path);
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(path("sys/devices/system/node/node0/meminfo"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(path("sys/bus/pci/devices/0000:01:00.0"), fs::Permissions::from_mode(0o000)).unwrap();
    // Nothing is forbidden to root.
    let mut command = Command::new(ASHLAR);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = match command.args(["machine", "--json", "--root"]).arg(tree.path()).env("HOME", "/nonexistent").output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: the program cannot be run as somebody else: {error}"),
    };
    assert!(output.status.success(), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let findings = json["topology"]["findings"].to_string();
    assert!(findings.contains("node0/meminfo") && findings.contains("0000:01:00.0"), "{findings}");
    assert_eq!(json["topology"]["machine"]["cpus"], "0-1");
}

/// Ports of an InfiniBand host without the tree around them, as people publish them.
#[test]
fn a_piece_of_a_machine_is_shown_as_far_as_it_goes() {
    let (home, piece) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (port, state) in [("mlx5_0", "4: ACTIVE\n"), ("mlx5_1", "1: DOWN\n")] {
        let at = piece.path().join("testdata/ports").join(port).join("ports/1");
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("state"), state).unwrap();
        fs::write(at.join("rate"), "400 Gb/sec (4X NDR)\n").unwrap();
        fs::write(at.join("link_layer"), "InfiniBand\n").unwrap();
    }
    let root = piece.path().to_str().unwrap();
    let show = |more: &[&str]| ashlar(home.path(), &[&["machine", "--root", root][..], more].concat());
    let output = show(&[]);
    let picture = stdout(&output);
    assert!(output.status.success() && stderr(&output).contains("has no processors"), "{}", stderr(&output));
    assert!(picture.contains("mlx5_0  InfiniBand 400 Gb/s 4X NDR · active") && picture.contains("mlx5_1"), "{picture}");
    let json: serde_json::Value = serde_json::from_str(&stdout(&show(&["--json"]))).unwrap();
    assert_eq!((&json["machine"]["infiniband"][1]["state"], &json["topology"]), (&"down".into(), &serde_json::Value::Null));
    let document = show(&["--xml"]);
    assert_eq!(document.status.code(), Some(2), "{}", stderr(&document));
}
