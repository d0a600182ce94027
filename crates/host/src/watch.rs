//! Devices that come, go and fall off the bus, without looking at everything all the time.
//!
//! The kernel tells of devices on a netlink socket (`NETLINK_KOBJECT_UEVENT`, group 1); an event leads to reading the one
//! device that it is about. A card that falls off the bus often makes no event at all, so each card's first four bytes of
//! configuration space are read once a second, which is one bus access and asks no driver.

use crate::Root;
use crate::accelerators::{self, Counted, ascend};
use machine::ladder::{self, Evidence, OnBus};
use machine::{Device, PciAddress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};
use std::io;
use std::time::Duration;

/// One thing that the kernel told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `add`, `remove`, `bind`, `unbind`, `change` ...
    pub action: String,
    pub subsystem: String,
    /// The innermost PCI function in the path of what it is about.
    pub address: Option<PciAddress>,
    /// Whether it is about that function itself and not something below it.
    pub is_function: bool,
}

/// Takes a message apart: `ACTION@PATH`, then `KEY=VALUE` texts, each ended by a NUL (Linux `lib/kobject_uevent.c`).
/// `None` for what udev sends in the same family, and for what is no event.
pub fn event(message: &[u8]) -> Option<Event> {
    let mut texts = message.split(|byte| *byte == 0).map(|bytes| std::str::from_utf8(bytes).ok());
    let (action, path) = texts.next()??.split_once('@')?;
    let subsystem = texts.flatten().find_map(|text| text.strip_prefix("SUBSYSTEM=")).unwrap_or_default();
    let mut parts = path.rsplit('/');
    let own = parts.next().and_then(|part| part.parse().ok());
    let address = own.or_else(|| parts.find_map(|part| part.parse().ok()));
    Some(Event { action: action.to_owned(), subsystem: subsystem.to_owned(), address, is_function: own.is_some() })
}

/// The kernel's word on devices.
pub struct Events {
    socket: OwnedFd,
}

impl Events {
    /// # Errors
    /// Where this process may not listen.
    pub fn open() -> io::Result<Events> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        bind(&socket, &SocketAddrNetlink::new(0, 1))?;
        Ok(Events { socket })
    }

    /// What was told within `patience`, at most a few hundred events at once. `None`: more than the socket holds came at
    /// once and some were lost, so everything is to be read again.
    pub fn wait(&self, patience: Duration) -> Option<Vec<Event>> {
        let span = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
        let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&span));
        let mut found = Vec::new();
        let mut buffer = [0; 16 << 10];
        for _ in 0..256 {
            match recvfrom(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((count, _, from)) => {
                    // Only what the kernel itself sent.
                    let kernel = from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_some_and(|from| from.pid() == 0);
                    found.extend(event(&buffer[..count.min(buffer.len())]).filter(|_| kernel));
                }
                Err(rustix::io::Errno::NOBUFS) => return None,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        Some(found)
    }
}

/// The devices of a machine, kept up to date.
pub struct Watched {
    root: Root,
    pub devices: Vec<Device>,
}

impl Watched {
    pub fn new(root: Root, devices: Vec<Device>) -> Watched {
        Watched { root, devices }
    }

    /// Takes in what the kernel told; true when a device changed.
    pub fn take(&mut self, events: &[Event]) -> bool {
        let mut touched: Vec<PciAddress> = Vec::new();
        for event in events {
            let Some(address) = event.address else { continue };
            let about = event.is_function
                || ["drm", "accel", "kfd", "apex", "tenstorrent", "habanalabs", "ve", "vfio"].contains(&event.subsystem.as_str());
            if about && !touched.contains(&address) {
                touched.push(address);
            }
        }
        // Each is read, whatever became of the one before.
        let mut changed = false;
        for address in touched {
            changed |= self.refresh(address);
        }
        changed
    }

    /// Reads one device again. A new one, or one whose slices changed, makes the count of the others change, so all are read.
    fn refresh(&mut self, address: PciAddress) -> bool {
        let known = self.devices.iter().position(|device| device.pci == Some(address) && device.slice.is_none());
        let found = accelerators::device_at(&self.root, address, known.map(|at| self.devices[at].index));
        match (known, found) {
            (None, Counted::None) => false,
            (None, Counted::Device(_) | Counted::Slice) => self.read_all(),
            (Some(_), Counted::Slice) => self.read_all(),
            (Some(_), Counted::None) => self.lose(address, OnBus::Gone),
            (Some(at), Counted::Device(new)) => {
                let old = &self.devices[at];
                let mut new = new;
                ascend::keep_number(old, &mut new);
                // What only a library told stays until it is asked again.
                let same_stand = old.driver == new.driver
                    && old.nodes == new.nodes
                    && new.ladder.reached >= ladder::Rung::Node
                    && old.ladder.reached >= ladder::Rung::Node;
                if same_stand {
                    return false;
                }
                let before = old.clone();
                self.devices[at] = Device {
                    id: old.id.clone(),
                    model: old.model.clone(),
                    memory: old.memory.or(new.memory),
                    architecture: old.architecture.clone().or(new.architecture.clone()),
                    links: old.links.clone(),
                    index: old.index,
                    nearest_nic: old.nearest_nic.clone(),
                    ..*new
                };
                self.slices_follow(address);
                self.devices[at] != before
            }
        }
    }

    /// Everything anew; devices that were known by a name of their vendor's library keep it, and lost ones stay.
    pub fn read_all(&mut self) -> bool {
        let mut next = accelerators::devices(&self.root);
        for device in &mut next {
            if let Some(old) = self.devices.iter().find(|old| old.pci == device.pci && old.slice.is_none() && device.slice.is_none()) {
                ascend::keep_number(old, device);
                device.id = old.id.clone();
                device.nearest_nic.clone_from(&old.nearest_nic);
                device.model.clone_from(&old.model);
                device.memory = old.memory.or(device.memory);
                if old.ladder.reached >= ladder::Rung::Node && device.ladder.reached >= ladder::Rung::Node {
                    device.ladder = old.ladder.clone();
                    device.health = old.health.clone();
                }
            }
        }
        let lost = self
            .devices
            .iter()
            .filter(|old| !next.iter().any(|device| device.id == old.id || (device.pci == old.pci && old.slice.is_none())));
        let lost: Vec<Device> = lost.map(|old| lost_device(old, OnBus::Gone)).collect();
        next.extend(lost);
        let changed = next != self.devices;
        self.devices = next;
        changed
    }

    /// Asks every card for its first four bytes; true when one does not answer any more, or again.
    pub fn check(&mut self) -> bool {
        let cards: Vec<(PciAddress, bool)> = self
            .devices
            .iter()
            .filter(|device| device.slice.is_none())
            .filter_map(|device| {
                Some((
                    device.pci?,
                    matches!(&device.ladder.stop, Some(stop) if [machine::StopKind::Dead, machine::StopKind::Gone].contains(&stop.kind)),
                ))
            })
            .collect();
        cards.into_iter().fold(false, |changed, (address, was_lost)| {
            let now = accelerators::on_bus(&self.root, address);
            let change = match (now, was_lost) {
                (OnBus::Present, true) => self.refresh(address),
                (OnBus::Present, false) => false,
                (lost, false) => self.lose(address, lost),
                (_, true) => false,
            };
            change || changed
        })
    }

    fn lose(&mut self, address: PciAddress, how: OnBus) -> bool {
        let mut changed = false;
        for device in self.devices.iter_mut().filter(|device| device.pci == Some(address)) {
            let next = lost_device(device, how);
            changed |= next != *device;
            *device = next;
        }
        changed
    }

    /// A slice is no better than its card; and a card that is back is still divided.
    fn slices_follow(&mut self, address: PciAddress) {
        let Some(at) = self.devices.iter().position(|device| device.pci == Some(address) && device.slice.is_none()) else { return };
        let (ladder, health) = (self.devices[at].ladder.clone(), self.devices[at].health.clone());
        let id = self.devices[at].id.clone();
        let mut slices = 0;
        for device in self.devices.iter_mut().filter(|device| device.slice.as_ref().is_some_and(|slice| slice.parent == id)) {
            slices += 1;
            if ladder.reached < ladder::Rung::Node || device.ladder.reached < ladder::Rung::Node {
                device.ladder = ladder.clone();
                device.health = health.clone();
            }
        }
        if slices > 0 {
            self.devices[at].divide(slices);
        }
    }
}

fn lost_device(device: &Device, how: OnBus) -> Device {
    let ladder = ladder::climb(&Evidence { on_bus: how, ..Evidence::default() });
    Device { health: ladder.health(), ladder, ..device.clone() }
}

#[cfg(test)]
mod tests;
