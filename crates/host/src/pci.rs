//! Functions on the PCI bus.

mod config;
mod tree;

pub use config::Config;
pub use tree::tree;

use crate::{Root, text};
use machine::PciAddress;

pub(crate) const BUS: &str = "sys/bus/pci/devices";

/// One PCI function, as much of it as tells what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub address: PciAddress,
    /// Maker and device id, as pci.ids has them.
    pub maker: u16,
    pub device: u16,
    /// Base class and sub-class: `0x0302`.
    pub class: u16,
    pub driver: Option<String>,
    pub numa: Option<u32>,
    /// A virtual function whose physical one is in the same tree.
    pub is_virtual: bool,
    /// Its folder in sysfs, below the root.
    pub path: String,
}

/// All functions, by address. `wanted` is asked with maker, device and class before the costlier files are read.
pub fn functions(root: &Root, wanted: impl Fn(u16, u16, u16) -> bool) -> Vec<Function> {
    let mut found: Vec<Function> = root.names(BUS).iter().filter_map(|name| named(root, name, &wanted)).collect();
    found.sort_by_key(|function| function.address);
    found
}

/// The function at one address, where there is one.
pub fn function(root: &Root, address: PciAddress) -> Option<Function> {
    named(root, &address.to_string(), &|_, _, _| true)
}

fn named(root: &Root, name: &str, wanted: &impl Fn(u16, u16, u16) -> bool) -> Option<Function> {
    let address: PciAddress = name.parse().ok()?;
    let path = format!("{BUS}/{name}");
    let (maker, device, class) = identity(root, &path)?;
    wanted(maker, device, class).then(|| Function {
        address,
        maker,
        device,
        class,
        driver: root.link_name(&format!("{path}/driver")),
        numa: root.value(&format!("{path}/numa_node")),
        is_virtual: root.exists(&format!("{path}/physfn")),
        path,
    })
}

/// The first four bytes of the configuration space of the function in this folder, and no more than those: each further one
/// costs the bus an access.
pub(crate) fn first_word(root: &Root, path: &str) -> Option<[u8; 4]> {
    use std::io::Read;
    if !root.is_live() {
        return root.bytes(&format!("{path}/config")).ok()?.first_chunk().copied();
    }
    let mut word = [0; 4];
    std::fs::File::open(root.dir().join(path).join("config")).ok()?.read_exact(&mut word).ok()?;
    Some(word)
}

/// One read where the kernel's `uevent` is there, else the separate files, else the configuration space (PCI 3.0, 6.1).
fn identity(root: &Root, path: &str) -> Option<(u16, u16, u16)> {
    let by_uevent = || {
        let uevent = root.text(&format!("{path}/uevent"))?;
        let class = u32::from_str_radix(text::assignment(&uevent, "PCI_CLASS")?, 16).ok()?;
        let (maker, device) = text::assignment(&uevent, "PCI_ID")?.split_once(':')?;
        Some((u16::from_str_radix(maker, 16).ok()?, u16::from_str_radix(device, 16).ok()?, (class >> 8) as u16))
    };
    let by_files = || {
        let file = |name| root.hex(&format!("{path}/{name}"));
        Some((file("vendor")? as u16, file("device")? as u16, (file("class")? >> 8) as u16))
    };
    let by_config = || {
        let config = root.bytes(&format!("{path}/config")).ok()?;
        let word = |at: usize| Some(u16::from_le_bytes([*config.get(at)?, *config.get(at + 1)?]));
        let class = word(0x0a)?;
        // Captures keep the class in its own file more often than a whole configuration space.
        Some((word(0)?, word(2)?, root.hex(&format!("{path}/class")).map_or(class, |class| (class >> 8) as u16)))
    };
    by_uevent().or_else(by_files).or_else(by_config)
}

/// The maker's name in the PCI id list.
pub fn maker_name(maker: u16) -> Option<&'static str> {
    use pci_ids::FromId;
    Some(pci_ids::Vendor::from_id(maker)?.name())
}

/// The name in the PCI id list without the chip's own name where a product name is in brackets: "H100 PCIe" for
/// "GH100 [H100 PCIe]".
pub fn product_name(maker: u16, device: u16) -> Option<&'static str> {
    let name = pci_ids::Device::from_vid_pid(maker, device)?.name();
    let bracketed = name.rsplit_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
    Some(bracketed.filter(|product| product.len() > 2).unwrap_or(name))
}
