//! How far a device gets on the way from the bus to work, and what stops it.
//!
//! Five rungs: *on the bus*, *driver bound*, *device nodes there and openable*, *vendor library answers*, *healthy*. What
//! was seen goes in as [`Evidence`], the highest rung reached and the reason it goes no further come out. [`climb`] reads
//! nothing itself, so every line of its table is a test.

use crate::Health;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One step of the ladder, lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Known of, but not even on the bus any more.
    #[default]
    None,
    Bus,
    Driver,
    Node,
    Library,
    Healthy,
}

impl Rung {
    /// The five that a device can stand on.
    pub const ALL: [Rung; 5] = [Rung::Bus, Rung::Driver, Rung::Node, Rung::Library, Rung::Healthy];

    pub fn name(self) -> &'static str {
        match self {
            Rung::None => "none",
            Rung::Bus => "bus",
            Rung::Driver => "driver",
            Rung::Node => "node",
            Rung::Library => "library",
            Rung::Healthy => "healthy",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where a device stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    pub reached: Rung,
    /// What keeps it from the next rung; `None` at the top, and where the next rung was not asked about.
    pub stop: Option<Stop>,
}

/// The exact reason why a device goes no further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// For programs: does not change with the wording.
    pub kind: StopKind,
    /// For people: "module nvidia is not loaded: blacklisted in /etc/modprobe.d/x.conf".
    pub reason: String,
    /// What a person can do about it.
    pub hint: Option<String>,
    /// Whether no work may be placed on the device because of it.
    pub blocks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopKind {
    /// No longer listed by the bus.
    Gone,
    /// Still listed, but reads of it give all ones.
    Dead,
    UnknownVendor,
    /// Handed to virtual machines (vfio-pci and the like).
    SetAside,
    WrongDriver,
    ModuleMissing,
    ModuleBlacklisted,
    ModuleUnsigned,
    ModuleNotLoaded,
    /// The module is there and did not take the card.
    NotClaimed,
    NodeMissing,
    NodeDenied,
    LibraryMissing,
    LibraryError,
    /// The library does not list a card that the bus has.
    LibraryBlind,
    ProbeHung,
    ProbeCrashed,
    ProbeNonsense,
    Divided,
    Fault,
}

/// Whether the card answers on the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBus {
    #[default]
    Present,
    /// Its configuration space reads as all ones: powered off, fallen off, or its link is down.
    Dead,
    /// It was there earlier and the bus does not list it any more.
    Gone,
}

/// What the kernel says of the module that should drive a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    pub loaded: bool,
    /// Whether the running kernel has a file of that name; `None`: not known.
    pub on_disk: Option<bool>,
    /// The file or the kernel parameter that keeps it from loading.
    pub blacklisted_by: Option<String>,
    /// Why this kernel loads signed modules only: "Secure Boot".
    pub signed_only: Option<String>,
    /// Whether the file carries a signature; `None`: not known.
    pub signed: Option<bool>,
}

/// One device node that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    pub path: String,
    pub access: Access,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// There, and as far as it can be told without opening it this person may use it.
    Fine,
    Missing,
    /// This person may not open it; the group that may, where one does.
    Denied(Option<String>),
}

/// What the vendor's library, or its tool, or the driver's own files said of the card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Nobody asked, or there is nothing to ask for this vendor.
    #[default]
    NotAsked,
    /// The card may still work: containers bring a library of their own.
    NotInstalled(String),
    /// No word within so many seconds.
    Hung {
        who: String,
        seconds: u32,
        /// It hung at this very card, not before any.
        at_this_card: bool,
    },
    Crashed {
        who: String,
        how: String,
        at_this_card: bool,
    },
    /// What it says cannot be.
    Nonsense {
        who: String,
        what: String,
    },
    /// It works, but gives an error, for this card or for all.
    Refused {
        who: String,
        error: String,
        hint: Option<String>,
    },
    /// It answers, and does not list the card.
    Unlisted {
        who: String,
    },
    Fine,
}

/// Something wrong with a card that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub text: String,
    pub hint: Option<String>,
    pub blocks: bool,
}

/// All that is known when a card is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    pub on_bus: OnBus,
    /// "Hailo Technologies", where there is no row for the card.
    pub unknown_maker: Option<String>,
    /// What is bound to it.
    pub driver: Option<String>,
    /// What would make it usable; the first is the one to name.
    pub drivers: Vec<String>,
    pub module: Module,
    /// Needed nodes, the card's own first.
    pub nodes: Vec<NodeSeen>,
    pub answer: Answer,
    /// The worst first.
    pub faults: Vec<Fault>,
    /// Into how many slices the card is divided: they are granted in its place.
    pub slices: usize,
}

/// Drivers that hold a card for a virtual machine.
pub const SET_ASIDE: [&str; 4] = ["vfio-pci", "pci-stub", "xen-pciback", "uio_pci_generic"];

/// A library that is silent for longer than this is not just waking up its cards (seconds).
pub const PATIENCE_LIMIT: u32 = 30;

/// How far the card gets, and the first thing that stops it.
pub fn climb(seen: &Evidence) -> Ladder {
    let ladder = steps(seen);
    // A divided card is not granted, whatever small thing is wrong with it.
    match (ladder.stop, divided(seen)) {
        (Some(small), Some(divided)) if !small.blocks => {
            let reason = format!("{}; {}", divided.reason, small.reason);
            Ladder { reached: ladder.reached, stop: Some(Stop { reason, hint: small.hint, ..divided }) }
        }
        (None, divided) => Ladder { reached: ladder.reached, stop: divided },
        (stop, _) => Ladder { reached: ladder.reached, stop },
    }
}

fn steps(seen: &Evidence) -> Ladder {
    let mut reached = Rung::None;
    for rung in Rung::ALL {
        let step = match rung {
            Rung::None | Rung::Bus => bus(seen),
            Rung::Driver => driver(seen),
            Rung::Node => nodes(seen),
            Rung::Library => library(seen),
            Rung::Healthy => healthy(seen),
        };
        match step {
            Step::Up => reached = rung,
            // What the kernel tells of the card is known even where nobody can be asked.
            Step::Unasked => return Ladder { reached, stop: fault(seen) },
            Step::Stop(mut stop) => {
                // A library that fails is explained by what the kernel says.
                if rung == Rung::Library
                    && let Some(fault) = fault(seen)
                {
                    stop.reason = format!("{}; {}", stop.reason, fault.reason);
                    stop.hint = fault.hint.or(stop.hint);
                    stop.blocks |= fault.blocks;
                }
                return Ladder { reached, stop: Some(stop) };
            }
        }
    }
    Ladder { reached, stop: None }
}

enum Step {
    Up,
    Unasked,
    Stop(Stop),
}

fn stop(kind: StopKind, reason: String, hint: Option<String>) -> Step {
    Step::Stop(Stop { kind, reason, hint, blocks: true })
}

fn bus(seen: &Evidence) -> Step {
    match seen.on_bus {
        OnBus::Gone => stop(
            StopKind::Gone,
            "gone from the bus".into(),
            Some("`dmesg` tells when and why; reseat the card or restart the machine, and look at its power".into()),
        ),
        OnBus::Dead => stop(
            StopKind::Dead,
            "dead: its configuration space reads as all ones, so it lost power or its link, or fell off the bus".into(),
            Some("look for `fallen off the bus`, Xid 79 or AER lines in `dmesg`; a restart with power off usually brings it back".into()),
        ),
        OnBus::Present => Step::Up,
    }
}

fn driver(seen: &Evidence) -> Step {
    if let Some(maker) = &seen.unknown_maker {
        let bound = seen.driver.as_ref().map_or_else(String::new, |driver| format!(" (driver {driver} is bound)"));
        return stop(StopKind::UnknownVendor, format!("accelerators of {maker} are not known to Ashlar yet{bound}"), None);
    }
    let wanted = seen.drivers.first().map_or("a driver", String::as_str);
    match seen.driver.as_deref() {
        Some(driver) if seen.drivers.iter().any(|known| known == driver) => Step::Up,
        Some(driver) if SET_ASIDE.contains(&driver) => stop(
            StopKind::SetAside,
            format!("set aside for a virtual machine (driver {driver})"),
            Some(format!("to use it here, unbind {driver} and load {wanted}")),
        ),
        Some(driver) => stop(StopKind::WrongDriver, format!("driver {driver} is bound, {wanted} is needed"), instead_of(driver, wanted)),
        None => unbound(&seen.module, wanted),
    }
}

fn instead_of(driver: &str, wanted: &str) -> Option<String> {
    Some(match driver {
        "nouveau" | "nova" | "nova_core" => format!(
            "the kernel's own {driver} runs no compute work: install NVIDIA's driver, write `blacklist {driver}` to a file in /etc/modprobe.d, make the initramfs anew, restart"
        ),
        "simple-framebuffer" | "efifb" | "vesafb" => format!("the firmware's screen holds it: load {wanted}"),
        _ => format!("unbind {driver} and load {wanted}"),
    })
}

/// No driver has the card: the module says why.
fn unbound(module: &Module, wanted: &str) -> Step {
    let name = if module.name.is_empty() { wanted } else { module.name.as_str() };
    let because = |kind, why: String, hint: String| stop(kind, format!("driver not bound: module {name} {why}"), Some(hint));
    if module.loaded {
        return because(
            StopKind::NotClaimed,
            "is loaded, but did not take this card".into(),
            format!("`dmesg | grep -i {name}` has its reason: a card too new or too old for this driver, or firmware that is missing"),
        );
    }
    if let Some(by) = &module.blacklisted_by {
        return because(StopKind::ModuleBlacklisted, format!("not loaded: blacklisted by {by}"), "remove that line and load it".into());
    }
    if module.on_disk == Some(false) {
        return because(
            StopKind::ModuleMissing,
            "not loaded: this kernel has no such module".into(),
            format!(
                "install the vendor's driver for the running kernel (`uname -r`); after a kernel update, build it again (`dkms autoinstall`), then `modprobe {wanted}`"
            ),
        );
    }
    if let (Some(why), false) = (&module.signed_only, module.signed == Some(true)) {
        let signed = if module.signed == Some(false) { "rejects unsigned module" } else { "accepts signed modules only" };
        return because(
            StopKind::ModuleUnsigned,
            format!("not loaded, {why} {signed}"),
            "sign the module and enrol its key (`mokutil --import`), use the distribution's signed package, or switch Secure Boot off"
                .into(),
        );
    }
    because(StopKind::ModuleNotLoaded, "not loaded".into(), format!("`modprobe {name}`, then look at `dmesg`"))
}

fn nodes(seen: &Evidence) -> Step {
    for node in &seen.nodes {
        let NodeSeen { path, access } = node;
        match access {
            Access::Fine => {}
            Access::Missing => {
                let name = path.trim_start_matches("/dev/");
                return stop(StopKind::NodeMissing, format!("node missing: {name}"), node_hint(path));
            }
            Access::Denied(group) => {
                let hint = match group {
                    Some(group) => format!("`usermod -aG {group} NAME` as root, then log in again"),
                    None => "only root may: a udev rule gives it to a group".into(),
                };
                return stop(StopKind::NodeDenied, format!("permission denied for this user: {path}"), Some(hint));
            }
        }
    }
    Step::Up
}

fn node_hint(path: &str) -> Option<String> {
    let hint = match path.trim_start_matches("/dev/") {
        "nvidia-uvm" => "`modprobe nvidia-uvm`, or `nvidia-modprobe -u -c 0` makes the node",
        name if name.starts_with("nvidia") => "`nvidia-modprobe -c 0 -u` makes the nodes; nvidia-persistenced keeps them",
        "kfd" => "the kernel needs CONFIG_HSA_AMD; in a container, pass /dev/kfd in",
        name if name.starts_with("vfio/") => "`modprobe vfio-pci`; in a container, pass /dev/vfio in",
        _ => "in a container, pass the node in; else see whether udev runs and what `dmesg` says of the driver",
    };
    Some(hint.into())
}

fn library(seen: &Evidence) -> Step {
    let spare = |kind, reason, hint: &str, blocks| Step::Stop(Stop { kind, reason, hint: Some(hint.into()), blocks });
    match &seen.answer {
        Answer::Fine => Step::Up,
        Answer::NotAsked => Step::Unasked,
        Answer::NotInstalled(name) => spare(
            StopKind::LibraryMissing,
            format!("{name} is not installed"),
            "install the vendor's user-space package to see its health",
            false,
        ),
        Answer::Hung { who, seconds, at_this_card } => {
            let at = if *at_this_card { " at this card" } else { "" };
            let reason = format!("probe hung: {who} gave no answer{at} within {seconds} s");
            spare(
                StopKind::ProbeHung,
                reason,
                "a library that never answers is a fault of driver or card: see `dmesg`",
                *at_this_card || *seconds >= PATIENCE_LIMIT,
            )
        }
        Answer::Crashed { who, how, at_this_card } => {
            let at = if *at_this_card { " at this card" } else { "" };
            spare(
                StopKind::ProbeCrashed,
                format!("probe crashed: {who} {how}{at}"),
                "library and driver may be of different versions: see `dmesg`",
                *at_this_card,
            )
        }
        Answer::Nonsense { who, what } => spare(
            StopKind::ProbeNonsense,
            format!("{who} answers nonsense: {what}"),
            "library and driver may be of different versions, or the card is failing",
            false,
        ),
        Answer::Refused { who, error, hint } => stop(StopKind::LibraryError, format!("{who}: {error}"), hint.clone()),
        Answer::Unlisted { who } => stop(
            StopKind::LibraryBlind,
            format!("{who} does not list the card; it may have fallen off the bus"),
            Some("look for Xid 79 in `dmesg`; a restart usually brings it back".into()),
        ),
    }
}

fn healthy(seen: &Evidence) -> Step {
    fault(seen).map_or(Step::Up, Step::Stop)
}

/// The worst fault: the first that keeps work off the device, else the first of all.
fn fault(seen: &Evidence) -> Option<Stop> {
    let worst = seen.faults.iter().find(|fault| fault.blocks).or(seen.faults.first())?;
    Some(Stop { kind: StopKind::Fault, reason: worst.text.clone(), hint: worst.hint.clone(), blocks: worst.blocks })
}

fn divided(seen: &Evidence) -> Option<Stop> {
    (seen.slices > 0).then(|| Stop {
        kind: StopKind::Divided,
        reason: match seen.slices {
            1 => "divided into 1 slice, which is granted in its place".into(),
            n => format!("divided into {n} slices, which are granted in its place"),
        },
        hint: None,
        blocks: true,
    })
}

impl Ladder {
    /// The same ladder with what was learned after the device nodes were found. A device that did not get that far
    /// stays where it is.
    pub fn go_on(&self, answer: Answer, faults: Vec<Fault>, slices: usize) -> Ladder {
        if self.reached < Rung::Node {
            return self.clone();
        }
        let driver = Some("bound".to_owned());
        climb(&Evidence { drivers: driver.clone().into_iter().collect(), driver, answer, faults, slices, ..Evidence::default() })
    }

    /// Whether work may be placed on the device: the nodes have to be there, and nothing that blocks may stand against it.
    pub fn health(&self) -> Health {
        match &self.stop {
            Some(stop) if stop.blocks => Health::Unusable(stop.reason.clone()),
            _ if self.reached < Rung::Node => Health::Unusable("not usable yet".into()),
            _ => Health::Ready,
        }
    }
}

#[cfg(test)]
mod tests;
