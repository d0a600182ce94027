//! Points in time and lengths of time, as arguments: nothing below the rim reads a clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};

/// A point in time: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn millis(n: u64) -> Span {
        Span(n)
    }

    pub const fn seconds(n: u64) -> Span {
        Span(n * 1000)
    }

    pub const fn minutes(n: u64) -> Span {
        Span::seconds(n * 60)
    }

    pub const fn hours(n: u64) -> Span {
        Span::minutes(n * 60)
    }

    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

impl Sub for Time {
    type Output = Span;
    /// Zero when `earlier` is in fact later: clocks step back.
    fn sub(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Span {
    /// Two units at most: `41 ms`, `3.2 s`, `5m 12s`, `2h 3m`, `4d 1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let text = match seconds {
            0 => format!("{} ms", self.0),
            1..60 => format!("{:.1} s", self.0 as f64 / 1000.0),
            60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
            3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
            _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        for (millis, text) in
            [(0, "0 ms"), (41, "41 ms"), (3200, "3.2 s"), (312_000, "5m 12s"), (7_380_000, "2h 3m"), (349_200_000, "4d 1h")]
        {
            assert_eq!(Span(millis).to_string(), text);
        }
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_negative_span() {
        assert_eq!(Time(5) - Time(9), Span(0));
    }
}
