//! Getting uv itself, on a machine that has only Python.

use super::{IndexSettings, Interpreter, Step};
use std::collections::BTreeMap;

/// A program for a Python without pip: with the standard library alone it fetches uv's wheel from the configured
/// index, checks its hash and unpacks the binary.
pub const FETCH_UV: &str = include_str!("../fetch_uv.py");

/// What is needed to get uv.
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap<'a> {
    pub python: &'a Interpreter,
    /// This Python has pip.
    pub pip: bool,
    /// uv comes to `DIRECTORY/bin/uv`; the directory need not exist.
    pub directory: &'a str,
    /// A home directory for pip to find its configuration in.
    pub home: &'a str,
    pub index: &'a IndexSettings,
    /// The node's own variables; those of pip (`PIP_*`) are handed on, the rest stays behind.
    pub variables: &'a BTreeMap<String, String>,
}

/// The command that gets uv.
pub fn bootstrap_uv(from: &Bootstrap) -> Step {
    let python = from.python.path.as_str();
    let argv: Vec<&str> = if from.pip {
        let exact = ["--no-deps", "--only-binary=:all:", "--upgrade", "--target", from.directory, "uv"];
        [python, "-m", "pip", "install", "--progress-bar", "off", "--no-input"].into_iter().chain(exact).collect()
    } else {
        vec![python, "-I", "-c", FETCH_UV, from.directory]
    };
    let fixed = [
        ("HOME", from.home),
        ("LANG", "C.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_NO_CACHE_DIR", "1"),
        // As a variable, because older versions of pip do not know the argument.
        ("PIP_ROOT_USER_ACTION", "ignore"),
    ];
    let mut env: BTreeMap<String, String> = fixed.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    env.extend(from.index.variables.iter().cloned());
    if from.pip {
        env.extend(from.index.for_pip());
    }
    env.extend(from.variables.iter().filter(|(name, _)| name.starts_with("PIP_")).map(|(name, value)| (name.clone(), value.clone())));
    Step {
        argv: argv.into_iter().map(String::from).collect(),
        env: env.into_iter().collect(),
        why: "uv builds the environments, and this machine has none",
        network: true,
    }
}
