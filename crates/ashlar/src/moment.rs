//! Points in time as people read them.

use spec::Time;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}

/// "3m 2s ago", "in 4h 10m", "now".
pub fn relative(at: Time, now: Time) -> String {
    if at.0.abs_diff(now.0) < 1000 {
        "now".into()
    } else if at <= now {
        format!("{} ago", now - at)
    } else {
        format!("in {}", at - now)
    }
}

/// How long it took, or takes so far.
pub fn elapsed(from: Option<Time>, to: Option<Time>, now: Time) -> String {
    from.map_or_else(|| "-".into(), |from| (to.unwrap_or(now) - from).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_relative_to_now() {
        let now = Time(1_000_000);
        assert_eq!(relative(Time(1_000_400), now), "now");
        assert_eq!(relative(Time(818_000), now), "3m 2s ago");
        assert_eq!(relative(Time(16_000_000), now), "in 4h 10m");
    }
}
