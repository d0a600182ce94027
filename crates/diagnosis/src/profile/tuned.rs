//! Profiles of tuned: `tuned.conf`, with the profiles they include.
//!
//! Written from what tuned's manual pages say its plug-ins do. What a plug-in does by its own code (scripts, services, interrupts)
//! is told as not judged.

use super::sysctl;
use machine::Readings;
use std::collections::BTreeMap;

/// Profiles that include each other are read this deep.
const DEEPEST: usize = 16;

/// One line of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub profile: String,
    /// Counted from 1.
    pub number: usize,
    /// The section, which names a plug-in unless it has a `type`.
    pub section: String,
    pub key: String,
    pub value: String,
    /// Files it would write, perhaps with `*`. Of several the first that a kernel has is written. Empty: none, or not known.
    pub paths: Vec<String>,
}

/// Where tuned looks for a profile, the first counts.
pub fn find<'r>(readings: &'r Readings, profile: &str) -> Option<(String, &'r str)> {
    let places = ["etc/tuned", "etc/tuned/profiles", "usr/lib/tuned", "usr/lib/tuned/profiles"];
    places.into_iter().find_map(|place| {
        let path = format!("{place}/{profile}/tuned.conf");
        readings.text(&path).map(|text| (path, text))
    })
}

/// The lines of a profile and of those it includes, the included ones first, as tuned merges them. An unknown profile has none.
pub fn lines(profile: &str, find: &dyn Fn(&str) -> Option<String>) -> Vec<Line> {
    let mut all = vec![];
    collect(profile, find, DEEPEST, &mut all);
    all
}

fn collect(profile: &str, find: &dyn Fn(&str) -> Option<String>, deep: usize, all: &mut Vec<Line>) {
    let Some(text) = find(profile).filter(|_| deep > 0) else { return };
    let own = parse(profile, &text);
    for include in own.iter().filter(|line| line.section == "main" && line.key == "include") {
        for other in include.value.split([',', ';', ' ']).map(str::trim).filter(|name| !name.is_empty()) {
            // `-name`: no complaint when it is not there.
            collect(other.trim_start_matches('-'), find, deep - 1, all);
        }
    }
    all.extend(own);
}

/// The lines of one file.
pub fn parse(profile: &str, text: &str) -> Vec<Line> {
    let mut section = String::new();
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = vec![];
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim().to_owned(), value.trim().trim_matches('"').to_owned());
        if section == "variables" {
            variables.insert(key.clone(), value.clone());
        }
        if key == "type" {
            kinds.insert(section.clone(), value.clone());
        }
        let value = variables.iter().fold(value, |value, (name, text)| value.replace(&format!("${{{name}}}"), text));
        lines.push(Line { profile: profile.to_owned(), number: at + 1, section: section.clone(), key, value, paths: vec![] });
    }
    for line in &mut lines {
        let plugin = kinds.get(&line.section).unwrap_or(&line.section).clone();
        // `>` and `<` before a value: only upwards, only downwards.
        line.paths = paths(&plugin, &line.key);
    }
    lines
}

/// Files that a plug-in writes for a key.
fn paths(plugin: &str, key: &str) -> Vec<String> {
    let cpufreq = |name: &str| vec![format!("sys/devices/system/cpu/cpufreq/policy*/{name}")];
    match (plugin, key) {
        (_, "type" | "replace" | "devices" | "priority" | "enabled") => vec![],
        ("sysctl", key) => vec![sysctl::path(key)],
        ("sysfs", key) => vec![key.trim_start_matches('/').to_owned()],
        ("vm", "transparent_hugepages" | "transparent_hugepage") => vec!["sys/kernel/mm/transparent_hugepage/enabled".into()],
        ("vm", "transparent_hugepage.defrag") => vec!["sys/kernel/mm/transparent_hugepage/defrag".into()],
        ("vm", key @ ("dirty_ratio" | "dirty_background_ratio" | "dirty_bytes" | "dirty_background_bytes")) => {
            vec![format!("proc/sys/vm/{key}")]
        }
        ("cpu", "governor") => cpufreq("scaling_governor"),
        ("cpu", "energy_performance_preference") => cpufreq("energy_performance_preference"),
        ("cpu", "energy_perf_bias") => vec!["sys/devices/system/cpu/cpu*/power/energy_perf_bias".into()],
        ("cpu", "min_perf_pct" | "max_perf_pct" | "no_turbo") => vec![format!("sys/devices/system/cpu/intel_pstate/{key}")],
        ("cpu", "boost") => vec!["sys/devices/system/cpu/cpufreq/boost".into()],
        ("cpu", "sampling_down_factor") => vec!["sys/devices/system/cpu/cpufreq/ondemand/sampling_down_factor".into()],
        ("disk", "readahead") => vec!["sys/block/*/queue/read_ahead_kb".into()],
        ("disk", "elevator") => vec!["sys/block/*/queue/scheduler".into()],
        ("scheduler", key) if key.starts_with("sched_") => scheduler(key),
        ("scheduler", "numa_balancing") => vec!["proc/sys/kernel/numa_balancing".into()],
        ("mounts" | "net" | "script" | "bootloader" | "irqbalance" | "service" | "main", _) => vec![],
        _ => vec![],
    }
}

/// The scheduler's knobs were sysctls to kernel 5.12 and then files of debugfs.
fn scheduler(key: &str) -> Vec<String> {
    let short = key.trim_start_matches("sched_");
    let new = match short {
        "numa_balancing_scan_delay_ms"
        | "numa_balancing_scan_period_min_ms"
        | "numa_balancing_scan_period_max_ms"
        | "numa_balancing_scan_size_mb" => {
            format!("sys/kernel/debug/sched/numa_balancing/{}", short.trim_start_matches("numa_balancing_"))
        }
        _ => format!("sys/kernel/debug/sched/{short}"),
    };
    vec![format!("proc/sys/kernel/{key}"), new]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: &str = "[main]\nsummary=mine\ninclude=base, -missing\n\n[variables]\nbytes=16777216\n\n[sysctl]\nvm.swappiness=10\nnet.core.rmem_max=${bytes}\n";
    const BASE: &str = "[cpu]\ngovernor=performance\n# comment\n[readahead]\ntype=disk\nreadahead=>4096\n[scheduler]\nsched_min_granularity_ns = 10000000\n";

    fn library(name: &str) -> Option<String> {
        match name {
            "mine" => Some(CHILD.into()),
            "base" => Some(BASE.into()),
            "circle" => Some("[main]\ninclude=circle\n[sysctl]\nvm.swappiness=1\n".into()),
            _ => None,
        }
    }

    #[test]
    fn included_profiles_come_first_and_variables_are_filled_in() {
        let all = lines("mine", &library);
        let found: Vec<(&str, usize, &str, &str)> = all
            .iter()
            .filter_map(|line| Some((line.profile.as_str(), line.number, line.paths.first()?.as_str(), line.value.as_str())))
            .collect();
        assert_eq!(
            found,
            [
                ("base", 2, "sys/devices/system/cpu/cpufreq/policy*/scaling_governor", "performance"),
                ("base", 6, "sys/block/*/queue/read_ahead_kb", ">4096"),
                ("base", 8, "proc/sys/kernel/sched_min_granularity_ns", "10000000"),
                ("mine", 9, "proc/sys/vm/swappiness", "10"),
                ("mine", 10, "proc/sys/net/core/rmem_max", "16777216"),
            ]
        );
        assert_eq!(all.iter().find(|line| line.key.starts_with("sched_")).unwrap().paths[1], "sys/kernel/debug/sched/min_granularity_ns");
    }

    #[test]
    fn a_circle_of_profiles_ends_and_an_unknown_one_is_empty() {
        assert_eq!(lines("circle", &library).len(), 2 * DEEPEST);
        assert!(lines("nothing", &library).is_empty());
    }
}
