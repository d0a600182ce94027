//! Whether a machine is ready, and what makes it so.

use clap::{Args, ValueEnum, ValueHint};
use diagnosis::readiness::Role;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Looks only: nothing is written, no program is started. Notes are told and are no findings.\nExit codes: 0 nothing to do, 1 there are findings, 2 it could not look.\n\nExamples:\n  ashlar doctor\n  ashlar doctor --role serve\n  ashlar doctor --root box7.tar.gz         # a captured machine, see `ashlar machine capture`\n  ashlar doctor --json | jq -r '.findings[] | select(.severity != \"info\") | .id'\n  ashlar doctor --against accelerator-performance     # a profile of tuned: which lines are dead here?\n  ashlar doctor --against /etc/sysctl.d\n  ashlar doctor --rules                    # everything that is looked at, and why"
)]
pub struct Doctor {
    /// What the machine is there for [default: train where there are accelerators, else control]
    #[arg(long, value_name = "ROLE")]
    pub role: Option<RoleFlag>,
    /// Judge a captured machine: a folder with its sys/ and proc/, or a capture
    #[arg(long, value_name = "DIR", value_hint = ValueHint::AnyPath)]
    pub root: Option<PathBuf>,
    /// List all rules instead
    #[arg(long, conflicts_with_all = ["root", "brief"])]
    pub rules: bool,
    /// Judge a profile that somebody else wrote: a file or folder of sysctl.d, a tuned.conf, or the name of a profile of tuned
    #[arg(long, value_name = "PROFILE", conflicts_with_all = ["rules", "brief"])]
    pub against: Option<String>,
    /// One line a finding
    #[arg(long)]
    pub brief: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleFlag {
    /// Long jobs over all accelerators
    Train,
    /// Answers requests
    Serve,
    /// Reads, prepares and stores data
    Data,
    /// Keeps a cluster together
    Control,
}

impl From<RoleFlag> for Role {
    fn from(flag: RoleFlag) -> Role {
        match flag {
            RoleFlag::Train => Role::Train,
            RoleFlag::Serve => Role::Serve,
            RoleFlag::Data => Role::Data,
            RoleFlag::Control => Role::Control,
        }
    }
}
