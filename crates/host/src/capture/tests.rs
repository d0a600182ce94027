use super::*;
use crate::pci;
use machine::Machine;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const KEY: [u8; 32] = [9; 32];

fn captured(root: &Root, tools: &[ToolOutput]) -> (Root, Summary) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("capture.tar.gz");
    let summary = write(root, &std::collections::BTreeSet::new(), tools, KEY, fs::File::create(&path).unwrap()).unwrap();
    (open(&path, Limits::default()).unwrap(), summary)
}

/// What stays of a machine when its names are taken away.
fn nameless(mut machine: Machine) -> Machine {
    machine.id = String::new();
    machine.hostname = String::new();
    machine.facts.command_line = command_line::filter(&machine.facts.command_line);
    machine
}

#[test]
fn a_capture_of_this_machine_is_this_machine() {
    let (root, summary) = captured(&Root::live(), &[]);
    let there = probe(&root).unwrap();
    let here = probe(&Root::live()).unwrap();
    assert_eq!(nameless(there.clone()), nameless(here.clone()));
    assert_eq!(pci::tree(&root), pci::tree(&Root::live()));
    assert_ne!(there.id, here.id);
    assert!(summary.files > 20 && summary.bytes > 1000, "{summary:?}");
    // The capture of a capture is the same once more.
    let (again, _) = captured(&root, &[]);
    assert_eq!(nameless(probe(&again).unwrap()), nameless(there));
}

fn put(dir: &Path, path: &str, text: &str) {
    let at = dir.join(path);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, text).unwrap();
}

/// Every text in the archive, one after the other, with names of files and targets of links.
fn all_text(root: &Root) -> String {
    fn walk(dir: &Path, into: &mut String) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            into.push_str(&format!("{}\n", path.display()));
            if path.is_symlink() {
                into.push_str(&format!("-> {}\n", fs::read_link(&path).unwrap().display()));
            } else if path.is_dir() {
                walk(&path, into);
            } else {
                into.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
            }
        }
    }
    let mut text = String::new();
    walk(root.dir(), &mut text);
    text
}

#[test]
fn no_name_is_left_in_a_capture() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| put(dir.path(), path, text);
    put("proc/cpuinfo", "processor\t: 0\nmodel name\t: X\n");
    put("proc/sys/kernel/hostname", "gpu-box-7\n");
    put("proc/cmdline", "ro iommu=pt secret=hunter2\n");
    put("proc/modules", "nvidia 100 0 - Live 0xffffffffc0a00000 (POE)\n");
    put("proc/1/environ", "TOKEN=hunter2\0");
    put(
        "proc/self/mountinfo",
        "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n31 23 0:27 / /home/jane rw - nfs filer:/vol/hunter2 rw\n",
    );
    put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    put("etc/passwd", "root:x:0:0::/root:/bin/sh\njane:x:1000:1000::/home/jane:/bin/sh\n");
    put("sys/class/dmi/id/product_serial", "ABC1234XYZ\n");
    put("sys/class/dmi/id/product_name", "Server 9\n");
    let card = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0";
    put(&format!("{card}/uevent"), "PCI_CLASS=30200\nPCI_ID=10DE:2330\nDRIVER=nvidia\n");
    put(&format!("{card}/vendor"), "0x10de\n");
    put(&format!("{card}/device"), "0x2330\n");
    put(&format!("{card}/class"), "0x030200\n");
    put(&format!("{card}/numa_node"), "0\n");
    put(&format!("{card}/vpd"), "hunter2");
    let mut config = vec![0u8; 4096];
    config[0x100..0x104].copy_from_slice(&[0x03, 0x00, 0x01, 0x00]);
    config[0x104..0x10c].copy_from_slice(&[0x33, 0x22, 0x11, 0xff, 0xff, 0xae, 0x6d, 0x94]);
    fs::write(dir.path().join(card).join("config"), &config).unwrap();
    put(
        "proc/driver/nvidia/gpus/0000:01:00.0/information",
        "Model: \t NVIDIA H100\nGPU UUID: \t GPU-5269b708-678a-b1a8-60f0-c90406537486\n",
    );
    put("sys/class/net/eth0/address", "94:6d:ae:11:22:33\n");
    fs::create_dir_all(dir.path().join("sys/bus/pci/devices")).unwrap();
    symlink("../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0", dir.path().join("sys/bus/pci/devices/0000:01:00.0")).unwrap();
    put("ashlar/kernel.log", "6,1,0,-;mlx5 94:6d:ae:11:22:33 ABC1234XYZ gpu-box-7 jane\n14,2,0,-;login: hunter2\n");
    let tool = ToolOutput {
        name: "nvidia-smi.txt".into(),
        text: "GPU UUID : GPU-5269b708-678a-b1a8-60f0-c90406537486\nProcesses\n    Name : /home/jane/hunter2\n".into(),
    };
    let (root, summary) = captured(&Root::at(dir.path()), &[tool]);
    let text = all_text(&root);
    for gone in ["gpu-box-7", "hunter2", "c0a00000", "jane", "filer", "0123456789abcdef0123", "ABC1234XYZ", "5269b708", "94:6d:ae"] {
        assert!(!text.contains(gone), "{gone} is left: {}", text.lines().find(|line| line.contains(gone)).unwrap_or_default());
    }
    assert!(!root.bytes(&format!("{card}/config")).unwrap().windows(3).any(|bytes| bytes == [0xae, 0x6d, 0x94]));
    assert_eq!(summary.log_records_left_out, 1);
    let machine = probe(&root).unwrap();
    assert_eq!(machine.product, "Server 9");
    assert_eq!(machine.devices.len(), 1);
    // The same card has the same token in the kernel's file and in what the tool printed.
    let id = machine.devices[0].id.0.clone();
    assert!(id.starts_with("GPU-") && root.text("ashlar/tools/nvidia-smi.txt").unwrap().contains(&id), "{id}");
    let read: machine::Machine = serde_json::from_str(&root.text("ashlar/machine.json").unwrap()).unwrap();
    assert_eq!(read.devices[0].id.0, id);
}

#[test]
fn tools_lose_their_lists_of_processes() {
    let text = "GPU 1\n    Processes\n        Process ID : 1\n            Name : secret\n    Power\n";
    assert_eq!(without_processes(text), "GPU 1\n(processes are left out)\n    Power\n");
    let framed = "| GPU 0 |\n+---+\n| Processes: |\n|  0  N/A  123 C python secret |\n";
    assert_eq!(without_processes(framed), "| GPU 0 |\n+---+\n(processes are left out)\n");
}
