//! Facts about every plan, on random machines with random histories.

mod world;

use machine::{Bytes, CpuShare, Machine};
use placement::{Elastic, MachineSnapshot, Plan, Policy, QueueSnapshot, Running, Snapshot, Waiting, check, plan, what_if};
use proptest::prelude::*;
use spec::{Launch, Limits, RunId, Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use world::*;

#[derive(Clone, Debug)]
struct Asked {
    ranks: u32,
    /// Further sizes of an elastic job: so many ranks more.
    more: Option<u32>,
    milli: u32,
    memory: Option<u64>,
    shm: Option<u64>,
    devices: u32,
    model: usize,
    minutes: Option<u64>,
    priority: i32,
    queue: usize,
    jax: bool,
    part: Option<spec::ShareRequest>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let milli = prop_oneof![3 => (1u32..6).prop_map(|n| n * 1000), 2 => prop_oneof![Just(100u32), Just(250), Just(500), Just(900)], 1 => 1u32..4000];
    let size =
        (1u32..4, milli, proptest::option::weighted(0.8, prop_oneof![1u64..1000, 1u64..9000]), proptest::option::weighted(0.2, 1u64..500));
    let rest = (
        prop_oneof![3 => Just(0u32), 1 => 1u32..3],
        0usize..5,
        proptest::option::weighted(0.8, 1u64..300),
        -2i32..3,
        0usize..3,
        (any::<bool>(), proptest::option::weighted(0.3, 1u32..6)),
        proptest::option::weighted(0.4, part()),
    );
    (size, rest).prop_map(|((ranks, milli, memory, shm), (devices, model, minutes, priority, queue, (jax, more), part))| Asked {
        ranks,
        more,
        milli,
        memory,
        shm,
        devices,
        model,
        minutes,
        priority,
        queue,
        jax,
        part,
    })
}

fn part() -> impl Strategy<Value = spec::ShareRequest> {
    let level = proptest::option::weighted(0.1, proptest::sample::select(machine::Enforcement::ALL));
    let size = (proptest::option::of(1u64..90), proptest::option::of(1u32..1000));
    (size, level).prop_map(|((memory, compute), enforced)| spec::ShareRequest {
        memory: memory.map(Bytes::gib),
        compute: compute.or(memory.is_none().then_some(500)),
        enforced,
    })
}

/// As many as `PROPTEST_CASES` says, else these: a few now, a hundred thousand at night.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(usual), ..ProptestConfig::default() }
}

const QUEUES: [&str; 3] = ["default", "nlp", "gone"];

fn waiting(number: u64, asked: &Asked, one_queue: bool) -> Waiting {
    let models: [&[&str]; 5] = [&[], &["a100"], &["rtx4090"], &["a100", "4090"], &["910b"]];
    let mut job = job(number).milli(asked.milli).ranks(asked.ranks).priority(if one_queue { 0 } else { asked.priority });
    job = job.with(|spec| {
        let most = asked.ranks + asked.more.unwrap_or(0);
        spec::parse_ranks(&format!("{}..{most}", asked.ranks)).expect("a range").apply(spec);
        spec.checkpoint.declared = asked.priority < 2;
        spec.memory = asked.memory.map(Bytes::mib);
        spec.shm = asked.shm.map(Bytes::mib);
        spec.expect = asked.minutes.map(Span::minutes);
        spec.launch = if asked.jax { Launch::Jax } else { Launch::Plain };
    });
    if asked.devices > 0 {
        let models = models[asked.model].iter().map(|model| model.to_string()).collect();
        job = job.devices(spec::DeviceRequest { models, share: asked.part, ..request(asked.devices) });
    }
    job.queue(QUEUES[if one_queue { 0 } else { asked.queue }]).0
}

fn hardware() -> impl Strategy<Value = Machine> {
    (1u32..3, 1u32..6, 1u32..3, 1u64..16, 0u32..5).prop_map(|(nodes, cores, threads, gib, devices)| {
        let mut machine = machine(nodes, cores, threads, Bytes::gib(gib));
        for index in 0..devices {
            let model = if index % 3 == 2 { "NVIDIA GeForce RTX 4090" } else { "NVIDIA A100-SXM4-80GB" };
            machine.devices.push(gpu(index, model, if index % 3 == 2 { 24 } else { 80 }, index % nodes));
            if index == 3 {
                let slice =
                    machine::Slice { kind: machine::SliceKind::Mig, parent: machine::DeviceId("card".into()), profile: "3g.40gb".into() };
                machine.devices[3] = machine::Device { slice: Some(slice), ..gpu(index, model, 40, index % nodes) };
            }
        }
        machine
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let maybe = |range: std::ops::Range<u32>| proptest::option::weighted(0.3, range);
    (maybe(1..8), maybe(1..4), maybe(0..3), maybe(1..5)).prop_map(|(cpus, memory, devices, runs)| Limits {
        cpus,
        memory: memory.map(|gib| Bytes::gib(u64::from(gib))),
        devices,
        runs,
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    (0usize..5, prop_oneof![Just(2usize), Just(256)], 0u32..100).prop_map(|(reservations, explained, reserve)| Policy {
        reservations,
        explained,
        memory_reserve_permille: reserve,
        // Few leases, so that they run out.
        ports: (21_000, 21_064),
        ..Policy::default()
    })
}

/// A state that plans made: the starts of each round run on in the next, except those that have ended.
struct Story {
    snapshot: Snapshot,
    now: Time,
    spans: BTreeMap<u64, Span>,
    jobs: BTreeMap<u64, Waiting>,
}

impl Story {
    fn new(machine: Machine, limits: Limits) -> Story {
        let mut snapshot = snapshot(machine, []);
        snapshot.queues = vec![queue("default", 1, Limits::default()), queue("nlp", 3, limits)];
        Story { snapshot, now: NOW, spans: BTreeMap::new(), jobs: BTreeMap::new() }
    }

    fn submit(&mut self, jobs: impl IntoIterator<Item = Waiting>, policy: &Policy) {
        for job in jobs {
            self.spans.insert(job.job.number, job.spec.expect.unwrap_or(policy.default_expect));
            self.jobs.insert(job.job.number, job.clone());
            self.snapshot.waiting.push(job);
        }
    }

    fn adopt(&mut self, plan: &Plan) {
        for start in &plan.starts {
            let place = self.snapshot.waiting.iter().position(|job| job.job == start.job).expect("it waits");
            let job = self.snapshot.waiting.remove(place);
            self.snapshot.running.push(Running {
                run: RunId { job: job.job, attempt: 1 },
                queue: job.queue,
                user: job.user,
                name: job.spec.name.clone(),
                priority: job.spec.priority,
                grant: start.grant.clone(),
                since: self.now,
                expected_end: job.spec.expect.map(|span| self.now + span),
                grace: job.spec.checkpoint.grace,
                evicted: None,
                stopping: false,
                elastic: job.spec.is_elastic().then(|| Elastic { spec: job.spec.clone(), next: None }),
            });
        }
        for eviction in &plan.evictions {
            let job = self.snapshot.waiting.iter_mut().find(|job| job.job == eviction.job).expect("it waits");
            job.claim = Some(eviction.grant.clone());
            for run in self.snapshot.running.iter_mut().filter(|run| eviction.victims.contains(&run.run)) {
                (run.evicted, run.stopping) = (Some(placement::Evicted { by: eviction.job, at: self.now, ranks: None }), true);
            }
        }
        for resize in &plan.resizes {
            let run = self.snapshot.running.iter_mut().find(|run| run.run == resize.run).expect("it runs");
            run.evicted.get_or_insert(placement::Evicted { by: run.run.job, at: self.now, ranks: None });
            run.stopping = true;
            run.elastic.as_mut().expect("it is elastic").next = Some(resize.grant.clone());
        }
        self.snapshot.generation += 1;
    }

    /// Some runs end; those that were evicted wait again.
    fn end(&mut self, ends: impl Fn(&Running) -> bool) {
        let (ended, on): (Vec<Running>, Vec<Running>) = self.snapshot.running.drain(..).partition(ends);
        self.snapshot.running = on;
        let evicted = ended.iter().filter(|run| run.evicted.is_some());
        let again = |run: &Running| Waiting {
            claim: run.elastic.as_ref().and_then(|elastic| elastic.next.clone()),
            ..self.jobs[&run.run.job.number].clone()
        };
        self.snapshot.waiting.extend(evicted.map(again));
    }

    fn end_of(&self, run: &Running) -> Time {
        let end = run.since + self.spans[&run.run.job.number];
        run.evicted.map_or(end, |evicted| end.min(evicted.at + run.grace))
    }
}

fn facts(plan: &Plan, snapshot: &Snapshot, policy: &Policy, now: Time) -> Result<(), TestCaseError> {
    prop_assert_eq!(check(plan, snapshot, policy), vec![]);
    prop_assert_eq!(plan, &placement::plan(snapshot, policy, now), "not deterministic");
    let started: BTreeSet<_> = plan.starts.iter().map(|start| start.job).collect();
    let explained: BTreeSet<_> = plan.reasons.iter().map(|(job, _)| *job).collect();
    prop_assert!(started.is_disjoint(&explained));
    prop_assert_eq!(started.len() + explained.len(), snapshot.waiting.len());
    for reservation in &plan.reservations {
        prop_assert!(reservation.at > now);
    }
    for (job, reasons) in &plan.reasons {
        let planned = plan.reservations.iter().find(|reservation| reservation.job == *job);
        let never = reasons.iter().any(|reason| reason.never);
        prop_assert!(!(never && planned.is_some()), "{job} never fits and is planned");
        for reason in reasons {
            prop_assert!(reason.held_by.len() <= 8);
            prop_assert!(reason.until.is_none_or(|until| until > now), "{job}: {reason:?}");
            prop_assert!(!reason.sentence(now).is_empty());
        }
    }
    if snapshot.waiting.len() <= policy.explained {
        for (job, reasons) in &plan.reasons {
            let planned = plan.reservations.iter().any(|reservation| reservation.job == *job);
            prop_assert!(
                planned || reasons.iter().any(|reason| reason.never),
                "{} has neither a planned start nor a reason for ever: {:?}",
                job,
                reasons
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn every_plan_of_every_story_passes_the_check(
        machines in proptest::collection::vec(hardware(), 1..3),
        limits in limits(),
        policy in policies(),
        rounds in proptest::collection::vec((proptest::collection::vec(asked(), 0..8), 1u64..200, any::<u64>()), 1..6),
    ) {
        let mut story = Story::new(machines[0].clone(), limits);
        for (index, machine) in machines.into_iter().enumerate().skip(1) {
            let machine = Machine { id: format!("m{}", index + 1), ..machine };
            story.snapshot.machines.push(MachineSnapshot { machine: Arc::new(machine), accepts: true });
        }
        let mut number = 0;
        for (jobs, minutes, fate) in rounds {
            let jobs: Vec<Waiting> = jobs.iter().map(|asked| { number += 1; waiting(number, asked, false) }).collect();
            story.submit(jobs, &policy);
            let plan = plan(&story.snapshot, &policy, story.now);
            facts(&plan, &story.snapshot, &policy, story.now)?;
            story.adopt(&plan);
            story.now = story.now + Span::minutes(minutes);
            // Some end, some overrun what they said.
            let mut at = 0;
            story.snapshot.running.retain(|_| { at += 1; fate >> (at % 64) & 1 == 0 });
        }
    }

    #[test]
    fn a_dry_run_says_what_the_plan_would_do(
        machine in hardware(),
        jobs in proptest::collection::vec(asked(), 1..10),
        extra in asked(),
    ) {
        let policy = policy();
        let snapshot = snapshot_of(machine, &jobs);
        let job = waiting(1000, &extra, false);
        let answer = what_if(&snapshot, &policy, NOW, job.clone());
        let mut more = snapshot.clone();
        more.waiting.push(job.clone());
        let plan = plan(&more, &policy, NOW);
        let start = plan.starts.iter().find(|start| start.job == job.job).map(|start| start.grant.clone());
        prop_assert_eq!(&answer.start, &start);
        let planned = plan.reservations.iter().find(|reservation| reservation.job == job.job).map(|reservation| reservation.at);
        prop_assert_eq!(answer.planned_start, if start.is_some() { Some(NOW) } else { planned });
        let reasons = plan.reasons.into_iter().find(|(id, _)| *id == job.job).map(|(_, reasons)| reasons).unwrap_or_default();
        prop_assert_eq!(answer.reasons, reasons);
    }

    /// In one queue, with everything taking as long as it said and nothing submitted later, the first job in line
    /// starts when it was first promised to, or before.
    #[test]
    fn the_first_in_line_is_never_delayed(machine in hardware(), jobs in proptest::collection::vec(asked(), 1..14)) {
        let policy = Policy { reservations: 1, ..policy() };
        let mut story = Story::new(machine, Limits::default());
        story.submit(jobs.iter().enumerate().map(|(number, asked)| waiting(number as u64, asked, true)), &policy);
        let mut promised: BTreeMap<u64, Time> = BTreeMap::new();
        for _ in 0..64 {
            let plan = plan(&story.snapshot, &policy, story.now);
            facts(&plan, &story.snapshot, &policy, story.now)?;
            for start in &plan.starts {
                // Once: what grows later starts again.
                let promise = promised.remove(&start.job.number);
                prop_assert!(promise.is_none_or(|at| story.now <= at), "job {} was promised {:?} and starts at {:?}", start.job, promise, story.now);
            }
            if let Some(first) = plan.reservations.first() {
                let known = *promised.entry(first.job.number).or_insert(first.at);
                prop_assert!(first.at <= known, "job {} slips from {:?} to {:?}", first.job, known, first.at);
            }
            story.adopt(&plan);
            let Some(next) = story.snapshot.running.iter().map(|run| story.end_of(run)).min() else { break };
            story.now = next;
            let ended: Vec<RunId> = story.snapshot.running.iter().filter(|run| story.end_of(run) <= next).map(|run| run.run).collect();
            story.end(|run| ended.contains(&run.run));
        }
        // Whatever is left never fits.
        for job in &story.snapshot.waiting {
            let answer = what_if(&story.snapshot, &policy, story.now, job.clone());
            prop_assert!(answer.reasons.iter().any(|reason| reason.never), "job {} was starved: {:?}", job.job, answer);
        }
    }

    /// The advice given with a reason is true: the changed job starts.
    #[test]
    fn advice_works_when_it_is_taken(machine in hardware(), jobs in proptest::collection::vec(asked(), 1..10)) {
        let policy = policy();
        let mut story = Story::new(machine, Limits::default());
        story.submit(jobs.iter().enumerate().map(|(number, asked)| waiting(number as u64, asked, true)), &policy);
        let first = plan(&story.snapshot, &policy, NOW);
        story.adopt(&first);
        for (id, reasons) in &plan(&story.snapshot, &policy, NOW).reasons {
            let job = story.snapshot.waiting.iter().find(|job| job.job == *id).expect("it waits");
            for change in reasons.iter().filter_map(|reason| reason.change.as_deref()) {
                let mut changed = job.clone();
                let spec = Arc::make_mut(&mut changed.spec);
                let mut words = change.split(' ');
                let number: Option<u32> = words.nth(2).and_then(|word| word.parse().ok());
                match (number, words.next()) {
                    (Some(amount), Some(unit @ ("GiB" | "MiB"))) if change.contains("device memory") => {
                        let memory = if unit == "GiB" { Bytes::gib(u64::from(amount)) } else { Bytes::mib(u64::from(amount)) };
                        spec.devices.as_mut().expect("has devices").share.as_mut().expect("a part").memory = Some(memory);
                    }
                    (Some(percent), Some("%")) => {
                        spec.devices.as_mut().expect("has devices").share.as_mut().expect("a part").compute = Some(percent * 10);
                    }
                    (Some(amount), Some("GiB")) => spec.memory = Some(Bytes::gib(u64::from(amount))),
                    (Some(amount), Some("MiB")) => spec.memory = Some(Bytes::mib(u64::from(amount))),
                    (Some(cpus), Some("CPU" | "CPUs")) => spec.cpus = CpuShare::whole(cpus),
                    (Some(ranks), Some("rank" | "ranks")) => (spec.ranks, spec.sizes) = (ranks, vec![]),
                    (Some(count), Some("device" | "devices")) => spec.devices.as_mut().expect("has devices").count = count,
                    _ => continue,
                }
                // First in line, because others wait too.
                spec.priority = 1000;
                let answer = what_if(&story.snapshot, &policy, NOW, changed);
                prop_assert!(answer.start.is_some(), "job {id}: '{change}' does not help: {:?}", answer.reasons);
            }
        }
    }
}

/// Shares of three queues in a machine, as guarantees; what is left over is anybody's.
fn guaranteed() -> impl Strategy<Value = [Limits; 3]> {
    let one = (proptest::option::of(0u32..5), proptest::option::weighted(0.2, 0u32..8), proptest::option::of(0u32..4));
    proptest::array::uniform3(one.prop_map(|(cpus, memory, devices)| Limits {
        cpus,
        memory: memory.map(|gib| Bytes::gib(u64::from(gib))),
        devices,
        runs: None,
    }))
}

/// What is put above and below the three queues: how they hang together, the limits of a queue above, and who evicts
/// by priority.
#[derive(Clone, Debug)]
struct Trees {
    shape: usize,
    limits: Limits,
    by_priority: [bool; 5],
}

fn trees() -> impl Strategy<Value = Trees> {
    (0usize..5, limits(), any::<[bool; 5]>()).prop_map(|(shape, limits, by_priority)| Trees { shape, limits, by_priority })
}

impl Trees {
    /// Names of the queues that hold jobs.
    fn grow(&self, queues: &mut Vec<QueueSnapshot>) -> Vec<String> {
        // Parents of `default`, `nlp`, `vision`, and of the two queues put to them.
        let shapes: [[Option<&str>; 5]; 5] = [
            [None, None, None, None, None],
            [None, Some("lab"), Some("lab"), None, None],
            [None, Some("lab"), Some("team"), None, Some("lab")],
            [Some("lab"), Some("team"), Some("team"), None, None],
            [None, Some("vision"), Some("lab"), None, Some("vision")],
        ];
        let above = queue("lab", 2, self.limits);
        queues.extend([above, queue("team", 1, Limits::default())]);
        for ((row, parent), by_priority) in queues.iter_mut().zip(shapes[self.shape]).zip(self.by_priority) {
            row.queue.parent = parent.map(str::to_owned);
            row.queue.evict_by_priority = by_priority;
        }
        let known: Vec<spec::Queue> = queues.iter().map(|row| row.queue.clone()).collect();
        // A queue above is guaranteed what those below it are together, or the file would not be taken.
        let tree = spec::QueueTree::new(&known);
        for (place, row) in queues.iter_mut().enumerate() {
            if tree.has_children(place) {
                row.queue.guarantee = Limits::default();
            }
        }
        known.iter().enumerate().filter(|(place, _)| !tree.has_children(*place)).map(|(_, queue)| queue.name.clone()).collect()
    }
}

proptest! {
    #![proptest_config(cases(256))]

    /// Whatever is asked for, and whoever ends when: every plan passes the check, each eviction ends in a start in the very
    /// place that was cleared, and as soon as it is clear; and the evictions come to an end.
    #[test]
    fn every_eviction_ends_in_a_start(
        machine in hardware(),
        guarantees in guaranteed(),
        policy in policies(),
        limits in limits(),
        tree in trees(),
        rounds in proptest::collection::vec((proptest::collection::vec(asked(), 0..8), 0u64..60, any::<u64>()), 1..12),
    ) {
        let policy = Policy { shortest_run: Span::minutes(5), ..policy };
        let mut story = Story::new(machine, Limits::default());
        story.snapshot.queues = [("default", Limits::default()), ("nlp", limits), ("vision", Limits::default())]
            .into_iter()
            .zip(guarantees)
            .map(|((name, limits), guarantee)| {
                let mut known = queue(name, 1, limits);
                known.queue.guarantee = guarantee;
                known
            })
            .collect();
        let leaves = tree.grow(&mut story.snapshot.queues);
        let mut claims: BTreeMap<u64, machine::Grant> = BTreeMap::new();
        let mut number = 0;
        let quiet = (0..100).map(|_| (vec![], 7, 0));
        for (round, (jobs, minutes, fate)) in rounds.into_iter().chain(quiet).enumerate() {
            let jobs: Vec<Waiting> = jobs
                .iter()
                .map(|asked| {
                    number += 1;
                    let mut job = waiting(number, asked, false);
                    job.queue = leaves[(fate >> (number % 61)) as usize % leaves.len()].clone();
                    job
                })
                .collect();
            story.submit(jobs, &policy);
            let plan = plan(&story.snapshot, &policy, story.now);
            facts(&plan, &story.snapshot, &policy, story.now)?;
            for start in &plan.starts {
                if let Some(claim) = claims.remove(&start.job.number) {
                    prop_assert_eq!(&start.grant, &claim, "job {} starts elsewhere", start.job);
                }
            }
            for job in claims.keys() {
                let ends = |run: &&Running| run.run.job.number == *job || run.evicted.is_some_and(|evicted| evicted.by.number == *job);
                let pending = story.snapshot.running.iter().any(|run| ends(&run));
                prop_assert!(pending, "job {} has its place and does not start", job);
            }
            let quiet = plan.evictions.is_empty() && plan.resizes.is_empty();
            prop_assert!(round < 100 || quiet, "evictions go round: {:?} {:?}", plan.evictions, plan.resizes);
            claims.extend(plan.resizes.iter().map(|resize| (resize.run.job.number, resize.grant.clone())));
            claims.extend(plan.evictions.iter().map(|eviction| (eviction.job.number, eviction.grant.clone())));
            story.adopt(&plan);
            story.now = story.now + Span::minutes(minutes);
            let chosen = |run: &Running| fate >> (run.run.job.number % 64) & 1 == 1;
            story.end(|run| if run.stopping { fate == 0 || !chosen(run) } else { chosen(run) });
        }
    }
}

fn snapshot_of(machine: Machine, jobs: &[Asked]) -> Snapshot {
    let mut story = Story::new(machine, Limits::default());
    story.submit(jobs.iter().enumerate().map(|(number, asked)| waiting(number as u64, asked, false)), &policy());
    story.snapshot
}
