//! The names under which locks and environments are kept.

use super::{Facts, Interpreter, RequirementError, redact, requirements_text};
use sha2::{Digest, Sha256};
use spec::Environment;

/// Raised when the same inputs would be built differently than before.
const VERSION: &str = "1";

/// SHA-256 (64 hexadecimal digits) over what a lock follows from: the requirements in a normal form, the minor
/// version of Python, the platform, and the indexes. Passwords are left out, so that a new one keeps the lock.
///
/// # Errors
/// Those of [`requirements_text`].
pub fn inputs_key(environment: &Environment, facts: &Facts) -> Result<String, RequirementError> {
    let requirements = requirements_text(&environment.packages)?;
    let mut parts = vec!["inputs".to_string(), facts.python.minor(), facts.platform.clone(), requirements];
    let places = facts.index.variables.iter().filter(|(name, _)| name.contains("INDEX") || name.contains("FIND_LINKS"));
    parts.extend(places.map(|(name, value)| format!("{name}={}", redact(value))));
    parts.push(format!("no-index={}", facts.index.no_index));
    Ok(digest(&parts))
}

/// SHA-256 (64 hexadecimal digits) over what an environment consists of: the text of its lock, the interpreter it
/// links to, and the platform.
pub fn lock_key(lock: &str, python: &Interpreter, platform: &str) -> String {
    let lines: Vec<&str> = lock.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.trim_start().starts_with('#')).collect();
    digest(&["lock".to_string(), python.minor(), python.path.clone(), platform.to_string(), lines.join("\n")])
}

/// Lengths keep two parts from being mistaken for others that run into each other.
fn digest(parts: &[String]) -> String {
    let mut whole = Sha256::new();
    for part in std::iter::once(VERSION).chain(parts.iter().map(String::as_str)) {
        whole.update((part.len() as u64).to_le_bytes());
        whole.update(part.as_bytes());
    }
    hex::encode(whole.finalize())
}
