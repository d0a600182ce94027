//! YAML as a tree in which every value knows its place.

use crate::field_error::{FieldError, Quoted};
use crate::limits;
use crate::problem::Place;
use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span};
use std::collections::BTreeMap;

/// A value of the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub value: Value,
    /// A scalar's whole text; the first character of a list or mapping.
    pub place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// `plain` is text without quotes, which may mean a number, a truth value or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// What a value is, by the core schema of YAML 1.2 (section 10.3.2): `yes` and `on` are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nothing,
    Truth,
    Integer,
    Decimal,
    Text,
    List,
    Map,
}

impl Kind {
    pub fn what(self) -> &'static str {
        match self {
            Kind::Nothing => "nothing",
            Kind::Truth => "a truth value",
            Kind::Integer => "a number",
            Kind::Decimal => "a number with decimals",
            Kind::Text => "text",
            Kind::List => "a list",
            Kind::Map => "a mapping",
        }
    }
}

impl Node {
    pub fn kind(&self) -> Kind {
        match &self.value {
            Value::List(_) => Kind::List,
            Value::Map(_) => Kind::Map,
            Value::Scalar { plain: false, .. } => Kind::Text,
            Value::Scalar { text, .. } => match text.as_str() {
                "" | "~" | "null" | "Null" | "NULL" => Kind::Nothing,
                "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Kind::Truth,
                text if is_integer(text) => Kind::Integer,
                text if is_decimal(text) => Kind::Decimal,
                _ => Kind::Text,
            },
        }
    }

    /// The text of a scalar as it was typed (without quotes); empty for lists and mappings.
    pub fn text(&self) -> &str {
        match &self.value {
            Value::Scalar { text, .. } => text,
            _ => "",
        }
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && unsigned.parse::<f64>().is_ok()
}

/// Values in one file, those included that aliases repeat: a few lines of aliases of aliases make billions.
const NODES: usize = 100_000;
/// No field is nested deeper than four; the rest is room for a clear message.
const DEPTH: usize = 32;

/// What the reader of a file goes by: no byte-order mark, and line feeds only.
pub(crate) fn clean(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_string() }
}

/// Width of what does not end in the line it begins in.
pub(crate) const MANY_LINES: usize = usize::MAX / 4;

type Failure = (Place, FieldError);

/// Reads a cleaned text; `None` is a text without a value (empty, or comments only).
pub(crate) fn load(text: &str) -> Result<Option<Node>, Failure> {
    if text.len() > limits::FILE_BYTES {
        let error = FieldError::new(format!("the file has {} bytes, the most is {}", text.len(), limits::FILE_BYTES));
        return Err((Place { line: 1, column: 1, width: 1 }, error));
    }
    refuse_control_characters(text)?;
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH;
    options.block_nesting_limit = DEPTH;
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| explain(&error, text))?;
        builder.event(event, span)?;
    }
    Ok(builder.root)
}

/// The parser takes a zero byte for the end of the text; what follows would be silently left out.
fn refuse_control_characters(text: &str) -> Result<(), Failure> {
    for (index, line) in text.split('\n').enumerate() {
        if let Some((column, c)) = line.chars().enumerate().find(|(_, c)| c.is_control() && *c != '\t') {
            let place = Place { line: index + 1, column: column + 1, width: 1 };
            let error = FieldError::new(format!("the file has the control character {} in it", c.escape_unicode()))
                .hint("remove it; inside \"...\" it can be written as an escape such as \\x1b");
            return Err((place, error));
        }
    }
    Ok(())
}

struct Frame {
    items: Vec<Node>,
    is_map: bool,
    place: Place,
    anchor: usize,
    /// Values in it so far, itself included.
    size: usize,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    /// Finished values with an anchor, and how many values they hold.
    anchors: BTreeMap<usize, (Node, usize)>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Failure> {
        let place = place(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let error =
                        FieldError::new("the file has a second document").hint("write one job per file; submit takes several files");
                    return Err((place, error));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let as_text = tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                if tag.is_some() && !as_text {
                    return Err(tagged(span));
                }
                let plain = style == ScalarStyle::Plain && !as_text;
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let place = if block { Place { width: MANY_LINES, ..place } } else { place };
                self.add(Node { value: Value::Scalar { text: text.into_owned(), plain }, place }, 1, anchor)
            }
            Event::SequenceStart(_, _, Some(_)) | Event::MappingStart(_, _, Some(_)) => Err(tagged(span)),
            Event::SequenceStart(_, anchor, _) => self.open(false, place, anchor),
            Event::MappingStart(_, anchor, _) => self.open(true, place, anchor),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some((node, size)) => self.add(node, size, 0),
                None => Err((place, FieldError::new("the alias stands inside the value it repeats"))),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, is_map: bool, place: Place, anchor: usize) -> Result<(), Failure> {
        if self.stack.len() >= DEPTH {
            return Err((place, too_deep()));
        }
        self.stack.push(Frame { items: Vec::new(), is_map, place, anchor, size: 1 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = if frame.is_map {
            let mut pairs = Vec::with_capacity(frame.items.len() / 2);
            let mut items = frame.items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Value::Map(pairs)
        } else {
            Value::List(frame.items)
        };
        // What is inside has been counted as it came.
        self.place_node(Node { value, place: frame.place }, frame.size, frame.anchor);
        self.count(1, frame.place)
    }

    /// A value that is complete.
    fn add(&mut self, node: Node, size: usize, anchor: usize) -> Result<(), Failure> {
        // A repeated mapping may be as deep as the place it is repeated in.
        if size > 1 && depth(&node) + self.stack.len() > DEPTH {
            return Err((node.place, too_deep()));
        }
        self.count(size, node.place)?;
        self.place_node(node, size, anchor);
        Ok(())
    }

    fn count(&mut self, size: usize, place: Place) -> Result<(), Failure> {
        self.nodes += size;
        if self.nodes <= NODES {
            return Ok(());
        }
        let hint = "aliases count as often as they repeat something";
        Err((place, FieldError::new(format!("the file has more than {NODES} values")).hint(hint)))
    }

    fn place_node(&mut self, node: Node, size: usize, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.stack.last_mut() {
            Some(frame) => {
                frame.items.push(node);
                frame.size += size;
            }
            None => self.root = Some(node),
        }
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(pairs) => 1 + pairs.iter().map(|(key, value)| depth(key).max(depth(value))).max().unwrap_or(0),
    }
}

fn too_deep() -> FieldError {
    FieldError::new(format!("the file is nested more than {DEPTH} deep")).hint("no field of a job is; a bracket may be left open")
}

fn tagged(span: Span) -> Failure {
    let place = place(span.tag_span().unwrap_or(span));
    (
        place,
        FieldError::new("the value has a YAML tag, which has no meaning here")
            .hint("leave the '!...' out; quote a value that shall be text"),
    )
}

fn place(span: Span) -> Place {
    let (start, end) = (span.start, span.end);
    let width = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { MANY_LINES };
    Place { line: start.line().max(1), column: start.col() + 1, width }
}

/// The parser's complaint in the words of somebody who writes a file.
fn explain(error: &ScanError, text: &str) -> Failure {
    let marker = error.marker();
    let place = Place { line: marker.line().max(1), column: marker.col() + 1, width: 1 };
    let line = text.split('\n').nth(place.line - 1).unwrap_or("");
    let indentation = &line[..line.len() - line.trim_start().len()];
    // Some complaints about a tab are made at it, others after it.
    if let Some(tab) = indentation.chars().position(|c| c == '\t') {
        let error = FieldError::new("a tab indents this line").hint("indent with spaces; YAML does not allow tabs there");
        return (Place { column: tab + 1, ..place }, error);
    }
    let (message, hint) = match error.kind() {
        ErrorKind::UnknownAnchor => {
            ("the alias repeats an anchor that is not defined before it".to_string(), Some("quote a text that begins with '*'"))
        }
        ErrorKind::MappingValueNotAllowed => {
            ("there is a ': ' where no field can begin".to_string(), Some("quote a text that has ': ' in it, and check the indentation"))
        }
        ErrorKind::UnclosedQuotedScalar => ("a quote is never closed".to_string(), Some("close it, or write the text without quotes")),
        ErrorKind::UnclosedFlowCollection { open } => (format!("the bracket '{open}' is never closed"), Some("close it")),
        ErrorKind::RecursionLimitExceeded => return (place, too_deep()),
        ErrorKind::UnexpectedCharacter { character } => {
            (format!("no value can begin with {}", Quoted(&character.to_string())), Some("quote the text"))
        }
        ErrorKind::InvalidSimpleKey | ErrorKind::SimpleKeyExpected | ErrorKind::ExpectedBlockMappingKey => (
            "this is not a field: a ':' is missing, or the indentation is wrong".to_string(),
            Some("write 'name: value', indented as the fields beside it"),
        ),
        ErrorKind::InvalidIndentation => {
            ("the indentation is wrong".to_string(), Some("indent the fields of one mapping by the same number of spaces"))
        }
        kind => (format!("this is not YAML: {kind}"), Some("check the quotes, the brackets and the indentation up to here")),
    };
    let error = FieldError::new(message);
    (
        place,
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> String {
        let (place, error) = load(&clean(text)).expect_err(text);
        format!("{}:{} {}", place.line, place.column, error.message)
    }

    fn kind(text: &str) -> Kind {
        load(text).unwrap().unwrap().kind()
    }

    #[test]
    fn values_know_their_place() {
        let root = load("a: 12\nb:\n  - x y\n  - 'q'\n").unwrap().unwrap();
        let Value::Map(pairs) = &root.value else { panic!("{root:?}") };
        assert_eq!(pairs[0].1.place, Place { line: 1, column: 4, width: 2 });
        assert_eq!(pairs[1].0.place, Place { line: 2, column: 1, width: 1 });
        let Value::List(items) = &pairs[1].1.value else { panic!("{root:?}") };
        assert_eq!(items[0].place, Place { line: 3, column: 5, width: 3 });
        assert_eq!(items[1].place, Place { line: 4, column: 5, width: 3 });
    }

    #[test]
    fn kinds_follow_the_core_schema() {
        for (text, expected) in [
            ("~", Kind::Nothing),
            ("true", Kind::Truth),
            ("yes", Kind::Text),
            ("on", Kind::Text),
            ("12", Kind::Integer),
            ("-3", Kind::Integer),
            ("1.5", Kind::Decimal),
            ("1e3", Kind::Decimal),
            (".", Kind::Text),
            ("nan", Kind::Text),
            ("1:30:00", Kind::Text),
            ("'12'", Kind::Text),
            ("!!str 12", Kind::Text),
            ("[a]", Kind::List),
            ("{a: b}", Kind::Map),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
        assert!(load("# nothing\n").unwrap().is_none());
        assert!(load("").unwrap().is_none());
    }

    #[test]
    fn windows_files_read_as_others() {
        let root = load(&clean("\u{feff}a: |\r\n  x\r\n  y\r\n")).unwrap().unwrap();
        let Value::Map(pairs) = &root.value else { panic!("{root:?}") };
        assert_eq!((pairs[0].0.text(), pairs[0].1.text()), ("a", "x\ny\n"));
    }

    #[test]
    fn bombs_do_not_go_off() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(failure(&text).contains("more than 100000 values"));
        assert!(failure(&"[".repeat(10_000)).contains("nested more than 32"));
        assert!(failure(&"- ".repeat(10_000)).contains("nested more than 32"));
        let mut deep = String::from("a0: &a0 [x]\n");
        for level in 1..40 {
            deep.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(failure(&deep).contains("nested more than 32"));
        assert!(failure("a: &a [*a]").contains("inside the value it repeats"));
        assert!(failure(&"x".repeat(limits::FILE_BYTES + 1)).contains("the most is"));
    }

    #[test]
    fn complaints_are_in_plain_words() {
        for (text, complaint) in [
            ("a:\n\t- b", "2:1 a tab indents this line"),
            ("a: b: c", "1:5 there is a ': ' where no field can begin"),
            ("a: 'b", "1:4 a quote is never closed"),
            ("a: [b", "1:4 the bracket '[' is never closed"),
            ("a: *b", "1:4 the alias repeats an anchor that is not defined before it"),
            ("a: 1\n---\nb: 2", "2:1 the file has a second document"),
            ("a: !x b", "1:4 the value has a YAML tag, which has no meaning here"),
            ("a: 1\0b: 2", "1:5 the file has the control character \\u{0} in it"),
            ("a: @b", "1:4 no value can begin with '@'"),
        ] {
            assert_eq!(failure(text), complaint, "{text:?}");
        }
    }
}
