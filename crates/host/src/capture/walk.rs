//! Finds everything that a capture holds: each link on the way to a file, each folder, each file.

use super::plan::{self, Depth};
use crate::Root;
use crate::root::Reads;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// As the kernel's own limit.
const MOST_LINKS: usize = 40;
/// More entries than any machine's kernel has worth taking.
const MOST_ENTRIES: usize = 200_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Folder,
    Link(String),
    File,
}

pub struct Walk<'r> {
    root: &'r Root,
    pub found: BTreeMap<String, Entry>,
    /// Parts of paths that are known to be no links.
    plain: BTreeSet<String>,
}

impl Walk<'_> {
    pub fn new(root: &Root) -> Walk<'_> {
        Walk { root, found: BTreeMap::new(), plain: BTreeSet::new() }
    }

    pub fn is_full(&self) -> bool {
        self.found.len() >= MOST_ENTRIES
    }

    /// What readers looked at; the files of folders that they listed as well.
    pub fn take_reads(&mut self, reads: &Reads) {
        for path in reads.paths() {
            self.take(&path);
        }
        for path in reads.listed() {
            // Of all processes none is taken.
            if path != "proc" && !path.starts_with("dev") {
                self.folder(&path, 0, true);
            }
        }
    }

    /// The fixed list.
    pub fn take_plan(&mut self) {
        for (pattern, depth) in plan::TAKEN {
            for path in expand(self.root, pattern) {
                match depth {
                    Depth::File => self.take(&path),
                    Depth::Flat => self.folder(&path, 0, false),
                    Depth::Tree(levels) => self.folder(&path, levels, false),
                }
            }
        }
    }

    /// One file, link or folder, with the links on the way to it. What is not there is no entry.
    pub fn take(&mut self, path: &str) {
        if self.is_full() || path.starts_with("dev/") || plan::is_denied(path) {
            return;
        }
        let Some(at) = self.settle(path) else { return };
        if at.is_empty() || self.found.contains_key(&at) || plan::is_denied(&at) {
            return;
        }
        if self.root.folder(&at).is_some() {
            self.found.insert(at, Entry::Folder);
        } else if self.root.exists(&at) {
            self.found.insert(at, Entry::File);
        }
    }

    /// Files and links of a folder, and folders in it down to `levels`; with `shape`, folders in it as names.
    fn folder(&mut self, path: &str, levels: u8, shape: bool) {
        let Some(at) = self.settle(path) else { return };
        let Some(folder) = self.root.folder(&at) else { return };
        self.found.entry(at.clone()).or_insert(Entry::Folder);
        for name in folder.names() {
            let inside = format!("{at}/{name}");
            if self.is_full() || plan::is_denied(&inside) {
                continue;
            }
            if let Some(target) = self.link_of(&inside) {
                self.found.insert(inside, Entry::Link(target));
            } else if self.root.folder(&inside).is_some() {
                if levels > 0 && !plan::is_closed(&name) {
                    self.folder(&inside, levels - 1, shape);
                } else if shape {
                    self.found.entry(inside).or_insert(Entry::Folder);
                }
            } else {
                self.found.insert(inside, Entry::File);
            }
        }
    }

    fn link_of(&mut self, path: &str) -> Option<String> {
        if self.plain.contains(path) {
            return None;
        }
        if let Some(Entry::Link(target)) = self.found.get(path) {
            return Some(target.clone());
        }
        // The running process has another number in every look: its folder is kept under the name it is asked by.
        let target = if path == "proc/self" { None } else { self.root.link(path) };
        if target.is_none() {
            self.plain.insert(path.to_owned());
        }
        target
    }

    /// Where a path leads, without links in it; the links on the way become entries. `None` when it leads in a circle.
    fn settle(&mut self, path: &str) -> Option<String> {
        let mut done: Vec<String> = Vec::new();
        let mut todo: VecDeque<String> = path.split('/').map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => {}
            }
            done.push(part);
            let here = done.join("/");
            let Some(target) = self.link_of(&here) else { continue };
            links += 1;
            if links > MOST_LINKS {
                return None;
            }
            self.found.insert(here, Entry::Link(target.clone()));
            done.pop();
            if target.starts_with('/') {
                done.clear();
            }
            for part in target.split('/').rev() {
                todo.push_front(part.to_owned());
            }
        }
        Some(done.join("/"))
    }
}

/// Paths that match a pattern with `*` in its parts.
fn expand(root: &Root, pattern: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    for part in pattern.split('/') {
        let join = |at: &str, name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        paths = match part.split_once('*') {
            None => paths.iter().map(|path| join(path, part)).collect(),
            Some((before, after)) => paths
                .iter()
                .flat_map(|path| {
                    let fits =
                        |name: &String| name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after);
                    root.names(path).into_iter().filter(fits).map(|name| join(path, &name)).collect::<Vec<_>>()
                })
                .collect(),
        };
    }
    paths
}
