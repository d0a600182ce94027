//! What vendors' tools say of the machine, for a capture. A tool may hang with its driver: each has a few seconds, then its
//! whole process group is killed, and the rest is asked all the same.

use host::accelerators::tools as read;
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

/// File name in the capture, program, arguments, beside the programs that [`read`] knows. None of them prints command lines of
/// processes, or the capture cuts that part off. Arguments are those of the vendors' manuals.
const OTHERS: [(&str, &str, &[&str]); 13] = [
    ("amd-smi-static.txt", "amd-smi", &["static"]),
    ("amd-smi-topology.txt", "amd-smi", &["topology"]),
    ("hl-smi.txt", "hl-smi", &[]),
    ("ibstat.txt", "ibstat", &[]),
    ("ibv_devinfo.txt", "ibv_devinfo", &["-v"]),
    ("lspci.txt", "lspci", &["-nnvvv"]),
    ("mx-smi-topo.txt", "mx-smi", &["topo", "-m"]),
    ("nvidia-smi.txt", "nvidia-smi", &["-q"]),
    ("nvidia-smi-nvlink.txt", "nvidia-smi", &["nvlink", "--status"]),
    ("nvidia-smi-topo.txt", "nvidia-smi", &["topo", "-m"]),
    ("rocm-smi-topo.txt", "rocm-smi", &["--showtopo"]),
    ("tt-smi.txt", "tt-smi", &["-ls"]),
    ("xpu-smi.txt", "xpu-smi", &["discovery"]),
];

/// Asks every tool that is installed, at the same time. A tool that hung is in the list too, with that as its text.
pub fn ask_all() -> Vec<ToolOutput> {
    let other = |(name, program, arguments): &(&str, &'static str, &'static [&'static str])| {
        let (name, program, arguments) = ((*name).to_owned(), *program, *arguments);
        std::thread::spawn(move || Vec::from_iter(ask(program, arguments).map(|text| ToolOutput { name, text })))
    };
    let others = OTHERS.iter().map(other);
    let threads: Vec<_> = others.chain(read::TOOLS.iter().map(|tool| std::thread::spawn(move || ask_known(tool)))).collect();
    let mut found: Vec<ToolOutput> = threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// A tool whose output is read when the capture is looked at, with all that follows from its first answer.
fn ask_known(tool: &read::Tool) -> Vec<ToolOutput> {
    let Some(text) = ask(tool.name, tool.arguments) else { return Vec::new() };
    let told = (tool.parse)(&text);
    let mut found = vec![ToolOutput { name: tool.file(), text }];
    let questions = tool.further.as_ref().map_or_else(Vec::new, |further| (further.questions)(&told, true));
    for question in questions {
        let arguments: Vec<&str> = question.arguments.iter().map(String::as_str).collect();
        let Some(text) = ask(tool.name, &arguments) else { break };
        let hung = read::is_no_answer(&text);
        found.push(ToolOutput { name: question.file, text });
        if hung {
            break;
        }
    }
    found
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
    Some(answer.map_or_else(|_| read::no_answer(program, PATIENCE), |bytes| String::from_utf8_lossy(&bytes).into_owned()))
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
