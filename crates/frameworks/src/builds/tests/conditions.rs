//! Every condition of every build in the table, met and not met.

use crate::builds::{Build, Card, Choice, Framework, Hardware, NoBuild, Table, Wanted, choose};
use machine::{Release, Software, Vendor};

/// Hardware that meets all conditions of a build, and nothing more than that.
fn made_for(build: &Build) -> Hardware {
    let release = |name: &str, version: String| Release {
        vendor: build.vendor.unwrap_or(Vendor::Unknown),
        name: name.into(),
        version,
        source: format!("sys/module/{name}/version"),
    };
    let table = Table::built_in();
    let driver = match (&build.cuda, &build.driver) {
        (Some(cuda), _) => Some(table.cuda[cuda].native.to_string()),
        (None, Some(driver)) => Some(driver.to_string()),
        (None, None) => None,
    };
    let flags = build.flags.iter().chain(&build.flags_x86_64).cloned().chain(["sse2".to_string()]);
    Hardware {
        glibc: build.glibc.as_ref().map(ToString::to_string),
        python: build.python.as_ref().map(|_| "3.10.4".to_string()),
        cards: build.vendor.map(|vendor| Card { vendor, model: "a card".into(), architecture: architecture(build) }).into_iter().collect(),
        software: Software {
            architecture: build.architectures.first().cloned().unwrap_or_else(|| "x86_64".into()),
            cpu_flags: flags.collect(),
            drivers: driver.map(|version| release("driver", version)).into_iter().collect(),
            toolkits: build.toolkit.as_ref().map(|range| release("toolkit", toolkit_in(range))).into_iter().collect(),
        },
    }
}

/// The oldest card that the build has code for.
fn architecture(build: &Build) -> Option<String> {
    let least = build.capability.as_ref().map(|[least, _]| format!("sm_{}", least.to_string().replace('.', "")));
    least.or_else(|| build.gfx.first().cloned())
}

/// The lowest version that a range names.
fn toolkit_in(range: &pep440_rs::VersionSpecifiers) -> String {
    let version = range.iter().next().unwrap().version().to_string();
    assert!(range.contains(&version.parse().unwrap()), "{range}");
    version
}

fn by_name(framework: &Framework, build: &Build, hardware: &Hardware) -> Result<Choice, NoBuild> {
    let wanted = Wanted { framework: framework.name.clone(), build: Some(build.name.clone()), ..Wanted::default() };
    choose(Table::built_in(), &wanted, hardware)
}

fn every_build() -> impl Iterator<Item = (&'static Framework, &'static Build)> {
    Table::built_in().frameworks.iter().flat_map(|framework| framework.builds.iter().map(move |build| (framework, build)))
}

/// Changes the hardware, if the build has that condition, and expects a refusal with these words in it.
fn refused(what: &str, change: impl Fn(&Build, &mut Hardware) -> Option<String>) {
    let mut tried = 0;
    for (framework, build) in every_build() {
        let mut hardware = made_for(build);
        let Some(words) = change(build, &mut hardware) else { continue };
        tried += 1;
        // `cpu` is one word for several builds.
        let error = match by_name(framework, build, &hardware) {
            Ok(choice) if choice.build != build.name => continue,
            Ok(choice) => panic!("{} {} is taken though {what}: {choice:#?}", framework.name, build.name),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(&words), "{} {}: {words:?} is not in {error}", framework.name, build.name);
    }
    assert!(tried > 0, "no build has this condition: {what}");
}

#[test]
fn every_build_is_taken_on_what_it_is_made_for() {
    for (framework, build) in every_build() {
        let at = format!("{} {}", framework.name, build.name);
        let choice = by_name(framework, build, &made_for(build)).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(choice.build, build.name, "{at}");
        assert_eq!(choice.unverified.is_empty(), build.evidence != crate::builds::Evidence::Unverified, "{at}: {:?}", choice.unverified);
        assert!(!choice.source.trim().is_empty() && !choice.check.trim().is_empty(), "{at}");
        assert_eq!(choice.index.is_some(), build.index.is_some(), "{at}");
        for requirement in &choice.requirements {
            assert!(requirement.starts_with(|c: char| c.is_ascii_lowercase()), "{at}: {requirement}");
        }
    }
}

#[test]
fn a_processor_of_another_kind_is_refused() {
    refused("the processor is another", |build, hardware| {
        hardware.software.architecture = "s390x".into();
        (!build.architectures.is_empty()).then(|| "this processor is s390x".into())
    });
    refused("the processor lacks an extension", |build, hardware| {
        hardware.software.cpu_flags = vec!["sse2".into()];
        let own = build.flags.iter().chain(&build.flags_x86_64);
        own.into_iter().next().map(|flag| format!("the processor lacks {flag}"))
    });
}

#[test]
fn cards_without_code_are_refused() {
    refused("the card is too old", |build, hardware| {
        hardware.cards.iter_mut().for_each(|card| card.architecture = Some("sm_20".into()));
        build.capability.as_ref().map(|_| "not for the a card (sm_20)".into())
    });
    refused("the card is too new", |build, hardware| {
        hardware.cards.iter_mut().for_each(|card| card.architecture = Some("sm_990".into()));
        build.capability.as_ref().map(|_| "not for the a card (sm_990)".into())
    });
    refused("one card of two has no code", |build, hardware| {
        let other = hardware.cards.first().map(|card| Card { architecture: Some("gfx000".into()), ..card.clone() });
        hardware.cards.extend(other);
        (!build.gfx.is_empty()).then(|| "no code for the a card (gfx000)".into())
    });
}

#[test]
fn old_drivers_and_toolkits_are_refused_with_what_would_do() {
    refused("the driver is too old", |build, hardware| {
        hardware.software.drivers.iter_mut().for_each(|driver| driver.version = "300.1".into());
        let least = build.cuda.as_ref().map(|cuda| Table::built_in().cuda[cuda].minimum.to_string());
        least.or_else(|| build.driver.as_ref().map(ToString::to_string)).map(|least| format!("needs driver {least}"))
    });
    refused("the toolkit is another", |build, hardware| {
        hardware.software.toolkits.iter_mut().for_each(|toolkit| toolkit.version = "1.0".into());
        build.toolkit.as_ref().map(|range| format!("it needs toolkit {range}"))
    });
    refused("there is no toolkit", |build, hardware| {
        hardware.software.toolkits.clear();
        build.toolkit.as_ref().map(|_| "none was found on this machine".into())
    });
}

#[test]
fn an_old_system_is_refused() {
    refused("the C library is too old", |build, hardware| {
        hardware.glibc = Some("2.5".into());
        build.glibc.as_ref().map(|least| format!("it needs glibc {least}"))
    });
    refused("Python is another", |build, hardware| {
        hardware.python = Some("3.99.0".into());
        build.python.as_ref().map(|_| "this is 3.99.0".into())
    });
}

/// What is not known is a doubt, not a refusal: a captured machine may lack a file.
#[test]
fn what_is_not_known_is_told_as_unverified() {
    for (framework, build) in every_build() {
        let mut hardware = made_for(build);
        hardware.software.drivers.clear();
        hardware.cards.iter_mut().for_each(|card| card.architecture = None);
        hardware.software.architecture.clear();
        let choice = by_name(framework, build, &hardware).unwrap_or_else(|error| panic!("{} {}: {error}", framework.name, build.name));
        let all = choice.unverified.join("\n");
        assert!(all.contains("the processor's architecture"), "{all}");
        assert_eq!(all.contains("whether the driver is new enough"), build.cuda.is_some() || build.driver.is_some(), "{all}");
        assert_eq!(all.contains("is not known"), build.capability.is_some() || !build.gfx.is_empty(), "{all}");
    }
}
