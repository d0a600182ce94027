//! What a job takes, reckoned once for all jobs that ask for the same.

use crate::held::{Held, OnMachine, OnQueue, Part};
use crate::layout::Layout;
use crate::tree::Tree;
use crate::{Blocker, Policy, Waiting};
use machine::{Bytes, CpuShare, DeviceClass, Enforcement, IsolationLevel, Share, Vendor};
use spec::{DeviceRequest, JobSpec, Launch, Limits, ShareRequest, Span};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The part of a job the decision depends on. Jobs with equal asks are interchangeable to the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ask<'a> {
    pub ranks: u32,
    /// Whole CPUs in thousandths, or less than a thousand.
    pub share: u32,
    /// Of one rank.
    pub memory: Option<Bytes>,
    pub shm: Option<Bytes>,
    /// A rendezvous needs ports even with one rank, a gang always does.
    pub rendezvous: bool,
    pub devices: Option<DeviceAsk<'a>>,
    /// The least that must be enforced.
    pub isolation: Option<IsolationLevel>,
    pub queue: usize,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceAsk<'a> {
    pub vendor: Option<Vendor>,
    pub class: Option<DeviceClass>,
    pub models: &'a [String],
    pub memory_min: Option<Bytes>,
    pub memory_max: Option<Bytes>,
    /// A part of each device; `None`: the whole.
    pub share: Option<ShareRequest>,
    pub count: u32,
}

/// How long a job is planned to hold what it gets.
pub(crate) fn planned_span(spec: &JobSpec, policy: &Policy) -> Span {
    spec.longest().unwrap_or(policy.default_expect).max(Span(1))
}

impl<'a> Ask<'a> {
    /// Of an elastic job, at its fewest ranks.
    pub fn of(job: &'a Waiting, queue: usize, policy: &Policy) -> Ask<'a> {
        Ask::sized(&job.spec, job.spec.least_ranks(), queue, policy)
    }

    pub fn sized(spec: &'a JobSpec, ranks: u32, queue: usize, policy: &Policy) -> Ask<'a> {
        Ask {
            ranks: ranks.max(1),
            share: whole(spec.cpus),
            memory: spec.memory,
            shm: spec.shm,
            rendezvous: !matches!(spec.launch, Launch::Auto | Launch::Plain | Launch::Slurm),
            devices: spec.devices.as_ref().filter(|request| request.count > 0).map(DeviceAsk::of),
            isolation: spec.isolation.level,
            queue,
            span: planned_span(spec, policy),
        }
    }

    pub fn ports(&self) -> bool {
        self.rendezvous || self.ranks > 1
    }

    /// CPUs each rank holds alone; zero when it shares one.
    pub fn whole_cpus(&self) -> u32 {
        self.share / 1000
    }

    pub fn cpu_milli(&self) -> u64 {
        u64::from(self.share) * u64::from(self.ranks)
    }

    pub fn device_count(&self) -> u64 {
        self.devices.map_or(0, |request| u64::from(request.count) * u64::from(self.ranks))
    }

    /// The same in thousandths of one, as far as can be said without a machine.
    pub fn device_milli(&self) -> u64 {
        let each = self.devices.and_then(|request| request.share).map_or(1000, |share| share.compute.unwrap_or(0));
        self.device_count() * u64::from(each)
    }
}

/// CPUs above one are held whole, so two and a half become three.
fn whole(share: CpuShare) -> u32 {
    match share.0 {
        0..1000 => share.0.max(1),
        more => more.div_ceil(1000).saturating_mul(1000),
    }
}

impl<'a> DeviceAsk<'a> {
    pub fn of(request: &'a DeviceRequest) -> DeviceAsk<'a> {
        DeviceAsk {
            vendor: request.vendor,
            class: request.class,
            models: &request.models,
            memory_min: request.memory_min,
            memory_max: request.memory_max,
            share: request.share,
            count: request.count,
        }
    }

    pub fn fits(&self, device: &machine::Device) -> bool {
        let memory = |ok: &dyn Fn(Bytes) -> bool| device.memory.is_some_and(ok);
        device.vendor != Vendor::Unknown
            && self.vendor.is_none_or(|vendor| vendor == device.vendor)
            && self.class.is_none_or(|class| class == device.class)
            && (self.models.is_empty() || self.models.iter().any(|word| names(&device.model, word)))
            && self.memory_min.is_none_or(|least| memory(&|has| has >= least))
            && self.memory_max.is_none_or(|most| memory(&|has| has <= most))
    }

    /// As a person would write it: `nvidia a100 of at least 40 GiB`.
    pub fn text(&self) -> String {
        let class = self.class.map(|class| match class {
            DeviceClass::Gpu => "GPU",
            DeviceClass::Npu => "NPU",
            DeviceClass::Fpga => "FPGA",
            DeviceClass::Vector => "vector engine",
        });
        let kind = match (self.models, class) {
            ([], None) => "device",
            ([], Some(class)) => class,
            (models, _) => &models.join(" or "),
        };
        let vendor = self.vendor.map(|vendor| format!("{vendor} ")).unwrap_or_default();
        let memory = match (self.memory_min, self.memory_max) {
            (None, None) => String::new(),
            (Some(least), Some(most)) if least == most => format!(" of {least}"),
            (Some(least), Some(most)) => format!(" of {least} to {most}"),
            (Some(least), None) => format!(" of at least {least}"),
            (None, Some(most)) => format!(" of at most {most}"),
        };
        match &self.share {
            None => format!("{vendor}{kind}{memory}"),
            Some(share) => {
                let level = share.enforced.map(|level| format!(", {level} at least")).unwrap_or_default();
                format!("{} of a {vendor}{kind}{memory}{level}", share.describe())
            }
        }
    }
}

/// Whether `word` is in `model` as a word. Only letters and digits count and case does not, so `rtx4090`,
/// `RTX 4090` and `4090` all name an "NVIDIA GeForce RTX 4090", and `a100` does not name an "A100X".
fn names(model: &str, word: &str) -> bool {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let wanted = plain(word);
    let words: Vec<String> = model.split(|c: char| !c.is_ascii_alphanumeric()).map(plain).filter(|word| !word.is_empty()).collect();
    !wanted.is_empty() && (0..words.len()).any(|first| (first + 1..=words.len()).any(|end| words[first..end].concat() == wanted))
}

/// An [`Ask`] worked out for every machine.
pub(crate) struct Demand<'a> {
    pub ask: Ask<'a>,
    pub on: Vec<Need>,
}

/// What a job takes of one machine.
#[derive(Debug)]
pub(crate) struct Need {
    /// Of the whole run.
    pub memory: u64,
    pub shm: u64,
    /// Sets of devices that may serve together, the one to try first in front.
    pub kinds: Vec<Kind>,
    /// Devices of the whole run in thousandths of one, of the kind that counts most.
    pub device_milli: u64,
}

/// Devices of which a job takes the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub devices: Vec<u16>,
    /// `None`: each is held whole.
    pub share: Option<Share>,
    /// Memory of each, and runs it takes at a time; what whole devices have does not matter.
    pub memory: u64,
    pub tasks: u32,
    /// Bytes that were asked for: a slice gives more.
    pub asked: u64,
}

impl Kind {
    pub fn part(&self) -> Part {
        self.share.as_ref().map_or(Part::WHOLE, Part::of)
    }

    /// Whether a device of the kind has room for one more.
    pub fn has_room(&self, device: u16, held: &OnMachine) -> bool {
        let used = &held.devices[usize::from(device)];
        match &self.share {
            None => used.is_free(),
            Some(share) => {
                used.tasks < self.tasks && used.memory.saturating_add(share.memory.0) <= self.memory && used.compute + share.compute <= 1000
            }
        }
    }

    /// Devices that have room.
    pub fn free(&self, held: &OnMachine) -> u64 {
        self.devices.iter().filter(|device| self.has_room(**device, held)).count() as u64
    }
}

impl<'a> Demand<'a> {
    pub fn new(ask: Ask<'a>, layouts: &[Layout]) -> Demand<'a> {
        Demand { on: layouts.iter().map(|layout| Need::new(&ask, layout)).collect(), ask }
    }
}

impl Need {
    fn new(ask: &Ask, layout: &Layout) -> Need {
        let memory = match ask.memory {
            Some(rank) => u64::try_from(u128::from(rank.0) * u128::from(ask.ranks)).unwrap_or(u64::MAX),
            // Without a wish a rank gets memory in proportion to its CPUs, and never less than its /dev/shm.
            None => {
                let rank = layout.allocatable.scaled(u64::from(ask.share), layout.total_milli());
                rank.0.saturating_mul(u64::from(ask.ranks)).max(ask.shm.unwrap_or_default().0)
            }
        };
        let shm = ask.shm.map_or(memory / 2, |shm| shm.0.min(memory));
        let kinds = ask.devices.map(|request| kinds(&request, layout)).unwrap_or_default();
        let each = kinds.iter().map(|kind| kind.share.map_or(1000, |share| u64::from(share.permille))).max();
        Need { memory, shm, device_milli: ask.device_count() * each.unwrap_or(1000), kinds }
    }
}

/// Groups the usable devices that fit. The members of a gang work in lockstep, so they get devices of one model;
/// a request that names several models has asked for a mixture and may get one, of one vendor. Groups with the
/// least memory come first: what a small device can do shall not hold a large one.
fn kinds(request: &DeviceAsk, layout: &Layout) -> Vec<Kind> {
    if let Some(share) = &request.share {
        return shared_kinds(request, share, layout);
    }
    let whole = |devices: Vec<u16>| Kind { devices, share: None, memory: 0, tasks: 0, asked: 0 };
    whole_kinds(request, layout).into_iter().map(whole).collect()
}

fn whole_kinds(request: &DeviceAsk, layout: &Layout) -> Vec<Vec<u16>> {
    let mut by_model: BTreeMap<(Vendor, &str, Option<Bytes>), Vec<u16>> = BTreeMap::new();
    let mut by_vendor: BTreeMap<Vendor, Vec<u16>> = BTreeMap::new();
    for (index, device) in layout.machine.devices.iter().enumerate() {
        if device.health.is_ready() && request.fits(device) {
            by_model.entry((device.vendor, &device.model, device.memory)).or_default().push(index as u16);
            by_vendor.entry(device.vendor).or_default().push(index as u16);
        }
    }
    let mut groups: Vec<_> = by_model.into_iter().collect();
    groups.sort_by_key(|((_, _, memory), members)| (*memory, members.len()));
    let mut kinds: Vec<Vec<u16>> = groups.into_iter().map(|(_, members)| members).collect();
    if request.models.len() > 1 {
        let mut mixed: Vec<_> = by_vendor.into_values().filter(|members| !kinds.contains(members)).collect();
        mixed.sort_by_key(|members| Reverse(members.len()));
        kinds.extend(mixed);
    }
    kinds
}

/// Groups the devices that can be held in parts as large as asked and kept as firmly. The members of a group are alike, since
/// each rank gets the same part. The firmest come first, and of those what leaves least: a slice is a part already.
fn shared_kinds(request: &DeviceAsk, wanted: &ShareRequest, layout: &Layout) -> Vec<Kind> {
    /// How firmly, memory, vendor and model, compute of a slice.
    type Alike<'m> = (Reverse<Enforcement>, Bytes, Vendor, &'m str, Option<u32>);
    let mut alike: BTreeMap<Alike, Kind> = BTreeMap::new();
    for (index, device) in layout.machine.devices.iter().enumerate() {
        if !device.health.is_ready() || !request.fits(device) {
            continue;
        }
        let (Some(sharing), Some(memory)) = (device.sharing(&layout.machine.facts), device.memory) else { continue };
        if wanted.enforced.is_some_and(|least| sharing.enforced < least) || (sharing.one_card && request.count > 1) {
            continue;
        }
        let slice = device.slice.is_some();
        let Some(share) = (if slice { whole_slice(wanted, device) } else { part(wanted, memory, &sharing) }) else { continue };
        let key = (Reverse(sharing.enforced), memory, device.vendor, device.model.as_str(), device.slice_compute());
        let asked = if slice { wanted.memory.unwrap_or_default().0 } else { share.memory.0 };
        let fresh = Kind { devices: vec![], share: Some(share), memory: memory.0, tasks: sharing.tasks, asked };
        alike.entry(key).or_insert(fresh).devices.push(index as u16);
    }
    alike.into_values().collect()
}

/// The part of a card of this much memory, its memory rounded up to what the vendor can tell apart.
fn part(wanted: &ShareRequest, card: Bytes, sharing: &machine::Sharing) -> Option<Share> {
    let compute = wanted.compute.unwrap_or(0);
    let memory = wanted.memory.unwrap_or_else(|| card.scaled(u64::from(compute), 1000));
    let step = sharing.step.0.max(1);
    // In proportion the step rounds down, so that two halves fit.
    let steps = if wanted.memory.is_some() { memory.0.div_ceil(step) } else { (memory.0 / step).max(1) };
    let memory = Bytes(steps.checked_mul(step)?);
    (memory <= card).then(|| Share::of(memory, compute, card, sharing.enforced))
}

/// A slice serves whole if it is large enough; a part of the compute must be told by its name.
fn whole_slice(wanted: &ShareRequest, slice: &machine::Device) -> Option<Share> {
    let memory = slice.memory?;
    let enough = wanted.memory.is_none_or(|least| memory >= least)
        && wanted.compute.is_none_or(|least| slice.slice_compute().is_some_and(|compute| compute >= least));
    enough.then_some(Share { memory, compute: 0, permille: 1000, enforced: Enforcement::Hard })
}

/// What is missing, by dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lack {
    pub cpus: bool,
    pub memory: bool,
    pub devices: bool,
    pub ports: bool,
    pub isolation: bool,
}

impl Lack {
    pub fn count(self) -> u32 {
        [self.cpus, self.memory, self.devices, self.ports, self.isolation].into_iter().map(u32::from).sum()
    }
}

impl Demand<'_> {
    /// Whether `machine` can take the whole job beside what is held. Exact: if nothing lacks, it can be placed.
    pub fn fits(&self, index: usize, layout: &Layout, held: &OnMachine) -> bool {
        let need = &self.on[index];
        held.memory.saturating_add(need.memory) <= layout.allocatable.0
            && has_cpus(&self.ask, held)
            && (self.ask.devices.is_none() || self.free_devices(index, held) >= self.ask.device_count())
            && (!self.ask.ports() || held.ports.first_clear().is_some())
            && self.is_kept_apart(layout)
    }

    pub fn lack(&self, index: usize, layout: &Layout, held: &OnMachine) -> Lack {
        Lack {
            cpus: !has_cpus(&self.ask, held),
            memory: held.memory.saturating_add(self.on[index].memory) > layout.allocatable.0,
            devices: self.free_devices(index, held) < self.ask.device_count(),
            ports: self.ask.ports() && held.ports.first_clear().is_none(),
            isolation: !self.is_kept_apart(layout),
        }
    }

    /// Where it is not known what a machine can do, its node finds out at the start.
    fn is_kept_apart(&self, layout: &Layout) -> bool {
        let offered = layout.machine.facts.isolation.as_ref().map(|offer| offer.level);
        self.ask.isolation.zip(offered).is_none_or(|(wanted, offered)| wanted <= offered)
    }

    /// Why no part as asked can be had of the devices that fit, however free they are; `None` where the request fails for another reason,
    /// such as its size.
    pub fn cannot_be_shared(&self, layout: &Layout) -> Option<Blocker> {
        let request = self.ask.devices?;
        let share = request.share?;
        let mut fit = layout.machine.devices.iter().filter(|device| device.health.is_ready() && request.fits(device)).peekable();
        if !kinds(&request, layout).is_empty() || fit.peek().is_none() {
            return None;
        }
        let loose = DeviceAsk { share: Some(ShareRequest { enforced: None, ..share }), ..request };
        let text = request.text();
        if let Some(offered) = kinds(&loose, layout).iter().filter_map(|kind| kind.share).map(|share| share.enforced).max() {
            return Some(Blocker::Enforcement { request: text, wanted: share.enforced, offered });
        }
        let sharing: Vec<machine::Sharing> = fit.filter_map(|device| device.sharing(&layout.machine.facts)).collect();
        let one_card = request.count > 1 && sharing.iter().all(|sharing| sharing.one_card);
        match sharing.is_empty() {
            true => Some(Blocker::Sharing { request: text, count: None }),
            false => one_card.then_some(Blocker::Sharing { request: text, count: Some(request.count) }),
        }
    }

    /// The most free devices of one kind.
    fn free_devices(&self, index: usize, held: &OnMachine) -> u64 {
        self.on[index].kinds.iter().map(|kind| kind.free(held)).max().unwrap_or(0)
    }

    /// Names of the queue limits that this job would break, with limit and held amount.
    pub fn over_limit(&self, index: usize, limits: &Limits, held: &OnQueue) -> Vec<(&'static str, u64, u64)> {
        let need = &self.on[index];
        let rows = [
            ("cpus", limits.cpus.map(|cpus| u64::from(cpus) * 1000), held.cpu_milli, self.ask.cpu_milli()),
            ("memory", limits.memory.map(|memory| memory.0), held.memory, need.memory),
            ("devices", limits.devices.map(|devices| u64::from(devices) * 1000), held.devices, need.device_milli),
            ("runs", limits.runs.map(u64::from), held.runs, 1),
        ];
        let over = rows.into_iter().filter_map(|(what, limit, held, wanted)| limit.map(|limit| (what, limit, held, wanted)));
        over.filter(|(_, limit, held, wanted)| *wanted > 0 && held.saturating_add(*wanted) > *limit)
            .map(|(what, limit, held, _)| (what, limit, held))
            .collect()
    }

    /// The same question as [`Demand::over_limit`] without the answer in detail: asked for every job.
    pub fn within_limits(&self, index: usize, limits: &Limits, held: &OnQueue) -> bool {
        let keeps =
            |limit: Option<u64>, held: u64, wanted: u64| wanted == 0 || limit.is_none_or(|limit| held.saturating_add(wanted) <= limit);
        keeps(limits.cpus.map(|cpus| u64::from(cpus) * 1000), held.cpu_milli, self.ask.cpu_milli())
            && keeps(limits.memory.map(|memory| memory.0), held.memory, self.on[index].memory)
            && keeps(limits.devices.map(|devices| u64::from(devices) * 1000), held.devices, self.on[index].device_milli)
            && keeps(limits.runs.map(u64::from), held.runs, 1)
    }

    /// The machines that could take the job beside `held`, the tightest fit first in line.
    pub fn best_machine(&self, layouts: &[Layout], tree: &Tree, held: &Held) -> Option<usize> {
        let left = |index: usize| {
            let layout = &layouts[index];
            let idle_devices = held.machines[index].devices.iter().filter(|device| device.is_free()).count();
            let used: u64 = held.machines[index].cpus.iter().map(|milli| u64::from(*milli)).sum();
            (idle_devices, layout.total_milli().saturating_sub(used), index)
        };
        let mut able = (0..layouts.len()).filter(|index| {
            layouts[*index].accepts && tree.lets(self, *index, &held.queues) && self.fits(*index, &layouts[*index], &held.machines[*index])
        });
        let first = able.next()?;
        Some(able.fold(first, |best, next| if left(next) < left(best) { next } else { best }))
    }
}

/// Whether there are CPUs for all ranks. Asked thousands of times in one decision.
fn has_cpus(ask: &Ask, held: &OnMachine) -> bool {
    if ask.whole_cpus() > 0 {
        return u64::from(held.room().whole_cpus) * 1000 >= ask.cpu_milli();
    }
    let ranks = ask.ranks;
    if held.room().widest < ask.share {
        return false;
    }
    let mut pieces = 0;
    ranks == 1
        || held.cpus.iter().any(|used| {
            let gap = 1000u32.saturating_sub(*used);
            pieces += if gap < ask.share { 0 } else { gap / ask.share };
            pieces >= ranks
        })
}

/// Processor time this job could get in pieces of its own size: whole CPUs for a job of whole CPUs, gaps on single
/// CPUs for one that shares.
pub(crate) fn usable_cpu_milli(ask: &Ask, held: &OnMachine) -> u64 {
    if ask.whole_cpus() > 0 {
        u64::from(held.room().whole_cpus) * 1000
    } else {
        let pieces = held.cpus.iter().map(|used| u64::from(1000u32.saturating_sub(*used) / ask.share)).sum::<u64>();
        pieces * u64::from(ask.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_by_its_words() {
        for (model, word, yes) in [
            ("NVIDIA H100 80GB HBM3", "h100", true),
            ("NVIDIA H100 80GB HBM3", "H100 80GB", true),
            ("NVIDIA GeForce RTX 4090", "rtx4090", true),
            ("NVIDIA GeForce RTX 4090", "4090", true),
            ("NVIDIA A100-SXM4-80GB", "a100", true),
            ("NVIDIA A100X", "a100", false),
            ("Ascend 910B3", "910b", false),
            ("10de:2330", "10de:2330", true),
            ("NVIDIA L40S", "l40", false),
            ("NVIDIA L40S", "", false),
            ("", "l40", false),
        ] {
            assert_eq!(names(model, word), yes, "{word} in {model}");
        }
    }

    #[test]
    fn cpus_above_one_are_whole() {
        for (asked, held) in [(0, 1), (1, 1), (250, 250), (999, 999), (1000, 1000), (1001, 2000), (2500, 3000), (4000, 4000)] {
            assert_eq!(whole(CpuShare(asked)), held);
        }
    }

    #[test]
    fn requests_read_as_people_write_them() {
        let models = ["a100".to_string(), "h100".to_string()];
        let any = DeviceAsk { vendor: None, class: None, models: &[], memory_min: None, memory_max: None, share: None, count: 1 };
        assert_eq!(any.text(), "device");
        assert_eq!(DeviceAsk { class: Some(DeviceClass::Gpu), memory_min: Some(Bytes::gib(24)), ..any }.text(), "GPU of at least 24 GiB");
        assert_eq!(DeviceAsk { vendor: Some(Vendor::Nvidia), models: &models, ..any }.text(), "nvidia a100 or h100");
        assert_eq!(
            DeviceAsk { memory_min: Some(Bytes::gib(8)), memory_max: Some(Bytes::gib(16)), ..any }.text(),
            "device of 8 GiB to 16 GiB"
        );
    }
}
