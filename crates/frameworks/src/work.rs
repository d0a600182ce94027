//! From a command or a script to an argument vector.

use crate::LaunchError;
use crate::variables::check_string;
use spec::Work;

/// Interpreters that take a program's text as an argument, by the first letters of their file name, with the
/// option for it and whether the argument after the text becomes `$0`.
const INTERPRETERS: &[(&str, &str, bool)] = &[
    ("sh", "-c", true),
    ("bash", "-c", true),
    ("dash", "-c", true),
    ("ash", "-c", true),
    ("ksh", "-c", true),
    ("mksh", "-c", true),
    ("zsh", "-c", true),
    ("python", "-c", false),
    ("pypy", "-c", false),
    ("perl", "-e", false),
    ("ruby", "-e", false),
    ("node", "-e", false),
];

/// The argument vector of every rank. `name` is what a shell calls itself in its error messages.
pub(crate) fn arguments(work: &Work, name: &str) -> Result<Vec<String>, LaunchError> {
    let argv = match work {
        Work::Command(argv) => argv.clone(),
        Work::Script(text) => script(text, name)?,
    };
    if argv.first().is_none_or(|program| program.is_empty()) {
        return Err(LaunchError::EmptyCommand);
    }
    for (index, argument) in argv.iter().enumerate() {
        let what = || match work {
            Work::Command(_) => format!("argument {index} of the command"),
            Work::Script(_) => "the script".into(),
        };
        check_string(what, argument.len())?;
        if argument.contains('\0') {
            return Err(LaunchError::Nul(what()));
        }
    }
    Ok(argv)
}

fn script(text: &str, name: &str) -> Result<Vec<String>, LaunchError> {
    let Some(rest) = text.strip_prefix("#!") else {
        return Ok(["/bin/sh", "-e", "-c", text, name].map(String::from).to_vec());
    };
    let line = rest.lines().next().unwrap_or("").trim();
    // Like the kernel: what follows the interpreter is one argument, blanks included. `env` would look for a
    // program of that whole name, which nobody means: its words are split as `env -S` does.
    let (program, argument) = match line.split_once([' ', '\t']) {
        Some((program, argument)) => (program, argument.trim()),
        None => (line, ""),
    };
    let words: Vec<&str> = match (base_name(program), argument) {
        ("env", _) => argument.strip_prefix("-S").unwrap_or(argument).split_whitespace().collect(),
        (_, "") => vec![program],
        _ => vec![program, argument],
    };
    // Under `env` the first word without `=` is the interpreter, looked up in PATH.
    let interpreter = words.iter().find(|word| !word.contains('=') && !word.starts_with('-')).copied().unwrap_or("");
    let known = INTERPRETERS.iter().find(|(prefix, ..)| is_version_of(base_name(interpreter), prefix));
    let Some((_, option, names_itself)) = known else {
        return Err(LaunchError::Interpreter(interpreter.chars().take(80).collect()));
    };
    let mut argv: Vec<String> = if base_name(program) == "env" { vec![program.into()] } else { vec![] };
    argv.extend(words.iter().map(|word| word.to_string()));
    argv.extend([option.to_string(), text.to_string()]);
    if *names_itself {
        argv.push(name.into());
    }
    Ok(argv)
}

pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `python3.12` is a version of `python`; `pythonic` is not.
fn is_version_of(name: &str, program: &str) -> bool {
    name.strip_prefix(program).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script_of(text: &str) -> Result<Vec<String>, LaunchError> {
        arguments(&Work::Script(text.into()), "job")
    }

    #[test]
    fn a_script_without_a_first_line_runs_in_a_shell_that_stops_at_errors() {
        assert_eq!(script_of("echo hi\n").unwrap(), ["/bin/sh", "-e", "-c", "echo hi\n", "job"]);
    }

    #[test]
    fn the_first_line_names_the_interpreter() {
        for (line, before) in [
            ("#!/bin/bash", &["/bin/bash", "-c"][..]),
            ("#!/bin/bash -eu", &["/bin/bash", "-eu", "-c"]),
            ("#! /bin/zsh  -e ", &["/bin/zsh", "-e", "-c"]),
            ("#!/usr/bin/env python3", &["/usr/bin/env", "python3", "-c"]),
            ("#!/usr/bin/env python3 -u", &["/usr/bin/env", "python3", "-u", "-c"]),
            ("#!/usr/bin/env -S bash -eu -o pipefail", &["/usr/bin/env", "bash", "-eu", "-o", "pipefail", "-c"]),
            ("#!/usr/bin/env -S A=1 python3.12 -X dev", &["/usr/bin/env", "A=1", "python3.12", "-X", "dev", "-c"]),
            ("#!/opt/py/bin/python3.11", &["/opt/py/bin/python3.11", "-c"]),
            ("#!/usr/bin/perl -w", &["/usr/bin/perl", "-w", "-e"]),
        ] {
            let text = format!("{line}\nwork\n");
            let argv = script_of(&text).unwrap();
            assert_eq!(argv[..before.len()], *before, "{line}");
            assert_eq!(argv[before.len()], text);
        }
    }

    #[test]
    fn an_interpreter_that_wants_a_file_is_refused_with_a_way_out() {
        for line in ["#!/usr/bin/make -f", "#!/usr/bin/env -S", "#!", "#!/usr/bin/pythonic", "#!/usr/bin/gawk -f"] {
            let error = script_of(&format!("{line}\nx")).unwrap_err();
            assert!(matches!(error, LaunchError::Interpreter(_)), "{line}: {error}");
            assert!(error.hint().unwrap().contains("file"));
        }
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_with_words() {
        let error = script_of(&"x".repeat(200_000)).unwrap_err();
        assert_eq!(error.to_string(), "the script has 200000 bytes; Linux takes at most 131071 in one argument or variable");
        assert!(script_of(&"x".repeat(131_071)).is_ok());
        let command = |argv: &[&str]| arguments(&Work::Command(argv.iter().map(|a| a.to_string()).collect()), "job");
        assert_eq!(command(&[]), Err(LaunchError::EmptyCommand));
        assert_eq!(command(&["", "x"]), Err(LaunchError::EmptyCommand));
        assert_eq!(command(&["a", "b\0c"]), Err(LaunchError::Nul("argument 1 of the command".into())));
        assert_eq!(command(&["a", ""]).unwrap(), ["a", ""]);
    }
}
