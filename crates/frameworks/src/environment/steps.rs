//! The command lines that build an environment, as data.

use super::{IndexSettings, Interpreter};

/// What is known of the machine before an environment is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Path of uv.
    pub uv: String,
    pub python: Interpreter,
    /// Processor and C library, such as `x86_64-glibc2.36`: what wheels are chosen by.
    pub platform: String,
    pub index: IndexSettings,
    /// Directory of uv's cache. On the file system of the environments, so that files are linked, not copied.
    pub cache: String,
    /// A home directory for uv to find an administrator's `.config/uv/uv.toml` in.
    pub home: String,
    /// The machine has a certificate store (`/etc/ssl/certs` or the like) that uv should trust, as pip does with
    /// the distribution's own: without it, the certificate of a company's mirror or proxy is not known.
    pub system_certificates: bool,
    /// Only the cache may be used.
    pub offline: bool,
}

/// One command to run, in an empty working directory (uv reads `uv.toml` and `pyproject.toml` where it stands).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub argv: Vec<String>,
    /// The whole environment, sorted. May hold passwords of indexes: print it through [`super::redact`] only.
    pub env: Vec<(String, String)>,
    pub why: &'static str,
    /// It fails without a network, unless the cache has everything.
    pub network: bool,
}

fn step(facts: &Facts, arguments: &[&str], why: &'static str, network: bool) -> Step {
    let mut env = vec![
        ("HOME", facts.home.as_str()),
        ("LANG", "C.UTF-8"),
        ("NO_COLOR", "1"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("UV_CACHE_DIR", &facts.cache),
        ("UV_NO_PROGRESS", "1"),
        // The interpreter was chosen; uv shall not fetch another one.
        ("UV_PYTHON_DOWNLOADS", "never"),
    ];
    if facts.system_certificates && !facts.index.variables.iter().any(|(name, _)| name.starts_with("SSL_CERT_")) {
        // The older and the newer name of one setting.
        env.extend([("UV_NATIVE_TLS", "1"), ("UV_SYSTEM_CERTS", "1")]);
    }
    if facts.offline {
        env.push(("UV_OFFLINE", "1"));
    }
    let mut env: Vec<(String, String)> = env.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let ours = env.len();
    for setting in &facts.index.variables {
        if !env[..ours].iter().any(|(name, _)| *name == setting.0) {
            env.push(setting.clone());
        }
    }
    env.sort();
    let mut argv = vec![facts.uv.clone()];
    argv.extend(arguments.iter().map(|argument| argument.to_string()));
    if network && facts.index.no_index {
        argv.push("--no-index".into());
    }
    Step { argv, env, why, network: network && !facts.offline }
}

/// Locks the requirements in file `input`: writes file `lock`.
pub fn resolve_step(facts: &Facts, input: &str, lock: &str) -> Step {
    // By path: a version that is not there would silently be resolved for, and fail only at the build.
    let python = facts.python.path.as_str();
    let arguments = ["pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--python", python, "--output-file", lock, input];
    step(facts, &arguments, "choose a version of every package, and note its hashes", true)
}

/// The lock with the indexes of the request before it: what uv writes names no index, and a package that lies on one of them
/// alone would not be found again.
pub fn lock_text(requirements: &str, locked: &str) -> String {
    let places = ["--index-url", "-i", "--extra-index-url", "--find-links", "-f"];
    let names_place = |line: &&str| places.contains(&line.split(['=', ' ', '\t']).next().unwrap_or(""));
    let indexes: Vec<&str> = requirements.lines().map(str::trim).filter(names_place).collect();
    indexes.into_iter().chain(locked.lines()).map(|line| format!("{line}\n")).collect()
}

/// Makes an empty environment in `directory`, which must not exist.
pub fn venv_step(facts: &Facts, directory: &str) -> Step {
    let arguments = ["venv", "--quiet", "--no-project", "--python", &facts.python.path, directory];
    step(facts, &arguments, "make an empty environment", false)
}

/// Installs file `lock` into the environment in `directory`; every file is checked against its hash.
pub fn sync_step(facts: &Facts, directory: &str, lock: &str) -> Step {
    let python = format!("{}/bin/python", directory.trim_end_matches('/'));
    let arguments = ["pip", "sync", "--require-hashes", "--allow-empty-requirements", "--python", &python, lock];
    step(facts, &arguments, "download what the cache lacks, check it, and link it into the environment", true)
}

/// Compiles the environment's modules, and writes file `mark` in it when all are. Worth it where ranks see the environment
/// read-only, because each of them would compile what it imports at every start; nobody has to wait for it.
pub fn compile_command(directory: &str, mark: &str) -> Vec<String> {
    let directory = directory.trim_end_matches('/');
    // Some packages carry files for other versions of Python, which do not compile: that is no failure.
    let script = "import compileall, os, sys\n\
                  library, mark = sys.argv[1:]\n\
                  if not os.path.exists(mark):\n    \
                      os.nice(19)\n    \
                      compileall.compile_dir(library, quiet=2)\n    \
                      open(mark, 'w').close()\n";
    [&format!("{directory}/bin/python"), "-I", "-c", script, &format!("{directory}/lib"), &format!("{directory}/{mark}")]
        .map(String::from)
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_keeps_the_indexes_of_its_request() {
        let request = "--extra-index-url https://a.example/simple\n--pre\ntorch>=2.1\n  -f https://b.example/wheels\n";
        let locked = "torch==2.5.1+cu121 \\\n    --hash=sha256:0\n";
        assert_eq!(
            lock_text(request, locked),
            "--extra-index-url https://a.example/simple\n-f https://b.example/wheels\ntorch==2.5.1+cu121 \\\n    --hash=sha256:0\n"
        );
        assert_eq!(lock_text("numpy\n", locked), locked);
        // Names that begin as an option does are packages.
        assert_eq!(lock_text("index-url\n", "index-url==1\n"), "index-url==1\n");
    }

    #[test]
    fn compiling_marks_what_is_done() {
        let command = compile_command("/srv/new/", ".compiled");
        assert_eq!((command[0].as_str(), command[1].as_str()), ("/srv/new/bin/python", "-I"));
        assert_eq!(command[4..], ["/srv/new/lib", "/srv/new/.compiled"]);
        // The lines of the program are Python's: four blanks within the condition.
        let lines: Vec<&str> = command[3].lines().collect();
        assert_eq!(lines[2], "if not os.path.exists(mark):");
        assert!(lines[3..].iter().all(|line| line.starts_with("    ") && !line.starts_with("     ")), "{lines:?}");
    }
}
