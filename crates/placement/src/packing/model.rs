//! The values packing is made of: what a machine has, what is free on it, what is asked.

use serde::{Deserialize, Serialize};

/// Devices of one machine, at most.
pub const MAX_DEVICES: usize = 16;

/// Device models of one fleet, at most: a [`KindSet`] is one word.
pub const MAX_KINDS: usize = 64;

/// A whole device, in thousandths.
pub const WHOLE: u16 = 1000;

/// Device models, by their number in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KindSet(pub u64);

impl KindSet {
    pub const ANY: KindSet = KindSet(u64::MAX);
    pub const NONE: KindSet = KindSet(0);

    pub fn of(kind: u8) -> KindSet {
        KindSet(1 << kind)
    }

    pub fn with(self, kind: u8) -> KindSet {
        KindSet(self.0 | 1 << kind)
    }

    pub fn has(self, kind: u8) -> bool {
        self.0 >> kind & 1 == 1
    }
}

/// What a machine has when nothing runs on it. Machines of equal shape are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Model of all its devices, as a number below [`MAX_KINDS`]; of no meaning without devices.
    pub kind: u8,
    pub devices: u8,
    /// Thousandths of a CPU.
    pub cpu: u32,
    /// Host memory, MiB.
    pub memory: u32,
    /// Memory of each device, MiB; 0 where it is not known, then requests for it do not fit.
    pub device_memory: u32,
}

impl Shape {
    pub fn free(&self) -> Free {
        let mut free = Free { cpu: self.cpu, memory: self.memory, share: [0; MAX_DEVICES], device_memory: [0; MAX_DEVICES] };
        free.share[..usize::from(self.devices)].fill(WHOLE);
        free.device_memory[..usize::from(self.devices)].fill(self.device_memory);
        free
    }

    /// Thousandths of devices.
    pub fn capacity(&self) -> u64 {
        u64::from(self.devices) * u64::from(WHOLE)
    }
}

/// What is free on a machine: the typed vector everything is decided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Free {
    /// Thousandths of a CPU.
    pub cpu: u32,
    /// Host memory, MiB.
    pub memory: u32,
    /// Of each device, thousandths; 0 beyond the last device.
    pub share: [u16; MAX_DEVICES],
    /// Of each device, MiB.
    pub device_memory: [u32; MAX_DEVICES],
}

impl Free {
    /// The same with devices in falling order: machines of equal sorted state differ in nothing a policy may see.
    pub fn sorted(&self) -> Free {
        let mut free = *self;
        // Insertion: at most sixteen, nearly sorted.
        for at in 1..MAX_DEVICES {
            let mut to = at;
            while to > 0 && (free.share[to - 1], free.device_memory[to - 1]) < (free.share[to], free.device_memory[to]) {
                free.share.swap(to - 1, to);
                free.device_memory.swap(to - 1, to);
                to -= 1;
            }
        }
        free
    }

    /// Free thousandths of devices.
    pub fn total(&self) -> u32 {
        self.share.iter().map(|share| u32::from(*share)).sum()
    }

    /// Devices nothing runs on.
    pub fn whole(&self) -> usize {
        self.share.iter().filter(|share| **share == WHOLE).count()
    }

    /// Takes what a request asks from the devices of a bit set. The caller has checked that it fits.
    pub fn take(&mut self, request: &Request, devices: u16) {
        self.cpu -= request.cpu;
        self.memory -= request.memory;
        for device in ones(devices) {
            self.share[device] -= request.share;
            self.device_memory[device] -= request.held_memory(self.device_memory[device]);
        }
    }
}

/// The set bits of a device set.
pub(crate) fn ones(devices: u16) -> impl Iterator<Item = usize> {
    (0..MAX_DEVICES).filter(move |device| devices >> device & 1 == 1)
}

/// What one rank asks of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Request {
    /// Thousandths of a CPU.
    pub cpu: u32,
    /// Host memory, MiB.
    pub memory: u32,
    pub devices: u8,
    /// Of each device, thousandths; below [`WHOLE`] only for one device.
    pub share: u16,
    /// Of a shared device, MiB. Whole devices come with all of theirs, and must have this much.
    pub device_memory: u32,
    /// Models that will do.
    pub kinds: KindSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("{0} devices are more than the {MAX_DEVICES} of the largest machine")]
    TooMany(u8),
    #[error("a share of {0} thousandths is not between 1 and {WHOLE}")]
    Share(u16),
    #[error("shares of several devices: {devices} devices of {share} thousandths each")]
    SharedGang { devices: u8, share: u16 },
}

impl RequestError {
    pub fn hint(&self) -> &'static str {
        match self {
            RequestError::TooMany(_) => "split it into ranks, each on a machine of its own",
            RequestError::Share(_) => "1000 is a whole device",
            RequestError::SharedGang { .. } => "ask for whole devices (1000), or for a share of one",
        }
    }
}

impl Request {
    /// A request without devices has neither share nor device memory.
    pub fn new(cpu: u32, memory: u32, devices: u8, share: u16, kinds: KindSet) -> Result<Request, RequestError> {
        if usize::from(devices) > MAX_DEVICES {
            return Err(RequestError::TooMany(devices));
        }
        if devices == 0 {
            return Ok(Request { cpu, memory, devices, share: 0, device_memory: 0, kinds: KindSet::ANY });
        }
        if share == 0 || share > WHOLE {
            return Err(RequestError::Share(share));
        }
        if devices > 1 && share < WHOLE {
            return Err(RequestError::SharedGang { devices, share });
        }
        Ok(Request { cpu, memory, devices, share, device_memory: 0, kinds })
    }

    pub fn is_shared(&self) -> bool {
        self.devices == 1 && self.share < WHOLE
    }

    /// Thousandths of devices.
    pub fn amount(&self) -> u32 {
        u32::from(self.devices) * u32::from(self.share)
    }

    /// Device memory it takes of a device that has this much free.
    pub(crate) fn held_memory(&self, free: u32) -> u32 {
        if self.share == WHOLE { free } else { self.device_memory }
    }
}

/// Where a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Placement {
    pub machine: u32,
    /// Bit n: device n of the machine.
    pub devices: u16,
}

impl Placement {
    pub fn device_list(&self) -> Vec<usize> {
        ones(self.devices).collect()
    }
}
