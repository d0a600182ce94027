//! `ashlar simulate`: a fleet filled by packing policies, compared side by side.

mod chart;
mod input;
mod stdio;

use crate::arguments::{KnowledgeFlag, Simulate};
use crate::failure::Failure;
use crate::listing;
use cluster::replay::{self, AnyPolicy, Churn, ChurnReport, FillReport, Knowledge, PolicyName};
use indicatif::{ProgressBar, ProgressStyle};
use input::Trace;
use placement::packing::audit::Audit;
use placement::packing::demand::Demand;
use placement::packing::openb::ranks;
use placement::packing::{Course, Fleet, Packer};
use serde::Serialize;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One policy's run.
#[derive(Debug, Serialize)]
struct Outcome {
    policy: PolicyName,
    /// Learning before the first request, seconds.
    learned_s: f64,
    /// The whole run with its audit, seconds.
    ran_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fill: Option<FillReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    churn: Option<ChurnReport>,
}

pub fn run(arguments: Simulate) -> Result<ExitCode, Failure> {
    let trace = input::read(&arguments.nodes, &arguments.pods)?;
    for model in &trace.pods.unknown_models {
        eprintln!("note: no node has a `{model}`; requests for nothing else are never placed");
    }
    let policies = policies(&arguments)?;
    if arguments.stdio {
        return stdio::run(&trace, policies[0], &arguments);
    }
    let order = match &arguments.order {
        Some(path) => input::read_order(path, trace.pods.requests.len())?,
        None => replay::arrivals(&trace.pods.requests, trace.capacity(), arguments.load, arguments.seed),
    };
    if trace.capacity() == 0 {
        return Err(Failure::input("no node has a device").hint("allocation is counted in devices: give nodes that have some"));
    }
    let bar = Bar::new(policies.len());
    let mut outcomes = vec![];
    for policy in policies {
        bar.stage(&format!("{policy}: learning"));
        let before = Instant::now();
        let mut packer = prepare(&trace, policy, &arguments, |day| bar.stage(&format!("{policy}: learning, day {day}")));
        let learned_s = before.elapsed().as_secs_f64();
        bar.stage(&format!("{policy}: deciding"));
        let before = Instant::now();
        let mut outcome = Outcome { policy, learned_s, ran_s: 0.0, fill: None, churn: None };
        let mut audit = Audit::new(&trace.nodes.shapes, &trace.nodes.machines);
        let typical = Demand::of(&trace.pods.requests).typical(0.95);
        let fault = |fault| Failure::internal(format!("{policy} made a decision that cannot stand: {fault}"));
        if arguments.churn {
            let settings = churn_settings(&arguments, &trace);
            let report = replay::churn(&mut packer, &mut audit, &trace.pods.requests, &trace.spans(), &typical, settings);
            outcome.churn = Some(report.map_err(fault)?);
        } else {
            let report = replay::fill(&mut packer, &mut audit, &trace.pods.requests, &order, &typical);
            outcome.fill = Some(report.map_err(fault)?);
        }
        outcome.ran_s = before.elapsed().as_secs_f64();
        outcomes.push(outcome);
        bar.bar.inc(1);
    }
    bar.bar.finish_and_clear();
    if let Some(path) = &arguments.svg {
        let picture = chart::draw(&outcomes);
        std::fs::write(path, picture).map_err(|error| Failure::input(format!("cannot write {}: {error}", path.display())))?;
    }
    if arguments.json {
        listing::print_json(&outcomes)?;
    } else {
        print(&outcomes, &trace)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Those asked for; else all, or one where only one can be.
fn policies(arguments: &Simulate) -> Result<Vec<PolicyName>, Failure> {
    let mut chosen = vec![];
    for name in &arguments.policy {
        let policy = name.parse::<PolicyName>().map_err(|error| Failure::input(format!("--policy: {error}")).hint(error.hint()))?;
        if !chosen.contains(&policy) {
            chosen.push(policy);
        }
    }
    if arguments.stdio && chosen.len() > 1 {
        return Err(Failure::input("--stdio answers for one policy").hint("give one --policy"));
    }
    Ok(match (chosen.is_empty(), arguments.stdio) {
        (false, _) => chosen,
        (true, true) => vec![PolicyName::Ashlar],
        (true, false) => PolicyName::ALL.to_vec(),
    })
}

/// An empty fleet with its policy ready.
fn prepare(trace: &Trace, policy: PolicyName, arguments: &Simulate, mut progress: impl FnMut(u32)) -> Packer<AnyPolicy> {
    let ranks = ranks(&trace.nodes.names, arguments.seed);
    let fleet = Fleet::new(trace.nodes.shapes.clone(), &trace.nodes.machines, ranks);
    let knowledge = match arguments.knowledge {
        KnowledgeFlag::Distribution => Knowledge::Distribution,
        KnowledgeFlag::Nothing => Knowledge::Nothing,
    };
    let course = Course { days: arguments.days, ..Course::default() };
    let demand = Demand::of(&trace.pods.requests);
    let policy = AnyPolicy::ready(policy, &fleet, &demand, (knowledge, course), |day, _| progress(day));
    Packer::new(fleet, policy, arguments.seed)
}

fn churn_settings(arguments: &Simulate, trace: &Trace) -> Churn {
    Churn {
        load: arguments.load,
        arrivals: arguments.arrivals.unwrap_or(5 * trace.pods.requests.len()),
        migrate_every: arguments.migrate,
        moves: 20,
        seed: arguments.seed,
    }
}

fn percent(part: f64) -> String {
    format!("{:.2} %", 100.0 * part)
}

fn print(outcomes: &[Outcome], trace: &Trace) -> std::io::Result<()> {
    let devices = trace.capacity() as f64 / 1000.0;
    if outcomes.iter().any(|outcome| outcome.churn.is_some()) {
        let mut table = listing::table(["POLICY", "ALLOCATED", "FRAGMENTED", "MEAN WAIT", "P95 WAIT", "STARTED", "WAITING", "MOVES"]);
        for outcome in outcomes {
            let Some(churn) = &outcome.churn else { continue };
            table.add_row([
                outcome.policy.to_string(),
                percent(churn.allocated),
                percent(churn.fragmented),
                format!("{:.0} s", churn.mean_wait),
                format!("{} s", churn.p95_wait),
                churn.started.to_string(),
                churn.still_waiting.to_string(),
                churn.moves.to_string(),
            ]);
        }
        return listing::print_table(&table);
    }
    let mut table = listing::table(["POLICY", "HELD AT 100 %", "HELD AT END", "IDLE DEVICES", "UNUSABLE", "PLACED", "LEARNED", "DECIDED"]);
    for outcome in outcomes {
        let Some(fill) = &outcome.fill else { continue };
        let last = fill.curve.last().map_or(0.0, |sample| sample.fragmented);
        table.add_row([
            outcome.policy.to_string(),
            fill.allocated_at_full.map_or("-".into(), percent),
            percent(fill.allocated_at_end),
            format!("{:.0}", (1.0 - fill.allocated_at_end) * devices),
            percent(last),
            format!("{} of {}", fill.placed, fill.arrivals),
            format!("{:.1} s", outcome.learned_s),
            format!("{:.2} s", outcome.ran_s),
        ]);
    }
    listing::print_table(&table)
}

/// Progress on standard error: a bar on a terminal, nothing elsewhere.
struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new(policies: usize) -> Bar {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(policies as u64) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {pos}/{len}  {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Bar { bar }
    }

    fn stage(&self, text: &str) {
        self.bar.set_message(text.to_string());
    }
}
