//! What each queue used lately: the memory behind fair shares.

use serde::{Deserialize, Serialize};
use spec::{Span, Time};
use std::collections::BTreeMap;

/// Use is remembered by the hour it ended in.
const HOUR: u64 = 3_600_000;

/// Hours remembered: four weeks, so that even a half-life of days loses nothing that would still weigh.
const HOURS: usize = 28 * 24;

/// Processor milliseconds used, by hour. Kept undecayed: how fast it is forgotten is a setting of the
/// decision ([`placement::Policy::usage_half_life`]), and a replay must not depend on settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger(BTreeMap<u64, u64>);

impl Ledger {
    /// Books `cpu_millis` (thousandths of a CPU times milliseconds, divided by 1000) as used at `at`.
    pub fn charge(&mut self, cpu_millis: u64, at: Time) {
        let slot = self.0.entry(at.0 / HOUR).or_default();
        *slot = slot.saturating_add(cpu_millis);
        while self.0.len() > HOURS {
            self.0.pop_first();
        }
    }

    /// What is left of it at `now`, halved every `half_life` and falling in a straight line between two
    /// halvings. Whole numbers only, so that two computers agree.
    pub fn decayed(&self, now: Time, half_life: Span) -> u64 {
        // Ages are counted in whole hours, since that is how finely use is remembered.
        let age = |hour: u64| Span((now.0 / HOUR).saturating_sub(hour).saturating_mul(HOUR));
        self.0.iter().fold(0, |sum: u64, (hour, used)| sum.saturating_add(decay(*used, age(*hour), half_life)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn decay(used: u64, age: Span, half_life: Span) -> u64 {
    if half_life.0 == 0 {
        return 0;
    }
    let halvings = age.0 / half_life.0;
    if halvings >= 64 {
        return 0;
    }
    let whole = used >> halvings;
    let partly = u128::from(whole) * u128::from(age.0 % half_life.0) / (2 * u128::from(half_life.0));
    whole - u64::try_from(partly).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn use_is_halved_every_half_life() {
        let mut ledger = Ledger::default();
        ledger.charge(1000, Time(10));
        let day = Span::hours(24);
        for (hours, left) in [(0, 1000), (12, 750), (24, 500), (36, 375), (48, 250), (24 * 70, 0)] {
            assert_eq!(ledger.decayed(Time(hours * HOUR), day), left, "after {hours} hours");
        }
        assert_eq!(ledger.decayed(Time(0), Span::ZERO), 0);
    }

    #[test]
    fn only_the_newest_hours_are_kept() {
        let mut ledger = Ledger::default();
        (0..2000).for_each(|hour| ledger.charge(1, Time(hour * HOUR)));
        assert_eq!(ledger.0.len(), HOURS);
        assert_eq!(ledger.0.first_key_value(), Some((&(2000 - HOURS as u64), &1)));
    }

    proptest! {
        #[test]
        fn decay_never_grows_and_never_panics(used: u64, age: u64, later: u64, half_life: u64) {
            let (age, later) = (Span(age.min(later)), Span(age.max(later)));
            prop_assert!(decay(used, age, Span(half_life)) >= decay(used, later, Span(half_life)));
            prop_assert!(decay(used, age, Span(half_life)) <= used);
        }
    }
}
