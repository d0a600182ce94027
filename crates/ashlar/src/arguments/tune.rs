//! Making a machine ready, and taking that back.

use super::doctor::RoleFlag;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ashlar tune plan                         # every write: old and new value, risk, who else writes it\n  ashlar tune apply --dry-run\n  ashlar tune apply --role serve           # all of it, or nothing\n  ashlar tune apply --only memory.thp-stall --boot\n  ashlar tune status                       # what was written, and what somebody changed since\n  ashlar tune undo"
)]
pub struct Tune {
    #[command(subcommand)]
    pub action: TuneAction,
}

#[derive(Debug, Subcommand)]
pub enum TuneAction {
    /// Show what would be written to put right what `ashlar doctor` finds
    Plan(TunePlan),
    /// Write it: all or nothing, with a journal
    Apply(TuneApply),
    /// Show what was written, and what changed since
    Status(TuneStatus),
    /// Put back what was written
    Undo(TuneUndo),
}

#[derive(Debug, Args)]
pub struct TuneChoice {
    /// What the machine is there for [default: train where there are accelerators, else control]
    #[arg(long, value_name = "ROLE")]
    pub role: Option<RoleFlag>,
    /// Only what this rule wants; may be repeated
    #[arg(long, value_name = "RULE")]
    pub only: Vec<String>,
    /// All but what this rule wants; may be repeated
    #[arg(long, value_name = "RULE", conflicts_with = "only")]
    pub except: Vec<String>,
    /// Another machine's tree, to try it out: a folder with sys/ and proc/
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 0 when there is nothing to write, 1 when there is, 2 when it could not look.\n\nExamples:\n  ashlar tune plan --role train\n  ashlar tune plan --json | jq -r '.writes[] | [.path, .old, .new] | @tsv'"
)]
pub struct TunePlan {
    #[command(flatten)]
    pub choice: TuneChoice,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Each write is read back, and all of them once more at the end; if any did not take, all are put back. A process that is\nkilled in between leaves a journal, and the next `ashlar tune` puts everything back first.\nWhat needs a restart (the kernel command line) is shown and never written.\n\nExamples:\n  ashlar tune apply --dry-run\n  ashlar tune apply --role train --boot\n  ashlar tune apply --except cpu.governor"
)]
pub struct TuneApply {
    #[command(flatten)]
    pub choice: TuneChoice,
    /// Also write files in /etc/sysctl.d and /etc/tmpfiles.d, so that it is so after a restart
    #[arg(long)]
    pub boot: bool,
    /// Only show what would be written
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 1 when a value is not what was written.\n\nExamples:\n  ashlar tune status\n  ashlar tune status --json | jq '.[] | select(.state == \"kept\")'"
)]
pub struct TuneStatus {
    /// Another machine's tree, as given to `apply`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Values that somebody else changed since are left and named.\n\nExamples:\n  ashlar tune undo       # the last one\n  ashlar tune undo 3"
)]
pub struct TuneUndo {
    /// Number of the transaction, as `ashlar tune status` shows it [default: the last one]
    #[arg(value_name = "ID")]
    pub id: Option<u32>,
    /// Another machine's tree, as given to `apply`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
