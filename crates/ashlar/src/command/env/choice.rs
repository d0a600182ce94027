//! `ashlar env why`: which build fits, because of what, and what a newer one would need.

use crate::arguments::EnvWhy;
use crate::failure::Failure;
use crate::listing;
use frameworks::builds::{Card, Choice, Hardware, NoBuild, Table, choose};
use node::Shelf;
use spec::{Framework, JobSpec};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(shelf: &Shelf, ask: EnvWhy) -> Result<ExitCode, Failure> {
    let choices = match (&ask.name, &ask.framework) {
        (Some(name), _) => {
            let named = shelf.read(name)?;
            let none = || Failure::input(format!("{name} was made without a framework, so nothing was chosen for it"));
            vec![named.choice.ok_or_else(|| none().hint("`ashlar env show` lists its packages"))?]
        }
        (None, Some(framework)) => {
            let framework = Framework { name: framework.clone(), build: ask.build.clone() };
            on_machine(&framework, ask.root.as_deref())?
        }
        (None, None) => return Err(Failure::input("name an environment or a --framework")),
    };
    if ask.json {
        listing::print_json(&choices)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    for choice in &choices {
        out.write_all(told(choice).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The choice for each maker's cards on the machine, or for its processor where there are none.
fn on_machine(framework: &Framework, root: Option<&std::path::Path>) -> Result<Vec<Choice>, Failure> {
    let wanted = node::framework_wanted(framework).map_err(|message| Failure::input(format!("--framework: {message}")))?;
    let table = node::build_table();
    let (cards, software) = match root {
        None => {
            let (machine, _) = crate::inventory::this_machine()?;
            (cards(&machine.devices), host::software(&host::Root::live()))
        }
        Some(path) => {
            let root = crate::command::machine::open(path)?;
            (cards(&crate::command::machine::probe(&root)?.devices), host::software(&root))
        }
    };
    let mut makers = vec![];
    for card in &cards {
        if !makers.contains(&card.vendor) {
            makers.push(card.vendor);
        }
    }
    let hardware = |cards: Vec<Card>| Hardware { glibc: None, python: None, cards, software: software.clone() };
    if makers.is_empty() {
        return Ok(vec![choose(&table, &wanted, &hardware(vec![])).map_err(failure)?]);
    }
    let of = |maker| cards.iter().filter(|card| card.vendor == maker).cloned().collect();
    makers.into_iter().map(|maker| choose(&table, &wanted, &hardware(of(maker))).map_err(failure)).collect()
}

/// One of each kind is enough.
fn cards(devices: &[machine::Device]) -> Vec<Card> {
    let mut seen = BTreeSet::new();
    let kinds = devices.iter().map(Card::from).filter(|card| seen.insert((card.vendor, card.model.clone(), card.architecture.clone())));
    kinds.filter(|card| card.vendor != machine::Vendor::Unknown).collect()
}

fn failure(error: NoBuild) -> Failure {
    let kind = if matches!(error, NoBuild::NothingFits { .. }) { Failure::failed(&error) } else { Failure::input(&error) };
    kind.hint(error.hint())
}

/// A framework or build that no table has is a mistake in the job file, better told before it waits.
pub fn refuse_unknown(job: &JobSpec) -> Result<(), Failure> {
    let Some(framework) = job.environment.as_ref().and_then(|environment| environment.framework.as_ref()) else { return Ok(()) };
    let wanted = node::framework_wanted(framework).map_err(|message| Failure::input(format!("environment.framework: {message}")))?;
    match choose(Table::built_in(), &wanted, &Hardware::default()) {
        Err(error @ (NoBuild::UnknownFramework { .. } | NoBuild::UnknownBuild { .. })) => {
            Err(Failure::input(format!("environment: {error}")).hint(error.hint()))
        }
        _ => Ok(()),
    }
}

pub(super) fn told(choice: &Choice) -> String {
    let mut lines = vec![format!("{} {}: {}", choice.framework, choice.build, choice.requirements.join(" "))];
    let mut say = |word: &str, text: &str| lines.push(format!("  {word:<11} {text}"));
    match &choice.index {
        Some(index) => say("from", &index.address),
        None => say("from", "the general package index"),
    }
    for reason in &choice.because {
        say("because of", reason);
    }
    if let Some(note) = &choice.note {
        say("note", note);
    }
    for doubt in &choice.unverified {
        say("unverified", doubt);
    }
    for passed in &choice.passed_over {
        let change = passed.change.as_ref().map(|change| format!(" -> {change}")).unwrap_or_default();
        say("not", &format!("{} ({}): {}{change}", passed.build, passed.lines, passed.why));
    }
    say("source", &format!("{} (table of {})", choice.source, choice.edition));
    lines.join("\n") + "\n"
}
