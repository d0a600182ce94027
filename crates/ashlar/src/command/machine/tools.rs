//! What vendors' tools say of the machine, for a capture. A tool may hang with its driver: each has a few seconds, then its
//! whole process group is killed, and the rest is asked all the same.

use host::capture::ToolOutput;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Waking eight cards takes a driver up to about ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// `nvidia-smi -q` prints some 20 kB a card.
const LONGEST: u64 = 2 << 20;

/// File name in the capture, program, arguments. None of them prints command lines of processes, or the capture cuts that
/// part off. Arguments are those of the vendors' manuals.
const TOOLS: [(&str, &str, &[&str]); 19] = [
    ("amd-smi-static.txt", "amd-smi", &["static"]),
    ("amd-smi-topology.txt", "amd-smi", &["topology"]),
    ("cnmon.txt", "cnmon", &["info"]),
    ("hl-smi.txt", "hl-smi", &[]),
    ("hy-smi.txt", "hy-smi", &[]),
    ("ibstat.txt", "ibstat", &[]),
    ("ibv_devinfo.txt", "ibv_devinfo", &["-v"]),
    ("lspci.txt", "lspci", &["-nnvvv"]),
    ("mthreads-gmi.txt", "mthreads-gmi", &[]),
    ("mx-smi.txt", "mx-smi", &[]),
    ("mx-smi-topo.txt", "mx-smi", &["topo", "-m"]),
    ("npu-smi.txt", "npu-smi", &["info"]),
    ("npu-smi-topo.txt", "npu-smi", &["info", "-t", "topo"]),
    ("nvidia-smi.txt", "nvidia-smi", &["-q"]),
    ("nvidia-smi-nvlink.txt", "nvidia-smi", &["nvlink", "--status"]),
    ("nvidia-smi-topo.txt", "nvidia-smi", &["topo", "-m"]),
    ("rocm-smi-topo.txt", "rocm-smi", &["--showtopo"]),
    ("tt-smi.txt", "tt-smi", &["-ls"]),
    ("xpu-smi.txt", "xpu-smi", &["discovery"]),
];

/// Asks every tool that is installed, at the same time. A tool that hung is in the list too, with that as its text.
pub fn ask_all() -> Vec<ToolOutput> {
    let threads: Vec<_> = TOOLS
        .iter()
        .map(|(name, program, arguments)| {
            std::thread::spawn(move || Some(ToolOutput { name: (*name).into(), text: ask(program, arguments)? }))
        })
        .collect();
    threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
}

/// What a program printed; `None` when there is no such program.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/usr/sbin:/bin:/sbin".into()))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .ok()?;
    let pipe = child.stdout.take()?;
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.take(LONGEST).read_to_end(&mut bytes);
        let _ = send.send(bytes);
    });
    let answer = receive.recv_timeout(PATIENCE);
    // A tool in an uninterruptible wait cannot be killed; it is left behind rather than waited for.
    if let Some(group) = Pid::from_raw(child.id() as i32) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.try_wait();
    Some(answer.map_or_else(
        |_| format!("({program} gave no answer within {} seconds)\n", PATIENCE.as_secs()),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_asked_without_our_environment_and_an_absent_one_is_absent() {
        let text = ask("env", &[]).unwrap();
        assert!(text.contains("LC_ALL=C") && !text.contains("CARGO"), "{text}");
        assert_eq!(ask("no-such-tool-of-any-vendor", &[]), None);
    }
}
