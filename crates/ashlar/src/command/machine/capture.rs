//! `ashlar machine capture`

use super::tools;
use crate::arguments::{Capture, Machine};
use crate::failure::Failure;
use crate::listing;
use host::Root;
use host::capture::{self, CaptureError, Summary, ToolOutput};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

pub fn run(machine: &Machine, what: &Capture) -> Result<ExitCode, Failure> {
    let root = match &machine.root {
        Some(path) => super::open(path)?,
        None => Root::live(),
    };
    let to_stdout = what.file == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::input("an archive is not written to a terminal").hint("name a file"));
    }
    // Before the tools are asked, which takes seconds.
    let file = if to_stdout { None } else { Some(create(&what.file)?) };
    let outputs = if root.is_live() && !what.no_tools { tools::ask_all() } else { kept_outputs(&root) };
    let key = capture::random_key().map_err(|error| Failure::failed(format!("the kernel gives no random numbers: {error}")))?;
    let wanted = diagnosis::readiness::sources();
    let written = match file {
        Some(file) => capture::write(&root, &wanted, &outputs, key, BufWriter::new(file)),
        None => capture::write(&root, &wanted, &outputs, key, BufWriter::new(io::stdout().lock())),
    };
    let summary = written.map_err(|error| {
        if !to_stdout {
            // Half an archive is none.
            let _ = std::fs::remove_file(&what.file);
        }
        failure(&error)
    })?;
    if machine.json && !to_stdout {
        listing::print_json(&summary)?;
    } else {
        tell(&what.file, &summary, to_stdout)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// For this person only: it is redacted, but it is theirs to give away.
fn create(path: &Path) -> Result<std::fs::File, Failure> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::input(format!("{} is there already", path.display())).hint("name another file"),
        _ => Failure::input(format!("cannot write {}: {error}", path.display())),
    })
}

fn failure(error: &CaptureError) -> Failure {
    let failure = Failure::failed(error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A capture of a capture keeps what tools printed on the machine itself.
fn kept_outputs(root: &Root) -> Vec<ToolOutput> {
    let names = root.names("ashlar/tools").into_iter();
    names.filter_map(|name| Some(ToolOutput { text: root.text(&format!("ashlar/tools/{name}"))?, name })).collect()
}

fn tell(file: &Path, summary: &Summary, to_stdout: bool) -> io::Result<()> {
    let mut err = io::stderr().lock();
    if !to_stdout {
        let size = std::fs::metadata(file).map_or(0, |about| about.len());
        writeln!(io::stdout(), "{}", file.display())?;
        writeln!(err, "{} files, {} links, {} kB packed", summary.files, summary.links, size.div_ceil(1000))?;
    }
    if !summary.tools.is_empty() {
        writeln!(err, "with what these printed: {}", summary.tools.join(", "))?;
    }
    if summary.log_records_left_out > 0 {
        writeln!(err, "{} records of the kernel's log were written by programs and are left out", summary.log_records_left_out)?;
    }
    if !summary.as_root {
        writeln!(err, "made without root: configuration spaces of PCI devices and perhaps the kernel's log are missing")?;
    }
    Ok(())
}
