//! One line of a kernel log in the forms in which such lines are kept, and who wrote it.
//!
//! Anybody may write into some of these logs: only what the kernel itself says (facility 0) is believed where the form
//! tells the facility. Forms: `/dev/kmsg` records, dmesg (plain, -T, -x, --time-format iso), pstore, syslog files
//! (RFC 3164 and ISO times), journalctl short forms. The forms of many lines an entry are read by [`super::Stream`].

use serde::Serialize;
use std::fmt;

/// Who wrote a line, as far as its form tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The kernel: facility 0, or the program `kernel` of a syslog file.
    Kernel,
    /// A program, through syslog.
    Program,
    /// A program that wrote into the kernel's own log: never believed.
    Forged,
    /// The form does not tell: plain dmesg, or the output of a program.
    Unknown,
}

/// What a time counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Since the machine started.
    Boot,
    /// Since 1970 in UTC, or in the log's own time zone where it names none.
    Clock,
    /// Since the beginning of a year that the log does not tell.
    Year,
}

/// When a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    pub micros: i64,
    pub base: Base,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, day) = (self.micros.div_euclid(86_400_000_000), self.micros.rem_euclid(86_400_000_000) / 1_000_000);
        let (hour, minute, second) = (day / 3600, day / 60 % 60, day % 60);
        match self.base {
            Base::Boot => write!(f, "{}.{:03} s after the start", self.micros / 1_000_000, self.micros / 1000 % 1000),
            Base::Clock => {
                let (year, month, day) = civil_from_days(days);
                write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
            }
            Base::Year => {
                let (_, month, day) = civil_from_days(days_from_civil(1972, 1, 1) + days);
                let name = MONTHS.get(month as usize - 1).copied().unwrap_or("?");
                write!(f, "{name} {day} {hour:02}:{minute:02}:{second:02}")
            }
        }
    }
}

/// A line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub speaker: Speaker,
    pub at: Option<Moment>,
    /// Without time, host and priority.
    pub text: &'a str,
}

/// Takes a line apart. Every text is a line: what has no known form is its own text.
pub fn parse(line: &str) -> Line<'_> {
    let line = line.trim_end_matches(['\r', '\n']);
    match line.as_bytes().first() {
        Some(b'0'..=b'9') => record(line).or_else(|| iso(line)),
        Some(b'<') => priority(line),
        Some(b'[') => bracket(line, Speaker::Unknown),
        Some(b'A'..=b'Z') => short(line).or_else(|| full(line)),
        Some(b'a'..=b'z') => decoded(line),
        _ => None,
    }
    .unwrap_or(Line { speaker: Speaker::Unknown, at: None, text: line })
}

fn facility(priority: u32) -> Speaker {
    if priority >> 3 == 0 { Speaker::Kernel } else { Speaker::Forged }
}

/// `6,3964,206764307,-;text`
fn record(line: &str) -> Option<Line<'_>> {
    let (head, text) = line.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let _sequence: u64 = fields.next()?.parse().ok()?;
    let micros: i64 = fields.next()?.parse().ok()?;
    fields.next()?;
    Some(Line { speaker: facility(priority), at: Some(Moment { micros, base: Base::Boot }), text })
}

/// `<4>[ 1140.475887] text`, or `<4>text`
fn priority(line: &str) -> Option<Line<'_>> {
    let (digits, rest) = line[1..].split_once('>')?;
    let speaker = facility(digits.parse().ok()?);
    Some(bracket(rest, speaker).unwrap_or(Line { speaker, at: None, text: rest }))
}

/// `kern  :warn  : [   15.58] text`, and with an ISO time instead of the brackets.
fn decoded(line: &str) -> Option<Line<'_>> {
    let (name, rest) = line.split_once(':')?;
    let (level, rest) = rest.split_once(':')?;
    let levels = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
    let facilities = ["user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];
    let name = name.trim_end();
    let speaker = match name {
        "kern" => Speaker::Kernel,
        _ if facilities.contains(&name) || name.starts_with("local") || name.starts_with("res") => Speaker::Forged,
        _ => return None,
    };
    if !levels.contains(&level.trim_end()) {
        return None;
    }
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    if let Some(line) = bracket(rest, speaker) {
        return Some(line);
    }
    if let Some((micros, text)) = iso_time(rest) {
        return Some(Line { speaker, at: Some(Moment { micros, base: Base::Clock }), text: text.trim_start() });
    }
    Some(Line { speaker, at: None, text: rest })
}

/// `[   15.582246] text`, `[   15.582246][  T123] text`, `[   15.58] host kernel: text`, `[Mon Aug 17 00:00:24 2026] text`
fn bracket(line: &str, speaker: Speaker) -> Option<Line<'_>> {
    let (inside, rest) = line.strip_prefix('[')?.split_once(']')?;
    let inside = inside.trim();
    let at = match seconds(inside) {
        Some(micros) => Moment { micros, base: Base::Boot },
        None => ctime(inside)?,
    };
    let mut rest = rest.strip_prefix(' ').unwrap_or(rest);
    if rest.starts_with('[')
        && let Some((caller, after)) = rest[1..].split_once(']')
        && caller.trim_start().strip_prefix(['T', 'C']).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    {
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    // Of the journal's monotonic form.
    if speaker == Speaker::Unknown
        && let Some((host, after)) = rest.split_once(' ')
        && !host.contains([':', '['])
        && let Some(text) = after.strip_prefix("kernel: ")
    {
        return Some(Line { speaker: Speaker::Kernel, at: Some(at), text });
    }
    let speaker = if speaker == Speaker::Unknown && by_a_program(rest) { Speaker::Forged } else { speaker };
    Some(Line { speaker, at: Some(at), text: rest })
}

/// `systemd[1]: text` in plain dmesg: a program wrote into the kernel's log. The kernel names a process that way only
/// where it tells of its crash.
fn by_a_program(text: &str) -> bool {
    let Some((name, rest)) = text.split_once('[') else { return false };
    let Some((digits, rest)) = rest.split_once(']') else { return false };
    let process = !name.is_empty() && !name.contains([' ', ':', ',']) && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let crash = [": segfault at", ": bad frame", ": potentially unexpected fatal signal", ": unhandled signal"];
    process && rest.starts_with(": ") && !crash.iter().any(|said| rest.starts_with(said))
}

/// `Mar 15 03:40:50 host kernel: [16794.24] text`
fn short(line: &str) -> Option<Line<'_>> {
    let month = month(line.get(..3)?)?;
    let rest = line[3..].strip_prefix(' ')?.trim_start();
    let (day, rest) = rest.split_once(' ')?;
    let (time, rest) = rest.split_once(' ')?;
    let day: i64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    // 1972 was a leap year that began with 1970's calendar plus 730 days.
    let days = days_from_civil(1972, month, day) - days_from_civil(1972, 1, 1);
    let at = Moment { micros: days.checked_mul(86_400_000_000)? + clock(time)?, base: Base::Year };
    Some(after_host(rest, Some(at)))
}

/// `Mon 2024-08-30 17:01:48 UTC host kernel: text`
fn full(line: &str) -> Option<Line<'_>> {
    let rest = line.get(3..)?.strip_prefix(' ')?;
    let (micros, rest) = iso_time(rest)?;
    let (_zone, rest) = rest.trim_start().split_once(' ')?;
    Some(after_host(rest, Some(Moment { micros, base: Base::Clock })))
}

/// `2024-08-30T17:01:48.358351+00:00 host kernel: text`, `2024-08-30T17:01:48,358+00:00 text` (dmesg),
/// `2020-12-31T00:39:25.857705+08:00|warning|kernel[-]|[21202265.886150] text` (openEuler)
fn iso(line: &str) -> Option<Line<'_>> {
    let (micros, rest) = iso_time(line)?;
    let at = Some(Moment { micros, base: Base::Clock });
    if let Some(fields) = rest.strip_prefix('|') {
        let (_level, fields) = fields.split_once('|')?;
        let said = fields.strip_prefix("kernel[-]|").map(|text| (Speaker::Kernel, text));
        let (speaker, text) = said.unwrap_or((Speaker::Program, fields));
        return Some(Line { speaker, at, text: without_brackets(text) });
    }
    let rest = rest.trim_start();
    // dmesg writes a comma before the microseconds and no host.
    if line.as_bytes().get(19) == Some(&b',') {
        let speaker = if by_a_program(rest) { Speaker::Forged } else { Speaker::Unknown };
        return Some(Line { speaker, at, text: rest });
    }
    Some(after_host(rest, at))
}

/// `host kernel: text` or `host program[7]: text`; some write two names of the host.
fn after_host(rest: &str, at: Option<Moment>) -> Line<'_> {
    let mut left = rest;
    for _ in 0..3 {
        let Some((word, after)) = left.split_once(' ') else { break };
        if word == "kernel:" {
            return Line { speaker: Speaker::Kernel, at, text: without_brackets(after) };
        }
        if word.ends_with(':') {
            return Line { speaker: Speaker::Program, at, text: after };
        }
        left = after;
    }
    Line { speaker: Speaker::Program, at, text: rest }
}

/// The kernel's own time in front of what it says, as many syslog files keep it.
fn without_brackets(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .filter(|(inside, _)| seconds(inside.trim()).is_some())
        .map_or(text, |(_, text)| text.trim_start())
}

/// "15.582246" in microseconds.
fn seconds(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.')?;
    let whole: i64 = whole.parse().ok().filter(|whole| *whole >= 0)?;
    whole.checked_mul(1_000_000)?.checked_add(fraction(part)?)
}

/// Digits after the point, in microseconds.
fn fraction(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.bytes().chain(std::iter::repeat(b'0')).take(6).fold(0, |sum, b| sum * 10 + i64::from(b - b'0')))
}

/// "03:40:50" or "03:40:50.123456" in microseconds of the day.
fn clock(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let hour: i64 = parts.next()?.parse().ok().filter(|hour| (0..24).contains(hour))?;
    let minute: i64 = parts.next()?.parse().ok().filter(|minute| (0..60).contains(minute))?;
    let last = parts.next()?;
    let (second, part) = last.split_once(['.', ',']).unwrap_or((last, "0"));
    let second: i64 = second.parse().ok().filter(|second| (0..=60).contains(second))?;
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction(part)?)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn month(name: &str) -> Option<i64> {
    MONTHS.iter().position(|known| *known == name).map(|at| at as i64 + 1)
}

/// "Mon Aug 17 00:00:24 2026", and the fabric manager's "Feb 25 2025 13:59:45".
fn ctime(text: &str) -> Option<Moment> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (month_name, day, time, year) = match words[..] {
        [_, month, day, time, year] => (month, day, time, year),
        [month, day, year, time] => (month, day, time, year),
        _ => return None,
    };
    let days = days_from_civil(
        year.parse().ok().filter(|year| (1970..3000).contains(year))?,
        month(month_name)?,
        day.parse().ok().filter(|day| (1..=31).contains(day))?,
    );
    Some(Moment { micros: days * 86_400_000_000 + clock(time)?, base: Base::Clock })
}

/// A time of ISO 8601 at the beginning of a text, in microseconds since 1970, and what follows.
fn iso_time(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || bytes[4] != b'-' || bytes[7] != b'-' || !matches!(bytes[10], b'T' | b' ') {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !(1970..3000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut end = 19;
    if matches!(bytes.get(19), Some(b'.' | b',')) {
        end = 20 + bytes[20..].iter().take_while(|b| b.is_ascii_digit()).count();
    }
    let time = clock(text.get(11..end)?)?;
    let mut offset = 0;
    let mut rest = text.get(end..)?;
    if let Some(after) = rest.strip_prefix('Z') {
        rest = after;
    } else if let Some(sign @ (b'+' | b'-')) = rest.bytes().next() {
        let digits: String = rest[1..].chars().filter(|c| *c != ':').take(4).collect();
        let zone: i64 = digits.parse().ok()?;
        let minutes = zone / 100 * 60 + zone % 100;
        offset = if sign == b'+' { minutes } else { -minutes };
        let length = if rest.as_bytes().get(3) == Some(&b':') { 6 } else { 5 };
        rest = rest.get(length..)?;
    }
    Some((days_from_civil(year, month, day) * 86_400_000_000 + time - offset * 60_000_000, rest))
}

/// Days since 1970-01-01 in the calendar of today (proleptic Gregorian), counting years from March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
