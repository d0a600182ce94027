//! What the kernel's log says is wrong with a card.
//!
//! Records go in as `/dev/kmsg` gives them, `priority,sequence,microseconds,flags;text` (Documentation/ABI/testing/dev-kmsg).
//! Only what the kernel itself wrote counts: a program can write lines that look the same, and the kernel marks them with
//! another facility. A log tells of the past, so what happened before the driver was loaded anew is forgotten, and but for the
//! driver's own verdict on its card (Xid 154) nothing here keeps work off a device: a line that is never taken back must
//! not either.

mod amd;
mod xid;

use crate::PciAddress;
use crate::ladder::Fault;
use std::collections::BTreeMap;
pub use xid::{Meaning, meaning};

/// More cards and kinds of faults than a machine has are not remembered.
const MOST_CARDS: usize = 512;
const MOST_KINDS: usize = 64;

/// Faults by card, fed with the log from its beginning on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFaults {
    cards: BTreeMap<PciAddress, Card>,
    /// Ascend chips whose driver missed their heartbeat, by the driver's own number.
    silent_chips: BTreeMap<u32, Seen>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Card {
    seen: BTreeMap<Kind, Seen>,
    /// What the driver last said is needed to get the card back: "GPU Reset Required".
    recovery: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Xid(u32),
    /// A driver of the kernel's graphics subsystem gave the card up.
    Wedged,
    /// The bus reports an error that it could not put right.
    BusError,
    Amd(amd::Ras),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    count: u64,
    /// Microseconds since the kernel started.
    last: u64,
    /// The MIG instance that it was about.
    instance: Option<u32>,
}

impl Seen {
    /// "3 times, last at [12.000000]", in the kernel's seconds.
    fn when(&self) -> String {
        let times = if self.count > 1 { format!("{} times, last", self.count) } else { "once,".to_owned() };
        let (seconds, rest) = (self.last / 1_000_000, self.last % 1_000_000);
        format!("{times} at [{seconds}.{rest:06}]")
    }
}

impl KernelFaults {
    /// Takes in one line of the log.
    pub fn take(&mut self, line: &str) {
        let Some((head, text)) = line.split_once(';') else { return };
        let mut fields = head.split(',');
        let priority: Option<u32> = fields.next().and_then(|field| field.parse().ok());
        // The facility is above the three bits of severity; 0 is the kernel.
        if priority.is_none_or(|priority| priority >> 3 != 0) {
            return;
        }
        let at = fields.nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
        // Names of modules are printed before some lines: "nvidia: loading ...", "[drm] ...".
        if let Some((_, rest)) = text.split_once("NVRM: ") {
            self.nvidia(rest, at);
        } else if text.contains("amdgpu kernel modesetting enabled") {
            self.cards.values_mut().for_each(|card| card.seen.retain(|kind, _| !matches!(kind, Kind::Amd(_))));
        } else if let Some(chip) = silent_chip(text) {
            if self.silent_chips.len() < MOST_CARDS || self.silent_chips.contains_key(&chip) {
                let count = self.silent_chips.get(&chip).map_or(0, |seen| seen.count).saturating_add(1);
                self.silent_chips.insert(chip, Seen { count, last: at, instance: None });
            }
        } else if let Some((address, rest)) = of_card(text) {
            match (other(rest), amd::line(rest).filter(|_| text.starts_with("amdgpu "))) {
                (Some(kind), _) => self.add(address, kind, at, None),
                (_, Some(amd::Line::Fault(ras))) => self.add(address, Kind::Amd(ras), at, None),
                (_, Some(amd::Line::ResetDone)) => self.reset_done(address),
                _ => {}
            }
        }
    }

    /// Retired pages stay retired, and what is wrong with the slot stays wrong.
    fn reset_done(&mut self, address: PciAddress) {
        if let Some(card) = self.cards.get_mut(&address) {
            card.seen.retain(|kind, _| matches!(kind, Kind::Amd(amd::Ras::BadPages) | Kind::BusError | Kind::Xid(_)));
        }
    }

    fn nvidia(&mut self, text: &str, at: u64) {
        if text.starts_with("loading NVIDIA") {
            for card in self.cards.values_mut() {
                card.seen.retain(|kind, _| !matches!(kind, Kind::Xid(_)));
                card.recovery = None;
            }
        } else if let Some(xid) = Xid::parse(text) {
            if xid.code == 154 {
                self.recovery(&xid);
            } else if meaning(xid.code) != Meaning::NotTheCard {
                self.add(xid.card, Kind::Xid(xid.code), at, xid.instance);
            }
        }
    }

    /// "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)": the driver's own verdict on the card.
    fn recovery(&mut self, xid: &Xid) {
        let Some(action) = xid.rest.rsplit_once('(').and_then(|(_, action)| action.split(')').next()) else { return };
        let Some(card) = self.card(xid.card) else { return };
        if action == "None" {
            // It took back all that came before.
            *card = Card::default();
        } else {
            card.recovery = Some(action.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(60).collect());
        }
    }

    fn card(&mut self, address: PciAddress) -> Option<&mut Card> {
        let room = self.cards.len() < MOST_CARDS || self.cards.contains_key(&address);
        room.then(|| self.cards.entry(address).or_default())
    }

    fn add(&mut self, address: PciAddress, kind: Kind, at: u64, instance: Option<u32>) {
        let Some(card) = self.card(address) else { return };
        if card.seen.len() < MOST_KINDS || card.seen.contains_key(&kind) {
            let seen = card.seen.entry(kind).or_insert(Seen { count: 0, last: at, instance });
            *seen = Seen { count: seen.count.saturating_add(1), last: at, instance };
        }
    }

    /// What is wrong with the card at an address, the worst first.
    pub fn of(&self, address: PciAddress) -> Vec<Fault> {
        // The log names a card without its function.
        let at = PciAddress { function: 0, ..address };
        let Some(card) = self.cards.get(&at) else { return Vec::new() };
        let verdict = card.recovery.iter().map(|action| Fault {
            text: format!("the driver asks for recovery: {action}"),
            hint: Some(xid_hint(action).into()),
            blocks: true,
        });
        let mut seen: Vec<(&Kind, &Seen)> = card.seen.iter().collect();
        seen.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.last));
        verdict.chain(seen.into_iter().map(|(kind, seen)| fault(*kind, seen))).collect()
    }

    /// What is wrong with the Ascend chip that its driver gives this number, which is that of its node `/dev/davinciN`.
    pub fn of_chip(&self, number: u32) -> Option<Fault> {
        let seen = self.silent_chips.get(&number)?;
        let text = format!("kernel log: the driver missed the chip's heartbeat, {}", seen.when());
        Some(Fault {
            text,
            hint: Some("`npu-smi info` tells whether it answers again; else reset it or restart the machine".into()),
            blocks: false,
        })
    }
}

fn xid_hint(action: &str) -> &'static str {
    match action {
        "GPU Reset Required" => "reset it once nothing uses it: `nvidia-smi --gpu-reset -i ID`",
        "Node Reboot Required" => "restart the machine",
        _ => "`nvidia-smi -q` tells more under \"GPU Recovery Action\"",
    }
}

fn fault(kind: Kind, seen: &Seen) -> Fault {
    let (what, hint) = match kind {
        Kind::Xid(code) => match meaning(code) {
            Meaning::Card(what, hint) => (format!("{what} (Xid {code})"), hint.to_owned()),
            _ => (format!("Xid {code}, which is not in the table"), "look the code up in NVIDIA's Xid catalogue".into()),
        },
        Kind::Wedged => ("the driver gave the card up (\"wedged\")".into(), "reset or restart; `dmesg` has what led to it".into()),
        Kind::BusError => ("the PCI bus reports an error that it could not put right".into(), "reseat the card or its riser".into()),
        Kind::Amd(ras) => {
            let (what, hint) = ras.words();
            (what, hint.to_owned())
        }
    };
    let instance = seen.instance.map_or_else(String::new, |instance| format!(" in MIG instance {instance}"));
    Fault { text: format!("kernel log: {what}{instance}, {}", seen.when()), hint: Some(hint), blocks: false }
}

/// `Xid (PCI:0000:3b:00 GPU-I:02 GPU-CI:00): 43, pid=...`; drivers before 2016 wrote `Xid (0000:3b:00): 43`.
struct Xid<'t> {
    card: PciAddress,
    instance: Option<u32>,
    code: u32,
    rest: &'t str,
}

impl Xid<'_> {
    fn parse(text: &str) -> Option<Xid<'_>> {
        let (place, rest) = text.strip_prefix("Xid (")?.split_once("): ")?;
        let mut words = place.split_whitespace();
        let card = card(words.next()?.trim_start_matches("PCI:"))?;
        let instance = words.find_map(|word| word.strip_prefix("GPU-I:")?.parse().ok());
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(Xid { card, instance, code: rest[..end].parse().ok()?, rest: &rest[end..] })
    }
}

/// A card as kernel lines name it: with or without function.
fn card(text: &str) -> Option<PciAddress> {
    let whole = if text.contains('.') { text.to_owned() } else { format!("{text}.0") };
    whole.parse().ok().map(|address| PciAddress { function: 0, ..address })
}

/// A line about one card, as the kernel's device messages begin: `amdgpu 0000:83:00.0: ...`.
fn of_card(text: &str) -> Option<(PciAddress, &str)> {
    let (head, rest) = text.split_once(": ")?;
    Some((card(head.rsplit(' ').next()?)?, rest))
}

/// Lines that any driver's card may have.
fn other(rest: &str) -> Option<Kind> {
    if rest.contains("device wedged") && !rest.contains("recovered") {
        // drm_dev_wedged_event() of Linux drivers/gpu/drm/drm_drv.c.
        Some(Kind::Wedged)
    } else if rest.starts_with("PCIe Bus Error: severity=Uncorrect") && !rest.contains("Non-Fatal") {
        // aer_print_error() of Linux drivers/pci/pcie/aer.c: "Uncorrected (Fatal)" until 6.11, then "Uncorrectable (Fatal)".
        Some(Kind::BusError)
    } else {
        None
    }
}

/// `[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 318] <kworker/5:1H:39365> Heartbeat lost! (device=1; ...`: the number is
/// the driver's (MindCluster, fault code 40F84E00).
fn silent_chip(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("[ascend]")?.split_once("[drv_soft_fault]")?.1.split_once("Heartbeat lost! (device=")?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests;
