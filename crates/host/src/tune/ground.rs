//! What a transaction writes to: the running machine, or a folder that looks like one.

use crate::{Root, process};
use rustix::fs::{Mode, OFlags};
use std::io;

/// Reads and writes of one machine. A trait so that tests can cut a transaction off between any two of them.
pub trait Ground {
    /// The text of a file, as it is.
    ///
    /// # Errors
    /// As the kernel says.
    fn read(&self, path: &str) -> io::Result<String>;

    /// One write of one value into a file of the kernel.
    ///
    /// # Errors
    /// As the kernel says.
    fn write(&mut self, path: &str, value: &str) -> io::Result<()>;

    /// An ordinary file with this text, or none, at once: whoever looks finds the old or the new one.
    ///
    /// # Errors
    /// As the kernel says.
    fn replace(&mut self, path: &str, text: Option<&str>) -> io::Result<()>;

    /// A name for the time since the machine was started; empty where it has none.
    fn boot(&self) -> String;
}

/// The machine below a root.
pub struct Machine(pub Root);

impl Ground for Machine {
    fn read(&self, path: &str) -> io::Result<String> {
        let bytes = self.0.bytes(path).map_err(|error| match error {
            crate::HostError::Read { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn write(&mut self, path: &str, value: &str) -> io::Result<()> {
        if !self.0.is_live() {
            // A file of choices stays one, as it does in a kernel.
            let there = self.read(path)?;
            let text = if there.contains('[') { chosen(&there, value) } else { value.to_owned() };
            return self.0.replace(path, Some(&format!("{text}\n")));
        }
        // One call with the whole value: the kernel takes it as a whole or not at all.
        let file = rustix::fs::open(self.0.dir().join(path), OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
        let text = format!("{value}\n");
        let written = rustix::io::write(&file, text.as_bytes())?;
        if written == text.len() { Ok(()) } else { Err(io::Error::other(format!("it took {written} of {} bytes", text.len()))) }
    }

    fn replace(&mut self, path: &str, text: Option<&str>) -> io::Result<()> {
        self.0.replace(path, text)
    }

    fn boot(&self) -> String {
        process::boot_id(&self.0).unwrap_or_default()
    }
}

/// A list of choices with another one chosen.
fn chosen(choices: &str, value: &str) -> String {
    let words = choices.split_whitespace().map(|word| word.trim_matches(['[', ']']));
    words.map(|word| if word == value { format!("[{word}]") } else { word.to_owned() }).collect::<Vec<_>>().join(" ")
}
