//! What is wrong with a file: where, what, and what to write instead.

use crate::field_error::{FieldError, is_unprintable};
use serde::{Serialize, Serializer};
use std::fmt;

/// A place in a file. Lines and columns count from 1, columns in characters, as editors count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub line: usize,
    pub column: usize,
    /// Characters to underline; what reaches over the end of the line is cut there.
    pub width: usize,
}

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The field, such as `retry.attempts` or `mounts[2].target`; empty for the file as a whole.
    pub path: String,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line of the file.
    pub text: String,
    #[serde(skip)]
    width: usize,
}

/// Everything that is wrong with one file, in the order of its lines. Its `Display` is meant for people and
/// shows the lines; its `Serialize` is meant for `--json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: String,
    problems: Vec<Problem>,
    more: usize,
}

/// More than this helps nobody, and a file of nothing but mistakes must not become a report of megabytes.
const SHOWN: usize = 100;

impl Problems {
    /// `found` with the lines of the text they are about.
    pub(crate) fn new(file: &str, text: &str, mut found: Vec<(Place, String, FieldError)>) -> Problems {
        found.sort_by_key(|(place, _, _)| (place.line, place.column));
        let more = found.len().saturating_sub(SHOWN);
        found.truncate(SHOWN);
        let lines: Vec<&str> = text.split('\n').collect();
        let problem = |(place, path, error): (Place, String, FieldError)| Problem {
            line: place.line,
            column: place.column,
            path,
            message: error.message,
            hint: error.hint,
            text: lines.get(place.line.saturating_sub(1)).map_or(String::new(), |line| (*line).to_string()),
            width: place.width,
        };
        Problems { file: file.to_string(), problems: found.into_iter().map(problem).collect(), more }
    }

    /// The name of the file, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// In the order of the lines; never empty.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// How many there are, those included that are not kept.
    pub fn len(&self) -> usize {
        self.problems.len() + self.more
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::error::Error for Problems {}

impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Problems", 3)?;
        out.serialize_field("file", &self.file)?;
        out.serialize_field("problems", &self.problems)?;
        out.serialize_field("more", &self.more)?;
        out.end()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.render(&self.file, f)?;
        }
        match (self.len(), self.more) {
            (0 | 1, _) => Ok(()),
            (count, 0) => writeln!(f, "\n{count} problems in {}", self.file),
            (count, more) => writeln!(f, "\n{count} problems in {}, {more} of them not shown", self.file),
        }
    }
}

impl Problem {
    fn render(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len() + 1);
        let (shown, offset, width) = window(&self.text, self.column - 1, self.width);
        writeln!(f, "error: {}", self.message)?;
        writeln!(f, "{margin}--> {file}:{}:{}", self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, " {number} | {shown}")?;
        writeln!(f, "{margin} | {}{}", " ".repeat(offset), "^".repeat(width))?;
        match &self.hint {
            Some(hint) => writeln!(f, "hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The part of a line that fits a terminal around the characters `start .. start + width`, made printable; with
/// it the columns before the mark and the columns of the mark.
fn window(line: &str, start: usize, width: usize) -> (String, usize, usize) {
    const BEFORE: usize = 60;
    const LONGEST: usize = 120;
    let chars: Vec<char> = line
        .chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if is_unprintable(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    let start = start.min(chars.len());
    let first = if chars.len() > LONGEST { start.saturating_sub(BEFORE) } else { 0 };
    let last = chars.len().min(first + LONGEST);
    let end = (start + width).clamp(start, last);
    let columns = |part: &[char]| part.iter().map(|c| columns(*c)).sum::<usize>();
    let lead = if first > 0 { "…" } else { "" };
    let tail = if last < chars.len() { "…" } else { "" };
    let shown = format!("{lead}{}{tail}", chars[first..last].iter().collect::<String>());
    (shown, lead.chars().count() + columns(&chars[first..start]), columns(&chars[start..end]).max(1))
}

/// Columns of a character on a terminal: the wide ranges of Unicode's East Asian Width and the common
/// combining marks. An unlisted one moves the caret, nothing worse.
fn columns(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, places: &[(usize, usize, usize)]) -> String {
        let found = places.iter().map(|(line, column, width)| {
            let place = Place { line: *line, column: *column, width: *width };
            (place, "x".to_string(), FieldError::new("wrong").hint("right"))
        });
        Problems::new("job.yaml", text, found.collect()).to_string()
    }

    #[test]
    fn the_caret_stands_below_what_it_is_about() {
        insta::assert_snapshot!(rendered("a: 1\nname: 训练 x\n", &[(2, 10, 1), (1, 4, 1)]), @"
        error: wrong
          --> job.yaml:1:4
           |
         1 | a: 1
           |    ^
        hint: right

        error: wrong
          --> job.yaml:2:10
           |
         2 | name: 训练 x
           |            ^
        hint: right

        2 problems in job.yaml
        ");
    }

    #[test]
    fn long_lines_are_cut_and_cannot_drive_a_terminal() {
        let line = format!("{}\u{1b}[2J{}", "a".repeat(500), "b".repeat(500));
        let text = rendered(&line, &[(1, 501, 4)]);
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line.chars().count() < 140), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let caret = lines[4].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[3].chars().nth(caret), Some('\u{fffd}'));
    }

    #[test]
    fn places_outside_of_the_text_do_no_harm() {
        for place in [(1, 1, 0), (1, 99, 5), (99, 99, 5), (1, 2, usize::MAX / 2)] {
            assert!(rendered("abc", &[place]).contains('^'));
        }
    }

    #[test]
    fn many_problems_are_counted_and_not_all_shown() {
        let found = vec![(Place { line: 1, column: 1, width: 1 }, String::new(), FieldError::new("wrong")); 250];
        let problems = Problems::new("job.yaml", "x", found);
        assert_eq!(problems.len(), 250);
        assert_eq!(problems.iter().count(), 100);
        assert!(problems.to_string().ends_with("250 problems in job.yaml, 150 of them not shown\n"));
        let json = serde_json::to_value(&problems).unwrap();
        assert_eq!((&json["file"], &json["more"], &json["problems"][0]["line"]), (&"job.yaml".into(), &150.into(), &1.into()));
    }
}
