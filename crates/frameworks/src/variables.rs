//! The variables of one rank while they are collected.

use crate::LaunchError;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The kernel's MAX_ARG_STRLEN: 32 pages of 4 KiB, the closing NUL included.
pub(crate) const LONGEST_STRING: usize = 32 * 4096 - 1;

/// One variable of a rank, with the reason it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub value: String,
    pub why: Cow<'static, str>,
}

#[derive(Debug, Default)]
pub(crate) struct Variables(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    value: String,
    why: Cow<'static, str>,
    /// The job's own value does not replace it.
    fixed: bool,
}

impl Variables {
    /// A default: the job may say otherwise.
    pub fn set(&mut self, name: &str, value: impl Into<String>, why: impl Into<Cow<'static, str>>) {
        self.0.insert(name.into(), Entry { value: value.into(), why: why.into(), fixed: false });
    }

    /// A fact about this rank (its number, its devices, where its gang meets): a job that sets it too is wrong
    /// for all ranks but one.
    pub fn fix(&mut self, name: &str, value: impl Into<String>, why: impl Into<Cow<'static, str>>) {
        self.0.insert(name.into(), Entry { value: value.into(), why: why.into(), fixed: true });
    }

    /// Puts the job's own variables on top.
    pub fn overlay(&mut self, env: &BTreeMap<String, String>, environment: Option<&str>) -> Result<(), LaunchError> {
        for (name, value) in env {
            if name.is_empty() || name.contains('=') {
                return Err(LaunchError::BadName(name.chars().take(80).collect()));
            }
            match self.0.get_mut(name) {
                Some(entry) if entry.fixed && entry.value != *value => {
                    entry.why = format!("{}; the job's own value is not used", entry.why).into();
                }
                Some(entry) if entry.fixed => {}
                _ => {
                    let (value, why) = match environment {
                        Some(root) if name == "PATH" => (with_environment_first(root, value), "set by the job, after its environment"),
                        _ => (value.clone(), "set by the job"),
                    };
                    self.set(name, value, why);
                }
            }
        }
        Ok(())
    }

    /// In order of their names.
    pub fn finish(self) -> Result<Vec<Variable>, LaunchError> {
        let all = self.0.into_iter().map(|(name, Entry { value, why, .. })| {
            // The kernel sees one string, `NAME=value`.
            check_string(|| format!("the variable {}", name.chars().take(80).collect::<String>()), name.len() + 1 + value.len())?;
            if name.contains('\0') || value.contains('\0') {
                return Err(LaunchError::Nul(format!("the variable {}", name.replace('\0', "?"))));
            }
            Ok(Variable { name, value, why })
        });
        all.collect()
    }
}

pub(crate) fn check_string(what: impl Fn() -> String, bytes: usize) -> Result<(), LaunchError> {
    if bytes > LONGEST_STRING { Err(LaunchError::TooLong { what: what(), bytes, limit: LONGEST_STRING }) } else { Ok(()) }
}

/// A job that sets PATH for a tool of its own still means the `python` of its environment.
pub(crate) fn with_environment_first(root: &str, path: &str) -> String {
    let bin = format!("{}/bin", root.trim_end_matches('/'));
    if path.split(':').any(|part| part.trim_end_matches('/') == bin) {
        path.to_string()
    } else if path.is_empty() {
        bin
    } else {
        format!("{bin}:{path}")
    }
}
