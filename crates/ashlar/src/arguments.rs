//! The command line. Flags are written in full in all documents; every command's help ends with examples.

mod doctor;
mod env;
mod faults;
mod launch;
mod machine;
mod tune;

pub use doctor::Doctor;
pub use env::{Env, EnvAction, EnvCreate, EnvGc, EnvWhy};
pub use faults::{Faults, FaultsAction, FaultsExplain, FaultsReplay};
pub use launch::{Explain, Launch, LaunchAction};
pub use machine::{Capture, MachineAction, Paths};
pub use tune::{Tune, TuneAction, TuneApply, TuneChoice, TuneStatus, TuneUndo};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use spec::{JobId, RunId};
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(
    name = "ashlar",
    version,
    about = "An operating layer for AI servers: one ledger for every accelerator, core and byte of a machine",
    after_help = "Exit codes: 0 done, 1 it failed or would wait, 2 the input is wrong, 3 no node or not allowed, 4 our fault.\n\
                  `run` and `wait` give the job's own code. With --json an error is one line of JSON on stderr:\n\
                  {\"error\": {\"kind\", \"message\", \"hint\", \"exit_code\"}}.\n\n\
                  Start with:  ashlar quickstart"
)]
pub struct Arguments {
    /// Folder that holds everything, the socket of the node too [default: /var/lib/ashlar as root, else the XDG state folder]
    #[arg(long, global = true, env = "ASHLAR_STATE", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,

    /// Talk to a node over TLS instead of its socket, as host:port; needs ASHLAR_TOKEN and ASHLAR_FINGERPRINT
    #[arg(long, global = true, env = "ASHLAR_SERVER", value_name = "HOST:PORT")]
    pub server: Option<String>,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the node in the foreground
    Up(Up),
    /// Submit a command, follow its output, and exit with its exit code
    Run(Box<Run>),
    /// Validate and submit job files; prints the job id
    Submit(Submit),
    /// Show what submitting a job file would lead to, and why
    Plan(Plan),
    /// Show how a job becomes processes
    Launch(Launch),
    /// List jobs, newest first
    Jobs(Jobs),
    /// Show everything about one job
    Show(Show),
    /// Print the output of a job
    Logs(Logs),
    /// Explain why a job waits, or how it ended
    Why(Why),
    /// Cancel a job: ask first, kill after the grace
    Cancel(Cancel),
    /// Wait for a job to end, and exit with its exit code
    Wait(Wait),
    /// Show what this machine is and who holds what
    Machine(Machine),
    /// Show accelerators: what each is, how far it works, and what stops it
    Devices(Devices),
    /// Say whether this machine is ready for its work, and how to make it so
    Doctor(Doctor),
    /// Make this machine ready, as a transaction that can be undone
    Tune(Tune),
    /// Find faults in logs of the kernel: what, where, what follows from what, and what to do
    Faults(Faults),
    /// Make and look after environments: the software that ranks see
    Env(Env),
    /// Show queues: shares, what is held, what waits
    Queues(Queues),
    /// Show the node itself: whether it accepts work, its machines, and what is wrong
    Status(Status),
    /// See it work: train a small network on this machine, as a gang, isolated
    Quickstart(Quickstart),
    /// Make, list or revoke tokens for talking to a node over TLS
    Token(Token),
    /// Fill a fleet of many machines in simulated time, and compare packing policies
    Simulate(Box<Simulate>),
    /// Print the JSON Schema of job files
    #[command(after_help = "Examples:\n  ashlar schema > job.schema.json    # for the YAML plug-in of an editor")]
    Schema,
    /// Print a completion script for a shell
    Completions(Completions),
}

/// Where it exists.
pub const DEFAULT_ADMIN_GROUP: &str = "ashlar-admin";

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ashlar up\n  ashlar up --print-unit > /etc/systemd/system/ashlar.service\n  ashlar up --listen 0.0.0.0:7443    # TLS and tokens, see `ashlar token`\n  ashlar up --keep-finished 90d      # older jobs and their output are forgotten"
)]
pub struct Up {
    /// Print a systemd unit file for this node and exit
    #[arg(long)]
    pub print_unit: bool,
    /// Also serve TLS on this address; every request needs a token
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<std::net::SocketAddr>,
    /// Members of this group see and cancel everything, as root does
    #[arg(long, value_name = "GROUP", default_value = DEFAULT_ADMIN_GROUP)]
    pub admin_group: String,
    /// Finished jobs to remember, with their output: so many, or for so long, or both (90d,100000), or all
    #[arg(long, value_name = "KEEP", default_value_t)]
    pub keep_finished: control::Retention,
    /// A run that holds more of a device's memory than its part, where nothing but this node keeps it to it: warn, or end it too
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OverShare::Warn)]
    pub over_share: OverShare,
    /// A run is left alone for so long before it is evicted or restarted at another size [default: 10m]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub shortest_run: Option<spec::Span>,
    /// What a restart at another size costs, beside the time to save [default: 30s]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub restart_cost: Option<spec::Span>,
}

fn span(text: &str) -> Result<spec::Span, String> {
    spec::parse_span(text).map_err(|error| error.to_string())
}

/// What becomes of a run that holds more than its part of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OverShare {
    Warn,
    End,
}

/// Flags that describe a job, as in a job file.
#[derive(Debug, Args)]
pub struct JobFlags {
    /// Name of the job [default: the program's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Processes that start together or not at all: 4, or as many as there is room for: 2..8 or 2,4,8
    #[arg(long, value_name = "N")]
    pub ranks: Option<String>,
    /// Accelerators of each rank, such as 1, gpu:2, 24GB, A100:80GB:2
    #[arg(long, value_name = "REQUEST")]
    pub devices: Option<String>,
    /// CPUs of each rank; less than one shares a CPU
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// Host memory of each rank, such as 8GB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub shm: Option<String>,
    /// Folder the command runs in [default: the current one]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub workdir: Option<PathBuf>,
    /// Set a variable; without a value, pass on the one set here
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Make a path visible to the job, as source:target[:ro]
    #[arg(long, value_name = "MOUNT")]
    pub mount: Vec<String>,
    /// Python packages the job needs; built once and cached
    #[arg(long, value_name = "SPEC")]
    pub package: Vec<String>,
    /// Python version, such as 3.12
    #[arg(long, value_name = "VERSION")]
    pub python: Option<String>,
    /// A framework, such as torch or 'jax>=0.5', in the build that fits the granted devices
    #[arg(long, value_name = "FRAMEWORK")]
    pub framework: Option<String>,
    /// An environment that `ashlar env create` made
    #[arg(long, value_name = "NAME", conflicts_with_all = ["package", "python", "framework"])]
    pub environment: Option<String>,
    /// Launch recipe, such as torchrun or mpi [default: auto, by command and packages]
    #[arg(long, value_name = "RECIPE")]
    pub launch: Option<String>,
    /// How long it should take, such as 20m: helps it start earlier
    #[arg(long, value_name = "TIME")]
    pub expect: Option<String>,
    /// Ask it to end after this long; the grace (30s) comes on top
    #[arg(long, value_name = "TIME")]
    pub limit: Option<String>,
    /// Higher starts first within a queue
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Queue to wait in
    #[arg(long)]
    pub queue: Option<String>,
    /// Runs in all if it fails, such as 3
    #[arg(long, value_name = "N")]
    pub attempts: Option<u32>,
    /// Start after this job ended well; 17:any and 17:not-ok also work
    #[arg(long, value_name = "JOB")]
    pub after: Vec<String>,
    /// One task for each index, such as 0-99%10
    #[arg(long, value_name = "RANGE")]
    pub array: Option<String>,
    /// none: no network but loopback; host: the machine's
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<NetworkFlag>,
    /// Refuse to run with less than this: process, namespaces, container
    #[arg(long, value_name = "LEVEL")]
    pub isolation: Option<LevelFlag>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum NetworkFlag {
    Host,
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LevelFlag {
    Process,
    Namespaces,
    Container,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ashlar run -- python train.py\n  ashlar run --devices 1 --memory 16GB -- python train.py\n  ashlar run --ranks 2 --launch torchrun -- python ddp.py\n  ashlar run --array 0-3 -- sh -c 'echo task $ASHLAR_ARRAY_INDEX'\n\nWhat it waits for is said on stderr. A job that can never start here is taken back (exit code 2); with --detach it waits.\nCtrl-C asks the job to end; a second Ctrl-C cancels it at once."
)]
pub struct Run {
    #[command(flatten)]
    pub job: JobFlags,
    /// Print the job id and return instead of following the output
    #[arg(long)]
    pub detach: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Batch scripts of Slurm are read too (docs/guides/slurm.md).\nA job that can never start on this machine as it is (`never fits`) is accepted with a warning.\nThe same --key with the same job gives the same id; with another job it is refused (exit code 2).\n\nExamples:\n  ashlar submit job.yaml\n  id=$(ashlar submit job.yaml) && ashlar wait \"$id\"\n  generate | ashlar submit -"
)]
pub struct Submit {
    /// Job files or batch scripts; - reads one from standard input
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Submitting the same again with the same key gives the same job
    #[arg(long)]
    pub key: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 0 when it starts now, 1 when it would wait, 2 when it never fits.\n\nExamples:\n  ashlar plan job.yaml\n  ashlar plan job.yaml --json | jq .reasons\n  ashlar plan job.yaml --whatif ended=7 --whatif devices=2 --whatif limit=1h"
)]
pub struct Plan {
    /// Job file; - reads it from standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Suppose this too: ended=JOB, healthy=DEVICE, unlimited=QUEUE, or another queue, priority, ranks, cpus, memory, devices, expect or limit
    /// of the job; may be repeated
    #[arg(long, value_name = "CHANGE")]
    pub whatif: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ashlar jobs\n  ashlar jobs --in running --in waiting\n  ashlar jobs --all --json | jq '.[] | select(.exit_code != 0) | .id'"
)]
pub struct Jobs {
    /// Only jobs in this state; may be repeated
    #[arg(long = "in", value_name = "STATE")]
    pub states: Vec<String>,
    /// Only jobs of this person
    #[arg(long)]
    pub user: Option<String>,
    /// Only jobs of this queue
    #[arg(long)]
    pub queue: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u32,
    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ashlar show 17\n  ashlar show 17 --json | jq .runs[-1].isolation")]
pub struct Show {
    /// Job, such as 17, or 17.3 for a task of an array
    pub job: JobId,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Where several ranks or tasks print, each line begins with [RANK], [TASK] or [TASK:RANK].\n\nExamples:\n  ashlar logs 17\n  ashlar logs 17 --rank 1 --follow\n  ashlar logs 17.3               # task 3 of an array, byte for byte; the same as 17 --task 3\n  ashlar logs 17 --run 17-1      # an earlier attempt"
)]
pub struct Logs {
    /// Job, such as 17, or 17.3 for a task of an array
    pub job: JobId,
    /// Only this rank, byte for byte [default: all ranks, each line with its rank where there are several]
    #[arg(long, value_name = "N")]
    pub rank: Option<u32>,
    /// Only this task of an array, as the job ID.N does [default: all tasks, each line with its index]
    #[arg(long, value_name = "N")]
    pub task: Option<u32>,
    /// Keep printing until the job ends
    #[arg(long, short)]
    pub follow: bool,
    /// Another attempt than the newest
    #[arg(long, value_name = "RUN")]
    pub run: Option<RunId>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ashlar why 17")]
pub struct Why {
    /// Job, such as 17, or 17.3 for a task of an array
    pub job: JobId,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ashlar cancel 17\n  ashlar cancel 17 18 --now     # no signal, no grace\n  ashlar cancel 17 18 --json | jq -r '.[].id'     # those that were accepted"
)]
pub struct Cancel {
    /// Jobs, such as 17, or 17.3 for a task of an array
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<JobId>,
    /// Kill at once instead of asking first
    #[arg(long)]
    pub now: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Ends with the job's own code. Of several jobs, all are waited for, and the first that did not succeed gives the code.\n\nExamples:\n  ashlar wait 17\n  ashlar wait 17 --timeout 10m\n  ashlar wait 17 --json | jq -r .state\n  ashlar wait $(ashlar submit a.yaml b.yaml)"
)]
pub struct Wait {
    /// Jobs, such as 17, or 17.3 for a task of an array
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<JobId>,
    /// Give up after this long, with exit code 1
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ashlar machine\n  ashlar machine --svg machine.svg\n  ashlar machine --json | jq .topology.tiers\n  ashlar machine --xml | lstopo -i /dev/stdin    # for hwloc's tools\n  ashlar machine --root ./captured-tree   # a machine from its /sys and /proc\n  ashlar machine --root box7.tar.gz       # one that `ashlar machine capture` packed"
)]
pub struct Machine {
    /// Read a captured machine instead of this one: a folder with sys/ and proc/, or a packed capture
    #[arg(long, global = true, value_name = "DIR|FILE", value_hint = ValueHint::AnyPath, value_parser = captured_tree)]
    pub root: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Draw the machine into a file (`-` prints it)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["xml", "json"])]
    pub svg: Option<PathBuf>,
    /// Write the machine for hwloc's tools into a file, or print it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, num_args = 0..=1, default_missing_value = "-", conflicts_with = "json")]
    pub xml: Option<PathBuf>,
    /// Also show devices that seldom matter to jobs: USB, DMA engines, empty bridges
    #[arg(long)]
    pub all_devices: bool,
    /// What else to do with the machine
    #[command(subcommand)]
    pub action: Option<MachineAction>,
}

/// A folder that is no captured machine is a mistake that is better told before it is read.
fn captured_tree(text: &str) -> Result<PathBuf, String> {
    let dir = PathBuf::from(text);
    match dir.is_dir() && !host::capture::holds_machine(&dir) {
        true => {
            Err("there is neither sys/ nor proc/ in it, nor nodes of KFD or ports of InfiniBand; name a copy of a machine's /sys and /proc"
                .into())
        }
        false => Ok(dir),
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "A device climbs a ladder: on the bus, driver bound, device nodes there and openable, vendor library answers,\nhealthy. ● is a step reached, ✗ the one that stops it, ! one that is no obstacle to work, ○ not reached or not asked.\n▣ marks a card that is granted by its slices. NOW is what the node or the driver last saw.\n\nExamples:\n  ashlar devices\n  ashlar devices nvidia:0             # one in full, with temperature, power, errors\n  ashlar devices 3b:00.0 --json\n  ashlar devices --root ./captured-tree\n  ashlar devices --cdi /etc/cdi"
)]
pub struct Devices {
    /// Show this one in full: its id or the beginning of it, its PCI address, or vendor:number
    #[arg(value_name = "DEVICE")]
    pub device: Option<String>,
    /// Read a captured tree instead of this machine
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = captured_tree)]
    pub root: Option<PathBuf>,
    /// Write CDI files for container engines into this folder, for vendors that bring no program for it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["device", "json"])]
    pub cdi: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A queue named `default` is always there, open to everybody, unless the file describes it.\nQueues are described in <state>/queues.yaml; `kill -HUP` the node, or restart it, after a change.\n\nExamples:\n  ashlar queues"
)]
pub struct Queues {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Ends with 1 while the node accepts no work.\n\nExamples:\n  ashlar status\n  ashlar status --json | jq '.alarms[].text'"
)]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ashlar quickstart\n  ashlar quickstart --offline    # needs no network")]
pub struct Quickstart {
    /// A job that needs no packages and so no network
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ashlar token create --note laptop\n  ashlar token list\n  ashlar token revoke 3f9a")]
pub struct Token {
    #[command(subcommand)]
    pub action: TokenAction,
}

#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Make a token for yourself; it is shown once
    Create {
        /// What it is for
        #[arg(long, default_value = "")]
        note: String,
        /// For another person; needs root or the admin group
        #[arg(long)]
        user: Option<String>,
        /// Days until it expires [default: 90]
        #[arg(long)]
        days: Option<u32>,
    },
    /// List your tokens
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token
    Revoke {
        /// As `ashlar token list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ashlar completions bash > /etc/bash_completion.d/ashlar\n  ashlar completions zsh > ~/.zfunc/_ashlar\n  ashlar completions fish > ~/.config/fish/completions/ashlar.fish"
)]
pub struct Completions {
    /// Your shell
    pub shell: clap_complete::Shell,
}

/// How a fleet and its requests are written down.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TraceFormat {
    /// Alibaba's cluster-trace-gpu-v2023
    Openb,
}

/// What the ashlar policy knows before the first request.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KnowledgeFlag {
    /// How often each request comes, as FGD knows it
    Distribution,
    /// Nothing: it counts what comes and learns from it
    Nothing,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Policies: ashlar, fgd, bestfit, packing, dotprod, random.\n\nExamples:\n  ashlar simulate --nodes nodes.csv --pods pods.csv.xz\n  ashlar simulate --nodes nodes.csv --pods pods.csv --policy ashlar,fgd --svg curves.svg --json\n  ashlar simulate --nodes nodes.csv --pods pods.csv --churn --load 1.0 --migrate 3600\n  ashlar simulate --nodes nodes.csv --pods pods.csv --stdio < order.txt > decisions.csv"
)]
pub struct Simulate {
    /// Format of both files
    #[arg(long, value_enum, default_value_t = TraceFormat::Openb)]
    pub format: TraceFormat,
    /// List of nodes, .csv or .csv.xz
    #[arg(long, alias = "cluster", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub nodes: PathBuf,
    /// List of pods, .csv or .csv.xz
    #[arg(long, alias = "workload", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pods: PathBuf,
    /// Policies to compare [default: all; with --stdio: ashlar]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub policy: Vec<String>,
    /// Read row numbers of the pod list from standard input, one a line (-K: the K-th arrival departs), and answer each
    #[arg(long, conflicts_with_all = ["churn", "order", "json", "svg"])]
    pub stdio: bool,
    /// With --stdio: name pods and nodes by their row numbers
    #[arg(long, requires = "stdio")]
    pub rows: bool,
    /// Order of arrival: row numbers of the pod list, one a line [default: drawn from the seed]
    #[arg(long, value_name = "FILE", conflicts_with = "churn", value_hint = ValueHint::FilePath)]
    pub order: Option<PathBuf>,
    /// Demand, as a part of the devices there are
    #[arg(long, value_name = "PART", default_value_t = 1.3, value_parser = load)]
    pub load: f64,
    /// What all drawing starts from
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Let work end, too, after the time the pod list gives; what does not fit waits
    #[arg(long)]
    pub churn: bool,
    /// With --churn: arrivals in all [default: five times the pod list]
    #[arg(long, value_name = "N", requires = "churn")]
    pub arrivals: Option<usize>,
    /// With --churn: every so many seconds, move runs where that pays
    #[arg(long, value_name = "SECONDS", requires = "churn", value_parser = clap::value_parser!(u64).range(1..))]
    pub migrate: Option<u64>,
    /// What the ashlar policy knows beforehand
    #[arg(long, value_enum, default_value_t = KnowledgeFlag::Distribution)]
    pub knowledge: KnowledgeFlag,
    /// Simulated days the ashlar policy learns for
    #[arg(long, value_name = "N", default_value_t = 80)]
    pub days: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Draw the curves into this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub svg: Option<PathBuf>,
}

fn load(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(load) if load > 0.0 && load <= 10.0 => Ok(load),
        _ => Err("a number above 0, at most 10, such as 1.3".into()),
    }
}
