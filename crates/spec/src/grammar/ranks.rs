//! Numbers of ranks: one, a range, or a list.

use crate::field_error::{FieldError, Quoted};
use crate::grammar::bounded;
use crate::{JobSpec, limits};

/// The numbers of ranks with which a job may run, as its file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// Ascending; one where the job is not elastic.
    sizes: Vec<u32>,
}

impl Ranks {
    pub fn one(ranks: u32) -> Ranks {
        Ranks { sizes: vec![ranks] }
    }

    /// Makes the job one of these sizes.
    pub fn apply(self, spec: &mut JobSpec) {
        spec.ranks = self.sizes.last().copied().unwrap_or(1);
        spec.sizes = if self.sizes.len() > 1 { self.sizes } else { Vec::new() };
    }
}

/// Reads `4`, `2..8`, `2,4,8`. Of a range every size counts that is half or a third more than the one before it, and both ends:
/// a smaller step is not worth a restart.
pub fn parse_ranks(text: &str) -> Result<Ranks, FieldError> {
    let text = text.trim();
    let number = |part: &str| {
        let part = part.trim();
        let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let value: i128 = if plain { part.parse().unwrap_or(i128::MAX) } else { return Err(unreadable(text)) };
        bounded("the number of ranks", value, &limits::RANKS)?;
        u32::try_from(value).map_err(|_| unreadable(text))
    };
    if let Some((least, most)) = text.split_once("..") {
        // Rust's inclusive range is a slip of the pen, and means the same here.
        let (least, most) = (number(least)?, number(most.strip_prefix('=').unwrap_or(most))?);
        if least > most {
            return Err(
                FieldError::new(format!("the range of ranks {} ends below its start", Quoted(text))).hint(format!("write {most}..{least}"))
            );
        }
        return Ok(Ranks { sizes: between(least, most) });
    }
    if let Some((low, high)) = text.split_once('-').filter(|(low, high)| number(low).is_ok() && number(high).is_ok()) {
        return Err(FieldError::new(format!("{} is not a number of ranks", Quoted(text))).hint(format!(
            "write a range as {}..{}",
            low.trim(),
            high.trim()
        )));
    }
    let mut sizes = text.split(',').map(number).collect::<Result<Vec<u32>, FieldError>>()?;
    sizes.sort_unstable();
    if let Some(pair) = sizes.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(FieldError::new(format!("the list of ranks names {} twice", pair[0])).hint("name every size once"));
    }
    if sizes.len() > limits::SIZES {
        return Err(FieldError::new(format!("the list of ranks has {} sizes", sizes.len()))
            .hint(format!("name at most {}, or a range such as 2..8", limits::SIZES)));
    }
    Ok(Ranks { sizes })
}

fn unreadable(text: &str) -> FieldError {
    FieldError::new(format!("{} is not a number of ranks", Quoted(text)))
        .hint("write a whole number such as 4, a range such as 2..8, or a list such as 2,4,8")
}

/// The sizes of a range that make sense: 1, 2, 3, 4, 6, 8, 12, 16, 24 ... and the ends.
fn between(least: u32, most: u32) -> Vec<u32> {
    let steps = (0..u32::BITS).flat_map(|bit| [1u32 << bit, (1u32 << bit).saturating_add(1u32 << bit >> 1)]);
    let mut sizes: Vec<u32> = steps.filter(|size| (least..=most).contains(size)).chain([least, most]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The text that [`parse_ranks`] reads as these sizes: `4`, `2..8` or `2,4,8`.
pub fn write_ranks(spec: &JobSpec) -> String {
    match spec.sizes.as_slice() {
        [] | [_] => spec.ranks.to_string(),
        [least, .., most] if between(*least, *most) == spec.sizes => format!("{least}..{most}"),
        sizes => sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> JobSpec {
        let mut spec = JobSpec::command_job("a", vec!["true".into()], "/");
        parse_ranks(text).unwrap_or_else(|error| panic!("{text}: {error}")).apply(&mut spec);
        spec
    }

    #[test]
    fn what_is_read_is_written_again() {
        let none: &[u32] = &[];
        for (text, canonical, ranks, sizes) in [
            ("4", "4", 4, none),
            (" 1 ", "1", 1, none),
            ("3..3", "3", 3, none),
            ("2..8", "2..8", 8, &[2, 3, 4, 6, 8]),
            ("1..2", "1..2", 2, &[1, 2]),
            ("2 ..= 7", "2..7", 7, &[2, 3, 4, 6, 7]),
            ("5..40", "5..40", 40, &[5, 6, 8, 12, 16, 24, 32, 40]),
            ("2,4,8", "2,4,8", 8, &[2, 4, 8]),
            ("8, 2", "2,8", 8, &[2, 8]),
            ("2,3", "2..3", 3, &[2, 3]),
        ] {
            let spec = job(text);
            assert_eq!((spec.ranks, spec.sizes.as_slice()), (ranks, sizes), "{text}");
            assert_eq!(write_ranks(&spec), canonical);
            assert_eq!(job(canonical), spec);
            assert_eq!(spec.validate(), Ok(()), "{text}");
        }
        assert!(job("1..4096").sizes.len() < limits::SIZES);
    }

    #[test]
    fn what_is_no_number_of_ranks_says_what_to_write() {
        for (text, hint) in [
            ("8..2", "write 2..8"),
            ("2-8", "write a range as 2..8"),
            ("0", "write a whole number from 1 to 4096"),
            ("0..4", "write a whole number from 1 to 4096"),
            ("2..5000", "write a whole number from 1 to 4096"),
            ("99999999999999999999999999999999999999999999", "write a whole number from 1 to 4096"),
            ("2,4,2", "name every size once"),
            ("", "write a whole number such as 4, a range such as 2..8, or a list such as 2,4,8"),
            ("many", "write a whole number such as 4, a range such as 2..8, or a list such as 2,4,8"),
            ("2..", "write a whole number such as 4, a range such as 2..8, or a list such as 2,4,8"),
            ("2,,4", "write a whole number such as 4, a range such as 2..8, or a list such as 2,4,8"),
            ("+2", "write a whole number such as 4, a range such as 2..8, or a list such as 2,4,8"),
            ("2.5", "write a whole number such as 4, a range such as 2..8, or a list such as 2,4,8"),
        ] {
            let error = parse_ranks(text).map(|ranks| panic!("{text} is read as {ranks:?}")).unwrap_err();
            assert_eq!(error.hint.as_deref(), Some(hint), "{text}");
        }
        let long: Vec<String> = (1..=100).map(|size| size.to_string()).collect();
        assert!(parse_ranks(&long.join(",")).unwrap_err().message.contains("100 sizes"));
    }
}
