//! Slurm's batch scripts as jobs.
//!
//! A batch script is one process that holds everything it asked for and starts its tasks itself, with `srun` or `mpirun`.
//! So it becomes a job of one rank. Options are kept, or said to be without effect, or refused; none is passed over.

mod convert;
mod options;
mod step;
mod values;

use crate::field_error::FieldError;
use crate::problem::{Place, Problems};
use crate::{JobId, JobSpec, Span};
use options::{Given, Meaning, Wrong};
use std::collections::BTreeMap;

pub use step::{Step, read_srun};

/// What a batch script is read against. The reader itself touches no file and no variable.
#[derive(Clone, Debug)]
pub struct SbatchContext {
    /// Name of the script in messages.
    pub file: String,
    /// Absolute folder from which it is submitted.
    pub workdir: String,
    /// Login name of the submitter.
    pub user: String,
    /// Of the machine from which it is submitted.
    pub hostname: String,
    /// Absolute path of the program that serves as `srun` inside the job.
    pub program: String,
    /// Variables of the shell from which it is submitted; `--export` says which of them the job gets.
    pub variables: BTreeMap<String, String>,
}

/// A batch script as a job, and what the command that submits it was told beside that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sbatch {
    pub spec: JobSpec,
    /// Options without effect, a sentence each.
    pub warnings: Vec<String>,
    /// `--parsable`: print nothing but the number.
    pub parsable: bool,
    /// `--quiet`
    pub quiet: bool,
    /// `--wait`: until the job has ended.
    pub wait: bool,
    /// `--test-only`: nothing is submitted.
    pub test_only: bool,
}

/// Where the command line of `sbatch` says that the script is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptPlace {
    /// A file, and what comes behind its name.
    File {
        name: String,
        arguments: Vec<String>,
    },
    /// `--wrap`: the command itself.
    Wrapped,
    StandardInput,
}

/// Where the script is.
///
/// # Errors
/// Options that are none, or that cannot be kept.
pub fn find_script(arguments: &[String]) -> Result<ScriptPlace, Problems> {
    let (given, wrong, used) = options::of_command_line(arguments, options::SBATCH);
    told(&command_line(arguments), wrong)?;
    let wrapped = given.iter().any(|option| option.meaning == Meaning::Wrap);
    match arguments.get(used..).unwrap_or_default() {
        [name, _rest @ ..] if wrapped => {
            let error = FieldError::new(format!("--wrap and the script '{name}' are both given")).hint("give one of them");
            Err(Problems::new("the command line", &command_line(arguments), vec![(START, "--wrap".into(), error)]))
        }
        [] if wrapped => Ok(ScriptPlace::Wrapped),
        [] => Ok(ScriptPlace::StandardInput),
        [name, rest @ ..] => Ok(ScriptPlace::File { name: name.clone(), arguments: rest.to_vec() }),
    }
}

const START: Place = Place { line: 1, column: 1, width: 1 };

fn command_line(arguments: &[String]) -> String {
    format!("sbatch {}", arguments.join(" "))
}

fn told(text: &str, wrong: Vec<Wrong>) -> Result<(), Problems> {
    if wrong.is_empty() { Ok(()) } else { Err(Problems::new("the command line", text, wrong)) }
}

/// Whether a text is a batch script: it names an interpreter, and has options of sbatch before its first command.
pub fn is_batch_script(text: &str) -> bool {
    let lines = text.lines().take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    text.starts_with("#!") && lines.clone().any(|line| line.starts_with("#SBATCH"))
}

/// Reads a batch script (`None` with `--wrap`) under the options of a command line, which win over its own.
///
/// # Errors
/// Everything that is wrong, with line and option.
pub fn read_sbatch(script: Option<&str>, arguments: &[String], context: &SbatchContext) -> Result<Sbatch, Problems> {
    let (on_line, wrong, used) = options::of_command_line(arguments, options::SBATCH);
    told(&command_line(arguments), wrong)?;
    let (in_script, mut wrong) = script.map(options::of_script).unwrap_or_default();
    if let Some(text) = script
        && !text.starts_with("#!")
    {
        let error = FieldError::new("this is no batch script: its first line does not name an interpreter");
        wrong.push((START, String::new(), error.hint("begin it with #!/bin/bash")));
    }
    let text = script.unwrap_or_default();
    if script.is_some_and(|text| text.lines().next().is_some_and(|line| text[line.len()..].starts_with("\r\n"))) {
        let error = FieldError::new("the lines of the script end as on Windows, and its interpreter would not be found");
        wrong.push((START, String::new(), error.hint("convert it, such as with dos2unix or sed -i 's/\\r$//'")));
    }
    let script_arguments = arguments.get(used + 1..).unwrap_or_default();
    // Those of the script are looked at alone first, so that what is wrong there is told with its line.
    if script.is_some() {
        wrong.extend(convert::convert(&in_script, script, script_arguments, context).err().into_iter().flatten());
    }
    if !wrong.is_empty() {
        return Err(Problems::new(&context.file, text, wrong));
    }
    let all: Vec<Given> = in_script.into_iter().chain(on_line).collect();
    let told = |wrong| Problems::new("the command line", &command_line(arguments), wrong);
    convert::convert(&all, script, script_arguments, context).map_err(told)
}

/// A job as Slurm's users write it: `17`, or a task of an array as `17_3`.
///
/// # Errors
/// A text that is none.
pub fn job_id_of_slurm(text: &str) -> Result<JobId, FieldError> {
    values::job_id(text)
}

/// A time as Slurm's users write it: `30`, `1:00:00`, `2-12`; `None` is no limit.
///
/// # Errors
/// A text that is none.
pub fn slurm_time(text: &str) -> Result<Option<Span>, FieldError> {
    values::time(text)
}
