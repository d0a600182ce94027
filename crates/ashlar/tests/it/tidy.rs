//! Tidiness as a test: sizes that may only shrink, words that must not stay.

use std::path::{Path, PathBuf};

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub struct SourceFile {
    /// Relative to the workspace.
    pub name: String,
    pub text: String,
}

impl SourceFile {
    pub fn is_test(&self) -> bool {
        self.name.contains("/tests/")
            || self.name.ends_with("tests.rs")
            || self.name.contains("/benches/")
            || self.name.contains("/examples/")
    }

    /// Numbered lines of code before the inline test module, without comments.
    pub fn code_lines(&self) -> Vec<(usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]").filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
    }
}

/// All Rust files below a folder of the workspace, in order.
pub fn rust_files(below: &str) -> Vec<SourceFile> {
    let root = workspace();
    let mut folders = vec![root.join(below)];
    let mut files = vec![];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                files.push(SourceFile { text: std::fs::read_to_string(&path).unwrap(), name });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Hard limit of a file's length. The aim is 400.
const LONGEST_FILE: usize = 800;

/// Hard limit of a function's length, and the functions that were longer when the limit came: shorten one, take
/// it off the list; the list never grows.
const LONGEST_FUNCTION: usize = 70;
const LONG_FUNCTIONS: [&str; 0] = [];

#[test]
fn files_are_short_enough_to_read() {
    let long: Vec<String> = rust_files("crates")
        .iter()
        .filter(|file| file.text.lines().count() > LONGEST_FILE)
        .map(|file| format!("{}: {} lines", file.name, file.text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split by subject:\n{}", long.join("\n"));
}

#[test]
fn functions_are_short_enough_to_read() {
    let mut long = vec![];
    for file in rust_files("crates").iter().filter(|file| !file.is_test()) {
        for (name, length) in functions(file) {
            let key = format!("{}::{name}", file.name);
            if length > LONGEST_FUNCTION && !LONG_FUNCTIONS.contains(&key.as_str()) {
                long.push(format!("{key}: {length} lines"));
            }
        }
    }
    assert!(long.is_empty(), "longer than {LONGEST_FUNCTION} lines:\n{}", long.join("\n"));
}

/// Functions of a file with their length, by indentation: rustfmt closes a function where it opened it.
fn functions(file: &SourceFile) -> Vec<(String, usize)> {
    let lines = file.code_lines();
    let mut found = vec![];
    for (index, (number, line)) in lines.iter().enumerate() {
        let body = line.trim_start();
        let Some(at) = body.find("fn ") else { continue };
        let before = &body[..at];
        if !before
            .split_whitespace()
            .all(|word| word.starts_with("pub") || ["const", "async", "unsafe", "in"].contains(&word) || word.starts_with("extern"))
        {
            continue;
        }
        let name: String = body[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let closing = format!("{}}}", &line[..line.len() - body.len()]);
        if let Some((end, _)) = lines[index..].iter().find(|(_, line)| **line == closing) {
            found.push((name, end - number + 1));
        }
    }
    found
}

#[test]
fn nothing_is_left_for_later() {
    let mut left = vec![];
    for file in rust_files("crates").iter().filter(|file| !file.name.ends_with("it/tidy.rs")) {
        for (index, line) in file.text.lines().enumerate() {
            if ["TODO", "FIXME", "todo!(", "unimplemented!(", "dbg!("].iter().any(|mark| line.contains(mark)) {
                left.push(format!("{}:{}: {}", file.name, index + 1, line.trim()));
            }
        }
    }
    assert!(left.is_empty(), "do it or write an issue:\n{}", left.join("\n"));
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = rust_files("crates")
        .iter()
        .filter(|file| file.name.contains("/src/") && !file.is_test() && !file.text.starts_with("//!"))
        .map(|file| file.name.clone())
        .collect();
    assert!(silent.is_empty(), "begin with a //! comment on the problem the file solves:\n{}", silent.join("\n"));
}

/// Lines of tests for a hundred lines of source, in the crates that decide. Ratchets: raise one when it has become
/// easy to keep, never lower it. The aim is 100.
const TEST_LINES: [(&str, usize); 6] =
    [("machine", 13), ("spec", 30), ("placement", 60), ("frameworks", 75), ("diagnosis", 40), ("cluster", 55)];

#[test]
fn deciding_crates_are_tested_line_for_line() {
    let mut low = vec![];
    for (name, least) in TEST_LINES {
        let (mut source, mut tests) = (0, 0);
        for file in rust_files(&format!("crates/{name}")) {
            let all = file.text.lines().count();
            let code = if file.is_test() { 0 } else { file.text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count() };
            source += code;
            tests += all - code;
        }
        let ratio = 100 * tests / source.max(1);
        println!("{name}: {source} lines of source, {tests} of tests: {ratio}");
        if ratio < least {
            low.push(format!("{name}: {ratio} lines of tests for a hundred of source, the ratchet is at {least}"));
        }
    }
    assert!(low.is_empty(), "{}", low.join("\n"));
}
