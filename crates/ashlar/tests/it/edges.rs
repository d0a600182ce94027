//! The structure of the workspace, as the design states it: which crate may use which, and what is absent where.

use super::tidy::{rust_files, workspace};
use std::collections::{BTreeMap, BTreeSet};

/// Crate, and the crates of ours it may use.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("machine", &[]),
    ("spec", &["machine"]),
    ("placement", &["machine", "spec"]),
    ("frameworks", &["machine", "spec"]),
    ("diagnosis", &["machine"]),
    ("cluster", &["machine", "spec", "placement", "diagnosis"]),
    ("host", &["machine"]),
    // A stand-in for a vendor library: for tests, so nobody may use it.
    ("fake-nvml", &[]),
    ("sandbox", &["machine", "spec"]),
    ("api", &["machine", "spec", "diagnosis"]),
    ("node", &["machine", "spec", "frameworks", "diagnosis", "host", "sandbox", "api"]),
    ("control", &["machine", "spec", "placement", "diagnosis", "cluster", "api"]),
    ("ashlar", &["machine", "spec", "placement", "frameworks", "diagnosis", "cluster", "host", "sandbox", "api", "node", "control"]),
];

const PURE: [&str; 6] = ["machine", "spec", "placement", "frameworks", "diagnosis", "cluster"];

/// Direct dependencies that are not for tests, by crate.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(workspace().join("crates")).unwrap() {
        let dir = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(dir.join("Cargo.toml")) else { continue };
        let manifest: toml::Table = text.parse().unwrap();
        let names =
            |key: &str| manifest.get(key).and_then(|t| t.as_table()).into_iter().flat_map(|t| t.keys().cloned()).collect::<Vec<_>>();
        let name = dir.file_name().unwrap().to_str().unwrap().to_string();
        all.insert(name, names("dependencies").into_iter().chain(names("build-dependencies")).collect());
    }
    all
}

#[test]
fn crates_use_only_what_the_design_allows() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(found, ours, "a new crate needs a row in ALLOWED, in the design's map and in ARCHITECTURE.md");
    for (name, allowed) in ALLOWED {
        let used: Vec<&String> = dependencies[name].iter().filter(|d| ours.contains(d.as_str())).collect();
        for other in used {
            assert!(allowed.contains(&other.as_str()), "crate {name} must not use crate {other}");
        }
    }
}

#[test]
fn the_longest_chain_of_our_crates_is_six() {
    fn depth(name: &str) -> usize {
        let (_, uses) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name).unwrap();
        1 + uses.iter().map(|other| depth(other)).max().unwrap_or(0)
    }
    assert!(depth("ashlar") <= 6);
}

#[test]
fn deciding_crates_touch_nothing_outside() {
    let banned = [
        ("std::fs", "reading files is for host, node and the binary"),
        ("std::env", "the environment is read in the binary"),
        ("std::net", "talking is for api, control and node"),
        ("std::process", "starting processes is for node and sandbox"),
        ("std::thread", "a decision is a plain function"),
        ("SystemTime", "time is an argument"),
        ("Instant::now", "time is an argument"),
        ("tokio", "async lives in the talk crates"),
        ("rand::", "seeds are arguments"),
        ("async fn", "async lives in the talk crates"),
    ];
    let mut broken = vec![];
    for name in PURE {
        let libraries = &dependencies()[name];
        for outside in ["tokio", "rand", "rustix", "nix", "libc", "reqwest", "hyper"] {
            assert!(!libraries.contains(outside), "crate {name} must not depend on {outside}");
        }
        for file in rust_files(&format!("crates/{name}/src")) {
            for (number, line) in file.code_lines() {
                for (word, why) in banned {
                    if line.contains(word) {
                        broken.push(format!("{}:{number}: {word}: {why}", file.name));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_the_sandbox_is_unsafe() {
    for file in rust_files("crates") {
        // A binding of a vendor library may be unsafe behind a safe face.
        if ["crates/sandbox/", "crates/host/src/accelerators/", "crates/fake-nvml/"].iter().any(|part| file.name.starts_with(part))
            || file.is_test()
        {
            continue;
        }
        for (number, line) in file.code_lines() {
            assert!(!line.contains("allow(unsafe_code)"), "{}:{number}: unsafe code belongs to the crate sandbox", file.name);
        }
    }
}

#[test]
fn only_host_and_sandbox_name_kernel_files() {
    let mut broken = vec![];
    for file in rust_files("crates") {
        let may = ["crates/host/", "crates/sandbox/"].iter().any(|part| file.name.starts_with(part));
        if may || file.is_test() {
            continue;
        }
        for (number, line) in file.code_lines() {
            if line.contains("\"/sys/") || line.contains("\"/proc/") {
                broken.push(format!("{}:{number}: {}", file.name, line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "kernel files are read by host (and control groups by sandbox):\n{}", broken.join("\n"));
}

#[test]
fn anyhow_stays_in_the_binary() {
    for (name, libraries) in dependencies() {
        assert!(name == "ashlar" || !libraries.contains("anyhow"), "crate {name}: libraries have error enums");
    }
}
