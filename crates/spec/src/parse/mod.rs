//! Files into values: job files and the queue file.

mod devices;
mod job;
mod node;
mod queues;
mod reader;
mod reference;
mod schema;
mod table;

pub use queues::parse_queues;
pub use reference::job_reference;
pub use schema::job_schema;

use crate::JobSpec;
use crate::field_error::{FieldError, Quoted};
use crate::parse::job::{Draft, JOB};
use crate::parse::node::{Kind, Node, Value, clean, load};
use crate::parse::reader::Reader;
use crate::problem::{Place, Problems};
use crate::rules::violations;

/// What a job file is read against. The reader itself touches no file.
pub struct ParseContext<'a> {
    /// Name of the file in messages.
    pub file: String,
    /// Absolute folder that relative paths resolve against.
    pub workdir: String,
    /// Gives the text of a file that the job file names (`requirements`, `lock`), by absolute path; the error
    /// is a short reason such as "no such file".
    pub read: &'a dyn Fn(&str) -> Result<String, String>,
    /// Name of a job that has none of its own.
    pub default_name: String,
}

const START: Place = Place { line: 1, column: 1, width: 1 };

/// Reads a job file. Either the job is whole and keeps every rule, or everything that is wrong is told.
pub fn parse_job(text: &str, context: &ParseContext<'_>) -> Result<JobSpec, Problems> {
    let script = text.starts_with("#!");
    let text = clean(text);
    let mut reader = Reader::new(&context.workdir, context.read);
    let spec = JobSpec::command_job(context.default_name.clone(), Vec::new(), context.workdir.clone());
    let mut draft = Draft { spec, work: None };
    if let Some(root) = root(&text, "a job file", "command: python train.py", script, &mut reader) {
        if script && !knows_any(&root) {
            reader.wrong(START, FieldError::new("this is a script and not a job file").hint(SCRIPT));
        } else {
            reader.mapping(&root, &JOB, &mut draft);
            complete(&mut draft, &root, &mut reader);
        }
    }
    match reader.finish(&context.file, &text) {
        Some(problems) => Err(problems),
        None => Ok(draft.spec),
    }
}

const SCRIPT: &str = "put it below 'script: |', indented, or submit a job file that runs it";

fn knows_any(root: &Node) -> bool {
    let Value::Map(pairs) = &root.value else { return false };
    pairs.iter().any(|(key, _)| JOB.iter().any(|field| field.about.name == key.text()))
}

/// The mapping that a file is, or the problem with it.
fn root(text: &str, what: &str, example: &str, script: bool, reader: &mut Reader<'_>) -> Option<Node> {
    let (place, mut error) = match load(text) {
        Ok(Some(root)) if root.kind() == Kind::Map => return Some(root),
        Ok(None) => (START, FieldError::new("the file is empty").hint(format!("write at least: {example}"))),
        Ok(Some(root)) if root.kind() == Kind::Nothing => {
            (START, FieldError::new("the file is empty").hint(format!("write at least: {example}")))
        }
        Ok(Some(root)) => {
            let error = FieldError::new(format!("{what} is a mapping of fields, and this is {}", root.kind().what()));
            (root.place, error.hint(format!("write fields such as: {example}")))
        }
        Err(failure) => failure,
    };
    if script {
        error = error.hint(SCRIPT);
    }
    reader.wrong(place, error);
    None
}

/// What can only be said of the file as a whole.
fn complete(draft: &mut Draft, root: &Node, reader: &mut Reader<'_>) {
    if draft.work.is_none() && !reader.complained_of(&["command", "script"]) {
        let error = FieldError::new("the job has neither command nor script").hint("add a line such as: command: python train.py");
        reader.wrong(root.place, error);
    }
    for violation in violations(&draft.spec) {
        let nothing_read = draft.work.is_none() && violation.path == "command";
        // The name that the file does not give comes from its own name, which the person may not be able to change.
        let not_theirs = violation.path == "name" && !reader.has_read("name");
        match (nothing_read, not_theirs) {
            (true, _) => {}
            (_, true) => {
                let given = Quoted(&draft.spec.name).to_string();
                reader.wrong(
                    root.place,
                    FieldError::new(format!("{given} cannot be the job's name")).hint("add a line such as: name: my-job"),
                );
            }
            _ => reader.violation(violation),
        }
    }
}
