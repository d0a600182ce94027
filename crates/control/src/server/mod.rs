//! HTTP: on a Unix socket for the people of this machine, and on TCP with TLS and a token for others.
//!
//! Who asks is what the kernel says of the peer of the socket, or whom the token was made for; nothing a
//! client says of itself counts. There is no plain TCP.

mod error;
mod extract;
mod listen;
mod people;
mod routes;
mod tls;
mod token;

pub use listen::{ListenError, Server, Settings};
pub use people::gid_of;
pub use tls::TlsError;

use crate::engine::Shared;
use people::People;
use std::path::PathBuf;
use std::sync::Arc;

/// What every route can reach.
pub struct App {
    pub shared: Arc<Shared>,
    pub people: People,
    /// Of the certificate of the TCP port, where one is open.
    pub fingerprint: Option<String>,
    pub queues: PathBuf,
    /// The user the daemon runs as.
    pub uid: u32,
    pub version: String,
}
