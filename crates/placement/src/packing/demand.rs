//! What is usually asked for: the only thing a policy may know beforehand.

use crate::packing::model::Request;
use crate::packing::pack::Seeded;
use std::collections::BTreeMap;

/// Distinct requests and how often each comes. The same counts give the same value whatever order they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    counts: BTreeMap<Request, u64>,
    total: u64,
}

impl Demand {
    pub fn of<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Demand {
        let mut demand = Demand::default();
        for request in requests {
            demand.add(*request);
        }
        demand
    }

    pub fn add(&mut self, request: Request) {
        *self.counts.entry(request).or_default() += 1;
        self.total += 1;
    }

    /// Requests seen.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Request, u64)> {
        self.counts.iter().map(|(request, count)| (request, *count))
    }

    /// The most frequent requests that make up a part of all, with weights that add up to 1.
    pub fn typical(&self, part: f64) -> Vec<(Request, f64)> {
        let mut all: Vec<(Request, u64)> = self.iter().map(|(request, count)| (*request, count)).collect();
        all.sort_by_key(|(request, count)| (std::cmp::Reverse(*count), *request));
        let mut covered = 0;
        let enough = all.iter().take_while(|(_, count)| {
            let more = (covered as f64) < part * self.total as f64;
            covered += count;
            more
        });
        let typical: Vec<(Request, u64)> = enough.copied().collect();
        let sum: u64 = typical.iter().map(|(_, count)| count).sum();
        typical.into_iter().map(|(request, count)| (request, count as f64 / sum as f64)).collect()
    }

    /// For drawing one request after the other.
    pub fn lottery(&self) -> Lottery {
        let mut ends = Vec::with_capacity(self.counts.len());
        let mut end = 0;
        for (request, count) in self.iter() {
            end += count;
            ends.push((end, *request));
        }
        Lottery { ends }
    }
}

/// Draws requests as often as they came.
#[derive(Clone, Debug)]
pub struct Lottery {
    ends: Vec<(u64, Request)>,
}

impl Lottery {
    /// Nothing when nothing was ever asked.
    pub fn draw(&self, seeded: &mut Seeded) -> Option<Request> {
        let all = self.ends.last()?.0;
        let ticket = seeded.below(all);
        let at = self.ends.partition_point(|(end, _)| *end <= ticket);
        self.ends.get(at).map(|(_, request)| *request)
    }
}
