//! Distances between memory nodes, and the groups that follow from them.

use super::object::{GroupKind, Kind, Object};
use crate::CpuSet;
use serde::{Deserialize, Serialize};

/// A square matrix between memory nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distances {
    /// `NUMALatency` for the kernel's own (ACPI SLIT).
    pub name: String,
    /// Numbers of the nodes, in the order of rows and columns.
    pub nodes: Vec<u32>,
    /// Row by row; 10 is local.
    pub values: Vec<u64>,
}

impl Distances {
    pub fn get(&self, from: u32, to: u32) -> Option<u64> {
        let at = |node| self.nodes.iter().position(|known| *known == node);
        self.values.get(at(from)? * self.nodes.len() + at(to)?).copied()
    }

    /// The part of the matrix between the nodes that `keep` wants.
    pub fn restricted(&self, keep: impl Fn(u32) -> bool) -> Distances {
        let kept: Vec<u32> = self.nodes.iter().copied().filter(|node| keep(*node)).collect();
        let values = kept.iter().flat_map(|from| kept.iter().map(|to| self.get(*from, *to).unwrap_or(0))).collect();
        Distances { name: self.name.clone(), nodes: kept, values }
    }

    /// Rows and columns in another order; nodes that are not named go last.
    pub fn in_order(&self, order: &[u32]) -> Distances {
        let mut nodes = self.nodes.clone();
        nodes.sort_by_key(|node| order.iter().position(|known| known == node).unwrap_or(usize::MAX));
        let values = nodes.iter().flat_map(|from| nodes.iter().map(|to| self.get(*from, *to).unwrap_or(0))).collect();
        Distances { name: self.name.clone(), nodes, values }
    }

    /// Equal both ways, and nothing nearer than a node to itself.
    fn makes_sense(&self) -> bool {
        let n = self.nodes.len();
        let value = |a: usize, b: usize| self.values[a * n + b];
        (0..n).all(|a| (a + 1..n).all(|b| value(a, b) == value(b, a) && value(a, b) > value(a, a)))
    }
}

/// A group for each set of nodes that are nearest to each other, then for each set of such groups, and so on.
pub(super) fn group_by_distance(machine: &mut Object, distances: &Distances, cpus_of: impl Fn(u32) -> CpuSet) {
    if distances.values.len() != distances.nodes.len() * distances.nodes.len() || !distances.makes_sense() {
        return;
    }
    let mut sets: Vec<CpuSet> = distances.nodes.iter().map(|node| cpus_of(*node)).collect();
    let mut values = distances.values.clone();
    while sets.len() > 2 {
        let groups = nearest(sets.len(), &values);
        let count = groups.iter().flatten().max().map_or(0, |last| last + 1);
        if count == 0 {
            return;
        }
        let mut all: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (at, group) in groups.iter().enumerate() {
            group.iter().for_each(|group| all[*group].push(at));
        }
        let united: Vec<CpuSet> = all.iter().map(|members| members.iter().fold(CpuSet::new(), |sum, at| sum.union(&sets[*at]))).collect();
        for cpus in &united {
            if !cpus.is_empty() {
                machine.insert(Object::of(Kind::Group { group: GroupKind::Distance }, None, cpus.clone()));
            }
        }
        let n = sets.len();
        let mean = |a: &[usize], b: &[usize]| {
            let sum = a.iter().flat_map(|x| b.iter().map(move |y| (x, y))).fold(0u64, |sum, (x, y)| sum.saturating_add(values[x * n + y]));
            sum / (a.len() * b.len()) as u64
        };
        values = all.iter().flat_map(|a| all.iter().map(|b| mean(a, b)).collect::<Vec<u64>>()).collect();
        sets = united;
    }
}

/// Numbers the sets of members that are connected by the smallest distance of the matrix; none when all are one set.
fn nearest(n: usize, values: &[u64]) -> Vec<Option<usize>> {
    let mut groups: Vec<Option<usize>> = vec![None; n];
    let pairs = || (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b);
    let Some(least) = pairs().map(|(a, b)| values[a * n + b]).min() else { return groups };
    let (mut next, mut alone) = (0, 0);
    for start in 0..n {
        if groups[start].is_some() {
            continue;
        }
        let mut members = vec![start];
        let mut looked = 0;
        groups[start] = Some(next);
        while let Some(at) = members.get(looked).copied() {
            looked += 1;
            for other in 0..n {
                if groups[other].is_none() && values[at * n + other] == least {
                    groups[other] = Some(next);
                    members.push(other);
                }
            }
        }
        if members.len() == 1 {
            groups[start] = None;
            alone += 1;
        } else {
            next += 1;
        }
    }
    if next == 1 && alone == 0 { vec![None; n] } else { groups }
}

impl Object {
    /// Groups of memory nodes by distance; see [`Distances`]. `cpus_of` tells the CPUs near to a node.
    pub fn group_by_distance(&mut self, distances: &Distances, cpus_of: impl Fn(u32) -> CpuSet) {
        group_by_distance(self, distances, cpus_of);
    }
}
