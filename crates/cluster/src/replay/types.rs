//! Jobs of fixed size on several types of devices, in simulated time: rounds, measured speeds, traces of arrivals.
//!
//! The formats are those of Gavel (Narayanan et al., OSDI 2020; stanford-futuredata/gavel): a JSON table of steps a second by
//! device type and class (`"('LM (batch size 5)', 2)"`: two devices), and traces with tabs between columns. Time goes in rounds
//! (360 s): the policy says who runs on what, those run the whole round or until they end, and stopping and moving cost nothing.

use placement::heterogeneity::{Goal, Rounds, Throughputs, TypedJob, equal_shares, rate};
use std::collections::BTreeMap;

/// Something in a file that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypesError {
    #[error("the table of speeds: {0}")]
    Table(String),
    #[error("the table of speeds has no device type `{0}`")]
    NoType(String),
    #[error("line {line}: {found} columns between tabs, traces have 7, 9 or 10")]
    Columns { line: usize, found: usize },
    #[error("line {line}: `{found}` is no number for {column}")]
    NoNumber { line: usize, column: &'static str, found: String },
    #[error("line {line}: no device type has a speed for `{class}` with {devices} devices")]
    NotMeasured { line: usize, class: String, devices: u32 },
    #[error("line {line}: {devices} devices, no type has more than {most}")]
    TooLarge { line: usize, devices: u32, most: u32 },
}

impl TypesError {
    pub fn hint(&self) -> &'static str {
        match self {
            TypesError::Table(_) | TypesError::NoType(_) => "give Gavel's simulation_throughputs.json, unpacked",
            TypesError::Columns { .. } | TypesError::NoNumber { .. } => "give one of Gavel's .trace files, unpacked",
            TypesError::NotMeasured { .. } => "measure it, or take the job out of the trace",
            TypesError::TooLarge { .. } => "give the cluster more devices of a type, or take the job out of the trace",
        }
    }
}

/// Device types of a cluster: names as in the table of speeds, and devices of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Types {
    pub names: Vec<String>,
    pub devices: Vec<u32>,
}

/// Measured steps a second by class and number of devices: one for each type of a cluster, zero where it does not run.
pub type Speeds = BTreeMap<(String, u32), Vec<f64>>;

pub fn parse_speeds(text: &str, types: &Types) -> Result<Speeds, TypesError> {
    let table: BTreeMap<String, BTreeMap<String, BTreeMap<String, serde_json::Value>>> =
        serde_json::from_str(text).map_err(|error| TypesError::Table(error.to_string()))?;
    let mut speeds = Speeds::new();
    for (of, name) in types.names.iter().enumerate() {
        for (key, row) in table.get(name).ok_or_else(|| TypesError::NoType(name.clone()))? {
            let wrong = || TypesError::Table(format!("`{key}` is no class and number of devices"));
            let (class, devices) =
                key.strip_prefix("('").and_then(|key| key.strip_suffix(')')).and_then(|key| key.rsplit_once("', ")).ok_or_else(wrong)?;
            let devices = devices.parse().map_err(|_| wrong())?;
            if let Some(alone) = row.get("null").and_then(serde_json::Value::as_f64).filter(|alone| *alone >= 0.0) {
                speeds.entry((class.to_string(), devices)).or_insert_with(|| vec![0.0; types.names.len()])[of] = alone;
            }
        }
    }
    Ok(speeds)
}

/// A job of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceJob {
    pub class: String,
    pub devices: u32,
    pub steps: f64,
    /// Seconds since the trace began.
    pub arrives: f64,
}

/// Reads a trace. The second list says which jobs are left out: those that were not measured on any type with enough devices.
pub fn parse_trace(text: &str, speeds: &Speeds, types: &Types) -> Result<(Vec<TraceJob>, Vec<TypesError>), TypesError> {
    let most = types.devices.iter().copied().max().unwrap_or(0);
    let (mut jobs, mut left_out) = (vec![], vec![]);
    for (index, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        let (line, fields) = (index + 1, row.split('\t').collect::<Vec<&str>>());
        // Columns of steps, devices and arrival in the three layouts there are.
        let (steps, devices, arrives) = match fields.len() {
            7 => (4, 6, 5),
            9 => (4, 5, 8),
            10 => (5, 6, 9),
            found => return Err(TypesError::Columns { line, found }),
        };
        let number = |at: usize, column| {
            let found = fields[at].trim();
            let wrong = || TypesError::NoNumber { line, column, found: found.to_string() };
            found.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0).ok_or_else(wrong)
        };
        let job = TraceJob {
            class: fields[0].trim().to_string(),
            steps: number(steps, "steps")?.max(1.0),
            devices: number(devices, "devices")?.max(1.0) as u32,
            arrives: number(arrives, "arrival")?,
        };
        let known = speeds.get(&(job.class.clone(), job.devices));
        let fits = known.is_some_and(|known| known.iter().zip(&types.devices).any(|(speed, count)| *speed > 0.0 && job.devices <= *count));
        match (fits, job.devices > most) {
            (true, _) => jobs.push(job),
            (false, true) => left_out.push(TypesError::TooLarge { line, devices: job.devices, most }),
            (false, false) => left_out.push(TypesError::NotMeasured { line, class: job.class, devices: job.devices }),
        }
    }
    Ok((jobs, left_out))
}

/// A round's decision that cannot stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypedFault {
    #[error("{given} of {there} devices of type {of} given away")]
    Overcommitted { of: usize, given: u32, there: u32 },
    #[error("nobody runs though somebody could")]
    Idle,
}

/// Completion times of a run, in seconds, and by how much jobs were behind an equal share.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct TypedCompletion {
    pub mean: f64,
    pub p95: f64,
    pub makespan: f64,
    /// Completion time over that with an equal share of every type among as many jobs as there were meanwhile: largest and mean.
    pub worst_rho: f64,
    pub mean_rho: f64,
}

struct Life {
    id: usize,
    left: f64,
    on: Option<usize>,
    /// Jobs present, added up over its rounds.
    crowd: (f64, f64),
}

/// A trace on a cluster.
pub struct TypedWorld<'a> {
    types: &'a Types,
    trace: &'a [TraceJob],
    speeds: &'a Speeds,
    /// What the policy knows of speeds, and the class of each job in it.
    known: Throughputs,
    classes: BTreeMap<(String, u32), usize>,
    round: f64,
    now: f64,
    order: Vec<usize>,
    waiting: usize,
    alive: Vec<Life>,
    ended: Vec<(usize, f64, f64)>,
}

impl<'a> TypedWorld<'a> {
    /// `round` in seconds. `told`: whether the policy knows all speeds from the beginning, or only those on the types where a
    /// class has run, in this trace.
    pub fn new(types: &'a Types, speeds: &'a Speeds, trace: &'a [TraceJob], round: f64, told: bool) -> TypedWorld<'a> {
        let mut known = Throughputs::new(types.names.len());
        let mut classes = BTreeMap::new();
        for (key, row) in speeds {
            let class = known.add();
            row.iter().enumerate().filter(|_| told).for_each(|(of, speed)| known.measure(class, of, *speed));
            classes.insert(key.clone(), class);
        }
        let mut order: Vec<usize> = (0..trace.len()).collect();
        order.sort_by(|a, b| trace[*a].arrives.total_cmp(&trace[*b].arrives).then(a.cmp(b)));
        let (alive, ended) = (vec![], vec![]);
        TypedWorld { types, trace, speeds, known, classes, round, now: 0.0, order, waiting: 0, alive, ended }
    }

    pub fn now(&self) -> f64 {
        self.now
    }

    pub fn is_over(&self) -> bool {
        self.waiting == self.order.len() && self.alive.is_empty()
    }

    fn truth(&self, job: usize) -> &'a [f64] {
        let job = &self.trace[job];
        self.speeds.get(&(job.class.clone(), job.devices)).map_or(&[], Vec::as_slice)
    }

    /// What a policy sees at the beginning of a round: jobs that arrived and have not ended.
    pub fn jobs(&mut self) -> Vec<TypedJob> {
        while let Some(next) = self.order.get(self.waiting).filter(|next| self.trace[**next].arrives <= self.now || self.alive.is_empty()) {
            let job = &self.trace[*next];
            // Nobody there: the round begins when somebody comes.
            self.now = self.now.max(job.arrives);
            self.alive.push(Life { id: *next, left: job.steps, on: None, crowd: (0.0, 0.0) });
            self.waiting += 1;
        }
        let view = |life: &Life| {
            let job = &self.trace[life.id];
            let truth = self.truth(life.id);
            let class = self.classes[&(job.class.clone(), job.devices)];
            // Where a class cannot run at all is known beforehand: it does not fit the memory.
            let speeds = self.known.of(class).iter().zip(truth).map(|(told, truth)| if *truth > 0.0 { *told } else { 0.0 }).collect();
            let (devices, steps) = (job.devices, job.steps);
            TypedJob { id: life.id as u64, arrived: job.arrives, devices, speeds, left: life.left, steps, on: life.on }
        };
        self.alive.iter().map(view).collect()
    }

    /// One round in which each job, in the order of [`TypedWorld::jobs`], runs on the type given.
    pub fn run(&mut self, on: &[Option<usize>]) -> Result<(), TypedFault> {
        let mut given = vec![0; self.types.devices.len()];
        for (life, of) in self.alive.iter().zip(on) {
            if let Some(of) = of {
                given[*of] += self.trace[life.id].devices;
            }
        }
        if let Some(of) = (0..given.len()).find(|of| given[*of] > self.types.devices[*of]) {
            return Err(TypedFault::Overcommitted { of, given: given[of], there: self.types.devices[of] });
        }
        if !self.alive.is_empty() && given.iter().all(|given| *given == 0) {
            return Err(TypedFault::Idle);
        }
        let crowd = self.alive.len() as f64;
        let mut left = vec![];
        for (mut life, of) in std::mem::take(&mut self.alive).into_iter().zip(on) {
            life.crowd = (life.crowd.0 + crowd, life.crowd.1 + 1.0);
            life.on = *of;
            let speed = of.map_or(0.0, |of| self.truth(life.id)[of]);
            if let Some(of) = of {
                let job = &self.trace[life.id];
                self.known.measure(self.classes[&(job.class.clone(), job.devices)], *of, speed);
            }
            if speed > 0.0 && life.left <= speed * self.round {
                self.ended.push((life.id, self.now + life.left / speed, life.crowd.0 / life.crowd.1));
                continue;
            }
            life.left -= speed * self.round;
            left.push(life);
        }
        self.alive = left;
        self.now += self.round;
        Ok(())
    }

    /// Runs the trace to its end; `timed` is called around each decision.
    pub fn play(&mut self, goal: Goal, timed: &mut dyn FnMut(&mut dyn FnMut())) -> Result<TypedCompletion, TypedFault> {
        let mut rounds = Rounds::default();
        while !self.is_over() {
            let jobs = self.jobs();
            let mut on = vec![];
            timed(&mut || on = rounds.next(goal, self.now, self.round, &self.types.devices, &jobs));
            self.run(&on)?;
        }
        Ok(self.completion())
    }

    /// Job (its place in the trace) and completion time since its arrival, seconds.
    pub fn ended(&self) -> impl Iterator<Item = (usize, f64)> {
        self.ended.iter().map(|(job, end, _)| (*job, end - self.trace[*job].arrives))
    }

    pub fn completion(&self) -> TypedCompletion {
        let mut times: Vec<f64> = self.ended().map(|(_, time)| time).collect();
        times.sort_unstable_by(f64::total_cmp);
        let count = times.len().max(1);
        let rho = |(job, end, crowd): &(usize, f64, f64)| {
            let row = &self.trace[*job];
            let (devices, speeds, left, steps) = (row.devices, self.truth(*job).to_vec(), row.steps, row.steps);
            let one = TypedJob { id: 0, arrived: 0.0, devices, speeds, left, steps, on: None };
            let total: u32 = self.types.devices.iter().sum();
            let part = (f64::from(total) / crowd / f64::from(devices)).min(1.0);
            let alone = &equal_shares(&self.types.devices, std::slice::from_ref(&one))[0];
            let alone: Vec<f64> = alone.iter().map(|share| share * part).collect();
            (end - row.arrives) / (row.steps / rate(&one, &alone).max(1e-12))
        };
        let rhos: Vec<f64> = self.ended.iter().map(rho).collect();
        TypedCompletion {
            mean: times.iter().sum::<f64>() / count as f64,
            p95: times.get((count * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0),
            makespan: self.ended.iter().map(|(_, end, _)| *end).fold(0.0, f64::max),
            worst_rho: rhos.iter().copied().fold(0.0, f64::max),
            mean_rho: rhos.iter().sum::<f64>() / count as f64,
        }
    }
}
