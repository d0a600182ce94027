//! Links between accelerators that do not lead over PCI, told in sentences: which cards, over what, how many.

use super::Picture;
use super::line::{Line, Paint};
use machine::{CpuSet, Device, DeviceId, LinkKind, Machine};
use std::collections::{BTreeMap, BTreeSet};

/// Cards whose links are told one by one; more irregular ones than these are in the JSON.
const MOST_LINES: usize = 24;

/// What makes the links of several cards alike: kind, lanes and rate, and, where no switch is between, with whom.
type Alike = (LinkKind, u32, Option<u64>, Option<BTreeSet<DeviceId>>);

/// One thing to say about links.
#[derive(Debug, Default)]
pub struct Sentence {
    pub words: String,
    /// Of less weight, after the words.
    pub aside: String,
    /// What is wrong, after the words.
    pub wrong: String,
}

impl Sentence {
    pub fn text(&self) -> String {
        format!("{}{}{}", self.words, self.aside, self.wrong)
    }
}

/// Links between the cards of a machine, and domains that reach other machines; none without any.
pub fn sentences(machine: &Machine) -> Vec<Sentence> {
    let mut found = between_cards(machine);
    for domain in machine.domains() {
        let members: Vec<&Device> = domain.members.iter().filter_map(|id| machine.device(id)).collect();
        found.push(Sentence {
            words: format!("domain over machines {} clique {}: {}", domain.cluster, domain.clique, named(&members)),
            wrong: if domain.ready { String::new() } else { ", not all joined yet".into() },
            ..Sentence::default()
        });
    }
    found
}

impl Picture<'_> {
    /// The box of links, and of domains that reach other machines; none without any.
    pub(super) fn links(&self) -> Vec<Line> {
        let line = |sentence: Sentence| {
            let mut line = Line::new();
            line.add(Paint::Plain, sentence.words).add(Paint::Faint, sentence.aside).add(Paint::Bad, sentence.wrong);
            line
        };
        let inside: Vec<Line> = sentences(self.machine).into_iter().map(line).collect();
        let mut title = Line::new();
        title.add(Paint::Strong, "links between accelerators");
        if inside.is_empty() { inside } else { self.frame(title, inside) }
    }
}

fn between_cards(machine: &Machine) -> Vec<Sentence> {
    let mut alike: BTreeMap<Alike, Vec<&Device>> = BTreeMap::new();
    let mut down: Vec<Sentence> = Vec::new();
    for device in &machine.devices {
        let mut direct: BTreeMap<(LinkKind, u32, Option<u64>), BTreeSet<DeviceId>> = BTreeMap::new();
        for link in device.links.iter().filter(|link| link.kind != LinkKind::Pcie) {
            match &link.to {
                None => alike.entry((link.kind, link.lanes, link.mb_per_s, None)).or_default().push(device),
                Some(to) => {
                    // A card belongs to its own group, so that all of a full mesh are alike.
                    let group = direct.entry((link.kind, link.lanes, link.mb_per_s)).or_insert_with(|| [device.id.clone()].into());
                    group.insert(to.clone());
                }
            }
            if link.down > 0 {
                let wrong = format!("{}: {} of {} down", name(device), link.down, links(link.kind, link.lanes + link.down));
                down.push(Sentence { wrong, ..Sentence::default() });
            }
        }
        for ((kind, lanes, rate), group) in direct {
            alike.entry((kind, lanes, rate, Some(group))).or_default().push(device);
        }
    }
    // Cards with the same others, which are not linked with each other: a card of its own is no group.
    let mut alone: BTreeMap<Alike, Vec<&Device>> = BTreeMap::new();
    for ((kind, lanes, rate, group), devices) in std::mem::take(&mut alike) {
        let others = match (&devices[..], group) {
            ([one], Some(group)) => Some(group.into_iter().filter(|id| *id != one.id).collect()),
            (_, group) => {
                alike.insert((kind, lanes, rate, group), devices);
                continue;
            }
        };
        alone.entry((kind, lanes, rate, others)).or_default().extend(devices);
    }
    let mut alike: Vec<(Alike, Vec<&Device>)> = alike.into_iter().chain(alone).collect();
    alike.sort_by_key(|(_, devices)| std::cmp::Reverse(devices.len()));
    let mut found: Vec<Sentence> = alike.iter().map(|(what, devices)| sentence(machine, what, devices)).collect();
    if found.len() > MOST_LINES {
        let rest = found.len() - MOST_LINES;
        found.truncate(MOST_LINES);
        found.push(Sentence { aside: format!("and {rest} more: `ashlar devices NAME` tells them"), ..Sentence::default() });
    }
    found.extend(down);
    found
}

fn sentence(machine: &Machine, (kind, lanes, rate, group): &Alike, devices: &[&Device]) -> Sentence {
    let how = match group {
        None => format!("over switches, {} each", links(*kind, *lanes)),
        Some(group) if devices.iter().all(|device| group.contains(&device.id)) && group.len() == devices.len() => {
            format!("each to each, {}", links(*kind, *lanes))
        }
        Some(group) => {
            let others = machine.devices.iter().filter(|other| group.contains(&other.id) && !devices.iter().any(|one| one.id == other.id));
            format!("to {}, {}", named(&others.collect::<Vec<_>>()), links(*kind, *lanes))
        }
    };
    Sentence {
        words: format!("{}  {how}", named(devices)),
        aside: rate.map_or_else(String::new, |rate| format!(", {} GB/s each way", rate / 1000)),
        wrong: String::new(),
    }
}

fn links(kind: LinkKind, count: u32) -> String {
    if count == 1 { format!("1 {}", kind.name()) } else { format!("{count} {}s", kind.name()) }
}

fn name(device: &Device) -> String {
    format!("{} {}", device.vendor, device.index)
}

/// "nvidia 0-7": the numbers of each vendor.
fn named(devices: &[&Device]) -> String {
    let mut numbers: BTreeMap<&str, CpuSet> = BTreeMap::new();
    for device in devices {
        numbers.entry(device.vendor.name()).or_default().insert(device.index);
    }
    numbers.iter().map(|(vendor, set)| format!("{vendor} {set}")).collect::<Vec<_>>().join(", ")
}
