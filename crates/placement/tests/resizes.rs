//! Running elastic jobs: fewer ranks for somebody who waits, more where room stays free.

mod world;

use machine::{Bytes, CpuSet, CpuShare, Grant, PortRange, RankGrant};
use placement::{Elastic, Evicted, Plan, Policy, Resize, Running, Snapshot, Waiting, check, plan};
use spec::{JobId, Limits, RunId, Span, Time};
use world::*;

/// A job of one CPU a rank with these numbers of ranks, which saves its work.
fn elastic(number: u64, ranks: &str) -> JobBuilder {
    job(number).expect(Span::hours(10)).with(|spec| {
        spec::parse_ranks(ranks).expect("it is read").apply(spec);
        spec.checkpoint.declared = true;
    })
}

/// The job runs on these CPUs, a rank on each, for so many minutes now.
fn runs(job: JobBuilder, cpus: &str, minutes: u64) -> Running {
    let Waiting { job, spec, queue, user, .. } = job.0;
    let cpus: CpuSet = cpus.parse().unwrap();
    let ranks: Vec<RankGrant> = cpus.iter().map(|cpu| RankGrant { cpus: [cpu].into_iter().collect(), devices: vec![] }).collect();
    let since = Time(NOW.0 - Span::minutes(minutes).0);
    let grant = Grant {
        machine: "m1".into(),
        cpu_share: CpuShare::ONE,
        memory: Bytes(Bytes::mib(64).0 * ranks.len() as u64),
        shm: Bytes(Bytes::mib(32).0 * ranks.len() as u64),
        mem_nodes: [0].into_iter().collect(),
        ports: (ranks.len() > 1).then_some(PortRange { first: 21_000 + job.number as u16 * 16, count: 16 }),
        ranks,
        share: None,
    };
    Running {
        run: RunId { job, attempt: 1 },
        queue,
        user,
        name: spec.name.clone(),
        priority: spec.priority,
        grant,
        since,
        expected_end: spec.longest().map(|span| since + span),
        grace: spec.checkpoint.grace,
        evicted: None,
        stopping: false,
        elastic: spec.is_elastic().then_some(Elastic { spec, next: None }),
    }
}

fn scene(running: Vec<Running>, waiting: impl IntoIterator<Item = JobBuilder>) -> Snapshot {
    let mut snapshot = snapshot(machine(1, 8, 1, Bytes::gib(8)), waiting);
    snapshot.running = running;
    snapshot.queues.push(queue("nlp", 1, Limits::default()));
    snapshot
}

/// Runs that go on, and with how many ranks.
fn resized(plan: &Plan) -> Vec<(u64, usize)> {
    plan.resizes.iter().map(|resize| (resize.run.job.number, resize.grant.ranks.len())).collect()
}

/// Which job gets a place by this plan, at once or when others have ended.
fn placed(plan: &Plan) -> Vec<u64> {
    plan.starts.iter().map(|start| start.job.number).chain(plan.evictions.iter().map(|eviction| eviction.job.number)).collect()
}

#[test]
fn who_shrinks_for_whom() {
    type Row = (&'static str, Vec<Running>, Vec<JobBuilder>, Vec<(u64, usize)>);
    let full = |ranks: &str, minutes| vec![runs(elastic(1, ranks), "0-7", minutes)];
    let two = |early: u64, late: u64| vec![runs(elastic(1, "1..4"), "0-3", early), runs(elastic(2, "1..4"), "4-7", late)];
    let plain = |spec: &mut spec::JobSpec| spec.checkpoint.declared = false;
    let rows: Vec<Row> = vec![
        ("one that has more than its fewest", full("2..8", 60), vec![job(9).cpus(4)], vec![(1, 4)]),
        ("by no more than needed", full("2..8", 60), vec![job(9).cpus(1)], vec![(1, 6)]),
        ("down to its fewest", full("2..8", 60), vec![job(9).cpus(6)], vec![(1, 2)]),
        ("and not below", full("2..8", 60), vec![job(9).cpus(7)], vec![]),
        ("not in its first minutes", full("2..8", 9), vec![job(9).cpus(4)], vec![]),
        ("not without a checkpoint", vec![runs(elastic(1, "2..8").with(plain), "0-7", 60)], vec![job(9).cpus(4)], vec![]),
        ("not one that ranks higher", vec![runs(elastic(1, "2..8").priority(1), "0-7", 60)], vec![job(9).cpus(4)], vec![]),
        ("for one that ranks higher", full("2..8", 60), vec![job(9).cpus(4).priority(1)], vec![(1, 4)]),
        ("for a queue that then holds no more", full("2..8", 60), vec![job(9).cpus(4).queue("nlp")], vec![(1, 4)]),
        ("one of two is enough", two(60, 60), vec![job(9).cpus(2)], vec![(1, 2)]),
        ("both where they must", two(60, 60), vec![job(9).cpus(6)], vec![(1, 1), (2, 1)]),
        ("an elastic job starts with its fewest", full("2..8", 60), vec![elastic(9, "2..4")], vec![(1, 6)]),
        ("only so that all of a gang starts", full("2..8", 60), vec![job(9).ranks(7)], vec![]),
    ];
    for (what, running, jobs, expected) in rows {
        let plan = planned(&scene(running, jobs), &policy());
        assert_eq!(resized(&plan), expected, "{what}");
        assert_eq!(placed(&plan), if expected.is_empty() { vec![] } else { vec![9] }, "{what}");
        let victims: Vec<u64> = plan.evictions.iter().flat_map(|eviction| &eviction.victims).map(|run| run.job.number).collect();
        assert_eq!(victims, expected.iter().map(|(number, _)| *number).collect::<Vec<_>>(), "{what}");
    }
}

#[test]
fn shares_decide_between_queues() {
    // The other queue would hold five of eight then, and this one three.
    let mut scene = scene(vec![runs(elastic(1, "1..8"), "0-4", 60), runs(elastic(2, "3..6").queue("nlp"), "5-7", 60)], []);
    scene.waiting.push(job(9).cpus(2).queue("nlp").0);
    assert_eq!(resized(&planned(&scene, &policy())), [(1, 3)], "five of eight are no more than five");
    scene.waiting[0] = job(9).cpus(3).queue("nlp").0;
    assert_eq!(resized(&planned(&scene, &policy())), [], "six would be");
    scene.queues[1].queue.weight = 2;
    assert_eq!(resized(&planned(&scene, &policy())), [(1, 2)], "of a queue of twice the weight they are not");
    scene.queues[0].queue.guarantee = Limits { cpus: Some(4), ..Limits::default() };
    assert_eq!(resized(&planned(&scene, &policy())), [], "what a queue is guaranteed it keeps");
}

#[test]
fn nobody_shrinks_for_a_start_that_comes_hardly_sooner() {
    let soon = |seconds| Running { expected_end: Some(NOW + Span::seconds(seconds)), ..runs(job(2).cpus(1), "6,7", 60) };
    let with = |seconds| scene(vec![runs(elastic(1, "2..6"), "0-5", 60), soon(seconds)], [job(9).cpus(2)]);
    // To save and to start again takes a minute and a half at most.
    assert_eq!(resized(&planned(&with(80), &policy())), []);
    assert_eq!(resized(&planned(&with(100), &policy())), [(1, 4)]);
}

/// What a guarantee could have evicted shrinks instead, where that loses less.
#[test]
fn shrinking_goes_before_eviction() {
    let mut scene = scene(vec![runs(elastic(1, "2..4"), "0-3", 60), runs(job(2).cpus(1), "4-7", 20)], [job(9).cpus(2).queue("nlp")]);
    scene.queues[1].queue.guarantee = Limits { cpus: Some(2), ..Limits::default() };
    let plan = planned(&scene, &policy());
    assert_eq!((resized(&plan), plan.evictions[0].victims.len()), (vec![(1, 2)], 1));
    scene.running[0].elastic = None;
    let plan = planned(&scene, &policy());
    assert_eq!((resized(&plan), plan.evictions[0].victims[0].job.number), (vec![], 2));
}

#[test]
fn who_grows() {
    type Row = (&'static str, Vec<Running>, Vec<JobBuilder>, Vec<(u64, usize)>);
    let small = |ranks: &str, minutes| vec![runs(elastic(1, ranks), "0-1", minutes)];
    let two = || vec![runs(elastic(1, "2..8"), "0-1", 60), runs(elastic(2, "2..8"), "2-3", 60)];
    let plain = |spec: &mut spec::JobSpec| spec.checkpoint.declared = false;
    let ends = |minutes| vec![Running { expected_end: Some(NOW + Span::minutes(minutes)), ..small("2..8", 60).remove(0) }];
    let unknown = |minutes| vec![Running { expected_end: None, ..small("2..8", minutes).remove(0) }];
    let rows: Vec<Row> = vec![
        ("one beside whom room is free", small("2..8", 60), vec![], vec![(1, 8)]),
        ("no larger than it may be", small("2..4", 60), vec![], vec![(1, 4)]),
        ("nobody who is as large already", small("1..2", 60), vec![], vec![]),
        ("not in its first minutes", small("2..8", 9), vec![], vec![]),
        ("not without a checkpoint", vec![runs(elastic(1, "2..8").with(plain), "0-1", 60)], vec![], vec![]),
        ("not while somebody waits", small("2..8", 60), vec![job(9).ranks(7)], vec![]),
        ("though somebody waits who never fits", small("2..8", 60), vec![job(9).ranks(9)], vec![(1, 8)]),
        ("as far as others let it who start now", small("2..8", 60), vec![job(9).cpus(3)], vec![(1, 4)]),
        ("not shortly before its end", ends(2), vec![], vec![]),
        ("while there is enough to do", ends(10), vec![], vec![(1, 8)]),
        ("whose end nobody knows, after a while", unknown(12), vec![], vec![(1, 8)]),
        ("of two, both as far as that goes", two(), vec![], vec![(1, 4), (2, 4)]),
    ];
    for (what, running, jobs, expected) in rows {
        let plan = planned(&scene(running, jobs), &policy());
        assert_eq!(resized(&plan), expected, "{what}");
        assert_eq!(plan.evictions, [], "{what}");
    }
    let dear = Policy { restart: Span::minutes(7), ..policy() };
    assert_eq!(resized(&planned(&scene(small("2..8", 60), []), &dear)), [], "a restart that costs more is further from the last");
    assert_eq!(resized(&planned(&scene(small("2..8", 80), []), &dear)), [(1, 8)]);
}

#[test]
fn a_limit_of_the_queue_bounds_growth() {
    let mut scene = scene(vec![runs(elastic(1, "2..8"), "0-1", 60)], []);
    scene.queues[0].queue.limits = Limits { cpus: Some(5), ..Limits::default() };
    assert_eq!(resized(&planned(&scene, &policy())), [(1, 4)]);
    // Who waits for that limit only, does not keep others from growing.
    scene.queues[0].queue.limits = Limits { runs: Some(1), ..Limits::default() };
    scene.waiting.push(job(9).cpus(4).0);
    assert_eq!(resized(&planned(&scene, &policy())), [(1, 8)]);
}

/// As the state is after the plan was adopted.
fn adopted(mut snapshot: Snapshot, plan: &Plan) -> Snapshot {
    for eviction in &plan.evictions {
        let job = snapshot.waiting.iter_mut().find(|job| job.job == eviction.job).unwrap();
        job.claim = Some(eviction.grant.clone());
        for run in snapshot.running.iter_mut().filter(|run| eviction.victims.contains(&run.run)) {
            (run.evicted, run.stopping) = (Some(Evicted { by: eviction.job, at: NOW, ranks: None }), true);
        }
    }
    for Resize { run: id, grant } in &plan.resizes {
        let run = snapshot.running.iter_mut().find(|run| run.run == *id).unwrap();
        run.evicted.get_or_insert(Evicted { by: id.job, at: NOW, ranks: None });
        (run.stopping, run.elastic.as_mut().unwrap().next) = (true, Some(grant.clone()));
    }
    snapshot
}

/// The run has ended, and its job waits for the place in which it goes on.
fn saved(snapshot: &mut Snapshot, number: u64) {
    let place = snapshot.running.iter().position(|run| run.run.job.number == number).unwrap();
    let run = snapshot.running.remove(place);
    let Elastic { spec, next } = run.elastic.unwrap();
    snapshot.waiting.push(Waiting { spec, claim: next, queue: run.queue, ..job(number).0 });
}

#[test]
fn both_start_in_their_places_when_the_run_has_ended() {
    let before = scene(vec![runs(elastic(1, "2..8"), "0-7", 60)], [job(9).cpus(4)]);
    let decided = planned(&before, &policy());
    let mut after = adopted(before, &decided);
    // Nobody else gets either place, however short and important.
    let greedy = |number| job(number).cpus(1).expect(Span(1)).priority(1000).0;
    after.waiting.extend((20..30).map(greedy));
    let plan = planned(&after, &policy());
    assert_eq!((plan.starts.len(), plan.evictions.len(), plan.resizes.len()), (0, 0, 0), "{plan:#?}");
    saved(&mut after, 1);
    let plan = planned(&after, &policy());
    assert_eq!(grant(&plan, 9), &decided.evictions[0].grant);
    assert_eq!(grant(&plan, 1), &decided.resizes[0].grant);
    assert_eq!(plan.starts.len(), 2);
}

#[test]
fn what_a_run_grows_into_is_kept_for_it() {
    let before = scene(vec![runs(elastic(1, "2..8"), "0-1", 60)], []);
    let decided = planned(&before, &policy());
    assert_eq!(resized(&decided), [(1, 8)]);
    let mut after = adopted(before, &decided);
    after.waiting.push(job(9).cpus(1).0);
    assert_eq!(placed(&planned(&after, &policy())), [] as [u64; 0]);
    saved(&mut after, 1);
    let plan = planned(&after, &policy());
    assert_eq!((placed(&plan), grant(&plan, 1)), (vec![1], &decided.resizes[0].grant));
}

/// The job for which others gave way is cancelled: they go on where they were told to.
#[test]
fn a_cancelled_winner_leaves_the_smaller_run_its_place() {
    let before = scene(vec![runs(elastic(1, "2..8"), "0-7", 60)], [job(9).cpus(4)]);
    let decided = planned(&before, &policy());
    let mut after = adopted(before, &decided);
    after.waiting = vec![job(20).cpus(8).0];
    assert_eq!(placed(&planned(&after, &policy())), [] as [u64; 0]);
    saved(&mut after, 1);
    assert_eq!(placed(&planned(&after, &policy())), [1]);
}

#[test]
fn the_check_finds_what_is_wrong_with_a_resize() {
    let shrinks = scene(vec![runs(elastic(1, "2..8"), "0-7", 60)], [job(9).cpus(4)]);
    let grows = scene(vec![runs(elastic(1, "2..8"), "0-1", 60), runs(job(2), "7", 60)], []);
    type Fault = fn(&mut Plan, &mut Snapshot);
    let rows: [(&str, &Snapshot, &str, Fault); 13] = [
        ("it goes on as large as it was", &shrinks, "resize", |plan, snapshot| plan.resizes[0].grant = snapshot.running[0].grant.clone()),
        ("with a size that it may not have", &shrinks, "gang", |plan, _| plan.resizes[0].grant.ranks.truncate(1)),
        ("the places overlap", &shrinks, "cpus", |plan, _| {
            let taken = plan.evictions[0].grant.ranks[0].cpus.iter().next().unwrap();
            plan.resizes[0].grant.ranks[0].cpus = [taken].into_iter().collect();
        }),
        ("twice", &shrinks, "resize", |plan, _| plan.resizes.push(plan.resizes[0].clone())),
        ("without a checkpoint", &shrinks, "resize", |_, snapshot| {
            let elastic = snapshot.running[0].elastic.as_mut().unwrap();
            std::sync::Arc::make_mut(&mut elastic.spec).checkpoint.declared = false;
        }),
        ("for a job that ranks lower", &shrinks, "guarantee", |_, snapshot| snapshot.running[0].priority = 5),
        ("evicted whole without a right", &shrinks, "guarantee", |plan, _| plan.resizes.clear()),
        ("too young", &shrinks, "eviction", |_, snapshot| snapshot.running[0].since = NOW),
        ("into what another one holds", &grows, "cpus", |_, snapshot| snapshot.running[1].grant.ranks[0].cpus = "3".parse().unwrap()),
        ("smaller, for nobody", &grows, "resize", |plan, snapshot| {
            snapshot.running[0].grant = plan.resizes[0].grant.clone();
            plan.resizes[0].grant.ranks.truncate(2);
        }),
        ("grown while it was young", &grows, "resize", |_, snapshot| snapshot.running[0].since = Time(NOW.0 - 660_000 - 1).min(NOW)),
        ("on another machine", &grows, "resize", |plan, _| plan.resizes[0].grant.machine = "m2".into()),
        ("while another job waits for room", &grows, "resize", |plan, snapshot| {
            snapshot.waiting.push(job(9).cpus(6).0);
            plan.reservations.push(placement::Reservation { job: JobId::new(9), at: NOW + Span::hours(1) });
            plan.reasons.push((JobId::new(9), vec![]));
        }),
    ];
    for (what, scene, rule, fault) in rows {
        let policy = Policy { restart: Span::minutes(1), ..policy() };
        let mut plan = plan(scene, &policy, NOW);
        assert_eq!(check(&plan, scene, &policy), [], "{what}: sound before");
        assert_eq!(plan.resizes.len(), 1, "{what}");
        let mut snapshot = scene.clone();
        fault(&mut plan, &mut snapshot);
        let found = check(&plan, &snapshot, &policy);
        assert!(found.iter().any(|violation| violation.rule == rule), "{what}: {found:?}");
    }
}
