//! From a pattern to the files that are there.

use crate::Root;
use machine::fits;

/// Paths that fit a pattern. A path without a star is given as it is, whether it is there or not: reading it tells.
pub fn expand(root: &Root, pattern: &str) -> Vec<String> {
    let parts: Vec<&str> = pattern.split('/').collect();
    let mut paths = vec![String::new()];
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        let join = |path: &str, name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        paths = match part.contains('*') {
            false => paths.iter().map(|path| join(path, part)).collect(),
            true => {
                let names = |path: &String| root.names(path).into_iter().filter(|name| fits(part, name)).collect::<Vec<_>>();
                paths.iter().flat_map(|path| names(path).into_iter().map(|name| join(path, &name)).collect::<Vec<_>>()).collect()
            }
        };
        if paths.is_empty() && !last {
            break;
        }
    }
    paths
}
