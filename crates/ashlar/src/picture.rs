//! The machine as a picture for the terminal.
//!
//! A box for each processor package; in it the memory nodes with a bar of what is held, a cell for each CPU marked with the
//! letter of the run on it, and the devices and network ports that hang off the node. Pure: a view in, text out.

#[path = "picture/devices.rs"]
pub mod devices;
#[path = "picture/hardware.rs"]
pub mod hardware;
#[path = "picture/holders.rs"]
mod holders;
#[path = "picture/iommu.rs"]
pub mod iommu;
#[path = "picture/line.rs"]
mod line;
#[path = "picture/links.rs"]
pub mod links;
#[path = "picture/ports.rs"]
pub mod ports;
#[path = "picture/slices.rs"]
pub mod slices;
#[cfg(test)]
#[path = "picture/tests.rs"]
mod tests;

use api::MachineView;
use holders::Holders;
use line::{Line, Paint, Style};
use machine::{Bytes, CpuShare, Device, DeviceClass, Health, Machine, Nic, NumaNode};
use std::collections::{BTreeMap, BTreeSet};

/// Narrower terminals wrap the picture; below this it would be all borders.
const NARROWEST: usize = 60;
/// Wider lines are harder to read, not easier.
const WIDEST: usize = 160;

/// Draws the machine and who holds what of it, no line wider than `width` (at least 60). Without `unicode` only ASCII is
/// used, apart from names. Ends with a newline.
pub fn draw(view: &MachineView, width: usize, colour: bool, unicode: bool) -> String {
    let style = Style { width: width.clamp(NARROWEST, WIDEST), colour, unicode };
    let picture = Picture { view, machine: &view.machine, holders: Holders::of(view), style };
    let mut out = String::new();
    let sections = [picture.header(), picture.boxes(), picture.elsewhere(), picture.links(), picture.ports(), picture.legend()];
    for line in sections.into_iter().flatten() {
        line.fit(style.width, style).print(style, &mut out);
    }
    out
}

struct Picture<'v> {
    view: &'v MachineView,
    machine: &'v Machine,
    holders: Holders<'v>,
    style: Style,
}

impl Picture<'_> {
    fn header(&self) -> Vec<Line> {
        let machine = self.machine;
        let dot = self.style.pick(" · ", " - ");
        let mut first = Line::new();
        first.add(Paint::Strong, if machine.hostname.is_empty() { "this machine" } else { &machine.hostname });
        let product = tidy(&machine.product);
        if !product.is_empty() {
            first.add(Paint::Faint, dot).add(Paint::Plain, product);
        }
        if let Some(hypervisor) = &machine.facts.virtualised {
            first.add(Paint::Faint, dot).add(Paint::Faint, format!("virtual machine ({hypervisor})"));
        }
        let kernel = if machine.facts.kernel.is_empty() { String::new() } else { format!("Linux {}", machine.facts.kernel) };
        let mut second = Line::new();
        let known: Vec<&str> = [kernel.as_str(), machine.facts.os.as_str()].into_iter().filter(|text| !text.is_empty()).collect();
        second.add(Paint::Faint, known.join(dot));
        let mut lines = vec![first];
        lines.extend((!known.is_empty()).then_some(second));
        lines.extend(flowed(self.totals(), dot, self.style.width));
        lines
    }

    /// What there is, and how much of it is free.
    fn totals(&self) -> Vec<Line> {
        let machine = self.machine;
        let cores: BTreeSet<(u32, u32)> = machine.cpus.iter().map(|cpu| (cpu.package, cpu.core)).collect();
        let held: Bytes = self.holders.all.iter().map(|held| held.grant.memory).sum();
        let of = |paint, text: String| {
            let mut line = Line::new();
            line.add(paint, text);
            line
        };
        let mut totals =
            vec![of(Paint::Plain, format!("{} of {} free", self.holders.free_cpus(self.view), count(machine.cpus.len(), "CPU")))];
        if cores.len() < machine.cpus.len() {
            totals[0].add(Paint::Faint, format!(" ({})", count(cores.len(), "core")));
        }
        totals.push(of(Paint::Plain, format!("{} of {} memory free", machine.memory.saturating_sub(held), machine.memory)));
        let ready: Vec<&Device> = machine.devices.iter().filter(|device| device.health.is_ready()).collect();
        let free = ready.iter().filter(|device| self.holders.device(device).is_empty()).count();
        if !ready.is_empty() {
            totals.push(of(Paint::Plain, format!("{free} of {} free", count(ready.len(), "device"))));
        }
        let bad = machine.devices.iter().filter(|device| !device.health.is_ready() && !slices::is_divided(device)).count();
        if bad > 0 {
            totals.push(of(Paint::Bad, format!("{} not usable", count(bad, "device"))));
        }
        totals
    }

    /// A box for each package, or for packages that share a memory node.
    fn boxes(&self) -> Vec<Line> {
        let mut group: BTreeMap<u32, u32> = self.machine.packages.iter().map(|package| (package.id, package.id)).collect();
        for node in &self.machine.numa {
            let here: BTreeSet<u32> =
                self.machine.cpus.iter().filter(|cpu| cpu.numa == node.id).filter_map(|cpu| group.get(&cpu.package).copied()).collect();
            if let Some(first) = here.first() {
                group.values_mut().filter(|to| here.contains(to)).for_each(|to| *to = *first);
            }
        }
        let mut boxes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        group.iter().for_each(|(package, to)| boxes.entry(*to).or_default().push(*package));
        boxes.values().flat_map(|packages| self.package_box(packages)).collect()
    }

    fn package_box(&self, packages: &[u32]) -> Vec<Line> {
        let mut title = Line::new();
        let ids: machine::CpuSet = packages.iter().copied().collect();
        title.add(Paint::Strong, if packages.len() == 1 { format!("package {ids}") } else { format!("packages {ids}") });
        let models: BTreeSet<String> =
            self.machine.packages.iter().filter(|package| packages.contains(&package.id)).map(|package| tidy(&package.model)).collect();
        let models: Vec<String> = models.into_iter().filter(|model| !model.is_empty()).collect();
        if !models.is_empty() {
            title.add(Paint::Plain, format!("  {}", models.join(", ")));
        }
        let nodes: Vec<&NumaNode> =
            self.machine.numa.iter().filter(|node| self.home(node).is_some_and(|package| packages.contains(&package))).collect();
        let inside = nodes.iter().flat_map(|node| self.node(node)).collect();
        self.frame(title, inside)
    }

    /// The package that a node belongs to; one without CPUs belongs to that of the nearest node with some.
    fn home(&self, node: &NumaNode) -> Option<u32> {
        let package = |id: u32| self.machine.cpus.iter().find(|cpu| cpu.numa == id).map(|cpu| cpu.package);
        package(node.id).or_else(|| {
            let with_cpus =
                self.machine.numa.iter().enumerate().filter_map(|(at, other)| Some((node.distances.get(at)?, package(other.id)?)));
            let nearest = with_cpus.min_by_key(|(distance, _)| **distance).map(|(_, package)| package);
            nearest.or_else(|| self.machine.packages.first().map(|package| package.id))
        })
    }

    fn frame(&self, title: Line, inside: Vec<Line>) -> Vec<Line> {
        framed(self.style, title, inside)
    }

    /// One memory node: its memory, its CPUs, what hangs off it.
    fn node(&self, node: &NumaNode) -> Vec<Line> {
        let room = self.style.width - 4;
        let widest = self.machine.numa.iter().map(|node| node.id.to_string().len()).max().unwrap_or(1);
        let mut head = Line::new();
        head.add(Paint::Plain, format!("node {:widest$}  ", node.id)).append(self.memory(node));
        let mut lines = Vec::new();
        let cells = self.cells(node, room - 2);
        match &cells[..] {
            [one] if head.width() + 2 + one.width() <= room => {
                head.add(Paint::Plain, "  ").append(one.clone());
                lines.push(head);
            }
            [] => {
                head.add(Paint::Faint, "  no CPUs");
                lines.push(head);
            }
            _ => {
                lines.push(head);
                lines.extend(cells.into_iter().map(indented));
            }
        }
        let alone = self.machine.numa.len() == 1;
        let here = |numa: Option<u32>| numa == Some(node.id) || (alone && !self.is_node(numa));
        lines.extend(
            self.machine.devices.iter().filter(|device| here(device.numa)).flat_map(|device| self.card(device, room - 2)).map(indented),
        );
        let nics: Vec<&Nic> = self.machine.nics.iter().filter(|nic| here(nic.numa)).collect();
        lines.extend(self.nics(&nics, room - 2).into_iter().map(indented));
        lines
    }

    fn is_node(&self, numa: Option<u32>) -> bool {
        self.machine.numa.iter().any(|node| Some(node.id) == numa)
    }

    /// A bar of what is held, coloured by holder, and the numbers.
    fn memory(&self, node: &NumaNode) -> Line {
        let cells = if self.style.width >= 100 { 20 } else { 12 };
        let held = self.holders.memory(node.id);
        let total = node.memory.0.max(1) as f64;
        let mut line = Line::new();
        for cell in 0..cells {
            // The middle of the cell decides, except that any holding at all shows in the first.
            let at = if cell == 0 { 0.0 } else { (cell as f64 + 0.5) / cells as f64 * total };
            let mut end = 0.0;
            let owner = held.iter().find(|(_, bytes)| {
                end += bytes.0 as f64;
                at < end
            });
            match owner {
                Some((run, _)) => line.add(Paint::Holder(*run), self.style.pick("█", "#")),
                None => line.add(Paint::Faint, self.style.pick("░", "-")),
            };
        }
        let used: Bytes = held.iter().map(|(_, bytes)| *bytes).sum();
        let free = node.memory.saturating_sub(used);
        line.add(Paint::Plain, format!("  {free:>9}"));
        line.add(Paint::Faint, format!(" free of {:<9}", node.memory));
        line
    }

    /// The CPUs of a node: threads of a core side by side, cores of a cache together, as many lines as needed.
    fn cells(&self, node: &NumaNode, room: usize) -> Vec<Line> {
        let mut caches: BTreeMap<u32, BTreeMap<(u32, u32), Vec<u32>>> = BTreeMap::new();
        for cpu in self.machine.cpus.iter().filter(|cpu| cpu.numa == node.id) {
            caches.entry(cpu.cache_group).or_default().entry((cpu.package, cpu.core)).or_default().push(cpu.id);
        }
        let threads = caches.values().flat_map(BTreeMap::values).any(|cpus| cpus.len() > 1);
        // Single threads need no space between cores; then one after eight keeps them countable.
        let (between, gap, length) = if threads { (" ", "  ", 4) } else { ("", " ", 8) };
        let mut groups: Vec<Line> = Vec::new();
        for cores in caches.values() {
            let cores: Vec<&Vec<u32>> = cores.values().collect();
            groups.extend(cores.chunks(length).map(|cores| self.group(cores, between)));
        }
        // A power of two of groups on each line, so that columns mean something.
        let widest = groups.iter().map(Line::width).max().unwrap_or(0) + gap.len();
        let fitting = ((room + gap.len()) / widest.max(1)).max(1);
        let each = if groups.len() <= fitting { fitting } else { 1 << fitting.ilog2() };
        groups.chunks(each).map(|groups| joined(groups, gap)).collect()
    }

    fn group(&self, cores: &[&Vec<u32>], between: &str) -> Line {
        let core = |cpus: &&Vec<u32>| {
            let mut cell = Line::new();
            for (mark, paint) in cpus.iter().map(|cpu| self.holders.cpu(*cpu)) {
                cell.add(paint, mark.to_string());
            }
            cell
        };
        let cells: Vec<Line> = cores.iter().map(core).collect();
        joined(&cells, between)
    }

    /// One line, and a second one for a fault that does not fit on the first.
    fn device(&self, device: &Device, room: usize) -> Vec<Line> {
        let name = |device: &Device| format!("{} {} {}", class(device.class), device.vendor, device.index);
        let model = |device: &Device| tidy(&device.model);
        let first = self.machine.devices.iter().filter(|device| device.slice.is_none()).map(|device| name(device).len()).max().unwrap_or(0);
        let most = if self.style.width >= 100 { 32 } else { 24 };
        let second = self.machine.devices.iter().map(|device| line::width(&model(device))).max().unwrap_or(0).min(most);
        let mut line = Line::new();
        let holders = self.holders.device(device);
        let (mark, paint) = match (&device.health, holders) {
            (Health::Unusable(_), _) if slices::is_divided(device) => (self.style.pick(slices::SIGN, "/"), Paint::Faint),
            (Health::Unusable(_), _) => (self.style.pick("✗", "x"), Paint::Bad),
            (Health::Ready, [run, ..]) => {
                let full = self.holders.left(device).is_none();
                (if full { self.style.pick("■", "*") } else { self.style.pick("▨", "+") }, Paint::Holder(*run))
            }
            (Health::Ready, []) => (self.style.pick("□", "o"), Paint::Plain),
        };
        line.add(paint, mark).add(Paint::Plain, format!(" {:first$}  ", name(device)));
        let mut text = Line::new();
        text.add(Paint::Plain, model(device));
        let column = line.width() + second + 2;
        line.append(text.fit(second, self.style)).pad(column);
        line.add(Paint::Plain, format!("{:>9}  ", device.memory.map_or_else(|| "-".to_owned(), |memory| memory.to_string())));
        for run in holders {
            let held = self.holders.all[*run];
            let what = held.name.clone().or(held.run.map(|run| run.to_string())).unwrap_or_else(|| "held".into());
            line.add(Paint::Holder(*run), format!("{} {what} ", self.holders.letter(*run)));
            if let Some(share) = held.grant.share.filter(|_| device.slice.is_none()) {
                line.add(Paint::Holder(*run), format!("{} ", share.memory));
            }
        }
        if let Some(left) = self.holders.left(device) {
            line.add(Paint::Faint, format!("{left} left "));
        }
        let mut lines = vec![line];
        match &device.health {
            Health::Ready if holders.is_empty() => {
                lines[0].add(Paint::Faint, "free");
            }
            Health::Ready => {}
            Health::Unusable(_) if slices::is_divided(device) => {
                lines[0].add(Paint::Faint, "divided");
            }
            Health::Unusable(why) if lines[0].width() + line::width(why) <= room => {
                lines[0].add(Paint::Bad, why);
            }
            Health::Unusable(why) => {
                lines[0].add(Paint::Bad, "not usable");
                let mut fault = Line::new();
                fault.add(Paint::Bad, format!("  {why}"));
                lines.push(fault);
            }
        }
        lines
    }

    /// Ports one after the other, as many on a line as fit.
    fn nics(&self, nics: &[&Nic], room: usize) -> Vec<Line> {
        let port = |nic: &&Nic| {
            let mut text = Line::new();
            text.add(Paint::Plain, &nic.name);
            match (nic.up, nic.speed_mbps) {
                (false, _) => text.add(Paint::Faint, " down"),
                (true, Some(speed)) => text.add(Paint::Faint, format!(" {}", rate(speed))),
                (true, None) => text.add(Paint::Faint, " up"),
            };
            if let Some(rdma) = &nic.rdma {
                text.add(Paint::Faint, format!(" {rdma}"));
            }
            text
        };
        let lines = flowed(nics.iter().map(port).collect(), "   ", room - 2).into_iter();
        lines
            .map(|ports| {
                let mut line = Line::new();
                line.add(Paint::Faint, self.style.pick("⇄ ", "= ")).append(ports);
                line
            })
            .collect()
    }

    /// Devices and ports whose place the firmware does not tell, on a machine with several nodes.
    fn elsewhere(&self) -> Vec<Line> {
        if self.machine.numa.len() == 1 {
            return Vec::new();
        }
        let room = self.style.width - 4;
        let placeless = self.machine.devices.iter().filter(|device| !self.is_node(device.numa));
        let mut inside: Vec<Line> = placeless.flat_map(|device| self.card(device, room)).collect();
        let nics: Vec<&Nic> = self.machine.nics.iter().filter(|nic| !self.is_node(nic.numa)).collect();
        inside.extend(self.nics(&nics, room));
        let mut title = Line::new();
        title.add(Paint::Strong, "near no node in particular");
        if inside.is_empty() { Vec::new() } else { self.frame(title, inside) }
    }

    /// Who the letters are. Runs of others that the asker may not see have no name.
    fn legend(&self) -> Vec<Line> {
        let texts: Vec<[String; 3]> = self
            .holders
            .all
            .iter()
            .map(|held| {
                let run = held.run.map_or_else(|| "-".to_owned(), |run| run.to_string());
                [run, held.name.clone().unwrap_or_else(|| "(not yours)".into()), held.user.clone().unwrap_or_default()]
            })
            .collect();
        let column = |at: usize, most: usize| texts.iter().map(|text| line::width(&text[at])).max().unwrap_or(0).min(most);
        let widths = [column(0, 16), column(1, 28), column(2, 16)];
        let mut lines: Vec<Line> = Vec::new();
        for (run, (held, texts)) in self.holders.all.iter().zip(&texts).enumerate() {
            let mut line = Line::new();
            line.add(Paint::Holder(run), format!("{}  ", self.holders.letter(run)));
            for (text, width) in texts.iter().zip(widths) {
                let mut cell = Line::new();
                cell.add(Paint::Plain, text);
                let end = line.width() + width;
                line.append(cell.fit(width, self.style)).pad(end).add(Paint::Plain, "  ");
            }
            let grant = &held.grant;
            let cpus = CpuShare(u32::try_from(grant.cpu_milli()).unwrap_or(u32::MAX));
            let unit = if cpus == CpuShare::ONE { "CPU" } else { "CPUs" };
            line.add(Paint::Plain, format!("{:>9}  {:>9}", format!("{cpus} {unit}"), grant.memory));
            if grant.devices().next().is_some() {
                line.add(Paint::Plain, format!("  {}", count(grant.devices().count(), "device")));
            }
            if let Some(share) = &grant.share {
                line.add(Paint::Faint, format!(", each {share}"));
            }
            lines.push(line);
        }
        if !lines.is_empty() && self.holders.has_shared_cpus() {
            let mut line = Line::new();
            line.add(Paint::Strong, "+").add(Paint::Faint, "  several small runs share the CPU");
            lines.push(line);
        }
        if self.machine.devices.iter().any(slices::is_divided) {
            let mut line = Line::new();
            line.add(Paint::Strong, self.style.pick(slices::SIGN, "/")).add(Paint::Faint, format!("  {}", slices::LEGEND));
            lines.push(line);
        }
        lines
    }
}

/// Puts a border around lines, cutting those that are too long.
fn framed(style: Style, title: Line, inside: Vec<Line>) -> Vec<Line> {
    let (bar, side) = (style.pick("─", "-"), style.pick("│", "|"));
    let title = title.fit(style.width - 8, style);
    let rest = style.width - 5 - title.width();
    let mut top = Line::new();
    top.add(Paint::Faint, style.pick("╭─ ", "+- ")).append(title);
    top.add(Paint::Faint, format!(" {}{}", bar.repeat(rest), style.pick("╮", "+")));
    let mut lines = vec![top];
    for content in inside {
        let mut line = Line::new();
        line.add(Paint::Faint, side).add(Paint::Plain, " ").append(content.fit(style.width - 4, style)).pad(style.width - 1);
        line.add(Paint::Faint, side);
        lines.push(line);
    }
    let mut bottom = Line::new();
    bottom.add(Paint::Faint, format!("{}{}{}", style.pick("╰", "+"), bar.repeat(style.width - 2), style.pick("╯", "+")));
    lines.push(bottom);
    lines
}

fn joined(parts: &[Line], between: &str) -> Line {
    let mut line = Line::new();
    for part in parts {
        if line.width() > 0 {
            line.add(Paint::Faint, between);
        }
        line.append(part.clone());
    }
    line
}

/// Parts one after the other, on a new line where the next one does not fit.
fn flowed(parts: Vec<Line>, between: &str, room: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.width() + line::width(between) + part.width() <= room => {
                line.add(Paint::Faint, between).append(part);
            }
            _ => lines.push(part),
        }
    }
    lines
}

fn indented(line: Line) -> Line {
    let mut moved = Line::new();
    moved.add(Paint::Plain, "  ").append(line);
    moved
}

fn class(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Gpu => "gpu",
        DeviceClass::Npu => "npu",
        DeviceClass::Fpga => "fpga",
        DeviceClass::Vector => "vector",
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Trade marks and runs of spaces say nothing.
fn tidy(model: &str) -> String {
    let plain = model.replace("(R)", "").replace("(TM)", "").replace("(tm)", "").replace("CPU @", "@");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn rate(mbps: u32) -> String {
    match mbps {
        0..1000 => format!("{mbps} Mb/s"),
        _ if mbps.is_multiple_of(1000) => format!("{} Gb/s", mbps / 1000),
        _ => format!("{:.1} Gb/s", f64::from(mbps) / 1000.0),
    }
}
