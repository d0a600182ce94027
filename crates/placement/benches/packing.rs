//! How fast machines are chosen. `cargo bench -p placement --bench packing [-- --openb DIR]`
//!
//! Decisions only: no parsing, no log, no network; one thread. Every fleet is a mix of three kinds of machine, filled
//! by requests like those of the openb trace until 1.3 times its devices were asked for (at most 200,000 decisions). With the
//! folder of the openb trace the figures are those of its 1,213 nodes and given arrivals.

use placement::packing::demand::Demand;
use placement::packing::openb::{parse_nodes, parse_pods};
use placement::packing::policy::{Ashlar, BestFit, Fgd};
use placement::packing::{Course, Fleet, KindSet, Packer, Request, Score, Seeded, Shape};
use std::io::Read;
use std::time::{Duration, Instant};

fn read(path: &str) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = String::new();
    lzma_rust2::XzReader::new(bytes.as_slice(), false).read_to_string(&mut text).expect("xz");
    text
}

/// Sizes and frequencies in the manner of openb: many shares, most of them of a few sizes, single devices, few gangs.
fn requests() -> Vec<Request> {
    let mut seeded = Seeded(11);
    let mut all = vec![];
    let mut add = |times: usize, cpu: u32, devices: u8, share: u16| {
        let memory = 1024 * (1 + seeded.below(32) as u32 / 8 * 8);
        all.extend(std::iter::repeat_n(Request::new(cpu, memory, devices, share, KindSet::ANY).expect("a request"), times));
    };
    for (times, cpu, share) in [(128, 3152, 810), (48, 11_908, 470), (46, 8000, 470), (31, 11_908, 650), (34, 4000, 320), (16, 6000, 460)] {
        add(times, cpu, 1, share);
    }
    for (times, cpu) in
        [(107, 11_300), (74, 11_400), (60, 3152), (45, 12_000), (32, 18_708), (24, 9810), (20, 8000), (20, 4000), (20, 15_700)]
    {
        add(times, cpu, 1, 1000);
    }
    for share in (100..1000).step_by(30) {
        add(1, 4000, 1, share);
    }
    for (times, cpu, devices) in [(2, 20_000, 2), (2, 40_000, 4), (5, 88_000, 8), (45, 12_500, 0), (36, 32_000, 0)] {
        add(times, cpu, devices, if devices == 0 { 0 } else { 1000 });
    }
    all
}

fn mixed(machines: usize) -> Fleet {
    let shape = |kind, devices, cpu, memory| Shape { kind, devices, cpu, memory, device_memory: 0 };
    let shapes = vec![shape(0, 8, 96_000, 393_216), shape(1, 8, 128_000, 786_432), shape(2, 8, 64_000, 262_144)];
    let order: Vec<u16> = (0..machines).map(|at| [0, 0, 0, 0, 0, 0, 1, 1, 2, 2][at % 10]).collect();
    Fleet::new(shapes, &order, vec![])
}

struct Timing {
    decisions: usize,
    all: Duration,
    p99: Duration,
    held: f64,
}

fn time<S: Score>(fleet: Fleet, policy: S, mut next: impl FnMut() -> Option<Request>) -> Timing {
    let capacity = fleet.capacity();
    let mut packer = Packer::new(fleet, policy, 1);
    let (mut asked, mut single) = (0u64, vec![]);
    while asked < capacity * 13 / 10 && single.len() < 200_000 {
        let Some(request) = next() else { break };
        asked += u64::from(request.amount());
        let before = Instant::now();
        std::hint::black_box(packer.arrive(&request));
        single.push(before.elapsed());
    }
    let all = single.iter().sum();
    single.sort_unstable();
    let p99 = single[single.len() * 99 / 100];
    Timing { decisions: single.len(), all, p99, held: packer.fleet().allocated() as f64 / capacity as f64 }
}

fn show(what: &str, policy: &str, timing: &Timing) {
    println!(
        "{what:24} {policy:8} {:8.0} decisions/s  p99 {:7.1} us  {:7} decisions  held {:.2} %",
        timing.decisions as f64 / timing.all.as_secs_f64(),
        timing.p99.as_secs_f64() * 1e6,
        timing.decisions,
        100.0 * timing.held
    );
}

/// Resident memory of this process, MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn openb(folder: &str) {
    let nodes = parse_nodes(&read(&format!("{folder}/openb_node_list_gpu_node.csv.xz"))).expect("nodes");
    let pods = parse_pods(&read(&format!("{folder}/openb_pod_list_default.csv.xz")), &nodes.models).expect("pods");
    let order = read(&format!("{folder}/orders/default-seed42-tune1.3.idx.xz"));
    let order: Vec<usize> = order.lines().map(|line| line.parse().expect("a row")).collect();
    let fleet = || Fleet::new(nodes.shapes.clone(), &nodes.machines, vec![]);
    let demand = Demand::of(&pods.requests);
    let ashlar = Ashlar::knowing(&fleet(), &demand, Course::default(), |_, _| ());
    for _ in 0..3 {
        let arrivals = || {
            let mut rows = order.iter();
            let requests = &pods.requests;
            move || rows.next().map(|row| requests[*row])
        };
        show("openb, 1,213 nodes", "bestfit", &time(fleet(), BestFit, arrivals()));
        show("openb, 1,213 nodes", "fgd", &time(fleet(), Fgd::new(&demand), arrivals()));
        show("openb, 1,213 nodes", "ashlar", &time(fleet(), ashlar.clone(), arrivals()));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--openb") {
        openb(arguments.get(at + 1).expect("--openb DIR"));
    }
    let requests = requests();
    let demand = Demand::of(&requests);
    for machines in [100, 1000, 10_000, 100_000] {
        let draw = || {
            let (mut seeded, lottery) = (Seeded(3), demand.lottery());
            move || lottery.draw(&mut seeded)
        };
        let before = resident();
        let ashlar = Ashlar::knowing(&mixed(machines), &demand, Course { days: 30, ..Course::default() }, |_, _| ());
        let timing = time(mixed(machines), ashlar, draw());
        show(&format!("{machines} x 8 devices"), "ashlar", &timing);
        println!("{:24} resident {} MiB, {before} MiB before", "", resident());
    }
}
