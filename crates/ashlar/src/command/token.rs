//! `ashlar token create | list | revoke`

use crate::arguments::{Token, TokenAction};
use crate::failure::Failure;
use crate::state::Place;
use crate::{listing, moment};
use api::TokenRequest;
use std::io::Write;
use std::process::ExitCode;

pub fn run(place: &Place, token: Token) -> Result<ExitCode, Failure> {
    let client = place.connect()?;
    match token.action {
        TokenAction::Create { note, user, days } => {
            let reply = client.make_token(&TokenRequest { user, note, days })?;
            writeln!(std::io::stdout(), "{}", reply.token)?;
            eprintln!("token {} stands for {} and expires {}", reply.id, reply.user, moment::relative(reply.expires, moment::now()));
            eprintln!("it is shown this once; use it as ASHLAR_TOKEN together with --server HOST:PORT");
            if let Some(fingerprint) = reply.fingerprint {
                eprintln!("and ASHLAR_FINGERPRINT={fingerprint}");
            }
        }
        TokenAction::List { json: true } => listing::print_json(&client.tokens()?)?,
        TokenAction::List { json: false } => {
            let now = moment::now();
            let mut table = listing::table(["ID", "USER", "NOTE", "CREATED", "EXPIRES"]);
            for row in client.tokens()? {
                table.add_row([
                    row.id.clone(),
                    row.user.clone(),
                    row.note.clone(),
                    moment::relative(row.created, now),
                    moment::relative(row.expires, now),
                ]);
            }
            listing::print_table(&table)?;
        }
        TokenAction::Revoke { id } => client.revoke_token(&id)?,
    }
    Ok(ExitCode::SUCCESS)
}
