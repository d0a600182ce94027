//! Lines of `key : value` under headings, as cnmon, mthreads-gmi, mx-smi and efsmi print them, and hy-smi's lines that begin
//! with the number of the card.

use super::{Told, address, degrees, memory, milliwatts, whole};
use std::collections::BTreeMap;

/// A card begins where a line names one: `Card 0`, `GPU 0000:3B:00.0`, `MetaX ... Device 0`, `DEV ID 0`.
fn heading(line: &str) -> Option<Told> {
    let words: Vec<&str> = line.trim().trim_end_matches(':').split_whitespace().collect();
    let [first, ..] = words[..] else { return None };
    let last = words.last()?;
    let names = ["card", "gpu", "gpu#", "device", "dev", "mlu", "gcu", "npu"];
    let begins = names.iter().any(|name| first.eq_ignore_ascii_case(name)) && words.len() <= 3 && !line.contains(" : ");
    let first_number = first.to_ascii_lowercase().strip_prefix("gpu#").and_then(|number| number.parse().ok());
    let told = Told { pci: address(last), index: last.parse().ok().or(first_number), ..Told::default() };
    (begins || first_number.is_some()).then_some(told).filter(|told| told.pci.is_some() || told.index.is_some())
}

/// Cards in the order of their headings. Keys are told apart by their words and by the heading that they stand under.
pub fn parse(text: &str) -> Vec<Told> {
    let mut found: Vec<Told> = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(card) = heading(line) {
            found.push(card);
            section.clear();
            continue;
        }
        let Some(card) = found.last_mut() else { continue };
        match line.split_once(':').map(|(key, value)| (key.trim(), value.trim())) {
            Some((key, value)) if !value.is_empty() => put(card, &section.to_ascii_lowercase(), &key.to_ascii_lowercase(), value),
            Some((key, _)) => section = key.to_owned(),
            None if !line.trim().is_empty() => section = line.trim().to_owned(),
            None => {}
        }
    }
    found
}

/// `HCU[0]  : Temperature (Sensor junction) (C): 45.0`.
pub fn parse_numbered(text: &str) -> Vec<Told> {
    let mut found: BTreeMap<u32, Told> = BTreeMap::new();
    for line in text.lines() {
        let Some((head, rest)) = line.split_once(']') else { continue };
        let Some(index) = head.rsplit_once('[').and_then(|(_, number)| number.trim().parse::<u32>().ok()) else { continue };
        let Some((key, value)) = rest.trim_start_matches([' ', '\t', ':']).split_once(": ") else { continue };
        let card = found.entry(index).or_insert_with(|| Told { index: Some(index), ..Told::default() });
        put(card, "", &key.trim().to_ascii_lowercase(), value.trim());
    }
    found.into_values().collect()
}

/// The first figure of a kind stays: programs print the card's own before those of its parts.
fn put(card: &mut Told, section: &str, key: &str, value: &str) {
    let under = |word: &str| section.contains(word) || key.contains(word);
    let seen = &mut card.telemetry;
    if under("pci") && (key.contains("bus") || key.contains("domain") || key.contains("pci")) {
        card.pci = card.pci.or_else(|| address(value));
    } else if key.contains("uuid") {
        card.uuid.get_or_insert_with(|| value.to_owned());
    } else if key.contains("product name") || key == "name" || key.contains("card series") {
        card.name.get_or_insert_with(|| value.to_owned());
    } else if under("temp")
        && !key.contains("threshold")
        && !key.contains("limit")
        && !key.contains("shutdown")
        && !key.contains("slowdown")
    {
        let place = if key.contains("mem") || key.contains("hbm") { &mut seen.memory_temperature_c } else { &mut seen.temperature_c };
        *place = place.or_else(|| degrees(value));
    } else if under("power") && (key.contains("cap") || key.contains("limit") || key.contains("max")) {
        seen.power_limit_mw = seen.power_limit_mw.or_else(|| milliwatts(value));
    } else if under("power")
        && (key.contains("usage") || key.contains("draw") || key.contains("average") || key.contains("current") || key.contains("power"))
    {
        seen.power_mw = seen.power_mw.or_else(|| milliwatts(value));
    } else if under("memory") && !under("util") && !under("clock") && !under("virtual") {
        if key.contains("used") {
            seen.memory_used = seen.memory_used.or_else(|| memory(value));
        } else if key.contains("total") {
            seen.memory_total = seen.memory_total.or_else(|| memory(value));
        }
    } else if under("util") || under("usage") || key.contains("use (%)") || key.contains("busy") {
        let place = if key.contains("mem") || key.contains("vram") { &mut seen.memory_busy_percent } else { &mut seen.busy_percent };
        *place = place.or_else(|| whole(value).filter(|_| value.contains('%') || key.contains('%')));
    } else if under("clock") || under("freq") {
        let place = if key.contains("mem") { &mut seen.memory_clock_mhz } else { &mut seen.clock_mhz };
        *place = place.or_else(|| whole(value).filter(|_| value.to_ascii_lowercase().contains("mhz")));
    }
}
