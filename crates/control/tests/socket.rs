//! The whole control plane over its socket, with a machine in memory.

mod common;
mod retention;

use api::{Client, ClientError, ErrorKind, JobQuery, LogRequest, PlanVerdict, SubmitItem, SubmitResult, TokenRequest};
use common::{World, job, machine as computer};
use control::StartError;
use spec::JobId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

fn kind(error: &ClientError) -> ErrorKind {
    error.kind()
}

#[test]
fn a_job_goes_all_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    let id = client.submit(job("true"), Some("once".into())).unwrap();
    assert_eq!(client.submit(job("true"), Some("once".into())).unwrap(), id, "the same key is the same job");
    let done = client.wait(id, 30_000).unwrap();
    assert!(done.ended);
    assert_eq!((done.job.state.as_str(), done.job.exit_code), ("succeeded", Some(0)));
    let shown = client.job(id).unwrap();
    assert_eq!((shown.runs.len(), shown.runs[0].state.as_str()), (1, "ended"));
    let why = client.why(id).unwrap();
    assert!(why.reasons.is_empty() && why.outcome.is_some());
    assert_eq!(kind(&client.cancel(id, false).unwrap_err()), ErrorKind::Conflict);
    let ask = LogRequest { job: id, attempt: None, rank: 0, offset: 7, max: 2, wait_ms: 0 };
    let piece = client.logs(&ask).unwrap();
    assert_eq!((piece.chunk.offset, piece.chunk.data.as_slice(), piece.chunk.ended), (7, b"of".as_slice(), false));
    assert_eq!(piece.run.unwrap().to_string(), format!("{id}-1"));
    let wrong = client.logs(&LogRequest { rank: 1, ..ask }).unwrap_err();
    assert!(wrong.to_string().contains("no rank 1"), "{wrong}");
    assert_eq!(kind(&client.logs(&LogRequest { attempt: Some(4), ..ask }).unwrap_err()), ErrorKind::Input);
    assert_eq!(kind(&client.job(JobId::new(999)).unwrap_err()), ErrorKind::NotFound);
}

#[test]
fn waiting_and_cancelling() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    let mut big = job("sleep");
    big.cpus = machine::CpuShare::whole(4);
    let first = client.submit(big.clone(), None).unwrap();
    let second = client.submit(big.clone(), None).unwrap();
    let mut followed = client.follow(first, None, 0).unwrap();
    while followed.job.row.state != "running" {
        followed = client.follow(first, Some(&followed.mark), 30_000).unwrap();
        assert!(followed.changed);
    }
    let why = client.why(second).unwrap();
    assert_eq!(why.state, "waiting");
    assert!(!why.reasons.is_empty() && !why.reasons[0].text.is_empty());
    assert!(why.reasons[0].held_by[0].contains("test"), "{why:?}");
    let waited = client.wait(second, 1).unwrap();
    assert!(!waited.ended);
    let plan = client.plan(big.clone()).unwrap();
    assert_eq!(plan.verdict, PlanVerdict::Waits);
    big.cpus = machine::CpuShare::whole(400);
    assert_eq!(client.plan(big).unwrap().verdict, PlanVerdict::Never);
    let held = client.machine().unwrap().held;
    assert_eq!((held.len(), held[0].grant.cpus().len()), (1, 4));
    let queues = client.queues().unwrap();
    assert_eq!((queues[0].queue.name.as_str(), queues[0].running, queues[0].waiting), ("default", 1, 1));
    for id in [second, first] {
        client.cancel(id, false).unwrap();
        let done = client.wait(id, 30_000).unwrap();
        assert_eq!((done.job.state.as_str(), done.job.exit_code), ("cancelled", Some(130)));
    }
}

#[test]
fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| {});
    let (ended, running) = {
        let client = world.client();
        let ended = client.submit(job("true"), None).unwrap();
        assert!(client.wait(ended, 30_000).unwrap().ended);
        (ended, client.submit(job("sleep"), None).unwrap())
    };
    drop(world);
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    assert_eq!(client.job(ended).unwrap().row.state, "succeeded");
    assert!(client.job(running).unwrap().row.ended.is_none());
    assert_eq!(client.submit(job("true"), None).unwrap().number, running.number + 1);
    let page = client.jobs(&JobQuery { limit: Some(2), ..JobQuery::default() }).unwrap();
    assert_eq!(page.jobs.iter().map(|row| row.id.number).collect::<Vec<_>>(), [3, 2]);
    let rest = client.jobs(&JobQuery { before: page.next, ..JobQuery::default() }).unwrap();
    assert_eq!((rest.jobs[0].id, rest.next), (ended, None));
    assert_eq!(client.health().unwrap().alarms, []);
}

#[test]
fn a_client_outlives_a_restart_of_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    let id = client.submit(job("true"), None).unwrap();
    drop(world);
    assert!(matches!(client.health().unwrap_err(), ClientError::NoNode(_) | ClientError::Lost(_)));
    let _world = World::start(dir.path(), |_| {});
    assert_eq!(client.wait(id, 30_000).unwrap().job.state, "succeeded");
}

#[test]
fn a_clock_that_steps_back_reorders_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wall = Arc::new(AtomicU64::new(1_800_000_000_000));
    let source = |wall: &Arc<AtomicU64>| {
        let (wall, start) = (wall.clone(), Instant::now());
        control::Source { wall: Box::new(move || wall.load(Relaxed)), monotonic: Box::new(move || start.elapsed()) }
    };
    let clock = source(&wall);
    let world = World::start(dir.path(), |options| options.clock = clock);
    let first = world.client().submit(job("true"), None).unwrap();
    let done = world.client().wait(first, 30_000).unwrap().job;
    wall.fetch_sub(3_600_000, Relaxed);
    let client = world.client();
    let second = client.submit(job("true"), None).unwrap();
    let later = client.wait(second, 30_000).unwrap().job;
    assert!(later.submitted >= done.ended.unwrap_or(done.submitted).max(done.submitted));
    assert!(client.health().unwrap().alarms.iter().any(|alarm| alarm.kind == "clock"));
    drop(world);
    // Nor does a restart.
    let clock = source(&wall);
    let world = World::start(dir.path(), |options| options.clock = clock);
    assert!(world.client().health().unwrap().now >= later.submitted);
}

#[test]
fn arrays_are_shown_and_waited_for_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    let mut array = job("true");
    array.array = Some(spec::Array { ranges: vec![(0, 9)], at_once: Some(3) });
    let id = client.submit(array.clone(), None).unwrap();
    let done = client.wait(id, 30_000).unwrap();
    assert_eq!((done.ended, done.job.id, done.job.state.as_str(), done.job.exit_code), (true, id, "succeeded", Some(0)));
    let shown = client.job(id).unwrap();
    assert_eq!((shown.tasks.len(), shown.tasks[9].id), (10, JobId::task(id.number, 9)));
    assert_eq!(client.job(JobId::task(id.number, 4)).unwrap().row.state, "succeeded");
    let mut after = job("true");
    after.after = vec![spec::Dependency { job: id, condition: spec::DependencyCondition::Ok }];
    let after = client.submit(after, None).unwrap();
    assert_eq!(client.wait(after, 30_000).unwrap().job.state, "succeeded");
    let live = client.jobs(&JobQuery { state: Some("live".into()), ..JobQuery::default() }).unwrap();
    assert!(live.jobs.is_empty());
    let page = client.jobs(&JobQuery { state: Some("succeeded".into()), limit: Some(5), ..JobQuery::default() }).unwrap();
    assert_eq!((page.jobs.len(), page.next), (5, Some(page.jobs[4].id)));
}

#[test]
fn wrong_requests_get_words_and_a_kind() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    let mut lost = job("true");
    lost.queue = Some("nowhere".into());
    let mut orphan = job("true");
    orphan.after = vec![spec::Dependency { job: JobId::new(77), condition: spec::DependencyCondition::Ok }];
    let mut broken = job("true");
    broken.ranks = 0;
    let items = [lost, orphan, broken, job("true")].map(|spec| SubmitItem { spec, key: None });
    let results = client.submit_many(items.to_vec()).unwrap().results;
    for (result, words) in results.iter().zip(["nowhere", "77", "rank"]) {
        let SubmitResult::Refused(body) = result else { panic!("{result:?}") };
        assert!(body.kind == ErrorKind::Input && body.message.contains(words), "{body:?}");
    }
    assert!(matches!(results[3], SubmitResult::Accepted(_)));
    let many = vec![SubmitItem { spec: job("true"), key: None }; api::SUBMIT_MAX_JOBS + 1];
    assert_eq!(kind(&client.submit_many(many).unwrap_err()), ErrorKind::Input);
    let page = JobQuery { state: Some("sleeping".into()), ..JobQuery::default() };
    assert!(client.jobs(&page).unwrap_err().to_string().contains("there are: waiting"));
}

#[test]
fn a_second_node_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| {});
    let refused = World::alone(dir.path()).err().unwrap();
    assert!(refused.to_string().contains(&format!("pid {}", std::process::id())), "{refused}");
    assert!(refused.hint().is_some());
    assert!(world.client().health().unwrap().accepting, "the first is not disturbed");
}

#[test]
fn tls_needs_the_right_token_and_the_right_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |options| options.tcp = Some(([127, 0, 0, 1], 0).into()));
    let (address, fingerprint) = world.control().tcp().unwrap();
    let url = format!("https://{address}");
    let made = world.client().make_token(&TokenRequest { note: "test".into(), ..TokenRequest::default() }).unwrap();
    assert_eq!(made.fingerprint.as_deref(), Some(fingerprint.as_str()));
    let remote = Client::connect_tls(&url, &made.token, &fingerprint).unwrap();
    let more = remote.make_token(&TokenRequest { days: Some(3650), ..TokenRequest::default() }).unwrap_err();
    assert_eq!(kind(&more), ErrorKind::Denied, "a token would outlive itself");
    assert!(more.hint().unwrap().contains("on the machine"), "{more}");
    let id = remote.submit(job("true"), None).unwrap();
    assert_eq!(remote.wait(id, 30_000).unwrap().job.user, made.user);
    let rows = remote.tokens().unwrap();
    assert_eq!((rows.len(), rows[0].note.as_str()), (1, "test"));

    let other = format!("sha256:{}", "0".repeat(64));
    let refused = Client::connect_tls(&url, &made.token, &other).err().unwrap();
    assert!(matches!(&refused, ClientError::OtherCertificate { found, .. } if *found == fingerprint), "{refused}");
    let wrong = made.token.replace(&made.token[made.token.len() - 4..], "0000");
    for token in ["", "nonsense", wrong.as_str()] {
        let error = Client::connect_tls(&url, token, &fingerprint).unwrap().health().unwrap_err();
        assert!(kind(&error) == ErrorKind::Denied || wrong == made.token, "{error}");
    }
    remote.revoke_token(&made.id).unwrap();
    assert_eq!(kind(&remote.health().unwrap_err()), ErrorKind::Denied);
    // No plain HTTP on that port.
    let mut plain = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut plain, b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut reply = vec![];
    let _ = std::io::Read::read_to_end(&mut plain, &mut reply);
    assert!(!reply.starts_with(b"HTTP"), "{:?}", String::from_utf8_lossy(&reply));
}

#[test]
fn queues_are_read_from_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queues.yaml");
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    std::fs::write(&file, "queues:\n  - name: default\n  - name: lab\n    weight: 3\n    users: [nobody-here]\n").unwrap();
    let queues = client.reload_queues().unwrap();
    assert_eq!(queues.iter().map(|queue| queue.queue.name.as_str()).collect::<Vec<_>>(), ["default", "lab"]);
    std::fs::write(&file, "queues: [").unwrap();
    assert_eq!(kind(&client.reload_queues().unwrap_err()), ErrorKind::Input);
    assert_eq!(client.queues().unwrap().len(), 2, "a broken file changes nothing");
}

#[test]
fn a_mistake_in_the_queue_file_keeps_no_node_down() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queues.yaml");
    std::fs::write(&file, "queues: [").unwrap();
    assert!(matches!(World::alone(dir.path()), Err(StartError::Queues(_))), "nothing was set up yet");
    let lab = "queues:\n  - name: default\n  - name: lab\n";
    std::fs::write(&file, lab).unwrap();
    let world = World::start(dir.path(), |_| {});
    let mut waits = job("sleep");
    waits.queue = Some("lab".into());
    world.client().submit(waits, None).unwrap();
    drop(world);
    for broken in ["queues: [", "queues:\n  - name: default\n    groups: [no-such-group-here]\n", "queues:\n  - name: default\n"] {
        std::fs::write(&file, broken).unwrap();
        let world = World::start(dir.path(), |_| {});
        let client = world.client();
        assert_eq!(client.queues().unwrap().len(), 2, "{broken}");
        let alarms = client.health().unwrap().alarms;
        assert!(alarms.iter().any(|alarm| alarm.kind == "queues" && alarm.hint.is_some()), "{broken}: {alarms:?}");
        assert!(client.reload_queues().is_err());
        std::fs::write(&file, lab).unwrap();
        client.reload_queues().unwrap();
        assert!(client.health().unwrap().alarms.is_empty());
    }
}

/// Writing fails while the table is away; it costs no full disk.
fn outage(dir: &std::path::Path, begins: bool) {
    let sql = if begins { "ALTER TABLE log RENAME TO away" } else { "ALTER TABLE away RENAME TO log" };
    rusqlite::Connection::open(dir.join("log.db")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_machine_that_joins_while_nothing_can_be_written_is_taken_in_later() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::without_machine(dir.path(), |_| {});
    let client = world.client();
    outage(dir.path(), true);
    assert_eq!(kind(&client.submit(job("true"), None).unwrap_err()), ErrorKind::Unavailable);
    world.control().join(computer(4)).unwrap_err();
    outage(dir.path(), false);
    let end = Instant::now() + Duration::from_secs(30);
    let id = loop {
        match client.submit(job("true"), None) {
            Ok(id) => break id,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::yield_now();
    };
    assert_eq!(client.wait(id, 30_000).unwrap().job.state, "succeeded");
}

#[test]
fn a_machine_that_went_away_can_be_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| {});
    let client = world.client();
    let held = client.submit(job("sleep"), None).unwrap();
    while client.job(held).unwrap().row.state != "running" {
        std::thread::yield_now();
    }
    let there = client.remove_machine("m1").unwrap_err();
    assert_eq!((kind(&there), there.to_string().contains("m1")), (ErrorKind::Conflict, true), "{there}");
    let known = client.health().unwrap().known_machines;
    assert!(known.len() == 1 && known[0].connected && known[0].accepts && known[0].runs == 1, "{known:?}");
    drop(client);
    drop(world);
    // The same log, and the machine does not come back.
    let world = World::without_machine(dir.path(), |_| {});
    let client = world.client();
    let known = client.health().unwrap().known_machines;
    assert!(known.len() == 1 && !known[0].connected && !known[0].accepts && known[0].runs == 1, "{known:?}");
    assert_eq!(kind(&client.remove_machine("m7").unwrap_err()), ErrorKind::NotFound);
    assert_eq!(client.remove_machine("box").unwrap().lost.len(), 1, "by its host name");
    let ended = client.wait(held, 30_000).unwrap().job;
    assert_eq!((ended.state.as_str(), ended.exit_code), ("failed", Some(125)));
    assert!(client.health().unwrap().known_machines.is_empty());
}

/// A small file system of its own. `None` where we may not mount.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let option = format!("size={size}");
        let done = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &option, "none"]).arg(dir.path()).output();
        if !done.is_ok_and(|done| done.status.success()) {
            eprintln!("skipped: only root may mount a small file system");
            return None;
        }
        Some(Disk(dir))
    }

    fn resize(&self, size: &str) {
        let option = format!("remount,size={size}");
        assert!(std::process::Command::new("mount").args(["-o", &option]).arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_and_the_node_recovers_by_itself() {
    let Some(disk) = Disk::new("2m") else { return };
    let world = World::start(disk.0.path(), |_| {});
    let client = world.client();
    let running = client.submit(job("sleep"), None).unwrap();
    let mut long = job("sleep");
    long.cpus = machine::CpuShare::whole(4);
    long.env.insert("TEXT".into(), "x".repeat(8000));
    let mut accepted = vec![];
    let refused = loop {
        match client.submit(long.clone(), None) {
            Ok(id) => accepted.push(id),
            Err(error) => break error,
        }
        assert!(accepted.len() < 10_000, "the disk never gets full");
    };
    assert_eq!(kind(&refused), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("full") && refused.hint().unwrap().contains("room"), "{refused}");
    let health = client.health().unwrap();
    assert!(!health.accepting && health.alarms.iter().any(|alarm| alarm.kind == "unavailable"), "{health:?}");
    assert_eq!(client.job(running).unwrap().row.state, "running", "what is committed is still shown");
    disk.resize("64m");
    let end = Instant::now() + Duration::from_secs(30);
    let next = loop {
        match client.submit(job("true"), None) {
            Ok(id) => break id,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::yield_now();
    };
    assert_eq!(next.number, accepted.last().unwrap_or(&running).number + 1, "no answered job is lost and no number is given twice");
    let health = client.health().unwrap();
    assert!(health.accepting && health.alarms.is_empty(), "{health:?}");
    client.cancel(running, false).unwrap();
    assert_eq!(client.wait(running, 30_000).unwrap().job.state, "cancelled", "the machine is still heard and told");
}

/// The part of the next test that runs as another user.
#[test]
#[ignore = "run by another_user_sees_nothing_of_it"]
fn as_another_user() {
    let Ok(socket) = std::env::var("ASHLAR_TEST_SOCKET") else { return };
    let client = Client::connect(std::path::Path::new(&socket)).unwrap();
    let theirs = JobId::new(1);
    for error in [
        client.job(theirs).unwrap_err(),
        client.why(theirs).unwrap_err(),
        client.wait(theirs, 1).unwrap_err(),
        client.follow(theirs, None, 1).unwrap_err(),
        client.cancel(theirs, true).unwrap_err(),
        client.logs(&LogRequest { job: theirs, attempt: None, rank: 0, offset: 0, max: 10, wait_ms: 0 }).unwrap_err(),
    ] {
        assert_eq!((kind(&error), error.to_string().as_str()), (ErrorKind::NotFound, "there is no job 1"));
    }
    assert!(client.jobs(&JobQuery::default()).unwrap().jobs.is_empty());
    assert_eq!(kind(&client.jobs(&JobQuery { all: true, ..JobQuery::default() }).unwrap_err()), ErrorKind::Denied);
    assert_eq!(kind(&client.reload_queues().unwrap_err()), ErrorKind::Denied);
    assert_eq!(kind(&client.remove_machine("m1").unwrap_err()), ErrorKind::Denied);
    let held = client.machine().unwrap().held;
    assert!(held.len() == 1 && held[0].user.is_none() && held[0].run.is_none());
    let mut after = job("true");
    after.after = vec![spec::Dependency { job: theirs, condition: spec::DependencyCondition::Any }];
    assert_eq!(kind(&client.submit(after, None).unwrap_err()), ErrorKind::Input);
    let mut big = job("sleep");
    big.cpus = machine::CpuShare::whole(4);
    let own = client.submit(big, None).unwrap();
    let why = client.why(own).unwrap();
    assert_eq!(why.reasons[0].held_by, ["another user's run"]);
    let named = TokenRequest { user: Some("root".into()), ..TokenRequest::default() };
    assert_eq!(kind(&client.make_token(&named).unwrap_err()), ErrorKind::Denied);
}

/// The part of the next test that dies.
#[test]
#[ignore = "run by a_writer_that_panics_ends_the_process"]
fn with_a_writer_that_panics() {
    if std::env::var_os("ASHLAR_TEST_PANIC").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |options| options.link.notify = Box::new(|_| panic!("on purpose")));
    let mut told = job("true");
    told.notify = Some(spec::Notify { on: vec![spec::NotifyOn::Succeeded], command: vec!["true".into()] });
    let _ = world.client().submit(told, None).and_then(|id| world.client().wait(id, 30_000));
}

#[test]
fn a_writer_that_panics_ends_the_process() {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "with_a_writer_that_panics", "--ignored"])
        .env("ASHLAR_TEST_PANIC", "1")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(4), "{}", String::from_utf8_lossy(&run.stderr));
}

/// The part of the next test that runs as a member of the admin group.
#[test]
#[ignore = "run by an_administrator_does_not_become_root"]
fn as_an_administrator() {
    let Ok(socket) = std::env::var("ASHLAR_TEST_SOCKET") else { return };
    let client = Client::connect(std::path::Path::new(&socket)).unwrap();
    assert_eq!(client.jobs(&JobQuery { all: true, ..JobQuery::default() }).unwrap().jobs.len(), 1, "an administrator sees all");
    for user in ["root", "daemon"] {
        let named = TokenRequest { user: Some(user.into()), ..TokenRequest::default() };
        assert_eq!(kind(&client.make_token(&named).unwrap_err()), ErrorKind::Denied);
    }
    client.make_token(&TokenRequest::default()).unwrap();
}

#[test]
fn an_administrator_does_not_become_root() {
    let Ok(Some(group)) = nix::unistd::Group::from_gid(65_534.into()) else {
        eprintln!("skipped: there is no group 65534");
        return;
    };
    let Some((world, words)) = with_another_user("as_an_administrator", 65_534, &group.name) else { return };
    assert!(words.contains("1 passed"), "{words}");
    let named = TokenRequest { user: Some("daemon".into()), ..TokenRequest::default() };
    assert_eq!(world.1.client().make_token(&named).unwrap().user, "daemon", "root may");
}

/// Runs an ignored test as another user beside a job of root's, and gives what it printed.
fn with_another_user(test: &str, gid: u32, admin_group: &str) -> Option<((tempfile::TempDir, World), String)> {
    use std::os::unix::process::CommandExt;
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root may become another user");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let world = World::start(dir.path(), |options| options.admin_group = admin_group.into());
    let client = world.client();
    assert_eq!(client.submit(job("sleep"), None).unwrap(), JobId::new(1));
    // A copy, because the folder of the build may be closed to others.
    let program = dir.path().join("test-program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let run = std::process::Command::new(&program)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("ASHLAR_TEST_SOCKET", world.control().socket())
        .current_dir("/")
        .uid(65_533)
        .gid(gid)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{words}");
    Some(((dir, world), words))
}

#[test]
fn another_user_sees_nothing_of_it() {
    let Some((world, words)) = with_another_user("as_another_user", 65_533, "no-such-group-here") else { return };
    assert!(words.contains("1 passed"), "{words}");
    let client = world.1.client();
    assert_eq!(client.jobs(&JobQuery { all: true, ..JobQuery::default() }).unwrap().jobs.len(), 2, "root sees both");
    assert_eq!(client.jobs(&JobQuery { user: Some("65533".into()), ..JobQuery::default() }).unwrap().jobs.len(), 1);
}
