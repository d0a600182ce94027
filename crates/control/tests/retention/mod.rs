//! Finished jobs are forgotten, and nothing else is.

use crate::common::{World, job};
use api::{ErrorKind, JobQuery};
use control::{Options, Retention};
use spec::{Dependency, DependencyCondition, JobId, RunId, Span};
use std::sync::{Arc, Mutex};

type Runs = Arc<Mutex<Vec<RunId>>>;

/// Keeps two, at once, and writes down which first runs of jobs 1 to 20 a machine was told to drop.
fn keep_two(dropped: &Runs) -> impl FnOnce(&mut Options) {
    let dropped = dropped.clone();
    move |options| {
        options.retention = Retention { jobs: Some(2), age: None, fresh: Span::ZERO };
        options.link.forget = Box::new(move |remembered| {
            let runs = (1..=20).map(|number| RunId { job: JobId::new(number), attempt: 1 });
            *dropped.lock().unwrap() = runs.filter(|run| !remembered(*run)).collect();
        });
    }
}

fn numbers(client: &api::Client) -> Vec<u64> {
    client.jobs(&JobQuery::default()).unwrap().jobs.iter().map(|row| row.id.number).collect()
}

#[test]
fn what_is_over_and_not_needed_is_forgotten_and_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let dropped = Runs::default();
    let world = World::start(dir.path(), keep_two(&dropped));
    let client = world.client();
    for number in 1..=5 {
        let id = client.submit(job("true"), Some(format!("key {number}"))).unwrap();
        assert!(client.wait(id, 30_000).unwrap().ended);
    }
    let mut needs = job("sleep");
    needs.after = vec![Dependency { job: JobId::new(1), condition: DependencyCondition::Ok }];
    let live = client.submit(needs, None).unwrap();
    world.control().forget_old().unwrap();
    assert_eq!(numbers(&client), [6, 5, 4, 1], "two of five, the live one, and the one that it names");
    assert_eq!(client.job(JobId::new(2)).unwrap_err().kind(), ErrorKind::NotFound);
    let runs: Vec<String> = dropped.lock().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(runs, ["2-1", "3-1"], "what was never given out is not ours to remove");
    assert_eq!(client.submit(job("true"), Some("key 5".into())).unwrap(), JobId::new(5));
    assert_eq!(client.submit(job("sleep"), Some("key 5".into())).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(client.submit(job("true"), Some("key 2".into())).unwrap(), JobId::new(7), "its key is free again");
    assert!(client.wait(JobId::new(7), 30_000).unwrap().ended);
    drop(client);
    drop(world);

    // A daemon that died after the record and before the output was removed: the next one makes it good.
    dropped.lock().unwrap().clear();
    let world = World::start(dir.path(), keep_two(&dropped));
    let client = world.client();
    assert_eq!(numbers(&client), [7, 6, 5, 4, 1]);
    client.cancel(live, true).unwrap();
    assert!(client.wait(live, 30_000).unwrap().ended);
    world.control().forget_old().unwrap();
    assert_eq!(numbers(&client), [7, 6]);
    assert_eq!(dropped.lock().unwrap().len(), 5);
    assert_eq!(client.submit(job("true"), None).unwrap(), JobId::new(8), "numbers are never given out twice");
}

#[test]
fn a_daemon_killed_after_the_record_goes_on_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), keep_two(&Runs::default()));
    let client = world.client();
    for _ in 0..6 {
        let id = client.submit(job("true"), None).unwrap();
        assert!(client.wait(id, 30_000).unwrap().ended);
    }
    world.control().forget_old().unwrap();
    // What a kill at this moment leaves: the files, without the state that an orderly end saves.
    let copy = tempfile::tempdir().unwrap();
    for name in ["log.db", "log.db-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    drop(client);
    drop(world);
    let dropped = Runs::default();
    let world = World::start(copy.path(), keep_two(&dropped));
    assert_eq!(numbers(&world.client()), [6, 5]);
    world.control().forget_old().unwrap();
    assert_eq!(dropped.lock().unwrap().len(), 4, "the output of the four is looked for again");
    assert!(world.control().alarms().is_empty());
}

#[test]
fn all_means_all() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |options| options.retention = "all".parse().unwrap());
    let client = world.client();
    let id = client.submit(job("true"), None).unwrap();
    assert!(client.wait(id, 30_000).unwrap().ended);
    assert_eq!(world.control().forget_old().unwrap(), 0);
    assert_eq!(numbers(&client), [1]);
}
