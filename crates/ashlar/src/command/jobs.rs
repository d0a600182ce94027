//! `ashlar jobs`

use crate::arguments::Jobs;
use crate::failure::Failure;
use crate::state::Place;
use crate::{listing, moment};
use api::{Client, ErrorKind, JobQuery, JobRow};
use std::process::ExitCode;

const STATES: [&str; 7] = ["waiting", "starting", "running", "stopping", "succeeded", "failed", "cancelled"];

pub fn run(place: &Place, jobs: Jobs) -> Result<ExitCode, Failure> {
    if let Some(wrong) = jobs.states.iter().find(|state| !STATES.contains(&state.as_str())) {
        return Err(Failure::input(format!("'{wrong}' is no state of a job")).hint(format!("the states are {}", STATES.join(", "))));
    }
    let rows = fetch(&place.connect()?, &jobs)?;
    if jobs.json {
        listing::print_json(&rows)?;
    } else {
        print(&rows, &jobs)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn fetch(client: &Client, jobs: &Jobs) -> Result<Vec<JobRow>, Failure> {
    let wanted = if jobs.all { usize::MAX } else { jobs.limit as usize };
    let mut rows: Vec<JobRow> = vec![];
    // The wire filters by one state; with several, each page is filtered here.
    let mut query = JobQuery { user: jobs.user.clone(), queue: jobs.queue.clone(), all: true, ..JobQuery::default() };
    if let [state] = jobs.states.as_slice() {
        query.state = Some(state.clone());
    }
    loop {
        query.limit = Some(wanted.saturating_sub(rows.len()).clamp(1, 1000) as u32);
        let page = match client.jobs(&query) {
            // Everybody's is for root and the admin group; others see their own.
            Err(error) if error.kind() == ErrorKind::Denied && query.all => {
                query.all = false;
                continue;
            }
            page => page?,
        };
        rows.extend(page.jobs.into_iter().filter(|row| jobs.states.is_empty() || jobs.states.contains(&row.state)));
        query.before = page.next;
        if rows.len() >= wanted || query.before.is_none() {
            rows.truncate(wanted);
            return Ok(rows);
        }
    }
}

fn print(rows: &[JobRow], asked: &Jobs) -> Result<(), Failure> {
    if rows.is_empty() {
        let filtered = !asked.states.is_empty() || asked.user.is_some() || asked.queue.is_some();
        match filtered {
            true => eprintln!("no job matches {}", filter(asked)),
            false => eprintln!("no jobs; submit one with `ashlar run -- CMD` or `ashlar submit job.yaml`"),
        }
        return Ok(());
    }
    let now = moment::now();
    let mut table = listing::table(["ID", "NAME", "STATE", "USER", "QUEUE", "RANKS", "SUBMITTED", "TOOK", "NOTE"]);
    for row in rows {
        table.add_row([
            row.id.to_string(),
            row.name.clone(),
            listing::paint_state(&row.state),
            row.user.clone(),
            row.queue.clone(),
            listing::ranks(row),
            moment::relative(row.submitted, now),
            moment::elapsed(row.started, row.ended, now),
            row.note.clone().unwrap_or_default(),
        ]);
    }
    Ok(listing::print_table(&table)?)
}

/// The filter as it was typed.
fn filter(asked: &Jobs) -> String {
    let states = asked.states.iter().map(|state| format!("--in {state}"));
    let user = asked.user.iter().map(|user| format!("--user {user}"));
    let queue = asked.queue.iter().map(|queue| format!("--queue {queue}"));
    states.chain(user).chain(queue).collect::<Vec<_>>().join(" ")
}
