//! Why a run ended, said so that its owner knows what to do next.

use crate::{Finding, Severity, signal};
use machine::Bytes;

/// What is known of the end of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndFacts<'a> {
    pub end: End<'a>,
    /// Ranks of the run; with one, sentences do not mention ranks.
    pub ranks: u32,
    /// First word of the command, where the work was a command.
    pub program: Option<&'a str>,
}

/// How it ended: the first thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<'a> {
    Success,
    Exit {
        rank: u32,
        code: i32,
    },
    /// By a signal that we did not send.
    Signalled {
        rank: u32,
        signal: i32,
    },
    OutOfMemory {
        rank: Option<u32>,
        /// What the control group allowed for the whole run.
        limit: Bytes,
        /// What it reached.
        peak: Bytes,
    },
    /// It held more of a device's memory than its part, and the node ended it.
    DeviceMemory {
        device: &'a str,
        part: Bytes,
        used: Bytes,
    },
    /// The time limit, as people write it ("1h 0m").
    Limit {
        limit: &'a str,
        /// Every rank ended by itself in time, with code 0 or 128 + the signal, after it had been asked to.
        clean: bool,
    },
    /// A stop order was carried out; who gave it, where known.
    Stopped {
        by: Option<&'a str>,
    },
    StartFailed {
        message: &'a str,
        hint: Option<&'a str>,
        /// Another try would end the same way.
        missing: bool,
    },
    Lost {
        message: &'a str,
    },
}

/// Where the meaning of exit codes comes from.
const SHELL: &str = "POSIX.1-2017, Shell Command Language 2.8.2, Exit Status for Commands";
const SIGNALS: &str = "signal(7)";
const CGROUP: &str = "Linux Documentation/admin-guide/cgroup-v2, memory.events";
const OURS: &str = "docs/concepts/state-machine.md";

/// One finding about the end of a run. Every end has one, success too.
pub fn explain(facts: &EndFacts<'_>) -> Finding {
    match &facts.end {
        End::Success => finding("run.success", Severity::Info, "succeeded".into(), "", OURS),
        End::Exit { rank, code } => exit(facts, *rank, *code),
        End::Signalled { rank, signal } => signalled(facts, *rank, *signal),
        End::OutOfMemory { rank, limit, peak } => out_of_memory(facts, *rank, *limit, *peak),
        End::DeviceMemory { device, part, used } => {
            let text = "held more device memory than its part".into();
            let detail = format!("it held {used} of {device}, where {part} are its own");
            let mut found = finding("run.device-memory", Severity::Error, text, &detail, OURS);
            found.hint = Some(format!("ask for `devices: share {}`, or let the program take less", in_a_file(suggested(*used))));
            found
        }
        End::Limit { limit, clean } => limited(limit, *clean),
        End::Stopped { by: Some(user) } => finding("run.stopped", Severity::Warning, format!("cancelled by {user}"), "", OURS),
        End::Stopped { by: None } => {
            let mut found =
                finding("run.stopped", Severity::Error, "stopped on its machine".into(), "nobody had cancelled the job here", OURS);
            found.hint =
                Some("its node was told to stop everything; `retry: {on: [lost]}` with `attempts` above 1 starts such jobs again".into());
            found
        }
        End::StartFailed { message, hint, missing } => {
            let id = if *missing { "run.missing" } else { "run.start-failed" };
            let mut found = finding(id, Severity::Error, "could not be started".into(), message, OURS);
            let again = "look for a slip in the name; such a start is tried again only with `retry: {on: [missing]}`";
            found.hint = hint.map(str::to_owned).or_else(|| missing.then(|| again.to_owned()));
            found
        }
        End::Lost { message } => {
            let mut found = finding("run.lost", Severity::Error, "was lost".into(), message, OURS);
            found.hint = Some("submit it again, or give the job `retry: {attempts: 2, on: [lost]}`".into());
            found
        }
    }
}

/// Whether the work was saved is the program's affair; that it had the time to, and left content, is what we know.
fn limited(limit: &str, clean: bool) -> Finding {
    let (id, severity, detail, hint) = match clean {
        true => (
            "run.limit-saved",
            Severity::Warning,
            "asked to end, it left by itself in time, so the work it saved can be gone on with",
            "submit it again to go on from its checkpoint, or let `retry: {attempts: 9, on: [limit]}` do so",
        ),
        false => (
            "run.limit",
            Severity::Error,
            "",
            "raise `limit`, or save the work at the checkpoint signal, leave with code 0 within the grace, and let `retry: {on: [limit]}` continue it",
        ),
    };
    let title = if clean { format!("reached its time limit of {limit}") } else { format!("stopped at its time limit of {limit}") };
    let mut found = finding(id, severity, title, detail, OURS);
    found.evidence.push(format!("limit {limit}"));
    found.hint = Some(hint.into());
    found
}

fn finding(id: &str, severity: Severity, title: String, detail: &str, source: &str) -> Finding {
    Finding { id: id.into(), severity, title, detail: detail.into(), source: source.into(), ..Finding::default() }
}

/// "rank 3 " in a gang, nothing for a job of one process.
fn who(facts: &EndFacts<'_>, rank: u32) -> String {
    if facts.ranks > 1 { format!("rank {rank} ") } else { String::new() }
}

fn exit(facts: &EndFacts<'_>, rank: u32, code: i32) -> Finding {
    let program = facts.program.unwrap_or("the program");
    let (id, detail, hint): (&str, String, Option<String>) = match code {
        1 => ("run.exit", String::new(), Some("the last lines of its output usually say why: see `ashlar logs`".into())),
        2 => ("run.exit", "many programs use this code for a wrong argument".into(), None),
        126 => (
            "run.not-executable",
            format!("'{program}' was found but cannot be executed"),
            Some("make it executable (`chmod +x`), check its first line (`#!`), and that it was built for this processor".into()),
        ),
        127 => (
            "run.not-found",
            format!("'{program}', or a command inside the script, was not found"),
            Some("give the full path, set PATH under `env`, or name the package under `environment`".into()),
        ),
        129..=159 => return exit_by_signal(facts, rank, code),
        _ => ("run.exit", String::new(), None),
    };
    let mut found = finding(id, Severity::Error, format!("{}exited with code {code}", who(facts, rank)), &detail, SHELL);
    found.evidence.push(format!("rank {rank}: exit code {code}"));
    found.hint = hint;
    found
}

/// A shell, or a launcher, passed on the death of a process below it as 128 + signal.
fn exit_by_signal(facts: &EndFacts<'_>, rank: u32, code: i32) -> Finding {
    let number = code - 128;
    let Some((name, meaning)) = signal::name(number) else {
        let mut found = finding("run.exit", Severity::Error, format!("{}exited with code {code}", who(facts, rank)), "", SHELL);
        found.evidence.push(format!("rank {rank}: exit code {code}"));
        return found;
    };
    let title = format!("{}exited with code {code}", who(facts, rank));
    let detail = format!("a process it started ended by {name} ({meaning})");
    let mut found = finding(signal_rule(number), Severity::Error, title, &detail, SHELL);
    found.evidence.push(format!("rank {rank}: exit code {code} = 128 + {number}"));
    found.hint = signal_hint(number);
    found
}

fn signalled(facts: &EndFacts<'_>, rank: u32, number: i32) -> Finding {
    let title = match signal::name(number) {
        Some((name, meaning)) => format!("{}ended by {name} ({meaning})", who(facts, rank)),
        None => format!("{}ended by signal {number}", who(facts, rank)),
    };
    let detail = if number == 9 { "the signal was not ours, and the limit of its memory was not reached" } else { "" };
    let mut found = finding(signal_rule(number), Severity::Error, title, detail, SIGNALS);
    found.evidence.push(format!("rank {rank}: signal {number}"));
    found.hint = signal_hint(number);
    found
}

fn signal_rule(number: i32) -> &'static str {
    match number {
        4 => "run.illegal-instruction",
        6 => "run.aborted",
        7 => "run.bus-error",
        9 => "run.killed",
        11 => "run.segmentation-fault",
        31 => "run.forbidden-system-call",
        _ => "run.signalled",
    }
}

fn signal_hint(number: i32) -> Option<String> {
    let hint = match number {
        1 | 15 => "somebody or something on the machine asked it to end; the job was not cancelled here",
        4 => {
            "the program was built for a processor with more features than this one (often AVX-512 or AMX); \
             compare `ashlar machine` with what the package was built for, and install one built for this processor"
        }
        6 => "the program gave up by itself: a failed assertion, an uncaught C++ exception or a corrupted heap; its output says which",
        7 => "usually `/dev/shm` was full or a mapped file was cut short: ask for more `shm`",
        8 => "an integer division by zero, or an overflow trapped on purpose",
        9 => {
            "the kernel ran out of memory for the whole machine, or somebody with the right to do so killed it: \
             `dmesg` on the machine names an out-of-memory kill"
        }
        11 => "a bug in native code, or libraries that do not fit together; `PYTHONFAULTHANDLER=1` under `env` makes Python print where",
        13 => "the reader of its output went away",
        24 => "the processor time limit (`ulimit -t`) was reached",
        25 => "the file size limit (`ulimit -f`) was reached",
        31 => "the seccomp profile forbids a system call it made; `ashlar show` lists what is enforced",
        _ => return None,
    };
    Some(hint.into())
}

/// Half as much again, rounded up to a size a person would write.
fn suggested(limit: Bytes) -> Bytes {
    let wanted = limit.scaled(3, 2).0;
    let unit = if wanted >= Bytes::gib(1).0 { Bytes::gib(1).0 } else { Bytes::mib(1).0 };
    Bytes(wanted.div_ceil(unit).max(1).saturating_mul(unit))
}

/// A size as a job file takes it: `3GiB`.
fn in_a_file(size: Bytes) -> String {
    let gib = Bytes::gib(1).0;
    if size.0 >= gib && size.0.is_multiple_of(gib) {
        format!("{}GiB", size.0 / gib)
    } else {
        format!("{}MiB", size.0.div_ceil(Bytes::mib(1).0))
    }
}

fn out_of_memory(facts: &EndFacts<'_>, rank: Option<u32>, limit: Bytes, peak: Bytes) -> Finding {
    let who = rank.map(|rank| who(facts, rank)).unwrap_or_default();
    let ranks = u64::from(facts.ranks.max(1));
    let detail = format!("it held {limit}, peaked at {peak}, and the kernel killed it");
    let mut found = finding("run.out-of-memory", Severity::Error, format!("{who}ran out of memory"), &detail, CGROUP);
    found.evidence = vec![format!("limit of the run {limit}"), format!("peak {peak}")];
    let each = in_a_file(suggested(limit.scaled(1, ranks)));
    found.hint = Some(if ranks > 1 { format!("ask for `memory: {each}` (for each rank)") } else { format!("ask for `memory: {each}`") });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(end: End<'_>) -> EndFacts<'_> {
        EndFacts { end, ranks: 1, program: Some("train") }
    }

    #[test]
    fn every_end_reads_as_one_sentence() {
        let cases = [
            (End::Success, "run.success", "succeeded"),
            (End::Exit { rank: 0, code: 3 }, "run.exit", "exited with code 3"),
            (End::Exit { rank: 0, code: 126 }, "run.not-executable", "exited with code 126: 'train' was found but cannot be executed"),
            (
                End::Exit { rank: 0, code: 127 },
                "run.not-found",
                "exited with code 127: 'train', or a command inside the script, was not found",
            ),
            (
                End::Exit { rank: 0, code: 134 },
                "run.aborted",
                "exited with code 134: a process it started ended by SIGABRT (aborted itself)",
            ),
            (
                End::Exit { rank: 0, code: 139 },
                "run.segmentation-fault",
                "exited with code 139: a process it started ended by SIGSEGV (segmentation fault)",
            ),
            (
                End::Exit { rank: 0, code: 143 },
                "run.signalled",
                "exited with code 143: a process it started ended by SIGTERM (asked to end)",
            ),
            (End::Exit { rank: 0, code: 158 }, "run.exit", "exited with code 158"),
            (End::Signalled { rank: 0, signal: 4 }, "run.illegal-instruction", "ended by SIGILL (illegal instruction)"),
            (
                End::Signalled { rank: 0, signal: 9 },
                "run.killed",
                "ended by SIGKILL (killed): the signal was not ours, and the limit of its memory was not reached",
            ),
            (End::Signalled { rank: 0, signal: 40 }, "run.signalled", "ended by signal 40"),
            (
                End::OutOfMemory { rank: None, limit: Bytes::gib(2), peak: Bytes::gib(2) },
                "run.out-of-memory",
                "ran out of memory: it held 2 GiB, peaked at 2 GiB, and the kernel killed it",
            ),
            (End::Limit { limit: "1h 0m", clean: false }, "run.limit", "stopped at its time limit of 1h 0m"),
            (
                End::Limit { limit: "1h 0m", clean: true },
                "run.limit-saved",
                "reached its time limit of 1h 0m: asked to end, it left by itself in time, so the work it saved can be gone on with",
            ),
            (End::Stopped { by: Some("ada") }, "run.stopped", "cancelled by ada"),
            (End::Stopped { by: None }, "run.stopped", "stopped on its machine: nobody had cancelled the job here"),
            (
                End::StartFailed { message: "no such directory: /data", hint: Some("check `mounts`"), missing: false },
                "run.start-failed",
                "could not be started: no such directory: /data",
            ),
            (
                End::StartFailed { message: "no such directory: /data", hint: None, missing: true },
                "run.missing",
                "could not be started: no such directory: /data",
            ),
            (End::Lost { message: "the machine restarted" }, "run.lost", "was lost: the machine restarted"),
        ];
        for (end, id, sentence) in cases {
            let found = explain(&facts(end.clone()));
            assert_eq!((found.id.as_str(), found.sentence().as_str()), (id, sentence), "{end:?}");
            assert!(!found.source.is_empty(), "{end:?}");
        }
    }

    #[test]
    fn only_in_a_gang_is_the_rank_named() {
        let gang = EndFacts { end: End::Signalled { rank: 3, signal: 11 }, ranks: 4, program: None };
        assert_eq!(explain(&gang).title, "rank 3 ended by SIGSEGV (segmentation fault)");
        let gang = EndFacts { end: End::Exit { rank: 1, code: 127 }, ranks: 2, program: None };
        assert_eq!(explain(&gang).sentence(), "rank 1 exited with code 127: 'the program', or a command inside the script, was not found");
    }

    #[test]
    fn out_of_memory_says_what_to_ask_for() {
        for (limit, ranks, hint) in [
            (Bytes::gib(2), 1, "ask for `memory: 3GiB`"),
            (Bytes::gib(8), 4, "ask for `memory: 3GiB` (for each rank)"),
            (Bytes::mib(100), 1, "ask for `memory: 150MiB`"),
            (Bytes::gib(3), 1, "ask for `memory: 5GiB`"),
            (Bytes(0), 1, "ask for `memory: 1MiB`"),
        ] {
            let found = explain(&EndFacts { end: End::OutOfMemory { rank: Some(0), limit, peak: limit }, ranks, program: None });
            assert_eq!(found.hint.as_deref(), Some(hint));
            assert_eq!(found.evidence.len(), 2);
        }
        let huge = Bytes(u64::MAX);
        assert_eq!(explain(&facts(End::OutOfMemory { rank: None, limit: huge, peak: huge })).severity, Severity::Error);
    }

    #[test]
    fn the_hints_that_people_look_for_are_there() {
        for (end, part) in [
            (End::Exit { rank: 0, code: 126 }, "chmod +x"),
            (End::DeviceMemory { device: "GPU-1", part: Bytes::gib(8), used: Bytes::gib(12) }, "devices: share"),
            (End::Exit { rank: 0, code: 127 }, "PATH"),
            (End::Exit { rank: 0, code: 134 }, "assertion"),
            (End::Exit { rank: 0, code: 139 }, "PYTHONFAULTHANDLER"),
            (End::Exit { rank: 0, code: 137 }, "dmesg"),
            (End::Signalled { rank: 0, signal: 4 }, "AVX-512"),
            (End::Signalled { rank: 0, signal: 7 }, "shm"),
            (End::Signalled { rank: 0, signal: 31 }, "seccomp"),
            (End::Limit { limit: "5m 0s", clean: false }, "checkpoint"),
            (End::Limit { limit: "5m 0s", clean: true }, "submit it again"),
            (End::StartFailed { message: "x", hint: None, missing: true }, "on: [missing]"),
            (End::Lost { message: "x" }, "retry"),
        ] {
            let hint = explain(&facts(end.clone())).hint.unwrap_or_default();
            assert!(hint.contains(part), "{end:?}: {hint}");
        }
    }

    #[test]
    fn no_number_makes_it_panic() {
        for code in [i32::MIN, -1, 0, 128, 129, 160, 255, i32::MAX] {
            let _ = explain(&facts(End::Exit { rank: 0, code }));
            let _ = explain(&facts(End::Signalled { rank: u32::MAX, signal: code }));
        }
    }
}
