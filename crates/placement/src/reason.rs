//! Reasons in plain words.

use crate::explain::plural;
use crate::{Blocker, Gate, Reason};
use machine::{Bytes, CpuShare};
use spec::{DependencyCondition, Time};

impl Blocker {
    /// The name in views and JSON: `cpus`, `memory`, `devices`, `enforcement`, `sharing`, `ports`, `queue-limit`, `reservation`, `behind`,
    /// `after`, `array-limit`, `backoff`, `evicting` or `no-machine`.
    pub fn kind(&self) -> &'static str {
        match self {
            Blocker::Cpus { .. } => "cpus",
            Blocker::Memory { .. } => "memory",
            Blocker::Devices { .. } => "devices",
            Blocker::Enforcement { .. } => "enforcement",
            Blocker::Sharing { .. } => "sharing",
            Blocker::Ports => "ports",
            Blocker::Isolation { .. } => "isolation",
            Blocker::QueueLimit { .. } => "queue-limit",
            Blocker::Reservation { .. } => "reservation",
            Blocker::Behind { .. } => "behind",
            Blocker::Gate(Gate::After { .. }) => "after",
            Blocker::Gate(Gate::ArrayLimit { .. }) => "array-limit",
            Blocker::Gate(Gate::Backoff { .. }) => "backoff",
            Blocker::Evicting { .. } => "evicting",
            Blocker::NoMachine => "no-machine",
        }
    }
}

impl Reason {
    /// One clause without a full stop, such as "needs 4 CPUs, 1 of 2 is free". Holders, change and time are not in it:
    /// they are fields, and who may see the holders is for the caller to say.
    pub fn sentence(&self, now: Time) -> String {
        match &self.blocker {
            Blocker::Cpus { wanted, total, .. } if self.never => {
                format!("never fits: asks for {}, the machine has {total}", cpus(*wanted))
            }
            Blocker::Cpus { wanted, free, total } => format!("needs {}, {free} of {total} {} free", cpus(*wanted), is(free.0 == 1000)),
            Blocker::Memory { wanted, total, .. } if self.never => {
                format!("never fits: asks for {wanted} of memory, the machine can grant {total}")
            }
            Blocker::Memory { wanted, free, total } => {
                let (wanted, free) = apart(*wanted, *free);
                format!("needs {wanted} of memory, {free} of {total} is free")
            }
            Blocker::Devices { request, wanted, total, .. } if self.never => match total {
                0 => format!("never fits: asks for {wanted} × {request}, the machine has none"),
                total => format!("never fits: asks for {wanted} × {request}, the machine has {total} of one kind"),
            },
            Blocker::Devices { request, wanted, free: 0, total, part: true, .. } => {
                format!("needs {wanted} × {request}, none of {total} has room")
            }
            Blocker::Devices { request, wanted, free, total, part: true, .. } => {
                format!("needs {wanted} × {request}, {free} of {total} {} room", if *free == 1 { "has" } else { "have" })
            }
            Blocker::Sharing { request, count: None } => format!("never fits: {request}: such devices are held whole only"),
            Blocker::Sharing { request, count: Some(count) } => {
                format!("never fits: {request}: of such devices a rank shares one only, and {count} are asked for")
            }
            Blocker::Enforcement { request, wanted, offered } => {
                let wanted = wanted.map(|level| level.name()).unwrap_or_default();
                format!("never fits: {request}: demands a part kept '{wanted}', here parts are kept '{offered}' at most")
            }
            Blocker::Devices { request, wanted, free: 0, total, .. } => format!("needs {wanted} × {request}, none of {total} is free"),
            Blocker::Devices { request, wanted, free, total, .. } => {
                format!("needs {wanted} × {request}, {free} of {total} {} free", is(*free == 1))
            }
            Blocker::Ports if self.never => "never fits: needs ports for its ranks to meet, and none may be leased".into(),
            Blocker::Ports => "needs ports for its ranks to meet, all that may be leased are taken".into(),
            Blocker::Isolation { wanted, offered, missing } => {
                let never = if self.never { "never fits: " } else { "" };
                let why = if missing.is_empty() { String::new() } else { format!(" ({})", missing.join("; ")) };
                format!("{never}demands isolation '{}', the machine offers '{}'{why}", wanted.name(), offered.name())
            }
            Blocker::QueueLimit { queue, what, limit, .. } if self.never => {
                format!("never fits: asks for more than the {} that queue '{queue}' may hold", counted(what, *limit))
            }
            Blocker::QueueLimit { queue, what, limit, held, .. } => {
                let held = match what.as_str() {
                    "cpus" => thousandths(*held).to_string(),
                    "memory" => Bytes(*held).to_string(),
                    "devices" => devices(*held),
                    _ => held.to_string(),
                };
                format!("queue '{queue}' holds {held} of the {} it may hold", counted(what, *limit))
            }
            Blocker::Reservation { job, at } => {
                format!("starting now would delay job {job}, which is planned to start in {}", *at - now)
            }
            Blocker::Behind { jobs: 0 } => "waits for its turn".into(),
            Blocker::Behind { jobs } => format!("waits behind {jobs} other {}", if *jobs == 1 { "job" } else { "jobs" }),
            Blocker::Gate(gate) => gate_sentence(gate, now),
            Blocker::Evicting { runs: 0 } => "its place is free and its machine accepts nothing at the moment".into(),
            Blocker::Evicting { runs: 1 } => "1 run is saving its work and ends to make room for it".into(),
            Blocker::Evicting { runs } => format!("{runs} runs are saving their work and end to make room for it"),
            Blocker::NoMachine => "no machine accepts work at the moment".into(),
        }
    }
}

fn gate_sentence(gate: &Gate, now: Time) -> String {
    match gate {
        Gate::After { job, condition } => {
            let what = match condition {
                DependencyCondition::Ok => "succeed",
                DependencyCondition::NotOk => "end without success",
                DependencyCondition::Any => "end",
            };
            format!("waits for job {job} to {what}")
        }
        Gate::ArrayLimit { at_once } => format!("{at_once} {} of its array run already, as many as it allows", plural(*at_once, "task")),
        Gate::Backoff { until } if *until <= now => "tries again at once".into(),
        Gate::Backoff { until } => format!("tries again in {}", *until - now),
    }
}

fn is(one: bool) -> &'static str {
    if one { "is" } else { "are" }
}

fn cpus(share: CpuShare) -> String {
    format!("{share} {}", if share.0 <= 1000 { "CPU" } else { "CPUs" })
}

fn thousandths(milli: u64) -> CpuShare {
    CpuShare(u32::try_from(milli).unwrap_or(u32::MAX))
}

fn counted(what: &str, limit: u64) -> String {
    match what {
        "cpus" => cpus(thousandths(limit)),
        "memory" => format!("{} of memory", Bytes(limit)),
        "devices" if limit == 1000 => "1 device".into(),
        "devices" => format!("{} devices", devices(limit)),
        _ if limit == 1 => format!("1 {}", what.trim_end_matches('s')),
        _ => format!("{limit} {what}"),
    }
}

/// Thousandths of a device: "2", "1.5".
fn devices(milli: u64) -> String {
    let rest = format!("{:03}", milli % 1000);
    let rest = rest.trim_end_matches('0');
    if rest.is_empty() { (milli / 1000).to_string() } else { format!("{}.{rest}", milli / 1000) }
}

/// Amounts that differ shall not read alike because of rounding.
fn apart(wanted: Bytes, free: Bytes) -> (String, String) {
    let (one, other) = (wanted.to_string(), free.to_string());
    if one == other && wanted != free { (format!("{} bytes", wanted.0), format!("{} bytes", free.0)) } else { (one, other) }
}
