//! `ashlar env create`: a job whose environment is the one that is asked for, and whose command sees that it works.

use crate::arguments::EnvCreate;
use crate::failure::Failure;
use crate::follow::{self, Wanted};
use crate::listing;
use crate::narrate::{self, Never};
use crate::state::{Place, patiently};
use frameworks::builds::{Choice, Table};
use node::{NamedEnvironment, Shelf};
use spec::{Environment, Framework, JobId, JobSpec, Packages};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Last line of the check's output: where the environment lies, and its Python.
const MARK: &str = "ashlar-environment";

/// What an environment's check printed the first time, beside it: the same lock is not tried twice.
const CHECKED: &str = "ashlar-checked.txt";

/// Runs the check, or repeats what it printed, then says where the environment lies.
const CHECK: &str = "\
import os, sys
check, mark, name = sys.argv[1:]
told = os.path.join(sys.prefix, name)
if os.path.exists(told):
    print(open(told).read(), end='')
else:
    exec(check)
print(mark, '%d.%d' % sys.version_info[:2], sys.prefix)
";

pub(super) fn run(place: &Place, shelf: &Shelf, ask: EnvCreate) -> Result<ExitCode, Failure> {
    if !ask.replace && shelf.read(&ask.name).is_ok() {
        return Err(Failure::input(format!("there is an environment called {}", ask.name)).hint("--replace puts the new one in its place"));
    }
    let environment = Environment { name: None, python: ask.python.clone(), framework: framework(&ask), packages: packages(&ask)? };
    if environment == Environment::default() {
        return Err(Failure::input("nothing is asked for").hint("name a --framework, packages, --requirements or --lock"));
    }
    let framework = environment.framework.as_ref().filter(|_| !ask.no_check);
    let check = framework.and_then(|framework| check_of(&framework.name)).unwrap_or_default();
    let wish = Wish { name: ask.name.clone(), environment, devices: ask.devices.clone(), check };
    let named = build(place, shelf, &wish)?;
    if ask.json {
        listing::print_json(&named)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What to build, under which name, and how to see that it works.
pub(super) struct Wish {
    pub name: String,
    pub environment: Environment,
    pub devices: Option<String>,
    /// A program in Python; empty: none.
    pub check: String,
}

fn framework(ask: &EnvCreate) -> Option<Framework> {
    ask.framework.as_ref().map(|name| Framework { name: name.clone(), build: ask.build.clone() })
}

fn packages(ask: &EnvCreate) -> Result<Packages, Failure> {
    let read = |flag: &str, path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|error| Failure::input(format!("{flag} {}: {error}", path.display())))
    };
    Ok(match (&ask.requirements, &ask.lock) {
        (Some(path), _) => Packages::Requirements(read("--requirements", path)?),
        (None, Some(path)) => Packages::Lock(read("--lock", path)?),
        (None, None) => Packages::Packages(ask.packages.clone()),
    })
}

fn check_of(framework: &str) -> Option<String> {
    let wanted = frameworks::builds::Wanted::parse(framework).ok()?;
    Some(Table::built_in().framework(&wanted.framework)?.check.clone())
}

/// Builds it by a job of its own, so within a grant and in isolation, and gives it the name.
pub(super) fn build(place: &Place, shelf: &Shelf, wish: &Wish) -> Result<NamedEnvironment, Failure> {
    let began = Instant::now();
    let job = job(place, wish)?;
    super::refuse_unknown(&job)?;
    let client = place.connect()?;
    let id = client.submit(job, None)?;
    eprintln!("job {id} builds {} and sees that it works", wish.name);
    let never = Never::default();
    narrate::start(place, id, Some(never.clone()));
    let output = output(place, id)?;
    let ended = loop {
        let reply = patiently(|| client.wait(id, api::WAIT_MAX_MS))?;
        if reply.ended {
            break reply.job;
        }
    };
    if let Some(reasons) = never.get() {
        return Err(crate::command::run::refused(id, reasons));
    }
    if ended.exit_code != Some(0) {
        eprint!("{output}");
        let note = ended.note.unwrap_or_else(|| "no reason given".into());
        let hint = client.why(id).ok().and_then(|why| why.hint);
        return Err(Failure::failed(format!("{} was not made: job {id} {note}", wish.name))
            .hint(hint.unwrap_or_else(|| format!("`ashlar why {id}` and `ashlar logs {id}` tell more"))));
    }
    let named = described(shelf, wish, &output)?;
    shelf.keep(&named)?;
    let framework = super::framework(&named).map(|text| format!(", {text}")).unwrap_or_default();
    let packages = listing::counted(named.packages().len() as u64, "package");
    eprintln!("{} is there{framework}, {packages}, after {:.1} s", wish.name, began.elapsed().as_secs_f64());
    if let Some(choice) = &named.choice {
        for doubt in &choice.unverified {
            listing::warn(&format!("unverified: {doubt}"));
        }
    }
    Ok(named)
}

fn job(place: &Place, wish: &Wish) -> Result<JobSpec, Failure> {
    let command = ["python", "-c", CHECK, &wish.check, MARK, CHECKED].map(String::from).to_vec();
    let mut job = JobSpec::command_job(format!("env-{}", wish.name), command, "/");
    let named = Environment { name: Some(wish.name.clone()), ..Environment::default() };
    // The name is checked as one in a job file is.
    job.environment = Some(named);
    job.validate().map_err(|complaints| Failure::input(complaints.join("; ")))?;
    job.environment = Some(wish.environment.clone());
    job.devices = devices(place, wish)?;
    job.memory = Some(machine::Bytes::gib(2));
    job.validate().map_err(|complaints| Failure::input(complaints.join("; ")))?;
    Ok(job)
}

/// What the build is for: what is named, else one accelerator where there is one that works.
fn devices(place: &Place, wish: &Wish) -> Result<Option<spec::DeviceRequest>, Failure> {
    let on_processor = wish.environment.framework.as_ref().is_none_or(|framework| framework.build.as_deref() == Some("cpu"));
    match wish.devices.as_deref() {
        Some("none") => Ok(None),
        Some(text) => Ok(Some(spec::parse_devices(text).map_err(|error| Failure::from_field("--devices", error))?)),
        None if on_processor => Ok(None),
        None => {
            let ready = place.connect()?.machine()?.machine.devices.iter().any(|device| device.health.is_ready());
            Ok(if ready { spec::parse_devices("1").ok() } else { None })
        }
    }
}

/// All that the check prints.
fn output(place: &Place, job: JobId) -> Result<String, Failure> {
    let mut bytes = vec![];
    let wanted = Wanted { job, attempt: None, follow: true, unread: false };
    follow::print_rank(&place.connect()?, wanted, 0, &mut |data| {
        bytes.extend_from_slice(data);
        Ok(())
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where the job found its environment says what was built; lock and choice lie there.
fn described(shelf: &Shelf, wish: &Wish, output: &str) -> Result<NamedEnvironment, Failure> {
    let unsaid = || Failure::internal("the job did not say where its environment lies");
    let line = output.lines().rev().find_map(|line| line.strip_prefix(MARK)).ok_or_else(unsaid)?;
    let (python, path) = line.trim().split_once(' ').ok_or_else(unsaid)?;
    let key = Path::new(path).file_name().and_then(|name| name.to_str()).ok_or_else(unsaid)?.to_string();
    let place = shelf.place(&key).ok_or_else(|| Failure::internal(format!("{path} is not among your environments")))?;
    let lock = std::fs::read_to_string(place.join(node::LOCK_FILE)).map_err(|error| Failure::failed(format!("{path}: {error}")))?;
    let choice: Option<Choice> = wish.environment.framework.as_ref().and_then(|_| shelf.choice(&key));
    let checked: String = output.lines().filter(|line| !line.starts_with(MARK)).map(|line| format!("{line}\n")).collect();
    if !wish.check.is_empty() && !place.join(CHECKED).exists() {
        // Only a saving: where it cannot be written, the next one checks again.
        let _ = std::fs::write(place.join(CHECKED), &checked);
    }
    Ok(NamedEnvironment {
        name: wish.name.clone(),
        python: python.to_string(),
        lock,
        choice,
        checked: Some(checked).filter(|text| !text.trim().is_empty()),
        built: key,
        created: crate::moment::now().0 / 1000,
    })
}
