//! `ashlar up`: wires the daemon together and keeps it until it is told to stop.

use crate::arguments::{DEFAULT_ADMIN_GROUP, OverShare, Up};
use crate::device_watch::{DeviceWatch, Figures, Readings};
use crate::failure::Failure;
use crate::listing;
use crate::program;
use crate::state::Place;
use ::machine::Machine;
use api::{LogChunk, LogQuery};
use control::{Control, NodeLink, Options};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use node::{Node, NodeOptions, Notification, Notifier, StateFiles};
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// A word for the administrator. A closed pipe or a full disk behind stderr must not end the daemon.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

pub fn run(place: &Place, up: Up) -> Result<ExitCode, Failure> {
    let path = program::own_path().map_err(|error| Failure::internal(format!("cannot find my own program: {error}")))?;
    if up.print_unit {
        write!(std::io::stdout(), "{}", unit(&path.display().to_string(), &place.state.display().to_string(), &flags(&up)))?;
        return Ok(ExitCode::SUCCESS);
    }
    log_to_stderr();
    raise_open_files();
    // Before any thread starts, so that every thread leaves these signals to the loop below.
    let signals = hold_signals().map_err(|error| Failure::internal(format!("cannot set up signals: {error}")))?;
    super::tune::recover_at_start(place);
    let mut machine = super::machine::this_machine()?;
    machine.facts.measures_devices = true;
    let notifier = Notifier::start(vec![path.display().to_string(), program::NOTIFY.into()])
        .map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))?;
    // Compiling takes minutes: notices do not wait for it.
    let errands = Notifier::start(vec![path.display().to_string(), program::NOTIFY.into()]).ok();
    let slot: Arc<OnceLock<Node>> = Arc::new(OnceLock::new());
    let figures = Figures::default();
    let mut options = Options::new(place.state.clone(), env!("CARGO_PKG_VERSION"), link(&slot, notifier, figures.clone()));
    options.tcp = up.listen;
    options.admin_group = up.admin_group;
    options.retention = up.keep_finished;
    options.policy.shortest_run = up.shortest_run.unwrap_or(options.policy.shortest_run);
    options.policy.restart = up.restart_cost.unwrap_or(options.policy.restart);
    let control = Control::start(options).map_err(|error| hinted(Failure::no_node(&error), error.hint()))?;
    let node = Node::start(
        NodeOptions {
            state: StateFiles::at(&place.state),
            machine: Arc::new(machine.clone()),
            supervisor: vec![path.display().to_string(), program::SUPERVISE.into()],
            nursery: vec![path.display().to_string(), program::NURSE.into()],
            overstep_ends: up.over_share == OverShare::End,
            errands,
        },
        Box::new(control.observer()),
    )
    .map_err(|error| Failure::failed(error.to_string()))?;
    let _ = slot.set(node);
    if let Err(error) = control.join(machine.clone()) {
        // It is remembered: once the disk takes writes again, work is accepted. What runs must be looked after till then.
        say!("warning: {error}");
        if let Some(hint) = &error.hint {
            say!("hint: {hint}");
        }
    }
    let watch = watch_devices(machine.clone(), figures, &control, &slot)?;
    announce(&control)?;
    keep(&control, &slot, &watch, machine, &signals);
    say!("stopping; runs go on under their supervisors, and the next node takes them up");
    // First nobody can ask any more, then the machine is let go.
    drop(control);
    Ok(ExitCode::SUCCESS)
}

/// The two messages of one machine pass by function call.
fn link(slot: &Arc<OnceLock<Node>>, notifier: Notifier, figures: Figures) -> NodeLink {
    let (assign, logs, outputs, progress) = (slot.clone(), slot.clone(), slot.clone(), slot.clone());
    NodeLink {
        assign: Box::new(move |assignment| {
            if let Some(node) = assign.get() {
                node.assign(assignment);
            }
        }),
        logs: Box::new(move |query: &LogQuery| {
            let Some(node) = logs.get() else { return Err("the node is still starting".into()) };
            let (offset, data, ended) =
                node.output(query.run, query.rank, query.offset, query.max as usize).map_err(|error| error.to_string())?;
            Ok(LogChunk { offset, data, ended })
        }),
        progress: Box::new(move |run, ran| progress.get()?.progress(run, ran)),
        forget: Box::new(move |remembered| {
            if let Some(node) = outputs.get() {
                node.remove_outputs(remembered);
            }
        }),
        notify: Box::new(move |notice| {
            let exit_code = notice.exit_code.map_or_else(String::new, |code| code.to_string());
            let variables = [
                ("ASHLAR_JOB_ID", notice.job.to_string()),
                ("ASHLAR_JOB_NAME", notice.name),
                ("ASHLAR_JOB_STATE", notice.state.name().to_string()),
                ("ASHLAR_EXIT_CODE", exit_code),
            ];
            let variables = variables.map(|(name, value)| (name.to_string(), value)).to_vec();
            notifier.send(Notification::new(notice.owner, notice.command, variables));
        }),
        figures: Box::new(move || figures.now()),
    }
}

/// A device that comes, goes or falls ill changes what may be placed, from the next plan on.
fn watch_devices(machine: Machine, figures: Figures, control: &Control, slot: &Arc<OnceLock<Node>>) -> Result<DeviceWatch, Failure> {
    let (join, node) = (control.joiner(), slot.clone());
    let told = move |machine: Machine| {
        if let Some(node) = node.get() {
            node.set_machine(machine.clone());
        }
        if let Err(error) = join(machine) {
            tracing::error!("a change of the devices is not on disk yet: {}", error.message);
        }
    };
    let node = slot.clone();
    let measured = move |readings: &Readings| {
        if let Some(node) = node.get() {
            node.measured(readings);
        }
    };
    DeviceWatch::start(machine, figures, told, measured).map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))
}

/// One line on stdout says that the node answers, and where; the rest is for people.
fn announce(control: &Control) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", control.socket().display())?;
    out.flush()?;
    say!("the node is up; try `ashlar run -- echo hello` in another terminal");
    if let Some((address, fingerprint)) = control.tcp() {
        say!("TLS on {address}, certificate {fingerprint}; `ashlar token create` makes a token");
    }
    Ok(())
}

fn hold_signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::new(&set)
}

fn keep(control: &Control, node: &OnceLock<Node>, watch: &DeviceWatch, mut machine: Machine, signals: &SignalFd) {
    while let Ok(Some(signal)) = signals.read_signal() {
        if signal.ssi_signo != Signal::SIGHUP as u32 {
            return;
        }
        match control.reload_queues() {
            Ok(()) => say!("the queues were read again"),
            Err(error) => {
                hinted(Failure::input(format!("the queues stay as they were: {error}")), error.hint()).report();
            }
        }
        if let Err(error) = look_again(control, node, watch, &mut machine) {
            error.report();
        }
    }
}

/// Memory and devices may come while a machine runs. What was granted stays granted.
fn look_again(control: &Control, node: &OnceLock<Node>, watch: &DeviceWatch, machine: &mut Machine) -> Result<(), Failure> {
    let mut found = super::machine::this_machine()?;
    found.facts.measures_devices = true;
    if found == *machine {
        return Ok(());
    }
    let sizes = |machine: &Machine| format!("{} CPUs, {}, {} devices", machine.cpus.len(), machine.memory, machine.devices.len());
    say!("the machine changed: it had {}, it has {}", sizes(machine), sizes(&found));
    *machine = found;
    watch.replace(machine.clone());
    if let Some(node) = node.get() {
        node.set_machine(machine.clone());
    }
    control.join(machine.clone()).map_err(|error| hinted(Failure::no_node(&error.message), error.hint.clone()))
}

fn hinted(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Every run costs a descriptor; the usual soft limit of 1024 is for programs that cannot count.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ASHLAR_LOG").unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(listing::colour_wanted())
        .log_internal_errors(false)
        .try_init();
}

/// The flags of this command that are not as they would be anyway, for the unit file.
fn flags(up: &Up) -> String {
    let mut flags = String::new();
    if let Some(address) = up.listen {
        flags.push_str(&format!(" --listen {address}"));
    }
    if up.admin_group != DEFAULT_ADMIN_GROUP {
        flags.push_str(&format!(" --admin-group {}", up.admin_group));
    }
    if up.keep_finished != control::Retention::default() {
        flags.push_str(&format!(" --keep-finished {}", up.keep_finished));
    }
    if up.over_share == OverShare::End {
        flags.push_str(" --over-share end");
    }
    for (name, span) in [("shortest-run", up.shortest_run), ("restart-cost", up.restart_cost)] {
        span.iter().for_each(|span| flags.push_str(&format!(" --{name} {}", spec::write_span(*span))));
    }
    flags
}

/// `KillMode=process`: stopping the node stops no run. `Delegate=yes`: the control groups below ours are ours.
fn unit(program: &str, state: &str, flags: &str) -> String {
    format!(
        "[Unit]\n\
         Description=Ashlar node\n\
         After=network.target local-fs.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program} --state {state} up{flags}\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         KillMode=process\n\
         Delegate=yes\n\
         Restart=on-failure\n\
         RestartSec=2\n\
         LimitNOFILE=1048576\n\
         LimitMEMLOCK=infinity\n\
         TasksMax=infinity\n\
         OOMScoreAdjust=-900\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}
