//! Caches from the device tree of POWER machines whose kernels tell no caches in sysfs.
//!
//! Properties are those of the Open Firmware processor binding and of the Linux on Power Architecture Reference (LoPAR).

use super::Options;
use crate::{Folder, Root};
use machine::topology::{Cache, CacheKind, Kind, Object};
use machine::{Bytes, CpuSet};

const CPUS: &str = "proc/device-tree/cpus";
/// More entries than any machine has.
const MOST_ENTRIES: usize = 16_384;

struct Entry {
    /// `None` for a cache.
    cpus: Option<CpuSet>,
    handle: Option<u32>,
    next_cache: Option<u32>,
    name: String,
}

pub fn look(root: &Root, options: &Options, machine: &mut Object) {
    let mut entries = Vec::new();
    for name in root.names(CPUS).into_iter().take(MOST_ENTRIES) {
        let Some(folder) = root.folder(&format!("{CPUS}/{name}")) else { continue };
        let handle = ["phandle", "ibm,phandle", "linux,phandle"].into_iter().find_map(|name| cell(&folder, name));
        let next_cache = ["next-level-cache", "l2-cache"].into_iter().find_map(|name| cell(&folder, name));
        match folder.text("device_type").as_deref() {
            Some("cache") => entries.push(Entry { cpus: None, handle, next_cache, name }),
            Some("cpu") => {
                let Some(cpus) = threads(&folder, machine) else { continue };
                let core = Object::of(Kind::Core, cell(&folder, "reg"), cpus.clone());
                machine.insert(core);
                add_caches(&folder, options, machine, 1, &cpus);
                entries.push(Entry { cpus: Some(cpus), handle, next_cache, name });
            }
            _ => {}
        }
    }
    for entry in entries.iter().filter(|entry| entry.cpus.is_none()) {
        let mut cpus = CpuSet::new();
        let Some(depth) = entry.handle.and_then(|handle| below(&entries, handle, 0, &mut cpus)) else { continue };
        if let Some(folder) = root.folder(&format!("{CPUS}/{}", entry.name)).filter(|_| !cpus.is_empty()) {
            add_caches(&folder, options, machine, depth + 2, &cpus);
        }
    }
}

/// One big-endian cell.
fn cell(folder: &Folder, name: &str) -> Option<u32> {
    let bytes: [u8; 4] = folder.exists(name).then(|| folder.bytes(name, 8))??.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

fn threads(folder: &Folder, machine: &Object) -> Option<CpuSet> {
    let bytes = folder.bytes("ibm,ppc-interrupt-server#s", 1024).unwrap_or_default();
    let threads: CpuSet = bytes.chunks_exact(4).map(|cell| u32::from_be_bytes([cell[0], cell[1], cell[2], cell[3]])).collect();
    let known = if bytes.is_empty() { cell(folder, "reg").into_iter().collect() } else { threads.intersection(&machine.complete_cpus) };
    (!known.is_empty()).then_some(known)
}

/// Gathers the CPUs whose next cache, or the next cache of whose cache, is this one; tells how many caches lie between.
fn below(entries: &[Entry], handle: u32, depth: u8, cpus: &mut CpuSet) -> Option<u8> {
    // Handles of damaged trees may lead in a circle.
    if depth > 3 {
        return None;
    }
    let mut deepest = None;
    for entry in entries.iter().filter(|entry| entry.next_cache == Some(handle)) {
        let found = match &entry.cpus {
            Some(own) => {
                *cpus = cpus.union(own);
                Some(0)
            }
            None => entry.handle.and_then(|handle| below(entries, handle, depth + 1, cpus)).map(|between| between + 1),
        };
        deepest = deepest.max(found);
    }
    deepest
}

fn add_caches(folder: &Folder, options: &Options, machine: &mut Object, level: u8, cpus: &CpuSet) {
    let unified = folder.exists("cache-unified");
    let mut add = |holds: CacheKind, letter: char| {
        let number = |what: &str| cell(folder, &format!("{letter}-cache-{what}")).unwrap_or(0);
        let (size, line, sets) = (number("size"), number("line-size"), number("sets"));
        let per_way = u64::from(line) * u64::from(sets);
        let ways = if sets > 1 { u64::from(size).checked_div(per_way).unwrap_or(0) } else { 0 };
        let cache = Cache { level, holds, size: Bytes(u64::from(size)), line, ways: ways as i32 };
        if size > 0 && (options.instruction_caches || holds != CacheKind::Instruction) {
            machine.insert(Object::of(Kind::Cache(cache), None, cpus.clone()));
        }
    };
    if !unified {
        add(CacheKind::Instruction, 'i');
    }
    add(if unified { CacheKind::Unified } else { CacheKind::Data }, 'd');
}
