//! Putting objects into the tree by the CPUs they hold.

use super::object::{GroupKind, Kind, Object};
use crate::CpuSet;
use std::cmp::Ordering;

/// Where an object ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// As an object of its own.
    New,
    /// An object of the same CPUs was there already and stands for it.
    Merged,
    /// Its CPUs cut across those of another object: one of the two is wrong, and the first one stays.
    Conflict,
}

/// How the CPUs of two objects lie to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    Equal,
    Inside,
    Around,
    Across,
    Apart,
}

fn relation(a: &CpuSet, b: &CpuSet) -> Relation {
    if a.is_empty() || b.is_empty() || a.is_disjoint(b) {
        return Relation::Apart;
    }
    match (a.is_subset(b), b.is_subset(a)) {
        (true, true) => Relation::Equal,
        (true, false) => Relation::Inside,
        (false, true) => Relation::Around,
        (false, false) => Relation::Across,
    }
}

/// By first CPU; what has none comes last.
fn before(a: &CpuSet, b: &CpuSet) -> bool {
    match (a.first(), b.first()) {
        (Some(a), Some(b)) => a < b,
        (first, _) => first.is_some(),
    }
}

impl Object {
    /// Puts a normal object below this one. See [`Inserted`].
    pub fn insert(&mut self, mut object: Object) -> Inserted {
        let mut into = None;
        for (at, child) in self.children.iter_mut().enumerate() {
            let found = relation(&object.complete_cpus, &child.complete_cpus);
            let found = match found {
                Relation::Equal => {
                    if let Some(merged) = merge_group(child, &mut object) {
                        return merged;
                    }
                    match object.kind.order().cmp(&child.kind.order()) {
                        Ordering::Less => Relation::Around,
                        Ordering::Greater => Relation::Inside,
                        Ordering::Equal => {
                            absorb(child, object);
                            return Inserted::Merged;
                        }
                    }
                }
                other => other,
            };
            match found {
                Relation::Inside => {
                    into = Some(at);
                    break;
                }
                Relation::Across => return Inserted::Conflict,
                Relation::Equal | Relation::Around | Relation::Apart => {}
            }
        }
        match into {
            Some(at) => self.children[at].insert(object),
            None => {
                self.adopt(object);
                Inserted::New
            }
        }
    }

    /// Takes a child that conflicts with none of the others; those inside of it go below it.
    fn adopt(&mut self, mut object: Object) {
        let mut kept = Vec::with_capacity(self.children.len() + 1);
        let mut place = None;
        for mut child in self.children.drain(..) {
            match relation(&object.complete_cpus, &child.complete_cpus) {
                Relation::Apart => {
                    if place.is_none() && before(&object.complete_cpus, &child.complete_cpus) {
                        place = Some(kept.len());
                    }
                    kept.push(child);
                }
                same => {
                    // Memory belongs to the outermost of equal objects.
                    if same == Relation::Equal {
                        object.memory.append(&mut child.memory);
                    }
                    object.children.push(child);
                }
            }
        }
        kept.insert(place.unwrap_or(kept.len()), object);
        self.children = kept;
    }

    /// Puts a memory node or memory-side cache beside the CPUs it is near to, by a group of its own where no object has
    /// just these CPUs. Returns false when a node of that number is there already.
    pub fn insert_memory(&mut self, object: Object) -> bool {
        let path = if object.cpus.is_empty() { Vec::new() } else { self.memory_parent(&object.cpus) };
        let parent = self.at_mut(&path);
        let fits = !path.is_empty() && parent.complete_cpus == object.cpus;
        if fits {
            return attach_memory(&mut parent.memory, object);
        }
        let group = Object::of(Kind::Group { group: GroupKind::Memory }, None, object.cpus.clone());
        match parent.insert(group) {
            Inserted::Conflict => attach_memory(&mut parent.memory, object),
            _ => match parent.group_of(&object.cpus) {
                Some(group) => attach_memory(&mut group.memory, object),
                None => attach_memory(&mut parent.memory, object),
            },
        }
    }

    /// The group for memory of just these CPUs below this object; that of memory without CPUs is the last child.
    fn group_of(&mut self, cpus: &CpuSet) -> Option<&mut Object> {
        self.children.iter_mut().rev().find(|child| child.complete_cpus == *cpus && child.kind != Kind::Pu)
    }

    /// The outermost object of just these CPUs, else the innermost around them; never a logical CPU.
    fn memory_parent(&self, cpus: &CpuSet) -> Vec<usize> {
        let mut path = Vec::new();
        let mut here = self;
        while let Some((at, child)) = here.children.iter().enumerate().find(|(_, child)| cpus.is_subset(&child.complete_cpus)) {
            if child.kind == Kind::Pu {
                break;
            }
            path.push(at);
            here = child;
            if child.complete_cpus == *cpus {
                break;
            }
        }
        path
    }

    /// The normal object at a path of child positions; the nearest one there is when the path leads nowhere.
    pub(super) fn at_mut(&mut self, path: &[usize]) -> &mut Object {
        match path.split_first() {
            Some((first, rest)) if *first < self.children.len() => self.children[*first].at_mut(rest),
            _ => self,
        }
    }

    pub(super) fn at(&self, path: &[usize]) -> &Object {
        match path.split_first() {
            Some((first, rest)) if *first < self.children.len() => self.children[*first].at(rest),
            _ => self,
        }
    }

    /// Attaches memory to the outermost object of just these CPUs, for firmware whose clusters are known by other means.
    pub fn attach_memory_to(&mut self, cpus: &CpuSet, object: Object) -> bool {
        let path = self.memory_parent(cpus);
        attach_memory(&mut self.at_mut(&path).memory, object)
    }
}

/// Sorted by number; a memory-side cache goes around what it caches.
fn attach_memory(list: &mut Vec<Object>, mut object: Object) -> bool {
    let first = object.nodes.first();
    for at in 0..list.len() {
        let current = list[at].nodes.first();
        if first < current {
            list.insert(at, object);
            return true;
        }
        if first == current {
            return match (&object.kind, &list[at].kind) {
                (Kind::NumaNode(_), Kind::NumaNode(_)) => false,
                (Kind::NumaNode(_), _) => attach_memory(&mut list[at].memory, object),
                (Kind::MemoryCache(new), Kind::MemoryCache(old)) if old.level == new.level => false,
                (Kind::MemoryCache(new), Kind::MemoryCache(old)) if old.level > new.level => attach_memory(&mut list[at].memory, object),
                _ => {
                    std::mem::swap(&mut object, &mut list[at]);
                    list[at].memory.push(object);
                    true
                }
            };
        }
    }
    list.push(object);
    true
}

/// Groups stand for nothing by themselves: another object of the same CPUs takes their place.
fn merge_group(old: &mut Object, new: &mut Object) -> Option<Inserted> {
    match (old.kind, new.kind) {
        (Kind::Group { group: a }, Kind::Group { group: b }) => {
            if b < a {
                take_place(old, new);
            }
            Some(Inserted::Merged)
        }
        // Memory never hangs below a logical CPU.
        (Kind::Pu, Kind::Group { group: GroupKind::Memory }) | (Kind::Group { group: GroupKind::Memory }, Kind::Pu) => None,
        (_, Kind::Group { .. }) => Some(Inserted::Merged),
        (Kind::Group { .. }, _) => {
            take_place(old, new);
            Some(Inserted::New)
        }
        _ => None,
    }
}

fn take_place(old: &mut Object, new: &mut Object) {
    std::mem::swap(old, new);
    old.memory.append(&mut new.memory);
    old.children.append(&mut new.children);
    old.io.append(&mut new.io);
    old.misc.append(&mut new.misc);
}

/// What a second description of the same object adds to the first.
fn absorb(old: &mut Object, new: Object) {
    old.os_index = old.os_index.or(new.os_index);
    old.subtype = old.subtype.take().or(new.subtype);
    for (name, value) in new.infos {
        if !old.infos.iter().any(|(known, _)| *known == name) {
            old.infos.push((name, value));
        }
    }
}
