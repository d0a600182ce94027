//! Taking in what a machine says of its runs.
//!
//! Reports may be lost, repeated, late and out of order, so taking one in is a merge: it only ever adds
//! knowledge, phases only go forward, and a second look at the same report changes nothing.

use super::finish::{Ending, notice};
use super::{Effects, State, cost};
use crate::ending::{Verdict, exit_code, explain_cause, verdict};
use crate::{JobState, Refusal, Run, RunState};
use spec::{EndCause, JobId, RankReport, RankState, Report, RunPhase, RunReport, StageTime, Time};
use std::collections::{BTreeMap, BTreeSet};

impl State {
    pub(super) fn observe(&mut self, report: &Report, at: Time, effects: &mut Effects) -> Result<(), Refusal> {
        let Some(machine) = self.machines.get_mut(&report.machine) else {
            return Err(Refusal::Inconsistent(format!("machine {} reports, but has not joined", report.machine)));
        };
        if report.generation == u64::MAX {
            return Err(Refusal::Inconsistent(format!("machine {} reports a generation that nothing can follow", report.machine)));
        }
        let ours = machine.assignment_generation;
        if report.generation > ours {
            // The node remembers an assignment that we do not: our memory is older than its own. It would ignore
            // what we send, so go past it.
            machine.assignment_generation = report.generation;
            effects.changed_machines.insert(report.machine.clone());
            effects.changed = true;
            self.order_again(&report.machine, report.generation + 1, effects);
        }
        for (id, run) in self.news(report, ours, at) {
            self.take_in(id, run, at, effects);
        }
        Ok(())
    }

    /// What the node does not list says nothing before it has seen this generation.
    fn order_again(&mut self, machine: &str, generation: u64, effects: &mut Effects) {
        let held: Vec<JobId> = self.holding(machine).map(|(job, _)| job.id).collect();
        for id in held {
            self.edit(id, effects, |job| {
                if let Some(run) = job.live_run_mut() {
                    run.ordered_in = generation;
                }
            });
        }
    }

    /// Whether the report says anything that is not known. (Applying one that does not changes nothing either.)
    pub fn would_change(&self, report: &Report) -> bool {
        let Some(machine) = self.machines.get(&report.machine) else { return false };
        let ours = machine.assignment_generation;
        report.generation > ours || !self.news(report, ours, Time(0)).is_empty()
    }

    /// The part of a report that is news at `at`, for the log: what is known already is not written again. A run
    /// that has gone missing is named with its end, so that leaving out the others means nothing: generation 0 is
    /// older than any order. Applying this does what applying the whole report would.
    pub fn essence(&self, report: Report, at: Time) -> Report {
        let ours = self.machines.get(&report.machine).map_or(0, |machine| machine.assignment_generation);
        if report.generation > ours {
            return report;
        }
        let news = self.news(&report, ours, at);
        let runs = news.iter().filter_map(|(id, now)| Some(difference(self.jobs.get(id)?.live_run()?, now))).collect();
        Report { machine: report.machine, generation: 0, runs }
    }

    /// Runs that the report shows in a new light.
    fn news(&self, report: &Report, ours: u64, at: Time) -> BTreeMap<JobId, Run> {
        let mut news: BTreeMap<JobId, Run> = BTreeMap::new();
        let mut listed = BTreeSet::new();
        for said in &report.runs {
            listed.insert(said.run);
            let known = news.get(&said.run.job).or_else(|| self.jobs.get(&said.run.job).and_then(|job| job.live_run()));
            // Anything else is a run that has ended for us, or that we never ordered: not being listed in the
            // assignment makes its node stop and forget it.
            let Some(known) = known.filter(|run| run.id == said.run && run.grant.machine == report.machine) else { continue };
            if let Some(merged) = merged(known, said, at) {
                news.insert(said.run.job, merged);
            }
        }
        for (job, run) in self.holding(&report.machine) {
            let seen_and_gone = run.ordered_in <= report.generation && report.generation <= ours && !listed.contains(&run.id);
            if seen_and_gone {
                let cause = EndCause::Lost { message: "its node does not know it any more".into() };
                news.insert(job.id, Run { state: RunState::Ended(cause), ended: Some(at), ..run.clone() });
            }
        }
        news
    }

    fn take_in(&mut self, id: JobId, run: Run, at: Time, effects: &mut Effects) {
        let Some(before) = self.jobs.get(&id).map(|job| job.state) else { return };
        if let RunState::Ended(cause) = run.state.clone() {
            return self.run_ended(id, run, &cause, at, effects);
        }
        let state = match (&run.state, run.stop) {
            (RunState::Stopping, _) | (_, Some(_)) => JobState::Stopping,
            (RunState::Running, None) => JobState::Running,
            _ => JobState::Starting,
        };
        self.edit(id, effects, |job| {
            job.state = state;
            job.started = job.started.or(run.started);
            replace_last(&mut job.runs, run);
        });
        if state != before {
            effects.notices.extend(self.jobs.get(&id).and_then(notice));
        }
    }

    /// The grant is free from here on, and it is decided what becomes of the job.
    pub(super) fn run_ended(&mut self, id: JobId, run: Run, cause: &EndCause, at: Time, effects: &mut Effects) {
        effects.changed_machines.insert(run.grant.machine.clone());
        effects.replan = true;
        let used = cost(&run.grant, at - run.adopted);
        let ended = run.ended.unwrap_or(at);
        self.edit(id, effects, |job| {
            job.started = job.started.or(run.started);
            replace_last(&mut job.runs, run);
            // Until decided otherwise below.
            job.state = JobState::Waiting;
        });
        let Some(job) = self.jobs.get(&id) else { return };
        match self.usage.get_mut(&job.queue) {
            Some(ledger) => ledger.charge(used, at),
            None => self.usage.entry(job.queue.clone()).or_default().charge(used, at),
        }
        let runs = job.attempts();
        if job.cancelled_by.is_none() && job.runs.last().is_some_and(Run::gave_way) {
            return; // it waits again, or goes on at another size, as if this run had never been
        }
        // A place at another size was for a run that saved its work.
        self.edit(id, effects, |job| job.claim = None);
        let Some(job) = self.jobs.get(&id) else { return };
        let state = match verdict(&job.spec, runs, job.cancelled_by.is_some(), cause) {
            Verdict::Again(wait) => {
                let not_before = (wait.0 > 0).then_some(at + wait);
                return self.edit(id, effects, |job| job.not_before = not_before);
            }
            Verdict::Succeeded => JobState::Succeeded,
            Verdict::Failed => JobState::Failed,
            Verdict::Cancelled => JobState::Cancelled,
        };
        let by = job.cancelled_by.as_ref().map(|by| by.user.as_str());
        let ending = match (state, by) {
            (JobState::Cancelled, Some(by)) => {
                let outcome = match cause {
                    EndCause::Stopped => format!("cancelled by {by}"),
                    _ => format!("cancelled by {by}; its run {}", explain_cause(job, None, cause).sentence()),
                };
                Ending { state, exit_code: crate::ending::CANCELLED, outcome, at: ended }
            }
            _ => {
                let mut outcome = explain_cause(job, by, cause).sentence();
                if runs > 1 {
                    outcome.push_str(&format!(" (attempt {runs} of {})", job.spec.retry.attempts));
                }
                // Code 130 is kept for jobs that somebody cancelled.
                let code = if *cause == EndCause::Stopped { 125 } else { exit_code(cause) };
                Ending { state, exit_code: code, outcome, at: ended }
            }
        };
        self.finish(vec![(id, ending)], effects);
    }
}

fn replace_last(runs: &mut [Run], run: Run) {
    if let Some(last) = runs.last_mut() {
        *last = run;
    }
}

/// Place in the only order in which phases follow each other.
fn step(state: &RunState) -> u8 {
    match state {
        RunState::Starting => 0,
        RunState::Running => 1,
        RunState::Stopping => 2,
        RunState::Ended(_) => 3,
    }
}

/// The run with what the report adds; `None` when that is nothing.
fn merged(known: &Run, said: &RunReport, at: Time) -> Option<Run> {
    let state = match &said.phase {
        RunPhase::Starting => RunState::Starting,
        RunPhase::Running => RunState::Running,
        RunPhase::Stopping => RunState::Stopping,
        RunPhase::Ended(cause) => RunState::Ended(cause.clone()),
    };
    if step(&state) < step(&known.state) {
        return None; // made before what we already know
    }
    let mut run = known.clone();
    run.state = state;
    // The clock of a node may be wrong: nothing starts before it was granted, or later than now.
    run.started = run.started.or(said.started.map(|started| started.max(run.adopted).min(at)));
    if run.state == RunState::Running {
        run.started = run.started.or(Some(at));
    }
    run.isolation = run.isolation.or_else(|| said.isolation.clone());
    if said.overstep.is_some() {
        run.overstep.clone_from(&said.overstep);
    }
    if progress(&said.stages) > progress(&run.stages) {
        run.stages = said.stages.clone();
    }
    for rank in said.ranks.iter().filter(|rank| (rank.rank as usize) < known.grant.ranks.len()) {
        merge_rank(&mut run.ranks, rank);
    }
    if run.state.is_ended() {
        run.ended = Some(said.ended.map_or(at, |ended| ended.max(run.started.unwrap_or(run.adopted)).min(at)));
        // Taken at the end only: figures that grow while a run goes on would make every report news.
        run.usage = said.usage;
    }
    (run != *known).then_some(run)
}

/// What must be said to make `known` into `now`, which follows from it.
fn difference(known: &Run, now: &Run) -> RunReport {
    let phase = match &now.state {
        RunState::Starting => RunPhase::Starting,
        RunState::Running => RunPhase::Running,
        RunState::Stopping => RunPhase::Stopping,
        RunState::Ended(cause) => RunPhase::Ended(cause.clone()),
    };
    RunReport {
        run: now.id,
        phase,
        started: now.started,
        ended: now.ended,
        ranks: now.ranks.iter().filter(|rank| !known.ranks.contains(rank)).cloned().collect(),
        isolation: now.isolation.clone().filter(|_| known.isolation.is_none()),
        stages: if known.stages == now.stages { vec![] } else { now.stages.clone() },
        usage: now.usage,
        overstep: now.overstep.clone().filter(|_| known.overstep != now.overstep),
    }
}

fn progress(stages: &[StageTime]) -> (usize, usize) {
    (stages.len(), stages.iter().filter(|stage| stage.took.is_some()).count())
}

fn merge_rank(ranks: &mut Vec<RankReport>, said: &RankReport) {
    let order = |state: &RankState| match state {
        RankState::Waiting => 0,
        RankState::Running => 1,
        RankState::Exited { .. } | RankState::Signalled { .. } => 2,
    };
    match ranks.binary_search_by_key(&said.rank, |rank| rank.rank) {
        Err(place) => ranks.insert(place, said.clone()),
        Ok(place) => {
            let known = &mut ranks[place];
            let later = order(&said.state) > order(&known.state);
            if later || (said.state == known.state && known.pid.is_none() && said.pid.is_some()) {
                *known = said.clone();
            }
        }
    }
}
