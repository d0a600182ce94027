//! The planner against counts made by hand: it never refuses what fits, names exactly what lacks, and keeps gangs together.

mod world;

use machine::{Bytes, Machine, Vendor};
use placement::{Blocker, Plan, Policy, Snapshot, Waiting, plan};
use proptest::prelude::*;
use spec::{Launch, Span};
use std::collections::{BTreeMap, BTreeSet};
use world::*;

const PORTS: (u16, u16) = (21_000, 21_048);

/// What is free after a plan, counted from its grants.
struct Left {
    /// Thousandths free of each CPU.
    cpus: BTreeMap<u32, u32>,
    memory: u64,
    devices: BTreeSet<String>,
    leases: usize,
}

fn left(snapshot: &Snapshot, plan: &Plan) -> Left {
    let machine = &snapshot.machines[0].machine;
    let mut left = Left {
        cpus: machine.cpus.iter().map(|cpu| (cpu.id, 1000)).collect(),
        memory: machine.memory.0,
        devices: machine.devices.iter().map(|device| device.id.0.clone()).collect(),
        leases: usize::from((PORTS.1 - PORTS.0) / 16),
    };
    for grant in plan.starts.iter().map(|start| &start.grant) {
        for rank in &grant.ranks {
            rank.cpus.iter().for_each(|cpu| *left.cpus.get_mut(&cpu).unwrap() -= grant.cpu_share.0.min(1000));
            rank.devices.iter().for_each(|device| assert!(left.devices.remove(&device.0)));
        }
        left.memory -= grant.memory.0;
        left.leases -= usize::from(grant.ports.is_some());
    }
    left
}

/// Dimensions of which the job wants more than is left.
fn lacking(job: &Waiting, machine: &Machine, left: &Left) -> BTreeSet<&'static str> {
    let (spec, ranks) = (&job.spec, u64::from(job.spec.ranks));
    let mut lacking = BTreeSet::new();
    let pieces: u64 = if spec.cpus.0 >= 1000 {
        left.cpus.values().filter(|free| **free == 1000).count() as u64 / u64::from(spec.cpus.0 / 1000)
    } else {
        left.cpus.values().map(|free| u64::from(free / spec.cpus.0)).sum()
    };
    // Whole ranks may be cut over any CPUs, so only the sum counts.
    if pieces < ranks {
        lacking.insert("cpus");
    }
    if spec.memory.unwrap().0 * ranks > left.memory {
        lacking.insert("memory");
    }
    if let Some(request) = &spec.devices {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for device in machine.devices.iter().filter(|device| left.devices.contains(&device.id.0)) {
            *kinds.entry(&device.model).or_default() += 1;
        }
        if kinds.values().max().copied().unwrap_or(0) < u64::from(request.count) * ranks {
            lacking.insert("devices");
        }
    }
    if (ranks > 1 || spec.launch != Launch::Plain) && left.leases == 0 {
        lacking.insert("ports");
    }
    lacking
}

fn jobs() -> impl Strategy<Value = Vec<(u32, u32, u64, u32, bool)>> {
    let milli = prop_oneof![(1u32..5).prop_map(|n| n * 1000), Just(150u32), Just(400), Just(700)];
    let devices = prop_oneof![3 => Just(0u32), 1 => 1u32..3];
    proptest::collection::vec((1u32..4, milli, 1u64..3000, devices, any::<bool>()), 1..14)
}

fn described(number: usize, (ranks, milli, mib, devices, jax): &(u32, u32, u64, u32, bool)) -> JobBuilder {
    let job = job(number as u64).ranks(*ranks).milli(*milli).memory(Bytes::mib(*mib)).expect(Span::hours(1));
    let job = job.with(|spec| spec.launch = if *jax { Launch::Jax } else { Launch::Plain });
    if *devices > 0 { job.devices(request(*devices)) } else { job }
}

fn hardware() -> impl Strategy<Value = Machine> {
    (1u32..3, 1u32..5, 1u32..3, 1u64..12, 0u32..5).prop_map(|(nodes, cores, threads, gib, devices)| {
        let mut machine = machine(nodes, cores, threads, Bytes::gib(gib));
        machine.devices = (0..devices).map(|index| gpu(index, if index % 2 == 0 { "A100" } else { "L40S" }, 48, index % nodes)).collect();
        assert!(machine.devices.iter().all(|device| device.vendor == Vendor::Nvidia));
        machine
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Without promises everything that fits starts, and a job that waits is told each dimension that lacks, no other.
    #[test]
    fn nothing_that_fits_waits_and_reasons_are_exact(machine in hardware(), jobs in jobs()) {
        let policy = Policy { reservations: 0, ports: PORTS, ..policy() };
        let snapshot = snapshot(machine, jobs.iter().enumerate().map(|(number, job)| described(number, job)));
        let plan = planned(&snapshot, &policy);
        let machine = &snapshot.machines[0].machine;
        let after = left(&snapshot, &plan);
        let empty = left(&snapshot, &Plan::default());
        for (id, reasons) in &plan.reasons {
            let job = snapshot.waiting.iter().find(|job| job.job == *id).unwrap();
            let never = lacking(job, machine, &empty);
            let expected = if never.is_empty() { lacking(job, machine, &after) } else { never.clone() };
            prop_assert!(!expected.is_empty(), "job {} fits and waits: {:?}", id, reasons);
            let told: BTreeSet<&str> = reasons.iter().map(|reason| reason.blocker.kind()).collect();
            prop_assert_eq!(told, expected, "job {}", id);
            prop_assert!(reasons.iter().all(|reason| reason.never != never.is_empty()));
        }
    }

    /// The amounts in the reasons are those left over.
    #[test]
    fn amounts_are_what_is_left(machine in hardware(), jobs in jobs()) {
        let policy = Policy { reservations: 0, ports: PORTS, ..policy() };
        let snapshot = snapshot(machine, jobs.iter().enumerate().map(|(number, job)| described(number, job)));
        let plan = planned(&snapshot, &policy);
        let after = left(&snapshot, &plan);
        for reason in plan.reasons.iter().flat_map(|(_, reasons)| reasons).filter(|reason| !reason.never) {
            match &reason.blocker {
                Blocker::Memory { free, wanted, .. } => {
                    prop_assert_eq!(free.0, after.memory);
                    prop_assert!(wanted > free);
                }
                Blocker::Cpus { wanted, free, total } => {
                    prop_assert!(free < wanted && wanted <= total, "{:?}", reason);
                    prop_assert!(u64::from(free.0) <= after.cpus.values().map(|free| u64::from(*free)).sum());
                }
                Blocker::Devices { wanted, free, total, busy, .. } => {
                    prop_assert!(free < wanted && wanted <= total && busy.len() as u32 == total - free);
                }
                _ => {}
            }
        }
    }

    /// One gang on an idle machine: on one memory node if one is large enough, in whole cores if its ranks fill cores.
    #[test]
    fn a_gang_alone_is_kept_together(nodes in 1u32..4, cores in 1u32..9, threads in 1u32..3, ranks in 1u32..5, each in 1u32..9) {
        let machine = machine(nodes, cores, threads, Bytes::gib(64));
        let snapshot = snapshot(machine, [job(1).ranks(ranks).cpus(each).memory(Bytes::mib(1))]);
        let plan = planned(&snapshot, &policy());
        let machine = &snapshot.machines[0].machine;
        let Some(start) = plan.starts.first() else {
            prop_assert!(ranks * each > nodes * cores * threads);
            return Ok(());
        };
        let per_node = cores * threads;
        let used = machine.mem_nodes_of(&start.grant.cpus()).len() as u32;
        if ranks * each <= per_node {
            prop_assert_eq!(used, 1);
        }
        if each <= per_node {
            for rank in &start.grant.ranks {
                let whole_ranks_fit = (per_node / each) * nodes >= ranks;
                prop_assert!(!whole_ranks_fit || machine.mem_nodes_of(&rank.cpus).len() == 1, "a rank is split: {:?}", start.grant);
            }
        }
        if each % threads == 0 && each > 1 {
            for rank in &start.grant.ranks {
                let held: BTreeSet<(u32, u32)> =
                    machine.cpus.iter().filter(|cpu| rank.cpus.contains(cpu.id)).map(|cpu| (cpu.package, cpu.core)).collect();
                prop_assert_eq!(held.len() as u32, each / threads, "broken cores: {:?}", start.grant);
            }
        }
    }
}

/// Counts of free things go back to where they were when everything has ended: plans leave no trace.
#[test]
fn a_machine_that_empties_is_as_good_as_new() {
    let fresh = snapshot(machine(2, 4, 2, Bytes::gib(16)), (1..9).map(|number| job(number).cpus(2)));
    let first = plan(&fresh, &policy(), NOW);
    let again = plan(&Snapshot { generation: 8, ..fresh.clone() }, &policy(), NOW + Span::hours(1));
    assert_eq!(first.starts, again.starts);
}
