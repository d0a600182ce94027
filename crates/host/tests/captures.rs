//! Every captured machine in the test data is read, and compared with what hwloc found in the same capture.

mod captured;

use captured::{Capture, data};
use host::{Root, probe};
use machine::{Machine, Vendor};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files of these trees that the readers look at. Leaving all others packed makes these tests many times faster.
const OF_CPUS: [&str; 9] = [
    "online",
    "core_cpus",
    "core_cpus_list",
    "thread_siblings",
    "thread_siblings_list",
    "physical_package_id",
    "level",
    "shared_cpu_list",
    "shared_cpu_map",
];
const OF_DEVICES: [&str; 18] = [
    "class",
    "config",
    "dev",
    "device",
    "driver",
    "infiniband",
    "memory_size",
    "node_guid",
    "local_cpus",
    "numa_node",
    "operstate",
    "physfn",
    "resource",
    "serial",
    "speed",
    "uevent",
    "vendor",
    "address",
];

fn is_read(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    if path.contains("sys/devices/system/cpu/cpu") {
        OF_CPUS.contains(&name)
    } else if path.contains("sys/devices/pci") {
        OF_DEVICES.contains(&name)
    } else if path.contains("sys/devices/system/node/node") {
        ["meminfo", "distance", "cpulist", "cpumap"].contains(&name)
    } else {
        let known = ["/proc/", "/sys/class/", "/sys/bus/pci/", "/sys/devices/", "/sys/fs/cgroup/", "/dev/cpuset/", "/cgroup/"];
        let slashed = format!("/{path}");
        known.iter().any(|part| slashed.contains(part)) && !path.contains("/device-tree/cpus/")
    }
}

fn machine(capture: &Capture) -> Machine {
    let roots = capture.roots();
    assert_eq!(roots.len(), 1, "{}", capture.name);
    read(&capture.name, &roots[0])
}

fn read(name: &str, root: &Path) -> Machine {
    let machine = probe(&Root::at(root)).unwrap_or_else(|error| panic!("{name}: {error}"));
    whole(name, &machine);
    machine
}

/// What is true of every machine, however broken its firmware.
fn whole(name: &str, machine: &Machine) {
    let nodes: BTreeSet<u32> = machine.numa.iter().map(|node| node.id).collect();
    assert_eq!(nodes.len(), machine.numa.len(), "{name}: a node twice");
    for cpu in &machine.cpus {
        let home: Vec<u32> = machine.numa.iter().filter(|node| node.cpus.contains(cpu.id)).map(|node| node.id).collect();
        assert_eq!(home, [cpu.numa], "{name}: home of CPU {}", cpu.id);
        assert!(machine.packages.iter().any(|package| package.id == cpu.package), "{name}: package of CPU {}", cpu.id);
    }
    assert_eq!(machine.numa.iter().map(|node| node.cpus.len()).sum::<usize>(), machine.cpus.len(), "{name}");
    assert!(machine.numa.iter().all(|node| node.distances.len() == machine.numa.len()), "{name}: distances");
    assert!(machine.numa.iter().all(|node| node.memory <= machine.memory), "{name}: memory");
    let ids: BTreeSet<_> = machine.devices.iter().map(|device| &device.id).collect();
    assert_eq!(ids.len(), machine.devices.len(), "{name}: a device id twice");
    assert_eq!(machine.id.len(), 32, "{name}");
    let json = serde_json::to_string(machine).unwrap();
    assert_eq!(serde_json::from_str::<Machine>(&json).unwrap(), *machine, "{name}: JSON");
}

/// CPU numbers, numbers of nodes with memory, and count of cores, from hwloc's output in either of its forms.
struct Expected {
    cpus: BTreeSet<u32>,
    nodes: BTreeSet<u32>,
    cores: usize,
}

fn expected(text: &str) -> Expected {
    let mut expected = Expected { cpus: BTreeSet::new(), nodes: BTreeSet::new(), cores: 0 };
    let after = |line: &str, mark: &str| -> Option<u32> {
        let rest = &line[line.find(mark)? + mark.len()..];
        rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
    };
    for line in text.lines().map(str::trim_start) {
        let xml = line.starts_with("<object");
        let number = if xml { after(line, "os_index=\"") } else { after(line, "(P#") };
        if line.starts_with("PU L#") || line.starts_with("<object type=\"PU\"") {
            expected.cpus.extend(number);
        } else if line.starts_with("Core L#") || line.starts_with("<object type=\"Core\"") {
            expected.cores += 1;
        } else if (line.starts_with("NUMANode") && line.contains(" local="))
            || (line.starts_with("<object type=\"NUMANode\"") && line.contains("local_memory"))
        {
            expected.nodes.extend(number);
        }
    }
    expected
}

fn archives(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().is_some_and(|path| path.ends_with(".tar.bz2") || path.ends_with(".tar.gz")))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{}", folder.display());
    found
}

#[test]
fn cpus_and_memory_nodes_are_those_that_hwloc_finds() {
    let Some(data) = data() else { return };
    let mut compared = 0;
    for archive in archives(&data.join("hwloc")).into_iter().chain(archives(&data.join("hwloc-history"))) {
        let capture = Capture::unpack_only(&archive, is_read);
        let machine = machine(&capture);
        let folder = archive.parent().unwrap();
        let answer =
            ["console", "xml", "output"].iter().find_map(|end| fs::read_to_string(folder.join(format!("{}.{end}", capture.name))).ok());
        let expected = expected(&answer.unwrap_or_else(|| panic!("{}: no answer beside it", capture.name)));
        let name = capture.name.as_str();
        let cpus: BTreeSet<u32> = machine.cpus.iter().map(|cpu| cpu.id).collect();
        let nodes: BTreeSet<u32> = machine.numa.iter().filter(|node| node.memory.0 > 0).map(|node| node.id).collect();
        let cores: BTreeSet<u32> = machine.cpus.iter().map(|cpu| cpu.core).collect();
        match name {
            // Its control group is limited to package 0 by the effective lists, which hwloc does not look at.
            "nvidiagpunumanodes" => {
                assert_eq!((cpus, nodes), ((0..16).collect(), [0].into()), "{name}");
                continue;
            }
            // Nodes that overlap; hwloc is told by a debugging switch to believe them.
            "fakeheterocpunuma" => assert_eq!(nodes, [0].into(), "{name}"),
            _ => assert_eq!(nodes, expected.nodes, "{name}: nodes"),
        }
        assert_eq!(cpus, expected.cpus, "{name}: CPUs");
        // hwloc asks these processors themselves; the kernel calls the two halves of a module threads of one core.
        if expected.cores > 0 && name != "64amd64-4p2n4ca2co" {
            assert_eq!(cores.len(), expected.cores, "{name}: cores");
        }
        compared += 1;
    }
    assert!(compared >= 24, "only {compared} captures were compared");
}

#[test]
fn a_machine_full_of_vector_engines_is_understood() {
    let Some(data) = data() else { return };
    let machine = machine(&Capture::unpack_only(&data.join("hwloc/32intel64-2p8co2t+8ve.tar.bz2"), is_read));
    assert_eq!(machine.devices.len(), 8);
    for (at, device) in machine.devices.iter().enumerate() {
        assert_eq!((device.vendor, device.index as usize, device.numa), (Vendor::Nec, at, Some(0)));
        assert_eq!(device.memory, Some(machine::Bytes::gib(48)));
        assert!(device.health.is_ready(), "{:?}", device.health);
        assert_eq!(
            (device.nodes[0].path.as_str(), device.nodes[0].major, device.nodes[0].minor as usize),
            (&*format!("/dev/ve{at}"), 238, at)
        );
    }
    assert_eq!(machine.product, "Supermicro SYS-4029GP-TRT2-1-NE010");
    assert_eq!(machine.facts.kernel, "3.10.0-1160.15.2.el7.x86_64");
    let names: Vec<&str> = machine.nics.iter().map(|nic| nic.name.as_str()).collect();
    assert_eq!(names, ["enp96s0f0", "enp96s0f1"]);
}

#[test]
fn display_chips_of_servers_and_emulators_are_no_accelerators() {
    let Some(data) = data() else { return };
    for name in ["hwloc/40intel64-2g2n4c+pcilocality.tar.bz2", "hwloc/2pa-pcidomain32bits.tar.bz2", "ghw/linux-amd64-accel.tar.gz"] {
        assert_eq!(machine(&Capture::unpack_only(&data.join(name), is_read)).devices, [], "{name}");
    }
    let machine = machine(&Capture::unpack_only(&data.join("ghw/linux-amd64-accel-nvidia.tar.gz"), is_read));
    let [gpu] = &machine.devices[..] else { panic!("one GPU") };
    assert_eq!((gpu.vendor, gpu.model.as_str(), gpu.memory), (Vendor::Nvidia, "Tesla P100-PCIE-16GB", Some(machine::Bytes::gb(16))));
    assert!(gpu.health.is_ready());
}

#[test]
fn cards_that_are_not_known_are_shown() {
    let Some(data) = data() else { return };
    let machine = machine(&Capture::unpack_only(&data.join("hwloc/32em64t-2n8c+dax+nvme+mic+dimms.tar.bz2"), is_read));
    let [phi] = &machine.devices[..] else { panic!("one Xeon Phi: {:?}", machine.devices) };
    assert_eq!((phi.vendor, phi.numa, phi.health.is_ready()), (Vendor::Unknown, Some(1), false));
    assert!(phi.model.starts_with("Xeon Phi"), "{}", phi.model);
}

#[test]
fn cards_that_only_their_driver_describes_are_devices() {
    let Some(data) = data() else { return };
    let machine = machine(&Capture::unpack_only(&data.join("hwloc/nvidiagpunumanodes.tar.bz2"), is_read));
    let found: Vec<(String, Option<u32>)> =
        machine.devices.iter().map(|gpu| (gpu.pci.map(|at| at.to_string()).unwrap_or_default(), gpu.numa)).collect();
    let expected = [("0004:05", 0), ("0004:06", 0), ("0006:00", 0), ("0007:00", 8), ("0035:04", 8), ("0035:05", 8)];
    assert_eq!(found, expected.map(|(bus, node)| (format!("{bus}:00.0"), Some(node))));
    for gpu in &machine.devices {
        assert_eq!((gpu.vendor, gpu.memory), (Vendor::Nvidia, Some(machine::Bytes(0x3_f000_0000))));
    }
}

#[test]
fn other_captures_are_read_whole() {
    let Some(data) = data() else { return };
    let mut counts = Vec::new();
    for archive in ["ghw", "nri", "qemu-sysfs"].iter().flat_map(|folder| archives(&data.join(folder))) {
        let capture = Capture::unpack_only(&archive, is_read);
        for root in capture.roots() {
            let machine = read(&capture.name, &root);
            let with_memory = machine.numa.iter().filter(|node| node.memory.0 > 0).count();
            counts.push(format!("{} {} {}", root.file_name().unwrap().to_str().unwrap(), machine.cpus.len(), with_memory));
            if capture.name == "topology-aware-sysfs" {
                assert_eq!(machine.cpus.len() as u32 % 2, 0);
            } else {
                assert!(machine.memory.0 > 0 && !machine.packages[0].model.is_empty(), "{}", capture.name);
            }
        }
    }
    // The folder of a capture without one of its own has a random name.
    let named: Vec<&str> = counts.iter().map(String::as_str).filter(|line| !line.starts_with('.')).collect();
    assert_eq!(named, ["4-socket-server-nosnc 144 4", "desktop 20 1", "server 112 6"]);
    assert_eq!(counts.len(), 9);
}
