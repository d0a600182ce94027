//! Small fleets and random steps for the tests of packing.
#![allow(dead_code)]

use placement::packing::policy::{BestFit, DotProd, Fgd, Packing, Random};
use placement::packing::{Cost, Event, Fleet, Free, KindSet, Placement, Request, Score, Shape, Spot, demand::Demand};

pub fn shape(kind: u8, devices: u8, cpus: u32, gigabytes: u32) -> Shape {
    Shape { kind, devices, cpu: cpus * 1000, memory: gigabytes * 1024, device_memory: 0 }
}

pub fn whole(cpus: u32, devices: u8) -> Request {
    Request::new(cpus * 1000, 1024, devices, 1000, KindSet::ANY).unwrap()
}

pub fn share(cpus: u32, share: u16) -> Request {
    Request::new(cpus * 1000, 1024, 1, share, KindSet::ANY).unwrap()
}

pub fn only(mut request: Request, kind: u8) -> Request {
    request.kinds = KindSet::of(kind);
    request
}

pub fn at(machine: u32, devices: u16) -> Placement {
    Placement { machine, devices }
}

/// A machine of four devices of which these shares are free.
pub fn free(cpus: u32, shares: &[u16]) -> Free {
    let mut free = shape(0, 0, cpus, 64).free();
    free.share[..shares.len()].copy_from_slice(shares);
    free.sorted()
}

pub fn fleet(shapes: &[Shape], counts: &[usize]) -> Fleet {
    let machines: Vec<u16> = counts.iter().enumerate().flat_map(|(shape, count)| std::iter::repeat_n(shape as u16, *count)).collect();
    Fleet::new(shapes.to_vec(), &machines, vec![])
}

pub fn machines(fleet: &Fleet) -> Vec<u16> {
    (0..fleet.len() as u32).map(|machine| fleet.shape_of(machine).0).collect()
}

pub struct Boxed(pub Box<dyn Score>);

impl Score for Boxed {
    fn cost(&self, spot: &Spot<'_>, request: &Request) -> Cost {
        self.0.cost(spot, request)
    }
    fn potential(&self, number: u16, shape: &Shape, free: &Free) -> f32 {
        self.0.potential(number, shape, free)
    }
    fn epoch(&self) -> u32 {
        self.0.epoch()
    }
    fn note(&mut self, event: &Event, load: (u64, u64)) {
        self.0.note(event, load);
    }
    fn draws(&self) -> bool {
        self.0.draws()
    }
}

/// The policies that need no time to get ready.
pub fn policy(number: usize, demand: &Demand) -> Boxed {
    match number % 5 {
        0 => Boxed(Box::new(BestFit)),
        1 => Boxed(Box::new(DotProd)),
        2 => Boxed(Box::new(Packing)),
        3 => Boxed(Box::new(Fgd::new(demand))),
        _ => Boxed(Box::new(Random)),
    }
}
