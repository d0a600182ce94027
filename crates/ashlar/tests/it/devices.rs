//! `ashlar devices` from outside: captured trees, wrong input, CDI files, and the child that loads a vendor's library.

use super::bench_node::{ASHLAR, ashlar, stderr, stdout};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// A machine of a few cards as sysfs shows it.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cards = [
        ("0000:3b:00.0", "PCI_CLASS=30200\nPCI_ID=10DE:2330\n", ""),
        ("0000:5e:00.0", "PCI_CLASS=120000\nPCI_ID=19E5:D802\n", "devdrv_device_driver"),
        ("0000:86:00.0", "PCI_CLASS=B4000\nPCI_ID=1E60:2864\n", "hailo"),
    ];
    for (address, uevent, driver) in cards {
        let folder = dir.path().join("sys/bus/pci/devices").join(address);
        write(&folder.join("uevent"), uevent);
        if !driver.is_empty() {
            symlink(format!("../../drivers/{driver}"), folder.join("driver")).unwrap();
        }
    }
    for (numbers, name) in [("236:0", "davinci0"), ("238:0", "davinci_manager"), ("237:0", "devmm_svm"), ("235:0", "hisi_hdc")] {
        write(&dir.path().join(format!("sys/dev/char/{numbers}/uevent")), &format!("DEVNAME={name}\n"));
    }
    write(&dir.path().join("etc/modprobe.d/no.conf"), "blacklist nvidia\n");
    write(&dir.path().join("etc/cdi/nvidia.yaml"), "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n");
    dir
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn devices(arguments: &[&str]) -> std::process::Output {
    let state = tempfile::tempdir().unwrap();
    ashlar(state.path(), &[&["devices"], arguments].concat())
}

#[test]
fn a_captured_machine_is_listed_with_its_reasons() {
    let tree = tree();
    let root = tree.path().to_str().unwrap();
    let output = devices(&["--root", root]);
    assert!(output.status.success(), "{}", stderr(&output));
    insta::assert_snapshot!(stdout(&output));
    let all: serde_json::Value = serde_json::from_str(&stdout(&devices(&["--root", root, "--json"]))).unwrap();
    assert_eq!(all[0]["ladder"]["stop"]["kind"], "module-blacklisted");
    let one: serde_json::Value = serde_json::from_str(&stdout(&devices(&["--root", root, "--json", "ascend:0"]))).unwrap();
    assert_eq!((&one["ladder"]["reached"], &one["id"]), (&"node".into(), &"0000:5e:00.0".into()));
    assert!(stdout(&devices(&["--root", root, "3b:00.0"])).contains("blacklisted by /etc/modprobe.d/no.conf"));
}

#[test]
fn wrong_names_and_folders_are_code_2_with_a_hint() {
    let tree = tree();
    let root = tree.path().to_str().unwrap();
    for (arguments, word) in [
        (&["--root", "/nonexistent"][..], "sys/ and proc/"),
        (&["--root", root, "nvidia:7"], "`ashlar devices` lists them"),
        (&["--root", root, "0000:"], "one of"),
        (&["--root", root, "--cdi", "x", "--json"], "cannot be used with"),
    ] {
        let output = devices(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(word) && stdout(&output).is_empty(), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn cdi_files_are_written_for_vendors_that_bring_none() {
    let tree = tree();
    let folder = tree.path().join("made/cdi");
    let output = devices(&["--root", tree.path().to_str().unwrap(), "--cdi", folder.to_str().unwrap()]);
    assert_eq!(stdout(&output).trim(), folder.join("ashlar-ascend.json").display().to_string());
    assert!(stderr(&output).contains("nvidia: left to `nvidia-ctk cdi generate`"), "{}", stderr(&output));
    let text = fs::read_to_string(folder.join("ashlar-ascend.json")).unwrap();
    let spec: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&spec["kind"], &spec["devices"][0]["name"]), (&"ashlar/ascend".into(), &"0".into()));
}

/// The binary itself as the child: a stand-in for the library through the real loading path.
#[test]
fn the_child_answers_for_each_card_and_ends_with_its_input() {
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), serde_json::to_vec(&fake_nvml::Script::board(8)).unwrap()).unwrap();
    let mut child = Command::new(ASHLAR)
        .args(["__probe", "nvml"])
        .env("ASHLAR_NVML_LIBRARY", fake_nvml::library_path())
        .env(fake_nvml::SCRIPT_VARIABLE, script.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"full 3\nlight\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = stdout(&output);
    assert!(output.status.success());
    assert_eq!((text.matches("\"gpu\"").count(), text.matches("\"done\"").count()), (7 + 8, 2), "{text}");
    assert_eq!(Command::new(ASHLAR).args(["__probe", "voodoo"]).status().unwrap().code(), Some(2));
}
