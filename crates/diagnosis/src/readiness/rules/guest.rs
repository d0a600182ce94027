//! What a virtual machine or a container cannot see or change by itself.

use crate::Severity::Info;
use crate::readiness::rule::{Claim, EVERY_ROLE, Needs, Rule, Scope, Test};

pub const RULES: &[Rule] = &[
    Rule {
        id: "guest.virtual-machine",
        checks: "what the host of a virtual machine decides is known",
        severity: Info,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Software,
        reads: &[],
        why: "frequencies, idle states, PCIe links, translation by the IOMMU, memory modules and cooling belong to the host",
        cost: "half of this audit cannot be made here",
        source: "docs/guides/doctor.md",
        test: Test::Judge(|look| {
            let Some(hypervisor) = &look.facts.machine.facts.virtualised else { return vec![] };
            vec![
                Claim::new("machine", format!("this is a virtual machine ({hypervisor})"))
                    .because("firmware, clock sources and processor flags name a hypervisor")
                    .hint("run `ashlar doctor` on the host too; ask it for pinned vCPUs, huge pages and the same NUMA layout"),
            ]
        }),
    },
    Rule {
        id: "guest.container",
        checks: "what the host of a container decides is known",
        severity: Info,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Software,
        reads: &[],
        why: "a container shows the kernel of its host and may change none of it",
        cost: "findings about the kernel have to be put right outside",
        source: "docs/guides/doctor.md",
        test: Test::Judge(|look| {
            let Some(container) = &look.facts.container else { return vec![] };
            vec![
                Claim::new("machine", format!("this runs in a container ({container})"))
                    .because("files that container runtimes leave inside")
                    .hint("run `ashlar doctor` on the host"),
            ]
        }),
    },
];
