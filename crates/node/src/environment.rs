//! Building what a job's `environment:` asks for, with the steps that `frameworks::environment` plans.
//!
//! Everything of one person lies in a folder of their own and is built with their identity: a package's build script
//! is a program like any other, and a cache shared between people could be poisoned by one of them.
//!
//! ```text
//! <state>/environments/<uid>/locks/<inputs key>.txt      what a request resolved to
//!                            built/<lock key>/           the environment; `.complete` is written last
//!                            cache/                      uv's, on the same file system, so that files are linked
//!                            work/                       files of a build in progress
//! ```

mod python;
mod step;

use crate::files::{StateFiles, make_dir};
use crate::lock::{self, Lock};
use frameworks::environment::{self as plans, Bootstrap, Facts, Interpreter};
use spec::{Environment, Identity, Packages, Span};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("the environment could not be built: {message}")]
    Build { message: String, hint: Option<String> },
    #[error(transparent)]
    Python(#[from] plans::PythonError),
    #[error("the environment could not be built: {0}")]
    Requirement(#[from] plans::RequirementError),
    #[error("the environment could not be built: {path}: {source}")]
    Files { path: PathBuf, source: io::Error },
    /// The run was told to end meanwhile.
    #[error("stopped while building the environment")]
    Stopped,
}

impl EnvironmentError {
    pub fn hint(&self) -> Option<String> {
        match self {
            EnvironmentError::Build { hint, .. } => hint.clone(),
            EnvironmentError::Python(error) => Some(error.hint()),
            EnvironmentError::Requirement(error) => Some(error.hint().into()),
            EnvironmentError::Files { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some("make room on the disk".into()),
            EnvironmentError::Files { .. } | EnvironmentError::Stopped => None,
        }
    }
}

/// The environments of one person.
pub struct Environments<'a> {
    dir: PathBuf,
    tools: PathBuf,
    owner: &'a Identity,
}

/// One request on its way.
struct Build<'a> {
    environments: &'a Environments<'a>,
    log: &'a mut File,
    stopped: &'a dyn Fn() -> bool,
}

impl<'a> Environments<'a> {
    pub fn new(state: &StateFiles, owner: &'a Identity) -> Environments<'a> {
        Environments { dir: state.environments().join(owner.uid.to_string()), tools: state.tools(), owner }
    }

    /// Finds or builds the environment; gives its folder. What the tools print goes to `log`, without passwords.
    /// `stopped` is asked now and then, and ends the work.
    pub fn provide(&self, wanted: &Environment, log: &mut File, stopped: &dyn Fn() -> bool) -> Result<String, EnvironmentError> {
        for dir in ["locks", "built", "cache", "work"] {
            self.make_own(&self.dir.join(dir))?;
        }
        let mut build = Build { environments: self, log, stopped };
        let facts = build.facts(wanted)?;
        let lock_text = build.lock(wanted, &facts)?;
        build.environment(&lock_text, &facts)
    }

    fn make_own(&self, dir: &Path) -> Result<(), EnvironmentError> {
        let failed = |source| EnvironmentError::Files { path: dir.to_path_buf(), source };
        for part in [self.dir.as_path(), dir] {
            if !part.is_dir() {
                make_dir(part, 0o755).map_err(failed)?;
                if rustix::process::geteuid().is_root() {
                    chown(part, Some(self.owner.uid), Some(self.owner.gid)).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

impl Build<'_> {
    fn facts(&mut self, wanted: &Environment) -> Result<Facts, EnvironmentError> {
        let environments = self.environments;
        let (python, platform) = python::choose(wanted.python.as_deref(), environments.owner)?;
        let variables: BTreeMap<String, String> = std::env::vars().collect();
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

    /// uv of the machine, or one of our own, fetched once.
    fn uv(&mut self, facts: &Facts, variables: &BTreeMap<String, String>) -> Result<String, EnvironmentError> {
        if let Some(found) = step::find_program("uv", self.environments.owner) {
            return Ok(found);
        }
        let tools = &self.environments.tools;
        let program = tools.join("uv/bin/uv");
        if program.is_file() {
            return Ok(program.display().to_string());
        }
        let _lock = self.wait_for(&tools.join("uv.lock"))?;
        if !program.is_file() {
            let partial = tools.join("uv.partial");
            let _ = fs::remove_dir_all(&partial);
            // Fetched as the node itself: the tool is for everybody, and unpacking a wheel runs none of its code.
            let bootstrap = plans::bootstrap_uv(&Bootstrap {
                python: &facts.python,
                pip: python::has_pip(&facts.python),
                directory: &partial.display().to_string(),
                home: variables.get("HOME").map_or("/", String::as_str),
                index: &facts.index,
                variables,
            });
            step::run(&bootstrap, None, tools, self.log, self.stopped)?;
            let failed = |source| EnvironmentError::Files { path: partial.clone(), source };
            let _ = fs::remove_dir_all(tools.join("uv"));
            fs::rename(&partial, tools.join("uv")).map_err(failed)?;
        }
        Ok(program.display().to_string())
    }

    /// The text of the lock: given, kept from an earlier request, or resolved now.
    fn lock(&mut self, wanted: &Environment, facts: &Facts) -> Result<String, EnvironmentError> {
        if let Packages::Lock(text) = &wanted.packages {
            return Ok(text.clone());
        }
        let environments = self.environments;
        let key = plans::inputs_key(wanted, facts)?;
        let kept = environments.dir.join("locks").join(format!("{key}.txt"));
        if let Ok(text) = fs::read_to_string(&kept) {
            return Ok(text);
        }
        let _lock = self.wait_for(&environments.dir.join("work").join(format!("resolve-{key}.lock")))?;
        if let Ok(text) = fs::read_to_string(&kept) {
            return Ok(text);
        }
        let work = self.work_dir(&key)?;
        let (input, output) = (work.join("requirements.in"), work.join("lock.txt"));
        fs::write(&input, plans::requirements_text(&wanted.packages)?).map_err(of_file(&input))?;
        let resolve = plans::resolve_step(facts, &input.display().to_string(), &output.display().to_string());
        step::run(&resolve, Some(environments.owner), &work, self.log, self.stopped)?;
        let text = fs::read_to_string(&output).map_err(of_file(&output))?;
        fs::rename(&output, &kept).map_err(of_file(&kept))?;
        let _ = fs::remove_dir_all(&work);
        Ok(text)
    }

    /// The built environment of a lock. A folder without its mark is what a build left that died: it goes.
    fn environment(&mut self, lock_text: &str, facts: &Facts) -> Result<String, EnvironmentError> {
        let environments = self.environments;
        let key = plans::lock_key(lock_text, &facts.python, &facts.platform);
        let dir = environments.dir.join("built").join(&key);
        let complete = dir.join(".complete");
        if complete.is_file() {
            return Ok(dir.display().to_string());
        }
        let _lock = self.wait_for(&environments.dir.join("work").join(format!("build-{key}.lock")))?;
        if complete.is_file() {
            return Ok(dir.display().to_string());
        }
        let _ = fs::remove_dir_all(&dir);
        let work = self.work_dir(&key)?;
        let lock_file = work.join("lock.txt");
        fs::write(&lock_file, lock_text).map_err(of_file(&lock_file))?;
        let place = dir.display().to_string();
        let jobs = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let steps = [
            plans::venv_step(facts, &place),
            plans::sync_step(facts, &place, &lock_file.display().to_string()),
            plans::compile_step(facts, &place, jobs),
        ];
        for planned in &steps {
            if let Err(error) = step::run(planned, Some(environments.owner), &work, self.log, self.stopped) {
                let _ = fs::remove_dir_all(&dir);
                return Err(error);
            }
        }
        fs::write(&complete, "").map_err(of_file(&complete))?;
        let _ = fs::remove_dir_all(&work);
        Ok(place)
    }

    /// An empty folder that the owner may write to.
    fn work_dir(&self, key: &str) -> Result<PathBuf, EnvironmentError> {
        let dir = self.environments.dir.join("work").join(format!("{key}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        self.environments.make_own(&dir)?;
        Ok(dir)
    }

    /// Two runs that need the same thing build it once; the second waits here. Released when dropped.
    fn wait_for(&self, path: &Path) -> Result<Lock, EnvironmentError> {
        loop {
            match lock::take(path).map_err(|source| EnvironmentError::Files { path: path.to_path_buf(), source })? {
                Some(lock) => return Ok(lock),
                None if (self.stopped)() => return Err(EnvironmentError::Stopped),
                // The kernel tells nobody when a lock becomes free; builds take seconds, so this is often enough.
                None => std::thread::sleep(Span::millis(200).as_duration()),
            }
        }
    }
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

fn has_certificates() -> bool {
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"]
        .iter()
        .any(|path| Path::new(path).is_file())
}

impl EnvironmentError {
    fn of_failure(failure: plans::Failure) -> EnvironmentError {
        EnvironmentError::Build { message: failure.message, hint: Some(failure.hint.into()) }
    }

    fn of_python(found: &[Interpreter], wanted: Option<&str>) -> Result<usize, EnvironmentError> {
        let chosen = plans::choose_python(wanted, found)?;
        Ok(found.iter().position(|python| python == chosen).unwrap_or(0))
    }
}
