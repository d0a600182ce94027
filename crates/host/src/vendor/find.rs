//! From the PCI bus to [`Device`] values.

use super::table::{self, Node, Row};
use super::{model, nvidia};
use crate::pci::{self, Function};
use crate::{Root, text};
use machine::{Bytes, Device, DeviceClass, DeviceId, DeviceNode, Health, Vendor};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// Every accelerator on the bus, by PCI address.
pub fn devices(root: &Root) -> Vec<Device> {
    let wanted = |maker, device, class| table::row(maker, device, class).is_some() || table::is_unknown_accelerator(maker, device, class);
    let functions = pci::functions(root, wanted);
    let numbers = Numbers { root, by_name: OnceCell::new() };
    let mut found: Vec<Device> = Vec::new();
    let mut in_vendor: BTreeMap<Vendor, u32> = BTreeMap::new();
    let mut in_row: BTreeMap<*const Row, u32> = BTreeMap::new();
    for function in functions.iter().filter(|function| !function.is_virtual) {
        let row = table::row(function.maker, function.device, function.class);
        let index = in_vendor.entry(row.map_or(Vendor::Unknown, |row| row.vendor)).or_default();
        let mut device = match row {
            None => stranger(function),
            Some(row) => {
                let position = in_row.entry(row).or_default();
                *position += 1;
                card(root, function, row, *position - 1, &numbers)
            }
        };
        device.index = *index;
        *index += 1;
        found.push(device);
    }
    name_apart(&mut found);
    found
}

/// A serial number that two functions share (two dies of one card) names neither.
fn name_apart(devices: &mut [Device]) {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<DeviceId> =
        devices.iter().filter(|device| !seen.insert(device.id.clone())).map(|device| device.id.clone()).collect();
    for device in devices.iter_mut().filter(|device| twice.contains(&device.id)) {
        if let Some(address) = device.pci {
            device.id = DeviceId(address.to_string());
        }
    }
}

fn stranger(function: &Function) -> Device {
    let maker = <pci_ids::Vendor as pci_ids::FromId<u16>>::from_id(function.maker)
        .map_or_else(|| format!("maker {:04x}", function.maker), |vendor| vendor.name().to_owned());
    let (model, memory) = model(Vendor::Unknown, function.maker, function.device);
    Device {
        id: DeviceId(function.address.to_string()),
        vendor: Vendor::Unknown,
        class: DeviceClass::Npu,
        model,
        memory,
        index: 0,
        pci: Some(function.address),
        numa: function.numa,
        driver: function.driver.clone(),
        nodes: Vec::new(),
        health: Health::Unusable(format!("accelerators of {maker} are not known to Ashlar yet")),
    }
}

fn card(root: &Root, function: &Function, row: &'static Row, position: u32, numbers: &Numbers) -> Device {
    let told = if row.vendor == Vendor::Nvidia { nvidia::information(root, function.address) } else { text::NvidiaInformation::default() };
    let (name, listed) = model(row.vendor, function.maker, function.device);
    let serial = row.serial.and_then(|(pattern, prefix)| {
        let text = expand(root, &function.path, pattern).first().and_then(|path| root.text(path))?;
        text.bytes().any(|b| b != b'0').then(|| DeviceId(format!("{prefix}{text}")))
    });
    let (nodes, missing) = nodes(root, function, row, position, told.minor, numbers);
    Device {
        id: told.uuid.map(DeviceId).or(serial).unwrap_or_else(|| DeviceId(function.address.to_string())),
        vendor: row.vendor,
        class: row.class,
        model: told.model.unwrap_or(name),
        memory: memory(root, function, row).or(listed),
        index: 0,
        pci: Some(function.address),
        numa: function.numa,
        driver: function.driver.clone(),
        health: health(root, function, row, &nodes, missing),
        nodes,
    }
}

fn memory(root: &Root, function: &Function, row: &Row) -> Option<Bytes> {
    let by_file = row.memory.iter().find_map(|(pattern, unit)| {
        let sizes: Vec<u64> = expand(root, &function.path, pattern).iter().filter_map(|path| root.value(path)).collect();
        let total = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(size.saturating_mul(*unit)));
        (total > 0).then_some(Bytes(total))
    });
    // Below 1 GiB it is the small window of a system without resizable windows.
    let by_bar = || {
        let sizes = text::bar_sizes(&root.text(&format!("{}/resource", function.path))?);
        sizes.get(row.memory_bar?).copied().filter(|size| *size >= Bytes::gib(1))
    };
    by_file.or_else(by_bar)
}

/// On the bus, driver bound, nodes there: the text names the first step that is not reached.
fn health(root: &Root, function: &Function, row: &Row, nodes: &[DeviceNode], missing: Option<String>) -> Health {
    let needs = row.drivers.first().copied().unwrap_or("a driver");
    match function.driver.as_deref() {
        None => Health::Unusable(format!("no driver is bound, {needs} is needed")),
        Some(driver) if !row.drivers.contains(&driver) => match driver {
            "vfio-pci" | "pci-stub" | "xen-pciback" => Health::Unusable(format!("set aside for a virtual machine ({driver})")),
            _ => Health::Unusable(format!("driver {driver} is bound, {needs} is needed")),
        },
        // A capture without any node tells nothing about nodes.
        Some(driver) => match missing.filter(|_| root.is_live() || !nodes.is_empty()) {
            Some(path) => Health::Unusable(format!("driver {driver} is bound, but {path} is not there")),
            None => Health::Ready,
        },
    }
}

/// The nodes that are there, and the path of the first one that has to be and is not.
fn nodes(
    root: &Root,
    function: &Function,
    row: &Row,
    position: u32,
    minor: Option<u32>,
    numbers: &Numbers,
) -> (Vec<DeviceNode>, Option<String>) {
    let mut nodes: Vec<DeviceNode> = Vec::new();
    let mut missing: Option<String> = None;
    let mut wanted_own: Option<String> = None;
    for rule in row.nodes {
        let (path, shared, required) = match rule {
            Node::Own(pattern, folder) => {
                nodes.extend(own_nodes(root, function, pattern, folder));
                wanted_own = wanted_own
                    .or_else(|| Some(format!("/dev/{folder}{}", pattern.rsplit('/').next().unwrap_or(pattern).replace("[0-9]", ""))));
                continue;
            }
            Node::Numbered(pattern) => (pattern.replace("{n}", &position.to_string()), false, false),
            Node::NvidiaMinor(pattern) => (pattern.replace("{n}", &minor.unwrap_or(position).to_string()), false, false),
            Node::VfioGroup => match root.link_name(&format!("{}/iommu_group", function.path)) {
                Some(group) => (format!("/dev/vfio/{group}"), false, false),
                None => continue,
            },
            Node::Shared(path) => ((*path).to_owned(), true, true),
            Node::SharedIfThere(path) => ((*path).to_owned(), true, false),
        };
        match numbers.of(&path) {
            Some((major, minor)) => nodes.push(DeviceNode { path, major, minor, shared }),
            None if required => missing = missing.or(Some(path)),
            None if !shared => wanted_own = wanted_own.or(Some(path)),
            None => {}
        }
    }
    if !nodes.iter().any(|node| !node.shared) {
        missing = wanted_own.or(missing);
    }
    (nodes, missing)
}

fn own_nodes(root: &Root, function: &Function, pattern: &str, folder: &str) -> Vec<DeviceNode> {
    let node = |path: &String| {
        let (major, minor) = major_minor(&root.text(&format!("{path}/dev"))?)?;
        let uevent = root.text(&format!("{path}/uevent")).unwrap_or_default();
        let bare = path.rsplit('/').next().unwrap_or_default();
        let name = text::assignment(&uevent, "DEVNAME").map_or_else(|| format!("{folder}{}", bare.replace('!', "/")), str::to_owned);
        let path = format!("/dev/{}", name.trim_start_matches("/dev/"));
        // sysfs may be the host's where /dev is a container's with fewer nodes.
        (!root.is_live() || root.char_device(&path) == Some((major, minor))).then_some(DeviceNode { path, major, minor, shared: false })
    };
    expand(root, &function.path, pattern).iter().filter_map(node).collect()
}

fn major_minor(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Device numbers by path: `/dev` itself on a live machine; in a capture, which cannot hold device nodes, what sysfs and
/// `/proc/devices` say of them.
struct Numbers<'r> {
    root: &'r Root,
    by_name: OnceCell<BTreeMap<String, (u32, u32)>>,
}

impl Numbers<'_> {
    fn of(&self, path: &str) -> Option<(u32, u32)> {
        self.root.char_device(path).or_else(|| {
            let captured = !self.root.is_live();
            captured.then(|| self.by_name.get_or_init(|| captured_numbers(self.root)).get(path).copied()).flatten()
        })
    }
}

fn captured_numbers(root: &Root) -> BTreeMap<String, (u32, u32)> {
    const CHARACTER: &str = "sys/dev/char";
    let named = |numbers: &String| {
        let uevent = root.text(&format!("{CHARACTER}/{numbers}/uevent"))?;
        Some((format!("/dev/{}", text::assignment(&uevent, "DEVNAME")?), major_minor(numbers)?))
    };
    let mut found: BTreeMap<String, (u32, u32)> = root.names(CHARACTER).iter().filter_map(named).collect();
    found.extend(nvidia::captured_nodes(root));
    found
}

/// Paths below `base` that match a pattern with `*` in its parts, sorted.
fn expand(root: &Root, base: &str, pattern: &str) -> Vec<String> {
    let mut paths = vec![base.to_owned()];
    for part in pattern.split('/') {
        paths = match part.contains(['*', '[']) {
            false => paths.iter().map(|path| format!("{path}/{part}")).filter(|path| root.exists(path)).collect(),
            true => paths
                .iter()
                .flat_map(|path| root.names(path).into_iter().filter(|name| matches(part, name)).map(move |name| format!("{path}/{name}")))
                .collect(),
        };
    }
    paths
}

/// `*` stands for any text, `[0-9]` for a digit.
fn matches(pattern: &str, name: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix('*') {
        return (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| matches(rest, &name[at..]));
    }
    if let Some(rest) = pattern.strip_prefix("[0-9]") {
        return name.starts_with(|c: char| c.is_ascii_digit()) && matches(rest, &name[1..]);
    }
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some(p), Some(n)) if p == n => matches(&pattern[p.len_utf8()..], &name[n.len_utf8()..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
