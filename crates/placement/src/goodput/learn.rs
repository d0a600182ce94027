//! From the step times a job has shown to [`StepTime`] everywhere: what it costs where it has not been yet.
//!
//! The fit is direct: relative least squares of two non-negative numbers each for computing and for the two exchanges, under each
//! of a few overlaps, of which the one with the least error is kept. What was not seen is taken to be good (no exchange on one machine
//! until it was measured, no cost for more ranks until two numbers of ranks were), so that a job is tried where it might do well;
//! the callers bound how far ahead of the measured it goes.

use super::model::{StepTime, overlapped};
use std::collections::BTreeMap;

/// Overlaps tried.
const OVERLAPS: [f64; 9] = [1.0, 1.2, 1.5, 2.0, 2.5, 3.5, 5.0, 7.0, 10.0];
/// An exchange between machines is taken to cost at least so much more than inside one, until it was measured.
const ACROSS_AT_LEAST: f64 = 1.1;
/// What a larger overlap must win in mean square error to be believed.
const OVERLAP_PRIOR: f64 = 1e-4;

/// Machines, ranks and samples a rank computes at once.
type Place = (u32, u32, u32);

/// Measured step times of one job, or of all jobs of a class.
#[derive(Clone, Debug, Default)]
pub struct Learner {
    /// Seconds of a pass alone, and of a pass with an exchange.
    seen: BTreeMap<Place, (f64, f64)>,
    fitted: Option<StepTime>,
    most_ranks: u32,
}

impl Learner {
    /// Takes a measurement (`pass` and `step` in seconds, `step` with the exchange). The first at a place counts. Says whether it was new.
    pub fn observe(&mut self, place: Place, pass: f64, step: f64) -> bool {
        if self.seen.contains_key(&place) || !(pass > 0.0 && step >= pass && step.is_finite()) {
            return false;
        }
        self.seen.insert(place, (pass, step));
        self.most_ranks = self.most_ranks.max(place.1);
        self.fitted = Some(fit(&self.seen));
        true
    }

    /// None before the first measurement.
    pub fn model(&self) -> Option<StepTime> {
        self.fitted
    }

    /// The most ranks it ran with.
    pub fn most_ranks(&self) -> u32 {
        self.most_ranks
    }
}

fn fit(seen: &BTreeMap<Place, (f64, f64)>) -> StepTime {
    let compute = compute(seen);
    let mut best: Option<(f64, StepTime)> = None;
    for overlap in OVERLAPS {
        let model = StepTime { compute, across: (0.0, 0.0), within: (0.0, 0.0), overlap };
        let exchange = |wide: bool| {
            let rows = seen.iter().filter(|((nodes, ranks, _), _)| *ranks > 1 && (*nodes > 1) == wide);
            let rows = rows.map(|((_, ranks, atomic), (pass, step))| {
                // Measured passes where there are any would be exact; the model's own keep the two halves consistent.
                let pass = 0.5 * (pass + model.pass(f64::from(*atomic)));
                let hidden = (step.powf(overlap) - pass.powf(overlap)).max(0.0).powf(1.0 / overlap);
                ((f64::from(*ranks) - 2.0).max(0.0), hidden, *step)
            });
            two_parts(&rows.collect::<Vec<_>>(), 0.0)
        };
        let (within, across) = (exchange(false).unwrap_or((0.0, 0.0)), exchange(true));
        let across = across.unwrap_or((within.0 * ACROSS_AT_LEAST, within.1 * ACROSS_AT_LEAST));
        let model = StepTime { within, across, ..model };
        let error = |((nodes, ranks, atomic), (_, step)): (&Place, &(f64, f64))| {
            let told = overlapped(model.pass(f64::from(*atomic)), model.exchange(*nodes, *ranks), overlap);
            (told / step).ln().powi(2)
        };
        let error = seen.iter().map(error).sum::<f64>() / seen.len().max(1) as f64 + OVERLAP_PRIOR * (overlap - 1.0);
        if best.is_none_or(|(least, _)| error < least) {
            best = Some((error, model));
        }
    }
    best.map_or(StepTime { compute, across: (0.0, 0.0), within: (0.0, 0.0), overlap: 1.0 }, |(_, model)| model)
}

/// Constant and slope of a pass. One batch size says nothing of the two: half each.
fn compute(seen: &BTreeMap<Place, (f64, f64)>) -> (f64, f64) {
    let rows: Vec<(f64, f64, f64)> = seen.iter().map(|((_, _, atomic), (pass, _))| (f64::from(*atomic), *pass, *pass)).collect();
    two_parts(&rows, 0.5).unwrap_or((0.0, 0.0))
}

/// `y = a + b x` with neither negative and least error relative to `scale`, over rows of (x, y, scale). Where all `x` are alike,
/// `slope_part` of `y` is given to the slope. None without rows.
fn two_parts(rows: &[(f64, f64, f64)], slope_part: f64) -> Option<(f64, f64)> {
    let (first, ..) = *rows.first()?;
    let sum = |of: &dyn Fn(f64, f64) -> f64| rows.iter().map(|(x, y, scale)| of(*x, *y) / (scale * scale).max(1e-18)).sum::<f64>();
    let (n, x, y) = (sum(&|_, _| 1.0), sum(&|x, _| x), sum(&|_, y| y));
    if rows.iter().all(|row| (row.0 - first).abs() < 1e-9) {
        let part = if first > 0.0 { slope_part } else { 0.0 };
        return Some((y / n * (1.0 - part), if part > 0.0 { y / n * part / first } else { 0.0 }));
    }
    let (xx, xy) = (sum(&|x, _| x * x), sum(&|x, y| x * y));
    let determinant = n * xx - x * x;
    let (a, b) = ((xx * y - x * xy) / determinant, (n * xy - x * y) / determinant);
    Some(match (a >= 0.0, b >= 0.0) {
        (true, true) => (a, b),
        (false, _) => (0.0, xy / xx),
        (true, false) => (y / n, 0.0),
    })
}
