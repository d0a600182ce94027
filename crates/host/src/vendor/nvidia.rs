//! What NVIDIA's driver tells beyond the PCI bus.
//!
//! UUID, model and minor number are in `/proc/driver/nvidia`; memory only in the management library (NVML). The library can
//! hang or crash with the driver, so [`nvml_json`] is meant to run in a child process with a time limit, and only its
//! text comes back, to [`merge_nvml`].

use crate::{Root, text};
use machine::ladder::Answer;
use machine::{Bytes, Device, DeviceId, Machine, PciAddress, Vendor};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const LIBRARY: &str = "libnvidia-ml.so.1";
const GPUS: &str = "proc/driver/nvidia/gpus";

/// `/proc/driver/nvidia/gpus/*/information` of one card.
pub fn information(root: &Root, address: PciAddress) -> text::NvidiaInformation {
    root.text(&format!("{GPUS}/{address}/information")).map(|text| text::nvidia_information(&text)).unwrap_or_default()
}

/// Nodes of a captured machine from `/proc/devices`; the minors of the shared nodes are fixed in the driver.
pub fn captured_nodes(root: &Root) -> BTreeMap<String, (u32, u32)> {
    let devices = root.text("proc/devices").unwrap_or_default();
    let majors = text::char_majors(&devices);
    let mut nodes = BTreeMap::new();
    if let Some(major) = majors.get("nvidia").or_else(|| majors.get("nvidia-frontend")) {
        let minors = root.names(GPUS).into_iter().filter_map(|gpu| information(root, gpu.parse().ok()?).minor);
        nodes.extend(minors.map(|minor| (format!("/dev/nvidia{minor}"), (*major, minor))));
        nodes.insert("/dev/nvidiactl".into(), (*major, 255));
        nodes.insert("/dev/nvidia-modeset".into(), (*major, 254));
    }
    if let Some(major) = majors.get("nvidia-uvm") {
        nodes.insert("/dev/nvidia-uvm".into(), (*major, 0));
        nodes.insert("/dev/nvidia-uvm-tools".into(), (*major, 1));
    }
    nodes
}

/// What the child process prints.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reply {
    /// Version of the driver.
    driver: Option<String>,
    /// Why the library did not start.
    error: Option<String>,
    /// The error is that there is no library, which says nothing about the cards.
    #[serde(default)]
    no_library: bool,
    #[serde(default)]
    devices: Vec<Gpu>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Gpu {
    pci: String,
    uuid: Option<String>,
    name: Option<String>,
    memory: Option<u64>,
    #[serde(default)]
    mig: bool,
}

/// Asks NVML about every card. The answer is always JSON; a failure is in it. May hang with the driver: run it in a child
/// process.
pub fn nvml_json() -> String {
    let reply = query().unwrap_or_else(|error| Reply {
        no_library: matches!(error, NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound),
        error: Some(error.to_string()),
        ..Reply::default()
    });
    serde_json::to_string(&reply).unwrap_or_else(|error| format!(r#"{{"error":"{error}"}}"#))
}

fn query() -> Result<Reply, NvmlError> {
    let nvml = Nvml::init()?;
    let mut reply = Reply { driver: nvml.sys_driver_version().ok(), ..Reply::default() };
    for index in 0..nvml.device_count()? {
        // A card that fell off the bus fails here; that it is missing in the answer is the message.
        let Ok(device) = nvml.device_by_index(index) else { continue };
        let Ok(pci) = device.pci_info() else { continue };
        reply.devices.push(Gpu {
            pci: pci.bus_id,
            uuid: device.uuid().ok(),
            name: device.name().ok(),
            memory: device.memory_info().ok().map(|memory| memory.total),
            mig: device.mig_mode().is_ok_and(|mode| mode.current != 0),
        });
    }
    Ok(reply)
}

/// Whether asking NVML can add anything.
pub fn wants_nvml(machine: &Machine) -> bool {
    machine.devices.iter().any(|device| device.vendor == Vendor::Nvidia && device.driver.as_deref() == Some("nvidia"))
}

/// Adds what [`nvml_json`] printed to the NVIDIA devices of a probed machine: UUID, name, memory, and whether the library can
/// reach the card at all. False, and no change, when `json` is no such answer: the child hung, crashed or was ended. That
/// alone takes no card out of use, because the library needs long to wake many cards.
pub fn merge_nvml(machine: &mut Machine, json: &str) -> bool {
    let Ok(reply) = serde_json::from_str::<Reply>(json.trim()) else { return false };
    let ours = machine.devices.iter_mut().filter(|device| device.vendor == Vendor::Nvidia && device.driver.as_deref() == Some("nvidia"));
    for device in ours {
        match (&reply.error, reply.devices.iter().find(|gpu| gpu.pci.parse().ok() == device.pci)) {
            (Some(_), _) if reply.no_library => {}
            (Some(error), _) => device.learn(Answer::Refused { who: LIBRARY.into(), error: error.clone(), hint: None }, vec![], 0),
            (None, None) => device.learn(Answer::Unlisted { who: LIBRARY.into() }, vec![], 0),
            (None, Some(gpu)) => merge(device, gpu),
        }
    }
    true
}

fn merge(device: &mut Device, gpu: &Gpu) {
    if let Some(uuid) = gpu.uuid.as_ref().filter(|uuid| !uuid.is_empty() && !uuid.contains('?')) {
        device.id = DeviceId(uuid.clone());
    }
    if let Some(name) = gpu.name.as_ref().filter(|name| !name.is_empty()) {
        device.model.clone_from(name);
    }
    // Cards that share the memory of the machine answer with an error or with nothing.
    device.memory = gpu.memory.filter(|memory| *memory > 0).map(Bytes).or(device.memory);
    device.learn(Answer::Fine, vec![], usize::from(gpu.mig));
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::ladder::{Evidence, climb};
    use machine::{DeviceClass, Health};
    use proptest::prelude::*;

    fn machine() -> Machine {
        let device = |index: u32, bus: &str, vendor, driver: &str| Device {
            id: DeviceId(bus.into()),
            vendor,
            class: DeviceClass::Gpu,
            model: "10de:2330".into(),
            memory: Some(Bytes::gb(80)),
            index,
            pci: bus.parse().ok(),
            driver: Some(driver.into()),
            ladder: climb(&Evidence { driver: Some(driver.into()), drivers: vec![driver.into()], ..Evidence::default() }),
            health: Health::Ready,
            ..Device::default()
        };
        let devices = vec![
            device(0, "0000:3b:00.0", Vendor::Nvidia, "nvidia"),
            device(1, "0000:86:00.0", Vendor::Nvidia, "nvidia"),
            device(0, "0000:87:00.0", Vendor::Amd, "amdgpu"),
        ];
        Machine { devices, ..Machine::default() }
    }

    #[test]
    fn the_library_names_cards_and_tells_of_lost_ones() {
        let mut machine = machine();
        assert!(wants_nvml(&machine));
        let json = r#"{"driver":"570.1","error":null,"devices":[
            {"pci":"00000000:3B:00.0","uuid":"GPU-1","name":"NVIDIA H100 80GB HBM3","memory":85520809984,"mig":false}]}"#;
        assert!(merge_nvml(&mut machine, json));
        let [first, second, amd] = &machine.devices[..] else { panic!("three devices") };
        assert_eq!((first.id.0.as_str(), first.memory), ("GPU-1", Some(Bytes(85_520_809_984))));
        assert!(first.health.is_ready() && amd.health.is_ready());
        assert!(matches!(&second.health, Health::Unusable(why) if why.contains("fallen off the bus")));
    }

    #[test]
    fn a_broken_library_and_none_are_different_things() {
        let mut broken = machine();
        assert!(merge_nvml(&mut broken, r#"{"driver":null,"error":"driver/library version mismatch"}"#));
        assert_eq!(broken.devices.iter().filter(|device| device.health.is_ready()).count(), 1);
        let mut missing = machine();
        assert!(merge_nvml(&mut missing, r#"{"driver":null,"error":"libnvidia-ml.so","no_library":true}"#));
        assert_eq!(missing, machine());
        assert!(!merge_nvml(&mut missing, "segmentation fault") && !merge_nvml(&mut missing, ""));
        assert_eq!(missing, machine());
    }

    #[test]
    fn our_own_answer_reads_back() {
        let reply: Reply = serde_json::from_str(&nvml_json()).unwrap();
        assert!(reply.error.is_some() || reply.driver.is_some());
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_merge_panic(json in ".{0,200}") {
            let _ = merge_nvml(&mut machine(), &json);
        }
    }
}
