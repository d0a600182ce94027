//! How others decide, each in its essence.

use super::{Cluster, Decision, Ended, Scheduler, Work};
use spec::Time;
use std::collections::{BTreeMap, VecDeque};

/// What the models know of a cluster: who holds how much where, and until when by their own word.
struct Board<'a> {
    cluster: &'a Cluster,
    work: &'a [Work],
    free: Vec<u32>,
    running: BTreeMap<usize, (usize, u32, Time)>,
}

impl<'a> Board<'a> {
    fn new(cluster: &'a Cluster, work: &'a [Work]) -> Board<'a> {
        Board { cluster, work, free: vec![cluster.each; cluster.machines], running: BTreeMap::new() }
    }

    /// The machine with the least room to spare.
    fn best(&self, devices: u32) -> Option<usize> {
        (0..self.free.len()).filter(|machine| self.free[*machine] >= devices).min_by_key(|machine| (self.free[*machine], *machine))
    }

    fn start(&mut self, index: usize, machine: usize, held: u32, now: Time, decision: &mut Decision) {
        self.free[machine] -= held;
        self.running.insert(index, (machine, held, now + self.work[index].says));
        decision.starts.push((index, machine, held));
    }

    fn end(&mut self, index: usize) {
        if let Some((machine, held, _)) = self.running.remove(&index) {
            self.free[machine] += held;
        }
    }

    /// When each machine has this much free if everything ends as said, and how much it then has.
    fn free_at(&self, machine: usize, devices: u32, now: Time) -> Option<(Time, u32)> {
        let mut ends: Vec<(Time, u32)> =
            self.running.values().filter(|run| run.0 == machine).map(|(_, held, end)| ((*end).max(now), *held)).collect();
        ends.sort_unstable();
        let mut free = self.free[machine];
        let mut at = now;
        let mut ends = ends.into_iter().peekable();
        while free < devices {
            let (end, held) = ends.next()?;
            (at, free) = (end, free + held);
        }
        while let Some((_, held)) = ends.next_if(|(end, _)| *end <= at) {
            free += held;
        }
        Some((at, free))
    }
}

/// First come, first served. With backfill (EASY: Lifka, "The ANL/IBM SP scheduling system", JSSPP 1995) later work may pass
/// if it does not delay the first that waits.
pub struct Easy<'a> {
    board: Board<'a>,
    queue: VecDeque<usize>,
    backfill: bool,
    /// A run holds its machine alone, as Slurm's `select/linear` and `--exclusive` do.
    whole_machines: bool,
}

impl<'a> Easy<'a> {
    pub fn new(cluster: &'a Cluster, work: &'a [Work], backfill: bool, whole_machines: bool) -> Easy<'a> {
        Easy { board: Board::new(cluster, work), queue: VecDeque::new(), backfill, whole_machines }
    }

    fn holds(&self, index: usize) -> u32 {
        let devices = self.board.work[index].devices;
        if self.whole_machines { self.board.cluster.each.max(devices) } else { devices }
    }
}

impl Scheduler for Easy<'_> {
    fn step(&mut self, now: Time, arrived: &[usize], ended: &[Ended]) -> Decision {
        ended.iter().for_each(|ended| self.board.end(ended.work));
        // What no machine can hold is refused when it is submitted.
        let each = self.board.cluster.each;
        self.queue.extend(arrived.iter().filter(|index| self.board.work[**index].devices <= each));
        let mut decision = Decision::default();
        while let Some(&first) = self.queue.front() {
            let held = self.holds(first);
            let Some(machine) = self.board.best(held) else { break };
            self.queue.pop_front();
            self.board.start(first, machine, held, now, &mut decision);
        }
        let Some(&first) = self.queue.front().filter(|_| self.backfill) else { return decision };
        let held = self.holds(first);
        let soonest = (0..self.board.free.len()).filter_map(|machine| Some((self.board.free_at(machine, held, now)?, machine)));
        let Some(((at, free), kept)) = soonest.min_by_key(|((at, _), machine)| (*at, *machine)) else { return decision };
        let mut spare = free - held;
        let mut place = 1;
        while place < self.queue.len() {
            let index = self.queue[place];
            let held = self.holds(index);
            let in_time = now + self.board.work[index].says <= at;
            let fits = |machine: &usize| self.board.free[*machine] >= held && (*machine != kept || in_time || held <= spare);
            let best = (0..self.board.free.len()).filter(fits).min_by_key(|machine| (self.board.free[*machine], *machine));
            let Some(machine) = best else {
                place += 1;
                continue;
            };
            if machine == kept && !in_time {
                spare -= held;
            }
            self.queue.remove(place);
            self.board.start(index, machine, held, now, &mut decision);
        }
        decision
    }
}

/// Quota first, place afterwards, as Kueue does without topology: a workload is admitted when its queue's nominal quota, or
/// what others leave of theirs, covers it in number; if its own quota is lent out, the newest borrowers are evicted. Only
/// then is a machine looked for, and an admitted workload keeps its quota while there is none.
pub struct QuotaFirst<'a> {
    board: Board<'a>,
    queues: Vec<VecDeque<usize>>,
    /// By when they were admitted: those that hold quota, whether they have a place or not.
    admitted: Vec<usize>,
    /// Admitted and without a place, in order.
    placeless: VecDeque<usize>,
    /// Evicted runs that are still ending; their quota is free once they have.
    leaving: Vec<usize>,
    /// Work for which runs are ending.
    reclaiming: Vec<usize>,
}

impl<'a> QuotaFirst<'a> {
    pub fn new(cluster: &'a Cluster, work: &'a [Work]) -> QuotaFirst<'a> {
        let queues = vec![VecDeque::new(); cluster.weights.len()];
        let board = Board::new(cluster, work);
        QuotaFirst { board, queues, admitted: vec![], placeless: VecDeque::new(), leaving: vec![], reclaiming: vec![] }
    }

    fn used(&self, tenant: Option<usize>) -> u32 {
        let work = &self.board.work;
        let of = self.admitted.iter().filter(|index| tenant.is_none_or(|tenant| work[**index].tenant == tenant));
        of.map(|index| work[*index].devices).sum()
    }

    /// Admits one workload if its quota allows, now or after evictions. True if something changed.
    fn admit(&mut self, tenant: usize, decision: &mut Decision) -> bool {
        let Some(&index) = self.queues[tenant].front() else { return false };
        let devices = self.board.work[index].devices;
        let all = self.board.cluster.devices();
        if self.used(None) + devices <= all {
            self.queues[tenant].pop_front();
            self.reclaiming.retain(|other| *other != index);
            self.admitted.push(index);
            self.placeless.push_back(index);
            return true;
        }
        let own = self.used(Some(tenant)) + devices <= self.board.cluster.nominal(tenant);
        if !own || self.reclaiming.contains(&index) {
            return false;
        }
        let mut over = self.used(None) + devices - all;
        over = over.saturating_sub(self.leaving.iter().map(|index| self.board.work[*index].devices).sum());
        let mut victims = Vec::new();
        let mut left: Vec<u32> = (0..self.queues.len()).map(|tenant| self.used(Some(tenant))).collect();
        for victim in self.admitted.iter().rev().filter(|index| !self.leaving.contains(index)) {
            let work = self.board.work[*victim];
            if over > 0 && work.tenant != tenant && left[work.tenant] > self.board.cluster.nominal(work.tenant) {
                left[work.tenant] -= work.devices;
                over = over.saturating_sub(work.devices);
                victims.push(*victim);
            }
        }
        if over > 0 {
            return false;
        }
        self.reclaiming.push(index);
        for victim in victims {
            if self.board.running.contains_key(&victim) {
                self.leaving.push(victim);
                decision.evictions.push((victim, index));
            } else {
                // Never had a place: it only gives its quota back.
                self.give_back(victim);
                self.queues[self.board.work[victim].tenant].push_front(victim);
            }
        }
        true
    }

    fn give_back(&mut self, index: usize) {
        self.admitted.retain(|other| *other != index);
        self.placeless.retain(|other| *other != index);
        self.leaving.retain(|other| *other != index);
    }
}

impl Scheduler for QuotaFirst<'_> {
    fn step(&mut self, now: Time, arrived: &[usize], ended: &[Ended]) -> Decision {
        for ended in ended {
            self.board.end(ended.work);
            self.give_back(ended.work);
            if ended.evicted {
                self.queues[self.board.work[ended.work].tenant].push_front(ended.work);
            }
        }
        for index in arrived.iter().filter(|index| self.board.work[**index].devices <= self.board.cluster.devices()) {
            self.queues[self.board.work[*index].tenant].push_back(*index);
        }
        let mut decision = Decision::default();
        // Heads of queues: those within their own quota first, then by age.
        loop {
            let mut tenants: Vec<usize> = (0..self.queues.len()).collect();
            tenants.sort_by_key(|tenant| {
                let head = self.queues[*tenant].front();
                let devices = head.map_or(0, |index| self.board.work[*index].devices);
                (self.used(Some(*tenant)) + devices > self.board.cluster.nominal(*tenant), head.copied())
            });
            if !tenants.into_iter().any(|tenant| self.admit(tenant, &mut decision)) {
                break;
            }
        }
        let mut waits = VecDeque::new();
        while let Some(index) = self.placeless.pop_front() {
            let devices = self.board.work[index].devices;
            match self.board.best(devices) {
                Some(machine) => self.board.start(index, machine, devices, now, &mut decision),
                None => waits.push_back(index),
            }
        }
        self.placeless = waits;
        decision
    }
}
