//! Starting the program of one rank, from the init of its run.

use crate::error::Failure;
use crate::privileges::Privileges;
use crate::sys;
use crate::wire::Up;
use machine::CpuSet;
use rustix::fs::{Mode, OFlags};
use seccompiler::BpfProgram;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// One rank with everything prepared, so that nothing but system calls is left to do in its process.
pub(crate) struct Rank {
    pub rank: u32,
    argv: Vec<CString>,
    env: Vec<CString>,
    workdir: CString,
    /// What to execute, in order of trial.
    candidates: Vec<CString>,
    cpus: Vec<u64>,
    /// Where standard output and error go.
    pub output: Option<OwnedFd>,
}

/// What is the same for all ranks of a run.
pub(crate) struct Common {
    pub filter: Option<&'static BpfProgram>,
    /// What each rank takes for itself, where init did not before.
    pub privileges: Option<Privileges>,
    /// Memory nodes, where no control group binds them.
    pub memory_nodes: Vec<u64>,
    /// Keeps cores from sleeping deeply while it is open; the run's first process holds it to its end.
    pub awake: Option<OwnedFd>,
}

/// A started rank whose program may or may not have been executed.
pub(crate) struct Starting {
    pub pid: libc::pid_t,
    verdict: OwnedFd,
}

/// The steps of a rank's process that can fail, as told to init.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    Setup = 1,
    Identity = 2,
    Directory = 3,
    Filter = 4,
    Execute = 5,
}

impl Rank {
    pub fn new(process: &crate::RankProcess, cpus: &CpuSet, output: OwnedFd) -> Result<Rank, Failure> {
        let text = |text: &str| CString::new(text).map_err(|_| Failure::order(format!("rank {}: NUL byte", process.rank)));
        let path = process.env.iter().find(|(name, _)| name == "PATH").map_or("/usr/local/bin:/usr/bin:/bin", |(_, value)| value);
        let program = process.argv.first().map(String::as_str).unwrap_or_default();
        let candidates: Vec<String> = if program.contains('/') {
            vec![program.to_string()]
        } else {
            path.split(':').map(|directory| format!("{}/{program}", if directory.is_empty() { "." } else { directory })).collect()
        };
        Ok(Rank {
            rank: process.rank,
            argv: process.argv.iter().map(|argument| text(argument)).collect::<Result<_, _>>()?,
            env: process.env.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect::<Result<_, _>>()?,
            workdir: text(&process.workdir)?,
            candidates: candidates.iter().map(|candidate| text(candidate)).collect::<Result<_, _>>()?,
            cpus: sys::mask(cpus.iter()),
            output: Some(output),
        })
    }

    /// Forks the rank's process. Its program is running when [`Starting::verdict`] says so.
    pub fn start(&self, common: &Common, socket: &OwnedFd) -> io::Result<Starting> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        match sys::fork()? {
            sys::Forked::Parent(pid) => Ok(Starting { pid, verdict: read }),
            sys::Forked::Child => {
                let (step, error) = self.become_program(common, socket);
                let number = error.raw_os_error().unwrap_or(libc::EINVAL);
                let _ = rustix::io::write(&write, &[&[step as u8][..], &number.to_le_bytes()].concat());
                sys::exit_now(127)
            }
        }
    }

    fn become_program(&self, common: &Common, socket: &OwnedFd) -> (Step, io::Error) {
        if let Err(error) = self.setup(common) {
            return (Step::Setup, error);
        }
        if let Some(Err(error)) = common.privileges.as_ref().map(Privileges::take) {
            return (Step::Identity, error);
        }
        if let Err(error) = rustix::process::chdir(self.workdir.as_c_str()) {
            return (Step::Directory, error.into());
        }
        let (argv, env) = (sys::pointers(&self.argv), sys::pointers(&self.env));
        Up::Hello { rank: self.rank }.send(socket);
        sys::close_others_at_exec();
        if let Some(Err(error)) = common.filter.map(crate::seccomp::apply) {
            return (Step::Filter, error);
        }
        // As a shell does it: the first file that is there decides, but a file that may not be executed is only
        // the answer when no other directory has a better one.
        let mut answer = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in &self.candidates {
            let error = sys::exec(candidate, &argv, &env);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => answer = error,
                _ => return (Step::Execute, error),
            }
        }
        (Step::Execute, answer)
    }

    fn setup(&self, common: &Common) -> io::Result<()> {
        rustix::process::setsid()?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        sys::standard(&null, 0)?;
        let output = self.output.as_ref().ok_or(io::ErrorKind::NotFound)?;
        sys::standard(output, 1)?;
        sys::standard(output, 2)?;
        if !self.cpus.is_empty() {
            // CPUs that went offline since the plan was made leave the rank where its control group lets it run.
            let _ = sys::pin(&self.cpus);
        }
        if !common.memory_nodes.is_empty() {
            sys::bind_memory(&common.memory_nodes)?;
        }
        sys::default_signals();
        Ok(())
    }

    /// What to tell the person, from the step and its error number, and whether it is the job that names what is not there.
    fn explain(&self, step: u8, number: i32) -> (String, bool) {
        let theirs = step == Step::Directory as u8 || step == Step::Execute as u8;
        let missing = theirs && matches!(number, libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ENOEXEC);
        (self.sentence(step, number), missing)
    }

    fn sentence(&self, step: u8, number: i32) -> String {
        let error = io::Error::from_raw_os_error(number);
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
        let program = self.argv.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
        let directory = self.workdir.to_string_lossy();
        match step {
            s if s == Step::Setup as u8 => format!("the process could not be set up: {reason}"),
            s if s == Step::Identity as u8 => format!("the process could not take the submitter's identity: {reason}"),
            s if s == Step::Directory as u8 => format!("cannot enter the working directory '{directory}': {reason}"),
            s if s == Step::Filter as u8 => format!("the system call filter could not be applied: {reason}"),
            _ => self.explain_execute(&program, number, &reason),
        }
    }

    fn explain_execute(&self, program: &str, number: i32, reason: &str) -> String {
        let existing = self.candidates.iter().find(|candidate| std::path::Path::new(&*candidate.to_string_lossy()).exists());
        match (number, existing) {
            (libc::ENOENT | libc::ENOTDIR, Some(file)) => {
                format!("cannot execute '{}': the interpreter in its first line, or its loader, does not exist", file.to_string_lossy())
            }
            (libc::ENOENT | libc::ENOTDIR, None) if program.contains('/') => format!("cannot execute '{program}': no such file"),
            (libc::ENOENT | libc::ENOTDIR, None) => {
                let directories: Vec<_> = self.candidates.iter().map(|c| c.to_string_lossy().into_owned()).collect();
                let path: Vec<_> = directories.iter().filter_map(|c| c.rsplit_once('/')).map(|(directory, _)| directory).collect();
                format!("cannot execute '{program}': command not found in PATH ({})", path.join(":"))
            }
            (libc::ENOEXEC, _) => format!("cannot execute '{program}': not a program for this machine, nor a script with a '#!' line"),
            (libc::EACCES, _) => format!("cannot execute '{program}': permission denied (is it executable, and its directory readable?)"),
            _ => format!("cannot execute '{program}': {reason}"),
        }
    }
}

impl Starting {
    /// Waits until the program is executed or cannot be. The error is what to tell the person, and whether the job
    /// itself names what is not there.
    pub fn verdict(&self, rank: &Rank) -> Result<(), (String, bool)> {
        let mut report = [0u8; 5];
        loop {
            match rustix::io::read(self.verdict.as_fd(), &mut report) {
                Err(rustix::io::Errno::INTR) => continue,
                Ok(5) => {
                    let [step, number @ ..] = report;
                    return Err(rank.explain(step, i32::from_le_bytes(number)));
                }
                _ => return Ok(()),
            }
        }
    }
}
