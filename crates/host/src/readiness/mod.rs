//! The facts that rules about a machine's readiness are told.
//!
//! Nothing is written, no program is started and no vendor's library is loaded, so nothing here can hang longer than a file
//! of the kernel does. Which files are wanted comes from the rules themselves, as [`Source`]s.

mod interrupts;
mod patterns;
mod processes;

use crate::{HostError, Root, paths, pci, probe, software};
use machine::{NodeFacts, Readings, Source};
use std::collections::BTreeSet;

/// Files of one pattern that are looked at: more than any machine has of what rules ask for.
const MOST_FILES: usize = 16_384;
/// Longer texts are no values.
const LONGEST_TEXT: usize = 1 << 20;

/// Looks once at everything that was asked for. Takes some tens of milliseconds on a machine with hundreds of CPUs.
///
/// # Errors
/// When no CPU is found on the running machine. A captured tree may be a piece of a machine.
pub fn read(root: &Root, sources: &BTreeSet<Source>) -> Result<NodeFacts, HostError> {
    let machine = match probe::probe(root) {
        Ok(machine) => machine,
        Err(HostError::NoCpus { .. }) if !root.is_live() => probe::probe_piece(root),
        Err(error) => return Err(error),
    };
    let pci = pci::tree(root);
    let interrupts = interrupts::interrupts(root, &machine, &pci);
    let running = processes::look(root);
    Ok(NodeFacts {
        readings: readings(root, sources, &machine.facts.kernel),
        software: software(root),
        interrupts,
        limits: running.limits,
        processes: running.names,
        container: container(root),
        machine,
        pci,
    })
}

/// The texts of what was asked for.
pub fn readings(root: &Root, sources: &BTreeSet<Source>, release: &str) -> Readings {
    let mut readings = Readings::default();
    readings.whole = root.is_live();
    let mut build: Option<Option<String>> = None;
    for source in sources {
        match source {
            Source::Build(option) => {
                let text = build.get_or_insert_with(|| paths::kernel_config(root, release)).as_deref();
                if let Some(value) = text.and_then(|text| option_of(text, option)) {
                    readings.insert(option, value);
                }
            }
            Source::Text(pattern) => {
                for path in patterns::expand(root, pattern).into_iter().take(MOST_FILES) {
                    take(root, &path, &mut readings);
                }
            }
            Source::Link(pattern) => {
                for path in patterns::expand(root, pattern).into_iter().take(MOST_FILES) {
                    if let Some(name) = root.link_name(&path) {
                        readings.insert(&path, name);
                    }
                }
            }
            Source::There(pattern) => {
                for path in patterns::expand(root, pattern).into_iter().take(MOST_FILES) {
                    // The text of the same file may have been taken for another rule.
                    if readings.text(&path).is_none() && root.exists(&path) {
                        readings.insert(&path, "");
                    }
                }
            }
        }
    }
    readings
}

/// Texts of more files, of paths that are known only at run time. `*` stands for any text within one name.
pub fn read_more(root: &Root, paths: &BTreeSet<String>, readings: &mut Readings) {
    for pattern in paths {
        for path in patterns::expand(root, pattern).into_iter().take(MOST_FILES) {
            // A profile may name nothing outside the kernel's values, and nothing that acts when it is read.
            if ["proc/sys/", "sys/"].iter().any(|top| path.starts_with(top))
                && !path.split('/').any(|part| part == "..")
                && !crate::capture::is_denied(&path)
            {
                take(root, &path, readings);
            }
        }
    }
}

fn take(root: &Root, path: &str, readings: &mut Readings) {
    match root.bytes(path) {
        Ok(bytes) if bytes.len() <= LONGEST_TEXT => readings.insert(path, String::from_utf8_lossy(&bytes).trim_end()),
        Ok(_) => {}
        Err(HostError::Read { source, .. })
            if matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {}
        // A driver that answers with an error has nothing to say.
        Err(_) => readings.refuse(path),
    }
}

/// The value of an option in a kernel's configuration; `n` where the file says that it is not set.
fn option_of<'t>(config: &'t str, option: &str) -> Option<&'t str> {
    config.lines().find_map(|line| match line.strip_prefix(option) {
        Some(rest) => Some(rest.strip_prefix('=')?.trim_matches('"')),
        None => (line.strip_prefix("# ")?.strip_suffix(" is not set")? == option).then_some("n"),
    })
}

/// The number of the first namespace of processes (PROC_PID_INIT_INO of linux/proc_ns.h): who is in it is in no container,
/// whatever files an image left behind.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// The container this process lives in, by what runtimes leave inside.
fn container(root: &Root) -> Option<String> {
    if root.link("proc/self/ns/pid").as_deref() == Some(FIRST_NAMESPACE) {
        return None;
    }
    if let Some(name) = root.text("run/systemd/container").filter(|name| !name.is_empty()) {
        return Some(name);
    }
    let marks = [(".dockerenv", "Docker"), ("run/.containerenv", "Podman")];
    let mark = marks.into_iter().find(|(path, _)| root.exists(path)).map(|(_, name)| name.to_owned());
    // Kubernetes gives each container this folder; containerd leaves no file of its own.
    mark.or_else(|| root.exists("var/run/secrets/kubernetes.io").then(|| "Kubernetes".to_owned()))
}

#[cfg(test)]
mod tests;
