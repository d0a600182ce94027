//! What a supervisor writes down, and what a reader makes of it.
//!
//! One JSON object a line, appended by the supervisor alone; lines that are none are words of its for people. The first
//! entry is forced to disk, so that after a power cut a run is known to have begun; so is the last, after the node was
//! told: the word may reach a node that dies before it is in the log. Space for the last entry is reserved at the start: a full disk cannot swallow an exit
//! status.

use serde::{Deserialize, Serialize};
use spec::{EndCause, IsolationReport, Overstep, RankReport, RankState, RunId, RunPhase, RunReport, Span, StageTime, Time, Usage};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "entry")]
pub enum Entry {
    /// Always first. The three together name a process beyond doubt.
    Began {
        pid: u32,
        /// Clock ticks after boot, field 22 of `/proc/PID/stat`.
        start_time: u64,
        boot: String,
        at: Time,
    },
    Stage {
        stage: String,
        at: Time,
        /// `None` at the begin, set at the end.
        took: Option<Span>,
    },
    /// An environment is used whose modules are not compiled yet.
    Uncompiled {
        environment: String,
    },
    Isolation {
        report: IsolationReport,
    },
    Rank {
        rank: u32,
        state: RankState,
        pid: Option<u32>,
        at: Time,
    },
    /// The first rank executes the person's command.
    Running {
        at: Time,
    },
    Stopping {
        at: Time,
    },
    /// It holds more of a device than its part.
    Overstep {
        overstep: Overstep,
    },
    /// Always last.
    Ended {
        cause: EndCause,
        usage: Usage,
        at: Time,
    },
}

/// The supervisor's end of it.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// The last line was not written whole: the next entry must not be glued to it.
    torn: bool,
}

/// Room for the longest entries: isolation marks and an end cause with a message.
const RESERVED: u64 = 32 * 1024;

impl Journal {
    pub fn open(path: &Path) -> io::Result<Journal> {
        let file = open_file(path)?;
        // Not every file system can; then a full disk is met by waiting for room instead.
        let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, RESERVED);
        let torn = std::fs::read(path)?.last().is_some_and(|byte| *byte != b'\n');
        Ok(Journal { file, torn })
    }

    pub fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = if self.torn { vec![b'\n'] } else { vec![] };
        serde_json::to_writer(&mut line, entry)?;
        line.push(b'\n');
        self.torn = true;
        self.file.write_all(&line)?;
        self.torn = false;
        Ok(())
    }

    /// Forces to disk what was written.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }
}

/// The file for appending, made when it is not there.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// What the supervisor said between the entries; `None` when nothing.
pub(crate) fn words(path: &Path) -> Option<String> {
    let text = std::fs::read(path).ok()?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let words: Vec<_> = lines
        .filter(|line| serde_json::from_slice::<Entry>(line).is_err())
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    (!words.is_empty()).then(|| words.join("\n"))
}

/// The entries of a journal file in order; none when it is missing. A torn last line is ignored: it was never
/// acted upon.
///
/// # Errors
/// The file cannot be read, or holds bytes that nobody writes and does not say whether the run began. Neither is a run
/// that did not begin.
pub fn read_journal(path: &Path) -> io::Result<Vec<Entry>> {
    match std::fs::read(path) {
        Ok(text) => {
            let entries = parse(&text);
            let foreign = || text.contains(&0) || std::str::from_utf8(&text).is_err();
            if !matches!(entries.first(), Some(Entry::Began { .. })) && foreign() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its beginning is damaged"));
            }
            Ok(entries)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(error),
    }
}

fn parse(text: &[u8]) -> Vec<Entry> {
    text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// What the entries say about the run. A pure fold, so that a supervisor, a node just started and a test
/// arrive at the same report.
pub(crate) fn report(run: RunId, ranks: u32, entries: &[Entry]) -> RunReport {
    let mut report = RunReport {
        run,
        phase: RunPhase::Starting,
        started: None,
        ended: None,
        ranks: (0..ranks).map(|rank| RankReport { rank, state: RankState::Waiting, pid: None }).collect(),
        isolation: None,
        stages: vec![],
        usage: None,
        overstep: None,
    };
    for entry in entries {
        fold(&mut report, entry);
    }
    report
}

fn fold(report: &mut RunReport, entry: &Entry) {
    match entry {
        Entry::Began { .. } | Entry::Uncompiled { .. } => {}
        Entry::Stage { stage, at, took: None } => report.stages.push(StageTime { stage: stage.clone(), began: *at, took: None }),
        Entry::Stage { stage, took, .. } => {
            if let Some(open) = report.stages.iter_mut().rev().find(|s| s.stage == *stage) {
                open.took = *took;
            }
        }
        Entry::Isolation { report: isolation } => report.isolation = Some(isolation.clone()),
        Entry::Rank { rank, state, pid, .. } => {
            if let Some(slot) = report.ranks.get_mut(*rank as usize) {
                slot.state = *state;
                slot.pid = matches!(state, RankState::Running).then_some(*pid).flatten();
            }
        }
        Entry::Running { at } => {
            report.started.get_or_insert(*at);
            report.phase = RunPhase::Running;
        }
        Entry::Stopping { .. } => report.phase = RunPhase::Stopping,
        Entry::Overstep { overstep } => report.overstep = Some(overstep.clone()),
        Entry::Ended { cause, usage, at } => {
            report.phase = RunPhase::Ended(cause.clone());
            report.usage = Some(*usage);
            report.ended = Some(*at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::JobId;

    fn run() -> RunId {
        RunId { job: JobId::new(7), attempt: 1 }
    }

    fn story() -> Vec<Entry> {
        vec![
            Entry::Began { pid: 10, start_time: 99, boot: "b".into(), at: Time(1) },
            Entry::Stage { stage: "container".into(), at: Time(2), took: None },
            Entry::Stage { stage: "container".into(), at: Time(5), took: Some(Span(3)) },
            Entry::Rank { rank: 0, state: RankState::Running, pid: Some(44), at: Time(5) },
            Entry::Running { at: Time(5) },
            Entry::Rank { rank: 0, state: RankState::Exited { code: 3 }, pid: None, at: Time(9) },
            Entry::Ended { cause: EndCause::Exit { rank: 0, code: 3 }, usage: Usage::default(), at: Time(9) },
        ]
    }

    #[test]
    fn a_story_becomes_a_report() {
        let report = report(run(), 2, &story());
        assert_eq!(report.phase, RunPhase::Ended(EndCause::Exit { rank: 0, code: 3 }));
        assert_eq!((report.started, report.ended), (Some(Time(5)), Some(Time(9))));
        assert_eq!(report.ranks[0].state, RankState::Exited { code: 3 });
        assert_eq!(report.ranks[1].state, RankState::Waiting);
        assert_eq!(report.stages[0].took, Some(Span(3)));
    }

    #[test]
    fn a_torn_last_line_is_ignored_wherever_it_tears() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        for entry in story() {
            journal.write(&entry).unwrap();
        }
        let text = std::fs::read(&path).unwrap();
        assert_eq!(parse(&text), story());
        let whole_but_last = story().len() - 1;
        let last_line = text[..text.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
        for cut in last_line..text.len() - 1 {
            assert_eq!(parse(&text[..cut]).len(), whole_but_last, "cut at {cut}");
        }
    }

    #[test]
    fn an_entry_after_a_torn_line_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, b"{\"entry\":\"en").unwrap();
        let mut journal = Journal::open(&path).unwrap();
        for entry in story() {
            journal.write(&entry).unwrap();
        }
        assert_eq!(read_journal(&path).unwrap(), story());
    }

    #[test]
    fn words_between_the_entries_are_for_people() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(words(&path), None);
        for entry in story() {
            journal.write(&entry).unwrap();
            writeln!(open_file(&path).unwrap(), "word").unwrap();
        }
        assert_eq!(read_journal(&path).unwrap(), story());
        assert_eq!(words(&path).unwrap().lines().count(), story().len());
    }

    #[test]
    fn a_damaged_journal_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert!(read_journal(dir.path()).is_err(), "what cannot be read");
        let began = serde_json::to_vec(&story()[0]).unwrap();
        let whole = [began.as_slice(), b"\n"].concat();
        let cases: [(&[u8], Option<usize>); 6] = [
            (b"", Some(0)),
            (b"a word of the supervisor\n", Some(0)),
            // Torn before it was forced to disk, so never acted upon.
            (&began[..began.len() - 3], Some(0)),
            (&[0; 64], None),
            (&[&[0xff; 8], b"\n".as_slice()].concat(), None),
            // What comes after the begin says at worst too little, and then the run is told as lost.
            (&[&whole, [0; 64].as_slice()].concat(), Some(1)),
        ];
        for (text, entries) in cases {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_journal(&path).ok().map(|found| found.len()), entries, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_missing_journal_is_an_empty_one() {
        assert_eq!(read_journal(Path::new("/nonexistent/journal")).unwrap(), vec![]);
    }
}
