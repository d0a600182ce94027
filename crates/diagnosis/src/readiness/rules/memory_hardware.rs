//! Memory as hardware: what is there, what is missing, and what has gone wrong in it.

use crate::Severity::{Error, Info, Warning};
use crate::readiness::look::{Look, Setting};
use crate::readiness::rule::{Claim, EVERY_ROLE, Needs, Rule, Scope, Test, WORKERS};
use machine::Source::{Text, There};
use machine::{Bytes, CpuSet};

const EDAC: &str = "Linux Documentation/driver-api/edac";

pub const RULES: &[Rule] = &[
    Rule {
        id: "memory.uncorrected",
        checks: "no memory error went uncorrected",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("sys/devices/system/edac/mc/mc*/ue_count")],
        why: "the memory controller counted errors that it could not correct",
        cost: "wrong data or a crash, at any time",
        source: EDAC,
        test: Test::Judge(|look| {
            counted(look, "sys/devices/system/edac/mc/mc*/ue_count", 1, "uncorrected memory errors", "have the memory module changed")
        }),
    },
    Rule {
        id: "memory.corrected",
        checks: "few memory errors had to be corrected",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("sys/devices/system/edac/mc/mc*/ce_count")],
        why: "many corrected errors on one controller announce uncorrected ones",
        cost: "a crash to come",
        source: EDAC,
        test: Test::Judge(|look| {
            counted(look, "sys/devices/system/edac/mc/mc*/ce_count", 1000, "corrected memory errors", "plan to change the memory module")
        }),
    },
    Rule {
        id: "memory.unwatched",
        checks: "memory errors are counted",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Physical,
        scope: Scope::Kernel,
        reads: &[There("sys/devices/system/edac/mc"), There("sys/devices/system/edac/mc/mc*")],
        why: "no driver for the memory controller is loaded, so errors are not counted by module",
        cost: "a failing module is found by a job that crashes",
        source: EDAC,
        test: Test::Judge(|look| {
            let readings = &look.facts.readings;
            if readings.any("sys/devices/system/edac/mc/mc*") != Some(false) {
                return vec![];
            }
            vec![
                Claim::new("memory controllers", "no memory controller is watched")
                    .wanted("an EDAC driver")
                    .read("sys/devices/system/edac/mc: no mc*")
                    .hint("load the driver of the processor (amd64_edac, skx_edac, i10nm_edac, igen6_edac), or see that firmware reports errors"),
            ]
        }),
    },
    Rule {
        id: "memory.poisoned",
        checks: "no page was taken out of use",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Hardware,
        reads: &[Text("proc/meminfo")],
        why: "the kernel found pages that the hardware calls corrupted and set them aside",
        cost: "the program that held such a page was killed; the next one is close by",
        source: "Linux Documentation/filesystems/proc, HardwareCorrupted; mm/hwpoison",
        test: Test::Judge(|look| {
            let line = look.text("proc/meminfo").and_then(|text| text.lines().find(|line| line.starts_with("HardwareCorrupted:")));
            let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0);
            if kilobytes == 0 {
                return vec![];
            }
            vec![
                Claim::new("memory", format!("{kilobytes} kB of memory are corrupted"))
                    .wanted("0 kB")
                    .seen("proc/meminfo", line.unwrap_or_default())
                    .hint("have the memory module changed; a restart brings the pages back into use"),
            ]
        }),
    },
    Rule {
        id: "memory.empty-node",
        checks: "every processor has memory of its own",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Numa,
        scope: Scope::Hardware,
        reads: &[Text("sys/devices/system/node/node*/meminfo")],
        why: "CPUs of a node without memory reach everything over the link to another processor",
        cost: "half the memory bandwidth there, or less",
        source: "Linux Documentation/admin-guide/mm/numaperf",
        test: Test::Judge(|look| {
            let empty = nodes(look).into_iter().filter(|node| node.kilobytes == 0);
            empty
                .map(|node| {
                    Claim::new(format!("memory node {}", node.id), format!("memory node {} has CPUs {} and no memory", node.id, node.cpus))
                        .wanted("memory in every node")
                        .seen(&node.path, "MemTotal: 0 kB")
                        .hint("look for a memory module that is missing or was switched off by firmware")
                })
                .collect()
        }),
    },
    Rule {
        id: "memory.uneven",
        checks: "processors have the same amount of memory",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Numa,
        scope: Scope::Hardware,
        reads: &[Text("sys/devices/system/node/node*/meminfo")],
        why: "a node with much less than its neighbours lost a memory module, or was filled wrongly",
        cost: "bandwidth of the missing channels, and remote memory for what runs there",
        source: "Linux Documentation/admin-guide/mm/numaperf; boards ask for all channels filled alike",
        test: Test::Judge(uneven),
    },
    Rule {
        id: "memory.swap-busy",
        checks: "swap is not in use",
        severity: Info,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/meminfo")],
        why: "something did not fit into memory",
        cost: "whoever touches those pages waits for the disk",
        source: "Linux Documentation/filesystems/proc",
        test: Test::Judge(|look| {
            let text = look.text("proc/meminfo").unwrap_or_default();
            let field = |name: &str| {
                let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            };
            let (Some(total), Some(free)) = (field("SwapTotal"), field("SwapFree")) else { return vec![] };
            let used = total.saturating_sub(free);
            // A gigabyte: what sits there after a start is never touched again.
            if used < 1 << 20 {
                return vec![];
            }
            vec![
                Claim::new("swap", format!("{} are swapped out", Bytes(used << 10)))
                    .seen("proc/meminfo", format!("SwapTotal {total} kB, SwapFree {free} kB"))
                    .hint("see who is swapped out (VmSwap in /proc/PID/status)"),
            ]
        }),
    },
];

fn counted(look: &Look, pattern: &str, least: u64, what: &str, hint: &str) -> Vec<Claim> {
    let bad = look.settings(pattern).into_iter().filter(|at| at.number().is_some_and(|count| count >= least));
    bad.map(|at| {
        let controller = format!("memory controller {}", at.parts.first().unwrap_or(&""));
        Claim::new(controller.clone(), format!("{controller} counted {} {what}", at.value)).wanted("0").seen(at.path, at.value).hint(hint)
    })
    .collect()
}

/// A memory node that has CPUs, as the kernel shows it: not cut by what this process may use.
struct Node<'l> {
    id: u32,
    cpus: &'l CpuSet,
    kilobytes: u64,
    path: String,
}

fn nodes<'l>(look: &Look<'l>) -> Vec<Node<'l>> {
    let of = |at: Setting<'l>| {
        let id = at.parts.first()?.parse().ok()?;
        let line = at.value.lines().find(|line| line.contains("MemTotal:"))?;
        let kilobytes = line.split_whitespace().rev().nth(1)?.parse().ok()?;
        let cpus = look.facts.machine.numa.iter().find(|node| node.id == id).map(|node| &node.cpus).filter(|cpus| !cpus.is_empty())?;
        Some(Node { id, cpus, kilobytes, path: at.path.to_owned() })
    };
    look.settings("sys/devices/system/node/node*/meminfo").into_iter().filter_map(of).collect()
}

fn uneven(look: &Look) -> Vec<Claim> {
    let nodes = nodes(look);
    // Only where the nodes have as many CPUs each, so that they should be alike, and a size that real modules have. Whoever
    // made a virtual machine chose its sizes.
    let alike = nodes.iter().all(|node| node.cpus.len() == nodes[0].cpus.len());
    let most = nodes.iter().map(|node| node.kilobytes).max().unwrap_or(0);
    if !alike || most < 4 << 20 || !look.physical() {
        return vec![];
    }
    // Firmware and the kernel take some off the first node; a quarter is a module.
    let low: Vec<&Node> = nodes.iter().filter(|node| node.kilobytes > 0 && node.kilobytes < most / 4 * 3).collect();
    if low.is_empty() {
        return vec![];
    }
    let list = |all: &[&Node]| all.iter().map(|node| node.id.to_string()).collect::<Vec<_>>().join(", ");
    let least = low.iter().map(|node| node.kilobytes).min().unwrap_or(0);
    let claim = Claim::new(
        "memory nodes",
        format!("memory nodes {} have {} where others have {}", list(&low), Bytes(least << 10), Bytes(most << 10)),
    )
    .wanted("the same in every node")
    .hint("look for memory modules that are missing or were switched off by firmware");
    vec![low.iter().take(4).fold(claim, |claim, node| claim.seen(&node.path, format!("MemTotal: {} kB", node.kilobytes)))]
}
