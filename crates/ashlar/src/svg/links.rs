//! Links between accelerators as a ring: cards around, a line for each pair that is linked, switches in the middle.

use super::{Block, CARD, LINE, UNIT, card, safe, text, wrapped};
use crate::picture::links::sentences;
use machine::{Device, DeviceId, LinkKind, Machine};
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fmt::Write;

/// More cards than these are told in words only.
const MOST: usize = 32;
const RADIUS: f64 = 132.0;
const DOT: f64 = 16.0;

/// The card of links, and of domains over several machines; none without any.
pub(super) fn ring(machine: &Machine) -> Option<Block> {
    let told = sentences(machine);
    if told.is_empty() {
        return None;
    }
    let ends = Ends::of(machine);
    let mut blocks = Vec::new();
    if (2..=MOST).contains(&ends.cards.len()) {
        blocks.push(ends.draw());
    }
    let mut body = String::new();
    let mut y = 0.0;
    for sentence in &told {
        for line in wrapped(&sentence.text(), CARD - 3.0 * UNIT) {
            text(&mut body, if sentence.words.is_empty() && !sentence.wrong.is_empty() { "bad" } else { "" }, 0.0, y + 13.0, &line);
            y += LINE;
        }
    }
    blocks.push(Block { height: y, body });
    Some(card("links between accelerators", "", blocks))
}

#[derive(Default)]
struct Between {
    lanes: u32,
    down: u32,
}

/// What is drawn: links of slices are those of their cards.
struct Ends<'m> {
    cards: Vec<&'m Device>,
    /// By kind and the places of both cards, the lower first.
    pairs: BTreeMap<(LinkKind, usize, usize), Between>,
    switched: BTreeMap<(LinkKind, usize), Between>,
    /// Cards of domains that reach other machines.
    domains: Vec<usize>,
}

impl<'m> Ends<'m> {
    fn of(machine: &'m Machine) -> Ends<'m> {
        let is_wire = |device: &Device| device.links.iter().any(|link| link.kind != LinkKind::Pcie);
        let card_of = |device: &'m Device| device.slice.as_ref().and_then(|slice| machine.device(&slice.parent)).unwrap_or(device);
        let mut cards: Vec<&Device> = Vec::new();
        for card in machine.devices.iter().filter(|device| is_wire(device)).map(card_of) {
            if !cards.iter().any(|known| known.id == card.id) {
                cards.push(card);
            }
        }
        let places: BTreeMap<&DeviceId, usize> = cards.iter().enumerate().map(|(at, card)| (&card.id, at)).collect();
        let place = |device: &'m Device| places.get(&card_of(device).id).copied();
        let mut ends = Ends { pairs: BTreeMap::new(), switched: BTreeMap::new(), domains: Vec::new(), cards: Vec::new() };
        for device in &machine.devices {
            let Some(from) = place(device) else { continue };
            if device.domain.is_some() {
                ends.domains.push(from);
            }
            for link in device.links.iter().filter(|link| link.kind != LinkKind::Pcie) {
                let between = match link.to.as_ref().map(|to| machine.device(to).and_then(place)) {
                    None => ends.switched.entry((link.kind, from)).or_default(),
                    Some(Some(to)) if to != from => ends.pairs.entry((link.kind, from.min(to), from.max(to))).or_default(),
                    Some(_) => continue,
                };
                between.lanes = between.lanes.max(link.lanes);
                between.down = between.down.max(link.down);
            }
        }
        ends.cards = cards;
        ends
    }

    /// Middle of a card's dot.
    fn at(&self, place: usize) -> (f64, f64) {
        let angle = TAU * (place as f64 / self.cards.len() as f64 - 0.25);
        ((CARD - 3.0 * UNIT) / 2.0 + RADIUS * 1.4 * angle.cos(), RADIUS + 34.0 + RADIUS * angle.sin())
    }

    fn draw(&self) -> Block {
        let mut body = String::new();
        let (middle_x, middle_y) = ((CARD - 3.0 * UNIT) / 2.0, RADIUS + 34.0);
        if !self.domains.is_empty() {
            let _ = write!(
                body,
                "<ellipse class=\"dom\" cx=\"{middle_x}\" cy=\"{middle_y}\" rx=\"{}\" ry=\"{}\"/>",
                RADIUS * 1.4 + 58.0,
                RADIUS + 30.0
            );
        }
        for ((kind, from, to), between) in &self.pairs {
            line(&mut body, *kind, self.at(*from), self.at(*to), between);
        }
        for ((kind, from), between) in &self.switched {
            line(&mut body, *kind, self.at(*from), (middle_x, middle_y), between);
        }
        if !self.switched.is_empty() {
            let _ = write!(
                body,
                "<rect class=\"hub\" x=\"{}\" y=\"{}\" width=\"90\" height=\"30\" rx=\"6\"/>",
                middle_x - 45.0,
                middle_y - 15.0
            );
            let _ = write!(body, "<text x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\">switches</text>", middle_y + 4.0);
        }
        let one_vendor = self.cards.windows(2).all(|pair| pair[0].vendor == pair[1].vendor);
        for (place, device) in self.cards.iter().enumerate() {
            let (x, y) = self.at(place);
            let class = if device.health.is_ready() || crate::picture::slices::is_divided(device) { "acc" } else { "bad" };
            let _ = write!(
                body,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{DOT}\"><title>{}</title></circle>",
                safe(&format!("{} {}", device.id, device.model))
            );
            let _ = write!(body, "<text class=\"on\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", y + 4.5, device.index);
            if one_vendor {
                continue;
            }
            let (left, anchor) = if x < middle_x - 1.0 { (x - DOT - 5.0, "end") } else { (x + DOT + 5.0, "start") };
            let _ =
                write!(body, "<text class=\"f\" x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>", y + 4.0, device.vendor);
        }
        self.legend(&mut body, RADIUS * 2.0 + 78.0);
        Block { height: RADIUS * 2.0 + 92.0, body }
    }

    fn legend(&self, body: &mut String, y: f64) {
        let mut kinds: Vec<LinkKind> = self.pairs.keys().map(|key| key.0).chain(self.switched.keys().map(|key| key.0)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut x = 0.0;
        for kind in kinds {
            let _ = write!(body, "<path class=\"{}\" stroke-width=\"3\" d=\"M{x},{}h24\"/>", class(kind), y - 4.0);
            text(body, "f", x + 30.0, y, kind.name());
            x += 44.0 + kind.name().len() as f64 * 8.0;
        }
        if self.pairs.values().chain(self.switched.values()).any(|between| between.down > 0) {
            let _ = write!(body, "<path class=\"down\" stroke-width=\"3\" d=\"M{x},{}h24\"/>", y - 4.0);
            text(body, "f", x + 30.0, y, "some of its links are down");
            x += 200.0;
        }
        if !self.domains.is_empty() {
            let _ = write!(body, "<path class=\"dom\" d=\"M{x},{}h24\"/>", y - 4.0);
            text(body, "f", x + 30.0, y, "domain over machines");
        }
    }
}

fn class(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Nvlink => "nv",
        LinkKind::Xgmi => "xg",
        LinkKind::Hccs => "hc",
        LinkKind::Sio => "si",
        LinkKind::C2c | LinkKind::Pcie => "l",
    }
}

/// The more lanes the wider; where some are down, broken.
fn line(body: &mut String, kind: LinkKind, from: (f64, f64), to: (f64, f64), between: &Between) {
    let wide = 1.2 + f64::from(between.lanes.min(18)) / 6.0;
    let class = if between.down > 0 { "down" } else { class(kind) };
    let _ = write!(body, "<path class=\"{class}\" stroke-width=\"{wide:.1}\" d=\"M{:.1},{:.1}L{:.1},{:.1}\"/>", from.0, from.1, to.0, to.1);
}
