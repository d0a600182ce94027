//! `ashlar env`: environments with a name, and why they are as they are.

mod bundle;
mod choice;
mod create;

pub use choice::refuse_unknown;

use crate::arguments::{Env, EnvAction, EnvGc};
use crate::failure::Failure;
use crate::state::Place;
use crate::{listing, moment};
use node::{BuiltEnvironment, NamedEnvironment, Shelf, ShelfError};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

pub fn run(place: &Place, env: Env) -> Result<ExitCode, Failure> {
    if place.is_remote() {
        return Err(Failure::input("environments lie on the machine of the node").hint("log in there, or leave --server out"));
    }
    let shelf = shelf(place);
    match env.action {
        EnvAction::Create(ask) => create::run(place, &shelf, ask),
        EnvAction::List { json } => list(&shelf, json),
        EnvAction::Show { name, json } => show(&shelf, &name, json),
        EnvAction::Why(ask) => choice::run(&shelf, ask),
        EnvAction::Lock { name } => text(&shelf.read(&name)?.lock),
        EnvAction::Export { name } => text(&exported(&shelf.read(&name)?)),
        EnvAction::Remove { names } => remove(&shelf, &names),
        EnvAction::Gc(ask) => clear(&shelf, &ask),
        EnvAction::Bundle { name, output } => bundle::write(&shelf, &name, output),
        EnvAction::Import { file, name, devices } => bundle::read(place, &shelf, &file, name, devices),
    }
}

/// That of whoever asks: the node builds with the same identity.
fn shelf(place: &Place) -> Shelf {
    Shelf::of(&place.state.join("environments"), rustix::process::geteuid().as_raw())
}

impl From<ShelfError> for Failure {
    fn from(error: ShelfError) -> Failure {
        let failure = if matches!(error, ShelfError::Unknown { .. }) { Failure::input(&error) } else { Failure::failed(&error) };
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// One line of the list, and the page about one.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    named: &'a NamedEnvironment,
    /// Absent where what was built is gone; then the next job builds it again.
    #[serde(flatten)]
    built: Option<&'a BuiltEnvironment>,
    packages: Vec<(String, String)>,
}

fn row<'a>(named: &'a NamedEnvironment, built: &'a [BuiltEnvironment]) -> Row<'a> {
    Row { built: built.iter().find(|one| one.key == named.built), packages: named.packages(), named }
}

fn list(shelf: &Shelf, json: bool) -> Result<ExitCode, Failure> {
    let (named, built) = (shelf.named()?, shelf.built()?);
    let rows: Vec<Row> = named.iter().map(|named| row(named, &built)).collect();
    if json {
        listing::print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = listing::table(["NAME", "FRAMEWORK", "BUILD", "PYTHON", "PACKAGES", "SIZE", "LAST USED"]);
    for row in &rows {
        let choice = row.named.choice.as_ref();
        table.add_row([
            row.named.name.clone(),
            framework(row.named).unwrap_or_else(|| "-".into()),
            choice.map_or_else(|| "-".into(), |choice| choice.build.clone()),
            row.named.python.clone(),
            row.packages.len().to_string(),
            row.built.map_or_else(|| "not built".into(), |built| machine::Bytes(built.bytes).to_string()),
            row.built.map_or_else(|| "-".into(), |built| when(built.last_used)),
        ]);
    }
    listing::print_table(&table)?;
    let others: Vec<&BuiltEnvironment> = built.iter().filter(|built| built.names.is_empty()).collect();
    if !others.is_empty() {
        let bytes = machine::Bytes(others.iter().map(|built| built.bytes).sum());
        eprintln!("{} without a name, {bytes}, from job files; `ashlar env gc` clears away what is not used", others.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// `torch 2.5.1+cu121`: the framework with the version that is in the lock.
fn framework(named: &NamedEnvironment) -> Option<String> {
    let choice = named.choice.as_ref()?;
    let package = |requirement: &str| requirement.split(|c: char| "=<>!~[ ".contains(c)).next().unwrap_or("").to_ascii_lowercase();
    let package = package(choice.requirements.first()?);
    let version = named.packages().into_iter().find(|(name, _)| name.eq_ignore_ascii_case(&package)).map(|(_, version)| version);
    Some(format!("{} {}", choice.framework, version.unwrap_or_default()).trim_end().to_string())
}

fn when(seconds: u64) -> String {
    moment::relative(spec::Time(seconds.saturating_mul(1000)), moment::now())
}

fn show(shelf: &Shelf, name: &str, json: bool) -> Result<ExitCode, Failure> {
    let (named, built) = (shelf.read(name)?, shelf.built()?);
    let row = row(&named, &built);
    if json {
        listing::print_json(&row)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "environment {name}")?;
    if let Some(framework) = framework(&named) {
        writeln!(out, "  framework   {framework}, build {}", named.choice.as_ref().map_or("", |choice| choice.build.as_str()))?;
    }
    writeln!(out, "  python      {}", named.python)?;
    writeln!(out, "  made        {}", when(named.created))?;
    match row.built {
        Some(built) => {
            writeln!(out, "  lies in     {}", built.path.display())?;
            writeln!(out, "  size        {}{}", machine::Bytes(built.bytes), if built.in_use { ", in use now" } else { "" })?;
        }
        None => writeln!(out, "  lies in     nowhere: the next job that needs it builds it again from its lock")?,
    }
    if let Some(checked) = &named.checked {
        writeln!(out, "  checked     {}", checked.trim())?;
    }
    writeln!(out, "  packages    {}", row.packages.len())?;
    for (package, version) in &row.packages {
        writeln!(out, "    {package} {version}")?;
    }
    drop(out);
    eprintln!("in a job file: environment: {{name: {name}}}");
    Ok(ExitCode::SUCCESS)
}

fn text(text: &str) -> Result<ExitCode, Failure> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Requirements without hashes: indexes first, then a package a line.
fn exported(named: &NamedEnvironment) -> String {
    let indexes = named.lock.lines().filter(|line| line.starts_with("--") && line.contains("://")).map(str::to_owned);
    let packages = named.packages().into_iter().map(|(name, version)| format!("{name}=={version}"));
    indexes.chain(packages).map(|line| line + "\n").collect()
}

fn remove(shelf: &Shelf, names: &[String]) -> Result<ExitCode, Failure> {
    // All names are looked at before any goes: a mistake in the third leaves nothing half done.
    for name in names {
        match shelf.read(name) {
            Ok(_) | Err(ShelfError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for name in names {
        shelf.forget(name)?;
    }
    eprintln!("forgotten; `ashlar env gc --unused 0s` clears away what was built for nothing else");
    Ok(ExitCode::SUCCESS)
}

fn clear(shelf: &Shelf, ask: &EnvGc) -> Result<ExitCode, Failure> {
    let unused = spec::parse_span(&ask.unused).map_err(|error| Failure::from_field("--unused", error))?;
    let now = moment::now().0 / 1000;
    let mut gone = shelf.unused(Duration::from_millis(unused.0), now)?;
    if !ask.dry_run {
        let mut kept = vec![];
        for built in &gone {
            eprintln!("removing {} ({})", built.key.get(..12).unwrap_or(&built.key), machine::Bytes(built.bytes));
            // Taken by a run since it was listed.
            if !shelf.sweep(built)? {
                kept.push(built.key.clone());
            }
        }
        gone.retain(|built| !kept.contains(&built.key));
        if !ask.keep_downloads && !gone.is_empty() {
            bundle::clear_downloads(shelf)?;
        }
    }
    if ask.json {
        listing::print_json(&gone)?;
        return Ok(ExitCode::SUCCESS);
    }
    let bytes = machine::Bytes(gone.iter().map(|built| built.bytes).sum());
    let verb = if ask.dry_run { "would go" } else { "gone" };
    println!("{} {verb}, {bytes}", listing::counted(gone.len() as u64, "environment"));
    Ok(ExitCode::SUCCESS)
}
