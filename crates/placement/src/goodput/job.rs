//! What a decision about elastic jobs looks at, and what it says.

use super::model::Goodput;
use std::fmt;

/// Machine (its place in the list of machines) and devices held there, as many ranks as that.
pub type Seats = Vec<(usize, u32)>;

/// An elastic job that is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct ElasticJob {
    pub id: u64,
    /// Seconds, on the clock of `now`.
    pub submitted: u64,
    /// What it holds now; empty when it waits.
    pub held: Seats,
    /// How often it was stopped and started elsewhere.
    pub restarts: u32,
    /// Device-seconds it held so far.
    pub service: f64,
    /// Steps of the first batch size done.
    pub done: f64,
    /// Steps of the first batch size to do, if somebody knows.
    pub remaining: Option<f64>,
    /// Fewest and most devices it may hold; it may also wait and hold none.
    pub least: u32,
    pub most: u32,
    /// Devices that the person asked for, for policies that do not choose.
    pub asked: u32,
    /// None before anything was measured.
    pub goodput: Option<Goodput>,
}

impl ElasticJob {
    pub fn holds(&self) -> u32 {
        devices(&self.held)
    }
}

pub fn devices(seats: &Seats) -> u32 {
    seats.iter().map(|(_, devices)| devices).sum()
}

/// Why a job holds what it holds until the next decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// Stays where it is. `speed` in multiples of one device's.
    Kept { speed: f64 },
    /// Was waiting.
    Started { speed: f64 },
    /// Holds another number of devices than before, with the restart counted in.
    Resized { from: u32, speed: f64 },
    /// As many devices, elsewhere: somebody needs its machine whole.
    Moved,
    /// Another policy's rule, which needs no figures.
    Rule(&'static str),
    /// The least it can hold is worth less than the same devices are to others. Both in the same unit of worth, a device.
    Waits { worth: f64, price: f64 },
    /// No machine has so many free devices as its least needs, though they are worth it.
    NoRoom,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Kept { speed } => write!(out, "stays as it is, at {speed:.1} times the speed of one device"),
            Reason::Started { speed } => write!(out, "starts, at {speed:.1} times the speed of one device"),
            Reason::Resized { from, speed } => {
                write!(out, "held {from}; now at {speed:.1} times the speed of one device, which pays the restart")
            }
            Reason::Moved => write!(out, "moves: another job needs its machine whole"),
            Reason::Rule(rule) => out.write_str(rule),
            Reason::Waits { worth, price } => {
                write!(out, "waits: a device would be worth {worth:.3} here, {price:.3} elsewhere")
            }
            Reason::NoRoom => write!(out, "waits: no room for its fewest devices beside those that were placed before it"),
        }
    }
}

/// What a job holds until the next decision, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub seats: Seats,
    pub reason: Reason,
}

/// Decides what every job holds until it is asked again. Nothing may be held twice, and no job is below its least.
pub trait ElasticPolicy {
    /// `machines` are their devices; `jobs` in order of submission. One assignment a job, in their order.
    fn decide(&mut self, now: u64, machines: &[u32], jobs: &[ElasticJob]) -> Vec<Assignment>;
}
