//! Two queues by attained service: Gu et al., "Tiresias", NSDI 2019, as the Pollux artifact runs it.
//!
//! A job keeps the number of devices its person asked for. It begins in the first queue and falls into the second when it has
//! held devices for [`THRESHOLD`] device-seconds; the first goes before the second, each in order of arrival. Who does not get all
//! devices it asked for waits and may be stopped for it. Started jobs stay where they are while they run.

use super::job::{Assignment, ElasticJob, ElasticPolicy, Reason, Seats, devices};
use std::collections::{HashMap, HashSet};

/// Device-seconds until a job falls back.
pub const THRESHOLD: u64 = 16 * 3600;

#[derive(Debug, Default)]
pub struct Tiresias {
    queues: [Vec<u64>; 2],
    /// Seconds each job ran, and when it was last looked at.
    ran: HashMap<u64, (u64, u64)>,
    running: HashSet<u64>,
}

impl ElasticPolicy for Tiresias {
    fn decide(&mut self, now: u64, machines: &[u32], jobs: &[ElasticJob]) -> Vec<Assignment> {
        let asked: HashMap<u64, u32> = jobs.iter().map(|job| (job.id, job.asked)).collect();
        for queue in &mut self.queues {
            queue.retain(|id| asked.contains_key(id));
        }
        self.running.retain(|id| asked.contains_key(id));
        for job in jobs {
            let (ran, last) = self.ran.entry(job.id).or_insert_with(|| {
                self.queues[0].push(job.id);
                (0, now)
            });
            if self.running.contains(&job.id) {
                *ran += now - *last;
                if *ran * u64::from(job.asked) >= THRESHOLD
                    && let Some(at) = self.queues[0].iter().position(|id| *id == job.id)
                {
                    self.queues[0].remove(at);
                    self.queues[1].push(job.id);
                }
            }
            *last = now;
        }
        let mut left: u32 = machines.iter().sum();
        let mut seats: HashMap<u64, Seats> = HashMap::new();
        let held: HashMap<u64, &Seats> = jobs.iter().map(|job| (job.id, &job.held)).collect();
        let order: Vec<u64> = self.queues.concat();
        self.running.clear();
        for id in &order {
            if asked[id] <= left {
                left -= asked[id];
                self.running.insert(*id);
                seats.insert(*id, held[id].clone());
            }
        }
        let mut free = machines.to_vec();
        for (machine, count) in seats.values().flatten() {
            free[*machine] -= count;
        }
        for id in &order {
            let Some(seats) = seats.get_mut(id).filter(|seats| seats.is_empty()) else { continue };
            while devices(seats) < asked[id] {
                // The first of the machines with most room.
                let most = free.iter().copied().max().unwrap_or(0);
                let Some(machine) = free.iter().position(|count| *count == most && most > 0) else { break };
                let count = most.min(asked[id] - devices(seats));
                seats.push((machine, count));
                free[machine] -= count;
            }
        }
        let assignment = |job: &ElasticJob| match seats.remove(&job.id) {
            Some(seats) => Assignment { reason: Reason::Rule("first in its queue with as many devices as asked"), seats },
            None => Assignment { seats: vec![], reason: Reason::Rule("waits: not all devices it asked for are free for its queue") },
        };
        jobs.iter().map(assignment).collect()
    }
}
