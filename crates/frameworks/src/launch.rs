//! One argument vector and one set of variables for each process.

use crate::choose::choose;
use crate::files::LaunchFile;
use crate::recipe::{Gang, Place, Recipe, Sees};
use crate::variables::{Variable, Variables, with_environment_first};
use crate::visibility::{self, View};
use crate::work::arguments;
use crate::{Choice, LaunchError, share};
use machine::{CpuSet, Device, DeviceId, Grant, RankGrant};
use spec::{Identity, JobSpec, Launch, RunId};

/// Where programs are looked for after the environment's own.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Name of the file in the scratch directory to which a program may append metrics, one JSON object a line.
pub const METRICS_FILE: &str = "ashlar-metrics.jsonl";

/// Everything the processes of a run follow from.
#[derive(Clone, Copy, Debug)]
pub struct LaunchInput<'a> {
    pub spec: &'a JobSpec,
    pub run: RunId,
    pub grant: &'a Grant,
    /// All devices of the machine, whoever holds them.
    pub devices: &'a [Device],
    /// The run cannot open the nodes of other devices than its own. Libraries then count within those.
    pub only_granted_nodes: bool,
    /// The host name that the ranks see.
    pub hostname: &'a str,
    /// Ports of the grant's lease that were found free, in order.
    pub ports: &'a [u16],
    /// Path of the built virtual environment, as the ranks see it.
    pub environment: Option<&'a str>,
    /// Directory of the run that its ranks may write, as they see it, such as `/tmp`.
    pub scratch: &'a str,
    /// Directory with the files of the launch, as the ranks see it.
    pub files: &'a str,
    pub identity: &'a Identity,
}

/// One process, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub rank: u32,
    /// The first one is a path, or a name to look up in the PATH of `env`.
    pub argv: Vec<String>,
    /// The whole environment, sorted by name.
    pub env: Vec<(String, String)>,
    pub workdir: String,
    /// What of the grant is this process's: all of it where it starts the ranks itself.
    pub holds: RankGrant,
}

/// What to start, and what to write before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    /// In rank order. One alone where it starts the ranks itself.
    pub processes: Vec<Process>,
    pub files: Vec<LaunchFile>,
    /// The run has succeeded when rank 0 has: the others serve it, and are ended then.
    pub ends_with_first: bool,
}

/// A [`Process`] with the reason for each variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub rank: u32,
    pub argv: Vec<String>,
    /// Why the arguments are not the job's own, where they are not.
    pub argv_why: Option<&'static str>,
    /// Sorted by name.
    pub variables: Vec<Variable>,
    pub workdir: String,
    pub holds: RankGrant,
}

/// A launch with its reasons.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub choice: Choice,
    /// One process starts all ranks.
    pub once: bool,
    pub processes: Vec<Explained>,
    pub files: Vec<LaunchFile>,
}

/// The processes of a run, in rank order, and their files.
///
/// # Errors
/// When the job cannot run this way on any machine, or the grant does not fit the job; see [`LaunchError`].
pub fn launch(input: &LaunchInput) -> Result<Launched, LaunchError> {
    let bare = |Explained { rank, argv, variables, workdir, holds, .. }| Process {
        rank,
        argv,
        env: variables.into_iter().map(|Variable { name, value, .. }| (name, value)).collect(),
        workdir,
        holds,
    };
    let Explanation { choice, processes, files, .. } = explain(input)?;
    Ok(Launched { processes: processes.into_iter().map(bare).collect(), files, ends_with_first: choice.recipe.ends_with_first })
}

/// [`launch`], with the reason for each variable.
///
/// # Errors
/// The same as [`launch`].
pub fn explain(input: &LaunchInput) -> Result<Explanation, LaunchError> {
    let LaunchInput { spec, grant, .. } = input;
    if grant.ranks.len() != spec.ranks as usize {
        return Err(LaunchError::RanksDiffer { asked: spec.ranks, granted: grant.ranks.len() });
    }
    let choice = choose(spec);
    let recipe = choice.recipe;
    refuse_nested_launcher(&choice)?;
    let once = recipe.starts_once(spec.ranks, choice.launcher);
    recipe.check_ports(if once { spec.ranks.min(1) } else { spec.ranks }, input.ports.len())?;
    let argv = arguments(&spec.work, &spec.name)?;
    let of_run = devices_of(input, first_of_each_rank_first(&grant.ranks))?;
    let whole = [whole_grant(&grant.ranks)];
    let starting: &[RankGrant] = if once { &whole } else { &grant.ranks };
    let processes = (0..).zip(starting).map(|(rank, held)| {
        let own = devices_of(input, held.devices.iter())?;
        let place = Place {
            rank,
            ranks: spec.ranks,
            run: input.run,
            retries: spec.retry.attempts.saturating_sub(1),
            ports: input.ports,
            once,
            launcher: choice.launcher.filter(|launcher| launcher.launch == recipe.launch),
            devices: own.len(),
            threads: threads(input.grant, grant.ranks.get(rank as usize).unwrap_or(held)),
            held,
            input,
        };
        let variables = variables_of(&place, &choice, &of_run, own)?;
        let wrapped = (recipe.wrap)(argv.clone(), &place);
        let workdir = spec.workdir.clone();
        Ok(Explained { rank, argv: wrapped.argv, argv_why: wrapped.why, variables, workdir, holds: held.clone() })
    });
    let processes = processes.collect::<Result<Vec<_>, LaunchError>>()?;
    let devices = grant.ranks.iter().map(|rank| devices_of(input, rank.devices.iter())).collect::<Result<_, _>>()?;
    let files = (recipe.files)(&Gang { ranks: spec.ranks, devices });
    // Files of a launcher are of no use where the ranks are started without it.
    let files = files.into_iter().filter(|file| processes.iter().any(|process| names(process, &format!("{}/{}", input.files, file.name))));
    Ok(Explanation { once, files: files.collect(), processes, choice })
}

fn names(process: &Explained, path: &str) -> bool {
    process.argv.iter().any(|word| word == path) || process.variables.iter().any(|variable| variable.value == path)
}

fn variables_of<'a>(place: &Place, choice: &Choice, of_run: &[&'a Device], own: Vec<&'a Device>) -> Result<Vec<Variable>, LaunchError> {
    let (input, recipe) = (place.input, choice.recipe);
    let mut variables = Variables::default();
    base(&mut variables, input, place);
    ours(&mut variables, place);
    (recipe.fill)(&mut variables, place);
    if let (Launch::Auto, 2..) = (input.spec.launch, place.ranks) {
        rendezvous_beside(&mut variables, place, recipe);
    }
    let shown = if place.once || (recipe.sees == Sees::Run && !own.is_empty()) { of_run.to_vec() } else { own };
    share::fill(&mut variables, input, &shown);
    let within = input.only_granted_nodes.then(|| of_run.to_vec());
    visibility::fill(&mut variables, &View { rank: place.rank, shown, machine: input.devices, within })?;
    variables.overlay(&input.spec.env, input.environment)?;
    variables.finish()
}

/// A job that says nothing of its launch may meet by itself, whatever packages it has.
fn rendezvous_beside(variables: &mut Variables, place: &Place, recipe: &Recipe) {
    let taken = match recipe.ports {
        crate::recipe::Ports::None => 0,
        crate::recipe::Ports::One => 1,
        crate::recipe::Ports::EachRank => place.ranks as usize,
    };
    if let (Some(port), false, true) = (place.ports.get(taken), place.once, recipe.launch != Launch::Plain) {
        let why = "for programs that meet by themselves: `launch: auto` takes nothing away that `plain` gives";
        variables.fix("ASHLAR_RENDEZVOUS", format!("{}:{port}", crate::recipe::HOST), why);
    }
}

/// All that the ranks hold, for the one process that starts them.
fn whole_grant(ranks: &[RankGrant]) -> RankGrant {
    let cpus: CpuSet = ranks.iter().flat_map(|rank| rank.cpus.iter()).collect();
    RankGrant { cpus, devices: first_of_each_rank_first(ranks).cloned().collect() }
}

/// What every process on a Linux machine expects, and what keeps Python and its libraries within the grant.
fn base(variables: &mut Variables, input: &LaunchInput, place: &Place) {
    let LaunchInput { identity, environment, .. } = input;
    match environment {
        Some(root) => {
            variables.set("PATH", with_environment_first(root, SYSTEM_PATH), "the job's environment first, then the machine's programs");
            variables.fix("VIRTUAL_ENV", *root, "the job's environment");
        }
        None => variables.set("PATH", SYSTEM_PATH, "the machine's programs"),
    }
    variables.set("HOME", identity.home.as_str(), "of the person who submitted");
    variables.set("USER", identity.user.as_str(), "who submitted");
    variables.set("LOGNAME", identity.user.as_str(), "who submitted");
    variables.set("SHELL", "/bin/sh", "there on every machine");
    variables.set("HOSTNAME", input.hostname, "the machine's name as the ranks see it");
    variables.set("LANG", "C.UTF-8", "text is UTF-8, messages and numbers are the same on every machine");
    variables.set("TMPDIR", input.scratch, "the run's own, gone when it ends");
    variables.set("PYTHONUNBUFFERED", "1", "output is seen when it is printed, and not lost when a rank is killed");
    variables.set("OMP_NUM_THREADS", place.threads.to_string(), "CPUs of this rank; more threads would wait for each other");
}

/// OpenBLAS and MKL follow OMP_NUM_THREADS where their own variables are missing, so it is the only one set.
fn threads(grant: &Grant, held: &RankGrant) -> usize {
    let share = grant.cpu_share.0.div_ceil(1000) as usize;
    share.min(held.cpus.len()).max(1)
}

/// Ashlar's own variables: the same in every recipe.
fn ours(variables: &mut Variables, place: &Place) {
    let (run, spec, held) = (place.run, place.input.spec, place.held);
    variables.fix("ASHLAR_JOB_ID", run.job.to_string(), "this job, or this task of an array");
    variables.fix("ASHLAR_JOB_NAME", spec.name.as_str(), "from the job file");
    variables.fix("ASHLAR_RUN_ID", run.to_string(), "this attempt of the job");
    variables.fix("ASHLAR_ATTEMPT", run.attempt.to_string(), "counted from 1");
    if !place.once {
        variables.fix("ASHLAR_RANK", place.rank.to_string(), "this process among those of the run, from 0");
    }
    variables.fix("ASHLAR_RANKS", spec.ranks.to_string(), "processes of the run");
    let metrics = format!("{}/{METRICS_FILE}", place.input.scratch);
    variables.set(
        "ASHLAR_METRICS",
        metrics,
        "append JSON lines such as {\"step\": 1, \"total\": 9, \"loss\": 0.5}; `ashlar show` reads them",
    );
    let checkpoints = format!("{}/checkpoints/{}", spec.workdir.trim_end_matches('/'), run.job);
    variables.set("ASHLAR_CHECKPOINTS", checkpoints, "the same for every attempt of this job; `ashlar show` lists what is in it");
    if let Some(task) = run.job.task {
        variables.fix("ASHLAR_ARRAY_INDEX", task.to_string(), "this task of the array");
    }
    if !held.devices.is_empty() {
        let ids: Vec<&str> = held.devices.iter().map(|id| id.0.as_str()).collect();
        variables.fix("ASHLAR_DEVICES", ids.join(","), "stable names of this rank's devices; write these to logs, not indices");
    }
}

fn devices_of<'a>(input: &LaunchInput<'a>, ids: impl Iterator<Item = &'a DeviceId>) -> Result<Vec<&'a Device>, LaunchError> {
    let find = |id: &DeviceId| {
        let found = input.devices.iter().find(|device| device.id == *id);
        found.ok_or_else(|| LaunchError::UnknownDevice(id.clone()))
    };
    ids.map(find).collect()
}

/// The devices of a run so that the one at index r is the first of rank r: programs that see all of them take the one
/// at their local rank. What ranks hold beyond their first comes after.
fn first_of_each_rank_first(ranks: &[RankGrant]) -> impl Iterator<Item = &DeviceId> {
    let most = ranks.iter().map(|rank| rank.devices.len()).max().unwrap_or(0);
    (0..most).flat_map(move |nth| ranks.iter().filter_map(move |rank| rank.devices.get(nth)))
}

/// Each rank would start a gang of its own, all of them on one port. With `plain` a launcher is a program like another.
fn refuse_nested_launcher(choice: &Choice) -> Result<(), LaunchError> {
    let Some(launcher) = choice.launcher else { return Ok(()) };
    let recipe = choice.recipe;
    if matches!(recipe.launch, Launch::Plain | Launch::Slurm) || recipe.launch == launcher.launch {
        return Ok(());
    }
    Err(LaunchError::NestedLauncher { command: launcher.name, recipe: recipe.name, own: launcher.launch.name() })
}
