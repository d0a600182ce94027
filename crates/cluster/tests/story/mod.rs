//! A small language for stories about the core.

use cluster::world::sample;
use cluster::{Answer, Batch, Core, Input, Job, State};
use machine::{Bytes, CpuShare, DeviceClass};
use placement::{Policy, Reason};
use spec::{
    Array, Dependency, DependencyCondition, DeviceRequest, EndCause, JobId, JobSpec, Limits, Queue, Report, Retry, RetryOn, RunId,
    RunPhase, RunReport, Span, Time,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

type Told = Result<(), String>;

/// Noon of some day; stories print the time since.
const BEGIN: Time = Time(1_800_000_000_000);

struct Story {
    core: Core,
    now: Time,
    /// What each machine last said of each of its runs.
    said: BTreeMap<String, BTreeMap<RunId, RunReport>>,
    queues: Vec<Queue>,
    out: String,
}

/// The story with, under each command, what it led to.
pub fn tell(text: &str) -> Result<String, String> {
    let mut story = Story {
        core: Core::new(State::new(), Policy::default()),
        now: BEGIN,
        said: BTreeMap::new(),
        queues: vec![Queue::default()],
        out: String::new(),
    };
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            story.print(line);
            continue;
        }
        story.print(&format!("> {line}"));
        story.command(line).map_err(|error| format!("line {}: {line}: {error}", number + 1))?;
    }
    Ok(story.out)
}

/// `key=value` words of a command, and the plain words before them.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(words: &[&'a str]) -> Words<'a> {
        let named = words.iter().filter_map(|word| word.split_once('=')).collect();
        Words { plain: words.iter().filter(|word| !word.contains('=')).copied().collect(), named }
    }

    fn first(&self, what: &str) -> Result<&'a str, String> {
        self.plain.first().copied().ok_or(format!("{what} is missing"))
    }

    fn get<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        self.named.get(key).map(|value| value.parse().map_err(|_| format!("{key}={value} is not understood"))).transpose()
    }

    fn span(&self, key: &str) -> Result<Option<Span>, String> {
        self.named.get(key).map(|value| span(value)).transpose()
    }
}

fn span(text: &str) -> Result<Span, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| format!("{text} is no time"))?;
    match unit {
        "ms" => Ok(Span::millis(number)),
        "s" => Ok(Span::seconds(number)),
        "m" => Ok(Span::minutes(number)),
        "h" => Ok(Span::hours(number)),
        _ => Err(format!("{text} is no time")),
    }
}

fn size(text: &str) -> Result<Bytes, String> {
    let number = |suffix: &str| text.strip_suffix(suffix).and_then(|number| number.parse().ok());
    number("GiB").map(Bytes::gib).or_else(|| number("MiB").map(Bytes::mib)).ok_or(format!("{text} is no size"))
}

fn job(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|error| format!("{error}"))
}

impl Story {
    fn print(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn command(&mut self, line: &str) -> Told {
        let words: Vec<&str> = line.split_whitespace().collect();
        let rest = Words::of(&words[1..]);
        match words[0] {
            "machine" => self.machine(&rest),
            "queue" => self.queue(&rest),
            "submit" => {
                let (spec, user) = (Arc::new(spec(&rest)?), rest.named.get("as").copied().unwrap_or("ada"));
                let key = rest.get("key")?;
                self.step(vec![Input::Submit { spec, owner: sample::person(user, 1000), key, ended: vec![] }]);
                Ok(())
            }
            "what-if" => self.what_if(&rest),
            "cancel" => {
                let kill = rest.plain.get(1) == Some(&"kill");
                let by = sample::person(rest.named.get("as").copied().unwrap_or("ada"), 1000);
                self.step(vec![Input::Cancel { job: job(rest.first("the job")?)?, by, kill }]);
                Ok(())
            }
            "advance" => self.advance(span(rest.first("the time")?)?),
            "report" => self.report(&rest, &words),
            "forget" => self.forget(&rest),
            "retire" => {
                let numbers =
                    rest.plain.iter().map(|text| text.parse().map_err(|_| format!("{text} is no number"))).collect::<Result<_, _>>()?;
                self.step(vec![Input::Forget { numbers }]);
                Ok(())
            }
            "restart" => self.restart(),
            "show" => self.show(&rest),
            "why" => self.why(job(rest.first("the job")?)?),
            "assignment" => self.assignment(rest.first("the machine")?),
            other => Err(format!("there is no command '{other}'")),
        }
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let batch = self.core.step(inputs, self.now);
        self.tell_batch(&batch);
    }

    fn tell_batch(&mut self, batch: &Batch) {
        for answer in &batch.answers {
            match answer {
                Answer::Accepted(id) => self.print(&format!("  accepted as {id}")),
                Answer::Refused(refusal) => self.print(&format!("  refused: {refusal}")),
                Answer::Done => {}
            }
        }
        for job in &batch.archived {
            let code = job.exit_code.unwrap_or_default();
            self.print(&format!("  {} {}, exit code {code}: {}", job.id, job.state.name(), job.outcome.as_deref().unwrap_or("")));
        }
        for record in &batch.records {
            match record {
                cluster::Command::Forget { numbers, .. } => self.print(&format!("  forgotten: {numbers:?}")),
                cluster::Command::Adopt { starts, evictions, resizes, .. } => {
                    for eviction in evictions {
                        for victim in &eviction.victims {
                            self.print(&format!("  {victim} is evicted for {}", eviction.job));
                        }
                    }
                    for resize in resizes {
                        let (ranks, cpus) = (resize.grant.ranks.len(), resize.grant.cpus());
                        self.print(&format!("  {} goes on with {ranks} ranks, CPUs {cpus}", resize.run));
                    }
                    for start in starts {
                        let cpus = start.grant.cpus();
                        let devices = start.grant.devices().count();
                        let devices = if devices > 0 { format!(" and {devices} devices") } else { String::new() };
                        self.print(&format!("  {} starts on {}, CPUs {cpus}{devices}", start.job, start.grant.machine));
                    }
                }
                cluster::Command::Wake { .. } => self.print(&format!("  at {} a timer came due", self.since(self.now))),
                _ => {}
            }
        }
        for assignment in &batch.assignments {
            // A node takes in what it is told at once; a story says what comes of it.
            let said = self.said.entry(assignment.machine.clone()).or_default();
            said.retain(|run, _| assignment.runs.iter().any(|order| order.run == *run));
            for order in &assignment.runs {
                said.entry(order.run).or_insert_with(|| blank(order.run, RunPhase::Starting));
            }
        }
    }

    fn since(&self, at: Time) -> String {
        format!("+{}", at - BEGIN)
    }

    fn machine(&mut self, words: &Words<'_>) -> Told {
        let memory = words.named.get("memory").map_or(Ok(Bytes::gib(16)), |text| size(text))?;
        let (cpus, gpus) = (words.get("cpus")?.unwrap_or(4), words.get("gpus")?.unwrap_or(0));
        let machine = Arc::new(sample::machine(words.first("the name")?, cpus, gpus, memory));
        self.step(vec![Input::Join { machine }]);
        Ok(())
    }

    fn queue(&mut self, words: &Words<'_>) -> Told {
        let name = words.first("the name")?.to_owned();
        let limits = Limits { runs: words.get("runs")?, cpus: words.get("cpus")?, ..Limits::default() };
        self.queues.retain(|queue| queue.name != name);
        let guarantee = Limits { cpus: words.get("cpus-guaranteed")?, ..Limits::default() };
        let (parent, weight) = (words.get("parent")?, words.get("weight")?.unwrap_or(1));
        let evict_by_priority = words.plain.contains(&"evicts-by-priority");
        self.queues.push(Queue { name, parent, limits, weight, guarantee, evict_by_priority, ..Queue::default() });
        self.step(vec![Input::Queues { queues: self.queues.clone() }]);
        Ok(())
    }

    fn what_if(&mut self, words: &Words<'_>) -> Told {
        match self.core.what_if(Arc::new(spec(words)?), &sample::person("ada", 1000), &[], &[], self.now) {
            Err(refusal) => self.print(&format!("  would be refused: {refusal}")),
            Ok(answer) => {
                match (&answer.start, answer.planned_start) {
                    (Some(grant), _) => self.print(&format!("  would start now on {}, CPUs {}", grant.machine, grant.cpus())),
                    (None, Some(at)) => self.print(&format!("  would start at {}", self.since(at))),
                    (None, None) => self.print("  would wait"),
                }
                self.reasons(&answer.reasons);
            }
        }
        Ok(())
    }

    /// Time passes; the core is called whenever it asked to be.
    fn advance(&mut self, span: Span) -> Told {
        let until = self.now + span;
        while let Some(next) = self.core.next_wake().filter(|next| *next <= until) {
            self.now = next.max(self.now + Span(1));
            self.step(vec![Input::Tick]);
        }
        self.now = until;
        Ok(())
    }

    /// `report m0 1-1 exit 3`, or `report m0 generation=1` for an old report without any run.
    fn report(&mut self, words: &Words<'_>, all: &[&str]) -> Told {
        let machine = words.first("the machine")?.to_owned();
        let said = self.said.entry(machine.clone()).or_default();
        if let Some(run) = words.plain.get(1) {
            let run: RunId = run.parse().map_err(|error| format!("{error}"))?;
            let new = blank(run, phase(&all[3..])?);
            let told = said.entry(run).or_insert_with(|| new.clone());
            told.phase = new.phase;
            match told.phase {
                RunPhase::Running => told.started = Some(self.now),
                RunPhase::Ended(_) => told.ended = Some(self.now),
                _ => {}
            }
        }
        let generation = words.get("generation")?;
        let runs = if generation.is_some() { vec![] } else { said.values().cloned().collect() };
        let generation = generation.unwrap_or_else(|| self.core.state().assignment(&machine).generation);
        let report = Report { machine, generation, runs };
        if !self.core.state().would_change(&report) {
            self.print("  says nothing new");
        }
        self.step(vec![Input::Observe { report }]);
        Ok(())
    }

    fn forget(&mut self, words: &Words<'_>) -> Told {
        let machine = words.first("the machine")?;
        self.said.insert(machine.to_owned(), BTreeMap::new());
        Ok(())
    }

    /// The core stops, and another one starts from what was saved. Machines have to join it again.
    fn restart(&mut self) -> Told {
        let saved = self.core.state().checkpoint().map_err(|error| error.to_string())?;
        let state = State::restore(&saved).map_err(|error| error.to_string())?;
        self.core = Core::new(state, Policy::default());
        self.step(vec![]);
        Ok(())
    }

    fn show(&mut self, words: &Words<'_>) -> Told {
        let jobs: Vec<Job> = match words.plain.first() {
            Some(id) => vec![self.core.state().job(job(id)?).ok_or("that job is not live")?.clone()],
            None => self.core.state().jobs().values().cloned().collect(),
        };
        if jobs.is_empty() {
            self.print("  no live job");
        }
        for job in jobs {
            let run = job.runs.last().map(|run| format!(", run {}", run.id)).unwrap_or_default();
            let mut line = format!("  {} {} is {}{run}", job.id, job.spec.name, job.state.name());
            if let Some(at) = job.not_before {
                let _ = write!(line, ", tried again from {}", self.since(at));
            }
            self.print(&line);
        }
        Ok(())
    }

    fn why(&mut self, id: JobId) -> Told {
        let reasons = self.core.reasons(id);
        if reasons.is_empty() {
            self.print("  it does not wait");
        }
        self.reasons(&reasons);
        if let Some(at) = self.core.planned_start(id) {
            self.print(&format!("  planned to start at {}", self.since(at)));
        }
        Ok(())
    }

    fn reasons(&mut self, reasons: &[Reason]) {
        for reason in reasons {
            self.print(&format!("  - {}", reason.sentence(self.now)));
            if let Some(change) = &reason.change {
                self.print(&format!("    it would help to {change}"));
            }
        }
    }

    fn assignment(&mut self, machine: &str) -> Told {
        let assignment = self.core.state().assignment(machine);
        self.print(&format!("  generation {}", assignment.generation));
        for order in assignment.runs {
            let stop = match order.stop {
                Some(stop) if stop.kill => ", to be killed",
                Some(_) => ", to be stopped",
                None => "",
            };
            self.print(&format!("  {} ({}){stop}", order.run, order.spec.name));
        }
        Ok(())
    }
}

fn blank(run: RunId, phase: RunPhase) -> RunReport {
    RunReport { run, phase, started: None, ended: None, ranks: vec![], isolation: None, stages: vec![], usage: None, overstep: None }
}

fn phase(words: &[&str]) -> Result<RunPhase, String> {
    let number = || words.get(1).and_then(|word| word.parse().ok()).ok_or("a number is missing".to_owned());
    Ok(match words.first().copied().unwrap_or_default() {
        "starting" => RunPhase::Starting,
        "running" => RunPhase::Running,
        "stopping" => RunPhase::Stopping,
        "success" => RunPhase::Ended(EndCause::Success),
        "exit" => RunPhase::Ended(EndCause::Exit { rank: 0, code: number()? }),
        "signal" => RunPhase::Ended(EndCause::Signalled { rank: 0, signal: number()? }),
        "stopped" => RunPhase::Ended(EndCause::Stopped),
        "lost" => RunPhase::Ended(EndCause::Lost { message: words[1..].join(" ") }),
        "start-failed" => RunPhase::Ended(EndCause::StartFailed { message: words[1..].join(" "), hint: None, missing: false }),
        "missing" => RunPhase::Ended(EndCause::StartFailed { message: words[1..].join(" "), hint: None, missing: true }),
        "limit" | "saved" => {
            let limit = span(words.get(1).copied().unwrap_or_default())?;
            RunPhase::Ended(EndCause::Limit { limit, clean: words[0] == "saved" })
        }
        "out-of-memory" => {
            let limit = size(words.get(1).copied().unwrap_or_default())?;
            RunPhase::Ended(EndCause::OutOfMemory { rank: Some(0), limit, peak: limit })
        }
        other => return Err(format!("a run is not '{other}'")),
    })
}

fn spec(words: &Words<'_>) -> Result<JobSpec, String> {
    let mut spec = sample::spec(words.first("the name")?);
    spec::parse_ranks(words.named.get("ranks").unwrap_or(&"1")).map_err(|error| error.to_string())?.apply(&mut spec);
    spec.checkpoint.declared = words.plain.contains(&"saves");
    spec.cpus = CpuShare::whole(words.get("cpus")?.unwrap_or(1));
    spec.memory = words.named.get("memory").map(|text| size(text)).transpose()?.or(spec.memory);
    if let Some(count) = words.get("gpus")? {
        spec.devices = Some(DeviceRequest { class: Some(DeviceClass::Gpu), count, ..DeviceRequest::default() });
    }
    (spec.expect, spec.limit) = (words.span("expect")?, words.span("limit")?);
    spec.priority = words.get("priority")?.unwrap_or(0);
    spec.queue = words.get("queue")?;
    if let Some(attempts) = words.get("attempts")? {
        let on = words.named.get("on").map_or("lost", |text| *text).split(',').map(retry_on).collect::<Result<_, _>>()?;
        spec.retry = Retry { attempts, on, backoff: words.span("backoff")?.unwrap_or(Span::seconds(10)) };
    }
    for after in words.named.get("after").into_iter().flat_map(|list| list.split(',')) {
        let (id, condition) = after.split_once(':').unwrap_or((after, "ok"));
        let condition = match condition {
            "ok" => DependencyCondition::Ok,
            "not-ok" => DependencyCondition::NotOk,
            "any" => DependencyCondition::Any,
            other => return Err(format!("'{other}' is no condition")),
        };
        spec.after.push(Dependency { job: job(id)?, condition });
    }
    if let Some(array) = words.named.get("array") {
        let (range, at_once) = array.split_once('%').map_or((*array, None), |(range, at_once)| (range, at_once.parse().ok()));
        let (low, high) = range.split_once('-').ok_or("an array is 0-9 or 0-9%3")?;
        let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
        spec.array = Some(Array { ranges: vec![(number(low)?, number(high)?)], at_once });
    }
    Ok(spec)
}

fn retry_on(text: &str) -> Result<RetryOn, String> {
    Ok(match text {
        "error" => RetryOn::Error,
        "out-of-memory" => RetryOn::OutOfMemory,
        "limit" => RetryOn::Limit,
        "lost" => RetryOn::Lost,
        "start" => RetryOn::Start,
        "missing" => RetryOn::Missing,
        other => return Err(format!("'{other}' is no reason to try again")),
    })
}
