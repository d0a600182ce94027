//! Packing figures on the openb trace, no departures: every policy, every node order, every given arrival order.
//!
//! `cargo run --release -p placement --example openb -- DATA [--policies a,b] [--orders file] [--shift NAME] [--pods FILE]`
//! where DATA is the folder of the trace. Policy `learning` is ashlar starting with no knowledge. Each decision is replayed by
//! the audit; a fault ends the run.
//!
//! `--shift` makes another demand of the default list: `cpu200` (twice the requests without devices), `share60`,
//! `share100` (that part of the devices asked for in shares), `multi50` (half of them in gangs), `spec10`, `spec33`, `spec50` (that
//! part of the devices asked for insists on models, scarce ones first).

use placement::packing::audit::Audit;
use placement::packing::demand::Demand;
use placement::packing::openb::{Nodes, parse_nodes, parse_pods, ranks};
use placement::packing::policy::{Ashlar, BestFit, DotProd, Fgd, Packing, Random};
use placement::packing::{Cost, Course, Event, Fleet, Free, KindSet, Packer, Request, Score, Seeded, Shape, Spot};
use std::io::Read;
use std::time::{Duration, Instant};

fn read(path: &str) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = String::new();
    if path.ends_with(".xz") {
        lzma_rust2::XzReader::new(bytes.as_slice(), false).read_to_string(&mut text).expect("xz");
    } else {
        text = String::from_utf8(bytes).expect("text");
    }
    text
}

struct Any(Box<dyn Score>);

impl Score for Any {
    fn cost(&self, spot: &Spot<'_>, request: &Request) -> Cost {
        self.0.cost(spot, request)
    }
    fn potential(&self, number: u16, shape: &Shape, free: &Free) -> f32 {
        self.0.potential(number, shape, free)
    }
    fn epoch(&self) -> u32 {
        self.0.epoch()
    }
    fn note(&mut self, event: &Event, load: (u64, u64)) {
        self.0.note(event, load);
    }
    fn study(&mut self, fleet: &Fleet) -> bool {
        self.0.study(fleet)
    }
    fn draws(&self) -> bool {
        self.0.draws()
    }
}

/// Another demand of the same list, as large.
fn shifted(requests: &[Request], models: &[String], name: &str) -> Vec<Request> {
    let mut seeded = Seeded(9);
    let total: u64 = requests.iter().map(|request| u64::from(request.amount())).sum();
    let some = |keep: fn(&Request) -> bool| requests.iter().copied().filter(keep).collect::<Vec<Request>>();
    let (cpus, shares) = (some(|request| request.devices == 0), some(Request::is_shared));
    let (ones, gangs) = (some(|request| request.devices == 1 && !request.is_shared()), some(|request| request.devices > 1));
    let mut draw = |pool: &[Request], part: f64, into: &mut Vec<Request>| {
        let mut asked = 0;
        while (asked as f64) < part * total as f64 {
            let request = pool[seeded.below(pool.len() as u64) as usize];
            asked += u64::from(request.amount());
            into.push(request);
        }
    };
    let mut made = vec![];
    match name {
        "cpu200" => made = requests.iter().chain(&cpus).copied().collect(),
        "share60" | "share100" => {
            let part = if name == "share60" { 0.6 } else { 1.0 };
            draw(&shares, part, &mut made);
            draw(&ones, 1.0 - part, &mut made);
            let count = made.len() * cpus.len() / (requests.len() - cpus.len());
            made.extend(cpus.iter().cycle().take(count));
        }
        "multi50" => {
            draw(&gangs, 0.5, &mut made);
            draw(&ones, 0.4, &mut made);
            draw(&shares, 0.1, &mut made);
            made.extend(&cpus);
        }
        "spec10" | "spec33" | "spec50" => {
            // Devices that insist, by model. T4 in spec33: more than there are.
            let plan: &[(&str, u64)] = match name {
                "spec10" => &[("T4", 250), ("V100M16|V100M32", 150), ("P100", 100), ("G2", 100)],
                "spec33" => &[("T4", 1052), ("V100M16|V100M32", 380), ("P100", 240), ("G3", 200), ("G2|V100M32", 130)],
                _ => &[("T4", 800), ("V100M16", 180), ("V100M32", 190), ("P100", 250), ("G3", 300), ("G2", 1200)],
            };
            made = requests.to_vec();
            let mut at = 0;
            for (spec, devices) in plan {
                let mask = |kinds: KindSet, (kind, model): (usize, &String)| {
                    if spec.split('|').any(|wanted| wanted == model) { kinds.with(kind as u8) } else { kinds }
                };
                let kinds = models.iter().enumerate().fold(KindSet::NONE, mask);
                // The small machines of two models have 8 CPUs a device.
                let lean = *spec == "P100" || *spec == "V100M16";
                let mut asked = 0;
                while asked < devices * 1000 && at < made.len() {
                    // A fixed walk that meets every row once.
                    let row = (at * 4001) % made.len();
                    let request = &mut made[row];
                    at += 1;
                    if (1..=2).contains(&request.devices) && !(lean && request.cpu > 8000 * u32::from(request.devices)) {
                        request.kinds = kinds;
                        asked += u64::from(request.amount());
                    }
                }
            }
        }
        _ => made = requests.to_vec(),
    }
    made
}

/// Nodes in another order.
fn ordered(nodes: &Nodes, order: &str) -> Nodes {
    let mut index: Vec<usize> = (0..nodes.names.len()).collect();
    let mut seeded = Seeded(7);
    match order {
        "cores-per-gpu" => index.sort_by_key(|at| {
            let shape = nodes.shapes[usize::from(nodes.machines[*at])];
            shape.cpu / u32::from(shape.devices.max(1))
        }),
        "shuffled" => (1..index.len()).rev().for_each(|at| index.swap(at, seeded.below(at as u64 + 1) as usize)),
        _ => {}
    }
    let pick = |at: &usize| (nodes.names[*at].clone(), nodes.machines[*at]);
    let (names, machines) = index.iter().map(pick).unzip();
    Nodes { names, machines, models: nodes.models.clone(), shapes: nodes.shapes.clone() }
}

/// Allocation in percent after 100 % and 130 % of the capacity arrived, and the time of the decisions.
fn run(policy: Any, nodes: &Nodes, requests: &[Request], order: &[usize], seed: u64) -> (f64, f64, Duration) {
    let fleet = Fleet::new(nodes.shapes.clone(), &nodes.machines, ranks(&nodes.names, seed));
    let capacity = fleet.capacity();
    let mut audit = Audit::new(&nodes.shapes, &nodes.machines);
    let mut packer = Packer::new(fleet, policy, seed);
    let (mut arrived, mut full, mut spent) = (0u64, None, Duration::ZERO);
    for row in order {
        let request = &requests[*row];
        let before = Instant::now();
        let at = packer.arrive(request);
        spent += before.elapsed();
        packer.study();
        audit.arrival(request, at).unwrap_or_else(|fault| panic!("{fault}"));
        arrived += u64::from(request.amount());
        if full.is_none() && arrived >= capacity {
            full = Some(audit.held());
        }
    }
    let percent = |held: u64| 100.0 * held as f64 / capacity as f64;
    (percent(full.unwrap_or(0)), percent(audit.held()), spent)
}

/// The published rule: shuffled, then drawn again until 130 % of the capacity is asked for.
fn synthetic_order(requests: &[Request], capacity: u64, seed: u64) -> Vec<usize> {
    let mut seeded = Seeded(seed);
    let mut order: Vec<usize> = (0..requests.len()).collect();
    (1..order.len()).rev().for_each(|at| order.swap(at, seeded.below(at as u64 + 1) as usize));
    let mut asked = 0;
    let enough = order.iter().position(|row| {
        asked += u64::from(requests[*row].amount());
        asked as f64 >= 1.3 * capacity as f64
    });
    order.truncate(enough.map_or(order.len(), |at| at + 1));
    while (asked as f64) < 1.3 * capacity as f64 {
        let row = seeded.below(requests.len() as u64) as usize;
        asked += u64::from(requests[row].amount());
        order.push(row);
    }
    order
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: &str| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default.to_string(), Clone::clone)
    };
    let data = arguments.first().expect("the folder of the trace");
    let nodes = parse_nodes(&read(&format!("{data}/openb_node_list_gpu_node.csv.xz"))).expect("nodes");
    let custom = option("--pods", "");
    let path = if custom.is_empty() { format!("{data}/openb_pod_list_default.csv.xz") } else { custom.clone() };
    let shift = option("--shift", "");
    let requests = shifted(&parse_pods(&read(&path), &nodes.models).expect("pods").requests, &nodes.models, &shift);
    let demand = Demand::of(&requests);
    let capacity = Fleet::new(nodes.shapes.clone(), &nodes.machines, vec![]).capacity();
    let orders: Vec<Vec<usize>> = (42..47)
        .map(|seed| {
            if custom.is_empty() && shift.is_empty() {
                let text = read(&format!("{data}/orders/default-seed{seed}-tune1.3.idx.xz"));
                text.lines().map(|line| line.parse().expect("row")).collect()
            } else {
                synthetic_order(&requests, capacity, seed)
            }
        })
        .collect();
    let days: u32 = option("--days", "80").parse().expect("days");
    for name in option("--policies", "random,dotprod,packing,bestfit,fgd,ashlar,learning").split(',') {
        let started = Instant::now();
        let fleet = Fleet::new(nodes.shapes.clone(), &nodes.machines, vec![]);
        let course = Course {
            days,
            seed: option("--seed", "1").parse().expect("seed"),
            machines: option("--machines", "1500").parse().expect("machines"),
        };
        let ashlar = (name == "ashlar").then(|| Ashlar::knowing(&fleet, &demand, course, |_, _| ()));
        let learned = started.elapsed();
        for order in option("--orders", "file,cores-per-gpu,shuffled").split(',') {
            let nodes = ordered(&nodes, order);
            let mut sums = (0.0, 0.0, Duration::ZERO);
            for (at, arrivals) in orders.iter().enumerate() {
                let policy: Box<dyn Score> = match name {
                    "random" => Box::new(Random),
                    "dotprod" => Box::new(DotProd),
                    "packing" => Box::new(Packing),
                    "bestfit" => Box::new(BestFit),
                    "fgd" => Box::new(Fgd::new(&demand)),
                    "learning" => Box::new(Ashlar::learning(&fleet, course)),
                    _ => Box::new(ashlar.clone().expect("ashlar")),
                };
                let (full, over, spent) = run(Any(policy), &nodes, &requests, arrivals, 42 + at as u64);
                sums = (sums.0 + full, sums.1 + over, sums.2 + spent);
            }
            let runs = orders.len() as f64;
            let decisions: usize = orders.iter().map(Vec::len).sum();
            println!(
                "{name:8} {order:14} @100 {:6.2}  @130 {:6.2}  {:8.0} decisions/s  learned in {:.1} s",
                sums.0 / runs,
                sums.1 / runs,
                decisions as f64 / sums.2.as_secs_f64(),
                learned.as_secs_f64()
            );
        }
    }
}
