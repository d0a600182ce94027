//! Batch scripts of Slurm: what each becomes, what is said of it, and what is refused.

use proptest::prelude::*;
use spec::{JobId, SbatchContext, ScriptPlace, Span, find_script, is_batch_script, job_id_of_slurm, read_sbatch, read_srun, slurm_time};
use std::collections::BTreeMap;
use std::fmt::Write;

fn context(file: &str) -> SbatchContext {
    let variables = [
        ("PATH", "/opt/conda/bin:/usr/bin"),
        ("EDITOR", "vi"),
        ("SLURM_JOB_ID", "9"),
        ("SSH_AUTH_SOCK", "/tmp/agent"),
        ("PWD", "/home/ada"),
        ("BASH_FUNC_module%%", "() { :; }"),
    ];
    SbatchContext {
        file: file.into(),
        workdir: "/home/ada/work".into(),
        user: "ada".into(),
        hostname: "login1".into(),
        program: "/usr/bin/ashlar".into(),
        variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// What differs from a job that asks for nothing.
fn summary(text: Option<&str>, arguments: &str, file: &str) -> String {
    let batch = match read_sbatch(text, &words(arguments), &context(file)) {
        Ok(batch) => batch,
        Err(problems) => {
            let told = problems.iter().map(|problem| {
                let hint = problem.hint.as_deref().map_or(String::new(), |hint| format!(" ({hint})"));
                format!("  line {}: {}{hint}\n", problem.line, problem.message)
            });
            return format!("refused\n{}", told.collect::<String>());
        }
    };
    let spec = &batch.spec;
    assert_eq!(spec.validate(), Ok(()), "{file}");
    let spec::Work::Command(argv) = &spec.work else { panic!("a command is made") };
    let mut out = format!("name '{}', {} CPUs", spec.name, spec.cpus);
    let mut say = |text: String| write!(out, ", {text}").unwrap();
    spec.memory.iter().for_each(|memory| say(format!("memory {memory}")));
    spec.devices.iter().for_each(|devices| say(format!("devices {}", devices.describe())));
    spec.limit.iter().for_each(|limit| say(format!("limit {limit}")));
    spec.queue.iter().for_each(|queue| say(format!("queue {queue}")));
    spec.array.iter().for_each(|array| say(format!("array {array}")));
    spec.after.iter().for_each(|after| say(format!("after {}:{}", after.job, after.condition)));
    if spec.priority != 0 {
        say(format!("priority {}", spec.priority));
    }
    if spec.retry.attempts != 1 {
        say(format!("{} attempts", spec.retry.attempts));
    }
    if spec.workdir != "/home/ada/work" {
        say(format!("in {}", spec.workdir));
    }
    if spec.checkpoint != (spec::Checkpoint { to: spec::SignalTo::All, ..Default::default() }) {
        say(format!("{} to {} and {} of grace", spec.checkpoint.signal, spec.checkpoint.to, spec.checkpoint.grace));
    }
    out.push('\n');
    let files = argv[2].lines().find(|line| line.starts_with("exec <")).expect("it opens its files");
    writeln!(out, "  {files}").unwrap();
    let env: Vec<String> = spec.env.iter().filter(|(name, _)| !name.starts_with("SLURM_SUBMIT")).map(|(k, v)| format!("{k}={v}")).collect();
    writeln!(out, "  {}", env.join(" ")).unwrap();
    batch.warnings.iter().for_each(|warning| writeln!(out, "  warning: {warning}").unwrap());
    out
}

fn scripts() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sbatch");
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn scripts_as_people_write_them() {
    let scripts = scripts();
    assert!(scripts.len() >= 34);
    let mut all = String::new();
    for (name, text) in &scripts {
        assert!(is_batch_script(text), "{name}");
        writeln!(all, "{name}: {}", summary(Some(text), name, name)).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn the_command_line_wins_over_the_script() {
    let text = "#!/bin/bash\n#SBATCH -c 2 --mem=1G -J script\necho\n";
    let told = |arguments: &str| summary(Some(text), arguments, "train.sbatch").lines().next().unwrap().to_owned();
    assert_eq!(told("train.sbatch"), "name 'script', 2 CPUs, memory 1 GiB");
    assert_eq!(told("-c 4 --job-name line train.sbatch -c 9"), "name 'line', 4 CPUs, memory 1 GiB");
    assert_eq!(told("-n3 --cpus-per-t=1 train.sbatch"), "name 'script', 3 CPUs, memory 1 GiB", "a name may be cut short");
    assert!(summary(Some(text), "--mem=much train.sbatch", "train.sbatch").contains("line 1: 'much' is no amount of memory"));
}

#[test]
fn the_script_is_run_as_slurm_would_with_its_arguments() {
    let text = "#!/bin/bash\n#SBATCH -c 1\necho \"$@\"\n";
    let batch = read_sbatch(Some(text), &words("-J x run.sbatch a b"), &context("run.sbatch")).unwrap();
    let spec::Work::Command(argv) = batch.spec.work else { panic!("a command is made") };
    assert_eq!((argv[0].as_str(), argv[3].as_str(), argv[4].as_str()), ("/bin/sh", "sbatch", text));
    assert_eq!(argv[5..], ["a", "b"]);
    assert!(argv[2].contains("ln -sf '/usr/bin/ashlar' \"$TMPDIR/slurm/srun\""), "{}", argv[2]);
}

#[test]
fn where_the_script_is() {
    let file = |name: &str, arguments: &[&str]| ScriptPlace::File {
        name: name.into(),
        arguments: arguments.iter().map(|a| a.to_string()).collect(),
    };
    assert_eq!(find_script(&words("-n 4 train.sbatch -x 1")).unwrap(), file("train.sbatch", &["-x", "1"]));
    assert_eq!(find_script(&words("-n4 -- -odd")).unwrap(), file("-odd", &[]));
    assert_eq!(find_script(&words("-n 4")).unwrap(), ScriptPlace::StandardInput);
    assert_eq!(find_script(&words("--wrap true -n 2")).unwrap(), ScriptPlace::Wrapped);
    assert!(find_script(&words("--wrap true train.sbatch")).is_err());
    assert!(find_script(&words("--nonsense")).is_err());
    assert!(find_script(&words("--no")).is_err(), "the beginning of several");
}

#[test]
fn a_command_may_stand_for_a_script() {
    let arguments = ["--parsable", "-W", "-Q", "--wrap", "echo it's"].map(str::to_owned);
    let batch = read_sbatch(None, &arguments, &context("wrap")).unwrap();
    assert!(batch.parsable && batch.wait && batch.quiet && !batch.test_only);
    let spec::Work::Command(argv) = &batch.spec.work else { panic!("a command is made") };
    assert_eq!((batch.spec.name.as_str(), argv[4].as_str()), ("wrap", "#!/bin/sh\necho it's\n"));
    assert!(read_sbatch(None, &[], &context("x")).is_err());
}

#[test]
fn only_scripts_with_options_are_batch_scripts() {
    assert!(!is_batch_script("#!/bin/bash\necho\n#SBATCH -n 1\n"));
    assert!(!is_batch_script("#SBATCH -n 1\n"));
    assert!(!is_batch_script("command: true\n"));
    let told = summary(Some("echo\n"), "x", "x");
    assert!(told.contains("does not name an interpreter (begin it with #!/bin/bash)"), "{told}");
    let windows = "#!/bin/bash\r\n#SBATCH -c 1\r\necho\r\n";
    let told = summary(Some(windows), "x", "x");
    assert!(is_batch_script(windows) && told.contains("end as on Windows"), "{told}");
    let told = summary(Some("#!/bin/bash\n#SBATCH -c 1\necho 'a\r'\n"), "x", "x");
    assert!(told.starts_with("name 'x'"), "{told}");
}

#[test]
fn times_and_jobs_are_read_as_slurm_reads_them() {
    for (text, seconds) in
        [("30", 1800), ("1:30", 90), ("2:00:00", 7200), ("1-0", 86_400), ("1-2:3", 93_780), ("0-0:0:1", 1), ("00:00:07", 7)]
    {
        assert_eq!(slurm_time(text).unwrap(), Some(Span::seconds(seconds)), "{text}");
    }
    for text in ["0", "UNLIMITED", "infinite", "0:00"] {
        assert_eq!(slurm_time(text).unwrap(), None, "{text}");
    }
    for text in ["", "x", "1-", "-5", "1:2:3:4", "1-1:1:1:1", "99999999999999999999", "18446744073709551615-0"] {
        assert!(slurm_time(text).is_err(), "{text}");
    }
    assert_eq!(job_id_of_slurm("17").unwrap(), JobId::new(17));
    assert_eq!(job_id_of_slurm("17_3").unwrap(), JobId::task(17, 3));
    for text in ["", "x", "17_", "_3", "17.3", "+1"] {
        assert!(job_id_of_slurm(text).is_err(), "{text}");
    }
}

#[test]
fn steps_take_from_the_job_what_they_do_not_say() {
    let job: BTreeMap<String, String> =
        [("SLURM_NTASKS", "4"), ("SLURM_CPUS_PER_TASK", "2")].into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let step = read_srun(&words("./solve -n 3"), &job).unwrap();
    assert_eq!((step.tasks, step.cpus_per_task, step.gpus_per_task, step.label), (4, Some(2), None, false));
    assert_eq!(step.command, ["./solve", "-n", "3"]);
    let step = read_srun(&words("-lK -n2 -c 1 --gpus-per-task=1 --mpi=pmix -D /data --exclusive true"), &job).unwrap();
    assert_eq!((step.tasks, step.cpus_per_task, step.gpus_per_task), (2, Some(1), Some(1)));
    assert!(step.label && step.kill_on_bad_exit && step.folder.as_deref() == Some("/data"));
    assert!(step.warnings.iter().any(|text| text.contains("mpirun")), "{:?}", step.warnings);
    assert!(!read_srun(&words("--kill-on-bad-exit=0 true"), &job).unwrap().kill_on_bad_exit);
    for wrong in ["", "-n 2", "-n x true", "--multi-prog conf", "--pty bash", "-o file true", "-n 100000 true"] {
        assert!(read_srun(&words(wrong), &job).is_err(), "{wrong}");
    }
    assert_eq!(read_srun(&words("true"), &BTreeMap::new()).unwrap().tasks, 1);
}

proptest! {
    #[test]
    fn any_script_is_read_or_refused(lines in proptest::collection::vec("(#SBATCH )?(-[a-zA-Z]|--[a-z-]{2,15})?[= ]?[ -~é\u{202e}]{0,24}", 0..8)) {
        let text = format!("#!/bin/sh\n{}\necho\n", lines.join("\n"));
        if let Ok(batch) = read_sbatch(Some(&text), &["x".to_owned()], &context("x")) {
            prop_assert_eq!(batch.spec.validate(), Ok(()));
        }
    }

    #[test]
    fn any_value_is_read_or_refused(
        option in proptest::sample::select(vec!["mem", "time", "gres", "gpus", "array", "dependency", "signal", "output", "ntasks", "nodes", "export", "nice", "chdir"]),
        value in "[0-9a-zA-Z:,%@_.=/ -]{0,20}",
    ) {
        let arguments = [format!("--{option}={value}"), "x".to_owned()];
        if let Ok(batch) = read_sbatch(Some("#!/bin/sh\necho\n"), &arguments, &context("x")) {
            prop_assert_eq!(batch.spec.validate(), Ok(()));
        }
        let _ = read_srun(&arguments, &BTreeMap::new());
    }
}
