//! The daemon's clock: wall time that never goes back.
//!
//! Every record carries the time it was accepted, and timers compare such times, so a clock that steps back
//! (a dead battery, a first sync with a time server) must not reorder them or hold up a back-off for hours.

use spec::Time;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from; replaced in tests.
pub struct Source {
    /// Milliseconds since 1970 as the system says.
    pub wall: Box<dyn FnMut() -> u64 + Send>,
    /// Time since any fixed moment; never goes back.
    pub monotonic: Box<dyn FnMut() -> Duration + Send>,
}

impl Source {
    pub fn system() -> Source {
        let start = Instant::now();
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        Source { wall: Box::new(wall), monotonic: Box::new(move || start.elapsed()) }
    }
}

/// A step back of the wall by more than this is told to the administrator.
const STEP: u64 = 2_000;

/// While the wall is behind what was already given out, time runs on at nine tenths of its speed: timers stay
/// nearly right, and a step back of an hour is made good after ten hours.
pub struct Clock {
    source: Source,
    last: u64,
    last_monotonic: Duration,
    /// The part of a millisecond that integer division left over, in tenths.
    rest: u64,
}

impl Clock {
    /// Starts no earlier than `last`, the time of the newest record on disk.
    pub fn new(mut source: Source, last: Time) -> Clock {
        let last_monotonic = (source.monotonic)();
        Clock { source, last: last.0, last_monotonic, rest: 0 }
    }

    pub fn now(&mut self) -> Time {
        let wall = (self.source.wall)();
        let monotonic = (self.source.monotonic)();
        let elapsed = u64::try_from(monotonic.saturating_sub(self.last_monotonic).as_millis()).unwrap_or(u64::MAX);
        let tenths = elapsed.saturating_mul(9).saturating_add(self.rest);
        let slow = self.last.saturating_add(tenths / 10);
        if wall >= slow {
            (self.last, self.rest, self.last_monotonic) = (wall, 0, monotonic);
        } else if elapsed > 0 {
            // Within one millisecond the earlier reading is kept, or many calls would stop time.
            (self.last, self.rest, self.last_monotonic) = (slow, tenths % 10, monotonic);
        }
        Time(self.last)
    }

    /// How far the wall is behind, where it is by more than two seconds.
    pub fn behind(&mut self) -> Option<spec::Span> {
        let gap = self.last.saturating_sub((self.source.wall)());
        (gap > STEP).then_some(spec::Span(gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    fn fake(last: u64) -> (Arc<AtomicU64>, Arc<AtomicU64>, Clock) {
        let (wall, mono) = (Arc::new(AtomicU64::new(1_000_000)), Arc::new(AtomicU64::new(0)));
        let (w, m) = (wall.clone(), mono.clone());
        let source =
            Source { wall: Box::new(move || w.load(Relaxed)), monotonic: Box::new(move || Duration::from_micros(m.load(Relaxed))) };
        (wall, mono, Clock::new(source, Time(last)))
    }

    #[test]
    fn follows_the_wall_forward() {
        let (wall, _, mut clock) = fake(0);
        assert_eq!(clock.now(), Time(1_000_000));
        wall.store(5_000_000, Relaxed);
        assert_eq!(clock.now(), Time(5_000_000));
        assert_eq!(clock.behind(), None);
    }

    #[test]
    fn a_step_back_slows_time_down_until_the_wall_is_there_again() {
        let (wall, mono, mut clock) = fake(0);
        clock.now();
        wall.store(990_000, Relaxed);
        assert_eq!(clock.now(), Time(1_000_000));
        assert_eq!(clock.behind(), Some(spec::Span(10_000)));
        let mut before = clock.now();
        for step in 1..=100u64 {
            wall.store(990_000 + step * 1000, Relaxed);
            mono.store(step * 1_000_000, Relaxed);
            let now = clock.now();
            assert!(now > before);
            before = now;
        }
        // 100 s later the 10 s are made good.
        assert_eq!(before, Time(1_090_000));
        assert_eq!(clock.behind(), None);
    }

    #[test]
    fn many_readings_within_a_millisecond_do_not_stop_time() {
        let (_, mono, mut clock) = fake(2_000_000);
        for micros in (0..10_000).step_by(100) {
            mono.store(micros, Relaxed);
            clock.now();
        }
        mono.store(10_000, Relaxed);
        assert_eq!(clock.now(), Time(2_000_009));
        assert_eq!(clock.now(), Time(2_000_009));
    }

    #[test]
    fn a_new_daemon_goes_on_from_the_newest_record() {
        let (_, _, mut clock) = fake(7_000_000);
        assert_eq!(clock.now(), Time(7_000_000));
    }
}
