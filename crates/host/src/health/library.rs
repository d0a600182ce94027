//! NVIDIA's library on a thread of its own: whoever asks waits as long as it wants to, not as long as the library takes.
//!
//! One question at a time. An answer that comes too late for the one who asked is kept for the next who asks.

use crate::accelerators::nvml::{Asker, Sweep};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

pub(super) struct Library {
    asker: Option<Asker>,
    worker: Option<Worker>,
    /// A whole answer that came when nobody asked for one.
    late: Option<Sweep>,
}

struct Worker {
    questions: Sender<bool>,
    answers: Receiver<(bool, Sweep)>,
    /// What is being asked: in full or not.
    asked: Option<bool>,
}

/// What was heard within the time that somebody wanted to wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The answer to a question in full.
    Whole(Sweep),
    /// What changes all the time.
    Light(Sweep),
    /// The library still thinks.
    Nothing,
}

impl Library {
    pub fn new(asker: Asker) -> Library {
        Library { asker: Some(asker), worker: None, late: None }
    }

    /// A light look. A whole answer that was due from earlier comes in its place.
    pub fn glance(&mut self, limit: Duration) -> Heard {
        match self.hear(false, Instant::now() + limit) {
            Some((true, sweep)) => {
                self.late = Some(sweep.clone());
                Heard::Whole(sweep)
            }
            Some((false, sweep)) => Heard::Light(sweep),
            None => Heard::Nothing,
        }
    }

    /// Everything; `None` when it does not come in time.
    pub fn ask(&mut self, limit: Duration) -> Option<Sweep> {
        if let Some(late) = self.late.take() {
            return Some(late);
        }
        let deadline = Instant::now() + limit;
        loop {
            // What is not whole is of a glance before.
            if let (true, sweep) = self.hear(true, deadline)? {
                return Some(sweep);
            }
        }
    }

    fn hear(&mut self, full: bool, deadline: Instant) -> Option<(bool, Sweep)> {
        let worker = match &mut self.worker {
            Some(worker) => worker,
            None => self.worker.insert(start(self.asker.take()?)?),
        };
        if worker.asked.is_none() {
            worker.questions.send(full).ok()?;
            worker.asked = Some(full);
        }
        match worker.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(answer) => {
                worker.asked = None;
                Some(answer)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// The child that has the library open dies with this thread, which ends when nobody can ask any more.
fn start(mut asker: Asker) -> Option<Worker> {
    let (questions, asked) = channel();
    let (answer, answers) = channel();
    let work = move || {
        while let Ok(full) = asked.recv() {
            if answer.send((full, asker.sweep(full))).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("nvml".into()).spawn(work).ok()?;
    Some(Worker { questions, answers, asked: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const LONG: Duration = Duration::from_secs(60);

    fn library(script: &'static str, patience: Duration) -> Library {
        Library::new(Asker::new(patience, move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        }))
    }

    #[test]
    fn an_answer_in_time_is_had_by_the_one_who_asked() {
        let mut library = library("while read a; do echo '{\"driver\":\"1\"}'; echo '\"done\"'; done", LONG);
        let Heard::Light(light) = library.glance(LONG) else { panic!("no answer") };
        assert_eq!(light.driver.as_deref(), Some("1"));
        assert_eq!(library.ask(LONG).unwrap().driver.as_deref(), Some("1"));
    }

    #[test]
    fn a_late_answer_is_kept_and_nobody_waits_for_it() {
        // It answers once the test has made a file.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("go");
        let script: &'static str =
            Box::leak(format!("read a; while ! test -e {}; do sleep 0.01; done; echo '\"done\"'; cat >/dev/null", file.display()).into());
        let mut library = library(script, LONG);
        assert_eq!(library.ask(Duration::ZERO), None);
        assert_eq!(library.glance(Duration::ZERO), Heard::Nothing);
        std::fs::write(&file, "").unwrap();
        assert_eq!(library.glance(LONG), Heard::Whole(Sweep::default()));
        assert_eq!(library.ask(Duration::ZERO), Some(Sweep::default()), "kept for the one who asks in full");
    }
}
