//! `npu-smi info`: a box with two lines a chip.
//!
//! First `| NPU Name | Health | Power(W) Temp(C) Hugepages |`, then `| Chip | Bus-Id | AICore(%) Memory-Usage(MB) HBM-Usage(MB) |`
//! (Huawei, npu-smi command reference). Boards of several chips print the first line once a chip.

use super::{Told, address, degrees, memory, milliwatts, whole};
use machine::Telemetry;

/// Cells of a line of the box.
fn cells(line: &str) -> Option<[Vec<&str>; 3]> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut parts = inner.split('|').map(|cell| cell.split_whitespace().collect::<Vec<_>>());
    let cells = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(cells)
}

pub fn parse(text: &str) -> Vec<Told> {
    let mut found = Vec::new();
    let mut first: Option<[Vec<&str>; 3]> = None;
    for line in text.lines() {
        let Some(cells) = cells(line) else {
            first = None;
            continue;
        };
        let is_number = cells[0].first().is_some_and(|word| word.parse::<u32>().is_ok());
        let bus = cells[1].first().and_then(|word| address(word));
        match (&first, bus) {
            (Some(head), Some(bus)) if is_number => {
                found.push(told(head, &cells, bus));
                first = None;
            }
            _ => first = is_number.then_some(cells),
        }
    }
    found
}

fn told(head: &[Vec<&str>; 3], tail: &[Vec<&str>; 3], bus: machine::PciAddress) -> Told {
    let figure = |at: usize| head[2].get(at).copied().unwrap_or("");
    // `0 / 0 3404 / 65536`: pairs of used and total; boards without HBM have one pair.
    let rest = tail[2].get(1..).unwrap_or_default().join(" ");
    let words: Vec<&str> = rest.split(['/', ' ']).filter(|word| !word.is_empty()).collect();
    let pairs: Vec<(&str, &str)> = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    // The last pair with anything in it is the card's own memory.
    let own = pairs.iter().rev().find(|(_, total)| whole(total).is_some_and(|total| total > 0));
    let health = head[1].first().copied().unwrap_or("");
    let mut telemetry = Telemetry {
        power_mw: milliwatts(figure(0)),
        temperature_c: degrees(figure(1)),
        busy_percent: tail[2].first().and_then(|word| whole(word)),
        memory_used: own.and_then(|(used, _)| memory(used)),
        memory_total: own.and_then(|(_, total)| memory(total)),
        ..Telemetry::default()
    };
    if !health.is_empty() && health != "OK" {
        telemetry.complaints.push(format!("npu-smi calls its health {}", health.chars().take(40).collect::<String>()));
    }
    Told {
        pci: Some(bus),
        index: head[0].first().and_then(|word| word.parse().ok()),
        uuid: None,
        name: head[0].get(1).map(|name| (*name).to_owned()),
        telemetry,
    }
}
