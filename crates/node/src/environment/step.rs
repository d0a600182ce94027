//! Running one planned command line.

use super::EnvironmentError;
use frameworks::environment::{Step, classify, redact};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use spec::Identity;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The end of a tool's output is where it says what went wrong.
const KEPT: u64 = 1 << 20;

/// Runs a step to its end in this process's identity and group, its output going to `log` without passwords. The tool
/// holds `guard` as its standard input.
pub(super) fn run(step: &Step, dir: &Path, log: &mut File, guard: &File) -> Result<(), EnvironmentError> {
    let failed = |source| EnvironmentError::Files { path: dir.to_path_buf(), source };
    let mut output = nameless(dir).map_err(failed)?;
    let _ = writeln!(log, "# {}\n$ {}", step.why, redact(&step.argv.join(" ")));
    let Some((program, arguments)) = step.argv.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(step.env.iter().map(|(name, value)| (name, value))).current_dir(dir);
    command.stdin(guard.try_clone().map_err(failed)?);
    command.stdout(output.try_clone().map_err(failed)?).stderr(output.try_clone().map_err(failed)?);
    let status = command.status().map_err(|error| EnvironmentError::Build { message: format!("{program}: {error}"), hint: None })?;
    let mut bytes = vec![];
    let end = output.seek(SeekFrom::End(0)).unwrap_or(0);
    let _ = output.seek(SeekFrom::Start(end.saturating_sub(KEPT))).and_then(|_| (&output).take(KEPT).read_to_end(&mut bytes));
    let text = redact(&String::from_utf8_lossy(&bytes));
    let _ = log.write_all(text.as_bytes());
    if status.success() { Ok(()) } else { Err(EnvironmentError::of_failure(classify(&text))) }
}

/// A file that has no name any more, so nothing has to clean it up.
fn nameless(dir: &Path) -> std::io::Result<File> {
    let path = dir.join(format!(".output-{}", std::process::id()));
    let file = File::options().read(true).append(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// How long an interpreter may take to say its version: one on a network file system that hangs is no interpreter.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// What a short command prints, if it succeeds in time.
pub(super) fn ask(argv: &[&str], owner: &Identity) -> Option<String> {
    let (program, arguments) = argv.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env_clear().env("PATH", search_path()).env("HOME", &owner.home).env("LANG", "C.UTF-8");
    let mut child = command.spawn().ok()?;
    let in_time = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
        .is_ok_and(|pidfd| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE)).is_ok_and(|ready| ready > 0));
    if !in_time {
        let _ = child.kill();
    }
    let output = child.wait_with_output().ok()?;
    (in_time && output.status.success()).then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// Files of that name on this process's search path.
pub(super) fn on_path(name: &str) -> Vec<PathBuf> {
    std::env::split_paths(&search_path()).map(|dir| dir.join(name)).filter(|file| file.is_file()).collect()
}

/// A program on the search path that `owner` can start.
pub(super) fn find_program(name: &str, owner: &Identity) -> Option<String> {
    on_path(name).into_iter().map(|path| path.display().to_string()).find(|path| ask(&[path, "--version"], owner).is_some())
}
