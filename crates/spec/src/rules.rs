//! What a job must keep to as a whole, wherever it came from.
//!
//! The reader of job files and the receiver of wire messages both call [`violations`]; the one adds line and
//! column, the other the name of the field.

use crate::field_error::{FieldError, Quoted, is_unprintable};
use crate::grammar::{bounded, parse_array, parse_devices, resolve, write_bytes, write_span};
use crate::{DeviceRequest, Environment, JobSpec, Mount, Packages, Span, Work, limits};
use machine::Bytes;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// A rule that is not kept, and by which field: `retry.attempts`, `mounts[2].target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub path: String,
    pub error: FieldError,
}

/// Collects violations under the name of the field at hand.
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, path: impl Into<String>, error: FieldError) {
        self.0.push(Violation { path: path.into(), error });
    }

    fn check<T>(&mut self, path: impl Into<String>, result: Result<T, FieldError>) {
        if let Err(error) = result {
            self.add(path, error);
        }
    }

    fn say(&mut self, path: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) {
        self.add(path, FieldError::new(message).hint(hint));
    }
}

/// Every rule that the job does not keep, in the order of the fields.
pub(crate) fn violations(spec: &JobSpec) -> Vec<Violation> {
    let mut findings = Findings(Vec::new());
    findings.check("name", check_name(&spec.name));
    work(&spec.work, &mut findings);
    findings.check("ranks", bounded("the number of ranks", spec.ranks.into(), &limits::RANKS));
    let ascending = spec.sizes.windows(2).all(|pair| pair[0] < pair[1]);
    if !spec.sizes.is_empty() && (!ascending || spec.sizes[0] == 0 || spec.sizes.last() != Some(&spec.ranks)) {
        findings.say("sizes", "the sizes are not ascending from 1 up to the number of ranks", "leave them out, or list each once");
    }
    if let Some(request) = &spec.devices {
        devices(request, &mut findings);
    }
    findings.check("cpus", crate::parse_cpus(&crate::write_cpus(spec.cpus)));
    memory(spec, &mut findings);
    findings.check("workdir", absolute(&spec.workdir));
    env(spec, &mut findings);
    mounts(&spec.mounts, &mut findings);
    if let Some(environment) = &spec.environment {
        self::environment(environment, &mut findings);
    }
    times(spec, &mut findings);
    findings.check("priority", bounded("the priority", spec.priority.into(), &limits::PRIORITY));
    if let Some(queue) = &spec.queue {
        findings.check("queue", check_label("queue", queue));
    }
    retry(spec, &mut findings);
    after(spec, &mut findings);
    if let Some(array) = &spec.array {
        // One grammar decides: what cannot be written as an array is none, and order and joining count too.
        match parse_array(&array.to_string()) {
            Ok(read) if read == *array => {}
            Ok(_) => findings.add("array", FieldError::new("the ranges of the array are not ascending and apart")),
            Err(error) => findings.add("array", error),
        }
    }
    notify(spec, &mut findings);
    findings.0
}

/// A name for people: one line that prints.
pub(crate) fn check_name(name: &str) -> Result<(), FieldError> {
    let error = |message: String| Err(FieldError::new(message).hint("a name is one line of text, such as 'train resnet 50'"));
    if name.trim().is_empty() {
        error("the name is empty".to_string())
    } else if name.trim() != name {
        error(format!("the name {} begins or ends with a space", Quoted(name)))
    } else if name.chars().any(is_unprintable) {
        error(format!("the name {} has a character that does not print", Quoted(name)))
    } else if name.chars().count() > limits::NAME_CHARACTERS {
        error(format!("the name {} is longer than {} characters", Quoted(name), limits::NAME_CHARACTERS))
    } else {
        Ok(())
    }
}

/// A name for machines: of a queue, a tenant, a login.
pub(crate) fn check_label(what: &str, name: &str) -> Result<(), FieldError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if starts && name.len() <= 63 && name.chars().all(plain) {
        return Ok(());
    }
    Err(FieldError::new(format!("{} is not a name for a {what}", Quoted(name)))
        .hint("use up to 63 letters, digits, '-', '_' and '.', beginning with a letter or digit"))
}

fn work(work: &Work, findings: &mut Findings) {
    match work {
        Work::Command(words) => findings.check("command", check_command(words)),
        Work::Script(script) => findings.check("script", check_script(script)),
    }
}

pub(crate) fn check_command(words: &[String]) -> Result<(), FieldError> {
    if words.first().is_none_or(|program| program.trim().is_empty()) {
        return Err(FieldError::new("the command is empty").hint("write it such as: python train.py"));
    }
    if let Some(word) = words.iter().find(|word| word.contains('\0')) {
        return Err(FieldError::new(format!("{} has a zero byte in it, which no program can receive", Quoted(word))));
    }
    if let Some(word) = words.iter().find(|word| word.len() > limits::ARGUMENT_BYTES) {
        return Err(FieldError::new(format!(
            "the argument {} has {} bytes, the kernel takes {}",
            Quoted(word),
            word.len(),
            limits::ARGUMENT_BYTES
        ))
        .hint("pass long text in a file"));
    }
    let total: usize = words.iter().map(|word| word.len() + 1).sum();
    if total > limits::COMMAND_BYTES {
        return Err(FieldError::new(format!("the command has {total} bytes, the most is {}", limits::COMMAND_BYTES))
            .hint("pass long lists in a file"));
    }
    Ok(())
}

fn check_script(script: &str) -> Result<(), FieldError> {
    if script.trim().is_empty() {
        return Err(FieldError::new("the script is empty").hint("write shell text after 'script: |', indented"));
    }
    if script.contains('\0') {
        return Err(FieldError::new("the script has a zero byte in it"));
    }
    if script.len() > limits::SCRIPT_BYTES {
        return Err(FieldError::new(format!("the script has {} bytes, the most is {}", script.len(), limits::SCRIPT_BYTES))
            .hint("put it into a file and run that"));
    }
    Ok(())
}

fn devices(request: &DeviceRequest, findings: &mut Findings) {
    if request.vendor == Some(machine::Vendor::Unknown) {
        return findings.say("devices", "devices of an unknown vendor are never granted", "leave the vendor out to take any");
    }
    match parse_devices(&request.to_string()) {
        Ok(read) if read == *request => {}
        Ok(_) => findings.add("devices", FieldError::new(format!("{} is not a device request", Quoted(&request.to_string())))),
        Err(error) => findings.add("devices", error),
    }
}

fn memory(spec: &JobSpec, findings: &mut Findings) {
    let size = |value: Option<Bytes>, path: &str, least: Bytes, findings: &mut Findings| {
        let Some(value) = value else { return };
        if value < least {
            let message = format!("{path} of {} is too little for any process", write_bytes(value));
            findings.say(path, message, format!("write at least {}", write_bytes(least)));
        } else if value > limits::MEMORY_MAX {
            findings.say(path, format!("{path} of {} is more than any machine has", write_bytes(value)), "write it such as 16GB");
        }
    };
    size(spec.memory, "memory", limits::MEMORY_MIN, findings);
    size(spec.shm, "shm", limits::SHM_MIN, findings);
    if let Some((shm, memory)) = spec.shm.zip(spec.memory).filter(|(shm, memory)| shm > memory) {
        let message = format!("shm of {} is larger than the memory of {} it counts in", write_bytes(shm), write_bytes(memory));
        findings.say("shm", message, format!("ask for more memory, or for at most {} of shm", write_bytes(memory)));
    }
}

fn absolute(path: &str) -> Result<(), FieldError> {
    let resolved = resolve(path, "/")?;
    if resolved == path {
        return Ok(());
    }
    Err(FieldError::new(format!("{} is not an absolute path without '.' and '..'", Quoted(path))).hint(format!("write {resolved}")))
}

/// The kernel's rule is "no '=' in the name"; the rest keeps names that no shell and no listing could show.
pub(crate) fn check_variable(key: &str, value: &str) -> Result<(), FieldError> {
    if key.is_empty() || key.contains(['=', '\0']) || key.chars().any(|c| c.is_whitespace() || is_unprintable(c)) {
        return Err(FieldError::new(format!("{} is not a name for a variable", Quoted(key)))
            .hint("use letters, digits and '_', such as OMP_NUM_THREADS"));
    }
    if value.contains('\0') {
        return Err(FieldError::new(format!("the value of {key} has a zero byte in it")));
    }
    let bytes = key.len() + 1 + value.len();
    if bytes > limits::ARGUMENT_BYTES {
        return Err(FieldError::new(format!(
            "the variable {} has {bytes} bytes, the kernel takes {}",
            Quoted(key),
            limits::ARGUMENT_BYTES
        ))
        .hint("pass long text in a file"));
    }
    Ok(())
}

fn env(spec: &JobSpec, findings: &mut Findings) {
    for (key, value) in &spec.env {
        findings.check(format!("env.{key}"), check_variable(key, value));
    }
    let total: usize = spec.env.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    if total > limits::ENV_BYTES {
        findings.say(
            "env",
            format!("the variables have {total} bytes together, the most is {}", limits::ENV_BYTES),
            "pass long text in a file",
        );
    }
}

/// Places that a run has from Ashlar; a mount over them would take the isolation away.
const OURS: [&str; 3] = ["/proc", "/sys", "/dev"];

fn mounts(mounts: &[Mount], findings: &mut Findings) {
    if mounts.len() > limits::MOUNTS {
        findings.say("mounts", format!("there are {} mounts, the most is {}", mounts.len(), limits::MOUNTS), "mount a folder above them");
    }
    let mut targets = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let target = format!("mounts[{index}].target");
        findings.check(format!("mounts[{index}].source"), absolute(&mount.source));
        findings.check(&target, absolute(&mount.target));
        let below = |place: &str| mount.target == place || mount.target.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
        if mount.target == "/" || OURS.iter().any(|place| below(place)) {
            findings.say(
                &target,
                format!("nothing can be mounted at {}", Quoted(&mount.target)),
                "choose a target outside of /, /proc, /sys and /dev, which every run has from Ashlar: a directory that exists, or a \
                 new one below / or /tmp",
            );
        }
        if !targets.insert(&mount.target) {
            findings.say(&target, format!("the target {} is mounted twice", Quoted(&mount.target)), "give every mount a target of its own");
        }
    }
}

fn environment(environment: &Environment, findings: &mut Findings) {
    if let Some(python) = &environment.python {
        findings.check("environment.python", check_python(python));
    }
    if let Some(name) = &environment.name {
        findings.check("environment.name", check_environment_name(name));
        if *environment != (Environment { name: Some(name.clone()), ..Environment::default() }) {
            let message = "a named environment is complete, nothing else can be asked for beside it";
            findings.say("environment", message, "keep name: alone, or leave it out and write the rest");
        }
    }
    if let Some(framework) = &environment.framework {
        findings.check("environment.framework", check_package(&framework.name));
        if let Some(build) = &framework.build {
            findings.check("environment.build", check_build(build));
        }
        if matches!(environment.packages, Packages::Lock(_)) {
            let hint = "leave framework: out: the lock names the framework's build already";
            findings.say("environment", "there are both a framework and a lock", hint);
        }
    }
    match &environment.packages {
        Packages::Packages(packages) => {
            if packages.len() > limits::PACKAGES {
                let message = format!("there are {} packages, the most is {}", packages.len(), limits::PACKAGES);
                findings.say("environment.packages", message, "put them into a file and name it under requirements:");
            }
            for (index, package) in packages.iter().enumerate() {
                findings.check(format!("environment.packages[{index}]"), check_package(package));
            }
        }
        Packages::Requirements(text) => findings.check("environment.requirements", check_requirements(text, false)),
        Packages::Lock(text) => findings.check("environment.lock", check_requirements(text, true)),
    }
}

fn check_python(version: &str) -> Result<(), FieldError> {
    let parts: Vec<&str> = version.split('.').collect();
    let numbers = parts.iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()));
    if numbers && parts.len() <= 3 && parts[0] == "3" {
        return Ok(());
    }
    Err(FieldError::new(format!("{} is not a version of Python 3", Quoted(version))).hint("write it such as 3.12 or 3.12.4"))
}

/// The name is a file's too.
pub fn check_environment_name(name: &str) -> Result<(), FieldError> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Ok(());
    }
    Err(FieldError::new(format!("{} is no name of an environment", Quoted(name)))
        .hint("take letters, digits, '-', '_' and '.', at most 64, beginning with a letter or digit"))
}

fn check_build(build: &str) -> Result<(), FieldError> {
    if !build.is_empty() && build.len() <= 40 && build.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Ok(());
    }
    Err(FieldError::new(format!("{} is no name of a build", Quoted(build)))
        .hint("`ashlar env why --framework NAME` lists a framework's builds"))
}

fn check_package(package: &str) -> Result<(), FieldError> {
    let begins = package.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && package.len() <= 1000 && !package.chars().any(is_unprintable) {
        return Ok(());
    }
    let hint = if package.starts_with('-') {
        "options belong into a file named under requirements:"
    } else {
        "write it as for pip, such as jax>=0.4 or 'torch==2.4.1'"
    };
    Err(FieldError::new(format!("{} is not a package requirement", Quoted(package))).hint(hint))
}

/// The text travels with the job, so it may not lean on other files.
fn check_requirements(text: &str, lock: bool) -> Result<(), FieldError> {
    let what = if lock { "lock" } else { "requirements" };
    if text.len() > limits::REQUIREMENTS_BYTES {
        return Err(FieldError::new(format!("the {what} file has {} bytes, the most is {}", text.len(), limits::REQUIREMENTS_BYTES)));
    }
    if text.contains('\0') {
        return Err(FieldError::new(format!("the {what} file is not text")));
    }
    if text.trim().is_empty() {
        return Err(FieldError::new(format!("the {what} file is empty")).hint("leave it out if nothing is needed"));
    }
    if lock && !text.contains("--hash=") {
        return Err(FieldError::new("the lock file has no hashes, so nothing says that tomorrow's packages are today's")
            .hint("make it with 'uv pip compile --generate-hashes', or name the file under requirements:"));
    }
    // A short option may stand right before its value.
    let includes = |line: &&str| {
        let word = line.split(|c: char| c.is_whitespace() || c == '=').next().unwrap_or_default();
        ["--requirement", "--constraint", "--editable"].contains(&word) || ["-r", "-c", "-e"].iter().any(|option| word.starts_with(option))
    };
    if let Some(line) = text.lines().map(str::trim).find(includes) {
        return Err(
            FieldError::new(format!("the {what} file leans on another file: {}", Quoted(line))).hint("write everything into one file")
        );
    }
    Ok(())
}

fn times(spec: &JobSpec, findings: &mut Findings) {
    for (path, span) in [("expect", spec.expect), ("limit", spec.limit)] {
        if let Some(span) = span {
            findings.check(path, within(path, span, Span::seconds(1)..=limits::SPAN_MAX));
        }
    }
    let grace = spec.checkpoint.grace;
    findings.check("checkpoint.grace", within("the grace", grace, Span::ZERO..=limits::GRACE_MAX));
    let Some(limit) = spec.limit else { return };
    if let Some(expect) = spec.expect.filter(|expect| *expect > limit) {
        let message = format!(
            "expect of {} is longer than the limit of {}, so the job would be stopped before its end",
            write_span(expect),
            write_span(limit)
        );
        findings.say("expect", message, "raise the limit, or expect less");
    }
}

fn within(what: &str, span: Span, range: RangeInclusive<Span>) -> Result<(), FieldError> {
    if range.contains(&span) {
        return Ok(());
    }
    let (low, high) = (write_span(*range.start()), write_span(*range.end()));
    Err(FieldError::new(format!("{what} is {}", write_span(span))).hint(format!("write a length of time from {low} to {high}")))
}

fn retry(spec: &JobSpec, findings: &mut Findings) {
    let retry = &spec.retry;
    findings.check("retry.attempts", bounded("the number of attempts", retry.attempts.into(), &limits::ATTEMPTS));
    findings.check("retry.backoff", within("the back-off", retry.backoff, Span::ZERO..=limits::BACKOFF_MAX));
    if retry.on.is_empty() && retry.attempts > 1 {
        findings.say("retry.on", "there are several attempts but nothing to retry on", "write on: [lost], or leave it out for the same");
    }
    findings.check("retry.on", once(retry.on.iter().map(|on| on.name())));
}

fn once<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), FieldError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(FieldError::new(format!("{} is named twice", Quoted(name))).hint("name it once"));
        }
    }
    Ok(())
}

fn after(spec: &JobSpec, findings: &mut Findings) {
    if spec.after.len() > limits::DEPENDENCIES {
        let message = format!("the job waits for {} jobs, the most is {}", spec.after.len(), limits::DEPENDENCIES);
        findings.say("after", message, "wait for one job that waits for the others");
    }
    let mut seen = BTreeSet::new();
    for (index, dependency) in spec.after.iter().enumerate() {
        if !seen.insert(dependency.job) {
            findings.say(format!("after[{index}]"), format!("job {} is named twice", dependency.job), "name each job once");
        }
    }
}

fn notify(spec: &JobSpec, findings: &mut Findings) {
    let Some(notify) = &spec.notify else { return };
    if notify.on.is_empty() {
        findings.say("notify.on", "notify has nothing to notify of", "write on: [succeeded, failed]");
    }
    findings.check("notify.on", once(notify.on.iter().map(|on| on.name())));
    findings.check("notify.command", check_command(&notify.command));
}
