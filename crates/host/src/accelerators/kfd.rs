//! AMD GPUs as the compute driver (KFD) lists them: partitions, instruction set, memory, and the links between them.
//!
//! Format: Linux `drivers/gpu/drm/amd/amdkfd/kfd_topology.c`. Each node is a folder with a `properties` file of `name value`
//! lines; CPUs are nodes without SIMD units. A card in a partition mode (CPX, DPX, QPX) is several nodes with one
//! `unique_id`, whose `location_id` counts in the place of the PCI function.

use crate::Root;
use machine::{Bytes, LinkKind, PciAddress};
use std::collections::BTreeMap;

const NODES: &str = "sys/class/kfd/kfd/topology/nodes";

/// The most nodes that are read: 8 cards of 8 partitions are 66 with their processors.
const MOST_NODES: usize = 1024;

/// One GPU node: a card, or a partition of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// Number of the KFD node.
    pub node: u32,
    pub maker: u16,
    pub device: u16,
    /// Of the card: function 0.
    pub card: PciAddress,
    /// Which partition of the card, from 0.
    pub partition: u8,
    /// The card's serial number; 0 on cards without one.
    pub unique_id: u64,
    pub render_minor: Option<u32>,
    /// "gfx942"; `None` from drivers before 5.16.
    pub architecture: Option<String>,
    pub compute_units: u32,
    /// Memory banks of the node added up.
    pub memory: Option<Bytes>,
    /// Cards of one hive reach each other over xGMI; 0: none.
    pub hive: u64,
    pub links: Vec<Link>,
}

/// A way from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub kind: LinkKind,
    pub to_node: u32,
    /// The driver's measure of distance: 15 or less is one hop over xGMI, 41 within it by more.
    pub weight: u32,
    /// Megabytes a second; 0: not told.
    pub max_bandwidth: u64,
}

/// Every GPU node by its number.
pub fn gpus(root: &Root) -> Vec<Gpu> {
    let nodes = root.numbered(NODES, "");
    nodes.into_iter().take(MOST_NODES).filter_map(|node| gpu(root, node)).collect()
}

/// `name value` lines.
fn properties(text: &str) -> BTreeMap<&str, u64> {
    let pair = |line: &'_ str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        Some((name.len(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(|line| pair(line).map(|(end, value)| (&line[..end], value))).collect()
}

fn gpu(root: &Root, node: u32) -> Option<Gpu> {
    let at = format!("{NODES}/{node}");
    let text = root.text(&format!("{at}/properties"))?;
    let of = properties(&text);
    let get = |name: &str| of.get(name).copied().unwrap_or(0);
    if get("simd_count") == 0 {
        return None;
    }
    let location = get("location_id");
    let card = PciAddress {
        domain: u32::try_from(get("domain")).ok()?,
        bus: (location >> 8) as u8,
        device: (location >> 3) as u8 & 31,
        function: 0,
    };
    Some(Gpu {
        node,
        maker: u16::try_from(get("vendor_id")).ok()?,
        device: u16::try_from(get("device_id")).ok()?,
        card,
        partition: location as u8 & 7,
        unique_id: get("unique_id"),
        render_minor: u32::try_from(get("drm_render_minor")).ok().filter(|minor| *minor > 0),
        architecture: architecture(get("gfx_target_version")),
        compute_units: (get("simd_count") / get("simd_per_cu").max(1)) as u32,
        memory: memory(root, &at),
        hive: get("hive_id"),
        links: ["io_links", "p2p_links"].iter().flat_map(|folder| links(root, &format!("{at}/{folder}"))).collect(),
    })
}

/// 90402 is gfx942: major, minor and stepping in two decimal digits each, written in hexadecimal.
fn architecture(version: u64) -> Option<String> {
    (version > 0 && version < 1_000_000).then(|| format!("gfx{}{:x}{:x}", version / 10_000, version / 100 % 100, version % 100))
}

/// Banks of type 1 and 2 (visible and hidden frame buffer) are the card's own; 0 is host memory.
fn memory(root: &Root, at: &str) -> Option<Bytes> {
    let banks = root.numbered(&format!("{at}/mem_banks"), "");
    let own = banks.into_iter().take(64).filter_map(|bank| {
        let text = root.text(&format!("{at}/mem_banks/{bank}/properties"))?;
        let of = properties(&text);
        let local = of.get("heap_type").is_some_and(|kind| [1, 2].contains(kind));
        local.then(|| of.get("size_in_bytes").copied()).flatten()
    });
    let total = own.fold(0u64, u64::saturating_add);
    (total > 0).then_some(Bytes(total))
}

/// Links to other nodes; types 2 (PCIe) and 11 (xGMI) of `CRAT_IOLINK_TYPE_*`.
fn links(root: &Root, folder: &str) -> Vec<Link> {
    let link = |number: u32| {
        let text = root.text(&format!("{folder}/{number}/properties"))?;
        let of = properties(&text);
        let kind = match of.get("type")? {
            11 => LinkKind::Xgmi,
            2 => LinkKind::Pcie,
            _ => return None,
        };
        Some(Link {
            kind,
            to_node: u32::try_from(*of.get("node_to")?).ok()?,
            weight: of.get("weight").copied().unwrap_or(0) as u32,
            max_bandwidth: of.get("max_bandwidth").copied().unwrap_or(0),
        })
    };
    root.numbered(folder, "").into_iter().take(MOST_NODES).filter_map(link).collect()
}

/// What the partition mode is called that cuts a card of this many compute dies' worth of nodes.
pub fn mode(partitions: usize) -> &'static str {
    match partitions {
        2 => "DPX",
        3 => "TPX",
        4 => "QPX",
        6 | 8 => "CPX",
        _ => "partition",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_written_as_compilers_name_them() {
        for (version, name) in [
            (90402, Some("gfx942")),
            (90010, Some("gfx90a")),
            (90006, Some("gfx906")),
            (110000, Some("gfx1100")),
            (90500, Some("gfx950")),
            (0, None),
            (u64::MAX, None),
        ] {
            assert_eq!(architecture(version).as_deref(), name);
        }
    }

    proptest! {
        #[test]
        fn any_properties_are_read_without_harm(text in "([a-z_]{0,20} ?-?[0-9]{0,25}\n){0,20}", garbage in prop::collection::vec(any::<u8>(), 0..200)) {
            for bytes in [text.as_bytes(), &garbage] {
                let dir = tempfile::tempdir().unwrap();
                let at = dir.path().join(NODES).join("1");
                std::fs::create_dir_all(at.join("io_links/0")).unwrap();
                std::fs::create_dir_all(at.join("mem_banks/0")).unwrap();
                for file in ["properties", "io_links/0/properties", "mem_banks/0/properties"] {
                    let known = b"simd_count 4\nvendor_id 4098\ntype 11\nnode_to 1\nheap_type 1\n";
                    std::fs::write(at.join(file), [known, bytes].concat()).unwrap();
                }
                let found = gpus(&Root::at(dir.path()));
                prop_assert!(found.len() <= 1);
            }
        }
    }
}
