//! Time ahead: what is held now, when it ends, and what is promised to whom.

use crate::demand::Demand;
use crate::held::{Held, Holding, PortPlan};
use crate::layout::Layout;
use crate::place::{Placed, place};
use crate::tree::Tree;
use spec::{Span, Time};
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// A holding with the time it is planned for.
#[derive(Clone)]
pub(crate) struct Occupation {
    pub holding: Rc<Holding>,
    pub from: Time,
    pub end: Time,
}

/// What does not change during one decision.
pub(crate) struct Ground<'a> {
    pub layouts: Vec<Layout<'a>>,
    pub tree: Tree,
    pub ports: PortPlan,
}

/// The state at one moment, with everything already planned after it.
///
/// Holdings begin only now or when a promise begins, and otherwise only end. So the most that is held between now and
/// any later time is the largest of the states now and at the beginnings of the promises in between: a job that
/// fits below that peak fits for its whole length, and delays nobody.
#[derive(Clone)]
pub(crate) struct Horizon {
    pub now: Time,
    pub current: Held,
    /// States at the beginnings of promises, by time.
    ahead: Vec<(Time, Held)>,
    /// `peaks[n]`: the largest of `current` and the first `n + 1` of `ahead`. Made when asked for.
    peaks: Vec<OnceCell<Held>>,
    occupations: Vec<Occupation>,
    /// Beginnings of claims up to here bind every start, however short: what was cleared for a job is lent to nobody.
    claimed_until: Time,
    /// The most that is held whichever victims end first, each claim in the place of its own: a victim may be quicker than
    /// planned, and than those of another claim.
    cleared: Option<Held>,
}

impl Horizon {
    pub fn new(now: Time, nothing: Held, running: Vec<Occupation>) -> Horizon {
        let mut current = nothing;
        running.iter().for_each(|occupation| current.take(&occupation.holding));
        Horizon { now, current, ahead: Vec::new(), peaks: Vec::new(), occupations: running, claimed_until: now, cleared: None }
    }

    /// Beginnings of promises, by time.
    pub fn promised_at(&self) -> impl DoubleEndedIterator<Item = Time> + '_ {
        self.ahead.iter().map(|(time, _)| *time)
    }

    /// What is held when the promises of that time begin.
    pub fn promised_state(&self, at: Time) -> Option<&Held> {
        self.ahead.iter().find(|(time, _)| *time == at).map(|(_, held)| held)
    }

    /// What is held at this moment: first the runs, in the order they were given, then what was started since.
    pub fn holding_now(&self) -> impl Iterator<Item = &Occupation> {
        self.occupations.iter().filter(|occupation| occupation.from <= self.now)
    }

    /// The most that is held between now and `now + span`.
    pub fn peak(&self, span: Span) -> &Held {
        let until = (self.now + span).max(self.claimed_until + Span(1));
        match self.ahead.partition_point(|(time, _)| *time < until) {
            0 => &self.current,
            points => self.peaks[points - 1].get_or_init(|| {
                let mut peak = self.current.clone();
                self.ahead[..points].iter().for_each(|(_, held)| peak.raise_to(held));
                self.cleared.iter().for_each(|held| peak.raise_to(held));
                peak
            }),
        }
    }

    /// Where the job could start now without delaying a promise.
    pub fn fit(&self, demand: &Demand, ground: &Ground) -> Option<Placed> {
        let peak = self.peak(demand.ask.span);
        let machine = demand.best_machine(&ground.layouts, &ground.tree, peak)?;
        Some(place(demand, machine, &ground.layouts[machine], &peak.machines[machine]))
    }

    /// Starts a holding now.
    pub fn start(&mut self, holding: Rc<Holding>, span: Span) {
        let end = self.now + span;
        self.current.take(&holding);
        self.cleared.iter_mut().for_each(|held| held.take(&holding));
        self.ahead.iter_mut().filter(|(time, _)| *time < end).for_each(|(_, held)| held.take(&holding));
        self.occupations.push(Occupation { holding, from: self.now, end });
        self.forget_peaks();
    }

    /// The index that what is started next will have.
    pub fn next_index(&self) -> usize {
        self.occupations.len()
    }

    /// Undoes a start, until [`Horizon::put_back`].
    pub fn take_back(&mut self, index: usize) -> Rc<Holding> {
        let Occupation { holding, end, .. } = self.occupations[index].clone();
        self.current.release(&holding);
        self.cleared.iter_mut().for_each(|held| held.release(&holding));
        self.ahead.iter_mut().filter(|(time, _)| *time < end).for_each(|(_, held)| held.release(&holding));
        self.forget_peaks();
        holding
    }

    /// Starts a holding in place of the one that was taken back, for as long.
    pub fn put_back(&mut self, index: usize, holding: Rc<Holding>) {
        let end = self.occupations[index].end;
        self.current.take(&holding);
        self.cleared.iter_mut().for_each(|held| held.take(&holding));
        self.ahead.iter_mut().filter(|(time, _)| *time < end).for_each(|(_, held)| held.take(&holding));
        self.occupations[index].holding = holding;
        self.forget_peaks();
    }

    /// Promises a holding for later.
    pub fn promise(&mut self, holding: Rc<Holding>, from: Time, span: Span, nothing: &Held) {
        let end = from + span;
        self.occupations.push(Occupation { holding: holding.clone(), from, end });
        self.ahead.iter_mut().filter(|(time, _)| from <= *time && *time < end).for_each(|(_, held)| held.take(&holding));
        let place = self.ahead.partition_point(|(time, _)| *time < from);
        if self.ahead.get(place).is_none_or(|(time, _)| *time != from) {
            let mut held = nothing.clone();
            let active = self.occupations.iter().filter(|occupation| occupation.from <= from && from < occupation.end);
            active.for_each(|occupation| held.take(&occupation.holding));
            self.ahead.insert(place, (from, held));
        }
        self.forget_peaks();
    }

    /// The occupation of the run with this index.
    pub fn run(&self, index: usize) -> &Occupation {
        &self.occupations[index]
    }

    /// Keeps holdings for jobs whose victims, given by their indices, end at `from`, or are gone.
    pub fn claim(&mut self, holdings: &[(Rc<Holding>, Span)], victims: &[usize], from: Time, nothing: &Held) {
        self.claimed_until = self.claimed_until.max(from);
        let cleared = self.cleared.get_or_insert_with(|| self.current.clone());
        let mut after = cleared.clone();
        victims.iter().for_each(|victim| after.release(&self.occupations[*victim].holding));
        holdings.iter().for_each(|(holding, _)| after.take(holding));
        cleared.raise_to(&after);
        holdings.iter().for_each(|(holding, span)| self.promise(holding.clone(), from, *span, nothing));
    }

    /// The occupation, one of those the horizon was made with, ends at another time.
    pub fn ends_at(&mut self, index: usize, end: Time) {
        let occupation = &mut self.occupations[index];
        let before = std::mem::replace(&mut occupation.end, end);
        let holding = occupation.holding.clone();
        for (_, held) in self.ahead.iter_mut().filter(|(time, _)| end <= *time && *time < before) {
            held.release(&holding);
        }
        for (_, held) in self.ahead.iter_mut().filter(|(time, _)| before <= *time && *time < end) {
            held.take(&holding);
        }
        self.forget_peaks();
    }

    /// The most that is held between now and `now + span` by all but these occupations.
    pub fn peak_without(&self, span: Span, without: &[usize]) -> Held {
        let until = (self.now + span).max(self.claimed_until + Span(1));
        let less = |time: Time, held: &Held| {
            let mut held = held.clone();
            let there = without.iter().map(|index| &self.occupations[*index]).filter(|occupation| time < occupation.end);
            there.for_each(|occupation| held.release(&occupation.holding));
            held
        };
        let mut peak = less(self.now, &self.current);
        self.ahead.iter().filter(|(time, _)| *time < until).for_each(|(time, held)| peak.raise_to(&less(*time, held)));
        self.cleared.iter().for_each(|held| peak.raise_to(&less(self.now, held)));
        peak
    }

    /// Whether these holdings, in place of the occupations `without`, leave every promise that begins before `until` possible.
    pub fn admits(&self, holdings: &[&Holding], without: &[usize], until: Time, ground: &Ground) -> bool {
        self.ahead.iter().filter(|(time, _)| *time < until).all(|(time, held)| {
            let mut held = held.clone();
            let there = without.iter().map(|index| &self.occupations[*index]).filter(|occupation| *time < occupation.end);
            there.for_each(|occupation| held.release(&occupation.holding));
            holdings.iter().all(|holding| {
                let room = held.has_room(holding, &ground.layouts) && ground.tree.within(holding, &held.queues);
                held.take(holding);
                room
            })
        })
    }

    fn forget_peaks(&mut self) {
        self.peaks.clear();
        self.peaks.resize_with(self.ahead.len(), OnceCell::new);
    }

    /// No machine has a processor thousandth, or no memory, left: nothing at all can start.
    pub fn exhausted(&self, ground: &Ground) -> bool {
        ground
            .layouts
            .iter()
            .zip(&self.current.machines)
            .all(|(layout, held)| !layout.accepts || held.memory >= layout.allocatable.0 || held.room().widest == 0)
    }
}

/// A look into the future: a horizon that moves from one change to the next.
pub(crate) struct Walk {
    pub horizon: Horizon,
    /// Time, whether it begins, index of the occupation. Ends come before beginnings.
    events: BinaryHeap<Reverse<(Time, bool, usize)>>,
}

impl Walk {
    pub fn new(horizon: &Horizon) -> Walk {
        let mut events = Vec::with_capacity(horizon.occupations.len());
        for (index, occupation) in horizon.occupations.iter().enumerate() {
            if occupation.from > horizon.now {
                events.push(Reverse((occupation.from, true, index)));
            }
            events.push(Reverse((occupation.end, false, index)));
        }
        Walk { horizon: horizon.clone(), events: events.into() }
    }

    /// Goes to the next time at which something changes; `None` when nothing will any more.
    pub fn step(&mut self) -> Option<Time> {
        let Reverse((time, _, _)) = *self.events.peek()?;
        let horizon = &mut self.horizon;
        while let Some(Reverse((_, begins, index))) = self.events.peek().copied().filter(|event| event.0.0 == time) {
            self.events.pop();
            let holding = &horizon.occupations[index].holding;
            if begins { horizon.current.take(holding) } else { horizon.current.release(holding) }
        }
        horizon.now = time;
        if time >= horizon.claimed_until {
            horizon.cleared = None;
        }
        let past = horizon.ahead.partition_point(|(at, _)| *at <= time);
        horizon.ahead.drain(..past);
        horizon.forget_peaks();
        Some(time)
    }

    pub fn start(&mut self, holding: Rc<Holding>, span: Span) {
        let index = self.horizon.occupations.len();
        self.horizon.start(holding, span);
        self.events.push(Reverse((self.horizon.now + span, false, index)));
    }
}

/// The first time from `horizon` on at which the job fits for its whole length, and where.
pub(crate) fn earliest(horizon: &Horizon, demand: &Demand, ground: &Ground) -> Option<(Time, Placed)> {
    let mut walk = Walk::new(horizon);
    loop {
        let time = walk.step()?;
        if let Some(placed) = walk.horizon.fit(demand, ground) {
            return Some((time, placed));
        }
    }
}
