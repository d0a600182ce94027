//! Building what a job's `environment:` asks for, with the steps that `frameworks::environment` plans.
//!
//! Everything of one person lies in a folder of their own, and every file in it is touched by a process with their
//! identity (see [`build_as_owner`]): a package's build script is a program like any other, a cache shared between
//! people could be poisoned by one of them, and a link planted there must lead nowhere the person could not go.
//!
//! ```text
//! <state>/environments/<uid>/tools/                      uv, where the machine has none
//!                            locks/<inputs key>.txt      what a request resolved to
//!                            built/<lock key>/           the environment; `.complete` is written last
//!                            cache/                      uv's, on the same file system, so that files are linked
//!                            work/                       files of a build in progress
//! ```

mod framework;
mod python;
mod shelf;
mod step;

pub use framework::{hardware, requirements as framework_requirements, table as build_table, wanted as framework_wanted};
pub(crate) use shelf::hold;
pub use shelf::{Built as BuiltEnvironment, LOCK as LOCK_FILE, Named as NamedEnvironment, Shelf, ShelfError};

use frameworks::builds::Choice;
use frameworks::environment::{self as plans, Bootstrap, Facts};
use machine::Device;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use spec::{Environment, Identity, Packages};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("the environment could not be built: {message}")]
    Build { message: String, hint: Option<String> },
    #[error(transparent)]
    Python(#[from] plans::PythonError),
    #[error("the environment could not be built: {0}")]
    Requirement(#[from] plans::RequirementError),
    #[error("the environment could not be built: {0}")]
    Shelf(#[from] ShelfError),
    #[error("the environment could not be built: {path}: {source}")]
    Files { path: PathBuf, source: io::Error },
    /// What the process that builds said, in its own whole sentence.
    #[error("{message}")]
    Told { message: String, hint: Option<String> },
    /// The run was told to end meanwhile.
    #[error("stopped while building the environment")]
    Stopped,
}

impl EnvironmentError {
    pub fn hint(&self) -> Option<String> {
        match self {
            EnvironmentError::Build { hint, .. } | EnvironmentError::Told { hint, .. } => hint.clone(),
            EnvironmentError::Python(error) => Some(error.hint()),
            EnvironmentError::Requirement(error) => Some(error.hint().into()),
            EnvironmentError::Shelf(error) => error.hint(),
            EnvironmentError::Files { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some("make room on the disk".into()),
            EnvironmentError::Files { .. } | EnvironmentError::Stopped => None,
        }
    }
}

/// What the process that builds says to the supervisor.
#[derive(Serialize, Deserialize)]
enum Built {
    At(String),
    Failed { message: String, hint: Option<String> },
}

/// Finds or builds the environment, in a process with the owner's identity; gives its folder. What the tools print
/// goes to `log`, without passwords. A framework comes in the build that fits `devices`, those that the run holds. `stopped` is asked now and then, and ends the work. The calling process must
/// have one thread.
pub fn build_as_owner(
    environments: &Path,
    owner: &Identity,
    bounds: &sandbox::Bounds,
    wanted: &Environment,
    devices: &[Device],
    log: &mut File,
    stopped: &dyn Fn() -> bool,
) -> Result<String, EnvironmentError> {
    let dir = environments.join(owner.uid.to_string());
    make_for(&dir, owner).map_err(of_file(&dir))?;
    let (mut answer, mut question) = io::pipe().map_err(of_file(&dir))?;
    let process = sandbox::as_person(owner, bounds, || {
        let built = match Environments::new(&dir, owner).provide(wanted, devices, log) {
            Ok(path) => Built::At(path),
            Err(error) => Built::Failed { message: error.to_string(), hint: error.hint() },
        };
        let text = serde_json::to_vec(&built).unwrap_or_default();
        u8::from(question.write_all(&text).is_err())
    })
    .map_err(of_file(&dir))?;
    drop(question);
    loop {
        let mut fds = [PollFd::new(&process.pidfd, PollFlags::IN)];
        if poll(&mut fds, Some(&LOOK)).is_ok_and(|ready| ready > 0) {
            break;
        }
        if stopped() {
            process.kill();
            process.wait();
            return Err(EnvironmentError::Stopped);
        }
    }
    let ended = process.wait();
    let mut text = vec![];
    let _ = answer.read_to_end(&mut text);
    match serde_json::from_slice(&text) {
        Ok(Built::At(path)) => Ok(path),
        _ if ended.out_of_memory => Err(EnvironmentError::Build {
            message: "the build used up its memory and was killed".into(),
            hint: Some(
                "a build has the job's memory, and 1 GiB at least: ask for more `memory`, or for packages that need no compiler".into(),
            ),
        }),
        Ok(Built::Failed { message, hint }) => Err(EnvironmentError::Told { message, hint }),
        Err(_) => Err(EnvironmentError::Build { message: "the process that builds the environment died".into(), hint: None }),
    }
}

/// How often a build looks whether it shall stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The one folder that the node itself makes; the folder above it is the node's own, so nobody can plant a link there.
fn make_for(dir: &Path, owner: &Identity) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) if rustix::process::geteuid().is_root() => lchown(dir, Some(owner.uid), Some(owner.gid)),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The environments of one person, in the hands of a process that is that person.
struct Environments<'a> {
    dir: &'a Path,
    owner: &'a Identity,
}

/// One request on its way.
struct Build<'a> {
    environments: &'a Environments<'a>,
    log: &'a mut File,
}

impl<'a> Environments<'a> {
    fn new(dir: &'a Path, owner: &'a Identity) -> Environments<'a> {
        Environments { dir, owner }
    }

    fn provide(&self, wanted: &Environment, devices: &[Device], log: &mut File) -> Result<String, EnvironmentError> {
        for name in ["tools", "locks", "built", "cache", "work"] {
            let dir = self.dir.join(name);
            fs::create_dir_all(&dir).map_err(of_file(&dir))?;
        }
        let mut build = Build { environments: self, log };
        if let Some(name) = &wanted.name {
            let named = Shelf::at(self.dir).read(name)?;
            let facts = build.facts(Some(&named.python))?;
            return build.environment(&named.lock, &facts, named.choice.as_ref());
        }
        let facts = build.facts(wanted.python.as_deref())?;
        let (wanted, choice) = framework::written_out(wanted, &facts, devices)?;
        if let Some(choice) = &choice {
            let _ = build.log.write_all(framework::told(choice).as_bytes());
        }
        let built = build.lock(&wanted, &facts).and_then(|lock_text| build.environment(&lock_text, &facts, choice.as_ref()));
        built.map_err(|error| framework::with_mirror(error, choice.as_ref()))
    }
}

impl Build<'_> {
    fn facts(&mut self, python: Option<&str>) -> Result<Facts, EnvironmentError> {
        let environments = self.environments;
        let (python, platform) = python::choose(python, environments.owner)?;
        let variables = self.variables();
        let mut facts = Facts {
            uv: String::new(),
            python,
            platform,
            index: plans::uv_settings_from_pip(&variables, &pip_configuration(&variables)),
            cache: environments.dir.join("cache").display().to_string(),
            home: environments.owner.home.clone(),
            system_certificates: has_certificates(),
            offline: false,
        };
        facts.uv = self.uv(&facts, &variables)?;
        Ok(facts)
    }

    /// The node's variables that say where packages come from, and the owner's home. Nothing else of the node's is
    /// for a person's build scripts to see.
    fn variables(&self) -> BTreeMap<String, String> {
        let named = |name: &str| {
            let upper = name.to_ascii_uppercase();
            ["PIP_", "UV_", "SSL_CERT_"].iter().any(|prefix| upper.starts_with(prefix)) || upper.ends_with("_PROXY")
        };
        let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut variables: BTreeMap<String, String> = all.filter(|(name, _)| named(name)).collect();
        variables.insert("HOME".into(), self.environments.owner.home.clone());
        variables
    }

    /// uv of the machine, or one of the person's own, fetched once.
    fn uv(&mut self, facts: &Facts, variables: &BTreeMap<String, String>) -> Result<String, EnvironmentError> {
        if let Some(found) = step::find_program("uv", self.environments.owner) {
            return Ok(found);
        }
        let tools = self.environments.dir.join("tools");
        let program = tools.join("uv/bin/uv");
        if program.is_file() {
            return Ok(program.display().to_string());
        }
        let lock = wait_for(&tools.join("uv.lock"))?;
        if !program.is_file() {
            let partial = tools.join("uv.partial");
            let _ = fs::remove_dir_all(&partial);
            let bootstrap = plans::bootstrap_uv(&Bootstrap {
                python: &facts.python,
                pip: python::has_pip(&facts.python, self.environments.owner),
                directory: &partial.display().to_string(),
                home: variables.get("HOME").map_or("/", String::as_str),
                index: &facts.index,
                variables,
            });
            step::run(&bootstrap, &tools, self.log, &lock)?;
            let _ = fs::remove_dir_all(tools.join("uv"));
            fs::rename(&partial, tools.join("uv")).map_err(of_file(&partial))?;
        }
        Ok(program.display().to_string())
    }

    /// The text of the lock: given, kept from an earlier request, or resolved now.
    fn lock(&mut self, wanted: &Environment, facts: &Facts) -> Result<String, EnvironmentError> {
        if let Packages::Lock(_) = &wanted.packages {
            return Ok(plans::requirements_text(&wanted.packages)?);
        }
        let environments = self.environments;
        let key = plans::inputs_key(wanted, facts)?;
        let kept = environments.dir.join("locks").join(format!("{key}.txt"));
        if let Ok(text) = fs::read_to_string(&kept) {
            return Ok(text);
        }
        let guard = wait_for(&environments.dir.join("work").join(format!("resolve-{key}.lock")))?;
        if let Ok(text) = fs::read_to_string(&kept) {
            return Ok(text);
        }
        let work = self.work_dir(&key)?;
        let (input, output) = (work.join("requirements.in"), work.join("lock.txt"));
        fs::write(&input, plans::requirements_text(&wanted.packages)?).map_err(of_file(&input))?;
        let resolve = plans::resolve_step(facts, &input.display().to_string(), &output.display().to_string());
        step::run(&resolve, &work, self.log, &guard)?;
        let text = plans::lock_text(&plans::requirements_text(&wanted.packages)?, &fs::read_to_string(&output).map_err(of_file(&output))?);
        fs::write(&output, &text).and_then(|()| fs::rename(&output, &kept)).map_err(of_file(&kept))?;
        let _ = fs::remove_dir_all(&work);
        Ok(text)
    }

    /// The built environment of a lock. A folder without its mark is what a build left that died: it goes.
    fn environment(&mut self, lock_text: &str, facts: &Facts, choice: Option<&Choice>) -> Result<String, EnvironmentError> {
        let environments = self.environments;
        let key = plans::lock_key(lock_text, &facts.python, &facts.platform);
        let dir = environments.dir.join("built").join(&key);
        let complete = dir.join(shelf::COMPLETE);
        if complete.is_file() {
            // When it was used last, for whoever clears up.
            let _ = File::options().append(true).open(&complete).and_then(|mark| mark.set_modified(std::time::SystemTime::now()));
            return Ok(dir.display().to_string());
        }
        let guard = wait_for(&environments.dir.join("work").join(format!("build-{key}.lock")))?;
        if complete.is_file() {
            return Ok(dir.display().to_string());
        }
        let _ = fs::remove_dir_all(&dir);
        let work = self.work_dir(&key)?;
        let lock_file = work.join("lock.txt");
        fs::write(&lock_file, lock_text).map_err(of_file(&lock_file))?;
        let place = dir.display().to_string();
        let wheels = Shelf::at(environments.dir).wheels();
        let offline = plans::are_brought(lock_text, &file_names(&wheels));
        let facts = &if offline { plans::without_network(facts, &wheels.display().to_string()) } else { facts.clone() };
        let steps = [plans::venv_step(facts, &place), plans::sync_step(facts, &place, &lock_file.display().to_string())];
        for planned in &steps {
            if let Err(error) = step::run(planned, &work, self.log, &guard) {
                let _ = fs::remove_dir_all(&dir);
                return Err(error);
            }
        }
        fs::write(dir.join(shelf::LOCK), lock_text).map_err(of_file(&dir))?;
        if let Some(choice) = choice {
            let text = serde_json::to_vec_pretty(choice).unwrap_or_default();
            fs::write(dir.join(shelf::CHOICE), text).map_err(of_file(&dir))?;
        }
        fs::write(&complete, "").map_err(of_file(&complete))?;
        let _ = fs::remove_dir_all(&work);
        Ok(place)
    }

    /// An empty folder.
    fn work_dir(&self, key: &str) -> Result<PathBuf, EnvironmentError> {
        let dir = self.environments.dir.join("work").join(format!("{key}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).map_err(of_file(&dir))?;
        Ok(dir)
    }
}

/// Written when all modules are compiled.
const COMPILED: &str = ".compiled";

pub(crate) fn is_compiled(environment: &Path) -> bool {
    environment.join(COMPILED).exists()
}

/// How long compiling may take: large environments have tens of thousands of modules, and jobs come first.
const COMPILE_SECONDS: u64 = 1800;

/// The errand that compiles an environment for its owner.
pub(crate) fn compilation(owner: Identity, environment: &str) -> crate::Notification {
    let command = plans::compile_command(environment, COMPILED);
    crate::Notification { owner, command, variables: vec![("LANG".into(), "C.UTF-8".into())], longest: COMPILE_SECONDS }
}

/// Two runs that need the same thing build it once; the second waits here. The tools that are started hold a copy of
/// the descriptor, so the lock lasts until the last of them is gone, however their parent ended.
fn wait_for(path: &Path) -> Result<File, EnvironmentError> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(of_file(path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| of_file(path)(error.into()))?;
    Ok(file)
}

fn of_file(path: &Path) -> impl FnOnce(io::Error) -> EnvironmentError {
    let path = path.to_path_buf();
    move |source| EnvironmentError::Files { path, source }
}

/// The configuration files that pip reads, the later ones winning.
fn pip_configuration(variables: &BTreeMap<String, String>) -> String {
    let home = variables.get("HOME").map(String::as_str).unwrap_or("/");
    let places = [
        "/etc/pip.conf".to_string(),
        "/etc/xdg/pip/pip.conf".to_string(),
        format!("{home}/.pip/pip.conf"),
        format!("{home}/.config/pip/pip.conf"),
        variables.get("PIP_CONFIG_FILE").cloned().unwrap_or_default(),
    ];
    places.iter().filter_map(|path| fs::read_to_string(path).ok()).collect::<Vec<_>>().join("\n")
}

fn file_names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn has_certificates() -> bool {
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"]
        .iter()
        .any(|path| Path::new(path).is_file())
}

impl EnvironmentError {
    fn of_failure(failure: plans::Failure) -> EnvironmentError {
        EnvironmentError::Build { message: failure.message, hint: Some(failure.hint.into()) }
    }
}
