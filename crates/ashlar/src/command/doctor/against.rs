//! `ashlar doctor --against`: what a profile that somebody else wrote would do here.

use super::{open, unreadable};
use crate::arguments::Doctor;
use crate::failure::{FAILED, Failure};
use crate::{doctor_text, listing};
use ::machine::Source;
use diagnosis::profile::{self, Line, sysctl, tuned};
use diagnosis::readiness::{self, Role, managers};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub fn run(asked: &Doctor, name: &str) -> Result<ExitCode, Failure> {
    let root = open(asked.root.as_deref())?;
    let mut sources = readiness::sources();
    sources.extend(managers::SOURCES);
    sources.insert(Source::There("sys/kernel/debug/sched/features"));
    let mut facts = host::readiness::read(&root, &sources).map_err(|error| unreadable(&error))?;
    let find = |profile: &str| tuned::find(&facts.readings, profile).map(|(_, text)| text.to_owned());
    let lines = lines(Path::new(name), &find)?;
    let paths: BTreeSet<String> = lines.iter().flat_map(|line| line.paths.iter().cloned()).collect();
    host::readiness::read_more(&root, &paths, &mut facts.readings);
    let role = asked.role.map(Role::from).unwrap_or_else(|| readiness::likely_role(&facts));
    let judged = profile::judge(&facts, role, &lines);
    let unjudged = lines.len() - judged.len();
    if asked.json {
        listing::print_json(&serde_json::json!({ "profile": name, "role": role, "lines": judged, "not_judged": unjudged }))?;
    } else {
        write!(std::io::stdout(), "{}", doctor_text::against(name, role, &judged, unjudged))?;
    }
    Ok(ExitCode::from(if judged.iter().any(profile::Judged::asks) { FAILED } else { 0 }))
}

/// The lines of a file, of all files in a folder, or of a profile of tuned by its name.
fn lines(at: &Path, find: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Line>, Failure> {
    // A profile that is installed, rather than a folder that happens to be called like it.
    let named = at.components().count() == 1 && !at.is_file() && (!at.exists() || find(&at.to_string_lossy()).is_some());
    if named {
        let name = at.to_string_lossy();
        let found: Vec<Line> = tuned::lines(&name, find).into_iter().map(Line::from).collect();
        if find(&name).is_none() {
            return Err(Failure::input(format!("there is no profile '{name}' of tuned here, and no file of that name"))
                .hint("name a tuned.conf, a file of sysctl.d, or a folder of them"));
        }
        return Ok(found);
    }
    let unreadable = |path: &Path, error: &std::io::Error| Failure::input(format!("cannot read {}: {error}", path.display()));
    if !at.is_dir() {
        return file(at, find);
    }
    if at.join("tuned.conf").is_file() {
        return file(&at.join("tuned.conf"), find);
    }
    let entries = fs::read_dir(at).map_err(|error| unreadable(at, &error))?;
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_some_and(|e| e == "conf")).collect();
    files.sort();
    if files.is_empty() {
        return Err(Failure::input(format!("{} has no *.conf in it", at.display())));
    }
    let mut all = vec![];
    for path in files {
        all.extend(file(&path, find)?);
    }
    Ok(all)
}

fn file(path: &Path, find: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Line>, Failure> {
    let read = |path: &Path| fs::read_to_string(path);
    let text = read(path).map_err(|error| Failure::input(format!("cannot read {}: {error}", path.display())))?;
    // A file of sysctl.d has no sections.
    if !text.lines().any(|line| line.trim_start().starts_with('[')) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let found: Vec<Line> = sysctl::parse(&text).into_iter().map(|line| Line::from((name.as_str(), line))).collect();
        if found.is_empty() && text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';'])) {
            return Err(Failure::input(format!("{} is neither a file of sysctl.d nor a profile of tuned", path.display())));
        }
        return Ok(found);
    }
    // Profiles that it includes lie in folders beside its own.
    let own = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let own = if own.is_empty() { "profile".to_owned() } else { own };
    let library = path.parent().and_then(Path::parent);
    let beside = |name: &str| {
        if name == own {
            return Some(text.clone());
        }
        // A name, never a way out of the folder.
        let plain = !name.contains(['/', '\\']) && name != "..";
        let near = library.filter(|_| plain).and_then(|folder| read(&folder.join(name).join("tuned.conf")).ok());
        near.or_else(|| find(name))
    };
    Ok(tuned::lines(&own, &beside).into_iter().map(Line::from).collect())
}
