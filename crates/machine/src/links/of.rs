//! The graph of a machine that was looked at, and what a scorer asks of it.

use super::{Accelerator, CpuKind, Distance, FabricDomain, HostPart, Link, LinkGraph, NetPort, Vertex};
use crate::{Device, DeviceId, InfinibandPort, LinkKind, Machine, PciAddress, PciFunction, PciPort, PciRate, PciTree};

/// Class of an InfiniBand controller (PCI Code and ID Assignment, network controller 02h, sub-class 07h).
const INFINIBAND: u16 = 0x0207;

impl LinkGraph {
    /// The graph of a machine: its memory nodes, devices and network ports, and the PCI switches between them.
    pub fn of(machine: &Machine, tree: &PciTree, cpu: &CpuKind) -> LinkGraph {
        let hosts = machine.numa.iter().map(|node| HostPart { numa: Some(node.id), cpus: node.cpus.clone(), cpu: cpu.clone() });
        let mut graph = LinkGraph { hosts: hosts.collect(), ..LinkGraph::default() };
        if graph.hosts.is_empty() {
            graph.hosts.push(HostPart { numa: None, cpus: machine.cpu_set(), cpu: cpu.clone() });
        }
        // A slice is where its card is.
        let whole = || machine.devices.iter().filter(|device| device.slice.is_none());
        for device in whole() {
            let Some(at) = device.pci else { continue };
            graph.place(tree, at, device.numa, cpu);
            graph.accelerators.push(Accelerator {
                pci: Some(at),
                id: Some(device.id.clone()),
                index: device.index,
                ..Accelerator::default()
            });
        }
        for port in &machine.infiniband {
            if let Some(at) = port.pci {
                graph.place(tree, at, port.numa, cpu);
            }
            let vertex = port.pci.and_then(|at| graph.position(at));
            graph.ports.push(NetPort { vertex, ..net_port(port, graph.ports.len()) });
        }
        for nic in machine.nics.iter().filter(|nic| nic.rdma.is_none() && nic.pci.is_some()) {
            let Some(at) = nic.pci else { continue };
            graph.place(tree, at, nic.numa, cpu);
            let speed_mbps = u64::from(nic.speed_mbps.unwrap_or_default());
            let index = graph.ports.len() as u32;
            let vertex = graph.position(at);
            graph.ports.push(NetPort { name: nic.name.clone(), pci: Some(at), vertex, index, speed_mbps, ..NetPort::default() });
        }
        // A card whose driver is missing has a place too: that it cannot be used is said for its pairs.
        for card in undriven(machine, tree) {
            graph.place(tree, card.address, card.numa, cpu);
        }
        graph.links = whole().flat_map(|device| links(machine, device)).collect();
        graph.domains = machine.domains();
        graph
    }

    /// Adds a function and the switches above it.
    fn place(&mut self, tree: &PciTree, at: PciAddress, numa: Option<u32>, cpu: &CpuKind) {
        if self.vertex(at).is_some() {
            return;
        }
        let Some(function) = tree.get(at) else { return };
        let host = self.host(numa.or(function.numa), cpu);
        let root_bus = tree.top(at).map(|top| (top.address.domain, top.address.bus));
        // From the top down, so that each finds the one above it.
        let mut parent = None;
        for one in switches(tree, at).into_iter().rev().chain([function]) {
            parent = self.position(one.address).or_else(|| {
                self.vertices.push(Vertex { address: one.address, host, parent, root_bus, ids: Some(one.ids), rate: one.link.map(usual) });
                Some(self.vertices.len() - 1)
            });
        }
    }

    fn position(&self, at: PciAddress) -> Option<usize> {
        self.vertices.iter().position(|vertex| vertex.address == at)
    }

    fn host(&mut self, numa: Option<u32>, cpu: &CpuKind) -> usize {
        let only = self.hosts.len() == 1;
        let known = self.hosts.iter().position(|host| host.numa == numa);
        known.or(only.then_some(0).filter(|_| numa.is_none())).unwrap_or_else(|| {
            self.hosts.push(HostPart { numa, cpu: cpu.clone(), ..HostPart::default() });
            self.hosts.len() - 1
        })
    }
}

/// InfiniBand cards on the bus that no RDMA device and no interface belongs to, because their driver is not loaded. Virtual
/// functions are left out: what a guest has of them is not the host's.
pub fn undriven<'a>(machine: &'a Machine, tree: &'a PciTree) -> impl Iterator<Item = &'a PciFunction> {
    let known =
        |at: PciAddress| machine.infiniband.iter().any(|port| port.pci == Some(at)) || machine.nics.iter().any(|nic| nic.pci == Some(at));
    let cards = tree.functions().iter().filter(|one| one.ids.class16() == INFINIBAND && one.sriov.physical.is_none());
    cards.filter(move |one| !known(one.address))
}

/// What a link runs at when there is work: cards lower the speed while idle, never the width.
fn usual(link: crate::PciLink) -> PciRate {
    let first = |a: u32, b: u32| if a > 0 { a } else { b };
    PciRate {
        mega_transfers: first(link.max.mega_transfers, link.now.mega_transfers),
        lanes: if link.now.lanes > 0 { link.now.lanes } else { link.max.lanes },
    }
}

/// The switches above a function, each as its port that faces the host, the nearest first.
fn switches(tree: &PciTree, at: PciAddress) -> Vec<&PciFunction> {
    let above = tree.above(at);
    if above.iter().any(|bridge| bridge.port.is_some()) {
        return above.into_iter().filter(|bridge| bridge.port == Some(PciPort::Upstream)).collect();
    }
    // Without the capabilities of bridges (an ordinary user cannot read them): a switch is two bridges in a row, and the last
    // bridge of all is the root port.
    let last = above.len().saturating_sub(1);
    above.into_iter().enumerate().filter(|(nth, _)| nth % 2 == 1 && *nth < last).map(|(_, bridge)| bridge).collect()
}

fn net_port(port: &InfinibandPort, index: usize) -> NetPort {
    NetPort {
        name: port.device.clone(),
        pci: port.pci,
        host: None,
        index: index as u32,
        speed_mbps: port.rate_mbps.unwrap_or_default(),
        port: port.port,
        guid: port.guid,
        ..NetPort::default()
    }
}

fn links(machine: &Machine, device: &Device) -> Vec<Link> {
    let Some(from) = device.pci else { return Vec::new() };
    let links = device.links.iter().filter(|link| link.kind != LinkKind::Pcie);
    let link = |link: &crate::PeerLink| {
        let to = match &link.to {
            Some(id) => Some(machine.device(id)?.pci?),
            None => None,
        };
        // A switch of links that has no address here still is one.
        let to_class = if to.is_none() { Some(SWITCH_OF_LINKS) } else { None };
        Some(Link { wire: link.kind, from, to, to_class, count: link.lanes.saturating_sub(link.down), mb_per_s: link.mb_per_s })
    };
    links.filter_map(link).collect()
}

/// PCI class of an NVSwitch: a bridge of another kind.
pub(super) const SWITCH_OF_LINKS: u32 = 0x06_8000;

impl Machine {
    /// The domains of links over several machines that devices of this one belong to, each clique once.
    pub fn domains(&self) -> Vec<FabricDomain> {
        let mut found: Vec<FabricDomain> = Vec::new();
        for device in self.devices.iter().filter(|device| device.slice.is_none()) {
            let Some(domain) = &device.domain else { continue };
            match found.iter_mut().find(|known| (&known.cluster, known.clique) == (&domain.cluster, domain.clique)) {
                Some(known) => {
                    known.members.push(device.id.clone());
                    known.ready &= domain.ready;
                }
                None => found.push(FabricDomain {
                    cluster: domain.cluster.clone(),
                    clique: domain.clique,
                    members: vec![device.id.clone()],
                    ready: domain.ready,
                }),
            }
        }
        found
    }

    /// How far two devices are from each other: links between them first, else the way over PCI. A slice is where its card
    /// is.
    pub fn distance(&self, a: &DeviceId, b: &DeviceId) -> Distance {
        let (Some(one), Some(other)) = (self.device(a), self.device(b)) else { return Distance::Unknown };
        if a == b || (one.pci.is_some() && one.pci == other.pci) {
            return Distance::Card;
        }
        if self.link_count(one, other) > 0 {
            return Distance::Link;
        }
        one.pci.zip(other.pci).map_or(Distance::Unknown, |(one, other)| self.distances.between(one, other))
    }

    /// Links side by side between two devices, direct or over a switch of links.
    pub fn link_count(&self, a: &Device, b: &Device) -> u32 {
        let up = |link: &crate::PeerLink| if link.kind == LinkKind::Pcie { 0 } else { link.lanes.saturating_sub(link.down) };
        let direct = |from: &Device, to: &Device| -> u32 {
            from.links.iter().filter(|link| link.to.as_ref() == Some(&to.id)).map(up).fold(0, u32::saturating_add)
        };
        let switched = |from: &Device| -> u32 { from.links.iter().filter(|link| link.to.is_none()).map(up).fold(0, u32::saturating_add) };
        direct(a, b).max(direct(b, a)).max(switched(a).min(switched(b)))
    }

    /// From a device to a network port: the name of a network interface or of an RDMA device.
    pub fn distance_to_port(&self, id: &DeviceId, port: &str) -> Distance {
        let Some(at) = self.device(id).and_then(|device| device.pci) else { return Distance::Unknown };
        let rdma = self.nics.iter().find(|nic| nic.name == port).and_then(|nic| nic.rdma.as_deref());
        self.distances.to_port(at, rdma.unwrap_or(port))
    }

    /// The network interface nearest to a device, no farther than its memory node: among equals one for RDMA, then one that
    /// is up, then the first.
    pub fn nearest_nic(&self, device: &Device) -> Option<String> {
        // A slice is where its card is.
        let card = device.slice.as_ref().and_then(|slice| self.device(&slice.parent)).and_then(|card| card.pci);
        let at = card.or(device.pci)?;
        let rank = |nic: &crate::Nic| {
            let distance = self.distances.to_port(at, nic.rdma.as_deref().unwrap_or(&nic.name));
            (distance <= Distance::Node).then_some((distance, nic.rdma.is_none(), !nic.up))
        };
        let ranked = self.nics.iter().filter_map(|nic| Some((rank(nic)?, nic)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, nic)| nic.name.clone())
    }
}
