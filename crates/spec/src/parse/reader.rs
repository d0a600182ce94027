//! Reads a located tree by a table of fields, and keeps every complaint with its place.

use crate::field_error::{FieldError, Quoted, either, nearest};
use crate::grammar::bounded;
use crate::parse::node::{Kind, MANY_LINES, Node, Value};
use crate::parse::table::{About, Field, Shape};
use crate::problem::{Place, Problems};
use crate::rules::Violation;
use crate::words::Word;
use std::collections::{BTreeMap, BTreeSet};

/// What a reader of fields has at hand.
pub(crate) struct Reader<'a> {
    /// Absolute folder that relative paths resolve against.
    pub workdir: &'a str,
    /// Gives the text of a file named in this one.
    pub file: &'a dyn Fn(&str) -> Result<String, String>,
    found: Vec<(Place, String, FieldError)>,
    path: String,
    /// Where each field that was read stands, for rules that look at the whole.
    places: BTreeMap<String, Place>,
    /// Fields that an unknown one most likely was meant for; they are not missing.
    meant: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub fn new(workdir: &'a str, file: &'a dyn Fn(&str) -> Result<String, String>) -> Reader<'a> {
        Reader { workdir, file, found: Vec::new(), path: String::new(), places: BTreeMap::new(), meant: BTreeSet::new() }
    }

    /// The problems of the text that was read; `None` when there are none.
    pub fn finish(self, file: &str, text: &str) -> Option<Problems> {
        (!self.found.is_empty()).then(|| Problems::new(file, text, self.found))
    }

    pub fn found_nothing(&self) -> bool {
        self.found.is_empty()
    }

    pub fn wrong(&mut self, place: Place, error: FieldError) {
        self.found.push((place, self.path.clone(), error));
    }

    /// Adds what a rule found, unless the field is already known to be wrong: one slip, one complaint.
    pub fn violation(&mut self, violation: Violation) {
        let Violation { path, error } = violation;
        let covers =
            |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if self.found.iter().any(|(_, known, _)| !known.is_empty() && (covers(known, &path) || covers(&path, known))) {
            return;
        }
        let mut at = path.as_str();
        let place = loop {
            if let Some(place) = self.places.get(at) {
                break *place;
            }
            match at.rfind(['.', '[']) {
                Some(end) => at = &at[..end],
                None => break Place { line: 1, column: 1, width: 1 },
            }
        };
        self.found.push((place, path, error));
    }

    /// Whether something is already known to be wrong with one of these fields, or with its name.
    pub fn complained_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.meant.contains(*name) || self.found.iter().any(|(_, path, _)| path == name))
    }

    /// Whether the file has the field.
    pub fn has_read(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Does something below a field: `name` is `.attempts` or `[2]`.
    fn below<T>(&mut self, name: &str, place: Place, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        let name = if length == 0 { name.trim_start_matches('.') } else { name };
        self.path.push_str(name);
        self.places.insert(self.path.clone(), place);
        let result = work(self);
        self.path.truncate(length);
        result
    }

    /// The value of a text, or a complaint at its place.
    pub fn read<T>(&mut self, node: &Node, read: impl FnOnce(&str) -> Result<T, FieldError>) -> Option<T> {
        match read(node.text()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(node.place, error);
                None
            }
        }
    }

    pub fn word<T: Word>(&mut self, node: &Node) -> Option<T> {
        self.read(node, T::read)
    }

    /// A number that has passed [`Reader::fits`].
    pub fn integer<N: TryFrom<i128>>(&mut self, node: &Node) -> Option<N> {
        let value: i128 = node.text().parse().ok()?;
        N::try_from(value).ok()
    }

    /// Each item of a list, or the one value that stands for a list of one, with the items' shape checked.
    pub fn items(&mut self, node: &Node, shape: &Shape, mut each: impl FnMut(&mut Self, &Node)) {
        let single = std::slice::from_ref(node);
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => single,
        };
        for (index, item) in items.iter().enumerate() {
            self.below(&format!("[{index}]"), item.place, |reader| {
                if reader.fits(item, shape, "the item") {
                    each(reader, item);
                }
            });
        }
    }

    /// Each name and scalar of a mapping whose names the person chose.
    pub fn variables(&mut self, node: &Node, mut each: impl FnMut(&mut Self, &str, &Node)) {
        let Value::Map(pairs) = &node.value else { return };
        let mut seen = BTreeMap::new();
        for (key, value) in pairs {
            if !self.is_name(key) || self.is_repeated(key, &mut seen) {
                continue;
            }
            self.below(&format!(".{}", key.text()), key.place, |reader| match value.kind() {
                Kind::Nothing => {
                    let error = FieldError::new(format!("{} has no value", Quoted(key.text())))
                        .hint(format!("write {}: '' for an empty text", key.text()));
                    reader.wrong(key.place, error);
                }
                Kind::List | Kind::Map => {
                    let error = FieldError::new(format!("{} must be text, not {}", Quoted(key.text()), value.kind().what()));
                    reader.wrong(value.place, error.hint("quote the value"));
                }
                _ => each(reader, key.text(), value),
            });
        }
    }

    /// Reads the fields of a mapping into `target`: unknown, repeated, missing and ill-shaped ones become
    /// problems, the others are handed to the table's readers.
    pub fn mapping<D>(&mut self, node: &Node, table: &'static [Field<D>], target: &mut D) {
        let Value::Map(pairs) = &node.value else { return };
        let mut seen = BTreeMap::new();
        for (key, value) in pairs {
            if !self.is_name(key) {
                continue;
            }
            let Some(field) = table.iter().find(|field| field.about.name == key.text()) else {
                self.unknown(key, &table.iter().map(|field| &field.about).collect::<Vec<_>>());
                continue;
            };
            if self.is_repeated(key, &mut seen) {
                continue;
            }
            // A short value is shown itself; of a long or missing one, its name.
            let short = matches!(value.value, Value::Scalar { .. }) && value.kind() != Kind::Nothing && value.place.width < MANY_LINES;
            let place = if short { value.place } else { key.place };
            self.below(&format!(".{}", field.about.name), place, |reader| {
                let value = Node { place, value: value.value.clone() };
                if reader.fits(&value, &field.about.shape, &format!("'{}'", field.about.name)) {
                    (field.read)(target, reader, &value);
                }
            });
        }
        let is_missing =
            |about: &About| about.required && !seen.contains_key(about.name) && !self.meant.contains(&self.path_of(about.name));
        let missing: Vec<&str> = table.iter().map(|field| &field.about).filter(|about| is_missing(about)).map(|about| about.name).collect();
        if !missing.is_empty() {
            let of = if self.path.is_empty() { "the file".to_string() } else { format!("'{}'", self.path) };
            let error =
                FieldError::new(format!("{of} lacks {}", either(&missing).replace(" or ", " and "))).hint(format!("add '{}:'", missing[0]));
            self.wrong(node.place, error);
        }
    }

    /// The path of a field of the mapping at hand.
    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    fn is_name(&mut self, key: &Node) -> bool {
        let scalar = matches!(key.value, Value::Scalar { .. }) && key.kind() != Kind::Nothing;
        if !scalar {
            let error = FieldError::new(format!("the name of a field must be text, not {}", key.kind().what()));
            self.wrong(key.place, error.hint("write 'name: value'"));
        }
        scalar
    }

    fn is_repeated<'n>(&mut self, key: &'n Node, seen: &mut BTreeMap<&'n str, usize>) -> bool {
        match seen.insert(key.text(), key.place.line) {
            None => false,
            Some(line) => {
                seen.insert(key.text(), line);
                let error = FieldError::new(format!("{} appears twice", Quoted(key.text()))).hint(format!("it is already in line {line}"));
                self.wrong(key.place, error);
                true
            }
        }
    }

    fn unknown(&mut self, key: &Node, table: &[&'static About]) {
        let name = key.text();
        let lower = name.to_lowercase().replace('-', "_");
        let elsewhere = table.iter().find(|about| about.elsewhere.contains(&lower.as_str())).map(|about| about.name);
        let names: Vec<&str> = table.iter().map(|about| about.name).collect();
        let holder = table.iter().map(|about| about.name).find(|field| part_of(field, &lower, table));
        let hint = match holder.or(elsewhere).or_else(|| nearest(name, names.iter().copied())) {
            Some(meant) => {
                self.meant.insert(self.path_of(meant));
                match part_of(meant, &lower, table) {
                    true => format!("{name} is a part of {meant}: write {meant}: {{{lower}: ...}}"),
                    false => format!("did you mean '{meant}'?"),
                }
            }
            None if name == "<<" => "merge keys are not part of YAML 1.2; write the fields out".to_string(),
            None => format!("the fields are {}", names.join(", ")),
        };
        let of = if self.path.is_empty() { String::new() } else { format!(" of '{}'", self.path) };
        self.wrong(key.place, FieldError::new(format!("unknown field {}{of}", Quoted(name))).hint(hint));
    }

    /// Whether a value has the shape; a complaint if not. `what` names it in the complaint.
    pub fn fits(&mut self, node: &Node, shape: &Shape, what: &str) -> bool {
        let error = match misfit(node, shape, what) {
            None => return true,
            Some(error) => error,
        };
        self.wrong(node.place, error);
        false
    }
}

/// What is wrong with the kind of a value, its parts not looked at.
fn misfit(node: &Node, shape: &Shape, what: &str) -> Option<FieldError> {
    let kind = node.kind();
    if kind == Kind::Nothing {
        return Some(FieldError::new(format!("{what} has no value")).hint(format!("write {}, or leave it out", expected(shape))));
    }
    let is_scalar = !matches!(kind, Kind::List | Kind::Map | Kind::Nothing);
    let fits = match shape {
        Shape::Text | Shape::Word(_) => is_scalar,
        Shape::Lines => kind == Kind::Text,
        Shape::Truth => kind == Kind::Truth,
        Shape::Integer(_) => kind == Kind::Integer,
        Shape::Grammar(grammar) if matches!(kind, Kind::Integer | Kind::Decimal) && !grammar.numbers => {
            return Some(bare_number(node.text(), grammar.name));
        }
        Shape::Grammar(_) => is_scalar && kind != Kind::Truth,
        Shape::List(_) => kind == Kind::List,
        Shape::OneOrMany(item) => return if kind == Kind::List { None } else { misfit(node, item, what) },
        Shape::Variables | Shape::Mapping(_) => kind == Kind::Map,
        Shape::Either(shapes) => shapes.iter().any(|shape| misfit(node, shape, what).is_none()),
    };
    if !fits {
        return Some(FieldError::new(format!("{what} must be {}, not {}", expected(shape), kind.what())).hint(fix(node, shape)));
    }
    match shape {
        Shape::Integer(range) => bounded(what, node.text().parse().unwrap_or(i128::MAX), range).err(),
        _ => None,
    }
}

/// A number where a unit is needed. The parser of the grammar says the same, but could not say it of a number
/// that YAML has already turned around (`1_000`, `0x10`).
fn bare_number(text: &str, grammar: &str) -> FieldError {
    match grammar {
        "size" => crate::parse_bytes(text).err(),
        "span" => crate::parse_span(text).err(),
        "array" => {
            let last = text.parse::<u32>().ok().filter(|n| *n > 0).map_or(9, |n| n - 1);
            let hint = format!("write 0-{last} for {} tasks, or '{text}' in quotes for the one index", u64::from(last) + 1);
            Some(FieldError::new(format!("a bare number {} may be a number of tasks or an index", Quoted(text))).hint(hint))
        }
        _ => None,
    }
    .unwrap_or_else(|| {
        FieldError::new(format!("{} is a number, and text is needed", Quoted(text))).hint(format!("write '{text}' in quotes"))
    })
}

/// Whether the field is a mapping with a part of this name.
fn part_of(field: &str, name: &str, table: &[&'static About]) -> bool {
    table.iter().any(|about| match about.shape {
        Shape::Mapping(listing) if about.name == field => listing().iter().any(|part| part.name == name),
        _ => false,
    })
}

fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Text | Shape::Lines => "text".to_string(),
        Shape::Truth => "true or false".to_string(),
        Shape::Integer(_) => "a whole number".to_string(),
        Shape::Word(words) => either(words),
        Shape::Grammar(grammar) => format!("text such as {}", grammar.examples[0]),
        Shape::List(_) => "a list".to_string(),
        Shape::OneOrMany(item) => format!("{} or a list", expected(item)),
        Shape::Variables => "a mapping of names to values".to_string(),
        Shape::Mapping(listing) => {
            let names: Vec<&str> = listing().iter().map(|about| about.name).collect();
            format!("a mapping ({})", names.join(", "))
        }
        Shape::Either(shapes) => shapes.iter().map(expected).collect::<Vec<_>>().join(" or "),
    }
}

fn fix(node: &Node, shape: &Shape) -> String {
    let text = node.text();
    match shape {
        Shape::Mapping(listing) => {
            let fields = listing();
            // `retry: 3` and `isolation: container` leave no doubt about the field they are meant for.
            let fitting = fields.iter().find(|about| match about.shape {
                Shape::Integer(_) => node.kind() == Kind::Integer,
                Shape::Word(words) => words.contains(&text),
                _ => false,
            });
            match (fitting, fields.first()) {
                (Some(about), _) => format!("write {{{}: {text}}}", about.name),
                (None, first) => {
                    format!("write the fields below it, indented, such as '{}: ...'", first.map_or("name", |about| about.name))
                }
            }
        }
        Shape::Either([Shape::Variables, _]) if text.contains('=') => format!("write [{text}], or {{{}}}", text.replacen('=', ": ", 1)),
        Shape::Grammar(grammar) => format!("write text such as {}", either(grammar.examples)),
        Shape::Truth if nearest(text, ["yes", "on", "y"]).is_some() => "write true".to_string(),
        Shape::Truth if nearest(text, ["no", "off", "n"]).is_some() => "write false".to_string(),
        Shape::Integer(_) if node.kind() == Kind::Text && text.parse::<i64>().is_ok() => "write the number without quotes".to_string(),
        Shape::List(_) => "write the items in [ ], or each in a line that begins with '- '".to_string(),
        Shape::Lines if !text.is_empty() => "write it in quotes".to_string(),
        _ => format!("write {}", expected(shape)),
    }
}
