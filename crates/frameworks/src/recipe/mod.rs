//! Launch recipes: what each framework's ranks are promised.
//!
//! Only the recipe in use is set: another launcher's variables make mpirun, Lightning, Accelerate or JAX believe
//! that they were started by it.

mod accelerate;
mod ascend;
mod deepspeed;
mod horovod;
mod jax;
mod mindspore;
mod mpi;
mod paddle;
mod plain;
mod ray;
mod slurm;
mod tensorflow;
mod torchrun;
mod xgboost;

use crate::choose::Launcher;
use crate::files::LaunchFile;
use crate::variables::Variables;
use crate::{LaunchError, LaunchInput};
use machine::{Device, RankGrant};
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
    /// Ports that a gang cannot start without.
    pub(crate) ports: Ports,
    pub(crate) once: Once,
    /// The run has succeeded when rank 0 has: the others serve it, and are ended then.
    pub(crate) ends_with_first: bool,
    pub(crate) fill: fn(&mut Variables, &Place),
    /// Turns the job's argument vector into that of a process, with the reason where it differs.
    pub(crate) wrap: fn(Vec<String>, &Place) -> Wrapped,
    pub(crate) files: fn(&Gang) -> Vec<LaunchFile>,
}

/// The least a recipe is: one process a rank, nothing beside variables. The others say how they differ.
const BARE: Recipe = Recipe {
    launch: Launch::Plain,
    name: "",
    summary: "",
    sees: Sees::Own,
    ports: Ports::None,
    once: Once::Never,
    ends_with_first: false,
    fill: |_, _| {},
    wrap: |argv, _| Wrapped { argv, why: None },
    files: |_| vec![],
};

/// Ports a gang meets at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    None,
    /// All ranks meet at one.
    One,
    /// Every rank listens on its own.
    EachRank,
}

/// Whether a gang is one process that starts its ranks itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Once {
    Never,
    /// When the command begins with the framework's launcher.
    WithLauncher,
    /// Only that launcher can bring its ranks together: it is put before a command that lacks it.
    Always,
}

/// An argument vector, and why it is not the job's own.
#[derive(Clone, Debug)]
pub(crate) struct Wrapped {
    pub argv: Vec<String>,
    pub why: Option<&'static str>,
}

/// A whole gang, as its files describe it.
pub(crate) struct Gang<'a> {
    pub ranks: u32,
    /// Of each rank, in rank order.
    pub devices: Vec<Vec<&'a Device>>,
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
    /// Ports of this attempt that nobody listens on; all ranks meet at the first.
    pub ports: &'a [u16],
    /// This process starts the ranks itself.
    pub once: bool,
    /// The launcher that the command begins with.
    pub launcher: Option<Launcher>,
    /// Devices this process holds.
    pub devices: usize,
    /// CPUs of this rank; of one rank where this process starts them all.
    pub threads: usize,
    pub held: &'a RankGrant,
    pub input: &'a LaunchInput<'a>,
}

/// All ranks of a run are on one machine; nothing outside it has a reason to connect.
pub(crate) const HOST: &str = "127.0.0.1";

impl Place<'_> {
    /// The port to meet at.
    pub fn port(&self) -> Option<u16> {
        self.ports.first().copied()
    }

    /// `host:port`.
    pub fn address(&self) -> Option<String> {
        self.port().map(|port| format!("{HOST}:{port}"))
    }

    /// One address for each rank, in rank order.
    pub fn addresses(&self) -> Vec<String> {
        self.ports.iter().take(self.ranks as usize).map(|port| format!("{HOST}:{port}")).collect()
    }

    /// Path of a file of the launch, as the ranks see it.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.input.files.trim_end_matches('/'))
    }

    /// Puts arguments right after the launcher of the command, where the person's own, which follow, win over them.
    pub fn after_launcher(&self, mut argv: Vec<String>, ours: &[String], why: &'static str) -> Wrapped {
        let Some(launcher) = self.launcher.filter(|_| self.once) else { return Wrapped { argv, why: None } };
        argv.splice(launcher.words..launcher.words, ours.iter().cloned());
        Wrapped { argv, why: Some(why) }
    }
}

/// Runs `before` in a shell and then becomes the command, so that signals reach it.
pub(crate) fn shell_before(before: &str, argv: Vec<String>, why: &'static str) -> Wrapped {
    let mut wrapped = vec!["/bin/sh".to_string(), "-c".into(), format!("{before} exec \"$@\""), "launch".into()];
    wrapped.extend(argv);
    Wrapped { argv: wrapped, why: Some(why) }
}

/// What gloo and NCCL need to be told on a machine with several networks.
pub(crate) fn loopback(variables: &mut Variables) {
    for (name, value) in [("GLOO_SOCKET_IFNAME", "lo"), ("NCCL_SOCKET_IFNAME", "=lo"), ("TP_SOCKET_IFNAME", "lo")] {
        variables.set(name, value, "all ranks are on this machine: no look-up of its name, no listening outside it");
    }
}

/// Every recipe there is, in the order of listings.
pub fn recipes() -> &'static [Recipe] {
    const ALL: &[Recipe] = &[
        plain::RECIPE,
        jax::RECIPE,
        torchrun::RECIPE,
        deepspeed::RECIPE,
        accelerate::RECIPE,
        tensorflow::RECIPE,
        paddle::RECIPE,
        mindspore::RECIPE,
        ray::RECIPE,
        mpi::RECIPE,
        horovod::RECIPE,
        xgboost::RECIPE,
        ascend::RECIPE,
        slurm::RECIPE,
    ];
    ALL
}

impl Recipe {
    /// The recipe of that name; `auto` stands for [`crate::choose`] and is plain here.
    pub fn of(launch: Launch) -> &'static Recipe {
        let found = recipes().iter().find(|recipe| recipe.launch == launch);
        found.unwrap_or(&plain::RECIPE)
    }

    /// Whether a gang is one process that starts its ranks itself.
    pub(crate) fn starts_once(&self, ranks: u32, launcher: Option<Launcher>) -> bool {
        let launched = launcher.is_some_and(|launcher| launcher.launch == self.launch);
        match self.once {
            Once::Never => false,
            Once::WithLauncher => launched,
            Once::Always => launched || ranks > 1,
        }
    }

    /// # Errors
    /// When the lease has not enough free ports for a gang.
    pub(crate) fn check_ports(&self, ranks: u32, free: usize) -> Result<(), LaunchError> {
        let needed = match self.ports {
            _ if ranks < 2 => 0,
            Ports::None => 0,
            Ports::One => 1,
            Ports::EachRank => ranks as usize,
        };
        match free {
            0 if needed > 0 => Err(LaunchError::NoPort { recipe: self.name }),
            _ if free < needed => Err(LaunchError::FewPorts { recipe: self.name, needed, free }),
            _ => Ok(()),
        }
    }
}
