//! `sbatch [OPTIONS] SCRIPT [ARGUMENTS]`

use crate::command::submit::{never_starts, read_text};
use crate::failure::Failure;
use crate::state::{Place, job_exit, patiently};
use crate::{moment, program};
use api::{Client, PlanVerdict};
use spec::{JobSpec, Mount, Sbatch, SbatchContext, ScriptPlace};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub fn run(place: &Place, words: &[String]) -> Result<ExitCode, Failure> {
    let (file, text) = match spec::find_script(words).map_err(|problems| Failure::problems(&problems))? {
        ScriptPlace::File { name, .. } => {
            let text = read_text(Path::new(&name), false).map_err(|error| Failure::input(format!("cannot read {name}: {error}")))?;
            (name, Some(text))
        }
        ScriptPlace::Wrapped => ("wrap".to_owned(), None),
        ScriptPlace::StandardInput => {
            let text = read_text(Path::new("-"), true).map_err(|error| Failure::input(format!("cannot read standard input: {error}")))?;
            ("sbatch".to_owned(), Some(text))
        }
    };
    let mut batch = read_script(&file, text.as_deref(), words)?;
    let client = place.connect()?;
    batch.warnings.extend(into_known_queue(&client, &mut batch.spec)?);
    if !batch.quiet {
        batch.warnings.iter().for_each(|text| eprintln!("sbatch: warning: {text}"));
    }
    if batch.test_only {
        return would(&client, batch.spec);
    }
    let id = client.submit(batch.spec, None)?;
    if let Some(text) = never_starts(&client, id) {
        eprintln!("sbatch: warning: {text}");
    }
    let mut out = std::io::stdout();
    match batch.parsable {
        true => writeln!(out, "{id}")?,
        false if batch.quiet => {}
        false => writeln!(out, "Submitted batch job {id}")?,
    }
    out.flush()?;
    if !batch.wait {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        let reply = patiently(|| client.wait(id, api::WAIT_MAX_MS))?;
        if reply.ended {
            return Ok(job_exit(reply.job.exit_code));
        }
    }
}

/// Reads a batch script with what belongs to this shell.
pub fn read_script(file: &str, text: Option<&str>, words: &[String]) -> Result<Sbatch, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::input(format!("cannot tell the current folder: {error}")))?;
    let program = program::own_path().map_err(|error| Failure::internal(format!("cannot find my own program: {error}")))?;
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let context = SbatchContext {
        file: file.to_owned(),
        workdir: here.display().to_string(),
        user: user.map_or_else(|| nix::unistd::geteuid().to_string(), |user| user.name),
        hostname: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        program: program.display().to_string(),
        variables: std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect(),
    };
    let mut read = spec::read_sbatch(text, words, &context).map_err(|problems| Failure::problems(&problems))?;
    // A job has a /tmp of its own; `srun` inside it is this very program.
    if program.starts_with("/tmp") || program.starts_with("/var/tmp") {
        let path = context.program.clone();
        read.spec.mounts.push(Mount { source: path.clone(), target: path, read_only: true });
    }
    Ok(read)
}

/// Partitions of another cluster are no queues here: the job goes where all may, and its submitter is told.
pub fn into_known_queue(client: &Client, job: &mut JobSpec) -> Result<Option<String>, Failure> {
    let Some(wanted) = &job.queue else { return Ok(None) };
    let known: Vec<String> = client.queues()?.into_iter().map(|view| view.queue.name).collect();
    if known.contains(wanted) {
        return Ok(None);
    }
    let text = format!("--partition: there is no queue '{wanted}', so the job goes to 'default'; there are: {}", known.join(", "));
    job.queue = None;
    Ok(Some(text))
}

fn would(client: &Client, job: JobSpec) -> Result<ExitCode, Failure> {
    let plan = client.plan(job)?;
    let when = plan.planned_start.map_or_else(|| "at a time that cannot be foreseen".into(), |at| moment::relative(at, moment::now()));
    let text = match plan.verdict {
        PlanVerdict::StartsNow => "the job would start now".to_owned(),
        PlanVerdict::Waits => format!("the job would wait and start {when}"),
        PlanVerdict::Never => "the job could never start".to_owned(),
    };
    let why: Vec<&str> = plan.reasons.iter().map(|reason| reason.text.as_str()).collect();
    eprintln!("sbatch: {text}{}{}", if why.is_empty() { "" } else { ": " }, why.join("; "));
    Ok(if plan.verdict == PlanVerdict::Never { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
