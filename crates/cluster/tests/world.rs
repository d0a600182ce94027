//! Thousands of simulated worlds.

use cluster::world::{Mutation, Setup, live};

/// Worlds lived in one test run; spread over tests so that they run beside each other.
const SEEDS: u64 = 2400;
const PARTS: u64 = 4;

fn part(part: u64) {
    if std::env::var_os("ASHLAR_SEED").is_some() {
        return; // only the one asked for, by `replay`
    }
    let (mut accepted, mut faults, mut events) = (0, 0, 0);
    for seed in (part * SEEDS / PARTS)..((part + 1) * SEEDS / PARTS) {
        let story = live(Setup { seed, ..Setup::default() });
        if let Some(broken) = story.broken {
            panic!(
                "seed {seed}: {}: {}\n  ASHLAR_SEED={seed} cargo test -p cluster --test world replay -- --nocapture",
                broken.rule, broken.detail
            );
        }
        accepted += story.accepted;
        faults += story.faults;
        events += story.events;
    }
    println!("{} worlds, {accepted} jobs, {faults} faults, {events} events", SEEDS / PARTS);
    assert!(accepted as u64 > SEEDS / PARTS * 10, "the worlds are too quiet: {accepted} jobs");
    assert!(u64::from(faults) > SEEDS / PARTS * 10, "the worlds are too kind: {faults} faults");
}

#[test]
fn worlds_of_part_0() {
    part(0);
}

#[test]
fn worlds_of_part_1() {
    part(1);
}

#[test]
fn worlds_of_part_2() {
    part(2);
}

#[test]
fn worlds_of_part_3() {
    part(3);
}

/// Lives the world of `ASHLAR_SEED` with a line for everything that happens; without it, shows that a seed is
/// a whole story: the same one twice.
#[test]
fn replay() {
    let seed = std::env::var("ASHLAR_SEED").ok().map(|text| text.parse().expect("ASHLAR_SEED is a number"));
    let tell = || live(Setup { seed: seed.unwrap_or(1), mutation: None, trace: true });
    let story = tell();
    if seed.is_some() {
        story.trace.iter().for_each(|line| println!("{line}"));
        println!("{} jobs, {} faults, {} events: {:?}", story.accepted, story.faults, story.events, story.broken);
        assert_eq!(story.broken, None);
    }
    assert_eq!(story.trace, tell().trace);
}

/// A checker that never complains proves nothing: each of these worlds is wrong in one way, and it has to notice.
#[test]
fn every_mutation_is_noticed() {
    for mutation in Mutation::ALL {
        let noticed =
            (0..400).find_map(|seed| live(Setup { seed, mutation: Some(mutation), trace: false }).broken.map(|broken| (seed, broken)));
        match noticed {
            Some((seed, broken)) => println!("{mutation:?}: noticed in seed {seed} ({})", broken.rule),
            None => panic!("{mutation:?} goes unnoticed"),
        }
    }
}
