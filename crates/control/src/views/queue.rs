//! Queues: shares, what is held and how much waits.

use api::QueueView;
use cluster::State;
use machine::Bytes;
use std::collections::BTreeMap;

#[derive(Default)]
struct Sums {
    running: u64,
    waiting: u64,
    cpu_milli: u64,
    memory: u64,
    devices: u64,
}

/// In the order of the file. `group_name` gives a group's name for its number, which the state keeps.
pub fn queue_views(state: &State, group_name: impl Fn(&str) -> String) -> Vec<QueueView> {
    let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
    for job in state.waiting() {
        sums.entry(&job.queue).or_default().waiting += 1;
    }
    for (job, run) in state.running() {
        let sum = sums.entry(&job.queue).or_default();
        sum.running += 1;
        sum.cpu_milli += run.grant.cpu_milli();
        sum.memory = sum.memory.saturating_add(run.grant.memory.0);
        sum.devices += run.grant.devices().count() as u64;
    }
    let weights: u64 = state.queues().iter().map(|queue| u64::from(queue.weight)).sum();
    let none = Sums::default();
    let view = |queue: &spec::Queue| {
        let sum = sums.get(queue.name.as_str()).unwrap_or(&none);
        let mut queue = queue.clone();
        queue.groups = queue.groups.iter().map(|group| group_name(group)).collect();
        QueueView {
            share_permille: u32::try_from(u64::from(queue.weight) * 1000 / weights.max(1)).unwrap_or(1000),
            running: sum.running,
            waiting: sum.waiting,
            held_cpu_milli: sum.cpu_milli,
            held_memory: Bytes(sum.memory),
            held_devices: sum.devices,
            queue,
        }
    };
    state.queues().iter().map(view).collect()
}

/// Names of groups as this machine knows them; the number where it knows none.
pub fn group_names(group: &str) -> String {
    let known = group.parse().ok().and_then(|gid| nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid)).ok().flatten());
    known.map_or_else(|| group.to_owned(), |known| known.name)
}
