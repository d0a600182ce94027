//! This machine with what vendor libraries and tools add: each is asked in a process of its own, which may hang or crash.

use crate::failure::Failure;
use crate::program;
use host::accelerators::nvml::Asker;
use host::health::Health;
use machine::{DeviceId, Machine, Telemetry};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// A person at a terminal, and the start of a node, wait this long for a library. Waking eight cards may take longer; then
/// the list says so, and the node asks again.
pub const SHORT: Duration = Duration::from_secs(10);

/// What asks about this machine's devices.
pub fn health(patience: Duration) -> Health {
    let asker = program::own_path().ok().map(|path| {
        Asker::new(patience, move || {
            let mut command = Command::new(&path);
            command.args([program::PROBE, "nvml"]);
            command
        })
    });
    Health::new(host::Root::live(), asker, patience)
}

/// This machine, with the upper rungs of every ladder.
pub fn this_machine() -> Result<(Machine, BTreeMap<DeviceId, Telemetry>), Failure> {
    let mut machine = host::probe(&host::Root::live()).map_err(|error| Failure::failed(format!("cannot read the machine: {error}")))?;
    let possible = sandbox::capabilities();
    machine.facts.isolation = Some(machine::IsolationOffer { level: possible.level, missing: possible.missing });
    let mut health = health(SHORT);
    let figures = health.ask(&mut machine.devices);
    if let (Some(why), false) = (health.log_unread(), machine.devices.is_empty()) {
        eprintln!("the kernel's log cannot be read ({why}), so faults that it tells of are not shown");
    }
    Ok((machine, figures))
}

/// The child that loads a vendor's library: answers on standard output until its input ends. False where there is none of
/// that name.
pub fn probe(name: &str) -> bool {
    if name != "nvml" {
        return false;
    }
    let library = std::env::var_os(host::accelerators::nvml::LIBRARY_VARIABLE);
    host::accelerators::nvml::serve(library.as_deref(), std::io::stdin().lock(), std::io::stdout());
    true
}
