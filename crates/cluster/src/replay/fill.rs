//! Filling: requests arrive, nothing ends, what does not fit is dropped (the protocol of Weng et al., USENIX ATC 2023).

use super::policies::AnyPolicy;
use placement::packing::audit::{Audit, Fault};
use placement::packing::{Fragmentation, Packer, Request, Seeded};
use serde::{Deserialize, Serialize};

/// The fleet at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FillSample {
    /// Demand that arrived, as a part of the devices there are.
    pub arrived: f64,
    /// Devices held, as a part of those there are.
    pub allocated: f64,
    /// Free devices, expected to be of no use to a typical request, as a part of all.
    pub fragmented: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FillReport {
    pub arrivals: usize,
    pub placed: usize,
    /// Held when as much as there is had arrived; nothing when it never did.
    pub allocated_at_full: Option<f64>,
    pub allocated_at_end: f64,
    /// One for each percent arrived.
    pub curve: Vec<FillSample>,
}

/// Row numbers in order of arrival: shuffled, then drawn again until `load` times the capacity was asked for.
pub fn arrivals(requests: &[Request], capacity: u64, load: f64, seed: u64) -> Vec<usize> {
    let mut seeded = Seeded(seed);
    let mut order: Vec<usize> = (0..requests.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, seeded.below(at as u64 + 1) as usize);
    }
    let wanted = load * capacity as f64;
    let mut asked = 0u64;
    let enough = order.iter().position(|row| {
        asked += u64::from(requests[*row].amount());
        asked as f64 >= wanted
    });
    match enough {
        Some(at) => order.truncate(at + 1),
        None if asked == 0 => {}
        None => {
            while (asked as f64) < wanted {
                let row = seeded.below(requests.len() as u64) as usize;
                asked += u64::from(requests[row].amount());
                order.push(row);
            }
        }
    }
    order
}

/// Places one request after the other. Fails when the audit finds a fault, which would be ours.
pub fn fill(
    packer: &mut Packer<AnyPolicy>,
    audit: &mut Audit,
    requests: &[Request],
    order: &[usize],
    typical: &[(Request, f64)],
) -> Result<FillReport, Fault> {
    let capacity = packer.fleet().capacity().max(1) as f64;
    let mut report = FillReport { arrivals: order.len(), placed: 0, allocated_at_full: None, allocated_at_end: 0.0, curve: vec![] };
    let (mut arrived, mut next) = (0u64, 0.0);
    for row in order {
        let request = &requests[*row];
        let at = packer.arrive(request);
        audit.arrival(request, at)?;
        report.placed += usize::from(at.is_some());
        arrived += u64::from(request.amount());
        packer.study();
        let (part, allocated) = (arrived as f64 / capacity, audit.held() as f64 / capacity);
        if report.allocated_at_full.is_none() && part >= 1.0 {
            report.allocated_at_full = Some(allocated);
        }
        if part >= next {
            let unusable = Fragmentation::of(packer.fleet(), typical).unusable;
            report.curve.push(FillSample { arrived: part, allocated, fragmented: unusable * 1000.0 / capacity });
            next = (part * 100.0).floor() / 100.0 + 0.01;
        }
    }
    report.allocated_at_end = audit.held() as f64 / capacity;
    Ok(report)
}
