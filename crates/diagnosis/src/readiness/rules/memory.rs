//! How the kernel manages memory: placement, huge pages, write-back, reserves.

use crate::Severity::{Info, Warning};
use crate::readiness::look::{Look, Setting};
use crate::readiness::rule::{Claim, EVERY_ROLE, Keep, Knob, Needs, ON_ACCELERATORS, Role, Rule, Scope, Test, WORKERS};
use machine::Source::Text;

const VM: &str = "Linux Documentation/admin-guide/sysctl/vm";
const THP: &str = "Linux Documentation/admin-guide/mm/transhuge";
/// Dirty pages that a disk of 2 GB/s writes in eight seconds: more makes every sync of a checkpoint a long stall.
const MOST_DIRTY: u64 = 16 << 30;

/// A memory node without CPUs is slower memory (CXL, persistent), which balancing in mode 2 sorts pages into.
fn has_slow_nodes(look: &Look) -> bool {
    look.facts.machine.numa.iter().any(|node| node.cpus.is_empty() && node.memory.0 > 0)
}

/// The per cent of memory that a number of bytes is, at least one.
fn per_cent(look: &Look, bytes: u64) -> u64 {
    (bytes * 100 / look.memory().max(1)).max(1)
}

/// Half a thousandth of memory between 64 MiB and 1 GiB: bursts from network cards and accelerators are allocated from
/// contexts that cannot wait, and what they take at once grows with the machine.
fn reserve(look: &Look) -> u64 {
    (look.memory() / 2000 / 1024).clamp(64 << 10, 1 << 20)
}

fn min_free(look: &Look, at: &Setting) -> Option<String> {
    let (now, fit) = (at.number()?, reserve(look));
    let of_memory = now * 1024 * 100 / look.memory().max(1);
    // Half or less of what fits is too little; more than a twentieth of all memory is lost to everybody.
    (now < fit / 2 || of_memory >= 5).then(|| fit.to_string())
}

pub const RULES: &[Rule] = &[
    Rule {
        id: "memory.numa-balancing",
        checks: "pages do not move between memory nodes under pinned work",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Numa,
        scope: Scope::Kernel,
        reads: &[],
        why: "automatic balancing takes pages away to see who touches them; work that is pinned gains nothing and pays the faults",
        cost: "jitter of milliseconds, and pinned buffers of a card that are looked at for nothing; RCCL warns of it at each start",
        source: "tuned profiles hpc-compute and network-latency; RCCL's own warning",
        test: Test::Knob(Knob {
            path: "proc/sys/kernel/numa_balancing",
            want: |look, at| if at.value == "2" && has_slow_nodes(look) { None } else { at.exactly("0") },
            keep: Keep::Sysctl,
            risk: "programs that are not pinned keep memory where they first touched it",
        }),
    },
    Rule {
        id: "memory.zone-reclaim",
        checks: "a full memory node does not throw away its page cache",
        severity: Warning,
        roles: &[Role::Serve, Role::Data],
        needs: Needs::Numa,
        scope: Scope::Kernel,
        reads: &[],
        why: "with zone reclaim the kernel drops cached files of a node before it takes free memory of another one",
        cost: "model files and data sets are read from disk again and again",
        source: VM,
        test: Test::Knob(Knob {
            path: "proc/sys/vm/zone_reclaim_mode",
            want: |_, at| at.exactly("0"),
            keep: Keep::Sysctl,
            risk: "some memory is remote when a node is full",
        }),
    },
    Rule {
        id: "memory.swappiness",
        checks: "work is not swapped out for page cache",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/meminfo")],
        why: "reading a large data set fills the page cache, and the default prefers to swap programs out to dropping it",
        cost: "a rank that waits for its own pages stops all ranks",
        source: "tuned profile throughput-performance sets 10",
        test: Test::Knob(Knob {
            path: "proc/sys/vm/swappiness",
            // Without swap the value does nothing.
            want: |look, at| if look.swap() == 0 { None } else { at.at_most(10) },
            keep: Keep::Sysctl,
            risk: "less page cache under memory pressure",
        }),
    },
    Rule {
        id: "memory.dirty-limit",
        checks: "unwritten data stays below 16 GiB",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Memory(128),
        scope: Scope::Kernel,
        reads: &[],
        why: "the limit is a share of memory, so a machine with a terabyte collects hundreds of gigabytes before writers are slowed",
        cost: "a checkpoint's fsync writes all of that first, and every other writer stands still meanwhile",
        source: "Linux Documentation/admin-guide/sysctl/vm, dirty_ratio; tuned latency profiles set 10 and 3 per cent",
        test: Test::Knob(Knob {
            path: "proc/sys/vm/dirty_ratio",
            // 0: a limit in bytes is set instead.
            want: |look, at| if at.number()? == 0 { None } else { at.at_most(per_cent(look, MOST_DIRTY).max(2)) },
            keep: Keep::Sysctl,
            risk: "long bursts of writes reach the speed of the disk sooner",
        }),
    },
    Rule {
        id: "memory.dirty-background",
        checks: "writing starts before the limit is near",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Memory(128),
        scope: Scope::Kernel,
        reads: &[],
        why: "the kernel starts to write at this share of memory; late starts end in stalls",
        cost: "checkpoints that take long at their end",
        source: "Linux Documentation/admin-guide/sysctl/vm, dirty_background_ratio",
        test: Test::Knob(Knob {
            path: "proc/sys/vm/dirty_background_ratio",
            want: |look, at| if at.number()? == 0 { None } else { at.at_most(per_cent(look, MOST_DIRTY / 2)) },
            keep: Keep::Sysctl,
            risk: "disks are written to a little earlier",
        }),
    },
    Rule {
        id: "memory.reserve",
        checks: "the kernel's reserve fits the memory",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Memory(64),
        scope: Scope::Kernel,
        reads: &[],
        why: "network cards and accelerators allocate where nobody may wait; the reserve is what they take from",
        cost: "too little: `page allocation failure` and dropped packets under load; too much: memory nobody can use",
        source: "tuned hpc-compute sets 135168 kB whatever the machine; scaled here with its memory",
        test: Test::Knob(Knob {
            path: "proc/sys/vm/min_free_kbytes",
            want: min_free,
            keep: Keep::Sysctl,
            risk: "that much less for programs",
        }),
    },
    Rule {
        id: "memory.overcommit",
        checks: "address space may be reserved beyond memory",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "runtimes of accelerators reserve an address range as large as all cards and the host together; strict accounting refuses it",
        cost: "CUDA and HIP programs fail to start, or fork fails, with memory free",
        source: "Linux Documentation/mm/overcommit-accounting",
        test: Test::Knob(Knob {
            path: "proc/sys/vm/overcommit_memory",
            want: |_, at| (at.value == "2").then(|| "0".to_owned()),
            keep: Keep::Sysctl,
            risk: "programs that ask for too much are ended when they use it, not refused when they ask",
        }),
    },
    Rule {
        id: "memory.map-count",
        checks: "a process may map enough files",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "compiled kernels, checkpoints that are mapped shard by shard, and allocators with many arenas pass the old default of 65530",
        cost: "`Cannot allocate memory` with memory free, late in a run",
        source: "NVIDIA's node tuning for GB200 sets 262144; distributions moved to 1048576",
        test: Test::Knob(Knob {
            path: "proc/sys/vm/max_map_count",
            want: |_, at| at.at_least(262_144),
            keep: Keep::Sysctl,
            risk: "a process that leaks mappings is stopped later",
        }),
    },
    Rule {
        id: "memory.thp-off",
        checks: "programs can ask for huge pages",
        severity: Warning,
        roles: &[Role::Train, Role::Data],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "with `never` even allocators that ask for huge pages get small ones",
        cost: "more misses of the address cache on large tensors and shuffles in host memory",
        source: THP,
        test: Test::Knob(Knob {
            path: "sys/kernel/mm/transparent_hugepage/enabled",
            want: |_, at| if at.now() == "never" { at.choose("madvise") } else { None },
            keep: Keep::Tmpfiles,
            risk: "databases on the same machine may ask for `never`",
        }),
    },
    Rule {
        id: "memory.thp-always",
        checks: "huge pages go to those that ask where latency counts",
        severity: Info,
        roles: &[Role::Serve],
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "with `always` small programs get huge pages too, and the kernel collapses pages while requests are served",
        cost: "memory use grows, tails of tens of microseconds",
        source: THP,
        test: Test::Knob(Knob {
            path: "sys/kernel/mm/transparent_hugepage/enabled",
            want: |_, at| if at.now() == "always" { at.choose("madvise") } else { None },
            keep: Keep::Tmpfiles,
            risk: "programs that never ask lose huge pages",
        }),
    },
    Rule {
        id: "memory.thp-stall",
        checks: "nobody waits while the kernel makes huge pages",
        severity: Warning,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "with defrag `always` each fault of any program may stop for compaction and reclaim",
        cost: "stalls of many milliseconds once memory is fragmented",
        source: THP,
        test: Test::Knob(Knob {
            path: "sys/kernel/mm/transparent_hugepage/defrag",
            want: |_, at| if at.now() == "always" { at.choose("defer+madvise").or_else(|| at.choose("madvise")) } else { None },
            keep: Keep::Tmpfiles,
            risk: "fewer huge pages right after start",
        }),
    },
    Rule {
        id: "memory.hugepages-idle",
        checks: "reserved huge pages are used",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("sys/kernel/mm/hugepages/hugepages-*/nr_hugepages"), Text("sys/kernel/mm/hugepages/hugepages-*/free_hugepages")],
        why: "huge pages that are reserved at boot belong to nobody else, used or not",
        cost: "that memory",
        source: "Linux Documentation/admin-guide/mm/hugetlbpage",
        test: Test::Judge(idle_hugepages),
    },
    Rule {
        id: "memory.panic-on-oom",
        checks: "running out of memory ends a job, not the machine",
        severity: Warning,
        roles: EVERY_ROLE,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "with panic_on_oom the first job that asks for too much takes all others down",
        cost: "everybody's work",
        source: VM,
        test: Test::Knob(Knob {
            path: "proc/sys/vm/panic_on_oom",
            want: |_, at| at.exactly("0"),
            keep: Keep::Sysctl,
            risk: "clusters that rely on a restart of the whole machine",
        }),
    },
    Rule {
        id: "memory.oom-kills-asker",
        checks: "the largest program is ended when memory runs out, not the one that asked last",
        severity: Info,
        roles: WORKERS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[],
        why: "the one that asked last may be the ssh server or the node itself",
        cost: "a machine without its services",
        source: VM,
        test: Test::Knob(Knob {
            path: "proc/sys/vm/oom_kill_allocating_task",
            want: |_, at| at.exactly("0"),
            keep: Keep::Sysctl,
            risk: "searching for the largest takes a moment",
        }),
    },
    Rule {
        id: "memory.shm-small",
        checks: "/dev/shm is large enough for data loaders and collectives",
        severity: Warning,
        roles: ON_ACCELERATORS,
        needs: Needs::Any,
        scope: Scope::Software,
        reads: &[Text("proc/self/mounts")],
        why: "PyTorch's data loaders pass batches through it, and NCCL the messages between ranks of one machine",
        cost: "`Bus error` or `No space left on device` in the middle of a run",
        source: "PyTorch documentation, multiprocessing best practices; containers get 64 MB unless told otherwise",
        test: Test::Judge(small_shm),
    },
    Rule {
        id: "memory.init-on-alloc",
        checks: "what clearing every allocation costs is known",
        severity: Info,
        roles: ON_ACCELERATORS,
        needs: Needs::Any,
        scope: Scope::Kernel,
        reads: &[Text("proc/cmdline")],
        why: "each page is cleared when it is handed out: a protection against leaks of the kernel's memory",
        cost: "some per cents of network and page-cache throughput; NVIDIA's node tuning switches it off and gives up the protection",
        source: "Linux Documentation/admin-guide/kernel-parameters, init_on_alloc",
        test: Test::Judge(|look| match look.parameter("init_on_alloc") {
            Some("1" | "on") => vec![
                Claim::new("kernel", "init_on_alloc=1 is on the command line")
                    .seen("proc/cmdline", "init_on_alloc=1")
                    .hint("a trade of speed for protection: leave it where people share the machine"),
            ],
            _ => vec![],
        }),
    },
];

fn idle_hugepages(look: &Look) -> Vec<Claim> {
    let mut claims = vec![];
    for all in look.settings("sys/kernel/mm/hugepages/hugepages-*/nr_hugepages") {
        let Some(size) = all.parts.first().and_then(|part| part.strip_suffix("kB")?.parse::<u64>().ok()) else { continue };
        let free_path = all.path.replace("nr_hugepages", "free_hugepages");
        let (Some(reserved), Some(free)) = (all.number(), look.value::<u64>(&free_path)) else { continue };
        let bytes = free.saturating_mul(size << 10);
        // A twentieth of memory, and none of it touched: somebody forgot it.
        if reserved == 0 || free < reserved || bytes * 20 < look.memory() {
            continue;
        }
        claims.push(
            Claim::new("huge pages", format!("{} in {reserved} huge pages of {size} kB are reserved and unused", machine::Bytes(bytes)))
                .wanted("0, or a job that uses them")
                .seen(all.path, all.value)
                .seen(&free_path, free)
                .command(format!("echo 0 > /{}", all.path)),
        );
    }
    claims
}

fn small_shm(look: &Look) -> Vec<Claim> {
    let Some(mounts) = look.text("proc/self/mounts") else { return vec![] };
    let line = mounts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|words| words.get(1) == Some(&"/dev/shm"));
    let options = line.as_ref().and_then(|words| words.get(3)).copied().unwrap_or_default();
    let size = options.split(',').find_map(|option| option.strip_prefix("size="));
    let kilobytes = size.and_then(|size| match size.strip_suffix('k') {
        Some(number) => number.parse::<u64>().ok(),
        None => size.parse::<u64>().ok().map(|bytes| bytes / 1024),
    });
    match kilobytes {
        Some(kilobytes) if kilobytes < 1 << 20 => vec![
            Claim::new("/dev/shm", format!("/dev/shm has room for {}", machine::Bytes(kilobytes << 10)))
                .wanted("1 GiB or more")
                .seen("proc/self/mounts", format!("/dev/shm {options}"))
                .command("mount -o remount,size=50% /dev/shm"),
        ],
        _ => vec![],
    }
}
