//! A simulated machine: its disk, its node daemon, and the supervisors that keep runs alive.

use super::random::Random;
use machine::Machine;
use spec::{Assignment, EndCause, RankReport, RankState, Report, RunId, RunOrder, RunPhase, RunReport, Span, StopOrder, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Ways in which a node may be wrong, to see that the checker notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeBugs {
    /// Takes every assignment for the newest.
    pub ignores_generation: bool,
    /// Says that a run has ended as soon as it was told to stop it.
    pub says_ended_early: bool,
    /// After its own restart, starts everything listed again beside what still runs.
    pub forgets_supervisors: bool,
    /// Says success whatever happened.
    pub lies_about_exit: bool,
}

/// One machine. `supervisors` is what really runs there.
#[derive(Debug)]
pub struct Site {
    pub machine: Arc<Machine>,
    pub powered: bool,
    pub node_up: bool,
    pub slow_until: Time,
    /// Of the newest look ahead: events of an older one are void.
    pub timer: u64,
    /// On the machine's disk: written before acted upon.
    journal: Journal,
    supervisors: BTreeMap<RunId, Supervisor>,
    /// A second process of the same run, which must never be. Only [`NodeBugs::forgets_supervisors`] makes one.
    doubles: BTreeMap<RunId, Supervisor>,
    /// Everything that ever really ended here, for the checker.
    pub truth: Vec<(RunId, EndCause)>,
    bugs: NodeBugs,
    seed: u64,
}

#[derive(Debug, Default)]
struct Journal {
    generation: u64,
    runs: BTreeMap<RunId, Entry>,
}

#[derive(Debug)]
struct Entry {
    order: RunOrder,
    launched: bool,
    listed: bool,
    started: Option<Time>,
    end: Option<(EndCause, Time)>,
}

/// The supervisor of one run with the processes below it.
#[derive(Clone, Debug)]
pub struct Supervisor {
    pub order: RunOrder,
    pub phase: Phase,
    /// False when the supervisor was killed; its processes go on until the node sweeps them up.
    pub alive: bool,
    pub ranks_alive: u32,
    /// When the phase is over.
    until: Time,
    started: Option<Time>,
    /// Why it will end when the phase is over.
    end: EndCause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Running,
    Stopping,
}

impl Site {
    pub fn new(machine: Machine, bugs: NodeBugs, seed: u64) -> Site {
        Site {
            machine: Arc::new(machine),
            powered: true,
            node_up: true,
            slow_until: Time(0),
            timer: 0,
            journal: Journal::default(),
            supervisors: BTreeMap::new(),
            doubles: BTreeMap::new(),
            truth: vec![],
            bugs,
            seed,
        }
    }

    /// Everything that really executes.
    pub fn executing(&self) -> impl Iterator<Item = &Supervisor> {
        self.supervisors.values().chain(self.doubles.values())
    }

    pub fn take(&mut self, assignment: &Assignment, now: Time) {
        if !self.node_up || (assignment.generation <= self.journal.generation && !self.bugs.ignores_generation) {
            return;
        }
        self.journal.generation = assignment.generation;
        for entry in self.journal.runs.values_mut() {
            entry.listed = false;
        }
        for order in &assignment.runs {
            let fresh = Entry { order: order.clone(), launched: false, listed: true, started: None, end: None };
            let entry = self.journal.runs.entry(order.run).or_insert(fresh);
            entry.listed = true;
            entry.order.stop = merge(entry.order.stop, order.stop);
        }
        self.work(now);
    }

    /// Makes what runs match the journal. Level-triggered: the same whatever woke it.
    pub fn work(&mut self, now: Time) {
        if !self.node_up {
            return;
        }
        self.sweep(now);
        let seed = self.seed;
        for (run, entry) in &mut self.journal.runs {
            let stop = if entry.listed { entry.order.stop } else { Some(StopOrder { kill: true }) };
            if entry.end.is_some() {
                continue;
            }
            match (self.supervisors.get_mut(run), stop) {
                (Some(supervisor), Some(stop)) => supervisor.stop(stop, now),
                (None, Some(_)) if !entry.launched => {
                    self.truth.push((*run, EndCause::Stopped));
                    entry.end = Some((EndCause::Stopped, now));
                }
                (None, None) if !entry.launched => {
                    entry.launched = true;
                    self.supervisors.insert(*run, Supervisor::launch(&entry.order, seed, now));
                }
                _ => {}
            }
            if self.bugs.says_ended_early && stop.is_some() {
                entry.end = Some((EndCause::Stopped, now));
            }
        }
        self.journal.runs.retain(|_, entry| entry.listed || entry.end.is_none());
    }

    /// Runs that were launched and have no supervisor any more: their processes are killed, then they are lost.
    fn sweep(&mut self, now: Time) {
        let dead: Vec<RunId> = self.supervisors.iter().filter(|(_, s)| !s.alive).map(|(run, _)| *run).collect();
        for run in dead {
            self.supervisors.remove(&run);
        }
        for (run, entry) in &mut self.journal.runs {
            if entry.launched && entry.end.is_none() && !self.supervisors.contains_key(run) {
                let cause = EndCause::Lost { message: "its supervisor is gone".into() };
                self.truth.push((*run, cause.clone()));
                entry.end = Some((cause, now));
            }
        }
    }

    /// Moves every supervisor whose phase is over. A supervisor writes the end into its own file, so it is
    /// known even when the node is down.
    pub fn advance(&mut self, now: Time) {
        let mut ended = vec![];
        for (run, supervisor) in &mut self.supervisors {
            if let Some(cause) = supervisor.advance(now, self.seed) {
                ended.push((*run, cause));
            }
            if let Some(entry) = self.journal.runs.get_mut(run) {
                entry.started = supervisor.started;
            }
        }
        for (run, cause) in ended {
            self.supervisors.remove(&run);
            self.truth.push((run, cause.clone()));
            if let Some(entry) = self.journal.runs.get_mut(&run) {
                entry.end.get_or_insert((cause, now));
            }
        }
        self.doubles.retain(|_, double| double.advance(now, self.seed.rotate_left(1)).is_none());
    }

    /// When something happens here next.
    pub fn next(&self) -> Option<Time> {
        self.executing().filter(|supervisor| supervisor.alive).map(|supervisor| supervisor.until).min()
    }

    pub fn report(&self) -> Report {
        let runs = self.journal.runs.iter().map(|(run, entry)| {
            let supervisor = self.supervisors.get(run);
            let phase = match (&entry.end, supervisor.map(|supervisor| supervisor.phase)) {
                (Some(_), _) if self.bugs.lies_about_exit => RunPhase::Ended(EndCause::Success),
                (Some((cause, _)), _) => RunPhase::Ended(cause.clone()),
                (None, Some(Phase::Running)) => RunPhase::Running,
                (None, Some(Phase::Stopping)) => RunPhase::Stopping,
                (None, Some(Phase::Starting) | None) => RunPhase::Starting,
            };
            let ranks = (0..entry.order.spec.ranks).map(|rank| RankReport {
                rank,
                state: if phase == RunPhase::Running { RankState::Running } else { RankState::Waiting },
                pid: None,
            });
            RunReport {
                run: *run,
                ranks: if matches!(phase, RunPhase::Starting | RunPhase::Running) { ranks.collect() } else { vec![] },
                phase,
                started: entry.started,
                ended: entry.end.as_ref().map(|(_, at)| *at),
                isolation: None,
                stages: vec![],
                usage: None,
                overstep: None,
            }
        });
        Report { machine: self.machine.id.clone(), generation: self.journal.generation, runs: runs.collect() }
    }

    pub fn crash_node(&mut self) {
        self.node_up = false;
    }

    /// The node starts again and reads its journal; supervisors that live on are found again.
    pub fn start_node(&mut self, now: Time) {
        self.node_up = self.powered;
        if self.bugs.forgets_supervisors {
            for (run, entry) in self.journal.runs.iter().filter(|(_, entry)| entry.launched && entry.end.is_none()) {
                self.doubles.insert(*run, Supervisor::launch(&entry.order, self.seed, now));
            }
        }
        self.work(now);
    }

    /// Power off: every process is gone, the disk stays.
    pub fn crash_machine(&mut self) {
        self.powered = false;
        self.node_up = false;
        let gone = std::mem::take(&mut self.supervisors);
        drop(gone);
        self.doubles.clear();
    }

    /// Set up anew, with an empty disk. Must be powered off.
    pub fn wipe(&mut self) {
        for run in self.journal.runs.keys() {
            self.truth.push((*run, EndCause::Lost { message: "the machine was set up anew".into() }));
        }
        self.journal = Journal::default();
    }

    pub fn start_machine(&mut self, now: Time) {
        self.powered = true;
        self.start_node(now);
    }

    /// Kills the supervisor of one run; its processes linger until the node notices.
    pub fn kill_supervisor(&mut self, random: &mut Random) -> Option<RunId> {
        let alive: Vec<RunId> = self.supervisors.iter().filter(|(_, s)| s.alive).map(|(run, _)| *run).collect();
        let run = *random.pick(&alive)?;
        self.supervisors.get_mut(&run)?.alive = false;
        Some(run)
    }
}

fn merge(known: Option<StopOrder>, new: Option<StopOrder>) -> Option<StopOrder> {
    match (known, new) {
        (Some(known), Some(new)) => Some(StopOrder { kill: known.kill || new.kill }),
        (known, new) => known.or(new),
    }
}

impl Supervisor {
    /// What an attempt will do is decided by its name alone, so a repeated one does the same.
    fn launch(order: &RunOrder, seed: u64, now: Time) -> Supervisor {
        let mut random = Random::of(seed, &order.run.to_string());
        let fails = random.chance(30);
        let missing = random.chance(500);
        let end = EndCause::StartFailed { message: "no such directory: /data".into(), hint: None, missing };
        Supervisor {
            order: order.clone(),
            phase: Phase::Starting,
            alive: true,
            ranks_alive: order.spec.ranks,
            until: now + Span(random.between(20, 2000)),
            started: None,
            end: if fails { end } else { EndCause::Success },
        }
    }

    fn stop(&mut self, stop: StopOrder, now: Time) {
        let grace = if stop.kill { Span(5) } else { self.order.spec.checkpoint.grace };
        if self.phase != Phase::Stopping {
            self.end = EndCause::Stopped;
            // Most programs end before the grace is over.
            self.until = now + Span(grace.0.min(50 + u64::from(self.order.run.attempt) * 400));
            self.phase = Phase::Stopping;
        } else if stop.kill {
            self.until = self.until.min(now + grace);
        }
    }

    /// The cause when it has ended.
    fn advance(&mut self, now: Time, seed: u64) -> Option<EndCause> {
        if !self.alive || self.until > now {
            return None;
        }
        match self.phase {
            Phase::Starting if self.end != EndCause::Success => Some(self.end.clone()),
            Phase::Starting => {
                let (length, end) = self.fate(seed);
                self.phase = Phase::Running;
                self.started = Some(now);
                (self.until, self.end) = (now + length, end);
                None
            }
            Phase::Running if self.end == EndCause::Success || self.order.spec.ranks == 1 => Some(self.end.clone()),
            Phase::Running => {
                // One rank died; the others get the signal and the grace.
                self.phase = Phase::Stopping;
                self.ranks_alive -= 1;
                self.until = now + Span(300);
                None
            }
            Phase::Stopping => Some(self.end.clone()),
        }
    }

    fn fate(&self, seed: u64) -> (Span, EndCause) {
        let spec = &self.order.spec;
        let mut random = Random::of(seed, &format!("fate of {}", self.order.run));
        let mut length = Span(random.between(100, 30_000));
        let rank = u32::try_from(random.below(u64::from(spec.ranks))).unwrap_or(0);
        let memory = self.order.grant.memory;
        let mut end = match random.below(100) {
            0..70 => EndCause::Success,
            70..85 => EndCause::Exit { rank, code: i32::try_from(random.between(1, 255)).unwrap_or(1) },
            85..92 => EndCause::Signalled { rank, signal: *random.pick(&[4, 6, 9, 11]).unwrap_or(&9) },
            _ => EndCause::OutOfMemory { rank: Some(rank), limit: memory, peak: memory },
        };
        if let Some(limit) = spec.limit.filter(|limit| *limit < length) {
            (length, end) = (limit, EndCause::Limit { limit, clean: random.chance(300) });
        }
        (length, end)
    }
}
