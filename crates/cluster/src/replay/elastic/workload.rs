//! Workloads of the Pollux artifact: `name,time,application,num_replicas,batch_size`, one job a line, seconds.

use super::job::Submission;
use super::profile::{Application, Problem, ProfileError, Table};

/// Reads a workload; its applications must be among those given. In order of the file.
pub fn parse_workload(name: &str, text: &str, applications: &[Application]) -> Result<Vec<Submission>, ProfileError> {
    let table = Table::read(name, text, &["name", "time", "application", "num_replicas", "batch_size"])?;
    let submission = |row| {
        let application = table.text(row, 2);
        let unknown = || table.fault(row, Problem::UnknownApplication(application.to_string()));
        Ok(Submission {
            name: table.text(row, 0).to_string(),
            at: table.number(row, 1)?,
            application: applications.iter().position(|known| known.name == application).ok_or_else(unknown)?,
            asked: table.number::<u32>(row, 3)?.max(1),
            batch: table.number(row, 4)?,
        })
    };
    (0..table.len()).map(submission).collect()
}
