//! Real runs on this kernel. Each case is a forked process with one thread, as a supervisor is.
//!
//! This program is also what the ranks execute: `--probe WHAT` does one thing a shell cannot.
#![allow(unsafe_code)]

mod cases;
mod probe;
mod unprivileged;

use machine::{Bytes, CgroupMode, CpuSet, CpuShare, Grant, RankGrant};
use sandbox::{RankEvent, RankProcess, SandboxError, Started, Workload};
use spec::{Identity, JobId, Network, RunId};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A case gets a directory of its own, gone afterwards.
type Case = (&'static str, fn(&Path));

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "--probe") {
        probe::run(&arguments[1..]);
    }
    let cases: Vec<Case> = cases::CASES.iter().chain(unprivileged::CASES).copied().collect();
    if arguments.iter().any(|argument| argument == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let patterns: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root (containers, control groups and other people's identities)");
        return;
    }
    if place() == Path::new("/srv") && !std::env::current_exe().unwrap().starts_with("/srv") {
        std::process::exit(from_elsewhere(&arguments));
    }
    let chosen = cases.iter().filter(|(name, _)| patterns.is_empty() || patterns.iter().any(|pattern| name.contains(pattern.as_str())));
    let failed = chosen.filter(|(name, case)| !in_child(name, *case)).count();
    if failed > 0 {
        println!("{failed} failed");
        std::process::exit(101);
    }
}

/// Ranks execute this very program; from below /tmp, which is private to every run, they could not.
fn from_elsewhere(arguments: &[String]) -> i32 {
    let copy = Path::new("/srv").join(format!("ashlar-runs-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let status = std::process::Command::new(&copy).args(arguments).status();
    std::fs::remove_file(&copy).unwrap();
    status.unwrap().code().unwrap_or(101)
}

/// Runs one case in a child and tells whether it succeeded and left nothing behind.
fn in_child(name: &str, case: fn(&Path)) -> bool {
    let directory = tempfile::Builder::new().prefix("ashlar-test-").tempdir_in(place()).unwrap();
    let before = traces();
    let began = Instant::now();
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let result = std::panic::catch_unwind(|| case(directory.path()));
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    let mut status = 0;
    unsafe { libc::waitpid(pid, &mut status, 0) };
    let left: Vec<String> = wait_for(|| {
        let left: Vec<String> = traces().into_iter().filter(|trace| !before.contains(trace)).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .err()
    .unwrap_or_default();
    let good = status == 0 && left.is_empty();
    println!("test {name} ... {} ({} ms)", if good { "ok" } else { "FAILED" }, began.elapsed().as_millis());
    left.iter().for_each(|trace| println!("  left behind: {trace}"));
    good
}

/// A folder on disk that every person's run sees: the tests' own build folder, unless the checkout lies below /tmp, which
/// is private to every run, or in a folder that others may not pass.
fn place() -> &'static Path {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let closed =
        |dir: &Path| std::fs::metadata(dir).is_ok_and(|data| std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 1 == 0);
    let private = ["/tmp", "/var/tmp"].iter().any(|hidden| built.starts_with(hidden)) || built.ancestors().any(closed);
    if private { Path::new("/srv") } else { built }
}

/// What a run could leave on the machine: control groups, mounts, processes.
fn traces() -> Vec<String> {
    let mut found = Vec::new();
    for root in ["cpu", "cpuacct", "cpuset", "memory", "devices", "pids", "freezer", "unified", ""] {
        let parent = Path::new("/sys/fs/cgroup").join(root).join("ashlar");
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
            // Others may use this machine's real runs at the same time; ours have numbers from nine milliards on.
            if !entry.file_name().to_string_lossy().starts_with('9') || entry.file_name().len() < 12 {
                continue;
            }
            found.push(format!("control group {}", entry.path().display()));
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().filter(|line| line.contains("/ashlar-test-")).map(|line| format!("mount {line}")));
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let marked = std::fs::read(entry.path().join("environ")).is_ok_and(|text| text.windows(12).any(|part| part == b"ASHLAR_TEST="));
        let program = std::fs::read_link(entry.path().join("exe")).ok() == std::env::current_exe().ok();
        let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
        if (program || marked) && !own {
            found.push(format!("process {} {}", entry.file_name().to_string_lossy(), name.trim()));
        }
    }
    found
}

/// Tries until it works or ten seconds are over.
pub fn wait_for<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match attempt() {
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
            done => return done,
        }
    }
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

pub const NOBODY: u32 = 65_534;

/// A workload of shell scripts, one for each rank, as nobody.
pub fn scripts(directory: &Path, scripts: &[&str]) -> Workload {
    let run =
        RunId { job: JobId::new(9_000_000_000 + u64::from(std::process::id()) * 100 + NUMBER.fetch_add(1, Ordering::Relaxed)), attempt: 1 };
    let dir = directory.join(run.to_string());
    std::fs::create_dir(&dir).unwrap();
    let process = |(rank, script): (usize, &&str)| RankProcess {
        rank: rank as u32,
        argv: ["/bin/sh", "-c", script].map(String::from).to_vec(),
        env: [("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"), ("ASHLAR_TEST", "1")].map(|(n, v)| (n.into(), v.into())).to_vec(),
        workdir: "/".into(),
    };
    Workload {
        run,
        dir,
        identity: Identity { uid: NOBODY, gid: NOBODY, groups: vec![], user: "nobody".into(), home: "/".into() },
        grant: Grant {
            machine: "m".into(),
            ranks: vec![RankGrant { cpus: [0].into_iter().collect(), devices: vec![] }; scripts.len()],
            cpu_share: CpuShare::ONE,
            memory: Bytes::mib(256),
            shm: Bytes::mib(16),
            mem_nodes: [0].into_iter().collect(),
            ports: None,
            share: None,
        },
        devices: vec![],
        processes: scripts.iter().enumerate().map(process).collect(),
        mounts: vec![],
        network: Network::Host,
        latency: spec::Latency::Ordinary,
        demand: None,
        hidden: vec![],
        visible: vec![],
        cgroup: CgroupMode::Hybrid,
        spare: None,
    }
}

/// The program of these tests as a rank's command.
pub fn probe_command(what: &[&str]) -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    [program, "--probe".into()].into_iter().chain(what.iter().map(|part| part.to_string())).collect()
}

/// What a run said and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub events: Vec<RankEvent>,
    pub output: Vec<Vec<u8>>,
    pub isolation: spec::IsolationReport,
    pub usage: spec::Usage,
    pub oom_kills: u64,
    pub limit: Option<Bytes>,
}

impl Outcome {
    pub fn text(&self, rank: usize) -> String {
        String::from_utf8_lossy(&self.output[rank]).into_owned()
    }

    #[track_caller]
    pub fn succeeded(self) -> Outcome {
        let good = self.events.iter().filter(|event| matches!(event, RankEvent::Exited { code: 0, .. })).count();
        assert_eq!(good, self.output.len(), "{:?}\n{}", self.events, self.text(0));
        self
    }

    pub fn mark(&self, what: &str) -> Option<&spec::IsolationMark> {
        self.isolation.marks.iter().find(|mark| mark.what == what)
    }
}

/// Starts a workload, gives `act` every event, collects the output and finishes.
#[track_caller]
pub fn run_with(workload: &Workload, mut act: impl FnMut(&Started, &RankEvent)) -> Result<Outcome, SandboxError> {
    let mut started = sandbox::start(workload, &|| false)?;
    let mut events = Vec::new();
    let mut output: Vec<Vec<u8>> = started.outputs.iter().map(|_| Vec::new()).collect();
    let end = Instant::now() + Duration::from_secs(60);
    let mut done = false;
    let mut open = started.outputs.len();
    while !(done && open == 0) {
        assert!(Instant::now() < end, "the run does not end: {events:?}");
        wait_readable(&started, done);
        while let Some(event) = started.next_event() {
            act(&started, &event);
            done |= event == RankEvent::AllDone;
            events.push(event);
        }
        open = started.outputs.iter().zip(&mut output).map(|(pipe, text)| read_all(pipe, text)).filter(|ended| !ended).count();
    }
    wait_for(|| if started.reap() { Ok(()) } else { Err("init is not reaped") }).unwrap();
    let (usage, oom_kills, limit, isolation) = (started.usage(), started.oom_kills(), started.memory_limit(), started.isolation.clone());
    assert_eq!(started.finish(), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(&workload.dir).unwrap().count(), 0, "the run's directory is not empty");
    Ok(Outcome { events, output, isolation, usage, oom_kills, limit })
}

#[track_caller]
pub fn run(workload: &Workload) -> Outcome {
    run_with(workload, |_, _| {}).unwrap_or_else(|error| panic!("{error}"))
}

fn wait_readable(started: &Started, done: bool) {
    let mut sources: Vec<libc::pollfd> = started.outputs.iter().map(|fd| fd.as_raw_fd()).map(poll_in).collect();
    if !done {
        sources.push(poll_in(started.events.as_raw_fd()));
    }
    unsafe { libc::poll(sources.as_mut_ptr(), sources.len() as _, 100) };
}

fn poll_in(fd: i32) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// True at the end of the pipe.
fn read_all(pipe: &OwnedFd, text: &mut Vec<u8>) -> bool {
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        match unsafe { libc::read(pipe.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } {
            0 => return true,
            length if length > 0 => text.extend(&buffer[..length as usize]),
            _ => return false,
        }
    }
}

pub fn cpus(text: &str) -> CpuSet {
    text.parse().unwrap()
}

/// A directory that everybody may use.
pub fn open_directory(path: PathBuf) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    path
}
