//! The client: blocking calls over one kept-open connection.
//!
//! A command makes a handful of calls and ends, so everything runs on the calling thread: no worker threads,
//! no pool. Nothing is sent twice unless the connection was found closed before the request left.

mod connect;
mod error;

pub use error::ClientError;

use crate::wire::{
    API_HEADER, API_VERSION, CancelRequest, FollowReply, HealthView, JobQuery, LOG_ENDED_HEADER, LOG_OFFSET_HEADER, LOG_RUN_HEADER,
    LogPiece, LogRequest, PlanRequest, RemovedMachine, TokenReply, TokenRequest, TokenRow, VERSION_HEADER, WaitReply, WhyView,
};
use crate::{
    ErrorBody, ErrorKind, JobView, JobsPage, LogChunk, MachineView, PlanView, ProgressView, QueueView, SubmitItem, SubmitReply,
    SubmitRequest, SubmitResult,
};
use connect::{Sender, Target};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use spec::{JobId, JobSpec, Supposition};
use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

/// Time for any answer beyond what the request itself asks to wait: a slow disk may take long to sync.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to one node. Not shared between threads; open another.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    target: Target,
    sender: RefCell<Option<Sender>>,
}

impl Client {
    /// Opens the socket of the node, `ashlar.sock` below its state folder.
    ///
    /// # Errors
    /// [`ClientError::NoNode`] when nobody listens, [`ClientError::Denied`] when this user may not.
    pub fn connect(socket: &Path) -> Result<Client, ClientError> {
        Client::open(Target::Unix(socket.to_owned()))
    }

    /// Opens a TLS connection to `https://host:port`, whose certificate must have this SHA-256 fingerprint.
    ///
    /// # Errors
    /// As for [`Client::connect`], and when the certificate is another.
    pub fn connect_tls(url: &str, token: &str, fingerprint: &str) -> Result<Client, ClientError> {
        Client::open(Target::tls(url, token, fingerprint)?)
    }

    fn open(target: Target) -> Result<Client, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let sender = runtime.block_on(target.open())?;
        Ok(Client { runtime, target, sender: RefCell::new(Some(sender)) })
    }

    /// Several jobs with one write to disk. An accepted job is on disk when this returns.
    pub fn submit_many(&self, jobs: Vec<SubmitItem>) -> Result<SubmitReply, ClientError> {
        let single = jobs.len() == 1;
        match self.post("/v1/jobs", &SubmitRequest { jobs }) {
            // The refusal of a single job is told by the status of the reply; with several, each has its own.
            Err(ClientError::Api(body)) if single && is_about_the_job(body.kind) => {
                Ok(SubmitReply { results: vec![SubmitResult::Refused(body)] })
            }
            reply => reply,
        }
    }

    /// One job; a second submission with the same key is the same job.
    pub fn submit(&self, spec: JobSpec, key: Option<String>) -> Result<JobId, ClientError> {
        match self.submit_many(vec![SubmitItem { spec, key }])?.results.pop() {
            Some(SubmitResult::Accepted(id)) => Ok(id),
            Some(SubmitResult::Refused(body)) => Err(body.into()),
            None => Err(ClientError::Reply("no result for the job".into())),
        }
    }

    pub fn jobs(&self, query: &JobQuery) -> Result<JobsPage, ClientError> {
        let before = query.before.map(|id| id.to_string());
        let limit = query.limit.map(|limit| limit.to_string());
        let pairs = [
            ("state", query.state.as_deref()),
            ("user", query.user.as_deref()),
            ("queue", query.queue.as_deref()),
            ("limit", limit.as_deref()),
            ("before", before.as_deref()),
            ("all", query.all.then_some("true")),
        ];
        self.get(&with_query("/v1/jobs", &pairs), 0)
    }

    pub fn job(&self, id: JobId) -> Result<JobView, ClientError> {
        self.get(&format!("/v1/jobs/{id}"), 0)
    }

    pub fn why(&self, id: JobId) -> Result<WhyView, ClientError> {
        self.get(&format!("/v1/jobs/{id}/why"), 0)
    }

    /// Asks once to cancel; `kill` skips the signal and the grace. Durable when this returns.
    pub fn cancel(&self, id: JobId, kill: bool) -> Result<(), ClientError> {
        self.post::<serde_json::Value>(&format!("/v1/jobs/{id}/cancel"), &CancelRequest { kill }).map(drop)
    }

    /// Waits for the end of the job, up to `timeout_ms` ([`crate::WAIT_MAX_MS`] at most).
    pub fn wait(&self, id: JobId, timeout_ms: u64) -> Result<WaitReply, ClientError> {
        self.get(&format!("/v1/jobs/{id}/wait?timeout_ms={timeout_ms}"), timeout_ms)
    }

    /// Waits until the job is no longer what `seen` (an earlier [`FollowReply::mark`]) stands for.
    pub fn follow(&self, id: JobId, seen: Option<&str>, timeout_ms: u64) -> Result<FollowReply, ClientError> {
        let timeout = timeout_ms.to_string();
        let path = with_query(&format!("/v1/jobs/{id}/follow"), &[("seen", seen), ("timeout_ms", Some(&timeout))]);
        self.get(&path, timeout_ms)
    }

    /// A piece of one rank's output.
    pub fn logs(&self, ask: &LogRequest) -> Result<LogPiece, ClientError> {
        let attempt = ask.attempt.map(|attempt| attempt.to_string());
        let LogRequest { job, rank, offset, max, wait_ms, .. } = ask;
        let numbers = [rank.to_string(), offset.to_string(), max.to_string(), wait_ms.to_string()];
        let pairs = [
            ("run", attempt.as_deref()),
            ("rank", Some(numbers[0].as_str())),
            ("offset", Some(&numbers[1])),
            ("max", Some(&numbers[2])),
            ("wait_ms", Some(&numbers[3])),
        ];
        let (headers, data) = self.request(Method::GET, &with_query(&format!("/v1/jobs/{job}/logs"), &pairs), None, *wait_ms)?;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let offset = text(LOG_OFFSET_HEADER)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ClientError::Reply(format!("no {LOG_OFFSET_HEADER} header")))?;
        let ended = text(LOG_ENDED_HEADER) == Some("true");
        let run = text(LOG_RUN_HEADER).and_then(|text| text.parse().ok());
        Ok(LogPiece { run, chunk: LogChunk { offset, data: data.into(), ended } })
    }

    /// How far the newest run has got; `None` where its program tells nothing of it.
    pub fn progress(&self, id: JobId) -> Result<Option<ProgressView>, ClientError> {
        self.get(&format!("/v1/jobs/{id}/progress"), 0)
    }

    /// What a submission would lead to now; nothing is written.
    pub fn plan(&self, spec: JobSpec) -> Result<PlanView, ClientError> {
        self.plan_if(spec, Vec::new())
    }

    /// The same, with changes to the cluster that are supposed.
    pub fn plan_if(&self, spec: JobSpec, suppose: Vec<Supposition>) -> Result<PlanView, ClientError> {
        self.post("/v1/plan", &PlanRequest { spec, suppose })
    }

    pub fn machine(&self) -> Result<MachineView, ClientError> {
        self.get("/v1/machine", 0)
    }

    pub fn queues(&self) -> Result<Vec<QueueView>, ClientError> {
        self.get("/v1/queues", 0)
    }

    /// Reads `queues.yaml` again. Needs root or the admin group.
    pub fn reload_queues(&self) -> Result<Vec<QueueView>, ClientError> {
        self.post("/v1/queues/reload", &serde_json::json!({}))
    }

    /// Takes out a machine, by id or host name, that will not come back. Needs root or the admin group.
    pub fn remove_machine(&self, name: &str) -> Result<RemovedMachine, ClientError> {
        self.post(&format!("/v1/machines/{}/remove", escape(name)), &serde_json::json!({}))
    }

    pub fn health(&self) -> Result<HealthView, ClientError> {
        self.get("/v1/health", 0)
    }

    pub fn tokens(&self) -> Result<Vec<TokenRow>, ClientError> {
        self.get("/v1/tokens", 0)
    }

    pub fn make_token(&self, ask: &TokenRequest) -> Result<TokenReply, ClientError> {
        self.post("/v1/tokens", ask)
    }

    pub fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        let path = format!("/v1/tokens/{}", escape(id));
        self.request(Method::DELETE, &path, None, 0).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, path: &str, wait_ms: u64) -> Result<T, ClientError> {
        decode(&self.request(Method::GET, path, None, wait_ms)?.1)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Reply(error.to_string()))?;
        decode(&self.request(Method::POST, path, Some(body), 0)?.1)
    }

    fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>, wait_ms: u64) -> Result<(HeaderMap, Bytes), ClientError> {
        let patience = PATIENCE + Duration::from_millis(wait_ms);
        let body = body.map(Bytes::from);
        self.runtime.block_on(async {
            tokio::time::timeout(patience, self.exchange(&method, path, body))
                .await
                .unwrap_or_else(|_| Err(ClientError::Timeout(patience.as_secs())))
        })
    }

    async fn exchange(&self, method: &Method, path: &str, body: Option<Bytes>) -> Result<(HeaderMap, Bytes), ClientError> {
        // The sender is taken for the time of the exchange and put back only if the exchange went well: after
        // an error or a time-out the connection may hold half a reply.
        let kept = self.sender.borrow_mut().take();
        let mut sender = match kept {
            Some(sender) => still_open(sender).await,
            None => None,
        };
        let first = match &mut sender {
            Some(sender) => Some(sender.try_send_request(self.compose(method, path, body.clone())?).await),
            None => None,
        };
        let reply = match first {
            Some(Ok(reply)) => reply,
            Some(Err(failed)) if failed.message().is_none() => return Err(ClientError::Lost(failed.error().to_string())),
            // There was no connection, or the node had closed the idle one and the request never left.
            _ => {
                let mut opened = self.target.open().await?;
                let sent = opened.send_request(self.compose(method, path, body)?).await;
                sender = Some(opened);
                sent.map_err(|error| ClientError::Lost(error.to_string()))?
            }
        };
        let (head, body) = reply.into_parts();
        let bytes = body.collect().await.map_err(|error| ClientError::Lost(error.to_string()))?.to_bytes();
        same_version(&head.headers)?;
        *self.sender.borrow_mut() = sender;
        if head.status.is_success() { Ok((head.headers, bytes)) } else { Err(refusal(head.status, &bytes)) }
    }

    fn compose(&self, method: &Method, path: &str, body: Option<Bytes>) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder().method(method).uri(path).header("host", "ashlar").header(API_HEADER, API_VERSION);
        if let Some(token) = self.target.token() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        request.body(Full::new(body.unwrap_or_default())).map_err(|error| ClientError::Reply(error.to_string()))
    }
}

/// Others say that the node can do nothing now.
fn is_about_the_job(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Input | ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Denied)
}

async fn still_open(mut sender: Sender) -> Option<Sender> {
    sender.ready().await.is_ok().then_some(sender)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(bytes).map_err(|error| ClientError::Reply(error.to_string()))
}

fn same_version(headers: &HeaderMap) -> Result<(), ClientError> {
    let node = headers.get(API_HEADER).and_then(|value| value.to_str().ok());
    if node.and_then(|text| text.parse().ok()) == Some(API_VERSION) {
        return Ok(());
    }
    let version = headers.get(VERSION_HEADER).and_then(|value| value.to_str().ok());
    let node = node.or(version).unwrap_or("unknown").to_owned();
    Err(ClientError::Version { node, ours: API_VERSION })
}

fn refusal(status: StatusCode, bytes: &[u8]) -> ClientError {
    serde_json::from_slice::<ErrorBody>(bytes).map_or_else(
        |_| {
            let text: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
            ClientError::Api(ErrorBody { kind: ErrorKind::of_status(status.as_u16()), message: format!("{status}: {text}"), hint: None })
        },
        ClientError::Api,
    )
}

fn with_query(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut out = path.to_owned();
    for (name, value) in pairs.iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(name);
        out.push('=');
        out.push_str(&escape(value));
    }
    out
}

/// Percent-encoding of everything but the unreserved characters of RFC 3986.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        let path = with_query("/v1/jobs", &[("user", Some("a b&c=é")), ("queue", None), ("limit", Some("5"))]);
        assert_eq!(path, "/v1/jobs?user=a%20b%26c%3D%C3%A9&limit=5");
        assert_eq!(with_query("/v1/jobs", &[("x", None)]), "/v1/jobs");
    }

    #[test]
    fn no_node_is_told_from_not_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Client::connect(&dir.path().join("ashlar.sock")).err().unwrap();
        assert!(matches!(missing, ClientError::NoNode(_)));
        assert!(missing.hint().unwrap().contains("ashlar up"));
        // A socket file whose owner died refuses connections: nobody is there either.
        let left = dir.path().join("left.sock");
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        assert!(matches!(Client::connect(&left).err().unwrap(), ClientError::NoNode(_)));
    }

    #[test]
    fn a_reply_of_another_version_is_no_reply() {
        let mut headers = HeaderMap::new();
        assert!(same_version(&headers).is_err());
        headers.insert(API_HEADER, API_VERSION.into());
        assert!(same_version(&headers).is_ok());
        headers.insert(API_HEADER, (API_VERSION + 1).into());
        assert!(matches!(same_version(&headers), Err(ClientError::Version { .. })));
    }
}
