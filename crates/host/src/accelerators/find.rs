//! From the PCI bus to [`Device`] values.

use super::glob::expand;
use super::nodes::{self, Numbers};
use super::table::{self, Row};
use super::{architecture, ascend, model, modules, nvidia, partitions};
use crate::pci::{self, Function};
use crate::{Root, text};
use machine::ladder::{self, Evidence, Module, OnBus};
use machine::{Bytes, Device, DeviceClass, DeviceId, PciAddress, Slice, SliceKind, Vendor};
use std::collections::{BTreeMap, BTreeSet};

/// Every accelerator on the bus, by PCI address, its slices after it. No vendor library is asked: a ladder ends at the
/// device nodes here.
pub fn devices(root: &Root) -> Vec<Device> {
    let mut functions = pci::functions(root, is_wanted);
    functions.extend(nvidia::unlisted(root, &functions));
    functions.sort_by_key(|function| function.address);
    let numbers = Numbers::below(root);
    let mut found: Vec<Device> = Vec::new();
    let mut in_row: BTreeMap<&str, u32> = BTreeMap::new();
    // Virtual functions that nothing drives are not in use.
    for function in functions.iter().filter(|function| !function.is_virtual || function.driver.is_some()) {
        let device = match table::row(function.maker, function.device, function.class) {
            None if function.is_virtual => continue,
            None => stranger(root, function),
            Some(row) => {
                let position = in_row.entry(row.key).or_default();
                *position += 1;
                card(root, function, row, *position - 1, &numbers)
            }
        };
        found.push(device);
    }
    name_apart(&mut found);
    virtual_functions(root, &functions, &mut found);
    partitions::divide(root, &numbers, &mut found);
    ascend::divide(&numbers, &mut found);
    count(&mut found);
    found
}

/// What stands at one address now.
pub enum Counted {
    /// No accelerator.
    None,
    Device(Box<Device>),
    /// A virtual function: its card is to be read with it.
    Slice,
}

/// Reads the device at one address, which is the cheap way after an event. `index`: the number it had.
pub fn device_at(root: &Root, address: PciAddress, index: Option<u32>) -> Counted {
    let Some(function) = pci::function(root, address).filter(|function| is_wanted(function.maker, function.device, function.class)) else {
        return Counted::None;
    };
    if function.is_virtual {
        return Counted::Slice;
    }
    let index = index.unwrap_or(0);
    let mut device = match table::row(function.maker, function.device, function.class) {
        None => stranger(root, &function),
        Some(row) => card(root, &function, row, index, &Numbers::below(root)),
    };
    device.index = index;
    Counted::Device(Box::new(device))
}

/// Whether the card at an address still answers on the bus.
pub fn still_on_bus(root: &Root, address: PciAddress) -> OnBus {
    let path = format!("{}/{address}", pci::BUS);
    if root.exists(&path) { on_bus(root, &path) } else { OnBus::Gone }
}

fn is_wanted(maker: u16, device: u16, class: u16) -> bool {
    table::row(maker, device, class).is_some() || table::is_unknown_accelerator(maker, device, class)
}

/// A serial number that two functions share (two dies of one card) names neither.
fn name_apart(devices: &mut [Device]) {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<DeviceId> =
        devices.iter().filter(|device| !seen.insert(device.id.clone())).map(|device| device.id.clone()).collect();
    for device in devices.iter_mut().filter(|device| twice.contains(&device.id)) {
        if let Some(address) = device.pci {
            device.id = DeviceId(address.to_string());
        }
    }
}

/// Numbers from 0 within vendor and class. The partitions of an AMD card are counted in its place, because that is what
/// its runtime does; slices of others have the number of their card.
fn count(devices: &mut [Device]) {
    let mut next: BTreeMap<(Vendor, DeviceClass), u32> = BTreeMap::new();
    let mut by_id: BTreeMap<DeviceId, u32> = BTreeMap::new();
    let cut: BTreeSet<DeviceId> = devices
        .iter()
        .filter_map(|device| device.slice.as_ref().filter(|slice| slice.kind == SliceKind::Partition))
        .map(|slice| slice.parent.clone())
        .collect();
    for device in devices {
        let next = next.entry((device.vendor, device.class)).or_default();
        let of_card = device.slice.as_ref().filter(|slice| slice.kind != SliceKind::Partition);
        device.index = match of_card.and_then(|slice| by_id.get(&slice.parent)) {
            Some(index) => *index,
            None => *next,
        };
        by_id.insert(device.id.clone(), device.index);
        if of_card.is_none() && !cut.contains(&device.id) {
            *next += 1;
        }
    }
}

/// Ties each virtual function to its card, which is then granted by its slices only.
fn virtual_functions(root: &Root, functions: &[Function], found: &mut [Device]) {
    let mut cut: BTreeMap<DeviceId, usize> = BTreeMap::new();
    for function in functions.iter().filter(|function| function.is_virtual) {
        let Some(parent) = root.link_name(&format!("{}/physfn", function.path)).and_then(|name| name.parse().ok()) else { continue };
        let Some(parent) = found.iter().find(|device| device.pci == Some(parent)).map(|device| device.id.clone()) else { continue };
        if let Some(device) = found.iter_mut().find(|device| device.pci == Some(function.address)) {
            let number = cut.entry(parent.clone()).or_default();
            device.slice = Some(Slice { kind: SliceKind::Vf, parent, profile: format!("VF {number}") });
            *number += 1;
        }
    }
    for device in found {
        if let Some(slices) = cut.get(&device.id) {
            device.divide(*slices);
        }
    }
}

fn stranger(root: &Root, function: &Function) -> Device {
    let maker = table::maker_name(function.maker);
    let (model, memory) = model(Vendor::Unknown, function.maker, function.device);
    let evidence = Evidence {
        on_bus: on_bus(root, &function.path),
        unknown_maker: Some(maker.clone()),
        driver: function.driver.clone(),
        ..Evidence::default()
    };
    let ladder = ladder::climb(&evidence);
    Device {
        id: DeviceId(function.address.to_string()),
        model,
        memory,
        pci: Some(function.address),
        numa: function.numa,
        driver: function.driver.clone(),
        health: ladder.health(),
        maker,
        ladder,
        ..Device::default()
    }
}

fn card(root: &Root, function: &Function, row: &'static Row, position: u32, numbers: &Numbers) -> Device {
    let told = if row.vendor == Vendor::Nvidia { nvidia::information(root, function.address) } else { text::NvidiaInformation::default() };
    let (name, listed) = model(row.vendor, function.maker, function.device);
    let serial = row.identity.and_then(|fact| {
        let (pattern, prefix) = fact.value;
        let text = expand(root, &function.path, pattern).first().and_then(|path| root.text(path))?;
        text.bytes().any(|b| b != b'0').then(|| DeviceId(format!("{prefix}{text}")))
    });
    let nodes = nodes::find(root, function, row, position, told.minor, numbers);
    let driver = function.driver.as_deref();
    let fits = driver.is_some_and(|driver| row.driver_names().any(|known| known == driver));
    let evidence = Evidence {
        on_bus: on_bus(root, &function.path),
        driver: function.driver.clone(),
        drivers: row.driver_names().map(str::to_owned).collect(),
        module: if fits { Module::default() } else { modules::module(root, row.module.value) },
        nodes: nodes.seen,
        ..Evidence::default()
    };
    let ladder = ladder::climb(&evidence);
    let mut unverified = unverified(function, row, fits);
    unverified.extend(nodes.unverified);
    Device {
        id: told.uuid.map(DeviceId).or(serial).unwrap_or_else(|| DeviceId(function.address.to_string())),
        vendor: row.vendor,
        class: row.class,
        model: told.model.unwrap_or(name),
        memory: memory(root, function, row).or_else(|| nvidia_memory(root, function, row)).or(listed),
        pci: Some(function.address),
        numa: function.numa,
        driver: function.driver.clone(),
        nodes: nodes.nodes,
        health: ladder.health(),
        maker: table::maker_name(function.maker),
        architecture: architecture(function.maker, function.device).map(str::to_owned),
        ladder,
        unverified,
        ..Device::default()
    }
}

/// The row's cells that this card's place on the ladder rests on, as far as they are hearsay.
fn unverified(function: &Function, row: &Row, fits: bool) -> Vec<String> {
    let mut found = Vec::new();
    if !row.maker.verified {
        found.push(format!("PCI maker {:04x}", row.maker.value));
    }
    if !row.classes.verified {
        found.push(format!("PCI class {:04x}", function.class));
    }
    let id = row.ids.iter().find(|fact| (fact.value.0..=fact.value.1).contains(&function.device));
    if id.is_some_and(|fact| !fact.verified) {
        found.push(format!("PCI id {:04x}", function.device));
    }
    match row.drivers.iter().find(|fact| Some(fact.value) == function.driver.as_deref()) {
        Some(fact) if !fact.verified => found.push(format!("driver {}", fact.value)),
        None if !fits && !row.module.verified => found.push(format!("module {}", row.module.value)),
        _ => {}
    }
    found
}

/// A card that lost power or its link still stands in the list of the bus; reads of it give all ones (PCI Express 2.3.2).
/// One that sleeps without power is left asleep.
fn on_bus(root: &Root, path: &str) -> OnBus {
    if root.text(&format!("{path}/power_state")).is_some_and(|state| state == "D3cold") {
        return OnBus::Present;
    }
    match pci::first_word(root, path) {
        Some(word) if word == [0xff; 4] => OnBus::Dead,
        _ => OnBus::Present,
    }
}

fn memory(root: &Root, function: &Function, row: &Row) -> Option<Bytes> {
    let by_file = row.memory.iter().find_map(|fact| {
        let (pattern, unit) = fact.value;
        let sizes: Vec<u64> = expand(root, &function.path, pattern).iter().filter_map(|path| root.value(path)).collect();
        let total = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(size.saturating_mul(unit)));
        (total > 0).then_some(Bytes(total))
    });
    // Below 1 GiB it is the small window of a system without resizable windows.
    let by_bar = || {
        let sizes = text::bar_sizes(&root.text(&format!("{}/resource", function.path))?);
        sizes.get(row.memory_bar?.value).copied().filter(|size| *size >= Bytes::gib(1))
    };
    by_file.or_else(by_bar)
}

/// Where a card's memory is a memory node of the machine, as on POWER9 with NVLink, its driver tells how large that is.
fn nvidia_memory(root: &Root, function: &Function, row: &Row) -> Option<Bytes> {
    (row.vendor == Vendor::Nvidia).then(|| nvidia::numa_memory(root, function.address)).flatten()
}

#[cfg(test)]
mod tests;
