//! Replies that are no success: always an [`api::ErrorBody`], whatever went wrong.

use crate::engine::Unavailable;
use crate::log::LogError;
use api::{ErrorBody, ErrorKind};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cluster::Refusal;

pub struct Failure(pub ErrorBody);

pub type Reply<T> = Result<axum::Json<T>, Failure>;

impl Failure {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Failure {
        Failure(ErrorBody { kind, message: message.into(), hint: None })
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.0.hint = Some(hint.into());
        self
    }

    pub fn input(message: impl Into<String>) -> Failure {
        Failure::new(ErrorKind::Input, message)
    }

    pub fn admins_only(what: &str) -> Failure {
        Failure::new(ErrorKind::Denied, format!("only root and the admin group may {what}"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Failure {
        Failure(body)
    }
}

impl From<Unavailable> for Failure {
    fn from(why: Unavailable) -> Failure {
        Failure(ErrorBody { kind: ErrorKind::Unavailable, message: why.to_string(), hint: why.hint })
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Failure {
        let kind = if error.may_pass() { ErrorKind::Unavailable } else { ErrorKind::Internal };
        Failure(ErrorBody { kind, message: error.to_string(), hint: error.hint() })
    }
}

/// A refusal of the state in the words and kinds of the wire.
pub fn refusal(refusal: &Refusal) -> ErrorBody {
    if let Refusal::KeyUsed { job, .. } = refusal {
        let hint = format!("`ashlar show {job}` shows the earlier job; submit this one under another key, or without");
        return ErrorBody { kind: ErrorKind::Conflict, message: refusal.to_string(), hint: Some(hint) };
    }
    let (kind, hint) = match refusal {
        Refusal::NoSuchJob(_) => (ErrorKind::NotFound, Some("`ashlar jobs` lists yours")),
        Refusal::AlreadyEnded { .. } | Refusal::KeyUsed { .. } => (ErrorKind::Conflict, None),
        Refusal::NoSuchQueue { .. } => (ErrorKind::Input, Some("`ashlar queues` lists them")),
        Refusal::NotYourQueue { .. } => (ErrorKind::Denied, Some("ask an administrator, or name another queue")),
        Refusal::QueueAbove { .. } => (ErrorKind::Input, Some("name one of those below; `ashlar queues` shows the tree")),
        Refusal::NoSuchDependency(_) => (ErrorKind::Input, Some("`ashlar jobs` lists yours")),
        Refusal::NoSuchMachine { .. } => (ErrorKind::NotFound, Some("`ashlar status` lists them")),
        Refusal::MachineThere(_) => (ErrorKind::Conflict, Some("stop its node first; its runs end by themselves or by `ashlar cancel`")),
        Refusal::QueueInUse { .. } => (ErrorKind::Conflict, Some("cancel the jobs or let them end first")),
        Refusal::QueueHasJobs { .. } => (ErrorKind::Conflict, Some("put a queue below for its jobs, or let them end first")),
        Refusal::TooManyJobs { .. } => {
            (ErrorKind::Conflict, Some("wait until some have ended, or cancel some; an array counts each of its tasks"))
        }
        Refusal::Stale { .. } => (ErrorKind::Conflict, Some("try again")),
        Refusal::Inconsistent(_) => (ErrorKind::Input, None),
    };
    ErrorBody { kind, message: refusal.to_string(), hint: hint.map(Into::into) }
}
