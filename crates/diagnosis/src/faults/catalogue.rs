//! The catalogue: classes of lines, codes and what follows from what, made ready for fast reading.

use super::Level;
use super::codes::{self, Code};
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;

const CLASSES: [&str; 2] = [include_str!("../../data/kernel-classes.toml"), include_str!("../../data/kernel-classes-host.toml")];

/// What can be wrong with a catalogue file of an operator.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("the catalogue does not read: {0}")]
    Toml(#[from] toml::de::Error),
    #[error("class {class}: the pattern does not read: {why}")]
    Pattern { class: String, why: String },
    #[error("class {class}: {why}")]
    Class { class: String, why: String },
    #[error("there is no level {level:?}")]
    Level { level: String },
}

impl CatalogueError {
    pub fn hint(&self) -> Option<String> {
        match self {
            CatalogueError::Level { .. } | CatalogueError::Toml(_) => {
                let names: Vec<&str> = Level::ALL.iter().map(|level| level.name()).collect();
                Some(format!("levels are {}; docs/guides/faults.md shows a file", names.join(", ")))
            }
            CatalogueError::Pattern { .. } => {
                Some("patterns are regular expressions of the crate regex, with named groups such as (?P<pci>..)".into())
            }
            CatalogueError::Class { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    class: Vec<ClassEntry>,
    #[serde(default)]
    cause: Vec<Cause>,
    #[serde(default)]
    cancel: Vec<Cancel>,
    #[serde(default)]
    code: Vec<CodeEntry>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum From {
    #[default]
    Kernel,
    Program,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassEntry {
    id: String,
    title: String,
    level: Level,
    needles: Vec<String>,
    pattern: Vec<String>,
    #[serde(default)]
    from: From,
    #[serde(default)]
    boot: bool,
    many: Option<u64>,
    then: Option<Level>,
    action: String,
    source: String,
}

/// What an operator says of a code of a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeEntry {
    xid: Option<u32>,
    sxid: Option<u32>,
    ascend: Option<String>,
    level: Level,
    action: Option<String>,
    source: Option<String>,
}

/// One kind of line.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub id: String,
    pub title: String,
    pub level: Level,
    needles: Vec<String>,
    pub patterns: Vec<Regex>,
    pub from: From,
    pub boot: bool,
    /// From so many lines on the level is the second.
    pub many: Option<(u64, Level)>,
    pub action: String,
    pub source: String,
}

/// Which incidents lead to which.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cause {
    pub cause: Vec<String>,
    pub effect: Vec<String>,
    /// Seconds.
    pub within: i64,
    pub same: Same,
    #[serde(rename = "source")]
    pub _source: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Same {
    Device,
    Disk,
    Machine,
}

/// A text that takes an incident at the same place back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    pub needle: String,
    #[serde(default)]
    pub starts: String,
    pub of: Vec<String>,
}

/// What a text in a line makes us look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    Class(usize),
    Xid,
    Sxid,
    Cancel(usize),
    /// The kernel starts.
    Boot,
}

/// All classes and codes. Made once; reading needs no further memory for it.
#[derive(Clone, Debug)]
pub struct Catalogue {
    pub(super) classes: Vec<Class>,
    pub(super) causes: Vec<Cause>,
    pub(super) cancels: Vec<Cancel>,
    pub(super) xid: BTreeMap<u32, Code>,
    pub(super) sxid: BTreeMap<u32, Code>,
    pub(super) ascend: BTreeMap<String, Code>,
    pub(super) needles: AhoCorasick,
    /// By needle.
    pub(super) triggers: Vec<Vec<Trigger>>,
}

impl Catalogue {
    /// The catalogue that comes with Ashlar.
    ///
    /// # Errors
    /// Never for the files of a release: a test reads them.
    pub fn built_in() -> Result<Catalogue, CatalogueError> {
        Catalogue::with(None)
    }

    /// The same, with an operator's file on top: its classes replace those of the same id or are added, its codes
    /// change level and action.
    ///
    /// # Errors
    /// What does not read in the operator's file.
    pub fn with(operators: Option<&str>) -> Result<Catalogue, CatalogueError> {
        let mut classes: Vec<Class> = vec![];
        let (mut causes, mut cancels) = (vec![], vec![]);
        let (mut xid, mut sxid, mut ascend) = (codes::xid(), codes::sxid(), codes::ascend());
        for text in CLASSES.into_iter().chain(operators) {
            let file: File = toml::from_str(text)?;
            for entry in file.class {
                let class = class(entry)?;
                match classes.iter_mut().find(|known| known.id == class.id) {
                    Some(known) => *known = class,
                    None => classes.push(class),
                }
            }
            causes.extend(file.cause);
            cancels.extend(file.cancel);
            for entry in file.code {
                let unknown = || CatalogueError::Class { class: "code".into(), why: "name a known xid, sxid or ascend code".into() };
                let code = match (entry.xid, entry.sxid, &entry.ascend) {
                    (Some(number), None, None) => xid.get_mut(&number),
                    (None, Some(number), None) => sxid.get_mut(&number),
                    (None, None, Some(name)) => ascend.get_mut(&name.trim_start_matches("0x").to_ascii_uppercase()),
                    _ => None,
                };
                let code = code.ok_or_else(unknown)?;
                code.opinions.push(codes::Opinion { who: "operator".into(), says: entry.level.name().into() });
                code.level = entry.level;
                code.action = entry.action.unwrap_or_else(|| codes::advice(entry.level).into());
                code.source = entry.source.unwrap_or_else(|| "the operator's catalogue".into());
            }
        }
        let (needles, triggers) = needles(&classes, &cancels)?;
        Ok(Catalogue { classes, causes, cancels, xid, sxid, ascend, needles, triggers })
    }

    /// How many classes and codes there are.
    pub fn size(&self) -> usize {
        self.classes.len() + self.xid.len() + self.sxid.len() + self.ascend.len()
    }

    /// Ids of all classes, in the order of the files.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().map(|class| class.id.as_str())
    }
}

fn class(entry: ClassEntry) -> Result<Class, CatalogueError> {
    let wrong = |why: &str| CatalogueError::Class { class: entry.id.clone(), why: why.into() };
    if entry.needles.is_empty() || entry.needles.iter().any(|needle| needle.trim().len() < 2 || needle.contains('\n')) {
        return Err(wrong("needles are texts of at least two letters, of which one must be in the line"));
    }
    if entry.pattern.is_empty() {
        return Err(wrong("it has no pattern"));
    }
    let mut patterns = vec![];
    for text in &entry.pattern {
        let made = Regex::new(text).map_err(|error| CatalogueError::Pattern { class: entry.id.clone(), why: error.to_string() });
        patterns.push(made?);
    }
    let many = match (entry.many, entry.then) {
        (Some(count), Some(level)) => Some((count, level)),
        (None, None) => None,
        _ => return Err(wrong("`many` and `then` go together")),
    };
    let ClassEntry { id, title, level, needles, from, boot, action, source, .. } = entry;
    Ok(Class { id, title, level, needles, patterns, from, boot, many, action, source })
}

/// One automaton for all texts that a line of interest holds.
fn needles(classes: &[Class], cancels: &[Cancel]) -> Result<(AhoCorasick, Vec<Vec<Trigger>>), CatalogueError> {
    let mut by_text: BTreeMap<&str, Vec<Trigger>> = BTreeMap::new();
    for (at, class) in classes.iter().enumerate() {
        for needle in &class.needles {
            by_text.entry(needle).or_default().push(Trigger::Class(at));
        }
    }
    for (at, cancel) in cancels.iter().enumerate() {
        let text = if cancel.starts.is_empty() { &cancel.needle } else { &cancel.starts };
        by_text.entry(text).or_default().push(Trigger::Cancel(at));
    }
    by_text.entry("Xid (").or_default().push(Trigger::Xid);
    by_text.entry("SXid (").or_default().push(Trigger::Sxid);
    by_text.entry("Linux version ").or_default().push(Trigger::Boot);
    let automaton = AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(by_text.keys());
    let wrong = |error: aho_corasick::BuildError| CatalogueError::Class { class: "all".into(), why: error.to_string() };
    Ok((automaton.map_err(wrong)?, by_text.into_values().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_of_the_release_reads() {
        let catalogue = Catalogue::built_in().unwrap();
        assert!(catalogue.size() > 1_400, "{}", catalogue.size());
        let known: Vec<&str> = catalogue.ids().collect();
        let exists = |kind: &String| {
            kind.strip_prefix("nvidia.xid.")
                .map_or(known.contains(&kind.as_str()), |code| catalogue.xid.contains_key(&code.parse().unwrap()))
        };
        for cause in &catalogue.causes {
            let missing: Vec<&String> = cause.cause.iter().chain(&cause.effect).filter(|kind| !exists(kind)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
        for cancel in &catalogue.cancels {
            assert!(cancel.of.iter().all(exists), "{cancel:?}");
        }
    }

    #[test]
    fn an_operator_changes_levels_and_adds_classes() {
        let text = "[[code]]\nxid = 63\nlevel = \"device-reset\"\n\n[[class]]\nid = \"site.fan\"\ntitle = \"a fan stopped\"\nlevel = \"degraded\"\n\
                    needles = [\"fan failed\"]\npattern = ['fan failed']\naction = \"look\"\nsource = \"site\"\n";
        let catalogue = Catalogue::with(Some(text)).unwrap();
        assert_eq!(catalogue.xid[&63].level, Level::DeviceReset);
        assert_eq!(catalogue.xid[&63].opinions.last().unwrap().who, "operator");
        assert!(catalogue.ids().any(|id| id == "site.fan"));
    }

    #[test]
    fn what_is_wrong_in_an_operators_file_is_told() {
        let class = |rest: &str| format!("[[class]]\nid = \"a\"\ntitle = \"t\"\naction = \"a\"\nsource = \"s\"\n{rest}");
        let cases = [
            ("[[code]]\nxid = 63\nlevel = \"bad\"\n".to_owned(), "unknown variant"),
            ("[[code]]\nxid = 99999\nlevel = \"info\"\n".to_owned(), "known xid"),
            ("[[oops]]\n".to_owned(), "unknown field"),
            (class("level = \"info\"\nneedles = []\npattern = ['x']\n"), "needles"),
            (class("level = \"info\"\nneedles = [\"ab\"]\npattern = ['(']\n"), "pattern"),
            (class("level = \"info\"\nneedles = [\"ab\"]\npattern = ['x']\nmany = 3\n"), "go together"),
        ];
        for (text, said) in cases {
            let error = Catalogue::with(Some(&text)).unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
    }
}
