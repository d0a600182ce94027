//! Which files were looked at: what a capture has to hold for the same look to be taken again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// A list that a [`super::Root`] and its clones write into while readers work.
#[derive(Clone, Debug, Default)]
pub struct Reads(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    paths: BTreeSet<String>,
    listed: BTreeSet<String>,
    nodes: BTreeMap<String, (u32, u32)>,
}

impl Reads {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look(&self, path: &str) {
        let path = path.trim_matches('/');
        let mut seen = self.seen();
        if !seen.paths.contains(path) {
            seen.paths.insert(path.to_owned());
        }
    }

    pub(super) fn list(&self, path: &str) {
        self.seen().listed.insert(path.trim_matches('/').to_owned());
    }

    pub(super) fn node(&self, path: &str, numbers: (u32, u32)) {
        self.seen().nodes.insert(path.trim_matches('/').to_owned(), numbers);
    }

    /// Files, links and folders that were asked for, whether they were there or not, without a leading `/`.
    pub fn paths(&self) -> Vec<String> {
        self.seen().paths.iter().cloned().collect()
    }

    /// Folders whose entries were asked for.
    pub fn listed(&self) -> Vec<String> {
        self.seen().listed.iter().cloned().collect()
    }

    /// Character device nodes that were found, with their numbers.
    pub fn nodes(&self) -> BTreeMap<String, (u32, u32)> {
        self.seen().nodes.clone()
    }
}
