//! Live progress of the training job: what it prints as JSON lines becomes a bar.

use crate::failure::Failure;
use crate::follow::{self, Wanted};
use crate::state::Place;
use api::{Client, JobView, LogRequest};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use spec::JobId;
use std::io::IsTerminal;
use std::time::Duration;

/// One line that rank 0 prints after every epoch.
#[derive(Debug, Deserialize)]
struct Epoch {
    epoch: u64,
    of: u64,
    loss: f64,
    test_accuracy: f64,
}

/// Shows how the job gets on until it has ended.
pub fn follow(place: &Place, client: &Client, id: JobId) -> Result<JobView, Failure> {
    let bar = Shown::new();
    wait_for_ranks(client, id, &bar)?;
    let mut line = vec![];
    let printed = place.connect()?;
    follow::print_rank(&printed, Wanted { job: id, attempt: None, follow: true, unread: true }, 0, &mut |data| {
        for byte in data {
            if *byte == b'\n' {
                bar.line(&line);
                line.clear();
            } else if line.len() < 4096 {
                line.push(*byte);
            }
        }
        Ok(())
    })?;
    bar.bar.finish_and_clear();
    loop {
        let reply = client.wait(id, api::WAIT_MAX_MS)?;
        if reply.ended {
            return Ok(client.job(id)?);
        }
    }
}

/// Until the first rank runs or nothing will run any more, says which stage it is at.
fn wait_for_ranks(client: &Client, id: JobId, bar: &Shown) -> Result<(), Failure> {
    let mut seen: Option<String> = None;
    loop {
        let reply = client.follow(id, seen.as_deref(), api::WAIT_MAX_MS)?;
        let row = &reply.job.row;
        if row.started.is_some() || row.ended.is_some() {
            return Ok(());
        }
        let stage = reply.job.runs.last().and_then(|run| run.stages.last());
        bar.stage(match stage.map(|stage| stage.stage.as_str()) {
            Some("environment") => "building the environment (the first time downloads about 200 MB)",
            Some(_) => "starting the ranks",
            None if reply.job.reasons.is_empty() => "starting",
            None => "waiting for room; see `ashlar why`",
        });
        seen = Some(reply.mark);
    }
}

/// The bar on a terminal; plain lines where there is none.
struct Shown {
    bar: ProgressBar,
    plain: bool,
}

impl Shown {
    fn new() -> Shown {
        let plain = !std::io::stderr().is_terminal();
        let bar = if plain { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        bar.enable_steady_tick(Duration::from_millis(120));
        Shown { bar, plain }
    }

    fn stage(&self, text: &'static str) {
        if self.plain && self.bar.message() != text {
            eprintln!("{text}");
        }
        self.bar.set_message(text);
    }

    fn line(&self, line: &[u8]) {
        let Ok(epoch) = serde_json::from_slice::<Epoch>(line) else { return };
        let text = format!("loss {:.4}, test accuracy {:.1} %", epoch.loss, 100.0 * epoch.test_accuracy);
        if self.plain {
            eprintln!("epoch {} of {}: {text}", epoch.epoch, epoch.of);
            return;
        }
        if self.bar.length() != Some(epoch.of) {
            self.bar.set_length(epoch.of);
            if let Ok(style) = ProgressStyle::with_template("{bar:40} epoch {pos}/{len}  {msg}") {
                self.bar.set_style(style);
            }
        }
        self.bar.set_position(epoch.epoch);
        self.bar.set_message(text);
    }
}

/// The last bytes of a rank's output.
pub fn tail(client: &Client, id: JobId, rank: u32, bytes: usize) -> String {
    let mut all = vec![];
    let mut offset = 0;
    loop {
        let ask = LogRequest { job: id, attempt: None, rank, offset, max: api::LOG_MAX_BYTES, wait_ms: 0 };
        let Ok(piece) = client.logs(&ask) else { break };
        if piece.chunk.data.is_empty() {
            break;
        }
        offset = piece.chunk.offset + piece.chunk.data.len() as u64;
        all.extend(piece.chunk.data);
        let surplus = all.len().saturating_sub(bytes);
        all.drain(..surplus);
    }
    String::from_utf8_lossy(&all).into_owned()
}
