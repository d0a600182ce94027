//! What NVIDIA's driver tells beyond the PCI bus, without its library.
//!
//! UUID, model and minor number are in `/proc/driver/nvidia/gpus`, the nodes of MIG slices in `/proc/driver/nvidia/capabilities`.
//! Memory, health and telemetry come only from the library: see [`super::nvml`].

use crate::pci::{self, Function};
use crate::{Root, text};
use machine::{Bytes, DeviceNode, PciAddress};
use std::collections::BTreeMap;

const GPUS: &str = "proc/driver/nvidia/gpus";
const CAPABILITIES: &str = "proc/driver/nvidia/capabilities";

/// `/proc/driver/nvidia/gpus/*/information` of one card.
pub fn information(root: &Root, address: PciAddress) -> text::NvidiaInformation {
    root.text(&format!("{GPUS}/{address}/information")).map(|text| text::nvidia_information(&text)).unwrap_or_default()
}

/// Cards that the driver lists and the bus does not describe: captures of some machines hold no more of them. The driver has
/// them, so it is bound; what chip they are is not known.
pub fn unlisted(root: &Root, known: &[Function]) -> Vec<Function> {
    let addresses = root.names(GPUS).into_iter().filter_map(|name| name.parse::<PciAddress>().ok());
    let missing = addresses.filter(|address| !known.iter().any(|function| function.address == *address));
    missing
        .map(|address| {
            let path = format!("{}/{address}", pci::BUS);
            Function {
                address,
                maker: 0x10de,
                device: 0,
                class: 0x0302,
                driver: Some("nvidia".into()),
                numa: root.value(&format!("{path}/numa_node")).or_else(|| near(root, &path)),
                is_virtual: false,
                path,
            }
        })
        .collect()
}

/// The memory node whose CPUs are those that the bus calls near.
fn near(root: &Root, path: &str) -> Option<u32> {
    const NODES: &str = "sys/devices/system/node";
    let cpus = text::mask(&root.text(&format!("{path}/local_cpus"))?).filter(|cpus| !cpus.is_empty())?;
    let of = |node: &u32| root.text(&format!("{NODES}/node{node}/cpumap")).and_then(|mask| text::mask(&mask));
    root.numbered(NODES, "node").into_iter().find(|node| of(node).is_some_and(|own| own == cpus))
}

/// Size of a card's memory that is a memory node: the line `Size: 3f0000000` of `numa_status`, in hexadecimal bytes.
pub fn numa_memory(root: &Root, address: PciAddress) -> Option<Bytes> {
    let status = root.text(&format!("{GPUS}/{address}/numa_status"))?;
    let size = text::pairs(&status).get("Size").and_then(|size| u64::from_str_radix(size, 16).ok())?;
    Some(Bytes(size)).filter(|size| *size > Bytes::ZERO)
}

/// Nodes of a captured machine from `/proc/devices`; the minors of the shared nodes are fixed in the driver.
pub fn captured_nodes(root: &Root) -> BTreeMap<String, (u32, u32)> {
    let devices = root.text("proc/devices").unwrap_or_default();
    let majors = text::char_majors(&devices);
    let mut nodes = BTreeMap::new();
    if let Some(major) = majors.get("nvidia").or_else(|| majors.get("nvidia-frontend")) {
        let minors = root.names(GPUS).into_iter().filter_map(|gpu| information(root, gpu.parse().ok()?).minor);
        nodes.extend(minors.map(|minor| (format!("/dev/nvidia{minor}"), (*major, minor))));
        nodes.insert("/dev/nvidiactl".into(), (*major, 255));
        nodes.insert("/dev/nvidia-modeset".into(), (*major, 254));
    }
    if let Some(major) = majors.get("nvidia-uvm") {
        nodes.insert("/dev/nvidia-uvm".into(), (*major, 0));
        nodes.insert("/dev/nvidia-uvm-tools".into(), (*major, 1));
    }
    nodes
}

/// The two nodes that open a MIG slice (its GPU instance and its compute instance), and the path of the first one that the
/// driver has and `/dev` has not. None where the driver lists no such slice.
pub fn capability_nodes(root: &Root, minor: Option<u32>, gpu_instance: u32, compute_instance: u32) -> (Vec<DeviceNode>, Option<String>) {
    let Some(minor) = minor else { return (Vec::new(), None) };
    let instance = format!("{CAPABILITIES}/gpu{minor}/mig/gi{gpu_instance}");
    let files = [format!("{instance}/access"), format!("{instance}/ci{compute_instance}/access")];
    let devices = root.text("proc/devices").unwrap_or_default();
    let major = text::char_majors(&devices).get("nvidia-caps").copied();
    let (mut nodes, mut missing) = (Vec::new(), None);
    for file in files {
        let Some(minor) = root.text(&file).and_then(|text| device_minor(&text)) else { continue };
        let path = format!("/dev/nvidia-caps/nvidia-cap{minor}");
        let numbers = root.char_device(&path).or(major.map(|major| (major, minor)).filter(|_| !root.is_live()));
        match numbers {
            Some((major, minor)) => nodes.push(DeviceNode { path, major, minor, shared: false }),
            None => missing = missing.or(Some(path)),
        }
    }
    (nodes, missing)
}

/// The line `DeviceFileMinor: 66`.
fn device_minor(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix("DeviceFileMinor:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn cards_that_only_the_driver_lists_are_devices() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let at = dir.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, text).unwrap();
        };
        write("proc/driver/nvidia/gpus/0035:03:00.0/numa_status", "Node:      252\nStatus:    online\nSize:      3f0000000\n");
        write("proc/driver/nvidia/gpus/nonsense/numa_status", "Size: 1");
        write("sys/bus/pci/devices/0035:03:00.0/local_cpus", "00ff0000");
        write("sys/devices/system/node/node8/cpumap", "00ff0000");
        write("sys/devices/system/node/node0/cpumap", "000000ff");
        let root = Root::at(dir.path());
        let found = unlisted(&root, &[]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].numa, found[0].driver.as_deref()), (Some(8), Some("nvidia")));
        assert_eq!(numa_memory(&root, found[0].address), Some(Bytes(0x3_f000_0000)));
        assert!(unlisted(&root, &found).is_empty());
        let devices = crate::accelerators::devices(&root);
        assert_eq!((devices.len(), devices[0].model.as_str(), devices[0].memory), (1, "NVIDIA GPU", Some(Bytes(0x3_f000_0000))));
    }

    #[test]
    fn a_slice_has_a_node_for_each_of_its_two_instances() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let at = dir.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, text).unwrap();
        };
        let root = Root::at(dir.path());
        assert_eq!(capability_nodes(&root, Some(0), 1, 0), (vec![], None));
        write("proc/driver/nvidia/capabilities/gpu0/mig/gi1/access", "DeviceFileMinor: 12\nDeviceFileMode: 292\nDeviceFileModify: 1\n");
        write("proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0/access", "DeviceFileMinor: 13\nDeviceFileMode: 292\n");
        assert_eq!(capability_nodes(&root, Some(0), 1, 0), (vec![], Some("/dev/nvidia-caps/nvidia-cap12".into())));
        write("proc/devices", "Character devices:\n195 nvidia\n237 nvidia-caps\n");
        let (nodes, missing) = capability_nodes(&root, Some(0), 1, 0);
        let nodes: Vec<_> = nodes.iter().map(|node| (node.path.as_str(), node.major, node.minor)).collect();
        assert_eq!((nodes, missing), (vec![("/dev/nvidia-caps/nvidia-cap12", 237, 12), ("/dev/nvidia-caps/nvidia-cap13", 237, 13)], None));
        assert_eq!(capability_nodes(&root, None, 1, 0), (vec![], None));
    }
}
