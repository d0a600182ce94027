//! A log as it is read, piece by piece: lines, or one of the forms that need several lines for an entry (`dmesg --json`,
//! `journalctl -o json` and `-o export`).

use super::Catalogue;
use super::engine::{Engine, Limits, Report};
use super::line::{Base, Line, Moment, Speaker, parse};

/// A line is cut here.
const LONGEST_LINE: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Not known yet: nothing but empty lines came.
    Open,
    Lines,
    DmesgJson,
    JournalJson,
    JournalExport,
}

/// The entry of several lines that is being read.
#[derive(Default)]
struct Entry {
    kernel: Option<bool>,
    text: String,
    micros: Option<i64>,
    line: u64,
}

/// Takes a log in pieces of any size.
pub struct Stream<'c> {
    engine: Engine<'c>,
    form: Form,
    /// The beginning of a line whose end did not come yet.
    rest: Vec<u8>,
    entry: Entry,
}

impl<'c> Stream<'c> {
    pub fn new(catalogue: &'c Catalogue, limits: Limits) -> Stream<'c> {
        Stream { engine: Engine::new(catalogue, limits), form: Form::Open, rest: vec![], entry: Entry::default() }
    }

    /// The next piece. What is no UTF-8 is read with replacement characters.
    pub fn push(&mut self, piece: &[u8]) {
        let Some(end) = memchr::memrchr(b'\n', piece).map(|at| at + 1) else {
            self.rest.extend_from_slice(piece);
            if self.rest.len() > LONGEST_LINE {
                self.rest.push(b'\n');
                let whole = std::mem::take(&mut self.rest);
                self.lines(&whole);
            }
            return;
        };
        let mut whole = &piece[..end];
        if !self.rest.is_empty() {
            let first = memchr::memchr(b'\n', whole).map_or(end, |at| at + 1);
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(&whole[..first]);
            self.lines(&line);
            whole = &whole[first..];
        }
        self.lines(whole);
        self.rest.extend_from_slice(&piece[end..]);
    }

    /// The last of it.
    pub fn finish(mut self) -> Report {
        let last = std::mem::take(&mut self.rest);
        self.lines(&last);
        self.end_of_entry();
        self.engine.finish()
    }

    fn lines(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        if self.form == Form::Open {
            self.form = text.lines().find(|line| !line.trim().is_empty()).map_or(Form::Open, form);
        }
        match self.form {
            Form::Open | Form::Lines => self.engine.block(&text),
            Form::DmesgJson => text.lines().for_each(|line| self.dmesg_json(line)),
            Form::JournalJson => text.lines().for_each(|line| self.journal_json(line)),
            Form::JournalExport => text.lines().for_each(|line| self.journal_export(line)),
        }
    }

    /// One `"name": value` a line, an entry from { to }.
    fn dmesg_json(&mut self, line: &str) {
        let number = self.engine.count_line();
        let trimmed = line.trim();
        let value = |name: &str| {
            let rest = trimmed.strip_prefix('"')?.strip_prefix(name)?.strip_prefix("\":")?;
            Some(rest.trim().trim_end_matches(','))
        };
        if let Some(priority) = value("pri") {
            self.entry.kernel.get_or_insert(priority.parse::<u32>().is_ok_and(|priority| priority >> 3 == 0));
        } else if let Some(name) = value("fac") {
            self.entry.kernel = Some(matches!(name.trim_matches('"'), "kern" | "0"));
        } else if let Some(time) = value("time") {
            self.entry.micros = time.parse::<f64>().ok().map(|seconds| (seconds * 1e6) as i64);
        } else if let Some(text) = value("msg") {
            self.entry.text = serde_json::from_str(text).unwrap_or_default();
            self.entry.line = number;
        } else if trimmed.starts_with('}') {
            self.end_of_entry();
        }
    }

    /// One object a line.
    fn journal_json(&mut self, line: &str) {
        self.entry.line = self.engine.count_line();
        let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(line) else { return };
        let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
        self.entry.kernel = Some(text("_TRANSPORT") == Some("kernel"));
        self.entry.text = text("MESSAGE").unwrap_or_default().to_owned();
        self.entry.micros = text("__REALTIME_TIMESTAMP").and_then(|micros| micros.parse().ok());
        self.end_of_entry();
    }

    /// `NAME=value` a line, an empty line after each entry.
    fn journal_export(&mut self, line: &str) {
        let number = self.engine.count_line();
        match line.split_once('=') {
            Some(("_TRANSPORT", value)) => self.entry.kernel = Some(value == "kernel"),
            Some(("MESSAGE", value)) => {
                self.entry.text = value.to_owned();
                self.entry.line = number;
            }
            Some(("__REALTIME_TIMESTAMP", value)) => self.entry.micros = value.parse().ok(),
            None if line.is_empty() => self.end_of_entry(),
            _ => {}
        }
    }

    fn end_of_entry(&mut self) {
        let entry = std::mem::take(&mut self.entry);
        if entry.text.is_empty() {
            return;
        }
        let dmesg = self.form == Form::DmesgJson;
        // What a program wrote into the kernel's log is not believed; what it gave to syslog is a program's word.
        let speaker = match entry.kernel {
            Some(true) => Speaker::Kernel,
            Some(false) if dmesg => Speaker::Forged,
            _ => Speaker::Program,
        };
        let base = if dmesg { Base::Boot } else { Base::Clock };
        let at = entry.micros.map(|micros| Moment { micros, base });
        for text in entry.text.lines() {
            self.engine.take(Line { speaker, at, text }, text, entry.line);
        }
    }
}

/// What the first line tells of the form.
fn form(line: &str) -> Form {
    let line = line.trim();
    match line {
        _ if line.starts_with("{\"") && line.ends_with('}') && !line.contains("\"dmesg\"") => Form::JournalJson,
        _ if line.starts_with('{') => Form::DmesgJson,
        _ if line.starts_with("__CURSOR=") || line.starts_with("__REALTIME_TIMESTAMP=") => Form::JournalExport,
        _ => Form::Lines,
    }
}

/// The event of one line alone, as a person pastes it.
pub(super) fn kinds(catalogue: &Catalogue, text: &str) -> Report {
    let mut engine = Engine::new(catalogue, Limits::default());
    let line = parse(text);
    engine.take(line, text, 1);
    engine.finish()
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
