//! Start-up and first page with many finished jobs, and what an idle daemon costs.
//!
//! ```text
//! cargo run --release -p control --example large_archive -- [JOBS [DIR]]
//! ```
//! The jobs go through the whole control plane (submit, place, run in a machine in memory, archive), then it
//! is stopped and started again.

#[path = "../tests/common/mod.rs"]
#[allow(dead_code)]
mod common;

use api::{JobQuery, SubmitItem};
use common::{World, job};
use spec::JobId;
use std::time::Instant;

/// Field of `/proc/self/status` in kilobytes.
fn kilobytes(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// User and system time of this process in ticks of 10 ms.
fn ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let jobs: u64 = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let place = arguments.get(1).map_or_else(|| std::env::current_dir().unwrap(), Into::into);
    let dir = tempfile::tempdir_in(place).unwrap();

    let start = Instant::now();
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    let mut submitted = 0;
    while submitted < jobs {
        let count = (jobs - submitted).min(500);
        let items = (0..count).map(|_| SubmitItem { spec: job("true"), key: None }).collect();
        let _ = client.submit_many(items).unwrap();
        submitted += count;
        while !client.wait(JobId::new(submitted), 60_000).unwrap().ended {}
    }
    while client.health().unwrap().live_jobs > 0 {
        std::thread::yield_now();
    }
    println!("{jobs} jobs through the control plane: {:.0} a second", jobs as f64 / start.elapsed().as_secs_f64());
    let size: u64 = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    println!("on disk: {} MB, {} bytes a job", size >> 20, size / jobs);
    drop(client);
    drop(world);

    let start = Instant::now();
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    client.health().unwrap();
    println!("start-up: {:.0} ms", start.elapsed().as_secs_f64() * 1000.0);
    let timed = |what: &str, query: JobQuery| {
        let start = Instant::now();
        let page = client.jobs(&query).unwrap();
        println!("{what}: {:.1} ms, {} jobs", start.elapsed().as_secs_f64() * 1000.0, page.jobs.len());
    };
    timed("first page", JobQuery::default());
    timed("first page again", JobQuery::default());
    timed("a page from the middle", JobQuery { before: Some(JobId::new(jobs / 2)), ..JobQuery::default() });
    timed("failed jobs (there are none)", JobQuery { state: Some("failed".into()), ..JobQuery::default() });
    timed("a queue without jobs", JobQuery { queue: Some("none".into()), ..JobQuery::default() });
    // Let the background check end, so that only idling is measured.
    std::thread::sleep(std::time::Duration::from_secs(5));
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_secs(10));
    println!("idle for 10 s: {} ms of processor time, {} MB resident", (ticks() - before) * 10, kilobytes("VmRSS") >> 10);
}
