//! A checker for the part of JSON Schema that the schema of job files uses, patterns left out; enough to show
//! that schema and reader agree. A keyword it does not know is a failure, so that it cannot pass by ignoring.

use serde_json::{Map, Value};

/// Where and why a value does not fit; `None` when it fits.
pub fn misfit(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    for (keyword, rule) in schema.as_object().unwrap() {
        let complaint = match keyword.as_str() {
            "$schema" | "title" | "description" | "examples" | "$defs" | "pattern" => None,
            "$ref" => misfit(root, root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
            "type" => type_misfit(rule, value),
            "enum" => (!rule.as_array().unwrap().contains(value)).then(|| format!("{value} is not one of {rule}")),
            "minimum" => value.as_f64().filter(|n| *n < rule.as_f64().unwrap()).map(|n| format!("{n} is below {rule}")),
            "maximum" => value.as_f64().filter(|n| *n > rule.as_f64().unwrap()).map(|n| format!("{n} is above {rule}")),
            "items" => value.as_array().and_then(|items| items.iter().find_map(|item| misfit(root, rule, item))),
            "required" => value.as_object().and_then(|map| {
                rule.as_array()
                    .unwrap()
                    .iter()
                    .find(|name| !map.contains_key(name.as_str().unwrap()))
                    .map(|name| format!("{name} is missing"))
            }),
            "properties" => value.as_object().and_then(|map| {
                map.iter()
                    .find_map(|(name, value)| rule.get(name).and_then(|rule| misfit(root, rule, value).map(|why| format!("{name}: {why}"))))
            }),
            "additionalProperties" => value.as_object().and_then(|map| additional(root, schema, rule, map)),
            "anyOf" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|one| misfit(root, one, value).is_some())
                .then(|| format!("{value} fits none of {rule}")),
            "oneOf" => {
                let fitting = rule.as_array().unwrap().iter().filter(|one| misfit(root, one, value).is_none()).count();
                (fitting != 1).then(|| format!("the value fits {fitting} of {rule}"))
            }
            unknown => panic!("the checker does not know {unknown}"),
        };
        if complaint.is_some() {
            return complaint;
        }
    }
    None
}

fn additional(root: &Value, schema: &Value, rule: &Value, map: &Map<String, Value>) -> Option<String> {
    let known = |name: &str| schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
    map.iter().filter(|(name, _)| !known(name)).find_map(|(name, value)| match rule {
        Value::Bool(false) => Some(format!("{name} is not known")),
        rule => misfit(root, rule, value),
    })
}

fn type_misfit(rule: &Value, value: &Value) -> Option<String> {
    let is = |name: &Value| match name.as_str().unwrap() {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the checker does not know the type {other}"),
    };
    let fits = match rule {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    };
    (!fits).then(|| format!("{value} is not of type {rule}"))
}
