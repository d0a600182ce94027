//! hwloc's two output formats, read into one line an object.

use machine::CpuSet;
use std::collections::BTreeMap;

/// `0x000000ff` and `0x11,11111111`: groups of 32 bits, the first of which may be short.
pub fn hex_set(text: &str) -> CpuSet {
    let mut set = CpuSet::new();
    for (group, digits) in text.split(',').rev().enumerate() {
        let bits = u64::from_str_radix(digits.trim().trim_start_matches("0x"), 16).unwrap_or(0);
        (0..64).filter(|bit| bits >> bit & 1 == 1).for_each(|bit| set.insert(group as u32 * 32 + bit));
    }
    set
}

/// An object of either side, before it is a line.
#[derive(Default)]
pub struct Line {
    pub depth: usize,
    pub kind: String,
    pub subtype: String,
    pub name: String,
    pub attributes: BTreeMap<String, String>,
}

/// Facts that are compared elsewhere, or are sums of others.
const SKIPPED: [&str; 19] = [
    "total",
    "cpukind",
    "Backend",
    "HardwareSerial",
    "gp_index",
    "id",
    "allowed_cpuset",
    "allowed_nodeset",
    "bridge_type",
    "osdev_type",
    "type",
    "cache_type",
    // Why a group was made.
    "kind",
    "subkind",
    // Serial numbers of the board are not read.
    "DMIProductSerial",
    "DMIProductUUID",
    "DMIBoardSerial",
    "DMIChassisSerial",
    "AssetTag",
];

impl Line {
    pub fn text(&self) -> String {
        let attributes =
            self.attributes.iter().filter(|(key, _)| !(SKIPPED.contains(&key.as_str()) || self.kind == "Misc" && *key == "SerialNumber"));
        let attributes: Vec<String> = attributes.map(|(key, value)| format!("{key}={value}")).collect();
        let subtype = if self.subtype.is_empty() { String::new() } else { format!("({})", self.subtype) };
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        format!("{}{}{subtype}{name} {}", "  ".repeat(self.depth), self.kind, attributes.join(" ")).trim_end().to_owned()
    }
}

/// Lines in order; devices of the operating system of one parent by name, since hwloc takes them as folders list them.
pub fn in_order(lines: Vec<Line>) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut run: Vec<(usize, String)> = Vec::new();
    for line in lines {
        let device = line.kind.starts_with("OSDev") || line.kind == "Misc";
        if run.first().is_some_and(|(depth, _)| !device || *depth != line.depth) {
            run.sort();
            texts.extend(run.drain(..).map(|(_, text)| text));
        }
        if device { run.push((line.depth, line.text())) } else { texts.push(line.text()) }
    }
    run.sort();
    texts.extend(run.into_iter().map(|(_, text)| text));
    texts
}

/// `key=value key="a value"` and `P#3`.
fn attributes(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(number) = rest.strip_prefix("P#") {
            let end = number.find(' ').unwrap_or(number.len());
            found.insert("os_index".to_owned(), number[..end].to_owned());
            rest = number[end..].trim_start();
            continue;
        }
        let Some((key, tail)) = rest.split_once('=') else { break };
        let (value, tail) = match tail.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => tail.split_at(tail.find(' ').unwrap_or(tail.len())),
        };
        // The class is named in parentheses after its number.
        let kib = value.strip_suffix("KB").filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
        let older = kib.map(|number| format!("{number}KiB"));
        let value = older.as_deref().unwrap_or(value);
        let value = if key == "class" { value.split('(').next().unwrap_or(value) } else { value };
        found.insert(key.to_owned(), value.to_owned());
        rest = tail.trim_start();
    }
    found
}

/// The tree of `lstopo -v` in its console format, then its matrices and memory attributes.
pub fn console(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut node_of: BTreeMap<String, String> = BTreeMap::new();
    let mut rest = text.lines().peekable();
    while let Some(line) = rest.next_if(|line| !line.starts_with("depth 0:")) {
        let body = line.trim_start();
        let depth = (line.len() - body.len()) / 2;
        let head_end = body.find([' ', '(', '[']).unwrap_or(body.len());
        let mut kind = body[..head_end].to_owned();
        let mut tail = &body[head_end..];
        if let Some(types) = tail.strip_prefix('[') {
            let (types, after) = types.split_once(']').unwrap_or((types, ""));
            (kind, tail) = (format!("{kind}[{types}]"), after);
        }
        let mut subtype = String::new();
        if let Some(inner) = tail.strip_prefix('(') {
            let (inner, after) = inner.split_once(')').unwrap_or((inner, ""));
            (subtype, tail) = (inner.to_owned(), after);
        }
        let kind = if kind.starts_with("Group") { "Group".to_owned() } else { kind };
        let tail = tail.trim_start();
        let (logical, tail) = tail.split_at(tail.find(' ').filter(|_| tail.starts_with("L#")).unwrap_or(0));
        // The name comes last and in quotes, after the closing parenthesis.
        let (inside, name) = match tail.rfind(") \"") {
            Some(at) => (&tail[..=at], tail[at + 2..].trim_matches('"')),
            None if tail.trim_start().starts_with('"') => ("", tail.trim().trim_matches('"')),
            None => (tail, ""),
        };
        let inside = inside.trim().strip_prefix('(').and_then(|inside| inside.strip_suffix(')')).unwrap_or("");
        let attributes = attributes(inside);
        if kind == "NUMANode" {
            node_of.insert(logical.trim_start_matches("L#").to_owned(), attributes.get("os_index").cloned().unwrap_or_default());
        }
        lines.push(Line { depth, kind, subtype, name: name.to_owned(), attributes });
    }
    let mut texts = in_order(lines);
    texts.extend(console_figures(rest, &node_of));
    texts
}

fn console_figures<'t>(lines: impl Iterator<Item = &'t str>, node_of: &BTreeMap<String, String>) -> Vec<String> {
    let (mut texts, mut columns, mut attribute, mut in_matrix) = (Vec::new(), Vec::new(), String::new(), false);
    let node = |logical: &str| node_of.get(logical).cloned().unwrap_or_else(|| "?".into());
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with("Relative latency matrix") {
            in_matrix = line.contains("NUMALatency");
        } else if in_matrix && words.first() == Some(&"index") {
            columns = words[1..].iter().map(|word| node(word)).collect();
        } else if in_matrix && line.starts_with(' ') && words.len() == columns.len() + 1 {
            let from = node(words[0]);
            texts.extend(columns.iter().zip(&words[1..]).map(|(to, value)| format!("distance {from} {to} {value}")));
        } else if let Some(rest) = line.strip_prefix("Memory attribute ") {
            in_matrix = false;
            attribute = rest.split(['`', '\'']).nth(1).unwrap_or_default().to_owned();
        } else if let (Some(rest), false) = (line.strip_prefix("  NUMANode L#"), attribute.is_empty()) {
            let (logical, rest) = rest.split_once(" = ").unwrap_or((rest, ""));
            let (value, rest) = rest.split_once(" from cpuset ").unwrap_or((rest, ""));
            let cpus = hex_set(rest.split(' ').next().unwrap_or_default());
            texts.push(format!("{attribute} of {} from {cpus}: {value}", node(logical)));
        } else if !line.starts_with(' ') {
            (in_matrix, attribute) = (false, String::new());
        }
    }
    texts.sort();
    texts
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

fn xml_attributes(line: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("=\"") {
        let key = before.rsplit(' ').next().unwrap_or_default();
        let (value, tail) = after.split_once('"').unwrap_or((after, ""));
        found.insert(key.to_owned(), unescape(value));
        rest = tail;
    }
    found
}

/// hwloc's XML, which has one element a line.
pub fn xml(text: &str) -> Vec<String> {
    let mut lines: Vec<Line> = Vec::new();
    let (mut depth, mut figures) = (0usize, Vec::new());
    let (mut columns, mut values): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut attribute, mut in_objects, mut matrix) = (String::new(), true, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("<object ") {
            let mut attributes = xml_attributes(line);
            let mut take = |key: &str| attributes.remove(key).unwrap_or_default();
            let (kind, subtype, name) = (take("type"), take("subtype"), take("name"));
            for set in ["cpuset", "complete_cpuset", "nodeset", "complete_nodeset"] {
                if let Some(value) = attributes.get_mut(set) {
                    *value = hex_set(value).to_string();
                }
            }
            let depth_here = depth;
            depth += usize::from(!line.ends_with("/>"));
            if kind == "Bridge" || kind == "OSDev" {
                attributes.remove("depth");
            }
            let types = attributes.get("osdev_type").cloned().unwrap_or_default();
            let kind = if kind == "OSDev" { format!("OSDev[{types}]") } else { kind };
            lines.push(Line { depth: depth_here, kind, subtype, name, attributes });
        } else if line == "</object>" {
            depth -= 1;
            in_objects = depth > 0;
        } else if line.starts_with("<info ") && in_objects {
            let mut info = xml_attributes(line);
            let (name, value) = (info.remove("name").unwrap_or_default(), info.remove("value").unwrap_or_default());
            if let Some(last) = lines.last_mut() {
                last.attributes.insert(name, value);
            }
        } else if line.starts_with("<distances2 ") {
            matrix = line.contains("NUMALatency");
            (columns, values) = (Vec::new(), Vec::new());
        } else if let Some(list) = element(line, "indexes").filter(|_| matrix) {
            columns.extend(list.split_whitespace().map(str::to_owned));
        } else if let Some(list) = element(line, "u64values").filter(|_| matrix) {
            values.extend(list.split_whitespace().map(str::to_owned));
        } else if line == "</distances2>" && matrix {
            let pairs = columns.iter().flat_map(|from| columns.iter().map(move |to| (from, to)));
            figures.extend(pairs.zip(&values).map(|((from, to), value)| format!("distance {from} {to} {value}")));
        } else if line.starts_with("<memattr ") {
            attribute = xml_attributes(line).remove("name").unwrap_or_default();
        } else if line.starts_with("<memattr_value ") {
            let value = xml_attributes(line);
            let get = |key: &str| value.get(key).cloned().unwrap_or_default();
            let cpus = hex_set(&get("initiator_cpuset"));
            figures.push(format!("{attribute} of {} from {cpus}: {}", get("target_obj_gp_index"), get("value")));
        }
    }
    figures.sort();
    let mut texts = in_order(lines);
    texts.extend(figures);
    texts
}

fn element<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    let rest = line.strip_prefix('<')?.strip_prefix(name)?;
    Some(rest.split_once('>')?.1.split_once('<')?.0)
}
