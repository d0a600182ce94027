//! Names of jobs and runs.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A job: a number, and for a task of an array the index in it. Written `17` and `17.3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    pub number: u64,
    pub task: Option<u32>,
}

/// One attempt of a job; attempts count from 1. Written `17-1`, `17.3-2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    pub job: JobId,
    pub attempt: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what}")]
pub struct IdError {
    pub text: String,
    pub what: &'static str,
}

impl JobId {
    pub const fn new(number: u64) -> JobId {
        JobId { number, task: None }
    }

    pub const fn task(number: u64, task: u32) -> JobId {
        JobId { number, task: Some(task) }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.task {
            None => f.pad(&self.number.to_string()),
            Some(task) => f.pad(&format!("{}.{task}", self.number)),
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.job, self.attempt))
    }
}

/// Digits only and no leading zero, so that every id has exactly one spelling.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<JobId, IdError> {
        let parsed = match text.split_once('.') {
            None => number(text).map(JobId::new),
            Some((job, task)) => number(job).zip(number(task)).map(|(job, task)| JobId::task(job, task)),
        };
        parsed.ok_or_else(|| IdError { text: text.chars().take(40).collect(), what: "a job id such as 17 or 17.3" })
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<RunId, IdError> {
        let parsed = text.rsplit_once('-').and_then(|(job, attempt)| Some(RunId { job: job.parse().ok()?, attempt: number(attempt)? }));
        parsed.ok_or_else(|| IdError { text: text.chars().take(40).collect(), what: "a run id such as 17-1 or 17.3-2" })
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(JobId);
as_text!(RunId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        for text in ["1", "17.0", "17.3"] {
            assert_eq!(text.parse::<JobId>().unwrap().to_string(), text);
        }
        for text in ["1-1", "17.3-2"] {
            assert_eq!(text.parse::<RunId>().unwrap().to_string(), text);
        }
        for text in ["", "x", "1.", ".1", "01", "1.02", "+1", "-1", "1.2.3", "1 "] {
            assert!(text.parse::<JobId>().is_err(), "{text:?}");
        }
        for text in ["1", "1-", "-1", "1-x", "1.2-"] {
            assert!(text.parse::<RunId>().is_err(), "{text:?}");
        }
    }
}
