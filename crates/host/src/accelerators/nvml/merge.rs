//! From what the library says to devices: names, slices, links, and where each card stands.

use super::ask_again::Sweep;
use super::reply::{Fabric, Gpu, MigSlice};
use crate::Root;
use crate::accelerators::nvidia;
use crate::child::Silence;
use machine::ladder::{Answer, Fault};
use machine::{Bytes, Device, DeviceId, KernelFaults, LinkKind, PeerLink, Rung, Slice, SliceKind, Vendor, telemetry};
use std::collections::BTreeMap;

const WHO: &str = "libnvidia-ml.so.1";

/// Adds to the NVIDIA devices of a machine what the library said, and what the kernel's log says of them. `seconds` is the
/// patience that a silent library was given. Cards whose driver is not bound were not asked and stay as they are.
pub fn merge(root: &Root, devices: &mut Vec<Device>, sweep: &Sweep, seconds: u32, kernel: &KernelFaults) {
    // MIG slices are listed anew by each answer.
    let is_slice =
        |device: &Device| device.vendor == Vendor::Nvidia && device.slice.as_ref().is_some_and(|slice| slice.kind == SliceKind::Mig);
    let kept: BTreeMap<DeviceId, Device> =
        devices.extract_if(.., |device| is_slice(device)).map(|device| (device.id.clone(), device)).collect();
    let asked: Vec<usize> = (0..devices.len()).filter(|at| is_asked(&devices[*at])).collect();
    // The library counts the cards that its driver has in bus order, as this list does once those are out that the bus lost.
    let listed: Vec<usize> = asked.iter().copied().filter(|at| devices[*at].ladder.reached > Rung::None).collect();
    let by_order = |index: u32| listed.get(index as usize).copied();
    let mut answers: BTreeMap<usize, Answer> = BTreeMap::new();
    let mut told: BTreeMap<usize, &Gpu> = BTreeMap::new();
    for gpu in &sweep.gpus {
        if let Some(at) = devices.iter().position(|device| device.pci.is_some() && device.pci == gpu.address() && is_asked(device)) {
            told.insert(at, gpu);
        }
    }
    for (index, failed) in &sweep.bad {
        if let Some(at) = by_order(*index) {
            answers.insert(at, Answer::Refused { who: WHO.into(), error: failed.error.clone(), hint: failed.hint.clone() });
        }
    }
    for (index, silence) in &sweep.stuck {
        if let Some(at) = by_order(*index) {
            answers.insert(at, silent(silence, seconds, true));
        }
    }
    let mut slices: Vec<(usize, Vec<Device>)> = Vec::new();
    for at in asked {
        let logged = devices[at].pci.map(|address| kernel.of(address)).unwrap_or_default();
        let answer = match (told.get(&at), answers.remove(&at)) {
            (_, Some(answer)) => answer,
            (Some(gpu), None) => {
                let (answer, mut faults) = learn(&mut devices[at], gpu);
                faults.extend(logged);
                let parts = cut(root, &devices[at], gpu, &faults, &kept);
                devices[at].learn(answer, faults, parts.len());
                slices.push((at, parts));
                continue;
            }
            (None, None) => overall(sweep, seconds),
        };
        devices[at].learn(answer, logged, 0);
        devices[at].links.retain(|link| link.kind != LinkKind::Nvlink);
    }
    name_ends(devices, &told.iter().map(|(at, gpu)| (*at, *gpu)).collect::<Vec<_>>());
    for (at, parts) in slices.into_iter().rev() {
        devices.splice(at + 1..at + 1, parts);
    }
}

fn is_asked(device: &Device) -> bool {
    device.vendor == Vendor::Nvidia && device.driver.as_deref() == Some("nvidia") && device.slice.is_none()
}

/// What it means for a card that the answer does not speak of it.
fn overall(sweep: &Sweep, seconds: u32) -> Answer {
    match (&sweep.failed, &sweep.silence) {
        (Some(failed), _) if failed.no_library => Answer::NotInstalled(WHO.into()),
        (Some(failed), _) => Answer::Refused { who: WHO.into(), error: failed.error.clone(), hint: failed.hint.clone() },
        (None, Some(silence)) => silent(silence, seconds, false),
        (None, None) => Answer::Unlisted { who: WHO.into() },
    }
}

fn silent(silence: &Silence, seconds: u32, at_this_card: bool) -> Answer {
    match silence {
        Silence::Hung => Answer::Hung { who: WHO.into(), seconds, at_this_card },
        Silence::TooMuch => Answer::Nonsense { who: WHO.into(), what: silence.to_string() },
        // Our own program: it says nothing about the card.
        Silence::NotStarted(_) => Answer::NotAsked,
        other => Answer::Crashed { who: WHO.into(), how: other.to_string(), at_this_card },
    }
}

/// Names of cards, libraries and tools are shown to people and used as ids: printable, and of a length that fits a line.
fn name(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty() && text.len() <= 96 && text.chars().all(|c| c.is_ascii_graphic() || c == ' '))
}

fn learn(device: &mut Device, gpu: &Gpu) -> (Answer, Vec<Fault>) {
    let (seen, mut wrong) = telemetry::checked(gpu.telemetry.clone());
    if let Some(uuid) = name(&gpu.uuid).filter(|uuid| uuid.starts_with("GPU-")) {
        device.id = DeviceId(uuid);
    } else if gpu.uuid.is_some() {
        wrong.push("a UUID that is none".into());
    }
    match name(&gpu.name) {
        Some(name) => device.model = name,
        None if gpu.name.is_some() => wrong.push("a name that cannot be printed".into()),
        None => {}
    }
    // Cards that share the memory of the machine answer with an error or with nothing.
    match gpu.memory.filter(|memory| *memory > 0) {
        Some(memory) if memory <= 16 << 40 => device.memory = Some(Bytes(memory)),
        Some(memory) => wrong.push(format!("a memory of {memory} bytes")),
        None => {}
    }
    match gpu.capability {
        Some((major @ 1..=40, minor @ 0..=9)) => device.architecture = Some(format!("sm_{major}{minor}")),
        Some((major, minor)) => wrong.push(format!("a compute capability of {major}.{minor}")),
        None => {}
    }
    device.links.retain(|link| link.kind != LinkKind::Nvlink);
    device.domain = gpu.fabric.as_ref().and_then(Fabric::domain);
    let faults = judge(gpu, &seen);
    match wrong.is_empty() {
        true => (Answer::Fine, faults),
        // What is broken stays broken, whatever else is said.
        false => (Answer::Nonsense { who: WHO.into(), what: wrong.join(", ") }, faults),
    }
}

/// What is wrong with a card that answers, the worst first.
pub fn judge(gpu: &Gpu, seen: &machine::Telemetry) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |text: String, hint: &str, blocks| faults.push(Fault { text, hint: Some(hint.into()), blocks });
    if gpu.remap.is_some_and(|remap| remap.failed) {
        add("memory rows fail and no spare row is left".into(), "have the card replaced", true);
    }
    if let Some(count) = seen.ecc_uncorrected.filter(|count| *count > 0) {
        let reset = "reset it (`nvidia-smi --gpu-reset -i ID`) once nothing uses it; if it comes back, have it tested";
        add(format!("{count} uncorrected memory errors since the driver was loaded"), reset, true);
    }
    if gpu.remap.is_some_and(|remap| remap.pending) {
        add(
            "a memory row is to be replaced at the next reset".into(),
            "reset it once nothing uses it: `nvidia-smi --gpu-reset -i ID`",
            false,
        );
    }
    let not_joined = "CUDA fails with error 802 until it is: `systemctl status nvidia-fabricmanager`, and its log";
    match gpu.fabric.as_ref().map(|fabric| (fabric.state, fabric.status, fabric.health)) {
        Some((1, ..)) => add("the fabric manager has not begun to join it to the NVLink switches".into(), not_joined, true),
        Some((2, ..)) => add("the fabric manager is still joining it to the NVLink switches".into(), not_joined, true),
        Some((3, status, _)) if status != 0 => {
            add(format!("the fabric manager could not join it to the NVLink switches (error {status})"), not_joined, true);
        }
        Some((3, _, 2)) => {
            add("its links to the NVLink switches are unhealthy".into(), "`nvidia-smi -q` under \"Fabric\" tells more", false)
        }
        Some((3, _, 3)) => {
            add(
                "its links to the NVLink switches have less than their capacity".into(),
                "`nvidia-smi -q` under \"Fabric\" tells more",
                false,
            );
        }
        _ => {}
    }
    let down = gpu.nvlinks.iter().filter(|link| !link.up).count();
    if down > 0 && down < gpu.nvlinks.len() {
        add(
            format!("{down} of {} NVLinks are down", gpu.nvlinks.len()),
            "`nvidia-smi nvlink -s`, Xid 74 in `dmesg`, and the fabric manager's log tell more",
            false,
        );
    }
    if seen.link.is_some_and(|link| link.is_narrow()) {
        let link = seen.link.unwrap_or_default();
        add(format!("{} of {} PCIe lanes work", link.width, link.max_width), "reseat the card or its riser", false);
    }
    if let Some(reason) = seen.throttled.iter().find(|reason| reason.starts_with("hardware") || *reason == "power brake") {
        add(format!("held down: {reason}"), "look at cooling and power supplies", false);
    }
    faults
}

fn cut(root: &Root, card: &Device, gpu: &Gpu, faults: &[Fault], kept: &BTreeMap<DeviceId, Device>) -> Vec<Device> {
    let part = |part: &MigSlice| {
        let id = DeviceId(name(&Some(part.uuid.clone())).filter(|uuid| uuid.starts_with("MIG-"))?);
        let mut slice = Device {
            memory: Some(Bytes(part.memory)).filter(|memory| memory.0 > 0 && memory.0 <= 16 << 40),
            slice: Some(Slice { kind: SliceKind::Mig, parent: card.id.clone(), profile: part.profile() }),
            links: vec![],
            ..kept.get(&id).cloned().unwrap_or_else(|| card.clone())
        };
        slice.id = id;
        slice.index = card.index;
        slice.nodes = card.nodes.clone();
        slice.ladder = card.ladder.clone();
        let (caps, missing) = nvidia::capability_nodes(root, gpu.minor, part.gpu_instance, part.compute_instance);
        slice.nodes.extend(caps);
        let answer = match missing {
            None => Answer::Fine,
            Some(path) => Answer::Refused {
                who: "NVIDIA's driver".into(),
                error: format!("node missing: {}", path.trim_start_matches("/dev/")),
                hint: Some("`nvidia-modprobe -f /proc/driver/nvidia/capabilities/gpuN/mig/giN/access` makes it".into()),
            },
        };
        slice.learn(answer, faults.to_vec(), 0);
        Some(slice)
    };
    let mut found: Vec<Device> = gpu.slices.iter().filter_map(part).collect();
    found.dedup_by(|a, b| a.id == b.id);
    found
}

/// Says which device is at the other end of each NVLink; an address that is no card of ours is a switch.
fn name_ends(devices: &mut [Device], told: &[(usize, &Gpu)]) {
    for (at, gpu) in told {
        let mut ends: BTreeMap<Option<DeviceId>, (u32, u32)> = BTreeMap::new();
        for link in &gpu.nvlinks {
            let address = link.to.as_ref().and_then(|to| to.trim().parse().ok());
            let to = devices.iter().find(|device| address.is_some() && device.pci == address && device.slice.is_none());
            let (lanes, down) = ends.entry(to.map(|device| device.id.clone())).or_default();
            *lanes += u32::from(link.up);
            *down += u32::from(!link.up);
        }
        let links = ends.into_iter().map(|(to, (lanes, down))| PeerLink { kind: LinkKind::Nvlink, to, lanes, mb_per_s: None, down });
        let links: Vec<PeerLink> = links.collect();
        devices[*at].links.extend(links);
    }
}
