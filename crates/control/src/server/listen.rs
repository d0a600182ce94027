//! Sockets and connections.

use super::{App, People, TlsError, extract::Peer, routes, tls};
use crate::engine::Shared;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Connections at a time; further ones wait to be accepted.
const LOCAL_MAX: usize = 1024;
const REMOTE_MAX: usize = 256;

/// Local connections of one person; and those kept free for root, who must get through when all others are at it.
const LOCAL_MAX_OF_ONE: usize = 512;
const ROOT_RESERVE: usize = 64;

/// The whole answer to a connection too many. Not served like others: that would hold it.
const TOO_MANY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 98\r\n\r\n\
{\"kind\":\"unavailable\",\"message\":\"too many connections are open\",\"hint\":\"end some of your clients\"}";

/// For the handshake, and for the head of a request on a connection that was opened or left idle.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(75);

/// After an error of accept (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers that are under way at the end get this long.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen at {}: {source}", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("cannot listen at {address}: {source}")]
    Tcp { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot start the server: {0}")]
    Runtime(io::Error),
}

impl ListenError {
    pub fn hint(&self) -> Option<String> {
        match self {
            // The kernel's limit for the path of a socket, with its closing zero.
            ListenError::Socket { path, .. } if path.as_os_str().len() > 107 => {
                Some("the path of a socket has 107 characters at most; choose a shorter folder with --state DIR".into())
            }
            ListenError::Socket { .. } => Some("see that the folder can be written".into()),
            ListenError::Tcp { .. } => Some("see whether another program has the port, and that the address is this machine's".into()),
            ListenError::Tls(error) => error.hint(),
            ListenError::Runtime(_) => None,
        }
    }
}

pub struct Settings {
    pub socket: PathBuf,
    /// TLS with a token; nothing without.
    pub tcp: Option<SocketAddr>,
    pub admin_group: String,
    pub queues: PathBuf,
    pub version: String,
}

/// The running server.
pub struct Server {
    runtime: Option<tokio::runtime::Runtime>,
    stop: watch::Sender<bool>,
    pub socket: PathBuf,
    pub tcp: Option<SocketAddr>,
    pub fingerprint: Option<String>,
}

impl Server {
    /// The caller holds the lock of the state folder, so a socket file that is there was left by a daemon that died.
    pub fn start(shared: Arc<Shared>, settings: Settings) -> Result<Server, ListenError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(16)
            .thread_name("ashlar-http")
            .thread_keep_alive(Duration::from_secs(5))
            .enable_all()
            .build()
            .map_err(ListenError::Runtime)?;
        let identity = match settings.tcp {
            None => None,
            Some(_) => Some(tls::load(&shared.dir, names())?),
        };
        let app = Arc::new(App {
            people: People::new(settings.admin_group),
            fingerprint: identity.as_ref().map(|identity| identity.fingerprint.clone()),
            queues: settings.queues,
            uid: rustix::process::geteuid().as_raw(),
            version: settings.version,
            shared,
        });
        let router = routes::router(app.clone());
        let (stop, stopped) = watch::channel(false);
        let _inside = runtime.enter();
        let local = bind(&settings.socket, app.uid)?;
        runtime.spawn(serve_local(local, router.clone(), app.clone(), stopped.clone()));
        let mut tcp = None;
        if let (Some(address), Some(identity)) = (settings.tcp, &identity) {
            let fail = |source| ListenError::Tcp { address, source };
            let remote = runtime.block_on(TcpListener::bind(address)).map_err(fail)?;
            tcp = Some(remote.local_addr().map_err(fail)?);
            runtime.spawn(serve_remote(remote, TlsAcceptor::from(identity.config.clone()), router, stopped));
        }
        drop(_inside);
        let fingerprint = app.fingerprint.clone();
        Ok(Server { runtime: Some(runtime), stop, socket: settings.socket, tcp, fingerprint })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        // Nobody may be listening any more, which is what is wanted.
        let _ = self.stop.send(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(FAREWELL);
        }
    }
}

fn names() -> Vec<String> {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    ["localhost".to_owned()].into_iter().chain(host.filter(|name| name != "localhost")).collect()
}

fn bind(path: &Path, uid: u32) -> Result<UnixListener, ListenError> {
    let fail = |source| ListenError::Socket { path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    // Root's daemon serves everybody and tells them apart by their credentials.
    let mode = if uid == 0 { 0o666 } else { 0o600 };
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(fail)?;
    Ok(listener)
}

async fn serve_local(listener: UnixListener, router: Router, app: Arc<App>, stopped: watch::Receiver<bool>) {
    let ended = stopped.clone();
    let shares: Arc<Shares> = Arc::default();
    accept_all(LOCAL_MAX, stopped, listener, |stream| {
        let (router, app, ended, shares) = (router.clone(), app.clone(), ended.clone(), shares.clone());
        async move {
            let Ok(uid) = stream.peer_cred().map(|credentials| credentials.uid()) else { return };
            let Some(_share) = shares.take(uid) else {
                // Who does not read it may go without.
                let _ = stream.try_write(TOO_MANY.as_bytes());
                return;
            };
            if let Some(peer) = local_peer(&stream, app).await {
                serve(stream, router, peer, ended).await;
            }
        }
    })
    .await;
}

/// Open local connections by user id.
#[derive(Default)]
struct Shares(Mutex<HashMap<u32, usize>>);

/// One connection of somebody, until dropped.
struct Share {
    shares: Arc<Shares>,
    uid: u32,
}

impl Shares {
    fn take(self: &Arc<Shares>, uid: u32) -> Option<Share> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(&uid).copied().unwrap_or(0);
        let all: usize = held.iter().filter(|(uid, _)| **uid != 0).map(|(_, count)| count).sum();
        if uid != 0 && (own >= LOCAL_MAX_OF_ONE || all >= LOCAL_MAX - ROOT_RESERVE) {
            return None;
        }
        held.insert(uid, own + 1);
        Some(Share { shares: self.clone(), uid })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.uid);
            }
        }
    }
}

/// `None` when the kernel does not say who it is, or the peer has gone.
async fn local_peer(stream: &UnixStream, app: Arc<App>) -> Option<Peer> {
    let credentials = stream.peer_cred().ok()?;
    let (uid, gid) = (credentials.uid(), credentials.gid());
    if !crate::access::may_connect(app.uid, uid) {
        return Some(Peer::Stranger);
    }
    let found = tokio::task::spawn_blocking(move || app.people.viewer(uid, Some(gid))).await;
    found.ok().map(|found| found.map_or_else(Peer::Unknown, Peer::Known))
}

async fn serve_remote(listener: TcpListener, acceptor: TlsAcceptor, router: Router, stopped: watch::Receiver<bool>) {
    let ended = stopped.clone();
    accept_all(REMOTE_MAX, stopped, listener, |stream| {
        let (router, acceptor, ended) = (router.clone(), acceptor.clone(), ended.clone());
        async move {
            // A peer that does not speak TLS gets no answer at all.
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                serve(stream, router, Peer::Token, ended).await;
            }
        }
    })
    .await;
}

/// What connections come from.
trait Listener {
    type Stream;
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Takes connections until told to stop, `most` at a time, and serves each in a task of its own.
async fn accept_all<L: Listener, F: Future<Output = ()> + Send + 'static>(
    most: usize,
    mut stopped: watch::Receiver<bool>,
    listener: L,
    serve: impl Fn(L::Stream) -> F,
) {
    let room = Arc::new(Semaphore::new(most));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.next() => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            _ = stopped.changed() => return,
        };
        let served = serve(stream);
        tokio::spawn(async move {
            served.await;
            drop(permit);
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    peer: Peer,
    mut stopped: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router.layer(axum::Extension(peer)));
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // Errors of one connection (a peer that went away, no HTTP) are that peer's affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_takes_a_share_and_root_gets_through() {
        let shares: Arc<Shares> = Arc::default();
        let take = |uid, count| std::iter::from_fn(|| shares.take(uid)).take(count).collect::<Vec<_>>();
        let mut ada = take(1000, 2000);
        let bob = take(1001, 2000);
        assert_eq!((ada.len(), bob.len()), (LOCAL_MAX_OF_ONE, LOCAL_MAX - ROOT_RESERVE - LOCAL_MAX_OF_ONE));
        assert_eq!(take(0, 100).len(), 100);
        assert!(shares.take(1002).is_none());
        ada.pop();
        assert!(shares.take(1002).is_some());
        drop((ada, bob));
        assert!(shares.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_connection_too_many_gets_a_whole_answer() {
        let (head, body) = TOO_MANY.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<api::ErrorBody>(body).unwrap().hint.is_some());
    }
}
