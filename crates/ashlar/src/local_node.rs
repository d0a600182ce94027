//! A node of one's own for the length of one command.

use crate::failure::Failure;
use crate::program;
use crate::state::Place;
use api::ClientError;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The node that answers at a place; stopped when dropped, if this process started it.
pub struct LocalNode {
    child: Option<Child>,
}

impl LocalNode {
    pub fn find_or_start(place: &Place) -> Result<LocalNode, Failure> {
        match place.try_connect() {
            Ok(_) => return Ok(LocalNode { child: None }),
            Err(ClientError::NoNode(_)) if !place.is_remote() => {}
            Err(error) => return Err(error.into()),
        }
        let path = program::own_path().map_err(|error| Failure::internal(format!("cannot find my own program: {error}")))?;
        let mut child = Command::new(path)
            .arg("--state")
            .arg(&place.state)
            .arg("up")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in this terminal is for us; the node is stopped by our end.
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::internal(format!("cannot start a node: {error}")))?;
        // The node prints one line, the path of its socket, once it answers.
        let mut ready = String::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut ready);
        }
        if ready.is_empty() {
            let said =
                child.wait_with_output().map(|output| String::from_utf8_lossy(&output.stderr).trim().to_string()).unwrap_or_default();
            return Err(Failure::no_node(format!("the node did not start: {said}")).hint("another folder can be named with --state DIR"));
        }
        // Its words go nowhere from here on, but the pipe must not fill.
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut BufReader::new(stderr), &mut std::io::sink());
            });
        }
        Ok(LocalNode { child: Some(child) })
    }

    /// Of the node, where this process started it.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn started(&self) -> bool {
        self.child.is_some()
    }
}

/// Asks a node that this process started to stop, from a thread that does not own it.
pub fn stop(pid: Option<u32>) {
    if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid as i32)) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
            let _ = child.wait();
        }
    }
}
