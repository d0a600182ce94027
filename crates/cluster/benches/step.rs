//! What one step costs with a long queue, and how fast a log is replayed. `cargo bench -p cluster`.

use cluster::world::sample;
use cluster::{Command, Core, Input, Job, State};
use divan::Bencher;
use machine::Bytes;
use placement::Policy;
use spec::{EndCause, JobSpec, Report, RunId, RunPhase, RunReport, Span, Time};
use std::hint::black_box;
use std::sync::Arc;

fn main() {
    divan::main();
}

fn submission(spec: &Arc<JobSpec>) -> Input {
    Input::Submit { spec: spec.clone(), owner: sample::person("ada", 1000), key: None, ended: vec![] }
}

/// A machine full of jobs of one CPU, and this many waiting.
struct Busy {
    core: Core,
    spec: Arc<JobSpec>,
    now: Time,
}

impl Busy {
    fn new(waiting: usize, cpus: u32) -> Busy {
        let mut core = Core::new(State::new(), Policy::default());
        let spec = Arc::new(JobSpec { expect: Some(Span::minutes(10)), ..sample::spec("one") });
        let machine = Arc::new(sample::machine("m0", cpus, 0, Bytes::gib(512)));
        let now = Time(1_800_000_000_000);
        let mut inputs = vec![Input::Join { machine }];
        inputs.extend((0..waiting + cpus as usize).map(|_| submission(&spec)));
        let _ = core.step(inputs, now);
        assert_eq!(core.state().waiting().count(), waiting);
        Busy { core, spec, now }
    }

    fn report(&self, changed: RunId, phase: &RunPhase) -> Input {
        let runs = self.core.state().holding("m0").map(|(_, run)| RunReport {
            run: run.id,
            phase: if run.id == changed { phase.clone() } else { RunPhase::Starting },
            started: None,
            ended: None,
            ranks: vec![],
            isolation: None,
            stages: vec![],
            usage: None,
            overstep: None,
        });
        let generation = self.core.state().assignment("m0").generation;
        Input::Observe { report: Report { machine: "m0".into(), generation, runs: runs.collect() } }
    }

    fn oldest_run(&self) -> RunId {
        self.core.state().holding("m0").next().and_then(|(job, _): (&Job, _)| job.live_run()).expect("the machine is full").id
    }
}

/// One of 64 runs ended 10 ms after the last one, another job is submitted: plan, check, adopt.
#[divan::bench(args = [100, 1_000, 10_000])]
fn a_job_ends_with_this_many_waiting(bencher: Bencher, waiting: usize) {
    let mut busy = Busy::new(waiting, 64);
    bencher.bench_local(|| {
        busy.now = busy.now + Span::millis(10);
        let ended = busy.report(busy.oldest_run(), &RunPhase::Ended(EndCause::Success));
        let inputs = vec![ended, submission(&busy.spec)];
        black_box(busy.core.step(inputs, busy.now))
    });
}

/// A report that changes nothing: what an idle daemon does.
#[divan::bench]
fn a_report_without_news_with_10000_waiting(bencher: Bencher) {
    let mut busy = Busy::new(10_000, 64);
    let nothing = busy.report(RunId { job: spec::JobId::new(0), attempt: 1 }, &RunPhase::Starting);
    bencher.bench_local(|| {
        let batch = busy.core.step(vec![nothing.clone()], busy.now);
        assert!(batch.records.is_empty());
        batch
    });
}

/// Jobs that come and go until the log has this many records.
fn log(records: usize) -> Vec<Command> {
    let machine = Arc::new(sample::machine("m0", 8, 0, Bytes::gib(512)));
    let spec = Arc::new(sample::spec("one"));
    let mut busy = Busy { core: Core::new(State::new(), Policy::default()), spec, now: Time(1_800_000_000_000) };
    let mut log = busy.core.step(vec![Input::Join { machine }], busy.now).records;
    while log.len() < records {
        busy.now = busy.now + Span::millis(10);
        log.extend(busy.core.step(vec![submission(&busy.spec)], busy.now).records);
        let run = busy.oldest_run();
        for phase in [RunPhase::Running, RunPhase::Ended(EndCause::Success)] {
            let report = busy.report(run, &phase);
            log.extend(busy.core.step(vec![report], busy.now).records);
        }
    }
    log
}

#[divan::bench(sample_count = 5)]
fn replay_of_100000_records(bencher: Bencher) {
    let log = log(100_000);
    bencher.bench_local(|| {
        let mut state = State::new();
        log.iter().for_each(|command| drop(state.apply(command).expect("applied before")));
        state
    });
}

/// As they lie on disk, one JSON text a record.
#[divan::bench(sample_count = 5)]
fn replay_of_100000_records_from_json(bencher: Bencher) {
    let log: Vec<String> = log(100_000).iter().map(|command| serde_json::to_string(command).expect("written")).collect();
    bencher.bench_local(|| {
        let mut state = State::new();
        for text in &log {
            let command: Command = serde_json::from_str(text).expect("read");
            drop(state.apply(&command).expect("applied before"));
        }
        state
    });
}

#[divan::bench(sample_count = 20)]
fn checkpoint_of_10000_waiting(bencher: Bencher) {
    let busy = Busy::new(10_000, 64);
    bencher.bench_local(|| busy.core.state().checkpoint().expect("saved"));
}
