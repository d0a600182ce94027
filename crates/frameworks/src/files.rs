//! Files that a launch needs beside its processes: host files, rank tables.
//!
//! They are declared here as text and written by the node into a folder of the run that the ranks see read-only.

use std::borrow::Cow;

/// One file of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchFile {
    /// File name below [`crate::LaunchInput::files`]; no slash.
    pub name: &'static str,
    pub text: String,
    pub why: Cow<'static, str>,
}

impl LaunchFile {
    pub(crate) fn new(name: &'static str, text: String, why: &'static str) -> LaunchFile {
        LaunchFile { name, text, why: why.into() }
    }
}
