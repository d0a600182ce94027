//! The asker: keeps a child that asks the library, and goes on past the cards at which it hangs or crashes.

use super::reply::{Failed, Gpu, Line};
use crate::child::{Session, Silence};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

/// After this many cards that swallow the child, the others are not asked any more in this sweep.
const MOST_RESTARTS: usize = 16;
/// For how many sweeps a card that swallowed the child is left out, doubled each time it does so again.
const LEAVE_OUT: u32 = 30;
const LEAVE_OUT_MOST: u32 = 3600;

/// Everything one round of asking gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Version of the driver.
    pub driver: Option<String>,
    pub gpus: Vec<Gpu>,
    /// Cards for which the library gave an error, by its index.
    pub bad: BTreeMap<u32, Failed>,
    /// Cards at which the child hung or crashed.
    pub stuck: BTreeMap<u32, Silence>,
    /// The library did not open, or does not list cards.
    pub failed: Option<Failed>,
    /// The child hung, crashed or spoke nonsense before it named a card, or too often.
    pub silence: Option<Silence>,
}

/// Asks NVML in a child process, once or every second.
pub struct Asker {
    command: Box<dyn Fn() -> Command + Send>,
    /// The longest silence between two lines.
    patience: Duration,
    session: Option<Session>,
    /// Cards that are left out, and for how many sweeps more; then how long the next time.
    left_out: BTreeMap<u32, (u32, u32, Silence)>,
}

impl Asker {
    /// `command` makes the child: a process that calls [`super::serve`].
    pub fn new(patience: Duration, command: impl Fn() -> Command + Send + 'static) -> Asker {
        Asker { command: Box::new(command), patience, session: None, left_out: BTreeMap::new() }
    }

    /// Asks about every card. `full`: names, slices and links too, not only what changes all the time. Takes at most the
    /// patience for each silent card, and then skips it for a while.
    pub fn sweep(&mut self, full: bool) -> Sweep {
        let mut sweep = Sweep::default();
        for (index, (sweeps, _, silence)) in &mut self.left_out {
            *sweeps = sweeps.saturating_sub(1);
            if *sweeps > 0 {
                sweep.stuck.insert(*index, silence.clone());
            }
        }
        for _ in 0..MOST_RESTARTS {
            let was_kept = self.session.is_some();
            let Err((asking, silence)) = self.ask(full, &mut sweep) else { return sweep };
            // Whatever state it is in, it is of no use any more.
            self.session = None;
            let Some(index) = asking else {
                // One that was kept and died since then says nothing about now.
                if was_kept && silence != Silence::Hung {
                    continue;
                }
                sweep.silence = Some(silence);
                return sweep;
            };
            let longer = self.left_out.get(&index).map_or(LEAVE_OUT, |(_, last, _)| (last * 2).min(LEAVE_OUT_MOST));
            self.left_out.insert(index, (longer, longer, silence.clone()));
            sweep.stuck.insert(index, silence);
        }
        sweep.silence = Some(Silence::Hung);
        sweep
    }

    /// One request to a child. The error says at which card it stopped, if at any.
    fn ask(&mut self, full: bool, sweep: &mut Sweep) -> Result<(), (Option<u32>, Silence)> {
        let session = match &mut self.session {
            Some(session) => session,
            None => self.session.insert(Session::start(&mut (self.command)()).map_err(|silence| (None, silence))?),
        };
        // What was answered before the child was lost need not be asked twice.
        let known: BTreeSet<u32> =
            sweep.stuck.keys().chain(sweep.bad.keys()).copied().chain(sweep.gpus.iter().map(|gpu| gpu.index)).collect();
        let skip: Vec<String> = known.iter().map(u32::to_string).collect();
        session.send(&format!("{} {}", if full { "full" } else { "light" }, skip.join(" ")));
        let mut asking = None;
        loop {
            let text = session.line(Instant::now() + self.patience).map_err(|silence| (asking, silence))?;
            match serde_json::from_str(&text) {
                Ok(Line::Driver(version)) => sweep.driver = Some(version),
                Ok(Line::Failed(failed)) => sweep.failed = Some(failed),
                Ok(Line::Asking(index)) => asking = Some(index),
                Ok(Line::Gpu(gpu)) => {
                    self.left_out.remove(&gpu.index);
                    sweep.gpus.push(*gpu);
                }
                Ok(Line::Bad { index, failed }) => {
                    sweep.bad.insert(index, failed);
                }
                Ok(Line::Done) => return Ok(()),
                // The library itself wrote to our output.
                Err(_) if text.len() < 4096 => {}
                Err(_) => return Err((asking, Silence::TooMuch)),
            }
        }
    }
}
