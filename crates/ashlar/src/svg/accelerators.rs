//! Accelerators as tiles: what each is, how it stands, and the slices that it is cut into.

use super::{Block, CARD, LINE, UNIT, card, cut, safe, text, wrapped};
use crate::picture::slices;
use machine::{Bytes, Device, Health, Machine};
use std::collections::BTreeMap;
use std::fmt::Write;

const ACROSS: usize = 4;
const WIDE: f64 = (CARD - 3.0 * UNIT - (ACROSS as f64 - 1.0) * 8.0) / ACROSS as f64;
/// Without and with a bar of slices.
const PLAIN: f64 = 58.0;
const CUT: f64 = 80.0;
/// More cards than these are counted, not drawn.
const MOST: usize = 64;

/// The card of all accelerators; none without any.
pub(super) fn tiles(machine: &Machine) -> Option<Block> {
    let whole: Vec<&Device> =
        machine.devices.iter().filter(|device| device.slice.as_ref().is_none_or(|slice| machine.device(&slice.parent).is_none())).collect();
    if whole.is_empty() {
        return None;
    }
    let parts = |card: &Device| -> Vec<&Device> {
        machine.devices.iter().filter(|device| device.slice.as_ref().is_some_and(|slice| slice.parent == card.id)).collect()
    };
    let mut body = String::new();
    let mut y = 0.0;
    for row in whole[..whole.len().min(MOST)].chunks(ACROSS) {
        let cut = row.iter().any(|device| !parts(device).is_empty());
        let high = if cut { CUT } else { PLAIN };
        for (column, device) in row.iter().enumerate() {
            let x = column as f64 * (WIDE + 8.0);
            let _ = write!(body, "<g transform=\"translate({x:.1},{y})\">{}</g>", tile(device, &parts(device), high));
        }
        y += high + 8.0;
    }
    let mut lines: Vec<String> = Vec::new();
    if whole.len() > MOST {
        lines.push(format!("and {} more", whole.len() - MOST));
    }
    lines.extend(sorts(machine));
    if whole.iter().any(|device| slices::is_divided(device)) {
        mark(&mut body, 5.0, y + 9.0);
        text(&mut body, "f", 16.0, y + 13.0, slices::LEGEND);
        y += LINE;
    }
    for line in lines.iter().flat_map(|line| wrapped(line, CARD - 3.0 * UNIT)) {
        text(&mut body, "f", 0.0, y + 13.0, &line);
        y += LINE;
    }
    let ready = machine.devices.iter().filter(|device| device.health.is_ready()).count();
    let subtitle = format!("{} cards · {ready} devices can be granted", whole.len());
    Some(card("accelerators", &subtitle, vec![Block { height: y, body }]))
}

/// Good, held back without harm, or bad.
fn class(device: &Device) -> &'static str {
    match (&device.health, &device.ladder.stop) {
        (Health::Ready, None) => "good",
        (Health::Ready, Some(_)) => "warn",
        _ => "bad",
    }
}

/// The sign of a divided card, as in the text: a square in a square.
fn mark(body: &mut String, x: f64, y: f64) {
    let _ = write!(body, "<rect class=\"frame\" x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\"/>", x - 5.0, y - 5.0);
    let _ = write!(body, "<rect class=\"bra\" x=\"{:.1}\" y=\"{:.1}\" width=\"5\" height=\"5\"/>", x - 2.5, y - 2.5);
}

fn tile(device: &Device, parts: &[&Device], high: f64) -> String {
    let mut body = format!("<rect class=\"node\" width=\"{WIDE:.1}\" height=\"{high}\" rx=\"6\"/>");
    let why = device.ladder.stop.as_ref().map_or_else(String::new, |stop| format!(": {}", stop.reason));
    let _ = write!(
        body,
        "<title>{}</title>",
        safe(&format!("{} {} {}{why}", device.id, device.model, device.architecture.as_deref().unwrap_or_default()))
    );
    match slices::is_divided(device) {
        true => mark(&mut body, WIDE - 12.0, 14.0),
        false => drop(write!(body, "<circle class=\"{}\" cx=\"{:.1}\" cy=\"14\" r=\"5\"/>", class(device), WIDE - 12.0)),
    }
    let room = WIDE - 14.0;
    text(&mut body, "b", 8.0, 18.0, &cut(&format!("{} {}", device.vendor, device.index), room - 16.0));
    // Capitals are wide, and whose it is stands above.
    let model = device
        .model
        .split_once(' ')
        .filter(|(maker, _)| maker.eq_ignore_ascii_case(device.vendor.name()))
        .map_or(device.model.as_str(), |(_, rest)| rest);
    text(&mut body, "", 8.0, 34.0, &cut(model, room * 0.88));
    let facts = [device.memory.map(|memory| memory.to_string()), device.numa.map(|node| format!("node {node}"))];
    text(&mut body, "f", 8.0, 50.0, &cut(&facts.into_iter().flatten().collect::<Vec<_>>().join(" · "), room * 1.1));
    // Each slice has its part of the width: of the memory where that is known of all.
    let sizes: Vec<f64> = match parts.iter().map(|part| part.memory.filter(|memory| memory.0 > 0)).collect::<Option<Vec<Bytes>>>() {
        Some(sizes) => sizes.iter().map(|size| size.0 as f64).collect(),
        None => vec![1.0; parts.len()],
    };
    let known: f64 = sizes.iter().sum();
    let all = device.memory.map_or(known, |memory| memory.0 as f64).max(known);
    let all = if parts.iter().any(|part| part.memory.is_none()) { known } else { all };
    let mut x = 8.0;
    for (part, size) in parts.iter().zip(&sizes) {
        let wide = (WIDE - 16.0) * size / all.max(1.0);
        let name = part.slice.as_ref().map_or_else(String::new, machine::Slice::name);
        let _ = write!(
            body,
            "<rect class=\"cut {}\" x=\"{x:.1}\" y=\"58\" width=\"{:.1}\" height=\"15\" rx=\"2\"><title>{}</title></rect>",
            class(part),
            (wide - 1.5).max(1.0),
            safe(&format!("{} {name}", part.id))
        );
        x += wide;
    }
    body
}

/// "4 × MIG 1g.10gb, 10 GiB each on nvidia 1".
fn sorts(machine: &Machine) -> Vec<String> {
    let mut found: BTreeMap<(String, Option<Bytes>), (usize, machine::CpuSet, &'static str)> = BTreeMap::new();
    for device in &machine.devices {
        let Some(slice) = &device.slice else { continue };
        let Some(card) = machine.device(&slice.parent) else { continue };
        let (count, cards, vendor) = found.entry((slice.sort(), device.memory)).or_default();
        *count += 1;
        cards.insert(card.index);
        *vendor = card.vendor.name();
    }
    let line = |((sort, memory), (count, cards, vendor)): ((String, Option<Bytes>), (usize, machine::CpuSet, &str))| {
        let memory = memory.map_or_else(String::new, |memory| format!(", {memory}{}", if count > 1 { " each" } else { "" }));
        format!("{count} × {sort}{memory}, on {vendor} {cards}")
    };
    found.into_iter().map(line).collect()
}
