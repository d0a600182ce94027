//! What a vendor's program said of its cards: where each stands, what it does, its links and slices.

use super::{general, how, learn, logged};
use crate::Root;
use crate::accelerators::ascend;
use crate::accelerators::table::Telemetry as How;
use crate::accelerators::tools::{Told, Tool};
use crate::child::Silence;
use machine::ladder::{Answer, Fault};
use machine::{Device, DeviceId, KernelFaults, LinkKind, PeerLink, Rung, SliceKind, Telemetry, telemetry};
use std::collections::BTreeMap;
use std::time::Duration;

/// Puts a program's answer, or its silence after so much patience, into the devices that it was asked about.
pub(super) fn by_tool(
    root: &Root,
    devices: &mut Vec<Device>,
    (tool, answer): (&Tool, &Result<Vec<Told>, Silence>),
    patience: Duration,
    figures: &mut BTreeMap<DeviceId, Telemetry>,
    kernel: &KernelFaults,
) {
    let seconds = u32::try_from(patience.as_secs()).unwrap_or(u32::MAX);
    let asked: Vec<DeviceId> = devices
        .iter()
        .filter(|device| device.slice.is_none() && device.ladder.reached >= Rung::Node && how(device) == Some(How::Tool(tool.name)))
        .map(|device| device.id.clone())
        .collect();
    // Which device each card of the list is, for the ends of links.
    let told: &[Told] = answer.as_deref().unwrap_or_default();
    let named: Vec<Option<DeviceId>> = told.iter().map(|card| whose(card, devices, &asked)).collect();
    let pairs: Vec<(&DeviceId, &Told)> = named.iter().zip(told).filter_map(|(name, card)| Some((name.as_ref()?, card))).collect();
    ascend::renumber(root, devices, &pairs);
    ascend::relist(root, devices, &pairs);
    for id in asked {
        let (answer, mut faults) = match answer {
            Err(silence) => (silent(tool, silence, seconds), vec![]),
            // The formats are by documentation only: an output that is not understood proves nothing.
            Ok(told) => match named.iter().position(|name| *name == Some(id.clone())).map(|at| &told[at]) {
                None => {
                    let what = "this card is not in its output, as far as we understand it".into();
                    (Answer::Nonsense { who: tool.name.to_owned(), what }, vec![])
                }
                Some(told) => {
                    link(devices, &id, told, &named);
                    let (seen, wrong) = telemetry::checked(told.telemetry.clone());
                    let faults = general(&seen);
                    if let Some(device) = devices.iter_mut().find(|device| device.id == id) {
                        device.memory = device.memory.or(seen.memory_total);
                    }
                    let known = figures.remove(&id).unwrap_or_default();
                    figures.insert(id.clone(), seen.or(known));
                    match wrong.is_empty() {
                        true => (Answer::Fine, faults),
                        false => (Answer::Nonsense { who: tool.name.to_owned(), what: wrong.join(", ") }, faults),
                    }
                }
            },
        };
        faults.extend(logged(devices, &id, kernel));
        learn(devices, &id, &answer, &faults);
        missing_nodes(devices, &id, &faults);
    }
}

fn silent(tool: &Tool, silence: &Silence, seconds: u32) -> Answer {
    let who = tool.name.to_owned();
    match silence {
        Silence::NotStarted(_) => Answer::NotInstalled(who),
        Silence::Hung => Answer::Hung { who, seconds, at_this_card: false },
        Silence::TooMuch => Answer::Nonsense { who, what: silence.to_string() },
        silence => Answer::Crashed { who, how: silence.to_string(), at_this_card: false },
    }
}

fn whose(card: &Told, devices: &[Device], asked: &[DeviceId]) -> Option<DeviceId> {
    let fits = |device: &&Device| match card.pci {
        Some(_) => device.pci == card.pci,
        None => card.index == Some(device.index),
    };
    devices.iter().filter(|device| asked.contains(&device.id)).find(fits).map(|device| device.id.clone())
}

/// Links that a program lists take the place of those that it listed before.
fn link(devices: &mut [Device], id: &DeviceId, told: &Told, named: &[Option<DeviceId>]) {
    const OF_TOOLS: [LinkKind; 2] = [LinkKind::Hccs, LinkKind::Sio];
    const NOTE: &str = "npu-smi's list of links";
    let (Some(links), Some(device)) = (&told.links, devices.iter_mut().find(|device| device.id == *id)) else { return };
    device.links.retain(|link| !OF_TOOLS.contains(&link.kind));
    for link in links {
        let to = match link.to {
            None => None,
            Some(at) => match named.get(at) {
                Some(Some(to)) if to != id => Some(to.clone()),
                _ => continue,
            },
        };
        device.links.push(PeerLink { kind: link.kind, to, lanes: 1, mb_per_s: None, down: 0 });
    }
    if !device.unverified.iter().any(|note| note == NOTE) {
        device.unverified.push(NOTE.into());
    }
}

/// A vNPU that is listed and has no node cannot be handed to anybody.
fn missing_nodes(devices: &mut [Device], card: &DeviceId, faults: &[Fault]) {
    for part in devices.iter_mut().filter(|part| part.slice.as_ref().is_some_and(|of| of.kind == SliceKind::Vnpu && of.parent == *card)) {
        if part.nodes.iter().any(|node| !node.shared) {
            continue;
        }
        let Some(number) = ascend::number_of(part) else { continue };
        let answer = Answer::Refused {
            who: "Ascend's driver".into(),
            error: format!("node missing: vdavinci{number}"),
            hint: Some("in a container, pass the node in; else `npu-smi info -t info-vnpu` tells whether the vNPU is still there".into()),
        };
        part.learn(answer, faults.to_vec(), 0);
    }
}
