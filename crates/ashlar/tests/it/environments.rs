//! Environments with a name, built for real from the configured package index.

use crate::bench_node::{TestNode, ashlar, stderr, stdout};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A package of one small file, so that only the road is long.
const PACKAGE: &str = "six==1.17.0";

/// None where no package index can be reached; the test says so then.
fn node_with_environment() -> Option<TestNode> {
    let node = TestNode::start();
    let made = node.ashlar(&["env", "create", "small", PACKAGE]);
    let why = stderr(&made);
    if ["cannot be reached", "no package index", "names no index"].iter().any(|sign| why.contains(sign)) {
        eprintln!("skipped: no package index can be reached ({})", why.lines().last().unwrap_or_default());
        return None;
    }
    assert!(made.status.success(), "{why}");
    Some(node)
}

#[test]
fn an_environment_is_made_used_bundled_and_cleared_away() {
    let Some(node) = node_with_environment() else { return };

    let listed: Value = serde_json::from_str(&node.ok(&["env", "list", "--json"])).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["packages"][0]), (&"small".into(), &serde_json::json!(["six", "1.17.0"])));
    assert!(listed[0]["bytes"].as_u64().unwrap() > 10_000, "{listed}");
    let table = node.ok(&["env", "list"]);
    assert!(table.contains("small") && table.contains("LAST USED"), "{table}");
    assert!(node.ok(&["env", "lock", "small"]).contains("--hash=sha256:"));
    assert_eq!(node.ok(&["env", "export", "small"]), "six==1.17.0");
    let page = node.ok(&["env", "show", "small"]);
    assert!(page.contains("six 1.17.0") && page.contains("lies in"), "{page}");

    // By its name in a job file, and on the command line.
    std::fs::write(
        node.home.path().join("job.yaml"),
        "command: [python, -c, 'import six; print(six.__version__)']\nenvironment: {name: small}\n",
    )
    .unwrap();
    let job = node.ok(&["submit", "job.yaml"]);
    assert_eq!(node.wait(&job), 0, "{}", node.ok(&["why", &job]));
    assert_eq!(node.ok(&["logs", &job]), "1.17.0");
    assert_eq!(node.ok(&["run", "--environment", "small", "--", "python", "-c", "import six; print(six.PY3)"]), "True");

    // Its modules are compiled after the run that built it, and nobody waited for that.
    let compiled = PathBuf::from(listed[0]["path"].as_str().unwrap()).join(".compiled");
    let end = Instant::now() + Duration::from_secs(120);
    while !compiled.exists() {
        assert!(Instant::now() < end, "the environment was not compiled");
        std::thread::sleep(Duration::from_millis(20));
    }

    // The same lock is not built twice.
    let again = node.ashlar(&["env", "create", "other", PACKAGE]);
    assert!(again.status.success(), "{}", stderr(&again));
    let both: Value = serde_json::from_str(&node.ok(&["env", "list", "--json"])).unwrap();
    assert_eq!(both[0]["key"], both[1]["key"], "one lock, one build: {both}");

    bundled(&node);

    // While a run uses it, and while it has a name, it stays.
    node.ok(&["env", "remove", "other"]);
    assert!(node.ok(&["env", "gc", "--unused", "0s", "--dry-run"]).starts_with("0 environments"));
    let held = node.detach(&["--environment", "small"], "echo begun; read forever < /dev/null; exec sleep 600");
    node.wait_for_line(&held, "begun");
    node.ok(&["env", "remove", "small"]);
    assert!(node.ok(&["env", "gc", "--unused", "0s"]).starts_with("0 environments"), "a run holds it");
    node.ok(&["cancel", &held, "--now"]);
    node.wait(&held);
    let gone = node.ok(&["env", "gc", "--unused", "0s"]);
    assert!(gone.starts_with("1 environment gone"), "{gone}");
    assert_eq!(node.ok(&["env", "list", "--json"]), "[]");
    let missing = node.ashlar(&["env", "show", "small"]);
    assert_eq!(missing.status.code(), Some(2), "{}", stderr(&missing));
}

/// The bundle builds on a node that reaches no index at all.
fn bundled(node: &TestNode) {
    node.ok(&["env", "bundle", "small", "--output", "small.bundle"]);
    let bundle = node.home.path().join("small.bundle").display().to_string();
    let nowhere = "http://127.0.0.1:9/simple";
    let island = TestNode::start_with_variables(&[("PIP_INDEX_URL", nowhere), ("UV_DEFAULT_INDEX", nowhere), ("UV_HTTP_RETRIES", "0")]);
    let imported = island.ashlar(&["env", "import", &bundle, "--name", "brought"]);
    assert!(imported.status.success(), "{}", stderr(&imported));
    assert_eq!(island.ok(&["run", "--environment", "brought", "--", "python", "-c", "import six; print(six.__version__)"]), "1.17.0");
    let twice = island.ashlar(&["env", "import", &bundle, "--name", "brought"]);
    assert_eq!(twice.status.code(), Some(2), "{}", stderr(&twice));
    // What is not in the bundle cannot be had there.
    let other = island.ashlar(&["env", "create", "other", "attrs==25.3.0"]);
    assert_eq!(other.status.code(), Some(1), "{}", stderr(&other));
    assert!(stderr(&other).contains("hint:"), "{}", stderr(&other));

    // A bundle that was cut or is none leaves nothing.
    let whole = std::fs::read(&bundle).unwrap();
    for (name, bytes) in [("cut", &whole[..whole.len() / 2]), ("none", b"PK\x03\x04 not one".as_slice())] {
        let path = node.home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let refused = island.ashlar(&["env", "import", &path.display().to_string(), "--name", name]);
        assert_eq!(refused.status.code(), Some(2), "{name}: {}", stderr(&refused));
        assert!(!stdout(&island.ashlar(&["env", "list"])).contains(name));
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told_before_anything_is_built() {
    let node = TestNode::start();
    for (arguments, told) in [
        (vec!["env", "create", "x"], "nothing is asked for"),
        (vec!["env", "create", "../x", "six"], "is no name of an environment"),
        (vec!["env", "create", "x", "--framework", "torhc"], "no framework is called"),
        (vec!["env", "create", "x", "--framework", "torch", "--build", "cu999"], "has no build called"),
        (vec!["env", "create", "x", "--framework", "torch>=x"], "no range of versions"),
        (vec!["env", "create", "x", "--lock", "missing.lock"], "missing.lock"),
        (vec!["env", "show", "x"], "no environment called"),
        (vec!["env", "remove", "x"], "no environment called"),
        (vec!["env", "import", "missing.bundle"], "missing.bundle"),
        (vec!["env", "gc", "--unused", "soon"], "--unused"),
        (vec!["run", "--framework", "torhc", "--", "true"], "no framework is called"),
    ] {
        let output = node.ashlar(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{arguments:?}: {}", stderr(&output));
    }
    std::fs::write(node.home.path().join("job.yaml"), "command: 'true'\nenvironment: {framework: torhc}\n").unwrap();
    let output = node.ashlar(&["submit", "job.yaml"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    // No job came of any of it.
    assert_eq!(node.ok(&["jobs", "--json"]), "[]");
}

/// A captured machine with one P100, and a POWER9 machine with six V100.
#[test]
fn the_choice_for_a_captured_machine_is_explained() {
    let data = std::env::var_os("ASHLAR_TEST_DATA").map_or_else(|| crate::tidy::workspace().join("../shared/data"), PathBuf::from);
    let why = |tree: &str, arguments: &[&str]| {
        let tree = data.join("hwloc-dumps").join(tree).display().to_string();
        let place = tempfile::tempdir().unwrap();
        ashlar(place.path(), &[&["env", "why", "--root", &tree], arguments].concat())
    };
    if !data.is_dir() {
        eprintln!("skipped: no captured machines at {}", data.display());
        return;
    }
    let pascal = "ghw/linux-amd64-accel-nvidia.tar.gz";
    let output = why(pascal, &["--framework", "torch"]);
    assert!(output.status.success(), "{}", stderr(&output));
    insta::assert_snapshot!("why_torch_on_a_p100", stdout(&output));
    let choices: Value = serde_json::from_str(&stdout(&why(pascal, &["--framework", "jax", "--json"]))).unwrap();
    assert_eq!((&choices[0]["build"], &choices[0]["passed_over"][0]["build"]), (&"cuda12".into(), &"cuda13".into()));
    let refused = why("hwloc/nvidiagpunumanodes.tar.bz2", &["--framework", "torch"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("this processor is ppc64le"), "{}", stderr(&refused));
}
