//! What to do so that this machine matches its assignment: a pure function of both.

use spec::{Assignment, RunId, StopOrder};
use std::collections::BTreeMap;

/// How a run stands on this machine, as read from its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its folder is there, but no supervisor ever wrote that it began.
    NeverBegan,
    /// A supervisor was started a moment ago and has not taken the lock yet.
    Spawned,
    /// Its supervisor holds the lock.
    Supervised,
    /// Its end is written down.
    Ended,
    /// It began, its end is not written, and no supervisor holds the lock.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRun {
    pub standing: Standing,
    /// The stop order written for its supervisor.
    pub stop: Option<StopOrder>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the order and start a supervisor.
    Spawn(RunId),
    /// Write the stop order and wake the supervisor.
    Stop(RunId, StopOrder),
    /// Over, recorded by control, and not ordered any more.
    Forget(RunId),
}

/// Level-triggered: the same two states give the same steps, whatever woke us.
pub fn reconcile(assignment: &Assignment, local: &BTreeMap<RunId, LocalRun>) -> Vec<Step> {
    let mut steps = vec![];
    for order in &assignment.runs {
        let stop = order.stop;
        match local.get(&order.run) {
            None | Some(LocalRun { standing: Standing::NeverBegan, .. }) => steps.push(Step::Spawn(order.run)),
            Some(run) if matches!(run.standing, Standing::Spawned | Standing::Supervised) => {
                if let Some(stop) = stop.filter(|stop| is_news(*stop, run.stop)) {
                    steps.push(Step::Stop(order.run, stop));
                }
            }
            Some(_) => {}
        }
    }
    let ordered = |run: &RunId| assignment.runs.iter().any(|order| order.run == *run);
    for (run, local) in local.iter().filter(|(run, _)| !ordered(run)) {
        match local.standing {
            Standing::Ended | Standing::Lost | Standing::NeverBegan => steps.push(Step::Forget(*run)),
            Standing::Spawned | Standing::Supervised => {
                let stop = StopOrder { kill: true };
                if is_news(stop, local.stop) {
                    steps.push(Step::Stop(*run, stop));
                }
            }
        }
    }
    steps
}

fn is_news(wanted: StopOrder, written: Option<StopOrder>) -> bool {
    written.is_none_or(|written| wanted.kill && !written.kill)
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::{CpuShare, Grant};
    use spec::{Identity, JobId, JobSpec, RunOrder, Time};
    use std::sync::Arc;

    fn run(number: u64) -> RunId {
        RunId { job: JobId::new(number), attempt: 1 }
    }

    fn order(number: u64, stop: Option<StopOrder>) -> RunOrder {
        let grant = Grant {
            machine: "m".into(),
            ranks: vec![],
            cpu_share: CpuShare::ONE,
            memory: spec::Bytes::ZERO,
            shm: spec::Bytes::ZERO,
            mem_nodes: Default::default(),
            ports: None,
            share: None,
        };
        let owner = Identity { uid: 1, gid: 1, groups: vec![], user: "ada".into(), home: "/".into() };
        let spec = Arc::new(JobSpec::command_job("x", vec!["true".into()], "/"));
        RunOrder { run: run(number), spec, owner, grant, submitted: Time(0), stop }
    }

    fn steps(orders: Vec<RunOrder>, local: &[(u64, Standing, Option<StopOrder>)]) -> Vec<Step> {
        let assignment = Assignment { machine: "m".into(), generation: 1, runs: orders };
        let local = local.iter().map(|(n, standing, stop)| (run(*n), LocalRun { standing: *standing, stop: *stop })).collect();
        reconcile(&assignment, &local)
    }

    const ASK: StopOrder = StopOrder { kill: false };
    const KILL: StopOrder = StopOrder { kill: true };

    #[test]
    fn what_is_ordered_and_not_there_is_spawned() {
        assert_eq!(steps(vec![order(1, None)], &[]), [Step::Spawn(run(1))]);
        assert_eq!(steps(vec![order(1, None)], &[(1, Standing::NeverBegan, None)]), [Step::Spawn(run(1))]);
        // A stop that comes before the start goes the same road: the supervisor finds the order and ends at once.
        assert_eq!(steps(vec![order(1, Some(ASK))], &[]), [Step::Spawn(run(1))]);
    }

    #[test]
    fn what_runs_is_left_alone() {
        for standing in [Standing::Spawned, Standing::Supervised, Standing::Ended, Standing::Lost] {
            assert_eq!(steps(vec![order(1, None)], &[(1, standing, None)]), []);
        }
    }

    #[test]
    fn a_stop_is_passed_on_once_and_a_kill_on_top_of_it() {
        assert_eq!(steps(vec![order(1, Some(ASK))], &[(1, Standing::Supervised, None)]), [Step::Stop(run(1), ASK)]);
        assert_eq!(steps(vec![order(1, Some(ASK))], &[(1, Standing::Supervised, Some(ASK))]), []);
        assert_eq!(steps(vec![order(1, Some(KILL))], &[(1, Standing::Supervised, Some(ASK))]), [Step::Stop(run(1), KILL)]);
        assert_eq!(steps(vec![order(1, Some(ASK))], &[(1, Standing::Supervised, Some(KILL))]), []);
        assert_eq!(steps(vec![order(1, Some(ASK))], &[(1, Standing::Ended, None)]), []);
    }

    #[test]
    fn what_is_not_ordered_is_killed_then_forgotten() {
        assert_eq!(steps(vec![], &[(1, Standing::Supervised, None)]), [Step::Stop(run(1), KILL)]);
        assert_eq!(steps(vec![], &[(1, Standing::Supervised, Some(KILL))]), []);
        for standing in [Standing::Ended, Standing::Lost, Standing::NeverBegan] {
            assert_eq!(steps(vec![], &[(1, standing, None)]), [Step::Forget(run(1))]);
        }
    }
}
