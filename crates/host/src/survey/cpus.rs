//! Packages, dies, clusters, cores, logical CPUs and caches.

use super::{Options, device_tree, numbered, system::System};
use crate::{Folder, HostError, Root, text};
use machine::topology::{Cache, CacheKind, GroupKind, Inserted, Kind, Object, Topology};
use machine::{Bytes, CpuSet};
use std::collections::BTreeMap;

/// Kernels since 4.17 have the first, older ones the second.
const PLACES: [&str; 2] = ["sys/bus/cpu/devices", "sys/devices/system/cpu"];
/// The most CPUs a kernel can be built for.
const MOST_CPUS: usize = 8192;
/// Deeper caches than any processor has are damage.
const MOST_CACHES: u32 = 10;

/// Names of the files that tell which CPUs belong together; Linux 5.3 renamed two of them.
struct Names {
    core: &'static str,
    package: &'static str,
}

const NEW: Names = Names { core: "core_cpus", package: "package_cpus" };
const OLD: Names = Names { core: "thread_siblings", package: "core_siblings" };

/// Fills the tree with everything that holds CPUs.
///
/// # Errors
/// When there is neither a CPU in sysfs nor a count of them elsewhere.
pub fn look(root: &Root, options: &Options, system: &System, topology: &mut Topology) -> Result<(), HostError> {
    let place = PLACES.into_iter().find(|place| root.exists(place)).unwrap_or(PLACES[1]);
    let present: CpuSet = root.numbered(place, "cpu").into_iter().take(MOST_CPUS).collect();
    let online = root.list("sys/devices/system/cpu/online").filter(|set| !set.is_empty());
    let is_online = |cpu: &u32| match &online {
        Some(online) => online.contains(*cpu),
        None => root.value::<u32>(&format!("{place}/cpu{cpu}/online")) != Some(0),
    };
    let described: CpuSet = present.iter().filter(is_online).filter(|cpu| root.exists(&format!("{place}/cpu{cpu}/topology"))).collect();
    let machine = &mut topology.machine;
    machine.os_index = Some(0);
    machine.complete_cpus = present;
    let names = described.iter().find_map(|cpu| {
        let has = |name: &str| root.exists(&format!("{place}/cpu{cpu}/topology/{name}"));
        if has(NEW.core) || has(NEW.package) { Some(NEW) } else { (has(OLD.core) || has(OLD.package)).then_some(OLD) }
    });
    match names {
        Some(names) => {
            let mut look = Look { root, place, names, cpus: &described, options, system, refused: BTreeMap::new(), caches: 0 };
            for cpu in described.iter() {
                look.cpu(machine, cpu);
            }
            if look.caches == 0 {
                device_tree::look(root, options, machine);
            }
            let refused = std::mem::take(&mut look.refused);
            topology
                .findings
                .extend(refused.into_iter().map(|(name, count)| format!("{count} {name} objects cut across others and were left out")));
        }
        None => {
            let count = system.fallback_cpus(root).ok_or_else(|| HostError::NoCpus { root: root.dir().to_owned() })?;
            (0..count).for_each(|cpu| {
                machine.insert(Object::of(Kind::Pu, Some(cpu), [cpu].into_iter().collect()));
            });
            device_tree::look(root, options, machine);
        }
    }
    machine.cpus = machine.children.iter().fold(CpuSet::new(), |all, child| all.union(&child.cpus));
    machine.complete_cpus = machine.complete_cpus.union(&machine.cpus);
    if machine.cpus.is_empty() {
        return Err(HostError::NoCpus { root: root.dir().to_owned() });
    }
    Ok(())
}

/// Shared by the looks at all CPUs.
struct Look<'r> {
    root: &'r Root,
    place: &'static str,
    names: Names,
    cpus: &'r CpuSet,
    options: &'r Options,
    system: &'r System,
    refused: BTreeMap<String, usize>,
    caches: usize,
}

impl Look<'_> {
    fn insert(&mut self, machine: &mut Object, object: Object) {
        let name = object.kind.type_name();
        if machine.insert(object) == Inserted::Conflict {
            *self.refused.entry(name).or_default() += 1;
        }
    }

    /// The CPUs in a mask file, of those that are looked at.
    fn set(&self, folder: &Folder, name: &str) -> Option<CpuSet> {
        Some(text::mask(&folder.text(name)?)?.intersection(self.cpus))
    }

    /// Everything whose first CPU this one is. What several CPUs share is told by the first.
    fn cpu(&mut self, machine: &mut Object, cpu: u32) {
        let Some(folder) = self.root.folder(&format!("{}/cpu{cpu}/topology", self.place)) else { return };
        let number = |name: &str| folder.value::<i64>(name);
        let core = self.set(&folder, self.names.core).filter(|set| !set.is_empty());
        let first_of_core = core.as_ref().is_none_or(|set| set.first() == Some(cpu));
        if let Some(set) = &core {
            let apart = self.system.compute_units && set.len() > 1 && self.own_core_ids(set);
            if apart {
                self.insert(machine, numbered(Kind::Core, number("core_id"), [cpu].into_iter().collect()));
            } else if first_of_core {
                self.insert(machine, numbered(Kind::Core, number("core_id"), set.clone()));
            }
        }
        if first_of_core {
            self.above_core(machine, cpu, &folder, core.as_ref());
        }
        if self.system.is_s390() {
            self.books(machine, cpu, &folder);
        }
        self.insert(machine, Object::of(Kind::Pu, Some(cpu), [cpu].into_iter().collect()));
        self.caches(machine, cpu, core.as_ref());
    }

    /// AMD's compute units: the kernel calls two cores that share a front end threads of one core, but numbers them apart.
    fn own_core_ids(&self, core: &CpuSet) -> bool {
        let id = |cpu| self.root.value::<i64>(&format!("{}/cpu{cpu}/topology/core_id", self.place));
        let mut members = core.iter();
        let (first, second) = (members.next(), members.next());
        first.zip(second).is_some_and(|(first, second)| id(first) != id(second))
    }

    /// A set that more than one CPU shares; kernels give every CPU a set of its own where the level does not exist.
    fn shared(&self, folder: &Folder, name: &str) -> Option<CpuSet> {
        self.set(folder, name).filter(|set| set.len() > 1)
    }

    fn above_core(&mut self, machine: &mut Object, cpu: u32, folder: &Folder, core: Option<&CpuSet>) {
        let first = |set: &CpuSet| set.first() == Some(cpu);
        let number = |name: &str| folder.value::<i64>(name);
        let mut cluster = self.shared(folder, "cluster_cpus");
        let (mut die, mut package) = (None, None);
        if cluster.as_ref().is_none_or(first) {
            die = self.shared(folder, "die_cpus");
            if die.as_ref().is_none_or(first) {
                package = self.set(folder, self.names.package).filter(|set| !set.is_empty());
            }
        }
        if die == package || !die.as_ref().is_some_and(first) {
            die = None;
        }
        if cluster.as_ref() == core || cluster == package || !cluster.as_ref().is_some_and(first) {
            cluster = None;
        }
        if let Some(set) = package.filter(first) {
            let mut object = numbered(Kind::Package, number("physical_package_id"), set);
            object.infos = self.system.package_infos(cpu, &object.cpus);
            self.insert(machine, object);
        }
        if let Some(set) = die {
            self.insert(machine, numbered(Kind::Die, number("die_id"), set));
        }
        if let Some(set) = cluster {
            let mut object = numbered(Kind::Group { group: GroupKind::Cluster }, number("cluster_id"), set);
            object.subtype = Some("Cluster".into());
            self.insert(machine, object);
        }
    }

    fn books(&mut self, machine: &mut Object, cpu: u32, folder: &Folder) {
        for (set, id, subtype) in [("book_siblings", "book_id", "Book"), ("drawer_siblings", "drawer_id", "Drawer")] {
            let Some(cpus) = self.set(folder, set).filter(|set| set.first() == Some(cpu)) else { continue };
            let Some(number) = folder.value::<i64>(id) else { continue };
            let mut object = numbered(Kind::Group { group: GroupKind::Book }, Some(number), cpus);
            object.subtype = Some(subtype.into());
            self.insert(machine, object);
        }
    }

    fn caches(&mut self, machine: &mut Object, cpu: u32, core: Option<&CpuSet>) {
        for index in 0..MOST_CACHES {
            let Some(folder) = self.root.folder(&format!("{}/cpu{cpu}/cache/index{index}", self.place)) else { continue };
            let Some(set) = folder.text("shared_cpu_map").and_then(|text| text::mask(&text)) else { continue };
            // Some ia64 kernels name no CPU at all.
            let set = if set.is_empty() { core.cloned().unwrap_or_default() } else { set.intersection(self.cpus) };
            if set.first() != Some(cpu) {
                continue;
            }
            if let Some(cache) = cache(&folder).filter(|cache| self.wants(cache)) {
                self.insert(machine, numbered(Kind::Cache(cache), folder.value("id"), set));
                self.caches += 1;
            }
        }
    }

    fn wants(&self, cache: &Cache) -> bool {
        // Knights Landing reports its memory-side cache as an empty third level.
        let memory_side = self.system.knights_landing && cache.level == 3 && cache.size == Bytes::ZERO;
        !memory_side && (self.options.instruction_caches || cache.holds != CacheKind::Instruction)
    }
}

fn cache(folder: &Folder) -> Option<Cache> {
    let level: u8 = folder.value("level")?;
    let holds = match folder.text("type").as_deref() {
        Some("Data") => CacheKind::Data,
        Some("Instruction") => CacheKind::Instruction,
        _ => CacheKind::Unified,
    };
    let named = match holds {
        CacheKind::Instruction => (1..=3).contains(&level),
        _ => (1..=5).contains(&level),
    };
    let size = folder.text("size").and_then(|text| leading_number(&text)).unwrap_or(0);
    let number = |name: &str| folder.value::<u32>(name);
    let line = number("coherency_line_size").unwrap_or(0);
    let sets = number("number_of_sets").unwrap_or(0);
    let tag = number("physical_line_partition").unwrap_or(1);
    let bytes = size.checked_mul(1024)?;
    // The kernel's own number of ways differs between architectures for a fully associative cache.
    let divisor = u64::from(line).checked_mul(u64::from(tag))?.checked_mul(u64::from(sets))?;
    let ways = if sets == 1 { 0 } else { bytes.checked_div(divisor).unwrap_or(0) };
    named.then_some(Cache { level, holds, size: Bytes(bytes), line, ways: i32::try_from(ways).unwrap_or(0) })
}

/// The number that a text such as `32K` begins with.
pub(super) fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}
