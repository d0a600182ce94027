//! What a person supposes when asking when a job would start: "if job 7 ended and I asked for two devices".

use crate::field_error::{FieldError, Quoted};
use crate::grammar::{parse_bytes, parse_cpus, parse_devices, parse_ranks, parse_span};
use crate::{JobId, JobSpec};
use machine::DeviceId;
use serde::{Deserialize, Serialize};

/// A change to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supposition {
    /// A job, or all tasks of an array, runs and waits no more.
    Ended(JobId),
    /// A device that is not usable is well.
    Healthy(DeviceId),
    /// A queue has no limits of its own.
    Unlimited(String),
}

const FORMS: &str = "write ended=JOB, healthy=DEVICE, unlimited=QUEUE, or a field of the job: queue, priority, ranks, cpus, memory, devices, expect, limit (devices=none for none)";

/// Reads `ended=7` as a change to the cluster; carries `devices=2` out on the job and gives `None`.
pub fn suppose(text: &str, job: &mut JobSpec) -> Result<Option<Supposition>, FieldError> {
    let (name, value) = text.split_once('=').ok_or_else(|| FieldError::new(format!("{} supposes nothing", Quoted(text))).hint(FORMS))?;
    let (name, value) = (name.trim(), value.trim());
    if value.is_empty() {
        return Err(FieldError::new(format!("{} is given no value", Quoted(name))).hint(FORMS));
    }
    match name {
        "ended" => {
            let id =
                value.parse().map_err(|_| FieldError::new(format!("{} is no job", Quoted(value))).hint("write ended=7, or ended=7.3"))?;
            return Ok(Some(Supposition::Ended(id)));
        }
        "healthy" => return Ok(Some(Supposition::Healthy(DeviceId(value.into())))),
        "unlimited" => return Ok(Some(Supposition::Unlimited(value.into()))),
        "queue" => job.queue = Some(value.into()),
        "priority" => {
            let number = value.parse().map_err(|_| FieldError::new(format!("{} is no whole number", Quoted(value))))?;
            job.priority = number;
        }
        "ranks" => parse_ranks(value)?.apply(job),
        "cpus" => job.cpus = parse_cpus(value)?,
        "memory" => job.memory = Some(parse_bytes(value)?),
        "devices" => job.devices = if value == "none" { None } else { Some(parse_devices(value)?) },
        "expect" => job.expect = Some(parse_span(value)?),
        "limit" => job.limit = Some(parse_span(value)?),
        _ => return Err(FieldError::new(format!("nothing can be supposed about {}", Quoted(name))).hint(FORMS)),
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;

    fn job() -> JobSpec {
        JobSpec::command_job("x", vec!["true".into()], "/")
    }

    #[test]
    fn changes_to_the_cluster_are_told_apart() {
        let mut spec = job();
        let rows = [
            ("ended=7", Supposition::Ended(JobId::new(7))),
            (" ended = 7.3 ", Supposition::Ended(JobId { number: 7, task: Some(3) })),
            ("healthy=nvidia-0", Supposition::Healthy(DeviceId("nvidia-0".into()))),
            ("unlimited=vision", Supposition::Unlimited("vision".into())),
        ];
        for (text, expected) in rows {
            assert_eq!(suppose(text, &mut spec), Ok(Some(expected)), "{text}");
        }
        assert_eq!(spec, job());
    }

    #[test]
    fn changes_to_the_job_are_carried_out() {
        let mut spec = job();
        for text in ["queue=vision", "priority=-3", "ranks=2..4", "cpus=2", "memory=8GiB", "devices=A100:2", "expect=10m", "limit=1h"] {
            assert_eq!(suppose(text, &mut spec), Ok(None), "{text}");
        }
        assert_eq!((spec.queue.as_deref(), spec.priority, spec.ranks, spec.cpus.0), (Some("vision"), -3, 4, 2000));
        assert_eq!((spec.memory, spec.expect, spec.limit), (Some(crate::Bytes::gib(8)), Some(Span::minutes(10)), Some(Span::hours(1))));
        assert_eq!(spec.devices.as_ref().map(|devices| devices.count), Some(2));
        assert_eq!(suppose("devices=none", &mut spec), Ok(None));
        assert!(spec.devices.is_none());
    }

    #[test]
    fn what_is_not_understood_has_a_fix() {
        for text in
            ["", "ended", "ended=", "ended=x", "=7", "colour=red", "priority=high", "ranks=0", "memory=8", "devices=gpu:0", "limit=soon"]
        {
            let mut spec = job();
            let error = suppose(text, &mut spec).unwrap_err();
            assert!(!error.to_string().is_empty(), "{text}");
            assert_eq!(spec, job(), "{text}");
        }
        assert!(suppose("colour=red", &mut job()).unwrap_err().hint.unwrap().contains("ended=JOB"));
    }
}
