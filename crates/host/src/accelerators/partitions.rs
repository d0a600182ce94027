//! AMD cards in a partition mode become slices; what the compute driver knows of whole cards is added to them.

use super::kfd::{self, Gpu};
use super::nodes::Numbers;
use super::table;
use super::{architecture, model};
use crate::Root;
use machine::ladder::{self, Evidence};
use machine::{Device, DeviceId, DeviceNode, LinkKind, PciAddress, PeerLink, Slice, SliceKind, Vendor};
use std::collections::BTreeMap;

/// Major number of all DRM nodes (Linux Documentation/admin-guide/devices.txt).
const DRM: u32 = 226;

/// Adds instruction set, memory, links and slices to the devices that KFD lists, and the devices that only KFD lists: a
/// capture may hold nothing else.
pub(super) fn divide(root: &Root, numbers: &Numbers, devices: &mut Vec<Device>) {
    let gpus = kfd::gpus(root);
    let mut cards: BTreeMap<PciAddress, Vec<&Gpu>> = BTreeMap::new();
    for gpu in &gpus {
        // No two partitions of a card have one number.
        let parts = cards.entry(gpu.card).or_default();
        if !parts.iter().any(|part| part.partition == gpu.partition) {
            parts.push(gpu);
        }
    }
    let mut names: BTreeMap<u32, DeviceId> = BTreeMap::new();
    for (address, parts) in &cards {
        let at = match devices.iter().position(|device| device.pci == Some(*address)) {
            Some(at) => at,
            None => {
                let at = devices.iter().position(|device| device.pci > Some(*address)).unwrap_or(devices.len());
                let card = unlisted(parts[0], numbers, root, devices);
                devices.insert(at, card);
                at
            }
        };
        let card = &mut devices[at];
        card.architecture = parts[0].architecture.clone().or(card.architecture.take());
        if parts.len() == 1 {
            card.memory = card.memory.or(parts[0].memory);
            names.insert(parts[0].node, card.id.clone());
            continue;
        }
        let slices: Vec<Device> =
            parts.iter().enumerate().map(|(number, part)| slice(card, part, number, parts.len(), numbers, root)).collect();
        names.extend(parts.iter().zip(&slices).map(|(part, slice)| (part.node, slice.id.clone())));
        card.divide(slices.len());
        devices.splice(at + 1..at + 1, slices);
    }
    link(&gpus, &names, devices);
}

/// A card that the PCI tree does not show; KFD lists only what amdgpu drives.
fn unlisted(gpu: &Gpu, numbers: &Numbers, root: &Root, known: &[Device]) -> Device {
    let row = [0x1200, 0x0380, 0x0300].iter().find_map(|class| table::row(gpu.maker, gpu.device, *class));
    let vendor = row.map_or(Vendor::Unknown, |row| row.vendor);
    let (name, listed) = model(vendor, gpu.maker, gpu.device);
    let evidence = Evidence {
        unknown_maker: row.is_none().then(|| table::maker_name(gpu.maker)),
        driver: Some("amdgpu".into()),
        drivers: vec!["amdgpu".into()],
        ..Evidence::default()
    };
    let ladder = ladder::climb(&evidence);
    let serial = DeviceId(format!("GPU-{:016x}", gpu.unique_id));
    let unique = gpu.unique_id != 0 && !known.iter().any(|device| device.id == serial);
    Device {
        id: if unique { serial } else { DeviceId(gpu.card.to_string()) },
        vendor,
        class: machine::DeviceClass::Gpu,
        model: name,
        memory: gpu.memory.or(listed),
        pci: Some(gpu.card),
        driver: Some("amdgpu".into()),
        nodes: render_node(gpu, numbers, root).into_iter().collect(),
        health: ladder.health(),
        maker: table::maker_name(gpu.maker),
        architecture: architecture(gpu.maker, gpu.device).map(str::to_owned),
        ladder,
        ..Device::default()
    }
}

/// The compute node of a card or partition. In a capture without `/dev` its numbers follow from the kernel's.
fn render_node(gpu: &Gpu, numbers: &Numbers, root: &Root) -> Option<DeviceNode> {
    let minor = gpu.render_minor?;
    let path = format!("/dev/dri/renderD{minor}");
    let told = numbers.of(&path);
    let (major, minor) = if root.is_live() { told? } else { told.unwrap_or((DRM, minor)) };
    Some(DeviceNode { path, major, minor, shared: false })
}

fn slice(card: &Device, part: &Gpu, number: usize, of: usize, numbers: &Numbers, root: &Root) -> Device {
    let mut nodes: Vec<DeviceNode> = render_node(part, numbers, root).into_iter().collect();
    nodes.extend(card.nodes.iter().filter(|node| node.shared).cloned());
    // ROCm's masks count partitions; the card's own UUID would name all of them, so a slice has a name of ours.
    let id = DeviceId(format!("XCP-{}.{number}", card.id.0.trim_start_matches("GPU-")));
    Device {
        id,
        // A partition without a share of its own in the driver's list has an equal part.
        memory: part.memory.or(card.memory.map(|memory| machine::Bytes(memory.0 / of as u64))),
        nodes,
        slice: Some(Slice { kind: SliceKind::Partition, parent: card.id.clone(), profile: format!("{} {number}", kfd::mode(of)) }),
        links: vec![],
        ..card.clone()
    }
}

fn link(gpus: &[Gpu], names: &BTreeMap<u32, DeviceId>, devices: &mut [Device]) {
    for gpu in gpus {
        let Some(id) = names.get(&gpu.node) else { continue };
        let Some(device) = devices.iter_mut().find(|device| device.id == *id) else { continue };
        for link in gpu.links.iter().filter(|link| link.kind == LinkKind::Xgmi) {
            let Some(to) = names.get(&link.to_node).filter(|to| *to != id) else { continue };
            let mb_per_s = (link.max_bandwidth > 0).then_some(link.max_bandwidth);
            match device.links.iter_mut().find(|known| known.to.as_ref() == Some(to)) {
                Some(known) => known.mb_per_s = known.mb_per_s.max(mb_per_s),
                None => device.links.push(PeerLink { kind: link.kind, to: Some(to.clone()), lanes: 1, mb_per_s, down: 0 }),
            }
        }
    }
}
