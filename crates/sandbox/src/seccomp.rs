//! The default system call filter: a list of calls that a training job never needs and a break-out does.
//!
//! Denied calls fail with EPERM, as a missing privilege would. `clone` with a namespace flag is denied by its
//! argument. The arguments of `clone3` lie in memory, where a filter cannot look, so it fails with ENOSYS and
//! the C library falls back to `clone`; io_uring does the same, and libraries fall back to ordinary calls.
//!
//! The program is a search tree, not a list: when it is put on, the kernel walks it for every call number there is, which
//! for a list of this length costs a third of a millisecond a run.

use seccompiler::{BpfProgram, sock_filter};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Linux 6.15, too new for the C library's list; the same number on every architecture.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// What a rank gets when it calls one of these: EPERM.
const DENIED: &[libc::c_long] = &[
    // the file tree
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    OPEN_TREE_ATTR,
    libc::SYS_chroot,
    // watches the whole machine's files
    libc::SYS_fanotify_init,
    // another process's descriptors
    libc::SYS_pidfd_getfd,
    // namespaces
    libc::SYS_unshare,
    libc::SYS_setns,
    // keys are not namespaced
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // the kernel itself
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_lookup_dcookie,
    // the machine's clock and name
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// What a rank gets here: ENOSYS, because callers know what to do without them.
const ABSENT: &[libc::c_long] = &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// Without the time namespace, which `clone` cannot make: its bit belongs to the exit signal there.
const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Numbers from here on are calls of the x32 kind on x86-64, which no library of ours makes: absent.
const X32: u32 = 0x4000_0000;

/// `AUDIT_ARCH_*` of `linux/audit.h`: calls of another kind, such as those of 32-bit programs, would have other numbers.
const ARCHITECTURES: [(&str, u32); 3] = [("x86_64", 0xc000_003e), ("aarch64", 0xc000_00b7), ("riscv64", 0xc000_00f3)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    /// The call fails with this error number.
    Fail(libc::c_int),
    /// EPERM if one of the namespace flags is set in the first argument.
    ByFlags,
}

/// The program to apply. An error means this processor architecture has no filter. Made once in a process and those
/// forked from it.
pub fn program() -> Result<&'static BpfProgram, &'static str> {
    static PROGRAM: OnceLock<Option<BpfProgram>> = OnceLock::new();
    PROGRAM.get_or_init(|| assemble(std::env::consts::ARCH)).as_ref().ok_or("there is no filter for this processor architecture")
}

fn assemble(architecture: &str) -> Option<BpfProgram> {
    const KILL: u32 = 0x8000_0000;
    const ARCHITECTURE_AT: u32 = 4;
    let (_, expected) = ARCHITECTURES.into_iter().find(|(name, _)| *name == architecture)?;
    let head = [load(ARCHITECTURE_AT), jump(EQUAL, expected, 1, 0), answer(KILL), load(0)];
    Some(head.into_iter().chain(tree(&ranges())?).collect())
}

/// Where the verdict changes along the call numbers, from 0 on.
fn ranges() -> Vec<(u32, Verdict)> {
    let denied = DENIED.iter().map(|call| (*call, Verdict::Fail(libc::EPERM)));
    let absent = ABSENT.iter().map(|call| (*call, Verdict::Fail(libc::ENOSYS)));
    let calls: BTreeMap<u32, Verdict> =
        denied.chain(absent).chain([(libc::SYS_clone, Verdict::ByFlags)]).map(|(call, verdict)| (call as u32, verdict)).collect();
    let mut ranges = vec![(0, Verdict::Allow)];
    for (call, verdict) in calls {
        ranges.extend([(call, verdict), (call + 1, Verdict::Allow)]);
    }
    ranges.push((X32, Verdict::Fail(libc::ENOSYS)));
    let (mut starts, mut merged): (BTreeMap<u32, Verdict>, Vec<(u32, Verdict)>) = (BTreeMap::new(), Vec::new());
    // A call just after another one has the last word on its number.
    starts.extend(ranges);
    for (start, verdict) in starts {
        if merged.last().is_none_or(|(_, last)| *last != verdict) {
            merged.push((start, verdict));
        }
    }
    merged
}

// Instructions of the kernel's packet filter, `linux/bpf_common.h`: load a word of the call's description; jump if the
// loaded word is equal, at least, or has a bit of the constant; end.
const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const END: u16 = 0x06;

fn load(at: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: at }
}

fn jump(code: u16, constant: u32, over_if_true: u8, over_if_false: u8) -> sock_filter {
    sock_filter { code, jt: over_if_true, jf: over_if_false, k: constant }
}

fn answer(action: u32) -> sock_filter {
    sock_filter { code: END, jt: 0, jf: 0, k: action }
}

/// `None` when a branch is longer than the 255 instructions that a jump can pass over: no filter is better than one that
/// jumps into the middle of another branch.
fn tree(ranges: &[(u32, Verdict)]) -> Option<Vec<sock_filter>> {
    const FAIL: u32 = 0x0005_0000;
    const ALLOW: u32 = 0x7fff_0000;
    const FIRST_ARGUMENT_AT: u32 = 16;
    match ranges {
        [] => Some(Vec::new()),
        [(_, Verdict::Allow)] => Some(vec![answer(ALLOW)]),
        [(_, Verdict::Fail(errno))] => Some(vec![answer(FAIL | errno.cast_unsigned())]),
        [(_, Verdict::ByFlags)] => {
            let flags = NAMESPACE_FLAGS.iter().fold(0, |flags, flag| flags | flag.cast_unsigned());
            Some(vec![load(FIRST_ARGUMENT_AT), jump(ANY_BIT, flags, 0, 1), answer(FAIL | libc::EPERM.cast_unsigned()), answer(ALLOW)])
        }
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let (below, above) = (tree(low)?, tree(high)?);
            let over = u8::try_from(below.len()).ok()?;
            Some([vec![jump(AT_LEAST, high[0].0, over, 0)], below, above].concat())
        }
    }
}

/// How many calls the filter stops, for the report.
pub fn size() -> usize {
    DENIED.len() + ABSENT.len() + 1
}

/// Puts the program on the calling thread and all its children. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn apply(program: &BpfProgram) -> Result<(), std::io::Error> {
    seccompiler::apply_filter(program).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
        other => std::io::Error::other(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with a call.
    fn verdict(program: &[sock_filter], architecture: u32, call: u32, first: u32) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let (on_true, on_false) = (usize::from(jt), usize::from(jf));
            at += 1;
            match code {
                LOAD => word = [(0, call), (4, architecture), (16, first)].into_iter().find(|(at, _)| *at == k).unwrap().1,
                EQUAL => at += if word == k { on_true } else { on_false },
                AT_LEAST => at += if word >= k { on_true } else { on_false },
                ANY_BIT => at += if word & k != 0 { on_true } else { on_false },
                END => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn every_call_gets_its_verdict() {
        let program = assemble("x86_64").unwrap();
        let architecture = ARCHITECTURES[0].1;
        let (allow, fail) = (0x7fff_0000, |errno: i32| 0x5_0000 + errno as u32);
        for call in 0..2000u32 {
            let number = i64::from(call);
            let expected = match number {
                libc::SYS_clone => continue,
                _ if DENIED.contains(&number) => fail(libc::EPERM),
                _ if ABSENT.contains(&number) => fail(libc::ENOSYS),
                _ => allow,
            };
            assert_eq!(verdict(&program, architecture, call, 0), expected, "call {call}");
            assert_eq!(verdict(&program, architecture, call | X32, 0), fail(libc::ENOSYS), "x32 call {call}");
            assert_eq!(verdict(&program, 0x4000_0003, call, 0), 0x8000_0000, "32-bit call {call}");
        }
        let clone = |flags: i32| verdict(&program, architecture, libc::SYS_clone as u32, flags as u32);
        assert_eq!(clone(libc::SIGCHLD | libc::CLONE_VM | libc::CLONE_THREAD), allow);
        for flag in NAMESPACE_FLAGS {
            assert_eq!(clone(libc::SIGCHLD | flag), fail(libc::EPERM));
        }
    }

    #[test]
    fn a_branch_that_no_jump_can_pass_over_makes_no_filter() {
        let ranges = |count: u32| (0..count).map(|n| (n, if n % 2 == 0 { Verdict::Allow } else { Verdict::Fail(1) })).collect::<Vec<_>>();
        assert!(tree(&ranges(200)).is_some());
        assert!(tree(&ranges(600)).is_none());
    }

    #[test]
    fn a_call_takes_few_steps_and_an_unknown_processor_has_no_filter() {
        assert!(assemble("x86_64").unwrap().len() < 250);
        assert!(assemble("sparc64").is_none());
    }
}
