//! What uv 0.13 and pip 23 printed when they failed for real, read back. The outputs were captured by causing each
//! failure; only addresses and folders were renamed.

use frameworks::environment::{FailureKind, classify};

const CAPTURED: &[(&str, &str, FailureKind)] = &[
    ("refused", include_str!("uv/refused.txt"), FailureKind::NoNetwork),
    ("dns", include_str!("uv/dns.txt"), FailureKind::NoNetwork),
    ("pip-refused", include_str!("uv/pip-refused.txt"), FailureKind::NoNetwork),
    ("offline", include_str!("uv/offline.txt"), FailureKind::Offline),
    ("tls", include_str!("uv/tls.txt"), FailureKind::Certificate),
    ("http401", include_str!("uv/http401.txt"), FailureKind::Credentials),
    ("http403", include_str!("uv/http403.txt"), FailureKind::Credentials),
    ("http503", include_str!("uv/http503.txt"), FailureKind::IndexBroken),
    ("nopackage", include_str!("uv/nopackage.txt"), FailureKind::NoPackage),
    ("noversion", include_str!("uv/noversion.txt"), FailureKind::NoVersion),
    ("conflict", include_str!("uv/conflict.txt"), FailureKind::Conflict),
    ("pythonold", include_str!("uv/pythonold.txt"), FailureKind::PythonVersion),
    ("pythonold2", include_str!("uv/pythonold2.txt"), FailureKind::Platform),
    ("platform", include_str!("uv/platform.txt"), FailureKind::Platform),
    ("nopython2", include_str!("uv/nopython2.txt"), FailureKind::NoPython),
    ("nopythonpath", include_str!("uv/nopythonpath.txt"), FailureKind::NoPython),
    ("novenv", include_str!("uv/novenv.txt"), FailureKind::NoPython),
    ("hash", include_str!("uv/hash.txt"), FailureKind::HashMismatch),
    ("nohash", include_str!("uv/nohash.txt"), FailureKind::MissingHash),
    ("syntax", include_str!("uv/syntax.txt"), FailureKind::Syntax),
    ("full", include_str!("uv/full.txt"), FailureKind::DiskFull),
    ("full2", include_str!("uv/full2.txt"), FailureKind::DiskFull),
    ("readonly", include_str!("uv/readonly.txt"), FailureKind::NotWritable),
    ("rocache", include_str!("uv/rocache.txt"), FailureKind::NotWritable),
    ("build", include_str!("uv/build.txt"), FailureKind::Build),
];

#[test]
fn every_captured_failure_is_recognised() {
    for (name, stderr, kind) in CAPTURED {
        let failure = classify(stderr);
        assert_eq!(failure.kind, *kind, "{name}: {failure:?}");
        assert!(!failure.hint.is_empty() && !failure.detail.is_empty(), "{name}");
    }
}

#[test]
fn messages_name_what_the_person_can_check() {
    let said: String = CAPTURED.iter().map(|(name, stderr, _)| format!("{name}: {}\n", classify(stderr).message)).collect();
    insta::assert_snapshot!(said);
}

#[test]
fn an_older_uv_with_its_lines_and_colours_is_read_too() {
    let old = "  \u{1b}[31m×\u{1b}[0m No solution found when resolving dependencies:\n  \u{1b}[31m╰─▶ \u{1b}[0mBecause nosuchthing was not found in the package\n      registry and you require nosuchthing, we can conclude that your\n      requirements are unsatisfiable.\n";
    let failure = classify(old);
    assert_eq!(failure.kind, FailureKind::NoPackage);
    assert_eq!(failure.message, "the package index has no such package (nosuchthing)");
    assert!(!failure.detail.contains('\u{1b}'));
}

#[test]
fn only_a_connection_times_out() {
    let of = |stderr: &str| classify(stderr).kind;
    assert_eq!(of("error: Failed to fetch: `https://a.example/simple/x/`\n  Caused by: operation timed out\n"), FailureKind::Timeout);
    assert_eq!(of("Failed to download distribution due to network timeout. Try increasing UV_HTTP_TIMEOUT"), FailureKind::Timeout);
    assert_eq!(of("ReadTimeoutError(\"HTTPSConnectionPool(host='a', port=443): Read timed out.\")"), FailureKind::Timeout);
    let conflict = "No solution found when resolving dependencies: because aiohttp==3.9 depends on async-timeout>=4.0 and you require";
    assert_eq!(of(conflict), FailureKind::Conflict);
    assert_eq!(of("Failed to build `x==1`: gcc -DTIMEOUT=5 -c x.c"), FailureKind::Build);
}

#[test]
fn passwords_never_come_back_and_long_output_is_cut() {
    let failure = classify("error: Failed to fetch: `https://me:hunter2@mirror.example/simple/x/`\n  cause: dns error\n");
    assert_eq!(failure.message, "the package index cannot be reached (https://***@mirror.example)");
    assert!(!format!("{failure:?}").contains("hunter2"));
    let long = classify(&format!("{}\nerror: strange\n", "noise\n".repeat(5000)));
    assert!(long.detail.len() < 2100 && long.detail.ends_with("error: strange"));
    assert_eq!((long.kind, long.message.as_str()), (FailureKind::Other, "strange"));
    assert_eq!(classify("").message, "building the environment failed");
}

proptest::proptest! {
    #[test]
    fn any_output_is_read(text in proptest::prelude::any::<String>()) {
        classify(&text);
    }
}
