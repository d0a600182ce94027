//! What is known of each maker's cards, as data.
//!
//! A [`Row`] is a kind of card. Every cell of it is a [`Fact`]: a value, where it was read, and whether that is a source one
//! can rely on (a kernel driver's or the maker's published code, the PCI id list, a captured machine) or hearsay. What
//! rests on hearsay is shown as unverified to the user too. There is code only for what a row cannot say.

mod engines;
mod gpus;
mod listed;
mod sources;

pub use listed::{LISTED, maker_name};

use machine::{DeviceClass, Vendor};
use std::ops::RangeInclusive;

/// A value with its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact<T> {
    pub value: T,
    /// Where it was read.
    pub source: &'static str,
    /// False where the source is a third party's table or a guess that nobody confirmed.
    pub verified: bool,
}

/// Read in a source that can be relied on.
pub(crate) const fn sure<T: Copy>(value: T, source: &'static str) -> Fact<T> {
    Fact { value, source, verified: true }
}

/// Read somewhere, confirmed by nobody.
pub(crate) const fn unsure<T: Copy>(value: T, source: &'static str) -> Fact<T> {
    Fact { value, source, verified: false }
}

/// A device node that a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Children of the card's own sysfs folder that match: `drm/renderD*`. Their `dev` has the numbers, their `uevent` the
    /// name below `/dev`; the second text goes before the bare name where there is no such line.
    Own(&'static str, &'static str),
    /// `{n}` counts this row's cards in PCI order from 0: for drivers that do not link card and node in sysfs.
    Numbered(&'static str),
    /// `{n}` is the card's minor number as NVIDIA's driver tells it.
    NvidiaMinor(&'static str),
    /// The card's VFIO group, for cards driven from user space.
    VfioGroup,
    /// One node for all cards of the row.
    Shared(&'static str),
    /// As `Shared`, but its absence is no fault.
    SharedIfThere(&'static str),
}

/// A file that the driver keeps for each card, and what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Below the card's sysfs folder; `*` and `[0-9]` as in a shell. From the root where it begins with `/`, and then
    /// `{n}` is the card's index.
    pub file: &'static str,
    pub field: Field,
    pub read: Read,
}

/// Which figure of [`machine::Telemetry`] a file gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Temperature,
    MemoryTemperature,
    Power,
    PowerLimit,
    Clock,
    MemoryClock,
    Busy,
    MemoryBusy,
    MemoryUsed,
    MemoryTotal,
    EccCorrected,
    EccUncorrected,
    Replays,
    /// A word for its state, one of those given meaning that all is well.
    Status(&'static [&'static str]),
    /// Several figures at once.
    Several,
}

/// How the text becomes a figure in the unit of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A number, times the first, over the second.
    Number(u64, u64),
    /// The lines `ue: N` and `ce: N` of amdgpu's RAS files.
    RasCounts,
    /// amdgpu's binary `gpu_metrics`.
    GpuMetrics,
    /// Microjoules since the start; power is the growth between two looks.
    Energy,
    /// Microseconds of work since the start; load is the growth between two looks.
    BusyTime,
    Word,
}

/// How a vendor's figures are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telemetry {
    /// NVIDIA's management library.
    Nvml,
    /// The files of [`Row::metrics`], and the common ones of hwmon and PCI.
    Kernel,
    /// The output of a vendor's program, named as in [`crate::accelerators::tools`].
    Tool(&'static str),
    /// Only what PCI and hwmon tell of every card.
    BusOnly,
}

#[derive(Debug)]
pub struct Row {
    /// Names the row: unique, as in `docs/reference/support.md`.
    pub key: &'static str,
    /// For people: "AMD Instinct and Radeon".
    pub title: &'static str,
    pub vendor: Vendor,
    pub class: DeviceClass,
    /// PCI maker id.
    pub maker: Fact<u16>,
    /// PCI classes (base and sub-class); empty: any.
    pub classes: Fact<&'static [u16]>,
    /// PCI device ids; empty: any.
    pub ids: &'static [Fact<IdRange>],
    /// Kernel drivers that make the card usable, as the bus names them. The first is the one to tell people.
    pub drivers: &'static [Fact<&'static str>],
    /// The module to load.
    pub module: Fact<&'static str>,
    pub nodes: &'static [Fact<Node>],
    /// Folders below `/sys/class`.
    pub sysfs: &'static [Fact<&'static str>],
    pub libraries: &'static [Fact<&'static str>],
    pub tools: &'static [Fact<&'static str>],
    /// Variables that choose the visible devices: the runtime's first, then the container toolkit's.
    pub masks: &'static [Fact<&'static str>],
    /// Sysfs files below the card's folder that hold its memory, and what one unit there is in bytes.
    pub memory: &'static [Fact<(&'static str, u64)>],
    /// The memory window (BAR) that maps all of the card's memory, where there is one.
    pub memory_bar: Option<Fact<usize>>,
    /// A sysfs file below the card's folder with a serial number, and what to put before it to get the vendor's UUID.
    pub identity: Option<Fact<(&'static str, &'static str)>>,
    pub telemetry: Fact<Telemetry>,
    pub metrics: &'static [Fact<Metric>],
    pub evidence: Evidence,
}

/// A range of ids that can stand in a constant: first and last.
pub type IdRange = (u16, u16);

/// How far a row was tried; `docs/reference/support.md` says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// On recorded trees of real machines with such cards.
    CapturedMachine,
    /// With a stand-in for the vendor's library, through the real loading path; the bus on a captured machine.
    Emulator,
    /// By documentation only: a driver's source, the maker's manuals, other people's tables.
    Documentation,
}

impl Evidence {
    pub fn words(self) -> &'static str {
        match self {
            Evidence::CapturedMachine => "tested on a captured machine",
            Evidence::Emulator => "tested on a captured machine and an emulator",
            Evidence::Documentation => "by documentation only",
        }
    }
}

pub(crate) const DISPLAY: &[u16] = &[0x0300, 0x0302, 0x0380];
/// Processing accelerators.
pub(crate) const ENGINE: &[u16] = &[0x1200];
pub(crate) const DISPLAY_OR_ENGINE: &[u16] = &[0x0300, 0x0302, 0x0380, 0x1200, 0x0b40];

/// What a row has where nothing is known.
pub(crate) const BLANK: Row = Row {
    key: "",
    title: "",
    vendor: Vendor::Unknown,
    class: DeviceClass::Npu,
    maker: sure(0, ""),
    classes: sure(&[], ""),
    ids: &[],
    drivers: &[],
    module: sure("", ""),
    nodes: &[],
    sysfs: &[],
    libraries: &[],
    tools: &[],
    masks: &[],
    memory: &[],
    memory_bar: None,
    identity: None,
    telemetry: sure(Telemetry::BusOnly, sources::PCI_SYSFS),
    metrics: &[],
    evidence: Evidence::Documentation,
};

/// Files that the kernel's hardware monitoring has for every driver that takes part, in its fixed units
/// (Documentation/hwmon/sysfs-interface.rst). Read after the row's own.
pub const COMMON: &[Fact<Metric>] = &[
    sure(Metric { file: "hwmon/hwmon*/temp1_input", field: Field::Temperature, read: Read::Number(1, 1000) }, sources::HWMON),
    sure(Metric { file: "hwmon/hwmon*/power1_average", field: Field::Power, read: Read::Number(1, 1000) }, sources::HWMON),
    sure(Metric { file: "hwmon/hwmon*/power1_input", field: Field::Power, read: Read::Number(1, 1000) }, sources::HWMON),
    sure(Metric { file: "hwmon/hwmon*/power1_cap", field: Field::PowerLimit, read: Read::Number(1, 1000) }, sources::HWMON),
    sure(Metric { file: "hwmon/hwmon*/energy1_input", field: Field::Power, read: Read::Energy }, sources::HWMON),
];

/// All rows. No card fits two of them.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    gpus::ROWS.iter().chain(engines::ROWS)
}

impl Row {
    fn fits(&self, maker: u16, device: u16, class: u16) -> bool {
        self.maker.value == maker
            && (self.classes.value.is_empty() || self.classes.value.contains(&class))
            && (self.ids.is_empty() || self.id_ranges().any(|ids| ids.contains(&device)))
    }

    fn id_ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> {
        self.ids.iter().map(|fact| fact.value.0..=fact.value.1)
    }

    pub fn driver_names(&self) -> impl Iterator<Item = &'static str> {
        self.drivers.iter().map(|fact| fact.value)
    }

    /// Every cell that is filled: name, value, source, whether it is verified. For tests, documents and people.
    pub fn cells(&self) -> Vec<(&'static str, String, &'static str, bool)> {
        let mut cells = vec![
            ("PCI maker", format!("{:04x}", self.maker.value), self.maker.source, self.maker.verified),
            ("module", self.module.value.to_owned(), self.module.source, self.module.verified),
            ("telemetry", format!("{:?}", self.telemetry.value), self.telemetry.source, self.telemetry.verified),
        ];
        if !self.classes.value.is_empty() {
            let classes: Vec<String> = self.classes.value.iter().map(|class| format!("{class:04x}")).collect();
            cells.push(("PCI class", classes.join(" "), self.classes.source, self.classes.verified));
        }
        for fact in self.ids {
            let (first, last) = fact.value;
            let ids = if first == last { format!("{first:04x}") } else { format!("{first:04x}-{last:04x}") };
            cells.push(("PCI id", ids, fact.source, fact.verified));
        }
        let lists = [
            ("driver", self.drivers),
            ("sysfs class", self.sysfs),
            ("library", self.libraries),
            ("tool", self.tools),
            ("visible-devices variable", self.masks),
        ];
        for (name, facts) in lists {
            cells.extend(facts.iter().map(|fact| (name, fact.value.to_owned(), fact.source, fact.verified)));
        }
        cells.extend(self.nodes.iter().map(|fact| ("device node", fact.value.name(), fact.source, fact.verified)));
        cells.extend(self.memory.iter().map(|fact| ("memory", fact.value.0.to_owned(), fact.source, fact.verified)));
        cells.extend(self.memory_bar.iter().map(|fact| ("memory window", format!("BAR {}", fact.value), fact.source, fact.verified)));
        cells.extend(self.identity.iter().map(|fact| ("identity", fact.value.0.to_owned(), fact.source, fact.verified)));
        cells.extend(self.metrics.iter().map(|fact| ("metric", fact.value.file.to_owned(), fact.source, fact.verified)));
        cells
    }
}

impl Node {
    pub fn name(self) -> String {
        match self {
            Node::Own(pattern, folder) => {
                let last = pattern.rsplit('/').next().unwrap_or(pattern).replace("[0-9]", "").replace("tenstorrent!", "tenstorrent/");
                format!("/dev/{folder}{last}")
            }
            Node::Numbered(path) | Node::NvidiaMinor(path) | Node::Shared(path) | Node::SharedIfThere(path) => path.to_owned(),
            Node::VfioGroup => "/dev/vfio/GROUP".to_owned(),
        }
    }
}

/// The row of a card; `None` for what is no accelerator, or none that is known.
pub fn row(maker: u16, device: u16, class: u16) -> Option<&'static Row> {
    rows().find(|row| row.fits(maker, device, class))
}

/// Makers of emulated hardware: QEMU, virtio, VMware, Hyper-V, Bochs, Cirrus. What they put on an accelerator class computes
/// nothing.
const EMULATED: &[u16] = &[0x1af4, 0x1b36, 0x1234, 0x1013, 0x15ad, 0x1414, 0x80ee];

/// Functions of class 1200 that compute nothing for a job: compression engines of server processors, and the management
/// functions of Alveo cards, whose user functions have rows.
const NO_ACCELERATORS: &[(u16, IdRange)] = &[
    (0x19e5, (0xa120, 0xa3ff)),
    (0x177d, (0xa000, 0xafff)),
    (0x10ee, (0x5000, 0x5fff)),
    (0x10ee, (0xd000, 0xdfff)),
    // Data streaming and in-memory analytics.
    (0x8086, (0x0b25, 0x0b25)),
    (0x8086, (0x0cfe, 0x0cfe)),
];

/// Intel's co-processors of 2012 to 2018, whose drivers are no longer kept.
const XEON_PHI: RangeInclusive<u16> = 0x2250..=0x225f;

/// An accelerator without a row: of a maker that is only listed, or of an accelerator class. Shown, never granted.
pub fn is_unknown_accelerator(maker: u16, device: u16, class: u16) -> bool {
    if row(maker, device, class).is_some() || EMULATED.contains(&maker) {
        return false;
    }
    if NO_ACCELERATORS.iter().any(|(other, (first, last))| *other == maker && (*first..=*last).contains(&device)) {
        return false;
    }
    let known_maker = rows().any(|row| row.maker.value == maker);
    let listed = LISTED.iter().any(|fact| fact.value.0 == maker);
    match class {
        0x1200 => true,
        // Co-processors of the large makers are compression and packet engines.
        0x0b40 => !known_maker || (maker == 0x8086 && XEON_PHI.contains(&device)),
        _ => listed && matches!(class >> 8, 0x00 | 0x03 | 0x11 | 0x12 | 0xff),
    }
}

#[cfg(test)]
mod tests;
