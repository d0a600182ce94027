//! Topology files of NCCL and RCCL (`NCCL_TOPO_FILE`, `NCCL_TOPO_DUMP_FILE`), read and written.
//!
//! The format is that of NCCL 2.x `src/graph/xml.cc`: `system` holds a `cpu` for each memory node, that a tree of `pci`,
//! those a `gpu` with its links, or a `nic` with its `net` ports.

use super::{Accelerator, CpuKind, HostPart, Link, LinkGraph, NetPort, Vertex};
use crate::{CpuSet, LinkKind, PciAddress, PciIds, PciRate};
use roxmltree::{Document, Node, ParsingOptions};
use std::fmt::Write;

/// The largest file read: 50 times that of a machine with 16 accelerators.
pub const LARGEST: usize = 1 << 20;
const MOST_NODES: u32 = 50_000;
/// Nested switches; NCCL itself stops far earlier.
const DEEPEST: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NcclError {
    #[error("the file holds more than {LARGEST} bytes")]
    TooLarge,
    #[error("not XML: {0}")]
    NotXml(String),
    #[error("line {line}: {what}")]
    Wrong { line: u32, what: String },
}

impl NcclError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        "NCCL writes such a file itself: start a program with NCCL_TOPO_DUMP_FILE=topo.xml"
    }
}

/// Reads a topology file. Attributes and elements that are not of the format are passed over.
///
/// # Errors
/// When it is too large, no XML, no topology, or an address in it does not read.
pub fn read(text: &str) -> Result<LinkGraph, NcclError> {
    if text.len() > LARGEST {
        return Err(NcclError::TooLarge);
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| NcclError::NotXml(error.to_string()))?;
    let mut reader = Reader { document: &document, graph: LinkGraph::default() };
    let system = document.root_element();
    if system.tag_name().name() != "system" {
        return Err(reader.wrong(system, format!("the file begins with <{}>, a topology with <system>", system.tag_name().name())));
    }
    for cpu in elements(system).filter(|node| node.has_tag_name("cpu")) {
        reader.cpu(cpu)?;
    }
    Ok(reader.graph)
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

struct Reader<'a, 'i> {
    document: &'a Document<'i>,
    graph: LinkGraph,
}

impl Reader<'_, '_> {
    fn wrong(&self, node: Node, what: String) -> NcclError {
        NcclError::Wrong { line: self.document.text_pos_at(node.range().start).row, what }
    }

    fn address(&self, node: Node, name: &str) -> Result<PciAddress, NcclError> {
        let text = node.attribute(name).unwrap_or_default();
        text.parse().map_err(|error: crate::PciAddressError| self.wrong(node, format!("{name}: {error}")))
    }

    fn cpu(&mut self, node: Node) -> Result<(), NcclError> {
        let text = |name| node.attribute(name).unwrap_or_default().to_owned();
        self.graph.hosts.push(HostPart {
            numa: number(node, "numaid"),
            cpus: node.attribute("affinity").and_then(mask).unwrap_or_default(),
            cpu: CpuKind { arch: text("arch"), vendor: text("vendor"), family: number(node, "familyid"), model: number(node, "modelid") },
        });
        for child in elements(node) {
            match child.tag_name().name() {
                "pci" => self.pci(child, None, 0)?,
                "nic" => self.nic(child, None, None),
                _ => {}
            }
        }
        Ok(())
    }

    fn pci(&mut self, node: Node, parent: Option<usize>, depth: usize) -> Result<(), NcclError> {
        if depth > DEEPEST {
            return Err(self.wrong(node, format!("more than {DEEPEST} PCI switches in a row")));
        }
        let address = self.address(node, "busid")?;
        // Switches and cards of files written for virtual machines may share an address; accelerators may not, because their
        // links are told by it.
        let is_accelerator = elements(node).any(|child| child.has_tag_name("gpu"));
        if is_accelerator && self.graph.vertex(address).is_some() {
            return Err(self.wrong(node, format!("{address} is there twice")));
        }
        let host = self.graph.hosts.len().saturating_sub(1);
        self.graph.vertices.push(Vertex { address, host, parent, root_bus: None, ids: ids(node), rate: rate(node) });
        let own = Some(self.graph.vertices.len() - 1);
        for child in elements(node) {
            match child.tag_name().name() {
                "pci" => self.pci(child, own, depth + 1)?,
                "gpu" => self.gpu(child, address)?,
                "nic" => self.nic(child, Some(address), own),
                _ => {}
            }
        }
        Ok(())
    }

    fn gpu(&mut self, node: Node, pci: PciAddress) -> Result<(), NcclError> {
        self.graph.accelerators.push(Accelerator {
            pci: Some(pci),
            id: None,
            index: number(node, "dev").unwrap_or_default(),
            rank: number(node, "rank"),
            sm: number(node, "sm"),
            gcn: node.attribute("gcn").map(str::to_owned),
            arch: number(node, "arch"),
            gdr: flag(node, "gdr"),
        });
        for child in elements(node) {
            let wire = match child.tag_name().name() {
                "nvlink" => LinkKind::Nvlink,
                "xgmi" => LinkKind::Xgmi,
                "c2c" => LinkKind::C2c,
                _ => continue,
            };
            let to = if wire == LinkKind::C2c { None } else { Some(self.address(child, "target")?) };
            // C2C says its bandwidth in MB/s for each link.
            let each: Option<u64> = child.attribute("bw").and_then(|text| text.parse().ok());
            let count = number(child, "count").unwrap_or(1);
            let mb_per_s = each.map(|each| each.saturating_mul(u64::from(count)));
            self.graph.links.push(Link { wire, from: pci, to, to_class: hexadecimal(child, "tclass"), count, mb_per_s });
        }
        Ok(())
    }

    fn nic(&mut self, node: Node, pci: Option<PciAddress>, vertex: Option<usize>) {
        for net in elements(node).filter(|node| node.has_tag_name("net")) {
            self.graph.ports.push(NetPort {
                name: net.attribute("name").unwrap_or_default().to_owned(),
                pci,
                vertex,
                host: if pci.is_none() { Some(self.graph.hosts.len().saturating_sub(1)) } else { None },
                index: number(net, "dev").unwrap_or_default(),
                speed_mbps: net.attribute("speed").and_then(|text| text.parse().ok()).unwrap_or_default(),
                port: number(net, "port").unwrap_or_default(),
                guid: net.attribute("guid").and_then(|text| u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()),
                most_connections: number(net, "maxconn"),
                latency: net.attribute("latency").map(str::to_owned),
                gdr: flag(net, "gdr"),
                collective: flag(net, "coll"),
            });
        }
    }
}

fn number(node: Node, name: &str) -> Option<u32> {
    node.attribute(name)?.trim().parse().ok()
}

fn flag(node: Node, name: &str) -> Option<bool> {
    number(node, name).map(|number| number != 0)
}

fn hexadecimal(node: Node, name: &str) -> Option<u32> {
    let text = node.attribute(name)?.trim();
    u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

fn ids(node: Node) -> Option<PciIds> {
    let class = hexadecimal(node, "class")?;
    let id = |name| hexadecimal(node, name).unwrap_or_default() as u16;
    Some(PciIds {
        vendor: id("vendor"),
        device: id("device"),
        subsystem_vendor: id("subsystem_vendor"),
        subsystem_device: id("subsystem_device"),
        revision: 0,
        class,
    })
}

fn rate(node: Node) -> Option<PciRate> {
    let lanes: u8 = number(node, "link_width")?.try_into().ok().filter(|lanes| *lanes <= 32)?;
    let speed = node.attribute("link_speed").and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    let mega_transfers = speed.filter(|speed| *speed > 0.0 && *speed < 10_000.0).map_or(0, |speed| (speed * 1000.0).round() as u32);
    Some(PciRate { mega_transfers, lanes })
}

/// A mask of CPUs in groups of 32 bits, the highest first.
fn mask(text: &str) -> Option<CpuSet> {
    let groups: Vec<&str> = text.split(',').collect();
    if groups.len() > 256 {
        return None;
    }
    let mut set = CpuSet::new();
    for (group, digits) in groups.iter().rev().enumerate() {
        let bits = u32::from_str_radix(digits.trim(), 16).ok()?;
        (0..32).filter(|bit| bits >> bit & 1 == 1).for_each(|bit| set.insert(group as u32 * 32 + bit));
    }
    Some(set)
}

fn mask_text(set: &CpuSet) -> String {
    let most = set.iter().max().unwrap_or(0);
    let mut groups = vec![0u32; (most / 32 + 1) as usize];
    for cpu in set.iter() {
        groups[(cpu / 32) as usize] |= 1 << (cpu % 32);
    }
    groups.iter().rev().map(|bits| format!("{bits:08x}")).collect::<Vec<_>>().join(",")
}

/// Writes a topology file that NCCL and RCCL read.
pub fn write(graph: &LinkGraph) -> String {
    let mut out = Writer { text: String::new(), graph };
    out.text.push_str("<system version=\"1\">\n");
    for (at, host) in graph.hosts.iter().enumerate() {
        out.host(at, host);
    }
    out.text.push_str("</system>\n");
    out.text
}

struct Writer<'g> {
    text: String,
    graph: &'g LinkGraph,
}

impl Writer<'_> {
    fn open(&mut self, depth: usize, name: &str, attributes: &[(&str, Option<String>)], empty: bool) {
        let _ = write!(self.text, "{}<{name}", "  ".repeat(depth));
        for (name, value) in attributes {
            if let Some(value) = value {
                let _ = write!(self.text, " {name}=\"{}\"", escaped(value));
            }
        }
        self.text.push_str(if empty { "/>\n" } else { ">\n" });
    }

    fn close(&mut self, depth: usize, name: &str) {
        let _ = writeln!(self.text, "{}</{name}>", "  ".repeat(depth));
    }

    fn host(&mut self, at: usize, host: &HostPart) {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let attributes = [
            ("numaid", Some(host.numa.map_or(-1, i64::from).to_string())),
            ("affinity", (!host.cpus.is_empty()).then(|| mask_text(&host.cpus))),
            ("arch", text(&host.cpu.arch)),
            ("vendor", text(&host.cpu.vendor)),
            ("familyid", host.cpu.family.map(|number| number.to_string())),
            ("modelid", host.cpu.model.map(|number| number.to_string())),
        ];
        self.open(1, "cpu", &attributes, false);
        let graph = self.graph;
        for (position, vertex) in graph.vertices.iter().enumerate().filter(|(_, vertex)| vertex.host == at && vertex.parent.is_none()) {
            self.vertex(position, vertex, 2);
        }
        let bare: Vec<&NetPort> = graph.ports.iter().filter(|port| port.pci.is_none() && port.host == Some(at)).collect();
        self.ports(&bare, 2);
        self.close(1, "cpu");
    }

    fn vertex(&mut self, position: usize, vertex: &Vertex, depth: usize) {
        // A graph that was not read from a file may hold anything.
        if depth > DEEPEST + 2 {
            return;
        }
        let id = |of: fn(&PciIds) -> u16| vertex.ids.as_ref().map(|ids| format!("{:#06x}", of(ids)));
        let attributes = [
            ("busid", Some(vertex.address.to_string())),
            ("class", vertex.ids.map(|ids| format!("{:#08x}", ids.class))),
            ("vendor", id(|ids| ids.vendor)),
            ("device", id(|ids| ids.device)),
            ("subsystem_vendor", id(|ids| ids.subsystem_vendor)),
            ("subsystem_device", id(|ids| ids.subsystem_device)),
            ("link_speed", vertex.rate.filter(|rate| rate.mega_transfers > 0).map(speed_text)),
            ("link_width", vertex.rate.map(|rate| rate.lanes.to_string())),
        ];
        let graph = self.graph;
        let below: Vec<(usize, &Vertex)> = graph.vertices.iter().enumerate().filter(|(_, other)| other.parent == Some(position)).collect();
        let devices: Vec<&Accelerator> = graph.accelerators.iter().filter(|one| one.pci == Some(vertex.address)).collect();
        let ports: Vec<&NetPort> = graph.ports.iter().filter(|port| port.vertex == Some(position)).collect();
        let empty = below.is_empty() && devices.is_empty() && ports.is_empty();
        self.open(depth, "pci", &attributes, empty);
        if empty {
            return;
        }
        below.into_iter().for_each(|(position, vertex)| self.vertex(position, vertex, depth + 1));
        devices.into_iter().for_each(|device| self.device(device, vertex.address, depth + 1));
        self.ports(&ports, depth + 1);
        self.close(depth, "pci");
    }

    fn device(&mut self, device: &Accelerator, address: PciAddress, depth: usize) {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let attributes = [
            ("dev", Some(device.index.to_string())),
            ("sm", number(device.sm)),
            ("gcn", device.gcn.clone()),
            ("arch", number(device.arch)),
            ("rank", number(device.rank)),
            ("gdr", device.gdr.map(bit)),
        ];
        let links: Vec<&Link> = self.graph.links.iter().filter(|link| link.from == address).collect();
        // The format has no word for links of other makers.
        let name = |wire| match wire {
            LinkKind::Nvlink => Some("nvlink"),
            LinkKind::Xgmi => Some("xgmi"),
            LinkKind::C2c => Some("c2c"),
            LinkKind::Hccs | LinkKind::Sio | LinkKind::Pcie => None,
        };
        let named: Vec<(&str, &Link)> = links.into_iter().filter_map(|link| Some((name(link.wire)?, link))).collect();
        self.open(depth, "gpu", &attributes, named.is_empty());
        for (name, link) in &named {
            let each = link.mb_per_s.map(|all| all / u64::from(link.count.max(1)));
            let attributes = [
                ("target", link.to.map(|to| to.to_string())),
                ("bw", each.filter(|_| link.wire == LinkKind::C2c).map(|each| each.to_string())),
                ("count", Some(link.count.to_string())),
                ("tclass", link.to_class.map(|class| format!("{class:#08x}"))),
            ];
            self.open(depth + 1, name, &attributes, true);
        }
        if !named.is_empty() {
            self.close(depth, "gpu");
        }
    }

    fn ports(&mut self, ports: &[&NetPort], depth: usize) {
        if ports.is_empty() {
            return;
        }
        self.open(depth, "nic", &[], false);
        for port in ports {
            let attributes = [
                ("name", Some(port.name.clone())),
                ("dev", Some(port.index.to_string())),
                ("speed", Some(port.speed_mbps.to_string())),
                ("port", Some(port.port.to_string())),
                ("latency", port.latency.clone()),
                ("guid", port.guid.map(|guid| format!("{guid:#x}"))),
                ("maxconn", port.most_connections.map(|number| number.to_string())),
                ("gdr", port.gdr.map(bit)),
                ("coll", port.collective.map(bit)),
            ];
            self.open(depth + 1, "net", &attributes, true);
        }
        self.close(depth, "nic");
    }
}

fn bit(on: bool) -> String {
    u8::from(on).to_string()
}

/// As the kernel prints it, which is what NCCL compares with.
fn speed_text(rate: PciRate) -> String {
    format!("{:.1} GT/s PCIe", f64::from(rate.mega_transfers) / 1000.0)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Not allowed in XML 1.0 at all.
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
