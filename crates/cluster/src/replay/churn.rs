//! Churn: work arrives, waits in a queue where it does not fit, runs, and ends.

use super::policies::AnyPolicy;
use placement::packing::audit::{Audit, Fault};
use placement::packing::{Fragmentation, Move, Packer, Placement, Request, Running, Seeded, best_moves};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Churn {
    /// Demand offered, as a part of the devices there are: arrivals come evenly, so that this much would run if all fitted.
    pub load: f64,
    /// Arrivals in all.
    pub arrivals: usize,
    /// Seconds between looks for moves that pay; none: nothing is moved.
    pub migrate_every: Option<u64>,
    /// Moves at each look, at most.
    pub moves: usize,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChurnSample {
    /// Seconds since the start.
    pub at: u64,
    pub allocated: f64,
    pub fragmented: f64,
    pub waiting: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChurnReport {
    /// Means over time, after the fleet had filled (the first third is left out).
    pub allocated: f64,
    pub fragmented: f64,
    /// Seconds, over all that started.
    pub mean_wait: f64,
    pub p95_wait: u64,
    pub started: usize,
    pub still_waiting: usize,
    pub moves: usize,
    pub samples: Vec<ChurnSample>,
}

/// Least gain of a move, in devices of expected idle room.
const LEAST_GAIN: f32 = 0.05;
/// Moves looked at in a round: as many runs as that, in turn.
const LOOKED_AT: usize = 2000;
const SAMPLES: usize = 240;

struct Waiting {
    arrival: usize,
    row: usize,
    since: u64,
}

struct World<'a> {
    packer: &'a mut Packer<AnyPolicy>,
    audit: &'a mut Audit,
    requests: &'a [Request],
    spans: &'a [u64],
    running: Vec<Option<(Request, Placement)>>,
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    queue: VecDeque<Waiting>,
    waits: Vec<u64>,
    moves: usize,
    next_look: usize,
}

/// Runs it. `spans` are seconds each request runs; `typical` is what fragmentation is measured by. A departure whose freed
/// room lets several waiting requests start serves them first come, first served, later ones passing those that do not fit.
pub fn churn(
    packer: &mut Packer<AnyPolicy>,
    audit: &mut Audit,
    requests: &[Request],
    spans: &[u64],
    typical: &[(Request, f64)],
    settings: Churn,
) -> Result<ChurnReport, Fault> {
    let capacity = packer.fleet().capacity().max(1) as f64;
    let work: f64 = requests.iter().zip(spans).map(|(request, span)| f64::from(request.amount()) * *span as f64).sum();
    let gap = work / requests.len().max(1) as f64 / (settings.load * capacity).max(f64::MIN_POSITIVE);
    let mut seeded = Seeded(settings.seed);
    let mut world = World {
        packer,
        audit,
        requests,
        spans,
        running: vec![],
        ends: BinaryHeap::new(),
        queue: VecDeque::new(),
        waits: vec![],
        moves: 0,
        next_look: 0,
    };
    let horizon = (gap * settings.arrivals as f64) as u64;
    let step = (horizon / SAMPLES as u64).max(1);
    let (mut samples, mut next_sample, mut next_move) = (vec![], 0, settings.migrate_every.unwrap_or(u64::MAX));
    for arrival in 0..settings.arrivals {
        let now = (gap * arrival as f64) as u64;
        world.end_until(now)?;
        while next_sample <= now {
            samples.push(world.sample(next_sample, capacity, typical));
            next_sample += step;
        }
        if now >= next_move {
            world.migrate(settings.moves, now)?;
            next_move = now + settings.migrate_every.unwrap_or(u64::MAX).max(1);
        }
        let row = seeded.below(requests.len().max(1) as u64) as usize;
        world.arrive(arrival, row, now)?;
    }
    let steady = &samples[samples.len() / 3..];
    let mean = |of: fn(&ChurnSample) -> f64| steady.iter().map(of).sum::<f64>() / steady.len().max(1) as f64;
    world.waits.sort_unstable();
    let started = world.waits.len();
    Ok(ChurnReport {
        allocated: mean(|sample| sample.allocated),
        fragmented: mean(|sample| sample.fragmented),
        mean_wait: world.waits.iter().sum::<u64>() as f64 / started.max(1) as f64,
        p95_wait: world.waits.get((started * 95 / 100).min(started.saturating_sub(1))).copied().unwrap_or(0),
        started,
        still_waiting: world.queue.len(),
        moves: world.moves,
        samples,
    })
}

impl World<'_> {
    fn arrive(&mut self, arrival: usize, row: usize, now: u64) -> Result<(), Fault> {
        let request = self.requests[row];
        self.running.push(None);
        let at = self.packer.arrive(&request);
        self.audit.arrival(&request, at)?;
        self.packer.study();
        match at {
            Some(at) => self.start(arrival, row, at, (now, now)),
            None => self.queue.push_back(Waiting { arrival, row, since: now }),
        }
        Ok(())
    }

    fn start(&mut self, arrival: usize, row: usize, at: Placement, (since, now): (u64, u64)) {
        self.running[arrival] = Some((self.requests[row], at));
        self.ends.push(Reverse((now + self.spans[row], arrival)));
        self.waits.push(now - since);
    }

    fn end_until(&mut self, now: u64) -> Result<(), Fault> {
        while let Some(Reverse((end, _))) = self.ends.peek().copied()
            && end <= now
        {
            while let Some(Reverse((same, arrival))) = self.ends.peek().copied()
                && same == end
            {
                self.ends.pop();
                if let Some((request, at)) = self.running[arrival].take() {
                    self.audit.departure(arrival)?;
                    // The audit has just agreed that it ran there.
                    let _ = self.packer.depart(&request, at);
                }
            }
            self.serve_queue(end)?;
        }
        Ok(())
    }

    /// Whoever waits and fits, in order of arrival; a request that does not fit is not tried twice.
    fn serve_queue(&mut self, now: u64) -> Result<(), Fault> {
        let mut hopeless: HashSet<Request> = HashSet::new();
        let mut left = VecDeque::with_capacity(self.queue.len());
        while let Some(waiting) = self.queue.pop_front() {
            let request = self.requests[waiting.row];
            let at = if hopeless.contains(&request) { None } else { self.packer.retry(&request) };
            match at {
                Some(at) => {
                    self.audit.later(waiting.arrival, &request, at)?;
                    self.start(waiting.arrival, waiting.row, at, (waiting.since, now));
                }
                None => {
                    hopeless.insert(request);
                    left.push_back(waiting);
                }
            }
        }
        self.queue = left;
        Ok(())
    }

    fn migrate(&mut self, most: usize, now: u64) -> Result<(), Fault> {
        let alive: Vec<usize> = (0..self.running.len()).filter(|arrival| self.running[*arrival].is_some()).collect();
        let turn = alive.iter().cycle().skip(self.next_look % alive.len().max(1)).take(LOOKED_AT.min(alive.len()));
        let mut candidates: Vec<Running> =
            turn.filter_map(|arrival| self.running[*arrival].map(|(request, at)| Running { id: *arrival as u64, request, at })).collect();
        self.next_look += LOOKED_AT;
        let moves: Vec<Move> = best_moves(self.packer, &mut candidates, most, LEAST_GAIN);
        for found in moves {
            let arrival = found.id as usize;
            self.audit.moved(arrival, found.to)?;
            if let Some((_, at)) = &mut self.running[arrival] {
                *at = found.to;
            }
            self.moves += 1;
        }
        self.serve_queue(now)
    }

    fn sample(&self, at: u64, capacity: f64, typical: &[(Request, f64)]) -> ChurnSample {
        let unusable = Fragmentation::of(self.packer.fleet(), typical).unusable;
        ChurnSample {
            at,
            allocated: self.audit.held() as f64 / capacity,
            fragmented: unusable * 1000.0 / capacity,
            waiting: self.queue.len(),
        }
    }
}
