//! Sizes, lengths of time and processor time.

use crate::field_error::{FieldError, Quoted};
use crate::{Span, limits};
use machine::{Bytes, CpuShare};
use std::ops::RangeInclusive;

/// A decimal number without sign, kept exact: `digits / 10^decimals`.
#[derive(Clone, Copy)]
struct Number {
    digits: u128,
    decimals: u32,
}

impl Number {
    /// Reads the number at the start of the text; gives what follows it. At most 20 digits in all, as many
    /// as any 64-bit value has; no product below overflows.
    fn read(text: &str) -> Option<(Number, &str)> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let complete = !whole.is_empty() && !fraction.contains('.') && (number.len() == whole.len() || !fraction.is_empty());
        if !complete || whole.len() + fraction.len() > 20 {
            return None;
        }
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some((Number { digits, decimals: u32::try_from(fraction.len()).ok()? }, rest))
    }

    /// `self * factor`, rounded down.
    fn times(self, factor: u64) -> u128 {
        self.digits * u128::from(factor) / 10u128.pow(self.decimals)
    }
}

const SIZE_UNITS: [(&str, u64); 11] = [
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

/// Reads a size such as `24GB` (powers of 1000) or `24GiB` (powers of 1024). A number without a unit and the
/// lone letters of other tools, which read them in both ways, are errors.
pub fn parse_bytes(text: &str) -> Result<Bytes, FieldError> {
    let text = text.trim();
    let Some((number, unit)) = Number::read(text) else {
        return Err(FieldError::new(format!("{} is not a size", Quoted(text))).hint("write a number and a unit, such as 24GB or 1.5GiB"));
    };
    let written = &text[..text.len() - unit.len()];
    let unit = unit.trim();
    if unit.is_empty() {
        return Err(FieldError::new(format!("size {} has no unit", Quoted(text)))
            .hint(format!("write {written}GB (powers of 1000), {written}GiB (powers of 1024) or {written}MB")));
    }
    let factor =
        SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit) || is_kubernetes(name, unit)).map(|(_, factor)| *factor);
    let Some(factor) = factor else {
        return Err(unknown_size_unit(text, written, unit));
    };
    match u64::try_from(number.times(factor)) {
        Ok(bytes) if bytes <= limits::MEMORY_MAX.0 => Ok(Bytes(bytes)),
        _ => Err(FieldError::new(format!("size {} is larger than any machine", Quoted(text)))
            .hint(format!("the largest size is {}", write_bytes(limits::MEMORY_MAX)))),
    }
}

/// `Gi` means the same as `GiB` wherever it is used.
fn is_kubernetes(name: &str, unit: &str) -> bool {
    name.len() == 3 && unit.len() == 2 && name[..2].eq_ignore_ascii_case(unit)
}

fn unknown_size_unit(text: &str, written: &str, unit: &str) -> FieldError {
    let letter = unit.to_ascii_uppercase();
    if let "K" | "M" | "G" | "T" | "P" = letter.as_str() {
        return FieldError::new(format!("size {} has a unit that some tools read as powers of 1000 and others of 1024", Quoted(text)))
            .hint(format!("write {written}{letter}B (powers of 1000) or {written}{letter}iB (powers of 1024)"));
    }
    FieldError::new(format!("{} is not a unit of size", Quoted(unit)))
        .hint("use B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)")
}

/// The shortest exact spelling: `24GB`, `1536MiB`. Reads back as the same size.
pub fn write_bytes(bytes: Bytes) -> String {
    let exact = SIZE_UNITS.iter().filter(|(_, factor)| bytes.0.is_multiple_of(*factor));
    match exact.max_by_key(|(_, factor)| *factor) {
        Some((unit, factor)) if bytes.0 > 0 => format!("{}{unit}", bytes.0 / factor),
        _ => "0B".to_string(),
    }
}

/// Each unit with its milliseconds, largest first, and the spellings people use.
const TIME_UNITS: [(&str, u64, &[&str]); 6] = [
    ("w", 604_800_000, &["w", "wk", "wks", "week", "weeks"]),
    ("d", 86_400_000, &["d", "day", "days"]),
    ("h", 3_600_000, &["h", "hr", "hrs", "hour", "hours"]),
    ("m", 60_000, &["m", "min", "mins", "minute", "minutes"]),
    ("s", 1000, &["s", "sec", "secs", "second", "seconds"]),
    ("ms", 1, &["ms", "millis", "millisecond", "milliseconds"]),
];

/// Reads a length of time: `90s`, `2h30m`, `1.5d`, or as Slurm writes it, `HH:MM:SS` and `D-HH:MM:SS`. A
/// number without a unit and `MM:SS`, which people also read as hours and minutes, are errors.
pub fn parse_span(text: &str) -> Result<Span, FieldError> {
    let text = text.trim();
    let millis = if text.contains(':') || text.contains('-') { clock(text)? } else { units(text)? };
    match u64::try_from(millis) {
        Ok(millis) if millis <= limits::SPAN_MAX.0 => Ok(Span(millis)),
        _ => Err(FieldError::new(format!("{} is longer than ten years", Quoted(text))).hint("leave it out for no limit")),
    }
}

fn not_a_span(text: &str) -> FieldError {
    FieldError::new(format!("{} is not a length of time", Quoted(text))).hint("write it such as 90s, 2h30m, 1d or 01:30:00")
}

fn units(text: &str) -> Result<u128, FieldError> {
    let mut rest = text;
    let mut total = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = Number::read(rest).ok_or_else(|| not_a_span(text))?;
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if unit.is_empty() {
            let written = rest.trim();
            let hint = if written == text { format!("write {text}s, {text}m or {text}h") } else { "give every number a unit".to_string() };
            return Err(FieldError::new(format!("length of time {} has no unit", Quoted(text))).hint(hint));
        }
        // Elsewhere a capital M alone is a month; nobody means a month here, but some mean it as minutes.
        let found = TIME_UNITS.iter().find(|(_, _, names)| names.iter().any(|name| name.eq_ignore_ascii_case(unit) && unit != "M"));
        let Some((_, factor, _)) = found else {
            return Err(FieldError::new(format!("{} is not a unit of time", Quoted(unit)))
                .hint("use w, d, h, m (minutes), s or ms: 90s, 2h30m, 1d"));
        };
        if *factor >= smallest {
            return Err(FieldError::new(format!("{} names a smaller unit before a larger one, or one twice", Quoted(text)))
                .hint("write the largest unit first, each once: 1d 2h 30m"));
        }
        smallest = *factor;
        total += number.times(*factor);
        rest = next.trim_start();
    }
    if text.is_empty() { Err(not_a_span(text)) } else { Ok(total) }
}

/// `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`.
fn clock(text: &str) -> Result<u128, FieldError> {
    let number = |part: &str, below: u128| -> Result<u128, FieldError> {
        let digits = (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let value: Option<u128> = digits.then(|| part.parse().ok()).flatten();
        value.filter(|value| *value < below).ok_or_else(|| not_a_span(text))
    };
    let (days, time) = match text.split_once('-') {
        Some((days, time)) => (Some(number(days, u128::MAX)?), time),
        None => (None, text),
    };
    let parts: Vec<&str> = time.split(':').collect();
    let hours_below = if days.is_some() { 24 } else { u128::MAX };
    let (hours, minutes, seconds) = match (parts.as_slice(), days) {
        ([hours, minutes, seconds], _) => (number(hours, hours_below)?, number(minutes, 60)?, number(seconds, 60)?),
        ([hours, minutes], Some(_)) => (number(hours, hours_below)?, number(minutes, 60)?, 0),
        ([hours], Some(_)) => (number(hours, hours_below)?, 0, 0),
        ([first, second], None) if number(first, u128::MAX).is_ok() && number(second, 60).is_ok() => {
            return Err(FieldError::new(format!("{} may be hours and minutes or minutes and seconds", Quoted(text)))
                .hint(format!("write {first}:{second}:00 or 0:{first}:{second}, or with units: {first}h{second}m, {first}m{second}s")));
        }
        _ => return Err(not_a_span(text)),
    };
    Ok((((days.unwrap_or(0) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000)
}

/// The exact spelling: `1d2h`, `90s` as `1m30s`. Reads back as the same span.
pub fn write_span(span: Span) -> String {
    let mut rest = span.0;
    let mut text = String::new();
    // Weeks are read but never written: nobody counts in them above a few days.
    for (unit, factor, _) in &TIME_UNITS[1..] {
        if rest >= *factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_string() } else { text }
}

/// Reads processor time: whole CPUs such as `4`, or a part of one such as `0.5`. Thousandths count.
pub fn parse_cpus(text: &str) -> Result<CpuShare, FieldError> {
    let text = text.trim();
    let error = |message: &str, hint: &str| Err(FieldError::new(format!("{} {message}", Quoted(text))).hint(hint));
    let Some((number, "")) = Number::read(text) else {
        return error("is not a number of CPUs", "write whole CPUs such as 4, or a part of one such as 0.5");
    };
    let thousandths = number.times(1000);
    let exact = thousandths * 10u128.pow(number.decimals) == number.digits * 1000;
    if number.digits == 0 {
        return error("is no processor time", "write at least 0.001");
    }
    if !exact {
        return error("is finer than a thousandth of a CPU", "write at most three decimals");
    }
    if thousandths > 1000 && thousandths % 1000 != 0 {
        let (low, high) = (thousandths / 1000, thousandths / 1000 + 1);
        return error("is more than one CPU and not whole", &format!("write {low} or {high}"));
    }
    match u32::try_from(thousandths) {
        Ok(share) if thousandths / 1000 <= *limits::CPUS.end() as u128 => Ok(CpuShare(share)),
        _ => error("is more CPUs than any machine has", &format!("the most is {}", limits::CPUS.end())),
    }
}

/// The exact spelling: `4`, `0.5`. Reads back as the same share.
pub fn write_cpus(share: CpuShare) -> String {
    let text = format!("{}.{:03}", share.0 / 1000, share.0 % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// The one sentence about a number outside of its bounds.
pub(crate) fn bounded(what: &str, value: i128, range: &RangeInclusive<i64>) -> Result<(), FieldError> {
    let (low, high) = (i128::from(*range.start()), i128::from(*range.end()));
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(FieldError::new(format!("{what} is {value}")).hint(format!("write a whole number from {low} to {high}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint<T: std::fmt::Debug>(result: Result<T, FieldError>) -> String {
        result.unwrap_err().hint.unwrap()
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("24GB", 24_000_000_000),
            ("24GiB", 24 << 30),
            ("24Gi", 24 << 30),
            ("24 gb", 24_000_000_000),
            ("1.5TB", 1_500_000_000_000),
            ("0.5KiB", 512),
            ("1.9B", 1),
            ("0B", 0),
            (" 7mb ", 7_000_000),
            ("9007199254740993B", 9_007_199_254_740_993),
        ] {
            assert_eq!(parse_bytes(text), Ok(Bytes(bytes)), "{text}");
        }
        for text in
            ["", "GB", "-1GB", "1..2GB", "1.GB", ".5GB", "1e9", "24GBs", "1GB 2MB", "1000000000000000000B9", "9999PB", "24\u{a0}GB!"]
        {
            assert!(parse_bytes(text).is_err(), "{text:?}");
        }
        assert_eq!(hint(parse_bytes("24")), "write 24GB (powers of 1000), 24GiB (powers of 1024) or 24MB");
        assert_eq!(hint(parse_bytes("24g")), "write 24GB (powers of 1000) or 24GiB (powers of 1024)");
    }

    #[test]
    fn spans() {
        for (text, millis) in [
            ("90s", 90_000),
            ("2h30m", 9_000_000),
            ("2h 30m", 9_000_000),
            ("1.5h", 5_400_000),
            ("1d", 86_400_000),
            ("1 week", 604_800_000),
            ("250ms", 250),
            ("2 hours 5 mins", 7_500_000),
            ("01:30:00", 5_400_000),
            ("100:00:00", 360_000_000),
            ("1-02:03:04", 93_784_000),
            ("2-12", 216_000_000),
            ("2-12:30", 217_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_span(text), Ok(Span(millis)), "{text}");
        }
        for text in [
            "",
            "h",
            "-5s",
            "1M",
            "5y",
            "30m2h",
            "5m5m",
            "1:60:00",
            "1:2:3:4",
            "1-24:00:00",
            "::",
            "-",
            "4000000w",
            "1h5",
            "18446744073709551615s 1000ms",
        ] {
            assert!(parse_span(text).is_err(), "{text:?}");
        }
        assert_eq!(hint(parse_span("90")), "write 90s, 90m or 90h");
        assert_eq!(hint(parse_span("1:30")), "write 1:30:00 or 0:1:30, or with units: 1h30m, 1m30s");
        assert_eq!(hint(parse_span("1h5")), "give every number a unit");
    }

    #[test]
    fn processor_time() {
        for (text, thousandths) in
            [("1", 1000), ("0.5", 500), ("4", 4000), ("4.0", 4000), ("0.125", 125), ("1.000", 1000), ("8192", 8_192_000)]
        {
            assert_eq!(parse_cpus(text), Ok(CpuShare(thousandths)), "{text}");
        }
        for text in ["", "0", "0.0", "-1", "1.5", "0.0005", "8193", "four", "4 cpus", "1e3", "99999999999999999"] {
            assert!(parse_cpus(text).is_err(), "{text:?}");
        }
        assert_eq!(hint(parse_cpus("2.5")), "write 2 or 3");
    }

    #[test]
    fn spellings_are_short() {
        assert_eq!(write_bytes(Bytes(0)), "0B");
        assert_eq!(write_bytes(Bytes::gb(24)), "24GB");
        assert_eq!(write_bytes(Bytes::gib(24)), "24GiB");
        assert_eq!(write_bytes(Bytes(1001)), "1001B");
        assert_eq!(write_span(Span::seconds(90)), "1m30s");
        assert_eq!(write_span(Span::ZERO), "0s");
        assert_eq!(write_span(Span(86_400_001)), "1d1ms");
        assert_eq!(write_cpus(CpuShare(500)), "0.5");
        assert_eq!(write_cpus(CpuShare(10_000)), "10");
    }
}
