//! The environments of one person, as that person looks at them: the named ones, and what was built.

use frameworks::builds::Choice;
use frameworks::environment::locked_packages;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Written last when an environment is built; its time is when it was used last, and a run that uses it holds a lock on it.
pub(super) const COMPLETE: &str = ".complete";
/// The lock that an environment was built from.
pub const LOCK: &str = "ashlar-lock.txt";
/// The choice of a framework's build, where there was one.
pub(super) const CHOICE: &str = "ashlar-choice.json";

#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("there is no environment called {name:?}")]
    Unknown { name: String, known: Vec<String> },
    #[error("{path}: {source}")]
    Files { path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {source}")]
    Damaged { path: PathBuf, source: serde_json::Error },
}

impl ShelfError {
    pub fn hint(&self) -> Option<String> {
        match self {
            ShelfError::Unknown { known, .. } if known.is_empty() => Some("make one with: ashlar env create NAME --framework torch".into()),
            ShelfError::Unknown { known, .. } => Some(format!("there are {}", known.join(", "))),
            ShelfError::Damaged { .. } => Some("make it again with: ashlar env create".into()),
            ShelfError::Files { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("the folder belongs to somebody else; the environments of a person are that person's alone".into())
            }
            ShelfError::Files { .. } => None,
        }
    }
}

/// An environment with a name. It holds the whole lock, so that it can be built again where what was built is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub name: String,
    /// Major and minor version: `3.11`.
    pub python: String,
    pub lock: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// What the framework's check printed when the environment was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<String>,
    /// Key of what was built from it.
    pub built: String,
    /// Seconds since 1970.
    pub created: u64,
}

/// A built environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Built {
    pub key: String,
    pub path: PathBuf,
    /// Space on the disk in bytes. Files that other environments share are counted in each.
    pub bytes: u64,
    /// Seconds since 1970.
    pub last_used: u64,
    pub names: Vec<String>,
    /// A run uses it now.
    pub in_use: bool,
}

/// One person's folder below the node's.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    /// The folder of a person below `<state>/environments`.
    pub fn of(environments: &Path, uid: u32) -> Shelf {
        Shelf { dir: environments.join(uid.to_string()) }
    }

    pub(super) fn at(dir: &Path) -> Shelf {
        Shelf { dir: dir.to_path_buf() }
    }

    /// Wheels that were brought along from another machine.
    pub fn wheels(&self) -> PathBuf {
        self.dir.join("wheels")
    }

    /// uv's downloads.
    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// Where uv is put that was brought along.
    pub fn uv(&self) -> PathBuf {
        self.dir.join("tools/uv/bin/uv")
    }

    fn named_file(&self, name: &str) -> PathBuf {
        self.dir.join("named").join(format!("{name}.json"))
    }

    /// All named environments, by name.
    ///
    /// # Errors
    /// A folder that cannot be read; a damaged description is left out.
    pub fn named(&self) -> Result<Vec<Named>, ShelfError> {
        let mut found: Vec<Named> =
            names_in(&self.dir.join("named"))?.into_iter().filter_map(|file| self.read(file.strip_suffix(".json")?).ok()).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// # Errors
    /// None of that name, or one that cannot be read.
    pub fn read(&self, name: &str) -> Result<Named, ShelfError> {
        let path = self.named_file(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let files = names_in(&self.dir.join("named")).unwrap_or_default();
                let known = files.iter().filter_map(|file| Some(file.strip_suffix(".json")?.to_string())).collect();
                return Err(ShelfError::Unknown { name: name.into(), known });
            }
            Err(source) => return Err(ShelfError::Files { path, source }),
        };
        serde_json::from_slice(&text).map_err(|source| ShelfError::Damaged { path, source })
    }

    /// Writes the description, in place of one of the same name.
    ///
    /// # Errors
    /// Those of the file system; then the old one stays.
    pub fn keep(&self, named: &Named) -> Result<(), ShelfError> {
        let path = self.named_file(&named.name);
        let text = serde_json::to_vec_pretty(named).unwrap_or_default();
        fs::create_dir_all(self.dir.join("named")).and_then(|()| crate::files::write_whole(&path, &text)).map_err(of_file(&path))
    }

    /// Forgets the name. What was built stays for [`Shelf::sweep`], since others may share it.
    ///
    /// # Errors
    /// None of that name.
    pub fn forget(&self, name: &str) -> Result<(), ShelfError> {
        self.read(name).or_else(|error| if matches!(error, ShelfError::Damaged { .. }) { Ok(Named::nothing(name)) } else { Err(error) })?;
        let path = self.named_file(name);
        fs::remove_file(&path).map_err(of_file(&path))
    }

    /// The folder of what was built under a key, and whether it is whole.
    pub fn place(&self, key: &str) -> Option<PathBuf> {
        let path = self.dir.join("built").join(key);
        path.join(COMPLETE).is_file().then_some(path)
    }

    /// The choice that an environment was built after.
    pub fn choice(&self, key: &str) -> Option<Choice> {
        serde_json::from_slice(&fs::read(self.dir.join("built").join(key).join(CHOICE)).ok()?).ok()
    }

    /// Everything that was built, the least recently used first.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn built(&self) -> Result<Vec<Built>, ShelfError> {
        let named = self.named()?;
        let mut all: Vec<Built> = names_in(&self.dir.join("built"))?
            .into_iter()
            .map(|key| {
                let path = self.dir.join("built").join(&key);
                let marked =
                    fs::metadata(path.join(COMPLETE)).and_then(|mark| mark.modified()).or_else(|_| fs::metadata(&path)?.modified());
                let last_used =
                    marked.ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).map_or(0, |age| age.as_secs());
                let names = named.iter().filter(|named| named.built == key).map(|named| named.name.clone()).collect();
                Built { bytes: bytes_below(&path), last_used, names, in_use: in_use(&path), key, path }
            })
            .collect();
        all.sort_by_key(|built| (built.last_used, built.key.clone()));
        Ok(all)
    }

    /// What may go: without a name, used by no run, and last used before `now - unused`.
    ///
    /// # Errors
    /// Those of [`Shelf::built`].
    pub fn unused(&self, unused: Duration, now: u64) -> Result<Vec<Built>, ShelfError> {
        let before = now.saturating_sub(unused.as_secs());
        Ok(self.built()?.into_iter().filter(|built| built.names.is_empty() && !built.in_use && built.last_used <= before).collect())
    }

    /// Removes what was built under a key, unless a run has taken it meanwhile: the folder is renamed first, so nobody finds half of it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sweep(&self, built: &Built) -> Result<bool, ShelfError> {
        let guard = match File::open(built.path.join(COMPLETE)) {
            Ok(file) if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() => return Ok(false),
            Ok(file) => Some(file),
            Err(_) => None,
        };
        let gone = self.dir.join("work").join(format!("gone-{}-{}", built.key, std::process::id()));
        fs::create_dir_all(self.dir.join("work")).map_err(of_file(&gone))?;
        fs::rename(&built.path, &gone).map_err(of_file(&built.path))?;
        drop(guard);
        fs::remove_dir_all(&gone).map_err(of_file(&gone))?;
        Ok(true)
    }
}

impl Named {
    fn nothing(name: &str) -> Named {
        Named {
            name: name.into(),
            python: String::new(),
            lock: String::new(),
            choice: None,
            checked: None,
            built: String::new(),
            created: 0,
        }
    }

    /// The packages of the lock with their versions, in its order.
    pub fn packages(&self) -> Vec<(String, String)> {
        locked_packages(&self.lock)
    }
}

/// A run holds the mark of its environment for as long as it goes on; the descriptor is the hold.
pub(crate) fn hold(environment: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    // The folder is the person's, so nothing there is followed or waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(environment.join(COMPLETE), flags, Mode::empty()).ok()?);
    flock(&file, FlockOperation::NonBlockingLockShared).ok()?;
    Some(file)
}

fn in_use(path: &Path) -> bool {
    File::open(path.join(COMPLETE)).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
}

fn names_in(dir: &Path) -> Result<Vec<String>, ShelfError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(source) => return Err(ShelfError::Files { path: dir.to_path_buf(), source }),
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn bytes_below(path: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let mut folders = vec![path.to_path_buf()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                folders.push(entry.path());
            } else if data.nlink() == 1 || seen.insert((data.dev(), data.ino())) {
                bytes += data.blocks() * 512;
            }
        }
    }
    bytes
}

fn of_file(path: &Path) -> impl FnOnce(io::Error) -> ShelfError {
    let path = path.to_path_buf();
    move |source| ShelfError::Files { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(dir.path(), 1000);
        (dir, shelf)
    }

    fn build(shelf: &Shelf, key: &str) -> PathBuf {
        let path = shelf.dir.join("built").join(key);
        fs::create_dir_all(path.join("lib")).unwrap();
        fs::write(path.join("lib/module.py"), vec![b'x'; 10_000]).unwrap();
        fs::write(path.join(COMPLETE), "").unwrap();
        path
    }

    fn named(name: &str, built: &str) -> Named {
        let lock =
            "--extra-index-url https://x.example\nnumpy==2.1.0 \\\n    --hash=sha256:0\ntorch==2.5.1+cu121 ; sys_platform == 'linux'\n";
        Named { lock: lock.into(), python: "3.11".into(), built: built.into(), ..Named::nothing(name) }
    }

    #[test]
    fn a_name_is_kept_found_and_forgotten() {
        let (_dir, shelf) = shelf();
        assert!(shelf.named().unwrap().is_empty());
        let error = shelf.read("torch").unwrap_err();
        assert!(error.hint().unwrap().contains("env create"), "{error}");
        shelf.keep(&named("torch", "k1")).unwrap();
        shelf.keep(&named("jax", "k2")).unwrap();
        assert_eq!(shelf.named().unwrap().iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["jax", "torch"]);
        assert_eq!(shelf.read("torch").unwrap().packages(), [("numpy".into(), "2.1.0".into()), ("torch".into(), "2.5.1+cu121".into())]);
        assert_eq!(shelf.read("trch").unwrap_err().hint().unwrap().matches("torch").count(), 1);
        shelf.forget("torch").unwrap();
        assert!(shelf.forget("torch").is_err());
        fs::write(shelf.named_file("bad"), "{").unwrap();
        assert!(matches!(shelf.read("bad"), Err(ShelfError::Damaged { .. })));
        assert_eq!(shelf.named().unwrap().len(), 1);
        shelf.forget("bad").unwrap();
    }

    #[test]
    fn only_what_has_no_name_and_no_run_may_go() {
        let (_dir, shelf) = shelf();
        let used = build(&shelf, "used");
        let (kept, gone) = (build(&shelf, "kept"), build(&shelf, "gone"));
        shelf.keep(&named("torch", "kept")).unwrap();
        let hold = hold(&used).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let keys = |unused: &[Built]| unused.iter().map(|built| built.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&shelf.unused(Duration::ZERO, now).unwrap()), ["gone"]);
        assert!(shelf.unused(Duration::from_secs(3600), now).unwrap().is_empty(), "it was used just now");
        let all = shelf.built().unwrap();
        assert!(all.iter().all(|built| built.bytes >= 10_000), "{all:?}");
        let of = |key: &str| all.iter().find(|built| built.key == key).unwrap();
        assert!(of("used").in_use && !of("kept").in_use);
        assert!(!shelf.sweep(of("used")).unwrap() && used.exists());
        assert!(shelf.sweep(of("gone")).unwrap() && !gone.exists() && kept.exists());
        drop(hold);
        assert_eq!(keys(&shelf.unused(Duration::ZERO, now).unwrap()), ["used"]);
    }

    #[test]
    fn what_is_there_whole_has_a_place() {
        let (_dir, shelf) = shelf();
        let path = build(&shelf, "k");
        assert_eq!(shelf.place("k"), Some(path.clone()));
        fs::remove_file(path.join(COMPLETE)).unwrap();
        assert_eq!(shelf.place("k"), None);
    }
}
