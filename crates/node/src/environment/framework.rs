//! The build of a framework that fits the devices of a run.

use super::EnvironmentError;
use frameworks::builds::{Card, Choice, Hardware, NoBuild, Table, Wanted, choose};
use frameworks::environment::Facts;
use machine::Device;
use spec::{Environment, Packages};
use std::collections::BTreeMap;

/// Variables of the node that name a mirror for one of the table's indexes: `ASHLAR_INDEX_PYTORCH`.
const MIRROR: &str = "ASHLAR_INDEX_";

/// The table of builds, with the mirrors that this process's variables name.
pub fn table() -> Table {
    let named = std::env::vars().filter_map(|(name, address)| {
        let index = name.strip_prefix(MIRROR)?.to_ascii_lowercase().replace('_', "-");
        Some((index, address)).filter(|(_, address)| !address.trim().is_empty())
    });
    Table::built_in().with_mirrors(named.collect::<BTreeMap<_, _>>())
}

/// What the table is asked with.
///
/// # Errors
/// A framework that is not written as one.
pub fn wanted(framework: &spec::Framework) -> Result<Wanted, String> {
    let parsed = Wanted::parse(&framework.name)?;
    Ok(Wanted { build: framework.build.clone().or(parsed.build.clone()), ..parsed })
}

/// What the choice rests on. `platform` is `x86_64-glibc2.36`, as the interpreter says it.
pub fn hardware(devices: &[Device], python: &str, platform: &str) -> Hardware {
    let software = host::software(&host::Root::live());
    let glibc = platform.split_once("glibc").map(|(_, version)| version.to_string());
    Hardware { glibc, python: Some(python.to_string()), cards: devices.iter().map(Card::from).collect(), software }
}

/// The request with the framework's build written out as requirements, and the choice.
pub(super) fn written_out(
    environment: &Environment,
    facts: &Facts,
    devices: &[Device],
) -> Result<(Environment, Option<Choice>), EnvironmentError> {
    let Some(framework) = &environment.framework else { return Ok((environment.clone(), None)) };
    let wanted = wanted(framework).map_err(|message| EnvironmentError::Build { message, hint: None })?;
    let hardware = hardware(devices, &facts.python.version, &facts.platform);
    let choice = choose(&table(), &wanted, &hardware)?;
    let packages = Packages::Requirements(requirements(&choice, &environment.packages));
    Ok((Environment { packages, framework: None, ..environment.clone() }, Some(choice)))
}

/// A requirements file: the build's index, its packages, then what else is asked for.
pub fn requirements(choice: &Choice, others: &Packages) -> String {
    let mut lines: Vec<String> = choice.index.iter().map(|index| format!("--extra-index-url {}", index.address)).collect();
    lines.extend(choice.requirements.iter().cloned());
    match others {
        Packages::Packages(packages) => lines.extend(packages.iter().cloned()),
        Packages::Requirements(text) | Packages::Lock(text) => lines.extend(text.lines().map(str::to_owned)),
    }
    lines.join("\n") + "\n"
}

/// An index of the table that cannot be reached may have a mirror.
pub(super) fn with_mirror(error: EnvironmentError, choice: Option<&Choice>) -> EnvironmentError {
    match (error, choice.and_then(|choice| choice.index.as_ref())) {
        (EnvironmentError::Build { message, hint }, Some(index)) if message.contains("cannot be reached") => {
            let family = index.name.split('/').next().unwrap_or(&index.name).to_ascii_uppercase().replace('-', "_");
            let own = hint.map(|hint| format!("{hint}; ")).unwrap_or_default();
            let hint = format!("{own}a mirror of {} is named with {MIRROR}{family} where the node is started", index.address);
            EnvironmentError::Build { message, hint: Some(hint) }
        }
        (error, _) => error,
    }
}

/// What a choice says in the log of a build.
pub(super) fn told(choice: &Choice) -> String {
    let mut text = format!("# {} {}: {}\n", choice.framework, choice.build, choice.requirements.join(" "));
    for reason in &choice.because {
        text.push_str(&format!("#   because of {reason}\n"));
    }
    for doubt in &choice.unverified {
        text.push_str(&format!("#   unverified: {doubt}\n"));
    }
    if let Some((passed, change)) = choice.better() {
        text.push_str(&format!("#   {} ({}) would need {change}\n", passed.build, passed.lines));
    }
    text
}

impl From<NoBuild> for EnvironmentError {
    fn from(error: NoBuild) -> EnvironmentError {
        EnvironmentError::Build { hint: Some(error.hint()), message: error.to_string() }
    }
}
