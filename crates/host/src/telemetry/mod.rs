//! What devices do now, from the files that their drivers keep: no vendor library is needed.
//!
//! The vendor table names the files; here they are found once and then read each time. Power and load that a driver only
//! counts up (microjoules, microseconds of work) come from the growth between two looks.

mod gpu_metrics;

use crate::Root;
use crate::accelerators::glob::expand;
use crate::accelerators::table::{self, COMMON, Field, Metric, Read};
use machine::telemetry::{PcieLink, checked};
use machine::{Bytes, Device, DeviceId, Telemetry};
use std::time::Instant;

/// Reads a set of devices again and again.
pub struct Sampler {
    root: Root,
    places: Vec<Place>,
}

/// What one look at one device gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub id: DeviceId,
    pub telemetry: Telemetry,
    /// The driver's own word for a state that is not a good one.
    pub bad_state: Option<String>,
    /// Whether the device's driver itself keeps figures, and not only the bus.
    pub by_driver: bool,
}

/// One device with the files that were found for it.
struct Place {
    id: DeviceId,
    /// Its folder in sysfs, below the root.
    folder: String,
    sources: Vec<Source>,
}

struct Source {
    file: String,
    metric: Metric,
    /// A counter as it was last time.
    last: Option<(u64, Instant)>,
}

impl Sampler {
    /// Finds the files. Slices have none of their own and are left out.
    pub fn new(root: &Root, devices: &[Device]) -> Sampler {
        let places = devices.iter().filter(|device| device.slice.is_none()).filter_map(|device| place(root, device)).collect();
        Sampler { root: root.clone(), places }
    }

    /// One look at every device, at this time. What cannot be is left out and told in the complaints.
    pub fn sample(&mut self, now: Instant) -> Vec<Look> {
        let root = &self.root;
        self.places.iter_mut().map(|place| place.sample(root, now)).collect()
    }

    /// Whether a second look will tell more: some files only count up.
    pub fn has_counters(&self) -> bool {
        self.places.iter().flat_map(|place| &place.sources).any(|source| source.last.is_some())
    }
}

fn place(root: &Root, device: &Device) -> Option<Place> {
    let folder = format!("sys/bus/pci/devices/{}", device.pci?);
    let ids = ["vendor", "device", "class"].map(|file| root.hex(&format!("{folder}/{file}")));
    let row = match ids {
        [Some(maker), Some(id), Some(class)] => table::row(maker as u16, id as u16, (class >> 8) as u16),
        _ => None,
    };
    let metrics = row.map_or(&[][..], |row| row.metrics).iter().chain(COMMON);
    let sources = metrics.flat_map(|fact| {
        let metric = fact.value;
        let files = match metric.file.strip_prefix('/') {
            Some(path) => vec![path.replace("{n}", &device.index.to_string())],
            None => expand(root, &folder, metric.file),
        };
        files.into_iter().filter(|file| root.exists(file)).take(8).map(move |file| Source { file, metric, last: None })
    });
    let sources: Vec<Source> = sources.collect();
    Some(Place { id: device.id.clone(), folder, sources })
}

impl Place {
    fn sample(&mut self, root: &Root, now: Instant) -> Look {
        let mut seen = Telemetry::default();
        for source in &mut self.sources {
            if !has(&seen, source.metric.field) {
                source.read(root, now, &mut seen);
            }
        }
        let bad_state = seen.complaints.first().cloned();
        let by_driver = !seen.is_empty();
        seen.link = link(root, &self.folder);
        let (mut seen, wrong) = checked(seen);
        seen.complaints.extend(wrong.into_iter().map(|wrong| format!("the driver tells {wrong}")));
        Look { id: self.id.clone(), telemetry: seen, bad_state, by_driver }
    }
}

/// Whether an earlier file gave this figure already.
fn has(seen: &Telemetry, field: Field) -> bool {
    match field {
        Field::Temperature => seen.temperature_c.is_some(),
        Field::MemoryTemperature => seen.memory_temperature_c.is_some(),
        Field::Power => seen.power_mw.is_some(),
        Field::PowerLimit => seen.power_limit_mw.is_some(),
        Field::Clock => seen.clock_mhz.is_some(),
        Field::MemoryClock => seen.memory_clock_mhz.is_some(),
        Field::Busy => seen.busy_percent.is_some(),
        Field::MemoryBusy => seen.memory_busy_percent.is_some(),
        Field::MemoryUsed => seen.memory_used.is_some(),
        Field::MemoryTotal => seen.memory_total.is_some(),
        // Several files of one kind add up; words are all read.
        Field::EccCorrected | Field::EccUncorrected | Field::Replays | Field::Status(_) | Field::Several => false,
    }
}

impl Source {
    fn read(&mut self, root: &Root, now: Instant, seen: &mut Telemetry) {
        match self.metric.read {
            Read::GpuMetrics => {
                if let Ok(bytes) = root.bytes(&self.file) {
                    *seen = std::mem::take(seen).or(gpu_metrics::parse(&bytes));
                }
            }
            Read::RasCounts => {
                if let Some((uncorrected, corrected)) = root.text(&self.file).and_then(|text| ras_counts(&text)) {
                    add(&mut seen.ecc_uncorrected, uncorrected);
                    add(&mut seen.ecc_corrected, corrected);
                }
            }
            Read::Word => {
                if let (Field::Status(fine), Some(word)) = (self.metric.field, root.text(&self.file))
                    && !fine.contains(&word.as_str())
                {
                    seen.complaints.push(format!("the driver calls it \"{}\"", word.chars().take(60).collect::<String>()));
                }
            }
            Read::Number(times, over) => {
                if let Some(value) = root.value::<i64>(&self.file) {
                    let value = i128::from(value) * i128::from(times) / i128::from(over.max(1));
                    put(seen, self.metric.field, value);
                }
            }
            Read::Energy | Read::BusyTime => {
                let Some(count) = root.value::<u64>(&self.file) else { return };
                if let Some((before, then)) = self.last.replace((count, now))
                    && let Some(rate) = growth(before, count, then, now)
                {
                    // Microjoules a second are microwatts; microseconds a second are ten-thousandths of a percent.
                    let over = if self.metric.read == Read::Energy { 1000 } else { 10_000 };
                    put(seen, self.metric.field, i128::from(rate) / over);
                }
            }
        }
    }
}

/// Counts a second; `None` where the counter began anew or no time passed.
fn growth(before: u64, count: u64, then: Instant, now: Instant) -> Option<u64> {
    let grown = count.checked_sub(before)?;
    let span = now.saturating_duration_since(then).as_micros();
    (span > 0).then(|| u64::try_from(u128::from(grown) * 1_000_000 / span).unwrap_or(u64::MAX))
}

fn add(count: &mut Option<u64>, more: u64) {
    *count = Some(count.unwrap_or(0).saturating_add(more));
}

/// What does not fit its field is put there as its largest value, which the check then throws out with a word.
fn put(seen: &mut Telemetry, field: Field, value: i128) {
    let small = u32::try_from(value).unwrap_or(u32::MAX);
    let large = u64::try_from(value).unwrap_or(u64::MAX);
    let degrees = i32::try_from(value).unwrap_or(i32::MAX);
    match field {
        Field::Temperature => seen.temperature_c = Some(degrees),
        Field::MemoryTemperature => seen.memory_temperature_c = Some(degrees),
        Field::Power => seen.power_mw = Some(large),
        Field::PowerLimit => seen.power_limit_mw = Some(large),
        Field::Clock => seen.clock_mhz = Some(small),
        Field::MemoryClock => seen.memory_clock_mhz = Some(small),
        Field::Busy => seen.busy_percent = Some(small),
        Field::MemoryBusy => seen.memory_busy_percent = Some(small),
        Field::MemoryUsed => seen.memory_used = Some(Bytes(large)),
        Field::MemoryTotal => seen.memory_total = Some(Bytes(large)),
        Field::EccCorrected => add(&mut seen.ecc_corrected, large),
        Field::EccUncorrected => add(&mut seen.ecc_uncorrected, large),
        Field::Replays => add(&mut seen.pcie_replays, large),
        Field::Status(_) | Field::Several => {}
    }
}

/// `ue: 0` and `ce: 2`, each on a line.
fn ras_counts(text: &str) -> Option<(u64, u64)> {
    let of = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim_start_matches(':').trim().parse().ok());
    Some((of("ue")?, of("ce")?))
}

/// Speed and width of the card's own end of the link.
fn link(root: &Root, folder: &str) -> Option<PcieLink> {
    let speed = |file: &str| rate(&root.text(&format!("{folder}/{file}"))?);
    let width = |file: &str| root.value::<u32>(&format!("{folder}/{file}"));
    let link = PcieLink {
        speed_mt: speed("current_link_speed")?,
        width: width("current_link_width")?,
        max_speed_mt: speed("max_link_speed")?,
        max_width: width("max_link_width")?,
    };
    // Devices inside a processor tell a width of 0 or 255.
    (link.width > 0 && link.width < 255 && link.max_width < 255).then_some(link)
}

/// "16.0 GT/s PCIe" in megatransfers a second.
fn rate(text: &str) -> Option<u32> {
    let number: f64 = text.split_whitespace().next()?.parse().ok()?;
    (0.0..1000.0).contains(&number).then_some((number * 1000.0) as u32)
}

#[cfg(test)]
mod tests;
