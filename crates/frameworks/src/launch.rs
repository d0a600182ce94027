//! One argument vector and one set of variables for each rank.

use crate::recipe::{Place, Recipe, Sees};
use crate::variables::{Variable, Variables, with_environment_first};
use crate::visibility::{self, View};
use crate::work::{arguments, base_name};
use crate::{LaunchError, recipe};
use machine::{Device, Grant, RankGrant};
use spec::{Identity, JobSpec, RunId, Work};

/// Where programs are looked for after the environment's own.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
    /// First port of the grant's lease that was found free.
    pub port: Option<u16>,
    /// Path of the built virtual environment, as the ranks see it.
    pub environment: Option<&'a str>,
    /// Directory of the run that its ranks may write, as they see it, such as `/tmp`.
    pub scratch: &'a str,
    pub identity: &'a Identity,
}

/// One rank, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub rank: u32,
    /// The first one is a path, or a name to look up in the PATH of `env`.
    pub argv: Vec<String>,
    /// The whole environment, sorted by name.
    pub env: Vec<(String, String)>,
    pub workdir: String,
}

/// A [`Process`] with the reason for each variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub rank: u32,
    pub argv: Vec<String>,
    /// Sorted by name.
    pub variables: Vec<Variable>,
    pub workdir: String,
}

/// The processes of a run, in rank order.
///
/// # Errors
/// When the job cannot run this way on any machine, or the grant does not fit the job; see [`LaunchError`].
pub fn launch(input: &LaunchInput) -> Result<Vec<Process>, LaunchError> {
    let bare = |Explained { rank, argv, variables, workdir }| Process {
        rank,
        argv,
        env: variables.into_iter().map(|Variable { name, value, .. }| (name, value)).collect(),
        workdir,
    };
    Ok(explain(input)?.into_iter().map(bare).collect())
}

/// [`launch`], with the reason for each variable.
///
/// # Errors
/// The same as [`launch`].
pub fn explain(input: &LaunchInput) -> Result<Vec<Explained>, LaunchError> {
    let LaunchInput { spec, grant, .. } = input;
    if grant.ranks.len() != spec.ranks as usize {
        return Err(LaunchError::RanksDiffer { asked: spec.ranks, granted: grant.ranks.len() });
    }
    let recipe = Recipe::of(spec.launch);
    refuse_nested_launcher(&spec.work, recipe)?;
    if input.port.is_none() && recipe.gang_needs_port && spec.ranks > 1 {
        return Err(LaunchError::NoPort { recipe: recipe.name });
    }
    let argv = arguments(&spec.work, &spec.name)?;
    let of_run = devices_of(input, first_of_each_rank_first(&grant.ranks))?;
    let ranks = (0..).zip(&grant.ranks).map(|(rank, held)| {
        let mut variables = Variables::default();
        base(&mut variables, input, held);
        ours(&mut variables, input, rank, held);
        let own = devices_of(input, held.devices.iter())?;
        let place = Place {
            rank,
            ranks: spec.ranks,
            run: input.run,
            retries: spec.retry.attempts.saturating_sub(1),
            port: input.port,
            devices: own.len(),
            held,
            input,
        };
        (recipe.fill)(&mut variables, &place);
        let shown = if recipe.sees == Sees::Run && !own.is_empty() { of_run.clone() } else { own };
        let within = input.only_granted_nodes.then(|| of_run.clone());
        visibility::fill(&mut variables, &View { rank, shown, machine: input.devices, within })?;
        variables.overlay(&spec.env, input.environment)?;
        Ok(Explained { rank, argv: argv.clone(), variables: variables.finish()?, workdir: spec.workdir.clone() })
    });
    ranks.collect()
}

/// What every process on a Linux machine expects, and what keeps Python and its libraries within the grant.
fn base(variables: &mut Variables, input: &LaunchInput, held: &RankGrant) {
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
    variables.set("OMP_NUM_THREADS", threads(input.grant, held).to_string(), "CPUs of this rank; more threads would wait for each other");
}

/// OpenBLAS and MKL follow OMP_NUM_THREADS where their own variables are missing, so it is the only one set.
fn threads(grant: &Grant, held: &RankGrant) -> usize {
    let share = grant.cpu_share.0.div_ceil(1000) as usize;
    share.min(held.cpus.len()).max(1)
}

/// Ashlar's own variables: the same in every recipe.
fn ours(variables: &mut Variables, input: &LaunchInput, rank: u32, held: &RankGrant) {
    let (run, spec) = (input.run, input.spec);
    variables.fix("ASHLAR_JOB_ID", run.job.to_string(), "this job, or this task of an array");
    variables.fix("ASHLAR_JOB_NAME", spec.name.as_str(), "from the job file");
    variables.fix("ASHLAR_RUN_ID", run.to_string(), "this attempt of the job");
    variables.fix("ASHLAR_ATTEMPT", run.attempt.to_string(), "counted from 1");
    variables.fix("ASHLAR_RANK", rank.to_string(), "this process among those of the run, from 0");
    variables.fix("ASHLAR_RANKS", spec.ranks.to_string(), "processes of the run");
    if let Some(task) = run.job.task {
        variables.fix("ASHLAR_ARRAY_INDEX", task.to_string(), "this task of the array");
    }
    if !held.devices.is_empty() {
        let ids: Vec<&str> = held.devices.iter().map(|id| id.0.as_str()).collect();
        variables.fix("ASHLAR_DEVICES", ids.join(","), "stable names of this rank's devices; write these to logs, not indices");
    }
}

fn devices_of<'a>(input: &LaunchInput<'a>, ids: impl Iterator<Item = &'a machine::DeviceId>) -> Result<Vec<&'a Device>, LaunchError> {
    let find = |id: &machine::DeviceId| {
        let found = input.devices.iter().find(|device| device.id == *id);
        found.ok_or_else(|| LaunchError::UnknownDevice(id.clone()))
    };
    ids.map(find).collect()
}

/// The devices of a run so that the one at index r is the first of rank r: programs that see all of them take the one
/// at their local rank. What ranks hold beyond their first comes after.
fn first_of_each_rank_first(ranks: &[RankGrant]) -> impl Iterator<Item = &machine::DeviceId> {
    let most = ranks.iter().map(|rank| rank.devices.len()).max().unwrap_or(0);
    (0..most).flat_map(move |nth| ranks.iter().filter_map(move |rank| rank.devices.get(nth)))
}

/// Each rank of the torchrun recipe would start a gang of its own, all of them on one port.
fn refuse_nested_launcher(work: &Work, recipe: &'static recipe::Recipe) -> Result<(), LaunchError> {
    let (Work::Command(argv), spec::Launch::Torchrun) = (work, recipe.launch) else { return Ok(()) };
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let command = match words.as_slice() {
        [program, ..] if matches!(base_name(program), "torchrun" | "deepspeed") => base_name(program).to_string(),
        [_, "-m", module @ ("torch.distributed.run" | "torch.distributed.launch"), ..] => format!("python -m {module}"),
        _ => return Ok(()),
    };
    Err(LaunchError::NestedLauncher { command, recipe: recipe.name })
}
