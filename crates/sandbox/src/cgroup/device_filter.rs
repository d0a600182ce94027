//! Which device nodes a run may open: text rules for v1, a small BPF program for v2.
//!
//! Instruction and context layout: Linux `include/uapi/linux/bpf.h` (`struct bpf_insn`, `struct
//! bpf_cgroup_dev_ctx`, program type CGROUP_DEVICE).

use crate::sys;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

const READ: u8 = 2;
const WRITE: u8 = 4;
const MAKE: u8 = 1;

/// Permission for one kind of node. `None` stands for every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    pub block: bool,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    access: u8,
}

impl DeviceRule {
    pub fn open(block: bool, major: u32, minor: Option<u32>) -> DeviceRule {
        DeviceRule { block, major: Some(major), minor, access: READ | WRITE | MAKE }
    }

    /// What every run gets: null, zero, full, random, urandom, tty, ptmx and pseudo terminals; and making
    /// nodes (not opening them), which the container is built with and ranks have no capability for.
    pub fn basic() -> Vec<DeviceRule> {
        let numbers = [(1, Some(3)), (1, Some(5)), (1, Some(7)), (1, Some(8)), (1, Some(9)), (5, Some(0)), (5, Some(2)), (136, None)];
        let make = |block| DeviceRule { block, major: None, minor: None, access: MAKE };
        numbers.into_iter().map(|(major, minor)| DeviceRule::open(false, major, minor)).chain([make(false), make(true)]).collect()
    }

    pub fn v1_text(&self) -> String {
        let kind = if self.block { 'b' } else { 'c' };
        let number = |n: Option<u32>| n.map_or("*".into(), |n| n.to_string());
        let access: String =
            [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')].iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// `struct bpf_insn`: operation, registers (destination in the low half), jump offset, immediate.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbf;
const MOVE: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// The program: r2 = kind of node, r3 = access asked for, r4 = major, r5 = minor; the first rule that covers
/// all of it allows.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let word = |register: u8, at: i16| Instruction { code: LOAD_WORD, registers: register | 1 << 4, offset: at, immediate: 0 };
    let with = |code: u8, register: u8, immediate: i32| Instruction { code, registers: register, offset: 0, immediate };
    let copy = |to: u8, from: u8| Instruction { code: MOVE_REGISTER, registers: to | from << 4, offset: 0, immediate: 0 };
    let verdict = |allow: i32| [with(MOVE, 0, allow), with(EXIT, 0, 0)];
    let mut code = vec![word(2, 0), copy(3, 2), with(AND, 2, 0xffff), with(SHIFT_RIGHT, 3, 16), word(4, 4), word(5, 8)];
    for rule in rules {
        let mut tests = vec![with(JUMP_NOT_EQUAL, 2, if rule.block { 1 } else { 2 })];
        // r0 = what is asked for beyond the rule; nothing must be left.
        tests.extend([copy(0, 3), with(AND, 0, i32::from(!rule.access & 7)), with(JUMP_NOT_EQUAL, 0, 0)]);
        tests.extend(rule.major.map(|major| with(JUMP_NOT_EQUAL, 4, major as i32)));
        tests.extend(rule.minor.map(|minor| with(JUMP_NOT_EQUAL, 5, minor as i32)));
        let end = tests.len() + 2;
        for (at, test) in tests.iter_mut().enumerate().filter(|(_, test)| test.code == JUMP_NOT_EQUAL) {
            test.offset = (end - at - 1) as i16;
        }
        code.extend(tests);
        code.extend(verdict(1));
    }
    code.extend(verdict(0));
    code
}

/// Attaches the rules to a v2 group. Needs CAP_BPF or root, and a kernel with CONFIG_CGROUP_BPF.
pub fn attach(directory: &Path, rules: &[DeviceRule]) -> Result<(), String> {
    const PROG_LOAD: libc::c_int = 5;
    const PROG_ATTACH: libc::c_int = 8;
    const TYPE_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        kind: u32,
        instructions: u32,
        code: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let code = program(rules);
    let license = c"Apache-2.0";
    let load = Load {
        kind: TYPE_CGROUP_DEVICE,
        instructions: code.len() as u32,
        code: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: both argument blocks have the layout of the first fields of `union bpf_attr`, their size is
    // passed along, and code and licence outlive the call. The descriptor is owned from here on.
    let program = unsafe {
        let fd = sys::check(libc::syscall(libc::SYS_bpf, PROG_LOAD, &load, size_of::<Load>()))
            .map_err(|e| format!("loading the device filter: {e}"))?;
        OwnedFd::from_raw_fd(fd as i32)
    };
    let group = File::open(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let attach =
        Attach { target: group.as_raw_fd() as u32, program: program.as_raw_fd() as u32, kind: ATTACH_CGROUP_DEVICE, flags: ALLOW_MULTI };
    // SAFETY: as above.
    sys::check(unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &attach, size_of::<Attach>()) })
        .map(drop)
        .map_err(|error| format!("attaching the device filter: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn allows(code: &[Instruction], block: bool, access: u8, major: u32, minor: u32) -> bool {
        let context = [u32::from(access) << 16 | if block { 1 } else { 2 }, major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let Instruction { code, registers: pair, offset, immediate } = code[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            at += 1;
            match code {
                LOAD_WORD => registers[to] = u64::from(context[offset as usize / 4]),
                MOVE_REGISTER => registers[to] = registers[from],
                MOVE => registers[to] = immediate as u64,
                AND => registers[to] &= immediate as u64,
                SHIFT_RIGHT => registers[to] >>= immediate,
                JUMP_NOT_EQUAL if registers[to] != immediate as u64 => at += offset as usize,
                JUMP_NOT_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_allows_what_the_rules_say() {
        let mut rules = DeviceRule::basic();
        rules.push(DeviceRule::open(false, 195, Some(0)));
        rules.push(DeviceRule::open(true, 259, None));
        let code = program(&rules);
        for (block, access, major, minor, allowed) in [
            (false, READ | WRITE, 1, 3, true),
            (false, READ, 1, 9, true),
            (false, READ | WRITE, 136, 17, true),
            (false, READ | WRITE, 195, 0, true),
            (false, READ | WRITE, 195, 1, false),
            (false, READ, 1, 1, false),
            (true, READ, 1, 3, false),
            (true, READ | WRITE, 259, 4, true),
            (true, READ, 254, 0, false),
            (true, MAKE, 254, 0, true),
            (false, MAKE | READ, 10, 1, false),
        ] {
            assert_eq!(allows(&code, block, access, major, minor), allowed, "block {block} access {access} {major}:{minor}");
        }
        assert!(!allows(&program(&[]), false, READ, 1, 3));
    }

    #[test]
    fn v1_rules_are_the_same_rules() {
        assert_eq!(DeviceRule::open(false, 195, Some(255)).v1_text(), "c 195:255 rwm");
        assert_eq!(DeviceRule::basic().last().map(DeviceRule::v1_text).as_deref(), Some("b *:* m"));
    }

    /// The kernel's own word on the program, in whichever v2 tree there is: a group of its own, a shell in it.
    #[test]
    fn the_kernel_takes_the_program() {
        let Some(root) = crate::cgroup::Mounts::discover().v2.clone().filter(|_| sys::effective_uid() == 0) else {
            eprintln!("skipped: needs root and a cgroup v2 tree");
            return;
        };
        let group = root.join(format!("ashlar-filter-test-{}", std::process::id()));
        std::fs::create_dir(&group).unwrap();
        let attached = attach(&group, &DeviceRule::basic());
        let open = |path: &str| {
            let script = format!("echo $$ > {}/cgroup.procs && exec 3< {path}", group.display());
            std::process::Command::new("/bin/sh").args(["-c", &script]).stderr(std::process::Stdio::null()).status().unwrap().success()
        };
        let answers = (open("/dev/zero"), open("/dev/kmsg"));
        let removed = std::fs::remove_dir(&group);
        attached.unwrap();
        removed.unwrap();
        assert_eq!(answers, (true, false));
    }
}
