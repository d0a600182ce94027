//! Makers of accelerators whose cards are shown by name, and that is all that is known of them here.

use super::sources::PCI_IDS;
use super::{Fact, sure};

/// PCI maker id and name.
pub const LISTED: &[Fact<(u16, &str)>] = &[
    sure((0x1e60, "Hailo"), PCI_IDS),
    sure((0x1d95, "Graphcore"), PCI_IDS),
    sure((0x1de0, "Groq"), PCI_IDS),
    sure((0x1e0d, "SambaNova"), PCI_IDS),
    sure((0x1f82, "d-Matrix"), PCI_IDS),
    sure((0x1e30, "Sophgo"), PCI_IDS),
    sure((0x1f1c, "Sophgo"), PCI_IDS),
    sure((0x1ec6, "Vastai"), PCI_IDS),
    sure((0x1e9f, "Lynxi"), PCI_IDS),
    sure((0x1ff4, "DeepX"), PCI_IDS),
    sure((0x209f, "Mobilint"), PCI_IDS),
    sure((0x1fe9, "MemryX"), PCI_IDS),
    sure((0xcdfa, "NextSilicon"), PCI_IDS),
    sure((0x1f9d, "Axelera AI"), PCI_IDS),
];

/// The maker's name: ours where the list has one, else the PCI id list's, else the bare id.
pub fn maker_name(maker: u16) -> String {
    let listed = LISTED.iter().find(|fact| fact.value.0 == maker).map(|fact| fact.value.1.to_owned());
    listed
        .or_else(|| Some(<pci_ids::Vendor as pci_ids::FromId<u16>>::from_id(maker)?.name().to_owned()))
        .unwrap_or_else(|| format!("maker {maker:04x}"))
}
