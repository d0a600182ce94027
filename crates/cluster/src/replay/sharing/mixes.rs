//! What arrives: made up, and from records of a real cluster.

use super::{Cluster, Work};
use crate::world::random::Random;
use spec::{Span, Time};

const BEGIN: Time = Time(1_800_000_000_000);

/// Many small jobs and every tenth a gang of a whole machine; arrivals at random times so that `load` (thousandths of all
/// devices) is asked for, by tenants as often as their numbers say. People say one to three times what their jobs take.
pub fn synthetic(cluster: &Cluster, count: usize, load: u64, often: &[u64], seed: u64) -> Vec<Work> {
    let mut random = Random::of(seed, "mix");
    let sizes = |random: &mut Random| match random.below(10) {
        0 => (cluster.each, random.between(60, 240)),
        1 | 2 => (cluster.each / 2, random.between(20, 180)),
        3 | 4 => (2, random.between(10, 120)),
        _ => (1, random.between(5, 90)),
    };
    let shapes: Vec<(u32, Span)> =
        (0..count).map(|_| sizes(&mut random)).map(|(devices, minutes)| (devices.max(1), Span::minutes(minutes))).collect();
    arrivals(cluster, shapes, load, often, random)
}

/// Jobs as recorded: devices and how long they ran. Those larger than a machine are left out.
pub fn recorded(cluster: &Cluster, jobs: &[(u32, Span)], load: u64, often: &[u64], seed: u64) -> Vec<Work> {
    let shapes = jobs.iter().copied().filter(|(devices, span)| (1..=cluster.each).contains(devices) && span.0 > 0).collect();
    arrivals(cluster, shapes, load, often, Random::of(seed, "recorded"))
}

fn arrivals(cluster: &Cluster, shapes: Vec<(u32, Span)>, load: u64, often: &[u64], mut random: Random) -> Vec<Work> {
    let asked: u128 = shapes.iter().map(|(devices, span)| u128::from(*devices) * u128::from(span.0)).sum();
    let over = asked * 1000 / u128::from(load.max(1)) / u128::from(cluster.devices().max(1));
    let gap = u64::try_from(over).unwrap_or(u64::MAX) / (shapes.len() as u64).max(1);
    let mut at = BEGIN;
    let whose = |random: &mut Random| {
        let mut left = random.below(often.iter().sum());
        often
            .iter()
            .position(|often| {
                left < *often || {
                    left -= often;
                    false
                }
            })
            .unwrap_or(0)
    };
    let mut work = Vec::with_capacity(shapes.len());
    for (devices, takes) in shapes {
        at = at + Span(random.below(2 * gap + 1));
        let says = Span(takes.0.saturating_mul(random.between(100, 300)) / 100);
        work.push(Work { tenant: whose(&mut random), devices, arrives: at, takes, says });
    }
    work
}

/// The trap of quota without place: tenant 0 has borrowed every device with long small jobs; tenant 1 wants back, within its
/// quota, gangs that no machine can hold, and some that fit only where a whole machine is free.
pub fn never_fits(cluster: &Cluster, seed: u64) -> Vec<Work> {
    let mut random = Random::of(seed, "trap");
    let mut work = Vec::new();
    for _ in 0..cluster.devices() {
        let takes = Span::minutes(random.between(300, 600));
        work.push(Work { tenant: 0, devices: 1, arrives: BEGIN, takes, says: takes });
    }
    for n in 0..4 {
        let (devices, takes) = (cluster.each + 1 - n % 2, Span::minutes(60));
        work.push(Work { tenant: 1, devices, arrives: BEGIN + Span::minutes(u64::from(30 + 30 * n)), takes, says: takes });
    }
    work
}
