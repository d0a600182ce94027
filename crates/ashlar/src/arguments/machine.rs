//! What `ashlar machine` can do besides drawing the machine.

use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum MachineAction {
    /// Pack what this machine shows of itself into one archive, without names and serial numbers
    Capture(Capture),
    /// Show how far accelerators and network cards are from each other, and what keeps them apart
    Paths(Paths),
    /// Take a machine out that will never come back
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(
    after_help = "The runs that were granted there count as lost, and `retry` decides what becomes of their jobs. Nobody can see whether\nthey still execute: switch the machine off first. One whose node is connected is refused. For administrators.\n\nExamples:\n  ashlar status                   # which machines there are, and when each was last heard of\n  ashlar machine remove box7"
)]
pub struct Remove {
    /// Its id or its host name
    #[arg(value_name = "MACHINE")]
    pub machine: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Serial numbers, UUIDs, network addresses and names of machines and people are replaced, the same name always by the\nsame token; the key is thrown away. Run it as root to have everything in it.\n\nExamples:\n  ashlar machine capture box7.tar.gz\n  ashlar machine --root box7.tar.gz        # anywhere: look at that machine\n  tar tzf box7.tar.gz | less               # what is in it"
)]
pub struct Capture {
    /// Where to write the archive (gzipped tar); - for standard output
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Ask no vendor tools (nvidia-smi and the like)
    #[arg(long)]
    pub no_tools: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Run it as root: only root can read whether PCI switches redirect (ACS).\n\nExamples:\n  ashlar machine paths\n  ashlar machine paths --root box7.tar.gz\n  ashlar machine paths --json | jq '.reasons[].text'\n  ashlar machine paths --nccl topo.xml     # NCCL_TOPO_FILE=topo.xml for a job"
)]
pub struct Paths {
    /// Write the topology as a file that NCCL and RCCL read instead; - for standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub nccl: Option<PathBuf>,
}
