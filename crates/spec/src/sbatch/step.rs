//! The command line of `srun` inside a job.

use super::options::{self, Meaning};
use super::{START, values};
use crate::field_error::{FieldError, Quoted};
use crate::problem::Problems;
use std::collections::BTreeMap;

/// Tasks of one program, started together within what the job holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub tasks: u32,
    /// CPUs of each task, where that was said.
    pub cpus_per_task: Option<u32>,
    /// Devices of each task; without it each task sees all of the job.
    pub gpus_per_task: Option<u32>,
    /// Each line of output begins with the number of its task.
    pub label: bool,
    /// The first task that fails ends the others.
    pub kill_on_bad_exit: bool,
    pub folder: Option<String>,
    /// Options without effect, a sentence each.
    pub warnings: Vec<String>,
    pub command: Vec<String>,
}

/// Reads the command line. What it does not say, the variables of the job say.
///
/// # Errors
/// Options that are none or cannot be kept, and a missing command.
pub fn read_srun(arguments: &[String], variables: &BTreeMap<String, String>) -> Result<Step, Problems> {
    let (given, mut wrong, used) = options::of_command_line(arguments, options::STEP);
    let count = |name: &str| variables.get(name).and_then(|text| values::count(text).ok());
    let mut step = Step {
        tasks: 0,
        cpus_per_task: count("SLURM_CPUS_PER_TASK"),
        gpus_per_task: count("SLURM_GPUS_PER_TASK"),
        label: false,
        kill_on_bad_exit: false,
        folder: None,
        warnings: vec![],
        command: arguments.get(used..).unwrap_or_default().to_vec(),
    };
    let (mut tasks, mut per_node) = (None, None);
    for option in given {
        let value = option.value.as_str();
        let read = match option.meaning {
            Meaning::Tasks => values::count(value).map(|count| tasks = Some(count)),
            Meaning::TasksPerNode => values::count(value).map(|count| per_node = Some(count)),
            Meaning::CpusPerTask => values::count(value).map(|count| step.cpus_per_task = Some(count)),
            Meaning::GpusPerTask => match values::devices(value, false) {
                Ok(found) => {
                    step.gpus_per_task = found.map(|(_, count)| count);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Meaning::Label => {
                step.label = true;
                Ok(())
            }
            Meaning::KillOnBadExit => {
                step.kill_on_bad_exit = value != "0";
                Ok(())
            }
            Meaning::Chdir => {
                step.folder = Some(value.to_owned());
                Ok(())
            }
            Meaning::Output | Meaning::Error | Meaning::Input => {
                Err(FieldError::new(format!("{} of a step is not kept", option.name)).hint("let the shell do it: srun CMD >FILE"))
            }
            Meaning::Refused(why) => Err(FieldError::new(format!("{} cannot be kept", option.name)).hint(why)),
            Meaning::Unkept(why) => {
                step.warnings.push(format!("{}: {why}", option.name));
                Ok(())
            }
            // What the job as a whole asks for; a step takes what is there.
            _ => Ok(()),
        };
        if let Err(error) = read {
            wrong.push((START, option.name, error));
        }
    }
    step.tasks = tasks.or(per_node).or(count("SLURM_NTASKS")).unwrap_or(1);
    if step.tasks > 4096 {
        wrong.push((
            START,
            "--ntasks".into(),
            FieldError::new(format!("{} tasks on one machine are a mistake", Quoted(&step.tasks.to_string()))),
        ));
    }
    if step.command.is_empty() {
        wrong.push((START, String::new(), FieldError::new("there is no command").hint("write it such as srun -n 4 ./program")));
    }
    let text = format!("srun {}", arguments.join(" "));
    if wrong.is_empty() { Ok(step) } else { Err(Problems::new("the command line", &text, wrong)) }
}
