//! From a request to who asks and what: identity, ids, queries and bodies, with our own errors throughout.

use super::{App, error::Failure, token};
use crate::access::Viewer;
use crate::engine::Unavailable;
use api::{API_HEADER, API_VERSION, ErrorKind, VERSION_HEADER};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use spec::JobId;
use std::sync::Arc;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Named by the kernel.
    Known(Viewer),
    /// Another user than the one this daemon serves.
    Stranger,
    /// Who it is cannot be found out now.
    Unknown(Unavailable),
    /// Must show a token with each request.
    Token,
}

/// Before every route: the version, who it is, and ours in the reply.
pub async fn identify(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    // Not the request itself: its body may not be shared while we wait.
    let peer = request.extensions().get::<Peer>().cloned();
    let mut reply = match admit(&app, peer, request.headers().clone()).await {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    };
    let headers = reply.headers_mut();
    headers.insert(API_HEADER, HeaderValue::from(API_VERSION));
    if let Ok(version) = HeaderValue::from_str(&app.version) {
        headers.insert(VERSION_HEADER, version);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

async fn admit(app: &Arc<App>, peer: Option<Peer>, headers: HeaderMap) -> Result<Viewer, Failure> {
    same_version(&headers)?;
    match peer {
        Some(Peer::Known(viewer)) => Ok(viewer),
        Some(Peer::Unknown(why)) => Err(why.into()),
        Some(Peer::Token) => bearer(app, &headers).await,
        Some(Peer::Stranger) | None => {
            Err(Failure::new(ErrorKind::Denied, "this node serves only the user who started it").hint("start your own with `ashlar up`"))
        }
    }
}

/// A request without the header is let in: `curl` is a fair client.
fn same_version(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(API_HEADER) {
        Some(theirs) if theirs.as_bytes() != API_VERSION.to_string().as_bytes() => {
            let theirs = String::from_utf8_lossy(theirs.as_bytes()).chars().take(20).collect::<String>();
            Err(Failure::input(format!("the request is of version {theirs} of the interface, this node speaks version {API_VERSION}"))
                .hint("use the program of the same release as the node"))
        }
        _ => Ok(()),
    }
}

async fn bearer(app: &Arc<App>, headers: &HeaderMap) -> Result<Viewer, Failure> {
    let refused =
        || Failure::new(ErrorKind::Denied, "the token is missing, wrong or expired").hint("make one on the machine with `ashlar token`");
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|text| text.strip_prefix("Bearer "));
    let (id, secret) = text.and_then(token::split).ok_or_else(refused)?;
    let (app, id, secret) = (app.clone(), id.to_owned(), secret.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        let found = app.shared.reader.token(&id)?;
        let good = found.filter(|found| token::holds(found, &secret, app.shared.now()));
        Ok::<_, Failure>(good.map(|good| app.people.viewer(good.uid, None)).transpose()?)
    });
    looked.await.map_err(|_| Failure::new(ErrorKind::Internal, "the token could not be looked up"))??.ok_or_else(refused)
}

/// The job id in the path.
pub struct Id(pub JobId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Id, Failure> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|error| Failure::input(error.body_text()))?;
        text.parse().map(Id).map_err(|error: spec::IdError| Failure::input(error.to_string()))
    }
}

/// The query string as a value.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asked<T>, Failure> {
        let found = Query::<T>::from_request_parts(parts, state).await;
        found.map(|Query(value)| Asked(value)).map_err(|error: QueryRejection| Failure::input(error.body_text()))
    }
}

/// The body as JSON, whatever content type it claims.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Failure> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error: BytesRejection| Failure::input(error.body_text()))?;
        serde_json::from_slice(&bytes).map(Body).map_err(|error| Failure::input(format!("the body is not what this route takes: {error}")))
    }
}
