//! The machine as the kernel shows it.
//!
//! Everything is read below a [`Root`]: the running machine, or a captured tree of another one, which is how every
//! reader here is tested. The parsers in [`text`] are pure; nothing here writes to the machine. A source that is
//! missing or damaged costs the fact it would have given, never the whole picture.

mod cgroup;
mod error;
mod facts;
mod nics;
pub mod pci;
mod probe;
pub mod process;
mod root;
pub mod survey;
pub mod text;
mod topology;
pub mod vendor;

pub use error::HostError;
pub use probe::probe;
pub use root::{Folder, Root, Unread};
pub use vendor::nvidia::{merge_nvml, nvml_json};
