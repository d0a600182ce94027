//! The options of `sbatch`, as a table, and how they are written on `#SBATCH` lines and on the command line.

use crate::field_error::{FieldError, Quoted, nearest};
use crate::problem::Place;

/// What an option is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    Account,
    Array,
    Begin,
    Chdir,
    CpusPerGpu,
    CpusPerTask,
    Dependency,
    Error,
    Export,
    Gpus,
    GpusPerNode,
    GpusPerTask,
    Gres,
    Input,
    JobName,
    KillOnBadExit,
    Label,
    Mem,
    MemPerCpu,
    MemPerGpu,
    Nice,
    NoRequeue,
    Nodes,
    OpenMode,
    Output,
    Parsable,
    Partition,
    Qos,
    Quiet,
    Requeue,
    Signal,
    Tasks,
    TasksPerGpu,
    TasksPerNode,
    TestOnly,
    Time,
    Wait,
    Wrap,
    /// Changes nothing that a job could notice on one machine; the text says why.
    Idle(&'static str),
    /// A wish that is not kept; said as a warning.
    Unkept(&'static str),
    /// Without it the job would be another one; the hint says what to do.
    Refused(&'static str),
}

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Value,
    /// Only as `--name=value`.
    Maybe,
}

pub(super) struct OptionRow {
    pub long: &'static str,
    pub short: Option<char>,
    pub takes: Takes,
    pub meaning: Meaning,
}

const fn row(long: &'static str, short: Option<char>, takes: Takes, meaning: Meaning) -> OptionRow {
    OptionRow { long, short, takes, meaning }
}

const MAIL: Meaning = Meaning::Unkept("no mail is sent; `notify` of a job file runs a command instead");
const ONE_MACHINE: Meaning = Meaning::Unkept("there is one machine, so none is chosen");
const WHOLE_CORES: Meaning = Meaning::Idle("whole cores are granted, near each other");
const NOTHING_TO_LICENSE: Meaning = Meaning::Refused("licences are not counted; leave it out if the job may start without");

/// Names as in sbatch(1) of Slurm 23.11 and the manual of 26.05.
pub(super) const OPTIONS: &[OptionRow] = &[
    row("account", Some('A'), Takes::Value, Meaning::Account),
    row("array", Some('a'), Takes::Value, Meaning::Array),
    row("batch", None, Takes::Value, ONE_MACHINE),
    row("begin", Some('b'), Takes::Value, Meaning::Begin),
    row("chdir", Some('D'), Takes::Value, Meaning::Chdir),
    row("workdir", None, Takes::Value, Meaning::Chdir),
    row("clusters", Some('M'), Takes::Value, Meaning::Unkept("there is one cluster")),
    row("comment", None, Takes::Value, Meaning::Idle("a remark")),
    row(
        "constraint",
        Some('C'),
        Takes::Value,
        Meaning::Unkept("machines have no features by name; name a device model instead, as in --gres=gpu:a100:1"),
    ),
    row("container", None, Takes::Value, Meaning::Refused("images are not run; the job sees the machine's own software")),
    row("contiguous", None, Takes::Nothing, WHOLE_CORES),
    row("core-spec", Some('S'), Takes::Value, WHOLE_CORES),
    row("cores-per-socket", None, Takes::Value, WHOLE_CORES),
    row("cpu-freq", None, Takes::Value, Meaning::Unkept("processor speeds are not set for a job")),
    row("cpus-per-gpu", None, Takes::Value, Meaning::CpusPerGpu),
    row("cpus-per-task", Some('c'), Takes::Value, Meaning::CpusPerTask),
    row("deadline", None, Takes::Value, Meaning::Refused("jobs are not removed by a date; set --time")),
    row("delay-boot", None, Takes::Value, Meaning::Idle("machines are not switched on for jobs")),
    row("dependency", Some('d'), Takes::Value, Meaning::Dependency),
    row("distribution", Some('m'), Takes::Value, ONE_MACHINE),
    row("error", Some('e'), Takes::Value, Meaning::Error),
    row("exclude", Some('x'), Takes::Value, ONE_MACHINE),
    row(
        "exclusive",
        None,
        Takes::Maybe,
        Meaning::Unkept("what the job does not ask for may be given to others; ask for all CPUs to be alone"),
    ),
    row("export", None, Takes::Value, Meaning::Export),
    row("extra-node-info", Some('B'), Takes::Value, WHOLE_CORES),
    row("get-user-env", None, Takes::Maybe, Meaning::Unkept("the variables are those of the submission (--export)")),
    row("gpu-bind", None, Takes::Value, Meaning::Idle("srun gives each task its own devices with --gpus-per-task")),
    row("gpu-freq", None, Takes::Value, Meaning::Unkept("device clocks are not set for a job")),
    row("gpus", Some('G'), Takes::Value, Meaning::Gpus),
    row("gpus-per-node", None, Takes::Value, Meaning::GpusPerNode),
    row("gpus-per-socket", None, Takes::Value, Meaning::Refused("ask for --gpus; those nearest to the job's cores are granted")),
    row("gpus-per-task", None, Takes::Value, Meaning::GpusPerTask),
    row("gres", None, Takes::Value, Meaning::Gres),
    row("gres-flags", None, Takes::Value, Meaning::Idle("devices are granted near the job's cores anyway")),
    row("hint", None, Takes::Value, WHOLE_CORES),
    row(
        "hold",
        Some('H'),
        Takes::Nothing,
        Meaning::Refused("jobs cannot be held back by hand; submit it later, or behind another job with --dependency"),
    ),
    row("input", Some('i'), Takes::Value, Meaning::Input),
    row("job-name", Some('J'), Takes::Value, Meaning::JobName),
    row("kill-on-invalid-dep", None, Takes::Value, Meaning::Idle("a job whose dependency can never be met is cancelled")),
    row("licenses", Some('L'), Takes::Value, NOTHING_TO_LICENSE),
    row("mail-type", None, Takes::Value, MAIL),
    row("mail-user", None, Takes::Value, MAIL),
    row("mem", None, Takes::Value, Meaning::Mem),
    row("mem-bind", None, Takes::Value, Meaning::Idle("memory comes from the nodes of the granted cores")),
    row("mem-per-cpu", None, Takes::Value, Meaning::MemPerCpu),
    row("mem-per-gpu", None, Takes::Value, Meaning::MemPerGpu),
    row("mincpus", None, Takes::Value, WHOLE_CORES),
    row("network", None, Takes::Value, Meaning::Unkept("switch resources are not granted")),
    row("nice", None, Takes::Maybe, Meaning::Nice),
    row("no-kill", Some('k'), Takes::Maybe, Meaning::Idle("there is one machine")),
    row("no-requeue", None, Takes::Nothing, Meaning::NoRequeue),
    row("nodefile", Some('F'), Takes::Value, ONE_MACHINE),
    row("nodelist", Some('w'), Takes::Value, ONE_MACHINE),
    row("nodes", Some('N'), Takes::Value, Meaning::Nodes),
    row("ntasks", Some('n'), Takes::Value, Meaning::Tasks),
    row("ntasks-per-core", None, Takes::Value, WHOLE_CORES),
    row("ntasks-per-gpu", None, Takes::Value, Meaning::TasksPerGpu),
    row("ntasks-per-node", None, Takes::Value, Meaning::TasksPerNode),
    row("ntasks-per-socket", None, Takes::Value, WHOLE_CORES),
    row("open-mode", None, Takes::Value, Meaning::OpenMode),
    row("output", Some('o'), Takes::Value, Meaning::Output),
    row("overcommit", Some('O'), Takes::Nothing, Meaning::Unkept("a CPU is granted once")),
    row("oversubscribe", Some('s'), Takes::Nothing, Meaning::Unkept("a CPU is granted once")),
    row("parsable", None, Takes::Nothing, Meaning::Parsable),
    row("partition", Some('p'), Takes::Value, Meaning::Partition),
    row("power", None, Takes::Value, Meaning::Idle("power is not managed for jobs")),
    row("priority", None, Takes::Value, Meaning::Unkept("the scale is another one; use --nice, or `priority` of a job file")),
    row("profile", None, Takes::Value, Meaning::Unkept("no profile is collected; `ashlar show` has peak memory and processor time")),
    row("propagate", None, Takes::Maybe, Meaning::Unkept("limits of the shell are not passed on; the job's are those of its grant")),
    row("qos", Some('q'), Takes::Value, Meaning::Qos),
    row("quiet", Some('Q'), Takes::Nothing, Meaning::Quiet),
    row("reboot", None, Takes::Nothing, Meaning::Refused("a job does not restart the machine")),
    row("requeue", None, Takes::Nothing, Meaning::Requeue),
    row("reservation", None, Takes::Value, Meaning::Refused("there are no reservations by name")),
    row("signal", None, Takes::Value, Meaning::Signal),
    row("sockets-per-node", None, Takes::Value, WHOLE_CORES),
    row("spread-job", None, Takes::Nothing, ONE_MACHINE),
    row("switches", None, Takes::Value, ONE_MACHINE),
    row("test-only", None, Takes::Nothing, Meaning::TestOnly),
    row("thread-spec", None, Takes::Value, WHOLE_CORES),
    row("threads-per-core", None, Takes::Value, WHOLE_CORES),
    row("time", Some('t'), Takes::Value, Meaning::Time),
    row(
        "time-min",
        None,
        Takes::Value,
        Meaning::Unkept("the limit is not shortened to start earlier; `expect` of a job file says how long it takes"),
    ),
    row("tmp", None, Takes::Value, Meaning::Unkept("room on the disk is not granted")),
    row("uid", None, Takes::Value, Meaning::Refused("a job is its submitter's; use sudo -u")),
    row("gid", None, Takes::Value, Meaning::Refused("a job has its submitter's groups; use sg")),
    row("use-min-nodes", None, Takes::Nothing, ONE_MACHINE),
    row("verbose", Some('v'), Takes::Nothing, Meaning::Idle("`ashlar why` says more")),
    row("wait", Some('W'), Takes::Nothing, Meaning::Wait),
    row("wait-all-nodes", None, Takes::Value, Meaning::Idle("there is one machine")),
    row("wckey", None, Takes::Value, Meaning::Unkept("use is counted by queue")),
    row("wrap", None, Takes::Value, Meaning::Wrap),
];

/// What `srun` takes beside these, or takes otherwise.
pub(super) const SRUN: &[OptionRow] = &[
    row("cpu-bind", None, Takes::Value, Meaning::Idle("each task has cores of its own")),
    row("accel-bind", None, Takes::Value, Meaning::Idle("devices are granted near the job's cores anyway")),
    row("exact", None, Takes::Nothing, Meaning::Idle("each task has cores of its own")),
    row("overlap", None, Takes::Nothing, Meaning::Idle("steps share what the job holds")),
    row("het-group", None, Takes::Value, Meaning::Refused("a job of several different parts is not run")),
    row("kill-on-bad-exit", Some('K'), Takes::Maybe, Meaning::KillOnBadExit),
    row("label", Some('l'), Takes::Nothing, Meaning::Label),
    row("mpi", None, Takes::Value, Meaning::Unkept("no process manager is offered; start MPI programs with mpirun")),
    row("multi-prog", None, Takes::Nothing, Meaning::Refused("start each program with an srun of its own, and `wait`")),
    row("pty", None, Takes::Maybe, Meaning::Refused("a job has no terminal")),
    row("unbuffered", Some('u'), Takes::Nothing, Meaning::Idle("output is passed on as it comes")),
    row("wait", Some('W'), Takes::Value, Meaning::Idle("the end of the last task is waited for")),
    row("disable-status", Some('X'), Takes::Nothing, Meaning::Idle("no status is shown")),
    row("bcast", None, Takes::Maybe, Meaning::Idle("there is one machine")),
    row("immediate", Some('I'), Takes::Maybe, Meaning::Idle("a step starts at once")),
    row("no-allocate", Some('Z'), Takes::Nothing, Meaning::Refused("a step runs in its job")),
    row("relative", Some('r'), Takes::Value, ONE_MACHINE),
    row("preserve-env", Some('E'), Takes::Nothing, Meaning::Idle("the script's variables are kept")),
];

/// One option as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub meaning: Meaning,
    /// As in messages: `--mem`.
    pub name: String,
    pub value: String,
    pub place: Place,
}

/// The first that has an option says what it is.
pub(super) type Tables = &'static [&'static [OptionRow]];
pub(super) const SBATCH: Tables = &[OPTIONS];
pub(super) const STEP: Tables = &[SRUN, OPTIONS];

fn rows(tables: Tables) -> impl Iterator<Item = &'static OptionRow> {
    tables.iter().copied().flatten()
}

pub(super) type Wrong = (Place, String, FieldError);

/// The options of a script: those of its `#SBATCH` lines before the first command.
pub(super) fn of_script(text: &str) -> (Vec<Given>, Vec<Wrong>) {
    let (mut given, mut wrong) = (vec![], vec![]);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        let Some(rest) = line.strip_prefix("#SBATCH") else {
            if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            break;
        };
        let place = Place { line: index + 1, column: 1, width: line.chars().count().max(1) };
        if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
            let message = format!("{} is no option line", Quoted(line));
            wrong.push((place, String::new(), FieldError::new(message).hint("write a blank after #SBATCH")));
            continue;
        }
        if matches!(rest.trim(), "hetjob" | "packjob") {
            let error = FieldError::new("a job of several different parts is not run").hint("submit its parts as jobs of their own");
            wrong.push((place, rest.trim().into(), error));
            continue;
        }
        match words(without_remark(rest)) {
            Ok(words) => read(&words, place, &mut given, &mut wrong),
            Err(error) => wrong.push((place, String::new(), error)),
        }
    }
    (given, wrong)
}

/// Words as the shell parts them; signs of the shell mean nothing.
fn words(text: &str) -> Result<Vec<String>, FieldError> {
    let (mut words, mut word, mut quote) = (vec![], None::<String>, None);
    let mut signs = text.chars();
    while let Some(c) = signs.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(signs.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        None => Ok(words),
        Some(open) => Err(FieldError::new(format!("a {open} is never closed")).hint("close it")),
    }
}

/// Cuts a remark behind the options: a `#` after a blank, outside quotes.
fn without_remark(text: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => return &text[..at],
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        before = c;
    }
    text
}

/// The options in front of the script's name, and how many words they are.
pub(super) fn of_command_line(words: &[String], tables: Tables) -> (Vec<Given>, Vec<Wrong>, usize) {
    let (mut given, mut wrong) = (vec![], vec![]);
    let place = Place { line: 1, column: 1, width: 1 };
    let used = read_options(words, place, tables, &mut given, &mut wrong);
    (given, wrong, used)
}

fn read(words: &[String], place: Place, given: &mut Vec<Given>, wrong: &mut Vec<Wrong>) {
    let used = read_options(words, place, SBATCH, given, wrong);
    if let Some(stray) = words.get(used) {
        let message = format!("{} is no option", Quoted(stray));
        wrong.push((place, String::new(), FieldError::new(message).hint("options begin with '-'; a remark begins with '#'")));
    }
}

/// Reads up to the first word that is no option.
fn read_options(words: &[String], place: Place, tables: Tables, given: &mut Vec<Given>, wrong: &mut Vec<Wrong>) -> usize {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == "--" {
            return at + 1;
        }
        let next = words.get(at + 1).map(String::as_str);
        let step = match word.strip_prefix("--") {
            Some(long) => long_option(long, next, tables),
            None if word.len() > 1 && word.starts_with('-') => short_options(&word[1..], next, tables),
            None => return at,
        };
        match step {
            Ok((found, more)) => {
                given.extend(found.into_iter().map(|(row, value)| Given {
                    meaning: row.meaning,
                    name: format!("--{}", row.long),
                    value,
                    place,
                }));
                at += 1 + more;
            }
            Err((name, error)) => {
                wrong.push((place, name, error));
                at += 1;
            }
        }
    }
    at
}

type Step = Result<(Vec<(&'static OptionRow, String)>, usize), (String, FieldError)>;

fn long_option(text: &str, next: Option<&str>, tables: Tables) -> Step {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    // As getopt does: the beginning of a name is enough if only one begins so.
    let begins: Vec<_> = rows(tables).filter(|row| row.long.starts_with(name)).collect();
    let row = match (rows(tables).find(|row| row.long == name), &begins[..]) {
        (Some(row), _) => row,
        (None, [only]) if !name.is_empty() => only,
        _ => {
            let error = FieldError::new(format!("{} is no option of Slurm's", Quoted(&format!("--{name}"))));
            let error = match nearest(name, rows(tables).map(|row| row.long)) {
                Some(close) => error.hint(format!("did you mean --{close}?")),
                None => error.hint("leave it out, or write the job as a job file"),
            };
            return Err((format!("--{name}"), error));
        }
    };
    with_value(row, value, next)
}

fn short_options(letters: &str, next: Option<&str>, tables: Tables) -> Step {
    let mut found = vec![];
    for (at, letter) in letters.char_indices() {
        let Some(row) = rows(tables).find(|row| row.short == Some(letter)) else {
            let error = FieldError::new(format!("{} is no option of Slurm's", Quoted(&format!("-{letter}"))));
            return Err((format!("-{letter}"), error.hint("leave it out, or write the job as a job file")));
        };
        if row.takes == Takes::Value {
            let rest = &letters[at + letter.len_utf8()..];
            let (mut last, more) = with_value(row, (!rest.is_empty()).then_some(rest), next)?;
            found.append(&mut last);
            return Ok((found, more));
        }
        found.push((row, String::new()));
    }
    Ok((found, 0))
}

fn with_value(row: &'static OptionRow, value: Option<&str>, next: Option<&str>) -> Step {
    match (row.takes, value, next) {
        (Takes::Nothing, Some(_), _) => Err((format!("--{}", row.long), FieldError::new(format!("--{} takes no value", row.long)))),
        (Takes::Nothing | Takes::Maybe, value, _) => Ok((vec![(row, value.unwrap_or_default().to_owned())], 0)),
        (Takes::Value, Some(value), _) => Ok((vec![(row, value.to_owned())], 0)),
        (Takes::Value, None, Some(next)) => Ok((vec![(row, next.to_owned())], 1)),
        (Takes::Value, None, None) => Err((format!("--{}", row.long), FieldError::new(format!("--{} needs a value", row.long)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        let (given, wrong, used) = of_command_line(&words, SBATCH);
        let mut all: Vec<String> = given.iter().map(|option| format!("{}={}", option.name, option.value)).collect();
        all.extend(wrong.iter().map(|(_, name, error)| format!("{name}! {}", error.message)));
        format!("{} then {used}", all.join(" "))
    }

    #[test]
    fn every_way_to_write_an_option() {
        for (words, expected) in [
            (&["--mem=4G"][..], "--mem=4G then 1"),
            (&["--mem", "4G", "x"], "--mem=4G then 2"),
            (&["-n4"], "--ntasks=4 then 1"),
            (&["-n", "4", "-c", "2"], "--ntasks=4 --cpus-per-task=2 then 4"),
            (&["-QW"], "--quiet= --wait= then 1"),
            (&["-Wn4"], "--wait= --ntasks=4 then 1"),
            (&["--nice"], "--nice= then 1"),
            (&["--nice=5", "--exclusive", "user"], "--nice=5 --exclusive= then 2"),
            (&["--", "-n4"], " then 1"),
            (&["-"], " then 0"),
            (&["--mem="], "--mem= then 1"),
            (&["--mem"], "--mem! --mem needs a value then 1"),
            (&["--hold=1"], "--hold! --hold takes no value then 1"),
            (&["--wra", "true"], "--wrap=true then 2"),
        ] {
            assert_eq!(told(words), expected, "{words:?}");
        }
    }

    #[test]
    fn no_option_is_there_twice() {
        for table in [OPTIONS, SRUN] {
            for (index, row) in table.iter().enumerate() {
                let again = |other: &OptionRow| other.long == row.long || (row.short.is_some() && other.short == row.short);
                assert!(!table[index + 1..].iter().any(again), "{}", row.long);
                let why = match row.meaning {
                    Meaning::Idle(why) | Meaning::Unkept(why) | Meaning::Refused(why) => why,
                    _ => "its own",
                };
                assert!(!why.is_empty() && !why.ends_with('.'), "{}", row.long);
            }
        }
    }

    #[test]
    fn lines_are_parted_as_the_shell_does() {
        for (text, expected) in [
            ("-n 4", &["-n", "4"][..]),
            ("  --a='b c'  \"d\" ", &["--a=b c", "d"]),
            (r#"a\ b 'c\d' "e\\f""#, &["a b", r"c\d", r"e\f"]),
            ("'' x", &["", "x"]),
            ("a|b;c>d", &["a|b;c>d"]),
            ("", &[]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        assert!(words("'open").is_err() && words("\"open").is_err());
        assert_eq!(without_remark("-n 4 # four"), "-n 4 ");
        assert_eq!(without_remark("-J a#b '# c' \"# d\""), "-J a#b '# c' \"# d\"");
    }
}
