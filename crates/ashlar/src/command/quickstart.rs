//! `ashlar quickstart`: the whole road once, with a real job.

mod progress;

use super::show::{level, print_run};
use super::submit::read_job;
use crate::arguments::Quickstart;
use crate::failure::{FAILED, Failure};
use crate::local_node::LocalNode;
use crate::state::Place;
use crate::{listing, picture};
use api::{Client, JobView, MachineView};
use nix::sys::signalfd::SignalFd;
use spec::{Enforced, JobId};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// One job of the quickstart: its folder name and its files, the job file first.
struct Program {
    name: &'static str,
    files: [(&'static str, &'static str); 2],
    what: &'static str,
}

const DIGITS: Program = Program {
    name: "digits",
    files: [
        ("job.yaml", include_str!("../../../../examples/digits/job.yaml")),
        ("train.py", include_str!("../../../../examples/digits/train.py")),
    ],
    what: "a neural network on 1,797 handwritten digits: JAX, 2 ranks, gradients averaged between them at every step",
};

const OFFLINE: Program = Program {
    name: "offline",
    files: [
        ("job.yaml", include_str!("../../../../examples/offline/job.yaml")),
        ("train.py", include_str!("../../../../examples/offline/train.py")),
    ],
    what: "a small network in plain Python: 2 ranks, gradients averaged between them over a socket",
};

pub fn run(place: &Place, quickstart: Quickstart) -> Result<ExitCode, Failure> {
    let program = if quickstart.offline { OFFLINE } else { DIGITS };
    // Before any thread or process starts: Ctrl-C shall leave neither the job nor the node behind.
    let interrupts = super::run::hold_interrupts()?;
    let machine = super::machine::this_machine()?;
    heading("this machine")?;
    let view = MachineView { machine, held: vec![], now: crate::moment::now(), figures: std::collections::BTreeMap::new() };
    write!(io::stdout(), "{}", picture::draw(&view, listing::width(), listing::colour_wanted(), true))?;

    heading("the node")?;
    let node = LocalNode::find_or_start(place)?;
    let line = match node.started() {
        true => "started one for this; it stops again at the end",
        false => "one runs here already; using it",
    };
    writeln!(io::stdout(), "{line} (state in {})", place.state.display())?;
    let client = place.connect()?;
    let running: Arc<OnceLock<JobId>> = Arc::new(OnceLock::new());
    clean_up_on_interrupt(place, interrupts, running.clone(), node.pid());

    heading("the job")?;
    writeln!(io::stdout(), "training {}", program.what)?;
    let folder = write_program(&program)?;
    let id = client.submit(read_job(&folder.join(program.files[0].0))?, None)?;
    let _ = running.set(id);
    writeln!(io::stdout(), "job {id}, from {}", folder.join(program.files[0].0).display())?;
    let outcome = progress::follow(place, &client, id);
    let view = match outcome {
        Ok(view) => view,
        Err(failure) => {
            let _ = client.cancel(id, true);
            return Err(failure);
        }
    };
    let code = summary(&client, &view, &quickstart, &folder)?;
    drop(node);
    Ok(code)
}

fn clean_up_on_interrupt(place: &Place, interrupts: SignalFd, running: Arc<OnceLock<JobId>>, node: Option<u32>) {
    let place = place.clone();
    std::thread::spawn(move || {
        if let Ok(Some(_)) = interrupts.read_signal() {
            eprintln!("\ninterrupted: ending the job{}", if node.is_some() { " and the node" } else { "" });
            if let (Some(id), Ok(client)) = (running.get(), place.connect()) {
                let _ = client.cancel(*id, true);
                let _ = client.wait(*id, 10_000);
            }
            crate::local_node::stop(node);
            std::process::exit(130);
        }
    });
}

fn heading(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "\n== {text}")
}

/// Job files have to lie where the job can read them; the cache folder of the person is such a place.
fn write_program(program: &Program) -> Result<PathBuf, Failure> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let folder = cache.unwrap_or_else(std::env::temp_dir).join("ashlar/quickstart").join(program.name);
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        for (name, text) in program.files {
            std::fs::write(folder.join(name), text)?;
        }
        Ok(())
    };
    write().map_err(|error| Failure::failed(format!("cannot write the job to {}: {error}", folder.display())))?;
    Ok(folder)
}

fn summary(client: &Client, view: &JobView, quickstart: &Quickstart, folder: &Path) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    let Some(run) = view.runs.last() else {
        return Err(Failure::failed(format!("job {} never ran: {}", view.row.id, view.outcome.as_deref().unwrap_or("no reason given"))));
    };
    writeln!(out, "\n== what happened")?;
    print_run(&mut out, run)?;
    if view.row.exit_code != Some(0) {
        drop(out);
        return failed(client, view, quickstart);
    }
    if let Some(isolation) = &run.isolation {
        let enforced = isolation.marks.iter().filter(|mark| mark.enforced == Enforced::Yes).count();
        writeln!(out, "\nisolated as a {}: {enforced} of {} marks enforced here", level(isolation.level), isolation.marks.len())?;
    }
    let id = view.row.id;
    writeln!(out, "\n== next")?;
    writeln!(out, "  ashlar up                          start the node for good (--print-unit writes a systemd unit)")?;
    writeln!(out, "  ashlar run -- python your_script.py")?;
    writeln!(out, "  ashlar submit {}", folder.join("job.yaml").display())?;
    writeln!(out, "  ashlar show {id} ; ashlar logs {id} --rank 0 ; ashlar machine ; ashlar queues")?;
    Ok(ExitCode::SUCCESS)
}

fn failed(client: &Client, view: &JobView, quickstart: &Quickstart) -> Result<ExitCode, Failure> {
    let id: JobId = view.row.id;
    eprintln!("\n{} the job {}: {}", listing::paint_error("error:"), view.row.state, view.outcome.as_deref().unwrap_or("no reason given"));
    for rank in 0..view.row.ranks {
        let tail = progress::tail(client, id, rank, 2000);
        if !tail.is_empty() {
            eprintln!("--- the end of the output of rank {rank}");
            eprintln!("{}", tail.trim_end());
        }
    }
    if !quickstart.offline {
        eprintln!("{} without network, `ashlar quickstart --offline` shows the same road", listing::paint_hint("hint:"));
    }
    Ok(ExitCode::from(FAILED))
}
