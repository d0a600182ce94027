//! What can go wrong when a machine is read.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds more than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{} leads through too many symbolic links", path.display())]
    LinkLoop { path: PathBuf },
    #[error("{} is not a plain file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} has neither /sys/devices/system/cpu nor /proc/cpuinfo", root.display())]
    NoCpus { root: PathBuf },
    #[error("this process is allowed none of the online CPUs ({online})")]
    NoUsableCpus { online: String },
}

impl HostError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            HostError::NoCpus { .. } => Some("is /proc mounted? With --root, give the folder that has `proc` and `sys` in it"),
            HostError::NoUsableCpus { .. } => {
                Some("look at the affinity mask and at the cpuset control group that this process was started in")
            }
            HostError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some("run as root to see this"),
            _ => None,
        }
    }
}
