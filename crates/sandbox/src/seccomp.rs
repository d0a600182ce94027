//! The default system call filter: a list of calls that a training job never needs and a break-out does.
//!
//! Denied calls fail with EPERM, as a missing privilege would. `clone` with a namespace flag is denied by its
//! argument. The arguments of `clone3` lie in memory, where a filter cannot look, so it fails with ENOSYS and
//! the C library falls back to `clone`; io_uring does the same, and libraries fall back to ordinary calls.

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};
use std::collections::BTreeMap;

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

/// The numbers under which a call can be made: on x86-64 a second time with the x32 bit.
fn numbers(call: libc::c_long) -> impl Iterator<Item = i64> {
    let x32 = cfg!(target_arch = "x86_64").then_some(call | 0x4000_0000);
    [call].into_iter().chain(x32)
}

fn filter(calls: BTreeMap<i64, Vec<SeccompRule>>, errno: libc::c_int) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    SeccompFilter::new(calls, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}

/// The programs to apply, in any order. An error means this processor architecture has no filter.
pub fn compile() -> Result<Vec<BpfProgram>, String> {
    let mut denied: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().flat_map(|call| numbers(*call)).map(|number| (number, Vec::new())).collect();
    let by_flag = NAMESPACE_FLAGS
        .iter()
        .map(|flag| {
            let flag = *flag as u32 as u64;
            SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)
                .and_then(|condition| SeccompRule::new(vec![condition]))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    denied.extend(numbers(libc::SYS_clone).map(|number| (number, by_flag.clone())));
    let absent = ABSENT.iter().flat_map(|call| numbers(*call)).map(|number| (number, Vec::new())).collect();
    Ok(vec![filter(denied, libc::EPERM)?, filter(absent, libc::ENOSYS)?])
}

/// How many calls the filter stops, for the report.
pub fn size() -> usize {
    DENIED.len() + ABSENT.len() + 1
}

/// Puts the programs on the calling thread and all its children. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn apply(programs: &[BpfProgram]) -> Result<(), std::io::Error> {
    for program in programs {
        seccompiler::apply_filter(program).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
            other => std::io::Error::other(other.to_string()),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_fits() {
        let programs = compile().unwrap();
        assert_eq!(programs.len(), 2);
        // The kernel takes 4096 instructions.
        assert!(programs.iter().all(|program| (4..4096).contains(&program.len())));
    }
}
