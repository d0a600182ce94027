//! Runs as root starts them, at the highest level.

use crate::{Case, NOBODY, cpus, open_directory, probe_command, run, run_with, scripts, wait_for};
use machine::{Bytes, CpuShare, DeviceNode};
use sandbox::RankEvent;
use spec::{Enforced, IsolationLevel, Mount, Network};
use std::collections::BTreeMap;
use std::path::Path;

pub const CASES: &[Case] = &[
    ("identity_and_privileges", identity_and_privileges),
    ("root_keeps_few_capabilities", root_keeps_few_capabilities),
    ("groups_are_the_submitters", groups_are_the_submitters),
    ("devices_are_only_the_granted", devices_are_only_the_granted),
    ("memory_limit_is_told", memory_limit_is_told),
    ("fork_bomb_ends", fork_bomb_ends),
    ("ignored_signal_then_kill", ignored_signal_then_kill),
    ("signals_reach_the_group", signals_reach_the_group),
    ("signals_can_spare_the_helpers", signals_can_spare_the_helpers),
    ("private_tmp", private_tmp),
    ("workdir_below_tmp", workdir_below_tmp),
    ("shared_memory_has_its_size", shared_memory_has_its_size),
    ("hidden_and_visible", hidden_and_visible),
    ("ranks_are_pinned", ranks_are_pinned),
    ("fractional_cpu_is_capped", fractional_cpu_is_capped),
    ("mounts", mounts),
    ("mounts_need_the_persons_rights", mounts_need_the_persons_rights),
    ("later_mounts_of_the_machine_stay_outside", later_mounts_stay_outside),
    ("system_is_read_only", system_is_read_only),
    ("no_network", no_network),
    ("forbidden_system_calls", forbidden_system_calls),
    ("supervisor_killed", supervisor_killed),
    ("gang_shares_memory_and_names", gang_shares_memory_and_names),
    ("much_output", much_output),
    ("program_not_found", program_not_found),
    ("one_rank_fails_to_start", one_rank_fails_to_start),
    ("exit_codes_and_signals", exit_codes_and_signals),
    ("background_children_end_with_the_last_rank", background_children_end),
    ("output_can_be_reopened", output_can_be_reopened),
    ("signals_are_at_their_defaults", signals_are_at_their_defaults),
    ("own_limits_are_seen", own_limits_are_seen),
    ("demand_is_refused_with_the_reason", demand_is_refused),
    ("usage_is_counted", usage_is_counted),
    ("errands_left_behind_are_swept", errands_left_behind_are_swept),
    ("work_before_a_run_is_bounded", work_before_a_run_is_bounded),
    ("work_before_a_run_can_be_killed", work_before_a_run_can_be_killed),
];

fn identity_and_privileges(directory: &Path) {
    let script = "id -u; id -g; id -G; grep -E '^(NoNewPrivs|CapEff|CapBnd|CapPrm|CapInh|CapAmb|Seccomp):' /proc/self/status; ls -l /proc/1/fd 2>&1 | tail -1; cat /proc/1/comm; \
                  echo init; grep ^Seccomp: /proc/1/status; cat /proc/1/environ 2>&1; \
                  ls /proc | grep -c '^[0-9]'";
    let outcome = run(&scripts(directory, &[script])).succeeded();
    let text = outcome.text(0);
    assert!(text.starts_with("65534\n65534\n65534\n"), "{text}");
    for line in [
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapInh:\t0000000000000000",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.contains("Permission denied"), "the descriptors of init can be seen: {text}");
    assert!(text.contains("ashlar-init"), "{text}");
    let of_init = text.split_once("init\nSeccomp:").expect(&text).1;
    assert!(
        of_init.starts_with("\t2\n") && of_init.contains("Permission denied"),
        "init wears no filter, or tells its environment: {text}"
    );
    let processes: u32 = text.lines().last().unwrap().parse().unwrap();
    assert!(processes < 8, "a pid namespace of its own shows few processes, not {processes}");
    assert_eq!(outcome.isolation.level, IsolationLevel::Container);
    let unenforced: Vec<_> =
        outcome.isolation.marks.iter().filter(|mark| mark.enforced == Enforced::No).map(|mark| mark.what.as_str()).collect();
    assert_eq!(unenforced, ["network"], "{:#?}", outcome.isolation);
}

fn root_keeps_few_capabilities(directory: &Path) {
    let mut workload = scripts(
        directory,
        &[
            "id -u; grep CapEff /proc/self/status; echo 1 > /proc/sys/vm/drop_caches; mknod /tmp/x c 1 1; cat /proc/kcore /proc/kpageflags | head -c1 | wc -c; echo disable=0 > /proc/mtrr; readlink -v /proc/1/fd/0 2>&1; cat /proc/1/environ 2>&1 | head -c 200",
        ],
    );
    workload.identity.uid = 0;
    workload.identity.gid = 0;
    let text = run(&workload).text(0);
    assert!(text.starts_with("0\nCapEff:\t00000000000044fb\n"), "{text}");
    assert!(text.contains("Read-only file system") && text.contains("mknod"), "{text}");
    assert!(text.lines().any(|line| line == "0"), "memory of the kernel was read: {text}");
    for of_init in ["/proc/1/fd/0: Permission denied", "/proc/1/environ: Permission denied"] {
        assert!(text.contains(of_init), "{of_init} in {text}");
    }
}

/// Has a shell do something as nobody within the bounds of a run, and tells the shell's own code.
fn as_nobody(workload: &sandbox::Workload, least_memory: Bytes, script: String) -> sandbox::PersonProcess {
    let bounds = sandbox::Bounds { run: workload.run, dir: &workload.dir, mode: workload.cgroup, grant: &workload.grant, least_memory };
    let shell =
        || std::process::Command::new("/bin/sh").args(["-c", &script]).env("ASHLAR_TEST", "1").status().unwrap().code().unwrap_or(99) as u8;
    sandbox::as_person(&workload.identity, &bounds, shell).unwrap()
}

fn errands_left_behind_are_swept(directory: &Path) {
    let out = open_directory(directory.join("out"));
    let identity = scripts(directory, &["true"]).identity;
    let command = ["/bin/sh", "-c", &format!("echo $$ > {}/errand; exec sleep 1000", out.display())].map(String::from);
    // The keeper of the errand is killed while it waits, as by a power cut of the node.
    let keeper = unsafe { libc::fork() };
    if keeper == 0 {
        let environment = [("PATH".to_string(), "/usr/bin:/bin".to_string())];
        let longest = std::time::Duration::from_secs(1000);
        let errand =
            sandbox::Errand { identity: &identity, command: &command, environment: &environment, memory: 64 << 20, processes: 16, longest };
        let _ = sandbox::run_errand(&errand);
        unsafe { libc::_exit(0) };
    }
    wait_for(|| std::fs::read_to_string(out.join("errand")).ok().filter(|text| text.ends_with('\n')).ok_or(())).unwrap();
    let group = |hierarchy: &str| Path::new("/sys/fs/cgroup").join(hierarchy).join(format!("ashlar/errand-{keeper}"));
    let groups = || ["memory", "pids", "unified", ""].iter().filter(|hierarchy| group(hierarchy).is_dir()).count();
    assert!(groups() > 0);
    assert_eq!(sandbox::cleanup_errands(), Vec::<String>::new());
    assert!(groups() > 0, "an errand whose keeper lives is left alone");
    unsafe {
        libc::kill(keeper, libc::SIGKILL);
        libc::waitpid(keeper, std::ptr::null_mut(), 0);
    }
    assert_eq!(sandbox::cleanup_errands(), Vec::<String>::new());
    assert_eq!(groups(), 0);
}

fn work_before_a_run_is_bounded(directory: &Path) {
    let out = open_directory(directory.join("out"));
    let workload = scripts(directory, &["true"]);
    // The last line starts what would outlive the work, in a session of its own.
    let script = format!(
        "cd {}; grep -E '^(Uid|NoNewPrivs|CapBnd|CapEff):' /proc/self/status > told; cat /proc/self/oom_score_adj /proc/self/cgroup >> told; \
         setsid sh -c 'echo $$ > daemon; exec sleep 1000' & while ! test -s daemon; do :; done; exit 7",
        out.display()
    );
    let end = as_nobody(&workload, Bytes::mib(64), script).wait();
    assert_eq!(end, sandbox::PersonEnd { code: Some(7), out_of_memory: false });
    let told = std::fs::read_to_string(out.join("told")).unwrap();
    for line in ["Uid:\t65534\t65534", "NoNewPrivs:\t1", "CapBnd:\t0000000000000000", "CapEff:\t0000000000000000", "\n500\n"] {
        assert!(told.contains(line), "{line:?} in {told}");
    }
    assert!(told.contains(&format!("/ashlar/{}-", workload.run)), "{told}");
    let daemon = std::fs::read_to_string(out.join("daemon")).unwrap();
    wait_for(|| if Path::new("/proc").join(daemon.trim()).exists() { Err(()) } else { Ok(()) }).expect("what it started is still there");

    let mut small = scripts(directory, &["true"]);
    small.grant.memory = Bytes::mib(16);
    let end = as_nobody(&small, Bytes::mib(32), "head -c 200m /dev/zero | tail -c 190m | wc -c; exit 3".into()).wait();
    assert!(end.out_of_memory, "{end:?}");
}

fn work_before_a_run_can_be_killed(directory: &Path) {
    let out = open_directory(directory.join("out"));
    let workload = scripts(directory, &["true"]);
    let script = format!("cd {}; setsid sh -c 'echo $$ > daemon; exec sleep 1000' & sleep 1000", out.display());
    let process = as_nobody(&workload, Bytes::mib(64), script);
    let daemon = wait_for(|| std::fs::read_to_string(out.join("daemon")).ok().filter(|text| text.ends_with('\n')).ok_or(())).unwrap();
    process.kill();
    assert_eq!(process.wait().code, None);
    wait_for(|| if Path::new("/proc").join(daemon.trim()).exists() { Err(()) } else { Ok(()) }).expect("what it started is still there");
}

fn groups_are_the_submitters(directory: &Path) {
    let mut workload = scripts(directory, &["id -G"]);
    assert_eq!(run(&workload).succeeded().text(0), "65534\n");
    workload = scripts(directory, &["id -G"]);
    workload.identity.groups = vec![27, 100];
    assert_eq!(run(&workload).succeeded().text(0), "65534 27 100\n");
}

fn devices_are_only_the_granted(directory: &Path) {
    // A node of our own with the numbers of /dev/mem: granted it can be opened, otherwise it is not there.
    let node = "/dev/ashlar-test";
    let _ = std::fs::remove_file(node);
    unsafe { libc::mknod(c"/dev/ashlar-test".as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 11)) };
    let mut workload = scripts(directory, &["ls /dev; stat -c '%U %a' /dev/ashlar-test", "true"]);
    workload.processes[1].argv = probe_command(&["device", node]);
    workload.devices = vec![DeviceNode { path: node.into(), major: 1, minor: 11, shared: false }];
    let granted = run(&workload);
    let listed: Vec<String> = granted.text(0).lines().map(String::from).collect();
    let expected = [
        "ashlar-test",
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    ];
    assert_eq!(listed[..listed.len() - 1].iter().filter(|name| *name != "core" && *name != "kcore").collect::<Vec<_>>(), expected);
    assert_eq!(listed.last().unwrap(), "nobody 600");
    // /dev/kmsg opens for reading only with a privilege; what matters is that neither file mode nor control group stop it.
    let answer = granted.text(1);
    assert!(answer.trim() == "open" || answer.trim() == "1", "{answer}");

    // The same numbers behind a bound directory: the mount refuses (EACCES), and so would the control group (EPERM).
    let outside = open_directory(directory.join("nodes"));
    let path = std::ffi::CString::new(outside.join("zero").display().to_string()).unwrap();
    unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, 11)) };
    let mut workload = scripts(directory, &["true"]);
    workload.processes[0].argv = probe_command(&["device", &outside.join("zero").display().to_string()]);
    assert_eq!(run(&workload).succeeded().text(0).trim(), libc::EACCES.to_string());
    std::fs::remove_file(node).unwrap();
}

fn memory_limit_is_told(directory: &Path) {
    let mut workload = scripts(directory, &["true"]);
    workload.processes[0].argv = probe_command(&["eat", "4096"]);
    workload.grant.memory = Bytes::mib(64);
    let outcome = run(&workload);
    assert!(outcome.events.contains(&RankEvent::Signalled { rank: 0, signal: 9 }), "{:?}", outcome.events);
    assert!(outcome.oom_kills >= 1);
    assert_eq!(outcome.limit, Some(Bytes::mib(64)));
    let peak = outcome.usage.memory_peak.unwrap();
    assert!(peak > Bytes::mib(60) && peak <= Bytes::mib(64), "{peak}");
}

fn fork_bomb_ends(directory: &Path) {
    let mut workload = scripts(directory, &["true"]);
    workload.processes[0].argv = probe_command(&["fork-bomb", "1000"]);
    let outcome = run_with(&workload, |started, event| {
        if matches!(event, RankEvent::Running { .. }) {
            wait_for(|| if number_of_processes(started.init_pid) >= 1000 { Ok(()) } else { Err(()) }).unwrap();
            started.kill();
        }
    })
    .unwrap();
    assert!(outcome.events.contains(&RankEvent::Signalled { rank: 0, signal: 9 }));
    assert_eq!(outcome.events.last(), Some(&RankEvent::AllDone));
}

/// Processes in the pid namespace of `init`, by counting who shares it.
fn number_of_processes(init: u32) -> usize {
    let namespace = std::fs::read_link(format!("/proc/{init}/ns/pid")).ok();
    let same = |entry: &std::fs::DirEntry| namespace.is_some() && std::fs::read_link(entry.path().join("ns/pid")).ok() == namespace;
    std::fs::read_dir("/proc").unwrap().flatten().filter(same).count()
}

fn ignored_signal_then_kill(directory: &Path) {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    let mut terminated = false;
    let outcome = run_with(&scripts(directory, &[script]), |started, event| {
        if matches!(event, RankEvent::Running { .. }) {
            started.signal(libc::SIGTERM, true).unwrap();
            terminated = true;
            started.kill();
        }
    })
    .unwrap();
    assert!(terminated && outcome.events.contains(&RankEvent::Signalled { rank: 0, signal: 9 }), "{:?}", outcome.events);
}

fn signals_reach_the_group(directory: &Path) {
    let ready = open_directory(directory.join("ready"));
    let script = format!("trap 'echo saved; exit 3' USR1; touch {}/yes; while :; do sleep 0.05; done", ready.display());
    let outcome = run_with(&scripts(directory, &[&script]), |started, event| {
        if matches!(event, RankEvent::Running { .. }) {
            wait_for(|| std::fs::metadata(ready.join("yes"))).unwrap();
            started.signal(libc::SIGUSR1, true).unwrap();
        }
    })
    .unwrap();
    // The shell's own child, in the same group, dies of the signal; the shell says so.
    assert!(outcome.text(0).ends_with("saved\n"), "{}", outcome.text(0));
    assert!(outcome.events.contains(&RankEvent::Exited { rank: 0, code: 3 }));
}

fn signals_can_spare_the_helpers(directory: &Path) {
    let ready = open_directory(directory.join("ready"));
    // Without a handler the helper would die of it; with one that speaks, the test sees whether it came.
    let script = format!(
        "(trap 'echo helper hit' USR1; while :; do sleep 0.02; done) & trap 'sleep 0.1; echo saved; exit 3' USR1; touch {}/yes; while :; do sleep 0.05; done",
        ready.display()
    );
    let outcome = run_with(&scripts(directory, &[&script]), |started, event| {
        if matches!(event, RankEvent::Running { .. }) {
            wait_for(|| std::fs::metadata(ready.join("yes"))).unwrap();
            started.signal(libc::SIGUSR1, false).unwrap();
        }
    })
    .unwrap();
    assert_eq!(outcome.text(0), "saved\n");
    assert!(outcome.events.contains(&RankEvent::Exited { rank: 0, code: 3 }));
}

fn private_tmp(directory: &Path) {
    let secret = std::env::temp_dir().join(format!("ashlar-secret-{}", std::process::id()));
    std::fs::write(&secret, "x").unwrap();
    let script = "ls -A /tmp /var/tmp; echo mine > /tmp/a && cat /tmp/a; stat -c %a /tmp; df --output=fstype /tmp | tail -1";
    let text = run(&scripts(directory, &[script])).succeeded().text(0);
    std::fs::remove_file(&secret).unwrap();
    assert!(text.starts_with("/tmp:\n\n/var/tmp:\nmine\n1777\n"), "{text}");
    assert!(!text.contains("tmpfs"), "/tmp is in memory: {text}");
}

fn workdir_below_tmp(directory: &Path) {
    let work = tempfile::tempdir_in("/tmp").unwrap();
    let inner = open_directory(work.path().join("a/b"));
    std::fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut workload = scripts(directory, &["pwd; echo done > result; ls -A /tmp | wc -l"]);
    workload.processes[0].workdir = inner.display().to_string();
    let text = run(&workload).succeeded().text(0);
    assert_eq!(text, format!("{}\n1\n", inner.display()));
    assert_eq!(std::fs::read_to_string(inner.join("result")).unwrap(), "done\n");
}

fn shared_memory_has_its_size(directory: &Path) {
    let mut workload =
        scripts(directory, &["df -k --output=size /dev/shm | tail -1; head -c 40000000 /dev/zero > /dev/shm/x; stat -c %s /dev/shm/x"]);
    workload.grant.shm = Bytes::mib(24);
    let text = run(&workload).text(0);
    assert!(text.contains("24576") && text.contains("25165824"), "{text}");
}

fn hidden_and_visible(directory: &Path) {
    let state = open_directory(directory.join("state"));
    std::fs::write(state.join("log"), "secret").unwrap();
    let environment = open_directory(state.join("environments/abc"));
    std::fs::write(environment.join("python"), "shown").unwrap();
    // An environment is its person's; what a link in its place leads to may be another's.
    let mut workload = scripts(directory, &["true"]);
    workload.visible = vec![environment.clone()];
    assert!(run_with(&workload, |_, _| {}).unwrap_err().to_string().contains("belongs to uid 0"));
    std::os::unix::fs::chown(&environment, Some(NOBODY), None).unwrap();
    let (state, environment) = (state.display(), environment.display());
    let script = format!("ls {state}; cat {state}/log; cat {environment}/python; echo; touch {environment}/x; touch {state}/x; true");
    let mut workload = scripts(directory, &[&script]);
    workload.hidden = vec![format!("{state}").into(), "/does/not/exist".into()];
    workload.visible = vec![format!("{environment}").into()];
    let text = run(&workload).succeeded().text(0);
    assert!(text.starts_with("environments\n") && text.contains("shown") && !text.contains("secret"), "{text}");
    assert_eq!(text.matches("cannot touch").count(), 2, "{text}");

    // Neither a mount of the hidden directory nor of one above it shows it.
    let mut workload = scripts(directory, &["cat /mnt-test/state/log"]);
    workload.hidden = vec![format!("{state}").into()];
    workload.mounts = vec![Mount { source: directory.display().to_string(), target: "/mnt-test".into(), read_only: true }];
    assert!(!run(&workload).text(0).contains("secret"));
    workload = scripts(directory, &["true"]);
    workload.hidden = vec![format!("{state}").into()];
    workload.mounts = vec![Mount { source: format!("{state}/environments"), target: "/mnt-test".into(), read_only: true }];
    let error = run_with(&workload, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("hidden"), "{error}");
}

fn ranks_are_pinned(directory: &Path) {
    let available = cpus(std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim());
    let script = "grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status";
    let mut workload = scripts(directory, &[script, script]);
    let last = available.iter().last().unwrap();
    workload.grant.ranks[1].cpus = [last].into_iter().collect();
    let outcome = run(&workload).succeeded();
    assert_eq!(outcome.text(0), "Cpus_allowed_list:\t0\nMems_allowed_list:\t0\n");
    assert_eq!(outcome.text(1), format!("Cpus_allowed_list:\t{last}\nMems_allowed_list:\t0\n"));
    assert_eq!(outcome.mark("cpus").unwrap().enforced, Enforced::Yes);
}

fn fractional_cpu_is_capped(directory: &Path) {
    let mut workload = scripts(directory, &["cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true"]);
    workload.grant.cpu_share = CpuShare(250);
    let outcome = run(&workload).succeeded();
    assert!(outcome.text(0).starts_with("25000"), "{}", outcome.text(0));
    assert!(outcome.mark("cpu").unwrap().detail.contains("0.25"));
}

fn mounts(directory: &Path) {
    let (data, out) = (open_directory(directory.join("data")), open_directory(directory.join("out")));
    std::fs::write(data.join("file"), "content").unwrap();
    let script =
        "cat /dataset/file; echo; echo x > /dataset/new; echo y > /tmp/results/new; cat /etc/hosts-test; ls -d /dataset/inner 2>&1";
    let mut workload = scripts(directory, &[script]);
    let mount = |source: &Path, target: &str, read_only| Mount { source: source.display().to_string(), target: target.into(), read_only };
    workload.mounts = vec![mount(&data, "/dataset", true), mount(&out, "/tmp/results", false), mount(&data.join("file"), "/tmp/one", true)];
    let text = run(&workload).text(0);
    assert!(text.starts_with("content\n") && text.contains("Read-only file system"), "{text}");
    assert_eq!(std::fs::read_to_string(out.join("new")).unwrap(), "y\n");
    assert!(!Path::new("/dataset").exists(), "a mount point appeared on the machine");

    // A mount point is never made in the machine's own directories.
    workload = scripts(directory, &["true"]);
    workload.mounts = vec![mount(&data, "/usr/ashlar-test/x", true)];
    let error = run_with(&workload, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("does not exist") && error.hint().is_some(), "{error}");
    // Nor below one that the job itself laid over its own ground.
    workload = scripts(directory, &["true"]);
    workload.mounts = vec![mount(&data, "/tmp/x", false), mount(&out, "/tmp/x/made/by-root", false)];
    let error = run_with(&workload, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("does not exist") && !data.join("made").exists(), "{error}");
    // The kernel's own views, and with them every process of the person outside, stay outside.
    for source in ["/proc", "/proc/sys", "/sys", "/sys/fs/cgroup", "/"] {
        workload = scripts(directory, &["true"]);
        workload.mounts = vec![mount(Path::new(source), "/tmp/p", false)];
        let refused = run_with(&workload, |_, _| {}).map(drop).unwrap_err().to_string();
        assert!(refused.contains("view of the kernel") || refused.contains("whole machine"), "{refused}");
    }
    // A link of /proc into a process is no way around what lies on the path.
    workload = scripts(directory, &["true"]);
    workload.mounts = vec![mount(Path::new("/proc/self/root/etc"), "/tmp/p", true)];
    assert!(run_with(&workload, |_, _| {}).map(drop).unwrap_err().to_string().contains("through a process in /proc"));
    workload = scripts(directory, &["true"]);
    workload.mounts = vec![mount(Path::new("/nowhere"), "/dataset", true)];
    assert!(run_with(&workload, |_, _| {}).unwrap_err().to_string().contains("does not exist on this machine"));
}

fn later_mounts_stay_outside(directory: &Path) {
    let data = open_directory(directory.join("data"));
    let mounted = |arguments: &[&str]| assert!(std::process::Command::new("mount").args(arguments).status().unwrap().success());
    let place = data.display().to_string();
    mounted(&["-t", "tmpfs", "-o", "mode=0777", "ashlar", &place]);
    mounted(&["--make-shared", &place]);
    let mut workload =
        scripts(directory, &["grep -c '/dataset ' /proc/self/mountinfo; grep -cE 'shared:|master:' /proc/self/mountinfo; true"]);
    workload.mounts = vec![Mount { source: place.clone(), target: "/dataset".into(), read_only: false }];
    let text = run(&workload).text(0);
    assert!(std::process::Command::new("umount").arg(&place).status().unwrap().success());
    assert_eq!(text, "1\n0\n", "a mount of the run follows the machine's");
}

fn mounts_need_the_persons_rights(directory: &Path) {
    // The inner directory is open, the way to it is not: a bind made by root would be a way around.
    let closed = directory.join("closed");
    open_directory(closed.join("inner"));
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut workload = scripts(directory, &["ls /dataset"]);
    workload.mounts = vec![Mount { source: closed.join("inner").display().to_string(), target: "/dataset".into(), read_only: true }];
    let error = run_with(&workload, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("nobody may not reach it"), "{error}");
}

fn system_is_read_only(directory: &Path) {
    let mut workload = scripts(
        directory,
        &["for d in / /usr /etc /var /opt /sys /run; do touch $d/ashlar-test 2>&1; done; ls /run; ls /boot 2>&1; test -d /home"],
    );
    workload.identity.uid = 0;
    workload.identity.gid = 0;
    let text = run(&workload).succeeded().text(0);
    assert_eq!(text.matches("Read-only file system").count() + text.matches("Permission denied").count(), 7, "{text}");
    assert!(!text.contains("docker.sock") && text.contains("/boot"), "{text}");
}

fn no_network(directory: &Path) {
    let mut workload =
        scripts(directory, &["tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; ls /sys/class/net; cat /sys/class/net/lo/flags"]);
    workload.network = Network::None;
    let outcome = run(&workload).succeeded();
    assert_eq!(outcome.text(0), "lo\nlo\n0x9\n");
    assert_eq!(outcome.mark("network").unwrap().enforced, Enforced::Yes);
}

fn forbidden_system_calls(directory: &Path) {
    let mut workload = scripts(directory, &["true"]);
    workload.processes[0].argv = probe_command(&["syscalls"]);
    let text = run(&workload).succeeded().text(0);
    let answers: BTreeMap<&str, i32> =
        text.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, n)| (name, n.parse().unwrap())).collect();
    for name in ["mount", "unshare", "setns", "keyctl", "bpf", "clone"] {
        assert_eq!(answers[name], libc::EPERM, "{name}");
    }
    assert_eq!((answers["clone3"], answers["io_uring_setup"], answers["getppid"]), (libc::ENOSYS, libc::ENOSYS, 0));
}

fn supervisor_killed(directory: &Path) {
    let mut workload = scripts(directory, &["true"]);
    workload.processes[0].argv = probe_command(&["fork-bomb", "50"]);
    // A supervisor of its own, killed as soon as the run is going.
    let (read, write) = rustix_pipe();
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let started = sandbox::start(&workload, &|| false).unwrap();
        let init = started.init_pid.to_le_bytes();
        unsafe { libc::write(write, init.as_ptr().cast(), 4) };
        loop {
            unsafe { libc::pause() };
        }
    }
    unsafe { libc::close(write) };
    let mut init = [0u8; 4];
    assert_eq!(unsafe { libc::read(read, init.as_mut_ptr().cast(), 4) }, 4);
    let init = u32::from_le_bytes(init);
    wait_for(|| if number_of_processes(init) >= 51 { Ok(()) } else { Err(number_of_processes(init)) }).unwrap();
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    // The run ends by itself; the groups wait for whoever cleans up.
    wait_for(|| if Path::new(&format!("/proc/{init}/ns/pid")).exists() { Err("init lives") } else { Ok(()) }).unwrap();
    assert!(sandbox::has_leftovers(&workload.dir));
    assert_eq!(sandbox::cleanup_leftovers(&workload.dir, workload.run), Vec::<String>::new());
    assert_eq!(sandbox::cleanup_leftovers(&workload.dir, workload.run), Vec::<String>::new());
    assert!(!sandbox::has_leftovers(&workload.dir));
    assert_eq!(std::fs::read_dir(&workload.dir).unwrap().count(), 0);
}

fn rustix_pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    (ends[0], ends[1])
}

fn gang_shares_memory_and_names(directory: &Path) {
    let first = "echo hello > /dev/shm/x.new; mv /dev/shm/x.new /dev/shm/x; while [ ! -e /dev/shm/y ]; do sleep 0.01; done; cat /dev/shm/y; readlink /proc/self/ns/ipc";
    let second = "while [ ! -e /dev/shm/x ]; do sleep 0.01; done; cat /dev/shm/x; echo world > /dev/shm/y.new; mv /dev/shm/y.new /dev/shm/y; readlink /proc/self/ns/ipc";
    let outcome = run(&scripts(directory, &[first, second])).succeeded();
    let (first, second) = (outcome.text(0), outcome.text(1));
    assert!(first.starts_with("world\n") && second.starts_with("hello\n"), "{first} {second}");
    assert_eq!(first.lines().last(), second.lines().last());
    assert_ne!(first.lines().last().unwrap(), std::fs::read_link("/proc/self/ns/ipc").unwrap().to_str().unwrap());
    let pids: Vec<u32> =
        outcome.events.iter().filter_map(|event| if let RankEvent::Running { pid, .. } = event { Some(*pid) } else { None }).collect();
    assert!(pids.len() == 2 && pids[0] != pids[1] && pids.iter().all(|pid| *pid > 2), "{pids:?}");
}

fn much_output(directory: &Path) {
    let mut workload = scripts(directory, &["true", "echo other"]);
    workload.processes[0].argv = probe_command(&["print", "64"]);
    let outcome = run(&workload).succeeded();
    assert_eq!(outcome.output[0].len(), 64 << 20);
    assert!(outcome.output[0].iter().zip(0u32..).take(1 << 20).all(|(byte, n)| *byte == (n % 251) as u8));
    assert_eq!(outcome.text(1), "other\n");
}

fn program_not_found(directory: &Path) {
    let message = |argv: &[&str], workdir: &str| {
        let mut workload = scripts(directory, &["true"]);
        workload.processes[0].argv = argv.iter().map(|part| part.to_string()).collect();
        workload.processes[0].workdir = workdir.into();
        let outcome = run(&workload);
        match &outcome.events[..] {
            [RankEvent::StartFailed { rank: 0, message, missing: true }, RankEvent::AllDone] => message.clone(),
            other => panic!("{other:?}"),
        }
    };
    let script = directory.join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (argv, workdir, expected) in [
        (&["pyhton3"][..], "/", "command not found in PATH (/usr/bin:/bin:/usr/sbin:/sbin)"),
        (&["/opt/none/x"], "/", "no such file"),
        (&["/etc/passwd"], "/", "permission denied"),
        (&[script.to_str().unwrap()], "/", "the interpreter in its first line"),
        (&["true"], "/no/where", "cannot enter the working directory '/no/where': no such file or directory"),
    ] {
        let message = message(argv, workdir);
        assert!(message.contains(expected), "{message}");
    }
}

fn one_rank_fails_to_start(directory: &Path) {
    let mut workload = scripts(directory, &["sleep 100", "true"]);
    workload.processes[1].argv = vec!["/does/not/exist".into()];
    let outcome = run(&workload);
    assert!(outcome.events.iter().any(|event| matches!(event, RankEvent::StartFailed { rank: 1, .. })), "{:?}", outcome.events);
    assert!(outcome.events.contains(&RankEvent::Signalled { rank: 0, signal: 9 }), "{:?}", outcome.events);
}

fn exit_codes_and_signals(directory: &Path) {
    let outcome = run(&scripts(directory, &["exit 7", "kill -SEGV $$", "exit 0"]));
    for event in [
        RankEvent::Exited { rank: 0, code: 7 },
        RankEvent::Signalled { rank: 1, signal: libc::SIGSEGV },
        RankEvent::Exited { rank: 2, code: 0 },
    ] {
        assert_eq!(outcome.events.iter().filter(|seen| **seen == event).count(), 1, "{:?}", outcome.events);
    }
}

fn background_children_end(directory: &Path) {
    let outcome = run(&scripts(directory, &["setsid sleep 1000 & sleep 1000 & echo started"])).succeeded();
    assert_eq!(outcome.text(0), "started\n");
}

fn output_can_be_reopened(directory: &Path) {
    let outcome = run(&scripts(directory, &["echo one > /dev/stdout; echo two > /dev/stderr; echo three >&2; cat"])).succeeded();
    assert_eq!(outcome.text(0), "one\ntwo\nthree\n");
}

fn signals_are_at_their_defaults(directory: &Path) {
    let mut workload = scripts(directory, &["true"]);
    workload.processes[0].argv = probe_command(&["pipe"]);
    // The Rust runtime of the probe itself ignores SIGPIPE, so only the mask tells here; the shell tells the rest.
    assert!(run(&workload).succeeded().text(0).contains("blocked false"));
    let text = run(&scripts(directory, &["grep -E '^Sig(Ign|Blk)' /proc/self/status; ulimit -c; ulimit -n"])).succeeded().text(0);
    assert!(text.starts_with("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0\n"), "{text}");
}

fn own_limits_are_seen(directory: &Path) {
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; cut -d: -f3 /proc/self/cgroup | sort -u | head -3";
    let text = run(&scripts(directory, &[script])).succeeded().text(0);
    assert!(text.starts_with(&format!("{}\n", 256 << 20)), "{text}");
}

fn demand_is_refused(directory: &Path) {
    let mut workload = scripts(directory, &["true"]);
    workload.cgroup = machine::CgroupMode::None;
    workload.demand = Some(IsolationLevel::Container);
    let error = run_with(&workload, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("'container' is demanded") && error.to_string().contains("no control groups"), "{error}");
    assert!(error.hint().is_some());
    // Without the demand the same run starts, one level lower, and says so.
    workload = scripts(directory, &["true"]);
    workload.cgroup = machine::CgroupMode::None;
    let outcome = run(&workload).succeeded();
    assert_eq!(outcome.isolation.level, IsolationLevel::Namespaces);
    assert_eq!(outcome.mark("memory").unwrap().enforced, Enforced::No);
    assert_eq!(outcome.mark("memory policy").unwrap().enforced, Enforced::Yes);
}

fn usage_is_counted(directory: &Path) {
    let mut workload = scripts(directory, &["i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done", "true"]);
    workload.processes[1].argv = probe_command(&["eat", "32"]);
    let outcome = run(&workload).succeeded();
    assert!(outcome.usage.cpu_time.unwrap().0 > 10, "{:?}", outcome.usage);
    assert!(outcome.usage.memory_peak.unwrap() > Bytes::mib(32), "{:?}", outcome.usage);
    assert_eq!(outcome.oom_kills, 0);
}
