//! A command line in one text, split into its words.

use crate::field_error::FieldError;

/// Splits a text as a POSIX shell splits a simple command (quotes and backslashes, see "Token Recognition" in
/// the Shell Command Language of POSIX.1-2024), but expands nothing. What a shell would act on and we would
/// pass on unchanged is an error: a pipe that silently becomes an argument helps nobody.
pub fn split_command(text: &str) -> Result<Vec<String>, FieldError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => quoted(&mut chars, word.get_or_insert_default())?,
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err(FieldError::new("the command ends with a backslash").hint("write \\\\ for a backslash")),
            },
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' => return Err(needs_shell(c)),
            '#' | '~' if word.is_none() => return Err(needs_shell(c)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let first = words.first().ok_or_else(|| FieldError::new("the command is empty").hint("write it such as: python train.py"))?;
    if let Some((name, _)) = first.split_once('=').filter(|(name, _)| is_variable(name)) {
        return Err(FieldError::new(format!("the command begins with the variable {name}, which only a shell would set"))
            .hint(format!("put {name} under env:")));
    }
    Ok(words)
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn needs_shell(c: char) -> FieldError {
    let hint = match c {
        '$' => "use script: for variables, or quote it with '...' to pass it on as it is",
        _ => "use script: for shell text, or quote it to pass it on as it is",
    };
    FieldError::new(format!("the command has a '{c}', which needs a shell")).hint(hint)
}

fn quoted(chars: &mut impl Iterator<Item = char>, word: &mut String) -> Result<(), FieldError> {
    for c in chars {
        if c == '\'' {
            return Ok(());
        }
        word.push(c);
    }
    Err(FieldError::new("the command has a ' that is never closed").hint("close it, or write \\' for the sign itself"))
}

fn double_quoted(chars: &mut impl Iterator<Item = char>, word: &mut String) -> Result<(), FieldError> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '$' | '`' => return Err(needs_shell(c)),
            '\\' => match chars.next() {
                Some(next @ ('$' | '`' | '"' | '\\')) => word.push(next),
                Some('\n') => {}
                Some(next) => word.extend(['\\', next]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(FieldError::new("the command has a \" that is never closed").hint("close it, or write \\\" for the sign itself"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_as_in_a_shell() {
        for (text, words) in [
            ("python train.py --epochs 3", vec!["python", "train.py", "--epochs", "3"]),
            ("  a\t b\n", vec!["a", "b"]),
            ("a 'b c' \"d e\"", vec!["a", "b c", "d e"]),
            ("a''b \"\" ''", vec!["ab", "", ""]),
            (r"a\ b \$HOME \\", vec!["a b", "$HOME", "\\"]),
            (r#"a "x \" \\ \n""#, vec!["a", r#"x " \ \n"#]),
            ("a '$HOME | > *'", vec!["a", "$HOME | > *"]),
            ("python \\\n  train.py", vec!["python", "train.py"]),
            ("a b#c d~", vec!["a", "b#c", "d~"]),
            ("pip install jax[cpu]>=1".split('>').next().unwrap(), vec!["pip", "install", "jax[cpu]"]),
            ("a --x=1 y=2", vec!["a", "--x=1", "y=2"]),
        ] {
            assert_eq!(split_command(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn what_needs_a_shell_is_an_error() {
        for text in [
            "a | b",
            "a && b",
            "a; b",
            "a > x",
            "a < x",
            "echo $HOME",
            "echo `id`",
            "echo \"$HOME\"",
            "(a)",
            "ls *.py",
            "ls ?",
            "ls ~/x",
            "a # b",
            "a &",
        ] {
            let error = split_command(text).unwrap_err();
            assert!(error.hint.unwrap().starts_with("use script:"), "{text}");
        }
        assert_eq!(split_command("A=1 python x").unwrap_err().hint.unwrap(), "put A under env:");
        for text in ["", "   ", "a 'b", "a \"b", "a \\", "a \"b\\"] {
            assert!(split_command(text).is_err(), "{text:?}");
        }
    }
}
