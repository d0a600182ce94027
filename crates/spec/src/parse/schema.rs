//! The JSON Schema of job files, for editors and for other programs.

use crate::parse::job;
use crate::parse::node::{Kind, Node, Value as Yaml, load};
use crate::parse::table::{ARRAY, About, CPUS, DEPENDENCY, DEVICES, Grammar, MOUNT, PERCENT, RANKS, SIGNAL, SIZE, SPAN, Shape};
use serde_json::{Map, Value, json};

/// The JSON Schema (draft 2020-12) of a job file, made from the table of fields that the reader goes by. What
/// spans fields (`shm` above `memory`) it cannot say; `ashlar plan` can.
pub fn job_schema() -> Value {
    let mut schema = mapping(&job::listing());
    let grammars = [&SIZE, &SPAN, &CPUS, &RANKS, &DEVICES, &PERCENT, &ARRAY, &DEPENDENCY, &MOUNT, &SIGNAL];
    let definitions: Map<String, Value> = grammars.iter().map(|grammar| (grammar.name.to_string(), definition(grammar))).collect();
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ashlar job file",
        "description": "A job: what to run, what it needs, and what to do when it ends.",
        "oneOf": [{"required": ["command"]}, {"required": ["script"]}],
        "$defs": definitions,
    });
    if let (Value::Object(schema), Value::Object(head)) = (&mut schema, head) {
        schema.extend(head);
    }
    schema
}

fn definition(grammar: &Grammar) -> Value {
    let text = json!({"type": "string", "pattern": grammar.pattern});
    let mut value = if grammar.numbers { json!({"anyOf": [text, {"type": "number", "minimum": 0}]}) } else { text };
    value["description"] = grammar.what.into();
    value["examples"] = grammar.examples.into();
    value
}

fn mapping(fields: &[&'static About]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|about| (about.name.to_string(), property(about))).collect();
    let required: Vec<&str> = fields.iter().filter(|about| about.required).map(|about| about.name).collect();
    let mut value = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        value["required"] = required.into();
    }
    value
}

fn property(about: &About) -> Value {
    let mut value = shape(&about.shape);
    let default = if about.default.is_empty() { String::new() } else { format!(" Default: {}.", about.default) };
    value["description"] = format!("{}{default}", about.summary).into();
    value["examples"] = about.examples.iter().filter_map(|example| example_value(about.name, example)).collect();
    value
}

fn shape(shape: &Shape) -> Value {
    let item = self::shape;
    match shape {
        Shape::Text => json!({"type": ["string", "number", "boolean"]}),
        Shape::Lines => json!({"type": "string"}),
        Shape::Truth => json!({"type": "boolean"}),
        Shape::Integer(range) => json!({"type": "integer", "minimum": range.start(), "maximum": range.end()}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Grammar(grammar) => json!({"$ref": format!("#/$defs/{}", grammar.name)}),
        Shape::List(inner) => json!({"type": "array", "items": item(inner)}),
        Shape::OneOrMany(inner) => json!({"anyOf": [item(inner), {"type": "array", "items": item(inner)}]}),
        Shape::Variables => json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}),
        Shape::Mapping(listing) => mapping(&listing()),
        Shape::Either(shapes) => json!({"anyOf": shapes.iter().map(item).collect::<Vec<_>>()}),
    }
}

/// The value of an example, which is written with its name at the top level and without it further down.
fn example_value(name: &str, example: &str) -> Option<Value> {
    let node = load(example).ok().flatten()?;
    if let Yaml::Map(pairs) = &node.value
        && let Some((_, value)) = pairs.iter().find(|(key, _)| key.text() == name)
    {
        return Some(plain(value));
    }
    Some(plain(&node))
}

/// A YAML value as JSON, by the core schema.
pub(crate) fn plain(node: &Node) -> Value {
    match (&node.value, node.kind()) {
        (Yaml::List(items), _) => items.iter().map(plain).collect(),
        (Yaml::Map(pairs), _) => pairs.iter().map(|(key, value)| (key.text().to_string(), plain(value))).collect::<Map<_, _>>().into(),
        (Yaml::Scalar { .. }, Kind::Nothing) => Value::Null,
        (Yaml::Scalar { text, .. }, Kind::Truth) => text.eq_ignore_ascii_case("true").into(),
        (Yaml::Scalar { text, .. }, Kind::Integer) => text.parse::<i64>().map_or_else(|_| text.as_str().into(), Value::from),
        (Yaml::Scalar { text, .. }, Kind::Decimal) => text.parse::<f64>().map_or_else(|_| text.as_str().into(), Value::from),
        (Yaml::Scalar { text, .. }, _) => text.as_str().into(),
    }
}
