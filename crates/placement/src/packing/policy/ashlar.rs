//! Ashlar: put it where the least is expected to be lost.
//!
//! The cost of a placement is the price of the devices it takes, plus by how much it changes the expected idle remainder of
//! the machine ([`Values`]). Known beforehand: the machines, and either how often each request comes (as FGD
//! knows it) or nothing; then requests are counted as they come, and values learned again as the counts grow.

use crate::packing::demand::Demand;
use crate::packing::fleet::Fleet;
use crate::packing::learn::{Course, Learner};
use crate::packing::model::{Free, Request, Shape};
use crate::packing::score::{Cost, Event, Score, Spot};
use crate::packing::values::{Moment, Values};

/// Arrived demand, as a part of the devices there are, after which values are learned anew; then after every half more.
const LESSONS: [f32; 9] = [0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9];

/// The policy. One belongs to one fleet.
#[derive(Clone, Debug)]
pub struct Ashlar {
    values: Values,
    moment: Moment,
    /// Thousandths of devices that were asked for, refused, and not made up for by departures.
    backlog: u64,
    epoch: u32,
    learning: Option<Box<Counting>>,
}

/// For a policy that starts with no knowledge.
#[derive(Clone, Debug)]
struct Counting {
    demand: Demand,
    course: Course,
    arrived: u64,
    lessons: u32,
}

impl Ashlar {
    /// Knows how often each request comes; learns from it before the first decision.
    pub fn knowing(fleet: &Fleet, demand: &Demand, course: Course, progress: impl FnMut(u32, f64)) -> Ashlar {
        let guess = Values::guess(fleet.shapes(), demand);
        Ashlar::fixed(Learner::new(fleet, course).study(guess, demand, progress))
    }

    /// Knows nothing; counts what comes. [`Score::study`] is to be called between decisions.
    pub fn learning(fleet: &Fleet, course: Course) -> Ashlar {
        let counting = Counting { demand: Demand::default(), course, arrived: 0, lessons: 0 };
        Ashlar { learning: Some(Box::new(counting)), ..Ashlar::fixed(Values::guess(fleet.shapes(), &Demand::default())) }
    }

    /// With values as they are.
    pub fn fixed(values: Values) -> Ashlar {
        Ashlar { values, moment: Moment::default(), backlog: 0, epoch: 0, learning: None }
    }

    pub fn values(&self) -> &Values {
        &self.values
    }

    pub fn into_values(self) -> Values {
        self.values
    }

    pub fn moment(&self) -> Moment {
        self.moment
    }

    fn pressed(&mut self, (held, capacity): (u64, u64)) {
        let next = self.moment.next((held + self.backlog) as f32 / capacity.max(1) as f32);
        if next != self.moment {
            self.moment = next;
            self.epoch += 1;
        }
    }
}

impl Score for Ashlar {
    fn cost(&self, spot: &Spot<'_>, request: &Request) -> Cost {
        let (cost, device) = self.values.cost(self.moment, spot.number, spot.shape.kind, spot.free, spot.potential, request);
        Cost { cost, device }
    }

    fn potential(&self, number: u16, _: &Shape, free: &Free) -> f32 {
        self.values.potential(self.moment, number, free)
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn study(&mut self, fleet: &Fleet) -> bool {
        let Some(counting) = &mut self.learning else { return false };
        let arrived = counting.arrived as f32 / fleet.capacity().max(1) as f32;
        let due = LESSONS.iter().filter(|part| arrived >= **part).count() as u32 + (arrived - 1.0).max(0.0) as u32 * 2;
        if due <= counting.lessons {
            return false;
        }
        counting.lessons = due;
        let guess = Values::guess(fleet.shapes(), &counting.demand);
        self.values = Learner::new(fleet, counting.course).study(guess, &counting.demand, |_, _| ());
        self.epoch += 1;
        true
    }

    fn note(&mut self, event: &Event, load: (u64, u64)) {
        match event {
            Event::Arrived { request, placed } => {
                if let Some(counting) = &mut self.learning {
                    counting.demand.add(*request);
                    counting.arrived += u64::from(request.amount());
                }
                if !placed {
                    self.backlog += u64::from(request.amount());
                }
            }
            Event::Started { request } | Event::Departed { request } => {
                self.backlog = self.backlog.saturating_sub(u64::from(request.amount()))
            }
        }
        self.pressed(load);
    }
}
