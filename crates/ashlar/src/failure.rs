//! How a command fails: one sentence, a hint, and an exit code that scripts can rely on.

use crate::listing;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// The asked thing failed, or would wait.
pub const FAILED: u8 = 1;
/// The input is wrong.
pub const INPUT: u8 = 2;
/// There is no node, or it does not allow it.
pub const NO_NODE: u8 = 3;
/// Our fault.
pub const INTERNAL: u8 = 4;

#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    message: String,
    hint: Option<String>,
    /// Already rendered for people, with its own place and hint lines.
    rendered: bool,
}

impl Failure {
    fn new(code: u8, message: impl Display) -> Failure {
        Failure { code, message: message.to_string(), hint: None, rendered: false }
    }

    pub fn failed(message: impl Display) -> Failure {
        Failure::new(FAILED, message)
    }

    pub fn input(message: impl Display) -> Failure {
        Failure::new(INPUT, message)
    }

    pub fn no_node(message: impl Display) -> Failure {
        Failure::new(NO_NODE, message)
    }

    pub fn internal(message: impl Display) -> Failure {
        Failure::new(INTERNAL, message)
    }

    /// Problems of a file, which show the line they are about.
    pub fn problems(problems: &spec::Problems) -> Failure {
        Failure { code: INPUT, message: problems.to_string(), hint: None, rendered: true }
    }

    /// A flag whose value does not read.
    pub fn from_field(flag: &str, error: spec::FieldError) -> Failure {
        let failure = Failure::input(format!("{flag}: {}", error.message));
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    pub fn hint(mut self, hint: impl Display) -> Failure {
        self.hint = Some(hint.to_string());
        self
    }

    pub fn report(&self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        if self.rendered {
            let _ = writeln!(stderr, "{}", self.message.trim_end());
        } else {
            let _ = writeln!(stderr, "{} {}", listing::paint_error("error:"), self.message);
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
