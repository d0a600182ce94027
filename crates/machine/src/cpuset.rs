//! Sets of small numbers: logical CPUs, or memory nodes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A set of logical CPU numbers (or NUMA node numbers), written as the kernel writes its lists: `0-3,8`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuSet(BTreeSet<u32>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a CPU list: {why}")]
pub struct CpuSetError {
    pub text: String,
    pub why: &'static str,
}

/// The kernel's own ceiling is 8192 CPUs; a larger number in a list is damage, and a range of billions
/// must not become an allocation.
const LARGEST: u32 = 65_535;

impl CpuSet {
    pub fn new() -> CpuSet {
        CpuSet::default()
    }

    pub fn insert(&mut self, cpu: u32) {
        self.0.insert(cpu);
    }

    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    pub fn union(&self, other: &CpuSet) -> CpuSet {
        CpuSet(self.0.union(&other.0).copied().collect())
    }

    pub fn intersection(&self, other: &CpuSet) -> CpuSet {
        CpuSet(self.0.intersection(&other.0).copied().collect())
    }

    pub fn difference(&self, other: &CpuSet) -> CpuSet {
        CpuSet(self.0.difference(&other.0).copied().collect())
    }

    pub fn is_disjoint(&self, other: &CpuSet) -> bool {
        self.0.is_disjoint(&other.0)
    }

    pub fn is_subset(&self, other: &CpuSet) -> bool {
        self.0.is_subset(&other.0)
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(iter: I) -> CpuSet {
        CpuSet(iter.into_iter().collect())
    }
}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    /// Reads the kernel's list format. Spaces and the trailing newline of a sysfs file are allowed; an empty text is the empty set.
    fn from_str(text: &str) -> Result<CpuSet, CpuSetError> {
        let error = |why| CpuSetError { text: text.trim().chars().take(80).collect(), why };
        let number = |part: &str| -> Result<u32, CpuSetError> {
            let n = part.trim().parse::<u32>().map_err(|_| error("expected numbers and ranges such as 0-3,8"))?;
            if n > LARGEST { Err(error("a number is larger than any kernel allows")) } else { Ok(n) }
        };
        let mut set = CpuSet::new();
        for part in text.trim().split(',').filter(|part| !part.trim().is_empty()) {
            match part.split_once('-') {
                None => set.insert(number(part)?),
                Some((low, high)) => {
                    let (low, high) = (number(low)?, number(high)?);
                    if low > high {
                        return Err(error("a range runs backwards"));
                    }
                    (low..=high).for_each(|cpu| set.insert(cpu));
                }
            }
        }
        Ok(set)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut cpus = self.iter().peekable();
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.peek() == Some(&(last + 1)) {
                last += 1;
                cpus.next();
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&first.to_string());
            if last > first {
                text.push_str(&format!("-{last}"));
            }
        }
        f.pad(&text)
    }
}

impl Serialize for CpuSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CpuSet, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        for (text, cpus) in [
            ("", vec![]),
            ("\n", vec![]),
            ("0", vec![0]),
            ("0-3,8\n", vec![0, 1, 2, 3, 8]),
            ("0, 2 ,4-5", vec![0, 2, 4, 5]),
            ("7,1,1-2", vec![1, 2, 7]),
        ] {
            assert_eq!(text.parse::<CpuSet>().unwrap(), cpus.into_iter().collect(), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_list() {
        for text in ["a", "3-1", "0-", "-1", "0-4294967295", "99999999999", "0x3"] {
            assert!(text.parse::<CpuSet>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_set_survives_printing(cpus in proptest::collection::btree_set(0u32..512, 0..64)) {
            let set: CpuSet = cpus.into_iter().collect();
            prop_assert_eq!(set.to_string().parse::<CpuSet>().unwrap(), set);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,64}") {
            let _ = text.parse::<CpuSet>();
        }
    }
}
