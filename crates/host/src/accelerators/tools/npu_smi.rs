//! `npu-smi info`: a box with two lines a chip.
//!
//! First `| NPU Name | Health | Power(W) Temp(C) Hugepages |`, then `| Chip | Bus-Id | AICore(%) Memory-Usage(MB) HBM-Usage(MB) |`
//! (Huawei, npu-smi command reference). Boards of several chips print the first line once a chip.

mod topology;
mod vnpu;

use super::{FIRST_VNPU, Further, Question, Told, ToldLink, ToldSlice, address, degrees, memory, milliwatts, whole};
use machine::Telemetry;
use topology::End;

pub(super) const FURTHER: Further = Further { questions, learn };

/// The links between chips, and what each is cut into.
fn questions(told: &[Told], divided: bool) -> Vec<Question> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let topology = Question { file: "npu-smi-topo.txt".into(), arguments: words(&["info", "-t", "topo"]), about: None };
    let slices = |(at, card): (usize, &Told)| {
        let (board, chip) = (card.index?.to_string(), card.chip.to_string());
        let arguments = words(&["info", "-t", "info-vnpu", "-i", &board, "-c", &chip]);
        Some(Question { file: format!("npu-smi-vnpu-{board}-{chip}.txt"), arguments, about: Some(at) })
    };
    let mut found: Vec<Question> = Some(topology).filter(|_| told.len() > 1).into_iter().collect();
    found.extend(told.iter().enumerate().filter(|_| divided).filter_map(slices));
    found
}

fn learn(told: &mut [Told], question: &Question, text: &str) {
    match question.about {
        Some(at) => {
            if let Some(card) = told.get_mut(at) {
                card.slices = vnpu::parse(text);
            }
        }
        None => link(told, &topology::parse(text)),
    }
}

/// Both ends of each link have to be chips that the first answer listed; otherwise the numbers do not mean what we think.
fn link(told: &mut [Told], ways: &[topology::Way]) {
    let boards_of_one = told.iter().all(|card| card.chip == 0);
    let places: Vec<(Option<u32>, Option<u32>)> = told.iter().map(|card| (card.index, card.physical)).collect();
    let place = |end: End| match end {
        End::Npu(number) if boards_of_one => places.iter().position(|(index, _)| *index == Some(number)),
        End::Npu(number) | End::Chip(number) => match places.iter().any(|(_, physical)| physical.is_some()) {
            true => places.iter().position(|(_, physical)| *physical == Some(number)),
            false => Some(number as usize).filter(|at| *at < places.len()),
        },
        End::Other => None,
    };
    let ends: Option<Vec<_>> = ways.iter().map(|way| Some((place(way.from)?, place(way.to)?, way))).collect();
    let Some(ends) = ends.filter(|ends| !ends.is_empty()) else { return };
    for (from, to, way) in ends {
        let links = told[from].links.get_or_insert_default();
        let link = ToldLink { kind: way.kind, to: Some(to).filter(|_| !way.switched) };
        if !links.contains(&link) {
            links.push(link);
        }
    }
}

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
    // Boards of several chips have the chip's number for the driver in a second column.
    let mut numbered = false;
    for line in text.lines() {
        let Some(cells) = cells(line) else {
            first = None;
            continue;
        };
        numbered |= cells[0][..] == ["Chip", "Phy-ID"];
        let is_number = cells[0].first().is_some_and(|word| word.parse::<u32>().is_ok());
        let bus = cells[1].first().and_then(|word| address(word));
        let second = cells[0].get(1).and_then(|word| word.parse().ok());
        match (&first, bus) {
            (Some(head), Some(bus)) if is_number => {
                found.push(Told { physical: second.filter(|_| numbered), ..told(head, &cells, bus) });
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
        chip: tail[0].first().and_then(|word| word.parse().ok()).unwrap_or_default(),
        name: head[0].get(1).map(|name| (*name).to_owned()),
        telemetry,
        ..Told::default()
    }
}
