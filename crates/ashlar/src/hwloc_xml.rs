//! The tree in hwloc's XML format, version 2, which `lstopo -i FILE` and `hwloc-info -i FILE` read.
//!
//! Elements and attributes: hwloc's document type (hwloc2.dtd) and its manual, "Importing and exporting topologies from/to
//! XML files".

use machine::topology::{CacheKind, GroupKind, Kind, MemoryAttribute, Object, OsDeviceKind, Topology};
use machine::{CpuSet, PciAddress};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The whole document.
pub fn document(topology: &Topology) -> String {
    let mut writer = Writer { topology, out: String::new(), next: 0, nodes: BTreeMap::new() };
    writer
        .out
        .push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n<topology version=\"2.0\">\n");
    writer.object(&topology.machine, 1, 0);
    writer.distances();
    writer.memory_values();
    writer.cpu_kinds();
    writer.out.push_str("</topology>\n");
    writer.out
}

struct Writer<'t> {
    topology: &'t Topology,
    out: String,
    /// Numbers of objects, by which figures refer to them.
    next: u64,
    nodes: BTreeMap<u32, u64>,
}

/// Sets as hwloc writes them: groups of 32 bits, the highest first.
fn mask(set: &CpuSet) -> String {
    let groups: Vec<u32> = set.words().iter().flat_map(|word| [*word as u32, (word >> 32) as u32]).collect();
    let used = groups.iter().rposition(|group| *group != 0).map_or(0, |last| last + 1);
    match groups[..used].split_last() {
        None => "0x0".into(),
        Some((top, rest)) => {
            let mut text = format!("0x{top:08x}");
            text.extend(rest.iter().rev().map(|group| format!(",0x{group:08x}")));
            text
        }
    }
}

/// Text of an attribute. Characters that XML 1.0 cannot hold become `?`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

impl Writer<'_> {
    fn object(&mut self, object: &Object, depth: usize, bridges: usize) {
        self.next += 1;
        let number = self.next;
        if let (Kind::NumaNode(_), Some(node)) = (&object.kind, object.os_index) {
            self.nodes.insert(node, number);
        }
        let indent = "  ".repeat(depth);
        let mut head = format!("{indent}<object type=\"{}\"", type_name(&object.kind));
        let mut add = |key: &str, value: &str| head.push_str(&format!(" {key}=\"{}\"", escaped(value)));
        if let Some(index) = object.os_index {
            add("os_index", &index.to_string());
        }
        if let Some(name) = &object.name {
            add("name", name);
        }
        if let Some(subtype) = &object.subtype {
            add("subtype", subtype);
        }
        if object.kind.is_normal() || object.kind.is_memory() {
            add("cpuset", &mask(&object.cpus));
            add("complete_cpuset", &mask(&object.complete_cpus));
            if object.kind == Kind::Machine {
                add("allowed_cpuset", &mask(&self.topology.allowed_cpus));
            }
            add("nodeset", &mask(&object.nodes));
            add("complete_nodeset", &mask(&object.complete_nodes));
            if object.kind == Kind::Machine {
                add("allowed_nodeset", &mask(&self.topology.allowed_nodes));
            }
        }
        add("gp_index", &number.to_string());
        self.attributes(object, bridges, &mut add);
        self.out.push_str(&head);
        let inside = self.inside(object, depth + 1, bridges);
        self.out.push_str(if inside { "" } else { "/>\n" });
        if inside {
            let _ = writeln!(self.out, "{indent}</object>");
        }
    }

    fn attributes(&self, object: &Object, bridges: usize, add: &mut impl FnMut(&str, &str)) {
        match object.kind {
            Kind::NumaNode(memory) => add("local_memory", &memory.local.0.to_string()),
            Kind::Cache(cache) | Kind::MemoryCache(cache) => {
                add("cache_size", &cache.size.0.to_string());
                add("depth", &cache.level.to_string());
                add("cache_linesize", &cache.line.to_string());
                add("cache_associativity", &cache.ways.to_string());
                let holds = match cache.holds {
                    CacheKind::Unified => "0",
                    CacheKind::Data => "1",
                    CacheKind::Instruction => "2",
                };
                add("cache_type", holds);
            }
            Kind::Group { group } => {
                let kind = match group {
                    GroupKind::Memory => "1001",
                    GroupKind::Io => "1000",
                    GroupKind::Distance => "900",
                    GroupKind::Cluster => "222",
                    GroupKind::Book => "110",
                    GroupKind::KnlCluster => "102",
                };
                add("kind", kind);
                add("subkind", "0");
            }
            Kind::HostBridge { domain, secondary, subordinate } => {
                add("bridge_type", "0-1");
                add("depth", "0");
                add("bridge_pci", &format!("{domain:04x}:[{secondary:02x}-{subordinate:02x}]"));
            }
            Kind::PciBridge { address } => {
                add("bridge_type", "1-1");
                add("depth", &bridges.to_string());
                if let Some(buses) = self.topology.pci.get(address).and_then(|function| function.bridge) {
                    add("bridge_pci", &format!("{:04x}:[{:02x}-{:02x}]", address.domain, buses.secondary, buses.subordinate));
                }
                self.pci(address, add);
            }
            Kind::PciDevice { address } => self.pci(address, add),
            Kind::OsDevice(device) => {
                let kind = match device {
                    OsDeviceKind::Storage | OsDeviceKind::Memory | OsDeviceKind::MemoryStorage => "0",
                    OsDeviceKind::Gpu => "1",
                    OsDeviceKind::Network => "2",
                    OsDeviceKind::OpenFabrics => "3",
                    OsDeviceKind::Dma => "4",
                    OsDeviceKind::CoProcessor => "5",
                };
                add("osdev_type", kind);
            }
            _ => {}
        }
    }

    fn pci(&self, address: PciAddress, add: &mut impl FnMut(&str, &str)) {
        let Some(function) = self.topology.pci.get(address) else { return };
        let ids = function.ids;
        add("pci_busid", &address.to_string());
        let class = function.class16();
        let board = format!("[{:04x}:{:04x}]", ids.subsystem_vendor, ids.subsystem_device);
        add("pci_type", &format!("{class:04x} [{:04x}:{:04x}] {board} {:02x}", ids.vendor, ids.device, ids.revision));
        let speed = function.link.map_or(0, |link| link.now.bytes_per_second()) as f64 / 1e9;
        add("pci_link_speed", &format!("{speed:.6}"));
    }

    /// Facts and objects below; false when there is nothing, so that the element can be closed at once.
    fn inside(&mut self, object: &Object, depth: usize, bridges: usize) -> bool {
        let system = if object.kind == Kind::Machine { &self.topology.infos[..] } else { &[] };
        let infos: Vec<&(String, String)> = object.infos.iter().chain(system).collect();
        let below = object.memory.iter().chain(&object.children).chain(&object.io).chain(&object.misc);
        let below: Vec<&Object> = below.collect();
        if infos.is_empty() && below.is_empty() {
            return false;
        }
        self.out.push_str(">\n");
        let indent = "  ".repeat(depth);
        for (name, value) in infos {
            let _ = writeln!(self.out, "{indent}<info name=\"{}\" value=\"{}\"/>", escaped(name), escaped(value));
        }
        let bridge = matches!(object.kind, Kind::HostBridge { .. } | Kind::PciBridge { .. });
        for child in below {
            self.object(child, depth, bridges + usize::from(bridge));
        }
        true
    }

    fn distances(&mut self) {
        for matrix in &self.topology.distances {
            let count = matrix.nodes.len();
            let name = escaped(&matrix.name);
            let _ = writeln!(self.out, "  <distances2 type=\"NUMANode\" nbobjs=\"{count}\" kind=\"5\" name=\"{name}\" indexing=\"os\">");
            let numbers = matrix.nodes.iter().map(|node| u64::from(*node)).collect::<Vec<u64>>();
            self.numbers("indexes", &numbers);
            self.numbers("u64values", &matrix.values);
            self.out.push_str("  </distances2>\n");
        }
    }

    /// Ten numbers an element, with the length of its text, as hwloc's own reader wants them.
    fn numbers(&mut self, element: &str, numbers: &[u64]) {
        for some in numbers.chunks(10) {
            let text: String = some.iter().map(|number| format!("{number} ")).collect();
            let _ = writeln!(self.out, "    <{element} length=\"{}\">{text}</{element}>", text.len());
        }
    }

    fn memory_values(&mut self) {
        for attribute in MemoryAttribute::ALL {
            let values: Vec<_> = self.topology.memory_values.iter().filter(|value| value.attribute == attribute).collect();
            let known: Vec<_> = values.iter().filter_map(|value| Some((self.nodes.get(&value.node)?, value))).collect();
            if known.is_empty() {
                continue;
            }
            // Bit 0: higher is better; bit 1: lower is; bit 2: seen from CPUs.
            let flags = if attribute.is_bandwidth() { 5 } else { 6 };
            let _ = writeln!(self.out, "  <memattr name=\"{}\" flags=\"{flags}\">", attribute.name());
            for (number, value) in known {
                let _ = writeln!(
                    self.out,
                    "    <memattr_value target_obj_gp_index=\"{number}\" target_obj_type=\"NUMANode\" value=\"{}\" initiator_cpuset=\"{}\"/>",
                    value.value,
                    mask(&value.initiator)
                );
            }
            self.out.push_str("  </memattr>\n");
        }
    }

    fn cpu_kinds(&mut self) {
        for kind in &self.topology.cpu_kinds {
            let _ = writeln!(self.out, "  <cpukind cpuset=\"{}\" forced_efficiency=\"{}\">", mask(&kind.cpus), kind.efficiency);
            for (name, value) in &kind.infos {
                let _ = writeln!(self.out, "    <info name=\"{}\" value=\"{}\"/>", escaped(name), escaped(value));
            }
            self.out.push_str("  </cpukind>\n");
        }
    }
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::HostBridge { .. } | Kind::PciBridge { .. } => "Bridge".into(),
        Kind::PciDevice { .. } => "PCIDev".into(),
        // The first level of data caches is written without its letter.
        Kind::Cache(cache) if cache.holds != CacheKind::Instruction => format!("L{}Cache", cache.level),
        other => other.type_name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_hwloc_reads_them() {
        for (list, text) in
            [("", "0x0"), ("0-3", "0x0000000f"), ("32", "0x00000001,0x00000000"), ("0,95", "0x80000000,0x00000000,0x00000001")]
        {
            assert_eq!(mask(&list.parse().unwrap()), text);
        }
    }

    #[test]
    fn every_element_is_closed_and_every_text_is_harmless() {
        let mut topology = Topology::default();
        topology.machine.infos.push(("Name".into(), "a<b> & \"c\"\u{1}\n".into()));
        topology.machine.insert(Object::of(Kind::Pu, Some(0), [0].into_iter().collect()));
        let text = document(&topology);
        assert!(text.contains("value=\"a&lt;b&gt; &amp; &quot;c&quot;?&#10;\""), "{text}");
        assert_eq!(text.matches("<object ").count(), text.matches("</object>").count() + text.matches("/>\n").count() - 1, "{text}");
        assert!(text.ends_with("</topology>\n"));
    }

    #[test]
    fn no_text_breaks_out_of_its_attribute() {
        let all: String = (0u32..0x300).chain(0xfff0..0x10010).filter_map(char::from_u32).collect();
        let safe = escaped(&all);
        assert!(!safe.contains(['<', '>', '"', '\n', '\u{0}', '\u{fffe}']));
        assert!(safe.contains('é'));
    }
}
