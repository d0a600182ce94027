//! `ashlar machine`

mod capture;
mod paths;
mod tools;

use crate::arguments::{Machine, MachineAction};
use crate::failure::Failure;
use crate::state::Place;
use crate::{listing, moment, picture};
use api::{ClientError, MachineView};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub fn run(place: &Place, machine: Machine) -> Result<ExitCode, Failure> {
    match &machine.action {
        Some(MachineAction::Capture(what)) => return capture::run(&machine, what),
        Some(MachineAction::Paths(what)) => return paths::run(&machine, what),
        None => {}
    }
    let view = match &machine.root {
        Some(path) => MachineView { machine: probe(&open(path)?)?, held: vec![], now: moment::now() },
        // With a node, who holds what is known; without one, the machine is still there to look at.
        None => match place.try_connect().and_then(|client| client.machine()) {
            Ok(view) => view,
            Err(ClientError::NoNode(_)) if !place.is_remote() => {
                eprintln!("no node runs here, so nothing is held; `ashlar up` starts one");
                MachineView { machine: this_machine()?, held: vec![], now: moment::now() }
            }
            Err(error) => return Err(error.into()),
        },
    };
    if machine.json {
        listing::print_json(&view)?;
    } else {
        write!(std::io::stdout(), "{}", picture::draw(&view, listing::width(), listing::colour_wanted(), true))?;
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
    if path.is_dir() {
        return Ok(host::Root::at(path));
    }
    host::capture::open(path, host::capture::Limits::default()).map_err(|error| {
        let failure = Failure::input(&error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure.hint("name the folder that holds sys/ and proc/, or a capture of one"),
        }
    })
}

fn probe(root: &host::Root) -> Result<::machine::Machine, Failure> {
    host::probe(root).map_err(|error| Failure::failed(format!("cannot read the machine: {error}")))
}

/// This machine, with what vendor libraries add.
pub fn this_machine() -> Result<::machine::Machine, Failure> {
    crate::inventory::this_machine().map(|(machine, _)| machine)
}
