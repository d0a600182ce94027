//! How a command fails: one sentence, a hint, and an exit code that scripts can rely on.

use crate::listing;
use api::ErrorKind;
use serde::Serialize;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// The asked thing failed, or would wait.
pub const FAILED: u8 = 1;
/// The input is wrong.
pub const INPUT: u8 = 2;
/// There is no node, or it does not allow it.
pub const NO_NODE: u8 = 3;
/// Our fault.
pub const INTERNAL: u8 = 4;

/// With `--json`, programs read what went wrong as well: see [`speak_json`].
static JSON: AtomicBool = AtomicBool::new(false);

/// From here on a failure is reported as one line on stderr, `{"error": {kind, message, hint, exit_code, ...}}`.
pub fn speak_json() {
    JSON.store(true, Ordering::Relaxed);
}

pub fn in_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Whether the command line asks for JSON: known before it is parsed, because it may not parse. What follows `--` is
/// somebody else's command line.
pub fn json_wanted(words: impl IntoIterator<Item = OsString>) -> bool {
    words.into_iter().take_while(|word| word != "--").any(|word| word == "--json")
}

#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    /// For programs: a word of [`api::ErrorKind`], or `failed`.
    kind: &'static str,
    message: String,
    hint: Option<String>,
    /// Further fields of the JSON form.
    details: serde_json::Map<String, serde_json::Value>,
    /// For people, already rendered with its own place and hint lines.
    rendered: Option<String>,
}

impl Failure {
    fn new(code: u8, kind: &'static str, message: impl Display) -> Failure {
        Failure { code, kind, message: message.to_string(), hint: None, details: serde_json::Map::new(), rendered: None }
    }

    pub fn failed(message: impl Display) -> Failure {
        Failure::new(FAILED, "failed", message)
    }

    pub fn input(message: impl Display) -> Failure {
        Failure::new(INPUT, "input", message)
    }

    pub fn no_node(message: impl Display) -> Failure {
        Failure::new(NO_NODE, "unavailable", message)
    }

    pub fn internal(message: impl Display) -> Failure {
        Failure::new(INTERNAL, "internal", message)
    }

    /// As the node or the client named it.
    pub fn of_kind(kind: ErrorKind, message: impl Display) -> Failure {
        let (code, kind) = match kind {
            ErrorKind::Input => (INPUT, "input"),
            ErrorKind::NotFound => (FAILED, "not-found"),
            ErrorKind::Conflict => (FAILED, "conflict"),
            ErrorKind::Denied => (NO_NODE, "denied"),
            ErrorKind::Unavailable => (NO_NODE, "unavailable"),
            ErrorKind::Internal => (INTERNAL, "internal"),
        };
        Failure::new(code, kind, message)
    }

    /// Problems of a file, which show the line they are about.
    pub fn problems(problems: &spec::Problems) -> Failure {
        let count = crate::listing::counted(problems.len() as u64, "problem");
        let mut failure = Failure::input(format!("{}: {count}", problems.file()));
        failure.rendered = Some(problems.to_string());
        failure.detail("problems", problems)
    }

    /// A command line that clap refuses, in its words.
    pub fn usage(text: &str) -> Failure {
        let said: Vec<&str> =
            text.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim).filter(|line| !line.is_empty()).collect();
        let message = said.join(" ");
        Failure::input(message.strip_prefix("error: ").unwrap_or(&message)).hint("`ashlar COMMAND --help` shows what there is")
    }

    /// A flag whose value does not read.
    pub fn from_field(flag: &str, error: spec::FieldError) -> Failure {
        let failure = Failure::input(format!("{flag}: {}", error.message));
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn hint(mut self, hint: impl Display) -> Failure {
        self.hint = Some(hint.to_string());
        self
    }

    /// The same failure with another exit code.
    pub fn code(self, code: u8) -> Failure {
        Failure { code, ..self }
    }

    /// A further field for programs.
    pub fn detail(mut self, name: &str, value: impl Serialize) -> Failure {
        self.details.insert(name.into(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// As one line for programs.
    fn json(&self) -> String {
        let mut error = serde_json::json!({"kind": self.kind, "message": self.message, "hint": self.hint, "exit_code": self.code});
        if let Some(fields) = error.as_object_mut() {
            fields.extend(self.details.clone());
        }
        serde_json::json!({ "error": error }).to_string()
    }

    pub fn report(&self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        if in_json() {
            let _ = writeln!(stderr, "{}", self.json());
            return ExitCode::from(self.code);
        }
        match &self.rendered {
            Some(rendered) => drop(writeln!(stderr, "{}", rendered.trim_end())),
            None => drop(writeln!(stderr, "{} {}", listing::paint_error("error:"), self.message)),
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "{} {hint}", listing::paint_hint("hint:"));
        }
        ExitCode::from(self.code)
    }
}

impl From<std::io::Error> for Failure {
    /// A reader that went away (`ashlar jobs | head`) is no fault; other errors of our own output are.
    fn from(error: std::io::Error) -> Failure {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        Failure::internal(format!("cannot write the output: {error}"))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        if error.io_error_kind() == Some(std::io::ErrorKind::BrokenPipe) {
            std::process::exit(0);
        }
        Failure::internal(format!("cannot write JSON: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_wanted_by_the_flag_of_this_command_only() {
        let wanted = |words: &[&str]| json_wanted(words.iter().map(OsString::from));
        assert!(wanted(&["ashlar", "jobs", "--json"]));
        assert!(!wanted(&["ashlar", "run", "--", "ashlar", "jobs", "--json"]));
    }

    #[test]
    fn a_failure_is_one_object_for_programs() {
        let failure = Failure::of_kind(ErrorKind::NotFound, "there is no job 7").hint("look").detail("job", 7);
        let read: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        let expected =
            serde_json::json!({"error": {"kind": "not-found", "message": "there is no job 7", "hint": "look", "exit_code": 1, "job": 7}});
        assert_eq!(read, expected);
        assert!(!failure.json().contains('\n'));
    }

    #[test]
    fn a_wrong_command_line_is_told_without_its_usage() {
        let failure = Failure::usage(
            "error: unexpected argument '--jsno' found\n\n  tip: a similar argument exists: '--json'\n\nUsage: ashlar jobs\n",
        );
        assert_eq!(failure.message, "unexpected argument '--jsno' found tip: a similar argument exists: '--json'");
        assert_eq!(failure.code, INPUT);
    }
}
