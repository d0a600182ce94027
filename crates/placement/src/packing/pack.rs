//! Pack: the cheapest machine, and which of its devices.

use crate::packing::cache::{CostTable, Potentials};
use crate::packing::filter::{device_fits, fits, whole_devices};
use crate::packing::fleet::{Fleet, PackError};
use crate::packing::model::{MAX_DEVICES, Placement, Request};
use crate::packing::score::{Event, Score, Spot};
use rustc_hash::FxHashMap;

/// Kept costs, at most, over all distinct requests: 5 bytes each.
const KEPT: usize = 8 << 20;

/// Numbers that look random and are the same every time (splitmix64, Steele et al., OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_number() % limit
    }
}

/// A fleet and the policy that fills it.
pub struct Packer<S> {
    fleet: Fleet,
    policy: S,
    tables: Vec<CostTable>,
    by_request: FxHashMap<Request, usize>,
    potentials: Potentials,
    draws: Seeded,
    slots: Vec<u32>,
    decisions: u64,
    kept: usize,
}

impl<S: Score> Packer<S> {
    /// `seed` matters to policies that [draw](Score::draws).
    pub fn new(fleet: Fleet, policy: S, seed: u64) -> Packer<S> {
        Packer {
            fleet,
            policy,
            tables: vec![],
            by_request: FxHashMap::default(),
            potentials: Potentials::default(),
            draws: Seeded(seed),
            slots: vec![],
            decisions: 0,
            kept: 0,
        }
    }

    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub fn policy(&self) -> &S {
        &self.policy
    }

    pub fn policy_mut(&mut self) -> &mut S {
        &mut self.policy
    }

    pub fn into_policy(self) -> S {
        self.policy
    }

    /// Lets a policy that learns do so; to be called between decisions. True when it did.
    pub fn study(&mut self) -> bool {
        self.policy.study(&self.fleet)
    }

    /// What the request costs where it was, that being free again; nothing when it does not fit there.
    pub(crate) fn cost_at(&mut self, request: &Request, at: Placement) -> Option<f32> {
        let (number, shape) = self.fleet.shape_of(at.machine);
        let free = self.fleet.free(at.machine).sorted();
        if !fits(shape, &free, request) {
            return None;
        }
        let potential = self.policy.potential(number, shape, &free);
        Some(self.policy.cost(&Spot { number, shape, free: &free, potential }, request).cost)
    }

    pub(crate) fn fleet_mut(&mut self) -> &mut Fleet {
        &mut self.fleet
    }

    /// Where the request would go, or nothing when it fits nowhere. Changes nothing that anybody can see.
    pub fn decide(&mut self, request: &Request) -> Option<Placement> {
        self.cheapest(request).map(|(at, _)| at)
    }

    /// The same with its cost.
    pub fn cheapest(&mut self, request: &Request) -> Option<(Placement, f32)> {
        let table = self.table(request);
        if self.policy.draws() {
            return self.draw(table);
        }
        let mut slots = std::mem::take(&mut self.slots);
        self.tables[table].cheapest(&mut slots);
        let mut best: Option<(u32, u32, u32)> = None;
        for slot in &slots {
            if let Some((rank, machine)) = self.fleet.groups_mut().first(*slot)
                && best.is_none_or(|(lowest, ..)| rank < lowest)
            {
                best = Some((rank, machine, *slot));
            }
        }
        self.slots = slots;
        let (_, machine, slot) = best?;
        Some((self.devices_on(machine, slot, table), self.tables[table].cost(slot)))
    }

    /// Any machine that fits and, for a share, any device.
    pub(crate) fn draw(&mut self, table: usize) -> Option<(Placement, f32)> {
        let mut slots = std::mem::take(&mut self.slots);
        self.tables[table].feasible(&mut slots);
        let groups = self.fleet.groups();
        let all: u64 = slots.iter().map(|slot| u64::from(groups.state(*slot).2)).sum();
        let mut chosen = None;
        if all > 0 {
            let mut left = self.draws.below(all) as u32;
            for slot in &slots {
                let population = groups.state(*slot).2;
                if left < population {
                    chosen = groups.nth(*slot, left).map(|machine| (machine, *slot));
                    break;
                }
                left -= population;
            }
        }
        self.slots = slots;
        let (machine, slot) = chosen?;
        let request = self.tables[table].request;
        let mut at = self.devices_on(machine, slot, table);
        if request.is_shared() {
            let free = self.fleet.free(machine);
            let room: Vec<usize> = (0..MAX_DEVICES).filter(|device| device_fits(free, *device, &request)).collect();
            at.devices = 1 << room[self.draws.below(room.len() as u64) as usize];
        }
        Some((at, self.tables[table].cost(slot)))
    }

    /// A drawn machine whatever the policy says: how a policy is shown what it would not try.
    pub(crate) fn decide_any(&mut self, request: &Request) -> Option<Placement> {
        let table = self.table(request);
        self.draw(table).map(|(at, _)| at)
    }

    /// The devices of the machine that the choice on the sorted state means.
    fn devices_on(&self, machine: u32, slot: u32, table: usize) -> Placement {
        let (request, free) = (&self.tables[table].request, self.fleet.free(machine));
        let devices = match request.devices {
            0 => 0,
            1 if request.is_shared() => {
                let sorted = self.fleet.groups().state(slot).1;
                let of = self.tables[table].device(slot);
                let wanted = (sorted.share[of], sorted.device_memory[of]);
                let device = (0..MAX_DEVICES).find(|device| (free.share[*device], free.device_memory[*device]) == wanted);
                device.map_or(0, |device| 1 << device)
            }
            _ => whole_devices(free, request),
        };
        Placement { machine, devices }
    }

    /// Decides and gives; the policy is told.
    pub fn arrive(&mut self, request: &Request) -> Option<Placement> {
        let at = self.decide(request);
        self.settle(request, at)
    }

    pub(crate) fn settle(&mut self, request: &Request, at: Option<Placement>) -> Option<Placement> {
        let at = at.filter(|at| self.fleet.place(request, *at).is_ok());
        let load = (self.fleet.allocated(), self.fleet.capacity());
        self.policy.note(&Event::Arrived { request: *request, placed: at.is_some() }, load);
        at
    }

    /// Decides and gives to one that was refused before: no new arrival.
    pub fn retry(&mut self, request: &Request) -> Option<Placement> {
        let at = self.decide(request)?;
        self.fleet.place(request, at).ok()?;
        let load = (self.fleet.allocated(), self.fleet.capacity());
        self.policy.note(&Event::Started { request: *request }, load);
        Some(at)
    }

    /// What the request held is free again.
    pub fn depart(&mut self, request: &Request, at: Placement) -> Result<(), PackError> {
        self.fleet.release(request, at)?;
        let load = (self.fleet.allocated(), self.fleet.capacity());
        self.policy.note(&Event::Departed { request: *request }, load);
        Ok(())
    }

    /// The up-to-date costs of a request.
    fn table(&mut self, request: &Request) -> usize {
        self.decisions += 1;
        self.fleet.groups_mut().trim();
        let table = match self.by_request.get(request) {
            Some(table) => *table,
            None => {
                if self.kept > KEPT {
                    self.drop_oldest();
                }
                self.tables.push(CostTable::new(*request));
                self.by_request.insert(*request, self.tables.len() - 1);
                self.tables.len() - 1
            }
        };
        let before = self.tables[table].len();
        self.tables[table].refresh(&self.fleet, &self.policy, &mut self.potentials);
        self.tables[table].used = self.decisions;
        self.kept += self.tables[table].len() - before;
        table
    }

    fn drop_oldest(&mut self) {
        let Some((oldest, _)) = self.tables.iter().enumerate().min_by_key(|(_, table)| table.used) else { return };
        let gone = self.tables.swap_remove(oldest);
        self.kept -= gone.len();
        self.by_request.remove(&gone.request);
        if let Some(moved) = self.tables.get(oldest) {
            self.by_request.insert(moved.request, oldest);
        }
    }
}
