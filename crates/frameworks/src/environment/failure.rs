//! What went wrong when an environment was built, in words for the person who submitted.

use super::redact;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    DiskFull,
    NotWritable,
    HashMismatch,
    MissingHash,
    Certificate,
    Credentials,
    NoNetwork,
    Timeout,
    /// Only the cache was allowed, and it lacks something.
    Offline,
    /// The index answered with an error of its own.
    IndexBroken,
    NoPython,
    /// A package does not support this version of Python.
    PythonVersion,
    /// A package has no build for this processor, C library or Python.
    Platform,
    NoPackage,
    NoVersion,
    Conflict,
    /// A package had to be compiled, and that failed.
    Build,
    Syntax,
    Other,
}

/// A failed build of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
    /// The end of what the tool printed, without passwords.
    pub detail: String,
}

/// In order: the first whose words stand in the output. Broad ones (a refused solution) come after those that
/// often stand behind them (no network, no credentials).
const SIGNS: &[(FailureKind, &[&str])] = &[
    (FailureKind::DiskFull, &["no space left on device", "disk quota exceeded", "(os error 28)", "(os error 122)"]),
    (FailureKind::NotWritable, &["read-only file system", "permission denied (os error 13)"]),
    (FailureKind::HashMismatch, &["hash mismatch for", "do not match the hashes", "has the wrong hash"]),
    (FailureKind::MissingHash, &["all requirements must have a hash", "all requirements must have their versions pinned"]),
    (FailureKind::Certificate, &["invalid peer certificate", "unknownissuer", "certificate verify failed", "certificate_verify_failed"]),
    (
        FailureKind::Credentials,
        &["401 unauthorized", "403 forbidden", "valid authentication credentials", "http error 401", "http error 403"],
    ),
    (
        FailureKind::NoNetwork,
        &[
            "dns error",
            "failed to lookup address",
            "name or service not known",
            "temporary failure in name resolution",
            "connection refused",
            "network is unreachable",
            "no route to host",
            "tcp connect error",
            "connection reset by peer",
        ],
    ),
    // Whole phrases: packages and compilers' options have the word in their names.
    (
        FailureKind::Timeout,
        &["operation timed out", "request timed out", "read timed out", "connection timed out", "network timeout", "deadline has elapsed"],
    ),
    (FailureKind::Offline, &["network was disabled", "network connectivity is disabled"]),
    (FailureKind::IndexBroken, &["http status server error", "502 bad gateway", "503 service unavailable", "http error 5"]),
    (FailureKind::NoPython, &["no interpreter found", "no virtual environment or system python installation found"]),
    (FailureKind::PythonVersion, &["the current python version ("]),
    (
        FailureKind::Platform,
        &["has no wheels with a matching", "no matching platform", "is not compatible with the current platform", "no usable wheels"],
    ),
    (FailureKind::NoPackage, &["was not found in the package registry", "there are no versions of", "no matching distribution found"]),
    (FailureKind::NoVersion, &["there is no version of"]),
    (FailureKind::Build, &["failed to build", "the build backend returned an error"]),
    (FailureKind::Conflict, &["no solution found"]),
    (FailureKind::Syntax, &["couldn't parse requirement", "unexpected '", "expected package name"]),
];

/// Reads what uv (or pip, or [`super::FETCH_UV`]) printed to its standard error before it failed.
pub fn classify(stderr: &str) -> Failure {
    let clean = redact(&without_colours(stderr));
    let flat = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    let lower = flat.to_lowercase();
    let found = SIGNS.iter().find(|(_, signs)| signs.iter().any(|sign| lower.contains(sign)));
    let kind = found.map_or(FailureKind::Other, |(kind, _)| *kind);
    Failure { kind, message: message(kind, &flat), hint: hint(kind), detail: last(&clean, 2000) }
}

fn message(kind: FailureKind, flat: &str) -> String {
    let of = |name: Option<String>, text: &str| name.map_or(text.to_string(), |name| format!("{text} ({name})"));
    match kind {
        FailureKind::DiskFull => "the disk is full".into(),
        FailureKind::NotWritable => of(quoted(flat), "a file or folder cannot be written"),
        FailureKind::HashMismatch => of(quoted_after(flat, "ash mismatch for"), "a downloaded package is not the one that was locked"),
        FailureKind::MissingHash => of(word_after(flat, "provided for: "), "the lock lacks the hash of a package"),
        FailureKind::Certificate => of(host(flat), "the certificate of the package index is not trusted"),
        FailureKind::Credentials => of(host(flat), "the package index wants a user and password, or refuses those given"),
        FailureKind::NoNetwork => of(host(flat), "the package index cannot be reached"),
        FailureKind::Timeout => of(host(flat), "the package index did not answer in time"),
        FailureKind::Offline => {
            of(between(flat, "Because ", " was not found in the cache"), "a package is not in the cache, and the network is off")
        }
        FailureKind::IndexBroken => of(host(flat), "the package index has an error of its own"),
        FailureKind::NoPython => "the Python that the environment needs is not there".into(),
        FailureKind::PythonVersion => match (between(flat, "current Python version (", ")"), between(flat, "does not satisfy Python", " "))
        {
            (Some(here), Some(wanted)) => format!("a package needs Python {wanted}, and the environment has {here}"),
            _ => "a package does not support this version of Python".into(),
        },
        FailureKind::Platform => "a package has no build for this machine and this Python".into(),
        FailureKind::NoPackage => {
            let name = between(flat, "Because ", " was not found in the package registry").or_else(|| word_after(flat, "no versions of "));
            of(name, "the package index has no such package")
        }
        FailureKind::NoVersion => of(word_after(flat, "there is no version of "), "the package index has no such version"),
        FailureKind::Conflict => "the packages cannot be installed together".into(),
        FailureKind::Build => {
            of(quoted_after(flat, "ailed to build"), "a package has no ready build for this machine, and compiling it failed")
        }
        FailureKind::Syntax => "a requirement cannot be read".into(),
        FailureKind::Other => flat.find("error: ").map_or_else(
            || "building the environment failed".to_string(),
            |at| flat[at + 7..].split(" cause: ").next().unwrap_or("").chars().take(200).collect(),
        ),
    }
}

fn hint(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::DiskFull => "free some space where Ashlar keeps its state, or name another folder with --state",
        FailureKind::NotWritable => "look at the owner and the mount options of the folder that Ashlar keeps its state in",
        FailureKind::HashMismatch => {
            "the index or something on the way changed the file: do not install it; a new lock is made when the request changes"
        }
        FailureKind::MissingHash => "make the lock with hashes: `uv pip compile --generate-hashes`",
        FailureKind::Certificate => {
            "add the certificate of your mirror or proxy to the machine's store, or name it with PIP_CERT or SSL_CERT_FILE"
        }
        FailureKind::Credentials => {
            "put the user and password into the index's address (PIP_INDEX_URL or UV_DEFAULT_INDEX) of the node, or into ~/.netrc"
        }
        FailureKind::NoNetwork => {
            "check the network and the proxy; for a mirror set PIP_INDEX_URL or UV_DEFAULT_INDEX where the node is started"
        }
        FailureKind::Timeout => "try again; for a slow mirror set PIP_TIMEOUT or UV_HTTP_TIMEOUT (seconds) where the node is started",
        FailureKind::Offline => "run the job once with a network, or fill the cache from a machine that has one",
        FailureKind::IndexBroken => "try again later; this is not your job's fault",
        FailureKind::NoPython => "leave `environment.python` out to take the machine's own, or install the version asked for",
        FailureKind::PythonVersion => "ask for an older version of the package, or for a newer Python with `environment.python`",
        FailureKind::Platform => "ask for a version with a build for this machine; the details name what there is",
        FailureKind::NoPackage => "check the spelling of the package, and that the index has it",
        FailureKind::NoVersion => "ask for a version that exists, or leave the version out",
        FailureKind::Conflict => "loosen the versions; the details say which two disagree",
        FailureKind::Build => "ask for a version that has a ready build, or install what the details name (often a compiler or headers)",
        FailureKind::Syntax => "write requirements as `name`, `name>=1.2` or `name==1.2.3`",
        FailureKind::Other => "the details are what the tool printed",
    }
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    (!found.is_empty() && found.len() <= 120).then(|| found.to_string())
}

fn word_after(text: &str, before: &str) -> Option<String> {
    let word = text.split_once(before)?.1.split_whitespace().next()?.trim_end_matches([',', '.', ';']);
    (!word.is_empty()).then(|| word.chars().take(120).collect())
}

fn quoted(text: &str) -> Option<String> {
    quoted_after(text, "")
}

fn quoted_after(text: &str, before: &str) -> Option<String> {
    between(&text[text.find(before)? + before.len()..], "`", "`")
}

/// The first address without its path: what a person can check.
fn host(text: &str) -> Option<String> {
    let at = text.find("https://").or_else(|| text.find("http://"))?;
    let address = &text[at..];
    let start = address.find("://")? + 3;
    let end = address[start..]
        .find(|c: char| c == '/' || c.is_whitespace() || matches!(c, ')' | '`' | '\'' | '"'))
        .map_or(address.len(), |i| start + i);
    Some(address[..end].chars().take(120).collect())
}

/// Terminal sequences such as `ESC[1m` taken out.
fn without_colours(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => {
                // ESC, then `[`, parameters, and one letter that ends it.
                if letters.next() == Some('[') {
                    letters.by_ref().find(|c| ('@'..='~').contains(c));
                }
            }
            letter => clean.push(letter),
        }
    }
    clean
}

/// The last `limit` characters, from the start of a line.
fn last(text: &str, limit: usize) -> String {
    let text = text.trim();
    let surplus = text.chars().count().saturating_sub(limit);
    if surplus == 0 {
        return text.to_string();
    }
    let tail: String = text.chars().skip(surplus).collect();
    format!("...\n{}", tail.split_once('\n').map_or(tail.as_str(), |(_, whole)| whole))
}
