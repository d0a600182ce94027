//! `ashlar devices`

use crate::arguments::Devices;
use crate::device_text::{self, Style};
use crate::failure::Failure;
use crate::state::Place;
use crate::{inventory, listing};
use ::machine::{Device, DeviceId, LastSeen, Machine, Telemetry};
use api::ClientError;
use host::cdi::Written;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub fn run(place: &Place, asked: Devices) -> Result<ExitCode, Failure> {
    let Found { machine, figures, root } = find(place, &asked)?;
    if let Some(folder) = &asked.cdi {
        return write_cdi(folder, &machine.devices);
    }
    let style = Style { colour: listing::colour_wanted() };
    let one = |device| One { device, seen: figures.get(&device.id).or_else(|| figures.get(card(device))) };
    match &asked.device {
        None if asked.json => listing::print_json(&machine.devices.iter().map(one).collect::<Vec<_>>())?,
        None => {
            let specs = root.as_ref().map_or_else(|| (vec![], vec![]), host::cdi::installed);
            let list = device_text::list(&machine.devices, &figures, style);
            write!(std::io::stdout(), "{list}{}", device_text::specs(&specs.0, &specs.1))?;
        }
        Some(name) => {
            let one = one(choose(&machine.devices, name)?);
            if asked.json {
                listing::print_json(&one)?;
            } else {
                write!(std::io::stdout(), "{}", device_text::full(one.device, &machine.devices, one.seen, style))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn card(device: &Device) -> &DeviceId {
    device.slice.as_ref().map_or(&device.id, |slice| &slice.parent)
}

/// The paths that were written go to stdout, what was left out and why to stderr.
fn write_cdi(folder: &Path, devices: &[Device]) -> Result<ExitCode, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot write to {}: {error}", folder.display()));
    let done = host::cdi::write(folder, devices).map_err(failed)?;
    if done.is_empty() {
        return Err(Failure::failed("there is no device of a known vendor to write a CDI file for"));
    }
    for one in done {
        match one {
            Written::File { path, .. } => writeln!(std::io::stdout(), "{}", path.display())?,
            Written::Left { vendor, program } => eprintln!("{vendor}: left to `{program}`, which knows the vendor's libraries"),
            Written::Nothing { vendor } => eprintln!("{vendor}: no device can be used, so there is nothing to write; see `ashlar devices`"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A device with what it did when it was last looked at.
#[derive(Serialize)]
struct One<'a> {
    #[serde(flatten)]
    device: &'a Device,
    #[serde(flatten)]
    seen: Option<&'a LastSeen>,
}

struct Found {
    machine: Machine,
    figures: BTreeMap<DeviceId, LastSeen>,
    /// Where its files are; `None` for a machine elsewhere.
    root: Option<host::Root>,
}

/// A captured tree, else what a running node knows, else this machine. With what is known of each device on the way: nothing is
/// asked that a node has asked within the last second.
fn find(place: &Place, asked: &Devices) -> Result<Found, Failure> {
    let fresh = |figures: BTreeMap<DeviceId, Telemetry>| {
        figures.into_iter().map(|(id, telemetry)| (id, LastSeen { age_ms: 0, telemetry })).collect::<BTreeMap<_, _>>()
    };
    if let Some(dir) = &asked.root {
        let root = super::machine::open(dir)?;
        let mut machine = match host::probe(&root) {
            Ok(machine) => machine,
            // A capture of the devices alone is enough here.
            Err(host::HostError::NoCpus { .. }) => host::probe_piece(&root),
            Err(error) => return Err(Failure::failed(format!("cannot read the machine: {error}"))),
        };
        let figures = host::health::Health::new(root.clone(), None, inventory::SHORT).ask(&mut machine.devices);
        return Ok(Found { machine, figures: fresh(figures), root: Some(root) });
    }
    let root = (!place.is_remote()).then(host::Root::live);
    match place.try_connect().and_then(|client| client.machine()) {
        Ok(view) => Ok(Found { machine: view.machine, figures: view.figures, root }),
        Err(ClientError::NoNode(_)) if !place.is_remote() => {
            let (machine, figures) = inventory::this_machine()?;
            Ok(Found { machine, figures: fresh(figures), root })
        }
        Err(error) => Err(error.into()),
    }
}

/// The device of this name: its id, the beginning of it, its PCI address, or vendor and number such as `nvidia:0`.
fn choose<'a>(devices: &'a [Device], name: &str) -> Result<&'a Device, Failure> {
    let lower = name.to_lowercase();
    let address = if name.matches(':').count() == 1 { format!("0000:{name}") } else { name.to_owned() };
    if let Some(device) = devices.iter().find(|device| device.id.0.eq_ignore_ascii_case(name)) {
        return Ok(device);
    }
    if let Ok(address) = address.parse()
        && let Some(device) = devices.iter().find(|device| device.pci == Some(address) && device.slice.is_none())
    {
        return Ok(device);
    }
    let numbered = |device: &&Device| format!("{}:{}", device.vendor, device.index) == lower;
    let begins = |device: &&Device| device.id.0.to_lowercase().starts_with(&lower);
    let found: Vec<&Device> = devices.iter().filter(|device| numbered(device) || (name.len() >= 3 && begins(device))).collect();
    match found[..] {
        [device] => Ok(device),
        [] if devices.is_empty() => {
            Err(Failure::input(format!("there is no device '{name}': no accelerator is on the bus of this machine")))
        }
        [] => Err(Failure::input(format!("there is no device '{name}'")).hint("`ashlar devices` lists them")),
        _ => {
            let ids: Vec<&str> = found.iter().map(|device| device.id.0.as_str()).collect();
            Err(Failure::input(format!("'{name}' fits {} devices", ids.len())).hint(format!("one of {}", ids.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::machine::Vendor;

    #[test]
    fn a_device_is_found_by_every_name_people_have_for_it() {
        let device = |id: &str, bus: &str, index| Device {
            id: DeviceId(id.into()),
            vendor: Vendor::Nvidia,
            index,
            pci: bus.parse().ok(),
            ..Device::default()
        };
        let devices = [device("GPU-6f1e", "0000:3b:00.0", 0), device("GPU-6f2e", "0000:86:00.0", 1)];
        for (name, index) in
            [("GPU-6f1e", 0), ("gpu-6F2e", 1), ("GPU-6f2", 1), ("0000:86:00.0", 1), ("3b:00.0", 0), ("nvidia:1", 1), ("NVIDIA:0", 0)]
        {
            assert_eq!(choose(&devices, name).unwrap().index, index, "{name}");
        }
        for name in ["GPU-6f", "GPU-x", "", "nvidia:2", "3c:00.0"] {
            assert_eq!(choose(&devices, name).unwrap_err().code, crate::failure::INPUT, "{name}");
        }
        assert!(choose(&[], "nvidia:0").is_err());
    }
}
