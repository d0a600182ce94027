//! What a job names on this machine, looked at with the rights of whoever submits it.
//!
//! The node must not look: a daemon of root would tell people of files that they may not see. So the command looks,
//! where it and the node are on one machine, and only warns: a folder may come before the job starts.

use spec::{JobSpec, Work};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// Where the node lets a run make new mount points.
const MADE_FOR_A_RUN: [&str; 3] = ["/tmp", "/var/tmp", "/run"];

/// Where a program is looked for when the job sets no `PATH`.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the job names and this machine does not have; one sentence each.
pub fn missing(job: &JobSpec) -> Vec<String> {
    missing_by(job, &|path| !matches!(std::fs::metadata(path), Err(error) if error.kind() == ErrorKind::NotFound))
}

fn missing_by(job: &JobSpec, there: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let covered = |path: &Path| job.mounts.iter().any(|mount| path.starts_with(&mount.target));
    let mut found = vec![];
    let workdir = Path::new(&job.workdir);
    if !covered(workdir) && !there(workdir) {
        found.push(format!("the workdir '{}' does not exist on this machine", job.workdir));
    }
    for (index, mount) in job.mounts.iter().enumerate() {
        if !there(Path::new(&mount.source)) {
            found.push(format!("the mount source '{}' does not exist on this machine", mount.source));
        }
        let target = Path::new(&mount.target);
        let below_another = job.mounts.iter().enumerate().any(|(other, mount)| other != index && target.starts_with(&mount.target));
        if !below_another && !can_be_made(target, there) {
            found.push(format!(
                "the mount target '{}' does not exist on this machine, and no directory is ever made there for a run: mount at one that \
                 exists, at a new name directly below / (such as /data), or anywhere below /tmp",
                mount.target
            ));
        }
    }
    found.extend(program(job, workdir, &covered, there));
    found
}

fn can_be_made(target: &Path, there: &dyn Fn(&Path) -> bool) -> bool {
    let top: PathBuf = target.components().take(2).collect();
    there(target) || !there(&top) || MADE_FOR_A_RUN.iter().any(|place| target.starts_with(place))
}

fn program(job: &JobSpec, workdir: &Path, covered: &dyn Fn(&Path) -> bool, there: &dyn Fn(&Path) -> bool) -> Option<String> {
    let Work::Command(words) = &job.work else { return None };
    let name = words.first()?;
    if name.contains('/') {
        let path = plain(&workdir.join(name));
        return (!covered(&path) && !there(&path)).then(|| format!("the program '{}' does not exist on this machine", path.display()));
    }
    // The programs of an environment are there once it is built.
    if job.environment.is_some() {
        return None;
    }
    let path = job.env.get("PATH").map_or(SYSTEM_PATH, String::as_str);
    let found = path.split(':').map(|folder| workdir.join(folder).join(name)).any(|file| covered(&file) || there(&file));
    (!found).then(|| format!("the command '{name}' is not found in PATH ({path})"))
}

/// Without `.` and `..`, as text.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
        plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::Mount;

    fn job(words: &[&str], workdir: &str, mounts: &[(&str, &str)]) -> JobSpec {
        let mut job = JobSpec::command_job("x", words.iter().map(|word| word.to_string()).collect(), workdir);
        job.mounts = mounts.iter().map(|(s, t)| Mount { source: s.to_string(), target: t.to_string(), read_only: false }).collect();
        job
    }

    #[test]
    fn what_is_not_there_is_named() {
        let there =
            |path: &Path| ["/", "/home", "/home/ada", "/usr", "/usr/bin", "/usr/bin/python", "/data"].iter().any(|p| path == Path::new(p));
        for (job, part) in [
            (job(&["python"], "/home/ada", &[]), None),
            (job(&["pyhton"], "/home/ada", &[]), Some("'pyhton' is not found in PATH")),
            (job(&["./train"], "/home/ada", &[]), Some("'/home/ada/train' does not exist")),
            (job(&["/usr/bin/../bin/python"], "/home/ada", &[]), None),
            (job(&["python"], "/home/bob", &[]), Some("the workdir '/home/bob'")),
            (job(&["python"], "/work/x", &[("/data", "/work")]), None),
            (job(&["/work/tool"], "/home", &[("/data", "/work")]), None),
            (job(&["python"], "/home", &[("/dta", "/images")]), Some("the mount source '/dta'")),
            (job(&["python"], "/home", &[("/data", "/usr/share/images")]), Some("the mount target '/usr/share/images'")),
            (job(&["python"], "/home", &[("/data", "/new/deep/place")]), None),
            (job(&["python"], "/home", &[("/data", "/tmp/deep/place")]), None),
            (job(&["python"], "/home", &[("/data", "/usr/bin"), ("/data", "/usr/bin/x")]), None),
        ] {
            let found = missing_by(&job, &there);
            match part {
                None => assert!(found.is_empty(), "{found:?}"),
                Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{found:?} {part}"),
            }
        }
    }

    #[test]
    fn an_environment_and_a_script_bring_their_own_programs() {
        let nothing = |path: &Path| path == Path::new("/");
        let mut own = job(&["torchrun"], "/", &[]);
        own.environment =
            Some(spec::Environment { packages: spec::Packages::Packages(vec!["torch".into()]), ..spec::Environment::default() });
        assert!(missing_by(&own, &nothing).is_empty());
        own.work = Work::Script("nonsense".into());
        assert!(missing_by(&own, &nothing).is_empty());
    }
}
