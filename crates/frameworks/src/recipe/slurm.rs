//! A batch script written for Slurm.
//!
//! What the script is told at its submission (tasks, folder, account) is among the job's own variables; here is what is
//! known only now. Names and meanings as in sbatch(1), "OUTPUT ENVIRONMENT VARIABLES".

use super::{BARE, Place, Recipe};
use crate::variables::Variables;
use machine::CpuShare;
use spec::{JobId, Launch};

pub(super) const RECIPE: Recipe =
    Recipe { launch: Launch::Slurm, name: "slurm", summary: "Slurm's variables for its batch scripts, on one machine", fill, ..BARE };

/// Tasks of an array have numbers of their own with Slurm; programs name folders by them.
const TASKS: u64 = 1_000_000;

fn number(job: JobId) -> u64 {
    job.task.map_or(job.number, |task| job.number.saturating_mul(TASKS).saturating_add(u64::from(task)))
}

fn fill(variables: &mut Variables, place: &Place) {
    let Place { run, input, held, .. } = place;
    let (spec, identity) = (input.spec, input.identity);
    let id = number(run.job).to_string();
    let here = "there is one machine";
    variables.fix("SLURM_JOB_ID", id.as_str(), "this job; a task of an array has a number of its own");
    variables.fix("SLURM_JOBID", id, "the older name of SLURM_JOB_ID");
    variables.set("SLURM_JOB_NAME", spec.name.as_str(), "of the job");
    variables.set("SLURM_CLUSTER_NAME", "ashlar", here);
    variables.set("SLURM_JOB_PARTITION", spec.queue.as_deref().unwrap_or("default"), "the queue");
    for name in ["SLURM_JOB_NODELIST", "SLURM_NODELIST", "SLURMD_NODENAME"] {
        variables.fix(name, input.hostname, here);
    }
    for name in ["SLURM_JOB_NUM_NODES", "SLURM_NNODES"] {
        variables.fix(name, "1", here);
    }
    for name in ["SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_GTIDS"] {
        variables.fix(name, "0", "the script itself is the only one; srun numbers its tasks");
    }
    variables.fix("SLURM_JOB_USER", identity.user.as_str(), "who submitted");
    variables.fix("SLURM_JOB_UID", identity.uid.to_string(), "who submitted");
    variables.fix("SLURM_JOB_GID", identity.gid.to_string(), "who submitted");
    if run.attempt > 1 {
        variables.fix("SLURM_RESTART_COUNT", (run.attempt - 1).to_string(), "attempts before this one");
    }
    let cpus = input.grant.cpu_share.max(CpuShare::ONE).0.div_ceil(1000).to_string();
    variables.fix("SLURM_CPUS_ON_NODE", cpus.as_str(), "granted");
    variables.fix("SLURM_JOB_CPUS_PER_NODE", cpus, "granted");
    variables.fix("SLURM_MEM_PER_NODE", (input.grant.memory.0 >> 20).to_string(), "granted, in MiB");
    if !held.devices.is_empty() {
        let own: Vec<String> = (0..held.devices.len()).map(|index| index.to_string()).collect();
        variables.fix("SLURM_GPUS_ON_NODE", own.len().to_string(), "granted");
        variables.fix("SLURM_JOB_GPUS", own.join(","), "as the job sees them");
    }
    if let (Some(task), Some(array)) = (run.job.task, &spec.array) {
        let ends = [array.ranges.first().map(|range| range.0), array.ranges.last().map(|range| range.1)];
        variables.fix("SLURM_ARRAY_JOB_ID", run.job.number.to_string(), "of the whole array");
        variables.fix("SLURM_ARRAY_TASK_ID", task.to_string(), "this task");
        variables.fix("SLURM_ARRAY_TASK_COUNT", array.len().to_string(), "of the array");
        variables.fix("SLURM_ARRAY_TASK_STEP", "1", "of the array");
        for (name, end) in ["SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX"].into_iter().zip(ends) {
            variables.fix(name, end.unwrap_or(task).to_string(), "of the array");
        }
    }
}
