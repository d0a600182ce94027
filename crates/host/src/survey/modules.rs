//! Memory modules as firmware lists them: SMBIOS structures of type 17 (DMTF DSP0134, 7.18). Serial numbers and asset
//! tags are not read.

use crate::Root;
use machine::topology::{Kind, Object};

const ENTRIES: &str = "sys/firmware/dmi/entries";
const MOST_MODULES: u32 = 1024;
/// Length of the structure of SMBIOS 2.1, the oldest that has what is read here.
const SHORTEST: u8 = 0x15;

pub fn modules(root: &Root) -> Vec<Object> {
    let raw = |number: u32| root.bytes(&format!("{ENTRIES}/17-{number}/raw")).ok();
    let read = (0..MOST_MODULES).map_while(|number| Some((number, raw(number)?)));
    read.filter_map(|(number, bytes)| module(number, &bytes)).collect()
}

fn module(number: u32, bytes: &[u8]) -> Option<Object> {
    let length = bytes.get(1).copied().filter(|length| *length >= SHORTEST)?;
    let byte = |at: u8| if at < length { bytes.get(usize::from(at)).copied() } else { None };
    let word = |at: u8| Some(u16::from_le_bytes([byte(at)?, byte(at + 1)?]));
    let strings: Vec<String> =
        bytes.get(usize::from(length)..)?.split(|b| *b == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    let string = |at: u8| {
        let index = byte(at).filter(|index| *index > 0)?;
        strings.get(usize::from(index) - 1).filter(|text| !text.trim_matches(' ').is_empty()).cloned()
    };
    // What holds no module tells no maker.
    let (vendor, part) = (string(0x17), string(0x1a));
    if vendor.is_none() && part.is_none() {
        return None;
    }
    let extended = || Some(u64::from(word(0x1c)?) | u64::from(word(0x1e)? & 0x7fff) << 16).map(|mib| mib << 10);
    let size = match word(0x0c) {
        None | Some(0 | 0xffff) => None,
        Some(0x7fff) => extended(),
        Some(kib) if kib & 0x8000 != 0 => Some(u64::from(kib & 0x7fff)),
        Some(mib) => Some(u64::from(mib) << 10),
    };
    let rank = byte(0x1b).map(|attributes| attributes & 0xf).filter(|rank| *rank > 0);
    let infos = [
        ("DeviceLocation", string(0x10)),
        ("BankLocation", string(0x11)),
        ("Vendor", vendor),
        ("PartNumber", part),
        ("FormFactor", byte(0x0e).and_then(form).map(str::to_owned)),
        ("Type", byte(0x12).and_then(technology).map(str::to_owned)),
        ("Size", size.map(|kib| format!("{kib}KiB"))),
        ("Rank", rank.map(|rank| rank.to_string())),
    ];
    Some(Object {
        kind: Kind::Misc,
        os_index: Some(number),
        subtype: Some("MemoryModule".into()),
        infos: infos.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        ..Object::default()
    })
}

/// DSP0134, table 76.
fn form(code: u8) -> Option<&'static str> {
    Some(match code {
        0x03 => "SIMM",
        0x05 => "Chip",
        0x09 => "DIMM",
        0x0d => "SODIMM",
        0x0f => "FB-DIMM",
        0x10 => "Die",
        0x11 => "CAMM",
        _ => return None,
    })
}

/// DSP0134, table 77.
fn technology(code: u8) -> Option<&'static str> {
    Some(match code {
        0x07 => "RAM",
        0x0f => "SDRAM",
        0x12 => "DDR",
        0x13 => "DDR2",
        0x14 => "DDR2 FB-DIMM",
        0x18 => "DDR3",
        0x1a => "DDR4",
        0x1b => "LPDDR",
        0x1c => "LPDDR2",
        0x1d => "LPDDR3",
        0x1e => "LPDDR4",
        0x1f => "Logical non-volatile device",
        0x20 => "HBM",
        0x21 => "HBM2",
        0x22 => "DDR5",
        0x23 => "LPDDR5",
        0x24 => "HBM3",
        _ => return None,
    })
}
