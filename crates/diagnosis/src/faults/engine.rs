//! From lines to incidents: one automaton finds the lines of interest, patterns judge them, and events of one kind at
//! one place become one incident. Memory is bounded whatever the log holds; what found no room is counted.

use super::catalogue::{Catalogue, Trigger};
use super::incident::{Confidence, Evidence, Incident, Level, State};
use super::line::{Base, Line, Moment, Speaker, parse};
use super::{Place, event};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Incidents; with 400 bytes of four lines each.
    pub incidents: usize,
    /// Microseconds of quiet after which the same thing is a new incident.
    pub quiet: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { incidents: 4096, quiet: 6 * 3_600_000_000 }
    }
}

/// What a log held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub incidents: Vec<Incident>,
    pub lines: u64,
    /// Lines that tell of a fault, those of the incidents.
    pub events: u64,
    /// Lines that look like the kernel's and are a program's: not believed.
    pub forged: u64,
    /// Events for which there was no room.
    pub dropped: u64,
}

/// Lines of evidence that are kept from the beginning of an incident; the last one is kept too.
const FIRST_LINES: usize = 3;
/// What the kernel says of one event in several lines comes within this time, microseconds.
const ONE_EVENT: i64 = 1_000_000;
/// Classes that are common while a machine starts are information for so long, microseconds.
const START: i64 = 10_000_000;

/// Reads lines, keeps incidents.
pub struct Engine<'c> {
    catalogue: &'c Catalogue,
    limits: Limits,
    report: Report,
    /// The open incident of a kind at a place.
    open: HashMap<(String, Place), usize>,
    /// The incidents of a kind, as indices.
    of_kind: BTreeMap<String, Vec<usize>>,
    /// When the kernel started, in a log that tells the time of day.
    boot: Option<Moment>,
}

impl<'c> Engine<'c> {
    pub fn new(catalogue: &'c Catalogue, limits: Limits) -> Engine<'c> {
        let (open, of_kind) = (HashMap::new(), BTreeMap::new());
        Engine { catalogue, limits, report: Report::default(), open, of_kind, boot: None }
    }

    /// Reads whole lines.
    pub fn block(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut counted = 0;
        let before = self.report.lines;
        let mut at = 0;
        while let Some(found) = self.catalogue.needles.find(&bytes[at..]) {
            let hit = at + found.start();
            let start = memchr::memrchr(b'\n', &bytes[..hit]).map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', &bytes[hit..]).map_or(bytes.len(), |end| hit + end);
            self.report.lines += memchr::memchr_iter(b'\n', &bytes[counted..start]).count() as u64;
            counted = start;
            let raw = &text[start..end];
            let number = self.report.lines + 1;
            self.take(parse(raw), raw, number);
            at = end;
        }
        let rest = memchr::memchr_iter(b'\n', &bytes[counted..]).count() as u64;
        self.report.lines += rest + u64::from(!bytes.is_empty() && bytes.last() != Some(&b'\n'));
        debug_assert!(self.report.lines >= before);
    }

    /// Counts a line that was read in another form.
    pub(super) fn count_line(&mut self) -> u64 {
        self.report.lines += 1;
        self.report.lines
    }

    /// One line, taken apart; `raw` is kept as evidence.
    pub fn take(&mut self, line: Line<'_>, raw: &str, number: u64) {
        let mut found: Vec<Trigger> = vec![];
        for hit in self.catalogue.needles.find_overlapping_iter(line.text) {
            for trigger in &self.catalogue.triggers[hit.pattern().as_usize()] {
                if !found.contains(trigger) {
                    found.push(*trigger);
                }
            }
        }
        if line.speaker == Speaker::Forged {
            self.report.forged += u64::from(!found.is_empty());
            return;
        }
        for trigger in found {
            match trigger {
                Trigger::Boot if line.text.starts_with("Linux version ") => self.boot = line.at,
                Trigger::Boot => {}
                Trigger::Cancel(at) => self.cancel(at, &line),
                _ => {
                    if let Some(event) = event::read(self.catalogue, trigger, &line) {
                        self.event(event, &line, raw, number);
                    }
                }
            }
        }
    }

    /// What was found.
    pub fn finish(self) -> Report {
        self.report
    }

    /// What was found so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn event(&mut self, mut event: event::Event, line: &Line<'_>, raw: &str, number: u64) {
        self.report.events += 1;
        if event.quiet_at_start && self.starting(line.at) || event.place.is_removable() {
            event.level = Some(Level::Info);
        }
        match self.same(&event, line.at) {
            Some(at) => self.again(at, &event, line, raw, number),
            None if self.report.incidents.len() >= self.limits.incidents => self.report.dropped += 1,
            None => self.begin(event, line, raw, number),
        }
    }

    fn starting(&self, at: Option<Moment>) -> bool {
        match (at, self.boot) {
            (Some(Moment { micros, base: Base::Boot }), _) => micros < START,
            (Some(now), Some(boot)) => now.base == boot.base && (0..START).contains(&(now.micros - boot.micros)),
            _ => false,
        }
    }

    /// The incident that an event belongs to.
    fn same(&self, event: &event::Event, at: Option<Moment>) -> Option<usize> {
        let near = |incident: &Incident, most: i64| match (incident.until, at) {
            (Some(last), Some(now)) if last.base == now.base => (now.micros - last.micros).abs() <= most,
            _ => true,
        };
        // A key is a pair of owned values, so the look-up takes the event's own.
        let key = (event.kind.clone(), event.place.clone());
        if let Some(index) = self.open.get(&key)
            && self.report.incidents[*index].state == State::Open
            && near(&self.report.incidents[*index], self.limits.quiet)
        {
            return Some(*index);
        }
        // Another line of the same event may name another thing: a group and a process, a processor and nothing.
        let last = *self.of_kind.get(&event.kind)?.last()?;
        let incident = &self.report.incidents[last];
        let other_kind = std::mem::discriminant(&incident.place) != std::mem::discriminant(&event.place);
        let timed = incident.until.is_some() && at.is_some();
        (other_kind && timed && near(incident, ONE_EVENT)).then_some(last)
    }

    fn again(&mut self, index: usize, event: &event::Event, line: &Line<'_>, raw: &str, number: u64) {
        let incident = &mut self.report.incidents[index];
        incident.count += 1;
        if line.at.is_some() {
            incident.until = line.at;
        }
        if incident.place == Place::Machine && event.place != Place::Machine {
            incident.place = event.place.clone();
            self.open.insert((event.kind.clone(), event.place.clone()), index);
        }
        let incident = &mut self.report.incidents[index];
        incident.level = incident.level.max(event.level.unwrap_or(Level::Info));
        if let Some((most, level)) = event.many
            && incident.count >= most
        {
            incident.level = incident.level.max(level);
        }
        let kept = Evidence { line: number, text: cut(raw) };
        if incident.evidence.len() <= FIRST_LINES {
            incident.evidence.push(kept);
        } else {
            incident.evidence[FIRST_LINES] = kept;
        }
    }

    fn begin(&mut self, event: event::Event, line: &Line<'_>, raw: &str, number: u64) {
        let index = self.report.incidents.len();
        let id = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let confidence = match line.speaker {
            _ if !event.known => Confidence::Low,
            Speaker::Kernel => Confidence::High,
            Speaker::Unknown => Confidence::Medium,
            Speaker::Program | Speaker::Forged => Confidence::Low,
        };
        self.open.insert((event.kind.clone(), event.place.clone()), index);
        self.of_kind.entry(event.kind.clone()).or_default().push(index);
        let level = event.level.unwrap_or(event.usual);
        self.report.incidents.push(Incident {
            id,
            kind: event.kind,
            level,
            title: event.title,
            place: event.place,
            state: State::Open,
            since: line.at,
            until: line.at,
            count: 1,
            cause: None,
            consequences: vec![],
            evidence: vec![Evidence { line: number, text: cut(raw) }],
            confidence,
            action: event.action,
            source: event.source,
        });
        self.link(index, event.caused_by.as_deref());
    }

    /// Finds what a new incident follows from, and what follows from it (the kernel does not always say the cause first).
    fn link(&mut self, new: usize, named: Option<&str>) {
        let kind = self.report.incidents[new].kind.clone();
        if let Some(named) = named
            && let Some(cause) = self.latest(named, new, i64::MAX, super::catalogue::Same::Device)
        {
            self.tie(cause, new);
        }
        for rule in &self.catalogue.causes {
            if rule.effect.contains(&kind) && self.report.incidents[new].cause.is_none() {
                let cause = rule.cause.iter().find_map(|cause| self.latest(cause, new, rule.within, rule.same));
                if let Some(cause) = cause {
                    self.tie(cause, new);
                }
            }
            if rule.cause.contains(&kind) {
                // A cause that is told after its consequence comes with it, not long after.
                for effect in &rule.effect {
                    let before = self.latest(effect, new, rule.within.min(1), rule.same);
                    if let Some(effect) = before.filter(|effect| self.report.incidents[*effect].cause.is_none()) {
                        self.tie(new, effect);
                    }
                }
            }
        }
    }

    /// The latest incident of a kind near another in time and place.
    fn latest(&self, kind: &str, other: usize, within: i64, same: super::catalogue::Same) -> Option<usize> {
        use super::catalogue::Same;
        let other = &self.report.incidents[other];
        let place = |one: &Incident| match same {
            Same::Machine => true,
            Same::Device => one.place == Place::Machine || other.place == Place::Machine || one.place.device() == other.place.device(),
            Same::Disk => one.place == Place::Machine || other.place == Place::Machine || one.place.disk() == other.place.disk(),
        };
        let time = |one: &Incident| match (one.until, other.since) {
            (Some(last), Some(now)) if last.base == now.base => now.micros.abs_diff(last.micros) / 1_000_000 <= within.unsigned_abs(),
            _ => true,
        };
        self.of_kind.get(kind)?.iter().rev().copied().find(|index| {
            let one = &self.report.incidents[*index];
            one.id != other.id && place(one) && time(one)
        })
    }

    fn tie(&mut self, cause: usize, effect: usize) {
        // Never in a circle.
        let mut at = Some(cause);
        while let Some(index) = at {
            if index == effect {
                return;
            }
            at = self.report.incidents[index].cause.map(|id| id as usize - 1);
        }
        let (cause_id, effect_id) = (self.report.incidents[cause].id, self.report.incidents[effect].id);
        self.report.incidents[effect].cause = Some(cause_id);
        self.report.incidents[cause].consequences.push(effect_id);
        // Cleaning up after an error is no fault of its own.
        if self.report.incidents[effect].kind == "nvidia.xid.45" {
            self.report.incidents[effect].level = Level::Info;
        }
    }

    fn cancel(&mut self, at: usize, line: &Line<'_>) {
        let cancel = &self.catalogue.cancels[at];
        if line.speaker == Speaker::Program || !line.text.starts_with(&cancel.starts) || !line.text.contains(&cancel.needle) {
            return;
        }
        for kind in &cancel.of {
            for index in self.of_kind.get(kind).into_iter().flatten() {
                let incident = &mut self.report.incidents[*index];
                let named = match &incident.place {
                    Place::Machine | Place::Cpu(_) => true,
                    Place::Pci(name) | Place::Disk(name) | Place::Link(name) | Place::Server(name) => line.text.contains(name.as_str()),
                    _ => false,
                };
                if named && incident.state == State::Open {
                    incident.state = State::Cancelled;
                }
            }
        }
    }
}

/// A line as evidence.
fn cut(raw: &str) -> String {
    let mut end = raw.len().min(Evidence::LONGEST);
    while !raw.is_char_boundary(end) {
        end -= 1;
    }
    raw[..end].trim_end().to_owned()
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
