//! What is known of the system as a whole: processors by name, firmware by its tables, kernel and architecture.

use crate::{Root, text};
use machine::CpuSet;
use machine::topology::Topology;
use std::collections::BTreeMap;

type Infos = Vec<(String, String)>;

/// Facts that other readers decide by.
#[derive(Debug, Default)]
pub struct System {
    /// As uname(2) has it; empty when unknown.
    pub architecture: String,
    uname: Infos,
    page_size: u64,
    fallback_cpus: Option<u32>,
    processors: BTreeMap<u32, Infos>,
    common: Infos,
    pub knights_landing: bool,
    /// AMD processors of families 15h and 16h, whose cores come in pairs.
    pub compute_units: bool,
}

impl System {
    pub fn read(root: &Root) -> System {
        let mut system = if root.is_live() { System::running() } else { System::captured(root) };
        let cpuinfo = root.text("proc/cpuinfo").unwrap_or_default();
        system.read_processors(&cpuinfo);
        let first = system.processors.values().next();
        let is = |name: &str, wanted: &[&str]| {
            first.is_some_and(|infos| infos.iter().any(|(known, value)| known == name && wanted.contains(&value.as_str())))
        };
        system.knights_landing =
            is("CPUVendor", &["GenuineIntel"]) && is("CPUFamilyNumber", &["6"]) && is("CPUModelNumber", &["87", "133"]);
        system.compute_units = is("CPUVendor", &["AuthenticAMD"]) && is("CPUFamilyNumber", &["21", "22"]);
        system
    }

    fn running() -> System {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let uname_infos = vec![
            ("OSName".into(), text(uname.sysname())),
            ("OSRelease".into(), text(uname.release())),
            ("OSVersion".into(), text(uname.version())),
            ("HostName".into(), text(uname.nodename())),
            ("Architecture".into(), text(uname.machine())),
        ];
        System {
            architecture: text(uname.machine()),
            uname: uname_infos,
            page_size: rustix::param::page_size() as u64,
            ..System::default()
        }
    }

    /// hwloc's captures keep what no file tells in a file of their own; ours keep uname(2) in the same format.
    fn captured(root: &Root) -> System {
        let text = root.text("proc/hwloc-nofile-info").unwrap_or_default();
        let known = text::pairs(&text);
        let infos = ["OSName", "OSRelease", "OSVersion", "HostName", "Architecture"];
        let info = |name: &&str| known.get(name).filter(|value| !value.is_empty()).map(|value| ((*name).to_owned(), (*value).to_owned()));
        System {
            architecture: known.get("Architecture").copied().unwrap_or_default().to_owned(),
            uname: infos.iter().filter_map(info).collect(),
            page_size: known.get("PageSize").and_then(|size| size.parse().ok()).unwrap_or(4096),
            fallback_cpus: known.get("FallbackNbProcessors").and_then(|count| count.parse().ok()).filter(|count| *count > 0),
            ..System::default()
        }
    }

    pub fn is_s390(&self) -> bool {
        self.architecture.starts_with("s390")
    }

    pub fn is_arm(&self) -> bool {
        self.architecture.starts_with("arm") || self.architecture.starts_with("aarch")
    }

    /// How many CPUs there are, where sysfs says nothing about them.
    pub fn fallback_cpus(&self, root: &Root) -> Option<u32> {
        let folders = || u32::try_from(root.numbered("sys/devices/system/cpu", "cpu").len()).ok().filter(|count| *count > 0);
        let listed = || self.processors.last_key_value().map(|(last, _)| last.saturating_add(1).min(8192));
        self.fallback_cpus.filter(|count| *count <= 8192).or_else(listed).or_else(folders)
    }

    fn read_processors(&mut self, cpuinfo: &str) {
        let mut current = None;
        for line in cpuinfo.lines() {
            if line.is_empty() {
                current = None;
                continue;
            }
            let Some((key, value)) = line.split_once(':').filter(|_| line.starts_with(|c: char| c.is_ascii_alphabetic())) else {
                continue;
            };
            let (key, value) = (key.trim_end(), value.trim_start_matches([' ', '\t']));
            if key == "processor" {
                current = value.trim().parse().ok();
                if let Some(cpu) = current {
                    self.processors.insert(cpu, Vec::new());
                }
                continue;
            }
            let common = current.is_none();
            let Some((name, replace)) = self.word(key, common) else { continue };
            let infos = match current.and_then(|cpu| self.processors.get_mut(&cpu)) {
                Some(infos) => infos,
                None => &mut self.common,
            };
            match infos.iter_mut().find(|(known, _)| known == name) {
                Some(known) if replace => known.1 = value.to_owned(),
                _ if value.is_empty() => {}
                _ => infos.push((name.to_owned(), value.to_owned())),
            }
        }
    }

    /// hwloc's word for a key of /proc/cpuinfo, and whether a second value takes the place of the first.
    fn word(&self, key: &str, common: bool) -> Option<(&'static str, bool)> {
        let architecture = self.architecture.as_str();
        let x86 = architecture == "x86_64" || architecture == "k1om" || (architecture.starts_with('i') && architecture.ends_with("86"));
        let word = match key {
            "vendor_id" if x86 => "CPUVendor",
            "model" if x86 || architecture == "ia64" => "CPUModelNumber",
            "cpu family" if x86 => "CPUFamilyNumber",
            "stepping" if x86 => "CPUStepping",
            "vendor" if architecture == "ia64" => "CPUVendor",
            "family" if architecture == "ia64" => "CPUFamilyNumber",
            "model name" if x86 || architecture == "ia64" => "CPUModel",
            _ if x86 || architecture == "ia64" => return None,
            "Processor" | "model name" if self.is_arm() => "CPUModel",
            "CPU implementer" if self.is_arm() => "CPUImplementer",
            "CPU architecture" if self.is_arm() => "CPUArchitecture",
            "CPU variant" if self.is_arm() => "CPUVariant",
            "CPU part" if self.is_arm() => "CPUPart",
            "CPU revision" if self.is_arm() => "CPURevision",
            "Hardware" if self.is_arm() => "HardwareName",
            "Revision" if self.is_arm() => "HardwareRevision",
            _ if self.is_arm() => return None,
            _ if architecture.starts_with("ppc") || architecture.starts_with("power") => return power_word(key, common),
            "model name" | "Processor" | "chip type" | "cpu model" | "cpu" | "CPU" | "Cpu" => return Some(("CPUModel", true)),
            _ => return None,
        };
        Some((word, false))
    }

    /// What cpuinfo says of the first CPU of a package; numbers that differ within it belong to kinds of cores.
    pub fn package_infos(&self, cpu: u32, all: &CpuSet) -> Infos {
        let of = |cpu: u32| self.processors.get(&cpu);
        let mut infos = of(cpu).cloned().unwrap_or_default();
        infos.retain(|pair| pair.0 != "CPUPart" || all.iter().filter_map(of).all(|other| other.contains(pair)));
        infos
    }

    pub fn processor_info(&self, cpu: u32, name: &str) -> Option<&str> {
        self.processors.get(&cpu)?.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Adds what is known of the machine and of the system.
    pub fn describe(&self, root: &Root, cgroup: Option<String>, topology: &mut Topology) {
        let mut infos = self.common.clone();
        infos.extend(firmware(root));
        topology.machine.infos.splice(0..0, infos);
        topology.infos.extend(cgroup.map(|name| ("LinuxCgroup".to_owned(), name)));
        topology.infos.extend(chips(root));
        topology.infos.push(("Backend".into(), "Linux".into()));
        topology.infos.extend(self.uname.iter().cloned());
        let mut sizes: Vec<u64> = huge_page_sizes(root);
        if !sizes.is_empty() {
            sizes.insert(0, self.page_size);
            let list: Vec<String> = sizes.iter().map(u64::to_string).collect();
            topology.infos.push(("PageSizeNr".into(), sizes.len().to_string()));
            topology.infos.push(("PageSizes".into(), list.join(",")));
        }
    }
}

fn power_word(key: &str, common: bool) -> Option<(&'static str, bool)> {
    let lower = key.to_ascii_lowercase();
    Some(match (key, lower.as_str()) {
        ("cpu", _) => ("CPUModel", false),
        ("platform", _) => ("PlatformName", false),
        ("model", _) => ("PlatformModel", false),
        (_, "vendor") => ("PlatformVendor", false),
        ("Board ID", _) => ("PlatformBoardID", false),
        ("Board", _) | (_, "machine") => ("PlatformModel", true),
        (_, "revision") | ("Hardware rev", _) => (if common { "PlatformRevision" } else { "CPURevision" }, false),
        ("SVR", _) => ("SystemVersionRegister", false),
        ("PVR", _) => ("ProcessorVersionRegister", false),
        _ => return None,
    })
}

/// Sizes in bytes of the huge pages that the kernel offers, smallest first.
fn huge_page_sizes(root: &Root) -> Vec<u64> {
    let size = |name: &String| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()?.checked_mul(1024);
    let mut sizes: Vec<u64> = root.names("sys/kernel/mm/hugepages").iter().filter_map(size).collect();
    sizes.sort_unstable();
    sizes
}

/// What firmware tells of the board. Serial numbers and UUIDs are not read.
fn firmware(root: &Root) -> Infos {
    const FIELDS: [(&str, &str); 14] = [
        ("product_name", "DMIProductName"),
        ("product_version", "DMIProductVersion"),
        ("board_vendor", "DMIBoardVendor"),
        ("board_name", "DMIBoardName"),
        ("board_version", "DMIBoardVersion"),
        ("board_asset_tag", "DMIBoardAssetTag"),
        ("chassis_vendor", "DMIChassisVendor"),
        ("chassis_type", "DMIChassisType"),
        ("chassis_version", "DMIChassisVersion"),
        ("chassis_asset_tag", "DMIChassisAssetTag"),
        ("bios_vendor", "DMIBIOSVendor"),
        ("bios_version", "DMIBIOSVersion"),
        ("bios_date", "DMIBIOSDate"),
        ("sys_vendor", "DMISysVendor"),
    ];
    let Some(folder) = root.folder("sys/devices/virtual/dmi/id").or_else(|| root.folder("sys/class/dmi/id")) else { return Vec::new() };
    let field = |(file, name): (&str, &str)| {
        let bytes = folder.bytes(file, 256).filter(|bytes| !bytes.is_empty())?;
        let text = String::from_utf8_lossy(&bytes);
        Some((name.to_owned(), text.split('\n').next().unwrap_or_default().to_owned()))
    };
    FIELDS.into_iter().filter_map(field).collect()
}

/// Systems on a chip by their maker's word.
fn chips(root: &Root) -> Infos {
    const CHIPS: &str = "sys/bus/soc/devices";
    let mut infos = Vec::new();
    for number in root.numbered(CHIPS, "soc") {
        for (file, name) in [("soc_id", "ID"), ("family", "Family"), ("revision", "Revision")] {
            let value = root.text(&format!("{CHIPS}/soc{number}/{file}")).filter(|value| !value.is_empty());
            infos.extend(value.map(|value| (format!("SoC{number}{name}"), value)));
        }
    }
    infos
}
