//! Whether one build runs on one piece of hardware.

use super::table::DriverVersion;
use super::{Build, Card, Evidence, Hardware, Table, Wanted};
use machine::{Release, Vendor};
use pep440_rs::{Version, VersionSpecifiers};
use std::str::FromStr;

/// How good a fit is; less is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grade {
    /// Nobody has confirmed that it runs.
    pub unverified: bool,
    /// It runs, but not all of it: by CUDA's compatibility within a major version.
    pub partly: bool,
}

/// A build that runs.
pub(super) struct Fit {
    pub grade: Grade,
    pub because: Vec<String>,
    pub unverified: Vec<String>,
}

/// Why a build does not run, and what would have to change, where a person can change it.
pub(super) struct Misfit {
    pub why: String,
    pub change: Option<String>,
}

impl Misfit {
    fn fixed(why: String) -> Misfit {
        Misfit { why, change: None }
    }
}

/// One build against one machine; what was found along the way gathers in `fit`.
struct Look<'a> {
    build: &'a Build,
    hardware: &'a Hardware,
    table: &'a Table,
    fit: Fit,
}

/// `unlisted`: the table has no build at all for the versions that are asked for.
pub(super) fn fit(build: &Build, wanted: &Wanted, hardware: &Hardware, table: &Table, unlisted: bool) -> Result<Fit, Misfit> {
    let mut look = Look { build, hardware, table, fit: Fit { grade: Grade::default(), because: vec![], unverified: vec![] } };
    if build.evidence == Evidence::Unverified {
        look.doubt(format!("the build itself ({})", build.source));
    }
    look.processor()?;
    look.system()?;
    look.cards()?;
    look.driver()?;
    look.toolkit()?;
    look.versions(wanted, unlisted)?;
    Ok(look.fit)
}

impl Look<'_> {
    fn doubt(&mut self, what: String) {
        self.fit.grade.unverified = true;
        self.fit.unverified.push(what);
    }

    fn processor(&mut self) -> Result<(), Misfit> {
        let software = &self.hardware.software;
        let architecture = software.architecture.clone();
        if self.build.architectures.is_empty() {
            return Ok(());
        }
        if architecture.is_empty() {
            self.doubt("the processor's architecture, which nothing tells".into());
        } else if !self.build.architectures.contains(&architecture) {
            return Err(Misfit::fixed(format!("it is for {}, this processor is {architecture}", self.build.architectures.join(" and "))));
        }
        let own = if architecture == "x86_64" { self.build.flags_x86_64.as_slice() } else { &[] };
        match self.build.flags.iter().chain(own).find(|flag| !software.has_flag(flag)) {
            Some(flag) if !software.cpu_flags.is_empty() => Err(Misfit::fixed(format!("the processor lacks {flag}"))),
            Some(flag) => {
                self.doubt(format!("whether the processor has {flag}"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn system(&mut self) -> Result<(), Misfit> {
        if let (Some(least), Some(found)) = (&self.build.glibc, &self.hardware.glibc)
            && parse(found).is_some_and(|found| found < *least)
        {
            let change = Some(format!("a distribution with glibc {least} or newer"));
            return Err(Misfit { why: format!("it needs glibc {least}, this machine has {found}"), change });
        }
        if let (Some(range), Some(found)) = (&self.build.python, &self.hardware.python)
            && parse(found).is_some_and(|found| !range.contains(&found))
        {
            let change = Some(format!("`python` in the environment within {range}"));
            return Err(Misfit { why: format!("it is built for Python {range}, this is {found}"), change });
        }
        Ok(())
    }

    fn cards(&mut self) -> Result<(), Misfit> {
        for card in &self.hardware.cards {
            let words = card_words(card);
            match (&self.build.capability, self.build.gfx.as_slice()) {
                (Some([least, most]), _) => {
                    let (low, high) = (sm(least), sm(most));
                    match card.architecture.as_deref().and_then(capability) {
                        None => self.doubt(format!("whether it has code for the {words}, whose compute capability is not known")),
                        Some(own) if own < *least || own > *most => {
                            return Err(Misfit::fixed(format!("it has code for {low} to {high}, not for the {words}")));
                        }
                        Some(_) => self.fit.because.push(format!("{words}: it has code for {low} to {high}")),
                    }
                }
                (None, []) => self.fit.because.push(words),
                (None, listed) => match &card.architecture {
                    None => self.doubt(format!("whether it has code for the {words}, whose architecture is not known")),
                    Some(own) if !listed.contains(own) => {
                        return Err(Misfit::fixed(format!("it has no code for the {words}")));
                    }
                    Some(own) => self.fit.because.push(format!("{words}: {own} is among its architectures")),
                },
            }
        }
        self.fit.because.dedup();
        Ok(())
    }

    fn driver(&mut self) -> Result<(), Misfit> {
        let Some(vendor) = self.build.vendor else { return Ok(()) };
        let Some((least, best, what)) = self.drivers() else { return Ok(()) };
        let release = self.hardware.software.driver(vendor).cloned();
        let Some((release, found)) = release.and_then(|release| Some((release.clone(), parse(&release.version)?))) else {
            self.doubt(format!("whether the driver is new enough: {what} needs {least}, and no version of it was found"));
            return Ok(());
        };
        let told = told(&release);
        if found < *least.version() {
            let most = self.newest_cuda(&found).filter(|_| self.build.cuda.is_some());
            let most = most.map(|cuda| format!(", with which CUDA {cuda} is the newest")).unwrap_or_default();
            let change = Some(format!("driver {best} or newer"));
            return Err(Misfit { why: format!("{what} needs driver {least}, this is {told}{most}"), change });
        }
        if found < *best.version() {
            self.fit.grade.partly = true;
            self.fit.because.push(format!(
                "driver {told}: {what} came with {best}; what was compiled beforehand runs all the same (CUDA's minor version compatibility), \
                 what is compiled at run time does not"
            ));
        } else {
            self.fit.because.push(format!("driver {told}: {what} needs {best}"));
        }
        Ok(())
    }

    /// The least driver, the one with which everything works, and for what.
    fn drivers(&self) -> Option<(DriverVersion, DriverVersion, String)> {
        if let Some(cuda) = &self.build.cuda {
            let known = self.table.cuda.get(cuda)?;
            return Some((known.minimum.clone(), known.native.clone(), format!("CUDA {cuda}")));
        }
        self.build.driver.as_ref().map(|least| (least.clone(), least.clone(), "this build".to_string()))
    }

    fn newest_cuda(&self, driver: &Version) -> Option<Version> {
        let fit = self.table.cuda.iter().filter(|(_, known)| known.native.version() <= driver);
        fit.filter_map(|(cuda, _)| parse(cuda)).max()
    }

    fn toolkit(&mut self) -> Result<(), Misfit> {
        let (Some(range), Some(vendor)) = (&self.build.toolkit, self.build.vendor) else { return Ok(()) };
        let Some(found) = self.hardware.software.toolkit(vendor) else {
            let name = toolkit_name(vendor);
            let change = Some(format!("{name} {range} on the machine"));
            return Err(Misfit { why: format!("it needs {name} {range}, and none was found on this machine"), change });
        };
        match parse(&found.version) {
            None => {
                let what = format!("whether {} {} lies within {range}", found.name, found.version);
                self.doubt(what);
                Ok(())
            }
            Some(version) if !range.contains(&version) => Err(Misfit {
                why: format!("it needs {} {range}, this machine has {}", found.name, told(found)),
                change: Some(format!("{} {range}", found.name)),
            }),
            Some(_) => {
                self.fit.because.push(format!("{} {}: it is built for {range}", found.name, told(found)));
                Ok(())
            }
        }
    }

    fn versions(&mut self, wanted: &Wanted, unlisted: bool) -> Result<(), Misfit> {
        let lines = &self.build.lines;
        if lines.is_empty() || wanted.versions.is_empty() || lines.iter().any(|line| has(line, &wanted.versions)) {
            return Ok(());
        }
        if unlisted {
            self.doubt(format!(
                "whether it exists for {} {}: the table (edition {}) ends at {}",
                wanted.framework,
                wanted.versions,
                self.table.edition,
                lines.last().map(Version::to_string).unwrap_or_default()
            ));
            return Ok(());
        }
        Err(Misfit::fixed(format!("it is published for {}, not for {}", span(lines), wanted.versions)))
    }
}

/// Whether a release of this line satisfies the specifiers.
pub(super) fn has(line: &Version, wanted: &VersionSpecifiers) -> bool {
    let release = line.release();
    let patch = |patch: u64| Version::new(release.iter().copied().chain([patch]));
    wanted.contains(line) || (0..=20).any(|number| wanted.contains(&patch(number)))
}

/// `2.1 to 2.5`.
pub(super) fn span(lines: &[Version]) -> String {
    match lines {
        [] => "every version".into(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    }
}

pub(super) fn parse(text: &str) -> Option<Version> {
    Version::from_str(text).ok()
}

/// `535.104.05 (sys/module/nvidia/version)`: where it was read is part of the explanation.
fn told(release: &Release) -> String {
    format!("{} ({})", release.version, release.source)
}

/// `sm_75` of `7.5`.
fn sm(capability: &Version) -> String {
    format!("sm_{}", capability.release().iter().map(u64::to_string).collect::<String>())
}

/// `12.0` of `sm_120`: the last digit is the minor version. Letters behind it (`sm_90a`) say nothing of the card.
fn capability(architecture: &str) -> Option<Version> {
    let digits = architecture.strip_prefix("sm_")?.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (major, minor) = digits.split_at_checked(digits.len().checked_sub(1)?)?;
    Some(Version::new([major.parse::<u64>().ok()?, minor.parse().ok()?]))
}

fn card_words(card: &Card) -> String {
    match &card.architecture {
        Some(architecture) => format!("{} ({architecture})", card.model),
        None => card.model.clone(),
    }
}

fn toolkit_name(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Ascend => "CANN",
        Vendor::Amd => "ROCm",
        Vendor::Hygon => "DTK",
        Vendor::MooreThreads => "MUSA",
        Vendor::Cambricon => "Neuware",
        Vendor::Metax => "MACA",
        Vendor::Iluvatar => "CoreX",
        Vendor::Enflame => "TopsRider",
        _ => "the vendor's toolkit",
    }
}
