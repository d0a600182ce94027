//! Virtual time, and messages that take their time, get lost, come twice or overtake each other.

use super::random::Random;
use crate::{Answer, Input};
use spec::{Assignment, Span, Time};
use std::collections::BTreeMap;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub enum Event {
    ControlUp,
    ControlStep,
    ControlTimer {
        timer: u64,
    },
    ToControl {
        input: Input,
        /// The person to answer, and the number of their request.
        from: Option<(usize, u64)>,
        /// The machine it comes from, and the connection it was sent on.
        link: Option<(usize, u64)>,
    },
    ToNode {
        site: usize,
        assignment: Assignment,
        link: u64,
    },
    ToPerson {
        person: usize,
        number: u64,
        answer: Option<Answer>,
    },
    /// A phase of a run on this machine may be over.
    Site {
        site: usize,
        timer: u64,
    },
    NodeTick {
        site: usize,
    },
    NodeUp {
        site: usize,
    },
    MachineUp {
        site: usize,
    },
    Types {
        person: usize,
    },
    Fault,
    Heal,
}

pub struct Network {
    events: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    random: Random,
    links: BTreeMap<usize, u64>,
}

impl Network {
    pub fn new(seed: u64) -> Network {
        Network { events: BTreeMap::new(), sequence: 0, random: Random::of(seed, "network"), links: BTreeMap::new() }
    }

    pub fn at(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    pub fn next(&mut self) -> Option<(Time, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// The connection to the machine; another one after [`Network::cut`].
    pub fn link(&self, site: usize) -> u64 {
        self.links.get(&site).copied().unwrap_or(0)
    }

    /// The machine is another one from here on: what is still under way to or from the old one never arrives.
    pub fn cut(&mut self, site: usize) {
        *self.links.entry(site).or_default() += 1;
    }

    fn send(&mut self, now: Time, event: Event, reliable: bool) {
        let copies = match self.random.below(100) {
            _ if reliable => 1,
            0..6 => 0,
            6..12 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = if !reliable && self.random.chance(100) { self.random.between(100, 5000) } else { self.random.between(1, 30) };
            self.at(now + Span(delay), event.clone());
        }
    }

    pub fn up(&mut self, now: Time, site: usize, input: Input, reliable: bool) {
        let link = Some((site, self.link(site)));
        self.send(now, Event::ToControl { input, from: None, link }, reliable);
    }

    pub fn down(&mut self, now: Time, site: usize, assignment: Assignment, reliable: bool) {
        let link = self.link(site);
        self.send(now, Event::ToNode { site, assignment, link }, reliable);
    }

    /// A request travels on a connection: it is answered at most once, so it is not doubled on the way.
    pub fn ask(&mut self, now: Time, person: usize, number: u64, input: Input, reliable: bool) {
        if reliable || !self.random.chance(60) {
            let delay = self.random.between(1, 200);
            self.at(now + Span(delay), Event::ToControl { input, from: Some((person, number)), link: None });
        }
    }

    pub fn answer(&mut self, now: Time, person: usize, number: u64, answer: Option<Answer>, reliable: bool) {
        if reliable || !self.random.chance(60) {
            let delay = self.random.between(1, 200);
            self.at(now + Span(delay), Event::ToPerson { person, number, answer });
        }
    }
}
