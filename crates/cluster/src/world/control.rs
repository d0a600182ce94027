//! The simulated control process: the real core between an inbox and a disk, and the ways it dies.

use super::checker::Broken;
use super::disk::{Disk, Medium};
use super::network::Event;
use super::random::Random;
use super::{Mutation, World, queues};
use crate::{Batch, Core, Input, JobState};
use placement::Policy;
use spec::{JobId, JobSpec, Span, Time};

pub struct Control {
    /// `None` while the process is down.
    pub core: Option<Core>,
    pub disk: Disk,
    /// With each input the person to answer.
    pub inbox: Vec<(Input, Option<(usize, u64)>)>,
    pub scheduled: bool,
    pub disk_fails_until: Time,
    pub crash_soon: bool,
    /// How far the clock of its machine is off, in milliseconds.
    pub skew: i64,
    /// The one timer of the process: events of an older setting are void.
    pub timer: u64,
    random: Random,
    policy: Policy,
    restarting: bool,
}

/// Where in a step the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    BeforeCommit,
    WhileWriting,
    AfterCommit,
    WhileSending,
}

fn wrong(detail: String) -> Broken {
    Broken { rule: "recovery finds what was committed", detail }
}

impl Control {
    pub fn new(seed: u64) -> Control {
        // Promising and explaining less changes what happens, and is less work.
        let reservations = usize::try_from(seed % 5).unwrap_or(0);
        let shortest_run = Span::seconds(20 * (seed % 3));
        // Runs are short here, so in some worlds a restart at another size costs next to nothing.
        let restart = Span::millis(if seed.is_multiple_of(2) { 10 } else { 1000 });
        let policy = Policy { shortest_run, restart, reservations, explained: 4 * reservations, ..Policy::default() };
        Control {
            core: None,
            disk: Disk::new(if seed.is_multiple_of(8) { Medium::Bytes } else { Medium::Values }),
            inbox: vec![],
            scheduled: false,
            disk_fails_until: Time(0),
            crash_soon: false,
            skew: 0,
            timer: 0,
            random: Random::of(seed, "control"),
            policy,
            restarting: true,
        }
    }

    /// What the archive says of the jobs that `spec` waits for, looked up as the real control process does: before
    /// the step, so perhaps too early.
    pub fn ended(&self, spec: &JobSpec) -> Vec<(JobId, JobState)> {
        let of_whole = |number: u64| {
            let mut states = self.disk.archived_tasks(number).map(|job| job.state).peekable();
            states.peek()?;
            Some(if states.all(|state| state == JobState::Succeeded) { JobState::Succeeded } else { JobState::Failed })
        };
        let end = |id: JobId| match id.task {
            _ if self.disk.shadow.is_live(id) => None,
            Some(_) => self.disk.archived(id).map(|job| job.state),
            None => self.disk.archived(id).map(|job| job.state).or_else(|| of_whole(id.number)),
        };
        spec.after.iter().filter_map(|after| end(after.job).map(|state| (after.job, state))).collect()
    }

    /// A new core from what is on disk, which must be exactly what was committed.
    fn recover(&mut self) -> Result<(), Broken> {
        let state = self.disk.recover().map_err(wrong)?;
        if state != self.disk.shadow {
            let (found, expected) = (state.generation(), self.disk.shadow.generation());
            return Err(wrong(format!("generation {found} was recovered, {expected} was committed")));
        }
        self.core = Some(Core::new(state, self.policy.clone()));
        Ok(())
    }
}

impl World {
    fn clock(&self) -> Time {
        Time(self.now.0.saturating_add_signed(self.control.skew))
    }

    pub(super) fn crash_control(&mut self) {
        self.control.core = None;
        self.control.inbox.clear();
        self.control.scheduled = false;
        if !self.control.restarting {
            self.control.restarting = true;
            let pause = self.control.random.between(100, 10_000);
            self.network.at(self.now + Span(pause), Event::ControlUp);
        }
    }

    pub(super) fn control_up(&mut self) -> Result<(), Broken> {
        self.control.restarting = false;
        self.control.recover()?;
        self.say(|| "the control process is up".into());
        self.control.inbox = vec![(Input::Queues { queues: queues() }, None)];
        self.control.scheduled = true;
        self.network.at(self.now, Event::ControlStep);
        for site in 0..self.sites.len() {
            self.join(site);
        }
        self.checker.nothing_lost(&self.control.disk.shadow, &self.control.disk)
    }

    pub(super) fn control_step(&mut self) -> Result<(), Broken> {
        self.control.scheduled = false;
        let clock = self.clock();
        let Some(core) = &mut self.control.core else { return Ok(()) };
        let (inputs, from): (Vec<Input>, Vec<_>) = std::mem::take(&mut self.control.inbox).into_iter().unzip();
        let batch = core.step(inputs, clock);
        if batch.answers.len() != from.len() {
            return Err(Broken { rule: "every input has one answer", detail: format!("{} of {}", batch.answers.len(), from.len()) });
        }
        let next = core.next_wake();
        self.tell(&batch);
        let death = self.death();
        if self.mutation == Some(Mutation::AnswersBeforeCommit) {
            self.give_answers(&batch, &from);
        }
        if self.mutation == Some(Mutation::SendsBeforeCommit) {
            self.send_assignments(&batch, usize::MAX);
        }
        match death {
            Some(Death::BeforeCommit) => {
                self.crash_control();
                return Ok(());
            }
            Some(Death::WhileWriting) => {
                let keep = self.control.random.below(1000);
                self.control.disk.tear(&batch, keep).map_err(wrong)?;
                self.crash_control();
                return Ok(());
            }
            _ => {}
        }
        if self.now < self.control.disk_fails_until {
            return self.disk_error(&batch, &from);
        }
        if !batch.records.is_empty() {
            self.control.disk.commit(&batch).map_err(wrong)?;
            // After the commit, because an earlier record of the batch may have ended what a later one forgets.
            self.checker.forgets(&batch.forgotten, &self.control.disk)?;
            self.control.disk.drop_archived(&batch.forgotten);
        }
        match death {
            Some(Death::AfterCommit) => self.crash_control(),
            Some(Death::WhileSending) => {
                self.send_assignments(&batch, 1);
                self.crash_control();
            }
            _ => {
                self.send_assignments(&batch, usize::MAX);
                self.give_answers(&batch, &from);
            }
        }
        if self.control.core.is_none() && self.mutation == Some(Mutation::DiskForgets) {
            self.control.disk.forget_last();
        }
        self.look_again_at(next, clock);
        if batch.records.is_empty() {
            return Ok(());
        }
        self.checkpoint()?;
        self.books_are_right()
    }

    /// Asks to forget some jobs, whatever has become of them: telling them apart is not for the asker. Fresh ones too,
    /// which a real node would keep for long.
    pub(super) fn forget_some(&mut self) {
        let next = self.control.core.as_ref().map_or(1, |core| core.state().next_number());
        if !self.control.random.chance(150) {
            return;
        }
        let numbers = (0..self.control.random.between(1, 4)).map(|_| self.control.random.between(1, next)).collect();
        self.control.inbox.push((Input::Forget { numbers }, None));
    }

    fn death(&mut self) -> Option<Death> {
        if !std::mem::take(&mut self.control.crash_soon) {
            return None;
        }
        let all = [Death::BeforeCommit, Death::WhileWriting, Death::AfterCommit, Death::WhileSending];
        let death = self.control.random.pick(&all).copied();
        self.say(|| format!("the control process dies: {death:?}"));
        death
    }

    /// Nothing of the batch became true: forget it, and say so.
    fn disk_error(&mut self, batch: &Batch, from: &[Option<(usize, u64)>]) -> Result<(), Broken> {
        if batch.records.is_empty() {
            self.send_assignments(batch, usize::MAX);
            self.give_answers(batch, from);
            return Ok(());
        }
        self.say(|| "the batch could not be written".into());
        for (person, number) in from.iter().flatten() {
            self.network.answer(self.now, *person, *number, None, self.healed);
        }
        if self.mutation != Some(Mutation::KeepsUncommitted) {
            self.control.recover()?;
        }
        // The node notices the new core by its missing answer and joins again.
        for site in 0..self.sites.len() {
            self.join(site);
        }
        Ok(())
    }

    fn give_answers(&mut self, batch: &Batch, from: &[Option<(usize, u64)>]) {
        for (answer, from) in batch.answers.iter().zip(from) {
            if let Some((person, number)) = from {
                self.network.answer(self.now, *person, *number, Some(answer.clone()), self.healed);
            }
        }
    }

    fn send_assignments(&mut self, batch: &Batch, most: usize) {
        for assignment in batch.assignments.iter().take(most) {
            if let Some(site) = self.sites.iter().position(|site| site.machine.id == assignment.machine) {
                self.network.down(self.now, site, assignment.clone(), self.healed);
            }
        }
    }

    /// The core is looked at again when it asked to be, and only then.
    fn look_again_at(&mut self, next: Option<Time>, clock: Time) {
        self.control.timer += 1;
        if let Some(next) = next.filter(|_| self.control.core.is_some() && self.mutation != Some(Mutation::NeverWakes)) {
            let timer = self.control.timer;
            self.network.at(self.now + (next - clock).max(Span(1)), Event::ControlTimer { timer });
        }
    }

    fn checkpoint(&mut self) -> Result<(), Broken> {
        if self.control.random.chance(100)
            && let Some(core) = &self.control.core
        {
            self.control.disk.save(core.state()).map_err(wrong)?;
        }
        Ok(())
    }

    fn books_are_right(&mut self) -> Result<(), Broken> {
        let Some(core) = &self.control.core else { return Ok(()) };
        let (known, committed) = (core.state().generation(), self.control.disk.shadow.generation());
        if known != committed {
            return Err(wrong(format!("the core is at generation {known}, the disk at {committed}")));
        }
        self.checker.nothing_lost(core.state(), &self.control.disk)?;
        if !core.state().machines().is_empty() {
            self.checker.reasons(core)?;
        }
        Ok(())
    }

    fn tell(&mut self, batch: &Batch) {
        if self.trace.is_none() {
            return;
        }
        for record in &batch.records {
            let text = match record {
                crate::Command::Adopt { starts, evictions, resizes, .. } => {
                    let jobs: Vec<String> = starts.iter().map(|start| format!("{} on {}", start.job, start.grant.machine)).collect();
                    let out = |eviction: &placement::Eviction| format!("{:?} for {}", eviction.victims, eviction.job);
                    let out: Vec<String> = evictions.iter().map(out).collect();
                    let other = |resize: &placement::Resize| format!("{} with {} ranks", resize.run, resize.grant.ranks.len());
                    let other: Vec<String> = resizes.iter().map(other).collect();
                    format!("  log: start {}; evict {}; go on {}", jobs.join(", "), out.join(", "), other.join(", "))
                }
                crate::Command::Observe { report, .. } => {
                    let runs: Vec<String> = report.runs.iter().map(|run| format!("{} {:?}", run.run, run.phase)).collect();
                    format!("  log: {} (generation {}) says {}", report.machine, report.generation, runs.join(", "))
                }
                crate::Command::Submit { number, spec, .. } => format!("  log: job {number} is {}", spec.name),
                crate::Command::Cancel { job, kill, .. } => format!("  log: cancel {job}, kill {kill}"),
                crate::Command::Join { machine, .. } => format!("  log: {} joins", machine.id),
                crate::Command::Leave { machine, .. } => format!("  log: {machine} is taken out"),
                crate::Command::Queues { .. } => "  log: queues".into(),
                crate::Command::Wake { .. } => "  log: wake".into(),
                crate::Command::Forget { numbers, .. } => format!("  log: forget {numbers:?}"),
            };
            self.say(|| text);
        }
        for job in &batch.archived {
            self.say(|| format!("  job {} {}: {}", job.id, job.state.name(), job.outcome.as_deref().unwrap_or("")));
        }
    }
}
