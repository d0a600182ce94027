//! The clocks of the machine, read here only.

use spec::{Span, Time};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time for records. Never used to measure: it may step.
pub fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}

/// Measures a span on the clock that only goes forward.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub fn elapsed(&self) -> Span {
        Span(self.0.elapsed().as_millis() as u64)
    }
}
