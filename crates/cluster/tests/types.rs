//! Several types of devices in simulated time: a story by hand, what cannot stand, tables and traces, Gavel's own.

use cluster::replay::types::{Speeds, TypedFault, TypedWorld, Types, TypesError, parse_speeds, parse_trace};
use placement::heterogeneity::Goal;
use std::io::Read;

const TABLE: &str = r#"{
    "fast": {"('A', 1)": {"null": 10.0, "('A', 1)": [5.0, 5.0]}, "('B', 2)": {"null": 4.0}},
    "slow": {"('A', 1)": {"null": 1.0}, "('B', 2)": {"null": 2.0}}
}"#;

fn types(fast: u32, slow: u32) -> Types {
    Types { names: vec!["fast".into(), "slow".into()], devices: vec![fast, slow] }
}

fn untimed(decide: &mut dyn FnMut()) {
    decide();
}

/// Rows in the layout of the physical traces.
fn trace(rows: &[(&str, u32, u32, u32)]) -> String {
    rows.iter().map(|(class, steps, devices, at)| format!("{class}\tcmd\tdir\t-n\t1\t{steps}\t{devices}\t1\t-1.0\t{at}\n")).collect()
}

#[test]
fn tables_and_traces_are_read() {
    let speeds = parse_speeds(TABLE, &types(2, 2)).unwrap();
    assert_eq!(speeds[&("A".to_string(), 1)], [10.0, 1.0]);
    assert_eq!(speeds[&("B".to_string(), 2)], [4.0, 2.0]);
    let text = "A\tcmd\t-n\t1\t500\t6.5\t1\n\nA\tcmd\t-n\t1\t500\t1\t1.0\t-1\t9\n";
    let (jobs, left_out) = parse_trace(text, &speeds, &types(2, 2)).unwrap();
    assert!(left_out.is_empty());
    assert_eq!((jobs[0].steps, jobs[0].arrives, jobs[1].arrives, jobs[1].devices), (500.0, 6.5, 9.0, 1));
}

#[test]
fn wrong_tables_and_traces_are_told_where() {
    let speeds = parse_speeds(TABLE, &types(2, 2)).unwrap();
    let wrong = |text: &str| parse_trace(text, &speeds, &types(2, 1)).unwrap_err();
    assert_eq!(wrong("A\tcmd\t5\n").to_string(), "line 1: 3 columns between tabs, traces have 7, 9 or 10");
    assert_eq!(wrong("\nA\tcmd\t-n\t1\tmany\t6\t1\n").to_string(), "line 2: `many` is no number for steps");
    assert_eq!(wrong("A\tcmd\t-n\t1\t5\t-6\t1\n").to_string(), "line 1: `-6` is no number for arrival");
    let rows = "C\tcmd\t-n\t1\t5\t6\t1\nB\tcmd\t-n\t1\t5\t6\t4\nA\tcmd\t-n\t1\t5\t6\t1\n";
    let (jobs, left_out) = parse_trace(rows, &speeds, &types(2, 1)).unwrap();
    let left_out: Vec<String> = left_out.iter().map(TypesError::to_string).collect();
    assert_eq!((jobs.len(), left_out.len()), (1, 2));
    assert_eq!(left_out[0], "line 1: no device type has a speed for `C` with 1 devices");
    assert_eq!(left_out[1], "line 2: 4 devices, no type has more than 2");
    assert!(matches!(parse_speeds("[]", &types(1, 1)), Err(TypesError::Table(_))));
    assert!(matches!(parse_speeds(r#"{"fast": {"A": {"null": 1}}}"#, &types(1, 1)), Err(TypesError::Table(_))));
    let error = parse_speeds(r#"{"fast": {}}"#, &types(1, 1)).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.hint().is_empty()), ("the table of speeds has no device type `slow`", false));
}

#[test]
fn a_story_by_hand() {
    let types = types(1, 1);
    let speeds = parse_speeds(TABLE, &types).unwrap();
    let jobs = parse_trace(&trace(&[("A", 3600, 1, 0), ("A", 360, 1, 0), ("A", 100, 1, 5000)]), &speeds, &types).unwrap().0;
    let play = |goal, told| {
        let mut world = TypedWorld::new(&types, &speeds, &jobs, 360.0, told);
        let end = world.play(goal, &mut untimed).unwrap();
        let mut times: Vec<(usize, f64)> = world.ended().collect();
        times.sort_unstable_by_key(|(job, _)| *job);
        (times.into_iter().map(|(_, time)| time).collect::<Vec<f64>>(), end)
    };
    // First come: 3,600 steps at 10 a second; the other at 1 beside it. The last comes when nobody is there.
    let (times, end) = play(Goal::Fifo { aware: true }, true);
    assert_eq!(times, [360.0, 360.0, 10.0]);
    assert_eq!((end.makespan, end.p95), (5010.0, 360.0));
    // Ours: the short one first at 36 s; the long one spends the round on the slow device, then 324 s on the fast one.
    let (times, end) = play(Goal::Completion, true);
    assert_eq!(times, [360.0 + 324.0, 36.0, 10.0]);
    assert!(end.mean < 244.0 && end.worst_rho < 1.1, "{end:?}");
    let (again, _) = play(Goal::Completion, false);
    assert_eq!(again.len(), 3, "without any speed known it ends as well");
}

#[test]
fn rounds_that_cannot_stand_are_refused() {
    let types = types(1, 2);
    let speeds: Speeds = parse_speeds(TABLE, &types).unwrap();
    let jobs = parse_trace(&trace(&[("A", 3600, 1, 0), ("B", 360, 2, 0)]), &speeds, &types).unwrap().0;
    let mut world = TypedWorld::new(&types, &speeds, &jobs, 360.0, true);
    assert_eq!(world.jobs().len(), 2);
    assert_eq!(world.run(&[Some(0), Some(0)]), Err(TypedFault::Overcommitted { of: 0, given: 3, there: 1 }));
    assert_eq!(world.run(&[None, None]), Err(TypedFault::Idle));
    assert_eq!(world.now(), 0.0, "nothing happened");
    world.run(&[Some(0), Some(1)]).unwrap();
    assert!(world.is_over());
}

#[test]
fn gavels_own_trace_ends_sooner_with_ours_than_with_its_goals() {
    let root = std::env::var("ASHLAR_TEST_DATA").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into());
    let read = |name: &str| {
        let bytes = std::fs::read(format!("{root}/traces/gavel-osdi20/{name}.xz")).ok()?;
        let mut text = String::new();
        lzma_rust2::XzReader::new(bytes.as_slice(), false).read_to_string(&mut text).ok()?;
        Some(text)
    };
    let (Some(table), Some(text)) = (read("simulation_throughputs.json"), read("max_min_fairness.trace")) else {
        eprintln!("skipped: no {root}/traces/gavel-osdi20");
        return;
    };
    let types = Types { names: ["v100", "p100", "k80"].map(String::from).to_vec(), devices: vec![8, 16, 24] };
    let speeds = parse_speeds(&table, &types).unwrap();
    let jobs = parse_trace(&text, &speeds, &types).unwrap().0;
    let mean = |goal, told| TypedWorld::new(&types, &speeds, &jobs, 360.0, told).play(goal, &mut untimed).unwrap().mean;
    let ours = mean(Goal::Completion, true);
    for goal in [Goal::Fifo { aware: true }, Goal::Fair { aware: false }, Goal::Fair { aware: true }, Goal::Makespan] {
        let theirs = mean(goal, true);
        assert!(ours < theirs, "{goal:?}: {theirs} s, ours {ours} s");
    }
    assert!(mean(Goal::Completion, false) < 1.5 * ours, "learning the speeds costs little");
}
