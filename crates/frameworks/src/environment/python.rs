//! Which Python an environment is built on.

use thiserror::Error;

/// A Python interpreter of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Absolute path, links resolved.
    pub path: String,
    /// As it prints: `3.11.2`.
    pub version: String,
    /// The person whose job it is may run it. A Python below root's home folder, as pyenv installs them, may not be.
    pub reachable: bool,
}

impl Interpreter {
    /// `3.11`: environments of one minor version are interchangeable, their patch levels are not kept apart.
    pub fn minor(&self) -> String {
        self.version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PythonError {
    #[error("this machine has no Python 3")]
    None,
    #[error("Python {wanted} is asked for; this machine has {found}")]
    Version { wanted: String, found: String },
    #[error("Python {version} at {path} cannot be run by the person who submitted")]
    Unreachable { version: String, path: String },
}

impl PythonError {
    pub fn hint(&self) -> String {
        match self {
            PythonError::None => "install it: the package is `python3` on every distribution".into(),
            PythonError::Version { wanted, .. } => {
                format!("leave `environment.python` out to take the machine's own, or install Python {wanted}")
            }
            PythonError::Unreachable { .. } => {
                "install Python where everybody may run it, such as the distribution's /usr/bin/python3".into()
            }
        }
    }
}

/// The first interpreter in order of `found` that fits: `wanted` is `3`, `3.11` or `3.11.2`, and nothing means any.
///
/// # Errors
/// When none fits, with what there is instead.
pub fn choose_python<'a>(wanted: Option<&str>, found: &'a [Interpreter]) -> Result<&'a Interpreter, PythonError> {
    let wanted = wanted.unwrap_or("3");
    let fits = |python: &&Interpreter| python.version == wanted || python.version.starts_with(&format!("{wanted}."));
    if let Some(python) = found.iter().filter(fits).find(|python| python.reachable) {
        return Ok(python);
    }
    if let Some(python) = found.iter().find(fits) {
        return Err(PythonError::Unreachable { version: python.version.clone(), path: python.path.clone() });
    }
    let mut versions: Vec<&str> = found.iter().filter(|python| python.reachable).map(|python| python.version.as_str()).collect();
    versions.dedup();
    if versions.is_empty() {
        Err(PythonError::None)
    } else {
        Err(PythonError::Version { wanted: wanted.into(), found: versions.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(path: &str, version: &str, reachable: bool) -> Interpreter {
        Interpreter { path: path.into(), version: version.into(), reachable }
    }

    #[test]
    fn the_first_that_fits_and_can_be_run_is_taken() {
        let found = [
            python("/root/.pyenv/bin/python3", "3.12.1", false),
            python("/usr/bin/python3.11", "3.11.2", true),
            python("/opt/py/bin/python3.1", "3.1.4", true),
        ];
        let path = |wanted| choose_python(wanted, &found).map(|python| python.path.as_str());
        assert_eq!(path(None), Ok("/usr/bin/python3.11"));
        assert_eq!(path(Some("3.11")), Ok("/usr/bin/python3.11"));
        assert_eq!(path(Some("3.11.2")), Ok("/usr/bin/python3.11"));
        assert_eq!(path(Some("3.1")), Ok("/opt/py/bin/python3.1"));
        assert_eq!(
            path(Some("3.12")).unwrap_err().to_string(),
            "Python 3.12.1 at /root/.pyenv/bin/python3 cannot be run by the person who submitted"
        );
        assert_eq!(path(Some("3.13")).unwrap_err().to_string(), "Python 3.13 is asked for; this machine has 3.11.2, 3.1.4");
        assert_eq!(choose_python(None, &[]), Err(PythonError::None));
        assert_eq!(found[0].minor(), "3.12");
    }
}
