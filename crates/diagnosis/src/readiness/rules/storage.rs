//! Disks and file systems: how they are driven, and whether they are whole.

use crate::Severity::{Error, Info, Warning};
use crate::readiness::look::Look;
use crate::readiness::rule::{Claim, EVERY_ROLE, Keep, Knob, Needs, Role, Rule, Scope, Test, WORKERS};
use machine::Source::Text;

const QUEUE: &str = "Linux Documentation/ABI/stable/sysfs-block";

/// File systems over the network that this machine has mounted, with their options.
fn network_mounts<'l>(look: &Look<'l>) -> Vec<(&'l str, &'l str)> {
    let text = look.text("proc/self/mounts").unwrap_or_default();
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.filter(|words| words.len() > 3 && matches!(words[2], "nfs" | "nfs4")).map(|words| (words[1], words[3])).collect()
}

pub const RULES: &[Rule] = &[
    Rule {
        id: "storage.scheduler",
        checks: "NVMe disks are not queued a second time in software",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "an NVMe disk schedules by itself over many queues; BFQ and Kyber put one lock or a throttle before it",
        cost: "with BFQ a fraction of the operations a second that the disk can do",
        source: "Linux Documentation/block/bfq-iosched: not for fast devices; the kernel's own default for NVMe is `none`",
        test: Test::Knob(Knob {
            path: "sys/block/nvme*/queue/scheduler",
            want: |_, at| if matches!(at.now().as_str(), "bfq" | "kyber") { at.choose("none") } else { None },
            keep: Keep::Tmpfiles,
            risk: "shares of disk time between groups (io.weight) need BFQ or iocost",
        }),
    },
    Rule {
        id: "storage.read-ahead",
        checks: "disks read ahead far enough for data sets",
        severity: Warning,
        roles: &[Role::Train, Role::Data],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "shards are read from front to back; 128 KiB ahead leaves a fast disk idle between requests of one reader",
        cost: "a data loader of one thread gets a fraction of the disk's speed",
        source: "tuned throughput-performance sets 4096 KiB at least",
        test: Test::Knob(Knob {
            path: "sys/block/nvme*/queue/read_ahead_kb",
            want: |_, at| (at.number()? < 1024).then(|| "4096".to_owned()),
            keep: Keep::Tmpfiles,
            risk: "readers of small random pieces read more than they use",
        }),
    },
    Rule {
        id: "storage.array-read-ahead",
        checks: "software arrays read ahead far enough for data sets",
        severity: Warning,
        roles: &[Role::Train, Role::Data],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "an array over several disks is only kept busy by reads that span them",
        cost: "a data loader of one thread gets the speed of one disk",
        source: "tuned throughput-performance sets 4096 KiB at least; md(4)",
        test: Test::Knob(Knob {
            path: "sys/block/md*/queue/read_ahead_kb",
            want: |_, at| (at.number()? < 1024).then(|| "4096".to_owned()),
            keep: Keep::Tmpfiles,
            risk: "readers of small random pieces read more than they use",
        }),
    },
    Rule {
        id: "storage.randomness",
        checks: "disks do not feed the kernel's random numbers",
        severity: Info,
        roles: &[Role::Data],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "each completed request stirs a pool that all CPUs share",
        cost: "a few per cent of processor time at millions of operations a second",
        source: QUEUE,
        test: Test::Knob(Knob {
            path: "sys/block/nvme*/queue/add_random",
            want: |_, at| at.exactly("0"),
            keep: Keep::Tmpfiles,
            risk: "none: the kernel has better sources of randomness",
        }),
    },
    Rule {
        id: "storage.degraded",
        checks: "software arrays are complete",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("sys/block/md*/md/degraded")],
        why: "an array runs with a disk missing",
        cost: "the next disk that fails takes the data with it",
        source: "Linux Documentation/admin-guide/md",
        test: Test::Judge(|look| {
            let bad = look.settings("sys/block/md*/md/degraded").into_iter().filter(|at| at.number().is_some_and(|missing| missing > 0));
            bad.map(|at| {
                let array = format!("md{}", at.parts.first().unwrap_or(&""));
                Claim::new(array.clone(), format!("{array} lacks {} of its disks", at.value))
                    .wanted("0 missing")
                    .seen(at.path, at.value)
                    .hint(format!("mdadm --detail /dev/{array} tells which; add a disk with mdadm --add"))
            })
            .collect()
        }),
    },
    Rule {
        id: "storage.file-system-errors",
        checks: "ext4 found no damage",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("sys/fs/ext4/*/errors_count")],
        why: "the file system recorded damage in its own structures",
        cost: "files may be lost; it may turn read-only at any time",
        source: "Linux Documentation/ABI/testing/sysfs-fs-ext4",
        test: Test::Judge(|look| {
            let bad = look.settings("sys/fs/ext4/*/errors_count").into_iter().filter(|at| at.number().is_some_and(|count| count > 0));
            bad.map(|at| {
                let disk = at.parts.first().copied().unwrap_or_default();
                Claim::new(disk, format!("ext4 on {disk} recorded {} errors", at.value))
                    .wanted("0")
                    .seen(at.path, at.value)
                    .hint(format!("unmount it and run: e2fsck -f /dev/{disk}"))
            })
            .collect()
        }),
    },
    Rule {
        id: "storage.emergency-read-only",
        checks: "no file system shut itself down",
        severity: Error,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/self/mounts")],
        why: "after an error a file system refuses writes, and mounts may still say rw beside it",
        cost: "everything that writes there fails",
        source: "fs/ext4/super.c: the option emergency_ro of /proc/mounts; shutdown of XFS and ext4",
        test: Test::Judge(|look| {
            let text = look.text("proc/self/mounts").unwrap_or_default();
            let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|words| words.len() > 3);
            let bad = words.filter(|words| words[3].split(',').any(|option| matches!(option, "emergency_ro" | "shutdown")));
            bad.map(|words| {
                Claim::new(words[1], format!("{} was shut down after an error", words[1]))
                    .wanted("rw")
                    .seen("proc/self/mounts", words.join(" "))
                    .hint("look for the error in the kernel's log; then unmount, check, mount")
            })
            .collect()
        }),
    },
    Rule {
        id: "storage.nfs-slots",
        checks: "NFS may have enough requests under way",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/self/mounts")],
        why: "the number of requests at once to one server limits what many readers get together",
        cost: "a few hundred megabytes a second from a server that can do gigabytes",
        source: "Azure's images for AI set 128 slots; Linux Documentation/admin-guide/kernel-parameters, sunrpc.tcp_slot_table_entries",
        test: Test::Knob(Knob {
            path: "proc/sys/sunrpc/tcp_slot_table_entries",
            want: |look, at| {
                // Only a table whose upper end is low, too, holds requests back.
                let most: u64 = look.value("proc/sys/sunrpc/tcp_max_slot_table_entries").unwrap_or(65_536);
                (!network_mounts(look).is_empty() && most < 128).then(|| at.at_least(128)).flatten()
            },
            keep: Keep::Sysctl,
            risk: "counts for mounts made from now on",
        }),
    },
    Rule {
        id: "storage.nfs-connections",
        checks: "NFS mounts use several connections on a fast network",
        severity: Info,
        roles: WORKERS,
        needs: Needs::Port(25_000),
        scope: Scope::Kernel,
        reads: &[Text("proc/self/mounts")],
        why: "one TCP connection is served by one core at each end",
        cost: "some gigabytes a second at most, whatever the network can do",
        source: "nfs(5), nconnect",
        test: Test::Judge(|look| {
            let single = network_mounts(look).into_iter().filter(|(_, options)| {
                let tcp = !options.split(',').any(|option| matches!(option, "proto=rdma" | "proto=udp"));
                tcp && !options.split(',').any(|option| option.starts_with("nconnect="))
            });
            single
                .map(|(place, options)| {
                    Claim::new(place, format!("{place} is mounted over one connection"))
                        .wanted("nconnect=8 or so")
                        .seen("proc/self/mounts", format!("{place} {options}"))
                        .hint("add nconnect=8 to its options and mount it anew")
                })
                .collect()
        }),
    },
    Rule {
        id: "storage.asynchronous-requests",
        checks: "there is room for asynchronous reads and writes",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/sys/fs/aio-nr")],
        why: "offloading tensors to disks keeps thousands of requests open; the limit counts for the whole machine",
        cost: "`io_setup` fails with EAGAIN in whoever comes last",
        source: "Linux Documentation/admin-guide/sysctl/fs, aio-max-nr",
        test: Test::Knob(Knob {
            path: "proc/sys/fs/aio-max-nr",
            want: |look, at| {
                let used: u64 = look.value("proc/sys/fs/aio-nr")?;
                (used > at.number()? / 5 * 4).then(|| (at.number().unwrap_or(0) * 4).max(1 << 20).to_string())
            },
            keep: Keep::Sysctl,
            risk: "memory that cannot be swapped, a few hundred bytes a request",
        }),
    },
];
