//! The command line of `ashlar env`.

use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "An environment belongs to the person who made it. Job files take it with `environment: {name: NAME}`.\n\nExamples:\n  ashlar env create train --framework torch\n  ashlar env why --framework torch          # which build fits this machine, and why\n  ashlar env list\n  ashlar env bundle train --output train.bundle    # for a machine without a network"
)]
pub struct Env {
    #[command(subcommand)]
    pub action: EnvAction,
}

#[derive(Debug, Subcommand)]
pub enum EnvAction {
    /// Build an environment, see that its framework works, and give it a name
    Create(EnvCreate),
    /// List environments
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one environment
    Show {
        #[arg(value_name = "NAME")]
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Explain which build of a framework fits, and what a newer one would need
    Why(EnvWhy),
    /// Print the lock of an environment: every package with its version and hashes
    #[command(after_help = "Examples:\n  ashlar env lock train > train.lock    # `environment: {lock: train.lock}` in a job file")]
    Lock {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Print the packages of an environment as requirements for pip, without hashes
    #[command(after_help = "Examples:\n  ashlar env export train > requirements.txt")]
    Export {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Forget a name; what was built goes with the next `gc`
    Remove {
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Clear away what was built, has no name, and was not used for a while
    Gc(EnvGc),
    /// Pack an environment with all its files, for a machine without a network
    Bundle {
        #[arg(value_name = "NAME")]
        name: String,
        /// File to write [default: NAME.bundle]
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Take an environment out of a bundle, and build it without a network
    Import {
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Another name than the bundle's
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Accelerators to check it on, as in a job; none checks it on the processor [default: one, where there are any]
        #[arg(long, value_name = "REQUEST")]
        devices: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "The build of the framework is chosen for the devices that the check holds, their driver and the processor.\n\nExamples:\n  ashlar env create train --framework torch\n  ashlar env create old --framework 'torch==2.3.1' --build cu121 torchvision\n  ashlar env create tools --python 3.12 numpy pandas\n  ashlar env create exact --lock train.lock"
)]
pub struct EnvCreate {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Framework, with versions as for pip: torch, jax, tensorflow, paddle, mindspore, onnxruntime, llama-cpp, vllm, sglang, xgboost
    #[arg(long, value_name = "FRAMEWORK")]
    pub framework: Option<String>,
    /// Build of the framework, such as cu121 or cpu [default: by the devices]
    #[arg(long, value_name = "BUILD", requires = "framework")]
    pub build: Option<String>,
    /// Version of Python, such as 3.12 [default: the machine's]
    #[arg(long, value_name = "VERSION")]
    pub python: Option<String>,
    /// Requirements file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["lock", "packages"])]
    pub requirements: Option<PathBuf>,
    /// Lock file with hashes, installed as it is
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["framework", "packages"])]
    pub lock: Option<PathBuf>,
    /// Accelerators to build for and check on, as in a job; none is the processor [default: one, where there are any]
    #[arg(long, value_name = "REQUEST")]
    pub devices: Option<String>,
    /// Do not try whether the framework works
    #[arg(long)]
    pub no_check: bool,
    /// Put it in place of an environment of that name
    #[arg(long)]
    pub replace: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Packages as for pip
    #[arg(value_name = "PACKAGE")]
    pub packages: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ashlar env why train\n  ashlar env why --framework torch\n  ashlar env why --framework 'torch==2.9.0' --root ./captured-tree"
)]
pub struct EnvWhy {
    /// An environment: why it is as it is
    #[arg(value_name = "NAME", required_unless_present = "framework", conflicts_with = "framework")]
    pub name: Option<String>,
    /// A framework: what would be chosen on this machine
    #[arg(long, value_name = "FRAMEWORK")]
    pub framework: Option<String>,
    /// The build that is asked for by name
    #[arg(long, value_name = "BUILD", requires = "framework")]
    pub build: Option<String>,
    /// A captured machine instead of this one: a folder with sys/ and proc/, or a packed capture
    #[arg(long, value_name = "DIR|FILE", value_hint = ValueHint::AnyPath, requires = "framework", value_parser = super::captured_tree)]
    pub root: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "What a run uses now stays. Downloaded files share their space with what was built from them, so they go too.\n\nExamples:\n  ashlar env gc --dry-run\n  ashlar env gc --unused 1h"
)]
pub struct EnvGc {
    /// Last used before this time
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub unused: String,
    /// Keep what was downloaded for the next environment, though it takes space
    #[arg(long)]
    pub keep_downloads: bool,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
