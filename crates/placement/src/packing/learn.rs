//! How values are learned: the fleet is filled over and over in simulation, by the policy itself, with requests drawn
//! from the demand, and each time it is seen what stayed idle in the end.
//!
//! Each simulated day starts from an empty fleet and ends when 1.3 times its devices were asked for. Each state a device
//! was in that day is charged with what remained of the device at the checkpoints. Policy and values then
//! agree with each other after some tens of days (policy iteration with Monte Carlo values; Sutton and Barto, "Reinforcement
//! Learning", 2nd edition, chapter 5). A few placements are drawn at random, so that other states are seen, too.

use crate::packing::demand::Demand;
use crate::packing::fleet::Fleet;
use crate::packing::model::{MAX_DEVICES, Shape};
use crate::packing::pack::{Packer, Seeded};
use crate::packing::policy::Ashlar;
use crate::packing::reserve::{Prices, nothing_refused};
use crate::packing::values::{CHECKPOINT_WEIGHT, CHECKPOINTS, Moment, Values};

/// How long and how hard to learn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// Simulated days.
    pub days: u32,
    /// Machines of the simulated fleet, about; a larger fleet is learned on a smaller one of the same mix.
    pub machines: usize,
    /// What the random draws start from.
    pub seed: u64,
}

impl Default for Course {
    fn default() -> Course {
        Course { days: 80, machines: 1500, seed: 1 }
    }
}

/// Demand of a day, as a part of the devices there are.
const DAY: f64 = 1.3;
/// One in this many placements of a day is drawn.
const TRY: u64 = 50;
/// Weight of all earlier days against the next one, at most: the first days are forgotten sooner, their policy was poor.
const MEMORY: f32 = 0.98;
/// Observations that what is known of alike states counts as.
const LEAN: f32 = 10.0;

/// The last days are the same day, without trials: the values that do best on it are taken.
const EXAMS: u32 = 15;

/// What a day showed of the values it began with: devices held in the end, and over the checkpoints, as parts of all.
#[derive(Clone, Copy, Debug, Default)]
struct DayResult {
    held: f64,
    score: f64,
}

/// A device as it was at a moment of the day, and where what becomes of it is to be noted.
struct Sighting {
    machine: u32,
    device: u8,
    checkpoint: u8,
    cell: u32,
}

/// Learns about one fleet.
#[derive(Clone, Debug)]
pub struct Learner {
    shapes: Vec<Shape>,
    machines: Vec<u16>,
    course: Course,
    seen: Vec<(f32, f32)>,
    prices: Prices,
    days: u64,
}

impl Learner {
    /// Of a fleet only the number of machines of each shape matters.
    pub fn new(fleet: &Fleet, course: Course) -> Learner {
        let shapes = fleet.shapes().to_vec();
        let mut counts = vec![0usize; shapes.len()];
        for machine in 0..fleet.len() as u32 {
            counts[usize::from(fleet.shape_of(machine).0)] += 1;
        }
        // Machines without devices have nothing to lose, but CPUs to offer.
        let scale = (course.machines.max(1) as f64 / fleet.len().max(1) as f64).min(1.0);
        let mut machines = vec![];
        for (shape, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let part = ((*count as f64 * scale).round() as usize).max(1);
            machines.extend(std::iter::repeat_n(shape as u16, part));
        }
        let prices = Prices::new(&shapes, &machines);
        Learner { shapes, machines, course, seen: vec![], prices, days: 0 }
    }

    /// Learns for the days of the course. `progress` is told after each day what part of the devices was held in the end.
    pub fn study(&mut self, mut values: Values, demand: &Demand, mut progress: impl FnMut(u32, f64)) -> Values {
        let mut best: Option<(f64, Values)> = None;
        for day in 0..self.course.days {
            let exam = day + EXAMS >= self.course.days;
            let examined = exam.then(|| values.clone());
            let (after, result) = self.day(values, demand, exam);
            if let Some(examined) = examined
                && best.as_ref().is_none_or(|(score, _)| result.score > *score)
            {
                best = Some((result.score, examined));
            }
            values = after;
            progress(day + 1, result.held);
        }
        best.map_or(values, |(_, values)| values)
    }

    /// One day, and the values after it.
    fn day(&mut self, values: Values, demand: &Demand, exam: bool) -> (Values, DayResult) {
        let fleet = Fleet::new(self.shapes.clone(), &self.machines, vec![]);
        let capacity = fleet.capacity();
        if capacity == 0 || demand.iter().all(|(request, _)| request.devices == 0) {
            return (values, DayResult::default());
        }
        self.seen.resize(values.cells(), (0.0, 0.0));
        let mut seeded =
            Seeded(self.course.seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(if exam { u64::MAX / 2 } else { self.days }));
        let seed = seeded.next_number();
        let mut packer = Packer::new(fleet, Ashlar::fixed(values), seed);
        let lottery = demand.lottery();
        let (mut sightings, mut snapshots, mut refused) = (vec![], vec![], nothing_refused());
        look_around(&packer, Moment::default(), &mut sightings);
        let (mut asked, mut draws) = (0u64, 0u32);
        let most = 64 * self.machines.len() as u32 + 10_000;
        while (asked as f64) < DAY * capacity as f64 && draws < most {
            let Some(request) = lottery.draw(&mut seeded) else { break };
            draws += 1;
            asked += u64::from(request.amount());
            let before = packer.policy().moment();
            let chance = !exam && seeded.below(TRY) == 0;
            let at = if chance { packer.decide_any(&request) } else { packer.decide(&request) };
            match packer.settle(&request, at) {
                Some(at) => look(&packer, at.machine, before, &mut sightings),
                None => self.prices.refuse(&mut refused, &request, usize::from(before.checkpoint)),
            }
            let after = packer.policy().moment();
            if after.checkpoint > before.checkpoint {
                snapshots.push(shares(packer.fleet()));
            }
            if after.phase > before.phase {
                look_around(&packer, after, &mut sightings);
            }
        }
        let end = shares(packer.fleet());
        snapshots.resize(CHECKPOINTS, end);
        let held = |at: usize| 1.0 - snapshots[at].iter().flatten().map(|share| f64::from(*share)).sum::<f64>() / capacity as f64;
        let score = (0..CHECKPOINTS).map(|at| f64::from(CHECKPOINT_WEIGHT[at]) * held(at)).sum();
        let result = DayResult { held: held(CHECKPOINTS - 1), score };
        self.days += 1;
        (self.conclude(packer.into_policy().into_values(), &sightings, &snapshots, &refused), result)
    }

    fn conclude(
        &mut self,
        mut values: Values,
        sightings: &[Sighting],
        snapshots: &[Vec<[u16; MAX_DEVICES]>],
        refused: &[[f32; CHECKPOINTS]],
    ) -> Values {
        let memory = (1.0 - 2.0 / (self.days as f32 + 4.0)).min(MEMORY);
        self.seen.iter_mut().for_each(|(sum, times)| (*sum, *times) = (*sum * memory, *times * memory));
        for sighting in sightings {
            let (machine, device) = (sighting.machine as usize, usize::from(sighting.device));
            let kind = self.shapes[usize::from(self.machines[machine])].kind;
            let left = |at: usize| values.weight(kind, at) * f32::from(snapshots[at][machine][device]) / 1000.0;
            let cell = &mut self.seen[sighting.cell as usize];
            cell.0 += (usize::from(sighting.checkpoint)..CHECKPOINTS).map(left).sum::<f32>();
            cell.1 += 1.0;
        }
        self.prices.learn(&refused.to_vec());
        values.price(&self.prices);
        values.fit(&self.seen, LEAN);
        values
    }
}

fn look(packer: &Packer<Ashlar>, machine: u32, moment: Moment, sightings: &mut Vec<Sighting>) {
    let (free, shape) = (packer.fleet().free(machine), packer.fleet().shape_of(machine).0);
    let whole = free.whole();
    for (device, share) in free.share.iter().enumerate().filter(|(_, share)| **share > 0) {
        if let Some(cell) = packer.policy().values().cell(moment, shape, free, *share, whole) {
            sightings.push(Sighting { machine, device: device as u8, checkpoint: moment.checkpoint, cell: cell as u32 });
        }
    }
}

fn look_around(packer: &Packer<Ashlar>, moment: Moment, sightings: &mut Vec<Sighting>) {
    for machine in 0..packer.fleet().len() as u32 {
        look(packer, machine, moment, sightings);
    }
}

fn shares(fleet: &Fleet) -> Vec<[u16; MAX_DEVICES]> {
    (0..fleet.len() as u32).map(|machine| fleet.free(machine).share).collect()
}
