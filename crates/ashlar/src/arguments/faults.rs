//! Faults of machines: found in logs, explained.

use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Reads the log of the running kernel from its beginning; needs no node. Nothing is written or changed.\nExit codes: 0 no incident above info, 1 there are some, 2 there is no log to read or it may not be read.\n\nExamples:\n  ashlar faults\n  ashlar faults --json | jq '.incidents[] | select(.level != \"info\")'\n  ashlar faults replay /var/log/kern.log\n  ashlar faults explain \"Xid 79\""
)]
pub struct Faults {
    #[command(subcommand)]
    pub action: Option<FaultsAction>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum FaultsAction {
    /// Find the incidents in a log that was kept
    Replay(FaultsReplay),
    /// Say what a code or a kind of fault means, who says what of it, and what to do
    Explain(FaultsExplain),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Reads dmesg (plain, -T, -x, --json), /dev/kmsg records, journalctl (short, export, json), syslog files, pstore\ndumps, output of ranks, and captures. Only what the kernel itself wrote is believed where the form tells who wrote it.\nExit codes: 0 no incident above info, 1 there are some, 2 the log cannot be read.\n\nExamples:\n  ashlar faults replay kern.log\n  dmesg | ashlar faults replay -\n  journalctl -k -o export | ashlar faults replay - --json\n  ashlar faults replay box7.tar.gz         # a captured machine, see `ashlar machine capture`\n  zcat kern.log.2.gz | ashlar faults replay -"
)]
pub struct FaultsReplay {
    /// A log, a capture, or - for stdin
    #[arg(value_name = "LOG", value_hint = ValueHint::AnyPath)]
    pub log: PathBuf,
    /// Classes and codes of your own, on top of the catalogue
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub catalogue: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 it is known, 1 no list knows the code, 2 it is neither a code nor a kind nor a line of a fault.\n\nExamples:\n  ashlar faults explain \"Xid 79\"\n  ashlar faults explain 80E01801           # a code of Ascend\n  ashlar faults explain fs.journal         # a kind of incident\n  ashlar faults explain \"[ 33.8] Aborting journal on device nvme0n1-8.\""
)]
pub struct FaultsExplain {
    /// A code, a kind of incident, or a line of a log
    #[arg(value_name = "CODE")]
    pub code: String,
    /// Classes and codes of your own, on top of the catalogue
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub catalogue: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
