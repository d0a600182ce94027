//! `ashlar run -- CMD`

use crate::arguments::{JobFlags, LevelFlag, NetworkFlag, Run};
use crate::failure::Failure;
use crate::follow::{self, Wanted};
use crate::state::{Place, job_exit, patiently};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use spec::{Environment, IsolationLevel, JobId, JobSpec, Launch, Network, Packages};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub fn run(place: &Place, run: Run) -> Result<ExitCode, Failure> {
    let job = describe(&run.job, run.command)?;
    let client = place.connect()?;
    let (ranks, is_array) = (job.ranks, job.array.is_some());
    // From here on Ctrl-C is a request to us; before, it just ends the command with nothing submitted.
    let interrupts = (!run.detach).then(hold_interrupts).transpose()?;
    let id = client.submit(job, None)?;
    if run.detach {
        writeln!(std::io::stdout(), "{id}")?;
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("job {id}");
    if let Some(interrupts) = interrupts {
        let place = place.clone();
        std::thread::spawn(move || obey_interrupts(&place, id, &interrupts));
    }
    // The output of an array belongs to its tasks; here only the end of all of them counts.
    if !is_array {
        follow::print_ranks(place, Wanted { job: id, attempt: None, follow: true, unread: true }, ranks)?;
    }
    loop {
        let reply = patiently(|| client.wait(id, api::WAIT_MAX_MS))?;
        if reply.ended {
            if reply.job.exit_code != Some(0) {
                eprintln!("job {id} {}: {}", reply.job.state, reply.job.note.as_deref().unwrap_or("no reason given"));
                eprintln!("{} `ashlar why {id}` and `ashlar show {id}` tell more", crate::listing::paint_hint("hint:"));
            }
            return Ok(job_exit(reply.job.exit_code));
        }
    }
}

/// Blocks Ctrl-C in this thread and all started after it, and gives the place where it can be read.
pub fn hold_interrupts() -> Result<SignalFd, Failure> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    let held = set.thread_block().and_then(|()| SignalFd::new(&set));
    held.map_err(|error| Failure::internal(format!("cannot watch for Ctrl-C: {error}")))
}

/// The first asks the job to end, every further one kills it.
fn obey_interrupts(place: &Place, id: JobId, interrupts: &SignalFd) {
    let mut kill = false;
    while let Ok(Some(_)) = interrupts.read_signal() {
        if kill {
            eprintln!("killing job {id}");
        } else {
            eprintln!("asking job {id} to end; Ctrl-C again kills it");
        }
        match place.connect().and_then(|client| Ok(client.cancel(id, kill)?)) {
            Ok(()) => {}
            Err(failure) => {
                failure.report();
                // Nobody is there to ask: then Ctrl-C ends this command, as it would any other.
                if kill {
                    std::process::exit(130);
                }
            }
        }
        kill = true;
    }
}

/// Variables that say where programs and libraries are: what people mean by "run this here". Anything else,
/// secrets above all, is passed on only when named with `--env`.
const PASSED_ON: [&str; 9] =
    ["PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "LD_LIBRARY_PATH", "PYTHONPATH", "LANG", "LC_ALL", "TERM"];

fn describe(flags: &JobFlags, command: Vec<String>) -> Result<JobSpec, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::input(format!("cannot tell the current folder: {error}")))?;
    let workdir = flags.workdir.as_ref().map_or_else(|| here.clone(), |dir| here.join(dir));
    let workdir = workdir.canonicalize().map_err(|error| Failure::input(format!("--workdir {}: {error}", workdir.display())))?;
    let program = command.first().cloned().unwrap_or_default();
    let program = Path::new(&program).file_name().map_or_else(|| "job".into(), |name| name.to_string_lossy().into_owned());
    let mut job = JobSpec::command_job(flags.name.as_deref().unwrap_or(&program), command, workdir.display().to_string());
    resources(&mut job, flags)?;
    order(&mut job, flags)?;
    surroundings(&mut job, flags, &workdir)?;
    job.validate().map_err(|complaints| Failure::input(complaints.join("; ")))?;
    Ok(job)
}

fn resources(job: &mut JobSpec, flags: &JobFlags) -> Result<(), Failure> {
    if let Some(ranks) = flags.ranks {
        job.ranks = ranks;
    }
    if let Some(text) = &flags.devices {
        job.devices = Some(spec::parse_devices(text).map_err(|e| Failure::from_field("--devices", e))?);
    }
    if let Some(text) = &flags.cpus {
        job.cpus = spec::parse_cpus(text).map_err(|e| Failure::from_field("--cpus", e))?;
    }
    if let Some(text) = &flags.memory {
        job.memory = Some(spec::parse_bytes(text).map_err(|e| Failure::from_field("--memory", e))?);
    }
    if let Some(text) = &flags.shm {
        job.shm = Some(spec::parse_bytes(text).map_err(|e| Failure::from_field("--shm", e))?);
    }
    Ok(())
}

fn order(job: &mut JobSpec, flags: &JobFlags) -> Result<(), Failure> {
    if let Some(text) = &flags.expect {
        job.expect = Some(spec::parse_span(text).map_err(|e| Failure::from_field("--expect", e))?);
    }
    if let Some(text) = &flags.limit {
        job.limit = Some(spec::parse_span(text).map_err(|e| Failure::from_field("--limit", e))?);
    }
    job.priority = flags.priority.unwrap_or(job.priority);
    job.queue = flags.queue.clone();
    if let Some(attempts) = flags.attempts {
        job.retry.attempts = attempts;
        job.retry.on = vec![spec::RetryOn::Error, spec::RetryOn::Lost, spec::RetryOn::Start];
    }
    for text in &flags.after {
        job.after.push(spec::parse_dependency(text).map_err(|e| Failure::from_field("--after", e))?);
    }
    if let Some(text) = &flags.array {
        job.array = Some(spec::parse_array(text).map_err(|e| Failure::from_field("--array", e))?);
    }
    Ok(())
}

fn surroundings(job: &mut JobSpec, flags: &JobFlags, workdir: &Path) -> Result<(), Failure> {
    if let Some(text) = &flags.launch {
        let known = || Launch::ALL.iter().map(|launch| launch.name()).collect::<Vec<_>>().join(", ");
        job.launch = Launch::from_name(text)
            .ok_or_else(|| Failure::input(format!("--launch: there is no recipe '{text}'")).hint(format!("the recipes are {}", known())))?;
    }
    for text in &flags.mount {
        job.mounts.push(spec::parse_mount(text, &workdir.display().to_string()).map_err(|e| Failure::from_field("--mount", e))?);
    }
    job.isolation.network = match flags.network {
        Some(NetworkFlag::None) => Network::None,
        Some(NetworkFlag::Host) | None => Network::Host,
    };
    job.isolation.level = flags.isolation.map(|level| match level {
        LevelFlag::Process => IsolationLevel::Process,
        LevelFlag::Namespaces => IsolationLevel::Namespaces,
        LevelFlag::Container => IsolationLevel::Container,
    });
    if flags.package.is_empty() && flags.python.is_none() {
        for name in PASSED_ON {
            if let Ok(value) = std::env::var(name) {
                job.env.insert(name.into(), value);
            }
        }
    } else {
        job.environment = Some(Environment { python: flags.python.clone(), packages: Packages::Packages(flags.package.clone()) });
    }
    for pair in &flags.env {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name.to_string(), value.to_string()),
            None => {
                let value = std::env::var(pair).map_err(|_| {
                    Failure::input(format!("--env {pair}: the variable is not set here")).hint(format!("give a value: --env {pair}=..."))
                })?;
                (pair.clone(), value)
            }
        };
        job.env.insert(name, value);
    }
    Ok(())
}
