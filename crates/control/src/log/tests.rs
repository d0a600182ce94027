use super::*;
use crate::access::tests::person;
use crate::views::{sample_job, sample_spec};
use cluster::{Job, JobState};
use proptest::prelude::*;
use spec::JobId;
use std::sync::Arc;

/// The simplest state there is: what was applied.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
struct Seen(Vec<Command>);

impl Replay for Seen {
    fn fresh() -> Seen {
        Seen::default()
    }
    fn parse(text: &str) -> Result<Seen, Unusable> {
        if text.contains("of-tomorrow") {
            return Err(Unusable::TooNew { found: 9, ours: 1 });
        }
        serde_json::from_str(text).map_err(|error| Unusable::Damaged(error.to_string()))
    }
    fn replay(&mut self, command: &Command) -> Result<(), String> {
        self.0.push(command.clone());
        Ok(())
    }
}

fn record(number: u64) -> Command {
    let spec = Arc::new(sample_spec(&format!("job-{number}")));
    Command::Submit { number, spec, owner: person(1000), key: Some(format!("k{number}")), ended: vec![], at: Time(1000 + number) }
}

fn records(range: std::ops::RangeInclusive<u64>) -> Vec<Command> {
    range.map(record).collect()
}

fn open(dir: &Path) -> (Log, Recovered<Seen>) {
    let mut log = Log::open(dir).unwrap();
    let found = log.recover().unwrap();
    (log, found)
}

fn sql(dir: &Path, text: &str) {
    Connection::open(dir.join(FILE_NAME)).unwrap().execute_batch(text).unwrap();
}

#[test]
fn what_was_committed_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, found) = open(dir.path());
    assert_eq!((found.state, found.last, found.replayed), (Seen::default(), Time(0), 0));
    log.commit(&records(1..=3), &[]).unwrap();
    log.commit(&[Command::Wake { at: Time(9000) }], &[]).unwrap();
    drop(log);
    let (log, found) = open(dir.path());
    assert_eq!(found.state.0.len(), 4);
    assert_eq!(found.state.0[..3], records(1..=3));
    assert_eq!((found.last, found.replayed, log.seq()), (Time(9000), 4, 4));
    assert!(found.damage.is_empty());
}

#[test]
fn a_saved_state_spares_the_records_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    log.commit(&records(1..=5), &[]).unwrap();
    assert!(!log.checkpoint_due(0));
    for upto in 1..=5 {
        log.commit(&records(upto + 5..=upto + 5), &[]).unwrap();
        log.checkpoint(&Seen(records(1..=upto + 5))).unwrap();
        log.checkpoint(&Seen(vec![])).unwrap(); // nothing new: not written again
    }
    log.commit(&records(11..=12), &[]).unwrap();
    let (_, found) = open(dir.path());
    assert_eq!(found.state.0, records(1..=12));
    assert_eq!(found.replayed, 2);
    let kept: u32 = log.db.query_row("SELECT count(*) FROM checkpoint", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, CHECKPOINTS_KEPT);
}

#[test]
fn a_checkpoint_is_due_by_records_and_by_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    log.commit(&records(1..=CHECKPOINT_EVERY), &[]).unwrap();
    assert!(log.checkpoint_due(10));
    assert!(!log.checkpoint_due(5000));
}

#[test]
fn damaged_states_fall_back_to_older_ones_and_to_all_records() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    for upto in [2, 4] {
        log.commit(&records(upto - 1..=upto), &[]).unwrap();
        log.checkpoint(&Seen(records(1..=upto))).unwrap();
    }
    drop(log);
    sql(dir.path(), "UPDATE checkpoint SET state = '[]' WHERE seq = 4");
    let (_, found) = open(dir.path());
    assert_eq!((found.state.0.len(), found.replayed, found.damage.len()), (4, 2, 1));
    sql(dir.path(), "UPDATE checkpoint SET sum = x'00'");
    let (_, found) = open(dir.path());
    assert_eq!((found.state.0.len(), found.replayed, found.damage.len()), (4, 4, 2));
}

#[test]
fn a_state_of_a_newer_release_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    log.commit(&records(1..=2), &[]).unwrap();
    log.checkpoint(&Seen(records(1..=2))).unwrap();
    log.commit(&records(3..=3), &[]).unwrap();
    log.checkpoint(&"of-tomorrow").unwrap();
    drop(log);
    let refused = Log::open(dir.path()).unwrap().recover::<Seen>().unwrap_err();
    assert!(matches!(refused, LogError::Version { .. }) && refused.hint().unwrap().contains("newer"), "{refused}");
}

#[test]
fn a_state_that_cannot_be_saved_is_not_tried_at_every_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    log.commit(&records(1..=CHECKPOINT_EVERY), &[]).unwrap();
    sql(dir.path(), "ALTER TABLE checkpoint RENAME TO away");
    assert!(log.checkpoint_due(0) && log.checkpoint(&Seen(vec![])).is_err());
    assert!(!log.checkpoint_due(0));
    sql(dir.path(), "ALTER TABLE away RENAME TO checkpoint");
    log.commit(&records(CHECKPOINT_EVERY + 1..=2 * CHECKPOINT_EVERY), &[]).unwrap();
    assert!(log.checkpoint_due(0));
    log.checkpoint(&Seen(vec![])).unwrap();
    assert!(!log.checkpoint_due(0));
}

#[test]
fn the_newest_number_outlives_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    assert_eq!(log.newest_number().unwrap(), 0);
    log.commit(&records(1..=3), &[]).unwrap();
    sql(dir.path(), "UPDATE log SET record = '' WHERE seq = 3");
    drop(log);
    let (mut log, found) = open(dir.path());
    assert_eq!((found.state.0.len(), log.newest_number().unwrap()), (2, 3));
    log.commit(&[], &[ended(7, None, 1000, JobState::Succeeded)]).unwrap();
    assert_eq!(log.newest_number().unwrap(), 7, "nor is a number of the archive given again");
}

#[test]
fn old_records_go_once_no_saved_state_needs_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    let always = Time(i64::MAX as u64);
    log.commit(&records(1..=10), &[]).unwrap();
    assert_eq!(log.trim(always, 100).unwrap(), 0, "no state is saved");
    log.checkpoint(&Seen(records(1..=10))).unwrap();
    log.commit(&records(11..=12), &[]).unwrap();
    // Record n is of time 1000 + n.
    for (before, most, gone) in [(Time(1005), 100, 4), (Time(1005), 100, 0), (always, 3, 3), (always, 100, 3), (always, 100, 0)] {
        assert_eq!(log.trim(before, most).unwrap(), gone, "{before:?} {most}");
    }
    drop(log);
    let (mut log, found) = open(dir.path());
    assert_eq!((found.state.0, found.replayed), (records(1..=12), 2));
    assert!(found.damage.is_empty());
    // The newest record tells the time, so it stays even when a state stands for it.
    log.checkpoint(&Seen(records(1..=12))).unwrap();
    sql(dir.path(), "DELETE FROM checkpoint WHERE seq = 10");
    assert_eq!(log.trim(always, 100).unwrap(), 1);
    drop(log);
    let (log, found) = open(dir.path());
    assert_eq!((found.state.0.len(), found.last), (12, Time(1012)));
    drop(log);
    // Without the state that stands for them, a start with half of the records is no start.
    sql(dir.path(), "DELETE FROM checkpoint");
    let refused = Log::open(dir.path()).unwrap().recover::<Seen>().unwrap_err();
    assert!(matches!(refused, LogError::DamagedMiddle { .. }), "{refused}");
}

#[test]
fn forgotten_jobs_leave_with_their_record_and_give_their_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    let jobs: Vec<Job> = (1..=400).map(|number| ended(number, None, 1000, JobState::Succeeded)).collect();
    log.commit(&records(1..=400), &jobs).unwrap();
    let pair = [ended(500, Some(0), 1000, JobState::Succeeded), ended(500, Some(1), 1000, JobState::Failed)];
    log.commit(&[], &pair).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let size = |log: &Log| {
        log.db.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
        std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().len()
    };
    let before = size(&log);
    let numbers: Vec<u64> = (1..=399).collect();
    let forget = Command::Forget { numbers: numbers.clone(), at: Time(5000) };
    log.commit_batch(&Batch { records: vec![forget], forgotten: numbers, ..Batch::default() }).unwrap();
    assert!(!reader.remembers(7).unwrap() && reader.remembers(400).unwrap() && reader.remembers(500).unwrap());
    assert_eq!(reader.job(JobId::new(7)).unwrap(), None);
    log.checkpoint(&Seen(vec![])).unwrap();
    assert_eq!(log.trim(Time(5000), 1000).unwrap(), 400);
    log.shrink().unwrap();
    let after = size(&log);
    assert!(after * 3 < before, "{before} bytes became {after}");
}

#[test]
fn what_ended_first_is_found_by_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    let at = |number, task, end| Job { ended: Some(Time(end)), ..ended(number, task, 1000, JobState::Succeeded) };
    // Job 2 took long, and of the array one task did.
    let jobs = [at(1, None, 10), at(2, None, 90), at(3, Some(0), 20), at(3, Some(1), 80), at(4, None, 40)];
    log.commit(&[], &jobs).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.end_of_newest(1).unwrap(), Some(Time(90)));
    assert_eq!(reader.end_of_newest(5).unwrap(), Some(Time(10)));
    assert_eq!(reader.end_of_newest(6).unwrap(), None);
    assert_eq!(reader.ended_before(Time(50), 0, 10).unwrap(), [1, 4]);
    assert_eq!(reader.ended_before(Time(81), 1, 10).unwrap(), [3, 4]);
    assert_eq!(reader.ended_before(Time(1000), 0, 2).unwrap(), [1, 2]);
}

#[test]
fn a_damaged_last_record_is_set_aside_with_a_warning() {
    for damage in [
        "UPDATE log SET record = replace(record, 'job-3', 'job-X') WHERE seq = 3",
        "UPDATE log SET sum = x'0011' WHERE seq = 3",
        "UPDATE log SET at = at + 1 WHERE seq = 3",
        "UPDATE log SET record = x'ff00ff' WHERE seq = 3",
        "UPDATE log SET record = '' WHERE seq = 3",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        log.commit(&records(1..=3), &[]).unwrap();
        drop(log);
        sql(dir.path(), damage);
        let (mut log, found) = open(dir.path());
        assert_eq!(found.state.0, records(1..=2), "{damage}");
        assert!(found.damage[0].contains("record 3"), "{:?}", found.damage);
        let aside: u32 = log.db.query_row("SELECT count(*) FROM damaged WHERE seq = 3", [], |row| row.get(0)).unwrap();
        assert_eq!(aside, 1);
        // The log goes on from there.
        log.commit(&records(4..=4), &[]).unwrap();
        let (_, found) = open(dir.path());
        assert_eq!(found.state.0, [record(1), record(2), record(4)]);
        assert!(found.damage.is_empty());
    }
}

#[test]
fn a_damaged_or_missing_record_with_others_after_it_refuses_the_start() {
    for damage in [
        "UPDATE log SET record = replace(record, 'job-2', 'job-X') WHERE seq = 2",
        "DELETE FROM log WHERE seq = 2",
        "DELETE FROM log WHERE seq = 1",
        "UPDATE log SET sum = (SELECT sum FROM log WHERE seq = 3) WHERE seq = 2",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        log.commit(&records(1..=4), &[]).unwrap();
        drop(log);
        sql(dir.path(), damage);
        let mut log = Log::open(dir.path()).unwrap();
        let refused = log.recover::<Seen>().unwrap_err();
        assert!(matches!(refused, LogError::DamagedMiddle { .. }), "{damage}: {refused}");
        assert!(refused.hint().unwrap().contains("backup"));
    }
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), "certainly not a database, whatever it is ".repeat(50)).unwrap();
    let refused = Log::open(dir.path()).err().unwrap();
    assert!(matches!(refused, LogError::Corrupt { .. }), "{refused}");
    assert!(refused.hint().unwrap().contains(".recover"));
}

#[test]
fn the_quick_check_finds_a_broken_page() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    log.commit(&records(1..=200), &[]).unwrap();
    log.db.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    drop(log);
    quick_check(dir.path()).unwrap();
    let path = dir.path().join(FILE_NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    let third_from_the_end = bytes.len() - 3 * 4096;
    bytes[third_from_the_end..third_from_the_end + 64].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(quick_check(dir.path()), Err(LogError::Corrupt { .. })));
}

fn ended(number: u64, task: Option<u32>, uid: u32, state: JobState) -> Job {
    let mut job = sample_job(number, uid);
    job.id.task = task;
    (job.state, job.ended, job.exit_code) = (state, Some(Time(5000 + number)), Some(0));
    job
}

#[test]
fn ended_jobs_are_listed_newest_first_and_paged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    let mut jobs = vec![ended(1, None, 1000, JobState::Succeeded), ended(2, None, 1001, JobState::Failed)];
    jobs.extend((0..3).map(|task| ended(3, Some(task), 1000, if task == 1 { JobState::Failed } else { JobState::Succeeded })));
    jobs.push(ended(4, None, 1000, JobState::Cancelled));
    log.commit(&[], &jobs).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let ids = |filter: &Filter| reader.rows(filter).unwrap().iter().map(|row| row.id.to_string()).collect::<Vec<_>>();
    let all = Filter { limit: 10, ..Filter::default() };
    assert_eq!(ids(&all), ["4", "3.2", "3.1", "3.0", "2", "1"]);
    assert_eq!(ids(&Filter { limit: 2, ..all.clone() }), ["4", "3.2"]);
    assert_eq!(ids(&Filter { limit: 2, before: Some(JobId::task(3, 2)), ..all.clone() }), ["3.1", "3.0"]);
    assert_eq!(ids(&Filter { before: Some(JobId::task(3, 0)), uid: Some(1000), ..all.clone() }), ["1"]);
    assert_eq!(ids(&Filter { state: Some(JobState::Failed), ..all.clone() }), ["3.1", "2"]);
    assert_eq!(ids(&Filter { user: Some("bob".into()), queue: Some("default".into()), ..all.clone() }), ["2"]);
    assert_eq!(ids(&Filter { queue: Some("o'; DROP TABLE archive; --".into()), ..all }), [] as [&str; 0]);
    assert_eq!(reader.job(JobId::task(3, 1)).unwrap().unwrap(), jobs[3]);
    assert_eq!(reader.job(JobId::new(3)).unwrap(), None);
    assert_eq!(reader.tasks(3).unwrap().len(), 3);
    assert_eq!(log.archived_states(3).unwrap()[1], (JobId::task(3, 1), JobState::Failed));
    log.unarchive([JobId::task(3, 1)].into_iter()).unwrap();
    assert_eq!(reader.job(JobId::task(3, 1)).unwrap(), None);
}

#[test]
fn tasks_of_an_array_share_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    let large = std::sync::Arc::new(spec::JobSpec {
        env: [("BLOB".into(), "x".repeat(100_000))].into(),
        ..(*ended(3, Some(0), 1, JobState::Failed).spec).clone()
    });
    let jobs: Vec<Job> = (0..200).map(|task| Job { spec: large.clone(), ..ended(3, Some(task), 1000, JobState::Succeeded) }).collect();
    let (first, second) = jobs.split_at(100);
    log.commit(&[], first).unwrap();
    log.commit(&[], second).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    for task in [0, 99, 100, 199] {
        assert_eq!(reader.job(JobId::task(3, task)).unwrap().as_ref(), Some(&jobs[task as usize]));
    }
    let size: i64 = log.db.query_row("SELECT sum(length(record)) FROM archive_record", [], |row| row.get(0)).unwrap();
    assert!(size < 400_000, "{size} bytes for 200 tasks of 100 kB each");
    // One that an earlier release wrote has all in its own record.
    let whole = serde_json::to_string(&jobs[7]).unwrap();
    log.db.execute("UPDATE archive_record SET record = ?1 WHERE task = 7", [whole]).unwrap();
    log.db.execute("DELETE FROM archive_spec", []).unwrap();
    assert_eq!(reader.job(JobId::task(3, 7)).unwrap().as_ref(), Some(&jobs[7]));
    let torn = reader.job(JobId::task(3, 8)).unwrap_err();
    assert!(torn.to_string().contains("spec"), "{torn}");
}

#[test]
fn tokens_are_kept_by_their_hash() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    let token =
        Token { id: "a1".into(), hash: [7; 32], uid: 1000, user: "ada".into(), note: "laptop".into(), created: Time(1), expires: Time(2) };
    assert!(log.put_token(&token, 64).unwrap());
    assert!(log.put_token(&token, 64).is_err());
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.token("a1").unwrap(), Some(token.clone()));
    assert_eq!(reader.tokens().unwrap(), [token]);
    log.drop_token("a1").unwrap();
    assert_eq!(reader.token("a1").unwrap(), None);
}

#[test]
fn a_person_has_so_many_valid_tokens_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    let token = |id: &str, uid, created: u64| Token {
        id: id.into(),
        hash: [7; 32],
        uid,
        user: "ada".into(),
        note: "".into(),
        created: Time(created),
        expires: Time(created + 10),
    };
    for (id, uid, created, taken) in [
        ("a", 1000, 1, true),
        ("b", 1000, 2, true),
        ("c", 1000, 3, false),
        ("d", 1001, 3, true),
        ("e", 1000, 11, true),
        ("f", 1000, 11, false),
    ] {
        assert_eq!(log.put_token(&token(id, uid, created), 2).unwrap(), taken, "{id}");
    }
}

#[test]
fn opening_the_log_again_leaves_the_locks_of_the_open_one() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    log.commit(&records(1..=1), &[]).unwrap();
    let path = dir.path().join(FILE_NAME);
    let inode = format!(":{} ", std::fs::metadata(&path).unwrap().ino());
    let held = || std::fs::read_to_string("/proc/locks").unwrap().lines().filter(|line| line.contains(&inode)).count();
    if held() == 0 {
        eprintln!("skipped: the locks of this file system are not in /proc/locks");
        return;
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let (second, _) = open(dir.path());
    assert!(held() > 0, "whoever closes a file loses all its locks");
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(second);
    // Nobody takes the write-ahead log away while the first is in use.
    let outside =
        format!("import sqlite3; sqlite3.connect({:?}).execute('select count(*) from log').fetchone()", path.display().to_string());
    let _ = std::process::Command::new("python3").args(["-c", &outside]).status();
    log.commit(&records(2..=2), &[]).unwrap();
    assert_eq!(open(dir.path()).1.state.0.len(), 2);
}

/// A small file system of its own, gone at the end. `None` where we may not mount.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(what: &str) -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(dir.path()).output();
        if !mounted.is_ok_and(|done| done.status.success()) {
            eprintln!("skipped: {what}: only root may mount a small file system");
            return None;
        }
        Some(Disk(dir))
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        assert!(std::process::Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_said_and_what_was_answered_stays() {
    let Some(disk) = Disk::new("full disk") else { return };
    let dir = disk.0.path();
    let (mut log, _) = open(dir);
    let mut answered = 0;
    let failed = loop {
        match log.commit(&records(answered + 1..=answered + 20), &[]) {
            Ok(()) => answered += 20,
            Err(error) => break error,
        }
        assert!(answered < 100_000, "the disk never gets full");
    };
    assert!(matches!(failed, LogError::DiskFull { .. }), "{failed}");
    assert!(failed.may_pass() && failed.hint().unwrap().contains("room"));
    // Still full: the probe says so. With room again, all that was answered is there, and it goes on.
    assert!(log.probe().is_err() || log.commit(&records(answered + 1..=answered + 20), &[]).is_err());
    disk.remount("size=4m");
    let (mut log, found) = open(dir);
    assert_eq!(found.state.0, records(1..=answered));
    log.probe().unwrap();
    log.commit(&records(answered + 1..=answered + 1), &[]).unwrap();
}

#[test]
fn a_read_only_folder_is_said() {
    let Some(disk) = Disk::new("read-only folder") else { return };
    let (log, _) = open(disk.0.path());
    drop(log);
    disk.remount("ro");
    let refused = Log::open(disk.0.path()).err().unwrap();
    assert!(matches!(refused, LogError::ReadOnly { .. }), "{refused}");
    assert!(refused.hint().unwrap().contains("writable"));
    let refused = crate::lock::DirLock::take(disk.0.path()).unwrap_err();
    assert!(refused.hint().unwrap().contains("read-only"), "{refused}");
}

/// The files as a crash at this moment leaves them. The index file of the write-ahead log is made anew by whoever opens first.
fn crash(from: &Path, wal: impl FnOnce(Vec<u8>) -> Vec<u8>) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    std::fs::copy(from.join(FILE_NAME), to.path().join(FILE_NAME)).unwrap();
    let name = format!("{FILE_NAME}-wal");
    if let Ok(bytes) = std::fs::read(from.join(&name)) {
        std::fs::write(to.path().join(&name), wal(bytes)).unwrap();
    }
    to
}

fn wal_len(dir: &Path) -> usize {
    std::fs::metadata(dir.join(format!("{FILE_NAME}-wal"))).map_or(0, |data| data.len() as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_answered_batch_survives_a_crash_at_any_byte(sizes in prop::collection::vec(1u64..6, 1..7), torn in any::<prop::sample::Index>(), flip: bool) {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        let mut upto = 0;
        for (index, size) in sizes.iter().enumerate() {
            let (before, synced) = (upto, wal_len(dir.path()));
            upto += size;
            log.commit(&records(before + 1..=upto), &[ended(upto, None, 1000, JobState::Succeeded)]).unwrap();
            if index % 3 == 2 {
                log.checkpoint(&Seen(records(1..=upto))).unwrap();
            }
            // After the answer.
            let left = crash(dir.path(), |wal| wal);
            prop_assert_eq!(open(left.path()).1.state.0, records(1..=upto));
            prop_assert_eq!(Reader::open(left.path()).unwrap().job(JobId::new(upto)).unwrap().map(|job| job.id), Some(JobId::new(upto)));
            // In the middle of the write: any part of it may be missing, or be rubbish.
            let left = crash(dir.path(), |mut wal| {
                let at = synced + torn.index(wal.len() - synced);
                if flip {
                    wal[at] ^= 0x55;
                } else {
                    wal.truncate(at);
                }
                wal
            });
            let (_, found) = open(left.path());
            prop_assert!(found.state.0 == records(1..=before) || found.state.0 == records(1..=upto), "{} of {before}..{upto}", found.state.0.len());
            prop_assert!(found.damage.is_empty());
        }
    }
}
