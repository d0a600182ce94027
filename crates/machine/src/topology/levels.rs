//! Levels of the tree, and what is left out of it: objects that hold nothing, and levels that add no structure.

use super::object::{Kind, Object};
use crate::CpuSet;

/// What a reader of the tree wants to see of each kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Always.
    All,
    /// Only where it adds structure: not when each has just one child or is the only child.
    Structure,
    Nothing,
}

/// Objects of one kind, left to right, by their paths of child positions from the machine; the outermost level first.
#[derive(Clone, Debug, Default)]
pub struct Levels(pub Vec<Vec<Vec<usize>>>);

impl Levels {
    /// The levels of normal objects. Objects of one kind at different depths are one level, groups apart.
    pub fn of(machine: &Object) -> Levels {
        let mut levels = Vec::new();
        let mut front: Vec<Vec<usize>> = vec![Vec::new()];
        while !front.is_empty() {
            let top = topmost(machine, &front);
            let (mut level, mut next) = (Vec::new(), Vec::new());
            for path in front {
                let object = machine.at(&path);
                if object.kind.same_level(&top) {
                    let children = 0..object.children.len();
                    next.extend(children.map(|at| [&path[..], &[at]].concat()));
                    level.push(path);
                } else {
                    next.push(path);
                }
            }
            levels.push(level);
            front = next;
        }
        Levels(levels)
    }
}

/// The kind among these objects that none of the others has below it; logical CPUs last.
fn topmost(machine: &Object, front: &[Vec<usize>]) -> Kind {
    let objects: Vec<&Object> = front.iter().map(|path| machine.at(path)).collect();
    let mut top = objects.iter().find(|object| object.kind != Kind::Pu).unwrap_or(&objects[0]);
    for object in &objects {
        if !object.kind.same_level(&top.kind) && holds(object, &top.kind) {
            top = object;
        }
    }
    top.kind
}

fn holds(object: &Object, kind: &Kind) -> bool {
    object.children.iter().any(|child| child.kind.same_level(kind) || holds(child, kind))
}

impl Object {
    /// Fills in the memory nodes of every normal object: its own, those around it, those inside of it.
    pub fn spread_nodes(&mut self) {
        self.spread_nodes_from(&CpuSet::new(), &CpuSet::new());
    }

    fn spread_nodes_from(&mut self, around: &CpuSet, complete: &CpuSet) {
        let (mut nodes, mut all) = (around.clone(), complete.clone());
        for memory in &self.memory {
            nodes = nodes.union(&memory.nodes);
            all = all.union(&memory.complete_nodes);
        }
        for child in &mut self.children {
            child.spread_nodes_from(&nodes, &all);
        }
        for child in &self.children {
            nodes = nodes.union(&child.nodes);
            all = all.union(&child.complete_nodes);
        }
        (self.nodes, self.complete_nodes) = (nodes, all);
    }

    /// Takes CPUs and nodes that this process may not use out of every object; the complete sets keep them.
    pub fn restrict(&mut self, cpus: &CpuSet, nodes: &CpuSet) {
        self.cpus = self.cpus.intersection(cpus);
        self.nodes = self.nodes.intersection(nodes);
        let below = self.children.iter_mut().chain(&mut self.memory);
        below.for_each(|object| object.restrict(cpus, nodes));
    }

    /// Drops objects below that hold neither CPUs nor memory nor I/O, innermost first.
    pub fn drop_empty(&mut self) {
        self.children.iter_mut().for_each(Object::drop_empty);
        self.memory.iter_mut().for_each(Object::drop_empty);
        let bare = |object: &Object| object.children.is_empty() && object.memory.is_empty() && object.io.is_empty();
        self.children.retain(|object| !(bare(object) && object.cpus.is_empty()));
        self.memory.retain(|object| !(bare(object) && object.nodes.is_empty()));
    }

    /// Merges neighbouring levels of which one adds no structure to the other: as many objects, each the only child of
    /// its parent. `keep` says which kinds may be left out for that.
    pub fn merge_levels(&mut self, keep: impl Fn(&Kind) -> Keep) {
        let mut at = Levels::of(self).0.len().saturating_sub(1);
        while at > 0 {
            let levels = Levels::of(self).0;
            if at < levels.len() {
                self.merge_level(&levels[at - 1], &levels[at], &keep);
            }
            at -= 1;
        }
    }

    fn merge_level(&mut self, upper: &[Vec<usize>], lower: &[Vec<usize>], keep: &impl Fn(&Kind) -> Keep) {
        let (Some(parent), Some(child)) = (upper.first(), lower.first()) else { return };
        let (parent, child) = (self.at(parent).kind, self.at(child).kind);
        let mut drop_parent = keep(&parent) == Keep::Structure;
        let drop_child = keep(&child) == Keep::Structure;
        if drop_parent && drop_child {
            drop_parent = priority(&parent) < priority(&child);
        }
        if !(drop_parent || drop_child) || upper.len() != lower.len() {
            return;
        }
        let only_child = |(above, below): (&Vec<usize>, &Vec<usize>)| {
            let object = self.at(above);
            let beside = child == Kind::Pu && !object.memory.is_empty();
            below.split_last().is_some_and(|(_, path)| path == above) && object.children.len() == 1 && !beside
        };
        if !upper.iter().zip(lower).all(only_child) {
            return;
        }
        for path in upper {
            let object = self.at_mut(path);
            let Some(mut only) = object.children.pop() else { continue };
            if drop_parent {
                std::mem::swap(object, &mut only);
            }
            // `only` is now what goes; its parts stay, the outer one's first.
            let (outer, inner) = if drop_parent { (true, only) } else { (false, only) };
            join(&mut object.memory, inner.memory, outer);
            join(&mut object.io, inner.io, outer);
            join(&mut object.misc, inner.misc, outer);
            if !drop_parent {
                object.children = inner.children;
            }
        }
    }

    /// Leaves objects of some kinds out, their children going to their parents.
    pub fn leave_out(&mut self, keep: &impl Fn(&Kind) -> Keep) {
        let mut kept = Vec::with_capacity(self.children.len());
        for mut child in std::mem::take(&mut self.children) {
            child.leave_out(keep);
            if keep(&child.kind) == Keep::Nothing {
                kept.append(&mut child.children);
                self.memory.append(&mut child.memory);
                self.io.append(&mut child.io);
            } else {
                kept.push(child);
            }
        }
        self.children = kept;
    }
}

fn join(list: &mut Vec<Object>, mut other: Vec<Object>, first: bool) {
    if first {
        std::mem::swap(list, &mut other);
    }
    list.append(&mut other);
}

/// Which of two levels says more and so stays: that of hwloc's type priorities.
fn priority(kind: &Kind) -> u32 {
    match kind {
        Kind::Machine => 90,
        Kind::Pu | Kind::NumaNode(_) => 100,
        Kind::Core => 60,
        Kind::Package => 40,
        Kind::Die => 30,
        Kind::Cache(cache) if cache.level <= 3 && cache.holds != super::CacheKind::Instruction => 20,
        Kind::Cache(_) | Kind::MemoryCache(_) => 19,
        Kind::Group { .. } => 0,
        _ => 10,
    }
}
