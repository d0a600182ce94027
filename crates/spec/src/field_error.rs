//! What is wrong with one value, before anybody knows where it stands.

use std::fmt;

/// One wrong value: of a flag, a field or a wire message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{message}")]
pub struct FieldError {
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl FieldError {
    pub(crate) fn new(message: impl Into<String>) -> FieldError {
        FieldError { message: printable(message.into()), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> FieldError {
        self.hint = Some(printable(hint.into()));
        self
    }
}

/// Text of a person inside a message: quoted, short, and unable to move the cursor or turn the line around.
pub(crate) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        f.write_str("'")?;
        for c in self.0.chars().take(SHOWN) {
            if is_unprintable(c) { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        f.write_str(if self.0.chars().nth(SHOWN).is_some() { "…'" } else { "'" })
    }
}

/// A person's text that a message repeats without quotes is kept from the terminal as well.
fn printable(text: String) -> String {
    if text.contains(is_unprintable) { text.chars().map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect() } else { text }
}

/// Control characters, and those that change the direction or hide: a terminal would show another text than
/// the one that is there.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// The candidate a person most likely meant, if one is close.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a text of kilobytes is not a slip of a name and would make the comparison slow.
    if word.chars().nth(40).is_some() {
        return None;
    }
    let word = word.to_lowercase().replace('_', "-");
    let allowed = (word.chars().count() / 3).max(1);
    let scored = candidates.into_iter().map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate));
    scored.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// `a, b or c`.
pub(crate) fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_string(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_cannot_drive_a_terminal() {
        assert_eq!(Quoted("a\u{1b}[31mb").to_string(), "'a\\u{1b}[31mb'");
        assert_eq!(Quoted("a\u{202e}b\n").to_string(), "'a\\u{202e}b\\n'");
        assert_eq!(Quoted(&"x".repeat(61)).to_string(), format!("'{}…'", "x".repeat(60)));
        assert_eq!(Quoted("训练").to_string(), "'训练'");
    }

    #[test]
    fn messages_cannot_drive_a_terminal_either() {
        let error = FieldError::new("a\u{1b}b").hint("c\nd");
        assert_eq!((error.message.as_str(), error.hint.as_deref()), ("a\u{fffd}b", Some("c\u{fffd}d")));
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["command", "mounts", "memory", "env", "out-of-memory"];
        for (typed, meant) in [
            ("comand", Some("command")),
            ("COMMAND", Some("command")),
            ("mount", Some("mounts")),
            ("evn", Some("env")),
            ("out_of_memory", Some("out-of-memory")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
        assert_eq!(nearest(&"command".repeat(1000), names), None);
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(either(&[]), "");
        assert_eq!(either(&["a"]), "a");
        assert_eq!(either(&["a", "b", "c"]), "a, b or c");
    }
}
