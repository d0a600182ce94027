//! `ashlar machine`

mod capture;
mod paths;
mod tools;

use crate::arguments::{Machine, MachineAction};
use crate::failure::Failure;
use crate::state::Place;
use crate::{hwloc_xml, inventory, listing, moment, picture, svg};
use ::machine::topology::Topology;
use api::{ClientError, MachineView};
use host::HostError;
use host::survey::{Io, Options, survey};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// What `--json` prints; documented in docs/reference/machine.md.
#[derive(Serialize)]
struct Whole<'v> {
    #[serde(flatten)]
    view: &'v MachineView,
    /// Missing for a machine elsewhere: its node tells what may be held, not every cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    topology: Option<&'v Topology>,
}

pub fn run(place: &Place, machine: Machine) -> Result<ExitCode, Failure> {
    match &machine.action {
        Some(MachineAction::Capture(what)) => return capture::run(&machine, what),
        Some(MachineAction::Paths(what)) => return paths::run(&machine, what),
        Some(MachineAction::Remove(what)) => return remove(place, &machine, &what.machine),
        None => {}
    }
    let root = match &machine.root {
        Some(path) => open(path)?,
        None => host::Root::live(),
    };
    let elsewhere = machine.root.is_none() && place.is_remote();
    let topology = || {
        if elsewhere {
            return Err(Failure::input("only the machine itself tells its topology").hint("run this command there"));
        }
        let io = if machine.all_devices { Io::All } else { Io::Important };
        match survey(&root, &Options { io, ..Options::default() }) {
            Ok(topology) => Ok(Some(topology)),
            Err(HostError::NoCpus { .. }) if !root.is_live() => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    };
    if let Some(file) = &machine.xml {
        let whole = topology()?.ok_or_else(|| Failure::input("a capture without processors has no topology to write"))?;
        return print_or_write(file, &hwloc_xml::document(&whole));
    }
    let view = view(place, &machine, &root)?;
    if let Some(file) = &machine.svg {
        let names = [view.machine.hostname.trim(), view.machine.product.trim()];
        let title = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" · ");
        let title = if title.is_empty() { "this machine" } else { &title };
        return print_or_write(file, &svg::draw(&topology()?.unwrap_or_default(), &view.machine, title));
    }
    let topology = if elsewhere { None } else { topology()? };
    if machine.json {
        listing::print_json(&Whole { view: &view, topology: topology.as_ref() })?;
        return Ok(ExitCode::SUCCESS);
    }
    let (width, colour) = (listing::width(), listing::colour_wanted());
    let mut text = picture::draw(&view, width, colour, true);
    if let Some(topology) = &topology {
        text += &picture::hardware::draw(topology, width, colour, true);
    }
    write!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

fn remove(place: &Place, machine: &Machine, name: &str) -> Result<ExitCode, Failure> {
    if machine.root.is_some() {
        return Err(Failure::input("a captured machine is not one that a node could take out").hint("leave --root out"));
    }
    let lost = place.connect()?.remove_machine(name)?.lost;
    if machine.json {
        listing::print_json(&serde_json::json!({ "removed": name, "lost": lost }))?;
    }
    let runs = if lost.is_empty() { "nothing was granted there".to_owned() } else { format!("lost: {}", list(&lost)) };
    eprintln!("machine {name} was taken out; {runs}");
    Ok(ExitCode::SUCCESS)
}

fn list(runs: &[spec::RunId]) -> String {
    runs.iter().map(|run| format!("run {run}")).collect::<Vec<_>>().join(", ")
}

fn view(place: &Place, machine: &Machine, root: &host::Root) -> Result<MachineView, Failure> {
    if machine.root.is_some() {
        return Ok(MachineView { machine: probe(root)?, held: vec![], now: moment::now(), figures: BTreeMap::new() });
    }
    // With a node, who holds what is known; without one, the machine is still there to look at.
    match place.try_connect().and_then(|client| client.machine()) {
        Ok(view) => Ok(view),
        Err(ClientError::NoNode(_)) if !place.is_remote() => {
            eprintln!("no node runs here, so nothing is held; `ashlar up` starts one");
            Ok(MachineView { machine: this_machine()?, held: vec![], now: moment::now(), figures: BTreeMap::new() })
        }
        Err(error) => Err(error.into()),
    }
}

/// `-` is standard output.
fn print_or_write(file: &Path, text: &str) -> Result<ExitCode, Failure> {
    if file == Path::new("-") {
        write!(std::io::stdout(), "{text}")?;
    } else {
        std::fs::write(file, text).map_err(|error| Failure::failed(format!("cannot write {}: {error}", file.display())))?;
        eprintln!("wrote {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The machine that was asked for, with what vendor libraries say of it, and where its files are.
fn look(machine: &Machine) -> Result<(host::Root, ::machine::Machine), Failure> {
    match &machine.root {
        None => Ok((host::Root::live(), this_machine()?)),
        Some(path) => {
            let root = open(path)?;
            let found = probe(&root)?;
            Ok((root, found))
        }
    }
}

/// A captured machine: a folder, or the archive that `ashlar machine capture` made.
pub fn open(path: &Path) -> Result<host::Root, Failure> {
    let limits = host::capture::Limits::default();
    let opened = if path.is_dir() { host::capture::open_folder(path, limits) } else { host::capture::open(path, limits) };
    opened.map_err(|error| {
        let failure = Failure::input(&error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure.hint("name the folder that holds sys/ and proc/, or a capture of one"),
        }
    })
}

fn unreadable(error: &host::HostError) -> Failure {
    let failure = Failure::failed(format!("cannot read the machine: {error}"));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A captured machine with what drivers and vendors' programs said when it was captured.
pub fn probe(root: &host::Root) -> Result<::machine::Machine, Failure> {
    let mut machine = match host::probe(root) {
        Ok(machine) => machine,
        Err(HostError::NoCpus { .. }) => {
            eprintln!("this capture has no processors (sys/devices/system/cpu): only its devices and ports are shown");
            host::probe_piece(root)
        }
        Err(error) => return Err(unreadable(&error)),
    };
    host::health::Health::new(root.clone(), None, inventory::SHORT).ask(&mut machine.devices);
    Ok(machine)
}

/// This machine, with what vendor libraries add.
pub fn this_machine() -> Result<::machine::Machine, Failure> {
    crate::inventory::this_machine().map(|(machine, _)| machine)
}
