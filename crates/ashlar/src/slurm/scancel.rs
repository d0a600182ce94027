//! `scancel JOB...`

use crate::failure::Failure;
use crate::state::Place;
use api::JobQuery;
use clap::Parser;
use spec::JobId;
use std::process::ExitCode;

/// Cancel jobs, as Slurm's scancel does
#[derive(Debug, Parser)]
#[command(name = "scancel")]
struct Words {
    /// Jobs: 17, or a task of an array as 17_3
    #[arg(value_parser = spec::job_id_of_slurm)]
    jobs: Vec<JobId>,
    /// All unfinished jobs of this name
    #[arg(short = 'n', long)]
    name: Option<String>,
    /// All unfinished jobs of this person
    #[arg(short, long)]
    user: Option<String>,
    /// All of one's own unfinished jobs
    #[arg(long)]
    me: bool,
    /// All unfinished jobs of this queue
    #[arg(short, long)]
    partition: Option<String>,
    /// Say nothing of jobs that have ended
    #[arg(short = 'Q', long)]
    quiet: bool,
    /// Tell which
    #[arg(short, long)]
    verbose: bool,
}

pub fn run(place: &Place, words: &[String]) -> Result<ExitCode, Failure> {
    let words =
        Words::try_parse_from(std::iter::once("scancel").chain(words.iter().map(String::as_str))).unwrap_or_else(|error| error.exit());
    let wide = words.me || words.user.is_some() || words.name.is_some() || words.partition.is_some();
    if words.jobs.is_empty() && !wide {
        return Err(Failure::input("no job is named").hint("write it such as scancel 17"));
    }
    let client = place.connect()?;
    let mut jobs = words.jobs;
    if wide {
        let mut query =
            JobQuery { queue: words.partition, state: Some("live".into()), user: words.user, limit: Some(1000), ..JobQuery::default() };
        query.all = query.user.is_some();
        loop {
            let page = client.jobs(&query)?;
            let named = |name: &str| words.name.as_deref().is_none_or(|wanted| wanted == name);
            jobs.extend(page.jobs.iter().filter(|row| named(&row.name)).map(|row| row.id));
            query.before = page.next;
            if query.before.is_none() {
                break;
            }
        }
    }
    let mut failed = None;
    for job in jobs {
        match client.cancel(job, false) {
            Ok(()) if words.verbose => eprintln!("scancel: job {} is asked to end", super::shown(job)),
            Ok(()) => {}
            Err(_) if words.quiet => {}
            Err(error) => {
                eprintln!("scancel: {error}");
                failed = Some(ExitCode::FAILURE);
            }
        }
    }
    Ok(failed.unwrap_or(ExitCode::SUCCESS))
}
