//! Which build of a framework runs on a machine's accelerators, driver and processor, and why that one.
//!
//! What is known stands in one table, `data/builds.toml`; [`choose`] reads it and nothing else. A combination that the table
//! does not have is never guessed in silence: the choice then says what of it is unverified.

mod choose;
mod fit;
mod table;
#[cfg(test)]
mod tests;

pub use choose::{Choice, Index, NoBuild, PassedOver, choose};
pub use table::{Build, Cuda, Evidence, Framework, Table, TableError};

use machine::{Software, Vendor};
use pep440_rs::VersionSpecifiers;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Name or alias of a framework in the table.
    pub framework: String,
    /// Versions as for pip, such as `>=2.4,<2.6`; none asks for the newest that fits.
    pub versions: VersionSpecifiers,
    /// Name of a build in the table, such as `cu121` or `cpu`, where the person chooses.
    pub build: Option<String>,
}

/// What it shall run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// Of the C library, such as `2.36`; none where it is not the GNU one or not known.
    pub glibc: Option<String>,
    /// Version of the interpreter, such as `3.11.2`; none where nothing was chosen yet.
    pub python: Option<String>,
    /// The accelerators that the processes will see.
    pub cards: Vec<Card>,
    pub software: Software,
}

/// One accelerator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub vendor: Vendor,
    pub model: String,
    /// `sm_90`, `gfx942`; none where neither driver nor table tells.
    pub architecture: Option<String>,
}

impl From<&machine::Device> for Card {
    fn from(device: &machine::Device) -> Card {
        Card { vendor: device.vendor, model: device.model.clone(), architecture: device.architecture.clone() }
    }
}
