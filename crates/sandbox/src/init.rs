//! The init of a run: reaps, starts the ranks, reports, and ends everything when its supervisor is gone.
//!
//! In a container it is process 1 of the pid namespace, so its own end is the end of every process of the run.
//! Without a pid namespace it is a subreaper, and walks its descendants to end them.

use crate::rank::{Common, Rank, Starting};
use crate::sys;
use crate::wire::{Down, Up};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

pub(crate) struct Plan {
    pub ranks: RefCell<Vec<Rank>>,
    pub common: Common,
    /// Our end of the socket to the supervisor.
    pub socket: OwnedFd,
    /// We are process 1 of a pid namespace.
    pub first: bool,
}

/// Runs the plan to its end. Never returns, not even by a panic: this process is a fork of the supervisor and
/// must not go on with the supervisor's work.
pub(crate) fn run(plan: &Plan) -> ! {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live(plan)));
    sys::exit_now(72)
}

fn live(plan: &Plan) -> ! {
    let _ = rustix::thread::set_name(c"ashlar-init");
    keep_only_our_descriptors(plan);
    // A rank may have our identity; this keeps it from tracing us, and from reading what we had in memory and hold open.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    if !plan.first {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    let Ok(children) = sys::child_signals() else { sys::exit_now(70) };
    // The supervisor may have died before the kernel was asked to tell: then no rank shall begin.
    if sys::hung_up(&plan.socket) {
        sys::exit_now(71);
    }
    let mut living = start_all(plan);
    while !living.is_empty() {
        wait_for_something(plan, &children);
        match Down::receive(&plan.socket) {
            Ok(Some(Down::Signal { number, groups })) => {
                // Each rank leads a process group: it called setsid.
                living.keys().for_each(|pid| drop(sys::kill(if groups { -pid } else { *pid }, number)));
            }
            Ok(Some(Down::Kill)) => kill_everything(plan),
            Ok(None) => {}
            Err(()) => {
                kill_everything(plan);
                sys::exit_now(71)
            }
        }
        drain(&children);
        while let Some(gone) = sys::wait(-1, false) {
            if let Some(rank) = living.remove(&gone.pid) {
                outcome(rank, gone.status).send(&plan.socket);
            }
        }
    }
    kill_everything(plan);
    Up::AllDone.send(&plan.socket);
    sys::exit_now(0)
}

/// The standard three lead nowhere: the supervisor's lead to its journal.
fn keep_only_our_descriptors(plan: &Plan) {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        (0..3).for_each(|standard| drop(sys::standard(&null, standard)));
    }
    let ranks = plan.ranks.borrow();
    let outputs = ranks.iter().filter_map(|rank| rank.output.as_ref()).map(AsRawFd::as_raw_fd);
    sys::close_all_but(
        &outputs.chain([plan.socket.as_raw_fd()]).chain(plan.common.awake.as_ref().map(AsRawFd::as_raw_fd)).collect::<Vec<_>>(),
    );
}

/// Starts every rank before waiting for any; one that fails takes the others with it, as a gang starts
/// together or not at all. Returns the rank of each living process.
fn start_all(plan: &Plan) -> BTreeMap<libc::pid_t, u32> {
    let mut ranks = plan.ranks.borrow_mut();
    let mut living = BTreeMap::new();
    let mut failed = false;
    let starting: Vec<Option<Starting>> = ranks
        .iter()
        .map(|rank| {
            rank.start(&plan.common, &plan.socket)
                .inspect_err(|error| {
                    failed = true;
                    let message = format!("a process for the rank could not be made: {error}");
                    Up::StartFailed { rank: rank.rank, message, missing: false }.send(&plan.socket);
                })
                .ok()
        })
        .collect();
    for (rank, starting) in ranks.iter_mut().zip(starting) {
        // The rank has its own copy; ours would keep the pipe open after its end.
        let verdict = starting.as_ref().map(|starting| starting.verdict(rank));
        rank.output = None;
        match (starting, verdict) {
            (Some(starting), Some(Ok(()))) => {
                Up::Running { rank: rank.rank }.send(&plan.socket);
                living.insert(starting.pid, rank.rank);
            }
            (Some(_), Some(Err((message, missing)))) => {
                failed = true;
                Up::StartFailed { rank: rank.rank, message, missing }.send(&plan.socket);
            }
            _ => {}
        }
    }
    if failed {
        kill_everything(plan);
    }
    living
}

fn outcome(rank: u32, status: libc::c_int) -> Up {
    if libc::WIFSIGNALED(status) {
        Up::Signalled { rank, signal: libc::WTERMSIG(status) }
    } else {
        Up::Exited { rank, code: libc::WEXITSTATUS(status) }
    }
}

fn wait_for_something(plan: &Plan, children: &OwnedFd) {
    let mut sources = [PollFd::new(&plan.socket, PollFlags::IN), PollFd::new(children, PollFlags::IN)];
    // An interrupted wait is as good as an event: the loop looks at everything each time.
    let _ = poll(&mut sources, None);
}

fn drain(children: &OwnedFd) {
    let mut buffer = [0u8; 1024];
    while rustix::io::read(children, &mut buffer).is_ok_and(|length| length > 0) {}
}

fn kill_everything(plan: &Plan) {
    if plan.first {
        // All processes of the namespace but this one.
        let _ = sys::kill(-1, libc::SIGKILL);
    } else {
        kill_descendants(std::process::id() as libc::pid_t);
    }
}

/// Kills all descendants of `root`. Stopping each one first keeps a fork bomb from outrunning the walk. Gives up
/// after a while: a process that waits for a dead disk cannot be killed by anybody.
pub(crate) fn kill_descendants(root: libc::pid_t) {
    let mut empty = 0;
    for round in 0..200u64 {
        let descendants = descendants(root);
        // A process whose parent ends during the walk can be missed by it, but not by the next one.
        empty = if descendants.is_empty() { empty + 1 } else { 0 };
        if empty == 2 {
            return;
        }
        for pid in &descendants {
            let _ = sys::kill(*pid, libc::SIGSTOP);
        }
        for pid in &descendants {
            let _ = sys::kill(*pid, libc::SIGKILL);
        }
        if round > 2 {
            std::thread::sleep(Duration::from_millis(round.min(20)));
        }
    }
}

/// Living processes below `root`, from the parent each process names in `/proc/PID/stat`.
fn descendants(root: libc::pid_t) -> Vec<libc::pid_t> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut children: BTreeMap<libc::pid_t, Vec<(libc::pid_t, bool)>> = BTreeMap::new();
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { continue };
        if let Some((state, parent)) = state_and_parent(&String::from_utf8_lossy(&stat)) {
            children.entry(parent).or_default().push((pid, !matches!(state, 'Z' | 'X')));
        }
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for (child, living) in children.remove(&pid).unwrap_or_default() {
            // One that has just died still leads to children read before it did.
            open.push(child);
            found.extend(living.then_some(child));
        }
    }
    found
}

/// The name in a stat line is in parentheses and may itself contain some.
fn state_and_parent(stat: &str) -> Option<(char, libc::pid_t)> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_hostile_names_are_read() {
        assert_eq!(state_and_parent("12 (a) S 7 ) R) S 7 12 12 0"), Some(('S', 7)));
        assert_eq!(state_and_parent("12 (x) Z 1"), Some(('Z', 1)));
        assert_eq!(state_and_parent("12 (x"), None);
        assert_eq!(state_and_parent(""), None);
    }
}
