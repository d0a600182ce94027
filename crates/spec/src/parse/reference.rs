//! The reference page of job files, made from the table of fields.

use crate::limits;
use crate::parse::job;
use crate::parse::table::{About, Shape};
use crate::{write_bytes, write_span};
use std::fmt::Write;

/// `docs/reference/job-file.md`, whole.
pub fn job_reference() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("## Fields\n\n| field | what it is | default |\n|---|---|---|\n");
    for about in job::listing() {
        let _ = writeln!(page, "| [`{0}`](#{0}) | {1} | {2} |", about.name, cell(about.summary), cell(about.default));
    }
    for about in job::listing() {
        field(&mut page, about);
    }
    page.push_str(NOTATION);
    bounds(&mut page);
    page
}

const INTRODUCTION: &str = "<!-- Made from the table of fields in crates/spec by `ASHLAR_UPDATE_DOCS=1 cargo test -p spec`. -->\n\
# Job files\n\n\
A job file is YAML 1.2 with one job in it: a mapping of the fields below. Only `command` or `script` is needed.\n\
`ashlar submit job.yaml` submits it, `ashlar plan job.yaml` shows what that would lead to, and `ashlar schema`\n\
prints the JSON Schema for editors.\n\n\
```yaml\n\
name: digits\n\
command: python train.py --epochs 20\n\
ranks: 2\n\
cpus: 2\n\
memory: 4GB\n\
environment: {python: 3.12, packages: [jax, scikit-learn]}\n\
launch: jax\n\
limit: 1h\n\
```\n\n\
A field that does not exist, a wrong unit, a field that appears twice or a sum that cannot come out is an error\n\
that names file, line and column and says what to write instead; all errors of a file are told at once.\n\n";

const NOTATION: &str = "\n## Notation\n\n\
**Sizes** have a unit. `KB`, `MB`, `GB` and `TB` are powers of 1000, `KiB`, `MiB`, `GiB` and `TiB` powers of 1024. A number\n\
alone and the letters `K`, `M`, `G` and `T` alone are errors, because tools disagree on what they mean.\n\n\
**Lengths of time** have units, the largest first: `w`, `d`, `h`, `m` (minutes), `s`, `ms`, such as `90s`, `2h30m` or `1.5d`. `HH:MM:SS`,\n\
`D-HH`, `D-HH:MM` and `D-HH:MM:SS` are read as Slurm reads them. `MM:SS` is an error, because it is also read as hours and minutes.\n\n\
**Text** is taken as it is typed: `python: 3.10` is version 3.10, and `yes`, `no`, `on` and `off` are text.\n\n\
**Paths** that are relative are below the folder the job is submitted from; `~` is known to shells only.\n\n";

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn field(page: &mut String, about: &About) {
    let _ = write!(page, "\n### {}\n\n{}\n", about.name, about.summary);
    if !about.detail.is_empty() {
        let _ = write!(page, "\n{}\n", about.detail);
    }
    let _ = write!(page, "\nValue: {}.", value(&about.shape));
    if !about.default.is_empty() {
        let _ = write!(page, " Default: {}.", about.default);
    }
    page.push_str("\n\n```yaml\n");
    page.push_str(&about.examples.join("\n# or\n"));
    page.push('\n');
    page.push_str("```\n");
    if let Some(parts) = parts(&about.shape) {
        page.push_str("\n| part | what it is | value | default | example |\n|---|---|---|---|---|\n");
        for part in parts {
            let default = if part.required { "needed" } else { part.default };
            let example = part.examples.first().copied().unwrap_or("");
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | `{example}` |",
                part.name,
                cell(part.summary),
                cell(&value(&part.shape)),
                cell(default)
            );
        }
    }
}

/// The fields of the mapping in a shape, if there is one.
fn parts(shape: &Shape) -> Option<Vec<&'static About>> {
    match shape {
        Shape::Mapping(listing) => Some(listing()),
        Shape::OneOrMany(item) | Shape::List(item) => parts(item),
        Shape::Either(shapes) => shapes.iter().find_map(parts),
        _ => None,
    }
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".to_string(),
        Shape::Lines => "lines of text".to_string(),
        Shape::Truth => "`true` or `false`".to_string(),
        Shape::Integer(range) => format!("a whole number from {} to {}", range.start(), range.end()),
        Shape::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::Grammar(grammar) => grammar.what.to_string(),
        Shape::List(item) => format!("a list of: {}", value(item)),
        Shape::OneOrMany(item) => format!("{}, or a list", value(item)),
        Shape::Variables => "a mapping of names to values".to_string(),
        Shape::Mapping(_) => "a mapping of the parts below".to_string(),
        Shape::Either(shapes) => shapes.iter().map(value).collect::<Vec<_>>().join("; or "),
    }
}

fn bounds(page: &mut String) {
    page.push_str("## Bounds\n\n| what | bound |\n|---|---|\n");
    let rows = [
        ("characters of a name", limits::NAME_CHARACTERS.to_string()),
        ("devices of a rank", limits::DEVICES.end().to_string()),
        ("CPUs of a rank", limits::CPUS.end().to_string()),
        ("memory of a rank, at least", write_bytes(limits::MEMORY_MIN)),
        ("tasks of an array", limits::ARRAY_TASKS.to_string()),
        ("jobs in `after`", limits::DEPENDENCIES.to_string()),
        ("mounts", limits::MOUNTS.to_string()),
        ("packages", limits::PACKAGES.to_string()),
        ("one argument or variable", format!("{} bytes (the kernel's)", limits::ARGUMENT_BYTES)),
        ("the command", write_bytes(machine::Bytes(limits::COMMAND_BYTES as u64))),
        ("the variables together", write_bytes(machine::Bytes(limits::ENV_BYTES as u64))),
        ("the script", write_bytes(machine::Bytes(limits::SCRIPT_BYTES as u64))),
        ("a requirements or lock file, and the job file", write_bytes(machine::Bytes(limits::FILE_BYTES as u64))),
        ("`limit` and `expect`", format!("1s to {}", write_span(limits::SPAN_MAX))),
        ("`checkpoint.grace`", format!("0s to {}", write_span(limits::GRACE_MAX))),
        ("`retry.backoff`", format!("0s to {}", write_span(limits::BACKOFF_MAX))),
    ];
    for (what, bound) in rows {
        let _ = writeln!(page, "| {what} | {bound} |");
    }
}
