//! Where on a machine a job goes, once it is known that it fits.
//!
//! Stages: devices, then CPUs near them, then memory nodes, then ports. Every stage is a preference among what is
//! free, never a reason to refuse, so the counts of [`Demand::fits`] decide alone.

use crate::demand::{Ask, Demand, Kind};
use crate::held::{Holding, OnMachine, Part, PortPlan, spread};
use crate::layout::Layout;
use machine::{Bytes, CpuShare, Grant, PortRange, RankGrant, Share};
use std::ops::Range;

/// The parts of one machine given to one run.
#[derive(Debug)]
pub(crate) struct Placed {
    pub holding: Holding,
    ranks: Vec<(Vec<u16>, Vec<u16>)>,
    shm: u64,
    share: Option<Share>,
}

impl Placed {
    pub fn grant(&self, ask: &Ask, layout: &Layout, ports: &PortPlan) -> Grant {
        let id = |device: &u16| layout.machine.devices[usize::from(*device)].id.clone();
        let rank =
            |(cpus, devices): &(Vec<u16>, Vec<u16>)| RankGrant { cpus: layout.cpu_set(cpus), devices: devices.iter().map(id).collect() };
        Grant {
            machine: layout.machine.id.clone(),
            ranks: self.ranks.iter().map(rank).collect(),
            cpu_share: CpuShare(ask.share),
            memory: Bytes(self.holding.memory),
            shm: Bytes(self.shm),
            mem_nodes: self.holding.nodes.iter().map(|(node, _)| layout.nodes[usize::from(*node)].0).collect(),
            ports: self.holding.ports.map(|(slot, _)| PortRange { first: ports.first + slot as u16 * ports.each, count: ports.each }),
            share: self.share,
        }
    }
}

/// Chooses for a demand that [fits](Demand::fits).
pub(crate) fn place(demand: &Demand, index: usize, layout: &Layout, held: &OnMachine) -> Placed {
    let (ask, need) = (&demand.ask, &demand.on[index]);
    let kind = choose_kind(ask, &need.kinds, held);
    let devices = kind.map_or_else(|| vec![Vec::new(); ask.ranks as usize], |kind| choose_devices(ask, kind, layout, held));
    let share = kind.and_then(|kind| kind.share);
    let near: Vec<Option<usize>> = devices.iter().map(|devices| home_of(devices, layout)).collect();
    let cpus = if ask.whole_cpus() > 0 {
        Cores { layout, held, free: held.cpus.iter().map(|used| *used == 0).collect() }.choose(ask, need.memory, &near)
    } else {
        choose_shared(ask, layout, held, &near)
    };
    let nodes = choose_nodes(&cpus, need.memory, layout, held);
    let milli = ask.share.min(1000) as u16;
    let holding = Holding {
        machine: Some(index),
        queue: ask.queue,
        cpus: cpus.iter().flatten().map(|cpu| (*cpu, milli)).collect(),
        devices: devices.iter().flatten().copied().collect(),
        part: kind.map_or(Part::WHOLE, Kind::part),
        ports: if ask.ports() { held.ports.first_clear().map(|slot| (slot, slot + 1)) } else { None },
        memory: need.memory,
        nodes: spread(&nodes, need.memory),
        cpu_milli: ask.cpu_milli(),
        device_milli: ask.device_count() * share.map_or(1000, |share| u64::from(share.permille)),
    };
    Placed { holding, ranks: cpus.into_iter().zip(devices).collect(), shm: need.shm, share }
}

/// The memory node (index) all devices of a rank hang off.
fn home_of(devices: &[u16], layout: &Layout) -> Option<usize> {
    let node = |device: &u16| layout.machine.devices[usize::from(*device)].numa.and_then(|numa| layout.node_index(numa));
    let first = node(devices.first()?)?;
    devices.iter().all(|device| node(device) == Some(first)).then_some(first)
}

/// The kind to take devices from: the first with enough, and for parts the one where least is broken into.
fn choose_kind<'k>(ask: &Ask, kinds: &'k [Kind], held: &OnMachine) -> Option<&'k Kind> {
    let wanted = ask.device_count();
    let mut able = kinds.iter().filter(|kind| wanted > 0 && kind.free(held) >= wanted);
    if kinds.iter().all(|kind| kind.share.is_none()) {
        return able.next();
    }
    able.min_by_key(|kind| {
        fitting(kind, held)
            .into_iter()
            .take(wanted as usize)
            .fold((0u64, 0u64), |sum, (broken, left, _)| (sum.0.saturating_add(broken), sum.1.saturating_add(left)))
    })
}

/// Devices with room for a part, best first: what is broken into by it (a card that was whole, or the rest of a slice), and what
/// stays behind, both in bytes; of a slice that is what was not asked for. So shared cards fill up before another is opened, and the tightest first.
fn fitting(kind: &Kind, held: &OnMachine) -> Vec<(u64, u64, u16)> {
    let room = kind.devices.iter().copied().filter(|device| kind.has_room(*device, held));
    let mut able: Vec<(u64, u64, u16)> = room
        .map(|device| {
            let used = &held.devices[usize::from(device)];
            let taken = if kind.tasks == 1 { kind.asked } else { used.memory.saturating_add(kind.part().memory) };
            let left = kind.memory.saturating_sub(taken);
            (if used.is_free() { left.max(1) } else { 0 }, left, device)
        })
        .collect();
    able.sort_unstable();
    able
}

/// Devices of a kind for each rank: the gang on one memory node if one has enough, else each rank on one.
fn choose_devices(ask: &Ask, kind: &Kind, layout: &Layout, held: &OnMachine) -> Vec<Vec<u16>> {
    let ranks = ask.ranks as usize;
    let Some(request) = ask.devices else { return vec![Vec::new(); ranks] };
    let (count, wanted) = (request.count as usize, ask.device_count());
    if kind.share.is_some() {
        let chosen: Vec<u16> = fitting(kind, held).into_iter().take(wanted as usize).map(|(_, _, device)| device).collect();
        return chosen.chunks(count).map(<[u16]>::to_vec).collect();
    }
    // Per memory node, the nodeless last.
    let mut groups: Vec<(Option<u32>, Vec<u16>)> = Vec::new();
    for device in kind.devices.iter().copied().filter(|device| kind.has_room(*device, held)) {
        let numa = layout.machine.devices[usize::from(device)].numa;
        match groups.iter_mut().find(|(node, _)| *node == numa) {
            Some((_, members)) => members.push(device),
            None => groups.push((numa, vec![device])),
        }
    }
    let cpus_of = |numa: Option<u32>| {
        let node = numa.and_then(|numa| layout.node_index(numa));
        (0..layout.cpus.len()).filter(|cpu| held.cpus[*cpu] == 0 && Some(usize::from(layout.node_of[*cpu])) == node).count() as u64 * 1000
    };
    let whole = groups.iter_mut().filter(|(_, members)| members.len() as u64 >= wanted);
    if let Some((_, members)) = whole.min_by_key(|(numa, members)| (cpus_of(*numa) < ask.cpu_milli(), members.len(), numa.is_none())) {
        return members.chunks(count).take(ranks).map(<[u16]>::to_vec).collect();
    }
    let mut chosen: Vec<Vec<u16>> = Vec::with_capacity(ranks);
    for _ in 0..ranks {
        groups.sort_by_key(|(numa, members)| (std::cmp::Reverse(members.len()), *numa));
        let mut rank = Vec::with_capacity(count);
        for (_, members) in &mut groups {
            let take = members.len().min(count - rank.len());
            rank.extend(members.drain(..take));
        }
        chosen.push(rank);
    }
    chosen
}

/// Each rank goes where the least room stays behind: on a CPU already shared if possible, so that whole ones stay whole.
fn choose_shared(ask: &Ask, layout: &Layout, held: &OnMachine, near: &[Option<usize>]) -> Vec<Vec<u16>> {
    let mut used = held.cpus.clone();
    let mut last: Option<usize> = None;
    near.iter()
        .map(|near| {
            let node = near.or(last);
            let room = (0..used.len()).filter(|cpu| used[*cpu] + ask.share <= 1000);
            let best = room.min_by_key(|cpu| {
                let away = node.is_some_and(|node| node != usize::from(layout.node_of[*cpu]));
                let fresh = used[*cpu] == 0;
                // A fresh CPU is taken from a core that is broken into already.
                let breaks = fresh && layout.cores[usize::from(layout.core_of[*cpu])].clone().all(|sibling| used[sibling] == 0);
                (near.is_some() && away, fresh, away, breaks, 1000 - used[*cpu], *cpu)
            });
            best.map_or(Vec::new(), |cpu| {
                used[cpu] += ask.share;
                last = Some(usize::from(layout.node_of[cpu]));
                vec![cpu as u16]
            })
        })
        .collect()
}

/// Whole CPUs, while ranks take theirs away one after the other.
struct Cores<'a> {
    layout: &'a Layout<'a>,
    held: &'a OnMachine,
    free: Vec<bool>,
}

impl Cores<'_> {
    fn choose(mut self, ask: &Ask, memory: u64, near: &[Option<usize>]) -> Vec<Vec<u16>> {
        let (each, ranks) = (ask.whole_cpus() as usize, near.len());
        if near.iter().any(Option::is_some) {
            return near.iter().map(|node| self.take_near(*node, each)).collect();
        }
        if let Some(domain) = self.home(each, ranks, memory) {
            return (0..ranks).map(|_| self.take(domain.clone(), each)).collect();
        }
        self.split(each, ranks)
    }

    fn count(&self, domain: &Range<usize>) -> usize {
        self.free[domain.clone()].iter().filter(|free| **free).count()
    }

    /// CPUs in cores of which every thread is free.
    fn in_full_cores(&self, domain: &Range<usize>) -> usize {
        let (mut total, mut at) = (0, domain.start);
        while at < domain.end {
            let core = &self.layout.cores[usize::from(self.layout.core_of[at])];
            if self.free[core.clone()].iter().all(|free| *free) {
                total += core.len();
            }
            at = core.end;
        }
        total
    }

    /// The smallest part of the machine that holds the whole gang, whole cores first, and within that size the one
    /// with the least room to spare.
    fn home(&self, each: usize, ranks: usize, memory: u64) -> Option<Range<usize>> {
        let wanted = each * ranks;
        // Whole cores matter to a rank that can use all threads of one.
        let cores = if each > 1 { wanted } else { 0 };
        for cores in [cores, 0] {
            for domains in [&self.layout.caches, &self.layout.locals, &self.layout.packages] {
                let able = domains.iter().filter(|domain| self.count(domain) >= wanted && self.in_full_cores(domain) >= cores);
                let best = able.min_by_key(|domain| (self.short_of_memory(domain.start, memory), self.count(domain), domain.start));
                if let Some(best) = best {
                    return Some(best.clone());
                }
            }
            if cores == 0 {
                break;
            }
        }
        None
    }

    fn short_of_memory(&self, cpu: usize, memory: u64) -> bool {
        let node = usize::from(self.layout.node_of[cpu]);
        let has = self.layout.nodes[node].1.0;
        has > 0 && has.saturating_sub(self.held.node_memory[node]) < memory
    }

    /// Splits a gang over memory nodes by whole ranks, as few nodes as greed finds.
    fn split(&mut self, each: usize, ranks: usize) -> Vec<Vec<u16>> {
        let mut chosen = Vec::with_capacity(ranks);
        while chosen.len() < ranks {
            let left = ranks - chosen.len();
            let room = |domain: &&Range<usize>| self.count(domain) / each;
            let able = self.layout.locals.iter().filter(|domain| room(domain) > 0);
            // The tightest node that takes all that is left, else the one that takes most.
            let Some(domain) = able.min_by_key(|domain| {
                let takes = room(domain).min(left);
                (left - takes, self.count(domain), domain.start)
            }) else {
                break;
            };
            let (domain, takes) = (domain.clone(), room(&domain).min(left));
            chosen.extend((0..takes).map(|_| self.take(domain.clone(), each)));
        }
        while chosen.len() < ranks {
            chosen.push(self.take_anywhere(each));
        }
        chosen
    }

    /// A rank whose devices hang off `node`: there if there is room, else on the nearest node that has some.
    fn take_near(&mut self, node: Option<usize>, each: usize) -> Vec<u16> {
        let layout = self.layout;
        let able = layout.locals.iter().filter(|domain| self.count(domain) >= each);
        let best = able.min_by_key(|domain| {
            let here = usize::from(layout.node_of[domain.start]);
            (node.map_or(0, |node| if node == here { 0 } else { layout.distance(node, here) }), self.count(domain), domain.start)
        });
        match best.cloned() {
            Some(domain) => self.take(domain, each),
            None => self.take_anywhere(each),
        }
    }

    /// No memory node holds the rank: the fullest parts together.
    fn take_anywhere(&mut self, each: usize) -> Vec<u16> {
        let mut domains = self.layout.locals.clone();
        domains.sort_by_key(|domain| (std::cmp::Reverse(self.count(domain)), domain.start));
        let mut chosen = Vec::with_capacity(each);
        for domain in domains {
            let part = self.count(&domain).min(each - chosen.len());
            if part > 0 {
                chosen.extend(self.take(domain, part));
            }
        }
        chosen
    }

    /// `each` CPUs of one domain that has as many: in one cache group if possible, in whole cores if possible.
    fn take(&mut self, domain: Range<usize>, each: usize) -> Vec<u16> {
        let cores = if each > 1 { each } else { 0 };
        let inside = self.layout.caches.iter().filter(|cache| cache.start >= domain.start && cache.end <= domain.end);
        let able = inside.filter(|cache| self.count(cache) >= each);
        let best = able.min_by_key(|cache| (self.in_full_cores(cache) < cores, self.count(cache), cache.start)).cloned();
        let range = best.unwrap_or(domain);
        let (mut full, mut partial) = (Vec::new(), Vec::new());
        let mut at = range.start;
        while at < range.end {
            let core = self.layout.cores[usize::from(self.layout.core_of[at])].clone();
            let threads: Vec<usize> = core.clone().filter(|cpu| self.free[*cpu]).collect();
            at = core.end;
            if threads.len() == core.len() { full.push(threads) } else { partial.push(threads) }
        }
        let mut chosen: Vec<usize> = Vec::with_capacity(each);
        let mut full = full.into_iter().peekable();
        while let Some(core) = full.next_if(|core| each > 1 && chosen.len() + core.len() <= each) {
            chosen.extend(core);
        }
        let rest = partial.into_iter().flatten().chain(full.flatten());
        let missing = each - chosen.len();
        chosen.extend(rest.take(missing));
        chosen.iter().for_each(|cpu| self.free[*cpu] = false);
        chosen.into_iter().map(|cpu| cpu as u16).collect()
    }
}

/// The nodes of the CPUs, and the nearest further ones while those cannot hold the memory.
fn choose_nodes(cpus: &[Vec<u16>], memory: u64, layout: &Layout, held: &OnMachine) -> Vec<u16> {
    let mut nodes: Vec<u16> = Vec::new();
    for node in cpus.iter().flatten().map(|cpu| layout.node_of[usize::from(*cpu)]) {
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    nodes.sort_unstable();
    let free = |node: u16| layout.nodes[usize::from(node)].1.0.saturating_sub(held.node_memory[usize::from(node)]);
    let known = |node: u16| layout.nodes[usize::from(node)].1.0 > 0;
    let from = nodes.first().map_or(0, |node| usize::from(*node));
    let mut further: Vec<u16> = (0..layout.nodes.len() as u16).filter(|node| !nodes.contains(node) && free(*node) > 0).collect();
    further.sort_by_key(|node| (layout.distance(from, usize::from(*node)), *node));
    for node in further {
        if nodes.iter().any(|node| !known(*node)) || nodes.iter().map(|node| free(*node)).fold(0u64, u64::saturating_add) >= memory {
            break;
        }
        nodes.push(node);
    }
    nodes
}
