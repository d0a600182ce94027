//! Where a fault is.

use serde::Serialize;
use std::fmt;

/// The part of the machine that a line speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "name")]
pub enum Place {
    /// PCI address with domain and function, in small letters: `0000:38:00.0`; of a part of a GPU with its instances:
    /// `0000:38:00.0 GI 3 CI 0`.
    Pci(String),
    /// Block device as the kernel names it.
    Disk(String),
    Link(String),
    Cpu(String),
    Npu(String),
    /// Of a vendor whose lines give a number only.
    Device(String),
    MemoryController(String),
    Server(String),
    Cgroup(String),
    Process(String),
    Rank(String),
    Machine,
}

impl Place {
    /// The device without the part of it.
    pub fn device(&self) -> Option<&str> {
        match self {
            Place::Pci(address) => address.split(' ').next(),
            Place::Npu(name) | Place::Device(name) => Some(name),
            _ => None,
        }
    }

    /// The disk without partition or namespace: `nvme0n1p2` and `nvme0` are both `nvme0`, `sda1` is `sda`.
    pub fn disk(&self) -> Option<&str> {
        let Place::Disk(name) = self else { return None };
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        Some(match name.strip_prefix("nvme") {
            Some(rest) => &name[..4 + digits(rest)],
            None if name.starts_with("sd") || name.starts_with("vd") => name.trim_end_matches(|c: char| c.is_ascii_digit()),
            None => name,
        })
    }

    /// Whether a medium that people take out and put in, or none at all, is meant.
    pub fn is_removable(&self) -> bool {
        matches!(self, Place::Disk(name) if ["fd", "sr", "loop", "ram", "zram"].iter()
            .any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))))
    }
}

/// `00000000:38:00` and `PCI:38:00.0` are `0000:38:00.0`.
pub(super) fn pci(text: &str) -> String {
    let text = text.trim_end_matches([':', '.', ' ']).to_ascii_lowercase();
    let mut parts: Vec<&str> = text.split(':').collect();
    if parts.len() < 2 {
        return text;
    }
    let slot = parts.pop().unwrap_or_default();
    let bus = parts.pop().unwrap_or_default();
    let domain = parts.pop().unwrap_or("0000").trim_start_matches('0');
    let slot = if slot.contains('.') { slot.to_owned() } else { format!("{slot}.0") };
    format!("{domain:0>4}:{bus}:{slot}")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Pci(name) => write!(f, "device {name}"),
            Place::Disk(name) => write!(f, "disk {name}"),
            Place::Link(name) => write!(f, "link {name}"),
            Place::Cpu(name) => write!(f, "CPU {name}"),
            Place::Npu(name) => write!(f, "NPU {name}"),
            Place::Device(name) => write!(f, "device {name}"),
            Place::MemoryController(name) => write!(f, "memory {name}"),
            Place::Server(name) => write!(f, "server {name}"),
            Place::Cgroup(name) => write!(f, "group {name}"),
            Place::Process(name) => write!(f, "process {name}"),
            Place::Rank(name) => write!(f, "rank {name}"),
            Place::Machine => f.write_str("machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_has_one_address() {
        for text in ["0000:38:00", "00000000:38:00.0", "38:00.0", "0000:38:00.0:", "0000:38:00."] {
            assert_eq!(pci(text), "0000:38:00.0", "{text}");
        }
        assert_eq!(pci("00010000:3B:00"), "10000:3b:00.0");
    }

    #[test]
    fn disks_are_compared_without_their_parts() {
        for (name, disk) in [("nvme0n1p2", "nvme0"), ("nvme10", "nvme10"), ("sda1", "sda"), ("dm-3", "dm-3")] {
            assert_eq!(Place::Disk(name.into()).disk(), Some(disk));
        }
        assert!(Place::Disk("sr0".into()).is_removable() && Place::Disk("fd0".into()).is_removable());
        assert!(!Place::Disk("sda".into()).is_removable() && !Place::Machine.is_removable());
    }
}
