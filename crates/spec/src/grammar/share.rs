//! Parts of devices: `share MEMORY PERCENT LEVEL`, in any order, memory or percent at least.

use crate::ShareRequest;
use crate::field_error::{FieldError, Quoted, either};
use crate::grammar::{parse_bytes, write_bytes};
use machine::{Bytes, Enforcement};
use std::fmt;

const FORMS: &str = "write 'share 8GB', 'share 25%' or 'share 8GB 25% watched'";

/// Reads what comes after the word `share`: device memory (`8GB`), percent of the compute (`25%`, `12.5%`; without a memory it
/// is the part of the memory too), and how firmly the part must be kept at least (`counted`, `watched`, `driver`, `hard`).
pub fn parse_share(text: &str) -> Result<ShareRequest, FieldError> {
    let mut share = ShareRequest { memory: None, compute: None, enforced: None };
    for word in text.split_whitespace() {
        let twice = |there: bool| match there {
            true => Err(FieldError::new(format!("{} comes after another of its kind", Quoted(word))).hint(FORMS)),
            false => Ok(()),
        };
        if let Some(number) = word.strip_suffix('%') {
            twice(share.compute.is_some())?;
            share.compute = Some(percent(word, number)?);
        } else if word.starts_with(|c: char| c.is_ascii_digit()) {
            twice(share.memory.is_some())?;
            share.memory = Some(parse_bytes(word)?).filter(|memory| *memory > Bytes::ZERO);
            if share.memory.is_none() {
                return Err(FieldError::new("a share of no memory asks for nothing").hint(FORMS));
            }
        } else {
            twice(share.enforced.is_some())?;
            share.enforced = Some(parse_enforcement(word)?);
        }
    }
    if share.memory.is_none() && share.compute.is_none() {
        return Err(FieldError::new("a share names neither memory nor a part of the compute").hint(FORMS));
    }
    Ok(share)
}

/// Reads how firmly a part is kept.
pub fn parse_enforcement(word: &str) -> Result<Enforcement, FieldError> {
    let word = word.trim();
    let found = Enforcement::ALL.iter().find(|level| level.name().eq_ignore_ascii_case(word));
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = Enforcement::ALL.iter().map(|level| level.name()).collect();
        FieldError::new(format!("{} is no level of enforcement", Quoted(word))).hint(format!("write {}", either(&names)))
    })
}

/// Reads `25%` or `12.5%` as thousandths.
pub fn parse_percent(text: &str) -> Result<u32, FieldError> {
    let text = text.trim();
    percent(text, text.strip_suffix('%').unwrap_or(text).trim_end())
}

fn percent(word: &str, number: &str) -> Result<u32, FieldError> {
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let permille = (digits(whole, 3) && digits(tenth, 1)).then(|| format!("{whole}{tenth}").parse::<u32>().unwrap_or(u32::MAX));
    match permille {
        None => Err(FieldError::new(format!("{} is no percentage", Quoted(word))).hint("write it such as 25% or 12.5%")),
        Some(0) => Err(FieldError::new("a share of 0% asks for nothing").hint(FORMS)),
        Some(1..1000) => Ok(permille.unwrap_or_default()),
        Some(_) => {
            Err(FieldError::new(format!("{} is the whole device or more", Quoted(word))).hint("leave the share out to hold devices whole"))
        }
    }
}

/// `25%`, `12.5%`.
pub fn write_percent(permille: u32) -> String {
    machine::Percent(permille).to_string().replace(' ', "")
}

impl fmt::Display for ShareRequest {
    /// The part of a device request that [`parse_share`] reads after its first word: `share 8GB 25% driver`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [self.memory.map(write_bytes), self.compute.map(write_percent), self.enforced.map(|level| level.to_string())];
        let words: String = words.into_iter().flatten().map(|word| format!(" {word}")).collect();
        f.pad(&format!("share{words}"))
    }
}

impl ShareRequest {
    /// In words: `8GB of memory and 25% of the compute`.
    pub fn describe(&self) -> String {
        match (self.memory.map(write_bytes), self.compute.map(write_percent)) {
            (Some(memory), None) => format!("{memory} of memory"),
            (Some(memory), Some(compute)) => format!("{memory} of memory and {compute} of the compute"),
            (None, compute) => format!("{} of the memory and compute", compute.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_in_any_order() {
        let share = parse_share(" watched 12.5%  8GiB ").unwrap();
        let expected = ShareRequest { memory: Some(Bytes::gib(8)), compute: Some(125), enforced: Some(Enforcement::Watched) };
        assert_eq!(share, expected);
        assert_eq!(share.to_string(), "share 8GiB 12.5% watched");
        assert_eq!(share.describe(), "8GiB of memory and 12.5% of the compute");
        assert_eq!(parse_share("8GB").unwrap().describe(), "8GB of memory");
        assert_eq!(parse_share("50%").unwrap().describe(), "50% of the memory and compute");
    }

    #[test]
    fn percent_is_exact_to_a_tenth() {
        for (text, permille) in [("25%", 250), ("0.1%", 1), ("99.9%", 999), ("25", 250), (" 7 %", 70)] {
            assert_eq!(parse_percent(text), Ok(permille), "{text}");
        }
        for text in ["", "%", "x%", "100%", "0%", "0.0%", "1.25%", "-5%", "1e1%", "1000.0%"] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
        assert_eq!((write_percent(1), write_percent(250), write_percent(125)), ("0.1%".into(), "25%".into(), "12.5%".into()));
    }

    #[test]
    fn levels_are_words() {
        assert_eq!(parse_enforcement("Driver"), Ok(Enforcement::Driver));
        assert_eq!(parse_enforcement("soft").unwrap_err().hint.unwrap(), "write counted, watched, driver or hard");
    }
}
