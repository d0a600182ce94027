//! The PCI tree from sysfs.

use super::config::{self, Config};
use crate::root::Folder;
use crate::{Root, text};
use machine::{PciAddress, PciFunction, PciIds, PciLink, PciRate, PciTree, Sriov};
use std::collections::BTreeMap;

const BUS: &str = "sys/bus/pci/devices";
const SLOTS: &str = "sys/bus/pci/slots";
/// More functions than any machine has, virtual ones counted.
const MOST_FUNCTIONS: usize = 16_384;

/// Every function on the PCI buses below `root`; empty when there is no PCI bus. What cannot be read of a function is
/// left at unknown.
pub fn tree(root: &Root) -> PciTree {
    let slots = slots(root);
    let Some(bus) = root.folder(BUS) else { return PciTree::default() };
    let mut functions: Vec<PciFunction> =
        bus.names().iter().take(MOST_FUNCTIONS).filter_map(|name| function(root, &bus, name, &slots)).collect();
    parents_by_bus(&mut functions);
    PciTree::new(functions)
}

fn function(root: &Root, bus: &Folder, name: &str, slots: &BTreeMap<String, String>) -> Option<PciFunction> {
    let address: PciAddress = name.parse().ok()?;
    let path = bus.link(name).and_then(|target| below_sys(&target)).unwrap_or_else(|| format!("{BUS}/{name}"));
    let folder = root.folder(&path)?;
    let uevent = folder.text("uevent").unwrap_or_default();
    let bytes = configuration(&folder);
    let config = Config(&bytes);
    let ids = ids(&folder, &uevent, &config);
    let buses = || {
        let file = |name| folder.value::<u8>(name);
        Some(machine::PciBuses { secondary: file("secondary_bus_number")?, subordinate: file("subordinate_bus_number")? })
    };
    let is_bridge = matches!(ids.class16(), 0x0604 | 0x0609);
    Some(PciFunction {
        address,
        ids,
        parent: parent(&path),
        port: config.port(),
        bridge: is_bridge.then(|| if bytes.len() >= 64 { config.buses(address.bus) } else { buses() }).flatten(),
        link: config.link().or_else(|| link(&folder)).filter(|link| link.now.lanes > 0 || link.max.lanes > 0),
        numa: folder.value("numa_node"),
        local_cpus: local_cpus(&folder),
        driver: text::assignment(&uevent, "DRIVER").map(str::to_owned).or_else(|| folder.link_name("driver")),
        iommu_group: folder.link_name("iommu_group").and_then(|group| group.parse().ok()),
        slot: name.rsplit_once('.').and_then(|(device, _)| slots.get(device).cloned()),
        sriov: sriov(&folder),
        mediated: mediated(&folder),
        lost: config.is_lost(),
        path,
    })
}

/// The header of the configuration space and the PCI Express capability, with the links of the list that lead to it; what
/// lies between is left at zero. Every word that is read is a question to the device, and an exit from a virtual machine.
fn configuration(folder: &Folder) -> Vec<u8> {
    let Some(file) = folder.file("config") else { return Vec::new() };
    let mut bytes = file.bytes_at(0, config::HEADER_BYTES);
    let mut next = Config(&bytes).first_capability();
    for _ in 0..config::MOST_CAPABILITIES {
        let Some(at) = next.filter(|at| *at >= config::HEADER_BYTES) else { break };
        let mut part = file.bytes_at(at, 2);
        let &[id, link] = &part[..] else { break };
        if id == config::CAPABILITY_EXPRESS {
            part = file.bytes_at(at, config::EXPRESS_BYTES);
        }
        bytes.resize(bytes.len().max(at + part.len()), 0);
        bytes[at..at + part.len()].copy_from_slice(&part);
        next = (id != config::CAPABILITY_EXPRESS && id != 0xff).then(|| usize::from(link & !3));
    }
    bytes
}

/// Slot names by `domain:bus:device`.
fn slots(root: &Root) -> BTreeMap<String, String> {
    let address = |slot: String| Some((root.text(&format!("{SLOTS}/{slot}/address"))?, slot));
    root.names(SLOTS).into_iter().filter_map(address).collect()
}

/// The target of a link in `sys/bus/pci/devices`, as a path below the root.
fn below_sys(target: &str) -> Option<String> {
    let (_, rest) = target.split_once("devices/")?;
    (!rest.split('/').any(|part| part == "..")).then(|| format!("sys/devices/{rest}"))
}

/// The last bridge in the path of a function's folder.
fn parent(path: &str) -> Option<PciAddress> {
    path.rsplit('/').skip(1).find_map(|part| part.parse().ok())
}

/// For trees that were captured without links: the bridge with the smallest range of buses that holds a function's bus.
fn parents_by_bus(functions: &mut [PciFunction]) {
    let bridges: Vec<(PciAddress, machine::PciBuses)> =
        functions.iter().filter_map(|function| Some((function.address, function.bridge?))).collect();
    for function in functions.iter_mut().filter(|function| function.path.starts_with(BUS)) {
        let at = function.address;
        let over = bridges.iter().filter(|(bridge, buses)| {
            bridge.domain == at.domain && *bridge != at && (buses.secondary..=buses.subordinate).contains(&at.bus)
        });
        function.parent = over.min_by_key(|(_, buses)| buses.subordinate - buses.secondary).map(|(bridge, _)| *bridge);
    }
}

/// One read where the kernel's `uevent` is there, else the separate files, else the configuration space.
fn ids(folder: &Folder, uevent: &str, config: &Config) -> PciIds {
    let hex = |text: &str| u16::from_str_radix(text, 16).ok();
    let pair = |key| text::assignment(uevent, key).and_then(|value| value.split_once(':')).and_then(|(a, b)| Some((hex(a)?, hex(b)?)));
    let file = |name: &str| folder.hex(name);
    let files = |a: &str, b: &str| Some((file(a)? as u16, file(b)? as u16));
    let class = text::assignment(uevent, "PCI_CLASS").and_then(|class| u32::from_str_radix(class, 16).ok());
    let main = pair("PCI_ID").or_else(|| files("vendor", "device")).or_else(|| config.vendor().zip(config.device()));
    let board = pair("PCI_SUBSYS_ID").or_else(|| files("subsystem_vendor", "subsystem_device")).or_else(|| config.subsystem());
    let ((vendor, device), (subsystem_vendor, subsystem_device)) = (main.unwrap_or_default(), board.unwrap_or_default());
    PciIds {
        vendor,
        device,
        subsystem_vendor,
        subsystem_device,
        revision: config.revision().or_else(|| file("revision").map(|revision| revision as u8)).unwrap_or_default(),
        class: class.or_else(|| file("class")).or_else(|| config.class()).unwrap_or_default() & 0xff_ffff,
    }
}

fn link(folder: &Folder) -> Option<PciLink> {
    let rate = |which: &str| {
        let speed = folder.text(&format!("{which}_link_speed"))?;
        let lanes = folder.value::<u32>(&format!("{which}_link_width"))?;
        // The kernel prints 255 for a width it does not know.
        let lanes = u8::try_from(lanes).ok().filter(|lanes| *lanes <= 32).unwrap_or(0);
        Some(PciRate { mega_transfers: config::speed(&speed).unwrap_or(0), lanes })
    };
    Some(PciLink { now: rate("current")?, max: rate("max").unwrap_or_default() })
}

fn local_cpus(folder: &Folder) -> Option<machine::CpuSet> {
    let list = || folder.text("local_cpulist")?.parse().ok();
    let mask = || text::mask(&folder.text("local_cpus")?);
    mask().or_else(list)
}

fn sriov(folder: &Folder) -> Sriov {
    let most = folder.value("sriov_totalvfs").unwrap_or(0);
    Sriov {
        physical: folder.link_name("physfn").and_then(|name| name.parse().ok()),
        enabled: if most > 0 { folder.value("sriov_numvfs").unwrap_or(0) } else { 0 },
        most,
    }
}

/// Mediated devices are folders named by their UUID below the function's own.
fn mediated(folder: &Folder) -> Vec<String> {
    if !folder.exists("mdev_supported_types") {
        return Vec::new();
    }
    let is_uuid = |name: &String| {
        name.len() == 36
            && name.bytes().enumerate().all(|(at, b)| if [8, 13, 18, 23].contains(&at) { b == b'-' } else { b.is_ascii_hexdigit() })
    };
    folder.names().into_iter().filter(is_uuid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Reading in parts finds what reading whole does, also where capabilities lie out of order.
    #[test]
    fn parts_of_the_configuration_space_are_enough() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = vec![0u8; 256];
        (bytes[0x06], bytes[0x34]) = (0x10, 0xc0);
        bytes[0xc0..0xc2].copy_from_slice(&[0x05, 0x48]);
        bytes[0x48..0x4a].copy_from_slice(&[0x11, 0x70]);
        bytes[0x70..0x74].copy_from_slice(&[config::CAPABILITY_EXPRESS, 0x40, 0x42, 0x01]);
        bytes[0x7c..0x80].copy_from_slice(&[0x04, 0x71, 0x7a, 0x05]);
        bytes[0x82..0x84].copy_from_slice(&[0x83, 0x70]);
        let root = Root::at(dir.path());
        for (length, found) in [(256, true), (0x84, true), (64, false), (8, false), (0, false)] {
            fs::write(dir.path().join("config"), &bytes[..length]).unwrap();
            let folder = root.folder("").unwrap();
            let read = configuration(&folder);
            let whole = Config(&bytes[..length]).link();
            assert_eq!(Config(&read).link(), whole.filter(|_| found), "{length}");
        }
        // A list that leads to itself ends.
        bytes[0x49] = 0x48;
        fs::write(dir.path().join("config"), &bytes).unwrap();
        assert_eq!(Config(&configuration(&root.folder("").unwrap())).link(), None);
    }
}
