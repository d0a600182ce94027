//! The PCI tree as rows a person reads: what is on each bus, below which switch, at what speed.
//!
//! Bridges that lead to one thing are left out; functions of one card that are alike are one row.

use machine::topology::{Kind, Object, OsDeviceKind, Topology};
use machine::{CpuSet, PciAddress, PciFunction, PciLink, PciTree};

/// What a row is, for colour and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A root bus, a switch, or a bridge with several things below.
    Branch,
    Accelerator,
    Network,
    Storage,
    Memory,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// For each level above whether more follows there, and for this row's own: what the lines of the tree are drawn by.
    pub more: Vec<bool>,
    pub what: What,
    /// `0000:1b:00.0`, without the domain where all have the same; empty for what is on no bus.
    pub address: String,
    pub name: String,
    /// Names the operating system has for it.
    pub devices: Vec<String>,
    pub link: Option<PciLink>,
}

/// Everything near to one set of CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `package 0`, `node 1`, `CPUs 0-3`, or `no CPU in particular`.
    pub name: String,
    pub cpus: CpuSet,
    pub rows: Vec<Row>,
}

/// A row with what is below it, before the lines of the tree are known.
struct Branch {
    row: Row,
    below: Vec<Branch>,
}

/// All devices of the tree, by the object they hang off, in order of the tree.
pub fn places(topology: &Topology) -> Vec<Place> {
    let one_domain = topology.pci.functions().iter().all(|function| function.address.domain == 0);
    let reader = Reader { tree: &topology.pci, one_domain };
    let mut places = Vec::new();
    for object in topology.objects().filter(|object| object.kind.is_normal() && !object.io.is_empty()) {
        let branches = object.io.iter().flat_map(|device| reader.branches(device)).collect();
        let mut rows = Vec::new();
        list(merged(branches), &mut Vec::new(), &mut rows);
        if !rows.is_empty() {
            places.push(Place { name: place_name(object), cpus: object.cpus.clone(), rows });
        }
    }
    places
}

fn place_name(object: &Object) -> String {
    let number = object.os_index.map(|number| number.to_string());
    let one_node = (object.nodes.len() == 1).then(|| object.nodes.to_string());
    match (&object.kind, number) {
        (Kind::Machine, _) => "no CPU in particular".into(),
        (Kind::Package, Some(number)) => format!("package {number}"),
        (_, _) if one_node.is_some() => format!("node {}", one_node.unwrap_or_default()),
        _ => format!("CPUs {}", object.cpus),
    }
}

fn list(branches: Vec<Branch>, more: &mut Vec<bool>, rows: &mut Vec<Row>) {
    let last = branches.len().saturating_sub(1);
    for (at, branch) in branches.into_iter().enumerate() {
        more.push(at < last);
        rows.push(Row { more: more.clone(), ..branch.row });
        list(branch.below, more, rows);
        more.pop();
    }
}

struct Reader<'t> {
    tree: &'t PciTree,
    one_domain: bool,
}

impl Reader<'_> {
    fn address(&self, address: PciAddress) -> String {
        let text = address.to_string();
        if self.one_domain { text.split_once(':').map_or(text.clone(), |(_, rest)| rest.to_owned()) } else { text }
    }

    /// The rows of an I/O object: itself, or what is below when it leads to one thing only.
    fn branches(&self, object: &Object) -> Vec<Branch> {
        let below = || merged(object.io.iter().flat_map(|child| self.branches(child)).collect());
        match &object.kind {
            Kind::HostBridge { domain, secondary, .. } => {
                let bus = if self.one_domain { format!("{secondary:02x}") } else { format!("{domain:04x}:{secondary:02x}") };
                vec![branch(What::Branch, bus, "root bus".into(), None, below())]
            }
            Kind::PciBridge { address } => {
                let below = below();
                let Some(function) = self.tree.get(*address).filter(|_| below.len() != 1) else { return below };
                vec![branch(What::Branch, self.address(*address), bridge_name(function), function.link, below)]
            }
            Kind::PciDevice { address } => {
                let Some(function) = self.tree.get(*address) else { return Vec::new() };
                // A slice of a card is counted with the card.
                if function.sriov.physical.is_some_and(|physical| self.tree.get(physical).is_some()) && object.io.is_empty() {
                    return Vec::new();
                }
                vec![self.device(object, function)]
            }
            Kind::OsDevice(_) => {
                let mut row = branch(os_what(object), String::new(), os_name(object), None, Vec::new());
                row.row.devices = object.name.clone().into_iter().collect();
                vec![row]
            }
            _ => Vec::new(),
        }
    }

    fn device(&self, object: &Object, function: &PciFunction) -> Branch {
        let what = match function.class16() >> 8 {
            0x03 | 0x0b | 0x12 => What::Accelerator,
            0x02 => What::Network,
            0x01 => What::Storage,
            0x05 => What::Memory,
            _ if function.class16() == 0x0c06 => What::Network,
            _ => What::Other,
        };
        let mut name = device_name(function);
        let slices = self.tree.virtual_functions(function.address).count();
        if slices > 0 {
            name += &format!(" + {slices} virtual functions");
        }
        if !function.mediated.is_empty() {
            name += &format!(" + {} mediated", function.mediated.len());
        }
        if function.lost {
            name += " (fell off the bus)";
        }
        let mut row = branch(what, self.address(function.address), name, function.link, Vec::new());
        row.row.devices = object.io.iter().filter_map(|device| device.name.clone()).collect();
        row.row.devices.sort();
        row
    }
}

fn branch(what: What, address: String, name: String, link: Option<PciLink>, below: Vec<Branch>) -> Branch {
    Branch { row: Row { more: Vec::new(), what, address, name, devices: Vec::new(), link }, below }
}

/// Functions of one card that are alike become one row: `60:00.0-1`.
fn merged(branches: Vec<Branch>) -> Vec<Branch> {
    let mut kept: Vec<(Branch, usize)> = Vec::new();
    for next in branches {
        let card = |row: &Row| row.address.rsplit_once('.').map(|(card, _)| card.to_owned());
        match kept.last_mut() {
            Some((last, count))
                if next.below.is_empty()
                    && last.below.is_empty()
                    && card(&next.row).is_some()
                    && card(&last.row) == card(&next.row)
                    && (last.row.what, &last.row.name, last.row.link) == (next.row.what, &next.row.name, next.row.link) =>
            {
                *count += 1;
                last.row.devices.extend(next.row.devices);
            }
            _ => kept.push((next, 1)),
        }
    }
    let finish = |(mut branch, count): (Branch, usize)| {
        if count > 1 {
            branch.row.name = format!("{count} x {}", branch.row.name);
        }
        branch
    };
    kept.into_iter().map(finish).collect()
}

fn bridge_name(function: &PciFunction) -> String {
    use machine::PciPort;
    let word = match function.port {
        Some(PciPort::RootPort) => "root port",
        Some(PciPort::Upstream | PciPort::Downstream) => "switch",
        // Without the capability: a bridge below a bridge that has several below it is a switch.
        None if function.parent.is_some() => "switch",
        _ => "bridge",
    };
    match host::pci::product_name(function.ids.vendor, function.ids.device) {
        Some(name) => format!("{word} {}", short(name)),
        None => format!("{word} {:04x}:{:04x}", function.ids.vendor, function.ids.device),
    }
}

fn device_name(function: &PciFunction) -> String {
    let ids = function.ids;
    let maker = host::pci::maker_name(ids.vendor).map(short_maker);
    let product = host::pci::product_name(ids.vendor, ids.device).map(short);
    match (maker, product) {
        (Some(maker), Some(product)) if product.starts_with(&maker) => product,
        (Some(maker), Some(product)) => format!("{maker} {product}"),
        (Some(maker), None) => format!("{maker} {:04x} ({})", ids.device, class_name(function.class16())),
        _ => format!("{:04x}:{:04x} ({})", ids.vendor, ids.device, class_name(function.class16())),
    }
}

fn class_name(class: u16) -> &'static str {
    match class >> 8 {
        0x01 => "storage",
        0x02 => "network",
        0x03 => "display",
        0x05 => "memory",
        0x06 => "bridge",
        0x0b => "co-processor",
        0x12 => "accelerator",
        _ => "device",
    }
}

/// The words of a maker's name that tell it apart.
fn short_maker(name: &str) -> String {
    if let Some((_, inside)) = name.split_once('[')
        && let Some((inside, _)) = inside.split_once(']')
    {
        return inside.split('/').next().unwrap_or(inside).to_owned();
    }
    let first: Vec<&str> = name.split([' ', ',']).filter(|word| !word.is_empty()).take(2).collect();
    match first[..] {
        [one, "Corporation" | "Corp." | "Inc" | "Inc." | "Technologies" | "Co." | "Ltd."] => one.to_owned(),
        _ => first.join(" "),
    }
}

fn short(name: &str) -> String {
    let without = name.replace("Ethernet Controller", "").replace("Controller", "").replace("Family", "");
    without.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn os_what(object: &Object) -> What {
    match object.kind {
        Kind::OsDevice(OsDeviceKind::Storage) => What::Storage,
        Kind::OsDevice(OsDeviceKind::Memory | OsDeviceKind::MemoryStorage) => What::Memory,
        Kind::OsDevice(OsDeviceKind::Network | OsDeviceKind::OpenFabrics) => What::Network,
        Kind::OsDevice(OsDeviceKind::Gpu | OsDeviceKind::CoProcessor) => What::Accelerator,
        _ => What::Other,
    }
}

fn os_name(object: &Object) -> String {
    let size = object.info("Size").and_then(|size| size.strip_suffix("KiB")?.parse::<u64>().ok()).map(machine::Bytes::kib);
    let word = object.subtype.clone().unwrap_or_else(|| "device".into());
    size.map_or(word.clone(), |size| format!("{word} {size}"))
}
