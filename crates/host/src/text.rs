//! Pure parsers of what the kernel prints. None panics, whatever the text; a line that cannot be read is skipped.

use machine::{Bytes, CpuSet, PciAddress};
use std::collections::BTreeMap;

/// A hexadecimal mask in groups of 32 bits, highest first: `00000001,0000000f`.
pub fn mask(text: &str) -> Option<CpuSet> {
    // The largest mask a kernel prints has 256 groups (8192 CPUs).
    const GROUPS: usize = 256;
    let groups: Vec<&str> = text.trim().split(',').collect();
    if groups.len() > GROUPS {
        return None;
    }
    let mut set = CpuSet::new();
    for (group, digits) in groups.iter().rev().enumerate() {
        let wide = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = wide.then(|| u32::from_str_radix(digits, 16).ok()).flatten()?;
        (0..32).filter(|bit| bits >> bit & 1 == 1).for_each(|bit| set.insert(group as u32 * 32 + bit));
    }
    Some(set)
}

/// Key to sort names by in which numbers count as numbers: `eth2` before `eth10`.
pub fn natural(name: &str) -> Vec<(String, Option<u64>, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let tail = &rest[word..];
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        parts.push((rest[..word].to_owned(), (digits > 0).then(|| tail[..digits].parse().unwrap_or(u64::MAX)), tail[..digits].to_owned()));
        rest = &tail[digits..];
    }
    parts
}

/// The value of one key of `/proc/meminfo`, or of a memory node's `meminfo` ("Node 0 MemTotal: ..."). Kernel "kB" are KiB.
pub fn meminfo(text: &str, key: &str) -> Option<Bytes> {
    text.lines().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        if name.split_whitespace().last() != Some(key) {
            return None;
        }
        let mut words = rest.split_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        let factor = if words.next() == Some("kB") { 1024 } else { 1 };
        number.checked_mul(factor).map(Bytes)
    })
}

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The folder of the file system that is mounted: `/`, except for bind mounts and inside containers.
    pub root: String,
    pub point: String,
    pub kind: String,
    /// Options of the file system; for a v1 control group the controllers are among them.
    pub options: Vec<String>,
}

/// `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
pub fn mountinfo(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let head: Vec<&str> = head.split(' ').collect();
        let tail: Vec<&str> = tail.split(' ').collect();
        Some(Mount {
            root: unescape(head.get(3)?),
            point: unescape(head.get(4)?),
            kind: (*tail.first()?).to_owned(),
            options: tail.get(2).copied().unwrap_or_default().split(',').map(str::to_owned).collect(),
        })
    };
    text.lines().filter_map(parse).collect()
}

/// `/proc/mounts` (fstab(5)), which has no mount roots.
pub fn mounts(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (point, kind, options) = (words.next()?, words.next()?, words.next().unwrap_or_default());
        let options = options.split(',').map(str::to_owned).collect();
        Some(Mount { root: "/".into(), point: unescape(point), kind: kind.to_owned(), options })
    };
    text.lines().filter_map(parse).collect()
}

/// The kernel writes space, tab, newline and backslash in mount tables as `\040` and so on.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = |b: &u8| (b'0'..=b'7').contains(b);
        match tail {
            [a, b, c, ..] if first == b'\\' && *a <= b'3' && octal(a) && octal(b) && octal(c) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = &tail[3..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `/proc/PID/cgroup`: controllers (empty for v2) and path, one a line.
pub fn cgroup_paths(text: &str) -> Vec<(Vec<String>, String)> {
    let parse = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        Some((controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(), path.to_owned()))
    };
    text.lines().filter_map(parse).collect()
}

/// What `/proc/cpuinfo` says of one logical CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuInfo {
    pub processor: u32,
    pub package: Option<u32>,
    pub core: Option<u32>,
    /// Empty where the kernel prints none, as on Arm.
    pub model: String,
    /// Arm's main id register: implementer and part.
    pub arm: Option<(u32, u32)>,
    /// A hypervisor announces itself.
    pub hypervisor: bool,
}

/// `/proc/cpuinfo` of x86, Arm, POWER, LoongArch and RISC-V.
pub fn cpuinfo(text: &str) -> Vec<CpuInfo> {
    let mut cpus: Vec<CpuInfo> = Vec::new();
    // Older Arm kernels print the model once, before or after all processors.
    let mut common = CpuInfo::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        // A capital "Processor" is the model on old Arm kernels.
        if key == "processor" {
            if let Ok(processor) = value.parse() {
                cpus.push(CpuInfo { processor, ..CpuInfo::default() });
            }
            continue;
        }
        let cpu = cpus.last_mut().unwrap_or(&mut common);
        let number = || match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        };
        match key {
            "physical id" => cpu.package = number(),
            "core id" | "core" => cpu.core = number(),
            "model name" | "Model Name" | "cpu" | "cpu model" | "uarch" => {
                cpu.model = value.split_whitespace().collect::<Vec<_>>().join(" ")
            }
            "Processor" => common.model = value.to_owned(),
            "CPU implementer" => cpu.arm = number().map(|implementer| (implementer, 0)),
            "CPU part" => cpu.arm = cpu.arm.zip(number()).map(|((implementer, _), part)| (implementer, part)),
            "flags" | "Features" => cpu.hypervisor = value.split_whitespace().any(|flag| flag == "hypervisor"),
            _ => {}
        }
    }
    // Printed once, it lands on the last processor or before the first.
    let arm = common.arm.or(cpus.last().and_then(|cpu| cpu.arm));
    for cpu in &mut cpus {
        if cpu.model.is_empty() {
            cpu.model.clone_from(&common.model);
        }
        cpu.arm = cpu.arm.or(arm);
    }
    cpus
}

/// The fields of `/proc/PID/stat` that identify and weigh a process (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    pub command: String,
    /// One letter: `R`, `S`, `D`, `Z` ...
    pub state: char,
    pub parent: u32,
    /// Clock ticks after boot. With the pid, this names a process for as long as the machine runs.
    pub start: u64,
    /// Resident pages.
    pub rss_pages: u64,
}

/// A command may hold spaces, parentheses and newlines, so the last `)` ends it.
pub fn stat(text: &str) -> Option<Stat> {
    let open = text.find('(')?;
    let close = text.rfind(')').filter(|close| *close > open)?;
    let fields: Vec<&str> = text[close + 1..].split_whitespace().collect();
    // The first field after the command is number 3.
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        command: text[open + 1..close].to_owned(),
        state: field(3)?.chars().next()?,
        parent: field(4)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
        rss_pages: field(24)?.parse().ok()?,
    })
}

/// `Key: value` lines, as in the files below `/proc/driver/nvidia`.
pub fn pairs(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim())).collect()
}

/// `/proc/driver/nvidia/gpus/*/information`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NvidiaInformation {
    pub model: Option<String>,
    /// `None` before the first use of the device, when the driver prints question marks.
    pub uuid: Option<String>,
    pub minor: Option<u32>,
    pub address: Option<PciAddress>,
}

pub fn nvidia_information(text: &str) -> NvidiaInformation {
    let pairs = pairs(text);
    let known = |key: &str| pairs.get(key).filter(|value| !value.is_empty() && !value.contains('?') && **value != "Unknown").copied();
    NvidiaInformation {
        model: known("Model").map(str::to_owned),
        uuid: known("GPU UUID").map(str::to_owned),
        minor: known("Device Minor").and_then(|minor| minor.parse().ok()),
        address: known("Bus Location").and_then(|address| address.parse().ok()),
    }
}

/// `/proc/devices`: major number of each named character driver.
pub fn char_majors(text: &str) -> BTreeMap<&str, u32> {
    let characters = text.lines().skip_while(|line| !line.starts_with("Character")).skip(1).take_while(|line| !line.is_empty());
    characters.filter_map(|line| line.trim().split_once(' ').and_then(|(major, name)| Some((name.trim(), major.parse().ok()?)))).collect()
}

/// `KEY=value` lines with optional quotes: `uevent` files and os-release(5).
pub fn assignment<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(|value| value.trim().trim_matches(['"', '\'']))
}

/// Lengths of the memory windows of a PCI function, from its `resource` file: six lines of start, end and flags.
pub fn bar_sizes(text: &str) -> Vec<Bytes> {
    // IORESOURCE_MEM of linux/ioport.h.
    const MEMORY: u64 = 0x200;
    let parse = |line: &str| {
        let mut words = line.split_whitespace().map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
        let (start, end, flags) = (words.next()??, words.next()??, words.next()??);
        Some(if flags & MEMORY == 0 || end <= start { Bytes::ZERO } else { Bytes((end - start).saturating_add(1)) })
    };
    text.lines().take(6).map(|line| parse(line).unwrap_or_default()).collect()
}

/// The bracketed choice of `always [madvise] never`.
pub fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests;
