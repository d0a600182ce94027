//! A whole machine in one archive, to be sent to somebody else and looked at there.
//!
//! [`write`] lets every reader of this crate look at the machine while a list is kept of what they look at, adds a fixed
//! list of files ([`plan`]), replaces every name of a person, machine or part ([`redact`]) and packs the rest.
//! [`open`] unpacks such an archive into a [`Root`]: what readers find there is what they found on the machine, except
//! for the names.

mod command_line;
mod fragment;
mod kernel_log;
mod plan;
mod redact;
mod unpack;
mod walk;

pub use fragment::{holds_machine, open_folder};
pub(crate) use plan::is_denied;
pub use redact::{Redactor, Text};
pub use unpack::{Limits, UnpackError, open, unpack};

use crate::root::ASKED;
use crate::{Root, facts, paths, probe, survey, topology};
use flate2::Compression;
use flate2::write::GzEncoder;
use machine::Source;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use tar::{Builder, EntryType, Header};
use walk::{Entry, Walk};

/// Bytes of one file that are taken; `/proc/cpuinfo` of the largest machines is below it.
const LARGEST_FILE: usize = 4 << 20;
/// Bytes of all files together.
const LARGEST_CAPTURE: usize = 256 << 20;
/// What is listed by name among what was left out.
const MOST_NAMED: usize = 200;
const MANIFEST: &str = "ashlar/capture.json";

/// What a vendor's tool printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOutput {
    /// File name in `ashlar/tools/`.
    pub name: String,
    pub text: String,
}

/// What a capture holds, as its own first file says too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Of the layout of the archive.
    pub format: u32,
    /// Whether root made it: an ordinary user sees less.
    pub as_root: bool,
    pub files: usize,
    pub links: usize,
    pub folders: usize,
    pub bytes: usize,
    pub tools: Vec<String>,
    /// Records of the kernel's log that other programs wrote, which are left out.
    pub log_records_left_out: usize,
    /// Path and reason of what could not be read or may not be taken.
    pub left_out: Vec<(String, String)>,
    pub left_out_count: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("cannot write the capture: {0}")]
    Write(#[from] io::Error),
    #[error("cannot read the machine: {0}")]
    Read(#[from] crate::HostError),
}

impl CaptureError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            CaptureError::Write(_) => Some("is there room, and may you write there?"),
            CaptureError::Read(error) => error.hint(),
        }
    }
}

/// A key that nobody knows, for one capture.
///
/// # Errors
/// When the kernel gives no random numbers.
pub fn random_key() -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    let mut filled = 0;
    while filled < key.len() {
        filled += rustix::rand::getrandom(&mut key[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(key)
}

/// Packs the machine below `root` into a gzipped tar archive. `wanted` are files that somebody else will look for in it, and `key`
/// is that of the hash that makes tokens of names.
///
/// # Errors
/// When the archive cannot be written, or no machine is found.
pub fn write(
    root: &Root,
    wanted: &BTreeSet<Source>,
    tools: &[ToolOutput],
    key: [u8; 32],
    out: impl Write,
) -> Result<Summary, CaptureError> {
    let (recorded, reads) = root.recorded();
    let machine = probe(&recorded)?;
    let _ = survey::survey(&recorded, &survey::Options::default());
    let _ = paths::paths(&recorded, &machine);
    let _ = crate::readiness::readings(&recorded, wanted, &machine.facts.kernel);
    let mut walk = Walk::new(root);
    walk.take_reads(&reads);
    walk.take_plan();
    let is_full = walk.is_full();
    let found = walk.found;
    let redactor = redactor(root, &found, key);
    let mut pack = Pack::new(redactor, out);
    if is_full {
        pack.leave_out("", "more entries than a capture holds");
    }
    pack.tree(root, &found);
    pack.asked(root, &reads.nodes());
    pack.own(root, machine, tools);
    pack.finish()
}

/// Knows the names of this machine, its people and its parts.
fn redactor(root: &Root, found: &BTreeMap<String, Entry>, key: [u8; 32]) -> Redactor {
    let mut redactor = Redactor::new(key);
    for path in found.keys().filter(|path| plan::is_serial(path)) {
        if let Some(serial) = root.text(path) {
            redactor.learn_serial(&serial);
        }
    }
    for path in ["proc/sys/kernel/hostname", "etc/hostname"] {
        if let Some(name) = root.text(path) {
            redactor.learn_name("host", &name);
        }
    }
    let passwords = root.text("etc/passwd").unwrap_or_default();
    for line in passwords.lines() {
        let mut fields = line.split(':');
        let (name, id) = (fields.next().unwrap_or_default(), fields.nth(1).and_then(|id| id.parse::<u32>().ok()));
        // Below 1000 are accounts of the system, 65534 is nobody.
        if id.is_some_and(|id| id >= 1000 && id != 65534) {
            redactor.learn_name("user", name);
        }
    }
    redactor.finish();
    redactor
}

/// Entries of the archive on their way.
struct Pack<W: Write> {
    redactor: Redactor,
    entries: BTreeMap<String, Packed>,
    summary: Summary,
    out: W,
}

enum Packed {
    Folder,
    Link(String),
    File(Vec<u8>),
}

impl<W: Write> Pack<W> {
    fn new(redactor: Redactor, out: W) -> Pack<W> {
        let summary = Summary { format: 1, as_root: rustix::process::geteuid().is_root(), ..Summary::default() };
        Pack { redactor, entries: BTreeMap::new(), summary, out }
    }

    fn leave_out(&mut self, path: &str, why: &str) {
        self.summary.left_out_count += 1;
        if self.summary.left_out.len() < MOST_NAMED {
            let path = self.redactor.text(path, Text::Kernel);
            self.summary.left_out.push((path, why.to_owned()));
        }
    }

    fn tree(&mut self, root: &Root, found: &BTreeMap<String, Entry>) {
        for (path, entry) in found {
            let packed = match entry {
                Entry::Folder => Packed::Folder,
                Entry::Link(target) => Packed::Link(self.redactor.text(target, Text::Kernel)),
                Entry::File => match self.content(root, path) {
                    Some(content) => Packed::File(content),
                    None => continue,
                },
            };
            let path = self.redactor.text(path, Text::Kernel);
            self.entries.insert(path, packed);
        }
    }

    fn content(&mut self, root: &Root, path: &str) -> Option<Vec<u8>> {
        if self.summary.bytes > LARGEST_CAPTURE {
            self.leave_out(path, "the capture is full");
            return None;
        }
        let bytes = match root.bytes(path) {
            Ok(bytes) if bytes.len() <= LARGEST_FILE => bytes,
            Ok(_) => {
                self.leave_out(path, "too long");
                return None;
            }
            Err(error) => {
                self.leave_out(path, &why(&error));
                return None;
            }
        };
        let Some(content) = redacted(path, bytes, &self.redactor) else {
            self.leave_out(path, "not text");
            return None;
        };
        self.summary.bytes += content.len();
        Some(content)
    }

    /// Answers of system calls, which a capture has to keep for its readers.
    fn asked(&mut self, root: &Root, nodes: &BTreeMap<String, (u32, u32)>) {
        if !root.is_live() {
            return;
        }
        if let Some(affinity) = topology::affinity(root) {
            self.own_file(&format!("{ASKED}/affinity"), affinity.to_string());
        }
        self.own_file(&format!("{ASKED}/landlock"), if facts::landlock(root) { "yes" } else { "no" }.to_owned());
        for (path, (major, minor)) in nodes {
            self.own_file(&format!("{ASKED}/nodes/{path}"), format!("{major}:{minor}"));
        }
    }

    fn own_file(&mut self, path: &str, text: String) {
        self.summary.bytes += text.len();
        self.entries.insert(path.to_owned(), Packed::File(text.into_bytes()));
    }

    /// The kernel's log, what tools printed, and what we make of the machine.
    fn own(&mut self, root: &Root, mut machine: machine::Machine, tools: &[ToolOutput]) {
        match kernel_log::read(root) {
            Ok(log) => {
                let (log, left_out) = kernel_log::redacted(&log, &self.redactor);
                self.summary.log_records_left_out = left_out;
                self.own_file(kernel_log::LOG, log);
            }
            Err(why) => self.leave_out(kernel_log::LOG, &why),
        }
        for tool in tools {
            let text = self.redactor.text(&without_processes(&tool.text), Text::Prose);
            self.own_file(&format!("ashlar/tools/{}", tool.name), text);
            self.summary.tools.push(tool.name.clone());
        }
        machine.hostname = self.redactor.name("host", &machine.hostname);
        machine.id = self.redactor.serial(&machine.id);
        machine.facts.command_line = command_line::filter(&machine.facts.command_line);
        if let Ok(json) = serde_json::to_string_pretty(&machine) {
            let json = self.redactor.text(&json, Text::Prose);
            self.own_file("ashlar/machine.json", json);
        }
    }

    fn finish(mut self) -> Result<Summary, CaptureError> {
        let count = |wanted: fn(&Packed) -> bool| self.entries.values().filter(|entry| wanted(entry)).count();
        self.summary.files = count(|entry| matches!(entry, Packed::File(_)));
        self.summary.links = count(|entry| matches!(entry, Packed::Link(_)));
        self.summary.folders = count(|entry| matches!(entry, Packed::Folder));
        let mut archive = Builder::new(GzEncoder::new(self.out, Compression::default()));
        let manifest = serde_json::to_vec_pretty(&self.summary).map_err(io::Error::other)?;
        for (path, entry) in std::iter::once((MANIFEST.to_owned(), Packed::File(manifest))).chain(self.entries) {
            let mut header = Header::new_gnu();
            let (kind, mode, content) = match &entry {
                Packed::Folder => (EntryType::Directory, 0o755, &[][..]),
                Packed::Link(_) => (EntryType::Symlink, 0o777, &[][..]),
                Packed::File(content) => (EntryType::Regular, 0o644, &content[..]),
            };
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            // When it was made is nobody's business either.
            header.set_mtime(0);
            match &entry {
                Packed::Link(target) => archive.append_link(&mut header, &path, target)?,
                _ => archive.append_data(&mut header, &path, content)?,
            }
        }
        archive.into_inner()?.finish()?.flush()?;
        Ok(self.summary)
    }
}

/// The reason without the path, which may hold a name.
fn why(error: &crate::HostError) -> String {
    match error {
        crate::HostError::Read { source, .. } => source.to_string(),
        crate::HostError::TooLarge { .. } => "too long".to_owned(),
        crate::HostError::NotAFile { .. } => "not a plain file".to_owned(),
        _ => "not readable".to_owned(),
    }
}

/// A file without names; `None` for one that is no text and not known to be without names.
fn redacted(path: &str, bytes: Vec<u8>, redactor: &Redactor) -> Option<Vec<u8>> {
    if plan::is_binary_wanted(path) {
        return Some(if path.ends_with("/config") { without_device_serial(bytes, redactor) } else { bytes });
    }
    let text = String::from_utf8(bytes).ok()?;
    let name = path.rsplit('/').next().unwrap_or(path);
    let done = match path {
        _ if plan::is_serial(path) => {
            let bare = text.trim();
            let done = redactor.text(bare, Text::Kernel);
            text.replacen(bare, &if done == bare { redactor.serial(bare) } else { done }, usize::from(!bare.is_empty()))
        }
        "proc/sys/kernel/hostname" | "etc/hostname" => redactor.name("host", text.trim()) + "\n",
        "etc/machine-id" => redactor.serial(text.trim()) + "\n",
        "proc/cmdline" => command_line::filter(&text) + "\n",
        "proc/version" => redactor.text(&text, Text::Prose),
        "proc/modules" => without_addresses(&text),
        _ if path.starts_with("proc/") && (name == "mountinfo" || name == "mounts") => redactor.text(&kernel_mounts(&text), Text::Kernel),
        // The text that a fabric knows this machine by.
        _ if name == "node_desc" || name == "address" && path.contains("nvme") => redactor.text(&text, Text::Prose),
        _ => redactor.text(&text, Text::Kernel),
    };
    Some(done.into_bytes())
}

/// A PCI Express device serial number is made from a card's network address (PCIe 6.0, 7.9.3).
fn without_device_serial(mut config: Vec<u8>, redactor: &Redactor) -> Vec<u8> {
    const SERIAL_NUMBER: u32 = 0x0003;
    let mut at = 0x100;
    for _ in 0..256 {
        let Some(head) = config.get(at..at + 4).and_then(|head| head.try_into().ok()).map(u32::from_le_bytes) else { break };
        if head & 0xffff == SERIAL_NUMBER
            && let Some(serial) = config.get_mut(at + 4..at + 12)
        {
            let mut bytes: [u8; 8] = [0; 8];
            bytes.copy_from_slice(serial);
            // The register is little-endian, tools print it from the top.
            bytes.reverse();
            bytes = redactor.guid(bytes);
            bytes.reverse();
            serial.copy_from_slice(&bytes);
        }
        at = (head >> 20) as usize & !3;
        if at < 0x100 {
            break;
        }
    }
    config
}

/// Where modules lie in the kernel's memory helps nobody but an attacker.
fn without_addresses(text: &str) -> String {
    let line = |line: &str| match line.split_once(" 0x") {
        Some((before, address)) => {
            let rest: String = address.chars().skip_while(char::is_ascii_hexdigit).collect();
            format!("{before} 0x0000000000000000{rest}\n")
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Mounts of the kernel's own file systems: others name servers, tenants and volumes.
fn kernel_mounts(text: &str) -> String {
    const KINDS: [&str; 14] = [
        "cgroup",
        "cgroup2",
        "cpuset",
        "sysfs",
        "proc",
        "resctrl",
        "tracefs",
        "debugfs",
        "hugetlbfs",
        "securityfs",
        "devtmpfs",
        "bpf",
        "configfs",
        "efivarfs",
    ];
    let kept = |line: &&str| {
        let kind = match line.split_once(" - ") {
            Some((_, tail)) => tail.split_whitespace().next(),
            None => line.split_whitespace().nth(2),
        };
        kind.is_some_and(|kind| KINDS.contains(&kind))
    };
    text.lines().filter(kept).map(|line| format!("{line}\n")).collect()
}

/// Tools list the processes on a card, some with their command lines.
fn without_processes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut inside: Option<usize> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if inside.is_some_and(|level| !line.trim().is_empty() && indent <= level) {
            inside = None;
        }
        let framed = line.trim_start_matches(['|', '+', ' ']).to_ascii_lowercase();
        if inside.is_none() && framed.starts_with("processes") {
            // The framed list of `nvidia-smi` is the last thing it prints.
            inside = Some(if line.starts_with('|') { 0 } else { indent });
            kept.push_str("(processes are left out)\n");
            if line.starts_with('|') {
                break;
            }
        }
        if inside.is_none() {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests;
