//! What free room is worth: how much of it is expected to stay unused.
//!
//! For each device the expected idle part at the end, given what is free on it, how many CPUs come to it in proportion, the
//! shape of its machine and how full the fleet is. The worth of a machine is the sum over its devices, so a placement is
//! judged by what it does to that sum. Tables, filled by [`crate::packing::Learner`].

use crate::packing::demand::Demand;
use crate::packing::filter::shared_choices;
use crate::packing::model::{Free, MAX_DEVICES, MAX_KINDS, Request, Shape, WHOLE};
use crate::packing::reserve::Prices;

/// Demand that arrived, as a part of the devices there are, at which a phase ends.
const PHASES: [f32; 18] = [0.25, 0.45, 0.6, 0.7, 0.77, 0.82, 0.86, 0.89, 0.915, 0.935, 0.95, 0.965, 0.98, 1.0, 1.02, 1.05, 1.1, 1.17];
const PHASE_COUNT: usize = PHASES.len() + 1;

/// Idle devices count at two moments: when as much was asked as there is, and under lasting overload.
pub const CHECKPOINTS: usize = 2;
pub(crate) const CHECKPOINT: [f32; CHECKPOINTS] = [1.0, f32::INFINITY];
pub(crate) const CHECKPOINT_WEIGHT: [f32; CHECKPOINTS] = [0.5, 0.5];

/// How much demand must fall below the end of a phase before the phase is gone back to: churn would flicker.
const SLACK: f32 = 0.005;

const CPU_CLASSES: usize = 24;
/// So many of them end at popular amounts; the others fill the gaps.
const POPULAR: usize = 12;
/// CPUs are looked up in steps of 64 thousandths, up to 65.
const CPU_STEPS: usize = 1024;
const SHARES: usize = 100;
const WHOLES: usize = MAX_DEVICES + 1;
/// Part of a row that holds shared devices; whole ones, by their number, follow.
const ROW: usize = SHARES + WHOLES;
const SHAPE_GROUPS: usize = 32;

/// How far the fleet is on its way from empty to overfull.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    pub phase: u8,
    /// The next checkpoint.
    pub checkpoint: u8,
}

impl Moment {
    /// After demand for `pressure` of the devices there are.
    pub fn at(pressure: f32) -> Moment {
        let phase = PHASES.iter().filter(|end| pressure > **end).count() as u8;
        let checkpoint = CHECKPOINT.iter().filter(|at| pressure >= **at).count() as u8;
        Moment { phase, checkpoint }
    }

    /// The moment that follows: forward at once, back only when demand has fallen clearly.
    pub fn next(self, pressure: f32) -> Moment {
        let (now, eased) = (Moment::at(pressure), Moment::at(pressure + SLACK));
        Moment {
            phase: if now.phase >= self.phase { now.phase } else { eased.phase.min(self.phase) },
            checkpoint: if now.checkpoint >= self.checkpoint { now.checkpoint } else { eased.checkpoint.min(self.checkpoint) },
        }
    }
}

/// The tables.
#[derive(Clone, Debug)]
pub struct Values {
    group_of: Vec<u8>,
    groups: usize,
    /// CPU class of each step.
    classes: Vec<u8>,
    cells: Vec<f32>,
    /// Of taking a whole device of each model, from each checkpoint on.
    prices: Vec<[f32; CHECKPOINTS + 1]>,
    /// The same per checkpoint, for weighing what stays idle.
    weights: Vec<[f32; CHECKPOINTS]>,
}

impl Values {
    /// Before anything is learned: partly used devices are likely to lose what is left, the more so the fewer CPUs come
    /// to it.
    pub fn guess(shapes: &[Shape], demand: &Demand) -> Values {
        let (group_of, groups) = group_shapes(shapes);
        let mut values = Values {
            group_of,
            groups,
            classes: cpu_classes(demand),
            cells: vec![0.0; PHASE_COUNT * groups * CPU_CLASSES * ROW],
            prices: vec![],
            weights: vec![],
        };
        for cell in 0..values.cells.len() {
            let (at, class) = (cell % ROW, (cell / ROW % CPU_CLASSES) as f32);
            values.cells[cell] = if at < SHARES { at as f32 / 100.0 * (0.6 - 0.02 * class) } else { 0.3 - 0.02 * class };
        }
        values.price(&Prices::new(&[], &[]));
        values
    }

    pub(crate) fn price(&mut self, prices: &Prices) {
        self.weights = (0..MAX_KINDS as u8).map(|kind| std::array::from_fn(|at| CHECKPOINT_WEIGHT[at] * prices.of(kind, at))).collect();
        let from = |weights: &[f32; CHECKPOINTS], at: usize| weights[at..].iter().sum();
        self.prices = self.weights.iter().map(|weights| std::array::from_fn(|at| from(weights, at))).collect();
    }

    /// What a thousand thousandths of an idle device cost at a checkpoint.
    pub(crate) fn weight(&self, kind: u8, checkpoint: usize) -> f32 {
        self.weights[usize::from(kind)][checkpoint]
    }

    pub(crate) fn cells(&self) -> usize {
        self.cells.len()
    }

    fn block(&self, moment: Moment, shape: u16) -> usize {
        let group = usize::from(self.group_of[usize::from(shape)]);
        (usize::from(moment.phase) * self.groups + group) * CPU_CLASSES * ROW
    }

    #[inline]
    fn class(&self, cpu: f32) -> usize {
        usize::from(self.classes[(cpu as usize >> 6).min(CPU_STEPS - 1)])
    }

    /// Where what is known of one device of a sorted state is kept. Nothing for a device without room.
    pub(crate) fn cell(&self, moment: Moment, shape: u16, free: &Free, share: u16, whole: usize) -> Option<usize> {
        let total = free.total();
        if share == 0 || total == 0 {
            return None;
        }
        let row = self.block(moment, shape) + self.class(free.cpu as f32 / total as f32 * f32::from(share)) * ROW;
        Some(if share == WHOLE { row + SHARES + whole } else { row + usize::from(share / 10) })
    }

    /// Expected idle devices of a machine, priced.
    pub fn potential(&self, moment: Moment, shape: u16, free: &Free) -> f32 {
        let total = free.total();
        if total == 0 {
            return 0.0;
        }
        self.sum(self.block(moment, shape), free.cpu as f32 / total as f32, free, free.whole())
    }

    #[inline]
    fn shared(&self, block: usize, ratio: f32, share: u16) -> f32 {
        if share == 0 { 0.0 } else { self.cells[block + self.class(ratio * f32::from(share)) * ROW + usize::from(share / 10)] }
    }

    #[inline]
    fn wholes(&self, block: usize, ratio: f32, whole: usize) -> f32 {
        whole as f32 * self.cells[block + self.class(ratio * f32::from(WHOLE)) * ROW + SHARES + whole]
    }

    #[inline]
    fn sum(&self, block: usize, ratio: f32, free: &Free, whole: usize) -> f32 {
        let mut sum = self.wholes(block, ratio, whole);
        for share in &free.share[whole..] {
            if *share == 0 {
                break;
            }
            sum += self.shared(block, ratio, *share);
        }
        sum
    }

    /// What a placement costs, and the device of the sorted state that is best for a share.
    pub fn cost(&self, moment: Moment, number: u16, kind: u8, free: &Free, potential: f32, request: &Request) -> (f32, u8) {
        let price = self.prices[usize::from(kind)][usize::from(moment.checkpoint)] * request.amount() as f32 / 1000.0;
        let base = price - potential;
        let total = free.total() - request.amount();
        let block = self.block(moment, number);
        let ratio = if total == 0 { 0.0 } else { (free.cpu - request.cpu) as f32 / total as f32 };
        let whole = free.whole();
        if request.share != WHOLE && request.devices == 1 {
            return self.cheapest_share(block, ratio, free, base, request);
        }
        let taken = usize::from(request.devices);
        // Without the taken devices, which are among the first.
        let mut sum = self.wholes(block, ratio, whole - taken);
        for share in free.share[whole..].iter().take_while(|share| **share > 0) {
            sum += self.shared(block, ratio, *share);
        }
        (base + sum, 0)
    }

    fn cheapest_share(&self, block: usize, ratio: f32, free: &Free, base: f32, request: &Request) -> (f32, u8) {
        let whole = free.whole();
        let all = base + self.sum(block, ratio, free, whole);
        let mut best = (f32::INFINITY, 0);
        for device in shared_choices(free, request) {
            let share = free.share[device];
            let without = if share == WHOLE {
                self.wholes(block, ratio, whole - 1) - self.wholes(block, ratio, whole)
            } else {
                -self.shared(block, ratio, share)
            };
            let cost = all + without + self.shared(block, ratio, share - request.share);
            if cost < best.0 {
                best = (cost, device as u8);
            }
        }
        best
    }

    /// Takes over what was observed: (sum, times) of the idle part, a cell each. A cell seldom seen leans on the same
    /// cell of all shapes, and that on all CPU classes; `lean` is how many observations that counts as.
    pub(crate) fn fit(&mut self, seen: &[(f32, f32)], lean: f32) {
        let row_of = |phase: usize, group: usize, class: usize| ((phase * self.groups + group) * CPU_CLASSES + class) * ROW;
        for phase in 0..PHASE_COUNT {
            for share in 0..SHARES {
                let mut by_class = [(0.0, 0.0); CPU_CLASSES];
                for (class, sum) in by_class.iter_mut().enumerate() {
                    (0..self.groups).for_each(|group| add(sum, seen[row_of(phase, group, class) + share]));
                }
                let mut all = (0.0, 0.0);
                by_class.iter().for_each(|class| add(&mut all, *class));
                let most = share as f32 / 100.0;
                let overall = blend(all, lean, most * 0.5);
                for (class, sum) in by_class.iter().enumerate() {
                    let of_class = blend(*sum, lean, overall);
                    for group in 0..self.groups {
                        let cell = row_of(phase, group, class) + share;
                        self.cells[cell] = blend(seen[cell], lean, of_class).min(most.max(0.01));
                    }
                }
            }
            for class in 0..CPU_CLASSES {
                let mut all = (0.0, 0.0);
                let whole_of = |group: usize| row_of(phase, group, class) + SHARES;
                let sum_of = |group: usize| {
                    let mut sum = (0.0, 0.0);
                    seen[whole_of(group)..whole_of(group) + WHOLES].iter().for_each(|cell| add(&mut sum, *cell));
                    sum
                };
                (0..self.groups).for_each(|group| add(&mut all, sum_of(group)));
                let overall = blend(all, lean, 0.03);
                for group in 0..self.groups {
                    let of_group = blend(sum_of(group), lean, overall);
                    for whole in 1..WHOLES {
                        let cell = whole_of(group) + whole;
                        self.cells[cell] = blend(seen[cell], lean, of_group);
                    }
                }
            }
        }
    }
}

fn add(sum: &mut (f32, f32), more: (f32, f32)) {
    sum.0 += more.0;
    sum.1 += more.1;
}

fn blend(seen: (f32, f32), lean: f32, otherwise: f32) -> f32 {
    (seen.0 + lean * otherwise) / (seen.1 + lean)
}

/// Shapes with devices get a table each, until there are too many: then the most alike of the same model share one.
fn group_shapes(shapes: &[Shape]) -> (Vec<u8>, usize) {
    let ratio = |shape: &Shape| f64::from(shape.cpu) / f64::from(shape.devices.max(1));
    let mut first: Vec<&Shape> = vec![];
    let mut group_of = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let alike =
            |other: &Shape| (other.kind, other.devices, other.cpu, other.memory) == (shape.kind, shape.devices, shape.cpu, shape.memory);
        let group = match first.iter().position(|other| alike(other)) {
            Some(group) => group,
            None if first.len() < SHAPE_GROUPS => {
                first.push(shape);
                first.len() - 1
            }
            None => {
                let far = |other: &Shape| {
                    let kind = f64::from(u8::from(other.kind != shape.kind)) * 1e9;
                    kind + (ratio(other) - ratio(shape)).abs() + f64::from(other.devices.abs_diff(shape.devices))
                };
                (0..first.len()).min_by(|a, b| far(first[*a]).total_cmp(&far(first[*b]))).unwrap_or(0)
            }
        };
        group_of.push(group as u8);
    }
    (group_of, first.len().max(1))
}

/// Splits CPU amounts at those that are asked for most, so that "enough for the usual request" is one class.
fn cpu_classes(demand: &Demand) -> Vec<u8> {
    let mut asked: std::collections::BTreeMap<u32, u64> = std::collections::BTreeMap::new();
    for (request, count) in demand.iter().filter(|(request, _)| request.devices > 0 && request.cpu > 0) {
        *asked.entry(request.cpu / u32::from(request.devices)).or_default() += count * u64::from(request.amount());
    }
    let mut by_weight: Vec<(u32, u64)> = asked.into_iter().collect();
    by_weight.sort_by_key(|(cpu, weight)| (std::cmp::Reverse(*weight), *cpu));
    let mut ends: Vec<u32> = vec![];
    for (cpu, _) in by_weight {
        let near = |other: &u32| cpu.abs_diff(*other) * 25 < cpu.max(*other);
        if ends.len() < POPULAR && !ends.iter().any(near) {
            ends.push(cpu);
        }
    }
    let mut step = 1000;
    while ends.len() < CPU_CLASSES - 1 {
        if !ends.iter().any(|end| end.abs_diff(step) * 8 < step) {
            ends.push(step);
        }
        step = step * 5 / 4 + 1;
    }
    (0..CPU_STEPS).map(|step| ends.iter().filter(|end| step >= **end as usize >> 6).count() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packing::model::KindSet;

    fn asking(cpus: &[u32]) -> Demand {
        let requests: Vec<Request> = cpus.iter().map(|cpu| Request::new(*cpu, 1, 1, 1000, KindSet::ANY).unwrap()).collect();
        Demand::of(&requests)
    }

    #[test]
    fn enough_for_a_usual_request_is_a_class_of_its_own() {
        let classes = cpu_classes(&asking(&[3200, 11_264, 11_264, 12_800]));
        let class = |cpu: usize| classes[cpu >> 6];
        for cpu in [3200, 11_264, 12_800] {
            assert!(class(cpu - 64) < class(cpu), "{cpu}");
        }
        assert!(classes.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(classes.iter().all(|class| usize::from(*class) < CPU_CLASSES));
        assert_eq!(cpu_classes(&Demand::default()).len(), CPU_STEPS, "without demand there is still a grid");
    }

    #[test]
    fn rarely_seen_cells_lean_on_their_like() {
        let shapes = [0, 1].map(|kind| Shape { kind, devices: 2, cpu: 16_000, memory: 1, device_memory: 0 });
        let mut values = Values::guess(&shapes, &asking(&[4000]));
        let mut seen = vec![(0.0, 0.0); values.cells()];
        let free = |share: u16| {
            let mut free = shapes[0].free();
            (free.share[0], free.share[1]) = (share, 0);
            free
        };
        let cell = values.cell(Moment::default(), 0, &free(190), 190, 0).unwrap();
        seen[cell] = (190.0, 1000.0);
        values.fit(&seen, 10.0);
        let (own, alike) = (values.potential(Moment::default(), 0, &free(190)), values.potential(Moment::default(), 1, &free(190)));
        assert!((own - 0.19).abs() < 0.002, "{own}");
        assert!((alike - 0.19).abs() < 0.002, "another shape has nothing better to go by: {alike}");
        let unseen = values.potential(Moment::at(1.2), 0, &free(190));
        assert!((unseen - 0.095).abs() < 1e-6, "half of it, where nothing was ever seen: {unseen}");
        assert_eq!(values.cell(Moment::default(), 0, &free(0), 0, 0), None);
    }
}
