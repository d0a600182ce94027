//! What can go wrong between a command and the node, in words for a person.

use crate::{ErrorBody, ErrorKind};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no node answers at {0}")]
    NoNode(PathBuf),
    #[error("this user may not talk to the node at {0}")]
    Denied(PathBuf),
    #[error("no node answers at {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("'{0}' is not an address such as https://host:7433")]
    Address(String),
    /// A variable of the caller without which no node can be spoken to over TLS.
    #[error("{0} is not set, and a node elsewhere is reached with it")]
    NotSet(&'static str),
    #[error("'{0}' is not a fingerprint such as sha256:9f86d0...")]
    Fingerprint(String),
    #[error("the certificate of {url} is not the expected one: its fingerprint is {found}")]
    OtherCertificate { url: String, found: String },
    #[error("the node speaks version {node} of the interface, this program version {ours}")]
    Version { node: String, ours: u32 },
    #[error("the node closed the connection: {0}")]
    Lost(String),
    #[error("the node did not answer within {0} seconds")]
    Timeout(u64),
    #[error("the node's reply makes no sense: {0}")]
    Reply(String),
    #[error("cannot open a connection: {0}")]
    System(#[from] std::io::Error),
    #[error(transparent)]
    Api(#[from] ErrorBody),
}

impl ClientError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ClientError::NoNode(_) => Some("start one with `ashlar up`, or name its folder with --state DIR".into()),
            ClientError::Denied(_) => Some("the node was started by another user; ask them, or use your own with --state DIR".into()),
            ClientError::Unreachable { .. } => Some("see that the node runs and listens there: `ashlar up --listen ADDRESS`".into()),
            ClientError::OtherCertificate { .. } => {
                Some("compare with the fingerprint that the node prints at its start; do not go on if they differ".into())
            }
            ClientError::Version { .. } => Some("use the program of the same release as the node".into()),
            ClientError::Lost(_) => {
                Some("the node may have been restarted; what was answered before is safe, so look with `ashlar jobs`".into())
            }
            ClientError::Timeout(_) => Some("the machine or its disk may be overloaded; try again".into()),
            ClientError::Api(body) => body.hint.clone(),
            ClientError::NotSet(_) => Some(
                "`ashlar token create` on the node's machine prints the token and the fingerprint; then: \
                 ASHLAR_TOKEN=... ASHLAR_FINGERPRINT=sha256:... ashlar --server HOST:PORT jobs"
                    .into(),
            ),
            ClientError::Fingerprint(_) => Some("the node prints it at its start, and `ashlar token create` with each token".into()),
            ClientError::Address(_) | ClientError::Reply(_) | ClientError::System(_) => None,
        }
    }

    /// The kind that decides the exit code of a command.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ClientError::Api(body) => body.kind,
            ClientError::Denied(_) | ClientError::OtherCertificate { .. } => ErrorKind::Denied,
            ClientError::Address(_) | ClientError::Fingerprint(_) | ClientError::NotSet(_) => ErrorKind::Input,
            ClientError::NoNode(_) | ClientError::Unreachable { .. } | ClientError::Lost(_) | ClientError::Timeout(_) => {
                ErrorKind::Unavailable
            }
            ClientError::Version { .. } => ErrorKind::Unavailable,
            ClientError::Reply(_) | ClientError::System(_) => ErrorKind::Internal,
        }
    }
}
