#![allow(missing_docs)]
use machine::{Bytes, CpuSet, CpuShare, Grant, PortRange, RankGrant};
use placement::*;
use spec::{JobId, Time};
use std::collections::{BTreeMap, BTreeSet};
pub struct WhatIf { pub start: Option<Start>, pub planned_start: Option<Time>, pub reasons: Vec<Reason> }
pub fn check(_: &Plan, _: &Snapshot, _: &Policy) -> Vec<Violation> { vec![] }
pub fn what_if(s: &Snapshot, p: &Policy, now: Time, w: Waiting) -> WhatIf {
    let mut s = s.clone(); let id = w.job; s.waiting = vec![w];
    let plan = plan(&s, p, now);
    WhatIf { start: plan.starts.into_iter().next(), planned_start: None, reasons: plan.reasons.into_iter().find(|r| r.0 == id).map(|r| r.1).unwrap_or_default() }
}
pub fn plan(s: &Snapshot, policy: &Policy, _now: Time) -> Plan {
    let mut used: BTreeMap<(String, u32), u32> = BTreeMap::new();
    let mut mem: BTreeMap<String, u64> = BTreeMap::new();
    let mut devs: BTreeSet<String> = BTreeSet::new();
    let mut ports: BTreeSet<u16> = BTreeSet::new();
    let take = |g: &Grant, used: &mut BTreeMap<(String, u32), u32>, mem: &mut BTreeMap<String, u64>, devs: &mut BTreeSet<String>, ports: &mut BTreeSet<u16>| {
        for r in &g.ranks { for c in r.cpus.iter() { *used.entry((g.machine.clone(), c)).or_default() += g.cpu_share.0.min(1000); } for d in &r.devices { devs.insert(d.0.clone()); } }
        *mem.entry(g.machine.clone()).or_default() += g.memory.0;
        if let Some(p) = g.ports { ports.insert(p.first); }
    };
    for r in &s.running { take(&r.grant, &mut used, &mut mem, &mut devs, &mut ports); }
    let mut plan = Plan { based_on: s.generation, ..Plan::default() };
    for w in &s.waiting {
        if let Some(g) = w.gates.first() { plan.reasons.push((w.job, vec![Reason { blocker: Blocker::Gate(g.clone()), held_by: vec![], change: None, until: None, never: false }])); continue; }
        let mut placed: Option<Grant> = None;
        for m in s.machines.iter().filter(|m| m.accepts) {
            let id = &m.machine.id;
            let share = w.spec.cpus;
            let mut ranks = vec![]; let mut local = used.clone(); let mut ld = devs.clone();
            for _ in 0..w.spec.ranks {
                let need = if share.is_shared() { 1 } else { share.0 / 1000 };
                let amount = share.0.min(1000);
                let cpus: Vec<u32> = m.machine.cpus.iter().map(|c| c.id).filter(|c| local.get(&(id.clone(), *c)).copied().unwrap_or(0) + amount <= 1000).take(need as usize).collect();
                if cpus.len() < need as usize { break; }
                for c in &cpus { *local.entry((id.clone(), *c)).or_default() += amount; }
                let want = w.spec.devices.as_ref().map_or(0, |d| d.count) as usize;
                let ds: Vec<_> = m.machine.devices.iter().filter(|d| !ld.contains(&d.id.0)).take(want).map(|d| d.id.clone()).collect();
                if ds.len() < want { break; }
                for d in &ds { ld.insert(d.0.clone()); }
                ranks.push(RankGrant { cpus: cpus.into_iter().collect::<CpuSet>(), devices: ds });
            }
            if ranks.len() < w.spec.ranks as usize { continue; }
            let want = w.spec.memory.unwrap_or(Bytes::mib(64)).0 * u64::from(w.spec.ranks);
            if mem.get(id).copied().unwrap_or(0) + want > m.machine.memory.0 * 95 / 100 { continue; }
            let port = (policy.ports.0..policy.ports.1).step_by(16).find(|p| !ports.contains(p)).unwrap();
            placed = Some(Grant { machine: id.clone(), ranks, cpu_share: CpuShare(w.spec.cpus.0), memory: Bytes(want), shm: Bytes(want / 2), mem_nodes: CpuSet::new(), ports: (w.spec.ranks > 1).then_some(PortRange { first: port, count: 16 }) });
            break;
        }
        match placed {
            Some(g) => { take(&g, &mut used, &mut mem, &mut devs, &mut ports); plan.starts.push(Start { job: w.job, grant: g }); }
            None => plan.reasons.push((w.job, vec![Reason { blocker: Blocker::Cpus { wanted: CpuShare(1), free: CpuShare(0), total: CpuShare(0) }, held_by: vec![], change: None, until: None, never: false }])),
        }
    }
    let _: Option<JobId> = None;
    plan
}
