//! HTTPS of the service's own, for those without a proxy: a certificate and a key in files that are read again when they
//! change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
};
use tokio_rustls::server::TlsStream;

use crate::files;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A client has this long for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest file that is read.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// The certificate that counts now.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

/// How a client began.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// As it should.
    Tls(Box<TlsStream<TcpStream>>),
    /// In plain text, all of which waits to be read. Nothing but a refusal may be said to it.
    Plain(TcpStream),
}

/// What two files hold.
#[derive(Debug, PartialEq, Eq)]
struct Pair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the files, and reads them again whenever they have changed. A change that makes no pair is logged, and the
    /// former pair goes on.
    ///
    /// # Errors
    /// What is wrong with them, in one line.
    pub(crate) async fn follow(cert: &Path, key: &Path) -> Result<Self, String> {
        let files = (cert.to_owned(), key.to_owned());
        let pair = read(files.clone()).await?;
        let tls = Self(Arc::new(RwLock::new(server(&files, &pair)?)));
        crate::task::spawn("certificate", keep(tls.clone(), files, pair));
        Ok(tls)
    }

    /// Makes a client's stream one of TLS, unless the client speaks HTTP without it.
    ///
    /// # Errors
    /// A handshake that fails or takes too long.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let config = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let accepted = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            // A method begins with a letter, and no record of TLS does.
            if first[0].is_ascii_alphabetic() {
                return Ok(Accepted::Plain(stream));
            }
            let stream = TlsAcceptor::from(config).accept(stream).await?;
            Ok(Accepted::Tls(Box::new(stream)))
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, accepted)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn keep(tls: Tls, files: (PathBuf, PathBuf), mut pair: Pair) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = match read(files.clone()).await {
            Ok(now) if now == pair => continue,
            Ok(now) => now,
            Err(why) => {
                tracing::warn!("the certificate stays as it was: {why}");
                continue;
            }
        };
        match server(&files, &now) {
            Ok(config) => {
                tracing::info!("the certificate was read again");
                *tls.0.write().unwrap_or_else(PoisonError::into_inner) = config;
            }
            // Of two files one is written first.
            Err(why) => tracing::warn!("the certificate stays as it was: {why}"),
        }
        pair = now;
    }
}

async fn read((cert, key): (PathBuf, PathBuf)) -> Result<Pair, String> {
    let reading = tokio::task::spawn_blocking(move || {
        Ok::<_, String>(Pair {
            cert: files::read(&cert, FILE_LEN_MAX)?,
            key: files::read(&key, FILE_LEN_MAX)?,
        })
    });
    reading.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// What the two files make together. `files` are their names, for what is wrong.
fn server((cert, key): &(PathBuf, PathBuf), pair: &Pair) -> Result<Arc<ServerConfig>, String> {
    let certs = CertificateDer::pem_slice_iter(&pair.cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{} is not PEM: {error}", cert.display()))?;
    if certs.is_empty() {
        return Err(format!("{} holds no certificate in PEM", cert.display()));
    }
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|error| {
        let is_encrypted = ["ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| pair.key.windows(mark.len()).any(|at| at == mark.as_bytes()));
        if is_encrypted {
            format!("the key in {} is encrypted, and nobody can be asked for its password here: give it without one", key.display())
        } else {
            format!("{} holds no key in PEM: {error}", key.display())
        }
    })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certs, key))
        .map_err(|error| format!("the certificate and the key do not go together: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// For the probe: trusts the certificate in `file` and no other, whatever name it bears.
///
/// # Errors
/// When the file holds no certificate.
pub fn client_of(file: &Path) -> Result<Arc<ClientConfig>, String> {
    let cert = CertificateDer::from_pem_file(file)
        .map_err(|error| format!("{} holds no certificate: {error}", file.display()))?;
    let verifier = Arc::new(Pinned {
        cert,
        provider: provider(),
    });
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes one certificate.
#[derive(Debug)]
struct Pinned {
    cert: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.cert {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
