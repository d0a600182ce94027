//! Tokens of the TCP port.

use super::{App, Failure, blocking};
use crate::access::Viewer;
use crate::engine::Request;
use crate::server::error::Reply;
use crate::server::extract::{Body, Peer};
use crate::server::people::uid_of;
use crate::server::token::{DAYS_DEFAULT, DAYS_MAX, make};
use api::{ErrorKind, TokenReply, TokenRequest, TokenRow};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use std::sync::Arc;

const NOTE_MAX: usize = 200;

/// A person's tokens that are valid at a time.
const LIVE_MAX: u32 = 64;

/// One's own; an administrator's list has everybody's.
pub async fn list(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Reply<Vec<TokenRow>> {
    let tokens = blocking(move || Ok(app.shared.reader.tokens()?)).await?;
    let seen = tokens.into_iter().filter(|token| viewer.may_see_uid(token.uid));
    let row = |token: crate::log::Token| TokenRow {
        id: token.id,
        user: token.user,
        note: token.note,
        created: token.created,
        expires: token.expires,
    };
    Ok(Json(seen.map(row).collect()))
}

/// A token is as good as its person, so only that person may make one, whom the kernel names, and root for others. An
/// administrator could otherwise become root, and a token outlive itself.
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(viewer): Extension<Viewer>,
    Extension(peer): Extension<Peer>,
    Body(ask): Body<TokenRequest>,
) -> Reply<TokenReply> {
    if !matches!(peer, Peer::Known(_)) {
        let failure = Failure::new(ErrorKind::Denied, "a token makes no other tokens");
        return Err(failure.hint("make it on the machine: `ashlar token create`"));
    }
    let days = ask.days.unwrap_or(DAYS_DEFAULT);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(Failure::input(format!("a token is valid for 1 to {DAYS_MAX} days, not {days}")));
    }
    if ask.note.len() > NOTE_MAX {
        return Err(Failure::input(format!("a note has {NOTE_MAX} bytes at most")));
    }
    let (uid, user) = match ask.user {
        Some(user) if user != viewer.identity.user => {
            if viewer.identity.uid != 0 {
                let failure = Failure::new(ErrorKind::Denied, "only root may make tokens for others");
                return Err(failure.hint("let them run `ashlar token create` themselves on the machine"));
            }
            let name = user.clone();
            let uid = blocking(move || uid_of(&name)?.ok_or_else(|| Failure::input(format!("there is no user '{name}'")))).await?;
            (uid, user)
        }
        _ => (viewer.identity.uid, viewer.identity.user.clone()),
    };
    let made = make(uid, &user, &ask.note, days, app.shared.now());
    let (token, text) = made.ok_or_else(|| Failure::new(ErrorKind::Internal, "the system gave no random numbers"))?;
    let reply = TokenReply { id: token.id.clone(), token: text, user, expires: token.expires, fingerprint: app.fingerprint.clone() };
    if !app.shared.ask(|answer| Request::PutToken { token, most: LIVE_MAX, reply: answer }).await? {
        let failure =
            Failure::new(ErrorKind::Conflict, format!("{} has {LIVE_MAX} valid tokens already, the most there may be", reply.user));
        return Err(failure.hint("`ashlar token list` shows them, `ashlar token revoke ID` ends one"));
    }
    Ok(Json(reply))
}

pub async fn revoke(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>, Path(id): Path<String>) -> Reply<serde_json::Value> {
    let (finder, wanted) = (app.clone(), id.clone());
    let token = blocking(move || Ok(finder.shared.reader.token(&wanted)?)).await?;
    if !token.is_some_and(|token| viewer.may_see_uid(token.uid)) {
        return Err(Failure::new(ErrorKind::NotFound, "there is no such token").hint("`ashlar token list` lists yours"));
    }
    app.shared.ask(|reply| Request::DropToken { id, reply }).await?;
    Ok(Json(serde_json::json!({})))
}
