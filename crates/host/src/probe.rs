//! One look at the whole machine.

use crate::cgroup::Cgroups;
use crate::{HostError, Root, accelerators, facts, infiniband, nics, paths, text, topology};
use machine::Machine;

/// Reads the machine below `root`. Vendor libraries are not touched: what only NVIDIA's library tells is added by
/// [`crate::merge_nvml`]. Takes some milliseconds.
///
/// # Errors
/// When no CPU is found, or this process may use none. Everything else that is missing leaves its field at "unknown".
pub fn probe(root: &Root) -> Result<Machine, HostError> {
    let groups = Cgroups::read(root);
    let infos = root.text("proc/cpuinfo").map(|text| text::cpuinfo(&text)).unwrap_or_default();
    let hostname = facts::hostname(root);
    let ports = nics::nics(root);
    let mut machine = Machine {
        id: facts::machine_id(root, &hostname),
        hostname,
        product: facts::product(root),
        facts: facts::facts(root, &groups, &infos),
        devices: accelerators::devices(root),
        nics: ports,
        infiniband: infiniband::ports(root),
        ..Machine::default()
    };
    topology::fill(root, &groups.allowed(root), &infos, &mut machine)?;
    place(root, &mut machine);
    Ok(machine)
}

/// What a capture without processors tells of a machine: its devices and network ports.
pub fn probe_piece(root: &Root) -> Machine {
    let mut machine =
        Machine { devices: accelerators::devices(root), nics: nics::nics(root), infiniband: infiniband::ports(root), ..Machine::default() };
    place(root, &mut machine);
    machine
}

/// Says anew how far devices and network ports are from each other, and which port is the nearest to each device: after
/// devices came or went.
pub fn place(root: &Root, machine: &mut Machine) {
    machine.distances = paths::distances(root, machine);
    let nearest: Vec<Option<String>> = machine.devices.iter().map(|device| machine.nearest_nic(device)).collect();
    for (device, nearest) in machine.devices.iter_mut().zip(nearest) {
        device.nearest_nic = nearest;
    }
}
