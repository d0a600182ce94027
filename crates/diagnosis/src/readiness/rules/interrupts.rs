//! Where interrupts of cards and disks are handled.

use crate::Severity::{Info, Warning};
use crate::readiness::look::Look;
use crate::readiness::rule::{Claim, Needs, ON_ACCELERATORS, Rule, Scope, Test, WORKERS};
use machine::{CpuSet, Interrupt, PciAddress};
use std::collections::BTreeMap;

const AFFINITY: &str = "Linux Documentation/core-api/irq/irq-affinity";

/// Interrupts by the device they belong to, those that came at all.
fn by_device<'l>(look: &Look<'l>) -> BTreeMap<PciAddress, Vec<&'l Interrupt>> {
    let mut all: BTreeMap<PciAddress, Vec<&Interrupt>> = BTreeMap::new();
    for one in look.facts.interrupts.iter().filter(|one| one.count > 0) {
        all.entry(one.device).or_default().push(one);
    }
    all
}

pub const RULES: &[Rule] = &[
    Rule {
        id: "interrupts.far",
        checks: "interrupts of cards and disks are handled on their own memory node",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Numa,
        scope: Scope::Kernel,
        reads: &[],
        why: "an interrupt handled on another processor touches each packet's memory across the link between them",
        cost: "a fifth of a fast port's throughput and more, and a longer tail",
        source: AFFINITY,
        test: Test::Judge(far),
    },
    Rule {
        id: "interrupts.one-cpu",
        checks: "interrupts of one device are spread over CPUs",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "all queues of a device end on one CPU, which becomes the limit of the device",
        cost: "the throughput of one core, whatever the device can do",
        source: AFFINITY,
        test: Test::Judge(crowded),
    },
    Rule {
        id: "interrupts.few-queues",
        checks: "a fast port has a queue for several CPUs",
        severity: Info,
        roles: ON_ACCELERATORS,
        needs: Needs::Port(25_000),
        scope: Scope::Kernel,
        reads: &[],
        why: "a port with one queue gives all packets to one CPU",
        cost: "some tens of gigabits a second at most",
        source: "Linux Documentation/networking/scaling",
        test: Test::Judge(|look| {
            let fast = look.facts.machine.nics.iter().filter(|nic| nic.up && nic.speed_mbps.is_some_and(|mbps| mbps >= 25_000));
            let devices = by_device(look);
            fast.filter_map(|nic| {
                let own = devices.get(&nic.pci?)?;
                // One more for events that are no packets.
                (own.len() <= 2 && look.facts.machine.cpus.len() >= 8).then(|| {
                    Claim::new(nic.name.clone(), format!("{} has {} interrupts in use", nic.name, own.len()))
                        .wanted("a queue for several CPUs")
                        .read(format!("proc/interrupts: {}", own.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")))
                        .command(format!("ethtool -L {} combined 8", nic.name))
                })
            })
            .collect()
        }),
    },
];

fn far(look: &Look) -> Vec<Claim> {
    let mut claims = vec![];
    for (address, all) in by_device(look) {
        let Some(function) = look.facts.pci.get(address) else { continue };
        let Some(near) = look.near(function).filter(|near| !near.is_empty()) else { continue };
        let far: Vec<&&Interrupt> = all.iter().filter(|one| !one.cpus.is_empty() && one.cpus.is_disjoint(near)).collect();
        // NVMe has a queue for each CPU by design; a driver's odd one (events, commands) does not matter.
        let per_cpu = function.class16() == 0x0108;
        if per_cpu || far.len() * 2 <= all.len() {
            continue;
        }
        let name = look.called(function);
        let mut claim =
            Claim::new(name.clone(), format!("{} of {} interrupts of {name} are handled on another memory node", far.len(), all.len()))
                .wanted(format!("CPUs {near}"));
        for one in far.iter().take(3) {
            claim = claim.read(format!("proc/irq/{}/effective_affinity_list: {} ({})", one.number, one.cpus, one.name));
        }
        let numbers: Vec<String> = far.iter().map(|one| one.number.to_string()).collect();
        claims.push(claim.command(format!("for i in {}; do echo {near} > /proc/irq/$i/smp_affinity_list; done", numbers.join(" "))));
    }
    claims
}

fn crowded(look: &Look) -> Vec<Claim> {
    let mut claims = vec![];
    for (address, all) in by_device(look) {
        let Some(function) = look.facts.pci.get(address) else { continue };
        let union = all.iter().fold(CpuSet::new(), |set, one| set.union(&one.cpus));
        let spread = look.near(function).filter(|near| near.len() > 1).cloned().unwrap_or_else(|| look.facts.machine.cpu_set());
        if all.len() < 4 || union.len() != 1 || spread.len() < 4 {
            continue;
        }
        let name = look.called(function);
        claims.push(
            Claim::new(name.clone(), format!("all {} interrupts of {name} are handled on CPU {union}", all.len()))
                .wanted(format!("spread over CPUs {spread}"))
                .read(format!("proc/irq/{}/effective_affinity_list: {union}", all[0].number))
                .hint("start irqbalance, or write one CPU a queue to /proc/irq/N/smp_affinity_list"),
        );
    }
    claims
}
