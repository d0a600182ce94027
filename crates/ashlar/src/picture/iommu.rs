//! What the IOMMU does: how many groups of which type, and which devices share one and so can only be handed out together.

use super::hardware::{Hardware, text};
use super::line::{Line, Paint};
use super::{flowed, framed};
use machine::PciFunction;
use machine::topology::Topology;
use std::collections::BTreeMap;

/// Groups of several devices that are told one by one; all are in the JSON.
const MOST_SHARED: usize = 12;

/// All groups of a machine.
pub struct Groups {
    pub count: usize,
    /// What their types mean, and how many there are of each.
    pub types: BTreeMap<String, usize>,
    /// Groups of several cards, with the addresses in each.
    pub shared: Vec<(u32, String)>,
    /// Shared groups beyond those.
    pub more: usize,
}

impl Groups {
    /// `None` where the kernel has no groups.
    pub fn of(topology: &Topology) -> Option<Groups> {
        let mut groups: BTreeMap<u32, Vec<&PciFunction>> = BTreeMap::new();
        for function in topology.pci.functions() {
            if let Some(group) = function.iommu_group {
                groups.entry(group).or_default().push(function);
            }
        }
        let mut types: BTreeMap<String, usize> = BTreeMap::new();
        for group in groups.keys() {
            *types.entry(topology.iommu_types.get(group).map_or("of unknown type", |kind| meaning(kind)).to_owned()).or_default() += 1;
        }
        let one_domain = topology.pci.functions().iter().all(|function| function.address.domain == 0);
        let mut shared: Vec<(u32, String)> =
            groups.iter().filter_map(|(group, functions)| Some((*group, together(functions, one_domain)?))).collect();
        let more = shared.len().saturating_sub(MOST_SHARED);
        shared.truncate(MOST_SHARED);
        (!groups.is_empty()).then_some(Groups { count: groups.len(), types, shared, more })
    }
}

impl Hardware<'_> {
    pub(super) fn iommu(&self) -> Vec<Line> {
        let Some(groups) = Groups::of(self.topology) else { return Vec::new() };
        let parts = groups.types.iter().map(|(kind, count)| text(Paint::Plain, format!("{count} {kind}")));
        let mut inside = flowed(parts.collect(), ", ", self.style.width - 4);
        inside.extend(groups.shared.iter().map(|(group, names)| text(Paint::Plain, format!("group {group} is shared: {names}"))));
        if groups.more > 0 {
            inside.push(text(Paint::Faint, format!("and {} more groups of several devices, see --json", groups.more)));
        }
        let plural = if groups.count == 1 { "" } else { "s" };
        framed(self.style, text(Paint::Strong, format!("IOMMU  {} group{plural}", groups.count)), inside)
    }
}

/// Words of the kernel (Documentation/ABI/testing/sysfs-kernel-iommu_groups), and what they mean.
fn meaning(kind: &str) -> &str {
    match kind {
        "identity" => "identity (addresses pass as they are)",
        "DMA" => "DMA (translated, strict)",
        "DMA-FQ" => "DMA-FQ (translated, flushed lazily)",
        "DMA-SQ" => "DMA-SQ (translated, one queue)",
        "blocked" => "blocked",
        other => other,
    }
}

/// Addresses of a group's devices where they are of several cards, bridges left out.
fn together(functions: &[&PciFunction], one_domain: bool) -> Option<String> {
    let devices: Vec<String> = functions
        .iter()
        .filter(|function| function.bridge.is_none() && function.class16() >> 8 != 0x06)
        .map(|function| function.address.to_string())
        .map(|address| if one_domain { address.split_once(':').map_or(address.clone(), |(_, rest)| rest.to_owned()) } else { address })
        .collect();
    let card = |address: &String| address.rsplit_once('.').map(|(card, _)| card.to_owned());
    let several = devices.windows(2).any(|pair| card(&pair[0]) != card(&pair[1]));
    several.then(|| devices.join(" "))
}
