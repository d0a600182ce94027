//! `ashlar faults`

use crate::arguments::{Faults, FaultsAction, FaultsExplain, FaultsReplay};
use crate::failure::{FAILED, Failure};
use crate::{faults_text, listing};
use diagnosis::faults::{Catalogue, Level, Limits, Report, Stream, explain};
use host::kernel_log::KernelLog;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// A log is read in pieces of this size.
const PIECE: usize = 1 << 20;

pub fn run(asked: Faults) -> Result<ExitCode, Failure> {
    match asked.action {
        Some(FaultsAction::Replay(replay)) => replay_log(&replay),
        Some(FaultsAction::Explain(about)) => explain_code(&about),
        None => {
            let catalogue = catalogue(None)?;
            let report = kernel_log(&catalogue, &host::Root::live())?;
            print(&report, asked.json)
        }
    }
}

fn replay_log(asked: &FaultsReplay) -> Result<ExitCode, Failure> {
    let catalogue = catalogue(asked.catalogue.as_deref())?;
    let report = if asked.log == Path::new("-") {
        stream(&catalogue, std::io::stdin().lock(), &asked.log)?
    } else if asked.log.is_dir() {
        kernel_log(&catalogue, &super::machine::open(&asked.log)?)?
    } else {
        let mut file = File::open(&asked.log).map_err(|error| unreadable(&asked.log, &error))?;
        let mut first = [0u8; 2];
        let count = file.read(&mut first).map_err(|error| unreadable(&asked.log, &error))?;
        if first == [0x1f, 0x8b] {
            let root = super::machine::open(&asked.log)
                .map_err(|failure| failure.hint("a compressed log is read with: zcat FILE | ashlar faults replay -"))?;
            kernel_log(&catalogue, &root)?
        } else {
            stream(&catalogue, first[..count].chain(file), &asked.log)?
        }
    };
    print(&report, asked.json)
}

fn explain_code(asked: &FaultsExplain) -> Result<ExitCode, Failure> {
    let catalogue = catalogue(asked.catalogue.as_deref())?;
    let Some(told) = explain(&catalogue, &asked.code) else {
        return Err(Failure::input(format!("{:?} is no code, no kind of incident and no line of a fault", asked.code))
            .hint("write it as in \"Xid 79\", \"SXid 20034\", 80E01801, fs.journal; docs/guides/faults.md says more"));
    };
    if asked.json {
        listing::print_json(&told)?;
    } else {
        write!(std::io::stdout(), "{}", faults_text::explanation(&told))?;
    }
    Ok(ExitCode::from(if told.known { 0 } else { FAILED }))
}

fn catalogue(operators: Option<&Path>) -> Result<Catalogue, Failure> {
    let text = operators.map(|path| std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))).transpose()?;
    Catalogue::with(text.as_deref()).map_err(|error| match operators {
        Some(path) => {
            let failure = Failure::input(format!("{}: {error}", path.display()));
            error.hint().map_or_else(|| Failure::input(format!("{}: {error}", path.display())), |hint| failure.hint(hint))
        }
        None => Failure::internal(error),
    })
}

fn kernel_log(catalogue: &Catalogue, root: &host::Root) -> Result<Report, Failure> {
    let unread = |why: String| {
        Failure::input(format!("cannot read the kernel's log: {why}"))
            .hint("read it as root, or replay one that was kept: ashlar faults replay FILE")
    };
    let mut log = KernelLog::open(root).map_err(unread)?;
    let mut stream = Stream::new(catalogue, Limits::default());
    log.read(|line| {
        stream.push(line.as_bytes());
        stream.push(b"\n");
    })
    .map_err(unread)?;
    Ok(stream.finish())
}

fn stream(catalogue: &Catalogue, mut log: impl Read, path: &Path) -> Result<Report, Failure> {
    let mut stream = Stream::new(catalogue, Limits::default());
    let mut piece = vec![0u8; PIECE];
    loop {
        match log.read(&mut piece) {
            Ok(0) => return Ok(stream.finish()),
            Ok(count) => stream.push(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::input(format!("cannot read {}: {error}", path.display())).hint("name a log, a capture, or - for stdin")
}

fn print(report: &Report, json: bool) -> Result<ExitCode, Failure> {
    if json {
        listing::print_json(report)?;
    } else {
        write!(std::io::stdout(), "{}", faults_text::report(report))?;
    }
    let bad = report.incidents.iter().any(|incident| incident.level > Level::Info);
    Ok(ExitCode::from(if bad { FAILED } else { 0 }))
}
