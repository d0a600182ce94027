//! Keys and command lines of environments.

use frameworks::environment::*;
use spec::{Environment, Packages};
use std::collections::BTreeMap;

fn facts() -> Facts {
    Facts {
        uv: "/srv/tools/bin/uv".into(),
        python: Interpreter { path: "/usr/bin/python3.11".into(), version: "3.11.2".into(), reachable: true },
        platform: "x86_64-glibc2.36".into(),
        index: IndexSettings::default(),
        cache: "/srv/cache".into(),
        home: "/root".into(),
        system_certificates: true,
        offline: false,
    }
}

fn wants(packages: &[&str]) -> Environment {
    Environment { packages: Packages::Packages(packages.iter().map(|p| p.to_string()).collect()), ..Environment::default() }
}

fn printed(step: &Step) -> String {
    let env: Vec<String> = step.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}\n{}\nnetwork: {}\n{}\n\n", step.why, env.join(" "), step.network, step.argv.join(" "))
}

#[test]
fn the_same_wish_has_the_same_key() {
    let key = |environment: &Environment, facts: &Facts| inputs_key(environment, facts).unwrap();
    let one = key(&wants(&["jax", "numpy"]), &facts());
    assert_eq!(one.len(), 64);
    assert_eq!(one, key(&wants(&["numpy ", "jax", "jax"]), &facts()));
    let patched = Facts { python: Interpreter { version: "3.11.9".into(), ..facts().python }, ..facts() };
    assert_eq!(one, key(&wants(&["jax", "numpy"]), &patched), "a patch level keeps the lock");
    let moved = Facts { cache: "/other".into(), uv: "/usr/bin/uv".into(), ..facts() };
    assert_eq!(one, key(&wants(&["jax", "numpy"]), &moved), "where tools lie does not matter");
}

#[test]
fn another_wish_python_platform_or_index_has_another_key() {
    let with_index = |address: &str| Facts {
        index: IndexSettings { variables: vec![("UV_DEFAULT_INDEX".into(), address.into())], no_index: false },
        ..facts()
    };
    let keys = [
        inputs_key(&wants(&["jax"]), &facts()),
        inputs_key(&wants(&["jax>=0.5"]), &facts()),
        inputs_key(&wants(&[]), &facts()),
        inputs_key(&wants(&["jax"]), &Facts { platform: "aarch64-glibc2.36".into(), ..facts() }),
        inputs_key(&wants(&["jax"]), &Facts { python: Interpreter { version: "3.12.1".into(), ..facts().python }, ..facts() }),
        inputs_key(&wants(&["jax"]), &with_index("https://me:one@mirror.example/simple")),
        inputs_key(&wants(&["jax"]), &Facts { index: IndexSettings { no_index: true, ..facts().index }, ..facts() }),
    ];
    let distinct: std::collections::BTreeSet<String> = keys.into_iter().map(Result::unwrap).collect();
    assert_eq!(distinct.len(), 7);
    let other_password = inputs_key(&wants(&["jax"]), &with_index("https://me:two@mirror.example/simple")).unwrap();
    assert!(distinct.contains(&other_password), "a new password keeps the lock");
}

#[test]
fn a_lock_is_known_by_what_it_installs() {
    let python = facts().python;
    let key = |lock: &str, python: &Interpreter| lock_key(lock, python, "x86_64-glibc2.36");
    let lock = "idna==3.7 \\\n    --hash=sha256:aa\n";
    assert_eq!(key(lock, &python), key("# made by uv\nidna==3.7 \\  \r\n    --hash=sha256:aa\n    # via x\n\n", &python));
    assert_ne!(key(lock, &python), key("idna==3.8 \\\n    --hash=sha256:aa\n", &python));
    assert_ne!(
        key(lock, &python),
        key(lock, &Interpreter { path: "/opt/python3.11".into(), ..python.clone() }),
        "the environment links to it"
    );
    assert_ne!(key(lock, &python), lock_key(lock, &python, "aarch64-glibc2.36"));
}

#[test]
fn the_steps() {
    let facts = facts();
    let steps = [
        resolve_step(&facts, "request.txt", "lock.txt"),
        venv_step(&facts, "/srv/environments/new"),
        sync_step(&facts, "/srv/environments/new/", "lock.txt"),
    ];
    let compile = compile_command("/srv/environments/new/", ".compiled").join(" | ");
    insta::assert_snapshot!(steps.iter().map(printed).collect::<String>() + &compile);
}

#[test]
fn an_index_without_the_public_one_and_without_a_network() {
    let index = IndexSettings {
        variables: vec![
            ("SSL_CERT_FILE".into(), "/etc/ours.pem".into()),
            ("UV_CACHE_DIR".into(), "/theirs".into()),
            ("UV_FIND_LINKS".into(), "/srv/wheels".into()),
        ],
        no_index: true,
    };
    let facts = Facts { index, offline: true, ..facts() };
    let step = resolve_step(&facts, "in", "out");
    assert_eq!(step.argv.last().unwrap(), "--no-index");
    let get = |name: &str| step.env.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!(get("UV_OFFLINE"), ["1"]);
    assert_eq!(get("UV_CACHE_DIR"), ["/srv/cache"], "ours, once");
    assert_eq!(get("UV_FIND_LINKS"), ["/srv/wheels"]);
    assert!(get("UV_SYSTEM_CERTS").is_empty(), "a file of certificates was named");
    assert!(!step.network);
    assert!(step.env.is_sorted());
    assert!(!venv_step(&facts, "x").argv.contains(&"--no-index".to_string()));
}

#[test]
fn uv_comes_by_pip_or_by_our_own_program() {
    let facts = facts();
    let variables = BTreeMap::from([("PIP_INDEX_URL".to_string(), "https://mirror.example".to_string()), ("SECRET".into(), "x".into())]);
    let from =
        Bootstrap { python: &facts.python, pip: true, directory: "/srv/tools", home: "/root", index: &facts.index, variables: &variables };
    let step = bootstrap_uv(&from);
    insta::assert_snapshot!(printed(&step));
    let step = bootstrap_uv(&Bootstrap { pip: false, ..from });
    assert_eq!(step.argv[..3], ["/usr/bin/python3.11", "-I", "-c"]);
    assert_eq!((step.argv[3].as_str(), step.argv[4].as_str()), (FETCH_UV, "/srv/tools"));
    let named = |name: &str, value: &str| (name.to_string(), value.to_string());
    let ours = [named("SSL_CERT_FILE", "/ca.pem"), named("UV_DEFAULT_INDEX", "ours=https://a.example"), named("UV_FIND_LINKS", "/x,/y")];
    let index = IndexSettings { variables: ours.to_vec(), no_index: false };
    let none = BTreeMap::new();
    let told = |pip| {
        let env = bootstrap_uv(&Bootstrap { pip, index: &index, variables: &none, ..from }).env;
        env.into_iter().filter(|(name, _)| ["PIP_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT"].contains(&name.as_str())).collect::<Vec<_>>()
    };
    let expected = [named("PIP_CERT", "/ca.pem"), named("PIP_FIND_LINKS", "/x /y"), named("PIP_INDEX_URL", "https://a.example")];
    assert_eq!(told(true), expected, "pip knows none of uv's variables");
    assert!(told(false).is_empty());
    assert!(FETCH_UV.len() < 100_000, "Linux takes 128 KiB in one argument");
}

/// What the program says that fetches uv, with nothing in its surroundings but `home` and `variables`.
fn fetched(home: &std::path::Path, variables: &[(&str, &str)]) -> Option<String> {
    let mut python = std::process::Command::new("python3");
    python.args(["-I", "-c", FETCH_UV]).arg(home.join("tools")).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home);
    let output = python.envs(variables.iter().copied()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn uv_is_fetched_from_the_configured_index_or_the_message_says_what_to_do() {
    let home = std::env::temp_dir().join(format!("ashlar-fetch-uv-{}", std::process::id()));
    std::fs::create_dir_all(home.join(".config/uv")).unwrap();
    let own = home.join("own.toml");
    std::fs::write(&own, "[[index]]\nname = \"ours\"\nurl = \"ftp://own.example/simple\"\ndefault = true\n").unwrap();
    std::fs::write(home.join("none.toml"), "index = 3\n").unwrap();
    std::fs::write(home.join("pip.conf"), "[global]\nindex-url = ftp://pip.example/simple\n").unwrap();
    let path = |name: &str| home.join(name).display().to_string();
    let (own, none, pip, nowhere) = (path("own.toml"), path("none.toml"), path("pip.conf"), path("nothing-here"));
    // No address of these is one that it would call: it refuses the scheme, and names where it was about to go.
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("UV_DEFAULT_INDEX", "ftp://uv.example/simple"), ("UV_CONFIG_FILE", &own)], "ftp://uv.example/simple/uv/"),
        (&[("UV_CONFIG_FILE", &own), ("PIP_CONFIG_FILE", &pip)], "ftp://own.example/simple/uv/"),
        (&[("UV_CONFIG_FILE", &none), ("PIP_CONFIG_FILE", &pip)], "ftp://pip.example/simple/uv/"),
        (&[("UV_CONFIG_FILE", &nowhere), ("PIP_INDEX_URL", "ftp://env.example/simple")], "ftp://env.example/simple/uv/"),
    ];
    let reads_toml = std::process::Command::new("python3").args(["-c", "import tomllib"]).output().is_ok_and(|done| done.status.success());
    for (variables, expected) in cases.into_iter().filter(|(_, expected)| reads_toml || !expected.contains("own.example")) {
        let Some(said) = fetched(&home, variables) else { return eprintln!("skipped: no python3") };
        assert!(said.contains(expected), "{variables:?}: {said}");
    }
    let said = fetched(&home, &[("PIP_CONFIG_FILE", "/dev/null")]).unwrap();
    let configured = ["/etc/pip.conf", "/etc/uv/uv.toml"].iter().any(|path| std::path::Path::new(path).exists());
    assert!(configured || (said.contains("PIP_INDEX_URL") && said.contains("install uv or pip")), "{said}");
    std::fs::remove_dir_all(&home).unwrap();
}
