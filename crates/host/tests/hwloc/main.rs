//! The tree of every captured machine, against what hwloc found in the same capture.
//!
//! hwloc's own test files tell the options that each expected output was made with. Both trees are brought into one
//! form, a line an object, and compared line by line; `ACCEPTED` lists what may differ, and why.

#[path = "../captured/mod.rs"]
mod captured;
mod expected;
mod ours;

use captured::{Capture, data};
use host::Root;
use host::survey::{Io, Options, survey};
use machine::topology::PciLocality;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lines that may differ: archive (empty for all), a text in the line, and the reason.
const ACCEPTED: [(&str, &str, &str); 5] = [
    ("64amd64-4p2n4ca2co", "Core", "hwloc asks these processors themselves and numbers the cores of a package; the kernel those of a node"),
    ("64intel64-fakeKNL-SNC4-hybrid", "distance", "hwloc drops the kernel's distances on this processor; they are true, so they stay"),
    ("64intel64-fakeKNL-SNC4-hybrid", "Machine", "an older hwloc kept facts of the system in the machine"),
    ("64intel64-fakeKNL-A2A-cache", "Machine", "an older hwloc kept facts of the system in the machine"),
    ("64amd64-4p2n4ca2co", "CPUModel", "hwloc asks these processors themselves, who pad their name"),
];

/// One of hwloc's test files.
struct Case {
    name: String,
    archive: PathBuf,
    answer: PathBuf,
    options: Vec<String>,
    env: BTreeMap<String, String>,
}

fn case(file: &Path) -> Case {
    let folder = file.parent().unwrap();
    let text = fs::read_to_string(file).unwrap();
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim).unwrap_or_default();
    let settings = text.lines().filter_map(|line| line.strip_prefix("env:")).filter_map(|line| line.trim().split_once('='));
    Case {
        name: file.file_stem().unwrap().to_string_lossy().into_owned(),
        archive: folder.join(field("source:")),
        answer: folder.join(field("target:")),
        options: field("options:").split_whitespace().map(str::to_owned).collect(),
        env: settings.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect(),
    }
}

fn options(case: &Case) -> Options {
    let mut options = Options::default();
    let mut words = case.options.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--whole-io" => options.io = Io::All,
            "--no-io" => options.io = Io::Nothing,
            "--no-icaches" => options.instruction_caches = false,
            "--merge" => options.merge = true,
            "--disallowed" | "--whole-system" => options.disallowed = true,
            "--filter" => match words.next().map(String::as_str) {
                Some("all:structure") => (options.merge, options.io) = (true, Io::Nothing),
                Some("io:all") => options.io = Io::All,
                Some("io:none") => options.io = Io::Nothing,
                Some("icache:none") => options.instruction_caches = false,
                other => eprintln!("{}: filter {other:?} is not known here", case.name),
            },
            "-" | "-v" | "--of" | "console" | "xml" => {}
            other => eprintln!("{}: option {other} is not known here", case.name),
        }
    }
    let set = |key: &str| case.env.get(key).is_some_and(|value| value != "0");
    options.overlapping_nodes = set("HWLOC_DEBUG_ALLOW_OVERLAPPING_NODE_CPUSETS");
    options.device_memory = set("HWLOC_KEEP_NVIDIA_GPU_NUMA_NODES");
    let places = case.env.get("HWLOC_PCI_LOCALITY").map(String::as_str).unwrap_or_default();
    options.pci_locality = places.split([';', '\n']).filter_map(locality).collect();
    options
}

/// `0000:0a-0b 0x11,11111111`
fn locality(text: &str) -> Option<PciLocality> {
    let (buses, cpus) = text.trim().split_once(' ').filter(|(buses, _)| !buses.starts_with('#'))?;
    let (domain, buses) = buses.split_once(':').unwrap_or((buses, "00-ff"));
    let (first, last) = buses.split_once('-').unwrap_or((buses, buses));
    let bus = |text| u8::from_str_radix(text, 16).ok();
    Some(PciLocality {
        domain: u32::from_str_radix(domain, 16).ok()?,
        first_bus: bus(first)?,
        last_bus: bus(last)?,
        cpus: expected::hex_set(cpus),
    })
}

/// Lines of one side that the other does not have, each as often as it is missing.
fn missing(of: &[String], from: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    from.iter().for_each(|line| *counts.entry(line).or_default() += 1);
    let mut gone = Vec::new();
    for line in of {
        let count = counts.entry(line).or_default();
        *count -= 1;
        if *count < 0 {
            gone.push(line.clone());
        }
    }
    gone
}

fn compare(case: &Case) -> Vec<String> {
    let capture = Capture::unpack(&case.archive);
    let Some(folder) = capture.roots().into_iter().next() else { return vec!["the archive holds no tree".into()] };
    let topology = survey(&Root::at(folder), &options(case)).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let answer = fs::read_to_string(&case.answer).unwrap();
    let xml = answer.trim_start().starts_with("<?xml");
    let theirs = if xml { expected::xml(&answer) } else { expected::console(&answer) };
    let ours = ours::lines(&topology, if xml { ours::Form::Xml } else { ours::Form::Console { older: answer.contains("KB ") } });
    let accepted = |line: &String| ACCEPTED.iter().any(|(name, text, _)| (name.is_empty() || *name == case.name) && line.contains(text));
    let kept = |lines: Vec<String>| lines.into_iter().filter(|line| !accepted(line)).collect::<Vec<String>>();
    let (theirs, ours) = (kept(theirs), kept(ours));
    let mut differences: Vec<String> = missing(&theirs, &ours).iter().map(|line| format!("  hwloc: {line}")).collect();
    differences.extend(missing(&ours, &theirs).iter().map(|line| format!("  ours:  {line}")));
    if let Some((theirs, ours)) = theirs.iter().zip(&ours).find(|(theirs, ours)| theirs != ours).filter(|_| differences.is_empty()) {
        differences.push(format!("  the same lines in another order, from\n  hwloc: {theirs}\n  ours:  {ours}"));
    }
    differences
}

fn cases(folder: &Path) -> Vec<Case> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "test")).collect();
    files.sort();
    let mut cases: Vec<Case> = files.iter().map(|file| case(file)).collect();
    cases.extend(archives_alone(folder, &cases));
    cases.retain(|case| case.archive.is_file() && case.answer.is_file());
    // Version 1 had memory nodes around CPUs instead of beside them.
    cases.retain(|case| !fs::read_to_string(&case.answer).unwrap().contains("<topology>"));
    cases
}

/// Archives that no test file names, with an answer beside them.
fn archives_alone(folder: &Path, named: &[Case]) -> Vec<Case> {
    let mut found = Vec::new();
    for archive in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(name) = archive.to_str().and_then(|path| path.strip_suffix(".tar.bz2")) else { continue };
        let answer = ["console", "xml", "output"].map(|end| PathBuf::from(format!("{name}.{end}"))).into_iter().find(|path| path.is_file());
        if let Some(answer) = answer.filter(|_| !named.iter().any(|case| case.archive == archive)) {
            let name = Path::new(name).file_name().unwrap().to_string_lossy().into_owned();
            found.push(Case { name, archive, answer, options: Vec::new(), env: BTreeMap::new() });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

#[test]
fn trees_equal_those_of_hwloc() {
    let Some(data) = data() else { return };
    let only = std::env::var("ASHLAR_TEST_ONLY").ok();
    let all = cases(&data.join("hwloc")).into_iter().chain(cases(&data.join("hwloc-history")));
    let cases: Vec<Case> = all.filter(|case| only.as_ref().is_none_or(|only| case.name.contains(only))).collect();
    let most: usize = std::env::var("ASHLAR_TEST_DIFFERENCES").ok().and_then(|count| count.parse().ok()).unwrap_or(12);
    let (mut equal, mut report) = (0, Vec::new());
    let results = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |count| count.get().min(8)) {
            scope.spawn(|| {
                while let Some((at, case)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, cases.get(at)?))) {
                    let differences = compare(case);
                    results.lock().unwrap().insert(at, differences);
                }
            });
        }
    });
    for (case, differences) in cases.iter().zip(results.into_inner().unwrap().into_values()) {
        if differences.is_empty() {
            equal += 1;
            continue;
        }
        report.push(format!("{}: {} differences", case.name, differences.len()));
        report.extend(differences.into_iter().take(most));
    }
    println!("{equal} of {} archives equal", cases.len());
    assert!(report.is_empty(), "{equal} of {} archives equal\n{}", cases.len(), report.join("\n"));
}
