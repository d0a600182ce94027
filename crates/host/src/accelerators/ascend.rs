//! Device nodes of Ascend chips, and the vNPUs that they are cut into.
//!
//! The driver numbers chips in an order of its own, `/dev/davinciN`; sysfs is not known to tell it, so without `npu-smi` chips are
//! taken to be numbered in bus order, and that is told as unverified. For each vNPU there is a node `/dev/vdavinciN`, where N
//! counts from 100, sixteen numbers a chip (Huawei, npu-smi command reference, `create-vnpu`: `phy_id * 16 + 100` and up), so
//! nodes alone tell that a chip is divided. What each vNPU is called and how much memory it has, only `npu-smi` tells; where
//! it answers, its list counts.

use super::nodes::Numbers;
use super::tools::{FIRST_VNPU, Told, ToldSlice};
use crate::Root;
use machine::{Device, DeviceId, DeviceNode, Slice, SliceKind, Vendor};
use std::collections::BTreeMap;

const CHIP: &str = "davinci";
const VNPU: &str = "vdavinci";
/// How a node begins that was found by the place on the bus, in the list of what is not verified.
const GUESSED: &str = "device node /dev/davinci";
/// Numbers that the driver keeps for each chip.
const A_CHIP: u32 = 16;

/// Cuts the cards that have nodes of vNPUs.
pub(super) fn divide(numbers: &Numbers, devices: &mut Vec<Device>) {
    if !devices.iter().any(is_card) {
        return;
    }
    let mut of_card: BTreeMap<usize, Vec<(u32, DeviceNode)>> = BTreeMap::new();
    for (number, node) in nodes(numbers) {
        let own = format!("/dev/davinci{}", (number - FIRST_VNPU) / A_CHIP);
        if let Some(at) = devices.iter().position(|card| is_card(card) && card.nodes.iter().any(|node| node.path == own)) {
            of_card.entry(at).or_default().push((number, node));
        }
    }
    for (at, parts) in of_card.into_iter().rev() {
        let card = &mut devices[at];
        let slices: Vec<Device> = parts.into_iter().map(|(number, node)| slice(card, number, None, Some(node))).collect();
        card.divide(slices.len());
        devices.splice(at + 1..at + 1, slices);
    }
}

/// Whether any chip of the machine may be divided: asking for the slices of each takes a program's time.
pub(crate) fn any(root: &Root) -> bool {
    !nodes(&Numbers::below(root)).is_empty()
}

/// Gives each chip the node of the number that the vendor's program has for it. `told`: devices with what it said of them, in
/// its order.
pub(crate) fn renumber(root: &Root, devices: &mut [Device], told: &[(&DeviceId, &Told)]) {
    let known: BTreeMap<u32, DeviceNode> = match devices.iter().any(is_card) {
        true => Numbers::below(root).numbered(CHIP).into_iter().collect(),
        false => return,
    };
    // Numbers of boards are those of chips where each board has one, unless the boards are numbered by slots.
    let by_board = told.iter().all(|(_, card)| card.chip == 0 && card.index.is_some_and(|index| known.contains_key(&index)));
    for (at, (id, card)) in told.iter().enumerate() {
        let number = card.physical.or(card.index.filter(|_| by_board)).unwrap_or(at as u32);
        let Some(device) = devices.iter_mut().find(|device| device.id == **id && is_card(device)) else { continue };
        let own = |node: &DeviceNode| !node.shared && node.path.starts_with("/dev/davinci");
        if let (Some(node), Some(place)) = (known.get(&number), device.nodes.iter_mut().find(|node| own(node))) {
            *place = node.clone();
            device.unverified.retain(|fact| !fact.starts_with(GUESSED));
        }
    }
}

/// Puts what the vendor's program listed for chips in the place of what is known of their vNPUs.
pub(crate) fn relist(root: &Root, devices: &mut Vec<Device>, told: &[(&DeviceId, &Told)]) {
    let listed: Vec<(&DeviceId, &[ToldSlice])> = told.iter().filter_map(|(id, card)| Some((*id, card.slices.as_deref()?))).collect();
    let mut nodes: BTreeMap<u32, DeviceNode> = match listed.is_empty() {
        true => return,
        false => nodes(&Numbers::below(root)).into_iter().collect(),
    };
    // The numbers of vNPUs are the machine's: one that is listed for a chip was never another's.
    let is_told = |device: &Device| {
        let Some(slice) = device.slice.as_ref().filter(|slice| slice.kind == SliceKind::Vnpu) else { return false };
        listed.iter().any(|(id, parts)| **id == slice.parent || parts.iter().any(|part| number_of(device) == Some(part.number)))
    };
    devices.retain(|device| !is_told(device));
    for (id, parts) in listed {
        let Some(at) = devices.iter().position(|device| device.id == *id && is_card(device)) else { continue };
        let parts: Vec<Device> =
            parts.iter().map(|part| slice(&devices[at], part.number, Some(part), nodes.remove(&part.number))).collect();
        devices.splice(at + 1..at + 1, parts);
    }
}

/// A chip that is read again keeps the node that the vendor's program once named.
pub(crate) fn keep_number(old: &Device, new: &mut Device) {
    let own = |node: &DeviceNode| !node.shared;
    let told = is_card(old) && !old.unverified.iter().any(|fact| fact.starts_with(GUESSED));
    if let (true, Some(node), Some(place)) = (told, old.nodes.iter().find(|node| own(node)), new.nodes.iter_mut().find(|node| own(node))) {
        place.clone_from(node);
        new.unverified.retain(|fact| !fact.starts_with(GUESSED));
    }
}

/// The driver's number of a chip, by its node.
pub(crate) fn chip_number(card: &Device) -> Option<u32> {
    let node = card.nodes.iter().find(|node| !node.shared).filter(|_| is_card(card))?;
    node.path.strip_prefix("/dev/davinci")?.parse().ok()
}

/// The driver's number of a vNPU, by its id.
pub(crate) fn number_of(slice: &Device) -> Option<u32> {
    slice.id.0.rsplit('.').next()?.parse().ok()
}

fn is_card(device: &Device) -> bool {
    device.vendor == Vendor::Ascend && device.slice.is_none()
}

fn nodes(numbers: &Numbers) -> Vec<(u32, DeviceNode)> {
    let mut found = numbers.numbered(VNPU);
    found.retain(|(number, _)| *number >= FIRST_VNPU);
    found
}

fn slice(card: &Device, number: u32, told: Option<&ToldSlice>, node: Option<DeviceNode>) -> Device {
    let mut nodes: Vec<DeviceNode> = node.into_iter().collect();
    nodes.extend(card.nodes.iter().filter(|node| node.shared).cloned());
    let mut unverified: Vec<String> = card.unverified.iter().filter(|fact| !fact.starts_with("npu-smi")).cloned().collect();
    unverified.push(match told {
        Some(_) => "npu-smi's list of vNPUs".into(),
        None => format!("device node /dev/{VNPU}{number} as one of this card"),
    });
    Device {
        id: DeviceId(format!("VNPU-{}.{number}", card.id)),
        memory: told.and_then(|part| part.memory),
        nodes,
        slice: Some(Slice {
            kind: SliceKind::Vnpu,
            parent: card.id.clone(),
            profile: told.map_or_else(|| number.to_string(), |part| part.template.clone()),
        }),
        links: vec![],
        unverified,
        ..card.clone()
    }
}
