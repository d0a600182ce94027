//! Starting the ranks and staying with them until the last is gone.

use super::Keeper;
use crate::clock::{self, Stopwatch};
use crate::conduct::{Action, Conduct, Event};
use crate::journal::Entry;
use crate::output::OutputWriter;
use frameworks::{LaunchFile, LaunchInput, Launched};
use machine::DeviceNode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox::{RankEvent, RankProcess, Started, Workload};
use spec::{EndCause, Mount, RankState, SignalTo, Span, StopOrder, Usage};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// A run whose ranks have been started.
pub(super) struct Gang {
    started: Started,
    outputs: Vec<OutputWriter>,
    /// Which output pipes are still open.
    open: Vec<bool>,
    ends_with_first: bool,
}

impl Gang {
    pub(super) fn usage(&mut self) -> Usage {
        self.started.reap();
        let mut usage = self.started.usage();
        let refused: u64 = self.outputs.iter().map(OutputWriter::refused).sum();
        if refused > 0 {
            say!("{refused} bytes of output found no room on the disk and were dropped");
        }
        usage.output = spec::Bytes(self.outputs.iter().map(OutputWriter::total).sum());
        usage
    }

    /// Processes that had much memory take a while to die. Bounded: a process stuck in a device cannot be waited for.
    pub(super) fn wait_until_gone(&mut self) {
        const LONGEST: Span = Span::seconds(30);
        let since = Stopwatch::start();
        while !self.started.reap() && since.elapsed() < LONGEST {
            let left = Span(LONGEST.0.saturating_sub(since.elapsed().0));
            let timeout = Timespec { tv_sec: 0, tv_nsec: (left.0.min(50) * 1_000_000) as _ };
            let _ = poll(&mut [PollFd::new(self.started.init(), PollFlags::IN)], Some(&timeout));
        }
    }

    pub(super) fn into_started(self) -> Started {
        self.started
    }

    /// Moves what the ranks printed to disk, at most a bounded piece of each, so that a rank that prints without
    /// end cannot keep us from the others or from a stop order.
    fn copy_output(&mut self) {
        const PIECE: usize = 64 * 1024;
        const PIECES: usize = 16;
        let mut buffer = [0; PIECE];
        for (rank, pipe) in self.started.outputs.iter().enumerate() {
            for _ in 0..PIECES {
                match rustix::io::read(pipe, &mut buffer) {
                    Ok(0) => {
                        self.open[rank] = false;
                        break;
                    }
                    Ok(length) => self.outputs[rank].write(&buffer[..length]),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(_) => {
                        self.open[rank] = false;
                        break;
                    }
                }
            }
        }
    }
}

impl Keeper {
    pub(super) fn start_ranks(&mut self, environment: Option<&str>) -> Result<Gang, EndCause> {
        let order = &self.file.order;
        let ports = order.grant.ports.map(|range| free_ports(range.first, range.count)).unwrap_or_default();
        let folder = self.files.launch();
        let launched = frameworks::launch(&LaunchInput {
            spec: &order.spec,
            run: order.run,
            grant: &order.grant,
            devices: &self.file.devices,
            only_granted_nodes: sandbox::capabilities().level == spec::IsolationLevel::Container,
            hostname: &self.file.hostname,
            ports: &ports,
            environment,
            scratch: "/tmp",
            files: &folder.display().to_string(),
            identity: &order.owner,
        })
        .map_err(|error| EndCause::StartFailed { message: error.to_string(), hint: error.hint(), missing: false })?;
        self.write_launch_files(&launched.files).map_err(|error| EndCause::StartFailed {
            message: format!("cannot write the files of the launch: {error}"),
            hint: None,
            missing: false,
        })?;
        let (ranks, ends_with_first) = (launched.processes.len(), launched.ends_with_first);
        let workload = self.workload(launched, environment);
        let started = sandbox::start(&workload, &self.asked_to_stop());
        let started = started.map_err(|error| {
            if matches!(error, sandbox::SandboxError::Stopped) {
                return EndCause::Stopped;
            }
            let missing = matches!(error, sandbox::SandboxError::Start { missing: true, .. });
            EndCause::StartFailed { message: error.to_string(), hint: error.hint(), missing }
        })?;
        let outputs = (0..ranks as u32).map(|rank| OutputWriter::new(&self.files.dir, rank)).collect();
        self.note(&Entry::Isolation { report: started.isolation.clone() });
        Ok(Gang { started, outputs, open: vec![true; ranks], ends_with_first })
    }

    /// For the person alone: the sandbox shows them read-only.
    fn write_launch_files(&self, files: &[LaunchFile]) -> std::io::Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let owner = &self.file.order.owner;
        let folder = self.files.launch();
        crate::files::make_dir(&folder, 0o700)?;
        let own = |path: &std::path::Path| match rustix::process::geteuid().is_root() {
            true => std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid)),
            false => Ok(()),
        };
        for file in files {
            let path = folder.join(file.name);
            std::fs::write(&path, &file.text)?;
            own(&path)?;
        }
        // Last, so that nobody but the node writes here before.
        own(&folder)
    }

    fn workload(&self, launched: Launched, environment: Option<&str>) -> Workload {
        let order = &self.file.order;
        let files = (!launched.files.is_empty()).then(|| self.files.launch());
        // A process that starts the ranks itself holds what is theirs.
        let ranks = launched.processes.iter().map(|process| process.holds.clone()).collect();
        Workload {
            run: order.run,
            dir: self.files.dir.clone(),
            identity: order.owner.clone(),
            grant: machine::Grant { ranks, ..order.grant.clone() },
            devices: self.device_nodes(),
            processes: launched
                .processes
                .into_iter()
                .map(|process| RankProcess { rank: process.rank, argv: process.argv, env: process.env, workdir: process.workdir })
                .collect(),
            mounts: order.spec.mounts.iter().cloned().chain(self.hosts_file()).collect(),
            network: order.spec.isolation.network,
            latency: order.spec.latency,
            demand: order.spec.isolation.level,
            hidden: vec![self.state.root().to_path_buf()],
            visible: environment.map(PathBuf::from).into_iter().chain(files).collect(),
            cgroup: self.file.cgroup,
            spare: Some(self.state.spare()),
        }
    }

    /// Ranks that meet look up the name of their own host (gloo does), which in a network of its own leads nowhere.
    fn hosts_file(&self) -> Option<Mount> {
        if self.file.order.spec.ranks < 2 {
            return None;
        }
        let existing = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let path = self.files.dir.join(sandbox::HOSTS_FILE);
        let written = std::fs::write(&path, frameworks::hosts_file(&self.file.hostname, &existing));
        if let Err(error) = written {
            say!("cannot write {}: {error}", path.display());
            return None;
        }
        Some(Mount { source: path.display().to_string(), target: "/etc/hosts".into(), read_only: true })
    }

    /// Nodes of the granted devices, with the ones their vendor shares between devices.
    fn device_nodes(&self) -> Vec<DeviceNode> {
        let granted: Vec<_> = self.file.order.grant.devices().collect();
        let mut nodes: Vec<DeviceNode> = vec![];
        for device in self.file.devices.iter().filter(|device| granted.contains(&&device.id)) {
            for node in &device.nodes {
                if !nodes.iter().any(|known| known.path == node.path) {
                    nodes.push(node.clone());
                }
            }
        }
        nodes
    }

    /// Until the last rank is gone and its output is on disk.
    pub(super) fn watch_ranks(&mut self, gang: &mut Gang) -> EndCause {
        let spec = self.file.order.spec.clone();
        let mut conduct = Conduct::new(gang.open.len() as u32, spec.checkpoint).ending_with_first(gang.ends_with_first);
        let mut timers = Timers::start(spec.limit);
        let mut told_running = false;
        // An order that came before the signal handler is met here.
        let mut orders_to_read = true;
        loop {
            let mut events = timers.due();
            if orders_to_read && let Some(stop) = self.stop_order() {
                events.push(Event::StopOrdered { kill: stop.kill });
            }
            if orders_to_read {
                events.extend(self.overstepped());
            }
            let mut over = false;
            while let Some(event) = gang.started.next_event() {
                match self.record(&event, &mut told_running) {
                    Recorded::Event(event) => events.push(event),
                    Recorded::StartFailed { message, missing } => {
                        gang.started.kill();
                        return EndCause::StartFailed { message, hint: None, missing };
                    }
                    Recorded::Over => over = true,
                    Recorded::Nothing => {}
                }
            }
            for action in events.into_iter().flat_map(|event| conduct.on(event)).collect::<Vec<_>>() {
                match action {
                    Action::Signal => {
                        if let Err(error) = gang.started.signal(spec.checkpoint.signal.number(), spec.checkpoint.to == SignalTo::All) {
                            say!("{error}");
                        }
                    }
                    Action::ArmGrace(span) => timers.grace = Some((Stopwatch::start(), span)),
                    Action::Kill => gang.started.kill(),
                }
            }
            if conduct.is_stopping() {
                self.note_stopping();
            }
            // What is in the pipes is less than one round of this takes, so at the end nothing is left behind.
            gang.copy_output();
            if over {
                return conduct.cause(self.out_of_memory(gang));
            }
            let timeout = timers.next().into_iter().chain(self.wake.again()).min();
            orders_to_read = self.wait(gang, timeout);
        }
    }

    /// What the node saw is written down once; it ends the run where the node's policy says so.
    fn overstepped(&mut self) -> Option<Event> {
        let overstep = self.files.read_overstep().filter(|seen| self.overstep.as_ref() != Some(seen))?;
        self.note(&Entry::Overstep { overstep: overstep.clone() });
        self.wake_node();
        self.overstep = Some(overstep.clone());
        overstep.ends.then_some(Event::Overstepped { overstep })
    }

    fn out_of_memory(&self, gang: &Gang) -> Option<EndCause> {
        (gang.started.oom_kills() > 0).then(|| EndCause::OutOfMemory {
            rank: None,
            limit: gang.started.memory_limit().unwrap_or(self.file.order.grant.memory),
            peak: gang.started.memory_peak().unwrap_or(self.file.order.grant.memory),
        })
    }

    /// Sleeps until something can be read or `timeout` is over. True when a signal says to read the orders again.
    fn wait(&mut self, gang: &mut Gang, timeout: Option<Span>) -> bool {
        let pipes: Vec<_> = gang.started.outputs.iter().zip(&gang.open).filter(|(_, open)| **open).map(|(pipe, _)| pipe).collect();
        let mut fds = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN), PollFd::new(&gang.started.events, PollFlags::IN)];
        fds.extend(pipes.iter().map(|pipe| PollFd::new(*pipe, PollFlags::IN)));
        let timeout = timeout.map(|span| Timespec { tv_sec: (span.0 / 1000) as i64, tv_nsec: (span.0 % 1000 * 1_000_000 + 999_999) as _ });
        let _ = poll(&mut fds, timeout.as_ref());
        let mut orders = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo == nix::libc::SIGCHLD as u32 {
                // The helper that made the container has left, or init has.
                gang.started.reap();
                continue;
            }
            orders = true;
            if let Some(order) = order_of(signal.ssi_signo as i32) {
                let kill = order.kill || self.ordered.is_some_and(|before| before.kill);
                self.ordered = Some(StopOrder { kill });
            }
        }
        orders
    }

    fn record(&mut self, event: &RankEvent, told_running: &mut bool) -> Recorded {
        let at = clock::now();
        match event {
            RankEvent::Running { rank, pid } => {
                self.note(&Entry::Rank { rank: *rank, state: RankState::Running, pid: Some(*pid), at });
                if !std::mem::replace(told_running, true) {
                    self.note(&Entry::Running { at });
                    self.wake.send_soon();
                }
                Recorded::Nothing
            }
            RankEvent::Exited { rank, code } => {
                self.note(&Entry::Rank { rank: *rank, state: RankState::Exited { code: *code }, pid: None, at });
                Recorded::Event(Event::Exited { rank: *rank, code: *code })
            }
            RankEvent::Signalled { rank, signal } => {
                self.note(&Entry::Rank { rank: *rank, state: RankState::Signalled { signal: *signal }, pid: None, at });
                Recorded::Event(Event::Signalled { rank: *rank, signal: *signal })
            }
            RankEvent::StartFailed { rank, message, missing } => {
                // In a gang the rank that could not be started is worth a word.
                let message = if self.file.order.spec.ranks > 1 { format!("rank {rank}: {message}") } else { message.clone() };
                Recorded::StartFailed { message, missing: *missing }
            }
            RankEvent::AllDone => Recorded::Over,
        }
    }
}

/// Signals other than "read your orders" are orders themselves: an init system that ends everything asks nicely, and
/// a node whose disk is full has no other way to kill.
pub(super) fn order_of(signal: i32) -> Option<StopOrder> {
    match signal {
        nix::libc::SIGUSR2 => Some(StopOrder { kill: true }),
        nix::libc::SIGTERM | nix::libc::SIGINT => Some(StopOrder { kill: false }),
        _ => None,
    }
}

/// What happens by the clock while ranks run.
struct Timers {
    since: Stopwatch,
    limit: Option<Span>,
    grace: Option<(Stopwatch, Span)>,
    /// When to give back memory: most runs are either over by then or take much longer.
    shed: Option<Span>,
}

impl Timers {
    fn start(limit: Option<Span>) -> Timers {
        Timers { since: Stopwatch::start(), limit, grace: None, shed: Some(Span::seconds(1)) }
    }

    fn due(&mut self) -> Vec<Event> {
        let mut events = vec![];
        if let Some(limit) = self.limit.take_if(|span| self.since.elapsed() >= *span) {
            events.push(Event::LimitReached { limit });
        }
        if self.grace.take_if(|(since, span)| since.elapsed() >= *span).is_some() {
            events.push(Event::GraceOver);
        }
        if self.shed.take_if(|span| self.since.elapsed() >= *span).is_some() {
            sandbox::shed();
        }
        events
    }

    /// Time until the first of them is due.
    fn next(&self) -> Option<Span> {
        let left = |since: &Stopwatch, span: Span| Span(span.0.saturating_sub(since.elapsed().0));
        let grace = self.grace.as_ref().map(|(since, span)| left(since, *span));
        [self.limit.map(|span| left(&self.since, span)), grace, self.shed.map(|span| left(&self.since, span))].into_iter().flatten().min()
    }
}

enum Recorded {
    Event(Event),
    StartFailed { message: String, missing: bool },
    Over,
    Nothing,
}

/// Ports of the lease that nobody listens on. Something outside of Ashlar may sit on a leased port.
fn free_ports(first: u16, count: u16) -> Vec<u16> {
    (first..first.saturating_add(count)).filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).collect()
}
