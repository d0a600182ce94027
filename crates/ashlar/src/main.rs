//! The one binary: command line, wiring, and the hidden commands that are processes of their own.
//!
//! One file a command under `command/`. A command reads its arguments, asks the node or decides with the pure
//! crates, and prints: data to stdout, everything else to stderr. `up` wires the daemon together.

mod arguments;
mod checkpoints;
mod command;
mod curve;
mod device_text;
mod device_watch;
mod doctor_text;
mod failure;
mod faults_text;
mod follow;
mod hwloc_xml;
mod inventory;
mod listing;
mod local_node;
mod moment;
mod named_paths;
mod narrate;
mod picture;
mod program;
mod slurm;
mod state;
mod svg;
mod tune_text;

use arguments::{Arguments, Command};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A run's supervisor is started often and must stay small: it takes a road of its own, before anything else.
    let mut words = std::env::args_os().skip(1);
    match (words.next(), words.next()) {
        (Some(word), Some(dir)) if word == program::SUPERVISE => return command::supervise::run(node::supervise(dir.as_ref())),
        (Some(word), Some(name)) if word == program::PROBE => {
            let known = inventory::probe(&name.to_string_lossy());
            return ExitCode::from(if known { 0 } else { failure::INPUT });
        }
        (Some(word), None) if word == program::NURSE => return command::supervise::run(node::nurse()),
        (Some(word), None) if word == program::NOTIFY => return command::supervise::run(node::carry(&mut std::io::stdin())),
        _ => {}
    }
    if let Some(name) = slurm::called_as(std::env::args_os().next().as_deref()) {
        let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        return slurm::run(name, words).unwrap_or_else(|failure| failure.report());
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            if error.use_stderr() && failure::json_wanted(std::env::args_os()) {
                failure::speak_json();
                return Failure::usage(&error.to_string()).report();
            }
            // clap prints help to stdout and mistakes to stderr, each with its own code: 0 and 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::INPUT } else { 0 });
        }
    };
    if failure::json_wanted(std::env::args_os()) {
        failure::speak_json();
    }
    match dispatch(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(arguments: Arguments) -> Result<ExitCode, Failure> {
    let place = state::Place::choose(&arguments)?;
    match arguments.command {
        Command::Up(up) => command::up::run(&place, up),
        Command::Run(run) => command::run::run(&place, *run),
        Command::Submit(submit) => command::submit::run(&place, submit),
        Command::Plan(plan) => command::plan::run(&place, plan),
        Command::Launch(launch) => command::launch::run(&place, launch),
        Command::Jobs(jobs) => command::jobs::run(&place, jobs),
        Command::Show(show) => command::show::run(&place, show),
        Command::Logs(logs) => command::logs::run(&place, logs),
        Command::Why(why) => command::why::run(&place, why),
        Command::Cancel(cancel) => command::cancel::run(&place, cancel),
        Command::Wait(wait) => command::wait::run(&place, wait),
        Command::Machine(machine) => command::machine::run(&place, machine),
        Command::Env(env) => command::env::run(&place, env),
        Command::Devices(devices) => command::devices::run(&place, devices),
        Command::Doctor(doctor) => command::doctor::run(doctor),
        Command::Tune(tune) => command::tune::run(&place, tune),
        Command::Faults(faults) => command::faults::run(faults),
        Command::Status(status) => command::status::run(&place, status),
        Command::Queues(queues) => command::queues::run(&place, queues),
        Command::Quickstart(quickstart) => command::quickstart::run(&place, quickstart),
        Command::Token(token) => command::token::run(&place, token),
        Command::Simulate(simulate) => command::simulate::run(*simulate),
        Command::Schema => command::schema::run(),
        Command::Completions(completions) => command::completions::run(completions),
    }
}
