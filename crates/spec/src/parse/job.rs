//! The fields of a job file.

use crate::field_error::{FieldError, Quoted};
use crate::grammar::{mount, resolve};
use crate::parse::devices;
use crate::parse::node::{Kind, Node, Value};
use crate::parse::reader::Reader;
use crate::parse::table::{self, About, Field, Shape};
use crate::words::Word;
use crate::{
    Checkpoint, Environment, Framework, Isolation, IsolationLevel, JobSpec, Latency, Launch, Mount, Network, Notify, NotifyOn, Packages,
    Ranks, Retry, RetryOn, SignalTo, Work, limits, parse_array, parse_bytes, parse_cpus, parse_dependency, parse_mount, parse_ranks,
    parse_signal, parse_span, split_command,
};

/// A job while its file is read.
pub(crate) struct Draft {
    pub spec: JobSpec,
    /// Which of `command` and `script` has been read.
    pub work: Option<&'static str>,
}

pub(crate) fn listing() -> Vec<&'static About> {
    JOB.iter().map(|field| &field.about).collect()
}

macro_rules! listings {
    ($($name:ident = $table:ident),+) => {
        $(fn $name() -> Vec<&'static About> {
            $table.iter().map(|field| &field.about).collect()
        })+
    };
}
listings!(mount_fields = MOUNT, environment_fields = ENVIRONMENT, retry_fields = RETRY, checkpoint_fields = CHECKPOINT);
listings!(isolation_fields = ISOLATION, notify_fields = NOTIFY);

/// The parts of a field that most leave alone.
pub(super) const PLAIN: About =
    About { name: "", shape: Shape::Text, required: false, summary: "", detail: "", default: "", examples: &[], elsewhere: &[] };

pub(crate) static JOB: [Field<Draft>; 24] = [
    Field {
        about: About {
            name: "name",
            summary: "What listings call the job.",
            detail: "One line of text; it need not be unique.",
            default: "the name of the file without its ending",
            examples: &["name: resnet50", "name: 训练 7B"],
            elsewhere: &["job_name", "title", "id"],
            ..PLAIN
        },
        read: |draft, _, node| draft.spec.name = node.text().trim().to_string(),
    },
    Field {
        about: About {
            name: "command",
            shape: Shape::OneOrMany(&Shape::Text),
            summary: "The program and its arguments, run without a shell, once for each rank.",
            detail: "A text is split into words as a shell would split it, and nothing is expanded: `|`, `>`, `&&`, `;`, `$` and wildcards are \
                     errors, because they would reach the program as they are. A list is taken word by word. Either `command` or `script` is needed.",
            examples: &["command: python train.py --epochs 3", "command: [python, train.py, --name, 'two words']"],
            elsewhere: &["cmd", "commands", "run", "exec", "entrypoint", "args"],
            ..PLAIN
        },
        read: read_command,
    },
    Field {
        about: About {
            name: "script",
            shape: Shape::Lines,
            summary: "Shell text, run once for each rank by `/bin/sh -e`, or by the interpreter that its first line names.",
            detail: "Stands in place of `command` where pipes, variables or several steps are needed.",
            examples: &[
                "script: |\n  python prepare.py\n  python train.py > report.txt",
                "script: |\n  #!/bin/bash\n  echo \"rank $ASHLAR_RANK\"",
            ],
            elsewhere: &["bash", "shell", "sh"],
            ..PLAIN
        },
        read: read_script,
    },
    Field {
        about: About {
            name: "ranks",
            shape: Shape::Grammar(&table::RANKS),
            summary: "Processes that start together or not at all: a number, or for elastic jobs a range or a list.",
            detail: "All amounts below (`devices`, `cpus`, `memory`, `shm`) are for each rank. An elastic job starts with as many ranks as there is room \
                     for, and with a `checkpoint` it grows and shrinks while it runs, by restarts. Of a range count 1, 2, 3, 4, 6, 8, 12, 16, 24 ... and \
                     both ends; a list names the sizes, such as those that divide the batch.",
            default: "1",
            examples: &["ranks: 4", "ranks: 2..8", "ranks: 2,4,8"],
            elsewhere: &["ntasks", "tasks", "nodes", "num_nodes", "replicas", "workers", "processes", "world_size", "nproc_per_node"],
            ..PLAIN
        },
        read: |draft, reader, node| reader.read(node, parse_ranks).unwrap_or(Ranks::one(1)).apply(&mut draft.spec),
    },
    Field {
        about: About {
            name: "devices",
            shape: Shape::Either(&[Shape::Grammar(&table::DEVICES), Shape::Mapping(devices::device_fields)]),
            summary: "Accelerators of each rank: `[vendor:][class:][model,model:][memory:][share PART:][count]`.",
            detail: "Each part may be left out, the order stays. Vendors are written as `ashlar machine` shows them; without one, any vendor's device \
                     may be given. Classes are `gpu`, `npu`, `fpga` and `vector`. A model fits a device whose model name contains it as a word. The memory is \
                     the least that the device has, or a range such as `24GB..48GB`. A number in the last place is the count (1 where there is none); \
                     elsewhere it is a model, as in `4090:1`. `share 8GB`, `share 25%` or `share 8GB 25% driver` takes a part of each device: memory, \
                     compute, and how firmly the part must be kept; `0.5` is short for `share 50%`. The same can be written as a mapping.",
            default: "no devices",
            examples: &[
                "devices: 2",
                "devices: 24GB",
                "devices: gpu:2",
                "devices: A100:80GB:2",
                "devices: A100,H100:4",
                "devices: ascend:910B:4",
                "devices: nvidia:24GB..48GB:1",
                "devices: gpu:share 8GB",
                "devices: 0.5",
                "devices: {of: A100, memory: 24GB, compute: 25%, enforced: watched}",
            ],
            elsewhere: &["gpu", "gpus", "accelerator", "accelerators", "resources", "gres", "npus"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.devices = devices::read(reader, node),
    },
    Field {
        about: About {
            name: "cpus",
            shape: Shape::Grammar(&table::CPUS),
            summary: "CPUs of each rank: whole ones, held alone, or a part of one, shared with other small ranks.",
            default: "1",
            examples: &["cpus: 8", "cpus: 0.5"],
            elsewhere: &["cpu", "cores", "cpus_per_task", "vcpus", "ncpus"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.cpus = reader.read(node, parse_cpus).unwrap_or(draft.spec.cpus),
    },
    Field {
        about: About {
            name: "memory",
            shape: Shape::Grammar(&table::SIZE),
            summary: "Host memory of each rank; a rank that uses more is ended as out of memory.",
            default: "the machine's memory in proportion to the CPUs held",
            examples: &["memory: 16GB", "memory: 1.5GiB"],
            elsewhere: &["mem", "ram", "memory_limit", "mem_per_cpu"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.memory = reader.read(node, parse_bytes),
    },
    Field {
        about: About {
            name: "shm",
            shape: Shape::Grammar(&table::SIZE),
            summary: "Size of `/dev/shm`, which data loaders and collectives use; counted in the memory.",
            default: "half of the memory",
            examples: &["shm: 8GB"],
            elsewhere: &["shm_size", "shared_memory", "ipc"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.shm = reader.read(node, parse_bytes),
    },
    Field {
        about: About {
            name: "workdir",
            summary: "Folder the ranks start in.",
            detail: "A relative one is below the folder the job is submitted from.",
            default: "the folder the job is submitted from",
            examples: &["workdir: /home/ann/experiment", "workdir: src"],
            elsewhere: &["working_dir", "cwd", "dir", "directory", "working_directory", "chdir"],
            ..PLAIN
        },
        read: |draft, reader, node| {
            let workdir = reader.workdir;
            draft.spec.workdir = reader.read(node, |text| resolve(text, workdir)).unwrap_or_else(|| workdir.to_string());
        },
    },
    Field {
        about: About {
            name: "env",
            shape: Shape::Either(&[Shape::Variables, Shape::List(&Shape::Text)]),
            summary: "Variables of the ranks, as a mapping or as a list of `KEY=VALUE`.",
            detail: "Values are taken as they are typed. Nothing of the submitting shell's environment is passed on by itself.",
            default: "none beside those of Ashlar and the launch recipe",
            examples: &["env: {OMP_NUM_THREADS: 4, LOG: debug}", "env: [LOG=debug, EMPTY=]"],
            elsewhere: &["environ", "variables", "environment_variables", "vars"],
            ..PLAIN
        },
        read: read_env,
    },
    Field {
        about: About {
            name: "mounts",
            shape: Shape::OneOrMany(&Shape::Either(&[Shape::Grammar(&table::MOUNT), Shape::Mapping(mount_fields)])),
            summary: "Paths of the machine that the ranks see elsewhere: `source:target`, `source:target:ro`, or a mapping.",
            detail: "A relative source is below the folder the job is submitted from. Targets are absolute and outside of `/proc`, `/sys` and `/dev`. \
                     A target exists on the machine already, or is new directly below `/` or anywhere below `/tmp`: no directory is ever made on the machine.",
            default: "none",
            examples: &[
                "mounts: [/data/images:/images:ro, results:/out]",
                "mounts:\n  - {source: '/data/with:colon', target: /images, read_only: true}",
            ],
            elsewhere: &["volumes", "volume", "file_mounts", "binds", "storage"],
            ..PLAIN
        },
        read: read_mounts,
    },
    Field {
        about: About {
            name: "environment",
            shape: Shape::Mapping(environment_fields),
            summary: "The Python environment of the ranks; built once, kept by content, shared by all jobs that ask for the same.",
            detail: "At most one of `packages`, `requirements` and `lock`.",
            default: "the programs of the machine",
            examples: &[
                "environment: {python: 3.12, packages: ['jax>=0.4', scikit-learn]}",
                "environment: {requirements: requirements.txt}",
                "environment:\n  python: 3.12\n  lock: requirements.lock",
            ],
            elsewhere: &["setup", "python", "packages", "requirements", "image", "conda", "dependencies", "pip", "venv"],
            ..PLAIN
        },
        read: read_environment,
    },
    Field {
        about: About {
            name: "launch",
            shape: Shape::Word(Launch::NAMES),
            summary: "Launch recipe: which variables, arguments and files make the ranks members of their framework's gang.",
            detail: "`auto` goes by the launcher that the command begins with, else by the packages of the environment, and is `plain` for a rank alone, and where nothing or several things are found; `ashlar launch explain` says which and why. `plain` sets Ashlar's own variables only, `slurm` those of Slurm's batch scripts; the others are named after what they start.",
            default: "auto",
            examples: &["launch: jax", "launch: mpi", "launch: plain"],
            elsewhere: &["launcher", "recipe", "framework", "distributed", "backend"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.launch = reader.word(node).unwrap_or_default(),
    },
    Field {
        about: About {
            name: "expect",
            shape: Shape::Grammar(&table::SPAN),
            summary: "How long a run will take: what planning goes by, so that short jobs fill the gaps before long ones.",
            default: "the limit, else unknown",
            examples: &["expect: 20m"],
            elsewhere: &["estimate", "duration", "expected", "eta", "time_min"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.expect = reader.read(node, parse_span),
    },
    Field {
        about: About {
            name: "limit",
            shape: Shape::Grammar(&table::SPAN),
            summary: "How long a run may take before it is asked to end.",
            detail: "Then the signal and the grace of `checkpoint` follow, and the kill; exit code 124. To be done by a fixed time, count the grace off the limit.",
            default: "none",
            examples: &["limit: 2h30m", "limit: 1-12:00:00"],
            elsewhere: &["time", "timeout", "max_duration", "walltime", "time_limit", "deadline"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.limit = reader.read(node, parse_span),
    },
    Field {
        about: About {
            name: "priority",
            shape: Shape::Integer(&limits::PRIORITY),
            summary: "Higher ones start first within a queue.",
            default: "0",
            examples: &["priority: 10", "priority: -5"],
            elsewhere: &["nice", "prio"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.priority = reader.integer(node).unwrap_or(0),
    },
    Field {
        about: About {
            name: "queue",
            summary: "Where the job waits; `ashlar queues` lists them.",
            default: "default",
            examples: &["queue: vision"],
            elsewhere: &["partition", "project", "account", "fleet"],
            ..PLAIN
        },
        read: |draft, _, node| draft.spec.queue = Some(node.text().to_string()),
    },
    Field {
        about: About {
            name: "retry",
            shape: Shape::Mapping(retry_fields),
            summary: "Whether and when the job runs again.",
            default: "one attempt; a lost run is not repeated",
            examples: &["retry: {attempts: 3}", "retry: {attempts: 5, on: [lost, error], backoff: 1m}"],
            elsewhere: &["retries", "restart", "requeue", "restart_policy", "max_retries"],
            ..PLAIN
        },
        read: |draft, reader, node| reader.mapping(node, &RETRY, &mut draft.spec.retry),
    },
    Field {
        about: About {
            name: "checkpoint",
            shape: Shape::Mapping(checkpoint_fields),
            summary: "How the job saves its work when it is asked to end: at its `limit`, when it is cancelled, or when another rank failed.",
            detail: "The signal is sent at that moment, to the main process of each rank, and what still runs after the grace is killed; the grace comes on top of the limit. \
                     A `script` is a shell: begin its last command with `exec`, or write `to: all` to signal the programs it runs too. \
                     Ranks that all leave by themselves after the limit, with code 0 or 128 + the signal, count as having saved their work: `retry: {attempts: 9, on: [limit]}` goes on with it.",
            default: "SIGTERM, then 30 seconds",
            examples: &["checkpoint: {signal: USR1, grace: 2m}"],
            elsewhere: &["grace", "signal", "stop_duration", "stop_signal", "stop_grace_period", "termination_grace_period_seconds"],
            ..PLAIN
        },
        read: |draft, reader, node| {
            draft.spec.checkpoint.declared = true;
            reader.mapping(node, &CHECKPOINT, &mut draft.spec.checkpoint);
        },
    },
    Field {
        about: About {
            name: "after",
            shape: Shape::OneOrMany(&Shape::Grammar(&table::DEPENDENCY)),
            summary: "Jobs that must have ended before this one starts.",
            detail: "`17` or `17:ok` is for success, `17:not-ok` for the opposite, `17:any` for either. If the condition can no longer be met, the job is cancelled.",
            default: "none",
            examples: &["after: 17", "after: [17, 18.3:any, '19:not-ok']"],
            elsewhere: &["depends_on", "dependency", "needs", "afterok", "wait_for"],
            ..PLAIN
        },
        read: |draft, reader, node| {
            reader.items(node, &Shape::Grammar(&table::DEPENDENCY), |reader, item| {
                draft.spec.after.extend(reader.read(item, parse_dependency))
            });
        },
    },
    Field {
        about: About {
            name: "array",
            shape: Shape::Grammar(&table::ARRAY),
            summary: "One task for each index, and after `%` how many of them run at once.",
            detail: "Each task is a job such as `17.3`, finds its index in `ASHLAR_ARRAY_INDEX`, and is placed, retried and cancelled by itself.",
            default: "one job, no tasks",
            examples: &["array: 0-99%10", "array: 1,3,5-7"],
            elsewhere: &["tasks_array", "sweep", "matrix", "indices"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.array = reader.read(node, parse_array),
    },
    Field {
        about: About {
            name: "isolation",
            shape: Shape::Mapping(isolation_fields),
            summary: "How strongly the ranks are kept apart from the rest of the machine.",
            default: "as strong as the machine can, with the machine's network",
            examples: &["isolation: {level: container, network: none}"],
            elsewhere: &["network", "sandbox", "security", "privileged", "container"],
            ..PLAIN
        },
        read: |draft, reader, node| reader.mapping(node, &ISOLATION, &mut draft.spec.isolation),
    },
    Field {
        about: About {
            name: "latency",
            shape: Shape::Word(Latency::NAMES),
            summary: "`low`: ranks run again soon after something wakes them (a short slice, no deep sleep of idle cores), at the price of power.",
            default: "ordinary",
            examples: &["low"],
            elsewhere: &["latency_sensitive", "realtime"],
            ..PLAIN
        },
        read: |draft, reader, node| draft.spec.latency = reader.word(node).unwrap_or_default(),
    },
    Field {
        about: About {
            name: "notify",
            shape: Shape::Mapping(notify_fields),
            summary: "A command that the node runs as the submitting person when the job reaches a state.",
            detail: "It finds `ASHLAR_JOB_ID`, `ASHLAR_JOB_NAME`, `ASHLAR_JOB_STATE` and `ASHLAR_EXIT_CODE` set. It may take a minute, 256 MiB and 64 processes; then it ends with all it started.",
            default: "none",
            examples: &["notify: {on: [succeeded, failed], command: [/usr/local/bin/tell-me]}"],
            elsewhere: &["mail", "mail_type", "webhook", "email", "notification", "notifications", "hooks"],
            ..PLAIN
        },
        read: read_notify,
    },
];

static MOUNT: [Field<Mount>; 3] = [
    Field {
        about: About {
            name: "source",
            required: true,
            summary: "Path on the machine.",
            examples: &["/data/images"],
            elsewhere: &["src", "host", "from"],
            ..PLAIN
        },
        read: |mount, _, node| mount.source = node.text().to_string(),
    },
    Field {
        about: About {
            name: "target",
            required: true,
            summary: "Absolute path that the ranks see.",
            examples: &["/images"],
            elsewhere: &["dst", "destination", "path", "to", "mount_path"],
            ..PLAIN
        },
        read: |mount, _, node| mount.target = node.text().to_string(),
    },
    Field {
        about: About {
            name: "read_only",
            shape: Shape::Truth,
            summary: "Whether the ranks may only read it.",
            default: "false",
            examples: &["true"],
            elsewhere: &["ro", "readonly"],
            ..PLAIN
        },
        read: |mount, _, node| mount.read_only = node.text().eq_ignore_ascii_case("true"),
    },
];

#[derive(Default)]
struct EnvironmentDraft {
    name: Option<String>,
    python: Option<String>,
    framework: Option<String>,
    build: Option<(String, crate::problem::Place)>,
    packages: Option<Packages>,
    from: Option<&'static str>,
}

static ENVIRONMENT: [Field<EnvironmentDraft>; 7] = [
    Field {
        about: About {
            name: "name",
            summary: "An environment that `ashlar env create` made; it goes with nothing else here.",
            default: "none",
            examples: &["my-torch"],
            elsewhere: &["use", "env"],
            ..PLAIN
        },
        read: |draft, _, node| draft.name = Some(node.text().trim().to_string()),
    },
    Field {
        about: About {
            name: "framework",
            summary: "A framework, with versions as for pip where they matter; the build of it is chosen for the granted devices, their driver and the processor. `ashlar env why` shows the choice.",
            default: "none",
            examples: &["torch", "jax>=0.5"],
            elsewhere: &["frameworks", "runtime"],
            ..PLAIN
        },
        read: |draft, _, node| draft.framework = Some(node.text().trim().to_string()),
    },
    Field {
        about: About {
            name: "build",
            summary: "Which build of the framework, instead of the one that would be chosen.",
            default: "by the devices",
            examples: &["cu121", "cpu"],
            elsewhere: &["variant", "backend", "torch_backend"],
            ..PLAIN
        },
        read: |draft, _, node| draft.build = Some((node.text().trim().to_string(), node.place)),
    },
    Field {
        about: About {
            name: "python",
            summary: "Version of Python.",
            default: "the machine's `python3`",
            examples: &["3.12"],
            elsewhere: &["python_version", "version"],
            ..PLAIN
        },
        read: |draft, _, node| draft.python = Some(node.text().to_string()),
    },
    Field {
        about: About {
            name: "packages",
            shape: Shape::OneOrMany(&Shape::Text),
            summary: "Packages as for pip, resolved and locked on first use.",
            default: "none",
            examples: &["[jax>=0.4, scikit-learn]"],
            elsewhere: &["pip", "dependencies", "install"],
            ..PLAIN
        },
        read: |draft, reader, node| {
            let mut packages = Vec::new();
            reader.items(node, &Shape::Text, |_, item| packages.push(item.text().trim().to_string()));
            draft.set("packages", reader, node, Packages::Packages(packages));
        },
    },
    Field {
        about: About {
            name: "requirements",
            summary: "A requirements file, read when the job is submitted; resolved and locked on first use.",
            default: "none",
            examples: &["requirements.txt"],
            elsewhere: &["requirement", "requirements_txt"],
            ..PLAIN
        },
        read: |draft, reader, node| {
            if let Some(text) = file(reader, node) {
                draft.set("requirements", reader, node, Packages::Requirements(text));
            }
        },
    },
    Field {
        about: About {
            name: "lock",
            summary: "A requirements file with a hash for every package, as `uv pip compile --generate-hashes` writes it; read when the job is submitted and installed as it is.",
            default: "none",
            examples: &["requirements.lock"],
            elsewhere: &["lockfile", "lock_file"],
            ..PLAIN
        },
        read: |draft, reader, node| {
            if let Some(text) = file(reader, node) {
                draft.set("lock", reader, node, Packages::Lock(text));
            }
        },
    },
];

impl EnvironmentDraft {
    fn set(&mut self, from: &'static str, reader: &mut Reader<'_>, node: &Node, packages: Packages) {
        match self.from {
            Some(other) => {
                let error = FieldError::new(format!("there are both {other} and {from}")).hint("keep one of them");
                reader.wrong(node.place, error);
            }
            None => (self.packages, self.from) = (Some(packages), Some(from)),
        }
    }
}

static RETRY: [Field<Retry>; 3] = [
    Field {
        about: About {
            name: "attempts",
            shape: Shape::Integer(&limits::ATTEMPTS),
            required: true,
            summary: "Runs in all, the first included.",
            examples: &["3"],
            elsewhere: &["max", "count", "times", "max_attempts", "limit"],
            ..PLAIN
        },
        read: |retry, reader, node| retry.attempts = reader.integer(node).unwrap_or(1),
    },
    Field {
        about: About {
            name: "on",
            shape: Shape::OneOrMany(&Shape::Word(RetryOn::NAMES)),
            summary: "After which ends: `error` (own exit code or signal), `out-of-memory`, `limit`, `lost` (machine or supervisor went away), `start` (could not be started, for a reason that may pass), `missing` (the program, folder or mount that the job names is not there).",
            default: "lost",
            examples: &["[lost, error]"],
            elsewhere: &["on_events", "conditions", "when"],
            ..PLAIN
        },
        read: |retry, reader, node| {
            retry.on.clear();
            reader.items(node, &Shape::Word(RetryOn::NAMES), |reader, item| retry.on.extend(reader.word::<RetryOn>(item)));
        },
    },
    Field {
        about: About {
            name: "backoff",
            shape: Shape::Grammar(&table::SPAN),
            summary: "Wait before the second run; doubles for each further one up to an hour.",
            default: "10s",
            examples: &["1m"],
            elsewhere: &["delay", "wait", "interval"],
            ..PLAIN
        },
        read: |retry, reader, node| retry.backoff = reader.read(node, parse_span).unwrap_or(retry.backoff),
    },
];

static CHECKPOINT: [Field<Checkpoint>; 3] = [
    Field {
        about: About {
            name: "signal",
            shape: Shape::Grammar(&table::SIGNAL),
            summary: "Signal that asks the ranks to save their work and end.",
            default: "TERM",
            examples: &["USR1"],
            ..PLAIN
        },
        read: |checkpoint, reader, node| checkpoint.signal = reader.read(node, parse_signal).unwrap_or(checkpoint.signal),
    },
    Field {
        about: About {
            name: "grace",
            shape: Shape::Grammar(&table::SPAN),
            summary: "Time between the signal and the kill.",
            default: "30s",
            examples: &["2m"],
            elsewhere: &["timeout", "wait", "period", "duration"],
            ..PLAIN
        },
        read: |checkpoint, reader, node| checkpoint.grace = reader.read(node, parse_span).unwrap_or(checkpoint.grace),
    },
    Field {
        about: About {
            name: "to",
            shape: Shape::Word(SignalTo::NAMES),
            summary: "`main` signals the process that each rank was started as, `all` its whole process group.",
            default: "main",
            examples: &["all"],
            elsewhere: &["who", "target", "receiver"],
            ..PLAIN
        },
        read: |checkpoint, reader, node| checkpoint.to = reader.word(node).unwrap_or_default(),
    },
];

static ISOLATION: [Field<Isolation>; 2] = [
    Field {
        about: About {
            name: "level",
            shape: Shape::Word(IsolationLevel::NAMES),
            summary: "The least that must be enforced; a machine that cannot refuses the job with the reason.",
            default: "whatever the machine can",
            examples: &["container"],
            elsewhere: &["mode", "minimum", "kind"],
            ..PLAIN
        },
        read: |isolation, reader, node| isolation.level = reader.word(node),
    },
    Field {
        about: About {
            name: "network",
            shape: Shape::Word(Network::NAMES),
            summary: "`host` is the machine's network, `none` has nothing but loopback.",
            default: "host",
            examples: &["none"],
            elsewhere: &["net"],
            ..PLAIN
        },
        read: |isolation, reader, node| isolation.network = reader.word(node).unwrap_or_default(),
    },
];

static NOTIFY: [Field<Notify>; 2] = [
    Field {
        about: About {
            name: "on",
            shape: Shape::OneOrMany(&Shape::Word(NotifyOn::NAMES)),
            required: true,
            summary: "States to notify of.",
            examples: &["[succeeded, failed]"],
            elsewhere: &["when", "states", "events"],
            ..PLAIN
        },
        read: |notify, reader, node| {
            reader.items(node, &Shape::Word(NotifyOn::NAMES), |reader, item| notify.on.extend(reader.word::<NotifyOn>(item)));
        },
    },
    Field {
        about: About {
            name: "command",
            shape: Shape::OneOrMany(&Shape::Text),
            required: true,
            summary: "The program and its arguments, written as the job's `command` is.",
            examples: &["[/usr/local/bin/tell-me]"],
            elsewhere: &["run", "exec", "cmd", "script"],
            ..PLAIN
        },
        read: |notify, reader, node| notify.command = argv(reader, node).unwrap_or_default(),
    },
];

/// A program and its arguments, from a text or a list.
fn argv(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<String>> {
    if node.kind() != Kind::List {
        return reader.read(node, split_command);
    }
    let mut words = Vec::new();
    reader.items(node, &Shape::Text, |_, item| words.push(item.text().to_string()));
    Some(words)
}

impl Draft {
    fn set_work(&mut self, name: &'static str, reader: &mut Reader<'_>, node: &Node, work: Option<Work>) {
        if self.work.is_some() {
            let error = FieldError::new("there are both command and script").hint("keep one of them");
            return reader.wrong(node.place, error);
        }
        self.work = Some(name);
        if let Some(work) = work {
            self.spec.work = work;
        }
    }
}

fn read_command(draft: &mut Draft, reader: &mut Reader<'_>, node: &Node) {
    let words = argv(reader, node);
    draft.set_work("command", reader, node, words.map(Work::Command));
}

fn read_script(draft: &mut Draft, reader: &mut Reader<'_>, node: &Node) {
    draft.set_work("script", reader, node, Some(Work::Script(node.text().to_string())));
}

fn read_env(draft: &mut Draft, reader: &mut Reader<'_>, node: &Node) {
    let env = &mut draft.spec.env;
    if let Value::Map(_) = node.value {
        return reader.variables(node, |_, key, value| drop(env.insert(key.to_string(), value.text().to_string())));
    }
    reader.items(node, &Shape::Text, |reader, item| {
        let text = item.text();
        let Some((key, value)) = text.split_once('=') else {
            let error = FieldError::new(format!("the variable {} has no value", Quoted(text))).hint(format!("write {text}=value"));
            return reader.wrong(item.place, error);
        };
        if let Err(error) = crate::rules::check_variable(key, value) {
            return reader.wrong(item.place, error);
        }
        if env.insert(key.to_string(), value.to_string()).is_some() {
            reader.wrong(item.place, FieldError::new(format!("the variable {} is set twice", Quoted(key))).hint("set it once"));
        }
    });
}

fn read_mounts(draft: &mut Draft, reader: &mut Reader<'_>, node: &Node) {
    static SHAPE: Shape = Shape::Either(&[Shape::Grammar(&table::MOUNT), Shape::Mapping(mount_fields)]);
    let workdir = reader.workdir;
    let mounts = &mut draft.spec.mounts;
    reader.items(node, &SHAPE, |reader, item| {
        if item.kind() != Kind::Map {
            mounts.extend(reader.read(item, |text| parse_mount(text, workdir)));
            return;
        }
        let mut parts = Mount { source: String::new(), target: String::new(), read_only: false };
        reader.mapping(item, &MOUNT, &mut parts);
        if parts.source.is_empty() || parts.target.is_empty() {
            return;
        }
        match mount(&parts.source, &parts.target, parts.read_only, workdir) {
            Ok(mount) => mounts.push(mount),
            Err(error) => reader.wrong(item.place, error),
        }
    });
}

fn read_environment(draft: &mut Draft, reader: &mut Reader<'_>, node: &Node) {
    let mut read = EnvironmentDraft::default();
    reader.mapping(node, &ENVIRONMENT, &mut read);
    if matches!(&node.value, Value::Map(pairs) if pairs.is_empty()) {
        let error = FieldError::new("the environment asks for nothing")
            .hint("write name:, framework:, packages:, requirements: or lock:, or leave it out");
        return reader.wrong(node.place, error);
    }
    if let (None, Some((_, place))) = (&read.framework, &read.build) {
        let error = FieldError::new("a build is named, but no framework").hint("write framework: too, as `framework: torch`");
        return reader.wrong(*place, error);
    }
    let build = read.build.map(|(build, _)| build);
    let framework = read.framework.map(|name| Framework { name, build });
    draft.spec.environment =
        Some(Environment { name: read.name, python: read.python, framework, packages: read.packages.unwrap_or_default() });
}

fn read_notify(draft: &mut Draft, reader: &mut Reader<'_>, node: &Node) {
    let mut notify = Notify { on: Vec::new(), command: Vec::new() };
    reader.mapping(node, &NOTIFY, &mut notify);
    draft.spec.notify = Some(notify);
}

/// The text of a file that the job file names.
fn file(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let (workdir, read) = (reader.workdir, reader.file);
    reader.read(node, |name| {
        let path = resolve(name, workdir)?;
        read(&path).map_err(|why| {
            FieldError::new(format!("cannot read {}: {}", Quoted(&path), why))
                .hint("relative names are below the folder the job is submitted from")
        })
    })
}
