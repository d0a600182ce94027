//! A training job in simulated time, as the Pollux artifact lives it.

use super::profile::Application;
use placement::goodput::{Batch, Goodput, Learner, Noise, Seats, devices};

/// What a policy may be told of jobs beyond what each has shown itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// Nothing: as Pollux and Tiresias.
    Nothing,
    /// What earlier jobs of the same application showed: step times, and how long those that ended were.
    Class,
    /// That, and how much work the job has (its number of epochs): as Optimus with its oracle.
    Length,
}

/// One row of a workload.
#[derive(Clone, Debug)]
pub struct Submission {
    pub name: String,
    pub at: u64,
    pub application: usize,
    pub asked: u32,
    pub batch: u32,
}

#[derive(Debug)]
pub(super) struct Job {
    pub submission: Submission,
    pub batch: Batch,
    /// Whether the batch follows the goodput.
    pub adapts: bool,
    pub seats: Seats,
    pub ended: Option<u64>,
    pub restarts: Option<u32>,
    pub service: f64,
    pub done: f64,
    pub noise: Option<Noise>,
    pub own: Learner,
    epoch: usize,
    restarting: u64,
    atomic: u32,
    accumulations: u32,
}

/// Step time that was seen: where, the pass and the whole step in seconds.
pub(super) type Seen = ((u32, u32, u32), f64, f64);

impl Job {
    pub fn new(submission: Submission, batch: Batch, adapts: bool) -> Job {
        let (own, seats) = (Learner::default(), vec![]);
        Job {
            submission,
            batch,
            adapts,
            seats,
            ended: None,
            restarts: None,
            service: 0.0,
            done: 0.0,
            noise: None,
            own,
            epoch: 0,
            restarting: 0,
            atomic: 0,
            accumulations: 0,
        }
    }

    /// Goodput by what it has shown, with step times of `time` if given.
    pub fn goodput(&self, class: Option<&Learner>) -> Option<Goodput> {
        let time = self.own.model().or_else(|| class?.model())?;
        Some(Goodput { time, noise: self.noise?, batch: self.batch })
    }

    pub fn seat(&mut self, seats: Seats, restart: u64, class: Option<&Learner>) {
        self.seats = seats;
        if self.seats.is_empty() {
            return;
        }
        self.divide(class);
        self.restarting = restart;
        self.restarts = Some(self.restarts.map_or(0, |before| before + 1));
    }

    /// How the batch is divided from now on.
    fn divide(&mut self, class: Option<&Learner>) {
        let (nodes, ranks) = (self.seats.len() as u32, devices(&self.seats));
        let best = self.goodput(class).filter(|_| self.adapts).and_then(|model| model.best(nodes, ranks));
        (self.atomic, self.accumulations) = match best {
            Some(best) => self.batch.capped(best.atomic, best.accumulations, ranks),
            None => self.batch.plain(ranks),
        };
    }

    /// Lives `seconds` from `now`. What it saw of step times goes to `saw`.
    pub fn live(&mut self, now: u64, seconds: u64, application: &Application, class: Option<&Learner>, saw: &mut Vec<Seen>) {
        if self.seats.is_empty() || self.ended.is_some() {
            return;
        }
        let ranks = devices(&self.seats);
        let lost = self.restarting.min(seconds);
        self.restarting -= lost;
        self.service += (lost * u64::from(ranks)) as f64;
        let (mut now, mut left) = (now + lost, seconds - lost);
        let placement: Vec<u32> = self.seats.iter().map(|(_, count)| *count).collect();
        while left > 0 && self.ended.is_none() {
            let batch = ranks * self.atomic * (self.accumulations + 1);
            let (step, exchange) = application.times(&placement, self.atomic);
            let noise = application.noise(batch, self.epoch);
            self.noise = Some(noise);
            let at = (placement.len() as u32, ranks, self.atomic);
            if self.own.observe(at, step - exchange, step) {
                saw.push((at, step - exchange, step));
            }
            let seconds_a_step = step + (step - exchange) * f64::from(self.accumulations);
            let goodput = noise.gain(f64::from(batch) / f64::from(self.batch.first)) / seconds_a_step;
            let next = application.progress(self.epoch + 1);
            let spent = if self.done + goodput * (left as f64) < next {
                self.done += goodput * left as f64;
                left
            } else {
                let spent = (((next - self.done) / goodput).round_ties_even() as u64).min(left);
                self.epoch += 1;
                self.done = next;
                if self.epoch >= application.epochs {
                    self.ended = Some(now + spent);
                }
                spent
            };
            now += spent;
            left -= spent;
            self.service += (spent * u64::from(ranks)) as f64;
            self.divide(class);
        }
    }

    /// Steps of the first batch size left.
    pub fn remaining(&self, application: &Application) -> f64 {
        (application.progress(application.epochs) - self.done).max(0.0)
    }
}
