//! The same without root: a child becomes nobody before it starts the run.

use crate::{Case, NOBODY, open_directory, probe_command, run, run_with, scripts, wait_for};
use sandbox::RankEvent;
use spec::{Enforced, IsolationLevel, Mount, Network};
use std::path::Path;

pub const CASES: &[Case] = &[
    ("unprivileged_namespaces", namespaces),
    ("unprivileged_no_network", no_network),
    ("unprivileged_refuses_container", refuses_container),
    ("unprivileged_process_level", process_level),
    ("process_level_as_root", process_level_as_root),
    ("process_level_fork_bomb", process_level_fork_bomb),
    ("process_level_supervisor_killed", process_level_supervisor_killed),
];

/// From here on this process is nobody's, in a directory it owns.
fn become_nobody(directory: &Path) -> std::path::PathBuf {
    let own = open_directory(directory.join("own"));
    std::fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(NOBODY, NOBODY, NOBODY), 0);
        assert_eq!(libc::setresuid(NOBODY, NOBODY, NOBODY), 0);
        // Changing the uid made this process undumpable, which a login shell is not.
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
    }
    own
}

/// User namespaces may not be made from here on.
fn forbid_user_namespaces() {
    let flag = libc::CLONE_NEWUSER as u64;
    let condition = |call: libc::c_long| {
        let condition =
            seccompiler::SeccompCondition::new(0, seccompiler::SeccompCmpArgLen::Qword, seccompiler::SeccompCmpOp::MaskedEq(flag), flag)
                .unwrap();
        (call, vec![seccompiler::SeccompRule::new(vec![condition]).unwrap()])
    };
    forbid([condition(libc::SYS_unshare), condition(libc::SYS_clone)], libc::EPERM);
    // Its flags lie in memory, where a filter cannot look.
    forbid([(libc::SYS_clone3, vec![])], libc::ENOSYS);
}

/// Not even mount namespaces, as in most containers.
fn forbid_namespaces() {
    let flag = libc::CLONE_NEWNS as u64;
    let condition =
        seccompiler::SeccompCondition::new(0, seccompiler::SeccompCmpArgLen::Qword, seccompiler::SeccompCmpOp::MaskedEq(flag), flag)
            .unwrap();
    let rule = seccompiler::SeccompRule::new(vec![condition]).unwrap();
    forbid([(libc::SYS_unshare, vec![]), (libc::SYS_clone, vec![rule])], libc::EPERM);
    forbid([(libc::SYS_clone3, vec![])], libc::ENOSYS);
}

fn forbid<const N: usize>(calls: [(libc::c_long, Vec<seccompiler::SeccompRule>); N], answer: libc::c_int) {
    let filter = seccompiler::SeccompFilter::new(
        calls.into_iter().collect(),
        seccompiler::SeccompAction::Allow,
        seccompiler::SeccompAction::Errno(answer as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap();
    seccompiler::apply_filter(&seccompiler::BpfProgram::try_from(filter).unwrap()).unwrap();
}

fn namespaces(directory: &Path) {
    let own = become_nobody(directory);
    let data = open_directory(own.join("data"));
    let mut workload = scripts(
        &own,
        &[
            "id -u; grep -E '^(NoNewPrivs|CapEff|Seccomp):' /proc/self/status; ls /dev; ls -A /tmp; echo x > /dataset/new; cat /proc/1/comm; df -k --output=size /dev/shm | tail -1",
        ],
    );
    workload.mounts = vec![Mount { source: data.display().to_string(), target: "/dataset".into(), read_only: false }];
    let outcome = run(&workload).succeeded();
    assert_eq!(outcome.isolation.level, IsolationLevel::Namespaces, "{:#?}", outcome.isolation);
    let text = outcome.text(0);
    assert!(
        text.starts_with("65534\n")
            && text.contains("CapEff:\t0000000000000000")
            && text.contains("NoNewPrivs:\t1")
            && text.contains("Seccomp:\t2"),
        "{text}"
    );
    assert!(text.contains("ashlar-init") && text.contains("16384") && !text.contains("ptp"), "{text}");
    assert!(data.join("new").exists());
    assert_eq!(outcome.mark("memory").unwrap().enforced, Enforced::No);
    assert_eq!(outcome.mark("user namespace").unwrap().enforced, Enforced::Yes);
    assert!(outcome.usage.cpu_time.is_some());
}

fn no_network(directory: &Path) {
    let own = become_nobody(directory);
    let mut workload = scripts(&own, &["tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '"]);
    workload.network = Network::None;
    assert_eq!(run(&workload).succeeded().text(0), "lo\n");
}

fn refuses_container(directory: &Path) {
    let own = become_nobody(directory);
    let mut workload = scripts(&own, &["true"]);
    workload.demand = Some(IsolationLevel::Container);
    let error = run_with(&workload, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("only 'namespaces' can be had here"), "{error}");
}

fn process_level(directory: &Path) {
    let own = become_nobody(directory);
    forbid_user_namespaces();
    let script = "id -u; grep -E '^(NoNewPrivs|Seccomp|Cpus_allowed_list):' /proc/self/status; exit 5";
    let mut workload = scripts(&own, &[script]);
    let outcome = run(&workload);
    assert_eq!(outcome.isolation.level, IsolationLevel::Process, "{:#?}", outcome.isolation);
    let text = outcome.text(0);
    assert!(
        text.starts_with("65534\n")
            && text.contains("NoNewPrivs:\t1")
            && text.contains("Seccomp:\t2")
            && text.contains("Cpus_allowed_list:\t0\n"),
        "{text}"
    );
    assert!(outcome.events.contains(&RankEvent::Exited { rank: 0, code: 5 }));
    assert!(outcome.mark("namespaces").unwrap().detail.contains("cannot be made"));
    workload = scripts(&own, &["true"]);
    workload.demand = Some(IsolationLevel::Namespaces);
    let error = run_with(&workload, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("only 'process' can be had here"), "{error}");
    workload = scripts(&own, &["true"]);
    workload.network = Network::None;
    assert!(run_with(&workload, |_, _| {}).unwrap_err().hint().is_some());
}

fn process_level_as_root(directory: &Path) {
    forbid_namespaces();
    let script = "id -u; id -G; grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd|CapPrm):' /proc/self/status";
    let mut workload = scripts(directory, &[script]);
    workload.identity.groups = vec![27];
    let outcome = run(&workload).succeeded();
    assert_eq!(outcome.isolation.level, IsolationLevel::Process, "{:#?}", outcome.isolation);
    let text = outcome.text(0);
    assert!(
        text.starts_with("65534\n65534 27\n") && text.contains("CapEff:\t0000000000000000") && text.contains("CapPrm:\t0000000000000000"),
        "{text}"
    );
    // Control groups work without namespaces.
    assert_eq!(outcome.mark("memory").unwrap().enforced, Enforced::Yes);
    assert!(outcome.usage.memory_peak.is_some());
}

fn process_level_fork_bomb(directory: &Path) {
    let own = become_nobody(directory);
    forbid_user_namespaces();
    let mut workload = scripts(&own, &["true"]);
    workload.processes[0].argv = probe_command(&["fork-bomb", "200"]);
    let outcome = run_with(&workload, |started, event| {
        if matches!(event, RankEvent::Running { .. }) {
            started.kill();
        }
    })
    .unwrap();
    assert!(outcome.events.contains(&RankEvent::Signalled { rank: 0, signal: 9 }), "{:?}", outcome.events);
}

fn process_level_supervisor_killed(directory: &Path) {
    let own = become_nobody(directory);
    forbid_user_namespaces();
    let ready = own.join("ready");
    let workload = scripts(
        &own,
        &[&format!("setsid sleep 1000 & echo $! > {}.new; mv {}.new {}; sleep 1000", ready.display(), ready.display(), ready.display())],
    );
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let _started = sandbox::start(&workload, &|| false).unwrap();
        loop {
            unsafe { libc::pause() };
        }
    }
    let child = wait_for(|| std::fs::read_to_string(&ready)).unwrap();
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    wait_for(|| if Path::new(&format!("/proc/{}/exe", child.trim())).read_link().is_ok() { Err("a child lives") } else { Ok(()) }).unwrap();
    assert_eq!(sandbox::cleanup_leftovers(&workload.dir, workload.run), Vec::<String>::new());
}
