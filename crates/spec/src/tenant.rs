//! Who pays, and where their jobs wait.

use machine::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A queue: one tenant's place to wait, with its share of the machine. Queues form trees: a queue with others below it
/// holds no jobs itself, it bounds and feeds theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    pub name: String,
    /// Who pays; several queues may name one tenant.
    pub tenant: String,
    /// The queue above; `None` at the top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Share relative to the queues beside it, those of the same parent, when all have work waiting; at least 1.
    pub weight: u32,
    /// The most that runs of this queue, and of all below it, hold together.
    pub limits: Limits,
    /// What the queue, or those below it, gets back from others when it wants it: its jobs may have runs evicted that
    /// queues hold beyond their own guarantees. `runs` has no meaning here. What is not set is what the queues below are
    /// guaranteed together ([`QueueTree::guarantee`]); nothing at all: nobody is ever evicted for it.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub guarantee: Limits,
    /// Whether a job of this queue, or below it, may have runs of lower priority in it evicted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub evict_by_priority: bool,
    /// Who may submit, by login name; empty lists let everybody whom the queue above lets in.
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

    /// The first part of `self`, named as in the file, that is more than the same part of `most`.
    pub fn beyond(&self, most: &Limits) -> Option<&'static str> {
        let above = |one: Option<u64>, other: Option<u64>| one.zip(other).is_some_and(|(one, other)| one > other);
        [
            ("cpus", above(self.cpus.map(u64::from), most.cpus.map(u64::from))),
            ("memory", above(self.memory.map(|bytes| bytes.0), most.memory.map(|bytes| bytes.0))),
            ("devices", above(self.devices.map(u64::from), most.devices.map(u64::from))),
            ("runs", above(self.runs.map(u64::from), most.runs.map(u64::from))),
        ]
        .into_iter()
        .find_map(|(what, above)| above.then_some(what))
    }

    /// Both together; a part that neither sets stays unset.
    fn plus(self, other: Limits) -> Limits {
        let sum = |one: Option<u32>, other: Option<u32>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        let memory = match (self.memory, other.memory) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or_default() + other.unwrap_or_default()),
        };
        Limits { cpus: sum(self.cpus, other.cpus), memory, devices: sum(self.devices, other.devices), runs: sum(self.runs, other.runs) }
    }

    /// Parts that `self` does not set, from `other`.
    fn or(self, other: Limits) -> Limits {
        Limits {
            cpus: self.cpus.or(other.cpus),
            memory: self.memory.or(other.memory),
            devices: self.devices.or(other.devices),
            runs: self.runs.or(other.runs),
        }
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            name: "default".into(),
            tenant: "default".into(),
            parent: None,
            weight: 1,
            limits: Limits::default(),
            guarantee: Limits::default(),
            evict_by_priority: false,
            users: vec![],
            groups: vec![],
        }
    }
}

/// How queues hang together, by their places in a list. Total: a parent that is not in the list, or that would close a
/// circle, counts as none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueTree {
    parents: Vec<Option<usize>>,
    guarantees: Vec<Limits>,
    below: Vec<Limits>,
}

impl QueueTree {
    pub fn new(queues: &[Queue]) -> QueueTree {
        let places: BTreeMap<&str, usize> = queues.iter().enumerate().map(|(place, queue)| (queue.name.as_str(), place)).collect();
        let named: Vec<Option<usize>> =
            queues.iter().map(|queue| queue.parent.as_ref().and_then(|parent| places.get(parent.as_str()).copied())).collect();
        let mut tree = QueueTree { parents: vec![None; queues.len()], ..QueueTree::default() };
        for (place, parent) in named.iter().enumerate() {
            // Only edges that close no circle are taken over, in the order of the list.
            tree.parents[place] = parent.filter(|parent| tree.path(*parent).all(|above| above != place));
        }
        let mut order: Vec<usize> = (0..queues.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(tree.path(*place).count()));
        let mut below = vec![Limits::default(); queues.len()];
        let mut guarantees = below.clone();
        for place in order {
            guarantees[place] = Limits { runs: None, ..queues[place].guarantee.or(below[place]) };
            if let Some(parent) = tree.parents[place] {
                below[parent] = below[parent].plus(guarantees[place]);
            }
        }
        QueueTree { guarantees, below, ..tree }
    }

    pub fn parent(&self, place: usize) -> Option<usize> {
        self.parents[place]
    }

    /// The queue itself, then what is above it, the nearest first.
    pub fn path(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(place), |place| self.parents.get(*place).copied().flatten())
    }

    /// What the queue is guaranteed: its own word, and where it says nothing, what those below are guaranteed together.
    pub fn guarantee(&self, place: usize) -> Limits {
        self.guarantees[place]
    }

    /// What the queues directly below are guaranteed together.
    pub fn guaranteed_below(&self, place: usize) -> Limits {
        self.below[place]
    }

    /// Whether other queues are below this one.
    pub fn has_children(&self, place: usize) -> bool {
        self.parents.contains(&Some(place))
    }

    /// Every queue with its depth, parents before their children, otherwise in the order of the list.
    pub fn in_order(&self) -> Vec<(usize, usize)> {
        let mut ordered = Vec::with_capacity(self.parents.len());
        let children = |parent: Option<usize>| (0..self.parents.len()).rev().filter(move |place| self.parents[*place] == parent);
        let mut open: Vec<(usize, usize)> = children(None).map(|place| (place, 0)).collect();
        while let Some((place, depth)) = open.pop() {
            ordered.push((place, depth));
            open.extend(children(Some(place)).map(|child| (child, depth + 1)));
        }
        ordered
    }
}

/// The first thing wrong with how queues hang together: the place of the queue, the field that is wrong, and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("the queue '{queue}' is below '{parent}', which is not described")]
    UnknownParent { queue: String, parent: String },
    #[error("the queue '{queue}' is below itself: {circle}")]
    Circle { queue: String, circle: String },
    #[error("the queue '{queue}' has queues below it, and jobs that name no queue wait in it")]
    DefaultIsParent { queue: String },
    #[error("the queue '{queue}' is guaranteed fewer {what} than the queues below it together")]
    TooLittle { queue: String, what: &'static str },
    #[error("the queue '{queue}' is guaranteed more {what} than its limit")]
    BeyondOwnLimit { queue: String, what: &'static str },
    #[error("the queues below '{queue}' are guaranteed more {what} together than its limit")]
    BelowBeyondLimit { queue: String, what: &'static str },
}

impl TreeError {
    pub fn hint(&self) -> String {
        match self {
            TreeError::UnknownParent { parent, .. } => format!("describe '{parent}', or name another parent"),
            TreeError::Circle { .. } => "take `parent` from one of them: it is at the top then".into(),
            TreeError::DefaultIsParent { .. } => "give the queue above another name".into(),
            TreeError::TooLittle { what, .. } => format!("raise guarantee.{what}, or lower it below"),
            TreeError::BeyondOwnLimit { what, .. } => format!("lower guarantee.{what}, or raise limits.{what}"),
            TreeError::BelowBeyondLimit { what, .. } => format!("raise limits.{what}, or lower guarantee.{what} below"),
        }
    }
}

/// The first fault in how queues hang together, with the place of the queue that has it.
pub fn check_tree(queues: &[Queue]) -> Result<QueueTree, (usize, TreeError)> {
    let tree = QueueTree::new(queues);
    for (place, queue) in queues.iter().enumerate() {
        let name = queue.name.clone();
        if let Some(parent) = queue.parent.clone().filter(|_| tree.parent(place).is_none()) {
            let Some(above) = queues.iter().position(|other| other.name == parent) else {
                return Err((place, TreeError::UnknownParent { queue: name, parent }));
            };
            let mut circle: Vec<&str> = tree.path(above).map(|place| queues[place].name.as_str()).collect();
            circle.insert(0, &queue.name);
            return Err((place, TreeError::Circle { circle: circle.join(", then "), queue: name }));
        }
        if queue.name == "default" && tree.has_children(place) {
            return Err((place, TreeError::DefaultIsParent { queue: name }));
        }
        if let Some(what) = queue.guarantee.beyond(&queue.limits) {
            return Err((place, TreeError::BeyondOwnLimit { queue: name, what }));
        }
        if let Some(what) = tree.guaranteed_below(place).beyond(&tree.guarantee(place)) {
            return Err((place, TreeError::TooLittle { queue: name, what }));
        }
        if let Some(what) = tree.guaranteed_below(place).beyond(&queue.limits) {
            return Err((place, TreeError::BelowBeyondLimit { queue: name, what }));
        }
    }
    Ok(tree)
}
