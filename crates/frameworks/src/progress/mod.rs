//! How far a program has got, from what it prints anyway.
//!
//! Known are the forms that training programs commonly print: `step 120/1000 loss=0.31` and its relatives, tqdm's bars,
//! the dictionaries of Hugging Face's Trainer, Lightning, Keras, and lines of JSON (see [`line`]). A line that is none of
//! these changes nothing. Everything kept is bounded, whatever a program prints.

mod line;

pub use line::{Line, Seen, read_line};

/// Points of a curve that are kept; beyond, every second one is dropped.
pub const CURVE_POINTS: usize = 512;

/// A value of the loss at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub step: u64,
    pub loss: f64,
}

/// What the lines so far say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The step and how many there are, as the program counts them.
    pub step: Option<u64>,
    pub steps: Option<u64>,
    /// The epoch and how many there are.
    pub epoch: Option<f64>,
    pub epochs: Option<u64>,
    pub loss: Option<f64>,
    /// Seconds that are left, where the program says so itself.
    pub seconds_left: Option<u64>,
    /// The step of the first line that had one: a program that goes on from a checkpoint does not begin at 1.
    pub first_step: Option<u64>,
    /// Steps from the first line to the second: a program may print every hundredth.
    spacing: Option<u64>,
    /// In order of steps.
    pub curve: Vec<Point>,
    stride: u64,
    skipped: u64,
    /// Steps of bars that have begun anew, as they do with every epoch.
    before: u64,
}

impl Progress {
    /// Takes whole lines; bars that overwrite themselves are lines that end in a carriage return.
    pub fn read(&mut self, text: &str) {
        text.split(['\n', '\r']).filter_map(read_line).for_each(|line| self.take(&line));
    }

    pub fn take(&mut self, line: &Line) {
        if let Some(step) = line.step {
            if self.step.is_some_and(|last| step < last) {
                self.before += self.steps.or(self.step).unwrap_or(0);
            }
            let first = *self.first_step.get_or_insert(step);
            if step > first {
                self.spacing.get_or_insert(step - first);
            }
            self.step = Some(step);
            self.steps = line.steps.or(self.steps);
        }
        if line.step.is_some() || line.left.is_some() {
            self.seconds_left = line.left;
        }
        self.epoch = line.epoch.or(self.epoch);
        self.epochs = line.epochs.or(self.epochs);
        if let Some(loss) = line.loss {
            self.loss = Some(loss);
            self.draw(loss);
        }
    }

    fn draw(&mut self, loss: f64) {
        let next = self.curve.last().map_or(1, |point| point.step + 1);
        let step = self.step.map_or(next, |step| self.before.saturating_add(step));
        match self.curve.last_mut() {
            // A bar shows the same step many times.
            Some(last) if last.step >= step => *last = Point { step: last.step, loss },
            _ if self.skipped + 1 < self.stride => self.skipped += 1,
            _ => {
                self.skipped = 0;
                self.curve.push(Point { step, loss });
            }
        }
        if self.curve.len() > CURVE_POINTS {
            let mut nth = 0;
            self.curve.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.stride = self.stride.max(1) * 2;
        }
    }

    /// Nothing was recognised.
    pub fn is_empty(&self) -> bool {
        self.step.is_none() && self.epoch.is_none() && self.loss.is_none()
    }

    /// Part done, 0 to 1: by steps, or by epochs where steps have no end.
    pub fn fraction(&self) -> Option<f64> {
        let of = |done: f64, all: u64| (all > 0).then(|| (done / all as f64).clamp(0.0, 1.0));
        match (self.step, self.steps, self.epoch, self.epochs) {
            // A bar for each epoch.
            (Some(step), Some(steps), Some(epoch), Some(epochs)) if self.before > 0 || epochs > 1 && epoch.fract() == 0.0 => {
                of((epoch - 1.0).max(0.0) + of(step as f64, steps)?, epochs)
            }
            (Some(step), Some(steps), ..) => of(step as f64, steps),
            (_, _, Some(epoch), Some(epochs)) => of(epoch, epochs),
            _ => None,
        }
    }

    /// Seconds left, as the program says or in proportion to the `seconds` that this attempt has run.
    pub fn left(&self, seconds: u64) -> Option<u64> {
        if self.seconds_left.is_some() {
            return self.seconds_left;
        }
        let done = self.fraction()?;
        // What the first line stands for took as many steps as the next one did.
        let begun = match (self.first_step, self.spacing, self.steps) {
            (Some(first), Some(spacing), Some(steps)) if steps > 0 && self.before == 0 => {
                first.saturating_sub(spacing) as f64 / steps as f64
            }
            _ => 0.0,
        };
        (done > begun).then(|| (seconds as f64 * (1.0 - done) / (done - begun)).round().min(1e12) as u64)
    }
}

#[cfg(test)]
mod tests;
