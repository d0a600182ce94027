//! All pairs of a machine together, each obstacle once.

use super::{Judgement, Obstacle, PairEvidence, PathEvidence, Verdict, peer_to_peer, rdma};
use crate::{PciAddress, Vendor, Way};
use serde::{Deserialize, Serialize};

/// Every pair of accelerators, and every accelerator with every network port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathReport {
    pub accelerators: Vec<PathEnd>,
    pub ports: Vec<PathEnd>,
    pub pairs: Vec<PathPair>,
    /// What is in the way, most pairs first; [`PathPair::reasons`] are positions in it.
    pub reasons: Vec<PathReason>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathEnd {
    pub name: String,
    pub model: String,
    pub pci: Option<PciAddress>,
    /// `None` for a network port.
    pub vendor: Option<Vendor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathPair {
    pub from: String,
    pub to: String,
    /// An accelerator and a network port, not two accelerators.
    pub rdma: bool,
    #[serde(flatten)]
    pub way: Way,
    pub verdict: Verdict,
    pub reasons: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathReason {
    #[serde(flatten)]
    pub obstacle: Obstacle,
    /// Pairs it concerns; the names in the obstacle are those of all of them.
    pub pairs: usize,
}

/// Judges all pairs. Pairs with a network port are those whose second side has no vendor.
pub fn report(ends: Vec<PathEnd>, pairs: &[PairEvidence], host: &PathEvidence) -> PathReport {
    let judged: Vec<(&PairEvidence, bool, Judgement)> = pairs
        .iter()
        .map(|pair| {
            let with_port = pair.to.vendor.is_none();
            (pair, with_port, if with_port { rdma(pair, host) } else { peer_to_peer(pair, host) })
        })
        .collect();
    let mut reasons: Vec<PathReason> = Vec::new();
    for obstacle in judged.iter().flat_map(|(_, _, judgement)| &judgement.obstacles) {
        match reasons.iter_mut().find(|reason| is_same(&reason.obstacle, obstacle)) {
            Some(reason) => {
                reason.pairs += 1;
                let new = obstacle.at.iter().filter(|at| !reason.obstacle.at.contains(at)).cloned().collect::<Vec<_>>();
                reason.obstacle.at.extend(new);
            }
            None => reasons.push(PathReason { obstacle: obstacle.clone(), pairs: 1 }),
        }
    }
    // The worst first, among equals what concerns most pairs.
    reasons.sort_by_key(|reason| std::cmp::Reverse((reason.obstacle.verdict, reason.pairs)));
    let position = |obstacle: &Obstacle| reasons.iter().position(|reason| is_same(&reason.obstacle, obstacle));
    let pairs = judged
        .iter()
        .map(|(pair, rdma, judgement)| PathPair {
            from: pair.from.name.clone(),
            to: pair.to.name.clone(),
            rdma: *rdma,
            way: pair.way.clone(),
            verdict: judgement.verdict,
            reasons: judgement.obstacles.iter().filter_map(position).collect(),
        })
        .collect();
    let (accelerators, ports) = ends.into_iter().partition(|end| end.vendor.is_some());
    PathReport { accelerators, ports, pairs, reasons }
}

/// The same thing, whichever devices and ports it is about.
fn is_same(a: &Obstacle, b: &Obstacle) -> bool {
    (a.verdict, &a.text, &a.hint, &a.source) == (b.verdict, &b.text, &b.hint, &b.source)
}
