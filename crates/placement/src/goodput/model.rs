//! How fast an elastic job gets on: steps a second, times what each step is worth.
//!
//! After Qiao et al., "Pollux: Co-adaptive Cluster Scheduling for Goodput-Optimized Deep Learning", OSDI 2021, sections 3.1
//! and 3.2: the time of a step is a norm of computing and of exchanging gradients, and a batch larger than the first one is
//! worth less for each sample, by the noise scale of the gradient (McCandlish et al., 2018).

/// Time of a training step, in seconds, as a function of where the ranks sit and how much each one computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTime {
    /// Forward and backward pass: constant, and for each sample.
    pub compute: (f64, f64),
    /// Exchange between machines: constant, and for each rank beyond the second.
    pub across: (f64, f64),
    /// Exchange inside one machine: constant, and for each rank beyond the second.
    pub within: (f64, f64),
    /// How far computing and exchange overlap: 1 not at all, 10 all but fully.
    pub overlap: f64,
}

impl StepTime {
    /// Seconds of a pass over `atomic` samples on each rank, without an exchange.
    pub fn pass(&self, atomic: f64) -> f64 {
        self.compute.0 + self.compute.1 * atomic
    }

    /// Seconds of an exchange of gradients.
    pub fn exchange(&self, nodes: u32, ranks: u32) -> f64 {
        let (constant, more) = match (nodes > 1, ranks > 1) {
            (true, _) => self.across,
            (false, true) => self.within,
            (false, false) => return 0.0,
        };
        constant + more * (f64::from(ranks) - 2.0).max(0.0)
    }

    /// Seconds of a pass that ends with an exchange.
    pub fn step(&self, nodes: u32, ranks: u32, atomic: f64) -> f64 {
        overlapped(self.pass(atomic), self.exchange(nodes, ranks), self.overlap)
    }
}

/// `(a^p + b^p)^(1/p)`, without losing digits when one is much the larger.
pub(super) fn overlapped(a: f64, b: f64, power: f64) -> f64 {
    let (large, small) = if a > b { (a, b) } else { (b, a) };
    if small <= 0.0 {
        return large;
    }
    if power <= 1.0 + 1e-9 {
        return large + small;
    }
    large * (power * (small / large).ln()).exp().ln_1p().mul_add(1.0 / power, 0.0).exp()
}

/// Square and variance of the gradient, as the job measures them at its first batch size. Their quotient times that batch
/// size is the noise scale: the batch beyond which more samples hardly help.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    pub square: f64,
    pub variance: f64,
}

impl Noise {
    /// What a step with `scale` times the first batch is worth, in steps with the first one. Between 1 and `scale`.
    pub fn gain(&self, scale: f64) -> f64 {
        let below = self.variance / scale + self.square;
        if below > 0.0 { (self.variance + self.square) / below } else { 1.0 }
    }
}

/// Which batches a job allows, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The one the job was written for; all progress is counted in steps of it.
    pub first: u32,
    /// Of all ranks together.
    pub largest: u32,
    /// Least and most that one rank computes at once: the least that is measured, the most that fits its memory.
    pub atomic: (u32, u32),
    /// Given by the person, and not to be changed.
    pub fixed: Option<u32>,
}

/// How a job divides its batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Configuration {
    /// Steps of the first batch size a second.
    pub goodput: f64,
    /// Samples that a rank computes at once.
    pub atomic: u32,
    /// Passes that only add to the gradient, before the one that exchanges it.
    pub accumulations: u32,
}

impl Configuration {
    /// Samples of a step, over all ranks.
    pub fn batch(&self, ranks: u32) -> u32 {
        ranks * self.atomic * (self.accumulations + 1)
    }
}

impl Batch {
    /// Ranks beyond which not every rank has its least.
    pub fn most_ranks(&self) -> u32 {
        (self.fixed.unwrap_or(self.largest) / self.atomic.0.max(1)).max(1)
    }

    /// A batch of about `wanted` samples, divided evenly. On one rank alone, a batch larger than the first is computed in two
    /// passes at least: the noise cannot be measured from one.
    pub fn divide(&self, wanted: f64, ranks: u32) -> (u32, u32) {
        const SLACK: f64 = 1e-8;
        let local = wanted / f64::from(ranks);
        let mut accumulations = ((local / f64::from(self.atomic.1) - SLACK).ceil() - 1.0).max(0.0) as u32;
        if ranks == 1 && local > f64::from(self.first) + SLACK {
            accumulations = accumulations.max(1);
        }
        let atomic = (local / f64::from(accumulations + 1) - SLACK).ceil().max(1.0) as u32;
        (atomic, accumulations)
    }

    /// The division of a batch that is given, or of the smallest allowed one.
    pub fn plain(&self, ranks: u32) -> (u32, u32) {
        let wanted = match self.fixed {
            Some(fixed) => f64::from(fixed.div_ceil(ranks)) * f64::from(ranks),
            None => f64::from(self.first.max(self.atomic.0 * ranks)),
        };
        let (atomic, accumulations) = self.divide(wanted, ranks);
        self.capped(atomic, accumulations, ranks)
    }

    /// Not more than the largest batch in all.
    pub fn capped(&self, atomic: u32, accumulations: u32, ranks: u32) -> (u32, u32) {
        (atomic.min(self.largest / (ranks * (accumulations + 1))).max(1), accumulations)
    }
}

/// What is known of a job's speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goodput {
    pub time: StepTime,
    pub noise: Noise,
    pub batch: Batch,
}

/// Batch sizes tried, evenly in their logarithm.
const SIZES: u32 = 50;

impl Goodput {
    /// Steps of the first batch size a second.
    pub fn at(&self, nodes: u32, ranks: u32, atomic: u32, accumulations: u32) -> f64 {
        let batch = f64::from(ranks) * f64::from(atomic) * f64::from(accumulations + 1);
        let pass = self.time.pass(f64::from(atomic));
        let seconds = f64::from(accumulations) * pass + overlapped(pass, self.time.exchange(nodes, ranks), self.time.overlap);
        self.noise.gain(batch / f64::from(self.batch.first)) / seconds
    }

    /// The best division of the best batch on `ranks` devices of `nodes` machines; none where not every rank has its least.
    pub fn best(&self, nodes: u32, ranks: u32) -> Option<Configuration> {
        self.best_of(nodes, ranks, SIZES)
    }

    /// The same with fewer batch sizes tried: what a decision over many jobs can afford.
    pub fn best_of(&self, nodes: u32, ranks: u32, sizes: u32) -> Option<Configuration> {
        if ranks == 0 || nodes == 0 || nodes > ranks || ranks > self.batch.most_ranks() {
            return None;
        }
        if self.batch.fixed.is_some() {
            let (atomic, accumulations) = self.batch.plain(ranks);
            return Some(Configuration { goodput: self.at(nodes, ranks, atomic, accumulations), atomic, accumulations });
        }
        let least = f64::from(self.batch.first.max(self.batch.atomic.0 * ranks));
        let largest = f64::from(self.batch.largest).max(least);
        let ratio = (largest / least).powf(1.0 / f64::from(sizes.max(2) - 1));
        let (mut best, mut wanted) = (None::<Configuration>, least);
        for _ in 0..sizes.max(2) {
            let (atomic, accumulations) = self.batch.divide(wanted.min(largest), ranks);
            let (atomic, accumulations) = self.batch.capped(atomic, accumulations, ranks);
            wanted *= ratio;
            if atomic < self.batch.atomic.0 || atomic > self.batch.atomic.1 {
                continue;
            }
            let goodput = self.at(nodes, ranks, atomic, accumulations);
            if best.is_none_or(|best| goodput > best.goodput) {
                best = Some(Configuration { goodput, atomic, accumulations });
            }
        }
        best
    }
}
