//! Filter: does a request fit. The only place that says no.

use crate::packing::model::{Free, MAX_DEVICES, Request, Shape, WHOLE};

/// Whether a request fits what is free. Exact, in every dimension.
pub fn fits(shape: &Shape, free: &Free, request: &Request) -> bool {
    if free.cpu < request.cpu || free.memory < request.memory {
        return false;
    }
    if request.devices == 0 {
        return true;
    }
    if !request.kinds.has(shape.kind) {
        return false;
    }
    let mut room = 0;
    for device in 0..MAX_DEVICES {
        room += u8::from(device_fits(free, device, request));
    }
    room >= request.devices
}

/// Whether it would fit if nothing ran: a request that does not is hopeless here.
pub fn fits_empty(shape: &Shape, request: &Request) -> bool {
    fits(shape, &shape.free(), request)
}

pub(crate) fn device_fits(free: &Free, device: usize, request: &Request) -> bool {
    free.share[device] >= request.share && free.device_memory[device] >= request.device_memory && free.share[device] > 0
}

/// Devices of a sorted state a shared request can go to, each kind of device once: equal neighbours differ in nothing.
pub fn shared_choices<'a>(free: &'a Free, request: &'a Request) -> impl Iterator<Item = usize> + 'a {
    (0..MAX_DEVICES).filter(move |device| {
        let same =
            *device > 0 && free.share[*device - 1] == free.share[*device] && free.device_memory[*device - 1] == free.device_memory[*device];
        !same && device_fits(free, *device, request)
    })
}

/// The first `request.devices` whole devices of a state, as a bit set.
pub(crate) fn whole_devices(free: &Free, request: &Request) -> u16 {
    let mut chosen = 0u16;
    let mut wanted = request.devices;
    for device in 0..MAX_DEVICES {
        if wanted > 0 && free.share[device] == WHOLE && device_fits(free, device, request) {
            chosen |= 1 << device;
            wanted -= 1;
        }
    }
    chosen
}
