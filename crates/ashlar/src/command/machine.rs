//! `ashlar machine`

use crate::arguments::Machine;
use crate::failure::Failure;
use crate::state::Place;
use crate::{listing, moment, picture};
use api::{ClientError, MachineView};
use std::io::Write;
use std::process::ExitCode;

pub fn run(place: &Place, machine: Machine) -> Result<ExitCode, Failure> {
    let view = match &machine.root {
        Some(dir) => {
            if !dir.is_dir() {
                return Err(Failure::input(format!("{} is not a folder", dir.display())).hint("name the folder that holds sys/ and proc/"));
            }
            MachineView { machine: probe(&host::Root::at(dir))?, held: vec![], now: moment::now() }
        }
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

fn probe(root: &host::Root) -> Result<::machine::Machine, Failure> {
    host::probe(root).map_err(|error| Failure::failed(format!("cannot read the machine: {error}")))
}

/// This machine, with what vendor libraries add.
pub fn this_machine() -> Result<::machine::Machine, Failure> {
    crate::inventory::this_machine().map(|(machine, _)| machine)
}
