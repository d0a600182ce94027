//! `squeue`

use crate::failure::Failure;
use crate::moment;
use crate::state::Place;
use api::{Client, JobQuery, JobRow};
use clap::Parser;
use spec::{JobId, Time};
use std::io::Write;
use std::process::ExitCode;

/// Show unfinished jobs, as Slurm's squeue does
#[derive(Debug, Parser)]
#[command(name = "squeue", disable_help_flag = true)]
struct Words {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Only jobs of this person
    #[arg(short, long)]
    user: Option<String>,
    /// Only one's own jobs
    #[arg(long)]
    me: bool,
    /// Only these jobs
    #[arg(short, long, value_delimiter = ',', value_parser = spec::job_id_of_slurm)]
    jobs: Vec<JobId>,
    /// Only jobs of this queue
    #[arg(short, long)]
    partition: Option<String>,
    /// Only jobs in these states: PD, R, CG, PENDING, RUNNING ...
    #[arg(short = 't', long, value_delimiter = ',')]
    states: Vec<String>,
    /// Only jobs of these names
    #[arg(short, long, value_delimiter = ',')]
    name: Vec<String>,
    /// No line with headings
    #[arg(short = 'h', long)]
    noheader: bool,
    /// What to show: %i %P %j %u %t %T %M %D %R %r %S %V, with a width as in %.18i
    #[arg(short = 'o', long, default_value = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R")]
    format: String,
}

/// A job with what its row does not say.
struct Shown {
    row: JobRow,
    /// Why it waits.
    reason: Option<String>,
}

pub fn run(place: &Place, words: &[String]) -> Result<ExitCode, Failure> {
    let words =
        Words::try_parse_from(std::iter::once("squeue").chain(words.iter().map(String::as_str))).unwrap_or_else(|error| error.exit());
    let pieces = pieces(&words.format)?;
    let client = place.connect()?;
    let now = moment::now();
    let mut out = std::io::stdout().lock();
    if !words.noheader {
        writeln!(out, "{}", line(&pieces, |letter| heading(letter).to_owned()))?;
    }
    for job in fetch(&client, &words)? {
        writeln!(out, "{}", line(&pieces, |letter| value(letter, &job, now)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn fetch(client: &Client, words: &Words) -> Result<Vec<Shown>, Failure> {
    let mut found = vec![];
    let mut query = JobQuery {
        queue: words.partition.clone(),
        state: Some("live".into()),
        user: words.user.clone(),
        limit: Some(1000),
        ..JobQuery::default()
    };
    query.all = !words.me;
    loop {
        let page = match client.jobs(&query) {
            Err(error) if error.kind() == api::ErrorKind::Denied && query.all => {
                query.all = false;
                continue;
            }
            page => page?,
        };
        found.extend(page.jobs);
        query.before = page.next;
        if query.before.is_none() {
            break;
        }
    }
    let asked = |row: &JobRow| {
        let this = |job: &JobId| *job == row.id || (job.task.is_none() && job.number == row.id.number);
        let states = state(&row.state);
        (words.jobs.is_empty() || words.jobs.iter().any(this))
            && (words.name.is_empty() || words.name.contains(&row.name))
            && (words.states.is_empty()
                || words.states.iter().any(|wanted| [states.0, states.1, "all"].iter().any(|s| s.eq_ignore_ascii_case(wanted))))
    };
    let rows = found.into_iter().filter(asked);
    Ok(rows.map(|row| Shown { reason: row.note.clone().filter(|_| row.state == "waiting"), row }).collect())
}

/// Short and long name of a state.
fn state(ours: &str) -> (&'static str, &'static str) {
    match ours {
        "waiting" => ("PD", "PENDING"),
        "starting" => ("CF", "CONFIGURING"),
        "running" => ("R", "RUNNING"),
        "stopping" => ("CG", "COMPLETING"),
        "succeeded" => ("CD", "COMPLETED"),
        "cancelled" => ("CA", "CANCELLED"),
        _ => ("F", "FAILED"),
    }
}

enum Piece {
    Text(String),
    Field { letter: char, width: usize, right: bool },
}

fn pieces(format: &str) -> Result<Vec<Piece>, Failure> {
    let mut pieces = vec![];
    let mut text = String::new();
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let right = rest.next_if_eq(&'.').is_some();
        let mut width = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            width.push(digit);
        }
        let letter = rest.next().unwrap_or(' ');
        if heading(letter).is_empty() {
            return Err(Failure::input(format!("--format: %{letter} is not shown")).hint("there are %i %P %j %u %t %T %M %D %R %r %S %V"));
        }
        pieces.push(Piece::Text(std::mem::take(&mut text)));
        pieces.push(Piece::Field { letter, width: width.parse().unwrap_or(0), right });
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

fn line(pieces: &[Piece], value: impl Fn(char) -> String) -> String {
    let field = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Field { letter, width: 0, .. } => value(*letter),
        Piece::Field { letter, width, right } => {
            let cut: String = value(*letter).chars().take(*width).collect();
            if *right { format!("{cut:>width$}") } else { format!("{cut:<width$}") }
        }
    };
    pieces.iter().map(field).collect::<String>().trim_end().to_owned()
}

fn heading(letter: char) -> &'static str {
    match letter {
        'i' | 'A' => "JOBID",
        'P' => "PARTITION",
        'j' => "NAME",
        'u' => "USER",
        't' => "ST",
        'T' => "STATE",
        'M' => "TIME",
        'D' => "NODES",
        'R' => "NODELIST(REASON)",
        'r' => "REASON",
        'S' => "START_TIME",
        'V' => "SUBMIT_TIME",
        _ => "",
    }
}

fn value(letter: char, job: &Shown, now: Time) -> String {
    let row = &job.row;
    let reason = || job.reason.clone().unwrap_or_else(|| "None".into());
    let at = |time: Option<Time>| time.map_or_else(|| "N/A".into(), |time| moment::relative(time, now));
    match letter {
        'i' => super::shown(row.id),
        'A' => row.id.number.to_string(),
        'P' => row.queue.clone(),
        'j' => row.name.clone(),
        'u' => row.user.clone(),
        't' => state(&row.state).0.into(),
        'T' => state(&row.state).1.into(),
        'M' => clock(row.started.map_or(0, |started| (row.ended.unwrap_or(now) - started).0 / 1000)),
        'D' => "1".into(),
        'R' if row.state == "waiting" => format!("({})", reason()),
        'R' => "localhost".into(),
        'r' => reason(),
        'S' => at(row.started),
        'V' => at(Some(row.submitted)),
        _ => String::new(),
    }
}

/// `1-02:03:04`, `2:03:04` or `3:04`.
fn clock(seconds: u64) -> String {
    let (days, hours, minutes, seconds) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_slurm_writes_them() {
        for (seconds, text) in [(0, "0:00"), (61, "1:01"), (3661, "1:01:01"), (90_061, "1-01:01:01")] {
            assert_eq!(clock(seconds), text);
        }
    }

    #[test]
    fn fields_are_as_wide_as_asked() {
        let pieces = pieces("%.5i|%4j|%u").unwrap_or_else(|_| panic!("it is a format"));
        assert_eq!(line(&pieces, |letter| format!("{letter}{letter}{letter}{letter}{letter}{letter}")), "iiiii|jjjj|uuuuuu");
        assert_eq!(line(&pieces, |letter| letter.to_string()), "    i|j   |u");
        assert!(super::pieces("%Z").is_err());
    }
}
