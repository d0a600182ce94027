//! Sets of small numbers: logical CPUs, or memory nodes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A set of logical CPU numbers (or NUMA node numbers), written as the kernel writes its lists: `0-3,8`.
///
/// Words of 64 bits, lowest first, without zero words at the end, so that equal sets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CpuSet(Vec<u64>);

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

    /// Numbers beyond any kernel's (65,535) are left out.
    pub fn insert(&mut self, cpu: u32) {
        self.insert_range(cpu, cpu);
    }

    /// All numbers from `low` to `high`; see [`CpuSet::insert`].
    fn insert_range(&mut self, low: u32, high: u32) {
        let high = high.min(LARGEST);
        if low > high {
            return;
        }
        let (first, last) = (low as usize / 64, high as usize / 64);
        if self.0.len() <= last {
            self.0.resize(last + 1, 0);
        }
        for (word, bits) in self.0.iter_mut().enumerate().take(last + 1).skip(first) {
            let from = if word == first { low % 64 } else { 0 };
            let to = if word == last { high % 64 } else { 63 };
            *bits |= (u64::MAX >> (63 - to)) & (u64::MAX << from);
        }
    }

    pub fn contains(&self, cpu: u32) -> bool {
        self.0.get(cpu as usize / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest member.
    pub fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// The highest member.
    pub fn last(&self) -> Option<u32> {
        let word = self.0.last()?;
        Some((self.0.len() as u32 - 1) * 64 + 63 - word.leading_zeros())
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(at as u32 * 64 + bit)
            })
        })
    }

    /// The words of the set, 64 numbers each, lowest first.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    pub fn union(&self, other: &CpuSet) -> CpuSet {
        let (long, short) = if self.0.len() >= other.0.len() { (self, other) } else { (other, self) };
        let mut words = long.0.clone();
        words.iter_mut().zip(&short.0).for_each(|(word, more)| *word |= more);
        CpuSet(words)
    }

    pub fn intersection(&self, other: &CpuSet) -> CpuSet {
        CpuSet::trimmed(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    pub fn difference(&self, other: &CpuSet) -> CpuSet {
        let without = |(at, word): (usize, &u64)| word & !other.0.get(at).copied().unwrap_or(0);
        CpuSet::trimmed(self.0.iter().enumerate().map(without).collect())
    }

    pub fn is_disjoint(&self, other: &CpuSet) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & b == 0)
    }

    pub fn is_subset(&self, other: &CpuSet) -> bool {
        self.0.len() <= other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    fn trimmed(mut words: Vec<u64>) -> CpuSet {
        words.truncate(words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1));
        CpuSet(words)
    }
}

/// By members, lowest first, as lists compare.
impl Ord for CpuSet {
    fn cmp(&self, other: &CpuSet) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for CpuSet {
    fn partial_cmp(&self, other: &CpuSet) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(iter: I) -> CpuSet {
        let mut set = CpuSet::new();
        iter.into_iter().for_each(|cpu| set.insert(cpu));
        set
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
                    set.insert_range(low, high);
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
    use std::collections::BTreeSet;

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
    fn numbers_beyond_any_kernel_are_left_out() {
        let set: CpuSet = [3, LARGEST, LARGEST + 1, u32::MAX].into_iter().collect();
        assert_eq!((set.len(), set.last()), (2, Some(LARGEST)));
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
        fn sets_count_as_ordered_sets_of_numbers_do(
            a in proptest::collection::btree_set(0u32..200, 0..40),
            b in proptest::collection::btree_set(0u32..200, 0..40),
            probe in 0u32..256,
        ) {
            let set = |numbers: &BTreeSet<u32>| numbers.iter().copied().collect::<CpuSet>();
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(x.union(&y), set(&a.union(&b).copied().collect()));
            prop_assert_eq!(x.intersection(&y), set(&a.intersection(&b).copied().collect()));
            prop_assert_eq!(x.difference(&y), set(&a.difference(&b).copied().collect()));
            prop_assert_eq!((x.is_subset(&y), x.is_disjoint(&y)), (a.is_subset(&b), a.is_disjoint(&b)));
            prop_assert_eq!((x.len(), x.is_empty(), x.contains(probe)), (a.len(), a.is_empty(), a.contains(&probe)));
            prop_assert_eq!((x.first(), x.last()), (a.first().copied(), a.last().copied()));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.iter().collect::<BTreeSet<u32>>(), a);
        }

        #[test]
        fn ranges_are_their_members(low in 0u32..300, length in 0u32..300) {
            let set: CpuSet = format!("{low}-{}", low + length).parse().unwrap();
            prop_assert_eq!(set.iter().collect::<Vec<u32>>(), (low..=low + length).collect::<Vec<u32>>());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,64}") {
            let _ = text.parse::<CpuSet>();
        }
    }
}
