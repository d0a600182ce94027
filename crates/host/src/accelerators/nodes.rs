//! Device nodes: which a card has, which it should have, and whether this person may use them.

use super::glob::expand;
use super::nvidia;
use super::table::{Node, Row};
use crate::pci::Function;
use crate::{Root, text};
use machine::DeviceNode;
use machine::ladder::{Access, NodeSeen};
use std::cell::OnceCell;
use std::collections::BTreeMap;

/// What there is of a card's nodes.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub nodes: Vec<DeviceNode>,
    /// The card's own first, then the shared ones; missing ones too. Empty for a capture without any node, which tells
    /// nothing about nodes.
    pub seen: Vec<NodeSeen>,
    /// Rules of the row that gave or wanted a node and are not verified.
    pub unverified: Vec<String>,
}

/// Looks for every node that the row names. `position`: which of the row's cards it is, from 0; `minor`: as NVIDIA's driver
/// tells it.
pub(super) fn find(root: &Root, function: &Function, row: &Row, position: u32, minor: Option<u32>, numbers: &Numbers) -> Found {
    let mut found = Found::default();
    let mut missing: Vec<String> = Vec::new();
    let mut wanted_own: Option<String> = None;
    for fact in row.nodes {
        let before = found.nodes.len();
        let wanted_before = wanted_own.clone();
        let (path, shared, required) = match fact.value {
            Node::Own(pattern, folder) => {
                found.nodes.extend(own_nodes(root, function, pattern, folder));
                wanted_own = wanted_own.or_else(|| Some(fact.value.name()));
                note(&mut found, before, wanted_own != wanted_before, fact.verified, &fact.value);
                continue;
            }
            Node::Numbered(pattern) => (pattern.replace("{n}", &position.to_string()), false, false),
            Node::NvidiaMinor(pattern) => (pattern.replace("{n}", &minor.unwrap_or(position).to_string()), false, false),
            Node::VfioGroup => match root.link_name(&format!("{}/iommu_group", function.path)) {
                Some(group) => (format!("/dev/vfio/{group}"), false, false),
                None => continue,
            },
            Node::Shared(path) => (path.to_owned(), true, true),
            Node::SharedIfThere(path) => (path.to_owned(), true, false),
        };
        match numbers.of(&path) {
            Some((major, minor)) => found.nodes.push(DeviceNode { path, major, minor, shared }),
            None if required => missing.push(path),
            None if !shared => wanted_own = wanted_own.or(Some(path)),
            None => {}
        }
        note(&mut found, before, required || wanted_own != wanted_before, fact.verified, &fact.value);
    }
    if !found.nodes.iter().any(|node| !node.shared) {
        missing.splice(0..0, wanted_own);
    }
    if root.is_live() || !found.nodes.is_empty() {
        found.seen = missing.into_iter().map(|path| NodeSeen { path, access: Access::Missing }).collect();
        found.seen.extend(found.nodes.iter().map(|node| NodeSeen { path: node.path.clone(), access: access(root, &node.path) }));
    }
    found
}

fn note(found: &mut Found, before: usize, wanted: bool, verified: bool, rule: &Node) {
    if !verified && (wanted || found.nodes.len() > before) {
        found.unverified.push(format!("device node {}", rule.name()));
    }
}

/// Asked of the permissions, not by opening: opening a card may wake it, or take it from whoever holds it.
fn access(root: &Root, path: &str) -> Access {
    use rustix::fs::{Access as Wanted, AtFlags, CWD, accessat};
    if !root.is_live() {
        return Access::Fine;
    }
    match accessat(CWD, path, Wanted::READ_OK | Wanted::WRITE_OK, AtFlags::EACCESS) {
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Access::Denied(group_of(root, path)),
        _ => Access::Fine,
    }
}

/// The group that may use a node, where its mode has one.
fn group_of(root: &Root, path: &str) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(path).ok().filter(|about| about.mode() & 0o060 == 0o060)?;
    let groups = root.text("etc/group")?;
    let line = groups.lines().find(|line| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(about.gid()))?;
    line.split(':').next().filter(|name| *name != "root").map(str::to_owned)
}

fn own_nodes(root: &Root, function: &Function, pattern: &str, folder: &str) -> Vec<DeviceNode> {
    let node = |path: &String| {
        let (major, minor) = major_minor(&root.text(&format!("{path}/dev"))?)?;
        let uevent = root.text(&format!("{path}/uevent")).unwrap_or_default();
        let bare = path.rsplit('/').next().unwrap_or_default();
        let name = text::assignment(&uevent, "DEVNAME").map_or_else(|| format!("{folder}{}", bare.replace('!', "/")), str::to_owned);
        let path = format!("/dev/{}", name.trim_start_matches("/dev/"));
        // sysfs may be the host's where /dev is a container's with fewer nodes.
        (!root.is_live() || root.char_device(&path) == Some((major, minor))).then_some(DeviceNode { path, major, minor, shared: false })
    };
    expand(root, &function.path, pattern).iter().filter_map(node).collect()
}

pub(super) fn major_minor(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Device numbers by path: `/dev` itself on a live machine; in a capture, which cannot hold device nodes, what sysfs and
/// `/proc/devices` say of them.
pub(super) struct Numbers<'r> {
    root: &'r Root,
    by_name: OnceCell<BTreeMap<String, (u32, u32)>>,
}

impl<'r> Numbers<'r> {
    pub(super) fn below(root: &'r Root) -> Numbers<'r> {
        Numbers { root, by_name: OnceCell::new() }
    }

    pub(super) fn of(&self, path: &str) -> Option<(u32, u32)> {
        self.root.char_device(path).or_else(|| {
            let captured = !self.root.is_live();
            captured.then(|| self.by_name.get_or_init(|| captured_numbers(self.root)).get(path).copied()).flatten()
        })
    }

    /// Every node `/dev/PREFIXn` by its n.
    pub(super) fn numbered(&self, prefix: &str) -> Vec<(u32, DeviceNode)> {
        let names = match self.root.is_live() {
            true => self.root.names("dev"),
            false => {
                let known = self.by_name.get_or_init(|| captured_numbers(self.root)).keys();
                known.filter_map(|path| path.strip_prefix("/dev/").map(str::to_owned)).collect()
            }
        };
        let node = |name: &String| {
            let number = name.strip_prefix(prefix)?.parse::<u32>().ok()?;
            let path = format!("/dev/{name}");
            let (major, minor) = self.of(&path)?;
            Some((number, DeviceNode { path, major, minor, shared: false }))
        };
        let mut found: Vec<(u32, DeviceNode)> = names.iter().filter_map(node).collect();
        found.sort_by_key(|(number, _)| *number);
        found.dedup_by_key(|(number, _)| *number);
        found
    }
}

fn captured_numbers(root: &Root) -> BTreeMap<String, (u32, u32)> {
    const CHARACTER: &str = "sys/dev/char";
    let named = |numbers: &String| {
        let uevent = root.text(&format!("{CHARACTER}/{numbers}/uevent"))?;
        Some((format!("/dev/{}", text::assignment(&uevent, "DEVNAME")?), major_minor(numbers)?))
    };
    let mut found: BTreeMap<String, (u32, u32)> = root.names(CHARACTER).iter().filter_map(named).collect();
    found.extend(nvidia::captured_nodes(root));
    found
}
