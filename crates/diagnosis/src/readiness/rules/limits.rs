//! Limits of running services and of the machine: what a job inherits.

use crate::Severity::{Error, Warning};
use crate::readiness::look::Look;
use crate::readiness::rule::{Claim, EVERY_ROLE, Keep, Knob, Needs, Role, Rule, Scope, Test, WORKERS};
use machine::ProcessLimits;
use machine::Source::Text;

/// Services whose limits the jobs they start inherit, with those limits too low.
fn low(look: &Look, name: &str, wanted: &str, is_low: fn(&ProcessLimits) -> Option<u64>, flag: &str, unit: &str) -> Vec<Claim> {
    let mut claims = vec![];
    for one in &look.facts.limits {
        let Some(limit) = is_low(one) else { continue };
        let has = if limit == 0 { "none".to_owned() } else { limit.to_string() };
        claims.push(
            Claim::new(format!("{} (pid {})", one.name, one.pid), format!("{} may have {has} {name}", one.name))
                .wanted(wanted)
                .read(format!("proc/{}/limits: {name} {limit}", one.pid))
                .command(format!("prlimit --pid {} --{flag}={unit}", one.pid))
                .hint("and in its unit file, so that it lasts"),
        );
    }
    claims
}

pub const RULES: &[Rule] = &[
    Rule {
        id: "limits.locked-memory",
        checks: "services that start jobs may lock memory",
        severity: Error,
        roles: WORKERS,
        needs: Needs::AcceleratorsAndRdma,
        scope: Scope::Software,
        reads: &[],
        why: "RDMA registers memory by locking it; jobs inherit the limit of the running service, whatever limits.conf says",
        cost: "`ibv_reg_mr` or `ibv_create_cq` fails: Cannot allocate memory",
        source: "getrlimit(2), RLIMIT_MEMLOCK; libibverbs; Azure's images set unlimited",
        test: Test::Judge(|look| {
            low(
                look,
                "bytes of locked memory",
                "unlimited",
                |one| one.locked_bytes.filter(|bytes| *bytes < 64 << 30),
                "memlock",
                "unlimited",
            )
        }),
    },
    Rule {
        id: "limits.open-files",
        checks: "services that start jobs may have many files open",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Software,
        reads: &[],
        why: "data loaders, connections of collectives and shared memory are open files; the hard limit is as far as a job can go",
        cost: "`Too many open files` when a job grows",
        source: "getrlimit(2), RLIMIT_NOFILE; Azure's images set 1048576, systemd's hard limit is 524288",
        test: Test::Judge(|look| {
            low(look, "open files", "524288", |one| one.files_most.filter(|files| *files < 65_536), "nofile", "524288:524288")
        }),
    },
    Rule {
        id: "limits.processes",
        checks: "services that start jobs may have many processes",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Software,
        reads: &[],
        why: "each rank has a thread a core and more for its data; the limit counts threads of the same person together",
        cost: "`Resource temporarily unavailable` when threads are started",
        source: "getrlimit(2), RLIMIT_NPROC",
        test: Test::Judge(|look| {
            low(look, "processes", "unlimited", |one| one.processes.filter(|count| *count < 16_384), "nproc", "unlimited")
        }),
    },
    Rule {
        id: "limits.pids",
        checks: "the machine has numbers for enough threads",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "threads have process numbers too; the old default of 32768 is a few hundred a core on a large machine",
        cost: "no thread can be started, on the whole machine",
        source: "proc_sys_kernel(5), pid_max; systemd raises it to 4194304 on 64-bit machines",
        test: Test::Knob(Knob {
            path: "proc/sys/kernel/pid_max",
            want: |look, at| if look.facts.machine.cpus.len() >= 32 && at.number()? <= 65_536 { at.at_least(4_194_304) } else { None },
            keep: Keep::Sysctl,
            risk: "process numbers have seven digits",
        }),
    },
    Rule {
        id: "limits.watches",
        checks: "files can be watched for changes",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "notebooks, editors, container runtimes and log shippers of all people share this number, each counted for a user",
        cost: "`No space left on device` from programs that watch files",
        source: "inotify(7); NVIDIA's node tuning for GB200 sets 524288",
        test: Test::Knob(Knob {
            path: "proc/sys/fs/inotify/max_user_watches",
            want: |_, at| (at.number()? < 65_536).then(|| "524288".to_owned()),
            keep: Keep::Sysctl,
            risk: "a kilobyte of kernel memory for each watch that is used",
        }),
    },
    Rule {
        id: "limits.watchers",
        checks: "enough programs can watch files",
        severity: Warning,
        roles: &[Role::Control, Role::Serve],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "each container runtime, log shipper and notebook takes at least one; 128 for a user is soon used up",
        cost: "`too many open files` from programs that have few open",
        source: "inotify(7); NVIDIA's node tuning for GB200 sets 65535",
        test: Test::Knob(Knob {
            path: "proc/sys/fs/inotify/max_user_instances",
            want: |_, at| (at.number()? <= 128).then(|| "8192".to_owned()),
            keep: Keep::Sysctl,
            risk: "little: each is a file of its own",
        }),
    },
    Rule {
        id: "limits.files-of-machine",
        checks: "the machine has room for more open files",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/sys/fs/file-nr")],
        why: "more than four fifths of all files that may be open on this machine are open",
        cost: "nothing can be opened by anybody when it is full",
        source: "Linux Documentation/admin-guide/sysctl/fs, file-max",
        test: Test::Knob(Knob {
            path: "proc/sys/fs/file-max",
            want: |look, at| {
                let open: u64 = look.text("proc/sys/fs/file-nr")?.split_whitespace().next()?.parse().ok()?;
                (open > at.number()? / 5 * 4).then(|| (at.number().unwrap_or(0).saturating_mul(4)).to_string())
            },
            keep: Keep::Sysctl,
            risk: "about a kilobyte for each file that is used",
        }),
    },
];
