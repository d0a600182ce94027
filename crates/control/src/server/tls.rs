//! The certificate of the TCP port: made once, kept in the state folder, known to clients by its fingerprint.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} holds no usable certificate and key: {why}", path.display())]
    Unusable { path: PathBuf, why: String },
    #[error("a certificate could not be made: {0}")]
    Make(String),
}

impl TlsError {
    pub fn hint(&self) -> Option<String> {
        match self {
            TlsError::Unusable { path, .. } => {
                Some(format!("remove {} to have new ones made; clients then need the new fingerprint", path.display()))
            }
            TlsError::Io { .. } | TlsError::Make(_) => None,
        }
    }
}

pub struct Identity {
    pub config: Arc<ServerConfig>,
    /// `sha256:` and 64 hexadecimal digits, of the certificate.
    pub fingerprint: String,
}

/// Loads `tls/` below the state folder, or makes it.
///
/// # Errors
/// [`TlsError`] when the files cannot be read, written or used. Never makes a new key over an old one.
pub fn load(dir: &Path, names: Vec<String>) -> Result<Identity, TlsError> {
    let dir = dir.join("tls");
    let (cert_path, key_path) = (dir.join("cert.pem"), dir.join("key.pem"));
    if !cert_path.exists() {
        make(&dir, &cert_path, &key_path, names)?;
    }
    let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::Io { path: path.to_owned(), source });
    let unusable = |why: String| TlsError::Unusable { path: dir.clone(), why };
    let cert = CertificateDer::from_pem_slice(&read(&cert_path)?).map_err(|error| unusable(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?).map_err(|error| unusable(error.to_string()))?;
    let fingerprint = format!("sha256:{}", hex::encode(Sha256::digest(cert.as_ref())));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![cert], key))
        .map_err(|error| unusable(error.to_string()))?;
    Ok(Identity { config: Arc::new(config), fingerprint })
}

fn make(dir: &Path, cert_path: &Path, key_path: &Path, names: Vec<String>) -> Result<(), TlsError> {
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| TlsError::Make(error.to_string()))?;
    let mut builder = std::fs::DirBuilder::new();
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Io { path, source }
    };
    builder.recursive(true).mode(0o700).create(dir).map_err(io(dir))?;
    // The key first: a certificate that is there always has its key.
    for (path, text) in [(key_path, made.signing_key.serialize_pem()), (cert_path, made.cert.pem())] {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(io(path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_certificate_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), vec!["localhost".into()]).unwrap();
        let second = load(dir.path(), vec!["other".into()]).unwrap();
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(first.fingerprint.len(), "sha256:".len() + 64);
        let mode = std::fs::metadata(dir.path().join("tls/key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_key_is_never_replaced_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), vec!["localhost".into()]).unwrap();
        std::fs::write(dir.path().join("tls/key.pem"), "nonsense").unwrap();
        let error = load(dir.path(), vec!["localhost".into()]).err().unwrap();
        assert!(matches!(error, TlsError::Unusable { .. }) && error.hint().is_some());
    }
}
