//! One accelerator.

use crate::{Bytes, Ladder, LinkDomain, PeerLink, ladder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The stable name of a device: its vendor UUID where a driver gives one, else its PCI address. Never an
/// index, because indices change with driver load order and visibility masks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(pub String);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who made the accelerator, as job files name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vendor {
    Nvidia,
    Amd,
    Intel,
    Gaudi,
    Ascend,
    Cambricon,
    Hygon,
    MooreThreads,
    Metax,
    Iluvatar,
    Kunlunxin,
    Enflame,
    Biren,
    THead,
    Google,
    Aws,
    Tenstorrent,
    Rebellions,
    Furiosa,
    Qualcomm,
    Nec,
    Xilinx,
    /// On an accelerator class of the PCI bus, but of a maker the table does not have. Shown, never granted.
    Unknown,
}

impl Vendor {
    pub const ALL: [Vendor; 23] = [
        Vendor::Nvidia,
        Vendor::Amd,
        Vendor::Intel,
        Vendor::Gaudi,
        Vendor::Ascend,
        Vendor::Cambricon,
        Vendor::Hygon,
        Vendor::MooreThreads,
        Vendor::Metax,
        Vendor::Iluvatar,
        Vendor::Kunlunxin,
        Vendor::Enflame,
        Vendor::Biren,
        Vendor::THead,
        Vendor::Google,
        Vendor::Aws,
        Vendor::Tenstorrent,
        Vendor::Rebellions,
        Vendor::Furiosa,
        Vendor::Qualcomm,
        Vendor::Nec,
        Vendor::Xilinx,
        Vendor::Unknown,
    ];

    /// The name in job files, listings and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Nvidia => "nvidia",
            Vendor::Amd => "amd",
            Vendor::Intel => "intel",
            Vendor::Gaudi => "gaudi",
            Vendor::Ascend => "ascend",
            Vendor::Cambricon => "cambricon",
            Vendor::Hygon => "hygon",
            Vendor::MooreThreads => "moore-threads",
            Vendor::Metax => "metax",
            Vendor::Iluvatar => "iluvatar",
            Vendor::Kunlunxin => "kunlunxin",
            Vendor::Enflame => "enflame",
            Vendor::Biren => "biren",
            Vendor::THead => "t-head",
            Vendor::Google => "google",
            Vendor::Aws => "aws",
            Vendor::Tenstorrent => "tenstorrent",
            Vendor::Rebellions => "rebellions",
            Vendor::Furiosa => "furiosa",
            Vendor::Qualcomm => "qualcomm",
            Vendor::Nec => "nec",
            Vendor::Xilinx => "xilinx",
            Vendor::Unknown => "unknown",
        }
    }

    pub fn from_name(name: &str) -> Option<Vendor> {
        Vendor::ALL.into_iter().find(|vendor| vendor.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What kind of engine the device is; job files say `gpu:2` or `npu:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceClass {
    Gpu,
    Npu,
    Fpga,
    Vector,
}

impl DeviceClass {
    pub fn name(self) -> &'static str {
        match self {
            DeviceClass::Gpu => "gpu",
            DeviceClass::Npu => "npu",
            DeviceClass::Fpga => "fpga",
            DeviceClass::Vector => "vector",
        }
    }
}

/// Whether work may be placed on the device. Written by discovery, later by the fault rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "why")]
pub enum Health {
    /// Driver bound and device nodes present.
    Ready,
    /// Seen on the bus but not usable; the text says at which step it stops ("driver not bound").
    Unusable(String),
}

impl Health {
    pub fn is_ready(&self) -> bool {
        matches!(self, Health::Ready)
    }
}

/// A device node that a run needs to reach the device, with the numbers a container declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Absolute path such as `/dev/nvidia0`.
    pub path: String,
    pub major: u32,
    pub minor: u32,
    /// Nodes like `/dev/nvidiactl` that every run on this vendor's devices gets, whichever device it holds.
    pub shared: bool,
}

impl DeviceNode {
    /// What it is called inside a container: Huawei's libraries look for a vNPU's node `/dev/vdavinciN` as `/dev/davinciN`
    /// (Ascend Docker Runtime).
    pub fn path_inside(&self) -> String {
        match self.path.strip_prefix("/dev/vdavinci") {
            Some(number) => format!("/dev/davinci{number}"),
            None => self.path.clone(),
        }
    }
}

/// How a slice was cut from its card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SliceKind {
    /// NVIDIA's multi-instance GPU: one compute instance.
    Mig,
    /// A PCI virtual function (SR-IOV).
    Vf,
    /// A part of an Ascend NPU.
    Vnpu,
    /// A compute partition of an AMD Instinct card (CPX, DPX, QPX).
    Partition,
}

impl SliceKind {
    pub fn name(self) -> &'static str {
        match self {
            SliceKind::Mig => "MIG",
            SliceKind::Vf => "VF",
            SliceKind::Vnpu => "vNPU",
            SliceKind::Partition => "partition",
        }
    }
}

/// What a slice is a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    pub kind: SliceKind,
    pub parent: DeviceId,
    /// The vendor's own name of the slice: "1g.10gb", "CPX 3", "vir04".
    pub profile: String,
}

impl Slice {
    /// Kind and profile, for people: "MIG 1g.10gb", "VF 0", "vNPU vir04".
    pub fn name(&self) -> String {
        let kind = self.kind.name();
        if self.profile.starts_with(kind) { self.profile.clone() } else { format!("{kind} {}", self.profile) }
    }

    /// What it has in common with its like: the name without a number that only tells it apart.
    pub fn sort(&self) -> String {
        let name = self.name();
        match name.rsplit_once(' ') {
            Some((sort, number)) if number.bytes().all(|b| b.is_ascii_digit()) => sort.to_owned(),
            _ => name,
        }
    }
}

/// One accelerator, or a hard slice of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub id: DeviceId,
    pub vendor: Vendor,
    pub class: DeviceClass,
    /// Marketing name where known ("NVIDIA H100 80GB HBM3"), else the PCI id ("10de:2330").
    pub model: String,
    /// Device memory, where the driver or the model table tells.
    pub memory: Option<Bytes>,
    /// What visibility masks and vendor tools count by, from 0 in bus order within vendor and class. For display and
    /// for masks only.
    pub index: u32,
    pub pci: Option<PciAddress>,
    /// The memory node the device hangs off; `None` when firmware does not say.
    pub numa: Option<u32>,
    pub driver: Option<String>,
    pub nodes: Vec<DeviceNode>,
    /// What placement reads: [`Ladder::health`] of `ladder`.
    pub health: Health,
    /// Who made it, for people: "NVIDIA", "Hailo Technologies".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub maker: String,
    /// Compute capability ("sm_90") or instruction set ("gfx942"), where the driver or the model table tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The network port with the shortest way to the device over the PCI tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest_nic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    /// Ways to other devices that do not lead over the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<PeerLink>,
    /// The links that lead to other machines, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<LinkDomain>,
    #[serde(default)]
    pub ladder: Ladder,
    /// Facts of the vendor table that this device rests on and that nobody has confirmed on hardware or in a driver's source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unverified: Vec<String>,
}

impl Device {
    /// Marks it as cut into so many slices, which are granted in its place.
    pub fn divide(&mut self, slices: usize) {
        self.learn(ladder::Answer::NotAsked, vec![], slices);
    }

    /// Goes on from the device nodes with what a library said; below them nothing changes.
    pub fn learn(&mut self, answer: ladder::Answer, faults: Vec<ladder::Fault>, slices: usize) {
        self.ladder = self.ladder.go_on(answer, faults, slices);
        self.health = self.ladder.health();
    }
}

/// Nothing known: for filling in what is.
impl Default for Device {
    fn default() -> Device {
        Device {
            id: DeviceId(String::new()),
            vendor: Vendor::Unknown,
            class: DeviceClass::Npu,
            model: String::new(),
            memory: None,
            index: 0,
            pci: None,
            numa: None,
            driver: None,
            nodes: vec![],
            health: Health::Unusable("not looked at yet".into()),
            maker: String::new(),
            architecture: None,
            nearest_nic: None,
            slice: None,
            links: vec![],
            domain: None,
            ladder: Ladder::default(),
            unverified: vec![],
        }
    }
}

/// `domain:bus:device.function`. The domain is 32 bits wide: VMD and some hosts number from 0x10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    pub domain: u32,
    pub bus: u8,
    pub device: u8,
    pub function: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a PCI address such as 0000:3b:00.0")]
pub struct PciAddressError(pub String);

impl FromStr for PciAddress {
    type Err = PciAddressError;

    fn from_str(text: &str) -> Result<PciAddress, PciAddressError> {
        let parse = || {
            let (rest, function) = text.trim().rsplit_once('.')?;
            let mut parts = rest.split(':');
            let (domain, bus, device) = (parts.next()?, parts.next()?, parts.next()?);
            let wide = (4..=8).contains(&domain.len()) && bus.len() == 2 && device.len() == 2 && function.len() == 1;
            let hexadecimal = [domain, bus, device, function].iter().all(|p| p.bytes().all(|b| b.is_ascii_hexdigit()));
            if parts.next().is_some() || !wide || !hexadecimal {
                return None;
            }
            let address = PciAddress {
                domain: u32::from_str_radix(domain, 16).ok()?,
                bus: u8::from_str_radix(bus, 16).ok()?,
                device: u8::from_str_radix(device, 16).ok()?,
                function: u8::from_str_radix(function, 16).ok()?,
            };
            (address.device < 32 && address.function < 8).then_some(address)
        };
        parse().ok_or_else(|| PciAddressError(text.trim().chars().take(40).collect()))
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PciAddress { domain, bus, device, function } = self;
        f.pad(&format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
    }
}

impl Serialize for PciAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PciAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PciAddress, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_survive_printing() {
        for text in ["0000:3b:00.0", "10000:e1:1f.7", "0001:00:02.1"] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), text);
        }
        for text in ["", "3b:00.0", "0000:3b:00", "0000:3b:20.0", "0000:3b:00.8", "0000:3b:00.0:1", "zzzz:3b:00.0"] {
            assert!(text.parse::<PciAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn slices_are_named_by_kind_and_profile_and_sorted_without_their_number() {
        let slice = |kind, profile: &str| Slice { kind, parent: DeviceId("a".into()), profile: profile.into() };
        for (kind, profile, name, sort) in [
            (SliceKind::Mig, "1g.10gb", "MIG 1g.10gb", "MIG 1g.10gb"),
            (SliceKind::Vf, "VF 3", "VF 3", "VF"),
            (SliceKind::Partition, "CPX 12", "partition CPX 12", "partition CPX"),
            (SliceKind::Vnpu, "vir04", "vNPU vir04", "vNPU vir04"),
            (SliceKind::Vnpu, "117", "vNPU 117", "vNPU"),
        ] {
            let slice = slice(kind, profile);
            assert_eq!((slice.name().as_str(), slice.sort().as_str()), (name, sort));
        }
    }

    #[test]
    fn the_node_of_a_vnpu_has_another_name_inside() {
        let inside = |path: &str| DeviceNode { path: path.into(), major: 1, minor: 2, shared: false }.path_inside();
        assert_eq!(inside("/dev/vdavinci101"), "/dev/davinci101");
        for same in ["/dev/davinci1", "/dev/nvidia0", "/dev/x/vdavinci1"] {
            assert_eq!(inside(same), same);
        }
    }

    #[test]
    fn vendor_names_are_unique_and_read_back() {
        for vendor in Vendor::ALL {
            assert_eq!(Vendor::from_name(vendor.name()), Some(vendor));
            assert_eq!(serde_json::to_string(&vendor).unwrap(), format!("\"{}\"", vendor.name()));
        }
        assert_eq!(Vendor::from_name("NVIDIA"), Some(Vendor::Nvidia));
        assert_eq!(Vendor::from_name("voodoo"), None);
    }
}
