//! One connection to a node: a Unix socket, or TLS with the node's certificate known by its fingerprint.

use super::ClientError;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

pub(super) type Sender = SendRequest<Full<Bytes>>;

/// Where the node is.
pub(super) enum Target {
    Unix(PathBuf),
    Tls { url: String, host: String, port: u16, token: String, fingerprint: [u8; 32] },
}

impl Target {
    /// # Errors
    /// [`ClientError::Address`] for anything but `https://host:port`, [`ClientError::Fingerprint`] for anything
    /// but 64 hexadecimal digits, with or without `sha256:` and colons.
    pub fn tls(url: &str, token: &str, fingerprint: &str) -> Result<Target, ClientError> {
        let bad = || ClientError::Address(url.to_owned());
        let rest = url.strip_prefix("https://").ok_or_else(bad)?.trim_end_matches('/');
        let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(bad());
        }
        let digits: String = fingerprint.trim().strip_prefix("sha256:").unwrap_or(fingerprint.trim()).replace(':', "");
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits.to_ascii_lowercase(), &mut bytes).map_err(|_| ClientError::Fingerprint(fingerprint.to_owned()))?;
        Ok(Target::Tls { url: url.to_owned(), host: host.to_owned(), port, token: token.to_owned(), fingerprint: bytes })
    }

    pub fn token(&self) -> Option<&str> {
        match self {
            Target::Unix(_) => None,
            Target::Tls { token, .. } => Some(token),
        }
    }

    pub async fn open(&self) -> Result<Sender, ClientError> {
        match self {
            Target::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => start(stream).await,
                Err(error) => Err(match error.kind() {
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NoNode(path.clone()),
                    ErrorKind::PermissionDenied => ClientError::Denied(path.clone()),
                    _ => ClientError::System(error),
                }),
            },
            Target::Tls { url, host, port, fingerprint, .. } => {
                let unreachable = |error: std::io::Error| ClientError::Unreachable { url: url.clone(), why: error.to_string() };
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let pinned = Arc::new(Pinned { fingerprint: *fingerprint, provider: provider.clone(), found: Mutex::new(None) });
                let config = rustls::ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(|error| ClientError::Reply(error.to_string()))?
                    .dangerous()
                    .with_custom_certificate_verifier(pinned.clone())
                    .with_no_client_auth();
                let name = ServerName::try_from(host.clone()).map_err(|_| ClientError::Address(url.clone()))?;
                match tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await {
                    Ok(stream) => start(stream).await,
                    Err(error) => Err(match pinned.other() {
                        Some(found) => ClientError::OtherCertificate { url: url.clone(), found },
                        None => unreachable(error),
                    }),
                }
            }
        }
    }
}

async fn start<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Sender, ClientError> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| ClientError::Lost(error.to_string()))?;
    // Ends when the sender is dropped; its errors come out of the requests too.
    tokio::spawn(connection);
    Ok(sender)
}

/// Accepts exactly one certificate, whoever signed it: the nodes of a lab have no certificate authority.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
    /// The fingerprint that was refused, to tell the person.
    found: Mutex<Option<[u8; 32]>>,
}

impl Pinned {
    fn other(&self) -> Option<String> {
        let found = self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        found.map(|bytes| format!("sha256:{}", hex::encode(bytes)))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found: [u8; 32] = Sha256::digest(end_entity.as_ref()).into();
        if found == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        *self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(found);
        Err(rustls::Error::General("another certificate than the expected one".into()))
    }

    // The handshake must still prove that the peer holds the key of the certificate.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_with_a_port() {
        let print = "ab".repeat(32);
        assert!(Target::tls("https://box:7433", "t", &print).is_ok());
        assert!(Target::tls("https://[::1]:7433/", "t", &format!("sha256:{print}")).is_ok());
        assert!(Target::tls("https://127.0.0.1:1", "t", &"AB:".repeat(32)).is_ok());
        for url in ["http://box:7433", "box:7433", "https://box", "https://:1", "https://box:x", "https://u@box:1", "https://box/a:1"] {
            assert!(matches!(Target::tls(url, "t", &print), Err(ClientError::Address(_))), "{url}");
        }
        for print in ["", "sha256:", "zz", &"ab".repeat(31), &"ab".repeat(33)] {
            assert!(matches!(Target::tls("https://box:1", "t", print), Err(ClientError::Fingerprint(_))), "{print}");
        }
    }
}
