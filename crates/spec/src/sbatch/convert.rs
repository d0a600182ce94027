//! From the options of a batch script to a job.

use super::options::{Given, Meaning, Wrong};
use super::{Sbatch, SbatchContext, values};
use crate::field_error::{FieldError, Quoted};
use crate::grammar::{parse_array, resolve};
use crate::problem::Place;
use crate::rules::{check_label, check_variable, violations};
use crate::{Array, Checkpoint, JobSpec, Launch, Retry, RetryOn, Signal, SignalTo, Span, Work, limits};
use machine::{Bytes, CpuShare};
use std::collections::BTreeMap;

/// What the options ask for. The last one of a kind counts, as with Slurm.
#[derive(Default)]
struct Wishes {
    name: Option<String>,
    nodes: Option<u32>,
    tasks: Option<u32>,
    tasks_per_node: Option<u32>,
    tasks_per_gpu: Option<u32>,
    cpus_per_task: Option<u32>,
    cpus_per_gpu: Option<u32>,
    gpus: Option<Devices>,
    memory: Option<Memory>,
    limit: Option<Span>,
    queue: Option<String>,
    account: Option<String>,
    qos: Option<String>,
    array: Option<Array>,
    after: Vec<crate::Dependency>,
    output: Option<String>,
    error: Option<String>,
    input: Option<String>,
    append: bool,
    folder: Option<String>,
    export: Option<String>,
    requeue: bool,
    signal: Option<(Signal, SignalTo, Span)>,
    priority: i32,
    wrap: Option<String>,
}

/// A number of devices, as it was counted.
struct Devices {
    per: Per,
    model: Option<String>,
    count: u32,
}

enum Per {
    Job,
    Node,
    Task,
}

/// An amount for each of something.
enum Memory {
    Node(Option<Bytes>),
    Cpu(Option<Bytes>),
    Device(Option<Bytes>),
}

pub(super) fn convert(given: &[Given], script: Option<&str>, arguments: &[String], context: &SbatchContext) -> Result<Sbatch, Vec<Wrong>> {
    let mut wrong = vec![];
    let mut wishes = Wishes::default();
    let mut found = Sbatch {
        spec: JobSpec::command_job("sbatch", vec![], context.workdir.clone()),
        warnings: vec![],
        parsable: false,
        quiet: false,
        wait: false,
        test_only: false,
    };
    for option in given {
        if let Err(error) = take(option, &mut wishes, &mut found) {
            wrong.push((option.place, option.name.clone(), error));
        }
    }
    if wrong.is_empty() {
        let last = given.last().map_or(Place { line: 1, column: 1, width: 1 }, |option| option.place);
        let mut at = |name: &str, error: FieldError| {
            let place = given.iter().rev().find(|option| option.name == name).map_or(last, |option| option.place);
            wrong.push((place, name.to_owned(), error));
        };
        job(&wishes, script, arguments, context, &mut found, &mut at);
        for violation in violations(&found.spec) {
            at(option_of(&violation.path), violation.error);
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// The option that a field of the job follows from.
fn option_of(field: &str) -> &'static str {
    match field.split(['.', '[']).next().unwrap_or("") {
        "name" => "--job-name",
        "cpus" => "--cpus-per-task",
        "memory" => "--mem",
        "devices" => "--gpus",
        "workdir" => "--chdir",
        "limit" | "checkpoint" | "expect" => "--time",
        "queue" => "--partition",
        "array" => "--array",
        "after" => "--dependency",
        "env" => "--export",
        _ => "",
    }
}

fn take(option: &Given, wishes: &mut Wishes, found: &mut Sbatch) -> Result<(), FieldError> {
    let value = option.value.as_str();
    let text = || Some(value.to_owned());
    match option.meaning {
        Meaning::Account => wishes.account = text(),
        Meaning::Array => wishes.array = Some(array(value)?),
        Meaning::Begin if value == "now" => {}
        Meaning::Begin => {
            return Err(FieldError::new("a job cannot be kept until a date")
                .hint("submit it then, for example by at(1), or behind another job with --dependency"));
        }
        Meaning::Chdir => wishes.folder = text(),
        Meaning::CpusPerGpu => wishes.cpus_per_gpu = Some(values::count(value)?),
        Meaning::CpusPerTask => wishes.cpus_per_task = Some(values::count(value)?),
        Meaning::Dependency => wishes.after = values::dependencies(value)?,
        Meaning::Error => wishes.error = text(),
        Meaning::Export => wishes.export = text(),
        Meaning::Gpus => wishes.gpus = devices(Per::Job, value, false)?,
        Meaning::GpusPerNode => wishes.gpus = devices(Per::Node, value, false)?,
        Meaning::GpusPerTask => wishes.gpus = devices(Per::Task, value, false)?,
        Meaning::Gres => wishes.gpus = devices(Per::Node, value, true)?,
        Meaning::Input => wishes.input = text(),
        Meaning::JobName => wishes.name = text(),
        Meaning::Mem => wishes.memory = Some(Memory::Node(values::memory(value)?)),
        Meaning::MemPerCpu => wishes.memory = Some(Memory::Cpu(values::memory(value)?)),
        Meaning::MemPerGpu => wishes.memory = Some(Memory::Device(values::memory(value)?)),
        Meaning::Nice => wishes.priority = priority(value)?,
        Meaning::NoRequeue => wishes.requeue = false,
        Meaning::Nodes => wishes.nodes = Some(values::nodes(value)?),
        Meaning::OpenMode => wishes.append = open_mode(value)?,
        Meaning::Output => wishes.output = text(),
        Meaning::Parsable => found.parsable = true,
        Meaning::Partition => wishes.queue = text(),
        Meaning::Qos => wishes.qos = text(),
        Meaning::Quiet => found.quiet = true,
        Meaning::Requeue => wishes.requeue = true,
        Meaning::Signal => wishes.signal = Some(values::signal(value)?),
        Meaning::Tasks => wishes.tasks = Some(values::count(value)?),
        Meaning::TasksPerGpu => wishes.tasks_per_gpu = Some(values::count(value)?),
        Meaning::TasksPerNode => wishes.tasks_per_node = Some(values::count(value)?),
        Meaning::TestOnly => found.test_only = true,
        Meaning::Time => wishes.limit = values::time(value)?,
        Meaning::Wait => found.wait = true,
        Meaning::Wrap => wishes.wrap = text(),
        // Only srun has them.
        Meaning::KillOnBadExit | Meaning::Label => {}
        Meaning::Idle(_) => {}
        Meaning::Unkept(why) => warn(found, &option.name, why),
        Meaning::Refused(why) => return Err(FieldError::new(format!("{} cannot be kept", option.name)).hint(why)),
    }
    Ok(())
}

fn warn(found: &mut Sbatch, name: &str, why: &str) {
    let text = format!("{name}: {why}");
    if !found.warnings.contains(&text) {
        found.warnings.push(text);
    }
}

fn devices(per: Per, value: &str, is_gres: bool) -> Result<Option<Devices>, FieldError> {
    Ok(values::devices(value, is_gres)?.map(|(model, count)| Devices { per, model, count }))
}

/// Niceness is counted the other way round: 0 to 2147483645, and less for root.
fn priority(value: &str) -> Result<i32, FieldError> {
    let nice = if value.is_empty() { Some(100) } else { value.parse::<i64>().ok() };
    let nice = nice.ok_or_else(|| FieldError::new(format!("{} is no number", Quoted(value))))?;
    Ok(i32::try_from((-nice).clamp(*limits::PRIORITY.start(), *limits::PRIORITY.end())).unwrap_or(0))
}

fn open_mode(value: &str) -> Result<bool, FieldError> {
    match value {
        "append" | "a" => Ok(true),
        "truncate" | "t" => Ok(false),
        other => Err(FieldError::new(format!("{} is no way to open a file", Quoted(other))).hint("write append or truncate")),
    }
}

/// `0-15:4` is every fourth index.
fn array(text: &str) -> Result<Array, FieldError> {
    let (list, at_once) = text.split_once('%').map_or((text, String::new()), |(list, most)| (list, format!("%{most}")));
    let mut pieces = vec![];
    for piece in list.split(',') {
        let Some((range, step)) = piece.split_once(':') else {
            pieces.push(piece.to_owned());
            continue;
        };
        let wrong = || FieldError::new(format!("{} is no range of indices", Quoted(piece))).hint("write it such as 0-15:4");
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
        let (low, high) = range.split_once('-').ok_or_else(wrong)?;
        let (low, high, step) = (number(low)?, number(high)?, number(step)?);
        if step == 0 || low > high || u64::from((high - low) / step) >= limits::ARRAY_TASKS {
            return Err(wrong());
        }
        pieces.extend((low..=high).step_by(step as usize).map(|index| index.to_string()));
    }
    parse_array(&format!("{}{at_once}", pieces.join(",")))
}

/// Everything together. What does not fit together is told by `at`, with the name of the option.
fn job(
    wishes: &Wishes,
    script: Option<&str>,
    arguments: &[String],
    context: &SbatchContext,
    found: &mut Sbatch,
    at: &mut impl FnMut(&str, FieldError),
) {
    let nodes = wishes.nodes.unwrap_or(1);
    if nodes > 1 {
        warn(found, "--nodes", &format!("there is one machine, which gets all that is asked of {nodes}"));
    }
    let given_tasks = wishes.tasks.or(wishes.tasks_per_node.map(|tasks| tasks.saturating_mul(nodes)));
    let gpus = |tasks: u32| {
        wishes.gpus.as_ref().map_or(0, |devices| {
            devices.count.saturating_mul(match devices.per {
                Per::Job => 1,
                Per::Node => nodes,
                Per::Task => tasks,
            })
        })
    };
    let tasks = given_tasks.or(wishes.tasks_per_gpu.map(|tasks| tasks.saturating_mul(gpus(1)).max(1))).unwrap_or(nodes);
    let gpus = gpus(tasks);
    let cpus = match (wishes.cpus_per_task, wishes.cpus_per_gpu) {
        (None, Some(each)) => each.saturating_mul(gpus.max(1)),
        (each, _) => tasks.saturating_mul(each.unwrap_or(1)),
    };
    if cpus > 1_000_000 {
        return at("--cpus-per-task", FieldError::new(format!("{cpus} CPUs are more than any machine has")));
    }
    if matches!(wishes.memory, Some(Memory::Node(None))) {
        warn(found, "--mem", "0 is all memory for Slurm; this job gets as much as its share of the CPUs");
    }
    if matches!(wishes.memory, Some(Memory::Device(_))) && gpus == 0 {
        return at(
            "--mem-per-gpu",
            FieldError::new("memory is asked for per device, and no device is").hint("ask for devices with --gpus, or use --mem"),
        );
    }
    if gpus > 0 {
        match values::request(wishes.gpus.as_ref().and_then(|devices| devices.model.as_deref()), gpus) {
            Ok(request) => found.spec.devices = Some(request),
            Err(error) => return at("--gpus", error),
        }
    }
    found.spec.cpus = CpuShare::whole(cpus);
    found.spec.memory = memory(wishes, nodes, cpus, gpus);
    found.spec.launch = Launch::Slurm;
    found.spec.array = wishes.array.clone();
    found.spec.after = wishes.after.clone();
    found.spec.priority = wishes.priority;
    if wishes.requeue {
        found.spec.retry = Retry { attempts: 3, on: vec![RetryOn::Lost], ..Retry::default() };
    }
    queue(wishes, found, at);
    times(wishes, found);
    match wishes.folder.as_deref().map(|folder| resolve(folder, &context.workdir)) {
        Some(Ok(folder)) => found.spec.workdir = folder,
        Some(Err(error)) => at("--chdir", error),
        None => {}
    }
    name(wishes, script, context, found);
    found.spec.env = variables(wishes, (tasks, nodes, cpus), context);
    match command(wishes, script, arguments, context, &found.spec) {
        Ok(words) => found.spec.work = Work::Command(words),
        Err((name, error)) => at(name, error),
    }
}

/// Of the whole job.
fn memory(wishes: &Wishes, nodes: u32, cpus: u32, gpus: u32) -> Option<Bytes> {
    let (each, count) = match wishes.memory.as_ref()? {
        Memory::Node(each) => (each, nodes),
        Memory::Cpu(each) => (each, cpus),
        Memory::Device(each) => (each, gpus),
    };
    each.map(|each| Bytes(each.0.saturating_mul(u64::from(count))))
}

fn queue(wishes: &Wishes, found: &mut Sbatch, at: &mut impl FnMut(&str, FieldError)) {
    if let Some(list) = &wishes.queue {
        let first = list.split(',').next().unwrap_or("").trim();
        if first != list {
            warn(found, "--partition", &format!("of several, the first is taken: {first}"));
        }
        match check_label("partition", first) {
            Ok(()) => found.spec.queue = Some(first.to_owned()),
            Err(error) => at("--partition", error),
        }
    }
    if wishes.account.is_some() {
        warn(found, "--account", "use is counted by queue");
    }
    if wishes.qos.is_some() {
        warn(found, "--qos", "there are queues and --nice instead");
    }
}

/// Slurm counts the notice into the limit; here the grace comes on top.
fn times(wishes: &Wishes, found: &mut Sbatch) {
    let spec = &mut found.spec;
    spec.limit = wishes.limit;
    spec.checkpoint = Checkpoint { to: SignalTo::All, ..Checkpoint::default() };
    if let Some((signal, to, before)) = wishes.signal {
        let before = wishes.limit.map_or(before, |limit| Span(before.0.min(limit.0.saturating_sub(1000))));
        spec.checkpoint = Checkpoint { signal, grace: before, to, declared: true };
        spec.limit = wishes.limit.map(|limit| Span((limit.0 - before.0).max(1000)));
    }
}

fn name(wishes: &Wishes, script: Option<&str>, context: &SbatchContext, found: &mut Sbatch) {
    let file = context.file.rsplit('/').next().unwrap_or("").trim();
    let default = if wishes.wrap.is_some() && script.is_none() { "wrap" } else { file };
    let name = wishes.name.as_deref().map(str::trim).filter(|name| !name.is_empty()).unwrap_or(default);
    found.spec.name = if name.is_empty() { "sbatch".into() } else { name.to_owned() };
}

/// Of the submitting shell, what is about that shell and its terminal and not about the work.
const OF_THE_SHELL: &[&str] = &[
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "HOSTNAME",
    "LS_COLORS",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "TERM_PROGRAM",
    "TMPDIR",
    "TMUX",
    "WINDOWID",
    "XAUTHORITY",
    "_",
];
const OF_THE_SHELL_BEGIN: &[&str] = &["ASHLAR_", "SBATCH_", "SLURM_", "SLURMD_", "SSH_", "SUDO_", "XDG_"];

fn variables(wishes: &Wishes, (tasks, nodes, cpus): (u32, u32, u32), context: &SbatchContext) -> BTreeMap<String, String> {
    let belongs = |name: &str| !OF_THE_SHELL.contains(&name) && !OF_THE_SHELL_BEGIN.iter().any(|begin| name.starts_with(begin));
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    let export = wishes.export.as_deref().unwrap_or("ALL");
    for part in export.split(',').map(str::trim) {
        match part.split_once('=') {
            Some((name, value)) => drop(env.insert(name.to_owned(), value.to_owned())),
            None if part.eq_ignore_ascii_case("ALL") => {
                let all = context.variables.iter().filter(|(name, value)| belongs(name) && check_variable(name, value).is_ok());
                for (name, value) in all {
                    env.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
            None if ["NONE", "NIL"].iter().any(|word| part.eq_ignore_ascii_case(word)) => {}
            None => {
                if let Some(value) = context.variables.get(part) {
                    env.insert(part.to_owned(), value.clone());
                }
            }
        }
    }
    let mut tell = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    tell("SLURM_NTASKS", tasks.to_string());
    tell("SLURM_NPROCS", tasks.to_string());
    tell("SLURM_TASKS_PER_NODE", tasks.to_string());
    tell("SLURM_SUBMIT_DIR", context.workdir.clone());
    tell("SLURM_SUBMIT_HOST", context.hostname.clone());
    if let Some(each) = wishes.tasks_per_node {
        tell("SLURM_NTASKS_PER_NODE", each.saturating_mul(nodes).to_string());
    }
    if let Some(cpus) = wishes.cpus_per_task {
        tell("SLURM_CPUS_PER_TASK", cpus.to_string());
    }
    if let Some(Devices { per: Per::Task, count, .. }) = &wishes.gpus {
        tell("SLURM_GPUS_PER_TASK", count.to_string());
    }
    if let Some(account) = &wishes.account {
        tell("SLURM_JOB_ACCOUNT", account.clone());
    }
    if let Some(qos) = &wishes.qos {
        tell("SLURM_JOB_QOS", qos.clone());
    }
    // Slurm leaves it alone, and each task would start a thread for every CPU of the job.
    env.entry("OMP_NUM_THREADS".into()).or_insert_with(|| (cpus / tasks.max(1)).max(1).to_string());
    env
}

/// A shell that opens the files, puts the script where Slurm would and becomes it.
fn command(
    wishes: &Wishes,
    script: Option<&str>,
    arguments: &[String],
    context: &SbatchContext,
    spec: &JobSpec,
) -> Result<Vec<String>, (&'static str, FieldError)> {
    let text = match (script, &wishes.wrap) {
        (Some(text), _) => text.to_owned(),
        (None, Some(command)) => format!("#!/bin/sh\n{command}\n"),
        (None, None) => return Err(("", FieldError::new("there is no script").hint("name one, or use --wrap"))),
    };
    let file = |pattern: &str| values::file_name(pattern, &spec.workdir, &spec.name, &context.user);
    let default = if spec.array.is_some() { "slurm-%A_%a.out" } else { "slurm-%j.out" };
    let output = wishes.output.as_deref().unwrap_or(default);
    let out = file(output).map_err(|error| ("--output", error))?;
    let into = if wishes.append { ">>" } else { ">" };
    let err = match wishes.error.as_deref().filter(|error| *error != output) {
        Some(error) => format!("{into}{}", file(error).map_err(|error| ("--error", error))?),
        None => "&1".to_owned(),
    };
    let err = if err == "&1" { "2>&1".to_owned() } else { format!("2{err}") };
    let input = wishes.input.as_deref().map_or(Ok("/dev/null".to_owned()), file).map_err(|error| ("--input", error))?;
    let program = values::quoted(&context.program);
    let prelude = format!(
        "echo output: {out}\n\
         exec <{input} {into}{out} {err} || exit\n\
         mkdir -p \"$TMPDIR/slurm\" && ln -sf {program} \"$TMPDIR/slurm/srun\"\n\
         export PATH=\"$TMPDIR/slurm:$PATH\"\n\
         script=$TMPDIR/slurm/slurm_script\n\
         printf %s \"$1\" >\"$script\" && chmod 700 \"$script\" || exit\n\
         shift\n\
         exec \"$script\" \"$@\"\n"
    );
    let mut words = vec!["/bin/sh".to_owned(), "-c".to_owned(), prelude, "sbatch".to_owned(), text];
    words.extend_from_slice(arguments);
    Ok(words)
}
