//! The choice among the builds of a framework.

use super::fit::{Fit, Misfit, fit, has, span};
use super::{Build, Evidence, Framework, Hardware, Table, Wanted};
use machine::Vendor;
use pep440_rs::{Version, VersionSpecifiers};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The build that was taken, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Name of the framework in the table.
    pub framework: String,
    pub build: String,
    /// Release lines that the build is published for: `2.1 to 2.5`.
    pub lines: String,
    /// For uv, a package each.
    pub requirements: Vec<String>,
    /// Where the wheels lie, if not on the general index.
    pub index: Option<Index>,
    /// What of the machine speaks for it, in the order in which it was looked at.
    pub because: Vec<String>,
    /// What nobody has confirmed; empty where all of it stands on a published table.
    pub unverified: Vec<String>,
    /// What to know of it.
    pub note: Option<String>,
    /// Builds that would have been preferred.
    pub passed_over: Vec<PassedOver>,
    /// Where the facts were read.
    pub source: String,
    /// A program in Python that fails where the framework does not work.
    pub check: String,
    /// Edition of the table.
    pub edition: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// `pytorch/cu121`.
    pub name: String,
    pub address: String,
}

/// A build that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    pub build: String,
    pub lines: String,
    pub why: String,
    /// What would make it fit, where a person can do that.
    pub change: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoBuild {
    #[error("no framework is called {name:?} in the table of builds")]
    UnknownFramework { name: String, known: Vec<String> },
    #[error("{framework} has no build called {build:?} in the table")]
    UnknownBuild { framework: String, build: String, known: Vec<String> },
    #[error("no build of {framework} that the table knows runs on {on}{}", reasons(.passed_over))]
    NothingFits { framework: String, on: String, passed_over: Vec<PassedOver> },
}

fn reasons(passed_over: &[PassedOver]) -> String {
    let mut text = String::new();
    for passed in passed_over {
        text.push_str(&format!("\n  {}: {}", passed.build, passed.why));
    }
    text
}

impl NoBuild {
    pub fn hint(&self) -> String {
        match self {
            NoBuild::UnknownFramework { known, .. } => {
                format!("there are {}; any other is named under `packages`, as for pip", known.join(", "))
            }
            NoBuild::UnknownBuild { known, .. } => format!("there are {}", known.join(", ")),
            NoBuild::NothingFits { passed_over, .. } => {
                match passed_over.iter().find_map(|passed| Some((&passed.build, passed.change.as_ref()?))) {
                    Some((build, change)) => format!("{build} would need {change}; or `build: cpu` to do without the devices"),
                    None => "name what is needed under `packages` with its index, or `build: cpu` to do without the devices".into(),
                }
            }
        }
    }
}

/// The best build for the hardware: of those that run whole the first in the table, else one that runs in part, else
/// one that nobody has confirmed, which the choice says.
///
/// # Errors
/// A framework or build that the table does not have, or no build that runs, with the reason for each.
pub fn choose(table: &Table, wanted: &Wanted, hardware: &Hardware) -> Result<Choice, NoBuild> {
    let Some(framework) = table.framework(&wanted.framework) else {
        let known = table.frameworks.iter().map(|framework| framework.name.clone()).collect();
        return Err(NoBuild::UnknownFramework { name: wanted.framework.clone(), known });
    };
    let vendor = hardware.cards.first().map(|card| card.vendor);
    let candidates = candidates(framework, wanted, vendor)?;
    let listed = |build: &&Build| build.lines.is_empty() || build.lines.iter().any(|line| has(line, &wanted.versions));
    let unlisted = !wanted.versions.is_empty() && !framework.builds.iter().any(|build| listed(&build));
    let own = Hardware { cards: hardware.cards.iter().filter(|card| Some(card.vendor) == vendor).cloned().collect(), ..hardware.clone() };
    let judged: Vec<(&Build, Result<Fit, Misfit>)> = candidates
        .into_iter()
        .map(|build| {
            let hardware = if build.vendor.is_some() { own.clone() } else { Hardware { cards: vec![], ..own.clone() } };
            (build, fit(build, wanted, &hardware, table, unlisted))
        })
        .collect();
    let grades = judged.iter().enumerate().filter_map(|(place, (_, found))| Some((found.as_ref().ok()?.grade, place)));
    let best = grades.min().map_or(judged.len(), |(_, place)| place);
    let passed_over = judged[..best].iter().map(|(build, found)| passed_over(table, build, found)).collect();
    match judged.into_iter().nth(best) {
        Some((build, Ok(fit))) => Ok(choice(table, framework, build, wanted, fit, passed_over, unlisted)),
        _ => Err(NoBuild::NothingFits { framework: framework.title.clone(), on: on(hardware), passed_over }),
    }
}

/// The builds to look at, in the order of preference.
fn candidates<'a>(framework: &'a Framework, wanted: &Wanted, vendor: Option<Vendor>) -> Result<Vec<&'a Build>, NoBuild> {
    let Some(name) = &wanted.build else {
        return Ok(framework.builds.iter().filter(|build| build.vendor == vendor && !build.asked_only).collect());
    };
    // `cpu` is one word for all processors.
    let named = |build: &&Build| build.name == *name || (name == "cpu" && build.vendor.is_none() && !build.asked_only);
    let found: Vec<&Build> = framework.builds.iter().filter(named).collect();
    if found.is_empty() {
        let known = framework.builds.iter().map(|build| build.name.clone()).collect();
        return Err(NoBuild::UnknownBuild { framework: framework.title.clone(), build: name.clone(), known });
    }
    Ok(found)
}

fn passed_over(table: &Table, build: &Build, found: &Result<Fit, Misfit>) -> PassedOver {
    let (why, change) = match found {
        Err(misfit) => (misfit.why.clone(), misfit.change.clone()),
        Ok(fit) if fit.grade.unverified => (format!("nobody has confirmed {}", fit.unverified.join("; ")), None),
        Ok(_) => {
            let cuda = build.cuda.as_ref().and_then(|cuda| table.cuda.get(cuda));
            let why = "it would run by CUDA's minor version compatibility only: ask for it by name if that is enough";
            (why.to_string(), cuda.map(|cuda| format!("driver {} or newer", cuda.native)))
        }
    };
    PassedOver { build: build.name.clone(), lines: span(&build.lines), why, change }
}

fn choice(
    table: &Table,
    framework: &Framework,
    build: &Build,
    wanted: &Wanted,
    fit: Fit,
    passed_over: Vec<PassedOver>,
    unlisted: bool,
) -> Choice {
    let mut because = fit.because;
    if build.vendor.is_none() {
        because.push(if wanted.build.is_some() { "it is asked for by name".into() } else { "no accelerator is held".into() });
    }
    Choice {
        framework: framework.name.clone(),
        build: build.name.clone(),
        lines: span(&build.lines),
        requirements: requirements(framework, build, wanted, unlisted),
        index: build.index.as_ref().and_then(|name| Some(Index { name: name.clone(), address: table.address(name)? })),
        because,
        unverified: fit.unverified,
        note: build.note.clone(),
        passed_over,
        source: match build.evidence {
            Evidence::Published => build.source.clone(),
            Evidence::Seen => format!("seen: {}", build.source),
            Evidence::Unverified => format!("unverified: {}", build.source),
        },
        check: build.check.clone().unwrap_or_else(|| framework.check.clone()),
        edition: table.edition.clone(),
    }
}

fn requirements(framework: &Framework, build: &Build, wanted: &Wanted, unlisted: bool) -> Vec<String> {
    if !build.requirements.is_empty() {
        return build.requirements.clone();
    }
    let mut parts: Vec<String> = match build.lines.as_slice() {
        [first, .., last] | [first @ last] if !unlisted => vec![format!(">={first}"), format!("<{}", after(last))],
        _ => vec![],
    };
    parts.extend(wanted.versions.iter().map(|specifier| specifier.to_string().replace(' ', "")));
    vec![format!("{}{}", build.package.as_ref().unwrap_or(&framework.package), parts.join(","))]
}

/// The release line behind one.
fn after(line: &Version) -> Version {
    let mut release = line.release().to_vec();
    if let Some(last) = release.last_mut() {
        *last += 1;
    }
    Version::new(release)
}

/// What it does not run on, for people.
fn on(hardware: &Hardware) -> String {
    let mut models: Vec<&str> = hardware.cards.iter().map(|card| card.model.as_str()).collect();
    models.dedup();
    if models.is_empty() { format!("this processor ({})", hardware.software.architecture) } else { models.join(", ") }
}

impl Choice {
    /// What would have to change for a build that comes before this one in the table: the first that a person can do.
    pub fn better(&self) -> Option<(&PassedOver, &str)> {
        self.passed_over.iter().find_map(|passed| Some((passed, passed.change.as_deref()?)))
    }
}

impl Wanted {
    /// Of `torch`, `torch==2.5.1` or `torch>=2.4,<2.6`; what stands behind a plus (`torch==2.5.1+cu121`) names the build.
    ///
    /// # Errors
    /// What is wrong with the versions, for people.
    pub fn parse(text: &str) -> Result<Wanted, String> {
        let text = text.trim();
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build.trim().to_string())),
            None => (text, None),
        };
        if build.as_ref().is_some_and(String::is_empty) {
            return Err("there is nothing behind the +".into());
        }
        let at = text.find(|c: char| "=<>!~ ".contains(c)).unwrap_or(text.len());
        let (name, versions) = text.split_at(at);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(format!("{text:?} names no framework"));
        }
        let versions: VersionSpecifiers =
            versions.trim().parse().map_err(|error| format!("{versions:?} is no range of versions: {error}"))?;
        Ok(Wanted { framework: name.to_string(), versions, build })
    }
}
