//! Disks, and memory that is reached as a device (DAX, CXL).

use crate::{Folder, Root, text};
use machine::topology::{Kind, Object, OsDeviceKind};

type Infos = Vec<(String, String)>;

const DAX: &str = "sys/bus/dax/devices";

/// How a DAX device is made: kind, and the device it is part of.
fn dax_infos(root: &Root, name: &str) -> Infos {
    let Some(target) = root.link(&format!("{DAX}/{name}")) else { return Vec::new() };
    let Some((_, path)) = target.split_once("devices/") else { return Vec::new() };
    let parent = path.find(&format!("/{name}")).map_or(path, |end| &path[..end]);
    let kind = if path.contains("/ndbus") { "NVM" } else { "SPM" };
    let mut infos = vec![("DAXType".to_owned(), kind.to_owned())];
    infos.push(("DAXParent".into(), parent.strip_prefix("platform/").unwrap_or(parent).to_owned()));
    infos
}

/// Calls with every memory node that is made of a DAX device.
pub fn annotate_nodes(root: &Root, mut with: impl FnMut(u32, Infos)) {
    for name in root.names(DAX) {
        let Some(node) = root.value::<u32>(&format!("{DAX}/{name}/target_node")) else { continue };
        // A device that is not handed to the kernel's allocator is not in the node.
        if is_memory(root, &name) || root.link(&format!("{DAX}/{name}/driver")).is_none() {
            let mut infos = vec![("DAXDevice".to_owned(), name.clone())];
            infos.extend(dax_infos(root, &name));
            with(node, infos);
        }
    }
}

fn is_memory(root: &Root, name: &str) -> bool {
    root.link_name(&format!("{DAX}/{name}/driver")).as_deref() == Some("kmem")
}

/// DAX devices that are not used as memory.
pub fn dax_devices(root: &Root) -> Vec<(Object, String)> {
    let device = |name: String| {
        if is_memory(root, &name) {
            return None;
        }
        let infos = dax_infos(root, &name);
        let lasting = infos.iter().any(|(key, value)| key == "DAXType" && value == "NVM");
        let kind = if lasting { OsDeviceKind::MemoryStorage } else { OsDeviceKind::Memory };
        let path = format!("{DAX}/{name}");
        let folder = root.folder(&path)?;
        let mut object = Object { kind: Kind::OsDevice(kind), name: Some(name), infos, ..Object::default() };
        object.subtype = object.info("DAXType").map(str::to_owned);
        let size: Option<u64> = folder.value("size");
        object.infos.extend(size.map(|bytes| ("Size".to_owned(), format!("{}KiB", bytes >> 10))));
        object.infos.extend(folder.text("dev").map(|dev| ("LinuxDeviceID".to_owned(), dev)));
        Some((object, path))
    };
    root.names(DAX).into_iter().filter_map(device).collect()
}

/// CXL memory devices.
pub fn cxl_devices(root: &Root) -> Vec<(Object, String)> {
    const CXL: &str = "sys/bus/cxl/devices";
    let device = |number: u32| {
        let (name, path) = (format!("mem{number}"), format!("{CXL}/mem{number}"));
        let size = |which: &str| {
            let text = root.text(&format!("{path}/{which}/size"))?;
            let bytes = text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())?;
            (bytes > 0).then(|| format!("{}KiB", bytes >> 10))
        };
        let (volatile, lasting) = (size("ram"), size("pmem"));
        let kind = if lasting.is_some() { OsDeviceKind::MemoryStorage } else { OsDeviceKind::Memory };
        let infos = [("CXLRAMSize", volatile), ("CXLPMEMSize", lasting)];
        let infos = infos.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        (Object { kind: Kind::OsDevice(kind), name: Some(name), subtype: Some("CXLMem".into()), infos, ..Object::default() }, path)
    };
    root.numbered(CXL, "mem").into_iter().map(device).collect()
}

/// Whole disks and the like; partitions are parts of them.
pub fn block_devices(root: &Root) -> Vec<(Object, String)> {
    const BLOCK: &str = "sys/class/block";
    let device = |name: String| {
        let path = format!("{BLOCK}/{name}");
        if root.exists(&format!("{path}/partition")) {
            return None;
        }
        let mut object = Object { kind: Kind::OsDevice(OsDeviceKind::Storage), name: Some(name.clone()), ..Object::default() };
        if let Some(folder) = root.folder(&path) {
            describe_block(root, &folder, &name, &mut object);
        }
        Some((object, path))
    };
    root.names(BLOCK).into_iter().filter_map(device).collect()
}

fn describe_block(root: &Root, folder: &Folder, name: &str, object: &mut Object) {
    let mut add = |key: &str, value: Option<String>| {
        object.infos.extend(value.filter(|value| !value.is_empty()).map(|value| (key.to_owned(), value)))
    };
    // The kernel counts in sectors of 512 bytes whatever the disk's own are.
    add("Size", folder.value::<u64>("size").map(|sectors| format!("{}KiB", sectors / 2)));
    add("SectorSize", folder.value::<u32>("queue/hw_sector_size").filter(|size| *size > 0).map(|size| size.to_string()));
    let nvdimm = folder.text("device/devtype").is_some_and(|kind| kind.starts_with("nd_"));
    let number = folder.text("dev").unwrap_or_default();
    add("LinuxDeviceID", Some(number.clone()));
    let udev = root.text(&format!("run/udev/data/b{number}")).filter(|_| !number.is_empty()).unwrap_or_default();
    let property = |key: &str| text::assignment(&udev, key).map(str::to_owned);
    let model = property("E:ID_MODEL").unwrap_or_default();
    let vendor = property("E:ID_VENDOR").filter(|vendor| !vendor.eq_ignore_ascii_case("ata")).or_else(|| maker(&model));
    add("Vendor", vendor);
    add("Model", Some(model));
    add("Revision", property("E:ID_REVISION"));
    add("SerialNumber", property("E:ID_SERIAL_SHORT"));
    let kind = property("E:ID_TYPE").unwrap_or_default();
    object.subtype = match kind.as_str() {
        _ if name.starts_with("nvme") => Some("Disk"),
        "disk" => Some("Disk"),
        "tape" => Some("Tape"),
        "cd" | "floppy" | "optical" => Some("Removable Media Device"),
        _ if nvdimm => Some("NVM"),
        _ => None,
    }
    .map(str::to_owned);
}

/// Disks on SATA tell no maker; their model names do.
fn maker(model: &str) -> Option<String> {
    let lower = model.to_ascii_lowercase();
    let makers = [("wd", "Western Digital"), ("st", "Seagate"), ("samsung", "Samsung"), ("sandisk", "SanDisk"), ("toshiba", "Toshiba")];
    makers.into_iter().find(|(start, _)| lower.starts_with(start)).map(|(_, maker)| maker.to_owned())
}
