//! Evidence for [`machine::paths`]: ACS of the ports on the way, what the IOMMU does, what the drivers offer.

use crate::{Root, pci};
use flate2::read::GzDecoder;
use machine::paths::{Acs, PairEvidence, PathEnd, PathEvidence, PathReport, PortOnWay, Side, Translation, report};
use machine::{CpuKind, Device, LinkGraph, Machine, PciAddress, PciFunction, PciPort, PciTree, Vendor};
use std::collections::BTreeMap;
use std::io::Read;

const GROUPS: &str = "sys/kernel/iommu_groups";
/// A configuration space with the extended part.
const EXTENDED: usize = 4096;
/// More of either than any machine has; pairs grow with the square.
const MOST_ENDS: usize = 256;

/// The graph of what joins the devices and ports of a machine that was read from the same root.
pub fn links(root: &Root, machine: &Machine) -> LinkGraph {
    LinkGraph::of(machine, &pci::tree(root), &cpu_kind(root))
}

/// The topology file that NCCL reads from `NCCL_TOPO_FILE`.
pub fn nccl_text(root: &Root, machine: &Machine) -> String {
    machine::nccl::write(&links(root, machine))
}

/// What a scorer needs of the graph. A machine without accelerators has none, and is spared the look at its bus.
pub(crate) fn distances(root: &Root, machine: &Machine) -> machine::Distances {
    if machine.devices.is_empty() {
        return machine::Distances::default();
    }
    links(root, machine).distances()
}

/// Judges every pair of accelerators, and every accelerator with every network port.
pub fn paths(root: &Root, machine: &Machine) -> PathReport {
    let tree = pci::tree(root);
    let host = evidence(root, machine);
    let graph = LinkGraph::of(machine, &tree, &host.cpu);
    let mut reader = Reader { root, tree: &tree, machine, acs: BTreeMap::new() };
    let accelerators: Vec<&Device> = machine.devices.iter().filter(|device| device.slice.is_none()).take(MOST_ENDS).collect();
    let cards: Vec<Side> = accelerators.iter().map(|device| reader.accelerator(device)).collect();
    let undriven = machine::undriven(machine, &tree).map(|card| reader.port(&card.address.to_string(), 0, Some(card.address)));
    let ports = graph.ports.iter().map(|port| reader.port(&port.name, port.port, port.pci));
    let ports: Vec<Side> = ports.chain(undriven).take(MOST_ENDS).collect();
    let mut pairs = Vec::new();
    for (at, from) in cards.iter().enumerate() {
        for to in cards[at + 1..].iter().chain(&ports) {
            pairs.push(reader.pair(&graph, from, to));
        }
    }
    let end = |side: &Side| PathEnd { name: side.name.clone(), model: side.model.clone(), pci: side.pci, vendor: side.vendor };
    report(cards.iter().chain(&ports).map(end).collect(), &pairs, &host)
}

struct Reader<'a> {
    root: &'a Root,
    tree: &'a PciTree,
    machine: &'a Machine,
    acs: BTreeMap<PciAddress, Acs>,
}

impl Reader<'_> {
    fn accelerator(&self, device: &Device) -> Side {
        // A card without a link to a driver may still be judged by its place; the reason is said with the pair.
        let unusable = match &device.health {
            machine::Health::Ready => None,
            machine::Health::Unusable(why) => Some(why.clone()),
        };
        Side {
            vendor: Some(device.vendor),
            name: format!("{} {}", device.vendor, device.index),
            model: device.model.clone(),
            pci: device.pci,
            translation: self.translation(device.pci),
            unusable,
            has_rdma: false,
        }
    }

    fn port(&self, name: &str, number: u32, pci: Option<PciAddress>) -> Side {
        let port = self.machine.infiniband.iter().find(|port| port.device == name && port.port == number);
        let down = port.filter(|port| port.state != machine::PortState::Active).map(|port| format!("its port is {}", port.state));
        let model = pci.and_then(|at| self.tree.get(at)).and_then(|one| pci::product_name(one.ids.vendor, one.ids.device));
        let several = self.machine.infiniband.iter().filter(|port| port.device == name).count() > 1;
        Side {
            vendor: None,
            name: if several { format!("{name}/{number}") } else { name.to_owned() },
            model: model.unwrap_or_default().to_owned(),
            pci,
            translation: self.translation(pci),
            unusable: down,
            has_rdma: port.is_some(),
        }
    }

    fn translation(&self, at: Option<PciAddress>) -> Translation {
        let function = at.and_then(|at| self.tree.get(at));
        function.map_or(Translation::Unknown, |function| translation(self.root, function, &self.machine.facts.command_line))
    }

    fn pair(&mut self, graph: &LinkGraph, from: &Side, to: &Side) -> PairEvidence {
        let ends = from.pci.zip(to.pci);
        let way = ends.map(|(a, b)| graph.way(a, b)).unwrap_or_default();
        let ports = ends.map(|(a, b)| self.ports_between(a, b)).unwrap_or_default();
        PairEvidence { from: from.clone(), to: to.clone(), way, ports }
    }

    /// Bridges below the point where both sides meet whose ACS decides where requests go.
    fn ports_between(&mut self, a: PciAddress, b: PciAddress) -> Vec<PortOnWay> {
        let meet = self.tree.meet(a, b).map(|one| one.address);
        let mut found = Vec::new();
        for side in [a, b] {
            for bridge in self.tree.above(side) {
                if Some(bridge.address) == meet {
                    break;
                }
                // A switch's port towards the host redirects nothing.
                if bridge.port != Some(PciPort::Upstream) && !found.iter().any(|port: &PortOnWay| port.address == bridge.address) {
                    let acs = *self.acs.entry(bridge.address).or_insert_with(|| acs_of(self.root, &bridge.path));
                    found.push(PortOnWay { address: bridge.address, acs });
                }
            }
        }
        found
    }
}

/// What the IOMMU does to a function's addresses: by the type of its group, which says more than the command line, because the
/// kernel may decide otherwise for one device.
pub fn translation(root: &Root, function: &PciFunction, command_line: &str) -> Translation {
    match function.iommu_group {
        Some(group) => match root.text(&format!("{GROUPS}/{group}/type")).as_deref() {
            Some("identity") => Translation::Identity,
            Some("DMA" | "DMA-FQ" | "DMA-SQ") => Translation::Translating,
            _ => by_command_line(command_line),
        },
        // A kernel with IOMMUs shows the groups of all devices behind one.
        None if root.exists(GROUPS) => Translation::Off,
        None => by_command_line(command_line),
    }
}

fn by_command_line(line: &str) -> Translation {
    let has = |wanted: &[&str]| line.split_whitespace().any(|word| wanted.contains(&word));
    if has(&["iommu=off", "intel_iommu=off", "amd_iommu=off"]) {
        Translation::Off
    } else if has(&["iommu=pt", "iommu.passthrough=1"]) {
        Translation::Identity
    } else {
        Translation::Unknown
    }
}

fn acs_of(root: &Root, path: &str) -> Acs {
    let bytes = root.folder(path).and_then(|folder| folder.bytes("config", EXTENDED)).unwrap_or_default();
    match bytes.len() {
        // Conventional PCI has no such part.
        256 => Acs::Absent,
        EXTENDED => match pci::Config(&bytes).acs_redirects() {
            None => Acs::Absent,
            Some(true) => Acs::Redirects,
            Some(false) => Acs::Off,
        },
        _ => Acs::Unreadable,
    }
}

fn evidence(root: &Root, machine: &Machine) -> PathEvidence {
    let release = &machine.facts.kernel;
    let nvidia = machine.devices.iter().any(|device| device.vendor == Vendor::Nvidia);
    let version = root.text("proc/driver/nvidia/version");
    PathEvidence {
        kernel: kernel(release),
        virtualised: machine.facts.virtualised.clone(),
        cpu: cpu_kind(root),
        nvidia_open: version.filter(|_| nvidia).map(|text| text.contains("Open Kernel Module")),
        peermem: has_module(root, &["nvidia_peermem", "nv_peer_mem"]),
        dmabuf_built: kernel_config(root, release).map(|text| {
            ["CONFIG_DMABUF_MOVE_NOTIFY=y", "CONFIG_PCI_P2PDMA=y"].iter().all(|wanted| text.lines().any(|line| line.trim() == *wanted))
        }),
    }
}

/// `6.1.0-25-amd64`: 6 and 1.
fn kernel(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn has_module(root: &Root, names: &[&str]) -> Option<bool> {
    if let Some(list) = root.text("proc/modules") {
        return Some(list.lines().any(|line| line.split(' ').next().is_some_and(|name| names.contains(&name))));
    }
    let folder = "sys/module";
    root.exists(folder).then(|| names.iter().any(|name| root.exists(&format!("{folder}/{name}"))))
}

/// What the kernel was built with, where it says so.
pub(crate) fn kernel_config(root: &Root, release: &str) -> Option<String> {
    const LONGEST: u64 = 4 << 20;
    if release.contains('/') {
        return None;
    }
    if let Some(text) = root.text(&format!("boot/config-{release}")) {
        return Some(text);
    }
    let packed = root.bytes("proc/config.gz").ok()?;
    let mut text = String::new();
    GzDecoder::new(&packed[..]).take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The processor as its maker numbers it, from `/proc/cpuinfo`.
fn cpu_kind(root: &Root) -> CpuKind {
    let text = root.text("proc/cpuinfo").unwrap_or_default();
    // The first processor is enough: the others are of the same maker.
    let value = |wanted: &str| {
        let line = |line: &str| line.split_once(':').filter(|(key, _)| key.trim() == wanted).map(|(_, value)| value.trim().to_owned());
        text.lines().take(200).find_map(line)
    };
    let vendor = value("vendor_id").unwrap_or_default();
    let arch = match () {
        () if !vendor.is_empty() => "x86_64",
        () if value("CPU implementer").is_some() => "arm64",
        () if value("cpu").is_some_and(|name| name.starts_with("POWER")) => "ppc64",
        () => "",
    };
    let number = |key| value(key).and_then(|text| text.parse().ok());
    CpuKind { arch: arch.to_owned(), vendor, family: number("cpu family"), model: number("model") }
}
