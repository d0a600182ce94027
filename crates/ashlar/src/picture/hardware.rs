//! What hardware there is, below the picture of who holds it: caches, memory with its tiers and distances, buses.

use super::devices::{self, Place, Row, What};
use super::line::{Line, Paint, Style};
use super::{NARROWEST, WIDEST, count, flowed, framed, tidy};
use machine::topology::{Cache, CacheKind, Distances, Kind, MemoryAttribute, MemoryKind, Object, Topology};
use machine::{Bytes, CpuSet};
use std::collections::BTreeMap;

/// Wider matrices are told in words.
const WIDEST_MATRIX: usize = 32;
/// Sentences on what could not be read; the rest is in the JSON.
const MOST_FINDINGS: usize = 8;

/// Draws the hardware, no line wider than `width` (at least 60). Ends with a newline.
pub fn draw(topology: &Topology, width: usize, colour: bool, unicode: bool) -> String {
    let style = Style { width: width.clamp(NARROWEST, WIDEST), colour, unicode };
    let hardware = Hardware { topology, style };
    let mut out = String::new();
    let sections = [hardware.processors(), hardware.memory(), hardware.buses(), hardware.iommu(), hardware.findings()];
    for line in sections.into_iter().flatten() {
        line.fit(style.width, style).print(style, &mut out);
    }
    out
}

pub(super) struct Hardware<'t> {
    pub(super) topology: &'t Topology,
    pub(super) style: Style,
}

/// One piece of text as a line.
pub(super) fn text(paint: Paint, words: impl AsRef<str>) -> Line {
    let mut line = Line::new();
    line.add(paint, words);
    line
}

impl Hardware<'_> {
    fn room(&self) -> usize {
        self.style.width - 4
    }

    fn dot(&self) -> &'static str {
        self.style.pick(" · ", " - ")
    }

    /// Caches of each kind of package, and kinds of cores.
    fn processors(&self) -> Vec<Line> {
        let mut alike: BTreeMap<Vec<String>, Vec<&Object>> = BTreeMap::new();
        let whole = [&self.topology.machine];
        let mut packages: Vec<&Object> = self.topology.objects().filter(|object| object.kind == Kind::Package).collect();
        packages.retain(|package| !package.cpus.is_empty());
        for package in if packages.is_empty() { whole.to_vec() } else { packages } {
            alike.entry(processor(package, self.style.pick("×", "x"))).or_default().push(package);
        }
        let mut inside = Vec::new();
        let many = alike.len() > 1;
        for (facts, packages) in &alike {
            if many {
                let numbers: CpuSet = packages.iter().filter_map(|package| package.os_index).collect();
                inside.push(text(Paint::Strong, format!("{} {numbers}", if packages.len() > 1 { "packages" } else { "package" })));
            }
            inside.extend(flowed(facts.iter().map(|fact| text(Paint::Plain, fact)).collect(), self.dot(), self.room()));
        }
        inside.extend(self.kinds());
        if let ([facts], false) = (&alike.keys().collect::<Vec<_>>()[..], inside.is_empty())
            && facts.is_empty()
        {
            inside.retain(|line| line.width() > 0);
        }
        if inside.is_empty() { Vec::new() } else { framed(self.style, text(Paint::Strong, "processors"), inside) }
    }

    fn kinds(&self) -> Vec<Line> {
        let kind = |kind: &machine::topology::CpuKind| {
            let mut line = text(Paint::Plain, format!("cores of kind {}: CPUs {}", kind.efficiency, kind.cpus));
            let info = |name: &str| kind.infos.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let frequency = info("FrequencyMaxMHz").and_then(|mhz| mhz.parse::<f64>().ok());
            let facts = [
                info("CoreType").map(str::to_owned),
                info("CPUPart").map(|part| format!("part {part}")),
                info("LinuxCapacity").map(|capacity| format!("capacity {capacity}")),
                frequency.map(|mhz| format!("up to {:.1} GHz", mhz / 1000.0)),
            ];
            let facts: Vec<String> = facts.into_iter().flatten().collect();
            line.add(Paint::Faint, if facts.is_empty() { String::new() } else { format!("  {}", facts.join(", ")) });
            line
        };
        self.topology.cpu_kinds.iter().map(kind).collect()
    }

    fn memory(&self) -> Vec<Line> {
        let mut nodes: Vec<&Object> = self.topology.objects().filter(|object| matches!(object.kind, Kind::NumaNode(_))).collect();
        nodes.sort_by_key(|node| node.os_index);
        let mut inside = Vec::new();
        let mut alike: Vec<(Vec<String>, Vec<&Object>)> = Vec::new();
        for node in nodes.iter().copied() {
            let facts = self.node(node);
            match alike.iter_mut().find(|(known, _)| *known == facts) {
                Some((_, same)) => same.push(node),
                None => alike.push((facts, vec![node])),
            }
        }
        for (facts, same) in &alike {
            let numbers: CpuSet = same.iter().filter_map(|node| node.os_index).collect();
            let mut line = text(Paint::Plain, format!("{} {numbers}", if same.len() > 1 { "nodes" } else { "node" }));
            let each = if same.len() > 1 { " each" } else { "" };
            line.add(Paint::Plain, format!("  {}{each}", facts[0]));
            let rest: Vec<Line> = facts[1..].iter().map(|fact| text(Paint::Faint, fact)).collect();
            let parts = std::iter::once(line).chain(rest).collect();
            inside.extend(flowed(parts, self.dot(), self.room()));
        }
        if let Some(matrix) = self.topology.distances.iter().find(|matrix| matrix.name == "NUMALatency") {
            inside.extend(self.distances(matrix));
        }
        framed(self.style, text(Paint::Strong, "memory"), inside)
    }

    /// Size and kind first, then what else is known of a node.
    fn node(&self, node: &Object) -> Vec<String> {
        let Kind::NumaNode(memory) = node.kind else { return vec![String::new()] };
        let number = node.os_index.unwrap_or_default();
        let tier = self.topology.tiers.iter().enumerate().find(|(_, tier)| tier.nodes.contains(number));
        let kind = tier.and_then(|(_, tier)| tier.kind).map(kind_name);
        let mut facts = vec![match kind {
            Some(kind) => format!("{} {kind}", memory.local),
            None => memory.local.to_string(),
        }];
        if node.cpus.is_empty() {
            facts.push("near no CPU in particular".into());
        }
        if let Some((at, tier)) = tier.filter(|_| self.topology.tiers.len() > 1) {
            let kernel = tier.kernel_tier.map(|tier| format!(" (memory_tier{tier})")).unwrap_or_default();
            facts.push(format!("tier {at}{kernel}"));
        }
        let value = |attribute| self.topology.memory_value(number, attribute);
        if let Some(mib) = value(MemoryAttribute::Bandwidth) {
            facts.push(format!("{} a second", Bytes::mib(mib)));
        }
        if let Some(nanoseconds) = value(MemoryAttribute::Latency) {
            facts.push(format!("{nanoseconds} ns"));
        }
        if memory.huge > Bytes::ZERO {
            facts.push(format!("{} in huge pages", memory.huge));
        }
        if let Some(device) = node.info("DAXDevice") {
            facts.push(format!("from {device}"));
        }
        facts
    }

    /// A matrix where it fits, else a sentence for each row.
    fn distances(&self, matrix: &Distances) -> Vec<Line> {
        let nodes = &matrix.nodes;
        if let Some(same) = same_everywhere(matrix).filter(|_| nodes.len() > 4) {
            return vec![text(Paint::Plain, format!("distance {same} from each node to each other"))];
        }
        let cell = matrix.values.iter().chain(nodes.iter().map(|node| u64::from(*node)).collect::<Vec<_>>().iter()).max().copied();
        let cell = cell.unwrap_or(0).to_string().len() + 1;
        let number = nodes.iter().max().map_or(1, |node| node.to_string().len());
        let head = "distance".len().max("  node ".len() + number);
        let near = matrix.values.iter().copied().filter(|value| *value > 10).min().unwrap_or(0);
        if nodes.len() <= WIDEST_MATRIX && head + nodes.len() * cell <= self.room() {
            let mut top = text(Paint::Faint, "distance");
            top.pad(head);
            for node in nodes {
                top.add(Paint::Faint, format!("{node:>cell$}"));
            }
            let row = |from: &u32| {
                let mut line = text(Paint::Faint, format!("  node {from}"));
                line.pad(head);
                for to in nodes {
                    let value = matrix.get(*from, *to).unwrap_or(0);
                    let paint = if from == to || value == near { Paint::Plain } else { Paint::Faint };
                    line.add(paint, format!("{value:>cell$}"));
                }
                line
            };
            return std::iter::once(top).chain(nodes.iter().map(row)).collect();
        }
        let sentence = |from: &u32| {
            let mut by_value: BTreeMap<u64, CpuSet> = BTreeMap::new();
            for to in nodes.iter().filter(|to| *to != from) {
                by_value.entry(matrix.get(*from, *to).unwrap_or(0)).or_default().insert(*to);
            }
            let parts = by_value.iter().map(|(value, nodes)| text(Paint::Faint, format!("{value} to {nodes}")));
            let head = text(Paint::Plain, format!("distance of node {from}"));
            flowed(std::iter::once(head).chain(parts).collect(), self.dot(), self.room())
        };
        nodes.iter().flat_map(sentence).collect()
    }

    fn buses(&self) -> Vec<Line> {
        let places = devices::places(self.topology);
        let widest =
            |part: &dyn Fn(&Row) -> usize, most: usize| places.iter().flat_map(|place| &place.rows).map(part).max().unwrap_or(0).min(most);
        let first = widest(&|row| row.more.len() * 3 + row.address.len(), 32);
        let second = widest(&|row| super::line::width(&row.name), self.room().saturating_sub(first + 32).max(16));
        places.iter().flat_map(|place| self.place(place, first, second)).collect()
    }

    fn place(&self, place: &Place, first: usize, second: usize) -> Vec<Line> {
        let mut title = text(Paint::Strong, format!("near {}", place.name));
        if !place.name.starts_with("CPUs") && place.name != "no CPU in particular" && !place.cpus.is_empty() {
            title.add(Paint::Faint, format!("  CPUs {}", place.cpus));
        }
        let inside = place.rows.iter().map(|row| self.row(row, first, second)).collect();
        framed(self.style, title, inside)
    }

    fn row(&self, row: &Row, first: usize, second: usize) -> Line {
        let mut line = Line::new();
        let (last, above) = row.more.split_last().unwrap_or((&false, &[]));
        for more in above.iter().skip(1) {
            line.add(Paint::Faint, if *more { self.style.pick("│  ", "|  ") } else { "   " });
        }
        if row.more.len() > 1 {
            line.add(Paint::Faint, if *last { self.style.pick("├─ ", "|- ") } else { self.style.pick("└─ ", "`- ") });
        }
        let paint = match row.what {
            What::Branch | What::Other => Paint::Faint,
            What::Accelerator => Paint::Holder(2),
            What::Network => Paint::Holder(0),
            What::Storage => Paint::Holder(1),
            What::Memory => Paint::Holder(3),
        };
        line.add(Paint::Faint, &row.address).pad(first + 1).add(Paint::Plain, " ");
        let end = line.width() + second;
        line.append(text(paint, tidy(&row.name)).fit(second, self.style)).pad(end);
        if let Some(link) = row.link.filter(|link| link.now.lanes > 0) {
            let slower = link.is_downgraded() == Some(true);
            line.add(if slower { Paint::Bad } else { Paint::Faint }, format!("  {}", link.now));
            if slower {
                line.add(Paint::Bad, format!(" {} of {}", self.style.pick("▼", "!"), link.max));
            }
        }
        if !row.devices.is_empty() {
            line.add(Paint::Plain, "  ").add(Paint::Plain, shortened(&row.devices));
        }
        line
    }

    fn findings(&self) -> Vec<Line> {
        let findings = &self.topology.findings;
        let mut inside: Vec<Line> = findings.iter().take(MOST_FINDINGS).map(|finding| text(Paint::Bad, finding)).collect();
        if findings.len() > MOST_FINDINGS {
            inside.push(text(Paint::Faint, format!("and {} more, see --json", findings.len() - MOST_FINDINGS)));
        }
        let title = text(Paint::Strong, format!("{} in the picture", count(findings.len(), "gap")));
        if inside.is_empty() { inside } else { framed(self.style, title, inside) }
    }
}

/// The distance between different nodes where it is the same for all.
fn same_everywhere(matrix: &Distances) -> Option<u64> {
    let pairs = || matrix.nodes.iter().flat_map(|from| matrix.nodes.iter().filter(move |to| *to != from).map(move |to| (*from, *to)));
    let first = pairs().next().and_then(|(from, to)| matrix.get(from, to))?;
    pairs().all(|(from, to)| matrix.get(from, to) == Some(first)).then_some(first)
}

fn kind_name(kind: MemoryKind) -> &'static str {
    match kind {
        MemoryKind::Hbm => "HBM",
        MemoryKind::Dram => "DRAM",
        MemoryKind::Gpu => "of a GPU",
        MemoryKind::SpecialPurpose => "special-purpose",
        MemoryKind::Nvm => "NVM",
        MemoryKind::Cxl => "CXL",
    }
}

/// Many names of one card: the first and how many more.
fn shortened(names: &[String]) -> String {
    match names {
        [a, b, c, rest @ ..] if rest.len() > 1 => format!("{a} {b} {c} +{}", rest.len()),
        all => all.join(" "),
    }
}

/// Cores, threads and caches of a package, in words.
fn processor(package: &Object, times: &str) -> Vec<String> {
    let mut cores = 0;
    let mut dies = 0;
    let mut caches: BTreeMap<(u8, CacheKind, u64, usize), usize> = BTreeMap::new();
    each(package, &mut |object| match object.kind {
        Kind::Core => cores += 1,
        Kind::Die => dies += 1,
        Kind::Cache(Cache { level, holds, size, .. }) => *caches.entry((level, holds, size.0, object.cpus.len())).or_default() += 1,
        _ => {}
    });
    let threads = package.cpus.len();
    let mut facts = vec![if cores > 0 { count(cores, "core") } else { count(threads, "CPU") }];
    if threads > cores && cores > 0 {
        facts[0] += &format!(" ({threads} threads)");
    }
    if dies > 1 {
        facts.push(format!("{dies} dies"));
    }
    let each_core = threads.checked_div(cores).unwrap_or(1).max(1);
    for ((level, holds, size, cpus), count) in caches {
        let letter = match holds {
            CacheKind::Data => "d",
            CacheKind::Instruction => "i",
            CacheKind::Unified => "",
        };
        let name = if level == 1 || holds == CacheKind::Instruction { format!("L{level}{letter}") } else { format!("L{level}") };
        let shared = if cpus <= each_core {
            " a core".to_owned()
        } else if count == 1 {
            String::new()
        } else {
            format!(" {times} {count}, {cpus} CPUs each")
        };
        facts.push(format!("{name} {}{shared}", Bytes(size)));
    }
    facts
}

fn each(object: &Object, with: &mut impl FnMut(&Object)) {
    with(object);
    object.children.iter().for_each(|child| each(child, with));
}

#[cfg(test)]
#[path = "hardware/tests.rs"]
mod tests;
