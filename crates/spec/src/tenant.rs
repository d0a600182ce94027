//! Who pays, and where their jobs wait.

use machine::Bytes;
use serde::{Deserialize, Serialize};

/// A queue: one tenant's place to wait, with its share of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    pub name: String,
    /// Who pays; several queues may name one tenant.
    pub tenant: String,
    /// Share relative to the other queues when all have work waiting; at least 1.
    pub weight: u32,
    /// The most that runs of this queue hold together.
    pub limits: Limits,
    /// What the queue gets back from others when it wants it: its jobs may have runs evicted that queues hold beyond
    /// their own guarantees. `runs` has no meaning here. Nothing set: nobody is ever evicted for it.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub guarantee: Limits,
    /// Who may submit, by login name; empty lists let everybody.
    #[serde(default)]
    pub users: Vec<String>,
    #[serde(default)]
    pub groups: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub cpus: Option<u32>,
    pub memory: Option<Bytes>,
    pub devices: Option<u32>,
    /// Runs at a time.
    pub runs: Option<u32>,
}

impl Limits {
    /// Nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            name: "default".into(),
            tenant: "default".into(),
            weight: 1,
            limits: Limits::default(),
            guarantee: Limits::default(),
            users: vec![],
            groups: vec![],
        }
    }
}
