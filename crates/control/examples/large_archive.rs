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
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use spec::JobId;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, dir, jobs] = arguments.as_slice()
        && flag == "--again"
    {
        return again(Path::new(dir), jobs.parse().unwrap());
    }
    let jobs: u64 = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let place = arguments.get(1).map_or_else(|| std::env::current_dir().unwrap(), Into::into);
    let dir = tempfile::tempdir_in(place).unwrap();
    fill(dir.path(), jobs);
    // In a process of its own, whose memory has not seen the jobs.
    let done = Command::new(std::env::current_exe().unwrap()).arg("--again").arg(dir.path()).arg(jobs.to_string()).status().unwrap();
    assert!(done.success());
}

fn fill(dir: &Path, jobs: u64) {
    let start = Instant::now();
    let world = World::start(dir, |_| {});
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
    let size: u64 = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    println!("on disk: {} MB, {} bytes a job", size >> 20, size / jobs);
}

/// Processor time of this process, and the most memory it had resident, in MB.
fn used() -> (Duration, i64) {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let time = usage.user_time() + usage.system_time();
    (Duration::from_micros(time.num_microseconds() as u64), usage.max_rss() >> 10)
}

fn again(dir: &Path, jobs: u64) {
    let start = Instant::now();
    let world = World::start(dir, |_| {});
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
    std::thread::sleep(Duration::from_secs(5));
    let before = used().0;
    std::thread::sleep(Duration::from_secs(10));
    let (after, resident) = used();
    println!("idle for 10 s: {:.1} ms of processor time; {resident} MB resident at most", (after - before).as_secs_f64() * 1000.0);
}
