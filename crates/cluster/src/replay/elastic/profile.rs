//! What was measured of training jobs: step times over placements and batches, gradients and progress over epochs.
//!
//! The format is that of the Pollux artifact (Qiao et al., OSDI 2021): per application `placements.csv` (a placement is
//! written as the ranks of each machine, `123` being three machines with one, two and three), `scalability.csv` and
//! `validation-B.csv` for several batch sizes B.

use super::hull;
use placement::goodput::{Batch, Noise};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// Something in a table that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table}, line {line}: {problem}")]
pub struct ProfileError {
    pub table: String,
    /// From 1, the header being line 1.
    pub line: usize,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the header lacks `{0}`")]
    NoColumn(&'static str),
    #[error("`{found}` is no number for `{column}`")]
    NoNumber { column: &'static str, found: String },
    #[error("no rows")]
    Empty,
    #[error("no application `{0}` was measured")]
    UnknownApplication(String),
}

impl ProfileError {
    pub fn hint(&self) -> &'static str {
        match self.problem {
            Problem::NoColumn(_) => "the tables are those of the Pollux artifact: placements.csv, scalability.csv, validation-B.csv",
            Problem::NoNumber { .. } => "write a plain number, without unit",
            Problem::Empty => "a header and at least one row are needed",
            Problem::UnknownApplication(_) => "give its measured tables, or take the job out of the workload",
        }
    }
}

/// Columns of a comma-separated table, found by name.
pub(super) struct Table<'a> {
    name: &'a str,
    columns: Vec<(&'static str, usize)>,
    rows: Vec<(usize, Vec<&'a str>)>,
}

impl<'a> Table<'a> {
    pub fn read(name: &'a str, text: &'a str, wanted: &[&'static str]) -> Result<Table<'a>, ProfileError> {
        let fail = |line, problem| ProfileError { table: name.to_string(), line, problem };
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, header) = lines.next().ok_or(fail(1, Problem::Empty))?;
        let header: Vec<&str> = header.split(',').map(str::trim).collect();
        let mut columns = vec![];
        for column in wanted {
            let at = header.iter().position(|name| name == column).ok_or(fail(1, Problem::NoColumn(column)))?;
            columns.push((*column, at));
        }
        let rows: Vec<_> = lines.map(|(index, line)| (index + 1, line.split(',').map(str::trim).collect())).collect();
        if rows.is_empty() { Err(fail(2, Problem::Empty)) } else { Ok(Table { name, columns, rows }) }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn text(&self, row: usize, column: usize) -> &'a str {
        self.rows[row].1.get(self.columns[column].1).copied().unwrap_or("")
    }

    pub fn number<T: std::str::FromStr>(&self, row: usize, column: usize) -> Result<T, ProfileError> {
        let found = self.text(row, column);
        let problem = || Problem::NoNumber { column: self.columns[column].0, found: found.to_string() };
        found.parse().map_err(|_| self.fault(row, problem()))
    }

    pub fn fault(&self, row: usize, problem: Problem) -> ProfileError {
        ProfileError { table: self.name.to_string(), line: self.rows[row].0, problem }
    }
}

/// One epoch at one batch size.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    progress: f64,
    noise: Noise,
}

/// Step and exchange, in seconds.
type Times = (f64, f64);

/// An application that was measured.
#[derive(Debug)]
pub struct Application {
    pub name: String,
    pub batch: Batch,
    /// Epochs until it is done.
    pub epochs: usize,
    /// By batch size: what each epoch was like.
    validation: BTreeMap<u32, Vec<Epoch>>,
    /// By placement: what each atomic batch took, in order of it.
    placements: HashMap<Vec<u32>, Vec<(f64, Times)>>,
    /// (machines, ranks, atomic batch) and what that took: placements of like size averaged, and the larger ones.
    points: Vec<hull::Point>,
    times: Vec<Times>,
    seen: RefCell<HashMap<(Vec<u32>, u32), Times>>,
}

/// The three kinds of tables of an application.
pub struct Tables<'a> {
    pub placements: &'a str,
    pub scalability: &'a str,
    /// Batch size and table.
    pub validation: Vec<(u32, &'a str)>,
}

/// Limits that the artifact sets by hand: epochs (least over the batch sizes if none), and the largest atomic batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub epochs: Option<usize>,
    pub most_atomic: Option<u32>,
}

impl Application {
    pub fn read(name: &str, tables: &Tables<'_>, limits: Limits) -> Result<Application, ProfileError> {
        let validation = read_validation(name, &tables.validation)?;
        let (placements, mut grouped) = read_placements(&format!("{name}/placements.csv"), tables.placements)?;
        let atomic_sizes = || placements.values().flatten().map(|(atomic, _)| *atomic as u32);
        let atomic = (atomic_sizes().min().unwrap_or(1), limits.most_atomic.or(atomic_sizes().max()).unwrap_or(1));
        grouped.extend(read_scalability(&format!("{name}/scalability.csv"), tables.scalability)?);
        let (points, times) = grouped.into_iter().unzip();
        let fewest = validation.values().map(Vec::len).min().unwrap_or(0);
        let sizes = (validation.keys().next().copied().unwrap_or(1), validation.keys().last().copied().unwrap_or(1));
        Ok(Application {
            name: name.to_string(),
            batch: Batch { first: sizes.0, largest: sizes.1, atomic, fixed: None },
            epochs: limits.epochs.unwrap_or(fewest).min(fewest),
            validation,
            placements,
            points,
            times,
            seen: RefCell::default(),
        })
    }

    /// Progress when that many epochs are done, in steps of the first batch size: the least over the batch sizes measured.
    pub fn progress(&self, epochs: usize) -> f64 {
        let Some(last) = epochs.checked_sub(1) else { return 0.0 };
        self.validation.values().map(|epochs| epochs[last.min(epochs.len() - 1)].progress).fold(f64::INFINITY, f64::min)
    }

    /// The gradient in an epoch (from 0), between the two nearest batch sizes measured.
    pub fn noise(&self, batch: u32, epoch: usize) -> Noise {
        let below = self.validation.range(..=batch).next_back().or(self.validation.iter().next());
        let above = self.validation.range(batch..).next().or(self.validation.iter().next_back());
        let (Some((low, lower)), Some((high, upper))) = (below, above) else { return Noise { square: 1.0, variance: 0.0 } };
        let (lower, upper) = (lower[epoch.min(lower.len() - 1)].noise, upper[epoch.min(upper.len() - 1)].noise);
        let part = if high == low { 0.0 } else { f64::from(batch - low) / f64::from(high - low) };
        let between = |a: f64, b: f64| a + part * (b - a);
        Noise { square: between(lower.square, upper.square), variance: between(lower.variance, upper.variance) }
    }

    /// Seconds of a step and, in it, of the exchange, with so many ranks on each machine.
    pub fn times(&self, placement: &[u32], atomic: u32) -> Times {
        let placement = smallest_rotation(placement);
        if let Some(known) = self.seen.borrow().get(&(placement.clone(), atomic)) {
            return *known;
        }
        let times = self.measured(&placement, atomic).unwrap_or_else(|| self.between(&placement, f64::from(atomic)));
        self.seen.borrow_mut().insert((placement, atomic), times);
        times
    }

    fn measured(&self, placement: &[u32], atomic: u32) -> Option<Times> {
        let rows = self.placements.get(placement)?;
        let at = f64::from(atomic);
        let above = rows.partition_point(|(size, _)| *size < at).clamp(1, rows.len() - 1);
        let ((low, a), (high, b)) = (rows[above - 1], rows[above]);
        let part = if high > low { ((at - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
        Some((a.0 + part * (b.0 - a.0), a.1 + part * (b.1 - a.1)))
    }

    /// Placements that were not measured: by machines, ranks and atomic batch. What lies outside everything measured is
    /// brought to its edge: fewer samples first, as the largest were not measured with many ranks.
    fn between(&self, placement: &[u32], atomic: f64) -> Times {
        let (nodes, ranks) = (placement.len().min(16) as f64, placement.iter().sum::<u32>() as f64);
        let mut at = [nodes, ranks, atomic];
        loop {
            if let Some(weights) = hull::weights(&self.points, at) {
                let mean = |of: fn(&Times) -> f64| weights.iter().map(|(index, weight)| weight * of(&self.times[*index])).sum();
                let (step, exchange): Times = (mean(|times| times.0), mean(|times| times.1));
                // A batch cut to the edge costs in proportion.
                return (exchange + (step - exchange) * atomic / at[2], exchange);
            }
            at[2] *= 0.95;
            if at[2] < 1.0 {
                at = [(at[0] - 1.0).max(1.0), (at[1] - 1.0).max(1.0), atomic];
            }
        }
    }
}

fn smallest_rotation(placement: &[u32]) -> Vec<u32> {
    let kept: Vec<u32> = placement.iter().copied().filter(|ranks| *ranks > 0).collect();
    let rotation = |by: usize| kept[by..].iter().chain(&kept[..by]).copied().collect::<Vec<u32>>();
    (0..kept.len()).map(rotation).min().unwrap_or_default()
}

fn read_validation(name: &str, tables: &[(u32, &str)]) -> Result<BTreeMap<u32, Vec<Epoch>>, ProfileError> {
    let mut validation = BTreeMap::new();
    for (batch, text) in tables {
        let table_name = format!("{name}/validation-{batch}.csv");
        let table = Table::read(&table_name, text, &["progress", "grad_sqr", "grad_var"])?;
        let mut epochs = vec![];
        for row in 0..table.len() {
            let noise = Noise { square: table.number(row, 1)?, variance: table.number(row, 2)? };
            epochs.push(Epoch { progress: table.number(row, 0)?, noise });
        }
        validation.insert(*batch, epochs);
    }
    if validation.is_empty() {
        return Err(ProfileError { table: format!("{name}/validation"), line: 1, problem: Problem::Empty });
    }
    Ok(validation)
}

type Placements = HashMap<Vec<u32>, Vec<(f64, Times)>>;
type Points = Vec<(hull::Point, Times)>;

fn read_placements(name: &str, text: &str) -> Result<(Placements, Points), ProfileError> {
    let table = Table::read(name, text, &["placement", "local_bsz", "step_time", "sync_time"])?;
    let mut placements = Placements::new();
    let mut groups: BTreeMap<(usize, u32, u32), Vec<Times>> = BTreeMap::new();
    for row in 0..table.len() {
        let digits: Option<Vec<u32>> = table.text(row, 0).chars().map(|c| c.to_digit(10)).collect();
        let wrong = || Problem::NoNumber { column: "placement", found: table.text(row, 0).to_string() };
        let digits = digits.filter(|digits| !digits.is_empty()).ok_or_else(|| table.fault(row, wrong()))?;
        let (atomic, times) = (table.number::<u32>(row, 1)?, (table.number(row, 2)?, table.number(row, 3)?));
        groups.entry((digits.len(), digits.iter().sum(), atomic)).or_default().push(times);
        placements.entry(digits).or_default().push((f64::from(atomic), times));
    }
    for rows in placements.values_mut() {
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        if rows.len() == 1 {
            rows.push(rows[0]);
        }
    }
    let mean = |times: &[Times]| {
        let count = times.len() as f64;
        (times.iter().map(|times| times.0).sum::<f64>() / count, times.iter().map(|times| times.1).sum::<f64>() / count)
    };
    let point = |(nodes, ranks, atomic): (usize, u32, u32)| [nodes as f64, f64::from(ranks), f64::from(atomic)];
    Ok((placements, groups.into_iter().map(|(at, times)| (point(at), mean(&times))).collect()))
}

fn read_scalability(name: &str, text: &str) -> Result<Points, ProfileError> {
    let table = Table::read(name, text, &["num_nodes", "num_replicas", "local_bsz", "step_time", "sync_time"])?;
    let point =
        |row| Ok(([table.number(row, 0)?, table.number(row, 1)?, table.number(row, 2)?], (table.number(row, 3)?, table.number(row, 4)?)));
    (0..table.len()).map(point).collect()
}
