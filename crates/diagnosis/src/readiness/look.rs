//! What a rule may look at.

use super::Role;
use machine::{CpuSet, Device, NodeFacts, PciFunction, Vendor, captures};
use std::str::FromStr;

/// One machine in one role.
#[derive(Clone, Copy)]
pub struct Look<'f> {
    pub facts: &'f NodeFacts,
    pub role: Role,
}

/// One file of a knob, with the value that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<'f> {
    pub path: &'f str,
    pub value: &'f str,
    /// What the stars of the pattern stand for.
    pub parts: Vec<&'f str>,
}

impl<'f> Look<'f> {
    pub fn new(facts: &'f NodeFacts, role: Role) -> Look<'f> {
        Look { facts, role }
    }

    pub fn text(&self, path: &str) -> Option<&'f str> {
        self.facts.readings.text(path)
    }

    pub fn value<T: FromStr>(&self, path: &str) -> Option<T> {
        self.facts.readings.value(path)
    }

    /// Files that fit a pattern, with what each star stands for.
    pub fn settings(&self, pattern: &str) -> Vec<Setting<'f>> {
        let facts: &'f NodeFacts = self.facts;
        let of =
            |(path, value): (&'f str, &'f str)| Setting { path, value: value.trim(), parts: captures(pattern, path).unwrap_or_default() };
        let mut found: Vec<Setting<'f>> = facts.readings.matching(pattern).map(of).collect();
        // cpu2 before cpu10.
        found.sort_by_key(|setting| setting.parts.iter().map(|part| (part.len(), *part)).collect::<Vec<_>>());
        found
    }

    /// Accelerators, without the slices of them.
    pub fn accelerators(&self) -> impl Iterator<Item = &'f Device> + use<'f> {
        self.facts.machine.devices.iter().filter(|device| device.slice.is_none())
    }

    pub fn has(&self, vendor: Vendor) -> bool {
        self.accelerators().any(|device| device.vendor == vendor)
    }

    pub fn has_rdma(&self) -> bool {
        !self.facts.machine.infiniband.is_empty() || self.facts.machine.nics.iter().any(|nic| nic.rdma.is_some())
    }

    /// RDMA over Ethernet.
    pub fn has_roce(&self) -> bool {
        self.facts.machine.infiniband.iter().any(|port| port.link_layer == "Ethernet")
    }

    pub fn has_infiniband(&self) -> bool {
        self.facts.machine.infiniband.iter().any(|port| port.link_layer == "InfiniBand")
    }

    /// Megabits a second of the fastest port that is up.
    pub fn fastest_port(&self) -> u64 {
        let nics = self.facts.machine.nics.iter().filter(|nic| nic.up).filter_map(|nic| nic.speed_mbps.map(u64::from));
        let active = self.facts.machine.infiniband.iter().filter(|port| port.state == machine::PortState::Active);
        nics.chain(active.filter_map(|port| port.rate_mbps)).max().unwrap_or(0)
    }

    pub fn nodes_with_cpus(&self) -> usize {
        self.facts.machine.numa.iter().filter(|node| !node.cpus.is_empty()).count()
    }

    pub fn memory(&self) -> u64 {
        self.facts.machine.memory.0
    }

    pub fn swap(&self) -> u64 {
        self.facts.machine.facts.swap_bytes
    }

    pub fn physical(&self) -> bool {
        self.facts.machine.facts.virtualised.is_none()
    }

    /// A word of the kernel command line: `Some("")` for a bare one, its value for `word=value`. The last one counts.
    pub fn parameter(&self, name: &str) -> Option<&'f str> {
        let words = self.facts.machine.facts.command_line.split_whitespace().rev();
        words.into_iter().find_map(|word| match word.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (word == name).then_some(""),
        })
    }

    /// Major and minor number of the running kernel.
    pub fn kernel(&self) -> Option<(u32, u32)> {
        let mut numbers = self.facts.machine.facts.kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Functions on the PCI bus that carry the data of a machine: accelerators, network ports and NVMe disks. Virtual ones
    /// have no link of their own.
    pub fn carriers(&self) -> impl Iterator<Item = &'f PciFunction> + use<'f> {
        let facts = self.facts;
        facts.pci.functions().iter().filter(move |function| {
            let class = function.class16();
            let accelerator = facts.machine.devices.iter().any(|device| device.pci == Some(function.address));
            function.sriov.physical.is_none() && (accelerator || matches!(class, 0x0108 | 0x0200 | 0x0207))
        })
    }

    /// What people call a function.
    pub fn called(&self, function: &PciFunction) -> String {
        let at = function.address;
        let machine = &self.facts.machine;
        let device = machine.devices.iter().find(|device| device.pci == Some(at) && device.slice.is_none());
        let port = machine.nics.iter().find(|nic| nic.pci == Some(at)).map(|nic| nic.name.clone());
        let name = device.map(|device| format!("{} {}", device.vendor, device.index)).or(port);
        let name = name.or_else(|| machine.infiniband.iter().find(|port| port.pci == Some(at)).map(|port| port.device.clone()));
        name.map_or_else(|| at.to_string(), |name| format!("{name} ({at})"))
    }

    /// CPUs of the memory node that a function hangs off.
    pub fn near(&self, function: &PciFunction) -> Option<&'f CpuSet> {
        let node = function.numa?;
        self.facts.machine.numa.iter().find(|one| one.id == node).map(|one| &one.cpus)
    }
}

impl Setting<'_> {
    /// The value itself: of a list of choices the one that is chosen, of several numbers all with one space between.
    pub fn now(&self) -> String {
        let chosen = self.value.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
        chosen.map_or_else(|| self.value.split_whitespace().collect::<Vec<_>>().join(" "), str::to_owned)
    }

    pub fn number(&self) -> Option<u64> {
        self.value.parse().ok()
    }

    /// What people call it: `vm.swappiness`, or the last names of its path.
    pub fn name(&self) -> String {
        if let Some(sysctl) = self.path.strip_prefix("proc/sys/") {
            return sysctl.replace('/', ".");
        }
        let names: Vec<&str> = self.path.split('/').collect();
        let from = match names.iter().rposition(|name| self.parts.first().is_some_and(|part| !part.is_empty() && name.ends_with(part))) {
            Some(at) => at,
            None => names.len().saturating_sub(2),
        };
        names[from..].join("/")
    }

    /// Whether a value is among the choices that the file lists.
    pub fn offers(&self, value: &str) -> bool {
        self.value.split_whitespace().any(|word| word.trim_matches(['[', ']']) == value)
    }

    pub fn exactly(&self, value: &str) -> Option<String> {
        (self.now() != value).then(|| value.to_owned())
    }

    /// Of the choices the file lists.
    pub fn choose(&self, value: &str) -> Option<String> {
        (self.now() != value && self.offers(value)).then(|| value.to_owned())
    }

    pub fn at_least(&self, least: u64) -> Option<String> {
        (self.number()? < least).then(|| least.to_string())
    }

    pub fn at_most(&self, most: u64) -> Option<String> {
        (self.number()? > most).then(|| most.to_string())
    }

    /// Of three numbers, the last one.
    pub fn third_at_least(&self, least: u64) -> Option<String> {
        let words: Vec<&str> = self.value.split_whitespace().collect();
        let [first, second, third] = words[..] else { return None };
        (third.parse::<u64>().ok()? < least).then(|| format!("{first} {second} {least}"))
    }
}
