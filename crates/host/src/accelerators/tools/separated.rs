//! Lines with commas, as nvidia-smi's `--query-gpu` prints them and the programs that took over its options.

use super::{Told, address, degrees, memory, milliwatts, whole};
use machine::Telemetry;

/// The fields of [`super::QUERY`] in their order.
pub fn parse(text: &str) -> Vec<Told> {
    let card = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [index, bus, uuid, name, temperature, power, limit, clock, busy, used, total] = fields[..] else { return None };
        let known = |text: &str| (!text.is_empty() && !text.starts_with("[") && text != "N/A").then(|| text.to_owned());
        let told = Told {
            pci: address(bus),
            index: index.parse().ok(),
            uuid: known(uuid),
            name: known(name),
            telemetry: Telemetry {
                temperature_c: degrees(temperature),
                power_mw: milliwatts(power),
                power_limit_mw: milliwatts(limit),
                clock_mhz: whole(clock),
                busy_percent: whole(busy),
                memory_used: memory(used),
                memory_total: memory(total),
                ..Telemetry::default()
            },
            ..Told::default()
        };
        (told.pci.is_some() || told.index.is_some()).then_some(told)
    };
    text.lines().filter_map(card).collect()
}
