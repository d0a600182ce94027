//! Telling a person that their job reached a state, by the command they named.

use spec::Identity;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Starts the command as its owner and does not wait for it. At most once: a notice is no record, and a node that
/// dies in this moment does not send it again.
pub fn notify(owner: &Identity, command: &[String], variables: &[(&str, String)]) {
    let Some((program, arguments)) = command.split_first() else { return };
    let mut process = Command::new(program);
    process
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", &owner.home)
        .env("USER", &owner.user)
        .envs(variables.iter().map(|(name, value)| (*name, value.as_str())))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    // Only root may become somebody else; a node of one person runs as that person already.
    if rustix::process::geteuid().is_root() {
        process.uid(owner.uid).gid(owner.gid);
    }
    match process.spawn() {
        Ok(mut child) => {
            std::thread::spawn(move || child.wait());
        }
        Err(error) => tracing::warn!("the notice command '{program}' of {} does not start: {error}", owner.user),
    }
}
