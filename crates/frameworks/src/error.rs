//! Why a job cannot become processes.

use machine::{DeviceId, Vendor};
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LaunchError {
    #[error("the {recipe} recipe needs a port for its ranks to meet at, and the grant leases none")]
    NoPort { recipe: &'static str },
    #[error("the {recipe} recipe needs {needed} ports, one for each rank, and the lease of this run has {free} free")]
    FewPorts { recipe: &'static str, needed: usize, free: usize },
    #[error("the job has {asked} ranks and the grant {granted}")]
    RanksDiffer { asked: u32, granted: usize },
    #[error("the grant names device {0}, which this machine does not have")]
    UnknownDevice(DeviceId),
    #[error("rank {rank} holds devices of {first} and {second}, which both listen to {variable}")]
    SharedMask { rank: u32, variable: &'static str, first: Vendor, second: Vendor },
    #[error("the job has no command")]
    EmptyCommand,
    #[error("scripts for '{0}' cannot be given on its command line")]
    Interpreter(String),
    #[error("{what} has {bytes} bytes; Linux takes at most {limit} in one argument or variable")]
    TooLong { what: String, bytes: usize, limit: usize },
    #[error("{0} contains a NUL byte")]
    Nul(String),
    #[error("'{0}' is not a name for a variable")]
    BadName(String),
    #[error("'{command}' starts ranks of its own, and so does the {recipe} recipe")]
    NestedLauncher { command: &'static str, recipe: &'static str, own: &'static str },
}

impl LaunchError {
    /// What the person who submitted can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            LaunchError::NoPort { .. } | LaunchError::RanksDiffer { .. } => return None,
            LaunchError::UnknownDevice(_) => "the device was there when the job was placed; look at `ashlar machine`".into(),
            LaunchError::SharedMask { first, second, .. } => {
                format!("ask for devices of one vendor: `devices: \"{first}:1\"` or `devices: \"{second}:1\"`")
            }
            LaunchError::EmptyCommand => "give `command: [PROGRAM, ARGUMENT, ...]` or `script:`".into(),
            LaunchError::Interpreter(name) => {
                format!("put the script into a file and use `command: [{name}, FILE]`; shells, Python, Perl, Ruby and Node work as scripts")
            }
            LaunchError::TooLong { .. } => "put the text into a file that the job reads".into(),
            LaunchError::Nul(_) => "remove it; it is often left behind by copying from a binary file".into(),
            LaunchError::BadName(_) => "a name has at least one character and no '='".into(),
            LaunchError::FewPorts { .. } => "fewer ranks, or the framework's own launcher as the command".into(),
            LaunchError::NestedLauncher { command, own, .. } => {
                format!(
                    "leave `launch:` out or write `launch: {own}`, and {command} runs once; or name the program itself, `command: [python, train.py]`"
                )
            }
        };
        Some(hint)
    }
}
