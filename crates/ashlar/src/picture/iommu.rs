//! What the IOMMU does: how many groups of which type, and which devices share one and so can only be handed out together.

use super::hardware::{Hardware, text};
use super::line::{Line, Paint};
use super::{flowed, framed};
use machine::PciFunction;
use std::collections::BTreeMap;

/// Groups of several devices that are told one by one; all are in the JSON.
const MOST_SHARED: usize = 12;

impl Hardware<'_> {
    pub(super) fn iommu(&self) -> Vec<Line> {
        let mut groups: BTreeMap<u32, Vec<&PciFunction>> = BTreeMap::new();
        for function in self.topology.pci.functions() {
            if let Some(group) = function.iommu_group {
                groups.entry(group).or_default().push(function);
            }
        }
        if groups.is_empty() {
            return Vec::new();
        }
        let mut types: BTreeMap<&str, usize> = BTreeMap::new();
        for group in groups.keys() {
            *types.entry(self.topology.iommu_types.get(group).map_or("of unknown type", |kind| meaning(kind))).or_default() += 1;
        }
        let parts = types.iter().map(|(kind, count)| text(Paint::Plain, format!("{count} {kind}")));
        let mut inside = flowed(parts.collect(), ", ", self.style.width - 4);
        let one_domain = self.topology.pci.functions().iter().all(|function| function.address.domain == 0);
        let shared = groups.iter().filter_map(|(group, functions)| Some((group, together(functions, one_domain)?)));
        let mut shared: Vec<Line> = shared.map(|(group, names)| text(Paint::Plain, format!("group {group} is shared: {names}"))).collect();
        if shared.len() > MOST_SHARED {
            let more = shared.split_off(MOST_SHARED).len();
            shared.push(text(Paint::Faint, format!("and {more} more groups of several devices, see --json")));
        }
        inside.extend(shared);
        let count = groups.len();
        framed(self.style, text(Paint::Strong, format!("IOMMU  {count} group{}", if count == 1 { "" } else { "s" })), inside)
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
