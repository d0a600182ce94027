//! Files of packages that were brought along, for a machine without a network.

use super::{Facts, IndexSettings};

/// Name and version of each package of a lock, in its order.
pub fn locked_packages(lock: &str) -> Vec<(String, String)> {
    let lines = lock.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()));
    let ends = |c: char| c.is_whitespace() || matches!(c, '\\' | ';');
    let read = |line: &str| {
        let (name, rest) = line.split_once("==")?;
        let name = name.split(['[', ' ']).next().unwrap_or(name);
        Some((name.to_string(), rest.trim_start().split(ends).next().unwrap_or("").to_string()))
    };
    lines.filter_map(read).collect()
}

/// Whether `files` have one for every package of the lock. What is named by an address is not looked for.
pub fn are_brought(lock: &str, files: &[String]) -> bool {
    let packages = locked_packages(lock);
    let lines = lock.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric())).count();
    !packages.is_empty()
        && packages.len() == lines
        && packages.iter().all(|(name, version)| files.iter().any(|file| is_of(file, name, version)))
}

/// `torch-2.5.1+cu121-cp311-….whl`, `some_name-1.0.tar.gz`: names are alike whatever stands between their words (PEP 503, PEP 427).
fn is_of(file: &str, name: &str, version: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '.', '+'], "_");
    let (file, start) = (plain(file), format!("{}_{}", plain(name), plain(version)));
    file.strip_prefix(&start).is_some_and(|rest| rest.starts_with('_'))
}

/// The same facts for a build that asks nobody: every file comes from `folder`.
pub fn without_network(facts: &Facts, folder: &str) -> Facts {
    let mut variables: Vec<(String, String)> =
        facts.index.variables.iter().filter(|(name, _)| !name.contains("INDEX") && name != "UV_FIND_LINKS").cloned().collect();
    variables.push(("UV_FIND_LINKS".into(), folder.into()));
    Facts { index: IndexSettings { variables, no_index: true }, offline: true, ..facts.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOCK: &str = "# by uv\n--extra-index-url https://x.example\nnumpy==2.1.0 \\\n    --hash=sha256:0\n    # via torch\nmarkupsafe==3.0.2 ; python_version > '3'\ntorch[opt]==2.5.1+cu121\n";

    #[test]
    fn the_packages_of_a_lock_are_its_lines() {
        let found = locked_packages(LOCK);
        let expected = [("numpy", "2.1.0"), ("markupsafe", "3.0.2"), ("torch", "2.5.1+cu121")];
        assert_eq!(found, expected.map(|(name, version)| (name.to_string(), version.to_string())));
        assert!(locked_packages("").is_empty());
    }

    #[test]
    fn all_or_none_is_brought() {
        let files = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let all = files(&["numpy-2.1.0-cp311-x.whl", "MarkupSafe-3.0.2-cp311-y.whl", "torch-2.5.1+cu121-cp311-z.whl"]);
        assert!(are_brought(LOCK, &all));
        assert!(!are_brought(LOCK, &all[..2]));
        assert!(!are_brought(LOCK, &files(&["numpy-2.1.01-cp311-x.whl"])));
        assert!(!are_brought("", &all), "nothing needs nothing brought");
        assert!(!are_brought("own @ https://x.example/own.whl\nnumpy==2.1.0\n", &all), "an address needs a network");
        assert!(are_brought("some.name==1.0\n", &files(&["some_name-1.0.tar.gz"])));
    }

    #[test]
    fn without_a_network_no_index_is_left() {
        let python = super::super::Interpreter { path: "/usr/bin/python3".into(), version: "3.11.2".into(), reachable: true };
        let variables = vec![("UV_DEFAULT_INDEX".to_string(), "https://x.example".to_string()), ("UV_HTTP_TIMEOUT".into(), "9".into())];
        let facts = Facts {
            uv: "/usr/bin/uv".into(),
            python,
            platform: String::new(),
            index: IndexSettings { variables, no_index: false },
            cache: "/c".into(),
            home: "/h".into(),
            system_certificates: false,
            offline: false,
        };
        let step = super::super::sync_step(&without_network(&facts, "/w"), "/e", "/l");
        assert!(step.argv.contains(&"--no-index".to_string()) && !step.network);
        assert!(step.env.contains(&("UV_FIND_LINKS".into(), "/w".into())) && step.env.contains(&("UV_OFFLINE".into(), "1".into())));
        assert!(!step.env.iter().any(|(name, _)| name == "UV_DEFAULT_INDEX"));
    }

    proptest! {
        #[test]
        fn no_lock_breaks_the_reading(lock in "[a-z=\\[\\]\\\\; \n0-9.#-]{0,120}") {
            for (name, version) in locked_packages(&lock) {
                prop_assert!(lock.contains(&name) && lock.contains(&version));
            }
            are_brought(&lock, &[]);
        }
    }
}
