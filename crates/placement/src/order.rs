//! Who is considered first.

use crate::demand::Ask;
use crate::tree::path;
use spec::{JobId, Limits, Span, Time};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// What all machines have together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub cpu_milli: u64,
    pub memory: u64,
    /// Thousandths of a device.
    pub devices: u64,
}

/// A job in its queue. Sorts as it is served: priority, then age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    pub queue: usize,
    /// 0 is the start of the job; of an elastic one each further size is a turn of its own, after all starts of the queue.
    pub level: usize,
    pub priority: Reverse<i32>,
    pub submitted: Time,
    pub job: JobId,
    /// Index in the list of jobs.
    pub index: usize,
}

/// A queue's part in what there is: of the dimension it takes most of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Portion {
    pub cpu_milli: u64,
    pub memory: u64,
    /// Thousandths of a device.
    pub devices: u64,
    /// Used lately, in millionths of all CPUs.
    pub recent: u64,
    pub weight: u64,
    /// Queues that hold less than this are served before all others.
    pub guarantee: Limits,
}

impl Portion {
    /// Weighted share in thousandths of millionths.
    fn share(&self, totals: &Totals) -> u64 {
        let part = |held: u64, total: u64| held.saturating_mul(1_000_000).checked_div(total).unwrap_or(0);
        // Memory in MiB, so that the product of terabytes stays in range.
        let dominant = part(self.cpu_milli, totals.cpu_milli)
            .max(part(self.memory >> 20, totals.memory >> 20))
            .max(part(self.devices, totals.devices));
        dominant.saturating_add(self.recent).saturating_mul(1000) / self.weight.max(1)
    }

    /// Whether the queue holds all it is guaranteed of something.
    fn has_its_own(&self) -> bool {
        let guarantee = &self.guarantee;
        guarantee.is_empty()
            || guarantee.cpus.is_some_and(|cpus| self.cpu_milli >= u64::from(cpus) * 1000)
            || guarantee.memory.is_some_and(|memory| self.memory >= memory.0)
            || guarantee.devices.is_some_and(|devices| self.devices >= u64::from(devices) * 1000)
    }

    /// Something that used `c` CPUs all along has a decayed sum of `c * half-life / ln 2`, so this is the average number
    /// of CPUs used lately, in millionths of all.
    pub fn recent_of(usage: u64, half_life: Span, totals: &Totals) -> u64 {
        let all = u128::from(half_life.0) * u128::from(totals.cpu_milli);
        (u128::from(usage) * 693_147_181).checked_div(all).map_or(0, |part| u64::try_from(part).unwrap_or(u64::MAX))
    }
}

/// A queue in line: whether it has what it is guaranteed, its share, and the job that it would be served for.
type Turn = (bool, u64, Time, JobId, usize);

/// Hands out jobs: down the tree, always from the queue that holds least for its weight among those of one parent,
/// counting what the jobs handed out before would hold, so that queues take turns even when nothing fits.
pub(crate) struct Order {
    totals: Totals,
    tickets: Vec<Ticket>,
    /// Of each queue and all below it.
    portions: Vec<Portion>,
    parents: Rc<[Option<usize>]>,
    /// Next ticket of each queue, and one past its last.
    cursors: Vec<(usize, usize)>,
    /// The queues in line below each queue, and, last, those at the top. Only queues with a job to hand out are in line.
    lines: Vec<BinaryHeap<Reverse<Turn>>>,
    /// The queue of the job handed out last: it and those above it are not in line until the next is asked for.
    out: Option<usize>,
    /// Entries in all lines.
    entries: usize,
    begun: bool,
}

impl Order {
    pub fn new(mut tickets: Vec<Ticket>, portions: Vec<Portion>, parents: Rc<[Option<usize>]>, totals: Totals) -> Order {
        tickets.sort_unstable();
        let cursors: Vec<(usize, usize)> = (0..portions.len())
            .map(|queue| (tickets.partition_point(|ticket| ticket.queue < queue), tickets.partition_point(|ticket| ticket.queue <= queue)))
            .collect();
        let lines = vec![BinaryHeap::new(); portions.len() + 1];
        Order { totals, tickets, portions, parents, cursors, lines, out: None, entries: 0, begun: false }
    }

    /// Whether the order depends on what was handed out.
    pub fn takes_turns(&self) -> bool {
        self.entries > 0
    }

    /// The first entries, children before their parents: not before what is charged beforehand has been.
    fn begin(&mut self) {
        self.begun = true;
        let mut queues: Vec<usize> = (0..self.portions.len()).collect();
        queues.sort_by_key(|queue| Reverse(path(&self.parents, *queue).count()));
        queues.into_iter().for_each(|queue| self.enter(queue));
    }

    /// Puts a queue that has a job to hand out, itself or below it, into the line of its parent.
    fn enter(&mut self, queue: usize) {
        let (next, end) = self.cursors[queue];
        let own = (next < end).then(|| (self.tickets[next].submitted, self.tickets[next].job));
        let below = self.lines[queue].peek().map(|Reverse((_, _, submitted, job, _))| (*submitted, *job));
        // A queue with others below it holds no jobs of its own; were there any, they would go first.
        let Some((submitted, job)) = own.or(below) else { return };
        let portion = &self.portions[queue];
        let turn = (portion.has_its_own(), portion.share(&self.totals), submitted, job, queue);
        let line = self.parents[queue].unwrap_or(self.portions.len());
        self.lines[line].push(Reverse(turn));
        self.entries += 1;
    }

    /// Index of the next job to consider, and at which level.
    pub fn next(&mut self) -> Option<(usize, usize)> {
        if !self.begun {
            self.begin();
        }
        if let Some(queue) = self.out.take() {
            if !self.takes_turns() {
                // Nobody else waits: no share to compare.
                return self.hand_out(queue);
            }
            let parents = self.parents.clone();
            path(&parents, queue).for_each(|queue| self.enter(queue));
        }
        let mut line = self.portions.len();
        loop {
            let Reverse((_, _, _, _, queue)) = self.lines[line].pop()?;
            self.entries -= 1;
            let (next, end) = self.cursors[queue];
            if next < end {
                return self.hand_out(queue);
            }
            line = queue;
        }
    }

    fn hand_out(&mut self, queue: usize) -> Option<(usize, usize)> {
        let (next, end) = &mut self.cursors[queue];
        if next == end {
            return None;
        }
        let Ticket { index, level, .. } = self.tickets[*next];
        *next += 1;
        self.out = Some(queue);
        Some((index, level))
    }

    /// Counts a job as held by its queue and all above it.
    pub fn charge(&mut self, ask: &Ask, memory: u64, device_milli: u64) {
        for queue in path(&self.parents, ask.queue) {
            let portion = &mut self.portions[queue];
            portion.cpu_milli = portion.cpu_milli.saturating_add(ask.cpu_milli());
            portion.memory = portion.memory.saturating_add(memory);
            portion.devices = portion.devices.saturating_add(device_milli);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTALS: Totals = Totals { cpu_milli: 8000, memory: 8 << 30, devices: 2000 };

    fn ask(queue: usize, share: u32) -> Ask<'static> {
        Ask { ranks: 1, share, memory: None, shm: None, rendezvous: false, devices: None, isolation: None, queue, span: Span::hours(1) }
    }

    fn ticket(queue: usize, priority: i32, submitted: u64, number: u64) -> Ticket {
        Ticket { queue, level: 0, priority: Reverse(priority), submitted: Time(submitted), job: JobId::new(number), index: number as usize }
    }

    fn served(tickets: Vec<Ticket>, portions: Vec<Portion>) -> Vec<usize> {
        let flat = vec![None; portions.len()];
        served_in_tree(tickets, portions, flat)
    }

    fn served_in_tree(tickets: Vec<Ticket>, portions: Vec<Portion>, parents: Vec<Option<usize>>) -> Vec<usize> {
        let queues: Vec<usize> = {
            let mut by_index: Vec<_> = tickets.iter().map(|ticket| (ticket.index, ticket.queue)).collect();
            by_index.sort_unstable();
            by_index.into_iter().map(|(_, queue)| queue).collect()
        };
        let mut order = Order::new(tickets, portions, parents.into(), TOTALS);
        let mut served = Vec::new();
        while let Some((index, _)) = order.next() {
            order.charge(&ask(queues[index], 1000), 0, 0);
            served.push(index);
        }
        served
    }

    #[test]
    fn priority_then_age_then_number_within_a_queue() {
        let tickets = vec![ticket(0, 0, 5, 0), ticket(0, 0, 3, 1), ticket(0, 10, 9, 2), ticket(0, 0, 3, 3), ticket(0, -1, 0, 4)];
        assert_eq!(served(tickets, vec![Portion { weight: 1, ..Portion::default() }]), [2, 1, 3, 0, 4]);
    }

    #[test]
    fn queues_take_turns_by_weight() {
        let tickets = (0..4).map(|n| ticket(0, 0, n, n)).chain((4..8).map(|n| ticket(1, 0, n, n))).collect();
        let portions = vec![Portion { weight: 1, ..Portion::default() }, Portion { weight: 3, ..Portion::default() }];
        assert_eq!(served(tickets, portions), [0, 4, 5, 6, 1, 7, 2, 3]);
    }

    #[test]
    fn a_queue_that_holds_devices_waits_for_one_that_does_not() {
        let tickets = vec![ticket(0, 0, 0, 0), ticket(1, 0, 1, 1)];
        let portions =
            vec![Portion { devices: 1000, weight: 1, ..Portion::default() }, Portion { cpu_milli: 3000, weight: 1, ..Portion::default() }];
        assert_eq!(served(tickets, portions), [1, 0]);
    }

    #[test]
    fn a_queue_below_its_guarantee_comes_first_until_it_has_it() {
        let tickets = (0..2).map(|n| ticket(0, 0, n, n)).chain((2..5).map(|n| ticket(1, 0, n, n))).collect();
        let guarantee = Limits { cpus: Some(5), ..Limits::default() };
        let portions =
            vec![Portion { weight: 1, ..Portion::default() }, Portion { cpu_milli: 3000, weight: 1, guarantee, ..Portion::default() }];
        assert_eq!(served(tickets, portions), [2, 3, 0, 1, 4]);
    }

    /// Two teams of one lab and one guest: the lab's turn is shared by its teams, by their weights.
    #[test]
    fn shares_are_divided_down_the_tree() {
        let parents = vec![None, Some(0), Some(0), None];
        let weights = [1, 1, 3, 1].map(|weight| Portion { weight, ..Portion::default() }).to_vec();
        let of = |queue: usize, from: u64| (from..from + 6).map(move |n| ticket(queue, 0, n, n));
        let tickets: Vec<Ticket> = of(1, 0).chain(of(2, 6)).chain(of(3, 12)).collect();
        let first: Vec<usize> = served_in_tree(tickets.clone(), weights.clone(), parents.clone()).into_iter().take(8).collect();
        let count = |from: usize| first.iter().filter(|index| (from..from + 6).contains(*index)).count();
        assert_eq!((count(0), count(6), count(12)), (1, 3, 4), "{first:?}");
        let mut all = served_in_tree(tickets, weights, parents);
        all.sort_unstable();
        assert_eq!(all, (0..18).collect::<Vec<_>>());
    }

    /// Whatever the tree, every job is handed out once.
    #[test]
    fn jobs_of_a_queue_with_queues_below_are_not_lost() {
        let tickets = vec![ticket(0, 0, 0, 0), ticket(1, 0, 1, 1), ticket(0, 0, 2, 2), ticket(2, 0, 3, 3)];
        let portions = vec![Portion { weight: 1, ..Portion::default() }; 3];
        let mut all = served_in_tree(tickets, portions, vec![None, Some(0), Some(1)]);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }

    #[test]
    fn steady_use_counts_as_the_cpus_it_used() {
        // Four of eight CPUs for ever, with a half-life of an hour: 4 * 3600 s / ln 2.
        let usage = (4.0 * 3_600_000.0 / std::f64::consts::LN_2) as u64;
        assert_eq!(Portion::recent_of(usage, Span::hours(1), &TOTALS).div_ceil(1000), 500);
        assert_eq!(Portion::recent_of(usage, Span::ZERO, &TOTALS), 0);
    }
}
