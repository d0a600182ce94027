//! Links between accelerators that do not lead over PCI, told in sentences: which cards, over what, how many.

use super::Picture;
use super::line::{Line, Paint};
use machine::{CpuSet, Device, DeviceId, LinkKind};
use std::collections::{BTreeMap, BTreeSet};

/// Cards whose links are told one by one; more irregular ones than these are in the JSON.
const MOST_LINES: usize = 24;

/// What makes the links of several cards alike: kind, lanes and rate, and, where no switch is between, with whom.
type Alike = (LinkKind, u32, Option<u64>, Option<BTreeSet<DeviceId>>);

impl Picture<'_> {
    /// The box of links, and of domains that reach other machines; none without any.
    pub(super) fn links(&self) -> Vec<Line> {
        let mut inside = self.between_cards();
        for domain in self.machine.domains() {
            let members: Vec<&Device> = domain.members.iter().filter_map(|id| self.machine.device(id)).collect();
            let mut line = Line::new();
            line.add(Paint::Plain, format!("domain over machines {} clique {}: {}", domain.cluster, domain.clique, named(&members)));
            if !domain.ready {
                line.add(Paint::Bad, ", not all joined yet");
            }
            inside.push(line);
        }
        let mut title = Line::new();
        title.add(Paint::Strong, "links between accelerators");
        if inside.is_empty() { inside } else { self.frame(title, inside) }
    }

    fn between_cards(&self) -> Vec<Line> {
        let mut alike: BTreeMap<Alike, Vec<&Device>> = BTreeMap::new();
        let mut down: Vec<Line> = Vec::new();
        for device in &self.machine.devices {
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
                    let mut line = Line::new();
                    let words = format!("{}: {} of {} down", name(device), link.down, links(link.kind, link.lanes + link.down));
                    line.add(Paint::Bad, words);
                    down.push(line);
                }
            }
            for ((kind, lanes, rate), group) in direct {
                alike.entry((kind, lanes, rate, Some(group))).or_default().push(device);
            }
        }
        let mut alike: Vec<(Alike, Vec<&Device>)> = alike.into_iter().collect();
        alike.sort_by_key(|(_, devices)| std::cmp::Reverse(devices.len()));
        let mut lines: Vec<Line> = alike.iter().map(|(what, devices)| self.sentence(what, devices)).collect();
        if lines.len() > MOST_LINES {
            let rest = lines.len() - MOST_LINES;
            lines.truncate(MOST_LINES);
            let mut line = Line::new();
            line.add(Paint::Faint, format!("and {rest} more: `ashlar devices NAME` tells them"));
            lines.push(line);
        }
        lines.extend(down);
        lines
    }

    fn sentence(&self, (kind, lanes, rate, group): &Alike, devices: &[&Device]) -> Line {
        let mut line = Line::new();
        let rate = rate.map_or_else(String::new, |rate| format!(", {} GB/s each way", rate / 1000));
        let how = match group {
            None => format!("over switches, {} each", links(*kind, *lanes)),
            Some(group) if group.len() == devices.len() => format!("each to each, {}", links(*kind, *lanes)),
            Some(group) => {
                let others =
                    self.machine.devices.iter().filter(|other| group.contains(&other.id) && !devices.iter().any(|one| one.id == other.id));
                format!("to {}, {}", named(&others.collect::<Vec<_>>()), links(*kind, *lanes))
            }
        };
        line.add(Paint::Plain, format!("{}  {how}", named(devices))).add(Paint::Faint, rate);
        line
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
