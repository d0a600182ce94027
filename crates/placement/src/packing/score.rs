//! Score: what a policy is.

use crate::packing::fleet::Fleet;
use crate::packing::model::{Free, Request, Shape};

/// A candidate: all machines of one state.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// Number of the shape in the fleet.
    pub number: u16,
    pub shape: &'a Shape,
    /// Devices in falling order.
    pub free: &'a Free,
    /// What [`Score::potential`] said of this state.
    pub potential: f32,
}

/// What it costs to put a request there. The lowest cost wins; equal ones go by rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub cost: f32,
    /// For a shared request: which device of the sorted state.
    pub device: u8,
}

/// Something that happened, for policies that learn.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Arrived {
        request: Request,
        placed: bool,
    },
    /// One that had been refused found a place after all.
    Started {
        request: Request,
    },
    Departed {
        request: Request,
    },
}

/// A packing policy. Costs depend on the spot, the request and the epoch alone, so that they can be kept.
pub trait Score {
    /// Called only where the request fits.
    fn cost(&self, spot: &Spot<'_>, request: &Request) -> Cost;

    /// A part of the cost that depends on the state alone, computed once a state.
    fn potential(&self, _number: u16, _shape: &Shape, _free: &Free) -> f32 {
        0.0
    }

    /// Costs of another epoch do not hold any more.
    fn epoch(&self) -> u32 {
        0
    }

    /// Told of everything, in order. `load` is what is held and what there is, in thousandths of devices.
    fn note(&mut self, _event: &Event, _load: (u64, u64)) {}

    /// Called between decisions: a policy that learns does so when enough has come, and says whether it did. May take
    /// seconds.
    fn study(&mut self, _fleet: &Fleet) -> bool {
        false
    }

    /// Any machine that fits is as good as any other: draw one.
    fn draws(&self) -> bool {
        false
    }
}
