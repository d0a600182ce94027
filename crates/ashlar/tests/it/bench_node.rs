//! A node of its own for a test, with its state in a folder that goes with it.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub const ASHLAR: &str = env!("CARGO_BIN_EXE_ashlar");

/// Runs a command of the binary against a state folder.
pub fn ashlar(state: &Path, arguments: &[&str]) -> Output {
    command(state, arguments).output().unwrap()
}

pub fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(ASHLAR);
    command.arg("--state").arg(state).args(arguments).stdin(Stdio::null());
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub struct TestNode {
    /// Job files, and what jobs leave for the test to see. Commands are given from here: a job's own folder is
    /// visible to it even where the checkout lies below /tmp, which is private to every job.
    pub home: tempfile::TempDir,
    /// Below /tmp: the path of a socket must be short, and other users must be able to pass.
    _place: tempfile::TempDir,
    pub state: PathBuf,
    daemon: Option<Child>,
    /// Of the daemon.
    variables: Vec<(String, String)>,
    /// Of `ashlar up`.
    flags: Vec<String>,
}

impl TestNode {
    pub fn start() -> TestNode {
        TestNode::start_as(|state| command(state, &["up"]))
    }

    /// Starts the daemon by a command of the caller's, which is told the folder of the state.
    pub fn start_as(up: impl FnOnce(&Path) -> Command) -> TestNode {
        let home = tempfile::Builder::new().prefix("ashlar-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let place = tempfile::Builder::new().prefix("ashlar-test-").tempdir().unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let state = place.path().join("state");
        let mut node = TestNode { home, _place: place, state, daemon: None, variables: vec![], flags: vec![] };
        node.up_as(up(&node.state));
        node
    }

    pub fn start_with_queues(queues: &str) -> TestNode {
        let mut node = TestNode::start();
        std::fs::write(node.state.join("queues.yaml"), queues).unwrap();
        node.down();
        node.up();
        node
    }

    pub fn start_with_variables(variables: &[(&str, &str)]) -> TestNode {
        let mut node = TestNode::start();
        node.down();
        node.variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        node.up();
        node
    }

    /// The same node with these flags from now on, and these queues.
    pub fn start_with(flags: &[&str], queues: &str) -> TestNode {
        let mut node = TestNode::start();
        std::fs::write(node.state.join("queues.yaml"), queues).unwrap();
        node.flags = flags.iter().map(|flag| flag.to_string()).collect();
        node.down();
        node.up();
        node
    }

    /// Starts the daemon and waits until it answers.
    pub fn up(&mut self) {
        let mut up = command(&self.state, &["up"]);
        up.args(&self.flags);
        up.envs(self.variables.iter().map(|(name, value)| (name, value)));
        self.up_as(up);
    }

    pub fn up_as(&mut self, mut up: Command) {
        let mut child = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            panic!("the node did not start: {}", stderr(&child.wait_with_output().unwrap()));
        }
        self.daemon = Some(child);
    }

    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Ends the daemon as an administrator would.
    pub fn down(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            signal(daemon.id(), rustix::process::Signal::TERM);
            let _ = daemon.wait();
        }
    }

    /// Ends the daemon as a fault would.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    pub fn ashlar(&self, arguments: &[&str]) -> Output {
        command(&self.state, arguments).current_dir(self.home.path()).output().unwrap()
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.ashlar(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", stdout(&output), stderr(&output));
        stdout(&output).trim_end().to_string()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    /// Submits a job file given as text; its relative paths start in the test's folder.
    pub fn submit(&self, job: &str) -> String {
        let file = self.home.path().join("job.yaml");
        std::fs::write(&file, job).unwrap();
        self.ok(&["submit", file.to_str().unwrap()])
    }

    /// `run --detach` of a shell line.
    pub fn detach(&self, flags: &[&str], line: &str) -> String {
        let mut arguments = vec!["run", "--detach"];
        arguments.extend(flags);
        arguments.extend(["--", "/bin/sh", "-c", line]);
        self.ok(&arguments)
    }

    pub fn wait(&self, id: &str) -> i32 {
        self.ashlar(&["wait", id, "--timeout", "120s"]).status.code().unwrap()
    }

    pub fn show(&self, id: &str) -> Value {
        self.json(&["show", id, "--json"])
    }

    pub fn state_of(&self, id: &str) -> String {
        self.show(id)["state"].as_str().unwrap().to_string()
    }

    /// Blocks until the output of rank 0 contains a line, which the job prints when it has got so far.
    pub fn wait_for_line(&self, id: &str, line: &str) {
        let mut child = command(&self.state, &["logs", id, "--rank", "0", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
        let found = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).any(|text| text.contains(line));
        let _ = child.kill();
        let _ = child.wait();
        assert!(found, "job {id} never printed '{line}'");
    }

    /// Supervisors that live, as their journals name them.
    pub fn supervisor_pids(&self) -> Vec<u32> {
        let runs = std::fs::read_dir(self.state.join("runs")).into_iter().flatten().flatten();
        let journals = runs.filter_map(|run| std::fs::read_to_string(run.path().join("journal")).ok());
        let began = journals.filter_map(|text| serde_json::from_str::<Value>(text.lines().next()?).ok());
        let pids = began.filter_map(|entry| entry["pid"].as_u64().map(|pid| pid as u32));
        let is_ours = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("__supervise"))
        };
        pids.filter(is_ours).collect()
    }
}

impl Drop for TestNode {
    /// Whatever the test left running is ended, so that one test cannot disturb the next.
    fn drop(&mut self) {
        if self.daemon.is_some() {
            if let Ok(list) = serde_json::from_slice::<Value>(&self.ashlar(&["jobs", "--all", "--json"]).stdout) {
                let live = list.as_array().into_iter().flatten().filter(|job| job["ended"].is_null());
                for job in live {
                    let id = job["id"].as_str().unwrap_or_default().to_string();
                    self.ashlar(&["cancel", &id, "--now"]);
                    self.ashlar(&["wait", &id, "--timeout", "20s"]);
                }
            }
            self.down();
        }
        for pid in self.supervisor_pids() {
            signal(pid, rustix::process::Signal::KILL);
        }
    }
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// For tests of what only root can have; says so where it is skipped.
#[macro_export]
macro_rules! root_or_skip {
    () => {
        if !$crate::bench_node::is_root() {
            eprintln!("skipped: needs root");
            return;
        }
    };
}

/// Asks again and again, for what no command waits for.
pub fn until<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
