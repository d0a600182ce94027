//! The whole road on a kernel that this machine does not run: one with control groups of version 2 alone.

use super::bench_node::ASHLAR;
use std::path::Path;
use std::process::Command;

/// Every check that `testdata/vm/checks` makes in the virtual machine.
const CHECKS: usize = 25;

#[test]
fn everything_holds_where_control_groups_are_version_2_alone() {
    let Some(kernel) = std::env::var_os("ASHLAR_VM_KERNEL") else {
        eprintln!("skipped: ASHLAR_VM_KERNEL names no kernel to boot; docs/guides/develop.md says where one comes from");
        return;
    };
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vm/run");
    let output = Command::new(run).arg(ASHLAR).arg(kernel).output().unwrap();
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{errors}");
    assert_eq!(told.lines().filter(|line| line.starts_with("ok ")).count(), CHECKS, "{told}");
}
