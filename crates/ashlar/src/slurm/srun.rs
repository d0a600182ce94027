//! `srun [OPTIONS] CMD` inside a job: the tasks of one program, within what the job holds.
//!
//! It is the only process that waits for them, and it ends last: a signal that is meant for the tasks reaches them in the
//! job's process group, and must not end this process before them.

use crate::failure::Failure;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use spec::Step;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};

pub fn run(words: &[String]) -> Result<ExitCode, Failure> {
    let variables: BTreeMap<String, String> =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
    if !variables.contains_key("SLURM_JOB_ID") {
        return Err(Failure::input("srun starts the tasks of a job, and this is none")
            .hint("start a job with `ashlar run -- CMD`, or submit a script with sbatch"));
    }
    let step = spec::read_srun(words, &variables).map_err(|problems| Failure::problems(&problems))?;
    step.warnings.iter().for_each(|text| eprintln!("srun: warning: {text}"));
    let failed = |error: nix::Error| Failure::failed(format!("cannot set up signals: {error}"));
    let set: SigSet =
        [Signal::SIGCHLD, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    set.thread_block().map_err(failed)?;
    let signals = SignalFd::new(&set).map_err(failed)?;
    let mut tasks = start(&step, &variables)?;
    let readers: Vec<_> =
        if step.label { tasks.iter_mut().enumerate().flat_map(|(task, child)| label(task, child)).collect() } else { vec![] };
    let worst = wait(&tasks, &signals, step.kill_on_bad_exit);
    for reader in readers {
        let _ = reader.join();
    }
    Ok(ExitCode::from(worst))
}

fn start(step: &Step, variables: &BTreeMap<String, String>) -> Result<Vec<Child>, Failure> {
    let cores = cores(step);
    let number = step_number(variables);
    let mut tasks = vec![];
    for task in 0..step.tasks {
        // A child is born with the cores of the thread that makes it.
        if let Some(set) = cores.as_ref().and_then(|cores| cores.get(task as usize)) {
            let _ = sched_setaffinity(Pid::from_raw(0), set);
        }
        let (program, arguments) = step.command.split_first().ok_or_else(|| Failure::input("there is no command"))?;
        let mut command = Command::new(program);
        command.args(arguments).envs(of_task(step, task, number, variables));
        if let Some(folder) = &step.folder {
            command.current_dir(folder);
        }
        if task > 0 {
            command.stdin(Stdio::null());
        }
        if step.label {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        match command.spawn() {
            Ok(child) => tasks.push(child),
            Err(error) => {
                end(tasks.iter().map(|child| child.id() as i32), Signal::SIGKILL);
                tasks.iter_mut().for_each(|child| drop(child.wait()));
                return Err(Failure::failed(format!("cannot start '{program}': {error}")));
            }
        }
    }
    Ok(tasks)
}

/// The cores of each task: whole ones, one after the other. `None` where there are too few to give each its own.
fn cores(step: &Step) -> Option<Vec<CpuSet>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
    let each = step.cpus_per_task.map_or(cpus.len() / step.tasks.max(1) as usize, |cpus| cpus as usize);
    if each == 0 || each * step.tasks as usize > cpus.len() {
        return None;
    }
    let set = |cpus: &[usize]| {
        let mut set = CpuSet::new();
        for cpu in cpus {
            let _ = set.set(*cpu);
        }
        set
    };
    Some(cpus.chunks(each).map(set).collect())
}

/// Steps are counted by files beside the script.
fn step_number(variables: &BTreeMap<String, String>) -> u32 {
    let folder = format!("{}/slurm", variables.get("TMPDIR").map_or("/tmp", String::as_str));
    let fresh = |number: &u32| std::fs::File::create_new(format!("{folder}/step.{number}")).is_ok();
    if std::path::Path::new(&folder).is_dir() { (0..100_000).find(fresh).unwrap_or(0) } else { 0 }
}

fn of_task(step: &Step, task: u32, number: u32, variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let (tasks, host) = (step.tasks.to_string(), variables.get("SLURMD_NODENAME").map_or("localhost", String::as_str));
    let all: Vec<String> = (0..step.tasks).map(|task| task.to_string()).collect();
    let mut env: BTreeMap<String, String> = [
        ("SLURM_PROCID", task.to_string()),
        ("SLURM_LOCALID", task.to_string()),
        ("SLURM_NODEID", "0".into()),
        ("SLURM_GTIDS", all.join(",")),
        ("SLURM_NTASKS", tasks.clone()),
        ("SLURM_NPROCS", tasks.clone()),
        ("SLURM_STEP_ID", number.to_string()),
        ("SLURM_STEPID", number.to_string()),
        ("SLURM_STEP_NODELIST", host.to_owned()),
        ("SLURM_STEP_NUM_NODES", "1".into()),
        ("SLURM_STEP_NUM_TASKS", tasks.clone()),
        ("SLURM_STEP_TASKS_PER_NODE", tasks),
        ("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1".into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if let Some(cpus) = step.cpus_per_task {
        env.insert("SLURM_CPUS_PER_TASK".into(), cpus.to_string());
    }
    if let Some(each) = step.gpus_per_task {
        for (_, name) in frameworks::mask_variables() {
            let Some(list) = variables.get(name).filter(|list| !list.is_empty()) else { continue };
            let own: Vec<&str> = list.split(',').skip((task * each) as usize).take(each as usize).collect();
            env.insert(name.to_owned(), own.join(","));
        }
    }
    env
}

/// Passes the output on, each line with the number of its task in front.
fn label(task: usize, child: &mut Child) -> Vec<std::thread::JoinHandle<()>> {
    fn pass(task: usize, from: impl Read + Send + 'static, mut into: impl Write + Send + 'static) -> std::thread::JoinHandle<()> {
        std::thread::spawn(move || {
            let mut lines = BufReader::new(from);
            let mut line = vec![];
            while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                let whole = [format!("{task}: ").as_bytes(), &line].concat();
                if into.write_all(&whole).and_then(|()| into.flush()).is_err() {
                    return;
                }
                line.clear();
            }
        })
    }
    let out = child.stdout.take().map(|out| pass(task, out, std::io::stdout()));
    let err = child.stderr.take().map(|err| pass(task, err, std::io::stderr()));
    out.into_iter().chain(err).collect()
}

fn end(pids: impl Iterator<Item = i32>, signal: Signal) {
    for pid in pids {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Until all have ended; the highest exit code, as with Slurm.
fn wait(tasks: &[Child], signals: &SignalFd, kill_others: bool) -> u8 {
    let mut left: BTreeMap<i32, usize> = tasks.iter().enumerate().map(|(task, child)| (child.id() as i32, task)).collect();
    let mut worst = 0;
    loop {
        loop {
            let (pid, code, how) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code, format!("exit code {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32, signal.to_string()),
                Ok(_) | Err(_) => break,
            };
            let Some(task) = left.remove(&pid.as_raw()) else { continue };
            if code != 0 {
                eprintln!("srun: error: task {task}: {how}");
                if kill_others && worst == 0 {
                    end(left.keys().copied(), Signal::SIGTERM);
                }
            }
            worst = worst.max(u8::try_from(code).unwrap_or(255));
        }
        if left.is_empty() {
            return worst;
        }
        if signals.read_signal().is_err() {
            return worst.max(1);
        }
    }
}
