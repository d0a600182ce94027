//! Our tree in the same form as hwloc's.

use super::expected::{Line, in_order};
use machine::topology::{Kind, Object, OsDeviceKind, Topology};
use machine::{PciFunction, PciTree};
use std::collections::BTreeMap;

/// Which of hwloc's outputs it is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Xml,
    /// Older versions printed all sizes in KiB.
    Console {
        older: bool,
    },
}

pub fn lines(topology: &Topology, form: Form) -> Vec<String> {
    let mut lines = Vec::new();
    add(&topology.machine, &topology.pci, 0, form, &mut lines);
    let mut figures = Vec::new();
    for matrix in &topology.distances {
        for from in &matrix.nodes {
            figures.extend(matrix.nodes.iter().map(|to| format!("distance {from} {to} {}", matrix.get(*from, *to).unwrap())));
        }
    }
    for value in &topology.memory_values {
        figures.push(format!("{} of {} from {}: {}", value.attribute.name(), value.node, value.initiator, value.value));
    }
    figures.sort();
    let mut texts = in_order(lines);
    texts.extend(figures);
    texts
}

fn add(object: &Object, tree: &PciTree, depth: usize, form: Form, lines: &mut Vec<Line>) {
    let xml = form == Form::Xml;
    let size = |bytes| if form == (Form::Console { older: true }) { format!("{}KiB", bytes >> 10) } else { size(bytes) };
    let mut attributes: BTreeMap<String, String> = object.infos.iter().cloned().collect();
    let mut kind = object.kind.type_name();
    let mut set = |key: &str, value: String| drop(attributes.insert(key.to_owned(), value));
    if let Some(number) = object.os_index {
        set("os_index", number.to_string());
    }
    if xml && (object.kind.is_normal() || object.kind.is_memory()) {
        set("cpuset", object.cpus.to_string());
        set("complete_cpuset", object.complete_cpus.to_string());
        set("nodeset", object.nodes.to_string());
        set("complete_nodeset", object.complete_nodes.to_string());
    }
    match object.kind {
        Kind::NumaNode(memory) => {
            if xml {
                set("local_memory", memory.local.0.to_string());
            } else if memory.local.0 > 0 {
                set("local", size(memory.local.0));
            }
            if let Some(tier) = memory.tier {
                set(if xml { "MemoryTier" } else { "memorytier" }, tier.to_string());
            }
        }
        Kind::Cache(cache) | Kind::MemoryCache(cache) => {
            if xml {
                kind = match kind.as_str() {
                    "L1dCache" => "L1Cache".into(),
                    _ => kind,
                };
                set("cache_size", cache.size.0.to_string());
                set("depth", cache.level.to_string());
                set("cache_linesize", cache.line.to_string());
                set("cache_associativity", cache.ways.to_string());
            } else {
                set("size", size(cache.size.0));
                set("linesize", cache.line.to_string());
                if cache.ways != 0 {
                    set("ways", cache.ways.to_string());
                }
            }
        }
        Kind::HostBridge { domain, secondary, subordinate } => {
            set(if xml { "bridge_pci" } else { "buses" }, format!("{domain:04x}:[{secondary:02x}-{subordinate:02x}]"));
            kind = if xml { "Bridge".into() } else { kind };
        }
        Kind::PciBridge { address } | Kind::PciDevice { address } => {
            let function = tree.get(address).unwrap();
            pci(function, xml, &mut set);
            if let Some(buses) = function.bridge.filter(|_| matches!(object.kind, Kind::PciBridge { .. })) {
                let text = format!("{:04x}:[{:02x}-{:02x}]", address.domain, buses.secondary, buses.subordinate);
                set(if xml { "bridge_pci" } else { "buses" }, text);
            }
            kind = match object.kind {
                Kind::PciBridge { .. } if xml => "Bridge".into(),
                Kind::PciDevice { .. } if xml => "PCIDev".into(),
                _ => kind,
            };
        }
        Kind::OsDevice(device) => {
            let (name, bit) = match device {
                OsDeviceKind::Storage => ("Storage", 1),
                OsDeviceKind::Memory => ("Memory", 2),
                OsDeviceKind::MemoryStorage => ("Memory,Storage", 3),
                OsDeviceKind::Gpu => ("GPU", 4),
                OsDeviceKind::CoProcessor => ("Co-Processor", 8),
                OsDeviceKind::Network => ("Network", 16),
                OsDeviceKind::OpenFabrics => ("Network,OpenFabrics", 48),
                OsDeviceKind::Dma => ("DMA", 64),
            };
            kind = if xml { format!("OSDev[{bit}]") } else { format!("OSDev[{name}]") };
        }
        _ => {}
    }
    let subtype = object.subtype.clone().unwrap_or_default();
    lines.push(Line { depth, kind, subtype, name: object.name.clone().unwrap_or_default(), attributes });
    for below in object.memory.iter().chain(&object.children).chain(&object.io).chain(&object.misc) {
        add(below, tree, depth + 1, form, lines);
    }
}

fn pci(function: &PciFunction, xml: bool, set: &mut impl FnMut(&str, String)) {
    let ids = function.ids;
    let rate = function.link.map_or(0, |link| link.now.bytes_per_second()) as f64 / 1e9;
    let address = function.address;
    if xml {
        set("pci_busid", address.to_string());
        let class = function.class16();
        let boards = format!("[{:04x}:{:04x}]", ids.subsystem_vendor, ids.subsystem_device);
        let rest = format!("{:02x} {:02x}", ids.revision, ids.class & 0xff);
        set("pci_type", format!("{class:04x} [{:04x}:{:04x}] {boards} {rest}", ids.vendor, ids.device));
        set("pci_link_speed", format!("{rate:.6}"));
    } else {
        set("busid", address.to_string());
        set("id", format!("{:04x}:{:04x}", ids.vendor, ids.device));
        set("class", format!("{:04x}", function.class16()));
        if rate > 0.0 {
            set("link", format!("{rate:.2}GB/s"));
        }
    }
}

/// Sizes as lstopo prints them: rounded, in the largest unit that leaves at least two digits.
fn size(bytes: u64) -> String {
    let in_units = |shift: u32| ((bytes >> (shift - 1)) + 1) >> 1;
    match bytes {
        0..0xa0_0000 => format!("{}KiB", in_units(10)),
        0xa0_0000..0x2_8000_0000 => format!("{}MiB", in_units(20)),
        0x2_8000_0000..0xa00_0000_0000 => format!("{}GiB", in_units(30)),
        _ => format!("{}TiB", in_units(40)),
    }
}
