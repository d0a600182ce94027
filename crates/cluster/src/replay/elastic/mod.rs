//! Elastic training jobs on one cluster, in simulated time: the protocol of the Pollux artifact.
//!
//! Qiao et al., OSDI 2021; petuum/adaptdl, branch osdi21-artifact. Time goes in rounds (60 s): jobs get on with what they
//! hold at the speed that was measured, then the policy looks at those submitted and not ended and says what each holds. A change of
//! seats costs a restart (30 s). Devices of a job that ends within a round are free at its end. Machines do not disturb each other.
//!
//! The caller runs the policy between [`Cluster::advance`] and [`Cluster::adopt`], so it can take the time it needs.

mod hull;
mod job;
mod profile;
mod workload;

pub use job::{Submission, Told};
pub use profile::{Application, Limits, Problem, ProfileError, Tables};
pub use workload::parse_workload;

use job::Job;
use placement::goodput::{Assignment, Batch, ElasticJob, Goodput, Learner, Seats, devices};
use std::collections::HashMap;

/// Who chooses a job's batch and devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batches {
    /// The person: devices and batch stay as the workload has them.
    Asked,
    /// The job, by its goodput. Applications with a fixed batch keep that.
    Adapted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Machines, and devices on each.
    pub machines: (usize, u32),
    /// Seconds.
    pub round: u64,
    /// Seconds.
    pub restart: u64,
    pub batches: Batches,
    pub told: Told,
}

impl Rules {
    /// 16 machines with 4 devices, rounds of 60 s, restarts of 30 s.
    pub fn artifact(batches: Batches, told: Told) -> Rules {
        Rules { machines: (16, 4), round: 60, restart: 30, batches, told }
    }
}

/// A decision that cannot stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElasticFault {
    #[error("{told} assignments for {jobs} jobs")]
    Count { told: usize, jobs: usize },
    #[error("machine {machine} has {devices} devices, {held} are given away")]
    Overcommitted { machine: usize, devices: u32, held: u32 },
    #[error("no machine {machine}")]
    NoMachine { machine: usize },
    #[error("job {id} was given {devices} devices, allowed are {least} to {most} or none")]
    OutOfRange { id: u64, devices: u32, least: u32, most: u32 },
    #[error("job {id} was given a machine twice, or none of its devices")]
    Seats { id: u64 },
}

impl ElasticFault {
    pub fn hint(&self) -> &'static str {
        "a fault of the policy: report it with the workload and the policy's name"
    }
}

/// What earlier jobs of an application showed.
#[derive(Debug, Default)]
struct Class {
    times: Learner,
    /// Progress of those that ended, and how many.
    lengths: (f64, u32),
    last: Option<Goodput>,
}

/// The simulated cluster.
#[derive(Debug)]
pub struct Cluster<'a> {
    rules: Rules,
    applications: &'a [Application],
    machines: Vec<u32>,
    jobs: Vec<Job>,
    classes: Vec<Class>,
    now: u64,
    looked_at: Vec<usize>,
}

/// Most ranks that can be simulated.
const MOST_RANKS: u32 = 64;

impl<'a> Cluster<'a> {
    /// `fixed` are batches that stay as they are though jobs adapt, by application name; such a job has one rank.
    pub fn new(rules: Rules, applications: &'a [Application], workload: &[Submission], fixed: &HashMap<String, u32>) -> Cluster<'a> {
        let job = |submission: &Submission| {
            let application = &applications[submission.application];
            let batch = match rules.batches {
                Batches::Asked => Batch { fixed: Some(submission.batch), ..application.batch },
                Batches::Adapted => Batch { fixed: fixed.get(&application.name).copied(), ..application.batch },
            };
            Job::new(submission.clone(), batch, rules.batches == Batches::Adapted && batch.fixed.is_none())
        };
        Cluster {
            rules,
            applications,
            machines: vec![rules.machines.1; rules.machines.0],
            jobs: workload.iter().map(job).collect(),
            classes: applications.iter().map(|_| Class::default()).collect(),
            now: 0,
            looked_at: vec![],
        }
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn machines(&self) -> &[u32] {
        &self.machines
    }

    pub fn is_over(&self) -> bool {
        self.jobs.iter().all(|job| job.ended.is_some())
    }

    /// One round of life.
    pub fn advance(&mut self) {
        for job in &mut self.jobs {
            let index = job.submission.application;
            let (application, class) = (&self.applications[index], &mut self.classes[index]);
            let mut saw = vec![];
            let was_over = job.ended.is_some();
            let lesson = (self.rules.told != Told::Nothing).then_some(&class.times);
            job.live(self.now, self.rules.round, application, lesson, &mut saw);
            for (place, pass, step) in saw {
                class.times.observe(place, pass, step);
            }
            if job.ended.is_some() && !was_over {
                class.lengths = (class.lengths.0 + job.done, class.lengths.1 + 1);
            }
            if let Some(model) = job.goodput(None) {
                class.last.get_or_insert(model);
            }
        }
        self.now += self.rules.round;
    }

    /// What a policy sees: jobs that were submitted and have not ended, in order of submission.
    pub fn jobs(&mut self) -> Vec<ElasticJob> {
        self.looked_at =
            (0..self.jobs.len()).filter(|job| self.jobs[*job].submission.at <= self.now && self.jobs[*job].ended.is_none()).collect();
        self.looked_at.iter().map(|job| self.view(*job)).collect()
    }

    fn view(&self, index: usize) -> ElasticJob {
        let job = &self.jobs[index];
        let (application, class) = (&self.applications[job.submission.application], &self.classes[job.submission.application]);
        let told = self.rules.told;
        let lesson = (told != Told::Nothing).then_some(&class.times);
        // Before its own first step a job is taken to be as the first of its class was then.
        let begun =
            || class.last.filter(|_| told != Told::Nothing).map(|last| Goodput { time: class.times.model().unwrap_or(last.time), ..last });
        let seen = job.own.most_ranks().max(lesson.map_or(0, Learner::most_ranks));
        let fixed = job.batch.fixed.is_some() && self.rules.batches == Batches::Adapted;
        let most = if fixed { 1 } else { (2 * seen).clamp(1, MOST_RANKS.min(job.batch.most_ranks())) };
        let remaining = match told {
            Told::Nothing => None,
            Told::Class if class.lengths.1 == 0 => None,
            // One that outlived the earlier ones of its class has about a tenth left.
            Told::Class => {
                let mean = class.lengths.0 / f64::from(class.lengths.1);
                Some((mean - job.done).max(0.1 * job.done))
            }
            Told::Length => Some(job.remaining(application)),
        };
        ElasticJob {
            id: index as u64,
            submitted: job.submission.at,
            held: job.seats.clone(),
            restarts: job.restarts.unwrap_or(0),
            service: job.service,
            done: job.done,
            remaining,
            least: 1,
            most: if self.rules.batches == Batches::Asked { job.submission.asked } else { most },
            asked: job.submission.asked,
            goodput: job.goodput(lesson).or_else(begun),
        }
    }

    /// Takes the policy's word on the jobs it was last shown; nothing changes if that cannot stand.
    pub fn adopt(&mut self, assignments: &[Assignment]) -> Result<(), ElasticFault> {
        if assignments.len() != self.looked_at.len() {
            return Err(ElasticFault::Count { told: assignments.len(), jobs: self.looked_at.len() });
        }
        let mut held = vec![0_u32; self.machines.len()];
        for (job, assignment) in self.looked_at.iter().zip(assignments) {
            let view = self.view(*job);
            let count = devices(&assignment.seats);
            if count > 0 && !(view.least..=view.most.max(view.holds())).contains(&count) {
                return Err(ElasticFault::OutOfRange { id: view.id, devices: count, least: view.least, most: view.most });
            }
            let mut seen: Vec<usize> = assignment.seats.iter().map(|(machine, _)| *machine).collect();
            seen.sort_unstable();
            if seen.windows(2).any(|pair| pair[0] == pair[1]) || assignment.seats.iter().any(|(_, count)| *count == 0) {
                return Err(ElasticFault::Seats { id: view.id });
            }
            for (machine, count) in &assignment.seats {
                *held.get_mut(*machine).ok_or(ElasticFault::NoMachine { machine: *machine })? += count;
            }
        }
        if let Some(machine) = (0..held.len()).find(|machine| held[*machine] > self.machines[*machine]) {
            return Err(ElasticFault::Overcommitted { machine, devices: self.machines[machine], held: held[machine] });
        }
        for (index, assignment) in self.looked_at.clone().into_iter().zip(assignments) {
            let job = &mut self.jobs[index];
            if job.seats != assignment.seats {
                let lesson = (self.rules.told != Told::Nothing).then_some(&self.classes[job.submission.application].times);
                job.seat(assignment.seats.clone(), self.rules.restart, lesson);
            }
        }
        Ok(())
    }

    /// Of each job that has ended: its name, completion time (from submission, seconds), restarts.
    pub fn ended(&self) -> impl Iterator<Item = (&str, u64, u32)> {
        self.jobs.iter().filter_map(|job| Some((job.submission.name.as_str(), job.ended? - job.submission.at, job.restarts.unwrap_or(0))))
    }

    /// What the job at a place of the workload holds.
    pub fn holds(&self, job: usize) -> &Seats {
        &self.jobs[job].seats
    }
}

/// Mean, 99th percentile and last end of a run, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Completion {
    pub mean: f64,
    pub p99: u64,
    pub makespan: u64,
    pub restarts: f64,
}

impl Cluster<'_> {
    pub fn completion(&self) -> Completion {
        let mut times: Vec<u64> = self.ended().map(|(_, time, _)| time).collect();
        times.sort_unstable();
        let count = times.len().max(1);
        let restarts: u32 = self.ended().map(|(.., restarts)| restarts).sum();
        Completion {
            mean: times.iter().sum::<u64>() as f64 / count as f64,
            p99: times.get((count * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0),
            makespan: self.jobs.iter().filter_map(|job| job.ended).max().unwrap_or(0),
            restarts: f64::from(restarts) / count as f64,
        }
    }
}
