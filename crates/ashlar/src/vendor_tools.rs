//! Asking vendor libraries in a child process: they may hang or crash.

use crate::program;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A driver that resets a device can keep its library waiting for minutes; the start of the node does not wait with it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `ashlar __nvml` printed; empty when it failed or took too long.
pub fn nvml() -> String {
    let Ok(path) = program::own_path() else { return String::new() };
    let child = Command::new(path).arg("__nvml").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = child else { return String::new() };
    let Some(mut pipe) = child.stdout.take() else { return String::new() };
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = pipe.read_to_string(&mut text);
        let _ = send.send(text);
    });
    let text = receive.recv_timeout(PATIENCE).unwrap_or_default();
    let _ = child.kill();
    let _ = child.wait();
    text
}
