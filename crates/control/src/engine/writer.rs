//! The loop of the writer thread: take all that waits, step, commit, publish, answer.

use super::request::{Request, Unavailable};
use super::{Shared, lock};
use crate::log::{Log, LogError, Recovered, Replay, Unusable};
use cluster::{Answer, Batch, Command, Core, Input, JobState, RestoreError, State};
use machine::Machine;
use placement::Policy;
use spec::{Dependency, JobId, Report};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Inputs taken into one step, so that one transaction and one plan stay short.
const BATCH_MAX: usize = 4000;

/// Old records dropped at a time, so that nobody waits for it.
const TRIM_MAX: usize = 5000;

/// Waits between attempts to write again, doubled up to the second figure.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// Why nothing is written at the moment.
struct Outage {
    why: Unavailable,
    next_try: Instant,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    log: Log,
    core: Core,
    policy: Policy,
    requests: Receiver<Request>,
    /// Machines that joined this daemon; a new core must be told of them again.
    joined: BTreeMap<String, Arc<Machine>>,
    outage: Option<Outage>,
    /// The last wait before an attempt to write again; `None` after a success.
    wait: Option<Duration>,
    core_alarms: usize,
    /// Whether the last step panicked.
    panicked: bool,
    /// Reports of steps that panicked, and those of them that were there twice.
    suspects: Vec<Report>,
    dropped: Vec<Report>,
}

impl Replay for State {
    fn fresh() -> State {
        State::new()
    }

    fn parse(text: &str) -> Result<State, Unusable> {
        State::restore(text.as_bytes()).map_err(|error| match error {
            RestoreError::TooNew { found } => Unusable::TooNew { found, ours: State::FORMAT },
            RestoreError::Damaged(_) => Unusable::Damaged(error.to_string()),
        })
    }

    fn replay(&mut self, command: &Command) -> Result<(), String> {
        self.apply(command).map(drop).map_err(|refusal| refusal.to_string())
    }
}

/// Loads the state, and mends the archive where the record of an end was lost. No number is given twice, even where
/// the record that gave it was lost: somebody may know it.
pub(super) fn load(log: &mut Log) -> Result<Recovered<State>, LogError> {
    let mut recovered: Recovered<State> = log.recover()?;
    // At every start: the one that found the damage may have ended before it came to this.
    log.unarchive(recovered.state.jobs().keys().copied())?;
    recovered.state.number_above(log.newest_number()?);
    Ok(recovered)
}

/// Who waits for the answers of a step, in the order of its inputs.
enum Waiter {
    Many(super::Reply<Vec<Answer>>, usize),
    One(super::Reply<Answer>),
    Nobody,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, log: Log, core: Core, policy: Policy, requests: Receiver<Request>) -> Writer {
        Writer {
            shared,
            log,
            core,
            policy,
            requests,
            joined: BTreeMap::new(),
            outage: None,
            wait: None,
            core_alarms: 0,
            panicked: false,
            suspects: vec![],
            dropped: vec![],
        }
    }

    pub fn run(mut self) {
        loop {
            let (requests, stop) = self.next();
            if self.outage.is_some() {
                self.try_again();
            }
            match &self.outage {
                Some(outage) => {
                    let why = outage.why.clone();
                    for request in requests {
                        // Refused and yet remembered: who joins says so only once.
                        if let Request::Join { machine, .. } = &request {
                            self.joined.insert(machine.id.clone(), machine.clone());
                        }
                        request.refuse(&why);
                    }
                }
                None => self.turn(requests),
            }
            if stop {
                break;
            }
        }
        if self.outage.is_none()
            && let Err(error) = self.log.checkpoint(self.core.state())
        {
            tracing::warn!("the state was not saved at the end; the next start replays more records: {error}");
        }
        let late: Vec<Request> = self.requests.try_iter().collect();
        late.into_iter().for_each(|request| request.refuse(&super::stopping()));
    }

    /// Waits for work or the next timer, then takes all that is there. True at the end: the last turn.
    fn next(&mut self) -> (Vec<Request>, bool) {
        let first = match self.patience() {
            None => self.requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => self.requests.recv_timeout(wait),
        };
        let mut taken = vec![];
        let mut weight = 0;
        let mut next = match first {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return (taken, true),
        };
        while let Some(request) = next {
            if matches!(request, Request::Stop) {
                return (taken, true);
            }
            weight += request.weight();
            if !matches!(request, Request::Reports) {
                self.shared.queued.fetch_sub(request.weight(), Ordering::Relaxed);
            }
            taken.push(request);
            next = if weight < BATCH_MAX { self.requests.try_recv().ok() } else { None };
        }
        (taken, false)
    }

    /// How long nothing needs to happen; `None` is for ever. An idle daemon sleeps.
    fn patience(&self) -> Option<Duration> {
        match &self.outage {
            Some(outage) => Some(outage.next_try.saturating_duration_since(Instant::now())),
            // At least a millisecond: a timer that stays due must not spin.
            None => self.core.next_wake().map(|at| (at - self.shared.now()).as_duration().max(Duration::from_millis(1))),
        }
    }

    fn turn(&mut self, requests: Vec<Request>) {
        let mut inputs = vec![];
        let mut waiters = vec![];
        let mut after = vec![];
        for request in requests {
            match request {
                Request::Submit { jobs, owner, reply } => {
                    waiters.push(Waiter::Many(reply, jobs.len()));
                    for job in jobs {
                        let ended = self.ended(&job.spec.after);
                        inputs.push(Input::Submit { spec: job.spec, owner: owner.clone(), key: job.key, ended });
                    }
                }
                Request::Cancel { job, by, kill, reply } => {
                    waiters.push(Waiter::One(reply));
                    inputs.push(Input::Cancel { job, by, kill });
                }
                Request::Join { machine, reply } => {
                    waiters.push(Waiter::One(reply));
                    self.joined.insert(machine.id.clone(), machine.clone());
                    inputs.push(Input::Join { machine });
                }
                Request::Leave { machine, by, reply } => {
                    waiters.push(Waiter::One(reply));
                    inputs.push(Input::Leave { machine, by });
                }
                Request::Queues { queues, reply } => {
                    waiters.push(Waiter::One(reply));
                    inputs.push(Input::Queues { queues });
                }
                Request::Forget { numbers, reply } => {
                    waiters.push(Waiter::One(reply));
                    inputs.push(Input::Forget { numbers });
                }
                Request::Reports | Request::Stop => {}
                other => after.push(other),
            }
        }
        // Whatever woke us, the newest reports are looked at.
        let mut reports = self.shared.take_reports();
        reports.retain(|report| !self.dropped.contains(report));
        for report in &reports {
            waiters.push(Waiter::Nobody);
            inputs.push(Input::Observe { report: report.clone() });
        }
        if inputs.is_empty() {
            waiters.push(Waiter::Nobody);
            inputs.push(Input::Tick);
        }
        match self.step(inputs) {
            Ok(batch) => {
                self.wait = None;
                answer(waiters, batch.answers);
                self.send(batch.assignments, batch.notices);
                self.afterwards(after);
            }
            Err(why) => self.fail(why, waiters, after, reports),
        }
    }

    /// Steps and commits. The batch comes back only when it is on disk and readers see it.
    fn step(&mut self, inputs: Vec<Input>) -> Result<Batch, Unavailable> {
        let now = self.shared.now();
        let before = planned(&self.core);
        let core = &mut self.core;
        let stepped = catch_unwind(AssertUnwindSafe(|| core.step(inputs, now)));
        self.panicked = stepped.is_err();
        let batch = stepped.map_err(|_| fault("deciding panicked"))?;
        if !batch.records.is_empty() || !batch.archived.is_empty() {
            self.log.commit_batch(&batch).map_err(|error| unavailable(&error))?;
        }
        if !batch.records.is_empty() || planned(&self.core) != before {
            let plan = self.core.plan().clone();
            self.shared.view.advance(&batch.records, Some(plan)).map_err(|refusal| fault(&refusal.to_string()))?;
        }
        Ok(batch)
    }

    fn send(&mut self, assignments: Vec<spec::Assignment>, notices: Vec<cluster::Notice>) {
        self.tell_connected();
        for assignment in assignments {
            (self.shared.link.assign)(assignment);
        }
        for notice in notices {
            (self.shared.link.notify)(notice);
        }
        let alarms: Vec<_> = self.core.alarms().skip(self.core_alarms).cloned().collect();
        self.core_alarms += alarms.len();
        for finding in alarms {
            let text = format!("{}: {}", finding.title, finding.evidence.join("; "));
            self.shared.raise(&finding.id, text, finding.hint);
        }
    }

    fn tell_connected(&self) {
        let mut known = lock(&self.shared.connected);
        if !self.core.connected().eq(known.iter().map(|(machine, accepts)| (machine.as_str(), *accepts))) {
            *known = self.core.connected().map(|(machine, accepts)| (machine.to_owned(), accepts)).collect();
            drop(known);
            if self.core.connected().all(|(_, accepts)| accepts) {
                self.shared.clear(cluster::RUNS_UNKNOWN);
            }
        }
    }

    /// What needs no step: dry runs, which look at the state as it is on disk now, tokens, and saving the state.
    fn afterwards(&mut self, requests: Vec<Request>) {
        for request in requests {
            match request {
                Request::WhatIf { spec, owner, suppose, reply } => {
                    let ended = self.ended(&spec.after);
                    let now = self.shared.now();
                    let _ = reply.send(Ok(self.core.what_if(spec, &owner, &suppose, &ended, now)));
                }
                Request::PutToken { token, most, reply } => {
                    let _ = reply.send(self.log.put_token(&token, most).map_err(|error| unavailable(&error)));
                }
                Request::DropToken { id, reply } => {
                    let _ = reply.send(self.log.drop_token(&id).map_err(|error| unavailable(&error)));
                }
                Request::Trim { before, reply } => {
                    let trimmed = self.log.trim(before, TRIM_MAX).and_then(|count| self.log.shrink().map(|()| count));
                    let _ = reply.send(trimmed.map_err(|error| unavailable(&error)));
                }
                other => other.refuse(&fault("a request was not understood")),
            }
        }
        if self.log.checkpoint_due(self.core.state().jobs().len()) {
            // The log itself is whole without it; a full disk shows at the next commit.
            if let Err(error) = self.log.checkpoint(self.core.state()) {
                tracing::warn!("the state could not be saved: {error}");
            }
        }
    }

    /// How jobs named under `after` ended that have left the state.
    fn ended(&self, after: &[Dependency]) -> Vec<(JobId, JobState)> {
        let gone = after.iter().filter(|dependency| !self.core.state().is_live(dependency.job));
        gone.filter_map(|dependency| Some((dependency.job, self.outcome(dependency.job)?))).collect()
    }

    fn outcome(&self, job: JobId) -> Option<JobState> {
        let tasks = self.log.archived_states(job.number).ok()?;
        if let Some((_, state)) = tasks.iter().find(|(id, _)| *id == job) {
            return Some(*state);
        }
        // An array as a whole succeeded when all its tasks did.
        let whole = job.task.is_none() && !tasks.is_empty();
        let worst = tasks.iter().map(|(_, state)| *state).find(|state| *state != JobState::Succeeded);
        whole.then(|| worst.unwrap_or(JobState::Succeeded))
    }

    /// The batch is not on disk: nobody gets an answer that says so, and what the core believes is thrown away.
    fn fail(&mut self, why: Unavailable, waiters: Vec<Waiter>, after: Vec<Request>, reports: Vec<Report>) {
        let reports = if self.panicked { self.without_culprits(reports) } else { reports };
        self.shared.put_back(reports);
        self.shared.accepting.store(false, Ordering::Relaxed);
        self.shared.raise("unavailable", why.message.clone(), why.hint.clone());
        for waiter in waiters {
            match waiter {
                Waiter::Many(reply, _) => drop(reply.send(Err(why.clone()))),
                Waiter::One(reply) => drop(reply.send(Err(why.clone()))),
                Waiter::Nobody => {}
            }
        }
        after.into_iter().for_each(|request| request.refuse(&why));
        // A resumption that fails at once goes on waiting longer and longer.
        let wait = self.wait.map_or(RETRY_FIRST, |wait| (wait * 2).min(RETRY_LAST));
        self.wait = Some(wait);
        self.outage = Some(Outage { why, next_try: Instant::now() + wait });
    }

    /// A report that was there at two panics is not looked at again: the node would do nothing else.
    fn without_culprits(&mut self, reports: Vec<Report>) -> Vec<Report> {
        let (kept, dropped) = culprits(&mut self.suspects, reports);
        for report in dropped {
            let text = format!("our fault: deciding panicked twice with a report of machine {}; it is passed over", report.machine);
            self.shared.raise("report-dropped", text, Some("please report this with the output of the node".into()));
            self.dropped.push(report);
        }
        kept
    }

    /// Once it is time: see whether the disk takes writes again, and start from what it holds.
    fn try_again(&mut self) {
        let Some(outage) = &mut self.outage else { return };
        if Instant::now() < outage.next_try {
            return;
        }
        let dir = self.shared.dir.clone();
        let loaded = Log::open(&dir).and_then(|mut log| {
            log.probe()?;
            let recovered = load(&mut log)?;
            Ok((log, recovered))
        });
        match loaded {
            Ok((log, recovered)) => self.resume(log, recovered.state),
            Err(error) => {
                outage.why = unavailable(&error);
                let wait = self.wait.map_or(RETRY_FIRST, |wait| (wait * 2).min(RETRY_LAST));
                self.wait = Some(wait);
                outage.next_try = Instant::now() + wait;
                self.shared.raise("unavailable", error.to_string(), error.hint());
            }
        }
    }

    fn resume(&mut self, log: Log, state: State) {
        self.log = log;
        self.core = Core::new(state.clone(), self.policy.clone()).in_place_of(&self.core);
        self.core_alarms = 0;
        self.shared.view.replace(state, self.core.plan().clone());
        self.outage = None;
        let joins: Vec<Input> = self.joined.values().map(|machine| Input::Join { machine: machine.clone() }).collect();
        let inputs = if joins.is_empty() { vec![Input::Tick] } else { joins };
        match self.step(inputs) {
            Ok(batch) => {
                self.send(batch.assignments, batch.notices);
                self.shared.accepting.store(true, Ordering::Relaxed);
                self.shared.clear("unavailable");
                tracing::info!("the node accepts work again");
            }
            Err(why) => self.fail(why, vec![], vec![], vec![]),
        }
    }
}

/// Those to try once more, and those that were suspects before.
fn culprits(suspects: &mut Vec<Report>, reports: Vec<Report>) -> (Vec<Report>, Vec<Report>) {
    let (dropped, kept): (Vec<Report>, Vec<Report>) = reports.into_iter().partition(|report| suspects.contains(report));
    suspects.clone_from(&kept);
    (kept, dropped)
}

/// What tells one plan from the next, without comparing all its reasons.
fn planned(core: &Core) -> (u64, Vec<placement::Reservation>) {
    (core.plan().based_on, core.plan().reservations.clone())
}

fn answer(waiters: Vec<Waiter>, answers: Vec<Answer>) {
    let mut answers = answers.into_iter();
    for waiter in waiters {
        match waiter {
            Waiter::Many(reply, count) => drop(reply.send(Ok(answers.by_ref().take(count).collect()))),
            Waiter::One(reply) => {
                if let Some(answer) = answers.next() {
                    let _ = reply.send(Ok(answer));
                }
            }
            Waiter::Nobody => drop(answers.next()),
        }
    }
}

fn unavailable(error: &LogError) -> Unavailable {
    Unavailable { message: error.to_string(), hint: error.hint() }
}

fn fault(what: &str) -> Unavailable {
    tracing::error!("our fault: {what}");
    Unavailable {
        message: format!("our fault: {what}"),
        hint: Some("the node starts over from what is on disk; please report this".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_gets_one_more_chance_after_a_panic() {
        let report = |machine: &str, generation| Report { machine: machine.into(), generation, runs: vec![] };
        let mut suspects = vec![];
        let both = || vec![report("a", 1), report("b", 1)];
        assert_eq!(culprits(&mut suspects, both()), (both(), vec![]));
        let newer = vec![report("a", 1), report("b", 2)];
        assert_eq!(culprits(&mut suspects, newer), (vec![report("b", 2)], vec![report("a", 1)]));
        assert_eq!(culprits(&mut suspects, both()), (both(), vec![]), "only one panic after the other counts");
    }
}
