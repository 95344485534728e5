//! TLS to Redis, for an address that begins with `rediss://`: whom to trust, and who this service is.

use std::path::{Path, PathBuf};

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
use tokio_rustls::rustls::crypto::ring;

use super::refusal::told;
use crate::error::ServiceError;
use crate::files;

/// The largest file that is read.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// Files for TLS to Redis, each PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that Redis's certificate may come from; the system's when `None`.
    pub ca: Option<PathBuf>,
    /// The certificate by which Redis knows this service.
    pub cert: Option<PathBuf>,
    /// That certificate's key.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether any is named.
    pub fn are_given(&self) -> bool {
        *self != Self::default()
    }
}

/// A client of the Redis at `info`. Nothing is connected yet.
///
/// # Errors
/// Files that cannot be read or hold no certificates, and files for an address without TLS.
pub(super) fn client(info: ConnectionInfo, files: &TlsFiles) -> Result<Client, ServiceError> {
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        if files.are_given() {
            return Err(ServiceError::RedisTls(
                "the address must begin with rediss:// for TLS".to_owned(),
            ));
        }
        return Client::open(info).map_err(told);
    }
    // The client makes its settings of TLS by whatever the process has chosen. Whoever chose before stays.
    let _ = ring::default_provider().install_default();
    let client_tls = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig {
            client_cert: read(cert, "CERTIFICATE")?,
            client_key: read(key, "PRIVATE KEY")?,
        }),
        _ => None,
    };
    let root_cert = files.ca.as_deref().map(|ca| read(ca, "CERTIFICATE"));
    let certificates = TlsCertificates {
        client_tls,
        root_cert: root_cert.transpose()?,
    };
    Client::build_with_tls(info, certificates).map_err(told)
}

/// What a file of PEM holds, in which a section of this kind must stand.
fn read(file: &Path, kind: &str) -> Result<Vec<u8>, ServiceError> {
    let bytes = files::read(file, FILE_LEN_MAX).map_err(ServiceError::RedisTls)?;
    let text = String::from_utf8_lossy(&bytes);
    let holds = text.lines().any(|line| {
        line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{kind}-----"))
    });
    if !holds {
        return Err(ServiceError::RedisTls(format!(
            "{} holds no PEM section {kind}",
            file.display()
        )));
    }
    Ok(bytes)
}
