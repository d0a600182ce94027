//! A captured machine of eight Ascend cards, one of them divided: links, slices and device nodes from what `npu-smi` printed.

use super::bench_node::{ashlar, stderr, stdout};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// In bus order; the driver numbers them in another one.
const BUSES: [&str; 8] = ["01", "02", "41", "42", "81", "82", "c1", "c2"];

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: String, text: &str| {
        let at = dir.path().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    };
    write("proc/cpuinfo".into(), "processor : 0\n\nprocessor : 1\n");
    write("sys/devices/system/cpu/online".into(), "0-1\n");
    write("sys/devices/system/node/online".into(), "0-1\n");
    for at in 0..2 {
        let (cpu, node) = (format!("sys/devices/system/cpu/cpu{at}/topology"), format!("sys/devices/system/node/node{at}"));
        write(format!("{cpu}/core_cpus"), &format!("{}\n", 1 << at));
        write(format!("{cpu}/package_cpus"), &format!("{}\n", 1 << at));
        write(format!("{cpu}/core_id"), "0\n");
        write(format!("{cpu}/physical_package_id"), &format!("{at}\n"));
        write(format!("{node}/cpumap"), &format!("{}\n", 1 << at));
        write(format!("{node}/distance"), if at == 0 { "10 21\n" } else { "21 10\n" });
        write(format!("{node}/meminfo"), &format!("Node {at} MemTotal: 8388608 kB\n"));
    }
    for (at, bus) in BUSES.iter().enumerate() {
        let real = format!("sys/devices/pci0000:{bus}/0000:{bus}:00.0");
        write(format!("{real}/uevent"), "PCI_CLASS=120000\nPCI_ID=19E5:D802\n");
        write(format!("{real}/numa_node"), &format!("{}\n", at / 4));
        symlink("../../../bus/pci/drivers/devdrv_device_driver", dir.path().join(&real).join("driver")).unwrap();
        let listed = dir.path().join("sys/bus/pci/devices");
        fs::create_dir_all(&listed).unwrap();
        symlink(Path::new("../../../..").join(&real), listed.join(format!("0000:{bus}:00.0"))).unwrap();
        write(format!("sys/dev/char/236:{at}/uevent"), &format!("DEVNAME=davinci{at}\n"));
    }
    for (numbers, name) in
        [("238:0", "davinci_manager"), ("237:0", "devmm_svm"), ("235:0", "hisi_hdc"), ("239:0", "vdavinci100"), ("239:1", "vdavinci101")]
    {
        write(format!("sys/dev/char/{numbers}/uevent"), &format!("DEVNAME={name}\n"));
    }
    let printed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/npu-smi");
    for (name, file) in [
        ("npu-smi.txt", "info-eight-910b.txt"),
        ("npu-smi-topo.txt", "topo-eight-910b.txt"),
        ("npu-smi-vnpu-0-0.txt", "vnpu-two-halves.txt"),
    ] {
        write(format!("ashlar/tools/{name}"), &fs::read_to_string(printed.join(file)).unwrap());
    }
    dir
}

#[test]
fn list_picture_paths_and_drawing_tell_the_same_of_a_divided_npu() {
    let (home, tree) = (tempfile::tempdir().unwrap(), tree());
    let root = tree.path().to_str().unwrap();
    let show = |words: &[&str]| {
        let output = ashlar(home.path(), &[words, &["--root", root]].concat());
        assert!(output.status.success(), "{words:?}: {}", stderr(&output));
        stdout(&output)
    };
    insta::assert_snapshot!(show(&["devices"]));
    let picture = show(&["machine"]);
    assert!(picture.contains("▣ npu ascend 6") && picture.contains("▣  divided: its slices are granted in its place"), "{picture}");
    assert!(picture.contains("2 x vNPU vir10_3c_32g, 32 GiB each  □ □  2 free"), "{picture}");
    assert!(picture.contains("ascend 0-7  each to each, 1 HCCS"), "{picture}");
    let json: serde_json::Value = serde_json::from_str(&show(&["machine", "--json"])).unwrap();
    let devices = json["machine"]["devices"].as_array().unwrap();
    let of = |id: &str| devices.iter().find(|device| device["id"] == id).unwrap();
    assert_eq!(of("0000:c1:00.0")["nodes"][0]["path"], "/dev/davinci0");
    assert_eq!(of("0000:c1:00.0")["links"][0]["kind"], "hccs");
    assert_eq!(of("VNPU-0000:c1:00.0.101")["slice"]["kind"], "vnpu");
    let paths: serde_json::Value = serde_json::from_str(&show(&["machine", "paths", "--json"])).unwrap();
    assert!(paths.to_string().contains("\"hccs\""), "{paths}");
    // The captured outputs go with a capture of the capture.
    let again = home.path().join("again.tar.gz");
    show(&["machine", "capture", again.to_str().unwrap()]);
    let replayed = stdout(&ashlar(home.path(), &["devices", "--root", again.to_str().unwrap()]));
    assert_eq!(replayed, show(&["devices"]));
}
