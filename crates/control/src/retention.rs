//! How long jobs that ended are remembered, and the thread that sees to it.
//!
//! A pass takes the jobs that ended too long ago, or before enough others, and asks the writer to forget them: a
//! command like any other, so it is in the log before anything is gone. Then old records go, and output that belongs to
//! no job any more. Each step looks at what is there, so a pass that was cut short is made good by the next one.

use crate::engine::{Request, Shared, Unavailable};
use crate::log::{LogError, Reader};
use spec::{JobId, RunId, Span, Time};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Jobs in one record of the log.
const TOGETHER: usize = 500;

/// The first pass comes when a start is over, the others when some jobs may have come together.
const FIRST: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(600);

/// What is kept of finished jobs. Both limits count: a job goes when either says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many, by when they ended; tasks of arrays count each.
    pub jobs: Option<u64>,
    /// Those that ended within this time.
    pub age: Option<Span>,
    /// Whatever else is said, those that ended within this time: somebody may wait for them.
    pub fresh: Span,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { jobs: Some(100_000), age: None, fresh: Span::minutes(1) }
    }
}

/// Reads `90d`, `100000`, both with a comma, or `all`.
impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Retention, String> {
        let mut retention = Retention { jobs: None, age: None, ..Retention::default() };
        if text.trim() == "all" {
            return Ok(retention);
        }
        for part in text.split(',').map(str::trim) {
            let twice = if part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
                let jobs = part.parse().ok().filter(|jobs| *jobs > 0).ok_or_else(|| format!("{part} is no number of jobs to keep"))?;
                retention.jobs.replace(jobs).is_some()
            } else {
                let age = spec::parse_span(part).map_err(|_| {
                    format!("'{part}' is neither a number of jobs nor a length of time; write 100000, 90d, 90d,100000 or all")
                })?;
                retention.age.replace(age).is_some()
            };
            if twice {
                return Err(format!("'{text}' says the same twice; write one number, one length of time, or both"));
            }
        }
        Ok(retention)
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = [self.age.map(spec::write_span), self.jobs.map(|jobs| jobs.to_string())].into_iter().flatten().collect();
        f.pad(&if parts.is_empty() { "all".into() } else { parts.join(",") })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The running thread; dropping it ends it.
pub struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub fn start(shared: Arc<Shared>, retention: Retention) -> std::io::Result<Keeper> {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("ashlar-retention".into()).spawn(move || {
            let mut wait = FIRST;
            // Output may be left from a pass that was cut short by the end of the daemon.
            let mut sweep = true;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                match pass(&shared, &retention, sweep) {
                    Ok(_) => sweep = false,
                    Err(error) => tracing::warn!("old jobs could not be forgotten: {error}"),
                }
                wait = AGAIN;
            }
        })?;
        Ok(Keeper { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Forgets what may be forgotten now, and gives how many jobs that were.
pub fn pass(shared: &Shared, retention: &Retention, sweep: bool) -> Result<usize, RetentionError> {
    // A connection of its own: a look over the whole archive must not hold up listings.
    let reader = Reader::open(&shared.dir)?;
    let mut forgotten = 0;
    if let Some(before) = horizon(&reader, retention, shared.now())? {
        let mut after = 0;
        loop {
            let numbers = reader.ended_before(before, after, TOGETHER)?;
            let Some(last) = numbers.last() else { break };
            after = *last;
            let asked = numbers.clone();
            shared.ask_blocking(|reply| Request::Forget { numbers: asked, reply })?;
            for number in &numbers {
                forgotten += usize::from(!reader.remembers(*number)?);
            }
        }
        while shared.ask_blocking(|reply| Request::Trim { before, reply })? > 0 {}
    }
    if forgotten > 0 || sweep {
        (shared.link.forget)(&|run| remembered(shared, &reader, run));
    }
    Ok(forgotten)
}

/// Jobs that ended before this may go.
fn horizon(reader: &Reader, retention: &Retention, now: Time) -> Result<Option<Time>, LogError> {
    let back = |span: Span| Time(now.0.saturating_sub(span.0));
    let by_number = match retention.jobs {
        Some(jobs) => reader.end_of_newest(jobs)?,
        None => None,
    };
    let latest = [by_number, retention.age.map(back)].into_iter().flatten().max();
    Ok(latest.map(|latest| latest.min(back(retention.fresh))))
}

/// Live first: a job that ends in between is in the archive by then. What has a number that was not given out yet
/// comes from a later time than our memory, which somebody restored; it is not ours to remove.
fn remembered(shared: &Shared, reader: &Reader, run: RunId) -> bool {
    let number = run.job.number;
    let live = {
        let committed = shared.view.read();
        number >= committed.state.next_number() || committed.state.is_live(JobId::new(number))
    };
    live || reader.remembers(number).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_keep_is_read_as_people_write_it() {
        let read = |text: &str| text.parse::<Retention>().map(|retention| (retention.jobs, retention.age));
        assert_eq!(read("100000"), Ok((Some(100_000), None)));
        assert_eq!(read("90d"), Ok((None, Some(Span::hours(90 * 24)))));
        assert_eq!(read("90d, 5"), Ok((Some(5), Some(Span::hours(90 * 24)))));
        assert_eq!(read("all"), Ok((None, None)));
        for wrong in ["", "0", "x", "5,6", "1d,2d", "-1", "5,", "all,5"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for text in ["90d,100000", "5", "all"] {
            assert_eq!(text.parse::<Retention>().unwrap().to_string().parse::<Retention>(), text.parse());
        }
        assert_eq!(Retention::default().to_string(), "100000");
    }
}
