//! The whole machine as a tree, down to caches, memory attributes and devices of the operating system.
//!
//! [`crate::probe`] reads what placement needs; this reads everything the kernel shows. The rules are hwloc's, so that
//! both tell the same of one machine: `tests/hwloc.rs` compares them.

mod cpus;
mod device_tree;
mod kinds;
mod knl;
mod modules;
mod nodes;
mod os_devices;
mod storage;
mod system;
mod tiers;

use crate::cgroup::Cgroups;
use crate::{HostError, Root, pci};
use machine::topology::{Keep, Kind, Object, PciLocality, Topology, arrange_pci, drop_bare_bridges};
use machine::{CpuSet, PciBuses, PciFunction};

/// What of the machine is wanted. The default is what a person looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub io: Io,
    /// Level 1 to 3 caches that hold instructions only.
    pub instruction_caches: bool,
    /// Leave out every level that adds no structure, not only groups.
    pub merge: bool,
    /// Show CPUs and memory that control groups keep from this process.
    pub disallowed: bool,
    /// Believe nodes that claim the same CPUs.
    pub overlapping_nodes: bool,
    /// Show memory nodes that are an accelerator's own memory.
    pub device_memory: bool,
    /// Which buses are near to which CPUs, where firmware lies.
    pub pci_locality: Vec<PciLocality>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            io: Io::Important,
            instruction_caches: true,
            merge: false,
            disallowed: false,
            overlapping_nodes: false,
            device_memory: false,
            pci_locality: Vec::new(),
        }
    }
}

/// Which devices hang in the tree. [`Topology::pci`] always has the whole bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    Nothing,
    /// Displays, networks, storage, accelerators, CXL memory, and the bridges above them.
    Important,
    /// Everything on the bus, USB and DMA engines too.
    All,
}

/// Reads the machine below `root` in full. What cannot be read is missing from the picture and named in
/// [`Topology::findings`].
///
/// # Errors
/// When no CPU is found.
pub fn survey(root: &Root, options: &Options) -> Result<Topology, HostError> {
    let mut topology = Topology::default();
    let system = system::System::read(root);
    let groups = Cgroups::read(root);
    let (cpus, nodes) = groups.given(root);
    cpus::look(root, options, &system, &mut topology)?;
    nodes::look(root, options, &system, &mut topology);
    topology.machine.spread_nodes();
    restrict(options, cpus, nodes, &mut topology);
    topology.machine.spread_nodes();
    if options.io != Io::Nothing {
        look_at_devices(root, options, &mut topology);
    }
    // Groups made for devices are in the tree now too.
    topology.machine.spread_nodes();
    topology.machine.drop_empty();
    let keep = |kind: &Kind| match kind {
        Kind::Group { .. } => Keep::Structure,
        _ if options.merge => Keep::Structure,
        _ => Keep::All,
    };
    topology.machine.merge_levels(keep);
    nodes::finish(&mut topology);
    tiers::fill(root, &mut topology);
    kinds::fill(root, &system, &mut topology);
    system.describe(root, groups.cpuset_name(), &mut topology);
    findings(root, &mut topology);
    Ok(topology)
}

/// Takes out what control groups keep from this process. A limit that leaves nothing is damage, and is not applied.
fn restrict(options: &Options, cpus: Option<CpuSet>, nodes: Option<CpuSet>, topology: &mut Topology) {
    let machine = &mut topology.machine;
    let usable = |limit: Option<CpuSet>, all: &CpuSet| limit.map(|limit| limit.intersection(all)).filter(|set| !set.is_empty());
    topology.allowed_cpus = usable(cpus, &machine.cpus).unwrap_or_else(|| machine.cpus.clone());
    topology.allowed_nodes = usable(nodes, &machine.complete_nodes).unwrap_or_else(|| machine.complete_nodes.clone());
    if !options.disallowed {
        machine.restrict(&topology.allowed_cpus, &topology.allowed_nodes);
    }
}

fn look_at_devices(root: &Root, options: &Options, topology: &mut Topology) {
    topology.pci = pci::tree(root);
    topology.iommu_types = iommu_types(root, &topology.pci);
    let all = options.io == Io::All;
    let wanted = |function: &PciFunction| {
        // A bridge whose buses make no sense leads nowhere.
        function.class16() != 0x0604 && (all || is_important(function.class16()))
    };
    let near = |function: &PciFunction, buses: PciBuses| {
        let covers = |place: &&PciLocality| {
            let apart = place.last_bus < buses.secondary || place.first_bus > buses.subordinate;
            place.domain == function.address.domain && !apart
        };
        let told = options.pci_locality.iter().find(covers).map(|place| place.cpus.clone());
        told.or_else(|| function.local_cpus.clone().filter(|cpus| !cpus.is_empty()))
    };
    arrange_pci(&mut topology.machine, &topology.pci, wanted, near);
    options.pci_locality.iter().for_each(|place| topology.machine.insert_io_group(&place.cpus));
    os_devices::look(root, options, topology);
    topology.machine.misc.extend(modules::modules(root));
    if !all {
        drop_bare_bridges(&mut topology.machine, &topology.pci);
    }
}

/// Classes of hwloc's filter for important PCI devices.
fn is_important(class: u16) -> bool {
    matches!(class >> 8, 0x00..=0x03 | 0x06 | 0x0b | 0x12) || matches!(class, 0x0502 | 0x0c04 | 0x0c06)
}

fn findings(root: &Root, topology: &mut Topology) {
    let unread = root.unread();
    let more = unread.count.saturating_sub(unread.files.len());
    topology.findings.extend(unread.files.into_iter().map(|(path, why)| format!("{path}: {why}")));
    if more > 0 {
        topology.findings.push(format!("{more} more files or reads failed"));
    }
}

/// An object of the operating system's numbering: `-1` and other signs of not knowing are `None`.
fn numbered(kind: Kind, number: Option<i64>, cpus: CpuSet) -> Object {
    Object::of(kind, number.and_then(|number| u32::try_from(number).ok()), cpus)
}

/// Types of the IOMMU groups that functions of the bus are in (Documentation/ABI/testing/sysfs-kernel-iommu_groups).
fn iommu_types(root: &Root, tree: &machine::PciTree) -> std::collections::BTreeMap<u32, String> {
    let mut groups: Vec<u32> = tree.functions().iter().filter_map(|function| function.iommu_group).collect();
    groups.sort_unstable();
    groups.dedup();
    let kind = |group: u32| Some((group, root.text(&format!("sys/kernel/iommu_groups/{group}/type"))?));
    groups.into_iter().filter_map(kind).collect()
}
