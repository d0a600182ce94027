use super::*;
use crate::access::Viewer;
use crate::access::tests::person;
use cluster::{Command, Job, JobState, Run, RunState, State};
use machine::{Bytes, Cpu, CpuSet, CpuShare, Grant, Machine, NumaNode, RankGrant};
use placement::{Blocker, Reason, Start};
use spec::{JobId, JobSpec, Queue, RunId, Span, Time, Work};
use std::sync::Arc;

pub fn sample_spec(name: &str) -> JobSpec {
    JobSpec {
        name: name.into(),
        work: Work::Command(vec!["true".into()]),
        ranks: 1,
        sizes: vec![],
        devices: None,
        cpus: CpuShare::ONE,
        memory: Some(Bytes(64 << 20)),
        shm: None,
        workdir: "/tmp".into(),
        env: Default::default(),
        mounts: vec![],
        environment: None,
        launch: Default::default(),
        expect: None,
        limit: Some(Span::minutes(10)),
        priority: 0,
        queue: None,
        retry: Default::default(),
        checkpoint: Default::default(),
        after: vec![],
        array: None,
        isolation: Default::default(),
        latency: Default::default(),
        notify: None,
    }
}

pub fn sample_job(number: u64, uid: u32) -> Job {
    Job {
        id: JobId::new(number),
        spec: Arc::new(sample_spec(&format!("job-{number}"))),
        owner: person(uid),
        queue: "default".into(),
        state: JobState::Waiting,
        submitted: Time(1000 + number),
        started: None,
        ended: None,
        exit_code: None,
        outcome: None,
        after: vec![],
        not_before: None,
        cancelled_by: None,
        claim: None,
        runs: vec![],
    }
}

pub fn sample_grant() -> Grant {
    Grant {
        machine: "m".into(),
        ranks: vec![RankGrant { cpus: [0].into_iter().collect(), devices: vec![] }],
        cpu_share: CpuShare::ONE,
        memory: Bytes(64 << 20),
        shm: Bytes(1 << 20),
        mem_nodes: CpuSet::new(),
        ports: None,
        share: None,
    }
}

/// Ada's job 1 runs, bob's job 2 waits.
fn small_world() -> State {
    let cpus: Vec<Cpu> = (0..2).map(|id| Cpu { id, core: id, ..Cpu::default() }).collect();
    let node = NumaNode { id: 0, memory: Bytes(8 << 30), cpus: [0, 1].into_iter().collect(), distances: vec![10] };
    let machine = Machine { id: "m".into(), memory: Bytes(8 << 30), cpus, numa: vec![node], ..Machine::default() };
    let mut state = State::new();
    let submit = |number, uid| Command::Submit {
        number,
        spec: Arc::new(sample_spec("work")),
        owner: person(uid),
        key: None,
        ended: vec![],
        at: Time(10),
    };
    for command in [Command::Join { machine: Arc::new(machine), at: Time(1) }, submit(1, 1000), submit(2, 1001)] {
        let _ = state.apply(&command).unwrap();
    }
    let based_on = state.generation();
    let _ = state
        .apply(&Command::Adopt {
            based_on,
            starts: vec![Start { job: JobId::new(1), grant: sample_grant() }],
            evictions: vec![],
            resizes: vec![],
            at: Time(11),
        })
        .unwrap();
    state
}

fn reason() -> Reason {
    let blocker = Blocker::Cpus { wanted: CpuShare::whole(2), free: CpuShare::ONE, total: CpuShare::whole(2) };
    Reason { blocker, held_by: vec![RunId { job: JobId::new(1), attempt: 1 }], change: Some("ask for 1".into()), until: None, never: false }
}

#[test]
fn holders_are_named_only_to_those_who_may_see_them() {
    let state = small_world();
    for (uid, expected) in [(1000, "1-1 (work, ada)"), (0, "1-1 (work, ada)"), (1001, "another user's run")] {
        let job = sample_job(2, 1001);
        let views = reason_views(&[reason()], About::job(&job), &state, &Viewer::new(person(uid), None), Time(20));
        assert_eq!(views[0].held_by, [expected], "{uid}");
        assert_eq!(views[0].kind, "cpus");
        assert!(!views[0].text.is_empty());
    }
    let mut gone = reason();
    gone.held_by = vec![RunId { job: JobId::new(77), attempt: 1 }];
    let job = sample_job(2, 1001);
    assert!(reason_views(&[gone], About::job(&job), &state, &Viewer::new(person(0), None), Time(20))[0].held_by.is_empty());
}

#[test]
fn a_wait_for_the_next_attempt_says_which_and_why() {
    let mut job = sample_job(1, 1000);
    let mut spec = sample_spec("flaky");
    spec.retry.attempts = 3;
    job.spec = Arc::new(spec);
    job.runs.push(ended_run(spec::EndCause::Exit { rank: 0, code: 9 }));
    let backoff = Reason {
        blocker: Blocker::Gate(placement::Gate::Backoff { until: Time(20_000) }),
        held_by: vec![],
        change: None,
        until: Some(Time(20_000)),
        never: false,
    };
    let text = |now| reason_text(&backoff, About::job(&job), Time(now));
    assert_eq!(text(0), "attempt 2 of 3 starts in 20.0 s; attempt 1 exited with code 9");
    assert_eq!(text(20_000), "attempt 2 of 3 is about to start; attempt 1 exited with code 9");
}

#[test]
fn memory_that_nobody_asked_for_is_told_as_the_default() {
    let blocker = Blocker::Memory { wanted: Bytes(6 << 30), free: Bytes(1 << 30), total: Bytes(4 << 30) };
    let mut reason = Reason { blocker, held_by: vec![], change: None, until: None, never: true };
    let mut spec = sample_spec("a");
    let text = |reason: &Reason, spec: &JobSpec| reason_text(reason, About { spec, job: None }, Time(0));
    assert!(text(&reason, &spec).contains("asks for 6 GiB"), "{}", text(&reason, &spec));
    spec.memory = None;
    let told = text(&reason, &spec);
    assert!(told.contains("needs 6 GiB") && told.contains("set `memory`") && !told.contains("asks for"), "{told}");
    reason.never = false;
    assert!(text(&reason, &spec).contains("set `memory`"));
}

#[test]
fn how_a_job_ended_comes_with_what_to_do() {
    let mut job = sample_job(1, 1000);
    job.state = JobState::Failed;
    job.runs.push(ended_run(spec::EndCause::Limit { limit: Span::minutes(5), clean: true }));
    assert!(job_view(&job).hint.unwrap().contains("submit it again"));
    job.cancelled_by = Some(person(1000));
    assert_eq!(job_view(&job).hint, None);
}

fn ended_run(cause: spec::EndCause) -> Run {
    Run {
        id: RunId { job: JobId::new(1), attempt: 1 },
        grant: sample_grant(),
        adopted: Time(1),
        ordered_in: 1,
        state: RunState::Ended(cause),
        stop: None,
        evicted: None,
        started: Some(Time(2)),
        ended: Some(Time(3)),
        ranks: vec![],
        isolation: None,
        stages: vec![],
        usage: None,
        overstep: None,
    }
}

#[test]
fn the_machine_shows_what_others_hold_and_not_who() {
    let state = small_world();
    let own = machine_view(&state, &Viewer::new(person(1000), None), |_| true, Time(20)).unwrap();
    assert_eq!((own.held[0].user.as_deref(), own.held[0].name.as_deref()), (Some("ada"), Some("work")));
    let other = machine_view(&state, &Viewer::new(person(1001), None), |_| true, Time(20)).unwrap();
    assert_eq!((other.held[0].run, other.held[0].user.as_deref(), other.held[0].name.as_deref()), (None, None, None));
    assert_eq!(other.held[0].grant, own.held[0].grant);
    assert!(machine_view(&State::new(), &Viewer::new(person(0), None), |_| true, Time(1)).is_none());
}

#[test]
fn queues_count_what_runs_and_waits() {
    let mut state = small_world();
    let second = Queue { name: "lab".into(), weight: 3, groups: vec!["5".into()], ..Queue::default() };
    let _ = state.apply(&Command::Queues { queues: vec![Queue::default(), second], at: Time(12) }).unwrap();
    let views = queue_views(&state, |group| format!("group-{group}"));
    assert_eq!((views[0].running, views[0].waiting, views[0].held_cpu_milli, views[0].share_permille), (1, 1, 1000, 250));
    assert_eq!((views[1].running, views[1].share_permille), (0, 750));
    assert_eq!(views[1].queue.groups, ["group-5"]);
    assert_eq!(group_names("0"), "root");
    assert_eq!(group_names("3999999999"), "3999999999");
}

#[test]
fn a_queue_above_counts_what_is_below_it() {
    let mut state = small_world();
    let guarantee = spec::Limits { cpus: Some(3), ..spec::Limits::default() };
    let below =
        |name: &str, weight, guarantee| Queue { name: name.into(), parent: Some("lab".into()), weight, guarantee, ..Queue::default() };
    let top = Queue { name: "lab".into(), weight: 3, ..Queue::default() };
    let queues = vec![below("nlp", 1, guarantee), Queue::default(), top, below("vision", 2, spec::Limits::default())];
    let _ = state.apply(&Command::Queues { queues, at: Time(12) }).unwrap();
    let views = queue_views(&state, str::to_owned);
    let rows: Vec<(&str, u32, u32)> = views.iter().map(|view| (view.queue.name.as_str(), view.depth, view.share_permille)).collect();
    assert_eq!(rows, [("default", 0, 250), ("lab", 0, 750), ("nlp", 1, 250), ("vision", 1, 500)]);
    assert_eq!(views[1].queue.guarantee, guarantee, "of those below");
    assert_eq!((views[0].running, views[1].running), (1, 0));
}

#[test]
fn an_ended_job_says_how_and_a_waiting_one_why() {
    let mut job = sample_job(7, 1000);
    assert_eq!(job_row(&job, Some("all CPUs are held".into())).note.as_deref(), Some("all CPUs are held"));
    (job.state, job.outcome) = (JobState::Failed, Some("rank 1 left with code 3".into()));
    assert_eq!(job_row(&job, Some("all CPUs are held".into())).note.as_deref(), Some("rank 1 left with code 3"));
}

#[test]
fn the_json_of_a_job_has_the_promised_fields() {
    let mut job = sample_job(7, 1000);
    let run = Run {
        id: RunId { job: job.id, attempt: 1 },
        grant: sample_grant(),
        adopted: Time(5),
        ordered_in: 1,
        state: RunState::Ended(spec::EndCause::Success),
        stop: None,
        evicted: None,
        started: Some(Time(6)),
        ended: Some(Time(7)),
        ranks: vec![],
        isolation: None,
        stages: vec![],
        usage: None,
        overstep: None,
    };
    job.runs.push(run);
    let json = serde_json::to_value(job_view(&job)).unwrap();
    for field in ["id", "name", "state", "exit_code", "queue", "submitted", "started", "ended", "spec", "reasons", "runs"] {
        assert!(json.get(field).is_some(), "{field}");
    }
    assert_eq!(json["runs"][0]["state"], "ended");
    assert_eq!(json["runs"][0]["cause"]["kind"], "success");
}

#[test]
fn an_array_is_what_its_tasks_are() {
    let task = |task: u32, state: JobState, code: Option<i32>| {
        let mut job = sample_job(4, 1000);
        job.id = JobId::task(4, task);
        job.state = state;
        job.exit_code = code;
        job.started = Some(Time(100 + u64::from(task)));
        job.ended = state.is_terminal().then_some(Time(200 + u64::from(task)));
        job_row(&job, None)
    };
    use JobState::*;
    let done = [task(0, Succeeded, Some(0)), task(1, Failed, Some(3)), task(2, Failed, Some(4))];
    let row = array_row(4, &done).unwrap();
    assert_eq!((row.id, row.state.as_str(), row.exit_code), (JobId::new(4), "failed", Some(3)));
    assert_eq!((row.started, row.ended), (Some(Time(100)), Some(Time(202))));
    assert_eq!(row.note.as_deref(), Some("3 tasks: 2 failed, 1 succeeded"));
    let going = [task(0, Failed, Some(3)), task(1, Waiting, None)];
    let row = array_row(4, &going).unwrap();
    assert_eq!((row.state.as_str(), row.exit_code, row.ended), ("waiting", None, None));
    assert!(array_row(4, &[]).is_none());
}
