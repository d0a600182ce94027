//! The machine as an SVG picture: packages with their memory nodes, cores and caches, and the buses that hang off them.
//!
//! Shapes have their own neutral colours on a transparent ground, so that the picture is at home on light and dark pages.

mod accelerators;
mod iommu;
mod links;
mod ports;

use crate::picture::devices::{self, Place, Row, What};
use machine::topology::{Cache, CacheKind, Distances, Kind, MemoryAttribute, Object, Topology};
use machine::{Bytes, Machine};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Everything is laid out on a grid of this many pixels.
const UNIT: f64 = 10.0;
const CARD: f64 = 560.0;
const GAP: f64 = 20.0;
const LINE: f64 = 18.0;
const CORE: f64 = 14.0;
/// Inside of a card, and half of it.
const WHOLE: f64 = CARD - 3.0 * UNIT;
const HALF: f64 = (WHOLE - UNIT) / 2.0;
/// Memory nodes of no more CPUs than these stand two in a row where there are many.
const MOST_IN_HALF: usize = 32;
/// Matrices of more nodes are left to the text.
const MOST_CELLS: usize = 32;

const STYLE: &str = "<style>\
text{font:12px system-ui,'DejaVu Sans',Helvetica,sans-serif;fill:#1f2933}\
.t{font-weight:600;font-size:14px}.h{font-weight:600;font-size:20px}.f{fill:#6b7785}.m{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:11px}\
.card{fill:#f7f8fa;stroke:#c3cad3}.node{fill:#ffffff;stroke:#d5dae1}.core{fill:#dfe7f3;stroke:#9fb3cf}.cache{fill:none;stroke:#9fb3cf}\
.acc{fill:#2f9e62}.net{fill:#2b7fc4}.sto{fill:#c98a1b}.mem{fill:#8a5cc2}.oth{fill:#98a3af}.bra{fill:#5b6673}.bad{fill:#c8372d}.good{fill:#2f9e62}.warn{fill:#d99a1c}.b{font-weight:600}.on{fill:#ffffff;font-weight:600}.cut{fill-opacity:.75}.frame{fill:none;stroke:#5b6673;stroke-width:1.5}\
.nv,.xg,.hc,.si,.down{fill:none;stroke-opacity:.55}.nv{stroke:#2f9e62}.xg{stroke:#d0632b}.hc{stroke:#7a52c7}.si{stroke:#b0428f}.down{stroke:#c8372d;stroke-dasharray:6 4}\
.hub{fill:#ffffff;stroke:#5b6673}.dom{fill:none;stroke:#98a3af;stroke-dasharray:8 6}.l{stroke:#b4bcc6;fill:none}\
@media (prefers-color-scheme:dark){text{fill:#e4e9ef}.f{fill:#9aa7b5}.card{fill:#20262e;stroke:#46505c}.node{fill:#2a323c;stroke:#4b5663}\
.hub{fill:#2a323c;stroke:#98a3af}.core{fill:#3a4a60;stroke:#6d86a8}.cache{stroke:#6d86a8}.l{stroke:#5b6673}}\
</style>";

/// Text of an element or attribute.
fn safe(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    clean.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A piece of the picture as wide as its card; its own corner is at 0, 0.
struct Block {
    height: f64,
    body: String,
}

/// Draws the machine: first what it computes with, then packages, buses and the rest.
pub fn draw(topology: &Topology, machine: &Machine, title: &str) -> String {
    let mut cards = Vec::new();
    cards.extend(accelerators::tiles(machine));
    cards.extend(links::ring(machine));
    cards.extend(ports::list(machine));
    let places = devices::places(topology);
    let packages: Vec<&Object> = topology.objects().filter(|object| object.kind == Kind::Package).collect();
    let tops = if packages.is_empty() { vec![&topology.machine] } else { packages };
    // A piece of a machine has no processors to draw.
    for package in tops.iter().filter(|package| !package.cpus.is_empty()) {
        cards.push(package_card(topology, package, &places));
    }
    let inside = |place: &&Place| tops.iter().any(|top| !place.cpus.is_empty() && place.cpus.is_subset(&top.cpus));
    cards.extend(
        places.iter().filter(|place| !inside(place)).map(|place| card(&format!("near {}", place.name), "", vec![rows(&place.rows)])),
    );
    let elsewhere = elsewhere(topology, &tops);
    if !elsewhere.is_empty() {
        cards.push(card("memory of several packages", "", elsewhere.into_iter().map(|node| node_block(topology, node, WHOLE)).collect()));
    }
    cards.extend(topology.distances.iter().filter(|matrix| matrix.nodes.len() <= MOST_CELLS).map(matrix_card));
    cards.extend(iommu::groups(topology));
    page(title, &facts(topology), cards)
}

/// Cards side by side, each in the shorter of the columns where they differ much.
fn page(title: &str, facts: &str, cards: Vec<Block>) -> String {
    let columns = if cards.len() > 1 { 2 } else { 1 };
    let top = 70.0;
    let mut heights = vec![top; columns];
    let mut body = String::new();
    for card in &cards {
        // In their order, as long as that leaves no great hole.
        let column = usize::from(columns == 2 && heights[1] + card.height * 0.4 < heights[0]);
        let x = GAP + column as f64 * (CARD + GAP);
        let _ = write!(body, "<g transform=\"translate({x},{})\">{}</g>", heights[column], card.body);
        heights[column] += card.height + GAP;
    }
    let width = GAP + columns as f64 * (CARD + GAP);
    let height = heights.iter().copied().fold(top, f64::max);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\
         <title>{}</title>{STYLE}<text class=\"h\" x=\"{GAP}\" y=\"34\">{}</text><text class=\"f\" x=\"{GAP}\" y=\"54\">{}</text>{body}</svg>\n",
        safe(title),
        safe(title),
        safe(facts)
    )
}

fn facts(topology: &Topology) -> String {
    let count = |wanted: &dyn Fn(&Kind) -> bool| topology.objects().filter(|object| wanted(&object.kind)).count();
    let mut parts = vec![
        format!("{} packages", count(&|kind| *kind == Kind::Package)),
        format!("{} cores", count(&|kind| *kind == Kind::Core)),
        format!("{} logical CPUs", count(&|kind| *kind == Kind::Pu)),
        format!("{} memory nodes", count(&|kind| matches!(kind, Kind::NumaNode(_)))),
        topology.memory().to_string(),
    ];
    parts.retain(|part| !part.starts_with("0 "));
    parts.join(" · ")
}

fn text(out: &mut String, class: &str, x: f64, y: f64, words: &str) {
    let _ = write!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", safe(words));
}

/// As much as fits into a width in pixels.
fn cut(words: &str, pixels: f64) -> String {
    let most = (pixels / 6.6) as usize;
    if words.chars().count() <= most {
        return words.to_owned();
    }
    words.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// In lines that fit into a width in pixels, broken between words.
fn wrapped(words: &str, pixels: f64) -> Vec<String> {
    let most = (pixels / 6.6) as usize;
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(cut(word, pixels)),
        }
    }
    lines
}

fn card(title: &str, subtitle: &str, blocks: Vec<Block>) -> Block {
    let mut body = String::new();
    let mut y = 28.0;
    text(&mut body, "t", UNIT * 1.5, y, &cut(title, CARD - 30.0));
    if !subtitle.is_empty() {
        y += LINE;
        text(&mut body, "f", UNIT * 1.5, y, &cut(subtitle, CARD - 30.0));
    }
    y += UNIT;
    for block in blocks {
        let _ = write!(body, "<g transform=\"translate({},{y})\">{}</g>", UNIT * 1.5, block.body);
        y += block.height + UNIT;
    }
    let frame = format!("<rect class=\"card\" width=\"{CARD}\" height=\"{y}\" rx=\"8\"/>");
    Block { height: y, body: frame + &body }
}

fn package_card(topology: &Topology, package: &Object, places: &[Place]) -> Block {
    let number = package.os_index.map(|number| format!(" {number}")).unwrap_or_default();
    let kind = if package.kind == Kind::Package { "package" } else { "machine" };
    let model = package.info("CPUModel").or_else(|| topology.machine.info("CPUModel")).unwrap_or_default();
    let mut blocks: Vec<Block> = Vec::new();
    let mut nodes = Vec::new();
    gather(package, &|object| matches!(object.kind, Kind::NumaNode(_)), &mut nodes);
    match nodes.len() >= 4 && nodes.iter().all(|node| node.cpus.len() <= MOST_IN_HALF) {
        true => blocks.extend(nodes.chunks(2).map(|pair| beside(pair.iter().map(|node| node_block(topology, node, HALF)).collect()))),
        false => blocks.extend(nodes.iter().map(|node| node_block(topology, node, WHOLE))),
    }
    let without: machine::CpuSet = nodes.iter().fold(package.cpus.clone(), |rest, node| rest.difference(&node.cpus));
    if !without.is_empty() {
        blocks.push(cores_block(package, &without, "no memory of its own", WHOLE));
    }
    let here = places.iter().filter(|place| !place.cpus.is_empty() && place.cpus.is_subset(&package.cpus));
    for place in here {
        if place.cpus != package.cpus {
            blocks.push(caption(&format!("near {}", place.name)));
        }
        blocks.push(rows(&place.rows));
    }
    card(&format!("{kind}{number}  {model}"), &caches(package).join(" · "), blocks)
}

fn caption(words: &str) -> Block {
    let mut body = String::new();
    text(&mut body, "f", 0.0, 12.0, words);
    Block { height: 14.0, body }
}

/// Memory that is near to more than one package, or to none.
fn elsewhere<'t>(topology: &'t Topology, tops: &[&Object]) -> Vec<&'t Object> {
    let nodes = topology.objects().filter(|object| matches!(object.kind, Kind::NumaNode(_)));
    nodes
        .filter(|node| {
            let held = |top: &&Object| {
                let mut inside = Vec::new();
                gather(top, &|object| matches!(object.kind, Kind::NumaNode(_)) && object.os_index == node.os_index, &mut inside);
                !inside.is_empty()
            };
            !tops.iter().any(held)
        })
        .collect()
}

fn gather<'t>(object: &'t Object, wanted: &dyn Fn(&Object) -> bool, found: &mut Vec<&'t Object>) {
    if wanted(object) {
        found.push(object);
    }
    object.memory.iter().chain(&object.children).for_each(|below| gather(below, wanted, found));
}

/// Blocks of half the width, one beside the other.
fn beside(blocks: Vec<Block>) -> Block {
    let height = blocks.iter().map(|block| block.height).fold(0.0, f64::max);
    let mut body = String::new();
    for (at, block) in blocks.iter().enumerate() {
        let _ = write!(body, "<g transform=\"translate({},0)\">{}</g>", at as f64 * (HALF + UNIT), block.body);
    }
    Block { height, body }
}

fn node_block(topology: &Topology, node: &Object, width: f64) -> Block {
    let number = node.os_index.unwrap_or_default();
    let Kind::NumaNode(memory) = node.kind else { return caption("") };
    let mut words = format!("node {number}  {}", memory.local);
    if let Some(subtype) = &node.subtype {
        words += &format!(" {subtype}");
    }
    if let Some(bandwidth) = topology.memory_value(number, MemoryAttribute::Bandwidth) {
        words += &format!("  ·  {} a second", Bytes::mib(bandwidth));
    }
    if let Some(latency) = topology.memory_value(number, MemoryAttribute::Latency) {
        words += &format!("  ·  {latency} ns");
    }
    if memory.huge > Bytes::ZERO {
        words += &format!("  ·  {} in huge pages", memory.huge);
    }
    // CPUs are drawn with the first node that has them.
    let drawn = topology
        .objects()
        .take_while(|object| !std::ptr::eq(*object, node))
        .any(|object| matches!(object.kind, Kind::NumaNode(_)) && !object.cpus.is_disjoint(&node.cpus));
    let none = machine::CpuSet::new();
    cores_block(&topology.machine, if drawn { &none } else { &node.cpus }, &words, width)
}

/// A frame with words and a square for each core, threads as its parts, grouped by last-level cache.
fn cores_block(below: &Object, cpus: &machine::CpuSet, words: &str, width: f64) -> Block {
    let mut groups: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    let mut cores = Vec::new();
    gather(below, &|object| object.kind == Kind::Core, &mut cores);
    if cores.is_empty() {
        gather(below, &|object| object.kind == Kind::Pu, &mut cores);
    }
    let mut last_level = Vec::new();
    gather(below, &|object| matches!(object.kind, Kind::Cache(Cache { level, .. }) if level >= 2), &mut last_level);
    for core in cores.iter().filter(|core| !core.cpus.is_empty() && core.cpus.is_subset(cpus)) {
        let around = last_level.iter().filter(|cache| core.cpus.is_subset(&cache.cpus) && cache.cpus.len() > core.cpus.len());
        let widest = around.max_by_key(|cache| cache.cpus.len()).map_or(0, |cache| cache.cpus.first().unwrap_or(0) + 1);
        groups.entry((widest, 0)).or_default().push(core.cpus.len());
    }
    let mut body = String::new();
    text(&mut body, "", UNIT, 18.0, &cut(words, width - 20.0));
    let (mut x, mut y, mut deepest) = (UNIT, 30.0, 30.0);
    for threads in groups.values() {
        let across = threads.len().min(8);
        let wide = across as f64 * (CORE + 3.0) + 5.0;
        let down = threads.len().div_ceil(8) as f64;
        if x + wide > width - UNIT {
            (x, y) = (UNIT, deepest + 6.0);
        }
        let high = down * (CORE + 3.0) + 5.0;
        let _ = write!(body, "<rect class=\"cache\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" rx=\"3\"/>");
        for (at, count) in threads.iter().enumerate() {
            let (left, top) = (x + 4.0 + (at % 8) as f64 * (CORE + 3.0), y + 4.0 + (at / 8) as f64 * (CORE + 3.0));
            let part = CORE / (*count).max(1) as f64;
            for thread in 0..*count {
                let _ = write!(
                    body,
                    "<rect class=\"core\" x=\"{:.1}\" y=\"{top}\" width=\"{part:.1}\" height=\"{CORE}\"/>",
                    left + thread as f64 * part
                );
            }
        }
        x += wide + 6.0;
        deepest = f64::max(deepest, y + high);
    }
    let height = if groups.is_empty() { 28.0 } else { deepest + 8.0 };
    let frame = format!("<rect class=\"node\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>");
    Block { height, body: frame + &body }
}

fn caches(package: &Object) -> Vec<String> {
    let mut found = Vec::new();
    gather(package, &|object| matches!(object.kind, Kind::Cache(_)), &mut found);
    let mut kinds: BTreeMap<(u8, CacheKind, u64), usize> = BTreeMap::new();
    for object in found {
        if let Kind::Cache(cache) = object.kind {
            *kinds.entry((cache.level, cache.holds, cache.size.0)).or_default() += 1;
        }
    }
    let letter = |holds| match holds {
        CacheKind::Data => "d",
        CacheKind::Instruction => "i",
        CacheKind::Unified => "",
    };
    kinds.into_iter().map(|((level, holds, size), count)| format!("{count} × L{level}{} {}", letter(holds), Bytes(size))).collect()
}

fn class(what: What) -> &'static str {
    match what {
        What::Branch => "bra",
        What::Accelerator => "acc",
        What::Network => "net",
        What::Storage => "sto",
        What::Memory => "mem",
        What::Other => "oth",
    }
}

/// The tree of a bus: a line a device, joined by lines.
fn rows(rows: &[Row]) -> Block {
    let width = CARD - 3.0 * UNIT;
    let mut body = String::new();
    // Where the line of each level began, to be drawn down to its last row.
    let mut open: Vec<f64> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let depth = row.more.len().saturating_sub(1);
        let middle = at as f64 * LINE + LINE / 2.0;
        let x = depth as f64 * 16.0;
        open.truncate(depth);
        if depth > 0 {
            let from = open.last().copied().unwrap_or(middle);
            let left = x - 10.0;
            let _ = write!(body, "<path class=\"l\" d=\"M{left},{from}V{middle}H{}\"/>", x - 2.0);
        }
        open.push(middle + 5.0);
        let _ = write!(body, "<rect class=\"{}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" rx=\"2\"/>", class(row.what), middle - 5.0);
        let mut column = x + 16.0;
        if !row.address.is_empty() {
            text(&mut body, "m f", column, middle + 4.0, &row.address);
            column += row.address.chars().count() as f64 * 7.0 + 8.0;
        }
        let mut right = width;
        if let Some(link) = row.link.filter(|link| link.now.lanes > 0) {
            let slower = link.is_downgraded() == Some(true);
            let words = if slower { format!("{} of {}", link.now, link.max) } else { link.now.to_string() };
            right -= words.chars().count() as f64 * 6.6 + 4.0;
            text(&mut body, if slower { "bad" } else { "f" }, right, middle + 4.0, &words);
        }
        let names = if row.devices.is_empty() { String::new() } else { format!("   {}", row.devices.join(" ")) };
        text(
            &mut body,
            if row.what == What::Branch { "f" } else { "" },
            column,
            middle + 4.0,
            &cut(&format!("{}{names}", row.name), right - column - 8.0),
        );
    }
    Block { height: rows.len() as f64 * LINE, body }
}

/// Distances as a table, the farther the fainter.
fn matrix_card(matrix: &Distances) -> Block {
    let count = matrix.nodes.len();
    let cell = ((CARD - 80.0) / count as f64).min(34.0);
    let most = matrix.values.iter().copied().max().unwrap_or(10).max(11);
    let mut body = String::new();
    for (row, from) in matrix.nodes.iter().enumerate() {
        let y = 20.0 + row as f64 * 20.0;
        text(&mut body, "f", 0.0, y + 14.0, &format!("node {from}"));
        for (column, to) in matrix.nodes.iter().enumerate() {
            let x = 50.0 + column as f64 * cell;
            let value = matrix.get(*from, *to).unwrap_or(0);
            let near = 1.0 - (value.saturating_sub(10)) as f64 / (most - 10) as f64 * 0.85;
            let _ = write!(
                body,
                "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"18\" rx=\"2\" fill=\"#2b7fc4\" fill-opacity=\"{:.2}\"/>",
                cell - 2.0,
                near * 0.6
            );
            if cell >= 20.0 {
                let _ = write!(body, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>", x + cell / 2.0 - 1.0, y + 13.0);
            }
            if row == 0 {
                let _ = write!(body, "<text class=\"f\" x=\"{:.1}\" y=\"14\" text-anchor=\"middle\">{to}</text>", x + cell / 2.0 - 1.0);
            }
        }
    }
    let height = 20.0 + count as f64 * 20.0;
    card("distances between memory nodes", "10 is local", vec![Block { height, body }])
}

#[cfg(test)]
mod tests;
