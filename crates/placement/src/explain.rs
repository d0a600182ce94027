//! Why a job waits: everything that lacks, who holds it, and what would help.

use crate::demand::{Ask, Demand, DeviceAsk, Kind, Lack, usable_cpu_milli};
use crate::held::Held;
use crate::horizon::Occupation;
use crate::planner::Planner;
use crate::{Blocker, Reason};
use machine::{Bytes, CpuShare};
use spec::{JobId, RunId, ShareRequest, Time};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Holders named with a reason.
const MOST_HOLDERS: usize = 8;
/// Memory advice is rounded down to this.
const MEMORY_STEP: u64 = 64 << 20;

pub(crate) struct Explainer<'p, 'a> {
    planner: &'p Planner<'a>,
    /// Reasons of a class, without what is particular to one job.
    known: BTreeMap<usize, Vec<Reason>>,
    holders: BTreeMap<Dimension, Vec<RunId>>,
    cpus_free_at: BTreeMap<usize, Vec<Time>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Dimension {
    Cpus(usize),
    Memory(usize),
    Ports(usize),
    Queue(usize, &'static str),
}

impl<'p, 'a> Explainer<'p, 'a> {
    pub fn new(planner: &'p Planner<'a>) -> Explainer<'p, 'a> {
        Explainer { planner, known: BTreeMap::new(), holders: BTreeMap::new(), cpus_free_at: BTreeMap::new() }
    }

    /// Never empty.
    pub fn explain(&mut self, class: usize, job: JobId, planned: Option<Time>) -> Vec<Reason> {
        if !self.known.contains_key(&class) {
            let reasons = self.reasons(class);
            self.known.insert(class, reasons);
        }
        let mut reasons = self.known[&class].clone();
        // A job with a promise is not in its own way.
        reasons.retain(|reason| !matches!(reason.blocker, Blocker::Reservation { job: other, .. } if other == job));
        if reasons.is_empty() {
            let ahead = self.planner.promises.iter().take_while(|(other, _, _)| *other != job).count() as u64;
            reasons.push(reason(Blocker::Behind { jobs: ahead }));
        }
        if let Some(first) = reasons.first_mut().filter(|first| first.until.is_none() && !first.never) {
            first.until = planned;
        }
        reasons
    }

    fn reasons(&mut self, class: usize) -> Vec<Reason> {
        let planner = self.planner;
        let demand = &planner.classes[class].demand;
        let layouts = &planner.ground.layouts;
        let never = planner.classes[class].is_never();
        // Against an empty world for what never fits, else against what is held now.
        let held = if never { &planner.nothing } else { &planner.horizon.current };
        let tree = &planner.ground.tree;
        let missing = |index: usize| {
            let lack = demand.lack(index, &layouts[index], &held.machines[index]);
            let of_queue = |queue: usize| {
                let over = demand.over_limit(index, &tree.limits[queue], &held.queues[queue]);
                over.into_iter().map(move |(what, limit, held)| (queue, what, limit, held))
            };
            let over: Vec<_> = tree.path(demand.ask.queue).flat_map(of_queue).collect();
            (lack.count() as usize + over.len(), lack, over)
        };
        let usable = (0..layouts.len()).filter(|index| layouts[*index].accepts || never);
        let Some((index, (count, lack, over))) =
            usable.map(|index| (index, missing(index))).min_by_key(|(index, (count, _, _))| (*count, *index))
        else {
            return vec![reason(Blocker::NoMachine)];
        };
        let mut reasons = if count == 0 { self.promised(demand) } else { self.lacking(demand, index, lack, held) };
        reasons.extend(over.into_iter().map(|(queue, what, limit, held)| self.over(demand, queue, what, limit, held)));
        if never {
            // Nobody holds what is not there, and no end brings it.
            reasons.iter_mut().for_each(|reason| (reason.never, reason.until, reason.held_by) = (true, None, Vec::new()));
        } else if count > 0 {
            reasons.extend(self.also_promised(demand));
        }
        // What lasts longest matters most.
        reasons.sort_by_key(|reason| Reverse(reason.until));
        if !never && count > 0 {
            self.advise(demand, index, &mut reasons);
        }
        reasons
    }

    fn lacking(&mut self, demand: &Demand, index: usize, lack: Lack, held: &Held) -> Vec<Reason> {
        let layout = &self.planner.ground.layouts[index];
        let (on, ask, need) = (&held.machines[index], &demand.ask, &demand.on[index]);
        let mut reasons = Vec::new();
        if lack.devices
            && let Some(request) = ask.devices
        {
            reasons.push(match demand.cannot_be_shared(layout) {
                Some(blocker) => Reason { never: true, ..reason(blocker) },
                None => self.devices(&request, demand, index, held),
            });
        }
        if lack.cpus {
            let share = |milli: u64| CpuShare(u32::try_from(milli).unwrap_or(u32::MAX));
            let blocker = Blocker::Cpus {
                wanted: share(ask.cpu_milli()),
                free: share(usable_cpu_milli(ask, on)),
                total: share(layout.total_milli()),
            };
            let until = self.cpus_until(ask, index);
            reasons.push(Reason { held_by: self.holders(Dimension::Cpus(index)), until, ..reason(blocker) });
        }
        if lack.memory {
            let free = layout.allocatable.saturating_sub(Bytes(on.memory));
            let blocker = Blocker::Memory { wanted: Bytes(need.memory), free, total: layout.allocatable };
            let until =
                self.memory_until(
                    need.memory.saturating_sub(free.0),
                    |holding| if holding.machine == Some(index) { holding.memory } else { 0 },
                );
            reasons.push(Reason { held_by: self.holders(Dimension::Memory(index)), until, ..reason(blocker) });
        }
        if lack.ports {
            let until = self.memory_until(1, |holding| u64::from(holding.machine == Some(index) && holding.ports.is_some()));
            reasons.push(Reason { held_by: self.holders(Dimension::Ports(index)), until, ..reason(Blocker::Ports) });
        }
        if let (true, Some(wanted), Some(offer)) = (lack.isolation, ask.isolation, &layout.machine.facts.isolation) {
            let missing = offer.missing.clone();
            reasons.push(Reason { never: true, ..reason(Blocker::Isolation { wanted, offered: offer.level, missing }) });
        }
        reasons
    }

    fn devices(&self, request: &DeviceAsk, demand: &Demand, index: usize, held: &Held) -> Reason {
        let (layout, on) = (&self.planner.ground.layouts[index], &held.machines[index]);
        let wanted = demand.ask.device_count();
        let kinds = &demand.on[index].kinds;
        // The kind that comes nearest: large enough at all, then most free.
        let best = kinds.iter().max_by_key(|kind| (kind.devices.len() as u64 >= wanted, kind.free(on), kind.devices.len()));
        let kind: &[u16] = best.map_or(&[], |kind| &kind.devices);
        let busy: Vec<u16> = kind.iter().copied().filter(|device| best.is_none_or(|kind| !kind.has_room(*device, on))).collect();
        let mut holders: Vec<(u64, RunId)> = Vec::new();
        let mut free_at: Vec<Time> = vec![self.planner.now; kind.len() - busy.len()];
        for (run, occupation) in self.planner.snapshot.running.iter().zip(self.planner.horizon.holding_now()) {
            let holding = &occupation.holding;
            let here = |device: &&u16| holding.machine == Some(index) && busy.contains(device);
            let count = holding.devices.iter().filter(here).count() as u64;
            if count > 0 {
                holders.push((count, run.run));
            }
        }
        if let Some(best) = best {
            free_at.extend(busy.iter().filter_map(|device| self.room_at(best, *device, index, held)));
        }
        free_at.sort_unstable();
        let blocker = Blocker::Devices {
            request: request.text(),
            wanted: u32::try_from(wanted).unwrap_or(u32::MAX),
            free: (kind.len() - busy.len()) as u32,
            total: kind.len() as u32,
            busy: busy.iter().map(|device| layout.machine.devices[usize::from(*device)].id.clone()).collect(),
            part: request.share.is_some(),
        };
        let until = usize::try_from(wanted).ok().and_then(|wanted| free_at.get(wanted.checked_sub(1)?).copied());
        Reason { held_by: largest(holders), until, ..reason(blocker) }
    }

    /// When a device of the kind has room, if nothing else starts: its holders end one after the other.
    fn room_at(&self, kind: &Kind, device: u16, index: usize, held: &Held) -> Option<Time> {
        let on_it = |occupation: &&Occupation| occupation.holding.machine == Some(index) && occupation.holding.devices.contains(&device);
        let mut holders: Vec<&Occupation> = self.planner.horizon.holding_now().filter(on_it).collect();
        holders.sort_by_key(|occupation| occupation.end);
        let mut used = held.machines[index].clone();
        holders.into_iter().find_map(|occupation| {
            used.devices[usize::from(device)].take_off(&occupation.holding.part);
            kind.has_room(device, &used).then_some(occupation.end)
        })
    }

    /// `queue` is the job's own or one above it.
    fn over(&mut self, demand: &Demand, queue: usize, what: &'static str, limit: u64, held: u64) -> Reason {
        let planner = self.planner;
        let part = amount(what);
        let wanted = match what {
            "cpus" => demand.ask.cpu_milli(),
            "memory" => demand.on.first().map_or(0, |need| need.memory),
            "devices" => demand.on.first().map_or(0, |need| need.device_milli),
            _ => 1,
        };
        let excess = held.saturating_add(wanted).saturating_sub(limit);
        let until = self.memory_until(excess, |holding| if planner.ground.tree.is_below(holding.queue, queue) { part(holding) } else { 0 });
        let name = self.planner.queues.names[queue].to_string();
        let blocker = Blocker::QueueLimit { queue: name, what: what.into(), limit, held, limits: self.planner.ground.tree.limits[queue] };
        Reason { held_by: self.holders(Dimension::Queue(queue, what)), until, ..reason(blocker) }
    }

    /// The job fits beside what runs, so promises are in its way: which, and how short it would have to be.
    fn promised(&self, demand: &Demand) -> Vec<Reason> {
        let (planner, horizon) = (self.planner, &self.planner.horizon);
        let until = planner.now + demand.ask.span;
        let in_time = planner.promises.iter().filter(|(_, at, _)| *at < until);
        let alone = |holding: &crate::held::Holding| {
            let mut held = horizon.current.clone();
            held.take(holding);
            demand.best_machine(&planner.ground.layouts, &planner.ground.tree, &held).is_none()
        };
        let mut blocking: Vec<(JobId, Time)> =
            in_time.clone().filter(|(_, _, holding)| alone(holding)).map(|(job, at, _)| (*job, *at)).collect();
        if blocking.is_empty() {
            blocking = in_time.map(|(job, at, _)| (*job, *at)).collect();
        }
        // The longest that still ends in time for every promise it would delay.
        let shorter = horizon.promised_at().rev().filter(|at| *at < until).find_map(|at| {
            let span = at - planner.now;
            (span.0 > 0 && self.would_start(Ask { span, ..demand.ask }))
                .then(|| format!("limit it to {span} or less, so that it ends before then"))
        });
        blocking.truncate(MOST_HOLDERS);
        let mut reasons: Vec<Reason> =
            blocking.into_iter().map(|(job, at)| Reason { until: Some(at), ..reason(Blocker::Reservation { job, at }) }).collect();
        if let Some(first) = reasons.iter_mut().min_by_key(|reason| reason.until) {
            first.change = shorter;
        }
        reasons
    }

    /// The first promise that would be in the way even if what lacks now were free.
    fn also_promised(&self, demand: &Demand) -> Option<Reason> {
        let planner = self.planner;
        let until = planner.now + demand.ask.span;
        let fits = |held: &Held| demand.best_machine(&planner.ground.layouts, &planner.ground.tree, held).is_some();
        let mut promises: Vec<_> = planner.promises.iter().filter(|(_, at, _)| *at < until).collect();
        promises.sort_by_key(|(_, at, _)| *at);
        let (job, at, _) = promises.into_iter().find(|(_, at, holding)| {
            planner.horizon.promised_state(*at).is_some_and(|held| {
                let mut without = held.clone();
                without.release(holding);
                !fits(held) && fits(&without)
            })
        })?;
        Some(Reason { until: Some(*at), ..reason(Blocker::Reservation { job: *job, at: *at }) })
    }

    fn would_start(&self, ask: Ask) -> bool {
        let demand = Demand::new(ask, &self.planner.ground.layouts);
        let peak = self.planner.horizon.peak(ask.span);
        demand.best_machine(&self.planner.ground.layouts, &self.planner.ground.tree, peak).is_some()
    }

    /// The first single change that would start the job now, each tried against the whole decision.
    fn advise(&self, demand: &Demand, index: usize, reasons: &mut [Reason]) {
        let ask = demand.ask;
        let each = if ask.ranks > 1 { " a rank" } else { "" };
        let is = |reasons: &[Reason], kind: &str| {
            reasons.iter().position(|reason| reason.blocker.kind() == kind || reason.limit_of() == Some(kind))
        };
        if let Some(place) = is(reasons, "devices") {
            if let Some(text) = self.other_device(demand, index) {
                reasons[place].change = Some(text);
                return;
            }
            if let Some(text) = self.smaller_part(&ask) {
                reasons[place].change = Some(text);
                return;
            }
            if let Some(request) = ask.devices
                && let Some(count) =
                    largest_below(request.count, |count| self.would_start(Ask { devices: Some(DeviceAsk { count, ..request }), ..ask }))
            {
                reasons[place].change = Some(format!("ask for {count} {}{each} instead of {}", plural(count, "device"), request.count));
                return;
            }
        }
        if let Some(place) = is(reasons, "cpus")
            && let Some(cpus) = largest_below(ask.whole_cpus(), |cpus| self.would_start(Ask { share: cpus * 1000, ..ask }))
        {
            reasons[place].change = Some(format!("ask for {cpus} {}{each} instead of {}", plural(cpus, "CPU"), ask.whole_cpus()));
            return;
        }
        if let Some(place) = is(reasons, "memory")
            && let Some(memory) = self.less_memory(demand, index)
        {
            reasons[place].change = Some(format!("ask for {} of memory{each}", exactly(memory)));
            return;
        }
        if let Some(ranks) = largest_below(ask.ranks, |ranks| self.would_start(Ask { ranks, ..ask })) {
            reasons[0].change = Some(format!("ask for {ranks} {} instead of {}", plural(ranks, "rank"), ask.ranks));
        }
    }

    /// The largest part below the one asked for that would start now.
    fn smaller_part(&self, ask: &Ask) -> Option<String> {
        let request = ask.devices?;
        let share = request.share?;
        let starts = |part: ShareRequest| self.would_start(Ask { devices: Some(DeviceAsk { share: Some(part), ..request }), ..*ask });
        if let Some(memory) = share.memory {
            let of = |steps: u32| Bytes(u64::from(steps) * MEMORY_STEP);
            let steps = u32::try_from(memory.0.div_ceil(MEMORY_STEP)).unwrap_or(u32::MAX);
            let fewer = largest_below(steps, |steps| starts(ShareRequest { memory: Some(of(steps)), ..share }))?;
            return Some(format!("ask for {} of device memory instead of {memory}", exactly(of(fewer))));
        }
        let compute = share.compute?;
        let fewer = largest_below(compute / 10, |percent| starts(ShareRequest { compute: Some(percent * 10), ..share }))?;
        Some(format!("ask for {fewer} % of a device instead of {}", machine::Percent(compute)))
    }

    fn less_memory(&self, demand: &Demand, index: usize) -> Option<Bytes> {
        let ask = demand.ask;
        let peak = self.planner.horizon.peak(ask.span);
        let free = self.planner.ground.layouts[index].allocatable.saturating_sub(Bytes(peak.machines[index].memory));
        let tree = &self.planner.ground.tree;
        let left = |queue: usize| tree.limits[queue].memory.map(|limit| limit.0.saturating_sub(peak.queues[queue].memory));
        let limit = tree.path(ask.queue).filter_map(left).min().unwrap_or(u64::MAX);
        let rank = free.0.min(limit) / u64::from(ask.ranks) / MEMORY_STEP * MEMORY_STEP;
        (rank > 0 && self.would_start(Ask { memory: Some(Bytes(rank)), ..ask })).then_some(Bytes(rank))
    }

    /// Another type of device of which enough are free.
    fn other_device(&self, demand: &Demand, index: usize) -> Option<String> {
        let machine = self.planner.ground.layouts[index].machine;
        let asked = demand.ask.devices?;
        let mut tried: Vec<&str> = Vec::new();
        for device in machine.devices.iter().filter(|device| device.health.is_ready() && !asked.fits(device)) {
            if tried.contains(&device.model.as_str()) {
                continue;
            }
            tried.push(&device.model);
            let request = DeviceAsk {
                vendor: Some(device.vendor),
                class: None,
                models: std::slice::from_ref(&device.model),
                memory_min: None,
                memory_max: None,
                share: asked.share,
                count: asked.count,
            };
            if self.would_start(Ask { devices: Some(request), ..demand.ask }) {
                let memory = device.memory.map(|memory| format!(" ({memory})")).unwrap_or_default();
                return Some(format!("ask for {}{memory}, which is free", device.model));
            }
        }
        None
    }

    fn holders(&mut self, dimension: Dimension) -> Vec<RunId> {
        let planner = self.planner;
        let rows = || {
            let held = planner.snapshot.running.iter().zip(planner.horizon.holding_now());
            held.map(|(run, occupation)| {
                let holding = &occupation.holding;
                let amount = match dimension {
                    Dimension::Cpus(machine) if holding.machine == Some(machine) => holding.cpu_milli,
                    Dimension::Memory(machine) if holding.machine == Some(machine) => holding.memory,
                    Dimension::Ports(machine) if holding.machine == Some(machine) => u64::from(holding.ports.is_some()),
                    Dimension::Queue(queue, what) if planner.ground.tree.is_below(holding.queue, queue) => amount(what)(holding),
                    _ => 0,
                };
                (amount, run.run)
            })
            .collect()
        };
        self.holders.entry(dimension).or_insert_with(|| largest(rows())).clone()
    }

    /// When enough whole CPUs are free on the machine, if nothing else starts. For shared CPUs the planned start says it.
    fn cpus_until(&mut self, ask: &Ask, index: usize) -> Option<Time> {
        let wanted = ask.whole_cpus() as usize * ask.ranks as usize;
        let planner = self.planner;
        let times = self.cpus_free_at.entry(index).or_insert_with(|| {
            let mut times = vec![planner.now; planner.ground.layouts[index].cpus.len()];
            for occupation in planner.horizon.holding_now().filter(|occupation| occupation.holding.machine == Some(index)) {
                for (cpu, _) in &occupation.holding.cpus {
                    let time = &mut times[usize::from(*cpu)];
                    *time = (*time).max(occupation.end);
                }
            }
            times.sort_unstable();
            times
        });
        times.get(wanted.checked_sub(1)?).copied()
    }

    /// When holdings with this much of something between them have ended.
    fn memory_until(&self, wanted: u64, part: impl Fn(&crate::held::Holding) -> u64) -> Option<Time> {
        let holding = self.planner.horizon.holding_now();
        let mut ends: Vec<(Time, u64)> =
            holding.map(|occupation| (occupation.end, part(&occupation.holding))).filter(|(_, part)| *part > 0).collect();
        ends.sort_unstable();
        let mut freed = 0u64;
        ends.into_iter().find_map(|(end, part)| {
            freed = freed.saturating_add(part);
            (freed >= wanted).then_some(end)
        })
    }
}

fn amount(what: &'static str) -> fn(&crate::held::Holding) -> u64 {
    match what {
        "cpus" => |holding| holding.cpu_milli,
        "memory" => |holding| holding.memory,
        "devices" => |holding| holding.device_milli,
        _ => |_| 1,
    }
}

fn reason(blocker: Blocker) -> Reason {
    Reason { blocker, held_by: Vec::new(), change: None, until: None, never: false }
}

fn largest(mut holders: Vec<(u64, RunId)>) -> Vec<RunId> {
    holders.retain(|(amount, _)| *amount > 0);
    holders.sort_unstable_by_key(|(amount, run)| (Reverse(*amount), *run));
    holders.into_iter().take(MOST_HOLDERS).map(|(_, run)| run).collect()
}

/// The largest number below `asked`, from one up, for which `works`; it works for all smaller ones too.
fn largest_below(asked: u32, works: impl Fn(u32) -> bool) -> Option<u32> {
    let (mut good, mut bad) = (0, asked);
    while bad > good + 1 {
        let middle = good + (bad - good) / 2;
        if works(middle) { good = middle } else { bad = middle }
    }
    (good > 0).then_some(good)
}

/// Whole numbers, because the rounding of a listing could name more than there is.
fn exactly(memory: Bytes) -> String {
    let mib = memory.0 >> 20;
    if mib.is_multiple_of(1024) { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
}

pub(crate) fn plural(count: u32, word: &str) -> String {
    if count == 1 { word.to_string() } else { format!("{word}s") }
}

impl Reason {
    /// Which limit of a queue this is about.
    fn limit_of(&self) -> Option<&str> {
        match &self.blocker {
            Blocker::QueueLimit { what, .. } => Some(what),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_that_works() {
        for (asked, limit) in [(0u32, 0u32), (1, 0), (2, 1), (64, 17), (64, 63), (64, 0)] {
            assert_eq!(largest_below(asked, |n| n <= limit), Some(limit.min(asked.saturating_sub(1))).filter(|n| *n > 0));
        }
    }

    #[test]
    fn advice_never_rounds_up() {
        assert_eq!(exactly(Bytes::gib(4)), "4 GiB");
        assert_eq!(exactly(Bytes::mib(3968)), "3968 MiB");
    }

    #[test]
    fn holders_are_the_largest_few() {
        let run = |number| RunId { job: JobId::new(number), attempt: 1 };
        let holders = largest((1..20).map(|n| (n % 10, run(n))).collect());
        assert_eq!(holders.len(), MOST_HOLDERS);
        assert_eq!(&holders[..3], &[run(9), run(19), run(8)]);
    }
}
