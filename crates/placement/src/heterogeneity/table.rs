//! How fast each class of jobs runs on each type of device, measured or estimated.

/// Steps a second of a class of jobs (with its number of devices) by device type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Throughputs {
    /// By class, then by type; none: not measured; zero: does not run there.
    rows: Vec<Vec<Option<f64>>>,
    types: usize,
}

impl Throughputs {
    pub fn new(types: usize) -> Throughputs {
        Throughputs { rows: vec![], types }
    }

    /// A new class, not measured anywhere.
    pub fn add(&mut self) -> usize {
        self.rows.push(vec![None; self.types]);
        self.rows.len() - 1
    }

    /// Takes a measurement, in steps a second. What is no number is not taken.
    pub fn measure(&mut self, class: usize, of: usize, steps: f64) {
        if steps.is_finite() && steps >= 0.0 {
            self.rows[class][of] = Some(steps);
        }
    }

    pub fn measured(&self, class: usize, of: usize) -> Option<f64> {
        self.rows[class][of]
    }

    /// Steps a second of a class on every type. What was not measured is what was measured of it times the usual ratio of the two
    /// types: the median over the classes measured on both, in logarithms, so that a few odd classes do not spoil it. A class
    /// that was measured nowhere counts as one step a second on the fastest type; a pair of types never measured together as alike.
    pub fn of(&self, class: usize) -> Vec<f64> {
        let row = &self.rows[class];
        let known: Vec<(usize, f64)> = row.iter().enumerate().filter_map(|(of, steps)| Some((of, (*steps)?))).collect();
        let guess = |of: usize| {
            let mut guesses: Vec<f64> =
                known.iter().filter(|(_, steps)| *steps > 0.0).map(|(from, steps)| steps.ln() + self.ratio(*from, of)).collect();
            if guesses.is_empty() { self.ratio(self.fastest(), of).exp() } else { median(&mut guesses).exp() }
        };
        (0..self.types).map(|of| row[of].unwrap_or_else(|| guess(of))).collect()
    }

    /// Logarithm of how many times faster `to` is than `from`.
    fn ratio(&self, from: usize, to: usize) -> f64 {
        let both = |row: &Vec<Option<f64>>| Some((row[to]?.ln() - row[from]?.ln()).clamp(-20.0, 20.0)).filter(|ratio| !ratio.is_nan());
        median(&mut self.rows.iter().filter_map(both).collect::<Vec<f64>>())
    }

    fn fastest(&self) -> usize {
        (0..self.types).max_by(|a, b| self.ratio(0, *a).total_cmp(&self.ratio(0, *b)).then(b.cmp(a))).unwrap_or(0)
    }
}

/// Zero of nothing.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (n, half) if n % 2 == 1 => values[half],
        (_, half) => (values[half - 1] + values[half]) / 2.0,
    }
}
