//! Which devices a rank's vendor libraries may see.
//!
//! The sandbox decides what a rank can open; these variables decide what a library tries. Both are needed:
//! several stacks answer to `CUDA_VISIBLE_DEVICES`, an unset mask means "all", and a library that finds a card
//! of the wrong vendor first takes it.

use crate::LaunchError;
use crate::variables::Variables;
use machine::{Device, DeviceClass, Vendor};
use std::collections::BTreeMap;

/// How one vendor's user-space library is told which devices to use.
struct Mask {
    vendor: Vendor,
    /// What the process reads; lists devices by index, or by a stable id that begins with one of `ids`.
    variable: &'static str,
    ids: &'static [&'static str],
    /// The value that hides every device; `None` where no value is known to.
    hide: Option<&'static str>,
    /// A second filter that counts within the first one: given as `0,1,..`, so that it cannot fall back to
    /// another vendor's variable.
    within: Option<&'static str>,
    /// Set beside the mask where it lists devices: name, value, reason.
    beside: Option<(&'static str, &'static str, &'static str)>,
}

const fn plain(vendor: Vendor, variable: &'static str) -> Mask {
    Mask { vendor, variable, ids: &[], hide: Some(""), within: None, beside: None }
}

/// The masks in this table: vendor, variable. For comparing with the table of devices.
pub fn mask_variables() -> impl Iterator<Item = (Vendor, &'static str)> {
    MASKS.iter().map(|mask| (mask.vendor, mask.variable))
}

/// One row a vendor. Sources: the vendors' environment-variable documentation; for AMD also the open runtime
/// (an empty ROCR mask selects no device; HIP reads CUDA's variable when its own is empty or missing). Vendors
/// without a row have no variable that counts whole devices in bus order (Gaudi counts modules, Neuron cores),
/// or none that is known; for them the device nodes alone decide.
const MASKS: &[Mask] = &[
    Mask {
        ids: &["GPU-", "MIG-"],
        beside: Some(("CUDA_DEVICE_ORDER", "PCI_BUS_ID", "CUDA counts devices as every other tool does, not fastest first")),
        ..plain(Vendor::Nvidia, "CUDA_VISIBLE_DEVICES")
    },
    Mask { ids: &["GPU-"], within: Some("HIP_VISIBLE_DEVICES"), ..plain(Vendor::Amd, "ROCR_VISIBLE_DEVICES") },
    // HIP takes an empty mask for none at all; -1 ends the list before it begins.
    Mask { hide: Some("-1"), ..plain(Vendor::Hygon, "HIP_VISIBLE_DEVICES") },
    // Level Zero takes an empty mask for none at all.
    Mask {
        hide: None,
        beside: Some(("ZE_ENABLE_PCI_ID_DEVICE_ORDER", "1", "Level Zero counts devices in bus order")),
        ..plain(Vendor::Intel, "ZE_AFFINITY_MASK")
    },
    plain(Vendor::Ascend, "ASCEND_RT_VISIBLE_DEVICES"),
    plain(Vendor::Cambricon, "MLU_VISIBLE_DEVICES"),
    plain(Vendor::MooreThreads, "MUSA_VISIBLE_DEVICES"),
    plain(Vendor::Metax, "CUDA_VISIBLE_DEVICES"),
    plain(Vendor::Iluvatar, "CUDA_VISIBLE_DEVICES"),
    plain(Vendor::THead, "CUDA_VISIBLE_DEVICES"),
    plain(Vendor::Kunlunxin, "XPU_VISIBLE_DEVICES"),
    plain(Vendor::Enflame, "TOPS_VISIBLE_DEVICES"),
    plain(Vendor::Biren, "SUPA_VISIBLE_DEVICES"),
    plain(Vendor::Google, "TPU_VISIBLE_CHIPS"),
    plain(Vendor::Tenstorrent, "TT_VISIBLE_DEVICES"),
    plain(Vendor::Rebellions, "RBLN_DEVICES"),
];

fn mask_of(vendor: Vendor) -> Option<&'static Mask> {
    MASKS.iter().find(|mask| mask.vendor == vendor)
}

/// The neural engine inside a processor of AMD or Intel is not among what the masks of their graphics cards count.
fn is_masked(device: &Device) -> bool {
    !(matches!(device.vendor, Vendor::Amd | Vendor::Intel) && device.class == DeviceClass::Npu)
}

/// What there is to see and to hide for one rank.
pub(crate) struct View<'a> {
    pub rank: u32,
    /// Devices the rank shall see, in the order it shall count them.
    pub shown: Vec<&'a Device>,
    /// All devices of the machine.
    pub machine: &'a [Device],
    /// When the run can open no other devices than these, its libraries count within them.
    pub within: Option<Vec<&'a Device>>,
}

impl View<'_> {
    fn name_of(&self, device: &Device, mask: &Mask) -> String {
        if mask.ids.iter().any(|prefix| device.id.0.starts_with(prefix)) {
            return device.id.0.clone();
        }
        let index = match &self.within {
            None => device.index as usize,
            // Libraries count the cards they can open from 0, in bus order: that is, by falling out of the others.
            Some(granted) => granted
                .iter()
                .filter(|other| (other.vendor, other.class) == (device.vendor, device.class) && other.index < device.index)
                .count(),
        };
        index.to_string()
    }
}

/// Shows a rank its devices and hides those of every other vendor on the machine.
pub(crate) fn fill(variables: &mut Variables, view: &View) -> Result<(), LaunchError> {
    let mut listed: BTreeMap<&str, (Vendor, Vec<String>)> = BTreeMap::new();
    for device in view.shown.iter().filter(|device| is_masked(device)) {
        let Some(mask) = mask_of(device.vendor) else { continue };
        let (vendor, names) = listed.entry(mask.variable).or_insert((device.vendor, vec![]));
        if *vendor != device.vendor {
            let (rank, variable) = (view.rank, mask.variable);
            return Err(LaunchError::SharedMask { rank, variable, first: *vendor, second: device.vendor });
        }
        names.push(view.name_of(device, mask));
    }
    hide_others(variables, view, &listed);
    for (vendor, names) in listed.values() {
        let Some(mask) = mask_of(*vendor) else { continue };
        variables.fix(mask.variable, names.join(","), format!("the {vendor} devices of this rank"));
        if let Some(name) = mask.within {
            let positions: Vec<String> = (0..names.len()).map(|position| position.to_string()).collect();
            let why = format!("all that {} leaves; unset, another vendor's mask would be read instead", mask.variable);
            variables.fix(name, positions.join(","), why);
        }
        if let Some((name, value, why)) = mask.beside {
            variables.fix(name, value, why);
        }
    }
    Ok(())
}

fn hide_others(variables: &mut Variables, view: &View, listed: &BTreeMap<&str, (Vendor, Vec<String>)>) {
    let absent = |vendor: Vendor| !listed.values().any(|(shown, _)| *shown == vendor);
    // A run without devices must not find a card that discovery missed (a driver loaded since, an odd bus):
    // NVIDIA's is the one stack that many programs try without being asked.
    let always = view.shown.is_empty().then_some(Vendor::Nvidia);
    let present = view.machine.iter().map(|device| device.vendor).chain(always);
    for mask in present.filter(|vendor| absent(*vendor)).filter_map(mask_of) {
        let why = || format!("this rank holds no {} device", mask.vendor);
        // Another vendor's devices listed in one of the variables are listed for that stack alone.
        let taken = |name: &str| listed.contains_key(name);
        if taken(mask.variable) || mask.within.is_some_and(taken) {
            continue;
        }
        if let Some(nothing) = mask.hide {
            variables.fix(mask.variable, nothing, why());
        }
        if let Some(name) = mask.within {
            variables.fix(name, "-1", why());
        }
    }
}
