//! `ashlar env bundle` and `ashlar env import`: an environment in one file, for a machine without a network.
//!
//! The file is a tar archive: `manifest.json` first, then `wheels/` with the packages' files and `uv`, the program that puts
//! them together. Nothing in it is trusted: every package is checked against the hashes of the lock, and `uv` is taken only by
//! the person who brings the bundle, for that person.

use super::create::{self, Wish};
use crate::failure::Failure;
use crate::listing;
use crate::state::Place;
use node::{NamedEnvironment, Shelf};
use serde::{Deserialize, Serialize};
use spec::{Environment, Packages};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const WHEELS: &str = "wheels";
const UV: &str = "uv";
/// A manifest holds a lock, so some megabytes at most.
const MANIFEST_BYTES: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// As the kernel calls the processor: files for one do not run on another.
    architecture: String,
    environment: NamedEnvironment,
}

pub(super) fn write(shelf: &Shelf, name: &str, output: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let named = shelf.read(name)?;
    let output = output.unwrap_or_else(|| PathBuf::from(format!("{name}.bundle")));
    if output.exists() {
        return Err(Failure::input(format!("{} is there already", output.display())).hint("name another file with --output"));
    }
    let work = tempfile::tempdir().map_err(|error| Failure::failed(format!("no folder to work in: {error}")))?;
    let uv = uv(shelf)?;
    let wheels = work.path().join(WHEELS);
    eprintln!("fetching the files of {}", listing::counted(named.packages().len() as u64, "package"));
    fetch(&uv, &named, work.path(), &wheels)?;
    // Beside its place first, so that nobody finds half a bundle.
    let fresh = output.with_extension("bundle.new");
    let written = pack(&fresh, &named, &wheels, &uv).and_then(|()| fs::rename(&fresh, &output));
    if let Err(error) = written {
        let _ = fs::remove_file(&fresh);
        return Err(Failure::failed(format!("{}: {error}", output.display())));
    }
    let bytes = fs::metadata(&output).map_or(0, |data| data.len());
    eprintln!("wrote {} ({}); there: ashlar env import {}", output.display(), machine::Bytes(bytes), output.display());
    Ok(ExitCode::SUCCESS)
}

/// uv of the person, else of the machine.
fn uv(shelf: &Shelf) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(shelf.uv()).chain(std::env::split_paths(&path).map(|dir| dir.join(UV)));
    let missing = || Failure::failed("uv is not here, which packs environments").hint("run a job with an environment first: it fetches uv");
    places.into_iter().find(|place| place.is_file()).ok_or_else(missing)
}

/// Forgets the wheels that were downloaded: what is built from them keeps its own links to the files.
pub(super) fn clear_downloads(shelf: &Shelf) -> Result<(), Failure> {
    tool(Command::new(uv(shelf)?).args(["cache", "prune", "--ci", "--quiet", "--cache-dir"]).arg(shelf.cache()))
}

/// pip has a command that only fetches, uv has none; so a Python with pip is made for it.
fn fetch(uv: &Path, named: &NamedEnvironment, work: &Path, wheels: &Path) -> Result<(), Failure> {
    let pip = work.join("pip");
    let lock = work.join("lock.txt");
    fs::write(&lock, &named.lock).map_err(|error| Failure::failed(format!("{}: {error}", lock.display())))?;
    let python = pip.join("bin/python");
    tool(Command::new(uv).args(["venv", "--quiet", "--no-project", "--python", &named.python]).arg(&pip))?;
    tool(Command::new(uv).args(["pip", "install", "--quiet", "--python"]).arg(&python).arg("pip"))?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--dest"]);
    download.arg(wheels).arg("--requirement").arg(&lock);
    // What is configured for uv holds for pip too.
    let variables = std::env::vars().collect();
    for (name, value) in frameworks::environment::uv_settings_from_pip(&variables, "").for_pip() {
        if std::env::var_os(&name).is_none() {
            download.env(name, value);
        }
    }
    tool(&mut download)
}

fn tool(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| Failure::failed(format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = frameworks::environment::redact(&String::from_utf8_lossy(&output.stderr));
    let failure = frameworks::environment::classify(&text);
    eprint!("{text}");
    Err(Failure::failed(failure.message).hint(failure.hint))
}

fn pack(file: &Path, named: &NamedEnvironment, wheels: &Path, uv: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::new(File::create_new(file)?));
    let manifest = Manifest { format: FORMAT, architecture: std::env::consts::ARCH.into(), environment: named.clone() };
    let text = serde_json::to_vec_pretty(&manifest)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, MANIFEST, text.as_slice())?;
    archive.append_path_with_name(uv, UV)?;
    let mut files: Vec<PathBuf> = fs::read_dir(wheels)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for path in files {
        if let Some(name) = path.file_name() {
            archive.append_path_with_name(&path, Path::new(WHEELS).join(name))?;
        }
    }
    archive.into_inner()?.into_inner().map_err(|error| error.into_error())?.sync_all()
}

pub(super) fn read(place: &Place, shelf: &Shelf, file: &Path, name: Option<String>, devices: Option<String>) -> Result<ExitCode, Failure> {
    let wrong = |why: String| Failure::input(format!("{}: {why}", file.display())).hint("a bundle is what `ashlar env bundle` writes");
    let opened = File::open(file).map_err(|error| Failure::input(format!("{}: {error}", file.display())))?;
    let mut archive = tar::Archive::new(io::BufReader::new(opened));
    let mut entries = archive.entries().map_err(|error| wrong(error.to_string()))?;
    let first = entries.next().and_then(Result::ok).filter(|entry| entry.path().is_ok_and(|path| path == Path::new(MANIFEST)));
    let mut text = vec![];
    first
        .ok_or_else(|| wrong("it does not begin with a manifest".into()))?
        .take(MANIFEST_BYTES)
        .read_to_end(&mut text)
        .map_err(|error| wrong(error.to_string()))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| wrong(format!("its manifest cannot be read: {error}")))?;
    if manifest.format != FORMAT {
        return Err(wrong(format!("it has format {}, this program reads {FORMAT}", manifest.format)));
    }
    if manifest.architecture != std::env::consts::ARCH {
        return Err(wrong(format!("it is for {}, this machine is {}", manifest.architecture, std::env::consts::ARCH)));
    }
    let named = manifest.environment;
    let name = name.unwrap_or_else(|| named.name.clone());
    if shelf.read(&name).is_ok() {
        return Err(Failure::input(format!("there is an environment called {name}")).hint("give it another with --name"));
    }
    ensure_folder(place, shelf)?;
    for entry in entries {
        let mut entry = entry.map_err(|error| wrong(error.to_string()))?;
        let path = entry.path().map_err(|error| wrong(error.to_string()))?.into_owned();
        unpack(shelf, &path, &mut entry).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    }
    let check = named.choice.as_ref().map(|choice| choice.check.clone()).unwrap_or_default();
    let environment =
        Environment { python: Some(named.python.clone()), packages: Packages::Lock(named.lock.clone()), ..Environment::default() };
    let built = create::build(place, shelf, &Wish { name, environment, devices: devices.or(Some("none".into())), check })?;
    if named.choice.is_some() {
        shelf.keep(&NamedEnvironment { choice: named.choice, ..built })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Only plain files of two kinds of names are taken, each written beside its place first.
fn unpack(shelf: &Shelf, path: &Path, entry: &mut impl Read) -> io::Result<()> {
    let parts: Vec<Component> = path.components().collect();
    let (target, mode) = match parts.as_slice() {
        [Component::Normal(name)] if *name == UV => (shelf.uv(), 0o755),
        [Component::Normal(folder), Component::Normal(name)] if *folder == WHEELS => (shelf.wheels().join(name), 0o644),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "nothing of this name belongs into a bundle")),
    };
    if target.is_file() && mode == 0o755 {
        return Ok(());
    }
    let folder = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    io::copy(entry, &mut fresh)?;
    fresh.flush()?;
    fresh.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    fresh.persist(&target)?;
    Ok(())
}

/// A person's folder is made by the node, at that person's first job with an environment. Whether that job finds all it needs
/// does not matter.
fn ensure_folder(place: &Place, shelf: &Shelf) -> Result<(), Failure> {
    let folder = shelf.wheels();
    if fs::create_dir_all(&folder).is_ok() {
        return Ok(());
    }
    let mut job = spec::JobSpec::command_job("env-import", vec!["true".into()], "/");
    job.environment = Some(Environment::default());
    let client = place.connect()?;
    let id = client.submit(job, None)?;
    while !crate::state::patiently(|| client.wait(id, api::WAIT_MAX_MS))?.ended {}
    fs::create_dir_all(&folder).map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))
}
