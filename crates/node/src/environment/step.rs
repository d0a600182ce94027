//! Running one planned command line.

use super::EnvironmentError;
use frameworks::environment::{Step, classify, redact};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use spec::Identity;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// How often a build looks whether it shall stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Runs a step to its end as `owner` (or as this process), its output going to `log` without passwords.
pub(super) fn run(
    step: &Step,
    owner: Option<&Identity>,
    dir: &Path,
    log: &mut File,
    stopped: &dyn Fn() -> bool,
) -> Result<(), EnvironmentError> {
    let failed = |source| EnvironmentError::Files { path: dir.to_path_buf(), source };
    let mut output = tempfile(dir).map_err(failed)?;
    let _ = writeln!(log, "# {}\n$ {}", step.why, redact(&step.argv.join(" ")));
    let Some((program, arguments)) = step.argv.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(step.env.iter().map(|(name, value)| (name, value))).current_dir(dir);
    command.stdin(Stdio::null()).stdout(output.try_clone().map_err(failed)?).stderr(output.try_clone().map_err(failed)?).process_group(0);
    become_owner(&mut command, owner);
    let mut child = command.spawn().map_err(|error| EnvironmentError::Build { message: format!("{program}: {error}"), hint: None })?;
    let status = wait(&mut child, stopped).map_err(failed)?;
    let mut text = String::new();
    let _ = output.seek(SeekFrom::Start(0)).and_then(|_| (&output).take(1 << 20).read_to_string(&mut text));
    let text = redact(&text);
    let _ = log.write_all(text.as_bytes());
    match status {
        None => Err(EnvironmentError::Stopped),
        Some(status) if status.success() => Ok(()),
        Some(_) => Err(EnvironmentError::of_failure(classify(&text))),
    }
}

/// `None` when it was stopped before its end.
fn wait(child: &mut std::process::Child, stopped: &dyn Fn() -> bool) -> std::io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&LOOK));
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if stopped() {
            let _ = kill_process_group(pid, Signal::KILL);
            child.wait()?;
            return Ok(None);
        }
    }
}

/// A file that has no name any more, so nothing has to clean it up.
fn tempfile(dir: &Path) -> std::io::Result<File> {
    let path = dir.join(format!(".output-{}", std::process::id()));
    let file = File::options().read(true).append(true).create(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn become_owner(command: &mut Command, owner: Option<&Identity>) {
    // Only root may become somebody else; a node of one person is that person already.
    if let Some(owner) = owner.filter(|_| rustix::process::geteuid().is_root()) {
        command.uid(owner.uid).gid(owner.gid);
    }
}

/// What a short command prints, if it succeeds.
pub(super) fn ask(argv: &[&str], owner: Option<&Identity>) -> Option<String> {
    let (program, arguments) = argv.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    become_owner(&mut command, owner);
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Files of that name on this process's search path.
pub(super) fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(name)).filter(|file| file.is_file()).collect()
}

/// A program on the search path that `owner` can start.
pub(super) fn find_program(name: &str, owner: &Identity) -> Option<String> {
    on_path(name).into_iter().map(|path| path.display().to_string()).find(|path| ask(&[path, "--version"], Some(owner)).is_some())
}
