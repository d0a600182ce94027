//! Writing the kernel's values as a transaction.
//!
//! Each write is: read, old value into the journal and to disk, write, read back. Any failure puts everything back in reverse
//! order. A process that is killed between any two steps leaves a journal whose end says so; [`recover`] puts back what it did,
//! so that the machine is as before or as planned and never between. Nothing here decides what to write.

mod ground;
mod journal;
#[cfg(test)]
mod tests;

pub use ground::{Ground, Machine};
pub use journal::{Journal, JournalError, Record, State, Target, Write};

use std::fmt;

/// What stopped a transaction, and whether everything could be put back.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("{0}; what had been written was put back")]
    PutBack(Cause),
    #[error("{cause}; and {path} could not be put back to '{old}': {why}")]
    Between { cause: String, path: String, old: String, why: String },
    #[error("{}", .0.map_or("there is nothing to undo".to_owned(), |id| format!("there is no transaction {id} to undo")))]
    NoSuch(Option<u32>),
    #[error("transaction {id} cannot be undone: {later}, which came later, wrote {path} too")]
    Covered { id: u32, later: u32, path: String },
}

impl TuneError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            TuneError::PutBack(Cause::Denied { .. }) => Some("run it as root of the machine, not in a container".into()),
            TuneError::PutBack(Cause::Changed { .. }) => Some("somebody else writes it; look with `ashlar tune plan` again".into()),
            TuneError::PutBack(Cause::Refused { path, .. } | Cause::NotTaken { path, .. }) => {
                Some(format!("leave it out: --except with the rule that wants {path}"))
            }
            TuneError::PutBack(_) => None,
            TuneError::Between { path, old, .. } => Some(format!("write it by hand: echo '{old}' > {path}, then `ashlar tune undo`")),
            TuneError::NoSuch(_) => Some("`ashlar tune status` lists them".into()),
            TuneError::Covered { later, .. } => Some(format!("undo {later} first")),
            TuneError::Journal(error) => error.hint(),
        }
    }
}

/// Why one write did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This kernel has no such file.
    Missing {
        path: String,
    },
    Denied {
        path: String,
    },
    /// Not the value that was planned from.
    Changed {
        path: String,
        planned: String,
        found: String,
    },
    /// The kernel answered with an error.
    Refused {
        path: String,
        why: String,
    },
    /// It was written, and another value was read back, at once or when all was written.
    NotTaken {
        path: String,
        wanted: String,
        found: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Missing { path } => write!(f, "this kernel has no {path}"),
            Cause::Denied { path } => write!(f, "{path} may not be written"),
            Cause::Changed { path, planned, found } => write!(f, "{path} is '{found}' and was '{planned}' when this was planned"),
            Cause::Refused { path, why } => write!(f, "the kernel refused to write {path}: {why}"),
            Cause::NotTaken { path, wanted, found } => write!(f, "{path} was set to '{wanted}' and is '{found}'"),
        }
    }
}

/// The value itself: of a list of choices the one that is chosen, of several numbers all with one space between. Files that
/// are written whole are compared whole.
pub fn value_of(text: &str) -> String {
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    chosen.map_or_else(|| text.split_whitespace().collect::<Vec<_>>().join(" "), str::to_owned)
}

/// Carries out all writes or none. Gives the number of the transaction.
///
/// # Errors
/// When a write failed; [`TuneError::PutBack`] says that all is as before.
pub fn apply(ground: &mut dyn Ground, journal: &Journal, about: &str, writes: &[Write]) -> Result<u32, TuneError> {
    recover(ground, journal)?;
    let id = journal.begin(&Record::Begin { about: about.to_owned(), boot: ground.boot(), writes: writes.to_vec() })?;
    let mut done = vec![];
    for (at, write) in writes.iter().enumerate() {
        if let Err(cause) = carry_out(ground, journal, id, at, write, &mut done)? {
            return Err(put_back(ground, journal, id, writes, &done, cause));
        }
    }
    // Some values push others away, and other programs put theirs back: what counts is what is there at the end.
    for write in writes {
        if let Err(cause) = confirm(ground, write) {
            return Err(put_back(ground, journal, id, writes, &done, cause));
        }
    }
    journal.append(id, &Record::Kept)?;
    Ok(id)
}

fn carry_out(
    ground: &mut dyn Ground,
    journal: &Journal,
    id: u32,
    at: usize,
    write: &Write,
    done: &mut Vec<usize>,
) -> Result<Result<(), Cause>, JournalError> {
    let path = || format!("/{}", write.path);
    let found = match (ground.read(&write.path), write.target) {
        (Ok(text), Target::Kernel) => Some(value_of(&text)),
        (Ok(text), Target::File) => Some(text),
        (Err(error), Target::File) if error.kind() == std::io::ErrorKind::NotFound => None,
        (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Err(Cause::Missing { path: path() })),
        (Err(error), _) => return Ok(Err(refused(path(), &error))),
    };
    if found != write.old {
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "not there".into());
        return Ok(Err(Cause::Changed { path: path(), planned: said(&write.old), found: said(&found) }));
    }
    // Before the write, and on disk: whoever comes after a crash knows what may have been written.
    journal.append(id, &Record::Writing { write: at })?;
    done.push(at);
    let written = match write.target {
        Target::Kernel => ground.write(&write.path, write.new.as_deref().unwrap_or_default()),
        Target::File => ground.replace(&write.path, write.new.as_deref()),
    };
    if let Err(error) = written {
        return Ok(Err(refused(path(), &error)));
    }
    Ok(confirm(ground, write))
}

fn refused(path: String, error: &std::io::Error) -> Cause {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => Cause::Denied { path },
        _ => Cause::Refused { path, why: error.to_string() },
    }
}

fn confirm(ground: &dyn Ground, write: &Write) -> Result<(), Cause> {
    let found = current(ground, write);
    if found == write.new {
        return Ok(());
    }
    let said = |value: Option<String>| value.unwrap_or_else(|| "not there".into());
    Err(Cause::NotTaken { path: format!("/{}", write.path), wanted: said(write.new.clone()), found: said(found) })
}

/// What is there now.
pub fn current(ground: &dyn Ground, write: &Write) -> Option<String> {
    let text = ground.read(&write.path).ok()?;
    Some(if write.target == Target::Kernel { value_of(&text) } else { text })
}

/// Everything that was begun is put back, the last one first.
fn put_back(ground: &mut dyn Ground, journal: &Journal, id: u32, writes: &[Write], done: &[usize], cause: Cause) -> TuneError {
    match restore(ground, writes, done, false) {
        Err((path, old, why)) => TuneError::Between { cause: cause.to_string(), path, old, why },
        Ok(_) => match journal.append(id, &Record::Undone { why: cause.to_string() }) {
            Ok(()) => TuneError::PutBack(cause),
            Err(error) => error.into(),
        },
    }
}

fn between(cause: String) -> impl FnOnce((String, String, String)) -> TuneError {
    move |(path, old, why)| TuneError::Between { cause, path, old, why }
}

/// Old values in reverse order. With `only_ours` a value that somebody else changed meanwhile is left; such paths come back.
fn restore(ground: &mut dyn Ground, writes: &[Write], done: &[usize], only_ours: bool) -> Result<Vec<String>, (String, String, String)> {
    let mut left = vec![];
    for write in done.iter().rev().filter_map(|at| writes.get(*at)) {
        let now = current(ground, write);
        if now == write.old {
            continue;
        }
        if only_ours && now != write.new {
            left.push(format!("/{}", write.path));
            continue;
        }
        let old = write.old.as_deref();
        let done = match write.target {
            Target::Kernel => ground.write(&write.path, old.unwrap_or_default()),
            Target::File => ground.replace(&write.path, old),
        };
        let why = done.err().map(|error| error.to_string()).or_else(|| {
            let now = current(ground, write);
            (now != write.old).then(|| format!("it is '{}'", now.unwrap_or_default()))
        });
        if let Some(why) = why {
            return Err((format!("/{}", write.path), old.unwrap_or_default().to_owned(), why));
        }
    }
    Ok(left)
}

/// What became of a transaction that nobody finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub id: u32,
    /// Values that had been written, or perhaps had been, and are as before.
    pub values: usize,
    /// Paths that somebody else changed meanwhile, and that were left.
    pub left: Vec<String>,
}

/// Puts back what transactions did that were cut off, by whatever. After a restart of the machine the kernel's own values are
/// those of the start, so only files are put back.
///
/// # Errors
/// When something cannot be put back; the journal stays as it is, so that the next one tries again.
pub fn recover(ground: &mut dyn Ground, journal: &Journal) -> Result<Vec<Recovered>, TuneError> {
    let mut all = journal.read()?;
    all.sort_by_key(|one| std::cmp::Reverse(one.id));
    let mut recovered = vec![];
    for one in all.iter().filter(|one| one.state == State::Open || one.state == State::Undoing) {
        let same_boot = one.boot == ground.boot();
        let done: Vec<usize> = one
            .begun()
            .into_iter()
            .filter(|at| same_boot || one.writes.get(*at).is_some_and(|write| write.target == Target::File))
            .collect();
        // A write that was cut off may have left anything; it is ours to put back.
        let left = restore(ground, &one.writes, &done, one.state == State::Undoing)
            .map_err(between(format!("transaction {} was cut off", one.id)))?;
        journal.append(one.id, &Record::Undone { why: "it was cut off".into() })?;
        recovered.push(Recovered { id: one.id, values: done.len(), left });
    }
    Ok(recovered)
}

/// Puts back what a kept transaction wrote: that of the number given, else the last one. Values that somebody else changed since
/// are left, and come back with the number.
///
/// # Errors
/// When there is none, when a later one wrote the same file, or when a value cannot be put back.
pub fn undo(ground: &mut dyn Ground, journal: &Journal, id: Option<u32>) -> Result<Recovered, TuneError> {
    recover(ground, journal)?;
    let all = journal.read()?;
    let kept: Vec<_> = all.iter().filter(|one| one.state == State::Kept).collect();
    let wanted = match id {
        Some(id) => kept.iter().find(|one| one.id == id),
        None => kept.iter().max_by_key(|one| one.id),
    };
    let one = wanted.ok_or(TuneError::NoSuch(id))?;
    for later in kept.iter().filter(|later| later.id > one.id) {
        if let Some(write) = later.writes.iter().find(|write| one.writes.iter().any(|own| own.path == write.path)) {
            return Err(TuneError::Covered { id: one.id, later: later.id, path: format!("/{}", write.path) });
        }
    }
    journal.append(one.id, &Record::Undoing)?;
    let same_boot = one.boot == ground.boot();
    let done: Vec<usize> = (0..one.writes.len()).filter(|at| same_boot || one.writes[*at].target == Target::File).collect();
    let left = restore(ground, &one.writes, &done, true).map_err(between(format!("transaction {} is to be undone", one.id)))?;
    journal.append(one.id, &Record::Undone { why: "somebody asked for it".into() })?;
    Ok(Recovered { id: one.id, values: done.len(), left })
}
