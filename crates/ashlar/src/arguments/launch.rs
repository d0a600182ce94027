//! What `ashlar launch` can do.

use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = "Examples:\n  ashlar launch explain job.yaml\n  ashlar launch recipes")]
pub struct Launch {
    #[command(subcommand)]
    pub action: LaunchAction,
}

#[derive(Debug, Subcommand)]
pub enum LaunchAction {
    /// Print every process, variable and file that a job file leads to, with the reason
    Explain(Explain),
    /// List the launch recipes
    #[command(after_help = "Examples:\n  ashlar launch recipes\n  ashlar launch recipes --json")]
    Recipes {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "CPUs, devices and ports are those that the node would grant now; without a node, or where the job would wait, they are made\nup and said to be. Nothing is submitted.\n\nExamples:\n  ashlar launch explain job.yaml\n  ashlar launch explain job.yaml --ranks 4\n  ashlar launch explain job.yaml --json | jq '.processes[0].variables[] | select(.name == \"RANK\")'"
)]
pub struct Explain {
    /// Job file; - reads it from standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// As if the job file said so many
    #[arg(long, value_name = "N")]
    pub ranks: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
