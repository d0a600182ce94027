//! How many submissions a second become durable over the socket.
//!
//! ```text
//! cargo run --release -p control --example submit_rate -- [CLIENTS [JOBS-A-REQUEST [JOBS [DIR]]]]
//! ```
//! Every job is on disk, synced, before its client hears of it. The folder decides: on a memory file system
//! the figure says nothing about durability. As many plain writes, each synced alone to a file beside it, are the yardstick.

#[path = "../tests/common/mod.rs"]
#[allow(dead_code)]
mod common;

use api::{Client, SubmitItem, SubmitResult};
use common::{World, job};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (clients, batch, jobs) = (number(0, 16).max(1), number(1, 50).clamp(1, api::SUBMIT_MAX_JOBS), number(2, 20_000));
    let place = arguments.get(3).map_or_else(|| std::env::current_dir().unwrap(), Into::into);
    let dir = tempfile::tempdir_in(place).unwrap();

    let synced = one_by_one(dir.path());
    let world = World::alone(dir.path()).unwrap();
    let socket = world.control().socket();
    let each = jobs / clients;
    let start = Instant::now();
    let mut slowest: Vec<u128> = std::thread::scope(|scope| {
        let submit = || {
            let client = Client::connect(&socket).unwrap();
            let mut took = vec![];
            let mut left = each;
            while left > 0 {
                let size = left.min(batch);
                let items = (0..size).map(|_| SubmitItem { spec: job("true"), key: None }).collect();
                let sent = Instant::now();
                let reply = client.submit_many(items).unwrap();
                took.push(sent.elapsed().as_micros());
                assert!(reply.results.iter().all(|result| matches!(result, SubmitResult::Accepted(_))));
                left -= size;
            }
            took
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(submit)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let took = start.elapsed().as_secs_f64();
    slowest.sort_unstable();
    let rank = |permille: usize| slowest[(slowest.len() - 1) * permille / 1000] as f64 / 1000.0;
    let done = each * clients;
    let accepted = world.client().health().unwrap().live_jobs as usize;
    assert_eq!(accepted, done);
    println!("{done} durable submissions, {clients} clients, {batch} a request: {:.0} a second", done as f64 / took);
    println!("answer after {:.1} ms (median), {:.1} ms (99 %)", rank(500), rank(990));
    println!("yardstick: {synced:.0} plain synced writes a second on the same disk, one by one");
}

fn one_by_one(dir: &Path) -> f64 {
    let mut file = std::fs::File::create(dir.join("yardstick")).unwrap();
    let record = vec![b'x'; 1000];
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed().as_millis() < 500 {
        file.write_all(&record).and_then(|()| file.sync_data()).unwrap();
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}
