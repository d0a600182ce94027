//! Tells somebody who follows a job why nothing is printed yet: what it waits for, that its environment is being
//! built, and when it is tried again.

use crate::command::why::{announced, clock};
use crate::moment;
use crate::state::{Place, patiently};
use api::{Client, JobView, ReasonView};
use spec::{JobId, Time};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A wait shorter than this is not worth a word.
const MOMENT: Duration = Duration::from_secs(1);

/// Why a job can never start, once that is known.
pub type Never = Arc<OnceLock<Vec<ReasonView>>>;

/// Speaks on stderr from a thread of its own until the job has ended. With `never`, a job that can never start is
/// cancelled, and why is left there: nobody waits at a terminal for hardware to be bought.
pub fn start(place: &Place, id: JobId, never: Option<Never>) {
    let place = place.clone();
    std::thread::spawn(move || {
        // Whoever follows the job meets the same trouble and reports it.
        if let Ok(client) = place.connect() {
            narrate(&client, id, never.as_ref());
        }
    });
}

fn narrate(client: &Client, id: JobId, never: Option<&Never>) {
    let mut teller = Teller::default();
    let mut seen: Option<String> = None;
    loop {
        let Ok(reply) = patiently(|| client.follow(id, seen.as_deref(), api::WAIT_MAX_MS)) else { return };
        if reply.job.row.ended.is_some() {
            return;
        }
        if let Some(never) = never.filter(|_| can_never_start(&reply.job)) {
            let _ = never.set(reply.job.reasons);
            let _ = client.cancel(id, true);
            return;
        }
        let news = teller.news(&reply.job, moment::now());
        if let Some(News { line, patient }) = news {
            if patient && !std::mem::replace(&mut teller.patient, true) {
                // Looked at once more after a moment: most waits are over by then.
                std::thread::sleep(MOMENT);
                seen = None;
                continue;
            }
            eprintln!("{line}");
            teller.told(line);
        }
        seen = Some(reply.mark);
    }
}

pub fn can_never_start(job: &JobView) -> bool {
    job.row.state == "waiting" && job.reasons.iter().any(|reason| reason.never)
}

/// A line to be told, and whether it may wait for a moment.
#[derive(Debug, PartialEq, Eq)]
struct News {
    line: String,
    patient: bool,
}

/// What was told last, so that only changes are told.
#[derive(Debug, Default)]
struct Teller {
    last: Option<String>,
    /// What kind of wait was told last: words hold times that pass.
    topic: Option<String>,
    next_topic: Option<String>,
    patient: bool,
}

impl Teller {
    fn news(&mut self, job: &JobView, now: Time) -> Option<News> {
        let (topic, line, patient) = match job.row.state.as_str() {
            "waiting" => {
                let reason = job.reasons.first()?;
                (format!("{}{}", reason.kind, reason.text.split(',').next().unwrap_or_default()), waiting(job, reason, now), true)
            }
            "starting" => {
                let stage = job.runs.last()?.stages.last().filter(|stage| stage.took.is_none())?;
                if stage.stage != "environment" {
                    return None;
                }
                ("environment".into(), "building its environment".into(), true)
            }
            "running" if self.last.is_some() => ("running".into(), "running".into(), false),
            _ => return None,
        };
        // A failed attempt is told at once: somebody looks at its output and wonders.
        let patient = patient && !topic.starts_with("backoff");
        if topic.starts_with("backoff") && self.topic.as_ref().is_some_and(|told| told.starts_with("backoff")) {
            return None;
        }
        if self.topic.as_ref() == Some(&topic) {
            return None;
        }
        self.next_topic = Some(topic);
        Some(News { line, patient })
    }

    fn told(&mut self, line: String) {
        (self.last, self.topic, self.patient) = (Some(line), self.next_topic.take(), false);
    }
}

fn waiting(job: &JobView, reason: &ReasonView, now: Time) -> String {
    let mut line = format!("waiting: {}", reason.text);
    if reason.kind == "backoff" {
        return line;
    }
    if !reason.held_by.is_empty() {
        line.push_str(&format!("; held by {}", reason.held_by.join(", ")));
    }
    if let Some(at) = announced(job.planned_start, now) {
        line.push_str(&format!("; planned start {} ({})", clock(at), moment::relative(at, now)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::{JobSpec, Span, StageTime};

    fn job(state: &str, reasons: Vec<ReasonView>) -> JobView {
        let row = api::JobRow {
            id: JobId::new(3),
            name: "x".into(),
            state: state.into(),
            exit_code: None,
            user: "ada".into(),
            queue: "default".into(),
            ranks: 1,
            elastic: None,
            submitted: Time(0),
            started: None,
            ended: None,
            note: None,
        };
        let spec = JobSpec::command_job("x", vec!["true".into()], "/");
        JobView { row, spec, reasons, planned_start: None, outcome: None, hint: None, runs: vec![], tasks: vec![] }
    }

    fn reason(kind: &str, text: &str) -> ReasonView {
        ReasonView { kind: kind.into(), text: text.into(), held_by: vec![], change: None, until: None, never: false }
    }

    fn hear(teller: &mut Teller, job: &JobView) -> Option<String> {
        let News { line, .. } = teller.news(job, Time(0))?;
        teller.told(line.clone());
        Some(line)
    }

    #[test]
    fn each_wait_is_told_once_and_its_end_too() {
        let mut teller = Teller::default();
        let mut full = job("waiting", vec![reason("cpus", "needs 2 CPUs, 0 of 2 are free")]);
        full.reasons[0].held_by = vec!["1-1 (train, ada)".into()];
        full.planned_start = Some(Time(3_600_000));
        let line = hear(&mut teller, &full).unwrap();
        assert_eq!(line, "waiting: needs 2 CPUs, 0 of 2 are free; held by 1-1 (train, ada); planned start 01:00 UTC (in 1h 0m)");
        full.reasons[0].text = "needs 2 CPUs, 1 of 2 is free".into();
        assert_eq!(hear(&mut teller, &full), None, "the same wait");
        assert_eq!(hear(&mut teller, &job("waiting", vec![reason("behind", "2 jobs are ahead")])).unwrap(), "waiting: 2 jobs are ahead");
        assert_eq!(hear(&mut teller, &job("starting", vec![])), None);
        assert_eq!(hear(&mut teller, &job("running", vec![])).unwrap(), "running");
        assert_eq!(hear(&mut teller, &job("running", vec![])), None);
        let again = job("waiting", vec![reason("backoff", "attempt 2 of 3 starts in 20 s")]);
        assert_eq!(teller.news(&again, Time(0)).unwrap(), News { line: "waiting: attempt 2 of 3 starts in 20 s".into(), patient: false });
    }

    #[test]
    fn a_job_that_starts_at_once_is_not_talked_about() {
        let mut teller = Teller::default();
        assert_eq!(hear(&mut teller, &job("starting", vec![])), None);
        assert_eq!(hear(&mut teller, &job("running", vec![])), None);
    }

    #[test]
    fn a_long_build_is_told() {
        let mut building = job("starting", vec![]);
        let grant = machine::Grant {
            machine: "m".into(),
            ranks: vec![],
            cpu_share: machine::CpuShare::ONE,
            memory: machine::Bytes::ZERO,
            shm: machine::Bytes::ZERO,
            mem_nodes: Default::default(),
            ports: None,
            share: None,
        };
        building.runs.push(api::RunView {
            run: spec::RunId { job: JobId::new(3), attempt: 1 },
            state: "starting".into(),
            evicted_for: None,
            goes_on_with: None,
            cause: None,
            grant,
            granted: Time(0),
            started: None,
            ended: None,
            ranks: vec![],
            isolation: None,
            stages: vec![StageTime { stage: "environment".into(), began: Time(0), took: None }],
            usage: None,
            overstep: None,
        });
        assert_eq!(hear(&mut Teller::default(), &building).unwrap(), "building its environment");
        building.runs[0].stages[0].took = Some(Span::seconds(1));
        assert_eq!(hear(&mut Teller::default(), &building), None);
    }
}
