//! Printing the output of a job while it is being written.

use crate::failure::Failure;
use crate::state::{Place, patiently};
use api::{Client, ClientError, JobRow, LogRequest};
use spec::{JobId, RunId};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;

/// Which output, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub job: JobId,
    pub attempt: Option<u32>,
    /// Wait for more until the run (or, without `attempt`, the job) has ended.
    pub follow: bool,
    /// Go on to the end of the job when nobody reads any more (`ashlar run ... | head`): its exit code still counts.
    pub unread: bool,
}

/// Bytes asked for at a time.
const PIECE: u32 = 1 << 20;
/// A line longer than this is printed in pieces: nobody's memory should depend on a job's newlines.
const LINE: usize = 64 << 10;

/// All ranks at once, each line with its rank in front where there are several.
pub fn print_ranks(place: &Place, wanted: Wanted, ranks: u32) -> Result<(), Failure> {
    if ranks <= 1 {
        return print_rank(&place.connect()?, wanted, 0, &mut print_now);
    }
    let out = Mutex::new(io::stdout());
    let results: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..ranks)
            .map(|rank| {
                let out = &out;
                scope.spawn(move || print_lines(place, wanted, rank, &rank.to_string(), out))
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap_or_else(|_| Err(Failure::internal("a reader of output failed")))).collect()
    });
    results.into_iter().collect()
}

/// Tasks of an array whose output is followed at a time; further ones are read when one of these has ended.
const TASKS_AT_ONCE: usize = 64;

/// Of an array with more tasks than this, the list is not asked for at every change.
const MANY_TASKS: usize = 1000;

/// All tasks of an array, each line with the task's index in front, and in gangs with the rank: `[3] ` or `[3:1] `.
pub fn print_tasks(place: &Place, wanted: Wanted, rank: Option<u32>) -> Result<(), Failure> {
    let client = place.connect()?;
    let out = Mutex::new(io::stdout());
    let mut waiting: VecDeque<(Wanted, u32, String)> = VecDeque::new();
    let mut known: BTreeSet<JobId> = BTreeSet::new();
    let mut seen: Option<String> = None;
    std::thread::scope(|scope| {
        let mut readers: Vec<std::thread::ScopedJoinHandle<'_, Result<(), Failure>>> = vec![];
        loop {
            let timeout = if !wanted.follow {
                0
            } else if waiting.is_empty() {
                api::WAIT_MAX_MS
            } else {
                200
            };
            let reply = patiently(|| client.follow(wanted.job, seen.as_deref(), timeout))?;
            let over = !wanted.follow || reply.job.row.ended.is_some();
            for task in reply.job.tasks.iter().filter(|task| task.started.is_some()) {
                if known.insert(task.id) {
                    let ranks = rank.map_or(0..task.ranks, |rank| rank..rank + 1);
                    let wanted = Wanted { job: task.id, ..wanted };
                    waiting.extend(ranks.map(|rank| (wanted, rank, name_of(task, rank))));
                }
            }
            seen = Some(reply.mark);
            while !waiting.is_empty() {
                // Without following, tasks come one after the other: each ends at once.
                let most = if wanted.follow { TASKS_AT_ONCE } else { 1 };
                let (ended, running): (Vec<_>, Vec<_>) = readers.into_iter().partition(|reader| reader.is_finished() || most == 1);
                readers = running;
                ended.into_iter().try_for_each(joined)?;
                if readers.len() >= most {
                    break;
                }
                if let Some((wanted, rank, name)) = waiting.pop_front() {
                    let out = &out;
                    readers.push(scope.spawn(move || print_lines(place, wanted, rank, &name, out)));
                }
            }
            if over && waiting.is_empty() {
                return readers.into_iter().try_for_each(joined);
            }
            if reply.job.tasks.len() > MANY_TASKS {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    })
}

fn joined(reader: std::thread::ScopedJoinHandle<'_, Result<(), Failure>>) -> Result<(), Failure> {
    reader.join().unwrap_or_else(|_| Err(Failure::internal("a reader of output failed")))
}

fn name_of(task: &JobRow, rank: u32) -> String {
    let index = task.id.task.unwrap_or_default();
    if task.ranks > 1 { format!("{index}:{rank}") } else { index.to_string() }
}

/// One rank, whole lines with a name in front, into what others write to as well.
fn print_lines(place: &Place, wanted: Wanted, rank: u32, name: &str, out: &Mutex<io::Stdout>) -> Result<(), Failure> {
    let mut lines = Lines::new(name);
    let client = place.connect()?;
    print_rank(&client, wanted, rank, &mut |data| lines.feed(data, out))?;
    match lines.finish(out) {
        Err(error) if wanted.unread && error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        finished => Ok(finished?),
    }
}

/// To stdout at once: a progress bar has no newline for the buffer to wait for.
pub fn print_now(data: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(data)?;
    out.flush()
}

/// One rank, byte for byte, into `print`.
pub fn print_rank(client: &Client, wanted: Wanted, rank: u32, print: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), Failure> {
    let mut offset = 0;
    let mut run: Option<RunId> = None;
    let mut attempt = wanted.attempt;
    loop {
        let wait_ms = if wanted.follow { api::WAIT_MAX_MS } else { 0 };
        let piece = patiently(|| client.logs(&LogRequest { job: wanted.job, attempt, rank, offset, max: PIECE, wait_ms }))?;
        if run.is_none() {
            run = piece.run;
            // From here on this run, so that a new attempt cannot be mixed into the output of the old.
            attempt = piece.run.map(|run| run.attempt);
        }
        if piece.chunk.offset > offset {
            eprintln!("... {} bytes of output were dropped here ...", piece.chunk.offset - offset);
        }
        match print(&piece.chunk.data) {
            Err(error) if wanted.unread && error.kind() == io::ErrorKind::BrokenPipe => {}
            printed => printed?,
        }
        offset = piece.chunk.offset + piece.chunk.data.len() as u64;
        if !piece.chunk.data.is_empty() {
            continue;
        }
        if piece.chunk.ended {
            match next_attempt(client, wanted, run)? {
                Some(next) => (attempt, run, offset) = (Some(next), None, 0),
                None => return Ok(()),
            }
        } else if !wanted.follow {
            return Ok(());
        }
    }
}

/// After the end of one run: the attempt to go on with, once it is there.
fn next_attempt(client: &Client, wanted: Wanted, run: Option<RunId>) -> Result<Option<u32>, ClientError> {
    if !wanted.follow || wanted.attempt.is_some() {
        return Ok(None);
    }
    let mut seen: Option<String> = None;
    loop {
        let reply = patiently(|| client.follow(wanted.job, seen.as_deref(), api::WAIT_MAX_MS))?;
        let next = reply.job.runs.iter().map(|run| run.run.attempt).find(|attempt| Some(*attempt) > run.map(|run| run.attempt));
        if next.is_some() {
            return Ok(next);
        }
        if reply.job.row.ended.is_some() {
            return Ok(None);
        }
        seen = Some(reply.mark);
    }
}

/// Cuts a stream into lines with a name in front: the rank, or the task.
struct Lines {
    prefix: Vec<u8>,
    rest: Vec<u8>,
}

impl Lines {
    fn new(name: &str) -> Lines {
        Lines { prefix: format!("[{name}] ").into_bytes(), rest: vec![] }
    }

    fn feed(&mut self, data: &[u8], out: &Mutex<impl Write>) -> io::Result<()> {
        let mut whole = vec![];
        for byte in data {
            self.rest.push(*byte);
            if *byte == b'\n' || self.rest.len() >= LINE {
                self.take_line(&mut whole);
            }
        }
        write_locked(out, &whole)
    }

    fn finish(&mut self, out: &Mutex<impl Write>) -> io::Result<()> {
        let mut whole = vec![];
        if !self.rest.is_empty() {
            self.take_line(&mut whole);
        }
        write_locked(out, &whole)
    }

    fn take_line(&mut self, whole: &mut Vec<u8>) {
        whole.extend(&self.prefix);
        whole.append(&mut self.rest);
        if whole.last() != Some(&b'\n') {
            whole.push(b'\n');
        }
    }
}

fn write_locked(out: &Mutex<impl Write>, data: &[u8]) -> io::Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    let mut out = out.lock().map_err(|_| io::Error::other("another reader of output failed"))?;
    out.write_all(data)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_ranks_stay_whole() {
        let out = Mutex::new(vec![]);
        let (mut one, mut two) = (Lines::new("0"), Lines::new("1"));
        one.feed(b"hel", &out).unwrap();
        two.feed(b"a\nb", &out).unwrap();
        one.feed(b"lo\n", &out).unwrap();
        two.finish(&out).unwrap();
        one.finish(&out).unwrap();
        assert_eq!(String::from_utf8(out.into_inner().unwrap()).unwrap(), "[1] a\n[0] hello\n[1] b\n");
    }

    #[test]
    fn a_line_without_end_is_printed_in_pieces() {
        let out = Mutex::new(vec![]);
        Lines::new("3:1").feed(&vec![b'x'; LINE * 2 + 1], &out).unwrap();
        assert_eq!(out.into_inner().unwrap().iter().filter(|b| **b == b'\n').count(), 2);
    }
}
