//! What of a machine's own software decides which builds of a framework run on it.

use crate::Vendor;
use serde::{Deserialize, Serialize};

/// Read anew for each environment: drivers are updated while a node runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    /// As `uname -m` says it: `x86_64`, `aarch64`. Empty when nothing tells.
    pub architecture: String,
    /// Instruction set extensions, in the kernel's words (`/proc/cpuinfo`), sorted: `avx512f`, `amx_tile`.
    #[serde(default)]
    pub cpu_flags: Vec<String>,
    /// Kernel drivers of accelerators that tell their version.
    #[serde(default)]
    pub drivers: Vec<Release>,
    /// Toolkits of accelerators that are installed on the machine itself, outside any environment.
    #[serde(default)]
    pub toolkits: Vec<Release>,
}

/// A piece of software with the version that it tells itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Release {
    pub vendor: Vendor,
    /// `nvidia`, `CANN`.
    pub name: String,
    pub version: String,
    /// The file that says so.
    pub source: String,
}

impl Software {
    /// Version of the kernel driver of a vendor's cards.
    pub fn driver(&self, vendor: Vendor) -> Option<&Release> {
        self.drivers.iter().find(|driver| driver.vendor == vendor)
    }

    /// Version of a vendor's toolkit.
    pub fn toolkit(&self, vendor: Vendor) -> Option<&Release> {
        self.toolkits.iter().find(|toolkit| toolkit.vendor == vendor)
    }

    pub fn has_flag(&self, flag: &str) -> bool {
        self.cpu_flags.iter().any(|known| known == flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendors_release_is_found_by_the_vendor_alone() {
        let release = |vendor, name: &str, version: &str| Release {
            vendor,
            name: name.into(),
            version: version.into(),
            source: "sys/module/x/version".into(),
        };
        let software = Software {
            architecture: "aarch64".into(),
            cpu_flags: vec!["asimd".into()],
            drivers: vec![release(Vendor::Nvidia, "nvidia", "580.65.06"), release(Vendor::Ascend, "driver", "24.1.rc2")],
            toolkits: vec![release(Vendor::Ascend, "CANN", "8.0.RC2")],
        };
        assert_eq!(software.driver(Vendor::Ascend).map(|found| found.version.as_str()), Some("24.1.rc2"));
        assert_eq!(software.toolkit(Vendor::Ascend).map(|found| found.name.as_str()), Some("CANN"));
        assert_eq!((software.driver(Vendor::Amd), software.toolkit(Vendor::Nvidia)), (None, None));
        assert!(software.has_flag("asimd") && !software.has_flag("avx512f"));
    }
}
