//! The loop around the state: inputs in, a batch out.

use crate::snapshot::View;
use crate::{Answer, Batch, Command, Effects, Input, Job, JobState, Refusal, State};
use diagnosis::{Finding, Severity};

use placement::{Blocker, Gate, Plan, Policy, Reason, Snapshot, Waiting, WhatIf};
use spec::{Identity, JobId, JobSpec, Report, RunId, RunPhase, Span, Supposition, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The decider: the state, and the latest plan made from it. Does no I/O and reads no clock.
///
/// After a batch of [`Core::step`] could not be written to disk, the core knows things that never happened:
/// throw it away and make a new one from what is on disk.
#[derive(Debug)]
pub struct Core {
    state: State,
    policy: Policy,
    plan: Plan,
    planned_at: Time,
    replan: bool,
    view: View,
    changed_jobs: BTreeSet<JobId>,
    contacts: BTreeMap<String, Contact>,
    /// Machines on which something new may start; follows from `contacts`.
    accepts: BTreeSet<String>,
    recent: Recent,
    alarms: VecDeque<Finding>,
}

/// How jobs ended that ended since this core was made, newest 10,000: for jobs that name them under `after`
/// while the archive is still being written.
#[derive(Debug, Default)]
struct Recent {
    outcomes: BTreeMap<JobId, JobState>,
    order: VecDeque<JobId>,
}

/// The finding about runs that the log never ordered.
pub const RUNS_UNKNOWN: &str = "runs.unknown";

const RECENT: usize = 10_000;
const ALARMS: usize = 100;

/// Live jobs, tasks of arrays counted each: every one is kept in memory and looked at by the planner.
const LIVE_JOBS: u64 = 200_000;
const LIVE_JOBS_OF_ONE: u64 = 100_000;

/// A plan whose next promised start has passed is made again, but not more often than this.
const PLAN_AGAIN: Span = Span::seconds(30);

impl Recent {
    fn insert(&mut self, job: JobId, state: JobState) {
        if self.outcomes.insert(job, state).is_none() {
            self.order.push_back(job);
        }
        while self.order.len() > RECENT {
            if let Some(oldest) = self.order.pop_front() {
                self.outcomes.remove(&oldest);
            }
        }
    }
}

impl Recent {
    /// `numbers` is in order.
    fn forget(&mut self, numbers: &[u64]) {
        self.outcomes.retain(|job, _| numbers.binary_search(&job.number).is_err());
        self.order.retain(|job| self.outcomes.contains_key(job));
    }
}

/// What this core itself heard of one machine.
#[derive(Clone, Debug, Default)]
struct Contact {
    joined: bool,
    /// A state from disk knew the machine before it joined. What runs there may be more than that state says, when a disk
    /// lost the end of the log, so nothing new starts there before its node has told.
    told_first: bool,
    /// It was taken out since this core was made. What its runs held was given out again when it comes back.
    left: bool,
    reported: Option<Time>,
    /// Runs that execute there and that the log never ordered. Their nodes end them; what they hold is not free till then.
    unknown: BTreeSet<RunId>,
}

impl Contact {
    fn accepts(&self) -> bool {
        self.joined && (!self.told_first || self.reported.is_some()) && self.unknown.is_empty()
    }
}

/// What one step gathers.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    /// Machines to be told their assignment, changed or not.
    tell: BTreeSet<String>,
}

impl Core {
    /// No machine accepts work until it has joined this core ([`Input::Join`]) and, if the state remembers it, has said
    /// what runs there: what a state from disk remembers of a machine may be long past.
    pub fn new(state: State, policy: Policy) -> Core {
        let mut core = Core {
            view: View::default(),
            changed_jobs: state.jobs().keys().copied().collect(),
            state,
            policy,
            plan: Plan::default(),
            planned_at: Time(0),
            replan: true,
            contacts: BTreeMap::new(),
            accepts: BTreeSet::new(),
            recent: Recent::default(),
            alarms: VecDeque::new(),
        };
        core.refresh(Time(0));
        core
    }

    /// The core takes the place of one that believed things which could not be written: what machines said still counts.
    pub fn in_place_of(mut self, other: &Core) -> Core {
        self.contacts = other.contacts.clone();
        self.contacts.values_mut().for_each(|contact| contact.joined = false);
        self
    }

    /// Takes in the inputs, wakes what is due, plans if something changed, adopts the plan if it is sound.
    ///
    /// The state is ahead of the disk from here until the batch is committed.
    pub fn step(&mut self, inputs: Vec<Input>, now: Time) -> Batch {
        let mut gathered = Gathered::default();
        for input in inputs {
            let answer = self.take(input, now, &mut gathered);
            gathered.batch.answers.push(answer);
        }
        if self.state.due(now) {
            self.log(Command::Wake { at: now }, &mut gathered);
        }
        if self.replan || self.plan_is_past(now) {
            self.decide(now, &mut gathered);
        }
        if !self.changed_jobs.is_empty() || self.view.snapshot().generation != self.state.generation() {
            self.refresh(now);
        }
        let Gathered { mut batch, tell } = gathered;
        batch.assignments = tell.iter().map(|machine| self.state.assignment(machine)).collect();
        batch
    }

    fn take(&mut self, input: Input, now: Time, gathered: &mut Gathered) -> Answer {
        match input {
            Input::Submit { spec, owner, key, ended } => self.submit(spec, owner, key, ended, now, gathered),
            Input::Cancel { job, by, kill } => {
                let answer = self.log(Command::Cancel { job, by, kill, at: now }, gathered);
                match (answer, self.recent.outcomes.get(&job)) {
                    (Answer::Refused(Refusal::NoSuchJob(_)), Some(state)) => {
                        Answer::Refused(Refusal::AlreadyEnded { job, state: state.name() })
                    }
                    (answer, _) => answer,
                }
            }
            Input::Join { machine } => {
                // Told its assignment whether or not it is new to us: its node may have restarted.
                gathered.tell.insert(machine.id.clone());
                let remembered = self.state.machines().contains_key(&machine.id);
                let contact = self.contacts.entry(machine.id.clone()).or_default();
                contact.told_first |= remembered && !contact.joined;
                contact.joined = true;
                self.look_at_contact(&machine.id);
                self.log(Command::Join { machine, at: now }, gathered)
            }
            Input::Leave { machine, by } => self.leave(machine, by, now, gathered),
            Input::Queues { queues } => self.log(Command::Queues { queues, at: now }, gathered),
            Input::Observe { report } => self.observe(report, now, gathered),
            Input::Forget { numbers } => {
                let numbers = self.state.forgettable(&numbers);
                self.log(Command::Forget { numbers, at: now }, gathered)
            }
            Input::Tick => Answer::Done,
        }
    }

    fn leave(&mut self, machine: String, by: Identity, now: Time, gathered: &mut Gathered) -> Answer {
        if self.contacts.get(&machine).is_some_and(|contact| contact.joined) {
            return Answer::Refused(Refusal::MachineThere(machine));
        }
        let answer = self.log(Command::Leave { machine: machine.clone(), by, at: now }, gathered);
        if answer == Answer::Done {
            // Should it come back after all, it has to say first what runs there.
            self.contacts.insert(machine, Contact { told_first: true, left: true, ..Contact::default() });
        }
        answer
    }

    fn submit(
        &mut self,
        spec: Arc<JobSpec>,
        owner: Identity,
        key: Option<String>,
        ended: Vec<(JobId, JobState)>,
        now: Time,
        gathered: &mut Gathered,
    ) -> Answer {
        if let Some((key, earlier)) = key.as_ref().and_then(|key| Some((key, self.state.submitted_as(owner.uid, key)?))) {
            return match earlier.is_of(&spec) {
                true => Answer::Accepted(earlier.job),
                false => Answer::Refused(Refusal::KeyUsed { key: key.clone(), job: earlier.job }),
            };
        }
        if let Err(refusal) = self.room_for(&spec, &owner) {
            return Answer::Refused(refusal);
        }
        let mut ended = self.with_recent(&spec, ended);
        // What this very step forgets was looked up too early.
        ended.retain(|(job, _)| !gathered.batch.forgotten.contains(&job.number));
        let number = self.state.next_number();
        match self.log(Command::Submit { number, spec, owner, key, ended, at: now }, gathered) {
            Answer::Done => Answer::Accepted(JobId::new(number)),
            other => other,
        }
    }

    /// Here and not where commands are applied: what was accepted once is replayed under any bound.
    fn room_for(&self, spec: &JobSpec, owner: &Identity) -> Result<(), Refusal> {
        let asked = spec.array.as_ref().map_or(1, |array| array.len());
        let all = self.state.jobs().len() as u64;
        let own = self.state.live_jobs_of(owner.uid);
        for (whose, live, most) in [(owner.user.as_str(), own, LIVE_JOBS_OF_ONE), ("everybody together", all, LIVE_JOBS)] {
            if live.saturating_add(asked) > most {
                return Err(Refusal::TooManyJobs { whose: format!("{whose} has"), live, asked, most });
            }
        }
        Ok(())
    }

    /// `ended`, and what this core itself knows of the jobs that `spec` waits for.
    fn with_recent(&self, spec: &JobSpec, mut ended: Vec<(JobId, JobState)>) -> Vec<(JobId, JobState)> {
        for dependency in &spec.after {
            let known = self.state.is_live(dependency.job) || ended.iter().any(|(job, _)| *job == dependency.job);
            if let Some(state) = self.recent.outcomes.get(&dependency.job).filter(|_| !known) {
                ended.push((dependency.job, *state));
            }
        }
        ended
    }

    fn observe(&mut self, report: Report, now: Time, gathered: &mut Gathered) -> Answer {
        let machine = report.machine.clone();
        self.hear(&report, now);
        // A node that works by an older assignment has not got the newest one: say it again.
        let behind = self.state.machines().get(&machine).is_some_and(|known| report.generation < known.assignment_generation);
        if behind {
            gathered.tell.insert(machine);
        }
        let report = self.state.essence(report, now);
        self.log(Command::Observe { report, at: now }, gathered)
    }

    fn hear(&mut self, report: &Report, now: Time) {
        let contact = self.contacts.entry(report.machine.clone()).or_default();
        contact.reported = Some(now);
        let executing = report.runs.iter().filter(|run| !matches!(run.phase, RunPhase::Ended(_))).map(|run| run.run);
        let unknown: BTreeSet<RunId> = executing
            .filter(|run| contact.unknown.contains(run) || !self.state.ordered(*run) || (contact.left && !self.state.holds(*run)))
            .collect();
        let news: Vec<String> = unknown.difference(&contact.unknown).map(ToString::to_string).collect();
        contact.unknown = unknown;
        self.look_at_contact(&report.machine);
        if !news.is_empty() {
            self.raise(Finding {
                id: RUNS_UNKNOWN.into(),
                severity: Severity::Error,
                title: format!("machine {} executes what the log does not know", report.machine),
                detail: "nothing new starts there until its node has ended them".into(),
                evidence: news.iter().map(|run| format!("run {run}")).collect(),
                hint: Some("the end of the log was lost, or an older one was put in its place; the jobs that are known start again".into()),
                source: "docs/concepts/state-machine.md".into(),
                ..Finding::default()
            });
        }
    }

    /// After a change of what is known of a machine.
    fn look_at_contact(&mut self, machine: &str) {
        let accepts = self.contacts.get(machine).is_some_and(Contact::accepts);
        self.replan |= match accepts {
            true => self.accepts.insert(machine.to_owned()),
            false => self.accepts.remove(machine),
        };
    }

    /// Applies a command and, if it changed anything, puts it into the batch.
    fn log(&mut self, command: Command, gathered: &mut Gathered) -> Answer {
        let effects = match self.state.apply(&command) {
            Ok(effects) => effects,
            Err(refusal) => return Answer::Refused(refusal),
        };
        if effects.changed {
            gathered.batch.records.push(command);
            self.collect(effects, gathered);
        }
        Answer::Done
    }

    fn collect(&mut self, effects: Effects, gathered: &mut Gathered) {
        self.replan |= effects.replan;
        self.changed_jobs.extend(effects.changed_jobs);
        gathered.tell.extend(effects.changed_machines);
        effects.ended.iter().for_each(|job| self.recent.insert(job.id, job.state));
        effects.finished_arrays.iter().for_each(|(id, state)| self.recent.insert(*id, *state));
        gathered.batch.archived.extend(effects.ended);
        if !effects.forgotten.is_empty() {
            self.recent.forget(&effects.forgotten);
            gathered.batch.forgotten.extend(effects.forgotten);
        }
        gathered.batch.notices.extend(effects.notices);
    }

    /// One plan for everything that changed in this step.
    fn decide(&mut self, now: Time, gathered: &mut Gathered) {
        self.refresh(now);
        self.replan = false;
        self.planned_at = now;
        self.plan = placement::plan(self.view.snapshot(), &self.policy, now);
        let violations = placement::check(&self.plan, self.view.snapshot(), &self.policy);
        if !violations.is_empty() {
            let evidence = violations.iter().map(ToString::to_string).collect();
            self.alarm("plan.unsound", "a plan broke a rule and was not adopted", evidence);
            return self.drop_decisions();
        }
        let Plan { starts, evictions, resizes, .. } = &self.plan;
        if starts.is_empty() && evictions.is_empty() && resizes.is_empty() {
            return;
        }
        let (starts, evictions, resizes) = (starts.clone(), evictions.clone(), resizes.clone());
        let adopt = Command::Adopt { based_on: self.plan.based_on, starts, evictions, resizes, at: now };
        if let Answer::Refused(refusal) = self.log(adopt, gathered) {
            self.alarm("plan.refused", "a plan did not fit the state it was made from", vec![refusal.to_string()]);
            self.drop_decisions();
        }
    }

    /// Of a plan that is not adopted, what it would have changed.
    fn drop_decisions(&mut self) {
        self.plan.starts.clear();
        self.plan.evictions.clear();
        self.plan.resizes.clear();
    }

    fn alarm(&mut self, id: &str, title: &str, evidence: Vec<String>) {
        self.raise(Finding {
            id: id.into(),
            severity: Severity::Critical,
            title: title.into(),
            detail: "nothing was started by it; what runs is not touched".into(),
            evidence,
            hint: Some("this is a bug in Ashlar; please report it with the evidence".into()),
            source: "docs/concepts/state-machine.md".into(),
            ..Finding::default()
        });
    }

    fn raise(&mut self, finding: Finding) {
        self.alarms.push_back(finding);
        while self.alarms.len() > ALARMS {
            self.alarms.pop_front();
        }
    }

    fn refresh(&mut self, now: Time) {
        let changed = std::mem::take(&mut self.changed_jobs);
        self.view.refresh(&self.state, &changed, &self.accepts, self.policy.usage_half_life, now);
    }

    /// The moment at which the plan stops being the truth by itself: the first planned start, or the first run that may be evicted
    /// from then on.
    fn plan_ends(&self) -> Option<Time> {
        let start = self.plan.reservations.iter().map(|reservation| reservation.at).min();
        let resizable = placement::next_resizable(&self.view.snapshot().running, &self.policy, self.planned_at);
        let first = [start, self.next_evictable(), resizable].into_iter().flatten().min()?;
        Some(first.max(self.planned_at + PLAN_AGAIN))
    }

    /// When the next run has held its grant for long enough, if anybody waits who may be given its place.
    fn next_evictable(&self) -> Option<Time> {
        let snapshot = self.view.snapshot();
        let entitled = |row: &placement::QueueSnapshot| !row.queue.guarantee.is_empty() || row.queue.evict_by_priority;
        if !snapshot.queues.iter().any(entitled) {
            return None;
        }
        let queues: Vec<spec::Queue> = snapshot.queues.iter().map(|row| row.queue.clone()).collect();
        let tree = spec::QueueTree::new(&queues);
        let may_evict: BTreeSet<&str> = (0..queues.len())
            .filter(|place| tree.path(*place).any(|above| entitled(&snapshot.queues[above])))
            .map(|place| queues[place].name.as_str())
            .collect();
        if !snapshot.waiting.iter().any(|job| job.gates.is_empty() && may_evict.contains(job.queue.as_str())) {
            return None;
        }
        let runs = snapshot.running.iter().filter(|run| run.evicted.is_none());
        runs.map(|run| run.since + self.policy.shortest_run).filter(|at| *at > self.planned_at).min()
    }

    fn plan_is_past(&self, now: Time) -> bool {
        // A plan made in the future was made before the clock stepped back.
        self.plan_ends().is_some_and(|at| at <= now) || (self.planned_at > now && !self.plan.reservations.is_empty())
    }

    /// When [`Core::step`] should next be called although nothing happens.
    pub fn next_wake(&self) -> Option<Time> {
        [self.state.next_due(), self.plan_ends()].into_iter().flatten().min()
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The latest plan. Its starts have been adopted.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the planner is shown now.
    pub fn snapshot(&self) -> &Snapshot {
        self.view.snapshot()
    }

    /// Findings about this core itself, oldest first. Empty unless there is a bug or the end of the log was lost.
    pub fn alarms(&self) -> impl Iterator<Item = &Finding> {
        self.alarms.iter()
    }

    /// When the machine last reported to this core; `None` when it has not.
    pub fn last_report(&self, machine: &str) -> Option<Time> {
        self.contacts.get(machine)?.reported
    }

    /// Machines whose nodes have joined this core, and whether something new may start there.
    pub fn connected(&self) -> impl Iterator<Item = (&str, bool)> {
        let joined = self.contacts.iter().filter(|(_, contact)| contact.joined);
        joined.map(|(machine, contact)| (machine.as_str(), contact.accepts()))
    }

    /// Why the job waits, most important first. Empty only when it does not wait.
    pub fn reasons(&self, id: JobId) -> Vec<Reason> {
        let Some(job) = self.state.job(id).filter(|job| job.state == JobState::Waiting) else { return vec![] };
        let planned = self.plan.reasons.iter().find(|(job, _)| *job == id).map(|(_, reasons)| reasons);
        match planned {
            Some(reasons) if !reasons.is_empty() => reasons.clone(),
            _ => vec![self.plain_reason(job)],
        }
    }

    /// For a job that the latest plan says nothing of, because it could not be adopted.
    fn plain_reason(&self, job: &Job) -> Reason {
        let gate = job.after.first().map(|after| Gate::After { job: after.job, condition: after.condition });
        let gate = gate.or(job.not_before.map(|until| Gate::Backoff { until }));
        let blocker = match gate {
            Some(gate) => Blocker::Gate(gate),
            None if self.accepts.is_empty() => Blocker::NoMachine,
            None => Blocker::Behind { jobs: self.state.waiting().take_while(|other| other.id < job.id).count() as u64 },
        };
        Reason { blocker, held_by: vec![], change: None, until: job.not_before, never: false }
    }

    /// When the job is planned to start, if it is among those planned that far.
    pub fn planned_start(&self, id: JobId) -> Option<Time> {
        self.plan.reservations.iter().find(|reservation| reservation.job == id).map(|reservation| reservation.at)
    }

    /// What a submission would lead to now. Of an array, its first task. Nothing changes; `suppose` is taken to be so. `ended` is as in
    /// [`Input::Submit`]. Refused as the submission would be, and when the job would be cancelled at once.
    pub fn what_if(
        &self,
        spec: Arc<JobSpec>,
        owner: &Identity,
        suppose: &[Supposition],
        ended: &[(JobId, JobState)],
        now: Time,
    ) -> Result<WhatIf, Refusal> {
        self.room_for(&spec, owner)?;
        let queue = self.state.queue_for(&spec, owner)?.name.clone();
        let ended = self.with_recent(&spec, ended.to_vec());
        let (after, never) = self.state.open_dependencies(&spec.after, &ended)?;
        if let Some((dependency, _)) = never {
            return Err(Refusal::Inconsistent(format!("it could never start: job {} did not end as 'after' asks", dependency.job)));
        }
        let gates = after.iter().map(|after| Gate::After { job: after.job, condition: after.condition }).collect();
        let number = self.state.next_number();
        let job = match &spec.array {
            Some(array) => JobId { number, task: array.indices().next() },
            None => JobId::new(number),
        };
        let waiting = Waiting { job, spec, queue, user: owner.user.clone(), submitted: now, gates, claim: None };
        let supposed = placement::suppose(self.view.snapshot(), suppose).map_err(|error| Refusal::Inconsistent(error.to_string()))?;
        Ok(placement::what_if(&supposed, &self.policy, now, waiting))
    }
}

#[cfg(test)]
mod tests;
