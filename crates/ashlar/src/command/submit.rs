//! `ashlar submit job.yaml...`

use crate::arguments::Submit;
use crate::failure::{Failure, INPUT};
use crate::narrate::can_never_start;
use crate::state::Place;
use crate::{listing, named_paths};
use api::{Client, SubmitItem, SubmitResult};
use spec::{JobId, JobSpec, ParseContext};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// After more jobs than this nobody reads what is said of each.
const LOOKED_AT: usize = 20;

/// All files are read and checked before any is submitted: a mistake in the third leaves nothing half done.
pub fn run(place: &Place, submit: Submit) -> Result<ExitCode, Failure> {
    if submit.key.is_some() && submit.files.len() > 1 {
        return Err(Failure::input("--key names one job, but several files are given"));
    }
    let mut jobs = submit.files.iter().map(|file| read_job(file)).collect::<Result<Vec<_>, _>>()?;
    let client = place.connect()?;
    let mut said = Said::default();
    for (job, file) in jobs.iter_mut().zip(&submit.files).filter(|(job, _)| job.launch == spec::Launch::Slurm) {
        crate::slurm::into_known_queue(&client, job)?.into_iter().for_each(|text| said.warn(format!("{}: {text}", file.display())));
    }
    for (job, file) in jobs.iter().zip(&submit.files) {
        warn_of_missing(place, job).into_iter().for_each(|text| said.warn(format!("{}: {text}", file.display())));
    }
    let mut ids = vec![];
    let mut done = 0;
    for chunk in jobs.chunks(api::SUBMIT_MAX_JOBS) {
        let items = chunk.iter().map(|spec| SubmitItem { spec: spec.clone(), key: submit.key.clone() }).collect();
        let files = submit.files.iter().skip(done);
        done += chunk.len();
        for (result, file) in client.submit_many(items)?.results.into_iter().zip(files) {
            match result {
                SubmitResult::Accepted(id) => ids.push(id),
                SubmitResult::Refused(body) => said.refused.push((file.display().to_string(), body)),
            }
        }
    }
    for id in ids.iter().take(LOOKED_AT) {
        said.warnings.extend(never_starts(&client, *id));
    }
    print(&ids, &said, submit.json)?;
    said.failure().map_or(Ok(ExitCode::SUCCESS), Err)
}

/// What is to be said of the jobs beside their ids.
#[derive(Default)]
struct Said {
    warnings: Vec<String>,
    /// File, and why it was not accepted.
    refused: Vec<(String, api::ErrorBody)>,
}

impl Said {
    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// The first refusal decides the exit code; all of them are told.
    fn failure(&self) -> Option<Failure> {
        let (_, body) = self.refused.first()?;
        let failure = Failure::from(api::ClientError::Api(body.clone()));
        // A key used twice for different jobs is a mistake in the input, and nothing that passes.
        let failure = if body.kind == api::ErrorKind::Conflict { failure.code(INPUT) } else { failure };
        let all: Vec<_> = self.refused.iter().map(|(file, body)| serde_json::json!({ "file": file, "error": body })).collect();
        Some(failure.detail("refused", all))
    }
}

fn print(ids: &[JobId], said: &Said, json: bool) -> Result<(), Failure> {
    if json {
        if !ids.is_empty() || said.refused.is_empty() {
            listing::print_json(&serde_json::json!({ "ids": ids, "warnings": said.warnings }))?;
        }
        return Ok(());
    }
    said.warnings.iter().for_each(|text| listing::warn(text));
    for (file, body) in &said.refused {
        match said.refused.len() {
            1 => eprintln!("{file}: not accepted"),
            _ => eprintln!("{file}: not accepted: {body}"),
        }
    }
    let mut out = io::stdout().lock();
    for id in ids {
        writeln!(out, "{id}")?;
    }
    Ok(())
}

/// What the job names that is not on this machine; nothing is known of a node elsewhere.
pub fn warn_of_missing(place: &Place, job: &JobSpec) -> Vec<String> {
    if place.is_remote() { vec![] } else { named_paths::missing(job) }
}

/// A job that nothing here can ever run is accepted, because hardware and limits change; but it should not wait unnoticed.
pub fn never_starts(client: &Client, id: JobId) -> Option<String> {
    let job = client.job(id).ok()?;
    let why = job.reasons.iter().find(|reason| reason.never).filter(|_| can_never_start(&job))?;
    Some(format!("job {id} waits, but {}; it starts when that changes, and `ashlar cancel {id}` takes it back", why.text))
}

/// Reads and validates a job file; `-` is standard input. Relative paths in it start from the file's folder.
pub fn read_job(file: &Path) -> Result<JobSpec, Failure> {
    let from_stdin = file == Path::new("-");
    let name = if from_stdin { "standard input".into() } else { file.display().to_string() };
    let text = read_text(file, from_stdin).map_err(|error| Failure::input(format!("cannot read {name}: {error}")))?;
    if spec::is_batch_script(&text) {
        let batch = crate::slurm::read_script(&name, Some(&text), &["-".to_owned()])?;
        batch.warnings.iter().for_each(|warning| listing::warn(&format!("{name}: {warning}")));
        return Ok(batch.spec);
    }
    let here = std::env::current_dir().map_err(|error| Failure::input(format!("cannot tell the current folder: {error}")))?;
    let folder = match file.parent() {
        Some(parent) if !from_stdin => here.join(parent),
        _ => here,
    };
    let folder = folder.canonicalize().unwrap_or(folder);
    let default_name = file.file_stem().filter(|_| !from_stdin).map_or_else(|| "job".into(), |stem| stem.to_string_lossy().into_owned());
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).map_err(|error| error.to_string());
    let context = ParseContext { file: name, workdir: folder.display().to_string(), read: &read, default_name };
    let job = spec::parse_job(&text, &context).map_err(|problems| Failure::problems(&problems))?;
    super::env::refuse_unknown(&job)?;
    Ok(job)
}

/// A job file is small; a larger one is a mistake such as naming a data file.
const LARGEST: u64 = 4 << 20;

pub fn read_text(file: &Path, from_stdin: bool) -> io::Result<String> {
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
