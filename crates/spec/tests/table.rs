//! The table of fields, the schema and the reference page say the same as the reader does.

#![allow(clippy::disallowed_methods, reason = "tests read and write the files that the crate itself never touches")]

use serde_json::{Value, json};
use spec::{ParseContext, job_reference, job_schema, parse_job};
use std::path::Path;

mod conforms;

fn parses(text: &str) -> Result<(), String> {
    let read = |path: &str| Ok(if path.ends_with(".lock") { "a==1 --hash=sha256:00".to_string() } else { "numpy\n".to_string() });
    let context = ParseContext { file: "job.yaml".into(), workdir: "/home/ann".into(), read: &read, default_name: "job".into() };
    parse_job(text, &context).map(drop).map_err(|problems| problems.to_string())
}

/// A job file with one field of this value, in JSON, which is YAML.
fn with(name: &str, value: &Value) -> Value {
    let mut file = if name == "script" { json!({}) } else { json!({"command": ["true"]}) };
    file[name] = value.clone();
    file
}

#[test]
fn every_example_parses_and_fits() {
    let schema = job_schema();
    let mut count = 0;
    for (name, property) in schema["properties"].as_object().unwrap() {
        let examples = property["examples"].as_array().unwrap();
        assert!(!examples.is_empty() && !property["description"].as_str().unwrap().is_empty(), "{name} has an example and a description");
        for example in examples {
            let file = with(name, example);
            parses(&file.to_string()).unwrap_or_else(|problems| panic!("{name}\n{problems}"));
            assert_eq!(conforms::misfit(&schema, &schema, &file), None, "{file}");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn examples_of_parts_parse_in_their_place() {
    let schema = job_schema();
    for (name, needed) in [
        ("retry", json!({"attempts": 2})),
        ("checkpoint", json!({})),
        ("isolation", json!({})),
        ("environment", json!({})),
        ("notify", json!({"on": ["failed"], "command": "x"})),
    ] {
        for (part, property) in schema["properties"][name]["properties"].as_object().unwrap() {
            for example in property["examples"].as_array().unwrap() {
                let mut value = needed.clone();
                value[part] = example.clone();
                if part == "build" {
                    // Of something.
                    value["framework"] = json!("torch");
                }
                let file = with(name, &value);
                parses(&file.to_string()).unwrap_or_else(|problems| panic!("{problems}"));
                assert_eq!(conforms::misfit(&schema, &schema, &file), None, "{file}");
            }
        }
    }
}

/// What the schema refuses, the reader refuses: values of every kind, in every field.
#[test]
fn reader_and_schema_agree_on_kinds() {
    let schema = job_schema();
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(100_000_000),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"x": {}}),
        json!([null]),
    ];
    for name in schema["properties"].as_object().unwrap().keys() {
        for value in &values {
            let file = with(name, value);
            let misfit = conforms::misfit(&schema, &schema, &file);
            if let Some(misfit) = misfit {
                assert!(parses(&file.to_string()).is_err(), "the schema refuses {file}: {misfit}");
            }
        }
    }
    for text in [json!({"command": "x", "unknown": 1}), json!({"command": "x", "script": "y"}), json!({}), json!([])] {
        assert!(conforms::misfit(&schema, &schema, &text).is_some(), "{text}");
        assert!(parses(&text.to_string()).is_err(), "{text}");
    }
}

#[test]
fn the_schema_is_as_it_was() {
    insta::assert_json_snapshot!("schema", job_schema());
}

#[test]
fn the_reference_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/job-file.md");
    let page = job_reference();
    if std::env::var_os("ASHLAR_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/reference/job-file.md is out of date; run ASHLAR_UPDATE_DOCS=1 cargo test -p spec");
}

/// The example at the top of the page is not in the table.
#[test]
fn the_first_example_of_the_page_parses() {
    let page = job_reference();
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    parses(example).unwrap_or_else(|problems| panic!("{problems}"));
}
