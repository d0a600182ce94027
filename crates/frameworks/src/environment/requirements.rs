//! The requirements of a job as the one text that uv reads.

use spec::Packages;
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the requirements, '{text}': {why}")]
pub struct RequirementError {
    /// From 1; for a list of packages, the position in it.
    pub line: usize,
    pub text: String,
    pub why: &'static str,
}

impl RequirementError {
    pub fn hint(&self) -> &'static str {
        "name packages by version (`jax>=0.5`) or by address (`name @ https://.../name-1.0-py3-none-any.whl`)"
    }
}

/// Options a requirements file may hold. The others read files of the machine that the job did not bring, or run
/// code of a folder outside the job's own isolation.
const OPTIONS: &[&str] = &[
    "--index-url",
    "-i",
    "--extra-index-url",
    "--find-links",
    "-f",
    "--no-index",
    "--no-binary",
    "--only-binary",
    "--pre",
    "--require-hashes",
    "--prefer-binary",
];

/// The text to lock or install, in a normal form: packages sorted and without repetitions, trailing blanks and
/// carriage returns gone. A lock or a requirements file keeps its order, which may matter.
///
/// # Errors
/// A line that names a file or a folder of the machine, another requirements file, or a repository: uv runs
/// outside the job, so such a line would be read with other rights than the job's.
pub fn requirements_text(packages: &Packages) -> Result<String, RequirementError> {
    let mut lines: Vec<String> = match packages {
        Packages::Packages(list) => list.iter().map(|package| package.trim().to_string()).collect(),
        Packages::Requirements(text) | Packages::Lock(text) => text.lines().map(|line| line.trim_end().to_string()).collect(),
    };
    let mut continued = false;
    for (number, line) in (1..).zip(&lines) {
        if !continued && let Some(why) = complaint(line) {
            return Err(RequirementError { line: number, text: super::redact(line).chars().take(120).collect(), why });
        }
        if continued && !only_hashes(line) {
            return Err(RequirementError {
                line: number,
                text: super::redact(line).chars().take(120).collect(),
                why: "only hashes may go on after a backslash",
            });
        }
        continued = line.ends_with('\\');
    }
    if matches!(packages, Packages::Packages(_)) {
        lines.retain(|line| !line.is_empty());
        lines.sort();
        lines.dedup();
    }
    Ok(lines.join("\n") + "\n")
}

fn only_hashes(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('#') || line.split_whitespace().all(|word| word.starts_with("--hash=") || word == "\\")
}

fn complaint(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if line.contains(['\n', '\r', '\0']) {
        return Some("a package is one line");
    }
    if line.contains("${") {
        return Some("variables are not filled in here: they would be those of the node");
    }
    if line.starts_with('-') {
        let (option, value) = line.split_once(['=', ' ', '\t']).unwrap_or((line, ""));
        if !OPTIONS.contains(&option) {
            return Some("this option is not taken here, because it reads files outside the job");
        }
        let names_place = matches!(option, "--index-url" | "-i" | "--extra-index-url" | "--find-links" | "-f");
        return (names_place && !is_web(value.trim())).then_some("an index is an http or https address here");
    }
    let (requirement, _) = line.split_once(" #").unwrap_or((line, ""));
    if requirement.split_whitespace().any(|word| word.starts_with('-') && !word.starts_with("--hash=")) {
        return Some("an option stands on a line of its own");
    }
    let target = match requirement.split_once('@') {
        // `name @ address`, or `name[extra]@address`.
        Some((name, address)) if is_name(name) => Some(address.trim()),
        _ if requirement.contains("://") => Some(requirement.trim()),
        _ => None,
    };
    match target {
        Some(address) if is_web(address) => None,
        Some(address) if address.starts_with("git+") || address.starts_with("hg+") || address.starts_with("svn+") => {
            Some("a repository has no hash to lock; name a release or an archive")
        }
        Some(_) => Some("only http and https addresses are taken"),
        None if !requirement.starts_with(|c: char| c.is_ascii_alphanumeric()) || requirement.contains('/') => {
            Some("this names a file or folder, which uv would read outside the job")
        }
        None => None,
    }
}

fn is_web(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

fn is_name(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '[' | ']' | ',' | ' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packages(list: &[&str]) -> Result<String, RequirementError> {
        requirements_text(&Packages::Packages(list.iter().map(|p| p.to_string()).collect()))
    }

    #[test]
    fn a_list_is_sorted_and_said_once() {
        assert_eq!(packages(&[" numpy>=1.26 ", "jax", "jax", ""]).unwrap(), "jax\nnumpy>=1.26\n");
    }

    #[test]
    fn ordinary_requirements_are_taken() {
        for line in [
            "jax[cuda13]>=0.5,<1 ; python_version >= '3.10'",
            "name @ https://files.example/name-1.0-py3-none-any.whl",
            "name[extra]@https://files.example/name-1.0.tar.gz",
            "https://files.example/name-1.0-py3-none-any.whl",
            "# -r other.txt",
            "numpy  # see /etc/x",
            "--index-url https://index.example/simple",
            "--extra-index-url=https://index.example/simple",
            "--no-binary :all:",
            "torch==2.9.0+cpu",
        ] {
            let text = requirements_text(&Packages::Requirements(format!("{line}\r\n"))).unwrap();
            assert_eq!(text, format!("{line}\n"));
        }
    }

    #[test]
    fn what_uv_would_read_outside_the_job_is_refused() {
        for line in [
            "-r /etc/shadow",
            "-r other.txt",
            "--requirement x",
            "-c constraints.txt",
            "-e .",
            "--editable .",
            ".",
            "./pkg",
            "../pkg",
            "/root/pkg",
            "pkg/sub",
            "name @ file:///root/x.whl",
            "file:///etc/passwd",
            "name@../x",
            "name @ git+https://host/repo",
            "git+ssh://host/repo",
            "--find-links /root/wheels",
            "--find-links=file:///root",
            "-f .",
            "--trusted-host x",
            "~/pkg",
            "jax\nevil @ file:///x",
            "jax -r /etc/shadow",
            "name @ https://${TOKEN}@host/x.whl",
        ] {
            let error = packages(&["numpy", line]).unwrap_err();
            assert_eq!(error.line, 2, "{line}: {error}");
            assert!(!error.hint().is_empty());
        }
    }

    #[test]
    fn hashes_go_on_after_a_backslash_and_nothing_else_does() {
        let lock = "idna==3.7 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via x\n";
        assert!(requirements_text(&Packages::Lock(lock.into())).is_ok());
        let error = requirements_text(&Packages::Lock("idna==3.7 \\\n-r /etc/shadow\n".into())).unwrap_err();
        assert_eq!((error.line, error.why), (2, "only hashes may go on after a backslash"));
        assert!(requirements_text(&Packages::Lock("idna==3.7 \\\n --hash=sha256:aa -r x\n".into())).is_err());
    }

    #[test]
    fn a_password_in_a_refused_line_is_not_repeated() {
        let error = packages(&["x @ ftp://me:secret@host/x"]).unwrap_err();
        assert_eq!(error.text, "x @ ftp://***@host/x");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in any::<String>()) {
            let _ = requirements_text(&Packages::Requirements(text.clone()));
            let _ = requirements_text(&Packages::Packages(vec![text]));
        }

        #[test]
        fn no_line_of_an_accepted_file_reads_a_path(line in "[-./a-z@: \\\\#]{1,20}") {
            if let Ok(text) = requirements_text(&Packages::Requirements(line)) {
                for line in text.lines().map(str::trim_start) {
                    prop_assert!(!line.starts_with("-r") && !line.starts_with("-e") && !line.starts_with("-c"), "{line}");
                    prop_assert!(!line.starts_with('.') && !line.starts_with('/'), "{line}");
                }
            }
        }
    }

    #[test]
    fn no_password_comes_back_from_a_line_that_goes_on() {
        let text = "numpy==1 \\\n  --index-url https://me:secret@a.example/x\n".to_string();
        let error = requirements_text(&Packages::Requirements(text)).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}
