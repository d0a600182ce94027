//! What the configuration space of a PCI function says: a pure parser of its first 256 bytes.
//!
//! Offsets and bits are those of the PCI Local Bus Specification 3.0 (section 6.1 and appendix H) and of the PCI Express
//! capability (PCIe 6.0, 7.5.3).

use machine::{PciBuses, PciLink, PciPort, PciRate};

const STATUS: usize = 0x06;
const STATUS_HAS_CAPABILITIES: u8 = 0x10;
const HEADER_TYPE: usize = 0x0e;
const SECONDARY_BUS: usize = 0x19;
const CAPABILITIES: usize = 0x34;
/// Extended capabilities begin here, four bytes or more each.
const EXTENDED: usize = 0x100;
const MOST_EXTENDED: usize = 960;
const CAPABILITY_ACS: u16 = 0x000d;
pub const CAPABILITY_EXPRESS: u8 = 0x10;
/// As much of the PCI Express capability as is looked at: to the end of the link status.
pub const EXPRESS_BYTES: usize = 0x14;
/// What an ordinary user may read.
pub const HEADER_BYTES: usize = 64;
/// No list of capabilities of one word each is longer.
pub const MOST_CAPABILITIES: usize = 64;

/// A configuration space, as much of it as could be read: 64 bytes for an ordinary user, else 256 or 4096.
#[derive(Clone, Copy, Debug)]
pub struct Config<'b>(pub &'b [u8]);

impl Config<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn word(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte(at)?, self.byte(at + 1)?]))
    }

    fn double(&self, at: usize) -> Option<u32> {
        Some(u32::from(self.word(at)?) | u32::from(self.word(at + 2)?) << 16)
    }

    pub fn vendor(&self) -> Option<u16> {
        self.word(0)
    }

    pub fn device(&self) -> Option<u16> {
        self.word(2)
    }

    pub fn revision(&self) -> Option<u8> {
        self.byte(8)
    }

    /// Base class, sub-class and interface.
    pub fn class(&self) -> Option<u32> {
        Some(self.double(8)? >> 8)
    }

    /// Vendor and device of the board, which bridges keep elsewhere.
    pub fn subsystem(&self) -> Option<(u16, u16)> {
        (self.byte(HEADER_TYPE)? & 0x7f == 0).then_some(())?;
        Some((self.word(0x2c)?, self.word(0x2e)?))
    }

    /// A device that no longer answers reads as ones.
    pub fn is_lost(&self) -> bool {
        self.vendor() == Some(0xffff)
    }

    /// The buses below a bridge at `bus`. Numbers that no bridge can have are not believed.
    pub fn buses(&self, bus: u8) -> Option<PciBuses> {
        (self.byte(HEADER_TYPE)? & 0x7f == 1).then_some(())?;
        let (secondary, subordinate) = (self.byte(SECONDARY_BUS)?, self.byte(SECONDARY_BUS + 1)?);
        (secondary > bus && subordinate >= secondary).then_some(PciBuses { secondary, subordinate })
    }

    /// Where the list of capabilities begins, when there is one.
    pub fn first_capability(&self) -> Option<usize> {
        (self.byte(STATUS)? & STATUS_HAS_CAPABILITIES != 0).then_some(())?;
        Some(usize::from(self.byte(CAPABILITIES)? & !3))
    }

    /// Where a capability of the first 256 bytes begins. A list that runs in a circle ends.
    fn capability(&self, wanted: u8) -> Option<usize> {
        let mut at = self.first_capability()?;
        for _ in 0..MOST_CAPABILITIES {
            let id = self.byte(at).filter(|id| at != 0 && *id != 0xff)?;
            if id == wanted {
                return Some(at);
            }
            at = usize::from(self.byte(at + 1)? & !3);
        }
        None
    }

    /// Where an extended capability begins (PCIe 6.0, 7.6.3). A list that runs in a circle ends.
    fn extended(&self, wanted: u16) -> Option<usize> {
        let mut at = EXTENDED;
        for _ in 0..MOST_EXTENDED {
            let head = self.double(at).filter(|head| *head != 0 && *head != u32::MAX)?;
            if head as u16 == wanted {
                return Some(at);
            }
            at = (head >> 20) as usize & !3;
            if at < EXTENDED {
                break;
            }
        }
        None
    }

    /// Whether access control services send requests or completions between devices up to the processor; `None` for a port
    /// without them. Bits 2 and 3 of the control register (PCIe 6.0, 7.7.11.3).
    pub fn acs_redirects(&self) -> Option<bool> {
        let control = self.word(self.extended(CAPABILITY_ACS)? + 6)?;
        Some(control & 0x0c != 0)
    }

    pub fn port(&self) -> Option<PciPort> {
        let flags = self.word(self.capability(CAPABILITY_EXPRESS)? + 2)?;
        Some(match flags >> 4 & 0xf {
            0 | 1 => PciPort::Endpoint,
            4 => PciPort::RootPort,
            5 => PciPort::Upstream,
            6 => PciPort::Downstream,
            7 | 8 => PciPort::Bridge,
            9 => PciPort::Integrated,
            10 => PciPort::EventCollector,
            _ => return None,
        })
    }

    /// The link as it runs and as it could: link status and link capabilities.
    pub fn link(&self) -> Option<PciLink> {
        let at = self.capability(CAPABILITY_EXPRESS)?;
        let (now, max) = (u32::from(self.word(at + 0x12)?), self.double(at + 0x0c)?);
        let rate = |register: u32| PciRate { mega_transfers: mega_transfers(register & 0xf), lanes: (register >> 4 & 0x3f) as u8 };
        Some(PciLink { now: rate(now), max: rate(max) })
    }
}

fn mega_transfers(code: u32) -> u32 {
    match code {
        1 => 2_500,
        2 => 5_000,
        3..=7 => 8_000 << (code - 3),
        _ => 0,
    }
}

/// Mega-transfers a second from the kernel's `current_link_speed`: `16.0 GT/s PCIe`, `8 GT/s`, `Unknown`.
pub fn speed(text: &str) -> Option<u32> {
    let number: f64 = text.split_whitespace().next()?.parse().ok()?;
    (number > 0.0 && number < 10_000.0).then_some((number * 1000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A root port at generation 3 x8 of generation 4 x16, with a power capability before the Express one.
    fn root_port() -> Vec<u8> {
        let mut bytes = vec![0u8; 256];
        bytes[..4].copy_from_slice(&[0x86, 0x80, 0x2a, 0x34]);
        bytes[STATUS] = STATUS_HAS_CAPABILITIES;
        bytes[8..12].copy_from_slice(&[0x07, 0x00, 0x04, 0x06]);
        bytes[HEADER_TYPE] = 0x81;
        bytes[0x18..0x1b].copy_from_slice(&[0x16, 0x17, 0x1a]);
        bytes[CAPABILITIES] = 0x40;
        bytes[0x40..0x42].copy_from_slice(&[0x01, 0x90]);
        bytes[0x90..0x94].copy_from_slice(&[CAPABILITY_EXPRESS, 0, 0x42, 0x01]);
        bytes[0x9c..0xa0].copy_from_slice(&[0x04, 0x71, 0x7a, 0x05]);
        bytes[0xa2..0xa4].copy_from_slice(&[0x83, 0x70]);
        bytes
    }

    #[test]
    fn a_root_port_is_read() {
        let bytes = root_port();
        let config = Config(&bytes);
        assert_eq!(
            (config.vendor(), config.device(), config.revision(), config.class()),
            (Some(0x8086), Some(0x342a), Some(7), Some(0x060400))
        );
        assert_eq!(config.buses(0x16), Some(PciBuses { secondary: 0x17, subordinate: 0x1a }));
        assert_eq!(config.buses(0x17), None);
        assert_eq!((config.port(), config.subsystem(), config.is_lost()), (Some(PciPort::RootPort), None, false));
        let link = config.link().unwrap();
        assert_eq!((link.now.to_string().as_str(), link.max.to_string().as_str()), ("gen3 x8", "gen4 x16"));
    }

    #[test]
    fn what_an_ordinary_user_may_read_is_enough_for_the_buses() {
        let bytes = root_port();
        let config = Config(&bytes[..64]);
        assert_eq!(config.buses(0), Some(PciBuses { secondary: 0x17, subordinate: 0x1a }));
        assert_eq!((config.port(), config.link()), (None, None));
        assert!(Config(&[0xff; 64]).is_lost());
    }

    #[test]
    fn a_circle_of_capabilities_ends() {
        let mut bytes = root_port();
        bytes[0x41] = 0x40;
        assert_eq!(Config(&bytes).link(), None);
    }

    #[test]
    fn access_control_is_found_behind_other_capabilities() {
        let mut bytes = root_port();
        bytes.resize(4096, 0);
        assert_eq!(Config(&bytes).acs_redirects(), None);
        bytes[0x100..0x104].copy_from_slice(&[0x01, 0x00, 0x02, 0x15]);
        bytes[0x150..0x154].copy_from_slice(&[0x0d, 0x00, 0x01, 0x00]);
        for (control, redirects) in [(0x00, false), (0x01, false), (0x04, true), (0x08, true), (0x1d, true), (0x11, false)] {
            bytes[0x156] = control;
            assert_eq!(Config(&bytes).acs_redirects(), Some(redirects), "{control:#x}");
        }
        bytes[0x152..0x154].copy_from_slice(&[0x01, 0x15]);
        bytes[0x150] = 0x02;
        assert_eq!(Config(&bytes).acs_redirects(), None, "a circle ends");
        assert_eq!(Config(&bytes[..256]).acs_redirects(), None);
    }

    #[test]
    fn speeds_are_read_as_kernels_print_them() {
        for (text, speed_) in [
            ("16.0 GT/s PCIe", Some(16_000)),
            ("2.5 GT/s", Some(2_500)),
            ("8 GT/s", Some(8_000)),
            ("Unknown", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(speed(text), speed_, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), bus in any::<u8>()) {
            let config = Config(&bytes);
            let _ = (config.port(), config.link(), config.buses(bus), config.subsystem(), config.class(), config.acs_redirects());
        }
    }
}
