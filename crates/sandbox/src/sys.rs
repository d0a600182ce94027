//! The few system calls that no crate in the tree wraps, each as one safe function.
//!
//! Every process that calls into this crate is single-threaded ([`single_threaded`] refuses others), so a
//! forked child may run ordinary Rust code: no lock can be held by a thread that does not exist in it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The number of threads of this process; more than one makes forking unsound.
pub fn threads() -> usize {
    // Asked to leave its thread group, which it is not in by itself alone, the kernel refuses a process with several
    // threads and has nothing to do for another. Counting them is slower.
    // SAFETY: with this flag alone nothing is unshared.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return 1;
    }
    std::fs::read_dir("/proc/self/task").map(|tasks| tasks.count()).unwrap_or(1)
}

pub fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Which side of a fork we are on.
pub enum Forked {
    Parent(libc::pid_t),
    Child,
}

/// `fork(2)`.
pub fn fork() -> io::Result<Forked> {
    // SAFETY: the process is single-threaded, so the child may use the heap and every lock.
    match check(libc::c_long::from(unsafe { libc::fork() }))? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid as libc::pid_t)),
    }
}

/// A fork whose child has new namespaces (`CLONE_NEW*`, may be none) and, where the kernel lets it, is born in the
/// cgroup v2 directory `group`: joining by a write to `cgroup.procs` would make the kernel wait for every processor (an
/// RCU grace period, several milliseconds). The flag says whether it was born there.
pub fn fork_with(namespaces: libc::c_int, group: Option<BorrowedFd<'_>>) -> io::Result<(Forked, bool)> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let namespaces = u64::from(namespaces.cast_unsigned());
    if let Some(group) = group {
        let born_there = CloneArgs { flags: namespaces | CLONE_INTO_CGROUP, cgroup: group.as_raw_fd() as u64, ..CloneArgs::default() };
        // A refusal may be about the group alone, so it is asked again without.
        if let Ok(forked) = clone3(born_there) {
            return Ok((forked, true));
        }
    }
    if namespaces == 0 {
        return fork().map(|forked| (forked, false));
    }
    match clone3(CloneArgs { flags: namespaces, ..CloneArgs::default() }) {
        // Filters that cannot look at its arguments, in memory, let on that the call does not exist.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => clone(namespaces),
        result => result,
    }
    .map(|forked| (forked, false))
}

/// The kernel's `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

fn clone3(args: CloneArgs) -> io::Result<Forked> {
    let args = CloneArgs { exit_signal: libc::SIGCHLD as u64, ..args };
    // SAFETY: no CLONE_VM and no stack given, so this is a fork; the process is single-threaded and the
    // argument block lives through the call.
    side(check(unsafe { libc::syscall(libc::SYS_clone3, &args, size_of::<CloneArgs>()) })?)
}

/// The older call. Its other arguments, whose order differs between architectures, are all zero.
fn clone(flags: u64) -> io::Result<Forked> {
    // SAFETY: as for `clone3`: a fork, from a single-threaded process.
    side(check(unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD as u64, 0, 0, 0, 0) })?)
}

fn side(result: libc::c_long) -> io::Result<Forked> {
    Ok(if result == 0 { Forked::Child } else { Forked::Parent(result as libc::pid_t) })
}

/// The file mode mask, and the one before.
pub fn file_mode_mask(mask: libc::mode_t) -> libc::mode_t {
    // SAFETY: always succeeds.
    unsafe { libc::umask(mask) }
}

/// Ends a forked child without running the exit handlers it inherited.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and length describe `groups`. glibc signals other threads; there are none.
    check(libc::c_long::from(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })).map(drop)
}

/// Makes uid and gid those of the person, for good.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: plain system calls; the only pointer is null.
    unsafe {
        // A new and nameless keyring: the caller's holds the keys of whoever logged in to start the node. A kernel without
        // keyrings has none to leave.
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>());
        check(libc::c_long::from(libc::setresgid(gid, gid, gid)))?;
        check(libc::c_long::from(libc::setresuid(uid, uid, uid)))?;
    }
    Ok(())
}

/// Runs `work` with the file-access rights of a person, in a privileged process: permissions along a path are
/// then the kernel's business, not a check of ours that a moving symbolic link could outrun.
pub fn as_user<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> T {
    // SAFETY: plain system calls; both affect this (only) thread and are undone below. The supplementary
    // groups were already set to the person's.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
    let result = work();
    // SAFETY: as above.
    unsafe {
        libc::setfsuid(libc::geteuid());
        libc::setfsgid(libc::getegid());
    }
    result
}

/// Sets attributes on a mount held by `mount`, and on everything mounted below it when `recursive`, and cuts them off from the
/// mounts they were copied from: what the machine mounts there later is not the run's to see.
pub fn mount_attributes(mount: impl AsFd, set: u64, recursive: bool) -> io::Result<()> {
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    mount_setattr(mount, &libc::mount_attr { attr_set: set, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 }, flags)
}

/// Makes a mount one that no bind of a directory above it takes along.
pub fn never_bind(mount: impl AsFd) -> io::Result<()> {
    mount_setattr(mount, &libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_UNBINDABLE, userns_fd: 0 }, 0)
}

fn mount_setattr(mount: impl AsFd, attributes: &libc::mount_attr, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: the path is a valid empty string and the attribute block lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | flags,
            attributes as *const libc::mount_attr,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Switches the loopback interface of the current network namespace on.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: `ifreq` is plain data; zero is a valid value of all its fields.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    // SAFETY: creates a socket that is owned from here on; the two calls read and write `request` only.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(libc::c_long::from(socket))?;
        let socket = OwnedFd::from_raw_fd(socket);
        check(libc::c_long::from(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &mut request)))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::c_long::from(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &mut request)))?;
    }
    Ok(())
}

/// A resource limit that may not be raised above the hard limit of this process without a capability.
/// Returns the soft and hard limit now in force.
pub fn limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<(u64, u64)> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take a valid pointer to a `rlimit`.
    unsafe {
        let wanted = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        if libc::setrlimit(resource, &wanted) != 0 {
            check(libc::c_long::from(libc::getrlimit(resource, &mut now)))?;
            let clamped = libc::rlimit { rlim_cur: soft.min(now.rlim_max), rlim_max: hard.min(now.rlim_max) };
            check(libc::c_long::from(libc::setrlimit(resource, &clamped)))?;
        }
        check(libc::c_long::from(libc::getrlimit(resource, &mut now)))?;
    }
    Ok((now.rlim_cur, now.rlim_max))
}

/// Allocates this process's memory on the given nodes only (`MPOL_BIND`).
pub fn bind_memory(nodes: &[u64]) -> io::Result<()> {
    const MPOL_BIND: libc::c_long = 2;
    // SAFETY: the mask is read for `nodes.len() * 64` bits; the kernel wants one more than the highest bit.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, MPOL_BIND, nodes.as_ptr(), nodes.len() * 64 + 1) }).map(drop)
}

/// The scheduler's attributes of a task, as sched_setattr(2) has them in its first version.
#[repr(C)]
#[derive(Default)]
struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks the scheduler for slices of this length for this thread and whatever it starts, its nice value kept. Gives the length
/// that the kernel has afterwards; zero where it has none by task.
pub fn ask_for_slice(length: std::time::Duration) -> io::Result<std::time::Duration> {
    let size = std::mem::size_of::<SchedulingAttributes>() as u32;
    let mut now = SchedulingAttributes { size, ..SchedulingAttributes::default() };
    // SAFETY: the kernel writes no more than the given size into the structure.
    let read = |now: &mut SchedulingAttributes| check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut *now, size, 0) });
    read(&mut now)?;
    now.size = size;
    now.runtime = length.as_nanos() as u64;
    // SAFETY: the structure is read; its first field says how long it is.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const now, 0) })?;
    read(&mut now)?;
    Ok(std::time::Duration::from_nanos(now.runtime))
}

/// Runs this process on the given CPUs only, from a kernel bit mask.
pub fn pin(mask: &[u64]) -> io::Result<()> {
    // SAFETY: the mask is read for the given number of bytes.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, std::mem::size_of_val(mask), mask.as_ptr()) }).map(drop)
}

/// A kernel bit mask of small numbers, whole 64-bit words.
pub fn mask(numbers: impl Iterator<Item = u32>) -> Vec<u64> {
    let mut mask: Vec<u64> = Vec::new();
    for number in numbers {
        let word = number as usize / 64;
        if mask.len() <= word {
            mask.resize(word + 1, 0);
        }
        mask[word] |= 1 << (number % 64);
    }
    mask
}

/// All signals to their default action and none blocked: what a program expects at its start.
pub fn default_signals() {
    /// Larger than the kernel's `struct sigaction` of any architecture; all zero means the default action.
    const DEFAULT: [u64; 8] = [0; 8];
    const BYTES_OF_SET: usize = 8;
    for signal in 1..=64 {
        // SAFETY: the action is read and the old one not asked for; SIGKILL and SIGSTOP refuse. Called directly,
        // because the C library keeps its hands on two of the signals, which an ancestor may have ignored.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), std::ptr::null::<u64>(), BYTES_OF_SET) };
    }
    // SAFETY: the set is initialised before use.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Blocks SIGCHLD and returns a descriptor that is readable whenever a child changed.
pub fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before use and the descriptor is owned from here on.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        check(libc::c_long::from(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut())))?;
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(libc::c_long::from(fd))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// `dup2` onto one of the three standard descriptors.
pub fn standard(fd: &OwnedFd, target: RawFd) -> io::Result<()> {
    // SAFETY: both numbers are descriptors; the target is replaced.
    check(libc::c_long::from(unsafe { libc::dup2(fd.as_raw_fd(), target) })).map(drop)
}

/// Every descriptor above the standard three closes at exec.
pub fn close_others_at_exec() {
    // SAFETY: sets a flag on descriptors. Fails before Linux 5.11, where ours are close-on-exec already.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Closes every descriptor above the standard three except those in `keep`, which need not be sorted. For a
/// process that never returns to whoever owned the others.
pub fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for last in keep.into_iter().map(|fd| fd - 1).chain([i32::MAX]) {
        if first <= last {
            // SAFETY: the owners of these descriptors never run again in this process.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
        first = last.saturating_add(2);
    }
}

/// Lets every signal through again, for a child of a process that reads its signals from a descriptor.
pub fn unblock_signals() {
    // SAFETY: the set is initialised before use.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Gives free pieces of the heap back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches only the allocator's own free memory.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Drops the pages of a private, read-only mapping of a file that was never written to: the kernel reads them again
/// from the file when they are used.
pub fn forget_pages(start: usize, end: usize) {
    // SAFETY: the caller read from the kernel that no page of the mapping differs from its file.
    unsafe { libc::madvise(start as *mut libc::c_void, end.saturating_sub(start), libc::MADV_DONTNEED) };
}

/// A list for `execve`: pointers to the strings, then null.
pub fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// `execve`; returns only with an error. Both lists come from [`pointers`].
pub fn exec(path: &CStr, arguments: &[*const libc::c_char], environment: &[*const libc::c_char]) -> io::Error {
    // SAFETY: both lists end in null and point to strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// How a child left, with what it and its reaped descendants used.
pub struct Gone {
    pub pid: libc::pid_t,
    pub status: libc::c_int,
    /// User and system time in microseconds.
    pub cpu_micros: u64,
}

/// Waits for a child (`-1`: any). `None`: no child has changed (`block` false) or there is none.
pub fn wait(pid: libc::pid_t, block: bool) -> Option<Gone> {
    let mut status = 0;
    // SAFETY: `rusage` is plain data, and both out pointers are valid.
    let (result, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        loop {
            let result = libc::wait4(pid, &mut status, if block { 0 } else { libc::WNOHANG }, &mut usage);
            if result >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                break (result, usage);
            }
        }
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    (result > 0).then(|| Gone { pid: result, status, cpu_micros: micros(usage.ru_utime) + micros(usage.ru_stime) })
}

/// Whether the other end of a socket is closed.
pub fn hung_up(socket: impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut ends = [PollFd::new(&socket, PollFlags::HUP)];
    poll(&mut ends, Some(&Timespec::default())).is_ok() && ends[0].revents().contains(PollFlags::HUP)
}

pub fn kill(pid: libc::pid_t, signal: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(libc::c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

pub fn effective_uid() -> u32 {
    // SAFETY: always succeeds.
    unsafe { libc::geteuid() }
}

pub fn effective_gid() -> u32 {
    // SAFETY: always succeeds.
    unsafe { libc::getegid() }
}

/// Removes every capability except those in `keep` from what this process and its children could ever have again. A
/// no-op where it may not do so.
pub fn drop_bounding(keep: &[u32]) {
    const HIGHEST: libc::c_ulong = 63;
    for capability in (0..=HIGHEST).filter(|capability| !keep.contains(&(*capability as u32))) {
        // SAFETY: plain numbers. The first one that the kernel does not know is the end.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if result != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
            return;
        }
    }
}

/// Removes every capability from this process except those in `keep`.
pub fn drop_capabilities(keep: &[u32]) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let mut data = [Data { effective: 0, permitted: 0, inheritable: 0 }; 2];
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: the prctl call takes plain numbers; capget and capset read and write the two structures, which
    // have the kernel's layout for version 3.
    unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0, 0, 0);
        check(libc::syscall(libc::SYS_capget, &header, data.as_mut_ptr()))?;
        for (word, data) in data.iter_mut().enumerate() {
            let kept = keep.iter().filter(|c| **c as usize / 32 == word).fold(0u32, |bits, c| bits | 1 << (c % 32));
            data.permitted &= kept;
            data.effective = data.permitted;
            data.inheritable = 0;
        }
        check(libc::syscall(libc::SYS_capset, &header, data.as_ptr())).map(drop)
    }
}

/// The capability sets of this process: effective, as a bit mask.
pub fn effective_capabilities() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_whole_words() {
        assert_eq!(mask([0, 1].into_iter()), [3]);
        assert_eq!(mask([63, 64].into_iter()), [1 << 63, 1]);
        assert!(mask(std::iter::empty()).is_empty());
    }
}
