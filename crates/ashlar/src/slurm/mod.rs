//! Slurm's commands, for scripts and fingers that know them: the program under the names `sbatch`, `srun`, `squeue` and
//! `scancel` (links to it). Each does what can be done here and says what cannot.

mod sbatch;
mod scancel;
mod squeue;
mod srun;

pub use sbatch::{into_known_queue, read_script};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::state::Place;
use clap::Parser;
use std::ffi::OsStr;
use std::process::ExitCode;

/// The command that the program was called as, if it is one of Slurm's.
pub fn called_as(program: Option<&OsStr>) -> Option<&'static str> {
    let name = std::path::Path::new(program?).file_name()?.to_str()?;
    ["sbatch", "srun", "squeue", "scancel"].into_iter().find(|known| *known == name)
}

pub fn run(name: &str, words: Vec<String>) -> Result<ExitCode, Failure> {
    if name == "srun" {
        return srun::run(&words);
    }
    // The node is found as by every other command: ASHLAR_STATE, ASHLAR_SERVER, or the usual place.
    let arguments = Arguments::try_parse_from(["ashlar", "status"]).map_err(|error| Failure::usage(&error.to_string()))?;
    let place = Place::choose(&arguments)?;
    match name {
        "sbatch" => sbatch::run(&place, &words),
        "squeue" => squeue::run(&place, &words),
        _ => scancel::run(&place, &words),
    }
}

/// `17` and `17_3`, as Slurm's users read them.
fn shown(job: spec::JobId) -> String {
    job.task.map_or_else(|| job.number.to_string(), |task| format!("{}_{task}", job.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_name_counts() {
        let called = |program: &str| called_as(Some(OsStr::new(program)));
        assert_eq!(called("/usr/local/bin/sbatch"), Some("sbatch"));
        assert_eq!(called("squeue"), Some("squeue"));
        assert_eq!(called("/usr/bin/ashlar"), None);
        assert_eq!(called("/srv/srun/ashlar"), None);
    }
}
