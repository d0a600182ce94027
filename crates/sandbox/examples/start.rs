//! How long a run takes from the order to its first instruction, next to `runc run` of the same bundle.
//!
//! `cargo run --release -p sandbox --example start -- 50` prints medians over 50 interleaved rounds. Needs root;
//! without `runc` on the PATH only our own figures are printed.
#![allow(unsafe_code)]

use machine::{Bytes, CgroupMode, CpuShare, Grant, RankGrant};
use sandbox::{RankEvent, RankProcess, Workload};
use spec::{Identity, JobId, Network, RunId};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

/// Nanoseconds on the clock that all processes share.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn main() {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--stamp" {
        println!("{}", now());
        return;
    }
    let rounds: usize = argument.parse().unwrap_or(20);
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    // The ranks' program must be seen inside: not below /tmp or /var/tmp.
    let program = std::env::current_exe().unwrap().display().to_string();
    let runc = Command::new("runc").arg("--version").output().is_ok_and(|output| output.status.success());
    if runc {
        bundle(directory.path(), &program);
    }
    let (mut ours, mut theirs): (Vec<[f64; 3]>, Vec<[f64; 3]>) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        ours.push(in_child(|| ashlar(directory.path(), &program, round)));
        if runc {
            theirs.push(in_child(|| run_runc(directory.path(), round)));
        }
    }
    report("ashlar sandbox", &ours);
    report("runc run", &theirs);
}

fn report(name: &str, figures: &[[f64; 3]]) {
    let median = |column: usize| {
        let mut values: Vec<f64> = figures.iter().map(|row| row[column]).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let least = figures.iter().map(|row| row[0]).fold(f64::INFINITY, f64::min);
    println!(
        "{name:16} first instruction {:6.1} ms (least {least:.1}), returned {:6.1} ms, all gone {:6.1} ms",
        median(0),
        median(1),
        median(2)
    );
}

/// Milliseconds to the first instruction, to the return of the start, and to the end of the cleaning.
fn in_child(work: impl FnOnce() -> [f64; 3]) -> [f64; 3] {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let figures = work();
        let bytes: Vec<u8> = figures.iter().flat_map(|figure| figure.to_le_bytes()).collect();
        unsafe {
            libc::write(writer.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
            libc::_exit(0)
        }
    }
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    let figure = |at: usize| f64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().unwrap());
    [figure(0), figure(1), figure(2)]
}

fn millis(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

fn ashlar(directory: &Path, program: &str, round: usize) -> [f64; 3] {
    let run = RunId { job: JobId::new(8_000_000_000 + u64::from(std::process::id()) * 1000 + round as u64), attempt: 1 };
    let dir = directory.join(run.to_string());
    std::fs::create_dir(&dir).unwrap();
    let workload = Workload {
        run,
        dir,
        identity: Identity { uid: 65_534, gid: 65_534, groups: vec![], user: "nobody".into(), home: "/".into() },
        grant: Grant {
            machine: "m".into(),
            ranks: vec![RankGrant { cpus: [0].into_iter().collect(), devices: vec![] }],
            cpu_share: CpuShare::ONE,
            memory: Bytes::mib(256),
            shm: Bytes::mib(64),
            mem_nodes: [0].into_iter().collect(),
            ports: None,
            share: None,
        },
        devices: vec![],
        processes: vec![RankProcess {
            rank: 0,
            argv: vec![program.into(), "--stamp".into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            workdir: "/".into(),
        }],
        mounts: vec![],
        latency: spec::Latency::Ordinary,
        network: Network::Host,
        demand: None,
        hidden: vec![],
        visible: vec![],
        cgroup: CgroupMode::Hybrid,
        spare: None,
    };
    let began = now();
    let mut started = sandbox::start(&workload, &|| false).unwrap_or_else(|error| panic!("{error}"));
    let returned = now();
    let mut output = [0u8; 64];
    let mut length = 0;
    loop {
        let mut sources =
            [&started.events, &started.outputs[0]].map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        unsafe { libc::poll(sources.as_mut_ptr(), 2, 1000) };
        let read = unsafe { libc::read(started.outputs[0].as_raw_fd(), output[length..].as_mut_ptr().cast(), output.len() - length) };
        length += read.max(0) as usize;
        if std::iter::from_fn(|| started.next_event()).any(|event| event == RankEvent::AllDone) {
            let read = unsafe { libc::read(started.outputs[0].as_raw_fd(), output[length..].as_mut_ptr().cast(), output.len() - length) };
            length += read.max(0) as usize;
            break;
        }
    }
    started.finish();
    let ended = now();
    let stamp: u64 = String::from_utf8_lossy(&output[..length]).trim().parse().unwrap();
    [millis(began, stamp), millis(began, returned), millis(began, ended)]
}

fn run_runc(directory: &Path, round: usize) -> [f64; 3] {
    let began = now();
    let output = Command::new("runc")
        .args(["--root", &directory.join("runc").display().to_string(), "run", "--bundle"])
        .arg(directory.join("bundle"))
        .arg(format!("bench-{}-{round}", std::process::id()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let ended = now();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stamp: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    [millis(began, stamp), millis(began, ended), millis(began, ended)]
}

/// A bundle that shows the same directories with the same limits.
fn bundle(directory: &Path, program: &str) {
    let bundle = directory.join("bundle");
    let root = bundle.join("rootfs");
    std::fs::create_dir_all(&root).unwrap();
    let mut mounts = vec![
        serde_json::json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        serde_json::json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"] }),
        serde_json::json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
        serde_json::json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["mode=1777", "size=65536k"] }),
        serde_json::json!({ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue" }),
        serde_json::json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"] }),
        serde_json::json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] }),
    ];
    for entry in std::fs::read_dir("/").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap(), root.join(&name)).unwrap();
        } else if entry.path().is_dir() && !["proc", "sys", "dev", "run", "tmp", "boot", "lost+found"].contains(&name.as_str()) {
            let options = if ["usr", "etc", "opt", "var"].contains(&name.as_str()) { ["rbind", "ro"] } else { ["rbind", "rw"] };
            mounts.push(serde_json::json!({ "destination": entry.path(), "type": "bind", "source": entry.path(), "options": options }));
        }
    }
    let namespaces = ["pid", "ipc", "uts", "mount", "cgroup"].map(|kind| serde_json::json!({ "type": kind }));
    let config = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 65534, "gid": 65534 }, "args": [program, "--stamp"], "env": ["PATH=/usr/bin:/bin"], "cwd": "/",
            "noNewPrivileges": true, "capabilities": { "bounding": [], "effective": [], "permitted": [] },
        },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": "/ashlar-bench",
            "resources": {
                "devices": [{ "allow": false, "access": "rwm" }],
                "memory": { "limit": 268435456u64 }, "pids": { "limit": 6144 }, "cpu": { "shares": 1024, "cpus": "0", "mems": "0" },
            },
            "namespaces": namespaces,
        },
    });
    std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
}
