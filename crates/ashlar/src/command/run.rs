//! `ashlar run -- CMD`

use super::submit::{never_starts, warn_of_missing};
use crate::arguments::{JobFlags, LevelFlag, NetworkFlag, Run};
use crate::failure::Failure;
use crate::follow::{self, Wanted};
use crate::listing;
use crate::narrate::{self, Never};
use crate::state::{Place, job_exit, patiently};
use api::{Client, JobRow, ReasonView};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use spec::{Environment, Framework, IsolationLevel, JobId, JobSpec, Launch, Network, Packages};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub fn run(place: &Place, run: Run) -> Result<ExitCode, Failure> {
    let job = describe(&run.job, run.command)?;
    let client = place.connect()?;
    let (ranks, is_array) = (job.ranks, job.array.is_some());
    warn_of_missing(place, &job).iter().for_each(|text| listing::warn(text));
    // From here on Ctrl-C is a request to us; before, it just ends the command with nothing submitted.
    let interrupts = (!run.detach).then(hold_interrupts).transpose()?;
    let id = client.submit(job, None)?;
    if run.detach {
        never_starts(&client, id).iter().for_each(|text| listing::warn(text));
        writeln!(std::io::stdout(), "{id}")?;
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("job {id}");
    if let Some(interrupts) = interrupts {
        let place = place.clone();
        std::thread::spawn(move || obey_interrupts(&place, id, &interrupts));
    }
    let never = Never::default();
    narrate::start(place, id, Some(never.clone()));
    let wanted = Wanted { job: id, attempt: None, follow: true, unread: true };
    match is_array {
        true => follow::print_tasks(place, wanted, None)?,
        false => follow::print_ranks(place, wanted, ranks)?,
    }
    loop {
        let reply = patiently(|| client.wait(id, api::WAIT_MAX_MS))?;
        if reply.ended {
            return match never.get() {
                Some(reasons) => Err(refused(id, reasons)),
                None => Ok(ended(&client, &reply.job)),
            };
        }
    }
}

/// It was cancelled before it could wait for ever.
pub fn refused(id: JobId, reasons: &[ReasonView]) -> Failure {
    let texts: Vec<&str> = reasons.iter().filter(|reason| reason.never).map(|reason| reason.text.as_str()).collect();
    Failure::input(format!("job {id} {}", texts.join("; "))).hint(
        "`ashlar machine` and `ashlar queues` show what there is; to wait for hardware that is to come, use `run --detach` or `submit`",
    )
}

fn ended(client: &Client, job: &JobRow) -> ExitCode {
    if job.exit_code != Some(0) {
        let id = job.id;
        let note = job.note.as_deref().unwrap_or("no reason given");
        match note.starts_with(&job.state) {
            true => eprintln!("job {id} {note}"),
            false => eprintln!("job {id} {}: {note}", job.state),
        }
        let hint = client.why(id).ok().and_then(|why| why.hint);
        let more = format!("`ashlar why {id}` and `ashlar show {id}` tell more");
        eprintln!("{} {}", listing::paint_hint("hint:"), hint.unwrap_or(more));
    }
    job_exit(job.exit_code)
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
    super::env::refuse_unknown(&job)?;
    Ok(job)
}

fn resources(job: &mut JobSpec, flags: &JobFlags) -> Result<(), Failure> {
    if let Some(text) = &flags.ranks {
        spec::parse_ranks(text).map_err(|e| Failure::from_field("--ranks", e))?.apply(job);
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
    job.environment = environment(flags);
    if job.environment.is_none() {
        for name in PASSED_ON {
            if let Ok(value) = std::env::var(name) {
                job.env.insert(name.into(), value);
            }
        }
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

fn environment(flags: &JobFlags) -> Option<Environment> {
    let environment = Environment {
        name: flags.environment.clone(),
        python: flags.python.clone(),
        framework: flags.framework.clone().map(|name| Framework { name, build: None }),
        packages: Packages::Packages(flags.package.clone()),
    };
    (environment != Environment::default()).then_some(environment)
}
