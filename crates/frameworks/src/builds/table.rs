//! The table of builds, read and checked.

use machine::Vendor;
use pep440_rs::{Version, VersionSpecifiers};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Everything that is known of builds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// When it was last looked over: year and month.
    pub edition: String,
    /// Drivers by version of CUDA.
    #[serde(default)]
    pub cuda: BTreeMap<String, Cuda>,
    /// Addresses of package indexes by name, without a slash at the end.
    #[serde(default)]
    pub index: BTreeMap<String, String>,
    #[serde(rename = "framework")]
    pub frameworks: Vec<Framework>,
}

/// The least drivers for a version of CUDA.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cuda {
    /// From here on everything works.
    pub native: DriverVersion,
    /// From here on what was compiled beforehand works.
    pub minimum: DriverVersion,
}

/// A version that is shown as its maker writes it: `580.65.06`, whose zero a version in normal form has not.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct DriverVersion {
    text: String,
    version: Version,
}

impl DriverVersion {
    pub fn version(&self) -> &Version {
        &self.version
    }
}

impl TryFrom<String> for DriverVersion {
    type Error = pep440_rs::VersionParseError;

    fn try_from(text: String) -> Result<DriverVersion, Self::Error> {
        let version = Version::from_str(&text)?;
        Ok(DriverVersion { text, version })
    }
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    pub name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    /// As its makers write it.
    pub title: String,
    /// What is asked of the package index.
    pub package: String,
    /// A program in Python that fails where the framework does not work, and prints its version and devices.
    pub check: String,
    #[serde(rename = "build")]
    pub builds: Vec<Build>,
}

/// One way in which a framework is published. Empty lists and absent fields ask for nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    pub name: String,
    /// Whose accelerators it is for; none is the processor.
    #[serde(default)]
    pub vendor: Option<Vendor>,
    /// Release lines it was published for, such as `2.6`, ascending. Empty: all.
    #[serde(default)]
    pub lines: Vec<Version>,
    /// Version of CUDA inside.
    #[serde(default)]
    pub cuda: Option<String>,
    /// Least version of the kernel driver.
    #[serde(default)]
    pub driver: Option<DriverVersion>,
    /// Least and greatest compute capability of NVIDIA's cards that it has code for.
    #[serde(default)]
    pub capability: Option<[Version; 2]>,
    /// Architectures of AMD's cards that it has code for.
    #[serde(default)]
    pub gfx: Vec<String>,
    /// Versions of the vendor's toolkit on the machine.
    #[serde(default)]
    pub toolkit: Option<VersionSpecifiers>,
    #[serde(default)]
    pub architectures: Vec<String>,
    #[serde(default)]
    pub flags: Vec<String>,
    /// The same, on x86-64 only.
    #[serde(default)]
    pub flags_x86_64: Vec<String>,
    #[serde(default)]
    pub python: Option<VersionSpecifiers>,
    #[serde(default)]
    pub glibc: Option<Version>,
    /// Name of an index, and what follows its address.
    #[serde(default)]
    pub index: Option<String>,
    /// Instead of the framework's.
    #[serde(default)]
    pub package: Option<String>,
    /// Instead of the package and its versions.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Instead of the framework's.
    #[serde(default)]
    pub check: Option<String>,
    /// Taken only where it is asked for by name.
    #[serde(default)]
    pub asked_only: bool,
    #[serde(default)]
    pub note: Option<String>,
    pub evidence: Evidence,
    /// Where the facts were read.
    pub source: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The maker's own page or package says so.
    Published,
    /// It was installed for this table.
    Seen,
    /// Read elsewhere, or follows from a pattern.
    Unverified,
}

#[derive(Debug, Error)]
pub enum TableError {
    #[error("the table of builds cannot be read: {0}")]
    Form(#[from] toml::de::Error),
    #[error("the table of builds is wrong: {0}")]
    Content(String),
}

impl Table {
    /// The one that comes with this program.
    pub fn built_in() -> &'static Table {
        static TABLE: std::sync::LazyLock<Table> =
            std::sync::LazyLock::new(|| include_str!("../../data/builds.toml").parse().expect("checked by a test"));
        &TABLE
    }

    /// The same with other addresses for some of its indexes, by name; names that it does not have are left out.
    pub fn with_mirrors(&self, mirrors: impl IntoIterator<Item = (String, String)>) -> Table {
        let mut table = self.clone();
        for (name, address) in mirrors {
            if let Some(own) = table.index.get_mut(&name) {
                *own = address.trim_end_matches('/').to_string();
            }
        }
        table
    }

    /// By name or alias, whatever the case.
    pub fn framework(&self, name: &str) -> Option<&Framework> {
        let name = name.to_ascii_lowercase();
        self.frameworks.iter().find(|framework| framework.name == name || framework.aliases.contains(&name))
    }

    /// The address of `family/rest`.
    pub(super) fn address(&self, index: &str) -> Option<String> {
        let (family, rest) = index.split_once('/').map_or((index, ""), |(family, rest)| (family, rest));
        let base = self.index.get(family)?;
        Some(if rest.is_empty() { base.clone() } else { format!("{base}/{rest}") })
    }

    fn complaint(&self) -> Option<String> {
        let mut names = BTreeSet::new();
        for framework in &self.frameworks {
            let own = std::iter::once(&framework.name).chain(&framework.aliases);
            if let Some(twice) = own.into_iter().find(|name| !names.insert(name.as_str())) {
                return Some(format!("two frameworks are called {twice}"));
            }
            let mut builds = BTreeSet::new();
            for build in &framework.builds {
                let at = format!("{} {}", framework.name, build.name);
                if !builds.insert(&build.name) {
                    return Some(format!("there are two builds {at}"));
                }
                if build.cuda.as_ref().is_some_and(|cuda| !self.cuda.contains_key(cuda)) {
                    return Some(format!("{at}: no drivers are known for its CUDA"));
                }
                if build.index.as_ref().is_some_and(|index| self.address(index).is_none()) {
                    return Some(format!("{at}: its index has no address"));
                }
                if !build.lines.is_sorted() {
                    return Some(format!("{at}: its lines are not in order"));
                }
            }
        }
        None
    }
}

impl FromStr for Table {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Table, TableError> {
        let table: Table = toml::from_str(text)?;
        match table.complaint() {
            None => Ok(table),
            Some(complaint) => Err(TableError::Content(complaint)),
        }
    }
}
