//! An amount of memory or storage.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

/// A count of bytes. Decimal units (`24GB`) are powers of 1000 and binary units (`24GiB`) powers of 1024,
/// so "24GB" fits a card whose driver reports 24564 MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    pub const ZERO: Bytes = Bytes(0);

    pub const fn kib(n: u64) -> Bytes {
        Bytes(n << 10)
    }

    pub const fn mib(n: u64) -> Bytes {
        Bytes(n << 20)
    }

    pub const fn gib(n: u64) -> Bytes {
        Bytes(n << 30)
    }

    pub const fn gb(n: u64) -> Bytes {
        Bytes(n * 1_000_000_000)
    }

    pub fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }

    /// `self * numerator / denominator` without overflow; zero when the denominator is zero.
    pub fn scaled(self, numerator: u64, denominator: u64) -> Bytes {
        if denominator == 0 {
            return Bytes::ZERO;
        }
        let value = u128::from(self.0) * u128::from(numerator) / u128::from(denominator);
        Bytes(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl Add for Bytes {
    type Output = Bytes;
    fn add(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_add(other.0))
    }
}

impl Sub for Bytes {
    type Output = Bytes;
    fn sub(self, other: Bytes) -> Bytes {
        Bytes(self.0 - other.0)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(iter: I) -> Bytes {
        iter.fold(Bytes::ZERO, Add::add)
    }
}

impl fmt::Display for Bytes {
    /// Three significant digits at most, in binary units, as `free -h` and `nvidia-smi` users expect.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let text = if unit == 0 {
            format!("{} B", self.0)
        } else if value >= 100.0 || (value - value.round()).abs() < 0.05 {
            format!("{value:.0} {}", UNITS[unit])
        } else {
            format!("{value:.1} {}", UNITS[unit])
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (bytes, text) in [
            (Bytes(0), "0 B"),
            (Bytes(1023), "1023 B"),
            (Bytes::kib(1), "1 KiB"),
            (Bytes(1536), "1.5 KiB"),
            (Bytes::gib(24), "24 GiB"),
            (Bytes::mib(81559), "79.6 GiB"),
            (Bytes::gib(2048), "2 TiB"),
        ] {
            assert_eq!(bytes.to_string(), text);
        }
    }

    #[test]
    fn scaling_never_overflows() {
        assert_eq!(Bytes(u64::MAX).scaled(u64::MAX, 1), Bytes(u64::MAX));
        assert_eq!(Bytes::gib(24).scaled(1, 2), Bytes::gib(12));
        assert_eq!(Bytes::gib(24).scaled(1, 0), Bytes::ZERO);
    }
}
