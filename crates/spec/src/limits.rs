//! The largest and smallest values a job may ask for, each with its reason.
//!
//! Everything has a bound, so that a slip of the finger is told to the person who made it and never becomes
//! an allocation, a full disk or a log record that nobody can read back.

use machine::Bytes;
use std::ops::RangeInclusive;

use crate::Span;

/// Ranks of one gang. A rank is at least one process and one leased port; the default port lease of a machine
/// would not feed more.
pub const RANKS: RangeInclusive<i64> = 1..=4096;
/// Sizes of one elastic gang that its file lists.
pub const SIZES: usize = 64;
/// Accelerators of one rank. All of them are in one machine, and no server carries more than this.
pub const DEVICES: RangeInclusive<i64> = 1..=128;
/// Whole CPUs of one rank: the kernel's own ceiling (`NR_CPUS` on x86-64).
pub const CPUS: RangeInclusive<i64> = 1..=8192;
/// Wide enough to give every habit its place, narrow enough to be compared at a glance.
pub const PRIORITY: RangeInclusive<i64> = -1000..=1000;
/// Runs of one job in all. A job that fails a hundred times has a fault that a further run does not cure.
pub const ATTEMPTS: RangeInclusive<i64> = 1..=100;
/// Weight of a queue.
pub const WEIGHT: RangeInclusive<i64> = 1..=1000;
/// Runs of a queue at a time, and tasks of an array at a time.
pub const AT_ONCE: RangeInclusive<i64> = 1..=100_000;
/// Tasks of one array: each becomes a job with its own records.
pub const ARRAY_TASKS: u64 = 100_000;
/// Jobs that one job may wait for.
pub const DEPENDENCIES: usize = 256;
/// Mounts of one job: each is a system call at the start of every rank.
pub const MOUNTS: usize = 64;
/// Packages named one by one; more belong into a requirements file.
pub const PACKAGES: usize = 1000;
/// Queues of one node.
pub const QUEUES: usize = 1000;
/// Models that one request for devices may name; each is compared with all before it.
pub const DEVICE_MODELS: usize = 32;
/// Complaints about one job in an answer.
pub const PROBLEMS: usize = 100;

/// A name is shown in a column of a listing.
pub const NAME_CHARACTERS: usize = 128;
/// `PATH_MAX` of Linux, the final zero byte included.
pub const PATH_BYTES: usize = 4095;
/// The kernel takes no argument and no `KEY=VALUE` longer than 32 pages (`MAX_ARG_STRLEN`), the final zero
/// byte included.
pub const ARGUMENT_BYTES: usize = 131_071;
/// Arguments and variables share a quarter of the stack (2 MiB with the usual 8 MiB), so neither may use it up.
pub const COMMAND_BYTES: usize = 512 << 10;
/// See [`COMMAND_BYTES`].
pub const ENV_BYTES: usize = 1 << 20;
/// A script is handed to its interpreter as one argument.
pub const SCRIPT_BYTES: usize = ARGUMENT_BYTES;
/// Requirements and lock files are part of the job's record too; a lock file with hashes of a large
/// environment has about a megabyte.
pub const REQUIREMENTS_BYTES: usize = 4 << 20;
/// A job file larger than this is something else.
pub const FILE_BYTES: usize = 4 << 20;

/// Less than this and a process is killed before its first instruction.
pub const MEMORY_MIN: Bytes = Bytes::mib(4);
/// Far above any machine, far below the point where sums of such values wrap.
pub const MEMORY_MAX: Bytes = Bytes(1 << 60);
/// One page.
pub const SHM_MIN: Bytes = Bytes::kib(4);

/// Ten years: longer than a machine lives.
pub const SPAN_MAX: Span = Span::hours(24 * 3650);
/// The back-off doubles up to an hour, so it cannot begin above it.
pub const BACKOFF_MAX: Span = Span::hours(1);
/// A machine that must be emptied cannot wait for more than a day.
pub const GRACE_MAX: Span = Span::hours(24);
