//! `ashlar submit job.yaml...`

use crate::arguments::Submit;
use crate::failure::Failure;
use crate::listing;
use crate::state::Place;
use api::{SubmitItem, SubmitResult};
use spec::{JobSpec, ParseContext};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// All files are read and checked before any is submitted: a mistake in the third leaves nothing half done.
pub fn run(place: &Place, submit: Submit) -> Result<ExitCode, Failure> {
    if submit.key.is_some() && submit.files.len() > 1 {
        return Err(Failure::input("--key names one job, but several files are given"));
    }
    let jobs = submit.files.iter().map(|file| read_job(file, submit.json)).collect::<Result<Vec<_>, _>>()?;
    let client = place.connect()?;
    let mut ids = vec![];
    let mut refused = None;
    for chunk in jobs.chunks(api::SUBMIT_MAX_JOBS) {
        let items = chunk.iter().map(|spec| SubmitItem { spec: spec.clone(), key: submit.key.clone() }).collect();
        for (result, file) in client.submit_many(items)?.results.into_iter().zip(submit.files.iter().skip(ids.len())) {
            match result {
                SubmitResult::Accepted(id) => ids.push(id),
                SubmitResult::Refused(body) => {
                    let failure = Failure::from(api::ClientError::Api(body));
                    eprintln!("{}: not accepted", file.display());
                    refused.get_or_insert(failure);
                }
            }
        }
    }
    let mut out = io::stdout().lock();
    if submit.json {
        drop(out);
        listing::print_json(&serde_json::json!({ "ids": ids }))?;
    } else {
        for id in &ids {
            writeln!(out, "{id}")?;
        }
    }
    refused.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Reads and validates a job file; `-` is standard input. Relative paths in it start from the file's folder.
pub fn read_job(file: &Path, json: bool) -> Result<JobSpec, Failure> {
    let from_stdin = file == Path::new("-");
    let name = if from_stdin { "standard input".into() } else { file.display().to_string() };
    let text = read_text(file, from_stdin).map_err(|error| Failure::input(format!("cannot read {name}: {error}")))?;
    let here = std::env::current_dir().map_err(|error| Failure::input(format!("cannot tell the current folder: {error}")))?;
    let folder = match file.parent() {
        Some(parent) if !from_stdin => here.join(parent),
        _ => here,
    };
    let folder = folder.canonicalize().unwrap_or(folder);
    let default_name = file.file_stem().filter(|_| !from_stdin).map_or_else(|| "job".into(), |stem| stem.to_string_lossy().into_owned());
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).map_err(|error| error.to_string());
    let context = ParseContext { file: name, workdir: folder.display().to_string(), read: &read, default_name };
    spec::parse_job(&text, &context).map_err(|problems| {
        if json {
            // For programs the problems are data too, and data goes to stdout.
            let _ = listing::print_json(&serde_json::json!({ "problems": problems }));
        }
        Failure::problems(&problems)
    })
}

/// A job file is small; a larger one is a mistake such as naming a data file.
const LARGEST: u64 = 4 << 20;

fn read_text(file: &Path, from_stdin: bool) -> io::Result<String> {
    let mut bytes = vec![];
    let read = if from_stdin {
        io::stdin().take(LARGEST + 1).read_to_end(&mut bytes)?
    } else {
        let path: PathBuf = file.into();
        if path.is_dir() {
            return Err(io::Error::other("it is a folder"));
        }
        std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?
    };
    if read as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 4 MiB, which no job file is"));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::other(format!("it is not UTF-8 text (byte {})", error.utf8_error().valid_up_to())))
}
