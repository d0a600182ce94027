//! Launch recipes: what each framework's ranks are promised.
//!
//! Only the recipe in use is set: another launcher's variables make mpirun, Lightning, Accelerate or JAX believe
//! that they were started by it.

mod jax;
mod plain;
mod slurm;
mod torchrun;

use crate::LaunchInput;
use crate::variables::Variables;
use machine::RankGrant;
use spec::{Launch, RunId};

/// One row of the list of recipes.
#[derive(Debug)]
pub struct Recipe {
    pub launch: Launch,
    /// As job files name it.
    pub name: &'static str,
    /// One line for listings.
    pub summary: &'static str,
    pub(crate) sees: Sees,
    /// A gang cannot start without a port to meet at.
    pub(crate) gang_needs_port: bool,
    pub(crate) fill: fn(&mut Variables, &Place),
}

/// Whose devices a rank's masks list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sees {
    /// Its own: it counts them from 0.
    Own,
    /// All of the run in rank order: its local rank is the index of its first.
    Run,
}

/// One rank's place in its gang.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub rank: u32,
    pub ranks: u32,
    pub run: RunId,
    /// Attempts that may still follow the first.
    pub retries: u32,
    /// The port all ranks of this attempt meet at.
    pub port: Option<u16>,
    /// Devices this rank holds.
    pub devices: usize,
    pub held: &'a RankGrant,
    pub input: &'a LaunchInput<'a>,
}

/// All ranks of a run are on one machine; nothing outside it has a reason to connect.
pub(crate) const HOST: &str = "127.0.0.1";

impl Place<'_> {
    /// `host:port`.
    pub fn address(&self) -> Option<String> {
        self.port.map(|port| format!("{HOST}:{port}"))
    }
}

/// Every recipe there is, in the order of listings.
pub fn recipes() -> &'static [Recipe] {
    &[plain::RECIPE, jax::RECIPE, torchrun::RECIPE, slurm::RECIPE]
}

impl Recipe {
    pub fn of(launch: Launch) -> &'static Recipe {
        match launch {
            Launch::Plain => &plain::RECIPE,
            Launch::Jax => &jax::RECIPE,
            Launch::Torchrun => &torchrun::RECIPE,
            Launch::Slurm => &slurm::RECIPE,
        }
    }
}
