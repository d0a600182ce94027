//! Simulated people: they submit, lose answers, ask again, change their mind.

use super::random::Random;
use super::sample;
use crate::{Answer, Input, Refusal};
use machine::{Bytes, CpuShare, DeviceClass};
use spec::{
    Array, Dependency, DependencyCondition, DeviceRequest, Identity, JobId, JobSpec, Notify, NotifyOn, Retry, RetryOn, ShareRequest, Span,
    Time,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One person at a terminal.
#[derive(Debug)]
pub struct Person {
    pub identity: Identity,
    random: Random,
    next_request: u64,
    /// Sent, and not answered yet.
    pub open: BTreeMap<u64, Request>,
    /// Jobs they were told of.
    pub jobs: Vec<JobId>,
    /// Jobs that no machine can ever start; cancelled in the end.
    impossible: Vec<JobId>,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub input: Input,
    pub again_at: Time,
    impossible: bool,
}

/// An answer takes no longer than this, or it is lost.
const PATIENCE: Span = Span::seconds(5);

impl Person {
    pub fn new(number: u32, seed: u64) -> Person {
        let identity = sample::person(&format!("person{number}"), 1000 + number);
        let random = Random::of(seed, &identity.user);
        Person { identity, random, next_request: 0, open: BTreeMap::new(), jobs: vec![], impossible: vec![] }
    }

    /// What they type next, with the number to answer to. `largest` is the CPUs of the largest machine.
    pub fn act(&mut self, now: Time, largest: u32, gpus: bool, all: &[JobId]) -> Option<(u64, Input)> {
        if self.random.chance(250) {
            let job = *self.random.pick(&self.jobs)?;
            let kill = self.random.chance(300);
            return Some(self.send(Input::Cancel { job, by: self.identity.clone(), kill }, now, false));
        }
        let impossible = self.random.chance(30);
        let mut spec = random_spec(&mut self.random, self.next_request, largest, gpus, all);
        if impossible {
            spec.cpus = CpuShare::whole(4096);
        }
        // Without a key the answer may be lost for good, and nobody could ever cancel the job.
        let key = (impossible || self.random.chance(850)).then(|| format!("{}-{}", self.identity.user, self.next_request));
        let input = Input::Submit { spec: Arc::new(spec), owner: self.identity.clone(), key, ended: vec![] };
        Some(self.send(input, now, impossible))
    }

    fn send(&mut self, input: Input, now: Time, impossible: bool) -> (u64, Input) {
        let number = self.next_request;
        self.next_request += 1;
        self.open.insert(number, Request { input: input.clone(), again_at: now + PATIENCE, impossible });
        (number, input)
    }

    /// Requests without an answer for too long: sent again where that is safe, else given up.
    pub fn ask_again(&mut self, now: Time) -> Vec<(u64, Input)> {
        self.open.retain(|_, request| request.again_at > now || !matches!(request.input, Input::Submit { key: None, .. }));
        let late = self.open.iter_mut().filter(|(_, request)| request.again_at <= now);
        late.map(|(number, request)| {
            request.again_at = now + PATIENCE;
            (*number, request.input.clone())
        })
        .collect()
    }

    /// `None` is an error of the service, after which nothing is known. Gives the request it answers.
    pub fn hear(&mut self, number: u64, answer: Option<&Answer>) -> Option<Request> {
        answer?;
        let request = self.open.remove(&number)?;
        if let Some(Answer::Accepted(id)) = answer {
            self.jobs.push(*id);
            if request.impossible {
                self.impossible.push(*id);
            }
        }
        Some(request)
    }

    /// In the end, what can never start is cancelled.
    pub fn tidy_up(&mut self, now: Time) -> Vec<(u64, Input)> {
        let jobs = std::mem::take(&mut self.impossible);
        jobs.into_iter().map(|job| self.send(Input::Cancel { job, by: self.identity.clone(), kill: false }, now, false)).collect()
    }

    pub fn is_done(&self) -> bool {
        self.open.is_empty() && self.impossible.is_empty()
    }
}

/// Refusals that an honest service gives to what people type here.
pub fn is_fair(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::NoSuchJob(_) | Refusal::AlreadyEnded { .. })
}

fn random_spec(random: &mut Random, number: u64, largest: u32, gpus: bool, all: &[JobId]) -> JobSpec {
    let mut spec = sample::spec(&format!("job{number}"));
    spec.ranks = if random.chance(300) { u32::try_from(random.between(2, 4)).unwrap_or(2) } else { 1 };
    let each = (largest / spec.ranks).max(1);
    let whole = random.chance(700);
    let cpus = if whole { 1000 * random.between(1, u64::from(each)) } else { 250 * random.between(1, 3) };
    spec.cpus = CpuShare(u32::try_from(cpus).unwrap_or(1000));
    spec.ranks = spec.ranks.min(largest);
    spec.memory = Some(Bytes::mib(random.between(16, 512)));
    if gpus && random.chance(200) {
        // Every machine has room for this much beside a GPU.
        spec.devices = Some(DeviceRequest { class: Some(DeviceClass::Gpu), count: 1, ..DeviceRequest::default() });
        spec.ranks = 1;
        spec.cpus = CpuShare::ONE;
        if random.chance(500) {
            let memory = random.chance(600).then(|| Bytes::gib(random.between(5, 60)));
            let compute = (memory.is_none() || random.chance(500)).then(|| u32::try_from(random.between(100, 700)).unwrap_or(500));
            let share = ShareRequest { memory, compute, enforced: None };
            spec.devices.iter_mut().for_each(|request| request.share = Some(share));
        }
    }
    if random.chance(200) {
        spec.limit = Some(Span::seconds(random.between(1, 40)));
    }
    if random.chance(400) {
        spec.expect = Some(Span::seconds(random.between(1, 40)));
    }
    if random.chance(400) {
        let all = RetryOn::ALL;
        let on = all.iter().copied().filter(|_| random.chance(700)).collect();
        spec.retry = Retry { attempts: u32::try_from(random.between(2, 4)).unwrap_or(2), on, backoff: Span(random.between(0, 10_000)) };
    }
    if random.chance(250) {
        let conditions = [DependencyCondition::Ok, DependencyCondition::NotOk, DependencyCondition::Any];
        for _ in 0..random.between(1, 2) {
            let condition = *random.pick(&conditions).unwrap_or(&DependencyCondition::Any);
            spec.after.extend(random.pick(all).map(|job| Dependency { job: *job, condition }));
        }
    }
    if random.chance(150) {
        let last = u32::try_from(random.between(1, 5)).unwrap_or(1);
        let at_once = random.chance(600).then(|| u32::try_from(random.between(1, 3)).unwrap_or(1));
        spec.array = Some(Array { ranges: vec![(0, last)], at_once });
    }
    if random.chance(200) {
        spec.queue = Some(if random.chance(500) { "small" } else { "ranked" }.into());
    }
    if random.chance(100) {
        spec.notify = Some(Notify { on: vec![NotifyOn::Running, NotifyOn::Failed], command: vec!["notify".into()] });
    }
    spec.checkpoint.grace = Span(random.between(10, 3000));
    spec.priority = i32::try_from(random.below(3)).unwrap_or(0);
    if random.chance(300) {
        let more = u32::try_from(random.between(1, 5)).unwrap_or(1);
        spec.sizes = (spec.ranks..=spec.ranks + more).collect();
        spec.ranks += more;
    }
    spec.checkpoint.declared = random.chance(700);
    spec
}
