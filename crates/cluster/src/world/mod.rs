//! A simulated world around the real core: machines with supervisors, a disk, a network, people, and faults.
//!
//! Everything follows from one seed and a virtual clock, so `ASHLAR_SEED=7 cargo test -p cluster --test world replay -- --nocapture`
//! shows again, line by line, what seed 7 did. Faults stop after two virtual minutes; from then on every job must come to its end.
//! The rules are in [`Broken::rule`]; the code that checks them looks at what really executes, not at the books.

mod checker;
mod control;
mod disk;
mod network;
mod people;
pub(crate) mod random;
pub mod sample;
mod site;

pub use checker::Broken;
pub use random::Random;

use crate::{Answer, Input, Refusal};
use checker::Checker;
use control::Control;
use machine::Bytes;
use network::{Event, Network};
use people::Person;
use site::{NodeBugs, Site};
use spec::{Limits, Queue, Span, Time};

/// A way in which the world around the core is made wrong on purpose, to see that the checker is not blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A node obeys assignments that are older than the one it has.
    NodeIgnoresGeneration,
    /// A node says that a run has ended while its processes still run.
    NodeSaysEndedEarly,
    /// A restarted node does not find the supervisors that live on, and starts everything again.
    NodeForgetsSupervisors,
    /// A node says success whatever happened.
    NodeLies,
    /// People are answered before the batch is on disk.
    AnswersBeforeCommit,
    /// Assignments are sent before the batch is on disk.
    SendsBeforeCommit,
    /// The last transaction before a crash is gone although it was committed.
    DiskForgets,
    /// Nobody looks at the clock for the core.
    NeverWakes,
    /// A core whose batch could not be written goes on with what it believes.
    KeepsUncommitted,
}

impl Mutation {
    pub const ALL: [Mutation; 9] = [
        Mutation::NodeIgnoresGeneration,
        Mutation::NodeSaysEndedEarly,
        Mutation::NodeForgetsSupervisors,
        Mutation::NodeLies,
        Mutation::AnswersBeforeCommit,
        Mutation::SendsBeforeCommit,
        Mutation::DiskForgets,
        Mutation::NeverWakes,
        Mutation::KeepsUncommitted,
    ];
}

/// One world to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    pub seed: u64,
    pub mutation: Option<Mutation>,
    /// Keep a line for everything that happens.
    pub trace: bool,
}

/// What happened in one world.
#[derive(Debug, Default)]
pub struct Story {
    /// Jobs that people were told are accepted.
    pub accepted: usize,
    pub faults: u32,
    pub events: u64,
    /// The rule that did not hold, if one did not.
    pub broken: Option<Broken>,
    pub trace: Vec<String>,
}

/// Faults happen until here, measured from the beginning.
const FAULTS: Span = Span::minutes(2);
/// After the last fault, machines go on reporting for so long: whatever was down is up again by then.
const SETTLING: Span = Span::seconds(40);
/// People type until here.
const TYPING: Span = Span::seconds(100);
/// All work must be over by then.
const DEADLINE: Span = Span::hours(4);
/// Virtual time begins here, so that a clock may also step back.
const BEGIN: Time = Time(1_000_000_000);

pub(crate) struct World {
    now: Time,
    network: Network,
    control: Control,
    sites: Vec<Site>,
    people: Vec<Person>,
    checker: Checker,
    /// Draws for faults.
    random: Random,
    mutation: Option<Mutation>,
    healed: bool,
    faults: u32,
    trace: Option<Vec<String>>,
}

/// Lives one world to its end.
pub fn live(setup: Setup) -> Story {
    let mut world = World::new(setup);
    let mut events = 0;
    let broken = world.run(&mut events).err();
    Story { accepted: world.checker.count(), faults: world.faults, events, broken, trace: world.trace.unwrap_or_default() }
}

impl World {
    fn new(setup: Setup) -> World {
        let mut random = Random::of(setup.seed, "world");
        let bugs = NodeBugs {
            ignores_generation: setup.mutation == Some(Mutation::NodeIgnoresGeneration),
            says_ended_early: setup.mutation == Some(Mutation::NodeSaysEndedEarly),
            forgets_supervisors: setup.mutation == Some(Mutation::NodeForgetsSupervisors),
            lies_about_exit: setup.mutation == Some(Mutation::NodeLies),
        };
        let sites = (0..random.between(1, 3)).map(|n| {
            let cpus = u32::try_from(random.between(2, 8)).unwrap_or(2);
            let gpus = u32::try_from(random.below(3)).unwrap_or(0);
            let memory = Bytes::gib(random.between(3, 8));
            Site::new(sample::machine(&format!("m{n}"), cpus, gpus, memory), bugs, setup.seed)
        });
        World {
            now: BEGIN,
            sites: sites.collect(),
            network: Network::new(setup.seed),
            control: Control::new(setup.seed),
            people: (0..2 + u32::try_from(setup.seed % 2).unwrap_or(0)).map(|n| Person::new(n, setup.seed)).collect(),
            checker: Checker::default(),
            random,
            mutation: setup.mutation,
            healed: false,
            faults: 0,
            trace: setup.trace.then(Vec::new),
        }
    }

    fn run(&mut self, events: &mut u64) -> Result<(), Broken> {
        self.network.at(self.now, Event::ControlUp);
        for n in 0..self.sites.len() {
            self.network.at(self.now + Span(10), Event::NodeTick { site: n });
        }
        for n in 0..self.people.len() {
            self.network.at(self.now + Span::seconds(1), Event::Types { person: n });
        }
        self.network.at(self.now + Span::seconds(2), Event::Fault);
        self.network.at(BEGIN + FAULTS, Event::Heal);
        while let Some((at, event)) = self.network.next() {
            self.now = at;
            *events += 1;
            let quiet =
                matches!(event, Event::ToControl { .. } | Event::ToPerson { .. } | Event::Types { .. } | Event::ControlTimer { .. });
            self.happen(event)?;
            if !quiet {
                self.checker.truth(&self.sites, &self.control.disk)?;
            }
            if self.is_over() {
                self.say(|| "everything is over".into());
                let Some(core) = &self.control.core else { continue };
                return self.checker.end(core, &self.sites, &self.control.disk);
            }
            if at > BEGIN + DEADLINE {
                let detail = match &self.control.core {
                    Some(core) => core.state().jobs().keys().map(|id| format!("job {id}, why: {:?}", core.reasons(*id))).collect(),
                    None => "the control process never came back".into(),
                };
                return Err(Broken { rule: "every job ends", detail });
            }
        }
        Err(Broken { rule: "every job ends", detail: "nothing happens any more".into() })
    }

    fn is_over(&self) -> bool {
        let idle = |core: &crate::Core| core.state().jobs().is_empty();
        let quiet = self.sites.iter().all(|site| site.executing().next().is_none());
        self.healed && quiet && self.people.iter().all(Person::is_done) && self.control.core.as_ref().is_some_and(idle)
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::ControlUp => self.control_up(),
            Event::ControlStep => self.control_step(),
            Event::ControlTimer { timer } if timer == self.control.timer => self.control_step(),
            Event::ControlTimer { .. } => Ok(()),
            Event::ToControl { input, from, link } => {
                self.arrive(input, from, link);
                Ok(())
            }
            Event::ToNode { site, assignment, link } => {
                self.told(site, &assignment, link);
                Ok(())
            }
            Event::ToPerson { person, number, answer } => self.answered(person, number, answer),
            Event::Site { site, timer } if timer != self.sites[site].timer => Ok(()),
            Event::Site { site, .. } => {
                self.sites[site].advance(self.now);
                self.watch(site);
                self.report(site);
                Ok(())
            }
            Event::NodeTick { site } => {
                self.node_tick(site);
                Ok(())
            }
            Event::MachineUp { site } | Event::NodeUp { site } => {
                self.site_up(site, matches!(event, Event::MachineUp { .. }));
                Ok(())
            }
            Event::Types { person } => {
                self.types(person);
                Ok(())
            }
            Event::Fault => {
                self.fault();
                Ok(())
            }
            Event::Heal => {
                self.heal();
                Ok(())
            }
        }
    }

    fn told(&mut self, site: usize, assignment: &spec::Assignment, link: u64) {
        if self.network.link(site) == link && self.sites[site].powered {
            self.say(|| format!("{} is told generation {} ({} runs)", assignment.machine, assignment.generation, assignment.runs.len()));
            self.sites[site].take(assignment, self.now);
            self.watch(site);
        }
    }

    fn site_up(&mut self, site: usize, machine: bool) {
        if machine {
            self.sites[site].start_machine(self.now);
        } else {
            self.sites[site].start_node(self.now);
        }
        self.say(|| format!("{}m{site} is up", if machine { "" } else { "the node of " }));
        self.join(site);
        self.report(site);
        self.watch(site);
    }

    /// A report or a join from a machine, or a request of a person.
    fn arrive(&mut self, input: Input, from: Option<(usize, u64)>, link: Option<(usize, u64)>) {
        if link.is_some_and(|(site, link)| self.network.link(site) != link) || self.control.core.is_none() {
            return;
        }
        let input = match input {
            Input::Submit { spec, owner, key, .. } => {
                let ended = self.control.ended(&spec);
                Input::Submit { spec, owner, key, ended }
            }
            other => other,
        };
        self.control.inbox.push((input, from));
        self.forget_some();
        if !self.control.scheduled {
            self.control.scheduled = true;
            let soon = self.now + Span(self.random.between(0, 20));
            self.network.at(soon, Event::ControlStep);
        }
    }

    /// Looks at the site again when something is due there.
    fn watch(&mut self, site: usize) {
        self.sites[site].timer += 1;
        if let Some(next) = self.sites[site].next() {
            let timer = self.sites[site].timer;
            self.network.at(next.max(self.now + Span(1)), Event::Site { site, timer });
        }
    }

    fn node_tick(&mut self, site: usize) {
        self.sites[site].work(self.now);
        self.watch(site);
        // A real node joins until it was heard; here it is enough to do so again and again.
        if self.healed || self.random.chance(200) {
            self.join(site);
        }
        self.report(site);
        // In the end machines speak only when something happens there, so that the core has to look at the clock itself.
        if self.now < BEGIN + FAULTS + SETTLING {
            let pause = self.random.between(1000, 4000);
            self.network.at(self.now + Span(pause), Event::NodeTick { site });
        }
    }

    fn join(&mut self, site: usize) {
        if self.sites[site].node_up {
            let machine = self.sites[site].machine.clone();
            self.network.up(self.now, site, Input::Join { machine }, self.healed);
        }
    }

    fn report(&mut self, site: usize) {
        if self.sites[site].node_up {
            let report = self.sites[site].report();
            let late = self.sites[site].slow_until - self.now;
            self.network.up(self.now + late, site, Input::Observe { report }, self.healed);
        }
    }

    fn types(&mut self, person: usize) {
        let largest = self.sites.iter().map(|site| site.machine.cpus.len()).max().unwrap_or(1);
        let gpus = self.sites.iter().any(|site| !site.machine.devices.is_empty());
        let all: Vec<spec::JobId> = self.people.iter().flat_map(|person| person.jobs.iter().copied()).collect();
        let who = &mut self.people[person];
        let mut sent = who.ask_again(self.now);
        if self.now < BEGIN + TYPING {
            sent.extend(who.act(self.now, u32::try_from(largest).unwrap_or(1), gpus, &all));
        } else if self.healed {
            sent.extend(who.tidy_up(self.now));
        }
        for (number, input) in sent {
            self.say(|| match &input {
                Input::Submit { spec, .. } => format!("person{person} submits {} (request {number})", spec.name),
                Input::Cancel { job, kill, .. } => format!("person{person} cancels {job}{}", if *kill { " at once" } else { "" }),
                _ => String::new(),
            });
            self.network.ask(self.now, person, number, input, self.healed);
        }
        let pause = self.random.between(1000, 9000);
        self.network.at(self.now + Span(pause), Event::Types { person });
    }

    fn answered(&mut self, person: usize, number: u64, answer: Option<Answer>) -> Result<(), Broken> {
        let uid = self.people[person].identity.uid;
        let Some(request) = self.people[person].hear(number, answer.as_ref()) else { return Ok(()) };
        match (answer, request.input) {
            (Some(Answer::Accepted(id)), Input::Submit { spec, key, .. }) => {
                self.say(|| format!("person{person} is told: accepted as {id}"));
                self.checker.accepted(uid, key.as_deref(), id, &spec)
            }
            (Some(Answer::Refused(refusal)), input) => {
                self.say(|| format!("person{person} is told: {refusal}"));
                let live = |job| self.control.core.as_ref().is_some_and(|core| core.state().is_live(job));
                let forgotten = matches!(&refusal, Refusal::NoSuchDependency(job) if self.checker.forgot(*job));
                match input {
                    _ if forgotten => Ok(()),
                    _ if !people::is_fair(&refusal) => Err(Broken { rule: "refusals are fair", detail: refusal.to_string() }),
                    Input::Cancel { job, .. } if live(job) && self.checker.knows(job) => {
                        Err(Broken { rule: "a live job can be cancelled", detail: refusal.to_string() })
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn fault(&mut self) {
        if self.healed {
            return;
        }
        let site = usize::try_from(self.random.below(self.sites.len() as u64)).unwrap_or(0);
        self.faults += 1;
        match self.random.below(100) {
            0..15 => {
                self.say(|| "FAULT: the control process is killed".into());
                self.crash_control();
            }
            15..35 if self.sites[site].node_up => {
                self.say(|| format!("FAULT: the node of m{site} is killed"));
                self.sites[site].crash_node();
                let pause = self.random.between(100, 15_000);
                self.network.at(self.now + Span(pause), Event::NodeUp { site });
            }
            35..45 if self.sites[site].powered => {
                self.sites[site].crash_machine();
                let wiped = self.random.chance(200);
                if wiped {
                    self.sites[site].wipe();
                    self.network.cut(site);
                }
                self.say(|| format!("FAULT: m{site} loses its power{}", if wiped { " and its disk" } else { "" }));
                let pause = self.random.between(1000, 30_000);
                self.network.at(self.now + Span(pause), Event::MachineUp { site });
            }
            45..60 => {
                let killed = self.sites[site].kill_supervisor(&mut self.random);
                self.say(|| format!("FAULT: the supervisor of {killed:?} is killed"));
            }
            60..75 => {
                let until = self.now + Span(self.random.between(1000, 20_000));
                self.sites[site].slow_until = until;
                self.say(|| format!("FAULT: m{site} is slow"));
            }
            75..85 => {
                self.control.disk_fails_until = self.now + Span(self.random.between(10, 5000));
                self.say(|| "FAULT: the disk is full".into());
            }
            85..92 => {
                let step = i64::try_from(self.random.below(240_000)).unwrap_or(0) - 120_000;
                self.control.skew = (self.control.skew + step).clamp(-600_000, 600_000);
                self.say(|| format!("FAULT: the clock steps by {step} ms"));
            }
            _ => {
                self.control.crash_soon = true;
                self.say(|| "FAULT: the control process dies in its next commit".into());
            }
        }
        let pause = self.random.between(500, 12_000);
        self.network.at(self.now + Span(pause), Event::Fault);
    }

    /// No more faults; what is down comes back by itself.
    fn heal(&mut self) {
        self.say(|| "no more faults from here on".into());
        self.healed = true;
        self.control.crash_soon = false;
        self.control.disk_fails_until = Time(0);
        for site in &mut self.sites {
            site.slow_until = Time(0);
        }
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.now - BEGIN;
            trace.push(format!("{:>8.3}  {}", at.0 as f64 / 1000.0, line()));
        }
    }
}

/// The queues of every simulated world: one alone, and a lab with two teams, in one of which priority evicts.
fn queues() -> Vec<Queue> {
    let lab = Queue { name: "lab".into(), limits: Limits { runs: Some(3), ..Limits::default() }, weight: 2, ..Queue::default() };
    let small = Queue {
        name: "small".into(),
        parent: Some("lab".into()),
        limits: Limits { runs: Some(2), ..Limits::default() },
        guarantee: Limits { cpus: Some(3), ..Limits::default() },
        ..Queue::default()
    };
    let ranked = Queue { name: "ranked".into(), parent: Some("lab".into()), evict_by_priority: true, ..Queue::default() };
    vec![Queue::default(), lab, small, ranked]
}
