//! What the operating system calls its devices: network interfaces, RDMA devices, disks, displays, DMA engines.

use super::{Io, Options, storage};
use crate::{Folder, Root, text};
use machine::PciAddress;
use machine::topology::{Kind, Object, OsDeviceKind, Topology, place_os_device};

/// More of one class than any machine has.
const MOST_DEVICES: usize = 4096;
/// Ports of one adapter, and global identifiers of one port, that are listed.
const MOST_PORTS: u32 = 16;
const MOST_GIDS: u32 = 256;

pub fn look(root: &Root, options: &Options, topology: &mut Topology) {
    let all = options.io == Io::All;
    let mut found = storage::block_devices(root);
    found.extend(storage::dax_devices(root));
    found.extend(storage::cxl_devices(root));
    found.extend(class(root, "net", OsDeviceKind::Network, network));
    found.extend(class(root, "infiniband", OsDeviceKind::OpenFabrics, rdma));
    found.extend(class(root, "ve", OsDeviceKind::CoProcessor, vector_engine));
    if all {
        found.extend(class(root, "drm", OsDeviceKind::Gpu, display));
        found.extend(class(root, "dma", OsDeviceKind::Dma, |_, _, _| true));
    }
    for (object, path) in found.into_iter().take(MOST_DEVICES) {
        place(root, topology, object, &path, all);
    }
}

/// Devices of a class that `describe` wants.
fn class(root: &Root, name: &str, kind: OsDeviceKind, describe: impl Fn(&Root, &Folder, &mut Object) -> bool) -> Vec<(Object, String)> {
    let device = |device: String| {
        let path = format!("sys/class/{name}/{device}");
        let mut object = Object { kind: Kind::OsDevice(kind), name: Some(device), ..Object::default() };
        let folder = root.folder(&path)?;
        describe(root, &folder, &mut object).then_some((object, path))
    };
    root.names(&format!("sys/class/{name}")).into_iter().filter_map(device).collect()
}

/// Below the PCI function in its path; else where its folder says. What has no hardware behind it is left out.
fn place(root: &Root, topology: &mut Topology, object: Object, path: &str, usb: bool) {
    let Some(target) = root.link(path).or_else(|| root.link(&format!("{path}/device"))) else { return };
    if target.contains("/virtual/") || (target.contains("/usb") && !usb) {
        return;
    }
    let function = || target.split('/').rev().find_map(|part| part.parse::<PciAddress>().ok());
    let function = if target.contains("/pci") { function() } else { None };
    // A device of a bus has its own attributes in the folder above.
    let about = if path.starts_with("sys/bus/") { "../" } else { "device/" };
    let number = |about: &str| root.value::<u32>(&format!("{path}/{about}numa_node"));
    let node = if function.is_none() { number(about).or_else(|| number("")) } else { None };
    let cpus = root.text(&format!("{path}/{about}local_cpus")).filter(|_| function.is_none()).and_then(|text| text::mask(&text));
    place_os_device(&mut topology.machine, &topology.pci, function, node, cpus.as_ref(), object);
}

fn add(object: &mut Object, key: impl Into<String>, value: Option<String>) {
    object.infos.extend(value.filter(|value| !value.is_empty()).map(|value| (key.into(), value)));
}

fn network(_: &Root, folder: &Folder, object: &mut Object) -> bool {
    add(object, "Address", folder.text("address"));
    if folder.root_has("device/infiniband") {
        let port = ["dev_port", "dev_id"].into_iter().find_map(|file| folder.text(file));
        let number = port.and_then(|text| match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        });
        add(object, "Port", number.and_then(|number| number.checked_add(1)).map(|number| number.to_string()));
    }
    true
}

fn rdma(_: &Root, folder: &Folder, object: &mut Object) -> bool {
    // An emulation between a host and its Xeon Phi cards.
    if object.name.as_deref().is_some_and(|name| name.starts_with("scif")) {
        return false;
    }
    add(object, "NodeGUID", folder.text("node_guid"));
    add(object, "SysImageGUID", folder.text("sys_image_guid"));
    for port in 1..=MOST_PORTS {
        let file = |name: &str| folder.text(&format!("ports/{port}/{name}"));
        let Some(state) = file("state") else { break };
        add(object, format!("Port{port}State"), state.chars().next().map(String::from));
        add(object, format!("Port{port}LID"), file("lid"));
        add(object, format!("Port{port}LMC"), file("lid_mask_count"));
        for gid in 0..MOST_GIDS {
            let Some(text) = file(&format!("gids/{gid}")) else { break };
            // The lower half is the port's own; without it the entry is not used.
            if !text.ends_with("0000:0000:0000:0000") {
                add(object, format!("Port{port}GID{gid}"), Some(text));
            }
        }
    }
    true
}

fn display(_: &Root, folder: &Folder, _: &mut Object) -> bool {
    folder.exists("dev")
}

/// NEC Vector Engines tell memory in GiB and caches in KiB.
fn vector_engine(_: &Root, folder: &Folder, object: &mut Object) -> bool {
    object.subtype = Some("VectorEngine".into());
    add(object, "VectorEngineModel", folder.text("model"));
    add(object, "VectorEngineSerialNumber", folder.text("serial"));
    let partitioned = folder.text("partitioning_mode").filter(|mode| mode != "0");
    add(object, "VectorEngineNUMAPartitioned", partitioned.map(|_| "1".to_owned()));
    add(object, "VectorEngineCores", folder.text("num_of_core"));
    let memory = folder.value::<u64>("memory_size").and_then(|gib| gib.checked_mul(1 << 20));
    add(object, "VectorEngineMemorySize", memory.map(|kib| format!("{kib}KiB")));
    for (file, key) in [("cache_llc", "LLC"), ("cache_l2", "L2"), ("cache_l1d", "L1d"), ("cache_l1i", "L1i")] {
        add(object, format!("VectorEngine{key}Size"), folder.text(file).map(|kib| format!("{kib}KiB")));
    }
    true
}
