//! Job files of `testdata/jobs`: the good ones become jobs that keep every rule and fit the schema, each bad
//! one has its message in a snapshot.

#![allow(clippy::disallowed_methods, reason = "tests read the files that the crate itself never touches")]

use spec::{JobSpec, ParseContext, Problems, SignalTo, Span, Work, job_schema, parse_job};
use std::path::{Path, PathBuf};

mod conforms;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/jobs").join(name)
}

/// The files of a folder, in order: name and text.
fn files(name: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Parses as if the file lay in `/jobs`, beside `files/`.
fn parse(name: &str, text: &str) -> Result<JobSpec, Problems> {
    let read = |path: &str| {
        let path = path.strip_prefix("/jobs/").ok_or("outside of the test's folder")?;
        std::fs::read_to_string(folder("").join(path)).map_err(|_| "no such file".to_string())
    };
    let context = ParseContext { file: format!("{name}.yaml"), workdir: "/jobs".to_string(), read: &read, default_name: name.to_string() };
    parse_job(text, &context)
}

fn good(name: &str) -> JobSpec {
    let text = std::fs::read_to_string(folder("good").join(format!("{name}.yaml"))).unwrap();
    parse(name, &text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn good_files_become_jobs() {
    for (name, text) in files("good") {
        let job = parse(&name, &text).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(job.validate(), Ok(()), "{name}");
        let json = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<JobSpec>(&json).unwrap(), job, "{name}");
    }
}

#[test]
fn good_files_fit_the_schema() {
    let schema = job_schema();
    for (name, text) in files("good") {
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(conforms::misfit(&schema, &schema, &value), None, "{name}");
    }
}

#[test]
fn a_job_of_every_field() {
    insta::assert_json_snapshot!("everything", good("everything"));
}

#[test]
fn what_a_file_leaves_out_has_its_default() {
    let job = good("minimal");
    let made = JobSpec::command_job("minimal", vec!["python".into(), "train.py".into()], "/jobs");
    assert_eq!(job, made);
}

#[test]
fn single_values_stand_for_lists_of_one() {
    insta::assert_json_snapshot!("lists", good("lists"));
}

#[test]
fn line_endings_of_windows_do_not_reach_the_script() {
    assert_eq!(good("windows").work, Work::Script("echo one\necho two\n".to_string()));
    assert_eq!(good("windows").name, "windows");
}

#[test]
fn the_grace_comes_on_top_of_the_limit() {
    let short = good("short-limit");
    assert_eq!((short.limit, short.checkpoint.grace), (Some(Span::seconds(10)), Span::minutes(1)));
    assert_eq!((short.checkpoint.to, good("minimal").checkpoint.to), (SignalTo::All, SignalTo::Main));
    assert_eq!(good("minimal").checkpoint.grace, Span::seconds(30));
}

#[test]
fn a_part_of_a_field_at_the_top_is_sent_where_it_belongs() {
    for (line, hint) in [
        ("network: none", "network is a part of isolation: write isolation: {network: ...}"),
        ("Network: none", "Network is a part of isolation: write isolation: {network: ...}"),
        ("signal: USR1", "signal is a part of checkpoint: write checkpoint: {signal: ...}"),
        ("grace: 5m", "grace is a part of checkpoint: write checkpoint: {grace: ...}"),
        ("attempts: 3", "attempts is a part of retry: write retry: {attempts: ...}"),
        ("packages: [jax]", "packages is a part of environment: write environment: {packages: ...}"),
        // Names that other tools have for a field as a whole, and slips of the pen, are what they were.
        ("privileged: true", "did you mean 'isolation'?"),
        ("retries: 3", "did you mean 'retry'?"),
        ("isolaton: container", "did you mean 'isolation'?"),
    ] {
        let problems = parse("part", &format!("command: python train.py\n{line}\n")).unwrap_err();
        assert_eq!(problems.iter().next().unwrap().hint.as_deref(), Some(hint), "{line}");
    }
}

#[test]
fn named_files_travel_with_the_job() {
    let environment = |name: &str| good(name).environment.unwrap();
    assert!(serde_json::to_string(&environment("requirements").packages).unwrap().contains("scikit-learn"));
    assert!(serde_json::to_string(&environment("lock").packages).unwrap().contains("sha256:"));
}

#[test]
fn bad_files_say_what_is_wrong() {
    let files = files("bad");
    assert!(files.len() >= 40, "{}", files.len());
    let mut helpless = Vec::new();
    for (name, text) in files {
        let problems = parse(&name, &text).expect_err(&name);
        let lines = text.lines().count().max(1);
        for problem in problems.iter() {
            assert!((1..=lines + 1).contains(&problem.line), "{name}: {problem:?}");
            assert!(problem.column >= 1, "{name}: {problem:?}");
            helpless.extend(problem.hint.is_none().then(|| format!("{name}: {}", problem.message)));
        }
        insta::assert_snapshot!(format!("bad/{name}"), problems.to_string());
    }
    assert_eq!(helpless, Vec::<String>::new(), "every problem says what to do");
}

#[test]
fn problems_are_data_too() {
    let problems = parse("job", "comand: x\nretry: {attempts: 0}\n").unwrap_err();
    insta::assert_json_snapshot!("problems-as-json", problems);
}

#[test]
fn the_reader_gets_absolute_paths() {
    let seen = std::cell::RefCell::new(Vec::new());
    let read = |path: &str| {
        seen.borrow_mut().push(path.to_string());
        Ok("numpy\n".to_string())
    };
    let context = ParseContext { file: "x".into(), workdir: "/home/ann".into(), read: &read, default_name: "x".into() };
    parse_job("command: x\nenvironment: {requirements: ../r.txt}\n", &context).unwrap();
    assert_eq!(*seen.borrow(), ["/home/r.txt"]);
}

#[test]
fn a_file_name_that_is_no_name_is_told_as_such() {
    let read = |_: &str| Err(String::new());
    let context = ParseContext { file: "x.yaml".into(), workdir: "/".into(), read: &read, default_name: "\u{1b}".into() };
    let problems = parse_job("command: x\n", &context).unwrap_err();
    assert_eq!(problems.iter().next().unwrap().message, "'\\u{1b}' cannot be the job's name");
    assert!(parse_job("command: x\nname: y\n", &context).is_ok());
}
