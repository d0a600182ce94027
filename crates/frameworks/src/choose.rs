//! Which recipe starts a job: the one it names, or the one that its command or its packages tell of.
//!
//! A choice made here must never change what a job would do without it, except where it could not work otherwise: a rank
//! alone stays as it is, and two frameworks among the packages are a reason to choose none.

use crate::recipe::Recipe;
use crate::work::base_name;
use spec::{JobSpec, Launch, Packages, Work};
use std::collections::BTreeSet;

/// A recipe with the reason why it is the one.
#[derive(Clone, Debug)]
pub struct Choice {
    pub recipe: &'static Recipe,
    /// One sentence.
    pub reason: String,
    /// The launcher that the command begins with.
    pub launcher: Option<Launcher>,
}

/// A program that starts ranks of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// As it stands in messages: `python -m torch.distributed.run`.
    pub name: &'static str,
    pub launch: Launch,
    /// Words of the command up to the launcher's own arguments.
    pub words: usize,
}

/// Program, its first arguments, and the recipe of its ranks.
const LAUNCHERS: &[(&str, &[&str], Launch)] = &[
    ("torchrun", &[], Launch::Torchrun),
    ("deepspeed", &[], Launch::Deepspeed),
    ("accelerate", &["launch"], Launch::Accelerate),
    ("horovodrun", &[], Launch::Horovod),
    ("mpirun", &[], Launch::Mpi),
    ("mpiexec", &[], Launch::Mpi),
    ("mpiexec.hydra", &[], Launch::Mpi),
    ("orterun", &[], Launch::Mpi),
    ("prterun", &[], Launch::Mpi),
    ("fleetrun", &[], Launch::Paddle),
    ("msrun", &[], Launch::Mindspore),
];

/// The same as modules of Python.
const MODULES: &[(&str, Launch)] = &[
    ("torch.distributed.run", Launch::Torchrun),
    ("torch.distributed.launch", Launch::Torchrun),
    ("deepspeed.launcher.runner", Launch::Deepspeed),
    ("accelerate.commands.launch", Launch::Accelerate),
    ("horovod.runner.launch", Launch::Horovod),
    ("paddle.distributed.launch", Launch::Paddle),
];

/// Packages that a framework's programs name, by their normalised names, and its recipe. What only builds on one of
/// them (transformers, keras) is no sign of several ranks, and is not here.
const PACKAGES: &[(&str, Launch)] = &[
    ("jax", Launch::Jax),
    ("torch", Launch::Torchrun),
    ("lightning", Launch::Torchrun),
    ("pytorch-lightning", Launch::Torchrun),
    ("accelerate", Launch::Torchrun),
    ("deepspeed", Launch::Torchrun),
    ("tensorflow", Launch::Tensorflow),
    ("tensorflow-cpu", Launch::Tensorflow),
    ("paddlepaddle", Launch::Paddle),
    ("paddlepaddle-gpu", Launch::Paddle),
    ("mindspore", Launch::Mindspore),
    ("ray", Launch::Ray),
    ("xgboost", Launch::Xgboost),
    ("mpi4py", Launch::Mpi),
    ("horovod", Launch::Horovod),
];

/// The launcher that a command begins with.
pub fn launcher_of(work: &Work) -> Option<Launcher> {
    let Work::Command(argv) = work else { return None };
    let program = base_name(argv.first()?);
    let direct = LAUNCHERS.iter().find(|(name, rest, _)| program == *name && argv[1..].iter().take(rest.len()).eq(rest.iter()));
    if let Some((name, rest, launch)) = direct {
        return Some(Launcher { name, launch: *launch, words: 1 + rest.len() });
    }
    // `python -u -m MODULE`: options of Python that take no value come before.
    let module = argv.iter().position(|word| word == "-m").filter(|at| program.starts_with("python") && *at >= 1)?;
    if !argv[1..module].iter().all(|word| word.starts_with('-') && !matches!(word.as_str(), "-c" | "-W" | "-X")) {
        return None;
    }
    let (name, launch) = MODULES.iter().find(|(name, _)| argv.get(module + 1).is_some_and(|word| word == name))?;
    Some(Launcher { name, launch: *launch, words: module + 2 })
}

/// The recipe of a job.
pub fn choose(spec: &JobSpec) -> Choice {
    let launcher = launcher_of(&spec.work);
    let choice = |launch: Launch, reason: String| Choice { recipe: Recipe::of(launch), reason, launcher };
    if spec.launch != Launch::Auto {
        return choice(spec.launch, format!("the job says `launch: {}`", spec.launch));
    }
    // An elastic job that runs with one rank now is still a gang's program, which looks for its peers.
    if spec.sizes().iter().all(|size| *size < 2) {
        return choice(Launch::Plain, "a rank alone has nobody to meet".into());
    }
    if let Some(Launcher { name, launch, .. }) = launcher {
        return choice(launch, format!("the command begins with {name}, which starts the ranks itself"));
    }
    let found = recipes_of_packages(spec);
    let mut recipes: Vec<Launch> = found.iter().map(|(_, launch)| *launch).collect();
    recipes.dedup();
    match (recipes.as_slice(), found.first()) {
        ([launch], Some((package, _))) => choice(*launch, format!("the environment has {package}")),
        ([_, _, ..], _) => {
            let names: Vec<String> = found.iter().map(|(package, launch)| format!("{package} ({launch})")).collect();
            let reason = format!("the environment has {}, which start in different ways: name one with `launch:`", names.join(" and "));
            choice(Launch::Plain, reason)
        }
        _ => choice(Launch::Plain, "neither the command nor the packages tell of a framework".into()),
    }
}

/// Known packages that the environment names, by recipe.
fn recipes_of_packages(spec: &JobSpec) -> Vec<(&'static str, Launch)> {
    let Some(environment) = &spec.environment else { return vec![] };
    if let Some(framework) = &environment.framework {
        // The one that is named is the one that is meant, whatever comes beside it.
        let known = crate::builds::Wanted::parse(&framework.name).ok();
        let known = known.and_then(|wanted| crate::builds::Table::built_in().framework(&wanted.framework));
        let package = known.and_then(|framework| package_name(&framework.package));
        return PACKAGES.iter().filter(|(name, _)| package.as_deref() == Some(name)).copied().collect();
    }
    let names: BTreeSet<String> = match &environment.packages {
        Packages::Packages(list) => list.iter().filter_map(|line| package_name(line)).collect(),
        Packages::Requirements(text) => text.lines().filter_map(package_name).collect(),
        // A lock lists what the wanted packages need, too: xgboost's has parts of others, and what is wanted is lost.
        Packages::Lock(_) => return vec![],
    };
    let mut found: Vec<_> = PACKAGES.iter().filter(|(name, _)| names.contains(*name)).copied().collect();
    found.sort_by_key(|(_, launch)| *launch);
    found
}

/// The normalised name that a requirement begins with (PEP 503: lower case, runs of `-_.` are one `-`).
fn package_name(requirement: &str) -> Option<String> {
    let text = requirement.trim();
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(text.len());
    let parts: Vec<String> = text[..end].split(['-', '_', '.']).filter(|part| !part.is_empty()).map(str::to_ascii_lowercase).collect();
    (!parts.is_empty()).then(|| parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::Environment;

    fn job(ranks: u32, command: &str, packages: &[&str]) -> JobSpec {
        let argv = command.split(' ').map(String::from).collect();
        let packages = Packages::Packages(packages.iter().map(|name| name.to_string()).collect());
        let environment = Some(Environment { packages, ..Environment::default() });
        JobSpec { ranks, environment, ..JobSpec::command_job("job", argv, "/work") }
    }

    #[test]
    fn launchers_are_known_however_they_are_called() {
        for (command, expected) in [
            ("torchrun --nnodes 1 train.py", Some(("torchrun", 1))),
            ("/opt/env/bin/torchrun train.py", Some(("torchrun", 1))),
            ("python -m torch.distributed.run train.py", Some(("torch.distributed.run", 3))),
            ("python3.12 -u -m paddle.distributed.launch train.py", Some(("paddle.distributed.launch", 4))),
            ("accelerate launch train.py", Some(("accelerate", 2))),
            ("accelerate config", None),
            ("mpirun ./a.out", Some(("mpirun", 1))),
            ("python torchrun.py", None),
            ("python train.py -m torch.distributed.run", None),
            ("python -c x -m torch.distributed.run", None),
            ("python -m", None),
            ("-m torch.distributed.run", None),
            ("bash -m torch.distributed.run", None),
        ] {
            let found = launcher_of(&job(2, command, &[]).work).map(|launcher| (launcher.name, launcher.words));
            assert_eq!(found, expected, "{command}");
        }
        assert_eq!(launcher_of(&Work::Script("torchrun train.py".into())), None);
    }

    #[test]
    fn auto_takes_the_one_framework_there_is_and_says_why() {
        for (ranks, command, packages, expected, reason) in [
            (1, "torchrun train.py", &["torch"][..], Launch::Plain, "a rank alone"),
            (2, "torchrun train.py", &["jax"], Launch::Torchrun, "the command begins with torchrun"),
            (2, "horovodrun python train.py", &[], Launch::Horovod, "horovodrun"),
            (2, "python train.py", &["JAX[cuda13]>=0.5", "numpy"], Launch::Jax, "has jax"),
            (2, "python train.py", &["Tensorflow_CPU==2.21"], Launch::Tensorflow, "has tensorflow-cpu"),
            (2, "python train.py", &["torch", "lightning"], Launch::Torchrun, "torch"),
            (2, "python train.py", &["ray[default]", "torch"], Launch::Plain, "torch (torchrun) and ray (ray)"),
            (2, "python train.py", &["numpy", "jaxlib", "torchvision"], Launch::Plain, "neither"),
            (2, "python train.py", &["", "--pre", "# jax"], Launch::Plain, "neither"),
        ] {
            let choice = choose(&job(ranks, command, packages));
            assert_eq!(choice.recipe.launch, expected, "{command} {packages:?}");
            assert!(choice.reason.contains(reason), "{}", choice.reason);
        }
    }

    #[test]
    fn an_elastic_job_of_one_rank_is_started_as_the_gang_it_may_be() {
        let elastic = JobSpec { sizes: vec![1, 2, 4], ..job(1, "python train.py", &["torch"]) };
        assert_eq!(choose(&elastic).recipe.launch, Launch::Torchrun);
        let alone = JobSpec { sizes: vec![1], ..job(1, "python train.py", &["torch"]) };
        assert_eq!(choose(&alone).recipe.launch, Launch::Plain);
    }

    #[test]
    fn requirements_are_read_and_locks_are_not() {
        let with =
            |packages| JobSpec { environment: Some(Environment { packages, ..Environment::default() }), ..job(2, "python a.py", &[]) };
        let choice = choose(&with(Packages::Requirements("# ours\nnumpy\nxgboost>=3 ; python_version > '3'\n".into())));
        assert_eq!(choice.recipe.launch, Launch::Xgboost);
        assert_eq!(choose(&with(Packages::Lock("jax==0.5".into()))).recipe.launch, Launch::Plain);
        let none = JobSpec { environment: None, ..job(2, "python a.py", &[]) };
        assert_eq!(choose(&none).recipe.launch, Launch::Plain);
    }

    #[test]
    fn a_framework_in_the_environment_is_the_one_that_is_meant() {
        for (framework, expected) in [
            ("torch>=2.4", Launch::Torchrun),
            ("tf", Launch::Tensorflow),
            ("paddle", Launch::Paddle),
            ("onnxruntime", Launch::Plain),
            ("?", Launch::Plain),
        ] {
            let mut job = job(2, "python a.py", &["ray", "jax"]);
            let framework = Some(spec::Framework { name: framework.into(), build: None });
            job.environment = job.environment.map(|environment| Environment { framework, ..environment });
            assert_eq!(choose(&job).recipe.launch, expected, "{job:?}");
        }
    }

    #[test]
    fn what_the_job_says_counts() {
        let said = JobSpec { launch: Launch::Plain, ..job(4, "torchrun a.py", &["jax"]) };
        assert_eq!((choose(&said).recipe.launch, choose(&said).reason.as_str()), (Launch::Plain, "the job says `launch: plain`"));
    }

    proptest::proptest! {
        #[test]
        fn any_requirement_has_a_name_or_none(text in "\\PC{0,40}") {
            if let Some(name) = package_name(&text) {
                proptest::prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            }
        }
    }
}
