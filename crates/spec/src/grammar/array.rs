//! Arrays and dependencies.

use crate::field_error::{FieldError, Quoted};
use crate::limits;
use crate::words::Word;
use crate::{Array, Dependency, DependencyCondition, JobId};
use std::fmt;

/// Reads `0-99%10`, `1,3,5-7`. Indices may come in any order but each once; what is kept is ascending, with
/// neighbours joined.
pub fn parse_array(text: &str) -> Result<Array, FieldError> {
    let text = text.trim();
    let (list, at_once) = match text.split_once('%') {
        None => (text, None),
        Some((list, at_once)) => (list, Some(at_once_of(at_once.trim())?)),
    };
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for piece in list.split(',').map(str::trim) {
        ranges.push(range(text, piece)?);
        // Each range holds an index at least, so a longer list is too long whatever it says.
        if ranges.len() as u64 > limits::ARRAY_TASKS {
            return Err(too_many(limits::ARRAY_TASKS + 1));
        }
    }
    ranges.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (low, high) in ranges {
        match joined.last_mut() {
            Some((_, end)) if *end >= low => {
                return Err(FieldError::new(format!("the array names the index {low} twice")).hint("name every index once"));
            }
            Some((_, end)) if end.checked_add(1) == Some(low) => *end = high,
            _ => joined.push((low, high)),
        }
    }
    let array = Array { ranges: joined, at_once };
    if array.len() > limits::ARRAY_TASKS { Err(too_many(array.len())) } else { Ok(array) }
}

fn too_many(tasks: u64) -> FieldError {
    FieldError::new(format!("the array has {tasks} tasks")).hint(format!("an array has at most {}; submit several", limits::ARRAY_TASKS))
}

fn at_once_of(text: &str) -> Result<u32, FieldError> {
    let value = text.parse::<u32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    match value {
        Some(0) => {
            Err(FieldError::new("the array lets 0 tasks run at once, so none would ever start").hint("write at least %1, or leave it out"))
        }
        Some(value) if i64::from(value) <= *limits::AT_ONCE.end() => Ok(value),
        _ => Err(FieldError::new(format!("{} is not a number of tasks at once", Quoted(text))).hint("write it such as 0-99%10")),
    }
}

fn range(text: &str, piece: &str) -> Result<(u32, u32), FieldError> {
    let number = |part: &str| part.parse::<u32>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
    let parsed = match piece.split_once('-') {
        None => number(piece).map(|index| (index, index)),
        Some((low, high)) => number(low.trim()).zip(number(high.trim())),
    };
    match parsed {
        Some((low, high)) if low > high => {
            Err(FieldError::new(format!("the array range {} ends below its start", Quoted(piece))).hint(format!("write {high}-{low}")))
        }
        Some(range) => Ok(range),
        None if piece.contains(':') => Err(FieldError::new(format!("{} has a step, which arrays do not have", Quoted(text)))
            .hint("list the indices, or multiply ASHLAR_ARRAY_INDEX in the job")),
        None => {
            Err(FieldError::new(format!("{} is not an array", Quoted(text))).hint("write indices and ranges such as 0-99%10 or 1,3,5-7"))
        }
    }
}

impl fmt::Display for Array {
    /// The text that [`parse_array`] reads as this array.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(low, high): &(u32, u32)| if low == high { low.to_string() } else { format!("{low}-{high}") };
        let mut text = self.ranges.iter().map(range).collect::<Vec<_>>().join(",");
        if let Some(at_once) = self.at_once {
            text.push_str(&format!("%{at_once}"));
        }
        f.pad(&text)
    }
}

/// Reads `17`, `17.3`, `17:any`, `17:not-ok`; without a condition the other job must succeed.
pub fn parse_dependency(text: &str) -> Result<Dependency, FieldError> {
    let text = text.trim();
    let (job, condition) = match text.split_once(':') {
        None => (text, DependencyCondition::Ok),
        Some((job, condition)) => (job, DependencyCondition::read(condition)?),
    };
    let job: JobId = job.trim().parse().map_err(|_| {
        FieldError::new(format!("{} is not a job id", Quoted(job)))
            .hint("write the number that submit printed, such as 17, 17:any or 17:not-ok")
    })?;
    Ok(Dependency { job, condition })
}

impl fmt::Display for Dependency {
    /// The text that [`parse_dependency`] reads as this dependency.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.condition {
            DependencyCondition::Ok => self.job.fmt(f),
            condition => f.pad(&format!("{}:{condition}", self.job)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays() {
        for (text, canonical, tasks) in [
            ("0-99%10", "0-99%10", 100),
            ("1,3,5-7", "1,3,5-7", 5),
            ("5", "5", 1),
            ("7-9, 1 - 3", "1-3,7-9", 6),
            ("1,2,3", "1-3", 3),
            ("0-99999", "0-99999", 100_000),
            ("4294967290-4294967294", "4294967290-4294967294", 5),
        ] {
            let array = parse_array(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(array.to_string(), canonical);
            assert_eq!(array.len(), tasks);
            assert_eq!(array.indices().count() as u64, tasks);
            assert_eq!(parse_array(canonical), Ok(array));
        }
        for text in [
            "",
            "-",
            "1-",
            "-1",
            "a",
            "1;2",
            "1,",
            "3-1",
            "1,1",
            "1-5,3",
            "0-100000",
            "0-4294967295",
            "0-9%0",
            "0-9%",
            "0-9%x",
            "0-9%100001",
            "+1",
        ] {
            assert!(parse_array(text).is_err(), "{text:?}");
        }
        assert!(parse_array("0-10:2").unwrap_err().message.contains("step"));
        let long = vec!["0"; 200_000].join(",");
        assert!(parse_array(&long).is_err());
    }

    #[test]
    fn dependencies() {
        for (text, canonical) in
            [("17", "17"), ("17:ok", "17"), ("17.3:any", "17.3:any"), ("17:not-ok", "17:not-ok"), ("17 : ANY", "17:any")]
        {
            let dependency = parse_dependency(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(dependency.to_string(), canonical);
            assert_eq!(parse_dependency(canonical), Ok(dependency));
        }
        assert_eq!(parse_dependency("17:okay").unwrap_err().hint.unwrap(), "write ok, not-ok or any");
        for text in ["", "x", "17:", ":ok", "017", "17:ok:ok", "-1"] {
            assert!(parse_dependency(text).is_err(), "{text:?}");
        }
    }
}
