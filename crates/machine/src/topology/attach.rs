//! Hanging the PCI tree and the devices of the operating system beside the CPUs they are near to.

use super::object::{GroupKind, Kind, Object};
use crate::{CpuSet, PciAddress, PciBuses, PciFunction, PciTree};

/// What a person says of buses whose firmware lies: these buses are near to these CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PciLocality {
    pub domain: u32,
    pub first_bus: u8,
    pub last_bus: u8,
    pub cpus: CpuSet,
}

/// A bridge or device of the tree being built.
struct Branch<'t> {
    function: &'t PciFunction,
    below: Vec<Branch<'t>>,
}

impl Branch<'_> {
    fn object(&self) -> Object {
        let address = self.function.address;
        let kind = if self.function.bridge.is_some() { Kind::PciBridge { address } } else { Kind::PciDevice { address } };
        let slot = self.function.slot.iter().map(|slot| ("PCISlot".to_owned(), slot.clone()));
        Object { kind, io: self.below.iter().map(Branch::object).collect(), infos: slot.collect(), ..Object::default() }
    }

    fn holds(&self, address: PciAddress) -> bool {
        self.function.bridge.is_some_and(|buses| {
            self.function.address.domain == address.domain && (buses.secondary..=buses.subordinate).contains(&address.bus)
        })
    }
}

/// Puts `function` into sorted branches by the buses that bridges claim.
fn plant<'t>(branches: &mut Vec<Branch<'t>>, function: &'t PciFunction) {
    let address = function.address;
    if let Some(bridge) = branches.iter_mut().find(|branch| branch.holds(address)) {
        return plant(&mut bridge.below, function);
    }
    let mut new = Branch { function, below: Vec::new() };
    if function.bridge.is_none() {
        let place = branches.partition_point(|branch| branch.function.address < address);
        return branches.insert(place, new);
    }
    let mut kept = Vec::with_capacity(branches.len() + 1);
    for branch in branches.drain(..) {
        if new.holds(branch.function.address) { new.below.push(branch) } else { kept.push(branch) }
    }
    let place = kept.partition_point(|branch| branch.function.address < address);
    kept.insert(place, new);
    *branches = kept;
}

/// Puts the functions that `wanted` names, and all bridges, below host bridges, and each host bridge beside the CPUs near to it. `near` tells them of the first function on
/// the root bus, given all buses below it.
pub fn arrange_pci(
    machine: &mut Object,
    tree: &PciTree,
    wanted: impl Fn(&PciFunction) -> bool,
    near: impl Fn(&PciFunction, PciBuses) -> Option<CpuSet>,
) {
    let mut branches = Vec::new();
    for function in tree.functions().iter().filter(|function| function.bridge.is_some() || wanted(function)) {
        plant(&mut branches, function);
    }
    let mut rest = branches.into_iter().peekable();
    while let Some(first) = rest.next() {
        let (at, function) = (first.function.address, first.function);
        let mut subordinate = at.bus.max(first.function.bridge.map_or(0, |buses| buses.subordinate));
        let mut below = vec![first];
        while let Some(next) = rest.next_if(|next| (next.function.address.domain, next.function.address.bus) == (at.domain, at.bus)) {
            subordinate = subordinate.max(next.function.bridge.map_or(0, |buses| buses.subordinate));
            below.push(next);
        }
        let kind = Kind::HostBridge { domain: at.domain, secondary: at.bus, subordinate };
        let bridge = Object { kind, io: below.iter().map(Branch::object).collect(), ..Object::default() };
        let nearest = near(function, PciBuses { secondary: at.bus, subordinate });
        let everything = machine.complete_cpus.clone();
        let path = machine.io_parent(&nearest.unwrap_or(everything));
        machine.at_mut(&path).io.push(bridge);
    }
}

impl Object {
    /// Makes a group for devices that are near to just these CPUs, where no object has them.
    pub fn insert_io_group(&mut self, cpus: &CpuSet) {
        self.io_parent(cpus);
    }

    /// The object of just these CPUs; a group is made where there is none.
    pub(super) fn io_parent(&mut self, cpus: &CpuSet) -> Vec<usize> {
        let cpus = cpus.intersection(&self.complete_cpus);
        if cpus.is_empty() {
            return Vec::new();
        }
        let path = self.covering(&cpus);
        let parent = self.at(&path);
        if parent.complete_cpus == cpus {
            return path;
        }
        let mut group = Object::of(Kind::Group { group: GroupKind::Io }, None, cpus.clone());
        group.cpus = cpus.intersection(&self.cpus);
        self.at_mut(&path).insert(group);
        self.covering(&cpus)
    }

    /// The outermost object of just these CPUs, else the innermost around them.
    pub(super) fn covering(&self, cpus: &CpuSet) -> Vec<usize> {
        let mut path = Vec::new();
        let mut here = self;
        while here.complete_cpus != *cpus {
            let Some((at, child)) = here.children.iter().enumerate().find(|(_, child)| cpus.is_subset(&child.complete_cpus)) else {
                break;
            };
            path.push(at);
            here = child;
        }
        path
    }

    /// The object of a PCI function, or the bridge that its bus hangs below.
    fn pci_object(&mut self, tree: &PciTree, wanted: PciAddress) -> Option<&mut Object> {
        let above: Vec<PciAddress> =
            std::iter::once(wanted).chain(tree.above(wanted).into_iter().map(|function| function.address)).collect();
        above.iter().find(|address| self.has_pci(**address)).copied().and_then(|address| self.find_pci(address))
    }

    fn has_pci(&self, wanted: PciAddress) -> bool {
        let own = matches!(self.kind, Kind::PciDevice { address } | Kind::PciBridge { address } if address == wanted);
        own || self.io.iter().chain(&self.children).any(|object| object.has_pci(wanted))
    }

    fn find_pci(&mut self, wanted: PciAddress) -> Option<&mut Object> {
        if matches!(self.kind, Kind::PciDevice { address } | Kind::PciBridge { address } if address == wanted) {
            return Some(self);
        }
        self.io.iter_mut().chain(&mut self.children).find_map(|object| object.find_pci(wanted))
    }
}

/// Hangs a device of the operating system below its PCI function, else beside the CPUs near to it.
pub fn place_os_device(
    machine: &mut Object,
    tree: &PciTree,
    function: Option<PciAddress>,
    node: Option<u32>,
    cpus: Option<&CpuSet>,
    device: Object,
) {
    if let Some(object) = function.and_then(|address| machine.pci_object(tree, address)) {
        return object.io.push(device);
    }
    // A function that is not in the tree still tells where it is.
    let of_function = function.and_then(|address| tree.get(address)?.local_cpus.clone()).filter(|cpus| !cpus.is_empty());
    let of_node = || Some(machine.node_cpus(node?)).filter(|cpus| !cpus.is_empty());
    let path = match of_function.or_else(of_node).or_else(|| cpus.cloned()) {
        Some(cpus) => machine.io_parent(&cpus),
        None => Vec::new(),
    };
    machine.at_mut(&path).io.push(device);
}

/// Drops bridges with nothing below, and functions of a bridge class with nothing below.
pub fn drop_bare_bridges(machine: &mut Object, tree: &PciTree) {
    let bridge_class = |address| tree.get(address).is_some_and(|function| function.class16() >> 8 == 0x06);
    machine.children.iter_mut().for_each(|child| drop_bare_bridges(child, tree));
    machine.io.iter_mut().for_each(|child| drop_bare_bridges(child, tree));
    machine.io.retain(|object| {
        !object.io.is_empty()
            || match object.kind {
                Kind::HostBridge { .. } | Kind::PciBridge { .. } => false,
                Kind::PciDevice { address } => !bridge_class(address),
                _ => true,
            }
    });
}

impl Object {
    fn node_cpus(&self, number: u32) -> CpuSet {
        let own = self.memory.iter().any(|memory| memory.complete_nodes.contains(number));
        if own {
            return self.complete_cpus.clone();
        }
        self.children.iter().map(|child| child.node_cpus(number)).find(|cpus| !cpus.is_empty()).unwrap_or_default()
    }
}
