//! The Container Device Interface (CDI): files in which vendors say what a container needs for a device.
//!
//! Format: the CNCF's container-device-interface specification, versions 0.3 to 1.0, JSON or YAML, in `/etc/cdi` and
//! `/var/run/cdi`. What vendors installed is read here, bounded and checked ([`installed`]); for vendors that bring no
//! program that writes such files, [`spec`] makes one from the devices that were found.

mod format;

use crate::Root;
use crate::accelerators::table;
use format::{ContainerEdits, DeviceNode, File, Named};
use machine::{Device, SliceKind, Vendor};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Where specs lie, the administrator's first: a later folder wins over an earlier one.
pub const FOLDERS: [&str; 2] = ["etc/cdi", "var/run/cdi"];
/// Limits of what is taken in.
const LARGEST_FILE: usize = 1 << 20;
const MOST_FILES: usize = 64;

/// One spec that a vendor installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Below the root.
    pub path: String,
    /// "nvidia.com/gpu".
    pub kind: String,
    pub version: String,
    pub devices: Vec<Entry>,
    /// Device nodes that each device of the kind gets besides its own.
    pub shared: Vec<String>,
    /// What is wrong with it: no container engine takes such a file whole.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// As asked for: `nvidia.com/gpu=0`.
    pub name: String,
    pub nodes: Vec<String>,
    /// Nodes that it names and that are not there: the file is older than the machine's state.
    pub missing: Vec<String>,
}

/// Every spec in the two folders, and a sentence for each file that is none.
pub fn installed(root: &Root) -> (Vec<Installed>, Vec<String>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for folder in FOLDERS {
        let names = root.names(folder);
        let files = names.into_iter().filter(|name| [".json", ".yaml", ".yml"].iter().any(|end| name.ends_with(end)));
        for name in files.take(MOST_FILES) {
            let path = format!("{folder}/{name}");
            let read = root
                .bytes(&path)
                .map_err(|error| error.to_string())
                .and_then(|bytes| format::parse(&bytes, LARGEST_FILE, name.ends_with(".json")));
            match read {
                Ok(file) => found.push(checked(root, path, file)),
                Err(problem) => problems.push(format!("/{path}: {problem}")),
            }
        }
    }
    (found, problems)
}

fn checked(root: &Root, path: String, file: File) -> Installed {
    let mut problems = format::problems(&file);
    let on_host = |node: &DeviceNode| node.host_path.as_ref().unwrap_or(&node.path).clone();
    let nodes = |edits: &ContainerEdits| edits.device_nodes.iter().map(on_host).collect::<Vec<_>>();
    let entry = |device: &Named| {
        let nodes = nodes(&device.container_edits);
        // A capture holds no nodes at all.
        let missing = nodes.iter().filter(|node| root.is_live() && root.char_device(node).is_none()).cloned().collect();
        Entry { name: device.name.clone(), nodes, missing }
    };
    let devices: Vec<Entry> = file.devices.iter().map(entry).collect();
    let absent = devices.iter().filter(|device| !device.missing.is_empty()).count();
    if absent > 0 {
        problems.push(format!("{absent} of its devices name nodes that are not there: write it anew with the vendor's program"));
    }
    Installed { path, kind: file.kind, version: file.cdi_version, devices, shared: nodes(&file.container_edits), problems }
}

/// Vendors whose own program writes specs, with its name: it knows their libraries, which we do not.
pub fn own_program(vendor: Vendor) -> Option<&'static str> {
    match vendor {
        Vendor::Nvidia => Some("nvidia-ctk cdi generate"),
        Vendor::Amd => Some("amd-ctk cdi generate"),
        Vendor::Intel => Some("intel-cdi-specs-generator"),
        _ => None,
    }
}

/// The spec of one vendor's usable devices, as JSON; `None` where it has none that could be given to a container. Each
/// device is named by its number, by its id where that is a name that CDI allows, and all of them together by `all`.
pub fn spec(vendor: Vendor, devices: &[Device]) -> Option<String> {
    let usable: Vec<&Device> = devices
        .iter()
        .filter(|device| device.vendor == vendor && device.health.is_ready() && device.nodes.iter().any(|node| !node.shared))
        .collect();
    if usable.is_empty() || vendor == Vendor::Unknown {
        return None;
    }
    let node = |node: &machine::DeviceNode| DeviceNode {
        path: node.path_inside(),
        host_path: Some(node.path.clone()).filter(|path| *path != node.path_inside()),
        kind: Some("c".into()),
        major: Some(i64::from(node.major)),
        minor: Some(i64::from(node.minor)),
    };
    let own = |device: &Device| ContainerEdits {
        device_nodes: device.nodes.iter().filter(|node| !node.shared).map(node).collect(),
        ..ContainerEdits::default()
    };
    let mut named: Vec<Named> = Vec::new();
    let mut names: BTreeSet<String> = BTreeSet::new();
    for device in &usable {
        let numbered = device.slice.as_ref().is_none_or(|slice| slice.kind == SliceKind::Partition);
        let number = numbered.then(|| device.index.to_string());
        let id = format::is_name(&device.id.0).then(|| device.id.0.clone());
        for name in number.into_iter().chain(id) {
            if names.insert(name.clone()) {
                named.push(Named { name, container_edits: own(device) });
            }
        }
    }
    let mut all = ContainerEdits::default();
    let mut shared = ContainerEdits::default();
    for device in &usable {
        add_new(&mut all.device_nodes, own(device).device_nodes);
        add_new(&mut shared.device_nodes, device.nodes.iter().filter(|node| node.shared).map(node).collect());
    }
    named.push(Named { name: "all".into(), container_edits: all });
    let file = File { cdi_version: "0.5.0".into(), kind: format!("ashlar/{}", vendor.name()), devices: named, container_edits: shared };
    serde_json::to_string_pretty(&file).ok().map(|text| text + "\n")
}

fn add_new(nodes: &mut Vec<DeviceNode>, more: Vec<DeviceNode>) {
    for node in more {
        if !nodes.iter().any(|known| known.path == node.path) {
            nodes.push(node);
        }
    }
}

/// What [`write`] did for one vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    File {
        vendor: Vendor,
        path: PathBuf,
    },
    /// Left to the vendor's program of this name.
    Left {
        vendor: Vendor,
        program: &'static str,
    },
    /// None of its devices is usable.
    Nothing {
        vendor: Vendor,
    },
}

/// Writes a spec for each vendor that brings no program of its own to do so. A file appears whole or not at all.
///
/// # Errors
/// When the folder or a file in it cannot be written.
pub fn write(folder: &Path, devices: &[Device]) -> io::Result<Vec<Written>> {
    let vendors: BTreeSet<Vendor> = devices.iter().map(|device| device.vendor).filter(|vendor| *vendor != Vendor::Unknown).collect();
    let mut done = Vec::new();
    for vendor in vendors {
        if let Some(program) = own_program(vendor) {
            done.push(Written::Left { vendor, program });
            continue;
        }
        let Some(text) = spec(vendor, devices) else {
            done.push(Written::Nothing { vendor });
            continue;
        };
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("ashlar-{}.json", vendor.name()));
        let half = folder.join(format!(".ashlar-{}.json.new", vendor.name()));
        std::fs::write(&half, text)?;
        std::fs::rename(&half, &path)?;
        done.push(Written::File { vendor, path });
    }
    Ok(done)
}

/// Vendors of the table, by the first part of the kinds of their specs, for telling whose file it is.
pub fn vendor_of(kind: &str) -> Option<Vendor> {
    let domain = kind.split('/').next()?;
    if domain == "ashlar" {
        return Vendor::from_name(kind.split('/').nth(1)?);
    }
    let known = [
        ("nvidia.com", Vendor::Nvidia),
        ("amd.com", Vendor::Amd),
        ("intel.com", Vendor::Intel),
        ("habana.ai", Vendor::Gaudi),
        ("huawei.com", Vendor::Ascend),
        ("cambricon.com", Vendor::Cambricon),
        ("hygon.com", Vendor::Hygon),
        ("mthreads.com", Vendor::MooreThreads),
        ("metax-tech.com", Vendor::Metax),
        ("iluvatar.com", Vendor::Iluvatar),
        ("kunlunxin.com", Vendor::Kunlunxin),
        ("enflame.com", Vendor::Enflame),
        ("furiosa.ai", Vendor::Furiosa),
        ("rebellions.ai", Vendor::Rebellions),
    ];
    let vendor = known.into_iter().find(|(name, _)| domain == *name || domain.ends_with(&format!(".{name}"))).map(|(_, vendor)| vendor);
    vendor.filter(|vendor| table::rows().any(|row| row.vendor == *vendor))
}

#[cfg(test)]
mod tests;
