//! The Python interpreters of this machine, asked as the person who will use them.

use super::{EnvironmentError, step};
use frameworks::environment::Interpreter;
use serde::Deserialize;
use spec::Identity;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What an interpreter says of itself. A launcher or shim names the real program.
const ASK: &str = "import json, platform, sys; print(json.dumps({'path': sys.executable, 'version': platform.python_version(), \
                   'machine': platform.machine(), 'libc': ''.join(platform.libc_ver())}))";

#[derive(Deserialize)]
struct Answer {
    path: String,
    version: String,
    machine: String,
    libc: String,
}

/// The interpreter to build on, and the platform its wheels are for.
pub(super) fn choose(wanted: Option<&str>, owner: &Identity) -> Result<(Interpreter, String), EnvironmentError> {
    let mut found = vec![];
    let mut platforms = vec![];
    let mut seen = BTreeSet::new();
    for candidate in candidates(wanted, owner) {
        let Some((answer, reachable)) = ask(&candidate, owner) else { continue };
        let path = std::fs::canonicalize(&answer.path).map_or(answer.path.clone(), |path| path.display().to_string());
        if !seen.insert(path.clone()) {
            continue;
        }
        found.push(Interpreter { path, version: answer.version, reachable });
        platforms.push(format!("{}-{}", answer.machine, answer.libc));
        // Asking the rest costs time, and the first that fits is the one taken.
        if let Ok(index) = fitting(&found, wanted) {
            return Ok((found.swap_remove(index), platforms.swap_remove(index)));
        }
    }
    let index = fitting(&found, wanted)?;
    Ok((found.swap_remove(index), platforms.swap_remove(index)))
}

/// Which of the interpreters is the one to take.
fn fitting(found: &[Interpreter], wanted: Option<&str>) -> Result<usize, EnvironmentError> {
    let chosen = frameworks::environment::choose_python(wanted, found)?;
    Ok(found.iter().position(|python| python == chosen).unwrap_or(0))
}

/// Names on the search path first, then where versions usually lie side by side.
fn candidates(wanted: Option<&str>, owner: &Identity) -> Vec<PathBuf> {
    let minor = wanted.map(|text| text.splitn(3, '.').take(2).collect::<Vec<_>>().join("."));
    let mut names: Vec<String> = minor.iter().filter(|text| text.contains('.')).map(|text| format!("python{text}")).collect();
    names.push("python3".into());
    if wanted.is_some() {
        names.extend((8..=20).rev().map(|minor| format!("python3.{minor}")));
    }
    let mut paths: Vec<PathBuf> = names.iter().flat_map(|name| step::on_path(name)).collect();
    paths.extend(["/usr/bin/python3", "/usr/local/bin/python3"].map(PathBuf::from));
    if wanted.is_some() {
        let side_by_side = PathBuf::from(&owner.home).join(".pyenv/versions");
        let mut versions: Vec<PathBuf> =
            std::fs::read_dir(side_by_side).into_iter().flatten().flatten().map(|entry| entry.path().join("bin/python3")).collect();
        versions.sort();
        paths.extend(versions.into_iter().rev());
    }
    paths.retain(|path| path.is_file());
    paths
}

/// We are the owner here. An interpreter that the owner cannot start is known by its name only.
fn ask(path: &std::path::Path, owner: &Identity) -> Option<(Answer, bool)> {
    let program = path.display().to_string();
    if let Some(text) = step::ask(&[&program, "-I", "-c", ASK], owner)
        && let Ok(answer) = serde_json::from_str::<Answer>(&text)
        // A shim may answer for a program that the owner cannot start.
        && step::ask(&[&answer.path, "-I", "-c", "print(1)"], owner).is_some()
    {
        return Some((answer, true));
    }
    let version = path.file_name()?.to_str()?.strip_prefix("python")?.to_string();
    Some((Answer { path: program, version, machine: String::new(), libc: String::new() }, false))
}

pub(super) fn has_pip(python: &Interpreter, owner: &Identity) -> bool {
    step::ask(&[&python.path, "-I", "-m", "pip", "--version"], owner).is_some()
}
