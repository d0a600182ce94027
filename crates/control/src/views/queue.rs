//! Queues: shares, what is held and how much waits.

use api::QueueView;
use cluster::State;
use machine::Bytes;
use spec::QueueTree;
use std::collections::BTreeMap;

#[derive(Default)]
struct Sums {
    running: u64,
    waiting: u64,
    cpu_milli: u64,
    memory: u64,
    devices: u64,
}

/// The tree from the top, siblings in the order of the file. What is above counts what is below. `group_name` gives a
/// group's name for its number, which the state keeps.
pub fn queue_views(state: &State, group_name: impl Fn(&str) -> String) -> Vec<QueueView> {
    let queues = state.queues();
    let tree = QueueTree::new(queues);
    let places: BTreeMap<&str, usize> = queues.iter().enumerate().map(|(place, queue)| (queue.name.as_str(), place)).collect();
    let mut sums: Vec<Sums> = queues.iter().map(|_| Sums::default()).collect();
    let mut add = |queue: &str, count: &dyn Fn(&mut Sums)| {
        places.get(queue).into_iter().flat_map(|place| tree.path(*place)).for_each(|place| count(&mut sums[place]));
    };
    for job in state.waiting() {
        add(&job.queue, &|sum| sum.waiting += 1);
    }
    for (job, run) in state.running() {
        add(&job.queue, &|sum| {
            sum.running += 1;
            sum.cpu_milli += run.grant.cpu_milli();
            sum.memory = sum.memory.saturating_add(run.grant.memory.0);
            sum.devices += run.grant.device_milli();
        });
    }
    let mut weights: BTreeMap<Option<usize>, u64> = BTreeMap::new();
    for (place, queue) in queues.iter().enumerate() {
        *weights.entry(tree.parent(place)).or_default() += u64::from(queue.weight);
    }
    // Its part of its parent's part, down from the top.
    let share = |place: usize| {
        let part = |place: usize| f64::from(queues[place].weight) / weights[&tree.parent(place)].max(1) as f64;
        tree.path(place).map(part).product::<f64>()
    };
    let view = |(place, depth): (usize, usize)| {
        let sum = &sums[place];
        let mut queue = queues[place].clone();
        queue.groups = queue.groups.iter().map(|group| group_name(group)).collect();
        queue.guarantee = tree.guarantee(place);
        QueueView {
            depth: u32::try_from(depth).unwrap_or(u32::MAX),
            share_permille: (share(place) * 1000.0).round() as u32,
            running: sum.running,
            waiting: sum.waiting,
            held_cpu_milli: sum.cpu_milli,
            held_memory: Bytes(sum.memory),
            held_devices: sum.devices.div_ceil(1000),
            held_device_milli: sum.devices,
            queue,
        }
    };
    tree.in_order().into_iter().map(view).collect()
}

/// Names of groups as this machine knows them; the number where it knows none.
pub fn group_names(group: &str) -> String {
    let known = group.parse().ok().and_then(|gid| nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid)).ok().flatten());
    known.map_or_else(|| group.to_owned(), |known| known.name)
}
