//! `--stdio`: one arrival or departure a line, each answered before the next is read.

use super::input::Trace;
use super::prepare;
use crate::arguments::Simulate;
use crate::failure::Failure;
use cluster::replay::{AnyPolicy, PolicyName};
use placement::packing::{Packer, Placement, Request};
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

/// What a line asks.
enum Step {
    Arrive { row: usize },
    Depart { arrival: usize },
}

struct Session<'a> {
    trace: &'a Trace,
    packer: Packer<AnyPolicy>,
    /// Every arrival, with where it runs while it does.
    arrivals: Vec<(usize, Request, Option<Placement>)>,
}

pub fn run(trace: &Trace, policy: PolicyName, arguments: &Simulate) -> Result<ExitCode, Failure> {
    let packer = prepare(trace, policy, arguments, |_| ());
    let mut session = Session { trace, packer, arrivals: vec![] };
    let mut input = std::io::stdin().lock();
    let mut output = std::io::stdout().lock();
    writeln!(output, "seq,pod,node,gpus,ns")?;
    output.flush()?;
    let (mut line, mut number, mut seq) = (String::new(), 0, 0);
    loop {
        line.clear();
        number += 1;
        let got = input.read_line(&mut line);
        let got = got.map_err(|error| Failure::input(format!("standard input: line {number}: {error}")).hint("send text"))?;
        if got == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        if line.trim().is_empty() {
            continue;
        }
        let step = session.parse(line.trim(), number)?;
        let row = session.answer(step, number, arguments.rows)?;
        writeln!(output, "{seq},{row}")?;
        output.flush()?;
        seq += 1;
        // A policy that learns does so here, between an answer and the next question.
        session.packer.study();
    }
}

impl Session<'_> {
    fn parse(&self, text: &str, line: usize) -> Result<Step, Failure> {
        let place = format!("standard input: line {line}, column 1");
        if let Some(number) = text.strip_prefix('-') {
            let arrival = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            return match arrival.filter(|arrival| *arrival < self.arrivals.len()) {
                Some(arrival) => Ok(Step::Depart { arrival }),
                None => Err(Failure::input(format!("{place}: `{text}` names no earlier arrival"))
                    .hint(format!("-1 is the first arrival; {} came so far", self.arrivals.len()))),
            };
        }
        let rows = self.trace.pods.requests.len();
        match text.parse::<usize>().ok().filter(|row| *row < rows) {
            Some(row) => Ok(Step::Arrive { row }),
            None => Err(Failure::input(format!("{place}: `{text}` is no row of the pod list"))
                .hint(format!("a number from 0 to {}, or -K for the departure of the K-th arrival", rows.saturating_sub(1)))),
        }
    }

    /// The row of the answer without its first field.
    fn answer(&mut self, step: Step, line: usize, numbers: bool) -> Result<String, Failure> {
        match step {
            Step::Arrive { row } => {
                let request = self.trace.pods.requests[row];
                let before = Instant::now();
                let at = self.packer.arrive(&request);
                let spent = before.elapsed().as_nanos();
                self.arrivals.push((row, request, at));
                let (node, gpus) = at.map_or((String::new(), String::new()), |at| (self.node(at.machine, numbers), devices(at)));
                Ok(format!("{},{node},{gpus},{spent}", self.pod(row, numbers)))
            }
            Step::Depart { arrival } => {
                let (row, request, at) = self.arrivals[arrival];
                let before = Instant::now();
                if let Some(at) = at {
                    let gone = self.packer.depart(&request, at);
                    gone.map_err(|error| Failure::internal(format!("line {line}: {error}")))?;
                }
                self.arrivals[arrival].2 = None;
                Ok(format!("{},,,{}", self.pod(row, numbers), before.elapsed().as_nanos()))
            }
        }
    }

    fn pod(&self, row: usize, numbers: bool) -> String {
        if numbers { row.to_string() } else { self.trace.pods.names[row].clone() }
    }

    fn node(&self, machine: u32, numbers: bool) -> String {
        if numbers { machine.to_string() } else { self.trace.nodes.names[machine as usize].clone() }
    }
}

fn devices(at: Placement) -> String {
    at.device_list().iter().map(usize::to_string).collect::<Vec<_>>().join("-")
}
