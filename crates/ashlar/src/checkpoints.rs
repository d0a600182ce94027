//! Checkpoints of a job, as the person who asks may see them.
//!
//! The folder is looked at by the command itself, with the rights of who gave it: the node reads nobody's folders.

use frameworks::checkpoint::recognise;
use serde_json::{Value, json};
use spec::{JobId, JobSpec, Time};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// More entries than this are not looked at.
const ENTRIES: usize = 2000;

/// One checkpoint on disk.
pub struct Saved {
    pub path: PathBuf,
    pub format: &'static str,
    pub whole: bool,
    pub step: Option<u64>,
    pub at: Time,
}

/// What is below `ASHLAR_CHECKPOINTS` of a job, newest first; empty when the folder is not here or not for us.
pub fn saved(spec: &JobSpec, job: JobId) -> Vec<Saved> {
    let folder = match spec.env.get("ASHLAR_CHECKPOINTS") {
        Some(own) => PathBuf::from(own),
        None => Path::new(&spec.workdir).join("checkpoints").join(job.to_string()),
    };
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten().take(ENTRIES);
    let mut found: Vec<Saved> = entries.filter_map(|entry| look(&entry.path())).collect();
    found.sort_by_key(|saved| std::cmp::Reverse((saved.at, saved.step)));
    found
}

fn look(path: &Path) -> Option<Saved> {
    let data = std::fs::metadata(path).ok()?;
    let names = |path: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten().take(ENTRIES);
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let inside = data.is_dir().then(|| names(path));
    let found = recognise(&path.file_name()?.to_string_lossy(), inside.as_deref())?;
    let at = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let at = Time(at.as_millis() as _);
    Some(Saved { path: path.to_path_buf(), format: found.format.name(), whole: found.whole, step: found.step, at })
}

pub fn as_json(saved: &[Saved]) -> Value {
    let row = |saved: &Saved| json!({ "path": saved.path, "format": saved.format, "complete": saved.whole, "step": saved.step, "written": saved.at });
    saved.iter().map(row).collect()
}

/// One line: the newest that is whole, and how many there are.
pub fn line(saved: &[Saved], now: Time) -> Option<String> {
    let whole = saved.iter().filter(|saved| saved.whole).count();
    let Some(newest) = saved.iter().find(|saved| saved.whole) else {
        return (!saved.is_empty()).then(|| format!("checkpoints: {} that are not complete", saved.len()));
    };
    let age = crate::moment::relative(newest.at, now);
    let step = newest.step.map_or_else(String::new, |step| format!(", step {step}"));
    let more = if whole > 1 { format!("; {} before it", whole - 1) } else { String::new() };
    let part = saved.len() - whole;
    let part = if part > 0 { format!("; {part} not complete") } else { String::new() };
    Some(format!("checkpoint: {} ({}{step}), written {age}{more}{part}", newest.path.display(), newest.format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_complete_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = JobSpec::command_job("x", vec!["true".into()], dir.path().display().to_string());
        let job = JobId::new(7);
        assert!(saved(&spec, job).is_empty());
        let folder = dir.path().join("checkpoints/7");
        std::fs::create_dir_all(folder.join("step_5")).unwrap();
        std::fs::write(folder.join("step_5/__0_0.distcp"), "x").unwrap();
        assert_eq!(line(&saved(&spec, job), Time(0)).unwrap(), "checkpoints: 1 that are not complete");
        std::fs::write(folder.join("state_4.npz"), "x").unwrap();
        std::fs::write(folder.join("readme.txt"), "x").unwrap();
        let found = saved(&spec, job);
        let text = line(&found, found[0].at).unwrap();
        assert!(text.contains("state_4.npz (file, step 4)") && text.ends_with("; 1 not complete"), "{text}");
        assert_eq!(as_json(&found).as_array().unwrap().len(), 2);
        spec.env.insert("ASHLAR_CHECKPOINTS".into(), "/nonexistent".into());
        assert!(saved(&spec, job).is_empty());
    }
}
